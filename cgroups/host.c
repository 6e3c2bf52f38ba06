/* Where the host's cgroup hierarchies are, and which cgroup of each is ours.
 *
 * Three sources, each for what it is good at: libcgroup lists controllers with their mount points;
 * /proc/self/mountinfo tells the version, which part of a hierarchy a mount shows (a container may see a sub-tree
 * only), and where a cgroup2 mount without controllers is, which libcgroup does not know; /proc/self/cgroup names the
 * own cgroup (libcgroup's answer is wrong on pure cgroup2). cgroup_host_build is pure and takes all three as values;
 * cgroup_host_discover reads them. Invariant: a CgroupHost always has CG_UNIFIED, and no two hierarchies share a
 * directory. */
#include "cgroups/private.h"

#include <errno.h>
#include <fcntl.h>
#include <libcgroup.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/str.h"

const char *const hierarchy_names[CG_N] = {
    [CG_UNIFIED] = "cgroup2", [CG_MEMORY] = "memory", [CG_CPU] = "cpu", [CG_PIDS] = "pids", [CG_CPUSET] = "cpuset",
};

#define TEXT_LIMIT (4u << 20)

CgroupHost *cgroup_host_free(CgroupHost *h)
{
    if (!h)
        return NULL;
    for (int i = 0; i < CG_N; i++) {
        free(h->h[i].mount);
        free(h->h[i].own);
    }
    free(h->own_path);
    free(h);
    return NULL;
}

/* A line of mountinfo, reduced to what matters; strings point into a private copy of the text. */
typedef struct Mount {
    char *root, *point, *type;
} Mount;

/* mountinfo writes blanks, tabs, newlines and backslashes as \ooo. */
static void unescape(char *s)
{
    char *to = s;
    for (; *s; s++) {
        if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' && s[3] <= '7') {
            *to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 3;
        } else {
            *to++ = *s;
        }
    }
    *to = '\0';
}

/* "36 35 98:0 ROOT POINT options [optional fields] - TYPE source superoptions" */
static bool mount_parse(char *line, Mount *ret)
{
    Mount m = {0};
    char *save = NULL;
    int n = 0;
    bool past = false;
    for (char *f = strtok_r(line, " ", &save); f && !m.type; f = strtok_r(NULL, " ", &save), n++) {
        if (n == 3)
            m.root = f;
        else if (n == 4)
            m.point = f;
        else if (n > 5 && past)
            m.type = f;
        else if (n > 5 && str_equal(f, "-"))
            past = true;
    }
    if (!m.root || !m.point || !m.type)
        return false;
    unescape(m.root);
    unescape(m.point);
    *ret = m;
    return true;
}

/* Cgroup mounts only, in the order of mounting. */
static Mount *mounts_parse(char *text, size_t *ret_n)
{
    Mount *mounts = NULL;
    size_t n = 0;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        Mount m;
        if (mount_parse(line, &m) && (str_equal(m.type, "cgroup") || str_equal(m.type, "cgroup2")))
            ARRAY_PUSH(mounts, n) = m;
    }
    *ret_n = n;
    return mounts;
}

/* The mount that shows at `point`: the last one there hides those before it. */
static const Mount *mount_at(const Mount *mounts, size_t n, const char *point)
{
    while (n-- > 0)
        if (str_equal(mounts[n].point, point))
            return &mounts[n];
    return NULL;
}

/* The own path in the hierarchy that has `controller` ("" = cgroup2), from lines "ID:LIST:PATH". NULL when it is not
 * there. */
static char *own_path(const char *text, const char *controller)
{
    for (const char *line = text; *line;) {
        const char *end = strchrnul(line, '\n');
        const char *list = memchr(line, ':', (size_t)(end - line));
        const char *path = list ? memchr(list + 1, ':', (size_t)(end - list - 1)) : NULL;
        if (path) {
            _cleanup_(freep) char *names = xstrndup(list + 1, (size_t)(path - list - 1));
            char *save = NULL, *rest = names, *name;
            bool found = !*controller && !*names;
            for (; !found && (name = strtok_r(rest, ",", &save)); rest = NULL)
                found = str_equal(name, controller);
            if (found)
                return xstrndup(path + 1, (size_t)(end - path - 1));
        }
        line = *end ? end + 1 : end;
    }
    return NULL;
}

