/* `bulkhead check --host`: the table of features, then what is absent at length, then the verdict. */
#include <stdio.h>

#include "tools/view.h"

typedef struct Count {
    size_t here, absent, unknown;
} Count;

static const char *text_of(const json_t *row, const char *key)
{
    return str_or(member_string(row, key), "");
}

/* Without it a daemon with an empty [supervisor] does not start. */
static bool is_needed(const json_t *row)
{
    return !str_equal(text_of(row, "required"), "no");
}

static void count(Count *c, const json_t *row)
{
    const json_t *here = json_object_get(row, "here");
    if (json_is_true(here))
        c->here++;
    else if (json_is_false(here))
        c->absent++;
    else
        c->unknown++;
}

static void add_row(Table *t, const json_t *row)
{
    const json_t *here = json_object_get(row, "here");
    const char *why = text_of(row, "why");
    table_add(t, xstrdup(str_or(text_of(row, "feature"), "?")), COLOUR_NONE);
    if (json_is_true(here))
        table_add(t, xasprintf("yes%s%s", *why ? ", " : "", why), COLOUR_GREEN);
    else if (json_is_false(here))
        table_add(t, xstrdup("no"), is_needed(row) ? COLOUR_RED : COLOUR_YELLOW);
    else
        table_add(t, xstrdup("not known"), COLOUR_DIM);
    table_add(t, xstrdup(text_of(row, "cost")), COLOUR_NONE);
}

/* Absent, and not only because another one is. */
static bool is_worth_words(const json_t *row)
{
    _cleanup_(freep) char *follows = xasprintf("needs %s", text_of(row, "above"));
    return json_is_false(json_object_get(row, "here")) && !str_equal(follows, text_of(row, "why"));
}

static void add_line(StrBuf *b, const char *what, const char *text)
{
    _cleanup_(freep) char *shown = str_escape(text, strlen(text), SIZE_MAX);
    if (*text)
        strbuf_addf(b, "  %-9s %s\n", what, shown);
}

static void add_absent(StrBuf *b, const json_t *row)
{
    const char *why = text_of(row, "why"), *required = text_of(row, "required"), *name = text_of(row, "feature");
    _cleanup_(freep) char *shown = str_escape(why, strlen(why), SIZE_MAX);
    strbuf_addf(b, "\n%s is not here%s%s\n", name, *why ? ": " : "", shown);
    add_line(b, "costs:", text_of(row, "cost"));
    add_line(b, "instead:", text_of(row, "instead"));
    add_line(b, "helps:", text_of(row, "mend"));
    if (is_needed(row))
        add_line(b, "needed:", required);
}

/* "btf, bpffs": the needed ones whose `here` is this. */
static char *needed_names(const json_t *table, bool absent)
{
    StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < json_array_size(table); i++) {
        const json_t *row = json_array_get(table, i), *here = json_object_get(row, "here");
        if (is_needed(row) && (absent ? json_is_false(here) : !json_is_boolean(here)))
            strbuf_addf(&b, "%s%s", b.len ? ", " : "", text_of(row, "feature"));
    }
    return strbuf_take(&b);
}

/* ", unless bpf = optional": each way out of an absence once. */
static char *ways_out(const json_t *table)
{
    StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < json_array_size(table); i++) {
        const json_t *row = json_array_get(table, i);
        const char *way = text_of(row, "required");
        if (json_is_false(json_object_get(row, "here")) && str_starts(way, "unless ") && !(b.s && strstr(b.s, way)))
            strbuf_addf(&b, ", %s", way);
    }
    return strbuf_take(&b);
}

bool view_host_suffices(const json_t *table)
{
    _cleanup_(freep) char *absent = needed_names(table, true), *unknown = needed_names(table, false);
    return json_array_size(table) > 0 && !*absent && !*unknown;
}

char *view_host(const json_t *table, const View *v)
{
    static const TableColumn columns[] = {
        {.title = "FEATURE"}, {.title = "HERE", .shrinks = true}, {.title = "WITHOUT IT", .shrinks = true}};
    _cleanup_table_ Table t = table_new(columns, ELEMENTS(columns));
    StrBuf b = STRBUF_NULL;
    Count c = {0};
    for (size_t i = 0; i < json_array_size(table); i++) {
        count(&c, json_array_get(table, i));
        add_row(&t, json_array_get(table, i));
    }
    table_print(&t, v->width, v->colours, &b);
    for (size_t i = 0; i < json_array_size(table); i++)
        if (is_worth_words(json_array_get(table, i)))
            add_absent(&b, json_array_get(table, i));
    _cleanup_(freep) char *absent = needed_names(table, true), *unknown = needed_names(table, false);
    strbuf_addf(&b, "\n%zu here, %zu absent", c.here, c.absent);
    if (c.unknown)
        strbuf_addf(&b, ", %zu not known (only root can try them)", c.unknown);
    _cleanup_(freep) char *ways = ways_out(table);
    if (*absent)
        strbuf_addf(&b, "; bulkheadd needs %s%s", absent, ways);
    else if (*unknown)
        strbuf_addf(&b, "; bulkheadd needs %s: run this as root", unknown);
    else
        strbuf_adds(&b, "; all that bulkheadd needs is here");
    strbuf_addc(&b, '\n');
    return strbuf_take(&b);
}
