/* `bulkhead config, cat`: what the files of a configuration say, merged or as they are. They are read here, with the
 * rights of the caller; no daemon is asked. */
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/str.h"
#include "policies/reader.h"
#include "tools/client.h"
#include "tools/term.h"
#include "tools/view_config.h"

typedef struct Files {
    Policy *policy;
    Layers layers;
    char **names; /* that the words mean */
    bool good;
} Files;

static void files_done(Files *f)
{
    layers_done(&f->layers);
    policy_freep(&f->policy);
    f->names = strv_free(f->names);
}

/* Reads the configuration; what is wrong with it goes to standard error and hides nothing of what could be read. */
static void read_files(const Args *a, Files *f)
{
    _cleanup_(freep) char *shared = NULL;
    _cleanup_complaints_ Complaints complaints = {0};
    (void)policy_shared_dir(&shared);
    f->good = policy_read_layers(str_or(a->config, "/etc/bulkhead"), shared, &f->policy, &f->layers, &complaints) == 0;
    print_complaints(&complaints, stderr);
}

static void add_name(Files *f, const char *name)
{
    if (!strv_contains(f->names, name))
        strv_add(&f->names, name);
}

/* Adds what is to be shown for a name: with values expanded a template's instances, each with its own. */
static void add_shown(Files *f, const char *name, bool expanded)
{
    size_t first, n = expanded ? policy_instances(f->policy, name, &first) : 0;
    for (size_t i = 0; i < n; i++)
        add_name(f, f->policy->modules[first + i]->name);
    if (n == 0)
        add_name(f, name);
}

/* Adds the modules that the word means: by their files, else by what was made of them (the instances of a template). */
static bool add_matches(Files *f, const char *word, bool expanded)
{
    bool any = false;
    for (size_t i = 0; i < f->layers.n_modules; i++)
        if (fnmatch(word, f->layers.modules[i].name, 0) == 0) {
            add_shown(f, f->layers.modules[i].name, expanded);
            any = true;
        }
    for (size_t i = 0; !any && i < f->policy->n_modules; i++)
        if (fnmatch(word, f->policy->modules[i]->name, 0) == 0) {
            add_name(f, f->policy->modules[i]->name);
            any = true;
        }
    return any;
}

static void say_absent(const Files *f, const char *word)
{
    const ModuleLayers *template = layers_find(&f->layers, word);
    size_t first, n = template ? policy_instances(f->policy, template->name, &first) : 0;
    _cleanup_(freep) const char **names = new0_array(const char *, f->layers.n_modules + 1);
    for (size_t k = 0; k < f->layers.n_modules; k++)
        names[k] = f->layers.modules[k].name;
    const char *near = str_nearest(word, names, f->layers.n_modules);
    if (n > 0)
        say_error("no module %s in %s (%s@1 to %s@%zu)", word, f->policy->dir, template->name, template->name, n);
    else if (near)
        say_error("no module %s in %s (did you mean %s?)", word, f->policy->dir, near);
    else
        say_error("no module %s in %s (bulkhead config lists them)", word, f->policy->dir);
}

static ToolStatus find_names(const Args *a, Files *f)
{
    for (size_t i = 0; i < a->n_words; i++) {
        if (add_matches(f, a->words[i], a->expanded))
            continue;
        say_absent(f, a->words[i]);
        return TOOL_ABSENT;
    }
    return TOOL_DONE;
}

static void print_json(json_t *owned)
{
    _cleanup_json_ json_t *j = owned;
    json_dumpf(j, stdout, JSON_COMPACT);
    putchar('\n');
}

static void print_values(const ConfigView *v, char *const *names)
{
    STRV_FOREACH (name, names) {
        _cleanup_(freep) char *text = view_config_module(v, *name);
        printf("%s%s", name > names ? "\n" : "", text);
    }
    if (!names) {
        _cleanup_(freep) char *text = view_config_daemon(v);
        fputs(text, stdout);
    }
}

ToolStatus verb_config(const Args *a)
{
    _cleanup_(files_done) Files f = {0};
    read_files(a, &f);
    ToolStatus status = find_names(a, &f);
    if (status != TOOL_DONE)
        return f.good ? status : TOOL_BAD_CONFIG;
    const ConfigView v = {.policy = f.policy, .layers = &f.layers, .all = a->all, .expanded = a->expanded};
    if (!a->json) {
        print_values(&v, f.names);
    } else if (!f.names) {
        print_json(view_config_daemon_json(&v));
    } else {
        json_t *rows = json_array();
        STRV_FOREACH (name, f.names)
            view_config_module_json(&v, *name, rows);
        print_json(rows);
    }
    return f.good ? TOOL_DONE : TOOL_BAD_CONFIG;
}

ToolStatus verb_cat(const Args *a)
{
    _cleanup_(files_done) Files f = {0};
    read_files(a, &f);
    ToolStatus status = find_names(a, &f);
    if (status != TOOL_DONE)
        return f.good ? status : TOOL_BAD_CONFIG;
    bool first = true;
    STRV_FOREACH (name, f.names) {
        const ModuleLayers *ml = layers_find(&f.layers, *name);
        for (size_t i = 0; i < ml->n_files; i++, first = false) {
            const char *path = f.policy->files[ml->files[i].file];
            _cleanup_(freep) char *text = NULL, *shown = str_escape(path, strlen(path), SIZE_MAX);
            size_t size = 0;
            int r = file_read_all(AT_FDCWD, path, READER_FILE_MAX, &text, &size);
            printf("%s# %s\n", first ? "" : "\n", shown);
            if (r < 0) {
                say_error("%s cannot be read: %s", path, strerror(-r));
                status = TOOL_FAILED;
            } else {
                term_put(text, size);
            }
        }
    }
    return f.good ? status : TOOL_BAD_CONFIG;
}
