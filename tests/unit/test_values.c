/* Values and words: each form that is taken, each that is refused, and where the numbers end. */
#include "tests/unit/value_take.h"

#include <signal.h>
#include <sys/capability.h>

#include "base/clock.h"
#include "policies/quantities.h"
#include "policies/words.h"

typedef struct Number {
    const char *text;
    uint64_t value;
} Number;

static void test_times(void **state)
{
    (void)state;
    static const Number good[] = {
        {"0", 0},
        {"0s", 0},
        {"250us", 250},
        {"500ms", 500000},
        {"10s", 10000000},
        {"1m", 60000000},
        {"1h", 3600000000},
        {"2d", 172800000000},
        {"1m 30s", 90000000},
        {"1h30m", 5400000000},
        {"infinity", USEC_INFINITY},
        {"18446744073709551614us", UINT64_MAX - 1},
    };
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        uint64_t v = 1;
        assert_int_equal(value_time(good[i].text, &v, NULL), 0);
        assert_true(v == good[i].value);
    }
    static const char *const bad[] = {
        "",
        "10",
        "10 s",
        "s",
        "1.5s",
        "-1s",
        "+1s",
        "10S",
        "10min",
        "1s 5",
        "1s,5ms",
        "infinite",
        "1e3s",
        "0x1s",
        "1s;",
        "Infinity",
        "18446744073709551615us",
        "18446744073709551616us",
        "99999999999999d",
        "213503982d 9999999h",
        "0 s",
        "1s  x",
    };
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        uint64_t v = 7;
        Error e = {0};
        if (value_time(bad[i], &v, &e) != -EINVAL)
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(v, 7);
        assert_true(e.msg[0]);
    }
    Error e = {0};
    value_time("10", &(uint64_t){0}, &e);
    assert_string_equal(e.msg, "a unit is missing in '10' (10s, 500ms, 5m, 1h, 2d, infinity)");
}

static void test_sizes(void **state)
{
    (void)state;
    static const Number good[] = {
        {"0", 0},
        {"1B", 1},
        {"1K", 1024},
        {"64M", 64 << 20},
        {"1G", 1 << 30},
        {"2T", UINT64_C(2) << 40},
        {"infinity", UINT64_MAX},
        {"16777215T", UINT64_C(16777215) << 40},
    };
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        uint64_t v = 1;
        assert_int_equal(value_size(good[i].text, &v, NULL), 0);
        assert_true(v == good[i].value);
    }
    static const char *const bad[] = {"",     "64",  "64m", "64MB", "64 M",      "1.5G", "-1K",
                                      "1M1K", "1K ", "K",   "1P",   "16777216T", "max",  "5%"};
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        uint64_t v = 7;
        if (value_size(bad[i], &v, NULL) != -EINVAL)
            fail_msg("'%s' was taken", bad[i]);
        assert_int_equal(v, 7);
    }
}

