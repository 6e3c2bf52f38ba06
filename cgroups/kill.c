/* Who is in a group, and how they are told to go.
 *
 * Membership is cgroup2's on every host: a process joins there first and cannot leave (cgroupfs is read-only for
 * modules). group_kill is the kernel's own and has no race; group_signal freezes the group so that the list of pids
 * stands still, and checks each pid's membership through a pidfd, so that a recycled pid is never hit. */
#include "cgroups/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"

/* A freeze takes some hundred microseconds; a task in uninterruptible sleep can hold it up for ever. */
#define FREEZE_TIMEOUT_USEC (200 * USEC_PER_MSEC)
/* Where freezing failed, each pass finds what was forked during the one before. */
#define SIGNAL_PASSES 64
#define DEPTH_MAX     32
#define PROCS_LIMIT   (64u << 20)

static int event_read(int fd, const char *key)
{
    char text[128];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n < 0)
        return errno == ENODEV ? -ENOENT : -errno;
    text[n] = '\0';
    uint64_t v;
    int r = keyed_u64(text, key, &v);
    return r < 0 ? r : v != 0;
}

int group_populated(const Group *g)
{
    _cleanup_fd_ int fd = group_open_file(g, CG_UNIFIED, "cgroup.events", O_RDONLY);
    return fd < 0 ? fd : event_read(fd, "populated");
}

typedef struct Pids {
    pid_t *pid;
    size_t n;
} Pids;

static int procs_collect(int dir, Pids *pids)
{
    _cleanup_(freep) char *text = NULL;
    int r = file_read_all(dir, "cgroup.procs", PROCS_LIMIT, &text, NULL);
    /* A threaded sub-group lists its processes in its domain; one that was just removed lists nothing. */
    if (r == -EOPNOTSUPP || r == -ENOENT || r == -ENODEV)
        return 0;
    if (r < 0)
        return r;
    for (char *p = text; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        long pid = strtol(p, NULL, 10);
        if (pid > 0) /* 0 = not visible in our pid namespace */
            ARRAY_PUSH(pids->pid, pids->n) = (pid_t)pid;
    }
    return 0;
}

static int tree_collect(int dir, unsigned depth, Pids *pids)
{
    int r = procs_collect(dir, pids);
    if (r < 0 || depth == DEPTH_MAX)
        return r;
    int again = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again < 0 ? NULL : fdopendir(again);
    if (!d) {
        fd_close(again);
        return errno == ENOENT ? 0 : -errno;
    }
    for (struct dirent *de; r >= 0 && (de = readdir(d));) {
        if (de->d_type != DT_DIR || de->d_name[0] == '.')
            continue;
        _cleanup_fd_ int sub = openat(dir, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub >= 0)
            r = tree_collect(sub, depth + 1, pids);
    }
    closedir(d);
    return r;
}

int group_pids(const Group *g, pid_t **ret, size_t *ret_n)
{
    _cleanup_fd_ int dir = group_open_file(g, CG_UNIFIED, ".", O_RDONLY | O_DIRECTORY);
    if (dir < 0)
        return dir;
    Pids pids = {0};
    int r = tree_collect(dir, 0, &pids);
    if (r < 0) {
        free(pids.pid);
        return r;
    }
    *ret = pids.pid;
    *ret_n = pids.n;
    return 0;
}

/* Freezes and waits until it is so: 0, or -ETIMEDOUT, or what the kernel says. */
static int freeze(const Group *g)
{
    _cleanup_fd_ int events = group_open_file(g, CG_UNIFIED, "cgroup.events", O_RDONLY);
    _cleanup_fd_ int fd = group_open_file(g, CG_UNIFIED, "cgroup.freeze", O_WRONLY);
    if (events < 0 || fd < 0)
        return events < 0 ? events : fd;
    int r = event_read(events, "frozen"); /* also arms POLLPRI */
    if (r < 0)
        return r;
    if (write(fd, "1", 1) < 0)
        return -errno;
    uint64_t deadline = now_monotonic() + FREEZE_TIMEOUT_USEC;
    while ((r = event_read(events, "frozen")) == 0) {
        uint64_t now = now_monotonic();
        if (now >= deadline)
            return -ETIMEDOUT;
        struct pollfd p = {.fd = events, .events = POLLPRI};
        if (poll(&p, 1, (int)((deadline - now) / USEC_PER_MSEC) + 1) < 0 && errno != EINTR)
            return -errno;
    }
    return r < 0 ? r : 0;
}

