/* See report.h. Kernel files are read only when somebody asks; nothing is sampled. */
#include "supervisor/report.h"

#include <errno.h>
#include <signal.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/str.h"
#include "policies/seccomp.h"
#include "supervisor/drains.h"
#include "supervisor/jobs.h"
#include "supervisor/measures.h"
#include "supervisor/plan/describe.h"
#include "supervisor/reloads.h"
#include "supervisor/run/output.h"
#include "supervisor/run/page.h"
#include "supervisor/run/reload.h"
#include "supervisor/scale.h"
#include "supervisor/shutdown.h"
#include "supervisor/stop/teardown.h"
#include "supervisor/timers.h"
#include "supervisor/waiters.h"
#include "supervisor/waits.h"
#include "supervisor/watch/exits.h"
#include "supervisor/watch/work.h"

static json_t *number(uint64_t v)
{
    return v == UINT64_MAX ? json_null() : json_integer((json_int_t)v);
}

static json_t *text(const char *s)
{
    return s ? json_string(s) : json_null();
}

static const char *shown_state(const Host *h, const Module *m)
{
    if (m->generation)
        return lifecycle_state_name(m->generation->lifecycle.state);
    return h->status[m->index] == NODE_FAILED ? "failed" : "idle";
}

static pid_t shown_pid(const Module *m)
{
    return m->generation && m->generation->main_alive ? m->generation->pid : 0;
}

const char *report_health(const Host *h, char **ret_reason)
{
    StrBuf down = STRBUF_NULL, required = STRBUF_NULL;
    for (size_t i = 0; i < h->n_modules; i++) {
        const Module *m = h->modules[i];
        if (h->status[i] != NODE_FAILED && !(h->status[i] == NODE_WAITING && m->next_start))
            continue;
        StrBuf *b = m->policy->required && h->status[i] == NODE_FAILED ? &required : &down;
        strbuf_addf(b, "%s%s", b->len ? ", " : "", module_name(m));
    }
    const char *health = required.len ? "critical" : down.len ? "degraded" : "healthy";
    if (ret_reason)
        *ret_reason = required.len ? xasprintf("required, down: %s", required.s)
                      : down.len   ? xasprintf("down: %s", down.s)
                                   : NULL;
    strbuf_done(&down);
    strbuf_done(&required);
    return health;
}

/* --- one module --- */

/* Wall clock of the last "I get on" of a module that says so. */
static json_t *heartbeat_json(const Generation *g)
{
    uint64_t at = g && g->page ? page_heartbeat(g->page) : 0;
    return at ? json_integer((json_int_t)(now_realtime() - (now_monotonic() - at))) : json_null();
}

static json_t *last_exit_json(const LastExit *x)
{
    if (!x)
        return json_null();
    _cleanup_(freep) char *syscall = x->syscall_nr >= 0 ? seccomp_syscall_name(x->syscall_nr) : NULL;
    return json_pack("{s:o,s:o,s:b,s:b,s:o,s:I}", "code",
                     x->signal || x->code < 0 ? json_null() : json_integer(x->code), "signal",
                     x->signal ? json_integer(x->signal) : json_null(), "oom", x->oom, "wanted", x->wanted, "syscall",
                     text(syscall), "time_usec", (json_int_t)x->time);
}

static json_t *teardown_json(const TeardownResult *r)
{
    json_t *out = json_array();
    for (size_t i = 0; r && i < PHASE_N; i++)
        json_array_append_new(out, json_pack("{s:s,s:s,s:I,s:o}", "phase", phase_names[i], "status",
                                             phase_status_names[r->phase[i].status], "duration_usec",
                                             (json_int_t)r->phase[i].duration, "error", text(r->phase[i].error)));
    return out;
}

