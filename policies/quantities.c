/* Numbers with and without units. See quantities.h. */
#include "policies/quantities.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>

#include "base/clock.h"
#include "base/str.h"

typedef struct Unit {
    const char *name;
    uint64_t factor;
} Unit;

/* A digit string followed by one of the units: advances *s. -EINVAL: not that; -ENOKEY: no unit; -ERANGE. */
static int parse_quantity(const char **s, const Unit *units, size_t n_units, uint64_t *ret)
{
    size_t digits = strspn(*s, "0123456789");
    size_t letters = 0;
    while (isalpha((unsigned char)(*s)[digits + letters]))
        letters++;
    _cleanup_(freep) char *number = xstrndup(*s, digits);
    uint64_t v;
    int r = parse_u64(number, &v);
    if (r < 0)
        return r;
    const char *unit = *s + digits;
    *s = unit + letters;
    if (letters == 0) {
        *ret = 0;
        if (*unit && *unit != ' ')
            return -EINVAL;
        return v == 0 && !*unit ? 0 : -ENOKEY; /* nothing is nothing in every unit */
    }
    for (size_t i = 0; i < n_units; i++)
        if (strlen(units[i].name) == letters && strncmp(unit, units[i].name, letters) == 0)
            return __builtin_mul_overflow(v, units[i].factor, ret) || *ret == UINT64_MAX ? -ERANGE : 0;
    return -EINVAL;
}

static int quantity_error(int r, const char *s, ValueKind kind, Error *e)
{
    _cleanup_(freep) char *shown = value_shown(s);
    if (r == -ENOKEY)
        return error_set(e, -EINVAL, "a unit is missing in '%s' (%s)", shown, value_kind_hint(kind));
    if (r == -ERANGE)
        return error_set(e, -EINVAL, "'%s' is too much (%s)", shown, value_kind_hint(kind));
    return error_set(e, -EINVAL, "'%s' is no %s (%s)", shown, value_kind_name(kind), value_kind_hint(kind));
}

int value_time(const char *s, uint64_t *ret, Error *e)
{
    static const Unit units[] = {{"us", 1},
                                 {"ms", USEC_PER_MSEC},
                                 {"s", USEC_PER_SEC},
                                 {"m", 60 * USEC_PER_SEC},
                                 {"h", 3600 * USEC_PER_SEC},
                                 {"d", 86400 * USEC_PER_SEC}};
    if (strcmp(s, "infinity") == 0) {
        *ret = USEC_INFINITY;
        return 0;
    }
    uint64_t sum = 0;
    for (const char *p = s; *p || p == s; p += strspn(p, " ")) {
        uint64_t part;
        int r = parse_quantity(&p, units, ELEMENTS(units), &part);
        if (r == 0 && (__builtin_add_overflow(sum, part, &sum) || sum == UINT64_MAX))
            r = -ERANGE;
        if (r < 0)
            return quantity_error(r, s, VALUE_TIME, e);
    }
    *ret = sum;
    return 0;
}

int value_size(const char *s, uint64_t *ret, Error *e)
{
    static const Unit units[] = {{"B", 1},
                                 {"K", UINT64_C(1) << 10},
                                 {"M", UINT64_C(1) << 20},
                                 {"G", UINT64_C(1) << 30},
                                 {"T", UINT64_C(1) << 40}};
    if (strcmp(s, "infinity") == 0) {
        *ret = UINT64_MAX;
        return 0;
    }
    const char *p = s;
    uint64_t v;
    int r = parse_quantity(&p, units, ELEMENTS(units), &v);
    if (r == 0 && *p)
        r = -EINVAL;
    if (r < 0)
        return quantity_error(r, s, VALUE_SIZE, e);
    *ret = v;
    return 0;
}

int value_percent(const char *s, ValueKind kind, uint64_t *ret, Error *e)
{
    size_t n = strlen(s);
    _cleanup_(freep) char *number = n > 0 && s[n - 1] == '%' ? xstrndup(s, n - 1) : NULL;
    uint64_t v;
    if (!number)
        return quantity_error(parse_u64(s, &v) == 0 ? -ENOKEY : -EINVAL, s, kind, e);
    int r = parse_u64(number, &v);
    if (r < 0)
        return quantity_error(r, s, kind, e);
    *ret = v;
    return 0;
}

/* A bound in the key's own unit. */
static char *format_bound(const Key *k, uint64_t bound)
{
    switch ((int)k->kind) {
    case VALUE_SIZE:
    case VALUE_RLIMIT_SIZE:
        return format_bytes(bound);
    case VALUE_TIME:
    case VALUE_RLIMIT_SEC:
    case VALUE_RLIMIT_USEC:
        return format_usec(bound);
    case VALUE_CPU:
    case VALUE_PERCENT:
        return xasprintf("%" PRIu64 "%%", bound);
    default:
        return xasprintf("%" PRIu64, bound);
    }
}

