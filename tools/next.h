/* The next thing to type, where it depends on the host: with systemd as process 1 the daemon is a service, else a
 * program. Owned by the caller. */
#pragma once

#include "base/util.h"

/* Whether systemd is process 1 here. */
bool next_systemd(void);
/* "sudo " to who is not root, else "". */
const char *next_sudo(void);
/* What starts the instance's daemon. */
char *next_start_daemon(const char *instance);
/* What makes it run what is in its files now: it reads them when it starts. */
char *next_take_configuration(const char *instance);
