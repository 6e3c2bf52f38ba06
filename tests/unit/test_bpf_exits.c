/* How processes end, as the kernel's side tells it: the wait status, who killed, what the OOM killer took, which call
 * seccomp refused. Each is done by a real process in the leaf of a generation. */
#include "tests/unit/bpf_live.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#endif

static int exit_with(void *arg)
{
    return *(int *)arg;
}

/* Until it is killed; never for ever. */
static int stay(void *arg)
{
    (void)arg;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(60);
    while (pause() < 0) {
    }
    return 0;
}

static int kill_it(void *arg)
{
    prctl(PR_SET_NAME, "bh-killer");
    return kill(*(pid_t *)arg, SIGKILL) < 0;
}

static void no_core(void)
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
}

/* The sanitizers would end it in their own way. */
__attribute__((no_sanitize("undefined", "address"))) static int crash(void *arg)
{
    no_core();
    *(volatile int *)arg = 1;
    return 0;
}

static void test_exit_status(void **state)
{
    Live *l = live(state);
    int three = 3;
    pid_t pid = child_in(l->leaf, exit_with, &three);
    struct ring_event event = wait_event(l, RING_EXIT, pid);
    assert_int_equal(event.value, 3 << 8);
    assert_int_equal(event.leaf, l->leaf_id);
    assert_int_equal(event.module, l->a);
    assert_int_equal(wait_child(pid), event.value);
    struct exit_entry e = exit_now(l);
    assert_int_equal(e.version, BULKHEAD_LAYOUT_VERSION);
    assert_int_equal(e.exit_code, 3 << 8);
    assert_int_equal(e.exit_pid, pid);
    assert_int_equal(e.generation, 1);
    assert_int_equal(e.module, l->a);
    assert_int_equal(e.killer_signal, 0);
    assert_int_equal(e.oom_kills + e.denied, 0);
    assert_in_range(e.exit_nsec, 1, now_monotonic() * 1000);
    /* Named afterwards, the record stays. */
    assert_int_equal(kernel_generation_main(l->kernel, l->leaf_id, pid), 0);
    assert_int_equal(exit_now(l).exit_code, 3 << 8);
    assert_int_equal(kernel_generation_main(l->kernel, 12345, pid), -ENOENT);
    assert_int_equal(kernel_generation_remove(l->kernel, l->leaf_id), 0);
    assert_int_equal(kernel_exit(l->kernel, l->leaf_id, &e), -ENOENT);
}

static void test_killer_is_named(void **state)
{
    Live *l = live(state);
    pid_t pid = child_in(l->leaf, stay, NULL);
    assert_int_equal(kernel_generation_main(l->kernel, l->leaf_id, pid), 0);
    pid_t killer = child_in("", kill_it, &pid);
    assert_int_equal(wait_child(killer), 0);
    struct ring_event event = wait_event(l, RING_EXIT, pid);
    assert_int_equal(event.value, SIGKILL);
    assert_int_equal(wait_child(pid), SIGKILL);
    struct exit_entry e = exit_now(l);
    assert_int_equal(e.exit_code, SIGKILL);
    assert_int_equal(e.killer_pid, killer);
    assert_int_equal(e.killer_signal, SIGKILL);
    assert_string_equal(e.killer_comm, "bh-killer");
    assert_int_equal(e.oom_kills, 0);
}

static void test_crash_is_the_kernels(void **state)
{
    Live *l = live(state);
    pid_t pid = child_in(l->leaf, crash, NULL);
    struct ring_event event = wait_event(l, RING_EXIT, pid);
    assert_int_equal(event.value & 0x7f, SIGSEGV);
    assert_int_equal(wait_child(pid), event.value);
    struct exit_entry e = exit_now(l);
    assert_int_equal(e.killer_signal, SIGSEGV);
    assert_int_equal(e.killer_pid, 0);
    assert_string_equal(e.killer_comm, "");
}

/* Only the main process's end is told, not its children's nor a probe's in a sibling leaf. */
static int fork_and_exit(void *arg)
{
    for (int i = 0; i < 20; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(9);
        waitpid(pid, NULL, 0);
    }
    return *(int *)arg;
}

