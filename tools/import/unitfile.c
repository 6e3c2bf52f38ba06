/* See unitfile.h. */
#include "tools/import/unitfile.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"

/* --- lines -------------------------------------------------------------------------------------------------------- */
static char *trimmed(const char *s, size_t n)
{
    while (n > 0 && isspace((unsigned char)*s)) {
        s++;
        n--;
    }
    while (n > 0 && isspace((unsigned char)s[n - 1]))
        n--;
    return xstrndup(s, n);
}

static void take_line(UnitEntries *entries, char **section, const char *text, const char *file, unsigned line)
{
    _cleanup_(freep) char *s = trimmed(text, strlen(text));
    size_t n = strlen(s);
    if (n == 0)
        return;
    if (s[0] == '[' && s[n - 1] == ']') {
        free(*section);
        *section = xstrndup(s + 1, n - 2);
        return;
    }
    UnitEntry *e = &ARRAY_PUSH(entries->items, entries->n);
    const char *equals = strchr(s, '=');
    bool assignment = equals && equals > s && **section;
    *e = (UnitEntry){.section = xstrdup(*section), .file = file, .line = line};
    e->key = assignment ? trimmed(s, (size_t)(equals - s)) : NULL;
    e->value = assignment ? trimmed(equals + 1, strlen(equals + 1)) : xstrdup(s);
}

void unitfile_parse(const char *data, size_t size, const char *file, UnitEntries *entries)
{
    _cleanup_(freep) char *section = xstrdup("");
    _cleanup_strbuf_ StrBuf whole = STRBUF_NULL;
    unsigned number = 0, begun = 0;
    for (const char *p = data, *end = data + size; p < end;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t n = newline ? (size_t)(newline - p) : (size_t)(end - p);
        const char *line = p;
        p = newline ? newline + 1 : end;
        number++;
        while (n > 0 && line[n - 1] == '\r')
            n--;
        size_t blanks = 0;
        while (blanks < n && isspace((unsigned char)line[blanks]))
            blanks++;
        if (blanks < n && (line[blanks] == '#' || line[blanks] == ';'))
            continue;
        if (begun == 0)
            begun = number;
        bool goes_on = n > 0 && line[n - 1] == '\\';
        strbuf_add(&whole, line, n - goes_on);
        if (goes_on) {
            strbuf_addc(&whole, ' ');
            continue;
        }
        take_line(entries, &section, str_or(whole.s, ""), file, begun);
        strbuf_done(&whole);
        begun = 0;
    }
    if (begun != 0)
        take_line(entries, &section, str_or(whole.s, ""), file, begun);
}

void unitfile_done(UnitEntries *entries)
{
    for (size_t i = 0; i < entries->n; i++) {
        free(entries->items[i].section);
        free(entries->items[i].key);
        free(entries->items[i].value);
    }
    free(entries->items);
    *entries = (UnitEntries){0};
}

/* --- words -------------------------------------------------------------------------------------------------------- */
static int hex_digits(const char *s, size_t n, unsigned base)
{
    int v = 0;
    for (size_t i = 0; i < n; i++) {
        int c = tolower((unsigned char)s[i]);
        int digit = isdigit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : 99;
        if (digit >= (int)base)
            return -1;
        v = v * (int)base + digit;
    }
    return v;
}

/* At a backslash: appends what the escape stands for; returns how many bytes it took. */
static size_t take_escape(const char *s, StrBuf *b)
{
    static const char from[] = "abfnrtv\\\"'s;", to[] = "\a\b\f\n\r\t\v\\\"' ;";
    const char *known = s[1] ? strchr(from, s[1]) : NULL;
    if (known) {
        strbuf_addc(b, to[known - from]);
        return 2;
    }
    bool hex = s[1] == 'x', octal = s[1] >= '0' && s[1] <= '3';
    size_t digits = hex ? 2 : octal ? 3 : 0;
    int v = digits ? hex_digits(s + (hex ? 2 : 1), digits, hex ? 16 : 8) : -1;
    if (v > 0) {
        strbuf_addc(b, (char)v);
        return (hex ? 2 : 1) + digits;
    }
    strbuf_addc(b, '\\'); /* systemd keeps what it does not know */
    return 1;
}

