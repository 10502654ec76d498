/* Failure detection: one member is pinged per interval; who does not answer is
 * pinged through others and over TCP, and at last suspected. SWIM, 3 and 4.1;
 * Lifeguard, LHA-Probe, with memberlist's nacks. */
#include <assert.h>
#include <string.h>

#include "mesh/mesh_private.h"

/* ---- messages ---- */

static struct ml_ping ping_of(const struct mesh *m, uint32_t seq_no,
                              struct span node)
{
    return (struct ml_ping){
        .seq_no = seq_no,
        .node = node,
        .source_addr = ml_addr_bytes(&m->advertise),
        .source_port = m->advertise.port,
        .source_node = mesh_self(m),
    };
}

static struct span name_of(const struct member *who)
{
    return span_of(who->name, who->name_len);
}

/* A number that an outsider cannot guess: counting up from one lets anybody
 * forge acks. */
static uint32_t fresh_seq_no(struct mesh *m)
{
    return (uint32_t)rng_next(&m->rng);
}

void mesh_ping_write(struct mesh *m, struct wr *w)
{
    const struct member *who = members_peek(m->members, m->ping.member);
    struct ml_msg msg = {.type = ML_PING};
    msg.ping = ping_of(m, m->ping.seq_no, name_of(who));
    ml_msg_encode(w, &msg);
}

/* A suspect is told so beside the ping, that it can refute at once. */
static void send_ping(struct mesh *m)
{
    const struct member *who = members_peek(m->members, m->ping.member);
    struct ml_msg ping = {.type = ML_PING}, accusation = {.type = ML_SUSPECT};
    struct span parts[2];
    size_t n = 1;

    wr_reset(&m->message);
    ping.ping = ping_of(m, m->ping.seq_no, name_of(who));
    ml_msg_encode(&m->message, &ping);
    size_t first = m->message.len;
    if (who->state == MEMBER_SUSPECT) {
        accusation.accusation = (struct ml_accusation){
            who->incarnation, name_of(who), mesh_self(m)};
        ml_msg_encode(&m->message, &accusation);
        n = 2;
    }
    if (wr_err(&m->message))
        return;
    parts[0] = span_of(m->message.data, first);
    parts[1] = span_of(m->message.data + first, m->message.len - first);
    /* News rides with the first one only: the others are there for a packet
     * that was lost, not to tell the same twice. */
    mesh_send_parts(m, &who->addr, mesh_takes_crc(m, m->ping.member), parts, n,
                    n == 1 && m->ping.sent == 0, 0);
    m->ping.sent++;
}

/* ---- our own round ---- */

static uint64_t repeat_interval(const struct mesh *m)
{
    unsigned n = m->timing.ping_repeats ? m->timing.ping_repeats : 1;
    return m->timing.ping_timeout_ns / n;
}

static void begin(struct mesh *m, uint64_t now_ns, uint32_t member)
{
    const struct member *who = members_peek(m->members, member);
    struct ping *p = &m->ping;
    *p = (struct ping){
        .is_running = true,
        .member = member,
        .hash = who->hash,
        .seq_no = fresh_seq_no(m),
        .incarnation = who->incarnation,
        .start_ns = now_ns,
        .repeat_ns = now_ns + repeat_interval(m),
        .ask_ns = now_ns + m->timing.ping_timeout_ns,
        .end_ns = now_ns + m->timing.ping_interval_ns * (m->health + 1),
    };
    m->stats.pings++;
    send_ping(m);
}

static void forget_purged(void *arg, const struct member *who)
{
    struct mesh *m = arg;
    (void)who;
    mesh_event(m, MESH_FORGOTTEN, members_find(m->members, name_of(who)));
}

static void tick(struct mesh *m, uint64_t now_ns)
{
    bool wrapped = false;
    m->next_ping_ns += m->timing.ping_interval_ns;
    if (m->next_ping_ns <= now_ns)
        m->next_ping_ns = now_ns + m->timing.ping_interval_ns;
    if (m->ping.is_running)
        return;
    uint32_t member = members_next(m->members, &wrapped);
    if (wrapped || member == UINT32_MAX)
        members_purge(m->members, now_ns, forget_purged, m);
    if (member != UINT32_MAX)
        begin(m, now_ns, member);
}

