#include "prober/remote_queue.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_FIRST 4096
#define PREFIX     2

void remote_queue_fini(struct remote_queue *q, size_t *all_bytes)
{
    assert(*all_bytes >= q->size);
    *all_bytes -= q->size;
    free(q->data);
    *q = (struct remote_queue){0};
}

static size_t len_at(const struct remote_queue *q, size_t at)
{
    return (size_t)q->data[at] << 8 | q->data[at + 1];
}

static void drop_one(struct remote_queue *q)
{
    q->head += PREFIX + len_at(q, q->head);
    q->first++;
    q->n--;
    if (q->n == 0)
        q->head = q->tail = 0;
}

void remote_queue_drop(struct remote_queue *q, uint32_t before)
{
    while (q->n > 0 && q->first < before)
        drop_one(q);
}

static void compact(struct remote_queue *q)
{
    memmove(q->data, q->data + q->head, q->tail - q->head);
    q->tail -= q->head;
    q->head = 0;
}

/* Twice as much, while that is allowed and there is memory. */
static bool grow(struct remote_queue *q, size_t max, size_t *all_bytes,
                 size_t all_max)
{
    size_t size = q->size ? q->size * 2 : SIZE_FIRST;
    if (size > max)
        size = max;
    size_t more = size - q->size;
    if (more == 0 || *all_bytes > all_max || more > all_max - *all_bytes)
        return false;
    uint8_t *data = realloc(q->data, size);
    if (!data)
        return false;
    q->data = data;
    q->size = size;
    *all_bytes += more;
    return true;
}

uint32_t remote_queue_push(struct remote_queue *q, const void *data, size_t len,
                           size_t max, size_t *all_bytes, size_t all_max)
{
    assert(len > 0);
    assert(len <= UINT16_MAX);
    uint32_t dropped = 0;
    while (q->size - (q->tail - q->head) < PREFIX + len) {
        if (grow(q, max, all_bytes, all_max))
            continue;
        if (q->n == 0) { /* not even this one: its number is used up */
            q->first++;
            return dropped + 1;
        }
        drop_one(q);
        dropped++;
    }
    if (q->size - q->tail < PREFIX + len)
        compact(q);
    q->data[q->tail] = (uint8_t)(len >> 8);
    q->data[q->tail + 1] = (uint8_t)len;
    memcpy(q->data + q->tail + PREFIX, data, len);
    q->tail += PREFIX + len;
    q->n++;
    return dropped;
}

uint32_t remote_queue_write(const struct remote_queue *q, struct wr *w,
                            size_t max)
{
    uint32_t n = 0;
    size_t bytes = 0;
    for (size_t at = q->head; n < q->n; n++) {
        size_t len = len_at(q, at);
        if (n > 0 && bytes + len > max)
            break;
        wr_bytes(w, q->data + at + PREFIX, len);
        bytes += len;
        at += PREFIX + len;
    }
    return n;
}

void remote_queue_check(const struct remote_queue *q)
{
    uint32_t n = 0;
    size_t at = q->head;
    assert(q->head <= q->tail);
    assert(q->tail <= q->size);
    for (; at < q->tail; n++)
        at += PREFIX + len_at(q, at);
    assert(at == q->tail);
    assert(n == q->n);
}
