/* Slots by hand, then properties over many entries. Times are virtual. */
#include "prober/schedule.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define MS  1000000ull
#define SEC (1000 * MS)

static int add(struct schedule *s, const char *name, uint64_t interval_ns,
               unsigned in_flight_max, uint64_t now_ns)
{
    struct schedule_entry e = {.interval_ns = interval_ns,
                               .in_flight_max = (uint16_t)in_flight_max};
    return schedule_add(s, "a-1", name, &e, now_ns);
}

static void is_empty_until_something_is_added(void **state)
{
    (void)state;
    struct schedule s;
    uint64_t slot_ns;

    check_i64(schedule_init(&s, 1), 0);
    check_u64(schedule_next(&s), UINT64_MAX);
    check_true(schedule_take(&s, UINT64_MAX / 2, &slot_ns) == NULL);
    check_i64(add(&s, "x", SEC, 1, 0), 0);
    check_i64(add(&s, "y", SEC, 1, 0), ERR_BUSY);
    check_true(schedule_next(&s) <= SEC);
    schedule_fini(&s);
}

/* Slot k is at k * interval + offset, the first one after now. */
static void the_first_slot_is_the_next_one(void **state)
{
    (void)state;
    struct schedule s;
    uint64_t slot_ns;

    check_i64(schedule_init(&s, 8), 0);
    check_i64(add(&s, "b-1", SEC, 9, 0), 0);
    uint64_t offset_ns = s.entries[0].offset_ns;
    check_true(offset_ns < SEC && offset_ns % (50 * MS) == 0);
    check_true(offset_ns > 0); /* so that 0 is before it */
    check_u64(schedule_next(&s), offset_ns);
    schedule_fini(&s);

    /* A slot at this very moment is over. */
    check_i64(schedule_init(&s, 8), 0);
    check_i64(add(&s, "b-1", SEC, 9, 7 * SEC + offset_ns), 0);
    check_u64(schedule_next(&s), 8 * SEC + offset_ns);
    check_true(!schedule_take(&s, 8 * SEC + offset_ns - 1, &slot_ns));
    check_true(schedule_take(&s, 8 * SEC + offset_ns, &slot_ns) != NULL);
    check_u64(slot_ns, 8 * SEC + offset_ns);
    check_u64(schedule_next(&s), 9 * SEC + offset_ns);
    check_u64(s.missed, 0);
    schedule_fini(&s);

    check_i64(schedule_init(&s, 8), 0);
    check_i64(add(&s, "b-1", SEC, 9, 7 * SEC + offset_ns - 1), 0);
    check_u64(schedule_next(&s), 7 * SEC + offset_ns);
    schedule_fini(&s);
}

static void the_caller_gets_its_entry_back(void **state)
{
    (void)state;
    struct schedule s;
    uint64_t slot_ns;

    check_i64(schedule_init(&s, 2), 0);
    for (unsigned i = 0; i < 2; i++) {
        struct schedule_entry e = {.interval_ns = SEC,
                                   .target = 70 + i,
                                   .protocol = 1,
                                   .mode = (uint8_t)i,
                                   .in_flight = 5, /* not taken over */
                                   .in_flight_max = 1};
        check_i64(schedule_add(&s, "a-1", "x", &e, 0), i);
    }
    for (int i = 0; i < 2; i++) {
        struct schedule_entry *e =
            schedule_take(&s, schedule_next(&s), &slot_ns);
        check_true(e != NULL);
        check_u64(e->target, 70 + schedule_index(&s, e));
        check_u64(e->mode, schedule_index(&s, e));
        check_u64(e->in_flight, 1);
    }
    schedule_fini(&s);
}

static void a_stall_is_no_reason_for_a_burst(void **state)
{
    (void)state;
    struct schedule s;
    uint64_t slot_ns;

    check_i64(schedule_init(&s, 1), 0);
    check_i64(add(&s, "x", SEC, 9, 0), 0);
    uint64_t first_ns = schedule_next(&s);
    /* 7.5 intervals late: slots 0..6 are over, slot 7 is served. */
    uint64_t now_ns = first_ns + 7 * SEC + SEC / 2;
    check_true(schedule_take(&s, now_ns, &slot_ns) != NULL);
    check_u64(slot_ns, first_ns + 7 * SEC);
    check_u64(s.missed, 7);
    check_true(!schedule_take(&s, now_ns, &slot_ns));
    check_u64(schedule_next(&s), first_ns + 8 * SEC); /* on the old beat */
    schedule_fini(&s);
}

