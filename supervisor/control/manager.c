/* org.bulkhead1.Manager at /org/bulkhead1: arguments checked, then the host's operation, then the answer.
 *
 * Access was judged before (connection.c); names are looked up here, so that the host is only asked for modules it
 * has. Whatever takes time answers through a ControlReply. */
#include "supervisor/control/private.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>

#include "base/fd.h"
#include "base/str.h"

static json_t *json_freed(json_t *j)
{
    json_decref(j);
    return NULL;
}

static void json_freep(json_t **j)
{
    *j = json_freed(*j);
}

int module_lookup(Connection *c, const char *name, ControlModule *ret, sd_bus_error *error)
{
    const ControlConfig *k = &c->control->config;
    if (k->ops->module_by_name(k->host, name, ret))
        return 0;
    _cleanup_(freep) const char **names = NULL;
    size_t n = 0;
    ControlModule m = {0};
    for (size_t i = 0; k->ops->module_at(k->host, i, &m); i++)
        ARRAY_PUSH(names, n) = m.name;
    const char *near = str_nearest(name, names, n);
    _cleanup_(freep) char *shown = str_escape(name, strlen(name), 64);
    if (near)
        return sd_bus_error_setf(error, CONTROL_ERROR_NO_SUCH_MODULE, "no module '%s' (did you mean '%s'?)", shown,
                                 near);
    return sd_bus_error_setf(error, CONTROL_ERROR_NO_SUCH_MODULE, "no module '%s'", shown);
}

int control_act(Connection *c, sd_bus_message *call, ControlVerb verb, const char *name, int number, uint64_t flags,
                sd_bus_error *error)
{
    const ControlConfig *k = &c->control->config;
    if (flags & ~CONTROL_FLAGS)
        return sd_bus_error_setf(error, CONTROL_ERROR_INVALID_ARGS, "unknown flags 0x%llx",
                                 (unsigned long long)(flags & ~CONTROL_FLAGS));
    if ((flags & CONTROL_MAIN_ONLY) && verb != CONTROL_KILL)
        return sd_bus_error_set(error, CONTROL_ERROR_INVALID_ARGS, "flag 4 (the main process alone) is of KillModule");
    if ((flags & CONTROL_UNDO) && verb != CONTROL_DRAIN)
        return sd_bus_error_set(error, CONTROL_ERROR_INVALID_ARGS, "flag 8 (undo) is of DrainModule");
    if (verb == CONTROL_KILL && (number < 1 || number > SIGRTMAX))
        return sd_bus_error_setf(error, CONTROL_ERROR_INVALID_ARGS, "no signal %d (1 to %d)", number, SIGRTMAX);
    ControlModule m = {0};
    int r = name && verb != CONTROL_SCALE ? module_lookup(c, name, &m, error) : 0;
    if (r < 0)
        return r;
    struct ucred caller;
    (void)connection_access(c, &caller);
    ControlReply *reply = reply_new(c, call);
    if (!reply)
        return sd_bus_error_set(error, CONTROL_ERROR_LIMITS_EXCEEDED, "too many calls under way on this connection");
    k->ops->act(k->host, verb, name, number, flags, &caller, reply);
    return 1;
}

static int act_on_module(sd_bus_message *m, void *userdata, ControlVerb verb, sd_bus_error *error)
{
    const char *name;
    uint64_t flags;
    int r = sd_bus_message_read(m, "st", &name, &flags);
    return r < 0 ? r : control_act(userdata, m, verb, name, 0, flags, error);
}

static int on_start(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    return act_on_module(m, userdata, CONTROL_START, error);
}

static int on_stop(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    return act_on_module(m, userdata, CONTROL_STOP, error);
}

static int on_restart(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    return act_on_module(m, userdata, CONTROL_RESTART, error);
}

static int on_reload(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    return act_on_module(m, userdata, CONTROL_RELOAD, error);
}

static int on_drain(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    return act_on_module(m, userdata, CONTROL_DRAIN, error);
}

static int on_kill(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    const char *name;
    int32_t signal;
    uint64_t flags;
    int r = sd_bus_message_read(m, "sit", &name, &signal, &flags);
    return r < 0 ? r : control_act(userdata, m, CONTROL_KILL, name, signal, flags, error);
}

/* Names a template, which is no module: the host looks it up. */
static int on_scale(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    const char *name;
    uint32_t instances;
    uint64_t flags;
    int r = sd_bus_message_read(m, "sut", &name, &instances, &flags);
    return r < 0
               ? r
               : control_act(userdata, m, CONTROL_SCALE, name, (int)MIN2(instances, (uint32_t)INT32_MAX), flags, error);
}

static int on_shutdown(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    uint64_t flags;
    int r = sd_bus_message_read(m, "t", &flags);
    return r < 0 ? r : control_act(userdata, m, CONTROL_SHUTDOWN, NULL, 0, flags, error);
}

