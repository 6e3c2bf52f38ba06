/* The compiler: reads profiles, resolves what includes, allow and deny come to, and shares equal filters.
 *
 * A profile is loaded once per compiler, whoever names it, and complains once: with a thousand modules over one broken
 * profile its lines are the news, not the modules. Layers: the module's own allow and deny
 * lie over its profile, and a profile over what it includes. Within a layer deny is looked at first; a call that the
 * layer's own lists say nothing about is allowed when any of its includes allows it. So an outer layer can always give
 * back or take away what an inner one said, and a deny reaches down only.
 *
 * That is flattened into clauses "allowed by this rule unless one of these guards matches", of which one is enough.
 * Profiles own the rules; clauses only point at them and live shorter. */
#include "policies/seccomp.h"

#include <errno.h>
#include <fcntl.h>

#include "base/str.h"
#include "policies/reader.h"
#include "policies/seccomp_program.h"

#define PROFILE_NAME_MAX 63
#define INCLUDE_DEPTH    16
#define CLAUSES_MAX      8192 /* more would not fit into a filter by far; bounds diamonds of includes */

const char *const seccomp_violation_names[SECCOMP_VIOLATION_N] = {
    [VIOLATION_KILL] = "kill",
    [VIOLATION_ERRNO] = "errno",
    [VIOLATION_LOG] = "log",
};

/* clang-format off */
const ProfileKey profile_keys[PROFILE_KEY_N] = {
    [PROFILE_DESCRIPTION] = {"description", false, "text", "workers: files, child processes", "what it is for, for people"},
    [PROFILE_INCLUDE] = {"include", false, "list of profiles", "base, network-server", "profiles whose calls are allowed too"},
    [PROFILE_ALLOW] = {"allow", true, "list of syscall rules", "openat, socket(AF_UNIX)", "calls that are allowed"},
    [PROFILE_DENY] = {"deny", true, "list of syscall rules", "socket(AF_INET, SOCK_RAW)", "calls that are not, whatever allow and include say"},
};
/* clang-format on */

/* What the launcher calls between seccomp(2) and the program: a filter without them could start nothing. */
static const char *const launcher_calls[] = {"execve", "write", "exit_group"};

typedef struct RuleList {
    SeccompRule **items; /* owned */
    size_t n;
} RuleList;

typedef enum ProfileState { PROFILE_LOADING, PROFILE_GOOD, PROFILE_BAD } ProfileState;

typedef struct Include {
    char *name;
    unsigned line;
} Include;

typedef struct Profile Profile;
struct Profile {
    char *name, *file;
    ProfileState state;
    const Profile *parent; /* who made it load; meaningful while loading */
    bool has_section;
    RuleList allow, deny;
    Include *wanted; /* as written */
    size_t n_wanted;
    Profile **includes; /* borrowed from the compiler */
    size_t n_includes;
    bool flattened;
    SeccompClauses clauses;
};

struct SeccompCompiler {
    char **dirs;
    Profile **profiles;
    size_t n_profiles;
    SeccompFilter **filters; /* a reference each */
    size_t n_filters;
};

static void rules_done(RuleList *l)
{
    for (size_t i = 0; i < l->n; i++)
        seccomp_rule_free(l->items[i]);
    free(l->items);
}

static void profile_done(Profile *p)
{
    free(p->name);
    free(p->file);
    rules_done(&p->allow);
    rules_done(&p->deny);
    for (size_t i = 0; i < p->n_wanted; i++)
        free(p->wanted[i].name);
    free(p->wanted);
    free(p->includes);
    seccomp_clauses_done(&p->clauses);
}

SeccompCompiler *seccomp_compiler_new(char *const *dirs)
{
    SeccompCompiler *c = new0(SeccompCompiler);
    c->dirs = strv_copy(dirs);
    return c;
}

