/* supervisor/run/rotate: each line once, in order, over all files; also when the rotation is killed at any step, when a
 * writer goes on meanwhile, when others rotate too, and when the disk is full. Where TMPDIR is and on tmpfs. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/str.h"
#include "policies/policy.h"
#include "supervisor/run/rotate.h"

#define NAME "web.log"

typedef struct World {
    char path[64];
    int dir, live;
    uint64_t next; /* the number of the next line */
} World;

static int set_up(void **state)
{
    World *w = new0(World);
    const char *place = *state; /* of ON() */
    snprintf(w->path, sizeof w->path, "%s/bulkhead-rotate-XXXXXX", place);
    assert_non_null(mkdtemp(w->path));
    w->dir = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->live = openat(w->dir, NAME, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    assert_true(w->live >= 0);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    World *w = *state;
    fd_close(w->live);
    fd_close(w->dir);
    assert_int_equal(tree_remove(AT_FDCWD, w->path), 0);
    free(w);
    return 0;
}

static void write_lines(World *w, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        char line[128];
        int length =
            snprintf(line, sizeof line, "%010llu %.*s\n", (unsigned long long)w->next, (int)(w->next * 7 % 90),
                     "the quick brown fox jumps over the lazy dog and is not seen again until the next full moon");
        assert_int_equal(fd_write_all(w->live, line, (size_t)length), 0);
        w->next++;
    }
}

static RotateRequest request(const World *w)
{
    return (RotateRequest){.dir = w->dir, .name = NAME, .limit = 64 << 10, .keep = 5, .tidy = true};
}

/* What is in the file besides a hole and markers; the rest must be whole, numbered lines from *next on. */
static void check_file(const World *w, const char *name, uint64_t *next)
{
    char *text = NULL;
    size_t size = 0;
    assert_int_equal(file_read_all(w->dir, name, 64u << 20, &text, &size), 0);
    size_t at = 0;
    while (at < size && text[at] == '\0')
        at++;
    while (at < size) {
        char *end = memchr(text + at, '\n', size - at);
        assert_non_null(end);
        if (text[at] != '(' && text[at] != ' ' && text[at] != '\n') {
            uint64_t number = strtoull(text + at, NULL, 10);
            if (number != *next)
                fail_msg("%s: line %llu where %llu was to be", name, (unsigned long long)number,
                         (unsigned long long)*next);
            ++*next;
        }
        at = (size_t)(end - text) + 1;
    }
    free(text);
}

static unsigned rotated(const World *w)
{
    unsigned n = 0;
    for (;; n++) {
        char name[32];
        snprintf(name, sizeof name, NAME ".%u", n + 1);
        if (faccessat(w->dir, name, F_OK, 0) < 0)
            return n;
    }
}

static void check_stream(const World *w, uint64_t from)
{
    uint64_t next = from;
    for (unsigned i = rotated(w); i > 0; i--) {
        char name[32];
        snprintf(name, sizeof name, NAME ".%u", i);
        check_file(w, name, &next);
    }
    check_file(w, NAME, &next);
    assert_int_equal(next, w->next);
    assert_int_equal(faccessat(w->dir, "." NAME ".part", F_OK, 0), -1);
}

static LogHeader header(const World *w)
{
    LogHeader h;
    int fd = openat(w->dir, "." NAME ".index", O_RDONLY | O_CLOEXEC);
    assert_int_equal(log_header_read(fd, &h), 0);
    close(fd);
    assert_int_equal(h.seq % 2, 0);
    assert_int_equal(h.stage, LOG_STAGE_NONE);
    return h;
}

static int64_t size_of(const World *w, const char *name)
{
    struct stat st;
    return fstatat(w->dir, name, &st, 0) < 0 ? -1 : (int64_t)st.st_size;
}

static void test_many_rotations(void **state)
{
    World *w = *state;
    RotateRequest q = request(w);
    q.keep = LOG_KEEP_MAX;
    int64_t total = 0;
    assert_true(rotate_log(&q) >= 0); /* an empty file */
    for (unsigned i = 0; i < 30; i++) {
        int64_t before = size_of(w, NAME);
        write_lines(w, 1200 + 37 * i);
        total += size_of(w, NAME) - before;
        assert_true(rotate_log(&q) >= 0);
        assert_int_equal(rotated(w), i + 1);
        check_stream(w, 0);
        LogHeader h = header(w);
        assert_int_equal(h.head, total); /* all was whole lines, so all of it is rotated */
        assert_true(size_of(w, NAME) == (int64_t)(h.head - h.base));
    }
    write_lines(w, 10);
    assert_true(rotate_log(&q) >= 0);
    assert_int_equal(rotated(w), 30); /* under the limit */
    check_stream(w, 0);
}

