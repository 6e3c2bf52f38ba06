/* See truth.c; within bpf/ only, kernel_truth() and kernel_connections() are its face. */
#pragma once

#include "bpf/kernel.h"

/* Makes the storages that open connections of the module lack. */
int truth_seed(Kernel *k, uint64_t module_id, Error *e);
