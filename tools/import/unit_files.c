/* Which files make up a unit: where systemd would find it, its template, its drop-ins, the timer and the socket that
 * belong to it. See unit.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "policies/words.h"
#include "tools/import/unit.h"

enum { FILE_MAX_BYTES = 1 << 20 };

/* In the order in which systemd looks. */
static const char *const places[] = {"/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system",
                                     "/usr/lib/systemd/system", "/lib/systemd/system"};

struct UnitJob {
    char *service, *timer, *socket; /* paths, NULL: none */
    char *name;                     /* of the service: postgresql@15-main.service */
    char *dir;                      /* of what was given; NULL: wherever systemd looks */
};

void units_done(Units *u)
{
    for (size_t n = 0; n < u->n_jobs; n++) {
        free(u->jobs[n].service);
        free(u->jobs[n].timer);
        free(u->jobs[n].socket);
        free(u->jobs[n].name);
        free(u->jobs[n].dir);
    }
    free(u->jobs);
}

static bool ends(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n > m && strcmp(s + n - m, tail) == 0;
}

bool units_named(const char *word)
{
    return ends(word, ".service") || ends(word, ".timer") || ends(word, ".socket");
}

static bool is_place(const char *dir)
{
    for (size_t i = 0; i < ELEMENTS(places); i++)
        if (strcmp(places[i], dir) == 0)
            return true;
    return false;
}

/* Where what belongs to something in `dir` is looked for: there, and where systemd looks if it does so there. */
static char **search(const char *dir)
{
    char **dirs = NULL;
    if (dir && !is_place(dir))
        strv_add(&dirs, dir);
    for (size_t i = 0; (!dir || is_place(dir)) && i < ELEMENTS(places); i++)
        strv_add(&dirs, places[i]);
    return dirs;
}

/* "postgresql@.service" of an instance's name, or NULL. */
static char *template_of(const char *name)
{
    const char *at = strchr(name, '@'), *dot = strrchr(name, '.');
    return at && dot > at + 1 ? xasprintf("%.*s%s", (int)(at + 1 - name), name, dot) : NULL;
}

/* The file of a unit, its template's if it has none of its own; NULL: there is none. Owned by the caller. */
static char *find_unit(const char *dir, const char *name)
{
    _cleanup_strv_ char **dirs = search(dir);
    _cleanup_(freep) char *template = template_of(name);
    const char *const names[] = {name, template};
    for (size_t i = 0; i < ELEMENTS(names) && names[i]; i++)
        STRV_FOREACH (d, dirs) {
            _cleanup_(freep) char *path = xasprintf("%s/%s", *d, names[i]);
            if (access(path, F_OK) == 0)
                return TAKE_PTR(path);
        }
    return NULL;
}

static UnitJob *job(Units *u, const char *service, const char *dir)
{
    for (size_t n = 0; n < u->n_jobs; n++)
        if (strcmp(u->jobs[n].name, service) == 0)
            return &u->jobs[n];
    UnitJob *j = &ARRAY_PUSH(u->jobs, u->n_jobs);
    j->name = xstrdup(service);
    j->dir = dir ? xstrdup(dir) : NULL;
    return j;
}

static int read_entries(Batch *b, const char *path, UnitEntries *entries, Error *e)
{
    _cleanup_(freep) char *text = NULL;
    size_t size = 0;
    struct stat st;
    if (stat(path, &st) == 0 && (S_ISCHR(st.st_mode) || st.st_size == 0))
        return error_set(e, -EINVAL,
                         "%s is masked: it is empty or /dev/null (systemctl unmask, or give its file's path)", path);
    int r = file_read_all(AT_FDCWD, path, FILE_MAX_BYTES, &text, &size);
    if (r < 0)
        return error_errno(e, r, "cannot read %s", path);
    unitfile_parse(text, size, batch_file(b, path), entries);
    return 0;
}

