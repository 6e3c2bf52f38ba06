/* Environment files: NAME=value lines, as /etc/default has them; environment.c tells what they may hold. Pure. */
#pragma once

#include <stddef.h>

#include "policies/complaint.h"

/* The lines of such a file in memory: NAME=value, '#' comments, quotes around the value. 0 and the variables, or
 * -EINVAL with complaints. */
int environment_parse(const char *text, size_t size, const char *shown, char ***ret, Complaints *complaints);
/* file's variables, replaced and followed by own's; owned by the caller. */
char **environment_merge(char *const *file, char *const *own);
