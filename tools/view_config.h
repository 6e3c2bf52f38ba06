/* `bulkhead config`: what the files of a configuration come to, and who said it. Pure: made from what
 * policy_read_layers() has read.
 *
 * The text is ini again. Put in place of all files of a module (of bulkhead.ini, for the daemon's part) it means the
 * same: values stand as they were written, an empty one that takes something back stays, and `include` is emptied since
 * what was included stands there. Above each value a comment names its origin. */
#pragma once

#include <jansson.h>

#include "policies/layers.h"
#include "policies/policy.h"

typedef struct ConfigView {
    const Policy *policy;
    const Layers *layers;
    bool all;      /* also what nobody said (the defaults), and what was said but does not hold */
    bool expanded; /* %n, %i and ${NAME} written out: for reading, and for one instance */
} ConfigView;

/* The module's merged values; `name` must be one that layers_find() knows. Expanded are those of a module that the
 * policy has, so of an instance, not of a template. Owned by the caller. */
char *view_config_module(const ConfigView *v, const char *name);
/* [supervisor], [defaults], and as comments the modules with their files. Owned by the caller. */
char *view_config_daemon(const ConfigView *v);

/* Appends an object for each value of the module:
 * {"module","section","key","value","file","line","origin": "default|defaults|include|file|drop-in","overrides":
 *  [{"value","file","line","origin"}]}, the lowest override first. */
void view_config_module_json(const ConfigView *v, const char *name, json_t *rows);
/* {"values": [the same, "module" null, of "supervisor" and "defaults"],
 *  "modules": [{"name","files": the lowest first}]} */
json_t *view_config_daemon_json(const ConfigView *v);
