/* The layers of a configuration: who said what, from the table's defaults up to the last drop-in.
 *
 * A daemon needs to know only what won (Origin in policy.h). For those who ask how it came about, policy_read_layers()
 * also keeps everything that was said, file by file, and for each module which files speak of it, the lowest first. */
#pragma once

#include "base/util.h"
#include "policies/complaint.h"
#include "policies/keys.h"

typedef struct Policy Policy;

/* In the order in which they win: a later one replaces an earlier one. */
typedef enum PolicyLayer {
    LAYER_DEFAULT,  /* the key table */
    LAYER_DEFAULTS, /* [defaults] of bulkhead.ini */
    LAYER_INCLUDE,  /* a file named by `include` */
    LAYER_FILE,     /* the module's own file; bulkhead.ini for [supervisor] */
    LAYER_DROP_IN,
    LAYER_N
} PolicyLayer;

/* "default", "defaults", "include", "file", "drop-in". */
extern const char *const policy_layer_names[LAYER_N];

/* A value as it was written. */
typedef struct Said {
    const Key *key;
    char *value; /* "" takes back what the layers below say */
    PolicyLayer layer;
    uint16_t file; /* index in Policy.files */
    uint32_t line;
} Said;

typedef struct LayerFile {
    PolicyLayer layer;
    uint16_t file; /* index in Policy.files */
} LayerFile;

typedef struct ModuleLayers {
    char *name;
    LayerFile *files; /* the lowest first, without bulkhead.ini */
    size_t n_files;
} ModuleLayers;

typedef struct Layers {
    Said *said; /* in the order of reading; those of one file are together */
    size_t n_said;
    ModuleLayers *modules; /* in the order of reading, also those that are not right */
    size_t n_modules;
} Layers;

#define _cleanup_layers_ _cleanup_(layers_done)

/* As policy_read(), and fills *ret_layers, which must be empty. Both are to be freed whatever it returns. */
int policy_read_layers(const char *dir, const char *shared_dir, Policy **ret, Layers *ret_layers,
                       Complaints *complaints);
void layers_done(Layers *l);

/* The layers of the module of that name (an instance's: its template's), or NULL. */
const ModuleLayers *layers_find(const Layers *l, const char *module);

/* All that is said of key k for the module (NULL: what bulkhead.ini itself says of it, in [supervisor] or, for a
 * module's key, in [defaults]), the lowest first; the last one holds. Returns how many; *ret, which may be NULL for
 * none, is a vector owned by the caller of items owned by `l`. */
size_t layers_of_key(const Layers *l, const ModuleLayers *module, const Key *k, const Said ***ret);
