/* usage: stubborn. Ignores every signal that it may ignore. */
#include "tests/helpers/helper.h"

int main(void)
{
    for (int s = 1; s < 32; s++)
        signal(s, SIG_IGN);
    mark("stubborn", " ");
    rest();
}
