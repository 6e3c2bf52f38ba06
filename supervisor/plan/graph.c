/* From names to a checked graph.
 *
 * Modules are sorted by name, so a name is found by bsearch and an index is a rank: "names break ties" is plain index
 * order everywhere, and the instances of a template, which its bare name means, are a row. Edge lists are sorted and
 * hold each module once. Nothing recurses: a chain of thousands must not eat the stack. Build costs O(modules + edges ·
 * log edges).
 *
 * Cycles: a depth-first walk over the three kinds of edge that order, in name order. Each edge that leads back into the
 * path being walked closes one cycle, which is the path from there; so every cycle that is named has a closing edge of
 * its own, is named once, and taking all the named edges away would leave no cycle at all. (All elementary cycles
 * cannot be listed: there may be exponentially many.) */
#include "supervisor/plan/graph.h"

#include <errno.h>

#include "base/str.h"

typedef enum EdgeKind {
    EDGE_REQUIRES,
    EDGE_WANTS,
    EDGE_AFTER,
    EDGE_ORDER_N,                /* those before it say who waits for whom */
    EDGE_PART_OF = EDGE_ORDER_N, /* says nothing about order, so it closes no cycle */
    EDGE_KIND_N
} EdgeKind;

static const char *const edge_keys[EDGE_KIND_N] = {"module.requires", "module.wants", "module.after", "module.part_of"};

/* What module i waits for, of whatever kind, each once and by its strongest kind. */
typedef struct Dependency {
    size_t to;
    EdgeKind kind;
} Dependency;

typedef struct Dependencies {
    Dependency *items;
    size_t n;
} Dependencies;

typedef struct Build {
    Graph *graph;
    Dependencies *all; /* one a module */
    const char **names;
    Complaints *complaints;
    size_t n_wrong;
} Build;

static void build_done(Build *b)
{
    for (size_t i = 0; b->all && i < b->graph->n; i++)
        free(b->all[i].items);
    free(b->all);
    free(b->names);
    graph_free(b->graph);
}

static int compare_name(const void *name, const void *module)
{
    return module_name_compare(name, (*(ModulePolicy *const *)module)->name);
}

ssize_t graph_index(const Graph *g, const char *name)
{
    if (g->n == 0)
        return -ENOENT;
    ModulePolicy **hit = bsearch(name, g->policy->modules, g->n, sizeof *g->policy->modules, compare_name);
    return hit ? hit - g->policy->modules : -ENOENT;
}

