/* What a policy says, once read: plain values, no effects.
 *
 * policy_load() owns the files' meaning: it reads bulkhead.ini, modules.d and drop-ins, checks every key against the
 * one key table (keys.c), compiles each module's seccomp filter and returns a Policy, or all complaints at once.
 * Nothing here touches a process, a cgroup or the kernel's state. A Policy is immutable after loading and owns every
 * string in it.
 *
 * Units: times are microseconds (USEC_INFINITY for "infinity"), sizes bytes (UINT64_MAX for "infinity"), CPU is percent
 * of one CPU. */
#pragma once

#include <netinet/in.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/util.h"
#include "policies/calendar.h"
#include "policies/complaint.h"
#include "policies/names.h"
#include "policies/seccomp.h"

/* simple: meant to run until it is stopped. oneshot: a job, meant to end; done when it has exited 0. */
typedef enum ModuleType { TYPE_SIMPLE, TYPE_ONESHOT, MODULE_TYPE_N } ModuleType;

typedef enum StartMode { START_AUTO, START_MANUAL, START_MODE_N } StartMode;

typedef enum ReadyKind {
    READY_NONE,
    READY_EXEC,
    READY_NOTIFY,
    READY_FD,
    READY_TCP,
    READY_UNIX,
    READY_KIND_N
} ReadyKind;

typedef struct Ready {
    ReadyKind kind;
    unsigned number; /* READY_FD: the descriptor; READY_TCP: the port */
    char *path;      /* READY_UNIX: the socket */
} Ready;

#define LOG_KEEP_MAX 100 /* rotated files of one log */

/* An address that the daemon listens on for a module (module.listen). */
typedef struct Listen {
    char *text;  /* as written, expanded */
    bool shared; /* by all instances of the template: the same for each */
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
        struct sockaddr_un un;
    } address;
    socklen_t size;
    uint16_t port; /* 0 = a unix socket */
} Listen;

#define LISTEN_MAX 16

typedef struct Listens {
    Listen *items;
    size_t n;
} Listens;

typedef enum LogTarget { LOG_DEFAULT, LOG_JOURNAL, LOG_FILE, LOG_NULL, LOG_INHERIT, LOG_TARGET_N } LogTarget;

typedef enum RestartWhen { RESTART_NO, RESTART_ON_FAILURE, RESTART_ALWAYS, RESTART_WHEN_N } RestartWhen;

typedef enum KernelPart { PART_REQUIRED, PART_OPTIONAL, KERNEL_PART_N } KernelPart; /* [supervisor] bpf, cgroups */

/* A set of exit statuses (success_exit_status): codes by bit, signals by bit. 0 is always in. */
typedef struct ExitSet {
    uint64_t codes[4];
    uint64_t signals; /* bit n % 64 = signal n, 1 to 64 */
} ExitSet;

/* One rlimit as written; `set` tells whether the key was given. UINT64_MAX is RLIM_INFINITY. */
typedef struct Rlimit {
    bool set;
    uint64_t soft, hard;
} Rlimit;

#define RLIMIT_COUNT 16 /* RLIM_NLIMITS; indexed by RLIMIT_* */

typedef struct Limits {
    uint64_t cpu_max;         /* percent of one CPU; UINT64_MAX = no limit */
    uint64_t cpu_weight;      /* 1..10000; 0 = not given */
    char *cpus;               /* "0-3,5", NULL = not given */
    uint64_t memory_max;      /* bytes, without swap; UINT64_MAX = no limit */
    uint64_t memory_high;     /* bytes; UINT64_MAX = no limit */
    uint64_t memory_swap_max; /* bytes; UINT64_MAX = no limit */
    bool memory_swap_max_set;
    bool oom_group;
    uint64_t pids_max; /* threads count; UINT64_MAX = no limit */
    Rlimit rlimits[RLIMIT_COUNT];
    int nice;
    bool nice_set;
    int oom_score_adj;
    bool oom_score_adj_set;
} Limits;

/* What counts as work in flight; the bits are those of WORK_TRACK_* in bpf/shared.h. */
typedef enum TrackSource {
    TRACK_CONNECTIONS = 1,
    TRACK_REQUESTS = 2,
    TRACK_UNIX = 4,
    TRACK_CALLS = 8, /* some site, of either kind */
    TRACK_WRITES = 16,
    TRACK_API = 32
} TrackSource;

typedef enum CallSiteKind { CALL_SITE_CALL, CALL_SITE_USDT, CALL_SITE_N } CallSiteKind;

