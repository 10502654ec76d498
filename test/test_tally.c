/* Records by hand, then sums in any order against struct hist. */
#include "mesh/tally.h"

#include <string.h>

#include "mesh/texts.h"
#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define MS 1000000ull

struct record {
    uint8_t data[TALLY_RECORD_MAX];
    size_t len;
};

static void put(const struct tally *t, uint64_t base, struct record *r)
{
    struct wr w;
    wr_init_fixed(&w, r->data, sizeof(r->data));
    tally_encode(t, base, &w);
    check_i64(wr_err(&w), 0);
    r->len = w.len;
}

static void fill(struct frame_cell *c, unsigned ok, uint64_t ns)
{
    c->attempts += ok;
    c->outcomes[OUTCOME_OK] += ok;
    for (unsigned i = 0; i < ok; i++)
        check_i64(hist_add(&c->series[SERIES_TOTAL], ns), 0);
}

static void an_empty_cell_changes_nothing(void **state)
{
    (void)state;
    static struct tally t;
    struct frame_cell c = {.retransmits = 3, .max_lag_us = 5};
    tally_reset(&t);
    check_i64(tally_add_cell(&t, &c, 9, 1), 0);
    check_u64(t.attempts, 0);
    check_u64(t.n_origins, 0);
    check_u64(t.retransmits, 0);
}

static void an_origin_is_counted_once_up_to_the_limit(void **state)
{
    (void)state;
    static struct tally t;
    struct frame_cell c = {.attempts = 1, .outcomes = {1}};
    tally_reset(&t);
    for (uint32_t i = 0; i < 3 * TALLY_ORIGINS_MAX; i++) {
        check_i64(tally_add_cell(&t, &c, 5, (i * 37) % 50), 0);
        check_u64(t.n_origins, i < 50 ? i + 1 : 50);
    }
    for (uint32_t i = 0; i < 100; i++)
        check_i64(tally_add_cell(&t, &c, 5, 1000 - i), 0);
    check_u64(t.n_origins, TALLY_ORIGINS_MAX);
    for (uint32_t i = 1; i < t.n_origins; i++)
        check_true(t.origins[i] > t.origins[i - 1]);
}

static void the_newest_is_that_of_an_attempt(void **state)
{
    (void)state;
    static struct tally t;
    struct record a;
    struct frame_cell c = {.attempts = 1, .outcomes = {1}};
    tally_reset(&t);
    tally_add_cell(&t, &c, 107, 1);
    tally_add_cell(&t, &c, 103, 1);
    check_u64(t.newest, 107);
    put(&t, 100, &a);
    check_u64(tally_newest(a.data, a.len, 100), 107);
    check_u64(tally_attempts(a.data, a.len), 2);
    tally_reset(&t);
    check_i64(tally_add(&t, a.data, a.len, 40), 0);
    check_u64(t.newest, 47);
}

static void an_overflow_leaves_the_histogram_as_it_was(void **state)
{
    (void)state;
    static struct tally t;
    struct frame_cell c = {.attempts = 1, .outcomes = {1}};
    tally_reset(&t);
    check_i64(hist_add(&c.series[0], UINT64_MAX / 2 + 1), 0);
    check_i64(tally_add_cell(&t, &c, 5, 1), 0);
    check_i64(tally_add_cell(&t, &c, 5, 1), ERR_TOOBIG);
    check_u64(t.series[0].count, 1);
    check_u64(t.attempts, 2);
    c.series[0].sum_ns = c.series[0].min_ns = c.series[0].max_ns = MS;
    c.series[0].clamped = 0;
    c.series[0].count = c.series[0].buckets[0].count = UINT32_MAX;
    c.series[0].buckets[0].index = 7;
    check_i64(tally_add_cell(&t, &c, 5, 1), ERR_TOOBIG);
    check_u64(t.series[0].count, 1);
    check_u64(t.series[0].buckets[7], 0);
    hist_fini(&c.series[0]);
}

/* One record of each kind of wrong. */
/* Frames are checked for form alone, and a part with one record that others
 * refuse is refused by them as a whole. */
