/* The first numbers are those that the authors' own code gives. */
#include "proto/base/rng.h"

#include <string.h>

#include "test/check.h"

static void follows_the_published_sequence(void **state)
{
    (void)state;
    static const uint64_t want[] = {
        11520,
        0,
        1509978240,
        1215971899390074240u,
        1216172134540287360u,
        607988272756665600u,
    };
    struct rng r = {{1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
        check_u64(rng_next(&r), want[i]);
}

static void seeds_through_splitmix64(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, 1234567);
    check_u64(r.s[0], 6457827717110365317u);
    check_u64(r.s[1], 3203168211198807973u);
    check_u64(r.s[2], 9817491932198370423u);
    rng_seed(&r, 0); /* is no special case */
    check_u64(rng_next(&r), 11091344671253066420u);
    check_u64(rng_next(&r), 13793997310169335082u);
}

static void below_stays_below_and_reaches_all(void **state)
{
    (void)state;
    struct rng r;
    rng_seed(&r, check_seed());
    check_u64(rng_below(&r, 0), 0);
    check_u64(rng_below(&r, 1), 0);
    for (uint64_t n = 2; n < 20; n++) {
        unsigned seen = 0;
        for (int i = 0; i < 2000; i++) {
            uint64_t v = rng_below(&r, n);
            check_true(v < n);
            seen |= 1u << v;
        }
        check_u64(seen, (1u << n) - 1);
    }
    for (int i = 0; i < 1000; i++) {
        check_true(rng_below(&r, UINT64_MAX) < UINT64_MAX);
        check_true(rng_below(&r, (1ull << 63) + 1) <= 1ull << 63);
    }
}

/* n = 3 * 2^62: without rejection the lowest third would come twice as often
 * as each other. */
static void below_is_without_bias(void **state)
{
    (void)state;
    uint64_t n = 3ull << 62;
    unsigned thirds[3] = {0};
    struct rng r;
    rng_seed(&r, check_seed());
    for (int i = 0; i < 30000; i++)
        thirds[rng_below(&r, n) >> 62]++;
    for (int i = 0; i < 3; i++)
        check_true(thirds[i] > 9500 && thirds[i] < 10500);
}

static void unit_is_in_zero_to_one(void **state)
{
    (void)state;
    struct rng r;
    double sum = 0;
    double lowest = 1;
    double highest = 0;
    rng_seed(&r, check_seed());
    for (int i = 0; i < 100000; i++) {
        double v = rng_unit(&r);
        check_true(v >= 0 && v < 1);
        sum += v;
        lowest = v < lowest ? v : lowest;
        highest = v > highest ? v : highest;
    }
    check_true(sum > 49500 && sum < 50500);
    check_true(lowest < 0.001 && highest > 0.999);
}

static void hash_is_fnv1a_with_a_final_mix(void **state)
{
    (void)state;
    check_u64(hash_bytes(0, "", 0), 14087677454934409008u);
    check_u64(hash_bytes(0, "a", 1), 6857225946766476583u);
    check_u64(hash_bytes(0, "foobar", 6), 6769637297169358415u);
    check_u64(hash_bytes(1, "a", 1), 1704250071669194000u);
    check_u64(hash_bytes(0, NULL, 0), hash_bytes(0, "", 0));
}

/* Names that differ in a digit land in different slots, evenly. */
static void hash_spreads_similar_names(void **state)
{
    (void)state;
    unsigned slots[16] = {0};
    for (unsigned i = 0; i < 16000; i++) {
        char name[] = "node-00000";
        for (unsigned k = 9, v = i; v; k--, v /= 10)
            name[k] = (char)('0' + v % 10);
        slots[hash_bytes(0, name, strlen(name)) % 16]++;
    }
    for (int i = 0; i < 16; i++)
        check_true(slots[i] > 850 && slots[i] < 1150);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(follows_the_published_sequence),
        cmocka_unit_test(seeds_through_splitmix64),
        cmocka_unit_test(below_stays_below_and_reaches_all),
        cmocka_unit_test(below_is_without_bias),
        cmocka_unit_test(unit_is_in_zero_to_one),
        cmocka_unit_test(hash_is_fnv1a_with_a_final_mix),
        cmocka_unit_test(hash_spreads_similar_names),
    };
    return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
