/* `bulkhead start, stop, restart, drain, kill, scale, shutdown`: ask, and wait for the outcome.
 *
 * All modules named are asked for at once and waited for together, on one connection; Event signals that come meanwhile
 * feed the line of progress. What is not finished when --timeout is over goes on in the daemon. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "policies/names.h"
#include "tools/client.h"
#include "tools/term.h"
#include "tools/view.h"

enum { FLAG_NO_BLOCK = 1, FLAG_CASCADE = 2, FLAG_MAIN = 4, FLAG_UNDO = 8 }; /* of the D-Bus face */

typedef struct Work Work;

typedef struct Target {
    Work *work;
    const char *name;
    sd_bus_slot *slot;
    bool over;
    bool torn_down;  /* phases were seen: it was not down already */
    char *condition; /* why nothing was started, which is no failure; NULL = it was */
} Target;

struct Work {
    Client *client;
    const Args *args;
    Target *targets;
    size_t n, left;
    uint32_t instances; /* scale */
    uint64_t begun;
    ToolStatus status; /* the first that is not TOOL_DONE */
    char *progress;    /* the last event worth showing */
};

static void show_progress(Work *w)
{
    if (!term()->errors_are_terminal || w->left == 0)
        return;
    uint64_t seconds = (now_monotonic() - w->begun) / USEC_PER_SEC;
    _cleanup_(freep) char *count = w->n > 1 ? xasprintf("%zu of %zu done, ", w->n - w->left, w->n) : xstrdup("");
    _cleanup_(freep) char *line =
        xasprintf("%s%llus  %s", count, (unsigned long long)seconds, w->progress ? w->progress : w->args->verb->name);
    _cleanup_(freep) char *shown = str_escape(line, strlen(line), 500);
    term_progress(shown);
}

static void on_event(const json_t *event, const char *line, void *userdata)
{
    (void)line;
    Work *w = userdata;
    const char *what = member_string(event, "event");
    for (size_t i = 0; i < w->n && w->targets; i++) {
        Target *t = &w->targets[i];
        if (!str_equal(member_string(event, "module"), t->name))
            continue;
        if (str_equal(what, "phase"))
            t->torn_down = true;
        if (str_equal(what, "condition-failed")) {
            free(t->condition);
            t->condition = xstrdup(str_or(member_string(json_object_get(event, "detail"), "condition"), "a condition"));
        }
    }
    char *text = view_progress(event);
    if (!text)
        return;
    free(w->progress);
    w->progress = text;
    show_progress(w);
}

static void show_phases(Work *w, const char *name)
{
    _cleanup_json_ json_t *document = NULL;
    if (client_call_json(w->client, "GetStatus", name, &document) != TOOL_DONE)
        return;
    View v = {.width = term()->width, .colours = term()->colours, .now = now_realtime()};
    const json_t *module = json_array_get(json_object_get(document, "modules"), 0);
    _cleanup_(freep) char *text = view_teardown(json_object_get(module, "teardown"), &v);
    fputs(text, stdout);
}

static bool stops(const Args *a)
{
    return strcmp(a->verb->name, "stop") == 0;
}

/* Quiet when it went well, as other commands are; a person at a terminal, or --verbose, gets a line. */
static void report_done(Work *w, const Target *t)
{
    const Args *a = w->args;
    if (t->condition && !a->no_block) {
        term_progress(NULL);
        say_error("%s was not started, which is no failure: %s", t->name, t->condition);
        return;
    }
    if (a->json || (!a->verbose && !term()->output_is_terminal))
        return;
    static const char *const past[][2] = {{"start", "started"},   {"stop", "stopped"},   {"restart", "restarted"},
                                          {"reload", "reloaded"}, {"kill", "signalled"}, {"scale", "scaled"},
                                          {"drain", "drained"}};
    const char *word = "done";
    for (size_t i = 0; i < ELEMENTS(past); i++)
        if (strcmp(past[i][0], a->verb->name) == 0)
            word = a->undo ? "open again" : past[i][1];
    term_progress(NULL);
    if (a->no_block) {
        printf("%s: asked for\n", t->name);
        return;
    }
    uint64_t usec = now_monotonic() - w->begun;
    _cleanup_(freep) char *span = format_usec(usec / USEC_PER_MSEC * USEC_PER_MSEC);
    printf("%s: %s in %s\n", t->name, word, usec < USEC_PER_MSEC ? "0ms" : span);
}

