/* proto/msgpack_go.h - reading msgpack as the codec of Go peers does.
 *
 * On proto/msgpack_rd.h, but as lenient as they are where several encodings
 * mean the same: nil is the zero of every kind, text and bytes may be str or
 * bin, a boolean may be 1 or 0. Pure.
 */
#ifndef PROTO_MSGPACK_GO_H
#define PROTO_MSGPACK_GO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/span.h"
#include "proto/msgpack_rd.h"

#define GO_KEYS_MAX 64 /* of one map */
#define GO_KEY_MAX  32 /* bytes of one of its keys */

/* Is the next byte one of those with `bits` under `mask`? Most values are short
 * and have a head of one byte; for them the longer way is spared. */
static inline bool go_is_next(const struct rd *r, uint8_t mask, uint8_t bits)
{
    return !r->err && r->pos < r->len && (r->data[r->pos] & mask) == bits;
}

/* Is a nil next? Then it has been read. */
static inline bool go_read_nil(struct rd *r)
{
    if (!go_is_next(r, 0xff, 0xc0))
        return false;
    r->pos++;
    return true;
}

/* Text or bytes, borrowed. */
static inline struct span go_read_raw(struct rd *r)
{
    size_t len = 0;
    if (go_is_next(r, 0xe0, 0xa0)) {
        len = r->data[r->pos++] & 0x1f;
        const uint8_t *short_data = rd_bytes(r, len);
        return span_of(short_data, short_data ? len : 0);
    }
    if (go_read_nil(r))
        return (struct span){0};
    const uint8_t *data = msgpack_rd_bytes(r, &len);
    return span_of(data, len);
}

/* An integer of at most `max`, otherwise 0 and the error `code`. */
static inline uint64_t go_read_uint(struct rd *r, uint64_t max, int code)
{
    uint64_t v;
    if (go_is_next(r, 0x80, 0x00))
        v = r->data[r->pos++];
    else if (go_read_nil(r))
        v = 0;
    else
        v = msgpack_rd_uint(r);
    if (v <= max)
        return v;
    rd_fail(r, code);
    return 0;
}

static inline bool go_read_bool(struct rd *r)
{
    if (go_read_nil(r))
        return false;
    if (msgpack_rd_peek(r) == MSGPACK_RD_INT)
        return go_read_uint(r, 1, ERR_BAD);
    return msgpack_rd_bool(r);
}

/* The head of a map; nil is an empty one. More than `max` pairs are ERR_TOOBIG
 * even if not so many bytes are there: more to come would not help. */
static inline size_t go_read_map(struct rd *r, size_t max)
{
    if (go_read_nil(r))
        return 0;
    if (!go_is_next(r, 0xfe, 0xde)) {
        size_t n = msgpack_rd_map(r);
        if (n > max)
            rd_fail(r, ERR_TOOBIG);
        return rd_err(r) ? 0 : n;
    }
    struct rd ahead = *r;
    uint64_t n = rd_u8(&ahead) == 0xde ? rd_be16(&ahead) : rd_be32(&ahead);
    if (n > max)
        rd_fail(r, ERR_TOOBIG);
    return msgpack_rd_map(r);
}

/* The key of the next pair. */
static inline struct span go_read_key(struct rd *r)
{
    struct span key = go_read_raw(r);
    if (key.len <= GO_KEY_MAX)
        return key;
    rd_fail(r, ERR_TOOBIG);
    return (struct span){0};
}

#endif /* PROTO_MSGPACK_GO_H */