static void what_is_full_is_skipped_and_counted(void **state)
{
    (void)state;
    struct schedule s;
    uint64_t slot_ns;

    check_i64(schedule_init(&s, 1), 0);
    check_i64(add(&s, "x", SEC, 2, 0), 0);
    uint64_t t_ns = schedule_next(&s);
    check_true(schedule_take(&s, t_ns, &slot_ns) != NULL);
    check_true(schedule_take(&s, t_ns += SEC, &slot_ns) != NULL);
    check_true(!schedule_take(&s, t_ns += SEC, &slot_ns));
    check_u64(s.missed, 1);
    check_u64(schedule_next(&s), t_ns + SEC);
    schedule_done(&s, 0, false);
    check_u64(s.missed, 1);
    check_true(schedule_take(&s, t_ns += SEC, &slot_ns) != NULL);
    check_u64(slot_ns, t_ns);
    schedule_done(&s, 0, true); /* could not be started */
    check_u64(s.missed, 2);
    check_u64(s.entries[0].in_flight, 1);
    /* Late and full: each slot is counted once. */
    check_true(schedule_take(&s, t_ns += SEC, &slot_ns) != NULL);
    check_true(!schedule_take(&s, t_ns += 3 * SEC, &slot_ns));
    check_u64(s.missed, 5);
    schedule_fini(&s);
}

static void what_is_removed_is_never_due_again(void **state)
{
    (void)state;
    struct schedule s;
    uint64_t slot_ns;

    check_i64(schedule_init(&s, 2), 0);
    check_i64(add(&s, "x", SEC, 2, 0), 0);
    check_i64(add(&s, "y", SEC, 2, 0), 1);
    schedule_remove(&s, 0);
    uint64_t offset_ns = s.entries[1].offset_ns;
    check_u64(schedule_next(&s), offset_ns);
    check_true(schedule_take(&s, 5 * SEC, &slot_ns) == &s.entries[1]);
    check_true(!schedule_take(&s, 5 * SEC, &slot_ns));
    /* Its place serves another, at once since nothing is in flight. */
    check_i64(add(&s, "z", SEC, 2, 5 * SEC), 0);
    check_u64(s.entries[0].in_flight, 0);
    check_i64(add(&s, "more", SEC, 2, 5 * SEC), ERR_BUSY);
    schedule_remove(&s, 1);
    schedule_remove(&s, 0);
    check_u64(schedule_next(&s), UINT64_MAX);
    schedule_fini(&s);
}

static void attempts_that_outlive_their_entry_keep_its_place(void **state)
{
    (void)state;
    struct schedule s;
    uint64_t slot_ns;

    check_i64(schedule_init(&s, 1), 0);
    check_i64(add(&s, "x", SEC, 2, 0), 0);
    uint64_t t_ns = schedule_next(&s);
    check_true(schedule_take(&s, t_ns, &slot_ns) != NULL);
    check_true(schedule_take(&s, t_ns + SEC, &slot_ns) != NULL);
    schedule_remove(&s, 0);
    check_i64(add(&s, "y", SEC, 1, t_ns), ERR_BUSY);
    schedule_done(&s, 0, false);
    check_i64(add(&s, "y", SEC, 1, t_ns), ERR_BUSY);
    schedule_done(&s, 0, false);
    check_u64(s.missed, 0); /* slots of nobody are not missed */
    check_i64(add(&s, "y", SEC, 1, t_ns), 0);
    check_i64(add(&s, "z", SEC, 1, t_ns), ERR_BUSY);
    check_true(schedule_next(&s) <= t_ns + SEC);
    schedule_fini(&s);
}

/* Entries come and go in any order while attempts run: those that stay keep
 * their beat exactly, and no place is given out twice. */
