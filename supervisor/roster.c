/* See roster.h. */
#include "supervisor/roster.h"

#include "base/log.h"
#include "supervisor/drains.h"
#include "supervisor/run/generation.h"
#include "supervisor/run/start.h"
#include "supervisor/stop/leftovers.h"
#include "supervisor/stop/teardown.h"
#include "supervisor/timers.h"
#include "supervisor/waiters.h"
#include "supervisor/watch/sources.h"

void roster_match(const Policy *from, const Policy *to, size_t *ret_from, bool *ret_goes)
{
    size_t k = 0;
    /* Both are in the one order of names, so one walk over both tells. */
    for (size_t i = 0; i < to->n_modules; i++) {
        int r = 1;
        while (k < from->n_modules && (r = module_name_compare(from->modules[k]->name, to->modules[i]->name)) < 0)
            ret_goes[k++] = true;
        bool same = k < from->n_modules && r == 0;
        ret_from[i] = same ? k : SIZE_MAX;
        if (same)
            ret_goes[k++] = false;
    }
    while (k < from->n_modules)
        ret_goes[k++] = true;
}

/* Notify sockets are named after it: places in the arrays change, names are too long. */
static uint64_t last_serial;

static Module *module_new(Host *h, const ModulePolicy *policy)
{
    Module *m = new0(Module);
    *m = (Module){.ctx = &h->ctx, .serial = ++last_serial, .policy = policy};
    sources_register(m);
    return m;
}

static void module_close(Host *h, Module *m)
{
    log_watch_forget(h->logs, m);
    drains_forget(m);
    work_unregister(h->ctx.work, m);
    generation_free(m->generation);
    sd_event_source_disable_unref(m->restart_timer);
    timers_forget(m);
    if (m->group) {
        Error e = {0};
        if (h->ctx.kernel)
            (void)kernel_module_remove(h->ctx.kernel, group_id(m->group));
        /* While the daemon ends a sweep follows, which waits. */
        if (leftovers_clear(h->ctx.tree, module_name(m), &e) < 0 && !h->shutting_down)
            log_warning("module=%s event=cleanup-failed reason=\"%s\"", module_name(m), error_message(&e));
        group_close(m->group);
    }
    free(m->last_exit);
    teardown_result_free(m->last_teardown);
    module_clear_error(m);
    free(m->condition);
    free(m->reload_error);
    free(m);
}

/* What stands in one place of the arrays. */
typedef struct Arrays {
    Module **modules;
    NodeStatus *status;
    bool *stopping;
    size_t n;
} Arrays;

static Arrays arrays_new(size_t n)
{
    return (Arrays){
        .modules = new0_array(Module *, n),
        .status = new0_array(NodeStatus, n),
        .stopping = new0_array(bool, n),
        .n = n,
    };
}

static void arrays_done(Arrays *a)
{
    free(a->modules);
    free(a->status);
    free(a->stopping);
}

static void put(Host *h, const Arrays *a)
{
    h->modules = a->modules;
    h->status = a->status;
    h->stopping = a->stopping;
    h->n_modules = a->n;
    for (size_t i = 0; i < a->n; i++)
        a->modules[i]->index = i;
}

void roster_open(Host *h)
{
    Arrays a = arrays_new(h->policy->n_modules);
    for (size_t i = 0; i < a.n; i++)
        a.modules[i] = module_new(h, h->policy->modules[i]);
    put(h, &a);
}

/* Makes those that are new, all or none. */
static int make_new(Host *h, const Policy *policy, const size_t *from, Arrays *a, Error *e)
{
    int r = 0;
    for (size_t i = 0; i < a->n && r == 0; i++)
        if (from[i] == SIZE_MAX) {
            a->modules[i] = module_new(h, policy->modules[i]);
            r = module_make_group(a->modules[i], e);
            r = r < 0 ? r : timers_add(h, a->modules[i], e);
        }
    for (size_t i = 0; i < a->n && r < 0; i++)
        if (a->modules[i])
            module_close(h, a->modules[i]);
    return r;
}

static void drop(Host *h, Module *m)
{
    static const WaitFor waits[] = {WAIT_UP, WAIT_DOWN, WAIT_RESTART};
    for (size_t i = 0; i < ELEMENTS(waits); i++)
        waiters_answer(h, m, waits[i], waits[i] == WAIT_DOWN ? NULL : "it is no module any more");
    log_info("module=%s event=removed", module_name(m));
    run_event(&h->ctx, m, m->last_generation, "module-removed", NULL, NULL);
    if (h->control)
        control_module_removed(h->control, module_name(m));
    module_close(h, m);
}

static void tell_of_new(Host *h, const size_t *from)
{
    for (size_t i = 0; i < h->n_modules; i++) {
        if (from[i] != SIZE_MAX)
            continue;
        log_info("module=%s event=added", module_name(h->modules[i]));
        run_event(&h->ctx, h->modules[i], 0, "module-added", NULL, NULL);
        if (h->control)
            control_module_added(h->control, module_name(h->modules[i]));
    }
}

int roster_replace(Host *h, Policy *policy, Graph *graph, Error *e)
{
    Arrays old = {.modules = h->modules, .status = h->status, .stopping = h->stopping, .n = h->n_modules};
    Arrays a = arrays_new(policy->n_modules);
    _cleanup_(freep) size_t *from = new0_array(size_t, policy->n_modules);
    _cleanup_(freep) bool *goes = new0_array(bool, old.n);
    roster_match(h->policy, policy, from, goes);
    int r = make_new(h, policy, from, &a, e);
    if (r < 0) {
        arrays_done(&a);
        graph_free(graph);
        policy_free(policy);
        return r;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (from[i] == SIZE_MAX)
            continue;
        a.modules[i] = old.modules[from[i]];
        a.status[i] = old.status[from[i]];
        a.stopping[i] = old.stopping[from[i]];
        a.modules[i]->policy = policy->modules[i];
    }
    put(h, &a);
    tell_of_new(h, from);
    for (size_t k = 0; k < old.n; k++)
        if (goes[k])
            drop(h, old.modules[k]);
    arrays_done(&old);
    graph_free(h->graph); /* before the policy it is about */
    policy_free(h->policy);
    h->graph = graph;
    h->policy = policy;
    return 0;
}

void roster_sweep(Host *h)
{
    _cleanup_(freep) bool *keep = new0_array(bool, h->n_modules);
    bool any = false;
    for (size_t i = 0; i < h->n_modules; i++) {
        keep[i] = !h->modules[i]->leaving || h->modules[i]->generation;
        any |= !keep[i];
    }
    if (!any || h->shutting_down)
        return;
    _cleanup_complaints_ Complaints complaints = {0};
    Policy *policy = policy_keep(h->policy, keep);
    Graph *graph = NULL;
    Error e = {0};
    /* That what stays is whole without them was seen before they were sent away. */
    if (graph_build(policy, &graph, &complaints) < 0) {
        policy_free(policy);
        return;
    }
    (void)roster_replace(h, policy, graph, &e); /* makes nothing new, so nothing can fail */
}

void roster_close(Host *h)
{
    for (size_t i = 0; i < h->n_modules; i++)
        module_close(h, h->modules[i]);
    arrays_done(&(Arrays){.modules = h->modules, .status = h->status, .stopping = h->stopping});
    h->n_modules = 0;
}
