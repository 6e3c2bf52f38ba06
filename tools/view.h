/* What people read: the daemon's JSON as tables and sentences. Pure; the wall clock is handed in. Text is owned by the
 * caller and safe on a terminal. */
#pragma once

#include "tools/member.h"
#include "tools/table.h"

typedef struct View {
    size_t width; /* 0 = no limit */
    bool colours;
    uint64_t now; /* wall clock µs */
} View;

/* `bulkhead status`: one line about the instance, then the table. */
char *view_status(const json_t *status, const View *v);
/* `bulkhead status NAME`: one module of it at length. */
char *view_module(const json_t *module, const View *v);
/* The timers of a status document, the soonest first, as an array of {"module","state","last_exit"} and what a module's
 * "timer" holds; a new reference. */
json_t *timers_of_status(const json_t *status);
/* `bulkhead timers`: the table of them. */
char *view_timers(const json_t *timers, const View *v);
/* Of a "timer": "on_calendar = daily, every = 2h"; "in 3h 2m (Mon 2026-11-23 03:00:00)", NULL when it is stopped. */
char *view_schedule(const json_t *timer);
char *view_timer_next(const json_t *timer, const View *v);
/* The phases of a teardown; "" when there was none. */
char *view_teardown(const json_t *teardown, const View *v);
/* `bulkhead explain`: plain sentences. */
char *view_explain(const json_t *explain, const View *v);
/* `bulkhead events`: one line, local time, without newline. */
char *view_event(const json_t *event);
/* What a progress line says of an event: "web: drain, 3 in flight, at most 26s more"; NULL when it is not worth one. */
char *view_progress(const json_t *event);
/* `bulkhead calendar`, of an array of {"expression","normalised","next_usec":[],"ends"}; times in the local zone. */
char *view_calendar(const json_t *all, const View *v);
/* `bulkhead check --host`: the table of features, what is absent at length, whether it suffices. */
char *view_host(const json_t *table, const View *v);
/* Whether all is there that a daemon needs. */
bool view_host_suffices(const json_t *table);
/* The same of a drain, from the event's detail, with a bar. */
char *view_drain(const char *module, const json_t *detail);
/* A module's state in a word: running, but behind a closed gate, is "draining", "drained" or "gated". */
const char *view_state(const json_t *module);
/* Adds what `explain` knows of the module's gate and of what held its drain; nothing where there is nothing to say. */
void view_gate(StrBuf *b, const json_t *explain, const View *v);
/* "killed by SIGKILL", "out of memory", "exit status 1", "denied syscall mount"; NULL without a last_exit. */
char *view_last_exit(const json_t *last_exit);
