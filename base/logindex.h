/* The index beside a log file, `.web.log.index`: where the file stands in the module's stream, and when.
 *
 * All that a module has ever written is one stream; offsets in it only grow. The oldest part of what is kept is in
 * web.log.K, the newest in web.log. The beginning of web.log may be a hole (rotated away, on a file system that cannot
 * cut a beginning off, or not cut off yet), then a marker line, which stands where the last lines that were rotated
 * were. The header tells where the text begins and where that is in the stream; the samples tell when the stream had
 * reached which offset.
 *
 * The header is written by who holds the index's flock: the child that rotates (supervisor/run/rotate.c), and the
 * daemon while there is none. `seq` is odd while files are being renamed and cut: what was read then is to be read
 * again. The samples are written by the daemon alone. Readers take it for what a stranger wrote. */
#pragma once

#include "base/util.h"

/* What of a rotation is done; who finds it undone goes on from there. */
typedef enum LogStage {
    LOG_STAGE_NONE,
    LOG_STAGE_COPY,    /* a copy is being made: throw it away */
    LOG_STAGE_FULL,    /* the copy is whole: rename it, cut the original */
    LOG_STAGE_COLLAPSE /* the hole is being taken out */
} LogStage;

typedef struct LogHeader {
    char magic[8];
    uint64_t seq;
    uint64_t inode; /* of the live file that the rest is about */
    uint64_t base;  /* in the stream: the live file's first byte, be it hole, marker or text */
    uint64_t head;  /* in the stream: where the text of the live file begins; what is before is in rotated files */
    uint64_t stage; /* LogStage */
    uint64_t cut;   /* in the live file: the hole that is being made or taken out ends here */
    uint64_t end;   /* in the live file: the end of what was copied */
} LogHeader;

typedef struct LogSample {
    uint64_t time;   /* wall clock, µs */
    uint64_t offset; /* what is before it had been written by then, what is after had not */
} LogSample;

enum { LOG_SAMPLES_AT = 4096, LOG_SAMPLES_MAX = 2048 };

#define LOG_HEADER_NULL          \
    (LogHeader)                  \
    {                            \
        .magic = "BHLOG\0\0\001" \
    }

/* -EBADMSG: there is none, or it contradicts itself; *ret is LOG_HEADER_NULL then. */
int log_header_read(int fd, LogHeader *ret);
int log_header_write(int fd, const LogHeader *h);

/* The marker line of exactly `n` bytes, newline included, where the file is called `name`. It depends on nothing else,
 * so that it can be told from text. */
void log_marker(char *buf, size_t n, const char *name);

/* Reads up to LOG_SAMPLES_MAX of them, and stops where offsets or times make no sense. */
size_t log_samples_read(int fd, LogSample ret[static LOG_SAMPLES_MAX]);
/* Writes n samples and an end behind them. */
int log_samples_write(int fd, const LogSample *s, size_t n);
/* Adds one behind the `n` that are there. */
int log_sample_append(int fd, size_t n, const LogSample *s);
/* Pure. Makes room: what is before `oldest`, but the last of it, goes; then, while more than half is in use, every
 * second one of the older half. Returns how many are left. */
size_t log_samples_thin(LogSample *s, size_t n, uint64_t oldest);

/* Pure. From where in the stream to begin so that nothing written at or after `time` is missed; 0 = from the oldest. */
uint64_t log_samples_since(const LogSample *s, size_t n, uint64_t time);
/* Pure. Where to end so that nothing written at or before `time` is missed; UINT64_MAX = at the newest. */
uint64_t log_samples_until(const LogSample *s, size_t n, uint64_t time);
