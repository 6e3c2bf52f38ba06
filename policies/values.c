/* See values.h. parse_field() is the map from a key's kind to its parser; the compiler sees to it
 * that no kind is forgotten (-Wswitch-enum), there and in value_done(). */
#include "policies/values.h"

#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/str.h"
#include "policies/commands.h"
#include "policies/listen.h"
#include "policies/lists.h"
#include "policies/names.h"
#include "policies/nss.h"
#include "policies/policy.h"
#include "policies/quantities.h"
#include "policies/track.h"
#include "policies/words.h"

/* VALUE_TIME, VALUE_SIZE, VALUE_CPU, VALUE_COUNT. */
static int parse_bounded(const Key *k, const char *s, uint64_t *field, Error *e)
{
    uint64_t v;
    int r = k->kind == VALUE_TIME        ? value_time(s, &v, e)
            : k->kind == VALUE_SIZE      ? value_size(s, &v, e)
            : k->kind == VALUE_COUNT     ? value_number(k, s, &v, e)
            : strcmp(s, "infinity") == 0 ? (v = UINT64_MAX, 0)
                                         : value_percent(s, VALUE_CPU, &v, e);
    if (r == 0)
        r = value_bounds(k, s, v, e);
    if (r == 0)
        *field = v;
    return r;
}

static int parse_integer(const Key *k, const char *s, int *field, Error *e)
{
    uint64_t v;
    bool minus = s[0] == '-';
    int64_t max = (int64_t)k->max;
    if (parse_u64(s + minus, &v) < 0 || v > INT32_MAX || (minus ? -(int64_t)v < k->min : (int64_t)v > max)) {
        _cleanup_(freep) char *shown = value_shown(s);
        return error_set(e, -EINVAL, "'%s' is no number from %" PRId64 " to %" PRId64, shown, k->min, max);
    }
    *field = minus ? -(int)v : (int)v;
    return 0;
}

static int parse_choice(const Key *k, const char *s, Error *e)
{
    for (size_t i = (size_t)k->min; i < k->n_names; i++)
        if (strcmp(s, k->names[i]) == 0)
            return (int)i;
    _cleanup_strbuf_ StrBuf all = STRBUF_NULL;
    for (size_t i = (size_t)k->min; i < k->n_names; i++)
        strbuf_addf(&all, "%s%s", all.len ? ", " : "", k->names[i]);
    _cleanup_(freep) char *shown = value_shown(s);
    return error_set(e, -EINVAL, "'%s' is unknown (%s)", shown, all.s);
}

static int parse_yes_no(const char *s, bool *field, Error *e)
{
    if (strcmp(s, "yes") != 0 && strcmp(s, "no") != 0) {
        _cleanup_(freep) char *shown = value_shown(s);
        return error_set(e, -EINVAL, "'%s' is neither yes nor no (yes, no)", shown);
    }
    *field = s[0] == 'y';
    return 0;
}

static int parse_path(const Key *k, const char *s, const ValueContext *x, char **field, Error *e)
{
    _cleanup_(freep) char *path = NULL;
    int r = words_expand(s, x->module, k->variables, x->environment, &path, e);
    if (r < 0)
        return r;
    if (path[0] != '/')
        return value_wrong(path, e, "absolute path", k->example);
    *field = TAKE_PTR(path);
    return 0;
}

static int parse_profile(const char *s, char **field, Error *e)
{
    if (!module_name_valid(s))
        return value_wrong(s, e, "profile's name", "a-z, 0-9, '_' and '-': network-server");
    *field = xstrdup(s);
    return 0;
}

static int parse_name(const char *s, char **field, Error *e)
{
    if (!module_name_valid(s))
        return value_wrong(s, e, "name", "a-z, 0-9, '_' and '-', at most 63 of them: shop");
    *field = xstrdup(s);
    return 0;
}

