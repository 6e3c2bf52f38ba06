/* See describe.h. Names have been checked by the policy reader ([a-z0-9_-]), so they need no escaping in DOT. */
#include "supervisor/plan/describe.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/str.h"
#include "policies/calendar.h"
#include "supervisor/plan/recovery.h"
#include "supervisor/plan/timer.h"

/* n bools: who starts without being asked for. */
static bool *starters(const Graph *g)
{
    bool *set = new0_array(bool, g->n);
    for (size_t i = 0; i < g->n; i++)
        if (!set[i] && module_starts(g->policy->modules[i]))
            graph_closure_up(g, i, set);
    return set;
}

/* The delays to show; returns how many. *ret_more: the last one goes on repeating. */
static size_t schedule_of(const Recovery *r, uint64_t delays[static PLAN_SCHEDULE_MAX], bool *ret_more)
{
    size_t n = 0;
    *ret_more = false;
    if (r->restart == RESTART_NO)
        return 0;
    while (r->max_attempts == 0 || n < r->max_attempts) {
        uint64_t delay = recovery_delay(r, (unsigned)n + 1);
        if (delay == USEC_INFINITY)
            return n; /* recovery gives up here */
        bool settled = n >= 2 && delay == delays[n - 1];
        if (settled || n == PLAN_SCHEDULE_MAX) {
            *ret_more = true;
            return n;
        }
        delays[n++] = delay;
    }
    return n;
}

/* --- JSON --- */

static json_t *number(uint64_t value)
{
    return value == UINT64_MAX ? json_null() : json_integer((json_int_t)MIN2(value, (uint64_t)INT64_MAX));
}

static json_t *names_json(const Graph *g, const Edges *e)
{
    json_t *list = json_array();
    for (size_t k = 0; k < e->n; k++)
        json_array_append_new(list, json_string(g->policy->modules[e->to[k]]->name));
    return list;
}

static json_t *restart_json(const Recovery *r)
{
    uint64_t delays[PLAN_SCHEDULE_MAX];
    bool more;
    size_t n = schedule_of(r, delays, &more);
    json_t *list = json_array();
    for (size_t k = 0; k < n; k++)
        json_array_append_new(list, number(delays[k]));
    return json_pack("{s:s, s:o, s:o}", "when", restart_when_names[r->restart], "schedule_usec", list, "max_attempts",
                     number(r->max_attempts));
}

static json_t *drain_json(const Work *w)
{
    if (!w->track.sources)
        return json_null();
    return json_pack("{s:o, s:o}", "soft_usec", number(w->drain_soft), "hard_usec", number(w->drain_hard));
}

static json_t *limits_json(const Limits *l)
{
    json_t *o = json_object();
    json_object_set_new(o, "cpu_max", number(l->cpu_max));
    json_object_set_new(o, "cpu_weight", l->cpu_weight ? number(l->cpu_weight) : json_null());
    json_object_set_new(o, "cpus", l->cpus ? json_string(l->cpus) : json_null());
    json_object_set_new(o, "memory_max", number(l->memory_max));
    json_object_set_new(o, "memory_high", number(l->memory_high));
    json_object_set_new(o, "memory_swap_max", l->memory_swap_max_set ? number(l->memory_swap_max) : json_null());
    json_object_set_new(o, "pids_max", number(l->pids_max));
    return o;
}

static json_t *timer_json(const TimerPolicy *p)
{
    if (!timer_is_set(p))
        return json_null();
    _cleanup_(freep) char *calendar = p->on_calendar ? calendar_format(p->on_calendar) : NULL;
    return json_pack("{s:o, s:o, s:b, s:o}", "on_calendar", calendar ? json_string(calendar) : json_null(),
                     "every_usec", timer_has_interval(p) ? number(p->every) : json_null(), "persistent", p->persistent,
                     "randomized_delay_usec", number(p->randomized_delay));
}

