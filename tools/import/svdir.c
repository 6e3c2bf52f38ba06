/* Service directories of runit, s6 and s6-rc: a table of the files that may be in one, and what each is here. See
 * import.h. */
#include "tools/import/svdir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "policies/environment.h"
#include "policies/words.h"
#include "tools/import/command.h"
#include "tools/import/runscript.h"

enum { FILE_MAX_BYTES = 1 << 20 };

static bool there(const char *dir, const char *name)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

bool svdir_looks_so(const char *dir)
{
    return there(dir, "run") || there(dir, "type");
}

/* A small file, its end trimmed; NULL: none. Owned by the caller. */
static char *content(const char *dir, const char *name)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", dir, name), *text = NULL;
    if (file_read_all(AT_FDCWD, path, FILE_MAX_BYTES, &text, NULL) < 0)
        return NULL;
    for (size_t n = strlen(text); n > 0 && strchr(" \t\r\n", text[n - 1]); n--)
        text[n - 1] = '\0';
    return TAKE_PTR(text);
}

/* --- the program -------------------------------------------------------------------------------------------------- */
static char *below(const ServiceDir *d, const char *path)
{
    return *path == '/' ? xstrdup(path) : xasprintf("%s/%s", d->dir, str_starts(path, "./") ? path + 2 : path);
}

/* chpst -e DIR: a variable a file, its first line the value. */
static void read_envdir(const ServiceDir *d, const char *written, char ***env)
{
    _cleanup_(freep) char *dir = below(d, written);
    struct dirent **names = NULL;
    int n = scandir(dir, &names, NULL, alphasort);
    for (int k = 0; k < n; k++) {
        _cleanup_(freep) char *value = names[k]->d_name[0] != '.' ? content(dir, names[k]->d_name) : NULL;
        if (value && *value) {
            value[strcspn(value, "\n")] = '\0';
            strv_push(env, xasprintf("%s=%s", names[k]->d_name, value));
        }
        free(names[k]);
    }
    free(names);
}

static void set_environment(ServiceDir *d, const RunScript *r)
{
    _cleanup_strv_ char **file = NULL, **all = NULL;
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    if (r->envdir)
        read_envdir(d, r->envdir, &file);
    all = environment_merge(file, r->environment);
    STRV_FOREACH (v, all) {
        _cleanup_(freep) char *literal = import_literal(*v, false);
        import_add_item(&b, literal);
    }
    if (b.len > 0)
        sketch_own(d->s, "module.environment", b.s, NULL);
}

/* What a plain script says, with the program alone in exec. */
static void take_plain(ServiceDir *d, const FromLine *from, const RunScript *r)
{
    ForeignCommand c = {.argv = strv_copy(r->argv), .literal = true, .from = *from};
    for (char **w = c.argv; *w; w++) {
        char *literal = import_literal(*w, false);
        free(*w);
        *w = literal;
    }
    _cleanup_(freep) char *why = NULL, *text = command_text(&c, NULL, &why);
    _cleanup_(freep) char *told =
        xasprintf("its script was read, and is not needed any more%s%s", why ? "; " : "", str_or(why, ""));
    sketch_set(d->s, "module.exec", text, from, IMPORT_CHANGED, told);
    strv_free(c.argv);
    _cleanup_(freep) char *dir = below(d, str_or(r->dir, "."));
    sketch_own(d->s, "module.working_dir", r->dir ? dir : d->dir, NULL);
    set_environment(d, r);
    if (r->user) {
        const char *colon = strchr(r->user, ':');
        _cleanup_(freep) char *user = xstrndup(r->user, strcspn(r->user, ":"));
        sketch_own(d->s, "sandbox.user", user, NULL);
        if (colon) {
            _cleanup_(freep) char *group = xstrndup(colon + 1, strcspn(colon + 1, ":"));
            sketch_own(d->s, "sandbox.group", group, NULL);
        }
    }
    if (r->nice)
        sketch_own(d->s, "limits.nice", r->nice, NULL);
    for (char *const *l = r->limits; l && *l; l += 2)
        sketch_own(d->s, l[0], l[1], NULL);
}

