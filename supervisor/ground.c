/* See ground.h. */
#include "supervisor/ground.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "supervisor/plan/bounds.h"
#include "supervisor/probe.h"
#include "supervisor/run/box.h"
#include "supervisor/shutdown.h"
#include "supervisor/stop/leftovers.h"
#include "supervisor/stop/teardown.h"

#define PUT_AWAY_USEC (5 * USEC_PER_SEC)
#define SYSTEMDS_USEC USEC_PER_SEC /* of these */
#define LOOK_MSEC     2

/* What follows the end of a scope's holder is systemd's work; our own end is told only after it. It tries once, as soon
 * as the last process is gone, which is while we still remove what was below: where that made it fail (seen with
 * systemd 257: "Stopped", and the directory stays), nobody else would. */
static void wait_put_away(const char *directory)
{
    const uint64_t begin = now_monotonic();
    while (access(directory, F_OK) == 0) {
        uint64_t waited = now_monotonic() - begin;
        if (waited > SYSTEMDS_USEC && (rmdir(directory) == 0 || errno == ENOENT))
            return;
        if (waited > PUT_AWAY_USEC) {
            log_warning("event=cleanup-failed reason=\"systemd has not put away %s\"", directory);
            return;
        }
        (void)poll(NULL, 0, LOOK_MSEC);
    }
}

/* Removes and closes a tree all of whose generations are gone. */
static void remove_groups(CgroupTree *t)
{
    if (!t)
        return;
    Group *modules = NULL;
    Error e = {0};
    if (group_open(t, "modules", &modules, NULL) == 0) {
        if (leftovers_sweep(t, &e) == 0)
            (void)group_remove(modules, &e);
        group_close(modules);
    }
    if (e.code || cgroup_tree_remove(t, &e) < 0)
        log_warning("event=cleanup-failed reason=\"%s\"", error_message(&e));
    cgroup_tree_close(t);
}

static void remove_tree(CgroupTree *t)
{
    bool wait = t && cgroup_tree_held(t) && cgroup_holder(cgroup_tree_root_path(t)) != getpid();
    _cleanup_(freep) char *directory = wait ? xstrdup(cgroup_tree_root(t)) : NULL;
    remove_groups(t);
    if (directory)
        wait_put_away(directory);
}

/* --- leftovers --- */

/* A leaf that stays has taken its number: a generation's is always a fresh one. */
static void number_after(Host *h, const Module *leftover, uint64_t number)
{
    for (size_t i = 0; i < h->n_modules; i++)
        if (str_equal(module_name(h->modules[i]), module_name(leftover)))
            h->modules[i]->last_generation = MAX2(h->modules[i]->last_generation, number);
}

static void on_leftover_over(Generation *g)
{
    Module *m = g->module;
    Host *h = m->ctx->host;
    const TeardownResult *r = m->last_teardown;
    h->leftovers_over++;
    if (r->failed & (1u << PHASE_CGROUP))
        number_after(h, m, g->number);
    if (!r->failed)
        log_info("module=%s generation=%llu event=leftover-taken-down", module_name(m), (unsigned long long)g->number);
    for (size_t i = 0; i < PHASE_N; i++)
        if (r->failed & (1u << i))
            log_warning("module=%s generation=%llu event=leftover-taken-down phase=%s status=%s error=\"%s\"",
                        module_name(m), (unsigned long long)g->number, phase_names[i],
                        phase_status_names[r->phase[i].status], str_or(r->phase[i].error, "-"));
}

int ground_take_down_leftovers(Host *h, CgroupTree *tree, Error *e)
{
    int r = leftovers_find(&h->ctx, tree, h->policy, &h->leftovers, &h->n_leftovers, e);
    if (r < 0)
        return r;
    for (size_t i = h->leftovers_over; i < h->n_leftovers; i++)
        leftover_take_down(h->leftovers[i], on_leftover_over);
    /* Every teardown ends within its own bounds, so this does. */
    while (h->leftovers_over < h->n_leftovers)
        if ((r = sd_event_run(h->ctx.event, UINT64_MAX)) < 0)
            return error_errno(e, r, "the event loop failed");
    if (leftovers_sweep(tree, e) < 0) {
        log_warning("event=leftover-stays reason=\"%s\"", error_message(e));
        *e = (Error){0};
    }
    return 0;
}

/* Where a dead daemon was started in other cgroups than we are, its generations are in a tree of its own: they go
 * first, because the two trees may share directories in some hierarchies. What is in our own scope is found there. */
static int clear_old_tree(Host *h, Error *e)
{
    _cleanup_(freep) char *record = instance_recorded_root(&h->instance);
    CgroupTree *old = NULL;
    Error why = {0};
    int r = record ? cgroup_tree_recorded(record, &old, &why) : -ENOENT;
    if (r == -ENOENT)
        return 0;
    if (r < 0) {
        log_warning("event=leftovers-unknown reason=\"%s\"", error_message(&why));
        return 0;
    }
    if (h->scope && str_equal(cgroup_tree_root_path(old), h->scope->path)) {
        cgroup_tree_close(old);
        return 0;
    }
    r = ground_take_down_leftovers(h, old, e);
    remove_tree(old);
    return r;
}

/* --- a scope --- */

