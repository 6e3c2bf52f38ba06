/* See clock.h. */
#include "base/clock.h"

static int64_t offset; /* 0 but in tests */

uint64_t now_realtime(void)
{
    return clock_usec(CLOCK_REALTIME) + (uint64_t)offset;
}

void clock_set_offset(int64_t usec)
{
    offset = usec;
}

int64_t clock_offset(void)
{
    return offset;
}
