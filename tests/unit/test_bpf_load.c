/* Servers and clients that run side by side and say themselves what they have done: under loss, under a closed gate and
 * SIGKILL, under max_in_flight. What the kernel has counted must be what they say, and what a server processed must
 * have been answered.
 *
 * A server is a process with a thread a connection; the listener stays with the test, so a killed server's successor
 * goes on. Both sides count in shared memory. */
#include "tests/unit/bpf_lossy.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#define WORD 8 /* bytes of a request and of an answer */

typedef struct Shared {
    int listener, work_usec;  /* what a request takes */
    unsigned clients, rounds; /* each asks so often; 0 = until `stop` */
    int family;
    _Atomic unsigned processed, answered, cut, active, active_max, ready;
    _Atomic bool stop;
} Shared;

static bool read_word(int fd)
{
    char word[WORD];
    for (size_t have = 0; have < WORD;) {
        ssize_t n = recv(fd, word + have, WORD - have, 0);
        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    return true;
}

static bool write_word(int fd)
{
    static const char word[WORD] = "1234567";
    return send(fd, word, WORD, MSG_NOSIGNAL) == WORD;
}

static Shared *shared; /* one test at a time */

static void *serve_connection(void *arg)
{
    int fd = (int)(intptr_t)arg;
    while (read_word(fd)) {
        unsigned active = ++shared->active, max = shared->active_max;
        while (active > max && !__atomic_compare_exchange_n((unsigned *)&shared->active_max, &max, active, false,
                                                            __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
        }
        nanosleep(&(struct timespec){.tv_nsec = shared->work_usec * 1000L}, NULL);
        shared->processed++;
        shared->active--;
        if (!write_word(fd))
            break;
    }
    close(fd);
    return NULL;
}

static int serve(void *arg)
{
    pthread_attr_t detached;
    (void)arg;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    pthread_attr_init(&detached);
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    for (;;) {
        pthread_t thread;
        int fd = accept4(shared->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && pthread_create(&thread, &detached, serve_connection, (void *)(intptr_t)fd) != 0)
            return 1;
    }
}

static void *ask(void *arg)
{
    int fd = -EBADF, one = 1;
    (void)arg;
    for (unsigned i = 0; shared->rounds ? i < shared->rounds : !shared->stop;) {
        if (fd < 0 && (fd = connect_to(shared->family, port_of(shared->listener))) >= 0)
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (fd >= 0 && write_word(fd) && read_word(fd)) {
            shared->answered++;
            i++;
            continue;
        }
        fd = fd_close(fd);
        shared->cut++;
    }
    fd_close(fd);
    return NULL;
}

static int ask_all(void *arg)
{
    pthread_t threads[64];
    (void)arg;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (unsigned i = 0; i < shared->clients; i++)
        if (pthread_create(&threads[i], NULL, ask, NULL) != 0)
            return 1;
    for (unsigned i = 0; i < shared->clients; i++)
        pthread_join(threads[i], NULL);
    return 0;
}

static void share(int listener, unsigned clients, unsigned rounds, int work_usec)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(shared, MAP_FAILED);
    shared->listener = listener;
    shared->clients = clients;
    shared->rounds = rounds;
    shared->work_usec = work_usec;
    shared->family = AF_INET;
}

static void unshare_all(void)
{
    close(shared->listener);
    munmap(shared, sizeof *shared);
}

static void kill_child(pid_t pid)
{
    kill(pid, SIGKILL);
    wait_child(pid);
}

/* --- loss ------------------------------------------------------------------------------------------------------------
 */

static void test_retransmits_count_nothing(void **state)
{
    Live *l = live(state);
    _cleanup_fd_ int loss = -EBADF;
    int home = net_enter_lossy(&loss);
    track(l, WORK_TRACK_REQUESTS | WORK_TRACK_CONNECTIONS, 0);
    share(listener_in_leaf(l, AF_INET), 16, 12, 1000);
    pid_t server = child_in("", serve, NULL), clients = child_in("", ask_all, NULL);
    assert_int_equal(wait_child(clients), 0);
    /* Lost FINs take their time. */
    EVENTUALLY(requests(l).in_flight == 0);
    struct work_counters n = requests(l);
    print_message("retransmitted under loss: %u requests processed, %u connections given up\n", shared->processed,
                  shared->cut);
    assert_int_equal(n.started, shared->processed);
    assert_int_equal(n.completed + n.errors, n.started);
    assert_int_equal(shared->answered, 16 * 12);
    assert_in_range(n.in_flight_peak, 1, 16);
    kill_child(server);
    EVENTUALLY(counts(l).in_flight == 0 && requests(l).in_flight == 0);
    unshare_all();
    net_leave(home);
}

/* --- the gate and SIGKILL --------------------------------------------------------------------------------------------
 */

static bool drained(Live *l)
{
    KernelTruth t = truth(l);
    return requests(l).in_flight == 0 && t.busy + t.unread + t.unsent + t.unacked + t.not_accepted == 0;
}

static void test_drained_and_killed_owes_no_answer(void **state)
{
    Live *l = live(state);
    share(listener_in_leaf(l, AF_INET), 24, 0, 5000);
    pid_t clients = child_in("", ask_all, NULL);
    for (unsigned round = 0; round < 5; round++) {
        pid_t server = child_in("", serve, NULL);
        unsigned before = shared->processed;
        EVENTUALLY(shared->processed >= before + 100);
        assert_int_equal(kernel_gate(l->kernel, l->a, true), 0);
        EVENTUALLY(drained(l));
        kill_child(server);
        /* Clients hear of it (an end of file where they waited) but nothing that was processed went unanswered. */
        EVENTUALLY(shared->processed == shared->answered);
        assert_int_equal(kernel_gate(l->kernel, l->a, false), 0);
    }
    assert_true(shared->cut > 0);
    shared->stop = true;
    pid_t server = child_in("", serve, NULL);
    assert_int_equal(wait_child(clients), 0);
    EVENTUALLY(requests(l).in_flight == 0);
    assert_int_equal(requests(l).errors, 0);
    assert_int_equal(requests(l).started, shared->processed);
    kill_child(server);
    unshare_all();
}

static void test_killed_at_work_leaks_nothing(void **state)
{
    Live *l = live(state);
    track(l, WORK_TRACK_REQUESTS | WORK_TRACK_CONNECTIONS, 0);
    share(listener_in_leaf(l, AF_INET), 24, 0, 5000);
    pid_t clients = child_in("", ask_all, NULL);
    for (unsigned round = 0; round < 5; round++) {
        pid_t server = child_in("", serve, NULL);
        unsigned before = shared->processed;
        EVENTUALLY(shared->processed >= before + 50);
        kill_child(server);
    }
    kill_child(clients);
    close(shared->listener);
    shared->listener = -EBADF;
    EVENTUALLY(requests(l).in_flight == 0 && counts(l).in_flight == 0);
    struct work_counters n = requests(l);
    assert_int_equal(n.completed + n.errors, n.started);
    assert_true(n.errors > 0 && n.started >= shared->processed);
    assert_in_range(n.in_flight_peak, 1, 24);
    munmap(shared, sizeof *shared);
}

/* --- max_in_flight ---------------------------------------------------------------------------------------------------
 */

static void test_the_server_never_sees_more(void **state)
{
    Live *l = live(state);
    track(l, WORK_TRACK_REQUESTS, 4);
    share(listener_in_leaf(l, AF_INET), 32, 10, 2000);
    pid_t server = child_in("", serve, NULL), clients = child_in("", ask_all, NULL);
    assert_int_equal(wait_child(clients), 0);
    assert_int_equal(shared->answered, 32 * 10);
    assert_int_equal(shared->cut, 0);
    assert_in_range(shared->active_max, 1, 4);
    assert_in_range(requests(l).in_flight_peak, 1, 4);
    assert_int_equal(requests(l).started, 32 * 10);
    assert_true(requests(l).rejected > 0);
    kill_child(server);
    unshare_all();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, live_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_retransmits_count_nothing),
        TEST(test_drained_and_killed_owes_no_answer),
        TEST(test_killed_at_work_leaks_nothing),
        TEST(test_the_server_never_sees_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
