/* What people read, made from the daemon's JSON: the words, the columns, and that a stranger's bytes stay harmless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"
#include "tests/unit/json_text.h"
#include "tools/view.h"

static const uint64_t NOW = 1700000000ull * USEC_PER_SEC;

static void assert_view(char *(*view)(const json_t *, const View *), const char *text, size_t width,
                        const char *expected)
{
    View v = {.width = width, .now = NOW};
    json_t *j = json(text);
    _cleanup_(freep) char *got = view(j, &v);
    json_decref(j);
    assert_string_equal(got, expected);
}

static const char status_text[] =
    "{\"instance\":\"t\",\"status\":\"degraded\",\"reason\":\"down: job\",\"uptime_usec\":3661000000,\"modules\":["
    "{\"name\":\"db\",\"state\":\"running\",\"health\":\"unknown\",\"generation\":1,\"pid\":4711,"
    "\"cgroup\":\"/bulkhead-t/modules/db/1\",\"restarts\":0,\"next_start_usec\":null,"
    "\"work\":{\"started\":9,\"completed\":6,\"errors\":0,\"in_flight\":3,\"in_flight_peak\":4},"
    "\"cpu\":{\"usage_usec\":1500000,\"max\":50,\"throttled_usec\":2000000},"
    "\"memory\":{\"current\":12582912,\"peak\":20971520,\"max\":67108864,\"oom_kills\":0},"
    "\"pids\":{\"current\":5,\"max\":100},\"last_exit\":null,\"teardown\":[]},"
    "{\"name\":\"job\",\"state\":\"idle\",\"health\":\"unknown\",\"generation\":3,\"pid\":null,\"cgroup\":null,"
    "\"restarts\":2,\"next_start_usec\":1700000008000000,\"work\":null,"
    "\"cpu\":{\"usage_usec\":null,\"max\":null,\"throttled_usec\":null},"
    "\"memory\":{\"current\":null,\"peak\":null,\"max\":67108864,\"oom_kills\":1},"
    "\"pids\":{\"current\":null,\"max\":null},"
    "\"last_exit\":{\"code\":null,\"signal\":9,\"oom\":true,\"syscall\":null,\"time_usec\":1699999995000000},"
    "\"teardown\":[{\"phase\":\"controllers\",\"status\":\"ok\",\"duration_usec\":3,\"error\":null},"
    "{\"phase\":\"gate\",\"status\":\"skipped\",\"duration_usec\":0,\"error\":\"no \\u001b[31mgate\"},"
    "{\"phase\":\"process\",\"status\":\"timed-out\",\"duration_usec\":3000000,\"error\":\"still running\"}]}]}";

static void test_status(void **state)
{
    (void)state;
    assert_view(view_status, status_text, 80,
                "t: degraded (down: job), up 1h 1m, 1 of 2 modules running\n"
                "\n"
                "NAME  STATE     PID   CPU   MEMORY  IN FLIGHT  RESTARTS  NOTE\n"
                "db    running  4711  1.5s  12M/64M          3         0\n"
                "job   idle                                            2  next start in 8s, out..\n");
    assert_view(
        view_status, "{\"instance\":\"t\",\"status\":\"healthy\",\"modules\":[]}", 80,
        "t: healthy, 0 of 0 modules running\nNo module yet: `bulkhead init -- PROGRAM` writes one into modules.d.\n");
}

/* 80 columns hold the longest name, a large process and a note. */
static void test_every_line_fits(void **state)
{
    (void)state;
    View v = {.width = 80, .now = NOW};
    json_t *j = json(status_text), *m = json_array_get(json_object_get(j, "modules"), 0);
    json_object_set_new(m, "name", json_string("a23456789012345678901234567890123456789012345678901234567890123"));
    json_object_set_new(m, "pid", json_integer(4194304));
    json_object_set_new(json_object_get(m, "memory"), "current", json_integer(1023 << 20));
    _cleanup_(freep) char *got = view_status(j, &v);
    json_decref(j);
    for (const char *p = strstr(got, "NAME"); *p; p += strcspn(p, "\n") + 1)
        assert_in_range(strcspn(p, "\n"), 1, 80);
    assert_non_null(strstr(got, "next.."));
}

