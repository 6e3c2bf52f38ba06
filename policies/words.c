/* See words.h. */
#include "policies/words.h"

#include <errno.h>

#include "base/str.h"
#include "policies/names.h"

typedef struct Splitter {
    const char *s;
    WordsMode mode;
    char **words;
    StrBuf word;
    bool begun;  /* the word has begun, if only by an empty pair of quotes */
    size_t keep; /* length up to which the word may not be trimmed */
    unsigned depth;
    bool literal; /* quotes or a backslash made a part of the word */
    bool parted;  /* a lone ; parts commands */
    size_t *ends; /* of commands: how many words stood before each ; */
    size_t n_ends;
} Splitter;

static void take(Splitter *p, char c)
{
    strbuf_addc(&p->word, c);
    p->begun = true;
    p->keep = p->word.len;
}

/* At a quote: takes all up to its partner. */
static int quoted(Splitter *p, Error *e)
{
    char quote = *p->s++;
    p->begun = p->literal = true;
    for (; *p->s && *p->s != quote; p->s++) {
        if (quote == '"' && p->s[0] == '\\' && (p->s[1] == '"' || p->s[1] == '\\'))
            p->s++;
        take(p, *p->s);
    }
    if (!*p->s)
        return error_set(e, -EINVAL, "a %c is not closed (write \\%c for the character itself)", quote, quote);
    p->s++;
    p->keep = p->word.len;
    return 0;
}

static int end_word(Splitter *p, Error *e)
{
    if (!p->begun) {
        if (p->mode == WORDS_BLANKS)
            return 0;
        return error_set(e, -EINVAL, "an empty item in the list (remove the comma, or write \"\")");
    }
    if (p->word.len > p->keep) {
        p->word.len = p->keep;
        p->word.s[p->keep] = '\0';
    }
    if (p->parted && !p->literal && str_equal(p->word.s, ";")) {
        ARRAY_PUSH(p->ends, p->n_ends) = strv_length(p->words);
        strbuf_done(&p->word);
    } else {
        strv_push(&p->words, strbuf_take(&p->word));
    }
    p->begun = p->literal = false;
    p->keep = 0;
    return 0;
}

static int step(Splitter *p, Error *e)
{
    char c = *p->s;
    if (c == '\'' || c == '"')
        return quoted(p, e);
    if (c == '\\') {
        if (!p->s[1])
            return error_set(e, -EINVAL, "a backslash at the end (write \\\\ for the character itself)");
        take(p, p->s[1]);
        p->literal = true;
        p->s += 2;
        return 0;
    }
    p->s++;
    if (c == ' ' || c == '\t') {
        if (p->mode == WORDS_BLANKS)
            return end_word(p, e);
        if (p->begun)
            strbuf_addc(&p->word, c); /* kept only if more of the item follows */
        return 0;
    }
    if (p->mode == WORDS_RULES) {
        p->depth += c == '(';
        p->depth -= c == ')' && p->depth > 0;
    }
    if (c == ',' && p->mode != WORDS_BLANKS && p->depth == 0)
        return end_word(p, e);
    take(p, c);
    return 0;
}

static int split(Splitter *p, Error *e)
{
    bool any = *p->s != '\0';
    int r = 0;
    while (r == 0 && *p->s)
        r = step(p, e);
    if (r == 0 && any)
        r = end_word(p, e);
    strbuf_done(&p->word);
    if (r < 0) {
        strv_free(p->words);
        free(p->ends);
    }
    return r;
}

int words_split(const char *s, WordsMode mode, char ***ret, Error *e)
{
    Splitter p = {.s = s, .mode = mode};
    int r = split(&p, e);
    if (r == 0)
        *ret = p.words;
    return r;
}

int words_split_commands(const char *s, char ***ret, size_t **ret_ends, size_t *ret_n, Error *e)
{
    Splitter p = {.s = s, .mode = WORDS_BLANKS, .parted = true};
    int r = split(&p, e);
    if (r < 0)
        return r;
    *ret = p.words;
    *ret_ends = p.ends;
    *ret_n = p.n_ends;
    return 0;
}

size_t words_variable_name(const char *s)
{
    size_t n = 0;
    while ((s[n] >= 'a' && s[n] <= 'z') || (s[n] >= 'A' && s[n] <= 'Z') || s[n] == '_' ||
           (n > 0 && s[n] >= '0' && s[n] <= '9'))
        n++;
    return n;
}

const char *words_variable(char *const *environment, const char *name, size_t n)
{
    STRV_FOREACH (v, environment)
        if (strncmp(*v, name, n) == 0 && (*v)[n] == '=')
            return *v + n + 1;
    return NULL;
}

/* At a '%': appends what it stands for; returns how many bytes it took, or -EINVAL. */
static int expand_percent(const char *s, const char *module, StrBuf *out, Error *e)
{
    if (s[1] == '%')
        strbuf_addc(out, '%');
    else if (s[1] == 'n')
        strbuf_adds(out, module ? module : "n");
    else if (s[1] == 'i' && module && module_instance(module) == 0)
        return error_set(e, -EINVAL, "%%i is the number of an instance, and there are none (set instances = N)");
    else if (s[1] == 'i')
        strbuf_adds(out, module ? module + module_stem(module) + 1 : "1");
    else {
        size_t n = s[1] ? utf8_length(s + 1, strlen(s + 1)) : 0;
        return error_set(e, -EINVAL,
                         "'%.*s' stands for nothing (%%n is the module's name, %%i its instance number, %%%% a percent "
                         "sign)",
                         (int)n + 1, s);
    }
    return 2;
}

static int expand_dollar(const char *s, const char *module, char *const *environment, StrBuf *out, Error *e)
{
    if (s[1] == '$') {
        strbuf_addc(out, '$');
        return 2;
    }
    size_t n = s[1] == '{' ? words_variable_name(s + 2) : 0;
    if (n == 0 || s[2 + n] != '}')
        return error_set(e, -EINVAL, "a '$' that begins no ${NAME} (write $$ for the character itself)");
    const char *value = module ? words_variable(environment, s + 2, n) : "/";
    if (!value)
        return error_set(e, -EINVAL,
                         "${%.*s} is not set (give %.*s=... in module.environment or module.environment_file)",
                         (int)MIN2(n, (size_t)64), s + 2, (int)MIN2(n, (size_t)64), s + 2);
    strbuf_adds(out, value);
    return (int)n + 3;
}

char *words_label(const char *s, const char *module)
{
    _cleanup_strbuf_ StrBuf out = STRBUF_NULL;
    while (*s) {
        int took = *s == '%' ? expand_percent(s, module, &out, NULL) : -EINVAL;
        if (took < 0)
            strbuf_addc(&out, *s);
        s += MAX2(took, 1);
    }
    return strbuf_take(&out);
}

int words_expand(const char *s, const char *module, bool variables, char *const *environment, char **ret, Error *e)
{
    _cleanup_strbuf_ StrBuf out = STRBUF_NULL;
    while (*s) {
        int took = 1;
        if (*s == '%')
            took = expand_percent(s, module, &out, e);
        else if (variables && *s == '$')
            took = expand_dollar(s, module, environment, &out, e);
        else
            strbuf_addc(&out, *s);
        if (took < 0)
            return took;
        s += took;
    }
    *ret = strbuf_take(&out);
    return 0;
}
