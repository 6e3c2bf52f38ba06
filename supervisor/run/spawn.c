/* See spawn.h.
 *
 * How the child comes to be. A copy of the daemon, as fork makes it, costs more than all the rest of a start once there
 * are a thousand modules: page tables copied, every page written after that copied again, a thousand descriptors closed
 * at exec (docs/bench.md). So the child shares memory and descriptors with the daemon, which the kernel suspends until
 * the child has its own program or has ended (CLONE_VM | CLONE_VFORK | CLONE_FILES, a stack of its own). What makes
 * that safe:
 *   - one thread: while the child runs, nobody else touches that memory; errno is written by it and read by nobody
 * after;
 *   - the child changes no descriptor before it has unshared the table, and keeps just the lowest ones: FD_SLOTS, which
 *     are reserved at start-up and lent to each child in turn;
 *   - the OOM killer does not choose a task in the middle of vfork (it would take down all that share its memory), and
 *     an oom_score_adj written there is its own;
 *   - while it waits the daemon lends the child its CPU too: elsewhere, behind a busy program, each start would wait
 * for that one's time slice, one after the other (a thousand starts beside two busy CPUs: 6.5 s, so 2.9 s);
 *   - a child that changes its user makes the shared memory undumpable, so that user cannot trace it; spawn() mends it.
 * Where a network or FUSE file system is mounted, whose server may be dead, a program or working_dir on it would hold
 * up the daemon: there (mounts.h), for probes, which run no program, without close_range, and where the machine code
 * below does not fit, the child is a plain copy. */
#include "supervisor/run/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <pwd.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/str.h"
#include "policies/keys.h"

/* What a module never gets unless its policy lists its capabilities itself: with any of these root could undo its
 * bulkhead (mount, load programs into the kernel, write raw memory or devices, read other processes). */
static const uint8_t dropped_by_default[] = {
    CAP_SYS_ADMIN,          CAP_BPF,   CAP_SYS_PTRACE, CAP_SYS_MODULE,   CAP_SYS_RAWIO, CAP_PERFMON, CAP_MAC_ADMIN,
    CAP_CHECKPOINT_RESTORE, CAP_MKNOD, CAP_SYS_BOOT,   CAP_MAC_OVERRIDE,
};

static uint64_t bounding_set(const Sandbox *s)
{
    if (s->capabilities_set)
        return s->capabilities;
    uint64_t set = UINT64_MAX;
    for (size_t i = 0; i < ELEMENTS(dropped_by_default); i++)
        set &= ~(1ull << dropped_by_default[i]);
    return set;
}

static bool has_variable(char *const *env, const char *name)
{
    size_t n = strlen(name);
    STRV_FOREACH (e, env)
        if (strncmp(*e, name, n) == 0 && (*e)[n] == '=')
            return true;
    return false;
}

static void set_default(char ***env, const char *name, const char *value)
{
    if (value && !has_variable(*env, name))
        strv_push(env, xasprintf("%s=%s", name, value));
}

/* What the daemon has to say wins over what the policy says. */
static void set_variable(char ***env, const char *variable)
{
    size_t n = (size_t)(strchrnul(variable, '=') - variable) + 1;
    for (char **v = *env; v && *v; v++)
        if (strncmp(*v, variable, n) == 0) {
            free(*v);
            *v = xstrdup(variable);
            return;
        }
    strv_add(env, variable);
}

static void set_directories(char ***env, const char *name, const char *base, char *const *names)
{
    if (!names)
        return;
    StrBuf b = STRBUF_NULL;
    STRV_FOREACH (n, names)
        strbuf_addf(&b, "%s%s/%s", b.len ? ":" : "", base, *n);
    set_default(env, name, b.s);
    strbuf_done(&b);
}

/* The files of users are read at each call, and a thousand modules of one user start at once: an answer is good for a
 * second. */
