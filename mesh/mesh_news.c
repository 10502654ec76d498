/* What is believed and told on: evidence goes to the members, what follows
 * from it becomes news, events and refutations. */
#include <string.h>

#include "mesh/facts.h"
#include "mesh/mesh_private.h"

/* ---- news ---- */

/* Returns the id of the news, 0 if it could not be queued. */
static uint64_t tell(struct mesh *m, const struct ml_msg *msg,
                     struct span about)
{
    uint64_t id = 0;
    struct span bytes = mesh_build(m, msg);
    if (!bytes.len || broadcast_add(m->news, BROADCAST_MEMBER,
                                    mesh_subject(about), bytes, &id))
        return 0;
    return id;
}

void mesh_tell_self(struct mesh *m)
{
    struct ml_msg msg = {.type = ML_ALIVE};
    members_describe(m->members, MEMBERS_SELF, &msg.alive);
    tell(m, &msg, mesh_self(m));
}

static uint64_t tell_accusation(struct mesh *m, uint8_t type, uint32_t member,
                                struct span from)
{
    const struct member *who = members_peek(m->members, member);
    struct ml_msg msg = {.type = type};
    msg.accusation = (struct ml_accusation){
        .incarnation = who->incarnation,
        .node = span_of(who->name, who->name_len),
        .from = from,
    };
    return tell(m, &msg, msg.accusation.node);
}

uint64_t mesh_tell_leave(struct mesh *m)
{
    return tell_accusation(m, ML_DEAD, MEMBERS_SELF, mesh_self(m));
}

/* ---- evidence ---- */

static void refute(struct mesh *m, uint32_t accusation)
{
    if (!members_refute(m->members, accusation))
        return;
    mesh_tell_self(m);
    mesh_health(m, 1);
    m->stats.refutations++;
}

static void on_alive_again(struct mesh *m, uint32_t index, bool is_join)
{
    struct member *who = members_get(m->members, index);
    who->is_ours = facts_is_ours(span_of(who->meta, who->meta_len));
    if (is_join) {
        who->is_leaving = false;
        who->status_ltime = 0; /* its clock may have begun anew, too */
        who->rtt_ns = 0;
        who->udp_misses = who->tcp_misses = 0;
        mesh_lost_remove(m, who->hash);
    }
}

/* What a change means to everybody else; telling is the caller's. */
static void announce(struct mesh *m, uint64_t now_ns, const struct change *c)
{
    switch (c->kind) {
    case CHANGE_JOINED:
        on_alive_again(m, c->index, true);
        mesh_event(m, MESH_JOINED, c->index);
        break;
    case CHANGE_UPDATED:
        on_alive_again(m, c->index, false);
        if (c->was_suspect)
            mesh_event(m, MESH_REFUTED, c->index);
        mesh_event(m, MESH_UPDATED, c->index);
        break;
    case CHANGE_RENEWED:
        if (c->was_suspect)
            mesh_event(m, MESH_REFUTED, c->index);
        break;
    case CHANGE_SUSPECTED:
        mesh_event(m, MESH_SUSPECTED, c->index);
        break;
    case CHANGE_FAILED:
        mesh_lost_add(m, now_ns, members_peek(m->members, c->index));
        mesh_event(m, MESH_FAILED, c->index);
        break;
    case CHANGE_LEFT:
        mesh_event(m, MESH_LEFT, c->index);
        break;
    case CHANGE_CONFLICT:
        m->stats.conflicts++;
        mesh_event_at(m, MESH_CONFLICT, c->index, &c->claimed, NULL);
        break;
    case CHANGE_NONE:
    case CHANGE_CONFIRMED:
    case CHANGE_RAISED:
    case CHANGE_ACCUSED:
        return;
    }
    mesh_count_company(m, now_ns);
}

/* An old alive about a node that we hold dead, and it came from that node: it
 * restarted with a low incarnation and does not know what is said of it. */
static void correct(struct mesh *m, const struct change *c,
                    const struct addr *from)
{
    const struct member *who = members_peek(m->members, c->stale_index);
    if (!from || !addr_equal(&who->addr, from) || !m->replies_left)
        return;
    struct ml_msg msg = {.type = ML_DEAD};
    msg.accusation = (struct ml_accusation){
        .incarnation = who->incarnation,
        .node = span_of(who->name, who->name_len),
        .from = mesh_self(m),
    };
    m->replies_left--;
    mesh_send_msg(m, from, mesh_takes_crc(m, c->stale_index), &msg, false);
}

void mesh_evidence(struct mesh *m, uint64_t now_ns, const struct ml_msg *msg,
                   const struct addr *from)
{
    struct change c = {.kind = CHANGE_NONE};
    struct span about;

    if (msg->type == ML_ALIVE) {
        about = msg->alive.node;
        members_alive(m->members, now_ns, &msg->alive, &c);
    } else {
        about = msg->accusation.node;
        if (msg->type == ML_SUSPECT)
            members_suspect(m->members, now_ns, &msg->accusation, &c);
        else
            members_dead(m->members, now_ns, &msg->accusation, &c);
    }
    if (c.kind == CHANGE_ACCUSED)
        refute(m, c.incarnation);
    else if (c.is_news)
        tell(m, msg, about);
    announce(m, now_ns, &c);
    if (c.kind == CHANGE_NONE && c.is_stale)
        correct(m, &c, from);
}

void mesh_entry(struct mesh *m, uint64_t now_ns, const struct ml_alive *entry)
{
    struct change c = {.kind = CHANGE_NONE};
    struct ml_msg msg = {.type = ML_ALIVE};

    members_entry(m->members, now_ns, entry, &c);
    if (c.kind == CHANGE_ACCUSED) {
        refute(m, c.incarnation);
    } else if (c.is_news && entry->state == ML_STATE_ALIVE) {
        msg.alive = *entry;
        tell(m, &msg, entry->node);
    } else if (c.is_news) {
        bool has_left = entry->state == ML_STATE_LEFT;
        bool is_dead = c.kind == CHANGE_FAILED || c.kind == CHANGE_LEFT ||
                       c.kind == CHANGE_RAISED;
        tell_accusation(m, has_left || is_dead ? ML_DEAD : ML_SUSPECT, c.index,
                        has_left ? entry->node : mesh_self(m));
    }
    announce(m, now_ns, &c);
}

void mesh_accuse(struct mesh *m, uint64_t now_ns, uint32_t member,
                 uint32_t incarnation)
{
    struct change c;
    members_doubt(m->members, now_ns, member, incarnation, &c);
    m->stats.suspicions += c.kind == CHANGE_SUSPECTED;
    if (c.is_news)
        tell_accusation(m, ML_SUSPECT, c.index, mesh_self(m));
    announce(m, now_ns, &c);
}

void mesh_expire(struct mesh *m, uint64_t now_ns)
{
    struct change c;
    while (members_expire(m->members, now_ns, &c)) {
        tell_accusation(m, ML_DEAD, c.index, mesh_self(m));
        announce(m, now_ns, &c);
    }
}
