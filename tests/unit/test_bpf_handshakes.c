/* Connections that begin in another way than by three segments and a socket of the kernel's own choosing: accepted with
 * their first request (TCP_DEFER_ACCEPT), begun with it (Fast Open), out of nothing (SYN cookies), below another
 * protocol (MPTCP), and those that cannot be counted for want of memory. */
#include "tests/unit/bpf_lossy.h"

#include <linux/filter.h>

#define BOTH (WORK_TRACK_REQUESTS | WORK_TRACK_CONNECTIONS)

static struct kernel_stats trouble(Live *l)
{
    struct kernel_stats s;
    assert_int_equal(kernel_stats(l->kernel, &s), 0);
    return s;
}

/* All that has begun has ended, so many of each. */
static void assert_both(Live *l, uint64_t connections, uint64_t done)
{
    assert_requests(l, done, done, 0);
    EVENTUALLY(counts(l).in_flight == 0);
    assert_int_equal(counts(l).started, connections);
    assert_int_equal(counts(l).completed, connections);
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    assert_int_equal(w.total.in_flight, 0);
}

static void answer(Live *l, Pair *p, const char *question)
{
    hear(p->server, question);
    assert_int_equal(requests(l).in_flight, 1);
    assert_int_equal(counts(l).in_flight, 1);
    say(p->server, "answer");
    hear(p->client, "answer");
    pair_close(p);
}

/* --- TCP_DEFER_ACCEPT ------------------------------------------------------------------------------------------------
 */

static void test_deferred_until_the_first_request(void **state)
{
    Live *l = live(state);
    track(l, BOTH, 0);
    int listener = listener_in_leaf(l, AF_INET), seconds = 30;
    assert_int_equal(setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof seconds), 0);
    for (unsigned i = 1; i <= 20; i++) {
        Pair p = {.client = connect_to(AF_INET, port_of(listener))};
        assert_false(readable(listener, 0));
        assert_int_equal(counts(l).in_flight, 0); /* for the client it is established, for the module it is not */
        say(p.client, "ask");
        p.server = accept_one(listener);
        answer(l, &p, "ask");
        assert_both(l, i, i);
    }
    /* One that goes without a word was never a connection. */
    reset(connect_to(AF_INET, port_of(listener)));
    Pair last = {.client = connect_to(AF_INET, port_of(listener))};
    say(last.client, "ask");
    last.server = accept_one(listener);
    answer(l, &last, "ask");
    assert_both(l, 21, 21);
    assert_int_equal(counts(l).in_flight_peak, 1);
    close(listener);
}

/* --- Fast Open -------------------------------------------------------------------------------------------------------
 */

/* Waits for nothing: a closed gate would hold it up. */
static int fast_open(int port, const char *text)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(sendto(fd, text, strlen(text), MSG_FASTOPEN | MSG_DONTWAIT | MSG_NOSIGNAL, (void *)&a, sizeof a),
                     strlen(text));
    return fd;
}

/* Whether the peer has taken what lay in the SYN. */
static bool was_fast(int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    assert_int_equal(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size), 0);
    return info.tcpi_options & TCPI_OPT_SYN_DATA;
}

static void test_data_in_the_syn(void **state)
{
    Live *l = live(state);
    int home = net_enter(), backlog = 64;
    /* Both sides, without a cookie. */
    if (home < 0 || !net_set("ipv4/tcp_fastopen", "519"))
        SKIP("no network namespace in which Fast Open can be switched on");
    track(l, BOTH, 0);
    int listener = listener_in_leaf(l, AF_INET);
    assert_int_equal(setsockopt(listener, IPPROTO_TCP, TCP_FASTOPEN, &backlog, sizeof backlog), 0);
    for (unsigned i = 1; i <= 20; i++) {
        Pair p = {.client = fast_open(port_of(listener), "ask")};
        p.server = accept_one(listener);
        EVENTUALLY(was_fast(p.client));
        answer(l, &p, "ask");
        assert_both(l, i, i);
    }
    /* More of the same, keep-alive, an answer that is closed after, and one that goes without an answer. */
    Pair p = {.client = fast_open(port_of(listener), "ask")};
    p.server = accept_one(listener);
    for (int i = 0; i < 3; i++) {
        hear(p.server, "ask");
        say(p.server, "answer");
        hear(p.client, "answer");
        say(p.client, "ask");
    }
    hear(p.server, "ask");
    assert_int_equal(requests(l).in_flight, 1);
    pair_close(&p);
    assert_requests(l, 24, 23, 1);
    /* The gate holds it as any other: nothing begins until it is opened. */
    assert_int_equal(kernel_gate(l->kernel, l->a, true), 0);
    p.client = fast_open(port_of(listener), "ask");
    struct work_entry w;
    EVENTUALLY(kernel_work(l->kernel, l->a, &w) == 0 && w.held > 0);
    assert_int_equal(w.connections.in_flight, 0);
    assert_int_equal(w.requests.in_flight, 0);
    assert_int_equal(kernel_gate(l->kernel, l->a, false), 0);
    p.server = accept_one(listener);
    answer(l, &p, "ask");
    assert_requests(l, 25, 24, 1);
    EVENTUALLY(counts(l).in_flight == 0);
    assert_int_equal(counts(l).started, 22);
    close(listener);
    net_leave(home);
}

