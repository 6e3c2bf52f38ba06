// SPDX-License-Identifier: GPL-2.0
/* Asked for, not hooked: what sockets say of themselves.
 *
 * bh_truth passes over the storages of all accepted sockets. It does what only the passing of time brings about (long
 * work moves to long_running; requests that nobody watches any more are given up) and tells of the open connections of
 * the module that is asked about. bh_seed passes over all TCP sockets and makes the storages that a module's open
 * connections lack, when they are to be counted from now on. Both write structs; both can be repeated at any point, as
 * the kernel does when its buffer is full. */
#include "bpf/requests.bpf.h"

char _license[] SEC("license") = "GPL";

/* The module asked about; set by the daemon before it reads. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, u64);
} aim SEC(".maps");

/* Ports on which that module listens; listeners come first in a pass. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 1024);
    __type(key, u64); /* module ^ port << 48 */
    __type(value, u32);
} listen_ports SEC(".maps");

static __always_inline bool aimed_at(u64 module)
{
    u32 zero = 0;
    u64 *a = bpf_map_lookup_elem(&aim, &zero);
    return a && *a == module;
}

static __always_inline bool in_flight(u32 request)
{
    u32 phase = request & REQUEST_PHASE;
    return phase == REQUEST_BUSY || phase == REQUEST_ANSWERING;
}

/* An answer that waits for its reader sends nothing, so bh_egress saw the last of what was sent as the last of it all;
 * and what looked unsent here, without the socket's lock, may have left in the meantime. What has left is asked of
 * bh_egress: TCP moves snd_nxt only after it, and then the next request would be taken for more of this one. */
static __always_inline void look_again(struct work_entry *w, struct conn_entry *c, struct tcp_sock *tp, u64 now)
{
    u32 request = c->request, phase = request & REQUEST_PHASE;
    u32 written = tp->write_seq;
    bool unsent = (s32)(written - *(volatile u32 *)&c->sent_seq) > 0;
    if (phase == REQUEST_ANSWERED && unsent) {
        request_resume(w, c, request);
    } else if (phase == REQUEST_ANSWERING && !unsent && now - c->last_tx_nsec > w->settle_nsec &&
               __sync_val_compare_and_swap(&c->request, request, request_answered(request)) == request) {
        request_done(w, c, request, false, c->last_tx_nsec);
        work_leave(w, &w->requests, request, c->module, c->leaf);
    }
}

static __always_inline void grow_old(struct work_entry *w, struct conn_entry *c, u64 now)
{
    u64 limit = w->long_running_nsec;
    u32 request = c->request, open = c->open;
    if (in_flight(request) && !(w->track & WORK_TRACK_REQUESTS)) {
        if (__sync_val_compare_and_swap(&c->request, request, request_answered(request)) == request) {
            request_done(w, c, request, false, now);
            work_leave(w, &w->requests, request, c->module, c->leaf);
        }
    } else if (limit && in_flight(request) && !(request & WORK_LONG) && now - c->begun_nsec > limit &&
               __sync_val_compare_and_swap(&c->request, request, request | WORK_LONG) == request) {
        work_turn_long(w, &w->requests, request, c->module, c->leaf);
    }
    if (!limit || !(open & CONN_COUNTED) || open & WORK_LONG || now - c->opened_nsec <= limit ||
        __sync_val_compare_and_swap(&c->open, open, (open & ~CONN_SLOT) | WORK_LONG) != open)
        return;
    if (open & CONN_SLOT)
        __sync_fetch_and_add(&w->slots, -1);
    work_turn_long(w, &w->connections, open, c->module, c->leaf);
}

static __always_inline void addresses(struct sock *sk, struct truth_record *r)
{
    struct sock_common *k = &sk->__sk_common;
    r->family = k->skc_family;
    r->local_port = k->skc_num;
    r->peer_port = __builtin_bswap16(k->skc_dport);
    if (r->family == 2 /* AF_INET */) {
        *(u32 *)r->local = k->skc_rcv_saddr;
        *(u32 *)r->peer = k->skc_daddr;
    } else {
        BPF_CORE_READ_INTO(&r->local, sk, __sk_common.skc_v6_rcv_saddr);
        BPF_CORE_READ_INTO(&r->peer, sk, __sk_common.skc_v6_daddr);
    }
}

