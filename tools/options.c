/* The table of options. What a verb takes of them is in verbs.c, what they mean to a command line in args.c. */
#include "tools/tool.h"

const Option options[OPTION_N] = {
    [OPTION_INSTANCE] = {"instance", 'i', "NAME", "which daemon (default: $BULKHEAD_INSTANCE, or default)"},
    [OPTION_CONFIG] = {"config", 0, "DIR", "where the configuration is (default: /etc/bulkhead)"},
    [OPTION_JSON] = {"json", 0, NULL, "print JSON"},
    [OPTION_NO_PAGER] = {"no-pager", 0, NULL, "never start a pager"},
    [OPTION_NO_BLOCK] = {"no-block", 0, NULL, "do not wait for the outcome"},
    [OPTION_TIMEOUT] = {"timeout", 't', "TIME", "wait no longer than TIME (10s, 2m; exit status 4)"},
    [OPTION_CASCADE] = {"cascade", 0, NULL, "stop first what requires it"},
    [OPTION_SIGNAL] = {"signal", 's', "SIGNAL", "signal to send (default: TERM)"},
    [OPTION_MAIN] = {"main", 0, NULL, "only the main process"},
    [OPTION_FOLLOW] = {"follow", 'f', NULL, "go on with what is new"},
    [OPTION_LINES] = {"lines", 'n', "N", "only the last N; of calendar: the next N"},
    [OPTION_SINCE] = {"since", 'S', "WHEN", "what was written from then on (15m, 12:00, '2026-11-20 12:00')"},
    [OPTION_UNTIL] = {"until", 'U', "WHEN", "what was written until then"},
    [OPTION_STDERR] = {"stderr", 0, NULL, "standard error alone, where it is kept apart"},
    [OPTION_SVG] = {"svg", 0, "FILE", "draw it into FILE (- = standard output); needs graphviz"},
    [OPTION_VERBOSE] = {"verbose", 'v', NULL, "say more: the phases of a stop"},
    [OPTION_HOST] = {"host", 0, NULL, "look at the kernel and the host instead of a configuration"},
    [OPTION_USER] = {"user", 'u', "USER", "who the module runs as (default: guessed, and said why)"},
    [OPTION_OUTPUT] = {"output", 'o', "DIR",
                       "write NAME.ini into DIR (default of init: modules.d of the configuration)"},
    [OPTION_STDOUT] = {"stdout", 0, NULL, "print it, and write nothing"},
    [OPTION_FORCE] = {"force", 0, NULL, "replace files that are there"},
    [OPTION_ALL] = {"all", 'a', NULL, "also what nobody said, and what does not hold"},
    [OPTION_BASE_TIME] = {"base-time", 0, "WHEN",
                          "what comes after then, not after now (15m, 12:00, '2026-12-24 18:00')"},
    [OPTION_EXPANDED] = {"expanded", 0, NULL, "with %n, %i and ${NAME} written out, for each instance"},
    [OPTION_SORT] = {"sort", 0, "KEY", "by which column (default: cpu)"},
    [OPTION_INTERVAL] = {"interval", 'd', "TIME", "how often (default: 1s)"},
    [OPTION_ITERATIONS] = {"iterations", 'n', "N", "so many times, then end"},
    [OPTION_BATCH] = {"batch", 'b', NULL, "as plain text, without a screen"},
    [OPTION_UNDO] = {"undo", 0, NULL, "let new work in again"},
    [OPTION_HELP] = {"help", 'h', NULL, "print help, of a verb when one is given"},
    [OPTION_VERSION] = {"version", 0, NULL, "print the version"},
};

OptionId option_by_name(const char *name, size_t length)
{
    OptionId id = 0;
    while (id < OPTION_N && (strlen(options[id].name) != length || strncmp(options[id].name, name, length) != 0))
        id++;
    return id;
}
