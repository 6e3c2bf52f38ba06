/* When to look at a log file again, and what to do about it. Pure: what was seen comes in, what follows goes out.
 *
 * A file that nobody writes to costs nothing: the kernel tells of the next write. One that is written to is looked at
 * by a timer, the sooner the sooner it will be full. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LOG_LOOK_MIN_USEC  50000ull   /* after a look, at the earliest */
#define LOG_LOOK_MAX_USEC  1000000ull /* and at the latest: also how fine the times of lines are */
#define LOG_RETRY_MAX_USEC 60000000ull
#define LOG_TIDY_RATE      (256ull << 10) /* bytes a second: above, a hole stays in */

typedef struct LogPaceInput {
    uint64_t text;    /* bytes that the file holds */
    uint64_t limit;   /* UINT64_MAX = none */
    uint64_t grown;   /* bytes since the last look */
    uint64_t elapsed; /* µs since then */
    bool hole;        /* the file begins with a hole that may be taken out */
} LogPaceInput;

typedef struct LogPace {
    bool rotate; /* now */
    bool tidy;   /* take the hole out now */
    bool quiet;  /* wait for the kernel's word; no timer */
    uint64_t delay_usec;
} LogPace;

LogPace log_pace(const LogPaceInput *in);

/* How long to wait after a rotation that failed, where `last` was waited before it; 0 = the first. */
uint64_t log_retry(uint64_t last);
