/* The gate: its switch, and the two programs that look at every segment of the tree's sockets, attached only while a
 * module has a use for them. Ingress: to count requests, to hold what a closed gate or max_in_flight holds. Egress: to
 * count requests. */
#include "bpf/gate.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "bpf/pins.h"
#include "bpf/private.h"

#define NEED_REQUESTS 1u
#define NEED_LIMIT    2u
#define NEED_CLOSED   4u

static KernelNeed *need_of(const Kernel *k, uint64_t module_id)
{
    for (size_t i = 0; i < k->n_needs; i++)
        if (k->needs[i].module == module_id)
            return &k->needs[i];
    return NULL;
}

static KernelNeed *need_make(Kernel *k, uint64_t module_id)
{
    KernelNeed *need = need_of(k, module_id);
    if (need)
        return need;
    k->needs = xrealloc(k->needs, k->n_needs + 1, sizeof *k->needs);
    k->needs[k->n_needs] = (KernelNeed){.module = module_id};
    return &k->needs[k->n_needs++];
}

bool gate_knows(const Kernel *k, uint64_t module_id)
{
    return need_of(k, module_id);
}

uint32_t gate_tracked(const Kernel *k, uint64_t module_id)
{
    const KernelNeed *need = need_of(k, module_id);
    return need ? need->track : 0;
}

static int attach(const Kernel *k, int program, enum bpf_attach_type type, const char *pin, int *link, Error *e)
{
    int fd = bpf_link_create(program, k->modules, type, NULL);
    if (fd < 0)
        return error_errno(e, -errno, "bpf: cannot attach %s to the modules' cgroup", pin);
    int r = pin_add(k->pins, pin, fd, e);
    if (r < 0)
        fd_close(fd);
    else
        *link = fd;
    return r;
}

static void detach(const Kernel *k, const char *pin, int *link)
{
    if (*link >= 0)
        (void)unlinkat(k->pins, pin, 0);
    *link = fd_close(*link);
}

/* Egress comes before ingress and goes after it: no request may begin whose end would not be seen. */
static int settle_needs(Kernel *k, Error *e)
{
    unsigned all = 0;
    int r = 0;
    for (size_t i = 0; i < k->n_needs; i++)
        all |= k->needs[i].bits;
    if (all & NEED_REQUESTS && k->egress < 0)
        r = attach(k, k->kept[KEPT_bh_egress], BPF_CGROUP_INET_EGRESS, "link_egress", &k->egress, e);
    if (r == 0 && all && k->ingress < 0)
        r = attach(k, k->kept[KEPT_bh_ingress], BPF_CGROUP_INET_INGRESS, "link_ingress", &k->ingress, e);
    if (!all)
        detach(k, "link_ingress", &k->ingress);
    if (!(all & NEED_REQUESTS))
        detach(k, "link_egress", &k->egress);
    return r;
}

int gate_need_track(Kernel *k, uint64_t module_id, const KernelModule *m, Error *e)
{
    KernelNeed *need = need_make(k, module_id);
    need->track = m->track;
    need->bits &= NEED_CLOSED;
    if (m->track & WORK_TRACK_REQUESTS)
        need->bits |= NEED_REQUESTS;
    if (m->max_in_flight && m->track & (WORK_TRACK_CONNECTIONS | WORK_TRACK_REQUESTS))
        need->bits |= NEED_LIMIT;
    return kernel_has(k, KERNEL_CONNECTIONS) ? settle_needs(k, e) : 0;
}

int gate_need_closed(Kernel *k, uint64_t module_id, bool closed, Error *e)
{
    KernelNeed *need = need_make(k, module_id);
    need->bits = closed ? need->bits | NEED_CLOSED : need->bits & ~NEED_CLOSED;
    return settle_needs(k, e);
}

void gate_forget(Kernel *k, uint64_t module_id)
{
    KernelNeed *need = need_of(k, module_id);
    if (!need)
        return;
    *need = k->needs[--k->n_needs];
    if (kernel_has(k, KERNEL_CONNECTIONS))
        (void)settle_needs(k, NULL);
}

void gate_done(Kernel *k)
{
    k->ingress = fd_close(k->ingress);
    k->egress = fd_close(k->egress);
    free(k->needs);
}

/* Closing: first somebody who looks, then the switch; opening the other way round. */
int kernel_gate(Kernel *k, uint64_t module_id, bool closed)
{
    struct control_request r = {.op = CONTROL_GATE, .module = module_id, .on = closed};
    if (!kernel_has(k, KERNEL_CONNECTIONS))
        return -EOPNOTSUPP;
    int err = closed ? gate_need_closed(k, module_id, true, NULL) : 0;
    err = err < 0 ? err : kernel_control(k, &r);
    if (!closed || err < 0)
        (void)gate_need_closed(k, module_id, false, NULL);
    return err;
}
