/* proto/ml_stream.h - memberlist's streams: one message each way over TCP.
 *
 *     [label header, dialler only]  then either of
 *     0a | length u32 | sealed( [compress] message )        with a key
 *     [compress] message                                    without
 *
 * A message is a ping, an ack, an err, a user message (08, a map with its
 * length, the bytes) or a push/pull (06, a header map, so many entries, the
 * user state). Without a key nothing says how long it is: the reader parses
 * what it has to find out, resuming where it stopped.
 *
 * Bytes are kept as they arrive, never because a length was announced; all
 * that is held by streams which have not proven to be good is counted in one
 * struct ml_budget shared by all of them. What a frame opens or expands to is
 * not: that is made and refused within one call, at most frame_max and
 * expanded_max once, or is the message. So take a message and fini its reader
 * before the next stream is read, or else count complete ones, too. Pure.
 */
#ifndef PROTO_ML_STREAM_H
#define PROTO_ML_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/span.h"
#include "proto/ml_msg.h"
#include "proto/ml_packet.h"

struct ml_stream_limits {
    size_t frame_max;    /* bytes on the wire of one message: 4 MiB */
    size_t expanded_max; /* after decompression: 8 MiB */
    uint32_t nodes_max;  /* entries of a push/pull: 65536 */
    uint32_t user_max;   /* user state and user message: 1 MiB */
};
extern const struct ml_stream_limits ml_stream_limits_default;

/* Shared by all readers of one mesh. */
struct ml_budget {
    size_t bytes_max; /* 8 MiB */
    size_t bytes;     /* held now, capacity and not only what is filled */
};

/* Reads one message. */
struct ml_stream_in {
    const struct ml_wire *wire;
    const struct ml_stream_limits *limits;
    struct ml_budget *budget;
    bool expects_label; /* this side accepted: the dialler sends the label */
    uint8_t state;      /* ml_stream.c's */
    struct wr raw;      /* as received, without label header and seal header */
    struct wr clear;    /* opened */
    struct wr expanded; /* decompressed */
    size_t charged;     /* of the budget */
    size_t scan;        /* where the search for the end goes on */
    uint32_t sealed_len;
    uint32_t nodes_left, user_left;
    struct span message; /* when complete: type byte first */
    enum ml_drop why;    /* after ERR_BAD */
};

/* `wire`, `limits` and `budget` must outlive the reader. is_accepted: this
 * side accepted the connection. */
void ml_stream_in_init(struct ml_stream_in *s, const struct ml_wire *wire,
                       const struct ml_stream_limits *limits,
                       struct ml_budget *budget, bool is_accepted);
/* Gives back its bytes. Allowed again, and on a zeroed reader. */
void ml_stream_in_fini(struct ml_stream_in *s);

/* Take received bytes. Returns 0 (more are needed), 1 (the message is complete
 * and stays so; further bytes are ignored, and it no longer counts against the
 * budget) or an error, after which the reader only waits for fini: ERR_BAD with
 * .why set, ERR_NOMEM. */
int ml_stream_in_feed(struct ml_stream_in *s, const void *data, size_t len);

/* The complete message, taken apart. All borrowed from the reader. */
struct ml_stream_msg {
    uint8_t type;      /* ML_PING, ML_ACK, ML_ERR, ML_USER or ML_PUSH_PULL */
    struct ml_msg msg; /* ping, ack, err; user: the bytes */
    struct ml_push_pull push_pull; /* its header */
    struct rd entries;             /* n_nodes times ml_entry_read() */
    struct span user_state;
};

/* After ml_stream_in_feed() gave 1. Returns 0 or ERR_BAD: the wrapper was
 * fine, the message is not, also for a limit above. That all entries of a
 * push/pull parse has been checked, not that they make sense
 * (ml_alive_check()). */
int ml_stream_in_take(const struct ml_stream_in *s, struct ml_stream_msg *out);

/* Append the bytes of a stream that carries `message` (type byte first): with
 * the label header if is_dialler, compressed if that makes it smaller, sealed
 * if there are keys. Returns 0, ERR_SYS (no nonce), ERR_TOOBIG (above 20 MiB)
 * or the writer's error. */
int ml_stream_close(const struct ml_wire *wire, bool is_dialler,
                    struct span message, struct wr *out);

#endif /* PROTO_ML_STREAM_H */