static void what_comes_and_goes_leaves_the_others_their_beat(void **state)
{
    (void)state;
    enum { N = 64 };
    struct schedule s;
    struct rng rng;
    bool is_in[N] = {0};
    unsigned running[N] = {0};
    uint64_t last_ns[N] = {0}, now_ns = 0, slot_ns;

    rng_seed(&rng, check_seed());
    check_i64(schedule_init(&s, N), 0);
    for (int step = 0; step < 20000; step++) {
        size_t i = (size_t)rng_below(&rng, N);
        switch (rng_below(&rng, 4)) {
        case 0: {
            int at = add(&s, "x", (1 + rng_below(&rng, 5)) * SEC, 3, now_ns);
            if (at < 0)
                break;
            check_true(!is_in[at] && running[at] == 0);
            is_in[at] = true;
            last_ns[at] = 0;
            break;
        }
        case 1:
            if (is_in[i])
                schedule_remove(&s, i);
            is_in[i] = false;
            break;
        case 2:
            if (running[i]) {
                schedule_done(&s, i, false);
                running[i]--;
            }
            break;
        default: {
            struct schedule_entry *e;
            now_ns += rng_below(&rng, SEC);
            while ((e = schedule_take(&s, now_ns, &slot_ns))) {
                size_t at = schedule_index(&s, e);
                check_true(is_in[at]);
                check_u64((slot_ns - e->offset_ns) % e->interval_ns, 0);
                check_true(slot_ns > last_ns[at] && slot_ns <= now_ns);
                last_ns[at] = slot_ns;
                check_true(++running[at] <= 3);
            }
        }
        }
        heap_check(&s.heap);
    }
    schedule_fini(&s);
}

/* Nodes, targets, protocols and modes are spread over the interval, on a
 * grid; the same names always give the same place. */
static void offsets_are_spread_on_a_grid(void **state)
{
    (void)state;
    enum { N = 1000, GRID = 100 };
    struct schedule s;
    unsigned load[GRID] = {0};
    char name[32];

    check_i64(schedule_init(&s, N), 0);
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "https://b-%u:7443/probe", i);
        check_i64(add(&s, name, 5 * SEC, 1, 0), i);
        uint64_t offset_ns = s.entries[i].offset_ns;
        check_u64(offset_ns % (50 * MS), 0);
        check_true(offset_ns < 5 * SEC);
        load[offset_ns / (50 * MS)]++;
    }
    for (int i = 0; i < GRID; i++)
        check_true(load[i] <= 30); /* 10 on average */
    schedule_fini(&s);
}

static uint64_t offset(const char *self, const char *name, unsigned protocol,
                       unsigned mode, uint64_t interval_ns)
{
    struct schedule s;
    struct schedule_entry e = {.interval_ns = interval_ns,
                               .protocol = (uint8_t)protocol,
                               .mode = (uint8_t)mode,
                               .in_flight_max = 1};
    check_i64(schedule_init(&s, 1), 0);
    check_i64(schedule_add(&s, self, name, &e, 0), 0);
    uint64_t offset_ns = s.entries[0].offset_ns;
    schedule_fini(&s);
    return offset_ns;
}

static void each_part_of_a_name_moves_the_offset(void **state)
{
    (void)state;
    uint64_t base = offset("a-1", "x", 0, 0, 1000 * SEC);
    check_u64(offset("a-1", "x", 0, 0, 1000 * SEC), base);
    check_true(offset("a-2", "x", 0, 0, 1000 * SEC) != base);
    check_true(offset("a-1", "y", 0, 0, 1000 * SEC) != base);
    check_true(offset("a-1", "x", 1, 0, 1000 * SEC) != base);
    check_true(offset("a-1", "x", 0, 1, 1000 * SEC) != base);
    check_true(offset("a-1", "x", 1, 0, 1000 * SEC) !=
               offset("a-1", "x", 0, 1, 1000 * SEC));
}

