#include "mesh/mesh.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/facts.h"
#include "mesh/mesh_private.h"

#define MS  UINT64_C(1000000)
#define SEC (UINT64_C(1000) * MS)

#define ARENA_MAX   (32u << 20)
#define MESSAGE_MAX (16u << 20)
#define REPLIES_MAX 8 /* datagrams that one datagram may cause */

const struct mesh_timing mesh_timing_lan = {
    .ping_interval_ns = SEC,
    .ping_timeout_ns = 500 * MS,
    .ping_repeats = 5,
    .indirect_checks = 3,
    .gossip_interval_ns = 200 * MS,
    .gossip_nodes = 3,
    .gossip_to_dead_ns = 30 * SEC,
    .push_pull_interval_ns = 30 * SEC,
    .stream_timeout_ns = 10 * SEC,
    .retransmit_mult = 4,
    .suspicion_mult = 4,
    .suspicion_max_mult = 6,
    .health_max = 8,
    .reclaim_ns = 30 * SEC,
    .rejoin_min_ns = SEC,
    .rejoin_max_ns = 60 * SEC,
    .reconnect_ns = 30 * SEC,
    .conflict_after_ns = 90 * SEC,
};

const struct mesh_limits mesh_limits_default = {
    .packet_max = 1232,
    .members_max = 4096,
    .new_per_s = 256,
    .streams_max = 32,
    .streams_per_ip = 4,
    .relays_max = 64,
    .budget_bytes = 8u << 20,
    .stream = {.frame_max = 4u << 20,
               .expanded_max = 8u << 20,
               .nodes_max = 65536,
               .user_max = 1u << 20},
};

/* What this program speaks: memberlist 1 to 5, speaking 2, as stock Serf
 * agents do: 2 to 5, speaking 5. Another vector would stop every push/pull of
 * a mesh that has Serf agents in it. */
static const uint8_t our_vsn[ML_VSN_SIZE] = {1, 5, 2, 2, 5, 5};

const char *mesh_event_name(enum mesh_event e)
{
    static const char *const names[MESH_EVENT_N] = {
        "joined",    "updated",   "suspected", "refuted",    "failed",
        "left",      "forgotten", "conflict",  "name_taken", "incompatible",
        "connected", "alone",     "stalled"};
    return (unsigned)e < MESH_EVENT_N ? names[e] : "unknown";
}

/* ---- small things ---- */

struct span mesh_self(const struct mesh *m)
{
    return span_of(m->name, m->name_len);
}

uint64_t mesh_subject(struct span name)
{
    uint64_t hash = hash_bytes(0, name.data, name.len);
    return hash ? hash : 1;
}

uint64_t mesh_jitter(struct mesh *m, uint64_t span_ns)
{
    return rng_below(&m->rng, span_ns);
}

bool mesh_is_still(const struct mesh *m, uint32_t member, uint64_t hash)
{
    if (member >= members_size(m->members))
        return false;
    const struct member *who = members_peek(m->members, member);
    return who->name_len && who->hash == hash;
}

bool mesh_takes_crc(const struct mesh *m, uint32_t member)
{
    return members_peek(m->members, member)->vsn[1] >= 5;
}

void mesh_health(struct mesh *m, int change)
{
    int health = (int)m->health + change;
    int max = (int)m->timing.health_max - 1;
    m->health = (unsigned)(health < 0 ? 0 : health > max ? max : health);
}

/* ---- entering and leaving a call ---- */

