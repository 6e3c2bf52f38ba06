/* See daemon.h. Never by $PATH: another version's answers would not be about this one. */
#include "tools/daemon.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "base/str.h"

int daemon_program(char **ret, Error *e)
{
    static const char *const places[] = {"../sbin/bulkheadd", "bulkheadd"};
    char own[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", own, sizeof own - 1);
    if (n < 0)
        return error_errno(e, -errno, "cannot read /proc/self/exe");
    own[n] = '\0';
    char *slash = strrchr(own, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < ELEMENTS(places); i++) {
        _cleanup_(freep) char *path = xasprintf("%s/%s", own, places[i]);
        if (access(path, X_OK) == 0) {
            *ret = TAKE_PTR(path);
            return 0;
        }
    }
    return error_set(e, -ENOENT, "bulkheadd is neither in %s/../sbin nor in %s: install it there", own, own);
}
