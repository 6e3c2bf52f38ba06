/* What people read of jobs and their timers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/unit/json_text.h"
#include "tools/view.h"

static const uint64_t NOW = 1700000000ull * USEC_PER_SEC; /* Tue 2023-11-14 22:13:20 UTC */

#define NIGHTLY                                                                                    \
    "{\"next_usec\":1700017200000000,\"last_usec\":1699930800000000,\"skipped\":0,\"armed\":true," \
    "\"on_calendar\":\"*-*-* 03:00:00\",\"every_usec\":null}"
#define TICK                                                                                       \
    "{\"next_usec\":1700000000400000,\"last_usec\":1699999999400000,\"skipped\":2,\"armed\":true," \
    "\"on_calendar\":null,\"every_usec\":1000000}"
#define STOPPED                                                             \
    "{\"next_usec\":null,\"last_usec\":null,\"skipped\":0,\"armed\":false," \
    "\"on_calendar\":\"daily; Sun 12:00\",\"every_usec\":7200000000}"

static const char status_text[] =
    "{\"instance\":\"t\",\"status\":\"healthy\",\"modules\":["
    "{\"name\":\"a-stopped\",\"type\":\"oneshot\",\"state\":\"idle\",\"next_start_usec\":null,\"timer\":" STOPPED "},"
    "{\"name\":\"nightly\",\"type\":\"oneshot\",\"state\":\"idle\",\"next_start_usec\":1700017200000000,"
    "\"timer\":" NIGHTLY ","
    "\"last_exit\":{\"code\":3,\"signal\":null,\"oom\":false}},"
    "{\"name\":\"retried\",\"type\":\"oneshot\",\"state\":\"idle\",\"next_start_usec\":1700000005000000,"
    "\"timer\":" NIGHTLY "},"
    "{\"name\":\"tick\",\"type\":\"simple\",\"state\":\"running\",\"next_start_usec\":1700000000400000,\"timer\":" TICK
    ","
    "\"last_exit\":{\"code\":0,\"signal\":null,\"oom\":false}},"
    "{\"name\":\"web\",\"type\":\"simple\",\"state\":\"running\",\"next_start_usec\":null,\"timer\":null}]}";

static int utc(void **state)
{
    (void)state;
    setenv("TZ", "UTC", 1);
    tzset();
    return 0;
}

static void soonest_first_and_who_has_none_is_left_out(void **state)
{
    (void)state;
    json_t *status = json(status_text), *timers = timers_of_status(status);
    static const char *const order[] = {"tick", "nightly", "retried", "a-stopped"};
    assert_int_equal(json_array_size(timers), ELEMENTS(order));
    for (size_t i = 0; i < ELEMENTS(order); i++)
        assert_string_equal(member_string(json_array_get(timers, i), "module"), order[i]);
    assert_string_equal(member_string(json_array_get(timers, 1), "on_calendar"), "*-*-* 03:00:00");
    assert_int_equal(member_number(json_object_get(json_array_get(timers, 1), "last_exit"), "code"), 3);
    /* the status itself is as it was */
    assert_null(
        json_object_get(json_object_get(json_array_get(json_object_get(status, "modules"), 1), "timer"), "module"));
    json_decref(timers);
    json_decref(status);
}

static void the_table(void **state)
{
    (void)state;
    View v = {.now = NOW};
    json_t *status = json(status_text), *timers = timers_of_status(status), *none = json_array();
    _cleanup_(freep) char *text = view_timers(timers, &v), *empty = view_timers(none, &v);
    json_decref(timers);
    json_decref(status);
    json_decref(none);
    /* clang-format off */
    assert_string_equal(text,
        "MODULE     STATE    NEXT                       LEFT  LAST                      PASSED  ENDED          SKIPPED  SCHEDULE\n"
        "tick       running  Tue 2023-11-14 22:13:20   400ms  Tue 2023-11-14 22:13:19    600ms  exit status 0        2  every = 1s\n"
        "nightly    idle     Wed 2023-11-15 03:00:00  4h 46m  Tue 2023-11-14 03:00:00  19h 13m  exit status 3           on_calendar = *-*-* 03:00:00\n"
        "retried    idle     Wed 2023-11-15 03:00:00  4h 46m  Tue 2023-11-14 03:00:00  19h 13m                          on_calendar = *-*-* 03:00:00\n"
        "a-stopped  idle     stopped                          never                                                     on_calendar = daily; Sun 12:00, every = 2h 0m\n");
    /* clang-format on */
    assert_non_null(strstr(empty, "on_calendar"));
}

static void status_and_module(void **state)
{
    (void)state;
    View v = {.now = NOW};
    json_t *status = json(status_text), *modules = json_object_get(status, "modules");
    _cleanup_(freep) char *all = view_status(status, &v), *nightly = view_module(json_array_get(modules, 1), &v),
                          *retried = view_module(json_array_get(modules, 2), &v),
                          *stopped = view_module(json_array_get(modules, 0), &v),
                          *web = view_module(json_array_get(modules, 4), &v);
    json_decref(status);
    assert_non_null(strstr(all, "next in 4h 46m"));
    assert_non_null(strstr(all, "next start in 5s"));
    assert_non_null(strstr(nightly, "        type: oneshot\n"
                                    "       timer: on_calendar = *-*-* 03:00:00\n"
                                    "    next run: in 4h 46m (Wed 2023-11-15 03:00:00)\n"
                                    "    last run: 19h 13m ago\n"));
    assert_null(strstr(nightly, "next start"));
    assert_non_null(strstr(retried, "  next start: in 5s\n"));
    assert_non_null(strstr(stopped, "    next run: never: its timer is stopped\n"));
    assert_null(strstr(stopped, "last run"));
    assert_null(strstr(web, "timer"));
    assert_null(strstr(web, "type"));
}

