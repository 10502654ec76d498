#include "prober/lag.h"

void lag_add(struct lag *lag, uint64_t late_ns, uint64_t grain_ns)
{
    uint64_t ns = late_ns > grain_ns ? late_ns - grain_ns : 0;
    lag->counts[ns ? hist_index(ns) : 0]++;
    lag->total++;
    if (ns > lag->max_ns)
        lag->max_ns = ns;
}

uint64_t lag_quantile(const struct lag *lag, unsigned percent)
{
    uint64_t wanted = (lag->total * percent + 99) / 100, seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += lag->counts[i];
        if (seen >= wanted && seen)
            return hist_bound_ns(i) < lag->max_ns ? hist_bound_ns(i)
                                                  : lag->max_ns;
    }
    return lag->max_ns;
}

void lag_turn(struct lag *lag)
{
    if (++lag->periods == LAG_PERIODS)
        *lag = (struct lag){0};
}
