/* The loader: puts our programs into the kernel once for a whole instance, pins them, reads their maps. The only user
 * of libbpf. Knows no module, only cgroup ids.
 *
 * Pins lie in /sys/fs/bpf/bulkhead/INSTANCE (0700, pins 0600): maps work, exits, exit_ring, conns; links link_*. Before
 * a pin is reused its owner, type, sizes and BTF are verified, else it is refused. Where no bpffs is mounted the loader
 * mounts its own on /sys/fs/bpf with mode 0700 (and unmounts it again in kernel_close when it made it and nothing else
 * is pinned there). */
#pragma once

#include "base/error.h"
#include "base/util.h"
#include "bpf/shared.h"

typedef struct Kernel Kernel;

/* What the programs do, each part loaded on its own account. */
typedef enum KernelPrograms {
    KERNEL_CONTROL,     /* the daemon's own calls into the maps: without it there is nothing */
    KERNEL_EXITS,       /* how processes end */
    KERNEL_OOM,         /* whom the OOM killer chose */
    KERNEL_SIGNALS,     /* who sent a signal, which syscall was denied */
    KERNEL_CONNECTIONS, /* work in flight, listeners appearing */
    KERNEL_UNIX,        /* see KERNEL_ON_DEMAND */
    KERNEL_CALLS,
    KERNEL_WRITES,
    KERNEL_PROGRAMS_N
} KernelPrograms;

/* Parts that are loaded with the first module that tracks them; where the kernel lacks one, only who asks is refused.
 */
#define KERNEL_ON_DEMAND (1u << KERNEL_UNIX | 1u << KERNEL_CALLS | 1u << KERNEL_WRITES)

typedef struct KernelConfig {
    const char *instance;
    uint64_t modules_id;    /* cgroup id of `modules/`; what is counted is decided by the ids added below */
    unsigned modules_level; /* its level below the cgroup2 root; a module is at +1, a leaf at +2 */
    int modules_fd;         /* its directory in cgroup2, borrowed */
    size_t max_modules;     /* at least as many as the policy has */
    const char *btf_path;   /* NULL = /sys/kernel/btf/vmlinux; read only to see that it is there */
    const char *bpffs_path; /* NULL = /sys/fs/bpf */
    unsigned without;       /* 1 << KERNEL_OOM and so on: parts that are not to be loaded; never KERNEL_CONTROL */
} KernelConfig;

/* Loads, attaches and pins. On failure nothing is left and *e says what is missing (no BTF, no bpffs, EPERM …). */
int kernel_open(const KernelConfig *config, Kernel **ret, Error *e);
/* Whether the part is loaded. */
bool kernel_has(const Kernel *k, KernelPrograms part);

/* What kernel_open needs, one by one, by trying: 0, or what refuses it in *e. Nothing is left. `path` as in
 * KernelConfig. */
int kernel_probe_btf(const char *path, Error *e);
int kernel_probe_bpffs(const char *path, const char *instance, Error *e);
/* Loads and attaches the part's programs alone; what hangs on a cgroup, to `cgroup` (the descriptor of a directory),
 * where nobody is who would be counted. Negative: there is none, and it is loaded and no more. */
int kernel_probe_part(KernelPrograms part, int cgroup, Error *e);

/* Detaches and unpins everything, removes the instance's directory. */
Kernel *kernel_close(Kernel *k);
/* Removes the pins a dead instance left; the instance's lock must be held. 0 also when there were none; *ret_n counts.
 */
int kernel_purge(const char *instance, unsigned *ret_n, Error *e);
/* The same for a bpffs elsewhere, as in KernelConfig.bpffs_path. */
int kernel_purge_at(const char *bpffs_path, const char *instance, unsigned *ret_n, Error *e);

/* All below: 0 or a negative errno; -ENOENT for an unknown id, -E2BIG when the map is full (see max_modules), -EEXIST
 * for a leaf that was added already. Entries change in place, so that nothing counted meanwhile is lost; one system
 * call each. */

typedef struct KernelModule {
    const char *name;
    uint32_t track;                          /* WORK_TRACK_ bits */
    const uint16_t *ports;                   /* listening ports that count and that the gate holds */
    size_t n_ports;                          /* 0 = all of them */
    uint32_t max_in_flight;                  /* 0 = no limit */
    uint64_t settle_nsec, long_running_nsec; /* as in struct work_entry */
} KernelModule;

