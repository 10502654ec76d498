/* Cases first, then properties over random values, then the codec. */
#include "proto/hist.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define MS  1000000ull
#define SEC (1000 * MS)

#define LOWEST  953ull        /* 2^-20 s, floored: below the first bucket */
#define HIGHEST (64ull * SEC) /* the last bound */

static void add(struct hist *h, uint64_t ns)
{
    check_i64(hist_add(h, ns), 0);
    hist_check(h);
}

static void check_equal(const struct hist *a, const struct hist *b)
{
    check_u64(a->count, b->count);
    check_u64(a->sum_ns, b->sum_ns);
    check_u64(a->zero, b->zero);
    check_u64(a->clamped, b->clamped);
    check_u64(a->n, b->n);
    if (a->count > 0) {
        check_u64(a->min_ns, b->min_ns);
        check_u64(a->max_ns, b->max_ns);
    }
    for (size_t i = 0; i < a->n; i++) {
        check_u64(a->buckets[i].index, b->buckets[i].index);
        check_u64(a->buckets[i].count, b->buckets[i].count);
    }
}

/* --- bounds ------------------------------------------------------------- */

static void bounds_are_the_powers_of_two_to_a_sixteenth(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        int p = (int)i + HIST_PROMETHEUS_OFFSET;
        long double bound_ns = exp2l((long double)p / 16) * 1e9L;
        check_u64(hist_bound_ns(i), (uint64_t)bound_ns);
    }
    check_u64(hist_bound_ns(HIST_BUCKETS - 1), HIGHEST);
}

static void one_second_is_in_prometheus_bucket_zero(void **state)
{
    (void)state;
    /* Prometheus bucket 0 is (2^(-1/16), 1] s, bucket 16 ends at 2 s. */
    check_i64((int)hist_index(SEC) + HIST_PROMETHEUS_OFFSET, 0);
    check_i64((int)hist_index(SEC + 1) + HIST_PROMETHEUS_OFFSET, 1);
    check_i64((int)hist_index(2 * SEC) + HIST_PROMETHEUS_OFFSET, 16);
    check_i64((int)hist_index(SEC / 2) + HIST_PROMETHEUS_OFFSET, -16);
    check_i64((int)hist_index(957603280) + HIST_PROMETHEUS_OFFSET, -1);
    check_i64((int)hist_index(957603281) + HIST_PROMETHEUS_OFFSET, 0);
}

static void a_bound_belongs_to_the_bucket_it_ends(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        uint64_t bound_ns = hist_bound_ns(i);
        unsigned next = i + 1 < HIST_BUCKETS ? i + 1 : i;
        check_u64(hist_index(bound_ns), i);
        check_u64(hist_index(bound_ns + 1), next);
    }
    check_u64(hist_index(1), 0);
    check_u64(hist_index(UINT64_MAX), HIST_BUCKETS - 1);
}

/* --- counting ----------------------------------------------------------- */

static void an_empty_one_answers_zero(void **state)
{
    (void)state;
    struct hist h = {0};
    check_u64(hist_quantile(&h, 0.5), 0);
    check_u64(hist_quantile(&h, 0), 0);
    check_u64(hist_quantile(&h, 1), 0);
    hist_check(&h);
    hist_fini(&h);
}

static void count_sum_and_ends_are_exact(void **state)
{
    (void)state;
    struct hist h;
    hist_init(&h);
    add(&h, 3 * MS);
    add(&h, 1 * MS);
    add(&h, 7);
    add(&h, 100 * SEC);
    add(&h, 0);
    check_u64(h.count, 5);
    check_u64(h.sum_ns, 4 * MS + 7 + 100 * SEC);
    check_u64(h.min_ns, 0);
    check_u64(h.max_ns, 100 * SEC);
    check_u64(h.zero, 1);
    check_u64(h.clamped, 2);
    check_u64(h.n, 4);
    check_u64(h.buckets[0].index, 0);
    check_u64(h.buckets[3].index, HIST_BUCKETS - 1);
    hist_fini(&h);
}

