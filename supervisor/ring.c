/* See ring.h. */
#include "supervisor/ring.h"

#include <sys/epoll.h>

#include "base/log.h"
#include "base/str.h"
#include "supervisor/run/start.h"
#include "supervisor/watch/work.h"

static Module *module_of(Host *h, uint64_t group)
{
    for (size_t i = 0; i < h->n_modules; i++)
        if (h->modules[i]->group && group_id(h->modules[i]->group) == group)
            return h->modules[i];
    return NULL;
}

static void on_ring_event(const struct ring_event *e, void *userdata)
{
    Host *h = userdata;
    Module *m = module_of(h, e->module);
    Generation *g = m ? m->generation : NULL;
    if (!g)
        return;
    _cleanup_(freep) char *comm = str_escape(e->comm, strnlen(e->comm, sizeof e->comm), 64);
    switch ((enum exit_ring_kind)e->kind) {
    case RING_LISTEN:
        generation_listening(g, (uint16_t)e->value);
        break;
    case RING_IDLE:
        work_idle(h->ctx.work, m);
        break;
    case RING_OOM:
        log_warning("module=%s generation=%llu event=oom-kill pid=%u comm=%s", module_name(m),
                    (unsigned long long)g->number, e->pid, comm);
        host_event(h, m, g->number, "oom-kill", NULL, json_pack("{s:i,s:s}", "pid", (int)e->pid, "comm", comm));
        break;
    case RING_DENIED:
        log_warning("module=%s generation=%llu event=syscall-denied nr=%d pid=%u comm=%s", module_name(m),
                    (unsigned long long)g->number, e->value, e->pid, comm);
        host_event(h, m, g->number, "syscall-denied", NULL,
                   json_pack("{s:i,s:i,s:s}", "nr", e->value, "pid", (int)e->pid, "comm", comm));
        break;
    case RING_EXIT: /* wait tells it too */
        break;
    }
}

static int on_ring(sd_event_source *s, int fd, uint32_t events, void *userdata)
{
    (void)s, (void)fd, (void)events;
    Host *h = userdata;
    (void)kernel_ring_consume(h->ctx.kernel, on_ring_event, h);
    return 0;
}

int ring_watch(Host *h, Error *e)
{
    if (!h->ctx.kernel)
        return 0;
    int r = sd_event_add_io(h->ctx.event, &h->ring, kernel_ring_fd(h->ctx.kernel), EPOLLIN, on_ring, h);
    return r < 0 ? error_errno(e, r, "cannot watch the kernel's ring") : 0;
}