char *value_range_text(const Key *k)
{
    int64_t min = k->min;
    bool number = k->kind != VALUE_CHOICE && k->kind != VALUE_CHOICE_TEXT && (k->max != 0 || min != 0);
    if (!number)
        return NULL;
    if (k->kind == VALUE_INTEGER)
        return xasprintf("%" PRId64 " to %" PRIu64, min, k->max);
    _cleanup_(freep) char *low = format_bound(k, (uint64_t)MAX2(min, INT64_C(0)));
    if (k->max == UINT64_MAX)
        return min > 0 ? xasprintf("%s or more", low) : NULL;
    if (k->max == UINT64_MAX - 1)
        return xstrdup("not infinity");
    _cleanup_(freep) char *high = format_bound(k, k->max);
    return xasprintf("%s to %s", low, high);
}

int value_bounds(const Key *k, const char *s, uint64_t v, Error *e)
{
    _cleanup_(freep) char *shown = value_shown(s);
    if (k->max != 0 && v == UINT64_MAX && k->max != UINT64_MAX)
        return error_set(e, -EINVAL, "'%s' is not possible here (%s)", shown, k->example);
    uint64_t min = (uint64_t)MAX2(k->min, INT64_C(0));
    bool under = v < min;
    if (!under && (k->max == 0 || v <= k->max))
        return 0;
    _cleanup_(freep) char *bound = format_bound(k, under ? min : k->max);
    return error_set(e, -EINVAL, "'%s' is too %s (at %s %s)", shown, under ? "little" : "much",
                     under ? "least" : "most", bound);
}

int value_number(const Key *k, const char *s, uint64_t *ret, Error *e)
{
    uint64_t v;
    int r = k->max == UINT64_MAX && strcmp(s, "infinity") == 0 ? (v = UINT64_MAX, 0) : parse_u64(s, &v);
    if (r == -ERANGE)
        return quantity_error(r, s, VALUE_COUNT, e);
    if (r < 0 && k->max >= UINT64_MAX - 1)
        return value_wrong(s, e, "number", k->max == UINT64_MAX ? "100, infinity" : k->example);
    if (r < 0) {
        _cleanup_(freep) char *range = xasprintf("%" PRId64 " to %" PRIu64, k->min, k->max);
        return value_wrong(s, e, "number", range);
    }
    *ret = v;
    return 0;
}

int value_factor(const char *s, double *field, Error *e)
{
    /* By hand: strtod knows hexadecimal, "nan" and the locale's comma. */
    size_t whole = strspn(s, "0123456789");
    size_t part = s[whole] == '.' ? strspn(s + whole + 1, "0123456789") : 0;
    if (whole == 0 || whole > 4 || part > 6 || (s[whole] == '.' && part == 0) ||
        s[whole + (part ? part + 1 : 0)] != '\0')
        return value_wrong(s, e, "factor", "1 to 9999: 2, 1.5");
    double v = 0, scale = 1;
    for (size_t i = 0; i < whole; i++)
        v = v * 10 + (s[i] - '0');
    for (size_t i = 0; i < part; i++)
        v += (s[whole + 1 + i] - '0') / (scale *= 10);
    if (v < 1)
        return value_wrong(s, e, "factor", "1 to 9999: 2, 1.5");
    *field = v;
    return 0;
}

int value_port(const char *s, Error *e)
{
    uint64_t v;
    if (parse_u64(s, &v) == 0 && v >= 1 && v <= 65535)
        return (int)v;
    _cleanup_(freep) char *shown = value_shown(s);
    return error_set(e, -EINVAL, "'%s' is no port (1 to 65535)", shown);
}

static int realtime_signal(const char *s)
{
    bool min = str_starts(s, "RTMIN");
    if (!min && !str_starts(s, "RTMAX"))
        return -EINVAL;
    uint64_t offset = 0;
    if (s[5] && (s[5] != (min ? '+' : '-') || parse_u64(s + 6, &offset) < 0))
        return -EINVAL;
    if (offset > (uint64_t)(SIGRTMAX - SIGRTMIN))
        return -EINVAL;
    return min ? SIGRTMIN + (int)offset : SIGRTMAX - (int)offset;
}

int value_signal(const char *s, Error *e)
{
    uint64_t number;
    if (parse_u64(s, &number) == 0 && number >= 1 && number <= 64)
        return (int)number;
    const char *name = s + (str_starts(s, "SIG") ? 3 : 0);
    for (int i = 1; i < SIGRTMIN; i++)
        if (str_equal(sigabbrev_np(i), name))
            return i;
    int r = realtime_signal(name);
    return r > 0 ? r : value_wrong(s, e, "signal", value_kind_hint(VALUE_SIGNAL));
}
