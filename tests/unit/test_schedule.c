/* Start and stop decisions: every status on every kind of edge, and whole starts and stops played over random graphs.
 */
#include "tests/unit/plan_world.h"

#include "supervisor/plan/schedule.h"

enum { UNTOUCHED = 77 };
static const bool nobody[WORLD_RANDOM_MAX]; /* is being stopped */

/* app depends on dep by one kind of edge. */
static Graph *pair(World *w, int kind)
{
    world_add(w, "app", kind == 0 ? "dep" : NULL, kind == 1 ? "dep" : NULL, kind == 2 ? "dep" : NULL);
    world_add(w, "dep", NULL, NULL, NULL);
    return world_graph(w);
}

static void start_cells(void **state)
{
    (void)state;
    static const ScheduleAnswer expected[][NODE_STATUS_N] = {
        /*   DOWN                        WAITING        STARTING       READY        STOPPING       FAILED       DONE */
        {SCHEDULE_DEPENDENCY_FAILED, SCHEDULE_WAIT, SCHEDULE_WAIT, SCHEDULE_GO, SCHEDULE_WAIT,
         SCHEDULE_DEPENDENCY_FAILED, SCHEDULE_GO},
        {SCHEDULE_GO, SCHEDULE_WAIT, SCHEDULE_WAIT, SCHEDULE_GO, SCHEDULE_WAIT, SCHEDULE_GO, SCHEDULE_GO},
        {SCHEDULE_GO, SCHEDULE_WAIT, SCHEDULE_WAIT, SCHEDULE_GO, SCHEDULE_WAIT, SCHEDULE_GO, SCHEDULE_GO},
    };
    for (int kind = 0; kind < 3; kind++) {
        _cleanup_world_ World w = {0};
        _cleanup_(graph_freep) Graph *g = pair(&w, kind);
        for (NodeStatus s = 0; s < NODE_STATUS_N; s++)
            for (int going = 0; going < 2; going++) {
                /* READY and to be stopped is STOPPING; else what is asked of it changes nothing. */
                ScheduleAnswer answer = s == NODE_READY && going ? SCHEDULE_WAIT : expected[kind][s];
                NodeStatus status[] = {NODE_WAITING, s};
                bool stopping[] = {false, going};
                size_t on = UNTOUCHED;
                assert_int_equal(schedule_start(g, status, stopping, 0, &on), answer);
                assert_int_equal(on, answer == SCHEDULE_GO ? UNTOUCHED : 1);
                on = UNTOUCHED;
                status[0] = s;
                status[1] = NODE_WAITING; /* nothing below it: who depends on it is no matter */
                stopping[0] = going;
                stopping[1] = false;
                assert_int_equal(schedule_start(g, status, stopping, 1, &on), SCHEDULE_GO);
                assert_int_equal(on, UNTOUCHED);
            }
    }
}

static void stop_cells(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        _cleanup_world_ World w = {0};
        _cleanup_(graph_freep) Graph *g = pair(&w, kind);
        for (NodeStatus s = 0; s < NODE_STATUS_N; s++)
            for (int with = 0; with < 2; with++) {
                const NodeStatus status[] = {s, NODE_READY};
                const bool stopping[] = {with, true};
                bool up = s == NODE_STARTING || s == NODE_READY || s == NODE_STOPPING;
                size_t on = UNTOUCHED;
                assert_int_equal(schedule_stop(g, status, stopping, 1, &on), up && with ? SCHEDULE_WAIT : SCHEDULE_GO);
                assert_int_equal(on, up && with ? 0 : UNTOUCHED);
                on = UNTOUCHED;
                assert_int_equal(schedule_stop(g, status, stopping, 0, &on), SCHEDULE_GO); /* nobody needs app */
                assert_int_equal(on, UNTOUCHED);
            }
    }
}

static void failure_is_told_before_waiting(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "a", NULL, NULL, NULL);
    world_add(&w, "b", NULL, NULL, NULL);
    world_add(&w, "z", "a b", NULL, NULL);
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    size_t on = UNTOUCHED;
    assert_int_equal(schedule_start(g, (NodeStatus[]){NODE_STARTING, NODE_FAILED, NODE_WAITING}, nobody, 2, &on),
                     SCHEDULE_DEPENDENCY_FAILED);
    assert_int_equal(on, 1);
    assert_int_equal(schedule_start(g, (NodeStatus[]){NODE_READY, NODE_STARTING, NODE_WAITING}, nobody, 2, &on),
                     SCHEDULE_WAIT);
    assert_int_equal(on, 1);
}