int unit_words(const char *s, char ***ret, const char **ret_semicolon, Error *e)
{
    _cleanup_strv_ char **words = NULL;
    if (ret_semicolon)
        *ret_semicolon = NULL;
    for (s += strspn(s, " \t\n"); *s; s += strspn(s, " \t\n")) {
        if (ret_semicolon && s[0] == ';' && (!s[1] || strchr(" \t\n", s[1]))) {
            *ret_semicolon = s + 1;
            break;
        }
        _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
        char quote = '\0';
        for (; *s && (quote || !strchr(" \t\n", *s));) {
            if (*s == '\\') {
                s += take_escape(s, &b);
            } else if (!quote && (*s == '\'' || *s == '"')) {
                quote = *s++;
            } else if (quote && *s == quote) {
                quote = '\0';
                s++;
            } else {
                strbuf_addc(&b, *s++);
            }
        }
        if (quote)
            return error_set(e, -EINVAL, "a %c is not closed, systemd ignores the line as well", quote);
        strv_push(&words, strbuf_take(&b));
    }
    if (!words)
        words = xcalloc(1, sizeof *words);
    *ret = TAKE_PTR(words);
    return 0;
}

/* --- names and specifiers ----------------------------------------------------------------------------------------- */
int unit_names(const char *full, UnitNames *ret)
{
    const char *dot = strrchr(full, '.'), *at = strchr(full, '@');
    if (!dot || dot == full || at == full || strchr(full, '/'))
        return -EINVAL;
    if (at > dot)
        at = NULL;
    *ret = (UnitNames){.full = xstrdup(full)};
    ret->prefix = xstrndup(full, (size_t)((at ? at : dot) - full));
    ret->instance = at ? xstrndup(at + 1, (size_t)(dot - at) - 1) : xstrdup("");
    return 0;
}

void unit_names_done(UnitNames *n)
{
    free(n->full);
    free(n->prefix);
    free(n->instance);
    *n = (UnitNames){0};
}

char *unit_unescape(const char *escaped)
{
    StrBuf b = STRBUF_NULL;
    for (const char *p = escaped; *p; p++) {
        int v = p[0] == '\\' && p[1] == 'x' && p[2] && p[3] ? hex_digits(p + 2, 2, 16) : -1;
        if (v > 0) {
            strbuf_addc(&b, (char)v);
            p += 3;
        } else {
            strbuf_addc(&b, (char)(*p == '-' ? '/' : *p));
        }
    }
    return strbuf_take(&b);
}

/* What follows the last dash, or all of it. */
static const char *last_part(const char *s)
{
    const char *dash = strrchr(s, '-');
    return dash ? dash + 1 : s;
}

/* Owned by the caller; NULL: only the running system knows. */
static char *specifier(char c, const UnitNames *n)
{
    static const struct {
        char c;
        const char *text; /* of the system's instance, which runs services as root */
    } fixed[] = {
        {'t', "/run"}, {'S', "/var/lib"}, {'C', "/var/cache"}, {'L', "/var/log"}, {'E', "/etc"},
        {'T', "/tmp"}, {'V', "/var/tmp"}, {'D', "/usr/share"}, {'h', "/root"},    {'u', "root"},
        {'U', "0"},    {'g', "root"},     {'G', "0"},          {'s', "/bin/sh"},
    };
    for (size_t i = 0; i < ELEMENTS(fixed); i++)
        if (fixed[i].c == c)
            return xstrdup(fixed[i].text);
    switch (c) {
    case 'n':
        return xstrdup(n->full);
    case 'N':
        return xstrndup(n->full, (size_t)(strrchr(n->full, '.') - n->full));
    case 'p':
        return xstrdup(n->prefix);
    case 'P':
        return unit_unescape(n->prefix);
    case 'i':
        return xstrdup(n->instance);
    case 'I':
        return unit_unescape(n->instance);
    case 'j':
        return xstrdup(last_part(n->prefix));
    case 'J':
        return unit_unescape(last_part(n->prefix));
    case 'f': {
        _cleanup_(freep) char *path = unit_unescape(*n->instance ? n->instance : n->prefix);
        return xasprintf("%s%s", *path == '/' ? "" : "/", path);
    }
    default:
        return NULL;
    }
}