/* What never came since 1970 and will not before 2200 is a mistake, such as 30 February. */
static int parse_calendar(const char *s, Calendar **field, Error *e)
{
    _cleanup_(calendar_freep) Calendar *c = NULL;
    uint64_t first;
    int r = calendar_parse(s, &c, e);
    if (r < 0)
        return r;
    if (calendar_next(c, 0, &first) < 0) {
        _cleanup_(freep) char *shown = value_shown(s);
        return error_set(e, -EINVAL, "'%s' never comes (%s)", shown, value_kind_hint(VALUE_CALENDAR));
    }
    *field = TAKE_PTR(c);
    return 0;
}

static int parse_umask(const char *s, mode_t *field, Error *e)
{
    size_t n = strspn(s, "01234567");
    if (n == 0 || n > 4 || s[n] || (n == 4 && s[0] != '0'))
        return value_wrong(s, e, "octal mode", "0022, 077");
    *field = (mode_t)strtoul(s, NULL, 8);
    return 0;
}

static int parse_signal(const char *s, int *field, Error *e)
{
    int r = value_signal(s, e);
    if (r < 0)
        return r;
    *field = r;
    return 0;
}

static int parse_ready_unix(const Key *k, const char *s, const ValueContext *x, Ready *field, Error *e)
{
    enum { SUN_PATH_MAX = 107 };
    _cleanup_(freep) char *path = NULL;
    int r = words_expand(s, x->module, k->variables, x->environment, &path, e);
    if (r < 0)
        return r;
    if (path[0] != '/' || strlen(path) > SUN_PATH_MAX)
        return value_wrong(path, e, "socket's path", "absolute, at most 107 bytes: unix:/run/web/web.sock");
    *field = (Ready){.kind = READY_UNIX, .path = TAKE_PTR(path)};
    return 0;
}

static int parse_ready(const Key *k, const char *s, const ValueContext *x, Ready *field, Error *e)
{
    const char *colon = strchr(s, ':');
    size_t n = colon ? (size_t)(colon - s) : strlen(s);
    for (ReadyKind kind = 0; kind < READY_KIND_N; kind++) {
        if (strlen(ready_kind_names[kind]) != n || strncmp(ready_kind_names[kind], s, n) != 0)
            continue;
        bool wants = kind == READY_FD || kind == READY_TCP || kind == READY_UNIX;
        if (wants != (colon != NULL))
            break;
        if (kind == READY_UNIX)
            return parse_ready_unix(k, colon + 1, x, field, e);
        uint64_t number = 0;
        if (kind == READY_FD && (parse_u64(colon + 1, &number) < 0 || number < 3 || number > 1023))
            return value_wrong(colon + 1, e, "descriptor for readiness", "3 to 1023: fd:3");
        int port = kind == READY_TCP ? value_port(colon + 1, e) : 0;
        if (port < 0)
            return port;
        *field = (Ready){.kind = kind, .number = kind == READY_TCP ? (unsigned)port : (unsigned)number};
        return 0;
    }
    _cleanup_(freep) char *shown = value_shown(s);
    return error_set(e, -EINVAL, "'%s' is unknown (%s)", shown, "none, exec, notify, fd:N, tcp:PORT, unix:PATH");
}

static int parse_rlimit_part(const Key *k, const char *s, uint64_t *ret, Error *e)
{
    if (k->kind == VALUE_RLIMIT_SIZE)
        return value_size(s, ret, e);
    if (k->kind == VALUE_RLIMIT_COUNT)
        return value_number(k, s, ret, e);
    int r = value_time(s, ret, e);
    if (r < 0 || k->kind == VALUE_RLIMIT_USEC || *ret == USEC_INFINITY)
        return r;
    if (*ret % USEC_PER_SEC != 0)
        return value_wrong(s, e, "whole number of seconds", value_kind_hint(VALUE_RLIMIT_SEC));
    *ret /= USEC_PER_SEC;
    return 0;
}

