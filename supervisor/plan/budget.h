/* Does the plan fit the host? The sums of memory_max and pids_max of the required modules against what the host has.
 * CPU is not summed: it is shared by time and a sum over 100 % loses nothing. Pure; host values are read by
 * budget_host(). */
#pragma once

#include "policies/policy.h"

typedef struct HostCapacity {
    uint64_t memory; /* bytes: MemTotal, or the limit of the cgroup the modules are to live in when that is smaller */
    uint64_t pids;   /* kernel.pid_max */
} HostCapacity;

/* Reads the host's values; a limit of an enclosing cgroup counts too. A negative errno when /proc cannot tell. */
int budget_host(HostCapacity *ret);
/* The same below `root` ("" = this machine): for tests, and for looking at another root's /proc. */
int budget_host_at(const char *root, HostCapacity *ret);
/* 0, or -E2BIG with both numbers and the largest contributor in *e ("required modules may use 96.0G of memory (largest:
 * db 64G), the host has 23.4G: lower memory_max or required"). Unlimited modules do not count. */
int budget_check(const Policy *policy, const HostCapacity *host, Error *e);
