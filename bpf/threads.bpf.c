// SPDX-License-Identifier: GPL-2.0
/* What ends with a thread, a program or a module's last process: what a source had begun
 * and saw no end of. Attached while some module tracks calls, writes or unix streams. */
#include "bpf/threads.bpf.h"

char _license[] SEC("license") = "GPL";

static __always_inline void thread_gone(struct task_struct *task)
{
    struct thread_entry *t = bpf_task_storage_get(&threads, task, 0, 0);
    if (!t)
        return;
    if (t->call.since_nsec)
        thread_end(&t->call, true, true);
    if (t->write.since_nsec)
        thread_end(&t->write, false, true);
}

SEC("tp_btf/sched_process_exit") int BPF_PROG(bh_thread_exit, struct task_struct *task)
{
    thread_gone(task);
    return 0;
}

/* The thread lives on in another program, with none of the calls that it was in. */
SEC("tp_btf/sched_process_exec") int BPF_PROG(bh_thread_exec, struct task_struct *task)
{
    thread_gone(task);
    return 0;
}

/* What seems to go on has been lost sight of. */
static __always_inline void forget(struct work_entry *w, struct work_counters *n)
{
    if (*(volatile s64 *)&n->in_flight <= 0)
        return;
    s64 lost = __sync_lock_test_and_set(&n->in_flight, 0);
    __sync_fetch_and_add(&n->errors, lost);
    if (several_tracked(w))
        __sync_fetch_and_add(&w->total.in_flight, -lost);
}

/* All threads have ended by then, each with what it was at: this is for streams, and for what was missed. */
SEC("tp_btf/cgroup_notify_populated") int BPF_PROG(bh_emptied, struct cgroup *cgroup, const char *path, int populated)
{
    u64 id = cgroup->kn->id;
    struct work_entry *w = populated ? NULL : bpf_map_lookup_elem(&work, &id);
    if (!w)
        return 0;
    w->emptied_nsec = bpf_ktime_get_ns();
    forget(w, &w->unix_streams);
    forget(w, &w->calls);
    forget(w, &w->writes);
    return 0;
}