static int on_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    (void)ret_error;
    Target *t = userdata;
    Work *w = t->work;
    t->over = true;
    w->left--;
    const sd_bus_error *error = sd_bus_message_get_error(m);
    if (!error) {
        report_done(w, t);
        return 0;
    }
    term_progress(NULL);
    ToolStatus status = client_failed(w->client, error, -sd_bus_message_get_errno(m), t->name);
    if (error->message && strstr(error->message, "start failed"))
        fprintf(stderr, "  see: bulkhead logs %s; bulkhead explain %s\n", t->name, t->name);
    if (w->status == TOOL_DONE)
        w->status = status;
    return 0;
}

/* Waits until all are answered, the time is over or the connection is gone. */
static ToolStatus wait_for_all(Work *w)
{
    while (w->left > 0) {
        int r = sd_bus_process(w->client->bus, NULL);
        if (r < 0) {
            term_progress(NULL);
            return client_failed(w->client, NULL, r, w->args->verb->name);
        }
        if (r > 0)
            continue;
        uint64_t now = now_monotonic();
        if (now >= w->client->deadline) {
            term_progress(NULL);
            for (size_t i = 0; i < w->n; i++)
                if (!w->targets[i].over)
                    (void)client_failed(w->client, NULL, -ETIMEDOUT, w->targets[i].name);
            return TOOL_TIMEOUT;
        }
        show_progress(w);
        uint64_t longest = term()->errors_are_terminal ? USEC_PER_SEC : USEC_INFINITY;
        uint64_t left = w->client->deadline == USEC_INFINITY ? USEC_INFINITY : w->client->deadline - now;
        r = sd_bus_wait(w->client->bus, MIN2(longest, left));
        if (r < 0 && r != -EINTR)
            return client_failed(w->client, NULL, r, w->args->verb->name);
    }
    return w->status;
}

static int ask(Target *t, const char *member, uint64_t flags)
{
    Work *w = t->work;
    sd_bus_message *m = client_message(w->client, member);
    int r = m ? sd_bus_message_append(m, "s", t->name) : -ENOTCONN;
    if (r >= 0 && strcmp(member, "ScaleModule") == 0)
        r = sd_bus_message_append(m, "u", w->instances);
    if (r >= 0 && strcmp(member, "KillModule") == 0)
        r = sd_bus_message_append(m, "i", w->args->signal ? w->args->signal : SIGTERM);
    if (r >= 0)
        r = sd_bus_message_append(m, "t", flags);
    if (r >= 0)
        r = sd_bus_call_async(w->client->bus, &t->slot, m, on_answer, t, UINT64_MAX);
    sd_bus_message_unref(m);
    return r;
}

/* The wave of a module in GetPlan's answer. */
static uint64_t wave_of(const json_t *plan, const char *name)
{
    const json_t *modules = json_object_get(plan, "modules");
    for (size_t i = 0; i < json_array_size(modules); i++)
        if (str_equal(member_string(json_array_get(modules, i), "name"), name))
            return member_number(json_array_get(modules, i), "wave");
    return 0;
}

/* A module is not stopped while another that requires it runs, so dependents are asked for first. */
static void dependents_first(Client *c, char **names)
{
    _cleanup_json_ json_t *plan = NULL;
    size_t n = strv_length(names);
    if (n < 2 || client_call_json(c, "GetPlan", NULL, &plan) != TOOL_DONE)
        return;
    for (size_t i = 1; i < n; i++)
        for (size_t k = i; k > 0 && wave_of(plan, names[k]) > wave_of(plan, names[k - 1]); k--) {
            char *swap = names[k];
            names[k] = names[k - 1];
            names[k - 1] = swap;
        }
}

