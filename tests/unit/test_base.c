/* base/: strings, descriptors and small files, errors. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/util.h"

/* --- strings ------------------------------------------------------------------------------------------------------ */
static void test_strbuf(void **state)
{
    (void)state;
    StrBuf b = STRBUF_NULL;
    char *empty = strbuf_take(&b);
    assert_string_equal(empty, "");
    free(empty);
    strbuf_addc(&b, 'a');
    strbuf_add(&b, "bcd", 2);
    strbuf_addf(&b, "%d%s", 7, "x");
    for (int i = 0; i < 1000; i++)
        strbuf_adds(&b, "0123456789");
    assert_int_equal(b.len, 10005);
    char *s = strbuf_take(&b);
    assert_int_equal(strncmp(s, "abc7x0123", 9), 0);
    assert_int_equal(strlen(s), 10005);
    assert_null(b.s);
    free(s);
    strbuf_adds(&b, "x");
    strbuf_done(&b);
    assert_int_equal(b.len, 0);
}

static void test_vectors(void **state)
{
    (void)state;
    _cleanup_strv_ char **v = NULL;
    assert_int_equal(strv_length(NULL), 0);
    assert_false(strv_contains(NULL, "a"));
    assert_null(strv_copy(NULL));
    _cleanup_(freep) char *none = strv_join(NULL, ",");
    assert_string_equal(none, "");
    strv_add(&v, "a");
    strv_push(&v, xstrdup("b"));
    strv_add(&v, "");
    assert_int_equal(strv_length(v), 3);
    assert_null(v[3]);
    assert_true(strv_contains(v, "b"));
    assert_false(strv_contains(v, "c"));
    _cleanup_strv_ char **copy = strv_copy(v);
    assert_ptr_not_equal(copy[0], v[0]);
    _cleanup_(freep) char *joined = strv_join(copy, ", ");
    assert_string_equal(joined, "a, b, ");
}

static void test_array_push(void **state)
{
    (void)state;
    _cleanup_(freep) int *a = NULL;
    size_t n = 0;
    for (int i = 0; i < 100; i++)
        ARRAY_PUSH(a, n) = i;
    assert_int_equal(n, 100);
    for (int i = 0; a && i < 100; i++)
        assert_int_equal(a[i], i);
    assert_int_equal(MIN2(2, 3), 2);
    assert_int_equal(MAX2(2, 3), 3);
}

static void test_comparisons(void **state)
{
    (void)state;
    assert_true(str_equal(NULL, NULL) && str_equal("a", "a"));
    assert_false(str_equal(NULL, "") || str_equal("a", NULL) || str_equal("a", "b"));
    assert_string_equal(str_or("", "x"), "x");
    assert_string_equal(str_or(NULL, "x"), "x");
    assert_string_equal(str_or("y", "x"), "y");
    assert_true(str_starts("abc", "ab") && str_starts("a", ""));
    assert_false(str_starts("a", "ab"));
}

