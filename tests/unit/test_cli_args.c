/* The command line of `bulkhead`: every option before and after the verb, every way to get it wrong, and that help is
 * made of the tables. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/str.h"
#include "tools/tool.h"

enum { WORDS_MAX = 16 };

/* Parses "bulkhead WORDS…", split at blanks in `line`, which the result borrows from. */
static int parse(char *line, const char *instance, Args *ret, Error *e)
{
    char *argv[WORDS_MAX] = {(char *)"bulkhead"};
    int argc = 1;
    for (char *save = NULL, *w = strtok_r(line, " ", &save); w && argc < WORDS_MAX; w = strtok_r(NULL, " ", &save))
        argv[argc++] = w;
    *e = (Error){0};
    return args_parse(argc, argv, instance, ret, e);
}

static void test_defaults(void **state)
{
    (void)state;
    char line[] = "status";
    Args a;
    Error e;
    assert_int_equal(parse(line, NULL, &a, &e), 0);
    assert_string_equal(a.verb->name, "status");
    assert_string_equal(a.instance, "default");
    assert_null(a.config);
    assert_true(a.timeout == USEC_INFINITY && a.lines == UINT64_MAX && a.signal == 0 && a.n_words == 0);
    assert_false(a.json || a.no_pager || a.no_block || a.cascade || a.follow || a.verbose || a.help || a.version);
    args_done(&a);
}

static void test_options_before_and_after(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "--instance x --no-block --timeout 5s --cascade stop web db -v",
        "stop web --instance=x db --cascade --no-block -t5s --verbose",
        "-ix -vt 5s stop --cascade -- web db --no-block", /* the last is a word here */
        "-v stop -i x web db --timeout=5 --cascade --no-block",
    };
    for (size_t i = 0; i < ELEMENTS(lines); i++) {
        _cleanup_(freep) char *line = xstrdup(lines[i]);
        Args a;
        Error e;
        assert_int_equal(parse(line, "ignored", &a, &e), 0);
        assert_string_equal(a.verb->name, "stop");
        assert_string_equal(a.instance, "x");
        assert_true(a.timeout == 5 * USEC_PER_SEC && a.cascade && a.verbose);
        assert_int_equal(a.no_block, i != 2);
        assert_int_equal(a.n_words, i == 2 ? 3 : 2);
        assert_string_equal(a.words[0], "web");
        assert_string_equal(a.words[1], "db");
        args_done(&a);
    }
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        uint64_t timeout, lines;
        int signal;
    } good[] = {
        {"logs web -fn5", USEC_INFINITY, 5, 0},
        {"logs web -f -n 0", USEC_INFINITY, 0, 0},
        {"events --lines=20 --timeout 500ms", 500 * USEC_PER_MSEC, 20, 0},
        {"events --timeout infinity", USEC_INFINITY, UINT64_MAX, 0},
        {"kill -s HUP web", USEC_INFINITY, UINT64_MAX, SIGHUP},
        {"kill --signal=SIGUSR1 web", USEC_INFINITY, UINT64_MAX, SIGUSR1},
        {"kill -s9 web", USEC_INFINITY, UINT64_MAX, SIGKILL},
        {"top -bn5", USEC_INFINITY, 5, 0}, /* the letter of two options means the verb's */
        {"-n 6 top web", USEC_INFINITY, 6, 0},
        {"top --iterations 7", USEC_INFINITY, 7, 0},
    };
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        _cleanup_(freep) char *line = xstrdup(good[i].line);
        Args a;
        Error e;
        assert_int_equal(parse(line, NULL, &a, &e), 0);
        assert_true(a.timeout == good[i].timeout && a.lines == good[i].lines);
        assert_int_equal(a.signal, good[i].signal);
        args_done(&a);
    }
}

static void test_options_of_top(void **state)
{
    (void)state;
    char plain[] = "top", all[] = "top 'w*' --sort p99 --interval 2 --batch", days[] = "top -d 500ms";
    Args a;
    Error e;
    assert_int_equal(parse(plain, NULL, &a, &e), 0);
    assert_true(a.sort == TOP_CPU && a.interval == USEC_PER_SEC && a.lines == UINT64_MAX && !a.batch);
    args_done(&a);
    assert_int_equal(parse(all, NULL, &a, &e), 0);
    assert_true(a.sort == TOP_P99 && a.interval == 2 * USEC_PER_SEC && a.batch && a.n_words == 1);
    args_done(&a);
    assert_int_equal(parse(days, NULL, &a, &e), 0);
    assert_true(a.interval == USEC_PER_SEC / 2);
    args_done(&a);
}

