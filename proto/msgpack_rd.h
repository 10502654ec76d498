/* proto/msgpack_rd.h - reading msgpack, one value at a time.
 *
 * A pull decoder on struct rd: the caller knows its schema and asks for the
 * value it expects, and gets ERR_BAD if another kind stands there. Nothing is
 * allocated and nothing is believed: a declared length or count is checked
 * against the bytes left (an element takes at least one) before it is
 * returned, so a caller may size an array by it. Errors are sticky as in
 * proto/base/buf.h; after one, everything yields zero.
 *
 * Integers are accepted in every width the format has, whatever their value:
 * writers differ in which one they choose.
 *
 * Format: github.com/msgpack/msgpack/blob/master/spec.md. Pure.
 */
#ifndef PROTO_MSGPACK_RD_H
#define PROTO_MSGPACK_RD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"

#define MSGPACK_RD_DEPTH_MAX                        \
    8 /* containers inside each other, when skipped \
       */

enum msgpack_rd_kind {
    MSGPACK_RD_END, /* no bytes left, an error, or the byte 0xc1 */
    MSGPACK_RD_NIL,
    MSGPACK_RD_BOOL,
    MSGPACK_RD_INT, /* of either sign */
    MSGPACK_RD_FLOAT,
    MSGPACK_RD_STR,
    MSGPACK_RD_BIN,
    MSGPACK_RD_ARRAY,
    MSGPACK_RD_MAP,
    MSGPACK_RD_EXT,
};

/* What the next value is; reads nothing. */
enum msgpack_rd_kind msgpack_rd_peek(const struct rd *r);

/* The number of elements that follow, at most rd_left(). For a map the number
 * of pairs, at most half of that. */
size_t msgpack_rd_array(struct rd *r);
size_t msgpack_rd_map(struct rd *r);

uint64_t msgpack_rd_uint(struct rd *r); /* ERR_BAD for a negative one */
int64_t msgpack_rd_int(struct rd *r);   /* ERR_BAD above INT64_MAX */
bool msgpack_rd_bool(struct rd *r);

/* Borrowed bytes, *len of them, without a final NUL; NULL on error. _str and
 * _bin take that family only, _bytes takes both (older writers know only
 * one). */
const char *msgpack_rd_str(struct rd *r, size_t *len);
const uint8_t *msgpack_rd_bin(struct rd *r, size_t *len);
const uint8_t *msgpack_rd_bytes(struct rd *r, size_t *len);

/* Pass over one value, whatever it is. ERR_TOOBIG if containers are nested
 * deeper than MSGPACK_RD_DEPTH_MAX. */
void msgpack_rd_skip(struct rd *r);

#endif /* PROTO_MSGPACK_RD_H */
