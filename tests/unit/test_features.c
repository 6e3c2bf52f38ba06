/* The table of features: every row is whole, and what is noted, forced, inferred and said follows from it. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/str.h"
#include "supervisor/features.h"

static void test_every_row_is_whole(void **state)
{
    (void)state;
    for (int i = 0; i < FEATURE_N; i++) {
        const FeatureRow *row = &feature_rows[i];
        assert_non_null(row->name);
        assert_true(*row->name && row->name[strspn(row->name, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0');
        assert_true(row->what && *row->what && row->cost && *row->cost && row->mend && *row->mend);
        assert_true(!row->instead || *row->instead);
        /* Above means before: one pass infers all. */
        assert_true((int)row->above <= i);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(row->name, feature_rows[k].name);
    }
}

/* The page has the table as it is here, row by row. */
static void test_the_page_is_the_table(void **state)
{
    (void)state;
    static const char *const required[] = {"always", "unless cgroups = optional", "unless bpf = optional", "no"};
    _cleanup_(freep) char *page = NULL;
    assert_int_equal(file_read_all(AT_FDCWD, "docs/features.md", 1u << 20, &page, NULL), 0);
    const char *at = page;
    for (int i = 0; i < FEATURE_N; i++) {
        const FeatureRow *row = &feature_rows[i];
        _cleanup_(freep) char *line =
            xasprintf("| `%s` | %s | %s | %s | %s | %s |\n", row->name, row->what, row->cost,
                      row->instead ? row->instead : "nothing", required[row->need], row->mend);
        const char *found = strstr(at, line);
        at = found ? found : at;
        if (!found)
            fail_msg("docs/features.md has not, in its place: %s", line);
    }
}

static void test_without(void **state)
{
    (void)state;
    Features f = {0};
    Error e = {0};
    assert_int_equal(features_without(&f, "clone3,btf, openat2", &e), 0);
    for (int i = 0; i < FEATURE_N; i++) {
        bool forced = i == FEATURE_CLONE3 || i == FEATURE_BTF || i == FEATURE_OPENAT2;
        assert_int_equal(f.of[i].forced, forced);
        assert_int_equal(feature_absent(&f, (FeatureId)i), forced);
    }
    feature_note(&f, FEATURE_CLONE3, true, NULL);
    assert_true(feature_absent(&f, FEATURE_CLONE3));
    assert_string_equal(f.of[FEATURE_CLONE3].why, "switched off by --without");
    assert_int_equal(features_without(&f, "", &e), 0);
    assert_int_equal(features_without(&f, "clone4", &e), -EINVAL);
    assert_non_null(strstr(e.msg, "no feature 'clone4' (did you mean clone3)"));
    assert_int_equal(features_without(&f, "xyzzyxyzzy", &e), -EINVAL);
    assert_non_null(strstr(e.msg, "--features lists them"));
}

static void test_unknown_is_not_absent(void **state)
{
    (void)state;
    Features f = {0};
    assert_false(feature_absent(&f, FEATURE_BTF));
    assert_false(features_suffice(&f));
    feature_note(&f, FEATURE_BTF, false, "gone");
    features_mark_unknown(&f, "nobody looked");
    assert_string_equal(f.of[FEATURE_BTF].why, "gone");
    assert_string_equal(f.of[FEATURE_PIDFD].why, "nobody looked");
    assert_int_equal(f.of[FEATURE_PIDFD].state, FEATURE_UNKNOWN);
}

static void test_what_is_below_goes_too(void **state)
{
    (void)state;
    Features f = {0};
    feature_note(&f, FEATURE_CGROUP_TREE, false, "read-only");
    feature_note(&f, FEATURE_BTF, true, NULL);
    features_infer(&f);
    assert_string_equal(f.of[FEATURE_CGROUP_MEMORY].why, "needs cgroup-tree");
    assert_string_equal(f.of[FEATURE_MEMORY_PEAK].why, "needs cgroup-memory");
    assert_true(feature_absent(&f, FEATURE_CGROUP_KILL));
    assert_false(feature_absent(&f, FEATURE_BPFFS));
    assert_string_equal(f.of[FEATURE_CGROUP_TREE].why, "read-only");
}

static void test_suffices(void **state)
{
    (void)state;
    Features f = {0};
    for (int i = 0; i < FEATURE_N; i++)
        feature_note(&f, (FeatureId)i, feature_rows[i].need != NEED_NOT, NULL);
    assert_true(features_suffice(&f));
    for (int i = 0; i < FEATURE_N; i++) {
        Features g = f;
        feature_note(&g, (FeatureId)i, false, NULL);
        assert_int_equal(features_suffice(&g), feature_rows[i].need == NEED_NOT);
    }
}

static void test_refusals_name_what_would_help(void **state)
{
    (void)state;
    for (int i = 0; i < FEATURE_N; i++) {
        Features f = {0};
        Error e = {0};
        feature_note(&f, (FeatureId)i, false, "sunspots");
        assert_int_equal(feature_refuse(&f, (FeatureId)i, &e), -ENOTSUP);
        assert_true(str_starts(e.msg, feature_rows[i].name));
        assert_non_null(strstr(e.msg, "sunspots"));
        assert_non_null(strstr(e.msg, feature_rows[i].mend));
        assert_int_equal(strstr(e.msg, "bpf = optional") != NULL, feature_rows[i].need == NEED_BPF);
        assert_int_equal(strstr(e.msg, "cgroups = optional") != NULL, feature_rows[i].need == NEED_CGROUPS);
    }
}

static void test_json(void **state)
{
    (void)state;
    Features f = {0};
    Error e = {0};
    assert_int_equal(features_without(&f, "btf", &e), 0);
    feature_note(&f, FEATURE_CGROUP_TREE, true, "cgroup2 alone");
    json_t *all = features_json(&f);
    assert_int_equal(json_array_size(all), FEATURE_N);
    for (int i = 0; i < FEATURE_N; i++) {
        const json_t *o = json_array_get(all, (size_t)i);
        assert_string_equal(json_string_value(json_object_get(o, "feature")), feature_rows[i].name);
        assert_string_equal(json_string_value(json_object_get(o, "cost")), feature_rows[i].cost);
        const json_t *here = json_object_get(o, "here");
        assert_true(i == FEATURE_CGROUP_TREE ? json_is_true(here)
                    : i == FEATURE_BTF       ? json_is_false(here)
                                             : json_is_null(here));
        assert_int_equal(json_is_true(json_object_get(o, "forced")), i == FEATURE_BTF);
    }
    assert_string_equal(json_string_value(json_object_get(json_array_get(all, 0), "why")), "cgroup2 alone");
    assert_string_equal(json_string_value(json_object_get(json_array_get(all, FEATURE_PIDFD), "required")), "always");
    json_decref(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_is_whole),
        cmocka_unit_test(test_the_page_is_the_table),
        cmocka_unit_test(test_without),
        cmocka_unit_test(test_unknown_is_not_absent),
        cmocka_unit_test(test_what_is_below_goes_too),
        cmocka_unit_test(test_suffices),
        cmocka_unit_test(test_refusals_name_what_would_help),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
