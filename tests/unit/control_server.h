/* For the tests of the D-Bus face: a server with a made-up host in a process of its own, and clients for it.
 *
 * The made-up modules: "bad" fails, "slow" takes 100 ms, "never" answers never, "flood" sends signals, the others do at
 * once what they are told. Children never assert; what they saw comes back as an exit status. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "supervisor/control/access.h"
#include "supervisor/control/control.h"

enum { READ_GID = 60001, OPERATE_GID = 60002, NOBODY = 65534, CALL_USEC = 10000000, AUTH_USEC = 300000 };

#define PATH    "/org/bulkhead1"
#define MANAGER "org.bulkhead1.Manager"

/* --- the server --------------------------------------------------------------------------------------------------- */

typedef struct Host {
    sd_event *event;
    Control *control;
    ControlReply *slow, *never;
    int started;
} Host;

enum { FLOODS = 100, FLOOD_EVENTS = 40, FLOOD_BYTES = 1000 };

static const char *const names[] = {"bad", "db", "flood", "never", "slow", "web"};

static _unused_ bool module_at(void *host, size_t i, ControlModule *ret)
{
    const Host *h = host;
    if (i >= ELEMENTS(names))
        return false;
    *ret = (ControlModule){.name = names[i],
                           .state = h->started ? "running" : "idle",
                           .health = "unknown",
                           .cgroup = "/bulkhead-t/modules/x/1",
                           .generation = 7,
                           .restarts = 2,
                           .pid = 4711};
    return true;
}