static const struct passwd *user_record(uid_t uid)
{
    static struct passwd record;
    static const struct passwd *last;
    static char text[8192];
    static uint64_t asked;
    uint64_t now = now_monotonic();
    struct passwd *found = NULL;
    if (last && last->pw_uid == uid && now - asked < USEC_PER_SEC)
        return last;
    asked = now;
    return last = getpwuid_r(uid, &record, text, sizeof text, &found) == 0 ? found : NULL;
}

char **spawn_environment(const Module *m, const Box *box, char *const *extra)
{
    const ModulePolicy *p = m->policy;
    char **env = strv_copy(p->environment);
    set_default(&env, "PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    const struct passwd *pw = user_record(p->sandbox.uid);
    if (pw) {
        set_default(&env, "HOME", pw->pw_dir);
        set_default(&env, "USER", pw->pw_name);
        set_default(&env, "LOGNAME", pw->pw_name);
        set_default(&env, "SHELL", pw->pw_shell);
    }
    set_directories(&env, "RUNTIME_DIRECTORY", "/run", p->runtime_directory);
    set_directories(&env, "STATE_DIRECTORY", "/var/lib", p->state_directory);
    set_directories(&env, "LOGS_DIRECTORY", "/var/log", p->logs_directory);
    STRV_FOREACH (e, extra)
        set_variable(&env, *e);
    if (box_mark(box))
        strv_add(&env, box_mark(box));
    return env;
}

static void close_all(int fds[static CG_N])
{
    for (size_t i = 0; i < CG_N; i++)
        fds[i] = fd_close(fds[i]);
}

/* --- the child that shares --- */

/* The descriptors that a child may need after it has left the daemon's table. */
enum { SLOT_REPORT, SLOT_READY, SLOT_STDIO, SLOT_LISTEN = SLOT_STDIO + 3, FD_SLOTS = SLOT_LISTEN + LISTEN_MAX };
#define SLOT_FIRST 3 /* behind stdio: the lowest there are */

static bool slots_reserved;
static cpu_set_t own_cpus; /* what the daemon and its children may use; none = not known, nothing is pinned */

/* All there are is written as all there could be, so that CPUs that come later count too. */
static void remember_cpus(void)
{
    if (sched_getaffinity(0, sizeof own_cpus, &own_cpus) < 0)
        CPU_ZERO(&own_cpus);
    else if (CPU_COUNT(&own_cpus) >= get_nprocs())
        memset(&own_cpus, 0xff, sizeof own_cpus);
}

/* Keeps this thread, and so its next child, on the CPU it is on. */
static void stay_here(void)
{
    cpu_set_t here;
    int cpu = sched_getcpu();
    CPU_ZERO(&here);
    if (cpu < 0 || cpu >= CPU_SETSIZE)
        return;
    CPU_SET((size_t)cpu, &here);
    (void)sched_setaffinity(0, sizeof here, &here);
}

void spawn_reserve(void)
{
    remember_cpus();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC | O_NOCTTY);
    slots_reserved = null >= 0;
    for (int i = 0; i < FD_SLOTS && slots_reserved; i++)
        if (null != SLOT_FIRST + i)
            slots_reserved = dup3(null, SLOT_FIRST + i, O_CLOEXEC) >= 0;
    if (null >= SLOT_FIRST + FD_SLOTS)
        close(null);
}

static int lend(int fd, int slot)
{
    return fd < 0 ? fd : dup3(fd, SLOT_FIRST + slot, O_CLOEXEC);
}

/* Puts what the child needs into the slots and the slots into its plan. */
static bool lend_all(ChildPlan *p)
{
    bool ready = p->ready_fd >= 0;
    p->report = lend(p->report, SLOT_REPORT);
    p->ready_fd = lend(p->ready_fd, SLOT_READY);
    for (int i = 0; i < 3; i++)
        p->stdio[i] = lend(p->stdio[i], SLOT_STDIO + i);
    bool listening = true;
    for (size_t i = 0; i < p->n_listen; i++)
        listening &= (p->listen[i] = lend(p->listen[i], SLOT_LISTEN + (int)i)) >= 0;
    p->own_fds = SLOT_FIRST + FD_SLOTS;
    return listening && p->report >= 0 && p->stdio[0] >= 0 && p->stdio[1] >= 0 && p->stdio[2] >= 0 &&
           (!ready || p->ready_fd >= 0);
}