static void test_parse_u64(void **state)
{
    (void)state;
    uint64_t v = 7;
    static const char *const bad[] = {"", " 1", "1 ", "-1", "+1", "0x1", "1.0", "a"};
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        assert_int_equal(parse_u64(bad[i], &v), -EINVAL);
    assert_int_equal(parse_u64("18446744073709551616", &v), -ERANGE);
    assert_int_equal(parse_u64("99999999999999999999999", &v), -ERANGE);
    assert_int_equal(v, 7);
    assert_int_equal(parse_u64("18446744073709551615", &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(parse_u64("007", &v), 0);
    assert_int_equal(v, 7);
}

static void test_distance(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        size_t distance;
    } cases[] = {
        {"", "", 0},      {"", "abc", 3},      {"abc", "abc", 0},        {"abc", "abd", 1},
        {"abc", "ab", 1}, {"abc", "xabc", 1},  {"abc", "acb", 1},        {"memory_mx", "memory_max", 1},
        {"ca", "abc", 3}, {"abcd", "badc", 2}, {"kitten", "sitting", 3},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        assert_int_equal(str_distance(cases[i].a, cases[i].b), cases[i].distance);
        assert_int_equal(str_distance(cases[i].b, cases[i].a), cases[i].distance);
    }
    char longest[66] = {0};
    memset(longest, 'x', 65);
    assert_true(str_distance(longest, "x") == SIZE_MAX);
    longest[64] = '\0';
    assert_int_equal(str_distance(longest, ""), 64);
    assert_int_equal(str_distance(longest, longest), 0);
}

static void test_nearest(void **state)
{
    (void)state;
    static const char *const words[] = {"memory_max", "memory_high", "cpus", "user"};
    size_t n = ELEMENTS(words);
    assert_ptr_equal(str_nearest("memory_mx", words, n), words[0]);
    assert_ptr_equal(str_nearest("memory_hihg", words, n), words[1]);
    assert_ptr_equal(str_nearest("usr", words, n), words[3]);
    assert_ptr_equal(str_nearest("cpu", words, n), words[2]);
    assert_null(str_nearest("colour", words, n));
    assert_null(str_nearest("x", words, n));
    assert_null(str_nearest("memory_max", words, 0));
}

static void test_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
    } cases[] = {
        {"a", 1},
        {"\xc3\xa9", 2},
        {"\xe2\x82\xac", 3},
        {"\xf0\x9f\x98\x80", 4},
        {"\xc3", 0},
        {"\xa9", 0},
        {"\xc0\x80", 0},
        {"\xc1\xbf", 0},
        {"\xe0\x80\x80", 0},
        {"\xe0\xa0\x80", 3},
        {"\xed\xa0\x80", 0},
        {"\xed\x9f\xbf", 3},
        {"\xf0\x80\x80\x80", 0},
        {"\xf0\x90\x80\x80", 4},
        {"\xf4\x8f\xbf\xbf", 4},
        {"\xf4\x90\x80\x80", 0},
        {"\xf5\x80\x80", 0},
        {"\xc2\x9b", 0},
        {"\xc2\xa0", 2},
        {"\xff", 0},
        {"\xe2\x82", 0},
        {"\xe2\x28\xa1", 0},
        {"", 0},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++)
        assert_int_equal(utf8_length(cases[i].bytes, strlen(cases[i].bytes)), cases[i].length);
}

static void expect_escape(const char *s, size_t n, size_t limit, const char *expected)
{
    _cleanup_(freep) char *got = str_escape(s, n, limit);
    assert_string_equal(got, expected);
}

static void test_escape(void **state)
{
    (void)state;
    expect_escape("plain", 5, 99, "plain");
    expect_escape("a\0b\n\x1b[m\x7f", 8, 99, "a\\x00b\\x0a\\x1b[m\\x7f");
    expect_escape("\\", 1, 99, "\\x5c");
    expect_escape("caf\xc3\xa9\xff", 6, 99, "caf\xc3\xa9\\xff");
    expect_escape("\xc2\x9b", 2, 99, "\\xc2\\x9b");
    expect_escape("abcdef", 6, 3, "abc");
    expect_escape("ab\n", 3, 5, "ab"); /* an escape is never cut in two */
    expect_escape("ab\xc3\xa9", 4, 3, "ab");
    expect_escape("", 0, 0, "");
}

static void expect_bytes(uint64_t v, const char *expected)
{
    _cleanup_(freep) char *got = format_bytes(v);
    assert_string_equal(got, expected);
}

static void expect_usec(uint64_t v, const char *expected)
{
    _cleanup_(freep) char *got = format_usec(v);
    assert_string_equal(got, expected);
}

static void test_formats(void **state)
{
    (void)state;
    expect_bytes(0, "0B");
    expect_bytes(1023, "1023B");
    expect_bytes(1024, "1K");
    expect_bytes(1536, "1.5K");
    expect_bytes(64 << 20, "64M");
    expect_bytes(UINT64_C(3) << 29, "1.5G");
    expect_bytes(UINT64_MAX, "max");
    expect_usec(0, "0us");
    expect_usec(999, "999us");
    expect_usec(340000, "340ms");
    expect_usec(12500000, "12.5s");
    expect_usec(10000000, "10s");
    expect_usec(184000000, "3m 4s");
    expect_usec(UINT64_C(26) * 3600 * 1000000, "1d 2h");
    expect_usec(UINT64_MAX, "infinity");
    assert_true(usec_add(UINT64_MAX, 1) == UINT64_MAX);
    assert_true(usec_add(UINT64_MAX - 1, 5) == UINT64_MAX);
    assert_true(usec_add(1, 2) == 3);
}

/* --- descriptors and files ---------------------------------------------------------------------------------------- */
static char scratch[64];
static int scratch_fd = -EBADF;

