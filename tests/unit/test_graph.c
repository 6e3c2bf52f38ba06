/* The graph: what is refused and in which words, order and waves, closures; properties against brute force. */
#include "tests/unit/plan_world.h"

#include <errno.h>
#include <sys/resource.h>

#include "policies/keys.h"

/* Builds and expects exactly these complaints ("file: key: message"), in the order they are shown. */
static void refuse(World *w, const char *const *lines, size_t n)
{
    _cleanup_complaints_ Complaints complaints = {0};
    _cleanup_(graph_freep) Graph *g = NULL;
    world_sort(w);
    assert_int_equal(graph_build(&w->policy, &g, &complaints), -EINVAL);
    assert_null(g);
    for (size_t i = 0; i < MIN2(n, complaints.n); i++) {
        const Complaint *c = &complaints.items[i];
        _cleanup_(freep) char *line = xasprintf("%s: %s: %s", c->file, c->key, c->message);
        assert_string_equal(line, lines[i]);
    }
    assert_int_equal(complaints.n, n);
}

#define REFUSE(w, ...) refuse((w), (const char *[]){__VA_ARGS__}, ELEMENTS(((const char *[]){__VA_ARGS__})))

static void nothing(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    assert_int_equal(g->n, 0);
    assert_int_equal(g->n_waves, 0);
    assert_int_equal(graph_index(g, "a"), -ENOENT);
}

static void self(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "a", "a", NULL, NULL);
    world_add(&w, "b", NULL, "b", "b b");
    REFUSE(&w, "a.ini: module.requires: 'a' names itself (remove it)",
           "b.ini: module.after: 'b' names itself (remove it)", "b.ini: module.wants: 'b' names itself (remove it)");
}

static void cycle_of_two(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "b", "a", NULL, NULL);
    world_add(&w, "a", "b", NULL, NULL);
    REFUSE(&w, "b.ini: module.requires: cycle: a → b → a");
}

static void cycle_of_three_over_all_kinds(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "a", "b", NULL, NULL);
    world_add(&w, "b", NULL, "c", NULL);
    world_add(&w, "c", NULL, NULL, "a");
    REFUSE(&w, "c.ini: module.after: cycle: a → b → c → a");
}

static void cycle_is_named_without_the_way_to_it(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "a", "x", NULL, NULL);
    world_add(&w, "b", "x", NULL, NULL);
    world_add(&w, "x", "z", NULL, NULL);
    world_add(&w, "z", NULL, "x", NULL);
    REFUSE(&w, "z.ini: module.wants: cycle: x → z → x");
}

static void overlapping_and_nested_cycles(void **state)
{
    (void)state;
    _cleanup_world_ World eight = {0}; /* two rings that share b */
    world_add(&eight, "a", "b", NULL, NULL);
    world_add(&eight, "b", "a c", NULL, NULL);
    world_add(&eight, "c", "b", NULL, NULL);
    REFUSE(&eight, "b.ini: module.requires: cycle: a → b → a", "c.ini: module.requires: cycle: b → c → b");

    _cleanup_world_ World nested = {0}; /* a short ring within a long one */
    world_add(&nested, "a", "b", NULL, NULL);
    world_add(&nested, "b", "c", NULL, "a");
    world_add(&nested, "c", "d", NULL, NULL);
    world_add(&nested, "d", "a", NULL, NULL);
    REFUSE(&nested, "b.ini: module.after: cycle: a → b → a", "d.ini: module.requires: cycle: a → b → c → d → a");

    _cleanup_world_ World apart = {0};
    world_add(&apart, "a", "b", NULL, NULL);
    world_add(&apart, "b", "a", NULL, NULL);
    world_add(&apart, "c", "d", NULL, NULL);
    world_add(&apart, "d", "c", NULL, NULL);
    REFUSE(&apart, "b.ini: module.requires: cycle: a → b → a", "d.ini: module.requires: cycle: c → d → c");
}

static void one_edge_of_several_kinds_is_one_cycle(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "a", "b", "b", "b");
    world_add(&w, "b", NULL, "a", "a");
    REFUSE(&w, "b.ini: module.wants: cycle: a → b → a");
}

