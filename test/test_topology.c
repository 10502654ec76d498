/* A few by hand, then properties over random meshes. */
#include "mesh/topology.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/rng.h"
#include "test/check.h"

#define NODES_MAX 300

/* A mesh whose names live here. */
struct table {
    size_t n;
    char names[NODES_MAX][32], zones[NODES_MAX][16];
    struct topology_node nodes[NODES_MAX];
};

static void add(struct table *t, const char *name, const char *zone)
{
    size_t i = t->n++;
    snprintf(t->names[i], sizeof(t->names[i]), "%s", name);
    snprintf(t->zones[i], sizeof(t->zones[i]), "%s", zone);
    t->nodes[i] = (struct topology_node){span_of_text(t->names[i]),
                                         span_of_text(t->zones[i])};
}

/* `sizes[z]` nodes in zone z. */
static void fill(struct table *t, const unsigned *sizes, unsigned n_zones)
{
    char name[32], zone[16];
    t->n = 0;
    for (unsigned z = 0; z < n_zones; z++) {
        for (unsigned i = 0; i < sizes[z]; i++) {
            snprintf(name, sizeof(name), "z%u-%u", z, i);
            snprintf(zone, sizeof(zone), "z%u", z);
            add(t, name, zone);
        }
    }
}

static struct topology *build(const struct table *t, unsigned k, size_t full)
{
    struct topology_config c = {k, full};
    struct topology *p = topology_build(t->nodes, t->n, &c);
    assert_non_null(p);
    return p;
}

static void a_small_mesh_probes_all_to_all(void **state)
{
    (void)state;
    static struct table t;
    fill(&t, (unsigned[]){5, 4, 3}, 3);
    struct topology *p = build(&t, 3, 12);
    check_u64(topology_pairs(p), 12 * 11);
    for (uint32_t i = 0; i < 12; i++) {
        for (uint32_t j = 0; j < 12; j++)
            check_true(topology_has(p, i, j) == (i != j));
    }
    topology_free(p);
}

static void nobody_and_one_alone_probe_nobody(void **state)
{
    (void)state;
    static struct table t;
    for (unsigned n = 0; n < 2; n++) {
        fill(&t, &n, 1);
        for (size_t full = 0; full < 13; full += 12) {
            struct topology *p = build(&t, 3, full);
            check_u64(topology_pairs(p), 0);
            topology_free(p);
        }
    }
}

/* Two zones of two: one each way has all 4 pairs with k = 4, within each zone
 * both directions, 2 pairs. */
static void pairs_do_not_come_twice_before_all_have_come(void **state)
{
    (void)state;
    static struct table t;
    fill(&t, (unsigned[]){2, 2}, 2);
    struct topology *p = build(&t, 4, 0);
    check_u64(topology_pairs(p), 4 + 4 + 2 + 2);
    topology_free(p);
    p = build(&t, 2, 0); /* different ends while there are some */
    check_u64(topology_pairs(p), 2 + 2 + 2 + 2);
    for (uint32_t i = 0; i < 4; i++)
        check_true(topology_has(p, i, 0) + topology_has(p, i, 1) +
                       topology_has(p, i, 2) + topology_has(p, i, 3) ==
                   2);
    topology_free(p);
}

static void one_name_twice_takes_part_once(void **state)
{
    (void)state;
    static struct table t;
    t.n = 0;
    add(&t, "a", "x");
    add(&t, "a", "x");
    add(&t, "b", "x");
    struct topology *p = build(&t, 3, 12);
    check_u64(topology_pairs(p), 2);
    check_true(topology_has(p, 0, 2));
    check_false(topology_has(p, 1, 2));
    topology_free(p);
}

static void too_many_nodes_are_refused(void **state)
{
    (void)state;
    struct topology_config c = {3, 12};
    struct topology_node one = {span_of_text("a"), span_of_text("z")};
    assert_null(topology_build(&one, TOPOLOGY_NODES_MAX + 1, &c));
}

/* ---- properties ---- */

static void random_table(struct table *t, struct rng *rng, unsigned *n_zones,
                         unsigned *sizes)
{
    *n_zones = 1 + (unsigned)rng_below(rng, 8);
    for (unsigned z = 0; z < *n_zones; z++)
        sizes[z] = 1 + (unsigned)rng_below(rng, 12);
    fill(t, sizes, *n_zones);
}

static unsigned zone_of(const struct table *t, uint32_t i)
{
    unsigned z = 0;
    sscanf(t->zones[i], "z%u", &z);
    return z;
}

static void every_ordered_pair_of_zones_is_covered(void **state)
{
    (void)state;
    static struct table t;
    struct rng rng;
    unsigned n_zones, sizes[8];
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 2000; round++) {
        random_table(&t, &rng, &n_zones, sizes);
        unsigned k = 1 + (unsigned)rng_below(&rng, 6);
        struct topology *p = build(&t, k, 0);
        unsigned pairs[8][8] = {{0}}, froms[8][8] = {{0}}, tos[8][8] = {{0}};
        for (uint32_t i = 0; i < t.n; i++) {
            unsigned from[8] = {0};
            size_t n;
            const uint32_t *to = topology_targets(p, i, &n);
            for (size_t j = 0; j < n; j++) {
                check_true(to[j] != i);
                check_true(j == 0 || to[j] > to[j - 1]);
                pairs[zone_of(&t, i)][zone_of(&t, to[j])]++;
                from[zone_of(&t, to[j])] = 1;
            }
            for (unsigned z = 0; z < n_zones; z++)
                froms[zone_of(&t, i)][z] += from[z];
        }
        for (uint32_t i = 0; i < t.n; i++) {
            unsigned met[8] = {0};
            for (uint32_t j = 0; j < t.n; j++) {
                if (topology_has(p, j, i))
                    met[zone_of(&t, j)] = 1;
            }
            for (unsigned z = 0; z < n_zones; z++)
                tos[z][zone_of(&t, i)] += met[z];
        }
        for (unsigned a = 0; a < n_zones; a++) {
            for (unsigned b = 0; b < n_zones; b++) {
                unsigned possible = sizes[a] * (sizes[b] - (a == b));
                unsigned want = k < possible ? k : possible;
                check_u64(pairs[a][b], want);
                /* Different ends, as far as there are that many. */
                check_u64(froms[a][b], want < sizes[a] ? want : sizes[a]);
                check_u64(tos[a][b], want < sizes[b] ? want : sizes[b]);
            }
        }
        topology_free(p);
    }
}