static int set_up(void **state)
{
    (void)state;
    snprintf(scratch, sizeof scratch, "/tmp/bulkhead-base-XXXXXX");
    if (!mkdtemp(scratch))
        return -1;
    scratch_fd = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return scratch_fd < 0 ? -1 : 0;
}

static int tear_down(void **state)
{
    (void)state;
    scratch_fd = fd_close(scratch_fd);
    return tree_remove(AT_FDCWD, scratch);
}

static void make_file(const char *name, const char *text, size_t size)
{
    _cleanup_fd_ int fd = openat(scratch_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, size), 0);
}

static void test_close(void **state)
{
    (void)state;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int old = fd;
    errno = EXDEV;
    fd = fd_close(fd);
    assert_int_equal(fd, -EBADF);
    assert_int_equal(errno, EXDEV);
    assert_int_equal(fcntl(old, F_GETFD), -1);
    assert_int_equal(fd_close(-EBADF), -EBADF);
    int taken = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int other = TAKE_FD(taken);
    assert_int_equal(taken, -EBADF);
    assert_true(other >= 0);
    fd_close(other);
}

/* More than a pipe holds, so that write(2) comes back short and again. */
static void test_write_all(void **state)
{
    (void)state;
    enum { SIZE = 1 << 20 };
    int p[2];
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char buf[4096];
        size_t total = 0;
        close(p[1]);
        for (ssize_t n; (n = read(p[0], buf, sizeof buf)) > 0;)
            total += (size_t)n;
        _exit(total == SIZE ? 0 : 1);
    }
    _cleanup_(freep) char *data = xcalloc(SIZE, 1);
    close(p[0]);
    assert_int_equal(fd_write_all(p[1], data, SIZE), 0);
    close(p[1]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(fd_write_all(-1, "x", 1), -EBADF);
}

/* Both ways refuse alike: openat2, and a component at a time where the kernel has none. */
static void check_open_beneath(void)
{
    make_file("inside", "x", 1);
    assert_int_equal(symlinkat("inside", scratch_fd, "link"), 0);
    assert_int_equal(symlinkat("/etc", scratch_fd, "etc"), 0);
    int fd = open_beneath(scratch_fd, "inside", O_RDONLY, 0);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    fd_close(fd);
    assert_int_equal(open_beneath(scratch_fd, "link", O_RDONLY, 0), -ELOOP);
    assert_int_equal(open_beneath(scratch_fd, "etc/passwd", O_RDONLY, 0), -ELOOP);
    assert_int_equal(open_beneath(scratch_fd, "../etc/passwd", O_RDONLY, 0), -EXDEV);
    assert_int_equal(open_beneath(scratch_fd, "/etc/passwd", O_RDONLY, 0), -EXDEV);
    assert_int_equal(open_beneath(scratch_fd, "missing", O_RDONLY, 0), -ENOENT);
    assert_int_equal(open_beneath(scratch_fd, "inside/below", O_RDONLY, 0), -ENOTDIR);
    fd = open_beneath(scratch_fd, "made", O_WRONLY | O_CREAT | O_EXCL, 0640);
    assert_true(fd >= 0);
    fd_close(fd);
    assert_int_equal(open_beneath(scratch_fd, "made", O_WRONLY | O_CREAT | O_EXCL, 0640), -EEXIST);
    assert_int_equal(mkdirat(scratch_fd, "sub", 0700), 0);
    fd = open_beneath(scratch_fd, "sub/made", O_WRONLY | O_CREAT | O_EXCL, 0640);
    assert_true(fd >= 0);
    fd_close(fd);
    const char *made[] = {"sub/made", "sub", "made", "etc", "link", "inside"};
    for (size_t i = 0; i < ELEMENTS(made); i++)
        assert_int_equal(unlinkat(scratch_fd, made[i], strcmp(made[i], "sub") == 0 ? AT_REMOVEDIR : 0), 0);
}

static void test_open_beneath(void **state)
{
    (void)state;
    check_open_beneath();
    open_beneath_plainly(true);
    check_open_beneath();
    open_beneath_plainly(false);
}

static void test_cloexec_from(void **state)
{
    (void)state;
    int low = open("/dev/null", O_RDONLY), high = fcntl(low, F_DUPFD, 100);
    assert_true(low >= 0 && high >= 100);
    fd_cloexec_from(100);
    assert_int_equal(fcntl(low, F_GETFD), 0);
    assert_int_equal(fcntl(high, F_GETFD), FD_CLOEXEC);
    close(low);
    close(high);
}