static char *edge_names(const Graph *g, const Edges *e)
{
    StrBuf b = STRBUF_NULL;
    for (size_t k = 0; k < e->n; k++)
        strbuf_addf(&b, "%s%s", k ? " " : "", g->policy->modules[e->to[k]]->name);
    return strbuf_take(&b);
}

/* The bare name of a template means all its instances, NAME@N one of them. */
static void templates(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "worker@10", "db", NULL, "worker@2");
    world_add(&w, "worker@2", "db", NULL, NULL);
    world_add(&w, "worker-x", NULL, NULL, NULL);
    world_add(&w, "db", NULL, NULL, NULL);
    world_add(&w, "web", "worker db", "worker", "worker@2");
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    const Node *web = &g->nodes[world_at(g, "web")];
    _cleanup_(freep) char *requires = edge_names(g, &web->requires), *wants = edge_names(g, &web->wants),
                          *after = edge_names(g, &web->after),
                          *before = edge_names(g, &g->nodes[world_at(g, "db")].before);
    assert_string_equal(requires, "db worker@2 worker@10");
    assert_string_equal(wants, "worker@2 worker@10");
    assert_string_equal(after, "worker@2");
    assert_string_equal(before, "web worker@2 worker@10");
    assert_int_equal(g->wave[world_at(g, "web")], 3);
    assert_int_equal(graph_index(g, "worker"), -ENOENT);
}

static void templates_refused(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "a", "worker@3 work", NULL, "other@1");
    world_add(&w, "worker@1", NULL, "worker", NULL); /* one complaint for the file, not one an instance */
    world_add(&w, "worker@2", NULL, "worker", NULL);
    free(w.policy.modules[2]->file);
    w.policy.modules[2]->file = xstrdup("worker@1.ini");
    REFUSE(&w, "a.ini: module.after: no module 'other@1'", "a.ini: module.requires: no module 'work'",
           "a.ini: module.requires: no module 'worker@3' (worker has instances up to worker@2; 'worker' means all of "
           "them)",
           "worker@1.ini: module.wants: 'worker' names itself (remove it)");

    _cleanup_world_ World ring = {0};
    world_add(&ring, "a", "worker", NULL, NULL);
    world_add(&ring, "worker@1", "a", NULL, NULL);
    world_add(&ring, "worker@2", "a", NULL, NULL);
    free(ring.policy.modules[2]->file);
    ring.policy.modules[2]->file = xstrdup("worker@1.ini");
    REFUSE(&ring, "worker@1.ini: module.requires: cycle: a → worker@1 → a");
}

/* Who requires a template needs one instance; who only wants it or stands after it does not. */
static void template_without_instances(void **state)
{
    (void)state;
    Template empty = {.name = (char *)"worker", .instances = 2};
    _cleanup_world_ World w = {0};
    w.policy.templates = &empty;
    w.policy.n_templates = 1;
    ModulePolicy *web = world_add(&w, "web", NULL, "worker", "worker");
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    assert_int_equal(g->nodes[0].wants.n + g->nodes[0].after.n, 0);
    web->requires = world_words("worker worke");
    REFUSE(&w, "web.ini: module.requires: 'worker' has no instances (one at least)",
           "web.ini: module.requires: no module 'worke' (did you mean 'worker'?)");
}

static void missing(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "redis", NULL, NULL, "quite-another");
    world_add(&w, "web", "rediss", "reddis", NULL);
    world_add(&w, "webb", NULL, NULL, "wxbb");
    REFUSE(&w, "redis.ini: module.after: no module 'quite-another'",
           "web.ini: module.requires: no module 'rediss' (did you mean 'redis'?)",
           "web.ini: module.wants: no module 'reddis' (did you mean 'redis'?)",
           "webb.ini: module.after: no module 'wxbb'"); /* nearest is webb itself: no advice */
}

static ModulePolicy *part(World *w, const char *name, const char *requires, const char *part_of)
{
    ModulePolicy *m = world_add(w, name, requires, NULL, NULL);
    m->part_of = world_words(part_of);
    return m;
}

