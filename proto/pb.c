#include "proto/pb.h"

#include <assert.h>

#include "proto/base/err.h"

#define NUMBER_MAX ((1u << 29) - 1)
#define VARINT_MAX 10 /* bytes */
#define TAG_MAX    5

/* Not rd_varint(): protobuf allows longer forms than the shortest, and drops
 * what a tenth byte holds above bit 63. Both are what protoc does. */
static uint64_t read_varint(struct rd *r, unsigned bytes_max)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 7 * bytes_max; shift += 7) {
        uint8_t b = rd_u8(r);
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return rd_err(r) ? 0 : v;
    }
    rd_fail(r, ERR_BAD);
    return 0;
}

static uint64_t read_little_endian(struct rd *r, size_t n)
{
    const uint8_t *p = rd_bytes(r, n);
    uint64_t v = 0;
    for (size_t i = n; p && i > 0; i--)
        v = v << 8 | p[i - 1];
    return v;
}

static void read_value(struct rd *r, struct pb_field *f)
{
    switch (f->type) {
    case PB_VARINT:
        f->value = read_varint(r, VARINT_MAX);
        break;
    case PB_FIXED64:
        f->value = read_little_endian(r, 8);
        break;
    case PB_FIXED32:
        f->value = read_little_endian(r, 4);
        break;
    case PB_BYTES: {
        uint64_t len = read_varint(r, VARINT_MAX);
        /* Before the cast, which is narrowing where size_t has 32 bits. */
        if (len > rd_left(r))
            rd_fail(r, ERR_TRUNC);
        f->len = (size_t)len;
        f->data = rd_bytes(r, f->len);
        break;
    }
    }
}

bool pb_next(struct rd *r, struct pb_field *f)
{
    if (rd_left(r) == 0)
        return false;

    uint64_t tag = read_varint(r, TAG_MAX);
    unsigned type = tag & 7;
    bool is_known = type == PB_VARINT || type == PB_FIXED64 ||
                    type == PB_BYTES || type == PB_FIXED32;
    if (tag > UINT32_MAX || tag >> 3 == 0 || !is_known)
        rd_fail(r, ERR_BAD);
    if (rd_err(r))
        return false;

    struct pb_field field = {.number = (uint32_t)(tag >> 3),
                             .type = (enum pb_type)type};
    read_value(r, &field);
    if (rd_err(r))
        return false;
    *f = field;
    return true;
}

static void write_tag(struct wr *w, uint32_t number, enum pb_type type)
{
    assert(number >= 1 && number <= NUMBER_MAX);
    wr_varint(w, (uint64_t)number << 3 | type);
}

void pb_write_varint(struct wr *w, uint32_t number, uint64_t value)
{
    write_tag(w, number, PB_VARINT);
    wr_varint(w, value);
}

void pb_write_bytes(struct wr *w, uint32_t number, const void *data, size_t len)
{
    write_tag(w, number, PB_BYTES);
    wr_varint(w, len);
    wr_bytes(w, data, len);
}
