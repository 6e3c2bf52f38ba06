/* The modules' view of the mounts: one mount namespace for all of them, made once at start and entered by setns(2).
 *
 * In it cgroupfs and the kernel's host-wide switches (/proc/sys/kernel, /proc/sysrq-trigger) are read-only, bpffs is
 * covered, and /run/bulkhead is covered but for the instance's notify sockets and counter pages: a module that is root
 * cannot undo its bulkhead. The host's mounts propagate in (slave), nothing propagates out. One namespace for a
 * thousand modules costs each of them one system call; a private one for each would copy the mount table a thousand
 * times. It dies with its last user. */
#pragma once

#include "base/error.h"

/* Beside the notify directory: a tmpfs of the view's own for counter pages (page.h), reached through *ret_root. */
#define VIEW_WORK_NAME "work"

/* `notify_path` is the directory that stays reachable under its own name; NULL: only to see whether it can be done.
 * Returns O_PATH-like descriptors of the namespace and of its root directory (the daemon's own root, also in a chroot).
 */
int view_open(const char *notify_path, int *ret_view, int *ret_root, Error *e);
