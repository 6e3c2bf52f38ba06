/* The key table, key by key: its default holds, its example is taken, a value of another kind is refused, and
 * tests/data/good/everything writes each of them. */
#include "tests/unit/config_dir.h"

#include <inttypes.h>
#include <sys/resource.h>

#include "policies/keys.h"
#include "policies/values.h"

/* What must be said besides for the key to have a meaning. */
static const char *needed_by(const Key *k)
{
    static const char *const needs[][2] = {
        {"ports", "[work]\ntrack = connections\n"},
        {"remain_after_exit", "[module]\ntype = oneshot\n"},
        {"on_calendar", "[module]\ntype = oneshot\n"},
        {"every", "[module]\ntype = oneshot\n"},
        {"persistent", "[module]\ntype = oneshot\n[timer]\non_calendar = daily\n"},
        {"randomized_delay", "[module]\ntype = oneshot\n[timer]\nevery = 1h\n"},
        {"when_running", "[module]\ntype = oneshot\n[timer]\nevery = 1h\n"},
    };
    for (size_t i = 0; i < ELEMENTS(needs); i++)
        if (strcmp(k->name, needs[i][0]) == 0)
            return needs[i][1];
    return "";
}

/* The configuration that gives one key (of the daemon or of web) the value; the rest is what must be there. */
static char *config_with(const Key *k, const char *value)
{
    char *dir = config_new();
    if (key_is_supervisor(k)) {
        _cleanup_(freep) char *text = xasprintf("[supervisor]\n%s = %s\n", k->name, value);
        config_write(dir, "bulkhead.ini", text);
        return dir;
    }
    bool is_exec = strcmp(k->name, "exec") == 0, is_user = strcmp(k->name, "user") == 0;
    _cleanup_(freep) char *text =
        xasprintf("%s%s%s[%s]\n%s = %s\n", is_exec ? "" : "[module]\nexec = /bin/true\n",
                  is_user ? "" : "[sandbox]\nuser = root\n", needed_by(k), k->section, k->name, value);
    config_write(dir, "modules.d/web.ini", text);
    if (is_exec)
        config_write(dir, "modules.d/web.ini.d/user.ini", "[sandbox]\nuser = root\n");
    if (is_user)
        config_write(dir, "modules.d/web.ini.d/exec.ini", "[module]\nexec = /bin/true\n");
    if (k->kind == VALUE_PROFILE) {
        _cleanup_(freep) char *profile = xasprintf("profiles/%s.ini", value);
        config_write(dir, profile, "[profile]\nallow = read\n");
    }
    if (k->kind == VALUE_INCLUDES && *value && value[0] != '.')
        config_write(dir, value, "[limits]\npids_max = 5\n");
    return dir;
}

static void test_example_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < keys_n; i++) {
        char *dir = config_with(&keys[i], keys[i].example);
        policy_free(config_load_good(dir));
        config_free(dir);
    }
}

/* A value that nothing of the kind can be; NULL where anything goes. */
static const char *nonsense(const Key *k)
{
    switch (k->kind) {
    case VALUE_TEXT:
    case VALUE_LABEL:
        return NULL;
    case VALUE_COMMAND:
    case VALUE_COMMANDS:
    case VALUE_CONDITIONS:
    case VALUE_PATH:
        return "relative %n";
    case VALUE_ENV_FILE:
    case VALUE_INCLUDES:
    case VALUE_DIRECTORIES:
    case VALUE_PROFILE:
        return "../x";
    case VALUE_EXIT_SET:
        return "256";
    case VALUE_YES_NO:
    case VALUE_TIME:
    case VALUE_SIZE:
    case VALUE_CPU:
    case VALUE_PERCENT:
    case VALUE_COUNT:
    case VALUE_INTEGER:
    case VALUE_FACTOR:
    case VALUE_CHOICE:
    case VALUE_CHOICE_TEXT:
    case VALUE_ENVIRONMENT:
    case VALUE_MODULES:
    case VALUE_NAME:
    case VALUE_RULES:
    case VALUE_CALENDAR:
    case VALUE_UMASK:
    case VALUE_SIGNAL:
    case VALUE_READY:
    case VALUE_LISTEN:
    case VALUE_TRACK:
    case VALUE_PORTS:
    case VALUE_CPUS:
    case VALUE_USER:
    case VALUE_GROUP:
    case VALUE_GROUPS:
    case VALUE_CAPABILITIES:
    case VALUE_RLIMIT_COUNT:
    case VALUE_RLIMIT_SIZE:
    case VALUE_RLIMIT_SEC:
    case VALUE_RLIMIT_USEC:
    case VALUE_KIND_N:
        break;
    }
    return "No Such 9";
}

