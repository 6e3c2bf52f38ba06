/* The table of verbs, and the help made from it. */
#include <stdio.h>

#include "base/str.h"
#include "tools/tool.h"

#define MANY SIZE_MAX
#define BIT  OPTION_BIT

const Verb verbs[] = {
    {"status", "[MODULE...]", 0, MANY, BIT(OPTION_JSON) | BIT(OPTION_TIMEOUT), true, "what runs, and how it is",
     "Without a MODULE: a line about the instance and a table of all modules. With one: that module at length, with\n"
     "its cgroup, limits, last exit and the phases of its last stop.\n"
     "\n"
     "In every verb a MODULE may be a glob ('w*'; in quotes, or the shell expands it), one instance (worker@3), the "
     "name\n"
     "before the @ for all instances (worker, 'worker@*'), or a group (shop: or 'shop:*').\n"
     "\n"
     "examples:\n"
     "  bulkhead status\n"
     "  bulkhead status web\n"
     "  bulkhead status worker 'w*' shop:\n"
     "  bulkhead status --json | jq '.modules[] | select(.state != \"running\") | .name'\n",
     verb_status},
    {"top", "[MODULE...]", 0, MANY,
     BIT(OPTION_SORT) | BIT(OPTION_INTERVAL) | BIT(OPTION_ITERATIONS) | BIT(OPTION_BATCH) | BIT(OPTION_JSON), false,
     "a live view of modules: CPU, memory, work in flight, how long it takes",
     "On a terminal a screen: ? tells the keys, q leaves. Elsewhere, or with --batch, a table each interval; with\n"
     "JSON an object a line. CPU, rate and percentiles are those of the interval. Modules that come while it runs\n"
     "are shown if the words mean them. When the daemon ends it says so, and waits for the next.\n"
     "\n"
     "examples:\n"
     "  bulkhead top\n"
     "  bulkhead top --sort p99 'web*' shop:\n"
     "  bulkhead top --batch -n 1\n"
     "  bulkhead top --json -n 60 web | jq -c '.modules[] | [.rate, .latency_p99_usec]'\n",
     verb_top},
    {"timers", "[MODULE...]", 0, MANY, BIT(OPTION_JSON) | BIT(OPTION_TIMEOUT), true,
     "when timed modules run next, and ran last",
     "The soonest first. A timer that was stopped (`bulkhead stop`) runs nothing until its module is started, or the\n"
     "daemon is. SKIPPED counts what would have been a second run of a module that still ran.\n"
     "\n"
     "examples:\n"
     "  bulkhead timers\n"
     "  bulkhead timers 'backup-*'\n"
     "  bulkhead timers --json | jq -r '.[] | select(.last_exit.code != 0) | .module'\n",
     verb_timers},
    {"start", "MODULE...", 1, MANY, BIT(OPTION_NO_BLOCK) | BIT(OPTION_TIMEOUT) | BIT(OPTION_VERBOSE), false,
     "start modules, and first what they require",
     "Waits until each is ready. A module that recovery has given up gets a fresh set of attempts.\n"
     "\n"
     "examples:\n"
     "  bulkhead start web\n"
     "  bulkhead start --timeout 30s db cache\n"
     "  bulkhead start --no-block 'worker-*'\n",
     verb_act},
    {"stop", "MODULE...", 1, MANY,
     BIT(OPTION_NO_BLOCK) | BIT(OPTION_TIMEOUT) | BIT(OPTION_CASCADE) | BIT(OPTION_VERBOSE), false,
     "stop modules in phases: no new work, drain, end",
     "Waits until each is down, and shows the phases on a terminal or with --verbose. A module that others require is\n"
     "not stopped while they run: --cascade stops them first. A stopped module is not restarted by its policy.\n"
     "\n"
     "examples:\n"
     "  bulkhead stop web\n"
     "  bulkhead stop --cascade db\n"
     "  bulkhead stop --timeout 1m web || bulkhead status web\n",
     verb_act},
    {"restart", "MODULE...", 1, MANY,
     BIT(OPTION_NO_BLOCK) | BIT(OPTION_TIMEOUT) | BIT(OPTION_CASCADE) | BIT(OPTION_VERBOSE), false,
     "stop modules in phases, then start them",
     "Waits until each is ready again. --cascade restarts what requires them too.\n"
     "\n"
     "examples:\n"
     "  bulkhead restart web\n"
     "  bulkhead restart --cascade db\n",
     verb_act},
    {"drain", "MODULE...", 1, MANY,
     BIT(OPTION_UNDO) | BIT(OPTION_NO_BLOCK) | BIT(OPTION_TIMEOUT) | BIT(OPTION_VERBOSE) | BIT(OPTION_JSON), false,
     "turn new work away from modules, and wait for what they have",
     "The module runs on behind a closed gate: new connections and requests wait in the network until it is opened.\n"
     "Waits until nothing is in flight. What still is at drain_hard is told, with exit status 1, and not cut off; the\n"
     "gate stays closed. To open it again give --undo: what has waited comes in, and nothing is lost. A start opens\n"
     "it, too; a stop or a restart of a drained module has nothing to wait for. Refused where nothing is tracked\n"
     "([work] track).\n"
     "\n"
     "examples:\n"
     "  bulkhead drain web && bulkhead restart web\n"
     "  bulkhead drain --timeout 10s 'worker@*'\n"
     "  bulkhead drain --undo web\n"
     "  bulkhead drain --json web | jq '.[].holding'\n",
     verb_drain},
    {"reload", "MODULE...", 1, MANY, BIT(OPTION_NO_BLOCK) | BIT(OPTION_TIMEOUT) | BIT(OPTION_VERBOSE), false,
     "have modules read their own configuration again",
     "By the policy's exec_reload or reload_signal; neither stops anything. Waits until the command has succeeded or "
     "the\n"
     "signal is sent, and with ready = notify until the module says that it is ready again.\n"
     "\n"
     "examples:\n"
     "  bulkhead reload web\n"
     "  bulkhead reload --timeout 10s 'worker-*' || bulkhead status\n",
     verb_act},
    {"kill", "MODULE...", 1, MANY, BIT(OPTION_SIGNAL) | BIT(OPTION_MAIN) | BIT(OPTION_TIMEOUT) | BIT(OPTION_VERBOSE),
     false, "send a signal to all processes of modules (root)",
     "Nothing is drained, and the policy may start them again: to stop a module use stop. With --main only the main\n"
     "process gets it, as a program wants that passes signals on itself.\n"
     "\n"
     "examples:\n"
     "  bulkhead kill --signal HUP web\n"
     "  bulkhead kill --main -s USR1 web\n"
     "  bulkhead kill -s KILL worker\n",
     verb_act},
    {"scale", "TEMPLATE N", 2, 2, BIT(OPTION_NO_BLOCK) | BIT(OPTION_TIMEOUT) | BIT(OPTION_VERBOSE), false,
     "run N instances of a module that has some",
     "TEMPLATE is a module with instances in its file, N from 0 to 1000. What is missing is started in order, with "
     "what\n"
     "it needs; of what is too much the highest numbers are stopped in phases, and then gone. Waits until all N are\n"
     "ready and no other is left. Refused when another module requires one that would go, or the host has no room. "
     "The\n"
     "file stays as it is: the daemon's next start has as many as it says.\n"
     "\n"
     "examples:\n"
     "  bulkhead scale worker 20\n"
     "  bulkhead scale --no-block worker 1\n",
     verb_scale},
    {"logs", "MODULE...", 1, MANY,
     BIT(OPTION_FOLLOW) | BIT(OPTION_LINES) | BIT(OPTION_SINCE) | BIT(OPTION_UNTIL) | BIT(OPTION_STDERR) |
         BIT(OPTION_JSON) | BIT(OPTION_TIMEOUT),
     false, "what modules have written",
     "Log files with what was rotated of them, and what is in the journal, with its time. Of several modules each "
     "line\n"
     "has its module before it. Control bytes are escaped on a terminal. With -f the last 10 lines, then what is new,\n"
     "until interrupted. Lines of a file carry no time: --since and --until show a second more rather than less. Of\n"
     "standard error (--stderr) there is its own file or, in the journal, what is of priority err and worse.\n"
     "\n"
     "examples:\n"
     "  bulkhead logs web\n"
     "  bulkhead logs -n 100 web\n"
     "  bulkhead logs -f web 'worker@*'\n"
     "  bulkhead logs --since 15m web\n"
     "  bulkhead logs --json --since today web | jq -r .text\n",
     verb_logs},
    {"events", "", 0, 0, BIT(OPTION_FOLLOW) | BIT(OPTION_LINES) | BIT(OPTION_JSON) | BIT(OPTION_TIMEOUT), true,
     "what has happened to the modules",
     "One line an event, oldest first; with --json one object a line. With -f the last 10, then what is new, until "
     "the\n"
     "daemon ends.\n"
     "\n"
     "examples:\n"
     "  bulkhead events -n 20\n"
     "  bulkhead events -f\n"
     "  bulkhead events --json | jq -c 'select(.event == \"exited\")'\n",
     verb_events},
    {"check", "[DIR]", 0, 1, BIT(OPTION_JSON) | BIT(OPTION_CONFIG) | BIT(OPTION_HOST), false,
     "find every error of a configuration, or what the host lacks",
     "Of DIR, or /etc/bulkhead; needs no daemon. Prints nothing and exits 0 when all is well; else each error with its "
     "file and line, and exit\n"
     "status 78.\n"
     "\n"
     "With --host: each feature of the kernel and the host that bulkheadd uses, tried, with what its absence costs "
     "and\n"
     "what would help. Exit status 0 when all is there that a daemon needs, else 1. What only root can try is said to "
     "be\n"
     "unknown to others.\n"
     "\n"
     "examples:\n"
     "  bulkhead check\n"
     "  bulkhead check ./policy\n"
     "  bulkhead check --json ./policy | jq -r '.[].message'\n"
     "  bulkhead check --host\n"
     "  bulkhead check --host --json | jq -r '.[] | select(.here != true) | .feature'\n",
     verb_check},
    {"config", "[MODULE...]", 0, MANY, BIT(OPTION_JSON) | BIT(OPTION_CONFIG) | BIT(OPTION_ALL) | BIT(OPTION_EXPANDED),
     true, "what the files say of a module, merged, and which of them says it",
     "As ini that could stand in place of the files it is made of: above each value is where it comes from, which\n"
     "is [defaults], an included file, the module's own or a drop-in. With --all also the values that were\n"
     "overridden, and the defaults that hold. With --expanded it shows what a module, or each instance, is given\n"
     "instead of what is written. Without a MODULE: what bulkhead.ini says, and which files speak of which module.\n"
     "Needs no daemon. What is wrong with the files is said too, with exit status 78. Globs work ('w*').\n"
     "\n"
     "examples:\n"
     "  bulkhead config\n"
     "  bulkhead config web\n"
     "  bulkhead config --expanded worker@2\n"
     "  bulkhead config --all --config ./policy 'w*'\n"
     "  bulkhead config --json web | jq -r '.[] | [.key, .value, .origin] | @tsv'\n",
     verb_config},
    {"cat", "MODULE...", 1, MANY, BIT(OPTION_CONFIG), true, "the files that speak of a module, as they are",
     "Included files first, then the module's own, then its drop-ins: of two that give a value the later one wins.\n"
     "Needs no daemon. What is wrong with the files is said too, with exit status 78. Globs work ('w*').\n"
     "\n"
     "examples:\n"
     "  bulkhead cat web\n"
     "  bulkhead cat --config ./policy 'w*'\n",
     verb_cat},
    {"plan", "[DIR]", 0, 1, BIT(OPTION_JSON) | BIT(OPTION_TIMEOUT) | BIT(OPTION_CONFIG), true,
     "what would start in which order, with restart and drain times",
     "Of the configuration in DIR, which needs no daemon; without one, of the daemon.\n"
     "\n"
     "examples:\n"
     "  bulkhead plan\n"
     "  bulkhead plan /etc/bulkhead\n",
     verb_plan},
    {"graph", "[DIR]", 0, 1, BIT(OPTION_SVG) | BIT(OPTION_TIMEOUT) | BIT(OPTION_CONFIG), false,
     "the dependencies as a drawing",
     "In the DOT language; with --svg drawn by graphviz. Of the configuration in DIR, which needs no daemon; without\n"
     "one, of the daemon.\n"
     "\n"
     "examples:\n"
     "  bulkhead graph\n"
     "  bulkhead graph --svg modules.svg /etc/bulkhead\n",
     verb_graph},
    {"explain", "MODULE...", 1, MANY, BIT(OPTION_JSON) | BIT(OPTION_TIMEOUT), true, "why a module is in its state",
     "Its phase and what it waits for, its last exit and who or what caused it, and after a denied syscall the line "
     "of\n"
     "policy that would allow it.\n"
     "\n"
     "examples:\n"
     "  bulkhead explain worker\n"
     "  bulkhead explain --json worker | jq .suggestion\n",
     verb_explain},
    {"init", "[MODULE] -- PROGRAM [ARGUMENT...]", 1, MANY,
     BIT(OPTION_USER) | BIT(OPTION_OUTPUT) | BIT(OPTION_STDOUT) | BIT(OPTION_FORCE) | BIT(OPTION_CONFIG), false,
     "write a commented module file for a command line",
     "Asks nothing and needs no daemon. The program is looked for as the shell would; the name is the program's or "
     "the\n"
     "script's, unless a MODULE is given. User, readiness, directories, how it ends and the profile are guessed, "
     "better\n"
     "for programs that it knows (nginx, redis-server, postgres, mosquitto, haproxy, php-fpm, gunicorn, uvicorn, "
     "node,\n"
     "python3), and each guess says why. What would send the program to the background is changed, and told of. The\n"
     "file passes `bulkhead check` before it is written; one that is there already stays, unless --force is given.\n"
     "\n"
     "examples:\n"
     "  bulkhead init -- nginx -g 'daemon off;'\n"
     "  bulkhead init web --user www-data -- python3 -m http.server 8080\n"
     "  bulkhead init --stdout -- redis-server /etc/redis/redis.conf\n",
     verb_init},
    {"calendar", "EXPRESSION...", 1, MANY, BIT(OPTION_JSON) | BIT(OPTION_LINES) | BIT(OPTION_BASE_TIME), true,
     "what calendar expressions mean, and when they come next",
     "As in on_calendar of a module's [timer] and in systemd timers; bulkhead.ini(5) has the syntax. Prints each in "
     "its\n"
     "normal form and the next five times at which it comes, in the local time zone. Needs no daemon. Exit status 1\n"
     "when one is wrong.\n"
     "\n"
     "examples:\n"
     "  bulkhead calendar 'Mon..Fri 8:00'\n"
     "  bulkhead calendar -n 20 hourly '*-*~1 23:00 Europe/Berlin'\n"
     "  bulkhead calendar --base-time '2027-03-27 12:00' '02:30 Europe/Berlin'\n"
     "  bulkhead calendar --json daily | jq '.[].next_usec[0]'\n",
     verb_calendar},
    {"import", "FILE|DIR...", 1, MANY, BIT(OPTION_OUTPUT) | BIT(OPTION_FORCE) | BIT(OPTION_CONFIG) | BIT(OPTION_JSON),
     false, "make module files of what another supervisor was told",
     "Of systemd's NAME.service, with its drop-ins, its timer and the socket it asks for (or the name alone: it is "
     "looked\n"
     "for where systemd does); of the [program:x] in a supervisord.conf and what it includes; of service directories "
     "of\n"
     "runit, s6 and s6-rc. The files are printed, or written with --output. What was changed or is not carried over "
     "is\n"
     "told line by line on standard error, with what to do instead, and stands as a comment in the file. What others\n"
     "wait for is kept if it is imported in the same call or exists in the configuration (--config). With --json the\n"
     "account of all lines is printed instead of the files.\n"
     "\n"
     "examples:\n"
     "  bulkhead import nginx.service\n"
     "  bulkhead import --output /etc/bulkhead/modules.d postgresql@15-main.service redis-server.service\n"
     "  bulkhead import --json /etc/supervisor/supervisord.conf | jq -r '.[] | select(.status == \"dropped\") | .why'\n"
     "  bulkhead import /etc/sv/web >web.ini\n",
     verb_import},
    {"shutdown", "", 0, 0, BIT(OPTION_NO_BLOCK) | BIT(OPTION_TIMEOUT) | BIT(OPTION_VERBOSE), false,
     "stop all modules in order, then the daemon (root)",
     "Dependents before what they depend on, each in phases. Waits until the daemon has ended.\n"
     "\n"
     "examples:\n"
     "  bulkhead shutdown\n"
     "  bulkhead shutdown --instance test --timeout 1m\n",
     verb_shutdown},
    {"purge", "", 0, 0, BIT(OPTION_CONFIG), false, "remove all that a dead daemon left (root)",
     "Its modules are taken down in phases, by the policies of the configuration; then its cgroups, pins and runtime\n"
     "files go. State and logs stay. While a daemon of the instance lives it is refused: shutdown ends that one. The\n"
     "next start of the daemon does the same by itself.\n"
     "\n"
     "examples:\n"
     "  bulkhead purge\n"
     "  bulkhead purge --instance test --config ./test-policy\n",
     verb_purge},
};

