/* Users and groups by name, remembered for one load. See nss.h. */
#include "policies/nss.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "base/str.h"
#include "policies/kinds.h"

typedef struct Account {
    char *name;
    bool found;
    id_t id;
    gid_t gid; /* users: the primary group */
} Account;

struct Nss {
    Account *users, *groups;
    size_t n_users, n_groups;
};

Nss *nss_new(void)
{
    return new0(Nss);
}

Nss *nss_free(Nss *n)
{
    if (!n)
        return NULL;
    for (size_t i = 0; i < n->n_users; i++)
        free(n->users[i].name);
    for (size_t i = 0; i < n->n_groups; i++)
        free(n->groups[i].name);
    free(n->users);
    free(n->groups);
    free(n);
    return NULL;
}

static const Account *recall(const Account *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

/* The all-ones id means "unchanged" to the kernel. */
static bool parse_id(const char *name, id_t *ret)
{
    uint64_t v;
    if (parse_u64(name, &v) < 0 || v >= UINT32_MAX)
        return false;
    *ret = (id_t)v;
    return true;
}

static int look_up_user(const char *name, Account *a)
{
    errno = 0;
    const struct passwd *pw = parse_id(name, &a->id) ? getpwuid(a->id) : getpwnam(name);
    if (pw) {
        a->found = true;
        a->id = pw->pw_uid;
        a->gid = pw->pw_gid;
    } else {
        a->found = parse_id(name, &a->id);
        a->gid = (gid_t)-1;
    }
    return a->found ? 0 : errno;
}

static int look_up_group(const char *name, Account *a)
{
    errno = 0;
    a->found = parse_id(name, &a->id);
    if (a->found)
        return 0;
    const struct group *gr = getgrnam(name);
    if (gr) {
        a->found = true;
        a->id = gr->gr_gid;
    }
    return a->found ? 0 : errno;
}

static int unknown(const char *what, const char *name, int why, Error *e)
{
    _cleanup_(freep) char *shown = value_shown(name);
    /* "Not there" comes as 0 or as any of several numbers, see getpwnam(3). */
    if (why == 0 || why == ENOENT || why == ESRCH || why == EBADF || why == EPERM)
        return error_set(
            e, -ESRCH, "the %s '%s' does not exist on this host (a %s's name or number; make one: add%s --system %s%s)",
            what, shown, what, what, str_equal(what, "user") ? "--group " : "", shown);
    return error_set(e, -ESRCH, "the %s '%s' cannot be looked up: %s", what, shown, strerror(why));
}

int nss_user(Nss *n, const char *name, uid_t *ret_uid, gid_t *ret_gid, Error *e)
{
    const Account *known = recall(n->users, n->n_users, name);
    int why = 0;
    if (!known) {
        Account a = {.name = xstrdup(name)};
        why = look_up_user(name, &a);
        ARRAY_PUSH(n->users, n->n_users) = a;
        known = &n->users[n->n_users - 1];
    }
    if (!known->found)
        return unknown("user", name, why, e);
    *ret_uid = known->id;
    *ret_gid = known->gid;
    return 0;
}

int nss_group(Nss *n, const char *name, gid_t *ret, Error *e)
{
    const Account *known = recall(n->groups, n->n_groups, name);
    int why = 0;
    if (!known) {
        Account a = {.name = xstrdup(name)};
        why = look_up_group(name, &a);
        ARRAY_PUSH(n->groups, n->n_groups) = a;
        known = &n->groups[n->n_groups - 1];
    }
    if (!known->found)
        return unknown("group", name, why, e);
    *ret = known->id;
    return 0;
}
