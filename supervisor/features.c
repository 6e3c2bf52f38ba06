/* See features.h: the table, and what is said from it. */
#include "supervisor/features.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "base/str.h"

#define DELEGATE    "a cgroup that is delegated to the daemon with this controller (Delegate=yes; cgroup_enable= at boot)"
#define NOT_COUNTED "no connection is counted and no drain waits for any; how a process ended is told by wait(2) alone"
#define BPF_CAPS    "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN, and a kernel that has this tracepoint"

const FeatureRow feature_rows[FEATURE_N] = {
    [FEATURE_CGROUP_TREE] =
        {"cgroup-tree", NEED_CGROUPS, FEATURE_CGROUP_TREE,
         "a cgroup tree that can be written to: cgroup2, alone or beside v1",
         "no limit of a cgroup can hold, nothing is counted; a process that hides both its session and its environment "
         "is found at the daemon's end only",
         "sessions, marks in the environment, the daemon as reaper of orphans; every limit is refused by name",
         "cgroup2 mounted and writable: in a container a writable /sys/fs/cgroup"},
    [FEATURE_CGROUP_MEMORY] = {"cgroup-memory", NEED_NOT, FEATURE_CGROUP_TREE,
                               "the memory controller, of cgroup2 or v1", "memory is neither limited nor measured",
                               "the memory limits are refused by name", DELEGATE},
    [FEATURE_CGROUP_CPU] = {"cgroup-cpu", NEED_NOT, FEATURE_CGROUP_TREE, "the cpu controller, of cgroup2 or v1",
                            "CPU time is not limited, throttling not measured",
                            "cpu_max and cpu_weight are refused by name", DELEGATE},
    [FEATURE_CGROUP_PIDS] = {"cgroup-pids", NEED_NOT, FEATURE_CGROUP_TREE, "the pids controller, of cgroup2 or v1",
                             "the number of processes is neither limited nor shown", "pids_max is refused by name",
                             DELEGATE},
    [FEATURE_CGROUP_CPUSET] = {"cgroup-cpuset", NEED_NOT, FEATURE_CGROUP_TREE,
                               "the cpuset controller, of cgroup2 or v1", "modules cannot be kept to some CPUs",
                               "cpus is refused by name", DELEGATE},
    [FEATURE_MEMORY_HIGH] = {"memory-high", NEED_NOT, FEATURE_CGROUP_MEMORY,
                             "memory.high and memory.oom.group, which cgroup2 has",
                             "no throttling before the hard limit, no killing of a module as one",
                             "memory_high and oom_group are refused by name",
                             "systemd.unified_cgroup_hierarchy=1 at boot"},
    [FEATURE_MEMORY_SWAP] = {"memory-swap", NEED_NOT, FEATURE_CGROUP_MEMORY, "the accounting of swap, in cgroup2 or v1",
                             "swap is not limited", "memory_swap_max is refused by name", "swapaccount=1 at boot"},
    [FEATURE_MEMORY_PEAK] = {"memory-peak", NEED_NOT, FEATURE_CGROUP_MEMORY,
                             "memory.peak, or v1's memory.max_usage_in_bytes", "the peak of memory is not shown", NULL,
                             "Linux 5.19"},
    [FEATURE_PSI] = {"psi", NEED_NOT, FEATURE_CGROUP_TREE, "cpu.pressure, memory.pressure and io.pressure of a cgroup",
                     "explain does not tell how long a module waits for CPU, memory and disk", NULL,
                     "a kernel with CONFIG_PSI=y, psi=1 at boot"},
    [FEATURE_CLONE_INTO_CGROUP] = {"clone-into-cgroup", NEED_NOT, FEATURE_CGROUP_TREE,
                                   "clone3(CLONE_INTO_CGROUP), tried with a child that has to live",
                                   "each start takes some 60 us more",
                                   "the child joins its cgroup by itself, before it does anything else",
                                   "Linux 5.7, and a cgroup for the daemon to which cgroup.kill was never written"},
    [FEATURE_CGROUP_KILL] = {"cgroup-kill", NEED_NOT, FEATURE_CGROUP_TREE, "cgroup.kill",
                             "killing takes two system calls a process, and a fork bomb can hold it up",
                             "SIGKILL to each process while the cgroup is frozen", "Linux 5.14"},
    [FEATURE_CGROUP_FREEZE] = {"cgroup-freeze", NEED_NOT, FEATURE_CGROUP_TREE, "cgroup.freeze",
                               "a signal to all of a module goes out in passes until nobody new is found, 64 at most",
                               "passes", "Linux 5.2"},
    [FEATURE_CGROUP_EVENTS] = {"cgroup-events", NEED_NOT, FEATURE_CGROUP_TREE,
                               "POLLPRI on cgroup.events, tried with a child",
                               "the end of what outlives a main process is seen up to 50 ms late, by waking up",
                               "a look every 50 ms while a module is being stopped", "a kernel that is not emulated"},
    [FEATURE_BTF] = {"btf", NEED_BPF, FEATURE_BTF, "/sys/kernel/btf/vmlinux", NOT_COUNTED,
                     "nothing is loaded into the kernel", "a kernel with CONFIG_DEBUG_INFO_BTF=y, and /sys in sight"},
    [FEATURE_BPFFS] = {"bpffs", NEED_BPF, FEATURE_BTF, "a bpffs mount, or the right to make one", NOT_COUNTED,
                       "nothing is loaded into the kernel", "mount -t bpf bpf /sys/fs/bpf"},
    [FEATURE_BPF_CONTROL] = {"bpf-control", NEED_BPF, FEATURE_BPFFS, "a program of type syscall, by loading it",
                             NOT_COUNTED, "nothing is loaded into the kernel", BPF_CAPS},
    [FEATURE_BPF_EXITS] = {"bpf-exits", NEED_BPF, FEATURE_BPF_CONTROL,
                           "a program on tp_btf/sched_process_exit, by loading and attaching it",
                           "how a main process ended that is no child of the daemon (MAINPID=) is unknown", "wait(2)",
                           BPF_CAPS},
    [FEATURE_BPF_OOM] = {"bpf-oom", NEED_BPF, FEATURE_BPF_CONTROL,
                         "a program on tp_btf/mark_victim, by loading and attaching it",
                         "which process the OOM killer chose is not told, and on a module's death only guessed",
                         "the cgroup's own count of OOM kills", BPF_CAPS},
    [FEATURE_BPF_SIGNALS] = {"bpf-signals", NEED_BPF, FEATURE_BPF_CONTROL,
                             "a program on tp_btf/signal_generate, by loading and attaching it",
                             "neither who sent a signal nor which syscall was denied is told", NULL, BPF_CAPS},
    [FEATURE_BPF_CONNECTIONS] =
        {"bpf-connections", NEED_BPF, FEATURE_BPF_CONTROL,
         "sockops, cgroup_skb and iterators over sockets, by loading them and attaching to a cgroup what hangs on one",
         "no connection is counted and no drain waits for any; ready = tcp takes a process that tries to connect",
         "drains are skipped, readiness is tried", BPF_CAPS},
    [FEATURE_BPF_UNIX] = {"bpf-unix", NEED_NOT, FEATURE_BPF_CONTROL,
                          "programs on tp_btf/sock_recv_length and sock_send_length, by loading and attaching them",
                          "exchanges on unix sockets are not counted", "track = unix is refused by name", "Linux 6.2"},
    [FEATURE_BPF_CALLS] = {"bpf-calls", NEED_NOT, FEATURE_BPF_CONTROL, "uprobes, by one on a function of bulkheadd",
                           "calls of functions are not counted", "track = calls and usdt are refused by name",
                           "a kernel with CONFIG_UPROBE_EVENTS=y"},
    [FEATURE_BPF_WRITES] = {"bpf-writes", NEED_NOT, FEATURE_BPF_CONTROL,
                            "programs on tp_btf/sys_enter and sys_exit, by loading and attaching them",
                            "writes in progress are not counted", "track = writes is refused by name",
                            "a kernel with CONFIG_FTRACE_SYSCALLS=y"},
    [FEATURE_PIDFD] = {"pidfd", NEED_ALWAYS, FEATURE_PIDFD, "pidfd_open, pidfd_send_signal, waitid(P_PIDFD)",
                       "the daemon does not start: a signal could hit a stranger", NULL,
                       "Linux 5.4, or a seccomp profile around the daemon that lets them through"},
    [FEATURE_CLONE3] = {"clone3", NEED_NOT, FEATURE_CLONE3, "clone3",
                        "no CLONE_INTO_CGROUP: each start takes some 60 us more", "clone(2) with CLONE_PIDFD",
                        "Linux 5.3, or a seccomp profile around the daemon that lets it through"},
    [FEATURE_CLOSE_RANGE] = {"close-range", NEED_NOT, FEATURE_CLOSE_RANGE, "close_range",
                             "each start copies the daemon's page tables and descriptors",
                             "children that begin as a plain copy of the daemon", "Linux 5.11"},
    [FEATURE_OPENAT2] = {"openat2", NEED_NOT, FEATURE_OPENAT2, "openat2(RESOLVE_BENEATH)",
                         "a few system calls more for each file of the daemon's own",
                         "openat(O_NOFOLLOW), a component at a time",
                         "Linux 5.6, or a seccomp profile around the daemon that lets it through"},
    [FEATURE_MOUNT_VIEW] =
        {"mount-view", NEED_CGROUPS, FEATURE_MOUNT_VIEW,
         "a mount namespace for the modules, by making one (CAP_SYS_ADMIN)",
         "modules see the daemon's own mounts: /run/bulkhead is not hidden, /proc/sys/kernel as writable as it is",
         "nothing; only where there is no cgroup tree that a module could undo its limits in",
         "CAP_SYS_ADMIN for the daemon"},
    [FEATURE_SECCOMP] = {"seccomp", NEED_NOT, FEATURE_SECCOMP,
                         "seccomp filters with the actions kill-process and errno", "no syscall can be denied",
                         "modules with a profile are refused by name", "a kernel with CONFIG_SECCOMP_FILTER=y"},
    [FEATURE_SECCOMP_LOG] = {"seccomp-log", NEED_NOT, FEATURE_SECCOMP, "the seccomp action log",
                             "a profile cannot be tried out without enforcing it",
                             "on_violation = log is refused by name", "Linux 4.14"},
    [FEATURE_PROC_CHILDREN] = {"proc-children", NEED_NOT, FEATURE_PROC_CHILDREN, "/proc/PID/task/TID/children",
                               "finding the orphans that the daemon must reap looks at every process",
                               "the parent in /proc/PID/stat", "a kernel with CONFIG_PROC_CHILDREN=y"},
    [FEATURE_PTRACE] = {"ptrace", NEED_NOT, FEATURE_PTRACE,
                        "CAP_SYS_PTRACE, to read the environment of other users' processes",
                        "without cgroups a process that has left its session and changed its user without exec is "
                        "found at the daemon's end only",
                        "reading as that user; sessions and parents", "CAP_SYS_PTRACE for the daemon"},
};

