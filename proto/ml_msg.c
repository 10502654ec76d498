#include "proto/ml_msg.h"

#include <assert.h>
#include <msgpack.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/msgpack_go.h"
#include "proto/msgpack_rd.h"

_Static_assert(ML_KEYS_MAX == GO_KEYS_MAX, "one limit");
_Static_assert(ML_KEY_MAX == GO_KEY_MAX, "one limit");

/* Every message is a table of its fields, in the order in which they are
 * written, which is that of their keys; one reader and one writer walk it. */
enum kind {
    KIND_U16,
    KIND_U32,
    KIND_COUNT, /* uint32_t; a signed int on Go's side, so half as large */
    KIND_STATE, /* uint8_t; an int of which four values mean something */
    KIND_ALGO,  /* nothing kept; only 0 is known */
    KIND_BOOL,
    KIND_TEXT,  /* span; empty is written as a0 */
    KIND_BYTES, /* span; empty is written as c0, Go's nil */
};

struct field {
    const char *key;
    uint8_t key_len;
    uint8_t kind;
    bool is_optional; /* not written if it is zero or empty */
    size_t offset;    /* in the message's struct */
};

#define FIELD_AT(k, type, member, name, optional)                          \
    {                                                                      \
        .key = (name), .key_len = sizeof(name) - 1, .kind = (k),           \
        .offset = offsetof(struct type, member), .is_optional = (optional) \
    }
#define FIELD(k, type, member, name)    FIELD_AT(k, type, member, name, false)
#define OPTIONAL(k, type, member, name) FIELD_AT(k, type, member, name, true)

#define FIELDS_MAX 8

struct table {
    size_t n;
    struct field fields[FIELDS_MAX];
};

/* Messages that consist of one value. */
struct one_text {
    struct span value;
};
struct one_count {
    uint32_t value;
};

static const struct table ping_table = {
    5,
    {
        FIELD(KIND_TEXT, ml_ping, node, "Node"),
        FIELD(KIND_U32, ml_ping, seq_no, "SeqNo"),
        OPTIONAL(KIND_BYTES, ml_ping, source_addr, "SourceAddr"),
        OPTIONAL(KIND_TEXT, ml_ping, source_node, "SourceNode"),
        OPTIONAL(KIND_U16, ml_ping, source_port, "SourcePort"),
    },
};

static const struct table indirect_ping_table = {
    8,
    {
        FIELD(KIND_BOOL, ml_indirect_ping, wants_nack, "Nack"),
        FIELD(KIND_TEXT, ml_indirect_ping, node, "Node"),
        FIELD(KIND_U16, ml_indirect_ping, port, "Port"),
        FIELD(KIND_U32, ml_indirect_ping, seq_no, "SeqNo"),
        OPTIONAL(KIND_BYTES, ml_indirect_ping, source_addr, "SourceAddr"),
        OPTIONAL(KIND_TEXT, ml_indirect_ping, source_node, "SourceNode"),
        OPTIONAL(KIND_U16, ml_indirect_ping, source_port, "SourcePort"),
        FIELD(KIND_BYTES, ml_indirect_ping, target, "Target"),
    },
};

static const struct table ack_table = {
    2,
    {
        FIELD(KIND_BYTES, ml_ack, payload, "Payload"),
        FIELD(KIND_U32, ml_ack, seq_no, "SeqNo"),
    },
};

static const struct table nack_table = {
    1,
    {FIELD(KIND_U32, ml_nack, seq_no, "SeqNo")},
};

static const struct table accusation_table = {
    3,
    {
        FIELD(KIND_TEXT, ml_accusation, from, "From"),
        FIELD(KIND_U32, ml_accusation, incarnation, "Incarnation"),
        FIELD(KIND_TEXT, ml_accusation, node, "Node"),
    },
};

static const struct table alive_table = {
    6,
    {
        FIELD(KIND_BYTES, ml_alive, addr, "Addr"),
        FIELD(KIND_U32, ml_alive, incarnation, "Incarnation"),
        FIELD(KIND_BYTES, ml_alive, meta, "Meta"),
        FIELD(KIND_TEXT, ml_alive, node, "Node"),
        FIELD(KIND_U16, ml_alive, port, "Port"),
        FIELD(KIND_BYTES, ml_alive, vsn, "Vsn"),
    },
};

/* The same record as it stands in a push/pull: its name has another key. */
static const struct table entry_table = {
    7,
    {
        FIELD(KIND_BYTES, ml_alive, addr, "Addr"),
        FIELD(KIND_U32, ml_alive, incarnation, "Incarnation"),
        FIELD(KIND_BYTES, ml_alive, meta, "Meta"),
        FIELD(KIND_TEXT, ml_alive, node, "Name"),
        FIELD(KIND_U16, ml_alive, port, "Port"),
        FIELD(KIND_STATE, ml_alive, state, "State"),
        FIELD(KIND_BYTES, ml_alive, vsn, "Vsn"),
    },
};

