/* A table in text: columns as wide as their widest cell, made narrower to fit a width. Pure. */
#pragma once

#include "base/str.h"

typedef enum TableColour {
    COLOUR_NONE,
    COLOUR_GREEN,
    COLOUR_YELLOW,
    COLOUR_RED,
    COLOUR_DIM,
    COLOUR_BOLD,
    COLOUR_N
} TableColour;

typedef struct TableColumn {
    const char *title;
    bool right;   /* numbers */
    bool shrinks; /* may be cut when the table is too wide; the last such column first */
    bool hide;    /* left out; table_hide_empty() sets it */
    int spare;    /* left out when the table is too wide, before any is cut: the greatest of these first; 0 = never */
} TableColumn;

typedef struct TableCell {
    char *text;
    TableColour colour;
} TableCell;

typedef struct Table {
    TableColumn *columns;
    size_t n_columns;
    TableCell *cells; /* row by row */
    size_t n_cells;
} Table;

#define _cleanup_table_ _cleanup_(table_done)

Table table_new(const TableColumn *columns, size_t n);
/* The next cell; `text` is taken, NULL is empty. */
void table_add(Table *t, char *text, TableColour colour);
/* Leaves out column i when no row has anything in it but `empty` or nothing. */
void table_hide_empty(Table *t, size_t i, const char *empty);
/* Adds the table to `b`, a line a row, two blanks between columns, none at the end of a line. width 0: no limit. */
void table_print(const Table *t, size_t width, bool colours, StrBuf *b);
void table_done(Table *t);

/* Terminal cells of UTF-8 text without control characters (every character counts one). */
size_t text_width(const char *s);
void text_coloured(StrBuf *b, const char *s, TableColour colour, bool colours);
