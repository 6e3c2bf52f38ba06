/* The work registry: sums over sources, counts by module, telling all sources, and waits that end by a word, by being
 * asked, at their deadline, or with their module. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/str.h"
#include "supervisor/watch/work.h"

typedef struct Fake {
    WorkKind kind;
    uint64_t in_flight;
    bool silent, blind; /* tells nothing; counts nothing */
    int gate_answer, closed, told;
} Fake;

static void read_fake(void *userdata, WorkNow *now)
{
    const Fake *f = userdata;
    if (f->blind)
        return;
    now->kinds |= 1u << f->kind;
    now->in_flight[f->kind] += f->in_flight;
}

static int gate_fake(void *userdata, bool closed)
{
    Fake *f = userdata;
    if (f->gate_answer == 0)
        f->closed = closed;
    return f->gate_answer;
}

static int tell_fake(void *userdata, bool on)
{
    Fake *f = userdata;
    f->told += on ? 1 : -1;
    return f->silent ? -EOPNOTSUPP : 0;
}

static const WorkSource source = {.name = "fake", .read = read_fake, .gate = gate_fake, .tell = tell_fake};
static const WorkSource mute = {.name = "mute", .read = read_fake};

static const char web[] = "web", api[] = "api"; /* modules are pointers */

static void count(void *userdata, const char *module, uint64_t in_flight)
{
    strbuf_addf(userdata, "%s=%llu ", module, (unsigned long long)in_flight);
}

static void assert_counts(const WorkRegistry *r, const char *expected)
{
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    work_counts(r, count, &b);
    assert_string_equal(b.s ? b.s : "", expected);
    assert_int_equal(work_any_in_progress(r), *expected != '\0');
}

static void sums_and_counts(void **state)
{
    (void)state;
    WorkRegistry *r = work_registry_new();
    Fake requests = {.kind = WORK_REQUESTS, .in_flight = 3}, calls = {.kind = WORK_CALLS};
    Fake other = {.kind = WORK_API, .in_flight = 2};
    WorkNow now;
    assert_counts(r, "");
    assert_int_equal(work_in_flight(r, web), UINT64_MAX);
    assert_int_equal(work_in_flight(NULL, web), UINT64_MAX);
    work_register(r, web, web, &source, &requests);
    work_register(r, api, api, &mute, &other);
    work_register(r, web, web, &mute, &calls);
    work_read(r, web, &now);
    assert_int_equal(now.kinds, 1u << WORK_REQUESTS | 1u << WORK_CALLS);
    assert_int_equal(work_in_flight(r, web), 3);
    calls.in_flight = 4;
    assert_int_equal(work_in_flight(r, web), 7);
    assert_counts(r, "web=7 api=2 ");
    requests.in_flight = calls.in_flight = 0;
    assert_counts(r, "api=2 ");
    other.blind = true;
    assert_counts(r, "");
    assert_int_equal(work_in_flight(r, api), UINT64_MAX);
    work_unregister(r, web);
    assert_int_equal(work_in_flight(r, web), UINT64_MAX);
    work_registry_free(r);
    assert_null(work_registry_free(NULL));
}

/* An idle connection is no work where requests are counted, and all the work there is where they are not. */
static void connections_hold_where_requests_are_not_counted(void **state)
{
    (void)state;
    WorkNow now = {.kinds = 1u << WORK_CONNECTIONS, .in_flight = {[WORK_CONNECTIONS] = 24}};
    assert_int_equal(work_holding(&now), 24);
    now.kinds |= 1u << WORK_REQUESTS;
    assert_int_equal(work_holding(&now), 0);
    now.in_flight[WORK_REQUESTS] = 2;
    now.in_flight[WORK_WRITES] = 9; /* not counted: its bit is not set */
    assert_int_equal(work_holding(&now), 2);
    now.kinds |= 1u << WORK_WRITES;
    assert_int_equal(work_holding(&now), 11);
    assert_int_equal(work_holding(&(WorkNow){.in_flight = {5, 5, 5, 5, 5, 5}}), 0);
}

