/* See complete.h. */
#include "tools/complete.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "policies/names.h"
#include "tools/client.h"
#include "tools/names.h"
#include "tools/view.h"

#define RUN_DIR "/run/bulkhead"

enum { PATIENCE_SEC = 2 }; /* a daemon that does not answer by then has no names for somebody who is typing */

bool complete_what(const char *name, CompleteWhat *ret)
{
    static const struct {
        const char *name;
        CompleteWhat what;
    } known[] = {
        {"MODULE", COMPLETE_MODULES},  {"TEMPLATE", COMPLETE_TEMPLATES}, {"NAME", COMPLETE_INSTANCES},
        {"DIR", COMPLETE_DIRECTORIES}, {"SIGNAL", COMPLETE_SIGNALS},     {"FILE", COMPLETE_FILES},
        {"TIME", COMPLETE_NOTHING},    {"N", COMPLETE_NOTHING},          {"USER", COMPLETE_NOTHING},
        {"WHEN", COMPLETE_NOTHING},    {"EXPRESSION", COMPLETE_NOTHING}, {"KEY", COMPLETE_COLUMNS},
    };
    for (size_t i = 0; i < ELEMENTS(known); i++)
        if (str_equal(known[i].name, name)) {
            *ret = known[i].what;
            return true;
        }
    return false;
}

bool complete_is_harmless(const char *s)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@%+-._:";
    return *s && *s != ':' && s[strspn(s, allowed)] == '\0';
}