static void test_keep(void **state)
{
    World *w = *state;
    RotateRequest q = request(w);
    for (unsigned i = 0; i < 8; i++) {
        write_lines(w, 2000);
        assert_true(rotate_log(&q) >= 0);
    }
    assert_int_equal(rotated(w), 5);
    check_stream(w, 3 * 2000);
    q.keep = 2; /* fewer are wanted */
    write_lines(w, 2000);
    assert_true(rotate_log(&q) >= 0);
    assert_int_equal(rotated(w), 2);
    check_stream(w, 7 * 2000);
    q.keep = 0;
    write_lines(w, 2000);
    assert_true(rotate_log(&q) >= 0);
    assert_int_equal(rotated(w), 0);
    write_lines(w, 3);
    check_stream(w, 10 * 2000);
    q.limit = UINT64_MAX;
    write_lines(w, 20000);
    assert_true(rotate_log(&q) >= 0);
    check_stream(w, 10 * 2000);
}

/* A line that is not whole stays; one that never ends is cut. */
static void test_lines_are_not_cut(void **state)
{
    World *w = *state;
    RotateRequest q = request(w);
    write_lines(w, 3000);
    assert_int_equal(fd_write_all(w->live, "0000003000 half", 15), 0);
    assert_true(rotate_log(&q) >= 0);
    assert_int_equal(fd_write_all(w->live, " and half\n", 10), 0);
    w->next++;
    write_lines(w, 10);
    check_stream(w, 0);
    static char endless[300 << 10];
    memset(endless, 'x', sizeof endless);
    int64_t before = size_of(w, NAME);
    assert_int_equal(fd_write_all(w->live, endless, sizeof endless), 0);
    uint64_t head = header(w).head;
    q.limit = 200 << 10;
    assert_true(rotate_log(&q) >= 0);
    assert_int_equal(rotated(w), 2);
    assert_true(header(w).head > head + sizeof endless && before > 0);
}

typedef struct KillAt {
    RotateStep step;
} KillAt;

static void kill_at(RotateStep done, void *userdata)
{
    const KillAt *k = userdata;
    if (done == k->step)
        raise(SIGKILL);
}

static void test_killed_at_each_step(void **state)
{
    World *w = *state;
    unsigned reached = 0;
    for (RotateStep s = 0; s < ROTATE_STEP_N; s++)
        for (unsigned again = 0; again < 2; again++) { /* and killed once more while it is mended */
            RotateRequest q = request(w);
            KillAt k = {.step = s};
            q.keep = LOG_KEEP_MAX;
            write_lines(w, 1500);
            for (unsigned i = 0; i <= again; i++) {
                pid_t pid = fork();
                if (pid == 0) {
                    q.step = kill_at;
                    q.userdata = &k;
                    _exit(rotate_log(&q) < 0);
                }
                int status;
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
                reached |= WIFSIGNALED(status) ? 1u << s : 0;
                write_lines(w, 7); /* the module lives */
            }
            assert_true(rotate_log(&q) >= 0);
            check_stream(w, 0);
            (void)header(w);
        }
    unsigned all = (1u << ROTATE_STEP_N) - 1, collapse = 1u << ROTATE_COLLAPSED;
    /* Where holes cannot be taken out that step is never reached. */
    assert_int_equal(reached | collapse, all);
}

