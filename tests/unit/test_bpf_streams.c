/* Exchanges on unix streams and writes in progress, on the live kernel: what is counted is what was done. */
#include "tests/unit/bpf_live.h"

#include <sys/un.h>
#include <sys/utsname.h>

static struct work_entry entry(Live *l)
{
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    assert_true(w.unix_streams.in_flight >= 0 && w.writes.in_flight >= 0 && w.total.in_flight >= 0);
    return w;
}

/* False on a kernel that is known to be too old; on another one that is a failure. */
static bool tracked(Live *l, uint32_t track)
{
    const KernelModule m = {.name = "a", .track = track};
    Error e = {0};
    int r = kernel_module_add(l->kernel, l->a, &m, &e);
    if (r == -ENOTSUP) {
        struct utsname kernel;
        char *dot = NULL;
        assert_non_null(strstr(e.msg, "Linux 6.2"));
        assert_int_equal(uname(&kernel), 0);
        unsigned long major = strtoul(kernel.release, &dot, 10), minor = strtoul(dot + 1, NULL, 10);
        assert_true(major < 6 || (major == 6 && minor < 2));
        print_message("not here: %s has no tp_btf/sock_recv_length\n", kernel.release);
        return false;
    }
    if (r < 0)
        fail_msg("%s", error_message(&e));
    return true;
}

/* --- unix --- */

typedef struct Server {
    struct sockaddr_un address;
    int pid;
} Server;

/* Answers each message but "silence" with itself in two writes, after the end of the stream with "bye"; "close": it
 * hangs up. */
static int serve(void *arg)
{
    const Server *s = arg;
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(listener, (const struct sockaddr *)&s->address, sizeof s->address) < 0 || listen(listener, 8) < 0)
        return 1;
    for (;;) {
        int c = accept(listener, NULL, NULL);
        char message[64];
        ssize_t n;
        while ((n = read(c, message, sizeof message)) > 0) {
            if (n == 7)
                continue;
            if (n == 5)
                break;
            if (write(c, message, 1) != 1 || (n > 1 && write(c, message + 1, (size_t)n - 1) != n - 1))
                return 1;
        }
        if (n == 0)
            (void)send(c, "bye", 3, MSG_NOSIGNAL);
        close(c);
    }
}

static Server server(const Live *l)
{
    Server s = {.address.sun_family = AF_UNIX};
    /* An abstract name, which goes with the process. */
    snprintf(s.address.sun_path + 1, sizeof s.address.sun_path - 1, "bh-t%d", getpid());
    s.pid = child_in(l->leaf, serve, &s);
    return s;
}

