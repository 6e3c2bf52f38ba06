/* SPDX-License-Identifier: GPL-2.0 */
/* Work that a thread does: tracked calls and writes. What is going on is in the thread's own storage, so that a begin
 * and an end cost no map lookup but that of the module's entry, and so that what never ends (a longjmp, a kill) ends
 * with the thread. A fork begins with no storage: a child's return from a call of its parent's ends nothing. */
#pragma once

#include "bpf/common.bpf.h"
#include "bpf/count.bpf.h"

typedef struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct thread_entry);
} ThreadsMap;

extern ThreadsMap threads SEC(".maps");

/* The module of the current thread, 0 = none of ours. */
static __always_inline u64 current_module(void)
{
    return bpf_get_current_ancestor_cgroup_id((int)modules_level + 1);
}

static __always_inline struct thread_entry *current_thread(u64 flags)
{
    return bpf_task_storage_get(&threads, bpf_get_current_task_btf(), 0, flags);
}

static __always_inline void not_counted(struct work_counters *n)
{
    struct kernel_stats *s = stats_of();
    __sync_fetch_and_add(&n->rejected, 1);
    if (s)
        __sync_fetch_and_add(&s->storage_fails, 1);
}

static __always_inline void thread_begin(struct thread_work *t, u64 module, struct work_entry *w,
                                         struct work_counters *n)
{
    t->module = module;
    t->since_nsec = bpf_ktime_get_ns();
    t->flags = work_begin(w, n);
}

/* Ends it: in the entry that it began in, unless that was emptied since. */
static __always_inline void thread_end(struct thread_work *t, bool call, bool error)
{
    u64 module = t->module, since = t->since_nsec;
    t->since_nsec = 0;
    struct work_entry *w = bpf_map_lookup_elem(&work, &module);
    if (w && since > w->epoch && since > w->emptied_nsec)
        work_end(w, call ? &w->calls : &w->writes, t->flags, error, bpf_ktime_get_ns() - since, module, 0);
}
