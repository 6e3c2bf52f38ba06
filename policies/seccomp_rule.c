/* See seccomp_rule.h. */
#include "policies/seccomp_rule.h"

#include <ctype.h>
#include <errno.h>

#include "base/str.h"
#include "policies/seccomp.h"

/* Enough of a stranger's word to recognise it in a message. */
static char *shown(const char *s, size_t n)
{
    return str_escape(s, n, 64);
}

SeccompWidth seccomp_cond_width(const SeccompCond *c, uint64_t value, bool denies)
{
    if (value > UINT32_MAX)
        return WIDTH_FULL; /* meant for a 64-bit argument */
    switch (c->kind) {
    case COND_VALUES:
    case COND_AT_MOST:
        return denies ? WIDTH_LOW : WIDTH_FULL;
    case COND_AT_LEAST:
        return denies ? WIDTH_FULL : WIDTH_LOW;
    case COND_MASKED:
        break;
    }
    return c->mask > UINT32_MAX ? WIDTH_FULL : WIDTH_LOW;
}

SeccompRule *seccomp_rule_free(SeccompRule *r)
{
    for (size_t i = 0; r && i < r->n_conds; i++)
        free(r->conds[i].values);
    free(r);
    return NULL;
}

static const char *skip_blanks(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    return p;
}

static const char *cut_blanks(const char *p, const char *end)
{
    while (end > p && (end[-1] == ' ' || end[-1] == '\t'))
        end--;
    return end;
}

static int parse_number(const char *s, uint64_t *ret)
{
    if (s[0] != '0' || (s[1] != 'x' && s[1] != 'X'))
        return parse_u64(s, ret);
    uint64_t v = 0;
    if (!s[2] || strlen(s + 2) > 16)
        return s[2] ? -ERANGE : -EINVAL;
    for (s += 2; *s; s++) {
        if (!isxdigit((unsigned char)*s))
            return -EINVAL;
        v = v << 4 | (uint64_t)(isdigit((unsigned char)*s) ? *s - '0' : (*s | 0x20) - 'a' + 10);
    }
    *ret = v;
    return 0;
}

/* One VALUE in [p, end). */
static int parse_value(const char *p, const char *end, uint64_t *ret, Error *e)
{
    p = skip_blanks(p, end);
    end = cut_blanks(p, end);
    if (p == end)
        return error_set(e, -EINVAL, "a value is missing (a number, 0xHEX, or a name such as AF_UNIX)");
    _cleanup_(freep) char *word = xstrndup(p, (size_t)(end - p)), *show = shown(p, (size_t)(end - p));
    if (isdigit((unsigned char)*word)) {
        int r = parse_number(word, ret);
        if (r == -ERANGE)
            return error_set(e, -EINVAL, "'%s' is more than 64 bits hold", show);
        return r < 0 ? error_set(e, -EINVAL, "'%s' is not a number (decimal, or 0xHEX)", show) : 0;
    }
    if (*word == '-')
        return error_set(e, -EINVAL, "'%s' is negative, and comparisons are unsigned (0xffffffff for a 32-bit -1)",
                         show);
    if (seccomp_constant(word, ret) == 0)
        return 0;
    const char *nearest = seccomp_constant_nearest(word);
    if (nearest)
        return error_set(e, -EINVAL, "unknown value '%s' (did you mean '%s'?)", show, nearest);
    return error_set(e, -EINVAL, "unknown value '%s' (a number always works)", show);
}

/* VALUE|VALUE|…: every one of them into values[0..n). */
static int parse_values(const char *p, const char *end, uint64_t values[static SECCOMP_VALUES_MAX], size_t *ret_n,
                        Error *e)
{
    size_t n = 0;
    for (;;) {
        const char *bar = memchr(p, '|', (size_t)(end - p));
        if (n == SECCOMP_VALUES_MAX)
            return error_set(e, -EINVAL, "more than %d values in one argument (write a second rule)",
                             SECCOMP_VALUES_MAX);
        int r = parse_value(p, bar ? bar : end, &values[n++], e);
        if (r < 0)
            return r;
        if (!bar)
            break;
        p = bar + 1;
    }
    *ret_n = n;
    return 0;
}

