/* `bulkhead init`: that every file it can make is one that the policies take and says what it should; the guesses, on a
 * host that exists here only. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "policies/keys.h"
#include "policies/words.h"
#include "tests/unit/config_dir.h"
#include "tools/init.h"

/* --- a host ------------------------------------------------------------------------------------------------------- */
static const char *host_conf; /* what any file holds; NULL = none can be read */

static bool no_user(const char *name)
{
    (void)name;
    return false;
}
static bool any_user(const char *name)
{
    return !str_equal(name, "stranger");
}
static char *owner(const char *path)
{
    return str_starts(path, "/srv/") ? xstrdup("www-data") : NULL;
}
static char *text(const char *path)
{
    (void)path;
    return host_conf ? xstrdup(host_conf) : NULL;
}
static char *match(const char *pattern)
{
    static const char *const known[][2] = {
        {"/var/lib/postgresql/*/main", "/var/lib/postgresql/15/main"},
        {"/lib/systemd/system/php*-fpm.service", "/lib/systemd/system/php8.2-fpm.service"},
    };
    for (size_t i = 0; i < ELEMENTS(known); i++)
        if (str_equal(pattern, known[i][0]))
            return xstrdup(known[i][1]);
    return NULL;
}
static bool exists(const char *path)
{
    return str_equal(path, "server.js");
}

static const InitWorld full = {any_user, owner, text, match, exists, "/srv/app"};
static const InitWorld bare = {no_user, owner, text, match, exists, "/"};

/* Of a command line split as `exec` is. */
static int guess(const InitWorld *w, const char *path, const char *line, const char *name, const char *user, Init *ret,
                 Error *e)
{
    _cleanup_strv_ char **argv = NULL;
    assert_int_equal(words_split(line, WORDS_BLANKS, &argv, NULL), 0);
    *e = (Error){0};
    return init_guess(w, path, argv, name, user, ret, e);
}

/* --- words and names ---------------------------------------------------------------------------------------------- */
/* Whatever the word, `exec` gives it back. */
static void test_quote_is_undone_by_the_reader(void **state)
{
    (void)state;
    static const char *const words[] = {"",
                                        "plain",
                                        "/a/b-c_d.e:1,2=3@x+y",
                                        "daemon off;",
                                        "it's",
                                        "\"",
                                        "\\",
                                        "a\\b c",
                                        "'\"\\ ",
                                        "%n",
                                        "100%",
                                        "$HOME",
                                        "${HOME}",
                                        "a$",
                                        "%%",
                                        "$$",
                                        ";",
                                        "#",
                                        " ",
                                        "\t",
                                        "\303\244",
                                        "a'b\"c\\d%e$f"};
    for (size_t i = 0; i < ELEMENTS(words); i++) {
        _cleanup_(freep) char *quoted = init_quote(words[i]), *back = NULL;
        _cleanup_strv_ char **split = NULL;
        assert_int_equal(words_split(quoted, WORDS_BLANKS, &split, NULL), 0);
        assert_int_equal(strv_length(split), 1);
        assert_int_equal(words_expand(split[0], "web", true, NULL, &back, NULL), 0);
        assert_string_equal(back, words[i]);
    }
    _cleanup_(freep) char *plain = init_quote("/usr/sbin/nginx"), *single = init_quote("daemon off;");
    assert_string_equal(plain, "/usr/sbin/nginx");
    assert_string_equal(single, "'daemon off;'");
}

static void test_names(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"nginx", "nginx"},
        {"php-fpm8.2", "php-fpm8-2"},
        {"My Server", "my-server"},
        {"_x", "x"},
        {"-x-", "x"},
        {"a..b", "a-b"},
        {"UPPER", "upper"},
        {"...", NULL},
        {"", NULL},
        {"\303\244", NULL},
        {"a\303\244b", "a-b"},
        {"http.server", "http-server"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(freep) char *name = init_name(cases[i][0]);
        assert_true(str_equal(name, cases[i][1]));
    }
    char longest[200];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    _cleanup_(freep) char *cut = init_name(longest);
    assert_int_equal(strlen(cut), MODULE_NAME_MAX);
}

