/* mesh/members.h - who is in the mesh, and the rules by which news about a
 * member is believed.
 *
 * The table of records by name, the order in which they are pinged, the
 * running suspicions. A message about a member comes in decoded, what follows
 * from it comes out as a struct change: nothing is sent from here.
 *
 * The rules are SWIM's with incarnations as memberlist applies them, and:
 *
 * Deviation: an accusation more than MEMBERS_JUMP_MAX above the larger of
 *     what is known and the wall clock's seconds is ignored, and none at or
 *     above MEMBERS_CEILING counts at all. Else one message with 2^32-1
 *     silences a node for good: nothing is left to refute it with. A member
 *     that was driven up there is accused by nobody's word any more, only by
 *     the pings that this node sends it: members_doubt().
 * Deviation: so that enough is left, an alive about one that is alive or
 *     suspect rises above the ceiling by MEMBERS_JUMP_MAX at most. Below it,
 *     there is no limit: a limit here would be one that a node oversteps by
 *     refuting an accusation that only it has heard, and then its peers would
 *     not believe it any more. For the same reason a node heeds every
 *     accusation below the ceiling, also one that others ignore.
 * Deviation: a leave heard by gossip makes a member `left`, but its name may
 *     take another address only after reclaim_ns, like a dead one's, and only
 *     with a higher incarnation. Else two packets steal a name.
 * Deviation: the recorded incarnation is the highest of all accepted evidence,
 *     also about the dead. Else an old alive can bring one back.
 * Deviation: addresses must pass the policy before they are stored.
 * Deviation: records, and how many new ones come per second, are bounded;
 *     strangers never drive out those that are known.
 *
 * Members are kept in slots that stay where they are; an index is valid until
 * members_purge() removes it. Index 0 is this node. Pure. One thread.
 */
#ifndef MESH_MEMBERS_H
#define MESH_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/suspicion.h"
#include "proto/addr_policy.h"
#include "proto/base/addr.h"
#include "proto/base/heap.h"
#include "proto/base/rng.h"
#include "proto/base/span.h"
#include "proto/ml_msg.h"

#define MEMBERS_JUMP_MAX (UINT32_C(1) << 16)
/* Accusations end here; own incarnations may still go on above. */
#define MEMBERS_CEILING (UINT32_MAX - (UINT32_C(1) << 17))
#define MEMBERS_SELF    0

enum member_state { MEMBER_ALIVE, MEMBER_SUSPECT, MEMBER_DEAD, MEMBER_LEFT };

/* What a suspect has and others have not. */
struct suspect {
    struct suspicion suspicion;
    struct heap_node timer; /* in the heap of deadlines */
    uint32_t index;
};

/* Read by everybody, changed only by members*.c - but for the fields at the
 * end, which are their users'. Small, for there are many. */
struct member {
    char *name;       /* owned; with a NUL behind; any bytes but control ones */
    uint8_t name_len; /* 0: the slot is free */
    uint8_t state;    /* enum member_state */
    uint8_t addr_len; /* 4 or 16 */
    uint8_t addr_bytes[16]; /* as it came, as it is passed on */
    uint8_t vsn[ML_VSN_SIZE];
    struct addr addr; /* to dial: unmapped, with its port */
    uint32_t incarnation;
    uint16_t meta_len;
    uint8_t *meta;           /* owned */
    uint64_t changed_ns;     /* when the state changed */
    struct suspect *suspect; /* owned; while the state is suspect, else NULL */
    uint64_t hash;           /* of the name */
    uint64_t digest;         /* its share of members_digest() */
    uint32_t order;          /* place in the ping order; next free slot */
    uint32_t next_name, next_at, next_ip; /* in their hash chains */

    /* ---- for mesh.c ---- */
    bool is_ours;          /* its meta carries our mark */
    bool is_leaving;       /* it told so by a Serf leave intent */
    uint64_t status_ltime; /* Lamport time of the last intent about it */
    uint64_t rtt_ns;       /* of the last direct ping, 0: none yet */
    uint32_t udp_misses;   /* pings answered over TCP only, in a row */
    uint32_t tcp_misses;   /* failed push/pulls, in a row */
};

struct members_config {
    struct span name;      /* of this node */
    struct addr advertise; /* its address */
    struct span meta;
    uint8_t vsn[ML_VSN_SIZE];
    uint32_t incarnation;        /* to begin with */
    uint64_t now_unix_s;         /* wall clock at opening; never read again */
    size_t members_max;          /* 4096, this node included */
    unsigned new_per_s;          /* 256, after a burst of members_max */
    uint64_t reclaim_ns;         /* 30 s */
    uint64_t ping_interval_ns;   /* memberlist's probe interval, 1 s */
    unsigned suspicion_mult;     /* 4 */
    unsigned suspicion_max_mult; /* 6 */
    uint64_t gossip_to_dead_ns;  /* 30 s: how long the dead are remembered */
    const struct addr_policy *policy; /* borrowed */
    uint64_t seed;
    unsigned canary; /* a bug to switch on; only in builds for the simulator */
};

/* What a message did. */
enum change_kind {
    CHANGE_NONE,    /* nothing: old, known, unknown or not acceptable */
    CHANGE_JOINED,  /* new, or back from dead or left */
    CHANGE_UPDATED, /* alive as before, with other meta */
    CHANGE_RENEWED, /* alive with a higher incarnation, or no longer suspect */
    CHANGE_SUSPECTED, /* alive before */
    CHANGE_CONFIRMED, /* a suspect: one more accuser, or a higher incarnation */
    CHANGE_FAILED,    /* now dead */
    CHANGE_LEFT,      /* now left */
    CHANGE_RAISED,    /* dead or left as before, with a higher incarnation */
    CHANGE_ACCUSED,   /* it is about this node: refute it */
    CHANGE_CONFLICT,  /* another address claims the name of a live member */
};

