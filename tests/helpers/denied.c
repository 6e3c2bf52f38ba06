/* usage: denied FIFO NUMBER [ARGUMENT…]. Makes one syscall, by number, with up to six arguments, and marks how it went:
 * "returned RESULT ERRNO". Then rests. Its own life needs only what every profile allows. */
#include <sys/syscall.h>

#include "tests/helpers/helper.h"

int main(int argc, char **argv)
{
    long a[7] = {0};
    for (int i = 2; i < argc && i < 9; i++)
        a[i - 2] = (long)strtoull(argv[i], NULL, 0);
    go(argument(argc, argv, 1, "-"));
    errno = 0;
    long r = syscall(a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
    int e = errno;
    printf("returned %ld %d\n", r, e);
    fflush(stdout);
    mark("returned", "%ld %d", r, e);
    rest();
}
