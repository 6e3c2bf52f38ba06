/* `bulkhead explain`: why a module is in its state, in plain sentences, and what would change it. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "tools/view.h"

/* "1.5s", without the noise of a clock's last digits. */
static char *span(uint64_t usec)
{
    return format_usec(usec < USEC_PER_SEC ? usec / 1000 * 1000 : usec / 100000 * 100000);
}

static void add_span(StrBuf *b, const char *before, uint64_t usec, const char *after)
{
    _cleanup_(freep) char *s = span(usec);
    strbuf_addf(b, "%s%s%s", before, usec < 1000 ? "0s" : s, after);
}

static void add_shown(StrBuf *b, const char *s)
{
    _cleanup_(freep) char *shown = str_escape(s, strlen(s), 500);
    strbuf_adds(b, shown);
}

/* "a, b and c", with what `detail` knows of each. */
static void add_list(StrBuf *b, const json_t *list, const json_t *detail)
{
    size_t n = json_array_size(list);
    for (size_t i = 0; i < n; i++) {
        const char *name = str_or(json_string_value(json_array_get(list, i)), "?");
        strbuf_adds(b, i == 0 ? "" : i + 1 == n ? " and " : ", ");
        add_shown(b, str_or(member_string(detail, name), name));
    }
}

static void add_waiting(StrBuf *b, const json_t *x, const char *verb)
{
    if (json_array_size(json_object_get(x, "waits_for")) == 0)
        return;
    strbuf_addf(b, "It %s ", verb);
    add_list(b, json_object_get(x, "waits_for"), json_object_get(x, "waits_for_detail"));
    strbuf_adds(b, ".\n");
}

static bool is_job(const json_t *x)
{
    return str_equal(member_string(x, "type"), "oneshot");
}

static void say_timer(StrBuf *b, const json_t *x, const View *v)
{
    const json_t *timer = json_object_get(x, "timer");
    if (!json_is_object(timer))
        return;
    uint64_t last = member_number(timer, "last_usec"), skipped = member_number(timer, "skipped");
    _cleanup_(freep) char *schedule = view_schedule(timer), *next = view_timer_next(timer, v);
    strbuf_addf(b, "Its timer (%s) ", schedule);
    if (next)
        strbuf_addf(b, "runs it next %s", next);
    else if (json_is_false(json_object_get(timer, "armed")))
        strbuf_addf(b, "is stopped: `bulkhead start %s` sets it again", str_or(member_string(x, "module"), "?"));
    else
        strbuf_adds(b, "will never elapse again");
    if (last == UINT64_MAX)
        strbuf_adds(b, "; it has not run yet");
    else if (last <= v->now)
        add_span(b, "; it last ran ", v->now - last, " ago");
    strbuf_adds(b, ".\n");
    if (skipped != UINT64_MAX && skipped > 0)
        strbuf_addf(b, "%" PRIu64 " elapse%s passed over, because it still ran.\n", skipped,
                    skipped == 1 ? " was" : "s were");
}

static void say_up(StrBuf *b, const json_t *x)
{
    if (is_job(x))
        strbuf_adds(b, "It has done its work, and counts as running until it is stopped (remain_after_exit).\n");
    uint64_t in_flight = member_number(x, "in_flight");
    const char *text = member_string(x, "status_text");
    if (in_flight != UINT64_MAX)
        strbuf_addf(b, "%" PRIu64 " connection%s in flight.\n", in_flight, in_flight == 1 ? " is" : "s are");
    if (text && *text) {
        strbuf_adds(b, "It says of itself: ");
        add_shown(b, text);
        strbuf_adds(b, "\n");
    }
}

static void say_going_down(StrBuf *b, const json_t *x)
{
    const char *phase = member_string(x, "phase");
    uint64_t in_flight = member_number(x, "in_flight");
    strbuf_addf(b, "It is being taken down%s",
                str_equal(member_string(x, "wants"), "up") ? ", to be started again" : "");
    if (phase)
        strbuf_addf(b, "; the phase is %s", phase);
    if (in_flight != UINT64_MAX)
        strbuf_addf(b, ", with %" PRIu64 " connection%s in flight", in_flight, in_flight == 1 ? "" : "s");
    strbuf_adds(b, ".\n");
    add_waiting(b, x, "waits for");
}

static void say_attempts(StrBuf *b, const json_t *x)
{
    uint64_t attempts = member_number(x, "attempts"), max = member_number(x, "max_attempts");
    if (attempts == UINT64_MAX || attempts == 0)
        return;
    strbuf_addf(b, "It was tried again %" PRIu64 " time%s since its last healthy run", attempts,
                attempts == 1 ? "" : "s");
    if (max != UINT64_MAX && max > 0)
        strbuf_addf(b, ", of %" PRIu64 " allowed", max);
    strbuf_adds(b, ".\n");
}

