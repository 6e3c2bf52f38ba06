/* What the live tests of bpf/ share: a tree of cgroups of their own below the one they run in, a bpffs of their own, an
 * open Kernel over both, children in a leaf, and the ring's events as they come.
 *
 * Children never assert: they tell by pipe and exit status, the parent asserts. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "bpf/kernel.h"

/* How long a wait may take before it is given up. */
#ifndef DEADLINE
#define DEADLINE (10 * USEC_PER_SEC)
#endif
#define DEADLINE_MSEC ((int)(DEADLINE / USEC_PER_MSEC))
/* The name the kernel's side is told. */
#define INSTANCE "live"

typedef struct Live {
    Kernel *kernel;
    char root[512]; /* …/bh-t<pid> */
    char leaf[600]; /* root/modules/a/1 */
    char bpffs[64]; /* mounted by the loader */
    uint64_t modules, a, leaf_id;
    int modules_fd;
    unsigned level; /* of modules/ */
    struct ring_event events[256];
    size_t n_events;
} Live;

/* Ends the test as skipped with its reason; with MUST_WORK=1 as failed. */
#define SKIP(reason)                                               \
    do {                                                           \
        print_message("skipped: %s\n", reason);                    \
        if (getenv("MUST_WORK"))                                   \
            fail_msg("must work: %s", reason);                     \
        skip();                                                    \
        abort(); /* skip() does not return, but does not say so */ \
    } while (0)

/* Evaluates `cond` until it holds or the deadline passes. */
#define EVENTUALLY(cond)                                             \
    do {                                                             \
        uint64_t until_ = now_monotonic() + DEADLINE;                \
        while (!(cond)) {                                            \
            if (now_monotonic() > until_)                            \
                fail_msg("not in time: %s", #cond);                  \
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL); \
        }                                                            \
    } while (0)

_unused_ static uint64_t cgroup_id(const char *path)
{
    _Alignas(struct file_handle) char buf[sizeof(struct file_handle) + sizeof(uint64_t)];
    struct file_handle *handle = (struct file_handle *)buf;
    uint64_t id;
    int mount_id;
    handle->handle_bytes = sizeof id;
    assert_int_equal(name_to_handle_at(AT_FDCWD, path, handle, &mount_id, 0), 0);
    memcpy(&id, buf + offsetof(struct file_handle, f_handle), sizeof id);
    return id;
}

/* The directory of this process's cgroup: in the hierarchy of a v1 controller, or (NULL) the cgroup2 one. */
_unused_ static bool own_cgroup(const char *controller, char *ret, size_t size)
{
    _cleanup_(freep) char *mounts = NULL, *own = NULL;
    assert_int_equal(file_read_all(AT_FDCWD, "/proc/self/mounts", 1u << 20, &mounts, NULL), 0);
    assert_int_equal(file_read_all(AT_FDCWD, "/proc/self/cgroup", 1u << 20, &own, NULL), 0);
    char point[256] = "", path[256] = "", want[64];
    for (char *l = mounts; l; l = strchr(l, '\n') ? strchr(l, '\n') + 1 : NULL) {
        char at[256], type[32], options[256];
        if (sscanf(l, "%*s %255s %31s %255s", at, type, options) != 3)
            continue;
        if (controller ? strcmp(type, "cgroup") == 0 && strstr(options, controller) : strcmp(type, "cgroup2") == 0)
            snprintf(point, sizeof point, "%s", at);
    }
    snprintf(want, sizeof want, ":%s:", controller ? controller : "");
    char *at = strstr(own, want);
    if (!point[0] || !at || sscanf(at + strlen(want), "%255[^\n]", path) != 1)
        return false;
    snprintf(ret, size, "%s%s", point, strcmp(path, "/") == 0 ? "" : path);
    return true;
}

_unused_ static void make_dir(char *ret, size_t size, const char *parent, const char *name)
{
    snprintf(ret, size, "%s/%s", parent, name);
    assert_int_equal(mkdir(ret, 0755), 0);
}