/* A|B as a set of bits. */
static int parse_bits(const char *p, const char *end, uint64_t *ret, Error *e)
{
    uint64_t values[SECCOMP_VALUES_MAX], bits = 0;
    size_t n;
    int r = parse_values(p, end, values, &n, e);
    if (r < 0)
        return r;
    for (size_t i = 0; i < n; i++)
        bits |= values[i];
    *ret = bits;
    return 0;
}

static void cond_set(SeccompCond *c, SeccompCondKind kind, uint64_t mask, const uint64_t *values, size_t n)
{
    c->kind = kind;
    c->mask = mask;
    c->values = new0_array(uint64_t, n);
    memcpy(c->values, values, n * sizeof *values);
    c->n_values = n;
}

static int parse_masked(const char *p, const char *end, SeccompCond *c, Error *e)
{
    const char *eq = memmem(p, (size_t)(end - p), "==", 2);
    if (!eq)
        return error_set(e, -EINVAL, "a mask without '==' (&MASK==VALUE)");
    uint64_t mask = 0, value = 0;
    int r = parse_bits(p, eq, &mask, e);
    if (r == 0)
        r = parse_bits(eq + 2, end, &value, e);
    if (r < 0)
        return r;
    if (value & ~mask)
        return error_set(e, -EINVAL, "value 0x%llx has bits outside the mask 0x%llx, so it can never be equal",
                         (unsigned long long)value, (unsigned long long)mask);
    if (mask == 0)
        return error_set(e, -EINVAL, "a mask of 0 compares nothing (write * for any value)");
    cond_set(c, COND_MASKED, mask, &value, 1);
    return 0;
}

static int parse_forbidden(const char *p, const char *end, SeccompCond *c, Error *e)
{
    uint64_t mask;
    int r = parse_bits(p, end, &mask, e);
    if (r < 0)
        return r;
    if (mask == 0)
        return error_set(e, -EINVAL, "a mask of 0 forbids nothing (write * for any value)");
    cond_set(c, COND_MASKED, mask, &(uint64_t){0}, 1);
    return 0;
}

/* One argument in [p, end), blanks cut. Leaves c->values NULL for "*". */
static int parse_argument(const char *p, const char *end, SeccompCond *c, Error *e)
{
    uint64_t values[SECCOMP_VALUES_MAX];
    size_t n;
    int r;
    if (end - p == 1 && *p == '*')
        return 0;
    if (p < end && *p == '&')
        return parse_masked(p + 1, end, c, e);
    if (p < end && *p == '!')
        return parse_forbidden(p + 1, end, c, e);
    if (end - p >= 2 && (*p == '<' || *p == '>')) {
        if (p[1] != '=')
            return error_set(e, -EINVAL, "'%c' is not a comparison (<=N or >=N)", *p);
        r = parse_value(p + 2, end, &values[0], e);
        if (r == 0)
            cond_set(c, *p == '<' ? COND_AT_MOST : COND_AT_LEAST, 0, values, 1);
        return r;
    }
    r = parse_values(p, end, values, &n, e);
    if (r == 0)
        cond_set(c, COND_VALUES, 0, values, n);
    return r;
}

static int parse_arguments(const char *p, const char *end, SeccompRule *rule, Error *e)
{
    for (unsigned arg = 0;; arg++) {
        const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
        const char *first = skip_blanks(p, stop), *last = cut_blanks(first, stop);
        if (arg == SECCOMP_ARGS)
            return error_set(e, -EINVAL, "more than %d arguments: no syscall has so many", SECCOMP_ARGS);
        SeccompCond *c = &rule->conds[rule->n_conds];
        int r = parse_argument(first, last, c, e);
        if (r < 0)
            return error_prefix(e, "argument %u: ", arg);
        if (c->values) {
            c->arg = arg;
            rule->n_conds++;
        }
        if (!comma)
            return 0;
        p = comma + 1;
    }
}

