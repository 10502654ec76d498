#include "mesh/topology.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/rng.h"

/* One node while choosing. `key` orders it for the pair of zones at hand. */
struct entry {
    struct span name, zone;
    uint32_t index;
    uint64_t key;
};

struct zone {
    uint64_t hash;
    size_t first, n; /* in the sorted entries */
};

struct pair {
    uint32_t from, to;
};

struct topology {
    size_t n, n_pairs;
    size_t *starts;    /* n + 1 places in targets */
    uint32_t *targets; /* n_pairs */
};

struct builder {
    struct entry *entries; /* sorted by zone and name */
    size_t n;
    struct zone *zones;
    size_t n_zones;
    struct entry *ranked[2]; /* of the two zones at hand */
    struct pair *pairs;
    size_t n_pairs, size;
};

/* ---- order ---- */

static int compare_spans(struct span a, struct span b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int c = len ? memcmp(a.data, b.data, len) : 0;
    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static int by_zone_and_name(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    int c = compare_spans(a->zone, b->zone);
    c = c ? c : compare_spans(a->name, b->name);
    return c ? c : (a->index > b->index) - (a->index < b->index);
}

/* Equal keys are next to impossible; names decide, not places in memory. */
static int by_key(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    if (a->key != b->key)
        return a->key < b->key ? -1 : 1;
    return compare_spans(a->name, b->name);
}

static int by_ends(const void *pa, const void *pb)
{
    const struct pair *a = pa, *b = pb;
    if (a->from != b->from)
        return a->from < b->from ? -1 : 1;
    return (a->to > b->to) - (a->to < b->to);
}

/* ---- zones ---- */

static void sort_entries(struct builder *b, const struct topology_node *nodes,
                         size_t n)
{
    for (size_t i = 0; i < n; i++)
        b->entries[i] = (struct entry){
            .name = nodes[i].name, .zone = nodes[i].zone, .index = (uint32_t)i};
    qsort(b->entries, n, sizeof(*b->entries), by_zone_and_name);
    for (size_t i = 0; i < n; i++) {
        struct entry *last = b->n ? &b->entries[b->n - 1] : NULL;
        if (!last || !span_equal(last->name, b->entries[i].name) ||
            !span_equal(last->zone, b->entries[i].zone))
            b->entries[b->n++] = b->entries[i];
    }
}

static void find_zones(struct builder *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct span zone = b->entries[i].zone;
        if (i == 0 || !span_equal(zone, b->entries[i - 1].zone))
            b->zones[b->n_zones++] = (struct zone){
                .hash = hash_bytes(0, zone.data, zone.len), .first = i};
        b->zones[b->n_zones - 1].n++;
    }
}

/* ---- pairs ---- */

static int add_pair(struct builder *b, uint32_t from, uint32_t to)
{
    if (b->n_pairs == b->size) {
        size_t size = b->size ? b->size * 2 : 64;
        struct pair *pairs = reallocarray(b->pairs, size, sizeof(*pairs));
        if (!pairs)
            return -1;
        b->pairs = pairs;
        b->size = size;
    }
    b->pairs[b->n_pairs++] = (struct pair){from, to};
    return 0;
}

/* The nodes of `z` in the order that the pair of zones with this hash gives. */
static const struct entry *rank(struct builder *b, int end,
                                const struct zone *z, uint64_t hash)
{
    struct entry *ranked = b->ranked[end];
    memcpy(ranked, b->entries + z->first, z->n * sizeof(*ranked));
    for (size_t i = 0; i < z->n; i++)
        ranked[i].key =
            hash_bytes(hash, ranked[i].name.data, ranked[i].name.len);
    qsort(ranked, z->n, sizeof(*ranked), by_key);
    return ranked;
}

static size_t common_multiple(size_t a, size_t b)
{
    size_t x = a, y = b;
    while (y) {
        size_t rest = x % y;
        x = y;
        y = rest;
    }
    return a / x * b;
}