static int thaw(const Group *g)
{
    _cleanup_fd_ int fd = group_open_file(g, CG_UNIFIED, "cgroup.freeze", O_WRONLY);
    return fd < 0 ? fd : write(fd, "0", 1) < 0 ? -errno : 0;
}

/* Whether /proc/PID/cgroup puts it into the group or below. */
static bool is_member(const Group *g, pid_t pid)
{
    char path[64];
    _cleanup_(freep) char *text = NULL;
    snprintf(path, sizeof path, "/proc/%d/cgroup", (int)pid);
    if (file_read_all(AT_FDCWD, path, 1u << 20, &text, NULL) < 0)
        return false;
    const char *line = str_starts(text, "0::") ? text : strstr(text, "\n0::");
    if (!line)
        return false;
    line += *line == '\n' ? 4 : 3;
    size_t n = strlen(g->cgroup_path);
    return strncmp(line, g->cgroup_path, n) == 0 && (line[n] == '\n' || line[n] == '/');
}

/* 1 signalled, 0 gone or not one of ours. */
static int signal_member(const Group *g, pid_t pid, int sig)
{
    _cleanup_fd_ int fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0)
        return errno == ESRCH ? 0 : -errno;
    if (!is_member(g, pid))
        return 0;
    if (syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0)
        return errno == ESRCH ? 0 : -errno;
    return 1;
}

static int by_pid(const void *a, const void *b)
{
    pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;
    return (x > y) - (x < y);
}

/* Signals whoever is not in `seen` (sorted) yet, and makes the list just read the new `seen`. Returns how many were
 * new. */
static int signal_new(const Group *g, int sig, Pids *seen, int *signalled)
{
    Pids now = {0};
    int r = group_pids(g, &now.pid, &now.n), found = 0;
    if (r < 0)
        return r;
    if (now.n > 0)
        qsort(now.pid, now.n, sizeof *now.pid, by_pid);
    for (size_t i = 0; i < now.n; i++) {
        if (seen->n > 0 && bsearch(&now.pid[i], seen->pid, seen->n, sizeof *seen->pid, by_pid))
            continue;
        found++;
        int k = signal_member(g, now.pid[i], sig);
        if (k < 0)
            r = k;
        else
            *signalled += k;
    }
    free(seen->pid);
    *seen = now;
    return r < 0 ? r : found;
}

int group_signal(Group *g, int sig)
{
    const bool freezes = g->tree->features.freeze;
    int frozen = freezes ? freeze(g) : -EOPNOTSUPP;
    if (frozen == -ENOENT)
        return -ENOENT;
    Pids seen = {0};
    int signalled = 0, r = 1;
    /* Frozen, one pass finds all of them; else until a pass finds nobody new. Who blocks the signal, as glibc's fork()
     * does since 2.41, may still have a child that was not told: cgroup.kill is for those. */
    for (int pass = 0; r > 0 && pass < (frozen == 0 ? 1 : SIGNAL_PASSES); pass++)
        r = signal_new(g, sig, &seen, &signalled);
    free(seen.pid);
    /* Always thawed: a group that a dead daemon left frozen would never act on its signals. */
    int thawed = freezes ? thaw(g) : 0;
    if (r < 0)
        return r;
    return thawed < 0 && thawed != -ENOENT ? thawed : signalled;
}

int group_kill(Group *g)
{
    /* Who has SIGKILL pending forks no more: when a pass finds nobody new, all of them are on their way out. */
    if (!g->tree->features.kill) {
        int n = group_signal(g, SIGKILL);
        return n < 0 ? n : 0;
    }
    _cleanup_fd_ int fd = group_open_file(g, CG_UNIFIED, "cgroup.kill", O_WRONLY);
    if (fd < 0)
        return fd;
    return write(fd, "1", 1) < 0 ? (errno == ENODEV ? -ENOENT : -errno) : 0;
}
