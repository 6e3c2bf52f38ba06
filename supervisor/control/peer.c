/* The few calls of org.freedesktop.DBus that ordinary clients make before they will talk: busctl and gdbus say Hello
 * and add matches although nobody routes here. Signals go to every client that may read, so matches change nothing. The
 * one name is org.bulkhead1, owned by the daemon. */
#include "supervisor/control/private.h"

#include <inttypes.h>
#include <stdio.h>

#define BUS_NAME  "org.bulkhead1"
#define BUS_OWNER ":1.0"

static int on_hello(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)error;
    const Connection *c = userdata;
    char name[32];
    snprintf(name, sizeof name, ":1.%" PRIu64, c->id);
    return sd_bus_reply_method_return(m, "s", name);
}

static int on_match(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)userdata, (void)error;
    return sd_bus_reply_method_return(m, "");
}

static int on_list_names(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)userdata, (void)error;
    return sd_bus_reply_method_return(m, "as", 1, BUS_NAME);
}

static int on_list_activatable(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)userdata, (void)error;
    return sd_bus_reply_method_return(m, "as", 0);
}

static int on_has_owner(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)userdata, (void)error;
    const char *name;
    int r = sd_bus_message_read(m, "s", &name);
    return r < 0 ? r : sd_bus_reply_method_return(m, "b", strcmp(name, BUS_NAME) == 0);
}

static int on_get_owner(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)userdata;
    const char *name;
    int r = sd_bus_message_read(m, "s", &name);
    if (r < 0)
        return r;
    if (strcmp(name, BUS_NAME) != 0)
        return sd_bus_error_set(error, "org.freedesktop.DBus.Error.NameHasNoOwner", "only " BUS_NAME " lives here");
    return sd_bus_reply_method_return(m, "s", BUS_OWNER);
}

static int on_get_id(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    (void)error;
    const Connection *c = userdata;
    char id[SD_ID128_STRING_MAX];
    return sd_bus_reply_method_return(m, "s", sd_id128_to_string(c->control->guid, id));
}

static const sd_bus_vtable vtable[] = {
    SD_BUS_VTABLE_START(0),
    SD_BUS_METHOD_WITH_ARGS("Hello", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", name), on_hello, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("AddMatch", SD_BUS_ARGS("s", rule), SD_BUS_NO_RESULT, on_match, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("RemoveMatch", SD_BUS_ARGS("s", rule), SD_BUS_NO_RESULT, on_match,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListNames", SD_BUS_NO_ARGS, SD_BUS_RESULT("as", names), on_list_names,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("ListActivatableNames", SD_BUS_NO_ARGS, SD_BUS_RESULT("as", names), on_list_activatable,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("NameHasOwner", SD_BUS_ARGS("s", name), SD_BUS_RESULT("b", has_owner), on_has_owner,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetNameOwner", SD_BUS_ARGS("s", name), SD_BUS_RESULT("s", owner), on_get_owner,
                            SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_METHOD_WITH_ARGS("GetId", SD_BUS_NO_ARGS, SD_BUS_RESULT("s", id), on_get_id, SD_BUS_VTABLE_UNPRIVILEGED),
    SD_BUS_VTABLE_END,
};

int peer_attach(Connection *c)
{
    return sd_bus_add_object_vtable(c->bus, NULL, "/org/freedesktop/DBus", "org.freedesktop.DBus", vtable, c);
}
