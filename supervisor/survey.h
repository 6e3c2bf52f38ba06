/* `bulkheadd --features`: probes all of it on its own, needing neither configuration nor lock. */
#pragma once

#include "supervisor/features.h"

/* Prints the table as JSON. Where it is not root it says of what it cannot try that it is unknown. Returns the exit
 * status: 0 when all is there that a daemon needs, else 1. */
int survey_print(Features *f, const char *btf_path, const char *bpffs_path);
