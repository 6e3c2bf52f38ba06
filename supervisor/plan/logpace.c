/* See logpace.h. */
#include "supervisor/plan/logpace.h"

#include "base/clock.h"
#include "base/util.h"

LogPace log_pace(const LogPaceInput *in)
{
    LogPace p = {
        .rotate = in->text > 0 && in->text >= in->limit,
        .quiet = in->grown == 0,
        .delay_usec = LOG_LOOK_MAX_USEC,
    };
    double elapsed = (double)MAX2(in->elapsed, (uint64_t)1), rate = (double)in->grown / elapsed; /* bytes a µs */
    p.tidy = in->hole && rate * (double)USEC_PER_SEC < (double)LOG_TIDY_RATE;
    if (in->limit != UINT64_MAX && in->grown > 0) {
        double left = in->text < in->limit ? (double)(in->limit - in->text) / rate : 0;
        if (left < (double)LOG_LOOK_MAX_USEC)
            p.delay_usec = MAX2((uint64_t)left, LOG_LOOK_MIN_USEC);
    }
    return p;
}

uint64_t log_retry(uint64_t last)
{
    return last ? MIN2(last * 2, LOG_RETRY_MAX_USEC) : USEC_PER_SEC;
}
