/* The filters in the kernel: it agrees with the simulated machine, and real programs run under the shipped profiles.
 *
 * Every filter is put on a forked child; the parent only watches how the child fares. Servers run in a directory of
 * their own below /tmp, on a free loopback port, and every wait has a deadline. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "policies/seccomp.h"
#include "tests/unit/bpf_sim.h"

#define DEADLINE (20 * USEC_PER_SEC)

static char dir[64];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/bulkhead-live-XXXXXX");
    return mkdtemp(dir) && chmod(dir, 0755) == 0 ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    return tree_remove(AT_FDCWD, dir);
}

/* A skip says why; where everything must work it is a failure. */
static void needs(bool there, const char *what)
{
    if (there)
        return;
    if (str_equal(getenv("MUST_WORK"), "1"))
        fail_msg("%s", what);
    print_message("skipped: %s\n", what);
    skip();
}

static SeccompFilter *compiled(const char *profile, const char *allow, const char *deny, SeccompViolation action)
{
    _cleanup_complaints_ Complaints complaints = {0};
    SeccompCompiler *c = seccomp_compiler_new((char *[]){"policies/profiles", NULL});
    SeccompFilter *f = NULL;
    int r = seccomp_compile(c, profile, (char *[]){(char *)allow, NULL}, (char *[]){(char *)deny, NULL}, action, "test",
                            1, &f, &complaints);
    seccomp_compiler_free(c);
    assert_int_equal(r, 0);
    return f;
}

/* As the launcher does it. Called in a child: ends it when the kernel refuses the filter. */
static void install(const SeccompFilter *f)
{
    struct sock_fprog prog = {.len = (unsigned short)f->n_instructions, .filter = f->instructions};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &prog) < 0)
        _exit(111);
}

/* How the child ended: its exit code, or minus the signal; killed when it does not end in time. */
static int reap(pid_t pid)
{
    _cleanup_fd_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    assert_true(pidfd >= 0);
    struct pollfd p = {.fd = pidfd, .events = POLLIN};
    if (poll(&p, 1, (int)(DEADLINE / USEC_PER_MSEC)) != 1)
        kill(pid, SIGKILL);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* --- the kernel and the simulator ------------------------------------------------------------------------------------
 */

static int call_and_end(const SeccompFilter *f, long nr, long a0)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        install(f);
        errno = 0;
        long r = syscall(nr, a0, 0, 0, 0, 0, 0);
        syscall(SYS_exit_group, r < 0 ? errno : 0);
        __builtin_unreachable();
    }
    return reap(pid);
}

static void test_actions(void **state)
{
    (void)state;
    SeccompFilter *kill_ = compiled(NULL, "getpid, getpgid(0)", NULL, VIOLATION_KILL);
    SeccompFilter *errno_ = compiled(NULL, "getpid", NULL, VIOLATION_ERRNO);
    SeccompFilter *log_ = compiled(NULL, "getpid", NULL, VIOLATION_LOG);
    assert_int_equal(call_and_end(kill_, SYS_getpid, 0), 0);
    assert_int_equal(call_and_end(kill_, SYS_getpgid, 0), 0);
    assert_int_equal(call_and_end(kill_, SYS_getpgid, 1), -SIGSYS);
    assert_int_equal(call_and_end(kill_, SYS_getpgid, 1L << 32), -SIGSYS);
    assert_int_equal(call_and_end(kill_, SYS_getppid, 0), -SIGSYS);
    assert_int_equal(call_and_end(errno_, SYS_getppid, 0), EPERM);
    assert_int_equal(call_and_end(log_, SYS_getppid, 0), 0);
    SeccompFilter *all[] = {kill_, errno_, log_};
    for (size_t i = 0; i < ELEMENTS(all); i++) {
        assert_int_equal(call_and_end(all[i], SYS_clone3, 0), ENOSYS);
        assert_int_equal(call_and_end(all[i], SYS_io_uring_setup, 0), ENOSYS);
        assert_int_equal(call_and_end(all[i], 470, 0), ENOSYS);
        assert_int_equal(call_and_end(all[i], 1000, 0), ENOSYS);
        assert_int_equal(call_and_end(all[i], -1, 0), ENOSYS);
#ifdef __x86_64__
        assert_int_equal(call_and_end(all[i], 0x40000000 | SYS_getpid, 0), -SIGSYS);
#endif
        seccomp_filter_unref(all[i]);
    }
}