/* A hook that runs is told with how long it has run and may yet; nonsense is left out. */
static void test_hook(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"name\":\"exec_start_pre\",\"command\":\"/bin/wait\",\"elapsed_usec\":12900000,\"left_usec\":48100000}",
         "        runs: exec_start_pre: /bin/wait, for 12s, time-out in 48s\n"},
        {"{\"name\":\"exec_reload\",\"command\":\"/a\\u001b (1 of 2)\",\"elapsed_usec\":999999,\"left_usec\":null}",
         "        runs: exec_reload: /a\\x1b (1 of 2), for 0s\n"},
        {"null", ""},
        {"{\"name\":\"exec_start_pre\",\"command\":7,\"elapsed_usec\":1}", ""},
        {"{\"name\":\"exec_start_pre\",\"command\":\"/a\"}", ""},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(freep) char *module = xasprintf("{\"name\":\"w\",\"state\":\"creating\",\"hook\":%s}", cases[i][0]);
        _cleanup_(freep) char *expected = xasprintf("w: creating\n%s", cases[i][1]);
        assert_view(view_module, module, 0, expected);
        _cleanup_(freep) char *all = xasprintf("{\"instance\":\"t\",\"status\":\"healthy\",\"modules\":[%s]}", module);
        View v = {.width = 0, .now = NOW};
        json_t *j = json(all);
        _cleanup_(freep) char *table = view_status(j, &v);
        json_decref(j);
        const char *note = strchr(cases[i][1], 'e');
        assert_true(!note || strstr(table, note));
        assert_true(note || !strstr(table, "for "));
    }
}

/* The last reload, or the one under way; nothing where there was none. */
static void test_reload(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"running\":true,\"elapsed_usec\":3900000,\"last_usec\":null,\"last_error\":null}",
         "      reload: under way, for 3s\n"},
        {"{\"running\":true,\"elapsed_usec\":null}", "      reload: under way, by itself\n"},
        {"{\"running\":false,\"elapsed_usec\":null,\"last_usec\":1699999990000000,\"last_error\":null}",
         "      reload: done 10s ago\n"},
        {"{\"running\":false,\"last_usec\":1699999990000000,\"last_error\":\"no \\u001b\"}",
         "      reload: failed 10s ago: no \\x1b\n"},
        {"null", ""},
        {"{}", ""},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(freep) char *module = xasprintf("{\"name\":\"w\",\"state\":\"running\",\"reload\":%s}", cases[i][0]);
        _cleanup_(freep) char *expected = xasprintf("w: running\n%s", cases[i][1]);
        assert_view(view_module, module, 0, expected);
    }
}

/* When a program that counts itself has last said that it gets on. */
static void test_heartbeat(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"1699999990000000", "   heartbeat: 10s ago\n"},
                                           {"1700000000000000", "   heartbeat: 0us ago\n"},
                                           {"null", ""},
                                           {"\"x\"", ""}};
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(freep) char *module =
            xasprintf("{\"name\":\"w\",\"state\":\"running\",\"heartbeat_usec\":%s}", cases[i][0]);
        _cleanup_(freep) char *expected = xasprintf("w: running\n%s", cases[i][1]);
        assert_view(view_module, module, 0, expected);
    }
}