SEC("iter/bpf_sk_storage_map") int bh_truth(struct bpf_iter__bpf_sk_storage_map *ctx)
{
    struct sock *sk = ctx->sk;
    if (!sk || !ctx->value)
        return 0;
    struct conn_entry *c = bpf_sk_storage_get(&conns, sk, 0, 0);
    struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
    if (!c || !tp || !(c->open & CONN_OPEN))
        return 0;
    struct work_entry *w = work_of(c);
    if (!w)
        return 0;
    u64 now = bpf_ktime_get_ns(), last_tx = c->last_tx_nsec;
    look_again(w, c, tp, now);
    grow_old(w, c, now);
    if (last_tx > w->last_tx_nsec)
        w->last_tx_nsec = last_tx;
    if (!aimed_at(c->module))
        return 0;
    u32 request = c->request, open = c->open;
    struct truth_record r = {.opened_nsec = c->opened_nsec, .last_tx_nsec = last_tx};
    bool settles = (request & REQUEST_PHASE) == REQUEST_ANSWERED && now - last_tx <= w->settle_nsec;
    if (in_flight(request) || settles) {
        r.flags |= TRUTH_BUSY;
        r.begun_nsec = c->begun_nsec;
    }
    u64 limit = w->long_running_nsec;
    if (request & WORK_LONG || open & WORK_LONG || (settles && limit && now - c->begun_nsec > limit))
        r.flags |= TRUTH_LONG;
    if (sk->sk_socket)
        r.flags |= TRUTH_ACCEPTED;
    r.unread = tp->rcv_nxt - tp->copied_seq;
    if (r.unread && sk->__sk_common.skc_state == TCP_CLOSE_WAIT)
        r.unread--; /* the FIN */
    r.unsent = tp->write_seq - tp->snd_nxt;
    r.unacked = tp->snd_nxt - tp->snd_una;
    addresses(sk, &r);
    bpf_seq_write(ctx->meta->seq, &r, sizeof r);
    return 0;
}

/* A connection that was there before it was to be counted is at work if the last payload went in, not out. */
static __always_inline bool looks_busy(struct tcp_sock *tp)
{
    u32 received = tp->inet_conn.icsk_ack.lrcvtime, sent = tp->lsndtime;
    return tp->rcv_nxt != tp->copied_seq || (received && (s32)(received - sent) > 0);
}

static __always_inline void seed(struct tcp_sock *tp, u64 module, struct cgroup *cgroup)
{
    struct work_entry *w = bpf_map_lookup_elem(&work, &module);
    u16 port = tp->inet_conn.icsk_inet.sk.__sk_common.skc_num;
    if (!w || !(w->track & (WORK_TRACK_CONNECTIONS | WORK_TRACK_REQUESTS)) || !port_counts(w, port))
        return;
    struct conn_entry *c = NULL;
    if (tp->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG) /* else nobody would tell of its end */
        c = bpf_sk_storage_get(&conns, tp, 0, BPF_SK_STORAGE_GET_F_CREATE);
    if (!c) {
        struct kernel_stats *s = stats_of();
        if (s)
            __sync_fetch_and_add(&s->storage_fails, 1);
        __sync_fetch_and_add(w->track & WORK_TRACK_REQUESTS ? &w->requests.rejected : &w->connections.rejected, 1);
        return;
    }
    u32 open = c->open;
    if (!c->module) {
        c->module = module;
        c->leaf = leaf_of(cgroup);
        c->epoch = w->epoch;
        c->opened_nsec = bpf_ktime_get_ns();
        c->open = open = CONN_OPEN;
    }
    if (!(open & CONN_OPEN) || c->epoch != w->epoch)
        return;
    if (w->track & WORK_TRACK_REQUESTS)
        open |= CONN_ASKS;
    if (w->track & WORK_TRACK_CONNECTIONS && !(open & CONN_COUNTED))
        open |= CONN_COUNTED | work_begin(w, &w->connections);
    c->open = open;
    if (w->track & WORK_TRACK_REQUESTS && c->request == REQUEST_NONE && !c->begun_nsec && looks_busy(tp))
        request_begin(w, c, REQUEST_NONE, 0, tp->write_seq);
}

/* The kernel holds the socket's lock meanwhile. */
SEC("iter/tcp") int bh_seed(struct bpf_iter__tcp *ctx)
{
    struct sock_common *k = ctx->sk_common;
    if (!k)
        return 0;
    u32 state = k->skc_state;
    if (state != TCP_LISTEN && state != TCP_ESTABLISHED && state != TCP_CLOSE_WAIT)
        return 0;
    struct tcp_sock *tp = bpf_skc_to_tcp_sock(k);
    if (!tp)
        return 0;
    struct cgroup *cgroup = tp->inet_conn.icsk_inet.sk.sk_cgrp_data.cgroup;
    u64 module = module_of(cgroup);
    if (!module || !aimed_at(module))
        return 0;
    u64 place = module ^ (u64)k->skc_num << 48;
    u32 one = 1;
    if (state == TCP_LISTEN)
        bpf_map_update_elem(&listen_ports, &place, &one, BPF_ANY);
    else if (bpf_map_lookup_elem(&listen_ports, &place))
        seed(tp, module, cgroup);
    return 0;
}
