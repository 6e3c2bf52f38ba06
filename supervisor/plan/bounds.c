/* See bounds.h. */
#include "supervisor/plan/bounds.h"

#include "base/clock.h"

uint64_t bound_teardown(const ModulePolicy *p)
{
    uint64_t bound = usec_add(p->stop_timeout, BOUND_KILL_USEC);
    if (p->work.track.sources)
        bound = usec_add(bound, p->work.drain_hard);
    if (p->exec_stop_post.n > 0)
        bound =
            usec_add(bound, usec_add(policy_hook_timeout(p->exec_stop_post_timeout, p->stop_timeout), BOUND_KILL_USEC));
    return bound;
}

uint64_t bound_shutdown(const Graph *g)
{
    _cleanup_(freep) uint64_t *end = new0_array(uint64_t, g->n + 1);
    uint64_t longest = 0;
    for (size_t k = g->n; k-- > 0;) { /* dependents before what they depend on, as they go down */
        size_t i = g->order[k];
        const Edges *first = &g->nodes[i].before;
        for (size_t j = 0; j < first->n; j++)
            end[i] = MAX2(end[i], end[first->to[j]]);
        end[i] = usec_add(end[i], bound_teardown(g->policy->modules[i]));
        longest = MAX2(longest, end[i]);
    }
    return longest;
}
