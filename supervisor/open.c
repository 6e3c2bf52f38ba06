/* See open.h. A list of steps, each of which leaves the host in a state that daemon_free() can undo. */
#include "supervisor/open.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "supervisor/ground.h"
#include "supervisor/plan/bounds.h"
#include "supervisor/plan/budget.h"
#include "supervisor/probe.h"
#include "supervisor/pump.h"
#include "supervisor/report.h"
#include "supervisor/ring.h"
#include "supervisor/roster.h"
#include "supervisor/run/box.h"
#include "supervisor/run/start.h"
#include "supervisor/run/view.h"
#include "supervisor/shutdown.h"
#include "supervisor/timers.h"

static int complain(const Complaints *c)
{
    for (size_t i = 0; i < c->n; i++) {
        _cleanup_(freep) char *line = complaint_format(&c->items[i]);
        fprintf(stderr, "%s\n", line);
    }
    return EXIT_BAD_CONFIG;
}

static int open_policy(Host *h)
{
    _cleanup_complaints_ Complaints complaints = {0};
    _cleanup_(freep) char *shared = NULL;
    (void)policy_shared_dir(&shared);
    int r = policy_read(h->options.config_dir, shared, &h->policy, &complaints);
    if (graph_build(h->policy, &h->graph, &complaints) < 0 || r < 0) {
        complaints_sort(&complaints);
        return complain(&complaints);
    }
    for (size_t i = 0; i < LOG_LEVEL_N; i++)
        if (str_equal(h->policy->supervisor.log_level, log_level_names[i]))
            log_set_level((LogLevel)i);
    HostCapacity capacity;
    Error e = {0};
    if (budget_host(&capacity) == 0 && budget_check(h->policy, &capacity, &e) < 0) {
        fprintf(stderr, "%s: %s\n", h->options.config_dir, e.msg);
        return EXIT_BAD_CONFIG;
    }
    return 0;
}

#define REFUSED_WITHOUT_CGROUPS \
    "cannot hold: this host has no writable cgroup tree (take it out, or make the tree writable)"

static void complain_of_limits(const Host *h, const ModulePolicy *p, Complaints *complaints)
{
    GroupLimits limits = generation_limits(&p->limits);
    for (;;) {
        const char *why = REFUSED_WITHOUT_CGROUPS, *file;
        unsigned line;
        const char *key = h->ctx.tree ? cgroup_tree_refuses(h->ctx.tree, &limits, &why) : group_limits_first(&limits);
        if (!key)
            return;
        char full[64];
        snprintf(full, sizeof full, "limits.%s", key);
        policy_origin(p, full, &file, &line);
        complaints_add(complaints, file, line, full, "%s", why);
        group_limits_clear(&limits, key);
    }
}

static void complain_of_profile(const Host *h, const ModulePolicy *p, Complaints *complaints)
{
    const Features *f = &h->features;
    const bool none = feature_absent(f, FEATURE_SECCOMP);
    const char *file, *key = none ? "sandbox.profile" : "sandbox.on_violation";
    unsigned line;
    bool logs = p->sandbox.on_violation == VIOLATION_LOG;
    if (!p->sandbox.filter || (!none && !(logs && feature_absent(f, FEATURE_SECCOMP_LOG))))
        return;
    policy_origin(p, key, &file, &line);
    complaints_add(complaints, file, line, key, "cannot hold: %s (%s)",
                   none ? "this kernel has no seccomp filters" : "this kernel has no seccomp action that only logs",
                   none ? "take the profile out" : "use kill or errno");
}

/* Limits that this host cannot hold are refused by name, all at once, before anything is started. */
static int check_limits(const Host *h)
{
    _cleanup_complaints_ Complaints complaints = {0};
    for (size_t i = 0; i < h->n_modules; i++) {
        complain_of_limits(h, h->policy->modules[i], &complaints);
        complain_of_profile(h, h->policy->modules[i], &complaints);
    }
    complaints_sort(&complaints);
    return complaints.n ? complain(&complaints) : 0;
}

static int fail(const Error *e)
{
    fprintf(stderr, "bulkheadd: %s\n", error_message(e));
    return EXIT_FAILED;
}

/* --- the loop --- */

