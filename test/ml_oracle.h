/* test/ml_oracle.h - a second opinion on messages: msgpack-c's unpacker.
 *
 * oracle_make() makes a message of a random type in odd but mostly legal
 * encodings: any width, any order, repeated and unknown keys, sometimes a
 * wrong kind or a broken byte. oracle_read() says whether it is to be accepted
 * and what it holds, as text; oracle_text() puts what ml_msg.c decoded into the
 * same form. The rules stand here a second time, on purpose.
 */
#ifndef TEST_ML_ORACLE_H
#define TEST_ML_ORACLE_H

#include <msgpack.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/rng.h"
#include "proto/ml_msg.h"
#include "test/check.h"

enum oracle_kind { ORACLE_U16, ORACLE_U32, ORACLE_BOOL, ORACLE_RAW };

/* Of each type, the keys in the order of the text. */
struct oracle_field {
    const char *key;
    enum oracle_kind kind;
    size_t len_max;         /* of raw; 0: any */
    bool is_addr, is_empty; /* raw: 4 or 16 bytes, or none */
};

static const struct oracle_field oracle_ping[] = {
    {"SeqNo", ORACLE_U32, 0, false, false},
    {"Node", ORACLE_RAW, 128, false, false},
    {"SourceAddr", ORACLE_RAW, 0, true, true},
    {"SourceNode", ORACLE_RAW, 128, false, false},
    {"SourcePort", ORACLE_U16, 0, false, false},
    {0},
};
static const struct oracle_field oracle_indirect[] = {
    {"SeqNo", ORACLE_U32, 0, false, false},
    {"Target", ORACLE_RAW, 0, true, false},
    {"Port", ORACLE_U16, 0, false, false},
    {"Node", ORACLE_RAW, 128, false, false},
    {"Nack", ORACLE_BOOL, 0, false, false},
    {"SourceAddr", ORACLE_RAW, 0, true, true},
    {"SourceNode", ORACLE_RAW, 128, false, false},
    {"SourcePort", ORACLE_U16, 0, false, false},
    {0},
};
static const struct oracle_field oracle_ack[] = {
    {"SeqNo", ORACLE_U32, 0, false, false},
    {"Payload", ORACLE_RAW, 0, false, false},
    {0},
};
static const struct oracle_field oracle_accusation[] = {
    {"Incarnation", ORACLE_U32, 0, false, false},
    {"Node", ORACLE_RAW, 128, false, false},
    {"From", ORACLE_RAW, 128, false, false},
    {0},
};
static const struct oracle_field oracle_alive[] = {
    {"Incarnation", ORACLE_U32, 0, false, false},
    {"Node", ORACLE_RAW, 0, false, false},
    {"Addr", ORACLE_RAW, 0, false, false},
    {"Port", ORACLE_U16, 0, false, false},
    {"Meta", ORACLE_RAW, 0, false, false},
    {"Vsn", ORACLE_RAW, 0, false, false},
    {0},
};
static const struct oracle_field oracle_nack[] = {
    {"SeqNo", ORACLE_U32, 0, false, false},
    {0},
};
static const struct oracle_field oracle_err[] = {
    {"Error", ORACLE_RAW, 0, false, false},
    {0},
};

static const struct oracle_field *const oracle_types[] = {
    [ML_PING] = oracle_ping,   [ML_INDIRECT_PING] = oracle_indirect,
    [ML_ACK] = oracle_ack,     [ML_SUSPECT] = oracle_accusation,
    [ML_ALIVE] = oracle_alive, [ML_DEAD] = oracle_accusation,
    [ML_NACK] = oracle_nack,   [ML_ERR] = oracle_err,
};
#define ORACLE_TYPES (sizeof(oracle_types) / sizeof(*oracle_types))

#define ORACLE_TEXT_SIZE 16384

/* --- text --------------------------------------------------------------- */

struct oracle_out {
    char text[ORACLE_TEXT_SIZE];
    size_t len;
};

