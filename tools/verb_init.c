/* `bulkhead init`: writes a module file for a command line; the guesses are init.c's.
 *
 * Nothing is written that `bulkhead check` would not take, nothing is overwritten unasked, and every directory that is
 * made is named. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "policies/policy.h"
#include "tools/init.h"
#include "tools/next.h"
#include "tools/tool.h"

enum { TEXT_LIMIT = 1 << 20 };

/* --- the host ----------------------------------------------------------------------------------------------------- */
static bool user_exists(const char *name)
{
    return getpwnam(name) != NULL;
}

static char *owner(const char *path)
{
    struct stat st;
    const struct passwd *pw =
        stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid != 0 ? getpwuid(st.st_uid) : NULL;
    return pw ? xstrdup(pw->pw_name) : NULL;
}

static char *text(const char *path)
{
    char *all = NULL;
    size_t size;
    return file_read_all(AT_FDCWD, path, TEXT_LIMIT, &all, &size) < 0 ? NULL : all;
}

static char *match(const char *pattern)
{
    glob_t found = {0};
    char *last = NULL;
    if (glob(pattern, 0, NULL, &found) == 0 && found.gl_pathc > 0)
        last = xstrdup(found.gl_pathv[found.gl_pathc - 1]);
    globfree(&found);
    return last;
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static bool runs(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* --- the program -------------------------------------------------------------------------------------------------- */
static char *search(const char *places, const char *name)
{
    _cleanup_(freep) char *copy = xstrdup(places);
    for (char *save = NULL, *dir = strtok_r(copy, ":", &save); dir; dir = strtok_r(NULL, ":", &save)) {
        _cleanup_(freep) char *path = xasprintf("%s/%s", dir, name);
        if (dir[0] == '/' && runs(path))
            return TAKE_PTR(path);
    }
    return NULL;
}

/* A path as typed: absolute, and why it cannot be run if it cannot. */
static char *by_path(const char *typed, const char *cwd)
{
    _cleanup_(freep) char *path = typed[0] == '/' ? xstrdup(typed)
                                  : str_starts(typed, "./")
                                      ? xasprintf("%s/%s", str_equal(cwd, "/") ? "" : cwd, typed + 2)
                                      : xasprintf("%s/%s", str_equal(cwd, "/") ? "" : cwd, typed);
    struct stat st;
    if (stat(path, &st) < 0)
        say_error("%s: %s (give the program's path, or its name alone to have it looked for in $PATH)", path,
                  strerror(errno));
    else if (!S_ISREG(st.st_mode))
        say_error("%s is no file (give the program in it)", path);
    else if (access(path, X_OK) < 0)
        say_error("%s may not be executed (chmod +x %s, or name what runs it: bulkhead init -- python3 %s)", path,
                  typed, typed);
    else
        return TAKE_PTR(path);
    return NULL;
}

/* As the shell would find it, and in the directories of servers, which are in nobody's $PATH but root's. NULL: said
 * why. */
static char *find_program(const char *typed, const char *cwd)
{
    if (strchr(typed, '/'))
        return by_path(typed, cwd);
    const KnownProgram *known = known_program(typed);
    char *path = search(str_or(getenv("PATH"), "/usr/bin:/bin"), typed);
    if (!path)
        path = search("/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin", typed);
    if (!path && known->place)
        path = match(known->place);
    if (!path && known->package)
        say_error("no program '%s' here (apt install %s, or give its path)", typed, known->package);
    else if (!path)
        say_error("no program '%s' in $PATH (install it, or give its path: bulkhead init -- /path/to/%s)", typed,
                  typed);
    return path;
}

/* --- the file ----------------------------------------------------------------------------------------------------- */
/* What `bulkhead check` says of it, in a configuration of its own. False: it was said. */
static bool passes_check(const Init *i, const char *ini)
{
    _cleanup_(freep) char *dir = xasprintf("%s/bulkhead-init-XXXXXX", str_or(getenv("TMPDIR"), "/tmp")), *shared = NULL;
    if (!mkdtemp(dir)) {
        say_error("cannot make a directory in %s to check the file in: %s", str_or(getenv("TMPDIR"), "/tmp"),
                  strerror(errno));
        return false;
    }
    _cleanup_(freep) char *modules = xasprintf("%s/modules.d", dir), *file = xasprintf("%s/%s.ini", modules, i->name);
    _cleanup_complaints_ Complaints complaints = {0};
    Policy *policy = NULL;
    (void)policy_shared_dir(&shared);
    bool written = false;
    if (mkdir(modules, 0755) == 0) {
        _cleanup_fd_ int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        written = fd >= 0 && fchmod(fd, 0644) == 0 && fd_write_all(fd, ini, strlen(ini)) == 0;
    }
    if (!written)
        say_error("cannot write %s: %s", file, strerror(errno));
    else
        (void)policy_read(dir, shared, &policy, &complaints);
    policy_freep(&policy);
    (void)tree_remove(AT_FDCWD, dir);
    for (size_t k = 0; k < complaints.n; k++) {
        const Complaint *c = &complaints.items[k];
        say_error("%s%s%s", str_or(c->key, ""), c->key ? ": " : "", c->message);
    }
    return written && complaints.n == 0;
}

/* Makes what is missing of it, and says what it makes. 0 or a negative errno. */
static int make_directory(const char *dir)
{
    struct stat st;
    if (stat(dir, &st) == 0)
        return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
    _cleanup_(freep) char *above = xstrdup(dir);
    char *slash = strrchr(above, '/');
    if (slash && slash != above) {
        *slash = '\0';
        int r = make_directory(above);
        if (r < 0)
            return r;
    }
    if (mkdir(dir, 0755) < 0)
        return -errno;
    fprintf(stderr, "made the directory %s\n", dir);
    return 0;
}

/* Whole or not at all; an existing file stays unless forced. 0 or a negative errno. */
static int write_file(const char *path, const char *ini, bool force)
{
    _cleanup_(freep) char *new = xasprintf("%s.new-%d", path, (int)getpid());
    _cleanup_fd_ int fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int r = fchmod(fd, 0644) < 0 ? -errno : fd_write_all(fd, ini, strlen(ini));
    if (r == 0 && (force ? rename(new, path) : link(new, path)) < 0)
        r = -errno;
    if (r < 0 || !force)
        (void)unlink(new);
    return r;
}

static ToolStatus cannot_write(const Args *a, const char *path, int r)
{
    if (r == -EEXIST)
        say_error("%s is there already, and stays (--force replaces it, --stdout prints it, another NAME: bulkhead "
                  "init NAME -- %s)",
                  path, a->words[a->n_named]);
    else if (r == -EACCES || r == -EPERM || r == -EROFS)
        say_error("cannot write %s: %s (try sudo; or --output DIR, or --stdout)", path, strerror(-r));
    else
        say_error("cannot write %s: %s", path, strerror(-r));
    return TOOL_FAILED;
}

/* What was written, what was changed of the command line, and what to type now. */
static void tell(const Args *a, const Init *i, const char *path)
{
    _cleanup_(freep) char *take = next_take_configuration(a->instance);
    printf("wrote %s\n", path);
    STRV_FOREACH (line, i->line.notes)
        printf("  %s\n", *line);
    printf("  user %s: %s\n", i->user, i->user_why);
    if (a->output) {
        printf("next:\n  have a look at it, and copy it to /etc/bulkhead/modules.d\n");
        return;
    }
    printf("next:\n");
    printf("  bulkhead check%s%s\n", a->config ? " " : "", str_or(a->config, ""));
    if (i->unit && next_systemd())
        printf("  systemctl disable --now %.*s\n", (int)(strlen(i->unit) - strlen(".service")), i->unit);
    printf("  %s\n  bulkhead status %s\n", take, i->name);
}

static ToolStatus write_it(const Args *a, const Init *i)
{
    _cleanup_(freep) char *ini = init_text(i);
    if (!passes_check(i, ini))
        return TOOL_FAILED;
    if (a->to_stdout) {
        fputs(ini, stdout);
        return TOOL_DONE;
    }
    _cleanup_(freep) char *dir =
        a->output ? xstrdup(a->output) : xasprintf("%s/modules.d", str_or(a->config, "/etc/bulkhead"));
    _cleanup_(freep) char *path = xasprintf("%s/%s.ini", dir, i->name);
    int r = make_directory(dir);
    if (r == 0)
        r = write_file(path, ini, a->force);
    if (r < 0)
        return cannot_write(a, path, r);
    tell(a, i, path);
    return TOOL_DONE;
}

ToolStatus verb_init(const Args *a)
{
    _cleanup_(freep) char *cwd = getcwd(NULL, 0), *program = NULL;
    const InitWorld world = {.user_exists = user_exists,
                             .owner = owner,
                             .text = text,
                             .match = match,
                             .exists = exists,
                             .cwd = str_or(cwd, "/")};
    Init i = {0};
    Error e = {0};
    if (a->output && a->to_stdout) {
        say_error("--output or --stdout, not both");
        return TOOL_USAGE;
    }
    program = find_program(a->words[a->n_named], world.cwd);
    if (!program)
        return TOOL_FAILED;
    _cleanup_strv_ char **given = NULL;
    for (size_t k = a->n_named; k < a->n_words; k++)
        strv_add(&given, a->words[k]);
    int r = init_guess(&world, program, given, a->n_named > 0 ? a->words[0] : NULL, a->user, &i, &e);
    if (r < 0) {
        say_error("%s", error_message(&e));
        return TOOL_USAGE;
    }
    ToolStatus status = write_it(a, &i);
    init_done(&i);
    return status;
}
