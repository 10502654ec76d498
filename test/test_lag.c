/* Lateness by hand. */
#include "prober/lag.h"

#include "test/check.h"

#define MS UINT64_C(1000000)

static void nothing_late_is_no_lag(void **state)
{
    (void)state;
    struct lag lag = {0};
    check_u64(lag_quantile(&lag, 99), 0);
    for (int i = 0; i < 100; i++)
        lag_add(&lag, MS, MS); /* all of it the timer's grain */
    check_u64(lag_quantile(&lag, 50), 0);
    check_u64(lag_quantile(&lag, 99), 0);
    check_u64(lag.max_ns, 0);
    check_u64(lag.total, 100);
}

/* Of 100, two are late: the p50 and p98 are not, the p99 is. */
static void a_quantile_is_the_bound_that_so_many_stay_below(void **state)
{
    (void)state;
    struct lag lag = {0};
    for (int i = 0; i < 98; i++)
        lag_add(&lag, 0, MS);
    lag_add(&lag, 6 * MS, MS);
    lag_add(&lag, 9 * MS, MS);
    check_true(lag_quantile(&lag, 98) < MS); /* the first bucket's bound */
    uint64_t p99 = lag_quantile(&lag, 99);
    check_true(p99 >= 5 * MS && p99 < 6 * MS); /* a bucket's bound */
    check_u64(lag_quantile(&lag, 100), 8 * MS);
    check_u64(lag.max_ns, 8 * MS);
}

static void it_begins_anew_after_ten_periods(void **state)
{
    (void)state;
    struct lag lag = {0};
    lag_add(&lag, 6 * MS, MS);
    for (int i = 0; i < LAG_PERIODS - 1; i++) {
        lag_turn(&lag);
        check_u64(lag.max_ns, 5 * MS);
    }
    lag_turn(&lag);
    check_u64(lag.max_ns, 0);
    check_u64(lag.total, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_late_is_no_lag),
        cmocka_unit_test(a_quantile_is_the_bound_that_so_many_stay_below),
        cmocka_unit_test(it_begins_anew_after_ten_periods),
    };
    return cmocka_run_group_tests_name("lag", tests, NULL, NULL);
}
