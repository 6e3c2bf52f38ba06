/* base/logindex: the header, the marker, when what was written. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/logindex.h"

static void test_header(void **state)
{
    (void)state;
    int fd = memfd_create("index", MFD_CLOEXEC);
    LogHeader h, null = LOG_HEADER_NULL;
    assert_int_equal(log_header_read(fd, &h), -EBADMSG);
    assert_memory_equal(&h, &null, sizeof h);
    h = (LogHeader){.magic = "BHLOG\0\0\001", .seq = 3, .inode = 7, .base = 100, .head = 200, .stage = LOG_STAGE_FULL};
    h.cut = 50, h.end = 60;
    assert_int_equal(log_header_write(fd, &h), 0);
    LogHeader back;
    assert_int_equal(log_header_read(fd, &back), 0);
    assert_memory_equal(&h, &back, sizeof h);
    LogHeader wrong[] = {h, h, h, h, h};
    wrong[0].magic[7] = 2;
    wrong[1].base = 201;
    wrong[2].stage = LOG_STAGE_COLLAPSE + 1;
    wrong[3].cut = 61;
    wrong[4].head = 1ull << 63;
    for (size_t i = 0; i < ELEMENTS(wrong); i++) {
        assert_int_equal(log_header_write(fd, &wrong[i]), 0);
        assert_int_equal(log_header_read(fd, &back), -EBADMSG);
        assert_memory_equal(&back, &null, sizeof back);
    }
    assert_int_equal(log_header_read(-EBADF, &back), -EBADF);
    close(fd);
}

static void test_marker(void **state)
{
    (void)state;
    const char *words = "(rotated: what was here is at the end of web.log.1)";
    for (size_t n = 1; n < 4096; n += n < 200 ? 1 : 97) {
        char *text = new0_array(char, n + 1);
        log_marker(text, n, "web.log");
        assert_int_equal(strlen(text), n);
        assert_ptr_equal(strchr(text, '\n'), text + n - 1);
        assert_int_equal(strncmp(text, words, strlen(words)) == 0, n > strlen(words));
        if (n <= strlen(words))
            assert_int_equal(strspn(text, " "), n - 1);
        free(text);
    }
}

static void test_samples_are_kept(void **state)
{
    (void)state;
    int fd = memfd_create("index", MFD_CLOEXEC);
    static LogSample s[LOG_SAMPLES_MAX], back[LOG_SAMPLES_MAX];
    assert_int_equal(log_samples_read(fd, back), 0);
    for (size_t i = 0; i < LOG_SAMPLES_MAX; i++) {
        s[i] = (LogSample){.time = 1000 + i, .offset = 10 * i};
        assert_int_equal(log_sample_append(fd, i, &s[i]), 0);
    }
    assert_int_equal(log_sample_append(fd, LOG_SAMPLES_MAX, &s[0]), -ENOSPC);
    assert_int_equal(log_samples_read(fd, back), LOG_SAMPLES_MAX);
    assert_memory_equal(s, back, sizeof s);
    assert_int_equal(log_samples_write(fd, s, LOG_SAMPLES_MAX), 0);
    assert_int_equal(log_samples_read(fd, back), LOG_SAMPLES_MAX);
    assert_int_equal(log_samples_write(fd, s, 3), 0);
    assert_int_equal(log_samples_read(fd, back), 3); /* what was behind is gone */
    LogSample wild = {.time = 1, .offset = 5};       /* what goes back is where it ends */
    assert_int_equal(log_sample_append(fd, 3, &wild), 0);
    assert_int_equal(log_samples_read(fd, back), 3);
    close(fd);
}

static void test_thinning(void **state)
{
    (void)state;
    static LogSample s[LOG_SAMPLES_MAX];
    for (size_t i = 0; i < LOG_SAMPLES_MAX; i++)
        s[i] = (LogSample){.time = i + 1, .offset = i * 100};
    /* What is before the oldest byte goes, but for the last before it: that tells when the oldest was written. */
    assert_int_equal(log_samples_thin(s, 10, 450), 6);
    assert_int_equal(s[0].offset, 400);
    assert_int_equal(s[5].offset, 900);
    for (size_t i = 0; i < LOG_SAMPLES_MAX; i++)
        s[i] = (LogSample){.time = i + 1, .offset = i * 100};
    size_t n = log_samples_thin(s, LOG_SAMPLES_MAX, 0);
    assert_int_equal(n, LOG_SAMPLES_MAX / 4 * 3);
    assert_int_equal(s[0].offset, 0);
    assert_int_equal(s[1].offset, 200);
    assert_int_equal(s[n - 1].offset, (LOG_SAMPLES_MAX - 1) * 100);
    assert_int_equal(s[n - 2].offset, (LOG_SAMPLES_MAX - 2) * 100);
    assert_int_equal(log_samples_thin(s, LOG_SAMPLES_MAX / 2, 0), LOG_SAMPLES_MAX / 2);
    assert_int_equal(log_samples_thin(s, 0, 7), 0);
    assert_int_equal(log_samples_thin(s, 1, UINT64_MAX), 1);
}

static void test_since_and_until(void **state)
{
    (void)state;
    static const LogSample s[] = {{100, 0}, {200, 1000}, {300, 2000}, {400, 2500}};
    const size_t n = ELEMENTS(s);
    static const struct {
        uint64_t time, since, until;
    } cases[] = {
        {0, 0, 0},         {99, 0, 0},        {100, 0, 1000},    {101, 0, 1000},          {200, 0, 2000},
        {201, 1000, 2000}, {300, 1000, 2500}, {399, 2000, 2500}, {400, 2000, UINT64_MAX}, {401, 2500, UINT64_MAX},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        assert_int_equal(log_samples_since(s, n, cases[i].time), cases[i].since);
        assert_int_equal(log_samples_until(s, n, cases[i].time), cases[i].until);
    }
    assert_int_equal(log_samples_since(s, 0, 5), 0);
    assert_int_equal(log_samples_until(s, 0, 5), UINT64_MAX);
    /* A clock that was set back makes the answer wider, never narrower. */
    static const LogSample back[] = {{500, 0}, {600, 10}, {100, 20}, {200, 30}};
    assert_int_equal(log_samples_since(back, 4, 550), 0);
    assert_int_equal(log_samples_since(back, 4, 150), 0);
    assert_int_equal(log_samples_until(back, 4, 150), 30);
    assert_int_equal(log_samples_until(back, 4, 550), UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),           cmocka_unit_test(test_marker),
        cmocka_unit_test(test_samples_are_kept), cmocka_unit_test(test_thinning),
        cmocka_unit_test(test_since_and_until),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
