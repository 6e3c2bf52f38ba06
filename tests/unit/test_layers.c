/* The layers of a module's values: [defaults], included files, its own, drop-ins. Every way in which six of them can
 * say something, say nothing or take back what is below; what an `include` may name; and who is told to have said what.
 */
#include "tests/unit/config_dir.h"

#include "policies/layers.h"

enum { SILENT, SAYS, TAKES_BACK, WAYS };

/* The lowest first. b.ini includes below.ini, and the module's file a.ini and then b.ini. */
static const struct {
    const char *file, *before, *key;
    PolicyLayer layer;
} stack[] = {
    {"bulkhead.ini", "[defaults]\nsandbox.user = root\n", "module.wants", LAYER_DEFAULTS},
    {"a.ini", "[module]\n\n", "wants", LAYER_INCLUDE},
    {"common/below.ini", "[module]\n\n", "wants", LAYER_INCLUDE},
    {"common/b.ini", "[module]\ninclude = common/below.ini\n", "wants", LAYER_INCLUDE},
    {"modules.d/web.ini", "[module]\nexec = /bin/true\ninclude = a.ini, common/b.ini\n", "wants", LAYER_FILE},
    {"modules.d/web.ini.d/10.ini", "[module]\n\n", "wants", LAYER_DROP_IN},
};

/* Only the layers that differ from the way before; all of them for the first. */
static void write_stack(const char *dir, unsigned way)
{
    unsigned before = way - 1;
    bool all = way == 0;
    for (size_t i = 0; i < ELEMENTS(stack); i++, way /= WAYS, before /= WAYS) {
        if (!all && way % WAYS == before % WAYS)
            continue;
        _cleanup_(freep) char *value = way % WAYS == SAYS ? xasprintf("w%zu", i) : xstrdup("");
        _cleanup_(freep) char *line = way % WAYS == SILENT ? xstrdup("") : xasprintf("%s = %s\n", stack[i].key, value);
        _cleanup_(freep) char *text = xasprintf("%s%s", stack[i].before, line);
        config_write(dir, stack[i].file, text);
    }
}

static Policy *read_layers(const char *dir, Layers *layers)
{
    _cleanup_complaints_ Complaints c = {0};
    Policy *p = NULL;
    int r = policy_read_layers(dir, CONFIG_SHARED, &p, layers, &c);
    if (r < 0) {
        _cleanup_(freep) char *text = config_complaints(&c, dir, CONFIG_SHARED);
        fail_msg("%s", text);
    }
    return p;
}

static void check_way(const char *dir, unsigned way)
{
    _cleanup_layers_ Layers layers = {0};
    Policy *p = read_layers(dir, &layers);
    const ModulePolicy *web = policy_find(p, "web");
    assert_non_null(web);
    const Key *k = key_find("module", "wants");
    _cleanup_(freep) const Said **said = NULL;
    size_t n = layers_of_key(&layers, layers_find(&layers, "web"), k, &said), at = 0;
    int last = -1;
    for (size_t i = 0; i < ELEMENTS(stack); i++, way /= WAYS) {
        if (way % WAYS == SILENT)
            continue;
        last = (int)i;
        _cleanup_(freep) char *value = way % WAYS == SAYS ? xasprintf("w%zu", i) : xstrdup("");
        _cleanup_(freep) char *file = xasprintf("%s/%s", dir, stack[i].file);
        assert_true(at < n);
        assert_string_equal(said[at]->value, value);
        assert_string_equal(p->files[said[at]->file], file);
        assert_int_equal(said[at]->layer, stack[i].layer);
        at++;
    }
    assert_int_equal(at, n);
    const char *file;
    unsigned line;
    policy_origin(web, "module.wants", &file, &line);
    if (last < 0) {
        assert_null(web->wants);
        assert_int_equal(line, 0);
        return policy_freep(&p);
    }
    assert_string_equal(file, p->files[said[n - 1]->file]);
    assert_int_equal(line, said[n - 1]->line);
    assert_true((web->wants == NULL) == (*said[n - 1]->value == '\0'));
    if (web->wants) {
        assert_int_equal(strv_length(web->wants), 1); /* lists do not add up */
        assert_string_equal(web->wants[0], said[n - 1]->value);
    }
    policy_free(p);
}

static void test_every_way(void **state)
{
    (void)state;
    unsigned ways = 1;
    for (size_t i = 0; i < ELEMENTS(stack); i++)
        ways *= WAYS;
    char *dir = config_new();
    for (unsigned way = 0; way < ways; way++) {
        write_stack(dir, way);
        check_way(dir, way);
    }
    config_free(dir);
}

