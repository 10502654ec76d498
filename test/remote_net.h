/* test/remote_net.h - nodes that ask each other for probes, on a network that
 * loses, repeats, delays and spoils what they say.
 *
 * Each node has members, a struct remote and a host that makes up samples. All
 * that a sink may rely on is checked as it happens: an ask ends once, nothing
 * comes of it before it was asked or after its end or drop, its samples come in
 * order and once, an ask is executed once; and remote_check() after each event.
 */
#ifndef TEST_REMOTE_NET_H
#define TEST_REMOTE_NET_H

#include "prober/remote.h"
#include "proto/base/rng.h"

#define NET_NODES   6
#define NET_ASKS    512
#define NET_PACKETS 1024
#define NET_RUNS    128

#define NET_MS  UINT64_C(1000000)
#define NET_SEC (1000 * NET_MS)

struct net_ask { /* as its coordinator knows it */
    bool is_used, is_dropped;
    unsigned from, to; /* nodes */
    uint32_t ask;      /* its number there */
    uint8_t id[REMOTE_ID_SIZE];
    struct oneoff_request request;
    uint64_t asked_ns, taken_ns, ended_ns;
    unsigned taken, ends, starts, stops;
    uint32_t samples, next;
    enum oneoff_state state;
    uint32_t missed, lost;
};

struct net_run { /* as an executor's host knows it */
    bool is_used;
    unsigned node, k; /* k: of the ask */
    uint32_t run, made, count;
    uint64_t next_ns, interval_ns;
};

struct net_packet {
    uint64_t due_ns;
    unsigned from, to;
    uint8_t *data;
    size_t len;
};

struct net_node {
    char name[16], zone[16];
    struct addr addr;
    struct members *members;
    struct remote *remote;
    bool is_cut;              /* hears and says nothing */
    enum oneoff_state answer; /* to REMOTE_START; RUNNING: it runs */
    bool is_mute;             /* its host makes no samples */
    bool is_big;              /* its samples have long names */
};

struct net {
    struct rng rng;
    uint64_t now_ns;
    struct net_node nodes[NET_NODES];
    struct net_ask asks[NET_ASKS];
    struct net_run runs[NET_RUNS];
    struct net_packet packets[NET_PACKETS];
    size_t n_packets;
    unsigned n_asks;
    unsigned lose, repeat, spoil, busy; /* percent */
    uint64_t delay_min_ns, delay_max_ns;
    /* What went over the wire, by kind; 0: all. */
    unsigned sent[8], delivered[8];
    size_t held_most, longest;
    /* The last one of each kind, to be sent again or spoilt. */
    uint8_t last[8][REMOTE_MESSAGE_MAX];
    size_t last_len[8];
    /* May it go? NULL: yes. */
    bool (*filter)(struct net *n, unsigned from, unsigned to, uint8_t kind);
    unsigned filtered;
    bool has_one_id; /* for all asks: they are of one request */
    /* Called by the sink of `k`, after REMOTE_SAMPLE and REMOTE_END. */
    void (*hook)(struct net *n, enum remote_effect_kind kind, unsigned k);
};

struct net *net_open(uint64_t seed);
void net_close(struct net *n);
/* Have node `from` ask node `to`; returns its index in asks. Must succeed. */
unsigned net_ask(struct net *n, unsigned from, unsigned to, uint32_t count,
                 uint64_t interval_ns);
int net_try_ask(struct net *n, unsigned from, unsigned to, uint32_t count,
                uint64_t interval_ns, unsigned *k);
void net_drop(struct net *n, unsigned k);
/* The same from a hook: what follows from it is taken there. */
void net_drop_inside(struct net *n, unsigned k);
/* Its process is another one; what it asked is forgotten. */
void net_restart(struct net *n, unsigned node);
void net_set_state(struct net *n, unsigned at, unsigned of,
                   enum member_state state);
uint32_t net_member(const struct net *n, unsigned at, unsigned of);
/* A message as if node `from` had sent it. */
void net_inject(struct net *n, unsigned from, unsigned to, const void *data,
                size_t len);
void net_run(struct net *n, uint64_t ns);
/* Until nothing is left to happen. */
void net_settle(struct net *n);
void net_stats(const struct net *n, unsigned node, struct remote_stats *s);

#endif /* TEST_REMOTE_NET_H */
