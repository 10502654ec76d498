/* proto/base/heap.h - deadlines in order.
 *
 * A binary heap of intrusive nodes, smallest deadline first; equal deadlines
 * come out in the order they went in, so that a run can be repeated. Nodes
 * know their place, removal and change are O(log n). The array of pointers is
 * sized at opening and never grows.
 */
#ifndef PROTO_BASE_HEAP_H
#define PROTO_BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embed in the thing that has a deadline. Zero-initialised is "not in". */
struct heap_node {
    uint64_t deadline_ns;
    uint64_t order; /* set by heap_add */
    size_t place;   /* 1-based index in the heap, 0: not in */
};

struct heap {
    struct heap_node **nodes; /* nodes[1..n] */
    size_t n, size;
    uint64_t next_order;
};

/* Room for `size` nodes. Returns 0 or ERR_NOMEM. */
int heap_init(struct heap *h, size_t size);
void heap_fini(struct heap *h); /* nodes are the caller's */

/* Add `node`, which must not be in, or move it if it is. Never fails for a
 * node that is in; ERR_BUSY when the heap is full. */
int heap_set(struct heap *h, struct heap_node *node, uint64_t deadline_ns);

/* Take `node` out; nothing if it is not in. */
void heap_remove(struct heap *h, struct heap_node *node);

/* The node with the earliest deadline, or NULL. It stays in. */
struct heap_node *heap_first(const struct heap *h);

/* Walk the whole structure and assert its order. For tests. */
void heap_check(const struct heap *h);

#endif /* PROTO_BASE_HEAP_H */
