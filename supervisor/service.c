/* See service.h. */
#include "supervisor/service.h"

#include <inttypes.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"

uint64_t service_piece(uint64_t now, uint64_t until)
{
    return until > now ? MIN2(SERVICE_PIECE_USEC, until - now) : 0;
}

int service_open(Service *s, sd_event *event, Error *e)
{
    *s = (Service){.event = event};
    int r = sd_event_set_watchdog(event, true);
    return r < 0 ? error_errno(e, r, "cannot answer the service manager's watchdog") : 0;
}

static void ask(const Service *s, const char *state)
{
    uint64_t piece = service_piece(now_monotonic(), s->until);
    if (piece)
        (void)sd_notifyf(0, "%s%sEXTEND_TIMEOUT_USEC=%" PRIu64, state, *state ? "\n" : "", piece);
    else if (*state)
        (void)sd_notify(0, state);
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)usec;
    Service *s = userdata;
    ask(s, "");
    if (now_monotonic() < s->until && sd_event_source_set_time_relative(source, SERVICE_EVERY_USEC) >= 0)
        (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
    return 0;
}

void service_busy(Service *s, uint64_t bound_usec, const char *state)
{
    s->until = usec_add(now_monotonic(), bound_usec);
    ask(s, state);
    s->timer = sd_event_source_disable_unref(s->timer);
    if (getenv("NOTIFY_SOCKET"))
        (void)sd_event_add_time_relative(s->event, &s->timer, CLOCK_MONOTONIC, SERVICE_EVERY_USEC, USEC_PER_SEC,
                                         on_timer, s);
}

void service_idle(Service *s, const char *state)
{
    s->timer = sd_event_source_disable_unref(s->timer);
    (void)sd_notify(0, state);
}

void service_close(Service *s)
{
    s->timer = sd_event_source_disable_unref(s->timer);
}
