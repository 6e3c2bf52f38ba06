/* See rotate.h. */
#include "supervisor/run/rotate.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "policies/policy.h"

enum {
    BLOCK = 256 * 1024,
    PIECE = 1 << 20,         /* of a hole: writers wait for one */
    LONGEST_LINE = 64 << 10, /* a line that is longer may be cut in two */
    SLOW = 64 << 10,         /* what may be written while the file is flushed, for its hole to be taken out then */
};

/* One file under work. */
typedef struct Rotation {
    const RotateRequest *q;
    int live, index;
    struct stat st; /* of the live file */
    LogHeader header;
} Rotation;

char *rotate_index_name(const char *name)
{
    return xasprintf(".%s.index", name);
}

int rotate_open_index(int dir, const char *name, bool create)
{
    _cleanup_(freep) char *index = rotate_index_name(name);
    return open_beneath(dir, index, O_RDWR | O_NOCTTY | (create ? O_CREAT : 0), 0600);
}

static void step(const Rotation *r, RotateStep done)
{
    if (r->q->step)
        r->q->step(done, r->q->userdata);
}

static char *numbered(const RotateRequest *q, unsigned number)
{
    return xasprintf("%s.%u", q->name, number);
}

static char *part_name(const RotateRequest *q)
{
    return xasprintf(".%s.part", q->name);
}

static int write_header(Rotation *r, LogStage stage, bool busy)
{
    r->header.stage = stage;
    if (busy != (r->header.seq % 2 == 1))
        r->header.seq++;
    return log_header_write(r->index, &r->header);
}

/* --- the header and the file --- */

/* What the header says is about another file, or about more than there is: the stream goes on behind all that is known
 * of it. */
static void begin_anew(LogHeader *h, ino_t inode, uint64_t known)
{
    uint64_t seq = h->seq, base = MAX2(h->head, known);
    *h = LOG_HEADER_NULL;
    h->seq = seq % 2 ? seq + 1 : seq + 2;
    h->inode = inode;
    h->base = h->head = base;
}

static uint64_t last_offset(int index)
{
    _cleanup_(freep) LogSample *s = new0_array(LogSample, LOG_SAMPLES_MAX);
    size_t n = log_samples_read(index, s);
    return n ? s[n - 1].offset : 0;
}

static int read_header(int index, const struct stat *st, uint64_t seen, LogHeader *h)
{
    int r = log_header_read(index, h);
    if (r < 0 && r != -EBADMSG)
        return r;
    bool same = r == 0 && h->inode == st->st_ino;
    if (same && h->head - h->base <= (uint64_t)st->st_size && seen <= (uint64_t)st->st_size)
        return 0;
    uint64_t known = MAX2(h->base + (same ? seen : 0), last_offset(index));
    begin_anew(h, st->st_ino, r < 0 && !known ? 0 : known);
    return log_header_write(index, h);
}

int rotate_adopt(int dir, const char *name, uint64_t seen, LogHeader *ret)
{
    struct stat st;
    _cleanup_fd_ int index = rotate_open_index(dir, name, true);
    if (index < 0)
        return index;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (flock(index, LOCK_EX | LOCK_NB) < 0)
        return -errno;
    return read_header(index, &st, seen, ret);
}

/* --- steps, each of which may be done twice --- */

/* From the top down, so that nothing is overwritten but the oldest; only up to the first number that is free, so that
 * what was moved before a crash is not moved again. */
