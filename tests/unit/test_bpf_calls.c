/* Calls and static probes as work, on the live kernel: this program is the module. What is counted is compared with
 * what it did: calls in calls, calls left by longjmp, by exec, by a kill, in threads and after forks. */
#include "tests/unit/bpf_live.h"

#include <pthread.h>

#define CALLS(n)     ((KernelCall[]){{.path = "/proc/self/exe", .name = n}})
#define USDT(n)      ((KernelCall[]){{.path = "/proc/self/exe", .provider = "bulkhead_test", .name = n}})
#define NEVER_INLINE __attribute__((noinline, noclone, used))

/* The frame is used, before and after what is called from it. */
#define KEEP(frame) __asm__ volatile("" ::"r"(frame) : "memory")

/* --- what is tracked --- */

typedef void (*Within)(void *);

NEVER_INLINE int tracked_call(int depth, Within fn, void *arg);
NEVER_INLINE int tracked_other(int depth, Within fn, void *arg);
NEVER_INLINE int tracked_tail(int depth);

int tracked_call(int depth, Within fn, void *arg)
{
    char frame[64];
    KEEP(frame);
    int r = depth > 0 ? tracked_call(depth - 1, fn, arg) : 0;
    if (depth == 0 && fn)
        fn(arg);
    KEEP(frame);
    return r + 1;
}

int tracked_other(int depth, Within fn, void *arg)
{
    char frame[64];
    KEEP(frame);
    int r = tracked_call(depth, fn, arg);
    KEEP(frame);
    return r + 1;
}

__attribute__((optimize("O2"))) int tracked_tail(int depth)
{
    return depth > 0 ? tracked_call(depth - 1, NULL, NULL) : 0;
}

#define PROBE(name)                                                                                          \
    __asm__ volatile("990: nop\n .pushsection .note.stapsdt,\"\",\"note\"\n .balign 4\n"                     \
                     " .4byte 992f-991f,994f-993f,3\n991: .asciz \"stapsdt\"\n992: .balign 4\n"              \
                     "993: .8byte 990b,0,0\n .asciz \"bulkhead_test\"\n .asciz \"" name "\"\n .asciz \"\"\n" \
                     "994: .balign 4\n .popsection\n" ::                                                     \
                         : "memory")

static NEVER_INLINE void pair(int depth, Within fn, void *arg)
{
    char frame[64];
    PROBE("job__start");
    KEEP(frame);
    if (depth > 0)
        pair(depth - 1, fn, arg);
    else if (fn)
        fn(arg);
    KEEP(frame);
    PROBE("job__done");
}

static jmp_buf back;

static NEVER_INLINE void pair_that_fails(void)
{
    PROBE("deal__begin");
    KEEP(back);
    PROBE("deal__abort");
}

/* --- what a module does --- */

static void leave(void *arg)
{
    (void)arg;
    longjmp(back, 1);
}

static int plain(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++)
        tracked_call(0, NULL, NULL);
    return 0;
}

static int nested(void *arg)
{
    (void)arg;
    for (int i = 0; i < 100; i++)
        tracked_call(i % 20, NULL, NULL);
    for (int i = 0; i < 100; i++)
        tracked_other(i % 5, NULL, NULL);
    return 0;
}

static NEVER_INLINE void deeper(int n)
{
    char frame[256];
    KEEP(frame);
    if (n > 0)
        deeper(n - 1);
    else
        tracked_call(0, NULL, NULL);
    KEEP(frame);
}

/* Each is left, and the next call is made at the same place, further out and further in. */
static int left(void *arg)
{
    (void)arg;
    for (volatile int i = 0; i < 100; i++) {
        if (setjmp(back) == 0)
            tracked_call(i % 7, leave, NULL);
        if (i % 3 == 0)
            tracked_call(0, NULL, NULL);
        else if (i % 3 == 1)
            deeper(4);
    }
    return 0;
}

static int tails(void *arg)
{
    (void)arg;
    for (int i = 0; i < 50; i++)
        tracked_tail(3);
    return 0;
}

static void *many(void *arg)
{
    (void)arg;
    for (int i = 0; i < 500; i++)
        tracked_call(i % 3, NULL, NULL);
    return NULL;
}

static int threads(void *arg)
{
    pthread_t t[8];
    for (size_t i = 0; i < ELEMENTS(t); i++)
        if (pthread_create(&t[i], NULL, many, arg) != 0)
            return 1;
    for (size_t i = 0; i < ELEMENTS(t); i++)
        pthread_join(t[i], NULL);
    return 0;
}

static void sleep_on(void *arg)
{
    (void)arg;
    for (;;)
        pause();
}

static void *caught(void *arg)
{
    tracked_call(2, sleep_on, arg);
    return NULL;
}

static int held(void *arg)
{
    pthread_t t;
    for (int i = 0; i < 4; i++)
        if (pthread_create(&t, NULL, caught, arg) != 0)
            return 1;
    sleep_on(NULL);
    return 0;
}