static void say_down(StrBuf *b, const json_t *x, const View *v)
{
    const char *name = str_or(member_string(x, "module"), "?");
    uint64_t next = member_number(x, "next_start_usec");
    const char *timed =
        member_number(json_object_get(x, "timer"), "next_usec") == UINT64_MAX ? "" : "its timer elapses or ";
    if (next != UINT64_MAX) {
        add_span(b, "It will be started again in ", next > v->now ? next - v->now : 0, ".\n");
        say_attempts(b, x);
    } else if (member_string(x, "condition") && !str_equal(member_string(x, "wants"), "up")) {
        strbuf_adds(b, "It was not started, which is no failure: ");
        add_shown(b, member_string(x, "condition"));
        strbuf_addf(b, "; start it once that has changed: `bulkhead start %s`.\n", name);
    } else if (json_is_true(json_object_get(x, "gave_up"))) {
        say_attempts(b, x);
        strbuf_addf(b, "Recovery has given up: it stays down until %s`bulkhead start %s`.\n", timed, name);
    } else if (json_array_size(json_object_get(x, "waits_for")) > 0) {
        add_waiting(b, x, "is to be started, and waits for");
    } else if (str_equal(member_string(x, "wants"), "up")) {
        strbuf_adds(b, "It is to be started.\n");
    } else if (str_equal(member_string(x, "state"), "failed")) {
        strbuf_addf(b, "Its policy restarts it no more: it stays down until %s`bulkhead start %s`.\n", timed, name);
    } else if (is_job(x) && json_is_true(json_object_get(x, "done"))) {
        strbuf_addf(b, "It has done its work. `bulkhead start %s` runs it again.\n", name);
    } else if (json_is_object(json_object_get(x, "timer"))) {
        /* say_timer() tells it */
    } else if (member_number(x, "generation") == 0) {
        strbuf_addf(b, "Nobody has asked for it yet: `bulkhead start %s`.\n", name);
    } else {
        strbuf_addf(b, "It is not wanted: it was stopped, or has done its work. `bulkhead start %s` starts it.\n",
                    name);
    }
}

static void say_syscall(StrBuf *b, const json_t *e, const char *whom)
{
    const json_t *args = json_object_get(e, "syscall_args");
    const char *comm = member_string(e, "syscall_comm");
    strbuf_addf(b, "Its sandbox killed %s: ", whom);
    if (comm && *comm) {
        add_shown(b, comm);
        strbuf_adds(b, " called ");
    } else {
        strbuf_adds(b, "it called ");
    }
    strbuf_addf(b, "%s (number %" PRIu64, str_or(member_string(e, "syscall"), "?"), member_number(e, "syscall_nr"));
    for (size_t i = 0; i < json_array_size(args); i++)
        strbuf_addf(b, "%s0x%" PRIx64, i == 0 ? ", arguments " : " ",
                    (uint64_t)json_integer_value(json_array_get(args, i)));
    strbuf_adds(b, "), which its policy does not allow.\n");
}

/* A status alone says little: its own words are in the log. And a program that goes to the background ends well, at
 * once. */
static void say_exit_status(StrBuf *b, const json_t *x, const json_t *e)
{
    const char *name = str_or(member_string(x, "module"), "?");
    uint64_t code = member_number(e, "code");
    strbuf_addf(b, " with exit status %" PRIu64, code);
    if (code != 0 && code != UINT64_MAX)
        strbuf_addf(b, "; `bulkhead logs %s` has its last words", name);
    strbuf_adds(b, ".\n");
    if (code == 0 && !is_job(x) && str_equal(member_string(x, "state"), "idle") &&
        json_is_false(json_object_get(e, "wanted")))
        strbuf_adds(b, "Nobody had asked it to end. A program that goes to the background looks like that: tell it to "
                       "stay in the\n"
                       "foreground (`bulkhead init` knows how for many). One that does its work and ends is a job: "
                       "type = oneshot.\n");
}

static void say_last_exit(StrBuf *b, const json_t *x, const View *v)
{
    const json_t *e = json_object_get(x, "last_exit");
    if (!json_is_object(e))
        return;
    uint64_t when = member_number(e, "time_usec"), generation = member_number(e, "generation");
    const json_t *killer = json_object_get(e, "killer");
    strbuf_adds(b, "Its last run");
    if (generation != UINT64_MAX && generation > 0)
        strbuf_addf(b, " (generation %" PRIu64 ")", generation);
    strbuf_adds(b, " ended");
    if (when != UINT64_MAX && when <= v->now)
        add_span(b, " ", v->now - when, " ago");
    if (json_is_true(json_object_get(e, "oom"))) {
        strbuf_adds(b, ": the kernel killed it because it was out of memory (its memory_max).\n");
    } else if (member_string(e, "syscall")) {
        strbuf_adds(b, ".\n");
        say_syscall(b, e, "it");
    } else if (member_number(e, "signal") != UINT64_MAX && member_number(e, "signal") != 0) {
        strbuf_addf(b, " by %s", str_or(member_string(e, "signal_name"), "a signal"));
        if (json_is_object(killer)) {
            strbuf_addf(b, ", sent by process %" PRIu64 " (", member_number(killer, "pid"));
            add_shown(b, str_or(member_string(killer, "comm"), "?"));
            strbuf_addc(b, ')');
        }
        strbuf_adds(b, ".\n");
    } else {
        say_exit_status(b, x, e);
    }
}

