#include "proto/serf_msg.h"

#include <msgpack.h>

#include "proto/base/err.h"
#include "proto/msgpack_go.h"
#include "proto/msgpack_rd.h"

#define META_MAGIC 0xff

/* --- writing ------------------------------------------------------------ */

static int write_to(void *arg, const char *data, size_t len)
{
    struct wr *w = arg;
    uint8_t *p = wr_space(w, len);
    if (p && len > 0)
        memcpy(p, data, len);
    return p ? 0 : -1;
}

static void pack_raw(msgpack_packer *p, struct span s)
{
    msgpack_pack_v4raw(p, s.len);
    msgpack_pack_v4raw_body(p, s.data, s.len);
}

void serf_tags_write(struct wr *w, const struct serf_tag *tags, size_t n)
{
    msgpack_packer p;
    msgpack_packer_init(&p, w, write_to);
    wr_u8(w, META_MAGIC);
    msgpack_pack_map(&p, n);
    for (size_t i = 0; i < n; i++) {
        pack_raw(&p, tags[i].key);
        pack_raw(&p, tags[i].value);
    }
}

void serf_intent_write(struct wr *w, const struct serf_intent *intent)
{
    msgpack_packer p;
    msgpack_packer_init(&p, w, write_to);
    wr_u8(w, intent->is_leave ? SERF_LEAVE : SERF_JOIN);
    msgpack_pack_map(&p, intent->is_leave ? 3 : 2);
    pack_raw(&p, span_of_text("LTime"));
    msgpack_pack_uint64(&p, intent->ltime);
    pack_raw(&p, span_of_text("Node"));
    pack_raw(&p, intent->node);
    if (!intent->is_leave)
        return;
    pack_raw(&p, span_of_text("Prune"));
    if (intent->is_prune)
        msgpack_pack_true(&p);
    else
        msgpack_pack_false(&p);
}

/* --- reading ------------------------------------------------------------ */

/* Goes through a map's pairs: at each, the key has been read and the value is
 * for the caller to read or skip. */
struct pairs {
    struct rd *r;
    size_t left;
    struct span key;
};

static struct pairs read_pairs(struct rd *r)
{
    return (struct pairs){.r = r, .left = go_read_map(r, GO_KEYS_MAX)};
}

static bool next_pair(struct pairs *p)
{
    if (rd_err(p->r) || p->left == 0)
        return false;
    p->left--;
    p->key = go_read_key(p->r);
    return !rd_err(p->r);
}

static uint64_t read_ltime(struct rd *r)
{
    return go_read_uint(r, UINT64_MAX, ERR_BAD);
}

/* Go's maps have each key once, and the last of repeated ones stays. */
static struct serf_tag *place_of(struct serf_tag *tags, size_t *n,
                                 struct span key)
{
    for (size_t i = 0; i < *n; i++) {
        if (span_equal(tags[i].key, key))
            return &tags[i];
    }
    return &tags[(*n)++];
}

int serf_tags_read(struct span meta, struct serf_tag *tags, size_t max,
                   size_t *n)
{
    struct rd r;
    size_t got = 0;
    rd_init(&r, meta.data, meta.len);
    if (meta.len > 0 && rd_u8(&r) != META_MAGIC) {
        if (max == 0)
            return ERR_TOOBIG;
        tags[got++] = (struct serf_tag){span_of_text("role"), meta};
    } else if (meta.len > 0) {
        for (size_t left = go_read_map(&r, max); left > 0; left--) {
            struct serf_tag tag = {.key = go_read_raw(&r)};
            tag.value = go_read_raw(&r);
            if (rd_err(&r))
                return rd_err(&r);
            *place_of(tags, &got, tag.key) = tag;
        }
    }
    if (!rd_err(&r))
        *n = got;
    return rd_err(&r);
}

