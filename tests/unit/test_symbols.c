/* Where probes go: against this program itself, whose code is in memory to compare with, against what Debian ships,
 * and against files that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "bpf/symbols.h"

#define LIBC "/lib/x86_64-linux-gnu/libc.so.6"

__attribute__((noinline, used)) int symbols_test_function(int x);
int symbols_test_function(int x)
{
    return x * 31 + 7;
}

#define NOTE(name, at)                                                                                     \
    __asm__(".pushsection .note.stapsdt,\"\",\"note\"\n .balign 4\n .4byte 992f-991f,994f-993f,3\n"        \
            "991: .asciz \"stapsdt\"\n992: .balign 4\n993: .8byte " at ",0,0\n .asciz \"bulkhead_test\"\n" \
            ".asciz \"" name "\"\n .asciz \"\"\n994: .balign 4\n .popsection\n")
NOTE("one__start", "symbols_test_function");
NOTE("one__done", "symbols_test_function+1");
NOTE("one__abort", "symbols_test_function+2");
NOTE("half__start", "symbols_test_function");
NOTE("deep__er__entry", "symbols_test_function");
NOTE("deep__er__return", "symbols_test_function+1");

static int resolve(const char *path, const char *symbol, uint64_t *ret, Error *e)
{
    *e = (Error){0};
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return symbol_resolve(fd, path, symbol, ret, e);
}

static int resolve_pair(const char *path, const char *provider, const char *name, ProbePoint **ret, size_t *n, Error *e)
{
    *e = (Error){0};
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return usdt_resolve(fd, path, provider, name, ret, n, e);
}

static void need(const char *path)
{
    if (access(path, R_OK) == 0)
        return;
    print_message("skipped: no %s\n", path);
    if (getenv("MUST_WORK"))
        fail_msg("must work: no %s", path);
    skip();
}

static void own_function(void **state)
{
    (void)state;
    Error e;
    uint64_t offset = 0;
    unsigned char file[24] = {0};
    assert_int_equal(resolve("/proc/self/exe", "symbols_test_function", &offset, &e), 0);
    _cleanup_fd_ int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, file, sizeof file, (off_t)offset), sizeof file);
    assert_memory_equal(file, (const void *)(uintptr_t)symbols_test_function, sizeof file);
}

static void near_names(void **state)
{
    (void)state;
    Error e;
    uint64_t offset = 1;
    assert_int_equal(resolve("/proc/self/exe", "symbols_test_functoin", &offset, &e), -ENOENT);
    assert_non_null(strstr(e.msg, "did you mean symbols_test_function"));
    assert_int_equal(resolve("/proc/self/exe", "nothing_of_this_kind_at_all_is_here", &offset, &e), -ENOENT);
    assert_non_null(strstr(e.msg, "nm -D"));
    assert_int_equal(resolve("/proc/self/exe", "symbols_test_function@V1", &offset, &e), -ENOENT);
    assert_int_equal(offset, 1);
}

static void not_a_program(void **state)
{
    (void)state;
    Error e;
    uint64_t offset;
    assert_int_equal(resolve("/etc/passwd", "main", &offset, &e), -ENOEXEC);
    assert_int_equal(resolve("/dev/null", "main", &offset, &e), -ENOEXEC);
    assert_non_null(strstr(e.msg, "script"));
}

/* A file cut off or overwritten anywhere is refused or answered, and nothing is read that is not there. */
static void broken_files(void **state)
{
    (void)state;
    char path[] = "/tmp/bh-symbols-XXXXXX";
    _cleanup_fd_ int fd = mkstemp(path), own = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && own >= 0);
    unlink(path);
    off_t size = lseek(own, 0, SEEK_END);
    char *bytes = malloc((size_t)size);
    assert_int_equal(pread(own, bytes, (size_t)size, 0), size);
    unsigned seed = 1;
    for (int i = 0; i < 60; i++) {
        assert_int_equal(ftruncate(fd, 0), 0);
        assert_int_equal(pwrite(fd, bytes, (size_t)size, 0), size);
        if (i % 2)
            assert_int_equal(ftruncate(fd, size * (i + 1) / 62), 0);
        for (int k = 0; k < 40; k++) {
            unsigned char garbage = (unsigned char)(rand_r(&seed) >> 7);
            off_t at = k < 20 ? rand_r(&seed) % 64 : size - 1 - rand_r(&seed) % 4096; /* headers are at both ends */
            if (i > 1)
                assert_int_equal(pwrite(fd, &garbage, 1, at), 1);
        }
        uint64_t offset;
        ProbePoint *points = NULL;
        size_t n;
        Error e = {0};
        (void)symbol_resolve(fd, "broken", "symbols_test_function", &offset, &e);
        if (usdt_resolve(fd, "broken", "bulkhead_test", "one", &points, &n, &e) == 0)
            free(points);
    }
    free(bytes);
}

