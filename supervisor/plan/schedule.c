/* See schedule.h. What has failed is told before what is waited for: a start that cannot succeed ends at once.
 *
 * STOPPING is waited for by all three kinds of edge: in a restart of both, the dependency goes STOPPING, WAITING,
 * STARTING, and whoever does not wait in the first of these starts ahead of it. It cannot hang: a stop is bounded, and
 * waits for nobody that is WAITING. READY and to be stopped is as good as STOPPING: it may still wait for another of
 * its dependents to be down.
 *
 * DONE is READY for who depends on it, and DOWN for who it depends on. */
#include "supervisor/plan/schedule.h"

static bool on_its_way(NodeStatus s)
{
    return s == NODE_WAITING || s == NODE_STARTING || s == NODE_STOPPING;
}

ScheduleAnswer schedule_start(const Graph *g, const NodeStatus *status, const bool *stopping, size_t i, size_t *ret_on)
{
    const Node *node = &g->nodes[i];
    for (size_t k = 0; k < node->requires.n; k++) {
        NodeStatus s = status[node->requires.to[k]];
        if (s == NODE_FAILED || s == NODE_DOWN) {
            *ret_on = node->requires.to[k];
            return SCHEDULE_DEPENDENCY_FAILED;
        }
    }
    const Edges *const lists[] = {&node->requires, &node->wants, &node->after};
    for (size_t l = 0; l < ELEMENTS(lists); l++)
        for (size_t k = 0; k < lists[l]->n; k++)
            if (on_its_way(status[lists[l]->to[k]]) ||
                (stopping[lists[l]->to[k]] && status[lists[l]->to[k]] == NODE_READY)) {
                *ret_on = lists[l]->to[k];
                return SCHEDULE_WAIT;
            }
    return SCHEDULE_GO;
}

static bool is_up(NodeStatus s)
{
    return s == NODE_STARTING || s == NODE_READY || s == NODE_STOPPING;
}

bool schedule_parts_go_first(const Graph *g, const NodeStatus *status, const bool *stopping, size_t i, size_t *ret_on)
{
    const Edges *parts = &g->nodes[i].parts, *before = &g->nodes[i].before;
    for (size_t k = 0, b = 0; k < parts->n; k++) { /* both are sorted */
        size_t j = parts->to[k];
        while (b < before->n && before->to[b] < j)
            b++;
        if (b < before->n && before->to[b] == j && stopping[j] && is_up(status[j])) {
            *ret_on = j;
            return true;
        }
    }
    return false;
}

ScheduleAnswer schedule_stop(const Graph *g, const NodeStatus *status, const bool *stopping, size_t i, size_t *ret_on)
{
    const Edges *before = &g->nodes[i].before;
    for (size_t k = 0; k < before->n; k++) {
        size_t j = before->to[k];
        if (is_up(status[j]) && stopping[j]) {
            *ret_on = j;
            return SCHEDULE_WAIT;
        }
    }
    return SCHEDULE_GO;
}