static void the_gate_is_told_to_all(void **state)
{
    (void)state;
    WorkRegistry *r = work_registry_new();
    Fake a = {.kind = WORK_REQUESTS}, b = {.kind = WORK_API}, c = {.kind = WORK_CALLS}, other = {.kind = WORK_API};
    assert_int_equal(work_gate(r, web, true), -EOPNOTSUPP);
    work_register(r, web, web, &mute, &c);
    assert_int_equal(work_gate(r, web, true), -EOPNOTSUPP);
    work_register(r, web, web, &source, &a);
    work_register(r, web, web, &source, &b);
    work_register(r, api, api, &source, &other);
    assert_int_equal(work_gate(r, web, true), 0);
    assert_true(a.closed && b.closed && !other.closed);
    assert_int_equal(work_gate(r, web, false), 0);
    assert_true(!a.closed && !b.closed);
    a.gate_answer = -EIO;
    assert_int_equal(work_gate(r, web, true), -EIO);
    assert_true(b.closed);
    a.gate_answer = 0;
    b.gate_answer = -EPERM;
    assert_int_equal(work_gate(r, web, true), -EPERM);
    work_registry_free(r);
}

/* --- waits --- */

typedef struct Waited {
    WorkWait *wait;
    int calls, result;
} Waited;

static void on_done(void *userdata, int result)
{
    Waited *w = userdata;
    w->calls++;
    w->result = result;
    w->wait = NULL;
}

static sd_event *new_event(void)
{
    sd_event *event = NULL;
    assert_true(sd_event_new(&event) >= 0);
    return event;
}

/* Runs the loop until the wait is over. */
static void run(sd_event *event, const Waited *w)
{
    uint64_t end = now_monotonic() + 20 * USEC_PER_SEC;
    while (!w->calls && now_monotonic() < end)
        assert_true(sd_event_run(event, USEC_PER_SEC) >= 0);
    assert_int_equal(w->calls, 1);
}

static void a_word_ends_a_wait(void **state)
{
    (void)state;
    WorkRegistry *r = work_registry_new();
    sd_event *event = new_event();
    Fake a = {.kind = WORK_REQUESTS, .in_flight = 1}, b = {.kind = WORK_API, .in_flight = 1};
    work_register(r, web, web, &source, &a);
    work_register(r, web, web, &source, &b);
    Waited w = {0}, second = {0};
    assert_int_equal(work_wait(r, event, web, USEC_INFINITY, on_done, &w, &w.wait), 0);
    assert_int_equal(work_wait(r, event, web, USEC_INFINITY, on_done, &second, &second.wait), 0);
    assert_true(a.told > 0 && b.told > 0);
    a.in_flight = 0;
    work_idle(r, web);
    assert_int_equal(w.calls, 0); /* the other source has some left */
    b.in_flight = 0;
    work_idle(r, api);
    assert_int_equal(w.calls, 0);
    work_idle(r, web);
    assert_true(w.calls == 1 && w.result == 0 && second.calls == 1 && second.result == 0);
    work_idle(r, web);
    assert_int_equal(w.calls, 1);
    work_idle(NULL, web);
    work_registry_free(r);
    sd_event_unref(event);
}

static void what_is_over_already_is_told_by_the_loop(void **state)
{
    (void)state;
    WorkRegistry *r = work_registry_new();
    sd_event *event = new_event();
    Fake a = {.kind = WORK_REQUESTS};
    work_register(r, web, web, &source, &a);
    Waited w = {0}, uncounted = {0};
    assert_int_equal(work_wait(r, event, web, USEC_INFINITY, on_done, &w, &w.wait), 0);
    assert_int_equal(w.calls, 0);
    run(event, &w);
    assert_int_equal(w.result, 0);
    assert_int_equal(work_wait(r, event, api, USEC_INFINITY, on_done, &uncounted, &uncounted.wait), 0);
    run(event, &uncounted);
    assert_int_equal(uncounted.result, 0);
    work_registry_free(r);
    sd_event_unref(event);
}