int serf_intent_read(struct span payload, struct serf_intent *out)
{
    struct rd r;
    rd_init(&r, payload.data, payload.len);
    uint8_t type = rd_u8(&r);
    struct serf_intent intent = {.is_leave = type == SERF_LEAVE};
    if (type != SERF_LEAVE && type != SERF_JOIN)
        rd_fail(&r, ERR_BAD);

    struct pairs p = read_pairs(&r);
    while (next_pair(&p)) {
        if (span_is(p.key, "LTime"))
            intent.ltime = read_ltime(&r);
        else if (span_is(p.key, "Node"))
            intent.node = go_read_raw(&r);
        else if (intent.is_leave && span_is(p.key, "Prune"))
            intent.is_prune = go_read_bool(&r);
        else
            msgpack_rd_skip(&r);
    }
    if (!rd_err(&r))
        *out = intent;
    return rd_err(&r);
}

int serf_event_read(struct span payload, struct serf_event *out)
{
    struct rd r;
    rd_init(&r, payload.data, payload.len);
    struct serf_event event = {.type = rd_u8(&r)};
    bool is_query = event.type == SERF_QUERY;
    if (!is_query && event.type != SERF_USER_EVENT)
        rd_fail(&r, ERR_BAD);

    struct pairs p = read_pairs(&r);
    while (next_pair(&p)) {
        if (span_is(p.key, "LTime"))
            event.ltime = read_ltime(&r);
        else if (span_is(p.key, "Name"))
            event.name = go_read_raw(&r);
        else if (is_query && span_is(p.key, "Flags"))
            event.flags = (uint32_t)go_read_uint(&r, UINT32_MAX, ERR_BAD);
        else
            msgpack_rd_skip(&r);
    }
    if (!rd_err(&r))
        *out = event;
    return rd_err(&r);
}

int serf_status_read(struct rd *r, struct span *name, uint64_t *ltime)
{
    struct span key = go_read_raw(r);
    uint64_t value = read_ltime(r);
    if (!rd_err(r)) {
        *name = key;
        *ltime = value;
    }
    return rd_err(r);
}

int serf_left_read(struct rd *r, struct span *name)
{
    struct span value = go_read_raw(r);
    if (!rd_err(r))
        *name = value;
    return rd_err(r);
}

/* Note where the pairs begin, and pass over all of them: who reads them later
 * finds no errors. */
static void read_statuses(struct rd *r, struct serf_state *s)
{
    struct span name;
    uint64_t ltime;
    s->n_status = go_read_map(r, SIZE_MAX);
    s->status = *r;
    for (size_t i = 0; i < s->n_status && !rd_err(r); i++)
        serf_status_read(r, &name, &ltime);
}

static void read_lefts(struct rd *r, struct serf_state *s)
{
    struct span name;
    s->n_left = go_read_nil(r) ? 0 : msgpack_rd_array(r);
    s->left = *r;
    for (size_t i = 0; i < s->n_left && !rd_err(r); i++)
        serf_left_read(r, &name);
}

int serf_state_read(struct span state, struct serf_state *out)
{
    struct rd r;
    struct serf_state s = {0};
    rd_init(&r, state.data, state.len);
    rd_init(&s.status, NULL, 0);
    rd_init(&s.left, NULL, 0);
    if (rd_u8(&r) != SERF_PUSH_PULL)
        rd_fail(&r, ERR_BAD);

    struct pairs p = read_pairs(&r);
    while (next_pair(&p)) {
        if (span_is(p.key, "LTime"))
            s.ltime = read_ltime(&r);
        else if (span_is(p.key, "EventLTime"))
            s.event_ltime = read_ltime(&r);
        else if (span_is(p.key, "QueryLTime"))
            s.query_ltime = read_ltime(&r);
        else if (span_is(p.key, "StatusLTimes"))
            read_statuses(&r, &s);
        else if (span_is(p.key, "LeftMembers"))
            read_lefts(&r, &s);
        else
            msgpack_rd_skip(&r);
    }
    if (!rd_err(&r))
        *out = s;
    return rd_err(&r);
}
