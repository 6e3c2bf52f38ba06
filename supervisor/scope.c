/* See scope.h. All calls are synchronous and happen before the loop runs, but for those after the holder's end. */
#include "supervisor/scope.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-login.h>

#include "base/clock.h"
#include "base/str.h"
#include "cgroups/cgroup.h"

#define SYSTEMD       "org.freedesktop.systemd1"
#define MANAGER_PATH  "/org/freedesktop/systemd1"
#define MANAGER       SYSTEMD ".Manager"
#define PRIVATE       "unix:path=/run/systemd/private"
#define PATIENCE_USEC (60 * USEC_PER_SEC) /* a booting machine is busy */
#define AGAIN_USEC    (20 * USEC_PER_MSEC)

typedef struct Answer {
    sd_bus_error error;
    sd_bus_message *message;
} Answer;

static void answer_done(Answer *a)
{
    sd_bus_error_free(&a->error);
    sd_bus_message_unref(a->message);
}
#define _cleanup_answer_ _cleanup_(answer_done)
#define _cleanup_bus_    _cleanup_(sd_bus_flush_close_unrefp)

bool scope_possible(void)
{
    return sd_booted() > 0;
}

char *scope_unit_name(const char *instance)
{
    return xasprintf("bulkhead-%s.scope", instance);
}

/* --- the way to systemd --- */

/* systemd's own socket: without a broker there is no greeting. */
static int open_private(sd_bus **ret)
{
    _cleanup_bus_ sd_bus *bus = NULL;
    int r = sd_bus_new(&bus);
    if (r >= 0)
        r = sd_bus_set_address(bus, PRIVATE);
    if (r >= 0)
        r = sd_bus_start(bus);
    if (r >= 0)
        *ret = TAKE_PTR(bus);
    return r;
}

/* Connecting ends with the first answer; Subscribe() is one, and has systemd tell of jobs and units. */
static int subscribe(sd_bus *bus)
{
    return sd_bus_call_method(bus, SYSTEMD, MANAGER_PATH, MANAGER, "Subscribe", NULL, NULL, NULL);
}

static int open_bus(sd_bus **ret, Error *e)
{
    static int (*const ways[])(sd_bus **) = {sd_bus_open_system, open_private};
    int r = 0;
    for (size_t i = 0; i < ELEMENTS(ways); i++) {
        _cleanup_bus_ sd_bus *bus = NULL;
        r = ways[i](&bus);
        if (r >= 0)
            r = subscribe(bus);
        if (r >= 0) {
            *ret = TAKE_PTR(bus);
            return 0;
        }
    }
    return error_set(e, -ENXIO, "systemd cannot be reached, by the system bus nor by %s: %s", PRIVATE, strerror(-r));
}

/* --- what a unit is --- */

/* "active", "deactivating" and so on; "" when there is no such unit. Owned by the caller. */
static int unit_state(sd_bus *bus, const char *unit, char **ret, Error *e)
{
    _cleanup_answer_ Answer a = {0};
    const char *path;
    int r = sd_bus_call_method(bus, SYSTEMD, MANAGER_PATH, MANAGER, "GetUnit", &a.error, &a.message, "s", unit);
    if (r < 0 && sd_bus_error_has_name(&a.error, SYSTEMD ".NoSuchUnit")) {
        *ret = xstrdup("");
        return 0;
    }
    if (r >= 0)
        r = sd_bus_message_read(a.message, "o", &path);
    _cleanup_(freep) char *state = NULL;
    if (r >= 0)
        r = sd_bus_get_property_string(bus, SYSTEMD, path, SYSTEMD ".Unit", "ActiveState", NULL, &state);
    if (r < 0)
        return error_set(e, r, "cannot ask systemd about %s: %s", unit, str_or(a.error.message, strerror(-r)));
    *ret = TAKE_PTR(state);
    return 0;
}

static int unit_cgroup(sd_bus *bus, const char *unit, char **ret, Error *e)
{
    _cleanup_answer_ Answer a = {0};
    const char *object;
    int r = sd_bus_call_method(bus, SYSTEMD, MANAGER_PATH, MANAGER, "GetUnit", &a.error, &a.message, "s", unit);
    if (r >= 0)
        r = sd_bus_message_read(a.message, "o", &object);
    if (r >= 0)
        r = sd_bus_get_property_string(bus, SYSTEMD, object, SYSTEMD ".Scope", "ControlGroup", NULL, ret);
    return r < 0 ? error_set(e, r, "cannot ask systemd for the cgroup of %s: %s", unit,
                             str_or(a.error.message, strerror(-r)))
                 : 0;
}

/* --- our own unit --- */

