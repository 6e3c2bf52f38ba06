/* See reader.h. One pass over the bytes of a file in memory: ini_parse_stream() pulls lines through next_line(), which
 * complains or hands over a short token; inih calls back with section and key, and on_pair() adds the value that
 * next_line() has put aside. */
#include "policies/reader.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <search.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum { SECTION_MAX = 49, KEY_MAX = 64 };

typedef struct Reader {
    const char *rest, *end;
    const char *shown;
    ReaderFlags flags;
    ReaderHandler fn;
    void *user;
    Complaints *complaints;

    unsigned line;
    char section[SECTION_MAX + 1];
    bool in_section; /* a section line was read ... */
    bool skipping;   /* ... and the last one was broken: its keys belong nowhere */
    char *value;     /* of the pair that inih is being handed */
    void *seen;      /* tsearch tree of Seen */
} Reader;

typedef struct Seen {
    char *name; /* "section.key" */
    unsigned line;
} Seen;

static int seen_compare(const void *a, const void *b)
{
    return strcmp(((const Seen *)a)->name, ((const Seen *)b)->name);
}

static void seen_free(void *p)
{
    free(((Seen *)p)->name);
    free(p);
}

#define COMPLAIN(r, ...) complaints_add((r)->complaints, (r)->shown, (r)->line, NULL, __VA_ARGS__)

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Letters, digits, '_' and '-'; keys also '.', as in `sandbox.user`. Nothing that means something to inih. */
static bool is_name(const char *s, size_t n, bool dots)
{
    for (size_t i = 0; i < n; i++) {
        char c = s[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
              (dots && c == '.')))
            return false;
    }
    return n > 0;
}

/* False after a complaint: the line holds bytes that no text has. */
static bool check_bytes(Reader *r, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        size_t len = utf8_length(s + i, n - i);
        if (len == 0) {
            COMPLAIN(r, "byte 0x%02x is not UTF-8 (save the file as UTF-8)", (unsigned char)s[i]);
            return false;
        }
        if (len == 1 && (((unsigned char)s[i] < 0x20 && s[i] != '\t') || s[i] == 0x7f)) {
            COMPLAIN(r, "control byte 0x%02x in the line (remove it)", (unsigned char)s[i]);
            return false;
        }
        i += len;
    }
    return true;
}

/* `[name]`: writes the token for inih, or complains and leaves it empty. */
static void read_section(Reader *r, const char *s, size_t n, char *token)
{
    r->in_section = r->skipping = true;
    const char *close = memchr(s, ']', n);
    if (!close) {
        COMPLAIN(r, "the section line has no ']' ([name])");
        return;
    }
    size_t len = (size_t)(close - s) - 1;
    if (close + 1 < s + n) {
        COMPLAIN(r, "text after the section's ']' (put it on a line of its own)");
        return;
    }
    if (len > SECTION_MAX) {
        COMPLAIN(r, "the section's name is longer than %d bytes", SECTION_MAX);
        return;
    }
    if (!is_name(s + 1, len, false)) {
        _cleanup_(freep) char *name = str_escape(s + 1, len, SECTION_MAX);
        COMPLAIN(r, "'[%s]' is no section name (letters, digits, '_' and '-')", name);
        return;
    }
    r->skipping = false;
    memcpy(r->section, s + 1, len);
    r->section[len] = '\0';
    sprintf(token, "[%s]", r->section);
    r->fn(r->user, r->section, NULL, NULL, r->line);
}

/* False after a complaint: the key was written before in this section of this file. */
static bool note_key(Reader *r, const char *key)
{
    if (r->flags & READER_REPEAT)
        return true;
    Seen *s = new0(Seen);
    s->name = xasprintf("%s.%s", r->section, key);
    s->line = r->line;
    Seen **found = tsearch(s, &r->seen, seen_compare);
    if (!found)
        abort();
    if (*found == s)
        return true;
    complaints_add(r->complaints, r->shown, r->line, s->name, "written twice (line %u has it already; keep one)",
                   (*found)->line);
    seen_free(s);
    return false;
}

/* `key = value`: writes the token for inih and puts the value aside, or complains. */
static void read_pair(Reader *r, const char *s, size_t n, char *token)
{
    const char *equals = memchr(s, '=', n);
    if (!equals) {
        COMPLAIN(r, memchr(s, ':', n) ? "no '=' in the line (':' does not part key and value: key = value)"
                                      : "neither a [section] nor a key = value");
        return;
    }
    size_t len = (size_t)(equals - s);
    while (len > 0 && is_blank(s[len - 1]))
        len--;
    if (len == 0) {
        COMPLAIN(r, "no key before the '=' (key = value)");
        return;
    }
    if (len > KEY_MAX || !is_name(s, len, true)) {
        _cleanup_(freep) char *name = str_escape(s, len, KEY_MAX);
        COMPLAIN(r, "'%s' is no key (at most %d letters, digits, '_', '-' and '.')", name, KEY_MAX);
        return;
    }
    if (!r->in_section) {
        COMPLAIN(r, "the key '%.*s' comes before any section (begin with [section])", (int)len, s);
        return;
    }
    if (r->skipping)
        return;
    char key[KEY_MAX + 1];
    memcpy(key, s, len);
    key[len] = '\0';
    const char *value = equals + 1;
    while (value < s + n && is_blank(*value))
        value++;
    size_t size = (size_t)(s + n - value);
    if (!note_key(r, key))
        return;
    if (size > READER_VALUE_MAX) {
        _cleanup_(freep) char *name = xasprintf("%s.%s", r->section, key);
        complaints_add(r->complaints, r->shown, r->line, name, "the value is longer than %d KiB",
                       READER_VALUE_MAX / 1024);
        return;
    }
    free(r->value);
    r->value = xstrndup(value, size);
    sprintf(token, "%s=1", key);
}