static int parse_rlimit(const Key *k, const char *s, Rlimit *field, Error *e)
{
    const char *colon = strchr(s, ':');
    _cleanup_(freep) char *soft = colon ? xstrndup(s, (size_t)(colon - s)) : xstrdup(s);
    const char *hard = colon ? colon + 1 : s;
    Rlimit l = {.set = true};
    int r = parse_rlimit_part(k, soft, &l.soft, e);
    if (r == 0)
        r = parse_rlimit_part(k, hard, &l.hard, e);
    if (r == 0)
        r = value_bounds(k, hard, l.hard, e);
    if (r < 0)
        return r;
    if (l.soft > l.hard) {
        _cleanup_(freep) char *shown = value_shown(s);
        return error_set(e, -EINVAL, "'%s' has a soft limit over the hard one (soft:hard)", shown);
    }
    *field = l;
    return 0;
}

static int parse_account(const Key *k, const char *s, const ValueContext *x, char **field, Error *e)
{
    uid_t uid;
    gid_t gid;
    int r = k->kind == VALUE_USER ? nss_user(x->nss, s, &uid, &gid, e) : nss_group(x->nss, s, &gid, e);
    if (r < 0)
        return -EINVAL;
    *field = xstrdup(s);
    return 0;
}

static int parse_text_choice(const Key *k, const char *s, char **field, Error *e)
{
    int r = parse_choice(k, s, e);
    if (r < 0)
        return r;
    *field = xstrdup(s);
    return 0;
}

static int parse_choice_field(const Key *k, const char *s, unsigned *field, Error *e)
{
    int r = parse_choice(k, s, e);
    if (r < 0)
        return r;
    *field = (unsigned)r;
    return 0;
}

static int parse_percent_field(const Key *k, const char *s, unsigned *field, Error *e)
{
    uint64_t v;
    int r = value_percent(s, VALUE_PERCENT, &v, e);
    if (r == 0)
        r = value_bounds(k, s, v, e);
    if (r == 0)
        *field = (unsigned)v;
    return r;
}

static int parse_work_ports(const char *s, Work *w, Error *e)
{
    return list_ports(s, &w->ports, &w->n_ports, e);
}

static int parse_sandbox_groups(const char *s, const ValueContext *x, Sandbox *b, Error *e)
{
    return list_groups(s, x->nss, &b->supplementary_groups, &b->n_supplementary_groups, e);
}

static int parse_field(const Key *k, const char *s, const ValueContext *x, void *field, Error *e)
{
    switch (k->kind) {
    case VALUE_TEXT:
        *(char **)field = xstrdup(s);
        return 0;
    case VALUE_LABEL:
        *(char **)field = words_label(s, x->module);
        return 0;
    case VALUE_YES_NO:
        return parse_yes_no(s, field, e);
    case VALUE_TIME:
    case VALUE_SIZE:
    case VALUE_CPU:
    case VALUE_COUNT:
        return parse_bounded(k, s, field, e);
    case VALUE_PERCENT:
        return parse_percent_field(k, s, field, e);
    case VALUE_INTEGER:
        return parse_integer(k, s, field, e);
    case VALUE_FACTOR:
        return value_factor(s, field, e);
    case VALUE_CHOICE:
        return parse_choice_field(k, s, field, e);
    case VALUE_CHOICE_TEXT:
        return parse_text_choice(k, s, field, e);
    case VALUE_COMMAND:
        return list_command(k, s, x, field, e);
    case VALUE_COMMANDS:
        return commands_parse(k, s, x, field, e);
    case VALUE_CONDITIONS:
        return list_conditions(k, s, x, field, e);
    case VALUE_PATH:
        return parse_path(k, s, x, field, e);
    case VALUE_ENVIRONMENT:
        return list_environment(s, x, field, e);
    case VALUE_ENV_FILE:
        return list_env_files(s, x, field, e);
    case VALUE_INCLUDES:
        return list_includes(s, field, e);
    case VALUE_DIRECTORIES:
        return list_directories(k, s, x, field, e);
    case VALUE_MODULES:
        return list_modules(s, field, e);
    case VALUE_NAME:
        return parse_name(s, field, e);
    case VALUE_RULES:
        return list_rules(s, field, e);
    case VALUE_PROFILE:
        return parse_profile(s, field, e);
    case VALUE_CALENDAR:
        return parse_calendar(s, field, e);
    case VALUE_UMASK:
        return parse_umask(s, field, e);
    case VALUE_SIGNAL:
        return parse_signal(s, field, e);
    case VALUE_EXIT_SET:
        return list_exit_set(s, field, e);
    case VALUE_READY:
        return parse_ready(k, s, x, field, e);
    case VALUE_LISTEN:
        return listen_parse(s, x, field, e);
    case VALUE_TRACK:
        return track_parse(s, x, field, e);
    case VALUE_PORTS:
        return parse_work_ports(s, field, e);
    case VALUE_CPUS:
        return list_cpus(s, field, e);
    case VALUE_USER:
    case VALUE_GROUP:
        return parse_account(k, s, x, field, e);
    case VALUE_GROUPS:
        return parse_sandbox_groups(s, x, field, e);
    case VALUE_CAPABILITIES:
        return list_capabilities(s, field, e);
    case VALUE_RLIMIT_COUNT:
    case VALUE_RLIMIT_SIZE:
    case VALUE_RLIMIT_SEC:
    case VALUE_RLIMIT_USEC:
        return parse_rlimit(k, s, field, e);
    case VALUE_KIND_N:
        break;
    }
    abort();
}

