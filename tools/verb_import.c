/* `bulkhead import`: module files from what other supervisors were told; the reading is tools/import's.
 *
 * Files go to standard output, or with --output into a directory, all or none of them. What was changed or could not be
 * carried over goes to standard error, a line each; with --json the whole account is printed instead of the files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "tools/client.h"
#include "tools/import/import.h"
#include "tools/tool.h"

/* Adds the names of the modules whose files are in `dir`. */
static void known_in(const char *dir, char ***names)
{
    DIR *d = opendir(dir);
    for (struct dirent *x; d && (x = readdir(d));) {
        size_t n = strlen(x->d_name);
        if (n > 4 && strcmp(x->d_name + n - 4, ".ini") == 0)
            strv_push(names, xstrndup(x->d_name, n - 4));
    }
    if (d)
        closedir(d);
}

static void print_notes(const Notes *notes)
{
    for (size_t i = 0; i < notes->n; i++) {
        _cleanup_(freep) char *line = note_text(&notes->items[i]);
        if (notes->items[i].status != IMPORT_CARRIED)
            fprintf(stderr, "%s\n", line);
    }
}

/* JSON must be UTF-8, and a stranger's file need not be. */
static json_t *text_or_null(const char *s)
{
    _cleanup_(freep) char *safe = s ? str_escape(s, strlen(s), SIZE_MAX) : NULL;
    json_t *as_is = s ? json_string(s) : json_null();
    return as_is ? as_is : json_string(safe);
}

static void print_notes_json(const Notes *notes)
{
    _cleanup_json_ json_t *all = json_array();
    for (size_t i = 0; i < notes->n; i++) {
        const ImportNote *n = &notes->items[i];
        json_array_append_new(all,
                              json_pack("{s:o, s:o, s:o, s:o, s:s, s:o, s:o}", "file", text_or_null(n->file), "line",
                                        n->line ? json_integer(n->line) : json_null(), "key", text_or_null(n->key),
                                        "value", text_or_null(n->value), "status", import_status_names[n->status], "to",
                                        text_or_null(n->to), "why", text_or_null(n->why)));
    }
    json_dumpf(all, stdout, JSON_COMPACT);
    putchar('\n');
}

static ToolStatus write_one(const char *dir, const Sketch *s, bool force)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s.ini", dir, s->name),
                          *new = xasprintf("%s.new-%d", path, (int)getpid());
    _cleanup_(freep) char *text = sketch_text(s);
    _cleanup_fd_ int fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int r = fd < 0 ? -errno : fchmod(fd, 0644) < 0 ? -errno : fd_write_all(fd, text, strlen(text));
    if (r == 0 && (force ? rename(new, path) : link(new, path)) < 0)
        r = -errno;
    if (fd >= 0 && (r < 0 || !force))
        (void)unlink(new);
    if (r < 0)
        say_error("cannot write %s: %s", path, strerror(-r));
    else
        fprintf(stderr, "wrote %s\n", path);
    return r < 0 ? TOOL_FAILED : TOOL_DONE;
}

static ToolStatus write_all(const Args *a, const Import *i)
{
    struct stat st;
    if (stat(a->output, &st) < 0 && mkdir(a->output, 0755) < 0) {
        say_error("cannot make %s: %s (give a directory that is there)", a->output, strerror(errno));
        return TOOL_FAILED;
    }
    for (size_t n = 0; !a->force && n < i->batch.n_sketches; n++) {
        _cleanup_(freep) char *path = xasprintf("%s/%s.ini", a->output, i->batch.sketches[n]->name);
        if (access(path, F_OK) == 0) {
            say_error("%s is there already, and nothing was written (--force replaces it)", path);
            return TOOL_FAILED;
        }
    }
    ToolStatus status = TOOL_DONE;
    for (size_t n = 0; status == TOOL_DONE && n < i->batch.n_sketches; n++)
        status = write_one(a->output, i->batch.sketches[n], a->force);
    return status;
}

static void print_files(const Import *i)
{
    for (size_t n = 0; n < i->batch.n_sketches; n++) {
        _cleanup_(freep) char *text = sketch_text(i->batch.sketches[n]);
        if (i->batch.n_sketches > 1)
            printf("%s# --- modules.d/%s.ini\n", n > 0 ? "\n" : "", i->batch.sketches[n]->name);
        fputs(text, stdout);
    }
}

ToolStatus verb_import(const Args *a)
{
    _cleanup_(import_freep) Import *i = import_new();
    _cleanup_strv_ char **known = NULL;
    _cleanup_(freep) char *modules = xasprintf("%s/modules.d", str_or(a->config, "/etc/bulkhead"));
    Error e = {0};
    int r = 0;
    known_in(modules, &known);
    if (a->output)
        known_in(a->output, &known);
    for (size_t n = 0; r == 0 && n < a->n_words; n++)
        r = import_take(i, a->words[n], &e);
    if (r == 0)
        r = import_finish(i, known, &e);
    if (r < 0) {
        say_error("%s", error_message(&e));
        return TOOL_FAILED;
    }
    ToolStatus status = a->output ? write_all(a, i) : TOOL_DONE;
    if (status != TOOL_DONE)
        return status;
    if (a->json) {
        print_notes_json(&i->batch.notes);
        return TOOL_DONE;
    }
    if (!a->output)
        print_files(i);
    fflush(stdout);
    print_notes(&i->batch.notes);
    return TOOL_DONE;
}
