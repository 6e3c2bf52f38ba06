/* The counter page of a generation whose module has `track = api`: where its processes say by <bulkhead/work.h> or
 * bulkhead_work.py what they have in flight.
 *
 * One a generation, not one a module: two generations side by side drain one at a time, what a dead one leaves in its
 * page cannot be mistaken for the living one's, and a new one that comes with another user finds a page that is its
 * own. What a generation has counted is added to its module when its page goes.
 *
 * The page is a stranger's input: its owner may write anything into it at any time, cut it or make it longer. So it is
 * never mapped here (a file that was cut would end the daemon by SIGBUS) but read, every value bounded, and it is never
 * written: slots of the dead are freed by the processes that take slots, and are only left out by who reads here. What
 * the daemon has to say stands in a second file, which is root's. Both lie on a tmpfs of the modules' view with a limit
 * of its own, so that a page that is made longer takes no room from the host's /run. */
#pragma once

#include "include/bulkhead/work.h"
#include "supervisor/run/module.h"

/* Makes both files, owned and named so that the module's processes find them. */
int page_open(Generation *g, Page **ret, Error *e);
/* BULKHEAD_WORK=…, owned by the page. */
const char *page_variable(const Page *p);
/* "Am I draining?" is yes from here on, or no again. 0 or a negative errno. */
int page_set_draining(Page *p, bool draining);
/* What this generation has counted. in_flight is what living processes have begun, never less than it was at some
 * moment of the call: 0 is not seen while anything is in flight. What dead ones had begun is in `errors`. Always holds
 * started = completed + errors + in_flight. 0 or a negative errno. */
int page_read(const Page *p, struct work_counters *ret);
/* When one of its processes last said that it gets on, monotonic µs; 0 = never. Not in the future. */
uint64_t page_heartbeat(const Page *p);
/* Adds what it has counted to module->api, removes both files. NULL is fine. */
Page *page_free(Page *p);

/* What a module has counted by itself in all its generations; the kernel's map says the same from then on. False where
 * nothing does (no track = api). */
bool page_of_module(const Module *m, struct work_counters *ret);

/* --- the pure part: two looks at a page, and who died before the second one --- */

typedef struct PageLook {
    struct bulkhead_work_page before, after;
    bool dead[BULKHEAD_WORK_SLOTS]; /* the owner in `before` was dead before `after` was read */
} PageLook;

/* Whether the slot's owner is to be looked for: it has work in flight. */
bool page_slot_asks(const PageLook *l, size_t slot);
static inline pid_t page_owner_pid(uint64_t owner)
{
    return (pid_t)(owner & ((1u << BULKHEAD_WORK_PID_BITS) - 1));
}
/* When it took the slot, ms of CLOCK_BOOTTIME. */
static inline uint64_t page_owner_since(uint64_t owner)
{
    return (owner & ~BULKHEAD_WORK_REPAIRING) >> BULKHEAD_WORK_PID_BITS;
}
void page_sum(const PageLook *l, struct work_counters *ret);
/* The start of a process by its /proc/PID/stat, ms of CLOCK_BOOTTIME; UINT64_MAX when it runs no more (or is no such
 * text). `ticks` a second. */
uint64_t page_process_start(const char *stat, long ticks);
/* ret += more, without overflow; peaks are not added, in_flight is. */
void page_add(struct work_counters *ret, const struct work_counters *more);
