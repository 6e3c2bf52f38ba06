/* What `bulkhead plan` and `graph` show: JSON, DOT (also read by dot where it is installed), text. */
#include "tests/unit/plan_world.h"

#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "policies/calendar.h"
#include "supervisor/plan/describe.h"

#define S USEC_PER_SEC

/* db ← cache (wants) ← app; job only by hand, after app; tool by hand, but app requires it. */
static void small_site(World *w)
{
    w->policy.supervisor.parallel_start = true;
    ModulePolicy *db = world_add(w, "db", NULL, NULL, NULL);
    db->required = true;
    static char words[] = "the data";
    db->description = words;
    db->limits.memory_max = 64 << 20;
    db->limits.cpu_max = 150;
    db->limits.pids_max = 64;
    static char cpus[] = "0-1";
    db->limits.cpus = cpus;
    db->limits.cpu_weight = 200;
    db->limits.memory_swap_max = 0;
    db->limits.memory_swap_max_set = true;
    db->recovery = (Recovery){.restart = RESTART_ON_FAILURE,
                              .max_attempts = 4,
                              .backoff = 10 * S,
                              .max_backoff = 30 * S,
                              .reset_after = 60 * S,
                              .factor = 2,
                              .jitter = 20};
    world_add(w, "cache", NULL, "db", NULL)->recovery =
        (Recovery){.restart = RESTART_ALWAYS, .backoff = S, .max_backoff = 4 * S, .factor = 2, .reset_after = S};
    ModulePolicy *app = world_add(w, "app", "db tool", "cache", "db cache");
    app->part_of = world_words("db");
    app->work = (Work){.track.sources = TRACK_CONNECTIONS, .drain_soft = 10 * S, .drain_hard = USEC_INFINITY};
    world_add(w, "job", NULL, NULL, "app")->start = START_MANUAL;
    world_add(w, "tool", NULL, NULL, NULL)->start = START_MANUAL;
}

static void as_json(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    small_site(&w);
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    json_t *plan = plan_describe(g);
    assert_non_null(plan);
    _cleanup_(freep) char *waves = json_dumps(json_object_get(plan, "waves"), JSON_COMPACT);
    assert_string_equal(waves, "[[\"db\",\"tool\"],[\"cache\"],[\"app\"],[]]");
    json_t *modules = json_object_get(plan, "modules");
    assert_int_equal(json_array_size(modules), 5);
    static const char *const expected[] = {
        "{\"after\":[\"cache\",\"db\"],\"drain\":{\"hard_usec\":null,\"soft_usec\":10000000},"
        "\"limits\":{\"cpu_max\":null,\"cpu_weight\":null,\"cpus\":null,\"memory_high\":null,\"memory_max\":null,"
        "\"memory_swap_max\":null,\"pids_max\":null},\"name\":\"app\",\"part_of\":[\"db\"],\"required\":false,"
        "\"requires\":[\"db\",\"tool\"]"
        ","
        "\"restart\":{\"max_attempts\":0,\"schedule_usec\":[],\"when\":\"no\"},\"start\":\"auto\","
        "\"start_timeout_usec\":60000000,\"starts\":true,\"stop_timeout_usec\":30000000,\"timer\":null,\"type\":"
        "\"simple\",\"wants\":[\"cache\"],\"wave\":"
        "2}",
        "{\"after\":[],\"drain\":null,"
        "\"limits\":{\"cpu_max\":null,\"cpu_weight\":null,\"cpus\":null,\"memory_high\":null,\"memory_max\":null,"
        "\"memory_swap_max\":null,\"pids_max\":null},\"name\":\"cache\",\"part_of\":[],\"required\":false,\"requires\":"
        "[],"
        "\"restart\":{\"max_attempts\":0,\"schedule_usec\":[0,1000000,2000000,4000000],\"when\":\"always\"},"
        "\"start\":\"auto\",\"start_timeout_usec\":60000000,\"starts\":true,\"stop_timeout_usec\":30000000,"
        "\"timer\":null,\"type\":\"simple\",\"wants\":[\"db\"],\"wave\":1}",
        "{\"after\":[],\"drain\":null,"
        "\"limits\":{\"cpu_max\":150,\"cpu_weight\":200,\"cpus\":\"0-1\",\"memory_high\":null,\"memory_max\":67108864,"
        "\"memory_swap_max\":0,\"pids_max\":64},\"name\":\"db\",\"part_of\":[],\"required\":true,\"requires\":[],"
        "\"restart\":{\"max_attempts\":4,\"schedule_usec\":[0,10000000,20000000,30000000],\"when\":\"on-failure\"},"
        "\"start\":\"auto\",\"start_timeout_usec\":60000000,\"starts\":true,\"stop_timeout_usec\":30000000,"
        "\"timer\":null,\"type\":\"simple\",\"wants\":[],\"wave\":0}",
    };
    for (size_t i = 0; i < ELEMENTS(expected); i++) {
        _cleanup_(freep) char *text = json_dumps(json_array_get(modules, i), JSON_COMPACT | JSON_SORT_KEYS);
        assert_string_equal(text, expected[i]);
    }
    assert_true(json_is_false(json_object_get(json_array_get(modules, 3), "starts"))); /* job */
    assert_int_equal(json_integer_value(json_object_get(json_array_get(modules, 3), "wave")), 3);
    assert_true(json_is_true(json_object_get(json_array_get(modules, 4), "starts"))); /* tool: app requires it */
    json_decref(plan);
}

