/* mesh/broadcast.h - news that still has to be told a few times.
 *
 * Each item is handed out `limit` times, fewest times first; among equals the
 * largest that still fits, newest first. A new item about a subject replaces
 * the one that is queued: only the last word about a node is worth telling.
 * The limit grows with the logarithm of the cluster (SWIM, 4.1):
 *
 *     retransmit_mult * ceil(log10(n + 1))
 *
 * Two kinds share each packet: membership first, and for the application's
 * (Serf's intents and events) a quarter is kept free: on average, so that an
 * item larger than that waits for some packets and not for ever. Deviation: in
 * memberlist membership starves the rest under churn.
 *
 * Bounded in items and bytes; when full, the item told most often goes, the
 * oldest of these. Pure, allocates only in broadcast_add(). One thread.
 */
#ifndef MESH_BROADCAST_H
#define MESH_BROADCAST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/span.h"

enum broadcast_kind { BROADCAST_MEMBER, BROADCAST_USER, BROADCAST_KIND_N };

struct broadcast; /* opaque */

struct broadcast_limits {
    size_t items_max; /* 4096 */
    size_t bytes_max; /* 1 MiB, of all items */
    size_t item_max;  /* bytes of one; what no packet can carry is refused */
};

struct broadcast *broadcast_open(const struct broadcast_limits *limits);
void broadcast_close(struct broadcast *b);

/* How often an item is told among `n` nodes. */
unsigned broadcast_limit(unsigned retransmit_mult, size_t n);

/* Queue a copy of `bytes`. `subject` (not 0) replaces what is queued under the
 * same kind and subject; 0 replaces nothing. *id, which may be NULL, names the
 * item for broadcast_has(). Returns 0, ERR_TOOBIG (above item_max), ERR_NOMEM.
 * Never emits an item of no bytes: ERR_BAD. */
int broadcast_add(struct broadcast *b, enum broadcast_kind kind,
                  uint64_t subject, struct span bytes, uint64_t *id);

/* Forget the item about a subject, if there is one. */
void broadcast_remove(struct broadcast *b, enum broadcast_kind kind,
                      uint64_t subject);

/* Is item `id` still to be told? False once told `limit` times or replaced. */
bool broadcast_has(const struct broadcast *b, uint64_t id);

/* Hand out items for one packet: at most `max` of them, which with `overhead`
 * bytes each take at most `room` bytes. Writes spans, which are valid until
 * the next call that is not broadcast_has(), and returns how many. An item is
 * handed out at most once per call; one that was told `limit` times is
 * dropped. */
size_t broadcast_take(struct broadcast *b, unsigned limit, size_t room,
                      size_t overhead, struct span *items, size_t max);

size_t broadcast_count(const struct broadcast *b);
size_t broadcast_bytes(const struct broadcast *b);
uint64_t broadcast_dropped(const struct broadcast *b); /* for want of room */

/* Walk the whole structure and assert its invariants. For tests. */
void broadcast_check(const struct broadcast *b);

#endif /* MESH_BROADCAST_H */
