/* What is counted, and where. */
#include "prober/totals.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "proto/base/stamp.h"
#include "proto/hist.h"
#include "test/check.h"

#define MS UINT64_C(1000000)

static int setup(void **state)
{
    *state = totals_open();
    return *state ? 0 : -1;
}

static int teardown(void **state)
{
    totals_check(*state);
    totals_close(*state);
    return 0;
}

/* An ok attempt over http1, cold, that took that long, all of it ours. */
static struct sample sample_of(int64_t ns)
{
    struct sample s;
    sample_init(&s);
    s.outcome = OUTCOME_OK;
    s.protocol = PROTOCOL_HTTP1;
    s.mode = MODE_COLD;
    s.clock = STAMP_KERNEL;
    s.total_ns = ns;
    s.phases_ns[PHASE_LOCAL] = ns;
    return s;
}

static const struct totals_cell *cell_of(const struct totals *t,
                                         const char *label, unsigned protocol,
                                         unsigned mode)
{
    for (size_t i = 0; i < totals_zones(t); i++) {
        const struct totals_zone *z = totals_zone(t, i);
        if (strcmp(z->label, label) == 0)
            return z->cells[protocol][mode];
    }
    return NULL;
}

static void counts_each_sample_in_its_cell(void **state)
{
    struct totals *t = *state;
    struct sample s = sample_of(MS);
    check_i64(totals_add(t, "b", &s, 0), 0);
    check_i64(totals_add(t, "b", &s, 0), 0);
    check_i64(totals_add(t, "c", &s, 0), 0);
    s.protocol = PROTOCOL_GRPC;
    check_i64(totals_add(t, "b", &s, 0), 0);
    s.mode = MODE_WARM;
    s.is_reconnected = true;
    s.retransmits = 3;
    s.clock = STAMP_USER;
    check_i64(totals_add(t, "b", &s, 0), 0);
    check_u64(totals_zones(t), 2);

    const struct totals_cell *c = cell_of(t, "b", PROTOCOL_HTTP1, MODE_COLD);
    check_u64(c->outcomes[OUTCOME_OK], 2);
    check_u64(c->retransmits, 0);
    check_u64(c->reconnects, 0);
    check_u64(c->user_clock, 0);
    check_u64(c->series[SERIES_TOTAL]->count, 2);
    check_u64(c->series[SERIES_TOTAL]->sum_ns, 2 * MS);
    check_u64(c->series[PHASE_LOCAL]->sum_ns, 2 * MS);
    check_true(c->series[PHASE_DNS] == NULL); /* absent is not 0 */
    check_true(c->series[SERIES_SERVER] == NULL);
    c = cell_of(t, "b", PROTOCOL_GRPC, MODE_WARM);
    check_u64(c->outcomes[OUTCOME_OK], 1);
    check_u64(c->retransmits, 3);
    check_u64(c->reconnects, 1);
    check_u64(c->user_clock, 1);
    check_u64(cell_of(t, "c", PROTOCOL_HTTP1, MODE_COLD)->outcomes[OUTCOME_OK],
              1);
    check_true(cell_of(t, "c", PROTOCOL_GRPC, MODE_COLD) == NULL);
}

static void a_failure_is_in_no_histogram(void **state)
{
    struct totals *t = *state;
    struct sample s = sample_of(MS);
    s.outcome = OUTCOME_CONNECT_TIMEOUT;
    s.total_ns = SAMPLE_ABSENT;
    check_i64(totals_add(t, "b", &s, 0), 0);
    const struct totals_cell *c = cell_of(t, "b", PROTOCOL_HTTP1, MODE_COLD);
    check_u64(c->outcomes[OUTCOME_CONNECT_TIMEOUT], 1);
    for (unsigned i = 0; i < SERIES_N; i++)
        check_true(c->series[i] == NULL);
}

static void one_off_samples_are_passed_over(void **state)
{
    struct totals *t = *state;
    struct sample s = sample_of(MS);
    s.job = 1;
    check_i64(totals_add(t, "b", &s, 0), 0);
    check_i64(totals_add(t, NULL, &s, 0), 0);
    check_u64(totals_zones(t), 0);
    check_u64(totals_left_out(t)->unknown_target, 0);
}

