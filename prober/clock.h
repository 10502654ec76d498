/* prober/clock.h - the machine's clocks, and kernel stamps on ours.
 *
 * The kernel stamps packets in wall time (CLOCK_REALTIME). We think in
 * CLOCK_MONOTONIC. The two differ by an offset that is constant except when
 * somebody steps the wall clock (slewing moves both alike), so one offset is
 * kept and every stamp is converted with it: differences between stamps stay
 * exact however late they are read. At every wake-up the offset is checked; a
 * change counts as a step, starts a new epoch, and whoever holds stamps from
 * before must not mix them with later ones.
 *
 * Shell code only.
 */
#ifndef PROBER_CLOCK_H
#define PROBER_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/stamp.h"

uint64_t clock_now_ns(void);        /* CLOCK_MONOTONIC */
uint64_t clock_now_unix_ns(void);   /* CLOCK_REALTIME */
uint64_t clock_thread_cpu_ns(void); /* CPU time of the calling thread */

struct clock_map {
    int64_t offset_ns; /* realtime - monotonic */
    uint32_t epoch;    /* grows with every step of the wall clock */
};

void clock_map_init(struct clock_map *m);

/* Check for a step; returns the monotonic time, which the caller uses for
 * the whole wake-up. About 70 ns. */
uint64_t clock_map_update(struct clock_map *m);

/* A kernel stamp on the monotonic clock. `now_ns` is the latest update. A
 * stamp that lies in the future, or 0, gives source STAMP_NONE. */
struct stamp clock_map_stamp(const struct clock_map *m, uint64_t real_ns,
                             uint64_t now_ns);

#endif /* PROBER_CLOCK_H */
