/* Importing: the syntaxes, the words, what commands become, and that the tables lead somewhere. What whole files come
 * to, and that it runs, is in tests/integration/test_import.py. */
#include "tests/unit/config_dir.h"

#include "base/clock.h"
#include "policies/quantities.h"
#include "policies/words.h"
#include "tools/import/command.h"
#include "tools/import/runscript.h"
#include "tools/import/supervisord.h"
#include "tools/import/svdir.h"
#include "tools/import/unit.h"

static char *joined(char **words)
{
    StrBuf b = STRBUF_NULL;
    STRV_FOREACH (w, words)
        strbuf_addf(&b, "<%s>", *w);
    return strbuf_take(&b);
}

static void test_unit_lines(void **state)
{
    (void)state;
    static const char text[] =
        "stray=1\n# c\n[A]\nk = v w \n;c\nlong=a \\\n# between\n  b\\\n\\\nc\nempty=\nno assignment\n=x\n"
        "[B b]\r\nk=v\r\nlast=\\";
    UnitEntries e = {0};
    unitfile_parse(text, strlen(text), "f", &e);
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < e.n; i++)
        strbuf_addf(&b, "%u %s.%s=<%s>\n", e.items[i].line, e.items[i].section, str_or(e.items[i].key, "-"),
                    e.items[i].value);
    assert_string_equal(b.s,
                        "1 .-=<stray=1>\n4 A.k=<v w>\n6 A.long=<a    b  c>\n11 A.empty=<>\n12 A.-=<no assignment>\n"
                        "13 A.-=<=x>\n15 B b.k=<v>\n16 B b.last=<>\n");
    unitfile_done(&e);
}

static void test_unit_words(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words, *rest;
    } good[] = {
        {"", "", NULL},
        {" a  b\tc ", "<a><b><c>", NULL},
        {"'a b' \"c 'd'\" e\"f g\"h", "<a b><c 'd'><ef gh>", NULL},
        {"a\\sb \\x41\\102\\n \\q", "<a b><AB\n><\\q>", NULL},
        {"'it\\'s' \"\"", "<it's><>", NULL},
        {"a ; b ; c", "<a>", " b ; c"},
        {"a \\; b", "<a><;><b>", NULL},
        {"a;b ';'", "<a;b><;>", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        _cleanup_strv_ char **words = NULL;
        const char *rest = NULL;
        assert_int_equal(unit_words(good[i].text, &words, &rest, NULL), 0);
        _cleanup_(freep) char *got = joined(words);
        assert_string_equal(got, good[i].words);
        assert_true(str_equal(rest, good[i].rest));
    }
    char **words = NULL;
    Error e = {0};
    assert_int_equal(unit_words("a 'b", &words, NULL, &e), -EINVAL);
    assert_string_equal(e.msg, "a ' is not closed, systemd ignores the line as well");
}

