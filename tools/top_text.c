/* Rows as a picture of any width: see top.h. */
#include <inttypes.h>
#include <stdio.h>

#include "tools/top.h"
#include "tools/view.h"

enum { BAR_MOST = 20, GAP = 1, HEAD_BAR = 12 };

/* At their least these fill 80 columns. */
const TopColumnInfo top_columns[TOP_COLUMN_N] = {
    [TOP_NAME] = {"name", "NAME", 'n', true, 12, 0, "the module"},
    [TOP_STATE] = {"state", "STATE", 's', true, 8, 4, "its state; gated: it runs, and the kernel turns new work away"},
    [TOP_CPU] = {"cpu", "CPU%", 'c', false, 5, 1, "of one CPU, in the interval"},
    [TOP_MEMORY] = {"memory", "MEMORY", 'm', false, 9, 5, "in use, of the most it may have"},
    [TOP_BAR] = {NULL, "LIMIT", 0, true, 5, 8, "the same as a bar"},
    [TOP_IN_FLIGHT] = {"in-flight", "FLIGHT", 'f', false, 6, 2, "work in flight now"},
    [TOP_RATE] = {"rate", "RATE/s", 't', false, 6, 6, "completed a second, in the interval"},
    [TOP_P50] = {"p50", "P50", '5', false, 5, 9, "half of what completed in the interval took no longer"},
    [TOP_P99] = {"p99", "P99", '9', false, 5, 3, "99 of 100 took no longer"},
    [TOP_PRESSURE] = {"pressure", "PRESS", 'p', false, 6, 7,
                      "percent of the last ten seconds that it waited for cpu, memory or io, the worst of them"},
    [TOP_RESTARTS] = {"restarts", "RST", 'x', false, 3, 10, "restarts by its policy"},
};

TopColumn top_column_by_name(const char *name)
{
    TopColumn i = 0;
    while (i < TOP_COLUMN_N && !(top_columns[i].name && strcmp(top_columns[i].name, name) == 0))
        i++;
    return i;
}

char *top_column_names(void)
{
    StrBuf b = STRBUF_NULL;
    for (TopColumn i = 0; i < TOP_COLUMN_N; i++)
        if (top_columns[i].name)
            strbuf_addf(&b, "%s%s", b.len ? ", " : "", top_columns[i].name);
    return strbuf_take(&b);
}

/* --- numbers in a few characters ---------------------------------------------------------------------------------- */
/* "1.2" or "12", of what is below 1000. */
static char *short_number(double v, const char *unit)
{
    return v < 9.95 ? xasprintf("%.1f%s", v, unit) : xasprintf("%.0f%s", v, unit);
}

char *top_usec(uint64_t usec)
{
    static const struct {
        double usec;
        const char *unit;
    } units[] = {{1e3, "ms"}, {1e6, "s"}, {60e6, "m"}, {3600e6, "h"}, {86400e6, "d"}};
    if (usec == UINT64_MAX)
        return NULL;
    if (usec < 1000)
        return xasprintf("%" PRIu64 "us", usec);
    size_t u = 0;
    /* Rounding up may reach the next unit: 999.6 ms are 1.0s. */
    while (u + 1 < ELEMENTS(units) && (double)usec / units[u].usec + 0.5 >= units[u + 1].usec / units[u].usec)
        u++;
    return short_number((double)usec / units[u].usec, units[u].unit);
}

char *top_bytes(uint64_t bytes)
{
    static const char *const units[] = {"B", "K", "M", "G", "T", "P", "E"};
    if (bytes == UINT64_MAX)
        return NULL;
    double v = (double)bytes;
    size_t u = 0;
    for (; v >= 999.5; u++)
        v /= 1024;
    return u == 0 ? xasprintf("%.0fB", v) : short_number(v, units[u]);
}

char *top_number(double v)
{
    static const char *const units[] = {"k", "M", "G", "T", "P", "E"};
    if (v < 0)
        return NULL;
    if (v < 99.95)
        return xasprintf("%.1f", v);
    if (v < 99999.5)
        return xasprintf("%.0f", v);
    size_t u = 0;
    for (v /= 1000; v >= 999.5 && u + 1 < ELEMENTS(units); u++)
        v /= 1000;
    return short_number(v, units[u]);
}

/* --- spans -------------------------------------------------------------------------------------------------------- */
static void add_span(TopText *t, char *owned, TableColour colour, bool reverse)
{
    ARRAY_PUSH(t->spans, t->n) = (TopSpan){.text = owned, .colour = colour, .reverse = reverse};
}

static void end_line(TopText *t)
{
    ARRAY_PUSH(t->spans, t->n) = (TopSpan){.text = xstrdup(""), .ends = true};
}

