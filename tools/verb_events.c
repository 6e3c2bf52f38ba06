/* `bulkhead events`: what has happened, and with -f what happens.
 *
 * No event is lost or told twice between the two: signals are subscribed to before the past is asked for, and those
 * that had come when the answer came are in the answer, because the daemon sends in order. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "base/str.h"
#include "tools/client.h"
#include "tools/term.h"
#include "tools/view.h"

typedef struct Follow {
    const Args *args;
    bool told; /* the signals that come now are in the answer already */
} Follow;

static void print_event(const Args *a, const json_t *event, const char *line)
{
    if (a->json) {
        puts(line);
        return;
    }
    _cleanup_(freep) char *text = view_event(event);
    puts(text);
}

static void on_event(const json_t *event, const char *line, void *userdata)
{
    Follow *f = userdata;
    if (!f->told)
        print_event(f->args, event, line);
}

static ToolStatus print_past(Client *c)
{
    const Args *a = c->args;
    uint64_t limit = a->lines != UINT64_MAX ? a->lines : a->follow ? 10 : UINT64_MAX;
    sd_bus_message *call = client_message(c, "GetEvents"), *reply = NULL;
    int r = call ? sd_bus_message_append(call, "t", limit) : -ENOTCONN;
    ToolStatus status = r < 0 ? client_failed(c, NULL, r, NULL) : client_call(c, call, &reply);
    if (status == TOOL_DONE) {
        r = sd_bus_message_enter_container(reply, 'a', "s");
        const char *line;
        while (r > 0 && (r = sd_bus_message_read(reply, "s", &line)) > 0) {
            _cleanup_json_ json_t *event = json_loads(line, 0, NULL);
            if (event)
                print_event(a, event, line);
        }
        if (r < 0)
            status = client_failed(c, NULL, r, NULL);
    }
    sd_bus_message_unref(reply);
    sd_bus_message_unref(call);
    return status;
}

/* Lets go what had come when the answer came: the queue is read to its end before anything new is taken from the
 * socket. Not by number, because signals of other kinds are in it too. */
static void skip_told(Client *c, Follow *f)
{
    uint64_t n = 0;
    f->told = true;
    while (sd_bus_get_n_queued_read(c->bus, &n) >= 0 && n > 0 && sd_bus_process(c->bus, NULL) > 0)
        ;
    f->told = false;
}

/* Until the daemon ends, nobody reads any more, or --timeout is over. */
static ToolStatus follow(Client *c)
{
    for (;;) {
        int r = sd_bus_process(c->bus, NULL);
        if (r > 0)
            continue;
        if (r < 0 || sd_bus_is_open(c->bus) <= 0)
            return TOOL_DONE;
        if (fflush(stdout) != 0 || !term_writable())
            return TOOL_FAILED;
        uint64_t now = now_monotonic();
        if (now >= c->deadline)
            return TOOL_DONE; /* following for a while is what was asked for */
        int timeout =
            c->deadline == USEC_INFINITY ? -1 : (int)MIN2((c->deadline - now) / USEC_PER_MSEC + 1, (uint64_t)60000);
        struct pollfd p[] = {{.fd = sd_bus_get_fd(c->bus), .events = POLLIN}, {.fd = STDOUT_FILENO}};
        if (poll(p, ELEMENTS(p), timeout) < 0 && errno != EINTR)
            return TOOL_FAILED;
        if (p[1].revents & (POLLERR | POLLHUP))
            return TOOL_FAILED;
    }
}

ToolStatus verb_events(const Args *a)
{
    _cleanup_client_ Client c = {0};
    Follow f = {.args = a};
    ClientEvents events = {.on_event = on_event, .userdata = &f};
    ToolStatus status = client_open(a, &c);
    if (status != TOOL_DONE)
        return status;
    int r = a->follow ? client_watch(&c, &events) : 0;
    if (r < 0)
        return client_failed(&c, NULL, r, NULL);
    status = print_past(&c);
    if (status != TOOL_DONE || !a->follow)
        return status;
    skip_told(&c, &f);
    return follow(&c);
}