static void say_suggestion(StrBuf *b, const json_t *x)
{
    const json_t *s = json_object_get(x, "suggestion");
    const char *line = member_string(s, "line"), *file = member_string(s, "file");
    if (!line)
        return;
    strbuf_adds(b, "\nIf it is to be allowed");
    if (file) {
        strbuf_adds(b, ", write in ");
        add_shown(b, file);
    }
    strbuf_adds(b, ":\n\n");
    while (*line) {
        size_t n = strcspn(line, "\n");
        _cleanup_(freep) char *shown = str_escape(line, n, 500);
        strbuf_addf(b, "    %s\n", shown);
        line += n + (line[n] == '\n');
    }
}

static void say_teardown(StrBuf *b, const json_t *x)
{
    const json_t *teardown = json_object_get(x, "teardown");
    for (size_t i = 0; i < json_array_size(teardown); i++) {
        const json_t *phase = json_array_get(teardown, i);
        const char *status = member_string(phase, "status"), *error = member_string(phase, "error");
        if (!str_equal(status, "failed") && !str_equal(status, "timed-out"))
            continue;
        strbuf_addf(b, "In its last teardown the phase %s %s%s", str_or(member_string(phase, "phase"), "?"),
                    str_equal(status, "failed") ? "failed" : "ran out of time", error ? ": " : "");
        if (error)
            add_shown(b, error);
        strbuf_adds(b, ".\n");
    }
}

/* Only what is worth it: below one percent nobody waits. */
static void say_pressure(StrBuf *b, const json_t *x)
{
    static const char *const what[][2] = {{"cpu", "CPU"}, {"memory", "memory"}, {"io", "disk"}};
    const json_t *pressure = json_object_get(x, "pressure");
    bool any = false;
    for (size_t i = 0; i < ELEMENTS(what); i++) {
        double percent = json_number_value(json_object_get(pressure, what[i][0]));
        if (percent < 1)
            continue;
        strbuf_addf(b, "%s %s %.0f %%", any ? "," : "In the last 10 seconds it waited for", what[i][1], percent);
        any = true;
    }
    if (any)
        strbuf_adds(b, " of the time.\n");
}

char *view_explain(const json_t *x, const View *v)
{
    StrBuf b = STRBUF_NULL;
    const char *state = str_or(member_string(x, "state"), "?");
    uint64_t since = member_number(x, "since_usec"), kills = member_number(x, "oom_kills"),
             restarts = member_number(x, "restarts");
    text_coloured(&b, str_or(member_string(x, "module"), "?"), COLOUR_BOLD, v->colours);
    strbuf_addf(&b, " is %s", state);
    if (since != UINT64_MAX && since > 0 && since <= v->now)
        add_span(&b, ", for ", v->now - since, " now");
    strbuf_adds(&b, ".\n");
    if (str_equal(state, "running")) {
        say_up(&b, x);
        say_pressure(&b, x);
        add_waiting(&b, x, "is to be stopped, and waits for");
    } else if (str_equal(state, "creating")) {
        bool before = str_equal(member_string(json_object_get(x, "hook"), "name"), "exec_start_pre");
        strbuf_adds(&b, before      ? "It is about to be started.\n"
                        : is_job(x) ? "It runs, and is done when it has ended.\n"
                                    : "It has been started and is not ready yet.\n");
        add_waiting(&b, x, "waits for");
    } else if (str_equal(state, "draining") || str_equal(state, "deleting")) {
        say_going_down(&b, x);
    } else {
        say_down(&b, x, v);
    }
    view_gate(&b, x, v);
    say_timer(&b, x, v);
    const json_t *last_error = json_object_get(x, "last_error");
    if (json_is_object(last_error)) {
        strbuf_addf(&b, "Its last start failed at %s: ", str_or(member_string(last_error, "stage"), "?"));
        add_shown(&b, str_or(member_string(last_error, "message"), "?"));
        strbuf_adds(&b, ".\n");
    }
    if (json_array_size(json_object_get(x, "part_of")) > 0) {
        strbuf_adds(&b, "It is stopped and restarted with ");
        add_list(&b, json_object_get(x, "part_of"), NULL);
        strbuf_adds(&b, " (part_of).\n");
    }
    say_last_exit(&b, x, v);
    const json_t *denied = json_object_get(x, "denied");
    if (json_is_object(denied))
        say_syscall(&b, denied, member_number(denied, "processes") == 1 ? "a process of it" : "processes of it");
    if (kills != UINT64_MAX && kills > 0)
        strbuf_addf(&b, "%" PRIu64 " of its processes %s killed for memory so far.\n", kills,
                    kills == 1 ? "was" : "were");
    if (restarts != UINT64_MAX && restarts > 0)
        strbuf_addf(&b, "It was restarted %" PRIu64 " time%s by its policy.\n", restarts, restarts == 1 ? "" : "s");
    say_teardown(&b, x);
    say_suggestion(&b, x);
    return strbuf_take(&b);
}