static void take_script(ServiceDir *d, const FromLine *from, const char *why)
{
    _cleanup_(freep) char *path = below(d, from->key), *literal = import_literal(path, true), *told = NULL;
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    import_add_word(&b, literal);
    told = xasprintf("the script itself is run, as %s (what it does to user and limits, it does as before)", why);
    sketch_set(d->s, "module.exec", b.s, from, IMPORT_CHANGED, told);
    sketch_own(d->s, "module.working_dir", d->dir, NULL);
}

#define TAKE(name) static void name(ServiceDir *d, const ServiceFile *row, const FromLine *from)

TAKE(take_run)
{
    _cleanup_(freep) char *path = below(d, from->key), *text = content(d->dir, row->name);
    RunScript r = {.why = "it cannot be read"};
    if (text)
        runscript_read(text, &r);
    if (r.plain)
        take_plain(d, from, &r);
    else
        take_script(d, from, r.why);
    runscript_done(&r);
    if (text && access(path, X_OK) < 0)
        sketch_own(d->s, "module.start", "manual", "its run is not executable");
}

TAKE(take_up)
{
    (void)row;
    _cleanup_(freep) char *text = content(d->dir, from->key), *path = below(d, from->key);
    RunScript r = {.why = "it cannot be read"};
    if (text)
        runscript_read_execline(text, &r);
    _cleanup_(freep) char *line = xasprintf("/usr/bin/execlineb -P %s", path);
    if (r.plain)
        take_plain(d, from, &r);
    else
        sketch_set(d->s, "module.exec", line, from, IMPORT_CHANGED, r.why);
    runscript_done(&r);
}

/* finish; and down of an s6-rc oneshot, which is a line of execline. */
TAKE(take_after)
{
    _cleanup_(freep) char *path = below(d, from->key), *literal = import_literal(path, true);
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    bool line = strcmp(from->key, "down") == 0;
    import_add_word(&b, literal);
    _cleanup_(freep) char *command = xasprintf("%s%s", line ? "/usr/bin/execlineb -P " : "", b.s);
    sketch_set(d->s, row->to, command, from, IMPORT_CHANGED,
               line ? "it is run after the end" : "it is not told the exit code and the signal");
}

TAKE(take_fd)
{
    _cleanup_(freep) char *value = xasprintf("fd:%s", str_or(from->value, ""));
    sketch_set(d->s, row->to, value, from, IMPORT_CARRIED, NULL);
}

/* Milliseconds; 0: none. */
TAKE(take_msec)
{
    uint64_t msec = 0;
    if (!from->value || parse_u64(from->value, &msec) < 0 || msec > UINT64_MAX / USEC_PER_MSEC) {
        sketch_drop(d->s, "module", from, "it is no number of milliseconds");
        return;
    }
    _cleanup_(freep) char *value = import_time(msec == 0 ? USEC_INFINITY : msec * USEC_PER_MSEC);
    sketch_set(d->s, row->to, value, from, IMPORT_CARRIED, NULL);
}

TAKE(take_value)
{
    sketch_set(d->s, row->to, str_or(from->value, ""), from, row->why ? IMPORT_CHANGED : IMPORT_CARRIED, row->why);
}

TAKE(take_down)
{
    (void)row;
    if (d->oneshot)
        take_after(d, &(ServiceFile){.to = "module.exec_stop_post"}, from);
    else
        sketch_set(d->s, "module.start", "manual", from, IMPORT_CARRIED, NULL);
}

TAKE(take_required)
{
    sketch_set(d->s, row->to, "yes", from, IMPORT_CARRIED, NULL);
}

TAKE(take_type)
{
    (void)row;
    if (d->oneshot && sketch_set(d->s, "module.type", "oneshot", from, IMPORT_CARRIED, NULL))
        sketch_own(d->s, "module.remain_after_exit", "yes", "a oneshot of s6-rc is up until it is brought down");
    else if (!d->oneshot)
        sketch_fits(d->s, from, "so it is anyway");
}

