#include "proto/base/heap.h"

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

/* AddressSanitizer would end the program where malloc() returns NULL. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void an_empty_heap_has_no_first(void **state)
{
    (void)state;
    struct heap h;
    struct heap_node a = {0};
    check_i64(heap_init(&h, 0), 0);
    check_true(!heap_first(&h));
    heap_remove(&h, &a); /* not in: nothing */
    check_i64(heap_set(&h, &a, 1), ERR_BUSY);
    check_u64(a.place, 0);
    heap_check(&h);
    heap_fini(&h);
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    struct heap h;
    check_i64(heap_init(&h, SIZE_MAX), ERR_NOMEM);
    heap_fini(&h);
    check_i64(heap_init(&h, SIZE_MAX / sizeof(void *)), ERR_NOMEM);
    heap_fini(&h);
}

static void the_earliest_is_first(void **state)
{
    (void)state;
    struct heap h;
    struct heap_node a = {0};
    struct heap_node b = {0};
    struct heap_node c = {0};
    check_i64(heap_init(&h, 3), 0);
    check_i64(heap_set(&h, &b, 20), 0);
    check_i64(heap_set(&h, &a, 10), 0);
    check_i64(heap_set(&h, &c, UINT64_MAX), 0);
    check_true(heap_first(&h) == &a);
    check_i64(heap_set(&h, &a, 30), 0); /* moved back, also when full */
    check_true(heap_first(&h) == &b);
    check_i64(heap_set(&h, &c, 0), 0); /* moved forward */
    check_true(heap_first(&h) == &c);
    heap_remove(&h, &c);
    check_u64(c.place, 0);
    heap_remove(&h, &c); /* twice is fine */
    check_true(heap_first(&h) == &b);
    heap_remove(&h, &b);
    heap_remove(&h, &a);
    check_true(!heap_first(&h));
    heap_fini(&h);
}

static void a_full_heap_is_busy_and_unchanged(void **state)
{
    (void)state;
    struct heap h;
    struct heap_node a = {0};
    struct heap_node b = {0};
    check_i64(heap_init(&h, 1), 0);
    check_i64(heap_set(&h, &a, 5), 0);
    check_i64(heap_set(&h, &b, 1), ERR_BUSY);
    check_u64(b.place, 0);
    check_true(heap_first(&h) == &a);
    heap_fini(&h);
}

static void equal_deadlines_come_out_in_order(void **state)
{
    (void)state;
    struct heap h;
    struct heap_node nodes[50] = {{0}};
    check_i64(heap_init(&h, 50), 0);
    for (size_t i = 0; i < 50; i++)
        check_i64(heap_set(&h, &nodes[i], 7), 0);
    check_i64(heap_set(&h, &nodes[0], 7), 0); /* set again: goes last */
    for (size_t i = 1; i <= 50; i++) {
        check_true(heap_first(&h) == &nodes[i % 50]);
        heap_remove(&h, &nodes[i % 50]);
    }
    heap_fini(&h);
}

#define NODES 60

/* The slow way: the earliest deadline, and among equals the oldest order. */
static struct heap_node *earliest(struct heap_node *nodes)
{
    struct heap_node *best = NULL;
    for (size_t i = 0; i < NODES; i++) {
        struct heap_node *n = &nodes[i];
        if (!n->place)
            continue;
        if (!best || n->deadline_ns < best->deadline_ns ||
            (n->deadline_ns == best->deadline_ns && n->order < best->order))
            best = n;
    }
    return best;
}

static void agrees_with_a_plain_search(void **state)
{
    (void)state;
    struct rng rng;
    struct heap h;
    struct heap_node nodes[NODES] = {{0}};
    rng_seed(&rng, check_seed());
    check_i64(heap_init(&h, NODES / 2), 0);
    size_t n_in = 0;
    for (int round = 0; round < 50000; round++) {
        struct heap_node *node = &nodes[rng_below(&rng, NODES)];
        bool was_in = node->place;
        if (rng_below(&rng, 5) < 3) {
            int want = was_in || n_in < NODES / 2 ? 0 : ERR_BUSY;
            check_i64(heap_set(&h, node, rng_below(&rng, 40)), want);
            n_in += !was_in && !want;
        } else {
            heap_remove(&h, node);
            n_in -= was_in;
            check_u64(node->place, 0);
        }
        heap_check(&h);
        check_u64(h.n, n_in);
        check_true(heap_first(&h) == earliest(nodes));
    }
    heap_fini(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_heap_has_no_first),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(the_earliest_is_first),
        cmocka_unit_test(a_full_heap_is_busy_and_unchanged),
        cmocka_unit_test(equal_deadlines_come_out_in_order),
        cmocka_unit_test(agrees_with_a_plain_search),
    };
    return cmocka_run_group_tests_name("heap", tests, NULL, NULL);
}
