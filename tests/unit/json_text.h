/* JSON as it stands in a test; a mistake in it fails the test that wrote it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>

static inline json_t *json(const char *text)
{
    json_error_t e;
    json_t *j = json_loads(text, 0, &e);
    if (!j)
        fail_msg("%d:%d: %s", e.line, e.column, e.text);
    return j;
}
