#include "tools/member.h"

const char *member_string(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

uint64_t member_number(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? (uint64_t)json_integer_value(v) : UINT64_MAX;
}
