/* `bulkhead config`: the merged text to the last line, its JSON, and the way back: what it prints, put in place of the
 * files it was made from, means the same. Run from the top of the source tree. */
#include "tests/unit/config_dir.h"

#include "policies/keys.h"
#include "tools/view_config.h"

typedef struct Read {
    Policy *policy;
    Layers layers;
    char *dir;
} Read;

static Read read_dir(const char *dir, const char *shared)
{
    _cleanup_complaints_ Complaints c = {0};
    Read r = {.dir = xstrdup(dir)};
    /* An example's user need not exist here: it is read all the same. */
    if (policy_read_layers(dir, shared, &r.policy, &r.layers, &c) < 0 && !str_equal(shared, "policies")) {
        _cleanup_(freep) char *text = config_complaints(&c, dir, shared);
        fail_msg("%s: %s", dir, text);
    }
    return r;
}

static void read_done(Read *r)
{
    policy_free(r->policy);
    layers_done(&r->layers);
    free(r->dir);
}

static char *layered_dir(void)
{
    char *dir = config_new();
    config_write(dir, "bulkhead.ini",
                 "[supervisor]\nlog_level = debug\n[defaults]\nsandbox.user = root\nmodule.wants = x\n"
                 "module.include = one.ini\n");
    config_write(dir, "one.ini", "[limits]\npids_max = 1\n");
    config_write(dir, "two.ini", "[module]\ninclude = three.ini\n[limits]\nmemory_max = 1M\n");
    config_write(dir, "three.ini", "[limits]\nmemory_max = 2M\ncpu_max = 50%\n");
    config_write(dir, "modules.d/web.ini",
                 "[module]\nexec = /bin/echo %n ; #1 'a b'\ninclude = two.ini\n"
                 "[limits]\nmemory_max = 64M\n");
    config_write(dir, "modules.d/web.ini.d/10-local.ini", "[module]\nwants =\n[limits]\nmemory_max = 96M\n");
    config_write(dir, "modules.d/x.ini", "[module]\nexec = /bin/true\nwants =\n");
    return dir;
}

static void test_text(void **state)
{
    (void)state;
    char *dir = layered_dir();
    Read r = read_dir(dir, CONFIG_SHARED);
    ConfigView v = {.policy = r.policy, .layers = &r.layers};
    _cleanup_(freep) char *web = view_config_module(&v, "web"), *daemon = view_config_daemon(&v);
    assert_string_equal(web, "# web: three.ini, two.ini, modules.d/web.ini, modules.d/web.ini.d/10-local.ini\n"
                             "\n"
                             "[module]\n"
                             "# modules.d/web.ini:3\n"
                             "# include = two.ini (what it says stands here)\n"
                             "include =\n"
                             "# modules.d/web.ini:2\n"
                             "exec = /bin/echo %n ; #1 'a b'\n"
                             "# modules.d/web.ini.d/10-local.ini:2\n"
                             "wants =\n"
                             "\n"
                             "[limits]\n"
                             "# include three.ini:3\n"
                             "cpu_max = 50%\n"
                             "# modules.d/web.ini.d/10-local.ini:4\n"
                             "memory_max = 96M\n"
                             "\n"
                             "[sandbox]\n"
                             "# [defaults] bulkhead.ini:4\n"
                             "user = root\n");
    assert_string_equal(daemon, "[supervisor]\n"
                                "# bulkhead.ini:2\n"
                                "log_level = debug\n"
                                "\n"
                                "[defaults]\n"
                                "# [defaults] bulkhead.ini:6\n"
                                "module.include = one.ini\n"
                                "# [defaults] bulkhead.ini:5\n"
                                "module.wants = x\n"
                                "# [defaults] bulkhead.ini:4\n"
                                "sandbox.user = root\n"
                                "\n"
                                "# modules:\n"
                                "# web: three.ini, two.ini, modules.d/web.ini, modules.d/web.ini.d/10-local.ini\n"
                                "# x: one.ini, modules.d/x.ini\n");
    read_done(&r);
    config_free(dir);
}

static void expect_part(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("expected\n%s\nin\n%s", part, text);
}

