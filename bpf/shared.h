/* The layouts both sides read: *.bpf.c in the kernel, the loader and bpftool outside. Fixed width, size asserted,
 * versioned with reserved space so that a later daemon can keep the maps. Field names are what `bpftool map dump`
 * shows. */
#pragma once

#ifndef __bpf__
#include <stdint.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
#endif

#define BULKHEAD_LAYOUT_VERSION 1
#define BULKHEAD_NAME_SIZE      64
#define BULKHEAD_COMM_SIZE      16
#define BULKHEAD_PORTS_MAX      16
#define BULKHEAD_HIST_SLOTS     24 /* slot n: duration in [2^n, 2^(n+1)) microseconds */

struct work_counters {
    u64 started, completed, errors;
    s64 in_flight, in_flight_peak;
    u64 long_running, rejected;
    u64 total_usec; /* sum of durations of ended work */
    u64 latency[BULKHEAD_HIST_SLOTS];
};

/* map `work`: hash, key = id of the module-level cgroup (u64). Kept across generations of the module. */
struct work_entry {
    u32 version;
    u32 draining;   /* set: an entry in exit_ring tells when in_flight becomes 0 */
    u64 generation; /* the one in charge */
    char name[BULKHEAD_NAME_SIZE];
    u32 track;   /* bit 0: connections */
    u32 n_ports; /* 0 = every listening port of the module */
    u16 ports[BULKHEAD_PORTS_MAX];
    struct work_counters connections;
    u64 reserved[64];
};

#define WORK_TRACK_CONNECTIONS 1u

/* map `exits`: hash, key = id of the generation's leaf cgroup (u64). Inserted by the daemon before the launch, filled
 * by the kernel, deleted by the daemon once recorded. */
struct exit_entry {
    u32 version;
    u32 main_pid; /* 0 until known: then the first child of the daemon in the leaf is meant */
    u64 module;   /* key in `work` */
    u64 generation;
    u64 exit_nsec; /* CLOCK_BOOTTIME-free: bpf_ktime_get_ns of the main process's end; 0 = it lives */
    s32 exit_code; /* as in wait(2): status << 8 | signal */
    u32 oom_kills; /* processes of the leaf chosen by the OOM killer */
    u32 oom_main;  /* the main process was one of them */
    u32 denied;    /* SIGSYS by seccomp: number of processes killed so */
    s32 denied_nr; /* the first one's syscall number */
    u32 denied_arch;
    u64 denied_args[6];
    u32 denied_pid;
    char denied_comm[BULKHEAD_COMM_SIZE];
    u32 killer_pid; /* sender of the last fatal signal to the main process, 0 = kernel */
    u32 killer_signal;
    char killer_comm[BULKHEAD_COMM_SIZE];
    u64 reserved[16];
};

enum exit_ring_kind { RING_EXIT = 1, RING_OOM = 2, RING_DENIED = 3, RING_IDLE = 4, RING_LISTEN = 5 };

/* ring `exit_ring` */
struct ring_event {
    u32 kind;
    u32 pid;
    u64 time_nsec;
    u64 module; /* key in `work` */
    u64 leaf;   /* key in `exits`, 0 where it does not apply */
    s32 value;  /* RING_EXIT: wait status; RING_DENIED: syscall number; RING_LISTEN: port */
    u32 family; /* RING_LISTEN */
    u64 args[6];
    char comm[BULKHEAD_COMM_SIZE];
};

#ifndef __bpf__
_Static_assert(sizeof(struct work_counters) == 8 * 8 + 8 * BULKHEAD_HIST_SLOTS, "layout");
_Static_assert(sizeof(struct work_entry) == 16 + 64 + 8 + 32 + sizeof(struct work_counters) + 512, "layout");
_Static_assert(sizeof(struct exit_entry) % 8 == 0, "layout");
_Static_assert(sizeof(struct ring_event) == 104, "layout");
#endif
