/* <bulkhead/work.h> from the program's side: what is counted, by threads and processes at once, and what is left when
 * one of them forks, executes another program or is killed. Built a second time with ThreadSanitizer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "base/util.h"
#include "tests/unit/work_page.h"

/* In children: cmocka's asserts would carry the runner on in there. */
#define MUST(x)                                                             \
    do {                                                                    \
        if (!(x)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
            _exit(1);                                                       \
        }                                                                   \
    } while (0)

/* Shared by the processes of a test. */
typedef struct Meeting {
    pthread_barrier_t barrier;
    int pipe[2];
} Meeting;

static Meeting *meeting;

static void meet(unsigned n)
{
    pthread_barrierattr_t a;
    pthread_barrierattr_init(&a);
    pthread_barrierattr_setpshared(&a, PTHREAD_PROCESS_SHARED);
    assert_int_equal(pthread_barrier_init(&meeting->barrier, &a, n), 0);
    pthread_barrierattr_destroy(&a);
}

static int group_setup(void **state)
{
    meeting = mmap(NULL, sizeof *meeting, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(meeting, MAP_FAILED);
    return work_page_make(state);
}

static int group_teardown(void **state)
{
    munmap(meeting, sizeof *meeting);
    return work_page_remove(state);
}

static WorkPage *w_of(void **state)
{
    return *state;
}

/* --- one process --- */

static void does_nothing(WorkPage *w)
{
    (void)w;
    MUST(!bulkhead_work_open());
    errno = ENOTTY;
    bulkhead_work_begin();
    MUST(bulkhead_work_try_begin());
    MUST(!bulkhead_work_draining());
    MUST(bulkhead_work_clock() == 0);
    bulkhead_work_end(true);
    bulkhead_work_end_since(0, false);
    bulkhead_work_heartbeat();
    MUST(errno == ENOTTY);
}

static void test_without_a_supervisor(void **state)
{
    WorkPage *w = w_of(state);
    uint64_t magic = w->page->magic;
    unsetenv(BULKHEAD_WORK_VARIABLE);
    work_run(w, does_nothing);
    setenv(BULKHEAD_WORK_VARIABLE, "", 1);
    work_run(w, does_nothing);
    setenv(BULKHEAD_WORK_VARIABLE, "/nowhere/page", 1);
    work_run(w, does_nothing);
    setenv(BULKHEAD_WORK_VARIABLE, "/dev/null", 1);
    work_run(w, does_nothing);
    setenv(BULKHEAD_WORK_VARIABLE, w->path, 1);
    w->page->magic = 1;
    work_run(w, does_nothing);
    w->page->magic = magic;
    w->control->version = BULKHEAD_WORK_VERSION + 1;
    work_run(w, does_nothing);
    assert_int_equal(work_sum(w).owned, 0);
}

static void counts(WorkPage *w)
{
    MUST(bulkhead_work_open());
    errno = ENOTTY;
    for (int i = 0; i < 5; i++)
        bulkhead_work_begin();
    MUST(work_sum(w).started == 5 && w->page->in_flight == 5);
    bulkhead_work_end(true);
    bulkhead_work_end(true);
    bulkhead_work_end(false);
    MUST(work_sum(w).completed == 2 && work_sum(w).errors == 1 && w->page->in_flight == 2);
    bulkhead_work_end(true);
    bulkhead_work_end(true);
    MUST(w->page->in_flight == 0 && w->page->peak == 5 && errno == ENOTTY);
    MUST(work_sum(w).owned == 1);
}

static void test_counts(void **state)
{
    work_run(w_of(state), counts);
}

static void beats(WorkPage *w)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t before = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
    bulkhead_work_heartbeat();
    clock_gettime(CLOCK_MONOTONIC, &t);
    uint64_t after = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
    MUST(w->page->slots[1].heartbeat_nsec >= before && w->page->slots[1].heartbeat_nsec <= after);
}

static void test_heartbeat(void **state)
{
    work_run(w_of(state), beats);
}

static uint64_t since(uint64_t usec)
{
    return bulkhead_work_clock() - usec * 1000;
}