static void test_only_the_main_process_counts(void **state)
{
    Live *l = live(state);
    char check[700];
    snprintf(check, sizeof check, "%s/modules/a/check", l->root);
    assert_int_equal(mkdir(check, 0755), 0);
    int four = 4, five = 5;
    pid_t probe = child_in(check, exit_with, &five);
    wait_child(probe);
    pid_t pid = child_in(l->leaf, fork_and_exit, &four);
    struct ring_event event = wait_event(l, RING_EXIT, 0);
    assert_int_equal(event.pid, pid);
    assert_int_equal(event.value, 4 << 8);
    wait_child(pid);
    event_of(l, RING_EXIT, 0);
    assert_int_equal(l->n_events, 1);
}

/* A process in a cgroup that the module made below its leaf belongs to the leaf. */
static void test_cgroups_below_the_leaf(void **state)
{
    Live *l = live(state);
    char below[700];
    snprintf(below, sizeof below, "%s/own", l->leaf);
    assert_int_equal(mkdir(below, 0755), 0);
    int six = 6;
    pid_t pid = child_in(below, exit_with, &six);
    wait_child(pid);
    struct ring_event event = wait_event(l, RING_EXIT, pid);
    assert_int_equal(event.leaf, l->leaf_id);
    assert_int_equal(event.value, 6 << 8);
    EVENTUALLY(rmdir(below) == 0);
}

/* A start hook in the same leaf, then the main process. */
static void test_hook_before_main(void **state)
{
    Live *l = live(state);
    int seven = 7, eight = 8;
    pid_t hook = child_in(l->leaf, exit_with, &seven);
    wait_event(l, RING_EXIT, hook);
    wait_child(hook);
    assert_int_equal(exit_now(l).exit_pid, hook);
    pid_t pid = child_in(l->leaf, stay, NULL);
    assert_int_equal(kernel_generation_main(l->kernel, l->leaf_id, pid), 0);
    struct exit_entry e = exit_now(l);
    assert_int_equal(e.exit_nsec, 0);
    assert_int_equal(e.exit_code, 0);
    /* Now others' ends are not the main's. */
    pid_t other = child_in(l->leaf, exit_with, &eight);
    wait_child(other);
    assert_int_equal(exit_now(l).exit_nsec, 0);
    kill(pid, SIGTERM);
    struct ring_event event = wait_event(l, RING_EXIT, pid);
    assert_int_equal(event.value, SIGTERM);
    assert_int_equal(wait_child(pid), SIGTERM);
    e = exit_now(l);
    assert_int_equal(e.main_pid, pid);
    assert_int_equal(e.killer_pid, getpid());
    assert_int_equal(e.killer_signal, SIGTERM);
}

static void *end_process(void *arg)
{
    (void)arg;
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    _exit(11);
}

static int leader_leaves_first(void *arg)
{
    (void)arg;
    pthread_t t;
    if (pthread_create(&t, NULL, end_process, NULL) != 0)
        return 1;
    syscall(SYS_exit, 0); /* this thread alone */
    return 2;
}

static void test_threads(void **state)
{
    Live *l = live(state);
    pid_t pid = child_in(l->leaf, leader_leaves_first, NULL);
    struct ring_event event = wait_event(l, RING_EXIT, pid);
    assert_int_equal(event.value, 11 << 8);
    assert_int_equal(wait_child(pid), 11 << 8);
    event_of(l, RING_EXIT, 0);
    assert_int_equal(l->n_events, 1);
}

/* --- seccomp ---------------------------------------------------------------------------------------------------------
 */

static int refuse(long nr)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)nr, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = ELEMENTS(code), .filter = code};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -1 : prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

/* Six arguments, none of which the call would ever see. */
static int call_refused(void *arg)
{
    (void)arg;
    no_core();
    prctl(PR_SET_NAME, "bh-caller");
    if (refuse(SYS_process_vm_readv) < 0)
        return 98;
    syscall(SYS_process_vm_readv, 0x1111111122222222, 2L, 0xfffffffffffffff3, 4L, 5L, 0x6000000000000006);
    return 0;
}

static int child_calls_refused(void *arg)
{
    pid_t pid = fork();
    if (pid == 0)
        _exit(call_refused(arg));
    int status;
    return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) ? WTERMSIG(status) : 97;
}

static void assert_denied(const struct exit_entry *e)
{
    assert_int_equal(e->denied, 1);
    assert_int_equal(e->denied_nr, SYS_process_vm_readv);
    assert_int_equal(e->denied_arch, NATIVE_ARCH);
    assert_true(e->denied_args[0] == 0x1111111122222222);
    assert_int_equal(e->denied_args[1], 2);
    assert_true(e->denied_args[2] == 0xfffffffffffffff3);
    assert_int_equal(e->denied_args[3], 4);
    assert_int_equal(e->denied_args[4], 5);
    assert_true(e->denied_args[5] == 0x6000000000000006);
    assert_string_equal(e->denied_comm, "bh-caller");
}

