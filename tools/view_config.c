/* See view_config.h. A value is a Row: its key, and all that was said of it, of which the last holds. */
#include "tools/view_config.h"

#include "base/str.h"
#include "policies/resolve.h"

typedef struct Row {
    const Key *key;
    const Said **said; /* the lowest first */
    size_t n;
} Row;

typedef struct Out {
    const ConfigView *view;
    const ModulePolicy *module; /* whose values are expanded, or NULL */
    const char *section;        /* we are in */
    StrBuf text;
} Out;

static Row row_of(const ConfigView *v, const ModuleLayers *ml, const Key *k)
{
    Row r = {.key = k};
    r.n = layers_of_key(v->layers, ml, k, &r.said);
    return r;
}

static const ModulePolicy *expanded_for(const ConfigView *v, const char *name)
{
    return v->expanded ? policy_find(v->policy, name) : NULL;
}

/* A value that holds, as it is to be shown. */
static char *shown(const ModulePolicy *m, const Key *k, const char *value)
{
    const ValueContext x = {.module = m ? m->name : NULL, .environment = m ? m->environment : NULL};
    return m ? value_resolved(k, value, &x) : xstrdup(value);
}

static const Said *held(const Row *r)
{
    return r->n > 0 ? r->said[r->n - 1] : NULL;
}

/* A file as it stands below the directory, and as nothing but a part of a line. */
static char *file_name(const Policy *p, uint16_t file)
{
    const char *name = p->files[file] + strlen(p->dir) + 1;
    return str_escape(name, strlen(name), SIZE_MAX);
}

static char *origin(const Policy *p, const Said *s)
{
    _cleanup_(freep) char *file = file_name(p, s->file);
    return xasprintf("%s%s:%u",
                     s->layer == LAYER_DEFAULTS  ? "[defaults] "
                     : s->layer == LAYER_INCLUDE ? "include "
                                                 : "",
                     file, s->line);
}

/* --- text --------------------------------------------------------------------------------------------------------- */
static void enter(Out *o, const char *section)
{
    if (str_equal(o->section, section))
        return;
    o->section = section;
    strbuf_addf(&o->text, "%s[%s]\n", o->text.len ? "\n" : "", section);
}

static void add_line(Out *o, const char *name, const char *value)
{
    strbuf_addf(&o->text, "%s =%s%s\n", name, *value ? " " : "", value);
}

/* What it was in the layers below. */
static void add_overridden(Out *o, const Row *r)
{
    for (size_t i = r->n; o->view->all && i-- > 1;) {
        const Said *s = r->said[i - 1];
        _cleanup_(freep) char *from = origin(o->view->policy, s);
        strbuf_addf(&o->text, "# was %s at %s\n", *s->value ? s->value : "empty", from);
    }
}

static void add_row(Out *o, const Row *r, const char *section, const char *name)
{
    const Said *s = held(r);
    if (!s && !o->view->all)
        return;
    enter(o, section);
    if (!s) {
        strbuf_addf(&o->text, "# %s\n;", *r->key->fallback ? "default" : "not given");
        add_line(o, name, r->key->fallback);
        return;
    }
    _cleanup_(freep) char *from = origin(o->view->policy, s);
    strbuf_addf(&o->text, "# %s\n", from);
    add_overridden(o, r);
    bool merged = r->key->kind == VALUE_INCLUDES && !str_equal(section, "defaults");
    if (merged && *s->value)
        strbuf_addf(&o->text, "# include = %s (what it says stands here)\n", s->value);
    _cleanup_(freep) char *value = shown(o->module, r->key, merged ? "" : s->value);
    add_line(o, name, value);
}

static void add_files(Out *o, const char *name, const ModuleLayers *ml)
{
    strbuf_addf(&o->text, "# %s:", name);
    for (size_t i = 0; i < ml->n_files; i++) {
        _cleanup_(freep) char *file = file_name(o->view->policy, ml->files[i].file);
        strbuf_addf(&o->text, "%s %s", i ? "," : "", file);
    }
    strbuf_addc(&o->text, '\n');
}