/* Counters of two sources under a closed gate: in the table, which spares columns that do not fit, and at length. */
static void test_work(void **state)
{
    (void)state;
    static const char module[] =
        "{\"name\":\"w\",\"state\":\"running\",\"health\":\"unknown\",\"work\":{\"started\":90,\"completed\":80,"
        "\"errors\":1,\"in_flight\":7,"
        "\"in_flight_peak\":9,\"long_running\":2,\"rejected\":0,\"latency_p50_usec\":1234,\"latency_p99_usec\":56789,"
        "\"latency\":[],\"counted_usec\":40000000,\"gate\":\"closed\",\"max_in_flight\":1000,\"held\":3,"
        "\"sources\":{\"connections\":{\"started\":5,\"completed\":0,\"errors\":0,\"in_flight\":5,\"in_flight_peak\":5,"
        "\"rejected\":4},\"re\\u001bts\":{\"started\":85,\"latency_p50_usec\":0,\"latency_p99_usec\":0}}},"
        "\"pressure\":{\"cpu\":12.34,\"memory\":0.0,\"io\":null}}";
    _cleanup_(freep) char *status = xasprintf("{\"instance\":\"t\",\"status\":\"healthy\",\"modules\":[%s]}", module);
    assert_view(view_status, status, 0,
                "t: healthy, 1 of 1 module running\n"
                "\n"
                "NAME  STATE    PID  CPU  MEMORY  IN FLIGHT  RATE/s    P50   P99  RESTARTS  NOTE\n"
                "w     running                            7     2.0  1.2ms  57ms            gets no new work\n");
    assert_view(view_status, status, 78,
                "t: healthy, 1 of 1 module running\n"
                "\n"
                "NAME  STATE    PID  CPU  MEMORY  IN FLIGHT   P99  RESTARTS  NOTE\n"
                "w     running                            7  57ms            gets no new work\n");
    assert_view(view_module, module, 0,
                "w: running\n"
                "       waits: 12.3% for CPU, of the last ten seconds\n"
                "        work: 7 in flight, 9 at peak, 90 started, 80 completed, 1 errors, 2 long-running, half within "
                "1.2ms, 99% within 57ms\n"
                "        rate: 2.0 completed a second since counting began\n"
                "        gate: closed: no new work comes in, at most 1000 in flight, 3 segments held back, which TCP "
                "sends again\n"
                " connections: 5 in flight, 5 at peak, 5 started, 0 completed, 0 errors, 4 rejected\n"
                "    re\\x1bts: 85 started\n");
}

static void test_module(void **state)
{
    (void)state;
    View v = {.width = 0, .now = NOW};
    json_t *j = json(status_text);
    _cleanup_(freep) char *db = view_module(json_array_get(json_object_get(j, "modules"), 0), &v);
    _cleanup_(freep) char *job = view_module(json_array_get(json_object_get(j, "modules"), 1), &v);
    json_decref(j);
    assert_string_equal(db, "db: running\n"
                            "         pid: 4711\n"
                            "  generation: 1\n"
                            "    restarts: 0\n"
                            "      cgroup: /bulkhead-t/modules/db/1\n"
                            "         cpu: 1.5s, max 50%, 2s held back\n"
                            "      memory: 12M, 20M at peak, max 64M\n"
                            "   processes: 5, max 100\n"
                            "        work: 3 in flight, 4 at peak, 9 started, 6 completed, 0 errors\n");
    assert_string_equal(job, "job: idle\n"
                             "  next start: in 8s\n"
                             "  generation: 3\n"
                             "    restarts: 2\n"
                             "      memory: max 64M, 1 killed for memory\n"
                             "   last exit: out of memory, 5s ago\n"
                             "   last stop:\n"
                             "  PHASE           STATUS     TIME  NOTE\n"
                             "   1 controllers  ok          3us\n"
                             "   2 gate         skipped          no \\x1b[31mgate\n"
                             "   3 process      timed-out    3s  still running\n");
}

static void test_explain_denied_syscall(void **state)
{
    (void)state;
    assert_view(
        view_explain,
        "{\"module\":\"w\",\"state\":\"failed\",\"generation\":4,\"since_usec\":1699999998000000,\"wants\":\"down\","
        "\"phase\":null,\"waits_for\":[],\"in_flight\":null,\"next_start_usec\":null,\"restarts\":3,\"attempts\":3,"
        "\"max_attempts\":3,\"gave_up\":true,\"last_error\":null,\"last_exit\":{\"code\":null,\"signal\":31,"
        "\"signal_name\":\"SIGSYS\",\"oom\":false,\"killer\":null,\"syscall\":\"mount\",\"syscall_nr\":165,"
        "\"syscall_args\":[1,2,3,4096,0,-1],\"syscall_comm\":\"denied\",\"time_usec\":1699999998000000},"
        "\"oom_kills\":0,\"suggestion\":{\"file\":\"/etc/bulkhead/modules.d/w.ini\",\"line\":\"[sandbox]\\nallow = "
        "mount\"},\"teardown\":[]}",
        0,
        "w is failed, for 2s now.\n"
        "It was tried again 3 times since its last healthy run, of 3 allowed.\n"
        "Recovery has given up: it stays down until `bulkhead start w`.\n"
        "Its last run ended 2s ago.\n"
        "Its sandbox killed it: denied called mount (number 165, arguments 0x1 0x2 0x3 0x1000 0x0 "
        "0xffffffffffffffff), which its policy does not allow.\n"
        "It was restarted 3 times by its policy.\n"
        "\n"
        "If it is to be allowed, write in /etc/bulkhead/modules.d/w.ini:\n"
        "\n"
        "    [sandbox]\n"
        "    allow = mount\n");
}

