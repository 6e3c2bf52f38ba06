/* See timers.h. */
#include "supervisor/timers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "policies/calendar.h"
#include "supervisor/plan/timer.h"
#include "supervisor/wallclock.h"

#define STATE_DIR "/var/lib/bulkhead"
#define ACCURACY  1000 /* µs: an elapse is not put off to meet another */

struct JobTimer {
    TimerState state;
    TimerStamp stamp;
    bool armed, queued;
    bool due; /* a run is to begin, by the pump */
    uint64_t skipped;
    sd_event_source *calendar, *every;
};

/* What all timers share; there when a module has one. */
struct Timers {
    int dir; /* where the stamps are */
    WallClock *clock;
};

static const TimerPolicy *policy_of(const Module *m)
{
    return &m->policy->timer;
}

static TimerNow timer_now(void)
{
    uint32_t v = 0;
    (void)!getrandom(&v, sizeof v, GRND_NONBLOCK);
    return (TimerNow){.wall = now_realtime(), .monotonic = now_monotonic(), .random = v / 4294967296.0};
}

/* --- stamps --- */

static void read_stamp(const Host *h, const Module *m, TimerStamp *ret)
{
    char text[128];
    *ret = (TimerStamp){0};
    if (file_read(h->timers->dir, module_name(m), text, sizeof text) < 0)
        return;
    (void)keyed_u64(text, "since", &ret->since);
    (void)keyed_u64(text, "last", &ret->last);
}

/* Not synced to the disk: what a power cut takes of the stamp it takes of what the run had done in its first seconds,
 * too, and running it again is right then. */
static int write_stamp_file(int dir, const Module *m, const TimerStamp *stamp)
{
    _cleanup_(freep) char *new = xasprintf(".%s.new", module_name(m));
    char text[96];
    int n = snprintf(text, sizeof text, "since %llu\nlast %llu\n", (unsigned long long)stamp->since,
                     (unsigned long long)stamp->last);
    _cleanup_fd_ int fd = open_beneath(dir, new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    int r = fd < 0 ? fd : fd_write_all(fd, text, (size_t)n);
    if (r == 0 && renameat(dir, new, dir, module_name(m)) < 0)
        r = -errno;
    return r;
}

static void write_stamp(const Host *h, const Module *m)
{
    int r = write_stamp_file(h->timers->dir, m, &m->timer->stamp);
    if (r < 0)
        log_warning("module=%s event=stamp-failed reason=\"cannot write %s/%s/timers/%s: %s\"", module_name(m),
                    STATE_DIR, h->options.instance, module_name(m), strerror(-r));
}

/* --- sources --- */

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata);

static void set_source(Module *m, sd_event_source **s, clockid_t clock, uint64_t at)
{
    if (at == USEC_INFINITY) {
        *s = sd_event_source_disable_unref(*s);
        return;
    }
    if (*s) {
        (void)sd_event_source_set_time(*s, at);
        (void)sd_event_source_set_enabled(*s, SD_EVENT_ONESHOT);
        return;
    }
    int r = sd_event_add_time(m->ctx->event, s, clock, at, ACCURACY, on_timer, m);
    if (r < 0)
        log_error("module=%s event=timer-failed reason=\"cannot set its timer: %s\"", module_name(m), strerror(-r));
}

/* The sources follow the state. The event loop reads the kernel's wall clock, without the offset of tests. */
static void set_sources(Module *m)
{
    const JobTimer *t = m->timer;
    uint64_t calendar = t->armed ? t->state.calendar : USEC_INFINITY;
    if (calendar != USEC_INFINITY)
        calendar = (uint64_t)MAX2((int64_t)calendar - clock_offset(), (int64_t)0);
    set_source(m, &m->timer->calendar, CLOCK_REALTIME, calendar);
    set_source(m, &m->timer->every, CLOCK_MONOTONIC, t->armed ? t->state.every : USEC_INFINITY);
}

/* --- elapses --- */

static void tell(const Host *h, Module *m, const char *event)
{
    uint64_t next = timers_next(m);
    log_debug("module=%s event=%s", module_name(m), event);
    run_event(&h->ctx, m, 0, event, NULL,
              json_pack("{s:o}", "next_usec", next == USEC_INFINITY ? json_null() : json_integer((json_int_t)next)));
}

static void elapse(Host *h, Module *m)
{
    JobTimer *t = m->timer;
    /* For its turn; a retry gives way. */
    bool waits = t->due || (h->status[m->index] == NODE_WAITING && !m->next_start);
    switch (timer_decide(policy_of(m)->when_running, m->generation || waits, t->queued || !m->generation)) {
    case TIMER_RUN:
        tell(h, m, "timer-elapsed");
        t->due = true;
        host_wake(h);
        break;
    case TIMER_QUEUE:
        t->queued = true;
        tell(h, m, "timer-queued");
        break;
    case TIMER_SKIP:
        t->skipped++;
        tell(h, m, "timer-skipped");
        break;
    }
}

static int on_timer(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    Module *m = userdata;
    Host *h = m->ctx->host;
    TimerNow now = timer_now();
    bool due = timer_due(&m->timer->state, &now); /* not if the clock was set back just now */
    if (due)
        timer_elapsed(policy_of(m), &now, &m->timer->state);
    set_sources(m);
    if (due && !h->shutting_down)
        elapse(h, m);
    return 0;
}

/* --- the wall clock --- */

