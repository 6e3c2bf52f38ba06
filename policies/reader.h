/* The line reader between a file and inih: what inih would misread never reaches it.
 *
 * inih (r55) splits lines over 200 bytes and parses the tail as a line of its own, swallows indented lines into the
 * value above, cuts values at ` ;`, stops at NUL, reads a directory as empty and tells no line numbers. So each line is
 * judged here; inih gets only `[section]` and `key=1`, and the real value (up to 64 KiB, verbatim) is kept aside.
 *
 * The rules: sections, keys and comments (`;` or `#`) start in the first column; `key = value` on one line; UTF-8
 * without control bytes; a section may come again, a key in it may not. Whatever breaks them is a complaint, and
 * reading goes on with the next line. Files must be regular, owned by root or the reader, writable by nobody else. */
#pragma once

#include "base/util.h"
#include "policies/complaint.h"

#define READER_FILE_MAX  (1024 * 1024)
#define READER_VALUE_MAX (64 * 1024)

typedef enum ReaderFlags {
    READER_REPEAT = 1 << 0, /* a key may come several times in a section */
} ReaderFlags;

/* Called in file order: once for each section line (key and value NULL), once for each key. Strings live for the call
 * only. Blanks around the value are gone; it may be empty. */
typedef void (*ReaderHandler)(void *user, const char *section, const char *key, const char *value, unsigned line);

/* Reads the ini file `path` beneath or relative to dirfd (openat rules; symlinks are followed, what they lead to is
 * judged). `shown` is the file's name in complaints. Returns 0, -ENOENT (missing: no complaint, the caller knows what
 * that means), or -EINVAL when anything was complained about (the handler may have been called all the same). */
int reader_file(int dirfd, const char *path, const char *shown, ReaderFlags flags, ReaderHandler fn, void *user,
                Complaints *complaints);

/* The same for bytes in memory. */
int reader_bytes(const char *data, size_t size, const char *shown, ReaderFlags flags, ReaderHandler fn, void *user,
                 Complaints *complaints);

/* Reads a whole trusted file (the checks of reader_file, at most READER_FILE_MAX bytes) without parsing. *ret is
 * NUL-terminated and owned by the caller. Returns as
 * reader_file does. */
int reader_slurp(int dirfd, const char *path, const char *shown, char **ret, size_t *ret_size, Complaints *complaints);

/* Opens a directory of configuration files after the same checks of owner and mode. Returns an fd, -ENOENT (no
 * complaint) or -EINVAL. */
int reader_directory(int dirfd, const char *path, const char *shown, Complaints *complaints);