static void test_explain_states(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{\"module\":\"w\",\"state\":\"running\",\"pressure\":{\"cpu\":34.6,\"memory\":0.99,\"io\":-1.0}}",
         "w is running.\nIn the last 10 seconds it waited for CPU 35 % of the time.\n"},
        {"{\"module\":\"w\",\"state\":\"running\",\"pressure\":{\"cpu\":2.0,\"memory\":1.0,\"io\":3.2}}",
         "w is running.\nIn the last 10 seconds it waited for CPU 2 %, memory 1 %, disk 3 % of the time.\n"},
        {"{\"module\":\"w\",\"state\":\"running\",\"in_flight\":1,\"waits_for\":[],\"status_text\":\"a\\u0007b\"}",
         "w is running.\n1 connection is in flight.\nIt says of itself: a\\x07b\n"},
        {"{\"module\":\"w\",\"state\":\"creating\",\"waits_for\":[\"readiness (tcp)\"]}",
         "w is creating.\nIt has been started and is not ready yet.\nIt waits for readiness (tcp).\n"},
        {"{\"module\":\"w\",\"state\":\"creating\",\"waits_for\":[\"exec_start_pre\"],\"hook\":{\"name\":"
         "\"exec_start_pre\"},\"waits_for_detail\":{\"exec_start_pre\":\"exec_start_pre: /bin/wait, for 12s\"}}",
         "w is creating.\nIt is about to be started.\nIt waits for exec_start_pre: /bin/wait, for 12s.\n"},
        {"{\"module\":\"w\",\"state\":\"creating\",\"waits_for\":[\"exec_start_post\"],\"hook\":{\"name\":"
         "\"exec_start_post\"}}",
         "w is creating.\nIt has been started and is not ready yet.\nIt waits for exec_start_post.\n"},
        {"{\"module\":\"w\",\"state\":\"draining\",\"wants\":\"up\",\"phase\":\"drain\",\"in_flight\":2,\"waits_for\":["
         "]}",
         "w is draining.\nIt is being taken down, to be started again; the phase is drain, with 2 connections in "
         "flight.\n"},
        {"{\"module\":\"w\",\"state\":\"idle\",\"wants\":\"up\",\"waits_for\":[\"a\",\"b\",\"c\"],"
         "\"waits_for_detail\":{\"b\":\"b (creating: exec_start_pre /bin/\\u0007)\"}}",
         "w is idle.\nIt is to be started, and waits for a, b (creating: exec_start_pre /bin/\\x07) and c.\n"},
        {"{\"module\":\"w\",\"state\":\"idle\",\"wants\":\"up\",\"waits_for\":[\"a\",\"b\",\"c\"]}",
         "w is idle.\nIt is to be started, and waits for a, b and c.\n"},
        {"{\"module\":\"w\",\"state\":\"idle\",\"wants\":\"down\",\"generation\":0}",
         "w is idle.\nNobody has asked for it yet: `bulkhead start w`.\n"},
        {"{\"module\":\"w\",\"state\":\"idle\",\"wants\":\"up\",\"generation\":1,\"attempts\":1,\"max_attempts\":3,"
         "\"next_start_usec\":1700000008000000,\"oom_kills\":2,\"last_exit\":{\"code\":null,\"signal\":9,\"oom\":true,"
         "\"time_usec\":1699999999000000,\"generation\":1}}",
         "w is idle.\nIt will be started again in 8s.\nIt was tried again 1 time since its last healthy run, of 3 "
         "allowed.\nIts last run (generation 1) ended 1s ago: the kernel killed it because it was out of memory (its "
         "memory_max).\n2 of its processes were killed for memory so far.\n"},
        {"{\"module\":\"w\",\"state\":\"failed\",\"wants\":\"down\",\"generation\":1,\"last_error\":{\"stage\":"
         "\"exec\","
         "\"message\":\"/nope: No such file or directory\"},\"teardown\":[{\"phase\":\"cgroup\",\"status\":\"failed\","
         "\"duration_usec\":1,\"error\":\"busy\"}]}",
         "w is failed.\nIts policy restarts it no more: it stays down until `bulkhead start w`.\nIts last start failed "
         "at exec: /nope: No such file or directory.\nIn its last teardown the phase cgroup failed: busy.\n"},
        {"{\"module\":\"w\",\"state\":\"running\",\"last_exit\":{\"code\":null,\"signal\":9,\"signal_name\":"
         "\"SIGKILL\","
         "\"oom\":false,\"killer\":{\"pid\":77,\"comm\":\"bash\"},\"syscall\":null}}",
         "w is running.\nIts last run ended by SIGKILL, sent by process 77 (bash).\n"},
        {"{\"module\":\"w\",\"state\":\"running\",\"last_exit\":{\"code\":3,\"signal\":null,\"oom\":false}}",
         "w is running.\nIts last run ended with exit status 3; `bulkhead logs w` has its last words.\n"},
        {"{\"module\":\"w\",\"state\":\"idle\",\"wants\":\"down\",\"generation\":1,\"last_exit\":{\"code\":0,"
         "\"wanted\":false}}",
         "w is idle.\nIt is not wanted: it was stopped, or has done its work. `bulkhead start w` starts it.\nIts last "
         "run ended "
         "with exit status 0.\nNobody had asked it to end. A program that goes to the background looks like that: tell "
         "it to stay "
         "in the\nforeground (`bulkhead init` knows how for many). One that does its work and ends is a job: type = "
         "oneshot.\n"},
        {"{\"module\":\"w\",\"state\":\"idle\",\"wants\":\"down\",\"generation\":1,\"last_exit\":{\"code\":0,"
         "\"wanted\":true}}",
         "w is idle.\nIt is not wanted: it was stopped, or has done its work. `bulkhead start w` starts it.\nIts last "
         "run ended "
         "with exit status 0.\n"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++)
        assert_view(view_explain, cases[i][0], 0, cases[i][1]);
}

