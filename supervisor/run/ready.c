/* See ready.h. */
#include "supervisor/run/ready.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PROBE_INTERVAL_MS 20

static int try_connect(int family, const void *address, socklen_t size)
{
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int r = connect(fd, address, size) < 0 ? errno : 0;
    close(fd);
    return r;
}

static int try_tcp(uint16_t port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int r = try_connect(AF_INET, &v4, sizeof v4);
    return r ? try_connect(AF_INET6, &v6, sizeof v6) : 0;
}

static int try_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int r = try_connect(AF_UNIX, &address, sizeof address);
    return r == EPROTOTYPE ? 0 : r; /* a datagram socket: bound is all it can be */
}

int ready_probe(const void *argument)
{
    const Ready *ready = argument;
    for (;;) {
        int r = ready->kind == READY_TCP ? try_tcp((uint16_t)ready->number) : try_unix(ready->path);
        if (r == 0)
            return 0;
        (void)poll(NULL, 0, PROBE_INTERVAL_MS);
    }
}
