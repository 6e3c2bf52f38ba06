/* See lists.h. */
#include "policies/lists.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <sys/capability.h>

#include "base/str.h"
#include "policies/names.h"
#include "policies/nss.h"
#include "policies/quantities.h"
#include "policies/words.h"

int list_command(const Key *k, const char *value, const ValueContext *x, char ***ret, Error *e)
{
    _cleanup_strv_ char **words = NULL;
    int r = words_split(value, WORDS_BLANKS, &words, e);
    for (char **w = words; r == 0 && w && *w; w++) {
        char *expanded;
        r = words_expand(*w, x->module, k->variables, x->environment, &expanded, e);
        if (r == 0) {
            free(*w);
            *w = expanded;
        }
    }
    if (r < 0)
        return r;
    if (!words || !words[0] || words[0][0] != '/') {
        _cleanup_(freep) char *shown = value_shown(words && words[0] ? words[0] : "");
        return error_set(e, -EINVAL, "'%s' is no absolute path (/usr/bin/program arguments; no shell, no PATH)", shown);
    }
    *ret = TAKE_PTR(words);
    return 0;
}

int list_environment(const char *value, const ValueContext *x, char ***ret, Error *e)
{
    _cleanup_strv_ char **items = NULL, **done = NULL;
    int r = words_split(value, WORDS_COMMAS, &items, e);
    if (r < 0)
        return r;
    STRV_FOREACH (i, items) {
        size_t n = words_variable_name(*i);
        _cleanup_(freep) char *shown = value_shown(*i);
        if (n == 0 || (*i)[n] != '=')
            return error_set(e, -EINVAL, "'%s' is no NAME=value (NAME=value, \"NAME=a, b\")", shown);
        if (words_variable(done, *i, n))
            return error_set(e, -EINVAL, "%.*s is given twice (keep one)", (int)n, *i);
        char *expanded;
        r = words_expand(*i, x->module, false, NULL, &expanded, e);
        if (r < 0)
            return r;
        strv_push(&done, expanded);
    }
    *ret = TAKE_PTR(done);
    return 0;
}

/* "name/sub": relative, no empty, "." or ".." component. */
static bool path_is_inside(const char *path)
{
    for (const char *p = path;; p++) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        p += n;
        if (!*p)
            return true;
    }
}

/* Items by commas, expanded, each of which must be `good`; "'X' `wrong`" is said of the first that is not. */
static int list_expanded(const Key *k, const char *value, const ValueContext *x, bool (*good)(const char *item),
                         const char *wrong, char ***ret, Error *e)
{
    _cleanup_strv_ char **items = NULL, **done = NULL;
    int r = words_split(value, WORDS_COMMAS, &items, e);
    if (r < 0)
        return r;
    STRV_FOREACH (i, items) {
        char *expanded;
        r = words_expand(*i, x->module, k->variables, x->environment, &expanded, e);
        if (r < 0)
            return r;
        strv_push(&done, expanded);
        if (good(expanded))
            continue;
        _cleanup_(freep) char *shown = value_shown(expanded);
        return error_set(e, -EINVAL, "'%s' %s", shown, wrong);
    }
    *ret = TAKE_PTR(done);
    return 0;
}

int list_directories(const Key *k, const char *value, const ValueContext *x, char ***ret, Error *e)
{
    return list_expanded(k, value, x, path_is_inside,
                         "is no relative name (web, web/cache; no '..', no leading or trailing '/')", ret, e);
}

static bool is_condition(const char *item)
{
    return item[item[0] == '!'] == '/';
}

int list_conditions(const Key *k, const char *value, const ValueContext *x, char ***ret, Error *e)
{
    return list_expanded(k, value, x, is_condition, "is no absolute path (/etc/web/on; !/etc/web/off: must not exist)",
                         ret, e);
}

int list_includes(const char *value, char ***ret, Error *e)
{
    _cleanup_strv_ char **items = NULL;
    int r = words_split(value, WORDS_COMMAS, &items, e);
    if (r < 0)
        return r;
    STRV_FOREACH (i, items) {
        const char *path = *i + (**i == '-');
        _cleanup_(freep) char *shown = value_shown(path);
        if (!path_is_inside(path))
            return error_set(e, -EINVAL,
                             "'%s' is no file below the configuration directory (common.ini, "
                             "common/web.ini; no '..', no leading '/')",
                             shown);
        for (char *const *j = items; j < i; j++)
            if (strcmp(*j + (**j == '-'), path) == 0)
                return error_set(e, -EINVAL, "%s is listed twice (keep one)", shown);
    }
    *ret = TAKE_PTR(items);
    return 0;
}

int list_env_files(const char *value, const ValueContext *x, char ***ret, Error *e)
{
    _cleanup_strv_ char **items = NULL, **done = NULL;
    int r = words_split(value, WORDS_COMMAS, &items, e);
    if (r < 0)
        return r;
    STRV_FOREACH (i, items) {
        char *path;
        r = words_expand(*i, x->module, false, NULL, &path, e);
        if (r < 0)
            return r;
        strv_push(&done, path);
        const char *p = path + (path[0] == '-');
        if (p[0] != '/' && !path_is_inside(p))
            return value_wrong(path, e, "path",
                               "/etc/default/web, or web.env beside bulkhead.ini; '-' before it: may be missing");
    }
    *ret = TAKE_PTR(done);
    return 0;
}

int list_modules(const char *value, char ***ret, Error *e)
{
    _cleanup_strv_ char **items = NULL, **done = NULL;
    int r = words_split(value, WORDS_COMMAS, &items, e);
    if (r < 0)
        return r;
    STRV_FOREACH (i, items) {
        _cleanup_(freep) char *shown = value_shown(*i);
        if (!module_reference_valid(*i))
            return error_set(e, -EINVAL, "'%s' is no module name (a-z, 0-9, '_' and '-', parted by commas)", shown);
        if (strv_contains(done, *i))
            return error_set(e, -EINVAL, "%s is listed twice (keep one)", *i);
        strv_add(&done, *i);
    }
    *ret = TAKE_PTR(done);
    return 0;
}

