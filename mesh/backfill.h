/* mesh/backfill.h - what a peer remembers, for a node that is new.
 *
 * Frames reach back some minutes; what is older only a peer knows. A node that
 * has come among members of ours, for the first time or after being alone,
 * walks through the history of one of them (mesh/history.h), a part at a time,
 * newest first. If it is silent, or sends nonsense, the walk goes on with
 * another one, after a pause that grows; after a few of these in a row it is
 * given up, until some minutes later.
 * A walk that ends at a peer that has nothing begins again at another; once
 * also if the peer was itself still fetching.
 *
 * Frames and parts do not meet: what is older than frames and too young to be
 * taken from others when the walk begins would be missing for ever. So when it
 * is old enough, the slots about that time are asked for once more.
 *
 *     backfill_on_X(b, now_ns, ...);              any of them, then
 *     while (backfill_next(b, &e)) mesh_send(e.member, e.data, by stream);
 *     arm a timer for backfill_deadline(b).
 *
 * Two kinds of messages (big-endian):
 *
 *     ASK    0xa1, version, 1, nonce u64, cursor, len u8, the sender's name
 *     PART   0xa1, version, 2, nonce u64, cursor, flags u8, a part
 *     cursor step u8, is begun u8, start u32, line u32
 *
 * An ASK says from where on; a PART repeats its nonce and says where the next
 * one begins. Flags: 1, nothing is behind it (the part may be empty); 2, the
 * sender is itself fetching. Others are passed over, as are other versions and
 * kinds.
 *
 * Either has to come from the address of the member that it names or that was
 * asked; ports differ, they come by stream. Each asker gets a part in a while,
 * a few askers are served, all of them within a number of bytes per second; an
 * ASK above that is not answered. Whoever is asked can lie about the past, as
 * every member can about the present (mesh/spread.h); it cannot make the walk
 * endless, nor change time that frames tell of.
 *
 * Pure. One thread.
 */
#ifndef MESH_BACKFILL_H
#define MESH_BACKFILL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/history.h"
#include "mesh/members.h"
#include "proto/base/addr.h"
#include "proto/base/span.h"

#define BACKFILL_TYPE       0xa1 /* first byte of all messages */
#define BACKFILL_VERSION    1
#define BACKFILL_ASKERS_MAX 4 /* served at once */

struct backfill_timing {
    uint64_t look_ns;    /* 1 s: between looks at who is there */
    uint64_t settle_ns;  /* 2 s: after coming among members, until asking */
    uint64_t timeout_ns; /* 5 s: for a part to come */
    uint64_t gap_ns;     /* 250 ms: between a part and asking for the next */
    uint64_t serve_ns;   /* 200 ms: between two parts for one asker */
    uint64_t asker_ns;   /* 10 s: so long one that is silent is one */
    uint64_t backoff_ns; /* 2 s: after the first failure, then doubled */
    uint64_t again_ns;   /* 10 min: between walks */
    uint64_t seam_ns;    /* 17.5 min: until all of the seam is old enough */
};
extern const struct backfill_timing backfill_timing_default;

struct backfill_limits {
    size_t part_bytes; /* 32 KiB: about, of a part that is made; 1 ms */
    size_t rate_bytes; /* 1 MiB: sent per second, in parts */
    unsigned tries;    /* 6: failures in a row until a walk is given up */
    unsigned parts;    /* 4096: of a walk */
};
extern const struct backfill_limits backfill_limits_default;

struct backfill_config {
    const char *name; /* of this node; copied */
    /* Both borrowed until backfill_close(). */
    const struct members *members;
    struct history *history;
    uint64_t seed;
    struct backfill_timing timing;
    struct backfill_limits limits;
};

struct backfill; /* opaque */

/* NULL without memory, or for a name above ML_NAME_MAX. */
struct backfill *backfill_open(const struct backfill_config *c,
                               uint64_t now_ns);
void backfill_close(struct backfill *b); /* NULL is allowed */

/* A message of ours came from this address. False: not of this module. */
bool backfill_on_message(struct backfill *b, uint64_t now_ns,
                         const struct addr *from, struct span message);

/* backfill_deadline() has come; earlier or later does no harm. */
void backfill_on_timer(struct backfill *b, uint64_t now_ns);
uint64_t backfill_deadline(const struct backfill *b);

struct backfill_effect {
    uint32_t member;
    struct span data;
};

/* Take the message to send, by stream; false: none. Its data is valid until
 * the next backfill_on_ call. One that cannot be sent is simply lost. */
bool backfill_next(struct backfill *b, struct backfill_effect *e);

enum backfill_state {
    BACKFILL_ALONE,   /* nobody to ask */
    BACKFILL_WAITING, /* to ask for the next part */
    BACKFILL_ASKED,
    BACKFILL_DONE, /* until alone again; or given up, for again_ns */
};
const char *backfill_state_name(enum backfill_state s); /* "alone", ... */

struct backfill_stats {
    enum backfill_state state;
    uint64_t walks, completed;   /* begun; to the end of a peer's history */
    uint64_t asked, timeouts;    /* for parts */
    uint64_t parts_in, bytes_in; /* taken */
    uint64_t parts_out, bytes_out;
    uint64_t busy;    /* not answered: too much at once */
    uint64_t refused; /* not asked for, or of nobody we know */
    uint64_t broken;  /* make no sense */
};
void backfill_stats(const struct backfill *b, struct backfill_stats *out);

#endif /* MESH_BACKFILL_H */
