/* The rule grammar: what each form means, the exact words about each mistake, and random text. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/str.h"
#include "policies/seccomp.h"
#include "tests/unit/seccomp_reference.h"

static void test_matches(void **state)
{
    (void)state;
    static const struct {
        const char *rule;
        uint64_t args[SECCOMP_ARGS];
        bool allows, denies;
    } cases[] = {
        {"lseek", {1, 2, 3}, true, true},
        {"lseek(*, *, *)", {1, 2, 3}, true, true},
        {" lseek ( * , 2 ) ", {1, 2, 3}, true, true},
        {"lseek(1)", {1}, true, true},
        {"lseek(1)", {2}, false, false},
        {"lseek(1)", {0x100000001}, false, true},
        {"lseek(1|2|0x10)", {16}, true, true},
        {"lseek(1|2|0x10)", {3}, false, false},
        {"lseek(0x100000001)", {0x100000001}, true, true},
        {"lseek(0x100000001)", {1}, false, false},
        {"lseek(*, 18446744073709551615)", {0, UINT64_MAX}, true, true},
        {"lseek(&6==2)", {3}, true, true},
        {"lseek(&6==2)", {6}, false, false},
        {"lseek(&2|4 == 2)", {0xfffffffb}, true, true},
        {"lseek(!2|4)", {9}, true, true},
        {"lseek(!2|4)", {12}, false, false},
        {"lseek(!0x100000000)", {0x100000000}, false, false},
        {"lseek(<=5)", {5}, true, true},
        {"lseek(<=5)", {6}, false, false},
        {"lseek(<=5)", {0x100000005}, false, true},
        {"lseek(>=5)", {5}, true, true},
        {"lseek(>=5)", {4}, false, false},
        {"lseek(>=5)", {0x100000004}, false, true},
        {"lseek(>=0x100000000)", {0x100000004}, true, true},
        {"lseek(*, *, *, *, *, 7)", {0, 0, 0, 0, 0, 7}, true, true},
    };
    int lseek_nr = seccomp_nr("lseek");
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(seccomp_rule_freep) SeccompRule *rule = NULL;
        Error e = {0};
        int r = seccomp_rule_parse(cases[i].rule, &rule, &e);
        if (r < 0 || reference_rule(rule, lseek_nr, cases[i].args, false) != cases[i].allows ||
            reference_rule(rule, lseek_nr, cases[i].args, true) != cases[i].denies)
            fail_msg("case %zu: %s: %s", i, cases[i].rule, error_message(&e));
    }
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int nr;
    } known[] = {{"read", 0},        {"clone3", 435},       {"set_mempolicy_home_node", 450},
                 {"uretprobe", 335}, {"file_setattr", 469}, {"mseal", 462}};
    for (size_t i = 0; i < ELEMENTS(known); i++) {
        assert_int_equal(seccomp_nr(known[i].name), known[i].nr);
        _cleanup_(freep) char *name = seccomp_syscall_name(known[i].nr);
        assert_string_equal(name, known[i].name);
    }
    assert_int_equal(seccomp_nr("socketcall"), SECCOMP_NR_ELSEWHERE);
    assert_int_equal(seccomp_nr("nope"), -ENOENT);
    _cleanup_(freep) char *unknown = seccomp_syscall_name(470), *negative = seccomp_syscall_name(-3);
    assert_string_equal(unknown, "syscall_470");
    assert_string_equal(negative, "syscall_-3");
    _cleanup_(seccomp_rule_freep) SeccompRule *number = NULL, *elsewhere = NULL;
    assert_int_equal(seccomp_rule_parse("#462(1)", &number, NULL), 0);
    assert_int_equal(number->nr, 462);
    assert_int_equal(seccomp_rule_parse("socketcall", &elsewhere, NULL), 0);
    assert_int_equal(elsewhere->nr, -1);
}

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *rule, *message;
    } cases[] = {
        {"", "an empty rule (a syscall's name, as in socket(AF_UNIX))"},
        {"moutn", "unknown syscall 'moutn' (did you mean 'mount'?)"},
        {"zzzzzzzzzzzz", "unknown syscall 'zzzzzzzzzzzz' (a newer one can be given by number, as in #462)"},
        {"a\x1b[31m", "unknown syscall 'a\\x1b[31m' (a newer one can be given by number, as in #462)"},
        {"#5000", "'#5000' is not a syscall number (#0 to #4095)"},
        {"#-1", "'#-1' is not a syscall number (#0 to #4095)"},
        {"read(1", "'read(' is not closed by ')' at its end"},
        {"read(1) ;", "'read(' is not closed by ')' at its end"},
        {"read( )", "'read()' names no argument (without brackets it means any)"},
        {"socket(AF_INTE)", "socket(AF_INTE): argument 0: unknown value 'AF_INTE' (did you mean 'AF_INET'?)"},
        {"read(1,,2)", "read(1,,2): argument 1: a value is missing (a number, 0xHEX, or a name such as AF_UNIX)"},
        {"read(1||2)", "read(1||2): argument 0: a value is missing (a number, 0xHEX, or a name such as AF_UNIX)"},
        {"read(-1)",
         "read(-1): argument 0: '-1' is negative, and comparisons are unsigned (0xffffffff for a 32-bit -1)"},
        {"read(12k)", "read(12k): argument 0: '12k' is not a number (decimal, or 0xHEX)"},
        {"read(0x)", "read(0x): argument 0: '0x' is not a number (decimal, or 0xHEX)"},
        {"read(18446744073709551616)",
         "read(18446744073709551616): argument 0: '18446744073709551616' is more than 64 bits hold"},
        {"read(0x10000000000000000)",
         "read(0x10000000000000000): argument 0: '0x10000000000000000' is more than 64 bits hold"},
        {"read(&3)", "read(&3): argument 0: a mask without '==' (&MASK==VALUE)"},
        {"read(&3==4)", "read(&3==4): argument 0: value 0x4 has bits outside the mask 0x3, so it can never be equal"},
        {"read(&0==0)", "read(&0==0): argument 0: a mask of 0 compares nothing (write * for any value)"},
        {"read(!0)", "read(!0): argument 0: a mask of 0 forbids nothing (write * for any value)"},
        {"read(<5)", "read(<5): argument 0: '<' is not a comparison (<=N or >=N)"},
        {"read(1,2,3,4,5,6,7)", "read(1,2,3,4,5,6,7): more than 6 arguments: no syscall has so many"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        Error e = {0};
        assert_int_equal(seccomp_rule_check(cases[i].rule, &e), -EINVAL);
        assert_string_equal(error_message(&e), cases[i].message);
    }
    _cleanup_strbuf_ StrBuf many = STRBUF_NULL;
    strbuf_adds(&many, "read(0");
    for (int i = 1; i <= SECCOMP_VALUES_MAX; i++)
        strbuf_addf(&many, "|%d", i);
    strbuf_addc(&many, ')');
    assert_int_equal(seccomp_rule_check(many.s, NULL), -EINVAL);
}

static void test_split(void **state)
{
    (void)state;
    _cleanup_strv_ char **rules = NULL;
    assert_int_equal(seccomp_rules_split(" read ,ioctl(*, FIONREAD), \twrite", &rules, NULL), 0);
    assert_int_equal(strv_length(rules), 3);
    assert_string_equal(rules[0], "read");
    assert_string_equal(rules[1], "ioctl(*, FIONREAD)");
    assert_string_equal(rules[2], "write");
    static const char *const wrong[] = {"", " ", ",", "a,", ",a", "a,,b", "a(", "a)", "a((b))", "a(b,c"};
    for (size_t i = 0; i < ELEMENTS(wrong); i++) {
        Error e = {0};
        char **none = NULL;
        assert_int_equal(seccomp_rules_split(wrong[i], &none, &e), -EINVAL);
        assert_null(none);
        assert_true(e.msg[0] != '\0');
    }
}

static uint64_t rnd(uint64_t below)
{
    static uint64_t seed = 88172645463325252;
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

/* Text made of what rules are made of, and now and then of anything: no crash, a message for each refusal without a
 * control byte in it, and what passes has sound conditions. */
