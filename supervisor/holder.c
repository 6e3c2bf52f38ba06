/* See holder.h. */
#include "supervisor/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

/* --- the holder's side --- */

/* systemd is process 1; a shell's job control sends the same signal. SIGTERM from there is the machine going down, or
 * `systemctl kill`. */
#define ASKED_BY 1

static bool asked_to_end(int sig, pid_t sender)
{
    return (sig == HOLDER_SIGNAL || sig == SIGTERM) && sender == ASKED_BY;
}

/* All that the end takes, in one piece on the stack: nothing else may be there by then. */
typedef struct LastWords {
    char program[sizeof "/proc/self/exe"];
    char name[sizeof "bulkheadd"], purge[sizeof "--purge"], journal[sizeof "--journal"];
    char instance_option[sizeof "--instance"], config_option[sizeof "--config"];
    char instance[64], config[PATH_MAX];
    char *argv[8], *envp[1];
} LastWords;

static void last_words(LastWords *w, const char *instance, const char *config)
{
    *w = (LastWords){
        .program = "/proc/self/exe",
        .name = "bulkheadd",
        .purge = "--purge",
        .journal = "--journal",
        .instance_option = "--instance",
        .config_option = "--config",
        .argv = {w->name, w->purge, w->journal, w->instance_option, w->instance, w->config_option, w->config},
    };
    snprintf(w->instance, sizeof w->instance, "%s", instance);
    snprintf(w->config, sizeof w->config, "%s", config);
}

#if defined(__x86_64__) && !defined(BULKHEAD_SANITIZED)
#define PAGE 4096ul

/* Only register arguments and no library: the code that runs when nothing else is mapped any more. */
__attribute__((always_inline)) static inline long raw_call(long nr, long a, long b, long c, long d)
{
    register long r10 __asm__("r10") = d;
    long r;
    __asm__ volatile("syscall" : "=a"(r) : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
    return r;
}

/* A loaded program with ten libraries has 1.1 MB of its own that it never uses again. All below the stack goes but the
 * page this stands on. */
__attribute__((noinline, no_stack_protector, aligned(PAGE))) static _Noreturn void wait_alone(unsigned long stack,
                                                                                              const LastWords *w)
{
    const unsigned long here = (unsigned long)&wait_alone, size_of_mask = 8;
    unsigned long mask = 1ul << (HOLDER_SIGNAL - 1) | 1ul << (SIGTERM - 1);
    siginfo_t info;
    info.si_pid = 0; /* not = {0}: that may call memset */
    raw_call(SYS_munmap, 0, (long)here, 0, 0);
    raw_call(SYS_munmap, (long)(here + PAGE), (long)(stack - here - PAGE), 0, 0);
    for (;;) {
        long sig = raw_call(SYS_rt_sigtimedwait, (long)&mask, (long)&info, 0, size_of_mask);
        if (sig > 0 && asked_to_end((int)sig, info.si_pid)) {
            raw_call(SYS_execve, (long)w->program, (long)w->argv, (long)w->envp, 0);
            raw_call(SYS_exit_group, 0, 0, 0, 0);
        }
    }
}

/* Where the stack's mapping begins; 0 = not known, or not above the code: then the memory is kept. */
static unsigned long stack_start(void)
{
    _cleanup_(freep) char *maps = NULL;
    if (file_read_all(AT_FDCWD, "/proc/self/maps", 1u << 20, &maps, NULL) < 0)
        return 0;
    char *line = strstr(maps, "[stack]");
    while (line && line > maps && line[-1] != '\n')
        line--;
    unsigned long start = line ? strtoul(line, NULL, 16) : 0;
    return start > (unsigned long)&wait_alone + PAGE ? start : 0;
}

static void forget_all_and_wait(const LastWords *w)
{
    unsigned long stack = stack_start();
    if (stack)
        wait_alone(stack, w);
}
#else
static void forget_all_and_wait(const LastWords *w)
{
    (void)w;
}
#endif

/* ps shows argv[0] alone, since the words behind it are wiped. */
static void set_title(char **argv)
{
    (void)prctl(PR_SET_NAME, "bulkhead-holder");
    for (int i = 1; argv[i]; i++)
        memset(argv[i], 0, strlen(argv[i]));
}

/* No descriptor of who started it, and none missing for what it may become. */
static void let_go_of_descriptors(void)
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3 && null >= 0; fd++)
        (void)dup2(null, fd);
    (void)close_range(null < 0 ? 0 : 3, ~0u, 0);
}

