/* One client: its bus, its event sources and what is queued to it.
 *
 * The bus is not attached to the event loop by sd_bus_attach_event; this file pumps it, for three reasons:
 * - sd-bus 252 leaves a call that came in one read with BEGIN unprocessed until more input comes. The pump goes on
 * until sd_bus_process() has nothing more to do.
 * - A client that does not read is not read either: while anything is queued to it no further call of its is taken up.
 *   So at most one call's direct answer is queued at a time, and what is counted against CONTROL_QUEUE_MAX are signals
 *   and late answers, which come unasked. (sd-bus itself would queue 192 Ki messages of any size.)
 * - sd-bus accepts messages of up to 128 MiB; no call of ours is longer than a few hundred bytes. The pump drops
 * whoever sends more than PARTIAL_MAX without completing a message. */
#include "supervisor/control/private.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

enum {
    PARTIAL_MAX = 1024 * 1024,
    SEND_BUFFER = 64 * 1024,
    STEPS_MAX = 32, /* a turn of the loop, so that one busy client does not hold up the others */
};

Access connection_access(const Connection *c, struct ucred *ret_peer)
{
    return access_of_socket(c->fd, c->control->config.read_gid, c->control->config.operate_gid, ret_peer);
}

void connection_drop(Connection *c, const char *why)
{
    if (c->dead)
        return;
    c->dead = true;
    if (why)
        log_warning("event=client-dropped uid=%d pid=%d reason=\"%s\"", (int)c->peer.uid, (int)c->peer.pid, why);
    c->io = sd_event_source_disable_unref(c->io);
    c->more = sd_event_source_disable_unref(c->more);
    c->deadline = sd_event_source_disable_unref(c->deadline);
    (void)sd_event_source_set_enabled(c->control->reap, SD_EVENT_ONESHOT);
}

static uint64_t queued_messages(Connection *c)
{
    uint64_t n = 0;
    return sd_bus_get_n_queued_write(c->bus, &n) < 0 ? 0 : n;
}

/* Forgets the charges of what the bus has written. A direct answer in the queue is not in the record, so that one
 * charge may be forgotten late; the queue's end settles it. */
static uint64_t settle_charges(Connection *c)
{
    uint64_t n = queued_messages(c);
    while (c->n_charges > n) {
        c->queued_bytes -= c->charges[c->first];
        c->first = (c->first + 1) % CONTROL_QUEUE_SLOTS;
        c->n_charges--;
    }
    return n;
}

/* What to wait for: output alone while something is queued, else input. */
static void update_events(Connection *c)
{
    if (c->dead || c->control->closing)
        return;
    uint32_t events = EPOLLIN;
    if (!c->ready) {
        int wanted = sd_bus_get_events(c->bus);
        events = wanted < 0 ? EPOLLIN : (uint32_t)wanted;
    } else if (queued_messages(c) > 0) {
        events = EPOLLOUT;
    }
    /* -ESTALE: the loop has ended; control_close() writes what is queued. */
    int r = sd_event_source_set_io_events(c->io, events);
    if (r < 0 && r != -ESTALE)
        connection_drop(c, strerror(-r));
}

void connection_send(Connection *c, sd_bus_message *m, size_t payload)
{
    if (c->dead || !c->ready)
        return;
    settle_charges(c);
    uint32_t charge = (uint32_t)MIN2(payload, (size_t)CONTROL_QUEUE_MAX) + CONTROL_MESSAGE_CHARGE;
    if (c->queued_bytes > 0 && c->queued_bytes + charge > CONTROL_QUEUE_MAX) {
        connection_drop(c, "does not read");
        return;
    }
    uint64_t before = queued_messages(c);
    if (sd_bus_send(c->bus, m, NULL) < 0) {
        connection_drop(c, NULL);
        return;
    }
    if (queued_messages(c) > before) {
        if (!c->charges)
            c->charges = new0_array(uint32_t, CONTROL_QUEUE_SLOTS);
        c->charges[(c->first + c->n_charges++) % CONTROL_QUEUE_SLOTS] = charge;
        c->queued_bytes += charge;
    }
    update_events(c);
}

/* Every message passes here first: the one place where access is judged. */
static int on_message(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)error;
    Connection *c = userdata;
    c->saw_message = true;
    if (c->control->closing)
        return 1;
    uint8_t type = 0;
    if (sd_bus_message_get_type(m, &type) < 0 || type != SD_BUS_MESSAGE_METHOD_CALL)
        return 0;
    struct ucred peer;
    Access have = connection_access(c, &peer), need = access_needed(sd_bus_message_get_member(m));
    if (have >= need)
        return 0;
    int r = sd_bus_reply_method_errorf(m, CONTROL_ERROR_ACCESS_DENIED, "user %d may not %s: %s", (int)peer.uid,
                                       need == ACCESS_READ      ? "read"
                                       : need == ACCESS_OPERATE ? "start or stop modules"
                                                                : "do this",
                                       need == ACCESS_READ      ? "be root or in read_group"
                                       : need == ACCESS_OPERATE ? "be root or in operate_group"
                                                                : "only root may");
    return r < 0 ? r : 1;
}