/* --- what is asked for -------------------------------------------------------------------------------------------- */
/* By the capitals in "[MODULE...]" or "DIR". */
static CompleteWhat what_is(const char *argument)
{
    size_t skip = strcspn(argument, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    _cleanup_(freep) char *name = xstrndup(argument + skip, strspn(argument + skip, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"));
    CompleteWhat what = COMPLETE_NOTHING;
    (void)complete_what(name, &what);
    return what;
}

typedef struct Scan {
    Completion *c;
    char **names;
    OptionId pending; /* whose value the next word is */
    bool only_words;  /* after -- */
    bool lost;        /* a verb that does not exist */
} Scan;

static void take_value(Scan *s, OptionId id, const char *value)
{
    if (id == OPTION_INSTANCE)
        s->c->instance = value;
    s->pending = OPTION_N;
}

/* An option; *ret_value is what is stuck to it, or NULL. False: there is no such option. */
static bool take_option(Scan *s, const char *word, const char **ret_value)
{
    *ret_value = NULL;
    if (word[1] == '-') {
        size_t n = strcspn(word + 2, "=");
        OptionId id = option_by_name(word + 2, n);
        if (id == OPTION_N)
            return false;
        s->c->given |= OPTION_BIT(id);
        s->pending = options[id].argument ? id : OPTION_N;
        *ret_value = word[2 + n] ? word + 2 + n + 1 : NULL;
        return true;
    }
    for (const char *p = word + 1; *p; p++) {
        OptionId id = option_by_letter(*p, s->c->verb);
        if (id == OPTION_N)
            return false;
        s->c->given |= OPTION_BIT(id);
        if (!options[id].argument)
            continue;
        s->pending = id;
        *ret_value = p[1] ? p + 1 : NULL;
        break;
    }
    return true;
}

static void take_word(Scan *s, char *word)
{
    const char *value = NULL;
    if (s->pending < OPTION_N) {
        if (!str_equal(word, "=")) /* bash makes a word of it */
            take_value(s, s->pending, word);
    } else if (!s->only_words && str_equal(word, "--")) {
        s->only_words = true;
    } else if (!s->only_words && word[0] == '-' && word[1]) {
        if (take_option(s, word, &value) && value)
            take_value(s, s->pending, value);
    } else if (s->c->verb || s->lost) {
        strv_add(&s->names, word);
    } else {
        s->c->verb = verb_by_name(word);
        s->lost = !s->c->verb;
    }
}

/* The word at the cursor is an option, or one with its value. */
static void find_option(Scan *s)
{
    Completion *c = s->c;
    Completion before = *c;
    const char *value = NULL;
    bool known = c->word[1] && take_option(s, c->word, &value);
    if (known && value && s->pending < OPTION_N) {
        c->what = what_is(options[s->pending].argument);
        c->keep = (size_t)(value - c->word);
    } else {
        c->given = before.given; /* it is being written: not given yet */
        c->what = c->word[1] == '-' || !c->word[1] ? COMPLETE_OPTIONS : COMPLETE_NOTHING;
    }
}

void completion_find(char *const *words, size_t n, const char *environment_instance, Completion *ret)
{
    *ret = (Completion){.instance = str_or(environment_instance, "default"), .word = n > 0 ? words[n - 1] : ""};
    Scan s = {.c = ret, .pending = OPTION_N};
    for (size_t i = 0; i + 1 < n; i++)
        take_word(&s, words[i]);
    ret->names = s.names;
    if (str_equal(ret->word, "=")) /* bash again: the value behind it has not begun */
        ret->word = "";
    if (s.pending < OPTION_N) {
        ret->what = what_is(options[s.pending].argument);
    } else if (!s.only_words && ret->word[0] == '-') {
        find_option(&s);
    } else if (!ret->verb) {
        ret->what = s.lost ? COMPLETE_NOTHING : COMPLETE_VERBS;
    } else if (verb_takes_command(ret->verb)) {
        ret->what = s.only_words ? COMPLETE_FILES : COMPLETE_NOTHING; /* a name that is new */
    } else if (strv_length(ret->names) < ret->verb->max_words) {
        ret->what = what_is(ret->verb->words);
    }
}

void completion_done(Completion *c)
{
    c->names = strv_free(c->names);
}

/* --- what there is ------------------------------------------------------------------------------------------------ */
/* Prints the candidate if it goes on from what is written. */
static void offer(const Completion *c, const char *candidate, const char *doc)
{
    if (!complete_is_harmless(candidate) || !str_starts(candidate, c->word + c->keep))
        return;
    printf("%.*s%s\t%s\n", (int)c->keep, c->word, candidate, doc);
}

static void offer_options(const Completion *c)
{
    for (OptionId id = 0; id < OPTION_N; id++) {
        if ((c->given & OPTION_BIT(id)) || (c->verb && !verb_takes(c->verb, id)))
            continue;
        _cleanup_(freep) char *word = xasprintf("--%s", options[id].name);
        offer(c, word, options[id].doc);
    }
}

static void offer_templates(const Completion *c, const json_t *all)
{
    const json_t *templates = json_object_get(all, "templates");
    for (size_t i = 0; !c->names && i < json_array_size(templates); i++) {
        const json_t *t = json_array_get(templates, i);
        _cleanup_(freep) char *doc = xasprintf("%llu now", (unsigned long long)member_number(t, "instances"));
        offer(c, str_or(member_string(t, "name"), ""), doc);
    }
}

static void offer_modules(const Completion *c)
{
    if (!instance_name_valid(c->instance))
        return;
    Args a = {.instance = c->instance, .timeout = USEC_INFINITY};
    _cleanup_client_ Client client = {0};
    _cleanup_strv_ char **names = NULL, **states = NULL, **shorthands = NULL;
    _cleanup_json_ json_t *all = NULL;
    if (client_open(&a, &client) != TOOL_DONE || client_call_json(&client, "GetNames", NULL, &all) != TOOL_DONE)
        return;
    if (c->what == COMPLETE_TEMPLATES) {
        offer_templates(c, all);
        return;
    }
    if (client_modules(&client, &names, &states) != TOOL_DONE)
        return;
    for (size_t i = 0; i < strv_length(names); i++)
        if (!strv_contains(c->names, names[i]))
            offer(c, names[i], complete_is_harmless(states[i]) ? states[i] : "");
    shorthands = names_shorthands(all);
    STRV_FOREACH (s, shorthands)
        if (!strv_contains(c->names, *s))
            offer(c, *s, strchr(*s, ':') ? "a group" : "all its instances");
}

static void offer_instances(const Completion *c)
{
    DIR *d = opendir(RUN_DIR);
    for (struct dirent *e; d && (e = readdir(d));) {
        _cleanup_(freep) char *bus = xasprintf("%s/%s/bus", RUN_DIR, e->d_name);
        if (instance_name_valid(e->d_name) && access(bus, F_OK) == 0)
            offer(c, e->d_name, "a daemon's instance");
    }
    if (d)
        closedir(d);
}

static void offer_signals(const Completion *c)
{
    for (int i = 1; i < SIGRTMIN; i++)
        if (sigabbrev_np(i))
            offer(c, sigabbrev_np(i), sigdescr_np(i));
}

static void offer_columns(const Completion *c)
{
    for (TopColumn i = 0; i < TOP_COLUMN_N; i++)
        if (top_columns[i].name)
            offer(c, top_columns[i].name, top_columns[i].doc);
}

static void offer_all(const Completion *c)
{
    switch (c->what) {
    case COMPLETE_NOTHING:
        break;
    case COMPLETE_VERBS:
        for (size_t i = 0; i < verbs_n; i++)
            offer(c, verbs[i].name, verbs[i].summary);
        break;
    case COMPLETE_OPTIONS:
        offer_options(c);
        break;
    case COMPLETE_MODULES:
    case COMPLETE_TEMPLATES:
        offer_modules(c);
        break;
    case COMPLETE_INSTANCES:
        offer_instances(c);
        break;
    case COMPLETE_SIGNALS:
        offer_signals(c);
        break;
    case COMPLETE_COLUMNS:
        offer_columns(c);
        break;
    case COMPLETE_DIRECTORIES:
        puts(":directories");
        break;
    case COMPLETE_FILES:
        puts(":files");
        break;
    }
}

static void on_alarm(int sig)
{
    (void)sig;
    _exit(0);
}

int complete(char *const *words, size_t n)
{
    /* Nothing may disturb a line that is being written: no word of complaint, no daemon that keeps it waiting. */
    _cleanup_fd_ int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0)
        (void)dup2(null, STDERR_FILENO);
    const struct itimerval patience = {.it_value = {.tv_sec = PATIENCE_SEC}};
    signal(SIGALRM, on_alarm);
    (void)setitimer(ITIMER_REAL, &patience, NULL);

    Completion c;
    completion_find(words, n, getenv("BULKHEAD_INSTANCE"), &c);
    offer_all(&c);
    completion_done(&c);
    fflush(stdout);
    return 0;
}