typedef struct CallSite {
    CallSiteKind kind;
    char *where;  /* the binary, an absolute path or a name in exec's directory; of a USDT pair its provider */
    char *symbol; /* the function; of a USDT pair what both names have in common */
} CallSite;

enum { TRACK_SITES_MAX = 16 };

typedef struct Track {
    unsigned sources; /* TRACK_*, 0 = nothing */
    CallSite *sites;
    size_t n_sites;
} Track;

typedef struct Work {
    Track track;
    uint16_t *ports; /* listening ports that count; none = all */
    size_t n_ports;
    uint64_t max_in_flight; /* UINT64_MAX = no limit */
    uint64_t drain_soft, drain_hard, settle;
    uint64_t long_running_after; /* 0 = nothing is long-running */
} Work;

typedef struct Sandbox {
    char *user_name, *group_name; /* as written; group NULL = the user's primary group */
    uid_t uid;
    gid_t gid;
    gid_t *supplementary_groups; /* exactly these, none inherited */
    size_t n_supplementary_groups;
    bool capabilities_set;
    uint64_t capabilities; /* bit n = capability n; bounding set, and ambient where user is not root */
    bool no_new_privs;
    char *profile;        /* name, NULL = no seccomp filter */
    char **allow, **deny; /* rules on top of the profile, in profile syntax */
    SeccompViolation on_violation;
    SeccompFilter *filter; /* compiled; NULL = no filter. Shared by modules with equal rules (see seccomp.h) */
} Sandbox;

typedef enum WhenRunning { WHEN_RUNNING_SKIP, WHEN_RUNNING_QUEUE, WHEN_RUNNING_N } WhenRunning;

/* When a job is started: by the wall clock, so long after it was started last, or what comes first of both. Only a
 * oneshot that does not remain after its end has one; neither given: it has none. */
typedef struct TimerPolicy {
    Calendar *on_calendar; /* NULL = not given */
    uint64_t every;        /* at least a second; 0 = not given */
    bool persistent;       /* a time of on_calendar that passed while the daemon was down counts, once */
    uint64_t randomized_delay;
    WhenRunning when_running; /* due while it still runs: skip it, or run once more at once behind it */
} TimerPolicy;

typedef struct Recovery {
    RestartWhen restart;
    uint64_t max_attempts; /* since the last healthy run; 0 = no limit */
    uint64_t backoff, max_backoff, reset_after;
    double factor;   /* >= 1 */
    unsigned jitter; /* percent, 0..100 */
} Recovery;

/* Where a value was written. Kept only for keys that were written, so that a thousand modules stay small. */
typedef struct Origin {
    uint16_t key;  /* index in the key table */
    uint16_t file; /* index in Policy.files */
    uint32_t line;
} Origin;

/* One of the commands of a hook. */
typedef struct Command {
    char **argv;   /* expanded, but for COMMAND_MAIN_PID in it; at least one word */
    bool may_fail; /* '-' before it: its failure is told and does not matter */
} Command;

/* A hook: its commands, run one after the other. */
typedef struct Commands {
    Command *items;
    size_t n; /* 0 = not given */
} Commands;

/* What ${MAINPID} in exec_reload is until it is known: a byte that no value may hold. */
#define COMMAND_MAIN_PID "\001"

typedef struct Policy Policy;

typedef struct ModulePolicy {
    unsigned refs; /* a policy made by policy_grow() or policy_keep() shares them */
    char *name;
    const Policy *policy; /* what it was read with */
    char *file;           /* the module's own ini file, as it is shown */
    Origin *origins;
    size_t n_origins;

    char **include; /* as written; what the files say is merged */
    char **exec;    /* argv, expanded; at least one word */
    char *description, *version;
    ModuleType type;
    StartMode start;
    bool required;
    bool remain_after_exit; /* of a oneshot: it stays done, a second start runs nothing */
    uint64_t instances;     /* of its template, as the file has it; 0 = it is no instance, its name says which it is */
    char *group;            /* NULL = none */
    Commands exec_start_pre, exec_start_post, exec_stop_post, exec_reload;
    uint64_t exec_start_pre_timeout, exec_start_post_timeout, exec_stop_post_timeout,
        exec_reload_timeout; /* of all the hook's commands together; 0 = not given: see policy_hook_timeout() */
    char *working_dir;
    char **environment;      /* "NAME=value", merged with environment_file; the whole environment of the module */
    char **environment_file; /* paths, expanded */
    char **requires, **wants, **after, **part_of;
    char **condition_path_exists; /* absolute paths, "!" before one: it must not exist */
    Ready ready;
    Listens listen;
    uint64_t start_timeout, stop_timeout;
    int stop_signal, reload_signal; /* reload_signal 0 = none */
    ExitSet success_exit_status;
    LogTarget log, log_stderr; /* log_stderr LOG_DEFAULT: the same descriptor as log */
    uint64_t log_max_size;     /* bytes, UINT64_MAX = no rotation */
    uint64_t log_keep;         /* rotated files, at most LOG_KEEP_MAX */
    mode_t umask;
    char **runtime_directory, **state_directory, **logs_directory; /* relative names below /run, /var/lib, /var/log */

    Limits limits;
    Work work;
    Sandbox sandbox;
    Recovery recovery;
    TimerPolicy timer;
} ModulePolicy;

