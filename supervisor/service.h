/* What the daemon's own service manager is told, by sd_notify: that it is ready, that it stops, one line of status;
 * that a start or a stop takes longer than the unit allows for; that the loop turns (the watchdog).
 *
 * More time is asked for in small pieces and only from within the loop, so a daemon that hangs in the middle of a stop
 * is killed after one piece; and not beyond what the policies allow, so one that goes round in circles is too. Without
 * a service manager (no NOTIFY_SOCKET, no WATCHDOG_USEC) nothing is sent and no timer is set. */
#pragma once

#include <systemd/sd-event.h>

#include "base/error.h"

typedef struct Service {
    sd_event *event; /* not owned */
    sd_event_source *timer;
    uint64_t until; /* monotonic: no more time is asked for after it */
} Service;

#define SERVICE_NULL \
    (Service)        \
    {                \
        0            \
    }

/* Begins to answer the watchdog, if there is one. */
int service_open(Service *s, sd_event *event, Error *e);
/* What goes on from now may take bound_usec; `state` (sd_notify lines such as "STOPPING=1") goes with the first
 * request. */
void service_busy(Service *s, uint64_t bound_usec, const char *state);
/* Over: no more time is needed. */
void service_idle(Service *s, const char *state);
void service_close(Service *s);

/* How much one request asks for, and how often it is made. */
#define SERVICE_PIECE_USEC (30 * USEC_PER_SEC)
#define SERVICE_EVERY_USEC (10 * USEC_PER_SEC)
/* Pure: how much to ask for at `now`, µs; 0 = nothing any more. */
uint64_t service_piece(uint64_t now, uint64_t until);
