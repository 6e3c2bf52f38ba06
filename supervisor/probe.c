/* See probe.h. A probe asks the kernel for the thing itself, in its most harmless form: a version number would not know
 * of a sandbox around us that refuses a call, and those are where absences come from. */
#include "supervisor/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <sys/capability.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "supervisor/run/view.h"

/* --- system calls --- */

static void note_call(Features *f, FeatureId id, bool here, int error)
{
    feature_note(f, id, here, here ? NULL : strerror(error));
}

static void probe_pidfd(Features *f)
{
    siginfo_t si;
    _cleanup_fd_ int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    bool here = fd >= 0 && syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0) == 0;
    /* We are no child of our own: a kernel that knows pidfds says so, another one that it does not know the argument.
     */
    if (here)
        here = waitid(P_PIDFD, (id_t)fd, &si, WEXITED | WNOHANG) == 0 || errno == ECHILD;
    note_call(f, FEATURE_PIDFD, here, errno);
}

static void probe_clone3(Features *f)
{
    /* Arguments of no size are wrong for those who know the call. */
    bool here = syscall(SYS_clone3, NULL, 0) < 0 && errno == EINVAL;
    note_call(f, FEATURE_CLONE3, here, errno);
}

static void probe_close_range(Features *f)
{
    note_call(f, FEATURE_CLOSE_RANGE, syscall(SYS_close_range, ~0u, ~0u, CLOSE_RANGE_CLOEXEC) == 0, errno);
}

static void probe_openat2(Features *f)
{
    int r = open_beneath(AT_FDCWD, ".", O_PATH | O_DIRECTORY, 0);
    note_call(f, FEATURE_OPENAT2, r >= 0, -r);
    fd_close(r);
}

static bool action_here(uint32_t action)
{
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0;
}

static void probe_seccomp(Features *f)
{
    /* A filter at no address: who has filters fails to read it. */
    bool filters = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, NULL) < 0 && errno == EFAULT;
    int error = errno;
    bool here = filters && action_here(SECCOMP_RET_KILL_PROCESS) && action_here(SECCOMP_RET_ERRNO);
    note_call(f, FEATURE_SECCOMP, here, filters ? errno : error);
    note_call(f, FEATURE_SECCOMP_LOG, filters && action_here(SECCOMP_RET_LOG), filters ? errno : error);
}

static void probe_children_file(Features *f)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)gettid());
    note_call(f, FEATURE_PROC_CHILDREN, access(path, R_OK) == 0, errno);
}

static void probe_ptrace(Features *f)
{
    cap_flag_value_t value = CAP_CLEAR;
    cap_t caps = cap_get_proc();
    if (caps)
        (void)cap_get_flag(caps, CAP_SYS_PTRACE, CAP_EFFECTIVE, &value);
    /* Forced: given up, so that the kernel refuses what we are not to use. */
    if (caps && value == CAP_SET && feature_absent(f, FEATURE_PTRACE)) {
        const cap_value_t cap = CAP_SYS_PTRACE;
        (void)cap_set_flag(caps, CAP_EFFECTIVE, 1, &cap, CAP_CLEAR);
        (void)cap_set_flag(caps, CAP_PERMITTED, 1, &cap, CAP_CLEAR);
        (void)cap_set_proc(caps);
    }
    (void)cap_free(caps);
    feature_note(f, FEATURE_PTRACE, value == CAP_SET, value == CAP_SET ? NULL : "CAP_SYS_PTRACE is not among our own");
}

void probe_calls(Features *f)
{
    probe_pidfd(f);
    probe_clone3(f);
    probe_close_range(f);
    probe_openat2(f);
    probe_seccomp(f);
    probe_children_file(f);
    if (geteuid() == 0) /* others have none, and nothing follows from it */
        probe_ptrace(f);
}

void probe_tell_rooms(const Features *f)
{
    open_beneath_plainly(feature_absent(f, FEATURE_OPENAT2));
    const CgroupFeatures allowed = {
        .tree = !feature_absent(f, FEATURE_CGROUP_TREE),
        .memory = !feature_absent(f, FEATURE_CGROUP_MEMORY),
        .cpu = !feature_absent(f, FEATURE_CGROUP_CPU),
        .pids = !feature_absent(f, FEATURE_CGROUP_PIDS),
        .cpuset = !feature_absent(f, FEATURE_CGROUP_CPUSET),
        .memory_high = !feature_absent(f, FEATURE_MEMORY_HIGH),
        .memory_swap = !feature_absent(f, FEATURE_MEMORY_SWAP),
        .memory_peak = !feature_absent(f, FEATURE_MEMORY_PEAK),
        .pressure = !feature_absent(f, FEATURE_PSI),
        .clone_into = !feature_absent(f, FEATURE_CLONE_INTO_CGROUP) && !feature_absent(f, FEATURE_CLONE3),
        .kill = !feature_absent(f, FEATURE_CGROUP_KILL),
        .freeze = !feature_absent(f, FEATURE_CGROUP_FREEZE),
        .events = !feature_absent(f, FEATURE_CGROUP_EVENTS),
    };
    cgroup_features_allow(&allowed);
}

