/* Sockets as the live tests of bpf/ use them: listeners, also ones that belong to a module's leaf, and connections. */
#pragma once

#include "tests/unit/bpf_live.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

_unused_ static int make_listener_of(int family, int protocol)
{
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol), off = 0;
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (bind(fd, family == AF_INET6 ? (void *)&a6 : (void *)&a4, family == AF_INET6 ? sizeof a6 : sizeof a4) < 0 ||
        listen(fd, 256) < 0)
        return -1;
    return fd;
}

_unused_ static int make_listener(int family)
{
    return make_listener_of(family, 0);
}

_unused_ static int port_of(int fd)
{
    struct sockaddr_in6 a = {0};
    socklen_t size = sizeof a;
    return getsockname(fd, (struct sockaddr *)&a, &size) < 0 ? -1 : ntohs(a.sin6_port); /* same place in sockaddr_in */
}

_unused_ static int connect_by(int family, int protocol, int port)
{
    struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    a6.sin6_port = a4.sin_port = htons((uint16_t)port);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, protocol);
    if (connect(fd, family == AF_INET6 ? (void *)&a6 : (void *)&a4, family == AF_INET6 ? sizeof a6 : sizeof a4) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

_unused_ static int connect_to(int family, int port)
{
    return connect_by(family, 0, port);
}

/* A listener belongs to the cgroup of its maker: this process is in the leaf for a moment. What it accepts counts as
 * the module's. */
_unused_ static int listener_in_leaf_of(Live *l, int family, int protocol)
{
    char procs[700], own[700], out[256];
    assert_true(own_cgroup(NULL, out, sizeof out));
    snprintf(procs, sizeof procs, "%s/cgroup.procs", l->leaf);
    snprintf(own, sizeof own, "%s/cgroup.procs", out);
    assert_int_equal(file_write(AT_FDCWD, procs, "0"), 0);
    int fd = make_listener_of(family, protocol);
    assert_int_equal(file_write(AT_FDCWD, own, "0"), 0);
    return fd;
}

_unused_ static int listener_in_leaf(Live *l, int family)
{
    return listener_in_leaf_of(l, family, 0);
}
