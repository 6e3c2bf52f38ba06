/* A module's log as one stream over the live file and what was rotated of it, read through descriptors that the daemon
 * opens. Offsets are those of base/logindex.h: they stay while files are renamed and cut, so a reader that goes on from
 * an offset misses nothing and sees nothing twice. */
#pragma once

#include "base/logindex.h"
#include "policies/policy.h"
#include "tools/client.h"

typedef struct LogStream {
    Client *client;
    const char *module, *name; /* "stdout" or "stderr"; borrowed */
    int index, live;
    int rotated[LOG_KEEP_MAX]; /* the newest first */
    size_t n_rotated;
    LogHeader header;
    uint64_t begin[LOG_KEEP_MAX]; /* of each rotated file */
    uint64_t oldest;
} LogStream;

/* Is there such a file? Says nothing. */
bool log_stream_exists(Client *c, const char *module, const char *name);
/* Opens all files in one consistent view. Says what went wrong. */
ToolStatus log_stream_open(Client *c, const char *module, const char *name, LogStream *ret);
void log_stream_done(LogStream *s);
/* Reads at *offset, which is moved to the oldest that there is when that is gone. The number of bytes, 0 at the end for
 * now, negative errno. */
ssize_t log_stream_read(LogStream *s, uint64_t *offset, char *buf, size_t size);
uint64_t log_stream_end(const LogStream *s);
/* Where the last `lines` lines before `end` begin, not before `begin`. */
uint64_t log_stream_tail(LogStream *s, uint64_t begin, uint64_t end, uint64_t lines);
/* Where to begin and end for --since and --until. */
uint64_t log_stream_since(LogStream *s, uint64_t time);
uint64_t log_stream_until(const LogStream *s, uint64_t time);
