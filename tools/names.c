/* See names.h. */
#include "tools/names.h"

#include <errno.h>
#include <fnmatch.h>

#include "base/str.h"
#include "policies/names.h"
#include "tools/view.h"

static const char *name_at(const json_t *list, size_t i)
{
    return str_or(member_string(json_array_get(list, i), "name"), "");
}

static bool has_name(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (strcmp(name_at(list, i), name) == 0)
            return true;
    return false;
}

bool names_means(const char *word, const char *name, const char *group)
{
    const char *colon = strchr(word, ':');
    if (!colon)
        return module_is_instance_of(name, word) || fnmatch(word, name, 0) == 0;
    size_t n = (size_t)(colon - word);
    return group && strlen(group) == n && strncmp(group, word, n) == 0 &&
           (!colon[1] || fnmatch(colon + 1, name, 0) == 0);
}

/* Does the word, which is no module's own name, mean this one? */
static bool means(const char *word, const json_t *module)
{
    return names_means(word, str_or(member_string(module, "name"), ""), member_string(module, "group"));
}

static void add_once(char ***list, const char *name)
{
    if (!strv_contains(*list, name))
        strv_add(list, name);
}

static int nothing_is_meant(const json_t *names, const char *word, Error *e)
{
    _cleanup_(freep) char *shown = str_escape(word, strlen(word), 64);
    if (has_name(json_object_get(names, "templates"), word))
        return error_set(e, -ENOENT, "%s has no instances now (bulkhead scale %s 1 makes one)", shown, shown);
    return error_set(e, -ENOENT, "no module matches '%s' (bulkhead status lists them)", shown);
}

int names_expand(const json_t *names, char *const *words, size_t n, char ***ret, Error *e)
{
    const json_t *modules = json_object_get(names, "modules");
    _cleanup_strv_ char **meant = NULL;
    for (size_t i = 0; i < n; i++) {
        bool pattern = strpbrk(words[i], "*?[:") || has_name(json_object_get(names, "templates"), words[i]),
             any = false;
        if (!pattern) {
            add_once(&meant, words[i]);
            continue;
        }
        for (size_t k = 0; k < json_array_size(modules); k++)
            if (means(words[i], json_array_get(modules, k))) {
                add_once(&meant, name_at(modules, k));
                any = true;
            }
        if (!any)
            return nothing_is_meant(names, words[i], e);
    }
    *ret = TAKE_PTR(meant);
    return 0;
}

char **names_shorthands(const json_t *names)
{
    const json_t *modules = json_object_get(names, "modules"), *templates = json_object_get(names, "templates");
    char **list = NULL;
    for (size_t i = 0; i < json_array_size(templates); i++)
        add_once(&list, name_at(templates, i));
    for (size_t i = 0; i < json_array_size(modules); i++) {
        const char *group = member_string(json_array_get(modules, i), "group");
        _cleanup_(freep) char *word = group ? xasprintf("%s:", group) : NULL;
        if (word)
            add_once(&list, word);
    }
    return list;
}
