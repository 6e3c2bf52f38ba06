/* The notify socket of one generation (sd_notify protocol): the socket is the identity, the sender's pid is checked
 * against the leaf, everything in it is a stranger's input: bounded, and escaped before it is shown.
 *
 * Understood: READY=1, RELOADING=1, MONOTONIC_USEC=, STATUS=, MAINPID= (inside the leaf only), BARRIER=1 (the
 * descriptor is closed once all before it was handled). Other descriptors are closed, other words ignored. */
#pragma once

#include "supervisor/run/module.h"

#define NOTIFY_DATAGRAM_MAX 4096

typedef struct NotifyMessage {
    bool ready, reloading, barrier;
    uint64_t monotonic_usec; /* MONOTONIC_USEC=, 0 = not given */
    pid_t main_pid;          /* 0 = not named */
    char *status;            /* escaped, NULL = not given */
} NotifyMessage;

/* Reads one datagram's text. Pure; what is malformed is left out. */
void notify_parse(const char *text, size_t n, NotifyMessage *ret);

typedef void (*NotifyFn)(Generation *g, const NotifyMessage *message);

/* Makes the socket below the instance's notify directory, owned by the module's user, and listens on the loop. */
int notify_open(Generation *g, NotifyFn fn, Notify **ret, Error *e);
/* NOTIFY_SOCKET=…, owned by the notify. */
const char *notify_variable(const Notify *n);
/* Handles what has arrived (last words), bounded. */
void notify_flush(Notify *n);
/* Closes and removes the socket; NULL is fine. */
Notify *notify_free(Notify *n);