/* A short interval has a finer grid: at least 20 places. */
static void short_intervals_are_spread_too(void **state)
{
    (void)state;
    static const uint64_t intervals_ns[] = {1,      3,        19,     1000,
                                            7 * MS, 100 * MS, SEC - 1};
    for (size_t i = 0; i < sizeof(intervals_ns) / sizeof(intervals_ns[0]);
         i++) {
        uint64_t min_ns = UINT64_MAX, max_ns = 0;
        for (int k = 0; k < 200; k++) {
            char name[16];
            snprintf(name, sizeof(name), "t%d", k);
            uint64_t o = offset("a-1", name, 0, 0, intervals_ns[i]);
            check_true(o < intervals_ns[i]);
            min_ns = o < min_ns ? o : min_ns;
            max_ns = o > max_ns ? o : max_ns;
        }
        check_true(max_ns - min_ns >= intervals_ns[i] * 8 / 10 ||
                   intervals_ns[i] < 4);
    }
    check_u64(offset("a-1", "x", 0, 0, SEC) % (50 * MS), 0);
    check_u64(offset("a-1", "x", 0, 0, 100 * MS) % 3125000, 0);
}

/* What attempts cost and how long they take changes nothing for the others:
 * an entry whose attempts never end is sampled up to its bound and then only
 * missed, all others keep their beat exactly. */
static void one_slow_entry_slows_nobody(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct schedule s;
    static unsigned taken[N];
    static uint64_t last_ns[N];
    char name[32];
    struct rng rng;

    rng_seed(&rng, check_seed());
    memset(taken, 0, sizeof(taken));
    check_i64(schedule_init(&s, N), 0);
    for (unsigned i = 0; i < N; i++) {
        snprintf(name, sizeof(name), "t%u", i);
        check_i64(add(&s, name, i % 2 ? SEC : 5 * SEC, 3, 0), i);
    }
    uint64_t now_ns = 0, slot_ns, first_ns = schedule_next(&s);
    while ((now_ns = schedule_next(&s)) < 60 * SEC) {
        check_true(now_ns >= first_ns);
        now_ns += rng_below(&rng, 10 * MS); /* the loop's own lateness */
        struct schedule_entry *e;
        while ((e = schedule_take(&s, now_ns, &slot_ns))) {
            size_t i = schedule_index(&s, e);
            check_true(slot_ns <= now_ns);
            check_true(!taken[i] || slot_ns == last_ns[i] + e->interval_ns);
            check_u64((slot_ns - e->offset_ns) % e->interval_ns, 0);
            last_ns[i] = slot_ns;
            taken[i]++;
            if (i != 17)
                schedule_done(&s, i, false);
        }
        heap_check(&s.heap);
    }
    for (unsigned i = 0; i < N; i++) {
        if (i == 17)
            check_u64(taken[i], 3);
        else
            check_true(taken[i] == (i % 2 ? 60 : 12) ||
                       s.entries[i].offset_ns == 0);
    }
    check_u64(s.missed, 60 - 3);
    schedule_fini(&s);
}

/* However the loop stalls: slots taken and slots missed are all slots there
 * were, at most one is taken per entry and wake-up, none twice. */
static void every_slot_is_taken_or_missed(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 300; round++) {
        struct schedule s;
        uint64_t now_ns = rng_below(&rng, 100 * SEC), slot_ns, taken = 0;
        uint64_t interval_ns = 1 + rng_below(&rng, 2 * SEC);
        unsigned max = 1 + (unsigned)rng_below(&rng, 3);
        check_i64(schedule_init(&s, 1), 0);
        check_i64(add(&s, "x", interval_ns, max, now_ns), 0);
        uint64_t first_ns = schedule_next(&s), last_ns = 0;
        for (int i = 0; i < 200; i++) {
            now_ns += rng_below(&rng, 3 * interval_ns);
            struct schedule_entry *e = schedule_take(&s, now_ns, &slot_ns);
            if (e) {
                check_true(slot_ns > last_ns && slot_ns <= now_ns);
                check_true(now_ns - slot_ns < interval_ns);
                last_ns = slot_ns;
                taken++;
            }
            check_true(!schedule_take(&s, now_ns, &slot_ns));
            check_true(schedule_next(&s) > now_ns);
            check_true(s.entries[0].in_flight <= max);
            if (s.entries[0].in_flight && rng_below(&rng, 2))
                schedule_done(&s, 0, false);
        }
        uint64_t slots =
            now_ns < first_ns ? 0 : (now_ns - first_ns) / interval_ns + 1;
        check_u64(taken + s.missed, slots);
        schedule_fini(&s);
    }
}

