/* The scope: where the module tree stands under systemd, and how it is had from there.
 *
 * Modules must not live in the daemon's own unit: after a kill -9 systemd could not put a new daemon into it, and would
 * end the modules with it. So the instance has `bulkhead-NAME.scope`, a transient unit that is delegated to it (systemd
 * keeps its hands off what is below), kept in being by a holder (holder.h). docs/systemd.md has what happens to both at
 * every turn.
 *
 * systemd is talked to while a scope is opened, and when its holder ends; no connection is kept, so neither D-Bus nor
 * systemd can wake the daemon, and their restarts are nothing to it. That a scope is to be stopped is told by the
 * holder's end: systemd sends the scope's KillSignal to every process in it, which is one that only the holder minds.
 * (Controller=, which would have a signal sent over the bus instead, can be set at birth alone: a daemon that finds the
 * scope of one that was killed could not become its controller.) */
#pragma once

#include <systemd/sd-event.h>

#include "supervisor/holder.h"

typedef struct Scope {
    char *unit; /* "bulkhead-default.scope" */
    char *path; /* its cgroup2 path */
    Holder holder;
    bool found; /* it was there already: a dead daemon's */
    sd_event_source *watch;
} Scope;

typedef struct ScopeConfig {
    const char *instance;
    const char *config_dir; /* for the holder (holder.h) */
    uint64_t stop_usec;     /* how long the modules may take to end before systemd kills them */
    bool only_found;        /* none is made */
} ScopeConfig;

/* Whether systemd is process 1 here, so that a scope may be had. */
bool scope_possible(void);
/* The scope's unit name; owned by the caller. */
char *scope_unit_name(const char *instance);
/* Makes the scope, or takes one of that name which a dead daemon left. -ENXIO: systemd cannot be reached; -ENOENT:
 * there is none, and only one that is there was wanted. The holder of a new one still ends with us: scope_keep(), when
 * the cgroup is in order. Waits for systemd, bounded. */
int scope_open(const ScopeConfig *config, Scope **ret, Error *e);
int scope_keep(Scope *s, Error *e);
/* `ended` is called once, when the holder has. */
int scope_watch(Scope *s, sd_event *event, sd_event_io_handler_t ended, void *userdata, Error *e);
/* The holder has ended: -ECANCELED when that is because systemd stops the scope. If somebody killed it, the scope lives
 * on as long as a module does, and gets a new one, which is to be put into its leaf, kept and watched. */
int scope_renew(Scope *s, const ScopeConfig *config, Error *e);
/* Whether systemd has been asked to stop the unit that we are a process of. False where there is no systemd to ask. */
bool scope_own_unit_stops(void);
/* Forgets it; a scope that was not kept ends. */
Scope *scope_close(Scope *s);
