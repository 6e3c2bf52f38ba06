/* Templates: a file with `instances` makes several modules of the same values, and more at run time.
 *
 * What a template's files say is kept merged, as text, so that an instance that comes later is built of what was read,
 * not of what the files say by then. Only an environment_file whose name differs from instance to instance (%i) is read
 * when its instance is built. All instances share the first one's seccomp filter: no %i stands in a rule. grow.c makes
 * those that come later. */
#include "base/str.h"
#include "policies/load.h"
#include "policies/values.h"

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

ModulePolicy *instance_build(Loading *l, const Template *t, unsigned number)
{
    _cleanup_(freep) char *name = xasprintf("%s@%u", t->name, number);
    l->environment = &t->source->environment;
    ModulePolicy *m = module_build(l, name, t->source->file, t->source->raws, t->source->whole);
    l->environment = NULL;
    return m;
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
        ARRAY_PUSH(p->modules, p->n_modules) = module_build(l, name, file, raws, whole);
        return;
    }
    Template *t = &ARRAY_PUSH(p->templates, p->n_templates);
    *t = (Template){.name = xstrdup(name), .instances = n, .source = source_new(file, raws, whole)};
    const ModulePolicy *first = NULL;
    for (unsigned k = 1; k <= n; k++) {
        l->like = first;
        ModulePolicy *m = instance_build(l, t, k);
        first = first ? first : m;
        ARRAY_PUSH(p->modules, p->n_modules) = m;
    }
    l->like = NULL;
}
