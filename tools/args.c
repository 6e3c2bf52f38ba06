/* The command line, parsed by the tables of options and verbs. Pure but for the time of day. */
#include <errno.h>
#include <stdio.h>

#include "base/str.h"
#include "policies/kinds.h"
#include "policies/names.h"
#include "policies/quantities.h"
#include "tools/tool.h"
#include "tools/when.h"

static int find_long(const char *name, size_t length, OptionId *ret, Error *e)
{
    *ret = option_by_name(name, length);
    if (*ret < OPTION_N)
        return 0;
    const char *names[OPTION_N];
    for (size_t i = 0; i < OPTION_N; i++)
        names[i] = options[i].name;
    _cleanup_(freep) char *word = xstrndup(name, length), *shown = str_escape(word, length, 64);
    const char *near = str_nearest(word, names, OPTION_N);
    if (near)
        return error_set(e, -EINVAL, "no option --%s (did you mean --%s?)", shown, near);
    return error_set(e, -EINVAL, "no option --%s", shown);
}

static int find_letter(char letter, const Verb *v, OptionId *ret, Error *e)
{
    *ret = option_by_letter(letter, v);
    if (*ret < OPTION_N)
        return 0;
    _cleanup_(freep) char *shown = str_escape(&letter, 1, 8);
    return error_set(e, -EINVAL, "no option -%s", shown);
}

/* "10s" as in a policy; a bare number is seconds, as other commands have it. */
static int parse_span(OptionId id, const char *s, uint64_t *ret, Error *e)
{
    uint64_t seconds;
    if (parse_u64(s, &seconds) == 0) {
        *ret = seconds > UINT64_MAX / USEC_PER_SEC ? USEC_INFINITY : seconds * USEC_PER_SEC;
        return 0;
    }
    return value_time(s, ret, e) < 0 ? error_prefix(e, "--%s: ", options[id].name) : 0;
}

static int parse_interval(const char *s, uint64_t *ret, Error *e)
{
    int r = parse_span(OPTION_INTERVAL, s, ret, e);
    if (r >= 0 && (*ret < 100 * USEC_PER_MSEC || *ret > 24 * 3600 * USEC_PER_SEC))
        return error_set(e, -EINVAL, "--interval: from 100ms to 1d");
    return r;
}

static int parse_sort(const char *s, TopColumn *ret, Error *e)
{
    *ret = top_column_by_name(s);
    if (*ret < TOP_COLUMN_N)
        return 0;
    _cleanup_(freep) char *shown = value_shown(s), *names = top_column_names();
    return error_set(e, -EINVAL, "--sort: '%s' is no column (%s)", shown, names);
}

/* What an option without a value turns on; NULL: it has one. */
static bool *switch_of(Args *a, OptionId id)
{
    static const size_t at[OPTION_N] = {
        [OPTION_JSON] = offsetof(Args, json),           [OPTION_NO_PAGER] = offsetof(Args, no_pager),
        [OPTION_NO_BLOCK] = offsetof(Args, no_block),   [OPTION_CASCADE] = offsetof(Args, cascade),
        [OPTION_MAIN] = offsetof(Args, main_only),      [OPTION_FOLLOW] = offsetof(Args, follow),
        [OPTION_STDERR] = offsetof(Args, error_stream), [OPTION_VERBOSE] = offsetof(Args, verbose),
        [OPTION_HOST] = offsetof(Args, host),           [OPTION_STDOUT] = offsetof(Args, to_stdout),
        [OPTION_FORCE] = offsetof(Args, force),         [OPTION_ALL] = offsetof(Args, all),
        [OPTION_EXPANDED] = offsetof(Args, expanded),   [OPTION_BATCH] = offsetof(Args, batch),
        [OPTION_UNDO] = offsetof(Args, undo),           [OPTION_HELP] = offsetof(Args, help),
        [OPTION_VERSION] = offsetof(Args, version),
    };
    return at[id] ? (bool *)(void *)((char *)a + at[id]) : NULL;
}