int value_parse(const Key *k, const char *value, const ValueContext *x, void *base, Error *e)
{
    int r = parse_field(k, value, x, (char *)base + k->offset, e);
    if (r == 0 && k->set_offset != 0)
        *(bool *)((char *)base + k->set_offset) = true;
    return r;
}

static void free_text(char **field)
{
    free(*field);
    *field = NULL;
}

void value_done(const Key *k, void *base)
{
    void *field = (char *)base + k->offset;
    switch (k->kind) {
    case VALUE_TEXT:
    case VALUE_LABEL:
    case VALUE_CHOICE_TEXT:
    case VALUE_PATH:
    case VALUE_PROFILE:
    case VALUE_NAME:
    case VALUE_CPUS:
    case VALUE_USER:
    case VALUE_GROUP:
        free_text(field);
        return;
    case VALUE_COMMAND:
    case VALUE_ENVIRONMENT:
    case VALUE_ENV_FILE:
    case VALUE_INCLUDES:
    case VALUE_DIRECTORIES:
    case VALUE_MODULES:
    case VALUE_RULES:
    case VALUE_CONDITIONS:
        *(char ***)field = strv_free(*(char ***)field);
        return;
    case VALUE_COMMANDS:
        commands_done(field);
        return;
    case VALUE_CALENDAR:
        *(Calendar **)field = calendar_free(*(Calendar **)field);
        return;
    case VALUE_READY:
        free_text(&((Ready *)field)->path);
        return;
    case VALUE_LISTEN:
        listen_done(field);
        return;
    case VALUE_TRACK:
        track_done(field);
        return;
    case VALUE_PORTS:
        free(((Work *)field)->ports);
        ((Work *)field)->ports = NULL;
        return;
    case VALUE_GROUPS:
        free(((Sandbox *)field)->supplementary_groups);
        ((Sandbox *)field)->supplementary_groups = NULL;
        return;
    case VALUE_YES_NO:
    case VALUE_TIME:
    case VALUE_SIZE:
    case VALUE_CPU:
    case VALUE_PERCENT:
    case VALUE_COUNT:
    case VALUE_INTEGER:
    case VALUE_FACTOR:
    case VALUE_CHOICE:
    case VALUE_UMASK:
    case VALUE_SIGNAL:
    case VALUE_EXIT_SET:
    case VALUE_CAPABILITIES:
    case VALUE_RLIMIT_COUNT:
    case VALUE_RLIMIT_SIZE:
    case VALUE_RLIMIT_SEC:
    case VALUE_RLIMIT_USEC:
    case VALUE_KIND_N:
        return;
    }
}
