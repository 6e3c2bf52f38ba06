/* See logfile.h. The header's `seq` is read before and after: when it has moved, files were renamed or cut meanwhile,
 * and what was read is read again from files opened anew. While the daemon is gone nobody rotates, and what is open is
 * right. */
#include "tools/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

enum { TRIES = 250, PAUSE_NSEC = 20 * 1000 * 1000, BLOCK = 64 * 1024 };

void log_stream_done(LogStream *s)
{
    for (size_t i = 0; i < s->n_rotated; i++)
        fd_close(s->rotated[i]);
    s->n_rotated = 0;
    s->live = fd_close(s->live);
    s->index = fd_close(s->index);
}

/* An fd or a negative errno; quietly, since files come to an end by not being there. */
static int open_number(Client *c, const char *module, const char *name, int number, ToolStatus *ret_status)
{
    sd_bus_error error = SD_BUS_ERROR_NULL;
    sd_bus_message *call = client_message(c, "OpenLogFile"), *reply = NULL;
    int fd = -EBADF, r = call ? sd_bus_message_append(call, "ssi", module, name, number) : -ENOTCONN;
    if (r >= 0)
        r = sd_bus_call(c->bus, call, 0, &error, &reply);
    if (r >= 0)
        r = sd_bus_message_read(reply, "h", &fd);
    if (r >= 0)
        r = fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (r < 0 && ret_status)
        *ret_status = client_failed(c, &error, r, module);
    sd_bus_message_unref(reply);
    sd_bus_message_unref(call);
    sd_bus_error_free(&error);
    return r < 0 ? r : fd;
}

bool log_stream_exists(Client *c, const char *module, const char *name)
{
    int fd = open_number(c, module, name, 0, NULL);
    fd_close(fd);
    return fd >= 0;
}

static bool at_rest(const LogHeader *h)
{
    return h->seq % 2 == 0;
}

/* What stands where in the stream: each rotated file ends where the next begins. */
static void lay_out(LogStream *s)
{
    uint64_t end = s->header.head;
    size_t n = 0;
    for (struct stat st; n < s->n_rotated && fstat(s->rotated[n], &st) == 0 && (uint64_t)st.st_size <= end; n++)
        end = s->begin[n] = end - (uint64_t)st.st_size;
    while (s->n_rotated > n)
        fd_close(s->rotated[--s->n_rotated]);
    s->oldest = end;
}

/* One try. 1 = done, 0 = again, negative = *ret_status has been said. */
static int open_once(LogStream *s, ToolStatus *ret_status)
{
    LogHeader before, after;
    struct stat st;
    log_stream_done(s);
    s->index = open_number(s->client, s->module, s->name, -1, NULL);
    (void)log_header_read(s->index, &before);
    if (!at_rest(&before))
        return 0;
    s->live = open_number(s->client, s->module, s->name, 0, ret_status);
    if (s->live < 0)
        return -1;
    while (s->n_rotated < LOG_KEEP_MAX) {
        int fd = open_number(s->client, s->module, s->name, (int)s->n_rotated + 1, NULL);
        if (fd < 0)
            break;
        s->rotated[s->n_rotated++] = fd;
    }
    (void)log_header_read(s->index, &after);
    if (before.seq != after.seq || before.head != after.head)
        return 0;
    bool ours = fstat(s->live, &st) == 0 && after.inode == st.st_ino;
    s->header = after;
    if (!ours) /* made anew, and not looked at yet */
        s->header.base = s->header.head = MAX2(after.head, after.base);
    lay_out(s);
    return 1;
}

static int open_all(LogStream *s, ToolStatus *ret_status)
{
    int r = 0;
    for (unsigned i = 0; i < TRIES && r == 0; i++) {
        r = open_once(s, ret_status);
        if (r == 0)
            (void)nanosleep(&(struct timespec){.tv_nsec = PAUSE_NSEC}, NULL);
    }
    return r > 0 ? 0 : -EBUSY;
}

ToolStatus log_stream_open(Client *c, const char *module, const char *name, LogStream *ret)
{
    LogStream s = {.client = c, .module = module, .name = name, .index = -EBADF, .live = -EBADF};
    ToolStatus status = TOOL_DONE;
    int r = open_all(&s, &status);
    if (r < 0 && status == TOOL_DONE) {
        say_error("%s: its log is being rotated all the time: try again", module);
        status = TOOL_FAILED;
    }
    if (status != TOOL_DONE)
        log_stream_done(&s);
    else
        *ret = s;
    return status;
}