TAKE(take_dependencies)
{
    (void)row;
    _cleanup_strv_ char **names = NULL;
    _cleanup_(freep) char *path = below(d, from->key), *text = content(d->dir, from->key);
    struct dirent **entries = NULL;
    int n = scandir(path, &entries, NULL, alphasort);
    for (int k = 0; k < n; k++) {
        if (entries[k]->d_name[0] != '.')
            strv_add(&names, entries[k]->d_name);
        free(entries[k]);
    }
    free(entries);
    for (const char *p = text; p && *p; p += strcspn(p, "\n"), p += *p == '\n')
        if (*p != '#' && *p != '\n')
            strv_push(&names, xstrndup(p, strcspn(p, " \t\r\n")));
    STRV_FOREACH (other, names) {
        _cleanup_(freep) char *name = import_name(*other);
        sketch_bond(d->s, BOND_REQUIRES, name, false, &(FromLine){from->file, from->line, from->key, *other});
    }
}

/* "s1000000 n20" of s6-log's arguments and svlogd's config. */
static void log_sizes(ServiceDir *d, const FromLine *from, const char *text)
{
    _cleanup_strv_ char **words = NULL;
    _cleanup_(freep) char *flat = xstrdup(text);
    for (char *p = flat; *p; p++)
        *p = strchr("\n\t'\"\\", *p) ? ' ' : *p;
    (void)words_split(flat, WORDS_BLANKS, &words, NULL);
    STRV_FOREACH (w, words) {
        uint64_t v = 0;
        if ((**w != 's' && **w != 'n') || parse_u64(*w + 1, &v) < 0)
            continue;
        _cleanup_(freep) char *value = **w == 's' ? import_size(v) : xstrdup(*w + 1);
        sketch_set(d->s, **w == 's' ? "module.log_max_size" : "module.log_keep", value,
                   &(FromLine){from->file, 0, from->key, *w}, IMPORT_CARRIED, NULL);
    }
}

TAKE(take_log)
{
    (void)row;
    _cleanup_(freep) char *run = content(d->dir, "log/run"), *config = content(d->dir, "log/main/config");
    sketch_set(d->s, "module.log", "file", from, IMPORT_CHANGED,
               "the lines go to NAME.log in the directory of logs, and log/run is not run (bulkhead logs shows them)");
    if (run)
        log_sizes(d, from, run);
    if (config)
        log_sizes(d, from, config);
}

TAKE(take_fits)
{
    sketch_fits(d->s, from, row->why);
}

/* --- files -------------------------------------------------------------------------------------------------------- */
/* clang-format off */
const ServiceFile service_files[] = {
    {"type", take_type, "module.type", NULL},
    {"run", take_run, "module.exec", NULL},
    {"up", take_up, "module.exec", NULL},
    {"finish", take_after, "module.exec_stop_post", NULL},
    {"down", take_down, "module.start", NULL},
    {"notification-fd", take_fd, "module.ready", NULL},
    {"timeout-kill", take_msec, "module.stop_timeout", NULL},
    {"timeout-finish", take_msec, "module.exec_stop_post_timeout", NULL},
    {"timeout-up", take_msec, "module.start_timeout", NULL},
    {"timeout-down", take_msec, "module.stop_timeout", NULL},
    {"down-signal", take_value, "module.stop_signal", NULL},
    {"max-death-tally", take_value, "recovery.max_attempts", "attempts since the last healthy run are counted"},
    {"dependencies", take_dependencies, "module.requires", NULL},
    {"dependencies.d", take_dependencies, "module.requires", NULL},
    {"essential", take_required, "module.required", NULL},
    {"flag-essential", take_required, "module.required", NULL},
    {"flag-recommended", NULL, "module", "what is recommended is started with start = auto"},
    {"log", take_log, "module.log", NULL},
    {"env", take_fits, NULL, "its variables are in environment, or read by the script as before"},
    {"data", take_fits, NULL, "it stays where it is"},
    {"conf", take_fits, NULL, "it stays where it is, for the script to read"},
    {"check", NULL, "module", "a script does not tell that it is ready (ready = tcp:PORT, unix:PATH, notify or fd:N)"},
    {"control", NULL, "module", "no script stands between a request and its signal (stop_signal, reload_signal, exec_reload)"},
    {"nosetsid", NULL, "module", "each module is a session of its own"},
    {"lock-fd", NULL, "module", "no lock is held for it: no process outlives its module"},
    {"flag-newpidns", NULL, "sandbox", "the host's processes are seen"},
    {"producer-for", NULL, "module", "modules are not tied by pipes (log = file keeps what it writes)"},
    {"consumer-for", NULL, "module", "modules are not tied by pipes (log = file keeps what others write)"},
    {"pipeline-name", NULL, "module", "modules are not tied by pipes"},
    {"instance", NULL, "module", "instances are numbered (instances = N makes NAME@1 and so on)"},
    {"instances", NULL, "module", "instances are numbered (instances = N makes NAME@1 and so on)"},
    {"template", NULL, "module", "instances are numbered (instances = N makes NAME@1 and so on)"},
    {"event", take_fits, NULL, "it is of the supervisor that was"},
    {"supervise", take_fits, NULL, "it is of the supervisor that was"},
};
/* clang-format on */
const size_t service_files_n = ELEMENTS(service_files);