static void the_range_ends_where_it_says(void **state)
{
    (void)state;
    static const struct {
        uint64_t ns;
        unsigned clamped;
    } cases[] = {{1, 1},           {LOWEST, 1}, {LOWEST + 1, 0}, {HIGHEST, 0},
                 {HIGHEST + 1, 1}, {0, 0},      {UINT64_MAX, 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct hist h = {0};
        add(&h, cases[i].ns);
        check_u64(h.clamped, cases[i].clamped);
        check_u64(hist_quantile(&h, 0.5), cases[i].ns);
        hist_fini(&h);
    }
}

static void a_sum_that_would_overflow_is_refused(void **state)
{
    (void)state;
    struct hist h = {0};
    add(&h, UINT64_MAX - 5);
    check_i64(hist_add(&h, 6), ERR_TOOBIG);
    check_u64(h.count, 1);
    check_u64(h.n, 1);
    add(&h, 5);
    struct hist twin = {0};
    add(&twin, 1);
    check_i64(hist_merge(&h, &twin), ERR_TOOBIG);
    check_u64(h.count, 2);
    hist_fini(&h);
    hist_fini(&twin);
}

static void a_bucket_that_would_overflow_is_refused(void **state)
{
    (void)state;
    struct hist a = {0};
    struct hist b = {0};
    add(&a, MS);
    add(&b, MS);
    /* As if it had counted 2^32 - 1 of them. */
    a.buckets[0].count = UINT32_MAX;
    a.count = UINT32_MAX;
    a.sum_ns = UINT32_MAX * MS;
    check_i64(hist_add(&a, MS), ERR_TOOBIG);
    check_i64(hist_merge(&a, &b), ERR_TOOBIG);
    check_i64(hist_merge(&b, &a), ERR_TOOBIG);
    check_u64(a.count, UINT32_MAX);
    check_u64(b.count, 1);
    hist_check(&a);
    hist_check(&b);
    a.zero = UINT32_MAX;
    check_i64(hist_add(&a, 0), ERR_TOOBIG);
    a.clamped = UINT32_MAX;
    check_i64(hist_add(&a, 1), ERR_TOOBIG);
    check_i64(hist_add(&a, 2 * MS), 0);
    hist_fini(&a);
    hist_fini(&b);
}

static void reset_forgets_all_but_the_memory(void **state)
{
    (void)state;
    struct hist h = {0};
    for (uint64_t i = 1; i < 100; i++)
        add(&h, i * MS);
    unsigned size = h.size;
    hist_reset(&h);
    check_u64(h.count, 0);
    check_u64(h.n, 0);
    check_u64(h.size, size);
    add(&h, 5);
    check_u64(h.min_ns, 5);
    check_u64(h.max_ns, 5);
    hist_fini(&h);
}

/* --- quantiles ---------------------------------------------------------- */

static void the_rank_is_the_nearest(void **state)
{
    (void)state;
    struct hist h = {0};
    /* Three values an octave apart: which one is meant shows. */
    add(&h, 1000 * MS);
    add(&h, 2000 * MS);
    add(&h, 4000 * MS);
    check_u64(hist_quantile(&h, 0), 1000 * MS);
    check_u64(hist_quantile(&h, 0.33), 1000 * MS);
    check_true(hist_quantile(&h, 0.34) > 1900 * MS);
    check_true(hist_quantile(&h, 0.5) < 2100 * MS);
    check_true(hist_quantile(&h, 0.66) < 2100 * MS);
    check_u64(hist_quantile(&h, 0.67), 4000 * MS);
    check_u64(hist_quantile(&h, 1), 4000 * MS);
    check_u64(hist_quantile(&h, -1), 1000 * MS);
    check_u64(hist_quantile(&h, 2), 4000 * MS);
    check_u64(hist_quantile(&h, (double)NAN), 1000 * MS);
    hist_fini(&h);
}

/* 0.07 * 100 is 7.000000000000001 in doubles; rank 7 is meant, not 8. */
static void a_whole_rank_is_not_rounded_up(void **state)
{
    (void)state;
    struct hist h = {0};
    for (int i = 0; i < 100; i++)
        add(&h, i < 7 ? MS : 64 * MS);
    check_true(hist_quantile(&h, 0.07) < 2 * MS);
    check_true(hist_quantile(&h, 0.0701) > 60 * MS);
    hist_fini(&h);
}

static void zeros_are_the_lowest_ranks(void **state)
{
    (void)state;
    struct hist h = {0};
    for (int i = 0; i < 10; i++)
        add(&h, i < 6 ? 0 : MS);
    check_u64(hist_quantile(&h, 0.6), 0);
    check_true(hist_quantile(&h, 0.61) > 900000);
    hist_fini(&h);
}

static void the_middle_is_geometric(void **state)
{
    (void)state;
    struct hist h = {0};
    /* The bucket (2^(-1/16), 1] s; its middle is 2^(-1/32) s. */
    add(&h, 500 * MS);
    add(&h, 999 * MS);
    add(&h, 999 * MS);
    add(&h, 2000 * MS);
    check_u64(hist_quantile(&h, 0.5), 978572062);
    /* Clamped to the largest value, if that lies below the middle. */
    struct hist low = {0};
    add(&low, 960 * MS);
    add(&low, 961 * MS);
    add(&low, 962 * MS);
    check_u64(hist_quantile(&low, 0.5), 962 * MS);
    hist_fini(&h);
    hist_fini(&low);
}

static bool is_close(uint64_t got, uint64_t want)
{
    return fabs((double)got - (double)want) <= 0.022 * (double)want + 0.5;
}

/* The worst values there are: both ends of each bucket, in the middle rank. */
static void no_value_is_off_by_more_than_2_2_percent(void **state)
{
    (void)state;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        uint64_t ends[2] = {i ? hist_bound_ns(i - 1) + 1 : LOWEST + 1,
                            hist_bound_ns(i)};
        for (int e = 0; e < 2; e++) {
            struct hist h = {0};
            add(&h, LOWEST + 1);
            add(&h, ends[e]);
            add(&h, HIGHEST);
            check_true(is_close(hist_quantile(&h, 0.5), ends[e]));
            hist_fini(&h);
        }
    }
}