/* With --all nothing is left out: each key of the table is there, and what it was before. */
static void test_all(void **state)
{
    (void)state;
    char *dir = layered_dir();
    Read r = read_dir(dir, CONFIG_SHARED);
    ConfigView v = {.policy = r.policy, .layers = &r.layers, .all = true};
    _cleanup_(freep) char *web = view_config_module(&v, "web"), *daemon = view_config_daemon(&v);
    expect_part(web, "# modules.d/web.ini.d/10-local.ini:4\n# was 64M at modules.d/web.ini:5\n"
                     "# was 1M at include two.ini:4\n# was 2M at include three.ini:2\nmemory_max = 96M\n");
    expect_part(web, "# modules.d/web.ini.d/10-local.ini:2\n# was x at [defaults] bulkhead.ini:5\nwants =\n");
    expect_part(web, "# modules.d/web.ini:3\n# was one.ini at [defaults] bulkhead.ini:6\n# include = two.ini (");
    expect_part(web, "# default\n;stop_timeout = 30s\n");
    expect_part(web, "# not given\n;cpus =\n");
    expect_part(daemon, "# default\n;start_delay = 0s\n# default\n");
    for (const Key *k = keys; k < keys + keys_n; k++) {
        _cleanup_(freep) char *plain = xasprintf("\n%s =", k->name), *commented = xasprintf("\n;%s =", k->name);
        const char *text = key_is_supervisor(k) ? daemon : web;
        if (!strstr(text, plain) && !strstr(text, commented))
            fail_msg("%s.%s is not there", k->section, k->name);
    }
    assert_null(strstr(daemon, ";cpus"));
    read_done(&r);
    config_free(dir);
}

static const json_t *row_of(const json_t *rows, const char *key)
{
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) if (str_equal(json_string_value(json_object_get(row, "key")), key)) return row;
    return NULL;
}

static void expect_json(const json_t *rows, const char *key, const char *dir, const char *expected)
{
    _cleanup_(freep) char *text = NULL, *inside = xasprintf("%s/", dir);
    const json_t *row = row_of(rows, key);
    if (row)
        text = json_dumps(row, JSON_COMPACT | JSON_SORT_KEYS);
    else
        text = xstrdup("");
    config_replace(&text, inside, "");
    assert_string_equal(text, expected);
}

/* What each instance is given, while the files are those of the template. */
static void test_expanded(void **state)
{
    (void)state;
    char *dir = config_new();
    config_write(dir, "job.env", "KEY=from the file\n");
    config_write(dir, "modules.d/job.ini",
                 "[module]\nexec = /bin/x %n ${PORT} ${KEY}\ninstances = 2\nenvironment = PORT=80%i\n"
                 "environment_file = job.env\ndescription = 100% of %i\n[sandbox]\nuser = root\n");
    Read r = read_dir(dir, CONFIG_SHARED);
    ConfigView v = {.policy = r.policy, .layers = &r.layers, .expanded = true};
    _cleanup_(freep) char *two = view_config_module(&v, "job@2"), *template = view_config_module(&v, "job");
    assert_string_equal(two, "# job@2: modules.d/job.ini\n"
                             "\n"
                             "[module]\n"
                             "# modules.d/job.ini:2\n"
                             "exec = /bin/x job@2 802 from\\ the\\ file\n"
                             "# modules.d/job.ini:6\n"
                             "description = 100% of 2\n"
                             "# modules.d/job.ini:3\n"
                             "instances = 2\n"
                             "# modules.d/job.ini:4\n"
                             "environment = PORT=802\n"
                             "# modules.d/job.ini:5\n"
                             "environment_file = job.env\n"
                             "\n"
                             "[sandbox]\n"
                             "# modules.d/job.ini:8\n"
                             "user = root\n");
    expect_part(template, "exec = /bin/x %n ${PORT} ${KEY}\n");
    json_t *rows = json_array();
    view_config_module_json(&v, "job@1", rows);
    expect_json(rows, "environment", dir,
                "{\"file\":\"modules.d/job.ini\",\"key\":\"environment\",\"line\":4,\"module\":\"job@1\","
                "\"origin\":\"file\",\"overrides\":[],\"section\":\"module\",\"value\":\"PORT=801\"}");
    json_decref(rows);
    v.expanded = false;
    _cleanup_(freep) char *raw = view_config_module(&v, "job@2");
    expect_part(raw, "exec = /bin/x %n ${PORT} ${KEY}\n");
    read_done(&r);
    config_free(dir);
}