static void test_specifiers(void **state)
{
    (void)state;
    static const struct {
        const char *text, *plain, *kept;
    } cases[] = {
        {"%n %N %p %P", "db@a-b\\x2dc.service db@a-b\\x2dc db db", "db@a-b\\x2dc.service db@a-b\\x2dc db db"},
        {"%i|%I|%f", "a-b\\x2dc|a/b-c|/a/b-c", "a-b\\x2dc|a/b-c|/a/b-c"},
        {"%t %S %C %L %E %T %V %h %u %U", "/run /var/lib /var/cache /var/log /etc /tmp /var/tmp /root root 0",
         "/run /var/lib /var/cache /var/log /etc /tmp /var/tmp /root root 0"},
        {"100%% 5% %", "100% 5% %", "100%% 5%% %%"},
        {"%H", NULL, NULL},
        {"%z", NULL, NULL},
    };
    UnitNames n;
    assert_int_equal(unit_names("db@a-b\\x2dc.service", &n), 0);
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(freep) char *plain = NULL, *kept = NULL;
        int r = unit_specifiers(cases[i].text, &n, false, &plain, NULL);
        assert_int_equal(r, cases[i].plain ? 0 : -EINVAL);
        assert_int_equal(unit_specifiers(cases[i].text, &n, true, &kept, NULL), r);
        assert_true(str_equal(plain, cases[i].plain));
        assert_true(str_equal(kept, cases[i].kept));
    }
    unit_names_done(&n);
    assert_int_equal(unit_names("noname", &n), -EINVAL);
    assert_int_equal(unit_names("a/b.service", &n), -EINVAL);
    assert_int_equal(unit_names("@x.service", &n), -EINVAL);
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        const char *text, *time;
    } times[] = {
        {"0", "0s"},
        {"90", "1m 30s"},
        {"5min 20s", "5m 20s"},
        {"2.5s", "2s 500ms"},
        {"1h30m", "1h 30m"},
        {"2 weeks", "14d"},
        {"100ms", "100ms"},
        {"7us", "7us"},
        {"7 \xc2\xb5s", "7us"},
        {"infinity", "infinity"},
        {".5s", "500ms"},
        {"", NULL},
        {"x", NULL},
        {"5 parsecs", NULL},
        {"-1", NULL},
        {"99999999999999999999", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(times); i++) {
        uint64_t v = 0, again = 0;
        int r = unit_time(times[i].text, USEC_PER_SEC, &v);
        assert_int_equal(r, times[i].time ? 0 : -EINVAL);
        _cleanup_(freep) char *got = import_time(v);
        if (r == 0) {
            assert_string_equal(got, times[i].time);
            assert_int_equal(value_time(got, &again, NULL), 0); /* our own parser reads the same */
            assert_true(again == v);
        }
    }
    static const struct {
        const char *text, *size;
    } sizes[] = {
        {"0", "0B"},     {"1000", "1000B"},        {"4K", "4K"}, {"1.5G", "1536M"}, {"2T", "2T"},
        {"1P", "1024T"}, {"infinity", "infinity"}, {"", NULL},   {"5X", NULL},      {"1K 2K", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(sizes); i++) {
        uint64_t v = 0, again = 0;
        int r = unit_size(sizes[i].text, &v);
        assert_int_equal(r, sizes[i].size ? 0 : -EINVAL);
        _cleanup_(freep) char *got = import_size(v);
        if (r == 0) {
            assert_string_equal(got, sizes[i].size);
            assert_int_equal(value_size(got, &again, NULL), 0);
            assert_true(again == v);
        }
    }
    static const char *const yes[] = {"1", "yes", "Y", "true", "T", "on"}, *const no[] = {"0",     "no", "n",
                                                                                          "False", "f",  "OFF"};
    for (size_t i = 0; i < ELEMENTS(yes); i++) {
        assert_int_equal(unit_boolean(yes[i]), 1);
        assert_int_equal(unit_boolean(no[i]), 0);
    }
    assert_int_equal(unit_boolean("perhaps"), -EINVAL);
}

/* What is quoted by us, our own parser takes apart into the same words. */
static void test_quoting(void **state)
{
    (void)state;
    static const char *const hard[] = {"plain",       "",          "a b",   "it's",  "say \"x\"", "both ' and \"",
                                       "back\\slash", " edge ",    ";",     "a,b",   "#",         "'",
                                       "\\",          "tab\there", "100%%", "$$HOME"};
    for (size_t i = 0; i < ELEMENTS(hard); i++) {
        _cleanup_strbuf_ StrBuf line = STRBUF_NULL, list = STRBUF_NULL;
        _cleanup_strv_ char **words = NULL, **items = NULL;
        import_add_word(&line, "x");
        import_add_word(&line, hard[i]);
        import_add_item(&list, "x");
        import_add_item(&list, hard[i]);
        assert_int_equal(words_split(line.s, WORDS_BLANKS, &words, NULL), 0);
        assert_int_equal(words_split(list.s, WORDS_COMMAS, &items, NULL), 0);
        assert_int_equal(strv_length(words), 2);
        assert_int_equal(strv_length(items), 2);
        assert_string_equal(words[1], hard[i]);
        assert_string_equal(items[1], hard[i]);
    }
}

static void test_names(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"nginx", "nginx"},
                                           {"php8.2-fpm", "php8-2-fpm"},
                                           {"postgresql@15-main", "postgresql-15-main"},
                                           {"My_App", "my_app"},
                                           {"--x..", "x"},
                                           {"@", "x"},
                                           {"\xc3\xa4pp", "pp"}};
    for (size_t i = 0; i < ELEMENTS(names); i++) {
        _cleanup_(freep) char *got = import_name(names[i][0]);
        assert_string_equal(got, names[i][1]);
        assert_true(module_name_valid(got));
    }
}

