/* Sources of work that cost the host something, or that not every kernel has: calls, writes, unix streams. Their
 * programs are loaded and attached when the first module asks for them and go with the last one, so that a host whose
 * modules do not ask pays nothing. Within bpf/ only; see kernel.h for the face. */
#pragma once

#include "bpf/kernel.h"

typedef struct Sources Sources;

/* What of it is loaded on demand. */
#define SOURCES_TRACKED (WORK_TRACK_UNIX | WORK_TRACK_CALLS | WORK_TRACK_WRITES)

/* `k` is borrowed, and asked for its object and its pins only; NULL: nothing is pinned, nobody's maps are used. */
Sources *sources_new(const Kernel *k, unsigned without);
Sources *sources_free(Sources *s);
/* What the module asks for from now on: attached before it returns. -ENOTSUP with words where the kernel lacks it. */
int sources_track(Sources *s, uint64_t module, uint32_t track, Error *e);
/* Loads and attaches what the part has, for nobody, and takes it away again. */
int sources_probe(KernelPrograms part, Error *e);
/* Its sites, see kernel_calls(). */
int sources_calls(Sources *s, uint64_t module, const KernelCall *calls, size_t n, Error *e);

/* What passes over the unix streams, and their storages; false while nobody tracks them. */
bool sources_streams(const Sources *s, int *ret_program, int *ret_map);
