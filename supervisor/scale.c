/* See scale.h. Two policies are made of the one in charge: what is to be in the end, which must be whole and within the
 * budget or all is refused; and the one in charge from now on, which holds besides what is still on its way out. */
#include "supervisor/scale.h"

#include <errno.h>

#include "base/log.h"
#include "base/str.h"
#include "supervisor/failure.h"
#include "supervisor/jobs.h"
#include "supervisor/plan/budget.h"
#include "supervisor/roster.h"
#include "supervisor/timers.h"

static bool is_over(const char *name, const char *template, unsigned n)
{
    return module_is_instance_of(name, template) && module_instance(name) > n;
}

unsigned scale_now(const Host *h, const char *template)
{
    size_t first, n = policy_instances(h->policy, template, &first);
    unsigned stay = 0;
    for (size_t i = first; i < first + n; i++)
        stay += !h->modules[i]->leaving;
    return stay;
}

static char *complaints_text(const Complaints *c)
{
    StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < c->n; i++) {
        _cleanup_(freep) char *line = complaint_format(&c->items[i]);
        strbuf_addf(&b, "%s%s", i ? "\n" : "", line);
    }
    return strbuf_take(&b);
}

/* Is the policy without those that go whole, and does the host hold it? *ret_why: why not, owned by the caller. */
static bool can_be(const Host *h, const Policy *grown, const char *template, unsigned n, char **ret_why)
{
    _cleanup_(freep) bool *keep = new0_array(bool, grown->n_modules);
    for (size_t i = 0; i < grown->n_modules; i++) {
        const char *name = grown->modules[i]->name;
        ssize_t now = graph_index(h->graph, name);
        bool mine = module_is_instance_of(name, template);
        keep[i] = mine ? !is_over(name, template, n) : now < 0 || !h->modules[now]->leaving;
    }
    _cleanup_(policy_freep) Policy *target = policy_keep(grown, keep);
    _cleanup_(graph_freep) Graph *graph = NULL;
    _cleanup_complaints_ Complaints complaints = {0};
    if (graph_build(target, &graph, &complaints) < 0) {
        *ret_why = complaints_text(&complaints);
        return false;
    }
    HostCapacity host;
    Error e = {0};
    if (budget_host(&host) == 0 && budget_check(target, &host, &e) < 0) {
        *ret_why = xstrdup(error_message(&e));
        return false;
    }
    return true;
}

/* Passes to the policy that has all instances up to n. */
static int grow(Host *h, const char *template, unsigned n, char **ret_why)
{
    _cleanup_complaints_ Complaints complaints = {0};
    _cleanup_(policy_freep) Policy *grown = NULL;
    Graph *graph = NULL;
    Error e = {0};
    int r = policy_grow(h->policy, template, n, &grown, &complaints);
    if (r == 0 && !can_be(h, grown, template, n, ret_why))
        return -EINVAL;
    if (r == 0 && grown->n_modules > h->n_modules && (r = graph_build(grown, &graph, &complaints)) == 0 &&
        (r = roster_replace(h, TAKE_PTR(grown), graph, &e)) < 0)
        *ret_why = xstrdup(error_message(&e));
    else if (r < 0)
        *ret_why = complaints_text(&complaints);
    return r;
}

/* The row of instances may move when the roster changes, so it is looked up after. */
static void wish(Host *h, const char *template, unsigned n)
{
    size_t first, count = policy_instances(h->policy, template, &first);
    for (size_t i = first; i < first + count; i++) {
        h->modules[i]->leaving = is_over(module_name(h->modules[i]), template, n);
        if (h->modules[i]->leaving)
            jobs_leave(h, i);
    }
    for (size_t i = first; i < first + count; i++) {
        if (h->modules[i]->leaving)
            continue;
        if (h->modules[i]->timer) /* the clock runs it, no scale */
            timers_arm(h, h->modules[i], false);
        else if (h->status[i] != NODE_DONE)
            jobs_start(h, i, NULL);
    }
}

static void no_such_template(const Host *h, const char *template, ControlReply *reply)
{
    _cleanup_(freep) char *shown = str_escape(template, strlen(template), 64);
    _cleanup_(freep) char *stem = xstrndup(template, module_stem(template));
    _cleanup_(freep) const char **names = new0_array(const char *, h->policy->n_templates);
    for (size_t i = 0; i < h->policy->n_templates; i++)
        names[i] = h->policy->templates[i].name;
    const char *near = str_nearest(template, names, h->policy->n_templates);
    _cleanup_(freep) char *why = NULL;
    if (policy_find(h->policy, template) && !template[strlen(stem)])
        why = xasprintf("%s is one module (instances = 1 in its file, then it can be scaled)", shown);
    else if (template[strlen(stem)] && policy_template(h->policy, stem))
        why = xasprintf("%s is one instance (scale %s)", shown, stem);
    else if (near)
        why = xasprintf("no module '%s' (did you mean '%s'?)", shown, near);
    else
        why = xasprintf("no module '%s'", shown);
    control_reply_fail(reply, CONTROL_ERROR_NO_SUCH_MODULE, why);
}

