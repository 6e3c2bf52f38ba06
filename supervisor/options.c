/* See options.h. getopt_long() does the reading, from the table. */
#include "supervisor/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "base/str.h"
#include "policies/names.h"

#define OPTION(name_, field_, argument_, doc_)                  \
    {                                                           \
        name_, argument_, doc_, offsetof(DaemonOptions, field_) \
    }

/* clang-format off */
const DaemonOption daemon_options[] = {
    OPTION("instance", host.instance, "NAME", "which one this is (default: default); several run side by side"),
    OPTION("config", host.config_dir, "DIR", "bulkhead.ini, modules.d/*.ini, profiles/*.ini (default: /etc/bulkhead)"),
    OPTION("features", features, NULL, "print what this kernel offers and what each absence costs, as JSON"),
    OPTION("purge", purge, NULL, "remove what a dead daemon left: modules, cgroups, pins, /run; state and logs stay"),
    OPTION("after-stop", after_stop, NULL, "with --purge: only if it died while it stopped (for ExecStopPost=)"),
    OPTION("version", version, NULL, "print the version"),
    OPTION("help", help, NULL, "print help"),
    OPTION("journal", journal, NULL, NULL), /* what a holder becomes has no standard error */
    OPTION("btf", host.btf_path, "FILE", NULL), /* a kernel without BTF */
    OPTION("bpffs", host.bpffs_path, "DIR", NULL), /* a host without bpffs */
    OPTION("clock-offset-file", host.clock_offset_file, "FILE", NULL), /* a clock that is set */
    OPTION("without", without, "FEATURE,…", NULL), /* a kernel without them */
};
/* clang-format on */
const size_t daemon_options_n = ELEMENTS(daemon_options);

int daemon_options_parse(int argc, char **argv, DaemonOptions *ret)
{
    enum { FIRST = 1 }; /* what getopt_long() returns for the first row; '?' is an error */
    _Static_assert(FIRST + ELEMENTS(daemon_options) <= '?', "the rows' numbers reach into the letters");
    struct option wanted[ELEMENTS(daemon_options) + 1] = {0};
    for (size_t i = 0; i < daemon_options_n; i++) {
        wanted[i].name = daemon_options[i].name;
        wanted[i].has_arg = daemon_options[i].argument ? required_argument : no_argument;
        wanted[i].val = FIRST + (int)i;
    }
    DaemonOptions o = {.host = {.instance = "default", .config_dir = "/etc/bulkhead"}};
    for (int c; (c = getopt_long(argc, argv, "", wanted, NULL)) != -1;) {
        if (c < FIRST || (size_t)(c - FIRST) >= daemon_options_n) {
            fputs("try: bulkheadd --help\n", stderr);
            return -EINVAL;
        }
        const DaemonOption *row = &daemon_options[c - FIRST];
        void *field = (char *)&o + row->offset;
        if (row->argument)
            *(const char **)field = optarg;
        else
            *(bool *)field = true;
    }
    if (optind < argc) {
        fprintf(stderr, "bulkheadd: unexpected word '%s' (try: bulkheadd --help)\n", argv[optind]);
        return -EINVAL;
    }
    if (!instance_name_valid(o.host.instance)) {
        fprintf(stderr, "bulkheadd: '%s' is no instance name (a to z, 0 to 9, - and _, at most %d)\n", o.host.instance,
                INSTANCE_NAME_MAX);
        return -EINVAL;
    }
    *ret = o;
    return 0;
}

char *daemon_help_text(void)
{
    StrBuf b = STRBUF_NULL;
    strbuf_adds(&b, "bulkheadd: supervise modules, each in a cgroup of its own, until told to stop\n"
                    "\n"
                    "usage: bulkheadd [OPTION...]\n"
                    "\n");
    for (size_t i = 0; i < daemon_options_n; i++) {
        const DaemonOption *o = &daemon_options[i];
        if (!o->doc)
            continue;
        _cleanup_(freep) char *left = xasprintf("--%s%s%s", o->name, o->argument ? " " : "", str_or(o->argument, ""));
        strbuf_addf(&b, "  %-16s %s\n", left, o->doc);
    }
    strbuf_adds(&b,
                "\n"
                "It stays in the foreground and logs to standard error. SIGTERM or SIGINT: orderly shutdown of all "
                "modules;\n"
                "a second one cuts what is still draining. `bulkhead` talks to it.\n"
                "\n"
                "Exit status: 0 stopped in order, 1 failed (the first problem is on standard error), 2 usage,\n"
                "78 bad configuration (every complaint is on standard error; `bulkhead check DIR` shows them too).\n"
                "\n"
                "examples:\n"
                "  bulkhead check /etc/bulkhead && bulkheadd\n"
                "  bulkheadd --instance test --config ./test-policy\n");
    return strbuf_take(&b);
}
