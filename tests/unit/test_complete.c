/* Completion: what is asked for at the end of any command line, and that every row of the tables is reached. What the
 * shells make of it, and the names of a real daemon, are in tests/integration/test_completion.py. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/str.h"
#include "tools/complete.h"

enum { WORDS_MAX = 16 };

/* Of "WORDS…", split at blanks in `line`, which the result borrows from; a blank at the end begins an empty word. */
static void find(char *line, Completion *ret)
{
    char *words[WORDS_MAX];
    size_t n = 0;
    for (char *w; (w = strsep(&line, " ")) && n < WORDS_MAX;)
        words[n++] = w;
    completion_find(words, n, NULL, ret);
}

static void test_what_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        CompleteWhat what;
        const char *verb, *instance;
        size_t keep;
    } cases[] = {
        {"", COMPLETE_VERBS, NULL, "default", 0},
        {"st", COMPLETE_VERBS, NULL, "default", 0},
        {"status ", COMPLETE_MODULES, "status", "default", 0},
        {"status web d", COMPLETE_MODULES, "status", "default", 0},
        {"logs web ", COMPLETE_MODULES, "logs", "default", 0},
        {"logs --since ", COMPLETE_NOTHING, "logs", "default", 0},
        {"logs -n 5 ", COMPLETE_MODULES, "logs", "default", 0},
        {"logs -n ", COMPLETE_NOTHING, "logs", "default", 0},
        {"logs -fn 5 ", COMPLETE_MODULES, "logs", "default", 0},
        {"events ", COMPLETE_NOTHING, "events", "default", 0},
        {"check ", COMPLETE_DIRECTORIES, "check", "default", 0},
        {"check --config ", COMPLETE_DIRECTORIES, "check", "default", 0},
        {"graph --svg ", COMPLETE_FILES, "graph", "default", 0},
        {"graph --svg=", COMPLETE_FILES, "graph", "default", 6},
        {"kill -s ", COMPLETE_SIGNALS, "kill", "default", 0},
        {"kill -sH", COMPLETE_SIGNALS, "kill", "default", 2},
        {"kill --signal=H", COMPLETE_SIGNALS, "kill", "default", 9},
        {"kill --signal =", COMPLETE_SIGNALS, "kill", "default", 0}, /* bash's three words */
        {"kill --signal = H", COMPLETE_SIGNALS, "kill", "default", 0},
        {"kill --signal = HUP ", COMPLETE_MODULES, "kill", "default", 0},
        {"top -n 3 ", COMPLETE_MODULES, "top", "default", 0},
        {"top --sort ", COMPLETE_COLUMNS, "top", "default", 0},
        {"top --sort=c", COMPLETE_COLUMNS, "top", "default", 7},
        {"stop -", COMPLETE_OPTIONS, "stop", "default", 0},
        {"stop --", COMPLETE_OPTIONS, "stop", "default", 0},
        {"--", COMPLETE_OPTIONS, NULL, "default", 0},
        {"stop -- ", COMPLETE_MODULES, "stop", "default", 0},
        {"stop -- --", COMPLETE_MODULES, "stop", "default", 0},
        {"stop -v", COMPLETE_NOTHING, "stop", "default", 0},
        {"calendar ", COMPLETE_NOTHING, "calendar", "default", 0},
        {"calendar --base-time ", COMPLETE_NOTHING, "calendar", "default", 0},
        {"init ", COMPLETE_NOTHING, "init", "default", 0},
        {"init web --", COMPLETE_OPTIONS, "init", "default", 0},
        {"init -u ", COMPLETE_NOTHING, "init", "default", 0},
        {"init --output ", COMPLETE_DIRECTORIES, "init", "default", 0},
        {"init web -- ", COMPLETE_FILES, "init", "default", 0},
        {"init -- nginx -", COMPLETE_FILES, "init", "default", 0},
        {"--instance ", COMPLETE_INSTANCES, NULL, "default", 0},
        {"--instance=", COMPLETE_INSTANCES, NULL, "default", 11},
        {"--instance a status ", COMPLETE_MODULES, "status", "a", 0},
        {"--instance=a status ", COMPLETE_MODULES, "status", "a", 0},
        {"--instance = a status ", COMPLETE_MODULES, "status", "a", 0},
        {"-i a status ", COMPLETE_MODULES, "status", "a", 0},
        {"-ia status ", COMPLETE_MODULES, "status", "a", 0},
        {"status -vi a ", COMPLETE_MODULES, "status", "a", 0},
        {"status -i a --", COMPLETE_OPTIONS, "status", "a", 0},
        {"nonsense ", COMPLETE_NOTHING, NULL, "default", 0},
        {"nonsense --", COMPLETE_OPTIONS, NULL, "default", 0},
        {"status --nonsense=", COMPLETE_OPTIONS, "status", "default", 0}, /* of which none fits */
        {"status --nonsense ", COMPLETE_MODULES, "status", "default", 0},
        {"status -z ", COMPLETE_MODULES, "status", "default", 0},
        {"status --json=", COMPLETE_OPTIONS, "status", "default", 0},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(freep) char *line = xstrdup(cases[i].line);
        Completion c;
        find(line, &c);
        if (c.what != cases[i].what || c.keep != cases[i].keep ||
            !str_equal(c.verb ? c.verb->name : NULL, cases[i].verb))
            fail_msg("'%s': %d, keep %zu, verb %s", cases[i].line, (int)c.what, c.keep, c.verb ? c.verb->name : "none");
        assert_string_equal(c.instance, cases[i].instance);
        completion_done(&c);
    }
}