static void test_refused_call_is_named(void **state)
{
    Live *l = live(state);
    pid_t pid = child_in(l->leaf, call_refused, NULL);
    struct ring_event event = wait_event(l, RING_DENIED, pid);
    assert_int_equal(event.value, SYS_process_vm_readv);
    assert_int_equal(event.leaf, l->leaf_id);
    assert_true(event.args[0] == 0x1111111122222222 && event.args[5] == 0x6000000000000006);
    assert_string_equal(event.comm, "bh-caller");
    event = wait_event(l, RING_EXIT, pid);
    assert_int_equal(event.value & 0x7f, SIGSYS);
    assert_int_equal(wait_child(pid), event.value);
    struct exit_entry e = exit_now(l);
    assert_denied(&e);
    assert_int_equal(e.denied_pid, pid);
    assert_int_equal(e.killer_signal, SIGSYS);
    assert_int_equal(e.killer_pid, 0);
}

static void test_refused_call_of_a_child(void **state)
{
    Live *l = live(state);
    pid_t pid = child_in(l->leaf, child_calls_refused, NULL);
    struct ring_event event = wait_event(l, RING_EXIT, pid);
    assert_int_equal(event.value, SIGSYS << 8); /* as the parent's exit status */
    wait_child(pid);
    struct exit_entry e = exit_now(l);
    assert_denied(&e);
    assert_int_not_equal(e.denied_pid, pid);
    assert_int_equal(e.killer_signal, 0);
}

static void test_sent_sigsys_is_no_refusal(void **state)
{
    Live *l = live(state);
    pid_t pid = child_in(l->leaf, stay, NULL);
    assert_int_equal(kernel_generation_main(l->kernel, l->leaf_id, pid), 0);
    kill(pid, SIGSYS);
    wait_event(l, RING_EXIT, pid);
    wait_child(pid);
    struct exit_entry e = exit_now(l);
    assert_int_equal(e.denied, 0);
    assert_int_equal(e.killer_signal, SIGSYS);
    assert_int_equal(e.killer_pid, getpid());
}

/* --- out of memory ---------------------------------------------------------------------------------------------------
 */

typedef struct Hog {
    char memory[700];
    bool in_child;
} Hog;

static int eat(void)
{
    size_t size = 256u << 20;
    char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return 96;
    for (size_t i = 0; i < size; i += 4096)
        ((volatile char *)p)[i] = 1;
    return 95; /* no limit held it */
}

static int hog(void *arg)
{
    Hog *h = arg;
    char procs[800];
    snprintf(procs, sizeof procs, "%s/cgroup.procs", h->memory);
    if (file_write(AT_FDCWD, procs, "0") < 0)
        return 94;
    if (!h->in_child)
        return eat();
    pid_t pid = fork();
    if (pid == 0)
        _exit(eat());
    int status;
    return waitpid(pid, &status, 0) == pid && WIFSIGNALED(status) ? WTERMSIG(status) : 93;
}

/* cgroup2 hands memory down only from cgroups without processes: while it is handed down to the leaf, this process sits
 * beside the tree instead of above it. */
static bool memory_hand_down(const Live *l, bool on)
{
    char own[512], aside[560], path[800];
    snprintf(own, sizeof own, "%s", l->root);
    *strrchr(own, '/') = 0;
    snprintf(aside, sizeof aside, "%s-self", l->root);
    const char *const steps[] = {own, l->root, "modules", "modules/a"}; /* from the top down */
    int n = (int)ELEMENTS(steps), r = 0;
    if (on) {
        snprintf(path, sizeof path, "%s/cgroup.procs", aside);
        r = mkdir(aside, 0755) < 0 ? -errno : file_write(AT_FDCWD, path, "0");
    }
    for (int i = 0; i < n && r == 0; i++) {
        const char *step = steps[on ? i : n - 1 - i];
        snprintf(path, sizeof path, "%s%s%s/cgroup.subtree_control", step[0] == '/' ? "" : l->root,
                 step[0] == '/' ? "" : "/", step);
        r = file_write(AT_FDCWD, path, on ? "+memory" : "-memory");
    }
    if (!on && r == 0) {
        snprintf(path, sizeof path, "%s/cgroup.procs", own);
        r = file_write(AT_FDCWD, path, "0");
        r = r == 0 && rmdir(aside) < 0 ? -errno : r;
    }
    if (r < 0)
        print_message("%s: %s\n", path, strerror(-r));
    return r == 0;
}

