/* An open tree: what all files of this room ask it. Where it is, which hierarchy carries a controller, what a path in
 * it may look like and which directories are there. How it is opened and removed is root.c's. */
#include "cgroups/private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

const char *tree_advice(int code)
{
    switch (code) {
    case -EROFS:
        return "cgroupfs is mounted read-only here: give the container or service a writable cgroup mount";
    case -EACCES:
    case -EPERM:
        return "run the daemon as root, in a cgroup that is delegated to it";
    case -ENOSPC:
    case -EAGAIN:
        return "the kernel's or an ancestor's limit of cgroups is reached: see cgroup.max.descendants above it";
    case -ENOENT:
        return "its parent is gone: was it removed from outside?";
    case -EBUSY:
        return "processes sit in it, or it is in use";
    default:
        return "see the kernel's cgroup documentation";
    }
}

CgroupTree *cgroup_tree_close(CgroupTree *t)
{
    if (!t)
        return NULL;
    for (int h = 0; h < CG_N; h++) {
        fd_close(t->fd[h]);
        free(t->mount[h]);
        free(t->own_dir[h]);
        free(t->dir[h]);
    }
    free(t->name);
    free(t->root_path);
    free(t);
    return NULL;
}

int tree_carrier(const CgroupTree *t, Hierarchy controller)
{
    if (controller == CG_UNIFIED || (t->unified & (1u << controller)))
        return CG_UNIFIED;
    return t->mount[controller] ? (int)controller : -1;
}

int tree_path_check(const char *path, Error *e)
{
    bool bad = strlen(path) > 2048;
    for (const char *p = path; *p && !bad;) {
        size_t n = strcspn(p, "/");
        bad = n == 0 || n > 255 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.') ||
              (p[n] == '/' && p[n + 1] == '\0');
        p += n + (p[n] == '/');
    }
    return bad ? error_set(e, -EINVAL, "\"%s\" cannot be a group: use a relative path of plain names", path) : 0;
}

CgroupMode cgroup_tree_mode(const CgroupTree *t)
{
    for (int h = CG_UNIFIED + 1; h < CG_N; h++)
        if (t->mount[h])
            return CGROUP_HYBRID;
    return CGROUP_PURE;
}

const char *cgroup_tree_root(const CgroupTree *t)
{
    return t->dir[CG_UNIFIED];
}

const char *cgroup_tree_root_path(const CgroupTree *t)
{
    return t->root_path;
}

unsigned cgroup_tree_level(const CgroupTree *t)
{
    unsigned level = 0;
    for (const char *p = t->root_path; *p; p++)
        level += *p == '/';
    return level;
}

bool cgroup_tree_held(const CgroupTree *t)
{
    return t->held;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int children_in(int root, const char *path, char ***names, size_t *n)
{
    int fd = openat(root, *path ? path : ".", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *d = fdopendir(fd);
    if (!d) {
        int r = -errno;
        fd_close(fd);
        return r;
    }
    for (struct dirent *de; (de = readdir(d));)
        if (de->d_type == DT_DIR && de->d_name[0] != '.')
            ARRAY_PUSH(*names, *n) = xstrdup(de->d_name);
    closedir(d);
    return 0;
}

/* Of all hierarchies together: what a dead daemon half removed must be found. */
int cgroup_tree_children(CgroupTree *t, const char *path, char ***ret_names)
{
    int r = tree_path_check(path, NULL);
    char **names = NULL;
    size_t n = 0, kept = 0;
    bool found = false;
    for (int h = 0; h < CG_N && (r == 0 || r == -ENOENT); h++)
        if (t->fd[h] >= 0) {
            r = children_in(t->fd[h], path, &names, &n);
            found = found || r == 0;
        }
    if (n > 0)
        qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        if (kept > 0 && str_equal(names[kept - 1], names[i]))
            free(names[i]);
        else
            names[kept++] = names[i];
    }
    names = xrealloc(names, kept + 1, sizeof *names);
    names[kept] = NULL;
    if (!found || (r < 0 && r != -ENOENT)) {
        strv_free(names);
        return r;
    }
    *ret_names = names;
    return 0;
}