/* Every status of a part that is ordered after what it is part of by each kind of edge, or not at all. */
static void parts_cells(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        _cleanup_world_ World w = {0};
        world_add(&w, "other", NULL, NULL, "dep"); /* ordered, but no part */
        world_add(&w, "dep", NULL, NULL, NULL);
        ModulePolicy *app =
            world_add(&w, "zapp", kind == 0 ? "dep" : NULL, kind == 1 ? "dep" : NULL, kind == 2 ? "dep" : NULL);
        app->part_of = world_words("dep");
        _cleanup_(graph_freep) Graph *g = world_graph(&w);
        for (NodeStatus s = 0; s < NODE_STATUS_N; s++)
            for (int with = 0; with < 2; with++) {
                const NodeStatus status[] = {NODE_WAITING, NODE_STOPPING, s};
                const bool stopping[] = {false, true, with};
                bool up = s == NODE_STARTING || s == NODE_READY || s == NODE_STOPPING;
                size_t on = UNTOUCHED;
                assert_int_equal(schedule_parts_go_first(g, status, stopping, 0, &on), kind < 3 && up && with);
                assert_int_equal(on, kind < 3 && up && with ? 2 : UNTOUCHED);
                on = UNTOUCHED;
                assert_false(schedule_parts_go_first(g, status, stopping, 2, &on)); /* nothing is part of it */
                assert_int_equal(on, UNTOUCHED);
            }
    }
}

typedef struct Play {
    const Graph *g;
    unsigned edge[WORLD_RANDOM_MAX][WORLD_RANDOM_MAX];
    NodeStatus status[WORLD_RANDOM_MAX];
    bool stopping[WORLD_RANDOM_MAX];
    bool bad[WORLD_RANDOM_MAX]; /* its own start fails */
    bool job[WORLD_RANDOM_MAX]; /* its start is over when it is DONE; between the two it is STOPPING */
    uint64_t seed;
} Play;

/* What must hold at the instant i begins to start. */
static void check_start(const Play *p, size_t i)
{
    for (size_t j = 0; j < p->g->n; j++) {
        if (p->edge[i][j] & 1)
            assert_int_equal(p->status[j], p->job[j] ? NODE_DONE : NODE_READY);
        if (p->edge[i][j])
            assert_true(p->status[j] == (p->job[j] ? NODE_DONE : NODE_READY) || p->status[j] == NODE_FAILED);
    }
}

/* One turn, modules asked in random rotation. Returns whether anything moved. */
static bool start_turn(Play *p)
{
    bool moved = false;
    size_t shift = random_below(&p->seed, p->g->n);
    for (size_t k = 0; k < p->g->n; k++) {
        size_t i = (k + shift) % p->g->n, on = UNTOUCHED;
        if (p->status[i] == NODE_STARTING && random_below(&p->seed, 2)) {
            p->status[i] = p->bad[i] ? NODE_FAILED : p->job[i] ? NODE_STOPPING : NODE_READY;
            moved = true;
        } else if (p->status[i] == NODE_STOPPING && random_below(&p->seed, 2)) {
            p->status[i] = NODE_DONE;
            moved = true;
        }
        if (p->status[i] != NODE_WAITING)
            continue;
        ScheduleAnswer answer = schedule_start(p->g, p->status, nobody, i, &on);
        if (answer == SCHEDULE_WAIT) {
            assert_true(p->edge[i][on] != 0);
            continue;
        }
        if (answer == SCHEDULE_GO)
            check_start(p, i);
        else
            assert_true(p->edge[i][on] & 1 && p->status[on] == NODE_FAILED);
        p->status[i] = answer == SCHEDULE_GO ? NODE_STARTING : NODE_FAILED;
        moved = true;
    }
    return moved;
}

static bool in_status(const Play *p, NodeStatus s)
{
    for (size_t i = 0; i < p->g->n; i++)
        if (p->status[i] == s)
            return true;
    return false;
}

static void play_start(Play *p)
{
    for (size_t i = 0; i < p->g->n; i++)
        p->status[i] = NODE_WAITING;
    while (in_status(p, NODE_WAITING) || in_status(p, NODE_STARTING) || in_status(p, NODE_STOPPING)) {
        bool starting = in_status(p, NODE_STARTING) || in_status(p, NODE_STOPPING);
        assert_true(start_turn(p) || starting); /* nothing begun and nothing moving would be a hang */
    }
    for (size_t k = 0; k < p->g->n; k++) { /* who failed: itself, or what it requires; in order, so that is known */
        size_t i = p->g->order[k];
        bool fails = p->bad[i];
        for (size_t j = 0; j < p->g->n; j++)
            fails = fails || ((p->edge[i][j] & 1) && p->status[j] == NODE_FAILED);
        assert_int_equal(p->status[i], fails ? NODE_FAILED : p->job[i] ? NODE_DONE : NODE_READY);
    }
}