/* Whether files were renamed or cut since they were opened. */
static bool moved(const LogStream *s)
{
    LogHeader h;
    return s->index >= 0 && log_header_read(s->index, &h) == 0 &&
           (h.seq != s->header.seq || (h.inode == s->header.inode && h.head != s->header.head));
}

/* Keeps what there is when the daemon is gone. */
static bool refresh(LogStream *s)
{
    LogStream fresh = {.client = s->client, .module = s->module, .name = s->name, .index = -EBADF, .live = -EBADF};
    ToolStatus quiet = TOOL_DONE;
    if (!s->client->bus || open_all(&fresh, &quiet) < 0) {
        log_stream_done(&fresh);
        return false;
    }
    log_stream_done(s);
    *s = fresh;
    return true;
}

uint64_t log_stream_end(const LogStream *s)
{
    struct stat st;
    uint64_t size = fstat(s->live, &st) == 0 ? (uint64_t)st.st_size : 0;
    return MAX2(s->header.base + size, s->header.head);
}

static ssize_t read_once(const LogStream *s, uint64_t offset, char *buf, size_t size)
{
    if (offset >= s->header.head)
        return pread(s->live, buf, size, (off_t)(offset - s->header.base));
    for (size_t i = 0; i < s->n_rotated; i++)
        if (offset >= s->begin[i])
            return pread(s->rotated[i], buf, size, (off_t)(offset - s->begin[i]));
    return 0;
}

ssize_t log_stream_read(LogStream *s, uint64_t *offset, char *buf, size_t size)
{
    for (unsigned i = 0; i < TRIES; i++) {
        if (*offset < s->oldest)
            *offset = s->oldest;
        ssize_t n = read_once(s, *offset, buf, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        /* Rotated files stay as they are; the live one may have been cut under the read. */
        if (*offset < s->header.head || !moved(s)) {
            if (n == 0 && *offset > log_stream_end(s))
                *offset = log_stream_end(s); /* cut by somebody else */
            return n;
        }
        if (!refresh(s))
            return 0;
    }
    return 0;
}

/* Fills buf from [from, to); what cannot be read is left out at the end. */
static size_t read_range(LogStream *s, uint64_t from, uint64_t to, char *buf)
{
    size_t done = 0;
    while (from + done < to) {
        uint64_t at = from + done;
        ssize_t n = log_stream_read(s, &at, buf + done, (size_t)(to - at));
        if (n <= 0 || at != from + done)
            break;
        done += (size_t)n;
    }
    return done;
}

uint64_t log_stream_tail(LogStream *s, uint64_t begin, uint64_t end, uint64_t lines)
{
    static char block[BLOCK];
    uint64_t seen = 0, at = end;
    begin = MAX2(begin, s->oldest);
    if (lines == 0)
        return end;
    while (at > begin) {
        uint64_t from = at - begin > BLOCK ? at - BLOCK : begin;
        size_t n = read_range(s, from, at, block);
        if (n == 0)
            return at;
        for (size_t i = n; i > 0; i--)
            if (block[i - 1] == '\n' && from + i != end && ++seen >= lines)
                return from + i;
        at = from;
    }
    return begin;
}

static size_t samples(const LogStream *s, LogSample *all)
{
    return s->index >= 0 ? log_samples_read(s->index, all) : 0;
}

uint64_t log_stream_since(LogStream *s, uint64_t time)
{
    _cleanup_(freep) LogSample *all = new0_array(LogSample, LOG_SAMPLES_MAX);
    uint64_t offset = log_samples_since(all, samples(s, all), time), end = log_stream_end(s);
    if (offset <= s->oldest)
        return s->oldest;
    /* A sample may stand within a line. */
    return offset >= end ? end : log_stream_tail(s, 0, offset + 1, 1);
}

uint64_t log_stream_until(const LogStream *s, uint64_t time)
{
    _cleanup_(freep) LogSample *all = new0_array(LogSample, LOG_SAMPLES_MAX);
    return log_samples_until(all, samples(s, all), time);
}
