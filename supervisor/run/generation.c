/* See generation.h. */
#include "supervisor/run/generation.h"

#include "base/fd.h"
#include "supervisor/run/hook.h"
#include "supervisor/run/notify.h"
#include "supervisor/run/page.h"
#include "supervisor/run/reload.h"
#include "supervisor/run/start.h"

Generation *generation_free(Generation *g)
{
    if (!g)
        return NULL;
    sd_event_source_disable_unref(g->child_source);
    sd_event_source_disable_unref(g->main_source);
    sd_event_source_disable_unref(g->start_timer);
    launch_free(g->launch);
    hook_free(g->hook);
    reload_free(g->reload);
    notify_free(g->notify);
    page_free(g->page); /* asks who is left in the leaf */
    box_free(g->leaf);
    fd_close(g->pidfd);
    free(g->status_text);
    if (g->module->generation == g)
        g->module->generation = NULL;
    free(g);
    return NULL;
}
