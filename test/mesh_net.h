/* test/mesh_net.h - a few meshes on one table: fixed delays, a virtual clock.
 *
 * For unit tests of what nodes say to each other. Faults at random, many nodes
 * and oracles are the simulator's (test/sim).
 *
 * Whatever nodes send is taken apart and kept in a list that tests search:
 * net_mark() begins it anew, net_count() and net_nth() look into it. An address
 * 10.0.0.X where no node was started is a puppet's: it is made known by
 * net_puppet(), is silent unless its bit in `acking` is set, and otherwise
 * plays what the test injects.
 */
#ifndef TEST_MESH_NET_H
#define TEST_MESH_NET_H

#include "mesh/mesh.h"
#include "test/check.h"

#define NET_NODES_MAX   12
#define NET_STREAMS_MAX 256
#define NET_SEEN_MAX    400000
#define NET_MS          UINT64_C(1000000)
#define NET_SEC         (UINT64_C(1000) * NET_MS)
#define NET_START_NS    (1000 * NET_SEC)
#define NET_UNIX_S      UINT64_C(1700000000)

enum net_kind { NET_PACKET, NET_CONNECT, NET_BYTES, NET_GONE };

struct net_item { /* on its way */
    enum net_kind kind;
    uint64_t due_ns, order;
    int to;           /* node */
    uint32_t id;      /* of the receiver's stream; CONNECT: of the dialler's */
    int peer;         /* CONNECT: the dialler */
    struct addr from; /* the sender */
    size_t len;
    uint8_t *data;
};

struct net_stream { /* both ends of one */
    bool is_used;
    int node[2];
    uint32_t id[2];
};

/* What a node sent or asked of its host: a message of a datagram (its enum
 * ml_type), or of a stream (with NET_STREAM), or one of the others. */
enum net_type {
    NET_STREAM = 256,
    NET_DIAL = 1024,
    NET_HANGUP,
    NET_RESOLVE,
};

struct net_seen {
    uint64_t at_ns;
    int from;
    unsigned type;
    struct addr to;
    uint32_t id;    /* of a stream, or the seed that is to be resolved */
    size_t packet;  /* number of the datagram */
    size_t n_bytes; /* of the whole datagram, or written to the stream */
    bool has_crc;
    uint32_t seq_no, incarnation;
    char node[ML_NAME_MAX + 1], by[ML_NAME_MAX + 1];
    bool wants_nack;
    struct addr target; /* of an indirect ping */
    bool is_join;       /* push/pull */
    uint32_t n_nodes;
    size_t n_user; /* bytes of a user message, the first of which are kept */
    uint8_t user[64];
    char text[64]; /* to resolve */
};

struct net;

/* Of each datagram; true: it is lost. `to` is -1 if it is no node's. */
typedef bool net_filter_fn(struct net *net, int from, int to, struct span data);

struct net {
    uint64_t now_ns, delay_ns, order;
    size_t n;
    struct mesh *mesh[NET_NODES_MAX]; /* NULL: down */
    struct addr addr[NET_NODES_MAX];
    bool is_frozen[NET_NODES_MAX];
    bool is_cut[NET_NODES_MAX][NET_NODES_MAX];     /* from, to: all */
    bool is_udp_cut[NET_NODES_MAX][NET_NODES_MAX]; /* datagrams only */
    size_t n_items, size;
    struct net_item *items;
    bool is_tcp_cut[NET_NODES_MAX][NET_NODES_MAX]; /* no new streams */
    struct net_stream streams[NET_STREAMS_MAX];
    uint64_t acking;  /* puppets that answer pings: bit X is 10.0.0.X */
    bool holds_dials; /* dials of puppets wait for the test; else refused */
    bool has_keys;    /* some node does: datagrams are not taken apart */
    bool is_blind;    /* for long runs: nothing is kept of what was sent */
    net_filter_fn *filter;
    void *filter_arg;
    /* What was seen. */
    unsigned events[NET_NODES_MAX][MESH_EVENT_N];
    size_t n_user[NET_NODES_MAX];
    uint8_t user[NET_NODES_MAX][64]; /* the last message of ours */
    /* Datagrams to addresses that are no node's. */
    size_t n_foreign, foreign_bytes;
    struct addr foreign;                               /* the last */
    char trace[1 << 16];                               /* events, one a line */
    struct addr event_at[NET_NODES_MAX][MESH_EVENT_N]; /* of the last */
    char event_text[NET_NODES_MAX][MESH_EVENT_N][ML_NAME_MAX + 1];
    uint32_t user_member[NET_NODES_MAX]; /* whom the last message was from */
    size_t n_seen, seen_size, mark, n_packets;
    struct net_seen *seen;
    struct ml_scratch scratch;
};

void net_init(struct net *net);
void net_fini(struct net *net);

/* The configuration of node `i`: name "a", "b" ..., 10.0.0.1, ..., seed is the
 * first node; change it before net_start(). */
struct mesh_config net_config(const struct net *net, int i);
void net_start(struct net *net, int i, const struct mesh_config *c);
void net_stop(struct net *net, int i); /* without a word */

/* Let `ns` pass. */
void net_run(struct net *net, uint64_t ns);
/* Carry out what node `i` wants, after a test has called it directly. */
void net_drain(struct net *net, int i);

/* Hand a datagram to node `i` as if from `from`. */
void net_inject(struct net *net, int i, const char *from, const void *data,
                size_t len);

void net_inject_msg(struct net *net, int i, const char *from,
                    const struct ml_msg *msg);

/* Tell node `i` that a puppet is alive at 10.0.0.`at`:7946, with our mark. */
void net_puppet(struct net *net, int i, const char *name, int at,
                uint32_t incarnation);
/* The same with another version vector, NULL: ours. */
void net_puppet_vsn(struct net *net, int i, const char *name, int at,
                    uint32_t incarnation, const uint8_t *vsn);
/* "10.0.0.`at`:7946". */
struct addr net_addr(int at);

/* A record of a push/pull: alive at 10.0.0.`at`:7946 unless told otherwise. */
struct net_entry {
    const char *name;
    int at;
    uint32_t incarnation;
    uint8_t state;
    const uint8_t *vsn; /* NULL: ours */
};
/* The bytes of a push/pull as a peer sends it, owned by the caller. */
struct span net_push_pull(bool is_join, const struct net_entry *entries,
                          size_t n, struct span user_state);
/* Be the peer whom node `i` has dialled: connect, and answer with these. */
void net_answer(struct net *net, int i, uint32_t id,
                const struct net_entry *entries, size_t n);

/* Search from here on. */
void net_mark(struct net *net);
/* What node `from` sent to 10.0.0.`to`:7946 (0: to anybody) of `type`. */
size_t net_count(const struct net *net, int from, unsigned type, int to);
/* The `n`th of these, from 0. NULL: there are fewer. */
const struct net_seen *net_nth(const struct net *net, int from, unsigned type,
                               int to, size_t n);

/* How node `i` sees the one called `name`: enum member_state, -1: unknown. */
int net_state(const struct net *net, int i, const char *name);
const struct member *net_member(const struct net *net, int i, const char *name);
bool net_all_alive(const struct net *net);

#endif /* TEST_MESH_NET_H */