static const char *const need_words[] = {
    [NEED_ALWAYS] = "always",
    [NEED_CGROUPS] = "unless cgroups = optional",
    [NEED_BPF] = "unless bpf = optional",
    [NEED_NOT] = "no",
};

int features_without(Features *f, const char *list, Error *e)
{
    _cleanup_(freep) char *copy = xstrdup(list);
    const char *names[FEATURE_N];
    for (int i = 0; i < FEATURE_N; i++)
        names[i] = feature_rows[i].name;
    char *save = NULL;
    for (const char *name = strtok_r(copy, ", ", &save); name; name = strtok_r(NULL, ", ", &save)) {
        int i = 0;
        while (i < FEATURE_N && !str_equal(names[i], name))
            i++;
        if (i == FEATURE_N) {
            _cleanup_(freep) char *shown = str_escape(name, strlen(name), 64);
            const char *near = str_nearest(name, names, FEATURE_N);
            return error_set(e, -EINVAL, "--without: no feature '%s' (%s%s)", shown,
                             near ? "did you mean " : "bulkheadd --features lists them", near ? near : "");
        }
        f->of[i].forced = true;
        feature_note(f, (FeatureId)i, false, NULL);
    }
    return 0;
}

void feature_note(Features *f, FeatureId id, bool here, const char *why)
{
    bool forced = f->of[id].forced;
    f->of[id].state = here && !forced ? FEATURE_HERE : FEATURE_ABSENT;
    snprintf(f->of[id].why, sizeof f->of[id].why, "%s", forced ? "switched off by --without" : why ? why : "");
}