int unit_specifiers(const char *s, const UnitNames *names, bool keep_percent, char **ret, Error *e)
{
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    for (const char *p = s; *p; p++) {
        if (*p != '%') {
            strbuf_addc(&b, *p);
            continue;
        }
        _cleanup_(freep) char *text = p[1] && p[1] != '%' ? specifier(p[1], names) : NULL;
        if (p[1] == '%') {
            strbuf_adds(&b, keep_percent ? "%%" : "%");
        } else if (!text && isalpha((unsigned char)p[1])) {
            return error_set(e, -EINVAL, "%%%c is known to the running system alone (write what it stands for)", p[1]);
        } else if (!text) {
            strbuf_adds(&b, keep_percent ? "%%" : "%"); /* systemd lets it stand as well */
            continue;
        } else {
            _cleanup_(freep) char *safe = NULL;
            const char *q = text;
            for (; keep_percent && *q; q++)
                strbuf_addf(&b, "%s%c", *q == '%' ? "%" : "", *q);
            strbuf_adds(&b, q);
        }
        p++;
    }
    *ret = strbuf_take(&b);
    return 0;
}

/* --- values ------------------------------------------------------------------------------------------------------- */
int unit_boolean(const char *s)
{
    static const char *const words[] = {"0", "1", "no", "yes", "n", "y", "false", "true", "f", "t", "off", "on"};
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (strcasecmp(s, words[i]) == 0)
            return (int)(i % 2);
    return -EINVAL;
}

typedef struct Factor {
    const char *name;
    uint64_t factor;
} Factor;

/* A number, perhaps with a fraction, and its unit: advances *s. */
static int take_quantity(const char **s, const Factor *units, size_t n_units, uint64_t bare, uint64_t *ret)
{
    size_t whole = strspn(*s, "0123456789");
    size_t part = (*s)[whole] == '.' ? strspn(*s + whole + 1, "0123456789") : 0;
    _cleanup_(freep) char *digits = xstrndup(*s, whole);
    uint64_t v = 0, factor = bare;
    if (whole + part == 0 || (whole > 0 && parse_u64(digits, &v) < 0))
        return -EINVAL;
    const char *fraction = *s + whole + 1;
    *s += whole + (part ? part + 1 : 0);
    const char *unit = *s + strspn(*s, " \t");
    size_t letters = strcspn(unit, " \t0123456789.");
    for (size_t i = 0; letters > 0; i++) {
        if (i == n_units)
            return -EINVAL;
        if (strlen(units[i].name) != letters || strncmp(unit, units[i].name, letters) != 0)
            continue;
        factor = units[i].factor;
        *s = unit + letters;
        break;
    }
    uint64_t sum = 0, scale = 1, parts = 0;
    if (__builtin_mul_overflow(v, factor, &sum))
        return -EINVAL;
    for (size_t i = 0; i < part && i < 9; i++) {
        scale *= 10;
        parts = parts * 10 + (uint64_t)(fraction[i] - '0');
    }
    if (__builtin_add_overflow(sum, factor / scale * parts + factor % scale * parts / scale, &sum))
        return -EINVAL;
    *ret = sum;
    return 0;
}

