/* See layers.h. Questions are rare and asked by people: each walks over all that was said. */
#include "policies/layers.h"

#include "base/str.h"
#include "policies/policy.h"

const char *const policy_layer_names[LAYER_N] = {"default", "defaults", "include", "file", "drop-in"};

void layers_done(Layers *l)
{
    for (size_t i = 0; i < l->n_said; i++)
        free(l->said[i].value);
    free(l->said);
    for (size_t i = 0; i < l->n_modules; i++) {
        free(l->modules[i].name);
        free(l->modules[i].files);
    }
    free(l->modules);
    *l = (Layers){0};
}

const ModuleLayers *layers_find(const Layers *l, const char *module)
{
    size_t n = strcspn(module, "@");
    for (size_t i = 0; i < l->n_modules; i++)
        if (strlen(l->modules[i].name) == n && strncmp(l->modules[i].name, module, n) == 0)
            return &l->modules[i];
    return NULL;
}

/* Adds what is said of the key in one file (LAYER_DEFAULTS and the file of [supervisor]: in whichever it is). */
static void add_said(const Layers *l, const Key *k, PolicyLayer layer, const LayerFile *file, const Said ***said,
                     size_t *n)
{
    for (size_t i = 0; i < l->n_said; i++) {
        const Said *s = &l->said[i];
        if (s->key == k && s->layer == layer && (!file || s->file == file->file))
            ARRAY_PUSH(*said, *n) = s;
    }
}

size_t layers_of_key(const Layers *l, const ModuleLayers *module, const Key *k, const Said ***ret)
{
    const Said **said = NULL;
    size_t n = 0;
    add_said(l, k, key_is_supervisor(k) ? LAYER_FILE : LAYER_DEFAULTS, NULL, &said, &n);
    for (size_t i = 0; module && i < module->n_files; i++)
        if (k->kind != VALUE_INCLUDES ||
            module->files[i].layer != LAYER_INCLUDE) /* whom it includes is its own affair */
            add_said(l, k, module->files[i].layer, &module->files[i], &said, &n);
    *ret = said;
    return n;
}

void policy_origin(const ModulePolicy *m, const char *key, const char **ret_file, unsigned *ret_line)
{
    *ret_file = m->file;
    *ret_line = 0;
    const Key *k = key_find_dotted(key);
    for (size_t i = 0; k && i < m->n_origins; i++) {
        if (m->origins[i].key != k - keys)
            continue;
        *ret_file = m->policy->files[m->origins[i].file];
        *ret_line = m->origins[i].line;
    }
}
