/* See instance.h. */
#include "supervisor/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define RUN_DIR "/run/bulkhead"
#define LOG_DIR "/var/log/bulkhead"

/* Opens and locks the file; -EAGAIN when what was locked has been unlinked meanwhile by a daemon on its way out. */
static int take_lock(int dir, const char *name, int *ret, Error *e)
{
    _cleanup_fd_ int fd = open_beneath(dir, "lock", O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return error_errno(e, fd, "cannot open %s/%s/lock", RUN_DIR, name);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        char pid[32] = "";
        if (errno != EWOULDBLOCK)
            return error_errno(e, -errno, "cannot lock %s/%s/lock", RUN_DIR, name);
        (void)file_read(dir, "lock", pid, sizeof pid);
        return error_set(
            e, -EBUSY,
            "instance '%s' is run by another daemon already (pid %s): stop that one, or use another --instance", name,
            *pid ? pid : "?");
    }
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_nlink == 0)
        return -EAGAIN;
    char pid[32];
    int n = snprintf(pid, sizeof pid, "%d\n", (int)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)n, 0) < 0)
        return error_errno(e, -errno, "cannot write %s/%s/lock", RUN_DIR, name);
    *ret = TAKE_FD(fd);
    return 0;
}

static int open_runtime(Instance *i, Error *e)
{
    for (int tries = 0; tries < 16; tries++) {
        i->runtime_dir = dir_make(i->runtime_path, 0711);
        if (i->runtime_dir < 0)
            return error_errno(e, i->runtime_dir, "cannot make %s", i->runtime_path);
        int r = take_lock(i->runtime_dir, i->name, &i->lock, e);
        if (r != -EAGAIN && r != -ENOENT)
            return r;
        i->runtime_dir = fd_close(i->runtime_dir);
    }
    return error_set(e, -EBUSY, "another daemon of instance '%s' is on its way out: try again", i->name);
}

int instance_open(const char *name, Instance *ret, Error *e)
{
    Instance i = INSTANCE_NULL;
    i.name = xstrdup(name);
    i.runtime_path = xasprintf("%s/%s", RUN_DIR, name);
    i.notify_path = xasprintf("%s/notify", i.runtime_path);
    int r = open_runtime(&i, e);
    if (r == 0)
        (void)unlinkat(i.runtime_dir, "stopping", 0); /* a dead daemon's */
    if (r == 0 && (i.notify_dir = dir_make(i.notify_path, 0711)) < 0)
        r = error_errno(e, i.notify_dir, "cannot make %s", i.notify_path);
    if (r == 0) {
        _cleanup_(freep) char *logs = xasprintf("%s/%s", LOG_DIR, name);
        i.logs_dir = dir_make(logs, 0700);
        if (i.logs_dir < 0)
            r = error_errno(e, i.logs_dir, "cannot make %s", logs);
    }
    if (r < 0) {
        instance_close(&i, false);
        return r;
    }
    *ret = i;
    return 0;
}

char *instance_recorded_root(const Instance *i)
{
    char *text = NULL;
    return file_read_all(i->runtime_dir, "root", 64u << 10, &text, NULL) < 0 ? NULL : text;
}

int instance_record_root(const Instance *i, const char *root, Error *e)
{
    _cleanup_fd_ int fd = open_beneath(i->runtime_dir, "root", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int r = fd < 0 ? fd : fd_write_all(fd, root, strlen(root));
    return r < 0 ? error_errno(e, r, "cannot write %s/root", i->runtime_path) : 0;
}

void instance_mark_stopping(const Instance *i)
{
    int fd = open_beneath(i->runtime_dir, "stopping", O_WRONLY | O_CREAT, 0600);
    fd_close(fd);
}

bool instance_was_stopping(const char *name)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s/stopping", RUN_DIR, name);
    return access(path, F_OK) == 0;
}

void instance_close(Instance *i, bool remove)
{
    if (remove && i->runtime_dir >= 0) {
        _cleanup_fd_ int run = open(RUN_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (run >= 0)
            (void)tree_remove(run, i->name);
        (void)rmdir(RUN_DIR); /* only when no other instance is there */
    }
    i->logs_dir = fd_close(i->logs_dir);
    i->notify_dir = fd_close(i->notify_dir);
    i->runtime_dir = fd_close(i->runtime_dir);
    i->lock = fd_close(i->lock);
    free(TAKE_PTR(i->name));
    free(TAKE_PTR(i->runtime_path));
    free(TAKE_PTR(i->notify_path));
}
