#include "proto/msgpack_rd.h"

#include "proto/base/err.h"

/* A value is a head byte, then `arg_bytes` of big-endian argument (a number,
 * a length or a count), then for some kinds `length` bytes of contents. */
struct head {
    enum msgpack_rd_kind kind;
    uint8_t byte;
    bool is_negative; /* INT: arg is in two's complement */
    uint64_t arg;
};

enum msgpack_rd_kind msgpack_rd_peek(const struct rd *r)
{
    /* What 0xc0 .. 0xdf begin; the rest are ranges. */
    static const uint8_t kinds[32] = {
        MSGPACK_RD_NIL,   MSGPACK_RD_END,   MSGPACK_RD_BOOL,  MSGPACK_RD_BOOL,
        MSGPACK_RD_BIN,   MSGPACK_RD_BIN,   MSGPACK_RD_BIN,   MSGPACK_RD_EXT,
        MSGPACK_RD_EXT,   MSGPACK_RD_EXT,   MSGPACK_RD_FLOAT, MSGPACK_RD_FLOAT,
        MSGPACK_RD_INT,   MSGPACK_RD_INT,   MSGPACK_RD_INT,   MSGPACK_RD_INT,
        MSGPACK_RD_INT,   MSGPACK_RD_INT,   MSGPACK_RD_INT,   MSGPACK_RD_INT,
        MSGPACK_RD_EXT,   MSGPACK_RD_EXT,   MSGPACK_RD_EXT,   MSGPACK_RD_EXT,
        MSGPACK_RD_EXT,   MSGPACK_RD_STR,   MSGPACK_RD_STR,   MSGPACK_RD_STR,
        MSGPACK_RD_ARRAY, MSGPACK_RD_ARRAY, MSGPACK_RD_MAP,   MSGPACK_RD_MAP,
    };

    if (rd_left(r) == 0)
        return MSGPACK_RD_END;
    uint8_t byte = r->data[r->pos];
    if (byte < 0x80 || byte >= 0xe0)
        return MSGPACK_RD_INT;
    if (byte < 0x90)
        return MSGPACK_RD_MAP;
    if (byte < 0xa0)
        return MSGPACK_RD_ARRAY;
    if (byte < 0xc0)
        return MSGPACK_RD_STR;
    return (enum msgpack_rd_kind)kinds[byte - 0xc0];
}

/* Big-endian argument of 1 << log2 bytes. */
static uint64_t read_arg(struct rd *r, unsigned log2)
{
    switch (log2) {
    case 0:
        return rd_u8(r);
    case 1:
        return rd_be16(r);
    case 2:
        return rd_be32(r);
    default:
        return rd_be64(r);
    }
}

static uint64_t read_signed(struct rd *r, unsigned log2)
{
    uint64_t v = read_arg(r, log2);
    uint64_t sign = UINT64_C(1) << ((8u << log2) - 1);
    return (v ^ sign) - sign; /* widen, keeping the sign */
}

static uint64_t read_number(struct rd *r, uint8_t byte)
{
    if (byte < 0x80)
        return byte;
    if (byte >= 0xe0)
        return (uint64_t)byte - 0x100;
    if (byte >= 0xd0)
        return read_signed(r, byte - 0xd0u);
    return read_arg(r, byte - 0xccu);
}

/* The length or count that belongs to a head byte. */
static uint64_t read_size(struct rd *r, uint8_t byte)
{
    if (byte < 0xa0)
        return byte & 0x0f; /* fixmap, fixarray */
    if (byte < 0xc0)
        return byte & 0x1f; /* fixstr */
    if (byte <= 0xc6)
        return read_arg(r, byte - 0xc4u); /* bin */
    if (byte <= 0xc9)
        return read_arg(r, byte - 0xc7u) + 1; /* ext, and its type */
    if (byte <= 0xcb)
        return 4u << (byte - 0xca); /* float */
    if (byte <= 0xd8)
        return (UINT64_C(1) << (byte - 0xd4)) + 1; /* fixext */
    if (byte <= 0xdb)
        return read_arg(r, byte - 0xd9u); /* str */
    return read_arg(r, 1u + (byte & 1));  /* array, map: 16 or 32 bits */
}

static struct head read_head(struct rd *r)
{
    struct head h = {.kind = msgpack_rd_peek(r)};
    h.byte = rd_u8(r);

