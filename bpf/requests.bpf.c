// SPDX-License-Identifier: GPL-2.0
/* Requests on a module's connections as its segments pass, and the gate that holds new work: two programs on
 * `modules/`, attached only while some module needs them (see gate.c).
 *
 * Cheapest first: no payload (by the headers alone), then the socket's storage; a module's entry is looked up when a
 * request begins and when it ends, never for a segment in between. Retransmits are no news: what arrives must reach
 * beyond rcv_nxt and lie within the window, what leaves must not lie before snd_nxt.
 *
 * The gate never holds what belongs to work in flight. On a connection that is BUSY, further payload is its request's;
 * so is payload which does not acknowledge all that the module has written: its sender has not seen the whole answer,
 * so it is not the next request of one who asks, waits and asks again. What is held is dropped before TCP sees it and
 * sent again by the peer. On a listener the closed gate holds the segments that would complete a handshake as well:
 * else a client would be established, and the module gone, a moment after all was counted as done. */
#include "bpf/requests.bpf.h"

#include <bpf/bpf_endian.h>

char _license[] SEC("license") = "GPL";

#define ETH_P_IP   0x0800
#define ETH_P_IPV6 0x86DD
#define PASS       1
#define HOLD       0

/* "HTTP/1.1 100 Continue", and nothing else: no answer yet. */
#define CONTINUE_SIZE 25

struct segment {
    u32 header; /* of IP and TCP */
    u32 payload;
    u32 seq, ack;
    bool syn, fin, rst, acks;
};

/* False for what is not TCP, or (never seen) has its headers elsewhere. */
static __always_inline bool segment_read(struct __sk_buff *skb, struct segment *ret)
{
    u8 *data = (u8 *)(long)skb->data, *end = (u8 *)(long)skb->data_end;
    u32 header = 40;
    if (data + 40 > end)
        return false;
    if (skb->protocol == bpf_htons(ETH_P_IP)) {
        if (data[9] != IPPROTO_TCP)
            return false;
        header = (data[0] & 15) * 4;
    } else if (skb->protocol != bpf_htons(ETH_P_IPV6) || data[6] != IPPROTO_TCP) {
        return false;
    }
    struct tcphdr *t = (struct tcphdr *)(data + header);
    if ((u8 *)(t + 1) > end)
        return false;
    header += t->doff * 4;
    ret->header = header;
    ret->payload = skb->len > header ? skb->len - header : 0;
    ret->seq = bpf_ntohl(t->seq);
    ret->ack = bpf_ntohl(t->ack_seq);
    ret->syn = t->syn;
    ret->fin = t->fin;
    ret->rst = t->rst;
    ret->acks = t->ack;
    return true;
}

static __always_inline int hold(struct work_entry *w)
{
    __sync_fetch_and_add(&w->held, 1);
    return HOLD;
}

/* --- what arrives for a listener -------------------------------------------------------------------------------------
 */

static __always_inline int listener_in(struct bpf_sock *sk, const struct segment *s)
{
    u64 module = bpf_sk_ancestor_cgroup_id(sk, modules_level + 1);
    struct work_entry *w = module ? bpf_map_lookup_elem(&work, &module) : NULL;
    if (!w || s->rst || !port_counts(w, sk->src_port))
        return PASS;
    if (w->gate)
        return hold(w);
    u32 max = w->max_in_flight;
    if (!max)
        return PASS;
    if (w->track & WORK_TRACK_REQUESTS) {
        if (!s->payload || w->requests.in_flight < (s64)max)
            return PASS; /* payload: taken when the connection is established, in the course of this very segment */
        return hold(w);
    }
    if (!(w->track & WORK_TRACK_CONNECTIONS) || !s->syn || s->acks)
        return PASS;
    /* Slots taken, and handshakes under way: the kernel counts those itself, with time-outs and all. */
    struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
    if (!tp || w->slots + tp->inet_conn.icsk_accept_queue.qlen.counter < (s64)max)
        return PASS;
    __sync_fetch_and_add(&w->connections.rejected, 1);
    return hold(w);
}

/* --- what arrives on a connection ------------------------------------------------------------------------------------
 */

/* A connection beyond max_in_flight gets its slot when one is free. */
static __always_inline bool waiting_may_go(struct conn_entry *c)
{
    struct work_entry *w = work_of(c);
    if (!w)
        return true;
    if (w->max_in_flight && !place_take(&w->slots, w->max_in_flight)) {
        hold(w);
        return false;
    }
    u32 open = c->open;
    bool taken = w->max_in_flight && open & CONN_WAITING &&
                 __sync_val_compare_and_swap(&c->open, open, (open & ~CONN_WAITING) | CONN_SLOT) == open;
    if (w->max_in_flight && !taken) {
        __sync_fetch_and_add(&w->slots, -1);
        return false;
    }
    return true;
}

/* Up to where the module has written. That is write_seq, but here that would be the one line of the socket which TCP
 * does not need for this segment, and which the writer's CPU has; where nothing waits to be sent snd_nxt is the same,
 * which TCP advances before it takes what was sent from the queue. */
static __always_inline u32 written(struct tcp_sock *tp)
{
    u32 waiting = *(volatile u32 *)&tp->inet_conn.icsk_inet.sk.sk_write_queue.qlen;
    return waiting ? tp->write_seq : tp->snd_nxt;
}

