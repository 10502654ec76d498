/* prober/remote_queue.h - samples, encoded, until they are acknowledged.
 *
 * They have numbers, 0, 1, 2 ...; the queue holds those from `first` on. Its
 * memory grows as needed, within a limit of its own and one that it shares with
 * others; when there is no more the oldest are dropped, and `first` moves on.
 * Pure.
 */
#ifndef PROBER_REMOTE_QUEUE_H
#define PROBER_REMOTE_QUEUE_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"

struct remote_queue { /* zeroed: empty */
    uint8_t *data;    /* owned: be16 length and bytes, one behind the other */
    size_t size, head, tail;
    uint32_t first, n; /* number of the oldest; how many are held */
};

void remote_queue_fini(struct remote_queue *q, size_t *all_bytes);

/* Add one (1..65535 bytes, and less than `max`). The memory stays within `max`
 * and *all_bytes, which counts that of all queues, within `all_max`. Returns
 * how many were dropped for it, itself included. */
uint32_t remote_queue_push(struct remote_queue *q, const void *data, size_t len,
                           size_t max, size_t *all_bytes, size_t all_max);
/* Those before this number are not needed any more. */
void remote_queue_drop(struct remote_queue *q, uint32_t before);
/* Append the first ones, as many as fit into `max` bytes (but one at least), to
 * `w`. Returns how many. */
uint32_t remote_queue_write(const struct remote_queue *q, struct wr *w,
                            size_t max);
void remote_queue_check(const struct remote_queue *q);

#endif /* PROBER_REMOTE_QUEUE_H */