/* The first `width` characters; those of `s` are one cell each. */
static char *cut(const char *s, size_t width)
{
    const char *p = s;
    for (size_t n = 0; *p && n < width; n++) {
        p++;
        while (((unsigned char)*p & 0xc0) == 0x80)
            p++;
    }
    return xstrndup(s, (size_t)(p - s));
}

/* A line of its own; width 0: no limit. */
static void add_text_line(TopText *t, char *owned, size_t width, TableColour colour, bool reverse)
{
    _cleanup_(freep) char *text = owned;
    add_span(t, width ? cut(text, width) : xstrdup(text), colour, reverse);
    end_line(t);
}

void top_text_done(TopText *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->spans[i].text);
    free(t->spans);
    *t = (TopText){0};
}

void top_text_plain(const TopText *t, StrBuf *b)
{
    for (size_t i = 0; i < t->n; i++) {
        strbuf_adds(b, t->spans[i].text);
        if (!t->spans[i].ends)
            continue;
        while (b->len > 0 && b->s[b->len - 1] == ' ')
            b->s[--b->len] = '\0';
        strbuf_addc(b, '\n');
    }
}

/* --- columns ------------------------------------------------------------------------------------------------------ */
/* Which are shown and how wide: 0 is left out. */
static void lay_out(const TopFrame *f, size_t width, size_t widths[static TOP_COLUMN_N])
{
    size_t all = 0, longest = top_columns[TOP_NAME].width;
    for (TopColumn c = 0; c < TOP_COLUMN_N; c++) {
        widths[c] = top_columns[c].width;
        all += widths[c] + (c > 0 ? GAP : 0);
    }
    while (width > 0 && all > width) {
        TopColumn least = TOP_NAME;
        for (TopColumn c = 0; c < TOP_COLUMN_N; c++)
            if (widths[c] > 0 && top_columns[c].spare > top_columns[least].spare)
                least = c;
        if (least == TOP_NAME) {
            widths[TOP_NAME] = width;
            return;
        }
        all -= widths[least] + GAP;
        widths[least] = 0;
    }
    for (size_t i = 0; i < f->n_rows; i++)
        longest = MAX2(longest, text_width(f->rows[i].name));
    size_t left = width ? width - all : SIZE_MAX, more = MIN2(left, longest - widths[TOP_NAME]);
    widths[TOP_NAME] += more;
    left -= more;
    if (widths[TOP_BAR] > 0)
        widths[TOP_BAR] += MIN2(left, BAR_MOST - widths[TOP_BAR]);
}

static TableColour part_colour(double part, double yellow, double red)
{
    return part >= red ? COLOUR_RED : part >= yellow ? COLOUR_YELLOW : COLOUR_NONE;
}

/* "###.." of a part between 0 and 1. */
static char *bar(double part, size_t width)
{
    size_t full = (size_t)(part * (double)width + 0.5);
    char *s = xcalloc(width + 1, 1);
    memset(s, '.', width);
    memset(s, '#', MIN2(full, width));
    return s;
}

static TableColour state_colour(const char *state)
{
    if (str_equal(state, "running"))
        return COLOUR_GREEN;
    return str_equal(state, "failed") ? COLOUR_RED : str_equal(state, "idle") ? COLOUR_DIM : COLOUR_YELLOW;
}

static char *memory_text(const TopRow *r)
{
    _cleanup_(freep) char *now = top_bytes(r->memory), *most = top_bytes(r->memory_max);
    return now && most ? xasprintf("%s/%s", now, most) : TAKE_PTR(now);
}

static char *pressure_text(const TopRow *r)
{
    if (r->pressure < 0)
        return NULL;
    if (r->pressure < 0.5)
        return xstrdup("0");
    const char *of = r->pressure_of == 'c' ? "cpu" : r->pressure_of == 'm' ? "mem" : "io";
    return xasprintf("%.0f%s%s", r->pressure, r->pressure < 99.5 ? " " : "", of);
}

