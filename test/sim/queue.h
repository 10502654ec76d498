/* test/sim/queue.h - virtual time: what happens next.
 *
 * A binary heap of events by time; those of the same time come out in the
 * order they were put in, so that a run can be repeated. What an event means
 * is not known here. One thread.
 */
#ifndef TEST_SIM_QUEUE_H
#define TEST_SIM_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event {
    uint64_t at_ns, order; /* order is set by queue_put() */
    uint32_t kind;         /* enum sim_event */
    uint32_t who;          /* node, endpoint or pipe; by kind */
    uint32_t what, gen;    /* by kind */
    void *load;            /* by kind; the event owns it */
};

struct queue {
    struct event *events;
    size_t n, size;
    uint64_t next_order;
};

void queue_init(struct queue *q);
/* Loads that are still queued are freed. */
void queue_fini(struct queue *q);
/* Ends the process when memory is out: a test cannot go on then. */
void queue_put(struct queue *q, struct event e);
bool queue_take(struct queue *q, struct event *e);

#endif /* TEST_SIM_QUEUE_H */