static int on_stop_signal(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
    (void)s;
    shutdown_begin(userdata, si->ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT");
    return 0;
}

static int on_hangup(sd_event_source *s, const struct signalfd_siginfo *si, void *userdata)
{
    (void)s, (void)si, (void)userdata;
    log_warning("event=ignored signal=SIGHUP: this version reads its configuration at start only");
    return 0;
}

int open_loop(Host *h, Error *e)
{
    sigset_t mask;
    sigemptyset(&mask);
    static const int signals[] = {SIGCHLD, SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < ELEMENTS(signals); i++)
        sigaddset(&mask, signals[i]);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    int r = sd_event_new(&h->ctx.event);
    if (r >= 0)
        r = sd_event_add_signal(h->ctx.event, &h->sigterm, SIGTERM, on_stop_signal, h);
    if (r >= 0)
        r = sd_event_add_signal(h->ctx.event, &h->sigint, SIGINT, on_stop_signal, h);
    if (r >= 0)
        r = sd_event_add_signal(h->ctx.event, &h->sighup, SIGHUP, on_hangup, h);
    if (r >= 0)
        r = pump_open(h);
    if (r < 0)
        return error_errno(e, r, "cannot make the event loop");
    return service_open(&h->service, h->ctx.event, e);
}

/* --- what modules are born into, the kernel's parts --- */

static void raise_nofile(Host *h)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) < 0)
        return;
    h->ctx.nofile_soft = l.rlim_cur;
    h->ctx.nofile_hard = l.rlim_max;
    l.rlim_cur = l.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &l);
}

/* Who protects the daemon from the OOM killer does not mean its modules. Raising it takes no privilege. */
static void read_oom_score_adj(Host *h)
{
    char text[16];
    h->ctx.reset_oom_score_adj = file_read(AT_FDCWD, "/proc/self/oom_score_adj", text, sizeof text) > 0 && *text == '-';
}

/* Of what the programs need, the first that must not be used. */
static FeatureId first_absent_bpf(const Features *f)
{
    for (FeatureId i = FEATURE_BTF; i <= FEATURE_BPF_CONNECTIONS; i++)
        if (feature_absent(f, i))
            return i;
    return FEATURE_N;
}

/* All at once, which tells as well as trying one by one that all of them are there. Else each is tried, and what works
 * goes without the rest. */
static int load_programs(Host *h, KernelConfig *config, Error *e)
{
    Features *f = &h->features;
    config->without = probe_kernel_without(f) & KERNEL_ON_DEMAND;
    bool optional = h->policy->supervisor.bpf == PART_OPTIONAL;
    FeatureId absent = first_absent_bpf(f);
    int r = absent == FEATURE_N ? kernel_open(config, &h->ctx.kernel, e) : feature_refuse(f, absent, e);
    if (r < 0 && optional) {
        probe_kernel(f, config->btf_path, config->bpffs_path, config->instance, config->modules_fd);
        config->without = probe_kernel_without(f);
        *e = (Error){0};
        if (feature_absent(f, FEATURE_BPF_CONTROL))
            return 0;
        r = kernel_open(config, &h->ctx.kernel, e);
    }
    if (r == 0)
        probe_kernel_loaded(f, config->without);
    return r;
}

static int open_kernel(Host *h, const Group *modules, Error *e)
{
    unsigned purged = 0;
    const char *bpffs = h->options.bpffs_path;
    int r =
        bpffs ? kernel_purge_at(bpffs, h->options.instance, &purged, e) : kernel_purge(h->options.instance, &purged, e);
    if (purged)
        log_info("event=leftover-pins-removed pins=%u", purged);
    KernelConfig config = {
        .instance = h->options.instance,
        .modules_id = group_id(modules),
        .modules_fd = group_dirfd(modules),
        .modules_level = cgroup_tree_level(h->ctx.tree) + 1,
        .max_modules = h->n_modules + h->policy->n_templates * (MODULE_INSTANCES_MAX + 1),
        .btf_path = h->options.btf_path,
        .bpffs_path = h->options.bpffs_path,
    };
    return r < 0 ? r : load_programs(h, &config, e);
}

static int open_in_tree(Host *h, Error *e)
{
    Group *modules = NULL;
    int r = group_ensure(h->ctx.tree, "modules", &modules, e);
    if (r == 0)
        r = ground_take_down_leftovers(h, h->ctx.tree, e);
    if (r == 0)
        r = open_kernel(h, modules, e);
    group_close(modules);
    /* What cannot be had shows before anything is started, and a start makes its leaf only. */
    for (size_t k = 0; r == 0 && k < h->n_modules; k++)
        r = module_make_group(h->modules[k], e);
    return r;
}

