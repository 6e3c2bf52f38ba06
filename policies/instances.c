/* Templates: a file with `instances` makes several modules of the same values, and more at run time.
 *
 * What a template's files say is kept merged, as text, so that an instance that comes later is built of what was read,
 * not of what the files say by then. Only an environment_file whose name differs from instance to instance (%i) is read
 * when its instance is built. All instances share the first one's seccomp filter: no %i stands in a rule.
 *
 * A policy that is made of another one borrows all but the vector of modules from what was read, which it keeps alive;
 * the modules are counted by references. What was read keeps its own instances, so one that comes back is the same. */
#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/str.h"
#include "policies/load.h"
#include "policies/reader.h"

enum { STEM_MAX = MODULE_NAME_MAX - 5 }; /* leaves room for "@1000" */

static size_t instances_key(void)
{
    return (size_t)(key_find("module", "instances") - keys);
}

unsigned instances_wanted(const Loading *l, const Raw *raws)
{
    const Key *k = &keys[instances_key()];
    const char *value = raws[instances_key()].value;
    ModulePolicy scratch = {0};
    ValueContext x = {.nss = l->nss};
    /* A wrong value is told when the module is built. */
    if (!value || !*value || value_parse(k, value, &x, &scratch, NULL) < 0)
        return 0;
    return (unsigned)scratch.instances;
}

static TemplateSource *source_new(const char *file, const Raw *raws, bool whole)
{
    TemplateSource *s = new0(TemplateSource);
    s->file = xstrdup(file);
    s->whole = whole;
    for (size_t i = 0; i < keys_n; i++) {
        s->raws[i] = raws[i];
        s->raws[i].value = raws[i].value ? xstrdup(raws[i].value) : NULL;
    }
    return s;
}

void template_done(Template *t)
{
    TemplateSource *s = t->source;
    for (size_t i = 0; i < keys_n; i++)
        free(s->raws[i].value);
    for (size_t i = 0; i < s->environment.n; i++) {
        free(s->environment.items[i].path);
        strv_free(s->environment.items[i].variables);
    }
    free(s->environment.items);
    free(s->file);
    free(s);
    free(t->name);
}

static ModulePolicy *build_instance(Loading *l, const Template *t, unsigned number)
{
    _cleanup_(freep) char *name = xasprintf("%s@%u", t->name, number);
    l->environment = &t->source->environment;
    ModulePolicy *m = module_build(l, name, t->source->file, t->source->raws, t->source->whole);
    l->environment = NULL;
    return m;
}

static void push(Policy *p, ModulePolicy *m)
{
    ARRAY_PUSH(p->modules, p->n_modules) = m;
}

void instances_load(Loading *l, Policy *p, const char *name, const char *file, const Raw *raws, bool whole)
{
    unsigned n = instances_wanted(l, raws);
    if (n > 0 && strlen(name) > STEM_MAX) {
        size_t k = instances_key();
        loading_complain(l, &keys[k], &raws[k], "a name with instances has at most %d characters (rename the file)",
                         STEM_MAX);
        n = 0;
    }
    if (n == 0) {
        push(p, module_build(l, name, file, raws, whole));
        return;
    }
    Template *t = &ARRAY_PUSH(p->templates, p->n_templates);
    *t = (Template){.name = xstrdup(name), .instances = n, .source = source_new(file, raws, whole)};
    const ModulePolicy *first = NULL;
    for (unsigned k = 1; k <= n; k++) {
        l->like = first;
        ModulePolicy *m = build_instance(l, t, k);
        first = first ? first : m;
        push(p, m);
    }
    l->like = NULL;
}

/* --- policies made of others -------------------------------------------------------------------------------------- */

/* What was read from files. Counting references changes nothing that anybody reads of it. */
static Policy *read_of(const Policy *p)
{
    return p->read ? p->read : (Policy *)(uintptr_t)p;
}

Policy *policy_keep(const Policy *p, const bool *keep)
{
    Policy *read = read_of(p), *q = new0(Policy);
    *q = *read;
    q->refs = 1;
    q->read = read;
    read->refs++;
    q->modules = NULL;
    q->n_modules = 0;
    for (size_t i = 0; i < p->n_modules; i++)
        if (!keep || keep[i]) {
            p->modules[i]->refs++;
            push(q, p->modules[i]);
        }
    return q;
}

/* Pushes what is missing of instances 1 to n. */
static void add_missing(Loading *l, const Policy *p, const Template *t, unsigned n, Policy *q)
{
    for (unsigned k = 1; k <= n; k++) {
        _cleanup_(freep) char *name = xasprintf("%s@%u", t->name, k);
        if (policy_find(p, name))
            continue;
        ModulePolicy *m = policy_find(q->read, name);
        if (m)
            m->refs++;
        else
            m = build_instance(l, t, k);
        m->policy = q->read;
        push(q, m);
    }
}

int policy_grow(const Policy *p, const char *template, unsigned n, Policy **ret, Complaints *complaints)
{
    const Template *t = policy_template(p, template);
    if (!t)
        return -ENOENT;
    _cleanup_(policy_freep) Policy *q = policy_keep(p, NULL);
    _cleanup_complaints_ Complaints ignored = {0};
    _cleanup_(freep) char *first = xasprintf("%s@1", t->name);
    size_t before = complaints->n;
    /* That it cannot be opened is told by what is wanted of it. */
    _cleanup_fd_ int fd = reader_directory(AT_FDCWD, q->dir, q->dir, &ignored);
    Loading l = {
        .dir = q->dir,
        .dirfd = fd,
        .files = q->files,
        .n_files = strv_length(q->files),
        .complaints = complaints,
        .like = policy_find(q->read, first),
    };
    l.nss = nss_new();
    add_missing(&l, p, t, n, q);
    nss_free(l.nss);
    policy_sort(q);
    if (complaints->n > before) {
        complaints_sort(complaints);
        return -EINVAL;
    }
    *ret = TAKE_PTR(q);
    return 0;
}

/* --- questions ---------------------------------------------------------------------------------------------------- */

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