/* inih's reader: one token a line, "" for what it need not see. */
static char *next_line(char *token, int size, void *user)
{
    Reader *r = user;
    if (r->rest >= r->end || size < KEY_MAX + 3)
        return NULL;
    const char *s = r->rest, *newline = memchr(s, '\n', (size_t)(r->end - s));
    size_t n = newline ? (size_t)(newline - s) : (size_t)(r->end - s);
    r->rest = newline ? newline + 1 : r->end;
    r->line++;
    token[0] = '\0';

    if (r->line == 1 && n >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0) {
        COMPLAIN(r, "the file begins with a byte order mark (save it as UTF-8 without one)");
        s += 3;
        n -= 3;
    }
    if (n > 0 && s[n - 1] == '\r')
        n--;
    while (n > 0 && is_blank(s[n - 1]))
        n--;
    if (n == 0)
        return token;
    if (memchr(s, '\0', n))
        COMPLAIN(r, "NUL byte in the line (remove it)");
    else if (s[0] == ';' || s[0] == '#')
        return token;
    else if (!check_bytes(r, s, n))
        return token;
    else if (is_blank(s[0]))
        COMPLAIN(r, "the line is indented (a value ends with its line; begin keys, sections and comments in the first "
                    "column)");
    else if (s[0] == '[')
        read_section(r, s, n, token);
    else
        read_pair(r, s, n, token);
    return token;
}

static int on_pair(void *user, const char *section, const char *key, const char *value)
{
    Reader *r = user;
    (void)value;
    r->fn(r->user, section, key, r->value, r->line);
    return 1;
}

int reader_bytes(const char *data, size_t size, const char *shown, ReaderFlags flags, ReaderHandler fn, void *user,
                 Complaints *complaints)
{
    Reader r = {
        .rest = data,
        .end = data + size,
        .shown = shown,
        .flags = flags,
        .fn = fn,
        .user = user,
        .complaints = complaints,
    };
    size_t before = complaints->n;
    int refused = ini_parse_stream(next_line, &r, on_pair, &r);
    if (refused != 0)
        complaints_add(complaints, shown, refused > 0 ? (unsigned)refused : 0, NULL, "inih refuses the line");
    tdestroy(r.seen, seen_free);
    free(r.value);
    return complaints->n > before ? -EINVAL : 0;
}

/* False after a complaint: somebody other than root and us could have written it. */
static bool check_trust(const struct stat *st, const char *shown, Complaints *complaints)
{
    size_t before = complaints->n;
    if (st->st_uid != 0 && st->st_uid != geteuid())
        complaints_add(complaints, shown, 0, NULL, "owned by uid %u (chown it to root)", st->st_uid);
    if (st->st_mode & S_IWOTH)
        complaints_add(complaints, shown, 0, NULL, "writable by everyone (chmod o-w)");
    else if ((st->st_mode & S_IWGRP) && st->st_gid != 0)
        complaints_add(complaints, shown, 0, NULL, "writable by the group with gid %u (chmod g-w)", st->st_gid);
    return complaints->n == before;
}

/* O_NONBLOCK: a FIFO must not hang the reader before fstat can refuse it. */
static int open_regular(int dirfd, const char *path, const char *shown, Complaints *complaints)
{
    _cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return -ENOENT;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) {
        complaints_add(complaints, shown, 0, NULL, "cannot be read: %s", strerror(errno));
        return -EINVAL;
    }
    if (!S_ISREG(st.st_mode)) {
        complaints_add(complaints, shown, 0, NULL, "%s",
                       S_ISDIR(st.st_mode) ? "a directory (a file is wanted)" : "not a regular file");
        return -EINVAL;
    }
    if (!check_trust(&st, shown, complaints))
        return -EINVAL;
    return TAKE_FD(fd);
}

int reader_slurp(int dirfd, const char *path, const char *shown, char **ret, size_t *ret_size, Complaints *complaints)
{
    _cleanup_fd_ int fd = open_regular(dirfd, path, shown, complaints);
    if (fd < 0)
        return fd;
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    char chunk[16384];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            complaints_add(complaints, shown, 0, NULL, "cannot be read: %s", strerror(errno));
            return -EINVAL;
        }
        if (n == 0)
            break;
        strbuf_add(&b, chunk, (size_t)n);
        if (b.len > READER_FILE_MAX) {
            complaints_add(complaints, shown, 0, NULL, "larger than %d KiB", READER_FILE_MAX / 1024);
            return -EINVAL;
        }
    }
    if (ret_size)
        *ret_size = b.len;
    *ret = strbuf_take(&b);
    return 0;
}

int reader_file(int dirfd, const char *path, const char *shown, ReaderFlags flags, ReaderHandler fn, void *user,
                Complaints *complaints)
{
    _cleanup_(freep) char *data = NULL;
    size_t size;
    int r = reader_slurp(dirfd, path, shown, &data, &size, complaints);
    if (r < 0)
        return r;
    return reader_bytes(data, size, shown, flags, fn, user, complaints);
}

int reader_directory(int dirfd, const char *path, const char *shown, Complaints *complaints)
{
    _cleanup_fd_ int fd = openat(dirfd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return -ENOENT;
    struct stat st;
    if (fd < 0 && errno == ENOTDIR)
        complaints_add(complaints, shown, 0, NULL, "not a directory");
    else if (fd < 0 || fstat(fd, &st) < 0)
        complaints_add(complaints, shown, 0, NULL, "cannot be read: %s", strerror(errno));
    else if (check_trust(&st, shown, complaints))
        return TAKE_FD(fd);
    return -EINVAL;
}
