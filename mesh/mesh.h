/* mesh/mesh.h - one node of the gossip mesh.
 *
 * SWIM with Lifeguard over memberlist's wire protocol, as a state machine:
 * packets, stream bytes and time go in, effects come out and are carried out
 * by a host (mesh/mesh_uv.c, or the simulator). Never calls back, never reads
 * a clock, never blocks.
 *
 *     mesh_on_X(m, now_ns, ...);            any of them, then
 *     while (mesh_next(m, &e)) ...;         carry out, and
 *     arm a timer for mesh_deadline(m).
 *
 * What it does: docs/gossip.md. Its parts: members (records and rules),
 * suspicion, broadcast (what to tell), mesh_ping (failure detection),
 * mesh_stream (push/pull and other exchanges), mesh_join (joining, leaving,
 * coming back), mesh_serf (being a good neighbour of Serf's).
 *
 * `now_ns` is monotonic and must not go back. Memory is bounded by limits.
 * Pure. One thread.
 */
#ifndef MESH_MESH_H
#define MESH_MESH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/canary.h"
#include "mesh/members.h"
#include "proto/addr_policy.h"
#include "proto/base/addr.h"
#include "proto/base/err.h"
#include "proto/base/span.h"
#include "proto/ml_packet.h"
#include "proto/ml_seal.h"
#include "proto/ml_stream.h"

#define MESH_SEEDS_MAX 64
#define MESH_SEED_SIZE 262 /* "host:65535" */
#define MESH_ADDRS_MAX 16  /* taken from one resolution */
#define MESH_PORT      7946

/* memberlist's names for these stand in docs/gossip.md. */
struct mesh_timing {
    uint64_t ping_interval_ns;   /* 1 s */
    uint64_t ping_timeout_ns;    /* 500 ms: direct, before others are asked */
    unsigned ping_repeats;       /* 5: the same ping, within that time */
    unsigned indirect_checks;    /* 3 */
    uint64_t gossip_interval_ns; /* 200 ms */
    unsigned gossip_nodes;       /* 3 */
    uint64_t gossip_to_dead_ns;  /* 30 s */
    uint64_t push_pull_interval_ns; /* 30 s, longer in large meshes */
    uint64_t stream_timeout_ns;     /* 10 s, absolute, for a whole exchange */
    unsigned retransmit_mult;       /* 4 */
    unsigned suspicion_mult;        /* 4 */
    unsigned suspicion_max_mult;    /* 6 */
    unsigned health_max;            /* 8: scores 0..7 */
    uint64_t reclaim_ns;            /* 30 s */
    uint64_t rejoin_min_ns, rejoin_max_ns; /* 1 s, 60 s: backoff when alone */
    uint64_t reconnect_ns;      /* 30 s: one lost member or seed is tried */
    uint64_t conflict_after_ns; /* 90 s: our name is taken, give up */
};
extern const struct mesh_timing mesh_timing_lan;

struct mesh_limits {
    size_t packet_max;     /* 1232: what we send; larger ones are accepted */
    size_t members_max;    /* 4096 */
    unsigned new_per_s;    /* 256 */
    size_t streams_max;    /* 32 inbound */
    size_t streams_per_ip; /* 4 of these from one address */
    size_t relays_max;     /* 64 indirect pings for others at once */
    size_t budget_bytes;   /* 8 MiB unproven stream bytes */
    struct ml_stream_limits stream;
};
extern const struct mesh_limits mesh_limits_default;

struct mesh_config {
    const char *name;          /* 1..ML_NAME_MAX bytes, unique in the mesh */
    struct addr advertise;     /* where others reach us, UDP and TCP */
    struct span meta;          /* at most ML_META_MAX bytes */
    const char *label;         /* "" : none */
    const struct ml_key *keys; /* the first one seals; n_keys 0: in the clear */
    size_t n_keys;
    bool accepts_clear;
    size_t n_seeds;
    const char (*seeds)[MESH_SEED_SIZE]; /* "host", "host:port", "ip:port" */
    struct mesh_timing timing;
    struct mesh_limits limits;
    struct addr_policy policy;
    uint64_t now_unix_s; /* first incarnation; not read again */
    uint64_t seed;       /* of the dice */
    ml_random_fn *random;
    void *random_arg;
    unsigned
        canary; /* enum mesh_canary; heeded only in the simulator's build */
};

struct mesh;

/* All is copied. NULL and a message for a name, meta, label or key that cannot
 * be, or without memory. Nothing is sent before the first mesh_on_timer(). */
struct mesh *mesh_open(const struct mesh_config *c, uint64_t now_ns,
                       struct errmsg *msg);
void mesh_close(struct mesh *m);

/* ---- what happened ---- */

/* A datagram came. */
void mesh_on_packet(struct mesh *m, uint64_t now_ns, const struct addr *from,
                    const void *data, size_t len);
/* mesh_deadline() has come; earlier or later does no harm. */
void mesh_on_timer(struct mesh *m, uint64_t now_ns);
/* A stream was accepted. Returns its id, or 0: close it at once. */
uint32_t mesh_on_accept(struct mesh *m, uint64_t now_ns,
                        const struct addr *from);
/* A stream that was to be dialled is open / gave bytes / is over.
 * mesh_on_gone() is for all ends: could not connect, end of data, error; the id
 * is then invalid. Ids that are not known (the mesh has closed them) are
 * ignored. */
void mesh_on_connected(struct mesh *m, uint64_t now_ns, uint32_t id);
void mesh_on_bytes(struct mesh *m, uint64_t now_ns, uint32_t id,
                   const void *data, size_t len);
