/* The layouts both sides read: *.bpf.c in the kernel, the loader and bpftool outside. Fixed width, size asserted,
 * versioned with reserved space so that a later daemon can keep the maps. Field names are what `bpftool map dump`
 * shows. */
#pragma once

#ifndef __bpf__
#include <stddef.h>
#include <stdint.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;
#endif

#define BULKHEAD_LAYOUT_VERSION 2
#define BULKHEAD_NAME_SIZE      64
#define BULKHEAD_COMM_SIZE      16
#define BULKHEAD_PORTS_MAX      16
#define BULKHEAD_HIST_SLOTS     24 /* slot n: duration in [2^n, 2^(n+1)) microseconds */

/* Of one source of work. In flight + long_running = begun and not ended. */
struct work_counters {
    u64 started, completed, errors;
    s64 in_flight, in_flight_peak;
    u64 long_running; /* now: begun longer ago than work_entry.long_running_nsec, not in in_flight any more */
    u64 rejected;     /* turned away by max_in_flight, or not counted because a map was full or memory short */
    u64 total_usec;   /* sum of durations of ended work */
    u64 latency[BULKHEAD_HIST_SLOTS];
};

/* work_entry.track; its sources in the order of the entry's counters */
#define WORK_TRACK_CONNECTIONS 1u
#define WORK_TRACK_REQUESTS    2u
#define WORK_TRACK_UNIX        4u
#define WORK_TRACK_CALLS       8u
#define WORK_TRACK_WRITES      16u
#define WORK_TRACK_API         32u
#define WORK_SOURCES_N         6

/* work_entry.gate, an enum so that a dump shows the word */
enum work_gate { GATE_OPEN, GATE_CLOSED };

/* map `work`: hash, key = id of the module-level cgroup (u64). Kept across generations of the module. */
struct work_entry {
    u32 version;
    u32 n_ports; /* 0 = every listening port of the module */
    char name[BULKHEAD_NAME_SIZE];
    /* A cache line that is read for each request and hardly ever written (an entry's value begins 8 bytes before the
     * end of one); the counters begin lines of their own too. */
    u32 track;           /* WORK_TRACK_ bits */
    enum work_gate gate; /* closed: no new connection, no new request on an idle one */
    u32 max_in_flight;   /* requests if they are tracked, else connections; 0 = no limit */
    u32 draining;        /* set: an entry in exit_ring tells when in_flight becomes 0 */
    u64 epoch; /* when the entry was made (monotonic ns): work begun under an earlier entry does not end in this one */
    u64 settle_nsec;       /* a request ends this long after the last of its answer */
    u64 long_running_nsec; /* 0 = nothing is called long-running */
    u64 generation;        /* the one in charge */
    u64 gate_nsec;         /* when the gate was closed (monotonic), 0 while it is open */
    u64 reserved1;
    u16 ports[BULKHEAD_PORTS_MAX];
    u64 last_tx_nsec; /* the last payload of an answer that a truth pass has seen */
    u64 held;         /* segments the gate or max_in_flight turned away (TCP sends them again) */
    s64 slots;        /* of max_in_flight, taken by connections */
    u64 reserved2;
    /* The sum over what is tracked. The kernel keeps in_flight and its peak alone, and these only while several sources
     * are tracked; kernel_work() fills in the rest. */
    struct work_counters total;
    struct work_counters connections, requests, unix_streams, calls, writes, api;
    u64 emptied_nsec;   /* when the module's cgroup was last left by everybody: what had begun has ended by then */
    u64 stream_tx_nsec; /* the last bytes of an answer on a unix stream */
    u64 reserved[30];
};

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
    u32 exit_pid; /* whose end exit_nsec and exit_code tell: while main_pid is 0 that may be a start hook's */
    u32 padding;
    u64 reserved[15];
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

/* map `conns`: storage of an accepted socket */
struct conn_entry {
    /* All that a segment needs is in one cache line, with the kernel's 8 bytes before it. */
    u32 open;         /* CONN_ bits, and those of count.bpf.h; 0 = ended */
    u32 request;      /* REQUEST_ phase and bits, and those of count.bpf.h */
    u32 write_seq;    /* what the module had written when the request came */
    u32 usec;         /* the duration under which the request was completed */
    u64 module;       /* key in `work` */
    u64 epoch;        /* of the entry in `work` that it was counted in */
    u64 begun_nsec;   /* its last request */
    u64 last_tx_nsec; /* the last of that one's answer */
    u32 sent_seq;     /* the end of what has left, while requests are asked for */
    u32 padding;
    u64 leaf; /* the leaf that made the listener, 0 when it was made in the module's cgroup itself */
    u64 opened_nsec;
    u64 reserved[3];
};

#define CONN_OPEN         1u
#define CONN_COUNTED      2u  /* in connections */
#define CONN_SLOT         4u  /* has one of max_in_flight */
#define CONN_WAITING      8u  /* has none yet: what it sends is held */
#define CONN_EARLY        16u /* not open yet, but payload has arrived */
#define CONN_HELD         32u /* its next request is held for want of a place in flight */
#define CONN_ASKS         64u /* its requests count */

