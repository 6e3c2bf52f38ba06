/* See histogram.h. */
#include "base/histogram.h"

uint64_t histogram_percentile(const uint64_t *slots, size_t n, unsigned p)
{
    uint64_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += slots[i];
    if (total == 0)
        return 0;
    /* Rank of the wanted one, from 1; split so that no product overflows. */
    uint64_t percent = MIN2(p, 100u);
    uint64_t rank = total / 100 * percent + (total % 100 * percent + 99) / 100;
    rank = MAX2(rank, (uint64_t)1);
    for (size_t i = 0; i < n; i++) {
        if (rank <= slots[i]) {
            uint64_t low = i ? 1ull << i : 0, width = (2ull << i) - low;
            return low + (uint64_t)((long double)width * rank / slots[i]);
        }
        rank -= slots[i];
    }
    return 0;
}
