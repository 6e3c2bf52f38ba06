/* Strings: a growing buffer, vectors of strings, numbers, the nearest word, escaping what a stranger wrote. */
#pragma once

#include "base/util.h"

/* A growing string. STRBUF_NULL is a valid empty one; `s` is NUL-terminated once anything was added. */
typedef struct StrBuf {
    char *s;
    size_t len, size;
} StrBuf;

#define STRBUF_NULL \
    (StrBuf)        \
    {               \
        0           \
    }
#define _cleanup_strbuf_ _cleanup_(strbuf_done)

void strbuf_done(StrBuf *b);
void strbuf_add(StrBuf *b, const char *data, size_t n);
void strbuf_addc(StrBuf *b, char c);
void strbuf_adds(StrBuf *b, const char *s);
void strbuf_addf(StrBuf *b, const char *fmt, ...) _printf_(2, 3);
/* The string, owned by the caller; the buffer is empty after. Never NULL. */
char *strbuf_take(StrBuf *b);

/* Vectors of strings end in NULL; a NULL vector is empty. */
#define STRV_FOREACH(s, v) for (char *const *(s) = (v); (s) && *(s); (s)++)
#define _cleanup_strv_     _cleanup_(strv_freep)

size_t strv_length(char *const *v);
void strv_push(char ***v, char *owned);
void strv_add(char ***v, const char *copied);
char **strv_copy(char *const *v);
bool strv_contains(char *const *v, const char *s);
char *strv_join(char *const *v, const char *separator);
char **strv_free(char **v);
static inline void strv_freep(char ***v)
{
    *v = strv_free(*v);
}

static inline bool str_equal(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}
static inline const char *str_or(const char *s, const char *otherwise)
{
    return s && *s ? s : otherwise;
}
bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* Decimal, the whole string, no sign, no blanks. -EINVAL or -ERANGE. */
int parse_u64(const char *s, uint64_t *ret);

/* Optimal string alignment distance (insert, delete, change, swap of neighbours); inputs over 64 bytes are SIZE_MAX
 * apart. */
size_t str_distance(const char *a, const char *b);
/* The candidate nearest to `word`, or NULL when none is near enough to be a typo (more than a third of its length
 * wrong). */
const char *str_nearest(const char *word, const char *const *candidates, size_t n);

/* Length of the valid UTF-8 sequence that `s` begins with (1 to 4), 0 when it is none or a C1 control. */
size_t utf8_length(const char *s, size_t n);

/* A copy that is safe on a terminal and in a log line: control bytes, non-UTF-8 and backslash as \xNN; cut at `limit`
 * bytes. */
char *str_escape(const char *s, size_t n, size_t limit);

/* "1.5G", "64M", "512K", "17B"; UINT64_MAX is "max". */
char *format_bytes(uint64_t bytes);
/* "1d 2h", "3m 4s", "12.5s", "340ms", "17us"; UINT64_MAX is "infinity". */
char *format_usec(uint64_t usec);
