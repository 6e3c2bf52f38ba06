/* The command line of `bulkheadd`: every row of its table is parsed into its field and shown by --help. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/str.h"
#include "supervisor/options.h"

/* Parses "bulkheadd WORDS…" with standard error away: what is wrong is for people. */
static int parse(const char *first, const char *second, DaemonOptions *ret)
{
    char *argv[] = {(char *)"bulkheadd", (char *)first, (char *)second, NULL};
    fflush(stderr);
    _cleanup_fd_ int kept = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    assert_true(kept >= 0 && null >= 0 && dup2(null, STDERR_FILENO) >= 0);
    optind = 0; /* starts over */
    int r = daemon_options_parse(!first ? 1 : !second ? 2 : 3, argv, ret);
    fflush(stderr);
    assert_true(dup2(kept, STDERR_FILENO) >= 0);
    return r;
}

static void test_defaults(void **state)
{
    (void)state;
    DaemonOptions o;
    assert_int_equal(parse(NULL, NULL, &o), 0);
    assert_string_equal(o.host.instance, "default");
    assert_string_equal(o.host.config_dir, "/etc/bulkhead");
    assert_false(o.version || o.help);
}

static void test_every_row_is_parsed(void **state)
{
    (void)state;
    for (size_t i = 0; i < daemon_options_n; i++) {
        const DaemonOption *row = &daemon_options[i];
        _cleanup_(freep) char *word = xasprintf("--%s", row->name), *stuck = xasprintf("--%s=value", row->name);
        DaemonOptions o;
        assert_int_equal(parse(word, row->argument ? "value" : NULL, &o), 0);
        const void *field = (const char *)&o + row->offset;
        if (row->argument) {
            assert_string_equal(*(const char *const *)field, "value");
            assert_int_equal(parse(stuck, NULL, &o), 0);
            assert_int_equal(parse(word, NULL, &o), -EINVAL);
        } else {
            assert_true(*(const bool *)field);
            assert_int_equal(parse(stuck, NULL, &o), -EINVAL);
        }
        for (size_t k = i + 1; k < daemon_options_n; k++) {
            assert_string_not_equal(row->name, daemon_options[k].name);
            assert_int_not_equal(row->offset, daemon_options[k].offset);
        }
    }
}

static void test_mistakes(void **state)
{
    (void)state;
    DaemonOptions o = {.help = true};
    assert_int_equal(parse("--nonsense", NULL, &o), -EINVAL);
    assert_int_equal(parse("-z", NULL, &o), -EINVAL);
    assert_int_equal(parse("word", NULL, &o), -EINVAL);
    assert_int_equal(parse("--instance", "../etc", &o), -EINVAL);
    assert_int_equal(parse("--instance", "", &o), -EINVAL);
    assert_true(o.help); /* untouched */
}

static void test_help(void **state)
{
    (void)state;
    _cleanup_(freep) char *text = daemon_help_text();
    for (size_t i = 0; i < daemon_options_n; i++) {
        const DaemonOption *row = &daemon_options[i];
        _cleanup_(freep) char *name = xasprintf("  --%s ", row->name);
        assert_int_equal(strstr(text, name) != NULL, row->doc != NULL);
        assert_true(!row->doc || strstr(text, row->doc));
    }
    for (const char *p = text; *p; p += strcspn(p, "\n") + 1)
        assert_in_range(strcspn(p, "\n"), 0, 120);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_row_is_parsed),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