/* How many instances of its template there are, and as many as the file asks for; null where it is none. */
static json_t *instances_json(const Host *h, const Module *m)
{
    const char *name = module_name(m);
    if (!m->policy->instances)
        return json_null();
    _cleanup_(freep) char *stem = xstrndup(name, module_stem(name));
    return json_pack("{s:s,s:i,s:I,s:o}", "template", stem, "now", (int)scale_now(h, stem), "configured",
                     (json_int_t)m->policy->instances, "work", measures_shared_work(m));
}

static json_t *reload_json(const Module *m)
{
    uint64_t elapsed = 0;
    bool asked = reload_elapsed(m->generation, &elapsed);
    bool running = asked || (m->generation && m->generation->says_reloading);
    if (!running && !m->reloaded)
        return json_null();
    return json_pack("{s:b,s:o,s:o,s:o}", "running", running, "elapsed_usec",
                     asked ? json_integer((json_int_t)elapsed) : json_null(), "last_usec",
                     m->reloaded ? json_integer((json_int_t)m->reloaded) : json_null(), "last_error",
                     text(m->reload_error));
}

/* `at_length`: asked for it alone, so that a few files more are no matter. */
static json_t *module_json(const Host *h, const Module *m, bool at_length)
{
    const Generation *g = m->generation;
    GroupStats s;
    (void)measures_stats(m, &s);
    pid_t pid = shown_pid(m);
    json_t *o = json_pack("{s:s,s:s,s:s,s:o,s:o,s:o,s:I,s:o,s:o}", "name", module_name(m), "state", shown_state(h, m),
                          "health", "unknown", "generation",
                          m->last_generation ? json_integer((json_int_t)m->last_generation) : json_null(), "pid",
                          pid ? json_integer(pid) : json_null(), "cgroup", text(g ? box_cgroup_path(g->leaf) : NULL),
                          "restarts", (json_int_t)m->restarts, "next_start_usec",
                          number(m->next_start ? m->next_start : timers_next(m)), "work", measures_work(m));
    json_object_set_new(o, "cpu", measures_cpu(m, &s));
    json_object_set_new(o, "memory", measures_memory(m, &s));
    json_object_set_new(
        o, "pids",
        json_pack("{s:o,s:o}", "current", number(s.pids_current), "max", number(m->policy->limits.pids_max)));
    json_object_set_new(o, "last_exit", last_exit_json(m->last_exit));
    json_object_set_new(o, "teardown", teardown_json(m->last_teardown));
    /* What has come since: after what everybody knows. */
    json_object_set_new(o, "type", json_string(module_type_names[m->policy->type]));
    json_object_set_new(o, "group", text(m->policy->group));
    json_object_set_new(o, "instances", instances_json(h, m));
    json_object_set_new(o, "leaving", json_boolean(m->leaving));
    json_object_set_new(o, "hook", waits_hook(m));
    json_object_set_new(o, "condition", text(m->condition));
    json_object_set_new(o, "reload", reload_json(m));
    json_object_set_new(o, "timer", timers_json(m));
    json_object_set_new(o, "pressure", at_length ? measures_pressure(m) : json_null());
    json_object_set_new(o, "gate", drains_gate_json(m));
    json_object_set_new(o, "heartbeat_usec", heartbeat_json(g));
    return o;
}

/* What commands may call the modules by. */
static json_t *names(void *host)
{
    Host *h = host;
    json_t *modules = json_array(), *templates = json_array();
    for (size_t i = 0; i < h->n_modules; i++) {
        const char *name = module_name(h->modules[i]);
        json_array_append_new(modules,
                              json_pack("{s:s,s:o}", "name", name, "group", text(h->modules[i]->policy->group)));
    }
    for (size_t i = 0; i < h->policy->n_templates; i++) {
        const Template *t = &h->policy->templates[i];
        json_array_append_new(templates, json_pack("{s:s,s:i,s:i}", "name", t->name, "instances",
                                                   (int)scale_now(h, t->name), "configured", (int)t->instances));
    }
    return json_pack("{s:o,s:o}", "modules", modules, "templates", templates);
}

