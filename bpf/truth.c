/* The truth pass: reads what bh_truth says of a module's connections, through an iterator that lives as long as it is
 * read. The order is the kernel's. */
#include "bpf/truth.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "bpf/gate.h"
#include "bpf/private.h"
#include "bpf/streams.h"

#define RECORDS 128 /* a read */

typedef void (*RecordFn)(const struct truth_record *record, void *userdata);

/* One pass of an iterator over `map` (-1: it has none), told whose sockets are meant. */
static int pass(Kernel *k, int program, int map, uint64_t module_id, RecordFn fn, void *userdata, Error *e)
{
    if (!kernel_has(k, KERNEL_CONNECTIONS))
        return error_set(e, -EOPNOTSUPP, "bpf: no connection is seen");
    union bpf_iter_link_info info = {.map.map_fd = (uint32_t)map};
    /* cppcheck-suppress unknownMacro */
    LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = map < 0 ? NULL : &info,
                .iter_info_len = map < 0 ? 0 : sizeof info);
    if (bpf_map_update_elem(k->aim, &(uint32_t){0}, &module_id, BPF_ANY) < 0)
        return error_errno(e, -errno, "bpf: cannot ask about a module's connections");
    _cleanup_fd_ int link = bpf_link_create(program, 0, BPF_TRACE_ITER, &opts);
    _cleanup_fd_ int iter = link < 0 ? -EBADF : bpf_iter_create(link);
    if (iter < 0)
        return error_errno(e, -errno, "bpf: cannot pass over the sockets");
    struct truth_record records[RECORDS];
    size_t have = 0;
    for (;;) {
        ssize_t n = read(iter, (char *)records + have, sizeof records - have);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return error_errno(e, -errno, "bpf: cannot pass over the sockets");
        if (n == 0)
            return 0;
        have += (size_t)n;
        size_t whole = have / sizeof *records;
        for (size_t i = 0; i < whole; i++)
            fn(&records[i], userdata);
        have -= whole * sizeof *records;
        memmove(records, &records[whole], have);
    }
}

typedef struct Sum {
    KernelTruth truth;
    bool requests;
} Sum;

static void add_up(const struct truth_record *r, void *userdata)
{
    Sum *s = userdata;
    KernelTruth *t = &s->truth;
    t->connections++;
    t->last_tx_nsec = MAX2(t->last_tx_nsec, r->last_tx_nsec);
    if (r->flags & TRUTH_LONG)
        return;
    t->busy += r->flags & TRUTH_BUSY ? 1 : 0;
    t->unread += r->unread > 0;
    t->unsent += r->unsent > 0;
    t->unacked += r->unacked > 0;
    t->not_accepted += !(r->flags & TRUTH_ACCEPTED);
    uint64_t since = s->requests ? r->begun_nsec : r->opened_nsec;
    if (since && (!t->oldest_nsec || since < t->oldest_nsec))
        t->oldest_nsec = since;
}

/* Those that answered a moment ago may not have said all: together they are busy, as one. */
static int add_streams(Kernel *k, uint64_t module_id, KernelTruth *t, Error *e)
{
    struct work_entry w;
    int r = streams_recount(k, module_id, e);
    if (r < 0 || (r = kernel_work(k, module_id, &w)) < 0)
        return r;
    uint64_t now = now_monotonic() * 1000;
    if (w.stream_tx_nsec && now < w.stream_tx_nsec + w.settle_nsec)
        t->busy++;
    t->last_tx_nsec = MAX2(t->last_tx_nsec, w.stream_tx_nsec);
    return 0;
}

int kernel_truth(Kernel *k, uint64_t module_id, KernelTruth *ret, Error *e)
{
    Sum s = {.requests = gate_tracked(k, module_id) & WORK_TRACK_REQUESTS};
    int r = pass(k, k->kept[KEPT_bh_truth], k->maps[MAP_conns], module_id, add_up, &s, e);
    if (r == 0 && gate_tracked(k, module_id) & WORK_TRACK_UNIX)
        r = add_streams(k, module_id, &s.truth, e);
    if (r == 0)
        *ret = s.truth;
    return r;
}

typedef struct List {
    KernelConnection *items;
    size_t n, room;
} List;

/* An IPv4 address in an IPv6 socket is shown as the former. */
static bool is_mapped(const uint8_t address[16])
{
    static const uint8_t prefix[12] = {[10] = 0xff, [11] = 0xff};
    return memcmp(address, prefix, sizeof prefix) == 0;
}

static void add_connection(const struct truth_record *r, void *userdata)
{
    List *l = userdata;
    if (l->n == l->room) {
        l->room = l->room ? l->room * 2 : 64;
        l->items = xrealloc(l->items, l->room, sizeof *l->items);
    }
    KernelConnection *c = &l->items[l->n++];
    *c = (KernelConnection){.family = (uint8_t)r->family,
                            .local_port = r->local_port,
                            .peer_port = r->peer_port,
                            .opened_nsec = r->opened_nsec,
                            .busy_since_nsec = r->begun_nsec,
                            .busy = r->flags & TRUTH_BUSY,
                            .accepted = r->flags & TRUTH_ACCEPTED,
                            .long_running = r->flags & TRUTH_LONG,
                            .unread = r->unread,
                            .unsent = r->unsent};
    bool mapped = r->family == AF_INET6 && is_mapped(r->local) && is_mapped(r->peer);
    if (mapped)
        c->family = AF_INET;
    memcpy(c->local, r->local + (mapped ? 12 : 0), mapped ? 4 : sizeof c->local);
    memcpy(c->peer, r->peer + (mapped ? 12 : 0), mapped ? 4 : sizeof c->peer);
}

int kernel_connections(Kernel *k, uint64_t module_id, KernelConnection **ret, size_t *ret_n, Error *e)
{
    List l = {0};
    int r = pass(k, k->kept[KEPT_bh_truth], k->maps[MAP_conns], module_id, add_connection, &l, e);
    if (r < 0) {
        free(l.items);
        return r;
    }
    *ret = l.items;
    *ret_n = l.n;
    return 0;
}

static void ignore(const struct truth_record *r, void *userdata)
{
    (void)r;
    (void)userdata;
}

int truth_seed(Kernel *k, uint64_t module_id, Error *e)
{
    return pass(k, k->kept[KEPT_bh_seed], -1, module_id, ignore, NULL, e);
}