#ifdef __x86_64__
/* The 32-bit entry has other numbers (20 is getpid there, writev here): the architecture must be looked at. */
static void test_foreign_architecture(void **state)
{
    (void)state;
    SeccompFilter *f = compiled(NULL, "getpid, #20", NULL, VIOLATION_LOG);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        install(f);
        long r;
        __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory");
        syscall(SYS_exit_group, 0);
    }
    int end = reap(pid);
    assert_true(end == -SIGSYS || end == -SIGSEGV); /* SEGV: a kernel without the 32-bit entry */
    seccomp_filter_unref(f);
}
#endif

static uint64_t rnd(uint64_t below)
{
    static uint64_t seed = 88172645463325252;
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed % below;
}

static uint64_t rnd_value(void)
{
    static const uint64_t halves[] = {0, 1, 2, 3, 0x7fffffff, 0x80000000, 0xffffffff};
    return halves[rnd(ELEMENTS(halves))] | (rnd(2) ? halves[rnd(ELEMENTS(halves))] << 32 : 0);
}

enum { PROBES = 200 };

static char *rnd_rule(void)
{
    unsigned long long a = rnd_value() | 1, b = rnd_value();
    switch (rnd(4)) {
    case 0:
        return xasprintf("lseek(<=%llu, >=%llu)", a, b);
    case 1:
        return xasprintf("lseek(%llu|%llu)", a | 0x100, b | 0x100);
    case 2:
        return xasprintf("lseek(*, %llu, >=%llu)", a, b);
    default:
        return xasprintf("lseek(*, !%llu, <=%llu)", a, b);
    }
}

/* lseek, because it takes any three arguments, hurts nobody on a closed descriptor and never fails with EPERM. The
 * child says for each probe whether it was let through. */
static void agreement_round(void)
{
    _cleanup_(freep) char *allow = rnd_rule(), *deny = rnd_rule();
    SeccompFilter *f = compiled(NULL, allow, rnd(2) ? deny : NULL, VIOLATION_ERRNO);
    uint64_t args[PROBES][3];
    for (size_t i = 0; i < PROBES; i++)
        for (size_t a = 0; a < 3; a++)
            args[i][a] = a == 0 ? rnd_value() | 0x100 : rnd_value(); /* no descriptor of ours */
    int pipefd[2];
    assert_int_equal(pipe2(pipefd, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char passed[PROBES];
        install(f);
        for (size_t i = 0; i < PROBES; i++)
            passed[i] = !(syscall(SYS_lseek, args[i][0], args[i][1], args[i][2]) < 0 && errno == EPERM);
        long r = syscall(SYS_write, pipefd[1], passed, sizeof passed);
        syscall(SYS_exit_group, r == PROBES ? 0 : 1);
    }
    char passed[PROBES];
    assert_int_equal(reap(pid), 0);
    assert_int_equal(read(pipefd[0], passed, sizeof passed), PROBES);
    for (size_t i = 0; i < PROBES; i++) {
        struct seccomp_data d = {.nr = SYS_lseek, .arch = AUDIT_ARCH_X86_64};
        memcpy(d.args, args[i], sizeof args[i]);
        assert_int_equal(bpf_sim_run(f->instructions, f->n_instructions, &d) == SECCOMP_RET_ALLOW, passed[i]);
    }
    fd_close(pipefd[0]);
    fd_close(pipefd[1]);
    seccomp_filter_unref(f);
}

static void test_agreement(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++)
        agreement_round();
}

/* --- real programs ---------------------------------------------------------------------------------------------------
 */

/* Starts argv under the profile with its output in `dir`/log. */
static pid_t launch(const char *profile, char *const argv[])
{
    SeccompFilter *f = compiled(profile, NULL, NULL, VIOLATION_KILL);
    _cleanup_(freep) char *log = xasprintf("%s/log", dir);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
        if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0 || chdir(dir) < 0)
            _exit(112);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        install(f);
        execve(argv[0], argv, (char *[]){"PATH=/usr/bin:/bin", "HOME=/", "LC_ALL=C", NULL});
        syscall(SYS_exit_group, 113);
    }
    seccomp_filter_unref(f);
    return pid;
}

/* Shows the program's output when it did not end as it should. */
static void ended(pid_t pid, int want)
{
    int got = reap(pid);
    _cleanup_(freep) char *log = xasprintf("%s/log", dir), *text = NULL;
    if (got != want && file_read_all(AT_FDCWD, log, 1 << 20, &text, &(size_t){0}) == 0)
        print_error("%s\n", text);
    assert_int_equal(got, want);
}

static void file_make(const char *name, const char *text)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", dir, name);
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
}

static uint16_t free_port(void)
{
    _cleanup_fd_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    return ntohs(a.sin_port);
}

