/* usage: load KIND PORT CLIENTS LOG [SIZE [MSEC]]. Many clients of a server on this host, a thread each, that ask as
 * soon as they were answered and come back when they were cut off, until a SIGTERM; then each takes what it is still
 * waiting for and ends. A word of its own for each request: "CLIENT-NUMBER". LOG says what became of each:
 *
 *   did WORD             answered, all of it and as it should be
 *   cut WORD BYTES MSEC  the connection ended when so many bytes of the answer were there, so long after the last of
 * them wrong WORD           answered, but not as it should be
 *
 * They come a little apart, as people do: what is held is sent again by TCP's timer, and would come all at once for
 * ever.
 *
 * KIND: line, http (keep-alive), close (HTTP/1.0), stream, upload, websocket: what tests/helpers/threaded.py knows;
 * redis: SIZE INCR in one write. Every other client of `stream` is slow to read, and of `close` says at once that it
 * has no more to say. A connection that is not there after MSEC (100) is tried anew, so that a closed gate does not
 * have all clients wait as long as TCP would. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>

#include "tests/helpers/helper.h"

enum {
    BUFFER = 64 << 10,
    UPLOAD = 256 << 10,
    UPLOAD_PIECE = 32 << 10,
    SLOW_PIECE = 4 << 10,
    PAUSE_MSEC = 5,
    RETRY_MSEC = 30,
    APART_MSEC = 3
};

typedef struct Client {
    int number, fd;
    bool slow;
    long long counter; /* redis: what it answered last, on this connection */
    size_t got;        /* bytes of the answer */
    long long heard;   /* when the last of them came, ms */
    size_t begin, end; /* what is in `buffer` and not taken yet */
    char buffer[BUFFER];
} Client;

static volatile sig_atomic_t over;
static const char *kind;
static struct sockaddr_in server = {.sin_family = AF_INET};
static int out, size, connect_msec;

static void on_term(int s)
{
    (void)s;
    over = 1;
}

static bool is(const char *name)
{
    return strcmp(kind, name) == 0;
}

static void rest_msec(int msec)
{
    nanosleep(&(struct timespec){.tv_nsec = msec * 1000000L}, NULL);
}

static long long now_msec(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (long long)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int connected(bool slow)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1, little = SLOW_PIECE, error = 0;
    if (fd < 0)
        return -1;
    if (slow)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof little);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct pollfd p = {fd, POLLOUT, 0};
    if (connect(fd, (struct sockaddr *)&server, sizeof server) < 0 &&
        (errno != EINPROGRESS || poll(&p, 1, connect_msec) != 1 ||
         getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &(socklen_t){sizeof error}) < 0 || error)) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, 0);
    return fd;
}

/* --- sending and taking; false: the connection has ended --- */

static bool send_all(Client *c, const void *data, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(c->fd, data, n, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data = (const char *)data + sent;
        n -= (size_t)sent;
    }
    return true;
}

static bool fill(Client *c)
{
    if (c->begin == c->end)
        c->begin = c->end = 0;
    size_t room = sizeof c->buffer - c->end;
    if (c->slow)
        rest_msec(1);
    ssize_t n = recv(c->fd, c->buffer + c->end, c->slow && room > SLOW_PIECE ? SLOW_PIECE : room, 0);
    if (n <= 0)
        return false;
    c->end += (size_t)n;
    c->got += (size_t)n;
    c->heard = now_msec();
    return true;
}

/* A line, without its end, to stay until the next call. */
static bool take_line(Client *c, char **ret)
{
    for (;;) {
        char *from = c->buffer + c->begin, *to = memchr(from, '\n', c->end - c->begin);
        if (to) {
            c->begin = (size_t)(to + 1 - c->buffer);
            *to = '\0';
            if (to > from && to[-1] == '\r')
                to[-1] = '\0';
            *ret = from;
            return true;
        }
        if (!fill(c))
            return false;
    }
}

