/* Requests on real connections, counted by the real kernel. Client and server are this one process, which knows at any
 * moment what must be in flight; only the listener is the module's. */
#include "tests/unit/bpf_pairs.h"

/* --- what counts -----------------------------------------------------------------------------------------------------
 */

static void test_exchanges_on_one_connection(void **state)
{
    Live *l = live(state);
    int listener = listener_in_leaf(l, AF_INET);
    Pair p = pair_open(listener, AF_INET);
    assert_int_equal(requests(l).started, 0); /* an open connection is no request */
    for (unsigned i = 1; i <= 20; i++) {
        say(p.client, "ask");
        EVENTUALLY(requests(l).in_flight == 1);
        hear(p.server, "ask");
        say(p.server, "answer");
        hear(p.client, "answer");
        assert_requests(l, i, i, 0);
    }
    assert_int_equal(requests(l).in_flight_peak, 1);
    pair_close(&p);
    assert_requests(l, 20, 20, 0);
    assert_int_equal(counts(l).started, 0); /* not tracked */
    close(listener);
}

static void test_many_at_once_have_an_exact_peak(void **state)
{
    Live *l = live(state);
    int listener = listener_in_leaf(l, AF_INET);
    Pair p[23];
    for (size_t i = 0; i < ELEMENTS(p); i++) {
        p[i] = pair_open(listener, AF_INET);
        say(p[i].client, "ask");
    }
    EVENTUALLY(requests(l).in_flight == ELEMENTS(p));
    for (size_t i = 0; i < ELEMENTS(p); i++)
        say(p[i].server, "answer");
    assert_requests(l, ELEMENTS(p), ELEMENTS(p), 0);
    assert_int_equal(requests(l).in_flight_peak, ELEMENTS(p));
    for (size_t i = 0; i < ELEMENTS(p); i++)
        pair_close(&p[i]);
    close(listener);
}

/* An upload in pieces is one request, an answer in pieces one answer, whose duration is that to its last piece. */
static void test_pieces_are_one_exchange(void **state)
{
    Live *l = live(state);
    int listener = listener_in_leaf(l, AF_INET);
    Pair p = pair_open(listener, AF_INET);
    for (int i = 0; i < 3; i++) {
        say(p.client, "piece");
        hear(p.server, "piece");
    }
    assert_int_equal(requests(l).in_flight, 1);
    assert_int_equal(requests(l).started, 1);
    uint64_t since = now_monotonic(), usec = 0;
    for (int i = 0; i < 3; i++) {
        say(p.server, "part");
        hear(p.client, "part");
        EVENTUALLY(requests(l).total_usec > usec);
        usec = requests(l).total_usec;
    }
    assert_in_range(usec, 1, now_monotonic() - since + DEADLINE);
    assert_requests(l, 1, 1, 0);
    /* Quiet for the settle time, it is over for those too who wait. */
    EVENTUALLY(truth(l).busy == 0);
    KernelTruth t = truth(l);
    assert_int_equal(t.connections, 1);
    assert_int_equal(t.unread + t.unsent + t.unacked + t.not_accepted, 0);
    assert_true(t.last_tx_nsec > 0);
    pair_close(&p);
    close(listener);
}

static void test_settles_after_the_last_of_the_answer(void **state)
{
    Live *l = live(state);
    const KernelModule m = {.name = "a", .track = WORK_TRACK_REQUESTS, .settle_nsec = 3600 * 1000 * NSEC_PER_MSEC};
    assert_int_equal(kernel_module_add(l->kernel, l->a, &m, NULL), 0);
    int listener = listener_in_leaf(l, AF_INET);
    Pair p = pair_open(listener, AF_INET);
    say(p.client, "ask");
    hear(p.server, "ask");
    KernelTruth t = truth(l);
    assert_int_equal(t.busy, 1);
    assert_true(t.oldest_nsec > 0);
    say(p.server, "answer");
    hear(p.client, "answer");
    assert_requests(l, 1, 1, 0);
    assert_int_equal(truth(l).busy, 1); /* it may go on */
    pair_close(&p);
    EVENTUALLY(truth(l).connections == 0);
    assert_int_equal(truth(l).busy, 0);
    close(listener);
}

