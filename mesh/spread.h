/* mesh/spread.h - every frame on every node.
 *
 * Anti-entropy in rounds: a node compares its set of frames with that of one
 * random member and each fetches what it lacks. Rounds follow each other fast
 * while something is new and slowly when all is quiet. Nothing is sent that
 * was not asked for, and what was asked for is not asked for again for a
 * while, so that a frame comes about once, however many have it to give.
 *
 *     spread_on_X(s, now_ns, ...);              any of them, then
 *     while (spread_next(s, &e)) mesh_send(e.member, e.data, e.by_stream);
 *     arm a timer for spread_deadline(s).
 *
 * Two kinds of messages, both with the header
 *
 *     SPREAD_TYPE, version, kind
 *
 * A *comparison*: len u8 and the sender's name, base u64 (a window), then
 * sections: tag u8, length u16, content. Windows are base - back.
 *
 *     SUMS   window by window: back, n, xor u64 unless n is 0
 *     COLD   all of older windows: newest back, oldest back, n, xor u64
 *     LIST   back, bits u8, prefix u8, entries: all frames of a window whose
 *            id begins with these bits
 *     OFFER  back, entries: frames that the other does not have
 *     WANT   back, ids
 *
 * back and n are varints, an id is 5 bytes of frames_hash(), an entry an id
 * and the frame's length in units of 256 bytes, rounded up. A comparison is
 * answered with the next finer one: COLD that differs with SUMS, SUMS with
 * LISTs, LIST with OFFER and WANT, OFFER with WANT; so each exchange ends.
 * What is equal is not answered. Windows in which something has just changed
 * go as LIST at once. A comparison fits one datagram: a window that is too
 * large for it is compared in parts.
 *
 * *Frames*: again and again age_ms, length (varints), the encoding. That many
 * as fit a budget, over a stream or, if they are small, as datagrams. The age
 * is since its origin closed it (mesh/origins.h).
 *
 * Unknown versions, kinds and tags are passed over. What others say is bounded
 * before it is believed; but a frame names its origin, and nothing proves it:
 * a member that lies can make up frames in anybody's name, for keys that are
 * not taken. It cannot change one that is there, drive out those of other
 * origins (mesh/frames.h), nor speak as this node in its present epoch.
 *
 * Pure. One thread.
 */
#ifndef MESH_SPREAD_H
#define MESH_SPREAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/frames.h"
#include "mesh/members.h"
#include "mesh/origins.h"
#include "proto/base/span.h"

#define SPREAD_TYPE    0xa0 /* first byte of all messages */
#define SPREAD_VERSION 1

enum spread_kind { SPREAD_COMPARISON = 1, SPREAD_FRAMES = 2 };

struct spread_timing {
    uint64_t round_min_ns; /* 100 ms: while something is new */
    uint64_t round_max_ns; /* 1 s: when all is quiet */
    uint64_t active_ns;    /* 1 s: so long something is new */
    uint64_t hot_ns;       /* 500 ms: so long its window is listed at once */
    /* So long others are not asked, twice what it takes: 250 ms, 1.5 s. */
    uint64_t asked_min_ns, asked_max_ns;
    uint64_t settle_ns; /* 1 s: between looks at clocks */
    uint64_t stream_ns; /* 400 ms: what a stream is reckoned to last */
};
extern const struct spread_timing spread_timing_default;

struct spread_limits {
    size_t datagram_max;   /* 1000: what surely fits a packet of the mesh */
    size_t datagrams;      /* 4: so many instead of a stream */
    size_t frame_max;      /* 960 KiB: larger ones are not spread; what a
                            * message of the mesh holds by stream, nearly */
    size_t exchange_bytes; /* 64 KiB: of frames, per answer */
    size_t flight_bytes;   /* 256 KiB: asked for, and not here yet */
    size_t member_bytes;   /* 64 KiB: of these, from one member */
    unsigned streams;      /* 12: at once; others need streams too */
    size_t rate_bytes;     /* 2 MiB: sent per second, of frames */
    unsigned rate_answers; /* 200: comparisons sent per second as answers */
    size_t wants_max;      /* 4096: frames known to be missing */
    size_t origins_max;    /* 5120 */
    size_t strangers_max;  /* 1024: origins that are no members */
    size_t stranger_bytes; /* 8 MiB: of their frames */
};
extern const struct spread_limits spread_limits_default;

struct spread_config {
    const char *name; /* of this node; copied */
    const char *zone; /* copied */
    /* Both borrowed until spread_close(). Nobody else adds frames. */
    const struct members *members;
    struct frames *frames;
    uint64_t seed;
    unsigned canary; /* a bug to switch on; only in builds for the simulator */
    struct spread_timing timing;
    struct spread_limits limits;
};

