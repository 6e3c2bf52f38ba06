/* The work registry: which modules have work in progress, how much, and when there is none any more.
 *
 * What counts a module's work registers as one of its sources: the kernel's programs, a counter page. The registry adds
 * them up, tells all of them to turn new work away or to let it in again, and waits for the end of what is in progress.
 * It counts nothing itself and knows no module but by the pointer and the name it was registered under.
 *
 * Sources are registered once and unregistered with their module; their userdata must live as long. One thread, one
 * event loop; a wait calls back once, never from within work_wait(), and is gone by then. */
#pragma once

#include <systemd/sd-event.h>

#include "base/util.h"

#define WORK_POLL_USEC 100000ull /* how often a source that does not tell of its end is asked */

#define WORK_KINDS(X)             \
    X(CONNECTIONS, "connections") \
    X(REQUESTS, "requests")       \
    X(UNIX, "unix")               \
    X(CALLS, "calls")             \
    X(WRITES, "writes")           \
    X(API, "api")

typedef enum WorkKind {
#define X(id, name) WORK_##id,
    WORK_KINDS(X)
#undef X
        WORK_KIND_N
} WorkKind;

extern const char *const work_kind_names[WORK_KIND_N];

/* What is in progress in a module now. */
typedef struct WorkNow {
    unsigned kinds;                  /* 1 << kind: this is counted */
    uint64_t in_flight[WORK_KIND_N]; /* without what is long-running by design: nobody waits for that */
} WorkNow;

typedef struct WorkSource {
    const char *name;
    /* Adds what it counts to *now, bits and all; what it cannot tell it leaves alone. */
    void (*read)(void *userdata, WorkNow *now);
    /* New work is turned away from now on, or let in; 0 or a negative errno. NULL: it cannot. */
    int (*gate)(void *userdata, bool closed);
    /* Asked for, work_idle() is called whenever nothing of its own is in flight any more. NULL: it must be asked. */
    int (*tell)(void *userdata, bool on);
} WorkSource;

typedef struct WorkRegistry WorkRegistry;
typedef struct WorkWait WorkWait;

WorkRegistry *work_registry_new(void);
/* All waits must be over. NULL is allowed. */
WorkRegistry *work_registry_free(WorkRegistry *r);

/* One more source of the module's work; strings are borrowed. */
void work_register(WorkRegistry *r, const void *module, const char *name, const WorkSource *source, void *userdata);
/* Forgets all its sources; a wait for it ends with -ECANCELED. */
void work_unregister(WorkRegistry *r, const void *module);

/* Zeroed, with no kind, for a module of which nothing is counted. r NULL is allowed here and in the next. */
void work_read(const WorkRegistry *r, const void *module, WorkNow *ret);
/* What must be over before it may end: a request says when it is, so the connection it came on, where both are
 * counted, is not waited for. */
uint64_t work_holding(const WorkNow *now);
/* The two in one; UINT64_MAX when nothing is counted. */
uint64_t work_in_flight(const WorkRegistry *r, const void *module);

bool work_any_in_progress(const WorkRegistry *r);
/* Calls `fn` for each module that has work in progress, in the order in which they were registered. */
void work_counts(const WorkRegistry *r, void (*fn)(void *userdata, const char *module, uint64_t in_flight),
                 void *userdata);

/* Tells all sources of the module; the first error, which does not keep the rest from being told. -EOPNOTSUPP: it has
 * none that could. */
int work_gate(WorkRegistry *r, const void *module, bool closed);

/* By the loop: calls back with 0 once nothing that holds is in flight, with -ETIMEDOUT at the deadline (monotonic µs),
 * with -ECANCELED when the module is unregistered. */
typedef void (*WorkDone)(void *userdata, int result);
int work_wait(WorkRegistry *r, sd_event *event, const void *module, uint64_t deadline, WorkDone done, void *userdata,
              WorkWait **ret);
/* Ends a wait unanswered; NULL is allowed. Returns NULL. */
WorkWait *work_wait_cancel(WorkWait *w);
/* A source's word that nothing of its own is in flight any more. */
void work_idle(WorkRegistry *r, const void *module);
