#include "proto/ml_packet.h"

#include <assert.h>
#include <string.h>

#include "proto/base/crc32.h"
#include "proto/base/err.h"
#include "proto/lzw.h"

enum {
    CRC_SIZE = 5,           /* type and checksum */
    COMPOUND_HEAD_SIZE = 2, /* type and count, then this for each part: */
    COMPOUND_PART_SIZE = 2,
    COMPRESS_HEAD = 1 + 1 + 5 + 1 + 4, /* type, map, "Algo", 0, "Buf" */
};

_Static_assert(ML_PARTS_MAX == UINT8_MAX, "counted in one byte");

const char *ml_drop_name(enum ml_drop why)
{
    switch (why) {
    case ML_DROP_NONE:
        return "none";
    case ML_DROP_EMPTY:
        return "empty";
    case ML_DROP_LABEL:
        return "label";
    case ML_DROP_SEAL:
        return "seal";
    case ML_DROP_CLEAR:
        return "clear";
    case ML_DROP_CRC:
        return "crc";
    case ML_DROP_NESTING:
        return "nesting";
    case ML_DROP_BOMB:
        return "bomb";
    case ML_DROP_CODEC:
        return "codec";
    case ML_DROP_TYPE:
        return "type";
    case ML_DROP_MESSAGE:
        return "message";
    case ML_DROP_TOOBIG:
        return "toobig";
    case ML_DROP_BUDGET:
        return "budget";
    case ML_DROP_N:
        break;
    }
    return "unknown";
}

void ml_scratch_fini(struct ml_scratch *s)
{
    wr_fini(&s->clear);
    wr_fini(&s->expanded);
}

/* Make a buffer empty; the first time, allocate all of it. */
static int prepare(struct wr *w)
{
    if (!w->data) {
        wr_init_grow(w, ML_PACKET_MAX);
        wr_space(w, ML_PACKET_MAX);
        int err = wr_err(w);
        if (err) {
            *w = (struct wr){0};
            return err;
        }
    }
    wr_reset(w);
    return 0;
}

static struct span skip(struct span s, size_t n)
{
    return span_of(s.data + n, s.len - n);
}

static struct span written(const struct wr *w)
{
    return span_of(w->data, w->len);
}

/* --- opening ------------------------------------------------------------- */

static enum ml_drop open_label(struct span label, struct span *p)
{
    bool has_one = p->data[0] == ML_LABEL;

    if (label.len == 0)
        return has_one ? ML_DROP_LABEL : ML_DROP_NONE;
    if (!has_one || p->len < 2 + label.len || p->data[1] != label.len ||
        memcmp(p->data + 2, label.data, label.len) != 0)
        return ML_DROP_LABEL;
    *p = skip(*p, 2 + label.len);
    return p->len > 0 ? ML_DROP_NONE : ML_DROP_EMPTY;
}

/* Does a packet that no key opened look as if it had never been sealed? Only
 * to tell a peer without a key from one with another. A ping could be the
 * beginning of a sealed packet, but hardly with a map's first key, which is
 * "Node" or "Nack", where the nonce would be. */
static bool looks_clear(struct span p)
{
    static const uint8_t key[] = {0xa4, 'N'};

    if (p.data[0] > 1)
        return p.data[0] <= ML_CRC;
    return p.len >= 4 && p.data[1] >> 4 == 8 && !memcmp(p.data + 2, key, 2);
}

static enum ml_drop open_seal(const struct ml_wire *wire, struct span *p,
                              struct ml_scratch *s)
{
    if (!wire->keys)
        return ML_DROP_NONE;
    if (prepare(&s->clear))
        return ML_DROP_BUDGET;
    if (!ml_unseal(wire->keys, wire->label, *p, &s->clear)) {
        *p = written(&s->clear);
        return p->len > 0 ? ML_DROP_NONE : ML_DROP_EMPTY;
    }
    if (wire->accepts_clear)
        return ML_DROP_NONE;
    return looks_clear(*p) ? ML_DROP_CLEAR : ML_DROP_SEAL;
}

