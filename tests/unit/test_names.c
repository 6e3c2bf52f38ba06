/* Words of a command to names of modules. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/str.h"
#include "tools/names.h"

static json_t *some(void)
{
    return json_loads("{\"modules\":[{\"name\":\"web\",\"group\":\"shop\"},{\"name\":\"web-2\",\"group\":null},"
                      "{\"name\":\"worker@1\",\"group\":\"shop\"},{\"name\":\"worker@2\",\"group\":\"shop\"},"
                      "{\"name\":\"worker@10\",\"group\":\"shop\"},{\"name\":\"x\",\"group\":\"lone\"}],"
                      "\"templates\":[{\"name\":\"empty\",\"instances\":0},{\"name\":\"worker\",\"instances\":3}]}",
                      0, NULL);
}

/* What the words, parted by blanks, mean: names parted by blanks, or the error. */
static char *meant(const char *text)
{
    json_t *names = some();
    char *copy = xstrdup(text), *rest = copy, *word, *answer;
    char **words = NULL, **list = NULL;
    Error e = {0};
    while ((word = strsep(&rest, " ")))
        strv_add(&words, word);
    int r = names_expand(names, words, strv_length(words), &list, &e);
    assert_true(r == 0 || r == -ENOENT);
    answer = r == 0 ? strv_join(list, " ") : xstrdup(error_message(&e));
    strv_free(words);
    strv_free(list);
    free(copy);
    json_decref(names);
    return answer;
}

static void test_expand(void **state)
{
    (void)state;
    static const struct {
        const char *words, *meant;
    } cases[] = {
        {"web", "web"},
        {"nobody", "nobody"}, /* the daemon says so, with the nearest name */
        {"worker@2", "worker@2"},
        {"worker@7", "worker@7"},
        {"worker", "worker@1 worker@2 worker@10"},
        {"worker@*", "worker@1 worker@2 worker@10"},
        {"worker@[12]", "worker@1 worker@2"},
        {"worker@?", "worker@1 worker@2"},
        {"w*", "web web-2 worker@1 worker@2 worker@10"},
        {"*", "web web-2 worker@1 worker@2 worker@10 x"},
        {"x worker@2 worker web x", "x worker@2 worker@1 worker@10 web"},
        {"shop:", "web worker@1 worker@2 worker@10"},
        {"shop:*", "web worker@1 worker@2 worker@10"},
        {"shop:w*r*", "worker@1 worker@2 worker@10"},
        {"lone:x", "x"},
        {"shop:x", "no module matches 'shop:x' (bulkhead status lists them)"},
        {"sho:", "no module matches 'sho:' (bulkhead status lists them)"},
        {"shopp:*", "no module matches 'shopp:*' (bulkhead status lists them)"},
        {":", "no module matches ':' (bulkhead status lists them)"},
        {"web q*", "no module matches 'q*' (bulkhead status lists them)"},
        {"empty", "empty has no instances now (bulkhead scale empty 1 makes one)"},
        {"empty@*", "no module matches 'empty@*' (bulkhead status lists them)"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_(freep) char *got = meant(cases[i].words);
        assert_string_equal(got, cases[i].meant);
    }
}

static void test_shorthands(void **state)
{
    (void)state;
    json_t *names = some();
    _cleanup_strv_ char **list = names_shorthands(names);
    _cleanup_(freep) char *joined = strv_join(list, " ");
    assert_string_equal(joined, "empty worker shop: lone:");
    json_decref(names);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_expand), cmocka_unit_test(test_shorthands)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
