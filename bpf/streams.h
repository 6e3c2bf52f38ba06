/* Unix streams that were closed in the middle of an exchange. Within bpf/ only. */
#pragma once

#include "bpf/kernel.h"

/* Ends, as errors, the module's exchanges whose stream is gone. 0 also when there is nothing to do. */
int streams_recount(Kernel *k, uint64_t module_id, Error *e);