static void test_nothing_at_all(void **state)
{
    (void)state;
    Completion c;
    completion_find(NULL, 0, "env", &c);
    assert_int_equal(c.what, COMPLETE_VERBS);
    assert_string_equal(c.word, "");
    assert_string_equal(c.instance, "env");
    completion_done(&c);
}

static void test_what_was_given_is_known(void **state)
{
    (void)state;
    char line[] = "stop --cascade web -t 5s db --no";
    Completion c;
    find(line, &c);
    assert_int_equal(c.given, OPTION_BIT(OPTION_CASCADE) | OPTION_BIT(OPTION_TIMEOUT));
    assert_int_equal(strv_length(c.names), 2);
    assert_string_equal(c.names[0], "web");
    assert_string_equal(c.names[1], "db");
    completion_done(&c);
}

/* "[MODULE...]" to "MODULE". */
static char *capitals(const char *s)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    s += strcspn(s, letters);
    return xstrndup(s, strspn(s, letters));
}

/* A new row whose word nobody knows is noticed here. */
static void test_every_row_is_reached(void **state)
{
    (void)state;
    for (size_t i = 0; i < verbs_n; i++) {
        _cleanup_(freep) char *name = capitals(verbs[i].words), *line = xasprintf("%s ", verbs[i].name);
        CompleteWhat what = COMPLETE_NOTHING;
        if (*name && !complete_what(name, &what))
            fail_msg("complete.c does not know what the %s of %s is", name, verbs[i].name);
        if (verb_takes_command(&verbs[i])) /* a new name, or none */
            what = COMPLETE_NOTHING;
        Completion c;
        find(line, &c);
        assert_ptr_equal(c.verb, &verbs[i]);
        assert_int_equal(c.what, what);
        completion_done(&c);
    }
    for (size_t i = 0; i < OPTION_N; i++) {
        if (!options[i].argument)
            continue;
        _cleanup_(freep) char *line = xasprintf("--%s ", options[i].name), *stuck = xasprintf("--%s=", options[i].name);
        CompleteWhat what = COMPLETE_VERBS;
        if (!complete_what(options[i].argument, &what))
            fail_msg("complete.c does not know what the %s of --%s is", options[i].argument, options[i].name);
        Completion c;
        find(line, &c);
        assert_int_equal(c.what, what);
        completion_done(&c);
        find(stuck, &c);
        assert_int_equal(c.what, what);
        assert_int_equal(c.keep, strlen(options[i].name) + 3);
        completion_done(&c);
    }
}

static void test_harmless(void **state)
{
    (void)state;
    static const char *const bad[] = {"",     "a b",  "$(id)",  "a;b", "a\nb",     "a\tb", "`id`", "a'b",
                                      "a\"b", "a\\b", ":files", "a/b", "\033[2Jx", "a*",   "~",    "\303\244"};
    static const char *const good[] = {"web", "worker-1", "web@2", "--instance", "RTMIN+3", "a_b.c", "shop:"};
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_false(complete_is_harmless(bad[i]));
    for (size_t i = 0; i < ELEMENTS(good); i++)
        assert_true(complete_is_harmless(good[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_asked_for),
        cmocka_unit_test(test_nothing_at_all),
        cmocka_unit_test(test_what_was_given_is_known),
        cmocka_unit_test(test_every_row_is_reached),
        cmocka_unit_test(test_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
