/* See client.h. The connection is sd-bus without a broker: no Hello, signals come by themselves. */
#include "tools/client.h"

#include <errno.h>
#include <stdarg.h>
#include <unistd.h>

#include "base/str.h"
#include "tools/names.h"
#include "tools/next.h"

#define ERROR_NO_SUCH_MODULE "org.bulkhead1.Error.NoSuchModule"

enum { CALL_USEC = 30 * 1000 * 1000, TRY_USEC = 2 * 1000 * 1000 };

void say_error(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *text = xvasprintf(fmt, ap);
    va_end(ap);
    /* Lines stay lines, all else that is no text is shown as \xNN. */
    for (char *line = text, *rest; line; line = rest) {
        rest = strchr(line, '\n');
        if (rest)
            *rest++ = '\0';
        _cleanup_(freep) char *shown = str_escape(line, strlen(line), 4096);
        fprintf(stderr, "%s%s\n", line == text ? "bulkhead: " : "  ", shown);
    }
    free(text);
}

static ToolStatus cannot_connect(const Args *a, int r)
{
    _cleanup_(freep) char *start = NULL;
    switch (-r) {
    case ENOENT:
    case ECONNREFUSED:
    case ENOTDIR:
        start = next_start_daemon(a->instance);
        say_error("no daemon for instance '%s' (start it: %s%s)", a->instance, next_sudo(), start);
        return TOOL_ABSENT;
    case EACCES:
    case EPERM:
        say_error(
            "permission denied: only root and the members of read_group may talk to instance '%s' (try sudo bulkhead "
            "%s, or set read_group in [supervisor] of bulkhead.ini)",
            a->instance, a->verb->name);
        return TOOL_FAILED;
    default:
        say_error("cannot talk to instance '%s': %s", a->instance, strerror(-r));
        return TOOL_FAILED;
    }
}

int client_try_open(const Args *a, Client *ret)
{
    Client c = {.args = a, .deadline = USEC_INFINITY};
    if (a->timeout != USEC_INFINITY)
        c.deadline = usec_add(now_monotonic(), a->timeout);
    _cleanup_(freep) char *address = xasprintf("unix:path=/run/bulkhead/%s/bus", a->instance);
    int r = sd_bus_new(&c.bus);
    if (r < 0 || (r = sd_bus_set_address(c.bus, address)) < 0 || (r = sd_bus_negotiate_fds(c.bus, 1)) < 0 ||
        (r = sd_bus_start(c.bus)) < 0) {
        client_done(&c);
        return r;
    }
    *ret = c;
    return 0;
}

ToolStatus client_open(const Args *a, Client *ret)
{
    int r = client_try_open(a, ret);
    return r < 0 ? cannot_connect(a, r) : TOOL_DONE;
}

void client_done(Client *c)
{
    if (c->bus)
        sd_bus_close_unref(c->bus);
    c->bus = NULL;
}

/* The daemon's word, and what helps: a file that is newer than the daemon is not known to it. */
static void no_such_module(const Args *a, const char *message)
{
    for (size_t i = 0; i < a->n_words; i++) {
        _cleanup_(freep) char *quoted = xasprintf("'%s'", a->words[i]),
                              *file = xasprintf("/etc/bulkhead/modules.d/%s.ini", a->words[i]);
        if (strcmp(a->instance, "default") != 0 || strchr(a->words[i], '/') || !strstr(message, quoted) ||
            access(file, F_OK) < 0)
            continue;
        _cleanup_(freep) char *take = next_take_configuration(a->instance);
        say_error("%s: the daemon has not read %s, it reads its files when it starts (bulkhead check, then %s%s)",
                  message, file, next_sudo(), take);
        return;
    }
    say_error("%s (bulkhead status lists them%s)", message,
              strcmp(a->instance, "default") == 0 ? "" : " with the same --instance");
}

ToolStatus client_failed(const Client *c, const sd_bus_error *error, int r, const char *about)
{
    const char *colon = about ? ": " : "";
    about = about ? about : "";
    const char *message = error ? error->message : NULL;
    if (sd_bus_error_has_name(error, ERROR_NO_SUCH_MODULE)) {
        no_such_module(c->args, str_or(message, "no such module"));
        return TOOL_ABSENT;
    }
    if (r == -ETIMEDOUT && c->deadline != USEC_INFINITY) {
        _cleanup_(freep) char *span = format_usec(c->args->timeout);
        say_error("%s%snot finished within %s; it goes on", about, colon, span);
        return TOOL_TIMEOUT;
    }
    if (r == -ECONNRESET || r == -ENOTCONN || r == -EPIPE || r == -ESHUTDOWN) {
        say_error("%s%sthe daemon closed the connection (it has ended, or serves too many clients)", about, colon);
        return TOOL_FAILED;
    }
    /* What the daemon says names the module already. */
    bool named = message && *about && str_starts(message, about);
    say_error("%s%s%s", named ? "" : about, named ? "" : colon, str_or(message, strerror(-r)));
    return TOOL_FAILED;
}