/* The slots hold nothing of the child's any more: pipes would not end, logs would stay open. */
static void take_back(int null_fd)
{
    for (int i = 0; i < FD_SLOTS; i++)
        (void)lend(null_fd, i);
}

#if defined(__x86_64__) && !defined(BULKHEAD_SANITIZED)
#define CAN_SHARE true
/* clone3, or the clone of before, for a child with a stack of its own: it must not return into this function's frame,
 * so it calls child_main right there. Registers go through the call unchanged. */
static long clone_shared(bool clone3, const struct clone_args *args, const ChildPlan *plan)
{
    register void (*start)(const ChildPlan *) __asm__("r12") = child_main;
    register const ChildPlan *argument __asm__("r13") = plan;
    /* clone(flags and signal, top of the stack, where the pidfd goes) */
    uint64_t first = clone3 ? (uint64_t)(uintptr_t)args : args->flags | args->exit_signal;
    uint64_t second = clone3 ? sizeof *args : args->stack + args->stack_size;
    long r;
    __asm__ volatile("syscall\n\t"
                     "test %%rax, %%rax\n\t"
                     "jnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\t"
                     "mov %%r13, %%rdi\n\t"
                     "call *%%r12\n\t"
                     "hlt\n"
                     "1:"
                     : "=a"(r)
                     : "a"(clone3 ? SYS_clone3 : SYS_clone), "D"(first), "S"(second), "d"(args->pidfd), "r"(start),
                       "r"(argument)
                     : "rcx", "r11", "memory");
    return r;
}
#else
#define CAN_SHARE false
static long clone_shared(bool clone3, const struct clone_args *args, const ChildPlan *plan)
{
    (void)clone3, (void)args, (void)plan;
    return -ENOSYS;
}
#endif

/* The child's pid, or a negative errno. */
static pid_t clone_child(const SpawnRequest *q, bool into, const ChildPlan *plan, int *ret_pidfd)
{
    const bool clone3 = q->module->ctx->can.clone3;
    /* One is enough: the daemon runs again only when the child has left it. */
    static char stack[64 * 1024] __attribute__((aligned(16)));
    struct clone_args args = {
        .flags = CLONE_PIDFD | (into ? CLONE_INTO_CGROUP : 0),
        .pidfd = (uint64_t)(uintptr_t)ret_pidfd,
        .exit_signal = SIGCHLD,
        .cgroup = into ? (uint64_t)group_dirfd(box_group(q->box)) : 0,
    };
    /* Without it nothing changes: the daemon has no signal handlers, and exec would reset them. */
    if (clone3)
        args.flags |= CLONE_CLEAR_SIGHAND;
    if (plan->own_fds) {
        args.flags |= CLONE_VM | CLONE_VFORK | CLONE_FILES;
        args.stack = (uint64_t)(uintptr_t)stack;
        args.stack_size = sizeof stack;
        return (pid_t)clone_shared(clone3, &args, plan);
    }
    pid_t pid = (pid_t)(clone3 ? syscall(SYS_clone3, &args, sizeof args)
                               : syscall(SYS_clone, args.flags | args.exit_signal, NULL, ret_pidfd, NULL, NULL));
    if (pid == 0)
        child_main(plan);
    return pid < 0 ? -errno : pid;
}