static bool take(Client *c, size_t n)
{
    for (;;) {
        size_t have = c->end - c->begin, some = have < n ? have : n;
        c->begin += some;
        n -= some;
        if (n == 0)
            return true;
        if (!fill(c))
            return false;
    }
}

/* --- what is asked and how it must be answered: 0, EPIPE the connection has ended, EPROTO wrong --- */

static int line_ask(Client *c, const char *word)
{
    char text[64], *answer;
    int n = snprintf(text, sizeof text, "did %s\n", word);
    if (!send_all(c, text + 4, (size_t)n - 4) || !take_line(c, &answer))
        return EPIPE;
    text[n - 1] = '\0';
    return strcmp(answer, text) == 0 ? 0 : EPROTO;
}

/* To the key of sixteen zero bytes. */
#define ACCEPT "Sec-WebSocket-Accept: ICX+Yqv66kxgM0FcWaLWlFLwTAI="

static int http_head(Client *c, int status, long *ret_length)
{
    char *line;
    bool accepted = status != 101;
    if (!take_line(c, &line))
        return EPIPE;
    if (strncmp(line, "HTTP/1.", 7) != 0 || strlen(line) < 9 || strtol(line + 9, NULL, 10) != status)
        return EPROTO;
    for (*ret_length = 0;;) {
        if (!take_line(c, &line))
            return EPIPE;
        if (!*line)
            return accepted ? 0 : EPROTO;
        accepted = accepted || strcmp(line, ACCEPT) == 0;
        if (strncasecmp(line, "Content-Length:", 15) == 0)
            *ret_length = strtol(line + 15, NULL, 10);
    }
}

static int http_answer(Client *c, const char *word)
{
    char text[64], *answer;
    long length;
    int r = http_head(c, 200, &length), n = snprintf(text, sizeof text, "did %s", word);
    if (r)
        return r;
    if (is("stream"))
        return length < BUFFER ? EPROTO : take(c, (size_t)length) ? 0 : EPIPE;
    if (!take_line(c, &answer))
        return EPIPE;
    if (length != n + 1 || strcmp(answer, text) != 0)
        return EPROTO;
    return is("close") && (fill(c) || errno == ECONNRESET) ? EPIPE : 0; /* a good answer ends by a good end */
}

static int http_ask(Client *c, const char *word)
{
    static const char piece[UPLOAD_PIECE];
    char text[256];
    int n = is("upload") ? snprintf(text, sizeof text, "POST /%s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
                                    word, UPLOAD)
                         : snprintf(text, sizeof text, "GET /%s%s HTTP/1.%d\r\nHost: x\r\n\r\n",
                                    is("stream") ? "stream/" : "", word, !is("close"));
    if (!send_all(c, text, (size_t)n))
        return EPIPE;
    for (int sent = 0; is("upload") && sent < UPLOAD; sent += UPLOAD_PIECE) {
        rest_msec(PAUSE_MSEC);
        if (!send_all(c, piece, sizeof piece))
            return EPIPE;
    }
    if (is("close") && c->number % 2)
        shutdown(c->fd, SHUT_WR);
    errno = 0;
    return http_answer(c, word);
}

/* The first thing on a connection. */
static int websocket_open(Client *c, const char *word)
{
    char text[256];
    long length;
    int n = snprintf(text, sizeof text,
                     "GET /%s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n",
                     word);
    return send_all(c, text, (size_t)n) ? http_head(c, 101, &length) : EPIPE;
}

static int websocket_ask(Client *c, const char *word)
{
    size_t n = strlen(word);
    char text[128] = {(char)0x81, (char)(0x80 | n), 1, 2, 3, 4}; /* the mask */
    for (size_t i = 0; i < n; i++)
        text[6 + i] = word[i] ^ text[2 + i % 4];
    if (!send_all(c, text, 6 + n))
        return EPIPE;
    while (c->end - c->begin < 2 + n)
        if (!fill(c))
            return EPIPE;
    const char *from = c->buffer + c->begin;
    bool good = from[0] == (char)0x81 && from[1] == (char)n && memcmp(from + 2, word, n) == 0;
    c->begin += 2 + n;
    return good ? 0 : EPROTO;
}

