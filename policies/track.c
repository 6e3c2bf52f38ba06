/* See track.h. Sources that are one word stand in a table; a call site has two parts more. A site is checked as far as
 * its words go: whether the program has such a symbol is known when it is started. */
#include "policies/track.h"

#include <errno.h>

#include "base/str.h"
#include "policies/words.h"

static const struct {
    const char *name;
    TrackSource source;
} words[] = {
    {"connections", TRACK_CONNECTIONS}, {"requests", TRACK_REQUESTS}, {"unix", TRACK_UNIX},
    {"writes", TRACK_WRITES},           {"api", TRACK_API},
};

#define ALL "connections, requests, unix, calls:BINARY:SYMBOL, usdt:PROVIDER:NAME, writes, api"

static const char *const forms[CALL_SITE_N] = {"calls:BINARY:SYMBOL", "usdt:PROVIDER:NAME"};

/* The site's own words; `n` bytes. */
static bool is_word(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] <= ' ' || s[i] > '~' || strchr(":,'\"\\", s[i]))
            return false;
    return n > 0;
}

static bool is_identifier(const char *s)
{
    size_t n = words_variable_name(s);
    return n > 0 && strspn(s + n, "-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == strlen(s + n);
}

/* `s` is what stands behind "calls:" or "usdt:". */
static int parse_site(CallSiteKind kind, const char *s, const char *shown, CallSite *ret, Error *e)
{
    const char *colon = strchr(s, ':');
    size_t n = colon ? (size_t)(colon - s) : 0;
    if (!colon || n == 0 || !colon[1] || strchr(colon + 1, ':'))
        return error_set(e, -EINVAL, "'%s' is not of the form %s", shown, forms[kind]);
    _cleanup_(freep) char *where = xstrndup(s, n);
    if (kind == CALL_SITE_CALL) {
        if (strchr(where, '/') && where[0] != '/')
            return error_set(e, -EINVAL,
                             "'%s': the binary is neither an absolute path nor a name beside exec "
                             "(/usr/bin/redis-server, redis-server)",
                             shown);
        if (where[n - 1] == '/')
            return error_set(e, -EINVAL, "'%s': the binary is a directory (calls:/usr/bin/redis-server:call)", shown);
        if (!is_word(colon + 1, strlen(colon + 1)))
            return error_set(e, -EINVAL, "'%s': '%s' is no name of a symbol (calls:redis-server:call)", shown,
                             colon + 1);
    } else if (!is_identifier(where) || !is_identifier(colon + 1)) {
        return error_set(e, -EINVAL, "'%s': provider and name are letters, digits and '_' (usdt:postgresql:query)",
                         shown);
    }
    *ret = (CallSite){.kind = kind, .where = TAKE_PTR(where), .symbol = xstrdup(colon + 1)};
    return 0;
}

static int parse_item(const char *item, Track *t, Error *e)
{
    _cleanup_(freep) char *shown = str_escape(item, strlen(item), 128);
    for (size_t i = 0; i < ELEMENTS(words); i++) {
        if (strcmp(item, words[i].name) != 0)
            continue;
        if (t->sources & words[i].source)
            return error_set(e, -EINVAL, "%s is listed twice (keep one)", item);
        t->sources |= words[i].source;
        return 0;
    }
    CallSite site = {0};
    bool calls = str_starts(item, "calls:"), usdt = str_starts(item, "usdt:");
    if (!calls && !usdt)
        return error_set(e, -EINVAL, "'%s' cannot be tracked (%s)", shown, ALL);
    int r = parse_site(calls ? CALL_SITE_CALL : CALL_SITE_USDT, strchr(item, ':') + 1, shown, &site, e);
    if (r < 0)
        return r;
    t->sources |= TRACK_CALLS;
    ARRAY_PUSH(t->sites, t->n_sites) = site;
    const CallSite *last = &t->sites[t->n_sites - 1];
    for (const CallSite *other = t->sites; other < last; other++)
        if (other->kind == last->kind && strcmp(other->where, last->where) == 0 &&
            strcmp(other->symbol, last->symbol) == 0)
            return error_set(e, -EINVAL, "%s is listed twice (keep one)", shown);
    return t->n_sites <= TRACK_SITES_MAX
               ? 0
               : error_set(e, -EINVAL, "more than %d call sites (at most that)", TRACK_SITES_MAX);
}

void track_done(Track *t)
{
    for (size_t i = 0; i < t->n_sites; i++) {
        free(t->sites[i].where);
        free(t->sites[i].symbol);
    }
    free(t->sites);
    *t = (Track){0};
}

int track_parse(const char *value, const ValueContext *x, Track *ret, Error *e)
{
    _cleanup_strv_ char **items = NULL;
    _cleanup_(track_done) Track all = {0};
    int r = words_split(value, WORDS_COMMAS, &items, e);
    if (r < 0)
        return r;
    STRV_FOREACH (i, items) {
        _cleanup_(freep) char *item = NULL;
        if ((r = words_expand(*i, x->module, false, NULL, &item, e)) < 0 || (r = parse_item(item, &all, e)) < 0)
            return r;
    }
    *ret = all;
    all = (Track){0};
    return 0;
}
