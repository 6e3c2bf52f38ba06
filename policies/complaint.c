/* See complaint.h. Complaints are few and for people: no effort is made to keep them small. */
#include "policies/complaint.h"

#include <stdarg.h>

#include "base/str.h"

void complaints_add(Complaints *c, const char *file, unsigned line, const char *key, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *message = xvasprintf(fmt, ap);
    va_end(ap);
    Complaint *n = &ARRAY_PUSH(c->items, c->n);
    n->file = xstrdup(file);
    n->line = line;
    n->key = key ? xstrdup(key) : NULL;
    n->message = message;
}

static int compare(const void *left, const void *right)
{
    const Complaint *a = left, *b = right;
    int r = strcmp(a->file, b->file);
    if (r == 0)
        r = (a->line > b->line) - (a->line < b->line);
    if (r == 0)
        r = strcmp(a->key ? a->key : "", b->key ? b->key : "");
    return r != 0 ? r : strcmp(a->message, b->message);
}

static void complaint_done(Complaint *c)
{
    free(c->file);
    free(c->key);
    free(c->message);
}

/* Also drops repetitions: a bad value in [defaults] is found again in every module that takes it. */
void complaints_sort(Complaints *c)
{
    if (c->n < 2)
        return;
    qsort(c->items, c->n, sizeof *c->items, compare);
    size_t kept = 1;
    for (size_t i = 1; i < c->n; i++) {
        if (compare(&c->items[i], &c->items[kept - 1]) == 0)
            complaint_done(&c->items[i]);
        else
            c->items[kept++] = c->items[i];
    }
    c->n = kept;
    /* ARRAY_PUSH takes the capacity from the count, and the count has shrunk. */
    size_t capacity = 1;
    while (capacity < kept)
        capacity *= 2;
    c->items = xrealloc(c->items, capacity, sizeof *c->items);
}

void complaints_done(Complaints *c)
{
    for (size_t i = 0; i < c->n; i++)
        complaint_done(&c->items[i]);
    free(c->items);
    *c = (Complaints){0};
}

char *complaint_format(const Complaint *c)
{
    StrBuf b = STRBUF_NULL;
    strbuf_adds(&b, c->file);
    if (c->line > 0)
        strbuf_addf(&b, ":%u", c->line);
    strbuf_adds(&b, ": ");
    if (c->key)
        strbuf_addf(&b, "%s: ", c->key);
    strbuf_adds(&b, c->message);
    /* File names are strangers' too: whatever got this far, one complaint stays one line. */
    for (char *p = b.s; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = '?';
    return strbuf_take(&b);
}
