/* Cases first, then one property over random histories. */
#include "mesh/suspicion.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define MS  1000000ull
#define SEC (1000 * MS)

enum { ALICE = 1, BOB, CAROL, DAVE, ERIN };

/* k = 3 makes one step easy to do by hand: ln 2 / ln 4 is one half. */
static const struct suspicion_limits three = {
    .min_ns = 2 * SEC, .max_ns = 30 * SEC, .k = 3};

static void shrinks_with_each_witness(void **state)
{
    (void)state;
    struct suspicion s;

    suspicion_init(&s, &three, ALICE, 100 * SEC);
    check_u64(suspicion_deadline(&s), 130 * SEC);

    check_true(suspicion_confirm(&s, BOB));
    check_u64(suspicion_deadline(&s), 116 * SEC);

    check_true(suspicion_confirm(&s, CAROL));
    check_u64(suspicion_deadline(&s), 107810000000ull);

    check_true(suspicion_confirm(&s, DAVE));
    check_u64(suspicion_deadline(&s), 102 * SEC);
}

static void hears_each_witness_once(void **state)
{
    (void)state;
    struct suspicion s;

    suspicion_init(&s, &three, ALICE, 0);
    check_false(suspicion_confirm(&s, ALICE)); /* opened it, is no witness */
    check_true(suspicion_confirm(&s, BOB));
    check_false(suspicion_confirm(&s, BOB));
    check_u64(s.n, 1);
}

static void is_deaf_once_k_were_heard(void **state)
{
    (void)state;
    struct suspicion s;

    suspicion_init(&s, &three, ALICE, 0);
    for (uint32_t who = BOB; who <= DAVE; who++)
        check_true(suspicion_confirm(&s, who));
    check_false(suspicion_confirm(&s, ERIN));
    check_u64(suspicion_deadline(&s), three.min_ns);
}

static void waits_the_minimum_if_none_can_confirm(void **state)
{
    (void)state;
    struct suspicion_limits alone = {2 * SEC, 30 * SEC, 0};
    struct suspicion s;

    suspicion_init(&s, &alone, ALICE, 7 * SEC);
    check_u64(suspicion_deadline(&s), 9 * SEC);
    check_false(suspicion_confirm(&s, BOB));
}

/* Whatever arrives in whatever order: the deadline never moves away, moves
 * only on news, and stays within [min, max]. */
static void deadline_only_ever_comes_closer(void **state)
{
    (void)state;
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 20000; round++) {
        struct suspicion_limits l;
        l.min_ns = rng_below(&rng, 60 * SEC);
        l.max_ns = l.min_ns + rng_below(&rng, round % 2 ? MS : 600 * SEC);
        l.k = (unsigned)rng_below(&rng, SUSPICION_K_MAX + 1);

        struct suspicion s;
        suspicion_init(&s, &l, 0, SEC);
        uint64_t before = suspicion_deadline(&s);
        for (int i = 0; i < 20; i++) {
            bool news = suspicion_confirm(&s, (uint32_t)rng_below(&rng, 12));
            uint64_t after = suspicion_deadline(&s);
            check_true(after <= before);
            check_true(news || after == before);
            check_true(after >= SEC + l.min_ns && after <= SEC + l.max_ns);
            before = after;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shrinks_with_each_witness),
        cmocka_unit_test(hears_each_witness_once),
        cmocka_unit_test(is_deaf_once_k_were_heard),
        cmocka_unit_test(waits_the_minimum_if_none_can_confirm),
        cmocka_unit_test(deadline_only_ever_comes_closer),
    };
    return cmocka_run_group_tests_name("suspicion", tests, NULL, NULL);
}
