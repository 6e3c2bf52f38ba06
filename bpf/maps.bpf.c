// SPDX-License-Identifier: GPL-2.0
/* The maps, the constants the loader fills in, and bh_control, which changes entries in place on the daemon's behalf.
 * Sizes of work, exits and exit_ring are set by the loader. */
#include "bpf/threads.bpf.h"

WorkMap work SEC(".maps");
ExitsMap exits SEC(".maps");
RingMap exit_ring SEC(".maps");
ConnsMap conns SEC(".maps");
StatsMap stats SEC(".maps");
ThreadsMap threads SEC(".maps");

const volatile u32 modules_level = 0;
const volatile u32 daemon_pid = 0;
const volatile u32 daemon_pidns = 0;

char _license[] SEC("license") = "GPL";

/* What a new entry starts from; too large for a program's stack. */
static const struct work_entry new_work = {.version = BULKHEAD_LAYOUT_VERSION};
static const struct exit_entry new_exit = {.version = BULKHEAD_LAYOUT_VERSION};

static int control_module(struct control_request *r)
{
    u64 id = r->module;
    struct work_entry *w = bpf_map_lookup_elem(&work, &id);
    if (!w) {
        long err = bpf_map_update_elem(&work, &id, &new_work, BPF_NOEXIST);
        if (err)
            return err;
        w = bpf_map_lookup_elem(&work, &id);
        if (!w)
            return -2; /* ENOENT: removed at this very moment */
        w->epoch = bpf_ktime_get_ns();
    }
    for (int i = 0; i < BULKHEAD_NAME_SIZE / 8; i++)
        ((u64 *)w->name)[i] = r->name[i];
    for (int i = 0; i < BULKHEAD_PORTS_MAX; i++)
        w->ports[i] = r->ports[i];
    w->n_ports = r->n_ports;
    w->max_in_flight = r->max_in_flight;
    w->settle_nsec = r->settle_nsec;
    w->long_running_nsec = r->long_running_nsec;
    w->track = r->track;
    return 0;
}

static int control_generation(struct control_request *r)
{
    u64 module = r->module, leaf = r->leaf;
    struct work_entry *w = bpf_map_lookup_elem(&work, &module);
    if (!w)
        return -2; /* ENOENT */
    long err = bpf_map_update_elem(&exits, &leaf, &new_exit, BPF_NOEXIST);
    if (err)
        return err;
    struct exit_entry *e = bpf_map_lookup_elem(&exits, &leaf);
    if (!e)
        return -2;
    e->module = module;
    e->generation = r->generation;
    w->generation = r->generation;
    w->draining = 0;
    return 0;
}

/* An end recorded before the main process was known may be a start hook's: then it is forgotten. */
static int control_main(struct control_request *r)
{
    u64 leaf = r->leaf;
    struct exit_entry *e = bpf_map_lookup_elem(&exits, &leaf);
    if (!e)
        return -2;
    u32 pid = r->main_pid;
    e->main_pid = pid;
    if (e->exit_pid != pid) {
        e->exit_nsec = 0;
        e->exit_code = 0;
        e->exit_pid = 0;
    }
    return 0;
}

static int control_draining(struct control_request *r)
{
    u64 id = r->module;
    struct work_entry *w = bpf_map_lookup_elem(&work, &id);
    if (!w)
        return -2;
    /* A full barrier: who reads in_flight after this call and finds work is told of its end by RING_IDLE. */
    __sync_lock_test_and_set(&w->draining, r->on);
    return 0;
}

static int control_gate(struct control_request *r)
{
    u64 id = r->module;
    struct work_entry *w = bpf_map_lookup_elem(&work, &id);
    if (!w)
        return -2;
    u32 on = r->on;
    u32 was = __sync_lock_test_and_set(&w->gate, on);
    if (!on)
        w->gate_nsec = 0;
    else if (!was)
        w->gate_nsec = bpf_ktime_get_ns();
    return 0;
}

/* What a module counts by itself the daemon alone writes here, when it has looked at the module's page. */
static int control_api(struct control_request *r)
{
    u64 id = r->module;
    struct work_entry *w = bpf_map_lookup_elem(&work, &id);
    if (!w)
        return -2;
    s64 more = r->api.in_flight - w->api.in_flight, peak = r->api.in_flight_peak;
    __builtin_memcpy(&w->api, &r->api, sizeof w->api);
    if (!several_tracked(w))
        return 0; /* the only source: the sum is its own */
    s64 n = __sync_fetch_and_add(&w->total.in_flight, more) + more;
    peak_raise(&w->total, n > peak ? n : peak);
    return 0;
}

static int control_streams(struct control_request *r)
{
    u64 id = r->module;
    struct work_entry *w = bpf_map_lookup_elem(&work, &id);
    if (!w)
        return -2;
    s64 from = r->from, to = r->to;
    if (__sync_val_compare_and_swap(&w->unix_streams.in_flight, from, to) != from)
        return -11; /* EAGAIN */
    __sync_fetch_and_add(&w->unix_streams.errors, from - to);
    if (several_tracked(w))
        __sync_fetch_and_add(&w->total.in_flight, to - from);
    return 0;
}

SEC("syscall") int bh_control(struct control_request *r)
{
    switch (r->op) {
    case CONTROL_MODULE:
        return control_module(r);
    case CONTROL_GENERATION:
        return control_generation(r);
    case CONTROL_MAIN:
        return control_main(r);
    case CONTROL_DRAINING:
        return control_draining(r);
    case CONTROL_GATE:
        return control_gate(r);
    case CONTROL_API:
        return control_api(r);
    case CONTROL_STREAMS:
        return control_streams(r);
    default:
        return -22; /* EINVAL */
    }
}
