/* What the kernel's gate holds, closed or because there is no place in flight; what it lets through; that nothing it
 * held is lost. */
#include "tests/unit/bpf_pairs.h"

static uint64_t held(Live *l)
{
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    return w.held;
}

static void test_gate_holds_what_is_new_and_loses_nothing(void **state)
{
    Live *l = live(state);
    int listener = listener_in_leaf(l, AF_INET);
    Pair idle = pair_open(listener, AF_INET), upload = pair_open(listener, AF_INET),
         stream = pair_open(listener, AF_INET);
    say(upload.client, "begin,");
    say(stream.client, "get");
    hear(stream.server, "get");
    EVENTUALLY(requests(l).in_flight == 2);
    assert_int_equal(kernel_gate(l->kernel, l->a, true), 0);
    /* What is in flight goes on: an upload, an answer in pieces. */
    say(upload.client, "end");
    hear(upload.server, "begin,end");
    for (int i = 0; i < 3; i++) {
        say(stream.server, "part");
        hear(stream.client, "part");
    }
    say(upload.server, "done");
    hear(upload.client, "done");
    assert_requests(l, 2, 2, 0);
    EVENTUALLY(truth(l).busy == 0);
    /* What is new waits: a request on an idle connection, on one just used, a connection. */
    say(idle.client, "ask");
    say(stream.client, "more");
    int late = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port_of(listener))};
    assert_int_equal(connect(late, (struct sockaddr *)&to, sizeof to), -1);
    EVENTUALLY(held(l) >= 3);
    assert_false(readable(idle.server, 300));
    assert_false(readable(stream.server, 0));
    assert_false(readable(listener, 0));
    assert_requests(l, 2, 2, 0);
    KernelTruth t = truth(l);
    assert_int_equal(t.busy + t.unread + t.unsent + t.unacked + t.not_accepted, 0);
    /* Undone, all of it comes. */
    assert_int_equal(kernel_gate(l->kernel, l->a, false), 0);
    hear(idle.server, "ask");
    hear(stream.server, "more");
    int served = accept_one(listener);
    say(idle.server, "answer");
    hear(idle.client, "answer");
    say(stream.server, "answer");
    hear(stream.client, "answer");
    assert_requests(l, 4, 4, 0);
    assert_int_equal(kernel_gate(l->kernel, 12345, true), -ENOENT);
    pair_close(&idle);
    pair_close(&upload);
    pair_close(&stream);
    close(late);
    close(served);
    close(listener);
}

/* Attached while somebody needs it, and no longer. */
static void test_programs_hang_there_while_needed(void **state)
{
    Live *l = live(state);
    char ingress[200], egress[200];
    snprintf(ingress, sizeof ingress, "%s/bulkhead/%s/link_ingress", l->bpffs, INSTANCE);
    snprintf(egress, sizeof egress, "%s/bulkhead/%s/link_egress", l->bpffs, INSTANCE);
    assert_int_equal(access(ingress, F_OK), 0);
    assert_int_equal(access(egress, F_OK), 0);
    track(l, WORK_TRACK_CONNECTIONS, 0);
    assert_int_equal(access(ingress, F_OK), -1);
    assert_int_equal(access(egress, F_OK), -1);
    assert_int_equal(kernel_gate(l->kernel, l->a, true), 0);
    assert_int_equal(access(ingress, F_OK), 0);
    assert_int_equal(access(egress, F_OK), -1);
    assert_int_equal(kernel_gate(l->kernel, l->a, false), 0);
    assert_int_equal(access(ingress, F_OK), -1);
    track(l, WORK_TRACK_CONNECTIONS, 5);
    assert_int_equal(access(ingress, F_OK), 0);
    assert_int_equal(kernel_module_remove(l->kernel, l->a), 0);
    assert_int_equal(access(ingress, F_OK), -1);
}

static void test_max_in_flight_of_requests(void **state)
{
    Live *l = live(state);
    track(l, WORK_TRACK_REQUESTS, 3);
    int listener = listener_in_leaf(l, AF_INET);
    Pair p[8];
    for (size_t i = 0; i < ELEMENTS(p); i++)
        p[i] = pair_open(listener, AF_INET);
    for (size_t i = 0; i < ELEMENTS(p); i++)
        say(p[i].client, "ask");
    EVENTUALLY(requests(l).rejected == ELEMENTS(p) - 3);
    /* One answer lets one in. */
    unsigned answered = 0, at_once = 0;
    for (uint64_t until = now_monotonic() + 6 * DEADLINE; answered < ELEMENTS(p) && now_monotonic() < until;) {
        unsigned have = 0, any = 0;
        for (size_t i = 0; i < ELEMENTS(p); i++)
            if (readable(p[i].server, 0)) {
                have++;
                any = (unsigned)i + 1;
            }
        at_once = MAX2(at_once, have);
        if (any) {
            hear(p[any - 1].server, "ask");
            say(p[any - 1].server, "answer");
            hear(p[any - 1].client, "answer");
            answered++;
        } else {
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
    }
    assert_int_equal(answered, ELEMENTS(p));
    assert_int_equal(at_once, 3);
    assert_int_equal(requests(l).in_flight_peak, 3);
    assert_requests(l, ELEMENTS(p), ELEMENTS(p), 0);
    for (size_t i = 0; i < ELEMENTS(p); i++)
        pair_close(&p[i]);
    close(listener);
}

static void test_max_in_flight_of_connections(void **state)
{
    Live *l = live(state);
    track(l, WORK_TRACK_CONNECTIONS, 2);
    int listener = listener_in_leaf(l, AF_INET), late[3];
    Pair p[2] = {pair_open(listener, AF_INET), pair_open(listener, AF_INET)};
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons((uint16_t)port_of(listener))};
    for (int i = 0; i < 3; i++) {
        late[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(late[i], (struct sockaddr *)&to, sizeof to), -1);
    }
    EVENTUALLY(counts(l).rejected >= 3);
    assert_false(readable(listener, 200));
    for (int i = 0; i < 2; i++)
        pair_close(&p[i]);
    for (int i = 0; i < 3; i++) {
        p[0].server = accept_one(listener);
        assert_in_range(counts(l).in_flight, 1, 2);
        close(p[0].server);
    }
    for (int i = 0; i < 3; i++)
        close(late[i]);
    EVENTUALLY(counts(l).in_flight == 0);
    assert_int_equal(counts(l).in_flight_peak, 2);
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    assert_int_equal(w.slots, 0);
    close(listener);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, live_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_gate_holds_what_is_new_and_loses_nothing),
        TEST(test_programs_hang_there_while_needed),
        TEST(test_max_in_flight_of_requests),
        TEST(test_max_in_flight_of_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