/* Undoes what the child's change of user has done to the memory it shared. */
static pid_t clone_lending(const SpawnRequest *r, bool into, ChildPlan *plan, int *ret_pidfd)
{
    int null_fd = r->module->ctx->null_fd, dumpable = prctl(PR_GET_DUMPABLE, 0, 0, 0, 0);
    bool pin = CPU_COUNT(&own_cpus) > 0;
    if (pin) {
        plan->cpus = &own_cpus;
        stay_here();
    }
    pid_t pid = lend_all(plan) ? clone_child(r, into, plan, ret_pidfd) : -EMFILE;
    take_back(null_fd);
    if (pin)
        (void)sched_setaffinity(0, sizeof own_cpus, &own_cpus);
    if (dumpable == 1 && r->module->policy->sandbox.uid)
        (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return pid;
}

static void fill(const SpawnRequest *r, ChildPlan *p)
{
    const Module *m = r->module;
    const Sandbox *s = &m->policy->sandbox;
    uint64_t bounding = bounding_set(s);
    *p = (ChildPlan){
        .procs = {-EBADF, -EBADF, -EBADF, -EBADF, -EBADF},
        .view = m->ctx->view,
        .root = m->ctx->root,
        .stdio = {m->ctx->null_fd, r->output, r->error},
        .ready_fd = r->ready_fd,
        .ready_number = r->ready_number,
        .umask = m->policy->umask,
        .limits = &m->policy->limits,
        .reset_oom_score_adj = m->ctx->reset_oom_score_adj,
        .inherited_nofile = {m->ctx->nofile_soft, m->ctx->nofile_hard},
        .uid = s->uid,
        .gid = s->gid,
        .groups = s->supplementary_groups,
        .n_groups = s->n_supplementary_groups,
        .bounding = bounding,
        .ambient = s->capabilities_set ? bounding : 0,
        .no_new_privs = s->no_new_privs,
        .directory = m->policy->working_dir,
        .path = r->argv ? r->argv[0] : NULL,
        .argv = r->argv,
        .envp = r->envp,
        .n_listen = r->n_listen,
        .listen_pid = r->listen_pid,
        .probe = r->probe,
        .probe_argument = r->probe_argument,
    };
    for (size_t i = 0; i < r->n_listen; i++)
        p->listen[i] = r->listen[i];
    if (r->filtered && s->filter)
        p->filter = (struct sock_fprog){(unsigned short)s->filter->n_instructions, s->filter->instructions};
}

int spawn(const SpawnRequest *r, Spawned *ret, Error *e)
{
    ChildPlan plan;
    fill(r, &plan);
    CgroupTree *tree = r->module->ctx->tree;
    bool into = tree && cgroup_tree_features(tree)->clone_into;
    int code = tree ? group_procs_fds(box_group(r->box), into, plan.procs, e) : 0;
    if (code < 0) {
        error_stage(e, "cgroup");
        return code;
    }
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        code = -errno;
        close_all(plan.procs);
        error_stage(e, "clone");
        return error_errno(e, code, "cannot make a pipe");
    }
    plan.report = pipe_fds[1];
    int pidfd = -EBADF;
    bool share = CAN_SHARE && slots_reserved && r->module->ctx->can.close_range && !r->probe &&
                 !mounts_may_hang(&r->module->ctx->mounts);
    pid_t pid = share ? clone_lending(r, into, &plan, &pidfd) : clone_child(r, into, &plan, &pidfd);
    code = pid < 0 ? (int)pid : 0;
    if (into)
        group_release_fd(box_group(r->box)); /* or every running module would keep one open */
    close_all(plan.procs);
    fd_close(pipe_fds[1]);
    if (code < 0) {
        fd_close(pipe_fds[0]);
        error_stage(e, "clone");
        return error_errno(e, code, "cannot create a process");
    }
    (void)fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
    box_started(r->box, pid);
    *ret = (Spawned){.pid = pid, .pidfd = pidfd, .report = pipe_fds[0]};
    return 0;
}