static __always_inline int request_in(struct bpf_sock *sk, struct conn_entry *c, const struct segment *s)
{
    u32 was = c->request, phase = was & REQUEST_PHASE;
    if (phase == REQUEST_BUSY || phase == REQUEST_ENDED)
        return PASS;
    struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
    if (!tp)
        return PASS;
    u32 next = tp->rcv_nxt, write_seq = written(tp);
    if ((s32)(s->seq + s->payload - next) <= 0 || (s32)(s->seq - next - tp->rcv_wnd) >= 0)
        return PASS;
    if (phase == REQUEST_ANSWERING) { /* goes on both ways */
        c->write_seq = write_seq;
        __sync_val_compare_and_swap(&c->request, was, (was & ~REQUEST_PHASE) | REQUEST_BUSY);
        return PASS;
    }
    struct work_entry *w = work_of(c);
    if (!w || !(w->track & WORK_TRACK_REQUESTS))
        return PASS;
    bool fresh = s->ack == write_seq;
    if (fresh && w->gate)
        return hold(w);
    if (request_begin(w, c, was, fresh ? w->max_in_flight : 0, write_seq)) {
        if (c->open & CONN_HELD)
            __sync_fetch_and_and(&c->open, ~CONN_HELD);
        return PASS;
    }
    if (!(__sync_fetch_and_or(&c->open, CONN_HELD) & CONN_HELD))
        __sync_fetch_and_add(&w->requests.rejected, 1);
    return hold(w);
}

/* Payload that overtakes the end of the handshake: the storage is made here and filled in by bh_sockops, which finds
 * CONN_EARLY, or else has opened the connection in the meantime. */
static __always_inline int early_in(struct bpf_sock *sk, const struct segment *s)
{
    u64 module = bpf_sk_ancestor_cgroup_id(sk, modules_level + 1);
    struct work_entry *w = module ? bpf_map_lookup_elem(&work, &module) : NULL;
    if (!w || !(w->track & WORK_TRACK_REQUESTS) || !port_counts(w, sk->src_port))
        return PASS;
    if (w->gate)
        return hold(w);
    struct conn_entry *c = conn_make(sk);
    if (c && __sync_fetch_and_or(&c->open, CONN_EARLY) & CONN_OPEN)
        return request_in(sk, c, s);
    return PASS;
}

SEC("cgroup_skb/ingress") int bh_ingress(struct __sk_buff *skb)
{
    struct bpf_sock *sk = skb->sk;
    struct segment s;
    if (!sk)
        return PASS;
    u32 state = sk->state;
    if (!segment_read(skb, &s))
        return PASS;
    if (state == TCP_LISTEN)
        return listener_in(sk, &s);
    if (!s.payload)
        return PASS;
    struct conn_entry *c = bpf_sk_storage_get(&conns, sk, 0, 0);
    if (!c)
        return state == TCP_SYN_RECV ? early_in(sk, &s) : PASS;
    u32 open = c->open;
    if (open & CONN_WAITING && !waiting_may_go(c))
        return HOLD;
    return open & CONN_ASKS ? request_in(sk, c, &s) : PASS;
}

/* --- what leaves -----------------------------------------------------------------------------------------------------
 */

static __always_inline bool is_continue(struct __sk_buff *skb, const struct segment *s)
{
    char text[12] = {};
    if (s->payload != CONTINUE_SIZE || bpf_skb_load_bytes(skb, s->header, text, sizeof text) < 0)
        return false;
    for (u32 i = 0; i < sizeof text; i++)
        if (text[i] != "HTTP/1.1 100"[i])
            return false;
    return true;
}

static __always_inline void answer_out(struct __sk_buff *skb, struct conn_entry *c, u32 was, const struct segment *s,
                                       bool all, u64 now)
{
    u32 phase = was & REQUEST_PHASE, flags = was & ~REQUEST_PHASE;
    if (phase == REQUEST_BUSY && is_continue(skb, s)) {
        c->write_seq = s->seq + s->payload;
        return;
    }
    if (!all && phase != REQUEST_ANSWERED) {
        c->last_tx_nsec = now;
        if (phase == REQUEST_BUSY)
            __sync_val_compare_and_swap(&c->request, was, flags | REQUEST_ANSWERING);
        return;
    }
    struct work_entry *w = work_of(c);
    if (!w)
        return;
    u64 last = c->last_tx_nsec;
    if (phase == REQUEST_ANSWERED && now - last > w->settle_nsec)
        return; /* nobody has asked for it */
    c->last_tx_nsec = now;
    if (!all) {
        request_resume(w, c, was);
        return;
    }
    if (phase == REQUEST_ANSWERED) {
        request_done(w, c, was, false, now);
        return;
    }
    if (__sync_val_compare_and_swap(&c->request, was, request_answered(was)) != was)
        return;
    request_done(w, c, was, false, now);
    work_leave(w, &w->requests, flags, c->module, c->leaf);
}

SEC("cgroup_skb/egress") int bh_egress(struct __sk_buff *skb)
{
    struct bpf_sock *sk = skb->sk;
    struct segment s;
    if (!sk || !segment_read(skb, &s) || !s.payload)
        return PASS;
    struct conn_entry *c = bpf_sk_storage_get(&conns, sk, 0, 0);
    if (!c)
        return PASS;
    u32 was = c->request, phase = was & REQUEST_PHASE;
    if (phase == REQUEST_NONE || phase == REQUEST_ENDED)
        return PASS;
    struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
    if (!tp || (s32)(s.seq - tp->snd_nxt) < 0)
        return PASS;
    u32 end = s.seq + s.payload;
    c->sent_seq = end + s.fin;
    if (phase == REQUEST_BUSY && (s32)(end - c->write_seq) <= 0)
        return PASS; /* written before the request came */
    /* TCP has read the clock for this very segment. */
    answer_out(skb, c, was, &s, end + s.fin == tp->write_seq, tp->tcp_clock_cache);
    return PASS;
}