sd_bus_message *client_message(Client *c, const char *member)
{
    sd_bus_message *m = NULL;
    return sd_bus_message_new_method_call(c->bus, &m, NULL, CLIENT_PATH, CLIENT_INTERFACE, member) < 0 ? NULL : m;
}

ToolStatus client_call(Client *c, sd_bus_message *call, sd_bus_message **ret_reply)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    uint64_t limit = CALL_USEC;
    if (c->deadline != USEC_INFINITY) {
        uint64_t now = now_monotonic();
        limit = c->deadline > now ? MIN2(limit, c->deadline - now) : 1;
    }
    int r = call ? sd_bus_call(c->bus, call, limit, &error, ret_reply) : -ENOTCONN;
    ToolStatus status = r < 0 ? client_failed(c, &error, r, NULL) : TOOL_DONE;
    sd_bus_error_free(&error);
    return status;
}

ToolStatus client_call_string(Client *c, const char *member, const char *argument, char **ret)
{
    sd_bus_message *call = client_message(c, member), *reply = NULL;
    const char *text = NULL;
    int r = call && argument ? sd_bus_message_append(call, "s", argument) : 0;
    ToolStatus status = r < 0 ? client_failed(c, NULL, r, NULL) : client_call(c, call, &reply);
    if (status == TOOL_DONE) {
        r = sd_bus_message_read(reply, "s", &text);
        if (r < 0)
            status = client_failed(c, NULL, r, NULL);
        else
            *ret = xstrdup(text);
    }
    sd_bus_message_unref(reply);
    sd_bus_message_unref(call);
    return status;
}

ToolStatus client_call_json(Client *c, const char *member, const char *argument, json_t **ret)
{
    _cleanup_(freep) char *text = NULL;
    ToolStatus status = client_call_string(c, member, argument, &text);
    if (status != TOOL_DONE)
        return status;
    json_error_t error;
    *ret = json_loads(text, 0, &error);
    if (*ret)
        return TOOL_DONE;
    say_error("the daemon's answer is no JSON: %s", error.text);
    return TOOL_FAILED;
}

int client_try_json(Client *c, const char *member, json_t **ret)
{
    sd_bus_message *call = client_message(c, member), *reply = NULL;
    sd_bus_error error = SD_BUS_ERROR_NULL;
    const char *text = NULL;
    int r = call ? sd_bus_call(c->bus, call, TRY_USEC, &error, &reply) : -ENOTCONN;
    if (r >= 0)
        r = sd_bus_message_read(reply, "s", &text);
    if (r >= 0 && !(*ret = json_loads(text, 0, NULL)))
        r = -EBADMSG;
    sd_bus_error_free(&error);
    sd_bus_message_unref(reply);
    sd_bus_message_unref(call);
    return r < 0 ? r : 0;
}

ToolStatus client_modules(Client *c, char ***ret_names, char ***ret_states)
{
    sd_bus_message *call = client_message(c, "ListModules"), *reply = NULL;
    ToolStatus status = client_call(c, call, &reply);
    if (status == TOOL_DONE) {
        const char *name, *state, *health;
        uint64_t generation, restarts;
        uint32_t pid;
        int r = sd_bus_message_enter_container(reply, 'a', "(sssttu)");
        while (r > 0 &&
               (r = sd_bus_message_read(reply, "(sssttu)", &name, &state, &health, &generation, &restarts, &pid)) > 0) {
            strv_add(ret_names, name);
            if (ret_states)
                strv_add(ret_states, state);
        }
        if (r < 0)
            status = client_failed(c, NULL, r, NULL);
    }
    sd_bus_message_unref(reply);
    sd_bus_message_unref(call);
    return status;
}

ToolStatus client_expand(Client *c, char *const *words, size_t n, char ***ret)
{
    _cleanup_json_ json_t *names = NULL;
    Error e = {0};
    ToolStatus status = client_call_json(c, "GetNames", NULL, &names);
    if (status != TOOL_DONE || names_expand(names, words, n, ret, &e) == 0)
        return status;
    say_error("%s", error_message(&e));
    return TOOL_ABSENT;
}

static int on_event(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)error;
    const ClientEvents *events = userdata;
    const char *line;
    if (sd_bus_message_read(m, "s", &line) < 0)
        return 0;
    _cleanup_json_ json_t *event = json_loads(line, 0, NULL);
    if (event)
        events->on_event(event, line, events->userdata);
    return 0;
}

int client_watch(Client *c, ClientEvents *events)
{
    return sd_bus_match_signal(c->bus, NULL, NULL, CLIENT_PATH, CLIENT_INTERFACE, "Event", on_event, events);
}
