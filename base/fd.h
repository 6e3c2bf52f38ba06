/* File descriptors and the small files of the kernel (procfs, sysfs, cgroupfs).
 *
 * Every descriptor is CLOEXEC at birth and starts life as -EBADF; who takes one out of a watched variable says so with
 * TAKE_FD. Paths of ours are opened beneath a directory, never through a symlink. All return 0 or a negative errno. */
#pragma once

#include "base/util.h"

#define _cleanup_fd_ _cleanup_(fd_closep)

#define TAKE_FD(fd)          \
    ({                       \
        int take_fd_ = (fd); \
        (fd) = -EBADF;       \
        take_fd_;            \
    })

/* Closes fd if it is one; always returns -EBADF, so that `fd = fd_close(fd)` reads well. Keeps errno. */
int fd_close(int fd);
static inline void fd_closep(int *fd)
{
    *fd = fd_close(*fd);
}

/* Writes all of it, retrying short writes and EINTR. */
int fd_write_all(int fd, const void *data, size_t size);

/* Opens `path` beneath `dirfd` (openat2 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, O_CLOEXEC added). Returns an fd or a
 * negative errno. `dirfd` must be a directory of ours; `path` is relative. */
int open_beneath(int dirfd, const char *path, int flags, mode_t mode);
/* From now on without openat2: a component at a time with O_NOFOLLOW, no "..". To be called before anything is opened.
 */
void open_beneath_plainly(bool plainly);

/* Marks every descriptor from `first` on CLOEXEC, where close_range cannot: what /proc/self/fd lists. */
void fd_cloexec_from(int first);

/* Makes (if missing) and opens each component of the absolute `path`; the last one gets `mode` and owner root, also
 * when it was there already. Components above it are made 0755. Refuses a symlink as last component. Returns an
 * O_DIRECTORY fd or a negative errno. */
int dir_make(const char *path, mode_t mode);

/* Reads a small file beneath dirfd into buf, NUL-terminated, a trailing newline cut. Returns its length or a negative
 * errno; -E2BIG when it does not fit. dirfd may be AT_FDCWD for an absolute path. */
ssize_t file_read(int dirfd, const char *path, char *buf, size_t size);
/* Reads a whole regular file of at most `limit` bytes. *ret is NUL-terminated and owned by the caller. */
int file_read_all(int dirfd, const char *path, size_t limit, char **ret, size_t *ret_size);
/* The same of what is open, from where it stands to its end; a pipe, too. */
int file_read_fd(int fd, size_t limit, char **ret, size_t *ret_size);
/* Writes `value` in a single write(2), as kernel files want it. */
int file_write(int dirfd, const char *path, const char *value);
/* Unsigned number in a small file; "max" reads as UINT64_MAX. */
int file_read_u64(int dirfd, const char *path, uint64_t *ret);
/* The value of "KEY NUMBER" in a flat keyed file (cpu.stat, memory.events); -ENOKEY when the key is not there. */
int keyed_u64(const char *text, const char *key, uint64_t *ret);

/* Removes a directory tree of ours beneath dirfd, never following symlinks nor leaving the file system. A missing tree
 * is no error. */
int tree_remove(int dirfd, const char *path);
