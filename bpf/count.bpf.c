// SPDX-License-Identifier: GPL-2.0
/* See count.bpf.h. Global functions: a pointer may be NULL for all the verifier knows, so each asks. */
#include "bpf/count.bpf.h"

char _license[] SEC("license") = "GPL";

#define PEAK_TRIES 64
#define TAKE_TRIES 16

__noinline u32 latency_slot(u64 usec)
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

/* A failed exchange means that another CPU raised the peak, so this one must lose to 64 others in a row, each within
 * the few instructions between its read and its exchange, to give up. */
__noinline int peak_push(struct work_counters *n, s64 in_flight)
{
    if (!n)
        return 0;
    for (int i = 0; i < PEAK_TRIES; i++) {
        s64 peak = *(volatile s64 *)&n->in_flight_peak;
        if (in_flight <= peak || __sync_val_compare_and_swap(&n->in_flight_peak, peak, in_flight) == peak)
            return 0;
    }
    struct kernel_stats *s = stats_of();
    if (s)
        __sync_fetch_and_add(&s->peak_unsure, 1);
    return 0;
}

__noinline s64 place_take(s64 *places, u32 max)
{
    if (!places)
        return 0;
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

static __always_inline void idle_tell(u64 module, u64 leaf)
{
    struct ring_event e = {.kind = RING_IDLE, .module = module, .leaf = leaf};
    ring_send(&e);
}

__noinline int work_leave(struct work_entry *w, struct work_counters *n, u32 flags, u64 module, u64 leaf)
{
    if (!w || !n)
        return 0;
    if (flags & WORK_LONG) {
        __sync_fetch_and_add(&n->long_running, -1);
        return 0;
    }
    if (flags & WORK_IN_TOTAL)
        __sync_fetch_and_add(&w->total.in_flight, -1);
    if (__sync_fetch_and_add(&n->in_flight, -1) == 1 && *(volatile u32 *)&w->draining)
        idle_tell(module, leaf);
    return 0;
}

__noinline int work_done(struct work_counters *n, u32 error, u64 usec)
{
    if (!n)
        return 0;
    u32 slot = latency_slot(usec);
    __sync_fetch_and_add(error ? &n->errors : &n->completed, 1);
    __sync_fetch_and_add(&n->total_usec, usec);
    if (slot < BULKHEAD_HIST_SLOTS)
        __sync_fetch_and_add(&n->latency[slot], 1);
    return 0;
}

__noinline int port_counts(const struct work_entry *w, u32 port)
{
    if (!w)
        return 0;
    u32 n = w->n_ports;
    if (n == 0)
        return 1;
    for (u32 i = 0; i < BULKHEAD_PORTS_MAX; i++)
        if (i < n && w->ports[i] == port)
            return 1;
    return 0;
}