static void live_free(Live *l)
{
    static const char *const below[] = {"modules/a/1/own", "modules/a/1", "modules/a/2",
                                        "modules/a/check", "modules/a",   "modules/b/1",
                                        "modules/b",       "modules",     ""};
    char kill_all[600];
    snprintf(kill_all, sizeof kill_all, "%s/cgroup.kill", l->root);
    file_write(AT_FDCWD, kill_all, "1"); /* what a failed test left running */
    l->kernel = kernel_close(l->kernel);
    fd_close(l->modules_fd);
    for (size_t i = 0; i < ELEMENTS(below) && l->root[0]; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/%s", l->root, below[i]);
        /* A process may still be on its way out. */
        for (uint64_t until = now_monotonic() + DEADLINE; rmdir(path) < 0 && errno == EBUSY && now_monotonic() < until;)
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    if (l->bpffs[0])
        rmdir(l->bpffs);
    free(l);
}

_unused_ static KernelConfig live_config(const Live *l)
{
    return (KernelConfig){.instance = INSTANCE,
                          .modules_id = l->modules,
                          .modules_fd = l->modules_fd,
                          .modules_level = l->level,
                          .max_modules = 16,
                          .bpffs_path = l->bpffs};
}

/* The tree and the place for a bpffs, without a Kernel. */
_unused_ static int live_tree(void **state)
{
    *state = NULL;
    char own[256];
    if (geteuid() != 0 || !own_cgroup(NULL, own, sizeof own))
        return 0; /* live() skips */
    Live *l = new0(Live);
    l->modules_fd = -EBADF;
    snprintf(l->root, sizeof l->root, "%s/bh-t%d", own, getpid());
    snprintf(l->bpffs, sizeof l->bpffs, "/tmp/bh-t%d-bpffs", getpid());
    char modules[560], a[580];
    if (mkdir(l->root, 0755) < 0 || mkdir(l->bpffs, 0700) < 0) {
        print_message("%s: %s\n", l->root, strerror(errno));
        live_free(l);
        return -1;
    }
    make_dir(modules, sizeof modules, l->root, "modules");
    make_dir(a, sizeof a, modules, "a");
    make_dir(l->leaf, sizeof l->leaf, a, "1");
    l->modules = cgroup_id(modules);
    l->modules_fd = open(modules, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    l->a = cgroup_id(a);
    l->leaf_id = cgroup_id(l->leaf);
    /* Components between the mount and modules/: those of /proc/self/cgroup, bh-t<pid>, modules. */
    _cleanup_(freep) char *text = NULL;
    assert_int_equal(file_read_all(AT_FDCWD, "/proc/self/cgroup", 1u << 20, &text, NULL), 0);
    l->level = 2;
    for (char *p = strstr(text, "0::/") + 4; *p && *p != '\n'; p++)
        l->level += p[-1] == '/';
    *state = l;
    return 0;
}

_unused_ static int module_tracked(Live *l, uint64_t id, const char *name, uint32_t track, const uint16_t *ports,
                                   size_t n_ports, Error *e)
{
    const KernelModule m = {.name = name, .track = track, .ports = ports, .n_ports = n_ports};
    return kernel_module_add(l->kernel, id, &m, e);
}

/* The tree with an open Kernel, module a tracked on all ports, generation 1 in its leaf. */
_unused_ static int live_open(void **state)
{
    if (live_tree(state) < 0)
        return -1;
    Live *l = *state;
    if (!l)
        return 0;
    Error e = {0};
    KernelConfig config = live_config(l);
    int r = kernel_open(&config, &l->kernel, &e);
    r = r < 0 ? r : module_tracked(l, l->a, "a", WORK_TRACK_CONNECTIONS, NULL, 0, &e);
    r = r < 0 ? r : kernel_generation_add(l->kernel, l->leaf_id, l->a, 1, &e);
    if (r < 0)
        print_message("%s\n", error_message(&e));
    return r;
}

_unused_ static int live_close(void **state)
{
    if (*state)
        live_free(*state);
    return 0;
}

_unused_ static Live *live(void **state)
{
    if (!*state)
        SKIP("root and a cgroup2 mount are needed");
    return *state;
}

_unused_ static void event_keep(const struct ring_event *event, void *userdata)
{
    Live *l = userdata;
    if (l->n_events < ELEMENTS(l->events))
        l->events[l->n_events++] = *event;
}

/* The first event of a kind that concerns a pid (0 = any) among those that came so far, NULL when none did. */
_unused_ static const struct ring_event *event_of(Live *l, u32 kind, pid_t pid)
{
    assert_true(kernel_ring_consume(l->kernel, event_keep, l) >= 0);
    for (size_t i = 0; i < l->n_events; i++)
        if (l->events[i].kind == kind && (pid == 0 || l->events[i].pid == (u32)pid))
            return &l->events[i];
    return NULL;
}

/* Waits for it through the ring's descriptor, as the daemon does. */
_unused_ static struct ring_event wait_event(Live *l, u32 kind, pid_t pid)
{
    uint64_t until = now_monotonic() + DEADLINE;
    const struct ring_event *event;
    while (!(event = event_of(l, kind, pid))) {
        if (now_monotonic() > until)
            fail_msg("no event of kind %u came in time", kind);
        struct pollfd p = {.fd = kernel_ring_fd(l->kernel), .events = POLLIN};
        poll(&p, 1, 1000);
    }
    return *event;
}

_unused_ static struct exit_entry exit_now(Live *l)
{
    struct exit_entry e;
    assert_int_equal(kernel_exit(l->kernel, l->leaf_id, &e), 0);
    return e;
}

_unused_ static struct work_counters counts(Live *l)
{
    struct work_entry w;
    assert_int_equal(kernel_work(l->kernel, l->a, &w), 0);
    return w.connections;
}

/* Runs fn in a child inside the cgroup `dir` ("" = this one's); its return value is the exit status. Returns when the
 * child is in there. */
_unused_ static pid_t child_in(const char *dir, int (*fn)(void *), void *arg)
{
    static const int caught[] = {SIGSEGV, SIGILL, SIGFPE, SIGBUS, SIGSYS}; /* by cmocka */
    int arrived[2];
    char byte = 0;
    assert_int_equal(pipe2(arrived, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char procs[800];
        snprintf(procs, sizeof procs, "%s/cgroup.procs", dir);
        for (size_t i = 0; i < ELEMENTS(caught); i++)
            signal(caught[i], SIG_DFL);
        if ((dir[0] && file_write(AT_FDCWD, procs, "0") < 0) || write(arrived[1], &byte, 1) != 1)
            _exit(99);
        close(arrived[0]);
        close(arrived[1]);
        _exit(fn(arg));
    }
    close(arrived[1]);
    ssize_t n = read(arrived[0], &byte, 1);
    close(arrived[0]);
    assert_int_equal(n, 1);
    return pid;
}

_unused_ static int wait_child(pid_t pid)
{
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}