static int take_option(Args *a, OptionId id, const char *value, Error *e)
{
    int r = 0;
    bool *on = switch_of(a, id);
    if (on) {
        *on = true;
        return 0;
    }
    switch (id) {
    case OPTION_INSTANCE:
        if (!instance_name_valid(value)) {
            _cleanup_(freep) char *shown = value_shown(value);
            return error_set(e, -EINVAL, "'%s' is no instance name (a to z, 0 to 9, - and _, at most %d)", shown,
                             INSTANCE_NAME_MAX);
        }
        a->instance = value;
        break;
    case OPTION_CONFIG:
        a->config = value;
        break;
    case OPTION_TIMEOUT:
        r = parse_span(id, value, &a->timeout, e);
        break;
    case OPTION_SIGNAL:
        r = value_signal(value, e);
        if (r < 0)
            return error_prefix(e, "--signal: ");
        a->signal = r;
        return 0;
    case OPTION_LINES:
    case OPTION_ITERATIONS:
        if (parse_u64(value, &a->lines) < 0) {
            _cleanup_(freep) char *shown = value_shown(value);
            return error_set(e, -EINVAL, "--%s: '%s' is no number", options[id].name, shown);
        }
        break;
    case OPTION_SINCE:
    case OPTION_UNTIL:
    case OPTION_BASE_TIME:
        r = when_parse(value, now_realtime(),
                       id == OPTION_SINCE   ? &a->since
                       : id == OPTION_UNTIL ? &a->until
                                            : &a->base_time,
                       e);
        if (r < 0)
            return error_prefix(e, "--%s: ", options[id].name);
        break;
    case OPTION_SVG:
        a->svg = value;
        break;
    case OPTION_USER:
        a->user = value;
        break;
    case OPTION_OUTPUT:
        a->output = value;
        break;
    case OPTION_SORT:
        r = parse_sort(value, &a->sort, e);
        break;
    case OPTION_INTERVAL:
        r = parse_interval(value, &a->interval, e);
        break;
    case OPTION_JSON:
    case OPTION_NO_PAGER:
    case OPTION_NO_BLOCK:
    case OPTION_CASCADE:
    case OPTION_MAIN:
    case OPTION_FOLLOW:
    case OPTION_STDERR:
    case OPTION_VERBOSE:
    case OPTION_HOST:
    case OPTION_STDOUT:
    case OPTION_FORCE:
    case OPTION_ALL:
    case OPTION_EXPANDED:
    case OPTION_BATCH:
    case OPTION_UNDO:
    case OPTION_HELP:
    case OPTION_VERSION:
    case OPTION_N:
        break; /* switches, which have no value */
    }
    return r;
}

typedef struct Parse {
    int argc, at;
    char *const *argv;
    uint64_t given;    /* OPTION_BITs */
    uint64_t lettered; /* of them those given by their letter */
    Args *args;
    Error *e;
} Parse;

/* The option's value: what is stuck to it, or the next word. */
static int with_value(Parse *p, OptionId id, const char *stuck)
{
    const char *value = stuck;
    p->given |= OPTION_BIT(id);
    if (options[id].argument && !value) {
        if (p->at + 1 >= p->argc)
            return error_set(p->e, -EINVAL, "--%s needs a %s", options[id].name, options[id].argument);
        value = p->argv[++p->at];
    }
    if (!options[id].argument && value)
        return error_set(p->e, -EINVAL, "--%s takes no value", options[id].name);
    return take_option(p->args, id, value, p->e);
}

static int parse_long(Parse *p, const char *word)
{
    OptionId id = OPTION_N;
    size_t length = strcspn(word, "=");
    int r = find_long(word, length, &id, p->e);
    return r < 0 ? r : with_value(p, id, word[length] ? word + length + 1 : NULL);
}

/* "-fn5", "-n", "5". */
static int parse_letters(Parse *p, const char *letters)
{
    for (; *letters; letters++) {
        OptionId id = OPTION_N;
        int r = find_letter(*letters, p->args->verb, &id, p->e);
        if (r < 0)
            return r;
        p->lettered |= OPTION_BIT(id);
        if (options[id].argument)
            return with_value(p, id, letters[1] ? letters + 1 : NULL);
        if ((r = with_value(p, id, NULL)) < 0)
            return r;
    }
    return 0;
}