const ServiceFile *service_file(const char *name)
{
    for (size_t i = 0; i < service_files_n; i++)
        if (strcmp(service_files[i].name, name) == 0)
            return &service_files[i];
    return NULL;
}

static void take_file(ServiceDir *d, const char *name, Batch *b)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", d->dir, name), *value = NULL;
    const ServiceFile *row = service_file(name);
    struct stat st;
    bool small = stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size < 64;
    if (small && (!row || row->take != take_run))
        value = content(d->dir, name);
    const bool shown = value && !strchr(value, '\n') && row && row->take != take_up && row->take != take_after;
    const FromLine from = {.file = batch_file(b, path), .key = name, .value = shown ? value : NULL};
    if (!row)
        sketch_fits(d->s, &from, "it stays where it is, for the program to find");
    else if (!row->take)
        sketch_drop(d->s, row->to, &from, "%s", row->why);
    else
        row->take(d, row, &from);
}

int svdir_take(Batch *b, const char *dir, Error *e)
{
    _cleanup_(freep) char *real = realpath(dir, NULL), *type = content(dir, "type"), *name = NULL;
    if (!real)
        return error_errno(e, -errno, "cannot read %s", dir);
    const char *base = strrchr(real, '/') + 1;
    if (str_equal(type, "bundle")) {
        const FromLine from = {.file = batch_file(b, real), .key = "type", .value = type};
        notes_add(&b->notes, &from, IMPORT_DROPPED, NULL,
                  "a bundle is no module (start takes several names; group = NAME makes one name of them)");
        return 0;
    }
    name = import_name(base);
    ServiceDir d = {.dir = real, .oneshot = str_equal(type, "oneshot")};
    int r = batch_add(b, name, real, &d.s, e);
    struct dirent **names = NULL;
    int n = r == 0 ? scandir(real, &names, NULL, alphasort) : 0;
    if (r == 0 && n < 0)
        r = error_errno(e, -errno, "cannot read %s", dir);
    for (int first = 1; r == 0 && first >= 0; first--) /* the program before what hangs on it */
        for (int k = 0; k < n; k++) {
            bool program = str_equal(names[k]->d_name, "run") || str_equal(names[k]->d_name, "up");
            if (names[k]->d_name[0] != '.' && program == (first == 1))
                take_file(&d, names[k]->d_name, b);
        }
    for (int k = 0; k < n; k++)
        free(names[k]);
    free(names);
    if (r == 0 && !sketch_get(d.s, "module.exec"))
        r = error_set(e, -EINVAL, "%s has no %s that could be run", dir, d.oneshot ? "up" : "run");
    if (r == 0 && !sketch_get(d.s, "sandbox.user"))
        sketch_own(d.s, "sandbox.user", "root",
                   "nothing in it changes the user, so it runs as the supervisor does: as root");
    if (r == 0 && !d.oneshot) {
        sketch_own(d.s, "recovery.restart", "always", "whatever ends is started again by these supervisors");
        if (!sketch_get(d.s, "recovery.max_attempts"))
            sketch_own(d.s, "recovery.max_attempts", "0", NULL);
    }
    return r;
}