char *view_config_module(const ConfigView *v, const char *name)
{
    Out o = {.view = v, .module = expanded_for(v, name)};
    const ModuleLayers *ml = layers_find(v->layers, name);
    add_files(&o, name, ml);
    for (const Key *k = keys; k < keys + keys_n; k++) {
        if (key_is_supervisor(k))
            continue;
        Row r = row_of(v, ml, k);
        add_row(&o, &r, k->section, k->name);
        free(r.said);
    }
    return strbuf_take(&o.text);
}

char *view_config_daemon(const ConfigView *v)
{
    Out o = {.view = v};
    for (const Key *k = keys; k < keys + keys_n; k++) {
        Row r = row_of(v, NULL, k);
        _cleanup_(freep) char *dotted = key_dotted(k);
        if (key_is_supervisor(k))
            add_row(&o, &r, k->section, k->name);
        else if (r.n > 0) /* a default of the table is none of [defaults] */
            add_row(&o, &r, "defaults", dotted);
        free(r.said);
    }
    for (size_t i = 0; i < v->layers->n_modules; i++) {
        if (i == 0)
            strbuf_addf(&o.text, "%s# modules:\n", o.text.len ? "\n" : "");
        add_files(&o, v->layers->modules[i].name, &v->layers->modules[i]);
    }
    return strbuf_take(&o.text);
}

/* --- JSON --------------------------------------------------------------------------------------------------------- */
/* Values are UTF-8, as the reader sees to; names of files need not be. */
static json_t *file_json(const Policy *p, uint16_t file)
{
    _cleanup_(freep) char *name = str_escape(p->files[file], strlen(p->files[file]), SIZE_MAX);
    return json_string(name);
}

static json_t *said_json(const Policy *p, const Said *s)
{
    return json_pack("{s:s, s:o, s:I, s:s}", "value", s->value, "file", file_json(p, s->file), "line",
                     (json_int_t)s->line, "origin", policy_layer_names[s->layer]);
}

static json_t *default_json(const Key *k)
{
    return json_pack("{s:s?, s:n, s:n, s:s}", "value", *k->fallback ? k->fallback : NULL, "file", "line", "origin",
                     policy_layer_names[LAYER_DEFAULT]);
}

static void append_row(const ConfigView *v, const Row *r, const char *module, const char *section, const char *name,
                       json_t *rows)
{
    const Said *s = held(r);
    if (!s && !v->all)
        return;
    json_t *overrides = json_array(), *said = s ? said_json(v->policy, s) : default_json(r->key);
    for (size_t i = 0; i + 1 < r->n; i++)
        json_array_append_new(overrides, said_json(v->policy, r->said[i]));
    json_t *row = json_pack("{s:s?, s:s, s:s}", "module", module, "section", section, "key", name);
    json_object_update(row, said);
    json_decref(said);
    if (s) {
        _cleanup_(freep) char *value = shown(module ? expanded_for(v, module) : NULL, r->key, s->value);
        json_object_set_new(row, "value", json_string(value));
    }
    json_object_set_new(row, "overrides", overrides);
    json_array_append_new(rows, row);
}

void view_config_module_json(const ConfigView *v, const char *name, json_t *rows)
{
    const ModuleLayers *ml = layers_find(v->layers, name);
    for (const Key *k = keys; k < keys + keys_n; k++) {
        if (key_is_supervisor(k))
            continue;
        Row r = row_of(v, ml, k);
        append_row(v, &r, name, k->section, k->name, rows);
        free(r.said);
    }
}

json_t *view_config_daemon_json(const ConfigView *v)
{
    json_t *rows = json_array(), *modules = json_array();
    for (const Key *k = keys; k < keys + keys_n; k++) {
        Row r = row_of(v, NULL, k);
        _cleanup_(freep) char *dotted = key_dotted(k);
        if (key_is_supervisor(k))
            append_row(v, &r, NULL, k->section, k->name, rows);
        else if (r.n > 0)
            append_row(v, &r, NULL, "defaults", dotted, rows);
        free(r.said);
    }
    for (size_t i = 0; i < v->layers->n_modules; i++) {
        const ModuleLayers *ml = &v->layers->modules[i];
        json_t *files = json_array();
        for (size_t j = 0; j < ml->n_files; j++)
            json_array_append_new(files, file_json(v->policy, ml->files[j].file));
        json_array_append_new(modules, json_pack("{s:s, s:o}", "name", ml->name, "files", files));
    }
    return json_pack("{s:o, s:o}", "values", rows, "modules", modules);
}
