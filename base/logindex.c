/* See logindex.h. */
#include "base/logindex.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

_Static_assert(sizeof(LogHeader) == 64, "the layout of a file");
_Static_assert(sizeof(LogSample) == 16, "the layout of a file");

static int write_all_at(int fd, const void *data, size_t size, off_t at)
{
    const char *p = data;
    while (size > 0) {
        ssize_t n = pwrite(fd, p, size, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

int log_header_read(int fd, LogHeader *ret)
{
    const LogHeader null = LOG_HEADER_NULL;
    LogHeader h;
    ssize_t n = pread(fd, &h, sizeof h, 0);
    *ret = null;
    if (n < 0)
        return -errno;
    if (n != sizeof h || memcmp(h.magic, null.magic, sizeof h.magic) != 0 || h.base > h.head ||
        h.stage > LOG_STAGE_COLLAPSE || h.cut > h.end || h.head > (uint64_t)INT64_MAX || h.end > (uint64_t)INT64_MAX)
        return -EBADMSG;
    *ret = h;
    return 0;
}

int log_header_write(int fd, const LogHeader *h)
{
    return write_all_at(fd, h, sizeof *h, 0);
}

void log_marker(char *buf, size_t n, const char *name)
{
    char text[160];
    if (n == 0)
        return;
    int length = snprintf(text, sizeof text, "(rotated: what was here is at the end of %.80s.1)", name);
    memset(buf, ' ', n - 1);
    if (length > 0 && (size_t)length < n)
        memcpy(buf, text, (size_t)length);
    buf[n - 1] = '\n';
}

size_t log_samples_read(int fd, LogSample ret[static LOG_SAMPLES_MAX])
{
    ssize_t size = pread(fd, ret, LOG_SAMPLES_MAX * sizeof *ret, LOG_SAMPLES_AT);
    size_t n = size < 0 ? 0 : (size_t)size / sizeof *ret, i = 0;
    while (i < n && ret[i].time && (i == 0 || ret[i].offset >= ret[i - 1].offset))
        i++;
    return i;
}

int log_samples_write(int fd, const LogSample *s, size_t n)
{
    static const LogSample end = {0};
    int r = log_sample_append(fd, n, &end); /* first, so that a reader never finds old ones behind the new */
    return r < 0 ? r : write_all_at(fd, s, n * sizeof *s, LOG_SAMPLES_AT);
}

int log_sample_append(int fd, size_t n, const LogSample *s)
{
    if (n >= LOG_SAMPLES_MAX)
        return n == LOG_SAMPLES_MAX && s->time == 0 ? 0 : -ENOSPC;
    return write_all_at(fd, s, sizeof *s, (off_t)(LOG_SAMPLES_AT + n * sizeof *s));
}

size_t log_samples_thin(LogSample *s, size_t n, uint64_t oldest)
{
    size_t gone = 0, kept = 0;
    while (gone + 1 < n && s[gone + 1].offset <= oldest)
        gone++;
    memmove(s, s + gone, (n - gone) * sizeof *s);
    n -= gone;
    if (n <= LOG_SAMPLES_MAX / 2)
        return n;
    for (size_t i = 0; i < n; i++)
        if (i >= n / 2 || i % 2 == 0)
            s[kept++] = s[i];
    return kept;
}

uint64_t log_samples_since(const LogSample *s, size_t n, uint64_t time)
{
    /* The clock may have been set back: the first sample that is not before it decides, not the last that is. */
    size_t i = 0;
    while (i < n && s[i].time < time)
        i++;
    return i == 0 ? 0 : s[i - 1].offset;
}

uint64_t log_samples_until(const LogSample *s, size_t n, uint64_t time)
{
    size_t i = n;
    while (i > 0 && s[i - 1].time > time)
        i--;
    return i == n ? UINT64_MAX : s[i].offset;
}