static void oracle_put_uint(struct oracle_out *o, uint64_t v)
{
    o->len += (size_t)snprintf(o->text + o->len, ORACLE_TEXT_SIZE - o->len,
                               "%" PRIu64 " ", v);
}

static void oracle_put_raw(struct oracle_out *o, const void *data, size_t len)
{
    const uint8_t *p = data;
    check_true(o->len + 2 * len + 2 < ORACLE_TEXT_SIZE);
    for (size_t i = 0; i < len; i++) {
        o->text[o->len++] = "0123456789abcdef"[p[i] >> 4];
        o->text[o->len++] = "0123456789abcdef"[p[i] & 15];
    }
    memcpy(o->text + o->len, " ", 2);
    o->len++;
}

static void oracle_put_span(struct oracle_out *o, struct span s)
{
    oracle_put_raw(o, s.data, s.len);
}

static void oracle_text(const struct ml_msg *m, struct oracle_out *o)
{
    const struct ml_indirect_ping *i = &m->indirect_ping;
    o->len = 0;
    o->text[0] = '\0';
    switch (m->type) {
    case ML_PING:
        oracle_put_uint(o, m->ping.seq_no);
        oracle_put_span(o, m->ping.node);
        oracle_put_span(o, m->ping.source_addr);
        oracle_put_span(o, m->ping.source_node);
        oracle_put_uint(o, m->ping.source_port);
        break;
    case ML_INDIRECT_PING:
        oracle_put_uint(o, i->seq_no);
        oracle_put_span(o, i->target);
        oracle_put_uint(o, i->port);
        oracle_put_span(o, i->node);
        oracle_put_uint(o, i->wants_nack);
        oracle_put_span(o, i->source_addr);
        oracle_put_span(o, i->source_node);
        oracle_put_uint(o, i->source_port);
        break;
    case ML_ACK:
        oracle_put_uint(o, m->ack.seq_no);
        oracle_put_span(o, m->ack.payload);
        break;
    case ML_SUSPECT:
    case ML_DEAD:
        oracle_put_uint(o, m->accusation.incarnation);
        oracle_put_span(o, m->accusation.node);
        oracle_put_span(o, m->accusation.from);
        break;
    case ML_ALIVE:
        oracle_put_uint(o, m->alive.incarnation);
        oracle_put_span(o, m->alive.node);
        oracle_put_span(o, m->alive.addr);
        oracle_put_uint(o, m->alive.port);
        oracle_put_span(o, m->alive.meta);
        oracle_put_span(o, m->alive.vsn);
        break;
    case ML_NACK:
        oracle_put_uint(o, m->nack.seq_no);
        break;
    case ML_ERR:
        oracle_put_span(o, m->err);
        break;
    }
}

/* --- the verdict of msgpack-c ------------------------------------------- */

struct oracle_value {
    uint64_t number;
    const void *data;
    size_t len;
};

static bool oracle_raw(const msgpack_object *o, struct oracle_value *v)
{
    if (o->type == MSGPACK_OBJECT_STR)
        *v = (struct oracle_value){0, o->via.str.ptr, o->via.str.size};
    else if (o->type == MSGPACK_OBJECT_BIN)
        *v = (struct oracle_value){0, o->via.bin.ptr, o->via.bin.size};
    else if (o->type == MSGPACK_OBJECT_NIL)
        *v = (struct oracle_value){0};
    else
        return false;
    return true;
}

static bool oracle_number(const msgpack_object *o, uint64_t max,
                          struct oracle_value *v)
{
    v->number = 0;
    if (o->type == MSGPACK_OBJECT_NIL)
        return true;
    if (o->type == MSGPACK_OBJECT_BOOLEAN && max == 1)
        v->number = o->via.boolean;
    else if (o->type == MSGPACK_OBJECT_POSITIVE_INTEGER)
        v->number = o->via.u64;
    else
        return false;
    return v->number <= max;
}