static void parse_command(const char *line, ForeignCommands *c)
{
    UnitNames n;
    const FromLine from = {"f", 1, "ExecStart", line};
    assert_int_equal(unit_names("web@one.service", &n), 0);
    assert_int_equal(foreign_commands_parse(line, &n, &from, c, NULL), 0);
    unit_names_done(&n);
}

static void test_command_texts(void **state)
{
    (void)state;
    char *environment[] = {(char *)"A=1", (char *)"TWO=x 'y z'", (char *)"NONE=", (char *)"MAINPID=1", NULL};
    static const struct {
        const char *line, *text;
        bool told;
    } cases[] = {
        {"/bin/x a 'b c' %i 5%%", "/bin/x a 'b c' one 5%%", false},
        {"/bin/x ${A} p${A}q", "/bin/x ${A} p${A}q", false},
        {"/bin/x $TWO", "/bin/x x 'y z'", true},
        {"/bin/x $NONE $NOWHERE end", "/bin/x end", true},
        {"/bin/x ${NOWHERE}", "/bin/x ''", true},
        {"/bin/x $$A a$b $", "/bin/x $$A a$$b $$", false},
        {":/bin/x ${A} $$", "/bin/x $${A} $$$$", false},
        {"/bin/kill -HUP $MAINPID", "/bin/kill -HUP ${MAINPID}", true},
        {"-+/bin/x", "/bin/x", false},
        {"@/bin/x called a", "/bin/x a", true},
        {"sh -c true", "/usr/bin/sh -c true", false},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        ForeignCommands c = {0};
        _cleanup_(freep) char *why = NULL;
        parse_command(cases[i].line, &c);
        _cleanup_(freep) char *text = command_text(&c.items[0], environment, &why);
        assert_string_equal(text, cases[i].text);
        if (strstr(cases[i].line, "MAINPID") == NULL)
            assert_int_equal(why != NULL, cases[i].told);
        foreign_commands_done(&c);
    }
    ForeignCommands c = {0};
    parse_command("-/bin/a x ; +/bin/b ; /bin/c", &c);
    assert_int_equal(c.n, 3);
    assert_true(c.items[0].ignore_failure && c.items[1].privileged && !c.items[2].ignore_failure);
    foreign_commands_done(&c);
}

static void test_signals_of_commands(void **state)
{
    (void)state;
    static const struct {
        const char *line, *kill, *stop;
        uint64_t seconds;
    } cases[] = {
        {"/bin/kill -HUP $MAINPID", "HUP", "HUP", 0},
        {"/bin/kill -s SIGUSR2 ${MAINPID}", "USR2", "USR2", 0},
        {"/bin/kill --signal=INT -- $MAINPID", "INT", "INT", 0},
        {"/usr/bin/kill -15 $MAINPID", "TERM", "TERM", 0},
        {"kill $MAINPID", "TERM", "TERM", 0},
        {"/bin/kill -HUP 1", NULL, NULL, 0},
        {"/bin/kill -NONSENSE $MAINPID", NULL, NULL, 0},
        {"/bin/kill -HUP $MAINPID $OTHER", NULL, NULL, 0},
        {"/bin/killall web", NULL, NULL, 0},
        {"/usr/sbin/nginx -s quit", NULL, "QUIT", 0},
        {"/usr/sbin/nginx -s reload", NULL, NULL, 0},
        {"/sbin/start-stop-daemon --stop --retry QUIT/5 --pidfile /x", NULL, "QUIT", 5},
        {"/sbin/start-stop-daemon --stop --retry -INT/7/KILL/5", NULL, "INT", 7},
        {"/sbin/start-stop-daemon --stop --signal USR1 --exec /x", NULL, "USR1", 0},
        {"/sbin/start-stop-daemon --start --exec /x", NULL, NULL, 0},
        {"/usr/bin/pg_ctlcluster -m fast 15-main stop", NULL, "INT", 0},
        {"/bin/true", NULL, NULL, 0},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        ForeignCommands c = {0};
        uint64_t seconds = 99;
        parse_command(cases[i].line, &c);
        _cleanup_(freep) char *kill = command_kill_signal(&c.items[0]),
                              *stop = command_stop_signal(&c.items[0], &seconds);
        if (!str_equal(kill, cases[i].kill) || !str_equal(stop, cases[i].stop) || seconds != cases[i].seconds)
            fail_msg("%s: %s, %s", cases[i].line, str_or(kill, "-"), str_or(stop, "-"));
        foreign_commands_done(&c);
    }
}

