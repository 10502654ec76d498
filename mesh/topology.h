/* mesh/topology.h - who probes whom.
 *
 * For every ordered pair of zones (A, B), A = B included, k pairs of nodes:
 * the nodes of A and those of B are ranked by a hash of (A, B, node), and
 * paired off in rank order, the shorter list starting again. When both lists
 * have come round together, one of them moves on by one, so that no pair comes
 * twice before all have come; within a zone that shift begins at one, so that
 * no node meets itself. A mesh of at most full_max nodes probes all to all.
 *
 * The same nodes give the same pairs, in whatever order they are given; one
 * that comes or goes moves at most k pairs of each pair of zones it belongs
 * to; the cost grows with zones * zones * k and not with nodes * nodes. Ranking
 * is rendezvous hashing (Thaler and Ravishankar, 1998). Pure.
 */
#ifndef MESH_TOPOLOGY_H
#define MESH_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/span.h"

#define TOPOLOGY_NODES_MAX 8192
#define TOPOLOGY_K_MAX     64

struct topology_node {
    struct span name, zone; /* borrowed while building; names differ */
};

struct topology_config {
    unsigned k;      /* pairs per ordered pair of zones: 3 */
    size_t full_max; /* 12 */
};

struct topology; /* opaque */

/* Choose. Returns NULL without memory, or for more than TOPOLOGY_NODES_MAX
 * nodes. Nodes are known by their index in `nodes` from here on; of two with
 * one name only the first takes part. */
struct topology *topology_build(const struct topology_node *nodes, size_t n,
                                const struct topology_config *c);
void topology_free(struct topology *t);

/* Whom node `from` probes: *n indices, ascending, without repetition. Borrowed
 * until topology_free(). */
const uint32_t *topology_targets(const struct topology *t, uint32_t from,
                                 size_t *n);

bool topology_has(const struct topology *t, uint32_t from, uint32_t to);

/* All of them. */
size_t topology_pairs(const struct topology *t);

#endif /* MESH_TOPOLOGY_H */
