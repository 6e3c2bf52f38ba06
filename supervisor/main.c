/* bulkheadd: argv in, exit status out. Always in the foreground: who starts it watches it. */
#include <getopt.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "supervisor/host.h"
#include "supervisor/run/spawn.h"

static const char help[] =
    "bulkheadd: supervise modules, each in a cgroup of its own, until told to stop\n"
    "\n"
    "usage: bulkheadd [--instance NAME] [--config DIR]\n"
    "\n"
    "  --instance NAME  which one this is (default: default); several run side by side\n"
    "  --config DIR     bulkhead.ini, modules.d/*.ini, profiles/*.ini (default: /etc/bulkhead)\n"
    "  --version        print the version\n"
    "  --help           print this\n"
    "\n"
    "It stays in the foreground and logs to standard error. SIGTERM or SIGINT: orderly shutdown of all modules;\n"
    "a second one cuts what is still draining. `bulkhead` talks to it.\n"
    "\n"
    "Exit status: 0 stopped in order, 1 failed (the first problem is on standard error), 2 usage,\n"
    "78 bad configuration (every complaint is on standard error; `bulkhead check DIR` shows them too).\n"
    "\n"
    "examples:\n"
    "  bulkhead check /etc/bulkhead && bulkheadd\n"
    "  bulkheadd --instance test --config ./test-policy\n";

/* Signals that a careless parent ignores would be ignored by every module. By the raw call, because the C library hides
 * two of them; a struct of zeros is SIG_DFL on every architecture. */
static void reset_signals(void)
{
    static const char dfl[64];
    for (int sig = 1; sig < _NSIG; sig++)
        (void)syscall(SYS_rt_sigaction, sig, dfl, NULL, (_NSIG - 1) / 8);
}

int main(int argc, char **argv)
{
    enum { OPT_INSTANCE = 1, OPT_CONFIG, OPT_VERSION, OPT_HELP, OPT_BTF, OPT_BPFFS };
    static const struct option options[] = {
        {"instance", required_argument, NULL, OPT_INSTANCE}, {"config", required_argument, NULL, OPT_CONFIG},
        {"version", no_argument, NULL, OPT_VERSION},         {"help", no_argument, NULL, OPT_HELP},
        {"btf", required_argument, NULL, OPT_BTF}, /* for tests: a kernel without BTF, a host without bpffs */
        {"bpffs", required_argument, NULL, OPT_BPFFS},       {0},
    };
    HostOptions o = {.instance = "default", .config_dir = "/etc/bulkhead"};
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case OPT_INSTANCE:
            o.instance = optarg;
            break;
        case OPT_CONFIG:
            o.config_dir = optarg;
            break;
        case OPT_BTF:
            o.btf_path = optarg;
            break;
        case OPT_BPFFS:
            o.bpffs_path = optarg;
            break;
        case OPT_VERSION:
            puts("bulkheadd " BULKHEAD_VERSION);
            return EXIT_DONE;
        case OPT_HELP:
            fputs(help, stdout);
            return EXIT_DONE;
        default:
            fputs("try: bulkheadd --help\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "bulkheadd: unexpected word '%s' (try: bulkheadd --help)\n", argv[optind]);
        return EXIT_USAGE;
    }
    if (!instance_name_valid(o.instance)) {
        fprintf(stderr, "bulkheadd: '%s' is no instance name (a to z, 0 to 9, - and _, at most %d)\n", o.instance,
                INSTANCE_NAME_MAX);
        return EXIT_USAGE;
    }
    /* What a careless parent left open is not for modules. */
    (void)close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
    reset_signals();
    spawn_reserve();
    int code;
    Host *h = host_new(&o, &code);
    if (!h)
        return code;
    code = host_run(h);
    host_free(h);
    return code;
}
