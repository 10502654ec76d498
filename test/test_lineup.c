/* Slots by hand, then histories: who a sample is of is never in doubt. */
#include "prober/lineup.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

static struct lineup_want want(const char *name, const char *how)
{
    return (struct lineup_want){name, "z", "r", "https://x/", how};
}

/* Hand a list over and have it in force. Returns how many were added. */
static size_t set(struct lineup *l, const struct lineup_want *wants, size_t n)
{
    struct lineup_plan plan;
    check_i64(lineup_plan(l, wants, n, &plan), 0);
    size_t n_added = plan.n_added;
    lineup_apply(l, &plan);
    lineup_check(l);
    return n_added;
}

static const struct lineup_target *in_slot(const struct lineup *l,
                                           uint32_t slot, const char *name)
{
    const struct lineup_target *t = lineup_in_force(l, slot);
    check_true(t != NULL);
    check_text(t->name, name);
    check_u64(t->slot, slot);
    return t;
}

static void what_stays_the_same_keeps_its_slot(void **state)
{
    (void)state;
    struct lineup *l = lineup_open();
    struct lineup_want first[] = {want("a", "1"), want("b", "1"),
                                  want("c", "1")};
    struct lineup_want second[] = {want("d", "1"), want("c", "1"),
                                   want("a", "1")};
    check_u64(set(l, first, 3), 3);
    check_u64(lineup_count(l), 3);
    uint32_t generation = in_slot(l, 2, "c")->generation;
    check_u64(set(l, second, 3), 1);
    in_slot(l, 0, "a");
    check_true(lineup_in_force(l, 1) == NULL);
    check_u64(in_slot(l, 2, "c")->generation, generation);
    check_u64(in_slot(l, 3, "d")->generation, generation + 1);
    check_u64(lineup_count(l), 3);
    check_u64(lineup_leaving(l), 1);
    lineup_close(l);
}

static void an_equal_list_changes_nothing(void **state)
{
    (void)state;
    struct lineup *l = lineup_open();
    struct lineup_want wants[] = {want("a", "1"), want("a", "2")};
    struct lineup_plan plan;
    check_u64(set(l, wants, 2), 2); /* same name, probed in two ways */
    check_i64(lineup_plan(l, wants, 2, &plan), 0);
    check_true(lineup_plan_is_empty(&plan));
    lineup_apply(l, &plan);
    check_u64(lineup_slots(l), 2);
    lineup_close(l);
}

static void what_is_probed_otherwise_is_another(void **state)
{
    (void)state;
    struct lineup *l = lineup_open();
    struct lineup_want before = want("a", "port 1"), after = want("a", "2");
    set(l, &before, 1);
    uint32_t generation = in_slot(l, 0, "a")->generation;
    check_u64(set(l, &after, 1), 1);
    check_true(lineup_in_force(l, 0) == NULL);
    check_true(in_slot(l, 1, "a")->generation != generation);
    check_text(lineup_find(l, 0, generation)->how, "port 1");
    lineup_close(l);
}

static void a_slot_is_used_again_only_when_it_was_retired(void **state)
{
    (void)state;
    struct lineup *l = lineup_open();
    struct lineup_want a = want("a", "1"), b = want("b", "1"),
                       c = want("c", "1");
    set(l, &a, 1);
    uint32_t generation = in_slot(l, 0, "a")->generation;
    set(l, &b, 1);
    in_slot(l, 1, "b");
    check_text(lineup_find(l, 0, generation)->name, "a"); /* in flight */
    lineup_retire(l, 0);
    lineup_check(l);
    check_true(lineup_find(l, 0, generation) == NULL);
    set(l, &c, 1);
    in_slot(l, 0, "c");
    check_true(lineup_find(l, 0, generation) == NULL);
    lineup_close(l);
}

static void what_is_wanted_again_while_it_leaves_gets_another_slot(void **state)
{
    (void)state;
    struct lineup *l = lineup_open();
    struct lineup_want a = want("a", "1");
    set(l, &a, 1);
    set(l, NULL, 0);
    check_u64(set(l, &a, 1), 1);
    in_slot(l, 1, "a");
    check_u64(lineup_leaving(l), 1);
    lineup_retire(l, 0);
    in_slot(l, 1, "a");
    lineup_check(l);
    lineup_close(l);
}

