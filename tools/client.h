/* The daemon's D-Bus face, as the verbs use it. Functions that return ToolStatus have said what went wrong. */
#pragma once

#include <jansson.h>
#include <systemd/sd-bus.h>

#include "tools/tool.h"

#define CLIENT_PATH      "/org/bulkhead1"
#define CLIENT_INTERFACE "org.bulkhead1.Manager"

typedef struct Client {
    sd_bus *bus;
    const Args *args;
    uint64_t deadline; /* monotonic µs, of --timeout; USEC_INFINITY = none */
} Client;

#define _cleanup_client_ _cleanup_(client_done)

ToolStatus client_open(const Args *a, Client *ret);
/* The same without a word about it: 0 or a negative errno; *ret is untouched then. */
int client_try_open(const Args *a, Client *ret);
void client_done(Client *c);

/* Calls `member`, with one string unless NULL; *ret is the string it answers. */
ToolStatus client_call_string(Client *c, const char *member, const char *argument, char **ret);
/* The same, parsed. */
ToolStatus client_call_json(Client *c, const char *member, const char *argument, json_t **ret);
/* The same without a word, and without an argument; -ETIMEDOUT after two seconds. */
int client_try_json(Client *c, const char *member, json_t **ret);
/* Any call; the caller unrefs *ret_reply. */
ToolStatus client_call(Client *c, sd_bus_message *call, sd_bus_message **ret_reply);
/* A new call of `member`, or NULL when the connection is gone. */
sd_bus_message *client_message(Client *c, const char *member);

/* Says what an error answer means and which exit status that is; `about` stands before it unless NULL. */
ToolStatus client_failed(const Client *c, const sd_bus_error *error, int r, const char *about);

/* The daemon's modules, sorted, and unless NULL the state of each. Vectors of strings. */
ToolStatus client_modules(Client *c, char ***ret_names, char ***ret_states);
/* The modules meant by the words, as names.h has it. `*ret` is a vector of strings. */
ToolStatus client_expand(Client *c, char *const *words, size_t n, char ***ret);

/* on_event is called for each Event signal that is processed from now on; `line` is its text. */
typedef void (*ClientOnEvent)(const json_t *event, const char *line, void *userdata);
typedef struct ClientEvents {
    ClientOnEvent on_event;
    void *userdata;
} ClientEvents;
int client_watch(Client *c, ClientEvents *events);

#define _cleanup_json_ _cleanup_(json_decrefp)
