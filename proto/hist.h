/* proto/hist.h - latency histograms that merge exactly.
 *
 * Base-2 exponential, schema 4: sixteen buckets per octave, their bounds the
 * powers 2^(p/16) of one second, those of Prometheus native histograms. Our
 * bucket i is their bucket p = i + HIST_PROMETHEUS_OFFSET and holds
 *
 *     2^((p-1)/16) s  <  value  <=  2^(p/16) s
 *
 * (OpenTelemetry numbers the same bucket p - 1.) Index and bounds come from a
 * table of upper bounds floored to whole nanoseconds: a whole number is below
 * a bound exactly if it is below its floor, so no libm is asked and every
 * machine agrees. The range 2^-20 s .. 64 s is 26 octaves = 416 buckets;
 * values outside count in the first or last bucket and in `clamped`, min and
 * max stay exact. 0 (a phase that took no time) counts in the zero bucket.
 *
 * Buckets are kept sparse (sorted index/count pairs), because one window of
 * one cell holds a handful of values. Merging adds counts: exact,
 * associative, commutative.
 *
 * Encoding (varints, proto/base/buf.h), tens of bytes:
 *   count, [zero, clamped, sum_ns, min_ns, max_ns - min_ns, n,
 *           n x (index delta, count)]        nothing after a count of 0
 * The first delta counts from 0, each further one from the bucket before.
 */
#ifndef PROTO_HIST_H
#define PROTO_HIST_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"

#define HIST_SCHEMA  4
#define HIST_BUCKETS 416

struct hist_bucket {
    uint16_t index; /* 0..HIST_BUCKETS-1 */
    uint32_t count; /* > 0 */
};

struct hist {
    uint64_t count;          /* values, zero and clamped ones included */
    uint64_t sum_ns;         /* exact */
    uint64_t min_ns, max_ns; /* exact; meaningless while count is 0 */
    uint32_t zero;           /* values that were exactly 0 */
    uint32_t clamped;        /* values outside the range */
    uint16_t n, size;        /* buckets used, allocated */
    struct hist_bucket *buckets;
};

void hist_init(struct hist *h); /* all zero: a zeroed struct is valid */
void hist_fini(struct hist *h);
void hist_reset(struct hist *h); /* keep the memory */

/* Count one value. Returns 0, ERR_NOMEM, or ERR_TOOBIG if a counter would
 * overflow; nothing changed on failure. */
int hist_add(struct hist *h, uint64_t ns);

/* dst += src, which may be dst. Returns 0, ERR_NOMEM or ERR_TOOBIG as above;
 * dst unchanged on failure. */
int hist_merge(struct hist *dst, const struct hist *src);

/* The value at quantile q in [0, 1], in ns; 0 if empty.
 *
 * Nearest rank: the value meant is the ceil(q * count)-th smallest, at least
 * the first. The first and the last are known exactly (min and max); any
 * other is answered by the geometric middle of its bucket, clamped to
 * [min, max], which is within 2^(1/32) - 1 = 2.2 % of it (and half a ns, for
 * rounding) unless it was clamped. Never falls as q grows. */
uint64_t hist_quantile(const struct hist *h, double q);

/* Upper bound of bucket `index`, in ns, floored. */
uint64_t hist_bound_ns(unsigned index);
/* The bucket of ns > 0. */
unsigned hist_index(uint64_t ns);
/* Schema-4 Prometheus index of our bucket 0. */
#define HIST_PROMETHEUS_OFFSET (-319)

void hist_encode(const struct hist *h, struct wr *w);
/* Replaces *h. Returns 0, ERR_TRUNC, ERR_BAD or ERR_NOMEM; *h unchanged on
 * failure. Demands what hist_encode() writes: ascending indices, counts that
 * add up, min and max in the first and the last bucket, a sum that such
 * values can have. Leaves bytes behind the histogram alone. */
int hist_decode(struct hist *h, struct rd *r);

/* The same into the memory that *h has, for who reads many: allocates only if
 * that is too small, which HIST_BUCKETS buckets never are. *h is empty on
 * failure. */
int hist_read(struct hist *h, struct rd *r);

/* Assert the invariants. For tests. */
void hist_check(const struct hist *h);

#endif /* PROTO_HIST_H */