static void test_nonsense_is_refused(void **state)
{
    (void)state;
    unsigned free_text = 0;
    for (size_t i = 0; i < keys_n; i++) {
        const Key *k = &keys[i];
        if (!nonsense(k)) {
            free_text++;
            continue;
        }
        char *dir = config_with(k, nonsense(k));
        _cleanup_(freep) char *text = NULL;
        _cleanup_(freep) char *dotted = key_dotted(k);
        assert_null(config_load(dir, &text));
        assert_non_null(text);
        /* One complaint, and it names the key. */
        if (text && (!strstr(text, dotted) || strchr(text, '\n') != text + strlen(text) - 1))
            fail_msg("%s: %s", dotted, text);
        config_free(dir);
    }
    assert_int_equal(free_text, 2); /* description, version */
}

/* Where %n and ${NAME} stand for something, the table says so; everywhere else they are text like any other. */
static void test_expansion(void **state)
{
    (void)state;
    unsigned names = 0, variables = 0;
    for (const Key *k = keys; k < keys + keys_n; k++) {
        Expansion how = value_expansion(k->kind);
        const char *base = k->kind == VALUE_READY ? "unix:/x" : k->example;
        assert_true(how != EXPAND_NOTHING || !k->variables);
        for (int variable = 0; variable < 2; variable++) {
            _cleanup_(freep) char *value = xasprintf("%s%s", base, variable ? "${NOPE}" : "%q"), *text = NULL;
            char *dir = config_with(k, value);
            policy_free(config_load(dir, &text));
            config_free(dir);
            bool told = text && strstr(text, variable ? "${NOPE} is not set" : "'%q' stands for nothing");
            bool expected = variable ? k->variables : how != EXPAND_NOTHING && how != EXPAND_LABEL;
            if (told != expected)
                fail_msg("%s.%s = %s: %s", k->section, k->name, value, text ? text : "taken");
            *(variable ? &variables : &names) += told;
        }
    }
    assert_true(names > variables && variables > 0);
}

static void test_empty_takes_back_or_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < keys_n; i++) {
        const Key *k = &keys[i];
        char *dir = config_with(k, "");
        _cleanup_(freep) char *text = NULL;
        Policy *p = config_load(dir, &text);
        bool must = strcmp(k->name, "exec") == 0 || strcmp(k->name, "user") == 0;
        if (*k->fallback || must)
            assert_non_null(text);
        else if (text)
            fail_msg("%s.%s: %s", k->section, k->name, text);
        if (*k->fallback && text)
            assert_non_null(strstr(text, "the value is empty"));
        policy_free(p);
        config_free(dir);
    }
}

static void test_defaults_of_the_daemon(void **state)
{
    (void)state;
    char *dir = config_with_web("");
    Policy *p = config_load_good(dir);
    const SupervisorPolicy *s = &p->supervisor;
    assert_true(s->parallel_start);
    assert_int_equal(s->start_delay, 0);
    assert_int_equal(s->startup_timeout, 60000000);
    assert_null(s->read_group);
    assert_null(s->operate_group);
    assert_int_equal(s->read_gid, (gid_t)-1);
    assert_int_equal(s->operate_gid, (gid_t)-1);
    assert_int_equal(s->bpf, PART_REQUIRED);
    assert_int_equal(s->cgroups, PART_REQUIRED);
    assert_string_equal(s->log_level, "info");
    policy_free(p);
    config_free(dir);
}

