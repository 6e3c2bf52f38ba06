/* What the parts of policy_load() share: the raw values of one module, and how they become a ModulePolicy.
 *
 * From below: raw.c keeps values as written and complains about them; source.c reads one file into them, include.c
 * those that others name, environment.c environment files; module.c owns what a module's merged values mean together;
 * instances.c makes several modules of one file; load.c owns directories and the merge; grow.c makes further instances
 * later. Private to policies/. */
#pragma once

#include "policies/keys.h"
#include "policies/layers.h"
#include "policies/nss.h"
#include "policies/policy.h"

/* A value as written; value NULL: the key was not. */
typedef struct Raw {
    char *value;
    PolicyLayer layer;
    uint16_t file; /* index in Loading.files */
    uint32_t line;
} Raw;

typedef struct Included Included; /* include.c: the files that `include` names, each read once */

/* Environment files as they were read. */
typedef struct EnvironmentFiles {
    struct EnvironmentFile {
        char *path; /* as written and expanded */
        char **variables;
    } * items;
    size_t n;
} EnvironmentFiles;

typedef struct TemplateSource {
    char *file;
    Raw raws[KEYS_MAX];
    bool whole;
    EnvironmentFiles environment;
} TemplateSource;

typedef struct Loading {
    const char *dir;
    int dirfd; /* of dir */
    char **files;
    size_t n_files;
    Nss *nss;
    SeccompCompiler *seccomp;
    Complaints *complaints;
    Included **included;
    size_t n_included;
    unsigned walks; /* over what is included, so far */
    Layers *layers; /* NULL: nobody asks */
    /* While an instance of a template is built: */
    EnvironmentFiles *environment; /* those read for another instance are not read again; NULL = always read */
    const ModulePolicy *like;      /* another instance, whose filter is taken; NULL = there is none */
} Loading;

void raws_done(Raw *raws);
/* Each value that `from` has replaces that of `to`. */
void raws_put_over(const Raw *from, Raw *to);

/* A file that is being read, or several after each other: what comes later wins. */
typedef struct Source {
    const Loading *l;
    PolicyLayer layer;
    uint16_t file;   /* index in Loading.files */
    Raw *module;     /* where a module's keys go; NULL in bulkhead.ini ... */
    Raw *supervisor; /* ... which has [supervisor] and */
    Raw *defaults;   /* [defaults] instead */
    bool known;      /* the section we are in */
    size_t judged;   /* complaints about keys and sections that were understood as such */
    bool lost;       /* something was not, so a key may only seem to be missing */
} Source;

/* Reads `path` beneath dirfd; takes `shown`. -ENOENT when it is missing (no complaint), -E2BIG after one that it is a
 * file too many; else 0, with complaints or without. */
int source_read(Loading *l, int dirfd, const char *path, char *shown, Source *s);
/* Takes the file that was read last off the list: nothing may refer to it. */
void source_forget(Loading *l);

/* Puts what is included over `raws`, which hold [defaults]. Which files those are, `own` says (what the module's file
 * and drop-ins come to), else [defaults]. *lost is set when not all of them was understood; `ml` (NULL: nobody asks)
 * gets them. */
void include_merge(Loading *l, const Raw *own, Raw *raws, bool *lost, ModuleLayers *ml);
void include_done(Loading *l);

/* Complains about `raw` of key k. A line that several modules share is complained about once, in the words of the
 * first.
 */
void loading_complain(const Loading *l, const Key *k, const Raw *raw, const char *fmt, ...) _printf_(4, 5);

/* Which keys fields_parse() looks at: of [supervisor], and of a module in two goes, since ${NAME} in the second needs
 * the variables of the first. */
typedef enum FieldSet { FIELDS_SUPERVISOR, FIELDS_ENVIRONMENT, FIELDS_REST } FieldSet;

/* Parses the raw value, else the default, of each key of the set into `base`; bad[key index] is set for each that was
 * complained about. */
void fields_parse(const Loading *l, FieldSet set, const Raw *raws, const ValueContext *x, void *base, bool *bad);

/* Builds the module from its merged raw values (keys_n of them). `whole`: all its lines were understood, so what is not
 * there is missing. Always returns one, which is only to be freed when anything was complained about. */
ModulePolicy *module_build(const Loading *l, const char *name, const char *file, const Raw *raws, bool whole);
ModulePolicy *module_free(ModulePolicy *m);

/* instances.c: the module of these values, or all instances where they ask for that, pushed to p->modules. */
void instances_load(Loading *l, Policy *p, const char *name, const char *file, const Raw *raws, bool whole);
/* The value of module.instances; 0 = not given, or wrong. */
unsigned instances_wanted(const Loading *l, const Raw *raws);
/* One more of the template. */
ModulePolicy *instance_build(Loading *l, const Template *t, unsigned number);
void template_done(Template *t);
/* load.c: puts the modules and templates in order. */
void policy_sort(Policy *p);

/* Looks at the values of [defaults] by themselves, so that they are right even when no module takes them. */
void module_check_defaults(const Loading *l, const Raw *defaults);

/* Reads the file that `written` names ("/path", "beside/bulkhead.ini", '-' before it: may be missing). Complaints about
 * the file as a whole go to `raw` of key k. 0 and the variables, or -EINVAL. */
int environment_read(const Loading *l, const Key *k, const Raw *raw, const char *written, char ***ret);
