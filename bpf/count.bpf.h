/* SPDX-License-Identifier: GPL-2.0 */
/* How work is counted, whatever its source: begin, end, the exact peak, the histogram, the word that nothing is left.
 *
 * What work_begin() returns goes into the record of the work (a socket's storage, a map's entry) and back into
 * work_end(), so that an end takes back just what its begin has added, though the policy was another one by then. */
#pragma once

#include "bpf/common.bpf.h"

#define PEAK_TRIES    64
#define TAKE_TRIES    16

#define WORK_IN_TOTAL 0x100u /* counted in `total` as well */
#define WORK_LONG     0x200u /* counted in long_running in place of in_flight */

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

/* Takes one of `max` (0 = no limit) places; the new number, 0 when there is none free. */
static __always_inline s64 place_take(s64 *places, u32 max)
{
    if (!max)
        return __sync_fetch_and_add(places, 1) + 1;
    for (int i = 0; i < TAKE_TRIES; i++) {
        s64 now = *(volatile s64 *)places;
        if (now >= (s64)max)
            return 0;
        if (__sync_val_compare_and_swap(places, now, now + 1) == now)
            return now + 1;
    }
    return 0; /* as if it were full: it is tried again */
}

static __always_inline bool several_tracked(const struct work_entry *w)
{
    return w->track & (w->track - 1);
}

static __always_inline void idle_tell(u64 module, u64 leaf)
{
    struct ring_event e = {.kind = RING_IDLE, .module = module, .leaf = leaf};
    ring_send(&e);
}

/* A place in flight that was taken by place_take() begins to count: `in_flight` is what that returned. */
static __always_inline u32 work_placed(struct work_entry *w, struct work_counters *n, s64 in_flight)
{
    peak_raise(n, in_flight);
    if (!several_tracked(w))
        return 0;
    peak_raise(&w->total, __sync_fetch_and_add(&w->total.in_flight, 1) + 1);
    return WORK_IN_TOTAL;
}

static __always_inline u32 work_begin(struct work_entry *w, struct work_counters *n)
{
    __sync_fetch_and_add(&n->started, 1);
    return work_placed(w, n, __sync_fetch_and_add(&n->in_flight, 1) + 1);
}

/* Gives the place back. Last of all, so that who sees in_flight 0 sees all counts. */
static __always_inline void work_leave(struct work_entry *w, struct work_counters *n, u32 flags, u64 module, u64 leaf)
{
    if (flags & WORK_LONG) {
        __sync_fetch_and_add(&n->long_running, -1);
        return;
    }
    if (flags & WORK_IN_TOTAL)
        __sync_fetch_and_add(&w->total.in_flight, -1);
    if (__sync_fetch_and_add(&n->in_flight, -1) == 1 && *(volatile u32 *)&w->draining)
        idle_tell(module, leaf);
}

static __always_inline void work_done(struct work_counters *n, bool error, u64 usec)
{
    u32 slot = latency_slot(usec);
    __sync_fetch_and_add(error ? &n->errors : &n->completed, 1);
    __sync_fetch_and_add(&n->total_usec, usec);
    if (slot < BULKHEAD_HIST_SLOTS)
        __sync_fetch_and_add(&n->latency[slot], 1);
}

static __always_inline void work_end(struct work_entry *w, struct work_counters *n, u32 flags, bool error, u64 nsec,
                                     u64 module, u64 leaf)
{
    work_done(n, error, nsec / 1000);
    work_leave(w, n, flags, module, leaf);
}

/* Once its record says WORK_LONG, set there by an exchange that nobody else has won. */
static __always_inline void work_turn_long(struct work_entry *w, struct work_counters *n, u32 flags, u64 module,
                                           u64 leaf)
{
    __sync_fetch_and_add(&n->long_running, 1);
    work_leave(w, n, flags & ~WORK_LONG, module, leaf);
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

/* The entry that the socket was counted in, NULL when it is gone or another one by now. */
static __always_inline struct work_entry *work_of(const struct conn_entry *c)
{
    u64 module = c->module;
    struct work_entry *w = bpf_map_lookup_elem(&work, &module);
    return w && w->epoch == c->epoch ? w : NULL;
}