static void test_a_writer_goes_on(void **state)
{
    World *w = *state;
    RotateRequest q = request(w);
    int stop[2];
    q.keep = LOG_KEEP_MAX;
    assert_int_equal(pipe2(stop, O_CLOEXEC | O_NONBLOCK), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char c;
        close(stop[1]);
        while (read(stop[0], &c, 1) < 0) /* until the other end is closed */
            write_lines(w, 50);
        write_lines(w, 2); /* so that the last is not alone in the file */
        _exit(fd_write_all(w->live, "end\n", 4) < 0);
    }
    for (unsigned i = 0; i < 40;) {
        unsigned before = rotated(w);
        q.tidy = i % 3 == 0;
        assert_true(rotate_log(&q) >= 0);
        i += rotated(w) - before;
    }
    close(stop[1]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close(stop[0]);
    /* Its last number is not known here, so the end mark is. */
    char *text = NULL;
    size_t size = 0;
    assert_int_equal(file_read_all(w->dir, NAME, 256u << 20, &text, &size), 0);
    assert_true(size >= 4 && memcmp(text + size - 4, "end\n", 4) == 0);
    char *line = size > 5 ? memrchr(text, '\n', size - 5) : NULL;
    if (line)
        w->next = strtoull(line + 1, NULL, 10) + 1;
    free(text);
    struct stat st;
    assert_int_equal(fstat(w->live, &st), 0);
    assert_int_equal(ftruncate(w->live, st.st_size - 4), 0);
    check_stream(w, 0);
}

/* logrotate's copytruncate, and its renaming. */
static void test_others_rotate_too(void **state)
{
    World *w = *state;
    RotateRequest q = request(w);
    write_lines(w, 2000);
    assert_true(rotate_log(&q) >= 0);
    write_lines(w, 100);
    uint64_t first = w->next, seen = (uint64_t)size_of(w, NAME), was = header(w).base + seen;
    assert_int_equal(ftruncate(w->live, 0), 0);
    write_lines(w, 5);
    LogHeader h;
    assert_int_equal(rotate_adopt(w->dir, NAME, seen, &h), 0);
    assert_int_equal(h.base, was);
    assert_int_equal(h.head, was);
    assert_int_equal(rotate_adopt(w->dir, NAME, 1, &h), 0); /* nothing new */
    assert_int_equal(h.base, was);
    uint64_t next = first;
    check_file(w, NAME, &next);
    assert_int_equal(next, w->next);
    write_lines(w, 3000);
    assert_true(rotate_log(&q) >= 0);
    next = first;
    check_file(w, NAME ".1", &next);
    assert_int_equal(next, w->next);
    assert_int_equal(renameat(w->dir, NAME, w->dir, "elsewhere"), 0);
    assert_int_equal(rotate_log(&q), ROTATE_CLEAN); /* no file, nothing to do */
    fd_close(w->live);
    w->live = openat(w->dir, NAME, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    write_lines(w, 3000);
    uint64_t head = h.head;
    assert_true(rotate_log(&q) >= 0);
    assert_true(header(w).head > head);
    check_file(w, NAME ".1", &next);
    assert_int_equal(next, w->next);
    int index = rotate_open_index(w->dir, NAME, false);
    assert_int_equal(pwrite(index, "garbage", 7, 0), 7);
    close(index);
    write_lines(w, 3000);
    assert_true(rotate_log(&q) >= 0);
    check_file(w, NAME ".1", &next);
    assert_int_equal(next, w->next);
}

static void test_a_full_disk(void **state)
{
    World *w = *state;
    RotateRequest q = request(w);
    if (geteuid() != 0 || mount("none", w->path, "tmpfs", 0, "size=2m") < 0) {
        print_message("test_a_full_disk needs a mount: as root\n");
        assert_int_not_equal(geteuid(), 0);
        return;
    }
    int dir = w->dir, live = w->live;
    w->dir = open(w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    w->live = openat(w->dir, NAME, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    q.dir = w->dir;
    q.limit = 1200 << 10;
    while (size_of(w, NAME) < (1200 << 10))
        write_lines(w, 100);
    assert_int_equal(rotate_log(&q), -ENOSPC);
    check_stream(w, 0);
    assert_int_equal(rotated(w), 0);
    write_lines(w, 100);
    assert_int_equal(mount("none", w->path, "tmpfs", MS_REMOUNT, "size=8m"), 0);
    assert_true(rotate_log(&q) >= 0);
    assert_int_equal(rotated(w), 1);
    check_stream(w, 0);
    fd_close(w->live);
    fd_close(w->dir);
    assert_int_equal(umount2(w->path, MNT_DETACH), 0);
    w->dir = dir;
    w->live = live;
}

#define ON(place, test)                                              \
    {                                                                \
#test " on " place, test, set_up, tear_down, (void *)(place) \
    }
#define EVERYWHERE(test) ON("/tmp", test), ON("/dev/shm", test)

int main(void)
{
    const struct CMUnitTest tests[] = {
        EVERYWHERE(test_many_rotations),    EVERYWHERE(test_keep),
        EVERYWHERE(test_lines_are_not_cut), EVERYWHERE(test_killed_at_each_step),
        EVERYWHERE(test_a_writer_goes_on),  EVERYWHERE(test_others_rotate_too),
        ON("/tmp", test_a_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