static int open_kernel_parts(Host *h, Error *e)
{
    int r = h->ctx.tree ? open_in_tree(h, e) : 0;
    if (!h->ctx.tree && h->policy->supervisor.bpf == PART_REQUIRED)
        r = error_set(
            e, -ENOTSUP,
            "without cgroups there is nothing bpf could count by (bpf = optional in [supervisor] goes without)");
    return r;
}

/* In the view if there is one, else where modules see the host's own. */
static int open_work_dir(Host *h, Error *e)
{
    _cleanup_(freep) char *path = xasprintf("%s/" VIEW_WORK_NAME, h->instance.runtime_path);
    h->ctx.work_dir = h->ctx.root >= 0 ? openat(h->ctx.root, path + 1, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                                       : dir_make(path, 0711);
    if (h->ctx.work_dir >= 0)
        return 0;
    return error_errno(e, h->ctx.root >= 0 ? -errno : h->ctx.work_dir, "cannot open %s", path);
}

int open_world(Host *h, Error *no_view, Error *e)
{
    raise_nofile(h);
    read_oom_score_adj(h);
    h->ctx.runtime_dir = h->instance.runtime_dir;
    h->ctx.notify_dir = h->instance.notify_dir;
    h->ctx.logs_dir = h->instance.logs_dir;
    h->ctx.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (h->ctx.null_fd < 0)
        return error_errno(e, -errno, "cannot open /dev/null");
    Features *f = &h->features;
    int r = feature_absent(f, FEATURE_MOUNT_VIEW)
                ? feature_refuse(f, FEATURE_MOUNT_VIEW, no_view)
                : view_open(h->instance.notify_path, &h->ctx.view, &h->ctx.root, no_view);
    feature_note(f, FEATURE_MOUNT_VIEW, r == 0, r == 0 ? NULL : error_message(no_view));
    return open_work_dir(h, e);
}

static int open_face(Host *h, Error *e)
{
    ControlConfig config = {
        .event = h->ctx.event,
        .dirfd = h->instance.runtime_dir,
        .instance = h->options.instance,
        .version = BULKHEAD_VERSION,
        .read_gid = h->policy->supervisor.read_gid,
        .operate_gid = h->policy->supervisor.operate_gid,
        .ops = &report_control_ops,
        .host = h,
    };
    return control_open(&config, &h->control, e);
}

/* All the steps, in order; the exit status of the first that fails. */
int open_host(Host *h)
{
    Error e = {0}, no_view = {0};
    if (geteuid() != 0) {
        fprintf(stderr, "bulkheadd: must be run as root (sudo bulkheadd)\n");
        return EXIT_FAILED;
    }
    if (feature_absent(&h->features, FEATURE_PIDFD)) {
        (void)feature_refuse(&h->features, FEATURE_PIDFD, &e);
        return fail(&e);
    }
    int code = open_policy(h);
    if (code)
        return code;
    roster_open(h);
    if (open_loop(h, &e) < 0 || instance_open(h->options.instance, &h->instance, &e) < 0)
        return fail(&e);
    /* The teardown of what a dead daemon left comes first, and may take as long as a shutdown. */
    service_busy(&h->service,
                 usec_add(usec_add(bound_shutdown(h->graph), h->policy->supervisor.startup_timeout), BOUND_LEEWAY_USEC),
                 "STATUS=Starting");
    /* Hooks of leftovers are the first that need it. */
    if (open_world(h, &no_view, &e) < 0 || ground_open(h, &e) < 0)
        return fail(&e);
    if (h->ctx.tree && no_view.code)
        return fail(&no_view);
    /* As process 1 of a container whatever loses its parent is ours to reap; without cgroups it is anyway. */
    if (getpid() == 1 && !h->orphans && box_adopt_orphans(&h->ctx, &h->orphans, &e) < 0)
        return fail(&e);
    code = check_limits(h);
    if (code)
        return code;
    if (open_kernel_parts(h, &e) < 0 || ring_watch(h, &e) < 0 || timers_open(h, &e) < 0 || open_face(h, &e) < 0)
        return fail(&e);
    features_log(&h->features);
    return 0;
}