static json_t *module_json(const Graph *g, size_t i, bool starts)
{
    const ModulePolicy *m = g->policy->modules[i];
    const Node *node = &g->nodes[i];
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(m->name));
    json_object_set_new(o, "wave", json_integer((json_int_t)g->wave[i]));
    json_object_set_new(o, "starts", json_boolean(starts));
    json_object_set_new(o, "requires", names_json(g, &node->requires));
    json_object_set_new(o, "wants", names_json(g, &node->wants));
    json_object_set_new(o, "after", names_json(g, &node->after));
    json_object_set_new(o, "part_of", names_json(g, &node->part_of));
    json_object_set_new(o, "required", json_boolean(m->required));
    json_object_set_new(o, "start", json_string(start_mode_names[m->start]));
    json_object_set_new(o, "type", json_string(module_type_names[m->type]));
    json_object_set_new(o, "timer", timer_json(&m->timer));
    json_object_set_new(o, "start_timeout_usec", number(m->start_timeout));
    json_object_set_new(o, "stop_timeout_usec", number(m->stop_timeout));
    json_object_set_new(o, "restart", restart_json(&m->recovery));
    json_object_set_new(o, "drain", drain_json(&m->work));
    json_object_set_new(o, "limits", limits_json(&m->limits));
    return o;
}

json_t *plan_describe(const Graph *g)
{
    _cleanup_(freep) bool *starts = starters(g);
    json_t *waves = json_array(), *modules = json_array();
    for (size_t w = 0; w < g->n_waves; w++)
        json_array_append_new(waves, json_array());
    for (size_t k = 0; k < g->n; k++) {
        size_t i = g->order[k];
        if (starts[i])
            json_array_append_new(json_array_get(waves, g->wave[i]), json_string(g->policy->modules[i]->name));
    }
    for (size_t i = 0; i < g->n; i++)
        json_array_append_new(modules, module_json(g, i, starts[i]));
    return json_pack("{s:o, s:o}", "waves", waves, "modules", modules);
}

/* --- DOT --- */

static bool edges_contain(const Edges *e, size_t to)
{
    for (size_t k = 0; k < e->n; k++)
        if (e->to[k] == to)
            return true;
    return false;
}

char *plan_dot(const Graph *g)
{
    static const char *const styles[] = {"style=solid", "style=dashed", "style=dotted"};
    StrBuf b = STRBUF_NULL;
    ModulePolicy **m = g->policy->modules;
    strbuf_adds(&b, "digraph bulkhead {\n    rankdir=LR;\n    node [shape=box, fontname=\"sans-serif\"];\n");
    for (size_t i = 0; i < g->n; i++)
        strbuf_addf(&b, "    \"%s\"%s;\n", m[i]->name, m[i]->required ? " [style=bold]" : "");
    for (size_t i = 0; i < g->n; i++) {
        const Node *node = &g->nodes[i];
        const Edges *const kinds[] = {&node->requires, &node->wants, &node->after};
        for (size_t l = 0; l < ELEMENTS(kinds); l++)
            for (size_t k = 0; k < kinds[l]->n; k++) {
                size_t to = kinds[l]->to[k];
                bool drawn = false;
                for (size_t stronger = 0; stronger < l; stronger++)
                    drawn = drawn || edges_contain(kinds[stronger], to);
                if (!drawn)
                    strbuf_addf(&b, "    \"%s\" -> \"%s\" [%s];\n", m[i]->name, m[to]->name, styles[l]);
            }
        /* It says nothing about order, so it goes beside what does, and moves no box. */
        for (size_t k = 0; k < node->part_of.n; k++)
            strbuf_addf(&b, "    \"%s\" -> \"%s\" [style=dashed, color=grey, arrowhead=odiamond, constraint=false];\n",
                        m[i]->name, m[node->part_of.to[k]]->name);
    }
    strbuf_adds(&b, "}\n");
    return strbuf_take(&b);
}

/* --- text --- */

static void add_usec(StrBuf *b, uint64_t usec)
{
    _cleanup_(freep) char *s = format_usec(usec);
    strbuf_adds(b, s);
}

static void add_names(StrBuf *b, const Graph *g, const Edges *e, const char *verb)
{
    if (e->n == 0)
        return;
    strbuf_addf(b, "  %-9s", verb);
    for (size_t k = 0; k < e->n; k++)
        strbuf_addf(b, "%s%s", k ? ", " : "", g->policy->modules[e->to[k]]->name);
    strbuf_addc(b, '\n');
}

