/* See load.h and policy.h. The files of a configuration: which there are, in which order they count, and what they say
 * merged.
 *
 * Values are kept as text until all files of a module are read: a later file wins before anything is parsed, so a
 * drop-in can mend what the file below it says. Everything is read through descriptors of the directories, each judged
 * once by owner and mode (reader.h), so that no path is walked twice. */
#include "policies/load.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/str.h"
#include "policies/reader.h"
#include "policies/values.h"

/* --- directories -------------------------------------------------------------------------------------------------- */
static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names in the directory with one of the suffixes, sorted by strcmp; ends in NULL. Complains when it cannot be read. */
static char **list_names(Loading *l, int fd, const char *shown, const char *suffix, const char *other)
{
    char **names = NULL;
    size_t n = 0;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
    errno = d ? 0 : errno;
    for (struct dirent *e; d && (e = readdir(d));)
        if (str_ends(e->d_name, suffix) || (other && str_ends(e->d_name, other)))
            ARRAY_PUSH(names, n) = xstrdup(e->d_name);
    if (errno != 0)
        complaints_add(l->complaints, shown, 0, NULL, "cannot be read: %s", strerror(errno));
    if (d)
        closedir(d);
    else
        fd_close(copy);
    if (n > 1)
        qsort(names, n, sizeof *names, compare_names);
    ARRAY_PUSH(names, n) = NULL;
    return names;
}

static void note_file(ModuleLayers *ml, const Source *s)
{
    if (ml)
        ARRAY_PUSH(ml->files, ml->n_files) = (LayerFile){.layer = s->layer, .file = s->file};
}

static void read_drop_ins(Loading *l, int modules_fd, const char *file_name, Source *s, ModuleLayers *ml)
{
    _cleanup_(freep) char *dir = xasprintf("%s.d", file_name);
    _cleanup_(freep) char *shown = xasprintf("%s/modules.d/%s", l->dir, dir);
    _cleanup_fd_ int fd = reader_directory(modules_fd, dir, shown, l->complaints);
    if (fd < 0) {
        s->lost = s->lost || fd != -ENOENT;
        return;
    }
    _cleanup_strv_ char **names = list_names(l, fd, shown, ".ini", NULL);
    s->layer = LAYER_DROP_IN;
    STRV_FOREACH (name, names) {
        int r = source_read(l, fd, *name, xasprintf("%s/%s", shown, *name), s);
        if (r == -ENOENT)
            complaints_add(l->complaints, l->files[s->file], 0, NULL, "a symbolic link to nowhere");
        if (r == 0)
            note_file(ml, s);
    }
}

/* What the files of the module in modules.d/`file_name` say, merged into `raws`. True: all of it was understood. */
static bool read_module(Loading *l, int modules_fd, const char *file_name, const char *shown, const Raw *defaults,
                        Raw *raws, ModuleLayers *ml)
{
    Raw own[KEYS_MAX] = {0};
    ModuleLayers above = {0}; /* an included file lies below them, but only they tell which it is */
    Source s = {.module = own, .layer = LAYER_FILE};
    int r = source_read(l, modules_fd, file_name, xstrdup(shown), &s);
    if (r == -ENOENT) {
        complaints_add(l->complaints, shown, 0, NULL, "a symbolic link to nowhere");
        s.lost = true;
    }
    if (r == 0)
        note_file(ml ? &above : NULL, &s);
    read_drop_ins(l, modules_fd, file_name, &s, ml ? &above : NULL);
    raws_put_over(defaults, raws);
    include_merge(l, own, raws, &s.lost, ml);
    raws_put_over(own, raws);
    raws_done(own);
    for (size_t i = 0; i < above.n_files; i++)
        ARRAY_PUSH(ml->files, ml->n_files) = above.files[i];
    free(above.files);
    return !s.lost;
}

/* "web@2" for "web@2.ini": somebody wants an instance. */
static bool complain_of_instance(const Loading *l, const char *name, const char *shown)
{
    if (!module_reference_valid(name) || module_instance(name) == 0)
        return false;
    int stem = (int)module_stem(name);
    complaints_add(l->complaints, shown, 0, NULL,
                   "an instance has no file of its own (write %.*s.ini with instances = %u in [module]; %%i is the "
                   "number in it)",
                   stem, name, module_instance(name));
    return true;
}