/* One step of the bus. Returns whether there may be more to do now. */
static bool pump_step(Connection *c)
{
    int available = 0;
    (void)ioctl(c->fd, FIONREAD, &available);
    c->saw_message = false;
    uint64_t before = queued_messages(c);
    int r = sd_bus_process(c->bus, NULL);
    if (r < 0 || sd_bus_is_open(c->bus) <= 0) {
        connection_drop(c, r < 0 && r != -ECONNRESET && r != -EPIPE && r != -ETIMEDOUT ? strerror(-r) : NULL);
        return false;
    }
    if (c->saw_message)
        c->partial = 0;
    else if (before == 0 && available > 0 && (c->partial += (size_t)available) > PARTIAL_MAX)
        connection_drop(c, "message too long");
    if (!c->ready && sd_bus_is_ready(c->bus) > 0) {
        c->ready = true;
        c->partial = 0;
        c->deadline = sd_event_source_disable_unref(c->deadline);
        return true;
    }
    return r > 0;
}

static void pump(Connection *c)
{
    bool more = true;
    for (unsigned i = 0; more && !c->dead && i < STEPS_MAX; i++) {
        more = pump_step(c);
        if (!c->dead && settle_charges(c) > 0)
            more = false; /* wait for room */
    }
    if (c->dead)
        return;
    (void)sd_event_source_set_enabled(c->more, more ? SD_EVENT_ONESHOT : SD_EVENT_OFF);
    update_events(c);
}

static int on_io(sd_event_source *s, int fd, uint32_t revents, void *userdata)
{
    (void)s, (void)fd, (void)revents;
    pump(userdata);
    return 0;
}

static int on_more(sd_event_source *s, void *userdata)
{
    (void)s;
    pump(userdata);
    return 0;
}

static int on_deadline(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)s, (void)usec;
    connection_drop(userdata, "did not authenticate");
    return 0;
}

bool connection_flushed(Connection *c)
{
    if (c->dead || !c->ready || queued_messages(c) == 0)
        return true;
    /* With something queued sd_bus_process() writes; only if nothing could be written would it read, and the filter
     * swallows what it reads while the control is closing. */
    int r = sd_bus_process(c->bus, NULL);
    return r < 0 || sd_bus_is_open(c->bus) <= 0 || queued_messages(c) == 0;
}

static int set_up_bus(Connection *c, int *fd)
{
    int r = sd_bus_new(&c->bus);
    if (r < 0)
        return r;
    if ((r = sd_bus_set_fd(c->bus, *fd, *fd)) < 0)
        return r;
    c->fd = TAKE_FD(*fd);
    if ((r = sd_bus_set_server(c->bus, 1, c->control->guid)) < 0 || (r = sd_bus_negotiate_fds(c->bus, 1)) < 0 ||
        (r = sd_bus_start(c->bus)) < 0 || (r = sd_bus_add_filter(c->bus, NULL, on_message, c)) < 0)
        return r;
    /* sd-bus raises the send buffer to 8 MiB (as root past wmem_max): a client that does not read would be found out
     * only after that much. */
    static const int size = SEND_BUFFER;
    return setsockopt(c->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) < 0 ? -errno : 0;
}

static int set_up_sources(Connection *c)
{
    sd_event *event = c->control->config.event;
    uint64_t usec = c->control->config.auth_usec;
    int r = sd_event_add_io(event, &c->io, c->fd, EPOLLIN, on_io, c);
    if (r < 0)
        return r;
    if ((r = sd_event_add_defer(event, &c->more, on_more, c)) < 0 ||
        (r = sd_event_source_set_enabled(c->more, SD_EVENT_OFF)) < 0)
        return r;
    return sd_event_add_time_relative(event, &c->deadline, CLOCK_MONOTONIC, usec ? usec : CONTROL_AUTH_USEC, 0,
                                      on_deadline, c);
}

static void connection_freep(Connection **c)
{
    *c = connection_free(*c);
}

int connection_new(Control *control, int fd, const struct ucred *peer, Connection **ret)
{
    _cleanup_fd_ int owned = fd;
    _cleanup_(connection_freep) Connection *c = new0(Connection);
    c->control = control;
    c->peer = *peer;
    c->fd = -EBADF;
    c->id = ++control->last_id;
    int r = set_up_bus(c, &owned);
    if (r < 0 || (r = set_up_sources(c)) < 0)
        return r;
    update_events(c);
    *ret = TAKE_PTR(c);
    return 0;
}

Connection *connection_free(Connection *c)
{
    if (!c)
        return NULL;
    for (ControlReply *r = c->control->replies; r; r = r->next)
        if (r->connection == c) {
            r->connection = NULL;
            r->call = sd_bus_message_unref(r->call);
        }
    sd_event_source_disable_unref(c->io);
    sd_event_source_disable_unref(c->more);
    sd_event_source_disable_unref(c->deadline);
    sd_bus_close_unref(c->bus); /* closes the socket too, once the bus took it */
    free(c->object.name);
    free(c->charges);
    free(c);
    return NULL;
}