/* Takes the reference. */
static json_t *instance_json(const Host *h, json_t *modules)
{
    _cleanup_(freep) char *reason = NULL;
    const char *health = report_health(h, &reason);
    return json_pack("{s:s,s:s,s:o,s:I,s:o}", "instance", h->options.instance, "status", health, "reason", text(reason),
                     "uptime_usec", (json_int_t)(now_monotonic() - h->started), "modules", modules);
}

static json_t *status(void *host, const char *name)
{
    Host *h = host;
    ssize_t only = name ? graph_index(h->graph, name) : -1;
    if (name && only < 0)
        return NULL;
    json_t *modules = json_array();
    for (size_t i = 0; i < h->n_modules; i++)
        if (!name || (ssize_t)i == only)
            json_array_append_new(modules, module_json(h, h->modules[i], name != NULL));
    return instance_json(h, modules);
}

/* Of all modules what changes from one look to the next. */
static json_t *usage(void *host)
{
    Host *h = host;
    json_t *modules = json_array();
    for (size_t i = 0; i < h->n_modules; i++) {
        const Module *m = h->modules[i];
        GroupStats s;
        (void)measures_usage(m, &s);
        json_array_append_new(modules, json_pack("{s:s,s:s,s:o,s:I,s:I,s:o,s:o,s:o,s:o}", "name", module_name(m),
                                                 "state", shown_state(h, m), "group", text(m->policy->group),
                                                 "generation", (json_int_t)m->last_generation, "restarts",
                                                 (json_int_t)m->restarts, "work", measures_work(m), "cpu",
                                                 json_pack("{s:o}", "usage_usec", number(s.cpu_usage_usec)), "memory",
                                                 json_pack("{s:o,s:o}", "current", number(s.memory_current), "max",
                                                           number(m->policy->limits.memory_max)),
                                                 "pressure", measures_pressure(m)));
    }
    return instance_json(h, modules);
}

/* --- explain --- */

static json_t *exit_story(const LastExit *x)
{
    if (!x)
        return json_null();
    json_t *o = last_exit_json(x), *args = x->syscall_nr >= 0 ? json_array() : json_null();
    for (size_t i = 0; json_is_array(args) && i < ELEMENTS(x->syscall_args); i++)
        json_array_append_new(args, json_integer((json_int_t)x->syscall_args[i]));
    _cleanup_(freep) char *killer = str_escape(x->killer_comm, strnlen(x->killer_comm, sizeof x->killer_comm), 64);
    _cleanup_(freep) char *caller = str_escape(x->syscall_comm, strnlen(x->syscall_comm, sizeof x->syscall_comm), 64);
    _cleanup_(freep) char *how = exits_text(x);
    json_object_set_new(o, "signal_name", x->signal ? json_string(signal_name(x->signal)) : json_null());
    json_object_set_new(o, "killer",
                        x->killer_pid ? json_pack("{s:i,s:s}", "pid", x->killer_pid, "comm", killer) : json_null());
    json_object_set_new(o, "syscall_nr", x->syscall_nr >= 0 ? json_integer(x->syscall_nr) : json_null());
    json_object_set_new(o, "syscall_args", args);
    json_object_set_new(o, "syscall_comm", x->syscall_nr >= 0 ? json_string(caller) : json_null());
    json_object_set_new(o, "how", json_string(how));
    json_object_set_new(o, "generation", json_integer((json_int_t)x->generation));
    return o;
}

