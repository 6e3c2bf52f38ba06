/* What the files of `bulkhead` share: exit statuses, options, verbs, what the command line came to.
 *
 * There is one table of options (options.c) and one of verbs (verbs.c); parser, --help and completion derive from them.
 * A verb is a function from Args to an exit status; it prints its own errors. */
#pragma once

#include <stdio.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/util.h"
#include "policies/complaint.h"
#include "tools/top.h"

typedef enum ToolStatus {
    TOOL_DONE = 0,
    TOOL_FAILED = 1,
    TOOL_USAGE = 2,
    TOOL_ABSENT = 3,  /* no daemon, or no such module */
    TOOL_TIMEOUT = 4, /* --timeout is over; what was asked for goes on */
    TOOL_BAD_CONFIG = 78
} ToolStatus;

typedef enum OptionId {
    OPTION_INSTANCE,
    OPTION_CONFIG,
    OPTION_JSON,
    OPTION_NO_PAGER,
    OPTION_NO_BLOCK,
    OPTION_TIMEOUT,
    OPTION_CASCADE,
    OPTION_SIGNAL,
    OPTION_MAIN,
    OPTION_FOLLOW,
    OPTION_LINES,
    OPTION_SINCE,
    OPTION_UNTIL,
    OPTION_STDERR,
    OPTION_SVG,
    OPTION_VERBOSE,
    OPTION_HOST,
    OPTION_USER,
    OPTION_OUTPUT,
    OPTION_STDOUT,
    OPTION_FORCE,
    OPTION_ALL,
    OPTION_BASE_TIME,
    OPTION_EXPANDED,
    OPTION_SORT,
    OPTION_INTERVAL,
    OPTION_ITERATIONS,
    OPTION_BATCH,
    OPTION_UNDO,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_N
} OptionId;

#define OPTION_BIT(id) (UINT64_C(1) << (id))
_Static_assert(OPTION_N <= 64, "one bit each");

typedef struct Option {
    const char *name; /* without the dashes */
    char letter;      /* 0 = none */
    const char *argument;
    const char *doc;
} Option;

extern const Option options[OPTION_N];

typedef struct Verb Verb;

/* Strings are borrowed from argv and the environment. */
typedef struct Args {
    const Verb *verb; /* NULL: only --help or --version was asked for */
    const char *instance;
    const char *config; /* NULL = not given */
    bool json, no_pager, no_block, cascade, follow, verbose, host, all, expanded, batch, undo, help, version;
    uint64_t timeout; /* µs, USEC_INFINITY = none */
    bool main_only;   /* kill */
    int signal;       /* 0 = not given */
    uint64_t lines;   /* of --lines and --iterations; UINT64_MAX = not given */
    TopColumn sort;
    uint64_t interval;     /* µs */
    uint64_t since, until; /* wall clock µs; 0 and UINT64_MAX = not given */
    bool error_stream;
    const char *svg;
    uint64_t base_time;        /* wall clock µs; UINT64_MAX = not given */
    const char *user, *output; /* NULL = not given */
    bool to_stdout, force;
    char **words; /* what is left: names, a directory; the vector is owned, the strings are not */
    size_t n_words;
    size_t n_named; /* how many of them stand before "--", where the verb takes a command line after it; else all */
} Args;

struct Verb {
    const char *name;
    const char *words; /* for the synopsis: "MODULE...", "[DIR]"; with a "--", a command line stands after it */
    size_t min_words, max_words;
    uint64_t options; /* OPTION_BITs besides those of every verb */
    bool pager;       /* its output may be long */
    const char *summary;
    const char *help; /* paragraphs and examples */
    ToolStatus (*run)(const Args *a);
};

extern const Verb verbs[];
extern const size_t verbs_n;

/* Pure. Options stand before or after the verb; "--" ends them. -EINVAL fills *e with one line. */
int args_parse(int argc, char *const *argv, const char *environment_instance, Args *ret, Error *e);
void args_done(Args *a);
/* OPTION_N, NULL: there is none. */
OptionId option_by_name(const char *name, size_t length);
/* Where several have the letter, the verb's own; without a verb (NULL), or if it takes none of them, the first. Those
 * that share a letter mean the same to the parser. */
OptionId option_by_letter(char letter, const Verb *v);
const Verb *verb_by_name(const char *name);
/* Whether a command line stands after "--", which is needed then. */
bool verb_takes_command(const Verb *v);
/* Does the verb take this option? Those of every verb included. */
bool verb_takes(const Verb *v, OptionId id);

/* The whole help, or a verb's; owned by the caller. */
char *help_text(void);
char *help_verb_text(const Verb *v);

/* "bulkhead: …" on standard error. Nothing a stranger wrote reaches a terminal unescaped: the line is escaped. */
void say_error(const char *fmt, ...) _printf_(1, 2);

/* A line each. */
void print_complaints(const Complaints *c, FILE *to);

/* The verbs, a file each or a few. */
ToolStatus verb_status(const Args *a);
ToolStatus verb_timers(const Args *a);
ToolStatus verb_top(const Args *a);
ToolStatus verb_act(const Args *a); /* start, stop, restart, reload, kill; drain by way of verb_drain() */
ToolStatus verb_drain(const Args *a);
ToolStatus verb_scale(const Args *a);
ToolStatus verb_shutdown(const Args *a);
ToolStatus verb_logs(const Args *a);
ToolStatus verb_events(const Args *a);
ToolStatus verb_check(const Args *a);
ToolStatus verb_check_host(const Args *a);
ToolStatus verb_config(const Args *a);
ToolStatus verb_cat(const Args *a);
ToolStatus verb_plan(const Args *a);
ToolStatus verb_graph(const Args *a);
ToolStatus verb_explain(const Args *a);
ToolStatus verb_calendar(const Args *a);
ToolStatus verb_purge(const Args *a);
ToolStatus verb_init(const Args *a);
ToolStatus verb_import(const Args *a);
