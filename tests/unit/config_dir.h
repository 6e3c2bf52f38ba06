/* Configuration directories for tests: made in a fresh temporary directory, with the modes that policies demand. */
#pragma once

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/str.h"
#include "policies/policy.h"

/* An empty directory, 0755; its path is owned by the caller. */
static inline char *config_new(void)
{
    const char *base = getenv("TMPDIR");
    char *path = xasprintf("%s/bulkhead-test-XXXXXX", str_or(base, "/tmp"));
    assert_non_null(mkdtemp(path));
    assert_int_equal(chmod(path, 0755), 0);
    return path;
}

/* Removes it with all it holds, and frees the path. */
static inline void config_free(char *path)
{
    assert_int_equal(tree_remove(AT_FDCWD, path), 0);
    free(path);
}

static inline void config_make_parents(const char *dir, const char *name)
{
    for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
        _cleanup_(freep) char *path = xasprintf("%s/%.*s", dir, (int)(slash - name), name);
        assert_true(mkdir(path, 0755) == 0 || errno == EEXIST);
        assert_int_equal(chmod(path, 0755), 0);
    }
}

static inline void config_write_bytes(const char *dir, const char *name, const char *data, size_t size)
{
    config_make_parents(dir, name);
    _cleanup_(freep) char *path = xasprintf("%s/%s", dir, name);
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0644), 0);
    assert_int_equal(fd_write_all(fd, data, size), 0);
}

/* Writes the file `name` ("modules.d/web.ini") in dir, directories and all. */
static inline void config_write(const char *dir, const char *name, const char *text)
{
    config_write_bytes(dir, name, text, strlen(text));
}

/* Copies the tree `from` into dir: files, links and directories, with right modes. */
static inline void config_copy(const char *from, const char *dir, const char *below)
{
    _cleanup_(freep) char *source = xasprintf("%s/%s", from, below);
    DIR *d = opendir(source);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        _cleanup_(freep) char *name = xasprintf("%s%s", below, e->d_name);
        _cleanup_(freep) char *path = xasprintf("%s/%s", from, name);
        struct stat st;
        assert_int_equal(lstat(path, &st), 0);
        if (S_ISDIR(st.st_mode)) {
            _cleanup_(freep) char *deeper = xasprintf("%s/", name);
            config_make_parents(dir, deeper);
            config_copy(from, dir, deeper);
        } else if (S_ISLNK(st.st_mode)) {
            char target[256];
            ssize_t n = readlink(path, target, sizeof target - 1);
            assert_true(n > 0);
            target[n] = '\0';
            _cleanup_(freep) char *link = xasprintf("%s/%s", dir, name);
            config_make_parents(dir, name);
            assert_int_equal(symlink(target, link), 0);
        } else {
            _cleanup_(freep) char *data = NULL;
            size_t size;
            assert_int_equal(file_read_all(AT_FDCWD, path, 1 << 20, &data, &size), 0);
            config_write_bytes(dir, name, data, size);
        }
    }
    closedir(d);
}

static inline void config_replace(char **text, const char *what, const char *with)
{
    StrBuf b = STRBUF_NULL;
    const char *p = *text;
    for (const char *hit; (hit = strstr(p, what)); p = hit + strlen(what)) {
        strbuf_add(&b, p, (size_t)(hit - p));
        strbuf_adds(&b, with);
    }
    strbuf_adds(&b, p);
    free(*text);
    *text = strbuf_take(&b);
}

/* All complaints as lines, the directory's path left out as tests/data/README.md says; owned by the caller. */
static inline char *config_complaints(const Complaints *c, const char *dir, const char *shared)
{
    StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < c->n; i++) {
        _cleanup_(freep) char *line = complaint_format(&c->items[i]);
        strbuf_addf(&b, "%s\n", line);
    }
    char *text = strbuf_take(&b);
    _cleanup_(freep) char *inside = xasprintf("%s/", dir);
    _cleanup_(freep) char *itself = xasprintf("%s:", dir);
    config_replace(&text, inside, "");
    config_replace(&text, itself, ".:");
    config_replace(&text, shared, "SHARED");
    return text;
}

#define CONFIG_SHARED "/nonexistent/share/bulkhead"

/* Loads dir; on failure *ret_text is all complaints (owned by the caller), on success NULL. */
static inline Policy *config_load(const char *dir, char **ret_text)
{
    _cleanup_complaints_ Complaints c = {0};
    Policy *p = NULL;
    int r = policy_load(dir, CONFIG_SHARED, &p, &c);
    *ret_text = r < 0 ? config_complaints(&c, dir, CONFIG_SHARED) : NULL;
    assert_true(r == 0 || r == -EINVAL);
    assert_int_equal(r == 0, c.n == 0);
    assert_int_equal(r == 0, p != NULL);
    return p;
}

/* The same, which must succeed. */
static inline Policy *config_load_good(const char *dir)
{
    _cleanup_(freep) char *text = NULL;
    Policy *p = config_load(dir, &text);
    if (text)
        fail_msg("%s:\n%s", dir, text);
    return p;
}

/* The same, which must fail with just these lines. */
static inline void config_load_bad(const char *dir, const char *expected)
{
    _cleanup_(freep) char *text = NULL;
    Policy *p = config_load(dir, &text);
    assert_null(p);
    assert_string_equal(text, expected);
}

/* A directory with one module, web: exec and user are given, then `text`. */
static inline char *config_with_web(const char *text)
{
    char *dir = config_new();
    _cleanup_(freep) char *all = xasprintf("[module]\nexec = /bin/true\n[sandbox]\nuser = root\n%s", text);
    config_write(dir, "modules.d/web.ini", all);
    return dir;
}
