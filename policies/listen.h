/* The values of module.listen: addresses that the daemon listens on for a module. Pure. */
#pragma once

#include "policies/kinds.h"
#include "policies/policy.h"

/* tcp:127.0.0.1:8080, tcp:[::]:80, unix:/run/web.sock; several parted by commas, at most LISTEN_MAX. */
int listen_parse(const char *value, const ValueContext *x, Listens *ret, Error *e);
void listen_done(Listens *l);