static enum ml_drop open_crc(struct span *p)
{
    if (p->data[0] != ML_CRC)
        return ML_DROP_NONE;
    if (p->len < CRC_SIZE)
        return ML_DROP_CRC;
    struct rd r;
    rd_init(&r, p->data + 1, CRC_SIZE - 1);
    uint32_t want = rd_be32(&r);
    *p = skip(*p, CRC_SIZE);
    if (crc32_of(p->data, p->len) != want)
        return ML_DROP_CRC;
    return p->len > 0 ? ML_DROP_NONE : ML_DROP_EMPTY;
}

static enum ml_drop open_compress(struct span *p, struct ml_scratch *s)
{
    struct rd r;
    struct span packed;

    if (p->data[0] != ML_COMPRESS)
        return ML_DROP_NONE;
    rd_init(&r, p->data + 1, p->len - 1);
    if (ml_compress_read(&r, &packed))
        return ML_DROP_CODEC;
    if (prepare(&s->expanded))
        return ML_DROP_BUDGET;
    int err = lzw_decode(packed.data, packed.len, &s->expanded);
    if (err)
        return err == ERR_TOOBIG ? ML_DROP_BOMB : ML_DROP_CODEC;
    *p = written(&s->expanded);
    return p->len > 0 ? ML_DROP_NONE : ML_DROP_EMPTY;
}

static bool is_wrapper(uint8_t type)
{
    return type == ML_COMPOUND || type == ML_COMPRESS || type == ML_CRC ||
           type == ML_LABEL;
}

static bool is_message(uint8_t type)
{
    return type <= ML_DEAD || type == ML_USER || type == ML_NACK;
}

static enum ml_drop split(struct span p, struct ml_parts *parts, size_t *n_odd)
{
    struct rd sizes, bytes;

    rd_init(&sizes, p.data + 1, p.len - 1);
    size_t n = rd_u8(&sizes);
    size_t head = COMPOUND_HEAD_SIZE + n * COMPOUND_PART_SIZE;
    if (rd_err(&sizes) || head > p.len)
        return ML_DROP_CODEC;
    rd_init(&bytes, p.data + head, p.len - head);
    for (size_t i = 0; i < n; i++) {
        size_t len = rd_be16(&sizes);
        const uint8_t *part = rd_bytes(&bytes, len);
        if (!part) {
            parts->is_cut = true;
            break;
        }
        if (len == 0)
            continue;
        if (is_wrapper(part[0]))
            return ML_DROP_NESTING;
        if (is_message(part[0]))
            parts->part[parts->n++] = span_of(part, len);
        else
            ++*n_odd;
    }
    return ML_DROP_NONE;
}

static enum ml_drop open_parts(struct span p, struct ml_parts *parts,
                               size_t *n_odd)
{
    uint8_t type = p.data[0];

    if (type == ML_COMPOUND)
        return split(p, parts, n_odd);
    if (is_wrapper(type))
        return ML_DROP_NESTING;
    if (!is_message(type))
        return ML_DROP_TYPE;
    parts->part[parts->n++] = p;
    return ML_DROP_NONE;
}

enum ml_drop ml_packet_open(const struct ml_wire *wire, const void *data,
                            size_t len, struct ml_scratch *s,
                            struct ml_parts *parts, size_t *n_odd)
{
    struct span p = span_of(data, len);
    size_t odd = 0;

    parts->n = 0;
    parts->is_cut = false;
    if (n_odd)
        *n_odd = 0;
    if (len == 0)
        return ML_DROP_EMPTY;
    if (len > ML_PACKET_MAX)
        return ML_DROP_TOOBIG;
    enum ml_drop why = open_label(wire->label, &p);
    if (!why)
        why = open_seal(wire, &p, s);
    if (!why)
        why = open_crc(&p);
    if (!why)
        why = open_compress(&p, s);
    if (!why)
        why = open_parts(p, parts, &odd);
    if (why)
        parts->n = 0;
    else if (n_odd)
        *n_odd = odd;
    return why;
}

/* --- closing ------------------------------------------------------------- */

static size_t label_size(const struct ml_wire *wire)
{
    return wire->label.len > 0 ? 2 + wire->label.len : 0;
}

