/* The daemon's side of a counter page: what it makes of what it reads there, whoever has written it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <signal.h>

#include "base/fd.h"
#include "supervisor/run/page.h"
#include "tests/unit/work_page.h"

static PageLook look;

static int fresh(void **state)
{
    (void)state;
    look = (PageLook){0};
    return 0;
}

static uint64_t owner(unsigned pid)
{
    return UINT64_C(1000) << BULKHEAD_WORK_PID_BITS | pid;
}

/* Both looks see the same. */
static void slot(int i, unsigned pid, uint64_t started, uint64_t completed, uint64_t errors)
{
    look.before.slots[i] = look.after.slots[i] = (struct bulkhead_work_slot){
        .owner = pid ? owner(pid) : 0, .started = started, .completed = completed, .errors = errors};
}

static struct work_counters sum(void)
{
    struct work_counters c;
    page_sum(&look, &c);
    assert_true(c.started == c.completed + c.errors + (uint64_t)c.in_flight);
    assert_true(c.in_flight >= 0 && c.in_flight_peak >= 0);
    return c;
}

static void test_empty(void **state)
{
    (void)state;
    struct work_counters c = sum(), none = {0};
    assert_memory_equal(&c, &none, sizeof c);
}

static void test_sums(void **state)
{
    (void)state;
    slot(0, 0, 10, 5, 1); /* shared: has no owner, lives as long as anybody */
    slot(1, 7, 100, 90, 3);
    slot(130, 8, 20, 20, 0);
    look.after.peak = 12;
    look.after.slots[130].peak = 14;
    look.after.slots[1].latency[3] = 5;
    look.after.slots[130].latency[3] = 2;
    look.after.slots[1].total_usec = 70;
    look.after.slots[1].rejected = 4;
    struct work_counters c = sum();
    assert_int_equal(c.started, 130);
    assert_int_equal(c.completed, 115);
    assert_int_equal(c.errors, 4);
    assert_int_equal(c.in_flight, 11);
    assert_int_equal(c.in_flight_peak, 14);
    assert_int_equal(c.latency[3], 7);
    assert_int_equal(c.total_usec, 70);
    assert_int_equal(c.rejected, 4);
}

/* Between the looks nine more began and eight ended: never less than what was in flight in between. */
static void test_between_the_looks(void **state)
{
    (void)state;
    slot(1, 7, 10, 9, 0);
    look.after.slots[1].started = 19;
    look.after.slots[1].completed = 17;
    struct work_counters c = sum();
    assert_int_equal(c.in_flight, 10);
    assert_int_equal(c.completed, 9);
    assert_int_equal(c.started, 19);
    assert_int_equal(c.in_flight_peak, 0); /* nothing says that they were there at once */
    slot(1, 7, 10, 9, 0);
    assert_int_equal(sum().in_flight_peak, 1);
}

static void test_of_the_dead(void **state)
{
    (void)state;
    slot(1, 7, 10, 4, 1);
    slot(2, 8, 10, 4, 1);
    assert_true(page_slot_asks(&look, 1) && !page_slot_asks(&look, 3));
    look.dead[1] = true;
    struct work_counters c = sum();
    assert_int_equal(c.in_flight, 5);
    assert_int_equal(c.errors, 7);
    /* What it did last, after the first look and before its death, counts. */
    look.after.slots[1].completed = 9;
    c = sum();
    assert_int_equal(c.completed, 13);
    assert_int_equal(c.errors, 2);
    assert_int_equal(c.in_flight, 5);
    /* Another one has the slot by now: its work is in flight. */
    look.after.slots[1] = (struct bulkhead_work_slot){.owner = owner(9), .started = 11, .completed = 4, .errors = 6};
    assert_true(sum().in_flight >= 6);
    /* Nobody's: freed, whatever it holds. */
    slot(1, 0, 10, 4, 1);
    look.dead[1] = false;
    assert_int_equal(sum().in_flight, 5);
    slot(0, 0, 3, 1, 0);
    assert_int_equal(sum().in_flight, 7);
    look.dead[0] = true;
    assert_int_equal(sum().in_flight, 5);
}

static void test_hostile(void **state)
{
    (void)state;
    static const uint64_t values[] = {
        0, 1, UINT32_MAX, INT64_MAX, UINT64_C(1) << 63, UINT64_MAX, UINT64_MAX - 1, UINT64_C(1) << 48};
    for (size_t a = 0; a < ELEMENTS(values); a++)
        for (size_t b = 0; b < ELEMENTS(values); b++) {
            look = (PageLook){0};
            for (int i = 0; i < BULKHEAD_WORK_SLOTS; i++) {
                slot(i, 7, values[a], values[b], values[(a + b) % ELEMENTS(values)]);
                look.after.slots[i].peak = values[b];
                look.after.slots[i].rejected = look.after.slots[i].total_usec = values[a];
                for (int k = 0; k < BULKHEAD_WORK_HIST_SLOTS; k++)
                    look.after.slots[i].latency[k] = values[b];
            }
            look.after.peak = (int64_t)values[a];
            struct work_counters c = sum();
            assert_true(c.in_flight <= (int64_t)BULKHEAD_WORK_SLOTS << 31);
            assert_true(c.in_flight_peak <= (int64_t)BULKHEAD_WORK_SLOTS << 31);
            assert_true(c.started <= INT64_MAX && c.completed <= INT64_MAX && c.errors <= INT64_MAX);
            assert_true(c.rejected <= INT64_MAX && c.total_usec <= INT64_MAX);
        }
    slot(1, 7, 3, 9, 0); /* more ended than begun */
    assert_int_equal(sum().in_flight_peak >= 0, 1);
}