static void test_bounded_numbers(void **state)
{
    (void)state;
    ModulePolicy m;
    assert_true(take("limits.cpu_max", "1%", &m) && m.limits.cpu_max == 1);
    assert_true(take("limits.cpu_max", "150%", &m) && m.limits.cpu_max == 150);
    assert_true(take("limits.cpu_max", "infinity", &m) && m.limits.cpu_max == UINT64_MAX);
    REFUSE("limits.cpu_max", "0%", "150", "1.5%", "%", "-5%", "150 %", "150%%", "99999999999999999999%", "max");
    assert_true(take("limits.cpu_weight", "1", &m) && take("limits.cpu_weight", "10000", &m));
    REFUSE("limits.cpu_weight", "0", "10001", "infinity", "100%", "-1", " 5", "18446744073709551615");
    assert_true(take("limits.pids_max", "1", &m) && take("limits.pids_max", "infinity", &m));
    REFUSE("limits.pids_max", "0", "ten", "-1", "1K");
    assert_true(take("limits.memory_max", "4K", &m) && take("limits.memory_max", "infinity", &m));
    REFUSE("limits.memory_max", "0", "4095B", "50%");
    assert_true(take("limits.memory_swap_max", "0", &m) && m.limits.memory_swap_max_set);
    assert_true(take("limits.nice", "-20", &m) && m.limits.nice == -20 && m.limits.nice_set);
    assert_true(take("limits.nice", "19", &m) && take("limits.nice", "0", &m) && m.limits.nice_set);
    REFUSE("limits.nice", "-21", "20", "--1", "-", "1.0", "4294967295", "-4294967297");
    assert_true(take("limits.oom_score_adj", "-1000", &m) && m.limits.oom_score_adj == -1000);
    assert_true(take("limits.oom_score_adj", "1000", &m) && m.limits.oom_score_adj_set);
    REFUSE("limits.oom_score_adj", "-1001", "1001");
    assert_true(take("recovery.jitter", "0%", &m) && take("recovery.jitter", "100%", &m) && m.recovery.jitter == 100);
    REFUSE("recovery.jitter", "101%", "20");
    assert_true(take("recovery.factor", "1", &m) && m.recovery.factor == 1);
    assert_true(take("recovery.factor", "1.25", &m) && m.recovery.factor == 1.25);
    REFUSE("recovery.factor", "0.99", "0", "1,5", "nan", "inf", "1e2", "0x2", ".5", "2.", "-2", "10000", "1.1234567");
    assert_true(take("recovery.max_attempts", "0", &m));
    REFUSE("recovery.max_attempts", "infinity", "-1", "1000001");
    REFUSE("recovery.backoff", "infinity");
    REFUSE("module.start_timeout", "0", "0s", "60");
    assert_true(take("module.stop_timeout", "0", &m) && take("module.start_timeout", "infinity", &m));
}

static void test_words_of_choice(void **state)
{
    (void)state;
    ModulePolicy m;
    assert_true(take("module.required", "yes", &m) && m.required);
    assert_true(take("module.required", "no", &m) && !m.required);
    REFUSE("module.required", "true", "1", "Yes", "on", "y", "yesno", "0");
    assert_true(take("module.start", "manual", &m) && m.start == START_MANUAL);
    REFUSE("module.start", "on-demand", "Auto", "aut", "auto,manual");
    assert_true(take("module.log", "journal", &m) && m.log == LOG_JOURNAL);
    assert_true(take("module.log", "file", &m) && take("module.log", "null", &m) && take("module.log", "inherit", &m));
    REFUSE("module.log", "default", "syslog");
    assert_true(take("module.log_stderr", "file", &m) && m.log_stderr == LOG_FILE);
    assert_true(take("module.log_stderr", "journal", &m) && take("module.log_stderr", "null", &m));
    REFUSE("module.log_stderr", "default", "stdout", "same");
    assert_true(take("module.log_max_size", "64K", &m) && m.log_max_size == 64 << 10);
    assert_true(take("module.log_max_size", "infinity", &m) && m.log_max_size == UINT64_MAX);
    REFUSE("module.log_max_size", "0", "63K", "10000000", "10 M", "50%");
    assert_true(take("module.log_keep", "0", &m) && m.log_keep == 0);
    assert_true(take("module.log_keep", "100", &m) && m.log_keep == LOG_KEEP_MAX);
    REFUSE("module.log_keep", "101", "infinity", "-1", "5M");
    assert_true(take("sandbox.on_violation", "log", &m) && m.sandbox.on_violation == VIOLATION_LOG);
    assert_true(take("recovery.restart", "always", &m) && m.recovery.restart == RESTART_ALWAYS);
    assert_true(take("recovery.restart", "no", &m) && m.recovery.restart == RESTART_NO);
}

static void test_umask_and_signals(void **state)
{
    (void)state;
    ModulePolicy m;
    assert_true(take("module.umask", "0", &m) && m.umask == 0);
    assert_true(take("module.umask", "022", &m) && m.umask == 022);
    assert_true(take("module.umask", "0777", &m) && m.umask == 0777);
    REFUSE("module.umask", "8", "1777", "00022", "u=rwx", "-1", "0x1");
    static const struct {
        const char *text;
        int signal;
    } signals[] = {{"TERM", SIGTERM},
                   {"SIGTERM", SIGTERM},
                   {"15", 15},
                   {"1", 1},
                   {"64", 64},
                   {"QUIT", SIGQUIT},
                   {"SIGUSR2", SIGUSR2},
                   {"KILL", 9},
                   {"SIGWINCH", SIGWINCH}};
    for (size_t i = 0; i < ELEMENTS(signals); i++)
        assert_int_equal(value_signal(signals[i].text, NULL), signals[i].signal);
    assert_int_equal(value_signal("RTMIN", NULL), SIGRTMIN);
    assert_int_equal(value_signal("SIGRTMIN+3", NULL), SIGRTMIN + 3);
    assert_int_equal(value_signal("RTMAX-1", NULL), SIGRTMAX - 1);
    REFUSE("module.stop_signal", "0", "65", "term", "SIG", "SIGSIGTERM", "RTMIN-1", "RTMAX+1", "RTMIN+31", "TERM,INT",
           "-15");
}

