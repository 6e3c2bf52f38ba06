/* What the parts of policy_load() share: the raw values of one module, and how they become a ModulePolicy.
 *
 * policy.c owns directories, files and the merge; module.c owns what a module's merged values mean together;
 * environment.c reads environment files. Private to policies/. */
#pragma once

#include "policies/keys.h"
#include "policies/policy.h"
#include "policies/values.h"

/* A value as written; value NULL: the key was not. */
typedef struct Raw {
    char *value;
    bool from_defaults; /* in [defaults] of bulkhead.ini */
    uint16_t file;      /* index in Loading.files */
    uint32_t line;
} Raw;

typedef struct Loading {
    const char *dir;
    int dirfd; /* of dir */
    char **files;
    size_t n_files;
    Nss *nss;
    SeccompCompiler *seccomp;
    Complaints *complaints;
} Loading;

/* Complains about `raw` of key k. */
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

/* Looks at the values of [defaults] by themselves, so that they are right even when no module takes them. */
void module_check_defaults(const Loading *l, const Raw *defaults);

/* Reads the file that `written` names ("/path", "beside/bulkhead.ini", '-' before it: may be missing). Complaints about
 * the file as a whole go to `raw` of key k. 0 and the variables, or -EINVAL. */
int environment_read(const Loading *l, const Key *k, const Raw *raw, const char *written, char ***ret);
/* The lines of such a file in memory: NAME=value, '#' comments, quotes around the value. */
int environment_parse(const char *text, size_t size, const char *shown, char ***ret, Complaints *complaints);
/* file's variables, replaced and followed by own's; owned by the caller. */
char **environment_merge(char *const *file, char *const *own);
