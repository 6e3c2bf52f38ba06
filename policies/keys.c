/* See keys.h: the table, and what derives from it without reading a value. */
#include "policies/keys.h"

#include <sys/resource.h>

#include "base/log.h"
#include "base/str.h"
#include "policies/policy.h"

const char *const module_type_names[MODULE_TYPE_N] = {"simple", "oneshot"};
const char *const start_mode_names[START_MODE_N] = {"auto", "manual"};
const char *const when_running_names[WHEN_RUNNING_N] = {"skip", "queue"};
const char *const ready_kind_names[READY_KIND_N] = {"none", "exec", "notify", "fd", "tcp", "unix"};
const char *const log_target_names[LOG_TARGET_N] = {"default", "journal", "file", "null", "inherit"};
const char *const restart_when_names[RESTART_WHEN_N] = {"no", "on-failure", "always"};
const char *const kernel_part_names[KERNEL_PART_N] = {"required", "optional"};

#define S(field_, kind_, fallback_, example_, doc_, ...)                                                               \
    {                                                                                                                  \
        .section = "supervisor", .name = #field_, .kind = VALUE_##kind_, .offset = offsetof(SupervisorPolicy, field_), \
        .fallback = fallback_, .example = example_, .doc = doc_, __VA_ARGS__                                           \
    }
#define M(section_, name_, field_, kind_, fallback_, example_, doc_, ...)                                    \
    {                                                                                                        \
        .section = section_, .name = name_, .kind = VALUE_##kind_, .offset = offsetof(ModulePolicy, field_), \
        .fallback = fallback_, .example = example_, .doc = doc_, __VA_ARGS__                                 \
    }
