/* Hooks and conditions: how commands are parted, which may fail, what is expanded, and what is refused. */
#include "tests/unit/value_take.h"

/* A hook as "a|b ; -c": words by |, commands by " ; ", '-' where it may fail, @ for the main process's pid. */
static char *hook_text(const Commands *c)
{
    StrBuf b = STRBUF_NULL;
    strbuf_adds(&b, "");
    for (size_t i = 0; i < c->n; i++) {
        _cleanup_(freep) char *joined = strv_join(c->items[i].argv, "|");
        strbuf_addf(&b, "%s%s%s", i > 0 ? " ; " : "", c->items[i].may_fail ? "-" : "", joined);
    }
    for (size_t i = 0; i < b.len; i++)
        if (b.s[i] == COMMAND_MAIN_PID[0])
            b.s[i] = '@';
    return strbuf_take(&b);
}

static void test_hooks(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *seen;
    } cases[] = {
        {"module.exec_start_pre", "/a", "/a"},
        {"module.exec_start_pre", "/a b ; /c", "/a|b ; /c"},
        {"module.exec_start_pre", "-/a ; -/b -c", "-/a ; -/b|-c"},
        {"module.exec_start_pre", "/a\t;\t/b", "/a ; /b"},
        {"module.exec_start_pre", "'-/a b' ; \"/c d\"", "-/a b ; /c d"},
        {"module.exec_start_pre", "/a \\; ';' \";\" b; ;c ;; x;y", "/a|;|;|;|b;|;c|;;|x;y"}, /* alone is alone */
        {"module.exec_start_pre", "/bin/${PORT} '${SPACED}' %n ${EMPTY} ; /${PORT}", "/bin/80|a b|web| ; /80"},
        {"module.exec_start_pre", "/a -b ; /c", "/a|-b ; /c"},
        {"module.exec_start_pre", "/a $${MAINPID}", "/a|${MAINPID}"},
        {"module.exec_start_pre", "/a ${MAINPID}", NULL}, /* there is none yet */
        {"module.exec_start_post", "/a ; -/b", "/a ; -/b"},
        {"module.exec_stop_post", "/a ; -/b", "/a ; -/b"},
        {"module.exec_stop_post", "/a ${MAINPID}", NULL},
        {"module.exec_reload", "/bin/kill -HUP ${MAINPID}", "/bin/kill|-HUP|@"},
        {"module.exec_reload", "/a ; /b x${MAINPID}y${MAINPID} $${MAINPID} ${PORT}", "/a ; /b|x@y@|${MAINPID}|80"},
        {"module.exec_start_pre", ";", NULL},
        {"module.exec_start_pre", "; /a", NULL},
        {"module.exec_start_pre", "/a ;", NULL},
        {"module.exec_start_pre", "/a ; ; /b", NULL},
        {"module.exec_start_pre", "/a ; b", NULL},
        {"module.exec_start_pre", "- /a", NULL},
        {"module.exec_start_pre", "--/a", NULL},
        {"module.exec_start_pre", "+/a", NULL},
        {"module.exec_start_pre", "@/a", NULL},
        {"module.exec_start_pre", "-", NULL},
        {"module.exec_start_pre", "''", NULL},
        {"module.exec_start_pre", "/a 'b", NULL},
        {"module.exec_start_pre", "/a ; /b ${NOPE}", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        ModulePolicy m;
        const Key *k = key_find_dotted(cases[i].key);
        if (take(cases[i].key, cases[i].value, &m) != (cases[i].seen != NULL))
            fail_msg("%s = %s", cases[i].key, cases[i].value);
        _cleanup_(freep) char *got = cases[i].seen ? hook_text((Commands *)((char *)&m + k->offset)) : NULL;
        if (cases[i].seen)
            assert_string_equal(got, cases[i].seen);
        value_done(k, &m);
        assert_int_equal(((Commands *)((char *)&m + k->offset))->n, 0);
    }
    REFUSE("module.exec_start_pre_timeout", "0", "5", "x");
    REFUSE("module.exec_start_post_timeout", "0", "5", "x");
    REFUSE("module.exec_stop_post_timeout", "0", "5", "x");
    REFUSE("module.exec_reload_timeout", "0", "5", "x");
    REFUSE("module.reload_signal", "0", "65", "NOPE", "hup");
}

static void test_conditions(void **state)
{
    (void)state;
    ModulePolicy m;
    assert_true(take("module.condition_path_exists", "/a, !/b/%n, \"/c, d\", /${PORT}", &m));
    _cleanup_(freep) char *joined = strv_join(m.condition_path_exists, "|");
    assert_string_equal(joined, "/a|!/b/web|/c, d|/80");
    value_done(key_find_dotted("module.condition_path_exists"), &m);
    assert_null(m.condition_path_exists);
    REFUSE("module.condition_path_exists", "a", "!a", "!", "!!/a", "! /a", "/a,", "/a, b", "/${NOPE}", "/%x", "''");
}

static int set_up(void **state)
{
    (void)state;
    nss = nss_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    nss = nss_free(nss);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hooks),
        cmocka_unit_test(test_conditions),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