static int take_word(Parse *p, char *word)
{
    Args *a = p->args;
    if (a->verb) {
        a->words = xrealloc(a->words, a->n_words + 1, sizeof *a->words);
        a->words[a->n_words++] = word;
        return 0;
    }
    a->verb = verb_by_name(word);
    if (a->verb)
        return 0;
    _cleanup_(freep) const char **names = new0_array(const char *, verbs_n);
    for (size_t i = 0; i < verbs_n; i++)
        names[i] = verbs[i].name;
    _cleanup_(freep) char *shown = str_escape(word, strlen(word), 64);
    const char *near = str_nearest(word, names, verbs_n);
    if (near)
        return error_set(p->e, -EINVAL, "no verb '%s' (did you mean %s?)", shown, near);
    return error_set(p->e, -EINVAL, "no verb '%s'", shown);
}

/* A letter before the verb may be of another option than was thought. */
static bool meant_another(const Parse *p, OptionId id)
{
    return (p->lettered & OPTION_BIT(id)) && option_by_letter(options[id].letter, p->args->verb) != id;
}

static int check(const Parse *p)
{
    const Args *a = p->args;
    if (a->help || a->version)
        return 0;
    if (!a->verb)
        return error_set(p->e, -EINVAL, "no verb given");
    for (size_t i = 0; i < OPTION_N; i++)
        if ((p->given & OPTION_BIT(i)) && !verb_takes(a->verb, (OptionId)i) && !meant_another(p, (OptionId)i))
            return error_set(p->e, -EINVAL, "--%s does not go with %s", options[i].name, a->verb->name);
    if (verb_takes_command(a->verb) && a->n_named == a->n_words)
        return error_set(p->e, -EINVAL, "%s needs a program after --: bulkhead %s -- nginx -g 'daemon off;'",
                         a->verb->name, a->verb->name);
    if (verb_takes_command(a->verb) && a->n_named > 1) {
        _cleanup_(freep) char *shown = str_escape(a->words[1], strlen(a->words[1]), 64);
        return error_set(p->e, -EINVAL,
                         "unexpected word '%s' before -- (one name at most; the program stands after it)", shown);
    }
    if (a->config && a->n_words > 0 && str_starts(a->verb->words, "[DIR]"))
        return error_set(p->e, -EINVAL, "give the directory once, as a word or by --config");
    if (a->host && (a->config || a->n_words > 0))
        return error_set(p->e, -EINVAL, "--host is about no configuration: leave the directory out");
    if (a->n_words < a->verb->min_words)
        return error_set(p->e, -EINVAL, "%s needs a %s", a->verb->name,
                         str_starts(a->verb->words, "MODULE") ? "MODULE" : a->verb->words);
    if (a->n_words > a->verb->max_words) {
        _cleanup_(freep) char *shown =
            str_escape(a->words[a->verb->max_words], strlen(a->words[a->verb->max_words]), 64);
        return error_set(p->e, -EINVAL, "unexpected word '%s'", shown);
    }
    return 0;
}

int args_parse(int argc, char *const *argv, const char *environment_instance, Args *ret, Error *e)
{
    Args a = {.instance = "default",
              .timeout = USEC_INFINITY,
              .lines = UINT64_MAX,
              .until = UINT64_MAX,
              .base_time = UINT64_MAX,
              .sort = TOP_CPU,
              .interval = USEC_PER_SEC};
    Parse p = {.argc = argc, .argv = argv, .args = &a, .e = e};
    int r = 0;
    if (environment_instance && *environment_instance &&
        (r = take_option(&a, OPTION_INSTANCE, environment_instance, e)) < 0)
        error_prefix(e, "BULKHEAD_INSTANCE: ");
    bool only_words = false;
    for (p.at = 1; r >= 0 && p.at < argc; p.at++) {
        char *word = argv[p.at];
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = true;
            a.n_named = a.n_words;
        } else if (!only_words && str_starts(word, "--"))
            r = parse_long(&p, word + 2);
        else if (!only_words && word[0] == '-' && word[1])
            r = parse_letters(&p, word + 1);
        else
            r = take_word(&p, word);
    }
    if (!only_words || !a.verb || !verb_takes_command(a.verb))
        a.n_named = a.n_words;
    if (r < 0 && !only_words && a.verb && verb_takes_command(a.verb))
        error_suffix(e, "; options of a program stand after --: bulkhead %s -- nginx -g 'daemon off;'", a.verb->name);
    if (r >= 0)
        r = check(&p);
    if (r < 0) {
        args_done(&a);
        return r;
    }
    *ret = a;
    return 0;
}

void args_done(Args *a)
{
    free(a->words);
    a->words = NULL;
    a->n_words = 0;
}