static int client(const Server *s)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EVENTUALLY(connect(fd, (const struct sockaddr *)&s->address, sizeof s->address) == 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

static void hear(int fd, const char *text)
{
    char got[64];
    size_t n = 0;
    while (n < strlen(text)) {
        ssize_t r = read(fd, got + n, strlen(text) - n);
        assert_true(r > 0);
        n += (size_t)r;
    }
    assert_memory_equal(got, text, n);
}

static void end(const Server *s)
{
    assert_int_equal(kill(s->pid, SIGKILL), 0);
    assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
}

static void exchanges(void **state)
{
    Live *l = live(state);
    if (!tracked(l, WORK_TRACK_UNIX))
        skip();
    Server s = server(l);
    int fd = client(&s);
    assert_int_equal(entry(l).unix_streams.started, 0);
    for (u64 i = 1; i <= 200; i++) {
        say(fd, "ping");
        hear(fd, "ping");
        EVENTUALLY(entry(l).unix_streams.in_flight == 0);
        assert_int_equal(entry(l).unix_streams.started, i);
        assert_int_equal(entry(l).unix_streams.completed, i);
    }
    assert_true(entry(l).stream_tx_nsec > 0);
    say(fd, "silence");
    EVENTUALLY(entry(l).unix_streams.in_flight == 1);
    say(fd, "pong");
    hear(fd, "pong");
    EVENTUALLY(entry(l).unix_streams.in_flight == 0);
    assert_int_equal(entry(l).unix_streams.started, 201);
    /* Who has said all waits for the answer. */
    say(fd, "silence");
    EVENTUALLY(entry(l).unix_streams.in_flight == 1);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    hear(fd, "bye");
    EVENTUALLY(entry(l).unix_streams.completed == 202);
    assert_int_equal(entry(l).unix_streams.in_flight, 0);
    close(fd);
    /* Who has gone does not. */
    fd = client(&s);
    say(fd, "silence");
    EVENTUALLY(entry(l).unix_streams.in_flight == 1);
    close(fd);
    EVENTUALLY(entry(l).unix_streams.errors == 1);
    assert_int_equal(entry(l).unix_streams.in_flight, 0);
    assert_int_equal(entry(l).unix_streams.in_flight_peak, 1);
    end(&s);
}

/* Hung up on without an answer, and by who had gone before that: nobody sees it, until it is looked at. */
static void streams_that_are_gone(void **state)
{
    Live *l = live(state);
    if (!tracked(l, WORK_TRACK_UNIX | WORK_TRACK_CALLS))
        skip();
    Server s = server(l);
    KernelTruth t;
    Error e = {0};
    for (int i = 0; i < 5; i++) {
        int fd = client(&s);
        char byte;
        say(fd, "close");
        assert_int_equal(read(fd, &byte, 1), 0);
        assert_int_equal(entry(l).unix_streams.in_flight, 1);
        if (i % 2)
            close(fd);
        if (kernel_truth(l->kernel, l->a, &t, &e) < 0)
            fail_msg("%s", error_message(&e));
        assert_int_equal(entry(l).unix_streams.in_flight, 0);
        assert_int_equal(entry(l).unix_streams.errors, i + 1);
        if (i % 2 == 0)
            close(fd);
    }
    /* One that lives stays. */
    int fd = client(&s);
    say(fd, "silence");
    EVENTUALLY(entry(l).unix_streams.in_flight == 1);
    assert_int_equal(kernel_truth(l->kernel, l->a, &t, &e), 0);
    assert_int_equal(entry(l).unix_streams.in_flight, 1);
    say(fd, "more");
    hear(fd, "more");
    EVENTUALLY(entry(l).unix_streams.in_flight == 0);
    assert_int_equal(entry(l).unix_streams.completed, 1);
    assert_int_equal(entry(l).unix_streams.errors, 5);
    assert_int_equal(kernel_truth(l->kernel, l->a, &t, &e), 0);
    assert_int_equal(t.last_tx_nsec, entry(l).stream_tx_nsec);
    close(fd);
    end(&s);
}

static void a_kill_in_an_exchange(void **state)
{
    Live *l = live(state);
    if (!tracked(l, WORK_TRACK_UNIX | WORK_TRACK_CALLS))
        skip();
    for (u64 i = 1; i <= 3; i++) {
        Server s = server(l);
        int fd = client(&s);
        say(fd, "silence");
        EVENTUALLY(entry(l).unix_streams.in_flight == 1);
        assert_int_equal(entry(l).total.in_flight, 1);
        end(&s);
        EVENTUALLY(entry(l).unix_streams.in_flight == 0);
        assert_int_equal(entry(l).unix_streams.errors, i);
        assert_int_equal(entry(l).total.in_flight_peak, 1);
        close(fd);
    }
}

/* --- writes --- */

enum { WRITES = 50, SYNCS = 5 };

static int writer(void *arg)
{
    const char *path = arg;
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600),
        null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int tube[2];
    if (file < 0 || null < 0 || pipe(tube) < 0)
        return 1;
    for (int i = 0; i < WRITES; i++)
        if (write(file, "x", 1) != 1 || write(null, "x", 1) != 1 || write(tube[1], "x", 1) != 1)
            return 1;
    for (int i = 0; i < SYNCS; i++)
        if (fsync(file) < 0)
            return 1;
    int reader = open(path, O_RDONLY | O_CLOEXEC);
    return write(reader, "x", 1) == -1 ? 0 : 1;
}

static void writes(void **state)
{
    Live *l = live(state);
    char path[64];
    int status;
    snprintf(path, sizeof path, "/tmp/bh-t%d-written", getpid());
    assert_true(tracked(l, WORK_TRACK_WRITES));
    pid_t pid = child_in(l->leaf, writer, path);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(unlink(path), 0);
    struct work_counters n = entry(l).writes;
    assert_int_equal(n.started, WRITES + SYNCS + 1);
    assert_int_equal(n.completed, WRITES + SYNCS);
    assert_int_equal(n.errors, 1);
    assert_int_equal(n.in_flight, 0);
    assert_int_equal(n.in_flight_peak, 1);
}

/* Attached for as long as somebody asks. */
static void nothing_is_left(void **state)
{
    Live *l = live(state);
    char path[256];
    snprintf(path, sizeof path, "%s/bulkhead/%s/link_write_begin", l->bpffs, INSTANCE);
    assert_int_equal(access(path, F_OK), -1);
    assert_true(tracked(l, WORK_TRACK_WRITES));
    assert_int_equal(access(path, F_OK), 0);
    assert_true(tracked(l, WORK_TRACK_CONNECTIONS));
    assert_int_equal(access(path, F_OK), -1);
    assert_true(tracked(l, WORK_TRACK_WRITES));
    assert_int_equal(access(path, F_OK), 0);
    assert_int_equal(kernel_module_remove(l->kernel, l->a), 0);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
#define LIVE(test) cmocka_unit_test_setup_teardown(test, live_open, live_close)
    const struct CMUnitTest tests[] = {LIVE(exchanges), LIVE(streams_that_are_gone), LIVE(a_kill_in_an_exchange),
                                       LIVE(writes), LIVE(nothing_is_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