static void check_module_defaults(const ModulePolicy *m)
{
    assert_null(m->description);
    assert_null(m->version);
    assert_int_equal(m->type, TYPE_SIMPLE);
    assert_false(m->remain_after_exit);
    assert_int_equal(m->start, START_AUTO);
    assert_int_equal(m->instances, 0);
    assert_null(m->group);
    const Commands *hooks[] = {&m->exec_start_pre, &m->exec_start_post, &m->exec_stop_post, &m->exec_reload};
    for (size_t i = 0; i < ELEMENTS(hooks); i++)
        assert_true(hooks[i]->n == 0 && !hooks[i]->items);
    assert_int_equal(m->exec_start_pre_timeout, 0);
    assert_int_equal(m->exec_start_post_timeout, 0);
    assert_int_equal(m->exec_stop_post_timeout, 0);
    assert_int_equal(m->exec_reload_timeout, 0);
    assert_int_equal(m->reload_signal, 0);
    assert_null(m->working_dir);
    assert_null(m->environment);
    assert_null(m->environment_file);
    assert_int_equal(m->umask, 022);
    assert_null(m->requires);
    assert_null(m->wants);
    assert_null(m->after);
    assert_null(m->part_of);
    assert_null(m->condition_path_exists);
    assert_false(m->required);
    assert_int_equal(m->ready.kind, READY_NONE);
    assert_int_equal(m->start_timeout, 60000000);
    assert_int_equal(m->stop_timeout, 30000000);
    assert_int_equal(m->stop_signal, 15);
    assert_int_equal(m->success_exit_status.codes[0], 1);
    assert_int_equal(m->success_exit_status.signals, 0);
    assert_int_equal(m->log, LOG_DEFAULT);
    assert_int_equal(m->log_stderr, LOG_DEFAULT);
    assert_int_equal(m->log_max_size, 10 << 20);
    assert_int_equal(m->log_keep, 5);
    assert_null(m->runtime_directory);
    assert_null(m->state_directory);
    assert_null(m->logs_directory);
}

static void check_limit_defaults(const Limits *l)
{
    assert_true(l->cpu_max == UINT64_MAX);
    assert_int_equal(l->cpu_weight, 0);
    assert_null(l->cpus);
    assert_true(l->memory_max == UINT64_MAX);
    assert_true(l->memory_high == UINT64_MAX);
    assert_true(l->memory_swap_max == UINT64_MAX);
    assert_false(l->oom_group);
    assert_true(l->pids_max == UINT64_MAX);
    for (size_t i = 0; i < RLIMIT_COUNT; i++)
        assert_false(l->rlimits[i].set);
    assert_false(l->nice_set);
    assert_false(l->oom_score_adj_set);
}

static void test_defaults_of_a_module(void **state)
{
    (void)state;
    char *dir = config_with_web("");
    Policy *p = config_load_good(dir);
    const ModulePolicy *m = p->modules[0];
    check_module_defaults(m);
    check_limit_defaults(&m->limits);
    assert_int_equal(m->work.track.sources, 0);
    assert_int_equal(m->work.track.n_sites, 0);
    assert_int_equal(m->work.max_in_flight, 1000);
    assert_int_equal(m->work.settle, 200000);
    assert_int_equal(m->work.long_running_after, 0);
    assert_int_equal(m->work.n_ports, 0);
    assert_int_equal(m->work.drain_soft, 10000000);
    assert_int_equal(m->work.drain_hard, 30000000);
    assert_null(m->sandbox.profile);
    assert_null(m->sandbox.allow);
    assert_null(m->sandbox.deny);
    assert_null(m->sandbox.filter);
    assert_int_equal(m->sandbox.on_violation, VIOLATION_KILL);
    assert_int_equal(m->sandbox.n_supplementary_groups, 0);
    assert_false(m->sandbox.capabilities_set);
    assert_true(m->sandbox.no_new_privs);
    assert_null(m->timer.on_calendar);
    assert_int_equal(m->timer.every, 0);
    assert_false(m->timer.persistent);
    assert_int_equal(m->timer.randomized_delay, 0);
    assert_int_equal(m->timer.when_running, WHEN_RUNNING_SKIP);
    assert_int_equal(m->recovery.restart, RESTART_ON_FAILURE);
    assert_int_equal(m->recovery.max_attempts, 3);
    assert_int_equal(m->recovery.backoff, 10000000);
    assert_true(m->recovery.factor == 2);
    assert_int_equal(m->recovery.max_backoff, 300000000);
    assert_int_equal(m->recovery.jitter, 20);
    assert_int_equal(m->recovery.reset_after, 60000000);
    policy_free(p);
    config_free(dir);
}

