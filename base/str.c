/* See str.h. */
#include "base/str.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

void strbuf_done(StrBuf *b)
{
    free(b->s);
    *b = STRBUF_NULL;
}

static void reserve(StrBuf *b, size_t more)
{
    if (b->len + more + 1 <= b->size)
        return;
    b->size = MAX2((b->len + more + 1) * 2, (size_t)64);
    b->s = xrealloc(b->s, b->size, 1);
}

void strbuf_add(StrBuf *b, const char *data, size_t n)
{
    reserve(b, n);
    memcpy(b->s + b->len, data, n);
    b->len += n;
    b->s[b->len] = '\0';
}

void strbuf_addc(StrBuf *b, char c)
{
    strbuf_add(b, &c, 1);
}

void strbuf_adds(StrBuf *b, const char *s)
{
    strbuf_add(b, s, strlen(s));
}

void strbuf_addf(StrBuf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = xvasprintf(fmt, ap);
    va_end(ap);
    strbuf_adds(b, s);
    free(s);
}

char *strbuf_take(StrBuf *b)
{
    reserve(b, 0);
    b->s[b->len] = '\0';
    char *s = b->s;
    *b = STRBUF_NULL;
    return s;
}

size_t strv_length(char *const *v)
{
    size_t n = 0;
    STRV_FOREACH (s, v)
        n++;
    return n;
}

void strv_push(char ***v, char *owned)
{
    size_t n = strv_length(*v);
    *v = xrealloc(*v, n + 2, sizeof(char *));
    (*v)[n] = owned;
    (*v)[n + 1] = NULL;
}

void strv_add(char ***v, const char *copied)
{
    strv_push(v, xstrdup(copied));
}

char **strv_copy(char *const *v)
{
    char **copy = NULL;
    STRV_FOREACH (s, v)
        strv_add(&copy, *s);
    return copy;
}

bool strv_contains(char *const *v, const char *s)
{
    STRV_FOREACH (e, v)
        if (strcmp(*e, s) == 0)
            return true;
    return false;
}

char *strv_join(char *const *v, const char *separator)
{
    StrBuf b = STRBUF_NULL;
    STRV_FOREACH (s, v) {
        if (b.len > 0)
            strbuf_adds(&b, separator);
        strbuf_adds(&b, *s);
    }
    return strbuf_take(&b);
}

char **strv_free(char **v)
{
    STRV_FOREACH (s, v)
        free(*s);
    free(v);
    return NULL;
}

bool str_starts(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && strcmp(s + n - m, suffix) == 0;
}

int parse_u64(const char *s, uint64_t *ret)
{
    if (!*s)
        return -EINVAL;
    uint64_t v = 0;
    for (; *s; s++) {
        if (*s < '0' || *s > '9')
            return -EINVAL;
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
            return -ERANGE;
    }
    *ret = v;
    return 0;
}

size_t str_distance(const char *a, const char *b)
{
    enum { LIMIT = 64 };
    size_t n = strlen(a), m = strlen(b);
    if (n > LIMIT || m > LIMIT)
        return SIZE_MAX;
    size_t row[3][LIMIT + 1];
    for (size_t j = 0; j <= m; j++)
        row[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *cur = row[i % 3], *prev = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        cur[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t change = prev[j - 1] + (a[i - 1] != b[j - 1]);
            size_t edit = MIN2(prev[j] + 1, cur[j - 1] + 1);
            cur[j] = MIN2(edit, change);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                cur[j] = MIN2(cur[j], before[j - 2] + 1);
        }
    }
    return row[n % 3][m];
}

const char *str_nearest(const char *word, const char *const *candidates, size_t n)
{
    const char *best = NULL;
    size_t best_distance = MAX2(strlen(word) / 3, (size_t)1) + 1;
    for (size_t i = 0; i < n; i++) {
        size_t d = str_distance(word, candidates[i]);
        if (d < best_distance) {
            best = candidates[i];
            best_distance = d;
        }
    }
    return best;
}

size_t utf8_length(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    if (n == 0)
        return 0;
    size_t want = s[0] < 0x80                     ? 1
                  : (s[0] >= 0xc2 && s[0] < 0xe0) ? 2
                  : (s[0] & 0xf0) == 0xe0         ? 3
                  : (s[0] >= 0xf0 && s[0] < 0xf5) ? 4
                                                  : 0;
    if (want == 0 || want > n)
        return 0;
    for (size_t i = 1; i < want; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    /* C1 controls (U+0080 to U+009F) drive terminals as well as ESC does. */
    if (want == 2 && s[0] == 0xc2 && s[1] < 0xa0)
        return 0;
    /* Overlong forms, surrogates, beyond U+10FFFF: D-Bus drops a client that sends one. */
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] >= 0xa0) || (s[0] == 0xf0 && s[1] < 0x90) ||
        (s[0] == 0xf4 && s[1] >= 0x90))
        return 0;
    return want;
}

char *str_escape(const char *s, size_t n, size_t limit)
{
    StrBuf b = STRBUF_NULL;
    const unsigned char *p = (const unsigned char *)s;
    for (size_t i = 0; i < n;) {
        size_t len = utf8_length(s + i, n - i);
        bool plain = len > 1 || (len == 1 && p[i] >= 0x20 && p[i] != 0x7f && p[i] != '\\');
        if (b.len + (plain ? len : 4) > limit)
            break;
        if (plain)
            strbuf_add(&b, s + i, len);
        else
            strbuf_addf(&b, "\\x%02x", p[i]);
        i += plain ? len : 1;
    }
    return strbuf_take(&b);
}

char *format_bytes(uint64_t bytes)
{
    if (bytes == UINT64_MAX)
        return xstrdup("max");
    static const char units[] = "BKMGTP";
    size_t u = 0;
    double v = (double)bytes;
    while (v >= 1024 && u + 2 < sizeof units) {
        v /= 1024;
        u++;
    }
    if (u == 0 || v == (double)(uint64_t)v || v >= 100)
        return xasprintf("%.0f%c", v, units[u]);
    return xasprintf("%.1f%c", v, units[u]);
}

char *format_usec(uint64_t usec)
{
    if (usec == UINT64_MAX)
        return xstrdup("infinity");
    if (usec < 1000)
        return xasprintf("%" PRIu64 "us", usec);
    if (usec < 1000000)
        return xasprintf("%" PRIu64 "ms", usec / 1000);
    uint64_t s = usec / 1000000;
    if (s < 60) {
        uint64_t tenth = usec / 100000 % 10;
        return tenth ? xasprintf("%" PRIu64 ".%" PRIu64 "s", s, tenth) : xasprintf("%" PRIu64 "s", s);
    }
    if (s < 3600)
        return xasprintf("%" PRIu64 "m %" PRIu64 "s", s / 60, s % 60);
    if (s < 86400)
        return xasprintf("%" PRIu64 "h %" PRIu64 "m", s / 3600, s / 60 % 60);
    return xasprintf("%" PRIu64 "d %" PRIu64 "h", s / 86400, s / 3600 % 24);
}