static ToolStatus run(Work *w, char **names)
{
    const Args *a = w->args;
    static const char *const members[][2] = {
        {"start", "StartModule"},   {"stop", "StopModule"},   {"restart", "RestartModule"}, {"kill", "KillModule"},
        {"reload", "ReloadModule"}, {"scale", "ScaleModule"}, {"drain", "DrainModule"}};
    const char *member = NULL;
    for (size_t i = 0; i < ELEMENTS(members); i++)
        if (strcmp(members[i][0], a->verb->name) == 0)
            member = members[i][1];
    uint64_t flags = (a->no_block ? FLAG_NO_BLOCK : 0) | (a->cascade ? FLAG_CASCADE : 0) |
                     (a->main_only ? FLAG_MAIN : 0) | (a->undo ? FLAG_UNDO : 0);
    for (size_t i = 0; i < w->n; i++) {
        w->targets[i] = (Target){.work = w, .name = names[i]};
        int r = ask(&w->targets[i], member, flags);
        if (r < 0)
            return client_failed(w->client, NULL, r, names[i]);
        w->left++;
    }
    ToolStatus status = wait_for_all(w);
    bool phases = stops(a) && !a->no_block && (a->verbose || term()->output_is_terminal);
    for (size_t i = 0; phases && status == TOOL_DONE && i < w->n; i++) {
        if (!w->targets[i].torn_down)
            continue;
        if (w->n > 1)
            printf("%s:\n", names[i]);
        show_phases(w, names[i]);
    }
    return status;
}

/* Asks for all of them and waits; *w has its client and what is asked for. */
static ToolStatus act_on(Work *w, char **names)
{
    w->n = strv_length(names);
    w->begun = now_monotonic();
    w->targets = new0_array(Target, w->n);
    ClientEvents events = {.on_event = on_event, .userdata = w};
    int r = client_watch(w->client, &events);
    ToolStatus status = r < 0 ? client_failed(w->client, NULL, r, NULL) : run(w, names);
    term_progress(NULL);
    for (size_t i = 0; i < w->n; i++) {
        sd_bus_slot_unref(w->targets[i].slot);
        free(w->targets[i].condition);
    }
    free(w->targets);
    free(w->progress);
    return status;
}

ToolStatus verb_act(const Args *a)
{
    _cleanup_client_ Client c = {0};
    _cleanup_strv_ char **names = NULL;
    ToolStatus status = client_open(a, &c);
    if (status == TOOL_DONE)
        status = client_expand(&c, a->words, a->n_words, &names);
    if (status != TOOL_DONE)
        return status;
    if (stops(a))
        dependents_first(&c, names);
    Work w = {.client = &c, .args = a};
    return act_on(&w, names);
}

ToolStatus verb_scale(const Args *a)
{
    _cleanup_client_ Client c = {0};
    uint64_t n;
    if (parse_u64(a->words[1], &n) < 0 || n > MODULE_INSTANCES_MAX) {
        _cleanup_(freep) char *shown = str_escape(a->words[1], strlen(a->words[1]), 64);
        say_error("'%s' is no number of instances (0 to %d: bulkhead scale %s 3)", shown, MODULE_INSTANCES_MAX,
                  a->words[0]);
        return TOOL_USAGE;
    }
    ToolStatus status = client_open(a, &c);
    if (status != TOOL_DONE)
        return status;
    char *names[] = {a->words[0], NULL};
    Work w = {.client = &c, .args = a, .instances = (uint32_t)n};
    return act_on(&w, names);
}

/* --- shutdown ------------------------------------------------------------------------------------------------------
 */

/* The daemon's process: the creator of the listener. -EBADF when it cannot be known. */
static int daemon_pidfd(Client *c)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    int fd = sd_bus_get_fd(c->bus);
    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0 || peer.pid <= 0)
        return -EBADF;
    int pidfd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
    return pidfd < 0 ? -EBADF : pidfd;
}