static void fork_and_return(void *arg)
{
    pid_t *pid = arg;
    *pid = fork();
}

static int forks(void *arg)
{
    (void)arg;
    pid_t pid = 0;
    tracked_call(1, fork_and_return, &pid);
    if (pid == 0)
        _exit(0); /* it has returned as well */
    return waitpid(pid, NULL, 0) == pid ? 0 : 1;
}

static void become_sleep(void *arg)
{
    (void)arg;
    execl("/bin/sleep", "sleep", "1000", (char *)NULL);
    _exit(1);
}

static int execs(void *arg)
{
    tracked_call(1, become_sleep, arg);
    return 1;
}

static int pairs(void *arg)
{
    (void)arg;
    for (volatile int i = 0; i < 100; i++)
        pair(i % 4, NULL, NULL);
    for (volatile int i = 0; i < 10; i++)
        if (setjmp(back) == 0)
            pair(2, leave, NULL);
    return 0;
}

static int failing(void *arg)
{
    (void)arg;
    for (int i = 0; i < 10; i++)
        pair_that_fails();
    return 0;
}

static int nothing(void *arg)
{
    (void)arg;
    return 0;
}

/* --- the tests --- */

static struct work_counters calls(Live *l)
{
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    assert_true(w.calls.in_flight >= 0);
    assert_int_equal(w.total.started, w.calls.started);
    return w.calls;
}

