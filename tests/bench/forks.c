/* Nothing but fork, exit and wait: `forks N`. Of all that an untracked program can do this makes the programs on exits
 * and signals run most. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    for (long n = argc > 1 ? strtol(argv[1], NULL, 10) : 0; n > 0; n--) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(0);
        if (pid < 0 || waitpid(pid, NULL, 0) != pid) {
            perror("fork");
            return 1;
        }
    }
    return 0;
}