/* A cgroup with 32 MiB and no swap: a v1 one beside the leaf, or the leaf itself. */
static bool memory_limited(Live *l, Hog *ret)
{
    char own[256], path[800];
    if (own_cgroup("memory", own, sizeof own)) {
        snprintf(ret->memory, sizeof ret->memory, "%s/bh-t%d", own, getpid());
        snprintf(path, sizeof path, "%s/memory.limit_in_bytes", ret->memory);
        if (mkdir(ret->memory, 0755) < 0)
            return false;
        return file_write(AT_FDCWD, path, "33554432") == 0;
    }
    snprintf(ret->memory, sizeof ret->memory, "%s", l->leaf);
    snprintf(path, sizeof path, "%s/memory.max", l->leaf);
    return memory_hand_down(l, true) && file_write(AT_FDCWD, path, "33554432") == 0;
}

static void memory_done(const Live *l, const Hog *h)
{
    if (strcmp(h->memory, l->leaf) != 0)
        EVENTUALLY(rmdir(h->memory) == 0);
    else
        assert_true(memory_hand_down(l, false));
}

static void test_oom_takes_the_main_process(void **state)
{
    Live *l = live(state);
    Hog h = {0};
    if (!memory_limited(l, &h))
        SKIP("no memory controller for this cgroup");
    pid_t pid = child_in(l->leaf, hog, &h);
    struct ring_event event = wait_event(l, RING_EXIT, pid);
    assert_int_equal(wait_child(pid), SIGKILL);
    memory_done(l, &h);
    assert_int_equal(event.value, SIGKILL);
    event = wait_event(l, RING_OOM, pid);
    assert_int_equal(event.leaf, l->leaf_id);
    assert_int_equal(event.module, l->a);
    struct exit_entry e = exit_now(l);
    assert_int_equal(e.oom_kills, 1);
    assert_int_equal(e.oom_main, 1);
    assert_int_equal(e.killer_signal, SIGKILL);
    assert_int_equal(e.killer_pid, 0);
}

static void test_oom_takes_a_child(void **state)
{
    Live *l = live(state);
    Hog h = {.in_child = true};
    if (!memory_limited(l, &h))
        SKIP("no memory controller for this cgroup");
    pid_t pid = child_in(l->leaf, hog, &h);
    struct ring_event event = wait_event(l, RING_EXIT, pid);
    wait_child(pid);
    memory_done(l, &h);
    assert_int_equal(event.value, SIGKILL << 8); /* as the parent's exit status */
    event = wait_event(l, RING_OOM, 0);
    assert_int_not_equal(event.pid, pid);
    struct exit_entry e = exit_now(l);
    assert_int_equal(e.oom_kills, 1);
    assert_int_equal(e.oom_main, 0);
    assert_int_equal(e.killer_signal, 0);
}

/* --- the ring --------------------------------------------------------------------------------------------------------
 */

static int die_refused_often(void *arg)
{
    for (int i = *(int *)arg; i > 0; i--) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(call_refused(NULL));
        waitpid(pid, NULL, 0);
    }
    return 0;
}

static void test_full_ring_is_counted(void **state)
{
    Live *l = live(state);
    int many = 700; /* 64 KiB hold 585 events */
    pid_t pid = child_in(l->leaf, die_refused_often, &many);
    wait_child(pid); /* without reading the ring */
    struct kernel_stats s;
    EVENTUALLY(kernel_stats(l->kernel, &s) == 0 && s.ring_lost > 0);
    assert_in_range(s.ring_lost, 100, 200);
    struct exit_entry e = exit_now(l);
    assert_int_equal(e.denied, 700);
    assert_true(e.exit_nsec > 0); /* the map knows what the ring could not take */
    assert_in_range(kernel_ring_consume(l->kernel, event_keep, l), 500, 700);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, live_open, live_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_exit_status),
        TEST(test_killer_is_named),
        TEST(test_crash_is_the_kernels),
        TEST(test_only_the_main_process_counts),
        TEST(test_cgroups_below_the_leaf),
        TEST(test_hook_before_main),
        TEST(test_threads),
        TEST(test_refused_call_is_named),
        TEST(test_refused_call_of_a_child),
        TEST(test_sent_sigsys_is_no_refusal),
        TEST(test_oom_takes_the_main_process),
        TEST(test_oom_takes_a_child),
        TEST(test_full_ring_is_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