/* Who waited for another number waits in vain. */
static void supersede(Host *h, const char *template, unsigned n)
{
    size_t kept = 0;
    for (size_t k = 0; k < h->n_scales; k++) {
        ScaleWait w = h->scales[k];
        if (strcmp(w.template, template) != 0 || w.n == n) {
            h->scales[kept++] = w;
            continue;
        }
        _cleanup_(freep) char *why =
            xasprintf("%s: another scale, to %u, came after this one, to %u", template, n, w.n);
        control_reply_fail(w.reply, CONTROL_ERROR_FAILED, why);
        free(w.template);
    }
    h->n_scales = kept;
}

void scale(Host *h, const char *template, uint64_t n, bool block, ControlReply *reply)
{
    _cleanup_(freep) char *name = xstrdup(template), *why = NULL;
    if (!policy_template(h->policy, name)) {
        no_such_template(h, name, reply);
        return;
    }
    if (n > MODULE_INSTANCES_MAX) {
        control_reply_fail(reply, CONTROL_ERROR_INVALID_ARGS, "too many instances (0 to 1000)");
        return;
    }
    unsigned before = scale_now(h, name);
    if (grow(h, name, (unsigned)n, &why) < 0) {
        _cleanup_(freep) char *text = xasprintf("%s cannot be scaled to %u: %s", name, (unsigned)n, why);
        control_reply_fail(reply, CONTROL_ERROR_REFUSED, text);
        return;
    }
    log_info("event=scaled template=%s from=%u to=%u", name, before, (unsigned)n);
    run_event(&h->ctx, NULL, 0, "scaled", NULL,
              json_pack("{s:s,s:i,s:i}", "template", name, "from", (int)before, "to", (int)n));
    supersede(h, name, (unsigned)n);
    wish(h, name, (unsigned)n);
    if (block)
        ARRAY_PUSH(h->scales, h->n_scales) = (ScaleWait){.template = TAKE_PTR(name), .n = (unsigned)n, .reply = reply};
    else
        control_reply_done(reply);
    host_wake(h);
}

/* What the instance at i says of a scale: true = it is as wanted; *ret_why, owned by the caller, = it will not be. */
static bool instance_settled(const Host *h, size_t i, char **ret_why)
{
    const Module *m = h->modules[i];
    const char *name = module_name(m);
    if (m->leaving)
        return false;
    if (m->timer)
        return true;
    if (h->status[i] == NODE_FAILED || (h->status[i] == NODE_WAITING && m->next_start)) {
        _cleanup_(freep) char *how = failure_text(m);
        *ret_why = xasprintf("%s%s", how, m->next_start ? " (it will be tried again)" : "");
    } else if (h->status[i] == NODE_DOWN || (h->stopping[i] && !m->want_restart)) {
        *ret_why = xasprintf("%s: it was stopped", name);
    }
    return (h->status[i] == NODE_READY && !h->stopping[i]) || h->status[i] == NODE_DONE;
}

/* True: the outcome is known; *ret_why, owned by the caller, when it is not the wanted one. */
static bool settled(const Host *h, const ScaleWait *w, char **ret_why)
{
    size_t first, n = policy_instances(h->policy, w->template, &first);
    bool all = n == w->n;
    for (size_t i = first; i < first + n && !*ret_why; i++)
        all &= instance_settled(h, i, ret_why);
    return all || *ret_why;
}

void scale_check(Host *h)
{
    size_t kept = 0;
    for (size_t k = 0; k < h->n_scales; k++) {
        ScaleWait w = h->scales[k];
        _cleanup_(freep) char *why = NULL;
        if (h->shutting_down) {
            control_reply_fail(w.reply, CONTROL_ERROR_SHUTTING_DOWN, "the daemon is shutting down");
        } else if (!settled(h, &w, &why)) {
            h->scales[kept++] = w;
            continue;
        } else if (why) {
            control_reply_fail(w.reply, CONTROL_ERROR_FAILED, why);
        } else {
            control_reply_done(w.reply);
        }
        free(w.template);
    }
    h->n_scales = kept;
}