/* "stop", "restart" and so on, of the job that the unit waits for; "" when it has none. Owned by the caller. */
static int unit_job(sd_bus *bus, const char *unit, char **ret)
{
    _cleanup_answer_ Answer a = {0}, b = {0};
    const char *path, *job;
    uint32_t id;
    int r = sd_bus_call_method(bus, SYSTEMD, MANAGER_PATH, MANAGER, "GetUnit", &a.error, &a.message, "s", unit);
    if (r >= 0)
        r = sd_bus_message_read(a.message, "o", &path);
    if (r >= 0)
        r = sd_bus_get_property(bus, SYSTEMD, path, SYSTEMD ".Unit", "Job", &b.error, &b.message, "(uo)");
    if (r >= 0)
        r = sd_bus_message_read(b.message, "(uo)", &id, &job);
    if (r < 0)
        return r;
    if (id == 0) {
        *ret = xstrdup("");
        return 0;
    }
    return sd_bus_get_property_string(bus, SYSTEMD, job, SYSTEMD ".Job", "JobType", NULL, ret);
}

bool scope_own_unit_stops(void)
{
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_(freep) char *unit = NULL, *job = NULL;
    Error e = {0};
    return scope_possible() && sd_pid_get_unit(0, &unit) >= 0 && open_bus(&bus, &e) == 0 &&
           unit_job(bus, unit, &job) >= 0 && str_equal(job, "stop");
}

/* --- a new one --- */

typedef struct Job {
    char *path; /* NULL until systemd has named it */
    char *result;
} Job;

static void job_done(Job *j)
{
    free(j->path);
    free(j->result);
}

static int on_job_removed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)error;
    Job *j = userdata;
    const char *path, *unit, *result;
    uint32_t id;
    if (sd_bus_message_read(m, "uoss", &id, &path, &unit, &result) >= 0 && str_equal(path, j->path) && !j->result)
        j->result = xstrdup(result);
    return 0;
}

static int wait_job(sd_bus *bus, const Job *j, Error *e)
{
    const uint64_t end = now_monotonic() + PATIENCE_USEC;
    while (!j->result) {
        int r = sd_bus_process(bus, NULL);
        if (r == 0) {
            uint64_t now = now_monotonic();
            if (now >= end)
                return error_set(e, -ETIMEDOUT, "systemd has not made the scope within a minute");
            r = sd_bus_wait(bus, end - now);
        }
        if (r < 0)
            return error_errno(e, r, "the connection to systemd failed");
    }
    return str_equal(j->result, "done") ? 0 : error_set(e, -ECANCELED, "its job ended with \"%s\"", j->result);
}