SeccompCompiler *seccomp_compiler_free(SeccompCompiler *c)
{
    if (!c)
        return NULL;
    for (size_t i = 0; i < c->n_profiles; i++) {
        profile_done(c->profiles[i]);
        free(c->profiles[i]);
    }
    for (size_t i = 0; i < c->n_filters; i++)
        seccomp_filter_unref(c->filters[i]);
    free(c->profiles);
    free(c->filters);
    strv_free(c->dirs);
    free(c);
    return NULL;
}

SeccompFilter *seccomp_filter_ref(SeccompFilter *f)
{
    if (f)
        f->refs++;
    return f;
}

SeccompFilter *seccomp_filter_unref(SeccompFilter *f)
{
    if (!f || --f->refs > 0)
        return NULL;
    free(f->instructions);
    free(f->key);
    free(f);
    return NULL;
}

/* --- rules -----------------------------------------------------------------------------------------------------------
 */

/* Where a list was written, for complaints. */
typedef struct Place {
    const char *file, *key;
    unsigned line;
    Complaints *complaints;
} Place;

static bool launcher_needs(int nr)
{
    for (size_t i = 0; i < ELEMENTS(launcher_calls); i++)
        if (nr >= 0 && seccomp_nr(launcher_calls[i]) == nr)
            return true;
    return false;
}

/* Adds the rules of a list; complains about each wrong one and goes on. */
static int rules_add(RuleList *l, const char *list, bool deny, const Place *at)
{
    _cleanup_strv_ char **rules = NULL;
    Error e = {0};
    int result = seccomp_rules_split(list, &rules, &e);
    if (result < 0)
        complaints_add(at->complaints, at->file, at->line, at->key, "%s", error_message(&e));
    STRV_FOREACH (text, rules) {
        _cleanup_(seccomp_rule_freep) SeccompRule *rule = NULL;
        int r = seccomp_rule_parse(*text, &rule, &e);
        if (r == 0 && deny && launcher_needs(rule->nr))
            r = error_set(&e, -EINVAL, "%s cannot be denied (the launcher itself calls it to start the program)",
                          *text);
        if (r < 0) {
            complaints_add(at->complaints, at->file, at->line, at->key, "%s", error_message(&e));
            result = r;
        } else if (rule->nr >= 0) {
            ARRAY_PUSH(l->items, l->n) = TAKE_PTR(rule);
        }
    }
    return result;
}

/* --- reading a profile
 * ------------------------------------------------------------------------------------------------
 */

typedef struct Reading {
    Profile *profile;
    Complaints *complaints;
    bool failed;
} Reading;

static bool profile_name_valid(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return n > 0 && n <= PROFILE_NAME_MAX && name[n] == '\0' && name[0] != '_' && name[0] != '-';
}

static void read_includes(Reading *reading, const char *value, const Place *at)
{
    _cleanup_strv_ char **names = NULL;
    Error e = {0};
    if (seccomp_rules_split(value, &names, &e) < 0) {
        complaints_add(at->complaints, at->file, at->line, at->key, "%s", error_message(&e));
        reading->failed = true;
    }
    STRV_FOREACH (name, names) {
        if (!profile_name_valid(*name)) {
            _cleanup_(freep) char *shown = str_escape(*name, strlen(*name), 64);
            complaints_add(at->complaints, at->file, at->line, at->key,
                           "'%s' is not a profile's name (a-z, 0-9, _ and -, at most %d)", shown, PROFILE_NAME_MAX);
            reading->failed = true;
            continue;
        }
        ARRAY_PUSH(reading->profile->wanted, reading->profile->n_wanted) =
            (Include){.name = xstrdup(*name), .line = at->line};
    }
}

/* Which key it is: "allow", or "allow.WORD" where groups may be made. PROFILE_KEY_N: none. */
static ProfileKeyId which_key(const char *key)
{
    ProfileKeyId id = 0;
    for (; id < PROFILE_KEY_N; id++) {
        const ProfileKey *k = &profile_keys[id];
        size_t n = strlen(k->name);
        if (str_starts(key, k->name) && (key[n] == '\0' || (k->groups && key[n] == '.' && key[n + 1] != '\0')))
            break;
    }
    return id;
}

