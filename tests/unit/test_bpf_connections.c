/* Connections of real servers, counted by the real kernel: whatever ends them, in_flight comes back to 0 and
 * started = completed + errors. */
#include "tests/unit/bpf_sockets.h"

#include <sys/prctl.h>

/* --- a server that does what it is told ------------------------------------------------------------------------------
 */

typedef enum ServerOp {
    OP_LISTEN4 = 1,
    OP_LISTEN6,
    OP_ACCEPT,
    OP_EOF,
    OP_CLOSE,
    OP_UNLISTEN,
    OP_CONNECT,
    OP_MOVE
} ServerOp;

typedef struct Server {
    pid_t pid;
    int fd;
} Server;

typedef struct ServerState {
    int listeners[8], n_listeners;
    int conns[256], n_conns;
} ServerState;

static int serve_one(ServerState *s, int op, int arg)
{
    char byte[64], path[700];
    switch ((ServerOp)op) {
    case OP_LISTEN4:
    case OP_LISTEN6:
        s->listeners[s->n_listeners] = make_listener(op == OP_LISTEN6 ? AF_INET6 : AF_INET);
        return port_of(s->listeners[s->n_listeners++]);
    case OP_ACCEPT: /* arg of them, from the last listener */
        for (int i = 0; i < arg; i++)
            if ((s->conns[s->n_conns++] = accept4(s->listeners[s->n_listeners - 1], NULL, NULL, SOCK_CLOEXEC)) < 0)
                return -1;
        return 0;
    case OP_EOF: /* reads until every client has closed its side, then answers a byte */
        for (int i = 0; i < s->n_conns; i++) {
            while (read(s->conns[i], byte, sizeof byte) > 0) {
            }
            if (arg && send(s->conns[i], "x", 1, MSG_NOSIGNAL) != 1)
                return -1;
        }
        return 0;
    case OP_CLOSE:
        while (s->n_conns > 0)
            close(s->conns[--s->n_conns]);
        return 0;
    case OP_UNLISTEN:
        while (s->n_listeners > 0)
            close(s->listeners[--s->n_listeners]);
        return 0;
    case OP_CONNECT: /* to a port, from inside the module */
        return (s->conns[s->n_conns++] = connect_to(AF_INET, arg)) < 0 ? -1 : 0;
    case OP_MOVE: /* out of the leaf, into the parent of the tree */
        snprintf(path, sizeof path, "%s/cgroup.procs", getenv("BH_TEST_OUT"));
        return file_write(AT_FDCWD, path, "0");
    default:
        return -1;
    }
}

static int serve(void *arg)
{
    int fd = *(int *)arg, message[2];
    ServerState s = {0};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "bh-server");
    while (recv(fd, message, sizeof message, 0) == sizeof message) {
        int answer = serve_one(&s, message[0], message[1]);
        if (send(fd, &answer, sizeof answer, MSG_NOSIGNAL) != sizeof answer)
            break;
    }
    return 0;
}

static Server server_start(const char *leaf)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    /* The child has the parent's end too: it is closed by its exit. PDEATHSIG ends it with the test. */
    Server s = {.pid = child_in(leaf, serve, &pair[1]), .fd = pair[0]};
    close(pair[1]);
    return s;
}

static int tell(Server *s, ServerOp op, int arg)
{
    int message[2] = {(int)op, arg}, answer = -1;
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    assert_int_equal(send(s->fd, message, sizeof message, MSG_NOSIGNAL), sizeof message);
    if (poll(&p, 1, 10000) != 1)
        fail_msg("the server does not answer to %d", op);
    assert_int_equal(recv(s->fd, &answer, sizeof answer, 0), sizeof answer);
    assert_true(answer >= 0);
    return answer;
}

static void server_stop(Server *s)
{
    kill(s->pid, SIGKILL);
    wait_child(s->pid);
    close(s->fd);
}