static void explained(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"module\":\"n\",\"type\":\"oneshot\",\"state\":\"idle\",\"done\":true,\"generation\":4,\"timer\":" NIGHTLY
         ","
         "\"last_exit\":{\"code\":0,\"signal\":null,\"oom\":false,\"time_usec\":1699999990000000}}",
         "n is idle.\nIt has done its work. `bulkhead start n` runs it again.\n"
         "Its timer (on_calendar = *-*-* 03:00:00) runs it next in 4h 46m (Wed 2023-11-15 03:00:00); it last ran 19h "
         "13m ago.\n"
         "Its last run ended 10s ago with exit status 0.\n"},
        {"{\"module\":\"n\",\"type\":\"oneshot\",\"state\":\"idle\",\"generation\":0,\"timer\":" STOPPED "}",
         "n is idle.\nIts timer (on_calendar = daily; Sun 12:00, every = 2h 0m) is stopped: `bulkhead start n` sets it "
         "again; it "
         "has not run yet.\n"},
        {"{\"module\":\"t\",\"type\":\"oneshot\",\"state\":\"creating\",\"waits_for\":[\"its end\"],\"timer\":" TICK
         "}",
         "t is creating.\nIt runs, and is done when it has ended.\nIt waits for its end.\n"
         "Its timer (every = 1s) runs it next in 400ms (Tue 2023-11-14 22:13:20); it last ran 600ms ago.\n"
         "2 elapses were passed over, because it still ran.\n"},
        {"{\"module\":\"o\",\"type\":\"oneshot\",\"state\":\"idle\",\"generation\":1,\"timer\":{\"armed\":true,\"next_"
         "usec\":null,"
         "\"on_calendar\":\"2020-01-01\",\"skipped\":1}}",
         "o is idle.\nIts timer (on_calendar = 2020-01-01) will never elapse again; it has not run yet.\n"
         "1 elapse was passed over, because it still ran.\n"},
        {"{\"module\":\"t\",\"type\":\"oneshot\",\"state\":\"failed\",\"generation\":1,\"timer\":" TICK "}",
         "t is failed.\nIts policy restarts it no more: it stays down until its timer elapses or `bulkhead start t`.\n"
         "Its timer (every = 1s) runs it next in 400ms (Tue 2023-11-14 22:13:20); it last ran 600ms ago.\n"
         "2 elapses were passed over, because it still ran.\n"},
        {"{\"module\":\"n\",\"type\":\"oneshot\",\"state\":\"failed\",\"gave_up\":true,\"timer\":" STOPPED "}",
         "n is failed.\nRecovery has given up: it stays down until `bulkhead start n`.\n"
         "Its timer (on_calendar = daily; Sun 12:00, every = 2h 0m) is stopped: `bulkhead start n` sets it again; it "
         "has not run yet.\n"},
        {"{\"module\":\"m\",\"type\":\"oneshot\",\"state\":\"running\",\"timer\":null}",
         "m is running.\nIt has done its work, and counts as running until it is stopped (remain_after_exit).\n"},
        {"{\"module\":\"m\",\"type\":\"oneshot\",\"state\":\"idle\",\"done\":false,\"generation\":2,\"timer\":null}",
         "m is idle.\nIt is not wanted: it was stopped, or has done its work. `bulkhead start m` starts it.\n"},
    };
    View v = {.now = NOW};
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        json_t *j = json(cases[i][0]);
        _cleanup_(freep) char *got = view_explain(j, &v);
        json_decref(j);
        assert_string_equal(got, cases[i][1]);
    }
}

static void odd_documents(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "{}",
        "[]",
        "{\"modules\":3}",
        "{\"modules\":[1,null,{},{\"timer\":{}},{\"timer\":[]}]}",
        "{\"modules\":[{\"name\":7,\"state\":[],\"timer\":{\"next_usec\":\"x\",\"on_calendar\":\"\\u001b[2J\"}}]}",
        "{\"modules\":[{\"timer\":{\"skipped\":-1}}]}",
    };
    View v = {.width = 80, .colours = true, .now = NOW};
    for (size_t i = 0; i < ELEMENTS(odd); i++) {
        json_t *j = json(odd[i]), *timers = timers_of_status(j);
        _cleanup_(freep) char *a = view_timers(timers, &v), *b = view_schedule(j), *c = view_timer_next(j, &v);
        assert_true(a && b && !c);
        assert_null(strstr(a, "\x1b[2J"));
        json_decref(timers);
        json_decref(j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(soonest_first_and_who_has_none_is_left_out, utc),
        cmocka_unit_test_setup(the_table, utc),
        cmocka_unit_test_setup(status_and_module, utc),
        cmocka_unit_test_setup(explained, utc),
        cmocka_unit_test_setup(odd_documents, utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
