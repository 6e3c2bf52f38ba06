/* The dependency graph: indexes into Policy.modules, edges both ways, checked once. Pure.
 *
 * requires: hard, must be ready first, its failure is mine. wants: soft, is started too and waited for until it is
 * ready or has failed. after: order only, for what is being started anyway. Stop order is the reverse of all three. The
 * bare name of a template means all its instances.
 * part_of: is stopped and restarted with the other, never started with it, and in no order by that (as systemd's
 * PartOf; modules may be part of each other). */
#pragma once

#include "policies/policy.h"

typedef struct Edges {
    size_t *to;
    size_t n;
} Edges;

typedef struct Node {
    Edges requires, wants, after, part_of;
    Edges required_by; /* reverse of requires */
    Edges parts;       /* reverse of part_of */
    Edges before;      /* reverse of requires, wants and after together, each once: who must be down first */
} Node;

typedef struct Graph {
    const Policy *policy; /* not owned; must outlive the graph */
    Node *nodes;          /* one a module, same index */
    size_t n;
    size_t *order; /* a start order: dependencies first, names break ties */
    size_t *wave;  /* wave[i]: longest path of dependencies below i; modules of one wave can start at once */
    size_t n_waves;
} Graph;

/* -EINVAL adds complaints: each missing module (with the nearest name), each self-dependency, each cycle once with its
 * path
 * ("a → b → c → a"), all at the file and line of the key. */
int graph_build(const Policy *policy, Graph **ret, Complaints *complaints);
Graph *graph_free(Graph *g);
static inline void graph_freep(Graph **g)
{
    *g = graph_free(*g);
}

/* Marks in `set` (n bools, caller's) module i and all it requires or wants, transitively. */
void graph_closure_up(const Graph *g, size_t i, bool *set);
/* Marks module i and all that require it, transitively (wants and after do not count). */
void graph_closure_down(const Graph *g, size_t i, bool *set);

/* Marks module i and what a stop or restart of it takes along, transitively: those that are part of it and, with
 * `cascade`, those that require it. Only modules with active[] count (n bools); what is not active passes nothing on.
 */
void graph_taken_along(const Graph *g, size_t i, bool cascade, const bool *active, bool *set);

/* The index of a module by name, or -ENOENT. */
ssize_t graph_index(const Graph *g, const char *name);