/* Four shapes of latency; one of them leaves the range on both sides. */
static uint64_t draw(struct rng *rng, int shape)
{
    double u = rng_unit(rng);
    switch (shape) {
    case 0:
        return (uint64_t)(1e6 + u * 4e5);
    case 1: /* two modes: retransmits */
        return (uint64_t)(u < 0.95 ? 1.2e6 * (1 + u) : 2e8 * (1 + u));
    case 2: /* heavy tail */
        return (uint64_t)(2e5 / pow(1 - u, 0.8));
    default: /* any number of bits, zero too */
        return rng_next(rng) >> (25 + rng_below(rng, 39));
    }
}

static int by_value(const void *a, const void *b)
{
    const uint64_t *x = a;
    const uint64_t *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* The exact order statistic, with the rank computed in whole numbers: the
 * quantile is `permille` / 1000. */
static uint64_t exact(const uint64_t *sorted, size_t n, unsigned permille)
{
    size_t rank = (n * permille + 999) / 1000;
    return sorted[rank ? rank - 1 : 0];
}

static void quantiles_are_within_2_2_percent_of_exact(void **state)
{
    (void)state;
    static const unsigned permilles[] = {0,   1,   10,  70,  250, 500,
                                         750, 900, 950, 990, 999, 1000};
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 400; round++) {
        uint64_t values[2000];
        size_t n = 1 + (size_t)rng_below(&rng, round % 4 ? 50 : 2000);
        struct hist h = {0};
        for (size_t i = 0; i < n; i++) {
            values[i] = draw(&rng, round % 4);
            check_i64(hist_add(&h, values[i]), 0);
        }
        hist_check(&h);
        qsort(values, n, sizeof(values[0]), by_value);

        uint64_t before = 0;
        for (size_t i = 0; i < sizeof(permilles) / sizeof(*permilles); i++) {
            uint64_t want = exact(values, n, permilles[i]);
            uint64_t got = hist_quantile(&h, permilles[i] / 1000.0);
            check_true(got >= before);
            before = got;
            if (want == 0)
                check_u64(got, 0);
            else if (want > LOWEST && want <= HIGHEST)
                check_true(is_close(got, want));
        }
        check_u64(hist_quantile(&h, 0), values[0]);
        check_u64(hist_quantile(&h, 1), values[n - 1]);
        hist_fini(&h);
    }
}

