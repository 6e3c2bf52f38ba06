/* See commands.h. */
#include "policies/commands.h"

#include <errno.h>

#include "base/str.h"
#include "policies/words.h"

void commands_done(Commands *c)
{
    for (size_t i = 0; i < c->n; i++)
        strv_free(c->items[i].argv);
    free(c->items);
    *c = (Commands){0};
}

/* The command of the n words from `words` on, which may be none. */
static int take_command(char **words, size_t n, Commands *c, Error *e)
{
    if (n == 0)
        return error_set(e, -EINVAL,
                         "an empty command beside a ; (remove the ;, or write \\; for the character itself)");
    bool may_fail = words[0][0] == '-';
    const char *path = words[0] + may_fail;
    if (path[0] != '/') {
        _cleanup_(freep) char *shown = value_shown(words[0]);
        return error_set(e, -EINVAL,
                         "'%s' is no absolute path (/usr/bin/program arguments; no shell, no PATH; '-' before it: it "
                         "may fail)",
                         shown);
    }
    Command *command = &ARRAY_PUSH(c->items, c->n);
    command->may_fail = may_fail;
    strv_add(&command->argv, path);
    for (size_t i = 1; i < n; i++)
        strv_add(&command->argv, words[i]);
    return 0;
}

/* Expands every word in place. */
static int expand(const Key *k, char **words, const ValueContext *x, Error *e)
{
    /* Its value stands for itself until there is a process; before what the module's own environment may hold. */
    _cleanup_strv_ char **with_main = NULL;
    if (k->main_pid) {
        strv_add(&with_main, "MAINPID=" COMMAND_MAIN_PID);
        STRV_FOREACH (v, x->environment)
            strv_add(&with_main, *v);
    }
    for (char **w = words; w && *w; w++) {
        char *expanded;
        int r = words_expand(*w, x->module, k->variables, with_main ? with_main : x->environment, &expanded, e);
        if (r < 0)
            return r;
        free(*w);
        *w = expanded;
    }
    return 0;
}

int commands_parse(const Key *k, const char *value, const ValueContext *x, Commands *ret, Error *e)
{
    _cleanup_strv_ char **words = NULL;
    _cleanup_(freep) size_t *ends = NULL;
    _cleanup_(commands_done) Commands c = {0};
    size_t n_ends = 0, begin = 0;
    int r = words_split_commands(value, &words, &ends, &n_ends, e);
    if (r == 0)
        r = expand(k, words, x, e);
    for (size_t i = 0; r == 0 && i <= n_ends; i++) {
        size_t end = i < n_ends ? ends[i] : strv_length(words);
        r = take_command(words + begin, end - begin, &c, e);
        begin = end;
    }
    if (r < 0)
        return r;
    *ret = c;
    c = (Commands){0};
    return 0;
}
