/* prober/metrics_private.h - the parts of /metrics among themselves. */
#ifndef PROBER_METRICS_PRIVATE_H
#define PROBER_METRICS_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/api.h"
#include "prober/metrics.h"
#include "prober/metrics_text.h"

/* ---- single numbers: metrics_self.c ---- */

/* Write on from family *next; returns 1 when the slice is full, 0 at the end.
 * Families of which nothing is known are left out. */
int metrics_self_write(const struct api_source *s, bool is_openmetrics,
                       size_t *next, struct wr *w);

/* ---- by zone pair: metrics_pairs.c ---- */

/* Where the writing of them is. The zones are those of the beginning: one that
 * comes while an answer is sent is in the next one. */
struct metrics_pairs {
    const char *source_zone;
    const struct totals *totals; /* both borrowed */
    bool is_openmetrics;
    unsigned step; /* every how many-th bound */
    size_t n_zones;
    uint64_t generations[TOTALS_ZONES_MAX];

    unsigned family;
    bool has_head; /* the family's head is written */
    size_t row;    /* of zone, protocol, mode and series */
    unsigned line; /* of the row */
    unsigned protocol;
    uint64_t below; /* values in the buckets of the lines before */
    size_t prefix_len;
    char prefix[1024];       /* what the row's lines begin with */
    struct totals_cell cell; /* the row's, as it was at its first line; */
    struct totals_hist hist; /* so that its lines fit each other */
};

/* `per_octave` is a divisor of TOTALS_PER_OCTAVE. */
void metrics_pairs_init(struct metrics_pairs *p, const struct totals *totals,
                        const char *source_zone, unsigned per_octave,
                        bool is_openmetrics);
/* Returns 1 when the slice is full, 0 at the end. */
int metrics_pairs_write(struct metrics_pairs *p, struct wr *w);

#endif /* PROBER_METRICS_PRIVATE_H */