static void complain_unknown(const char *key, const Place *at)
{
    const char *names[PROFILE_KEY_N];
    _cleanup_strbuf_ StrBuf all = STRBUF_NULL;
    for (size_t i = 0; i < PROFILE_KEY_N; i++) {
        names[i] = profile_keys[i].name;
        strbuf_addf(&all, "%s%s%s%s%s", i ? ", " : "", names[i], profile_keys[i].groups ? ", " : "",
                    profile_keys[i].groups ? names[i] : "", profile_keys[i].groups ? ".GROUP" : "");
    }
    const char *nearest = str_nearest(key, names, PROFILE_KEY_N);
    if (nearest)
        complaints_add(at->complaints, at->file, at->line, at->key, "unknown key (did you mean '%s'?)", nearest);
    else
        complaints_add(at->complaints, at->file, at->line, at->key, "unknown key (known are %s)", all.s);
}

static void read_key(void *user, const char *section, const char *key, const char *value, unsigned line)
{
    Reading *reading = user;
    Profile *p = reading->profile;
    bool ours = str_equal(section, "profile");
    if (!key) {
        p->has_section |= ours;
        if (!ours) {
            _cleanup_(freep) char *shown = str_escape(section, strlen(section), 64);
            complaints_add(reading->complaints, p->file, line, NULL,
                           "unknown section [%s] (a profile has [profile] alone)", shown);
            reading->failed = true;
        }
        return;
    }
    if (!ours) /* said once, at its section line */
        return;
    _cleanup_(freep) char *full = xasprintf("profile.%s", key);
    Place at = {.file = p->file, .key = full, .line = line, .complaints = reading->complaints};
    switch (which_key(key)) {
    case PROFILE_DESCRIPTION:
        break;
    case PROFILE_INCLUDE:
        read_includes(reading, value, &at);
        break;
    case PROFILE_ALLOW:
        reading->failed |= rules_add(&p->allow, value, false, &at) < 0;
        break;
    case PROFILE_DENY:
        reading->failed |= rules_add(&p->deny, value, true, &at) < 0;
        break;
    case PROFILE_KEY_N:
        complain_unknown(key, &at);
        reading->failed = true;
        break;
    }
}

/* Who named a profile, for complaints that it is not there. */
static Profile *profile_get(SeccompCompiler *c, const char *name, const Profile *parent, const Place *at);

static int cycle_complain(const Profile *p, const Profile *parent, const Place *at)
{
    _cleanup_strbuf_ StrBuf path = STRBUF_NULL;
    const Profile *chain[INCLUDE_DEPTH + 1];
    size_t n = 0;
    for (const Profile *q = parent; q && n < ELEMENTS(chain); q = q == p ? NULL : q->parent)
        chain[n++] = q;
    while (n > 0)
        strbuf_addf(&path, "%s -> ", chain[--n]->name);
    complaints_add(at->complaints, at->file, at->line, at->key, "profiles include each other in a circle: %s%s", path.s,
                   p->name);
    return -EINVAL;
}

static bool include_all(SeccompCompiler *c, Profile *p, Complaints *complaints)
{
    bool good = true;
    for (size_t i = 0; i < p->n_wanted; i++) {
        Place at = {.file = p->file, .key = "profile.include", .line = p->wanted[i].line, .complaints = complaints};
        Profile *included = profile_get(c, p->wanted[i].name, p, &at);
        if (included && included->state == PROFILE_LOADING)
            cycle_complain(included, p, &at);
        if (included && included->state == PROFILE_GOOD)
            ARRAY_PUSH(p->includes, p->n_includes) = included;
        else
            good = false;
    }
    return good;
}

