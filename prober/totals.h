/* prober/totals.h - what this node has measured since it started, by zone.
 *
 * Counters and histograms that only ever grow, as a scraper wants them, where
 * frames (prober/window.h) are what other nodes want: one window at a time.
 * Both are fed with the same samples, side by side. Kept per destination zone,
 * protocol and mode; the source is always this node's own zone. One-off
 * samples are passed over.
 *
 * The bounds of the buckets are a part of those of proto/hist.h: four in each
 * doubling, 2^-16 s (15.3 us) to 2^4 s, floored to whole nanoseconds. So a
 * count here is the sum of some of the buckets of the frames, exactly, and a
 * value is on the same side of a bound for /metrics as for the matrix. A
 * reader who wants fewer bounds takes every second or fourth.
 *
 * Zones are names that others choose, so their number is bounded. When all
 * places are taken, a zone without a sample for TOTALS_IDLE_NS makes room for
 * a new one; else the sample is counted as left out, and nothing more. An
 * endpoint outside has no zone and takes a place under its own name. Memory:
 * 17 KiB for a zone that is probed in all ways, at most 24 KiB. Pure. One
 * thread, the control plane's.
 */
#ifndef PROBER_TOTALS_H
#define PROBER_TOTALS_H

#include <stddef.h>
#include <stdint.h>

#include "prober/sample.h"
#include "proto/outcome.h"

#define TOTALS_PER_OCTAVE 4
#define TOTALS_BOUNDS     (20 * TOTALS_PER_OCTAVE + 1)
#define TOTALS_ZONES_MAX  256
#define TOTALS_LABEL_SIZE 385 /* 128 bytes that may each become U+FFFD */
#define TOTALS_IDLE_NS    UINT64_C(3600000000000)

/* buckets[i] counts values above bound i - 1 up to bound i; the last one those
 * above all bounds. */
struct totals_hist {
    uint64_t count, sum_ns;
    uint64_t buckets[TOTALS_BOUNDS + 1];
};

struct totals_cell {
    uint64_t outcomes[OUTCOME_N];
    uint64_t retransmits, reconnects, user_clock;
    struct totals_hist *series[SERIES_N]; /* of ok attempts; NULL: no value */
};

struct totals_zone {
    char label[TOTALS_LABEL_SIZE]; /* made valid UTF-8 without controls */
    uint64_t generation;           /* of this place: who was here before */
    uint64_t sampled_ns;           /* the last one, monotonic */
    struct totals_cell *cells[PROTOCOL_N][MODE_N]; /* NULL: no attempt */
};

/* Samples that are in no counter above, by why. */
struct totals_left_out {
    uint64_t unknown_target; /* its target is forgotten, or it is broken */
    uint64_t zones;          /* no place for one more zone */
    uint64_t memory;
};

struct totals; /* opaque */

struct totals *totals_open(void); /* NULL: no memory */
void totals_close(struct totals *t);

/* Count a sample towards a zone (matrix_label() at the level of zones; NULL:
 * nobody knows). Names that look the same once cleaned are one. Returns 0, or
 * ERR_BAD, ERR_TOOBIG, ERR_NOMEM, each with its counter of what is left out:
 * then nothing else has changed. */
int totals_add(struct totals *t, const char *zone, const struct sample *s,
               uint64_t now_ns);

const struct totals_left_out *totals_left_out(const struct totals *t);

/* Places 0 .. totals_zones() - 1, in no order. A place once there stays, but
 * its zone may be replaced by another, with another generation. */
size_t totals_zones(const struct totals *t);
const struct totals_zone *totals_zone(const struct totals *t, size_t i);

/* Bound i < TOTALS_BOUNDS in ns, ascending. */
uint64_t totals_bound_ns(unsigned i);

/* Walk everything and assert its invariants. For tests. */
void totals_check(const struct totals *t);

#endif /* PROBER_TOTALS_H */