/* One counter a client: each answer must be one more than the one before. */
static int redis_ask(Client *c)
{
    char text[BUFFER], key[16], *line;
    int n = 0, k = snprintf(key, sizeof key, "c%d", c->number);
    for (int i = 0; i < size; i++)
        n += snprintf(text + n, sizeof text - (size_t)n, "*2\r\n$4\r\nINCR\r\n$%d\r\n%s\r\n", k, key);
    if (!send_all(c, text, (size_t)n))
        return EPIPE;
    for (int i = 0; i < size; i++) {
        if (!take_line(c, &line))
            return EPIPE;
        long long now = line[0] == ':' ? strtoll(line + 1, NULL, 10) : 0;
        if (now < 1 || (c->counter && now != c->counter + 1))
            return EPROTO;
        c->counter = now;
    }
    rest_msec(4 * PAUSE_MSEC); /* or it would fill the machine */
    return 0;
}

static int ask(Client *c, const char *word)
{
    return is("line")        ? line_ask(c, word)
           : is("websocket") ? websocket_ask(c, word)
           : is("redis")     ? redis_ask(c)
                             : http_ask(c, word);
}

/* --- a client's life --- */

static void note(const Client *c, const char *word, int r)
{
    char text[96];
    int n = r == EPIPE
                ? snprintf(text, sizeof text, "cut %s %zu %lld\n", word, c->got, c->got ? now_msec() - c->heard : 0)
                : snprintf(text, sizeof text, "%s %s\n", r ? "wrong" : "did", word);
    if (write(out, text, (size_t)n) != n)
        perror("load");
}

static int one(Client *c, int number, bool first)
{
    char word[32];
    snprintf(word, sizeof word, "%d-%d", c->number, number);
    c->got = 0;
    int r = first && is("websocket") ? websocket_open(c, word) : ask(c, word);
    note(c, word, r);
    return r;
}

static void *client(void *userdata)
{
    Client *c = userdata;
    bool first = false;
    for (int n = 0; !over;) {
        if (c->fd < 0) {
            c->fd = connected(c->slow);
            c->begin = c->end = 0;
            c->counter = 0;
            first = true;
        }
        if (c->fd < 0) {
            rest_msec(RETRY_MSEC);
            continue;
        }
        if (one(c, ++n, first) != 0 || is("close")) {
            close(c->fd);
            c->fd = -1;
        }
        first = false;
    }
    if (c->fd >= 0)
        close(c->fd);
    return NULL;
}

int main(int argc, char **argv)
{
    kind = argument(argc, argv, 1, "line");
    server.sin_port = htons((unsigned short)number(argument(argc, argv, 2, "0")));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int clients = number(argument(argc, argv, 3, "24"));
    out = open(argument(argc, argv, 4, "-"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    size = number(argument(argc, argv, 5, "1"));
    connect_msec = number(argument(argc, argv, 6, "100"));
    if (out < 0 || clients < 1 || size < 1 || size > BUFFER / 64) {
        perror("load");
        return 97;
    }
    sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_term, .sa_flags = SA_RESTART}, NULL);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    pthread_t *threads = calloc((size_t)clients, sizeof *threads);
    for (int i = 0; i < clients; i++) {
        Client *c = calloc(1, sizeof *c);
        *c = (Client){.number = i + 1, .fd = -1, .slow = is("stream") && i % 2};
        if ((errno = pthread_create(&threads[i], &attributes, client, c)) != 0) {
            perror("load");
            return 1;
        }
        rest_msec(APART_MSEC);
    }
    for (int i = 0; i < clients; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