static bool oracle_value(const msgpack_object *o, enum oracle_kind kind,
                         struct oracle_value *v)
{
    switch (kind) {
    case ORACLE_U16:
        return oracle_number(o, 65535, v);
    case ORACLE_U32:
        return oracle_number(o, 4294967295u, v);
    case ORACLE_BOOL:
        return oracle_number(o, 1, v);
    case ORACLE_RAW:
        return oracle_raw(o, v);
    }
    return false;
}

static unsigned oracle_depth(const msgpack_object *o)
{
    unsigned deepest = 0;
    if (o->type == MSGPACK_OBJECT_ARRAY) {
        for (size_t i = 0; i < o->via.array.size; i++) {
            unsigned d = oracle_depth(&o->via.array.ptr[i]);
            deepest = d > deepest ? d : deepest;
        }
        return deepest + 1;
    }
    if (o->type == MSGPACK_OBJECT_MAP) {
        for (size_t i = 0; i < 2 * o->via.map.size; i++) {
            const msgpack_object_kv *kv = &o->via.map.ptr[i / 2];
            unsigned d = oracle_depth(i % 2 ? &kv->val : &kv->key);
            deepest = d > deepest ? d : deepest;
        }
        return deepest + 1;
    }
    return 0;
}

/* All values of a key must be good, the last one counts. */
static bool oracle_pairs(const msgpack_object *map,
                         const struct oracle_field *fields,
                         struct oracle_value *values)
{
    if (map->via.map.size > 64)
        return false;
    for (size_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        struct oracle_value key;
        if (!oracle_raw(&kv->key, &key) || key.len > 32)
            return false;
        size_t k = 0;
        while (fields[k].key && (strlen(fields[k].key) != key.len ||
                                 memcmp(fields[k].key, key.data, key.len) != 0))
            k++;
        if (!fields[k].key) {
            if (oracle_depth(&kv->val) > 8)
                return false;
        } else if (!oracle_value(&kv->val, fields[k].kind, &values[k])) {
            return false;
        }
    }
    return true;
}

static bool oracle_fits(const struct oracle_field *f,
                        const struct oracle_value *v)
{
    if (f->is_addr && v->len != 4 && v->len != 16)
        return f->is_empty && v->len == 0;
    return !f->len_max || v->len <= f->len_max;
}

/* Is it to be accepted, and what does it hold? */
static bool oracle_read(const uint8_t *data, size_t len, struct oracle_out *o)
{
    const struct oracle_field *fields = oracle_types[data[0]];
    struct oracle_value values[8] = {0};
    size_t off = 0;
    msgpack_unpacked u;
    msgpack_unpacked_init(&u);
    msgpack_unpack_return got =
        msgpack_unpack_next(&u, (const char *)data + 1, len - 1, &off);
    bool is_good = got == MSGPACK_UNPACK_SUCCESS;
    if (is_good && u.data.type == MSGPACK_OBJECT_MAP)
        is_good = oracle_pairs(&u.data, fields, values);
    else if (is_good)
        is_good = u.data.type == MSGPACK_OBJECT_NIL;

    o->len = 0;
    o->text[0] = '\0';
    for (size_t k = 0; is_good && fields[k].key; k++) {
        is_good = oracle_fits(&fields[k], &values[k]);
        if (is_good && fields[k].kind == ORACLE_RAW)
            oracle_put_raw(o, values[k].data, values[k].len);
        else if (is_good)
            oracle_put_uint(o, values[k].number);
    }
    msgpack_unpacked_destroy(&u);
    return is_good;
}

/* --- messages in odd encodings ------------------------------------------ */

static void oracle_make_be(struct wr *w, uint64_t v, unsigned bytes)
{
    while (bytes-- > 0)
        wr_u8(w, (uint8_t)(v >> 8 * bytes));
}