static void test_json(void **state)
{
    (void)state;
    char *dir = layered_dir();
    Read r = read_dir(dir, CONFIG_SHARED);
    ConfigView v = {.policy = r.policy, .layers = &r.layers};
    json_t *rows = json_array(), *daemon = view_config_daemon_json(&v), *all = json_array();
    view_config_module_json(&v, "web", rows);
    assert_int_equal(json_array_size(rows), 6);
    expect_json(rows, "memory_max", dir,
                "{\"file\":\"modules.d/web.ini.d/10-local.ini\",\"key\":\"memory_max\",\"line\":4,\"module\":\"web\","
                "\"origin\":\"drop-in\",\"overrides\":["
                "{\"file\":\"three.ini\",\"line\":2,\"origin\":\"include\",\"value\":\"2M\"},"
                "{\"file\":\"two.ini\",\"line\":4,\"origin\":\"include\",\"value\":\"1M\"},"
                "{\"file\":\"modules.d/web.ini\",\"line\":5,\"origin\":\"file\",\"value\":\"64M\"}],"
                "\"section\":\"limits\",\"value\":\"96M\"}");
    expect_json(rows, "user", dir,
                "{\"file\":\"bulkhead.ini\",\"key\":\"user\",\"line\":4,\"module\":\"web\",\"origin\":\"defaults\","
                "\"overrides\":[],\"section\":\"sandbox\",\"value\":\"root\"}");
    expect_json(rows, "umask", dir, "");
    v.all = true;
    view_config_module_json(&v, "web", all);
    expect_json(all, "umask", dir,
                "{\"file\":null,\"key\":\"umask\",\"line\":null,\"module\":\"web\",\"origin\":\"default\","
                "\"overrides\":[],\"section\":\"module\",\"value\":\"0022\"}");
    expect_json(all, "cpus", dir,
                "{\"file\":null,\"key\":\"cpus\",\"line\":null,\"module\":\"web\",\"origin\":\"default\","
                "\"overrides\":[],\"section\":\"limits\",\"value\":null}");
    expect_json(
        json_object_get(daemon, "values"), "module.wants", dir,
        "{\"file\":\"bulkhead.ini\",\"key\":\"module.wants\",\"line\":5,\"module\":null,\"origin\":\"defaults\","
        "\"overrides\":[],\"section\":\"defaults\",\"value\":\"x\"}");
    _cleanup_(freep) char *modules = json_dumps(json_object_get(daemon, "modules"), JSON_COMPACT);
    _cleanup_(freep) char *inside = xasprintf("%s/", dir);
    config_replace(&modules, inside, "");
    assert_string_equal(modules, "[{\"name\":\"web\",\"files\":[\"three.ini\",\"two.ini\",\"modules.d/web.ini\","
                                 "\"modules.d/web.ini.d/10-local.ini\"]},"
                                 "{\"name\":\"x\",\"files\":[\"one.ini\",\"modules.d/x.ini\"]}]");
    json_decref(rows);
    json_decref(all);
    json_decref(daemon);
    read_done(&r);
    config_free(dir);
}

/* A name that ends a line, in a comment, would begin a value. */
static void test_names_of_files_are_harmless(void **state)
{
    (void)state;
    char *dir = config_with_web("");
    config_write(dir, "modules.d/web.ini.d/1\nuser = nobody\033[2J.ini", "[limits]\npids_max = 5\n");
    Read r = read_dir(dir, CONFIG_SHARED);
    ConfigView v = {.policy = r.policy, .layers = &r.layers, .all = true};
    _cleanup_(freep) char *web = view_config_module(&v, "web");
    expect_part(web, "# modules.d/web.ini.d/1\\x0auser = nobody\\x1b[2J.ini:2\npids_max = 5\n");
    read_done(&r);
    config_free(dir);
}

/* --- there and back ----------------------------------------------------------------------------------------------- */
/* What holds of the key: "" is "not given" for the keys that may be empty. */
static const char *held(const Read *r, const ModuleLayers *ml, const Key *k)
{
    _cleanup_(freep) const Said **said = NULL;
    size_t n = layers_of_key(&r->layers, ml, k, &said);
    /* For a module layers_of_key() begins with [defaults]; without one that is all it is about. */
    return n > 0 ? said[n - 1]->value : k->fallback;
}

static void expect_same_module(const Read *a, const Read *b, const char *name)
{
    const ModuleLayers *of_a = layers_find(&a->layers, name), *of_b = layers_find(&b->layers, name);
    assert_true(of_a && of_b);
    for (const Key *k = keys; k < keys + keys_n; k++)
        if (!key_is_supervisor(k) && k->kind != VALUE_INCLUDES && !str_equal(held(a, of_a, k), held(b, of_b, k)))
            fail_msg("%s: %s.%s was '%s' and is '%s'", name, k->section, k->name, held(a, of_a, k), held(b, of_b, k));
}