static void a_record_that_is_kept_outlives_its_slot(void **state)
{
    (void)state;
    struct lineup *l = lineup_open();
    struct lineup_want a = want("a", "1"), b = want("b", "1");
    set(l, &a, 1);
    uint32_t generation = in_slot(l, 0, "a")->generation;
    struct lineup_target *kept = lineup_find(l, 0, generation);
    lineup_keep(kept);
    lineup_keep(kept);
    set(l, NULL, 0);
    lineup_retire(l, 0);
    set(l, &b, 1);
    in_slot(l, 0, "b");
    lineup_check(l);
    check_true(lineup_find(l, 0, generation) == kept);
    check_text(kept->name, "a");
    check_true(lineup_find(l, 0, generation + 9) == NULL);
    lineup_forget(l, kept);
    check_true(lineup_find(l, 0, generation) == kept);
    lineup_forget(l, kept);
    check_true(lineup_find(l, 0, generation) == NULL);
    lineup_check(l);

    /* Forgotten while in force: that changes nothing. */
    struct lineup_target *t =
        lineup_find(l, 0, lineup_in_force(l, 0)->generation);
    lineup_keep(t);
    lineup_forget(l, t);
    in_slot(l, 0, "b");
    lineup_close(l);
}

static void a_node_that_moves_goes_on_in_its_slot(void **state)
{
    (void)state;
    struct lineup *l = lineup_open();
    struct lineup_want a = want("a", "1");
    struct window_target targets[1];
    set(l, &a, 1);
    uint32_t generation = in_slot(l, 0, "a")->generation;
    a.zone = "other";
    a.region = NULL;
    check_u64(set(l, &a, 1), 0);
    check_u64(in_slot(l, 0, "a")->generation, generation);
    check_u64(lineup_slots(l), 1);
    lineup_window_targets(l, targets);
    check_text(targets[0].zone, "other");
    check_text(targets[0].region, "");
    check_u64(targets[0].generation, generation);
    lineup_close(l);
}

static void a_plan_that_is_dropped_changes_nothing(void **state)
{
    (void)state;
    struct lineup *l = lineup_open();
    struct lineup_want first[] = {want("a", "1"), want("b", "1")};
    struct lineup_want second[] = {want("b", "1"), want("c", "1"),
                                   want("d", "1")};
    struct lineup_plan plan;
    set(l, first, 2);
    second[0].zone = "moved";
    for (int i = 0; i < 3; i++) {
        check_i64(lineup_plan(l, second, 3, &plan), 0);
        check_u64(plan.n_added, 2);
        check_u64(plan.n_removed, 1);
        check_u64(plan.n_renamed, 1);
        lineup_drop(l, &plan);
        lineup_check(l);
    }
    in_slot(l, 0, "a");
    check_text(in_slot(l, 1, "b")->zone, "z");
    check_u64(lineup_slots(l), 4); /* two of them free */

    check_i64(lineup_plan(l, second, 3, &plan), 0);
    check_text(plan.added[0].target->name, "c");
    lineup_leave_out(l, &plan, 0);
    lineup_apply(l, &plan);
    lineup_check(l);
    check_u64(lineup_count(l), 2);
    check_text(in_slot(l, 1, "b")->zone, "moved");
    lineup_close(l);
}

static void wants_that_are_there_twice_count_once(void **state)
{
    (void)state;
    struct lineup *l = lineup_open();
    struct lineup_want wants[] = {want("a", "1"), want("a", "1"),
                                  want("a", "1")};
    wants[2].zone = "moved"; /* the first one decides */
    check_u64(set(l, wants, 3), 1);
    check_text(in_slot(l, 0, "a")->zone, "z");
    check_u64(set(l, wants, 3), 0);
    check_text(in_slot(l, 0, "a")->zone, "z");
    check_u64(lineup_count(l), 1);
    lineup_close(l);
}

