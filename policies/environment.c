/* See environment.h; environment_read() is load.h's.
 *
 * The value is taken as it stands, blanks around it dropped; in '…' it is literal, in "…" \" and \\ are known. Nothing
 * is expanded and no shell is asked, so `export` and $(…) are refused or plain text. A name given twice: the last wins,
 * as in every reader of such files. */
#include "policies/environment.h"

#include <errno.h>

#include "base/str.h"
#include "policies/load.h"
#include "policies/reader.h"
#include "policies/words.h"

static void set_variable(char ***env, const char *variable)
{
    size_t n = words_variable_name(variable);
    for (char **v = *env; v && *v; v++) {
        if (strncmp(*v, variable, n + 1) != 0)
            continue;
        free(*v);
        *v = xstrdup(variable);
        return;
    }
    strv_add(env, variable);
}

/* The text between the quotes it begins with; what follows the closing one must be blank. */
static int unquote(const char *s, char **ret)
{
    char quote = *s++;
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    for (; *s && *s != quote; s++) {
        if (quote == '"' && s[0] == '\\' && (s[1] == '"' || s[1] == '\\'))
            s++;
        strbuf_addc(&b, *s);
    }
    if (!*s || s[1 + strspn(s + 1, " \t")])
        return -EINVAL;
    *ret = strbuf_take(&b);
    return 0;
}

/* What is wrong with the line, or NULL. */
static const char *parse_line(const char *s, char ***env)
{
    size_t n = words_variable_name(s);
    if (strncmp(s, "export ", 7) == 0)
        return "no shell reads this file (NAME=value without export)";
    if (n == 0 || s[n] != '=')
        return "no NAME=value (NAME=value, # comment)";
    const char *value = s + n + 1;
    value += strspn(value, " \t");
    _cleanup_(freep) char *plain = NULL;
    if (*value == '\'' || *value == '"') {
        if (unquote(value, &plain) < 0)
            return "the quotes do not close at the end of the line (NAME=\"value\")";
        value = plain;
    }
    _cleanup_(freep) char *variable = xasprintf("%.*s=%s", (int)n, s, value);
    set_variable(env, variable);
    return NULL;
}

int environment_parse(const char *text, size_t size, const char *shown, char ***ret, Complaints *complaints)
{
    _cleanup_strv_ char **env = NULL;
    size_t before = complaints->n;
    const char *end = text + size;
    unsigned number = 0;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t n = newline ? (size_t)(newline - text) : (size_t)(end - text);
        number++;
        while (n > 0 && strchr(" \t\r", text[n - 1]) && text[n - 1])
            n--;
        const char *begin = text;
        while (n > 0 && (*begin == ' ' || *begin == '\t')) {
            begin++;
            n--;
        }
        _cleanup_(freep) char *line = xstrndup(begin, n);
        const char *wrong = strlen(line) != n       ? "NUL byte in the line (remove it)"
                            : *line && *line != '#' ? parse_line(line, &env)
                                                    : NULL;
        if (wrong)
            complaints_add(complaints, shown, number, NULL, "%s", wrong);
        text = newline ? newline + 1 : end;
    }
    if (complaints->n > before)
        return -EINVAL;
    *ret = TAKE_PTR(env);
    return 0;
}

int environment_read(const Loading *l, const Key *k, const Raw *raw, const char *written, char ***ret)
{
    bool optional = written[0] == '-';
    const char *path = written + optional;
    _cleanup_(freep) char *shown = path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", l->dir, path);
    _cleanup_(freep) char *text = NULL;
    size_t size;
    int r = reader_slurp(l->dirfd, path, shown, &text, &size, l->complaints);
    if (r == -ENOENT && optional) {
        *ret = NULL;
        return 0;
    }
    if (r == -ENOENT)
        loading_complain(l, k, raw, "'%s' does not exist (write '-' before it if it may be missing)", path);
    if (r < 0)
        return -EINVAL;
    return environment_parse(text, size, shown, ret, l->complaints);
}

char **environment_merge(char *const *file, char *const *own)
{
    char **env = strv_copy(file);
    STRV_FOREACH (v, own)
        set_variable(&env, *v);
    return env;
}