/* Where the cgroup `path` lies below a mount that shows the hierarchy from `root` on; NULL when it lies outside. */
static char *below_mount(const char *root, const char *path)
{
    size_t n = str_equal(root, "/") ? 0 : strlen(root);
    if (strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != '\0'))
        return NULL;
    return xstrdup(str_equal(path + n, "/") ? "" : path + n);
}

static int hierarchy_set(CgroupHost *h, Hierarchy which, const Mount *m, const char *path, Error *e)
{
    if (str_starts(path, "/.."))
        return error_set(e, -ENOENT,
                         "own %s cgroup %s lies outside this cgroup namespace: start the daemon from inside it",
                         hierarchy_names[which], path);
    _cleanup_(freep) char *own = below_mount(m->root, path);
    if (!own)
        return error_set(e, -ENOENT,
                         "own %s cgroup %s is not visible below %s, which shows %s: mount the whole hierarchy",
                         hierarchy_names[which], path, m->point, m->root);
    h->h[which].mount = xstrdup(m->point);
    h->h[which].own = TAKE_PTR(own);
    return 0;
}

static int unified_set(CgroupHost *h, const char *proc_cgroup, const Mount *mounts, size_t n, Error *e)
{
    _cleanup_(freep) char *path = own_path(proc_cgroup, "");
    const Mount *m = NULL;
    for (size_t i = 0; !m && i < n; i++) {
        /* A mount that shows our cgroup, and that nothing else was mounted over. */
        _cleanup_(freep) char *own = path ? below_mount(mounts[i].root, path) : NULL;
        if (str_equal(mounts[i].type, "cgroup2") && own && mount_at(mounts, n, mounts[i].point) == &mounts[i])
            m = &mounts[i];
    }
    if (!m && path && str_starts(path, "/.."))
        return error_set(e, -ENOENT,
                         "own cgroup %s lies outside this cgroup namespace: start the daemon from inside it", path);
    if (!m)
        return error_set(e, -ENOENT,
                         "no cgroup2 mount shows the own cgroup%s%s: mount one (mount -t cgroup2 none "
                         "/sys/fs/cgroup/unified), or boot with systemd.unified_cgroup_hierarchy=1",
                         path ? " " : "", str_or(path, ""));
    h->own_path = xstrdup(str_equal(path, "/") ? "" : path);
    return hierarchy_set(h, CG_UNIFIED, m, path, e);
}

static int controller_set(CgroupHost *h, Hierarchy which, const HostController *c, const char *proc_cgroup,
                          const Mount *mounts, size_t n, Error *e)
{
    const Mount *m = mount_at(mounts, n, c->mount);
    if (m && str_equal(m->type, "cgroup2")) {
        h->unified |= 1u << which;
        return 0;
    }
    _cleanup_(freep) char *path = own_path(proc_cgroup, c->name);
    if (!m || !path)
        return error_set(e, -ENOENT, "controller %s is said to be at %s, but %s does not show it", c->name, c->mount,
                         m ? "/proc/self/cgroup" : "/proc/self/mountinfo");
    for (int i = 0; i < CG_N; i++)
        if (h->h[i].mount && str_equal(h->h[i].mount, c->mount))
            return error_set(e, -EOPNOTSUPP,
                             "%s and %s share the hierarchy %s: mount each controller on its own, or use cgroup2 alone",
                             hierarchy_names[i], c->name, c->mount);
    return hierarchy_set(h, which, m, path, e);
}

