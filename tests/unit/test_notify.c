/* The notify parser: what a stranger may write, and what is taken from it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/str.h"
#include "supervisor/run/notify.h"

static NotifyMessage parse(const char *text, size_t n)
{
    /* In a buffer of exactly its size, so that a sanitizer sees every byte read too far. */
    char *copy = new0_array(char, n);
    memcpy(copy, text, n);
    NotifyMessage m;
    notify_parse(copy, n, &m);
    free(copy);
    return m;
}

#define PARSE(s) parse(s, sizeof(s) - 1)

static void test_ready(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ready;
    } cases[] = {
        {"READY=1", true},  {"READY=1\n", true}, {"\nREADY=1\n\n", true}, {"STATUS=x\nREADY=1", true},
        {"READY=0", false}, {"READY=10", false}, {"READY=", false},       {"READY", false},
        {"ready=1", false}, {" READY=1", false}, {"XREADY=1", false},     {"READY=1 ", false},
        {"", false},        {"\n", false},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        NotifyMessage m = parse(cases[i].text, strlen(cases[i].text));
        assert_int_equal(m.ready, cases[i].ready);
        free(m.status);
    }
}

static void test_reloading(void **state)
{
    (void)state;
    NotifyMessage m = PARSE("RELOADING=1\nMONOTONIC_USEC=1234567890123\nSTATUS=reading");
    assert_true(m.reloading && !m.ready);
    assert_true(m.monotonic_usec == 1234567890123);
    assert_string_equal(m.status, "reading");
    free(m.status);
    assert_true(PARSE("RELOADING=1").reloading && PARSE("RELOADING=1").monotonic_usec == 0);
    static const char *const no[] = {"RELOADING=0", "RELOADING=", "RELOADING=10", "reloading=1", "XRELOADING=1"};
    for (size_t i = 0; i < ELEMENTS(no); i++)
        assert_false(parse(no[i], strlen(no[i])).reloading);
    assert_true(PARSE("MONOTONIC_USEC=18446744073709551615").monotonic_usec == UINT64_MAX);
    static const char *const none[] = {"MONOTONIC_USEC=", "MONOTONIC_USEC=-1", "MONOTONIC_USEC=1s",
                                       "MONOTONIC_USEC=18446744073709551616",
                                       "MONOTONIC_USEC=99999999999999999999999999999999999999"};
    for (size_t i = 0; i < ELEMENTS(none); i++)
        assert_true(parse(none[i], strlen(none[i])).monotonic_usec == 0);
}

static void test_main_pid(void **state)
{
    (void)state;
    assert_int_equal(PARSE("MAINPID=4711").main_pid, 4711);
    assert_int_equal(PARSE("MAINPID=1").main_pid, 0); /* nobody's module is PID 1 */
    assert_int_equal(PARSE("MAINPID=0").main_pid, 0);
    assert_int_equal(PARSE("MAINPID=-5").main_pid, 0);
    assert_int_equal(PARSE("MAINPID=").main_pid, 0);
    assert_int_equal(PARSE("MAINPID=12x").main_pid, 0);
    assert_int_equal(PARSE("MAINPID=2147483647").main_pid, 2147483647);
    assert_int_equal(PARSE("MAINPID=2147483648").main_pid, 0);
    assert_int_equal(PARSE("MAINPID=99999999999999999999999999999999").main_pid, 0);
    assert_int_equal(PARSE("MAINPID=7\nMAINPID=8").main_pid, 8);
}

static void test_status_is_escaped_and_bounded(void **state)
{
    (void)state;
    NotifyMessage m = PARSE("STATUS=loading \033[31mred\033[0m \x01");
    assert_string_equal(m.status, "loading \\x1b[31mred\\x1b[0m \\x01");
    free(m.status);
    m = PARSE("STATUS=");
    assert_string_equal(m.status, "");
    free(m.status);
    m = PARSE("STATUS=first\nSTATUS=second");
    assert_string_equal(m.status, "second");
    free(m.status);
    char big[NOTIFY_DATAGRAM_MAX];
    memset(big, 'a', sizeof big);
    static const char prefix[] = "STATUS=";
    memcpy(big, prefix, sizeof prefix - 1);
    m = parse(big, sizeof big);
    assert_int_equal(strlen(m.status), 256);
    free(m.status);
    m = PARSE("STATUS=nul\0inside");
    assert_string_equal(m.status, "nul\\x00inside");
    free(m.status);
}

static void test_barrier(void **state)
{
    (void)state;
    assert_true(PARSE("BARRIER=1").barrier);
    assert_false(PARSE("BARRIER=0").barrier);
    assert_false(PARSE("FDSTORE=1").barrier);
}

static void test_random_bytes(void **state)
{
    (void)state;
    unsigned seed = 7;
    for (int round = 0; round < 20000; round++) {
        char text[64];
        size_t n = (size_t)(rand_r(&seed) % (int)sizeof text);
        static const char alphabet[] = "READY=1\nSTATUS=MAINPID=23\\\0\xff\xc3\xa9";
        for (size_t i = 0; i < n; i++)
            text[i] = alphabet[(size_t)rand_r(&seed) % (sizeof alphabet - 1)];
        NotifyMessage m = parse(text, n);
        assert_true(m.main_pid >= 0);
        free(m.status);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready),    cmocka_unit_test(test_reloading),
        cmocka_unit_test(test_main_pid), cmocka_unit_test(test_status_is_escaped_and_bounded),
        cmocka_unit_test(test_barrier),  cmocka_unit_test(test_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
