/* org.bulkhead1.Module at /org/bulkhead1/module/NAME (sd_bus_path_encode): one object a module, made at each call from
 * what the host has then, so that nothing here must be kept in step with it. */
#include "supervisor/control/private.h"

#include <errno.h>

#include "base/str.h"

static int find(sd_bus *bus, const char *path, const char *interface, void *userdata, void **ret_found,
                sd_bus_error *error)
{
    (void)bus, (void)interface, (void)error;
    Connection *c = userdata;
    const ControlConfig *k = &c->control->config;
    char *name = NULL;
    int r = sd_bus_path_decode(path, CONTROL_MODULE_PATH, &name);
    if (r <= 0)
        return r;
    free(c->object.name);
    c->object = (ModuleObject){.connection = c, .name = name};
    if (!k->ops->module_by_name(k->host, name, &c->object.module))
        return 0;
    *ret_found = &c->object;
    return 1;
}

static int enumerate(sd_bus *bus, const char *prefix, void *userdata, char ***ret_nodes, sd_bus_error *error)
{
    (void)bus, (void)prefix, (void)error;
    const Connection *c = userdata;
    const ControlConfig *k = &c->control->config;
    size_t n = 0;
    ControlModule m = {0};
    while (k->ops->module_at(k->host, n, &m))
        n++;
    char **paths = new0_array(char *, n + 1);
    for (size_t i = 0; i < n && k->ops->module_at(k->host, i, &m); i++)
        if (sd_bus_path_encode(CONTROL_MODULE_PATH, m.name, &paths[i]) < 0) {
            strv_free(paths);
            return -ENOMEM;
        }
    *ret_nodes = paths;
    return 1;
}

static int act(sd_bus_message *m, void *userdata, ControlVerb verb, sd_bus_error *error)
{
    const ModuleObject *o = userdata;
    uint64_t flags;
    int r = sd_bus_message_read(m, "t", &flags);
    return r < 0 ? r : control_act(o->connection, m, verb, o->name, 0, flags, error);
}

static int on_start(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    return act(m, userdata, CONTROL_START, error);
}

static int on_stop(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    return act(m, userdata, CONTROL_STOP, error);
}

static int on_restart(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    return act(m, userdata, CONTROL_RESTART, error);
}

static int get_string(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                      void *userdata, sd_bus_error *error)
{
    (void)bus, (void)path, (void)interface, (void)error;
    const ModuleObject *o = userdata;
    const char *value = strcmp(property, "Name") == 0     ? o->name
                        : strcmp(property, "State") == 0  ? o->module.state
                        : strcmp(property, "Health") == 0 ? o->module.health
                                                          : o->module.cgroup;
    return sd_bus_message_append(reply, "s", str_or(value, ""));
}

static int get_number(sd_bus *bus, const char *path, const char *interface, const char *property, sd_bus_message *reply,
                      void *userdata, sd_bus_error *error)
{
    (void)bus, (void)path, (void)interface, (void)error;
    const ModuleObject *o = userdata;
    if (strcmp(property, "MainPID") == 0)
        return sd_bus_message_append(reply, "u", (uint32_t)o->module.pid);
    return sd_bus_message_append(reply, "t",
                                 strcmp(property, "Generation") == 0 ? o->module.generation : o->module.restarts);
}

#define ANYBODY SD_BUS_VTABLE_UNPRIVILEGED /* connection.c judges every call */

static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_PROPERTY("Name", "s", get_string, 0, SD_BUS_VTABLE_PROPERTY_CONST),
    SD_BUS_PROPERTY("State", "s", get_string, 0, 0),
    SD_BUS_PROPERTY("Health", "s", get_string, 0, 0),
    SD_BUS_PROPERTY("Generation", "t", get_number, 0, 0),
    SD_BUS_PROPERTY("MainPID", "u", get_number, 0, 0),
    SD_BUS_PROPERTY("ControlGroup", "s", get_string, 0, 0),
    SD_BUS_PROPERTY("Restarts", "t", get_number, 0, 0),
    SD_BUS_METHOD_WITH_ARGS("Start", SD_BUS_ARGS("t", flags), SD_BUS_NO_RESULT, on_start, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("Stop", SD_BUS_ARGS("t", flags), SD_BUS_NO_RESULT, on_stop, ANYBODY),
    SD_BUS_METHOD_WITH_ARGS("Restart", SD_BUS_ARGS("t", flags), SD_BUS_NO_RESULT, on_restart, ANYBODY),
    SD_BUS_VTABLE_END,
};

int module_attach(Connection *c)
{
    int r = sd_bus_add_fallback_vtable(c->bus, NULL, CONTROL_MODULE_PATH, CONTROL_MODULE, vtable, find, c);
    if (r < 0)
        return r;
    return sd_bus_add_node_enumerator(c->bus, NULL, CONTROL_MODULE_PATH, enumerate, c);
}