static void takes_time(WorkPage *w)
{
    const struct bulkhead_work_slot *s = &w->page->slots[1];
    for (int i = 0; i < 5; i++)
        bulkhead_work_begin();
    bulkhead_work_end_since(since(UINT64_C(1) << 15), true);
    bulkhead_work_end_since(since(UINT64_C(1) << 23), false);
    bulkhead_work_end_since(bulkhead_work_clock() + 1000000000, true); /* a clock of its own making */
    bulkhead_work_end_since(0, true);                                  /* not known: not counted among them */
    bulkhead_work_end(true);
    MUST(s->latency[15] + s->latency[16] + s->latency[17] == 1); /* a slow machine adds to it */
    MUST(s->latency[23] == 1 && s->latency[0] == 1);
    MUST(s->total_usec >= (UINT64_C(1) << 23) + (UINT64_C(1) << 15));
    MUST(s->completed == 4 && s->errors == 1 && w->page->in_flight == 0);
}

static void test_latency(void **state)
{
    work_run(w_of(state), takes_time);
}

/* --- draining, the limit --- */

static void drains(WorkPage *w)
{
    MUST(!bulkhead_work_draining());
    MUST(bulkhead_work_try_begin());
    w->control->draining = 1;
    MUST(bulkhead_work_draining());
    MUST(!bulkhead_work_try_begin());
    bulkhead_work_begin(); /* nobody can refuse that one */
    MUST(work_sum(w).rejected == 1 && work_sum(w).started == 2 && w->page->in_flight == 2);
    w->control->draining = 0;
    MUST(!bulkhead_work_draining() && bulkhead_work_try_begin());
    MUST(w->page->peak == 3);
}

static void test_draining(void **state)
{
    work_run(w_of(state), drains);
}

static void fills(WorkPage *w)
{
    w->control->max_in_flight = 3;
    MUST(bulkhead_work_try_begin() && bulkhead_work_try_begin() && bulkhead_work_try_begin());
    MUST(!bulkhead_work_try_begin() && !bulkhead_work_try_begin());
    bulkhead_work_end(true);
    MUST(bulkhead_work_try_begin() && !bulkhead_work_try_begin());
    MUST(work_sum(w).rejected == 3 && work_sum(w).started == 4 && w->page->peak == 3);
    bulkhead_work_begin();
    MUST(w->page->in_flight == 4 && w->page->peak == 4);
}

static void test_limit(void **state)
{
    work_run(w_of(state), fills);
}

enum { CROWD_PROCESSES = 10, CROWD_THREADS = 100, CROWD_LIMIT = 50 };

static int inside, most; /* of one process */

