/* See table.h. */
#include "tools/table.h"

#include <stdio.h>

enum { GAP = 2, NARROWEST = 6 };
#define LEFT_OUT SIZE_MAX /* a column's width */

Table table_new(const TableColumn *columns, size_t n)
{
    Table t = {.columns = new0_array(TableColumn, n), .n_columns = n};
    memcpy(t.columns, columns, n * sizeof *columns);
    return t;
}

void table_done(Table *t)
{
    for (size_t i = 0; i < t->n_cells; i++)
        free(t->cells[i].text);
    free(t->cells);
    free(t->columns);
    *t = (Table){0};
}

void table_add(Table *t, char *text, TableColour colour)
{
    ARRAY_PUSH(t->cells, t->n_cells) = (TableCell){.text = text ? text : xstrdup(""), .colour = colour};
}

void table_hide_empty(Table *t, size_t i, const char *empty)
{
    for (size_t k = i; k < t->n_cells; k += t->n_columns)
        if (t->cells[k].text[0] && !str_equal(t->cells[k].text, empty))
            return;
    t->columns[i].hide = true;
}

size_t text_width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

void text_coloured(StrBuf *b, const char *s, TableColour colour, bool colours)
{
    static const char *const codes[COLOUR_N] = {"", "32", "33", "31", "2", "1"};
    if (colours && colour != COLOUR_NONE && *s)
        strbuf_addf(b, "\033[%sm%s\033[0m", codes[colour], s);
    else
        strbuf_adds(b, s);
}

/* The first `width` characters, the last two of them ".." when something is cut. Owned by the caller. */
static char *cut(const char *s, size_t width)
{
    if (text_width(s) <= width)
        return xstrdup(s);
    const char *p = s;
    for (size_t n = 0; n < width - 2; n++) {
        p++;
        while (((unsigned char)*p & 0xc0) == 0x80)
            p++;
    }
    return xasprintf("%.*s..", (int)(p - s), s);
}

/* Leaves out a column that can be spared; false: there is none any more. */
static bool spare_one(const Table *t, size_t *widths, size_t *all)
{
    size_t spared = t->n_columns;
    for (size_t c = 0; c < t->n_columns; c++)
        if (widths[c] != LEFT_OUT && t->columns[c].spare > 0 &&
            (spared == t->n_columns || t->columns[c].spare > t->columns[spared].spare))
            spared = c;
    if (spared == t->n_columns)
        return false;
    *all -= widths[spared] + GAP;
    widths[spared] = LEFT_OUT;
    return true;
}

static void measure(const Table *t, size_t width, size_t *widths)
{
    size_t all = 0;
    for (size_t c = 0; c < t->n_columns; c++) {
        widths[c] = LEFT_OUT;
        if (t->columns[c].hide)
            continue;
        widths[c] = text_width(t->columns[c].title);
        for (size_t k = c; k < t->n_cells; k += t->n_columns)
            widths[c] = MAX2(widths[c], text_width(t->cells[k].text));
        all += widths[c] + (all ? GAP : 0);
    }
    while (width > 0 && all > width && spare_one(t, widths, &all))
        ;
    for (size_t c = t->n_columns; width > 0 && all > width && c-- > 0;) {
        if (widths[c] == LEFT_OUT || !t->columns[c].shrinks)
            continue;
        size_t least = MIN2(widths[c], MAX2(text_width(t->columns[c].title), (size_t)NARROWEST));
        size_t less = MIN2(all - width, widths[c] - least);
        widths[c] -= less;
        all -= less;
    }
}

/* Blanks are owed until something follows them, so that no line ends in any. */
static void add_cell(StrBuf *b, const TableColumn *column, const char *text, TableColour colour, bool colours,
                     size_t width, size_t *owed)
{
    _cleanup_(freep) char *shown = cut(text, width);
    size_t pad = width - text_width(shown);
    size_t before = *owed + (column->right ? pad : 0);
    if (*shown) {
        strbuf_addf(b, "%*s", (int)before, "");
        text_coloured(b, shown, colour, colours);
        *owed = column->right ? 0 : pad;
    } else {
        *owed += width;
    }
    *owed += GAP;
}

void table_print(const Table *t, size_t width, bool colours, StrBuf *b)
{
    _cleanup_(freep) size_t *widths = new0_array(size_t, t->n_columns);
    measure(t, width, widths);
    size_t owed = 0;
    for (size_t c = 0; c < t->n_columns; c++)
        if (widths[c] != LEFT_OUT)
            add_cell(b, &t->columns[c], t->columns[c].title, COLOUR_DIM, colours, widths[c], &owed);
    strbuf_addc(b, '\n');
    for (size_t row = 0; row + t->n_columns <= t->n_cells; row += t->n_columns) {
        owed = 0;
        for (size_t c = 0; c < t->n_columns; c++) {
            const TableCell *cell = &t->cells[row + c];
            if (widths[c] != LEFT_OUT)
                add_cell(b, &t->columns[c], cell->text, cell->colour, colours, widths[c], &owed);
        }
        strbuf_addc(b, '\n');
    }
}
