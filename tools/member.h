/* Members of the daemon's JSON, forgiving: NULL or UINT64_MAX when absent, null or of another type. */
#pragma once

#include <jansson.h>
#include <stdint.h>

const char *member_string(const json_t *o, const char *key);
uint64_t member_number(const json_t *o, const char *key);
