/* mesh/mesh_private.h - what the parts of the mesh share; for mesh*.c only. */
#ifndef MESH_MESH_PRIVATE_H
#define MESH_MESH_PRIVATE_H

#include "mesh/broadcast.h"
#include "mesh/mesh.h"
#include "proto/base/buf.h"
#include "proto/base/rate.h"
#include "proto/base/rng.h"
#include "proto/serf_msg.h"

#define NEVER UINT64_MAX

#define MESH_EFFECTS_MAX    1024
#define MESH_HELPERS_MAX    8
#define MESH_LOST_MAX       256
#define MESH_SEEN_MAX       4096 /* Serf messages remembered, to pass on once */
#define MESH_STREAMS_MAX    256  /* slots: 8 bits of an id */
#define MESH_DIALS_MAX      24   /* streams of our own at once */
#define MESH_CANDIDATES_MAX 64

/* ---- effects, in the order they were decided ---- */

struct outbox {
    struct mesh_effect effects[MESH_EFFECTS_MAX];
    size_t offsets[MESH_EFFECTS_MAX]; /* of their data in the arena */
    size_t head, n;
    struct wr arena; /* emptied when the last effect was taken */
};

/* ---- one round of failure detection ---- */

struct ping {
    bool is_running;
    uint32_t member;
    uint64_t hash; /* of its name: the slot may be another's by then */
    uint32_t seq_no;
    uint32_t incarnation; /* when it began: what an accusation names */
    unsigned sent;
    uint64_t start_ns, repeat_ns, ask_ns, end_ns;
    bool has_asked;
    size_t n_helpers;
    struct addr helpers[MESH_HELPERS_MAX];
    bool nacked[MESH_HELPERS_MAX];
    unsigned nacks_wanted, nacks;
    uint32_t stream; /* the ping over TCP, 0: none */
    bool has_tcp_ack;
};

/* A ping on behalf of another member. */
struct relay {
    bool is_running;
    uint32_t seq_no;       /* ours */
    uint32_t asker_seq_no; /* his */
    uint32_t asker;        /* member */
    struct addr asker_addr, target;
    char target_name[ML_NAME_MAX + 1];
    uint8_t target_len;
    bool target_takes_crc;
    bool wants_nack;
    uint64_t start_ns, repeat_ns, end_ns;
    unsigned sent;
};

/* ---- streams ---- */

enum stream_kind {
    STREAM_FREE,
    STREAM_IN,
    STREAM_PING,      /* the running ping, over TCP */
    STREAM_PEEK,      /* a push/pull that says nothing of us */
    STREAM_JOIN,      /* push/pull with a seed, or with one that was lost */
    STREAM_PUSH_PULL, /* the periodic one */
    STREAM_USER,      /* a message of ours */
};

struct stream {
    uint8_t kind;
    bool is_open; /* connected */
    uint32_t id;
    uint32_t member; /* UINT32_MAX: none */
    uint64_t hash;   /* of its name */
    struct addr peer;
    uint64_t deadline_ns;
    struct ml_stream_in in;
    struct wr payload; /* STREAM_USER: to be sent when open */
};

/* ---- joining ---- */

struct join {
    bool is_round;   /* a round of attempts runs */
    bool has_joined; /* once, ever */
    bool is_conflict;
    uint64_t next_ns;    /* the next round, while alone */
    uint64_t backoff_ns; /* doubles from round to round */
    uint64_t round_end_ns;
    uint64_t conflict_since_ns;
    bool was_told_taken, was_told_incompatible;
    unsigned resolving; /* names asked for */
    unsigned running;   /* peeks and joins */
    unsigned successes; /* of this round */
    size_t n, next;     /* candidates, and the first not tried */
    struct addr candidates[MESH_CANDIDATES_MAX];
    uint64_t again_ns[2]; /* push/pulls that follow a join */
    uint64_t reclaim_ns;  /* our name may then have moved here */
    uint64_t reconnect_ns;
    uint32_t stray_seed; /* resolved for reconnecting: index + 1, 0: none */
};

struct lost { /* a member that failed, to be looked for */
    uint64_t hash;
    struct addr addr;
    uint64_t since_ns;
};

/* ---- leaving ---- */

enum leave_step {
    LEAVE_NOT,
    LEAVE_INTENT, /* Serf's intent is being told */
    LEAVE_NOTICE, /* the death notice is */
    LEAVE_LINGER, /* still answering */
    LEAVE_DONE,
};

