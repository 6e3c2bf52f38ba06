/* The D-Bus face of the daemon: sd-bus served peer to peer on RUNTIME_DIR/bus, no broker needed (docs/face.md).
 *
 * control/ owns the listening socket, every connection and every answer that is still owed; it knows nothing of
 * modules but what the operations below say. It includes nothing of the host: the host hands in a table of operations
 * and one pointer. Everything runs on the daemon's one thread and event loop; no call here blocks, except
 * control_close(), which waits at most CONTROL_FLUSH_USEC for slow clients.
 *
 * Who may do what (access.h): uid 0 everything; members of operate_group read, start, stop and restart; members of
 * read_group read; everybody else is refused. Judged at each call by SO_PEERCRED and SO_PEERGROUPS, fail closed.
 * Operations are only called for callers that may. */
#pragma once

#include <jansson.h>
#include <sys/socket.h>
#include <systemd/sd-event.h>

#include "base/error.h"
#include "base/util.h"

#define CONTROL_SOCKET                "bus"
#define CONTROL_CONNECTIONS_MAX       64
#define CONTROL_CONNECTIONS_UID_MAX   16
#define CONTROL_QUEUE_MAX             (1024u * 1024u) /* bytes queued to a client that does not read */
#define CONTROL_REPLIES_MAX           128u            /* calls a connection may have under way */
#define CONTROL_AUTH_USEC             10000000ull     /* a peer that has not authenticated by then is dropped */
#define CONTROL_FLUSH_USEC            500000ull

#define CONTROL_ERROR_NO_SUCH_MODULE  "org.bulkhead1.Error.NoSuchModule"
#define CONTROL_ERROR_FAILED          "org.bulkhead1.Error.Failed"
#define CONTROL_ERROR_REFUSED         "org.bulkhead1.Error.Refused"
#define CONTROL_ERROR_SHUTTING_DOWN   "org.bulkhead1.Error.ShuttingDown"
#define CONTROL_ERROR_ACCESS_DENIED   "org.freedesktop.DBus.Error.AccessDenied"
#define CONTROL_ERROR_INVALID_ARGS    "org.freedesktop.DBus.Error.InvalidArgs"
#define CONTROL_ERROR_LIMITS_EXCEEDED "org.freedesktop.DBus.Error.LimitsExceeded"

typedef struct Control Control;

typedef enum ControlVerb {
    CONTROL_START,
    CONTROL_STOP,
    CONTROL_RESTART,
    CONTROL_KILL,
    CONTROL_SCALE,
    CONTROL_RELOAD,
    CONTROL_DRAIN,
    CONTROL_SHUTDOWN,
    CONTROL_VERB_N
} ControlVerb;

#define CONTROL_NO_BLOCK  1ull /* answer when the work is accepted, not when it is done */
#define CONTROL_CASCADE   2ull /* stop, restart: running dependents first */
#define CONTROL_MAIN_ONLY 4ull /* kill: the main process alone */
#define CONTROL_UNDO      8ull /* drain: let new work in again */
#define CONTROL_FLAGS     (CONTROL_NO_BLOCK | CONTROL_CASCADE | CONTROL_MAIN_ONLY | CONTROL_UNDO)

/* An answer that is still owed to a client. Whoever got one from ControlOps.act answers it exactly once, whenever he
 * likes, also from within act(), also after control_close(); that frees it. The client may be gone meanwhile: then
 * answering does nothing more. */
typedef struct ControlReply ControlReply;

void control_reply_done(ControlReply *r);
/* `error_name` is one of CONTROL_ERROR_*; the message is for a person, complete in itself. */
void control_reply_fail(ControlReply *r, const char *error_name, const char *message);

/* What ListModules and the Module objects show: cheap to fill, no kernel file is read for it. Strings are borrowed and
 * need only live until the host runs again; NULL strings read as "". */
