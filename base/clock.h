/* Time in microseconds. Monotonic for every decision, real time to show and for calendars. */
#pragma once

#include <stdint.h>
#include <time.h>

#define USEC_PER_MSEC 1000ull
#define USEC_PER_SEC  1000000ull
#define USEC_INFINITY UINT64_MAX

static inline uint64_t clock_usec(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * USEC_PER_SEC + (uint64_t)t.tv_nsec / 1000;
}

static inline uint64_t now_monotonic(void)
{
    return clock_usec(CLOCK_MONOTONIC);
}

uint64_t now_realtime(void);
/* For tests: now_realtime() is that far ahead of the kernel's clock from now on. */
void clock_set_offset(int64_t usec);
int64_t clock_offset(void);

/* a + b, where infinity stays infinity. */
static inline uint64_t usec_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}
