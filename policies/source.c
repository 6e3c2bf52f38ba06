/* One file: its lines as raw values, each judged as far as a line by itself can be. See load.h. */
#include <errno.h>

#include "base/str.h"
#include "policies/load.h"
#include "policies/reader.h"

static void enter_section(Source *s, const char *section, unsigned line)
{
    Complaints *c = s->l->complaints;
    const char *file = s->l->files[s->file];
    bool global = strcmp(section, "supervisor") == 0 || strcmp(section, "defaults") == 0;
    s->known = key_section_exists(section) && global == !s->module;
    if (s->known)
        return;
    s->judged++;
    if (global) {
        complaints_add(c, file, line, section, "not in a module's file (it belongs in bulkhead.ini)");
    } else if (key_section_exists(section)) {
        complaints_add(c, file, line, section, "not in bulkhead.ini (write %s.KEY = VALUE under [defaults])", section);
    } else {
        const char *nearest = key_nearest_section(section);
        s->lost = true;
        if (nearest)
            complaints_add(c, file, line, section, "unknown section (did you mean [%s]?)", nearest);
        else
            complaints_add(c, file, line, section, "unknown section");
    }
}

static void note(const Source *s, const Key *k, const Raw *raw)
{
    Layers *layers = s->l->layers;
    if (layers)
        ARRAY_PUSH(layers->said, layers->n_said) =
            (Said){.key = k, .value = xstrdup(raw->value), .layer = raw->layer, .file = raw->file, .line = raw->line};
}

static void on_line(void *user, const char *section, const char *name, const char *value, unsigned line)
{
    Source *s = user;
    if (!name) {
        enter_section(s, section, line);
        return;
    }
    if (!s->known)
        return;
    bool defaults = !s->module && strcmp(section, "defaults") == 0;
    const Key *k = defaults ? key_find_dotted(name) : key_find(section, name);
    if (!k) {
        _cleanup_(freep) char *dotted = xasprintf("%s.%s", section, name);
        _cleanup_(freep) char *why = defaults ? key_unknown_dotted(name) : key_unknown(section, name);
        complaints_add(s->l->complaints, s->l->files[s->file], line, dotted, "%s", why);
        s->judged++;
        return;
    }
    Raw *raw = &(s->module ? s->module : defaults ? s->defaults : s->supervisor)[k - keys];
    free(raw->value);
    *raw = (Raw){.value = xstrdup(value), .layer = defaults ? LAYER_DEFAULTS : s->layer, .file = s->file, .line = line};
    note(s, k, raw);
}

int source_read(Loading *l, int dirfd, const char *path, char *shown, Source *s)
{
    if (l->n_files > UINT16_MAX) {
        complaints_add(l->complaints, shown, 0, NULL, "too many files (at most %d)", UINT16_MAX + 1);
        free(shown);
        s->lost = true;
        return -E2BIG;
    }
    s->l = l;
    s->file = (uint16_t)l->n_files;
    s->known = false;
    s->judged = 0;
    ARRAY_PUSH(l->files, l->n_files) = shown;
    size_t before = l->complaints->n;
    int r = reader_file(dirfd, path, shown, 0, on_line, s, l->complaints);
    if (l->complaints->n - before > s->judged)
        s->lost = true;
    return r == -ENOENT ? -ENOENT : 0;
}

void source_forget(Loading *l)
{
    free(l->files[--l->n_files]);
}