/* Waits for the process's end; modules are down by then. */
static ToolStatus wait_for_end(Client *c, int pidfd)
{
    while (pidfd >= 0) {
        uint64_t now = now_monotonic();
        if (now >= c->deadline)
            return client_failed(c, NULL, -ETIMEDOUT, "shutdown");
        uint64_t left = MIN2((c->deadline - now) / USEC_PER_MSEC + 1, (uint64_t)60000);
        struct pollfd p = {.fd = pidfd, .events = POLLIN};
        if (poll(&p, 1, (int)left) > 0)
            break;
    }
    return TOOL_DONE;
}

static bool disconnected(int r)
{
    return r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE || r == -ESHUTDOWN;
}

/* Answered or cut off: both mean that it is going down. */
static int on_shutdown_answer(sd_bus_message *m, void *userdata, sd_bus_error *ret_error)
{
    (void)ret_error;
    Target *t = userdata;
    t->over = true;
    const sd_bus_error *error = sd_bus_message_get_error(m);
    bool going = !error || disconnected(-sd_bus_message_get_errno(m)) ||
                 sd_bus_error_has_name(error, "org.freedesktop.DBus.Error.NoReply") ||
                 sd_bus_error_has_name(error, "org.bulkhead1.Error.ShuttingDown");
    if (!going) {
        term_progress(NULL);
        t->work->status = client_failed(t->work->client, error, -sd_bus_message_get_errno(m), NULL);
    }
    return 0;
}

static ToolStatus wait_for_shutdown(Work *w, const Target *t)
{
    Client *c = w->client;
    bool connected = true;
    while (connected && (!t->over || (!w->args->no_block && w->status == TOOL_DONE))) {
        int r = sd_bus_process(c->bus, NULL);
        connected = r >= 0 && sd_bus_is_open(c->bus) > 0;
        if (r != 0)
            continue;
        uint64_t now = now_monotonic();
        if (now >= c->deadline) {
            term_progress(NULL);
            return client_failed(c, NULL, -ETIMEDOUT, "shutdown");
        }
        show_progress(w);
        uint64_t left = c->deadline == USEC_INFINITY ? USEC_INFINITY : c->deadline - now;
        (void)sd_bus_wait(c->bus, MIN2((uint64_t)USEC_PER_SEC, left));
    }
    return w->status;
}

ToolStatus verb_shutdown(const Args *a)
{
    _cleanup_client_ Client c = {0};
    ToolStatus status = client_open(a, &c);
    if (status != TOOL_DONE)
        return status;
    _cleanup_fd_ int pidfd = daemon_pidfd(&c);
    Work w = {.client = &c, .args = a, .n = 1, .left = 1, .begun = now_monotonic()};
    Target t = {.work = &w, .name = a->instance};
    ClientEvents events = {.on_event = on_event, .userdata = &w};
    sd_bus_message *m = client_message(&c, "Shutdown");
    int r = m ? sd_bus_message_append(m, "t", (uint64_t)(a->no_block ? FLAG_NO_BLOCK : 0)) : -ENOTCONN;
    if (r >= 0)
        r = client_watch(&c, &events);
    if (r >= 0)
        r = sd_bus_call_async(c.bus, &t.slot, m, on_shutdown_answer, &t, UINT64_MAX);
    status = r < 0 ? client_failed(&c, NULL, r, NULL) : wait_for_shutdown(&w, &t);
    if (status == TOOL_DONE && !a->no_block)
        status = wait_for_end(&c, pidfd);
    term_progress(NULL);
    if (status == TOOL_DONE && !a->no_block && (a->verbose || term()->output_is_terminal)) {
        _cleanup_(freep) char *span = format_usec((now_monotonic() - w.begun) / USEC_PER_MSEC * USEC_PER_MSEC);
        printf("%s: shut down in %s\n", a->instance, span);
    }
    sd_bus_slot_unref(t.slot);
    sd_bus_message_unref(m);
    free(w.progress);
    return status;
}
