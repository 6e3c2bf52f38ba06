/* The sections of supervisord.conf and of what it includes. See supervisord.h. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>

#include "base/fd.h"
#include "policies/words.h"
#include "tools/import/supervisord.h"

enum { FILE_MAX_BYTES = 1 << 20 };

static int read_file(Batch *b, const char *path, UnitEntries *entries, Error *e);

static const char *here_of(const char *path, char **buffer)
{
    const char *slash = strrchr(path, '/');
    free(*buffer);
    *buffer = slash ? xstrndup(path, (size_t)(slash - path)) : xstrdup(".");
    return *buffer;
}

/* [include] files = GLOB...; includes in included files are not followed, as supervisord does not either. */
static int include(Batch *b, const UnitEntry *x, UnitEntries *entries, Error *e)
{
    _cleanup_strv_ char **words = NULL;
    _cleanup_(freep) char *here = NULL, *text = NULL;
    const Program p = {.name = "", .group = "", .here = here_of(x->file, &here), .count = "1"};
    int r = supervisord_expand(&p, x->value, &text, e);
    if (r == 0)
        r = words_split(text, WORDS_BLANKS, &words, e);
    if (r < 0)
        return error_prefix(e, "%s:%u: ", x->file, x->line);
    STRV_FOREACH (w, words) {
        _cleanup_(freep) char *pattern = **w == '/' ? xstrdup(*w) : xasprintf("%s/%s", here, *w);
        glob_t found = {0};
        if (glob(pattern, 0, NULL, &found) == 0)
            for (size_t n = 0; r == 0 && n < found.gl_pathc; n++)
                r = read_file(b, found.gl_pathv[n], entries, e);
        globfree(&found);
    }
    return r;
}

static int read_file(Batch *b, const char *path, UnitEntries *entries, Error *e)
{
    _cleanup_(freep) char *text = NULL;
    int r = file_read_all(AT_FDCWD, path, FILE_MAX_BYTES, &text, NULL);
    if (r < 0)
        return error_errno(e, r, "cannot read %s", path);
    supervisord_parse(text, batch_file(b, path), entries);
    return 0;
}

static void tell(Batch *b, const UnitEntry *x, ImportStatus status, const char *why)
{
    const FromLine from = {x->file, x->line, x->key ? x->key : x->value, x->key ? x->value : NULL};
    notes_add(&b->notes, &from, status, NULL, why);
}

/* What follows "kind:" of a section's name, or NULL. */
static const char *named(const char *section, const char *kind)
{
    size_t n = strlen(kind);
    return strncmp(section, kind, n) == 0 && section[n] == ':' ? section + n + 1 : NULL;
}

static const char *program_of(const char *section)
{
    const char *name = named(section, "program");
    return name ? name : named(section, "fcgi-program");
}

/* The group that lists the program, or the program itself, as supervisord has it. */
static const UnitEntry *group_of(const UnitEntries *all, const char *program)
{
    for (size_t n = 0; n < all->n; n++) {
        const UnitEntry *x = &all->items[n];
        _cleanup_strv_ char **names = NULL;
        if (named(x->section, "group") && str_equal(x->key, "programs") &&
            words_split(x->value, WORDS_COMMAS, &names, NULL) == 0 && strv_contains(names, program))
            return x;
    }
    return NULL;
}

static const UnitEntry *option(const UnitEntries *all, const char *section, const char *key)
{
    const UnitEntry *found = NULL;
    for (size_t n = 0; n < all->n; n++)
        if (strcmp(all->items[n].section, section) == 0 && str_equal(all->items[n].key, key))
            found = &all->items[n];
    return found;
}

