/* See policy.h. What is asked of a policy; load.c and grow.c make them. */
#include "policies/policy.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

static int compare_with_name(const void *name, const void *module)
{
    return module_name_compare(name, (*(ModulePolicy *const *)module)->name);
}

ModulePolicy *policy_find(const Policy *p, const char *name)
{
    ModulePolicy **found =
        p->n_modules ? bsearch(name, p->modules, p->n_modules, sizeof(void *), compare_with_name) : NULL;
    return found ? *found : NULL;
}

const Template *policy_template(const Policy *p, const char *name)
{
    size_t low = 0, high = p->n_templates;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int r = module_name_compare(name, p->templates[middle].name);
        if (r == 0)
            return &p->templates[middle];
        if (r < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

size_t policy_instances(const Policy *p, const char *template, size_t *ret_first)
{
    size_t low = 0, high = p->n_modules, n = 0;
    while (low < high) { /* the first that is not before it: "web" itself would stand before "web@1" */
        size_t middle = low + (high - low) / 2;
        if (module_name_compare(p->modules[middle]->name, template) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    while (low + n < p->n_modules && module_is_instance_of(p->modules[low + n]->name, template))
        n++;
    *ret_first = low;
    return n;
}

static bool holds_profiles(const char *dir)
{
    struct stat st;
    _cleanup_(freep) char *profiles = xasprintf("%s/profiles", dir);
    return stat(profiles, &st) == 0 && S_ISDIR(st.st_mode);
}

/* Cuts the last component off; false when there is none. */
static bool path_up(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return false;
    *slash = '\0';
    return true;
}

int policy_shared_dir(char **ret)
{
    enum { BUILD_DEPTH = 3 }; /* build/unit/test_x is two below the source tree */
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n < 0)
        return -errno;
    path[n] = '\0';
    if (!path_up(path))
        return -ENOENT;
    bool installed = str_ends(path, "/bin") || str_ends(path, "/sbin");
    for (int i = 0; i < (installed ? 1 : BUILD_DEPTH) && path_up(path); i++) {
        _cleanup_(freep) char *dir = xasprintf("%s/%s", path, installed ? "share/bulkhead" : "policies");
        if (holds_profiles(dir)) {
            *ret = TAKE_PTR(dir);
            return 0;
        }
    }
    return -ENOENT;
}

bool exit_set_contains(const ExitSet *set, int code, int signal)
{
    if (signal > 0)
        return signal <= 64 && (set->signals >> (signal % 64) & 1);
    return code >= 0 && code <= 255 && (set->codes[code / 64] >> (code % 64) & 1);
}
