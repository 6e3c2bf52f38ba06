/* See work.h. Waits hang on their registry; a module's sources are asked to tell as long as one waits for it. */
#include "supervisor/watch/work.h"

#include <errno.h>

#include "base/clock.h"

const char *const work_kind_names[WORK_KIND_N] = {
#define X(id, name) name,
    WORK_KINDS(X)
#undef X
};

typedef struct Entry {
    const void *module;
    const char *name;
    const WorkSource *source;
    void *userdata;
} Entry;

struct WorkRegistry {
    Entry *entries;
    size_t n;
    WorkWait **waits;
    size_t n_waits;
};

struct WorkWait {
    WorkRegistry *registry;
    const void *module;
    uint64_t deadline;
    bool polls; /* a source of it does not tell */
    WorkDone done;
    void *userdata;
    sd_event_source *timer;
};

WorkRegistry *work_registry_new(void)
{
    return new0(WorkRegistry);
}

WorkRegistry *work_registry_free(WorkRegistry *r)
{
    if (!r)
        return NULL;
    free(r->entries);
    free(r->waits);
    free(r);
    return NULL;
}

void work_register(WorkRegistry *r, const void *module, const char *name, const WorkSource *source, void *userdata)
{
    ARRAY_PUSH(r->entries, r->n) = (Entry){.module = module, .name = name, .source = source, .userdata = userdata};
}

/* --- counting --- */

void work_read(const WorkRegistry *r, const void *module, WorkNow *ret)
{
    *ret = (WorkNow){0};
    for (size_t i = 0; r && i < r->n; i++)
        if (r->entries[i].module == module)
            r->entries[i].source->read(r->entries[i].userdata, ret);
}

uint64_t work_holding(const WorkNow *now)
{
    uint64_t sum = 0;
    for (WorkKind k = 0; k < WORK_KIND_N; k++) {
        bool counted = now->kinds & (1u << k);
        bool covered = k == WORK_CONNECTIONS && (now->kinds & (1u << WORK_REQUESTS));
        if (counted && !covered)
            sum += now->in_flight[k];
    }
    return sum;
}

uint64_t work_in_flight(const WorkRegistry *r, const void *module)
{
    WorkNow now;
    work_read(r, module, &now);
    return now.kinds ? work_holding(&now) : UINT64_MAX;
}

/* Whether entry i is the first of its module. */
static bool is_first(const WorkRegistry *r, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (r->entries[k].module == r->entries[i].module)
            return false;
    return true;
}

void work_counts(const WorkRegistry *r, void (*fn)(void *userdata, const char *module, uint64_t in_flight),
                 void *userdata)
{
    for (size_t i = 0; i < r->n; i++) {
        uint64_t n = is_first(r, i) ? work_in_flight(r, r->entries[i].module) : 0;
        if (n > 0 && n != UINT64_MAX)
            fn(userdata, r->entries[i].name, n);
    }
}

static void note_any(void *userdata, const char *module, uint64_t in_flight)
{
    (void)module, (void)in_flight;
    *(bool *)userdata = true;
}

bool work_any_in_progress(const WorkRegistry *r)
{
    bool any = false;
    work_counts(r, note_any, &any);
    return any;
}

/* --- telling the sources --- */

int work_gate(WorkRegistry *r, const void *module, bool closed)
{
    int first = -EOPNOTSUPP;
    bool any = false;
    for (size_t i = 0; i < r->n; i++) {
        const Entry *e = &r->entries[i];
        if (e->module != module || !e->source->gate)
            continue;
        int k = e->source->gate(e->userdata, closed);
        if (!any || first == 0)
            first = k;
        any = true;
    }
    return first;
}

/* True: every source of it will call work_idle(). */
static bool ask_to_tell(const WorkRegistry *r, const void *module, bool on)
{
    bool all = true;
    for (size_t i = 0; i < r->n; i++) {
        const Entry *e = &r->entries[i];
        if (e->module == module)
            all &= e->source->tell && e->source->tell(e->userdata, on) >= 0;
    }
    return all;
}

/* --- waiting --- */

/* Takes it off its registry, and lets the sources be silent again with the last one. */
static void forget(WorkWait *w)
{
    WorkRegistry *r = w->registry;
    bool others = false;
    for (size_t i = r->n_waits; i-- > 0;) {
        if (r->waits[i] == w)
            r->waits[i] = r->waits[--r->n_waits];
        else
            others |= r->waits[i]->module == w->module;
    }
    if (!others)
        (void)ask_to_tell(r, w->module, false);
    sd_event_source_disable_unref(w->timer);
    free(w);
}

WorkWait *work_wait_cancel(WorkWait *w)
{
    if (w)
        forget(w);
    return NULL;
}

static void answer(WorkWait *w, int result)
{
    WorkDone done = w->done;
    void *userdata = w->userdata;
    forget(w);
    done(userdata, result);
}

static uint64_t next_look(const WorkWait *w, uint64_t now)
{
    return w->polls ? MIN2(usec_add(now, WORK_POLL_USEC), w->deadline) : w->deadline;
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)usec;
    WorkWait *w = userdata;
    uint64_t now = now_monotonic(), left = work_in_flight(w->registry, w->module);
    if (left == 0 || left == UINT64_MAX) {
        answer(w, 0);
    } else if (now >= w->deadline) {
        answer(w, -ETIMEDOUT);
    } else {
        sd_event_source_set_time(s, next_look(w, now));
        sd_event_source_set_enabled(s, SD_EVENT_ONESHOT);
    }
    return 0;
}

int work_wait(WorkRegistry *r, sd_event *event, const void *module, uint64_t deadline, WorkDone done, void *userdata,
              WorkWait **ret)
{
    WorkWait *w = new0(WorkWait);
    *w = (WorkWait){.registry = r, .module = module, .deadline = deadline, .done = done, .userdata = userdata};
    /* Before the first look, so that no end is missed; and that look is the loop's, never ours. */
    w->polls = !ask_to_tell(r, module, true);
    ARRAY_PUSH(r->waits, r->n_waits) = w;
    uint64_t left = work_in_flight(r, module), now = now_monotonic();
    uint64_t at = left == 0 || left == UINT64_MAX ? now : next_look(w, now);
    int k = sd_event_add_time(event, &w->timer, CLOCK_MONOTONIC, at, 1000, on_timer, w);
    if (k < 0) {
        forget(w);
        return k;
    }
    *ret = w;
    return 0;
}

void work_idle(WorkRegistry *r, const void *module)
{
    /* One kind has come to rest; only the sum says whether that was all. */
    if (!r || work_in_flight(r, module) != 0)
        return;
    for (size_t i = r->n_waits; i-- > 0;)
        if (i < r->n_waits && r->waits[i]->module == module)
            answer(r->waits[i], 0);
}

void work_unregister(WorkRegistry *r, const void *module)
{
    size_t kept = 0;
    for (size_t i = 0; i < r->n; i++)
        if (r->entries[i].module != module)
            r->entries[kept++] = r->entries[i];
    r->n = kept;
    for (size_t i = r->n_waits; i-- > 0;)
        if (i < r->n_waits && r->waits[i]->module == module)
            answer(r->waits[i], -ECANCELED);
}