/* Its slots are from then on those that it would have had with the new
 * interval from the beginning. */
static void another_interval_begins_at_its_next_slot(void **state)
{
    (void)state;
    struct schedule s, fresh;
    uint64_t slot_ns;
    check_i64(schedule_init(&s, 8), 0);
    check_i64(schedule_init(&fresh, 8), 0);
    check_i64(add(&s, "b-1", 5 * SEC, 9, 0), 0);
    check_true(schedule_take(&s, 5 * SEC, &slot_ns) != NULL);
    check_u64(s.entries[0].in_flight, 1);

    schedule_retime(&s, 0, "a-1", "b-1", 700 * MS, 9, 7 * SEC);
    check_i64(add(&fresh, "b-1", 700 * MS, 9, 7 * SEC), 0);
    check_u64(schedule_next(&s), schedule_next(&fresh));
    check_u64(s.entries[0].in_flight, 1); /* which goes on */
    schedule_done(&s, 0, false);
    check_u64(s.entries[0].in_flight, 0);
    check_u64(s.missed, 0);
    schedule_fini(&s);
    schedule_fini(&fresh);
}

static void the_same_interval_moves_no_slot(void **state)
{
    (void)state;
    struct schedule s;
    check_i64(schedule_init(&s, 8), 0);
    check_i64(add(&s, "b-1", 5 * SEC, 9, 0), 0);
    uint64_t due_ns = schedule_next(&s);
    schedule_retime(&s, 0, "a-1", "b-1", 5 * SEC, 9, due_ns + 1);
    check_u64(schedule_next(&s), due_ns);
    schedule_fini(&s);
}

/* More may be in flight than are allowed from now on. */
static void a_lower_limit_holds_for_those_in_flight(void **state)
{
    (void)state;
    struct schedule s;
    uint64_t slot_ns;
    check_i64(schedule_init(&s, 8), 0);
    check_i64(add(&s, "b-1", SEC, 3, 0), 0);
    for (uint64_t now_ns = SEC; now_ns <= 3 * SEC; now_ns += SEC)
        check_true(schedule_take(&s, now_ns, &slot_ns) != NULL);
    schedule_retime(&s, 0, "a-1", "b-1", SEC, 1, 3 * SEC);
    schedule_done(&s, 0, false);
    check_true(!schedule_take(&s, 4 * SEC, &slot_ns)); /* 2 in flight */
    schedule_done(&s, 0, false);
    check_true(!schedule_take(&s, 5 * SEC, &slot_ns)); /* 1 */
    schedule_done(&s, 0, false);
    check_true(schedule_take(&s, 6 * SEC, &slot_ns) != NULL);
    check_u64(s.missed, 2);
    schedule_fini(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_empty_until_something_is_added),
        cmocka_unit_test(the_first_slot_is_the_next_one),
        cmocka_unit_test(the_caller_gets_its_entry_back),
        cmocka_unit_test(a_stall_is_no_reason_for_a_burst),
        cmocka_unit_test(what_is_full_is_skipped_and_counted),
        cmocka_unit_test(what_is_removed_is_never_due_again),
        cmocka_unit_test(attempts_that_outlive_their_entry_keep_its_place),
        cmocka_unit_test(what_comes_and_goes_leaves_the_others_their_beat),
        cmocka_unit_test(offsets_are_spread_on_a_grid),
        cmocka_unit_test(each_part_of_a_name_moves_the_offset),
        cmocka_unit_test(short_intervals_are_spread_too),
        cmocka_unit_test(another_interval_begins_at_its_next_slot),
        cmocka_unit_test(the_same_interval_moves_no_slot),
        cmocka_unit_test(a_lower_limit_holds_for_those_in_flight),
        cmocka_unit_test(one_slow_entry_slows_nobody),
        cmocka_unit_test(every_slot_is_taken_or_missed),
    };
    return cmocka_run_group_tests_name("schedule", tests, NULL, NULL);
}
