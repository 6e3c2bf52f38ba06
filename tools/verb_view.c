/* `bulkhead status`, `bulkhead timers` and `bulkhead explain`: ask once, show. */
#include <stdio.h>

#include "base/str.h"
#include "tools/client.h"
#include "tools/term.h"
#include "tools/view.h"

static View view_now(void)
{
    return (View){.width = term()->width, .colours = term()->colours, .now = now_realtime()};
}

static void print_json(const json_t *j)
{
    json_dumpf(j, stdout, JSON_COMPACT);
    putchar('\n');
}

/* The daemon's document with just the modules of these names. */
static ToolStatus status_of(Client *c, char **names, json_t **ret)
{
    _cleanup_json_ json_t *all = NULL;
    if (!names)
        return client_call_json(c, "GetStatus", "", ret);
    STRV_FOREACH (name, names) {
        _cleanup_json_ json_t *one = NULL;
        ToolStatus status = client_call_json(c, "GetStatus", *name, &one);
        if (status != TOOL_DONE)
            return status;
        if (!all)
            all = json_incref(one);
        else
            json_array_extend(json_object_get(all, "modules"), json_object_get(one, "modules"));
    }
    *ret = TAKE_PTR(all);
    return TOOL_DONE;
}

/* The status of the modules that the words name, of all without a word. */
static ToolStatus ask_status(const Args *a, char ***ret_names, json_t **ret)
{
    _cleanup_client_ Client c = {0};
    ToolStatus status = client_open(a, &c);
    if (status == TOOL_DONE && a->n_words > 0)
        status = client_expand(&c, a->words, a->n_words, ret_names);
    return status == TOOL_DONE ? status_of(&c, *ret_names, ret) : status;
}

ToolStatus verb_timers(const Args *a)
{
    _cleanup_strv_ char **names = NULL;
    _cleanup_json_ json_t *document = NULL;
    ToolStatus status = ask_status(a, &names, &document);
    if (status != TOOL_DONE)
        return status;
    _cleanup_json_ json_t *timers = timers_of_status(document);
    if (a->json) {
        print_json(timers);
        return TOOL_DONE;
    }
    View v = view_now();
    _cleanup_(freep) char *text = view_timers(timers, &v);
    fputs(text, stdout);
    return TOOL_DONE;
}

ToolStatus verb_status(const Args *a)
{
    _cleanup_strv_ char **names = NULL;
    _cleanup_json_ json_t *document = NULL;
    ToolStatus status = ask_status(a, &names, &document);
    if (status != TOOL_DONE)
        return status;
    if (a->json) {
        print_json(document);
        return TOOL_DONE;
    }
    View v = view_now();
    const json_t *modules = json_object_get(document, "modules");
    if (!names) {
        _cleanup_(freep) char *text = view_status(document, &v);
        fputs(text, stdout);
    }
    for (size_t i = 0; names && i < json_array_size(modules); i++) {
        _cleanup_(freep) char *text = view_module(json_array_get(modules, i), &v);
        printf("%s%s", i > 0 ? "\n" : "", text);
    }
    return TOOL_DONE;
}

ToolStatus verb_explain(const Args *a)
{
    _cleanup_client_ Client c = {0};
    _cleanup_strv_ char **names = NULL;
    ToolStatus status = client_open(a, &c);
    if (status == TOOL_DONE)
        status = client_expand(&c, a->words, a->n_words, &names);
    View v = view_now();
    bool first = true;
    STRV_FOREACH (name, names) {
        _cleanup_json_ json_t *answer = NULL;
        if (status == TOOL_DONE)
            status = client_call_json(&c, "Explain", *name, &answer);
        if (status != TOOL_DONE)
            return status;
        _cleanup_(freep) char *text = a->json ? NULL : view_explain(answer, &v);
        if (a->json)
            print_json(answer);
        else
            printf("%s%s", first ? "" : "\n", text);
        first = false;
    }
    return status;
}