static void play_stop(Play *p)
{
    for (;;) {
        bool left = false, moved = false, ending = in_status(p, NODE_STOPPING);
        size_t shift = random_below(&p->seed, p->g->n);
        for (size_t k = 0; k < p->g->n; k++) {
            size_t i = (k + shift) % p->g->n, on = UNTOUCHED;
            if (p->status[i] == NODE_STOPPING && random_below(&p->seed, 2))
                p->status[i] = NODE_DOWN;
            left = left || p->status[i] == NODE_STOPPING;
            if (p->status[i] != NODE_READY || !p->stopping[i])
                continue;
            left = true;
            if (schedule_stop(p->g, p->status, p->stopping, i, &on) == SCHEDULE_WAIT) {
                assert_true(p->edge[on][i] != 0 && p->stopping[on]);
                continue;
            }
            for (size_t j = 0; j < p->g->n; j++)
                if (p->edge[j][i] && p->stopping[j])
                    assert_true(p->status[j] == NODE_DOWN || p->status[j] == NODE_FAILED || p->status[j] == NODE_DONE);
            p->status[i] = NODE_STOPPING;
            moved = true;
        }
        if (!left)
            return;
        assert_true(moved || ending);
    }
}

static void play(uint64_t *seed, size_t round, bool failures, bool jobs)
{
    _cleanup_world_ World w = {0};
    Play p = {.seed = random_next(seed) | 1};
    size_t n = 1 + random_below(seed, WORLD_RANDOM_MAX);
    world_random(&w, seed, n, 5 + random_below(seed, 70), true, p.edge);
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    p.g = g;
    for (size_t i = 0; i < n; i++)
        p.bad[i] = failures && random_below(seed, 4) == 0;
    for (size_t i = 0; i < n; i++)
        p.job[i] = jobs && random_below(seed, 3) == 0;
    play_start(&p);

    bool part = round % 3 == 0;
    if (part)
        graph_closure_down(g, random_below(seed, n), p.stopping);
    else
        memset(p.stopping, true, sizeof p.stopping);
    NodeStatus before[WORLD_RANDOM_MAX];
    memcpy(before, p.status, sizeof before);
    play_stop(&p);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(p.status[i], before[i] == NODE_READY && p.stopping[i] ? NODE_DOWN : before[i]);
}

static void random_starts_and_stops(void **state)
{
    (void)state;
    uint64_t seed = 0x5c4ed;
    for (size_t round = 0; round < 3000; round++)
        play(&seed, round, false, false);
}

static void random_starts_that_fail(void **state)
{
    (void)state;
    uint64_t seed = 0xfa11;
    for (size_t round = 0; round < 3000; round++)
        play(&seed, round, true, false);
}

static void random_starts_with_jobs(void **state)
{
    (void)state;
    uint64_t seed = 0x10b5;
    for (size_t round = 0; round < 3000; round++)
        play(&seed, round, round % 2, true);
}

/* `restart` of both: the dependent stops first, and does not start before what it depends on is up again. */
static void restart_of_both(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        _cleanup_world_ World w = {0};
        _cleanup_(graph_freep) Graph *g = pair(&w, kind);
        const bool stopping[] = {true, true};
        size_t on = UNTOUCHED;
        assert_int_equal(schedule_stop(g, (NodeStatus[]){NODE_READY, NODE_READY}, stopping, 1, &on), SCHEDULE_WAIT);
        assert_int_equal(schedule_stop(g, (NodeStatus[]){NODE_WAITING, NODE_READY}, stopping, 1, &on), SCHEDULE_GO);
        const NodeStatus way[] = {NODE_STOPPING, NODE_WAITING, NODE_STARTING};
        for (size_t i = 0; i < ELEMENTS(way); i++)
            assert_int_equal(schedule_start(g, (NodeStatus[]){NODE_WAITING, way[i]}, nobody, 0, &on), SCHEDULE_WAIT);
        assert_int_equal(schedule_start(g, (NodeStatus[]){NODE_WAITING, NODE_READY}, nobody, 0, &on), SCHEDULE_GO);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_cells),
        cmocka_unit_test(stop_cells),
        cmocka_unit_test(parts_cells),
        cmocka_unit_test(failure_is_told_before_waiting),
        cmocka_unit_test(random_starts_and_stops),
        cmocka_unit_test(random_starts_that_fail),
        cmocka_unit_test(random_starts_with_jobs),
        cmocka_unit_test(restart_of_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