static int pair_off(struct builder *b, const struct zone *from,
                    const struct zone *to, unsigned k)
{
    assert(from->n > 0 && to->n > 0);
    bool is_same = from == to;
    size_t possible = from->n * (is_same ? to->n - 1 : to->n);
    size_t count = k < possible ? k : possible;
    size_t round = common_multiple(from->n, to->n);
    /* Each end with a hash of its own: who is first in A for B need not be
     * whom B's first probes back. */
    assert(round > 0);
    uint64_t zones[3] = {from->hash, to->hash, 1};
    const struct entry *a =
        rank(b, 0, from, hash_bytes(0, zones, sizeof(zones)));
    zones[2] = is_same ? 1 : 2;
    const struct entry *z = rank(b, 1, to, hash_bytes(0, zones, sizeof(zones)));

    for (size_t i = 0; i < count; i++) {
        size_t shift = i / round + (is_same ? 1 : 0);
        if (add_pair(b, a[i % from->n].index, z[(i + shift) % to->n].index))
            return -1;
    }
    return 0;
}

static int choose(struct builder *b, const struct topology_config *c)
{
    unsigned k = c->k < TOPOLOGY_K_MAX ? c->k : TOPOLOGY_K_MAX;
    if (b->n <= c->full_max) {
        for (size_t i = 0; i < b->n; i++) {
            for (size_t j = 0; j < b->n; j++) {
                if (i != j &&
                    add_pair(b, b->entries[i].index, b->entries[j].index))
                    return -1;
            }
        }
        return 0;
    }
    for (size_t i = 0; i < b->n_zones; i++) {
        for (size_t j = 0; j < b->n_zones; j++) {
            if (pair_off(b, &b->zones[i], &b->zones[j], k))
                return -1;
        }
    }
    return 0;
}

/* ---- the result ---- */

static int keep(struct topology *t, struct builder *b, size_t n)
{
    if (b->n_pairs)
        qsort(b->pairs, b->n_pairs, sizeof(*b->pairs), by_ends);
    t->n = n;
    t->starts = calloc(n + 1, sizeof(*t->starts));
    t->targets = calloc(b->n_pairs ? b->n_pairs : 1, sizeof(*t->targets));
    if (!t->starts || !t->targets)
        return -1;
    for (size_t i = 0; i < b->n_pairs; i++) {
        assert(b->pairs[i].from != b->pairs[i].to);
        t->targets[i] = b->pairs[i].to;
        t->starts[b->pairs[i].from + 1]++;
    }
    for (size_t i = 0; i < n; i++)
        t->starts[i + 1] += t->starts[i];
    t->n_pairs = b->n_pairs;
    return 0;
}

struct topology *topology_build(const struct topology_node *nodes, size_t n,
                                const struct topology_config *c)
{
    struct builder b = {0};
    struct topology *t = NULL;
    size_t size = n ? n : 1;

    if (n > TOPOLOGY_NODES_MAX)
        return NULL;
    b.entries = calloc(size, sizeof(*b.entries));
    b.zones = calloc(size, sizeof(*b.zones));
    b.ranked[0] = calloc(size, sizeof(*b.entries));
    b.ranked[1] = calloc(size, sizeof(*b.entries));
    if (!b.entries || !b.zones || !b.ranked[0] || !b.ranked[1])
        goto out;
    sort_entries(&b, nodes, n);
    find_zones(&b);
    if (choose(&b, c))
        goto out;
    t = calloc(1, sizeof(*t));
    if (t && keep(t, &b, n)) {
        topology_free(t);
        t = NULL;
    }
out:
    free(b.pairs);
    free(b.ranked[1]);
    free(b.ranked[0]);
    free(b.zones);
    free(b.entries);
    return t;
}

void topology_free(struct topology *t)
{
    if (!t)
        return;
    free(t->starts);
    free(t->targets);
    free(t);
}

const uint32_t *topology_targets(const struct topology *t, uint32_t from,
                                 size_t *n)
{
    if (from >= t->n) {
        *n = 0;
        return t->targets;
    }
    *n = t->starts[from + 1] - t->starts[from];
    return t->targets + t->starts[from];
}

bool topology_has(const struct topology *t, uint32_t from, uint32_t to)
{
    size_t n;
    const uint32_t *targets = topology_targets(t, from, &n);
    for (size_t i = 0; i < n; i++) {
        if (targets[i] == to)
            return true;
    }
    return false;
}

size_t topology_pairs(const struct topology *t)
{
    return t->n_pairs;
}
