/* See import.h. */
#include "tools/import/import.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "tools/import/supervisord.h"
#include "tools/import/svdir.h"

enum { FILE_MAX_BYTES = 1 << 20 };

Import *import_new(void)
{
    Import *i = new0(Import);
    batch_init(&i->batch);
    return i;
}

Import *import_free(Import *i)
{
    if (!i)
        return NULL;
    units_done(&i->units);
    batch_done(&i->batch);
    free(i);
    return NULL;
}

/* Service directories below a scan directory: /etc/sv, /etc/s6/sv. */
static int take_directory(Batch *b, const char *dir, Error *e)
{
    if (svdir_looks_so(dir))
        return svdir_take(b, dir, e);
    struct dirent **names = NULL;
    int n = scandir(dir, &names, NULL, alphasort), r = n < 0 ? error_errno(e, -errno, "cannot read %s", dir) : 0;
    size_t found = 0;
    for (int k = 0; k < n; k++) {
        _cleanup_(freep) char *below = xasprintf("%s/%s", dir, names[k]->d_name);
        if (r == 0 && names[k]->d_name[0] != '.' && svdir_looks_so(below)) {
            found++;
            r = svdir_take(b, below, e);
        }
        free(names[k]);
    }
    free(names);
    if (r == 0 && found == 0)
        r = error_set(e, -EINVAL,
                      "%s holds no service directory: neither run nor type in it or below (give unit files and "
                      "supervisord.conf by name)",
                      dir);
    return r;
}

int import_take(Import *i, const char *word, Error *e)
{
    struct stat st;
    if (stat(word, &st) < 0) {
        if (errno == ENOENT && (units_named(word) || !strchr(word, '/')))
            return units_take(&i->units, &i->batch, word, e);
        return error_errno(e, -errno, "cannot read %s", word);
    }
    if (S_ISDIR(st.st_mode))
        return take_directory(&i->batch, word, e);
    if (units_named(word))
        return units_take(&i->units, &i->batch, word, e);
    _cleanup_(freep) char *text = NULL;
    int r = file_read_all(AT_FDCWD, word, FILE_MAX_BYTES, &text, NULL);
    if (r < 0)
        return error_errno(e, r, "cannot read %s", word);
    if (supervisord_looks_so(text))
        return supervisord_take(&i->batch, word, e);
    return error_set(e, -EINVAL,
                     "%s is neither a unit (NAME.service, .timer, .socket) nor has it a section of supervisord "
                     "([program:x]); of runit and s6 give the directory",
                     word);
}

int import_finish(Import *i, char *const *known, Error *e)
{
    int r = units_finish(&i->units, &i->batch, e);
    if (r == 0)
        sketches_bind(i->batch.sketches, i->batch.n_sketches, known);
    return r;
}
