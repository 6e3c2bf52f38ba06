/* Whole configurations: what a merge comes to, who wins, where a value was written, what a thousand modules cost. */
#include "tests/unit/config_dir.h"

#include <malloc.h>
#include <signal.h>

static void expect_origin(const ModulePolicy *m, const char *dir, const char *key, const char *name, unsigned line)
{
    const char *file;
    unsigned number;
    policy_origin(m, key, &file, &number);
    _cleanup_(freep) char *expected = xasprintf("%s/%s", dir, name);
    assert_string_equal(file, expected);
    assert_int_equal(number, line);
}

static void test_merge_and_origins(void **state)
{
    (void)state;
    char *dir = config_new();
    config_write(dir, "bulkhead.ini",
                 "[defaults]\nlimits.pids_max = 1\nlimits.cpu_weight = 2\nsandbox.user = root\n"
                 "module.wants = x\nwork.drain_soft = 1s\n");
    config_write(dir, "modules.d/web.ini",
                 "[module]\nexec = /bin/true\nrequires = a, b\nafter = c\n"
                 "[limits]\ncpu_weight = 3\nmemory_max = 64M\n");
    config_write(dir, "modules.d/web.ini.d/20-b.ini", "[limits]\nmemory_max = 96M\n[module]\nrequires = d\nwants =\n");
    config_write(dir, "modules.d/web.ini.d/10-a.ini", "[limits]\nmemory_max = 1\n[module]\nafter =\n");
    config_write(dir, "modules.d/web.ini.d/30-c.conf", "[limits]\nmemory_max = 1\n");
    config_write(dir, "modules.d/db.ini", "[module]\nexec = /bin/false\n");
    Policy *p = config_load_good(dir);
    assert_int_equal(p->n_modules, 2);
    assert_string_equal(p->modules[0]->name, "db");
    const ModulePolicy *web = policy_find(p, "web");
    assert_ptr_equal(web, p->modules[1]);
    assert_ptr_equal(web->policy, p);
    assert_null(policy_find(p, "we"));
    assert_int_equal(web->limits.pids_max, 1);
    assert_int_equal(web->limits.cpu_weight, 3);
    assert_int_equal(web->limits.memory_max, 96 << 20);
    assert_int_equal(web->work.drain_soft, 1000000);
    assert_int_equal(strv_length(web->requires), 1); /* a later file replaces, it does not add */
    assert_string_equal(web->requires[0], "d");
    assert_null(web->wants);
    assert_null(web->after);
    assert_string_equal(p->modules[0]->wants[0], "x");

    expect_origin(web, dir, "limits.pids_max", "bulkhead.ini", 2);
    expect_origin(web, dir, "limits.cpu_weight", "modules.d/web.ini", 6);
    expect_origin(web, dir, "limits.memory_max", "modules.d/web.ini.d/20-b.ini", 2);
    expect_origin(web, dir, "module.after", "modules.d/web.ini.d/10-a.ini", 4);
    expect_origin(web, dir, "limits.nofile", "modules.d/web.ini", 0);
    expect_origin(web, dir, "no.such", "modules.d/web.ini", 0);
    policy_free(p);
    config_free(dir);
}

static void test_a_job_has_the_time_that_was_written(void **state)
{
    (void)state;
    static const struct {
        const char *defaults, *module;
        uint64_t expected;
    } cases[] = {
        {"", "type = oneshot\n", UINT64_MAX},
        {"", "type = oneshot\nstart_timeout = 60s\n", 60000000},
        {"module.start_timeout = 5s\n", "type = oneshot\n", 5000000},
        {"module.type = oneshot\n", "", UINT64_MAX},
        {"module.type = oneshot\n", "type = simple\n", 60000000},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        char *dir = config_new();
        _cleanup_(freep) char *defaults = xasprintf("[defaults]\n%ssandbox.user = root\n", cases[i].defaults);
        _cleanup_(freep) char *module = xasprintf("[module]\nexec = /bin/true\n%s", cases[i].module);
        config_write(dir, "bulkhead.ini", defaults);
        config_write(dir, "modules.d/web.ini", module);
        Policy *p = config_load_good(dir);
        assert_int_equal(p->modules[0]->start_timeout, cases[i].expected);
        policy_free(p);
        config_free(dir);
    }
}