static int on_list_modules(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)error;
    const Connection *c = userdata;
    const ControlConfig *k = &c->control->config;
    sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(m, &reply);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "(sssttu)");
    ControlModule one = {0};
    for (size_t i = 0; r >= 0 && k->ops->module_at(k->host, i, &one); i++)
        r = sd_bus_message_append(reply, "(sssttu)", one.name, str_or(one.state, ""), str_or(one.health, ""),
                                  one.generation, one.restarts, (uint32_t)one.pid);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    if (r >= 0)
        r = sd_bus_send(c->bus, reply, NULL);
    sd_bus_message_unref(reply);
    return r < 0 ? r : 1;
}

/* Answers with a text; takes it. */
static int reply_text(sd_bus_message *m, char *text, sd_bus_error *error)
{
    _cleanup_(freep) char *owned = text;
    if (!owned)
        return sd_bus_error_set(error, CONTROL_ERROR_FAILED, "the daemon could not put its answer together");
    return sd_bus_reply_method_return(m, "s", owned);
}

/* Answers with a document; takes the reference. */
static int reply_json(sd_bus_message *m, json_t *document, sd_bus_error *error)
{
    _cleanup_(json_freep) json_t *owned = document;
    return reply_text(m, owned ? json_dumps(owned, JSON_COMPACT) : NULL, error);
}

static int on_get_status(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    Connection *c = userdata;
    const ControlConfig *k = &c->control->config;
    const char *name;
    ControlModule one = {0};
    int r = sd_bus_message_read(m, "s", &name);
    if (r < 0 || (*name && (r = module_lookup(c, name, &one, error)) < 0))
        return r;
    return reply_json(m, k->ops->status(k->host, *name ? name : NULL), error);
}

static int on_explain(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    Connection *c = userdata;
    const ControlConfig *k = &c->control->config;
    const char *name;
    ControlModule one = {0};
    int r = sd_bus_message_read(m, "s", &name);
    if (r < 0 || (r = module_lookup(c, name, &one, error)) < 0)
        return r;
    return reply_json(m, k->ops->explain(k->host, name), error);
}

static int on_get_names(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    const ControlConfig *k = &((Connection *)userdata)->control->config;
    return reply_json(m, k->ops->names(k->host), error);
}

static int on_get_usage(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    const ControlConfig *k = &((Connection *)userdata)->control->config;
    return reply_json(m, k->ops->usage(k->host), error);
}

static int on_get_plan(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    const ControlConfig *k = &((Connection *)userdata)->control->config;
    return reply_json(m, k->ops->plan(k->host), error);
}

static int on_get_plan_text(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    const ControlConfig *k = &((Connection *)userdata)->control->config;
    return reply_text(m, k->ops->plan_text(k->host), error);
}

static int on_get_graph(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    const ControlConfig *k = &((Connection *)userdata)->control->config;
    return reply_text(m, k->ops->dot(k->host), error);
}

static int on_get_events(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    const Connection *c = userdata;
    const ControlConfig *k = &c->control->config;
    uint64_t limit;
    int r = sd_bus_message_read(m, "t", &limit);
    if (r < 0)
        return r;
    _cleanup_(json_freep) json_t *events = k->ops->events(k->host, limit);
    if (!events)
        return sd_bus_error_set(error, CONTROL_ERROR_FAILED, "the daemon could not put its answer together");
    _cleanup_strv_ char **lines = NULL;
    size_t n = json_array_size(events);
    lines = new0_array(char *, n + 1);
    for (size_t i = 0; i < n; i++)
        if (!(lines[i] = json_dumps(json_array_get(events, i), JSON_COMPACT)))
            return -ENOMEM;
    sd_bus_message *reply = NULL;
    r = sd_bus_message_new_method_return(m, &reply);
    if (r >= 0)
        r = sd_bus_message_append_strv(reply, lines);
    if (r >= 0)
        r = sd_bus_send(c->bus, reply, NULL);
    sd_bus_message_unref(reply);
    return r < 0 ? r : 1;
}

/* A reader must not get a descriptor that writes. */
static int reply_fd(sd_bus_message *m, const char *kind, int fd, sd_bus_error *error)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) != O_RDONLY)
        return sd_bus_error_set(error, CONTROL_ERROR_FAILED, "the log is not open for reading");
    int r = kind ? sd_bus_reply_method_return(m, "sv", kind, "h", fd) : sd_bus_reply_method_return(m, "h", fd);
    if (r == -EOPNOTSUPP)
        return sd_bus_error_set(error, CONTROL_ERROR_FAILED, "this client does not take file descriptors");
    return r;
}

static int on_open_log(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    Connection *c = userdata;
    const ControlConfig *k = &c->control->config;
    const char *name, *kind = NULL;
    ControlModule one = {0};
    int r = sd_bus_message_read(m, "s", &name);
    if (r < 0 || (r = module_lookup(c, name, &one, error)) < 0)
        return r;
    _cleanup_fd_ int fd = -EBADF;
    _cleanup_(freep) char *identifier = NULL;
    Error e = {0};
    r = k->ops->open_log(k->host, name, &kind, &fd, &identifier, &e);
    if (r < 0)
        return sd_bus_error_set(error, CONTROL_ERROR_FAILED, e.msg[0] ? e.msg : strerror(-r));
    if (fd < 0)
        return sd_bus_reply_method_return(m, "sv", kind, "s", str_or(identifier, ""));
    return reply_fd(m, kind, fd, error);
}