void features_infer(Features *f)
{
    /* Rows stand below the one they depend on. */
    for (int i = 0; i < FEATURE_N; i++) {
        FeatureId above = feature_rows[i].above;
        if (!feature_absent(f, above) || feature_absent(f, (FeatureId)i))
            continue;
        char why[64];
        snprintf(why, sizeof why, "needs %s", feature_rows[above].name);
        feature_note(f, (FeatureId)i, false, why);
    }
}

void features_mark_unknown(Features *f, const char *why)
{
    for (int i = 0; i < FEATURE_N; i++)
        if (f->of[i].state == FEATURE_UNKNOWN)
            snprintf(f->of[i].why, sizeof f->of[i].why, "%s", why);
}

int feature_refuse(const Features *f, FeatureId id, Error *e)
{
    const FeatureRow *row = &feature_rows[id];
    const char *option = row->need == NEED_CGROUPS ? "; cgroups = optional in [supervisor] goes on without"
                         : row->need == NEED_BPF   ? "; bpf = optional in [supervisor] goes on without"
                                                   : "";
    return error_set(e, -ENOTSUP, "%s is needed and not here: %s (what would help: %s%s)", row->name,
                     str_or(f->of[id].why, row->what), row->mend, option);
}

bool features_suffice(const Features *f)
{
    for (int i = 0; i < FEATURE_N; i++)
        if (feature_rows[i].need != NEED_NOT && f->of[i].state != FEATURE_HERE)
            return false;
    return true;
}