static void test_environment(void **state)
{
    (void)state;
    char first[] = "status", second[] = "status", third[] = "status -i arg";
    Args a;
    Error e;
    assert_int_equal(parse(first, "env", &a, &e), 0);
    assert_string_equal(a.instance, "env");
    args_done(&a);
    assert_true(parse(second, "../etc", &a, &e) < 0);
    assert_string_equal(e.msg, "BULKHEAD_INSTANCE: '../etc' is no instance name (a to z, 0 to 9, - and _, at most 48)");
    assert_int_equal(parse(third, "", &a, &e), 0);
    assert_string_equal(a.instance, "arg");
    args_done(&a);
}

static void test_mistakes(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"", "no verb given"},
        {"--json", "no verb given"},
        {"statsu", "no verb 'statsu' (did you mean status?)"},
        {"xyzzy", "no verb 'xyzzy'"},
        {"status --jsno", "no option --jsno (did you mean --json?)"},
        {"status --qqqqqqqq", "no option --qqqqqqqq"},
        {"status -z", "no option -z"},
        {"status --json=yes", "--json takes no value"},
        {"status --svg f", "--svg does not go with status"},
        {"--svg f status", "--svg does not go with status"},
        {"start", "start needs a MODULE"},
        {"logs", "logs needs a MODULE"},
        {"logs --since soon web",
         "--since: 'soon' is no time (15m, '10 min ago', 12:00, '2026-11-20 12:00', yesterday, @EPOCH)"},
        {"events web", "unexpected word 'web'"},
        {"config web --host", "--host does not go with config"},
        {"cat", "cat needs a MODULE"},
        {"cat web --all", "--all does not go with cat"},
        {"check a --config b", "give the directory once, as a word or by --config"},
        {"check a --host", "--host is about no configuration: leave the directory out"},
        {"check --config a --host", "--host is about no configuration: leave the directory out"},
        {"plan --host", "--host does not go with plan"},
        {"status --instance", "--instance needs a NAME"},
        {"init", "init needs a program after --: bulkhead init -- nginx -g 'daemon off;'"},
        {"init nginx", "init needs a program after --: bulkhead init -- nginx -g 'daemon off;'"},
        {"init web --", "init needs a program after --: bulkhead init -- nginx -g 'daemon off;'"},
        {"init a b -- nginx", "unexpected word 'b' before -- (one name at most; the program stands after it)"},
        {"init nginx -g x",
         "no option -g; options of a program stand after --: bulkhead init -- nginx -g 'daemon off;'"},
        {"init nginx --bind x",
         "no option --bind; options of a program stand after --: bulkhead init -- nginx -g 'daemon off;'"},
        {"status --user x", "--user does not go with status"},
        {"status -i", "--instance needs a NAME"},
        {"status -i A", "'A' is no instance name (a to z, 0 to 9, - and _, at most 48)"},
        {"events -n x", "--lines: 'x' is no number"},
        {"events -n -1", "--lines: '-1' is no number"},
        {"top -n x", "--iterations: 'x' is no number"},
        {"top --lines 3", "--lines does not go with top"},
        {"--lines 3 top", "--lines does not go with top"},
        {"events --iterations 3", "--iterations does not go with events"},
        {"start -n 3 web", "--lines does not go with start"},
        {"top --interval 10ms", "--interval: from 100ms to 1d"},
        {"top --interval infinity", "--interval: from 100ms to 1d"},
        {"top --sort size",
         "--sort: 'size' is no column (name, state, cpu, memory, in-flight, rate, p50, p99, pressure, restarts)"},
    };
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        _cleanup_(freep) char *line = xstrdup(bad[i][0]);
        Args a;
        Error e;
        assert_true(parse(line, NULL, &a, &e) < 0);
        assert_string_equal(e.msg, bad[i][1]);
    }
    static const char *const prefixed[][2] = {
        {"status --timeout 5x", "--timeout: "}, {"status -t -5", "--timeout: "}, {"kill -s NOPE web", "--signal: "}};
    for (size_t i = 0; i < ELEMENTS(prefixed); i++) {
        _cleanup_(freep) char *line = xstrdup(prefixed[i][0]);
        Args a;
        Error e;
        assert_true(parse(line, NULL, &a, &e) < 0);
        assert_true(str_starts(e.msg, prefixed[i][1]));
    }
    char control[] = "\033[2J";
    Args a;
    Error e;
    assert_true(parse(control, NULL, &a, &e) < 0);
    assert_string_equal(e.msg, "no verb '\\x1b[2J'");
}

