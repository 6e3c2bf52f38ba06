/* The sources of a module's work: what the kernel's programs count, and its counter page. */
#pragma once

#include "supervisor/run/module.h"
#include "supervisor/watch/work.h"

/* Registers with ctx->work what is tracked of the module. */
void sources_register(Module *m);
/* Whether its policy asks for anything to be tracked, counted or not. */
bool sources_tracked(const Module *m);
/* Whether the kernel knows its sockets, so that a truth pass has something to look at. */
bool sources_have_sockets(const WorkNow *now);