struct leave {
    uint8_t step;
    uint64_t news_id; /* the broadcast that is being told */
    uint64_t next_ns; /* latest end of this step */
};

/* ---- Serf ---- */

struct serf {
    uint64_t ltime; /* Lamport clock of the members */
    uint64_t seed;  /* of the hashes: nobody outside can make them collide */
    struct rate passed; /* on to others */
    struct {
        uint64_t hash; /* 0: free */
        uint64_t at_ns;
    } seen[MESH_SEEN_MAX];
};

struct mesh {
    struct mesh_timing timing;
    struct mesh_limits limits;
    char name[ML_NAME_MAX + 1];
    size_t name_len;
    char label[ML_LABEL_MAX + 1];
    struct addr advertise;
    struct addr_policy policy;
    unsigned canary;
    ml_random_fn *random;
    void *random_arg;

    struct ml_wire wire; /* its keys are owned */
    struct ml_budget budget;
    struct members *members;
    struct broadcast *news;
    struct rng rng;
    struct outbox out;
    struct mesh_stats stats;

    size_t n_seeds;
    char seeds[MESH_SEEDS_MAX][MESH_SEED_SIZE];

    unsigned health;
    uint64_t now_ns;      /* of the last call, for the assertion */
    uint64_t deadline_ns; /* that was promised after the last call */
    uint64_t next_ping_ns, next_gossip_ns, next_push_pull_ns;
    bool is_alone;
    bool had_news; /* when this call began */

    struct ping ping;
    struct relay *relays; /* limits.relays_max */
    size_t n_relays;      /* that are running */
    struct stream *streams;
    size_t n_streams;    /* slots */
    size_t streams_open; /* of them in use */
    uint32_t next_gen;
    struct join join;
    struct leave leave;
    struct serf serf;
    size_t n_lost;
    struct lost lost[MESH_LOST_MAX];

    /* Reused from call to call. */
    struct ml_scratch in, seal;
    struct ml_parts parts;
    struct wr message; /* a message that is being built */
    char text[ML_NAME_MAX + 1];
    /* Of the packet that is being handled. */
    size_t stranger_room; /* bytes that may go back to a stranger */
    unsigned replies_left;
};

/* mesh_out.c: effects */
void mesh_event(struct mesh *m, enum mesh_event event, uint32_t member);
void mesh_event_at(struct mesh *m, enum mesh_event event, uint32_t member,
                   const struct addr *at, const char *text);
struct mesh_effect *mesh_effect(struct mesh *m, enum mesh_effect_kind kind);
/* An effect with data that was just written to the arena, from `start` on. */
void mesh_effect_data(struct mesh *m, const struct mesh_effect *e,
                      size_t start);
size_t mesh_arena(struct mesh *m); /* where such data starts */

/* mesh_out.c: datagrams. Parts are whole messages; news rides along where there
 * is room if `piggyback`. `limit` bytes at most, 0: packet_max. Returns false
 * if nothing was sent. */
bool mesh_send_parts(struct mesh *m, const struct addr *to, bool takes_crc,
                     const struct span *parts, size_t n, bool piggyback,
                     size_t limit);
bool mesh_send_msg(struct mesh *m, const struct addr *to, bool takes_crc,
                   const struct ml_msg *msg, bool piggyback);
/* The bytes of a message, in m->message; empty if they could not be had. */
struct span mesh_build(struct mesh *m, const struct ml_msg *msg);
void mesh_gossip(struct mesh *m, uint64_t now_ns); /* one round of it */

/* mesh_news.c: evidence and what follows from it */
void mesh_evidence(struct mesh *m, uint64_t now_ns, const struct ml_msg *msg,
                   const struct addr *from);
void mesh_entry(struct mesh *m, uint64_t now_ns, const struct ml_alive *entry);
void mesh_accuse(struct mesh *m, uint64_t now_ns, uint32_t member,
                 uint32_t incarnation);
void mesh_tell_self(struct mesh *m);
uint64_t mesh_tell_leave(struct mesh *m); /* returns the id of the news */
void mesh_expire(struct mesh *m, uint64_t now_ns); /* suspects' time is up */

