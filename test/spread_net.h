/* test/spread_net.h - nodes that spread frames to each other, in memory.
 *
 * No mesh underneath: messages go straight to the member they are for, late
 * and perhaps not at all. All nodes share one table of members, whose first
 * record is nobody's. See test/sim for the real thing.
 */
#ifndef TEST_SPREAD_NET_H
#define TEST_SPREAD_NET_H

#include "mesh/spread.h"
#include "proto/base/rng.h"

#define NET_MS        UINT64_C(1000000)
#define NET_S         UINT64_C(1000000000)
#define NET_UNIX_S    UINT64_C(1700000000)
#define NET_START_NS  (1000 * NET_S)
#define NET_FRAME_MAX (1u << 20)

struct net_config {
    unsigned n, zones;
    uint64_t seed;
    uint64_t near_ns, far_ns; /* one way, within and between zones */
    uint32_t loss_ppm;        /* of datagrams; streams are delayed by it */
    size_t bytes_max;         /* of a set; 0: 32 MiB */
    size_t origins_max;       /* 0: as usual */
    uint64_t retention_s;     /* 0: 300 */
    unsigned canary;          /* of node 0 */
};

struct net_node {
    char name[16], zone[16];
    struct frames *frames;
    struct spread *spread; /* NULL: down */
    uint64_t epoch_ms;
    int64_t skew_ms;
    unsigned side;      /* partitions: only equal ones hear each other */
    uint64_t frozen_ns; /* until */
};

struct net_message {
    uint64_t at_ns, order;
    uint32_t from, to;
    size_t len;
    uint8_t *data;
};

struct net {
    struct net_config config;
    struct members *members;
    struct net_node *nodes; /* node i is member i + 1 */
    struct rng rng;
    uint64_t now_ns, order;
    struct net_message *queue; /* a heap */
    size_t n_queue, queue_size;
    uint64_t datagrams, streams;
    /* what the last net_frame() made */
    uint8_t frame[NET_FRAME_MAX];
    size_t frame_len;
};

struct net *net_open(const struct net_config *c);
void net_close(struct net *net);
void net_start(struct net *net, unsigned i); /* with an empty set */
void net_stop(struct net *net, unsigned i);

/* From now on `name` is a member, which runs nowhere. */
void net_meet(struct net *net, const char *name);

int64_t net_unix_ms(const struct net *net, unsigned i);
uint64_t net_window(const struct net *net); /* running now, truly */

/* A frame with so many cells (0: none) in net->frame. */
void net_frame(struct net *net, const char *origin, uint64_t epoch_ms,
               uint64_t window, unsigned cells);
/* Node i closes one. Returns what spread_on_own() does. */
int net_close_frame(struct net *net, unsigned i, uint64_t window,
                    unsigned cells);
/* Hand a message to node i, now, as from node `from`. */
void net_deliver(struct net *net, unsigned i, unsigned from, const void *data,
                 size_t len);
/* Where a node is. */
const struct addr *net_address(const struct net *net, unsigned i);
void net_run(struct net *net, uint64_t until_ns);

/* How many nodes that run have it. */
unsigned net_count(const struct net *net, unsigned origin, uint64_t window);
/* Do all that run hold the same, byte by byte? */
bool net_is_equal(const struct net *net);

#endif /* TEST_SPREAD_NET_H */
