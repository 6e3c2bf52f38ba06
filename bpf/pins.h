/* Where our pins lie: a bpffs, `bulkhead/` in it, an instance's directory in that (all root's, 0700; pins 0600).
 *
 * Directories are opened once and verified through their descriptor; pins are made and read through that descriptor, so
 * that nobody can put another directory in its place. Making and unmaking directories and the mount is serialised
 * between instances by a lock file, so that none unmounts what another one has just found mounted. */
#pragma once

#include "base/error.h"
#include "base/util.h"

#define BPFFS_DEFAULT "/sys/fs/bpf"

/* Mounts a bpffs at `bpffs` unless one is there, makes the instance's directory and opens it. Pins in it are those of a
 * dead instance: -EEXIST. Returns 0 or a negative errno with *e filled, and has then undone what it did. */
int pins_open(const char *bpffs, const char *instance, int *ret_dirfd, Error *e);
/* Pins a map, a program or a link under `name`. */
int pin_add(int dirfd, const char *name, int fd, Error *e);
/* Removes an instance's pins (links first) and directory; unmounts the bpffs when it is one of ours and now empty.
 * Refuses, and then removes nothing, what is not root's or not of the type its name says. 0 also when there is nothing;
 * *ret_n (may be NULL) counts pins. */
int pins_remove(const char *bpffs, const char *instance, unsigned *ret_n, Error *e);