#define REQUEST_PHASE     7u
#define REQUEST_NONE      0u
#define REQUEST_BUSY      1u
#define REQUEST_ANSWERING 2u
#define REQUEST_ANSWERED  3u
#define REQUEST_ENDED     4u
#define REQUEST_COMPLETED 8u          /* counted so */
#define REQUEST_NUMBER    0xFFFF0000u /* of the connection's requests: who looked at one does not change the next */
#define REQUEST_FIRST     0x00010000u

/* What bh_truth writes of an open connection. */
struct truth_record {
    u64 opened_nsec;
    u64 begun_nsec; /* TRUTH_BUSY: its request */
    u64 last_tx_nsec;
    u32 unread, unsent, unacked; /* bytes */
    u32 flags;
    u16 family, local_port, peer_port, padding;
    u8 local[16], peer[16];
};

#define TRUTH_BUSY     1u
#define TRUTH_LONG     2u
#define TRUTH_ACCEPTED 4u

/* map `threads`: storage of a thread of a module that tracks calls or writes */
struct thread_work {
    u64 module;     /* key in `work` */
    u64 since_nsec; /* 0 = nothing is going on */
    u32 flags;      /* see bpf/count.bpf.h */
    u32 padding;
};

struct thread_entry {
    struct thread_work call, write;
    u64 call_site;  /* of the outermost call, see call_site_key */
    u64 call_sp;    /* the stack pointer where it began */
    u32 call_depth; /* of a pair of static probes: begins less ends */
    u32 padding;
    u64 reserved[4];
};

/* map `call_sites`: hash, whom a probe concerns. The value is how many of its policy's items ask for it. */
struct call_site_key {
    u64 module; /* key in `work` */
    u64 site;   /* a number of the loader's, with SITE_USDT for a static probe; the probes' cookie has it too */
};

#define SITE_USDT (1ull << 63)
#define SITE_FAIL (1ull << 62) /* in a cookie only: the end is an error */
#define SITE_MASK (~SITE_FAIL)
#define SITES_MAX 16384

/* map `streams`: storage of an accepted unix stream */
struct stream_entry {
    u64 module;       /* key in `work` */
    u64 since_nsec;   /* 0 = no exchange is going on */
    u64 last_tx_nsec; /* the last bytes of an answer */
    u32 flags;        /* see bpf/count.bpf.h */
    u32 padding;
    u64 reserved[4];
};

/* map `stats`: array of one */
struct kernel_stats {
    u32 version;
    u32 padding;
    u64 ring_lost;     /* events that found exit_ring full */
    u64 peak_unsure;   /* in_flight_peak may be too low: the race for it was lost 64 times in a row */
    u64 storage_fails; /* connections not counted for want of memory (also in `rejected` of their module) */
    u64 reserved[12];
};

/* What the daemon asks the program bh_control to do, so that a field of an entry changes in place while other programs
 * count in it: replacing the entry from outside would lose what they add meanwhile. */
enum control_op {
    CONTROL_MODULE = 1, /* module, name, track, ports, max_in_flight, settle, long_running: make or change */
    CONTROL_GENERATION, /* leaf, module, generation: make */
    CONTROL_MAIN,       /* leaf, main_pid */
    CONTROL_DRAINING,   /* module, on */
    CONTROL_GATE,       /* module, on */
    CONTROL_API,        /* module, api */
    CONTROL_STREAMS,    /* module, from, to: in_flight of its unix streams; EAGAIN: it is not `from` any more */
};

struct control_request {
    u32 op;
    u32 on;
    u64 module;
    u64 leaf;
    u64 generation;
    u32 main_pid;
    u32 track;
    u32 n_ports;
    u16 ports[BULKHEAD_PORTS_MAX];
    u32 max_in_flight;
    u64 settle_nsec;
    u64 long_running_nsec;
    s64 from, to;
    u64 name[BULKHEAD_NAME_SIZE / 8];
    struct work_counters api;
};

#ifndef __bpf__
_Static_assert(sizeof(struct conn_entry) == 96, "layout");
_Static_assert(sizeof(struct truth_record) == 80, "layout");
_Static_assert(sizeof(struct thread_entry) == 104, "layout");
_Static_assert(sizeof(struct stream_entry) == 64, "layout");
_Static_assert(sizeof(struct kernel_stats) == 128, "layout");
_Static_assert(sizeof(struct control_request) == 176 + sizeof(struct work_counters), "layout");
_Static_assert(sizeof(struct work_counters) == 8 * 8 + 8 * BULKHEAD_HIST_SLOTS, "layout");
_Static_assert(offsetof(struct work_entry, track) == 72 && offsetof(struct work_entry, total) == 200, "cache lines");
_Static_assert(sizeof(struct work_entry) == 200 + 7 * sizeof(struct work_counters) + 256, "layout");
_Static_assert(offsetof(struct work_entry, api) ==
                   offsetof(struct work_entry, connections) + 5 * sizeof(struct work_counters),
               "sources are an array");
_Static_assert(sizeof(struct exit_entry) % 8 == 0, "layout");
_Static_assert(sizeof(struct ring_event) == 104, "layout");
#endif