static const struct table push_pull_table = {
    3,
    {
        FIELD(KIND_BOOL, ml_push_pull, is_join, "Join"),
        FIELD(KIND_COUNT, ml_push_pull, n_nodes, "Nodes"),
        FIELD(KIND_COUNT, ml_push_pull, user_state_len, "UserStateLen"),
    },
};

static const struct table user_table = {
    1,
    {FIELD(KIND_COUNT, one_count, value, "UserMsgLen")},
};

static const struct table err_table = {
    1,
    {FIELD(KIND_TEXT, one_text, value, "Error")},
};

static const struct table compress_table = {
    2,
    {
        {.key = "Algo", .key_len = 4, .kind = KIND_ALGO},
        FIELD(KIND_BYTES, one_text, value, "Buf"),
    },
};

/* --- reading ------------------------------------------------------------ */

static void *place(void *base, const struct field *f)
{
    return (char *)base + f->offset;
}

static uint8_t read_state(struct rd *r)
{
    if (go_read_nil(r))
        return ML_STATE_ALIVE;
    int64_t v = msgpack_rd_int(r);
    return v >= ML_STATE_ALIVE && v <= ML_STATE_LEFT ? (uint8_t)v : UINT8_MAX;
}

static void read_value(struct rd *r, const struct field *f, void *to)
{
    switch ((enum kind)f->kind) {
    case KIND_U16:
        *(uint16_t *)to = (uint16_t)go_read_uint(r, UINT16_MAX, ERR_BAD);
        break;
    case KIND_U32:
        *(uint32_t *)to = (uint32_t)go_read_uint(r, UINT32_MAX, ERR_BAD);
        break;
    case KIND_COUNT:
        *(uint32_t *)to = (uint32_t)go_read_uint(r, INT32_MAX, ERR_TOOBIG);
        break;
    case KIND_STATE:
        *(uint8_t *)to = read_state(r);
        break;
    case KIND_ALGO:
        go_read_uint(r, 0, ERR_BAD);
        break;
    case KIND_BOOL:
        *(bool *)to = go_read_bool(r);
        break;
    case KIND_TEXT:
    case KIND_BYTES:
        *(struct span *)to = go_read_raw(r);
        break;
    }
}

/* The field of this key, or NULL. Whoever writes in order gets it at once: it
 * is the one at `guess`. */
static const struct field *find(const struct table *t, size_t guess,
                                struct span key)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct field *f = &t->fields[(guess + i) % t->n];
        if (key.len && f->key_len == key.len &&
            !memcmp(f->key, key.data, key.len))
            return f;
    }
    return NULL;
}

/* What we do not know is passed over, but not without end: a stream whose
 * bytes trickle in is read again from the start of the map at each of them. */
static void skip(struct rd *r, size_t *allowance)
{
    size_t left = rd_left(r);
    struct rd part;
    rd_init(&part, r->data + r->pos, left < *allowance ? left : *allowance);
    msgpack_rd_skip(&part);
    if (rd_err(&part))
        rd_fail(r, rd_err(&part) == ERR_TRUNC && left >= *allowance
                       ? ERR_TOOBIG
                       : rd_err(&part));
    else
        rd_bytes(r, part.pos);
    *allowance -= part.pos;
}

/* Read a map, or a lone nil which is an empty one, into what lies at `base`
 * and is zero. */
static int read_fields(struct rd *r, const struct table *t, void *base)
{
    size_t guess = 0;
    size_t allowance = ML_UNKNOWN_MAX;
    size_t n = go_read_map(r, ML_KEYS_MAX);
    for (size_t i = 0; i < n && !rd_err(r); i++) {
        struct span key = go_read_key(r);
        if (rd_err(r))
            break;
        const struct field *f = find(t, guess, key);
        if (f) {
            read_value(r, f, place(base, f));
            guess = (size_t)(f - t->fields) + 1;
        } else {
            skip(r, &allowance);
        }
    }
    return rd_err(r);
}

static bool is_addr_len(size_t len)
{
    return len == 4 || len == 16;
}

static int check_name(struct span name)
{
    return name.len <= ML_NAME_MAX ? 0 : ERR_TOOBIG;
}

static int read_ping(struct rd *r, struct ml_ping *p)
{
    int err = read_fields(r, &ping_table, p);
    if (!err && p->source_addr.len > 0 && !is_addr_len(p->source_addr.len))
        err = ERR_BAD;
    if (!err)
        err = check_name(p->node);
    return err ? err : check_name(p->source_node);
}

