/* See control.h. This file has the socket, the limits, what a client is shown, the signals and the end.
 *
 * Refusing a client costs accept and close: the backlog must not fill with peers that nobody will ever serve, and a
 * client that is closed at once learns it at once. When descriptors have run out a spare one is given up for that. */
#include "supervisor/control/private.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

enum {
    BACKLOG = 64,
    ACCEPTS_MAX = 16,                    /* a turn of the loop */
    REFUSAL_LOG_USEC = 10 * USEC_PER_SEC /* refusals are logged once, then at most that often */
};

/* --- signals ------------------------------------------------------------------------------------------------------ */

static bool wants_signals(const Connection *c)
{
    struct ucred peer;
    return c->ready && !c->dead && connection_access(c, &peer) >= ACCESS_READ;
}

void control_module_changed(Control *c, const char *module, const char *old_state, const char *new_state,
                            uint64_t generation)
{
    for (size_t i = 0; i < c->n_connections; i++) {
        Connection *to = c->connections[i];
        if (!wants_signals(to))
            continue;
        sd_bus_message *m = NULL;
        if (sd_bus_message_new_signal(to->bus, &m, CONTROL_PATH, CONTROL_MANAGER, "ModuleChanged") >= 0 &&
            sd_bus_message_append(m, "ssst", module, old_state, new_state, generation) >= 0)
            connection_send(to, m, strlen(module));
        sd_bus_message_unref(m);
    }
}

/* A signal that says one string. */
static void say(Control *c, const char *member, const char *text)
{
    for (size_t i = 0; i < c->n_connections; i++) {
        Connection *to = c->connections[i];
        if (!wants_signals(to))
            continue;
        sd_bus_message *m = NULL;
        if (sd_bus_message_new_signal(to->bus, &m, CONTROL_PATH, CONTROL_MANAGER, member) >= 0 &&
            sd_bus_message_append(m, "s", text) >= 0)
            connection_send(to, m, strlen(text));
        sd_bus_message_unref(m);
    }
}

void control_module_added(Control *c, const char *module)
{
    say(c, "ModuleAdded", module);
}

void control_module_removed(Control *c, const char *module)
{
    say(c, "ModuleRemoved", module);
}

void control_event(Control *c, const char *line)
{
    say(c, "Event", line);
}

/* --- clients ------------------------------------------------------------------------------------------------------ */

static int on_reap(sd_event_source *s, void *userdata)
{
    (void)s;
    Control *c = userdata;
    size_t kept = 0;
    for (size_t i = 0; i < c->n_connections; i++) {
        if (c->connections[i]->dead)
            connection_free(c->connections[i]);
        else
            c->connections[kept++] = c->connections[i];
    }
    c->n_connections = kept;
    return 0;
}

static void log_refusal(Control *c, const struct ucred *peer, const char *why)
{
    uint64_t now = now_monotonic();
    if (c->refused_usec && now - c->refused_usec < REFUSAL_LOG_USEC)
        return;
    c->refused_usec = now;
    log_warning("event=client-refused uid=%d pid=%d reason=\"%s\"", (int)peer->uid, (int)peer->pid, why);
}

/* Why this peer cannot be served, or NULL. Dead connections that the reaper has not seen yet do not count. */
static const char *over_limit(const Control *c, uid_t uid)
{
    size_t all = 0, same = 0;
    for (size_t i = 0; i < c->n_connections; i++) {
        if (c->connections[i]->dead)
            continue;
        all++;
        same += c->connections[i]->peer.uid == uid;
    }
    if (same >= CONTROL_CONNECTIONS_UID_MAX)
        return "too many connections of this user";
    if (all >= CONTROL_CONNECTIONS_MAX || c->n_connections >= CONTROL_CONNECTIONS_MAX)
        return "too many connections";
    return NULL;
}

static int attach_objects(Connection *c)
{
    int r = manager_attach(c);
    if (r >= 0)
        r = module_attach(c);
    return r < 0 ? r : peer_attach(c);
}

static void serve(Control *c, int fd)
{
    struct ucred peer = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
    socklen_t size = sizeof peer;
    const char *refused = NULL;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
        refused = "no credentials";
    else
        refused = over_limit(c, peer.uid);
    if (refused) {
        log_refusal(c, &peer, refused);
        fd_close(fd);
        return;
    }
    Connection *connection = NULL;
    int r = connection_new(c, fd, &peer, &connection);
    if (r >= 0)
        r = attach_objects(connection);
    if (r < 0) {
        log_refusal(c, &peer, strerror(-r));
        connection_free(connection);
        return;
    }
    c->connections[c->n_connections++] = connection;
}