/* The last value of a key, or NULL. */
static const char *last_value(const UnitEntries *entries, const char *section, const char *key)
{
    const char *value = NULL;
    for (size_t n = 0; n < entries->n; n++)
        if (str_equal(entries->items[n].section, section) && str_equal(entries->items[n].key, key))
            value = entries->items[n].value;
    return value && *value ? value : NULL;
}

/* The service that a timer or socket is for; owned by the caller. */
static int served(Batch *b, const char *path, const char *name, char **ret, Error *e)
{
    UnitEntries entries = {0};
    bool timer = ends(name, ".timer");
    int r = read_entries(b, path, &entries, e);
    if (r == 0) {
        const char *other = last_value(&entries, timer ? "Timer" : "Socket", timer ? "Unit" : "Service");
        *ret = other ? xstrdup(other) : xasprintf("%.*s.service", (int)(strrchr(name, '.') - name), name);
    }
    unitfile_done(&entries);
    return r;
}

int units_take(Units *u, Batch *b, const char *word, Error *e)
{
    const char *slash = strrchr(word, '/');
    bool beside = slash || access(word, F_OK) == 0;
    _cleanup_(freep) char *dir = slash ? xstrndup(word, (size_t)(slash - word)) : beside ? xstrdup(".") : NULL;
    _cleanup_(freep) char *name = units_named(word) ? xstrdup(slash ? slash + 1 : word) : xasprintf("%s.service", word);
    _cleanup_(freep) char *path = find_unit(dir, name), *service = NULL;
    if (!path)
        return error_set(e, -ENOENT, "there is no unit %s%s%s (give the path of a file: /lib/systemd/system/%s)", name,
                         dir ? " in " : "", str_or(dir, ""), name);
    if (strstr(name, "@."))
        return error_set(e, -EINVAL, "%s is a template: name the instance (bulkhead import %.*sINSTANCE%s)", word,
                         (int)(strstr(word, "@.") + 1 - word), word, strrchr(name, '.'));
    if (ends(name, ".service")) {
        UnitJob *j = job(u, name, dir);
        free(j->service);
        j->service = TAKE_PTR(path);
        return 0;
    }
    int r = served(b, path, name, &service, e);
    if (r < 0 || !service)
        return r;
    UnitJob *j = job(u, service, dir);
    char **place = ends(name, ".timer") ? &j->timer : &j->socket;
    free(*place);
    *place = TAKE_PTR(path);
    return 0;
}

/* --- drop-ins ----------------------------------------------------------------------------------------------------- */
typedef struct DropIns {
    char **names, **paths; /* side by side */
} DropIns;

static void add_drop_ins(DropIns *d, const char *dir)
{
    struct dirent **names = NULL;
    int n = scandir(dir, &names, NULL, alphasort);
    for (int k = 0; k < n; k++) {
        if (ends(names[k]->d_name, ".conf") && !strv_contains(d->names, names[k]->d_name)) {
            strv_add(&d->names, names[k]->d_name);
            strv_push(&d->paths, xasprintf("%s/%s", dir, names[k]->d_name));
        }
        free(names[k]);
    }
    free(names);
}

static size_t first_name(const DropIns *d, const bool *used)
{
    size_t best = SIZE_MAX;
    for (size_t n = 0; d->names && d->names[n]; n++)
        if (!used[n] && (best == SIZE_MAX || strcmp(d->names[n], d->names[best]) < 0))
            best = n;
    return best;
}

/* Of two of the same name the one in the place that systemd looks into first holds; all are read in the order of their
 * names. */
