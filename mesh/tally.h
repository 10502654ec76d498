/* mesh/tally.h - sums of what was measured of one cell over any time.
 *
 * Two forms of it: struct tally, wide, to add into; and a record, some hundred
 * bytes, to keep and to send. Adding is exact, whatever the order: counters
 * and histogram buckets add up, extremes stay exact, and who contributed is a
 * set of hashes. So a record of ten minutes made of sixty windows is that of
 * all their samples.
 *
 *     tally_reset(&t);
 *     tally_add(&t, record, len, base);      as many as there are
 *     tally_add_cell(&t, &cell, window, tally_origin(name));
 *     tally_encode(&t, base, &w);            or tally_read(&t, &matrix_cell)
 *
 * A record (varints, proto/base/buf.h; origins big-endian):
 *
 *   newest - base, attempts, trusted, retransmits, reconnects, user_clock,
 *   max_lag_us, n, n x (outcome, count), n, n x origin (4 bytes),
 *   series bitmap (1 byte), a proto/hist.h encoding for each bit
 *
 * `base` is the first window of the time that the record is of, and newest
 * the latest window with an attempt. Outcomes and origins ascend. Pure.
 */
#ifndef MESH_TALLY_H
#define MESH_TALLY_H

#include <stddef.h>
#include <stdint.h>

#include "mesh/matrix.h"
#include "proto/base/buf.h"
#include "proto/frame.h"

#define TALLY_ORIGINS_MAX 64    /* counted exactly; more are left out */
#define TALLY_RECORD_MAX  32768 /* bytes; usual are 100 to 600 */
#define TALLY_COUNT_MAX   (UINT64_C(1) << 48) /* of a counter */

/* As struct hist, but with a place for each bucket. Its buckets outside of
 * low..high-1 are 0. count bounds each bucket. */
struct tally_series {
    uint64_t sum_ns, min_ns, max_ns;
    uint32_t count, zero, clamped;
    uint16_t low, high;
    uint32_t buckets[HIST_BUCKETS];
};

struct tally {
    uint64_t newest; /* window; meaningless while attempts is 0 */
    uint64_t attempts, trusted;
    uint64_t retransmits, reconnects, user_clock, max_lag_us;
    uint64_t outcomes[OUTCOME_N];
    uint32_t n_origins;
    uint32_t origins[TALLY_ORIGINS_MAX]; /* ascending */
    struct tally_series series[SERIES_N];
};

/* An empty one: zero it once, reset it from then on, which is faster. */
void tally_reset(struct tally *t);

/* What stands for an origin in the set of contributors. Two of a mesh's names
 * share one by accident in a mesh of thousands: a count is one too low then. */
uint32_t tally_origin(const char *name);

/* Add a cell with its series, measured in `window` by `origin`. Returns 0, or
 * ERR_TOOBIG: there are too many attempts, and nothing was added, or a
 * histogram would overflow and was left as it was. Other counters end at
 * TALLY_COUNT_MAX, so that whatever was added, tally_check() allows the
 * record. */
int tally_add_cell(struct tally *t, const struct frame_cell *c, uint64_t window,
                   uint32_t origin);

/* Add a record that tally_encode() wrote or tally_check() allowed; anything
 * else is a bug. Returns as above. */
int tally_add(struct tally *t, const void *record, size_t len, uint64_t base);

/* Append the record, at most TALLY_RECORD_MAX bytes. base <= newest. */
void tally_encode(const struct tally *t, uint64_t base, struct wr *w);

/* May these bytes, from anybody, be added as a record of `span` windows? Then
 * 0, else ERR_TRUNC, ERR_BAD, ERR_TOOBIG, ERR_NOMEM. */
int tally_check(const void *record, size_t len, uint64_t span);

/* The number of attempts that a record is of, and the newest one's window. */
uint64_t tally_attempts(const void *record, size_t len);
uint64_t tally_newest(const void *record, size_t len, uint64_t base);

/* Numbers and histograms into *out, all but state and age_s, which only the
 * caller knows. The memory that its histograms have is used again: zero *out
 * before the first use. Returns 0 or ERR_NOMEM. */
int tally_read(const struct tally *t, struct matrix_cell *out);

#endif /* MESH_TALLY_H */
