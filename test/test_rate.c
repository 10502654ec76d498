/* Cases by hand, then the two bounds over random histories. */
#include "proto/base/rate.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define MS  UINT64_C(1000000)
#define SEC (1000 * MS)

static void a_full_burst_is_there_at_first(void **state)
{
    (void)state;
    const uint64_t starts[] = {0, 1, SEC, 1000 * SEC};
    for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        struct rate r = {0};
        for (int n = 0; n < 5; n++)
            check_true(rate_take(&r, starts[i], 100 * MS, 500 * MS));
        check_false(rate_take(&r, starts[i], 100 * MS, 500 * MS));
    }
}

static void one_more_comes_with_each_price(void **state)
{
    (void)state;
    struct rate r = {0};
    for (int n = 0; n < 5; n++)
        rate_take(&r, SEC, 100 * MS, 500 * MS);
    check_false(rate_take(&r, SEC + 100 * MS - 1, 100 * MS, 500 * MS));
    check_true(rate_take(&r, SEC + 100 * MS, 100 * MS, 500 * MS));
    check_false(rate_take(&r, SEC + 100 * MS, 100 * MS, 500 * MS));
    /* However long nothing was taken: a burst and no more. */
    for (int n = 0; n < 5; n++)
        check_true(rate_take(&r, 99 * SEC, 100 * MS, 500 * MS));
    check_false(rate_take(&r, 99 * SEC, 100 * MS, 500 * MS));
}

static void what_is_refused_costs_nothing(void **state)
{
    (void)state;
    struct rate r = {0};
    check_true(rate_take(&r, SEC, 500 * MS, 500 * MS));
    for (int n = 0; n < 1000; n++)
        check_false(rate_take(&r, SEC, 100 * MS, 500 * MS));
    check_u64(r.paid_ns, SEC + 500 * MS);
    check_true(rate_take(&r, SEC + 100 * MS, 100 * MS, 500 * MS));
}

static void more_than_a_burst_is_never_to_be_had(void **state)
{
    (void)state;
    struct rate r = {0};
    check_false(rate_can(&r, 1000 * SEC, 500 * MS + 1, 500 * MS));
    check_true(rate_can(&r, 1000 * SEC, 500 * MS, 500 * MS));
    check_false(rate_take(&r, 1000 * SEC, UINT64_MAX, 500 * MS));
    check_u64(r.paid_ns, 0);
}

static void debts_are_paid_off(void **state)
{
    (void)state;
    struct rate r = {0};
    rate_pay(&r, SEC, 10 * SEC);
    check_false(rate_can(&r, 10 * SEC + 499 * MS, 1, 500 * MS));
    check_false(rate_can(&r, 10 * SEC + 500 * MS, 1, 500 * MS));
    check_true(rate_can(&r, 10 * SEC + 500 * MS, 0, 500 * MS));
    check_true(rate_can(&r, 10 * SEC + 501 * MS, MS, 500 * MS));
    rate_pay(&r, SEC, UINT64_MAX);
    check_u64(r.paid_ns, UINT64_MAX);
    check_false(rate_can(&r, SEC, 1, UINT64_MAX - SEC));
}

static void time_that_goes_back_gives_nothing(void **state)
{
    (void)state;
    struct rate r = {0};
    check_true(rate_take(&r, 10 * SEC, 500 * MS, 500 * MS));
    check_false(rate_take(&r, 5 * SEC, 100 * MS, 500 * MS));
    check_false(rate_take(&r, 0, 100 * MS, 500 * MS));
    check_true(rate_take(&r, 11 * SEC, 500 * MS, 500 * MS));
}

static void prices_are_a_seconds_share(void **state)
{
    (void)state;
    check_u64(rate_price(1, 1), SEC);
    check_u64(rate_price(1, 10), 100 * MS);
    check_u64(rate_price(1, 3), 333333333);
    check_u64(rate_price(3, 3), SEC);
    check_u64(rate_price(1000, 4000000000u), 250);
    check_u64(rate_price(0, 0), 0);
    check_u64(rate_price(0, 7), 0);
    check_u64(rate_price(1, 0), UINT64_MAX);
    check_u64(rate_price(UINT64_MAX, 1), UINT64_MAX);
    /* A second's worth at once, at a rate that does not divide a second. */
    struct rate r = {0};
    for (int n = 0; n < 3; n++)
        check_true(rate_take(&r, SEC, rate_price(1, 3), SEC));
    check_false(rate_take(&r, SEC, rate_price(1, 3), SEC));
}

/* In any time T at most burst + T is taken; and what keeps within the rate is
 * never refused. */
static void holds_in_every_window(void **state)
{
    (void)state;
    enum { N = 200 };
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 300; round++) {
        uint64_t burst_ns = 1 + rng_below(&rng, SEC);
        uint64_t now_ns = rng_below(&rng, 10 * SEC);
        uint64_t at_ns[N];
        uint64_t got_ns[N];
        struct rate r = {0};
        for (int i = 0; i < N; i++) {
            uint64_t price_ns = rng_below(&rng, burst_ns + burst_ns / 4 + 1);
            now_ns += rng_below(&rng, burst_ns);
            at_ns[i] = now_ns;
            got_ns[i] =
                rate_take(&r, now_ns, price_ns, burst_ns) ? price_ns : 0;
            uint64_t sum_ns = 0;
            for (int j = i; j >= 0; j--) {
                sum_ns += got_ns[j];
                check_true(sum_ns <= burst_ns + (now_ns - at_ns[j]));
            }
        }
    }
    for (int round = 0; round < 300; round++) {
        uint64_t price_ns = 1 + rng_below(&rng, SEC);
        uint64_t now_ns = rng_below(&rng, SEC);
        struct rate r = {0};
        for (int i = 0; i < N; i++) {
            check_true(rate_take(&r, now_ns, price_ns, price_ns));
            now_ns += price_ns + rng_below(&rng, 3);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_burst_is_there_at_first),
        cmocka_unit_test(one_more_comes_with_each_price),
        cmocka_unit_test(what_is_refused_costs_nothing),
        cmocka_unit_test(more_than_a_burst_is_never_to_be_had),
        cmocka_unit_test(debts_are_paid_off),
        cmocka_unit_test(time_that_goes_back_gives_nothing),
        cmocka_unit_test(prices_are_a_seconds_share),
        cmocka_unit_test(holds_in_every_window),
    };
    return cmocka_run_group_tests_name("rate", tests, NULL, NULL);
}
