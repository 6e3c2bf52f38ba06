/* One module: from merged raw values to a ModulePolicy, and what its values must be together. See load.h. */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/str.h"
#include "policies/environment.h"
#include "policies/load.h"
#include "policies/values.h"

static bool in_set(const Key *k, FieldSet set)
{
    if (key_is_supervisor(k))
        return set == FIELDS_SUPERVISOR;
    bool environment = k->kind == VALUE_ENVIRONMENT || k->kind == VALUE_ENV_FILE;
    return set == (environment ? FIELDS_ENVIRONMENT : FIELDS_REST);
}

void fields_parse(const Loading *l, FieldSet set, const Raw *raws, const ValueContext *x, void *base, bool *bad)
{
    for (size_t i = 0; i < keys_n; i++) {
        const Key *k = &keys[i];
        if (!in_set(k, set))
            continue;
        const Raw *raw = &raws[i];
        const char *value = raw->value ? raw->value : k->fallback;
        Error e = {0};
        if (*value && value_parse(k, value, x, base, &e) == 0)
            continue;
        if (!*value && !*k->fallback)
            continue;
        if (!raw->value)
            abort(); /* a default of the table itself: tests/unit/test_keys.c sees to it */
        bad[i] = true;
        if (*value)
            loading_complain(l, k, raw, "%s", error_message(&e));
        else
            loading_complain(l, k, raw, "the value is empty (%s)", k->example);
    }
}

/* The key's index in the table; the key must be there. */
static size_t key_index(const char *dotted)
{
    const Key *k = key_find_dotted(dotted);
    if (!k)
        abort();
    return (size_t)(k - keys);
}

typedef struct Builder {
    const Loading *l;
    const Raw *raws;
    bool bad[KEYS_MAX];
    bool doubtful; /* instances are wanted, but how many is wrong: %i is not known, and that was told */
    ModulePolicy *m;
} Builder;

/* Complains at the first of the keys that was written; about the file when none was. */
static void complain_at(const Builder *b, const char *const *dotted, size_t n, const char *message)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = key_index(dotted[i]);
        if (!b->raws[k].value)
            continue;
        loading_complain(b->l, &keys[k], &b->raws[k], "%s", message);
        return;
    }
    complaints_add(b->l->complaints, b->m->file, 0, dotted[0], "%s", message);
}

static bool is_bad(const Builder *b, const char *dotted)
{
    return b->bad[key_index(dotted)];
}

static void check_missing(Builder *b)
{
    if (!b->m->exec && !is_bad(b, "module.exec"))
        complaints_add(b->l->complaints, b->m->file, 0, "module.exec",
                       "is missing (exec = /usr/sbin/program arguments)");
    if (!b->m->sandbox.user_name && !is_bad(b, "sandbox.user"))
        complaints_add(b->l->complaints, b->m->file, 0, "sandbox.user",
                       "is missing (user = www-data; write user = root if it must be root)");
}

static const char *as_written(const Builder *b, const char *dotted)
{
    size_t k = key_index(dotted);
    return b->raws[k].value ? b->raws[k].value : keys[k].fallback;
}

/* `low` may not be over `high`. */
static void check_order(Builder *b, const char *low, uint64_t low_value, const char *high, uint64_t high_value)
{
    if (low_value <= high_value || is_bad(b, low) || is_bad(b, high))
        return;
    _cleanup_(freep) char *message = xasprintf("%s is over %s, which is %s (at most that)", as_written(b, low),
                                               strchr(high, '.') + 1, as_written(b, high));
    complain_at(b, (const char *const[]){low, high}, 2, message);
}

/* What makes no sense for a job, or for nothing but a job. */
static void check_type(Builder *b)
{
    const ModulePolicy *m = b->m;
    if (is_bad(b, "module.type"))
        return;
    if (m->type != TYPE_ONESHOT) {
        if (m->remain_after_exit)
            complain_at(b, (const char *const[]){"module.remain_after_exit"}, 1, "needs a job (type = oneshot)");
        return;
    }
    if (m->ready.kind != READY_NONE)
        complain_at(b, (const char *const[]){"module.ready"}, 1,
                    "a oneshot is ready when it has exited with 0 (ready = none)");
    if (m->recovery.restart == RESTART_ALWAYS)
        complain_at(b, (const char *const[]){"recovery.restart"}, 1,
                    "a oneshot that is always restarted is never done (on-failure, no)");
}