const size_t verbs_n = ELEMENTS(verbs);

const Verb *verb_by_name(const char *name)
{
    for (size_t i = 0; i < verbs_n; i++)
        if (strcmp(name, verbs[i].name) == 0)
            return &verbs[i];
    return NULL;
}

bool verb_takes(const Verb *v, OptionId id)
{
    const uint64_t everywhere = OPTION_BIT(OPTION_INSTANCE) | OPTION_BIT(OPTION_NO_PAGER) | OPTION_BIT(OPTION_HELP) |
                                OPTION_BIT(OPTION_VERSION);
    return ((everywhere | v->options) & OPTION_BIT(id)) != 0;
}

OptionId option_by_letter(char letter, const Verb *v)
{
    OptionId found = OPTION_N;
    for (OptionId id = 0; letter && id < OPTION_N; id++)
        if (options[id].letter == letter && (found == OPTION_N || (v && !verb_takes(v, found) && verb_takes(v, id))))
            found = id;
    return found;
}

bool verb_takes_command(const Verb *v)
{
    return strstr(v->words, "-- ") != NULL;
}

static void add_option(StrBuf *b, OptionId id)
{
    const Option *o = &options[id];
    StrBuf left = STRBUF_NULL;
    if (o->letter)
        strbuf_addf(&left, "-%c, ", o->letter);
    else
        strbuf_adds(&left, "    ");
    strbuf_addf(&left, "--%s%s%s", o->name, o->argument ? " " : "", o->argument ? o->argument : "");
    strbuf_addf(b, "  %-22s %s\n", left.s, o->doc);
    strbuf_done(&left);
}

