/* See child.h. Nothing here may allocate, take a lock, or touch what the parent shares: after clone only this thread
 * exists and the heap may be in any state. Order matters and is explained where it does. */
#include "supervisor/run/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

const char *const launch_stage_names[STAGE_N] = {
#define X(id, name) [STAGE_##id] = name,
    LAUNCH_STAGES(X)
#undef X
};

enum { LISTEN_PID_DIGITS = 10 };

_Static_assert(RLIM_NLIMITS == RLIMIT_COUNT, "policy.h counts the rlimits");

static int enter_cgroups(const ChildPlan *p)
{
    for (size_t h = 0; h < CG_N; h++)
        if (p->procs[h] >= 0 && write(p->procs[h], "0", 1) < 0)
            return errno;
    return 0;
}

static int enter_view(const ChildPlan *p)
{
    if (p->view < 0)
        return 0;
    /* setns() puts us at the namespace's own root; a daemon in a chroot wants its modules in there too. */
    if (setns(p->view, CLONE_NEWNS) < 0 || fchdir(p->root) < 0 || chroot(".") < 0)
        return errno;
    return 0;
}

/* From here on descriptors are ours alone. Copying only those below leaves no thousand to close at exec. */
static int own_descriptors(const ChildPlan *p)
{
    return p->own_fds && syscall(SYS_close_range, p->own_fds, ~0u, CLOSE_RANGE_UNSHARE) < 0 ? errno : 0;
}

/* Puts `from` on descriptor `to`, without CLOEXEC. */
static int place(int from, int to)
{
    if (from == to)
        return fcntl(to, F_SETFD, 0) < 0 ? errno : 0;
    return dup2(from, to) < 0 ? errno : 0;
}

static int set_output(const ChildPlan *p, int *report)
{
    /* All that is still needed moves above the readiness descriptor first, so that no dup2 tramples on it. The daemon's
     * own descriptors are CLOEXEC, so nothing else has to be closed. */
    int above = p->ready_fd >= 0 ? p->ready_number + 1 : 3;
    int ready = p->ready_fd, listen[LISTEN_MAX];
    above = above > 3 + (int)p->n_listen ? above : 3 + (int)p->n_listen;
    if (ready >= 0) {
        ready = fcntl(ready, F_DUPFD_CLOEXEC, above);
        if (ready < 0)
            return errno;
    }
    int fd = fcntl(*report, F_DUPFD_CLOEXEC, above);
    if (fd < 0)
        return errno;
    *report = fd;
    int stdio[3];
    for (int i = 0; i < 3; i++)
        if ((stdio[i] = fcntl(p->stdio[i], F_DUPFD_CLOEXEC, above)) < 0)
            return errno;
    for (int i = 0; i < 3; i++) {
        int r = place(stdio[i], i);
        if (r)
            return r;
    }
    for (size_t i = 0; i < p->n_listen; i++)
        if ((listen[i] = fcntl(p->listen[i], F_DUPFD_CLOEXEC, above)) < 0)
            return errno;
    for (size_t i = 0; i < p->n_listen; i++)
        if (dup2(listen[i], 3 + (int)i) < 0)
            return errno;
    return ready >= 0 ? place(ready, p->ready_number) : 0;
}

static int set_limits(const ChildPlan *p, int *limit)
{
    umask(p->umask);
    for (int i = 0; i < RLIMIT_COUNT; i++) {
        const Rlimit *l = &p->limits->rlimits[i];
        struct rlimit value = {l->soft, l->hard};
        if (i == RLIMIT_NOFILE && !l->set)
            value = (struct rlimit){p->inherited_nofile.soft, p->inherited_nofile.hard};
        else if (!l->set)
            continue;
        *limit = i;
        if (setrlimit((__rlimit_resource_t)i, &value) < 0)
            return errno;
    }
    *limit = CHILD_LIMIT_NICE;
    if (p->limits->nice_set && setpriority(PRIO_PROCESS, 0, p->limits->nice) < 0)
        return errno;
    *limit = CHILD_LIMIT_OOM_SCORE_ADJ;
    if (p->limits->oom_score_adj_set || p->reset_oom_score_adj) {
        char text[16];
        int value = p->limits->oom_score_adj_set ? p->limits->oom_score_adj : 0;
        int n = snprintf(text, sizeof text, "%d", value); /* integers only: allocates nothing */
        int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, text, (size_t)n) < 0)
            return errno;
        close(fd);
    }
    return 0;
}

