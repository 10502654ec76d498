#include "proto/ml_stream.h"

#include <assert.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/lzw.h"

#define CLOSE_MAX (20u << 20) /* what Go peers take */

enum {
    SEAL_HEAD_SIZE = 5, /* type and length */
    FIRST_SIZE = 256,   /* of a buffer, as wr's */
    /* Bytes looked at at a time where nothing says how many are needed: what
     * stands behind a message shall not be kept. */
    SLICE = 4096,
};

const struct ml_stream_limits ml_stream_limits_default = {
    .frame_max = 4u << 20,
    .expanded_max = 8u << 20,
    .nodes_max = 65536,
    .user_max = 1u << 20,
};

enum state {
    STATE_LABEL, /* comparing the label header; `scan` bytes are equal */
    STATE_TYPE,
    STATE_LENGTH, /* `scan` bytes of the sealed length are known */
    STATE_SEALED,
    STATE_SINGLE, /* one map and nothing else */
    STATE_COMPRESS,
    STATE_PUSH_PULL, /* its header */
    STATE_ENTRIES,
    STATE_USER, /* its header */
    STATE_TAIL, /* user_left bytes from `scan` on */
    STATE_COMPLETE,
    STATE_FAILED,
};

void ml_stream_in_init(struct ml_stream_in *s, const struct ml_wire *wire,
                       const struct ml_stream_limits *limits,
                       struct ml_budget *budget, bool is_accepted)
{
    *s = (struct ml_stream_in){
        .wire = wire,
        .limits = limits,
        .budget = budget,
        .expects_label = is_accepted && wire->label.len > 0,
    };
    s->state = s->expects_label ? STATE_LABEL : STATE_TYPE;
}

static void give_back(struct ml_stream_in *s)
{
    if (s->charged == 0)
        return;
    assert(s->budget->bytes >= s->charged);
    s->budget->bytes -= s->charged;
    s->charged = 0;
}

static void free_all(struct ml_stream_in *s)
{
    wr_fini(&s->raw);
    wr_fini(&s->clear);
    wr_fini(&s->expanded);
    give_back(s);
}

void ml_stream_in_fini(struct ml_stream_in *s)
{
    free_all(s);
    s->state = STATE_FAILED;
}

static int fail(struct ml_stream_in *s, enum ml_drop why)
{
    free_all(s);
    s->state = STATE_FAILED;
    s->why = why;
    return ERR_BAD;
}

static int fail_nomem(struct ml_stream_in *s)
{
    fail(s, ML_DROP_BUDGET);
    return ERR_NOMEM;
}

static struct span written(const struct wr *w)
{
    return span_of(w->data, w->len);
}

static bool is_message(uint8_t type)
{
    return type == ML_PING || type == ML_ACK || type == ML_ERR ||
           type == ML_USER || type == ML_PUSH_PULL;
}

static bool is_wrapper(uint8_t type)
{
    return type == ML_COMPOUND || type == ML_COMPRESS || type == ML_ENCRYPT ||
           type == ML_CRC || type == ML_LABEL;
}

static int complete(struct ml_stream_in *s, struct span message)
{
    s->message = message;
    s->state = STATE_COMPLETE;
    give_back(s);
    return 1;
}

/* What a wrapper held, of which there can be no more. */
static int finish(struct ml_stream_in *s, struct span message)
{
    if (message.len == 0)
        return fail(s, ML_DROP_EMPTY);
    if (is_wrapper(message.data[0]))
        return fail(s, ML_DROP_NESTING);
    if (!is_message(message.data[0]))
        return fail(s, ML_DROP_TYPE);
    return complete(s, message);
}

/* --- what is held -------------------------------------------------------- */

/* Keep `n` more bytes. Capacity doubles as bytes arrive, up to `max`, and is
 * paid for before it is had. */
static int keep(struct ml_stream_in *s, const uint8_t *data, size_t n,
                size_t max)
{
    struct wr *w = &s->raw;
    size_t need = w->len + n;

    assert(need <= max);
    if (need > w->size) {
        size_t size = w->size ? w->size : FIRST_SIZE;
        while (size < need)
            size *= 2;
        if (size > max)
            size = max;
        struct ml_budget *b = s->budget;
        if (b->bytes > b->bytes_max || size - w->size > b->bytes_max - b->bytes)
            return fail(s, ML_DROP_BUDGET);
        w->owns = true;
        w->max = size;
    }
    wr_bytes(w, data, n);
    if (wr_err(w))
        return fail_nomem(s);
    s->budget->bytes += w->size - s->charged;
    s->charged = w->size;
    return 0;
}

/* --- sealed -------------------------------------------------------------- */

