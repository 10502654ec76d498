/* prober/remote.h - one-off probes from other nodes, over the mesh.
 *
 * A node that is asked for probes from elsewhere (the *coordinator*) sends the
 * request to members that carry our mark (the *executors*) and hands on what
 * comes back. Messages are user messages of the mesh over streams; they are
 * sent and heeded only while gossip is encrypted. Both sides are here, as one
 * state machine: messages and time go in, effects come out.
 *
 *     remote_on_X(r, now_ns, ...);         any of them, then
 *     while (remote_next(r, &e)) ...;      carry out, and
 *     arm a timer for remote_deadline(r).
 *
 * Messages, big-endian: REMOTE_TYPE, version, kind, id (16 bytes), ask u32 (the
 * coordinator's number for this executor, which its answers repeat), then
 *
 *     ASK      the coordinator's name, the request, who asks
 *     TAKEN    -  the executor runs it; the answer to each ASK of what runs
 *     SAMPLES  number of the first u32, then samples (sample_wire.h)
 *     END      state u8, samples u32 in all, slots missed u32, then as SAMPLES
 *     ACK      samples u32 that have come: the answer to SAMPLES
 *     CANCEL   -  nothing more is wanted: also the answer to END, and to
 *              whatever still comes of an ask that is over
 *
 * An ASK is repeated until it was answered or REMOTE_ANSWER_NS has passed:
 * then the executor is unreachable, and so is one from which nothing came
 * for REMOTE_SILENT_NS after its last slot's timeout, or that is not alive any
 * more. An executor has one message with samples under way per run, at most
 * one in REMOTE_BATCH_NS, and repeats it, with what has been added, until it is
 * acknowledged; so samples are heard in order and once, whatever the network
 * does. What an executor holds is bounded; the oldest go first, and their
 * numbers tell the coordinator how many were lost. It gives up after some
 * tries: the coordinator is gone then.
 *
 * Duplicates, late and unknown messages change nothing and are counted. An
 * executor runs an ask once, however often it hears it (ended ones are
 * remembered for REMOTE_REMEMBER_NS at least, and what could not be remembered
 * is not begun), and cancels it when the coordinator is no longer alive in its
 * eyes. What it runs is decided by its own policy and by the limits here: so
 * many at once and per minute for one coordinator. Both sides heed only what
 * comes from the IP address of the member concerned. A recorded ASK that is
 * played again after that while, from that address, is run again: it is one
 * that the policy and the rate allow, and is audited.
 *
 * Pure. One thread.
 */
#ifndef PROBER_REMOTE_H
#define PROBER_REMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/members.h"
#include "prober/oneoff.h"
#include "prober/sample.h"
#include "proto/base/addr.h"
#include "proto/base/span.h"

#define REMOTE_TYPE      0xa2 /* first byte of all messages */
#define REMOTE_VERSION   1
#define REMOTE_ID_SIZE   16
#define REMOTE_ANSWER_NS UINT64_C(3000000000)
#define REMOTE_SILENT_NS UINT64_C(3000000000)
#define REMOTE_ASKS_MAX  1024 /* executors asked at once, over all requests */
#define REMOTE_RUNS_MAX  128  /* executed here for others at once */
#define REMOTE_WHO_SIZE  129  /* who asked, for the executor's audit log */

#define REMOTE_BATCH_NS    UINT64_C(100000000)   /* 100 ms */
#define REMOTE_REMEMBER_NS UINT64_C(30000000000) /* 30 s */
/* Of one coordinator, executed here. */
#define REMOTE_RUNS_OF_ONE_MAX (REMOTE_RUNS_MAX / 4)
#define REMOTE_ASKS_PER_MINUTE 60
/* Samples that were not acknowledged. */
#define REMOTE_HELD_RUN_MAX ((size_t)256 << 10) /* bytes, of one run */
#define REMOTE_HELD_MAX     ((size_t)4 << 20)   /* of all */
#define REMOTE_MESSAGE_MAX  ((size_t)64 << 10)

struct remote; /* opaque */

struct remote_config {
    const char *name;              /* of this node; copied */
    const struct members *members; /* borrowed until remote_close() */
    uint64_t seed;
};

struct remote *remote_open(const struct remote_config *c); /* NULL: no memory */
void remote_close(struct remote *r);

/* ---- coordinator ---- */

/* Have `member` execute this for request `id` (random, unguessable; the same
 * for all executors of one request). Returns 0, ERR_CLOSED (not alive or not
 * ours), ERR_BUSY (too many), ERR_BAD (the request does not pass
 * oneoff_request_check()), ERR_NOMEM. The answers are effects that carry `ask`.
 * `request` and `who` are copied. */
int remote_ask(struct remote *r, uint64_t now_ns,
               const uint8_t id[REMOTE_ID_SIZE], uint32_t member,
               const struct oneoff_request *request, const char *who,
               uint32_t *ask);
