/* Values that say what is run around a module's life: hooks, which are several commands. See values.h. */
#pragma once

#include "policies/keys.h"
#include "policies/policy.h"

/* "/a b ; -/c d": absolute programs with arguments, parted by a lone ;. '-' before a path: the command may fail. Where
 * the key says so ${MAINPID} becomes COMMAND_MAIN_PID. `value` not empty, *ret untouched on error; 0, or -EINVAL with
 * *e. */
int commands_parse(const Key *k, const char *value, const ValueContext *x, Commands *ret, Error *e);
void commands_done(Commands *c);