static void test_exit_sets(void **state)
{
    (void)state;
    ModulePolicy m;
    assert_true(take("module.success_exit_status", "0, 3, 64-70, SIGTERM, 64-64, 255, 64", &m));
    const ExitSet *s = &m.success_exit_status;
    for (int code = -1; code <= 256; code++)
        assert_int_equal(exit_set_contains(s, code, 0),
                         code == 0 || code == 3 || (code >= 64 && code <= 70) || code == 255);
    for (int signal = 1; signal <= 65; signal++)
        assert_int_equal(exit_set_contains(s, 0, signal), signal == SIGTERM);
    assert_true(take("module.success_exit_status", "RTMAX, SIGHUP", &m));
    assert_true(exit_set_contains(s, 0, 64) && exit_set_contains(s, 0, 1) && exit_set_contains(s, 0, 0));
    assert_false(exit_set_contains(s, 64, 0));
    REFUSE("module.success_exit_status", "256", "5-3", "3-", "-3", "1-256", "1 2", "TERMINATE", "3,,4", ",");
}

static void test_ready(void **state)
{
    (void)state;
    ModulePolicy m;
    assert_true(take("module.ready", "none", &m) && m.ready.kind == READY_NONE);
    assert_true(take("module.ready", "exec", &m) && m.ready.kind == READY_EXEC);
    assert_true(take("module.ready", "notify", &m) && m.ready.kind == READY_NOTIFY);
    assert_true(take("module.ready", "fd:3", &m) && m.ready.kind == READY_FD && m.ready.number == 3);
    assert_true(take("module.ready", "tcp:65535", &m) && m.ready.kind == READY_TCP && m.ready.number == 65535);
    assert_true(take("module.ready", "unix:/run/%n.sock", &m) && m.ready.kind == READY_UNIX);
    assert_string_equal(m.ready.path, "/run/web.sock");
    value_done(key_find_dotted("module.ready"), &m);
    _cleanup_(freep) char *fits = xasprintf("unix:/%0106d", 0), *over = xasprintf("unix:/%0107d", 0);
    assert_true(take("module.ready", fits, &m));
    value_done(key_find_dotted("module.ready"), &m);
    REFUSE("module.ready", "fd:2", "fd:", "fd", "fd:1024", "fd:x", "tcp:0", "tcp:65536", "tcp:127.0.0.1:80", "tcp",
           "unix:", "unix:run", "none:", "exec:1", "notify:", "readyness", "", ":", over, "unix:/%q");
}

static void test_ports_and_cpus(void **state)
{
    (void)state;
    ModulePolicy m;
    assert_true(take("work.ports", "80,443, 65535", &m));
    assert_int_equal(m.work.n_ports, 3);
    assert_true(m.work.ports[0] == 80 && m.work.ports[1] == 443 && m.work.ports[2] == 65535);
    value_done(key_find_dotted("work.ports"), &m);
    REFUSE("work.ports", "0", "65536", "80,80", "http", "80-90", "80,", "-1");
    assert_true(take("limits.cpus", "0-3, 5", &m));
    assert_string_equal(m.limits.cpus, "0-3,5");
    value_done(key_find_dotted("limits.cpus"), &m);
    REFUSE("limits.cpus", "3-1", "8192", "a", "1-", "-1", "1-2-3", "0;1");
}