/* The schedule of one module with this policy, as JSON. */
static char *schedule(Recovery r)
{
    _cleanup_world_ World w = {0};
    world_add(&w, "a", NULL, NULL, NULL)->recovery = r;
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    json_t *plan = plan_describe(g);
    json_t *restart = json_object_get(json_array_get(json_object_get(plan, "modules"), 0), "restart");
    char *text = json_dumps(json_object_get(restart, "schedule_usec"), JSON_COMPACT);
    json_decref(plan);
    return text;
}

static void schedules(void **state)
{
    (void)state;
    const struct {
        Recovery r;
        const char *expected;
    } cases[] = {
        {{.restart = RESTART_NO, .max_attempts = 3, .backoff = 5, .max_backoff = 9, .factor = 1}, "[]"},
        {{.restart = RESTART_ALWAYS, .max_attempts = 1, .backoff = 5, .max_backoff = 9, .factor = 1}, "[0]"},
        {{.restart = RESTART_ALWAYS, .max_attempts = 3, .backoff = 5, .max_backoff = 9, .factor = 1.5}, "[0,5,8]"},
        {{.restart = RESTART_ALWAYS, .max_attempts = 0, .backoff = 5, .max_backoff = 9, .factor = 1}, "[0,5]"},
        {{.restart = RESTART_ALWAYS, .max_attempts = 900, .backoff = 5, .max_backoff = 9, .factor = 1}, "[0,5]"},
        {{.restart = RESTART_ALWAYS, .max_attempts = 0, .backoff = 0, .max_backoff = 9, .factor = 2}, "[0,0]"},
        {{.restart = RESTART_ALWAYS, .backoff = USEC_INFINITY, .max_backoff = USEC_INFINITY, .factor = 2}, "[0]"},
        {{.restart = RESTART_ALWAYS, .backoff = 1, .max_backoff = USEC_INFINITY, .factor = 2},
         "[0,1,2,4,8,16,32,64,128,256,512,1024,2048,4096,8192,16384]"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(freep) char *text = schedule(cases[i].r);
        assert_string_equal(text, cases[i].expected);
    }
}

static const char site_dot[] = "digraph bulkhead {\n"
                               "    rankdir=LR;\n"
                               "    node [shape=box, fontname=\"sans-serif\"];\n"
                               "    \"app\";\n"
                               "    \"cache\";\n"
                               "    \"db\" [style=bold];\n"
                               "    \"job\";\n"
                               "    \"tool\";\n"
                               "    \"app\" -> \"db\" [style=solid];\n"
                               "    \"app\" -> \"tool\" [style=solid];\n"
                               "    \"app\" -> \"cache\" [style=dashed];\n"
                               "    \"app\" -> \"db\" [style=dashed, color=grey, arrowhead=odiamond, "
                               "constraint=false];\n"
                               "    \"cache\" -> \"db\" [style=dashed];\n"
                               "    \"job\" -> \"app\" [style=dotted];\n"
                               "}\n";

static void as_dot(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    small_site(&w);
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    _cleanup_(freep) char *dot = plan_dot(g);
    assert_string_equal(dot, site_dot);
}

static void dot_reads_it(void **state)
{
    (void)state;
    if (access("/usr/bin/dot", X_OK) != 0) {
        print_message("no /usr/bin/dot (package graphviz)\n");
        skip();
    }
    FILE *f = popen("/usr/bin/dot -Tplain >/dev/null 2>&1", "we");
    assert_non_null(f);
    fputs(site_dot, f);
    int status = pclose(f);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void as_text(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    small_site(&w);
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    _cleanup_(freep) char *text = plan_text(g);
    static const char head[] = "start order (one line at once)\n"
                               "   1  db, tool\n"
                               "   2  cache\n"
                               "   3  app\n"
                               "stop order\n"
                               "   1  app\n"
                               "   2  cache\n"
                               "   3  db, tool\n"
                               "not started unless asked for\n"
                               "      job\n"
                               "\n"
                               "db (auto, required): the data\n"
                               "  start    ready within 1m 0s\n"
                               "  restart  on-failure: at once, then after 10s, 20s, 30s (each ±20%); gives up after 4 "
                               "restarts; counts anew once ready for 1m 0s\n"
                               "  stop     killed after 30s\n"
                               "  limits   cpu_max 150%, cpus 0-1, memory_max 64M, memory_swap_max 0B, pids_max 64\n"
                               "\n"
                               "tool (manual, optional)\n"
                               "  start    ready within 1m 0s\n"
                               "  restart  no\n"
                               "  stop     killed after 30s\n"
                               "\n"
                               "cache (auto, optional)\n"
                               "  wants    db\n"
                               "  start    ready within 1m 0s\n"
                               "  restart  always: at once, then after 1s, 2s, 4s and so on; never gives up; counts "
                               "anew once ready for 1s\n"
                               "  stop     killed after 30s\n"
                               "\n"
                               "app (auto, optional)\n"
                               "  requires db, tool\n"
                               "  wants    cache\n"
                               "  after    cache, db\n"
                               "  part of  db\n"
                               "  start    ready within 1m 0s\n"
                               "  restart  no\n"
                               "  stop     drain without limit (warning after 10s), then killed after 30s\n"
                               "\n"
                               "job (manual, optional)\n"
                               "  after    app\n"
                               "  start    ready within 1m 0s\n"
                               "  restart  no\n"
                               "  stop     killed after 30s\n";
    assert_string_equal(text, head);
}

/* A timed job starts when it is required, else by its timer; a manual one by nothing. */
static void jobs_and_timers(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    _cleanup_(calendar_freep) Calendar *daily = NULL;
    assert_int_equal(calendar_parse("daily", &daily, NULL), 0);
    world_add(&w, "app", "needed", NULL, NULL);
    ModulePolicy *m = world_add(&w, "needed", NULL, NULL, NULL);
    m->type = TYPE_ONESHOT;
    m->timer = (TimerPolicy){.every = 3600 * S};
    m = world_add(&w, "nightly", NULL, NULL, NULL);
    m->type = TYPE_ONESHOT;
    m->start_timeout = USEC_INFINITY;
    m->timer = (TimerPolicy){.on_calendar = daily, .every = 90 * S, .persistent = true, .randomized_delay = 60 * S};
    m = world_add(&w, "by-hand", NULL, NULL, NULL);
    m->start = START_MANUAL;
    m->timer = (TimerPolicy){.on_calendar = daily, .every = USEC_INFINITY};
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    _cleanup_(freep) char *text = plan_text(g);
    static const char *const parts[] = {
        "start order\n   1  needed\n   2  app\nstop order\n   1  app\n   2  needed\n"
        "started by their timers\n      nightly\nnot started unless asked for\n      by-hand\n",
        "\nneeded (auto, oneshot, optional)\n  timer    every 1h 0m\n  start    over within 1m 0s\n",
        "\nnightly (auto, oneshot, optional)\n  timer    *-*-* 00:00:00, every 1m 30s, by chance up to 1m 0s later; "
        "what is "
        "missed is caught up\n  start    over when it has exited\n",
        "\nby-hand (manual, optional)\n  timer    *-*-* 00:00:00\n  start    ready within 1m 0s\n",
    };
    for (size_t i = 0; i < ELEMENTS(parts); i++)
        if (!strstr(text, parts[i]))
            fail_msg("%s\nis not in\n%s", parts[i], text);
    json_t *plan = plan_describe(g), *modules = json_object_get(plan, "modules");
    static const char *const timers[] = {
        "null",
        "{\"every_usec\":null,\"on_calendar\":\"*-*-* 00:00:00\",\"persistent\":false,\"randomized_delay_usec\":0}",
        "{\"every_usec\":3600000000,\"on_calendar\":null,\"persistent\":false,\"randomized_delay_usec\":0}",
        "{\"every_usec\":90000000,\"on_calendar\":\"*-*-* 00:00:00\",\"persistent\":true,"
        "\"randomized_delay_usec\":60000000}",
    };
    for (size_t i = 0; i < ELEMENTS(timers); i++) {
        _cleanup_(freep) char *timer = json_dumps(json_object_get(json_array_get(modules, i), "timer"),
                                                  JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
        assert_string_equal(timer, timers[i]);
    }
    json_decref(plan);
}

/* The "stop" line of a module that drains within these limits. */
static void assert_stop_line(uint64_t soft, uint64_t hard, const char *expected)
{
    _cleanup_world_ World w = {0};
    world_add(&w, "a", NULL, NULL, NULL)->work =
        (Work){.track.sources = TRACK_CONNECTIONS, .drain_soft = soft, .drain_hard = hard};
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    _cleanup_(freep) char *text = plan_text(g);
    const char *line = strstr(text, "  stop     ");
    assert_non_null(line);
    assert_string_equal(line, expected);
}

static void drain_in_words(void **state)
{
    (void)state;
    assert_stop_line(10 * S, 30 * S, "  stop     drain for up to 30s (warning after 10s), then killed after 30s\n");
    assert_stop_line(30 * S, 30 * S, "  stop     drain for up to 30s, then killed after 30s\n");
    assert_stop_line(USEC_INFINITY, USEC_INFINITY, "  stop     drain without limit, then killed after 30s\n");
}

static void of_nothing(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    _cleanup_(freep) char *text = plan_text(g), *dot = plan_dot(g);
    assert_string_equal(text, "");
    assert_string_equal(dot,
                        "digraph bulkhead {\n    rankdir=LR;\n    node [shape=box, fontname=\"sans-serif\"];\n}\n");
    json_t *plan = plan_describe(g);
    _cleanup_(freep) char *json = json_dumps(plan, JSON_COMPACT);
    assert_string_equal(json, "{\"waves\":[],\"modules\":[]}");
    json_decref(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_json),      cmocka_unit_test(schedules),       cmocka_unit_test(as_dot),
        cmocka_unit_test(dot_reads_it), cmocka_unit_test(as_text),         cmocka_unit_test(drain_in_words),
        cmocka_unit_test(of_nothing),   cmocka_unit_test(jobs_and_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