static int profile_read(SeccompCompiler *c, Profile *p, Complaints *complaints)
{
    Reading reading = {.profile = p, .complaints = complaints};
    int r = -ENOENT;
    for (char *const *dir = c->dirs; r == -ENOENT && dir && *dir; dir++) {
        free(p->file);
        p->file = xasprintf("%s/%s.ini", *dir, p->name);
        r = reader_file(AT_FDCWD, p->file, p->file, 0, read_key, &reading, complaints);
    }
    if (r == 0 && !p->has_section && !reading.failed) {
        complaints_add(complaints, p->file, 0, NULL, "no [profile] section (a profile's keys stand below it)");
        reading.failed = true;
    }
    return r == 0 && reading.failed ? -EINVAL : r;
}

/* The profile of that name, read at the first call. NULL when there is none or includes are too deep (complained about
 * at `at`); its state tells whether it is any good. */
static Profile *profile_get(SeccompCompiler *c, const char *name, const Profile *parent, const Place *at)
{
    for (size_t i = 0; i < c->n_profiles; i++)
        if (str_equal(c->profiles[i]->name, name))
            return c->profiles[i];

    size_t depth = 0;
    for (const Profile *q = parent; q; q = q->parent)
        depth++;
    if (depth >= INCLUDE_DEPTH) {
        complaints_add(at->complaints, at->file, at->line, at->key, "profiles include each other more than %d deep",
                       INCLUDE_DEPTH);
        return NULL;
    }
    Profile *p = new0(Profile);
    p->name = xstrdup(name);
    p->parent = parent;
    int r = profile_read(c, p, at->complaints);
    if (r == -ENOENT) {
        _cleanup_(freep) char *dirs = strv_join(c->dirs, ", ");
        complaints_add(at->complaints, at->file, at->line, at->key, "no profile '%s' (looked for %s.ini in %s)", name,
                       name, dirs);
        profile_done(p);
        free(p);
        return NULL;
    }
    ARRAY_PUSH(c->profiles, c->n_profiles) = p;
    bool good = include_all(c, p, at->complaints);
    p->state = r == 0 && good ? PROFILE_GOOD : PROFILE_BAD;
    p->parent = NULL;
    return p;
}

/* --- flattening ------------------------------------------------------------------------------------------------------
 */

static bool clause_equal(const SeccompClause *a, const SeccompClause *b)
{
    return a->rule == b->rule && a->n_guards == b->n_guards &&
           (a->n_guards == 0 || memcmp(a->guards, b->guards, a->n_guards * sizeof *a->guards) == 0);
}

/* Adds `clause` behind the guards of `deny`, unless one of those takes all of it away or it is there already. */
static int clause_add(SeccompClauses *to, const SeccompClause *clause, const RuleList *deny, Error *e)
{
    SeccompClause n = {.rule = clause->rule};
    bool gone = false;
    for (size_t i = 0; i < clause->n_guards; i++)
        ARRAY_PUSH(n.guards, n.n_guards) = clause->guards[i];
    for (size_t i = 0; i < deny->n && !gone; i++) {
        if (deny->items[i]->nr != n.rule->nr)
            continue;
        gone = deny->items[i]->n_conds == 0;
        ARRAY_PUSH(n.guards, n.n_guards) = deny->items[i];
    }
    for (size_t i = 0; i < to->n && !gone; i++)
        gone = clause_equal(&to->items[i], &n);
    if (gone) {
        free(n.guards);
        return 0;
    }
    if (to->n == CLAUSES_MAX) {
        free(n.guards);
        return error_set(e, -E2BIG, "more than %d rules", CLAUSES_MAX);
    }
    ARRAY_PUSH(to->items, to->n) = n;
    return 0;
}

static int flatten(Profile *p, Error *e)
{
    for (size_t i = 0; i < p->allow.n && !p->flattened; i++) {
        int r = clause_add(&p->clauses, &(SeccompClause){.rule = p->allow.items[i]}, &p->deny, e);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < p->n_includes && !p->flattened; i++) {
        int r = flatten(p->includes[i], e); /* as deep as includes may be, and once each */
        for (size_t j = 0; r == 0 && j < p->includes[i]->clauses.n; j++)
            r = clause_add(&p->clauses, &p->includes[i]->clauses.items[j], &p->deny, e);
        if (r < 0)
            return r;
    }
    p->flattened = true;
    return 0;
}