/* In any width that holds it, of either sign. */
static void oracle_make_uint(struct wr *w, struct rng *rng, uint64_t v)
{
    unsigned log2 = (unsigned)rng_below(rng, 4);
    bool is_signed = rng_below(rng, 2);
    while (log2 < 3 && v >> ((8u << log2) - is_signed))
        log2++;
    if (v < 128 && rng_below(rng, 2)) {
        wr_u8(w, (uint8_t)v);
        return;
    }
    wr_u8(w, (uint8_t)((is_signed ? 0xd0 : 0xcc) + log2));
    oracle_make_be(w, v, 1u << log2);
}

static void oracle_make_raw(struct wr *w, struct rng *rng, const void *data,
                            size_t len)
{
    unsigned log2 = (unsigned)rng_below(rng, 3);
    if (log2 == 0 && len > 255)
        log2 = 1;
    if (len < 32 && rng_below(rng, 2)) {
        wr_u8(w, (uint8_t)(0xa0 + len));
    } else {
        wr_u8(w, (uint8_t)((rng_below(rng, 2) ? 0xd9 : 0xc4) + log2));
        oracle_make_be(w, len, 1u << log2);
    }
    wr_bytes(w, data, len);
}

/* Any value at all, nested up to `depth` times. */
static void oracle_make_any(struct wr *w, struct rng *rng, unsigned depth)
{
    static const uint8_t zeros[64];
    unsigned what = (unsigned)rng_below(rng, depth ? 10 : 7);
    size_t n = rng_below(rng, 4);
    switch (what) {
    case 0:
        wr_u8(w, 0xc0);
        break;
    case 1:
        wr_u8(w, (uint8_t)(0xc2 + rng_below(rng, 2)));
        break;
    case 2:
        oracle_make_uint(w, rng, rng_next(rng) >> rng_below(rng, 64));
        break;
    case 3: /* negative */
        wr_u8(w, (uint8_t)(0xe0 + rng_below(rng, 32)));
        break;
    case 4: /* float */
        wr_u8(w, 0xca);
        wr_be32(w, (uint32_t)rng_next(rng));
        break;
    case 5: /* ext */
        wr_u8(w, 0xc7);
        wr_u8(w, (uint8_t)n);
        wr_bytes(w, zeros, n + 1);
        break;
    case 6:
        oracle_make_raw(w, rng, zeros, rng_below(rng, 64));
        break;
    default:
        wr_u8(w, what == 7 ? 0xdc : (uint8_t)((what == 8 ? 0x90 : 0x80) + n));
        if (what == 7)
            wr_be16(w, (uint16_t)n);
        for (size_t i = 0; i < n * (what == 9 ? 2 : 1); i++)
            oracle_make_any(w, rng, depth - 1);
    }
}

static void oracle_make_field(struct wr *w, struct rng *rng,
                              const struct oracle_field *f)
{
    static const size_t lens[] = {0, 1, 4, 4, 6, 16, 16, 31, 32, 128, 129, 300};
    uint8_t raw[300];
    if (rng_below(rng, 200) == 0) {
        oracle_make_any(w, rng, 2);
        return;
    }
    if (rng_below(rng, 16) == 0) {
        wr_u8(w, 0xc0);
        return;
    }
    uint64_t any = rng_next(rng) >> 32 >> rng_below(rng, 32);
    size_t len = lens[rng_below(rng, f->is_addr ? 7 : 10)];
    switch (f->kind) {
    case ORACLE_U16:
        oracle_make_uint(w, rng, any >> (rng_below(rng, 64) ? 16 : 12));
        break;
    case ORACLE_U32:
        oracle_make_uint(w, rng, rng_below(rng, 64) ? any : any << 2);
        break;
    case ORACLE_BOOL:
        if (rng_below(rng, 2))
            wr_u8(w, (uint8_t)(0xc2 + rng_below(rng, 2)));
        else
            oracle_make_uint(w, rng, rng_below(rng, 33) / 16);
        break;
    case ORACLE_RAW:
        if (f->is_addr && rng_below(rng, 8))
            len = len > 8 ? 16 : 4;
        if (rng_below(rng, 100) == 0)
            len = lens[rng_below(rng, 12)];
        for (size_t i = 0; i < len; i++)
            raw[i] = (uint8_t)rng_next(rng);
        oracle_make_raw(w, rng, raw, len);
        break;
    }
}

