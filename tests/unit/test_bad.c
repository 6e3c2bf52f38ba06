/* Every configuration of tests/data: a bad one gives exactly its complaints, a good one none. Owner and modes, which
 * git does not keep, are set here. Run from the top of the source tree. */
#include "tests/unit/config_dir.h"

#include <grp.h>
#include <stdlib.h>

enum { BAD_MINIMUM = 60 };

static int names_compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **names_in(const char *path)
{
    char **names = NULL;
    DIR *d = opendir(path);
    if (!d) {
        fail_msg("%s: %s (run from the top of the source tree)", path, strerror(errno));
        return NULL;
    }
    for (struct dirent *e; (e = readdir(d));)
        if (e->d_name[0] != '.')
            strv_add(&names, e->d_name);
    closedir(d);
    if (names)
        qsort(names, strv_length(names), sizeof *names, names_compare);
    return names;
}

static void test_every_bad_one(void **state)
{
    (void)state;
    _cleanup_strv_ char **names = names_in("tests/data/bad");
    assert_true(strv_length(names) >= BAD_MINIMUM);
    unsigned wrong = 0;
    STRV_FOREACH (name, names) {
        _cleanup_(freep) char *source = xasprintf("tests/data/bad/%s", *name);
        _cleanup_(freep) char *expected_path = xasprintf("%s/expected", source);
        _cleanup_(freep) char *expected = NULL, *text = NULL;
        assert_int_equal(file_read_all(AT_FDCWD, expected_path, 1 << 20, &expected, NULL), 0);
        char *dir = config_new();
        config_copy(source, dir, "");
        Policy *p = config_load(dir, &text);
        if (!str_equal(text, expected)) {
            print_error("%s: expected\n%sbut got\n%s", *name, expected, text ? text : "nothing\n");
            wrong++;
        }
        policy_free(p);
        config_free(dir);
    }
    assert_int_equal(wrong, 0);
}

static void test_every_good_one(void **state)
{
    (void)state;
    _cleanup_strv_ char **names = names_in("tests/data/good");
    assert_true(strv_length(names) >= 5);
    STRV_FOREACH (name, names) {
        _cleanup_(freep) char *source = xasprintf("tests/data/good/%s", *name);
        char *dir = config_new();
        config_copy(source, dir, "");
        policy_free(config_load_good(dir));
        config_free(dir);
    }
}

static void set_mode(const char *dir, const char *name, mode_t mode)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", dir, name);
    assert_int_equal(chmod(path, mode), 0);
}

static void set_owner(const char *dir, const char *name, uid_t uid, gid_t gid)
{
    _cleanup_(freep) char *path = xasprintf("%s/%s", dir, name);
    assert_int_equal(chown(path, uid, gid), 0);
}

static char *trusted(void)
{
    char *dir = config_with_web("");
    config_write(dir, "bulkhead.ini", "[supervisor]\n");
    config_write(dir, "modules.d/web.ini.d/10.ini", "[limits]\npids_max = 5\n");
    return dir;
}

static void test_writable_by_others(void **state)
{
    (void)state;
    char *dir = trusted();
    set_mode(dir, "bulkhead.ini", 0646);
    set_mode(dir, "modules.d/web.ini.d/10.ini", 0666);
    config_load_bad(dir, "bulkhead.ini: writable by everyone (chmod o-w)\n"
                         "modules.d/web.ini.d/10.ini: writable by everyone (chmod o-w)\n");
    set_mode(dir, "bulkhead.ini", 0644);
    set_mode(dir, "modules.d/web.ini.d/10.ini", 0644);
    policy_free(config_load_good(dir));

    set_mode(dir, "modules.d/web.ini.d", 0777);
    config_load_bad(dir, "modules.d/web.ini.d: writable by everyone (chmod o-w)\n");
    set_mode(dir, "modules.d/web.ini.d", 0755);
    set_mode(dir, "modules.d", 01777);
    config_load_bad(dir, "modules.d: writable by everyone (chmod o-w)\n");
    set_mode(dir, "modules.d", 0755);
    set_mode(dir, "", 0757);
    config_load_bad(dir, ".: writable by everyone (chmod o-w)\n");
    config_free(dir);
}

static void test_other_owner_and_group(void **state)
{
    (void)state;
    if (geteuid() != 0) {
        print_message("not root: cannot give files away\n");
        assert_null(getenv("MUST_WORK"));
        skip();
    }
    char *dir = trusted();
    set_owner(dir, "modules.d/web.ini", 12345, 0);
    config_load_bad(dir, "modules.d/web.ini: owned by uid 12345 (chown it to root)\n");
    set_owner(dir, "modules.d/web.ini", 0, 12345);
    policy_free(config_load_good(dir));
    set_mode(dir, "modules.d/web.ini", 0664);
    config_load_bad(dir, "modules.d/web.ini: writable by the group with gid 12345 (chmod g-w)\n");
    set_owner(dir, "modules.d/web.ini", 0, 0);
    policy_free(config_load_good(dir));
    set_owner(dir, "modules.d", 12345, 0);
    config_load_bad(dir, "modules.d: owned by uid 12345 (chown it to root)\n");
    config_free(dir);
}

static void test_unreadable(void **state)
{
    (void)state;
    char *dir = trusted();
    set_mode(dir, "modules.d/web.ini", 0000);
    bool root = geteuid() == 0;
    if (root)
        assert_int_equal(seteuid(65534), 0); /* root reads everything */
    _cleanup_(freep) char *text = NULL;
    Policy *p = config_load(dir, &text);
    if (root)
        assert_int_equal(seteuid(0), 0);
    assert_null(p);
    assert_string_equal(text, "modules.d/web.ini: cannot be read: Permission denied\n");
    config_free(dir);
}

static void test_not_regular(void **state)
{
    (void)state;
    char *dir = trusted();
    _cleanup_(freep) char *fifo = xasprintf("%s/modules.d/pipe.ini", dir);
    _cleanup_(freep) char *device = xasprintf("%s/modules.d/zero.ini", dir);
    assert_int_equal(mkfifo(fifo, 0644), 0);
    assert_int_equal(symlink("/dev/zero", device), 0);
    config_load_bad(dir, "modules.d/pipe.ini: not a regular file\nmodules.d/zero.ini: not a regular file\n");
    config_free(dir);
}

static void test_no_directory(void **state)
{
    (void)state;
    config_load_bad("/nonexistent/bulkhead",
                    ".: no such directory (make it: mkdir -p modules.d; then bulkhead init)\n");
    config_load_bad("/etc/passwd", ".: not a directory\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_bad_one),      cmocka_unit_test(test_every_good_one),
        cmocka_unit_test(test_writable_by_others), cmocka_unit_test(test_other_owner_and_group),
        cmocka_unit_test(test_unreadable),         cmocka_unit_test(test_not_regular),
        cmocka_unit_test(test_no_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