/* What its sandbox denied to a process of the generation that runs: a worker, mostly, whose main process lives on. */
static json_t *denied(const Module *m, int *ret_nr)
{
    struct exit_entry r;
    const Generation *g = m->generation;
    if (!g || !g->registered || !g->leaf || kernel_exit(m->ctx->kernel, box_id(g->leaf), &r) < 0 || !r.denied)
        return json_null();
    _cleanup_(freep) char *syscall = seccomp_syscall_name(r.denied_nr);
    _cleanup_(freep) char *caller = str_escape(r.denied_comm, strnlen(r.denied_comm, sizeof r.denied_comm), 64);
    json_t *args = json_array();
    for (size_t i = 0; i < ELEMENTS(r.denied_args); i++)
        json_array_append_new(args, json_integer((json_int_t)r.denied_args[i]));
    *ret_nr = r.denied_nr;
    return json_pack("{s:i,s:s,s:i,s:o,s:s}", "processes", (int)r.denied, "syscall", syscall, "syscall_nr", r.denied_nr,
                     "syscall_args", args, "syscall_comm", caller);
}

/* The ini line that would allow what was denied, and where it belongs. */
static json_t *suggestion(const Module *m, int nr)
{
    if (nr < 0)
        return json_null();
    _cleanup_(freep) char *syscall = seccomp_syscall_name(nr);
    _cleanup_(freep) char *old = strv_join(m->policy->sandbox.allow, ", ");
    return json_pack("{s:s,s:o}", "file", m->policy->file, "line",
                     json_sprintf("[sandbox]\nallow = %s%s%s", old ? old : "", old && *old ? ", " : "", syscall));
}

static json_t *part_of(const Host *h, const Module *m)
{
    json_t *out = json_array();
    const Edges *e = &h->graph->nodes[m->index].part_of;
    for (size_t k = 0; k < e->n; k++)
        json_array_append_new(out, json_string(module_name(h->modules[e->to[k]])));
    return out;
}

static json_t *explain(void *host, const char *name)
{
    Host *h = host;
    ssize_t i = graph_index(h->graph, name);
    if (i < 0)
        return NULL;
    const Module *m = h->modules[i];
    const Generation *g = m->generation;
    Phase phase = g ? teardown_phase(g) : PHASE_N;
    GroupStats s;
    (void)measures_stats(m, &s);
    uint64_t in_flight = work_in_flight(m->ctx->work, m);
    json_t *o = json_pack("{s:s,s:s,s:I,s:o,s:s,s:o,s:o,s:o}", "module", name, "state", shown_state(h, m), "generation",
                          (json_int_t)m->last_generation, "since_usec",
                          m->since ? json_integer((json_int_t)m->since) : json_null(), "wants",
                          m->want_up ? "up" : "down", "phase", text(phase < PHASE_N ? phase_names[phase] : NULL),
                          "waits_for", waits_for(h, m), "in_flight", number(in_flight));
    json_object_set_new(o, "type", json_string(module_type_names[m->policy->type]));
    json_object_set_new(o, "timer", timers_json(m));
    json_object_set_new(o, "done", json_boolean(h->status[i] == NODE_DONE && !m->leaving));
    json_object_set_new(o, "condition", text(m->condition));
    json_object_set_new(o, "reload", reload_json(m));
    json_object_set_new(o, "part_of", part_of(h, m));
    json_object_set_new(o, "waits_for_detail", waits_for_detail(h, m));
    json_object_set_new(o, "hook", waits_hook(m));
    json_object_set_new(o, "group", text(m->policy->group));
    json_object_set_new(o, "instances", instances_json(h, m));
    json_object_set_new(o, "leaving", json_boolean(m->leaving));
    json_object_set_new(o, "pressure", measures_pressure(m));
    json_object_set_new(o, "status_text", text(g ? g->status_text : NULL));
    json_object_set_new(o, "next_start_usec", m->next_start ? json_integer((json_int_t)m->next_start) : json_null());
    json_object_set_new(o, "restarts", json_integer((json_int_t)m->restarts));
    json_object_set_new(o, "attempts", json_integer((json_int_t)m->history.attempts));
    json_object_set_new(o, "max_attempts", json_integer((json_int_t)m->policy->recovery.max_attempts));
    json_object_set_new(o, "gave_up", json_boolean(m->gave_up));
    json_object_set_new(o, "last_error",
                        m->last_error ? json_pack("{s:s,s:s}", "stage", m->last_error_stage, "message", m->last_error)
                                      : json_null());
    json_object_set_new(o, "last_exit", exit_story(m->last_exit));
    json_object_set_new(o, "oom_kills", json_integer((json_int_t)measures_oom_kills(m, &s)));
    int nr = m->last_exit ? m->last_exit->syscall_nr : -1;
    json_object_set_new(o, "denied", denied(m, &nr));
    json_object_set_new(o, "suggestion", suggestion(m, nr));
    json_object_set_new(o, "teardown", teardown_json(m->last_teardown));
    json_object_set_new(o, "gate", drains_gate_json(m));
    json_object_set_new(o, "holding", drains_holding_json(m));
    return o;
}