static int parse_name(const char *p, size_t n, int *ret, Error *e)
{
    _cleanup_(freep) char *word = xstrndup(p, n), *show = shown(p, n);
    if (*word == '#') {
        uint64_t nr;
        if (parse_u64(word + 1, &nr) < 0 || nr > SECCOMP_NR_MAX)
            return error_set(e, -EINVAL, "'%s' is not a syscall number (#0 to #%d)", show, SECCOMP_NR_MAX);
        *ret = (int)nr;
        return 0;
    }
    int nr = seccomp_nr(word);
    if (nr != -ENOENT) {
        *ret = nr;
        return 0;
    }
    const char *nearest = seccomp_nr_nearest(word);
    if (nearest)
        return error_set(e, -EINVAL, "unknown syscall '%s' (did you mean '%s'?)", show, nearest);
    return error_set(e, -EINVAL, "unknown syscall '%s' (a newer one can be given by number, as in #462)", show);
}

int seccomp_rule_parse(const char *text, SeccompRule **ret, Error *e)
{
    const char *p = text, *end = text + strlen(text);
    p = skip_blanks(p, end);
    end = cut_blanks(p, end);
    if (p == end)
        return error_set(e, -EINVAL, "an empty rule (a syscall's name, as in socket(AF_UNIX))");

    const char *open = memchr(p, '(', (size_t)(end - p));
    const char *name_end = cut_blanks(p, open ? open : end);
    _cleanup_(seccomp_rule_freep) SeccompRule *rule = new0(SeccompRule);
    int r = parse_name(p, (size_t)(name_end - p), &rule->nr, e);
    if (r < 0)
        return r;
    if (open) {
        if (end[-1] != ')')
            return error_set(e, -EINVAL, "'%.*s(' is not closed by ')' at its end", (int)MIN2(name_end - p, 64L), p);
        if (skip_blanks(open + 1, end - 1) == end - 1)
            return error_set(e, -EINVAL, "'%.*s()' names no argument (without brackets it means any)",
                             (int)MIN2(name_end - p, 64L), p);
        r = parse_arguments(open + 1, end - 1, rule, e);
        if (r < 0) {
            _cleanup_(freep) char *show = shown(p, (size_t)(end - p));
            return error_prefix(e, "%s: ", show);
        }
    }
    *ret = TAKE_PTR(rule);
    return 0;
}

int seccomp_rule_check(const char *rule, Error *e)
{
    _cleanup_(seccomp_rule_freep) SeccompRule *parsed = NULL;
    return seccomp_rule_parse(rule, &parsed, e);
}

int seccomp_rules_split(const char *text, char ***ret, Error *e)
{
    _cleanup_strv_ char **rules = NULL;
    const char *item = text, *end = text + strlen(text);
    int depth = 0;
    for (const char *p = text; p <= end; p++) {
        if (p < end && *p == '(' && depth++ > 0)
            return error_set(e, -EINVAL, "a '(' within brackets");
        if (p < end && *p == ')' && depth-- == 0)
            return error_set(e, -EINVAL, "a ')' without its '('");
        if (p < end && (*p != ',' || depth > 0))
            continue;
        const char *first = skip_blanks(item, p), *last = cut_blanks(first, p);
        if (first == last)
            return error_set(e, -EINVAL, "an empty item in the list (rules are parted by single commas)");
        strv_push(&rules, xstrndup(first, (size_t)(last - first)));
        item = p + 1;
    }
    if (depth > 0)
        return error_set(e, -EINVAL, "a '(' without its ')'");
    *ret = TAKE_PTR(rules);
    return 0;
}