static void test_events(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"{\"time_usec\":1700000000123456,\"module\":\"web\",\"generation\":2,\"event\":\"phase\",\"phase\":\"drain\","
         "\"detail\":{\"status\":\"ok\",\"duration_usec\":1500000}}",
         "Nov 14 22:13:20.123  web#2            phase            drain  status=ok  duration=1.5s", "web: drain ok"},
        {"{\"time_usec\":1700000000123456,\"module\":\"web\",\"generation\":2,\"event\":\"drain-progress\","
         "\"phase\":\"drain\",\"detail\":{\"in_flight\":3,\"elapsed_usec\":500000,\"left_usec\":25500000}}",
         "Nov 14 22:13:20.123  web#2            drain-progress   drain  in_flight=3  elapsed=500ms  left=25.5s",
         "web: drain, 3 in flight, at most 26s more"},
        {"{\"time_usec\":1700000000123456,\"module\":null,\"generation\":0,\"event\":\"started\",\"phase\":null,"
         "\"detail\":null}",
         "Nov 14 22:13:20.123  -                started", NULL},
        {"{\"time_usec\":1700000000123456,\"module\":\"web\",\"generation\":1,\"event\":\"exited\",\"phase\":null,"
         "\"detail\":{\"code\":1,\"oom\":false,\"how\":\"x \\u001b[2J\",\"error\":null}}",
         "Nov 14 22:13:20.123  web#1            exited           code=1  how=\"x \\x1b[2J\"", "web: exited"},
    };
    setenv("TZ", "UTC", 1);
    tzset();
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        json_t *j = json(cases[i][0]);
        _cleanup_(freep) char *line = view_event(j), *progress = view_progress(j);
        json_decref(j);
        assert_string_equal(line, cases[i][1]);
        if (cases[i][2])
            assert_string_equal(progress, cases[i][2]);
        else
            assert_null(progress);
    }
}