/* The module in modules.d/`file_name`, drop-ins and all. */
static void load_module(Loading *l, int modules_fd, const char *file_name, const Raw *defaults, Policy *p)
{
    _cleanup_(freep) char *name = xstrndup(file_name, strlen(file_name) - strlen(".ini"));
    _cleanup_(freep) char *shown = xasprintf("%s/modules.d/%s", l->dir, file_name);
    if (!module_name_valid(name)) {
        if (!complain_of_instance(l, name, shown))
            complaints_add(l->complaints, shown, 0, NULL,
                           "not a module's name (a-z, 0-9, '_' and '-', at most %d of them)", MODULE_NAME_MAX);
        return;
    }
    ModuleLayers *ml = l->layers ? &ARRAY_PUSH(l->layers->modules, l->layers->n_modules) : NULL;
    if (ml)
        ml->name = xstrdup(name);
    Raw raws[KEYS_MAX] = {0};
    bool whole = read_module(l, modules_fd, file_name, shown, defaults, raws, ml);
    instances_load(l, p, name, shown, raws, whole);
    raws_done(raws);
}

static void load_modules(Loading *l, int modules_fd, const Raw *defaults, Policy *p)
{
    _cleanup_(freep) char *shown = xasprintf("%s/modules.d", l->dir);
    _cleanup_strv_ char **names = list_names(l, modules_fd, shown, ".ini", ".ini.d");
    STRV_FOREACH (name, names) {
        if (!str_ends(*name, ".ini.d")) {
            load_module(l, modules_fd, *name, defaults, p);
            continue;
        }
        _cleanup_(freep) char *module = xstrndup(*name, strlen(*name) - strlen(".d"));
        _cleanup_(freep) char *dir = xasprintf("%s/%s", shown, *name);
        _cleanup_(freep) char *bare = xstrndup(module, strlen(module) - strlen(".ini"));
        if (!strv_contains(names, module) && !complain_of_instance(l, bare, dir))
            complaints_add(l->complaints, dir, 0, NULL, "drop-ins of no module (%s is not there)", module);
    }
}

static int compare_modules(const void *a, const void *b)
{
    return module_name_compare((*(ModulePolicy *const *)a)->name, (*(ModulePolicy *const *)b)->name);
}

static int compare_templates(const void *a, const void *b)
{
    return module_name_compare(((const Template *)a)->name, ((const Template *)b)->name);
}

void policy_sort(Policy *p)
{
    if (p->n_modules > 1)
        qsort(p->modules, p->n_modules, sizeof(void *), compare_modules);
    if (p->n_templates > 1 && !p->read)
        qsort(p->templates, p->n_templates, sizeof *p->templates, compare_templates);
}

/* bulkhead.ini, which may be missing. False if it is. */
static bool load_bulkhead_ini(Loading *l, Raw *defaults, Policy *p)
{
    Raw supervisor[KEYS_MAX] = {0};
    bool bad[KEYS_MAX] = {0};
    Source s = {.supervisor = supervisor, .defaults = defaults, .layer = LAYER_FILE};
    struct stat st;
    int r = source_read(l, l->dirfd, "bulkhead.ini", xasprintf("%s/bulkhead.ini", l->dir), &s);
    if (r == -ENOENT && fstatat(l->dirfd, "bulkhead.ini", &st, AT_SYMLINK_NOFOLLOW) == 0)
        complaints_add(l->complaints, l->files[s.file], 0, NULL, "a symbolic link to nowhere");
    else if (r == -ENOENT)
        source_forget(l);

    ValueContext x = {.nss = l->nss};
    SupervisorPolicy *v = &p->supervisor;
    fields_parse(l, FIELDS_SUPERVISOR, supervisor, &x, v, bad);
    v->read_gid = v->operate_gid = (gid_t)-1;
    if ((v->read_group && nss_group(l->nss, v->read_group, &v->read_gid, NULL) < 0) ||
        (v->operate_group && nss_group(l->nss, v->operate_group, &v->operate_gid, NULL) < 0))
        abort(); /* fields_parse() has seen that they exist */
    module_check_defaults(l, defaults);
    raws_done(supervisor);
    return r != -ENOENT;
}

static void load_all(Loading *l, Policy *p)
{
    Raw defaults[KEYS_MAX] = {0};
    bool any = load_bulkhead_ini(l, defaults, p);
    _cleanup_(freep) char *shown = xasprintf("%s/modules.d", l->dir);
    _cleanup_fd_ int fd = reader_directory(l->dirfd, "modules.d", shown, l->complaints);
    if (fd >= 0)
        load_modules(l, fd, defaults, p);
    else if (fd == -ENOENT && !any)
        complaints_add(
            l->complaints, l->dir, 0, NULL,
            "neither bulkhead.ini nor modules.d is here (mkdir %s/modules.d, or name the directory that holds them)",
            l->dir);
    raws_done(defaults);
    policy_sort(p);
    for (size_t i = 0; i < p->n_modules; i++)
        p->modules[i]->policy = p;
}