static void what_nobody_knows_is_counted_apart(void **state)
{
    struct totals *t = *state;
    struct sample s = sample_of(MS);
    check_i64(totals_add(t, NULL, &s, 0), ERR_BAD);
    s.outcome = OUTCOME_N;
    check_i64(totals_add(t, "b", &s, 0), ERR_BAD);
    s = sample_of(MS);
    s.protocol = PROTOCOL_N;
    check_i64(totals_add(t, "b", &s, 0), ERR_BAD);
    s = sample_of(MS);
    s.mode = MODE_N;
    check_i64(totals_add(t, "b", &s, 0), ERR_BAD);
    check_u64(totals_left_out(t)->unknown_target, 4);
    check_u64(totals_zones(t), 0);
}

static void bounds_are_the_powers_of_two_and_four_a_doubling(void **state)
{
    (void)state;
    check_u64(totals_bound_ns(0), 15258); /* 2^-16 s, floored */
    check_u64(totals_bound_ns(1), 18145); /* times 2^(1/4) */
    check_u64(totals_bound_ns(2), 21579);
    check_u64(totals_bound_ns(4), 30517);
    check_u64(totals_bound_ns(64), 1000000000);
    check_u64(totals_bound_ns(80), 16000000000);
    for (unsigned i = 4; i < TOTALS_BOUNDS; i++)
        check_true(totals_bound_ns(i) / 2 == totals_bound_ns(i - 4));
}

static unsigned bucket_for(struct totals *t, uint64_t ns)
{
    char zone[32];
    snprintf(zone, sizeof(zone), "%llu", (unsigned long long)ns);
    struct sample s = sample_of((int64_t)ns);
    check_i64(totals_add(t, zone, &s, 0), 0);
    const struct totals_hist *h =
        cell_of(t, zone, PROTOCOL_HTTP1, MODE_COLD)->series[SERIES_TOTAL];
    for (unsigned i = 0; i <= TOTALS_BOUNDS; i++) {
        if (h->buckets[i] > 0)
            return i;
    }
    return UINT32_MAX;
}

static void a_bound_belongs_to_what_is_below_it(void **state)
{
    struct totals *t = *state;
    check_u64(bucket_for(t, 0), 0);
    check_u64(bucket_for(t, 1), 0);
    check_u64(bucket_for(t, 15258), 0);
    check_u64(bucket_for(t, 15259), 1);
    check_u64(bucket_for(t, 18145), 1);
    check_u64(bucket_for(t, 18146), 2);
    check_u64(bucket_for(t, 1000000000), 64);
    check_u64(bucket_for(t, 1000000001), 65);
    check_u64(bucket_for(t, 16000000000), 80);
    check_u64(bucket_for(t, 16000000001), 81);
    check_u64(bucket_for(t, INT64_MAX), 81);
}

/* What the header promises: counts up to a bound are those of the buckets of
 * proto/hist.h up to the same bound. */
static void agrees_with_the_histograms_of_frames(void **state)
{
    struct totals *t = *state;
    struct hist exact = {0};
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int i = 0; i < 5000; i++) {
        uint64_t ns = rng_below(&rng, UINT64_C(1) << rng_below(&rng, 37));
        struct sample s = sample_of((int64_t)ns);
        check_i64(totals_add(t, "b", &s, 0), 0);
        check_i64(hist_add(&exact, ns), 0);
    }
    const struct totals_hist *h =
        cell_of(t, "b", PROTOCOL_HTTP1, MODE_COLD)->series[SERIES_TOTAL];
    check_u64(h->count, exact.count);
    check_u64(h->sum_ns, exact.sum_ns);
    uint64_t below = 0;
    for (unsigned b = 0; b < TOTALS_BOUNDS; b++) {
        uint64_t theirs = exact.zero;
        for (unsigned i = 0; i < exact.n; i++) {
            if (hist_bound_ns(exact.buckets[i].index) <= totals_bound_ns(b))
                theirs += exact.buckets[i].count;
        }
        below += h->buckets[b];
        check_u64(below, theirs);
    }
    hist_fini(&exact);
}