int cgroup_host_build(const char *proc_cgroup, const char *mountinfo, const HostController *controllers, size_t n,
                      CgroupHost **ret, Error *e)
{
    _cleanup_(cgroup_host_freep) CgroupHost *h = new0(CgroupHost);
    _cleanup_(freep) char *text = xstrdup(mountinfo);
    size_t n_mounts;
    _cleanup_(freep) Mount *mounts = mounts_parse(text, &n_mounts);

    int r = unified_set(h, proc_cgroup, mounts, n_mounts, e);
    for (int which = CG_UNIFIED + 1; r >= 0 && which < CG_N; which++)
        for (size_t i = 0; r >= 0 && i < n; i++)
            if (str_equal(controllers[i].name, hierarchy_names[which]) && !h->h[which].mount)
                r = controller_set(h, (Hierarchy)which, &controllers[i], proc_cgroup, mounts, n_mounts, e);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(h);
    return 0;
}

/* libcgroup keeps its tables in globals and rewrites them at each cgroup_init: once a process. */
static int libcgroup_init(Error *e)
{
    static bool done;
    if (done)
        return 0;
    int r = cgroup_init();
    /* The library's own texts are off by one against its codes, so the number is what can be trusted. */
    if (r != 0)
        return error_set(e, -ENOENT, "libcgroup finds no mounted cgroup hierarchy (error %d): mount cgroup2 at %s", r,
                         "/sys/fs/cgroup");
    done = true;
    return 0;
}

static void controllers_free(HostController *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free((char *)c[i].name);
        free((char *)c[i].mount);
    }
    free(c);
}

static int controllers_list(HostController **ret, size_t *ret_n, Error *e)
{
    int r = libcgroup_init(e);
    if (r < 0)
        return r;
    HostController *list = NULL;
    size_t n = 0;
    void *handle = NULL;
    struct cgroup_mount_point mp;
    for (r = cgroup_get_controller_begin(&handle, &mp); r == 0; r = cgroup_get_controller_next(&handle, &mp))
        ARRAY_PUSH(list, n) = (HostController){xstrdup(mp.name), xstrdup(mp.path)};
    cgroup_get_controller_end(&handle);
    if (r != ECGEOF && r != ECGROUPNOTMOUNTED) {
        controllers_free(list, n);
        return error_set(e, -EIO, "libcgroup could not list the controllers (error %d)", r);
    }
    *ret = list;
    *ret_n = n;
    return 0;
}

/* own_path is where the mount's top lies and then `own`; so it tells what stands before every directory's path. */
char *cgroup_host_directory(const CgroupHost *h, const char *path)
{
    size_t n = strlen(h->own_path) - strlen(h->h[CG_UNIFIED].own);
    if (strncmp(path, h->own_path, n) != 0 || path[n] != '/')
        return NULL;
    return xasprintf("%s%s", h->h[CG_UNIFIED].mount, path + n);
}

int cgroup_host_discover(CgroupHost **ret, Error *e)
{
    _cleanup_(freep) char *own = NULL, *mountinfo = NULL;
    int r = file_read_all(AT_FDCWD, "/proc/self/cgroup", TEXT_LIMIT, &own, NULL);
    if (r < 0)
        return error_errno(e, r, "cannot read /proc/self/cgroup");
    r = file_read_all(AT_FDCWD, "/proc/self/mountinfo", TEXT_LIMIT, &mountinfo, NULL);
    if (r < 0)
        return error_errno(e, r, "cannot read /proc/self/mountinfo");
    HostController *controllers = NULL;
    size_t n = 0;
    r = controllers_list(&controllers, &n, e);
    if (r < 0)
        return r;
    r = cgroup_host_build(own, mountinfo, controllers, n, ret, e);
    controllers_free(controllers, n);
    return r;
}

bool cgroup_all_unified(void)
{
    _cleanup_(cgroup_host_freep) CgroupHost *h = NULL;
    const unsigned all = 1u << CG_MEMORY | 1u << CG_CPU | 1u << CG_PIDS;
    return cgroup_host_discover(&h, NULL) == 0 && h && (h->unified & all) == all;
}