/* --- guesses ------------------------------------------------------------------------------------------------------ */
static void test_guesses(void **state)
{
    (void)state;
    static const struct {
        const char *path, *line, *conf;
        const char *name, *exec, *user, *ready;
        size_t notes;
    } cases[] = {
        {"/usr/sbin/nginx", "nginx", NULL, "nginx", "/usr/sbin/nginx -g 'daemon off;'", "root", "tcp:80", 1},
        {"/usr/sbin/nginx", "nginx -g 'daemon off;'", NULL, "nginx", "/usr/sbin/nginx -g 'daemon off;'", "root",
         "tcp:80", 0},
        {"/usr/sbin/nginx", "nginx -g 'pid /p;'", NULL, "nginx", "/usr/sbin/nginx -g 'pid /p; daemon off;'", "root",
         "tcp:80", 1},
        {"/usr/sbin/nginx", "nginx -g 'daemon on;'", NULL, "nginx", "/usr/sbin/nginx -g 'daemon off;'", "root",
         "tcp:80", 1},
        {"/usr/sbin/nginx", "nginx -c /n.conf", "daemon off;\nlisten 8080;\n", "nginx", "/usr/sbin/nginx -c /n.conf",
         "root", "tcp:80", 0},
        {"/usr/sbin/nginx", "nginx -c /n.conf", "http {\n  listen 127.0.0.1:8080;\n listen 9; }\n", "nginx",
         "/usr/sbin/nginx -c /n.conf -g 'daemon off;'", "root", "tcp:8080", 1},
        {"/usr/bin/redis-server", "redis-server", NULL, "redis-server",
         "/usr/bin/redis-server --daemonize no --supervised systemd --logfile ''", "redis", "notify", 3},
        {"/usr/bin/redis-server", "redis-server /r.conf --daemonize yes --logfile /l", NULL, "redis-server",
         "/usr/bin/redis-server /r.conf --daemonize no --logfile /l --supervised systemd", "redis", "notify", 2},
        {"/usr/lib/postgresql/15/bin/postgres", "postgres", NULL, "postgres",
         "/usr/lib/postgresql/15/bin/postgres -D /var/lib/postgresql/15/main -c "
         "config_file=/etc/postgresql/15/main/postgresql.conf",
         "postgres", "notify", 1},
        {"/usr/lib/postgresql/15/bin/postgres", "postgres -D /d", NULL, "postgres",
         "/usr/lib/postgresql/15/bin/postgres -D /d", "postgres", "notify", 0},
        {"/usr/sbin/mosquitto", "mosquitto -d -c /m.conf", NULL, "mosquitto", "/usr/sbin/mosquitto -c /m.conf",
         "mosquitto", "notify", 1},
        {"/usr/sbin/haproxy", "haproxy -D", NULL, "haproxy", "/usr/sbin/haproxy -f /etc/haproxy/haproxy.cfg -Ws",
         "root", "notify", 3},
        {"/usr/sbin/haproxy", "haproxy -W -f /h", NULL, "haproxy", "/usr/sbin/haproxy -f /h -Ws", "root", "notify", 2},
        {"/usr/sbin/haproxy", "haproxy -Ws -f /h", NULL, "haproxy", "/usr/sbin/haproxy -Ws -f /h", "root", "notify", 0},
        {"/usr/sbin/php-fpm8.2", "php-fpm", NULL, "php-fpm", "/usr/sbin/php-fpm8.2 --nodaemonize", "root", "notify", 1},
        {"/usr/sbin/php-fpm8.2", "php-fpm8.2 -F", NULL, "php-fpm8-2", "/usr/sbin/php-fpm8.2 -F", "root", "notify", 0},
        {"/usr/bin/node", "node /srv/app/server.js --port=3000", NULL, "server",
         "/usr/bin/node /srv/app/server.js --port=3000", "www-data", "tcp:3000", 0},
        {"/usr/bin/node", "node server.js", NULL, "server", "/usr/bin/node server.js", "server", "exec", 0},
        {"/usr/bin/python3", "python3 -m http.server", NULL, "http-server", "/usr/bin/python3 -m http.server",
         "http-server", "tcp:8000", 0},
        {"/usr/bin/python3", "python3 -m http.server --directory 7 9000", NULL, "http-server",
         "/usr/bin/python3 -m http.server --directory 7 9000", "http-server", "tcp:9000", 0},
        {"/usr/bin/gunicorn", "gunicorn -D -b 127.0.0.1:8001 app:app", NULL, "gunicorn",
         "/usr/bin/gunicorn -b 127.0.0.1:8001 app:app", "gunicorn", "notify", 1},
        {"/usr/bin/uvicorn", "uvicorn app:app", NULL, "uvicorn", "/usr/bin/uvicorn app:app", "uvicorn", "tcp:8000", 0},
        {"/usr/bin/uvicorn", "uvicorn --port 81 app:app", NULL, "uvicorn", "/usr/bin/uvicorn --port 81 app:app",
         "uvicorn", "tcp:81", 0},
        {"/srv/bin/mine.sh", "./mine.sh -l 99999", NULL, "mine", "/srv/bin/mine.sh -l 99999", "www-data", "exec", 0},
        {"/usr/bin/thing", "thing --listen [::1]:77", NULL, "thing", "/usr/bin/thing --listen '[::1]:77'", "thing",
         "tcp:77", 0},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        Init init;
        Error e;
        host_conf = cases[i].conf;
        assert_int_equal(guess(&full, cases[i].path, cases[i].line, NULL, NULL, &init, &e), 0);
        _cleanup_(freep) char *ini = init_text(&init), *exec = xasprintf("\nexec = %s\n", cases[i].exec);
        if (!strstr(ini, exec) || !str_equal(init.name, cases[i].name) || !str_equal(init.user, cases[i].user) ||
            !str_equal(init.ready, cases[i].ready) || strv_length(init.line.notes) != cases[i].notes)
            fail_msg("%s: name %s, user %s, ready %s, %zu notes\n%s", cases[i].line, init.name, init.user, init.ready,
                     strv_length(init.line.notes), ini);
        init_done(&init);
    }
}

