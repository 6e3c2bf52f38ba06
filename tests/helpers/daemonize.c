/* usage: daemonize [leave]. Starts a daemon of the old kind: fork, setsid, fork, all descriptors closed, SIGTERM and
 * SIGHUP ignored. The main process stays, or with `leave` ends with 0. */
#include "tests/helpers/helper.h"

int main(int argc, char **argv)
{
    mark("main", " ");
    pid_t child = fork();
    if (child < 0)
        return 1;
    if (child == 0) {
        setsid();
        if (fork() != 0)
            _exit(0);
        for (int fd = 0; fd < 64; fd++)
            close(fd);
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        mark("daemon", "%d %d", getsid(0), getppid());
        rest();
    }
    if (strcmp(argument(argc, argv, 1, ""), "leave") == 0)
        return 0;
    rest();
}