void mesh_on_gone(struct mesh *m, uint64_t now_ns, uint32_t id);
/* What a name resolved to; n = 0: it did not. Ports are filled in already. */
void mesh_on_resolved(struct mesh *m, uint64_t now_ns, uint32_t seed,
                      const struct addr *addrs, size_t n);

/* When to call mesh_on_timer(); UINT64_MAX: never. */
uint64_t mesh_deadline(const struct mesh *m);

/* ---- what is wanted ---- */

/* Tell others to go on without us: Serf's leave intent, then the death notice,
 * then a second of listening. mesh_has_left() when all is told (at the latest
 * 5 s later). */
void mesh_leave(struct mesh *m, uint64_t now_ns);
bool mesh_has_left(const struct mesh *m);

/* Publish other facts. ERR_TOOBIG, ERR_NOMEM. */
int mesh_set_meta(struct mesh *m, uint64_t now_ns, struct span meta);

/* Replace the keyring; all-or-nothing. Going from none to some and back is not
 * possible while running: ERR_BAD and a message. */
int mesh_set_keys(struct mesh *m, const struct ml_key *keys, size_t n,
                  struct errmsg *msg);

/* Replace the seeds; taken at the next attempt. ERR_TOOBIG, ERR_BAD. */
int mesh_set_seeds(struct mesh *m, const char (*seeds)[MESH_SEED_SIZE],
                   size_t n);

/* Judge addresses by this from now on, those of members that are known already
 * only when there is news of them. */
void mesh_set_policy(struct mesh *m, const struct addr_policy *policy);
/* Take packets in the clear although there are keys, or no more. */
void mesh_set_accepts_clear(struct mesh *m, bool accepts_clear);

/* Send a message of ours (first byte >= SERF_TYPE_OURS) to a member that
 * carries our mark, as a datagram or, larger or `by_stream`, over a stream.
 * Best effort. ERR_AUTH: not one of ours; ERR_CLOSED: not known, not alive;
 * ERR_TOOBIG; ERR_BUSY: too many streams. */
int mesh_send(struct mesh *m, uint64_t now_ns, uint32_t member,
              struct span message, bool by_stream);

/* ---- effects ---- */

enum mesh_effect_kind {
    MESH_SEND,    /* send `data` to `to` as one datagram */
    MESH_DIAL,    /* open a stream to `to`, call it `id` */
    MESH_WRITE,   /* send `data` on stream `id` */
    MESH_HANGUP,  /* close stream `id` once what was written is sent; the id is
                     invalid from here on. Ids that are gone are ignored */
    MESH_RESOLVE, /* find the addresses of `text` ("host" or "host:port"), then
                     mesh_on_resolved(id) */
    MESH_USER,    /* a message of ours came: `data`, from `from` (unproven: the
                     packet's source), member `id` or UINT32_MAX */
    MESH_EVENT,   /* something to know: `event`, about member `id` */
};

enum mesh_event {
    MESH_JOINED,  /* new, or back */
    MESH_UPDATED, /* its meta */
    MESH_SUSPECTED,
    MESH_REFUTED, /* a suspect is alive after all */
    MESH_FAILED,
    MESH_LEFT,
    MESH_FORGOTTEN,    /* its record is gone; `id` was its place */
    MESH_CONFLICT,     /* `to` claims the name of member `id` */
    MESH_NAME_TAKEN,   /* our name is another's, for too long: stop */
    MESH_INCOMPATIBLE, /* `text` names a node whose protocol versions exclude
                          ours: not joined */
    MESH_CONNECTED,    /* a push/pull worked after being alone */
    MESH_ALONE,        /* no other member is alive any more */
    MESH_STALLED,      /* this process did not run for a while */
    MESH_EVENT_N,
};
const char *mesh_event_name(enum mesh_event e); /* "joined", ... */

struct mesh_effect {
    enum mesh_effect_kind kind;
    enum mesh_event event;
    uint32_t id;
    struct addr to, from;
    struct span data;
    const char *text;
};

/* Take the next effect; false: none. What it points to is valid until the next
 * call of any mesh_ function but the reading ones. */
bool mesh_next(struct mesh *m, struct mesh_effect *e);

/* ---- reading ---- */

const struct members *mesh_members(const struct mesh *m);

struct mesh_stats {
    uint64_t packets_in, packets_out, bytes_in, bytes_out; /* datagrams */
    uint64_t streams_in, streams_out, streams_refused;
    uint64_t stream_bytes_in, stream_bytes_out;
    uint64_t drops[ML_DROP_N];     /* packets, streams and messages not used */
    uint64_t pings, ping_failures; /* rounds of detection */
    uint64_t suspicions;           /* opened by our own pings */
    uint64_t refutations;          /* we refuted about ourselves */
    uint64_t push_pulls, push_pull_failures;
    uint64_t relays_refused, strangers; /* packets not answered */
    uint64_t stalls, conflicts;
    uint64_t effects_dropped; /* the outbox was full */
    uint64_t user_in, user_out;
    uint64_t sealed; /* messages under the present first key */
    unsigned health; /* 0 is best */
    uint64_t queue_items, queue_bytes; /* broadcasts waiting */
    uint64_t queue_dropped;            /* for want of room */
    uint64_t unproven_bytes;           /* of the budget */
    size_t streams;                    /* open now */
    uint32_t incarnation;
    bool is_alone, is_leaving;
};
void mesh_stats(const struct mesh *m, struct mesh_stats *out);

/* The membership and what is waiting, in 64 bits: unchanged by input that was
 * refused. */
uint64_t mesh_digest(const struct mesh *m);

/* Walk everything and assert its invariants. For tests and the simulator. */
void mesh_check(const struct mesh *m);

#endif /* MESH_MESH_H */