/* --- the rest of the face --- */

static void fill_module(const Host *h, const Module *m, ControlModule *ret)
{
    const Generation *g = m->generation;
    *ret = (ControlModule){
        .name = module_name(m),
        .state = shown_state(h, m),
        .health = "unknown",
        .cgroup = g ? box_cgroup_path(g->leaf) : NULL,
        .generation = m->last_generation,
        .restarts = m->restarts,
        .pid = shown_pid(m),
    };
}

static bool module_at(void *host, size_t i, ControlModule *ret)
{
    Host *h = host;
    if (i >= h->n_modules)
        return false;
    fill_module(h, h->modules[i], ret);
    return true;
}

static bool module_by_name(void *host, const char *name, ControlModule *ret)
{
    Host *h = host;
    ssize_t i = graph_index(h->graph, name);
    return i >= 0 && module_at(h, (size_t)i, ret);
}

static const char *health(void *host)
{
    return report_health(host, NULL);
}

static json_t *plan(void *host)
{
    Host *h = host;
    return plan_describe(h->graph);
}

static char *plan_for_people(void *host)
{
    Host *h = host;
    return plan_text(h->graph);
}

static char *dot(void *host)
{
    Host *h = host;
    return plan_dot(h->graph);
}

static json_t *events(void *host, uint64_t limit)
{
    Host *h = host;
    return journal_last(h->journal, NULL, limit);
}

static int open_log(void *host, const char *name, const char **ret_kind, int *ret_fd, char **ret_identifier, Error *e)
{
    Host *h = host;
    const Module *m = h->modules[graph_index(h->graph, name)];
    LogTarget t = output_target(m, OUTPUT_STDOUT);
    *ret_kind = log_target_names[t];
    if (t == LOG_FILE)
        return output_open_log(m, ret_fd, e);
    if (t == LOG_JOURNAL)
        *ret_identifier = xstrdup(name);
    return 0;
}

static int open_log_file(void *host, const char *name, bool error_stream, int number, int *ret_fd, Error *e)
{
    Host *h = host;
    const Module *m = h->modules[graph_index(h->graph, name)];
    return output_open_file(m, error_stream ? OUTPUT_STDERR : OUTPUT_STDOUT, number, ret_fd, e);
}

static int signal_module(Generation *g, int sig, bool main_only)
{
    if (main_only)
        return generation_signal_main(g, sig);
    /* A leaf is never launched into again, so that cgroup.kill is safe here; it alone outruns a fork bomb. */
    return sig == SIGKILL ? box_kill(g->leaf) : box_signal(g->leaf, sig);
}

static void kill_module(Host *h, Module *m, int sig, bool main_only, ControlReply *reply)
{
    Generation *g = m->generation;
    _cleanup_(freep) char *why = NULL;
    int r;
    if (!g || box_populated(g->leaf) <= 0)
        why = xasprintf("%s has no process to signal: it is %s", module_name(m), shown_state(h, m));
    else if (main_only && !g->main_alive)
        why = xasprintf("%s has no main process any more (without --main the others are signalled)", module_name(m));
    else if ((r = signal_module(g, sig, main_only)) < 0)
        why = xasprintf("cannot signal %s: %s", module_name(m), strerror(-r));
    if (why)
        control_reply_fail(reply, CONTROL_ERROR_FAILED, why);
    else
        control_reply_done(reply);
}

