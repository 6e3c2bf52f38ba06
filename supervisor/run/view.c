/* See view.h. The namespace is made by a short-lived child, so that the daemon itself never leaves its own. */
#include "supervisor/run/view.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define RUN_DIR "/run/bulkhead"
#define BPF_DIR "/sys/fs/bpf"
/* For counter pages of all modules; it takes memory as they are made. A module that makes its own longer finds this end
 * of it, and not that of the host's /run. */
#define WORK_OPTIONS "mode=0711,size=256m,nr_inodes=65536"

/* Read-only from here on, with everything mounted below it. -ENOENT and the like mean: nothing there to protect. */
static int make_readonly(const char *path, bool recursive)
{
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY};
    return mount_setattr(AT_FDCWD, path, recursive ? AT_RECURSIVE : 0, &attr, sizeof attr) < 0 ? -errno : 0;
}

static int bind_readonly(const char *path, Error *e)
{
    if (access(path, F_OK) < 0)
        return 0;
    if (mount(path, path, NULL, MS_BIND, NULL) < 0)
        return error_errno(e, -errno, "cannot bind %s", path);
    int r = make_readonly(path, false);
    return r < 0 ? error_errno(e, r, "cannot make %s read-only", path) : 0;
}

static int cover(const char *path, Error *e)
{
    if (mount("bulkhead", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "mode=0,size=4k") < 0)
        return error_errno(e, -errno, "cannot cover %s", path);
    return 0;
}

/* "\040" and friends, as mountinfo writes blanks; in place. */
static void unescape(char *s)
{
    char *out = s;
    for (; *s; s++) {
        if (s[0] == '\\' && strspn(s + 1, "01234567") >= 3) {
            *out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
            s += 3;
        } else {
            *out++ = *s;
        }
    }
    *out = '\0';
}

/* Every cgroupfs read-only and every bpffs covered, wherever it is mounted. */
static int protect_mounts(Error *e)
{
    _cleanup_(freep) char *text = NULL;
    int r = file_read_all(AT_FDCWD, "/proc/self/mountinfo", 16u << 20, &text, NULL);
    if (r < 0)
        return error_errno(e, r, "cannot read /proc/self/mountinfo");
    bool bpf_covered = false;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char path[4096], type[64];
        const char *dash = strstr(line, " - ");
        if (!dash || sscanf(line, "%*s %*s %*s %*s %4095s", path) != 1 || sscanf(dash + 3, "%63s", type) != 1)
            continue;
        unescape(path);
        if (strcmp(type, "cgroup") == 0 || strcmp(type, "cgroup2") == 0) {
            r = make_readonly(path, true);
            if (r < 0)
                return error_errno(e, r, "cannot make %s read-only", path);
        } else if (strcmp(type, "bpf") == 0) {
            r = cover(path, e);
            if (r < 0)
                return r;
            bpf_covered |= strcmp(path, BPF_DIR) == 0;
        }
    }
    /* Also where none is mounted yet: one that comes later is propagated below the cover. */
    if (!bpf_covered && access(BPF_DIR, F_OK) == 0)
        return cover(BPF_DIR, e);
    return 0;
}

/* Beside the notify directory, and in this view alone. */
static int make_work_dir(const char *notify_path, Error *e)
{
    _cleanup_(freep) char *path =
        xasprintf("%.*s/" VIEW_WORK_NAME, (int)(strrchr(notify_path, '/') - notify_path), notify_path);
    _cleanup_fd_ int dir = dir_make(path, 0711);
    if (dir < 0)
        return error_errno(e, dir, "cannot make %s in view", path);
    if (mount("bulkhead", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, WORK_OPTIONS) < 0)
        return error_errno(e, -errno, "cannot mount %s in view", path);
    return 0;
}

