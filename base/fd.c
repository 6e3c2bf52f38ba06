/* See fd.h. */
#include "base/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/str.h"

int fd_close(int fd)
{
    if (fd >= 0) {
        int saved = errno;
        close(fd);
        errno = saved;
    }
    return -EBADF;
}

void fd_cloexec_from(int first)
{
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; d && (e = readdir(d));) {
        uint64_t fd;
        if (parse_u64(e->d_name, &fd) == 0 && fd >= (uint64_t)first)
            (void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
    }
    if (d)
        closedir(d);
}

int fd_write_all(int fd, const void *data, size_t size)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

static bool without_openat2;

void open_beneath_plainly(bool plainly)
{
    without_openat2 = plainly;
}

/* openat2 tells a symlink in the middle of the way apart from a file there. */
static int step_error(int at, const char *name, int error)
{
    struct stat st;
    bool link = error == ENOTDIR && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode);
    return link ? -ELOOP : -error;
}

/* Each component is opened by the directory before it, so no rename on the way leads elsewhere. */
static int open_steps(int dirfd, const char *path, int flags, mode_t mode)
{
    if (path[0] == '/')
        return -EXDEV;
    _cleanup_(freep) char *copy = xstrdup(path);
    _cleanup_fd_ int at = -EBADF;
    char *save = NULL, *name = strtok_r(copy, "/", &save);
    while (name) {
        char *next = strtok_r(NULL, "/", &save);
        if (strcmp(name, "..") == 0)
            return -EXDEV;
        int how = next ? O_PATH | O_DIRECTORY : flags;
        int from = at >= 0 ? at : dirfd;
        int fd = openat(from, name, how | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd < 0)
            return step_error(from, name, errno);
        fd_close(at);
        at = fd;
        name = next;
    }
    return at >= 0 ? TAKE_FD(at) : -ENOENT;
}

int open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
    if (without_openat2)
        return open_steps(dirfd, path, flags, mode);
    struct open_how how = {
        .flags = (uint64_t)(flags | O_CLOEXEC),
        .mode = (flags & O_CREAT) ? mode : 0,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
    };
    int fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof how);
    return fd < 0 ? -errno : fd;
}

static int open_component(int dirfd, const char *name, mode_t mode, bool last)
{
    if (mkdirat(dirfd, name, last ? mode : 0755) < 0 && errno != EEXIST)
        return -errno;
    /* Parents may be symlinks of the distribution (/var/run); what we own may not. */
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | (last ? O_NOFOLLOW : 0));
    return fd < 0 ? -errno : fd;
}

int dir_make(const char *path, mode_t mode)
{
    if (path[0] != '/')
        return -EINVAL;
    _cleanup_fd_ int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    const char *p = path;
    while (*(p += strspn(p, "/"))) {
        size_t n = strcspn(p, "/");
        _cleanup_(freep) char *name = xstrndup(p, n);
        p += n;
        bool last = p[strspn(p, "/")] == '\0';
        int next = open_component(fd, name, mode, last);
        if (next < 0)
            return next;
        fd_close(fd);
        fd = next;
    }
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (st.st_uid != geteuid() && fchown(fd, geteuid(), getegid()) < 0)
        return -errno;
    if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
        return -errno;
    return TAKE_FD(fd);
}

ssize_t file_read(int dirfd, const char *path, char *buf, size_t size)
{
    _cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t used = 0;
    while (used < size) {
        ssize_t n = read(fd, buf + used, size - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    if (used == size)
        return -E2BIG;
    if (used > 0 && buf[used - 1] == '\n')
        used--;
    buf[used] = '\0';
    return (ssize_t)used;
}

int file_read_all(int dirfd, const char *path, size_t limit, char **ret, size_t *ret_size)
{
    _cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (S_ISDIR(st.st_mode))
        return -EISDIR;
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    return file_read_fd(fd, limit, ret, ret_size);
}

int file_read_fd(int fd, size_t limit, char **ret, size_t *ret_size)
{
    _cleanup_(freep) char *buf = NULL;
    size_t used = 0, size = 0;
    for (;;) {
        if (used == size) {
            size = size ? size * 2 : 4096;
            buf = xrealloc(buf, size + 1, 1);
        }
        ssize_t n = read(fd, buf + used, size - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        used += (size_t)n;
        if (used > limit)
            return -EFBIG;
    }
    buf[used] = '\0';
    *ret = TAKE_PTR(buf);
    if (ret_size)
        *ret_size = used;
    return 0;
}

int file_write(int dirfd, const char *path, const char *value)
{
    _cleanup_fd_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, value, strlen(value));
    return n < 0 ? -errno : 0;
}

int file_read_u64(int dirfd, const char *path, uint64_t *ret)
{
    char buf[64];
    ssize_t n = file_read(dirfd, path, buf, sizeof buf);
    if (n < 0)
        return (int)n;
    if (strcmp(buf, "max") == 0) {
        *ret = UINT64_MAX;
        return 0;
    }
    return parse_u64(buf, ret);
}

int keyed_u64(const char *text, const char *key, uint64_t *ret)
{
    size_t n = strlen(key);
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        if (strncmp(line, key, n) != 0 || line[n] != ' ')
            continue;
        char number[32];
        size_t len = strcspn(line + n + 1, "\n");
        if (len >= sizeof number)
            return -ERANGE;
        memcpy(number, line + n + 1, len);
        number[len] = '\0';
        return parse_u64(number, ret);
    }
    return -ENOKEY;
}

static int remove_at(int dirfd, const char *name, dev_t dev, unsigned depth);

static int remove_content(int fd, dev_t dev, unsigned depth)
{
    int dup_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (dup_fd < 0)
        return -errno;
    DIR *d = fdopendir(dup_fd);
    if (!d) {
        fd_close(dup_fd);
        return -errno;
    }
    int first = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        int r = remove_at(fd, e->d_name, dev, depth + 1);
        if (r < 0 && first == 0)
            first = r;
    }
    closedir(d);
    return first;
}

static int remove_at(int dirfd, const char *name, dev_t dev, unsigned depth)
{
    if (depth > 64)
        return -ELOOP;
    if (unlinkat(dirfd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return -errno;
    _cleanup_fd_ int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (dev && st.st_dev != dev)
        return -EXDEV;
    int r = remove_content(fd, st.st_dev, depth);
    if (r < 0)
        return r;
    return unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int tree_remove(int dirfd, const char *path)
{
    return remove_at(dirfd, path, 0, 0);
}
