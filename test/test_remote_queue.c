/* What is held until it is acknowledged, and what goes when there is no room.
 */
#include "prober/remote_queue.h"

#include <string.h>

#include "proto/base/rng.h"
#include "test/check.h"

#define PLENTY ((size_t)1 << 20)

static uint32_t push(struct remote_queue *q, size_t *all, const char *text)
{
    uint32_t dropped =
        remote_queue_push(q, text, strlen(text), PLENTY, all, PLENTY);
    remote_queue_check(q);
    return dropped;
}

static void check_written(const struct remote_queue *q, size_t max, uint32_t n,
                          const char *want)
{
    struct wr w;
    wr_init_grow(&w, PLENTY);
    check_u64(remote_queue_write(q, &w, max), n);
    wr_u8(&w, 0);
    check_text((const char *)w.data, want);
    wr_fini(&w);
}

static void keeps_order_and_counts(void **state)
{
    (void)state;
    struct remote_queue q = {0};
    size_t all = 0;
    check_written(&q, 100, 0, "");
    check_u64(push(&q, &all, "one"), 0);
    check_u64(push(&q, &all, "two"), 0);
    check_u64(push(&q, &all, "three"), 0);
    check_u64(q.first, 0);
    check_u64(q.n, 3);
    check_written(&q, 100, 3, "onetwothree");
    remote_queue_drop(&q, 1);
    remote_queue_check(&q);
    check_u64(q.first, 1);
    check_written(&q, 100, 2, "twothree");
    check_u64(push(&q, &all, "four"), 0);
    check_written(&q, 100, 3, "twothreefour");
    remote_queue_drop(&q, 4);
    check_u64(q.first, 4);
    check_u64(q.n, 0);
    remote_queue_drop(&q, 9); /* there is nothing to drop any more */
    check_u64(q.first, 4);
    remote_queue_fini(&q, &all);
    check_u64(all, 0);
}

static void writes_as_many_as_fit_but_one_at_least(void **state)
{
    (void)state;
    struct remote_queue q = {0};
    size_t all = 0;
    push(&q, &all, "12345");
    push(&q, &all, "678");
    push(&q, &all, "9");
    check_written(&q, 9, 3, "123456789");
    check_written(&q, 8, 2, "12345678");
    check_written(&q, 7, 1, "12345");
    check_written(&q, 0, 1, "12345");
    remote_queue_fini(&q, &all);
}

/* 4096 bytes hold four of 1022 and their lengths. */
static void drops_the_oldest_when_it_is_full(void **state)
{
    (void)state;
    static uint8_t bytes[1022];
    struct remote_queue q = {0};
    size_t all = 0;
    for (uint32_t i = 0; i < 4; i++)
        check_u64(
            remote_queue_push(&q, bytes, sizeof(bytes), 4096, &all, PLENTY), 0);
    check_u64(all, 4096);
    check_u64(remote_queue_push(&q, bytes, 1, 4096, &all, PLENTY), 1);
    check_u64(q.first, 1);
    check_u64(q.n, 4);
    check_u64(remote_queue_push(&q, bytes, 1022, 4096, &all, PLENTY), 1);
    check_u64(q.first, 2);
    check_u64(all, 4096);
    remote_queue_check(&q);
    remote_queue_fini(&q, &all);
}

static void shares_a_limit_with_others(void **state)
{
    (void)state;
    static uint8_t bytes[3000];
    struct remote_queue a = {0}, b = {0};
    size_t all = 0, limit = 4096 + 100;
    check_u64(remote_queue_push(&a, bytes, 3000, PLENTY, &all, limit), 0);
    /* No memory at all: the number is used up, and nothing is held. */
    check_u64(remote_queue_push(&b, bytes, 3000, PLENTY, &all, limit), 1);
    check_u64(b.first, 1);
    check_u64(b.n, 0);
    /* It cannot grow: its own oldest goes. */
    check_u64(remote_queue_push(&a, bytes, 3000, PLENTY, &all, limit), 1);
    check_u64(a.first, 1);
    check_u64(a.n, 1);
    check_u64(all, 4096);
    remote_queue_fini(&a, &all);
    check_u64(all, 0);
    check_u64(remote_queue_push(&b, bytes, 3000, PLENTY, &all, limit), 0);
    check_u64(b.first, 1);
    check_u64(b.n, 1);
    remote_queue_fini(&b, &all);
}

/* Against a list that is as simple as can be. */
static void is_a_list_within_limits(void **state)
{
    (void)state;
    enum { MAX = 16384, ALL = 20000 };
    static uint16_t lens[100000];
    static uint8_t bytes[2560];
    struct rng rng;
    struct remote_queue q = {0};
    size_t all = 0;
    uint32_t first = 0, end = 0;
    rng_seed(&rng, check_seed());
    for (int i = 0; i < 50000; i++) {
        if (rng_below(&rng, 4)) {
            size_t len = 1 + rng_below(&rng, sizeof(bytes));
            memset(bytes, (int)(end & 0xff), len);
            lens[end] = (uint16_t)len;
            first += remote_queue_push(&q, bytes, len, MAX, &all, ALL);
            end++;
        } else {
            uint32_t to = first + (uint32_t)rng_below(&rng, end - first + 1);
            remote_queue_drop(&q, to);
            first = to;
        }
        remote_queue_check(&q);
        check_u64(q.first, first);
        check_u64(q.n, end - first);
        check_true(q.size <= MAX && all == q.size);
        struct wr w;
        size_t at = 0;
        wr_init_grow(&w, PLENTY);
        check_u64(remote_queue_write(&q, &w, PLENTY), end - first);
        for (uint32_t k = first; k < end; at += lens[k], k++) {
            check_u64(w.data[at], k & 0xff);
            check_u64(w.data[at + lens[k] - 1], k & 0xff);
        }
        check_u64(at, w.len);
        wr_fini(&w);
    }
    remote_queue_fini(&q, &all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_and_counts),
        cmocka_unit_test(writes_as_many_as_fit_but_one_at_least),
        cmocka_unit_test(drops_the_oldest_when_it_is_full),
        cmocka_unit_test(shares_a_limit_with_others),
        cmocka_unit_test(is_a_list_within_limits),
    };
    return cmocka_run_group_tests_name("remote_queue", tests, NULL, NULL);
}