static void wrong_parts(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    part(&w, "redis", NULL, "redis");
    part(&w, "web", NULL, "rediss nobody");
    REFUSE(&w, "redis.ini: module.part_of: 'redis' names itself (remove it)",
           "web.ini: module.part_of: no module 'nobody'",
           "web.ini: module.part_of: no module 'rediss' (did you mean 'redis'?)");
}

/* db ← app (part of db) ← web (requires app), tail is part of web, mutual is part of db and db of it. */
static void parts_order_nothing(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    part(&w, "db", NULL, "mutual");
    part(&w, "app", NULL, "db");
    part(&w, "web", "app", NULL);
    part(&w, "tail", NULL, "web");
    part(&w, "mutual", NULL, "db db");
    part(&w, "alone", NULL, NULL);
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    size_t db = world_at(g, "db"), app = world_at(g, "app"), web = world_at(g, "web"), tail = world_at(g, "tail"),
           mutual = world_at(g, "mutual");
    assert_int_equal(g->n_waves, 2); /* web waits for app: no part waits for what it is part of */
    assert_int_equal(g->nodes[db].before.n, 0);
    assert_int_equal(g->nodes[db].parts.n, 2);
    assert_int_equal(g->nodes[db].parts.to[0], app);
    assert_int_equal(g->nodes[db].parts.to[1], mutual);
    assert_int_equal(g->nodes[mutual].parts.n, 1);
    assert_int_equal(g->nodes[mutual].part_of.n, 1);
    assert_int_equal(g->nodes[app].parts.n, 0);

    bool up[6] = {0}, parts[6] = {0}, cascade[6] = {0}, of_app[6] = {0}, less[6] = {0};
    bool all[6] = {true, true, true, true, true, true};
    graph_closure_up(g, app, up); /* being a part starts nothing */
    graph_taken_along(g, db, false, all, parts);
    graph_taken_along(g, db, true, all, cascade);
    graph_taken_along(g, app, false, all, of_app);
    all[web] = all[db] = false; /* what is down passes nothing on, but for the one it is about */
    graph_taken_along(g, db, true, all, less);
    for (size_t i = 0; i < g->n; i++) {
        assert_int_equal(up[i], i == app);
        assert_int_equal(parts[i], i == db || i == app || i == mutual);
        assert_int_equal(cascade[i], parts[i] || i == web || i == tail);
        assert_int_equal(of_app[i], i == app);
        assert_int_equal(less[i], parts[i]);
    }
}

static void all_errors_at_once(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "a", "b nobody", NULL, NULL);
    world_add(&w, "b", "a", NULL, "b");
    REFUSE(&w, "a.ini: module.requires: no module 'nobody'", "b.ini: module.after: 'b' names itself (remove it)",
           "b.ini: module.requires: cycle: a → b → a");
}

/* Complaints point at the line of the key, in the file where it was written last: here a drop-in. */
static void at_the_line_of_the_key(void **state)
{
    (void)state;
    static char web[] = "web.ini", drop_in[] = "web.ini.d/10-more.ini";
    char *files[] = {web, drop_in, NULL};
    const Key *requires = key_find_dotted("module.requires"), *wants = key_find_dotted("module.wants");
    assert_true(requires && wants);
    Origin origins[] = {{.key = (uint16_t)(requires - keys), .file = 0, .line = 3},
                        {.key = (uint16_t)(wants - keys), .file = 1, .line = 7}};
    _cleanup_world_ World w = {0};
    w.policy.files = files;
    ModulePolicy *m = world_add(&w, "web", "db", "web", NULL);
    m->origins = origins;
    m->n_origins = ELEMENTS(origins);
    world_add(&w, "db", "nobody", "web", NULL);
    world_sort(&w);
    _cleanup_complaints_ Complaints complaints = {0};
    Graph *g = NULL;
    assert_int_equal(graph_build(&w.policy, &g, &complaints), -EINVAL);
    static const char *const expected[] = {
        "db.ini: module.requires: no module 'nobody'",
        "web.ini:3: module.requires: cycle: db → web → db",
        "web.ini.d/10-more.ini:7: module.wants: 'web' names itself (remove it)",
    };
    assert_int_equal(complaints.n, ELEMENTS(expected));
    for (size_t i = 0; i < ELEMENTS(expected); i++) {
        _cleanup_(freep) char *line = complaint_format(&complaints.items[i]);
        assert_string_equal(line, expected[i]);
    }
}

