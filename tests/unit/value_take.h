/* One value for one key, as the reader would hand it over: for tests of what keys take and refuse. `nss` is the test's
 * to open and close. */
#pragma once

#include "tests/unit/config_dir.h"

#include "policies/keys.h"
#include "policies/nss.h"
#include "policies/policy.h"
#include "policies/values.h"

static Nss *nss;

/* Parses `value` for the key into a zeroed module; true when it was taken. The module is the caller's to value_done().
 */
static bool take(const char *dotted, const char *value, ModulePolicy *m)
{
    static char *const environment[] = {"PORT=80", "EMPTY=", "SPACED=a b", "NEST=${PORT}", NULL};
    const Key *k = key_find_dotted(dotted);
    assert_non_null(k);
    const ValueContext x = {.module = "web", .environment = environment, .nss = nss};
    Error e = {0};
    *m = (ModulePolicy){0};
    int r = value_parse(k, value, &x, m, &e);
    assert_true(r == 0 || (r == -EINVAL && e.msg[0]));
    static const ModulePolicy untouched;
    if (r < 0)
        assert_memory_equal(m, &untouched, sizeof untouched);
    return r == 0;
}

static void refuse(const char *dotted, const char *const *values, size_t n)
{
    ModulePolicy m;
    for (size_t i = 0; i < n; i++)
        if (take(dotted, values[i], &m))
            fail_msg("%s = %s was taken", dotted, values[i]);
}
#define REFUSE(dotted, ...) \
    refuse(dotted, (const char *const[]){__VA_ARGS__}, ELEMENTS(((const char *const[]){__VA_ARGS__})))