static void assert_balanced(Live *l, uint64_t started, uint64_t completed, uint64_t errors)
{
    EVENTUALLY(counts(l).in_flight == 0);
    struct work_counters n = counts(l);
    assert_int_equal(n.started, started);
    assert_int_equal(n.completed, completed);
    assert_int_equal(n.errors, errors);
    assert_int_equal(n.rejected, 0);
    uint64_t ended = 0;
    for (int i = 0; i < BULKHEAD_HIST_SLOTS; i++)
        ended += n.latency[i];
    assert_int_equal(ended, completed + errors);
}

/* --- tests -----------------------------------------------------------------------------------------------------------
 */

static void test_one_after_another(void **state)
{
    Live *l = live(state);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN4, 0);
    for (int i = 0; i < 20; i++) {
        int c = connect_to(AF_INET, port);
        assert_true(c >= 0);
        tell(&s, OP_ACCEPT, 1);
        EVENTUALLY(counts(l).in_flight == 1);
        close(c);
        tell(&s, OP_EOF, 0);
        tell(&s, OP_CLOSE, 0);
        EVENTUALLY(counts(l).in_flight == 0);
    }
    assert_balanced(l, 20, 20, 0);
    assert_int_equal(counts(l).in_flight_peak, 1);
    server_stop(&s);
}

static void test_many_at_once_have_an_exact_peak(void **state)
{
    Live *l = live(state);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN4, 0), c[37];
    for (int i = 0; i < 37; i++)
        assert_true((c[i] = connect_to(AF_INET, port)) >= 0);
    tell(&s, OP_ACCEPT, 37);
    EVENTUALLY(counts(l).in_flight == 37); /* accept(2) may return just before a child is established */
    assert_int_equal(counts(l).in_flight_peak, 37);
    tell(&s, OP_CLOSE, 0); /* the server closes first: FIN_WAIT1 */
    for (int i = 0; i < 37; i++)
        close(c[i]);
    assert_balanced(l, 37, 37, 0);
    assert_int_equal(counts(l).in_flight_peak, 37);
    server_stop(&s);
}