bool holder_wanted(int argc, char *const *argv)
{
    return argc == 4 && str_equal(argv[1], HOLDER_OPTION);
}

_Noreturn void holder_main(char **argv)
{
    LastWords words;
    sigset_t mask;
    char word;
    last_words(&words, argv[2], argv[3]);
    set_title(argv);
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)setsid();
    if (chdir("/") < 0 || read(STDIN_FILENO, &word, 1) != 1) /* whoever started it died on the way */
        _exit(1);
    let_go_of_descriptors();
    forget_all_and_wait(&words);
    sigemptyset(&mask);
    sigaddset(&mask, HOLDER_SIGNAL);
    sigaddset(&mask, SIGTERM);
    for (;;) {
        siginfo_t info;
        int sig = sigwaitinfo(&mask, &info);
        if (sig > 0 && asked_to_end(sig, info.si_pid)) {
            execve(words.program, words.argv, words.envp);
            _exit(0);
        }
    }
}

/* --- the daemon's side --- */

static _Noreturn void become_holder(const char *keeps, const char *instance, const char *config_dir, int hold)
{
    char title[128], option[] = HOLDER_OPTION;
    /* It leaves for "/". What cannot be resolved will have no policy, and a purge goes without. */
    _cleanup_(freep) char *config = realpath(config_dir, NULL);
    snprintf(title, sizeof title, "bulkhead-holder: keeps %s", keeps);
    /* rseq: the kernel would write into memory that is gone. */
    char tunables[] = "GLIBC_TUNABLES=glibc.pthread.rseq=0";
    char *argv[] = {title, option, (char *)(uintptr_t)instance, config ? config : (char *)(uintptr_t)config_dir, NULL};
    char *envp[] = {tunables, NULL};
    if (dup2(hold, STDIN_FILENO) == STDIN_FILENO)
        execve("/proc/self/exe", argv, envp);
    _exit(127);
}

int holder_find(pid_t pid, Holder *ret, Error *e)
{
    Holder h = HOLDER_NULL;
    h.pid = pid;
    h.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (h.pidfd < 0)
        return error_errno(e, -errno, "cannot open a pidfd of process %d", (int)pid);
    *ret = h;
    return 0;
}

int holder_start(const char *keeps, const char *instance, const char *config_dir, Holder *ret, Error *e)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return error_errno(e, -errno, "cannot make a pipe");
    _cleanup_fd_ int hold = fds[0], release = fds[1];
    /* It is born with every signal blocked, so that none finds it unprepared. */
    sigset_t all, before;
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    int r = pid < 0 ? -errno : 0;
    if (pid == 0)
        become_holder(keeps, instance, config_dir, hold);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    if (r < 0)
        return error_errno(e, r, "cannot fork");
    r = holder_find(pid, ret, e);
    if (r < 0) {
        fd_closep(&release);
        (void)waitpid(pid, NULL, 0);
        return r;
    }
    ret->release = TAKE_FD(release);
    return 0;
}

int holder_release(Holder *h, Error *e)
{
    int r = h->release < 0 ? 0 : fd_write_all(h->release, "g", 1);
    h->release = fd_close(h->release);
    return r < 0 ? error_errno(e, r, "the holder process has ended before its time") : 0;
}

void holder_done(Holder *h)
{
    if (h->release >= 0) {
        (void)syscall(SYS_pidfd_send_signal, h->pidfd, SIGKILL, NULL, 0);
        (void)waitpid(h->pid, NULL, 0);
    }
    fd_close(h->release);
    fd_close(h->pidfd);
    *h = HOLDER_NULL;
}