static void a_wait_has_a_deadline(void **state)
{
    (void)state;
    WorkRegistry *r = work_registry_new();
    sd_event *event = new_event();
    Fake a = {.kind = WORK_REQUESTS, .in_flight = 1}, b = {.kind = WORK_API, .silent = true};
    work_register(r, web, web, &source, &a);
    Waited w = {0};
    uint64_t deadline = now_monotonic() + 30000;
    assert_int_equal(work_wait(r, event, web, deadline, on_done, &w, &w.wait), 0);
    run(event, &w);
    assert_int_equal(w.result, -ETIMEDOUT);
    assert_true(now_monotonic() >= deadline);
    /* The same with a source that must be asked, and so wakes it before. */
    work_register(r, web, web, &source, &b);
    w = (Waited){0};
    deadline = now_monotonic() + WORK_POLL_USEC * 3 / 2;
    assert_int_equal(work_wait(r, event, web, deadline, on_done, &w, &w.wait), 0);
    run(event, &w);
    assert_int_equal(w.result, -ETIMEDOUT);
    assert_true(now_monotonic() >= deadline);
    work_registry_free(r);
    sd_event_unref(event);
}

static int let_go(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    ((Fake *)userdata)->in_flight = 0;
    return 0;
}

static void who_tells_nothing_is_asked(void **state)
{
    (void)state;
    WorkRegistry *r = work_registry_new();
    sd_event *event = new_event();
    Fake a = {.kind = WORK_API, .in_flight = 1};
    work_register(r, web, web, &mute, &a);
    Waited w = {0};
    assert_int_equal(work_wait(r, event, web, USEC_INFINITY, on_done, &w, &w.wait), 0);
    assert_true(sd_event_add_time_relative(event, NULL, CLOCK_MONOTONIC, 20000, 1, let_go, &a) >= 0);
    run(event, &w);
    assert_int_equal(w.result, 0);
    work_registry_free(r);
    sd_event_unref(event);
}

static void a_wait_can_be_called_off(void **state)
{
    (void)state;
    WorkRegistry *r = work_registry_new();
    sd_event *event = new_event();
    Fake a = {.kind = WORK_REQUESTS, .in_flight = 1};
    work_register(r, web, web, &source, &a);
    Waited w = {0}, other = {0};
    assert_int_equal(work_wait(r, event, web, USEC_INFINITY, on_done, &w, &w.wait), 0);
    assert_int_equal(work_wait(r, event, web, USEC_INFINITY, on_done, &other, &other.wait), 0);
    w.wait = work_wait_cancel(w.wait);
    assert_null(w.wait);
    assert_null(work_wait_cancel(NULL));
    assert_int_equal(a.told, 2); /* the other one still wants to be told */
    work_unregister(r, web);
    assert_true(w.calls == 0 && other.calls == 1 && other.result == -ECANCELED);
    work_registry_free(r);
    sd_event_unref(event);
}

static void names(void **state)
{
    (void)state;
    assert_string_equal(work_kind_names[WORK_CONNECTIONS], "connections");
    assert_string_equal(work_kind_names[WORK_API], "api");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_counts),
        cmocka_unit_test(connections_hold_where_requests_are_not_counted),
        cmocka_unit_test(the_gate_is_told_to_all),
        cmocka_unit_test(a_word_ends_a_wait),
        cmocka_unit_test(what_is_over_already_is_told_by_the_loop),
        cmocka_unit_test(a_wait_has_a_deadline),
        cmocka_unit_test(who_tells_nothing_is_asked),
        cmocka_unit_test(a_wait_can_be_called_off),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
