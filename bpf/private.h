/* What the loader's files share: the open Kernel, its maps, links and programs by name. */
#pragma once

#include "bpf/kernel.h"

/* What is kept and pinned, by name. */
#define KERNEL_MAPS(X) X(work) X(exits) X(exit_ring) X(conns) X(stats)

/* What the programs of these lists keep among themselves; of no interest outside. */
#define KERNEL_OWN_MAPS(X) X(aim) X(listen_ports) X(oom_threads)

/* Attached when the kernel is opened. */
#define KERNEL_LINKS(X)                         \
    X(bh_oom, "link_oom", KERNEL_OOM)           \
    X(bh_exit, "link_exit", KERNEL_EXITS)       \
    X(bh_signal, "link_signal", KERNEL_SIGNALS) \
    X(bh_sockops, "link_tcp", KERNEL_CONNECTIONS)

/* Kept for later: run, read, or attached while a module needs them. */
#define KERNEL_KEPT(X)                \
    X(bh_control, KERNEL_CONTROL)     \
    X(bh_ingress, KERNEL_CONNECTIONS) \
    X(bh_egress, KERNEL_CONNECTIONS)  \
    X(bh_truth, KERNEL_CONNECTIONS)   \
    X(bh_seed, KERNEL_CONNECTIONS)

enum {
#define X(name) MAP_##name,
    KERNEL_MAPS(X)
#undef X
        MAP_N
};

enum {
#define X(program, pin, part) LINK_##program,
    KERNEL_LINKS(X)
#undef X
        LINK_N
};

enum {
#define X(program, part) KEPT_##program,
    KERNEL_KEPT(X)
#undef X
        KEPT_N
};

/* What a module needs attached: NEED_ bits. */
typedef struct KernelNeed {
    uint64_t module;
    unsigned bits;
    uint32_t track;
} KernelNeed;

struct Kernel {
    char *bpffs, *instance;
    int pins;    /* the instance's directory of pins */
    int modules; /* the directory of `modules/` in cgroup2 */
    int maps[MAP_N];
    int links[LINK_N];
    int kept[KEPT_N]; /* programs */
    int aim;          /* the map that tells bh_truth and bh_seed whose sockets are meant */
    int ingress, egress;
    KernelNeed *needs;
    size_t n_needs;
    unsigned without;
    KernelConfig config; /* for what is loaded later; its strings and descriptors are not kept */
    struct Sources *sources;
    struct ring_buffer *ring;
    KernelEventFn fn; /* during kernel_ring_consume only */
    void *userdata;
};

/* entries.c: what bh_control answers, and the ring mapped for reading; 0 or a negative errno. */
int kernel_control(Kernel *k, struct control_request *request);
int ring_open(Kernel *k);
