/* prober/remote_wire.h - the messages of remote.h, as bytes and back.
 *
 * The picture is in remote.h. Decoding copies; texts hold printable ASCII
 * afterwards ('?' for other bytes), but for names of nodes, which are compared
 * with those of members and may hold any bytes but NUL. Pure.
 */
#ifndef PROBER_REMOTE_WIRE_H
#define PROBER_REMOTE_WIRE_H

#include <stdint.h>

#include "prober/oneoff.h"
#include "prober/remote.h"
#include "proto/base/buf.h"

#define REMOTE_NAME_SIZE 129 /* ML_NAME_MAX and NUL */
#define REMOTE_HEAD_SIZE (3 + REMOTE_ID_SIZE + 4)

enum remote_kind { /* on the wire: append, never renumber */
                   KIND_ASK = 1,
                   KIND_TAKEN,
                   KIND_SAMPLES,
                   KIND_END,
                   KIND_ACK,
                   KIND_CANCEL,
};

struct remote_head {
    uint8_t kind; /* enum remote_kind */
    uint8_t id[REMOTE_ID_SIZE];
    uint32_t ask;
};

struct remote_question {
    char node[REMOTE_NAME_SIZE]; /* the coordinator */
    char who[REMOTE_WHO_SIZE];
    struct oneoff_request request;
};

struct remote_verdict {
    uint8_t state; /* enum oneoff_state: an end that an executor can say */
    uint32_t samples, missed;
};

/* Append. Errors are the writer's. */
void remote_write_head(struct wr *w, const struct remote_head *h);
void remote_write_question(struct wr *w, const struct remote_question *q);
void remote_write_verdict(struct wr *w, const struct remote_verdict *v);

/* Read what stands next; the reader's error says whether it is any good, and
 * `out` is only then. A question is read up to its end and its request has
 * passed oneoff_request_check(), or *is_bad is set: well formed, but above our
 * limits. */
void remote_read_head(struct rd *r, struct remote_head *out);
void remote_read_question(struct rd *r, struct remote_question *out,
                          bool *is_bad);
void remote_read_verdict(struct rd *r, struct remote_verdict *out);

#endif /* PROBER_REMOTE_WIRE_H */