/* mesh.c: small things */
uint64_t mesh_subject(struct span name);
bool mesh_takes_crc(const struct mesh *m, uint32_t member);
void mesh_health(struct mesh *m, int change);
struct span mesh_self(const struct mesh *m);
/* Is slot `member` still that of the name with this hash? */
bool mesh_is_still(const struct mesh *m, uint32_t member, uint64_t hash);
uint64_t mesh_jitter(struct mesh *m, uint64_t span_ns); /* 0..span_ns-1 */

/* mesh_ping.c */
void mesh_ping_timer(struct mesh *m, uint64_t now_ns);
uint64_t mesh_ping_deadline(const struct mesh *m);
void mesh_ping_void(struct mesh *m); /* as if it had not begun */
void mesh_ping_on_ping(struct mesh *m, uint64_t now_ns,
                       const struct ml_ping *ping, const struct addr *from);
void mesh_ping_on_indirect(struct mesh *m, uint64_t now_ns,
                           const struct ml_indirect_ping *ping,
                           const struct addr *from);
void mesh_ping_on_ack(struct mesh *m, uint64_t now_ns, const struct ml_ack *ack,
                      const struct addr *from);
void mesh_ping_on_nack(struct mesh *m, const struct ml_nack *nack,
                       const struct addr *from);
/* The ack over TCP came; or that stream is over. */
void mesh_ping_on_stream(struct mesh *m, uint32_t seq_no);
void mesh_ping_write(struct mesh *m, struct wr *w); /* the running ping */

/* mesh_stream.c; what the host reports goes straight there */
uint32_t mesh_stream_accept(struct mesh *m, uint64_t now_ns,
                            const struct addr *from);
void mesh_stream_connected(struct mesh *m, uint64_t now_ns, uint32_t id);
void mesh_stream_bytes(struct mesh *m, uint64_t now_ns, uint32_t id,
                       const void *data, size_t len);
void mesh_stream_gone(struct mesh *m, uint64_t now_ns, uint32_t id);
int mesh_stream_user(struct mesh *m, uint64_t now_ns, uint32_t member,
                     struct span message);
uint32_t mesh_stream_dial(struct mesh *m, uint64_t now_ns,
                          enum stream_kind kind, const struct addr *to,
                          uint32_t member, uint64_t deadline_ns);
void mesh_stream_hangup(struct mesh *m, uint32_t id);
void mesh_stream_timer(struct mesh *m, uint64_t now_ns);
uint64_t mesh_stream_deadline(const struct mesh *m);
void mesh_stream_shift(struct mesh *m, uint64_t gap_ns);
struct stream *mesh_stream_get(struct mesh *m, uint32_t id);
size_t mesh_stream_count(const struct mesh *m);
void mesh_stream_fini(struct mesh *m);

/* mesh_join.c */
void mesh_join_resolved(struct mesh *m, uint64_t now_ns, uint32_t seed,
                        const struct addr *addrs, size_t n);
void mesh_join_timer(struct mesh *m, uint64_t now_ns);
uint64_t mesh_join_deadline(const struct mesh *m);
void mesh_join_shift(struct mesh *m, uint64_t gap_ns);
void mesh_join_open(struct mesh *m, uint64_t now_ns);
/* A peek or a join ended: a peek brought the peer's state, a join was merged.
 */
void mesh_join_peeked(struct mesh *m, uint64_t now_ns, const struct addr *peer,
                      const struct ml_stream_msg *msg);
void mesh_join_done(struct mesh *m, uint64_t now_ns, bool is_ok);
/* A push/pull names versions that exclude ours. */
void mesh_join_incompatible(struct mesh *m, struct span name);
void mesh_lost_add(struct mesh *m, uint64_t now_ns, const struct member *who);
void mesh_lost_remove(struct mesh *m, uint64_t hash);
void mesh_leave_timer(struct mesh *m, uint64_t now_ns);
/* Alone or not: after each change of a member's state. */
void mesh_count_company(struct mesh *m, uint64_t now_ns);

/* mesh_serf.c */
/* A user message came, type byte first. */
void mesh_serf_on_user(struct mesh *m, uint64_t now_ns, struct span payload,
                       const struct addr *from);
void mesh_serf_on_state(struct mesh *m, struct span state);
/* Tell of our leaving, or that we are here. Returns the id of the news. */
uint64_t mesh_serf_tell(struct mesh *m, bool is_leave);

#endif /* MESH_MESH_PRIVATE_H */
