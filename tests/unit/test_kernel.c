/* The pure part of bpf/: percentiles of a latency histogram. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bpf/kernel.h"

static void test_empty_is_zero(void **state)
{
    (void)state;
    uint64_t slots[BULKHEAD_HIST_SLOTS] = {0};
    assert_int_equal(latency_percentile(slots, 0), 0);
    assert_int_equal(latency_percentile(slots, 99), 0);
}

static void test_one_slot_interpolates(void **state)
{
    (void)state;
    uint64_t slots[BULKHEAD_HIST_SLOTS] = {0};
    slots[10] = 100; /* 1024 to 2048 us */
    assert_int_equal(latency_percentile(slots, 50), 1024 + 512);
    assert_int_equal(latency_percentile(slots, 100), 2048);
    assert_int_equal(latency_percentile(slots, 1), 1024 + 10);
    assert_int_equal(latency_percentile(slots, 0), 1024 + 10); /* the least one */
    assert_int_equal(latency_percentile(slots, 1000), 2048);
}

static void test_slots_in_order(void **state)
{
    (void)state;
    uint64_t slots[BULKHEAD_HIST_SLOTS] = {0};
    slots[0] = 90;
    slots[4] = 9;
    slots[23] = 1;
    assert_in_range(latency_percentile(slots, 50), 1, 2);
    assert_in_range(latency_percentile(slots, 90), 1, 2);
    assert_in_range(latency_percentile(slots, 91), 17, 32);
    assert_in_range(latency_percentile(slots, 99), 17, 32);
    assert_int_equal(latency_percentile(slots, 100), 1u << 24);
    for (unsigned p = 1; p <= 100; p++)
        assert_true(latency_percentile(slots, p - 1) <= latency_percentile(slots, p));
}

static void test_huge_counts_do_not_overflow(void **state)
{
    (void)state;
    uint64_t slots[BULKHEAD_HIST_SLOTS] = {0};
    slots[3] = UINT64_MAX / 2;
    slots[5] = UINT64_MAX / 2;
    assert_in_range(latency_percentile(slots, 49), 8, 16);
    assert_in_range(latency_percentile(slots, 99), 32, 64);
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