typedef struct SupervisorPolicy {
    bool parallel_start;
    uint64_t start_delay, startup_timeout;
    char *read_group, *operate_group; /* as written, NULL = none */
    gid_t read_gid, operate_gid;      /* (gid_t)-1 = none */
    KernelPart bpf, cgroups;
    char *log_level; /* one of log_level_names */
} SupervisorPolicy;

/* A file with `instances`: it makes the modules NAME@1 to NAME@N, and more when it is scaled. */
typedef struct Template {
    char *name;
    unsigned instances;            /* as the file has it */
    struct TemplateSource *source; /* what further instances are made of: see load.h */
} Template;

struct Policy {
    unsigned refs;
    Policy *read; /* what was read from files and owns the rest; itself unless made by policy_grow() or policy_keep() */
    char *dir;
    char **files; /* every file that was read, as it is shown */
    SupervisorPolicy supervisor;
    Template *templates; /* sorted by name */
    size_t n_templates;
    ModulePolicy **modules; /* sorted by module_name_compare() */
    size_t n_modules;
};

/* Reads the configuration in `dir`. `shared_dir` holds the shipped profiles (`shared_dir`/profiles), searched after
 * `dir`/profiles. On success returns 0 and *ret; otherwise -EINVAL, *ret untouched and at least one complaint added.
 * Complaints are sorted by file and line. */
int policy_load(const char *dir, const char *shared_dir, Policy **ret, Complaints *complaints);
/* The same, but *ret is what could be read also on -EINVAL: modules with their names and dependencies, so that
 * graph_build() can add its complaints and all come at once. Such a policy must not be run. */
int policy_read(const char *dir, const char *shared_dir, Policy **ret, Complaints *complaints);
Policy *policy_free(Policy *p);
static inline void policy_freep(Policy **p)
{
    *p = policy_free(*p);
}

/* Where `key` ("module.requires") of the module was written: *ret_file as it is shown and the line; the module's own
 * file and line 0 when it is a default. */
void policy_origin(const ModulePolicy *m, const char *key, const char **ret_file, unsigned *ret_line);

/* How long a hook may take: its own time-out as given, else start_timeout or stop_timeout. */
static inline uint64_t policy_hook_timeout(uint64_t own, uint64_t otherwise)
{
    return own ? own : otherwise;
}

/* The module of that name, or NULL. */
ModulePolicy *policy_find(const Policy *p, const char *name);
/* The template of that name, or NULL. */
const Template *policy_template(const Policy *p, const char *name);
/* The place of the template's first instance in p->modules, and how many there are: they stand together. */
size_t policy_instances(const Policy *p, const char *template, size_t *ret_first);

/* Policies that differ from `p` in which modules there are, for what is changed at run time; the files stay the truth
 * and only an environment_file is read again. Both share with p what they have in common and keep alive what was read.
 *
 * All modules of p, and of the template's instances 1 to n those that are missing. -EINVAL with complaints when one
 * cannot be made; -ENOENT: there is no such template. */
int policy_grow(const Policy *p, const char *template, unsigned n, Policy **ret, Complaints *complaints);
/* The modules i of p with keep[i]. */
Policy *policy_keep(const Policy *p, const bool *keep);

/* Where the shipped files are: `PREFIX/share/bulkhead` when the executable is in PREFIX/bin or PREFIX/sbin, the source
 * tree's `policies` when it is run from a build folder there. Owned by the caller; -ENOENT when neither holds profiles.
 */
int policy_shared_dir(char **ret);

bool exit_set_contains(const ExitSet *set, int code, int signal);

/* Names for show and for parse, index = enum value. */
extern const char *const module_type_names[MODULE_TYPE_N];
extern const char *const start_mode_names[START_MODE_N];
extern const char *const when_running_names[WHEN_RUNNING_N];
extern const char *const ready_kind_names[READY_KIND_N];
extern const char *const log_target_names[LOG_TARGET_N];
extern const char *const restart_when_names[RESTART_WHEN_N];
extern const char *const kernel_part_names[KERNEL_PART_N];