static void the_order_of_nodes_does_not_matter(void **state)
{
    (void)state;
    static struct table t;
    struct rng rng;
    unsigned n_zones, sizes[8];
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 300; round++) {
        random_table(&t, &rng, &n_zones, sizes);
        struct topology_node mixed[NODES_MAX];
        uint32_t place[NODES_MAX];
        for (uint32_t i = 0; i < t.n; i++)
            place[i] = i;
        for (size_t i = t.n; i > 1; i--) {
            size_t j = rng_below(&rng, i);
            uint32_t swap = place[i - 1];
            place[i - 1] = place[j];
            place[j] = swap;
        }
        for (size_t i = 0; i < t.n; i++)
            mixed[place[i]] = t.nodes[i];
        struct topology_config c = {3, 12};
        struct topology *p = topology_build(t.nodes, t.n, &c);
        struct topology *q = topology_build(mixed, t.n, &c);
        assert_non_null(p);
        assert_non_null(q);
        check_u64(topology_pairs(p), topology_pairs(q));
        for (uint32_t i = 0; i < t.n; i++) {
            for (uint32_t j = 0; j < t.n; j++)
                check_true(topology_has(p, i, j) ==
                           topology_has(q, place[i], place[j]));
        }
        topology_free(p);
        topology_free(q);
    }
}

/* Of each pair of zones that the node belongs to at most k pairs change, and
 * of no other; on average far fewer. */
static void a_join_or_leave_moves_few_pairs(void **state)
{
    (void)state;
    static struct table t;
    unsigned sizes[10];
    const unsigned k = 3, n_zones = 10;
    size_t moved_in_all = 0;
    for (unsigned z = 0; z < n_zones; z++)
        sizes[z] = 10;
    fill(&t, sizes, n_zones);
    struct topology *all = build(&t, k, 12);
    for (uint32_t gone = 0; gone < t.n; gone++) {
        struct topology_node rest[NODES_MAX];
        size_t n = 0;
        for (uint32_t i = 0; i < t.n; i++) {
            if (i != gone)
                rest[n++] = t.nodes[i];
        }
        struct topology_config c = {k, 12};
        struct topology *p = topology_build(rest, n, &c);
        assert_non_null(p);
        size_t moved = 0;
        for (uint32_t i = 0; i < n; i++) {
            size_t m;
            const uint32_t *to = topology_targets(p, i, &m);
            for (size_t j = 0; j < m; j++) {
                uint32_t from_all = i + (i >= gone);
                uint32_t to_all = to[j] + (to[j] >= gone);
                if (topology_has(all, from_all, to_all))
                    continue;
                moved++;
                check_true(zone_of(&t, from_all) == zone_of(&t, gone) ||
                           zone_of(&t, to_all) == zone_of(&t, gone));
            }
        }
        check_true(moved <= k * (2 * n_zones - 1));
        moved_in_all += moved;
        topology_free(p);
    }
    /* 19 pairs of zones, 3 of 10 nodes each, 2 pairs move on average. */
    check_true(moved_in_all / t.n <= 19 * 3 * 2 / 10 + 3);
    topology_free(all);
}

static void load_is_bounded_and_even(void **state)
{
    (void)state;
    static struct table t;
    unsigned sizes[10];
    for (unsigned z = 0; z < 10; z++)
        sizes[z] = 30;
    fill(&t, sizes, 10);
    struct topology *p = build(&t, 3, 12);
    check_u64(topology_pairs(p), 10 * 10 * 3);
    size_t most = 0, most_met = 0;
    size_t met[NODES_MAX] = {0};
    for (uint32_t i = 0; i < t.n; i++) {
        size_t n;
        const uint32_t *to = topology_targets(p, i, &n);
        most = n > most ? n : most;
        for (size_t j = 0; j < n; j++)
            met[to[j]]++;
    }
    for (uint32_t i = 0; i < t.n; i++)
        most_met = met[i] > most_met ? met[i] : most_met;
    /* One per node on average; at most one per zone it could be chosen for. */
    check_true(most <= 6);
    check_true(most_met <= 6);
    topology_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_mesh_probes_all_to_all),
        cmocka_unit_test(nobody_and_one_alone_probe_nobody),
        cmocka_unit_test(pairs_do_not_come_twice_before_all_have_come),
        cmocka_unit_test(one_name_twice_takes_part_once),
        cmocka_unit_test(too_many_nodes_are_refused),
        cmocka_unit_test(every_ordered_pair_of_zones_is_covered),
        cmocka_unit_test(the_order_of_nodes_does_not_matter),
        cmocka_unit_test(a_join_or_leave_moves_few_pairs),
        cmocka_unit_test(load_is_bounded_and_even),
    };
    return cmocka_run_group_tests_name("topology", tests, NULL, NULL);
}