/* A module: keeps its counters if it is known already (same cgroup id), and its gate. */
int kernel_module_add(Kernel *k, uint64_t module_id, const KernelModule *module, Error *e);
int kernel_module_remove(Kernel *k, uint64_t module_id);

/* A function, or a pair of static probes, whose calls are the module's work. */
typedef struct KernelCall {
    const char *path;     /* the program file */
    const char *provider; /* NULL = a function */
    const char *name;     /* the symbol, may end in @VERSION; of a pair what its names have in common: see symbols.h */
} KernelCall;

/* What of a module that tracks calls counts from now on, in place of what did: before a generation's launch, so that a
 * program file that was replaced meanwhile is found. On error nothing has changed, and *e names the file and what is
 * wrong with it. */
int kernel_calls(Kernel *k, uint64_t module_id, const KernelCall *calls, size_t n, Error *e);
/* A generation, before its launch; takes charge of the module's entry. */
int kernel_generation_add(Kernel *k, uint64_t leaf_id, uint64_t module_id, uint64_t generation, Error *e);
/* Names the main process; an end recorded for another one (a start hook in the same leaf) is forgotten. */
int kernel_generation_main(Kernel *k, uint64_t leaf_id, pid_t main_pid);
int kernel_generation_remove(Kernel *k, uint64_t leaf_id);

/* `ret->total` holds all sums, see struct work_entry. */
int kernel_work(Kernel *k, uint64_t module_id, struct work_entry *ret);
/* Closed: SYNs to the module's listeners are dropped, and so is the payload of new requests on its idle connections
 * where requests are tracked. TCP sends both again, so that opening loses nothing. */
int kernel_gate(Kernel *k, uint64_t module_id, bool closed);
/* Once this returned, an in_flight read as > 0 is followed by a RING_IDLE; one read as 0 may not be. */
int kernel_set_draining(Kernel *k, uint64_t module_id, bool draining);
/* What the module has counted by itself (track = api) replaces what the entry said of that. */
int kernel_api(Kernel *k, uint64_t module_id, const struct work_counters *api);
int kernel_exit(Kernel *k, uint64_t leaf_id, struct exit_entry *ret);

/* What the module's sockets themselves say, where counters can only say what was seen: the truth pass. It also does
 * what only the passing of time brings about: long work moves from in_flight to long_running. Counts of connections;
 * one that the module has closed is not among them (the kernel delivers the rest), nor in the lower row one that is
 * long-running. */
typedef struct KernelTruth {
    unsigned connections;                           /* open */
    unsigned busy;                                  /* with a request that has not ended, settle and all */
    unsigned unread, unsent, unacked, not_accepted; /* with such bytes; in the queue of a listener */
    uint64_t oldest_nsec;  /* since when the oldest busy one is (of connections if no requests are tracked); 0 = none */
    uint64_t last_tx_nsec; /* the last payload of an answer */
} KernelTruth;

int kernel_truth(Kernel *k, uint64_t module_id, KernelTruth *ret, Error *e);

typedef struct KernelConnection {
    uint8_t family;              /* AF_INET, AF_INET6 (v4-mapped: AF_INET) */
    uint8_t local[16], peer[16]; /* the first four bytes for AF_INET; network order */
    uint16_t local_port, peer_port;
    uint64_t opened_nsec, busy_since_nsec; /* monotonic; 0 = idle, or no requests are tracked */
    bool busy, accepted, long_running;
    uint32_t unread, unsent; /* bytes */
} KernelConnection;

/* The module's open connections, in no order; *ret is freed by free(). */
int kernel_connections(Kernel *k, uint64_t module_id, KernelConnection **ret, size_t *ret_n, Error *e);

/* The ring: poll this descriptor for reading, then consume; `fn` is called for each event in order. */
int kernel_ring_fd(const Kernel *k);
typedef void (*KernelEventFn)(const struct ring_event *event, void *userdata);
/* Returns the number of events or a negative errno. `fn` must not close the kernel. */
int kernel_ring_consume(Kernel *k, KernelEventFn fn, void *userdata);
/* What went wrong in counting so far: events lost to a full ring (what they said is in the maps), see kernel_stats. */
int kernel_stats(Kernel *k, struct kernel_stats *ret);
