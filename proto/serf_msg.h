/* proto/serf_msg.h - the little of Serf that a good neighbour speaks.
 *
 * Serf is an application on memberlist: its tags are a node's meta, its
 * messages are user messages, its state is the user state of a push/pull.
 *
 *     meta        ff | map of text to text
 *     message     type u8 | map
 *
 * Types from SERF_TYPE_OURS on are this project's own; they are sent to one
 * node at a time and only to those that carry our mark (mesh/facts.h).
 *
 * Encoded with msgpack-c in the old flavour, keys sorted; decoding is as
 * lenient as in ml_msg.h, total, allocates nothing and borrows from its input.
 * A map has at most 64 keys of at most 32 bytes, else ERR_TOOBIG; tags and
 * states are not counted as keys. *out is untouched after an error. Pure.
 */
#ifndef PROTO_SERF_MSG_H
#define PROTO_SERF_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/span.h"

enum serf_type {
    SERF_LEAVE = 0,
    SERF_JOIN = 1,
    SERF_PUSH_PULL = 2,
    SERF_USER_EVENT = 3,
    SERF_QUERY = 4,
    SERF_QUERY_RESPONSE = 5,
    SERF_RELAY = 9,
    SERF_TYPE_OURS = 128, /* and above */
};

#define SERF_TAGS_MAX 32

struct serf_tag {
    struct span key, value;
};

/* Write tags as meta; sorted by key by the caller. */
void serf_tags_write(struct wr *w, const struct serf_tag *tags, size_t n);

/* Read meta into at most `max` tags; *n says how many there are. Of repeated
 * keys the last counts. Meta that does not begin with ff is one tag "role" with
 * all of it, as Serf reads it; empty meta has none. Returns 0, ERR_BAD,
 * ERR_TRUNC or ERR_TOOBIG (more than `max`); then *n is untouched. */
int serf_tags_read(struct span meta, struct serf_tag *tags, size_t max,
                   size_t *n);

/* Somebody means to leave (is_leave), or has joined. */
struct serf_intent {
    bool is_leave, is_prune;
    uint64_t ltime;
    struct span node;
};

void serf_intent_write(struct wr *w, const struct serf_intent *intent);
/* `payload` is a user message: type byte first. 0, ERR_BAD, ERR_TRUNC or
 * ERR_TOOBIG. */
int serf_intent_read(struct span payload, struct serf_intent *out);

/* Of a user event or query: what has to be known to pass it on. */
struct serf_event {
    uint8_t type; /* SERF_USER_EVENT or SERF_QUERY */
    uint64_t ltime;
    uint32_t flags; /* of a query: 1 wants an ack, 2 not to be passed on */
    struct span name;
};
int serf_event_read(struct span payload, struct serf_event *out);

/* The user state of a push/pull: clocks, and who is known at which time. */
struct serf_state {
    uint64_t ltime, event_ltime, query_ltime;
    struct rd status; /* n_status times serf_status_read() */
    size_t n_status;
    struct rd left; /* n_left times serf_left_read() */
    size_t n_left;
};
/* `state` begins with the byte SERF_PUSH_PULL. All of it has been checked: the
 * readers below do not fail on what it gave, n times. */
int serf_state_read(struct span state, struct serf_state *out);
int serf_status_read(struct rd *r, struct span *name, uint64_t *ltime);
int serf_left_read(struct rd *r, struct span *name);

#endif /* PROTO_SERF_MSG_H */