static int expand(struct ml_stream_in *s, struct span packed)
{
    wr_init_grow(&s->expanded, s->limits->expanded_max);
    int err = lzw_decode(packed.data, packed.len, &s->expanded);
    if (err == ERR_NOMEM)
        return fail_nomem(s);
    if (err)
        return fail(s, err == ERR_TOOBIG ? ML_DROP_BOMB : ML_DROP_CODEC);
    wr_fini(&s->raw);
    wr_fini(&s->clear);
    return finish(s, written(&s->expanded));
}

/* The opened bytes are not charged for: they are there in one stream at a time
 * only, within one call, or else they are good. */
static int open_seal(struct ml_stream_in *s)
{
    uint8_t aad[SEAL_HEAD_SIZE + ML_LABEL_MAX];
    struct span label = s->wire->label;
    struct wr w;

    assert(label.len <= ML_LABEL_MAX);
    wr_init_fixed(&w, aad, sizeof(aad));
    wr_u8(&w, ML_ENCRYPT);
    wr_be32(&w, s->sealed_len);
    wr_bytes(&w, label.data, label.len);
    wr_init_grow(&s->clear, s->raw.len - ML_SEAL_OVERHEAD);
    int err =
        ml_unseal(s->wire->keys, written(&w), written(&s->raw), &s->clear);
    if (err == ERR_NOMEM)
        return fail_nomem(s);
    if (err)
        return fail(s, ML_DROP_SEAL);
    wr_fini(&s->raw);

    struct rd r;
    struct span packed;
    if (s->clear.len == 0 || s->clear.data[0] != ML_COMPRESS)
        return finish(s, written(&s->clear));
    rd_init(&r, s->clear.data + 1, s->clear.len - 1);
    if (ml_compress_read(&r, &packed))
        return fail(s, ML_DROP_CODEC);
    return expand(s, packed);
}

static int feed_length(struct ml_stream_in *s, uint8_t byte)
{
    s->sealed_len = s->sealed_len << 8 | byte;
    if (++s->scan < sizeof(s->sealed_len))
        return 0;
    if (s->limits->frame_max < SEAL_HEAD_SIZE ||
        s->sealed_len > s->limits->frame_max - SEAL_HEAD_SIZE)
        return fail(s, ML_DROP_TOOBIG);
    if (s->sealed_len < ML_SEAL_OVERHEAD)
        return fail(s, ML_DROP_SEAL);
    s->state = STATE_SEALED;
    return 0;
}

static int feed_sealed(struct ml_stream_in *s, const uint8_t *data, size_t len,
                       size_t *used)
{
    size_t left = s->sealed_len - s->raw.len;

    *used = len < left ? len : left;
    int err = keep(s, data, *used, s->sealed_len);
    if (err || s->raw.len < s->sealed_len)
        return err;
    return open_seal(s);
}

/* --- in the clear -------------------------------------------------------- */

/* 0 as long as more bytes could make it whole. */
static int unfinished(struct ml_stream_in *s, int err)
{
    if (err == ERR_TRUNC)
        return 0;
    return fail(s, err == ERR_TOOBIG ? ML_DROP_TOOBIG : ML_DROP_MESSAGE);
}

static void read_on(const struct ml_stream_in *s, struct rd *r)
{
    rd_init(r, s->raw.data + s->scan, s->raw.len - s->scan);
}

static int find_tail(struct ml_stream_in *s)
{
    if (s->raw.len - s->scan < s->user_left)
        return 0;
    return complete(s, span_of(s->raw.data, s->scan + s->user_left));
}

static int start_tail(struct ml_stream_in *s)
{
    if (s->user_left > s->limits->user_max)
        return fail(s, ML_DROP_TOOBIG);
    s->state = STATE_TAIL;
    return find_tail(s);
}

static int find_entries(struct ml_stream_in *s)
{
    while (s->nodes_left > 0) {
        struct rd r;
        struct ml_alive entry;
        read_on(s, &r);
        int err = ml_entry_read(&r, &entry);
        if (err)
            return unfinished(s, err);
        s->scan += r.pos;
        s->nodes_left--;
    }
    return start_tail(s);
}

static int find_push_pull(struct ml_stream_in *s)
{
    struct ml_push_pull h;
    struct rd r;

    read_on(s, &r);
    int err = ml_push_pull_read(&r, &h);
    if (err)
        return unfinished(s, err);
    if (h.n_nodes > s->limits->nodes_max ||
        h.user_state_len > s->limits->user_max)
        return fail(s, ML_DROP_TOOBIG);
    s->scan += r.pos;
    s->nodes_left = h.n_nodes;
    s->user_left = h.user_state_len;
    s->state = STATE_ENTRIES;
    return find_entries(s);
}