static void slots_are_limited(void **state)
{
    (void)state;
    enum { N = LINEUP_TARGETS_MAX + 1 };
    static struct lineup_want wants[N];
    static char names[N][16], names2[N][16];
    struct lineup *l = lineup_open();
    struct lineup_plan plan;
    for (unsigned i = 0; i < N; i++) {
        snprintf(names[i], sizeof(names[i]), "a-%u", i);
        snprintf(names2[i], sizeof(names2[i]), "b-%u", i);
        wants[i] = want(names[i], "1");
    }
    check_i64(lineup_plan(l, wants, N, &plan), ERR_TOOBIG);
    check_u64(set(l, wants, N - 1), N - 1);
    for (unsigned i = 0; i < N; i++)
        wants[i].name = names2[i];
    check_u64(set(l, wants, N - 1), N - 1); /* twice as many slots */
    for (unsigned i = 0; i < N; i++)
        wants[i].how = "2";
    check_i64(lineup_plan(l, wants, 1, &plan), ERR_BUSY);
    lineup_check(l);
    check_u64(lineup_count(l), N - 1);
    lineup_retire(l, 17);
    check_u64(set(l, wants, 1), 1);
    in_slot(l, 17, "b-0");
    lineup_close(l);
}

/* Lists follow each other, retiring lags behind, records are kept: whoever is
 * in force is what was wanted, no slot serves two that could be taken for
 * each other, and (slot, generation) means the same for ever. */
static void a_slot_and_generation_mean_one_target_for_ever(void **state)
{
    (void)state;
    enum { NAMES = 20, SLOTS = 400, KEPT = 30 };
    static char names[NAMES][8];
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (unsigned i = 0; i < NAMES; i++)
        snprintf(names[i], sizeof(names[i]), "n%u", i);
    for (int round = 0; round < 40; round++) {
        struct lineup *l = lineup_open();
        struct {
            struct lineup_target *t;
            uint32_t slot, generation;
            char name[8];
        } kept[KEPT] = {0};
        bool is_leaving[SLOTS] = {0};
        for (int step = 0; step < 200; step++) {
            struct lineup_want wants[NAMES];
            size_t n = 0;
            for (unsigned i = 0; i < NAMES; i++) {
                if (rng_below(&rng, 3))
                    wants[n++] = want(names[i], rng_below(&rng, 4) ? "1" : "2");
            }
            struct lineup_plan plan;
            check_i64(lineup_plan(l, wants, n, &plan), 0);
            for (size_t i = 0; i < plan.n_added; i++)
                check_true(!is_leaving[plan.added[i].target->slot]);
            for (size_t i = 0; i < plan.n_removed; i++)
                is_leaving[plan.removed[i]] = true;
            lineup_apply(l, &plan);
            lineup_check(l);
            check_u64(lineup_count(l), n);
            check_true(lineup_slots(l) <= SLOTS);

            for (uint32_t i = 0; i < lineup_slots(l); i++) {
                if (is_leaving[i] && rng_below(&rng, 2)) {
                    lineup_retire(l, i);
                    is_leaving[i] = false;
                }
            }
            size_t k = (size_t)rng_below(&rng, KEPT);
            if (kept[k].t) {
                check_true(lineup_find(l, kept[k].slot, kept[k].generation) ==
                           kept[k].t);
                check_text(kept[k].t->name, kept[k].name);
                lineup_forget(l, kept[k].t);
                kept[k].t = NULL;
            } else {
                uint32_t slot = (uint32_t)rng_below(&rng, lineup_slots(l) + 1);
                const struct lineup_target *t = lineup_in_force(l, slot);
                if (t) {
                    kept[k].t = lineup_find(l, slot, t->generation);
                    kept[k].slot = slot;
                    kept[k].generation = t->generation;
                    snprintf(kept[k].name, sizeof(kept[k].name), "%s", t->name);
                    lineup_keep(kept[k].t);
                }
            }
            lineup_check(l);
        }
        lineup_close(l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stays_the_same_keeps_its_slot),
        cmocka_unit_test(an_equal_list_changes_nothing),
        cmocka_unit_test(what_is_probed_otherwise_is_another),
        cmocka_unit_test(a_slot_is_used_again_only_when_it_was_retired),
        cmocka_unit_test(
            what_is_wanted_again_while_it_leaves_gets_another_slot),
        cmocka_unit_test(a_record_that_is_kept_outlives_its_slot),
        cmocka_unit_test(a_node_that_moves_goes_on_in_its_slot),
        cmocka_unit_test(a_plan_that_is_dropped_changes_nothing),
        cmocka_unit_test(wants_that_are_there_twice_count_once),
        cmocka_unit_test(slots_are_limited),
        cmocka_unit_test(a_slot_and_generation_mean_one_target_for_ever),
    };
    return cmocka_run_group_tests_name("lineup", tests, NULL, NULL);
}
