/* What time it is for others: by hand. */
#include "mesh/origins.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "test/check.h"

#define SEC    UINT64_C(1000000000)
#define KEEP   (600 * SEC)
#define SECOND INT64_C(1000)

/* Window 0 is closed 12 s after the beginning of time. */
#define DUE_MS (12 * SECOND)

static struct origins empty(void)
{
    struct origins o;
    check_i64(origins_init(&o, 8, KEEP), 0);
    return o;
}

/* Heard of with a clock that seems to be so much ahead of ours. */
static void hear(struct origins *o, uint64_t now_ns, const char *name,
                 int64_t ahead_ms)
{
    check_i64(origins_heard(o, now_ns, name, 0, DUE_MS - ahead_ms), 0);
    origins_settle(o, now_ns);
    origins_check(o);
}

static int64_t offset(const struct origins *o, const char *name)
{
    const struct origin *it = origins_find(o, name);
    check_true(it != NULL);
    return it->offset_ms;
}

static void the_sample_nearest_to_ours_counts(void **state)
{
    (void)state;
    struct origins o = empty();
    hear(&o, 10 * SEC, "a", -30 * SECOND);
    check_i64(offset(&o, "a"), -30 * SECOND);
    hear(&o, 20 * SEC, "a", -3 * SECOND);
    check_i64(offset(&o, "a"), -3 * SECOND);
    check_false(origins_find(&o, "a")->is_skewed);
    hear(&o, 30 * SEC, "a", -40 * SECOND); /* it came late */
    check_i64(offset(&o, "a"), -3 * SECOND);
    /* Six that agree are not late, they are it. */
    for (unsigned i = 0; i < ORIGINS_SAMPLES - 1; i++)
        hear(&o, (40 + 10 * i) * SEC, "a", -40 * SECOND);
    check_i64(offset(&o, "a"), -40 * SECOND);
    check_true(origins_find(&o, "a")->is_skewed);
    check_true(origins_find(&o, "b") == NULL);
    origins_fini(&o);
}

/* Who makes up frames of somebody else cannot push its true ones out. */
static void a_flood_does_not_make_a_clock_look_worse(void **state)
{
    (void)state;
    struct origins o = empty();
    hear(&o, 100 * SEC, "a", 0);
    for (unsigned i = 0; i < 100; i++)
        hear(&o, 105 * SEC - 1 - i, "a", 3600 * SECOND);
    check_i64(offset(&o, "a"), 0);
    hear(&o, 105 * SEC, "a", -3600 * SECOND);
    check_u64(origins_find(&o, "a")->n_samples, 2);
    for (unsigned i = 0; i < 100; i++)
        hear(&o, 105 * SEC + i, "a", -3600 * SECOND);
    check_i64(offset(&o, "a"), 0);
    check_u64(origins_find(&o, "a")->n_samples, 2);
    check_true(origins_find(&o, "a")->heard_ns == 105 * SEC + 99);
    origins_fini(&o);
}

static void what_makes_a_clock_look_better_counts_at_once(void **state)
{
    (void)state;
    struct origins o = empty();
    for (int64_t off = 50 * SECOND; off > 0; off -= SECOND) {
        hear(&o, 100 * SEC, "a", -off);
        check_i64(offset(&o, "a"), -off);
    }
    hear(&o, 100 * SEC, "a", SECOND / 2);
    check_i64(offset(&o, "a"), SECOND / 2);
    origins_fini(&o);
}

/* What was heard before our clock was set is as old as it was. */
static void a_step_of_our_clock_is_no_step_of_theirs(void **state)
{
    (void)state;
    struct origins o = empty();
    hear(&o, 10 * SEC, "a", SECOND);
    hear(&o, 10 * SEC, "b", -20 * SECOND);
    for (unsigned i = 0; i < 3; i++)
        hear(&o, (20 + 10 * i) * SEC, "a", 2 * SECOND);
    origins_shift(&o, 60 * SECOND);
    origins_settle(&o, 41 * SEC);
    check_i64(offset(&o, "a"), -59 * SECOND);
    check_i64(offset(&o, "b"), -80 * SECOND);
    /* The samples behind it have moved, too. */
    hear(&o, 50 * SEC, "a", -60 * SECOND);
    check_i64(offset(&o, "a"), -58 * SECOND);
    origins_shift(&o, -60 * SECOND);
    origins_settle(&o, 51 * SEC);
    check_i64(offset(&o, "b"), -20 * SECOND);
    origins_fini(&o);
}