/* Owned by the caller; NULL is unknown. */
static char *cell(const TopRow *r, TopColumn c, size_t width, TableColour *colour)
{
    double part = r->memory == UINT64_MAX || r->memory_max == UINT64_MAX || r->memory_max == 0
                      ? -1
                      : (double)r->memory / (double)r->memory_max;
    switch (c) {
    case TOP_NAME:
        *colour = COLOUR_BOLD;
        return str_escape(r->name, strlen(r->name), 80);
    case TOP_STATE:
        *colour = state_colour(r->state);
        return str_escape(r->state, strlen(r->state), 16);
    case TOP_CPU:
        return top_number(r->cpu);
    case TOP_MEMORY:
        *colour = part_colour(part, 0.8, 0.95);
        return memory_text(r);
    case TOP_BAR:
        *colour = part < 0 ? COLOUR_NONE : part_colour(part, 0.8, 0.95);
        return part < 0 ? xstrdup("") : bar(part, width);
    case TOP_IN_FLIGHT:
        return r->in_flight == UINT64_MAX ? NULL : xasprintf("%" PRIu64, r->in_flight);
    case TOP_RATE:
        return top_number(r->rate);
    case TOP_P50:
        return top_usec(r->p50);
    case TOP_P99:
        return top_usec(r->p99);
    case TOP_PRESSURE:
        *colour = part_colour(r->pressure, 10, 40);
        return pressure_text(r);
    case TOP_RESTARTS:
        *colour = r->restarts > 0 && r->restarts != UINT64_MAX ? COLOUR_YELLOW : COLOUR_NONE;
        return r->restarts == UINT64_MAX ? NULL : xasprintf("%" PRIu64, r->restarts);
    case TOP_COLUMN_N:
        break;
    }
    return NULL;
}

static void add_cell(TopText *t, TopColumn c, size_t width, const char *text, TableColour colour, bool reverse)
{
    size_t length = text_width(text);
    _cleanup_(freep) char *shown = NULL;
    if (length > width) {
        _cleanup_(freep) char *head = cut(text, width > 2 ? width - 2 : width);
        shown = width > 2 ? xasprintf("%s..", head) : TAKE_PTR(head);
        length = width;
    } else {
        shown = xstrdup(text);
    }
    int pad = (int)(width - length);
    bool left = top_columns[c].text;
    add_span(t, xasprintf("%*s%s%*s", left ? 0 : pad, "", shown, left ? pad : 0, ""), colour, reverse);
}

static void add_columns(TopText *t, const TopRow *r, const TopState *s, const size_t widths[static TOP_COLUMN_N])
{
    for (TopColumn c = 0; c < TOP_COLUMN_N; c++) {
        TableColour colour = COLOUR_NONE;
        if (widths[c] == 0)
            continue;
        if (c > 0)
            add_span(t, xstrdup(" "), COLOUR_NONE, !r);
        if (!r) {
            add_cell(t, c, widths[c], top_columns[c].title, c == s->sort ? COLOUR_BOLD : COLOUR_NONE, true);
            continue;
        }
        _cleanup_(freep) char *text = cell(r, c, widths[c], &colour);
        add_cell(t, c, widths[c], text ? text : "-", text ? colour : COLOUR_DIM, false);
    }
    end_line(t);
}

/* --- the head ----------------------------------------------------------------------------------------------------- */
static TableColour health_colour(const char *health)
{
    return str_equal(health, "healthy") ? COLOUR_GREEN : str_equal(health, "degraded") ? COLOUR_YELLOW : COLOUR_RED;
}

static void add_instance(TopText *t, const TopFrame *f, const TopState *s, size_t width)
{
    if (s->notice) {
        add_text_line(t, xstrdup(s->notice), width, COLOUR_RED, false);
        return;
    }
    const char *instance = str_or(member_string(f->status, "instance"), "?"),
               *health = str_or(member_string(f->status, "status"), "?"), *reason = member_string(f->status, "reason");
    uint64_t uptime = member_number(f->status, "uptime_usec");
    StrBuf b = STRBUF_NULL;
    _cleanup_(freep) char *shown = str_escape(instance, strlen(instance), 64),
                          *why = reason ? str_escape(reason, strlen(reason), 400) : NULL,
                          *up = uptime == UINT64_MAX ? NULL : format_usec(uptime / USEC_PER_SEC * USEC_PER_SEC),
                          *rate = top_number(f->rate);
    strbuf_addf(&b, "%s: %s", shown, health);
    if (up)
        strbuf_addf(&b, ", up %s", uptime < USEC_PER_SEC ? "0s" : up);
    strbuf_addf(&b, ", %zu of %zu running, %" PRIu64 " in flight", f->running, f->of, f->in_flight);
    if (rate)
        strbuf_addf(&b, ", %s/s", rate);
    if (why)
        strbuf_addf(&b, " (%s)", why);
    add_text_line(t, strbuf_take(&b), width, health_colour(health), false);
}