struct change {
    enum change_kind kind;
    uint32_t index;       /* of the member; unset for CHANGE_NONE */
    bool is_news;         /* pass the message on */
    bool was_suspect;     /* for RENEWED and UPDATED */
    uint32_t incarnation; /* for ACCUSED: refute above this one */
    struct addr claimed;  /* for CONFLICT */
    bool is_stale;        /* for NONE: an alive that is too old, about a member
                             we hold dead or left: its node may not know */
    uint32_t stale_index; /* whose */
};

struct members_counters {
    uint64_t refused_policy, refused_full, refused_rate, refused_jump,
        refused_fit; /* did not pass ml_alive_check() */
    uint64_t conflicts;
};

struct members; /* opaque */

/* NULL without memory. The node itself is alive from the beginning. */
struct members *members_open(const struct members_config *c, uint64_t now_ns);
void members_close(struct members *ms);

/* ---- evidence ---- all spans borrowed during the call ---- */

void members_alive(struct members *ms, uint64_t now_ns,
                   const struct ml_alive *a, struct change *out);
void members_suspect(struct members *ms, uint64_t now_ns,
                     const struct ml_accusation *a, struct change *out);
void members_dead(struct members *ms, uint64_t now_ns,
                  const struct ml_accusation *a, struct change *out);

/* Does this node understand what one with these ML_VSN_SIZE versions speaks,
 * and that one what this node speaks? */
bool members_is_compatible(const struct members *ms, const uint8_t *vsn);

/* Our own ping of a member failed, which had this incarnation when it was sent:
 * a suspicion from us that counts whatever the incarnation is. */
void members_doubt(struct members *ms, uint64_t now_ns, uint32_t index,
                   uint32_t incarnation, struct change *out);

/* One entry of a push/pull: alive as alive; left as a leave; suspect and dead
 * as a suspicion of our own, since a remote opinion kills nobody at once. */
void members_entry(struct members *ms, uint64_t now_ns,
                   const struct ml_alive *entry, struct change *out);

/* ---- this node ---- */

/* Raise our incarnation above `accusation`, never beyond UINT32_MAX. True if
 * it could be raised. */
bool members_refute(struct members *ms, uint32_t accusation);
/* Begin with another incarnation, lower or higher: before anybody was told of
 * the one that was given at opening. */
void members_restart(struct members *ms, uint32_t incarnation);
/* Other meta, and an incarnation one higher. ERR_TOOBIG or ERR_NOMEM. */
int members_set_meta(struct members *ms, struct span meta);
/* This node is leaving: news about it is ignored from now on. */
void members_leave(struct members *ms, uint64_t now_ns);

/* Our own alive message, or any member's; borrowed until the next change. */
void members_describe(const struct members *ms, uint32_t index,
                      struct ml_alive *out);

/* ---- time ---- */

/* When the next suspicion runs out; UINT64_MAX if there is none. */
uint64_t members_deadline(const struct members *ms);
/* Declare dead the next suspect whose time is up at `now_ns`. False: none. The
 * change is FAILED; it has to be told as a dead message from us. */
bool members_expire(struct members *ms, uint64_t now_ns, struct change *out);
/* This process was not running for `gap_ns`: suspects get that much longer. */
void members_extend(struct members *ms, uint64_t gap_ns);
/* Forget the dead and left whose change is older than gossip_to_dead_ns (and
 * reclaim_ns). Calls `forgotten` before each is removed; may be NULL. */
void members_purge(struct members *ms, uint64_t now_ns,
                   void (*forgotten)(void *arg, const struct member *m),
                   void *arg);

/* ---- choosing ---- */

/* The next to ping, going round in random order: alive or suspect, not this
 * node. *wrapped is set when a round was completed (time to purge). UINT32_MAX
 * if there is nobody. */
uint32_t members_next(struct members *ms, bool *wrapped);

enum members_pick {
    PICK_ALIVE = 1,
    PICK_SUSPECT = 2,
    PICK_DEAD = 4, /* for less than gossip_to_dead_ns */
    PICK_OURS = 8, /* only those with our mark */
};
/* Choose up to `k` different members at random among the states in `who`, never
 * this node and never `except` (UINT32_MAX: nobody). Returns how many. */
size_t members_pick(struct members *ms, uint64_t now_ns, unsigned who,
                    uint32_t except, size_t k, uint32_t *out);

/* ---- reading ---- */

/* By name, or by where packets come from. UINT32_MAX if unknown. members_at()
 * compares the address and not the port if `any_port`. */
uint32_t members_find(const struct members *ms, struct span name);
uint32_t members_at(const struct members *ms, const struct addr *a,
                    bool any_port);
/* Is the member (UINT32_MAX: nobody) at this address, whatever the port? A
 * stream comes from a port of the kernel's choice. */
bool members_is_at(const struct members *ms, uint32_t index,
                   const struct addr *a);
struct member *members_get(struct members *ms, uint32_t index);
const struct member *members_peek(const struct members *ms, uint32_t index);

/* Slots are 0..members_size()-1; those with name_len 0 are free. */
size_t members_size(const struct members *ms);
size_t members_count(const struct members *ms); /* records, self included */
size_t members_count_state(const struct members *ms, enum member_state s);
const struct members_counters *members_counters(const struct members *ms);

/* 64 bits that differ when any record differs in name, state, address,
 * incarnation or meta. */
uint64_t members_digest(const struct members *ms);

/* Walk everything and assert its invariants. */
void members_check(const struct members *ms);

#endif /* MESH_MEMBERS_H */
