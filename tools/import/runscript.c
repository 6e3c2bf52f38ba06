/* See runscript.h. */
#include "tools/import/runscript.h"

#include <ctype.h>

#include "policies/words.h"

void runscript_done(RunScript *r)
{
    strv_free(r->argv);
    strv_free(r->environment);
    strv_free(r->limits);
    free(r->user);
    free(r->dir);
    free(r->envdir);
    free(r->nice);
    *r = (RunScript){0};
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void replace(char **field, const char *value)
{
    free(*field);
    *field = xstrdup(value);
}

/* -x N of softlimit and chpst. */
static const char *limit_key(char letter)
{
    static const char *const of[] = {"alimits.as",       "dlimits.data",  "olimits.nofile",
                                     "plimits.nproc",    "flimits.fsize", "climits.core",
                                     "tlimits.cpu_time", "slimits.stack", "llimits.memlock"};
    for (size_t i = 0; i < ELEMENTS(of); i++)
        if (of[i][0] == letter)
            return of[i] + 1;
    return NULL;
}

static void add_limit(RunScript *r, char letter, const char *value)
{
    const char *key = limit_key(letter);
    bool bytes = key && strchr("adfcsl", letter);
    strv_add(&r->limits, key);
    strv_push(&r->limits, xasprintf("%s%s", value, bytes ? "B" : letter == 't' ? "s" : ""));
}

/* chpst's options; returns how many words, 0: there is one that has no counterpart. */
static size_t take_chpst(RunScript *r, char *const *v)
{
    size_t at = 1;
    for (; v[at] && v[at][0] == '-' && v[at][1]; at++) {
        char letter = v[at][1];
        if (strcmp(v[at], "--") == 0)
            return at + 1;
        if (strchr("vP012", letter))
            continue;
        const char *value = v[at][2] ? v[at] + 2 : v[++at];
        if (!value)
            return 0;
        if (letter == 'u')
            replace(&r->user, value[0] == ':' ? value + 1 : value);
        else if (letter == 'e')
            replace(&r->envdir, value);
        else if (letter == 'C')
            replace(&r->dir, value);
        else if (letter == 'n')
            replace(&r->nice, value);
        else if (strchr("dopfct", letter))
            add_limit(r, letter, value);
        else if (letter == 'm')
            for (const char *l = "dsa"; *l; l++)
                add_limit(r, *l, value);
        else
            return 0;
    }
    return at;
}

static size_t take_softlimit(RunScript *r, char *const *v)
{
    size_t at = 1;
    for (; v[at] && v[at][0] == '-'; at++) {
        char letter = v[at][1];
        const char *value = letter && v[at][2] ? v[at] + 2 : v[++at];
        if (!value || !limit_key(letter) || value[strspn(value, "0123456789")])
            return 0;
        add_limit(r, letter, value);
    }
    return at;
}

/* One program of the chain; returns how many words it is, 0: not one that is known. */
static size_t take_link(RunScript *r, char *const *v)
{
    const char *p = base_name(v[0]);
    size_t n = strv_length(v);
    if (strcmp(p, "exec") == 0)
        return 1;
    if (strcmp(p, "chpst") == 0)
        return take_chpst(r, v);
    if (strcmp(p, "softlimit") == 0 || strcmp(p, "s6-softlimit") == 0)
        return take_softlimit(r, v);
    if (strcmp(p, "fdmove") == 0 && n > 4 && strcmp(v[1], "-c") == 0 && strcmp(v[2], "2") == 0 &&
        strcmp(v[3], "1") == 0)
        return 4;
    if ((strcmp(p, "setuidgid") == 0 || strcmp(p, "s6-setuidgid") == 0) && n > 2 && v[1][0] != '-') {
        replace(&r->user, v[1]);
        return 2;
    }
    if ((strcmp(p, "envdir") == 0 || strcmp(p, "s6-envdir") == 0) && n > 2 && v[1][0] != '-') {
        replace(&r->envdir, v[1]);
        return 2;
    }
    if ((strcmp(p, "cd") == 0 || strcmp(p, "s6-cd") == 0) && n > 2) {
        replace(&r->dir, v[1]);
        return 2;
    }
    if (strcmp(p, "nice") == 0 && n > 3 && strcmp(v[1], "-n") == 0) {
        replace(&r->nice, v[2]);
        return 3;
    }
    if ((strcmp(p, "export") == 0 || strcmp(p, "s6-export") == 0) && n > 3) {
        strv_push(&r->environment, xasprintf("%s=%s", v[1], v[2]));
        return 3;
    }
    if (strcmp(p, "env") == 0 && n > 2) {
        size_t at = 1;
        for (; v[at] && v[at][words_variable_name(v[at])] == '=' && words_variable_name(v[at]) > 0; at++)
            strv_add(&r->environment, v[at]);
        return at > 1 && v[at] && v[at][0] != '-' ? at : 0;
    }
    return 0;
}

static bool is_link(const char *program)
{
    static const char *const links[] = {"exec",      "chpst",        "softlimit", "s6-softlimit", "fdmove",
                                        "setuidgid", "s6-setuidgid", "envdir",    "s6-envdir",    "cd",
                                        "s6-cd",     "nice",         "export",    "s6-export",    "env"};
    for (size_t i = 0; i < ELEMENTS(links); i++)
        if (strcmp(base_name(program), links[i]) == 0)
            return true;
    return false;
}

/* Links that are not understood, and what does something that nobody else does. */
static bool is_foreign(const char *program)
{
    static const char *const others[] = {
        "if",       "ifelse",  "foreground", "background",      "backtick", "importas",   "redirfd", "fdmove",
        "emptyenv", "umask",   "unexport",   "multisubstitute", "trap",     "loopwhilex", "forx",    "pipeline",
        "piperw",   "setlock", "setsid",     "pgrphack",        "sudo",     "su"};
    const char *p = base_name(program);
    for (size_t i = 0; i < ELEMENTS(others); i++)
        if (strcmp(p, others[i]) == 0)
            return true;
    return strncmp(p, "s6-", 3) == 0 || strncmp(p, "exec", 4) == 0;
}

static const char *take_chain(RunScript *r, char *const *v)
{
    while (*v && is_link(*v)) {
        size_t n = take_link(r, v);
        if (n == 0 || n > strv_length(v))
            return "a program of its chain has options without a counterpart";
        v += n;
    }
    if (!*v)
        return "it ends without a program";
    if (is_foreign(*v))
        return "a program of its chain has no counterpart";
    r->argv = strv_copy(v);
    return NULL;
}

/* Takes "2>&1" off the end. */
static void without_redirection(char *line)
{
    char *at = strstr(line, "2>&1");
    if (at && at[4 + strspn(at + 4, " \t")] == '\0')
        *at = '\0';
}

/* A line of a shell script. *ret_done: it was the last, exec of the program. */
static const char *take_shell_line(RunScript *r, char *line, bool *ret_done)
{
    _cleanup_strv_ char **words = NULL;
    without_redirection(line);
    if (strpbrk(line, "$`|;&<>()*?[]~{}#!"))
        return "it has more than plain commands: variables, tests, patterns";
    if (words_split(line, WORDS_BLANKS, &words, NULL) < 0)
        return "its quotes are not closed";
    if (!words || strcmp(words[0], "set") == 0)
        return NULL;
    if (strcmp(words[0], "cd") == 0 && words[1] && !words[2]) {
        replace(&r->dir, words[1]);
        return NULL;
    }
    size_t first = strcmp(words[0], "export") == 0, n = 0;
    for (char **w = words + first; *w && (n = words_variable_name(*w)) > 0 && (*w)[n] == '='; w++)
        if (!w[1]) {
            STRV_FOREACH (v, words + first)
                strv_add(&r->environment, *v);
            return NULL;
        }
    if (strcmp(words[0], "exec") != 0)
        return "it runs more than the one program";
    if (!words[1])
        return NULL; /* exec 2>&1 */
    *ret_done = true;
    return take_chain(r, words + 1);
}

static const char *read_shell(RunScript *r, const char *text)
{
    bool done = false;
    const char *why = NULL;
    _cleanup_strbuf_ StrBuf line = STRBUF_NULL;
    for (const char *p = text; *p && !why;) {
        size_t n = strcspn(p, "\n"), blank = strspn(p, " \t");
        bool goes_on = n > 0 && p[n - 1] == '\\', comment = line.len == 0 && (p[blank] == '#' || blank >= n);
        if (!comment)
            strbuf_add(&line, p + blank, n - blank - goes_on);
        if (!comment && !goes_on) {
            if (done)
                return "it goes on after its exec";
            why = take_shell_line(r, line.s, &done);
            strbuf_done(&line);
        }
        p += n + (p[n] == '\n');
    }
    return why ? why : done ? NULL : "it ends without exec of a program";
}

static const char *read_execline(RunScript *r, const char *text)
{
    _cleanup_strbuf_ StrBuf all = STRBUF_NULL;
    _cleanup_strv_ char **words = NULL;
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n"), blank = strspn(p, " \t");
        if (p[blank] != '#')
            strbuf_addf(&all, "%.*s ", (int)n, p);
        p += n + (p[n] == '\n');
    }
    if (!all.s || strpbrk(all.s, "${}"))
        return "it has more than a plain chain: variables, blocks";
    if (words_split(all.s, WORDS_BLANKS, &words, NULL) < 0 || !words)
        return "its quotes are not closed";
    return take_chain(r, words);
}

