/* SPDX-License-Identifier: GPL-2.0 */
/* What all our programs share: the maps (defined in maps.bpf.c), where a cgroup lies in the instance's tree, pids as
 * the daemon sees them, and the ring.
 *
 * Our tree is found by membership, not by path: a cgroup's ancestor at the module's level is one of ours if its id is a
 * key of `work`, the one below it if its id is a key of `exits`. Ids are never used twice between two boots. */
#pragma once

#include "vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "bpf/shared.h"

typedef struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1);
    __type(key, u64);
    __type(value, struct work_entry);
} WorkMap;

typedef struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __uint(max_entries, 1);
    __type(key, u64);
    __type(value, struct exit_entry);
} ExitsMap;

typedef struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 65536);
} RingMap;

typedef struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, struct conn_entry);
} ConnsMap;

typedef struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct kernel_stats);
} StatsMap;

extern WorkMap work SEC(".maps");
extern ExitsMap exits SEC(".maps");
extern RingMap exit_ring SEC(".maps");
extern ConnsMap conns SEC(".maps");
extern StatsMap stats SEC(".maps");
extern const volatile u32 modules_level;
extern const volatile u32 daemon_pid;
extern const volatile u32 daemon_pidns;

/* Id of the ancestor at `level` (the root is 0), or 0 when the cgroup lies above it. */
static __always_inline u64 ancestor_id(struct cgroup *c, u32 level)
{
    struct cgroup *a = NULL;
    if (!c || c->level < (int)level)
        return 0;
    /* The verifier follows no pointer in a flexible array: read it by hand. */
    bpf_probe_read_kernel(&a, sizeof a, (void *)c + bpf_core_field_offset(struct cgroup, ancestors) + level * sizeof a);
    return BPF_CORE_READ(a, kn, id);
}

static __always_inline u64 module_of(struct cgroup *c)
{
    return ancestor_id(c, modules_level + 1);
}

static __always_inline u64 leaf_of(struct cgroup *c)
{
    return ancestor_id(c, modules_level + 2);
}

static __always_inline struct exit_entry *exit_entry_of(struct task_struct *t, u64 *ret_leaf)
{
    u64 leaf = leaf_of(t->cgroups->dfl_cgrp);
    *ret_leaf = leaf;
    return leaf ? bpf_map_lookup_elem(&exits, &leaf) : NULL;
}

/* The process id as the daemon sees it, 0 when its pid namespace does not see the process. */
static __always_inline u32 pid_seen(struct task_struct *t)
{
    if (daemon_pidns == 0xEFFFFFFC) /* PROC_PID_INIT_INO: the initial namespace */
        return BPF_CORE_READ(t, tgid);
    struct pid *pid = BPF_CORE_READ(t, signal, pids[PIDTYPE_TGID]);
    u32 level = BPF_CORE_READ(pid, level);
    for (u32 i = 0; i < 32 && i <= level; i++) { /* MAX_PID_NS_LEVEL */
        struct upid u = {};
        bpf_probe_read_kernel(&u, sizeof u,
                              (void *)pid + bpf_core_field_offset(struct pid, numbers) + i * sizeof(struct upid));
        if (BPF_CORE_READ(u.ns, ns.inum) == daemon_pidns)
            return u.nr;
    }
    return 0;
}

static __always_inline struct kernel_stats *stats_of(void)
{
    u32 zero = 0;
    return bpf_map_lookup_elem(&stats, &zero);
}

static __always_inline void ring_send(struct ring_event *e)
{
    e->time_nsec = bpf_ktime_get_ns();
    if (bpf_ringbuf_output(&exit_ring, e, sizeof *e, 0) == 0)
        return;
    struct kernel_stats *s = stats_of();
    if (s)
        __sync_fetch_and_add(&s->ring_lost, 1);
}
