/* The orderly end of all: every module is wanted down, no timer elapses any more, and when nothing is left the loop
 * ends. */
#pragma once

#include "supervisor/host.h"

/* Begins it; a second call hurries it. */
void shutdown_begin(Host *h, const char *why);
/* The same, answering *reply (may be NULL) when all is down; asked for twice it does not hurry. */
void shutdown_ask(Host *h, ControlReply *reply);
/* Ends the loop when it has begun and nothing is left. Called by the pump. */
void shutdown_check(Host *h);