static void assert_edges(const Graph *g, const Edges *e, const char *names)
{
    StrBuf b = STRBUF_NULL;
    for (size_t k = 0; k < e->n; k++)
        strbuf_addf(&b, "%s%s", k ? " " : "", g->policy->modules[e->to[k]]->name);
    _cleanup_(freep) char *text = strbuf_take(&b);
    assert_string_equal(text, names);
}

static void diamond(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "top", "right left right", "left", "base");
    world_add(&w, "left", "base", NULL, NULL);
    world_add(&w, "right", NULL, "base", NULL);
    world_add(&w, "base", NULL, NULL, NULL);
    world_add(&w, "alone", NULL, NULL, NULL);
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    size_t top = world_at(g, "top"), left = world_at(g, "left"), right = world_at(g, "right"),
           base = world_at(g, "base"), alone = world_at(g, "alone");
    assert_int_equal(g->n_waves, 3);
    assert_int_equal(g->wave[base], 0);
    assert_int_equal(g->wave[alone], 0);
    assert_int_equal(g->wave[left], 1);
    assert_int_equal(g->wave[right], 1);
    assert_int_equal(g->wave[top], 2);
    const size_t order[] = {alone, base, left, right, top};
    assert_memory_equal(g->order, order, sizeof order);
    assert_edges(g, &g->nodes[top].requires, "left right");
    assert_edges(g, &g->nodes[top].wants, "left");
    assert_edges(g, &g->nodes[top].after, "base");
    assert_edges(g, &g->nodes[left].before, "top");
    assert_edges(g, &g->nodes[left].required_by, "top");
    assert_edges(g, &g->nodes[base].before, "left right top");
    assert_edges(g, &g->nodes[base].required_by, "left");
    assert_edges(g, &g->nodes[alone].before, "");
    assert_int_equal(graph_index(g, "nobody"), -ENOENT);
}

static void closures(void **state)
{
    (void)state;
    _cleanup_world_ World w = {0};
    world_add(&w, "a", "b", "c", "d");
    world_add(&w, "b", "e", NULL, NULL);
    world_add(&w, "c", NULL, NULL, NULL);
    world_add(&w, "d", NULL, NULL, NULL);
    world_add(&w, "e", NULL, NULL, NULL);
    _cleanup_(graph_freep) Graph *g = world_graph(&w);
    bool up[5] = {0}, down[5] = {0}, c_down[5] = {0};
    graph_closure_up(g, 0, up);
    assert_memory_equal(up, ((bool[]){true, true, true, false, true}), 5);
    graph_closure_down(g, 4, down);
    assert_memory_equal(down, ((bool[]){true, true, false, false, true}), 5);
    graph_closure_down(g, 2, c_down); /* a merely wants c */
    assert_memory_equal(c_down, ((bool[]){false, false, true, false, false}), 5);
    bool marked[5] = {[1] = true}; /* a mark of the caller's own hides nothing behind it */
    graph_closure_up(g, 0, marked);
    assert_memory_equal(marked, up, 5);
}

