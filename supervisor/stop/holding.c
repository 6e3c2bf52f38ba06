/* See holding.h. */
#include "supervisor/stop/holding.h"

#include <arpa/inet.h>

#include "base/clock.h"
#include "base/str.h"
#include "supervisor/watch/sources.h"

enum { TEXT_MAX = 3 };

/* When what it holds began: its request, or where none is counted the connection itself. */
static uint64_t begun(const KernelConnection *c)
{
    return c->busy && c->busy_since_nsec ? c->busy_since_nsec : c->opened_nsec;
}

static int by_age(const void *a, const void *b)
{
    uint64_t x = begun(a), y = begun(b);
    return x < y ? -1 : x > y;
}

/* With requests counted an idle connection holds nothing, nor does ever one that is long-running by design. */
static bool holds(const KernelConnection *c, const WorkNow *now)
{
    if (c->long_running)
        return false;
    return c->busy || c->unread || c->unsent || !c->accepted || !(now->kinds & (1u << WORK_REQUESTS));
}

static const char *state_of(const KernelConnection *c)
{
    return !c->accepted ? "not accepted" : c->busy ? "busy" : c->unread ? "unread" : c->unsent ? "unsent" : "open";
}

static char *address(unsigned family, const uint8_t *bytes, uint16_t port)
{
    char text[INET6_ADDRSTRLEN] = "?";
    (void)inet_ntop((int)family, bytes, text, sizeof text);
    return xasprintf(family == AF_INET6 ? "[%s]:%u" : "%s:%u", text, port);
}

static json_t *age(uint64_t now, uint64_t since_nsec)
{
    return since_nsec ? json_integer((json_int_t)(now - MIN2(now, since_nsec / 1000))) : json_null();
}

static json_t *connection_json(const KernelConnection *c, uint64_t now)
{
    _cleanup_(freep) char *peer = address(c->family, c->peer, c->peer_port);
    _cleanup_(freep) char *local = address(c->family, c->local, c->local_port);
    return json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:I,s:I}", "what", "connection", "peer", peer, "local", local, "state",
                     state_of(c), "age_usec", age(now, c->opened_nsec), "busy_usec",
                     c->busy ? age(now, c->busy_since_nsec) : json_null(), "unread", (json_int_t)c->unread, "unsent",
                     (json_int_t)c->unsent);
}

static void add_connections(const Module *m, const WorkNow *now, json_t *out)
{
    KernelConnection *all = NULL;
    Error e = {0}; /* without it there is less to tell, and nobody to tell why */
    size_t n = 0, told = 0;
    if (!m->group || !sources_have_sockets(now) ||
        kernel_connections(m->ctx->kernel, group_id(m->group), &all, &n, &e) < 0)
        return;
    if (n > 1)
        qsort(all, n, sizeof *all, by_age);
    uint64_t at = now_monotonic();
    for (size_t i = 0; i < n && told < HOLDING_MAX; i++) {
        if (!holds(&all[i], now))
            continue;
        json_array_append_new(out, connection_json(&all[i], at));
        told++;
    }
    free(all);
}

json_t *holding_json(const Module *m, const WorkNow *now)
{
    json_t *out = json_array();
    add_connections(m, now, out);
    for (WorkKind k = WORK_UNIX; k < WORK_KIND_N; k++)
        if ((now->kinds & (1u << k)) && now->in_flight[k] > 0)
            json_array_append_new(
                out, json_pack("{s:s,s:I}", "what", work_kind_names[k], "in_flight", (json_int_t)now->in_flight[k]));
    return out;
}

static void add_text(StrBuf *b, const json_t *one)
{
    const char *peer = json_string_value(json_object_get(one, "peer"));
    const json_t *busy = json_object_get(one, "busy_usec");
    if (!peer) {
        strbuf_addf(b, "%lld of %s", (long long)json_integer_value(json_object_get(one, "in_flight")),
                    json_string_value(json_object_get(one, "what")));
        return;
    }
    uint64_t usec = (uint64_t)json_integer_value(json_is_integer(busy) ? busy : json_object_get(one, "age_usec"));
    _cleanup_(freep) char *span = format_usec(usec / USEC_PER_MSEC * USEC_PER_MSEC);
    strbuf_addf(b, "%s %s for %s", peer, json_string_value(json_object_get(one, "state")),
                usec < USEC_PER_MSEC ? "0s" : span);
}

char *holding_text(const json_t *holding)
{
    StrBuf b = STRBUF_NULL;
    size_t n = json_array_size(holding);
    for (size_t i = 0; i < n && i < TEXT_MAX; i++) {
        strbuf_adds(&b, i ? ", " : "");
        add_text(&b, json_array_get(holding, i));
    }
    if (n > TEXT_MAX)
        strbuf_addf(&b, " and %zu more", n - TEXT_MAX);
    return strbuf_take(&b);
}
