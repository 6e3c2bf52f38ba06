/* The roster's pure part: who stays, who comes, who goes, when one policy takes another one's place. */
#include "tests/unit/plan_world.h"

#include "supervisor/roster.h"

/* "a b" to "b c": where each of the new names comes from, -1 = nowhere, and "+" for each old one that stays. */
static char *match(const char *from, const char *to)
{
    _cleanup_world_ World old = {0}, new = {0};
    _cleanup_strv_ char **a = world_words(from), **b = world_words(to);
    STRV_FOREACH (name, a)
        world_add(&old, *name, NULL, NULL, NULL);
    STRV_FOREACH (name, b)
        world_add(&new, *name, NULL, NULL, NULL);
    world_sort(&old);
    world_sort(&new);
    size_t places[16] = {0};
    bool goes[16] = {0};
    roster_match(&old.policy, &new.policy, places, goes);
    StrBuf text = STRBUF_NULL;
    for (size_t i = 0; i < new.policy.n_modules; i++)
        strbuf_addf(&text, "%zd ", (ssize_t)places[i]);
    strbuf_addc(&text, '|');
    for (size_t i = 0; i < old.policy.n_modules; i++)
        strbuf_adds(&text, goes[i] ? " -" : " +");
    return strbuf_take(&text);
}

static void test_match(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *text;
    } cases[] = {
        {"", "", "|"},
        {"", "a b", "-1 -1 |"},
        {"a b", "", "| - -"},
        {"a b c", "a b c", "0 1 2 | + + +"},
        {"a b c", "b", "1 | - + -"},
        {"b", "a b c", "-1 0 -1 | +"},
        {"a c e", "b d f", "-1 -1 -1 | - - -"},
        /* Instances by number: in the order of bytes w@10 would stand before w@2 and the walk go astray. */
        {"w@1 w@2 w@10 x", "w@1 w@2 w@3 w@10 w@11 w-a", "0 1 -1 2 -1 -1 | + + + -"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(freep) char *text = match(cases[i].from, cases[i].to);
        assert_string_equal(text, cases[i].text);
    }
}

/* Against looking each name up. */
static void test_match_any(void **state)
{
    (void)state;
    uint64_t seed = 20241121;
    for (unsigned round = 0; round < 500; round++) {
        _cleanup_world_ World old = {0}, new = {0};
        for (unsigned k = 1; k <= 12; k++) {
            _cleanup_(freep) char *name = xasprintf("%s@%u", k % 3 ? "w" : "v", k);
            if (random_below(&seed, 2))
                world_add(&old, name, NULL, NULL, NULL);
            if (random_below(&seed, 2))
                world_add(&new, name, NULL, NULL, NULL);
        }
        world_sort(&old);
        world_sort(&new);
        size_t places[12] = {0};
        bool goes[12] = {0};
        roster_match(&old.policy, &new.policy, places, goes);
        for (size_t i = 0; i < new.policy.n_modules; i++) {
            const ModulePolicy *m = policy_find(&old.policy, new.policy.modules[i]->name);
            assert_true(m ? places[i] < old.policy.n_modules && old.policy.modules[places[i]] == m
                          : places[i] == SIZE_MAX);
        }
        for (size_t k = 0; k < old.policy.n_modules; k++)
            assert_int_equal(goes[k], !policy_find(&new.policy, old.policy.modules[k]->name));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_match), cmocka_unit_test(test_match_any)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