static void whatever_was_added_makes_a_record_that_others_take(void **state)
{
    (void)state;
    static struct tally t;
    static struct tally sum;
    static struct record r;
    struct frame_cell c = {.attempts = UINT32_MAX,
                           .outcomes = {UINT32_MAX},
                           .retransmits = UINT32_MAX,
                           .reconnects = UINT32_MAX,
                           .user_clock = UINT32_MAX,
                           .max_lag_us = UINT64_MAX};
    tally_reset(&t);
    check_i64(tally_add_cell(&t, &c, 5, 1), 0);
    put(&t, 5, &r);
    check_i64(tally_check(r.data, r.len, 1), 0);
    size_t n = 1;
    while (tally_add_cell(&t, &c, 5, 1) == 0)
        check_true(n++ < 70000);
    check_u64(n, 65536); /* 2^48 / (2^32 - 1) */
    put(&t, 5, &r);
    check_i64(tally_check(r.data, r.len, 1), 0);

    tally_reset(&sum);
    check_i64(tally_add(&sum, r.data, r.len, 5), 0);
    check_i64(tally_add(&sum, r.data, r.len, 6), ERR_TOOBIG);
    check_u64(sum.attempts, t.attempts);
    check_u64(sum.newest, 5);
    c.attempts = c.outcomes[0] = 7;
    check_i64(tally_add_cell(&sum, &c, 6, 2), 0);
    put(&sum, 5, &r);
    check_i64(tally_check(r.data, r.len, 2), 0);
}

static void what_no_node_can_have_measured_is_refused(void **state)
{
    (void)state;
    static struct tally good;
    static struct tally t;
    struct record r;
    struct frame_cell c = {.is_trusted = true};
    fill(&c, 3, MS);
    tally_reset(&good);
    tally_add_cell(&good, &c, 105, 9);
    tally_add_cell(&good, &c, 105, 4);
    hist_fini(&c.series[SERIES_TOTAL]);
    put(&good, 100, &r);
    check_i64(tally_check(r.data, r.len, 6), 0);
    check_i64(tally_check(r.data, r.len, 5), ERR_BAD); /* newest too late */
    check_i64(tally_check(r.data, r.len - 1, 6), ERR_TRUNC);
    r.data[r.len] = 0;
    check_true(tally_check(r.data, r.len + 1, 6) < 0);
    for (int wrong = 0; wrong < 9; wrong++) {
        memcpy(&t, &good, sizeof(t));
        if (wrong == 0)
            t.trusted = t.attempts + 1;
        else if (wrong == 1)
            t.attempts++;
        else if (wrong == 2)
            t.attempts = t.trusted = t.outcomes[0] = 0;
        else if (wrong == 3)
            t.outcomes[0] = t.attempts = TALLY_COUNT_MAX + 1;
        else if (wrong == 4)
            t.n_origins = 0;
        else if (wrong == 5)
            t.origins[1] = t.origins[0];
        else if (wrong == 6)
            t.series[SERIES_TOTAL].max_ns *= 2;
        else if (wrong == 7)
            t.outcomes[0] = t.attempts = t.trusted = 5; /* less than values */
        else
            t.max_lag_us = TALLY_COUNT_MAX + 1;
        put(&t, 100, &r);
        if (tally_check(r.data, r.len, 6) == 0)
            fail_msg("%d was taken", wrong);
    }
}

static void random_cell(struct rng *rng, struct frame_cell *c)
{
    *c = (struct frame_cell){.is_trusted = rng_below(rng, 2),
                             .retransmits = (uint32_t)rng_below(rng, 9),
                             .reconnects = (uint32_t)rng_below(rng, 9),
                             .user_clock = (uint32_t)rng_below(rng, 9),
                             .max_lag_us = rng_below(rng, 1u << 20)};
    c->attempts = c->outcomes[OUTCOME_OK] = (uint32_t)rng_below(rng, 9) + 1;
    c->outcomes[OUTCOME_EOF] = (uint32_t)rng_below(rng, 2);
    c->attempts += c->outcomes[OUTCOME_EOF];
    for (size_t k = 0; k < SERIES_N; k++) {
        for (uint64_t n = rng_below(rng, c->outcomes[OUTCOME_OK] + 1); n; n--)
            hist_add(&c->series[k], rng_next(rng) >> rng_below(rng, 64) >> 8);
    }
}

static void check_hist(const struct hist *a, const struct hist *b)
{
    hist_check(a);
    check_u64(a->count, b->count);
    check_u64(a->n, b->n);
    check_u64(a->zero, b->zero);
    check_u64(a->clamped, b->clamped);
    check_u64(a->sum_ns, b->sum_ns);
    check_u64(a->count ? a->min_ns : 0, b->count ? b->min_ns : 0);
    check_u64(a->count ? a->max_ns : 0, b->count ? b->max_ns : 0);
    for (size_t i = 0; i < a->n; i++) {
        check_u64(a->buckets[i].index, b->buckets[i].index);
        check_u64(a->buckets[i].count, b->buckets[i].count);
    }
}

/* Cells added one by one, or in groups through records and their records, in
 * any order: the same bytes, and the histograms that hist_merge() makes. */
