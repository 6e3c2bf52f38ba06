/* What a key does to the view: see top.h. */
#include "tools/top.h"

enum { FILTER_MOST = 64 };

/* As people step through them: 100 ms to an hour. */
static const uint64_t intervals[] = {100,   200,   500,   1000,   2000,   5000,
                                     10000, 30000, 60000, 300000, 600000, 3600000}; /* ms */

static void step_interval(TopState *s, bool longer)
{
    size_t n = ELEMENTS(intervals);
    for (size_t i = 0; i < n; i++) {
        uint64_t usec = intervals[longer ? i : n - 1 - i] * USEC_PER_MSEC;
        if (longer ? usec > s->interval_usec : usec < s->interval_usec) {
            s->interval_usec = usec;
            return;
        }
    }
}

static void step_sort(TopState *s, int by)
{
    do
        s->sort = (TopColumn)(((int)s->sort + by + TOP_COLUMN_N) % TOP_COLUMN_N);
    while (!top_columns[s->sort].name);
    s->reverse = false;
}

static void scroll_to(TopState *s, size_t first, size_t n_rows, size_t page)
{
    s->first = MIN2(first, n_rows > page ? n_rows - page : 0);
}

static void type(TopState *s, int key)
{
    size_t n = strlen(s->typing);
    switch (key) {
    case TOP_KEY_ENTER:
        free(s->filter);
        s->filter = *s->typing ? TAKE_PTR(s->typing) : NULL;
        free(s->typing);
        s->typing = NULL;
        s->first = 0;
        break;
    case TOP_KEY_ESCAPE:
        free(s->typing);
        free(s->filter);
        s->typing = s->filter = NULL;
        break;
    case TOP_KEY_BACKSPACE:
        if (n > 0)
            s->typing[n - 1] = '\0';
        break;
    default:
        /* Names, globs and groups are made of these; the rest is none of ours. */
        if (key > ' ' && key < 0x7f && n < FILTER_MOST) {
            char *longer = xasprintf("%s%c", s->typing, key);
            free(s->typing);
            s->typing = longer;
        }
        break;
    }
}

static TopAction key_of_column(TopState *s, int key)
{
    for (TopColumn c = 0; c < TOP_COLUMN_N; c++)
        if (top_columns[c].key && key == top_columns[c].key) {
            s->reverse = s->sort == c && !s->reverse;
            s->sort = c;
            return TOP_DRAW;
        }
    return TOP_NOTHING;
}

TopAction top_key(TopState *s, int key, size_t n_rows, size_t page)
{
    if (s->typing) {
        type(s, key);
        return TOP_DRAW;
    }
    if (s->help) {
        s->help = false;
        return key == 'q' ? TOP_QUIT : TOP_DRAW;
    }
    switch (key) {
    case 'q':
    case 'Q':
        return TOP_QUIT;
    case '?':
    case 'h':
        s->help = true;
        return TOP_DRAW;
    case '/':
        s->typing = xstrdup("");
        return TOP_DRAW;
    case 'r':
        s->reverse = !s->reverse;
        return TOP_DRAW;
    case ' ':
        s->paused = !s->paused;
        return s->paused ? TOP_DRAW : TOP_SAMPLE;
    case '+':
    case '-':
        step_interval(s, key == '+');
        return TOP_DRAW;
    case TOP_KEY_LEFT:
    case TOP_KEY_RIGHT:
        step_sort(s, key == TOP_KEY_LEFT ? -1 : 1);
        return TOP_DRAW;
    case TOP_KEY_UP:
        scroll_to(s, s->first > 0 ? s->first - 1 : 0, n_rows, page);
        return TOP_DRAW;
    case TOP_KEY_DOWN:
        scroll_to(s, s->first + 1, n_rows, page);
        return TOP_DRAW;
    case TOP_KEY_PAGE_UP:
        scroll_to(s, s->first > page ? s->first - page : 0, n_rows, page);
        return TOP_DRAW;
    case TOP_KEY_PAGE_DOWN:
        scroll_to(s, s->first + page, n_rows, page);
        return TOP_DRAW;
    case TOP_KEY_HOME:
        scroll_to(s, 0, n_rows, page);
        return TOP_DRAW;
    case TOP_KEY_END:
        scroll_to(s, n_rows, n_rows, page);
        return TOP_DRAW;
    default:
        return key_of_column(s, key);
    }
}

void top_state_done(TopState *s)
{
    free(s->filter);
    free(s->typing);
    s->filter = s->typing = NULL;
}
