/* bulkheadd: argv in, exit status out. Always in the foreground: who starts it watches it. */
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "supervisor/daemon.h"
#include "supervisor/holder.h"
#include "supervisor/options.h"
#include "supervisor/probe.h"
#include "supervisor/purge.h"
#include "supervisor/run/spawn.h"
#include "supervisor/survey.h"

/* Signals that a careless parent ignores would be ignored by every module. By the raw call, because the C library hides
 * two of them; a struct of zeros is SIG_DFL on every architecture. */
static void reset_signals(void)
{
    static const char dfl[64];
    for (int sig = 1; sig < _NSIG; sig++)
        (void)syscall(SYS_rt_sigaction, sig, dfl, NULL, (_NSIG - 1) / 8);
}

/* A stop that comes before the loop waits for it: it is to be in order, with what a dead daemon left. */
static void hold_signals(void)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &mask, NULL);
}

int main(int argc, char **argv)
{
    if (holder_wanted(argc, argv))
        holder_main(argv);
    DaemonOptions o;
    if (daemon_options_parse(argc, argv, &o) < 0)
        return EXIT_USAGE;
    if (o.version || o.help) {
        _cleanup_(freep) char *help = o.help ? daemon_help_text() : NULL;
        fputs(help ? help : "bulkheadd " BULKHEAD_VERSION "\n", stdout);
        return EXIT_DONE;
    }
    Features features = {0};
    Error e = {0};
    if (o.without && features_without(&features, o.without, &e) < 0) {
        fprintf(stderr, "bulkheadd: %s\n", error_message(&e));
        return EXIT_USAGE;
    }
    if (o.features)
        return survey_print(&features, o.host.btf_path, o.host.bpffs_path);
    hold_signals();
    probe_calls(&features);
    probe_tell_rooms(&features);
    o.host.features = &features;
    /* What a careless parent left open is not for modules. */
    if (feature_absent(&features, FEATURE_CLOSE_RANGE))
        fd_cloexec_from(3);
    else
        (void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    reset_signals();
    spawn_reserve();
    if (o.purge)
        return purge(&o.host, o.after_stop, o.journal);
    int code;
    Host *h = daemon_new(&o.host, &code);
    if (!h)
        return code;
    code = daemon_run(h);
    daemon_free(h);
    return code;
}