/* Long chains with a small stack: whoever recurses dies here. */
static void chains(void **state)
{
    (void)state;
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_STACK, &old), 0);
    struct rlimit small = {.rlim_cur = 256 << 10, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_STACK, &small), 0);
    const size_t n = 20000;
    _cleanup_world_ World w = {0};
    for (size_t i = 0; i < n; i++) {
        _cleanup_(freep) char *name = xasprintf("c%05zu", i);
        _cleanup_(freep) char *next = i + 1 < n ? xasprintf("c%05zu", i + 1) : NULL;
        world_add(&w, name, next, NULL, NULL);
    }
    {
        _cleanup_(graph_freep) Graph *g = world_graph(&w);
        assert_int_equal(g->n_waves, n);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(g->wave[i], n - 1 - i);
            assert_int_equal(g->order[i], n - 1 - i);
        }
        _cleanup_(freep) bool *set = new0_array(bool, n);
        graph_closure_up(g, 0, set);
        for (size_t i = 0; i < n; i++)
            assert_true(set[i]);
    }
    strv_add(&w.policy.modules[n - 1]->after, "c00000");
    _cleanup_complaints_ Complaints complaints = {0};
    Graph *none = NULL;
    assert_int_equal(graph_build(&w.policy, &none, &complaints), -EINVAL);
    assert_int_equal(complaints.n, 1);
    assert_true(str_starts(complaints.items[0].message, "cycle: c00000 → c00001 → "));
    assert_string_equal(complaints.items[0].file, "c19999.ini");
    assert_string_equal(complaints.items[0].key, "module.after");
    assert_int_equal(setrlimit(RLIMIT_STACK, &old), 0);
}

typedef unsigned Matrix[WORLD_RANDOM_MAX][WORLD_RANDOM_MAX];

/* Warshall: which can be reached by edges of the kinds in `mask`. */
static void reach(const Matrix edge, size_t n, unsigned mask, bool out[WORLD_RANDOM_MAX][WORLD_RANDOM_MAX])
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            out[i][j] = edge[i][j] & mask;
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                out[i][j] = out[i][j] || (out[i][k] && out[k][j]);
}

static bool is_cyclic(const Matrix edge, size_t n)
{
    bool r[WORLD_RANDOM_MAX][WORLD_RANDOM_MAX];
    reach(edge, n, 7, r);
    for (size_t i = 0; i < n; i++)
        if (r[i][i])
            return true;
    return false;
}

/* The named cycles are real, distinct, closed by the key they are blamed on, and all that must go. */
static void check_cycles(const Complaints *c, Matrix edge, size_t n)
{
    Matrix left;
    memcpy(left, edge, sizeof left);
    for (size_t i = 0; i < c->n; i++) {
        const char *m = c->items[i].message;
        assert_true(str_starts(m, "cycle: "));
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(m, c->items[j].message);
        size_t path[WORLD_RANDOM_MAX + 2] = {0}, length = 0;
        for (const char *at = strchr(m, 'm'); at; at = strchr(at + 1, 'm')) {
            assert_true(length < ELEMENTS(path));
            path[length++] = strtoul(at + 1, NULL, 10);
        }
        assert_true(length >= 3);
        assert_int_equal(path[0], path[length - 1]);
        for (size_t k = 0; k + 1 < length; k++) {
            assert_true(edge[path[k]][path[k + 1]] != 0);
            for (size_t l = 0; l < k; l++)
                assert_int_not_equal(path[k], path[l]);
        }
        size_t last = path[length - 2], to = path[0];
        assert_int_equal(strtoul(c->items[i].file + 1, NULL, 10), last);
        const char *key = edge[last][to] & 1 ? "module.requires" : edge[last][to] & 2 ? "module.wants" : "module.after";
        assert_string_equal(c->items[i].key, key);
        left[last][to] = 0;
    }
    assert_false(is_cyclic(left, n));
}