static void test_track(void **state)
{
    (void)state;
    ModulePolicy m;
    const Key *k = key_find_dotted("work.track");
    static const struct {
        const char *word;
        unsigned source;
    } words[] = {{"connections", 1}, {"requests", 2}, {"unix", 4}, {"writes", 16}, {"api", 32}};
    for (size_t i = 0; i < ELEMENTS(words); i++) {
        assert_true(take("work.track", words[i].word, &m));
        assert_int_equal(m.work.track.sources, words[i].source);
        assert_int_equal(m.work.track.n_sites, 0);
    }
    assert_true(take("work.track",
                     "api,calls:/opt/%n/bin/srv:run, calls:libz.so.1:gz_x@V_1, usdt:python:function, usdt:p:a-b", &m));
    const Track *t = &m.work.track;
    assert_int_equal(t->sources, TRACK_API | TRACK_CALLS);
    assert_int_equal(t->n_sites, 4);
    assert_true(t->sites[0].kind == CALL_SITE_CALL && t->sites[2].kind == CALL_SITE_USDT);
    assert_string_equal(t->sites[0].where, "/opt/web/bin/srv");
    assert_string_equal(t->sites[0].symbol, "run");
    assert_string_equal(t->sites[1].where, "libz.so.1");
    assert_string_equal(t->sites[1].symbol, "gz_x@V_1");
    assert_string_equal(t->sites[2].where, "python");
    assert_string_equal(t->sites[3].symbol, "a-b");
    value_done(k, &m);
    assert_null(m.work.track.sites);
    StrBuf many = STRBUF_NULL;
    for (int i = 0; i < TRACK_SITES_MAX; i++)
        strbuf_addf(&many, "%scalls:x:f%d", i ? "," : "", i);
    assert_true(take("work.track", many.s, &m));
    value_done(k, &m);
    strbuf_adds(&many, ",calls:x:one_more");
    REFUSE("work.track", many.s, "connections, connections", "none", "connection", "calls", "calls:", "calls:x",
           "calls::y", "calls:x:", "calls:x:y:z", "calls:bin/x:y", "calls:/usr/bin/:y", "calls:x:'a b'", "usdt:p",
           "usdt:p:", "usdt::n", "usdt:a/b:n", "usdt:p:n.m", "calls:x:y, calls:x:y", "usdt:p:n, usdt:p:n", "api,,unix",
           "%z");
    strbuf_done(&many);
    assert_true(take("work.max_in_flight", "infinity", &m) && m.work.max_in_flight == UINT64_MAX);
    REFUSE("work.max_in_flight", "0", "-1", "many");
}

static void test_calendars(void **state)
{
    (void)state;
    ModulePolicy m;
    assert_true(take("timer.on_calendar", "daily;Sun *~7/1 4:00 Europe/Berlin", &m));
    _cleanup_(freep) char *normal = calendar_format(m.timer.on_calendar);
    assert_string_equal(normal, "*-*-* 00:00:00; Sun *-*~07/1 04:00:00 Europe/Berlin");
    value_done(key_find_dotted("timer.on_calendar"), &m);
    assert_null(m.timer.on_calendar);
    assert_true(take("timer.on_calendar", "2001-01-01", &m)); /* has been */
    value_done(key_find_dotted("timer.on_calendar"), &m);
    assert_true(take("timer.on_calendar", "*-2-30; *-2-29", &m));
    value_done(key_find_dotted("timer.on_calendar"), &m);
    REFUSE("timer.on_calendar", "*-2-30", "Mon 2001-01-02", "every day", "*:*/5", "daily;", "infinity");
    assert_true(take("timer.every", "1s", &m) && m.timer.every == 1000000);
    REFUSE("timer.every", "0s", "999ms", "infinity", "daily", "60");
    assert_true(take("timer.randomized_delay", "0", &m) && m.timer.randomized_delay == 0);
    REFUSE("timer.randomized_delay", "infinity", "5", "10%");
    assert_true(take("timer.when_running", "queue", &m) && m.timer.when_running == WHEN_RUNNING_QUEUE);
    REFUSE("timer.when_running", "wait", "restart", "yes");
    const Key *k = key_find_dotted("timer.on_calendar");
    const ValueContext x = {.module = "web", .nss = nss};
    Error e = {0};
    value_parse(k, "*-2-30", &x, &m, &e);
    assert_string_equal(e.msg, "'*-2-30' never comes (daily, Mon..Fri 8:00, *-*-1 02:30 Europe/Berlin)");
    value_parse(k, "*:*/5", &x, &m, &e);
    assert_string_equal(e.msg, "a repeated * at '*/5' (0/5: from 0 on every 5)");
}