char *help_text(void)
{
    StrBuf b = STRBUF_NULL;
    strbuf_adds(
        &b, "bulkhead: look at and steer the modules of bulkheadd\n\nusage: bulkhead [OPTION...] VERB [WORD...]\n\n");
    for (size_t i = 0; i < verbs_n; i++) {
        _cleanup_(freep) char *left = xasprintf("%s %s", verbs[i].name, verbs[i].words);
        strbuf_addf(&b, "  %-20s %s\n", left, verbs[i].summary);
    }
    strbuf_adds(&b, "\noptions, before or after the verb:\n");
    for (size_t i = 0; i < OPTION_N; i++)
        add_option(&b, (OptionId)i);
    strbuf_adds(&b, "\n"
                    "Exit status: 0 done, 1 failed, 2 usage, 3 no daemon or no such module, 4 timed out, 78 bad\n"
                    "configuration.\n"
                    "\n"
                    "examples:\n"
                    "  bulkhead status                 all modules at a glance\n"
                    "  bulkhead restart web            drain, stop, start, and wait until it is ready\n"
                    "  bulkhead explain worker         why it is down, and what would mend it\n"
                    "  bulkhead VERB --help            more about a verb\n");
    return strbuf_take(&b);
}

char *help_verb_text(const Verb *v)
{
    StrBuf b = STRBUF_NULL;
    strbuf_addf(&b, "bulkhead %s: %s\n\nusage: bulkhead %s [OPTION...]%s%s\n\n", v->name, v->summary, v->name,
                *v->words ? " " : "", v->words);
    const char *examples = strstr(v->help, "examples:");
    strbuf_add(&b, v->help, examples ? (size_t)(examples - v->help) : strlen(v->help));
    strbuf_adds(&b, "options:\n");
    for (size_t i = 0; i < OPTION_N; i++)
        if (verb_takes(v, (OptionId)i))
            add_option(&b, (OptionId)i);
    if (examples)
        strbuf_addf(&b, "\n%s", examples);
    return strbuf_take(&b);
}