int list_rules(const char *value, char ***ret, Error *e)
{
    _cleanup_strv_ char **items = NULL;
    int r = words_split(value, WORDS_RULES, &items, e);
    if (r < 0)
        return r;
    STRV_FOREACH (i, items) {
        r = seccomp_rule_check(*i, e);
        if (r < 0)
            return r;
    }
    *ret = TAKE_PTR(items);
    return 0;
}

/* "64" or "64-70"; false when it is neither. */
static bool parse_range(const char *s, uint64_t *ret_from, uint64_t *ret_to)
{
    const char *dash = strchr(s, '-');
    _cleanup_(freep) char *from = dash ? xstrndup(s, (size_t)(dash - s)) : xstrdup(s);
    return parse_u64(from, ret_from) == 0 && parse_u64(dash ? dash + 1 : s, ret_to) == 0 && *ret_from <= *ret_to;
}

int list_exit_set(const char *value, ExitSet *ret, Error *e)
{
    _cleanup_strv_ char **items = NULL;
    int r = words_split(value, WORDS_COMMAS, &items, e);
    if (r < 0)
        return r;
    ExitSet set = {.codes = {1}};
    STRV_FOREACH (i, items) {
        uint64_t from, to;
        _cleanup_(freep) char *shown = value_shown(*i);
        if (isdigit((unsigned char)(*i)[0])) {
            if (!parse_range(*i, &from, &to) || to > 255)
                return error_set(e, -EINVAL, "'%s' is no exit status or range of them (0 to 255: 3, 64-70)", shown);
            for (; from <= to; from++)
                set.codes[from / 64] |= UINT64_C(1) << (from % 64);
            continue;
        }
        int signal = value_signal(*i, NULL);
        if (signal < 0)
            return error_set(e, -EINVAL, "'%s' is neither an exit status nor a signal (0, 3, 64-70, SIGTERM)", shown);
        set.signals |= UINT64_C(1) << (signal % 64);
    }
    *ret = set;
    return 0;
}

int list_ports(const char *value, uint16_t **ret, size_t *ret_n, Error *e)
{
    _cleanup_strv_ char **items = NULL;
    int r = words_split(value, WORDS_COMMAS, &items, e);
    if (r < 0)
        return r;
    size_t n = 0;
    _cleanup_(freep) uint16_t *ports = new0_array(uint16_t, strv_length(items));
    STRV_FOREACH (i, items) {
        int port = value_port(*i, e);
        if (port < 0)
            return port;
        for (size_t j = 0; j < n; j++)
            if (ports[j] == port)
                return error_set(e, -EINVAL, "port %d is listed twice (keep one)", port);
        ports[n++] = (uint16_t)port;
    }
    *ret = TAKE_PTR(ports);
    *ret_n = n;
    return 0;
}

int list_cpus(const char *value, char **ret, Error *e)
{
    enum { CPU_MAX = 8191 }; /* CONFIG_NR_CPUS goes no higher */
    _cleanup_strv_ char **items = NULL;
    int r = words_split(value, WORDS_COMMAS, &items, e);
    if (r < 0)
        return r;
    STRV_FOREACH (i, items) {
        uint64_t from, to;
        _cleanup_(freep) char *shown = value_shown(*i);
        if (!parse_range(*i, &from, &to) || to > CPU_MAX)
            return error_set(e, -EINVAL, "'%s' is no CPU or range of them (0-3, 5)", shown);
    }
    *ret = strv_join(items, ",");
    return 0;
}

int list_groups(const char *value, Nss *nss, gid_t **ret, size_t *ret_n, Error *e)
{
    _cleanup_strv_ char **items = NULL;
    int r = words_split(value, WORDS_COMMAS, &items, e);
    if (r < 0)
        return r;
    size_t n = 0;
    _cleanup_(freep) gid_t *groups = new0_array(gid_t, strv_length(items));
    STRV_FOREACH (i, items) {
        if (nss_group(nss, *i, &groups[n], e) < 0)
            return -EINVAL;
        n++;
    }
    *ret = TAKE_PTR(groups);
    *ret_n = n;
    return 0;
}

/* libcap wants the prefix and small letters; it also takes bare numbers, which say nothing to a reader. */
static int parse_capability(const char *s, cap_value_t *ret)
{
    char name[64];
    bool prefixed = strncasecmp(s, "cap_", 4) == 0;
    int n = snprintf(name, sizeof name, "%s%s", prefixed ? "" : "cap_", s);
    if (n < 0 || (size_t)n >= sizeof name || !isalpha((unsigned char)name[4]))
        return -EINVAL;
    for (char *p = name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return cap_from_name(name, ret) < 0 ? -EINVAL : 0;
}

int list_capabilities(const char *value, uint64_t *ret, Error *e)
{
    _cleanup_strv_ char **items = NULL;
    int r = words_split(value, WORDS_COMMAS, &items, e);
    if (r < 0)
        return r;
    uint64_t set = 0;
    STRV_FOREACH (i, items) {
        if (strcmp(*i, "none") == 0 && strv_length(items) == 1)
            break;
        cap_value_t cap;
        _cleanup_(freep) char *shown = value_shown(*i);
        if (parse_capability(*i, &cap) < 0 || cap < 0 || cap > 63)
            return error_set(e, -EINVAL, "'%s' is no capability (net_bind_service, chown; or none alone)", shown);
        set |= UINT64_C(1) << cap;
    }
    *ret = set;
    return 0;
}