static int import_program(Batch *b, const UnitEntries *all, const char *section, Error *e)
{
    const char *program = program_of(section);
    const UnitEntry *group = group_of(all, program), *count = option(all, section, "numprocs"),
                    *user = option(all, "supervisord", "user"), *shared = option(all, "supervisord", "environment");
    _cleanup_(freep) char *name = import_name(program), *here = NULL, *origin = NULL;
    UnitEntries own = {0};
    for (size_t n = 0; n < all->n; n++)
        if (strcmp(all->items[n].section, section) == 0)
            ARRAY_PUSH(own.items, own.n) = all->items[n]; /* borrows what it points to */
    origin = xasprintf("[%s] in %s", section, own.items[0].file);
    Program p = {.name = program,
                 .group = group ? named(group->section, "group") : program,
                 .here = here_of(own.items[0].file, &here),
                 .count = count ? count->value : "1",
                 .user = user ? user->value : NULL};
    p.many = strcmp(p.count, "1") != 0 && sketch_knows("module.instances");
    int r = batch_add(b, name, origin, &p.s, e);
    _cleanup_(freep) char *text = NULL;
    if (r == 0 && shared && (r = supervisord_expand(&p, shared->value, &text, e)) == 0)
        (void)words_split(text, WORDS_COMMAS, &p.variables, NULL);
    if (r == 0) {
        if (p.variables && !option(all, section, "environment")) {
            const UnitEntry inherited = {.section = own.items[0].section,
                                         .key = shared->key,
                                         .value = shared->value,
                                         .file = shared->file,
                                         .line = shared->line};
            ARRAY_PUSH(own.items, own.n) = inherited;
        }
        program_import(&p, own.items, own.n);
        if (group) {
            const FromLine from = {group->file, group->line, group->key, group->value};
            _cleanup_(freep) char *group_name = import_name(p.group);
            sketch_set(p.s, "module.group", group_name, &from, IMPORT_CARRIED, NULL);
        }
        if (!sketch_get(p.s, "module.exec"))
            r = error_set(e, -EINVAL, "%s:%u: [%s] has no command that could be carried over", own.items[0].file,
                          own.items[0].line, section);
    }
    strv_free(p.variables);
    free(own.items);
    return r;
}

/* A section that is no program's. */
static void other_section(Batch *b, const UnitEntry *x)
{
    if (named(x->section, "group")) {
        if (str_equal(x->key, "priority"))
            tell(b, x, IMPORT_DROPPED, "the order comes from what waits for what (requires, wants or after)");
    } else if (named(x->section, "eventlistener")) {
        tell(b, x, IMPORT_DROPPED,
             "listeners speak a protocol of supervisord's own (a module that reads bulkhead events -f --json)");
    } else if (strcmp(x->section, "supervisord") == 0 &&
               (str_equal(x->key, "environment") || str_equal(x->key, "user"))) {
        tell(b, x, IMPORT_CARRIED, "for each program");
    } else if (strcmp(x->section, "include") == 0) {
        tell(b, x, IMPORT_CARRIED, "its files are read");
    } else if (x->key) {
        tell(b, x, IMPORT_DROPPED, "it is about supervisord itself (bulkheadd has options of its own: bulkhead.ini)");
    }
}

/* A section that comes again goes on; it is imported where it came first. */
static bool first_of(const UnitEntries *all, size_t n)
{
    for (size_t k = 0; k < n; k++)
        if (strcmp(all->items[k].section, all->items[n].section) == 0)
            return false;
    return true;
}

int supervisord_take(Batch *b, const char *path, Error *e)
{
    UnitEntries all = {0};
    int r = read_file(b, path, &all, e);
    size_t own = all.n, programs = 0;
    for (size_t n = 0; r == 0 && n < own; n++)
        if (strcmp(all.items[n].section, "include") == 0 && str_equal(all.items[n].key, "files")) {
            const UnitEntry x = all.items[n];
            r = include(b, &x, &all, e);
        }
    for (size_t n = 0; r == 0 && n < all.n; n++) {
        const UnitEntry *x = &all.items[n];
        bool header = !x->key && x->value[0] == '[';
        if (!program_of(x->section)) {
            other_section(b, x);
        } else if (header && first_of(&all, n)) {
            programs++;
            r = import_program(b, &all, x->section, e);
        }
    }
    if (r == 0 && programs == 0)
        r = error_set(e, -EINVAL, "%s has no [program:x], nor has what it includes", path);
    unitfile_done(&all);
    return r;
}