static void test_everything_writes_each_key(void **state)
{
    (void)state;
    char *dir = config_new();
    config_copy("tests/data/good/everything", dir, "");
    Policy *p = config_load_good(dir);
    _cleanup_(freep) char *daemon = NULL;
    assert_int_equal(file_read_all(AT_FDCWD, "tests/data/good/everything/bulkhead.ini", 1 << 20, &daemon, NULL), 0);
    for (size_t i = 0; i < keys_n; i++) {
        const Key *k = &keys[i];
        _cleanup_(freep) char *dotted = key_dotted(k);
        _cleanup_(freep) char *line = xasprintf("\n%s = ", k->name);
        const char *file;
        unsigned number = 0;
        for (size_t j = 0; !key_is_supervisor(k) && number == 0 && j < p->n_modules; j++)
            policy_origin(p->modules[j], dotted, &file, &number);
        if (key_is_supervisor(k) ? !strstr(daemon, line) : number == 0)
            fail_msg("tests/data/good/everything does not write %s", dotted);
    }
    policy_free(p);
    config_free(dir);
}

/* Each rlimit key reaches the resource it is named after, in the kernel's unit. */
static void test_rlimits(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value;
        int resource;
        uint64_t soft, hard;
    } cases[] = {
        {"nofile", "10:20", RLIMIT_NOFILE, 10, 20},
        {"nproc", "infinity", RLIMIT_NPROC, UINT64_MAX, UINT64_MAX},
        {"core", "1M:infinity", RLIMIT_CORE, 1 << 20, UINT64_MAX},
        {"stack", "8M", RLIMIT_STACK, 8 << 20, 8 << 20},
        {"as", "1G", RLIMIT_AS, 1 << 30, 1 << 30},
        {"data", "1K", RLIMIT_DATA, 1024, 1024},
        {"fsize", "7B", RLIMIT_FSIZE, 7, 7},
        {"memlock", "64K", RLIMIT_MEMLOCK, 65536, 65536},
        {"rss", "2K", RLIMIT_RSS, 2048, 2048},
        {"msgqueue", "3K", RLIMIT_MSGQUEUE, 3072, 3072},
        {"cpu_time", "1m:1h", RLIMIT_CPU, 60, 3600},
        {"rttime", "2ms", RLIMIT_RTTIME, 2000, 2000},
        {"locks", "4", RLIMIT_LOCKS, 4, 4},
        {"sigpending", "5", RLIMIT_SIGPENDING, 5, 5},
        {"nice_limit", "40", RLIMIT_NICE, 40, 40},
        {"rtprio", "0:99", RLIMIT_RTPRIO, 0, 99},
    };
    assert_int_equal(ELEMENTS(cases), RLIM_NLIMITS);
    assert_int_equal(RLIMIT_COUNT, RLIM_NLIMITS);
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(freep) char *text = xasprintf("[limits]\n%s = %s\n", cases[i].name, cases[i].value);
        char *dir = config_with_web(text);
        Policy *p = config_load_good(dir);
        for (int r = 0; r < RLIMIT_COUNT; r++) {
            const Rlimit *l = &p->modules[0]->limits.rlimits[r];
            assert_int_equal(l->set, r == cases[i].resource);
            assert_true(!l->set || (l->soft == cases[i].soft && l->hard == cases[i].hard));
        }
        policy_free(p);
        config_free(dir);
    }
}

static void test_table_is_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < keys_n; i++) {
        const Key *k = &keys[i];
        assert_true(*k->doc && *k->example);
        assert_ptr_equal(key_find(k->section, k->name), k);
        assert_true(key_section_exists(k->section));
        _cleanup_(freep) char *dotted = key_dotted(k);
        assert_true(key_find_dotted(dotted) == (key_is_supervisor(k) ? NULL : k));
        assert_true((k->kind == VALUE_CHOICE || k->kind == VALUE_CHOICE_TEXT) == (k->names != NULL));
        for (size_t j = 0; k->names && j < k->n_names; j++)
            assert_non_null(k->names[j]);
    }
    for (ValueKind kind = 0; kind < VALUE_KIND_N; kind++)
        assert_true(value_kind_name(kind) && value_kind_hint(kind));
    assert_null(key_find("limits", "io_max"));
    assert_null(key_find_dotted("memory_max"));
    assert_true(key_section_exists("defaults"));
    assert_false(key_section_exists("health"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example_is_taken),
        cmocka_unit_test(test_nonsense_is_refused),
        cmocka_unit_test(test_expansion),
        cmocka_unit_test(test_empty_takes_back_or_is_refused),
        cmocka_unit_test(test_defaults_of_the_daemon),
        cmocka_unit_test(test_defaults_of_a_module),
        cmocka_unit_test(test_everything_writes_each_key),
        cmocka_unit_test(test_rlimits),
        cmocka_unit_test(test_table_is_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
