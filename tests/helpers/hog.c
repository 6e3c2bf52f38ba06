/* usage: hog MEGABYTES [FIFO]. Takes memory, megabyte by megabyte, and touches all of it; then keeps it. */
#include "tests/helpers/helper.h"

int main(int argc, char **argv)
{
    int megabytes = number(argument(argc, argv, 1, "0"));
    mark("hog", " ");
    go(argument(argc, argv, 2, "-"));
    for (int i = 0; i < megabytes; i++) {
        char *p = malloc(1 << 20);
        if (!p) {
            mark("hog-refused", "%d", i);
            rest();
        }
        memset(p, i | 1, 1 << 20);
    }
    mark("hog-full", "%d", megabytes);
    rest();
}