static _unused_ bool module_by_name(void *host, const char *name, ControlModule *ret)
{
    for (size_t i = 0; module_at(host, i, ret); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static const char *health(void *host)
{
    return ((Host *)host)->started ? "healthy" : "degraded";
}

static _unused_ json_t *status(void *host, const char *name)
{
    return json_pack("{s:s, s:s, s:[s]}", "instance", "t", "status", health(host), "modules", name ? name : "all");
}

static _unused_ json_t *explain(void *host, const char *name)
{
    (void)host;
    return json_pack("{s:s}", "module", name);
}

static _unused_ json_t *usage(void *host)
{
    (void)host;
    return json_pack("{s:[]}", "modules");
}

static _unused_ json_t *get_names(void *host)
{
    (void)host;
    return json_pack("{s:[],s:[{s:s,s:i}]}", "modules", "templates", "name", "worker", "instances", 3);
}

static _unused_ json_t *plan(void *host)
{
    (void)host;
    return json_pack("{s:[s, s]}", "order", "db", "web");
}

static _unused_ char *plan_text(void *host)
{
    (void)host;
    return xstrdup("start order\n   1  db\n");
}

static _unused_ char *dot(void *host)
{
    (void)host;
    return xstrdup("digraph { web -> db }");
}

static _unused_ json_t *events(void *host, uint64_t limit)
{
    (void)host;
    json_t *all = json_array();
    for (uint64_t i = 0; i < MIN2(limit, (uint64_t)3); i++)
        json_array_append_new(all, json_pack("{s:I}", "time_usec", (json_int_t)i));
    return all;
}

static _unused_ int open_log(void *host, const char *name, const char **ret_kind, int *ret_fd, char **ret_identifier,
                             Error *e)
{
    (void)host;
    if (strcmp(name, "bad") == 0)
        return error_set(e, -ENOENT, "bad has logged nothing yet");
    if (strcmp(name, "db") == 0) {
        *ret_kind = "journal";
        *ret_identifier = xstrdup("bulkhead-db");
        return 0;
    }
    *ret_kind = "file";
    /* "slow" hands out a descriptor that writes: the face must not pass it on. */
    *ret_fd = open("/dev/null", (strcmp(name, "slow") == 0 ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    return *ret_fd < 0 ? -errno : 0;
}

static _unused_ int open_log_file(void *host, const char *name, bool error_stream, int number, int *ret_fd, Error *e)
{
    (void)host, (void)name;
    if (error_stream || number > 2)
        return error_set(e, -ENOENT, "there is no file %d", number);
    *ret_fd = open("/dev/null", (number == 2 ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    return *ret_fd < 0 ? -errno : 0;
}

static _unused_ void tell(Host *h, json_t *event)
{
    _cleanup_(freep) char *line = json_dumps(event, JSON_COMPACT);
    control_event(h->control, line);
}

static _unused_ void flood(Host *h)
{
    char text[FLOOD_BYTES + 1];
    memset(text, 'x', FLOOD_BYTES);
    text[FLOOD_BYTES] = '\0';
    json_t *event = json_pack("{s:s}", "detail", text);
    for (unsigned i = 0; i < FLOOD_EVENTS; i++)
        tell(h, event);
    json_decref(event);
}

static _unused_ int on_slow(sd_event_source *s, uint64_t usec, void *userdata)
{
    (void)usec;
    Host *h = userdata;
    if (h->slow)
        control_reply_done(TAKE_PTR(h->slow));
    sd_event_source_unref(s);
    return 0;
}

static _unused_ void act(void *host, ControlVerb verb, const char *name, int sig, uint64_t flags,
                         const struct ucred *caller, ControlReply *reply)
{
    Host *h = host;
    sd_event_source *s = NULL;
    if (verb == CONTROL_SHUTDOWN) {
        control_reply_done(reply);
        sd_event_exit(h->event, 0);
    } else if (strcmp(name, "bad") == 0) {
        control_reply_fail(reply, CONTROL_ERROR_FAILED, "bad: start failed at exec: no such file");
    } else if (strcmp(name, "flood") == 0) {
        flood(h);
        control_reply_done(reply);
    } else if (strcmp(name, "slow") == 0 && !h->slow) {
        h->slow = reply;
        sd_event_add_time_relative(h->event, &s, CLOCK_MONOTONIC, 100000, 0, on_slow, h);
    } else if (strcmp(name, "never") == 0 && !h->never) {
        h->never = reply;
    } else {
        h->started = verb == CONTROL_START;
        json_t *event = json_pack("{s:i, s:i, s:i, s:i}", "verb", (int)verb, "signal", sig, "flags", (int)flags, "uid",
                                  (int)caller->uid);
        tell(h, event);
        json_decref(event);
        control_module_changed(h->control, name, "idle", "creating", 8);
        control_reply_done(reply);
    }
}

static const ControlOps ops = {
    .module_at = module_at,
    .module_by_name = module_by_name,
    .health = health,
    .status = status,
    .usage = usage,
    .explain = explain,
    .names = get_names,
    .plan = plan,
    .plan_text = plan_text,
    .dot = dot,
    .events = events,
    .open_log = open_log,
    .open_log_file = open_log_file,
    .act = act,
};

typedef struct Fixture {
    char dir[64], path[96], address[128];
    int dirfd;
    pid_t server;
    int pidfd;
} Fixture;

static _unused_ void serve(int dirfd, uint64_t auth_usec, int ready)
{
    Host h = {0};
    Error e = {0};
    ControlConfig config = {.dirfd = dirfd,
                            .instance = "t",
                            .version = "1.2.3",
                            .read_gid = READ_GID,
                            .operate_gid = OPERATE_GID,
                            .auth_usec = auth_usec,
                            .ops = &ops,
                            .host = &h};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (sd_event_new(&h.event) < 0)
        _exit(10);
    config.event = h.event;
    if (control_open(&config, &h.control, &e) < 0) {
        fprintf(stderr, "%s\n", error_message(&e));
        _exit(11);
    }
    if (write(ready, "x", 1) != 1)
        _exit(12);
    close(ready);
    int r = sd_event_loop(h.event);
    h.control = control_close(h.control);
    if (h.never)
        control_reply_fail(h.never, CONTROL_ERROR_FAILED, "too late to matter");
    sd_event_unref(h.event);
    exit(r < 0 ? 13 : 0);
}

static _unused_ int set_up_server(void **state, uint64_t auth_usec)
{
    Fixture *f = new0(Fixture);
    snprintf(f->dir, sizeof f->dir, "/tmp/bulkhead-control-XXXXXX");
    if (!mkdtemp(f->dir) || chmod(f->dir, 0711) < 0)
        return -1;
    snprintf(f->path, sizeof f->path, "%s/bus", f->dir);
    snprintf(f->address, sizeof f->address, "unix:path=%s", f->path);
    f->dirfd = open(f->dir, O_DIRECTORY | O_CLOEXEC);
    int ready[2];
    char c;
    if (f->dirfd < 0 || pipe(ready) < 0)
        return -1;
    fflush(NULL);
    f->server = fork();
    if (f->server == 0) {
        close(ready[0]);
        serve(f->dirfd, auth_usec, ready[1]);
    }
    close(ready[1]);
    bool up = read(ready[0], &c, 1) == 1;
    close(ready[0]);
    f->pidfd = (int)syscall(SYS_pidfd_open, f->server, 0);
    *state = f;
    return up && f->pidfd >= 0 ? 0 : -1;
}

static _unused_ int set_up(void **state)
{
    return set_up_server(state, 0);
}

/* A server that gives silent peers no more than AUTH_USEC. */
static _unused_ int set_up_hasty(void **state)
{
    return set_up_server(state, AUTH_USEC);
}

/* Waits for the server's end; its exit status, or -1. */
static _unused_ int server_end(Fixture *f)
{
    struct pollfd p = {.fd = f->pidfd, .events = POLLIN};
    int status_ = 0;
    if (poll(&p, 1, 10000) != 1 || waitpid(f->server, &status_, 0) != f->server)
        return -1;
    f->server = 0;
    return WIFEXITED(status_) ? WEXITSTATUS(status_) : -1;
}

static sd_bus *client(const Fixture *f);

static _unused_ int tear_down(void **state)
{
    Fixture *f = *state;
    int r = 0;
    if (f->server > 0) {
        /* An orderly end, so that a sanitizer can speak. */
        sd_bus *bus = client(f);
        if (sd_bus_call_method(bus, NULL, PATH, MANAGER, "Shutdown", NULL, NULL, "t", UINT64_C(0)) < 0)
            kill(f->server, SIGKILL);
        sd_bus_close_unref(bus);
        r = server_end(f);
    }
    if (access(f->path, F_OK) == 0)
        r = -1;
    close(f->pidfd);
    close(f->dirfd);
    if (rmdir(f->dir) < 0)
        r = -1;
    free(f);
    return r;
}

/* --- clients ------------------------------------------------------------------------------------------------------ */

/* NULL when there is no connecting. */
static _unused_ sd_bus *client(const Fixture *f)
{
    sd_bus *bus = NULL;
    if (sd_bus_new(&bus) < 0)
        return NULL;
    if (sd_bus_set_address(bus, f->address) < 0 || sd_bus_start(bus) < 0 ||
        sd_bus_set_method_call_timeout(bus, CALL_USEC) < 0) {
        sd_bus_unref(bus);
        return NULL;
    }
    return bus;
}

static _unused_ int raw_connect(const Fixture *f)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof a.sun_path, "%s", f->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Reads until the peer closes; false when it has not within `msec`. *ret_bytes: how much there was. */
static _unused_ bool read_to_end(int fd, int msec, size_t *ret_bytes)
{
    uint64_t end = now_monotonic() + (uint64_t)msec * 1000;
    *ret_bytes = 0;
    for (;;) {
        uint64_t now = now_monotonic();
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (now >= end || poll(&p, 1, (int)((end - now) / 1000) + 1) <= 0)
            return false;
        char buf[65536];
        ssize_t n = read(fd, buf, sizeof buf);
        if (n <= 0)
            return n == 0 || errno == ECONNRESET;
        *ret_bytes += (size_t)n;
    }
}

/* Calls `member` of the manager with "st"; 0, or 1 and the error's name. */
static _unused_ int call_st(sd_bus *bus, const char *member, const char *name, uint64_t flags, char *ret_error,
                            size_t size)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    int r = sd_bus_call_method(bus, NULL, PATH, MANAGER, member, &error, NULL, "st", name, flags);
    snprintf(ret_error, size, "%s", r < 0 ? str_or(error.name, strerror(-r)) : "");
    sd_bus_error_free(&error);
    return r < 0;
}

static _unused_ char *call_for_string(sd_bus *bus, const char *member, const char *argument)
{
    sd_bus_message *reply = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    const char *s = NULL;
    int r = argument ? sd_bus_call_method(bus, NULL, PATH, MANAGER, member, &error, &reply, "s", argument)
                     : sd_bus_call_method(bus, NULL, PATH, MANAGER, member, &error, &reply, "");
    if (r >= 0)
        sd_bus_message_read(reply, "s", &s);
    char *copy = xstrdup(s ? s : str_or(error.name, "?"));
    sd_bus_message_unref(reply);
    sd_bus_error_free(&error);
    return copy;
}

static _unused_ void assert_call(sd_bus *bus, const char *member, const char *argument, const char *expected)
{
    char *got = call_for_string(bus, member, argument);
    assert_string_equal(got, expected);
    free(got);
}

typedef struct Seen {
    char event[256], changed[64];
    unsigned events;
} Seen;

static _unused_ int on_event(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)error;
    Seen *seen = userdata;
    const char *s = "";
    sd_bus_message_read(m, "s", &s);
    snprintf(seen->event, sizeof seen->event, "%s", s);
    seen->events++;
    return 0;
}

static _unused_ int on_changed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)error;
    Seen *seen = userdata;
    const char *name = "", *from = "", *to = "";
    uint64_t generation = 0;
    sd_bus_message_read(m, "ssst", &name, &from, &to, &generation);
    snprintf(seen->changed, sizeof seen->changed, "%s %s %s %" PRIu64, name, from, to, generation);
    return 0;
}

/* Processes what comes until *count reaches n, or 5 s are over. */
static _unused_ void process_until(sd_bus *bus, const unsigned *count, unsigned n)
{
    uint64_t end = now_monotonic() + 5000000;
    while (*count < n && now_monotonic() < end) {
        if (sd_bus_process(bus, NULL) == 0)
            sd_bus_wait(bus, 100000);
    }
}

#define WITH_SERVER(t)       cmocka_unit_test_setup_teardown(t, set_up, tear_down)
#define WITH_HASTY_SERVER(t) cmocka_unit_test_setup_teardown(t, set_up_hasty, tear_down)
