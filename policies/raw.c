/* Raw values: kept, put over each other, complained about. See load.h. */
#include <stdarg.h>

#include "base/str.h"
#include "policies/load.h"

static void raw_done(Raw *raw)
{
    free(raw->value);
    *raw = (Raw){0};
}

void raws_done(Raw *raws)
{
    for (size_t i = 0; i < keys_n; i++)
        raw_done(&raws[i]);
}

void raws_put_over(const Raw *from, Raw *to)
{
    for (size_t i = 0; i < keys_n; i++) {
        if (!from[i].value)
            continue;
        raw_done(&to[i]);
        to[i] = from[i];
        to[i].value = xstrdup(from[i].value);
    }
}

/* Is it there already, be it in other words (a path with %n in it)? */
static bool complained(const Complaints *c, const char *file, unsigned line, const char *key)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->items[i].line == line && str_equal(c->items[i].key, key) && str_equal(c->items[i].file, file))
            return true;
    return false;
}

void loading_complain(const Loading *l, const Key *k, const Raw *raw, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *message = xvasprintf(fmt, ap);
    va_end(ap);
    bool defaults = raw->layer == LAYER_DEFAULTS, shared = defaults || raw->layer == LAYER_INCLUDE || l->like;
    _cleanup_(freep) char *dotted = xasprintf("%s%s.%s", defaults ? "defaults." : "", k->section, k->name);
    const char *file = l->files[raw->file];
    if (!shared || !complained(l->complaints, file, raw->line, dotted))
        complaints_add(l->complaints, file, raw->line, dotted, "%s", message);
    free(message);
}
