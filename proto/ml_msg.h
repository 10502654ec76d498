/* proto/ml_msg.h - memberlist's messages: a type byte and a msgpack map.
 *
 * Written as Go peers write them: every key that is not optional, keys sorted,
 * old msgpack (raw only: never str8, bin or ext), so that our bytes equal
 * theirs. Read as they read: any order of keys, unknown ones skipped, the last
 * of repeated ones wins, missing ones are zero, nil is empty or zero, str and
 * bin in every width, integers of either sign whose value fits, 1 and 0 for a
 * boolean, a lone nil for a map. Deviation: maps given as arrays and bytes
 * given as arrays of numbers, which nothing sends, are refused, and so is what
 * breaks a limit below.
 *
 * Decoding is total and allocates nothing; all spans of a decoded message are
 * borrowed from its bytes. Bytes behind the map are ignored, as Go does.
 * A message may decode and still be unfit to act upon: see ml_alive_check().
 *
 * Format and limits: docs/gossip.md. msgpack-c encodes. Pure.
 */
#ifndef PROTO_ML_MSG_H
#define PROTO_ML_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/addr.h"
#include "proto/base/buf.h"
#include "proto/base/span.h"

enum ml_type {
    ML_PING = 0,
    ML_INDIRECT_PING = 1,
    ML_ACK = 2,
    ML_SUSPECT = 3,
    ML_ALIVE = 4,
    ML_DEAD = 5,
    ML_PUSH_PULL = 6, /* streams only */
    ML_COMPOUND = 7,  /* ml_packet.h */
    ML_USER = 8,
    ML_COMPRESS = 9, /* ml_packet.h, ml_stream.h */
    ML_ENCRYPT = 10, /* ml_stream.h */
    ML_NACK = 11,
    ML_CRC = 12, /* ml_packet.h */
    ML_ERR = 13, /* streams only */
    ML_LABEL = 244,
};

/* In push/pull entries. */
enum ml_state {
    ML_STATE_ALIVE,
    ML_STATE_SUSPECT,
    ML_STATE_DEAD,
    ML_STATE_LEFT
};

#define ML_NAME_MAX  128 /* bytes of a node's name */
#define ML_META_MAX  512
#define ML_LABEL_MAX 255
#define ML_VSN_SIZE  6
#define ML_KEYS_MAX  64 /* of one map */
#define ML_KEY_MAX   32 /* bytes of one of its keys */

/* Bytes of all values of one map whose keys are not known; none are sent
 * today. Keeps reading a stream again at each new byte from being costly. */
#define ML_UNKNOWN_MAX 4096

struct ml_ping {
    uint32_t seq_no;
    struct span node;        /* whom it is meant for; empty: whoever you are */
    struct span source_addr; /* 0, 4 or 16 bytes */
    struct span source_node; /* may be empty */
    uint16_t source_port;
};

struct ml_indirect_ping {
    uint32_t seq_no;
    struct span target; /* its address, 4 or 16 bytes */
    uint16_t port;      /* its port */
    struct span node;   /* its name */
    bool wants_nack;
    struct span source_addr, source_node;
    uint16_t source_port;
};

struct ml_ack {
    uint32_t seq_no;
    struct span payload;
    /* When encoding: leave the key out where it is empty. Go reads that the
     * same, and the answer to a stranger is then no longer than his ping. */
    bool is_short;
};

struct ml_nack {
    uint32_t seq_no;
};

/* suspect and dead. A dead whose `from` is `node` itself has left. */
struct ml_accusation {
    uint32_t incarnation;
    struct span node, from;
};

/* alive, and with `state` an entry of a push/pull. */
struct ml_alive {
    uint32_t incarnation;
    struct span node;
    struct span addr; /* as it came: 4 or 16 bytes */
    uint16_t port;
    struct span meta;
    struct span vsn;
    uint8_t state; /* enum ml_state, or 255 for what is not one */
};

struct ml_push_pull {
    bool is_join;
    uint32_t n_nodes;
    uint32_t user_state_len;
};

struct ml_msg {
    uint8_t type; /* says which one it is */
    union {
        struct ml_ping ping;
        struct ml_indirect_ping indirect_ping;
        struct ml_ack ack;
        struct ml_nack nack;
        struct ml_accusation accusation;
        struct ml_alive alive;
        struct span user; /* raw bytes, in packets */
        struct span err;  /* its text; streams */
    };
};

/* Decode one whole message: types 0 to 5, 8, 11 and 13. Returns 0, ERR_TRUNC,
 * ERR_BAD (also another type), ERR_TOOBIG (a limit above); *out is untouched
 * after an error. */
int ml_msg_decode(const void *data, size_t len, struct ml_msg *out);

/* Append one message. Errors are the writer's. */
void ml_msg_encode(struct wr *w, const struct ml_msg *m);

/* The parts of a stream message and of the wrapper, without a type byte, read
 * where `r` stands and leaving it behind the map. They return rd_err(r):
 * ERR_TRUNC says that more bytes could make it whole. */
int ml_push_pull_read(struct rd *r, struct ml_push_pull *out);
int ml_entry_read(struct rd *r, struct ml_alive *out);
int ml_user_len_read(struct rd *r, uint32_t *len);
int ml_compress_read(struct rd *r, struct span *compressed); /* Algo 0 only */

void ml_push_pull_write(struct wr *w, const struct ml_push_pull *h);
void ml_entry_write(struct wr *w, const struct ml_alive *entry);
void ml_user_len_write(struct wr *w, uint32_t len);
void ml_compress_write(struct wr *w, struct span compressed);

/* May this record be stored and passed on? A name of 1..ML_NAME_MAX bytes
 * without control characters, an address that can be one node's (4 or 16
 * bytes, not unspecified, not multicast), a port, meta of at most ML_META_MAX
 * bytes, six version bytes of which PMin is at least 1 and PMin <= PCur <=
 * PMax and DMin <= DCur <= DMax. Returns 0 or ERR_BAD. One bad record that is
 * passed on stops every push/pull of a cluster of Go peers. */
int ml_alive_check(const struct ml_alive *a);

/* The address of a record for dialling: the mapped form of IPv4 becomes IPv4.
 * ADDR_NONE if it is not 4 or 16 bytes. */
struct addr ml_addr(struct span bytes, uint16_t port);

/* The bytes to send for `a`: 4 for IPv4, 16 for IPv6, borrowed from it. */
struct span ml_addr_bytes(const struct addr *a);

#endif /* PROTO_ML_MSG_H */