/* --- cgroups --- */

static void note_controller(Features *f, FeatureId id, const CgroupTree *t, const char *name)
{
    const char *carrier = cgroup_tree_carrier(t, name);
    feature_note(f, id, carrier, carrier ? carrier : "no hierarchy gives it to the daemon's cgroup");
}

void probe_tree(Features *f, const CgroupTree *t, const Error *why)
{
    if (!t) {
        feature_note(f, FEATURE_CGROUP_TREE, false, error_message(why));
        features_infer(f);
        return;
    }
    const CgroupFeatures *c = cgroup_tree_features(t);
    bool v1 = str_equal(cgroup_tree_carrier(t, "memory"), "v1");
    feature_note(f, FEATURE_CGROUP_TREE, true,
                 cgroup_tree_mode(t) == CGROUP_PURE ? "cgroup2 alone" : "hybrid: cgroup2 beside v1");
    note_controller(f, FEATURE_CGROUP_MEMORY, t, "memory");
    note_controller(f, FEATURE_CGROUP_CPU, t, "cpu");
    note_controller(f, FEATURE_CGROUP_PIDS, t, "pids");
    note_controller(f, FEATURE_CGROUP_CPUSET, t, "cpuset");
    feature_note(f, FEATURE_MEMORY_HIGH, c->memory_high,
                 c->memory_high ? NULL
                 : v1           ? "memory is on v1"
                                : "no such file");
    feature_note(f, FEATURE_MEMORY_SWAP, c->memory_swap, c->memory_swap ? NULL : "no such file");
    feature_note(f, FEATURE_MEMORY_PEAK, c->memory_peak, c->memory_peak ? NULL : "no such file");
    feature_note(f, FEATURE_PSI, c->pressure, c->pressure ? NULL : "memory.pressure cannot be read");
    feature_note(f, FEATURE_CLONE_INTO_CGROUP, c->clone_into,
                 feature_absent(f, FEATURE_CLONE3) ? "needs clone3" : c->clone_into_why);
    feature_note(f, FEATURE_CGROUP_KILL, c->kill, c->kill ? NULL : "no such file");
    feature_note(f, FEATURE_CGROUP_FREEZE, c->freeze, c->freeze ? NULL : "no such file");
    feature_note(f, FEATURE_CGROUP_EVENTS, c->events, c->events_why);
    features_infer(f);
}

/* --- programs --- */

static const FeatureId part_features[KERNEL_PROGRAMS_N] = {
    [KERNEL_CONTROL] = FEATURE_BPF_CONTROL,
    [KERNEL_EXITS] = FEATURE_BPF_EXITS,
    [KERNEL_OOM] = FEATURE_BPF_OOM,
    [KERNEL_SIGNALS] = FEATURE_BPF_SIGNALS,
    [KERNEL_CONNECTIONS] = FEATURE_BPF_CONNECTIONS,
    [KERNEL_UNIX] = FEATURE_BPF_UNIX,
    [KERNEL_CALLS] = FEATURE_BPF_CALLS,
    [KERNEL_WRITES] = FEATURE_BPF_WRITES,
};

static void note_result(Features *f, FeatureId id, int r, const Error *e)
{
    feature_note(f, id, r == 0, r == 0 ? NULL : error_message(e));
}

void probe_kernel(Features *f, const char *btf_path, const char *bpffs_path, const char *instance, int cgroup)
{
    Error e = {0};
    note_result(f, FEATURE_BTF, kernel_probe_btf(btf_path, &e), &e);
    if (!feature_absent(f, FEATURE_BTF)) {
        e = (Error){0};
        note_result(f, FEATURE_BPFFS, kernel_probe_bpffs(bpffs_path, instance, &e), &e);
    }
    for (int i = 0; i < KERNEL_PROGRAMS_N; i++) {
        if (feature_absent(f, FEATURE_BTF) || feature_absent(f, FEATURE_BPFFS) || feature_absent(f, part_features[i]))
            continue;
        e = (Error){0};
        note_result(f, part_features[i], kernel_probe_part((KernelPrograms)i, cgroup, &e), &e);
    }
    features_infer(f);
}

void probe_kernel_loaded(Features *f, unsigned without)
{
    feature_note(f, FEATURE_BTF, true, NULL);
    feature_note(f, FEATURE_BPFFS, true, NULL);
    for (int i = 0; i < KERNEL_PROGRAMS_N; i++)
        if (!((without | KERNEL_ON_DEMAND) & (1u << i)))
            feature_note(f, part_features[i], true, NULL);
}

unsigned probe_kernel_without(const Features *f)
{
    unsigned without = 0;
    for (int i = 0; i < KERNEL_PROGRAMS_N; i++)
        without |= feature_absent(f, part_features[i]) ? 1u << i : 0;
    return without;
}

/* --- the view --- */

void probe_view(Features *f)
{
    int view = -EBADF, root = -EBADF;
    Error e = {0};
    note_result(f, FEATURE_MOUNT_VIEW, view_open(NULL, &view, &root, &e), &e);
    fd_close(view);
    fd_close(root);
}