static void add_host(TopText *t, const TopFrame *f, size_t width)
{
    StrBuf b = STRBUF_NULL;
    const TopHost *h = &f->host;
    strbuf_adds(&b, "host: cpu ");
    if (f->host_cpu >= 0) {
        _cleanup_(freep) char *drawn = bar(f->host_cpu / 100, HEAD_BAR);
        strbuf_addf(&b, "[%s] %.0f%%", drawn, f->host_cpu);
    } else {
        strbuf_adds(&b, "-");
    }
    strbuf_addf(&b, " of %u, memory ", h->cpus);
    if (h->memory_total != UINT64_MAX && h->memory_available <= h->memory_total) {
        uint64_t used = h->memory_total - h->memory_available;
        _cleanup_(freep) char *drawn = bar((double)used / (double)MAX2(h->memory_total, (uint64_t)1), HEAD_BAR),
                              *now = top_bytes(used), *most = top_bytes(h->memory_total);
        strbuf_addf(&b, "[%s] %s/%s", drawn, now, most);
    } else {
        strbuf_adds(&b, "-");
    }
    add_text_line(t, strbuf_take(&b), width, COLOUR_NONE, false);
}

static void add_settings(TopText *t, const TopFrame *f, const TopState *s, size_t width, uint64_t now)
{
    char when[32] = "";
    time_t seconds = (time_t)(now / USEC_PER_SEC);
    struct tm tm;
    if (localtime_r(&seconds, &tm))
        (void)strftime(when, sizeof when, "%H:%M:%S", &tm);
    StrBuf b = STRBUF_NULL;
    _cleanup_(freep) char *interval = format_usec(s->interval_usec);
    strbuf_addf(&b, "%s, every %s, by %s%s", when, interval, top_columns[s->sort].name, s->reverse ? " reversed" : "");
    if (s->filter)
        strbuf_addf(&b, ", only '%s'", s->filter);
    if (f->n_rows < f->of)
        strbuf_addf(&b, ", %zu of %zu modules", f->n_rows, f->of);
    if (s->paused)
        strbuf_adds(&b, ", paused");
    add_text_line(t, strbuf_take(&b), width, COLOUR_DIM, false);
}

/* --- help --------------------------------------------------------------------------------------------------------- */
static const struct {
    const char *key, *doc;
} keys[] = {
    {"q", "quit"},
    {"? or h", "this page, and back"},
    {"up, down", "scroll; also page up and down, home, end"},
    {"left, right", "sort by the column beside"},
    {"r", "reverse the order"},
    {"/", "show only names with what is typed in them, or a glob ('w*', shop:); enter, or escape for all"},
    {"+, -", "a longer, a shorter interval"},
    {"space", "pause, and go on"},
};

static void add_help(TopText *t, size_t width, size_t height)
{
    size_t begun = height > 0 ? height - 1 : SIZE_MAX, lines = 0;
    for (size_t i = 0; i < ELEMENTS(keys) && lines++ < begun; i++)
        add_text_line(t, xasprintf("  %-12s %s", keys[i].key, keys[i].doc), width, COLOUR_NONE, false);
    if (lines++ < begun)
        add_text_line(t, xstrdup("columns, and the keys that sort by them:"), width, COLOUR_BOLD, false);
    for (TopColumn c = 0; c < TOP_COLUMN_N && lines++ < begun; c++)
        add_text_line(t,
                      xasprintf("  %c %-8s   %s", top_columns[c].key ? top_columns[c].key : ' ', top_columns[c].title,
                                top_columns[c].doc),
                      width, COLOUR_NONE, false);
    add_span(t, cut("any key goes back", width), COLOUR_DIM, false);
}

static void add_hints(TopText *t, const TopState *s, size_t width)
{
    if (s->typing) {
        _cleanup_(freep) char *line = xasprintf("filter: %s_", s->typing);
        add_span(t, cut(line, width), COLOUR_BOLD, false);
        return;
    }
    add_span(t, cut("q quit  ? help  arrows sort, scroll  r reverse  / filter  +- interval", width), COLOUR_DIM, false);
}

enum { HEAD_LINES = 4, FOOT_LINES = 1 };

void top_draw(const TopFrame *f, const TopState *s, size_t width, size_t height, uint64_t now_usec, TopText *ret,
              size_t *ret_page)
{
    TopText t = {0};
    size_t widths[TOP_COLUMN_N], page = f->n_rows;
    if (height > 0)
        page = height > HEAD_LINES + FOOT_LINES ? height - HEAD_LINES - FOOT_LINES : 0;
    if (s->help) {
        add_help(&t, width, height);
    } else {
        lay_out(f, width, widths);
        size_t first = MIN2(s->first, f->n_rows > page ? f->n_rows - page : 0);
        add_instance(&t, f, s, width);
        add_host(&t, f, width);
        add_settings(&t, f, s, width, now_usec);
        add_columns(&t, NULL, s, widths);
        for (size_t i = first; i < f->n_rows && i - first < page; i++)
            add_columns(&t, &f->rows[i], s, widths);
        for (size_t i = f->n_rows - first; height > 0 && i < page; i++)
            end_line(&t);
        if (height > 0)
            add_hints(&t, s, width);
    }
    *ret = t;
    *ret_page = page;
}