static int read_unit(Batch *b, const char *path, const char *name, UnitEntries *entries, StrBuf *origin, Error *e)
{
    int r = read_entries(b, path, entries, e);
    _cleanup_(freep) char *own = xstrndup(path, (size_t)(strrchr(path, '/') - path));
    _cleanup_strv_ char **dirs = search(own);
    _cleanup_(freep) char *template = template_of(name);
    DropIns d = {0};
    strbuf_addf(origin, "%s%s", origin->len ? ", " : "", path);
    STRV_FOREACH (dir, dirs) {
        _cleanup_(freep) char *of_name = xasprintf("%s/%s.d", *dir, name);
        _cleanup_(freep) char *of_template = template ? xasprintf("%s/%s.d", *dir, template) : NULL;
        add_drop_ins(&d, of_name);
        if (of_template)
            add_drop_ins(&d, of_template);
    }
    _cleanup_(freep) bool *used = new0_array(bool, strv_length(d.names) + 1);
    for (size_t n; r == 0 && (n = first_name(&d, used)) != SIZE_MAX;) {
        struct stat st;
        used[n] = true;
        if (stat(d.paths[n], &st) == 0 && st.st_size == 0)
            continue; /* an empty one takes away one of that name in a later place */
        strbuf_addf(origin, ", %s", d.paths[n]);
        r = read_entries(b, d.paths[n], entries, e);
    }
    strv_free(d.names);
    strv_free(d.paths);
    return r;
}

/* --- a service with what belongs to it ---------------------------------------------------------------------------- */
/* Does the service ask for its socket, or is it an alternative (ssh.socket beside ssh.service)? */
static bool asks_for(const UnitEntries *entries, const char *socket)
{
    static const char *const keys_of[] = {"Requires", "Wants", "Sockets", "Also", "BindsTo"};
    for (size_t n = 0; n < entries->n; n++)
        for (size_t k = 0; k < ELEMENTS(keys_of); k++) {
            _cleanup_strv_ char **words = NULL;
            if (str_equal(entries->items[n].key, keys_of[k]) &&
                unit_words(entries->items[n].value, &words, NULL, NULL) == 0 && strv_contains(words, socket))
                return true;
        }
    return false;
}

static char *sibling(const UnitJob *j, const char *suffix)
{
    return xasprintf("%.*s%s", (int)(strlen(j->name) - strlen(".service")), j->name, suffix);
}

static int finish_job(Batch *b, UnitJob *j, Error *e)
{
    UnitImport u = {0};
    _cleanup_strbuf_ StrBuf origin = STRBUF_NULL;
    if (!j->service)
        j->service = find_unit(j->dir, j->name);
    if (!j->service)
        return error_set(e, -ENOENT, "there is no %s for %s (give both)", j->name, str_or(j->timer, j->socket));
    if (!ends(j->name, ".service") || unit_names(j->name, &u.names) < 0)
        return error_set(e, -EINVAL, "'%s' is no name of a service", j->name);
    _cleanup_(freep) char *timer_name = sibling(j, ".timer"), *socket_name = sibling(j, ".socket");
    int r = read_unit(b, j->service, j->name, &u.service, &origin, e);
    if (r == 0 && !j->timer)
        j->timer = find_unit(j->dir, timer_name);
    if (r == 0 && j->timer)
        r = read_unit(b, j->timer, timer_name, &u.timer, &origin, e);
    if (r == 0 && !j->socket && asks_for(&u.service, socket_name))
        j->socket = find_unit(j->dir, socket_name);
    if (r == 0 && j->socket)
        r = read_unit(b, j->socket, socket_name, &u.socket, &origin, e);
    bool job_like = str_equal(last_value(&u.service, "Service", "Type"), "oneshot");
    if (r == 0 && !last_value(&u.service, "Service", "ExecStart") && !job_like)
        r = error_set(e, -EINVAL, "%s has no ExecStart= in [Service]: there is nothing to run", j->service);
    _cleanup_(freep) char *base = xstrndup(j->name, strlen(j->name) - strlen(".service")), *name = import_name(base);
    if (r == 0)
        r = batch_add(b, name, origin.s, &u.s, e);
    if (r == 0)
        unit_import(&u);
    unit_import_done(&u);
    return r;
}

int units_finish(Units *u, Batch *b, Error *e)
{
    int r = 0;
    for (size_t n = 0; r == 0 && n < u->n_jobs; n++)
        r = finish_job(b, &u->jobs[n], e);
    return r;
}