static void run(Live *l, int (*fn)(void *))
{
    int status;
    pid_t pid = child_in(l->leaf, fn, NULL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void assert_counts(Live *l, u64 started, u64 completed, u64 errors)
{
    struct work_counters n = calls(l);
    print_message("started %llu completed %llu errors %llu in flight %lld peak %lld\n", (unsigned long long)n.started,
                  (unsigned long long)n.completed, (unsigned long long)n.errors, (long long)n.in_flight,
                  (long long)n.in_flight_peak);
    assert_int_equal(n.started, started);
    assert_int_equal(n.completed, completed);
    assert_int_equal(n.errors, errors);
    assert_int_equal(n.in_flight, 0);
    assert_int_equal(n.rejected, 0);
}

static int setup(void **state)
{
    if (live_open(state) < 0)
        return -1;
    Live *l = *state;
    const KernelModule m = {.name = "a", .track = WORK_TRACK_CALLS};
    Error e = {0};
    if (l && kernel_module_add(l->kernel, l->a, &m, &e) < 0) {
        print_message("%s\n", error_message(&e));
        return -1;
    }
    return 0;
}

static void track(Live *l, const KernelCall *c)
{
    Error e = {0};
    if (kernel_calls(l->kernel, l->a, c, 1, &e) < 0)
        fail_msg("%s", error_message(&e));
}

static void counts_what_is_called(void **state)
{
    Live *l = live(state);
    track(l, CALLS("tracked_call"));
    run(l, plain);
    assert_counts(l, 1000, 1000, 0);
    assert_int_equal(calls(l).in_flight_peak, 1);
    for (int i = 0; i < 10; i++) /* another cgroup: not its work */
        tracked_call(0, NULL, NULL);
    assert_counts(l, 1000, 1000, 0);
}

static void an_outer_call_holds_the_inner(void **state)
{
    Live *l = live(state);
    const KernelCall both[] = {{.path = "/proc/self/exe", .name = "tracked_call"},
                               {.path = "/proc/self/exe", .name = "tracked_other"}};
    Error e = {0};
    assert_int_equal(kernel_calls(l->kernel, l->a, both, 2, &e), 0);
    run(l, nested);
    assert_counts(l, 200, 200, 0);
}

static void tail_calls(void **state)
{
    Live *l = live(state);
    const KernelCall both[] = {{.path = "/proc/self/exe", .name = "tracked_call"},
                               {.path = "/proc/self/exe", .name = "tracked_tail"}};
    Error e = {0};
    assert_int_equal(kernel_calls(l->kernel, l->a, both, 2, &e), 0);
    run(l, tails);
    assert_counts(l, 50, 50, 0);
}

static void a_call_that_is_left(void **state)
{
    Live *l = live(state);
    track(l, CALLS("tracked_call"));
    run(l, left);
    assert_counts(l, 167, 67, 100);
}

static void in_threads(void **state)
{
    Live *l = live(state);
    track(l, CALLS("tracked_call"));
    run(l, threads);
    assert_counts(l, 4000, 4000, 0);
    assert_in_range(calls(l).in_flight_peak, 1, 8);
}

static void a_kill_in_the_middle(void **state)
{
    Live *l = live(state);
    track(l, CALLS("tracked_call"));
    for (int i = 1; i <= 3; i++) {
        pid_t pid = child_in(l->leaf, held, NULL);
        EVENTUALLY(calls(l).in_flight == 4);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        EVENTUALLY(calls(l).in_flight == 0);
        assert_counts(l, 4 * (u64)i, 0, 4 * (u64)i);
        assert_int_equal(calls(l).in_flight_peak, 4);
    }
}

static void a_fork_in_the_middle(void **state)
{
    Live *l = live(state);
    track(l, CALLS("tracked_call"));
    run(l, forks);
    assert_counts(l, 1, 1, 0);
}

static void another_program_in_the_middle(void **state)
{
    Live *l = live(state);
    track(l, CALLS("tracked_call"));
    pid_t pid = child_in(l->leaf, execs, NULL);
    EVENTUALLY(calls(l).errors == 1);
    assert_counts(l, 1, 0, 1);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void static_probes(void **state)
{
    Live *l = live(state);
    track(l, USDT("job"));
    run(l, pairs);
    assert_counts(l, 110, 100, 10);
    track(l, USDT("deal"));
    run(l, failing);
    assert_counts(l, 120, 100, 20);
}

/* In force from one generation to the next, and no longer. */
static void sites_change(void **state)
{
    Live *l = live(state);
    track(l, CALLS("tracked_other"));
    run(l, plain);
    assert_counts(l, 0, 0, 0);
    track(l, CALLS("tracked_call"));
    run(l, plain);
    assert_counts(l, 1000, 1000, 0);
    Error e = {0};
    assert_int_equal(kernel_calls(l->kernel, l->a, CALLS("tracked_cal"), 1, &e), -ENOENT);
    assert_non_null(strstr(e.msg, "tracked_call"));
    run(l, plain);
    assert_counts(l, 2000, 2000, 0);
    assert_int_equal(kernel_calls(l->kernel, l->a, NULL, 0, NULL), 0);
    run(l, plain);
    assert_counts(l, 2000, 2000, 0);
    assert_int_equal(kernel_calls(l->kernel, l->a, CALLS("tracked_call"), 1, NULL), 0);
    const KernelModule none = {.name = "a"};
    assert_int_equal(kernel_module_add(l->kernel, l->a, &none, NULL), 0);
    run(l, plain);
    assert_int_equal(kernel_calls(l->kernel, l->a, CALLS("tracked_call"), 1, NULL), -EINVAL);
    char path[256];
    snprintf(path, sizeof path, "%s/bulkhead/%s/link_emptied", l->bpffs, INSTANCE);
    assert_int_equal(access(path, F_OK), -1);
}

/* A file written anew is found at its new place; what the old one's probes were on is let go. */
static void a_replaced_file(void **state)
{
    Live *l = live(state);
    char path[] = "/tmp/bh-calls-XXXXXX";
    _cleanup_fd_ int to = mkstemp(path), from = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_true(to >= 0 && from >= 0);
    char buffer[65536];
    for (ssize_t n; (n = read(from, buffer, sizeof buffer)) > 0;)
        assert_int_equal(write(to, buffer, (size_t)n), n);
    Error e = {0};
    const KernelCall c = {.path = path, .name = "tracked_call"};
    assert_int_equal(kernel_calls(l->kernel, l->a, &c, 1, &e), 0);
    assert_int_equal(ftruncate(to, 100), 0);
    assert_true(kernel_calls(l->kernel, l->a, &c, 1, &e) < 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(kernel_calls(l->kernel, l->a, &c, 1, &e), -ENOENT);
    track(l, CALLS("tracked_call"));
    run(l, plain);
    assert_counts(l, 1000, 1000, 0);
    run(l, nothing);
}

static int timed(void *arg)
{
    (void)arg;
    struct timespec a, b;
    enum { N = 20000 };
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (int i = 0; i < N; i++)
        tracked_call(0, NULL, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    printf("a call of the module: %.0f ns\n",
           ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / N);
    fflush(stdout);
    return 0;
}

static void cost(void **state)
{
    Live *l = live(state);
    struct timespec a, b, c;
    enum { N = 20000 };
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
    for (int i = 0; i < N; i++)
        tracked_call(0, NULL, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
    track(l, CALLS("tracked_call"));
    for (int i = 0; i < N; i++)
        tracked_call(0, NULL, NULL);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &c);
    print_message("a call that is nobody's work: %.0f ns, with probes %.0f ns\n",
                  ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / N,
                  ((double)(c.tv_sec - b.tv_sec) * 1e9 + (double)(c.tv_nsec - b.tv_nsec)) / N);
    assert_counts(l, 0, 0, 0);
    run(l, timed);
    assert_counts(l, 20000, 20000, 0);
}

int main(void)
{
#define LIVE(test) cmocka_unit_test_setup_teardown(test, setup, live_close)
    const struct CMUnitTest tests[] = {
        LIVE(counts_what_is_called),
        LIVE(an_outer_call_holds_the_inner),
        LIVE(tail_calls),
        LIVE(a_call_that_is_left),
        LIVE(in_threads),
        LIVE(a_kill_in_the_middle),
        LIVE(a_fork_in_the_middle),
        LIVE(another_program_in_the_middle),
        LIVE(static_probes),
        LIVE(sites_change),
        LIVE(a_replaced_file),
        LIVE(cost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
