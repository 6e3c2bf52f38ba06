/* See journal.h. A ring of strings: the oldest is overwritten. */
#include "supervisor/watch/journal.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/str.h"

struct Journal {
    char *lines[JOURNAL_SIZE];
    uint64_t added;
};

Journal *journal_new(void)
{
    return new0(Journal);
}

Journal *journal_free(Journal *j)
{
    if (!j)
        return NULL;
    for (size_t i = 0; i < JOURNAL_SIZE; i++)
        free(j->lines[i]);
    free(j);
    return NULL;
}

/* Written by hand: a tree of the whole event, built and dumped, was half the daemon's own time in stopping a module.
 * Only `detail` may hold what a stranger wrote; names of modules need no escape (policy), those of events and phases
 * are ours. */
const char *journal_add(Journal *j, uint64_t time_usec, const char *module, uint64_t generation, const char *event,
                        const char *phase, json_t *detail)
{
    _cleanup_(freep) char *more = detail ? json_dumps(detail, JSON_COMPACT) : NULL;
    char number[24] = "null";
    if (generation)
        snprintf(number, sizeof number, "%" PRIu64, generation);
    const char *m = module ? "\"" : "", *p = phase ? "\"" : "";
    char **slot = &j->lines[j->added++ % JOURNAL_SIZE];
    free(*slot);
    *slot = xasprintf(
        "{\"time_usec\":%" PRIu64 ",\"module\":%s%s%s,\"generation\":%s,\"event\":\"%s\",\"phase\":%s%s%s,"
        "\"detail\":%s}",
        time_usec, m, module ? module : "null", m, number, event, p, phase ? phase : "null", p, more ? more : "null");
    json_decref(detail);
    return *slot;
}

json_t *journal_last(const Journal *j, const char *module, uint64_t limit)
{
    json_t *newest_first = json_array();
    uint64_t oldest = j->added > JOURNAL_SIZE ? j->added - JOURNAL_SIZE : 0;
    for (uint64_t i = j->added; i > oldest && json_array_size(newest_first) < limit; i--) {
        json_t *e = json_loads(j->lines[(i - 1) % JOURNAL_SIZE], 0, NULL);
        const char *name = json_string_value(json_object_get(e, "module"));
        if (e && (!module || str_equal(module, name)))
            json_array_append(newest_first, e);
        json_decref(e);
    }
    json_t *out = json_array();
    for (size_t i = json_array_size(newest_first); i > 0; i--)
        json_array_append(out, json_array_get(newest_first, i - 1));
    json_decref(newest_first);
    return out;
}