static void test_programs_that_stay(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"/usr/sbin/nginx", "</usr/sbin/nginx><-g><daemon off;>"},
        {"/usr/sbin/nginx -g 'daemon on; x;'", "</usr/sbin/nginx><-g><daemon off; x;>"},
        {"/usr/sbin/nginx -g 'daemon off;'", "</usr/sbin/nginx><-g><daemon off;>"},
        {"/usr/bin/redis-server c --daemonize yes", "</usr/bin/redis-server><c><--daemonize><no>"},
        {"/usr/bin/redis-server", "</usr/bin/redis-server><--daemonize><no>"},
        {"/usr/bin/pg_ctlcluster 15-main start", "</usr/bin/pg_ctlcluster><--foreground><15-main><start>"},
        {"/usr/sbin/dnsmasq -x y", "</usr/sbin/dnsmasq><-x><y><--keep-in-foreground>"},
        {"/usr/bin/memcached -d -u x", "</usr/bin/memcached><-u><x>"},
        {"/usr/sbin/apachectl start", NULL},
        {"/opt/unknown --fork", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        ForeignCommands c = {0};
        parse_command(cases[i][0], &c);
        const char *told = command_stay(&c.items[0]);
        _cleanup_(freep) char *got = joined(c.items[0].argv);
        assert_int_equal(told != NULL, cases[i][1] != NULL);
        if (told)
            assert_string_equal(got, cases[i][1]);
        assert_non_null(command_stay_hint(&c.items[0]));
        foreign_commands_done(&c);
    }
}

static void test_supervisord_lines(void **state)
{
    (void)state;
    static const char text[] =
        "; c\n[program:web]\nCommand = /bin/x ;c\nenvironment=A=\"1;2\",\n  B=2 # c\nkey: value\nword\n[x] ; c\n";
    UnitEntries e = {0};
    supervisord_parse(text, "f", &e);
    _cleanup_strbuf_ StrBuf b = STRBUF_NULL;
    for (size_t i = 0; i < e.n; i++)
        strbuf_addf(&b, "%u %s.%s=<%s>\n", e.items[i].line, e.items[i].section, str_or(e.items[i].key, "-"),
                    e.items[i].value);
    assert_string_equal(b.s, "2 program:web.-=<[program:web]>\n3 program:web.command=</bin/x>\n"
                             "4 program:web.environment=<A=\"1;2\",\nB=2>\n6 program:web.key=<value>\n7 "
                             "program:web.-=<word>\n8 x.-=<[x]>\n");
    unitfile_done(&e);
    const Program p = {.name = "web", .group = "g", .here = "/etc", .count = "2"};
    _cleanup_(freep) char *text_of = NULL, *none = NULL;
    assert_int_equal(
        supervisord_expand(&p, "%(program_name)s-%(group_name)s %(here)s %(process_num)02d 5%%", &text_of, NULL), 0);
    assert_string_equal(text_of, "web-g /etc 0 5%");
    assert_int_equal(supervisord_expand(&p, "%(nonsense)s", &none, NULL), -EINVAL);
    assert_int_equal(supervisord_expand(&p, "%(here)x", &none, NULL), -EINVAL);
}