    switch (h.kind) {
    case MSGPACK_RD_END:
        rd_fail(r, ERR_BAD);
        break;
    case MSGPACK_RD_NIL:
        break;
    case MSGPACK_RD_BOOL:
        h.arg = h.byte & 1;
        break;
    case MSGPACK_RD_INT:
        h.arg = read_number(r, h.byte);
        h.is_negative = h.byte >= 0xd0 && h.arg > INT64_MAX;
        break;
    case MSGPACK_RD_FLOAT:
    case MSGPACK_RD_STR:
    case MSGPACK_RD_BIN:
    case MSGPACK_RD_EXT:
        h.arg = read_size(r, h.byte);
        break;
    case MSGPACK_RD_ARRAY:
    case MSGPACK_RD_MAP:
        h.arg = read_size(r, h.byte);
        if (h.arg > rd_left(r) / (h.kind == MSGPACK_RD_MAP ? 2 : 1))
            rd_fail(r, ERR_TRUNC);
        break;
    }
    if (rd_err(r))
        h.arg = 0;
    return h;
}

static struct head expect(struct rd *r, enum msgpack_rd_kind kind)
{
    if (rd_left(r) > 0 && msgpack_rd_peek(r) != kind)
        rd_fail(r, ERR_BAD);
    return read_head(r);
}

size_t msgpack_rd_array(struct rd *r)
{
    return (size_t)expect(r, MSGPACK_RD_ARRAY).arg;
}

size_t msgpack_rd_map(struct rd *r)
{
    return (size_t)expect(r, MSGPACK_RD_MAP).arg;
}

uint64_t msgpack_rd_uint(struct rd *r)
{
    struct head h = expect(r, MSGPACK_RD_INT);
    if (h.is_negative)
        rd_fail(r, ERR_BAD);
    return rd_err(r) ? 0 : h.arg;
}

int64_t msgpack_rd_int(struct rd *r)
{
    struct head h = expect(r, MSGPACK_RD_INT);
    if (!h.is_negative && h.arg > INT64_MAX)
        rd_fail(r, ERR_BAD);
    return rd_err(r) ? 0 : (int64_t)h.arg;
}

bool msgpack_rd_bool(struct rd *r)
{
    return expect(r, MSGPACK_RD_BOOL).arg;
}

static const uint8_t *read_contents(struct rd *r, struct head h, size_t *len)
{
    const uint8_t *p = NULL;
    if (h.arg > rd_left(r))
        rd_fail(r, ERR_TRUNC);
    else
        p = rd_bytes(r, (size_t)h.arg);
    *len = p ? (size_t)h.arg : 0;
    return p;
}

const char *msgpack_rd_str(struct rd *r, size_t *len)
{
    return (const char *)read_contents(r, expect(r, MSGPACK_RD_STR), len);
}

const uint8_t *msgpack_rd_bin(struct rd *r, size_t *len)
{
    return read_contents(r, expect(r, MSGPACK_RD_BIN), len);
}

const uint8_t *msgpack_rd_bytes(struct rd *r, size_t *len)
{
    bool is_str = msgpack_rd_peek(r) == MSGPACK_RD_STR;
    struct head h = expect(r, is_str ? MSGPACK_RD_STR : MSGPACK_RD_BIN);
    return read_contents(r, h, len);
}

void msgpack_rd_skip(struct rd *r)
{
    /* Values still to pass at each level; the one asked for is level 0. A
     * map of 2^32 - 1 pairs cannot overflow this: it had to fit the input. */
    size_t todo[MSGPACK_RD_DEPTH_MAX + 1] = {1};
    size_t depth = 0;

    for (;;) {
        while (todo[depth] == 0) {
            if (depth == 0)
                return;
            depth--;
        }
        todo[depth]--;

        struct head h = read_head(r);
        bool is_map = h.kind == MSGPACK_RD_MAP;
        if (is_map || h.kind == MSGPACK_RD_ARRAY) {
            if (depth == MSGPACK_RD_DEPTH_MAX)
                rd_fail(r, ERR_TOOBIG);
            else
                todo[++depth] = (size_t)h.arg * (is_map ? 2 : 1);
        } else if (h.kind >= MSGPACK_RD_FLOAT) {
            size_t len;
            read_contents(r, h, &len);
        }
        if (rd_err(r))
            return;
    }
}