typedef struct ControlModule {
    const char *name, *state, *health;
    const char *cgroup; /* cgroup2 path of the generation in charge */
    uint64_t generation, restarts;
    pid_t pid; /* 0 = none */
} ControlModule;

/* All strings that come out as JSON are UTF-8. Functions that return json_t give a new reference. */
typedef struct ControlOps {
    bool (*module_at)(void *host, size_t i, ControlModule *ret);              /* i-th by name; false past the end */
    bool (*module_by_name)(void *host, const char *name, ControlModule *ret); /* false = no such module */
    const char *(*health)(void *host);                                        /* "healthy", "degraded", "critical" */
    json_t *(*status)(void *host, const char *name); /* the document of docs/face.md; NULL name = all */
    json_t *(*usage)(void *host);                    /* what of it changes from one look to the next */
    json_t *(*explain)(void *host, const char *name);
    json_t *(*names)(void *host);                  /* what commands may call the modules by: docs/dbus.md */
    json_t *(*plan)(void *host);                   /* the shape of plan_describe() */
    char *(*plan_text)(void *host);                /* owned by the caller */
    char *(*dot)(void *host);                      /* owned by the caller */
    json_t *(*events)(void *host, uint64_t limit); /* array of objects, oldest first, the last `limit` of them */
    /* *ret_kind is "file" with *ret_fd (O_RDONLY, CLOEXEC, the caller closes), "journal" with *ret_identifier (the
     * SYSLOG_IDENTIFIER, owned by the caller), or "null" or "inherit". -ENOENT: nothing has been logged yet. */
    int (*open_log)(void *host, const char *name, const char **ret_kind, int *ret_fd, char **ret_identifier, Error *e);
    /* One of the files behind a log: `number` 0 is the live one, 1 the newest that was rotated and so on, -1 the index.
     * *ret_fd is as above. -ENOENT: there is none. */
    int (*open_log_file)(void *host, const char *name, bool error_stream, int number, int *ret_fd, Error *e);
    /* Every path through it must lead to one answer of `reply`. `name` exists (was looked up by module_by_name) and is
     * NULL for CONTROL_SHUTDOWN, and for CONTROL_SCALE whatever the client wrote; `number` is the signal, 1..64, of
     * CONTROL_KILL, how many instances of CONTROL_SCALE; `flags` has no bits but CONTROL_FLAGS. The name is gone after
     * the call. */
    void (*act)(void *host, ControlVerb verb, const char *name, int number, uint64_t flags, const struct ucred *caller,
                ControlReply *reply);
} ControlOps;

typedef struct ControlConfig {
    sd_event *event;
    int dirfd; /* the instance's runtime directory, root-owned, 0711 so that readers reach the socket; borrowed */
    const char *instance, *version; /* borrowed, must outlive the Control */
    gid_t read_gid, operate_gid;    /* (gid_t)-1 = none */
    uint64_t auth_usec;             /* 0 = CONTROL_AUTH_USEC */
    const ControlOps *ops;
    void *host;
} ControlConfig;

/* Makes the socket (0660 root:read_group; a stale one is replaced: the instance's lock is held) and listens. */
int control_open(const ControlConfig *config, Control **ret, Error *e);

/* Tells every client that may read. Cheap when there is none. */
void control_module_changed(Control *c, const char *module, const char *old_state, const char *new_state,
                            uint64_t generation);
/* There is one module more, or less. */
void control_module_added(Control *c, const char *module);
void control_module_removed(Control *c, const char *module);
/* One line of `events --json`, as a signal. */
void control_event(Control *c, const char *line);

/* Answers what is still owed with CONTROL_ERROR_SHUTTING_DOWN, flushes for CONTROL_FLUSH_USEC at most, closes all and
 * removes the socket. Returns NULL; NULL is allowed. Not to be called from within an operation. */
Control *control_close(Control *c);
static inline void control_closep(Control **c)
{
    *c = control_close(*c);
}