void features_log(const Features *f)
{
    for (int i = 0; i < FEATURE_N; i++) {
        const FeatureRow *row = &feature_rows[i];
        if (!feature_absent(f, (FeatureId)i) ||
            (feature_absent(f, row->above) && row->above != (FeatureId)i && !f->of[i].forced))
            continue;
        LogLevel level = row->need == NEED_NOT ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING;
        log_line(level, "event=feature-absent feature=%s reason=\"%s\" cost=\"%s\" instead=\"%s\"", row->name,
                 str_or(f->of[i].why, "not there"), row->cost, str_or(row->instead, "nothing"));
    }
}

static json_t *text(const char *s)
{
    return s && *s ? json_string(s) : json_null();
}

json_t *features_json(const Features *f)
{
    json_t *all = json_array();
    for (int i = 0; i < FEATURE_N; i++) {
        const FeatureRow *row = &feature_rows[i];
        json_t *here = f->of[i].state == FEATURE_UNKNOWN ? json_null() : json_boolean(!feature_absent(f, (FeatureId)i));
        const char *above = row->above == (FeatureId)i ? NULL : feature_rows[row->above].name;
        json_array_append_new(all, json_pack("{s:s,s:o,s:o,s:o,s:b,s:s,s:s,s:s,s:o,s:s}", "feature", row->name, "above",
                                             text(above), "here", here, "why", text(f->of[i].why), "forced",
                                             f->of[i].forced, "required", need_words[row->need], "what", row->what,
                                             "cost", row->cost, "instead", text(row->instead), "mend", row->mend));
    }
    return all;
}