int unit_time(const char *s, uint64_t unit, uint64_t *ret)
{
    static const Factor units[] = {
        {"usec", 1},
        {"us", 1},
        {"\xc2\xb5s", 1},
        {"\xce\xbcs", 1},
        {"msec", USEC_PER_MSEC},
        {"ms", USEC_PER_MSEC},
        {"seconds", USEC_PER_SEC},
        {"second", USEC_PER_SEC},
        {"sec", USEC_PER_SEC},
        {"s", USEC_PER_SEC},
        {"minutes", 60 * USEC_PER_SEC},
        {"minute", 60 * USEC_PER_SEC},
        {"min", 60 * USEC_PER_SEC},
        {"m", 60 * USEC_PER_SEC},
        {"hours", 3600 * USEC_PER_SEC},
        {"hour", 3600 * USEC_PER_SEC},
        {"hr", 3600 * USEC_PER_SEC},
        {"h", 3600 * USEC_PER_SEC},
        {"days", 86400 * USEC_PER_SEC},
        {"day", 86400 * USEC_PER_SEC},
        {"d", 86400 * USEC_PER_SEC},
        {"weeks", 7 * 86400 * USEC_PER_SEC},
        {"week", 7 * 86400 * USEC_PER_SEC},
        {"w", 7 * 86400 * USEC_PER_SEC},
        {"months", 2629800 * USEC_PER_SEC},
        {"month", 2629800 * USEC_PER_SEC},
        {"M", 2629800 * USEC_PER_SEC},
        {"years", 31557600 * USEC_PER_SEC},
        {"year", 31557600 * USEC_PER_SEC},
        {"y", 31557600 * USEC_PER_SEC},
    };
    if (strcmp(s, "infinity") == 0) {
        *ret = USEC_INFINITY;
        return 0;
    }
    uint64_t sum = 0, part = 0;
    for (const char *p = s; *p || p == s; p += strspn(p, " \t"))
        if (take_quantity(&p, units, ELEMENTS(units), unit, &part) < 0 || __builtin_add_overflow(sum, part, &sum))
            return -EINVAL;
    *ret = sum;
    return 0;
}

int unit_size(const char *s, uint64_t *ret)
{
    static const Factor units[] = {{"B", 1},          {"K", 1ull << 10}, {"M", 1ull << 20}, {"G", 1ull << 30},
                                   {"T", 1ull << 40}, {"P", 1ull << 50}, {"E", 1ull << 60}};
    if (strcmp(s, "infinity") == 0) {
        *ret = UINT64_MAX;
        return 0;
    }
    uint64_t v = 0;
    const char *p = s;
    if (take_quantity(&p, units, ELEMENTS(units), 1, &v) < 0 || *p)
        return -EINVAL;
    *ret = v;
    return 0;
}

char *import_time(uint64_t usec)
{
    static const Factor units[] = {{"d", 86400 * USEC_PER_SEC}, {"h", 3600 * USEC_PER_SEC}, {"m", 60 * USEC_PER_SEC},
                                   {"s", USEC_PER_SEC},         {"ms", USEC_PER_MSEC},      {"us", 1}};
    if (usec == USEC_INFINITY)
        return xstrdup("infinity");
    StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < ELEMENTS(units); i++)
        if (usec >= units[i].factor) {
            strbuf_addf(&b, "%s%" PRIu64 "%s", b.len ? " " : "", usec / units[i].factor, units[i].name);
            usec %= units[i].factor;
        }
    return b.len ? strbuf_take(&b) : xstrdup("0s");
}

char *import_size(uint64_t bytes)
{
    static const Factor units[] = {{"T", 1ull << 40}, {"G", 1ull << 30}, {"M", 1ull << 20}, {"K", 1ull << 10}};
    if (bytes == UINT64_MAX)
        return xstrdup("infinity");
    for (size_t i = 0; i < ELEMENTS(units); i++)
        if (bytes > 0 && bytes % units[i].factor == 0)
            return xasprintf("%" PRIu64 "%s", bytes / units[i].factor, units[i].name);
    return xasprintf("%" PRIu64 "B", bytes);
}
