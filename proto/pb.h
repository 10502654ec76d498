/* proto/pb.h - protobuf on the wire: fields in, fields out.
 *
 * Only what messages of scalars, strings and bytes need. A message is a run
 * of fields; each is a tag (field number * 8 + wire type) and a value:
 *
 *     type 0  varint, at most ten bytes, longer forms than needed are legal
 *     type 1  eight bytes, little-endian      type 5  four bytes, the same
 *     type 2  varint length, then that many bytes
 *
 * The reader yields one field after the other and leaves it to the caller
 * what to do with unknown numbers: skipping is doing nothing. It never
 * recurses: a nested message is a type 2 value, to be read with a reader of
 * its own. Source: "Encoding", protobuf documentation.
 *
 * Deviation: groups (types 3 and 4, dead since proto2) are ERR_BAD, where
 * protobuf skips unknown ones; it would need a stack for nothing.
 *
 * Pure. Threads: none shared.
 */
#ifndef PROTO_PB_H
#define PROTO_PB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"

enum pb_type {
    PB_VARINT = 0,
    PB_FIXED64 = 1,
    PB_BYTES = 2,
    PB_FIXED32 = 5,
};

struct pb_field {
    uint32_t number;     /* 1..2^29-1 */
    enum pb_type type;   /* what is set below */
    uint64_t value;      /* PB_VARINT, PB_FIXED64, PB_FIXED32 */
    const uint8_t *data; /* PB_BYTES: borrowed from the reader */
    size_t len;          /* PB_BYTES */
};

/* Read the next field. Returns false at the end of the message and on error;
 * rd_err() tells which: ERR_TRUNC or ERR_BAD (field number 0, group, unknown
 * type, varint over ten bytes, tag over five bytes or 32 bits). */
bool pb_next(struct rd *r, struct pb_field *f);

/* Append a field. `number` is 1..2^29-1 (asserted). Values that proto3 takes
 * as the default (0, "") are the caller's to leave out. */
void pb_write_varint(struct wr *w, uint32_t number, uint64_t value);
void pb_write_bytes(struct wr *w, uint32_t number, const void *data,
                    size_t len);

#endif /* PROTO_PB_H */
