/* SPDX-License-Identifier: GPL-2.0 */
/* A request's life in its connection's storage (conn_entry.request), a word that is only ever changed by an exchange,
 * since what arrives, what is sent, the connection's end and the truth pass run side by side.
 *
 *   NONE, ANSWERED  ── new payload arrives ──►  BUSY  ── an answer's segment ──►  ANSWERING
 *   ANSWERED        ◄── a segment leaves nothing of the answer unsent ──          BUSY, ANSWERING
 *   ANSWERING       ◄── more within `settle`, or (truth pass) any unsent ──       ANSWERED
 *   BUSY            ◄── more payload arrives ──                                   ANSWERING
 *   ENDED           ◄── the connection ends: cut off while BUSY is an error ──    all
 *
 * BUSY and ANSWERING are in flight. Whether ANSWERED is still to be waited for is a question of time, asked by who
 * waits (the truth pass); so no request costs a timer. An answer in several writes is completed with its first one, and
 * each further one puts the duration right. */
#pragma once

#include "bpf/count.bpf.h"

/* A socket's storage, made where there is none; NULL for want of memory. Two segments of one handshake on two CPUs make
 * it at the same time, and the kernel answers the slower one with nothing, as if there were no memory: asked again, it
 * finds what the other has made. */
static __always_inline struct conn_entry *conn_make(struct bpf_sock *sk)
{
    struct conn_entry *c = bpf_sk_storage_get(&conns, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
    return c ? c : bpf_sk_storage_get(&conns, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
}

/* Completed is counted, in slot c->usec, and the place given back. */
static __always_inline void request_done(struct work_entry *w, struct conn_entry *c, u32 request, bool error, u64 now)
{
    struct work_counters *n = &w->requests;
    u64 usec = (s64)(now - c->begun_nsec) > 0 ? (now - c->begun_nsec) / 1000 : 0;
    if (request & REQUEST_COMPLETED) {
        u32 old = latency_slot(c->usec), slot = latency_slot(usec);
        __sync_fetch_and_add(&n->total_usec, usec - c->usec);
        if (old != slot && old < BULKHEAD_HIST_SLOTS && slot < BULKHEAD_HIST_SLOTS) {
            __sync_fetch_and_add(&n->latency[old], -1);
            __sync_fetch_and_add(&n->latency[slot], 1);
        }
    } else {
        work_done(n, error, usec);
    }
    c->usec = usec;
}

/* The connection's last request as its end finds it. What the module has written since the request came is an answer:
 * the kernel still sends it, unless the connection was cut off. */
static __always_inline void request_cut(struct work_entry *w, struct conn_entry *c, u32 request, bool cut_off,
                                        u32 write_seq)
{
    u32 phase = request & REQUEST_PHASE;
    if (phase != REQUEST_BUSY && phase != REQUEST_ANSWERING)
        return;
    bool answered = phase == REQUEST_ANSWERING || write_seq != c->write_seq;
    request_done(w, c, request, cut_off || !answered, bpf_ktime_get_ns());
    work_leave(w, &w->requests, request, c->module, c->leaf);
}

/* False when there is no place for it (max > 0) and nothing has changed. */
static __always_inline bool request_begin(struct work_entry *w, struct conn_entry *c, u32 was, u32 max, u32 write_seq)
{
    struct work_counters *n = &w->requests;
    s64 in_flight = place_take(&n->in_flight, max);
    if (!in_flight)
        return false;
    c->begun_nsec = bpf_ktime_get_ns();
    c->write_seq = write_seq;
    u32 total = several_tracked(w) ? WORK_IN_TOTAL : 0;
    u32 number = (was & REQUEST_NUMBER) + REQUEST_FIRST;
    if (__sync_val_compare_and_swap(&c->request, was, number | REQUEST_BUSY | total) != was) {
        /* Somebody else was quicker: another segment of the same request, or the connection's end. */
        work_leave(w, n, 0, c->module, c->leaf);
        return true;
    }
    __sync_fetch_and_add(&n->started, 1);
    peak_raise(n, in_flight);
    if (total)
        peak_raise(&w->total, __sync_fetch_and_add(&w->total.in_flight, 1) + 1);
    return true;
}

/* What the word becomes with the last of the answer, so far as is known. */
static __always_inline u32 request_answered(u32 was)
{
    return (was & REQUEST_NUMBER) | REQUEST_ANSWERED | REQUEST_COMPLETED;
}

/* ANSWERED, but it goes on. */
static __always_inline void request_resume(struct work_entry *w, struct conn_entry *c, u32 was)
{
    u32 total = several_tracked(w) ? WORK_IN_TOTAL : 0;
    s64 in_flight = __sync_fetch_and_add(&w->requests.in_flight, 1) + 1;
    u32 answering = (was & REQUEST_NUMBER) | REQUEST_ANSWERING | REQUEST_COMPLETED | total;
    if (__sync_val_compare_and_swap(&c->request, was, answering) == was)
        work_placed(w, &w->requests, in_flight);
    else
        work_leave(w, &w->requests, 0, c->module, c->leaf);
}
