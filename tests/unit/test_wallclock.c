/* Being told of a clock that is set: by the file of tests, and that the kernel is asked as it must be. That it answers
 * is tried where a clock may be set: tests/vm/test_wall_clock.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "supervisor/wallclock.h"

#define S USEC_PER_SEC

typedef struct Told {
    unsigned times;
    int64_t by;
} Told;

static void on_set(void *userdata, int64_t by)
{
    Told *t = userdata;
    t->times++;
    t->by = by;
}

static void write_file(const char *path, const char *text)
{
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static void assert_near(int64_t a, int64_t b)
{
    assert_in_range((uint64_t)(a - b) + S, 0, 2 * S);
}

/* How many timerfds of this process are cancelled when the clock is set. */
static unsigned cancellable(void)
{
    unsigned n = 0;
    DIR *d = opendir("/proc/self/fdinfo");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char text[512];
        if (file_read(dirfd(d), e->d_name, text, sizeof text) > 0)
            n += strstr(text, "clockid: 0\n") && strstr(text, "settime flags: 03\n");
    }
    closedir(d);
    return n;
}

static void the_clock_of_a_file(void **state)
{
    (void)state;
    char path[] = "/tmp/test-wallclock-XXXXXX";
    fd_close(mkstemp(path));
    write_file(path, "3600\n");
    sd_event *event = NULL;
    assert_true(sd_event_new(&event) >= 0);
    Told told = {0};
    WallClock *w = NULL;
    Error e = {0};
    assert_int_equal(wallclock_open(event, path, on_set, &told, &w, &e), 0);
    assert_int_equal(clock_offset(), 3600 * (int64_t)S);
    assert_near((int64_t)now_realtime(), (int64_t)clock_usec(CLOCK_REALTIME) + 3600 * (int64_t)S);
    assert_int_equal(wallclock_watch(w, true), 0);

    const struct {
        const char *text;
        int64_t by;
    } sets[] = {{"7200\n", 3600}, {"-60", -7260}, {"0\n", 60}, {"0\n", 0}};
    for (unsigned i = 0; i < ELEMENTS(sets); i++) {
        write_file(path, sets[i].text);
        while (told.times == i)
            assert_true(sd_event_run(event, 10 * S) > 0);
        assert_int_equal(told.times, i + 1);
        assert_near(told.by, sets[i].by * (int64_t)S);
    }
    /* what is no number changes nothing */
    write_file(path, "later\n");
    assert_true(sd_event_run(event, 10 * S) > 0);
    assert_int_equal(told.times, ELEMENTS(sets));
    assert_int_equal(clock_offset(), 0);
    /* nobody wants to know: the clock is set all the same, and the next word is of what comes after */
    assert_int_equal(wallclock_watch(w, false), 0);
    write_file(path, "100\n");
    assert_true(sd_event_run(event, 10 * S) > 0);
    assert_int_equal(told.times, ELEMENTS(sets));
    assert_int_equal(clock_offset(), 100 * (int64_t)S);

    wallclock_close(w);
    sd_event_unref(event);
    unlink(path);
    clock_set_offset(0);
}

static void the_kernel_is_asked_while_somebody_wants_to_know(void **state)
{
    (void)state;
    sd_event *event = NULL;
    assert_true(sd_event_new(&event) >= 0);
    Told told = {0};
    WallClock *w = NULL;
    assert_int_equal(wallclock_open(event, NULL, on_set, &told, &w, NULL), 0);
    assert_int_equal(cancellable(), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(wallclock_watch(w, true), 0);
        assert_int_equal(wallclock_watch(w, true), 0);
        assert_int_equal(cancellable(), 1);
        assert_int_equal(sd_event_run(event, 0), 0); /* nothing was set */
        assert_int_equal(wallclock_watch(w, false), 0);
        assert_int_equal(cancellable(), 0);
    }
    assert_int_equal(wallclock_watch(w, true), 0);
    wallclock_close(w);
    assert_int_equal(cancellable(), 0);
    assert_int_equal(told.times, 0);
    sd_event_unref(event);
    assert_null(wallclock_close(NULL));
}

static void no_such_file(void **state)
{
    (void)state;
    sd_event *event = NULL;
    assert_true(sd_event_new(&event) >= 0);
    WallClock *w = NULL;
    Error e = {0};
    assert_int_equal(wallclock_open(event, "/nonexistent/clock", on_set, NULL, &w, &e), -ENOENT);
    assert_non_null(strstr(e.msg, "/nonexistent/clock"));
    assert_null(w);
    sd_event_unref(event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_clock_of_a_file),
        cmocka_unit_test(the_kernel_is_asked_while_somebody_wants_to_know),
        cmocka_unit_test(no_such_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