/* What stands after "--" is the program's, options and all. */
static void test_command_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        size_t named, words;
        const char *user;
    } good[] = {
        {"init -- nginx", 0, 1, NULL},
        {"init web -- nginx -g --user x -- y", 1, 7, NULL},
        {"init -u bob -- node --help", 0, 2, "bob"},
        {"init --user=bob --config /c web -- redis-server", 1, 2, "bob"},
    };
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        _cleanup_(freep) char *line = xstrdup(good[i].line);
        Args a;
        Error e;
        assert_int_equal(parse(line, NULL, &a, &e), 0);
        assert_int_equal(a.n_named, good[i].named);
        assert_int_equal(a.n_words, good[i].words);
        assert_true(str_equal(a.user, good[i].user));
        assert_false(a.help || a.force || a.to_stdout || a.output);
        args_done(&a);
    }
    char all[] = "init --stdout --force -o /d web -- x", plain[] = "stop -- web db";
    Args a;
    Error e;
    assert_int_equal(parse(all, NULL, &a, &e), 0);
    assert_true(a.to_stdout && a.force);
    assert_string_equal(a.output, "/d");
    args_done(&a);
    assert_int_equal(parse(plain, NULL, &a, &e), 0);
    assert_int_equal(a.n_named, 2);
    args_done(&a);
}

static void test_help(void **state)
{
    (void)state;
    char none[] = "--help", verb[] = "stop --help", version[] = "--version";
    Args a;
    Error e;
    assert_int_equal(parse(none, NULL, &a, &e), 0);
    assert_true(a.help && !a.verb);
    args_done(&a);
    assert_int_equal(parse(verb, NULL, &a, &e), 0); /* without the MODULE it needs else */
    assert_true(a.help);
    assert_string_equal(a.verb->name, "stop");
    args_done(&a);
    assert_int_equal(parse(version, NULL, &a, &e), 0);
    assert_true(a.version);
    args_done(&a);

    _cleanup_(freep) char *all = help_text();
    for (size_t i = 0; i < verbs_n; i++) {
        const Verb *v = &verbs[i];
        assert_non_null(strstr(all, v->summary));
        _cleanup_(freep) char *text = help_verb_text(v), *usage = xasprintf("usage: bulkhead %s", v->name),
                              *example = xasprintf("  bulkhead %s", v->name);
        assert_non_null(strstr(text, usage));
        assert_non_null(strstr(text, "examples:\n"));
        assert_non_null(strstr(text, example));
        for (size_t o = 0; o < OPTION_N; o++) {
            _cleanup_(freep) char *shown = xasprintf("--%s ", options[o].name);
            assert_int_equal(strstr(text, shown) != NULL, verb_takes(v, (OptionId)o));
        }
        assert_non_null(v->run);
    }
    /* A terminal of 120 columns holds every line. */
    for (const char *p = all; *p; p += strcspn(p, "\n") + 1)
        assert_in_range(strcspn(p, "\n"), 0, 120);
}

/* Names are each there once, and so are letters in any verb. */
static void test_tables(void **state)
{
    (void)state;
    for (size_t i = 0; i < OPTION_N; i++)
        for (size_t k = i + 1; k < OPTION_N; k++) {
            assert_string_not_equal(options[i].name, options[k].name);
            assert_int_equal(OPTION_BIT(i) & OPTION_BIT(k), 0);
            for (size_t v = 0; options[i].letter && options[i].letter == options[k].letter && v < verbs_n; v++)
                assert_false(verb_takes(&verbs[v], (OptionId)i) && verb_takes(&verbs[v], (OptionId)k));
        }
    for (size_t i = 0; i < verbs_n; i++)
        for (size_t k = i + 1; k < verbs_n; k++)
            assert_string_not_equal(verbs[i].name, verbs[k].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_options_before_and_after),
        cmocka_unit_test(test_values),      cmocka_unit_test(test_options_of_top),
        cmocka_unit_test(test_environment), cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_help),        cmocka_unit_test(test_command_lines),
        cmocka_unit_test(test_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