static int connect_much(void *arg)
{
    int port = *(int *)arg;
    for (int round = 0; round < 200; round++) {
        int c[8];
        for (int i = 0; i < 8; i++)
            if ((c[i] = connect_to(AF_INET, port)) < 0)
                return 1;
        /* Wait for the server on one of them: a full accept queue would drop connections before they are any. */
        char byte;
        if (read(c[6], &byte, 1) != 0)
            return 2;
        for (int i = 0; i < 8; i++) {
            struct linger reset = {.l_onoff = 1, .l_linger = 0};
            if (i % 2)
                setsockopt(c[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            close(c[i]);
        }
    }
    return 0;
}

/* Two clients race on two CPUs against a server that accepts and closes. */
static int accept_all(void *arg)
{
    for (int fd = *(int *)arg, c; (c = accept(fd, NULL, NULL)) >= 0 || errno == ECONNABORTED;)
        close(c);
    return 1;
}

static void test_storm_balances(void **state)
{
    Live *l = live(state);
    int fd = listener_in_leaf(l, AF_INET);
    int port = port_of(fd);
    pid_t server = child_in("", accept_all, &fd);
    close(fd);
    pid_t clients[2];
    for (int i = 0; i < 2; i++)
        clients[i] = child_in("", connect_much, &port);
    for (int i = 0; i < 2; i++)
        assert_int_equal(wait_child(clients[i]), 0);
    kill(server, SIGKILL);
    wait_child(server);
    EVENTUALLY(counts(l).in_flight == 0);
    struct work_counters n = counts(l);
    assert_int_equal(n.started, 2 * 200 * 8);
    assert_int_equal(n.completed + n.errors, n.started);
    assert_in_range(n.in_flight_peak, 1, 257);
    struct kernel_stats trouble;
    assert_int_equal(kernel_stats(l->kernel, &trouble), 0);
    assert_int_equal(trouble.version, BULKHEAD_LAYOUT_VERSION);
    assert_int_equal(trouble.peak_unsure, 0);
    assert_int_equal(trouble.ring_lost, 0);
}

static void test_reset_by_client_is_an_error(void **state)
{
    Live *l = live(state);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN4, 0);
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    for (int i = 0; i < 3; i++) {
        int c = connect_to(AF_INET, port);
        assert_true(c >= 0);
        assert_int_equal(setsockopt(c, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
        tell(&s, OP_ACCEPT, 1);
        EVENTUALLY(counts(l).in_flight == 1);
        close(c);
        EVENTUALLY(counts(l).in_flight == 0);
    }
    assert_balanced(l, 3, 0, 3);
    tell(&s, OP_CLOSE, 0); /* the process's own close comes later and counts nothing */
    assert_balanced(l, 3, 0, 3);
    server_stop(&s);
}

static void test_half_closed_is_in_flight(void **state)
{
    Live *l = live(state);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN4, 0), c = connect_to(AF_INET, port);
    char byte;
    tell(&s, OP_ACCEPT, 1);
    shutdown(c, SHUT_WR);
    tell(&s, OP_EOF, 1);
    assert_int_equal(read(c, &byte, 1), 1);
    assert_int_equal(counts(l).in_flight, 1);
    tell(&s, OP_CLOSE, 0);
    assert_balanced(l, 1, 1, 0);
    close(c);
    server_stop(&s);
}

static void test_killed_server_leaks_nothing(void **state)
{
    Live *l = live(state);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN4, 0), c[9];
    for (int i = 0; i < 9; i++)
        assert_true((c[i] = connect_to(AF_INET, port)) >= 0);
    tell(&s, OP_ACCEPT, 5); /* four stay in the backlog */
    assert_int_equal(send(c[0], "unread", 6, MSG_NOSIGNAL), 6);
    EVENTUALLY(counts(l).in_flight == 9);
    server_stop(&s);
    /* Unread data and what was never accepted are cut off by RST; the rest got a FIN. */
    assert_balanced(l, 9, 4, 5);
    for (int i = 0; i < 9; i++)
        close(c[i]);
}

static void test_closed_listener_cuts_its_backlog(void **state)
{
    Live *l = live(state);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN4, 0), c[6];
    for (int i = 0; i < 6; i++)
        assert_true((c[i] = connect_to(AF_INET, port)) >= 0);
    EVENTUALLY(counts(l).in_flight == 6);
    tell(&s, OP_UNLISTEN, 0);
    assert_balanced(l, 6, 0, 6);
    for (int i = 0; i < 6; i++)
        close(c[i]);
    server_stop(&s);
}

static void test_ipv6_and_mapped(void **state)
{
    Live *l = live(state);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN6, 0), six = connect_to(AF_INET6, port), four = connect_to(AF_INET, port);
    if (six < 0) {
        server_stop(&s);
        SKIP("no IPv6 on loopback");
    }
    assert_true(four >= 0);
    tell(&s, OP_ACCEPT, 2);
    EVENTUALLY(counts(l).in_flight == 2);
    close(six);
    close(four);
    tell(&s, OP_EOF, 0);
    tell(&s, OP_CLOSE, 0);
    assert_balanced(l, 2, 2, 0);
    struct ring_event event = wait_event(l, RING_LISTEN, s.pid);
    assert_int_equal(event.value, port);
    assert_int_equal(event.family, AF_INET6);
    server_stop(&s);
}

static void test_ports_filter(void **state)
{
    Live *l = live(state);
    Server s = server_start(l->leaf);
    int wanted = tell(&s, OP_LISTEN4, 0), other = tell(&s, OP_LISTEN4, 0);
    uint16_t ports[] = {1, (uint16_t)wanted};
    assert_int_equal(module_tracked(l, l->a, "a", WORK_TRACK_CONNECTIONS, ports, 2, NULL), 0);
    int c1 = connect_to(AF_INET, other), c2 = connect_to(AF_INET, wanted);
    EVENTUALLY(counts(l).in_flight == 1);
    /* The policy may change under a connection: its end balances its begin. */
    ports[1] = (uint16_t)other;
    assert_int_equal(module_tracked(l, l->a, "a", WORK_TRACK_CONNECTIONS, ports, 2, NULL), 0);
    close(c1);
    close(c2);
    server_stop(&s);
    assert_balanced(l, 1, 0, 1); /* never accepted, so reset */
    Error e = {0};
    uint16_t many[BULKHEAD_PORTS_MAX + 1] = {0};
    assert_int_equal(module_tracked(l, l->a, "a", 1, many, ELEMENTS(many), &e), -E2BIG);
    assert_non_null(strstr(e.msg, "work.ports"));
}