struct spread; /* opaque */

/* NULL without memory, or for a name or zone above FRAME_NAME_MAX. */
struct spread *spread_open(const struct spread_config *c, uint64_t now_ns,
                           int64_t now_unix_ms);
void spread_close(struct spread *s); /* NULL is allowed */

/* The time by which frames are new or old, for frames_expire(): that of the
 * wall clock; or that of all others, where the wall clock is off by more than
 * a window. Else a node whose clock is wrong would refuse what all send. */
int64_t spread_unix_ms(const struct spread *s, uint64_t now_ns);
/* What is to be added to the wall clock for that: 0 if it is right. */
int64_t spread_correction_ms(const struct spread *s);

/* ---- what happened ---- */

/* What the wall clock says; once a second or so, and after it was set. */
void spread_on_clock(struct spread *s, uint64_t now_ns, int64_t now_unix_ms);

/* This node has closed a frame. It is put into the set and spread; one without
 * cells (a node that probes nothing) is neither, and that is no error. Returns
 * what frames_add() does; ERR_TOOBIG also for one above frame_max, which is
 * neither kept nor spread. */
int spread_on_own(struct spread *s, uint64_t now_ns, const void *data,
                  size_t len);

/* A message of ours came, `from` there; borrowed. One that says who sent it
 * counts only if it came from where that member is: else anybody could have
 * the frames of a window sent to others. False: it is not of this module. */
bool spread_on_message(struct spread *s, uint64_t now_ns,
                       const struct addr *from, struct span message);

/* spread_deadline() has come; earlier or later does no harm. */
void spread_on_timer(struct spread *s, uint64_t now_ns);
uint64_t spread_deadline(const struct spread *s);

/* ---- what is wanted ---- */

struct spread_effect {
    uint32_t member;
    bool by_stream;
    struct span data;
};

/* Take the next message to send; false: none. Its data is valid until the next
 * spread_on_ call. One that cannot be sent is simply lost. */
bool spread_next(struct spread *s, struct spread_effect *e);

/* ---- reading ---- */

/* Why a frame of others was not taken. */
enum spread_refusal {
    SPREAD_BROKEN,   /* does not decode */
    SPREAD_OLD,      /* older than the retention */
    SPREAD_AHEAD,    /* too far ahead of our clock */
    SPREAD_FULL,     /* of its origin's share, or of the whole set */
    SPREAD_LARGE,    /* above frame_max */
    SPREAD_EMPTY,    /* has no cells */
    SPREAD_FORGED,   /* says that it is this node's */
    SPREAD_STRANGER, /* too much from origins that are no members */
    SPREAD_NOMEM,
    SPREAD_REFUSAL_N,
};
const char *spread_refusal_name(enum spread_refusal r); /* "broken", ... */

struct spread_stats {
    uint64_t own, own_empty;
    uint64_t frames_in, frames_out; /* in: all that came, then: */
    uint64_t added, duplicates;
    uint64_t conflicts; /* duplicates that say something else */
    uint64_t refused[SPREAD_REFUSAL_N];
    uint64_t messages_in, messages_out;
    uint64_t bytes_in, bytes_out;             /* of all messages */
    uint64_t frame_bytes_in, frame_bytes_out; /* of these, frames */
    uint64_t fresh_bytes;                     /* of these, added */
    uint64_t rounds, answers, streams_out;
    uint64_t nobody;    /* rounds with no partner */
    uint64_t broken;    /* messages that make no sense */
    uint64_t unknown;   /* of another version or kind */
    uint64_t strangers; /* of nobody we know, or not from where that one is */
    uint64_t busy;      /* not answered: too much at once */
    size_t missing;     /* frames known of and not here, now */
    size_t origins, skewed, stranger_origins;
    int64_t own_offset_ms; /* of this node's clock, as far as known */
};
void spread_stats(const struct spread *s, struct spread_stats *out);

/* The clock of an origin; walk 0.. until it says false. Borrowed until the
 * next spread_on_ call. */
struct spread_origin {
    const char *name;
    int64_t offset_ms; /* positive: its clock is ahead */
    bool is_skewed;    /* by more than a window */
    bool is_stranger;  /* no member: perhaps made up */
    uint64_t heard_ns;
};
bool spread_origin(const struct spread *s, size_t i, struct spread_origin *out);

/* Is it known that the clock of this origin is off by more than a window? Its
 * frames then say nothing about the windows of others: leave them out. */
bool spread_is_skewed(const struct spread *s, const char *origin);

/* Walk everything and assert its invariants. */
void spread_check(const struct spread *s);

#endif /* MESH_SPREAD_H */
