/* See resolve.h. One pass over the value as it is written, so that all but the references stays as somebody wrote it.
 * The words are what counts in the end: where they come out otherwise (somebody wrote \%%n, a backslash that hides half
 * of a reference), the value is left alone. */
#include "policies/resolve.h"

#include "base/str.h"
#include "policies/words.h"

typedef struct Resolver {
    const Key *key;
    const ValueContext *x;
    bool words; /* quotes and backslashes mean something */
    char quote; /* that we are within, or '\0' */
    StrBuf out;
} Resolver;

/* What a reference stands for, so that reading it again gives just that. */
static void put(Resolver *r, const char *s)
{
    if (!*s && r->words && !r->quote)
        strbuf_adds(&r->out, "\"\""); /* a word of nothing is a word */
    for (; *s; s++) {
        bool doubled = *s == '%' || (*s == '$' && r->key->variables);
        if (r->words && r->quote == '\'' && *s == '\'')
            strbuf_adds(&r->out, "'\\'"); /* out of the quotes, and in again */
        else if (r->words && r->quote == '"' && (*s == '"' || *s == '\\'))
            strbuf_addc(&r->out, '\\');
        else if (r->words && !r->quote && strchr(" \t'\"\\,;", *s))
            strbuf_addc(&r->out, '\\');
        strbuf_addc(&r->out, *s);
        if (doubled)
            strbuf_addc(&r->out, *s);
    }
}

/* Can it stand in a value? What an environment file holds may be anything but NUL. */
static bool is_clean(const char *s)
{
    for (size_t n; *s; s += n) {
        n = utf8_length(s, strlen(s));
        if (n == 0 || ((unsigned char)*s < 0x20 && *s != '\t') || *s == 0x7f)
            return false;
    }
    return true;
}

/* At a '%' or '$': how many bytes it took, 0 when it stays as it is. */
static size_t reference(Resolver *r, const char *s)
{
    bool variable = s[0] == '$' && r->key->variables && s[1] == '{';
    bool letter = s[0] == '%' && (s[1] == 'n' || s[1] == 'i');
    if (!variable && !letter)
        return 0;
    size_t name = variable ? words_variable_name(s + 2) : 0, n = variable ? name + 3 : 2;
    if (variable && (name == 0 || s[2 + name] != '}'))
        return 0;
    _cleanup_(freep) char *text = xstrndup(s, n), *value = NULL;
    if (r->key->main_pid && strcmp(text, "${MAINPID}") == 0)
        return 0;
    if (words_expand(text, r->x->module, r->key->variables, r->x->environment, &value, NULL) < 0 || !is_clean(value))
        return 0;
    put(r, value);
    return n;
}

static void copy(Resolver *r, const char **s, size_t n)
{
    strbuf_add(&r->out, *s, n);
    *s += n;
}

static void resolve(Resolver *r, const char *s)
{
    while (*s) {
        bool pair = (*s == '%' && s[1] == '%') || (*s == '$' && s[1] == '$' && r->key->variables);
        bool escape = r->words && *s == '\\' && s[1] && r->quote != '\'';
        size_t took = *s == '%' || *s == '$' ? reference(r, s) : 0;
        if (took > 0) {
            s += took;
            continue;
        }
        if (r->words && (*s == '\'' || *s == '"') && (!r->quote || r->quote == *s))
            r->quote = r->quote ? '\0' : *s;
        copy(r, &s, pair || escape ? 2 : 1);
    }
}

/* What the module gets: its words, expanded. NULL when it is not right. */
static char **read_words(const Key *k, Expansion how, const char *value, const ValueContext *x)
{
    _cleanup_strv_ char **words = NULL, **done = NULL, **environment = NULL;
    if (k->main_pid)
        strv_add(&environment, "MAINPID=any");
    STRV_FOREACH (v, x->environment)
        strv_add(&environment, *v);
    if (how == EXPAND_BLANKS || how == EXPAND_COMMAS) {
        if (words_split(value, how == EXPAND_BLANKS ? WORDS_BLANKS : WORDS_COMMAS, &words, NULL) < 0)
            return NULL;
    } else {
        strv_add(&words, value);
    }
    STRV_FOREACH (w, words) {
        char *expanded;
        if (how == EXPAND_LABEL)
            expanded = words_label(*w, x->module);
        else if (words_expand(*w, x->module, k->variables, environment, &expanded, NULL) < 0)
            return NULL;
        strv_push(&done, expanded);
    }
    return TAKE_PTR(done);
}

static bool same(char *const *a, char *const *b)
{
    size_t n = strv_length(a);
    if (!a || !b || strv_length(b) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(a[i], b[i]) != 0)
            return false;
    return true;
}

char *value_resolved(const Key *k, const char *value, const ValueContext *x)
{
    Expansion how = value_expansion(k->kind);
    if (how == EXPAND_NOTHING)
        return xstrdup(value);
    Resolver r = {.key = k, .x = x, .words = how == EXPAND_BLANKS || how == EXPAND_COMMAS};
    resolve(&r, value);
    _cleanup_(freep) char *resolved = strbuf_take(&r.out);
    _cleanup_strv_ char **before = read_words(k, how, value, x), **after = read_words(k, how, resolved, x);
    return same(before, after) ? TAKE_PTR(resolved) : xstrdup(value);
}