/* A value that cannot be taken back: an empty one is an error wherever it wins, and none where it does not. */
static void test_empty_where_a_default_is(void **state)
{
    (void)state;
    char *dir = config_with_web("[module]\ninclude = -common.ini\n");
    config_write(dir, "bulkhead.ini", "[defaults]\nmodule.stop_timeout =\n");
    config_load_bad(dir, "bulkhead.ini:2: defaults.module.stop_timeout: the value is empty (5s)\n");
    config_write(dir, "bulkhead.ini", "[defaults]\nmodule.stop_timeout = 7s\n");
    config_write(dir, "common.ini", "[module]\nstop_timeout =\n");
    config_load_bad(dir, "common.ini:2: module.stop_timeout: the value is empty (5s)\n");
    config_write(dir, "modules.d/web.ini.d/1.ini", "[module]\nstop_timeout = 9s\n");
    Policy *p = config_load_good(dir);
    assert_int_equal(p->modules[0]->stop_timeout, 9000000);
    policy_free(p);
    config_write(dir, "modules.d/web.ini.d/2.ini", "[module]\nstop_timeout =\n");
    config_load_bad(dir, "modules.d/web.ini.d/2.ini:2: module.stop_timeout: the value is empty (5s)\n");
    config_free(dir);
}

/* What a key of web comes to. */
static void expect_pids(const char *dir, const char *module, uint64_t pids, const char *from)
{
    Policy *p = config_load_good(dir);
    const char *file;
    unsigned line;
    const ModulePolicy *m = policy_find(p, module);
    assert_non_null(m);
    policy_origin(m, "limits.pids_max", &file, &line);
    _cleanup_(freep) char *expected = xasprintf("%s/%s", dir, from);
    assert_string_equal(file, expected);
    assert_int_equal(m->limits.pids_max, pids);
    policy_free(p);
}

/* `include` is a key like any other: the last one said holds, and an empty one takes it back. */
static void test_who_may_include(void **state)
{
    (void)state;
    char *dir = config_with_web("");
    config_write(dir, "one.ini", "[limits]\npids_max = 1\n");
    config_write(dir, "two.ini", "[limits]\npids_max = 2\n");
    config_write(dir, "bulkhead.ini", "[defaults]\nlimits.pids_max = 9\nmodule.include = one.ini\n");
    expect_pids(dir, "web", 1, "one.ini");
    config_write(dir, "modules.d/web.ini.d/10.ini", "[module]\ninclude = two.ini\n");
    expect_pids(dir, "web", 2, "two.ini");
    config_write(dir, "modules.d/web.ini.d/20.ini", "[module]\ninclude =\n");
    expect_pids(dir, "web", 9, "bulkhead.ini");
    config_write(dir, "modules.d/web.ini.d/20.ini",
                 "[module]\ninclude = -gone.ini, two.ini, -gone/gone.ini, one.ini\n");
    expect_pids(dir, "web", 1, "one.ini");
    /* What the module's own file says lies above all of it, wherever its include comes from. */
    config_write(dir, "modules.d/web.ini",
                 "[module]\nexec = /bin/true\n[sandbox]\nuser = root\n[limits]\npids_max = 5\n");
    expect_pids(dir, "web", 5, "modules.d/web.ini");
    config_free(dir);
}

/* A module's file may be what another one is made from. */
static void test_a_module_as_a_base(void **state)
{
    (void)state;
    char *dir = config_with_web("[limits]\npids_max = 3\n");
    config_write(dir, "modules.d/web.ini.d/1.ini", "[limits]\npids_max = 4\n");
    config_write(dir, "modules.d/copy.ini", "[module]\ninclude = modules.d/web.ini\n");
    expect_pids(dir, "copy", 3, "modules.d/web.ini"); /* the file alone: drop-ins are of their module */
    config_write(dir, "modules.d/web.ini.d/1.ini", "[module]\ninclude = modules.d/web.ini.d/1.ini\n");
    config_load_bad(dir, "modules.d/web.ini.d/1.ini:2: module.include: a circle: modules.d/web.ini.d/1.ini -> "
                         "modules.d/web.ini.d/1.ini (take one of them out)\n");
    config_free(dir);
}

/* Two ways lead to c.ini: it counts where it comes last. Each level names all files of the next twice over: as many
 * ways as would take years, and eight files. */
static void test_many_ways_to_a_file(void **state)
{
    (void)state;
    char *dir = config_with_web("[module]\ninclude = a.ini, b.ini\n");
    config_write(dir, "a.ini", "[module]\ninclude = c.ini\n[limits]\npids_max = 1\n");
    config_write(dir, "b.ini", "[module]\ninclude = c.ini\n");
    config_write(dir, "c.ini", "[limits]\npids_max = 3\n");
    expect_pids(dir, "web", 3, "c.ini");
    _cleanup_layers_ Layers layers = {0};
    Policy *p = read_layers(dir, &layers);
    const ModuleLayers *ml = layers_find(&layers, "web");
    static const char *const order[] = {"a.ini", "c.ini", "b.ini", "modules.d/web.ini"};
    assert_int_equal(ml->n_files, ELEMENTS(order));
    for (size_t i = 0; i < ELEMENTS(order); i++) {
        _cleanup_(freep) char *file = xasprintf("%s/%s", dir, order[i]);
        assert_string_equal(p->files[ml->files[i].file], file);
    }
    policy_free(p);

    StrBuf all = STRBUF_NULL;
    enum { WIDE = 30, DEEP = 8 };
    for (unsigned level = DEEP; level > 0; level--) {
        for (unsigned i = 0; i < WIDE; i++) {
            _cleanup_(freep) char *name = xasprintf("deep/%u-%u.ini", level, i);
            _cleanup_(freep) char *text =
                all.len ? xasprintf("[module]\ninclude = %s\n", all.s) : xasprintf("[limits]\npids_max = %u\n", i + 1);
            config_write(dir, name, text);
        }
        strbuf_done(&all);
        for (unsigned i = 0; i < WIDE; i++)
            strbuf_addf(&all, "%sdeep/%u-%u.ini", i ? ", " : "", level, i);
    }
    _cleanup_(freep) char *text = xasprintf("[module]\ninclude = %s\n", all.s);
    strbuf_done(&all);
    config_write(dir, "modules.d/web.ini.d/1.ini", text);
    expect_pids(dir, "web", WIDE, "deep/8-29.ini");
    config_free(dir);
}

