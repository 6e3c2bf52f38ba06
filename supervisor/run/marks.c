/* See marks.h. Everything is looked at again each time: without cgroups nothing tells of a fork.
 *
 * A single pass over /proc would miss who is born after the names were read of a parent that is dead when its turn
 * comes. So the names are read again until no new one turns up below the daemon; each round looks at the new ones only.
 */
#include "supervisor/run/marks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define ENVIRONMENT_MAX (4u << 20)
/* Only what forks as fast as we look needs more than three. */
#define ROUNDS 64

/* --- who belongs --- */

static int by_pid(const void *a, const void *b)
{
    pid_t x = ((const Process *)a)->pid, y = ((const Process *)b)->pid;
    return (x > y) - (x < y);
}

static Process *find(Process *p, size_t n, pid_t pid)
{
    const Process key = {.pid = pid};
    return n ? bsearch(&key, p, n, sizeof *p, by_pid) : NULL;
}

/* What seems to be its own ancestor (the entries are of different moments) is not followed for ever. */
static bool below(Process *p, size_t n, const Process *who, pid_t daemon)
{
    for (size_t steps = 0; who && steps <= n; steps++) {
        if (who->gone || who->parent == daemon)
            return true;
        who = find(p, n, who->parent);
    }
    return false;
}

bool marks_find(Process *p, size_t n, pid_t session, pid_t daemon)
{
    bool fresh = false;
    for (size_t i = 0; i < n; i++) {
        bool held = p[i].mark == MARK_OURS || (p[i].mark == MARK_NONE && session > 0 && p[i].session == session);
        p[i].below = below(p, n, &p[i], daemon);
        p[i].member = held && !p[i].zombie && !p[i].gone && p[i].below;
        fresh |= p[i].fresh && p[i].below;
    }
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < n; i++) {
            const bool asks = !p[i].member && !p[i].zombie && !p[i].gone && p[i].mark == MARK_NONE;
            const Process *parent = asks ? find(p, n, p[i].parent) : NULL;
            if (parent && parent->member)
                p[i].member = more = true;
        }
    }
    return fresh;
}

/* --- what there is --- */

/* As the process's user for the one call that asks: the kernel lets a user read what is its own. */
static int open_as_owner(int dir)
{
    struct stat st;
    if (fstat(dir, &st) < 0)
        return -errno;
    int dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    (void)setfsgid(st.st_gid);
    (void)setfsuid(st.st_uid);
    int fd = openat(dir, "environ", O_RDONLY | O_CLOEXEC), error = errno;
    (void)setfsuid(geteuid());
    (void)setfsgid(getegid());
    if (dumpable == 1) /* the change has made this process undumpable */
        (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return fd < 0 ? -error : fd;
}

/* *ret_size: of the environment; 0 where it could not be read. */
static Mark read_mark(int dir, const char *mark, bool ptrace, size_t *ret_size)
{
    static const char name[] = "BULKHEAD_BOX=";
    _cleanup_(freep) char *text = NULL;
    size_t size = 0;
    *ret_size = 0;
    _cleanup_fd_ int fd = ptrace ? openat(dir, "environ", O_RDONLY | O_CLOEXEC) : open_as_owner(dir);
    if (fd < 0 || file_read_fd(fd, ENVIRONMENT_MAX, &text, &size) < 0)
        return MARK_NONE;
    *ret_size = size;
    for (size_t i = 0; i < size; i += strlen(text + i) + 1)
        if (str_starts(text + i, name))
            return str_equal(text + i, mark) ? MARK_OURS : MARK_OTHER;
    return MARK_NONE;
}

/* "PID (COMM) STATE PARENT GROUP SESSION …", where COMM may hold anything. */
static bool read_process(int dir, Process *p)
{
    char text[1024];
    if (dir < 0 || file_read(dir, "stat", text, sizeof text) < 0)
        return false;
    char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || !at[2])
        return false;
    p->zombie = at[2] == 'Z' || at[2] == 'X';
    p->parent = (pid_t)strtol(at + 3, &at, 10);
    (void)strtol(at, &at, 10);
    p->session = (pid_t)strtol(at, &at, 10);
    return true;
}

static Process look_at(int proc, const char *name, pid_t pid, const char *mark, bool ptrace)
{
    Process p = {.pid = pid, .fresh = true};
    _cleanup_fd_ int dir = openat(proc, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p.gone = !read_process(dir, &p);
    if (p.gone || p.zombie || !mark)
        return p;
    size_t size;
    p.mark = read_mark(dir, mark, ptrace, &size);
    if (size == 0) /* in the middle of exec it has none for a moment */
        p.mark = read_mark(dir, mark, ptrace, &size);
    return p;
}

int marks_look(const char *mark, bool ptrace, Process **list, size_t *n)
{
    DIR *proc = opendir("/proc");
    if (!proc)
        return -errno;
    const size_t known = *n;
    for (size_t i = 0; i < known; i++)
        (*list)[i].fresh = false;
    for (struct dirent *e; (e = readdir(proc));) {
        uint64_t pid;
        if (parse_u64(e->d_name, &pid) == 0 && !find(*list, known, (pid_t)pid))
            ARRAY_PUSH(*list, *n) = look_at(dirfd(proc), e->d_name, (pid_t)pid, mark, ptrace);
    }
    closedir(proc);
    if (*n)
        qsort(*list, *n, sizeof **list, by_pid);
    return 0;
}

int marks_pids(const char *mark, bool ptrace, pid_t session, pid_t **ret, size_t *ret_n)
{
    _cleanup_(freep) Process *all = NULL;
    size_t n = 0;
    bool more = true;
    int r = 0;
    for (int round = 0; round < ROUNDS && r == 0 && more; round++) {
        r = marks_look(mark, ptrace, &all, &n);
        more = r == 0 && marks_find(all, n, session, getpid());
    }
    for (size_t i = 0; r == 0 && i < n; i++)
        if (all[i].member)
            ARRAY_PUSH(*ret, *ret_n) = all[i].pid;
    return r < 0 ? r : more;
}