static void test_accounts(void **state)
{
    (void)state;
    ModulePolicy m;
    assert_true(take("sandbox.user", "root", &m));
    value_done(key_find_dotted("sandbox.user"), &m);
    assert_true(take("sandbox.user", "54321", &m));
    value_done(key_find_dotted("sandbox.user"), &m);
    REFUSE("sandbox.user", "nosuchuser", "4294967295", "-1", "root ", "root:root", "99999999999");
    REFUSE("sandbox.group", "nosuchgroup", "4294967295");
    assert_true(take("sandbox.supplementary_groups", "root, 7, 54321", &m));
    assert_int_equal(m.sandbox.n_supplementary_groups, 3);
    assert_true(m.sandbox.supplementary_groups[0] == 0 && m.sandbox.supplementary_groups[2] == 54321);
    value_done(key_find_dotted("sandbox.supplementary_groups"), &m);
    REFUSE("sandbox.supplementary_groups", "root, nosuchgroup", "root,");
    uid_t uid = 1;
    gid_t gid = 1;
    Error e = {0};
    assert_int_equal(nss_user(nss, "0", &uid, &gid, &e), 0);
    assert_true(uid == 0 && gid == 0);
    assert_int_equal(nss_user(nss, "54321", &uid, &gid, &e), 0);
    assert_true(uid == 54321 && gid == (gid_t)-1);
    assert_int_equal(nss_user(nss, "nosuchuser", &uid, &gid, &e), -ESRCH);
    assert_int_equal(nss_group(nss, "nosuchgroup", &gid, &e), -ESRCH); /* asked for the second time */
    assert_string_equal(e.msg,
                        "the group 'nosuchgroup' does not exist on this host (a group's name or number; make one: "
                        "addgroup --system nosuchgroup)");
}

static void test_capabilities(void **state)
{
    (void)state;
    ModulePolicy m;
    assert_true(take("sandbox.capabilities", "net_bind_service, CAP_CHOWN,cap_bpf", &m));
    assert_true(m.sandbox.capabilities_set);
    assert_true(m.sandbox.capabilities ==
                (UINT64_C(1) << CAP_NET_BIND_SERVICE | UINT64_C(1) << CAP_CHOWN | UINT64_C(1) << CAP_BPF));
    assert_true(take("sandbox.capabilities", "none", &m) && m.sandbox.capabilities == 0 && m.sandbox.capabilities_set);
    REFUSE("sandbox.capabilities", "none, chown", "chown, none", "all", "5", "cap_5", "cap_", "cap_cap_chown",
           "net_bnd", "-chown");
}

