/* `bulkhead top`, all of it that touches nothing: rows out of two samples, their order, which columns fit, what a key
 * does. The loop is verb_top.c, the terminal top_screen.c.
 *
 * A sample is what the daemon answers to GetUsage (docs/dbus.md), and the host's own numbers. What is a speed (CPU,
 * rate, percentiles) is the difference of two samples over the daemon's own clock, so that it is right however late an
 * answer comes; of the first sample alone, after a restart of the daemon, and where counters have begun anew it is
 * unknown. */
#pragma once

#include <jansson.h>

#include "base/clock.h"
#include "tools/table.h"

/* Counters of /proc/stat (ticks, all CPUs) and bytes of /proc/meminfo; UINT64_MAX where the host does not tell. */
typedef struct TopHost {
    uint64_t cpu_busy, cpu_all;
    unsigned cpus;
    uint64_t memory_available, memory_total;
} TopHost;

/* Out of the text of the two files; pure. */
TopHost top_host(const char *stat, const char *meminfo);

typedef enum TopColumn {
    TOP_NAME,
    TOP_STATE,
    TOP_CPU,
    TOP_MEMORY,
    TOP_BAR,
    TOP_IN_FLIGHT,
    TOP_RATE,
    TOP_P50,
    TOP_P99,
    TOP_PRESSURE,
    TOP_RESTARTS,
    TOP_COLUMN_N
} TopColumn;

typedef struct TopColumnInfo {
    const char *name;  /* for --sort; NULL: of no order of its own */
    const char *title; /* the column's head */
    char key;          /* sorts by it; 0 = none */
    bool text;         /* stands left, and A comes first; else the greatest */
    unsigned width;    /* of TOP_NAME the least */
    unsigned spare;    /* columns that do not fit are left out, the greatest of these first; 0: never */
    const char *doc;
} TopColumnInfo;

extern const TopColumnInfo top_columns[TOP_COLUMN_N];

/* TOP_COLUMN_N: there is none to sort by. */
TopColumn top_column_by_name(const char *name);
/* "name, state, cpu, …"; owned by the caller. */
char *top_column_names(void);

/* Strings are borrowed from the sample. Unknown numbers are UINT64_MAX, or negative. */
typedef struct TopRow {
    const char *name, *state, *group; /* of a module that runs and gets no new work, the state is "gated" */
    double cpu;                       /* percent of one CPU in the interval */
    uint64_t memory, memory_max;      /* bytes */
    uint64_t in_flight;
    double rate;       /* completed a second in the interval */
    uint64_t p50, p99; /* µs, of what completed in the interval */
    double pressure;   /* percent of the last ten seconds that some process waited, the greatest of three ... */
    char pressure_of;  /* ... 'c'pu, 'm'emory, 'i'o */
    uint64_t restarts;
} TopRow;

typedef struct TopFrame {
    const json_t *status;   /* the sample, borrowed */
    uint64_t interval_usec; /* 0: of one sample alone */
    TopRow *rows;           /* all modules, in the daemon's order until sorted */
    size_t n_rows;
    double host_cpu; /* percent of all CPUs */
    TopHost host;
    uint64_t in_flight; /* sums of the rows */
    double rate;
    size_t running, of; /* modules */
} TopFrame;

/* `before` may be NULL. */
void top_frame(const json_t *before, const TopHost *host_before, const json_t *now, const TopHost *host_now,
               TopFrame *ret);
void top_frame_done(TopFrame *f);
/* One line of --json; a new reference. */
json_t *top_json(const TopFrame *f, uint64_t time_usec);

/* What the person has asked for. */
typedef struct TopState {
    TopColumn sort;
    bool reverse;
    uint64_t interval_usec;
    char *const *words; /* of the command line, as names.h has them; borrowed, NULL = all */
    char *filter;       /* typed: what is in a name, or a glob; NULL = none */
    char *typing;       /* a filter that is being typed; NULL = none is */
    size_t first;       /* rows scrolled away */
    bool help, paused;
    const char *notice; /* in place of what the daemon says of itself: it is gone; borrowed, NULL = none */
} TopState;

void top_state_done(TopState *s);

/* Leaves what the words and the filter mean, and sorts it; what is equal stays in the order of names. */
void top_select(TopFrame *f, const TopState *s);

typedef enum TopKey {
    TOP_KEY_UP = 0x1000,
    TOP_KEY_DOWN,
    TOP_KEY_LEFT,
    TOP_KEY_RIGHT,
    TOP_KEY_PAGE_UP,
    TOP_KEY_PAGE_DOWN,
    TOP_KEY_HOME,
    TOP_KEY_END,
    TOP_KEY_ENTER,
    TOP_KEY_ESCAPE,
    TOP_KEY_BACKSPACE
} TopKey;

typedef enum TopAction { TOP_NOTHING, TOP_DRAW, TOP_SAMPLE, TOP_QUIT } TopAction;

/* A character or a TopKey; `n_rows` there are, of which `page` are seen. */
TopAction top_key(TopState *s, int key, size_t n_rows, size_t page);

/* A piece of a line; pieces of one line follow each other, `ends` closes it. */
typedef struct TopSpan {
    char *text; /* owned */
    TableColour colour;
    bool reverse, ends;
} TopSpan;

typedef struct TopText {
    TopSpan *spans;
    size_t n;
} TopText;

/* The whole picture: no line is longer than `width`, there are at most `height` lines (0: as many as it takes, all
 * rows, without a line of hints), and no row is scrolled away that there is room for. *ret_page: how many rows are
 * seen. */
void top_draw(const TopFrame *f, const TopState *s, size_t width, size_t height, uint64_t now_usec, TopText *ret,
              size_t *ret_page);
void top_text_done(TopText *t);
/* As plain text, without blanks at the ends of lines. */
void top_text_plain(const TopText *t, StrBuf *b);

/* In a few characters: "1.2ms" (at most 5), "123M" (at most 4), "12.3", "1.2k" (at most 5); owned by the caller. */
char *top_usec(uint64_t usec);
char *top_bytes(uint64_t bytes);
char *top_number(double v);
