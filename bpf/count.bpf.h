/* SPDX-License-Identifier: GPL-2.0 */
/* How work is counted, whatever its source: begin, end, the exact peak, the histogram, the word that nothing is left.
 *
 * What work_begin() returns goes into the record of the work (a socket's storage, a map's entry) and back into
 * work_end(), so that an end takes back just what its begin has added, though the policy was another one by then.
 *
 * What loops or has many outcomes is in count.bpf.c, as global functions: the verifier looks at each of those once, by
 * its types alone. Inlined, every outcome was followed to the end of every program (loading took a second, now a
 * tenth). */
#pragma once

#include "bpf/common.bpf.h"

#define WORK_IN_TOTAL 0x100u /* counted in `total` as well */
#define WORK_LONG     0x200u /* counted in long_running in place of in_flight */

/* Slot of a duration in microseconds: its binary logarithm, clamped. */
u32 latency_slot(u64 usec);
/* Takes one of `max` (0 = no limit) places; the new number, 0 when there is none free. */
s64 place_take(s64 *places, u32 max);
/* Exact. What is told when it could not be is kernel_stats.peak_unsure. */
int peak_push(struct work_counters *n, s64 in_flight);
int work_done(struct work_counters *n, u32 error, u64 usec);
/* Gives the place back. Last of all, so that who sees in_flight 0 sees all counts. */
int work_leave(struct work_entry *w, struct work_counters *n, u32 flags, u64 module, u64 leaf);
/* Whether the module means connections to this port of its own. */
int port_counts(const struct work_entry *w, u32 port);

static __always_inline void peak_raise(struct work_counters *n, s64 in_flight)
{
    if (in_flight > *(volatile s64 *)&n->in_flight_peak)
        peak_push(n, in_flight);
}

static __always_inline bool several_tracked(const struct work_entry *w)
{
    return w->track & (w->track - 1);
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

/* The entry that the socket was counted in, NULL when it is gone or another one by now. */
static __always_inline struct work_entry *work_of(const struct conn_entry *c)
{
    u64 module = c->module;
    struct work_entry *w = bpf_map_lookup_elem(&work, &module);
    return w && w->epoch == c->epoch ? w : NULL;
}