static int compare_index(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

static void edges_sort_unique(Edges *e)
{
    if (e->n < 2)
        return;
    qsort(e->to, e->n, sizeof *e->to, compare_index);
    size_t n = 1;
    for (size_t k = 1; k < e->n; k++)
        if (e->to[k] != e->to[n - 1])
            e->to[n++] = e->to[k];
    e->n = n;
}

static char *const *names_of(const ModulePolicy *m, EdgeKind kind)
{
    char *const *const lists[EDGE_KIND_N] = {m->requires, m->wants, m->after, m->part_of};
    return lists[kind];
}

static Edges *edges_of(Node *node, EdgeKind kind)
{
    Edges *const lists[EDGE_KIND_N] = {&node->requires, &node->wants, &node->after, &node->part_of};
    return lists[kind];
}

/* Has something been said of that line? */
static bool complained(const Build *b, const char *file, unsigned line, const char *key)
{
    for (size_t i = 0; i < b->complaints->n; i++) {
        const Complaint *c = &b->complaints->items[i];
        if (c->line == line && str_equal(c->key, key) && strcmp(c->file, file) == 0)
            return true;
    }
    return false;
}

/* Of a template's instances one is enough: the line is the same. */
static void complain(Build *b, size_t i, EdgeKind kind, const char *message)
{
    const char *file = NULL;
    unsigned line = 0;
    const ModulePolicy *m = b->graph->policy->modules[i];
    policy_origin(m, edge_keys[kind], &file, &line);
    if (module_instance(m->name) == 0 || !complained(b, file, line, edge_keys[kind]))
        complaints_add(b->complaints, file, line, edge_keys[kind], "%s", message);
    b->n_wrong++;
}

static void complain_missing(Build *b, size_t i, EdgeKind kind, const char *name)
{
    const Policy *p = b->graph->policy;
    size_t n_names = p->n_modules + p->n_templates, first;
    if (!b->names) {
        b->names = new0_array(const char *, n_names);
        for (size_t k = 0; k < p->n_modules; k++)
            b->names[k] = p->modules[k]->name;
        for (size_t k = 0; k < p->n_templates; k++)
            b->names[p->n_modules + k] = p->templates[k].name;
    }
    _cleanup_(freep) char *stem = xstrndup(name, module_stem(name));
    size_t n_instances = policy_instances(p, stem, &first);
    if (name[strlen(stem)] && n_instances > 0) {
        _cleanup_(freep) char *message = xasprintf("no module '%s' (%s has instances up to %s; '%s' means all of them)",
                                                   name, stem, p->modules[first + n_instances - 1]->name, stem);
        complain(b, i, kind, message);
        return;
    }
    const char *nearest = str_nearest(name, b->names, n_names);
    /* The nearest name may be the module's own, and what would come of that is no help. */
    bool helpful = nearest && strcmp(nearest, p->modules[i]->name) != 0;
    _cleanup_(freep) char *message = policy_template(p, name) ? xasprintf("'%s' has no instances (one at least)", name)
                                     : helpful ? xasprintf("no module '%s' (did you mean '%s'?)", name, nearest)
                                               : xasprintf("no module '%s'", name);
    complain(b, i, kind, message);
}

/* The modules that a name means: the one, or all instances of the template; *ret_first and how many. */
static size_t meant(const Graph *g, const char *name, size_t *ret_first)
{
    ssize_t one = graph_index(g, name);
    if (one < 0)
        return policy_instances(g->policy, name, ret_first);
    *ret_first = (size_t)one;
    return 1;
}

/* Resolves one key of module i. */
static void resolve(Build *b, size_t i, EdgeKind kind)
{
    Graph *g = b->graph;
    Edges *e = edges_of(&g->nodes[i], kind);
    bool self = false;
    STRV_FOREACH (name, names_of(g->policy->modules[i], kind)) {
        size_t first = 0, n = meant(g, *name, &first);
        for (size_t to = first; to < first + n; to++) {
            if (to != i)
                ARRAY_PUSH(e->to, e->n) = to;
            self |= to == i;
        }
        /* Who wants no more than order or company is content with a template that has no instances now. */
        if (n == 0 && (kind == EDGE_REQUIRES || !policy_template(g->policy, *name)))
            complain_missing(b, i, kind, *name);
    }
    if (self) {
        const char *name = g->policy->modules[i]->name;
        _cleanup_(freep) char *message = xasprintf("'%.*s' names itself (remove it)", (int)module_stem(name), name);
        complain(b, i, kind, message);
    }
    edges_sort_unique(e);
}

/* Merges the three sorted lists of module i that order; on equal targets the strongest kind stays. */
static void merge_kinds(Build *b, size_t i)
{
    Node *node = &b->graph->nodes[i];
    Dependencies *d = &b->all[i];
    size_t total = node->requires.n + node->wants.n + node->after.n;
    if (total == 0)
        return;
    d->items = new0_array(Dependency, total);
    size_t at[EDGE_ORDER_N] = {0};
    for (;;) {
        size_t least = SIZE_MAX;
        EdgeKind kind = EDGE_ORDER_N;
        for (EdgeKind k = 0; k < EDGE_ORDER_N; k++) {
            const Edges *e = edges_of(node, k);
            if (at[k] < e->n && e->to[at[k]] < least) {
                least = e->to[at[k]];
                kind = k;
            }
        }
        if (kind == EDGE_ORDER_N)
            return;
        for (EdgeKind k = 0; k < EDGE_ORDER_N; k++) {
            const Edges *e = edges_of(node, k);
            if (at[k] < e->n && e->to[at[k]] == least)
                at[k]++;
        }
        d->items[d->n++] = (Dependency){.to = least, .kind = kind};
    }
}

/* The path walked so far: module, and how many of its dependencies have been looked at. */
typedef struct Step {
    size_t module, next;
} Step;

static void complain_cycle(Build *b, const Step *path, size_t depth, size_t from, EdgeKind closing)
{
    ModulePolicy **modules = b->graph->policy->modules;
    _cleanup_strbuf_ StrBuf text = STRBUF_NULL;
    strbuf_adds(&text, "cycle: ");
    for (size_t k = from; k <= depth; k++)
        strbuf_addf(&text, "%s → ", modules[path[k].module]->name);
    strbuf_adds(&text, modules[path[from].module]->name);
    complain(b, path[depth].module, closing, text.s);
}

static void find_cycles(Build *b)
{
    size_t n = b->graph->n;
    const size_t UNSEEN = 0, OVER = SIZE_MAX; /* else: place in the path, from 1 */
    _cleanup_(freep) size_t *mark = new0_array(size_t, n);
    _cleanup_(freep) Step *path = new0_array(Step, n);
    for (size_t root = 0; root < n; root++) {
        if (mark[root] != UNSEEN)
            continue;
        size_t depth = 0;
        path[0] = (Step){.module = root};
        mark[root] = 1;
        for (;;) {
            Step *top = &path[depth];
            const Dependencies *d = &b->all[top->module];
            if (top->next == d->n) {
                mark[top->module] = OVER;
                if (depth == 0)
                    break;
                depth--;
                continue;
            }
            const Dependency *edge = &d->items[top->next++];
            if (mark[edge->to] == UNSEEN) {
                path[++depth] = (Step){.module = edge->to};
                mark[edge->to] = depth + 1;
            } else if (mark[edge->to] != OVER)
                complain_cycle(b, path, depth, mark[edge->to] - 1, edge->kind);
        }
    }
}

static void make_room(Edges *e)
{
    e->to = e->n ? new0_array(size_t, e->n) : NULL;
    e->n = 0;
}

/* Sources are visited in index order, so the reversed lists come out sorted. */
static void reverse_edges(Build *b)
{
    Graph *g = b->graph;
    for (size_t i = 0; i < g->n; i++) {
        for (size_t k = 0; k < g->nodes[i].requires.n; k++)
            g->nodes[g->nodes[i].requires.to[k]].required_by.n++;
        for (size_t k = 0; k < g->nodes[i].part_of.n; k++)
            g->nodes[g->nodes[i].part_of.to[k]].parts.n++;
        for (size_t k = 0; k < b->all[i].n; k++)
            g->nodes[b->all[i].items[k].to].before.n++;
    }
    for (size_t i = 0; i < g->n; i++) {
        make_room(&g->nodes[i].required_by);
        make_room(&g->nodes[i].parts);
        make_room(&g->nodes[i].before);
    }
    for (size_t i = 0; i < g->n; i++) {
        for (size_t k = 0; k < g->nodes[i].requires.n; k++) {
            Edges *e = &g->nodes[g->nodes[i].requires.to[k]].required_by;
            e->to[e->n++] = i;
        }
        for (size_t k = 0; k < g->nodes[i].part_of.n; k++) {
            Edges *e = &g->nodes[g->nodes[i].part_of.to[k]].parts;
            e->to[e->n++] = i;
        }
        for (size_t k = 0; k < b->all[i].n; k++) {
            Edges *e = &g->nodes[b->all[i].items[k].to].before;
            e->to[e->n++] = i;
        }
    }
}

/* Waves by Kahn's walk, then the order by wave and index. The graph has no cycle any more. */
static void find_order(Build *b)
{
    Graph *g = b->graph;
    _cleanup_(freep) size_t *missing = new0_array(size_t, g->n);
    _cleanup_(freep) size_t *queue = new0_array(size_t, g->n);
    size_t head = 0, tail = 0;
    for (size_t i = 0; i < g->n; i++) {
        missing[i] = b->all[i].n;
        if (missing[i] == 0)
            queue[tail++] = i;
    }
    while (head < tail) {
        size_t i = queue[head++];
        g->n_waves = MAX2(g->n_waves, g->wave[i] + 1);
        for (size_t k = 0; k < g->nodes[i].before.n; k++) {
            size_t j = g->nodes[i].before.to[k];
            g->wave[j] = MAX2(g->wave[j], g->wave[i] + 1);
            if (--missing[j] == 0)
                queue[tail++] = j;
        }
    }
    _cleanup_(freep) size_t *at = new0_array(size_t, g->n_waves + 1);
    for (size_t i = 0; i < g->n; i++)
        at[g->wave[i] + 1]++;
    for (size_t w = 1; w <= g->n_waves; w++)
        at[w] += at[w - 1];
    for (size_t i = 0; i < g->n; i++)
        g->order[at[g->wave[i]]++] = i;
}

int graph_build(const Policy *policy, Graph **ret, Complaints *complaints)
{
    size_t n = policy->n_modules;
    _cleanup_(build_done) Build b = {.graph = new0(Graph), .complaints = complaints};
    *b.graph = (Graph){
        .policy = policy,
        .nodes = new0_array(Node, n),
        .n = n,
        .order = new0_array(size_t, n),
        .wave = new0_array(size_t, n),
    };
    b.all = new0_array(Dependencies, n);
    for (size_t i = 0; i < n; i++) {
        for (EdgeKind k = 0; k < EDGE_KIND_N; k++)
            resolve(&b, i, k);
        merge_kinds(&b, i);
    }
    find_cycles(&b);
    if (b.n_wrong > 0) {
        complaints_sort(complaints);
        return -EINVAL;
    }
    reverse_edges(&b);
    find_order(&b);
    for (size_t i = 0; i < n; i++)
        free(b.all[i].items);
    free(TAKE_PTR(b.all));
    *ret = TAKE_PTR(b.graph);
    return 0;
}

Graph *graph_free(Graph *g)
{
    if (!g)
        return NULL;
    for (size_t i = 0; i < g->n; i++) {
        Node *node = &g->nodes[i];
        free(node->requires.to);
        free(node->wants.to);
        free(node->after.to);
        free(node->part_of.to);
        free(node->required_by.to);
        free(node->parts.to);
        free(node->before.to);
    }
    free(g->nodes);
    free(g->order);
    free(g->wave);
    free(g);
    return NULL;
}

/* Puts what `e` leads to on the stack, once. */
static void closure_push(const Edges *e, bool *seen, size_t *stack, size_t *depth)
{
    for (size_t k = 0; k < e->n; k++)
        if (!seen[e->to[k]]) {
            seen[e->to[k]] = true;
            stack[(*depth)++] = e->to[k];
        }
}

/* Which edges a walk follows. */
enum { WALK_REQUIRES = 1, WALK_WANTS = 2, WALK_REQUIRED_BY = 4, WALK_PARTS = 8 };

/* `seen` is the walk's own: what the caller had marked before says nothing about that module's dependencies. With
 * `active` only those are reached. */
static void closure(const Graph *g, size_t start, unsigned walk, const bool *active, bool *set)
{
    _cleanup_(freep) bool *seen = new0_array(bool, g->n);
    _cleanup_(freep) size_t *stack = new0_array(size_t, g->n);
    size_t depth = 0;
    for (size_t i = 0; active && i < g->n; i++)
        seen[i] = !active[i];
    seen[start] = true;
    stack[depth++] = start;
    while (depth > 0) {
        size_t i = stack[--depth];
        const Node *node = &g->nodes[i];
        set[i] = true;
        if (walk & WALK_REQUIRES)
            closure_push(&node->requires, seen, stack, &depth);
        if (walk & WALK_WANTS)
            closure_push(&node->wants, seen, stack, &depth);
        if (walk & WALK_REQUIRED_BY)
            closure_push(&node->required_by, seen, stack, &depth);
        if (walk & WALK_PARTS)
            closure_push(&node->parts, seen, stack, &depth);
    }
}

void graph_closure_up(const Graph *g, size_t i, bool *set)
{
    closure(g, i, WALK_REQUIRES | WALK_WANTS, NULL, set);
}

void graph_closure_down(const Graph *g, size_t i, bool *set)
{
    closure(g, i, WALK_REQUIRED_BY, NULL, set);
}

void graph_taken_along(const Graph *g, size_t i, bool cascade, const bool *active, bool *set)
{
    closure(g, i, WALK_PARTS | (cascade ? WALK_REQUIRED_BY : 0), active, set);
}
