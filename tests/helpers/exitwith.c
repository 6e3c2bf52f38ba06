/* usage: exitwith CODE|SIGNALNAME [FIFO]. Ends so, when told to. SIGNALNAME is TERM, KILL, SEGV, ABRT, USR1. */
#include "tests/helpers/helper.h"

int main(int argc, char **argv)
{
    const char *how = argument(argc, argv, 1, "0");
    mark("exitwith", "%s", how);
    go(argument(argc, argv, 2, "-"));
    static const struct {
        const char *name;
        int number;
    } names[] = {{"TERM", SIGTERM}, {"KILL", SIGKILL}, {"SEGV", SIGSEGV}, {"ABRT", SIGABRT}, {"USR1", SIGUSR1}};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(names[i].name, how) == 0) {
            raise(names[i].number);
            return 98;
        }
    return number(how);
}