static uint64_t earliest(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t deadline_of(const struct mesh *m)
{
    uint64_t d = NEVER;
    if (m->leave.step == LEAVE_DONE)
        return NEVER;
    if (broadcast_count(m->news) && !m->is_alone)
        d = earliest(d, m->next_gossip_ns);
    if (!m->is_alone)
        d = earliest(d, m->next_push_pull_ns);
    d = earliest(d, mesh_ping_deadline(m));
    d = earliest(d, mesh_stream_deadline(m));
    d = earliest(d, mesh_join_deadline(m));
    d = earliest(d, members_deadline(m->members));
    return d;
}

/* This process, or the machine under it, stood still. Whatever ran out in the
 * meantime proves nothing about others. */
static void heed_stall(struct mesh *m, uint64_t now_ns)
{
    uint64_t gap_ns = now_ns - m->deadline_ns;
    m->stats.stalls++;
    mesh_ping_void(m);
    mesh_stream_shift(m, gap_ns);
    mesh_join_shift(m, gap_ns);
    members_extend(m->members, gap_ns);
    m->next_ping_ns = now_ns + mesh_jitter(m, m->timing.ping_interval_ns);
    m->next_push_pull_ns += gap_ns;
    mesh_event(m, MESH_STALLED, UINT32_MAX);
}

static void enter(struct mesh *m, uint64_t now_ns)
{
    assert(now_ns >= m->now_ns);
    m->now_ns = now_ns;
    m->replies_left = REPLIES_MAX;
    m->stranger_room = 0;
    m->had_news = broadcast_count(m->news) > 0;
    if (m->deadline_ns != NEVER &&
        now_ns > m->deadline_ns + m->timing.ping_interval_ns &&
        !CANARY(m->canary, CANARY_STALL_ACCUSES))
        heed_stall(m, now_ns);
}

/* A queue that was empty may have let the time of gossip pass. */
static void arm_gossip(struct mesh *m, uint64_t now_ns)
{
    if (m->next_gossip_ns <= now_ns)
        m->next_gossip_ns =
            now_ns + mesh_jitter(m, m->timing.gossip_interval_ns);
}

static void leave_call(struct mesh *m, uint64_t now_ns)
{
    if (broadcast_count(m->news) && !m->had_news)
        arm_gossip(m, now_ns);
    /* Never in the past: what is late by then would be taken for another
     * stall. */
    uint64_t deadline_ns = deadline_of(m);
    m->deadline_ns = deadline_ns > now_ns ? deadline_ns : now_ns;
}

uint64_t mesh_deadline(const struct mesh *m)
{
    return m->deadline_ns;
}

/* ---- datagrams in ---- */

static void on_part(struct mesh *m, uint64_t now_ns, struct span part,
                    const struct addr *from)
{
    struct ml_msg msg;
    if (ml_msg_decode(part.data, part.len, &msg)) {
        m->stats.drops[ML_DROP_MESSAGE]++;
        return;
    }
    switch (msg.type) {
    case ML_PING:
        mesh_ping_on_ping(m, now_ns, &msg.ping, from);
        break;
    case ML_INDIRECT_PING:
        mesh_ping_on_indirect(m, now_ns, &msg.indirect_ping, from);
        break;
    case ML_ACK:
        mesh_ping_on_ack(m, now_ns, &msg.ack, from);
        break;
    case ML_NACK:
        mesh_ping_on_nack(m, &msg.nack, from);
        break;
    case ML_SUSPECT:
    case ML_ALIVE:
    case ML_DEAD:
        mesh_evidence(m, now_ns, &msg, from);
        break;
    case ML_USER:
        mesh_serf_on_user(m, now_ns, msg.user, from);
        break;
    default:
        m->stats.drops[ML_DROP_TYPE]++;
        break;
    }
}

void mesh_on_packet(struct mesh *m, uint64_t now_ns, const struct addr *from,
                    const void *data, size_t len)
{
    size_t n_odd = 0;
    enter(m, now_ns);
    m->stats.packets_in++;
    m->stats.bytes_in += len;
    m->stranger_room = len;
    enum ml_drop why =
        m->leave.step == LEAVE_DONE
            ? ML_DROP_TYPE
            : ml_packet_open(&m->wire, data, len, &m->in, &m->parts, &n_odd);
    if (why != ML_DROP_NONE) {
        m->stats.drops[why]++;
    } else {
        m->stats.drops[ML_DROP_TYPE] += n_odd;
        m->stats.drops[ML_DROP_CODEC] += m->parts.is_cut;
        for (size_t i = 0; i < m->parts.n; i++)
            on_part(m, now_ns, m->parts.part[i], from);
    }
    leave_call(m, now_ns);
}

/* ---- time ---- */

static uint64_t push_pull_interval(const struct mesh *m)
{
    size_t n = members_count(m->members), factor = 1;
    if (n > 32) { /* ceil(log2(n) - 5) + 1 */
        factor = 2;
        while (n > (size_t)32 << (factor - 1))
            factor++;
    }
    return m->timing.push_pull_interval_ns * factor;
}

static void push_pull(struct mesh *m, uint64_t now_ns)
{
    uint32_t with;
    m->next_push_pull_ns = now_ns + push_pull_interval(m);
    if (members_pick(m->members, now_ns, PICK_ALIVE, UINT32_MAX, 1, &with))
        mesh_stream_dial(m, now_ns, STREAM_PUSH_PULL,
                         &members_peek(m->members, with)->addr, with,
                         now_ns + m->timing.stream_timeout_ns);
}

void mesh_on_timer(struct mesh *m, uint64_t now_ns)
{
    enter(m, now_ns);
    if (m->leave.step == LEAVE_DONE)
        return;
    mesh_join_timer(m, now_ns);
    mesh_stream_timer(m, now_ns);
    mesh_ping_timer(m, now_ns);
    mesh_expire(m, now_ns);
    if (!m->is_alone && now_ns >= m->next_push_pull_ns)
        push_pull(m, now_ns);
    if (broadcast_count(m->news) && now_ns >= m->next_gossip_ns) {
        m->next_gossip_ns = now_ns + m->timing.gossip_interval_ns;
        mesh_gossip(m, now_ns);
    }
    mesh_leave_timer(m, now_ns);
    leave_call(m, now_ns);
}

/* ---- streams and names: mesh_stream.c and mesh_join.c do the work ---- */

/* These wrap what comes from the host, as mesh_on_packet() does. */
uint32_t mesh_on_accept(struct mesh *m, uint64_t now_ns,
                        const struct addr *from)
{
    enter(m, now_ns);
    uint32_t id = mesh_stream_accept(m, now_ns, from);
    leave_call(m, now_ns);
    return id;
}

void mesh_on_connected(struct mesh *m, uint64_t now_ns, uint32_t id)
{
    enter(m, now_ns);
    mesh_stream_connected(m, now_ns, id);
    leave_call(m, now_ns);
}

void mesh_on_bytes(struct mesh *m, uint64_t now_ns, uint32_t id,
                   const void *data, size_t len)
{
    enter(m, now_ns);
    m->stats.stream_bytes_in += len;
    mesh_stream_bytes(m, now_ns, id, data, len);
    leave_call(m, now_ns);
}

void mesh_on_gone(struct mesh *m, uint64_t now_ns, uint32_t id)
{
    enter(m, now_ns);
    mesh_stream_gone(m, now_ns, id);
    leave_call(m, now_ns);
}

void mesh_on_resolved(struct mesh *m, uint64_t now_ns, uint32_t seed,
                      const struct addr *addrs, size_t n)
{
    enter(m, now_ns);
    mesh_join_resolved(m, now_ns, seed, addrs, n);
    leave_call(m, now_ns);
}

/* ---- wishes ---- */

int mesh_set_meta(struct mesh *m, uint64_t now_ns, struct span meta)
{
    if (meta.len > ML_META_MAX)
        return ERR_TOOBIG;
    if (m->leave.step != LEAVE_NOT)
        return 0; /* nobody is to hear of it any more */
    enter(m, now_ns);
    int rc = members_set_meta(m->members, meta);
    if (!rc)
        mesh_tell_self(m);
    leave_call(m, now_ns);
    return rc;
}

int mesh_set_keys(struct mesh *m, const struct ml_key *keys, size_t n,
                  struct errmsg *msg)
{
    if (!m->wire.keys != !n) {
        errmsg_set(msg, "encryption cannot be switched on or off while "
                        "running");
        return ERR_BAD;
    }
    if (n == 0)
        return 0;
    struct ml_keyring *ring =
        ml_keyring_open(keys, n, m->random, m->random_arg, msg);
    if (!ring)
        return ERR_BAD;
    ml_keyring_close(m->wire.keys);
    m->wire.keys = ring;
    return 0;
}

int mesh_set_seeds(struct mesh *m, const char (*seeds)[MESH_SEED_SIZE],
                   size_t n)
{
    if (n > MESH_SEEDS_MAX)
        return ERR_TOOBIG;
    for (size_t i = 0; i < n; i++) {
        size_t len = strnlen(seeds[i], MESH_SEED_SIZE);
        if (len == 0 || len == MESH_SEED_SIZE)
            return ERR_BAD;
    }
    if (n)
        memcpy(m->seeds, seeds, n * sizeof(*seeds));
    m->n_seeds = n;
    return 0;
}

void mesh_set_policy(struct mesh *m, const struct addr_policy *policy)
{
    m->policy = *policy;
}

void mesh_set_accepts_clear(struct mesh *m, bool accepts_clear)
{
    m->wire.accepts_clear = accepts_clear;
}

int mesh_send(struct mesh *m, uint64_t now_ns, uint32_t member,
              struct span message, bool by_stream)
{
    if (message.len == 0 || message.data[0] < SERF_TYPE_OURS ||
        member >= members_size(m->members) || member == MEMBERS_SELF)
        return ERR_CLOSED;
    const struct member *who = members_peek(m->members, member);
    if (!who->name_len || who->state > MEMBER_SUSPECT)
        return ERR_CLOSED;
    if (!who->is_ours)
        return ERR_AUTH;
    if (message.len > m->limits.stream.user_max)
        return ERR_TOOBIG;
    enter(m, now_ns);
    int rc = 0;
    struct ml_msg msg = {.type = ML_USER, .user = message};
    if (!by_stream &&
        message.len + 1 <= ml_packet_room(&m->wire, m->limits.packet_max, 1))
        mesh_send_msg(m, &who->addr, mesh_takes_crc(m, member), &msg, false);
    else
        rc = mesh_stream_user(m, now_ns, member, message);
    if (!rc)
        m->stats.user_out++;
    leave_call(m, now_ns);
    return rc;
}

/* ---- reading ---- */

const struct members *mesh_members(const struct mesh *m)
{
    return m->members;
}

void mesh_stats(const struct mesh *m, struct mesh_stats *out)
{
    *out = m->stats;
    out->sealed = m->wire.keys ? ml_keyring_sealed(m->wire.keys) : 0;
    out->health = m->health;
    out->queue_items = broadcast_count(m->news);
    out->queue_bytes = broadcast_bytes(m->news);
    out->queue_dropped = broadcast_dropped(m->news);
    out->unproven_bytes = m->budget.bytes;
    out->streams = mesh_stream_count(m);
    out->incarnation = members_peek(m->members, MEMBERS_SELF)->incarnation;
    out->is_alone = m->is_alone;
    out->is_leaving = m->leave.step != LEAVE_NOT;
}

uint64_t mesh_digest(const struct mesh *m)
{
    uint64_t parts[6] = {
        members_digest(m->members),
        broadcast_count(m->news),
        broadcast_bytes(m->news),
        m->serf.ltime,
        m->leave.step,
        m->n_lost,
    };
    return hash_bytes(0, parts, sizeof(parts));
}

void mesh_check(const struct mesh *m)
{
    members_check(m->members);
    broadcast_check(m->news);
    assert(members_count(m->members) <= m->limits.members_max ||
           CANARY(m->canary, CANARY_UNBOUNDED));
    assert(m->health < m->timing.health_max);
    assert(m->budget.bytes <= m->limits.budget_bytes);
    assert(m->out.n <= MESH_EFFECTS_MAX);
    assert(m->n_lost <= MESH_LOST_MAX);
    assert(m->join.next <= m->join.n);
    assert(mesh_stream_count(m) <= m->n_streams);
}

/* ---- life ---- */

static int check_config(const struct mesh_config *c, struct errmsg *msg)
{
    size_t len = strlen(c->name);
    if (len == 0 || len > ML_NAME_MAX)
        errmsg_set(msg, "node name must have 1 to %d bytes", ML_NAME_MAX);
    else if (c->meta.len > ML_META_MAX)
        errmsg_set(msg, "node facts take %zu bytes, at most %d fit",
                   c->meta.len, ML_META_MAX);
    else if (strlen(c->label) > ML_LABEL_MAX)
        errmsg_set(msg, "label has more than %d bytes", ML_LABEL_MAX);
    else if (c->n_seeds > MESH_SEEDS_MAX)
        errmsg_set(msg, "more than %d seeds", MESH_SEEDS_MAX);
    else if (c->limits.streams_max + MESH_DIALS_MAX > MESH_STREAMS_MAX)
        errmsg_set(msg, "more than %d streams",
                   MESH_STREAMS_MAX - MESH_DIALS_MAX);
    else if (c->advertise.family == ADDR_NONE || !c->advertise.port)
        errmsg_set(msg, "no address to advertise");
    else
        return 0;
    return ERR_BAD;
}

static uint32_t first_incarnation(const struct mesh_config *c)
{
    if (CANARY(c->canary, CANARY_START_LOW) || c->now_unix_s == 0)
        return 1;
    return c->now_unix_s >= MEMBERS_CEILING ? MEMBERS_CEILING - 1
                                            : (uint32_t)c->now_unix_s;
}

static struct members *
open_members(const struct mesh *m, const struct mesh_config *c, uint64_t now_ns)
{
    struct members_config mc = {
        .name = mesh_self(m),
        .advertise = c->advertise,
        .meta = c->meta,
        .incarnation = first_incarnation(c),
        .now_unix_s = c->now_unix_s,
        .members_max = c->limits.members_max,
        .new_per_s = c->limits.new_per_s,
        .reclaim_ns = c->timing.reclaim_ns,
        .ping_interval_ns = c->timing.ping_interval_ns,
        .suspicion_mult = c->timing.suspicion_mult,
        .suspicion_max_mult = c->timing.suspicion_max_mult,
        .gossip_to_dead_ns = c->timing.gossip_to_dead_ns,
        .policy = &m->policy,
        .seed = c->seed ^ 1,
        .canary = c->canary,
    };
    memcpy(mc.vsn, our_vsn, sizeof(our_vsn));
    return members_open(&mc, now_ns);
}

static int open_parts(struct mesh *m, const struct mesh_config *c,
                      uint64_t now_ns, struct errmsg *msg)
{
    struct broadcast_limits news = {.items_max = c->limits.members_max,
                                    .bytes_max = 1u << 20,
                                    .item_max = 0};
    m->wire = (struct ml_wire){.label = span_of_text(m->label),
                               .accepts_clear = c->accepts_clear};
    if (c->n_keys) {
        m->wire.keys =
            ml_keyring_open(c->keys, c->n_keys, c->random, c->random_arg, msg);
        if (!m->wire.keys)
            return ERR_BAD;
    }
    size_t room = ml_packet_room(&m->wire, c->limits.packet_max, 1);
    news.item_max = room > 4 ? room - 4 : 0; /* alone in a compound */
    m->n_streams = c->limits.streams_max + MESH_DIALS_MAX;
    m->relays = calloc(c->limits.relays_max, sizeof(*m->relays));
    m->streams = calloc(m->n_streams, sizeof(*m->streams));
    m->members = open_members(m, c, now_ns);
    m->news = broadcast_open(&news);
    if (!m->relays || !m->streams || !m->members || !m->news) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    return 0;
}

struct mesh *mesh_open(const struct mesh_config *c, uint64_t now_ns,
                       struct errmsg *msg)
{
    if (check_config(c, msg))
        return NULL;
    struct mesh *m = calloc(1, sizeof(*m));
    if (!m) {
        errmsg_set(msg, "out of memory");
        return NULL;
    }
    m->timing = c->timing;
    m->limits = c->limits;
    m->name_len = strlen(c->name);
    memcpy(m->name, c->name, m->name_len);
    memcpy(m->label, c->label, strlen(c->label));
    m->advertise = c->advertise;
    m->policy = c->policy;
    m->canary = c->canary;
    m->random = c->random;
    m->random_arg = c->random_arg;
    m->budget.bytes_max = c->limits.budget_bytes;
    m->now_ns = now_ns;
    m->is_alone = true;
    m->serf.ltime = 1;
    rng_seed(&m->rng, c->seed);
    m->serf.seed = hash_bytes(c->seed, "serf", 4);
    wr_init_grow(&m->out.arena, ARENA_MAX);
    wr_init_grow(&m->message, MESSAGE_MAX);
    if (open_parts(m, c, now_ns, msg) ||
        mesh_set_seeds(m, c->seeds, c->n_seeds)) {
        mesh_close(m);
        return NULL;
    }
    m->next_ping_ns = now_ns + mesh_jitter(m, c->timing.ping_interval_ns);
    m->next_gossip_ns = now_ns + mesh_jitter(m, c->timing.gossip_interval_ns);
    m->next_push_pull_ns =
        now_ns + mesh_jitter(m, c->timing.push_pull_interval_ns);
    mesh_join_open(m, now_ns);
    m->deadline_ns = deadline_of(m);
    return m;
}

void mesh_close(struct mesh *m)
{
    if (!m)
        return;
    mesh_stream_fini(m);
    broadcast_close(m->news);
    members_close(m->members);
    ml_keyring_close(m->wire.keys);
    ml_scratch_fini(&m->in);
    ml_scratch_fini(&m->seal);
    wr_fini(&m->message);
    wr_fini(&m->out.arena);
    free(m->streams);
    free(m->relays);
    free(m);
}
