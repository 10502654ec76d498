/* Cases by hand, then against a plain model of one place. */
#include "prober/lockout.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/rng.h"
#include "test/check.h"

#define SEC UINT64_C(1000000000)

static struct lockout_place place(const char *ip)
{
    struct addr a;
    check_true(addr_parse_ip(&a, ip) == 0);
    a.port = 4711;
    return lockout_place_of_addr(&a);
}

static bool is_same(const char *a, const char *b)
{
    struct lockout_place x = place(a);
    struct lockout_place y = place(b);
    return x.kind == y.kind && x.value == y.value;
}

static void fail_n(struct lockout *l, uint64_t now_ns, const char *ip, int n)
{
    for (int i = 0; i < n; i++)
        lockout_add(l, now_ns, place(ip));
}

static void a_place_is_an_address_or_a_slash_64(void **state)
{
    (void)state;
    check_true(is_same("10.0.0.1", "10.0.0.1"));
    check_false(is_same("10.0.0.1", "10.0.0.2"));
    check_true(is_same("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff"));
    check_false(is_same("2001:db8::1", "2001:db8:0:1::1"));
    /* As a socket for both families shows an IPv4 peer: not all are one. */
    check_true(is_same("::ffff:10.0.0.1", "10.0.0.1"));
    check_false(is_same("::ffff:10.0.0.1", "::ffff:10.0.0.2"));
    check_true(lockout_place_of_user(0).kind != 0);
    check_true(lockout_place_of_user(0x0a000001).kind !=
               place("10.0.0.1").kind);
}

static void five_within_a_minute_lock_for_a_minute(void **state)
{
    (void)state;
    struct lockout l = {0};
    for (uint64_t i = 0; i < 4; i++)
        lockout_add(&l, (100 + 10 * i) * SEC, place("10.0.0.1"));
    check_false(lockout_is_locked(&l, 159 * SEC, place("10.0.0.1")));
    lockout_add(&l, 160 * SEC - 1, place("10.0.0.1"));
    check_true(lockout_is_locked(&l, 160 * SEC - 1, place("10.0.0.1")));
    check_true(lockout_is_locked(&l, 220 * SEC - 2, place("10.0.0.1")));
    check_false(lockout_is_locked(&l, 220 * SEC - 1, place("10.0.0.1")));
    check_false(lockout_is_locked(&l, 160 * SEC, place("10.0.0.2")));
}

static void five_in_more_than_a_minute_do_not(void **state)
{
    (void)state;
    struct lockout l = {0};
    for (uint64_t i = 0; i < 100; i++) {
        lockout_add(&l, (100 + 15 * i) * SEC, place("10.0.0.1"));
        check_false(
            lockout_is_locked(&l, (100 + 15 * i) * SEC, place("10.0.0.1")));
    }
    lockout_add(&l, (100 + 15 * 99) * SEC + 1, place("10.0.0.1"));
    check_true(
        lockout_is_locked(&l, (100 + 15 * 99) * SEC + 1, place("10.0.0.1")));
}

static void after_a_lock_counting_begins_anew(void **state)
{
    (void)state;
    struct lockout l = {0};
    fail_n(&l, 100 * SEC, "10.0.0.1", 5);
    fail_n(&l, 160 * SEC, "10.0.0.1", 4);
    check_false(lockout_is_locked(&l, 160 * SEC, place("10.0.0.1")));
    fail_n(&l, 161 * SEC, "10.0.0.1", 1);
    check_true(lockout_is_locked(&l, 161 * SEC, place("10.0.0.1")));
}

static void who_failed_longest_ago_is_forgotten_first(void **state)
{
    (void)state;
    struct lockout l = {0};
    char ip[32];
    fail_n(&l, 10 * SEC, "9.9.9.9", 4);
    for (unsigned i = 0; i < LOCKOUT_TABLE_MAX - 1; i++) {
        snprintf(ip, sizeof(ip), "10.0.%u.%u", i / 256, i % 256);
        fail_n(&l, 11 * SEC, ip, 4);
    }
    fail_n(&l, 12 * SEC, "8.8.8.8", 1); /* takes the place of 9.9.9.9 */
    fail_n(&l, 13 * SEC, "10.0.0.77", 1);
    check_true(lockout_is_locked(&l, 13 * SEC, place("10.0.0.77")));
    fail_n(&l, 13 * SEC, "9.9.9.9", 1);
    check_false(lockout_is_locked(&l, 13 * SEC, place("9.9.9.9")));
}

static void a_flood_of_places_does_not_free_a_locked_one(void **state)
{
    (void)state;
    struct lockout l = {0};
    char ip[32];
    fail_n(&l, 10 * SEC, "9.9.9.9", 5);
    for (unsigned i = 0; i < 5000; i++) {
        snprintf(ip, sizeof(ip), "10.1.%u.%u", i / 256, i % 256);
        fail_n(&l, 20 * SEC, ip, 1);
        check_true(lockout_is_locked(&l, 20 * SEC, place("9.9.9.9")));
    }
    /* Unless all of them are: then the table does not grow either. */
    for (unsigned i = 0; i < LOCKOUT_TABLE_MAX; i++) {
        snprintf(ip, sizeof(ip), "10.2.%u.%u", i / 256, i % 256);
        fail_n(&l, 30 * SEC, ip, 5);
        check_true(lockout_is_locked(&l, 30 * SEC, place(ip)));
    }
    check_false(lockout_is_locked(&l, 30 * SEC, place("9.9.9.9")));
}

/* Against the sentence of the header, word by word, for one place. */
static void locks_as_the_sentence_says(void **state)
{
    (void)state;
    enum { N = 400 };
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 200; round++) {
        struct lockout l = {0};
        uint64_t at_ns[N];
        size_t n = 0; /* since the last lock */
        uint64_t until_ns = 0;
        uint64_t now_ns = SEC;
        for (int i = 0; i < N; i++) {
            now_ns += rng_below(&rng, 30 * SEC);
            bool is_locked = now_ns < until_ns;
            check_true(lockout_is_locked(&l, now_ns, place("1.2.3.4")) ==
                       is_locked);
            if (is_locked)
                continue;
            lockout_add(&l, now_ns, place("1.2.3.4"));
            at_ns[n++] = now_ns;
            if (n >= 5 && now_ns - at_ns[n - 5] < 60 * SEC) {
                until_ns = now_ns + 60 * SEC;
                n = 0;
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_is_an_address_or_a_slash_64),
        cmocka_unit_test(five_within_a_minute_lock_for_a_minute),
        cmocka_unit_test(five_in_more_than_a_minute_do_not),
        cmocka_unit_test(after_a_lock_counting_begins_anew),
        cmocka_unit_test(who_failed_longest_ago_is_forgotten_first),
        cmocka_unit_test(a_flood_of_places_does_not_free_a_locked_one),
        cmocka_unit_test(locks_as_the_sentence_says),
    };
    return cmocka_run_group_tests_name("lockout", tests, NULL, NULL);
}