/* --- merging ------------------------------------------------------------ */

/* Split values over parts at random, merge the parts in random pairs until
 * one is left: the same as counting all in one. */
static void merging_in_any_grouping_equals_counting_all(void **state)
{
    (void)state;
    enum { PARTS = 7 };
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 500; round++) {
        struct hist all = {0};
        struct hist parts[PARTS] = {0};
        uint64_t n = rng_below(&rng, 200);
        for (uint64_t i = 0; i < n; i++) {
            uint64_t ns = draw(&rng, round % 4);
            check_i64(hist_add(&all, ns), 0);
            check_i64(hist_add(&parts[rng_below(&rng, PARTS)], ns), 0);
        }
        for (size_t left = PARTS; left > 1; left--) {
            size_t from = (size_t)rng_below(&rng, left);
            struct hist taken = parts[from];
            parts[from] = parts[left - 1];
            struct hist *into = &parts[rng_below(&rng, left - 1)];
            check_i64(hist_merge(into, &taken), 0);
            hist_check(into);
            hist_fini(&taken);
        }
        check_equal(&parts[0], &all);
        hist_fini(&parts[0]);
        hist_fini(&all);
    }
}

static void merging_with_itself_doubles(void **state)
{
    (void)state;
    struct hist h = {0};
    add(&h, 0);
    add(&h, 5);
    for (uint64_t i = 1; i < 20; i++)
        add(&h, i * MS);
    check_i64(hist_merge(&h, &h), 0);
    hist_check(&h);
    check_u64(h.count, 42);
    check_u64(h.zero, 2);
    check_u64(h.clamped, 2);
    check_u64(h.sum_ns, 2 * (5 + 190 * MS));
    hist_fini(&h);
}

static void merging_nothing_changes_nothing(void **state)
{
    (void)state;
    struct hist h = {0};
    struct hist none = {0};
    check_i64(hist_merge(&h, &none), 0);
    check_u64(h.count, 0);
    add(&h, MS);
    check_i64(hist_merge(&h, &none), 0);
    check_u64(h.min_ns, MS);
    check_i64(hist_merge(&none, &h), 0);
    check_equal(&none, &h);
    hist_fini(&h);
    hist_fini(&none);
}

/* --- encoding ----------------------------------------------------------- */

struct bytes {
    uint8_t data[8192];
    size_t len;
};

static void encode(const struct hist *h, struct bytes *b)
{
    struct wr w;
    wr_init_fixed(&w, b->data, sizeof(b->data));
    hist_encode(h, &w);
    check_i64(wr_err(&w), 0);
    b->len = w.len;
}

static int decode(struct hist *h, const void *data, size_t len)
{
    struct rd r;
    rd_init(&r, data, len);
    return hist_decode(h, &r);
}

