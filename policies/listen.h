/* The values of module.listen: addresses that the daemon listens on for a module. Pure. */
#pragma once

#include "policies/load.h"

/* tcp:127.0.0.1:8080, tcp:[::]:80, unix:/run/web.sock; several parted by commas, at most LISTEN_MAX. */
int listen_parse(const char *value, const ValueContext *x, Listens *ret, Error *e);
void listen_done(Listens *l);
/* Complains about an address that two modules would listen on; the instances of one template may. */
void listen_check(const Loading *l, const Policy *p);
