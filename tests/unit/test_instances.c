/* Templates: the instances that a file makes, in which order names stand, what %i is, and policies made of others. */
#include "tests/unit/config_dir.h"

#include <malloc.h>

#define WORKER                                                                                                 \
    "[module]\nexec = /bin/worker %i %n\ninstances = 3\nenvironment = PORT=80%i\nenvironment_file = all.env\n" \
    "working_dir = /srv/${SHARED}/%i\n[sandbox]\nuser = root\nallow = mount\nprofile = mine\n"

static char *config_with_workers(void)
{
    char *dir = config_new();
    config_write(dir, "modules.d/worker.ini", WORKER);
    config_write(dir, "modules.d/worker-a.ini", "[module]\nexec = /bin/true\n[sandbox]\nuser = root\n");
    config_write(dir, "all.env", "SHARED=here\n");
    config_write(dir, "profiles/mine.ini", "[profile]\nallow = read\n");
    return dir;
}

static char *names_of(const Policy *p)
{
    StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < p->n_modules; i++)
        strbuf_addf(&b, "%s%s", i ? " " : "", p->modules[i]->name);
    return strbuf_take(&b);
}

static void expect_names(const Policy *p, const char *expected)
{
    _cleanup_(freep) char *names = names_of(p);
    assert_string_equal(names, expected);
    for (size_t i = 0; i < p->n_modules; i++)
        assert_ptr_equal(policy_find(p, p->modules[i]->name), p->modules[i]);
}

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t stem;
        unsigned instance;
        bool reference;
    } cases[] = {
        {"web", 3, 0, true},
        {"web@1", 3, 1, true},
        {"web@1000", 3, 1000, true},
        {"web@1001", 3, 0, false},
        {"web@0", 3, 0, false},
        {"web@01", 3, 0, false},
        {"web@", 3, 0, false},
        {"@1", 0, 1, false},
        {"web@1@2", 3, 0, false},
        {"web@x", 3, 0, false},
        {"web@+1", 3, 0, false},
        {"web@1 ", 3, 0, false},
        {"-web@1", 4, 1, false},
        {"Web@1", 3, 1, false},
        {"", 0, 0, false},
        {"web@-1", 3, 0, false},
        {"web@99999999999999999999", 3, 0, false},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        assert_int_equal(module_reference_valid(cases[i].name), cases[i].reference);
        assert_int_equal(module_stem(cases[i].name), cases[i].stem);
        assert_int_equal(module_instance(cases[i].name), cases[i].instance);
        assert_int_equal(module_name_valid(cases[i].name), cases[i].reference && !strchr(cases[i].name, '@'));
    }
    assert_true(module_is_instance_of("web@2", "web"));
    assert_false(module_is_instance_of("web", "web") || module_is_instance_of("web-a@2", "web") ||
                 module_is_instance_of("we@2", "web"));
}

/* A total order, in which instances stand together. */
static void test_order_of_names(void **state)
{
    (void)state;
    static const char *const sorted[] = {"a", "a@1", "a@2", "a@10", "a@1000", "a-b", "a-b@3", "a0", "a_", "ab", "b@1"};
    for (size_t i = 0; i < ELEMENTS(sorted); i++)
        for (size_t k = 0; k < ELEMENTS(sorted); k++) {
            int r = module_name_compare(sorted[i], sorted[k]);
            assert_int_equal((r > 0) - (r < 0), (i > k) - (i < k));
        }
}

static void test_a_file_makes_instances(void **state)
{
    (void)state;
    char *dir = config_with_workers();
    Policy *p = config_load_good(dir);
    expect_names(p, "worker@1 worker@2 worker@3 worker-a");
    assert_int_equal(p->n_templates, 1);
    const Template *t = policy_template(p, "worker");
    assert_non_null(t);
    assert_int_equal(t->instances, 3);
    assert_null(policy_template(p, "worker-a"));
    size_t first;
    assert_int_equal(policy_instances(p, "worker", &first), 3);
    assert_int_equal(first, 0);
    assert_int_equal(policy_instances(p, "worker-a", &first), 0);
    assert_int_equal(policy_instances(p, "worke", &first), 0);
    for (unsigned k = 0; k < 3; k++) {
        const ModulePolicy *m = p->modules[k];
        _cleanup_(freep) char *exec = strv_join(m->exec, " "), *environment = strv_join(m->environment, " ");
        _cleanup_(freep) char *wanted = xasprintf("/bin/worker %u worker@%u", k + 1, k + 1);
        _cleanup_(freep) char *variables = xasprintf("SHARED=here PORT=80%u", k + 1);
        _cleanup_(freep) char *working_dir = xasprintf("/srv/here/%u", k + 1);
        assert_string_equal(exec, wanted);
        assert_string_equal(environment, variables);
        assert_string_equal(m->working_dir, working_dir);
        assert_int_equal(m->instances, 3);
        assert_ptr_equal(m->sandbox.filter, p->modules[0]->sandbox.filter);
    }
    assert_non_null(p->modules[0]->sandbox.filter);
    assert_int_equal(p->modules[3]->instances, 0);
    policy_free(p);
    config_free(dir);
}

