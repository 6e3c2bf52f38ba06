// SPDX-License-Identifier: GPL-2.0
/* Accepted TCP connections of a module, and its listeners as they appear: one sockops program on `modules/`, so that
 * the sockets of others on the host pay nothing and that a state change which interrupts another one is not missed, as
 * it is by a program on the tracepoint inet_sock_set_state (the kernel runs those once a CPU at a time).
 *
 * A listener asks for its state changes to be told, and its children inherit that. A connection begins when it is
 * established by the passive side, and ends at the first of FIN_WAIT1, LAST_ACK (completed) or CLOSE (cut off: an
 * error). SYN_RECV → FIN_WAIT1 is both: a child lies in the accept queue a moment before it is established, and a quick
 * server has closed it by then. Who begins it is told by the socket's own cgroup, that of the listener's maker;
 * `current` is anybody here. What the end must know is in the socket's storage, so that it balances its begin whatever
 * became of the module, its leaf or its policy meanwhile.
 *
 * A segment that completes the handshake may carry the first request (TCP_DEFER_ACCEPT, a lost ACK, Fast Open): it
 * passed bh_ingress on the listener's account, so it is looked at here. One that overtakes the handshake's end on
 * another CPU left CONN_EARLY in the storage. */
#include "bpf/requests.bpf.h"

char _license[] SEC("license") = "GPL";

#define SOCKETS_TRACKED (WORK_TRACK_CONNECTIONS | WORK_TRACK_REQUESTS)

static __always_inline void not_counted(struct work_entry *w)
{
    struct kernel_stats *s = stats_of();
    if (w->track & WORK_TRACK_CONNECTIONS)
        __sync_fetch_and_add(&w->connections.rejected, 1);
    if (w->track & WORK_TRACK_REQUESTS)
        __sync_fetch_and_add(&w->requests.rejected, 1);
    if (s)
        __sync_fetch_and_add(&s->storage_fails, 1);
}

/* Payload of the segment at hand. */
static __always_inline u32 payload_of(struct bpf_sock_ops *o)
{
    struct tcphdr *t = o->skb_data;
    if ((void *)(t + 1) > o->skb_data_end)
        return 0;
    u32 header = t->doff * 4;
    return o->skb_len > header ? o->skb_len - header : 0;
}

/* max_in_flight of connections: who finds no slot is established, but what it sends waits (see bh_ingress). */
static __always_inline u32 slot_take(struct work_entry *w)
{
    if (!w->max_in_flight || (w->track & SOCKETS_TRACKED) != WORK_TRACK_CONNECTIONS)
        return 0;
    return place_take(&w->slots, w->max_in_flight) ? CONN_SLOT : CONN_WAITING;
}

static __always_inline struct conn_entry *connection_begin(struct bpf_sock *sk, struct tcp_sock *tp, bool payload)
{
    struct sock *s = &tp->inet_conn.icsk_inet.sk;
    struct cgroup *cgroup = s->sk_cgrp_data.cgroup;
    u64 module = module_of(cgroup);
    struct work_entry *w = module ? bpf_map_lookup_elem(&work, &module) : NULL;
    if (!w || !(w->track & SOCKETS_TRACKED) || !port_counts(w, s->__sk_common.skc_num))
        return NULL;
    struct conn_entry *c = conn_make(sk);
    if (!c) {
        not_counted(w);
        return NULL;
    }
    if (c->module) /* begun already; a passive socket is never used twice */
        return c;
    c->module = module;
    c->leaf = leaf_of(cgroup);
    c->epoch = w->epoch;
    c->opened_nsec = bpf_ktime_get_ns();
    u32 open = CONN_OPEN | slot_take(w);
    if (w->track & WORK_TRACK_CONNECTIONS)
        open |= CONN_COUNTED | work_begin(w, &w->connections);
    if (w->track & WORK_TRACK_REQUESTS)
        open |= CONN_ASKS;
    u32 before = __sync_lock_test_and_set(&c->open, open);
    if (open & CONN_ASKS && (payload || before & CONN_EARLY))
        request_begin(w, c, REQUEST_NONE, 0, tp->write_seq);
    return c;
}

static __always_inline void connection_end(struct conn_entry *c, struct tcp_sock *tp, bool cut_off)
{
    u32 open = __sync_lock_test_and_set(&c->open, 0);
    u32 request = __sync_lock_test_and_set(&c->request, REQUEST_ENDED);
    if (!(open & CONN_OPEN))
        return;
    struct work_entry *w = work_of(c);
    if (!w)
        return;
    request_cut(w, c, request, cut_off, tp->write_seq);
    if (open & CONN_SLOT)
        __sync_fetch_and_add(&w->slots, -1);
    if (open & CONN_COUNTED)
        work_end(w, &w->connections, open, cut_off, bpf_ktime_get_ns() - c->opened_nsec, c->module, c->leaf);
}

/* listen(2) runs in the process that calls it. */
static __always_inline void listener_appeared(struct tcp_sock *tp)
{
    struct sock *s = &tp->inet_conn.icsk_inet.sk;
    struct cgroup *cgroup = s->sk_cgrp_data.cgroup;
    u64 module = module_of(cgroup);
    if (!module || !bpf_map_lookup_elem(&work, &module))
        return;
    struct ring_event e = {.kind = RING_LISTEN, .module = module, .leaf = leaf_of(cgroup)};
    struct task_struct *t = bpf_get_current_task_btf();
    e.value = s->__sk_common.skc_num;
    e.family = s->__sk_common.skc_family;
    e.pid = pid_seen(t);
    bpf_probe_read_kernel_str(e.comm, sizeof e.comm, t->comm);
    ring_send(&e);
}

static __always_inline void state_change(struct bpf_sock *sk, struct tcp_sock *tp, u32 from, u32 to)
{
    if (to != TCP_FIN_WAIT1 && to != TCP_LAST_ACK && to != TCP_CLOSE)
        return;
    struct conn_entry *c = from == TCP_SYN_RECV && to == TCP_FIN_WAIT1 ? connection_begin(sk, tp, false)
                                                                       : bpf_sk_storage_get(&conns, sk, 0, 0);
    if (c)
        connection_end(c, tp, to == TCP_CLOSE);
}

SEC("sockops") int bh_sockops(struct bpf_sock_ops *o)
{
    u32 op = o->op;
    if (op != BPF_SOCK_OPS_STATE_CB && op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB && op != BPF_SOCK_OPS_TCP_LISTEN_CB)
        return 1;
    struct bpf_sock *sk = o->sk;
    if (!sk)
        return 1;
    struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
    if (!tp)
        return 1;
    if (op == BPF_SOCK_OPS_STATE_CB) {
        state_change(sk, tp, o->args[0], o->args[1]);
        return 1;
    }
    bpf_sock_ops_cb_flags_set(o, o->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
    if (op == BPF_SOCK_OPS_TCP_LISTEN_CB)
        listener_appeared(tp);
    else
        connection_begin(sk, tp, payload_of(o) > 0);
    return 1;
}