/* --- compiling -------------------------------------------------------------------------------------------------------
 */

static char *filter_key(const char *profile, char *const *allow, char *const *deny, SeccompViolation action)
{
    _cleanup_(freep) char *a = strv_join(allow, ", "), *d = strv_join(deny, ", ");
    return xasprintf("profile = %s\nallow = %s\ndeny = %s\non_violation = %s\n", profile ? profile : "", a, d,
                     seccomp_violation_names[action]);
}

static int own_rules(RuleList *l, char *const *rules, bool deny, Place at)
{
    if (strv_length(rules) == 0)
        return 0;
    _cleanup_(freep) char *list = strv_join(rules, ", ");
    at.key = deny ? "sandbox.deny" : "sandbox.allow";
    return rules_add(l, list, deny, &at);
}

/* The module's layer: its own lists over its profile, and what the launcher needs. */
static int module_layer(SeccompCompiler *c, const char *profile, char *const *allow, char *const *deny, const Place *at,
                        Profile *layer)
{
    int result = own_rules(&layer->allow, allow, false, *at);
    int r = own_rules(&layer->deny, deny, true, *at);
    result = r < 0 ? r : result;
    for (size_t i = 0; i < ELEMENTS(launcher_calls); i++) {
        SeccompRule *rule = new0(SeccompRule);
        rule->nr = seccomp_nr(launcher_calls[i]);
        ARRAY_PUSH(layer->allow.items, layer->allow.n) = rule;
    }
    if (!profile)
        return result;
    if (!profile_name_valid(profile)) {
        _cleanup_(freep) char *shown = str_escape(profile, strlen(profile), 64);
        complaints_add(at->complaints, at->file, at->line, at->key,
                       "'%s' is not a profile's name (a-z, 0-9, _ and -, at most %d)", shown, PROFILE_NAME_MAX);
        return -EINVAL;
    }
    Profile *p = profile_get(c, profile, NULL, at);
    if (!p)
        return -EINVAL;
    if (p->state != PROFILE_GOOD)
        return -EINVAL; /* it has complained, once for all who name it */
    ARRAY_PUSH(layer->includes, layer->n_includes) = p;
    return result;
}

int seccomp_compile(SeccompCompiler *c, const char *profile, char *const *allow, char *const *deny,
                    SeccompViolation action, const char *file, unsigned line, SeccompFilter **ret,
                    Complaints *complaints)
{
    _cleanup_(freep) char *key = filter_key(profile, allow, deny, action);
    for (size_t i = 0; i < c->n_filters; i++)
        if (str_equal(c->filters[i]->key, key)) {
            *ret = seccomp_filter_ref(c->filters[i]);
            return 0;
        }

    Place at = {.file = file, .key = "sandbox.profile", .line = line, .complaints = complaints};
    _cleanup_(profile_done) Profile layer = {0};
    int r = module_layer(c, profile, allow, deny, &at, &layer);
    if (r < 0)
        return r;

    Error e = {0};
    struct sock_filter *instructions = NULL;
    unsigned n = 0;
    r = flatten(&layer, &e);
    if (r == 0)
        r = seccomp_program_build(&layer.clauses, action, &instructions, &n, &e);
    if (r < 0) {
        complaints_add(complaints, file, line, at.key, "%s", error_message(&e));
        return -EINVAL;
    }
    SeccompFilter *f = new0(SeccompFilter);
    *f = (SeccompFilter){.refs = 1, .n_instructions = n, .instructions = instructions, .key = TAKE_PTR(key)};
    ARRAY_PUSH(c->filters, c->n_filters) = f;
    *ret = seccomp_filter_ref(f);
    return 0;
}