/* Connects as soon as `pid` listens; fails when it ends first or the deadline passes. */
static int connect_to(pid_t pid, uint16_t port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    _cleanup_fd_ int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    for (uint64_t end = now_monotonic() + DEADLINE; now_monotonic() < end;) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
            return fd;
        fd_close(fd);
        if (poll(&(struct pollfd){.fd = pidfd, .events = POLLIN}, 1, 10) == 1) {
            ended(pid, -1);
            break;
        }
    }
    kill(pid, SIGKILL);
    reap(pid);
    fail_msg("nothing listens on port %u", port);
    return -1;
}

/* Sends `request` and reads until `last` is in the answer, which is owned by the caller. */
static char *ask(int fd, const char *request, const char *last)
{
    StrBuf answer = STRBUF_NULL;
    int r = fd_write_all(fd, request, strlen(request));
    while (r == 0 && !(answer.s && strstr(answer.s, last))) {
        char chunk[4096];
        if (poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, (int)(DEADLINE / USEC_PER_MSEC)) != 1)
            break;
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n <= 0)
            break;
        strbuf_add(&answer, chunk, (size_t)n);
    }
    return strbuf_take(&answer);
}

static bool converse(int fd, const char *request, const char *want)
{
    _cleanup_(freep) char *answer = ask(fd, request, want);
    bool good = strstr(answer, want) != NULL;
    if (!good)
        print_error("asked %sgot: %s\n", request, answer);
    return good;
}

/* Until no child of redis saves any more: one that outlives it would be left to init. */
static bool redis_saved(int fd)
{
    for (uint64_t end = now_monotonic() + DEADLINE; now_monotonic() < end;) {
        _cleanup_(freep) char *info = ask(fd, "INFO persistence\r\n", "aof_last_cow_size:");
        if (strstr(info, "rdb_bgsave_in_progress:0") && strstr(info, "aof_rewrite_in_progress:0") &&
            strstr(info, "aof_rewrite_scheduled:0"))
            return strstr(info, "rdb_last_bgsave_status:ok") && strstr(info, "aof_last_bgrewrite_status:ok");
    }
    return false;
}

static void test_base_programs(void **state)
{
    (void)state;
    ended(launch("base", (char *[]){"/bin/true", NULL}), 0);
    ended(launch("base", (char *[]){"/bin/ls", ".", NULL}), 0);
    ended(launch("base", (char *[]){"/bin/date", NULL}), 0);
    ended(launch("base", (char *[]){"/usr/bin/sort", "/etc/hostname", NULL}), 0);
    needs(access("/usr/bin/python3", X_OK) == 0, "no /usr/bin/python3");
    ended(
        launch("base", (char *[]){"/usr/bin/python3", "-c",
                                  "import threading, time\n"
                                  "t = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(8)]\n"
                                  "[x.start() for x in t]; [x.join() for x in t]; print(open('/etc/hostname').read())",
                                  NULL}),
        0);
    /* no child, no socket */
    ended(launch("base", (char *[]){"/usr/bin/python3", "-c", "import os; os.fork()", NULL}), -SIGSYS);
    ended(launch("base", (char *[]){"/usr/bin/python3", "-c", "import socket; socket.socket()", NULL}), -SIGSYS);
}

static void test_worker_programs(void **state)
{
    (void)state;
    needs(access("/usr/bin/python3", X_OK) == 0, "no /usr/bin/python3");
    file_make("job.sh",
              "set -e\n"
              "mkdir -p a/b; echo one > a/b/f; cp a/b/f a/g; mv a/g a/h; ln -s h a/l; ls -la a; chmod 600 a/h\n"
              "cat a/h a/l | sort | uniq -c | grep '2 one'\n"
              "x=$(for i in 1 2 3; do (echo $i) & done; wait); test $(echo \"$x\" | wc -l) = 3\n"
              "mkfifo p; (echo through > p) & read y < p; test $y = through\n"
              "cp -a a c; tar cf t.tar c; tar tf t.tar; find c -type f; touch -d yesterday c; date; rm -r a c\n");
    ended(launch("worker", (char *[]){"/bin/bash", "job.sh", NULL}), 0);
    file_make("job.py",
              "import subprocess, socket, threading, tempfile, os, asyncio, sqlite3, concurrent.futures as cf\n"
              "import multiprocessing as mp\n"
              "assert subprocess.run(['echo', 'hi'], capture_output=True).stdout == b'hi\\n'\n"
              "with tempfile.TemporaryDirectory() as d:\n"
              "    db = sqlite3.connect(d + '/x'); db.execute('create table t(a)'); db.commit()\n"
              "socket.getaddrinfo('localhost', 80)\n"
              "s = socket.socket(); s.settimeout(5)\n"
              "try: s.connect(('127.0.0.1', 1))\n"
              "except OSError: pass\n"
              "with cf.ThreadPoolExecutor(4) as e: assert sum(e.map(int, '1234')) == 10\n"
              "with mp.Pool(2) as p: assert p.map(abs, [-1, -2]) == [1, 2]\n"
              "async def f():\n"
              "    p = await asyncio.create_subprocess_exec('true'); assert await p.wait() == 0\n"
              "asyncio.run(f())\n"
              "if os.getuid() == 0: pass\n");
    ended(launch("worker", (char *[]){"/usr/bin/python3", "job.py", NULL}), 0);
    ended(
        launch("worker", (char *[]){"/usr/bin/python3", "-c",
                                    "import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()", NULL}),
        -SIGSYS);
    ended(launch("worker", (char *[]){"/usr/bin/python3", "-c", "import os; os.chroot('/')", NULL}), -SIGSYS);
    ended(launch("worker", (char *[]){"/usr/bin/unshare", "-U", "true", NULL}), -SIGSYS);
}

