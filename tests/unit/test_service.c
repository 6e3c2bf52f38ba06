/* How much more time is asked for, and what is sent: by a notify socket of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "supervisor/service.h"

static void pieces(void **state)
{
    (void)state;
    const uint64_t piece = SERVICE_PIECE_USEC;
    assert_int_equal(service_piece(0, 10 * piece), piece);
    assert_int_equal(service_piece(0, piece), piece);
    assert_int_equal(service_piece(1, piece), piece - 1);
    assert_int_equal(service_piece(piece - 1, piece), 1);
    assert_int_equal(service_piece(piece, piece), 0);
    assert_int_equal(service_piece(piece + 1, piece), 0);
    assert_int_equal(service_piece(5, USEC_INFINITY), piece);
    /* A request is made before the last one is over, also when the loop was busy for as long again. */
    assert_true(2 * SERVICE_EVERY_USEC < SERVICE_PIECE_USEC);
}

typedef struct Listener {
    char path[sizeof "/tmp/bulkhead-test-service-XXXXXX/notify"];
    int fd;
} Listener;

static Listener listener_open(void)
{
    Listener l = {.path = "/tmp/bulkhead-test-service-XXXXXX"};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    assert_non_null(mkdtemp(l.path));
    snprintf(l.path + strlen(l.path), sizeof l.path - strlen(l.path), "/notify");
    snprintf(address.sun_path, sizeof address.sun_path, "%s", l.path);
    l.fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(l.fd >= 0);
    assert_int_equal(bind(l.fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", l.path, 1), 0);
    return l;
}

static void listener_close(Listener *l)
{
    fd_close(l->fd);
    unlink(l->path);
    *strrchr(l->path, '/') = '\0';
    rmdir(l->path);
    unsetenv("NOTIFY_SOCKET");
}

/* The next datagram, NULL when there is none; of the caller. */
static char *heard(const Listener *l)
{
    char text[512];
    ssize_t n = recv(l->fd, text, sizeof text - 1, 0);
    return n < 0 ? NULL : xstrndup(text, (size_t)n);
}

static void expect(const Listener *l, const char *wanted)
{
    _cleanup_(freep) char *text = heard(l);
    if (!str_equal(text, wanted))
        fail_msg("heard \"%s\", not \"%s\"", text ? text : "nothing", wanted ? wanted : "nothing");
}

static void what_is_sent(void **state)
{
    (void)state;
    Listener l = listener_open();
    sd_event *event = NULL;
    Error e = {0};
    Service s = SERVICE_NULL;
    assert_true(sd_event_new(&event) >= 0);
    assert_int_equal(service_open(&s, event, &e), 0);
    service_busy(&s, USEC_INFINITY, "STATUS=Starting");
    expect(&l, "STATUS=Starting\nEXTEND_TIMEOUT_USEC=30000000");
    assert_non_null(s.timer);
    /* Time passes: the timer is due at once. */
    assert_true(sd_event_source_set_time(s.timer, now_monotonic()) >= 0);
    assert_true(sd_event_source_set_time_accuracy(s.timer, 1) >= 0);
    assert_true(sd_event_run(event, USEC_PER_SEC) > 0);
    expect(&l, "EXTEND_TIMEOUT_USEC=30000000");
    int enabled = SD_EVENT_OFF;
    assert_true(sd_event_source_get_enabled(s.timer, &enabled) >= 0);
    assert_int_equal(enabled, SD_EVENT_ONESHOT);
    service_idle(&s, "READY=1");
    expect(&l, "READY=1");
    assert_null(s.timer);              /* an idle daemon never wakes */
    service_busy(&s, 0, "STOPPING=1"); /* nothing more is due by the policies */
    expect(&l, "STOPPING=1");
    s.until = 0;
    assert_true(sd_event_source_set_time(s.timer, now_monotonic()) >= 0);
    assert_true(sd_event_source_set_time_accuracy(s.timer, 1) >= 0);
    assert_true(sd_event_run(event, USEC_PER_SEC) > 0);
    expect(&l, NULL);
    assert_true(sd_event_source_get_enabled(s.timer, &enabled) >= 0);
    assert_int_equal(enabled, SD_EVENT_OFF);
    service_close(&s);
    sd_event_unref(event);
    listener_close(&l);
}

static void nobody_listens(void **state)
{
    (void)state;
    sd_event *event = NULL;
    Error e = {0};
    Service s = SERVICE_NULL;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    assert_true(sd_event_new(&event) >= 0);
    assert_int_equal(service_open(&s, event, &e), 0);
    assert_int_equal(sd_event_get_watchdog(event), 0);
    service_busy(&s, USEC_INFINITY, "STATUS=Starting");
    assert_null(s.timer);
    service_close(&s);
    sd_event_unref(event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces),
        cmocka_unit_test(what_is_sent),
        cmocka_unit_test(nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