#define RLIMIT(name_, which_, kind_, example_, doc_, ...) \
    M("limits", name_, limits.rlimits[RLIMIT_##which_], RLIMIT_##kind_, "", example_, doc_, __VA_ARGS__)
#define SET(field_)   .set_offset = offsetof(ModulePolicy, field_)
#define NAMES(names_) .names = names_, .n_names = ELEMENTS(names_)

#define INFINITE      UINT64_MAX

/* clang-format off */
const Key keys[] = {
    S(parallel_start, YES_NO, "yes", "no", "whether modules that do not wait for each other start at once"),
    S(start_delay, TIME, "0s", "500ms", "pause between two starts", .max = INFINITE - 1),
    S(startup_timeout, TIME, "60s", "2m", "how long the start of all required modules may take; infinity: no limit", .min = 1, .max = INFINITE),
    S(read_group, GROUP, "", "adm", "whose members may read the state of all modules"),
    S(operate_group, GROUP, "", "adm", "whose members may start and stop modules"),
    S(bpf, CHOICE, "required", "optional", "whether to go on without BTF and bpffs: nothing is counted then", NAMES(kernel_part_names)),
    S(cgroups, CHOICE, "required", "optional", "whether to go on without a writable cgroup tree: limits are refused by name then", NAMES(kernel_part_names)),
    S(log_level, CHOICE_TEXT, "info", "debug", "the least important line that the daemon logs", NAMES(log_level_names)),

    M("module", "include", include, INCLUDES, "", "common.ini", "further files whose values lie below those of the module's own files"),
    M("module", "exec", exec, COMMAND, "", "/usr/sbin/nginx -g 'daemon off;'", "the program and its arguments; split into words by quotes and backslashes, no shell. Must be given", .variables = true),
    M("module", "description", description, LABEL, "", "the web server", "what it is, for people"),
    M("module", "version", version, TEXT, "", "1.2.3", "its version, for people"),
    M("module", "type", type, CHOICE, "simple", "oneshot", "whether it runs until it is stopped (simple), or is a job that ends (oneshot)", NAMES(module_type_names)),
    M("module", "remain_after_exit", remain_after_exit, YES_NO, "no", "yes", "whether a oneshot that has ended well stays done, so that starting it again runs nothing"),
    M("module", "start", start, CHOICE, "auto", "manual", "whether it starts with the daemon (auto), or when it is asked for or required (manual)", NAMES(start_mode_names)),
    M("module", "instances", instances, COUNT, "", "3", "makes that many modules of it, NAME@1, NAME@2 and so on; %i is the number", .min = 1, .max = MODULE_INSTANCES_MAX),
    M("module", "group", group, NAME, "", "shop", "a word by which commands find several modules at once, as GROUP:*"),
    M("module", "exec_start_pre", exec_start_pre, COMMANDS, "", "/usr/sbin/nginx -t", "run before each start, in the same box; its failure fails the start", .variables = true),
    M("module", "exec_start_pre_timeout", exec_start_pre_timeout, TIME, "", "2m", "how long exec_start_pre may take; not given: start_timeout", .min = 1, .max = INFINITE),
    M("module", "exec_start_post", exec_start_post, COMMANDS, "", "/usr/bin/logger web is ready", "run when it has become ready, in the same box; only then it is running, and its failure fails the start", .variables = true, .main_pid = true),
    M("module", "exec_start_post_timeout", exec_start_post_timeout, TIME, "", "10s", "how long exec_start_post may take; not given: start_timeout", .min = 1, .max = INFINITE),
    M("module", "exec_stop_post", exec_stop_post, COMMANDS, "", "/bin/rm -f /run/web/flag", "run after each end, in the same box", .variables = true),
    M("module", "exec_stop_post_timeout", exec_stop_post_timeout, TIME, "", "10s", "how long exec_stop_post may take; not given: stop_timeout", .min = 1, .max = INFINITE),
    M("module", "exec_reload", exec_reload, COMMANDS, "", "/bin/kill -HUP ${MAINPID}", "what `bulkhead reload` runs, in the same box", .variables = true, .main_pid = true),
    M("module", "exec_reload_timeout", exec_reload_timeout, TIME, "", "30s", "how long a reload may take; not given: start_timeout", .min = 1, .max = INFINITE),
    M("module", "reload_signal", reload_signal, SIGNAL, "", "HUP", "the signal by which `bulkhead reload` asks it to read its configuration again, instead of exec_reload"),
    M("module", "working_dir", working_dir, PATH, "", "/srv/web", "the current directory; not given: /", .variables = true),
    M("module", "environment", environment, ENVIRONMENT, "", "LANG=C.UTF-8, \"GREETING=hello, world\"", "variables; they win over environment_file"),
    M("module", "environment_file", environment_file, ENV_FILE, "", "-/etc/default/web", "files of NAME=value lines, the last one wins; '-' before one: it may be missing"),
    M("module", "umask", umask, UMASK, "0022", "0077", "the file mode creation mask"),
    M("module", "requires", requires, MODULES, "", "db, cache", "must be ready before it starts; their failure is its failure"),
    M("module", "wants", wants, MODULES, "", "metrics", "are started too and waited for, but may fail"),
    M("module", "after", after, MODULES, "", "migrate", "order only, for what is being started anyway"),
    M("module", "part_of", part_of, MODULES, "", "db", "is stopped and restarted with them, but not started with them; no order"),
    M("module", "condition_path_exists", condition_path_exists, CONDITIONS, "", "/etc/web/on, !/etc/web/off", "paths that must exist, with ! before one must not, or it is not started, which is no failure", .variables = true),
    M("module", "required", required, YES_NO, "no", "yes", "whether the system cannot run without it"),
    M("module", "ready", ready, READY, "none", "tcp:80", "what shows that it is ready: nothing, exec succeeded, sd_notify, a newline on a descriptor, a listener", .variables = true),
    M("module", "listen", listen, LISTEN, "", "tcp:127.0.0.1:8080, unix:/run/web.sock", "sockets that bulkheadd listens on for it and hands over (LISTEN_FDS); clients wait in them while it restarts"),
    M("module", "start_timeout", start_timeout, TIME, "60s", "10s", "how long it may take to become ready; a oneshot without it has no limit", .min = 1, .max = INFINITE),
    M("module", "stop_timeout", stop_timeout, TIME, "30s", "5s", "how long it may take to end after stop_signal; then it is killed", .max = INFINITE),
    M("module", "stop_signal", stop_signal, SIGNAL, "TERM", "SIGQUIT", "the signal that asks it to end"),
    M("module", "success_exit_status", success_exit_status, EXIT_SET, "0", "3, 64-70, SIGTERM", "ends that are no failure, besides 0"),
    M("module", "log", log, CHOICE, "", "file", "where its output goes; not given: journal if its socket exists, else file", NAMES(log_target_names), .min = 1),
    M("module", "log_stderr", log_stderr, CHOICE, "", "file", "where its standard error goes, if elsewhere: as log; file: a file of its own", NAMES(log_target_names), .min = 1),
    M("module", "log_max_size", log_max_size, SIZE, "10M", "64M", "how large a log file may become before it is rotated; infinity: no rotation", .min = 64 << 10, .max = INFINITE),
    M("module", "log_keep", log_keep, COUNT, "5", "10", "how many rotated log files are kept; 0: what is over the size is cut off and gone", .max = LOG_KEEP_MAX),
    M("module", "runtime_directory", runtime_directory, DIRECTORIES, "", "web", "made below /run, owned by the user, RUNTIME_DIRECTORY names it", .variables = true),
    M("module", "state_directory", state_directory, DIRECTORIES, "", "web", "the same below /var/lib, STATE_DIRECTORY", .variables = true),
    M("module", "logs_directory", logs_directory, DIRECTORIES, "", "web", "the same below /var/log, LOGS_DIRECTORY", .variables = true),

    M("limits", "cpu_max", limits.cpu_max, CPU, "infinity", "150%", "CPU time; 100% is one CPU", .min = 1, .max = INFINITE),
    M("limits", "cpu_weight", limits.cpu_weight, COUNT, "", "200", "its part when CPUs are short, 1 to 10000; the kernel's own is 100", .min = 1, .max = 10000),
    M("limits", "cpus", limits.cpus, CPUS, "", "0-3, 5", "the CPUs it may run on"),
    M("limits", "memory_max", limits.memory_max, SIZE, "infinity", "64M", "memory, without swap; at that, processes are killed", .min = 4096, .max = INFINITE),
    M("limits", "memory_high", limits.memory_high, SIZE, "infinity", "48M", "memory over which it is slowed down and reclaimed from", .min = 4096, .max = INFINITE),
    M("limits", "memory_swap_max", limits.memory_swap_max, SIZE, "infinity", "0", "how much of it may be in swap", SET(limits.memory_swap_max_set), .max = INFINITE),
    M("limits", "oom_group", limits.oom_group, YES_NO, "no", "yes", "whether running out of memory kills all its processes, not one"),
    M("limits", "pids_max", limits.pids_max, COUNT, "infinity", "64", "processes and threads together", .min = 1, .max = INFINITE),
    RLIMIT("nofile", NOFILE, COUNT, "4096", "open files (RLIMIT_NOFILE)", .max = INFINITE - 1),
    RLIMIT("nproc", NPROC, COUNT, "100:200", "processes of the user on the whole host (RLIMIT_NPROC)", .max = INFINITE),
    RLIMIT("core", CORE, SIZE, "0", "core dumps (RLIMIT_CORE)", .max = INFINITE),
    RLIMIT("stack", STACK, SIZE, "8M", "stack of the main thread (RLIMIT_STACK)", .max = INFINITE),
    RLIMIT("as", AS, SIZE, "2G", "address space (RLIMIT_AS)", .max = INFINITE),
    RLIMIT("data", DATA, SIZE, "1G", "heap and data (RLIMIT_DATA)", .max = INFINITE),
    RLIMIT("fsize", FSIZE, SIZE, "1G", "size of a file it writes (RLIMIT_FSIZE)", .max = INFINITE),
    RLIMIT("memlock", MEMLOCK, SIZE, "64K", "locked memory (RLIMIT_MEMLOCK)", .max = INFINITE),
    RLIMIT("rss", RSS, SIZE, "1G", "without effect on Linux since 2.6 (RLIMIT_RSS)", .max = INFINITE),
    RLIMIT("msgqueue", MSGQUEUE, SIZE, "800K", "POSIX message queues of the user (RLIMIT_MSGQUEUE)", .max = INFINITE),
    RLIMIT("cpu_time", CPU, SEC, "1h", "CPU time of a process, in all (RLIMIT_CPU)", .max = INFINITE),
    RLIMIT("rttime", RTTIME, USEC, "200ms", "CPU time under real-time scheduling without a pause (RLIMIT_RTTIME)", .max = INFINITE),
    RLIMIT("locks", LOCKS, COUNT, "100", "without effect on Linux since 2.4.25 (RLIMIT_LOCKS)", .max = INFINITE),
    RLIMIT("sigpending", SIGPENDING, COUNT, "1000", "signals queued for the user (RLIMIT_SIGPENDING)", .max = INFINITE),
    RLIMIT("nice_limit", NICE, COUNT, "20", "how far it may raise its priority: up to nice 20 - N, N from 0 to 40 (RLIMIT_NICE)", .max = 40),
    RLIMIT("rtprio", RTPRIO, COUNT, "0", "real-time priority it may take, 0 to 99 (RLIMIT_RTPRIO)", .max = 99),
    M("limits", "nice", limits.nice, INTEGER, "", "5", "scheduling priority, -20 (first) to 19 (last)", SET(limits.nice_set), .min = -20, .max = 19),
    M("limits", "oom_score_adj", limits.oom_score_adj, INTEGER, "", "-500", "when the host runs out of memory: -1000 (never killed) to 1000 (first)", SET(limits.oom_score_adj_set), .min = -1000, .max = 1000),

    M("work", "track", work.track, TRACK, "", "connections, calls:redis-server:call", "what counts as work in flight; not given: nothing"),
    M("work", "ports", work, PORTS, "", "80, 443", "listening ports that count; not given: all"),
    M("work", "max_in_flight", work.max_in_flight, COUNT, "1000", "50", "more connections or requests at once are turned away in the kernel until some have ended", .min = 1, .max = INFINITE),
    M("work", "drain_soft", work.drain_soft, TIME, "10s", "5s", "work still in flight after this is warned about", .max = INFINITE),
    M("work", "drain_hard", work.drain_hard, TIME, "30s", "20s", "the drain ends after this, whatever is in flight", .max = INFINITE),
    M("work", "settle", work.settle, TIME, "200ms", "1s", "how long nothing may have been sent before the last of the work counts as ended", .max = 3600000000),
    M("work", "long_running_after", work.long_running_after, TIME, "", "5m", "what takes longer is a watcher, not work: it is counted apart, and no drain waits for it", .min = 1, .max = 31536000000000),

    M("sandbox", "profile", sandbox.profile, PROFILE, "", "network-server", "the syscalls it may make: a file in profiles/; not given: all"),
    M("sandbox", "allow", sandbox.allow, RULES, "", "mount, ioctl(*, FIONREAD)", "calls allowed on top of the profile"),
    M("sandbox", "deny", sandbox.deny, RULES, "", "ptrace", "calls taken from what the profile allows"),
    M("sandbox", "on_violation", sandbox.on_violation, CHOICE, "kill", "errno", "what a syscall that is not allowed gets", NAMES(seccomp_violation_names)),
    M("sandbox", "user", sandbox.user_name, USER, "", "www-data", "who it runs as. Must be given, even if it is root"),
    M("sandbox", "group", sandbox.group_name, GROUP, "", "www-data", "its group; not given: the user's own"),
    M("sandbox", "supplementary_groups", sandbox, GROUPS, "", "adm", "further groups, exactly these"),
    M("sandbox", "capabilities", sandbox.capabilities, CAPABILITIES, "", "net_bind_service", "capabilities it may hold; not given: those of its user but what would undo its bulkhead", SET(sandbox.capabilities_set)),
    M("sandbox", "no_new_privs", sandbox.no_new_privs, YES_NO, "yes", "no", "whether set-uid programs and file capabilities give it nothing"),

    M("recovery", "restart", recovery.restart, CHOICE, "on-failure", "always", "when to start it again after an end that nobody asked for", NAMES(restart_when_names)),
    M("recovery", "max_attempts", recovery.max_attempts, COUNT, "3", "5", "restarts without a healthy run before giving up; 0: no limit", .max = 1000000),
    M("recovery", "backoff", recovery.backoff, TIME, "10s", "1s", "pause before the second restart", .max = INFINITE - 1),
    M("recovery", "factor", recovery.factor, FACTOR, "2", "1.5", "each further pause is that many times longer"),
    M("recovery", "max_backoff", recovery.max_backoff, TIME, "5m", "1m", "the longest pause", .max = INFINITE - 1),
    M("recovery", "jitter", recovery.jitter, PERCENT, "20%", "10%", "how much a pause may be shorter or longer by chance", .max = 100),
    M("recovery", "reset_after", recovery.reset_after, TIME, "60s", "5m", "ready for that long is a healthy run", .max = INFINITE),

    M("timer", "on_calendar", timer.on_calendar, CALENDAR, "", "Mon..Fri *-*-* 02:30; Sun 04:00", "the times of the wall clock at which the job is started"),
    M("timer", "every", timer.every, TIME, "", "15m", "how long after its last start the job is started again; not given: only by on_calendar", .min = 1000000, .max = INFINITE - 1),
    M("timer", "persistent", timer.persistent, YES_NO, "no", "yes", "whether what passed while the daemon was down is made up for, by one start"),
    M("timer", "randomized_delay", timer.randomized_delay, TIME, "0s", "5m", "each start is put off by a time between nothing and this, by chance", .max = INFINITE - 1),
    M("timer", "when_running", timer.when_running, CHOICE, "skip", "queue", "what a time means that comes while the job still runs: nothing (skip), or one more run as soon as it has ended (queue)", NAMES(when_running_names)),
};
/* clang-format on */

const size_t keys_n = ELEMENTS(keys);
_Static_assert(ELEMENTS(keys) <= KEYS_MAX, "KEYS_MAX is too small");
_Static_assert(sizeof(StartMode) == sizeof(unsigned), "VALUE_CHOICE stores an unsigned");

const Key *key_find(const char *section, const char *name)
{
    for (size_t i = 0; i < keys_n; i++)
        if (strcmp(keys[i].name, name) == 0 && strcmp(keys[i].section, section) == 0)
            return &keys[i];
    return NULL;
}

const Key *key_find_dotted(const char *dotted)
{
    const char *dot = strchr(dotted, '.');
    if (!dot)
        return NULL;
    _cleanup_(freep) char *section = xstrndup(dotted, (size_t)(dot - dotted));
    const Key *k = key_find(section, dot + 1);
    return k && !key_is_supervisor(k) ? k : NULL;
}

char *key_dotted(const Key *k)
{
    return xasprintf("%s.%s", k->section, k->name);
}

/* Every section once, in the table's order, then "defaults"; returns how many. */
static size_t all_sections(const char *ret[static KEYS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < keys_n; i++)
        if (n == 0 || strcmp(ret[n - 1], keys[i].section) != 0)
            ret[n++] = keys[i].section;
    ret[n++] = "defaults";
    return n;
}

bool key_section_exists(const char *section)
{
    const char *all[KEYS_MAX] = {0};
    size_t n = all_sections(all);
    for (size_t i = 0; i < n; i++)
        if (strcmp(all[i], section) == 0)
            return true;
    return false;
}

const char *key_nearest_section(const char *section)
{
    const char *all[KEYS_MAX] = {0};
    return str_nearest(section, all, all_sections(all));
}

char *key_unknown(const char *section, const char *name)
{
    const char *names[KEYS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < keys_n; i++) {
        if (strcmp(keys[i].section, section) == 0)
            names[n++] = keys[i].name;
        else if (strcmp(keys[i].name, name) == 0)
            return xasprintf("unknown key (%s is a key of [%s])", name, keys[i].section);
    }
    const char *nearest = str_nearest(name, names, n);
    return nearest ? xasprintf("unknown key (did you mean %s?)", nearest) : xstrdup("unknown key");
}

char *key_unknown_dotted(const char *dotted)
{
    char *all[KEYS_MAX];
    size_t n = 0;
    char *answer = NULL;
    for (size_t i = 0; i < keys_n; i++) {
        if (key_is_supervisor(&keys[i]))
            continue;
        all[n++] = key_dotted(&keys[i]);
        if (!answer && strcmp(keys[i].name, dotted) == 0)
            answer = xasprintf("unknown key (write %s)", all[n - 1]);
    }
    const char *nearest = str_nearest(dotted, (const char *const *)all, n);
    if (!answer)
        answer = nearest ? xasprintf("unknown key (did you mean %s?)", nearest)
                         : xstrdup("unknown key (a module's key with its section: sandbox.user)");
    for (size_t i = 0; i < n; i++)
        free(all[i]);
    return answer;
}
