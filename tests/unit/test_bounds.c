/* How long a stop may take: each part of a teardown, chains of modules, what has no limit; then, on random graphs,
 * against the sum along every chain. */
#include "tests/unit/plan_world.h"

#include "base/clock.h"
#include "supervisor/plan/bounds.h"

enum { SEC = 1000000 };
static char *hook_words[] = {(char *)"/bin/true", NULL};
static Command hook = {.argv = hook_words};

static void one_teardown(void **state)
{
    (void)state;
    ModulePolicy m = {.stop_timeout = 5 * SEC, .work.drain_hard = 30 * SEC};
    assert_int_equal(bound_teardown(&m), 15 * SEC); /* nothing is tracked: no drain */
    m.work.track.sources = TRACK_CONNECTIONS;
    assert_int_equal(bound_teardown(&m), 45 * SEC);
    m.exec_stop_post = (Commands){&hook, 1};
    assert_int_equal(bound_teardown(&m), 60 * SEC);
    m.exec_stop_post_timeout = 1 * SEC; /* of its own, or that of the stop */
    assert_int_equal(bound_teardown(&m), 56 * SEC);
    m.exec_stop_post_timeout = USEC_INFINITY;
    assert_int_equal(bound_teardown(&m), USEC_INFINITY);
    m.exec_stop_post_timeout = 0;
    m.exec_start_pre = m.exec_start_post = m.exec_reload = m.exec_stop_post; /* those run at other times */
    assert_int_equal(bound_teardown(&m), 60 * SEC);
    m.work.drain_hard = USEC_INFINITY;
    assert_int_equal(bound_teardown(&m), USEC_INFINITY);
    m.work.drain_hard = 0;
    m.stop_timeout = USEC_INFINITY;
    assert_int_equal(bound_teardown(&m), USEC_INFINITY);
}

static void nobody(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    assert_int_equal(bound_shutdown(g), 0);
}

static void chains(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "db", NULL, NULL, NULL)->stop_timeout = 1 * SEC;
    world_add(&w, "app", "db", NULL, NULL)->stop_timeout = 2 * SEC;
    world_add(&w, "web", NULL, "app", NULL)->stop_timeout = 4 * SEC;
    world_add(&w, "job", NULL, NULL, "db")->stop_timeout = 8 * SEC;
    world_add(&w, "alone", NULL, NULL, NULL)->stop_timeout = 20 * SEC;
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    assert_int_equal(bound_shutdown(g), (4 + 2 + 1 + 30) * SEC); /* web, app, db, each with a kill */
    w.policy.modules[world_at(g, "alone")]->stop_timeout = 60 * SEC;
    assert_int_equal(bound_shutdown(g), 70 * SEC);
    w.policy.modules[world_at(g, "app")]->stop_timeout = USEC_INFINITY;
    assert_int_equal(bound_shutdown(g), USEC_INFINITY);
}

/* The longest sum from i on, by walking every chain. */
static uint64_t walk(const Graph *g, size_t i)
{
    uint64_t longest = 0;
    for (size_t k = 0; k < g->nodes[i].before.n; k++)
        longest = MAX2(longest, walk(g, g->nodes[i].before.to[k]));
    return longest + bound_teardown(g->policy->modules[i]);
}

static void random_graphs(void **state)
{
    (void)state;
    uint64_t seed = 20261121;
    for (int round = 0; round < 300; round++) {
        _cleanup_world_ World w = {0};
        unsigned edge[WORLD_RANDOM_MAX][WORLD_RANDOM_MAX];
        world_random(&w, &seed, 1 + random_below(&seed, WORLD_RANDOM_MAX), 30, true, edge);
        for (size_t i = 0; i < w.policy.n_modules; i++)
            w.policy.modules[i]->stop_timeout = random_below(&seed, 100) * SEC;
        _cleanup_(graph_freep) Graph *g = world_graph(&w);
        uint64_t longest = 0;
        for (size_t i = 0; i < g->n; i++)
            longest = MAX2(longest, walk(g, i));
        assert_int_equal(bound_shutdown(g), longest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_teardown),
        cmocka_unit_test(nobody),
        cmocka_unit_test(chains),
        cmocka_unit_test(random_graphs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