/* --- SYN cookies -----------------------------------------------------------------------------------------------------
 */

/* The kernel keeps nothing of a handshake until its last segment, which may be the first request. */
static void test_from_a_cookie(void **state)
{
    Live *l = live(state);
    int home = net_enter();
    if (home < 0 || !net_set("ipv4/tcp_syncookies", "2"))
        SKIP("no network namespace in which SYN cookies can be forced");
    track(l, BOTH, 0);
    int listener = listener_in_leaf(l, AF_INET);
    for (unsigned i = 1; i <= 20; i++) {
        Pair p = {.client = connect_to(AF_INET, port_of(listener))};
        say(p.client, "ask");
        p.server = accept_one(listener);
        answer(l, &p, "ask");
        assert_both(l, i, i);
    }
    close(listener);
    net_leave(home);
}

/* --- MPTCP -----------------------------------------------------------------------------------------------------------
 */

/* A listener and its connections are sockets of the kernel's below the ones that the program sees: TCP's, in its
 * cgroup. The client speaks MPTCP or plain TCP. */
static void test_below_mptcp(void **state)
{
    Live *l = live(state);
    track(l, BOTH, 0);
    int listener = listener_in_leaf_of(l, AF_INET, IPPROTO_MPTCP);
    if (listener < 0)
        SKIP("no MPTCP");
    static const int protocols[] = {IPPROTO_MPTCP, IPPROTO_TCP};
    unsigned n = 0;
    for (unsigned i = 0; i < 20; i++) {
        Pair p = {.client = connect_by(AF_INET, protocols[i % 2], port_of(listener))};
        assert_true(p.client >= 0);
        p.server = accept_one(listener);
        for (unsigned k = 0; k < 2; k++) {
            say(p.client, "ask");
            hear(p.server, "ask");
            assert_int_equal(counts(l).in_flight, 1);
            assert_int_equal(requests(l).in_flight, 1);
            say(p.server, "answer");
            hear(p.client, "answer");
            n++;
            assert_requests(l, n, n, 0);
        }
        EVENTUALLY(truth(l).unread + truth(l).unsent + truth(l).unacked == 0);
        pair_close(&p);
        EVENTUALLY(counts(l).in_flight == 0);
        assert_int_equal(counts(l).started, i + 1);
    }
    assert_int_equal(counts(l).completed + counts(l).errors, 20);
    assert_int_equal(counts(l).in_flight_peak, 1);
    close(listener);
}

/* --- no memory -------------------------------------------------------------------------------------------------------
 */

static bool attach(int fd, size_t loads, size_t moves)
{
    struct sock_filter *code = new0_array(struct sock_filter, loads + moves + 2);
    size_t n = 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX); /* all that arrives, whatever follows */
    while (loads--)
        code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
    while (moves--)
        code[n++] = (struct sock_filter)BPF_STMT(BPF_MISC | BPF_TAX, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, UINT32_MAX);
    struct sock_fprog program = {.len = (uint16_t)n, .filter = code};
    (void)setsockopt(fd, SOL_SOCKET, SO_DETACH_FILTER, &(int){0}, sizeof(int));
    bool r = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
    free(code);
    return r;
}

/* A connection inherits its listener's filter, and what a socket may have of memory for such things is bounded
 * (net.core.optmem_max): after the longest filter that fits nothing is left for a socket's storage. */
static void take_all_memory(int listener)
{
    size_t loads = 1, moves = 0;
    for (size_t step = 2048; step; step /= 2)
        if (loads + step <= 3000 && attach(listener, loads + step, 0))
            loads += step;
    for (size_t step = 64; step; step /= 2)
        if (attach(listener, loads, moves + step))
            moves += step;
    assert_true(loads < 3000); /* the bound was met */
    assert_true(attach(listener, loads, moves));
}

static void test_no_memory_is_told(void **state)
{
    Live *l = live(state);
    track(l, BOTH, 0);
    int listener = listener_in_leaf(l, AF_INET), none = 0;
    take_all_memory(listener);
    for (unsigned i = 1; i <= 5; i++) {
        Pair p = pair_open(listener, AF_INET);
        say(p.client, "ask");
        hear(p.server, "ask");
        say(p.server, "answer");
        hear(p.client, "answer"); /* it works, only nobody can count it */
        assert_int_equal(counts(l).rejected, i);
        assert_int_equal(requests(l).rejected, i);
        assert_int_equal(trouble(l).storage_fails, i);
        pair_close(&p);
    }
    Pair before = pair_open(listener, AF_INET);
    assert_int_equal(setsockopt(listener, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none), 0);
    Pair p = pair_open(listener, AF_INET);
    say(p.client, "ask");
    answer(l, &p, "ask");
    assert_both(l, 1, 1);
    /* Those of before the tracking, found in the kernel's table, are told of in the same way. */
    track(l, 0, 0);
    track(l, BOTH, 0);
    assert_int_equal(trouble(l).storage_fails, 7);
    assert_int_equal(counts(l).rejected + requests(l).rejected, 13);
    pair_close(&before);
    assert_both(l, 1, 1);
    close(listener);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, live_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_deferred_until_the_first_request),
        TEST(test_data_in_the_syn),
        TEST(test_from_a_cookie),
        TEST(test_below_mptcp),
        TEST(test_no_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