/* A download that its reader does not take stays in flight until the last byte is on its way. */
static void test_download_is_in_flight_until_sent(void **state)
{
    Live *l = live(state);
    static char chunk[1 << 16];
    int listener = listener_in_leaf(l, AF_INET), n = 0;
    Pair p = pair_open(listener, AF_INET);
    say(p.client, "get");
    hear(p.server, "get");
    while (send(p.server, chunk, sizeof chunk, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        n++;
    assert_true(n > 1);
    EVENTUALLY(truth(l).unsent == 1);
    assert_int_equal(requests(l).in_flight, 1);
    assert_int_equal(truth(l).busy, 1);
    while (readable(p.client, 500) && recv(p.client, chunk, sizeof chunk, MSG_DONTWAIT) > 0) {
    }
    assert_requests(l, 1, 1, 0);
    assert_int_equal(truth(l).unsent, 0);
    pair_close(&p);
    close(listener);
}

static void test_how_connections_end(void **state)
{
    Live *l = live(state);
    int listener = listener_in_leaf(l, AF_INET);
    Pair p = pair_open(listener, AF_INET); /* the module closes without an answer */
    say(p.client, "ask");
    hear(p.server, "ask");
    pair_close(&p);
    assert_requests(l, 1, 0, 1);
    p = pair_open(listener, AF_INET); /* it answers and closes */
    say(p.client, "ask");
    hear(p.server, "ask");
    say(p.server, "answer");
    close(p.server);
    hear(p.client, "answer");
    close(p.client);
    assert_requests(l, 2, 1, 1);
    p = pair_open(listener, AF_INET); /* the client gives up */
    say(p.client, "ask");
    hear(p.server, "ask");
    reset(p.client);
    assert_requests(l, 3, 1, 2);
    close(p.server);
    p = pair_open(listener, AF_INET); /* the client has asked all it will ask */
    say(p.client, "ask");
    shutdown(p.client, SHUT_WR);
    hear(p.server, "ask");
    EVENTUALLY(requests(l).in_flight == 1);
    say(p.server, "answer");
    hear(p.client, "answer");
    pair_close(&p);
    assert_requests(l, 4, 2, 2);
    close(listener); /* never accepted */
    listener = listener_in_leaf(l, AF_INET);
    int c = connect_to(AF_INET, port_of(listener));
    say(c, "ask");
    EVENTUALLY(requests(l).in_flight == 1);
    EVENTUALLY(truth(l).not_accepted == 1 && truth(l).unread == 1);
    close(listener);
    assert_requests(l, 5, 2, 3);
    close(c);
}

static void test_ipv6_and_mapped(void **state)
{
    Live *l = live(state);
    int listener = listener_in_leaf(l, AF_INET6);
    Pair p[2] = {pair_open(listener, AF_INET6), pair_open(listener, AF_INET)};
    for (unsigned i = 0; i < 2; i++) {
        say(p[i].client, "ask");
        EVENTUALLY(requests(l).in_flight == 1);
        say(p[i].server, "answer");
        hear(p[i].client, "answer");
        assert_requests(l, i + 1, i + 1, 0);
    }
    KernelConnection *list = NULL;
    size_t n = 0;
    assert_int_equal(kernel_connections(l->kernel, l->a, &list, &n, NULL), 0);
    assert_int_equal(n, 2);
    static const uint8_t loopback[16] = {[15] = 1};
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(list[i].local_port, port_of(listener));
        assert_true(list[i].accepted && list[i].opened_nsec > 0);
        if (list[i].family == AF_INET)
            assert_memory_equal(list[i].peer, "\177\0\0\1", 4);
        else
            assert_memory_equal(list[i].peer, loopback, 16);
        assert_int_equal(list[i].peer_port, port_of(list[i].family == AF_INET ? p[1].client : p[0].client));
    }
    assert_true(list[0].family != list[1].family);
    free(list);
    for (int i = 0; i < 2; i++)
        pair_close(&p[i]);
    close(listener);
}

/* The handshake is completed by the request itself. */
static void test_deferred_accept(void **state)
{
    Live *l = live(state);
    int listener = listener_in_leaf(l, AF_INET), seconds = 10;
    assert_int_equal(setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds), 0);
    for (unsigned i = 1; i <= 50; i++) {
        Pair p = {.client = connect_to(AF_INET, port_of(listener))};
        say(p.client, "ask");
        p.server = accept_one(listener);
        hear(p.server, "ask");
        assert_int_equal(requests(l).in_flight, 1);
        say(p.server, "answer");
        hear(p.client, "answer");
        pair_close(&p);
        assert_requests(l, i, i, 0);
    }
    close(listener);
}

static void test_continue_is_no_answer(void **state)
{
    Live *l = live(state);
    int listener = listener_in_leaf(l, AF_INET);
    Pair p = pair_open(listener, AF_INET);
    say(p.client, "PUT / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n");
    hear(p.server, "PUT / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n");
    say(p.server, "HTTP/1.1 100 Continue\r\n\r\n");
    hear(p.client, "HTTP/1.1 100 Continue\r\n\r\n");
    assert_int_equal(kernel_gate(l->kernel, l->a, true), 0);
    say(p.client, "body");
    hear(p.server, "body");
    assert_int_equal(requests(l).in_flight, 1);
    say(p.server, "HTTP/1.1 200 OK\r\n\r\n");
    hear(p.client, "HTTP/1.1 200 OK\r\n\r\n");
    assert_requests(l, 1, 1, 0);
    pair_close(&p);
    close(listener);
}