static const char *const verb_names[CONTROL_VERB_N] = {"start", "stop",   "restart", "kill",
                                                       "scale", "reload", "drain",   "shutdown"};

/* Who is on its way out for good is not started again, unless the scale says so. */
static bool refuse_leaving(const Host *h, ControlVerb verb, ssize_t i, ControlReply *reply)
{
    if (i < 0 || !h->modules[i]->leaving || (verb != CONTROL_START && verb != CONTROL_RESTART))
        return false;
    const char *name = module_name(h->modules[i]);
    _cleanup_(freep) char *why = xasprintf("%s is leaving since a scale (bulkhead scale %.*s %u keeps it)", name,
                                           (int)module_stem(name), name, module_instance(name));
    control_reply_fail(reply, CONTROL_ERROR_REFUSED, why);
    return true;
}

static void act(void *host, ControlVerb verb, const char *name, int number, uint64_t flags, const struct ucred *caller,
                ControlReply *reply)
{
    Host *h = host;
    ssize_t i = name ? graph_index(h->graph, name) : -1;
    log_info("event=asked verb=%s module=%s uid=%u pid=%d", verb_names[verb], name ? name : "-", (unsigned)caller->uid,
             (int)caller->pid);
    if (h->shutting_down && verb != CONTROL_SHUTDOWN && verb != CONTROL_KILL) {
        control_reply_fail(reply, CONTROL_ERROR_SHUTTING_DOWN, "the daemon is shutting down");
        return;
    }
    if (refuse_leaving(h, verb, i, reply))
        return;
    ControlReply *later = reply;
    if ((flags & CONTROL_NO_BLOCK) && verb != CONTROL_STOP && verb != CONTROL_KILL && verb != CONTROL_SCALE &&
        verb != CONTROL_RELOAD && verb != CONTROL_DRAIN) {
        control_reply_done(reply);
        later = NULL;
    }
    switch (verb) {
    case CONTROL_START:
        drains_wanted_up(h, (size_t)i);
        jobs_start(h, (size_t)i, later);
        break;
    case CONTROL_STOP:
        jobs_stop(h, (size_t)i, flags & CONTROL_CASCADE, later);
        if ((flags & CONTROL_NO_BLOCK))
            waiters_answer_now(h, later);
        break;
    case CONTROL_RESTART:
        jobs_restart(h, (size_t)i, flags & CONTROL_CASCADE, later);
        break;
    case CONTROL_KILL:
        kill_module(h, h->modules[i], number, flags & CONTROL_MAIN_ONLY, reply);
        break;
    case CONTROL_SCALE:
        scale(h, name, (uint64_t)number, !(flags & CONTROL_NO_BLOCK), reply);
        break;
    case CONTROL_RELOAD:
        reloads_start(h, (size_t)i, !(flags & CONTROL_NO_BLOCK), reply);
        break;
    case CONTROL_DRAIN:
        if (flags & CONTROL_UNDO)
            drains_undo(h, (size_t)i, reply);
        else
            drains_start(h, (size_t)i, !(flags & CONTROL_NO_BLOCK), reply);
        break;
    case CONTROL_SHUTDOWN:
        shutdown_ask(h, later);
        break;
    case CONTROL_VERB_N:
        break;
    }
}

const ControlOps report_control_ops = {
    .module_at = module_at,
    .module_by_name = module_by_name,
    .health = health,
    .status = status,
    .usage = usage,
    .explain = explain,
    .names = names,
    .plan = plan,
    .plan_text = plan_for_people,
    .dot = dot,
    .events = events,
    .open_log = open_log,
    .open_log_file = open_log_file,
    .act = act,
};
