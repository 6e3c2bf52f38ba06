/* A client that costs little: `client PORT CONNECTIONS REQUESTS`. On each of its keep-alive connections it asks for /
 * by HTTP/1.1, waits for the whole answer, asks again, until all of them together have had as many answers as told.
 * Fails when an answer is not a 200 with a length or a connection ends. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, ANSWER_MAX = 16384 };

static const char question[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";

struct connection {
    size_t have;
    int fd;
    char answer[ANSWER_MAX + 1];
};

static struct connection connections[CONNECTIONS_MAX];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void ask(const struct connection *c)
{
    if (send(c->fd, question, sizeof question - 1, MSG_NOSIGNAL) != (ssize_t)sizeof question - 1)
        fail("send");
}

static bool is_whole(const struct connection *c)
{
    const char *end = strstr(c->answer, "\r\n\r\n"), *length = strcasestr(c->answer, "\r\ncontent-length:");
    if (!end)
        return false;
    if (strncmp(c->answer + strlen("HTTP/1.1"), " 200", 4) != 0 || !length || length > end) {
        fprintf(stderr, "not a 200 with a length: %.*s\n", (int)(end - c->answer), c->answer);
        exit(1);
    }
    size_t body = strtoul(length + strlen("\r\ncontent-length:"), NULL, 10);
    return c->have >= (size_t)(end + 4 - c->answer) + body;
}

/* True with the last byte of an answer. */
static bool answered(struct connection *c)
{
    ssize_t n = recv(c->fd, c->answer + c->have, ANSWER_MAX - c->have, 0);
    if (n <= 0) {
        errno = n < 0 ? errno : ECONNRESET;
        fail("recv");
    }
    c->have += (size_t)n;
    c->answer[c->have] = '\0';
    if (!is_whole(c))
        return false;
    c->have = 0;
    return true;
}

static void open_all(int epoll, int port, int n)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    for (struct connection *c = connections; c < connections + n; c++) {
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd < 0 || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) < 0 ||
            connect(c->fd, (struct sockaddr *)&a, sizeof a) < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e) < 0)
            fail("connect");
    }
}

static int number(int argc, char **argv, int i)
{
    return i < argc ? (int)strtol(argv[i], NULL, 10) : 0;
}

int main(int argc, char **argv)
{
    int port = number(argc, argv, 1), n = number(argc, argv, 2);
    int to_ask = number(argc, argv, 3), to_hear = to_ask;
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (port <= 0 || n <= 0 || n > CONNECTIONS_MAX || to_ask < n || epoll < 0) {
        fprintf(stderr, "usage: client PORT CONNECTIONS REQUESTS\n");
        return 2;
    }
    open_all(epoll, port, n);
    for (int i = 0; i < n; i++, to_ask--)
        ask(&connections[i]);
    while (to_hear > 0) {
        struct epoll_event events[64];
        int ready = epoll_wait(epoll, events, 64, -1);
        if (ready < 0 && errno != EINTR)
            fail("epoll_wait");
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            if (!answered(c))
                continue;
            to_hear--;
            if (to_ask-- > 0)
                ask(c);
        }
    }
    return 0;
}
