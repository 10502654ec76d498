#include "test/sim/queue.h"

#include <stdio.h>
#include <stdlib.h>

void queue_init(struct queue *q)
{
    *q = (struct queue){.size = 0};
}

void queue_fini(struct queue *q)
{
    for (size_t i = 0; i < q->n; i++)
        free(q->events[i].load);
    free(q->events);
}

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

void queue_put(struct queue *q, struct event e)
{
    if (q->n == q->size) {
        size_t size = q->size ? q->size * 2 : 1024;
        struct event *grown = reallocarray(q->events, size, sizeof(*grown));
        if (!grown) {
            fputs("sim: out of memory\n", stderr);
            exit(1);
        }
        q->events = grown;
        q->size = size;
    }
    e.order = q->next_order++;
    size_t i = q->n++;
    while (i > 0 && is_before(&e, &q->events[(i - 1) / 2])) {
        q->events[i] = q->events[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    q->events[i] = e;
}

bool queue_take(struct queue *q, struct event *e)
{
    if (q->n == 0)
        return false;
    *e = q->events[0];
    struct event last = q->events[--q->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= q->n)
            break;
        if (child + 1 < q->n &&
            is_before(&q->events[child + 1], &q->events[child]))
            child++;
        if (!is_before(&q->events[child], &last))
            break;
        q->events[i] = q->events[child];
        i = child;
    }
    q->events[i] = last;
    return true;
}