static void the_encoding_is_this(void **state)
{
    (void)state;
    struct hist h = {0};
    struct bytes b;
    encode(&h, &b);
    check_u64(b.len, 1);
    check_u64(b.data[0], 0);

    /* 1000 and 1300 ns are in buckets 1 and 7, 5 ns below the range. */
    add(&h, 0);
    add(&h, 5);
    add(&h, 1000);
    add(&h, 1000);
    add(&h, 1300);
    static const uint8_t want[] = {5, 1, 1, 0xe9, 0x19, 0, 0x94, 0x0a,
                                   3, 0, 1, 1,    2,    6, 1};
    encode(&h, &b);
    check_u64(b.len, sizeof(want));
    assert_memory_equal(b.data, want, sizeof(want));
    hist_fini(&h);
}

static void random_hist(struct rng *rng, struct hist *h, int shape)
{
    *h = (struct hist){0};
    uint64_t n = rng_below(rng, 60);
    for (uint64_t i = 0; i < n; i++)
        check_i64(hist_add(h, draw(rng, shape)), 0);
}

static void decoding_gives_back_what_was_encoded(void **state)
{
    (void)state;
    struct rng rng;
    struct bytes b;
    struct bytes again;
    struct hist got = {0};

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 1000; round++) {
        struct hist h;
        random_hist(&rng, &h, round % 4);
        encode(&h, &b);
        check_i64(decode(&got, b.data, b.len), 0);
        hist_check(&got);
        check_equal(&got, &h);
        encode(&got, &again);
        check_u64(again.len, b.len);
        assert_memory_equal(again.data, b.data, b.len);
        hist_fini(&h);
    }
    hist_fini(&got);
}

static void a_cut_one_is_refused_at_every_length(void **state)
{
    (void)state;
    struct rng rng;
    struct bytes b;
    struct hist h;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 100; round++) {
        random_hist(&rng, &h, round % 4);
        encode(&h, &b);
        for (size_t len = 0; len < b.len; len++) {
            struct hist got = {.count = 77};
            check_i64(decode(&got, b.data, len), ERR_TRUNC);
            check_u64(got.count, 77);
        }
        hist_fini(&h);
    }
}

static void a_flipped_bit_never_makes_an_impossible_one(void **state)
{
    (void)state;
    struct rng rng;
    struct bytes b;
    struct hist h;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 100; round++) {
        random_hist(&rng, &h, round % 4);
        encode(&h, &b);
        for (size_t bit = 0; bit < b.len * 8; bit++) {
            b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
            struct hist got = {0};
            if (decode(&got, b.data, b.len) == 0)
                hist_check(&got);
            hist_fini(&got);
            b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        hist_fini(&h);
    }
}

/* Fields of a small valid one: two values in bucket 1, one in bucket 7. */
static void lies_are_refused(void **state)
{
    (void)state;
    enum { LEN = 14 };
    /* count zero clamped sum(3300) min(1000) spread(300) n
     * (1, 2) (6, 1) */
    static const uint8_t good[LEN] = {3,    0, 0, 0xe4, 0x19, 0xe8, 0x07,
                                      0xac, 2, 2, 1,    2,    6,    1};
    static const struct {
        int at;
        uint8_t value;
    } lies[] = {
        {0, 4},            /* counts do not add up */
        {0, 2},    {1, 1}, /* a zero, but the smallest is not 0 */
        {2, 1},            /* nothing is out of range */
        {4, 0x01},         /* sum below count * min */
        {4, 0x7f},         /* sum above count * max */
        {6, 0x08},         /* min in another bucket than the first */
        {8, 6},            /* max in another bucket than the last */
        {9, 1},            /* fewer buckets than values need */
        {10, 2},           /* first bucket is not that of min */
        {11, 0},           /* an empty bucket */
        {12, 0},           /* indices do not ascend */
        {12, 7},           /* last bucket is not that of max */
        {13, 2},
    };
    struct hist h = {0};
    check_i64(decode(&h, good, LEN), 0);
    check_u64(h.max_ns, 1300);
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        uint8_t bad[LEN];
        memcpy(bad, good, LEN);
        bad[lies[i].at] = lies[i].value;
        check_i64(decode(&h, bad, LEN), ERR_BAD);
        check_u64(h.count, 3);
    }
    hist_fini(&h);
}

