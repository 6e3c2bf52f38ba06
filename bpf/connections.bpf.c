// SPDX-License-Identifier: GPL-2.0
/* Accepted TCP connections of a module, and its listeners as they appear.
 *
 * A connection begins at SYN_RECV → ESTABLISHED, which only the passive side sees, and ends at the first of FIN_WAIT1,
 * LAST_ACK (completed) or CLOSE (cut off: an error). SYN_RECV → FIN_WAIT1 is both: a child lies in the accept queue a
 * moment before it is established, and a quick server has closed it by then. Who begins it is told by the socket's own
 * cgroup, that of the listener's maker; `current` is anybody here. What the end must know is in the socket's storage,
 * so that it balances its begin whatever became of the module, its leaf or its policy meanwhile.
 *
 * Two copies of one program hang on the tracepoint: the kernel leaves a program out when it would interrupt itself, and
 * close(2) changes the state with soft interrupts on, so a packet that ends another connection on that CPU just then
 * would be missed and in_flight would never come back to 0. While one copy is interrupted the other one runs. Each
 * transition is counted by whichever copy sees it first: the storage tells. (With receive packet steering, half a
 * percent of the calls were missed by one copy and none by both: `recursion_misses` in bpftool prog.) */
#include "bpf/common.bpf.h"

#define PEAK_TRIES 64

char _license[] SEC("license") = "GPL";

/* The last socket whose storage failed in the first copy: the second one does not count it again. */
static u64 failed_socket;

/* Slot of a duration in microseconds: its binary logarithm, clamped. */
static __always_inline u32 latency_slot(u64 usec)
{
    u32 slot = 0;
    if (usec >> BULKHEAD_HIST_SLOTS)
        return BULKHEAD_HIST_SLOTS - 1;
    for (u32 shift = 16; shift; shift >>= 1) {
        if (usec >> shift) {
            usec >>= shift;
            slot += shift;
        }
    }
    return slot;
}

/* Exact: a failed exchange means that another CPU raised the peak, so this one must lose to 64 others in a row, each
 * within the few instructions between its read and its exchange, to give up; then it says so. */
static __always_inline void peak_raise(struct work_counters *n, s64 in_flight)
{
    for (int i = 0; i < PEAK_TRIES; i++) {
        s64 peak = *(volatile s64 *)&n->in_flight_peak;
        if (in_flight <= peak || __sync_val_compare_and_swap(&n->in_flight_peak, peak, in_flight) == peak)
            return;
    }
    struct kernel_stats *s = stats_of();
    if (s)
        __sync_fetch_and_add(&s->peak_unsure, 1);
}

static __always_inline bool port_counts(const struct work_entry *w, u16 port)
{
    u32 n = w->n_ports;
    if (n == 0)
        return true;
    for (u32 i = 0; i < BULKHEAD_PORTS_MAX; i++)
        if (i < n && w->ports[i] == port)
            return true;
    return false;
}

static __always_inline void rejected(struct work_entry *w, struct sock *sk, bool second)
{
    if (second && failed_socket == (u64)sk) {
        failed_socket = 0;
        return;
    }
    failed_socket = second ? 0 : (u64)sk;
    __sync_fetch_and_add(&w->connections.rejected, 1);
    struct kernel_stats *s = stats_of();
    if (s)
        __sync_fetch_and_add(&s->storage_fails, 1);
}

static __always_inline void connection_begin(struct sock *sk, bool second)
{
    struct cgroup *cgroup = sk->sk_cgrp_data.cgroup;
    u64 module = module_of(cgroup);
    struct work_entry *w = module ? bpf_map_lookup_elem(&work, &module) : NULL;
    if (!w || !(w->track & WORK_TRACK_CONNECTIONS) || !port_counts(w, sk->__sk_common.skc_num))
        return;
    struct conn_entry *c = bpf_sk_storage_get(&conns, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (!c)
        return rejected(w, sk, second);
    if (c->module) /* the other copy was here; a passive socket is never used twice */
        return;
    c->module = module;
    c->leaf = leaf_of(cgroup);
    c->epoch = w->epoch;
    c->opened_nsec = bpf_ktime_get_ns();
    struct work_counters *n = &w->connections;
    __sync_fetch_and_add(&n->started, 1);
    peak_raise(n, __sync_fetch_and_add(&n->in_flight, 1) + 1);
}

static __always_inline void connection_end(struct sock *sk, bool cut_off)
{
    struct conn_entry *c = bpf_sk_storage_get(&conns, sk, 0, 0);
    if (!c || !c->opened_nsec)
        return;
    u64 module = c->module, opened = c->opened_nsec;
    c->opened_nsec = 0;
    struct work_entry *w = bpf_map_lookup_elem(&work, &module);
    if (!w || w->epoch != c->epoch)
        return;
    u64 usec = (bpf_ktime_get_ns() - opened) / 1000;
    u32 slot = latency_slot(usec);
    struct work_counters *n = &w->connections;
    __sync_fetch_and_add(cut_off ? &n->errors : &n->completed, 1);
    __sync_fetch_and_add(&n->total_usec, usec);
    if (slot < BULKHEAD_HIST_SLOTS)
        __sync_fetch_and_add(&n->latency[slot], 1);
    /* Last, so that who sees in_flight 0 sees all counts. */
    if (__sync_fetch_and_add(&n->in_flight, -1) != 1 || !*(volatile u32 *)&w->draining)
        return;
    struct ring_event e = {.kind = RING_IDLE, .module = module, .leaf = c->leaf};
    ring_send(&e);
}

/* listen(2) runs in the process that calls it. */
static __always_inline void listener_appeared(struct sock *sk)
{
    struct cgroup *cgroup = sk->sk_cgrp_data.cgroup;
    u64 module = module_of(cgroup);
    if (!module || !bpf_map_lookup_elem(&work, &module))
        return;
    struct ring_event e = {.kind = RING_LISTEN, .module = module, .leaf = leaf_of(cgroup)};
    e.value = sk->__sk_common.skc_num;
    e.family = sk->__sk_common.skc_family;
    e.pid = pid_seen((struct task_struct *)bpf_get_current_task_btf());
    bpf_get_current_comm(e.comm, sizeof e.comm);
    ring_send(&e);
}

static __always_inline int state_change(struct sock *sk, int from, int to, bool second)
{
    if (sk->sk_protocol != IPPROTO_TCP)
        return 0;
    if (from == TCP_SYN_RECV && (to == TCP_ESTABLISHED || to == TCP_FIN_WAIT1))
        connection_begin(sk, second);
    if (to == TCP_FIN_WAIT1 || to == TCP_LAST_ACK || to == TCP_CLOSE)
        connection_end(sk, to == TCP_CLOSE);
    else if (to == TCP_LISTEN && !second)
        listener_appeared(sk);
    return 0;
}

SEC("tp_btf/inet_sock_set_state") int BPF_PROG(bh_tcp_state, struct sock *sk, int from, int to)
{
    return state_change(sk, from, to, false);
}

SEC("tp_btf/inet_sock_set_state") int BPF_PROG(bh_tcp_state_2, struct sock *sk, int from, int to)
{
    return state_change(sk, from, to, true);
}