size_t ml_packet_room(const struct ml_wire *wire, size_t packet_max, size_t n)
{
    size_t cost = label_size(wire) + CRC_SIZE;

    if (wire->keys)
        cost += ML_SEAL_OVERHEAD;
    if (n > 1)
        cost += COMPOUND_HEAD_SIZE + n * COMPOUND_PART_SIZE;
    return packet_max > cost ? packet_max - cost : 0;
}

static int put_parts(struct wr *w, const struct span *parts, size_t n)
{
    if (n > 1) {
        wr_u8(w, ML_COMPOUND);
        wr_u8(w, (uint8_t)n);
        for (size_t i = 0; i < n; i++) {
            if (parts[i].len > UINT16_MAX)
                return ERR_TOOBIG;
            wr_be16(w, (uint16_t)parts[i].len);
        }
    }
    for (size_t i = 0; i < n; i++)
        wr_bytes(w, parts[i].data, parts[i].len);
    return wr_err(w);
}

/* Bytes of the compress message around `n` packed ones. */
static size_t compress_head(size_t n)
{
    return COMPRESS_HEAD + (n < 32 ? 1 : n <= UINT16_MAX ? 3 : 5);
}

bool ml_compress(struct span plain, void *room, size_t size,
                 struct span *packed)
{
    struct wr w;

    /* No more room than would be a gain, so that the encoder gives up where
     * there is none. */
    if (plain.len <= COMPRESS_HEAD)
        return false;
    if (size > plain.len - COMPRESS_HEAD)
        size = plain.len - COMPRESS_HEAD;
    wr_init_fixed(&w, room, size);
    lzw_encode(plain.data, plain.len, &w);
    *packed = written(&w);
    return !wr_err(&w) && compress_head(w.len) + w.len < plain.len;
}

/* The message or the compound, compressed or not, with room for a checksum in
 * front, in s->clear. */
static int put_inner(const struct span *parts, size_t n, bool compress,
                     size_t head, struct ml_scratch *s)
{
    struct wr *w = &s->clear;
    struct span packed;

    if (!wr_space(w, head) && head > 0)
        return wr_err(w);
    int err = put_parts(w, parts, n);
    if (err || !compress)
        return err;
    if (ml_compress(skip(written(w), head), s->expanded.data, s->expanded.size,
                    &packed)) {
        w->len = head;
        wr_u8(w, ML_COMPRESS);
        ml_compress_write(w, packed);
    }
    return wr_err(w);
}

static void put_crc(struct wr *w)
{
    struct wr head;

    wr_init_fixed(&head, w->data, CRC_SIZE);
    wr_u8(&head, ML_CRC);
    wr_be32(&head, crc32_of(w->data + CRC_SIZE, w->len - CRC_SIZE));
}

static int put_outer(const struct ml_wire *wire, struct span inner,
                     struct wr *out)
{
    if (wire->label.len > 0) {
        wr_u8(out, ML_LABEL);
        wr_u8(out, (uint8_t)wire->label.len);
        wr_bytes(out, wire->label.data, wire->label.len);
    }
    if (wr_err(out))
        return wr_err(out);
    if (wire->keys)
        return ml_seal(wire->keys, wire->label, inner, out);
    wr_bytes(out, inner.data, inner.len);
    return wr_err(out);
}

int ml_packet_close(const struct ml_wire *wire, const struct span *parts,
                    size_t n, bool compress, bool crc, struct ml_scratch *s,
                    struct wr *out)
{
    size_t before = out->len;

    assert(n >= 1 && n <= ML_PARTS_MAX);
    assert(wire->label.len <= ML_LABEL_MAX);
    for (size_t i = 0; i < n; i++)
        assert(parts[i].len > 0);

    int err = prepare(&s->clear);
    if (!err)
        err = prepare(&s->expanded);
    if (!err)
        err = put_inner(parts, n, compress, crc ? CRC_SIZE : 0, s);
    if (!err && crc)
        put_crc(&s->clear);
    if (!err)
        err = put_outer(wire, written(&s->clear), out);
    if (err)
        out->len = before;
    return err;
}
