/* Users and groups by name, each looked up once. */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/util.h"

/* Users and groups found so far in one load: a thousand modules mostly run as the same few. */
typedef struct Nss Nss;
Nss *nss_new(void);
Nss *nss_free(Nss *n);
static inline void nss_freep(Nss **n)
{
    *n = nss_free(*n);
}
/* 0, or -ESRCH with *e. A number is a uid whether or not anybody has it; *ret_gid is then (gid_t)-1 if nobody has. */
int nss_user(Nss *n, const char *name, uid_t *ret_uid, gid_t *ret_gid, Error *e);
int nss_group(Nss *n, const char *name, gid_t *ret, Error *e);
