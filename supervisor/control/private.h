/* What the files of control/ share and nobody else sees. From bottom to top: connection (one client), replies, manager,
 * module and peer (what it is shown), control (all clients).
 *
 * Ownership: Control owns its connections and its replies; a Connection owns its bus, event sources and queue record. A
 * connection is never freed while it may be on the stack: connection_drop() marks it dead and arms the reaper. */
#pragma once

#include <systemd/sd-bus.h>

#include "supervisor/control/access.h"
#include "supervisor/control/control.h"

#define CONTROL_PATH        "/org/bulkhead1"
#define CONTROL_MODULE_PATH "/org/bulkhead1/module"
#define CONTROL_MANAGER     "org.bulkhead1.Manager"
#define CONTROL_MODULE      "org.bulkhead1.Module"

/* A queued message is charged its payload and this for header and bookkeeping. */
#define CONTROL_MESSAGE_CHARGE 512u
#define CONTROL_QUEUE_SLOTS    (CONTROL_QUEUE_MAX / CONTROL_MESSAGE_CHARGE)

typedef struct Connection Connection;

/* The module a call to /org/bulkhead1/module/NAME is about; lives for one dispatch. */
typedef struct ModuleObject {
    Connection *connection;
    char *name;
    ControlModule module;
} ModuleObject;

struct Connection {
    Control *control;
    sd_bus *bus;
    int fd; /* the bus's own */
    uint64_t id;
    struct ucred peer;
    sd_event_source *io, *more, *deadline;
    bool ready;       /* authenticated */
    bool dead;        /* waits for the reaper */
    bool saw_message; /* the filter saw a whole message in this step */
    size_t partial;   /* bytes that were there to read while no message became whole */
    size_t n_replies; /* calls under way */
    ModuleObject object;

    /* Charges of signals and late answers that the bus has queued, oldest first: a ring, allocated when first needed.
     */
    uint32_t *charges;
    size_t first, n_charges, queued_bytes;
};

struct ControlReply {
    Control *control;       /* NULL after control_close() */
    Connection *connection; /* NULL when the client is gone */
    sd_bus_message *call;
    ControlReply *previous, *next;
};

struct Control {
    ControlConfig config;
    int dirfd;       /* own dup */
    int listener;    /* own */
    int spare;       /* given up for a moment to accept and close when descriptors have run out */
    sd_id128_t guid; /* of the server, told at authentication */
    sd_event_source *accept, *reap;
    Connection *connections[CONTROL_CONNECTIONS_MAX];
    size_t n_connections;
    uint64_t last_id;
    ControlReply *replies;
    uint64_t refused_usec; /* when a refusal was last logged */
    bool closing;
};

/* connection.c */
/* Without objects yet, which control.c attaches. Takes fd in every case. */
int connection_new(Control *control, int fd, const struct ucred *peer, Connection **ret);
Connection *connection_free(Connection *c);
/* To be freed at the next turn of the loop; `why` is logged when not NULL. */
void connection_drop(Connection *c, const char *why);
/* Sends a signal or a late answer, charged to the client's queue; drops the client that does not read. */
void connection_send(Connection *c, sd_bus_message *m, size_t payload);
Access connection_access(const Connection *c, struct ucred *ret_peer);
/* Writes what is queued, without blocking and without reading. True when nothing is left or the peer is gone. */
bool connection_flushed(Connection *c);

/* replies.c */
/* Takes the call over: its answer is owed from now on. NULL when the connection has too many under way (the caller
 * then answers with LimitsExceeded). */
ControlReply *reply_new(Connection *c, sd_bus_message *call);
/* Answers all that are owed with ShuttingDown; who holds one of them may still answer it, to nobody. */
void replies_cancel(Control *c);

/* manager.c, module.c, peer.c: each adds its vtable. */
int manager_attach(Connection *c);
int module_attach(Connection *c);
int peer_attach(Connection *c);

/* manager.c, for module.c too. Fails with NoSuchModule, and the nearest name, when there is none. */
int module_lookup(Connection *c, const char *name, ControlModule *ret, sd_bus_error *error);
int control_act(Connection *c, sd_bus_message *call, ControlVerb verb, const char *name, int number, uint64_t flags,
                sd_bus_error *error);
