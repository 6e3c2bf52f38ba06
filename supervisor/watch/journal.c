/* See journal.h. A ring of strings: the oldest is overwritten. */
#include "supervisor/watch/journal.h"

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

static json_t *string_or_null(const char *s)
{
    return s ? json_string(s) : json_null();
}

json_t *journal_event(uint64_t time_usec, const char *module, uint64_t generation, const char *event, const char *phase,
                      json_t *detail)
{
    return json_pack("{s:I,s:o,s:o,s:s,s:o,s:o}", "time_usec", (json_int_t)time_usec, "module", string_or_null(module),
                     "generation", generation ? json_integer((json_int_t)generation) : json_null(), "event", event,
                     "phase", string_or_null(phase), "detail", detail ? detail : json_null());
}

void journal_add(Journal *j, const json_t *event)
{
    char **slot = &j->lines[j->added++ % JOURNAL_SIZE];
    free(*slot);
    *slot = json_dumps(event, JSON_COMPACT);
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
