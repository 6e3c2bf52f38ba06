/* Both ends of a module's connections in one process, which knows at any moment what must be in flight; only the
 * listener is the module's. */
#pragma once

#include "tests/unit/bpf_sockets.h"

#include <stdlib.h>

#define SETTLE        (20 * NSEC_PER_MSEC)
#define NSEC_PER_MSEC UINT64_C(1000000)

_unused_ static struct work_counters requests(Live *l)
{
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    return w.requests;
}

_unused_ static KernelTruth truth(Live *l)
{
    KernelTruth t = {0};
    Error e = {0};
    if (kernel_truth(l->kernel, l->a, &t, &e) < 0)
        fail_msg("%s", error_message(&e));
    return t;
}

_unused_ static void track(Live *l, uint32_t what, uint32_t max_in_flight)
{
    const KernelModule m = {.name = "a", .track = what, .max_in_flight = max_in_flight, .settle_nsec = SETTLE};
    assert_int_equal(kernel_module_add(l->kernel, l->a, &m, NULL), 0);
}

_unused_ static int setup(void **state)
{
    int r = live_open(state);
    if (r == 0 && *state)
        track(*state, WORK_TRACK_REQUESTS, 0);
    return r;
}

/* --- a pair: both ends of an accepted connection ---------------------------------------------------------------------
 */

typedef struct Pair {
    int client, server;
} Pair;

_unused_ static int accept_one(int listener)
{
    struct pollfd p = {.fd = listener, .events = POLLIN};
    if (poll(&p, 1, DEADLINE_MSEC) != 1)
        fail_msg("nothing to accept in time");
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

_unused_ static Pair pair_open(int listener, int family)
{
    int one = 1;
    Pair p = {.client = connect_to(family, port_of(listener))};
    assert_true(p.client >= 0);
    p.server = accept_one(listener);
    setsockopt(p.client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    setsockopt(p.server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return p;
}

_unused_ static void pair_close(Pair *p)
{
    p->client = fd_close(p->client);
    p->server = fd_close(p->server);
}

_unused_ static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

_unused_ static bool readable(int fd, int msec)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, msec) == 1;
}

_unused_ static void hear(int fd, const char *text)
{
    char buffer[256];
    size_t have = 0, want = strlen(text);
    while (have < want) {
        if (!readable(fd, DEADLINE_MSEC))
            fail_msg("\"%s\" did not come in time", text);
        ssize_t n = recv(fd, buffer + have, want - have, 0);
        assert_true(n > 0);
        have += (size_t)n;
    }
    assert_memory_equal(buffer, text, want);
}

_unused_ static void reset(int fd)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    close(fd);
}

_unused_ static void assert_requests(Live *l, uint64_t started, uint64_t completed, uint64_t errors)
{
    EVENTUALLY(requests(l).in_flight == 0 && requests(l).completed + requests(l).errors == started);
    struct work_counters n = requests(l);
    assert_int_equal(n.started, started);
    assert_int_equal(n.completed, completed);
    assert_int_equal(n.errors, errors);
    uint64_t ended = 0;
    for (int i = 0; i < BULKHEAD_HIST_SLOTS; i++)
        ended += n.latency[i];
    assert_int_equal(ended, completed + errors);
}