static int drop_bounding(uint64_t keep)
{
    for (unsigned long cap = 0; cap < 64; cap++) {
        /* Dropping takes CAP_SETPCAP, which a container may lack together with all that is to be dropped. */
        if ((keep & (1ull << cap)) || prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 0)
            continue;
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
            if (errno == EINVAL) /* past the kernel's last one */
                return 0;
            return errno;
        }
    }
    return 0;
}

static int set_user(const ChildPlan *p)
{
    if (p->ambient && prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
        return errno;
    /* The raw call: glibc's wrapper would signal other threads, of which a clone has none but its tables may say so. */
    if (syscall(SYS_setresuid, p->uid, p->uid, p->uid) < 0)
        return errno;
    return 0;
}

/* For a user that is not root: exactly the ambient set, and it survives exec. Root gets its capabilities from the
 * bounding set at exec. */
static int set_ambient(const ChildPlan *p)
{
    if (p->uid == 0 || !p->ambient)
        return 0;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    for (int i = 0; i < 2; i++) {
        uint32_t bits = (uint32_t)(p->ambient >> (32 * i));
        data[i] = (struct __user_cap_data_struct){.effective = bits, .permitted = bits, .inheritable = bits};
    }
    if (syscall(SYS_capset, &header, data) < 0)
        return errno;
    for (unsigned long cap = 0; cap < 64; cap++)
        if ((p->ambient & (1ull << cap)) && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
            return errno;
    return 0;
}

static int set_seccomp(const ChildPlan *p)
{
    if (p->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return errno;
    if (p->filter.len && syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &p->filter) < 0)
        return errno;
    return 0;
}

/* LISTEN_PID says for whom the descriptors are; it is known here alone. */
static void write_pid(char *s)
{
    char digits[LISTEN_PID_DIGITS];
    int n = 0;
    for (unsigned pid = (unsigned)getpid(); pid && n < LISTEN_PID_DIGITS; pid /= 10)
        digits[n++] = (char)('0' + pid % 10);
    while (n > 0)
        *s++ = digits[--n];
    *s = '\0';
}

static void reset_signals(void)
{
    /* CLONE_CLEAR_SIGHAND reset the handlers; ignored ones stay ignored and the mask is inherited. */
    signal(SIGPIPE, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void fail_limit(int report, LaunchStage stage, int error, int limit)
{
    ChildReport r = {.stage = (int)stage, .error = error, .limit = limit};
    (void)!write(report, &r, sizeof r);
    _exit(127);
}

static _Noreturn void fail(int report, LaunchStage stage, int error)
{
    fail_limit(report, stage, error, 0);
}

_Noreturn void child_main(const ChildPlan *p)
{
    int report = p->report, limit = 0, r;
    if ((r = enter_cgroups(p)))
        fail(report, STAGE_CGROUP, r);
    if (setsid() < 0)
        fail(report, STAGE_SESSION, errno);
    if ((r = enter_view(p)))
        fail(report, STAGE_NAMESPACE, r);
    if ((r = own_descriptors(p)) || (r = set_output(p, &report)))
        fail(report, STAGE_OUTPUT, r);
    if ((r = set_limits(p, &limit)))
        fail_limit(report, STAGE_LIMITS, r, limit);
    if (setgroups(p->n_groups, p->groups) < 0 || syscall(SYS_setresgid, p->gid, p->gid, p->gid) < 0)
        fail(report, STAGE_GROUPS, errno);
    if ((r = drop_bounding(p->bounding))) /* needs CAP_SETPCAP, so before the user */
        fail(report, STAGE_CAPABILITIES, r);
    if ((r = set_user(p)))
        fail(report, STAGE_USER, r);
    if ((r = set_ambient(p)))
        fail(report, STAGE_CAPABILITIES, r);
    /* As the user: a directory it may not enter is its own failure, not ours to hide. */
    if (chdir(p->directory ? p->directory : "/") < 0)
        fail(report, STAGE_DIRECTORY, errno);
    /* As late as can be, and in the cgroup: a cpuset narrows it down. A mask without a CPU it may use is left as it is.
     */
    if (p->cpus)
        (void)sched_setaffinity(0, sizeof *p->cpus, p->cpus);
    reset_signals();
    if (p->listen_pid)
        write_pid(p->listen_pid);
    if ((r = set_seccomp(p))) /* last: from here on only write, execve and exit_group are sure to be allowed */
        fail(report, STAGE_SECCOMP, r);
    ChildReport last = {.stage = STAGE_EXEC, .error = 0};
    (void)!write(report, &last, sizeof last);
    if (p->probe)
        _exit(p->probe(p->probe_argument));
    execve(p->path, p->argv, p->envp);
    fail(report, STAGE_EXEC, errno);
}