static void test_ports_and_sum(void **state)
{
    Live *l = live(state);
    int wanted = listener_in_leaf(l, AF_INET), other = listener_in_leaf(l, AF_INET);
    const uint16_t port = (uint16_t)port_of(wanted);
    const KernelModule m = {
        .name = "a", .track = WORK_TRACK_REQUESTS | WORK_TRACK_CONNECTIONS, .ports = &port, .n_ports = 1};
    assert_int_equal(kernel_module_add(l->kernel, l->a, &m, NULL), 0);
    Pair p[2] = {pair_open(wanted, AF_INET), pair_open(other, AF_INET)};
    for (int i = 0; i < 2; i++)
        say(p[i].client, "ask");
    EVENTUALLY(requests(l).in_flight == 1 && counts(l).in_flight == 1);
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    assert_int_equal(w.total.in_flight, 2);
    assert_int_equal(w.total.in_flight_peak, 2);
    assert_int_equal(w.total.started, 2);
    for (int i = 0; i < 2; i++)
        pair_close(&p[i]);
    EVENTUALLY(requests(l).in_flight == 0 && counts(l).in_flight == 0);
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    assert_int_equal(w.total.in_flight, 0);
    assert_int_equal(w.total.in_flight_peak, 2);
    close(wanted);
    close(other);
}

static void test_connections_of_before_are_seeded(void **state)
{
    Live *l = live(state);
    track(l, 0, 0);
    int listener = listener_in_leaf(l, AF_INET);
    Pair idle = pair_open(listener, AF_INET), busy = pair_open(listener, AF_INET);
    say(busy.client, "ask");
    assert_true(readable(busy.server, 10000));
    track(l, WORK_TRACK_REQUESTS | WORK_TRACK_CONNECTIONS, 0);
    assert_int_equal(counts(l).in_flight, 2);
    assert_int_equal(requests(l).in_flight, 1);
    hear(busy.server, "ask");
    say(busy.server, "answer");
    assert_requests(l, 1, 1, 0);
    say(idle.client, "ask");
    EVENTUALLY(requests(l).in_flight == 1);
    /* Twice is once. */
    track(l, WORK_TRACK_CONNECTIONS, 0);
    assert_int_equal(truth(l).connections, 2);
    assert_int_equal(requests(l).in_flight, 0); /* given up */
    track(l, WORK_TRACK_REQUESTS | WORK_TRACK_CONNECTIONS, 0);
    assert_int_equal(counts(l).in_flight, 2);
    assert_int_equal(counts(l).started, 2);
    pair_close(&idle);
    pair_close(&busy);
    EVENTUALLY(counts(l).in_flight == 0 && requests(l).in_flight == 0);
    close(listener);
}

static void test_long_running_is_apart(void **state)
{
    Live *l = live(state);
    const KernelModule m = {.name = "a",
                            .track = WORK_TRACK_REQUESTS | WORK_TRACK_CONNECTIONS,
                            .settle_nsec = SETTLE,
                            .long_running_nsec = 1};
    assert_int_equal(kernel_module_add(l->kernel, l->a, &m, NULL), 0);
    int listener = listener_in_leaf(l, AF_INET);
    Pair p = pair_open(listener, AF_INET);
    say(p.client, "watch");
    EVENTUALLY(requests(l).in_flight == 1);
    KernelTruth t = truth(l);
    assert_int_equal(t.connections, 1);
    assert_int_equal(t.busy, 0);
    assert_int_equal(requests(l).in_flight, 0);
    assert_int_equal(requests(l).long_running, 1);
    assert_int_equal(counts(l).in_flight, 0);
    assert_int_equal(counts(l).long_running, 1);
    truth(l);
    assert_int_equal(requests(l).long_running, 1);
    say(p.server, "news");
    hear(p.client, "news");
    EVENTUALLY(requests(l).long_running == 0);
    assert_requests(l, 1, 1, 0);
    pair_close(&p);
    EVENTUALLY(counts(l).long_running == 0);
    assert_int_equal(counts(l).in_flight, 0);
    close(listener);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, live_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_exchanges_on_one_connection),
        TEST(test_many_at_once_have_an_exact_peak),
        TEST(test_pieces_are_one_exchange),
        TEST(test_settles_after_the_last_of_the_answer),
        TEST(test_download_is_in_flight_until_sent),
        TEST(test_how_connections_end),
        TEST(test_ipv6_and_mapped),
        TEST(test_deferred_accept),
        TEST(test_continue_is_no_answer),
        TEST(test_ports_and_sum),
        TEST(test_connections_of_before_are_seeded),
        TEST(test_long_running_is_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