/* Covers /run/bulkhead, then puts the notify directory back under its own name. */
static int hide_runtime(const char *notify_path, Error *e)
{
    _cleanup_fd_ int tree = open_tree(AT_FDCWD, notify_path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return error_errno(e, -errno, "cannot keep %s in view", notify_path);
    if (mount("bulkhead", RUN_DIR, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0711,size=64k") < 0)
        return error_errno(e, -errno, "cannot cover %s", RUN_DIR);
    _cleanup_fd_ int dir = dir_make(notify_path, 0711);
    if (dir < 0)
        return error_errno(e, dir, "cannot make %s in view", notify_path);
    if (move_mount(tree, "", AT_FDCWD, notify_path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        return error_errno(e, -errno, "cannot put %s in view", notify_path);
    int r = make_work_dir(notify_path, e);
    if (r < 0)
        return r;
    r = make_readonly(RUN_DIR, false);
    return r < 0 ? error_errno(e, r, "cannot make %s read-only", RUN_DIR) : 0;
}

/* A place to try hiding it where no instance has made one. */
static int make_example(const char **notify_path, Error *e)
{
    if (*notify_path)
        return 0;
    *notify_path = RUN_DIR "/example/notify";
    if (mount("bulkhead", "/run", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0755,size=64k") < 0)
        return error_errno(e, -errno, "cannot cover /run");
    _cleanup_fd_ int dir = dir_make(*notify_path, 0711);
    return dir < 0 ? error_errno(e, dir, "cannot make %s", *notify_path) : 0;
}

static int build(const char *notify_path, Error *e)
{
    if (unshare(CLONE_NEWNS) < 0)
        return error_errno(e, -errno, "cannot make a mount namespace");
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0) {
        /* In a chroot "/" is no mount point: then every mount below it is made a slave by the parent's own settings. */
        if (errno != EINVAL)
            return error_errno(e, -errno, "cannot detach from the host's mount propagation");
    }
    int r = protect_mounts(e);
    if (r == 0)
        r = bind_readonly("/proc/sys/kernel", e);
    if (r == 0)
        r = bind_readonly("/proc/sysrq-trigger", e);
    if (r == 0)
        r = make_example(&notify_path, e);
    if (r == 0)
        r = hide_runtime(notify_path, e);
    return r;
}

/* Builds, reports, and stays until the parent has taken hold of the namespace (closes its end). */
static _Noreturn void builder(const char *notify_path, int report, int hold)
{
    Error e = {0};
    build(notify_path, &e);
    (void)!write(report, &e, sizeof e);
    char c;
    (void)!read(hold, &c, 1);
    _exit(0);
}

static int take_hold(pid_t pid, int *ret_view, int *ret_root, Error *e)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    _cleanup_fd_ int view = open(path, O_RDONLY | O_CLOEXEC);
    if (view < 0)
        return error_errno(e, -errno, "cannot open %s", path);
    snprintf(path, sizeof path, "/proc/%d/root", (int)pid);
    int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return error_errno(e, -errno, "cannot open %s", path);
    *ret_view = TAKE_FD(view);
    *ret_root = root;
    return 0;
}

int view_open(const char *notify_path, int *ret_view, int *ret_root, Error *e)
{
    int report[2], hold[2];
    if (pipe2(report, O_CLOEXEC) < 0)
        return error_errno(e, -errno, "cannot make a pipe");
    _cleanup_fd_ int report_read = report[0], report_write = report[1];
    if (pipe2(hold, O_CLOEXEC) < 0)
        return error_errno(e, -errno, "cannot make a pipe");
    _cleanup_fd_ int hold_read = hold[0], hold_write = hold[1];
    pid_t pid = fork();
    if (pid < 0)
        return error_errno(e, -errno, "cannot fork");
    if (pid == 0) {
        close(hold_write);
        builder(notify_path, report_write, hold_read);
    }
    fd_closep(&report_write);
    Error from_child = {0};
    ssize_t n = read(report_read, &from_child, sizeof from_child);
    int r = 0;
    if (n != (ssize_t)sizeof from_child)
        r = error_set(e, -EIO, "the helper that makes the modules' mount namespace died");
    else if (from_child.code < 0)
        r = error_set(e, from_child.code, "%s", from_child.msg);
    else
        r = take_hold(pid, ret_view, ret_root, e);
    fd_closep(&hold_write);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return r;
}
