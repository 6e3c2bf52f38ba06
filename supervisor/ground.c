/* See ground.h. */
#include "supervisor/ground.h"

#include <errno.h>

#include "base/log.h"
#include "base/str.h"
#include "supervisor/open.h"
#include "supervisor/run/box.h"

/* Where a dead daemon was started in other cgroups than we are, its generations are in a tree of its own: they go
 * first, because the two trees may share directories in some hierarchies. */
static int clear_old_tree(Host *h, Error *e)
{
    _cleanup_(freep) char *record = instance_recorded_root(&h->instance);
    CgroupTree *old = NULL;
    Error why = {0};
    int r = record ? cgroup_tree_recorded(record, &old, &why) : -ENOENT;
    if (r == -ENOENT)
        return 0;
    if (r < 0) {
        log_warning("event=leftovers-unknown reason=\"%s\"", error_message(&why));
        return 0;
    }
    r = host_take_down_leftovers(h, old, e);
    host_remove_tree(old);
    return r;
}

int ground_open(Host *h, Error *e)
{
    int r = clear_old_tree(h, e);
    if (r < 0)
        return r;
    _cleanup_(freep) char *name = xasprintf("bulkhead-%s", h->options.instance);
    r = cgroup_tree_open(name, &h->ctx.tree, e);
    if (r == 0) {
        _cleanup_(freep) char *record = cgroup_tree_record(h->ctx.tree);
        return instance_record_root(&h->instance, record, e);
    }
    if (h->policy->supervisor.cgroups != PART_OPTIONAL)
        return r;
    log_warning("event=no-cgroups reason=\"%s\": no limits, nothing is counted, processes are held by session and mark",
                error_message(e));
    *e = (Error){0};
    return box_adopt_orphans(&h->ctx, &h->orphans, e);
}