static void test_dir_make(void **state)
{
    (void)state;
    mode_t mask = umask(077);
    char path[128];
    snprintf(path, sizeof path, "%s/a//b/c/", scratch);
    int fd = dir_make(path, 0700);
    assert_true(fd >= 0);
    fd_close(fd);
    fd = dir_make(path, 0750); /* there already: mode is set all the same, whatever the umask */
    umask(mask);
    assert_true(fd >= 0);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750);
    assert_int_equal(st.st_uid, geteuid());
    fd_close(fd);
    snprintf(path, sizeof path, "%s/to-a", scratch);
    assert_int_equal(symlinkat("a", scratch_fd, "to-a"), 0);
    assert_true(dir_make(path, 0700) < 0);
    snprintf(path, sizeof path, "%s/to-a/d", scratch);
    fd = dir_make(path, 0700); /* a link above is the distribution's business */
    assert_true(fd >= 0);
    fd_close(fd);
    make_file("plain", "", 0);
    snprintf(path, sizeof path, "%s/plain", scratch);
    assert_int_equal(dir_make(path, 0700), -ENOTDIR);
    assert_int_equal(dir_make("relative", 0700), -EINVAL);
}

static void test_small_files(void **state)
{
    (void)state;
    char buf[8];
    make_file("f", "1234567\n", 8);
    assert_int_equal(file_read(scratch_fd, "f", buf, sizeof buf), -E2BIG);
    make_file("f", "123456\n", 7);
    assert_int_equal(file_read(scratch_fd, "f", buf, sizeof buf), 6);
    assert_string_equal(buf, "123456");
    make_file("f", "", 0);
    assert_int_equal(file_read(scratch_fd, "f", buf, sizeof buf), 0);
    assert_string_equal(buf, "");
    assert_int_equal(file_read(scratch_fd, "missing", buf, sizeof buf), -ENOENT);

    uint64_t v = 1;
    assert_int_equal(file_write(scratch_fd, "f", "42\n"), 0);
    assert_int_equal(file_read_u64(scratch_fd, "f", &v), 0);
    assert_int_equal(v, 42);
    assert_int_equal(file_write(scratch_fd, "f", "max"), 0);
    assert_int_equal(file_read_u64(scratch_fd, "f", &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(file_write(scratch_fd, "f", "abc"), 0);
    assert_int_equal(file_read_u64(scratch_fd, "f", &v), -EINVAL);
    assert_int_equal(file_write(scratch_fd, "missing", "x"), -ENOENT);
}

static void test_read_all(void **state)
{
    (void)state;
    enum { SIZE = 10000 };
    _cleanup_(freep) char *data = xcalloc(SIZE, 1), *got = NULL;
    data[SIZE - 1] = 'z';
    make_file("big", data, SIZE);
    size_t size = 0;
    assert_int_equal(file_read_all(scratch_fd, "big", SIZE, &got, &size), 0);
    assert_int_equal(size, SIZE);
    assert_memory_equal(got, data, SIZE);
    assert_int_equal(got[SIZE], '\0');
    char *none = NULL;
    assert_int_equal(file_read_all(scratch_fd, "big", SIZE - 1, &none, &size), -EFBIG);
    assert_int_equal(file_read_all(scratch_fd, ".", SIZE, &none, &size), -EISDIR);
    assert_int_equal(file_read_all(scratch_fd, "missing", SIZE, &none, &size), -ENOENT);
    assert_int_equal(mkfifoat(scratch_fd, "fifo", 0600), 0);
    assert_int_equal(file_read_all(scratch_fd, "fifo", SIZE, &none, &size), -EINVAL); /* and does not hang */
    assert_null(none);
}

static void test_keyed(void **state)
{
    (void)state;
    static const char text[] = "usage_usec 5\nuser_usec 18446744073709551615\nodd x\nend 7";
    uint64_t v = 0;
    assert_int_equal(keyed_u64(text, "usage_usec", &v), 0);
    assert_int_equal(v, 5);
    assert_int_equal(keyed_u64(text, "user_usec", &v), 0);
    assert_true(v == UINT64_MAX);
    assert_int_equal(keyed_u64(text, "end", &v), 0);
    assert_int_equal(v, 7);
    assert_int_equal(keyed_u64(text, "usage", &v), -ENOKEY);
    assert_int_equal(keyed_u64(text, "usec", &v), -ENOKEY);
    assert_int_equal(keyed_u64(text, "odd", &v), -EINVAL);
    assert_int_equal(keyed_u64("", "x", &v), -ENOKEY);
    assert_int_equal(v, 7);
}

static void test_tree_remove(void **state)
{
    (void)state;
    make_file("keep", "x", 1);
    char path[128];
    snprintf(path, sizeof path, "%s/tree/deep/deeper", scratch);
    fd_close(dir_make(path, 0700));
    make_file("tree/file", "x", 1);
    make_file("tree/deep/file", "x", 1);
    assert_int_equal(symlinkat("../keep", scratch_fd, "tree/link"), 0);
    assert_int_equal(symlinkat("..", scratch_fd, "tree/up"), 0);
    assert_int_equal(tree_remove(scratch_fd, "tree"), 0);
    assert_int_equal(faccessat(scratch_fd, "tree", F_OK, 0), -1);
    assert_int_equal(faccessat(scratch_fd, "keep", F_OK, 0), 0);
    assert_int_equal(tree_remove(scratch_fd, "tree"), 0); /* missing is fine */
    assert_int_equal(symlinkat("keep", scratch_fd, "only-a-link"), 0);
    assert_int_equal(tree_remove(scratch_fd, "only-a-link"), 0);
    assert_int_equal(faccessat(scratch_fd, "keep", F_OK, 0), 0);
}

/* --- errors ------------------------------------------------------------------------------------------------------- */
static void test_errors(void **state)
{
    (void)state;
    Error e = {0};
    assert_string_equal(error_message(&e), "no error");
    assert_int_equal(error_set(&e, -ENOENT, "no %s", "file"), -ENOENT);
    assert_int_equal(e.code, -ENOENT);
    assert_string_equal(error_message(&e), "no file");
    assert_int_equal(error_prefix(&e, "%s: ", "web"), -ENOENT);
    assert_string_equal(e.msg, "web: no file");
    assert_int_equal(error_errno(&e, -EACCES, "cannot open"), -EACCES);
    assert_string_equal(e.msg, "cannot open: Permission denied");
    error_stage(&e, "first");
    error_stage(&e, "second");
    assert_string_equal(e.stage, "first");
    e.msg[0] = '\0';
    assert_string_equal(error_message(&e), "Permission denied");
    assert_int_equal(error_set(NULL, -EIO, "x"), -EIO);
    assert_int_equal(error_errno(NULL, -EIO, "x"), -EIO);
    error_stage(NULL, "x");
    assert_true(error_prefix(NULL, "x") < 0);
    Error long_one = {0};
    error_set(&long_one, -EINVAL, "%s", "no option -g");
    assert_int_equal(error_suffix(&long_one, " (%s)", "try --"), -EINVAL);
    assert_string_equal(long_one.msg, "no option -g (try --)");
    error_suffix(&long_one, "%0900d", 1);
    assert_int_equal(strlen(long_one.msg), sizeof long_one.msg - 1);
    assert_true(error_suffix(NULL, "x") < 0);
}

static void test_long_errors(void **state)
{
    (void)state;
    Error e = {0};
    error_set(&e, -EIO, "%0900d", 0);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    error_errno(&e, -EIO, "%0900d", 0);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    error_prefix(&e, "%s", "before: ");
    assert_int_equal(strncmp(e.msg, "before: 000", 11), 0);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    error_prefix(&e, "%0900d", 1);
    assert_int_equal(strlen(e.msg), sizeof e.msg - 1);
    error_stage(&e, "a-stage-name-longer-than-its-field");
    assert_int_equal(strlen(e.stage), sizeof e.stage - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strbuf),       cmocka_unit_test(test_vectors),      cmocka_unit_test(test_array_push),
        cmocka_unit_test(test_comparisons),  cmocka_unit_test(test_parse_u64),    cmocka_unit_test(test_distance),
        cmocka_unit_test(test_nearest),      cmocka_unit_test(test_utf8),         cmocka_unit_test(test_escape),
        cmocka_unit_test(test_formats),      cmocka_unit_test(test_close),        cmocka_unit_test(test_write_all),
        cmocka_unit_test(test_open_beneath), cmocka_unit_test(test_cloexec_from), cmocka_unit_test(test_dir_make),
        cmocka_unit_test(test_small_files),  cmocka_unit_test(test_read_all),     cmocka_unit_test(test_keyed),
        cmocka_unit_test(test_tree_remove),  cmocka_unit_test(test_errors),       cmocka_unit_test(test_long_errors),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