/* Nothing that may come from elsewhere makes them fall over. */
static void test_odd_documents(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "{}", "[]", "{\"modules\":3,\"name\":7}", "{\"modules\":[1,null,{}]}",
        "{\"last_exit\":{},\"teardown\":[{}],\"waits_for\":[1],\"suggestion\":{\"line\":\"\"}}"};
    View v = {.width = 80, .colours = true, .now = NOW};
    for (size_t i = 0; i < ELEMENTS(odd); i++) {
        json_t *j = json(odd[i]);
        _cleanup_(freep) char *a = view_status(j, &v), *b = view_module(j, &v), *c = view_explain(j, &v),
                              *d = view_event(j), *e = view_progress(j), *f = view_teardown(j, &v),
                              *g = view_host(j, &v);
        assert_true(a && b && c && d && f && g && (!e || *e));
        json_decref(j);
    }
}

static const char host_text[] =
    "[{\"feature\":\"tree\",\"here\":true,\"why\":\"hybrid\",\"required\":\"unless cgroups = "
    "optional\",\"cost\":\"much\"},"
    "{\"feature\":\"peak\",\"here\":false,\"why\":\"no such \\u001b[31mfile\",\"required\":\"no\",\"cost\":\"a "
    "number\","
    "\"instead\":null,\"mend\":\"Linux 5.19\"},"
    "{\"feature\":\"btf\",\"here\":%s,\"why\":\"w\",\"required\":\"unless bpf = optional\",\"cost\":\"counters\","
    "\"instead\":\"nothing\",\"mend\":\"a kernel\"}]";

static void test_host(void **state)
{
    (void)state;
    _cleanup_(freep) char *here = xasprintf(host_text, "true"), *absent = xasprintf(host_text, "false"),
                          *unknown = xasprintf(host_text, "null");
    assert_view(view_host, here, 80,
                "FEATURE  HERE         WITHOUT IT\n"
                "tree     yes, hybrid  much\n"
                "peak     no           a number\n"
                "btf      yes, w       counters\n"
                "\n"
                "peak is not here: no such \\x1b[31mfile\n"
                "  costs:    a number\n"
                "  helps:    Linux 5.19\n"
                "\n"
                "2 here, 1 absent; all that bulkheadd needs is here\n");
    const struct {
        const char *text, *end;
        bool suffices;
    } cases[] = {
        {here, "all that bulkheadd needs is here\n", true},
        {absent, "1 here, 2 absent; bulkheadd needs btf, unless bpf = optional\n", false},
        {unknown, "1 here, 1 absent, 1 not known (only root can try them); bulkheadd needs btf: run this as root\n",
         false},
        {"[]", "0 here, 0 absent; all that bulkheadd needs is here\n", false},
    };
    View v = {.width = 0, .now = NOW};
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        json_t *j = json(cases[i].text);
        _cleanup_(freep) char *got = view_host(j, &v);
        assert_string_equal(got + strlen(got) - strlen(cases[i].end), cases[i].end);
        assert_int_equal(view_host_suffices(j), cases[i].suffices);
        json_decref(j);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),         cmocka_unit_test(test_every_line_fits),
        cmocka_unit_test(test_hook),           cmocka_unit_test(test_reload),
        cmocka_unit_test(test_module),         cmocka_unit_test(test_heartbeat),
        cmocka_unit_test(test_work),           cmocka_unit_test(test_explain_denied_syscall),
        cmocka_unit_test(test_explain_states), cmocka_unit_test(test_events),
        cmocka_unit_test(test_odd_documents),  cmocka_unit_test(test_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