static void set_mode(const char *dir, const char *name, mode_t mode)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", dir, name);
    assert_int_equal(chmod(path, mode), 0);
}

/* An included file is judged as the others are, and so is each directory on the way to it. */
static void test_trust(void **state)
{
    (void)state;
    char *dir = config_with_web("[module]\ninclude = a/b/c.ini\n");
    config_write(dir, "modules.d/db.ini", "[module]\nexec = /bin/true\ninclude = a/b/c.ini\n[sandbox]\nuser = root\n");
    config_write(dir, "a/b/c.ini", "[limits]\npids_max = 3\n");
    expect_pids(dir, "web", 3, "a/b/c.ini");
    set_mode(dir, "a/b/c.ini", 0646);
    config_load_bad(dir, "a/b/c.ini: writable by everyone (chmod o-w)\n");
    set_mode(dir, "a/b/c.ini", 0644);
    set_mode(dir, "a", 0757);
    config_load_bad(dir, "a: writable by everyone (chmod o-w)\n");
    set_mode(dir, "a", 0755);
    set_mode(dir, "a/b", 01777);
    config_load_bad(dir, "a/b: writable by everyone (chmod o-w)\n");
    set_mode(dir, "a/b", 0755);
    expect_pids(dir, "web", 3, "a/b/c.ini");
    config_free(dir);
}

/* Deep in either order: with the long way read first, and with its tail known before. */
static void test_too_deep(void **state)
{
    (void)state;
    char *dir = config_with_web("[module]\ninclude = 1.ini\n");
    for (unsigned i = 1; i <= 9; i++) {
        _cleanup_(freep) char *name = xasprintf("%u.ini", i);
        _cleanup_(freep) char *text = i < 8 ? xasprintf("[module]\ninclude = %u.ini\n", i + 1) : xstrdup("[limits]\n");
        config_write(dir, name, text);
    }
    policy_free(config_load_good(dir));
    config_write(dir, "8.ini", "[module]\ninclude = 9.ini\n");
    config_load_bad(dir,
                    "8.ini:2: module.include: more than 8 files deep: modules.d/web.ini -> 1.ini -> 2.ini -> 3.ini "
                    "-> 4.ini -> 5.ini -> 6.ini -> 7.ini -> 8.ini -> 9.ini\n");
    config_write(dir, "modules.d/web.ini.d/1.ini", "[module]\ninclude = 2.ini\n");
    policy_free(config_load_good(dir));
    config_write(dir, "modules.d/web.ini.d/1.ini", "[module]\ninclude = 2.ini, 1.ini\n");
    config_load_bad(dir, "1.ini:2: module.include: more than 8 files deep: modules.d/web.ini.d/1.ini -> 1.ini -> 2.ini "
                         "-> 3.ini -> 4.ini -> 5.ini -> 6.ini -> 7.ini -> 8.ini -> 9.ini\n");
    config_free(dir);
}

/* Of the environment files the last one wins, and `environment` over all of them. */
static void test_environment_files(void **state)
{
    (void)state;
    char *dir = config_with_web("[module]\nenvironment_file = a.env, -gone.env, %n.env\nenvironment = C=own\n");
    config_write(dir, "a.env", "A=a\nB=a\nC=a\n");
    config_write(dir, "web.env", "B=web\nD=web\n");
    Policy *p = config_load_good(dir);
    _cleanup_(freep) char *environment = strv_join(p->modules[0]->environment, "|");
    assert_string_equal(environment, "A=a|B=web|C=own|D=web");
    policy_free(p);
    config_write(dir, "modules.d/web.ini.d/1.ini", "[module]\nenvironment_file = x.env, y.env\n");
    config_load_bad(dir,
                    "modules.d/web.ini.d/1.ini:2: module.environment_file: 'x.env' does not exist (write '-' before "
                    "it if it may be missing)\n"
                    "modules.d/web.ini.d/1.ini:2: module.environment_file: 'y.env' does not exist (write '-' before "
                    "it if it may be missing)\n");
    config_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_way),
        cmocka_unit_test(test_empty_where_a_default_is),
        cmocka_unit_test(test_who_may_include),
        cmocka_unit_test(test_a_module_as_a_base),
        cmocka_unit_test(test_many_ways_to_a_file),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_too_deep),
        cmocka_unit_test(test_environment_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