static void test_random(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "read",    "socket",      "clone", "#",   "(", ")",          "(",
        ")",       ",",           "|",     "&",   "!", "==",         "<=",
        ">=",      "*",           " ",     "0x",  "1", "4294967296", "18446744073709551615",
        "AF_UNIX", "CLONE_NEWNS", "-",     "ffff"};
    unsigned accepted = 0;
    for (int i = 0; i < 20000; i++) {
        _cleanup_strbuf_ StrBuf text = STRBUF_NULL;
        strbuf_adds(&text, i % 2 ? "socket(" : "");
        for (uint64_t n = rnd(8); n > 0; n--) {
            if (rnd(20) == 0)
                strbuf_addc(&text, (char)(1 + rnd(255)));
            else
                strbuf_adds(&text, pieces[rnd(ELEMENTS(pieces))]);
        }
        strbuf_adds(&text, i % 2 ? ")" : "");
        Error e = {0};
        _cleanup_(seccomp_rule_freep) SeccompRule *rule = NULL;
        _cleanup_strv_ char **list = NULL;
        if (seccomp_rules_split(text.s, &list, &e) < 0)
            assert_true(e.msg[0] != '\0');
        e = (Error){0};
        if (seccomp_rule_parse(text.s, &rule, &e) < 0) {
            assert_null(rule);
            assert_true(e.msg[0] != '\0');
            for (const char *p = e.msg; *p; p++)
                assert_true((unsigned char)*p >= 0x20 && *p != 0x7f);
            continue;
        }
        accepted++;
        assert_true(rule->n_conds <= SECCOMP_ARGS);
        for (size_t c = 0; c < rule->n_conds; c++) {
            assert_true(rule->conds[c].arg < SECCOMP_ARGS);
            assert_in_range(rule->conds[c].n_values, 1, SECCOMP_VALUES_MAX);
        }
    }
    assert_true(accepted > 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matches), cmocka_unit_test(test_names),  cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_split),   cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