static void check_timer(Builder *b)
{
    static const char *const times[] = {"timer.on_calendar", "timer.every"};
    static const char *const how[] = {"timer.persistent", "timer.randomized_delay", "timer.when_running"};
    const ModulePolicy *m = b->m;
    const TimerPolicy *t = &m->timer;
    if (is_bad(b, times[0]) || is_bad(b, times[1]))
        return;
    if (!t->on_calendar && t->every == 0) {
        const bool said[] = {t->persistent, t->randomized_delay > 0, t->when_running != WHEN_RUNNING_SKIP};
        for (size_t i = 0; i < ELEMENTS(how); i++)
            if (said[i])
                return complain_at(b, &how[i], 1, "there is no time to start at (on_calendar or every)");
        return;
    }
    if (m->type != TYPE_ONESHOT && !is_bad(b, "module.type"))
        complain_at(b, times, ELEMENTS(times), "needs a job (type = oneshot)");
    if (m->remain_after_exit)
        complain_at(b, (const char *const[]){"module.remain_after_exit"}, 1,
                    "what stays done is not started by [timer] again (no)");
}

/* What bulkheadd listens on itself says nothing about the program, and takes the first descriptors. */
static void check_listen(Builder *b)
{
    const ModulePolicy *m = b->m;
    static const char *const from[] = {"module.ready", "module.listen"};
    bool own = false;
    for (size_t i = 0; i < m->listen.n; i++) {
        const Listen *l = &m->listen.items[i];
        own |= m->ready.kind == READY_TCP && l->port == m->ready.number;
        own |= m->ready.kind == READY_UNIX && !l->port && str_equal(l->address.un.sun_path, m->ready.path);
    }
    if (own)
        complain_at(b, from, 2, "bulkheadd itself listens there, before the program runs (notify, or exec)");
    if (m->listen.n > 0 && m->ready.kind == READY_FD && m->ready.number < 3 + m->listen.n) {
        _cleanup_(freep) char *message =
            xasprintf("descriptor %u is a listener's (fd:%zu)", m->ready.number, 3 + m->listen.n);
        complain_at(b, from, 2, message);
    }
}

static void check_together(Builder *b)
{
    const ModulePolicy *m = b->m;
    check_listen(b);
    check_type(b);
    check_timer(b);
    check_order(b, "work.drain_soft", m->work.drain_soft, "work.drain_hard", m->work.drain_hard);
    check_order(b, "recovery.backoff", m->recovery.backoff, "recovery.max_backoff", m->recovery.max_backoff);
    if (m->limits.memory_high != UINT64_MAX)
        check_order(b, "limits.memory_high", m->limits.memory_high, "limits.memory_max", m->limits.memory_max);
    if (m->work.n_ports > 0 && !(m->work.track.sources & (TRACK_CONNECTIONS | TRACK_REQUESTS)) &&
        !is_bad(b, "work.track"))
        complain_at(b, (const char *const[]){"work.ports"}, 1,
                    "nothing is tracked on them (track = connections, or requests)");
    if (m->reload_signal && m->exec_reload.n > 0)
        complain_at(b, (const char *const[]){"module.reload_signal"}, 1, "exec_reload is given too (keep one)");
}

/* Ids of what fields_parse() has seen to exist. */
static void resolve_accounts(Builder *b)
{
    Sandbox *s = &b->m->sandbox;
    gid_t own = (gid_t)-1;
    if (s->user_name && nss_user(b->l->nss, s->user_name, &s->uid, &own, NULL) < 0)
        abort();
    s->gid = own;
    if (s->group_name && nss_group(b->l->nss, s->group_name, &s->gid, NULL) < 0)
        abort();
    if (s->user_name && s->gid == (gid_t)-1 && !is_bad(b, "sandbox.group"))
        complain_at(b, (const char *const[]){"sandbox.user"}, 1,
                    "a uid that nobody has, so it has no group of its own (add group)");
}

static void compile_seccomp(Builder *b)
{
    static const char *const from[] = {"sandbox.profile", "sandbox.allow", "sandbox.deny", "sandbox.on_violation"};
    Sandbox *s = &b->m->sandbox;
    const Raw *raw = NULL;
    if (b->l->like) {
        s->filter = seccomp_filter_ref(b->l->like->sandbox.filter);
        return;
    }
    for (size_t i = 0; i < ELEMENTS(from); i++) {
        if (is_bad(b, from[i]))
            return;
        if (!raw && b->raws[key_index(from[i])].value)
            raw = &b->raws[key_index(from[i])];
    }
    if (!s->profile && !s->allow && !s->deny)
        return;
    seccomp_compile(b->l->seccomp, s->profile, s->allow, s->deny, s->on_violation, b->l->files[raw->file], raw->line,
                    &s->filter, b->l->complaints);
}

