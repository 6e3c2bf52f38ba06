/* See listen.h. */
#include "policies/listen.h"

#include <arpa/inet.h>
#include <errno.h>

#include "base/str.h"
#include "policies/quantities.h"
#include "policies/words.h"

#define HINT "tcp:127.0.0.1:8080, tcp:[::]:80, unix:/run/web/web.sock"

static int wrong(const char *item, Error *e)
{
    _cleanup_(freep) char *shown = value_shown(item);
    return error_set(e, -EINVAL, "'%s' is nothing to listen on (%s)", shown, HINT);
}

/* "127.0.0.1:80" or "[::1]:80". */
static int parse_tcp(const char *item, const char *s, Listen *l, Error *e)
{
    const char *colon = strrchr(s, ':');
    size_t n = colon ? (size_t)(colon - s) : 0;
    bool six = n > 2 && s[0] == '[' && colon[-1] == ']';
    _cleanup_(freep) char *host = six ? xstrndup(s + 1, n - 2) : xstrndup(s, n);
    struct in_addr four;
    struct in6_addr address;
    if (n == 0 || inet_pton(six ? AF_INET6 : AF_INET, host, six ? (void *)&address : &four) != 1)
        return wrong(item, e);
    int port = value_port(colon + 1, e);
    if (port < 0)
        return port;
    l->port = (uint16_t)port;
    if (six)
        l->address.six =
            (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = address, .sin6_port = htons((uint16_t)port)};
    else
        l->address.four =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = four, .sin_port = htons((uint16_t)port)};
    l->size = six ? sizeof l->address.six : sizeof l->address.four;
    return 0;
}

static int parse_unix(const char *item, const char *path, Listen *l, Error *e)
{
    if (path[0] != '/' || strlen(path) >= sizeof l->address.un.sun_path)
        return wrong(item, e);
    l->address.un.sun_family = AF_UNIX;
    memcpy(l->address.un.sun_path, path, strlen(path) + 1);
    l->size = sizeof l->address.un;
    return 0;
}

static int parse_one(const char *item, Listen *l, Error *e)
{
    int r = str_starts(item, "tcp:")    ? parse_tcp(item, item + 4, l, e)
            : str_starts(item, "unix:") ? parse_unix(item, item + 5, l, e)
                                        : wrong(item, e);
    if (r == 0)
        l->text = xstrdup(item);
    return r;
}

/* Is it the same address for every instance? */
static bool is_shared(const char *item, const char *module)
{
    _cleanup_(freep) char *one = NULL, *two = NULL;
    return module && module_instance(module) > 0 && words_expand(item, "x@1", false, NULL, &one, NULL) == 0 &&
           words_expand(item, "x@2", false, NULL, &two, NULL) == 0 && strcmp(one, two) == 0;
}

void listen_done(Listens *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->items[i].text);
    free(l->items);
    *l = (Listens){0};
}

int listen_parse(const char *value, const ValueContext *x, Listens *ret, Error *e)
{
    _cleanup_strv_ char **items = NULL;
    _cleanup_(listen_done) Listens all = {0};
    int r = words_split(value, WORDS_COMMAS, &items, e);
    if (r < 0)
        return r;
    if (strv_length(items) > LISTEN_MAX)
        return error_set(e, -EINVAL, "%zu addresses (at most %d)", strv_length(items), LISTEN_MAX);
    STRV_FOREACH (i, items) {
        _cleanup_(freep) char *item = NULL;
        Listen one = {0};
        if ((r = words_expand(*i, x->module, false, NULL, &item, e)) < 0 || (r = parse_one(item, &one, e)) < 0)
            return r;
        one.shared = is_shared(*i, x->module);
        ARRAY_PUSH(all.items, all.n) = one;
        for (size_t k = 0; k + 1 < all.n; k++)
            if (strcmp(all.items[k].text, item) == 0)
                return error_set(e, -EINVAL, "%s is listed twice (keep one)", item);
    }
    ret->n = all.n;
    all.n = 0; /* nothing is left for the cleanup */
    ret->items = TAKE_PTR(all.items);
    return 0;
}
