/* See purge.h. */
#include "supervisor/purge.h"

#include <errno.h>
#include <stdio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "supervisor/daemon.h"
#include "supervisor/ground.h"
#include "supervisor/open.h"
#include "supervisor/plan/bounds.h"
#include "supervisor/scope.h"
#include "supervisor/stop/teardown.h"

static void log_to_journal(void)
{
    _cleanup_fd_ int fd = sd_journal_stream_fd("bulkheadd", LOG_INFO, true);
    if (fd >= 0 && dup2(fd, STDERR_FILENO) >= 0)
        (void)setenv("JOURNAL_STREAM", "purge", 1);
}

/* The policies tell how each module is stopped. A configuration with errors must not be in the way: without a policy it
 * is SIGTERM and ten seconds. The graph is of no modules, since none is started. */
static int read_policy(Host *h)
{
    static const Policy none;
    _cleanup_complaints_ Complaints complaints = {0};
    _cleanup_(freep) char *shared = NULL;
    (void)policy_shared_dir(&shared);
    if (policy_read(h->options.config_dir, shared, &h->policy, &complaints) < 0) {
        log_warning("event=no-policy reason=\"%s has errors\": each module gets SIGTERM and ten seconds",
                    h->options.config_dir);
        h->policy = policy_free(h->policy);
        h->policy = new0(Policy);
    }
    return graph_build(&none, &h->graph, &complaints);
}

/* All go down at once, those without a policy too. */
static uint64_t bound(const Policy *p)
{
    uint64_t longest = 2 * BOUND_KILL_USEC;
    for (size_t i = 0; i < p->n_modules; i++)
        longest = MAX2(longest, bound_teardown(p->modules[i]));
    return usec_add(longest, BOUND_LEEWAY_USEC);
}

static int clear(Host *h, Error *e)
{
    unsigned pins = 0;
    const char *bpffs = h->options.bpffs_path;
    Error no_view;
    int r = open_world(h, &no_view, e);
    if (r == 0)
        r = ground_clear(h, e);
    if (r == 0)
        r = bpffs ? kernel_purge_at(bpffs, h->options.instance, &pins, e) : kernel_purge(h->options.instance, &pins, e);
    if (r < 0)
        return r;
    for (size_t i = 0; i < h->n_leftovers; i++)
        if (h->leftovers[i]->last_teardown->failed & 1u << PHASE_CGROUP)
            return error_set(e, -ETIMEDOUT,
                             "module %s has processes that cannot be killed: purge again when they are gone",
                             module_name(h->leftovers[i]));
    if (h->n_leftovers || pins)
        log_info("event=purged instance=%s generations=%zu pins=%u", h->options.instance, h->n_leftovers, pins);
    return 0;
}

static int run(Host *h, Error *e)
{
    /* First of all the lock: of a living daemon nothing is touched. */
    int r = instance_open(h->options.instance, &h->instance, e);
    if (r == -EBUSY)
        return error_prefix(e, "nothing to purge: "), r;
    if (r == 0)
        r = read_policy(h);
    if (r == 0)
        r = open_loop(h, e);
    if (r < 0)
        return r;
    service_busy(&h->service, bound(h->policy), "STATUS=Taking down what was left");
    return clear(h, e);
}

/* The mark of a shutdown that had begun, or systemd's word that this one took too long. Or a stop that came while the
 * unit was on its way from a crash to its restart: systemd restarts nothing then, and nobody else would end the
 * modules. */
static bool stop_was_wanted(const HostOptions *options)
{
    return instance_was_stopping(options->instance) || str_equal(getenv("SERVICE_RESULT"), "timeout") ||
           scope_own_unit_stops();
}

int purge(const HostOptions *options, bool after_stop, bool journal)
{
    if (journal)
        log_to_journal();
    if (geteuid() != 0) {
        fprintf(stderr, "bulkheadd: must be run as root (sudo bulkhead purge)\n");
        return EXIT_FAILED;
    }
    if (after_stop && !stop_was_wanted(options))
        return EXIT_DONE;
    Error e = {0};
    Host *h = daemon_bare(options);
    int r = run(h, &e);
    /* A holder asks only to be sure: where a daemon lives it is the daemon's task. */
    if (r < 0 && !(journal && r == -EBUSY))
        fprintf(stderr, "bulkheadd: %s\n", error_message(&e));
    daemon_free(h);
    return r < 0 ? EXIT_FAILED : EXIT_DONE;
}
