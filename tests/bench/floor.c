/* The bare floor: the least that a supervisor must do which puts each service behind limits of its own.
 *
 *   usage: floor N SERVICE FIFO CGROUP2_DIR MEMORY_DIR CPU_DIR PIDS_DIR [fresh]
 *
 * The directories are cgroups to make things in; the last three are "-" on a pure cgroup2 host. For each of N services:
 * a directory in each hierarchy, three limits written, clone3 with a pidfd into the cgroup2 one, "0" written to the
 * `tasks` of the others, no_new_privs, one ready-made seccomp filter, exec. One epoll sees the pidfds; who ends is
 * reaped and started again at once, in the same cgroups (with `fresh`: in new ones, as a supervisor must that uses
 * cgroup.kill). SIGTERM stops all, removes the cgroups and ends.
 *
 * It does nothing else: reads no limit back, keeps no log or state, counts nothing, tells nobody. Any failure ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define HIERARCHIES  4
#define FILTER_TESTS 192 /* + 3: about what the profile `base` compiles to */

typedef struct Child {
    pid_t pid;
    int pidfd;
    int procs[HIERARCHIES]; /* [0]: the cgroup2 directory itself, for clone3 */
    unsigned made;          /* how often its cgroups were */
} Child;

static Child *children;
static int n_children, root[HIERARCHIES];
static bool pure, fresh;
static const char *service, *fifo;
static struct sock_filter instructions[FILTER_TESTS + 3];
static struct sock_fprog filter = {.len = FILTER_TESTS + 3, .filter = instructions};

static void must(bool good, const char *what)
{
    if (good)
        return;
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void write_file(int h, const char *dir, const char *file, const char *value)
{
    char path[64];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    int fd = openat(root[h], path, O_WRONLY | O_CLOEXEC);
    must(fd >= 0 && write(fd, value, strlen(value)) > 0, path);
    close(fd);
}

static void name_of(const Child *c, char name[static 32])
{
    snprintf(name, 32, "%d-%u", (int)(c - children), c->made);
}

static void make_groups(Child *c)
{
    char name[32], path[64];
    name_of(c, name);
    for (int h = 0; h < HIERARCHIES; h++) {
        if (root[h] < 0)
            continue;
        must(mkdirat(root[h], name, 0755) == 0, "mkdir");
        snprintf(path, sizeof path, "%s/%s", name, h ? "tasks" : "cgroup.procs");
        c->procs[h] = h ? openat(root[h], path, O_WRONLY | O_CLOEXEC) : openat(root[h], name, O_DIRECTORY | O_CLOEXEC);
        must(c->procs[h] >= 0, path);
    }
    write_file(pure ? 0 : 1, name, pure ? "memory.max" : "memory.limit_in_bytes", "67108864");
    write_file(pure ? 0 : 2, name, pure ? "cpu.max" : "cpu.cfs_quota_us", pure ? "100000 100000" : "100000");
    write_file(pure ? 0 : 3, name, "pids.max", "64");
}

/* The kernel empties a cgroup a little after wait() has told the end, so a busy one is tried again. */
static void remove_groups(Child *c)
{
    char name[32];
    name_of(c, name);
    for (int h = 0; h < HIERARCHIES; h++) {
        if (root[h] < 0)
            continue;
        close(c->procs[h]);
        while (unlinkat(root[h], name, AT_REMOVEDIR) < 0) {
            must(errno == EBUSY, "rmdir");
            sched_yield();
        }
    }
}

static void start(Child *c, int epoll)
{
    char number[16];
    snprintf(number, sizeof number, "%d", (int)(c - children));
    char *argv[] = {(char *)service, (char *)fifo, number, NULL}, *envp[] = {"PATH=/usr/bin:/bin", NULL};
    struct clone_args args = {
        .flags = CLONE_PIDFD | CLONE_INTO_CGROUP | CLONE_CLEAR_SIGHAND,
        .pidfd = (uintptr_t)&c->pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = (uint64_t)c->procs[0],
    };
    c->pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    must(c->pid >= 0, "clone3");
    if (c->pid == 0) {
        sigset_t none;
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        for (int h = 1; h < HIERARCHIES; h++)
            if (root[h] >= 0 && write(c->procs[h], "0", 1) != 1)
                _exit(126);
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) < 0)
            _exit(125);
        execve(service, argv, envp);
        _exit(127);
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, c->pidfd, &event) == 0, "epoll_ctl");
}

static void make_filter(void)
{
    int n = 0;
    instructions[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0);
    for (int i = 0; i < FILTER_TESTS; i++)
        instructions[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 1000u + (unsigned)i, 0, 0);
    instructions[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    filter.len = (unsigned short)n;
}

static int open_loop(const sigset_t *mask)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC), signals = signalfd(-1, mask, SFD_CLOEXEC | SFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT};
    must(epoll >= 0 && signals >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, signals, &event) == 0, "epoll");
    return epoll;
}

/* Until all have ended after SIGTERM. */
static void supervise(int epoll)
{
    bool stopping = false;
    for (int alive = n_children; alive > 0;) {
        struct epoll_event events[64];
        int n = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            Child *c = events[i].data.ptr;
            siginfo_t how = {0};
            if (!c) {
                for (int k = 0; k < n_children && !stopping; k++)
                    (void)syscall(SYS_pidfd_send_signal, children[k].pidfd, SIGTERM, NULL, 0);
                stopping = true;
                continue;
            }
            if (waitid(P_PIDFD, (id_t)c->pidfd, &how, WEXITED | WNOHANG) < 0 || how.si_pid == 0)
                continue;
            must(how.si_code == CLD_KILLED, "the service failed");
            /* Not by closing it alone: a child on its way to exec may hold a copy, and the old registration would live
             * on. */
            epoll_ctl(epoll, EPOLL_CTL_DEL, c->pidfd, NULL);
            close(c->pidfd);
            if (stopping || fresh)
                remove_groups(c);
            if (stopping) {
                alive--;
                continue;
            }
            if (fresh) {
                c->made++;
                make_groups(c);
            }
            start(c, epoll);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 8 || (n_children = (int)strtol(argv[1], NULL, 10)) < 1) {
        fputs("usage: floor N SERVICE FIFO CGROUP2_DIR MEMORY_DIR CPU_DIR PIDS_DIR [fresh]\n", stderr);
        return 2;
    }
    service = argv[2];
    fifo = argv[3];
    pure = strcmp(argv[5], "-") == 0;
    fresh = argc > 8 && strcmp(argv[8], "fresh") == 0;
    for (int h = 0; h < HIERARCHIES; h++) {
        root[h] = strcmp(argv[4 + h], "-") ? open(argv[4 + h], O_DIRECTORY | O_CLOEXEC) : -1;
        must(root[h] >= 0 || strcmp(argv[4 + h], "-") == 0, argv[4 + h]);
    }
    make_filter();
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    int epoll = open_loop(&mask);
    children = calloc((size_t)n_children, sizeof *children);
    must(children, "calloc");
    for (int i = 0; i < n_children; i++) {
        make_groups(&children[i]);
        start(&children[i], epoll);
    }
    supervise(epoll);
    return 0;
}