/* Without instances %i is a mistake, told once a line; a file for each instance is read for each. */
static void test_number_in_values(void **state)
{
    (void)state;
    char *dir = config_with_web("[module]\nenvironment = N=<%i>\n");
    config_load_bad(dir, "modules.d/web.ini:6: module.environment: %i is the number of an instance, and there are none "
                         "(set instances = N)\n");
    config_write(dir, "modules.d/web.ini.d/1.ini", "[module]\nenvironment =\nworking_dir = /srv/%i/x\n");
    config_load_bad(dir,
                    "modules.d/web.ini.d/1.ini:3: module.working_dir: %i is the number of an instance, and there are "
                    "none (set instances = N)\n");
    /* How many is wrong, and nothing else. */
    config_write(dir, "modules.d/web.ini.d/1.ini", "[module]\ninstances = many\nworking_dir = /%i\n");
    config_load_bad(dir, "modules.d/web.ini.d/1.ini:2: module.instances: 'many' is no number (1 to 1000)\n");
    /* In other words for each instance, but once. */
    config_write(dir, "modules.d/web.ini.d/1.ini", "[module]\ninstances = 3\nworking_dir = %n/%i\n");
    config_load_bad(dir, "modules.d/web.ini.d/1.ini:3: module.working_dir: 'web@1/1' is no absolute path (/srv/web)\n");
    config_free(dir);

    dir = config_with_web("[module]\ninstances = 2\nenvironment_file = web%i.env\n");
    config_write(dir, "web1.env", "A=one\n");
    config_write(dir, "web2.env", "A=two\n");
    Policy *p = config_load_good(dir);
    assert_string_equal(p->modules[0]->environment[0], "A=one");
    assert_string_equal(p->modules[1]->environment[0], "A=two");
    Policy *more = NULL;
    _cleanup_complaints_ Complaints complaints = {0};
    assert_int_equal(policy_grow(p, "web", 3, &more, &complaints), -EINVAL);
    assert_null(more);
    assert_int_equal(complaints.n, 1);
    config_write(dir, "web3.env", "A=three\n");
    assert_int_equal(policy_grow(p, "web", 3, &more, &complaints), 0);
    assert_string_equal(more->modules[2]->environment[0], "A=three");
    policy_free(p);
    policy_free(more);
    config_free(dir);
}

/* Down and up and past what the file says, without the files: they are gone. */
static void test_grow_and_keep(void **state)
{
    (void)state;
    char *dir = config_with_workers();
    Policy *p = config_load_good(dir);
    config_free(dir);
    const ModulePolicy *first = p->modules[0], *third = p->modules[2], *other = p->modules[3];
    _cleanup_complaints_ Complaints complaints = {0};

    Policy *one = policy_keep(p, (const bool[]){true, false, false, true});
    expect_names(one, "worker@1 worker-a");
    assert_ptr_equal(one->modules[0], first);
    policy_free(p); /* what was read lives on in what was made of it */

    Policy *none = policy_keep(one, (const bool[]){false, true});
    policy_free(one);
    expect_names(none, "worker-a");
    assert_ptr_equal(none->modules[0], other);
    assert_non_null(policy_template(none, "worker"));

    Policy *twelve = NULL;
    assert_int_equal(policy_grow(none, "worker", 12, &twelve, &complaints), 0);
    policy_free(none);
    expect_names(twelve, "worker@1 worker@2 worker@3 worker@4 worker@5 worker@6 worker@7 worker@8 worker@9 worker@10 "
                         "worker@11 worker@12 worker-a");
    assert_ptr_equal(twelve->modules[0], first);
    assert_ptr_equal(twelve->modules[2], third);
    const ModulePolicy *last = twelve->modules[11];
    assert_string_equal(last->exec[1], "12");
    assert_string_equal(last->working_dir, "/srv/here/12");
    assert_string_equal(last->environment[0], "SHARED=here");
    assert_non_null(last->sandbox.filter);
    assert_ptr_equal(last->sandbox.filter, first->sandbox.filter);
    const char *file;
    unsigned line;
    policy_origin(last, "module.exec", &file, &line);
    assert_int_equal(line, 2);
    assert_non_null(strstr(file, "modules.d/worker.ini"));

    Policy *same = NULL;
    assert_int_equal(policy_grow(twelve, "worker", 5, &same, &complaints), 0); /* takes nothing away */
    assert_int_equal(same->n_modules, 13);
    assert_ptr_equal(same->modules[11], last);
    policy_free(twelve);
    assert_string_equal(same->modules[11]->name, "worker@12");
    Policy *nothing = NULL;
    assert_int_equal(policy_grow(same, "worker-a", 2, &nothing, &complaints), -ENOENT);
    assert_int_equal(policy_grow(same, "nobody", 2, &nothing, &complaints), -ENOENT);
    assert_null(nothing);
    assert_int_equal(complaints.n, 0);
    policy_free(same);
}

static void test_a_thousand(void **state)
{
    (void)state;
    char *dir = config_with_web("[module]\ninstances = 1000\n");
    Policy *p = config_load_good(dir);
    assert_int_equal(p->n_modules, 1000);
    assert_string_equal(p->modules[999]->name, "web@1000");
    for (size_t i = 0; i < p->n_modules; i++)
        assert_int_equal(module_instance(p->modules[i]->name), i + 1);
    policy_free(p);
    config_free(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_order_of_names),
        cmocka_unit_test(test_a_file_makes_instances),
        cmocka_unit_test(test_number_in_values),
        cmocka_unit_test(test_grow_and_keep),
        cmocka_unit_test(test_a_thousand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