static int find_user(struct ml_stream_in *s)
{
    struct rd r;

    read_on(s, &r);
    int err = ml_user_len_read(&r, &s->user_left);
    if (err)
        return unfinished(s, err);
    s->scan += r.pos;
    return start_tail(s);
}

static int find_single(struct ml_stream_in *s)
{
    struct ml_msg m;
    int err = ml_msg_decode(s->raw.data, s->raw.len, &m);

    return err ? unfinished(s, err) : complete(s, written(&s->raw));
}

static int find_compress(struct ml_stream_in *s)
{
    struct span packed;
    struct rd r;

    read_on(s, &r);
    int err = ml_compress_read(&r, &packed);
    if (err == ERR_TRUNC)
        return 0;
    if (err)
        return fail(s, ML_DROP_CODEC);
    return expand(s, packed);
}

static int find_end(struct ml_stream_in *s)
{
    assert(s->state >= STATE_SINGLE && s->state <= STATE_TAIL);
    switch ((enum state)s->state) {
    case STATE_SINGLE:
        return find_single(s);
    case STATE_COMPRESS:
        return find_compress(s);
    case STATE_PUSH_PULL:
        return find_push_pull(s);
    case STATE_ENTRIES:
        return find_entries(s);
    case STATE_USER:
        return find_user(s);
    case STATE_TAIL:
        return find_tail(s);
    case STATE_LABEL:
    case STATE_TYPE:
    case STATE_LENGTH:
    case STATE_SEALED:
    case STATE_COMPLETE:
    case STATE_FAILED:
        break;
    }
    return ERR_BAD; /* not reached: there are no bytes to look at yet */
}

static int feed_clear(struct ml_stream_in *s, const uint8_t *data, size_t len,
                      size_t *used)
{
    size_t left = s->limits->frame_max - s->raw.len;

    if (left == 0)
        return fail(s, ML_DROP_TOOBIG);
    *used = len < SLICE ? len : SLICE;
    if (*used > left)
        *used = left;
    int err = keep(s, data, *used, s->limits->frame_max);
    return err ? err : find_end(s);
}

/* --- the first bytes ----------------------------------------------------- */

static int feed_label(struct ml_stream_in *s, uint8_t byte)
{
    struct span label = s->wire->label;
    uint8_t want = s->scan == 0   ? ML_LABEL
                   : s->scan == 1 ? (uint8_t)label.len
                                  : label.data[s->scan - 2];

    if (byte != want)
        return fail(s, ML_DROP_LABEL);
    if (++s->scan == 2 + label.len) {
        s->scan = 0;
        s->state = STATE_TYPE;
    }
    return 0;
}

/* Look at the type byte, which stays where it is unless it is that of a seal:
 * messages have it first. */
static int feed_type(struct ml_stream_in *s, uint8_t type, size_t *used)
{
    *used = 0;
    if (type == ML_LABEL)
        return fail(s, ML_DROP_LABEL);
    if (type == ML_ENCRYPT) {
        if (!s->wire->keys)
            return fail(s, ML_DROP_SEAL);
        *used = 1;
        s->state = STATE_LENGTH;
        return 0;
    }
    if (s->wire->keys && !s->wire->accepts_clear)
        return fail(s, ML_DROP_CLEAR);
    if (type != ML_COMPRESS && !is_message(type))
        return fail(s, ML_DROP_TYPE);
    s->scan = 1;
    s->state = type == ML_COMPRESS    ? STATE_COMPRESS
               : type == ML_PUSH_PULL ? STATE_PUSH_PULL
               : type == ML_USER      ? STATE_USER
                                      : STATE_SINGLE;
    return 0;
}

static int feed_some(struct ml_stream_in *s, const uint8_t *data, size_t len,
                     size_t *used)
{
    *used = 1;
    switch ((enum state)s->state) {
    case STATE_LABEL:
        return feed_label(s, data[0]);
    case STATE_TYPE:
        return feed_type(s, data[0], used);
    case STATE_LENGTH:
        return feed_length(s, data[0]);
    case STATE_SEALED:
        return feed_sealed(s, data, len, used);
    case STATE_SINGLE:
    case STATE_COMPRESS:
    case STATE_PUSH_PULL:
    case STATE_ENTRIES:
    case STATE_USER:
    case STATE_TAIL:
        return feed_clear(s, data, len, used);
    case STATE_COMPLETE:
        return 1;
    case STATE_FAILED:
        break;
    }
    return ERR_BAD;
}