/* No more of it is wanted: CANCEL is sent; no further effects. Of one that is
 * over: nothing. May be called while effects are being taken. */
void remote_drop(struct remote *r, uint64_t now_ns, uint32_t ask);

/* ---- executor ---- */

/* The host's answer to REMOTE_START: it runs (ONEOFF_RUNNING), or a final
 * state. Then samples as they come, and the end. Of a run that is not (any
 * more), for it was stopped: nothing. */
void remote_started(struct remote *r, uint64_t now_ns, uint32_t run,
                    enum oneoff_state state);
void remote_sample(struct remote *r, uint64_t now_ns, uint32_t run,
                   const struct sample *s, const struct sample_names *names);
void remote_ended(struct remote *r, uint64_t now_ns, uint32_t run,
                  enum oneoff_state state, uint32_t missed);

/* ---- both ---- */

/* A message of ours came, from this address. False: not of this module. All
 * effects of what was before have been taken. */
bool remote_on_message(struct remote *r, uint64_t now_ns,
                       const struct addr *from, struct span message);
void remote_on_timer(struct remote *r, uint64_t now_ns);
uint64_t remote_deadline(const struct remote *r);

enum remote_effect_kind {
    REMOTE_SEND,   /* `data` to `member`, by stream; if there is no room for one
                    * more stream just now, remote_unsent() */
    REMOTE_START,  /* execute `request` as `run`, asked by node `text` for
                    * `who`; `data` is its id; answer with remote_started() */
    REMOTE_STOP,   /* `run` is no longer wanted: cancel it */
    REMOTE_TAKEN,  /* `ask` runs */
    REMOTE_SAMPLE, /* of `ask`: `sample`, `names` */
    REMOTE_END,    /* of `ask`: `state`, `missed`, `lost`; the ask is gone */
};

struct remote_effect {
    enum remote_effect_kind kind;
    uint32_t member, run, ask;
    struct span data;
    const struct oneoff_request *request;
    const char *text, *who;
    const struct sample *sample;
    const struct sample_names *names;
    enum oneoff_state state;
    uint32_t missed; /* slots without an attempt */
    uint32_t lost;   /* samples that the executor took and that did not come */
};
/* What it points to is valid until the next call. False: none. A sample's
 * from_node and from_zone are what this node knows of the executor, whatever
 * that says of itself. */
bool remote_next(struct remote *r, struct remote_effect *e);
/* The REMOTE_SEND that was taken last could not be carried out: it is made
 * again, and nothing is sent before remote_deadline(). */
void remote_unsent(struct remote *r, uint64_t now_ns);

struct remote_stats {
    uint64_t asks, taken, unreachable, samples_in, samples_out;
    uint64_t duplicates; /* of what was heard before */
    uint64_t late;       /* about what is over */
    uint64_t broken;     /* make no sense */
    uint64_t unknown;    /* about what never was, or is forgotten */
    uint64_t strangers;  /* not from the member's address, or no member */
    uint64_t lost;       /* samples: dropped here, or missing from others */
    uint64_t unsent;     /* no stream was free */
    uint64_t runs, runs_refused, runs_abandoned;
    size_t asks_open, runs_open, held_bytes;
};
void remote_stats(const struct remote *r, struct remote_stats *out);
void remote_check(const struct remote *r); /* asserts its invariants */

/* ---- who is meant ---- */

/* A `from`: "self", "all-zones", "zone:Z" or a node's name. */
enum remote_from_kind { FROM_SELF, FROM_NODE, FROM_ZONE, FROM_ALL_ZONES };
struct remote_from {
    enum remote_from_kind kind;
    char name[129]; /* of the node or zone */
};
int remote_from_parse(struct remote_from *f, const char *text); /* ERR_BAD */

#define REMOTE_EXECUTORS_MAX 256
struct remote_executor {
    uint32_t member; /* UINT32_MAX: this node itself */
    char node[129], zone[129];
    bool is_reachable; /* false: not alive; named, not asked */
};
/* Choose: this node itself, the node, or `per_zone` (1..16) nodes of the zone
 * or of each zone, alive ones of ours: this node first in its own zone, then by
 * hash with `dice`, suspects after the others. A zone of whose members none is
 * alive contributes one of them as not reachable; those that have left do not
 * count. In the order of the zones' names; with many zones there are fewer of
 * each. Returns how many (<= REMOTE_EXECUTORS_MAX), 0: nobody of that name or
 * zone is known (or there is no memory). */
size_t remote_choose(const struct members *members, const char *self_node,
                     const char *self_zone, const struct remote_from *f,
                     unsigned per_zone, uint64_t dice,
                     struct remote_executor *out);

#endif /* PROBER_REMOTE_H */
