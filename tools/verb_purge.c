/* `bulkhead purge`: what a dead daemon left is for bulkheadd to take down, which knows how; this becomes it. */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/str.h"
#include "tools/daemon.h"
#include "tools/tool.h"

ToolStatus verb_purge(const Args *a)
{
    Error e = {0};
    _cleanup_(freep) char *program = NULL;
    if (daemon_program(&program, &e) < 0) {
        say_error("%s", error_message(&e));
        return TOOL_FAILED;
    }
    const char *argv[] = {program,   "--purge", "--instance", a->instance, a->config ? "--config" : NULL,
                          a->config, NULL};
    fflush(stdout);
    execv(program, (char *const *)(uintptr_t)argv);
    say_error("cannot run %s: %s", program, strerror(errno));
    return TOOL_FAILED;
}