static void test_accounts(void **state)
{
    (void)state;
    char *dir = config_new();
    config_write(dir, "bulkhead.ini", "[supervisor]\nread_group = root\noperate_group = 54321\n");
    config_write(dir, "modules.d/a.ini", "[module]\nexec = /bin/true\n[sandbox]\nuser = nobody\n");
    config_write(dir, "modules.d/b.ini", "[module]\nexec = /bin/true\n[sandbox]\nuser = nobody\ngroup = root\n");
    config_write(dir, "modules.d/c.ini", "[module]\nexec = /bin/true\n[sandbox]\nuser = 54321\ngroup = 54322\n");
    Policy *p = config_load_good(dir);
    assert_int_equal(p->supervisor.read_gid, 0);
    assert_int_equal(p->supervisor.operate_gid, 54321);
    assert_true(p->modules[0]->sandbox.uid == 65534 && p->modules[0]->sandbox.gid == 65534);
    assert_null(p->modules[0]->sandbox.group_name);
    assert_true(p->modules[1]->sandbox.uid == 65534 && p->modules[1]->sandbox.gid == 0);
    assert_true(p->modules[2]->sandbox.uid == 54321 && p->modules[2]->sandbox.gid == 54322);
    policy_free(p);
    config_free(dir);
}

static void test_environment(void **state)
{
    (void)state;
    char *dir = config_with_web("[module]\nenvironment = A=own, C=%n\nenvironment_file = env/web.env\n"
                                "exec_start_pre = /bin/echo ${A} ${B} ${C}\nworking_dir = /srv/${B}\n");
    config_write(dir, "env/web.env", "A=file\nB=\"from ${A} %n\"\n");
    Policy *p = config_load_good(dir);
    const ModulePolicy *m = p->modules[0];
    _cleanup_(freep) char *environment = strv_join(m->environment, "|");
    assert_string_equal(environment, "A=own|B=from ${A} %n|C=web");
    _cleanup_(freep) char *hook = strv_join(m->exec_start_pre.items[0].argv, "|");
    assert_string_equal(hook, "/bin/echo|own|from ${A} %n|web");
    assert_string_equal(m->working_dir, "/srv/from ${A} %n");
    policy_free(p);

    _cleanup_(freep) char *path = xasprintf("%s/env/web.env", dir);
    assert_int_equal(chmod(path, 0602), 0);
    config_load_bad(dir, "env/web.env: writable by everyone (chmod o-w)\n");
    assert_int_equal(unlink(path), 0);
    config_load_bad(dir, "modules.d/web.ini:7: module.environment_file: 'env/web.env' does not exist (write '-' before "
                         "it if it may be missing)\n");
    config_write(dir, "modules.d/web.ini.d/a.ini", "[module]\nenvironment_file = -env/web.env\n");
    config_load_bad(dir,
                    "modules.d/web.ini:8: module.exec_start_pre: ${B} is not set (give B=... in module.environment "
                    "or module.environment_file)\n"
                    "modules.d/web.ini:9: module.working_dir: ${B} is not set (give B=... in module.environment or "
                    "module.environment_file)\n");
    config_free(dir);
}

/* One way of reloading, of the hook and the signal; a drop-in takes back the other. */
static void test_reload(void **state)
{
    (void)state;
    char *dir = config_with_web("[module]\nexec_reload = /bin/kill -HUP ${MAINPID}\nreload_signal = HUP\n");
    config_load_bad(dir, "modules.d/web.ini:7: module.reload_signal: exec_reload is given too (keep one)\n");
    config_write(dir, "modules.d/web.ini.d/a.ini", "[module]\nexec_reload =\n");
    Policy *p = config_load_good(dir);
    assert_int_equal(p->modules[0]->reload_signal, 1);
    assert_int_equal(p->modules[0]->exec_reload.n, 0);
    policy_free(p);
    config_write(dir, "modules.d/web.ini.d/a.ini", "[module]\nreload_signal =\n");
    p = config_load_good(dir);
    assert_int_equal(p->modules[0]->reload_signal, 0);
    assert_string_equal(p->modules[0]->exec_reload.items[0].argv[2], COMMAND_MAIN_PID);
    policy_free(p);
    config_free(dir);
}

