/* See run_hooks.h. */
#include "supervisor/run_hooks.h"

#include "base/log.h"
#include "supervisor/drains.h"
#include "supervisor/pump.h"
#include "supervisor/run/hook.h"

static void on_changed(void *host, Generation *g, LifecycleState before)
{
    Host *h = host;
    pump_generation_changed(h, g);
    drains_changed(h, g);
    if (h->control)
        control_module_changed(h->control, module_name(g->module), lifecycle_state_name(before),
                               lifecycle_state_name(g->lifecycle.state), g->number);
}

/* Whether the source is still to reap the pid: once it has told of the end it is off. */
static bool waits_for(sd_event_source *s, pid_t pid)
{
    pid_t child;
    return s && sd_event_source_get_child_pid(s, &child) >= 0 && child == pid &&
           sd_event_source_get_enabled(s, NULL) > 0;
}

static bool on_launched(void *host, pid_t pid)
{
    Host *h = host;
    for (size_t i = 0; i < h->n_modules; i++) {
        const Generation *g = h->modules[i]->generation;
        if (g && (hook_pid(g->hook) == pid || waits_for(g->child_source, pid) ||
                  (g->main_source && g->main_alive && g->pid == pid)))
            return true;
    }
    return log_watch_launched(h->logs, pid);
}

static void on_log_failed(void *host, const Module *m, const char *file, int error, const char *message)
{
    log_warning("module=%s event=log-not-rotated file=%s reason=\"%s\"", module_name(m), file, message);
    host_event(host, m, 0, "log-not-rotated", NULL,
               json_pack("{s:s,s:i,s:s}", "file", file, "errno", error, "reason", message));
}

static void on_logging(void *host, const Module *m)
{
    Host *h = host;
    if (!h->logs)
        h->logs = log_watch_new(&h->ctx, on_log_failed);
    log_watch_module(h->logs, m);
}

const RunHooks run_hooks = {.launched = on_launched,
                            .changed = on_changed,
                            .exited = pump_main_exited,
                            .logging = on_logging,
                            .event = host_event};