static int on_open_log_file(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    Connection *c = userdata;
    const ControlConfig *k = &c->control->config;
    const char *name, *stream;
    int32_t number;
    ControlModule one = {0};
    int r = sd_bus_message_read(m, "ssi", &name, &stream, &number);
    if (r < 0 || (r = module_lookup(c, name, &one, error)) < 0)
        return r;
    bool error_stream = strcmp(stream, "stderr") == 0;
    if (!error_stream && strcmp(stream, "stdout") != 0)
        return sd_bus_error_set(error, CONTROL_ERROR_INVALID_ARGS, "the stream is stdout or stderr");
    _cleanup_fd_ int fd = -EBADF;
    Error e = {0};
    r = k->ops->open_log_file(k->host, name, error_stream, number, &fd, &e);
    if (r < 0)
        return sd_bus_error_set(error, CONTROL_ERROR_FAILED, e.msg[0] ? e.msg : strerror(-r));
    return reply_fd(m, NULL, fd, error);
}

static int get_string(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                      void *userdata, sd_bus_error *error)
{
    (void)bus, (void)path, (void)interface, (void)error;
    const ControlConfig *k = &((Connection *)userdata)->control->config;
    if (strcmp(property, "Version") == 0)
        return sd_bus_message_append(reply, "s", k->version);
    if (strcmp(property, "Instance") == 0)
        return sd_bus_message_append(reply, "s", k->instance);
    return sd_bus_message_append(reply, "s", k->ops->health(k->host));
}

#define ANYBODY SD_BUS_VTABLE_UNPRIVILEGED /* sd-bus's own judgement is off: connection.c judges every call */

static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("StartModule", SD_BUS_ARGS("s", name, "t", flags), SD_BUS_NO_RESULT, on_start, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("StopModule", SD_BUS_ARGS("s", name, "t", flags), SD_BUS_NO_RESULT, on_stop, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("RestartModule", SD_BUS_ARGS("s", name, "t", flags), SD_BUS_NO_RESULT, on_restart, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("ReloadModule", SD_BUS_ARGS("s", name, "t", flags), SD_BUS_NO_RESULT, on_reload, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("DrainModule", SD_BUS_ARGS("s", name, "t", flags), SD_BUS_NO_RESULT, on_drain, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("KillModule", SD_BUS_ARGS("s", name, "i", signal, "t", flags), SD_BUS_NO_RESULT, on_kill,
                            ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("ScaleModule", SD_BUS_ARGS("s", name, "u", instances, "t", flags), SD_BUS_NO_RESULT,
                            on_scale, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("Shutdown", SD_BUS_ARGS("t", flags), SD_BUS_NO_RESULT, on_shutdown, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("ListModules", SD_BUS_NO_ARGS, SD_BUS_RESULT("a(sssttu)", modules), on_list_modules,
                            ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("GetStatus", SD_BUS_ARGS("s", name), SD_BUS_RESULT("s", json), on_get_status, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("Explain", SD_BUS_ARGS("s", name), SD_BUS_RESULT("s", json), on_explain, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("GetNames", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json), on_get_names, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("GetUsage", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json), on_get_usage, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("GetPlan", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", json), on_get_plan, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("GetPlanText", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", text), on_get_plan_text, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("GetGraph", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", dot), on_get_graph, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("GetEvents", SD_BUS_ARGS("t", limit), SD_BUS_RESULT("as", events), on_get_events, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("OpenLog", SD_BUS_ARGS("s", name), SD_BUS_RESULT("s", kind, "v", fd_or_identifier),
                            on_open_log, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("OpenLogFile", SD_BUS_ARGS("s", name, "s", stream, "i", number), SD_BUS_RESULT("h", file),
                            on_open_log_file, ANYBODY),
    SD_BUS_PROPERTY("Version", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Instance", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("Status", "s", get_string, 0, 0),
    SD_BUS_SIGNAL_WITH_ARGS("ModuleChanged", SD_BUS_ARGS("s", name, "s", old_state, "s", new_state, "t", generation),
                            0),
    SD_BUS_SIGNAL_WITH_ARGS("ModuleAdded", SD_BUS_ARGS("s", name), 0),
    SD_BUS_SIGNAL_WITH_ARGS("ModuleRemoved", SD_BUS_ARGS("s", name), 0),
    SD_BUS_SIGNAL_WITH_ARGS("Event", SD_BUS_ARGS("s", json), 0),
    SD_BUS_VTABLE_END,
};

int manager_attach(Connection *c)
{
    return sd_bus_add_object_vtable(c->bus, NULL, CONTROL_PATH, CONTROL_MANAGER, vtable, c);
}