static void a_sum_never_falls(void **state)
{
    struct totals *t = *state;
    struct sample s = sample_of(MS);
    s.server_ns = INT64_MAX; /* a peer may say anything */
    for (int i = 0; i < 3; i++)
        check_i64(totals_add(t, "b", &s, 0), 0);
    check_u64(cell_of(t, "b", PROTOCOL_HTTP1, MODE_COLD)
                  ->series[SERIES_SERVER]
                  ->sum_ns,
              UINT64_MAX);
}

static void names_that_look_the_same_are_one(void **state)
{
    struct totals *t = *state;
    struct sample s = sample_of(MS);
    check_i64(totals_add(t, "x\xff", &s, 0), 0);
    check_i64(totals_add(t, "x\xfe", &s, 0), 0);
    check_i64(totals_add(t, "x\n", &s, 0), 0);
    check_u64(totals_zones(t), 1);
    check_text(totals_zone(t, 0)->label, "x\xef\xbf\xbd");
}

static void fill(struct totals *t, uint64_t now_ns)
{
    struct sample s = sample_of(MS);
    for (int i = 0; i < TOTALS_ZONES_MAX; i++) {
        char zone[16];
        snprintf(zone, sizeof(zone), "z%d", i);
        check_i64(totals_add(t, zone, &s, now_ns + (uint64_t)i), 0);
    }
    check_u64(totals_zones(t), TOTALS_ZONES_MAX);
}

static void zones_beyond_the_limit_are_counted_and_nothing_else(void **state)
{
    struct totals *t = *state;
    struct sample s = sample_of(MS);
    fill(t, 0);
    check_i64(totals_add(t, "one-more", &s, TOTALS_IDLE_NS - 1), ERR_TOOBIG);
    check_i64(totals_add(t, "one-more", &s, TOTALS_IDLE_NS - 1), ERR_TOOBIG);
    check_u64(totals_left_out(t)->zones, 2);
    check_i64(totals_add(t, "z0", &s, TOTALS_IDLE_NS), 0); /* as before */
    check_u64(totals_zones(t), TOTALS_ZONES_MAX);
}

static void the_zone_idle_for_longest_makes_room(void **state)
{
    struct totals *t = *state;
    struct sample s = sample_of(MS);
    fill(t, 0);
    check_i64(totals_add(t, "z0", &s, TOTALS_IDLE_NS), 0);
    check_i64(totals_add(t, "new", &s, TOTALS_IDLE_NS), ERR_TOOBIG);
    check_i64(totals_add(t, "new", &s, TOTALS_IDLE_NS + 1), 0);
    check_u64(totals_zones(t), TOTALS_ZONES_MAX);
    check_text(totals_zone(t, 0)->label, "z0");
    check_u64(totals_zone(t, 0)->generation, 0);
    check_text(totals_zone(t, 1)->label, "new");
    check_u64(totals_zone(t, 1)->generation, 1);
    check_u64(
        cell_of(t, "new", PROTOCOL_HTTP1, MODE_COLD)->outcomes[OUTCOME_OK], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(counts_each_sample_in_its_cell, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_failure_is_in_no_histogram, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(one_off_samples_are_passed_over, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_nobody_knows_is_counted_apart,
                                        setup, teardown),
        cmocka_unit_test(bounds_are_the_powers_of_two_and_four_a_doubling),
        cmocka_unit_test_setup_teardown(a_bound_belongs_to_what_is_below_it,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(agrees_with_the_histograms_of_frames,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(a_sum_never_falls, setup, teardown),
        cmocka_unit_test_setup_teardown(names_that_look_the_same_are_one, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(
            zones_beyond_the_limit_are_counted_and_nothing_else, setup,
            teardown),
        cmocka_unit_test_setup_teardown(the_zone_idle_for_longest_makes_room,
                                        setup, teardown),
    };
    return cmocka_run_group_tests_name("totals", tests, NULL, NULL);
}