static void test_what_is_given_wins(void **state)
{
    (void)state;
    Init i;
    Error e;
    host_conf = NULL;
    assert_int_equal(guess(&full, "/usr/sbin/nginx", "nginx", "front", "bob", &i, &e), 0);
    assert_string_equal(i.name, "front");
    assert_string_equal(i.user, "bob");
    _cleanup_(freep) char *ini = init_text(&i);
    assert_non_null(strstr(ini, "\nuser = bob\n"));
    assert_non_null(strstr(ini, "\ncapabilities = net_bind_service\n")); /* port 80, and no root */
    init_done(&i);

    assert_int_equal(guess(&bare, "/usr/bin/redis-server", "redis-server", NULL, NULL, &i, &e), 0);
    assert_string_equal(i.user, "nobody"); /* the package's user is not there */
    assert_non_null(strstr(i.user_why, "adduser --system --group redis-server"));
    init_done(&i);

    assert_int_equal(guess(&full, "/usr/bin/node", "node server.js", NULL, NULL, &i, &e), 0);
    assert_string_equal(i.working_dir, "/srv/app");
    assert_string_equal(i.working_dir_why, "Where the command was typed: server.js is there");
    init_done(&i);
    assert_int_equal(guess(&bare, "/usr/bin/node", "node server.js", NULL, NULL, &i, &e), 0);
    assert_null(i.working_dir); /* / is where it is anyway */
    init_done(&i);

    assert_int_equal(guess(&full, "/usr/sbin/php-fpm8.2", "php-fpm", NULL, NULL, &i, &e), 0);
    assert_string_equal(i.unit, "php8.2-fpm.service");
    _cleanup_(freep) char *php = init_text(&i);
    assert_non_null(strstr(php, "systemctl disable --now php8.2-fpm\n"));
    init_done(&i);
}