static void what_claims_too_much_is_refused(void **state)
{
    (void)state;
    /* Says 416 buckets, has bytes for one. */
    static const uint8_t many[] = {1, 0, 0, 9, 9, 0, 0xa0, 0x03, 0, 1};
    /* 417 buckets. */
    static const uint8_t more[] = {1, 0, 0, 9, 9, 0, 0xa1, 0x03, 0, 1};
    /* Bucket 416. */
    static const uint8_t past[] = {1, 0, 1, 9, 9, 0, 1, 0xa0, 0x03, 1};
    /* A delta of 2^64 - 1, which would wrap. */
    static const uint8_t wrap[] = {1,    0,    1,    9,    9,    0,
                                   1,    0xff, 0xff, 0xff, 0xff, 0xff,
                                   0xff, 0xff, 0xff, 0xff, 1,    1};
    /* A bucket count of 2^32. */
    static const uint8_t wide[] = {0x80, 0x80, 0x80, 0x80, 0x10, 0,
                                   1,    9,    9,    0,    1,    0,
                                   0x80, 0x80, 0x80, 0x80, 0x10};
    /* One bucket twice. */
    static const uint8_t twice[] = {2, 0, 0, 0xd0, 0x0f, 0xe8, 0x07,
                                    0, 2, 1, 1,    0,    1};
    /* 5 ns, but nothing is said to be out of range. */
    static const uint8_t inside[] = {1, 0, 0, 5, 5, 0, 1, 0, 1};
    /* min + spread wraps. */
    static const uint8_t spread[] = {1,    0,    1,    9,    9,    0xff,
                                     0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                     0xff, 0xff, 1,    1,    0,    1};
    struct hist h = {0};
    check_i64(decode(&h, many, sizeof(many)), ERR_TRUNC);
    check_i64(decode(&h, more, sizeof(more)), ERR_BAD);
    check_i64(decode(&h, past, sizeof(past)), ERR_BAD);
    check_i64(decode(&h, wrap, sizeof(wrap)), ERR_BAD);
    check_i64(decode(&h, wide, sizeof(wide)), ERR_BAD);
    check_i64(decode(&h, spread, sizeof(spread)), ERR_BAD);
    check_i64(decode(&h, twice, sizeof(twice)), ERR_BAD);
    check_i64(decode(&h, inside, sizeof(inside)), ERR_BAD);
    check_u64(h.size, 0);
}

static void bytes_behind_it_are_left_alone(void **state)
{
    (void)state;
    static const uint8_t two[] = {0, 1, 1, 0, 0, 0, 0, 0, 9};
    struct hist h = {0};
    struct rd r;
    rd_init(&r, two, sizeof(two));
    check_i64(hist_decode(&h, &r), 0);
    check_u64(r.pos, 1);
    check_i64(hist_decode(&h, &r), 0);
    check_u64(h.count, 1);
    check_u64(h.zero, 1);
    check_u64(rd_left(&r), 1);
    hist_fini(&h);
}

/* What a warm cell of one window holds: ten values around a millisecond. */
static void one_window_takes_tens_of_bytes(void **state)
{
    (void)state;
    struct rng rng;
    struct hist h = {0};
    struct bytes b;

    rng_seed(&rng, check_seed());
    for (int i = 0; i < 10; i++)
        add(&h, MS + rng_below(&rng, MS / 5));
    encode(&h, &b);
    check_true(b.len < 40);
    check_true(h.size <= 7);
    hist_fini(&h);
}

