#include <stdlib.h>
#include <string.h>

#include "mesh/topology.h"
#include "prober/roster_private.h"
#include "proto/base/rng.h"

_Static_assert(CONFIG_PAIRS_MAX <= TOPOLOGY_K_MAX, "more pairs than can be");
_Static_assert(CONFIG_PEERS_MAX + ROSTER_MEMBERS_MAX < TOPOLOGY_NODES_MAX,
               "the choice is among all of them");

/* One whose facts do not say where it can be probed would take a place among
 * the chosen and leave its zone without a measurement. */
static bool takes_part(const struct record *record)
{
    return record->is_in_choice && record->has_prober;
}

/* Of the nodes, in whatever order; this one is always among them. */
static uint64_t hash_nodes(const struct roster *r, size_t *n)
{
    uint64_t sum = 0;
    *n = 1;
    for (size_t i = 0; i < r->n; i++) {
        const struct record *record = r->records[i];
        if (!takes_part(record))
            continue;
        const char *name = record->entry.name, *zone = record->mesh_zone;
        uint64_t hash = hash_bytes(0, name, strlen(name));
        sum += hash_bytes(hash, zone, strlen(zone));
        (*n)++;
    }
    return sum;
}

/* This node first, then the records that take part, in their order. */
static struct topology *build(const struct roster *r, size_t n)
{
    const struct config *c = r->config;
    struct topology_config how = {.k = c->topology.pairs,
                                  .full_max = c->topology.full_mesh_max};
    struct topology_node *nodes = calloc(n, sizeof(*nodes));
    if (!nodes)
        return NULL;
    nodes[0] = (struct topology_node){span_of_text(c->node.name),
                                      span_of_text(c->node.zone)};
    for (size_t i = 0, at = 1; i < r->n; i++) {
        const struct record *record = r->records[i];
        if (takes_part(record))
            nodes[at++] =
                (struct topology_node){span_of_text(record->entry.name),
                                       span_of_text(record->mesh_zone)};
    }
    struct topology *t = topology_build(nodes, n, &how);
    free(nodes);
    return t;
}

static bool has_targets(const struct topology *t, uint32_t from)
{
    size_t n;
    topology_targets(t, from, &n);
    return n > 0;
}

static bool is_any_fixed_probed(const struct roster *r)
{
    for (size_t i = 0; i < r->n_fixed; i++) {
        if (r->records[i]->entry.is_probed)
            return true;
    }
    return false;
}

static void take_choice(struct roster *r, const struct topology *t, size_t n)
{
    uint32_t at = 1;
    for (size_t i = 0; i < r->n; i++) {
        struct record *record = r->records[i];
        bool is_node = takes_part(record);
        record->is_chosen = is_node && topology_has(t, 0, at);
        record->entry.is_expected_reporter = is_node && has_targets(t, at);
        at += is_node;
    }
    /* Alone it will have somebody as soon as there is somebody. */
    r->is_reporter = n == 1 || has_targets(t, 0) || is_any_fixed_probed(r);
}

/* Whether one can be probed may change although the choice does not. */
static bool apply(struct roster *r)
{
    bool is_changed = false;
    for (size_t i = r->n_fixed; i < r->n; i++) {
        struct record *record = r->records[i];
        bool is_probed = record->is_chosen && record->is_able;
        is_changed |= record->entry.is_probed != is_probed;
        record->entry.is_probed = is_probed;
    }
    return is_changed;
}

bool roster_choose(struct roster *r)
{
    size_t n;
    uint64_t hash = hash_nodes(r, &n);
    if (!r->is_choice_done || hash != r->choice_hash) {
        struct topology *t = build(r, n);
        r->is_choice_done = t != NULL;
        if (t) {
            take_choice(r, t, n);
            r->choice_hash = hash;
        }
        topology_free(t);
    }
    return apply(r);
}
