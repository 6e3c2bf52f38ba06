/* See cmdline.h. */
#include "tools/cmdline.h"

#include <stdlib.h>

#include "base/str.h"

size_t cmdline_find(const Cmdline *l, const char *word)
{
    size_t n = strlen(word);
    for (size_t k = 1; l->argv[k]; k++)
        if (strncmp(l->argv[k], word, n) == 0 && (l->argv[k][n] == '\0' || l->argv[k][n] == '='))
            return k;
    return 0;
}

const char *cmdline_value(const Cmdline *l, const char *option)
{
    size_t k = cmdline_find(l, option), n = strlen(option);
    if (k == 0)
        return NULL;
    return l->argv[k][n] == '=' ? l->argv[k] + n + 1 : l->argv[k + 1];
}

static void note(Cmdline *l, const char *why)
{
    if (!strv_contains(l->notes, why))
        strv_add(&l->notes, why);
}

void cmdline_drop(Cmdline *l, const char *word, const char *why)
{
    for (size_t k = 1; l->argv[k];) {
        if (!str_equal(l->argv[k], word)) {
            k++;
            continue;
        }
        free(l->argv[k]);
        for (size_t at = k; l->argv[at]; at++)
            l->argv[at] = l->argv[at + 1];
        note(l, why);
    }
}

void cmdline_add(Cmdline *l, const char *const *words, const char *why)
{
    for (; *words; words++)
        strv_add(&l->argv, *words);
    note(l, why);
}

void cmdline_set(Cmdline *l, const char *option, const char *value, const char *why)
{
    const char *now = cmdline_value(l, option);
    size_t k = cmdline_find(l, option);
    if (str_equal(now, value))
        return;
    if (k == 0 || !now) {
        cmdline_add(l, (const char *const[]){option, value, NULL}, why);
        return;
    }
    bool stuck = now != l->argv[k + 1];
    char **cell = &l->argv[stuck ? k : k + 1];
    free(*cell);
    *cell = stuck ? xasprintf("%s=%s", option, value) : xstrdup(value);
    note(l, why);
}

unsigned cmdline_port(const Cmdline *l)
{
    static const char *const names[] = {"--port", "-p", "--bind", "-b", "--listen", "-l"};
    for (size_t k = 0; k < ELEMENTS(names); k++) {
        const char *value = cmdline_value(l, names[k]), *colon = value ? strrchr(value, ':') : NULL;
        uint64_t port;
        if (value && parse_u64(colon ? colon + 1 : value, &port) == 0 && port > 0 && port < 65536)
            return (unsigned)port;
    }
    return 0;
}

void cmdline_done(Cmdline *l)
{
    strv_free(l->argv);
    strv_free(l->notes);
    *l = (Cmdline){0};
}
