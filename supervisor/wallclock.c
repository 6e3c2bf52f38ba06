/* See wallclock.h. */
#include "supervisor/wallclock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

struct WallClock {
    sd_event *event; /* borrowed */
    void (*set)(void *userdata, int64_t by);
    void *userdata;
    const char *offset_file;
    int64_t ahead; /* of the time since boot: what changes when it is set, and only then */
    bool watched;
    sd_event_source *kernel, *offset;
};

static int64_t clock_ahead(void)
{
    return (int64_t)(now_realtime() - clock_usec(CLOCK_BOOTTIME));
}

static void was_set(WallClock *w)
{
    int64_t ahead = clock_ahead(), by = ahead - w->ahead;
    w->ahead = ahead;
    if (w->watched)
        w->set(w->userdata, by);
}

/* --- the kernel's word --- */

/* A timer that never elapses: it is there to be cancelled. */
static int arm(int fd)
{
    const struct itimerspec never = {.it_value.tv_sec = sizeof(time_t) > sizeof(int) ? LONG_MAX : INT_MAX};
    return timerfd_settime(fd, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &never, NULL) < 0 ? -errno : 0;
}

static int on_kernel(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    (void)s, (void)events;
    uint64_t n;
    if (read(fd, &n, sizeof n) < 0 && errno != ECANCELED)
        return 0;
    (void)arm(fd); /* before the clock is read: what is set from now on is told again */
    was_set(userdata);
    return 0;
}

int wallclock_watch(WallClock *w, bool watch)
{
    w->watched = watch;
    if (!watch) {
        w->kernel = sd_event_source_disable_unref(w->kernel);
        return 0;
    }
    if (w->kernel)
        return 0;
    _cleanup_fd_ int fd = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (fd < 0)
        return -errno;
    int r = arm(fd);
    if (r == 0)
        r = sd_event_add_io(w->event, &w->kernel, fd, EPOLLIN, on_kernel, w);
    if (r < 0)
        return r;
    sd_event_source_set_io_fd_own(w->kernel, 1);
    (void)TAKE_FD(fd);
    w->ahead = clock_ahead();
    return 0;
}

/* --- the clock of tests --- */

static int read_offset(const WallClock *w)
{
    char text[32], *end;
    ssize_t n = file_read(AT_FDCWD, w->offset_file, text, sizeof text);
    if (n < 0)
        return (int)n;
    long long seconds = strtoll(text, &end, 10);
    if (end == text || *end)
        return -EINVAL;
    clock_set_offset((int64_t)seconds * (int64_t)USEC_PER_SEC);
    return 0;
}

static int on_offset(sd_event_source *s, const struct inotify_event *event, void *userdata)
{
    (void)s, (void)event;
    WallClock *w = userdata;
    if (read_offset(w) == 0)
        was_set(w);
    return 0;
}

int wallclock_open(sd_event *event, const char *offset_file, void (*set)(void *userdata, int64_t by), void *userdata,
                   WallClock **ret, Error *e)
{
    WallClock *w = new0(WallClock);
    *w = (WallClock){.event = event, .set = set, .userdata = userdata, .offset_file = offset_file};
    int r = offset_file ? read_offset(w) : 0;
    if (r == 0 && offset_file)
        r = sd_event_add_inotify(event, &w->offset, offset_file, IN_CLOSE_WRITE, on_offset, w);
    if (r < 0) {
        wallclock_close(w);
        return error_errno(e, r, "cannot follow %s", offset_file);
    }
    w->ahead = clock_ahead();
    *ret = w;
    return 0;
}

WallClock *wallclock_close(WallClock *w)
{
    if (!w)
        return NULL;
    sd_event_source_disable_unref(w->kernel);
    sd_event_source_disable_unref(w->offset);
    free(w);
    return NULL;
}
