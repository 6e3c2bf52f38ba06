/* What people read of a gate and of a drain: its progress as a bar, its state in a word, what holds it in sentences. */
#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "tools/view.h"

enum { BAR = 10, SHOWN = 5 };

/* "1.5s", without the noise of a clock's last digits. */
static char *span(uint64_t usec)
{
    return usec < USEC_PER_MSEC  ? xstrdup("0s")
           : usec < USEC_PER_SEC ? format_usec(usec / 1000 * 1000)
                                 : format_usec(usec / 100000 * 100000);
}

/* How much of what it began with is done. */
static void add_bar(StrBuf *b, uint64_t in_flight, uint64_t begun_with)
{
    uint64_t done = begun_with - MIN2(in_flight, begun_with);
    size_t full = begun_with ? (size_t)((double)done / (double)begun_with * BAR) : BAR;
    strbuf_addc(b, '[');
    for (size_t i = 0; i < BAR; i++)
        strbuf_addc(b, i < full ? '#' : '.');
    strbuf_adds(b, "] ");
}

char *view_drain(const char *module, const json_t *detail)
{
    uint64_t in_flight = member_number(detail, "in_flight"), left = member_number(detail, "left_usec"),
             begun_with = member_number(detail, "begun_with"), oldest = member_number(detail, "oldest_usec");
    StrBuf b = STRBUF_NULL;
    strbuf_addf(&b, "%s: drain", module);
    if (in_flight != UINT64_MAX && begun_with != UINT64_MAX) {
        strbuf_addc(&b, ' ');
        add_bar(&b, in_flight, begun_with);
        strbuf_addf(&b, "%" PRIu64 " of %" PRIu64 " in flight", in_flight, MAX2(in_flight, begun_with));
    } else if (in_flight != UINT64_MAX) {
        strbuf_addf(&b, ", %" PRIu64 " in flight", in_flight);
    }
    if (oldest != UINT64_MAX && in_flight > 0) {
        _cleanup_(freep) char *age = span(oldest);
        strbuf_addf(&b, ", oldest %s", age);
    }
    if (left != UINT64_MAX)
        strbuf_addf(&b, ", at most %llus more", (left + USEC_PER_SEC - 1) / USEC_PER_SEC);
    return strbuf_take(&b);
}

const char *view_state(const json_t *m)
{
    const char *state = str_or(member_string(m, "state"), "?");
    const char *gate = member_string(json_object_get(m, "gate"), "state");
    if (!gate || !str_equal(state, "running"))
        return state;
    return str_equal(gate, "closed") ? "gated" : str_equal(gate, "draining") ? "draining" : "drained";
}

static void add_shown(StrBuf *b, const char *s)
{
    _cleanup_(freep) char *shown = str_escape(s, strlen(s), 100);
    strbuf_adds(b, shown);
}

static void add_holder(StrBuf *b, const json_t *one)
{
    const char *peer = member_string(one, "peer"), *local = member_string(one, "local");
    uint64_t busy = member_number(one, "busy_usec"), age = member_number(one, "age_usec");
    strbuf_adds(b, "    ");
    if (!peer) {
        strbuf_addf(b, "%" PRIu64 " of ", member_number(one, "in_flight"));
        add_shown(b, str_or(member_string(one, "what"), "?"));
        strbuf_addc(b, '\n');
        return;
    }
    add_shown(b, peer);
    strbuf_adds(b, " to ");
    add_shown(b, str_or(local, "?"));
    strbuf_adds(b, ": ");
    add_shown(b, str_or(member_string(one, "state"), "?"));
    if (busy != UINT64_MAX) {
        _cleanup_(freep) char *s = span(busy);
        strbuf_addf(b, " for %s", s);
    }
    if (age != UINT64_MAX) {
        _cleanup_(freep) char *s = span(age);
        strbuf_addf(b, ", open for %s", s);
    }
    uint64_t unread = member_number(one, "unread"), unsent = member_number(one, "unsent");
    if (unread != UINT64_MAX && unread > 0)
        strbuf_addf(b, ", %" PRIu64 " bytes unread", unread);
    if (unsent != UINT64_MAX && unsent > 0)
        strbuf_addf(b, ", %" PRIu64 " bytes unsent", unsent);
    strbuf_addc(b, '\n');
}

static void add_holders(StrBuf *b, const json_t *holding)
{
    size_t n = json_array_size(holding);
    for (size_t i = 0; i < n && i < SHOWN; i++)
        add_holder(b, json_array_get(holding, i));
    if (n > SHOWN)
        strbuf_addf(b, "    and %zu more\n", n - SHOWN);
}

void view_gate(StrBuf *b, const json_t *x, const View *v)
{
    const json_t *gate = json_object_get(x, "gate"), *holding = json_object_get(x, "holding");
    const char *name = str_or(member_string(x, "module"), "?"), *state = member_string(gate, "state");
    if (!state) {
        if (json_array_size(holding) == 0)
            return;
        strbuf_adds(b, "Its last drain did not finish. What it still had:\n");
        add_holders(b, holding);
        return;
    }
    uint64_t since = member_number(gate, "since_usec");
    strbuf_adds(b, "Its gate is closed");
    if (since != UINT64_MAX && since <= v->now) {
        _cleanup_(freep) char *s = span(v->now - since);
        strbuf_addf(b, ", for %s now", s);
    }
    strbuf_adds(b, ": new work waits outside");
    if (str_equal(member_string(gate, "by"), "hand"))
        strbuf_addf(b, ", until `bulkhead drain --undo %s` or a start lets it in", name);
    strbuf_adds(b, ".\n");
    if (str_equal(state, "drained")) {
        strbuf_adds(b, "It is drained: nothing is in flight.\n");
    } else if (json_array_size(holding) > 0) {
        strbuf_addf(b, "%s:\n", str_equal(state, "draining") ? "What holds the drain" : "What is still in flight");
        add_holders(b, holding);
    }
}
