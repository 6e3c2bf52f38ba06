/* See pins.h. */
#include "bpf/pins.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define RUN_DIR      "/run/bulkhead"
#define LOCK_NAME    ".bpffs.lock"
#define MOUNT_SOURCE "bulkhead" /* how a mount of ours is known in mountinfo */

/* --- the lock --------------------------------------------------------------------------------------------------------
 * Its file goes away with the last instance, by whoever holds it: who waited for a file that is gone starts again. */

static int lock_take(int *ret_dirfd, int *ret_lock)
{
    if (mkdir(RUN_DIR, 0755) < 0 && errno != EEXIST)
        return -errno;
    _cleanup_fd_ int dir = open(RUN_DIR, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st, now;
    if (dir < 0 || fstat(dir, &st) < 0)
        return -errno;
    if (st.st_uid != geteuid())
        return -EPERM;
    for (;;) {
        _cleanup_fd_ int fd = openat(dir, LOCK_NAME, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
            return -errno;
        while (flock(fd, LOCK_EX) < 0)
            if (errno != EINTR)
                return -errno;
        if (fstat(fd, &st) < 0)
            return -errno;
        if (fstatat(dir, LOCK_NAME, &now, AT_SYMLINK_NOFOLLOW) < 0 || st.st_ino != now.st_ino)
            continue;
        *ret_dirfd = TAKE_FD(dir);
        *ret_lock = TAKE_FD(fd);
        return 0;
    }
}

/* --- the mount -------------------------------------------------------------------------------------------------------
 */

static bool is_bpffs(const char *path)
{
    struct statfs fs;
    return statfs(path, &fs) == 0 && fs.f_type == BPF_FS_MAGIC;
}

static int mount_bpffs(const char *path, Error *e)
{
    if (is_bpffs(path))
        return 0;
    if (mount(MOUNT_SOURCE, path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") == 0)
        return 0;
    return error_set(e, -errno, "no bpffs: none is mounted on %s and mounting one failed: %s%s", path, strerror(errno),
                     " (bpf = optional in [supervisor] goes without)");
}

/* Whether the topmost mount on `path` was made by us. */
static bool mounted_by_us(const char *path)
{
    _cleanup_(freep) char *text = NULL;
    if (file_read_all(AT_FDCWD, "/proc/self/mountinfo", 16u << 20, &text, NULL) < 0)
        return false;
    bool ours = false;
    for (char *line = text, *next; line && *line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        char point[4096], source[256];
        const char *rest = strstr(line, " - ");
        if (sscanf(line, "%*s %*s %*s %*s %4095s", point) != 1 || strcmp(point, path) != 0)
            continue;
        ours = rest && sscanf(rest, " - bpf %255s", source) == 1 && strcmp(source, MOUNT_SOURCE) == 0;
    }
    return ours;
}

/* The kernel itself puts two iterators (maps.debug, progs.debug) into a fresh bpffs: they are no one's. */
static bool dir_is_empty(int fd)
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        fd_close(copy);
        return false;
    }
    bool empty = true;
    for (struct dirent *entry; empty && (entry = readdir(d));)
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                strcmp(entry->d_name, "maps.debug") == 0 || strcmp(entry->d_name, "progs.debug") == 0;
    closedir(d);
    return empty;
}

/* Removes `bulkhead/` if it is empty; whether the bpffs holds nothing then. */
static bool top_is_empty(const char *bpffs)
{
    _cleanup_fd_ int top = open(bpffs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return false;
    unlinkat(top, "bulkhead", AT_REMOVEDIR);
    return dir_is_empty(top);
}

/* Takes away, under the lock, what the last instance leaves behind: `bulkhead/`, our mount, the lock's file. The mount
 * is kept as long as somebody uses it, which is no error. */
static void tidy(const char *bpffs, int run_dir)
{
    if (is_bpffs(bpffs) && top_is_empty(bpffs) && mounted_by_us(bpffs))
        umount2(bpffs, UMOUNT_NOFOLLOW);
    unlinkat(run_dir, LOCK_NAME, 0);
}

/* --- directories -----------------------------------------------------------------------------------------------------
 */

/* Opens a directory of ours; `path` is for the message. */
static int open_ours(int parent, const char *name, const char *path, bool make, int *ret, Error *e)
{
    if (make && mkdirat(parent, name, 0700) < 0 && errno != EEXIST)
        return error_errno(e, -errno, "cannot make %s", path);
    int opened = open_beneath(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (opened == -ENOENT)
        return -ENOENT;
    if (opened < 0)
        return error_errno(e, opened, "%s is not a directory of ours", path);
    _cleanup_fd_ int fd = opened;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_errno(e, -errno, "cannot look at %s", path);
    if (st.st_uid != geteuid())
        return error_set(e, -EPERM, "%s belongs to user %u, not to root: remove it", path, st.st_uid);
    if ((st.st_mode & 07777) != 0700 && fchmod(fd, 0700) < 0)
        return error_errno(e, -errno, "cannot make %s private", path);
    *ret = TAKE_FD(fd);
    return 0;
}

static int open_instance(const char *bpffs, const char *instance, bool make, int *ret_parent, int *ret, Error *e)
{
    _cleanup_fd_ int top = open(bpffs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (top < 0)
        return error_errno(e, -errno, "cannot open %s", bpffs);
    _cleanup_(freep) char *ours = xasprintf("%s/bulkhead", bpffs);
    _cleanup_(freep) char *path = xasprintf("%s/%s", ours, instance);
    _cleanup_fd_ int parent = -EBADF;
    int r = open_ours(top, "bulkhead", ours, make, &parent, e);
    if (r < 0)
        return r;
    r = open_ours(parent, instance, path, make, ret, e);
    if (r == 0 && ret_parent)
        *ret_parent = TAKE_FD(parent);
    return r;
}

int pins_open(const char *bpffs, const char *instance, int *ret_dirfd, Error *e)
{
    _cleanup_fd_ int lock = -EBADF, run_dir = -EBADF;
    int r = lock_take(&run_dir, &lock);
    if (r < 0)
        return error_errno(e, r, "cannot lock " RUN_DIR "/" LOCK_NAME);
    _cleanup_fd_ int dir = -EBADF;
    r = mount_bpffs(bpffs, e);
    if (r == 0)
        r = open_instance(bpffs, instance, true, NULL, &dir, e);
    if (r < 0) {
        tidy(bpffs, run_dir);
        return r;
    }
    if (!dir_is_empty(dir))
        return error_set(
            e, -EEXIST,
            "%s/bulkhead/%s holds pins of an earlier run (bulkheadd --instance %s removes them at its start)", bpffs,
            instance, instance);
    *ret_dirfd = TAKE_FD(dir);
    return 0;
}

/* --- pins ------------------------------------------------------------------------------------------------------------
 */

/* The path of a pin through its directory's descriptor: there is no bpf(2) by directory before 6.5. */
static void pin_path(int dirfd, const char *name, char path[static 128])
{
    snprintf(path, 128, "/proc/self/fd/%d/%s", dirfd, name);
}

int pin_add(int dirfd, const char *name, int fd, Error *e)
{
    char path[128];
    pin_path(dirfd, name, path);
    mode_t mask = umask(0077);
    int r = bpf_obj_pin(fd, path);
    umask(mask);
    return r < 0 ? error_errno(e, -errno, "cannot pin %s", name) : 0;
}

/* The types our names stand for. */
static const struct {
    const char *name;
    unsigned type;
} map_types[] = {
    {"work", BPF_MAP_TYPE_HASH},        {"exits", BPF_MAP_TYPE_HASH},  {"exit_ring", BPF_MAP_TYPE_RINGBUF},
    {"conns", BPF_MAP_TYPE_SK_STORAGE}, {"stats", BPF_MAP_TYPE_ARRAY},
};

static int map_is(int fd, const char *name)
{
    struct bpf_map_info info = {0};
    unsigned size = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &size) < 0)
        return -errno;
    for (size_t i = 0; i < ELEMENTS(map_types); i++)
        if (strcmp(map_types[i].name, name) == 0)
            return info.type == map_types[i].type ? 0 : -EMEDIUMTYPE;
    return 0; /* a later version's */
}

/* 0 when the pin is root's and what its name says. */
static int pin_verify(int dirfd, const char *name, Error *e)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(e, -errno, "cannot look at the pin %s", name);
    if (st.st_uid != geteuid())
        return error_set(e, -EPERM, "the pin %s belongs to user %u, not to root: left alone", name, st.st_uid);
    if (!S_ISREG(st.st_mode))
        return error_set(e, -EMEDIUMTYPE, "%s is no pin: left alone", name);
    char path[128], proc[64], kind[64] = "";
    pin_path(dirfd, name, path);
    _cleanup_fd_ int fd = bpf_obj_get(path);
    if (fd < 0)
        return error_errno(e, -errno, "cannot open the pin %s", name);
    snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
    if (readlink(proc, kind, sizeof kind - 1) < 0)
        return error_errno(e, -errno, "cannot look at the pin %s", name);
    bool link = str_starts(name, "link_");
    /* "anon_inode:bpf-map", "anon_inode:bpf-prog"; links have had both a hyphen and an underscore */
    if (strstr(kind, link ? "bpf_link" : "bpf-map") || (link && strstr(kind, "bpf-link"))) {
        if (link || map_is(fd, name) == 0)
            return 0;
    }
    return error_set(e, -EMEDIUMTYPE, "the pin %s is not what its name says (%s): left alone", name, kind);
}

static int pin_names(int dirfd, char ***ret)
{
    int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = copy < 0 ? NULL : fdopendir(copy);
    if (!d) {
        int r = -errno;
        fd_close(copy);
        return r;
    }
    for (struct dirent *entry; (entry = readdir(d));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            strv_add(ret, entry->d_name);
    closedir(d);
    return 0;
}

static int remove_pins(int dirfd, unsigned *ret_n, Error *e)
{
    _cleanup_strv_ char **names = NULL;
    int r = pin_names(dirfd, &names);
    if (r < 0)
        return error_errno(e, r, "cannot read the directory of pins");
    STRV_FOREACH (name, names) {
        r = pin_verify(dirfd, *name, e);
        if (r < 0)
            return r;
    }
    /* Links first: no program may run with half of its maps gone from sight. */
    for (int links = 1; links >= 0; links--) {
        STRV_FOREACH (name, names) {
            if (str_starts(*name, "link_") != (links == 1))
                continue;
            if (unlinkat(dirfd, *name, 0) < 0 && errno != ENOENT)
                return error_errno(e, -errno, "cannot remove the pin %s", *name);
            ++*ret_n;
        }
    }
    return 0;
}

int pins_remove(const char *bpffs, const char *instance, unsigned *ret_n, Error *e)
{
    unsigned n = 0;
    if (ret_n)
        *ret_n = 0;
    if (!is_bpffs(bpffs))
        return 0;
    _cleanup_fd_ int lock = -EBADF, run_dir = -EBADF, parent = -EBADF, dir = -EBADF;
    int r = lock_take(&run_dir, &lock);
    if (r < 0)
        return error_errno(e, r, "cannot lock " RUN_DIR "/" LOCK_NAME);
    r = open_instance(bpffs, instance, false, &parent, &dir, e);
    if (r == 0) {
        r = remove_pins(dir, &n, e);
        if (r == 0 && unlinkat(parent, instance, AT_REMOVEDIR) < 0)
            r = error_errno(e, -errno, "cannot remove %s/bulkhead/%s", bpffs, instance);
    } else if (r == -ENOENT) {
        r = 0;
    }
    dir = fd_close(dir);
    parent = fd_close(parent);
    tidy(bpffs, run_dir);
    if (ret_n)
        *ret_n = n;
    return r;
}