static ScopeConfig scope_config(const Host *h)
{
    return (ScopeConfig){
        .instance = h->options.instance,
        .config_dir = h->options.config_dir,
        .stop_usec = usec_add(bound_shutdown(h->graph), BOUND_LEEWAY_USEC),
    };
}

static int on_holder_end(sd_event_source *s, int fd, uint32_t events, void *userdata);

/* The holder, new or found, is put where it belongs, and from then on it stays. */
static int settle(Host *h, Error *e)
{
    int r = cgroup_tree_hold(h->ctx.tree, h->scope->holder.pid, e);
    if (r == 0)
        r = scope_keep(h->scope, e);
    return r == 0 ? scope_watch(h->scope, h->ctx.event, on_holder_end, h, e) : r;
}

static int on_holder_end(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    (void)s, (void)events;
    Host *h = userdata;
    Error e = {0};
    siginfo_t info;
    (void)waitid((idtype_t)P_PIDFD, (id_t)fd, &info, WEXITED | WNOHANG); /* a found one is no child of ours */
    if (h->shutting_down)
        return 0;
    const ScopeConfig config = scope_config(h);
    int r = scope_renew(h->scope, &config, &e);
    if (r == 0)
        r = settle(h, &e);
    if (r == 0)
        log_warning("event=holder-killed: %s is kept by another process now", h->scope->unit);
    else
        shutdown_begin(h, error_message(&e));
    return 0;
}

/* 1: not to be had here, another place will do. */
static int open_in_scope(Host *h, Error *e)
{
    if (!scope_possible() || !cgroup_all_unified())
        return 1;
    const ScopeConfig config = scope_config(h);
    int r = scope_open(&config, &h->scope, e);
    if (r != -ENXIO)
        return r;
    log_warning("event=no-scope reason=\"%s\": modules stand below the daemon's own cgroup", error_message(e));
    *e = (Error){0};
    return 1;
}

/* --- any place --- */

static int open_tree(Host *h, Error *e)
{
    int r;
    if (h->scope) {
        r = cgroup_tree_open_at(h->scope->path, h->scope->holder.pid, &h->ctx.tree, e);
    } else {
        _cleanup_(freep) char *name = xasprintf("bulkhead-%s", h->options.instance);
        r = cgroup_tree_open(name, &h->ctx.tree, e);
    }
    if (r < 0)
        return r;
    _cleanup_(freep) char *record = cgroup_tree_record(h->ctx.tree);
    r = instance_record_root(&h->instance, record, e);
    return r == 0 && h->scope ? settle(h, e) : r;
}

int ground_open(Host *h, Error *e)
{
    int r = open_in_scope(h, e);
    if (r >= 0)
        r = clear_old_tree(h, e);
    if (r >= 0)
        r = open_tree(h, e);
    probe_tree(&h->features, h->ctx.tree, e);
    if (r >= 0 || h->ctx.tree || h->policy->supervisor.cgroups != PART_OPTIONAL)
        return r;
    *e = (Error){0};
    h->scope = scope_close(h->scope);
    return box_adopt_orphans(&h->ctx, &h->orphans, e);
}

/* Without a record only a scope can be found, by its name. */
int ground_clear(Host *h, Error *e)
{
    _cleanup_(freep) char *record = instance_recorded_root(&h->instance);
    if (record || !scope_possible() || !cgroup_all_unified())
        return clear_old_tree(h, e);
    ScopeConfig config = scope_config(h);
    config.only_found = true;
    int r = scope_open(&config, &h->scope, e);
    if (r == -ENOENT || r == -ENXIO) {
        *e = (Error){0};
        return 0;
    }
    return r < 0 || (r = open_tree(h, e)) < 0 ? r : ground_take_down_leftovers(h, h->ctx.tree, e);
}

void ground_close(Host *h, bool clean)
{
    if (h->scope)
        h->scope->watch = sd_event_source_disable_unref(h->scope->watch);
    CgroupTree *t = TAKE_PTR(h->ctx.tree);
    if (clean)
        remove_tree(t);
    else
        cgroup_tree_close(t);
    h->scope = scope_close(h->scope);
}

void ground_survey(const char *instance, Features *f, void (*inside)(void *userdata, int cgroup), void *userdata)
{
    const ScopeConfig config = {.instance = instance, .config_dir = "/", .stop_usec = PUT_AWAY_USEC};
    _cleanup_(freep) char *name = xasprintf("bulkhead-%s", instance), *directory = NULL;
    Scope *scope = NULL;
    CgroupTree *tree = NULL;
    Error e = {0};
    int r = scope_possible() && cgroup_all_unified() ? scope_open(&config, &scope, &e) : -ENXIO;
    if (r == -ENXIO) {
        e = (Error){0};
        (void)cgroup_tree_open(name, &tree, &e);
    } else if (r == 0) {
        r = cgroup_tree_open_at(scope->path, scope->holder.pid, &tree, &e);
        directory = r == 0 ? xstrdup(cgroup_tree_root(tree)) : NULL;
    }
    probe_tree(f, tree, &e);
    _cleanup_fd_ int root = tree ? open(cgroup_tree_root(tree), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -EBADF;
    inside(userdata, root);
    if (tree && cgroup_tree_remove(tree, &e) < 0)
        log_warning("event=cleanup-failed reason=\"%s\"", error_message(&e));
    cgroup_tree_close(tree);
    scope_close(scope);
    if (directory)
        wait_put_away(directory);
}