static void test_seccomp_is_compiled_and_shared(void **state)
{
    (void)state;
    char *dir = config_new();
    config_write(dir, "profiles/mine.ini", "[profile]\nallow = read, mmap\n");
    config_write(dir, "bulkhead.ini", "[defaults]\nsandbox.user = root\nsandbox.profile = mine\n");
    config_write(dir, "modules.d/a.ini", "[module]\nexec = /bin/true\n");
    config_write(dir, "modules.d/b.ini", "[module]\nexec = /bin/true\n");
    config_write(dir, "modules.d/c.ini", "[module]\nexec = /bin/true\n[sandbox]\nallow = close\n");
    config_write(dir, "modules.d/d.ini", "[module]\nexec = /bin/true\n[sandbox]\nprofile =\n");
    Policy *p = config_load_good(dir);
    const SeccompFilter *a = p->modules[0]->sandbox.filter;
    assert_non_null(a);
    assert_true(a->n_instructions > 0);
    assert_ptr_equal(a, p->modules[1]->sandbox.filter);
    assert_non_null(p->modules[2]->sandbox.filter);
    assert_ptr_not_equal(a, p->modules[2]->sandbox.filter);
    assert_null(p->modules[3]->sandbox.filter);
    policy_free(p);
    config_free(dir);
}

/* A mistake in [defaults] is told once, not once a module; so is one in a profile. */
static void test_one_mistake_one_complaint(void **state)
{
    (void)state;
    char *dir = config_new();
    config_write(dir, "bulkhead.ini", "[defaults]\nsandbox.user = root\nmodule.working_dir = /srv/${DIR}\n");
    config_write(dir, "modules.d/a.ini", "[module]\nexec = /bin/true\n");
    config_write(dir, "modules.d/b.ini", "[module]\nexec = /bin/true\n");
    config_write(dir, "modules.d/c.ini", "[module]\nexec = /bin/true\nenvironment = DIR=x\n");
    config_load_bad(dir, "bulkhead.ini:3: defaults.module.working_dir: ${DIR} is not set (give DIR=... in "
                         "module.environment or module.environment_file)\n");
    config_free(dir);

    /* A broken variable list is not followed by complaints about the variables. */
    dir = config_with_web("[module]\nenvironment = A=1, B\nworking_dir = /${A}/${B}\n");
    config_load_bad(dir, "modules.d/web.ini:6: module.environment: 'B' is no NAME=value (NAME=value, \"NAME=a, b\")\n");
    config_free(dir);
}

static void test_shown_names(void **state)
{
    (void)state;
    char *dir = config_with_web("[limits]\nx = 1\n");
    _cleanup_(freep) char *slashes = xasprintf("%s//", dir);
    _cleanup_complaints_ Complaints c = {0};
    Policy *p = NULL;
    assert_int_equal(policy_load(slashes, CONFIG_SHARED, &p, &c), -EINVAL);
    assert_null(p);
    _cleanup_(freep) char *line = complaint_format(&c.items[0]);
    _cleanup_(freep) char *expected = xasprintf("%s/modules.d/web.ini:6: limits.x: unknown key", dir);
    assert_string_equal(line, expected);
    config_free(dir);
}

static void test_a_thousand_modules_are_small(void **state)
{
    (void)state;
    enum { N = 1000, BYTES_EACH = 2048 };
    char *dir = config_new();
    config_write(dir, "bulkhead.ini", "[defaults]\nsandbox.user = root\n");
    for (int i = 0; i < N; i++) {
        _cleanup_(freep) char *name = xasprintf("modules.d/m%d.ini", i);
        config_write(dir, name, "[module]\nexec = /bin/true\n[limits]\nmemory_max = 64M\npids_max = 5\n");
    }
    size_t before = mallinfo2().uordblks;
    Policy *p = config_load_good(dir);
    size_t used = mallinfo2().uordblks - before;
    assert_int_equal(p->n_modules, N);
#ifndef BULKHEAD_SANITIZED /* there mallinfo2() knows nothing */
    print_message("%zu bytes a module\n", used / N);
    assert_true(used > 0 && used / N <= BYTES_EACH);
#else
    (void)used;
#endif
    policy_free(p);
    config_free(dir);
}

static void test_shared_dir(void **state)
{
    (void)state;
    _cleanup_(freep) char *shared = NULL;
    int r = policy_shared_dir(&shared);
    if (r == -ENOENT) {
        assert_null(shared);
        print_message("built outside the source tree: no shipped files beside this program\n");
        assert_null(getenv("MUST_WORK"));
        skip();
    }
    assert_int_equal(r, 0);
    _cleanup_(freep) char *base = xasprintf("%s/profiles/base.ini", shared);
    assert_int_equal(access(base, R_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_merge_and_origins),
        cmocka_unit_test(test_a_job_has_the_time_that_was_written),
        cmocka_unit_test(test_accounts),
        cmocka_unit_test(test_environment),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_seccomp_is_compiled_and_shared),
        cmocka_unit_test(test_one_mistake_one_complaint),
        cmocka_unit_test(test_shown_names),
        cmocka_unit_test(test_a_thousand_modules_are_small),
        cmocka_unit_test(test_shared_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