static int shift(const Rotation *r)
{
    const RotateRequest *q = r->q;
    unsigned free_number = 1;
    for (; free_number < q->keep; free_number++) {
        _cleanup_(freep) char *name = numbered(q, free_number);
        if (faccessat(q->dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            break;
    }
    for (unsigned i = free_number; i > 1; i--) {
        _cleanup_(freep) char *from = numbered(q, i - 1), *to = numbered(q, i);
        if (renameat(q->dir, from, q->dir, to) < 0)
            return -errno;
    }
    return 0;
}

/* log_keep has become smaller. */
static void remove_beyond(const RotateRequest *q)
{
    for (unsigned i = (unsigned)q->keep + 1; i <= LOG_KEEP_MAX; i++) {
        _cleanup_(freep) char *name = numbered(q, i);
        if (unlinkat(q->dir, name, 0) < 0)
            break;
    }
}

static int put_in_place(const Rotation *r)
{
    const RotateRequest *q = r->q;
    _cleanup_(freep) char *part = part_name(q), *first = numbered(q, 1);
    if (q->keep == 0) {
        (void)unlinkat(q->dir, part, 0);
        return 0;
    }
    if (faccessat(q->dir, part, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : -errno; /* done before the crash */
    int n = shift(r);
    if (n < 0)
        return n;
    step(r, ROTATE_SHIFTED);
    return renameat(q->dir, part, q->dir, first) < 0 ? -errno : 0;
}

/* In pieces: a writer waits while one is made. */
static int punch(const Rotation *r, off_t from, off_t to)
{
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    for (off_t at = from; at < to;) {
        off_t next = MIN2((at / PIECE + 1) * PIECE, to);
        if (fallocate(r->live, mode, at, next - at) == 0)
            at = next;
        else if (errno != EINTR)
            return -errno;
    }
    return 0;
}

static int mark(const Rotation *r)
{
    size_t n = (size_t)(r->header.end - r->header.cut);
    _cleanup_(freep) char *text = new0_array(char, n + 1);
    log_marker(text, n, r->q->name);
    for (size_t done = 0; done < n;) {
        ssize_t w = pwrite(r->live, text + done, n - done, (off_t)(r->header.cut + done));
        if (w < 0 && errno != EINTR)
            return -errno;
        done += w > 0 ? (size_t)w : 0;
    }
    return 0;
}

/* Where the hole at the beginning ends; 0 = there is none, the file's size = there is nothing else. */
static off_t hole_end(const Rotation *r)
{
    off_t data = lseek(r->live, 0, SEEK_DATA);
    struct stat st;
    if (data >= 0)
        return data;
    return errno == ENXIO && fstat(r->live, &st) == 0 ? st.st_size : 0;
}

/* From the point of no return on. */
static int carry_out(Rotation *r)
{
    int n = put_in_place(r);
    if (n < 0)
        return n;
    step(r, ROTATE_RENAMED);
    n = punch(r, 0, (off_t)r->header.cut);
    if (n < 0)
        return n;
    step(r, ROTATE_PUNCHED);
    n = mark(r);
    if (n < 0)
        return n;
    step(r, ROTATE_MARKED);
    r->header.head = r->header.base + r->header.end;
    n = write_header(r, LOG_STAGE_NONE, false);
    if (n == 0)
        step(r, ROTATE_DONE);
    return n;
}

/* The data that is behind the hole tells whether it has been taken out: then it begins the file. */
static int carry_out_collapse(Rotation *r)
{
    off_t n = (off_t)r->header.cut;
    if (hole_end(r) >= n && fallocate(r->live, FALLOC_FL_COLLAPSE_RANGE, 0, n) < 0) {
        int error = -errno;
        int w = write_header(r, LOG_STAGE_NONE, false);
        return w < 0 ? w : error;
    }
    step(r, ROTATE_COLLAPSED);
    r->header.base += (uint64_t)n;
    return write_header(r, LOG_STAGE_NONE, false);
}

static int recover(Rotation *r)
{
    _cleanup_(freep) char *part = part_name(r->q);
    int n = 0;
    switch ((LogStage)r->header.stage) {
    case LOG_STAGE_NONE:
        if (r->header.seq % 2)
            n = write_header(r, LOG_STAGE_NONE, false);
        break;
    case LOG_STAGE_COPY:
        if (unlinkat(r->q->dir, part, 0) < 0 && errno != ENOENT)
            return -errno;
        n = write_header(r, LOG_STAGE_NONE, false);
        break;
    case LOG_STAGE_FULL:
        n = carry_out(r);
        break;
    case LOG_STAGE_COLLAPSE:
        n = carry_out_collapse(r);
        n = n == -EOPNOTSUPP || n == -EINVAL ? 0 : n;
        break;
    }
    if (n == 0)
        step(r, ROTATE_RECOVERED);
    return n;
}

/* --- a rotation --- */

/* How much of the live file, from `cut` on, is a marker of ours. */
static int64_t marker_length(const Rotation *r, uint64_t from, uint64_t to)
{
    size_t n = (size_t)(to - from);
    if (to <= from || n > (size_t)r->st.st_blksize)
        return 0;
    _cleanup_(freep) char *expected = new0_array(char, n), *found = new0_array(char, n);
    log_marker(expected, n, r->q->name);
    return pread(r->live, found, n, (off_t)from) == (ssize_t)n && memcmp(expected, found, n) == 0 ? (int64_t)n : 0;
}

/* Where the text begins: behind hole and marker. */
static uint64_t text_begin(const Rotation *r)
{
    uint64_t hole = (uint64_t)hole_end(r);
    return hole + (uint64_t)marker_length(r, hole, r->header.head - r->header.base);
}

/* The end of the last whole line below `size`; `size` itself where there is none near. */
static int last_line_end(const Rotation *r, uint64_t begin, uint64_t size, uint64_t *ret)
{
    static char buf[LONGEST_LINE];
    uint64_t from = MAX2(begin, size > LONGEST_LINE ? size - LONGEST_LINE : 0);
    ssize_t n = pread(r->live, buf, (size_t)(size - from), (off_t)from);
    if (n < 0)
        return -errno;
    const char *newline = n > 0 ? memrchr(buf, '\n', (size_t)n) : NULL;
    *ret = newline ? from + (uint64_t)(newline - buf) + 1 : size;
    return 0;
}

static int copy_range(int from, int to, uint64_t begin, uint64_t end)
{
    /* Not copy_file_range(): on xfs and btrfs that shares blocks, for which it flushes and locks what writers write. */
    static char buf[BLOCK];
    for (uint64_t at = begin; at < end;) {
        ssize_t n = pread(from, buf, (size_t)MIN2((uint64_t)sizeof buf, end - at), (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ESTALE; /* somebody else cut it meanwhile */
        int w = fd_write_all(to, buf, (size_t)n);
        if (w < 0)
            return w;
        at += (uint64_t)n;
    }
    return 0;
}

/* -EOPNOTSUPP where the file system makes no holes; asked far behind the end, where it changes nothing. */
static int can_punch(const Rotation *r)
{
    off_t far = (r->st.st_size / PIECE + 1024) * PIECE;
    return fallocate(r->live, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, far, PIECE) < 0 ? -errno : 0;
}

static int make_copy(Rotation *r, uint64_t begin)
{
    const RotateRequest *q = r->q;
    _cleanup_(freep) char *part = part_name(q);
    _cleanup_fd_ int to = open_beneath(q->dir, part, O_WRONLY | O_CREAT | O_TRUNC | O_NOCTTY, 0600);
    if (to < 0)
        return to;
    int n = copy_range(r->live, to, begin, r->header.end);
    /* Before the original goes: a power cut must not find neither. */
    if (n == 0 && fdatasync(to) < 0)
        n = -errno;
    (void)posix_fadvise(to, 0, 0, POSIX_FADV_DONTNEED);
    return n;
}

static int give_up_copy(Rotation *r, int error)
{
    _cleanup_(freep) char *part = part_name(r->q);
    (void)unlinkat(r->q->dir, part, 0);
    (void)write_header(r, LOG_STAGE_NONE, false);
    return error;
}

static int rotate(Rotation *r, uint64_t begin)
{
    uint64_t block = (uint64_t)MAX2(r->st.st_blksize, 512);
    int n = can_punch(r);
    if (n == 0)
        n = last_line_end(r, begin, (uint64_t)r->st.st_size, &r->header.end);
    if (n < 0)
        return n;
    r->header.cut = r->header.end / block * block;
    n = write_header(r, LOG_STAGE_COPY, false);
    if (n < 0)
        return n;
    step(r, ROTATE_BEGUN);
    if (r->q->keep > 0 && (n = make_copy(r, begin)) < 0)
        return give_up_copy(r, n);
    step(r, ROTATE_COPIED);
    n = write_header(r, LOG_STAGE_FULL, true);
    if (n == 0 && fdatasync(r->index) < 0)
        n = -errno;
    if (n < 0)
        return n;
    step(r, ROTATE_COMMITTED);
    n = carry_out(r);
    remove_beyond(r->q);
    return n;
}

/* Taking a hole out flushes what is behind it while writers wait, so it is flushed before, and when much is written
 * meanwhile it is not the time. Returns a RotateOutcome or a negative errno. */
static int take_hole_out(Rotation *r)
{
    struct stat before, after;
    off_t hole = hole_end(r);
    if (hole == 0)
        return ROTATE_CLEAN;
    if (!r->q->tidy || fstat(r->live, &before) < 0 || hole >= before.st_size)
        return ROTATE_HOLE;
    if (fdatasync(r->live) < 0 || fstat(r->live, &after) < 0 || after.st_size - before.st_size > SLOW)
        return ROTATE_HOLE;
    r->header.cut = r->header.end = (uint64_t)hole;
    int n = write_header(r, LOG_STAGE_COLLAPSE, true);
    if (n < 0)
        return n;
    step(r, ROTATE_COLLAPSING);
    n = carry_out_collapse(r);
    return n == 0 ? ROTATE_CLEAN : n == -EOPNOTSUPP || n == -EINVAL ? ROTATE_STUCK : n;
}

static int work(Rotation *r)
{
    const RotateRequest *q = r->q;
    r->live = open_beneath(q->dir, q->name, O_RDWR | O_NOCTTY, 0);
    if (r->live < 0)
        return r->live == -ENOENT ? ROTATE_CLEAN : r->live;
    r->index = rotate_open_index(q->dir, q->name, true);
    if (r->index < 0)
        return r->index;
    if (flock(r->index, LOCK_EX) < 0 || fstat(r->live, &r->st) < 0)
        return -errno;
    int n = read_header(r->index, &r->st, 0, &r->header);
    if (n == 0)
        n = recover(r);
    if (n < 0)
        return n;
    if (fstat(r->live, &r->st) < 0)
        return -errno;
    uint64_t begin = text_begin(r), size = (uint64_t)r->st.st_size;
    if (size > begin && size - begin >= q->limit && (n = rotate(r, begin)) < 0)
        return n;
    return take_hole_out(r);
}

int rotate_log(const RotateRequest *q)
{
    Rotation r = {.q = q, .live = -EBADF, .index = -EBADF};
    int n = work(&r);
    fd_close(r.live);
    fd_close(r.index);
    return n;
}