static void test_paths_and_names(void **state)
{
    (void)state;
    ModulePolicy m;
    assert_true(take("module.working_dir", "/srv/${PORT}/%n/%%$$", &m));
    assert_string_equal(m.working_dir, "/srv/80/web/%$");
    value_done(key_find_dotted("module.working_dir"), &m);
    REFUSE("module.working_dir", "srv", "", "${EMPTY}", "~/x", "/${NOPE}", "/%q");
    assert_true(take("module.state_directory", "%n, a/b.c, ..x, $$HOME, ${PORT}", &m));
    assert_string_equal(m.state_directory[0], "web");
    assert_true(str_equal(m.state_directory[3], "$HOME") && str_equal(m.state_directory[4], "80"));
    value_done(key_find_dotted("module.state_directory"), &m);
    REFUSE("module.state_directory", "/a", "a/", "a//b", ".", "..", "a/..", "a/./b", "../a", "a,,b", "\"\"", "$HOME",
           "${EMPTY}", "x/${NOPE}");
    assert_true(take("module.requires", "a, b-1, 0_x", &m));
    assert_int_equal(strv_length(m.requires), 3);
    value_done(key_find_dotted("module.requires"), &m);
    REFUSE("module.requires", "A", "a b", "-a", "_a", "a@0", "a@", "a,a", "a/b");
    assert_true(take("module.environment_file", "-/etc/x", &m));
    value_done(key_find_dotted("module.environment_file"), &m);
    assert_true(take("module.environment_file", "%n.env", &m));
    assert_string_equal(m.environment_file[0], "web.env");
    value_done(key_find_dotted("module.environment_file"), &m);
    assert_true(take("module.environment_file", "a.env, -/etc/default/%n, '-b, c.env'", &m));
    assert_int_equal(strv_length(m.environment_file), 3);
    assert_string_equal(m.environment_file[1], "-/etc/default/web");
    assert_string_equal(m.environment_file[2], "-b, c.env");
    value_done(key_find_dotted("module.environment_file"), &m);
    REFUSE("module.environment_file", "-", "../x", "x/", "-../x", "%x", "a.env,", "a.env, ../x");

    assert_true(take("module.include", "common.ini, -common/web.ini, \"a, b.ini\", %n.ini", &m));
    assert_int_equal(strv_length(m.include), 4);
    assert_string_equal(m.include[1], "-common/web.ini");
    assert_string_equal(m.include[2], "a, b.ini");
    assert_string_equal(m.include[3], "%n.ini"); /* as it stands: nothing is known yet */
    value_done(key_find_dotted("module.include"), &m);
    REFUSE("module.include", "/etc/bulkhead/common.ini", "../x.ini", "a/../b.ini", "./x.ini", "a//b.ini", "a/", "-",
           ",", "x.ini, x.ini", "-x.ini, x.ini", "'x.ini");
    assert_true(take("module.environment", "A=, B=%n%%, \"C=x, y\", D=$PORT ${PORT}", &m));
    _cleanup_(freep) char *all = strv_join(m.environment, "|");
    assert_string_equal(all, "A=|B=web%|C=x, y|D=$PORT ${PORT}");
    value_done(key_find_dotted("module.environment"), &m);
    REFUSE("module.environment", "A", "=1", "1A=2", "A=1, A=2", "A-B=1", "A=%q", "A =1");
    _cleanup_(freep) char *longest = xasprintf("%063d", 0), *longer = xasprintf("%064d", 0);
    assert_true(module_name_valid(longest));
    assert_false(module_name_valid(longer) || module_name_valid(""));
}

static void expect_words(WordsMode mode, const char *text, const char *joined)
{
    _cleanup_strv_ char **words = NULL;
    Error e = {0};
    int r = words_split(text, mode, &words, &e);
    if (!joined) {
        assert_int_equal(r, -EINVAL);
        assert_true(e.msg[0]);
        return;
    }
    assert_int_equal(r, 0);
    _cleanup_(freep) char *got = strv_join(words, "|");
    assert_string_equal(got, joined);
}

static void test_splitting(void **state)
{
    (void)state;
    expect_words(WORDS_BLANKS, "", "");
    expect_words(WORDS_BLANKS, "  a \t b  ", "a|b");
    expect_words(WORDS_BLANKS, "a 'b c' \"d e\" f\\ g", "a|b c|d e|f g");
    expect_words(WORDS_BLANKS, "a'b'\"c\"d ''", "abcd|");
    expect_words(WORDS_BLANKS, "\"a\\\"b\\\\c\\nd\" 'e\\f'", "a\"b\\c\\nd|e\\f");
    expect_words(WORDS_BLANKS, "\\\\ \\' \\\" a,b", "\\|'|\"|a,b");
    expect_words(WORDS_BLANKS, "'a", NULL);
    expect_words(WORDS_BLANKS, "\"a\\\"", NULL);
    expect_words(WORDS_BLANKS, "a\\", NULL);
    expect_words(WORDS_COMMAS, "a, b c ,d", "a|b c|d");
    expect_words(WORDS_COMMAS, "\"a, b\",' c ', d\\,e", "a, b| c |d,e");
    expect_words(WORDS_COMMAS, "a,\"\"", "a|");
    expect_words(WORDS_COMMAS, "a,", NULL);
    expect_words(WORDS_COMMAS, ",a", NULL);
    expect_words(WORDS_COMMAS, " ", NULL);
    expect_words(WORDS_COMMAS, "f(a, b)", "f(a|b)");
    expect_words(WORDS_RULES, "f(a, b), c,\"d(e, f)\"", "f(a, b)|c|d(e, f)");
    expect_words(WORDS_RULES, "f(a, b", "f(a, b");
    expect_words(WORDS_RULES, "a), b", "a)|b");
}