static int add_properties(sd_bus_message *m, const Scope *s, const ScopeConfig *config)
{
    _cleanup_(freep) char *own_unit = NULL;
    _cleanup_(freep) char *description = xasprintf("Modules of bulkheadd, instance %s", config->instance);
    int r = sd_bus_message_open_container(m, 'a', "(sv)");
    if (r >= 0)
        r = sd_bus_message_append(m, "(sv)(sv)(sv)(sv)(sv)(sv)(sv)", "Description", "s", description, "Documentation",
                                  "as", 1, "man:bulkheadd(8)", "PIDs", "au", 1, (uint32_t)s->holder.pid, "Delegate",
                                  "b", true, "KillSignal", "i", HOLDER_SIGNAL, "TimeoutStopUSec", "t",
                                  config->stop_usec, "TasksMax", "t", UINT64_MAX); /* pids_max is the modules' own */
    if (r >= 0) /* gone from the list once it is down, however it ended */
        r = sd_bus_message_append(m, "(sv)", "CollectMode", "s", "inactive-or-failed");
    /* So that, when the machine goes down, the daemon is stopped first and takes its modules down. */
    if (r >= 0 && sd_pid_get_unit(0, &own_unit) >= 0)
        r = sd_bus_message_append(m, "(sv)", "Before", "as", 1, own_unit);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

/* 0, -EEXIST when there is such a unit, or an error with words. */
static int start_unit(sd_bus *bus, const Scope *s, const ScopeConfig *config, Error *e)
{
    _cleanup_(sd_bus_slot_unrefp) sd_bus_slot *slot = NULL;
    _cleanup_(job_done) Job job = {0};
    _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
    _cleanup_answer_ Answer a = {0};
    const char *path;
    int r = sd_bus_match_signal(bus, &slot, SYSTEMD, MANAGER_PATH, MANAGER, "JobRemoved", on_job_removed, &job);
    if (r >= 0)
        r = sd_bus_message_new_method_call(bus, &m, SYSTEMD, MANAGER_PATH, MANAGER, "StartTransientUnit");
    if (r >= 0)
        r = sd_bus_message_append(m, "ss", s->unit, "fail");
    if (r >= 0)
        r = add_properties(m, s, config);
    if (r >= 0)
        r = sd_bus_message_append(m, "a(sa(sv))", 0);
    if (r >= 0)
        r = sd_bus_call(bus, m, 0, &a.error, &a.message);
    if (r < 0 && sd_bus_error_has_name(&a.error, SYSTEMD ".UnitExists"))
        return -EEXIST;
    if (r >= 0)
        r = sd_bus_message_read(a.message, "o", &path);
    if (r < 0)
        return error_set(e, r, "systemd does not make %s: %s", s->unit, str_or(a.error.message, strerror(-r)));
    job.path = xstrdup(path);
    return wait_job(bus, &job, e);
}

static int scope_hold(Scope *s, const ScopeConfig *config, Error *e)
{
    return holder_start(s->unit, config->instance, config->config_dir, &s->holder, e);
}

static int scope_make(sd_bus *bus, Scope *s, const ScopeConfig *config, Error *e)
{
    int r = scope_hold(s, config, e);
    if (r == 0)
        r = start_unit(bus, s, config, e);
    if (r == 0)
        r = unit_cgroup(bus, s->unit, &s->path, e);
    if (r < 0)
        holder_done(&s->holder);
    return r;
}

/* --- one that is there --- */

static int scope_take(sd_bus *bus, Scope *s, const ScopeConfig *config, Error *e)
{
    int r = unit_cgroup(bus, s->unit, &s->path, e);
    if (r < 0)
        return r;
    s->found = true;
    pid_t pid = cgroup_holder(s->path);
    /* Somebody has killed it, but modules are still there: it gets a new one. */
    return pid > 0 && holder_find(pid, &s->holder, NULL) == 0 ? 0 : scope_hold(s, config, e);
}

/* What is on its way out must be waited for: its name is taken until it is gone. */
static int scope_get(sd_bus *bus, Scope *s, const ScopeConfig *config, Error *e)
{
    const uint64_t end = now_monotonic() + PATIENCE_USEC;
    for (;;) {
        _cleanup_(freep) char *state = NULL;
        int r = unit_state(bus, s->unit, &state, e);
        if (r < 0)
            return r;
        if (str_equal(state, "active"))
            return scope_take(bus, s, config, e);
        if (config->only_found)
            return error_set(e, -ENOENT, "%s does not run", s->unit);
        if (str_equal(state, "") && (r = scope_make(bus, s, config, e)) != -EEXIST)
            return r;
        if (now_monotonic() >= end)
            return error_set(e, -EBUSY, "%s is \"%s\" and does not end: see systemctl status %s", s->unit,
                             str_or(state, "there"), s->unit);
        if ((r = sd_bus_wait(bus, AGAIN_USEC)) < 0 || (r = sd_bus_process(bus, NULL)) < 0)
            return error_errno(e, r, "the connection to systemd failed");
    }
}

int scope_open(const ScopeConfig *config, Scope **ret, Error *e)
{
    _cleanup_bus_ sd_bus *bus = NULL;
    int r = open_bus(&bus, e);
    if (r < 0)
        return r;
    Scope *s = new0(Scope);
    s->holder = HOLDER_NULL;
    s->unit = scope_unit_name(config->instance);
    r = scope_get(bus, s, config, e);
    if (r < 0) {
        scope_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

int scope_keep(Scope *s, Error *e)
{
    return holder_release(&s->holder, e);
}

int scope_renew(Scope *s, const ScopeConfig *config, Error *e)
{
    _cleanup_bus_ sd_bus *bus = NULL;
    _cleanup_(freep) char *state = NULL;
    int r = open_bus(&bus, e);
    if (r == 0)
        r = unit_state(bus, s->unit, &state, e);
    if (r < 0)
        return r;
    if (!str_equal(state, "active"))
        return error_set(e, -ECANCELED, "%s is being stopped", s->unit);
    s->watch = sd_event_source_disable_unref(s->watch);
    holder_done(&s->holder);
    return scope_hold(s, config, e);
}

int scope_watch(Scope *s, sd_event *event, sd_event_io_handler_t ended, void *userdata, Error *e)
{
    int r = sd_event_add_io(event, &s->watch, s->holder.pidfd, EPOLLIN, ended, userdata);
    /* Before any module's end: what the stop of a scope does to modules is no reason to restart them. */
    if (r >= 0)
        r = sd_event_source_set_priority(s->watch, SD_EVENT_PRIORITY_IMPORTANT);
    if (r >= 0)
        r = sd_event_source_set_enabled(s->watch, SD_EVENT_ONESHOT);
    return r < 0 ? error_errno(e, r, "cannot watch the holder of %s", s->unit) : 0;
}

Scope *scope_close(Scope *s)
{
    if (!s)
        return NULL;
    sd_event_source_disable_unref(s->watch);
    holder_done(&s->holder);
    free(s->unit);
    free(s->path);
    free(s);
    return NULL;
}