static void test_only_the_accepting_side_counts(void **state)
{
    Live *l = live(state);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN4, 0);
    tell(&s, OP_CONNECT, port); /* both ends in the module */
    tell(&s, OP_ACCEPT, 1);
    EVENTUALLY(counts(l).started == 1 && counts(l).in_flight == 1);
    int outside = make_listener(AF_INET);
    tell(&s, OP_CONNECT, port_of(outside)); /* a client of somebody else */
    assert_int_equal(counts(l).started, 1);
    tell(&s, OP_CLOSE, 0);
    assert_balanced(l, 1, 1, 0);
    close(outside);
    server_stop(&s);
}

static void test_untracked_only_tells_listeners(void **state)
{
    Live *l = live(state);
    assert_int_equal(module_tracked(l, l->a, "a", 0, NULL, 0, NULL), 0);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN4, 0), c = connect_to(AF_INET, port);
    tell(&s, OP_ACCEPT, 1);
    struct ring_event event = wait_event(l, RING_LISTEN, s.pid);
    assert_int_equal(event.value, port);
    assert_int_equal(event.family, AF_INET);
    assert_int_equal(event.module, l->a);
    assert_int_equal(event.leaf, l->leaf_id);
    assert_string_equal(event.comm, "bh-server");
    assert_true(event.time_nsec > 0);
    close(c);
    server_stop(&s);
    assert_int_equal(counts(l).started, 0);
    assert_int_equal(l->n_events, 1 + (event_of(l, RING_EXIT, s.pid) ? 1 : 0));
}

static void test_removed_module_does_not_underflow(void **state)
{
    Live *l = live(state);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN4, 0), c1 = connect_to(AF_INET, port), c2 = connect_to(AF_INET, port);
    tell(&s, OP_ACCEPT, 2);
    struct work_entry w;
    assert_int_equal(kernel_module_remove(l->kernel, l->a), 0);
    assert_int_equal(kernel_module_remove(l->kernel, l->a), -ENOENT);
    assert_int_equal(kernel_work(l->kernel, l->a, &w), -ENOENT);
    close(c1);
    /* The same cgroup comes back under a new entry: connections of the old one are none of its. */
    assert_int_equal(module_tracked(l, l->a, "a", WORK_TRACK_CONNECTIONS, NULL, 0, NULL), 0);
    close(c2);
    tell(&s, OP_CLOSE, 0);
    int c3 = connect_to(AF_INET, port);
    tell(&s, OP_ACCEPT, 1);
    EVENTUALLY(counts(l).in_flight == 1);
    tell(&s, OP_CLOSE, 0);
    assert_balanced(l, 1, 1, 0);
    close(c3);
    server_stop(&s);
}

static void test_sockets_outlive_their_leaf(void **state)
{
    Live *l = live(state);
    setenv("BH_TEST_OUT", l->root, 1);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN4, 0), c1 = connect_to(AF_INET, port);
    tell(&s, OP_ACCEPT, 1);
    tell(&s, OP_MOVE, 0);
    EVENTUALLY(rmdir(l->leaf) == 0);
    assert_int_equal(kernel_generation_remove(l->kernel, l->leaf_id), 0);
    int c2 = connect_to(AF_INET, port); /* begun when the listener's leaf was gone */
    tell(&s, OP_ACCEPT, 1);
    EVENTUALLY(counts(l).in_flight == 2);
    tell(&s, OP_CLOSE, 0);
    assert_balanced(l, 2, 2, 0);
    close(c1);
    close(c2);
    server_stop(&s);
}

