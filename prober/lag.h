/* prober/lag.h - how late a loop runs, as quantiles of the last few seconds.
 *
 * Plain bucket counts (hist.h's buckets): nothing is allocated while
 * measuring. Begun anew after LAG_PERIODS periods, so that the figures are
 * those of lately. Pure.
 */
#ifndef PROBER_LAG_H
#define PROBER_LAG_H

#include <stdint.h>

#include "proto/hist.h"

#define LAG_PERIODS 10

struct lag {
    uint32_t counts[HIST_BUCKETS];
    uint64_t total, max_ns;
    unsigned periods;
};

/* `grain_ns` of it is the timer's own, and no lag. */
void lag_add(struct lag *lag, uint64_t late_ns, uint64_t grain_ns);
/* What `percent` of them do not exceed, as a bucket's bound or the largest one;
 * 0 if there are none. */
uint64_t lag_quantile(const struct lag *lag, unsigned percent);
/* A period has ended. */
void lag_turn(struct lag *lag);

#endif /* PROBER_LAG_H */
