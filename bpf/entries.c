/* What is read and changed in the maps once they are there: the entries of modules and generations, and the ring. Knows
 * nothing of libbpf's objects. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "bpf/private.h"

bool kernel_has(const Kernel *k, KernelPrograms part)
{
    return !(k->without & (1u << part));
}

int kernel_control(Kernel *k, struct control_request *request)
{
    /* cppcheck-suppress unknownMacro */
    LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = request, .ctx_size_in = sizeof *request);
    if (bpf_prog_test_run_opts(k->kept[KEPT_bh_control], &opts) < 0)
        return -errno;
    return (int)opts.retval;
}

int kernel_generation_add(Kernel *k, uint64_t leaf_id, uint64_t module_id, uint64_t generation, Error *e)
{
    struct control_request r = {
        .op = CONTROL_GENERATION, .leaf = leaf_id, .module = module_id, .generation = generation};
    int err = kernel_control(k, &r);
    return err < 0
               ? error_errno(e, err, "bpf: cannot add generation %llu to the map exits", (unsigned long long)generation)
               : 0;
}

int kernel_generation_main(Kernel *k, uint64_t leaf_id, pid_t main_pid)
{
    struct control_request r = {.op = CONTROL_MAIN, .leaf = leaf_id, .main_pid = (uint32_t)main_pid};
    return kernel_control(k, &r);
}

int kernel_generation_remove(Kernel *k, uint64_t leaf_id)
{
    return bpf_map_delete_elem(k->maps[MAP_exits], &leaf_id) < 0 ? -errno : 0;
}

int kernel_set_draining(Kernel *k, uint64_t module_id, bool draining)
{
    struct control_request r = {.op = CONTROL_DRAINING, .module = module_id, .on = draining};
    return kernel_control(k, &r);
}

int kernel_api(Kernel *k, uint64_t module_id, const struct work_counters *api)
{
    struct control_request r = {.op = CONTROL_API, .module = module_id, .api = *api};
    return kernel_control(k, &r);
}

/* in_flight_peak is the kernel's own where several sources share it, else that of the only one. */
static void sum_up(struct work_entry *w)
{
    const struct work_counters *sources = &w->connections;
    struct work_counters *total = &w->total;
    s64 peak = total->in_flight_peak;
    unsigned n = 0;
    *total = (struct work_counters){0};
    for (unsigned i = 0; i < WORK_SOURCES_N; i++) {
        if (!(w->track & (1u << i)))
            continue;
        const struct work_counters *c = &sources[i];
        total->started += c->started;
        total->completed += c->completed;
        total->errors += c->errors;
        total->in_flight += c->in_flight;
        total->long_running += c->long_running;
        total->rejected += c->rejected;
        total->total_usec += c->total_usec;
        for (unsigned slot = 0; slot < BULKHEAD_HIST_SLOTS; slot++)
            total->latency[slot] += c->latency[slot];
        total->in_flight_peak = MAX2(total->in_flight_peak, c->in_flight_peak);
        n++;
    }
    if (n > 1)
        total->in_flight_peak = MAX2(total->in_flight_peak, peak);
}

int kernel_work(Kernel *k, uint64_t module_id, struct work_entry *ret)
{
    if (bpf_map_lookup_elem(k->maps[MAP_work], &module_id, ret) < 0)
        return -errno;
    sum_up(ret);
    return 0;
}

int kernel_exit(Kernel *k, uint64_t leaf_id, struct exit_entry *ret)
{
    return bpf_map_lookup_elem(k->maps[MAP_exits], &leaf_id, ret) < 0 ? -errno : 0;
}

int kernel_stats(Kernel *k, struct kernel_stats *ret)
{
    return bpf_map_lookup_elem(k->maps[MAP_stats], &(uint32_t){0}, ret) < 0 ? -errno : 0;
}

/* --- the ring --------------------------------------------------------------------------------------------------------
 */

static int ring_event_arrived(void *userdata, void *data, size_t size)
{
    Kernel *k = userdata;
    struct ring_event event = {0};
    memcpy(&event, data, MIN2(size, sizeof event));
    if (k->fn)
        k->fn(&event, k->userdata);
    return 0;
}

int ring_open(Kernel *k)
{
    k->ring = ring_buffer__new(k->maps[MAP_exit_ring], ring_event_arrived, k, NULL);
    return k->ring ? 0 : -errno;
}

int kernel_ring_fd(const Kernel *k)
{
    return ring_buffer__epoll_fd(k->ring);
}

int kernel_ring_consume(Kernel *k, KernelEventFn fn, void *userdata)
{
    k->fn = fn;
    k->userdata = userdata;
    int n = ring_buffer__consume(k->ring);
    k->fn = NULL;
    k->userdata = NULL;
    return n;
}
