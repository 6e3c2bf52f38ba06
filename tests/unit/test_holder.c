/* The holder: what it keeps of the program that started it, whom it outlives, and whom it minds. Here nobody is process
 * 1, so that it ends when systemd says so is a matter for the guests (tests/vm). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"
#include "supervisor/holder.h"

#define DEADLINE_MSEC 10000

static bool ended(int pidfd, int msec)
{
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    return poll(&p, 1, msec) == 1;
}

static char *proc_file(pid_t pid, const char *name)
{
    _cleanup_(freep) char *path = xasprintf("/proc/%d/%s", (int)pid, name);
    char *text = NULL;
    assert_int_equal(file_read_all(AT_FDCWD, path, 1u << 20, &text, NULL), 0);
    return text;
}

static uint64_t status_number(pid_t pid, const char *key)
{
    _cleanup_(freep) char *text = proc_file(pid, "status");
    const char *line = strstr(text, key);
    assert_non_null(line);
    return strtoull(line + strlen(key), NULL, 10);
}

static int open_fds(pid_t pid)
{
    _cleanup_(freep) char *path = xasprintf("/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    int n = -2; /* . and .. */
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n;
}

static Holder started(void)
{
    Holder h = HOLDER_NULL;
    Error e = {0};
    if (holder_start("a-test.scope", "a-test", ".", &h, &e) < 0)
        fail_msg("%s", error_message(&e));
    return h;
}

/* Its name tells that exec is behind it (in the midst of exec a process has next to no memory and few descriptors), its
 * descriptors are closed as the last thing before it waits, but for the memory. */
static bool settled(pid_t pid)
{
    _cleanup_(freep) char *name = proc_file(pid, "comm");
#ifdef BULKHEAD_SANITIZED
    const uint64_t most = UINT64_MAX; /* it keeps its memory */
#else
    const uint64_t most = 1024;
#endif
    return str_equal(name, "bulkhead-holder\n") && open_fds(pid) == 3 && status_number(pid, "VmSize:") <= most;
}

static void wait_settled(const Holder *h)
{
    for (int i = 0; i < DEADLINE_MSEC && !settled(h->pid); i++)
        assert_false(ended(h->pidfd, 1));
}

static void end(Holder *h)
{
    pid_t pid = h->pid;
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_true(ended(h->pidfd, DEADLINE_MSEC));
    holder_done(h);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void one_that_was_not_released_ends_with_us(void **state)
{
    (void)state;
    Holder h = started();
    pid_t pid = h.pid;
    assert_false(ended(h.pidfd, 0));
    holder_done(&h);
    assert_int_equal(kill(pid, 0), -1);
    assert_int_equal(errno, ESRCH);
    assert_int_equal(h.pidfd, -EBADF);

    h = started(); /* the pipe's end is our end, also when we were killed */
    h.release = fd_close(h.release);
    assert_true(ended(h.pidfd, DEADLINE_MSEC));
    pid = h.pid;
    holder_done(&h);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

static void a_released_one_stays(void **state)
{
    (void)state;
    Holder h = started(), found = HOLDER_NULL;
    Error e = {0};
    assert_int_equal(holder_release(&h, &e), 0);
    wait_settled(&h);
    pid_t pid = h.pid;
    holder_done(&h);
    assert_int_equal(kill(pid, 0), 0);
    assert_int_equal(holder_find(pid, &found, &e), 0);
    assert_int_equal(holder_release(&found, &e), 0); /* nothing to do */
    end(&found);
    assert_int_equal(holder_find(pid, &found, &e), -ESRCH);
}

static void what_it_keeps(void **state)
{
    (void)state;
    Holder h = started();
    Error e = {0};
    assert_int_equal(holder_release(&h, &e), 0);
    wait_settled(&h);
    _cleanup_(freep) char *title = proc_file(h.pid, "cmdline"), *name = proc_file(h.pid, "comm");
    assert_string_equal(title, "bulkhead-holder: keeps a-test.scope");
    assert_string_equal(name, "bulkhead-holder\n");
    assert_int_equal(open_fds(h.pid), 3); /* /dev/null */
#if defined(__x86_64__) && !defined(BULKHEAD_SANITIZED)
    assert_true(status_number(h.pid, "VmRSS:") <= 64);
    assert_true(status_number(h.pid, "VmSize:") <= 256);
#endif
    end(&h);
}

static void it_minds_nobody_but_systemd(void **state)
{
    (void)state;
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGCONT, SIGQUIT, SIGPIPE, SIGUSR1, SIGCHLD, SIGABRT};
    Holder h = started();
    Error e = {0};
    for (int settled = 0; settled < 2; settled++) { /* while it waits for its release, and after */
        for (size_t i = 0; i < ELEMENTS(signals); i++)
            assert_int_equal(kill(h.pid, signals[i]), 0);
        assert_false(ended(h.pidfd, 50));
        assert_int_equal(holder_release(&h, &e), 0);
        wait_settled(&h);
    }
    end(&h);
}

int main(int argc, char **argv)
{
    if (holder_wanted(argc, argv))
        holder_main(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_was_not_released_ends_with_us),
        cmocka_unit_test(a_released_one_stays),
        cmocka_unit_test(what_it_keeps),
        cmocka_unit_test(it_minds_nobody_but_systemd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
