/* usage: probe NAME [IGNORED…]. The least a service can be: says that it runs (to the notify socket too, where there is
 * one), and on SIGTERM that it ends. */
#include "tests/helpers/helper.h"

int main(int argc, char **argv)
{
    const char *name = argument(argc, argv, 1, "probe");
    sigset_t term;
    sigemptyset(&term);
    sigaddset(&term, SIGTERM);
    sigprocmask(SIG_BLOCK, &term, NULL);
    mark("up", "%s", name);
    const char *notify = getenv("NOTIFY_SOCKET");
    if (notify && tell(notify, "READY=1") < 0)
        return 1;
    int s;
    sigwait(&term, &s);
    mark("down", "%s", name);
    return 0;
}
