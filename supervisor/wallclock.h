/* Who is told when the wall clock is set: by an administrator, by NTP in a step, after a suspend. Slewing is not
 * setting.
 *
 * The kernel tells it by cancelling a timerfd (TFD_TIMER_CANCEL_ON_SET), so that nothing is polled; the descriptor is
 * there only while somebody wants to know. */
#pragma once

#include <systemd/sd-event.h>

#include "base/error.h"

typedef struct WallClock WallClock;

/* `set` is told by how many µs the clock was set. offset_file (for tests, may be NULL): a file that holds by how many
 * seconds now_realtime() is to be ahead of the kernel's clock; writing to it sets the clock. */
int wallclock_open(sd_event *event, const char *offset_file, void (*set)(void *userdata, int64_t by), void *userdata,
                   WallClock **ret, Error *e);
/* Whether somebody wants to know. */
int wallclock_watch(WallClock *w, bool watch);
WallClock *wallclock_close(WallClock *w);