static void test_draining_tells_when_idle(void **state)
{
    Live *l = live(state);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN4, 0), c[3];
    for (int i = 0; i < 3; i++)
        c[i] = connect_to(AF_INET, port);
    tell(&s, OP_ACCEPT, 3);
    EVENTUALLY(counts(l).in_flight == 3);
    assert_null(event_of(l, RING_IDLE, 0));
    assert_int_equal(kernel_set_draining(l->kernel, l->a, true), 0);
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    assert_int_equal(w.draining, 1);
    assert_int_equal(w.connections.in_flight, 3);
    tell(&s, OP_CLOSE, 0);
    struct ring_event event = wait_event(l, RING_IDLE, 0);
    assert_int_equal(event.module, l->a);
    assert_int_equal(counts(l).in_flight, 0);
    for (int i = 0; i < 3; i++)
        close(c[i]);
    /* Not draining any more: silence. */
    assert_int_equal(kernel_set_draining(l->kernel, l->a, false), 0);
    l->n_events = 0;
    c[0] = connect_to(AF_INET, port);
    tell(&s, OP_ACCEPT, 1);
    tell(&s, OP_CLOSE, 0);
    close(c[0]);
    EVENTUALLY(counts(l).in_flight == 0);
    assert_null(event_of(l, RING_IDLE, 0));
    assert_int_equal(kernel_set_draining(l->kernel, 12345, true), -ENOENT);
    server_stop(&s);
}

static void test_counters_outlive_generations(void **state)
{
    Live *l = live(state);
    Server s = server_start(l->leaf);
    int port = tell(&s, OP_LISTEN4, 0), c = connect_to(AF_INET, port);
    tell(&s, OP_ACCEPT, 1);
    close(c);
    server_stop(&s);
    EVENTUALLY(counts(l).in_flight == 0);
    assert_int_equal(kernel_set_draining(l->kernel, l->a, true), 0);
    assert_int_equal(kernel_generation_add(l->kernel, l->leaf_id + 1, l->a, 2, NULL), 0);
    assert_int_equal(module_tracked(l, l->a, "renamed", WORK_TRACK_CONNECTIONS, NULL, 0, NULL), 0);
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    assert_int_equal(w.version, BULKHEAD_LAYOUT_VERSION);
    assert_int_equal(w.connections.started, 1);
    assert_int_equal(w.generation, 2);
    assert_int_equal(w.draining, 0);
    assert_string_equal(w.name, "renamed");
    assert_int_equal(kernel_generation_add(l->kernel, l->leaf_id + 1, l->a, 2, NULL), -EEXIST);
    assert_int_equal(kernel_generation_add(l->kernel, l->leaf_id + 2, 12345, 1, NULL), -ENOENT);
}

static void test_full_map_says_so(void **state)
{
    Live *l = live(state);
    Error e = {0};
    int r = 0;
    uint64_t id = 1ull << 60;
    for (int i = 0; i < 1000 && r == 0; i++)
        r = module_tracked(l, id++, "many", 0, NULL, 0, &e);
    assert_int_equal(r, -E2BIG);
    assert_non_null(strstr(e.msg, "many"));
    assert_int_equal(kernel_module_remove(l->kernel, 1ull << 60), 0);
    EVENTUALLY(module_tracked(l, id, "many", 0, NULL, 0, &e) == 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, live_open, live_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_after_another),
        TEST(test_many_at_once_have_an_exact_peak),
        TEST(test_storm_balances),
        TEST(test_reset_by_client_is_an_error),
        TEST(test_half_closed_is_in_flight),
        TEST(test_killed_server_leaks_nothing),
        TEST(test_closed_listener_cuts_its_backlog),
        TEST(test_ipv6_and_mapped),
        TEST(test_ports_filter),
        TEST(test_only_the_accepting_side_counts),
        TEST(test_untracked_only_tells_listeners),
        TEST(test_removed_module_does_not_underflow),
        TEST(test_sockets_outlive_their_leaf),
        TEST(test_draining_tells_when_idle),
        TEST(test_counters_outlive_generations),
        TEST(test_full_map_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