static void test_garbage(void **state)
{
    (void)state;
    uint64_t x = 88172645463325252u;
    for (int round = 0; round < 200; round++) {
        uint64_t *words = (uint64_t *)&look;
        for (size_t i = 0; i < offsetof(PageLook, dead) / sizeof *words; i++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            words[i] = x >> (x & 63);
        }
        for (size_t i = 0; i < BULKHEAD_WORK_SLOTS; i++)
            look.dead[i] = (x >> (i & 63)) & 1;
        (void)sum();
    }
}

static void test_adding(void **state)
{
    (void)state;
    struct work_counters a = {.started = INT64_MAX - 1, .in_flight_peak = 3, .latency[0] = UINT64_MAX}, b = a;
    b.in_flight_peak = 5;
    b.in_flight = 2;
    page_add(&a, &b);
    assert_true(a.started == INT64_MAX && a.in_flight_peak == 5 && a.in_flight == 2 && a.latency[0] == UINT64_MAX);
}

static void test_process_start(void **state)
{
    (void)state;
    static const char fields[] = " 1 2 2 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 ";
    static const struct {
        const char *name;
        char state;
        int threads;
        uint64_t start;
    } cases[] = {
        {"sh", 'S', 1, 12340},      {"a) R 1 (", 'R', 4, 12340},
        {"sh", 'Z', 1, UINT64_MAX}, {"sh", 'Z', 3, 12340}, /* the main thread alone has ended */
        {"sh", 'X', 1, UINT64_MAX},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        char text[256];
        snprintf(text, sizeof text, "77 (%s) %c%s%d 0 1234 99 5\n", cases[i].name, cases[i].state, fields,
                 cases[i].threads);
        assert_true(page_process_start(text, 100) == cases[i].start);
    }
    assert_true(page_process_start("", 100) == UINT64_MAX);
    assert_true(page_process_start("77 (sh", 100) == UINT64_MAX);
    assert_true(page_process_start("77 (sh) S 1 2", 100) == UINT64_MAX);
}

static void test_own_start(void **state)
{
    (void)state;
    char text[1024];
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    uint64_t now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
    assert_true(file_read(AT_FDCWD, "/proc/self/stat", text, sizeof text) > 0);
    uint64_t start = page_process_start(text, sysconf(_SC_CLK_TCK));
    assert_true(start <= now && start > 0);
}

/* One is in flight all the time, others come and go as fast as they can: no look may miss it. */
static void busy(WorkPage *w)
{
    (void)w;
    bulkhead_work_begin();
    for (;;) {
        bulkhead_work_begin();
        bulkhead_work_end(true);
    }
}

static void read_page(int fd, struct bulkhead_work_page *ret)
{
    assert_int_equal(pread(fd, ret, sizeof *ret, 0), sizeof *ret);
}

static void test_no_false_zero(void **state)
{
    WorkPage *w = *state;
    pid_t pid[2] = {work_process(w, busy), work_process(w, busy)};
    _cleanup_fd_ int fd = open(w->path, O_RDONLY | O_CLOEXEC);
    while (work_sum(w).started < 100)
        sched_yield();
    look = (PageLook){0};
    for (int i = 0; i < 3000; i++) {
        read_page(fd, &look.before);
        read_page(fd, &look.after);
        assert_true(sum().in_flight >= 1);
    }
    for (size_t i = 0; i < ELEMENTS(pid); i++) {
        kill(pid[i], SIGKILL);
        work_wait(pid[i]);
    }
    read_page(fd, &look.before);
    memset(look.dead, true, sizeof look.dead);
    read_page(fd, &look.after);
    struct work_counters c = sum();
    assert_int_equal(c.in_flight, 0);
    assert_true(c.errors >= 2 && c.errors <= 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty, fresh),
        cmocka_unit_test_setup(test_sums, fresh),
        cmocka_unit_test_setup(test_between_the_looks, fresh),
        cmocka_unit_test_setup(test_of_the_dead, fresh),
        cmocka_unit_test_setup(test_hostile, fresh),
        cmocka_unit_test_setup(test_garbage, fresh),
        cmocka_unit_test(test_adding),
        cmocka_unit_test(test_process_start),
        cmocka_unit_test(test_own_start),
        cmocka_unit_test_setup_teardown(test_no_false_zero, work_page_make, work_page_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
