/* See host.h. */
#include "supervisor/host.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/log.h"

void host_problem(Host *h, const char *fmt, ...)
{
    if (h->problem.code)
        return;
    h->problem.code = -ECANCELED;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(h->problem.msg, sizeof h->problem.msg, fmt, ap);
    va_end(ap);
    fprintf(stderr, "bulkheadd: %s\n", h->problem.msg);
}

void host_event(void *host, const Module *m, uint64_t generation, const char *name, const char *phase, json_t *detail)
{
    Host *h = host;
    const char *line =
        journal_add(h->journal, now_realtime(), m ? module_name(m) : NULL, generation, name, phase, detail);
    if (h->control)
        control_event(h->control, line);
    log_debug("module=%s generation=%llu event=%s phase=%s", m ? module_name(m) : "-", (unsigned long long)generation,
              name, phase ? phase : "-");
}

void host_wake(Host *h)
{
    if (h->pump && !h->pumping)
        sd_event_source_set_enabled(h->pump, SD_EVENT_ONESHOT);
}
