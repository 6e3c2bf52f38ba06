/* Drains by hand (`bulkhead drain`): the gate of a running module is closed, what is in flight completes, and the
 * module runs on, with nothing to do, until the gate is opened again.
 *
 * It is a wish of its own beside up and down. It ends by --undo and by `start`, which wants the module in service; a
 * stop or a restart ends it too and opens the gate behind the processes' end. It outlives a crash: what recovery starts
 * comes up behind a closed gate. It does not outlive the daemon: the next one starts all modules anew. */
#pragma once

#include "supervisor/host.h"

/* Closes the gate of module i and answers when nothing is left in flight, or `block` false: when it is closed. At
 * drain_hard the answer is what is left; the gate stays closed. Asked again it waits again. */
void drains_start(Host *h, size_t i, bool block, ControlReply *reply);
/* Opens it. */
void drains_undo(Host *h, size_t i, ControlReply *reply);

/* Module i is wanted in service. */
void drains_wanted_up(Host *h, size_t i);
/* Module i is to go down. */
void drains_wanted_down(Host *h, size_t i);
/* Its generation has moved on to another state. */
void drains_changed(Host *h, Generation *g);
/* The module is about to be freed. */
void drains_forget(Module *m);

/* {"web": 3}: who has work in flight now, and how much. */
json_t *drains_in_flight(const Host *h);
/* null while the gate is open, else {"state":"draining|drained|closed","by":"hand|stop","since_usec","drain"};
 * "closed": a drain has ended at its limit, or there is none. "drain" is drainer_json()'s, null where none is under
 * way. */
json_t *drains_gate_json(const Module *m);
/* What holds the drain now, or held the last one that was cut; null: none was. */
json_t *drains_holding_json(const Module *m);