static void ask_others(struct mesh *m, uint64_t now_ns)
{
    struct ping *p = &m->ping;
    const struct member *who = members_peek(m->members, p->member);
    uint32_t whom[MESH_HELPERS_MAX];
    size_t k = m->timing.indirect_checks;
    k = k < MESH_HELPERS_MAX ? k : MESH_HELPERS_MAX;
    size_t n = members_pick(m->members, now_ns, PICK_ALIVE, p->member, k, whom);

    p->has_asked = true;
    for (size_t i = 0; i < n; i++) {
        const struct member *helper = members_peek(m->members, whom[i]);
        struct ml_msg msg = {.type = ML_INDIRECT_PING};
        msg.indirect_ping = (struct ml_indirect_ping){
            .seq_no = p->seq_no,
            .target = span_of(who->addr_bytes, who->addr_len),
            .port = who->addr.port,
            .node = name_of(who),
            .wants_nack = helper->vsn[1] >= 4,
            .source_addr = ml_addr_bytes(&m->advertise),
            .source_port = m->advertise.port,
            .source_node = mesh_self(m),
        };
        p->helpers[p->n_helpers++] = helper->addr;
        p->nacks_wanted += msg.indirect_ping.wants_nack;
        mesh_send_msg(m, &helper->addr, mesh_takes_crc(m, whom[i]), &msg, true);
    }
    if (who->vsn[1] >= 3)
        p->stream = mesh_stream_dial(m, now_ns, STREAM_PING, &who->addr,
                                     p->member, p->end_ns);
}

static void end_round(struct mesh *m)
{
    m->ping.is_running = false;
    if (m->ping.stream)
        mesh_stream_hangup(m, m->ping.stream);
    m->ping.stream = 0;
}

static void succeed(struct mesh *m)
{
    mesh_health(m, -1);
    end_round(m);
}

static void fail(struct mesh *m, uint64_t now_ns)
{
    struct ping *p = &m->ping;
    m->stats.ping_failures++;
    /* Helpers that did not even say no: perhaps it is us who hears nothing. */
    mesh_health(m, p->nacks_wanted ? (int)(p->nacks_wanted - p->nacks) : 1);
    end_round(m);
    if (mesh_is_still(m, p->member, p->hash))
        mesh_accuse(m, now_ns, p->member, p->incarnation);
}

/* Over TCP it answered, so it lives; its UDP does not work. */
static void succeed_over_tcp(struct mesh *m)
{
    members_get(m->members, m->ping.member)->udp_misses++;
    succeed(m);
}

static void round_timer(struct mesh *m, uint64_t now_ns)
{
    struct ping *p = &m->ping;
    if (!p->is_running)
        return;
    if (!mesh_is_still(m, p->member, p->hash)) {
        end_round(m);
    } else if (!p->has_asked && now_ns >= p->ask_ns) {
        /* Late, as a throttled process is: then they get their time to answer
         * from now on. Nobody fails who was not asked about. */
        if (p->end_ns < now_ns + m->timing.ping_timeout_ns)
            p->end_ns = now_ns + m->timing.ping_timeout_ns;
        ask_others(m, now_ns);
    } else if (now_ns >= p->end_ns) {
        if (p->has_tcp_ack)
            succeed_over_tcp(m);
        else
            fail(m, now_ns);
    } else if (!p->has_asked && now_ns >= p->repeat_ns) {
        /* Deviation: the same ping again, while no ack has come. At 30 % loss
         * one ping in two fails, five in a row one in thirty; receivers see
         * nothing but a duplicate. */
        p->repeat_ns = now_ns + repeat_interval(m);
        if (p->sent < m->timing.ping_repeats)
            send_ping(m);
    }
}

void mesh_ping_void(struct mesh *m)
{
    if (m->ping.is_running)
        end_round(m);
    for (size_t i = 0; i < m->limits.relays_max; i++)
        m->relays[i].is_running = false;
    m->n_relays = 0;
}

static void end_relay(struct mesh *m, struct relay *r)
{
    r->is_running = false;
    m->n_relays--;
}

/* ---- answers ---- */

static bool is_from_helper(const struct ping *p, const struct addr *from,
                           size_t *which)
{
    for (size_t i = 0; i < p->n_helpers; i++) {
        if (addr_equal(&p->helpers[i], from)) {
            *which = i;
            return true;
        }
    }
    return false;
}

/* A host of many addresses may answer from another one than it is known by,
 * but never from another member's. */
static bool is_from(const struct mesh *m, const struct addr *from,
                    const struct addr *expected)
{
    if (CANARY(m->canary, CANARY_ANY_ACK) || addr_equal(from, expected))
        return true;
    return addr_same_ip(from, expected) &&
           members_at(m->members, from, false) == UINT32_MAX;
}

