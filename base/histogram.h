/* Histograms of durations as the kernel's side fills them: slot i counts those of [2^i, 2^(i+1)) microseconds, the
 * first one also what is less. The daemon and its clients read them alike: what lies between two samples is their
 * difference, slot by slot. Pure arithmetic. */
#pragma once

#include "base/util.h"

/* p-th percentile (0..100) in microseconds, interpolated in its slot; 0 when empty. `n` is at most 63. */
uint64_t histogram_percentile(const uint64_t *slots, size_t n, unsigned p);
