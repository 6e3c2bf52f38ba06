/* The probes behind features.h: each tries what it is about and leaves nothing behind. */
#pragma once

#include "bpf/kernel.h"
#include "cgroups/cgroup.h"
#include "supervisor/features.h"

/* System calls and files in /proc: some ten calls, needs nothing, may be the first that a process does. */
void probe_calls(Features *f);
/* Tells base/ and cgroups/ what they may use. After probe_calls(), before a tree is opened. */
void probe_tell_rooms(const Features *f);
/* What the opened tree has; NULL: there is none, *why says why. */
void probe_tree(Features *f, const CgroupTree *tree, const Error *why);
/* What loading the programs takes, one by one; some 100 ms. Paths as in KernelConfig; `instance` names what is made; to
 * `cgroup`, a directory's descriptor, is attached what hangs on one (negative: nothing is). */
void probe_kernel(Features *f, const char *btf_path, const char *bpffs_path, const char *instance, int cgroup);
/* Notes that the programs are loaded but for those of `without` (1 << KERNEL_OOM …). */
void probe_kernel_loaded(Features *f, unsigned without);
/* Which parts' programs are not to be loaded: those found or declared absent. */
unsigned probe_kernel_without(const Features *f);
/* Whether a mount namespace for modules can be made. */
void probe_view(Features *f);