static void answer_asker(struct mesh *m, struct relay *r, bool is_ack)
{
    struct ml_msg msg = {.type = is_ack ? ML_ACK : ML_NACK};
    if (is_ack)
        msg.ack = (struct ml_ack){.seq_no = r->asker_seq_no};
    else
        msg.nack = (struct ml_nack){r->asker_seq_no};
    const struct member *asker = members_peek(m->members, r->asker);
    mesh_send_msg(m, &r->asker_addr, asker->vsn[1] >= 5, &msg, true);
}

void mesh_ping_on_ack(struct mesh *m, uint64_t now_ns, const struct ml_ack *ack,
                      const struct addr *from)
{
    struct ping *p = &m->ping;
    size_t which;

    if (p->is_running && p->seq_no == ack->seq_no &&
        mesh_is_still(m, p->member, p->hash)) {
        struct member *who = members_get(m->members, p->member);
        bool is_direct = is_from(m, from, &who->addr);
        if (!is_direct && !is_from_helper(p, from, &which)) {
            m->stats.strangers++;
            return;
        }
        if (is_direct) {
            /* Of a repeated ping nobody knows which one was answered. */
            if (p->sent == 1)
                who->rtt_ns = now_ns - p->start_ns;
            who->udp_misses = 0;
        }
        succeed(m);
        return;
    }
    for (size_t i = 0; m->n_relays && i < m->limits.relays_max; i++) {
        struct relay *r = &m->relays[i];
        if (r->is_running && r->seq_no == ack->seq_no) {
            if (!is_from(m, from, &r->target))
                m->stats.strangers++;
            else if (now_ns < r->end_ns) {
                answer_asker(m, r, true);
                end_relay(m, r);
            }
            return;
        }
    }
}

void mesh_ping_on_nack(struct mesh *m, const struct ml_nack *nack,
                       const struct addr *from)
{
    struct ping *p = &m->ping;
    size_t which;
    if (!p->is_running || p->seq_no != nack->seq_no ||
        !is_from_helper(p, from, &which) || p->nacked[which])
        return;
    p->nacked[which] = true;
    if (p->nacks < p->nacks_wanted)
        p->nacks++;
}

void mesh_ping_on_stream(struct mesh *m, uint32_t seq_no)
{
    if (m->ping.is_running && m->ping.seq_no == seq_no)
        m->ping.has_tcp_ack = true;
    m->ping.stream = 0;
}

/* ---- being pinged ---- */

/* Where may the answer go? Deviation: to the packet's source, or to what we
 * ourselves know of the member it claims to be from. memberlist answers
 * whatever address the packet names, which makes every node a reflector.
 * UINT32_MAX: a stranger. */
static uint32_t asker_of(const struct mesh *m, struct span source_node,
                         struct span source_addr, uint16_t source_port,
                         const struct addr *from)
{
    uint32_t member = members_at(m->members, from, false);
    if (member != UINT32_MAX || !source_node.len)
        return member;
    member = members_find(m->members, source_node);
    if (member == UINT32_MAX || member == MEMBERS_SELF)
        return UINT32_MAX;
    struct addr claimed = ml_addr(source_addr, source_port);
    return addr_equal(&members_peek(m->members, member)->addr, &claimed)
               ? member
               : UINT32_MAX;
}

/* To who is not a member goes no more than came from it, and no news. */
static void answer_stranger(struct mesh *m, const struct ml_msg *ack,
                            const struct addr *from)
{
    m->stats.strangers++;
    wr_reset(&m->message);
    ml_msg_encode(&m->message, ack);
    if (wr_err(&m->message) || !m->stranger_room)
        return;
    struct span part = span_of(m->message.data, m->message.len);
    if (mesh_send_parts(m, from, false, &part, 1, false, m->stranger_room))
        m->stranger_room = 0;
}

void mesh_ping_on_ping(struct mesh *m, uint64_t now_ns,
                       const struct ml_ping *ping, const struct addr *from)
{
    (void)now_ns;
    if (ping->node.len && !span_equal(ping->node, mesh_self(m)))
        return; /* an address that was another's */
    struct ml_msg msg = {.type = ML_ACK};
    msg.ack = (struct ml_ack){.seq_no = ping->seq_no};
    if (CANARY(m->canary, CANARY_REFLECT) && ping->source_addr.len) {
        struct addr to = ml_addr(ping->source_addr, ping->source_port);
        mesh_send_msg(m, &to, false, &msg, true);
        return;
    }
    uint32_t asker = asker_of(m, ping->source_node, ping->source_addr,
                              ping->source_port, from);
    if (asker == UINT32_MAX || asker == MEMBERS_SELF) {
        msg.ack.is_short = true;
        answer_stranger(m, &msg, from);
    } else if (m->replies_left) {
        m->replies_left--;
        const struct member *who = members_peek(m->members, asker);
        mesh_send_msg(m, &who->addr, mesh_takes_crc(m, asker), &msg, true);
    }
}

