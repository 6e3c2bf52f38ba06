/* Values that are several things: commands, lists, sets. See values.h. */
#pragma once

#include "policies/keys.h"
#include "policies/policy.h"

/* Each: `value` not empty, output untouched on error, 0 or -EINVAL with *e. */
int list_command(const Key *k, const char *value, const ValueContext *x, char ***ret, Error *e);
int list_environment(const char *value, const ValueContext *x, char ***ret, Error *e);
int list_includes(const char *value, char ***ret, Error *e);
int list_env_files(const char *value, const ValueContext *x, char ***ret, Error *e);
int list_directories(const Key *k, const char *value, const ValueContext *x, char ***ret, Error *e);
int list_conditions(const Key *k, const char *value, const ValueContext *x, char ***ret, Error *e);
int list_modules(const char *value, char ***ret, Error *e);
int list_rules(const char *value, char ***ret, Error *e);
int list_exit_set(const char *value, ExitSet *ret, Error *e);
int list_ports(const char *value, uint16_t **ret, size_t *ret_n, Error *e);
int list_cpus(const char *value, char **ret, Error *e);
int list_groups(const char *value, Nss *nss, gid_t **ret, size_t *ret_n, Error *e);
int list_capabilities(const char *value, uint64_t *ret, Error *e);