/* Whatever stands behind it, and however much. */
static void numbers_are_read_in_their_shortest_form_only(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[32];
        int err;
    } cases[] = {
        {{1, 1, 0, 0, 0, 0, 0}, 0},
        {{0x81, 0, 1, 0, 0, 0, 0, 0}, ERR_BAD},
        {{1, 1, 0, 0x80, 0x80, 0, 0, 0, 0}, ERR_BAD},
        {{1, 1, 0, 128, 128, 128, 128, 128, 128, 128, 128, 128, 2}, ERR_BAD},
    };
    struct hist h = {0};
    for (size_t i = 0; i < 4; i++) {
        for (size_t len = 17; len <= 32; len++) {
            struct rd r;
            rd_init(&r, cases[i].bytes, len);
            check_i64(hist_decode(&h, &r), cases[i].err);
            rd_init(&r, cases[i].bytes, len);
            check_i64(hist_read(&h, &r), cases[i].err);
            check_u64(h.count, cases[i].err ? 0 : 1);
        }
    }
    hist_fini(&h);
}

static void reading_uses_the_memory_that_is_there(void **state)
{
    (void)state;
    struct hist h = {0};
    struct hist got = {0};
    struct wr w;
    struct rd r;
    wr_init_grow(&w, 65536);
    for (unsigned i = 0; i < 15; i++)
        check_i64(hist_add(&h, hist_bound_ns(i * 20)), 0);
    hist_encode(&h, &w);
    rd_init(&r, w.data, w.len);
    check_i64(hist_read(&got, &r), 0);
    const struct hist_bucket *buckets = got.buckets;
    for (int i = 0; i < 3; i++) {
        rd_init(&r, w.data, w.len);
        check_i64(hist_read(&got, &r), 0);
        check_true(got.buckets == buckets);
        check_u64(got.count, 15);
        check_u64(got.sum_ns, h.sum_ns);
        check_u64(got.n, h.n);
        hist_check(&got);
    }
    hist_fini(&got);
    hist_fini(&h);
    wr_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bounds_are_the_powers_of_two_to_a_sixteenth),
        cmocka_unit_test(one_second_is_in_prometheus_bucket_zero),
        cmocka_unit_test(a_bound_belongs_to_the_bucket_it_ends),
        cmocka_unit_test(an_empty_one_answers_zero),
        cmocka_unit_test(count_sum_and_ends_are_exact),
        cmocka_unit_test(the_range_ends_where_it_says),
        cmocka_unit_test(a_sum_that_would_overflow_is_refused),
        cmocka_unit_test(a_bucket_that_would_overflow_is_refused),
        cmocka_unit_test(reset_forgets_all_but_the_memory),
        cmocka_unit_test(the_rank_is_the_nearest),
        cmocka_unit_test(a_whole_rank_is_not_rounded_up),
        cmocka_unit_test(zeros_are_the_lowest_ranks),
        cmocka_unit_test(the_middle_is_geometric),
        cmocka_unit_test(no_value_is_off_by_more_than_2_2_percent),
        cmocka_unit_test(quantiles_are_within_2_2_percent_of_exact),
        cmocka_unit_test(merging_in_any_grouping_equals_counting_all),
        cmocka_unit_test(merging_with_itself_doubles),
        cmocka_unit_test(merging_nothing_changes_nothing),
        cmocka_unit_test(the_encoding_is_this),
        cmocka_unit_test(decoding_gives_back_what_was_encoded),
        cmocka_unit_test(a_cut_one_is_refused_at_every_length),
        cmocka_unit_test(a_flipped_bit_never_makes_an_impossible_one),
        cmocka_unit_test(lies_are_refused),
        cmocka_unit_test(what_claims_too_much_is_refused),
        cmocka_unit_test(bytes_behind_it_are_left_alone),
        cmocka_unit_test(one_window_takes_tens_of_bytes),
        cmocka_unit_test(numbers_are_read_in_their_shortest_form_only),
        cmocka_unit_test(reading_uses_the_memory_that_is_there),
    };
    return cmocka_run_group_tests_name("hist", tests, NULL, NULL);
}