int ml_stream_in_feed(struct ml_stream_in *s, const void *data, size_t len)
{
    const uint8_t *bytes = data;
    size_t at = 0;

    if (s->state == STATE_COMPLETE)
        return 1;
    if (s->state == STATE_FAILED)
        return ERR_BAD;
    while (at < len) {
        size_t used;
        int got = feed_some(s, bytes + at, len - at, &used);
        if (got)
            return got;
        at += used;
    }
    return 0;
}

/* --- the message --------------------------------------------------------- */

static int take_user(const struct ml_stream_in *s, struct rd *r,
                     struct ml_stream_msg *m)
{
    uint32_t len;
    int err = ml_user_len_read(r, &len);

    if (err || len > s->limits->user_max)
        return ERR_BAD;
    const uint8_t *bytes = rd_bytes(r, len);
    if (!bytes)
        return ERR_BAD;
    m->msg.type = ML_USER;
    m->msg.user = span_of(bytes, len);
    return 0;
}

static int take_push_pull(const struct ml_stream_in *s, struct rd *r,
                          struct ml_stream_msg *m)
{
    struct ml_push_pull *h = &m->push_pull;
    int err = ml_push_pull_read(r, h);

    if (err || h->n_nodes > s->limits->nodes_max ||
        h->user_state_len > s->limits->user_max)
        return ERR_BAD;
    m->entries = *r;
    for (uint32_t i = 0; i < h->n_nodes; i++) {
        struct ml_alive entry;
        if (ml_entry_read(r, &entry))
            return ERR_BAD;
    }
    m->entries.len = r->pos;
    const uint8_t *state = rd_bytes(r, h->user_state_len);
    if (!state)
        return ERR_BAD;
    m->user_state = span_of(state, h->user_state_len);
    return 0;
}

int ml_stream_in_take(const struct ml_stream_in *s, struct ml_stream_msg *out)
{
    struct ml_stream_msg m = {.type = s->message.data[0]};
    struct rd r;
    int err;

    assert(s->state == STATE_COMPLETE);
    rd_init(&r, s->message.data + 1, s->message.len - 1);
    if (m.type == ML_PUSH_PULL)
        err = take_push_pull(s, &r, &m);
    else if (m.type == ML_USER)
        err = take_user(s, &r, &m);
    else
        err = ml_msg_decode(s->message.data, s->message.len, &m.msg);
    if (err)
        return ERR_BAD;
    *out = m;
    return 0;
}

/* --- writing ------------------------------------------------------------- */

/* The message, or the smaller one that holds it compressed in *packed. */
static int pack(struct span message, struct wr *packed, struct span *inner)
{
    struct wr room;
    struct span bytes;

    *inner = message;
    wr_init_grow(&room, message.len);
    wr_init_grow(packed, message.len);
    if (wr_space(&room, message.len) &&
        ml_compress(message, room.data, room.size, &bytes)) {
        wr_u8(packed, ML_COMPRESS);
        ml_compress_write(packed, bytes);
        *inner = written(packed);
    }
    int err = wr_err(&room) ? wr_err(&room) : wr_err(packed);
    wr_fini(&room);
    return err;
}

static int seal(const struct ml_wire *wire, struct span inner, struct wr *out)
{
    uint8_t aad[SEAL_HEAD_SIZE + ML_LABEL_MAX];
    struct wr w;

    wr_init_fixed(&w, aad, sizeof(aad));
    wr_u8(&w, ML_ENCRYPT);
    wr_be32(&w, (uint32_t)(inner.len + ML_SEAL_OVERHEAD));
    wr_bytes(out, aad, w.len);
    wr_bytes(&w, wire->label.data, wire->label.len);
    return wr_err(out) ? wr_err(out)
                       : ml_seal(wire->keys, written(&w), inner, out);
}

int ml_stream_close(const struct ml_wire *wire, bool is_dialler,
                    struct span message, struct wr *out)
{
    size_t before = out->len;
    struct wr packed;
    struct span inner;

    assert(message.len > 0);
    assert(wire->label.len <= ML_LABEL_MAX);
    if (message.len > CLOSE_MAX - ML_SEAL_OVERHEAD)
        return ERR_TOOBIG;
    int err = pack(message, &packed, &inner);
    if (!err && is_dialler && wire->label.len > 0) {
        wr_u8(out, ML_LABEL);
        wr_u8(out, (uint8_t)wire->label.len);
        wr_bytes(out, wire->label.data, wire->label.len);
    }
    if (!err && wire->keys)
        err = seal(wire, inner, out);
    else if (!err)
        wr_bytes(out, inner.data, inner.len);
    wr_fini(&packed);
    if (!err)
        err = wr_err(out);
    if (err)
        out->len = before;
    return err;
}
