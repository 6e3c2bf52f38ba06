/* `config --expanded`: references written out, in a form that means the same when it is read again. */
#include "tests/unit/config_dir.h"

#include "policies/keys.h"
#include "policies/resolve.h"
#include "policies/words.h"

static char *const environment[] = {"PORT=80",       "EMPTY=",      "SPACED=a b",  "QUOTES=it's \"x\" \\",
                                    "LIST=a, b ; c", "MORE=%n $$p", "ESC=\033[2J", "TAB=a\tb",
                                    "MAINPID=7",     NULL};

static void expect(const char *dotted, const char *module, const char *value, const char *expected)
{
    const Key *k = key_find_dotted(dotted);
    assert_non_null(k);
    const ValueContext x = {.module = module, .environment = environment};
    _cleanup_(freep) char *got = value_resolved(k, value, &x);
    assert_string_equal(got, expected);
}

static void test_kinds(void **state)
{
    (void)state;
    expect("module.exec", "web", "/bin/%n -p ${PORT}", "/bin/web -p 80");
    expect("module.exec", "web@3", "/bin/x %n %i 80%i", "/bin/x web@3 3 803");
    expect("module.exec_start_pre", "web", "/bin/x ${PORT} ; -/bin/y %n", "/bin/x 80 ; -/bin/y web");
    expect("module.working_dir", "web", "/srv/${SPACED}/%n", "/srv/a b/web");
    expect("module.environment", "web", "A=%n, \"B=%n, ${PORT}\"", "A=web, \"B=web, ${PORT}\"");
    expect("module.environment_file", "web", "-/etc/%n.env, %n.env", "-/etc/web.env, web.env");
    expect("module.state_directory", "web", "%n, ${PORT}", "web, 80");
    expect("module.ready", "web", "unix:/run/%n/${PORT}", "unix:/run/web/80");
    expect("module.ready", "web", "tcp:80", "tcp:80");
    expect("module.description", "web@2", "%n: 100% of %i and %%", "web@2: 100% of 2 and %%");
    expect("module.version", "web", "%n", "%n");
    expect("module.requires", "web", "db", "db");
    expect("limits.memory_max", "web", "64M", "64M");
}

/* What stands for something is one word, as it was, whatever is in it. */
static void test_quoting(void **state)
{
    (void)state;
    expect("module.exec", "web", "/x ${SPACED} '${SPACED}' \"${SPACED}\"", "/x a\\ b 'a b' \"a b\"");
    expect("module.exec", "web", "/x ${EMPTY} a${EMPTY}b '${EMPTY}'", "/x \"\" a\"\"b ''");
    expect("module.exec", "web", "/x ${QUOTES}", "/x it\\'s\\ \\\"x\\\"\\ \\\\");
    expect("module.exec", "web", "/x '${QUOTES}'", "/x 'it'\\''s \"x\" \\'");
    expect("module.exec", "web", "/x \"${QUOTES}\"", "/x \"it's \\\"x\\\" \\\\\"");
    expect("module.exec", "web", "/x ${LIST} ${TAB}", "/x a\\,\\ b\\ \\;\\ c a\\\tb");
    expect("module.state_directory", "web", "x, ${LIST}", "x, a\\,\\ b\\ \\;\\ c");
    expect("module.exec", "web", "/x ${MORE} %% $$", "/x %%n\\ $$$$p %% $$");
    expect("module.working_dir", "web", "/x ${MORE}", "/x %%n $$$$p");
}

/* Left as it is, so that it means what it meant. */
static void test_left_alone(void **state)
{
    (void)state;
    static const char *const same[] = {
        "/x ${NOPE} %n",     /* not set: there is nothing to say of the whole */
        "/x ${ESC}",         /* no value could hold it */
        "/x \\%%n",          /* the word is %%n */
        "/x %'%n'",          /* and here, too */
        "/x %'n' $'{PORT}'", /* cut by quotes */
        "/x %%n $${PORT}",   "/x \\$$n", "/x '", "/x \\",
    };
    for (size_t i = 0; i < ELEMENTS(same); i++)
        expect("module.exec", "web", same[i], same[i]);
    expect("module.exec", "web", "/x %i %n", "/x %i %n");
    expect("module.exec_start_post", "web", "/x ${MAINPID} ${PORT}", "/x ${MAINPID} 80");
    expect("module.exec", "web", "/x ${MAINPID}", "/x 7");
}

/* Of every short command of these pieces the words are what they were. */
static void test_every_way(void **state)
{
    (void)state;
    static const char *const pieces[] = {"%n", "${QUOTES}", "${MORE}", "'", "\"", "\\", "%", "$", "a", " ", ";", "n"};
    enum { N = ELEMENTS(pieces), LENGTH = 4 };
    const Key *k = key_find_dotted("module.exec");
    const ValueContext x = {.module = "web", .environment = environment};
    unsigned ways = 1, read = 0;
    for (unsigned i = 0; i < LENGTH; i++)
        ways *= N;
    for (unsigned way = 0; way < ways; way++) {
        StrBuf b = STRBUF_NULL;
        for (unsigned i = 0, rest = way; i < LENGTH; i++, rest /= N)
            strbuf_adds(&b, pieces[rest % N]);
        _cleanup_(freep) char *value = strbuf_take(&b), *resolved = value_resolved(k, value, &x);
        _cleanup_strv_ char **before = NULL, **after = NULL;
        if (words_split(value, WORDS_BLANKS, &before, NULL) < 0) {
            assert_string_equal(resolved, value);
            continue;
        }
        assert_int_equal(words_split(resolved, WORDS_BLANKS, &after, NULL), 0);
        assert_int_equal(strv_length(before), strv_length(after));
        for (size_t i = 0; before && before[i]; i++) {
            _cleanup_(freep) char *a = NULL, *c = NULL;
            int r = words_expand(before[i], "web", true, environment, &a, NULL);
            assert_int_equal(words_expand(after[i], "web", true, environment, &c, NULL), r);
            assert_true(str_equal(a, c));
            read += r == 0;
        }
    }
    assert_true(read > ways / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_left_alone),
        cmocka_unit_test(test_every_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
