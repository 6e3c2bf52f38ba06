/* See waits.h. */
#include "supervisor/waits.h"

#include "base/clock.h"
#include "base/str.h"
#include "supervisor/run/hook.h"

/* Without the noise of a clock's last digits. */
static char *span(uint64_t usec)
{
    return usec < USEC_PER_MSEC ? xstrdup("0s")
                                : format_usec(usec < USEC_PER_SEC ? usec / USEC_PER_MSEC * USEC_PER_MSEC
                                                                  : usec / USEC_PER_SEC * USEC_PER_SEC);
}

static bool on_its_way(const Host *h, size_t i)
{
    NodeStatus s = h->status[i];
    return s == NODE_WAITING || s == NODE_STARTING || s == NODE_STOPPING || (s == NODE_READY && h->stopping[i]);
}

/* Calls fn for each module that m waits for, once. */
static void each_module(const Host *h, const Module *m, void (*fn)(const Host *h, const Module *on, json_t *out),
                        json_t *out)
{
    const Node *n = &h->graph->nodes[m->index];
    _cleanup_(freep) bool *on = new0_array(bool, h->n_modules);
    if (h->status[m->index] == NODE_WAITING) {
        const Edges *kinds[] = {&n->requires, &n->wants, &n->after};
        for (size_t k = 0; k < ELEMENTS(kinds); k++)
            for (size_t j = 0; j < kinds[k]->n; j++)
                on[kinds[k]->to[j]] |= on_its_way(h, kinds[k]->to[j]);
        size_t part;
        if (schedule_parts_go_first(h->graph, h->status, h->stopping, m->index, &part))
            on[part] = true;
    }
    if (h->stopping[m->index] && m->generation && !m->generation->lifecycle.intentional)
        for (size_t j = 0; j < n->before.n; j++)
            on[n->before.to[j]] |= h->stopping[n->before.to[j]];
    for (size_t i = 0; i < h->n_modules; i++)
        if (on[i])
            fn(h, h->modules[i], out);
}

static bool is_creating(const Module *m)
{
    return m->generation && m->generation->lifecycle.state == LIFECYCLE_CREATING;
}

static void add_name(const Host *h, const Module *on, json_t *out)
{
    (void)h;
    json_array_append_new(out, json_string(module_name(on)));
}

json_t *waits_for(const Host *h, const Module *m)
{
    json_t *out = json_array();
    each_module(h, m, add_name, out);
    HookStatus s;
    if (!is_creating(m))
        return out;
    if (hook_status(m->generation->hook, &s)) {
        json_array_append_new(out, json_string(s.name));
        free(s.command);
    } else {
        json_array_append_new(out, m->policy->type == TYPE_ONESHOT
                                       ? json_string("its end")
                                       : json_sprintf("readiness (%s)", ready_kind_names[m->policy->ready.kind]));
    }
    return out;
}

/* "creating: exec_start_pre /usr/bin/wait, for 12s"; owned by the caller. */
static char *doing(const Host *h, const Module *m)
{
    HookStatus s;
    if (m->generation && hook_status(m->generation->hook, &s)) {
        _cleanup_(freep) char *command = s.command, *so_far = span(s.elapsed_usec);
        return xasprintf("%s: %s %s, for %s", lifecycle_state_name(m->generation->lifecycle.state), s.name, command,
                         so_far);
    }
    if (is_creating(m) && m->policy->type == TYPE_ONESHOT)
        return xstrdup("a job that runs");
    if (is_creating(m))
        return xasprintf("creating: not ready yet (%s)", ready_kind_names[m->policy->ready.kind]);
    if (m->generation)
        return xstrdup(lifecycle_state_name(m->generation->lifecycle.state));
    if (m->next_start) {
        uint64_t now = now_realtime();
        _cleanup_(freep) char *left = span(m->next_start > now ? m->next_start - now : 0);
        return xasprintf("down, next start in %s", left);
    }
    return xstrdup(h->status[m->index] == NODE_WAITING ? "waits itself" : "down");
}

static void add_detail(const Host *h, const Module *on, json_t *out)
{
    _cleanup_(freep) char *what = doing(h, on);
    json_object_set_new(out, module_name(on), json_sprintf("%s (%s)", module_name(on), what));
}

json_t *waits_for_detail(const Host *h, const Module *m)
{
    json_t *out = json_object();
    each_module(h, m, add_detail, out);
    HookStatus s;
    if (!is_creating(m) || !hook_status(m->generation->hook, &s))
        return out;
    _cleanup_(freep) char *command = s.command, *so_far = span(s.elapsed_usec);
    _cleanup_(freep) char *left = s.left_usec == UINT64_MAX ? NULL : span(s.left_usec);
    json_object_set_new(
        out, s.name,
        json_sprintf("%s: %s, for %s%s%s", s.name, command, so_far, left ? ", time-out in " : "", left ? left : ""));
    return out;
}

json_t *waits_hook(const Module *m)
{
    HookStatus s;
    if (!m->generation || !hook_status(m->generation->hook, &s))
        return json_null();
    _cleanup_(freep) char *command = s.command;
    return json_pack("{s:s,s:s,s:I,s:o}", "name", s.name, "command", command, "elapsed_usec",
                     (json_int_t)s.elapsed_usec, "left_usec",
                     s.left_usec == UINT64_MAX ? json_null() : json_integer((json_int_t)s.left_usec));
}