static void own_pairs(void **state)
{
    (void)state;
    Error e;
    uint64_t at;
    size_t n = 0;
    ProbePoint *p = NULL;
    assert_int_equal(resolve("/proc/self/exe", "symbols_test_function", &at, &e), 0);
    assert_int_equal(resolve_pair("/proc/self/exe", "bulkhead_test", "one", &p, &n, &e), 0);
    assert_int_equal(n, 3);
    assert_true(p[0].role == PROBE_BEGIN && p[0].offset == at);
    assert_true(p[1].role == PROBE_END && p[1].offset == at + 1);
    assert_true(p[2].role == PROBE_FAIL && p[2].offset == at + 2);
    assert_true(p[0].semaphore == 0);
    free(p);
    assert_int_equal(resolve_pair("/proc/self/exe", "bulkhead_test", "deep-er", &p, &n, &e), 0);
    assert_int_equal(n, 2);
    free(p);
    assert_int_equal(resolve_pair("/proc/self/exe", "bulkhead_test", "half", &p, &n, &e), -ENOENT);
    assert_non_null(strstr(e.msg, "only the begin"));
    assert_int_equal(resolve_pair("/proc/self/exe", "bulkhead_test", "two", &p, &n, &e), -ENOENT);
    assert_non_null(strstr(e.msg, "one, half, deep__er"));
    assert_int_equal(resolve_pair("/proc/self/exe", "another", "one", &p, &n, &e), -ENOENT);
    assert_non_null(strstr(e.msg, "bulkhead_test"));
}

static void what_debian_ships(void **state)
{
    (void)state;
    static const struct {
        const char *path, *symbol;
        int result;
    } cases[] = {
        {"/usr/bin/redis-server", "call", 0},
        {"/usr/sbin/nginx", "ngx_http_process_request", 0},
        {LIBC, "malloc", 0},
        {LIBC, "pthread_create@GLIBC_2.34", 0},
        {LIBC, "pthread_create@GLIBC_2.2.5", 0},
        {LIBC, "pthread_create@GLIBC_9", -ENOENT},
        {LIBC, "strlen", -ENOTSUP}, /* IFUNC */
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        uint64_t offset = 0;
        Error e;
        need(cases[i].path);
        int r = resolve(cases[i].path, cases[i].symbol, &offset, &e);
        if (r != cases[i].result)
            fail_msg("%s: %d %s", cases[i].symbol, r, e.msg);
        assert_true(r < 0 || offset > 0);
    }
}

static void pairs_that_debian_ships(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *provider, *name;
        size_t n;
        bool semaphore, only_12; /* Debian 13's PHP is built without */
    } cases[] = {
        {"/usr/lib/postgresql/*/bin/postgres", "postgresql", "query", 2, true, false},
        {"/usr/lib/postgresql/*/bin/postgres", "postgresql", "transaction", 3, true, false},
        {"/usr/bin/python3.1[0-9]", "python", "gc", 2, true, false},
        {"/usr/sbin/php-fpm8.2", "php", "request", 2, true, true},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        ProbePoint *p = NULL;
        size_t n = 0;
        Error e;
        glob_t found = {0};
        bool there = glob(cases[i].pattern, 0, NULL, &found) == 0;
        char path[256] = "";
        snprintf(path, sizeof path, "%s", there ? found.gl_pathv[0] : cases[i].pattern);
        globfree(&found);
        if (!there && cases[i].only_12)
            continue;
        need(path);
        if (resolve_pair(path, cases[i].provider, cases[i].name, &p, &n, &e) < 0)
            fail_msg("%s", e.msg);
        print_message("%s:%s %zu places, semaphore %llx\n", cases[i].provider, cases[i].name, n,
                      (unsigned long long)p[0].semaphore);
        assert_int_equal(n, cases[i].n);
        assert_true((p[0].semaphore != 0) == cases[i].semaphore);
        free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(own_function),
        cmocka_unit_test(near_names),
        cmocka_unit_test(not_a_program),
        cmocka_unit_test(broken_files),
        cmocka_unit_test(own_pairs),
        cmocka_unit_test(what_debian_ships),
        cmocka_unit_test(pairs_that_debian_ships),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