static void oracle_make_head(struct wr *w, struct rng *rng, size_t n)
{
    unsigned width = (unsigned)rng_below(rng, 3);
    if (width == 0 && n < 16) {
        wr_u8(w, (uint8_t)(0x80 + n));
    } else if (width < 2) {
        wr_u8(w, 0xde);
        wr_be16(w, (uint16_t)n);
    } else {
        wr_u8(w, 0xdf);
        wr_be32(w, (uint32_t)n);
    }
}

/* Might a reader that believes heads take gigabytes for it? msgpack-c does. */
static bool oracle_is_hungry(const uint8_t *data, size_t len)
{
    for (size_t i = 1; i + 2 < len; i++) {
        bool is_head = data[i] == 0xdd || data[i] == 0xdf;
        if (is_head && (data[i + 1] || data[i + 2]))
            return true;
    }
    return false;
}

/* One bit, but not where msgpack-c would suffer from it. */
static void oracle_flip(struct wr *w, struct rng *rng)
{
    size_t at = 1 + rng_below(rng, w->len - 1);
    uint8_t bit = (uint8_t)(1u << rng_below(rng, 8));
    w->data[at] ^= bit;
    if (oracle_is_hungry(w->data, w->len))
        w->data[at] ^= bit;
}

static void oracle_make(struct wr *w, struct rng *rng)
{
    static const char *const odd[] = {"",     "seqno", "Seq",  "SeqNoo",
                                      "NODE", "Extra", "Names"};
    static const char long_key[] = "a key that has thirty-two bytes!!";
    size_t type;
    do
        type = rng_below(rng, ORACLE_TYPES);
    while (!oracle_types[type]);
    const struct oracle_field *fields = oracle_types[type];
    size_t n_fields = 0;
    while (fields[n_fields].key)
        n_fields++;

    /* Usually each key once, from a random one on; then some at random. */
    size_t first = rng_below(rng, n_fields);
    size_t once = rng_below(rng, 8) ? n_fields : rng_below(rng, n_fields);
    size_t more = rng_below(rng, 2) ? rng_below(rng, 5) : 0;
    if (rng_below(rng, 500) == 0)
        more = 56 + rng_below(rng, 10);
    wr_u8(w, (uint8_t)type);
    oracle_make_head(w, rng, once + more);
    for (size_t i = 0; i < once + more; i++) {
        size_t k = i < once ? first + i : rng_next(rng) >> 1;
        const struct oracle_field *f = &fields[k % n_fields];
        if (i < once || rng_below(rng, 2)) {
            oracle_make_raw(w, rng, f->key, strlen(f->key));
            oracle_make_field(w, rng, f);
        } else if (rng_below(rng, 100) == 0) {
            oracle_make_any(w, rng, 1);
            oracle_make_any(w, rng, 1);
        } else {
            const char *key = odd[rng_below(rng, sizeof(odd) / sizeof(*odd))];
            bool is_long = rng_below(rng, 50) == 0;
            oracle_make_raw(w, rng, is_long ? long_key : key,
                            is_long ? 32 + rng_below(rng, 2) : strlen(key));
            oracle_make_any(w, rng, rng_below(rng, 100) ? 3 : 10);
        }
    }
    if (rng_below(rng, 8) == 0)
        wr_u8(w, 0x55); /* bytes behind it are ignored */
    if (rng_below(rng, 8) == 0)
        w->len = 1 + rng_below(rng, w->len);
    else if (rng_below(rng, 8) == 0 && w->len > 1)
        oracle_flip(w, rng);
}

#endif /* TEST_ML_ORACLE_H */