static void *pushes(void *userdata)
{
    (void)userdata;
    for (int i = 0; i < 200; i++) {
        if (!bulkhead_work_try_begin())
            continue;
        int n = __atomic_add_fetch(&inside, 1, __ATOMIC_SEQ_CST), m = __atomic_load_n(&most, __ATOMIC_RELAXED);
        while (n > m && !__atomic_compare_exchange_n(&most, &m, n, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            ;
        sched_yield();
        __atomic_sub_fetch(&inside, 1, __ATOMIC_SEQ_CST);
        bulkhead_work_end(true);
    }
    return NULL;
}

static void threads(int n, void *(*fn)(void *))
{
    pthread_t thread[CROWD_THREADS];
    for (int i = 0; i < n; i++)
        MUST(pthread_create(&thread[i], NULL, fn, NULL) == 0);
    for (int i = 0; i < n; i++)
        MUST(pthread_join(thread[i], NULL) == 0);
}

static void crowd(WorkPage *w)
{
    threads(CROWD_THREADS, pushes);
    MUST(most <= CROWD_LIMIT);
    MUST(work_sum(w).completed > 0);
}

static void test_limit_under_a_crowd(void **state)
{
    WorkPage *w = w_of(state);
    w->control->max_in_flight = CROWD_LIMIT;
    pid_t pid[4];
    for (size_t i = 0; i < ELEMENTS(pid); i++)
        pid[i] = work_process(w, crowd);
    for (size_t i = 0; i < ELEMENTS(pid); i++)
        assert_int_equal(work_wait(pid[i]), 0);
    WorkSum s = work_sum(w);
    assert_true(s.started == s.completed && s.errors == 0);
    assert_true(s.started + s.rejected == ELEMENTS(pid) * CROWD_THREADS * 200);
    assert_true(w->page->in_flight == 0 && w->page->peak <= CROWD_LIMIT && w->page->peak > 0);
}

/* --- many at once --- */

static void *holds(void *userdata)
{
    (void)userdata;
    bulkhead_work_begin();
    pthread_barrier_wait(&meeting->barrier); /* all have begun */
    pthread_barrier_wait(&meeting->barrier); /* the test has looked */
    bulkhead_work_end(true);
    return NULL;
}

static void hold_all(WorkPage *w)
{
    (void)w;
    threads(CROWD_THREADS, holds);
}

static void test_a_thousand_at_once(void **state)
{
    WorkPage *w = w_of(state);
    pid_t pid[CROWD_PROCESSES];
    meet(CROWD_PROCESSES * CROWD_THREADS + 1);
    for (int i = 0; i < CROWD_PROCESSES; i++)
        pid[i] = work_process(w, hold_all);
    pthread_barrier_wait(&meeting->barrier);
    WorkSum s = work_sum(w);
    assert_int_equal(s.started, 1000);
    assert_int_equal(s.completed + s.errors, 0);
    assert_int_equal(s.owned, CROWD_PROCESSES);
    assert_int_equal(w->page->in_flight, 1000);
    assert_int_equal(w->page->peak, 1000);
    pthread_barrier_wait(&meeting->barrier);
    for (int i = 0; i < CROWD_PROCESSES; i++)
        assert_int_equal(work_wait(pid[i]), 0);
    assert_int_equal(work_sum(w).completed, 1000);
    assert_int_equal(w->page->in_flight, 0);
    assert_int_equal(w->page->peak, 1000);
}

enum { HAMMER_PROCESSES = 8, HAMMER_THREADS = 8, HAMMER_TIMES = 20000 };

static void *hammer(void *userdata)
{
    (void)userdata;
    for (int i = 0; i < HAMMER_TIMES; i++) {
        bulkhead_work_begin();
        bulkhead_work_end(i % 10 != 0);
    }
    return NULL;
}

static void hammer_all(WorkPage *w)
{
    (void)w;
    threads(HAMMER_THREADS, hammer);
}

static void test_nothing_is_lost_between_threads_and_processes(void **state)
{
    WorkPage *w = w_of(state);
    pid_t pid[HAMMER_PROCESSES];
    const uint64_t all = (uint64_t)HAMMER_PROCESSES * HAMMER_THREADS * HAMMER_TIMES;
    for (int i = 0; i < HAMMER_PROCESSES; i++)
        pid[i] = work_process(w, hammer_all);
    for (int i = 0; i < HAMMER_PROCESSES; i++)
        assert_int_equal(work_wait(pid[i]), 0);
    WorkSum s = work_sum(w);
    assert_true(s.started == all && s.errors == all / 10 && s.completed == all - all / 10);
    assert_true(w->page->in_flight == 0);
    assert_true(w->page->peak >= 1 && w->page->peak <= HAMMER_PROCESSES * HAMMER_THREADS);
}

/* More processes than slots: they share slot 0. */
static void many(WorkPage *w)
{
    (void)w;
    bulkhead_work_begin();
    pthread_barrier_wait(&meeting->barrier);
    pthread_barrier_wait(&meeting->barrier);
    bulkhead_work_end(true);
}

static void test_more_processes_than_slots(void **state)
{
    enum { N = 150 };
    WorkPage *w = w_of(state);
    pid_t pid[N];
    meet(N + 1);
    for (int i = 0; i < N; i++)
        pid[i] = work_process(w, many);
    pthread_barrier_wait(&meeting->barrier);
    assert_int_equal(work_sum(w).owned, BULKHEAD_WORK_FIRST_LOCKED - 1);
    assert_int_equal(w->page->slots[0].started, N - (BULKHEAD_WORK_FIRST_LOCKED - 1));
    assert_int_equal(work_sum(w).started, N);
    assert_int_equal(w->page->peak, N);
    for (int i = BULKHEAD_WORK_FIRST_LOCKED; i < BULKHEAD_WORK_SLOTS; i++)
        assert_true(w->page->slots[i].owner == 0); /* Python's */
    pthread_barrier_wait(&meeting->barrier);
    for (int i = 0; i < N; i++)
        assert_int_equal(work_wait(pid[i]), 0);
    assert_int_equal(work_sum(w).completed, N);
    assert_int_equal(w->page->in_flight, 0);
}

/* --- threads, fork, exec, death --- */

static void *begins(void *userdata)
{
    (void)userdata;
    bulkhead_work_begin();
    return NULL;
}

/* A thread's work outlives it: another one ends it. */
static void thread_exits(WorkPage *w)
{
    threads(3, begins);
    MUST(work_sum(w).started == 3 && work_sum(w).owned == 1);
    for (int i = 0; i < 3; i++)
        bulkhead_work_end(true);
    MUST(work_sum(w).completed == 3 && w->page->in_flight == 0);
}

static void test_thread_exit(void **state)
{
    work_run(w_of(state), thread_exits);
}

static void in_child(WorkPage *w)
{
    bulkhead_work_begin();
    MUST(w->page->slots[2].started == 1 && w->page->slots[1].started == 2);
    MUST((pid_t)(w->page->slots[2].owner & ((1u << BULKHEAD_WORK_PID_BITS) - 1)) == getpid());
    bulkhead_work_end(true);
}

static void forks(WorkPage *w)
{
    bulkhead_work_begin();
    bulkhead_work_begin();
    pid_t pid = fork();
    if (pid == 0) {
        in_child(w);
        _exit(0);
    }
    MUST(work_wait(pid) == 0);
    bulkhead_work_end(true);
    bulkhead_work_end(true);
    MUST(w->page->slots[1].completed == 2 && w->page->slots[2].completed == 1 && w->page->in_flight == 0);
}

static void test_fork(void **state)
{
    work_run(w_of(state), forks);
}

static char *self;

static void executes(WorkPage *w)
{
    (void)w;
    bulkhead_work_begin();
    bulkhead_work_begin();
    setenv("BULKHEAD_TEST_ROLE", "executed", 1);
    execl(self, self, (char *)NULL);
    _exit(2);
}

/* The program after exec; the page is all that it has of the one before. */
static int executed(void)
{
    bulkhead_work_begin();
    bulkhead_work_end(true);
    bulkhead_work_begin();
    return 0;
}

static void test_exec(void **state)
{
    WorkPage *w = w_of(state);
    work_run(w, executes);
    WorkSum s = work_sum(w);
    assert_int_equal(s.started, 4);
    assert_int_equal(s.completed, 1);
    assert_int_equal(s.errors, 2); /* of before the exec; the last one is its successor's to find */
    assert_int_equal(w->page->in_flight, 1);
}

/* Opened first: of threads that all come first the one looks for the dead while others begin beside them. */
static void dies(WorkPage *w)
{
    (void)w;
    bulkhead_work_open();
    threads(5, begins);
    raise(SIGKILL);
}

static void one(WorkPage *w)
{
    (void)w;
    bulkhead_work_begin();
    bulkhead_work_end(true);
}

static void test_killed_in_the_middle(void **state)
{
    WorkPage *w = w_of(state);
    for (int i = 0; i < 3; i++)
        assert_true(WIFSIGNALED(work_wait(work_process(w, dies))));
    /* The second and third found the dead one before them. */
    assert_int_equal(work_sum(w).owned, 1);
    assert_int_equal(work_sum(w).errors, 10);
    assert_int_equal(w->page->in_flight, 5);
    work_run(w, one);
    WorkSum s = work_sum(w);
    assert_true(s.started == 16 && s.completed == 1 && s.errors == 15);
    assert_int_equal(w->page->in_flight, 0);
    assert_int_equal(w->page->peak, 5);
}

static void finds_a_slot_in_repair(WorkPage *w)
{
    struct bulkhead_work_slot *slot = &w->page->slots[5];
    slot->started = 3;
    w->page->in_flight = 3;
    slot->owner = BULKHEAD_WORK_REPAIRING | UINT64_C(1) << BULKHEAD_WORK_PID_BITS | (uint64_t)getpid();
    one(w);
    MUST(slot->errors == 0 && w->page->in_flight == 3);
    raise(SIGKILL);
}

/* What another thread of the same process puts right is not put right twice; what one of the dead did is finished. */
static void test_a_slot_is_repaired_once(void **state)
{
    WorkPage *w = w_of(state);
    assert_true(WIFSIGNALED(work_wait(work_process(w, finds_a_slot_in_repair))));
    work_run(w, one);
    assert_int_equal(w->page->slots[5].errors, 3);
    assert_int_equal(w->page->slots[5].owner, 0);
    assert_int_equal(w->page->in_flight, 0);
}

static void is_killed(WorkPage *w)
{
    (void)w;
    threads(HAMMER_THREADS, hammer);
}

/* At any instruction: what the page shows afterwards always adds up. */
static void test_killed_anywhere(void **state)
{
    WorkPage *w = w_of(state);
    for (int i = 0; i < 50; i++) {
        uint64_t begun = work_sum(w).started;
        pid_t pid = work_process(w, is_killed);
        while (work_sum(w).started < begun + (uint64_t)i)
            sched_yield();
        kill(pid, SIGKILL);
        work_wait(pid);
    }
    work_run(w, one);
    WorkSum s = work_sum(w);
    assert_true(s.started == s.completed + s.errors);
    assert_int_equal(s.owned, 1);
    /* One too low for each kill between two adds, never too high: no permit is lost. */
    assert_true(w->page->in_flight <= 0 && w->page->in_flight >= -50 * HAMMER_THREADS);
}

static void full(WorkPage *w)
{
    (void)w;
    MUST(bulkhead_work_try_begin());
}

/* Who died with all permits does not keep them: the next one to ask gets them. */
static void waits_for_permits(WorkPage *w)
{
    MUST(bulkhead_work_open());
    pthread_barrier_wait(&meeting->barrier); /* the other one dies now */
    char c;
    MUST(read(meeting->pipe[0], &c, 1) == 1);
    MUST(bulkhead_work_try_begin());
    MUST(w->page->in_flight == 1);
}

static void takes_all(WorkPage *w)
{
    for (int i = 0; i < 3; i++)
        full(w);
    pthread_barrier_wait(&meeting->barrier);
    raise(SIGKILL);
}

static void test_permits_of_the_dead(void **state)
{
    WorkPage *w = w_of(state);
    w->control->max_in_flight = 3;
    meet(2);
    assert_int_equal(pipe(meeting->pipe), 0);
    pid_t patient = work_process(w, waits_for_permits), dead = work_process(w, takes_all);
    assert_true(WIFSIGNALED(work_wait(dead)));
    assert_int_equal(write(meeting->pipe[1], "x", 1), 1);
    assert_int_equal(work_wait(patient), 0);
    assert_int_equal(work_sum(w).errors, 3);
    close(meeting->pipe[0]);
    close(meeting->pipe[1]);
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *role = getenv("BULKHEAD_TEST_ROLE");
    if (role && strcmp(role, "executed") == 0)
        return executed();
    self = argv[0];
#define T(f) cmocka_unit_test_setup_teardown(f, group_setup, group_teardown)
    const struct CMUnitTest tests[] = {
        T(test_without_a_supervisor),
        T(test_counts),
        T(test_heartbeat),
        T(test_latency),
        T(test_draining),
        T(test_limit),
        T(test_limit_under_a_crowd),
        T(test_a_thousand_at_once),
        T(test_nothing_is_lost_between_threads_and_processes),
        T(test_more_processes_than_slots),
        T(test_thread_exit),
        T(test_fork),
        T(test_exec),
        T(test_killed_in_the_middle),
        T(test_a_slot_is_repaired_once),
        T(test_killed_anywhere),
        T(test_permits_of_the_dead),
    };
#undef T
    return cmocka_run_group_tests(tests, NULL, NULL);
}
