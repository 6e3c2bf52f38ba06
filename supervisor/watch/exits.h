/* How a generation's main process ended: what wait told the daemon and what bpf/ saw in the kernel, put together. */
#pragma once

#include "supervisor/run/module.h"

/* Fills *ret from g's wait status and, where there is one, the kernel's record (OOM, denied syscall, who killed). Reads
 * the record only; it is deleted with the generation. */
void exits_describe(const Generation *g, LastExit *ret);
/* "exit status 3", "killed by SIGKILL (out of memory)": for the log and for explain. Owned by the caller. */
char *exits_text(const LastExit *x);
/* "SIGTERM"; "signal 40" for one without a name. Static memory, good until the next call. */
const char *signal_name(int sig);
