/* See mounts.h. */
#include "supervisor/run/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define MOUNTINFO_MAX (16u << 20)

/* File systems that ask somebody else: over the network, or another process. */
static bool asks_others(const char *type, size_t n)
{
    static const char *const types[] = {"nfs", "nfs4",   "cifs", "smb3",  "9p",   "ceph",
                                        "afs", "lustre", "gfs2", "ocfs2", "coda", "orangefs"};
    for (size_t i = 0; i < ELEMENTS(types); i++)
        if (strlen(types[i]) == n && strncmp(types[i], type, n) == 0)
            return true;
    return (n == 4 && strncmp(type, "fuse", 4) == 0) || (n > 5 && strncmp(type, "fuse.", 5) == 0);
}

bool mountinfo_may_hang(const char *text)
{
    for (const char *line = text; *line;) {
        const char *end = strchrnul(line, '\n'), *dash = strstr(line, " - ");
        if (dash && dash < end && asks_others(dash + 3, strcspn(dash + 3, " \n")))
            return true;
        line = *end ? end + 1 : end;
    }
    return false;
}

bool mounts_may_hang(Mounts *m)
{
    bool known = m->fd >= 0;
    if (!known)
        m->fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
    struct pollfd p = {.fd = m->fd, .events = POLLPRI};
    if (known && poll(&p, 1, 0) == 0)
        return m->may_hang;
    _cleanup_(freep) char *text = NULL;
    m->may_hang =
        file_read_all(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, NULL) < 0 || mountinfo_may_hang(text);
    return m->may_hang;
}