static void test_redis(void **state)
{
    (void)state;
    needs(access("/usr/bin/redis-server", X_OK) == 0, "no /usr/bin/redis-server");
    uint16_t port = free_port();
    _cleanup_(freep) char *number = xasprintf("%u", port);
    pid_t pid = launch("network-server", (char *[]){"/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", number,
                                                    "--save", "", "--appendonly", "yes", NULL});
    _cleanup_fd_ int fd = connect_to(pid, port);
    bool good = converse(fd, "SET key value\r\n", "+OK") && converse(fd, "GET key\r\n", "value") &&
                converse(fd, "BGSAVE\r\n", "+Background");
    good = good && redis_saved(fd) && converse(fd, "BGREWRITEAOF\r\n", "+Background") && redis_saved(fd) &&
           converse(fd, "EVAL 'return 7' 0\r\n", ":7");
    kill(pid, SIGTERM);
    ended(pid, 0);
    assert_true(good);
}

static void test_nginx(void **state)
{
    (void)state;
    needs(access("/usr/sbin/nginx", X_OK) == 0, "no /usr/sbin/nginx");
    needs(getuid() == 0, "not root: nginx could not change its user");
    uint16_t port = free_port();
    _cleanup_(freep) char *conf = xasprintf(
        "user www-data; worker_processes 2; worker_rlimit_nofile 512; pid %1$s/pid; error_log %1$s/error; daemon off;\n"
        "events { worker_connections 64; }\n"
        "http { access_log %1$s/access; client_body_temp_path %1$s/t1; proxy_temp_path %1$s/t2;\n"
        "fastcgi_temp_path %1$s/t3; uwsgi_temp_path %1$s/t4; scgi_temp_path %1$s/t5; sendfile on; aio threads;\n"
        "server { listen 127.0.0.1:%2$u; root %1$s; location /proxied { proxy_pass http://127.0.0.1:%2$u/file; } } }\n",
        dir, port);
    file_make("conf", conf);
    file_make("file", "served under a filter\n");
    _cleanup_(freep) char *path = xasprintf("%s/conf", dir), *error_log = xasprintf("%s/error", dir);
    pid_t pid = launch("network-server", (char *[]){"/usr/sbin/nginx", "-c", path, NULL});
    _cleanup_fd_ int fd = connect_to(pid, port), again = -EBADF, reopened = -EBADF;
    bool good = converse(fd, "GET /file HTTP/1.0\r\n\r\n", "served under a filter");
    again = connect_to(pid, port);
    good = good && converse(again, "GET /proxied HTTP/1.0\r\n\r\n", "served under a filter");
    kill(pid, SIGUSR1); /* reopens its logs */
    kill(pid, SIGHUP);  /* new workers */
    reopened = connect_to(pid, port);
    good = good && converse(reopened, "GET /file HTTP/1.0\r\n\r\n", "served under a filter");
    kill(pid, SIGQUIT);
    ended(pid, 0);
    _cleanup_(freep) char *errors = NULL;
    assert_int_equal(file_read_all(AT_FDCWD, error_log, 1 << 20, &errors, &(size_t){0}), 0);
    if (strstr(errors, "exited on signal"))
        fail_msg("%s", errors);
    assert_true(good);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_actions),
#ifdef __x86_64__
        cmocka_unit_test(test_foreign_architecture),
#endif
        cmocka_unit_test(test_agreement),
        cmocka_unit_test_setup_teardown(test_base_programs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_worker_programs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_redis, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nginx, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
