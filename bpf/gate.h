/* Who needs the programs that look at every segment; see gate.c. Within bpf/ only; the switch itself is kernel_gate().
 */
#pragma once

#include "bpf/kernel.h"

/* Attaches what the module needs from now on; 0 or a negative errno with *e filled. */
int gate_need_track(Kernel *k, uint64_t module_id, const KernelModule *m, Error *e);
int gate_need_closed(Kernel *k, uint64_t module_id, bool closed, Error *e);
/* Forgets the module; what nobody needs any more is detached. */
void gate_forget(Kernel *k, uint64_t module_id);
bool gate_knows(const Kernel *k, uint64_t module_id);
/* What of the module is tracked already. */
uint32_t gate_tracked(const Kernel *k, uint64_t module_id);
void gate_done(Kernel *k);