static void add_restart(StrBuf *b, const Recovery *r, bool job)
{
    uint64_t delays[PLAN_SCHEDULE_MAX];
    bool more;
    size_t n = schedule_of(r, delays, &more);
    strbuf_addf(b, "  %-9s%s", "restart", restart_when_names[r->restart]);
    for (size_t k = 0; k < n; k++) {
        strbuf_adds(b, k == 0 ? ": " : k == 1 ? ", then after " : ", ");
        if (delays[k] == 0 && k == 0)
            strbuf_adds(b, "at once");
        else
            add_usec(b, delays[k]);
    }
    if (more)
        strbuf_adds(b, " and so on");
    if (n > 1 && r->jitter > 0)
        strbuf_addf(b, " (each ±%u%%)", r->jitter);
    if (r->restart != RESTART_NO) {
        if (r->max_attempts > 0)
            strbuf_addf(b, "; gives up after %" PRIu64 " restarts",
                        MIN2(r->max_attempts, more ? r->max_attempts : (uint64_t)n));
        else
            strbuf_adds(b, more ? "; never gives up" : "; gives up then");
        if (r->reset_after != USEC_INFINITY && !job) { /* each run of a job that was asked for counts anew */
            strbuf_adds(b, "; counts anew once ready for ");
            add_usec(b, r->reset_after);
        }
    }
    strbuf_addc(b, '\n');
}

static void add_limit_bytes(StrBuf *b, const char *name, uint64_t value, bool *any)
{
    if (value == UINT64_MAX)
        return;
    _cleanup_(freep) char *s = format_bytes(value);
    strbuf_addf(b, "%s%s %s", *any ? ", " : "", name, s);
    *any = true;
}

static void add_limits(StrBuf *b, const Limits *l)
{
    _cleanup_strbuf_ StrBuf line = STRBUF_NULL;
    bool any = false;
    if (l->cpu_max != UINT64_MAX) {
        strbuf_addf(&line, "cpu_max %" PRIu64 "%%", l->cpu_max);
        any = true;
    }
    if (l->cpus) {
        strbuf_addf(&line, "%scpus %s", any ? ", " : "", l->cpus);
        any = true;
    }
    add_limit_bytes(&line, "memory_max", l->memory_max, &any);
    add_limit_bytes(&line, "memory_high", l->memory_high, &any);
    if (l->memory_swap_max_set)
        add_limit_bytes(&line, "memory_swap_max", l->memory_swap_max, &any);
    if (l->pids_max != UINT64_MAX) {
        strbuf_addf(&line, "%spids_max %" PRIu64, any ? ", " : "", l->pids_max);
        any = true;
    }
    if (any)
        strbuf_addf(b, "  %-9s%s\n", "limits", line.s);
}

static void add_drain(StrBuf *b, const Work *w)
{
    strbuf_adds(b, "drain ");
    if (w->drain_hard == USEC_INFINITY)
        strbuf_adds(b, "without limit");
    else {
        strbuf_adds(b, "for up to ");
        add_usec(b, w->drain_hard);
    }
    if (w->drain_soft < w->drain_hard) {
        strbuf_adds(b, " (warning after ");
        add_usec(b, w->drain_soft);
        strbuf_addc(b, ')');
    }
    strbuf_adds(b, ", then ");
}

static void add_timer(StrBuf *b, const ModulePolicy *m)
{
    const TimerPolicy *p = &m->timer;
    if (!timer_is_set(p))
        return;
    _cleanup_(freep) char *calendar = p->on_calendar ? calendar_format(p->on_calendar) : NULL;
    strbuf_addf(b, "  %-9s%s%s", "timer", calendar ? calendar : "", calendar && timer_has_interval(p) ? ", " : "");
    if (timer_has_interval(p)) {
        strbuf_adds(b, "every ");
        add_usec(b, p->every);
    }
    if (p->randomized_delay > 0) {
        strbuf_adds(b, ", by chance up to ");
        add_usec(b, p->randomized_delay);
        strbuf_adds(b, " later");
    }
    strbuf_adds(b, p->persistent ? "; what is missed is caught up\n" : "\n");
}