static void expect_same(const Read *a, const Read *b)
{
    assert_int_equal(a->layers.n_modules, b->layers.n_modules);
    assert_int_equal(a->policy->n_modules, b->policy->n_modules);
    for (const Key *k = keys; k < keys + keys_n; k++)
        assert_string_equal(held(a, NULL, k), held(b, NULL, k));
    for (size_t i = 0; i < a->layers.n_modules; i++)
        expect_same_module(a, b, a->layers.modules[i].name);
    for (size_t i = 0; i < a->policy->n_modules; i++) {
        const ModulePolicy *x = a->policy->modules[i], *y = b->policy->modules[i];
        _cleanup_(freep) char *one = strv_join(x->environment, "\n"), *other = strv_join(y->environment, "\n");
        assert_string_equal(x->name, y->name);
        assert_string_equal(one, other);
        assert_true((x->sandbox.filter == NULL) == (y->sandbox.filter == NULL));
    }
}

/* Takes away the files of a configuration, but for what is no ini of ours, and puts in their place what is printed. */
static void replace(const Read *r, const ConfigView *v)
{
    for (char **file = r->policy->files; *file; file++)
        assert_true(unlink(*file) == 0 || errno == ENOENT);
    _cleanup_(freep) char *daemon = view_config_daemon(v);
    config_write(r->dir, "bulkhead.ini", daemon);
    for (size_t i = 0; i < r->layers.n_modules; i++) {
        const char *name = r->layers.modules[i].name;
        _cleanup_(freep) char *file = xasprintf("modules.d/%s.ini", name), *text = view_config_module(v, name);
        config_write(r->dir, file, text);
    }
    /* What [defaults] include has to be there still: it is none of the module's files. */
    if (strstr(daemon, "module.include = one.ini"))
        config_write(r->dir, "one.ini", "[limits]\npids_max = 7\ncpu_weight = 7\n");
}

static void there_and_back(const char *dir, const char *shared, bool all)
{
    Read before = read_dir(dir, shared);
    ConfigView v = {.policy = before.policy, .layers = &before.layers, .all = all};
    replace(&before, &v);
    Read after = read_dir(dir, shared);
    expect_same(&before, &after);
    read_done(&before);
    read_done(&after);
}

static size_t round_trips(const char *parent, bool all)
{
    size_t n = 0;
    DIR *d = opendir(parent);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_name[0] == '.')
            continue;
        _cleanup_(freep) char *source = xasprintf("%s/%s", parent, e->d_name);
        char *dir = config_new();
        config_copy(source, dir, "");
        there_and_back(dir, CONFIG_SHARED, all);
        config_free(dir);
        n++;
    }
    closedir(d);
    return n;
}

static void test_there_and_back(void **state)
{
    (void)state;
    assert_true(round_trips("tests/data/good", false) >= 5);
    assert_true(round_trips("tests/data/good", true) >= 5);
    for (int all = 0; all < 2; all++) {
        /* In the test's own, [defaults] go on including a file for others: it must not come back into web. */
        char *dir = layered_dir();
        Read before = read_dir(dir, CONFIG_SHARED);
        ConfigView v = {.policy = before.policy, .layers = &before.layers, .all = all != 0};
        replace(&before, &v);
        Read after = read_dir(dir, CONFIG_SHARED);
        expect_same_module(&before, &after, "web");
        expect_same_module(&before, &after, "x");
        read_done(&before);
        read_done(&after);
        config_free(dir);
    }
}

/* The examples, each a module by itself. */
static void test_examples_there_and_back(void **state)
{
    (void)state;
    size_t n = 0;
    DIR *d = opendir("policies/examples");
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        size_t length = strlen(e->d_name);
        if (length < 4 || strcmp(e->d_name + length - 4, ".ini") != 0)
            continue;
        _cleanup_(freep) char *source = xasprintf("policies/examples/%s", e->d_name);
        _cleanup_(freep) char *to = xasprintf("modules.d/%s", e->d_name);
        _cleanup_(freep) char *text = NULL;
        assert_int_equal(file_read_all(AT_FDCWD, source, 1 << 20, &text, NULL), 0);
        char *dir = config_new();
        config_write(dir, to, text);
        there_and_back(dir, "policies", false);
        config_free(dir);
        n++;
    }
    closedir(d);
    assert_true(n >= 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_expanded),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_names_of_files_are_harmless),
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_examples_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