static int read_indirect_ping(struct rd *r, struct ml_indirect_ping *p)
{
    int err = read_fields(r, &indirect_ping_table, p);
    if (!err && p->source_addr.len > 0 && !is_addr_len(p->source_addr.len))
        err = ERR_BAD;
    if (!err && !is_addr_len(p->target.len))
        err = ERR_BAD;
    if (!err)
        err = check_name(p->node);
    return err ? err : check_name(p->source_node);
}

static int read_accusation(struct rd *r, struct ml_accusation *a)
{
    int err = read_fields(r, &accusation_table, a);
    if (!err)
        err = check_name(a->node);
    return err ? err : check_name(a->from);
}

static int read_body(struct rd *r, struct ml_msg *m)
{
    switch (m->type) {
    case ML_PING:
        return read_ping(r, &m->ping);
    case ML_INDIRECT_PING:
        return read_indirect_ping(r, &m->indirect_ping);
    case ML_ACK:
        return read_fields(r, &ack_table, &m->ack);
    case ML_SUSPECT:
    case ML_DEAD:
        return read_accusation(r, &m->accusation);
    case ML_ALIVE:
        return read_fields(r, &alive_table, &m->alive);
    case ML_USER:
        m->user = span_of(r->data + r->pos, rd_left(r));
        return 0;
    case ML_NACK:
        return read_fields(r, &nack_table, &m->nack);
    case ML_ERR:
        return read_fields(r, &err_table, &m->err);
    default:
        return ERR_BAD;
    }
}

int ml_msg_decode(const void *data, size_t len, struct ml_msg *out)
{
    struct rd r;
    rd_init(&r, data, len);
    struct ml_msg m = {.type = rd_u8(&r)};
    int err = rd_err(&r) ? rd_err(&r) : read_body(&r, &m);
    if (!err)
        *out = m;
    return err;
}

int ml_push_pull_read(struct rd *r, struct ml_push_pull *out)
{
    struct ml_push_pull h = {0};
    if (!read_fields(r, &push_pull_table, &h))
        *out = h;
    return rd_err(r);
}

int ml_entry_read(struct rd *r, struct ml_alive *out)
{
    struct ml_alive a = {0};
    if (!read_fields(r, &entry_table, &a))
        *out = a;
    return rd_err(r);
}

int ml_user_len_read(struct rd *r, uint32_t *len)
{
    struct one_count c = {0};
    if (!read_fields(r, &user_table, &c))
        *len = c.value;
    return rd_err(r);
}

int ml_compress_read(struct rd *r, struct span *compressed)
{
    struct one_text t = {0};
    if (!read_fields(r, &compress_table, &t))
        *compressed = t.value;
    return rd_err(r);
}

/* --- writing ------------------------------------------------------------ */

static int write_to(void *arg, const char *data, size_t len)
{
    struct wr *w = arg;
    uint8_t *p = wr_space(w, len);
    if (p && len > 0)
        memcpy(p, data, len);
    return p ? 0 : -1;
}

static void pack_raw(msgpack_packer *p, const void *data, size_t len)
{
    msgpack_pack_v4raw(p, len);
    msgpack_pack_v4raw_body(p, data, len);
}

static bool is_zero(const struct field *f, const void *from)
{
    switch ((enum kind)f->kind) {
    case KIND_U16:
        return *(const uint16_t *)from == 0;
    case KIND_TEXT:
    case KIND_BYTES:
        return ((const struct span *)from)->len == 0;
    case KIND_U32:
    case KIND_COUNT:
    case KIND_STATE:
    case KIND_ALGO:
    case KIND_BOOL:
        break;
    }
    return false;
}

static void pack_value(msgpack_packer *p, const struct field *f,
                       const void *from)
{
    const struct span *s = from;
    switch ((enum kind)f->kind) {
    case KIND_U16:
        msgpack_pack_uint16(p, *(const uint16_t *)from);
        break;
    case KIND_U32:
    case KIND_COUNT:
        msgpack_pack_uint32(p, *(const uint32_t *)from);
        break;
    case KIND_STATE:
        msgpack_pack_uint8(p, *(const uint8_t *)from);
        break;
    case KIND_ALGO:
        msgpack_pack_uint8(p, 0);
        break;
    case KIND_BOOL:
        if (*(const bool *)from)
            msgpack_pack_true(p);
        else
            msgpack_pack_false(p);
        break;
    case KIND_BYTES:
        if (s->len == 0)
            msgpack_pack_nil(p);
        else
            pack_raw(p, s->data, s->len);
        break;
    case KIND_TEXT:
        pack_raw(p, s->data, s->len);
        break;
    }
}

/* Left out is what is optional and zero, and a first field if it is empty and
 * `drops_first`. */
