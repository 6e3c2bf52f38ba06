/* Files that others name by `include`. See load.h.
 *
 * Which files a module includes is said by `include` as its file, its drop-ins and [defaults] merge to: a key like any
 * other. All that they say lies below the module's own file and drop-ins; of two files the later one wins, and what a
 * file includes itself lies right below it. Each file is read once for all modules, so its mistakes are told once. A
 * file that is reached twice counts where it comes last: there it has the last word anyway, and thus a module's files
 * are as many as there are, however they name each other. */
#include <errno.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/str.h"
#include "policies/lists.h"
#include "policies/load.h"
#include "policies/reader.h"

enum { INCLUDE_DEPTH = 8 };

struct Included {
    char *path; /* as it is named, below the configuration directory */
    bool missing;
    bool lost;
    unsigned height; /* 1 and the most files that follow each other below it */
    Included *deepest;
    uint16_t file;
    Raw raws[KEYS_MAX];
    Included **below; /* what it includes, the later one wins */
    size_t n_below;
    unsigned seen; /* the walk that has come by */
};

/* The way from the module's file down to the file that is being read. */
typedef struct Chain {
    const struct Chain *up;
    const char *path;
    unsigned length; /* files that were included to get here */
} Chain;

static const Key *include_key(void)
{
    const Key *k = key_find("module", "include");
    if (!k)
        abort();
    return k;
}

static void add_chain(const Chain *c, StrBuf *b)
{
    if (c->up)
        add_chain(c->up, b);
    strbuf_addf(b, "%s -> ", c->path);
}

static void complain_of_circle(const Loading *l, const Raw *raw, const Chain *up, const char *path)
{
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    add_chain(up, &b);
    loading_complain(l, include_key(), raw, "a circle: %s%s (take one of them out)", b.s, path);
}

static void complain_of_depth(const Loading *l, const Raw *raw, const Chain *up, const Included *first,
                              const char *path)
{
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    add_chain(up, &b);
    strbuf_adds(&b, path);
    for (const Included *i = first ? first->deepest : NULL; i; i = i->deepest)
        strbuf_addf(&b, " -> %s", i->path);
    loading_complain(l, include_key(), raw, "more than %d files deep: %s", INCLUDE_DEPTH, b.s);
}

/* Opens the directory of `path` a component at a time, each judged. A descriptor, -ENOENT or -EINVAL. */
static int open_parent(const Loading *l, const char *path, const char **ret_name)
{
    _cleanup_fd_ int fd = fcntl(l->dirfd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        complaints_add(l->complaints, l->dir, 0, NULL, "cannot be read: %s", strerror(errno));
        return -EINVAL;
    }
    const char *name = path;
    for (const char *slash; (slash = strchr(name, '/')); name = slash + 1) {
        _cleanup_(freep) char *component = xstrndup(name, (size_t)(slash - name));
        _cleanup_(freep) char *shown = xasprintf("%s/%.*s", l->dir, (int)(slash - path), path);
        int next = reader_directory(fd, component, shown, l->complaints);
        if (next < 0)
            return next;
        fd_close(fd);
        fd = next;
    }
    *ret_name = name;
    return TAKE_FD(fd);
}

static Included *read_file(Loading *l, const char *path)
{
    Included *f = new0(Included);
    f->path = xstrdup(path);
    f->height = 1;
    l->included = xrealloc(l->included, l->n_included + 1, sizeof(void *));
    l->included[l->n_included++] = f;

    const char *name = path;
    _cleanup_fd_ int fd = open_parent(l, path, &name);
    Source s = {.module = f->raws, .layer = LAYER_INCLUDE};
    int r = fd < 0 ? fd : source_read(l, fd, name, xasprintf("%s/%s", l->dir, path), &s);
    if (r == -ENOENT && fd >= 0)
        source_forget(l);
    f->missing = r == -ENOENT;
    f->lost = s.lost || (r < 0 && !f->missing);
    f->file = s.file;
    return f;
}

static Included *find(const Loading *l, const char *path)
{
    for (size_t i = 0; i < l->n_included; i++)
        if (strcmp(l->included[i]->path, path) == 0)
            return l->included[i];
    return NULL;
}

