/* Who belongs to a box without a cgroup: pure, on made-up processes; and a look at the real ones. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/util.h"
#include "supervisor/run/marks.h"

enum { DAEMON = 10, SESSION = 20, STRANGER = 5 };

static bool found(const Process *p, size_t n, pid_t session, const pid_t *members, size_t n_members)
{
    Process copy[16];
    memcpy(copy, p, n * sizeof *p);
    bool fresh = marks_find(copy, n, session, DAEMON);
    for (size_t i = 0, k = 0; i < n; i++) {
        bool wanted = k < n_members && members[k] == copy[i].pid;
        if (copy[i].member != wanted)
            fail_msg("process %d: member %d, not %d", copy[i].pid, copy[i].member, wanted);
        k += wanted;
    }
    return fresh;
}
#define FOUND(p, session, ...) \
    found(p, ELEMENTS(p), session, (const pid_t[]){__VA_ARGS__}, ELEMENTS(((const pid_t[]){__VA_ARGS__})))

static void test_by_mark_session_and_parent(void **state)
{
    (void)state;
    const Process p[] = {
        {.pid = STRANGER, .parent = 1, .mark = MARK_OURS}, /* inherited it, but is not below us */
        {.pid = DAEMON, .parent = 1},
        {.pid = 20, .parent = DAEMON, .session = SESSION, .mark = MARK_OURS},
        {.pid = 21, .parent = 20, .session = 21, .mark = MARK_OURS}, /* left the session */
        {.pid = 22, .parent = DAEMON, .session = SESSION},           /* wiped its mark */
        {.pid = 23, .parent = 22, .session = 23},                    /* wiped and left: its parent tells */
        {.pid = 24, .parent = 23, .session = 23},                    /* and so on */
        {.pid = 25, .parent = DAEMON, .session = 25},                /* wiped, left, orphaned: nobody's */
        {.pid = 30, .parent = DAEMON, .session = 30, .mark = MARK_OTHER},
        {.pid = 31, .parent = 20, .session = SESSION, .mark = MARK_OTHER}, /* its own mark weighs more */
        {.pid = 40, .parent = STRANGER, .session = SESSION},               /* a session's number used again */
    };
    assert_false(FOUND(p, SESSION, 20, 21, 22, 23, 24));
    assert_false(FOUND(p, 0, 20, 21));
}

static void test_the_dead_hold_nothing(void **state)
{
    (void)state;
    const Process p[] = {
        {.pid = 20, .parent = DAEMON, .session = SESSION, .zombie = true},
        {.pid = 21, .parent = 20, .session = 21, .mark = MARK_OURS}, /* seen before its parent died */
        {.pid = 22, .gone = true},
        {.pid = 23, .parent = 22, .session = 23, .mark = MARK_OURS}, /* the way up is not known: the mark is enough */
        {.pid = 24, .parent = 22, .session = 24},
    };
    assert_false(FOUND(p, SESSION, 21, 23));
}

static void test_new_ones_below_call_for_another_look(void **state)
{
    (void)state;
    const Process stranger[] = {{.pid = STRANGER, .parent = 1, .fresh = true}, {.pid = DAEMON, .parent = 1}};
    assert_false(FOUND(stranger, SESSION, -1));
    const Process zombie[] = {{.pid = 20, .parent = DAEMON, .zombie = true, .fresh = true}};
    assert_true(FOUND(zombie, SESSION, -1));
    const Process gone[] = {{.pid = 20, .gone = true, .fresh = true}};
    assert_true(FOUND(gone, SESSION, -1));
}

static void test_circles_end(void **state)
{
    (void)state;
    const Process p[] = {{.pid = 20, .parent = 21, .mark = MARK_OURS}, {.pid = 21, .parent = 20, .mark = MARK_OURS}};
    assert_false(FOUND(p, SESSION, -1));
    assert_false(marks_find(NULL, 0, SESSION, DAEMON));
}

/* A child of our own that has the mark, one that has not; as root and by way of the owner alike. */
static void test_real_ones(void **state)
{
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid[2];
    for (int i = 0; i < 2; i++) {
        pid[i] = fork();
        if (pid[i] == 0) {
            char name[] = "BULKHEAD_BOX=test/marks", *env[] = {i == 0 ? name : NULL, NULL};
            char *argv[] = {(char *)"sh", (char *)"-c", (char *)"echo; exec sleep 1000", NULL};
            dup2(ready[1], STDOUT_FILENO);
            setsid();
            execve("/bin/sh", argv, env);
            _exit(127);
        }
        char c;
        assert_int_equal(read(ready[0], &c, 1), 1);
    }
    for (int ptrace = 0; ptrace < 2; ptrace++) {
        _cleanup_(freep) pid_t *pids = NULL;
        size_t n = 0;
        assert_int_equal(marks_pids("BULKHEAD_BOX=test/marks", ptrace, 0, &pids, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(pids[0], pid[0]);
        pids[0] = 0;
        n = 0;
        assert_int_equal(marks_pids("BULKHEAD_BOX=test/mark", ptrace, pid[1], &pids, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(pids[0], pid[1]);
    }
    for (int i = 0; i < 2; i++) {
        kill(pid[i], SIGKILL);
        assert_int_equal(waitpid(pid[i], NULL, 0), pid[i]);
        close(ready[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_mark_session_and_parent),
        cmocka_unit_test(test_the_dead_hold_nothing),
        cmocka_unit_test(test_new_ones_below_call_for_another_look),
        cmocka_unit_test(test_circles_end),
        cmocka_unit_test(test_real_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