static void finish(RunScript *r, const char *why)
{
    if (why)
        runscript_done(r);
    r->plain = why == NULL;
    r->why = why;
}

void runscript_read_execline(const char *text, RunScript *ret)
{
    *ret = (RunScript){0};
    finish(ret, read_execline(ret, text));
}

void runscript_read(const char *text, RunScript *ret)
{
    static const char *const shells[] = {"sh", "bash", "dash", "ash"};
    *ret = (RunScript){0};
    const char *rest = text + strcspn(text, "\n");
    _cleanup_(freep) char *line = str_starts(text, "#!") ? xstrndup(text + 2, (size_t)(rest - text) - 2) : xstrdup("");
    _cleanup_strv_ char **words = NULL;
    (void)words_split(line, WORDS_BLANKS, &words, NULL);
    const char *interpreter = words && words[0] ? base_name(words[0]) : "";
    if (strcmp(interpreter, "env") == 0 && words[1])
        interpreter = words[1];
    const char *why = "it is no script of a shell or of execline";
    for (size_t i = 0; i < ELEMENTS(shells); i++)
        if (strcmp(shells[i], interpreter) == 0)
            why = read_shell(ret, rest);
    if (strcmp(interpreter, "execlineb") == 0)
        why = read_execline(ret, rest);
    finish(ret, why);
}