static void write_fields(struct wr *w, const struct table *t, const void *base,
                         bool drops_first)
{
    bool is_left_out[FIELDS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct field *f = &t->fields[i];
        bool may = f->is_optional || (i == 0 && drops_first);
        is_left_out[i] = may && is_zero(f, (const char *)base + f->offset);
        n += !is_left_out[i];
    }

    msgpack_packer p;
    msgpack_packer_init(&p, w, write_to);
    msgpack_pack_map(&p, n);
    for (size_t i = 0; i < t->n; i++) {
        const struct field *f = &t->fields[i];
        if (is_left_out[i])
            continue;
        pack_raw(&p, f->key, f->key_len);
        pack_value(&p, f, (const char *)base + f->offset);
    }
}

void ml_msg_encode(struct wr *w, const struct ml_msg *m)
{
    wr_u8(w, m->type);
    switch (m->type) {
    case ML_PING:
        write_fields(w, &ping_table, &m->ping, false);
        break;
    case ML_INDIRECT_PING:
        write_fields(w, &indirect_ping_table, &m->indirect_ping, false);
        break;
    case ML_ACK:
        write_fields(w, &ack_table, &m->ack, m->ack.is_short);
        break;
    case ML_SUSPECT:
    case ML_DEAD:
        write_fields(w, &accusation_table, &m->accusation, false);
        break;
    case ML_ALIVE:
        write_fields(w, &alive_table, &m->alive, false);
        break;
    case ML_USER:
        wr_bytes(w, m->user.data, m->user.len);
        break;
    case ML_NACK:
        write_fields(w, &nack_table, &m->nack, false);
        break;
    case ML_ERR:
        write_fields(w, &err_table, &m->err, false);
        break;
    default:
        assert(false); /* no message is of this type */
    }
}

void ml_push_pull_write(struct wr *w, const struct ml_push_pull *h)
{
    write_fields(w, &push_pull_table, h, false);
}

void ml_entry_write(struct wr *w, const struct ml_alive *entry)
{
    write_fields(w, &entry_table, entry, false);
}

void ml_user_len_write(struct wr *w, uint32_t len)
{
    write_fields(w, &user_table, &(struct one_count){len}, false);
}

void ml_compress_write(struct wr *w, struct span compressed)
{
    write_fields(w, &compress_table, &(struct one_text){compressed}, false);
}

/* --- what a record must be ---------------------------------------------- */

static bool is_name(struct span name)
{
    if (name.len == 0 || name.len > ML_NAME_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        if (name.data[i] < 0x20 || name.data[i] == 0x7f)
            return false;
    }
    return true;
}

static bool is_within(uint8_t min, uint8_t v, uint8_t max)
{
    return min <= v && v <= max;
}

static bool is_vsn(struct span vsn)
{
    const uint8_t *v = vsn.data;
    return vsn.len == ML_VSN_SIZE && v[0] >= 1 && is_within(v[0], v[2], v[1]) &&
           is_within(v[3], v[5], v[4]);
}

/* An address that at most one node can have. */
static bool is_unicast(const struct addr *a)
{
    static const uint8_t zero[16];
    static const uint8_t ones[4] = {255, 255, 255, 255};
    if (a->family == ADDR_NONE || !memcmp(a->ip, zero, sizeof(zero)))
        return false;
    if (a->family == ADDR_V6)
        return a->ip[0] != 0xff;
    return (a->ip[0] & 0xf0) != 0xe0 && memcmp(a->ip, ones, sizeof(ones)) != 0;
}

int ml_alive_check(const struct ml_alive *a)
{
    struct addr addr = ml_addr(a->addr, a->port);
    if (!is_name(a->node) || !is_unicast(&addr) || a->port == 0 ||
        a->meta.len > ML_META_MAX || !is_vsn(a->vsn))
        return ERR_BAD;
    return 0;
}

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

struct addr ml_addr(struct span bytes, uint16_t port)
{
    struct addr a = {.port = port};
    if (bytes.len == 16 && !memcmp(bytes.data, mapped, sizeof(mapped)))
        bytes = span_of(bytes.data + sizeof(mapped), 4);
    if (!is_addr_len(bytes.len))
        return (struct addr){0};
    a.family = bytes.len == 4 ? ADDR_V4 : ADDR_V6;
    memcpy(a.ip, bytes.data, bytes.len);
    return a;
}

struct span ml_addr_bytes(const struct addr *a)
{
    if (a->family == ADDR_V4)
        return span_of(a->ip, 4);
    if (a->family != ADDR_V6)
        return (struct span){0};
    if (!memcmp(a->ip, mapped, sizeof(mapped)))
        return span_of(a->ip + sizeof(mapped), 4);
    return span_of(a->ip, 16);
}