static void test_expanding(void **state)
{
    (void)state;
    static char *const environment[] = {"PORT=80", "PORTS=81", "NEST=${PORT}%n", NULL};
    static const struct {
        const char *text, *seen;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"%n-%%n", "web-%n"},
        {"<%i>", NULL}, /* of an instance only */
        {"${PORT}${PORTS}", "8081"},
        {"$${PORT}", "${PORT}"},
        {"${NEST}", "${PORT}%n"}, /* what a variable holds is not looked at again */
        {"%", NULL},
        {"%N", NULL},
        {"%\xc3\xa9", NULL},
        {"$", NULL},
        {"$PORT", NULL},
        {"${}", NULL},
        {"${PORT", NULL},
        {"${POR}", NULL},
        {"${1}", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(freep) char *got = NULL;
        int r = words_expand(cases[i].text, "web", true, environment, &got, NULL);
        assert_int_equal(r, cases[i].seen ? 0 : -EINVAL);
        assert_true(str_equal(got, cases[i].seen));
    }
    _cleanup_(freep) char *plain = NULL, *nobody = NULL;
    assert_int_equal(words_expand("$x ${", "web", false, NULL, &plain, NULL), 0);
    assert_string_equal(plain, "$x ${");
    assert_int_equal(words_expand("${ANY}%n%i", NULL, true, NULL, &nobody, NULL), 0);
    assert_string_equal(nobody, "/n1");
    _cleanup_(freep) char *instance = NULL;
    assert_int_equal(words_expand("%n:%i", "web@17", false, NULL, &instance, NULL), 0);
    assert_string_equal(instance, "web@17:17");
    static const char *const labels[][3] = {
        {"%n: 100% of %i, %%, %", "web", "web: 100% of %i, %, %"},
        {"%n: 100% of %i, %x", "web@3", "web@3: 100% of 3, %x"},
        {"${PORT} $$", "web", "${PORT} $$"},
        {"", "web", ""},
    };
    for (size_t i = 0; i < ELEMENTS(labels); i++) {
        _cleanup_(freep) char *label = words_label(labels[i][0], labels[i][1]);
        assert_string_equal(label, labels[i][2]);
    }
}

static void test_commands(void **state)
{
    (void)state;
    ModulePolicy m;
    assert_true(take("module.exec", "/bin/${PORT} '${SPACED}' %n ${EMPTY}", &m));
    _cleanup_(freep) char *joined = strv_join(m.exec, "|");
    assert_string_equal(joined, "/bin/80|a b|web|"); /* expanded after splitting: a variable is one word at most */
    value_done(key_find_dotted("module.exec"), &m);
    REFUSE("module.exec", "", " ", "bin", "./a", "'' /bin/x", "${EMPTY} /bin/x", "/bin/x '", "/bin/x ${NOPE}",
           "/bin/x $1");
}

static void test_shown_is_harmless(void **state)
{
    (void)state;
    ModulePolicy m;
    Error e = {0};
    const ValueContext x = {.module = "web", .nss = nss};
    m = (ModulePolicy){0};
    _cleanup_(freep) char *nasty = xasprintf("\x1b]0;%0500d", 0);
    assert_int_equal(value_parse(key_find_dotted("module.umask"), nasty, &x, &m, &e), -EINVAL);
    assert_null(strchr(e.msg, '\x1b'));
    assert_true(strlen(e.msg) < 150);
}

static int set_up(void **state)
{
    (void)state;
    nss = nss_new();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    nss = nss_free(nss);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_bounded_numbers),
        cmocka_unit_test(test_words_of_choice),
        cmocka_unit_test(test_umask_and_signals),
        cmocka_unit_test(test_exit_sets),
        cmocka_unit_test(test_ready),
        cmocka_unit_test(test_ports_and_cpus),
        cmocka_unit_test(test_track),
        cmocka_unit_test(test_calendars),
        cmocka_unit_test(test_accounts),
        cmocka_unit_test(test_capabilities),
        cmocka_unit_test(test_paths_and_names),
        cmocka_unit_test(test_splitting),
        cmocka_unit_test(test_expanding),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_shown_is_harmless),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
