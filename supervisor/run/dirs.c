/* See dirs.h. Opened beneath the base without following symlinks: a module may have planted one on its last run. */
#include "supervisor/run/dirs.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

static int make_beneath(int base, const char *name, uid_t uid, gid_t gid)
{
    for (const char *p = name;; p++) {
        if (*p != '/' && *p != '\0')
            continue;
        _cleanup_(freep) char *part = xstrndup(name, (size_t)(p - name));
        if (mkdirat(base, part, 0755) < 0 && errno != EEXIST)
            return -errno;
        _cleanup_fd_ int fd = open_beneath(base, part, O_RDONLY | O_DIRECTORY, 0);
        if (fd < 0)
            return fd;
        if (*p == '\0')
            return fchown(fd, uid, gid) < 0 ? -errno : 0;
    }
}

static int make_all(const char *base, char *const *names, const Sandbox *s, Error *e)
{
    if (!names)
        return 0;
    _cleanup_fd_ int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, -errno, "cannot open %s", base);
    STRV_FOREACH (name, names) {
        int r = make_beneath(fd, *name, s->uid, s->gid);
        if (r < 0)
            return error_errno(e, r, "cannot make %s/%s for %s", base, *name, s->user_name);
    }
    return 0;
}

int dirs_make(const Module *m, Error *e)
{
    const ModulePolicy *p = m->policy;
    int r = make_all("/run", p->runtime_directory, &p->sandbox, e);
    if (r == 0)
        r = make_all("/var/lib", p->state_directory, &p->sandbox, e);
    if (r == 0)
        r = make_all("/var/log", p->logs_directory, &p->sandbox, e);
    return r;
}

int dirs_remove(const Module *m, Error *e)
{
    if (!m->policy->runtime_directory)
        return 0;
    _cleanup_fd_ int fd = open("/run", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(e, -errno, "cannot open /run");
    int first = 0;
    STRV_FOREACH (name, m->policy->runtime_directory) {
        int r = tree_remove(fd, *name);
        if (r < 0 && first == 0)
            first = error_errno(e, r, "cannot remove /run/%s", *name);
    }
    return first;
}
