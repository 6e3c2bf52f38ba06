/* Percentiles of a histogram of durations. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/histogram.h"

enum { SLOTS = 24 };

static void test_empty_is_zero(void **state)
{
    (void)state;
    uint64_t slots[SLOTS] = {0};
    assert_int_equal(histogram_percentile(slots, SLOTS, 0), 0);
    assert_int_equal(histogram_percentile(slots, SLOTS, 99), 0);
}

static void test_one_slot_interpolates(void **state)
{
    (void)state;
    uint64_t slots[SLOTS] = {0};
    slots[10] = 100; /* 1024 to 2048 us */
    assert_int_equal(histogram_percentile(slots, SLOTS, 50), 1024 + 512);
    assert_int_equal(histogram_percentile(slots, SLOTS, 100), 2048);
    assert_int_equal(histogram_percentile(slots, SLOTS, 1), 1024 + 10);
    assert_int_equal(histogram_percentile(slots, SLOTS, 0), 1024 + 10); /* the least one */
    assert_int_equal(histogram_percentile(slots, SLOTS, 1000), 2048);
}

static void test_slots_in_order(void **state)
{
    (void)state;
    uint64_t slots[SLOTS] = {0};
    slots[0] = 90;
    slots[4] = 9;
    slots[23] = 1;
    assert_in_range(histogram_percentile(slots, SLOTS, 50), 1, 2);
    assert_in_range(histogram_percentile(slots, SLOTS, 90), 1, 2);
    assert_in_range(histogram_percentile(slots, SLOTS, 91), 17, 32);
    assert_in_range(histogram_percentile(slots, SLOTS, 99), 17, 32);
    assert_int_equal(histogram_percentile(slots, SLOTS, 100), 1u << 24);
    for (unsigned p = 1; p <= 100; p++)
        assert_true(histogram_percentile(slots, SLOTS, p - 1) <= histogram_percentile(slots, SLOTS, p));
}

static void test_huge_counts_do_not_overflow(void **state)
{
    (void)state;
    uint64_t slots[SLOTS] = {0};
    slots[3] = UINT64_MAX / 2;
    slots[5] = UINT64_MAX / 2;
    assert_in_range(histogram_percentile(slots, SLOTS, 49), 8, 16);
    assert_in_range(histogram_percentile(slots, SLOTS, 99), 32, 64);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_is_zero),
        cmocka_unit_test(test_one_slot_interpolates),
        cmocka_unit_test(test_slots_in_order),
        cmocka_unit_test(test_huge_counts_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