static void three_know_better_than_we(void **state)
{
    (void)state;
    struct origins o = empty();
    hear(&o, SEC, "a", 40 * SECOND);
    hear(&o, SEC, "b", 41 * SECOND);
    check_i64(o.common_ms, 0);
    check_true(origins_find(&o, "a")->is_skewed);
    hear(&o, SEC, "c", 0);
    check_i64(o.common_ms, 40 * SECOND);
    check_i64(offset(&o, "a"), 0);
    check_i64(offset(&o, "b"), SECOND);
    check_i64(offset(&o, "c"), -40 * SECOND);
    check_true(origins_find(&o, "c")->is_skewed);
    /* The common time is against our clock: with that it is gone. */
    origins_shift(&o, SECOND);
    check_i64(o.common_ms, 0);
    origins_fini(&o);
}

static void strangers_have_no_say(void **state)
{
    (void)state;
    struct origins o = empty();
    const char *const names[] = {"a", "b", "c", "d", "e", "f"};
    for (unsigned i = 0; i < 6; i++) {
        hear(&o, SEC, names[i], i < 3 ? 0 : 99 * SECOND);
        if (i >= 3)
            origins_count_stranger(&o, origins_find(&o, names[i]), 10);
    }
    hear(&o, 2 * SEC, "d", 99 * SECOND);
    check_i64(o.common_ms, 0);
    check_u64(o.n_strangers, 3);
    check_u64(o.stranger_bytes, 30);
    origins_fini(&o);
}

static void a_member_is_no_stranger_any_more(void **state)
{
    (void)state;
    struct origins o = empty();
    const char *const names[] = {"a", "b", "c"};
    for (unsigned i = 0; i < 3; i++) {
        hear(&o, SEC, names[i], 40 * SECOND);
        origins_count_stranger(&o, origins_find(&o, names[i]), 10);
    }
    hear(&o, 2 * SEC, "a", 40 * SECOND);
    check_i64(o.common_ms, 0);
    for (unsigned i = 0; i < 3; i++) {
        origins_count_member(&o, origins_find(&o, names[i]));
        check_u64(o.n_strangers, 2 - i);
        check_u64(o.stranger_bytes, 10 * (2 - i));
        origins_count_member(&o, origins_find(&o, names[i]));
        check_u64(o.n_strangers, 2 - i);
    }
    origins_settle(&o, 2 * SEC);
    origins_check(&o);
    check_i64(o.common_ms, 40 * SECOND);
    origins_fini(&o);
}

static void the_silent_are_forgotten_and_there_is_room_again(void **state)
{
    (void)state;
    struct origins o = empty();
    char name[8];
    for (unsigned i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "n%u", i);
        hear(&o, i * SEC, name, 0);
    }
    origins_count_stranger(&o, origins_find(&o, "n0"), 10);
    check_i64(origins_heard(&o, 8 * SEC, "n8", 0, DUE_MS), ERR_BUSY);
    origins_settle(&o, KEEP);
    check_u64(o.n, 8);
    origins_settle(&o, KEEP + 1);
    check_u64(o.n, 7);
    check_u64(o.stranger_bytes + o.n_strangers, 0);
    check_true(origins_find(&o, "n0") == NULL);
    check_i64(origins_heard(&o, 8 * SEC, "n8", 0, DUE_MS), 0);
    origins_check(&o);
    origins_fini(&o);
}

/* Windows are numbers of others. */
static void no_window_is_too_large_to_reckon_with(void **state)
{
    (void)state;
    struct origins o = empty();
    const uint64_t windows[] = {UINT64_MAX, UINT64_MAX / 10000,
                                INT64_MAX / 10000, INT64_MAX};
    for (unsigned i = 0; i < 4; i++) {
        check_i64(origins_heard(&o, SEC, "a", windows[i], INT64_MAX / 8), 0);
        check_i64(origins_heard(&o, SEC, "b", windows[i], INT64_MIN / 8), 0);
        check_i64(origins_heard(&o, SEC, "c", windows[i], 0), 0);
    }
    check_i64(origins_heard(&o, SEC, "d", UINT64_MAX, 0), 0);
    origins_shift(&o, INT64_MAX / 16);
    origins_settle(&o, SEC);
    check_i64(origins_find(&o, "d")->raw_ms, INT64_MAX / 4 - INT64_MAX / 16);
    origins_check(&o);
    check_i64(offset(&o, "c"), 0);
    origins_fini(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_sample_nearest_to_ours_counts),
        cmocka_unit_test(a_flood_does_not_make_a_clock_look_worse),
        cmocka_unit_test(what_makes_a_clock_look_better_counts_at_once),
        cmocka_unit_test(a_step_of_our_clock_is_no_step_of_theirs),
        cmocka_unit_test(three_know_better_than_we),
        cmocka_unit_test(strangers_have_no_say),
        cmocka_unit_test(a_member_is_no_stranger_any_more),
        cmocka_unit_test(the_silent_are_forgotten_and_there_is_room_again),
        cmocka_unit_test(no_window_is_too_large_to_reckon_with),
    };
    return cmocka_run_group_tests_name("origins", tests, NULL, NULL);
}
