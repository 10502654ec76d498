/* What leaves a node: effects in the order they were decided, and datagrams
 * with the news that has room in them. */
#include <assert.h>
#include <string.h>

#include "mesh/mesh_private.h"

#define PIGGYBACK_MAX 64
#define EFFECTS_KEPT  256 /* places that are not for events */

/* ---- effects ---- */

static size_t outbox_slot(const struct outbox *o, size_t i)
{
    return (o->head + i) % MESH_EFFECTS_MAX;
}

size_t mesh_arena(struct mesh *m)
{
    if (m->out.n == 0)
        wr_reset(&m->out.arena);
    return m->out.arena.len;
}

struct mesh_effect *mesh_effect(struct mesh *m, enum mesh_effect_kind kind)
{
    struct outbox *o = &m->out;
    /* A state with thousands of newcomers is thousands of events; the end of
     * the stream that brought it must have its place. */
    size_t room = MESH_EFFECTS_MAX - (kind == MESH_EVENT ? EFFECTS_KEPT : 0);
    if (o->n >= room) {
        m->stats.effects_dropped++;
        return NULL;
    }
    size_t slot = outbox_slot(o, o->n++);
    o->effects[slot] = (struct mesh_effect){.kind = kind, .id = UINT32_MAX};
    o->offsets[slot] = 0;
    return &o->effects[slot];
}

void mesh_effect_data(struct mesh *m, const struct mesh_effect *e, size_t start)
{
    struct wr *arena = &m->out.arena;
    struct mesh_effect *slot = wr_err(arena) ? NULL : mesh_effect(m, e->kind);
    if (!slot) {
        if (wr_err(arena))
            m->stats.effects_dropped++;
        arena->err = 0;
        arena->len = start;
        return;
    }
    enum mesh_effect_kind kind = slot->kind;
    *slot = *e;
    slot->kind = kind;
    slot->data.len = arena->len - start;
    m->out.offsets[slot - m->out.effects] = start;
}

void mesh_event_at(struct mesh *m, enum mesh_event event, uint32_t member,
                   const struct addr *at, const char *text)
{
    struct mesh_effect *e = mesh_effect(m, MESH_EVENT);
    if (!e)
        return;
    e->event = event;
    e->id = member;
    if (at)
        e->to = *at;
    e->text = text;
}

void mesh_event(struct mesh *m, enum mesh_event event, uint32_t member)
{
    mesh_event_at(m, event, member, NULL, NULL);
}

bool mesh_next(struct mesh *m, struct mesh_effect *e)
{
    struct outbox *o = &m->out;
    if (o->n == 0)
        return false;
    *e = o->effects[o->head];
    if (e->data.len)
        e->data.data = o->arena.data + o->offsets[o->head];
    o->head = (o->head + 1) % MESH_EFFECTS_MAX;
    o->n--;
    return true;
}

/* ---- datagrams out ---- */

/* News for what is left of a packet after `used` bytes of parts. */
static size_t add_news(struct mesh *m, struct span *parts, size_t n,
                       size_t packet_max)
{
    size_t used = 2; /* the compound's own head */
    for (size_t i = 0; i < n; i++)
        used += parts[i].len + 2;
    size_t room = ml_packet_room(&m->wire, packet_max, 1);
    if (room <= used)
        return n;
    unsigned limit =
        broadcast_limit(m->timing.retransmit_mult, members_count(m->members));
    return n + broadcast_take(m->news, limit, room - used, 2, parts + n,
                              PIGGYBACK_MAX);
}

bool mesh_send_parts(struct mesh *m, const struct addr *to, bool takes_crc,
                     const struct span *first, size_t n, bool piggyback,
                     size_t limit)
{
    struct span parts[PIGGYBACK_MAX + 4];
    size_t start = mesh_arena(m);

    assert(n <= 4);
    for (size_t i = 0; i < n; i++)
        parts[i] = first[i];
    if (piggyback)
        n = add_news(m, parts, n, m->limits.packet_max);
    if (n == 0)
        return false;
    if (ml_packet_close(&m->wire, parts, n, false, takes_crc && !m->wire.keys,
                        &m->seal, &m->out.arena)) {
        m->out.arena.err = 0;
        m->out.arena.len = start;
        m->stats.effects_dropped++;
        return false;
    }
    size_t len = m->out.arena.len - start;
    if (limit && len > limit) {
        m->out.arena.len = start;
        return false;
    }
    mesh_effect_data(m, &(struct mesh_effect){.kind = MESH_SEND, .to = *to},
                     start);
    m->stats.packets_out++;
    m->stats.bytes_out += len;
    return true;
}

/* The message is built in m->message, which nothing else uses meanwhile. */
struct span mesh_build(struct mesh *m, const struct ml_msg *msg)
{
    wr_reset(&m->message);
    ml_msg_encode(&m->message, msg);
    if (wr_err(&m->message))
        return (struct span){NULL, 0};
    return span_of(m->message.data, m->message.len);
}

bool mesh_send_msg(struct mesh *m, const struct addr *to, bool takes_crc,
                   const struct ml_msg *msg, bool piggyback)
{
    struct span part = mesh_build(m, msg);
    return part.len &&
           mesh_send_parts(m, to, takes_crc, &part, 1, piggyback, 0);
}

void mesh_gossip(struct mesh *m, uint64_t now_ns)
{
    uint32_t whom[MESH_HELPERS_MAX];
    size_t k = m->timing.gossip_nodes;
    size_t n = members_pick(m->members, now_ns,
                            PICK_ALIVE | PICK_SUSPECT | PICK_DEAD, UINT32_MAX,
                            k < MESH_HELPERS_MAX ? k : MESH_HELPERS_MAX, whom);
    for (size_t i = 0; i < n && broadcast_count(m->news); i++) {
        const struct addr *to = &members_peek(m->members, whom[i])->addr;
        mesh_send_parts(m, to, mesh_takes_crc(m, whom[i]), NULL, 0, true, 0);
    }
}
