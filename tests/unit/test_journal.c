/* The event ring and the small cores beside it: instance names, how an exit reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>

#include "base/str.h"
#include "policies/names.h"
#include "supervisor/watch/exits.h"
#include "supervisor/watch/journal.h"

static void add(Journal *j, uint64_t n, const char *module)
{
    (void)journal_add(j, n, module, n, "test", NULL, json_pack("{s:I}", "n", (json_int_t)n));
}

static json_int_t at(const json_t *array, size_t i)
{
    return json_integer_value(json_object_get(json_array_get(array, i), "time_usec"));
}

static void test_ring(void **state)
{
    (void)state;
    Journal *j = journal_new();
    json_t *a = journal_last(j, NULL, 10);
    assert_int_equal(json_array_size(a), 0);
    json_decref(a);
    for (uint64_t n = 1; n <= JOURNAL_SIZE + 100; n++)
        add(j, n, n % 2 ? "odd" : "even");
    a = journal_last(j, NULL, 3);
    assert_int_equal(json_array_size(a), 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(at(a, i), JOURNAL_SIZE + 98 + (json_int_t)i);
    json_decref(a);
    a = journal_last(j, "odd", 2);
    assert_int_equal(at(a, 0), JOURNAL_SIZE + 97);
    assert_int_equal(at(a, 1), JOURNAL_SIZE + 99);
    json_decref(a);
    a = journal_last(j, NULL, UINT64_MAX);
    assert_int_equal(json_array_size(a), JOURNAL_SIZE);
    assert_int_equal(at(a, 0), 101);
    json_decref(a);
    journal_free(j);
}

static void test_shape(void **state)
{
    (void)state;
    Journal *j = journal_new();
    assert_string_equal(
        journal_add(j, 5, NULL, 0, "started", NULL, NULL),
        "{\"time_usec\":5,\"module\":null,\"generation\":null,\"event\":\"started\",\"phase\":null,\"detail\":null}");
    assert_string_equal(
        journal_add(j, 6, "web@2", 2, "phase", "drain", json_pack("{s:i,s:s}", "in_flight", 3, "why", "a\"b")),
        "{\"time_usec\":6,\"module\":\"web@2\",\"generation\":2,\"event\":\"phase\",\"phase\":\"drain\","
        "\"detail\":{\"in_flight\":3,\"why\":\"a\\\"b\"}}");
    json_t *a = journal_last(j, "web@2", 1);
    const json_t *detail = json_object_get(json_array_get(a, 0), "detail");
    assert_string_equal(json_string_value(json_object_get(detail, "why")), "a\"b");
    json_decref(a);
    journal_free(j);
}

static void test_instance_names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "0", "default", "web-1_x",
                                       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    static const char *const bad[] = {
        "",        "-a", "_a", "A", "a/b", "..", ".", "a b", "a.b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "\xc3\xa9"};
    for (size_t i = 0; i < ELEMENTS(good); i++)
        assert_true(instance_name_valid(good[i]));
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_false(instance_name_valid(bad[i]));
}

static void assert_text(const LastExit *x, const char *expected)
{
    char *text = exits_text(x);
    assert_string_equal(text, expected);
    free(text);
}

static void test_exit_texts(void **state)
{
    (void)state;
    LastExit x = {.code = 3, .syscall_nr = -1};
    assert_text(&x, "exit status 3");
    x = (LastExit){.code = -1, .syscall_nr = -1};
    assert_text(&x, "ended (its status is unknown)");
    x = (LastExit){.code = -1, .signal = SIGKILL, .oom = true, .syscall_nr = -1};
    assert_text(&x, "killed by SIGKILL (out of memory)");
    x = (LastExit){.code = -1, .signal = SIGSYS, .syscall_nr = 165};
    assert_text(&x, "killed by SIGSYS (syscall mount denied)");
    x = (LastExit){.code = -1, .signal = SIGTERM, .syscall_nr = -1, .killer_pid = 7, .killer_comm = "ba\nd"};
    assert_text(&x, "killed by SIGTERM (sent by ba\\x0ad, pid 7)");
    assert_string_equal(signal_name(SIGHUP), "SIGHUP");
    assert_string_equal(signal_name(40), "signal 40");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_shape),
        cmocka_unit_test(test_instance_names),
        cmocka_unit_test(test_exit_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