static void on_clock_set(void *userdata, int64_t by)
{
    Host *h = userdata;
    log_info("event=clock-set offset_usec=%lld", (long long)by);
    h->ctx.hooks->event(h, NULL, 0, "clock-set", NULL, json_pack("{s:I}", "offset_usec", (json_int_t)by));
    for (size_t i = 0; i < h->n_modules; i++) {
        Module *m = h->modules[i];
        if (!m->timer || !m->timer->armed)
            continue;
        TimerNow now = timer_now();
        timer_clock_set(policy_of(m), &m->timer->stamp, &now, &m->timer->state);
        set_sources(m);
    }
}

static void watch_clock(const Host *h)
{
    bool wanted = false;
    for (size_t i = 0; i < h->n_modules; i++) {
        const Module *m = h->modules[i];
        wanted = wanted || (m->timer && m->timer->armed && policy_of(m)->on_calendar);
    }
    int r = wallclock_watch(h->timers->clock, wanted);
    if (r < 0)
        log_error("event=timer-failed reason=\"cannot be told of a clock that is set: %s\"", strerror(-r));
}

/* --- armed, disarmed --- */

void timers_arm(Host *h, Module *m, bool starts)
{
    JobTimer *t = m->timer;
    if (!t || t->armed || h->shutting_down)
        return;
    TimerNow now = timer_now();
    if (!t->stamp.since) {
        t->stamp.since = now.wall;
        write_stamp(h, m);
    }
    timer_arm(policy_of(m), &t->stamp, &now, &t->state);
    if (starts) /* at once: nothing is left to be caught up */
        timer_elapsed(policy_of(m), &now, &t->state);
    t->armed = true;
    set_sources(m);
    watch_clock(h);
    tell(h, m, "timer-armed");
}

void timers_disarm(Host *h, Module *m)
{
    if (!m->timer || !m->timer->armed)
        return;
    m->timer->armed = m->timer->queued = m->timer->due = false;
    set_sources(m);
    watch_clock(h);
    if (!h->shutting_down)
        tell(h, m, "timer-disarmed");
}

void timers_run_begins(Host *h, Module *m)
{
    JobTimer *t = m->timer;
    if (!t || m->history.attempts > 0) /* a retry belongs to the run that failed */
        return;
    TimerNow now = timer_now();
    t->stamp.last = now.wall;
    write_stamp(h, m);
    if (!t->armed)
        return;
    timer_elapsed(policy_of(m), &now, &t->state);
    set_sources(m);
}

bool timers_take_due(Module *m)
{
    bool due = m->timer && m->timer->due;
    if (due)
        m->timer->due = false;
    return due;
}

bool timers_take_queued(Module *m)
{
    bool queued = m->timer && m->timer->queued;
    if (queued)
        m->timer->queued = false;
    return queued;
}

/* --- all of them --- */

static int open_directory(const char *instance, Error *e)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", STATE_DIR, instance);
    _cleanup_(freep) char *timers = xasprintf("%s/timers", path);
    _cleanup_fd_ int state = dir_make(path, 0700);
    int dir = state < 0 ? state : dir_make(timers, 0700);
    return dir < 0 ? error_errno(e, dir, "cannot make %s", timers) : dir;
}

static int open_shared(Host *h, Error *e)
{
    int dir = open_directory(h->options.instance, e);
    if (dir < 0)
        return dir;
    h->timers = new0(Timers);
    h->timers->dir = dir;
    return wallclock_open(h->ctx.event, h->options.clock_offset_file, on_clock_set, h, &h->timers->clock, e);
}

int timers_add(Host *h, Module *m, Error *e)
{
    if (!timer_is_set(policy_of(m)))
        return 0;
    int r = h->timers ? 0 : open_shared(h, e);
    if (r < 0)
        return r;
    m->timer = new0(JobTimer);
    read_stamp(h, m, &m->timer->stamp);
    return 0;
}

int timers_open(Host *h, Error *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < h->n_modules; i++)
        r = timers_add(h, h->modules[i], e);
    return r;
}

void timers_arm_all(Host *h)
{
    for (size_t i = 0; i < h->n_modules; i++)
        if (h->modules[i]->timer && h->modules[i]->policy->start == START_AUTO)
            timers_arm(h, h->modules[i], false);
}

void timers_disarm_all(Host *h)
{
    for (size_t i = 0; i < h->n_modules; i++)
        timers_disarm(h, h->modules[i]);
}

void timers_forget(Module *m)
{
    if (!m->timer)
        return;
    sd_event_source_disable_unref(m->timer->calendar);
    sd_event_source_disable_unref(m->timer->every);
    free(TAKE_PTR(m->timer));
}

void timers_close(Host *h)
{
    if (!h->timers)
        return;
    wallclock_close(h->timers->clock);
    fd_close(h->timers->dir);
    free(TAKE_PTR(h->timers));
}

/* --- shown --- */

uint64_t timers_next(const Module *m)
{
    TimerNow now = timer_now();
    return m->timer && m->timer->armed ? timer_next(&m->timer->state, &now) : USEC_INFINITY;
}

static json_t *moment(uint64_t usec)
{
    return usec == 0 || usec == USEC_INFINITY ? json_null() : json_integer((json_int_t)usec);
}

json_t *timers_json(const Module *m)
{
    const TimerPolicy *p = policy_of(m);
    const JobTimer *t = m->timer;
    if (!t)
        return json_null();
    _cleanup_(freep) char *calendars = p->on_calendar ? calendar_format(p->on_calendar) : NULL;
    return json_pack("{s:o,s:o,s:I,s:b,s:o,s:o}", "next_usec", moment(timers_next(m)), "last_usec",
                     moment(t->stamp.last), "skipped", (json_int_t)t->skipped, "armed", t->armed, "on_calendar",
                     calendars ? json_string(calendars) : json_null(), "every_usec",
                     timer_has_interval(p) ? json_integer((json_int_t)p->every) : json_null());
}