/* No descriptor is left to accept with: without this the listener would stay readable and the loop spin. */
static void accept_with_spare(Control *c)
{
    c->spare = fd_close(c->spare);
    int fd = accept4(c->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    fd_close(fd);
    c->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    struct ucred nobody = {.pid = 0, .uid = (uid_t)-1, .gid = (gid_t)-1};
    log_refusal(c, &nobody, "out of file descriptors");
}

static int on_accept(sd_event_source *s, int listener, uint32_t revents, void *userdata)
{
    (void)s, (void)revents;
    Control *c = userdata;
    for (unsigned i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            serve(c, fd);
        } else if (errno == EMFILE || errno == ENFILE) {
            accept_with_spare(c);
        } else if (errno != EINTR && errno != ECONNABORTED) {
            break; /* EAGAIN, or a shortage that passes */
        }
    }
    return 0;
}

/* --- beginning and end -------------------------------------------------------------------------------------------- */

/* Binds beneath the directory we hold, whatever its path has become, and lets nobody connect before owner and mode are
 * right: listen() comes last. */
static int make_socket(Control *c, Error *e)
{
    c->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->listener < 0)
        return error_errno(e, -errno, "control socket");
    if (unlinkat(c->dirfd, CONTROL_SOCKET, 0) < 0 && errno != ENOENT)
        return error_errno(e, -errno, "control socket: cannot remove the stale %s", CONTROL_SOCKET);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", c->dirfd, CONTROL_SOCKET);
    mode_t mask = umask(0177);
    int r = bind(c->listener, (const struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
    umask(mask);
    if (r < 0)
        return error_errno(e, r, "control socket: cannot bind %s", CONTROL_SOCKET);
    gid_t group = c->config.read_gid != (gid_t)-1 ? c->config.read_gid : c->config.operate_gid;
    if (group != (gid_t)-1) {
        if (fchownat(c->dirfd, CONTROL_SOCKET, (uid_t)-1, group, AT_SYMLINK_NOFOLLOW) < 0)
            return error_errno(e, -errno, "control socket: cannot give it to group %d", (int)group);
        if (fchmodat(c->dirfd, CONTROL_SOCKET, 0660, 0) < 0)
            return error_errno(e, -errno, "control socket: cannot set its mode");
    }
    if (listen(c->listener, BACKLOG) < 0)
        return error_errno(e, -errno, "control socket: cannot listen");
    return 0;
}

int control_open(const ControlConfig *config, Control **ret, Error *e)
{
    _cleanup_(control_closep) Control *c = new0(Control);
    c->config = *config;
    c->listener = c->spare = -EBADF;
    c->dirfd = fcntl(config->dirfd, F_DUPFD_CLOEXEC, 3);
    if (c->dirfd < 0)
        return error_errno(e, -errno, "control socket");
    int r = make_socket(c, e);
    if (r < 0)
        return r;
    c->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if ((r = sd_id128_randomize(&c->guid)) < 0 ||
        (r = sd_event_add_io(config->event, &c->accept, c->listener, EPOLLIN, on_accept, c)) < 0 ||
        (r = sd_event_add_defer(config->event, &c->reap, on_reap, c)) < 0 ||
        (r = sd_event_source_set_enabled(c->reap, SD_EVENT_OFF)) < 0)
        return error_errno(e, r, "control socket");
    *ret = TAKE_PTR(c);
    return 0;
}

/* Waits until every client has what is queued to it, or time is up. */
static void flush_all(Control *c)
{
    uint64_t end = now_monotonic() + CONTROL_FLUSH_USEC;
    for (;;) {
        struct pollfd fds[CONTROL_CONNECTIONS_MAX];
        nfds_t n = 0;
        for (size_t i = 0; i < c->n_connections; i++)
            if (!connection_flushed(c->connections[i]))
                fds[n++] = (struct pollfd){.fd = c->connections[i]->fd, .events = POLLOUT};
        uint64_t now = now_monotonic();
        if (n == 0 || now >= end)
            return;
        int r = poll(fds, n, (int)((end - now) / USEC_PER_MSEC) + 1);
        if (r == 0 || (r < 0 && errno != EINTR))
            return;
    }
}

Control *control_close(Control *c)
{
    if (!c)
        return NULL;
    c->closing = true;
    if (c->listener >= 0)
        (void)unlinkat(c->dirfd, CONTROL_SOCKET, 0);
    sd_event_source_disable_unref(c->accept);
    fd_close(c->listener);
    replies_cancel(c);
    flush_all(c);
    for (size_t i = 0; i < c->n_connections; i++)
        connection_free(c->connections[i]);
    sd_event_source_disable_unref(c->reap);
    fd_close(c->spare);
    fd_close(c->dirfd);
    free(c);
    return NULL;
}