/* --- what two modules must not both have -------------------------------------------------------------------------- */
typedef struct Use {
    const Listen *listen;
    const ModulePolicy *module;
} Use;

static int compare_uses(const void *a, const void *b)
{
    const Use *x = a, *y = b;
    int r = strcmp(x->listen->text, y->listen->text);
    return r ? r : module_name_compare(x->module->name, y->module->name);
}

/* Complains about an address that two modules would listen on; the instances of one template may. */
static void check_listeners(const Loading *l, const Policy *p)
{
    Use *uses = NULL;
    size_t n = 0;
    for (size_t i = 0; i < p->n_modules; i++)
        for (size_t k = 0; k < p->modules[i]->listen.n; k++)
            ARRAY_PUSH(uses, n) = (Use){.listen = &p->modules[i]->listen.items[k], .module = p->modules[i]};
    if (n > 1)
        qsort(uses, n, sizeof *uses, compare_uses);
    for (size_t i = 1; i < n; i++) {
        const Use *a = &uses[i - 1], *b = &uses[i];
        size_t stem = module_stem(a->module->name);
        const char *file;
        unsigned line;
        if (strcmp(a->listen->text, b->listen->text) != 0 ||
            (stem == module_stem(b->module->name) && strncmp(a->module->name, b->module->name, stem) == 0))
            continue;
        policy_origin(b->module, "module.listen", &file, &line);
        complaints_add(l->complaints, file, line, "module.listen", "%s is %.*s's already (another port or path)",
                       b->listen->text, (int)stem, a->module->name);
    }
    free(uses);
}

/* --- policies ----------------------------------------------------------------------------------------------------- */
static char *without_trailing_slashes(const char *dir)
{
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    return xstrndup(dir, n);
}

int policy_read_layers(const char *dir, const char *shared_dir, Policy **ret, Layers *ret_layers,
                       Complaints *complaints)
{
    size_t before = complaints->n;
    Policy *p = new0(Policy);
    p->refs = 1;
    p->dir = without_trailing_slashes(dir);
    _cleanup_fd_ int fd = reader_directory(AT_FDCWD, p->dir, p->dir, complaints);
    if (fd == -ENOENT)
        complaints_add(complaints, p->dir, 0, NULL,
                       "no such directory (make it: mkdir -p %s/modules.d; then bulkhead init)", p->dir);
    if (fd >= 0) {
        _cleanup_strv_ char **profiles = NULL;
        strv_push(&profiles, xasprintf("%s/profiles", p->dir));
        if (shared_dir)
            strv_push(&profiles, xasprintf("%s/profiles", shared_dir));
        Loading l = {.dir = p->dir, .dirfd = fd, .complaints = complaints, .layers = ret_layers};
        l.nss = nss_new();
        l.seccomp = seccomp_compiler_new(profiles);
        load_all(&l, p);
        include_done(&l);
        seccomp_compiler_free(l.seccomp);
        nss_free(l.nss);
        ARRAY_PUSH(l.files, l.n_files) = NULL;
        p->files = l.files;
        check_listeners(&l, p);
    }
    *ret = p;
    if (complaints->n == before)
        return 0;
    complaints_sort(complaints);
    return -EINVAL;
}

int policy_read(const char *dir, const char *shared_dir, Policy **ret, Complaints *complaints)
{
    return policy_read_layers(dir, shared_dir, ret, NULL, complaints);
}

int policy_load(const char *dir, const char *shared_dir, Policy **ret, Complaints *complaints)
{
    Policy *p = NULL;
    int r = policy_read(dir, shared_dir, &p, complaints);
    if (r < 0)
        policy_free(p);
    else
        *ret = p;
    return r;
}

Policy *policy_free(Policy *p)
{
    if (!p)
        return NULL;
    if (p->refs > 1) {
        p->refs--;
        return NULL;
    }
    for (size_t i = 0; i < p->n_modules; i++)
        module_free(p->modules[i]);
    free(p->modules);
    if (p->read) {
        policy_free(p->read);
        free(p);
        return NULL;
    }
    for (size_t i = 0; i < keys_n; i++)
        if (key_is_supervisor(&keys[i]))
            value_done(&keys[i], &p->supervisor);
    for (size_t i = 0; i < p->n_templates; i++)
        template_done(&p->templates[i]);
    free(p->templates);
    strv_free(p->files);
    free(p->dir);
    free(p);
    return NULL;
}
