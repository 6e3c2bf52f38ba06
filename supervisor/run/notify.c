/* See notify.h. */
#include "supervisor/run/notify.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define STATUS_MAX       256
#define DATAGRAMS_A_TURN 64 /* a module that floods its socket gets its share of the loop and no more */

struct Notify {
    Generation *generation;
    NotifyFn fn;
    int fd;
    sd_event_source *source;
    char name[32];
    char *variable;
    bool refused; /* one event a generation is enough */
};

/* The number after `prefix`, from 1 to max; 0 when the line is another one or malformed. */
static uint64_t number_after(const char *prefix, const char *line, size_t n, uint64_t max)
{
    char number[32];
    uint64_t v;
    size_t skip = strlen(prefix);
    if (n <= skip || n - skip >= sizeof number || memcmp(line, prefix, skip) != 0)
        return 0;
    memcpy(number, line + skip, n - skip);
    number[n - skip] = '\0';
    return parse_u64(number, &v) == 0 && v <= max ? v : 0;
}

static bool is(const char *word, const char *line, size_t n)
{
    return strlen(word) == n && memcmp(line, word, n) == 0;
}

static void parse_line(const char *line, size_t n, NotifyMessage *m)
{
    static const char status[] = "STATUS=";
    uint64_t pid = number_after("MAINPID=", line, n, INT32_MAX),
             at = number_after("MONOTONIC_USEC=", line, n, UINT64_MAX);
    m->ready |= is("READY=1", line, n);
    m->reloading |= is("RELOADING=1", line, n);
    m->barrier |= is("BARRIER=1", line, n);
    if (pid > 1)
        m->main_pid = (pid_t)pid;
    if (at)
        m->monotonic_usec = at;
    if (n >= sizeof status - 1 && memcmp(line, status, sizeof status - 1) == 0) {
        free(m->status);
        m->status = str_escape(line + sizeof status - 1, n - (sizeof status - 1), STATUS_MAX);
    }
}

void notify_parse(const char *text, size_t n, NotifyMessage *ret)
{
    *ret = (NotifyMessage){0};
    for (size_t begin = 0; begin < n;) {
        const char *end = memchr(text + begin, '\n', n - begin);
        size_t len = end ? (size_t)(end - (text + begin)) : n - begin;
        parse_line(text + begin, len, ret);
        begin += len + 1;
    }
}

static pid_t sender(struct msghdr *msg)
{
    struct ucred cred = {0};
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
            memcpy(&cred, CMSG_DATA(c), sizeof cred);
    return cred.pid;
}

/* Closes every descriptor that came along: for BARRIER=1 that is the answer, all others are unasked for. */
static void close_received(struct msghdr *msg)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
            close(fd);
        }
    }
}

static void refuse(Notify *n, pid_t pid, const char *why)
{
    if (n->refused)
        return;
    n->refused = true;
    run_event(n->generation->module->ctx, n->generation->module, n->generation->number, "notify-refused", NULL,
              json_pack("{s:i,s:s}", "pid", (int)pid, "reason", why));
}

/* 1 = handled one, 0 = nothing there. */
static int receive(Notify *n)
{
    char text[NOTIFY_DATAGRAM_MAX];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int) * 253)];
    } control;
    struct iovec iov = {text, sizeof text};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(n->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (size < 0)
        return errno == EINTR ? 1 : 0;
    pid_t pid = sender(&msg);
    if (msg.msg_flags & MSG_TRUNC) {
        refuse(n, pid, "datagram over 4096 bytes");
    } else if (!box_contains(n->generation->leaf, pid)) {
        refuse(n, pid, "sender is not in the module's cgroup");
    } else if (size > 0) {
        NotifyMessage m;
        notify_parse(text, (size_t)size, &m);
        n->fn(n->generation, &m);
        free(m.status);
    }
    close_received(&msg); /* after all in the message was acted upon: a barrier means just that */
    return 1;
}

void notify_flush(Notify *n)
{
    for (int i = 0; n && i < DATAGRAMS_A_TURN && receive(n); i++)
        ;
}

static int on_datagram(sd_event_source *source, int fd, uint32_t events, void *userdata)
{
    (void)source, (void)fd, (void)events;
    notify_flush(userdata);
    return 0;
}

static int bind_beneath(int fd, int dir, const char *name)
{
    /* Through /proc/self/fd, so that the path's length does not matter and no component can be swapped. */
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", dir, name);
    (void)unlinkat(dir, name, 0);
    return bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
}

int notify_open(Generation *g, NotifyFn fn, Notify **ret, Error *e)
{
    RunContext *ctx = g->module->ctx;
    const Sandbox *s = &g->module->policy->sandbox;
    Notify *n = new0(Notify);
    *n = (Notify){.generation = g, .fn = fn, .fd = -EBADF};
    snprintf(n->name, sizeof n->name, "%llu.%llu", (unsigned long long)g->module->serial,
             (unsigned long long)g->number);
    n->variable = xasprintf("NOTIFY_SOCKET=/run/bulkhead/%s/notify/%s", ctx->instance, n->name);
    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1, r = n->fd < 0 ? -errno : 0;
    if (r == 0)
        r = bind_beneath(n->fd, ctx->notify_dir, n->name);
    if (r == 0 && (setsockopt(n->fd, SOL_SOCKET, SO_PASSCRED, &one, sizeof one) < 0 ||
                   fchmodat(ctx->notify_dir, n->name, 0600, 0) < 0 ||
                   fchownat(ctx->notify_dir, n->name, s->uid, s->gid, AT_SYMLINK_NOFOLLOW) < 0))
        r = -errno;
    if (r == 0)
        r = sd_event_add_io(ctx->event, &n->source, n->fd, EPOLLIN, on_datagram, n);
    if (r < 0) {
        notify_free(n);
        return error_errno(e, r, "cannot make the notify socket");
    }
    *ret = n;
    return 0;
}

const char *notify_variable(const Notify *n)
{
    return n->variable;
}

Notify *notify_free(Notify *n)
{
    if (!n)
        return NULL;
    sd_event_source_disable_unref(n->source);
    if (n->fd >= 0)
        (void)unlinkat(n->generation->module->ctx->notify_dir, n->name, 0);
    fd_close(n->fd);
    free(n->variable);
    free(n);
    return NULL;
}
