/* `bulkhead drain`: asked for and waited for as all acts are; with --json, where each module stands then. */
#include <stdio.h>

#include "tools/client.h"
#include "tools/view.h"

/* {"module","state","gate","in_flight","holding"} of what explain knows. */
static json_t *standing(const json_t *x)
{
    static const char *const keys[] = {"module", "state", "gate", "in_flight", "holding"};
    json_t *out = json_object();
    for (size_t i = 0; i < ELEMENTS(keys); i++) {
        json_t *value = json_object_get(x, keys[i]);
        json_object_set_new(out, keys[i], value ? json_incref(value) : json_null());
    }
    return out;
}

static ToolStatus print_standing(const Args *a)
{
    _cleanup_client_ Client c = {0};
    _cleanup_strv_ char **names = NULL;
    _cleanup_json_ json_t *all = json_array();
    Args later = *a;
    later.timeout = USEC_INFINITY; /* what it was for is over */
    ToolStatus status = client_open(&later, &c);
    if (status == TOOL_DONE)
        status = client_expand(&c, a->words, a->n_words, &names);
    for (size_t i = 0; status == TOOL_DONE && names && names[i]; i++) {
        _cleanup_json_ json_t *x = NULL;
        status = client_call_json(&c, "Explain", names[i], &x);
        if (status == TOOL_DONE)
            json_array_append_new(all, standing(x));
    }
    if (status == TOOL_DONE) {
        json_dumpf(all, stdout, JSON_INDENT(2));
        putchar('\n');
    }
    return status;
}

ToolStatus verb_drain(const Args *a)
{
    ToolStatus status = verb_act(a), printed = TOOL_DONE;
    if (a->json && (status == TOOL_DONE || status == TOOL_FAILED || status == TOOL_TIMEOUT))
        printed = print_standing(a);
    return status != TOOL_DONE ? status : printed;
}
