// SPDX-License-Identifier: GPL-2.0
/* How a generation ends: the main process's wait status, who killed it, what the OOM killer took, which system call
 * seccomp refused. Filtered to the leaves in `exits`, and there to the main process, so that a module which forks much
 * does not flood the ring. What the ring cannot take is in `exits` all the same. */
#include "bpf/common.bpf.h"

char _license[] SEC("license") = "GPL";

#define SIGNAL_GROUP_EXIT 4
#define SYS_SECCOMP       1
#define SIGSYS            31
#define AUDIT_ARCH_I386   0x40000003u
#define AUDIT_ARCH_X86_64 0xC000003Eu
#define SIGNAL_BIT(n)     (1ull << ((n)-1))
/* CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH: the ones that by default do not end a process. */
#define SIGNALS_NOT_FATAL                                                                                  \
    (SIGNAL_BIT(17) | SIGNAL_BIT(18) | SIGNAL_BIT(19) | SIGNAL_BIT(20) | SIGNAL_BIT(21) | SIGNAL_BIT(22) | \
     SIGNAL_BIT(23) | SIGNAL_BIT(28))

/* mark_victim hands over a task since 6.9 and in later 6.1 (6.1.192), where its trace event has a uid; before that a
 * thread's id, from which the task is known only when it exits. */
struct trace_event_raw_mark_victim___task {
    uid_t uid;
} __attribute__((preserve_access_index));

struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 128);
    __type(key, u32);
    __type(value, u64);
} oom_threads SEC(".maps");

static __always_inline bool mark_victim_has_task(void)
{
    return bpf_core_field_exists(struct trace_event_raw_mark_victim___task, uid);
}

/* The process the daemon named; before it could, its own child. */
static __always_inline bool is_main(const struct exit_entry *e, struct task_struct *t, u32 pid)
{
    if (e->main_pid)
        return pid == e->main_pid;
    return pid_seen(BPF_CORE_READ(t, real_parent)) == daemon_pid;
}

static __always_inline void comm_of(struct task_struct *t, char *comm)
{
    bpf_probe_read_kernel_str(comm, BULKHEAD_COMM_SIZE, BPF_CORE_READ(t, group_leader, comm));
}

static __always_inline void victim(struct task_struct *t)
{
    struct ring_event r = {.kind = RING_OOM};
    struct exit_entry *e = exit_entry_of(t, &r.leaf);
    if (!e)
        return;
    r.pid = pid_seen(t);
    r.module = e->module;
    __sync_fetch_and_add(&e->oom_kills, 1);
    if (is_main(e, t, r.pid))
        e->oom_main = 1;
    comm_of(t, r.comm);
    ring_send(&r);
}

SEC("tp_btf/mark_victim") int bh_oom(u64 *ctx)
{
    if (mark_victim_has_task()) {
        victim((struct task_struct *)ctx[0]);
    } else {
        u32 thread = (u32)ctx[0];
        u64 now = bpf_ktime_get_ns();
        bpf_map_update_elem(&oom_threads, &thread, &now, BPF_ANY);
    }
    return 0;
}

/* As wait(2) will tell it. */
static __always_inline int wait_status(struct task_struct *t)
{
    struct signal_struct *s = t->signal;
    return s->flags & SIGNAL_GROUP_EXIT ? s->group_exit_code : t->group_leader->exit_code;
}

SEC("tp_btf/sched_process_exit") int BPF_PROG(bh_exit, struct task_struct *t)
{
    if (!mark_victim_has_task()) {
        u32 thread = t->pid;
        if (bpf_map_delete_elem(&oom_threads, &thread) == 0)
            victim(t);
    }
    if (t->signal->live.counter != 0)
        return 0;
    struct ring_event r = {.kind = RING_EXIT};
    struct exit_entry *e = exit_entry_of(t, &r.leaf);
    if (!e)
        return 0;
    r.pid = pid_seen(t);
    /* Two last threads may both find live 0: the first one tells. */
    if (!is_main(e, t, r.pid) || __sync_lock_test_and_set(&e->exit_pid, r.pid) == r.pid)
        return 0;
    r.module = e->module;
    r.value = wait_status(t);
    e->exit_code = r.value;
    e->exit_nsec = bpf_ktime_get_ns();
    comm_of(t, r.comm);
    ring_send(&r);
    return 0;
}