static bool in_chain(const Chain *c, const char *path)
{
    for (; c; c = c->up)
        if (strcmp(c->path, path) == 0)
            return true;
    return false;
}

static void read_list(Loading *l, const Raw *raw, const Chain *up, Included ***files, size_t *n, bool *lost);

/* The file and all below it; NULL after a complaint, or when it is missing and may be. */
static Included *include(Loading *l, const Raw *raw, const char *written, const Chain *up)
{
    bool optional = written[0] == '-';
    const char *path = written + optional;
    if (in_chain(up, path)) {
        complain_of_circle(l, raw, up, path);
        return NULL;
    }
    Included *f = find(l, path);
    if (up->length + (f ? f->height : 1) > INCLUDE_DEPTH) {
        complain_of_depth(l, raw, up, f, path);
        return NULL;
    }
    bool fresh = !f;
    if (fresh)
        f = read_file(l, path);
    if (f->missing) {
        if (!optional)
            loading_complain(l, include_key(), raw,
                             "'%s' does not exist in the configuration directory (write '-' before it if it may be "
                             "missing)",
                             path);
        return NULL;
    }
    const Raw *own = &f->raws[include_key() - keys];
    if (fresh && own->value) {
        Chain here = {.up = up, .path = f->path, .length = up->length + 1};
        read_list(l, own, &here, &f->below, &f->n_below, &f->lost);
        for (size_t i = 0; i < f->n_below; i++)
            if (f->below[i]->height >= f->height) {
                f->height = f->below[i]->height + 1;
                f->deepest = f->below[i];
            }
    }
    return f;
}

static void read_list(Loading *l, const Raw *raw, const Chain *up, Included ***files, size_t *n, bool *lost)
{
    _cleanup_strv_ char **items = NULL;
    Error e = {0};
    if (!*raw->value)
        return;
    if (list_includes(raw->value, &items, &e) < 0) {
        loading_complain(l, include_key(), raw, "%s", error_message(&e));
        *lost = true;
    }
    STRV_FOREACH (i, items) {
        size_t before = l->complaints->n;
        Included *f = include(l, raw, *i, up);
        if (f)
            ARRAY_PUSH(*files, *n) = f;
        *lost = *lost || l->complaints->n > before || (f && f->lost);
    }
}

/* The files in the order in which they win, backwards. */
static void walk(Included *const *files, size_t n, unsigned round, Included ***ret, size_t *ret_n)
{
    while (n-- > 0) {
        Included *f = files[n];
        if (f->seen == round)
            continue;
        f->seen = round;
        ARRAY_PUSH(*ret, *ret_n) = f;
        walk(f->below, f->n_below, round, ret, ret_n);
    }
}

/* A file's name as `include` would write it. */
static const char *below_directory(const Loading *l, uint16_t file)
{
    return l->files[file] + strlen(l->dir) + 1;
}

void include_merge(Loading *l, const Raw *own, Raw *raws, bool *lost, ModuleLayers *ml)
{
    size_t k = (size_t)(include_key() - keys), n = 0, n_order = 0;
    const Raw *said = own[k].value ? &own[k] : &raws[k];
    if (!said->value || !*said->value)
        return;
    _cleanup_(freep) Included **files = NULL, **order = NULL;
    Chain top = {.path = below_directory(l, said->file)};
    read_list(l, said, &top, &files, &n, lost);
    walk(files, n, ++l->walks, &order, &n_order);
    while (n_order-- > 0) {
        const Included *f = order[n_order];
        Raw kept = raws[k];
        raws[k] = (Raw){0};
        raws_put_over(f->raws, raws);
        free(raws[k].value);
        raws[k] = kept; /* whom a file includes is its own affair */
        if (ml)
            ARRAY_PUSH(ml->files, ml->n_files) = (LayerFile){.layer = LAYER_INCLUDE, .file = f->file};
    }
}

void include_done(Loading *l)
{
    for (size_t i = 0; i < l->n_included; i++) {
        Included *f = l->included[i];
        raws_done(f->raws);
        free(f->path);
        free(f->below);
        free(f);
    }
    free(l->included);
}