static void add_start(StrBuf *b, const ModulePolicy *m)
{
    bool job = m->type == TYPE_ONESHOT;
    strbuf_addf(b, "  %-9s%s", "start", job ? "over " : "ready ");
    if (job && m->start_timeout == USEC_INFINITY) {
        strbuf_adds(b, "when it has exited\n");
        return;
    }
    strbuf_adds(b, "within ");
    add_usec(b, m->start_timeout);
    strbuf_addc(b, '\n');
}

static void add_module(StrBuf *b, const Graph *g, size_t i)
{
    const ModulePolicy *m = g->policy->modules[i];
    strbuf_addf(b, "\n%s (%s%s, %s)", m->name, start_mode_names[m->start], m->type == TYPE_ONESHOT ? ", oneshot" : "",
                m->required ? "required" : "optional");
    strbuf_addf(b, "%s%s\n", m->description ? ": " : "", m->description ? m->description : "");
    add_names(b, g, &g->nodes[i].requires, "requires");
    add_names(b, g, &g->nodes[i].wants, "wants");
    add_names(b, g, &g->nodes[i].after, "after");
    add_names(b, g, &g->nodes[i].part_of, "part of");
    add_timer(b, m);
    add_start(b, m);
    add_restart(b, &m->recovery, m->type == TYPE_ONESHOT);
    strbuf_addf(b, "  %-9s", "stop");
    if (m->work.track.sources)
        add_drain(b, &m->work);
    strbuf_adds(b, "killed after ");
    add_usec(b, m->stop_timeout);
    strbuf_addc(b, '\n');
    add_limits(b, &m->limits);
}

/* One line a wave that starts anything, in order or in reverse; names within a line in order. */
static void add_waves(StrBuf *b, const Graph *g, const bool *starts, bool reverse)
{
    /* g->order is sorted by wave: where does each begin? */
    _cleanup_(freep) size_t *begin = new0_array(size_t, g->n_waves + 1);
    for (size_t i = 0; i < g->n; i++)
        begin[g->wave[i] + 1]++;
    for (size_t w = 1; w <= g->n_waves; w++)
        begin[w] += begin[w - 1];

    size_t line = 0;
    for (size_t step = 0; step < g->n_waves; step++) {
        size_t w = reverse ? g->n_waves - 1 - step : step, n = 0;
        for (size_t k = begin[w]; k < begin[w + 1]; k++) {
            size_t i = g->order[k];
            if (!starts[i])
                continue;
            if (n++ == 0)
                strbuf_addf(b, "%4zu  ", ++line);
            else
                strbuf_adds(b, ", ");
            strbuf_adds(b, g->policy->modules[i]->name);
        }
        if (n > 0)
            strbuf_addc(b, '\n');
    }
}

/* Who does not start with the daemon, but by a timer, or not even that. */
static void add_others(StrBuf *b, const Graph *g, const bool *starts, bool timed, const char *title)
{
    for (size_t i = 0; i < g->n; i++) {
        const ModulePolicy *m = g->policy->modules[i];
        if (starts[i] || timed != (m->start == START_AUTO))
            continue;
        strbuf_addf(b, "%s      %s\n", title, m->name);
        title = "";
    }
}

char *plan_text(const Graph *g)
{
    StrBuf b = STRBUF_NULL;
    if (g->n == 0)
        return strbuf_take(&b);
    _cleanup_(freep) bool *starts = starters(g);
    size_t n_starts = 0;
    for (size_t i = 0; i < g->n; i++)
        n_starts += starts[i];
    if (n_starts > 0) {
        strbuf_addf(&b, "start order%s\n", g->policy->supervisor.parallel_start ? " (one line at once)" : "");
        add_waves(&b, g, starts, false);
        strbuf_adds(&b, "stop order\n");
        add_waves(&b, g, starts, true);
    }
    add_others(&b, g, starts, true, "started by their timers\n");
    add_others(&b, g, starts, false, "not started unless asked for\n");
    for (size_t k = 0; k < g->n; k++)
        add_module(&b, g, g->order[k]);
    return strbuf_take(&b);
}