/* Without CAP_SYS_RESOURCE, as in many containers, the daemon cannot give more than it has. */
static int explain_limit(const Module *m, const ChildReport *r, Error *e)
{
    const char *name = r->limit == CHILD_LIMIT_NICE            ? "nice"
                       : r->limit == CHILD_LIMIT_OOM_SCORE_ADJ ? "oom_score_adj"
                                                               : "a limit";
    for (size_t i = 0; i < keys_n; i++) {
        bool rlimit = keys[i].kind >= VALUE_RLIMIT_COUNT && keys[i].kind <= VALUE_RLIMIT_USEC;
        if (rlimit && r->limit >= 0 &&
            keys[i].offset == offsetof(ModulePolicy, limits.rlimits[0]) + (size_t)r->limit * sizeof(Rlimit))
            name = keys[i].name;
    }
    const Limits *l = &m->policy->limits;
    if (r->limit == CHILD_LIMIT_NICE && r->error == EACCES)
        return error_set(e, -r->error, "nice = %d is below the daemon's own, and it lacks CAP_SYS_NICE", l->nice);
    if (r->limit == CHILD_LIMIT_OOM_SCORE_ADJ && r->error == EACCES)
        return error_set(e, -r->error, "oom_score_adj = %d is below the daemon's own, and it lacks CAP_SYS_RESOURCE",
                         l->oom_score_adj);
    struct rlimit own;
    if (r->error != EPERM || r->limit < 0 || getrlimit((__rlimit_resource_t)r->limit, &own) < 0)
        return error_errno(e, -r->error, "%s", name);
    return error_set(
        e, -r->error,
        "%s = %llu:%llu is over the daemon's own hard limit %llu, and it lacks CAP_SYS_RESOURCE to raise it", name,
        (unsigned long long)m->policy->limits.rlimits[r->limit].soft,
        (unsigned long long)m->policy->limits.rlimits[r->limit].hard, (unsigned long long)own.rlim_max);
}

/* Of a program that could not be executed: the errno alone leaves out whose fault it is. The daemon looks as root,
 * later, so this is a hint. */
static int explain_exec(const ModulePolicy *p, const char *path, const ChildReport *r, Error *e)
{
    struct stat st;
    bool there = stat(path, &st) == 0;
    error_errno(e, -r->error, "%s", path);
    if (r->error == ENOENT && there)
        error_suffix(
            e, " (the file is there, but not what runs it: the program after #! in its first line, or its loader)");
    else if (r->error == ENOENT)
        error_suffix(e, " (is it installed, and is that its path? command -v NAME tells)");
    else if (r->error == EACCES && there && S_ISREG(st.st_mode) && !(st.st_mode & 0111))
        error_suffix(e, " (it is not executable: chmod +x, or name what runs it before it in exec)");
    else if (r->error == EACCES && there)
        error_suffix(e, " (user %s must have the right x on it and on each directory above)", p->sandbox.user_name);
    else if (r->error == ENOEXEC)
        error_suffix(e,
                     " (no program for this machine, and no script: that begins with #! and the program that runs it)");
    return -r->error;
}

/* What the errno is about: a path, a user, a number the reader can find in the policy. */
static int explain(const Module *m, const char *path, const ChildReport *r, Error *e)
{
    LaunchStage stage = (r->stage >= 0 && r->stage < STAGE_N) ? (LaunchStage)r->stage : STAGE_EXEC;
    error_stage(e, launch_stage_names[stage]);
    const ModulePolicy *p = m->policy;
    if (stage == STAGE_EXEC)
        return explain_exec(p, path ? path : "probe", r, e);
    if (stage == STAGE_DIRECTORY) {
        error_errno(e, -r->error, "working_dir %s", p->working_dir ? p->working_dir : "/");
        if (r->error == ENOENT)
            error_suffix(e, " (make it, or name another)");
        else if (r->error == EACCES)
            error_suffix(e, " (user %s must have the right x on it and on each directory above)", p->sandbox.user_name);
        return -r->error;
    }
    if (stage == STAGE_LIMITS)
        return explain_limit(m, r, e);
    if (stage == STAGE_USER || stage == STAGE_GROUPS)
        return error_errno(e, -r->error, "user %s", p->sandbox.user_name);
    return error_set(e, -r->error, "%s", strerror(r->error));
}

int spawn_report(int fd, const Module *m, const char *path, bool *reached_exec, Error *e)
{
    for (;;) {
        ChildReport r;
        ssize_t n = read(fd, &r, sizeof r);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n == (ssize_t)sizeof r) {
            if (r.error)
                return explain(m, path, &r, e);
            *reached_exec = true;
            continue;
        }
        if (n == 0 && *reached_exec)
            return 1;
        error_stage(e, "launch");
        return error_set(e, -ECHILD, "the process died on its way to exec");
    }
}