/* The six arguments of the refused call: the kernel has put the registers back as they were (syscall_rollback). */
static __always_inline void syscall_args(u32 arch, struct task_struct *t, u64 args[6])
{
    struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(t);
#ifdef __TARGET_ARCH_x86
    if (arch == AUDIT_ARCH_I386) {
        args[0] = (u32)BPF_CORE_READ(regs, bx);
        args[1] = (u32)BPF_CORE_READ(regs, cx);
        args[2] = (u32)BPF_CORE_READ(regs, dx);
        args[3] = (u32)BPF_CORE_READ(regs, si);
        args[4] = (u32)BPF_CORE_READ(regs, di);
        args[5] = (u32)BPF_CORE_READ(regs, bp);
        return;
    }
#endif
    args[0] = PT_REGS_PARM1_CORE_SYSCALL(regs);
    args[1] = PT_REGS_PARM2_CORE_SYSCALL(regs);
    args[2] = PT_REGS_PARM3_CORE_SYSCALL(regs);
    args[3] = PT_REGS_PARM4_CORE_SYSCALL(regs);
    args[4] = PT_REGS_PARM5_CORE_SYSCALL(regs);
#ifdef __TARGET_ARCH_x86
    args[5] = BPF_CORE_READ(regs, r9);
#elif defined(__TARGET_ARCH_arm64)
    args[5] = BPF_CORE_READ((struct user_pt_regs *)regs, regs[5]);
#endif
}

/* A signal by seccomp is sent by the task to itself. */
static __always_inline void denied(struct kernel_siginfo *info, struct task_struct *t)
{
    struct ring_event r = {.kind = RING_DENIED};
    struct exit_entry *e = exit_entry_of(t, &r.leaf);
    if (!e)
        return;
    u32 arch = BPF_CORE_READ(info, _sifields._sigsys._arch);
    r.pid = pid_seen(t);
    r.module = e->module;
    r.value = BPF_CORE_READ(info, _sifields._sigsys._syscall);
    syscall_args(arch, (struct task_struct *)bpf_get_current_task_btf(), r.args);
    bpf_get_current_comm(r.comm, sizeof r.comm);
    if (__sync_fetch_and_add(&e->denied, 1) == 0) {
        e->denied_nr = r.value;
        e->denied_arch = arch;
        for (int i = 0; i < 6; i++)
            e->denied_args[i] = r.args[i];
        e->denied_pid = r.pid;
        __builtin_memcpy(e->denied_comm, r.comm, sizeof e->denied_comm);
    }
    ring_send(&r);
}

static __always_inline void killed(int signal, bool by_process, struct task_struct *t)
{
    u64 leaf;
    struct exit_entry *e = exit_entry_of(t, &leaf);
    if (!e || !is_main(e, t, pid_seen(t)))
        return;
    char comm[BULKHEAD_COMM_SIZE] = {};
    if (by_process)
        bpf_get_current_comm(comm, sizeof comm);
    e->killer_pid = by_process ? pid_seen((struct task_struct *)bpf_get_current_task_btf()) : 0;
    e->killer_signal = signal;
    __builtin_memcpy(e->killer_comm, comm, sizeof comm);
}

/* `info` is 0 for a process's plain signal, 1 for the kernel's, else an address; a code above 0 is the kernel's. */
SEC("tp_btf/signal_generate")
int BPF_PROG(bh_signal, int signal, struct kernel_siginfo *info, struct task_struct *t, int group, int result)
{
    if (signal < 1 || signal > 64 || (SIGNALS_NOT_FATAL & SIGNAL_BIT(signal)) ||
        (result != TRACE_SIGNAL_DELIVERED && result != TRACE_SIGNAL_LOSE_INFO))
        return 0;
    int code = (u64)info > 1 ? BPF_CORE_READ(info, si_code) : 0;
    if (signal == SIGSYS && (u64)info > 1 && code == SYS_SECCOMP)
        denied(info, t);
    killed(signal, (u64)info != 1 && code <= 0, t);
    return 0;
}