static void test_run_scripts(void **state)
{
    (void)state;
    static const struct {
        const char *text, *argv;
    } cases[] = {
        {"#!/bin/sh\nexec /bin/x a\n", "</bin/x><a>"},
        {"#!/bin/sh -e\n# c\nexec 2>&1\nset -e\ncd /srv\nexec chpst -u web -n 5 x 'a b' 2>&1\n", "<x><a b>"},
        {"#!/usr/bin/env bash\nA=b\nexec \\\n  x y\n", "<x><y>"},
        {"#!/bin/execlineb -P\nfdmove -c 2 1\ns6-setuidgid web\nx y\n", "<x><y>"},
        {"#!/bin/sh\nexec x $Y\n", NULL},
        {"#!/bin/sh\nx\nexec y\n", NULL},
        {"#!/bin/sh\nexec x\necho more\n", NULL},
        {"#!/bin/sh\ncd /srv\n", NULL},
        {"#!/bin/sh\nexec chpst -/ /root x\n", NULL},
        {"#!/bin/sh\nexec s6-notifyoncheck x\n", NULL},
        {"#!/bin/execlineb -P\nif { true } x\n", NULL},
        {"#!/usr/bin/python3\nexec x\n", NULL},
        {"\177ELF", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        RunScript r;
        runscript_read(cases[i].text, &r);
        _cleanup_(freep) char *got = joined(r.argv);
        if (r.plain != (cases[i].argv != NULL) || (r.plain && strcmp(got, cases[i].argv) != 0))
            fail_msg("%s: %s %s", cases[i].text, got, str_or(r.why, ""));
        assert_int_equal(r.why == NULL, r.plain);
        runscript_done(&r);
    }
    RunScript r;
    runscript_read("#!/bin/sh\ncd /srv\nexport A=b C='d e'\nexec chpst -u web:www -e ./env -o 10 -m 1000 -n 5 x\n", &r);
    assert_true(r.plain);
    assert_string_equal(r.user, "web:www");
    assert_string_equal(r.dir, "/srv");
    assert_string_equal(r.envdir, "./env");
    assert_string_equal(r.nice, "5");
    assert_int_equal(strv_length(r.environment), 2);
    assert_string_equal(r.environment[1], "C=d e");
    assert_int_equal(strv_length(r.limits), 8);
    assert_string_equal(r.limits[0], "limits.nofile");
    assert_string_equal(r.limits[3], "1000B");
    runscript_done(&r);
}

/* --- the tables --------------------------------------------------------------------------------------------------- */
/* A row that is dropped says why, and where that stands; one that is carried names a key as keys are named. */
static void check_row(const char *name, bool taken, const char *to, const char *why)
{
    const char *dot = to ? strchr(to, '.') : NULL;
    if (!taken && (!why || strlen(why) < 15 || !to || dot || !key_section_exists(to)))
        fail_msg("%s: dropped to [%s]: %s", name, str_or(to, ""), str_or(why, "no reason"));
    if (taken && to && (!dot || strspn(dot + 1, "abcdefghijklmnopqrstuvwxyz_") != strlen(dot + 1)))
        fail_msg("%s: carried to %s", name, to);
}

static void test_tables(void **state)
{
    (void)state;
    static const char *const sections[] = {"Unit", "Service", "Install", "Timer", "Socket"};
    for (size_t i = 0; i < unit_rows_n; i++) {
        const UnitRow *row = &unit_rows[i];
        bool known = false;
        for (size_t k = 0; k < ELEMENTS(sections); k++)
            known |= strcmp(sections[k], row->section) == 0;
        assert_true(known);
        check_row(row->name, row->take != NULL, row->to, row->why);
        assert_ptr_equal(unit_row(row->section, row->name), row); /* not twice */
    }
    for (size_t i = 0; i < program_rows_n; i++) {
        check_row(program_rows[i].name, program_rows[i].take != NULL, program_rows[i].to, program_rows[i].why);
        assert_ptr_equal(program_row(program_rows[i].name), &program_rows[i]);
    }
    for (size_t i = 0; i < service_files_n; i++) {
        check_row(service_files[i].name, service_files[i].take != NULL, service_files[i].to, service_files[i].why);
        assert_ptr_equal(service_file(service_files[i].name), &service_files[i]);
    }
    assert_null(unit_row("Service", "Nonsense"));
    assert_string_equal(unit_row_nearest("Service", "ExecStrat"), "ExecStart");
    assert_non_null(unit_row("Socket", "PrivateTmp")); /* of its commands */
}

static void read_fixture(const char *name, bool supervisord, UnitEntries *e)
{
    _cleanup_(freep) char *path = xasprintf("tests/data/import/%s", name), *text = NULL;
    size_t size = 0;
    if (file_read_all(AT_FDCWD, path, 1 << 20, &text, &size) < 0)
        fail_msg("%s is not there (run from the top of the source tree)", path);
    if (supervisord)
        supervisord_parse(text, "f", e);
    else
        unitfile_parse(text, size, "f", e);
}

static bool has(const UnitEntries *e, const char *section, const char *key)
{
    for (size_t i = 0; i < e->n; i++)
        if (str_equal(e->items[i].key, key) && (!section || strcmp(e->items[i].section, section) == 0))
            return true;
    return false;
}

/* So that the integration test, which imports them, has met each. */
static void test_every_row_is_in_the_fixtures(void **state)
{
    (void)state;
    UnitEntries units = {0}, programs = {0};
    read_fixture("everything.service", false, &units);
    read_fixture("every-timer.timer", false, &units);
    read_fixture("every-socket.socket", false, &units);
    read_fixture("supervisord.conf", true, &programs);
    for (size_t i = 0; i < unit_rows_n; i++)
        if (!has(&units, unit_rows[i].section, unit_rows[i].name))
            fail_msg("no line %s= below [%s]", unit_rows[i].name, unit_rows[i].section);
    for (size_t i = 0; i < program_rows_n; i++)
        if (!has(&programs, NULL, program_rows[i].name))
            fail_msg("no line %s=", program_rows[i].name);
    for (size_t i = 0; i < service_files_n; i++) {
        static const char *const dirs[] = {"plain", "script", "execline", "longrun", "setup"};
        bool found = false;
        for (size_t k = 0; k < ELEMENTS(dirs); k++) {
            _cleanup_(freep) char *path = xasprintf("tests/data/import/sv/%s/%s", dirs[k], service_files[i].name);
            found |= access(path, F_OK) == 0;
        }
        if (!found)
            fail_msg("no file %s", service_files[i].name);
    }
    unitfile_done(&units);
    unitfile_done(&programs);
}

static void test_sketches(void **state)
{
    (void)state;
    Notes notes = {0};
    Nss *nss = nss_new();
    Sketch *web = sketch_new("web", "here", &notes, nss), *db = sketch_new("db", "there", &notes, nss);
    Sketch *const both[] = {web, db};
    const FromLine from = {"f", 3, "Key", "a\nb"};
    assert_true(sketch_set(web, "module.exec", "/bin/x", &from, IMPORT_CARRIED, NULL));
    assert_true(sketch_set(web, "module.exec", "/bin/y", &from, IMPORT_CHANGED, "because"));
    assert_false(sketch_set(web, "module.exec", "x", &from, IMPORT_CARRIED, NULL));
    assert_false(sketch_set(web, "module.exec", "", &from, IMPORT_CARRIED, NULL));
    assert_false(sketch_set(web, "module.nonsense", "x", &from, IMPORT_CARRIED, NULL));
    assert_false(sketch_set(web, "module.description", "\033", &from, IMPORT_CARRIED, NULL));
    assert_true(sketch_set(web, "sandbox.user", "nobody-of-that-name", &from, IMPORT_CARRIED, NULL));
    sketch_bond(web, BOND_AFTER, "db", false, &from);
    sketch_bond(web, BOND_AFTER, "db", false, &from);
    sketch_bond(web, BOND_REQUIRES, "db", true, &from);
    sketch_bond(web, BOND_WANTS, "old", false, &from);
    sketch_bond(web, BOND_WANTS, "none", false, &from);
    sketch_bond(web, BOND_WANTS, "web", false, &from);
    char *known[] = {(char *)"old", NULL};
    sketches_bind(both, 2, known);
    assert_string_equal(sketch_get(web, "module.exec"), "/bin/y");
    assert_string_equal(sketch_get(web, "module.after"), "db");
    assert_string_equal(sketch_get(web, "module.wants"), "old");
    assert_string_equal(sketch_get(db, "module.requires"), "web");
    _cleanup_(freep) char *text = sketch_text(web);
    assert_non_null(strstr(text, "\n# f:3: Key=a\\x0ab: changed: because\nexec = /bin/y\n"));
    assert_non_null(strstr(text, "# f:3: Key=a\\x0ab: not carried over: this version has no module.nonsense\n"));
    size_t counts[IMPORT_STATUS_N] = {0};
    for (size_t i = 0; i < notes.n; i++)
        counts[notes.items[i].status]++;
    assert_int_equal(notes.n, 13);
    assert_int_equal(counts[IMPORT_DROPPED], 6);
    sketch_free(web);
    sketch_free(db);
    notes_done(&notes);
    nss_free(nss);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unit_lines),
        cmocka_unit_test(test_unit_words),
        cmocka_unit_test(test_specifiers),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_quoting),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_command_texts),
        cmocka_unit_test(test_signals_of_commands),
        cmocka_unit_test(test_programs_that_stay),
        cmocka_unit_test(test_supervisord_lines),
        cmocka_unit_test(test_run_scripts),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_sketches),
        cmocka_unit_test(test_every_row_is_in_the_fixtures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
