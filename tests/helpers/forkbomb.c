/* usage: forkbomb. Forks for ever, and so do its children; each process that is refused says so once and tries again
 * every ten milliseconds, so that a freed place is taken at once. For use below pids_max only. */
#include "tests/helpers/helper.h"

int main(void)
{
    if (signal(SIGCHLD, SIG_IGN) == SIG_ERR)
        return 1;
    mark("forkbomb", " ");
    for (int refused = 0;;) {
        if (fork() >= 0)
            continue;
        if (!refused++)
            mark("forkbomb-refused", "%d", errno);
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}