static void test_mistakes(void **state)
{
    (void)state;
    Init i = {0};
    Error e;
    assert_int_equal(guess(&full, "/usr/bin/x", "x 'a\nb'", NULL, NULL, &i, &e), -EINVAL);
    assert_string_equal(e.msg,
                        "word 2 of the command line holds a line break, which no ini file can: put it into a script");
    assert_int_equal(guess(&full, "/usr/bin/x", "", NULL, NULL, &i, &e), -EINVAL);
    assert_string_equal(e.msg, "no program is given");
    assert_int_equal(guess(&full, "/usr/bin/x", "x", "Web", NULL, &i, &e), -EINVAL);
    assert_string_equal(e.msg, "'Web' is no module's name (a-z, 0-9, '_' and '-', at most 63 of them)");
    assert_int_equal(guess(&full, "/usr/bin/[", "[", NULL, NULL, &i, &e), -EINVAL);
    assert_string_equal(e.msg, "no module's name can be made of '[': give one (bulkhead init NAME -- PROGRAM)");
}

/* --- the files ---------------------------------------------------------------------------------------------------- */
static void expect_passes(const Init *i)
{
    char *dir = config_new();
    _cleanup_(freep) char *ini = init_text(i), *name = xasprintf("modules.d/%s.ini", i->name), *shared = NULL;
    config_write(dir, name, ini);
    assert_int_equal(policy_shared_dir(&shared), 0);
    Policy *p = NULL;
    _cleanup_complaints_ Complaints c = {0};
    if (policy_load(dir, shared, &p, &c) < 0)
        fail_msg("%s: %s\n%s", c.items[0].key, c.items[0].message, ini);
    const ModulePolicy *m = policy_find(p, i->name);
    assert_int_equal(strv_length(m->exec), strv_length(i->line.argv));
    for (size_t k = 0; i->line.argv[k]; k++)
        assert_string_equal(m->exec[k], i->line.argv[k]);
    policy_freep(&p);
    config_free(dir);
}

/* Every row, on a host that has nothing and as root and as another: each file passes. Commented keys exist, too. */
static void test_every_file_passes(void **state)
{
    (void)state;
    static const char *const users[] = {"root", "nobody", NULL};
    host_conf = NULL;
    for (size_t k = 0; k < known_programs_n; k++) {
        const char *names = known_programs[k].names ? known_programs[k].names : "unknown";
        _cleanup_(freep) char *first = xstrndup(names, strcspn(names, " ")), *path = xasprintf("/usr/bin/%s", first);
        assert_ptr_equal(known_program(path), &known_programs[k]);
        for (size_t u = 0; u < ELEMENTS(users); u++) {
            _cleanup_(freep) char *line = xasprintf("%s 'a b' 100%% $x \"it's\" --port 8080", first);
            Init i;
            Error e;
            assert_int_equal(guess(&bare, path, line, "m", users[u], &i, &e), 0);
            expect_passes(&i);
            _cleanup_(freep) char *ini = init_text(&i);
            char section[32] = "";
            for (const char *p = ini; *p; p += strcspn(p, "\n") + 1) {
                char name[64];
                (void)sscanf(p, "[%31[a-z]]", section);
                if (sscanf(p, ";%63[a-z_] = ", name) == 1 && !key_find(section, name))
                    fail_msg("%s: there is no %s.%s", first, section, name);
            }
            init_done(&i);
        }
    }
    assert_ptr_equal(known_program("/usr/bin/nginx-debug"), &known_programs[known_programs_n - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quote_is_undone_by_the_reader),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_guesses),
        cmocka_unit_test(test_what_is_given_wins),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_every_file_passes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
