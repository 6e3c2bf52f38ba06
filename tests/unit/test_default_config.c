/* policies/bulkhead.ini, which the package puts into /etc: it says what the key table says, no more and no less.
 *
 * In it "; text" is prose and ";key = value" a setting that is commented out. */
#include "tests/unit/config_dir.h"

#include "policies/keys.h"

static char *shipped(void)
{
    _cleanup_fd_ int fd = open("policies/bulkhead.ini", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    char *text = xcalloc(1, 1 << 16);
    ssize_t n = read(fd, text, (1 << 16) - 1);
    assert_in_range(n, 1, (1 << 16) - 2);
    return text;
}

static bool is_setting(const char *line)
{
    return line[0] == ';' && line[1] >= 'a' && line[1] <= 'z';
}

/* The file with every setting taken in; those of [defaults] only where asked for. */
static char *uncommented(bool defaults)
{
    _cleanup_(freep) char *text = shipped();
    char *out = xcalloc(1, strlen(text) + 2), *end = out, *rest = text;
    bool here = true;
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (strcmp(line, "[defaults]") == 0)
            here = defaults;
        end += sprintf(end, "%s%s", is_setting(line) && here ? line + 1 : line, rest ? "\n" : "");
    }
    return out;
}

static Policy *policy_of(const char *text)
{
    char *dir = config_new();
    config_write(dir, "bulkhead.ini", text);
    config_write(dir, "modules.d/web.ini", "[module]\nexec = /bin/true\n[sandbox]\nuser = root\n");
    Policy *p = config_load_good(dir);
    config_free(dir);
    return p;
}

/* Each key, its default and above it its text, in the table's order. */
static void test_names_every_key(void **state)
{
    (void)state;
    _cleanup_(freep) char *text = shipped();
    const char *at = strstr(text, "\n[supervisor]\n");
    assert_non_null(at);
    for (const Key *k = keys; k < keys + keys_n; k++) {
        if (!key_is_supervisor(k))
            continue;
        _cleanup_(freep) char *entry =
            xasprintf("\n; %s\n;%s =%s%s\n", k->doc, k->name, *k->fallback ? " " : "", k->fallback);
        const char *found = strstr(at, entry);
        if (!found)
            fail_msg("policies/bulkhead.ini: expected, after the key before it:%s", entry);
        else
            at = found;
    }
}

/* And nothing else is there. */
static void test_names_no_other(void **state)
{
    (void)state;
    _cleanup_(freep) char *text = shipped();
    char *defaults = strstr(text, "\n[defaults]\n"), *rest = text;
    assert_non_null(defaults);
    *defaults = '\0';
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (!is_setting(line))
            continue;
        char *name = line + 1;
        name[strcspn(name, " =")] = '\0';
        if (!key_find("supervisor", name))
            fail_msg("policies/bulkhead.ini: %s is no key of [supervisor]", name);
    }
}

/* As shipped it sets nothing, and every key of [supervisor] can be taken in as it stands. */
static void test_sets_nothing(void **state)
{
    (void)state;
    _cleanup_(freep) char *text = shipped(), *taken = uncommented(false);
    policy_free(policy_of(text));
    policy_free(policy_of(taken));
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));)
        if (*line && *line != ';' && *line != '[')
            fail_msg("policies/bulkhead.ini: '%s' is not commented out", line);
}

/* What it offers for [defaults] is taken. */
static void test_its_defaults_are_taken(void **state)
{
    (void)state;
    _cleanup_(freep) char *text = uncommented(true);
    Policy *p = policy_of(text);
    assert_int_equal(p->modules[0]->limits.pids_max, 512);
    policy_free(p);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_every_key),
        cmocka_unit_test(test_names_no_other),
        cmocka_unit_test(test_sets_nothing),
        cmocka_unit_test(test_its_defaults_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
