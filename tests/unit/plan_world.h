/* Policies built by hand for the tests of supervisor/plan: a world of modules named and wired by short strings. Also a
 * random number generator with a seed of its own, so that a failing property can be run again. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/str.h"
#include "supervisor/plan/graph.h"

typedef struct World {
    Policy policy;
} World;

#define _cleanup_world_ _cleanup_(world_done)

static inline char **world_words(const char *text)
{
    char **v = NULL;
    _cleanup_(freep) char *copy = xstrdup(text ? text : "");
    char *word, *rest = copy;
    while ((word = strsep(&rest, " ")))
        if (*word)
            strv_add(&v, word);
    return v;
}

/* Lists are names between blanks. The module's file is NAME.ini; every limit is off. */
static inline ModulePolicy *world_add(World *w, const char *name, const char *requires, const char *wants,
                                      const char *after)
{
    ModulePolicy *m = new0(ModulePolicy);
    *m = (ModulePolicy){
        .name = xstrdup(name),
        .policy = &w->policy,
        .file = xasprintf("%s.ini", name),
        .requires = world_words(requires),
        .wants = world_words(wants),
        .after = world_words(after),
        .start_timeout = 60000000,
        .stop_timeout = 30000000,
        .limits = {.cpu_max = UINT64_MAX,
                   .memory_max = UINT64_MAX,
                   .memory_high = UINT64_MAX,
                   .memory_swap_max = UINT64_MAX,
                   .pids_max = UINT64_MAX},
    };
    ARRAY_PUSH(w->policy.modules, w->policy.n_modules) = m;
    return m;
}

static inline int world_compare(const void *a, const void *b)
{
    return module_name_compare((*(ModulePolicy *const *)a)->name, (*(ModulePolicy *const *)b)->name);
}

static inline void world_sort(World *w)
{
    if (w->policy.n_modules > 0)
        qsort(w->policy.modules, w->policy.n_modules, sizeof *w->policy.modules, world_compare);
}

static inline void world_done(World *w)
{
    for (size_t i = 0; i < w->policy.n_modules; i++) {
        ModulePolicy *m = w->policy.modules[i];
        strv_free(m->requires);
        strv_free(m->wants);
        strv_free(m->after);
        strv_free(m->part_of);
        free(m->file);
        free(m->name);
        free(m);
    }
    free(w->policy.modules);
    *w = (World){0};
}

/* The graph of a world that must have one. */
static inline Graph *world_graph(World *w)
{
    _cleanup_complaints_ Complaints complaints = {0};
    Graph *g = NULL;
    world_sort(w);
    int r = graph_build(&w->policy, &g, &complaints);
    for (size_t i = 0; i < complaints.n; i++) {
        _cleanup_(freep) char *line = complaint_format(&complaints.items[i]);
        print_error("%s\n", line);
    }
    assert_int_equal(r, 0);
    assert_int_equal(complaints.n, 0);
    return g;
}

static inline size_t world_at(const Graph *g, const char *name)
{
    ssize_t i = graph_index(g, name);
    assert_true(i >= 0);
    return (size_t)i;
}

/* xorshift64*; a seed must not be 0. */
static inline uint64_t random_next(uint64_t *seed)
{
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    return *seed * 2685821657736338717ull;
}

static inline size_t random_below(uint64_t *seed, size_t n)
{
    assert_true(n > 0);
    return n ? (size_t)((random_next(seed) >> 33) % n) : 0;
}

static inline double random_unit(uint64_t *seed)
{
    return (double)(random_next(seed) >> 11) / 9007199254740992.0;
}

#define WORLD_RANDOM_MAX 12

/* Fills w with n (at most WORLD_RANDOM_MAX) modules "m00", "m01"… and each ordered pair with an edge in `percent` of
 * the cases, of any kind or several. `acyclic`: edges follow a hidden random order. edge[i][j] tells the kinds of i → j
 * by bit: 1 requires, 2 wants, 4 after. */
static inline void world_random(World *w, uint64_t *seed, size_t n, size_t percent, bool acyclic,
                                unsigned edge[WORLD_RANDOM_MAX][WORLD_RANDOM_MAX])
{
    size_t rank[WORLD_RANDOM_MAX] = {0};
    for (size_t i = 0; i < n; i++) {
        size_t j = random_below(seed, i + 1);
        rank[i] = rank[j];
        rank[j] = i;
    }
    for (size_t i = 0; i < n; i++) {
        _cleanup_(freep) char *name = xasprintf("m%02zu", i);
        ModulePolicy *m = world_add(w, name, NULL, NULL, NULL);
        char ***const lists[] = {&m->requires, &m->wants, &m->after};
        for (size_t j = 0; j < n; j++) {
            edge[i][j] = 0;
            if (i == j || (acyclic && rank[i] < rank[j]) || random_below(seed, 100) >= percent)
                continue;
            edge[i][j] = 1u + (unsigned)random_below(seed, 7);
            for (unsigned k = 0; k < 3; k++)
                if (edge[i][j] & 1u << k)
                    strv_push(lists[k], xasprintf("m%02zu", j));
        }
    }
}