static void check_order(const Graph *g, Matrix edge, size_t n)
{
    size_t place[WORLD_RANDOM_MAX], longest[WORLD_RANDOM_MAX] = {0}, waves = 0;
    bool seen[WORLD_RANDOM_MAX] = {0};
    for (size_t k = 0; k < n; k++) {
        assert_false(seen[g->order[k]]);
        seen[g->order[k]] = true;
        place[g->order[k]] = k;
    }
    for (size_t round = 0; round < n; round++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < n; j++)
                if (edge[i][j])
                    longest[i] = MAX2(longest[i], longest[j] + 1);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(g->wave[i], longest[i]);
        waves = MAX2(waves, longest[i] + 1);
        for (size_t j = 0; j < n; j++) {
            assert_true(!edge[i][j] || place[j] < place[i]);
            if (i < j && g->wave[i] == g->wave[j])
                assert_true(place[i] < place[j]);
        }
    }
    assert_int_equal(g->n_waves, waves);
    bool up[WORLD_RANDOM_MAX][WORLD_RANDOM_MAX], hard[WORLD_RANDOM_MAX][WORLD_RANDOM_MAX];
    reach(edge, n, 3, up);
    reach(edge, n, 1, hard);
    for (size_t i = 0; i < n; i++) {
        bool is_up[WORLD_RANDOM_MAX] = {0}, is_down[WORLD_RANDOM_MAX] = {0};
        graph_closure_up(g, i, is_up);
        graph_closure_down(g, i, is_down);
        for (size_t j = 0; j < n; j++) {
            assert_int_equal(is_up[j], i == j || up[i][j]);
            assert_int_equal(is_down[j], i == j || hard[j][i]);
        }
    }
}

static void random_graphs(void **state)
{
    (void)state;
    uint64_t seed = 0xb01dface;
    size_t cyclic = 0, sound = 0;
    for (size_t round = 0; round < 4000; round++) {
        _cleanup_world_ World w = {0};
        Matrix edge;
        size_t n = 1 + random_below(&seed, WORLD_RANDOM_MAX);
        world_random(&w, &seed, n, random_below(&seed, 50), round % 2, edge);
        world_sort(&w);
        _cleanup_complaints_ Complaints complaints = {0};
        _cleanup_(graph_freep) Graph *g = NULL;
        int r = graph_build(&w.policy, &g, &complaints);
        assert_int_equal(r, is_cyclic(edge, n) ? -EINVAL : 0);
        if (r < 0) {
            check_cycles(&complaints, edge, n);
            cyclic++;
        } else {
            check_order(g, edge, n);
            sound++;
        }
    }
    assert_true(cyclic > 500 && sound > 500); /* both sides were tried */
}

static void order_of_writing_does_not_matter(void **state)
{
    (void)state;
    _cleanup_world_ World one = {0}, two = {0};
    world_add(&one, "a", "c b", "d", NULL);
    world_add(&one, "b", NULL, NULL, "d c");
    world_add(&one, "c", NULL, NULL, NULL);
    world_add(&one, "d", NULL, NULL, NULL);
    world_add(&two, "d", NULL, NULL, NULL);
    world_add(&two, "c", NULL, NULL, NULL);
    world_add(&two, "b", NULL, NULL, "c d");
    world_add(&two, "a", "b c b", "d d", NULL);
    _cleanup_(graph_freep) Graph *g = world_graph(&one), *h = world_graph(&two);
    assert_memory_equal(g->order, h->order, 4 * sizeof *g->order);
    assert_memory_equal(g->wave, h->wave, 4 * sizeof *g->wave);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(g->nodes[i].before.n, h->nodes[i].before.n);
        if (g->nodes[i].before.n)
            assert_memory_equal(g->nodes[i].before.to, h->nodes[i].before.to, g->nodes[i].before.n * sizeof(size_t));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing),
        cmocka_unit_test(self),
        cmocka_unit_test(cycle_of_two),
        cmocka_unit_test(cycle_of_three_over_all_kinds),
        cmocka_unit_test(cycle_is_named_without_the_way_to_it),
        cmocka_unit_test(overlapping_and_nested_cycles),
        cmocka_unit_test(one_edge_of_several_kinds_is_one_cycle),
        cmocka_unit_test(missing),
        cmocka_unit_test(templates),
        cmocka_unit_test(templates_refused),
        cmocka_unit_test(template_without_instances),
        cmocka_unit_test(wrong_parts),
        cmocka_unit_test(parts_order_nothing),
        cmocka_unit_test(all_errors_at_once),
        cmocka_unit_test(at_the_line_of_the_key),
        cmocka_unit_test(diamond),
        cmocka_unit_test(closures),
        cmocka_unit_test(chains),
        cmocka_unit_test(random_graphs),
        cmocka_unit_test(order_of_writing_does_not_matter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