/* ---- pinging for others ---- */

static struct relay *free_relay(struct mesh *m, uint64_t now_ns, uint32_t asker)
{
    struct relay *found = NULL;
    for (size_t i = 0; i < m->limits.relays_max; i++) {
        struct relay *r = &m->relays[i];
        if (!r->is_running)
            found = r;
        else if (r->asker == asker &&
                 now_ns - r->start_ns < m->timing.ping_timeout_ns / 5)
            return NULL; /* he has just asked */
    }
    return found;
}

static void send_relay(struct mesh *m, struct relay *r)
{
    struct ml_msg msg = {.type = ML_PING};
    msg.ping = ping_of(m, r->seq_no, span_of(r->target_name, r->target_len));
    mesh_send_msg(m, &r->target, r->target_takes_crc, &msg, false);
    r->sent++;
}

void mesh_ping_on_indirect(struct mesh *m, uint64_t now_ns,
                           const struct ml_indirect_ping *ping,
                           const struct addr *from)
{
    uint32_t asker = asker_of(m, ping->source_node, ping->source_addr,
                              ping->source_port, from);
    uint32_t target = members_find(m->members, ping->node);
    struct addr to = ml_addr(ping->target, ping->port);
    struct relay *r;

    /* Deviation: only members may ask, and only about members at the address
     * we know; else we scan networks for whoever asks. */
    if (asker == UINT32_MAX || asker == MEMBERS_SELF || target == UINT32_MAX ||
        target == MEMBERS_SELF ||
        !addr_equal(&members_peek(m->members, target)->addr, &to) ||
        !(r = free_relay(m, now_ns, asker))) {
        m->stats.relays_refused++;
        return;
    }
    const struct member *who = members_peek(m->members, target);
    *r = (struct relay){
        .is_running = true,
        .seq_no = fresh_seq_no(m),
        .asker_seq_no = ping->seq_no,
        .asker = asker,
        .asker_addr = members_peek(m->members, asker)->addr,
        .target = who->addr,
        .target_len = who->name_len,
        .target_takes_crc = who->vsn[1] >= 5,
        .wants_nack = ping->wants_nack,
        .start_ns = now_ns,
        .repeat_ns = now_ns + repeat_interval(m),
        .end_ns = now_ns + m->timing.ping_timeout_ns,
    };
    memcpy(r->target_name, who->name, who->name_len);
    m->n_relays++;
    send_relay(m, r);
}

static void relay_timer(struct mesh *m, struct relay *r, uint64_t now_ns)
{
    if (now_ns >= r->end_ns) {
        if (r->wants_nack)
            answer_asker(m, r, false);
        end_relay(m, r);
    } else if (now_ns >= r->repeat_ns) {
        r->repeat_ns = now_ns + repeat_interval(m);
        if (r->sent < m->timing.ping_repeats)
            send_relay(m, r);
    }
}

/* ---- time ---- */

void mesh_ping_timer(struct mesh *m, uint64_t now_ns)
{
    round_timer(m, now_ns);
    for (size_t i = 0; m->n_relays && i < m->limits.relays_max; i++) {
        if (m->relays[i].is_running)
            relay_timer(m, &m->relays[i], now_ns);
    }
    if (now_ns >= m->next_ping_ns)
        tick(m, now_ns);
}

uint64_t mesh_ping_deadline(const struct mesh *m)
{
    const struct ping *p = &m->ping;
    /* Alone there is nobody to ping; but the dead have to be forgotten. */
    uint64_t d = members_count(m->members) > 1 ? m->next_ping_ns : NEVER;
    if (p->is_running) {
        uint64_t next = p->has_asked ? p->end_ns : p->ask_ns;
        if (!p->has_asked && p->sent < m->timing.ping_repeats &&
            p->repeat_ns < next)
            next = p->repeat_ns;
        d = next < d ? next : d;
        d = p->end_ns < d ? p->end_ns : d;
    }
    for (size_t i = 0; m->n_relays && i < m->limits.relays_max; i++) {
        const struct relay *r = &m->relays[i];
        if (!r->is_running)
            continue;
        uint64_t next =
            r->sent < m->timing.ping_repeats && r->repeat_ns < r->end_ns
                ? r->repeat_ns
                : r->end_ns;
        d = next < d ? next : d;
    }
    return d;
}