/* The variables of one environment_file: for the instances of a template read once, unless each has a file of its own.
 */
static int read_environment_file(const Builder *b, const char *path, char ***ret)
{
    size_t k = key_index("module.environment_file");
    EnvironmentFiles *known = b->l->environment;
    for (size_t i = 0; known && i < known->n; i++)
        if (strcmp(known->items[i].path, path) == 0) {
            *ret = strv_copy(known->items[i].variables);
            return 0;
        }
    int r = environment_read(b->l, &keys[k], &b->raws[k], path, ret);
    if (r == 0 && known)
        ARRAY_PUSH(known->items, known->n) =
            (struct EnvironmentFile){.path = xstrdup(path), .variables = strv_copy(*ret)};
    return r;
}

/* The variables of environment_file and environment together. False when either is in doubt. */
static bool read_environment(Builder *b)
{
    ValueContext x = {.module = b->doubtful ? NULL : b->m->name, .nss = b->l->nss};
    fields_parse(b->l, FIELDS_ENVIRONMENT, b->raws, &x, b->m, b->bad);
    if (b->doubtful || is_bad(b, "module.environment_file") || is_bad(b, "module.environment"))
        return false;
    if (!b->m->environment_file)
        return true;
    _cleanup_strv_ char **all = NULL;
    bool good = true;
    STRV_FOREACH (path, b->m->environment_file) {
        _cleanup_strv_ char **file = NULL;
        good = read_environment_file(b, *path, &file) == 0 && good;
        char **merged = environment_merge(all, file);
        strv_free(all);
        all = merged;
    }
    char **merged = environment_merge(all, b->m->environment);
    strv_free(b->m->environment);
    b->m->environment = merged;
    return good;
}

static void note_origins(Builder *b)
{
    ModulePolicy *m = b->m;
    for (size_t i = 0; i < keys_n; i++)
        m->n_origins += b->raws[i].value != NULL;
    m->origins = new0_array(Origin, MAX2(m->n_origins, (size_t)1));
    Origin *o = m->origins;
    for (size_t i = 0; i < keys_n; i++)
        if (b->raws[i].value)
            *o++ = (Origin){.key = (uint16_t)i, .file = b->raws[i].file, .line = b->raws[i].line};
}

ModulePolicy *module_build(const Loading *l, const char *name, const char *file, const Raw *raws, bool whole)
{
    Builder b = {.l = l, .raws = raws, .m = new0(ModulePolicy)};
    b.m->refs = 1;
    b.m->name = xstrdup(name);
    b.m->file = xstrdup(file);
    const char *instances = as_written(&b, "module.instances");
    b.doubtful = *instances && module_instance(name) == 0;
    bool known = read_environment(&b);
    /* With the environment in doubt no variable is called unset: one mistake, one complaint. */
    ValueContext x = {.module = known ? name : NULL, .environment = b.m->environment, .nss = l->nss};
    fields_parse(l, FIELDS_REST, raws, &x, b.m, b.bad);
    /* A job takes as long as it takes, unless somebody wrote how long. */
    if (b.m->type == TYPE_ONESHOT && !raws[key_index("module.start_timeout")].value)
        b.m->start_timeout = USEC_INFINITY;
    if (whole)
        check_missing(&b);
    check_together(&b);
    resolve_accounts(&b);
    compile_seccomp(&b);
    note_origins(&b);
    return b.m;
}

void module_check_defaults(const Loading *l, const Raw *defaults)
{
    Builder b = {.l = l, .raws = defaults, .m = new0(ModulePolicy)};
    ValueContext x = {.nss = l->nss};
    fields_parse(l, FIELDS_ENVIRONMENT, defaults, &x, b.m, b.bad);
    fields_parse(l, FIELDS_REST, defaults, &x, b.m, b.bad);
    module_free(b.m);
}

ModulePolicy *module_free(ModulePolicy *m)
{
    if (!m)
        return NULL;
    if (m->refs > 1) {
        m->refs--;
        return NULL;
    }
    for (size_t i = 0; i < keys_n; i++)
        if (!key_is_supervisor(&keys[i]))
            value_done(&keys[i], m);
    seccomp_filter_unref(m->sandbox.filter);
    free(m->name);
    free(m->file);
    free(m->origins);
    free(m);
    return NULL;
}