static void groups_and_order_do_not_matter(void **state)
{
    (void)state;
    enum { CELLS = 24 };
    struct rng rng;
    static struct tally all;
    static struct tally group;
    static struct tally groups;
    struct record one;
    struct record other;
    struct matrix_cell read = {.attempts = 0};
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 300; round++) {
        struct frame_cell cells[CELLS];
        struct hist want[SERIES_N] = {0};
        tally_reset(&all);
        for (uint32_t i = 0; i < CELLS; i++) {
            random_cell(&rng, &cells[i]);
            tally_add_cell(&all, &cells[i], 200 + i % 6, i % 5);
            for (size_t k = 0; k < SERIES_N; k++)
                check_i64(hist_merge(&want[k], &cells[i].series[k]), 0);
        }
        tally_reset(&groups);
        uint32_t step = 1 + (uint32_t)rng_below(&rng, CELLS);
        for (uint32_t end = CELLS; end > 0; end -= step < end ? step : end) {
            tally_reset(&group);
            for (uint32_t i = end > step ? end - step : 0; i < end; i++)
                tally_add_cell(&group, &cells[i], 200 + i % 6, i % 5);
            put(&group, 200, &one);
            check_i64(tally_check(one.data, one.len, 6), 0);
            check_i64(tally_add(&groups, one.data, one.len, 200), 0);
        }
        put(&all, 180, &one);
        put(&groups, 180, &other);
        check_u64(one.len, other.len);
        check_true(memcmp(one.data, other.data, one.len) == 0);
        check_i64(tally_read(&groups, &read), 0);
        check_u64(read.nodes, 5);
        check_u64(read.ok + read.failed, read.attempts);
        for (size_t k = 0; k < SERIES_N; k++) {
            check_hist(&read.series[k], &want[k]);
            hist_fini(&want[k]);
        }
        for (uint32_t i = 0; i < CELLS; i++)
            frame_cell_fini(&cells[i]);
    }
    for (size_t k = 0; k < SERIES_N; k++)
        hist_fini(&read.series[k]);
}

/* --- texts -------------------------------------------------------------- */

static void a_text_lives_as_long_as_it_is_held(void **state)
{
    (void)state;
    struct texts t;
    uint32_t a;
    uint32_t b;
    uint32_t again;
    texts_init(&t, 2, 5);
    check_u64(texts_find(&t, "a"), TEXTS_NONE);
    check_i64(texts_take(&t, "a", &a), 0);
    check_i64(texts_take(&t, "b", &b), 0);
    check_i64(texts_take(&t, "a", &again), 0);
    check_u64(again, a);
    check_text(texts_get(&t, b), "b");
    check_i64(texts_take(&t, "c", &again), ERR_TOOBIG);
    texts_give(&t, a);
    check_u64(texts_find(&t, "a"), a);
    texts_give(&t, a);
    check_u64(texts_find(&t, "a"), TEXTS_NONE);
    check_i64(texts_take(&t, "c", &again), 0);
    check_u64(again, a);
    texts_fini(&t);
}

static void texts_come_and_go_in_any_order(void **state)
{
    (void)state;
    struct texts t;
    struct rng rng;
    unsigned held[300] = {0};
    size_t distinct = 0;
    rng_seed(&rng, check_seed());
    texts_init(&t, 300, 9);
    for (int i = 0; i < 60000; i++) {
        uint64_t which = rng_below(&rng, 300);
        char name[3] = {(char)('a' + which % 20), (char)('a' + which / 20), 0};
        uint32_t number = texts_find(&t, name);
        check_true((number != TEXTS_NONE) == (held[which] > 0));
        if (held[which] && rng_below(&rng, 2)) {
            texts_give(&t, number);
            distinct -= --held[which] == 0;
        } else if (rng_below(&rng, 1000) < (unsigned)(i / 100 % 1000)) {
            check_i64(texts_take(&t, name, &number), 0);
            check_text(texts_get(&t, number), name);
            distinct += held[which]++ == 0;
        }
        check_u64(t.count, distinct);
    }
    texts_fini(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_cell_changes_nothing),
        cmocka_unit_test(an_origin_is_counted_once_up_to_the_limit),
        cmocka_unit_test(the_newest_is_that_of_an_attempt),
        cmocka_unit_test(an_overflow_leaves_the_histogram_as_it_was),
        cmocka_unit_test(whatever_was_added_makes_a_record_that_others_take),
        cmocka_unit_test(what_no_node_can_have_measured_is_refused),
        cmocka_unit_test(groups_and_order_do_not_matter),
        cmocka_unit_test(a_text_lives_as_long_as_it_is_held),
        cmocka_unit_test(texts_come_and_go_in_any_order),
    };
    return cmocka_run_group_tests_name("tally", tests, NULL, NULL);
}
