/* Exchanges over streams: push/pull in both roles, the ping over TCP, user
 * messages. One message each way, one absolute deadline for all of it. */
#include <assert.h>
#include <string.h>

#include "mesh/mesh_private.h"

#define SLOT_BITS 8
#define SLOT_MASK ((1u << SLOT_BITS) - 1)

/* ---- slots ---- */

struct stream *mesh_stream_get(struct mesh *m, uint32_t id)
{
    size_t slot = id & SLOT_MASK;
    if (slot >= m->n_streams || m->streams[slot].kind == STREAM_FREE ||
        m->streams[slot].id != id)
        return NULL;
    return &m->streams[slot];
}

/* The first streams_max slots are for what is accepted, so that strangers who
 * fill them do not keep us from dialling. */
static struct stream *take_slot(struct mesh *m, bool is_accepted)
{
    size_t from = is_accepted ? 0 : m->limits.streams_max;
    size_t to = is_accepted ? m->limits.streams_max : m->n_streams;
    for (size_t i = from; i < to; i++) {
        if (m->streams[i].kind != STREAM_FREE)
            continue;
        if (++m->next_gen >= 1u << (32 - SLOT_BITS))
            m->next_gen = 1;
        m->streams[i] = (struct stream){
            .id = m->next_gen << SLOT_BITS | (uint32_t)i,
            .member = UINT32_MAX,
        };
        m->streams_open++;
        return &m->streams[i];
    }
    return NULL;
}

static void free_slot(struct mesh *m, struct stream *s)
{
    ml_stream_in_fini(&s->in);
    wr_fini(&s->payload);
    s->kind = STREAM_FREE;
    s->id = 0;
    m->streams_open--;
}

size_t mesh_stream_count(const struct mesh *m)
{
    return m->streams_open;
}

void mesh_stream_fini(struct mesh *m)
{
    for (size_t i = 0; m->streams && i < m->n_streams; i++) {
        if (m->streams[i].kind != STREAM_FREE)
            free_slot(m, &m->streams[i]);
    }
}

/* ---- what an end means to whoever wanted the stream ---- */

static void count_failure(struct mesh *m, const struct stream *s)
{
    if (mesh_is_still(m, s->member, s->hash))
        members_get(m->members, s->member)->tcp_misses++;
}

/* The exchange came to nothing. */
static void report_failure(struct mesh *m, uint64_t now_ns,
                           const struct stream *s)
{
    switch ((enum stream_kind)s->kind) {
    case STREAM_PING:
        if (m->ping.stream == s->id)
            m->ping.stream = 0;
        break;
    case STREAM_PEEK:
    case STREAM_JOIN:
        m->stats.push_pull_failures++;
        mesh_join_done(m, now_ns, false);
        break;
    case STREAM_PUSH_PULL:
        m->stats.push_pull_failures++;
        count_failure(m, s);
        break;
    case STREAM_FREE:
    case STREAM_IN:
    case STREAM_USER:
        break;
    }
}

static void hang_up(struct mesh *m, struct stream *s)
{
    struct mesh_effect *e = mesh_effect(m, MESH_HANGUP);
    if (e)
        e->id = s->id;
    free_slot(m, s);
}

void mesh_stream_hangup(struct mesh *m, uint32_t id)
{
    struct stream *s = mesh_stream_get(m, id);
    if (s)
        hang_up(m, s);
}

/* Give up: the slot is free before anybody is told, who may dial anew. */
static void give_up(struct mesh *m, uint64_t now_ns, struct stream *s)
{
    struct stream was = *s;
    hang_up(m, s);
    report_failure(m, now_ns, &was);
}

/* ---- beginning ---- */

uint32_t mesh_stream_dial(struct mesh *m, uint64_t now_ns,
                          enum stream_kind kind, const struct addr *to,
                          uint32_t member, uint64_t deadline_ns)
{
    (void)now_ns;
    struct stream *s = take_slot(m, false);
    if (!s)
        return 0;
    struct mesh_effect *e = mesh_effect(m, MESH_DIAL);
    if (!e) {
        s->kind = STREAM_IN; /* any but free */
        free_slot(m, s);
        return 0;
    }
    s->kind = (uint8_t)kind;
    s->peer = *to;
    s->member = member;
    s->hash = member == UINT32_MAX ? 0 : members_peek(m->members, member)->hash;
    s->deadline_ns = deadline_ns;
    ml_stream_in_init(&s->in, &m->wire, &m->limits.stream, &m->budget, false);
    e->id = s->id;
    e->to = *to;
    m->stats.streams_out++;
    return s->id;
}

uint32_t mesh_stream_accept(struct mesh *m, uint64_t now_ns,
                            const struct addr *from)
{
    unsigned same = 0;
    for (size_t i = 0; i < m->limits.streams_max; i++) {
        const struct stream *s = &m->streams[i];
        same += s->kind == STREAM_IN && addr_same_ip(&s->peer, from);
    }
    struct stream *s = NULL;
    if (m->leave.step != LEAVE_DONE &&
        (same < m->limits.streams_per_ip || addr_is_loopback(from)))
        s = take_slot(m, true);
    if (!s) {
        m->stats.streams_refused++;
        return 0;
    }
    s->kind = STREAM_IN;
    s->is_open = true;
    s->peer = *from;
    s->deadline_ns = now_ns + m->timing.stream_timeout_ns;
    ml_stream_in_init(&s->in, &m->wire, &m->limits.stream, &m->budget, true);
    m->stats.streams_in++;
    return s->id;
}

/* ---- writing ---- */

/* Send what stands in m->message. False if it could not be. */
static bool write_message(struct mesh *m, const struct stream *s,
                          bool is_dialler)
{
    size_t start = mesh_arena(m);
    struct wr *arena = &m->out.arena;
    if (wr_err(&m->message) ||
        ml_stream_close(&m->wire, is_dialler,
                        span_of(m->message.data, m->message.len), arena)) {
        arena->err = 0;
        arena->len = start;
        m->stats.effects_dropped++;
        return false;
    }
    m->stats.stream_bytes_out += arena->len - start;
    mesh_effect_data(m, &(struct mesh_effect){.kind = MESH_WRITE, .id = s->id},
                     start);
    return true;
}

/* All records; no user state of ours: Serf agents would not know what to do
 * with one, and log an error at each exchange. */
static void build_state(struct mesh *m, bool is_join)
{
    size_t size = members_size(m->members);
    struct ml_push_pull head = {.is_join = is_join};
    struct ml_alive entry;

    wr_reset(&m->message);
    wr_u8(&m->message, ML_PUSH_PULL);
    head.n_nodes = (uint32_t)members_count(m->members);
    ml_push_pull_write(&m->message, &head);
    for (size_t i = 0; i < size; i++) {
        if (!members_peek(m->members, (uint32_t)i)->name_len)
            continue;
        members_describe(m->members, (uint32_t)i, &entry);
        ml_entry_write(&m->message, &entry);
    }
}

/* A request that tells nothing and changes nothing at the peer, but is
 * answered with its whole state. */
static void build_peek(struct mesh *m)
{
    struct ml_push_pull head = {0};
    wr_reset(&m->message);
    wr_u8(&m->message, ML_PUSH_PULL);
    ml_push_pull_write(&m->message, &head);
}

static void build_user(struct mesh *m, const struct stream *s)
{
    wr_reset(&m->message);
    wr_u8(&m->message, ML_USER);
    ml_user_len_write(&m->message, (uint32_t)s->payload.len);
    wr_bytes(&m->message, s->payload.data, s->payload.len);
}

void mesh_stream_connected(struct mesh *m, uint64_t now_ns, uint32_t id)
{
    struct stream *s = mesh_stream_get(m, id);
    if (!s || s->is_open || s->kind == STREAM_IN)
        return;
    s->is_open = true;
    switch ((enum stream_kind)s->kind) {
    case STREAM_PING:
        wr_reset(&m->message);
        mesh_ping_write(m, &m->message);
        break;
    case STREAM_PEEK:
        build_peek(m);
        break;
    case STREAM_JOIN:
    case STREAM_PUSH_PULL:
        build_state(m, s->kind == STREAM_JOIN);
        break;
    case STREAM_USER:
        build_user(m, s);
        break;
    case STREAM_FREE:
    case STREAM_IN:
        return;
    }
    if (!write_message(m, s, true))
        give_up(m, now_ns, s);
    else if (s->kind == STREAM_USER)
        hang_up(m, s);
}

int mesh_stream_user(struct mesh *m, uint64_t now_ns, uint32_t member,
                     struct span message)
{
    const struct member *who = members_peek(m->members, member);
    uint32_t id = mesh_stream_dial(m, now_ns, STREAM_USER, &who->addr, member,
                                   now_ns + m->timing.stream_timeout_ns);
    struct stream *s = id ? mesh_stream_get(m, id) : NULL;
    if (!s)
        return ERR_BUSY;
    wr_init_grow(&s->payload, m->limits.stream.user_max);
    wr_bytes(&s->payload, message.data, message.len);
    if (!wr_err(&s->payload))
        return 0;
    hang_up(m, s);
    return ERR_NOMEM;
}

/* ---- merging a state ---- */

struct versions {
    uint8_t p_min, p_max, d_min, d_max;
};

static void narrow(struct versions *v, const uint8_t *vsn)
{
    v->p_min = vsn[0] > v->p_min ? vsn[0] : v->p_min;
    v->p_max = vsn[1] < v->p_max ? vsn[1] : v->p_max;
    v->d_min = vsn[3] > v->d_min ? vsn[3] : v->d_min;
    v->d_max = vsn[4] < v->d_max ? vsn[4] : v->d_max;
}

static bool fits(const struct versions *v, const uint8_t *vsn)
{
    return vsn[2] >= v->p_min && vsn[2] <= v->p_max && vsn[5] >= v->d_min &&
           vsn[5] <= v->d_max;
}

/* Do this node and we not understand each other, whatever the others do? */
static bool excludes_us(const struct mesh *m, const struct ml_alive *entry)
{
    return !ml_alive_check(entry) &&
           !members_is_compatible(m->members, entry->vsn.data);
}

/* Report who is to blame: a node that excludes ours by itself, if there is
 * one; else `at_odds`, which does not go with somebody we both know. */
static void report_versions(struct mesh *m, const struct ml_stream_msg *msg,
                            struct span at_odds)
{
    struct rd r = msg->entries;
    struct ml_alive entry;
    for (uint32_t i = 0; i < msg->push_pull.n_nodes; i++) {
        if (ml_entry_read(&r, &entry))
            break;
        if (excludes_us(m, &entry)) {
            at_odds = entry.node;
            break;
        }
    }
    mesh_join_incompatible(m, at_odds);
}

/* memberlist's check before a merge: each node's spoken versions lie within
 * what every alive node understands. Entries that are unfit to be stored do
 * not count: a single one of them would stop every merge of the mesh. */
static bool versions_fit(struct mesh *m, struct ml_stream_msg *msg)
{
    struct versions all = {0, 255, 0, 255};
    size_t size = members_size(m->members);
    struct ml_alive entry;

    for (size_t i = 0; i < size; i++) {
        const struct member *who = members_peek(m->members, (uint32_t)i);
        if (who->name_len && who->state == MEMBER_ALIVE)
            narrow(&all, who->vsn);
    }
    for (int pass = 0; pass < 2; pass++) {
        struct rd r = msg->entries;
        for (uint32_t i = 0; i < msg->push_pull.n_nodes; i++) {
            if (ml_entry_read(&r, &entry))
                return false;
            if (ml_alive_check(&entry))
                continue;
            if (pass == 0 && entry.state == ML_STATE_ALIVE)
                narrow(&all, entry.vsn.data);
            else if (pass == 1 && !fits(&all, entry.vsn.data)) {
                report_versions(m, msg, entry.node);
                return false;
            }
        }
    }
    if (fits(&all, members_peek(m->members, MEMBERS_SELF)->vsn))
        return true;
    report_versions(m, msg, mesh_self(m));
    return false;
}

/* Deviation: memberlist refuses all of a state in which one record does not
 * fit, so that one forged record, once believed by some, keeps them apart from
 * the others for ever. Here such a record is left out, by members.c, and
 * named; only before joining does it count against the whole (the peek). */
static void merge(struct mesh *m, uint64_t now_ns, struct ml_stream_msg *msg)
{
    struct ml_alive entry;
    struct rd r = msg->entries;
    for (uint32_t i = 0; i < msg->push_pull.n_nodes; i++) {
        if (ml_entry_read(&r, &entry))
            break;
        if (excludes_us(m, &entry))
            mesh_join_incompatible(m, entry.node);
        mesh_entry(m, now_ns, &entry);
    }
    if (msg->user_state.len)
        mesh_serf_on_state(m, msg->user_state);
    m->stats.push_pulls++;
}

/* ---- reading ---- */

static void on_request(struct mesh *m, uint64_t now_ns, struct stream *s,
                       struct ml_stream_msg *msg)
{
    bool is_peek = false;
    switch (msg->type) {
    case ML_PING: {
        struct ml_msg ack = {.type = ML_ACK};
        if (!span_equal(msg->msg.ping.node, mesh_self(m)))
            break;
        ack.ack.seq_no = msg->msg.ping.seq_no;
        wr_reset(&m->message);
        ml_msg_encode(&m->message, &ack);
        write_message(m, s, false);
        break;
    }
    case ML_PUSH_PULL:
        is_peek = msg->push_pull.n_nodes == 0 && !msg->user_state.len;
        build_state(m, msg->push_pull.is_join);
        if (write_message(m, s, false) && !is_peek)
            merge(m, now_ns, msg);
        break;
    case ML_USER:
        mesh_serf_on_user(m, now_ns, msg->msg.user, &s->peer);
        break;
    default:
        m->stats.drops[ML_DROP_TYPE]++;
        break;
    }
    hang_up(m, s);
}

static void on_state(struct mesh *m, uint64_t now_ns, struct stream *s,
                     struct ml_stream_msg *msg)
{
    enum stream_kind kind = (enum stream_kind)s->kind;
    struct stream was = *s;

    if (msg->type != ML_PUSH_PULL ||
        (kind == STREAM_PEEK && !versions_fit(m, msg))) {
        give_up(m, now_ns, s);
    } else if (kind == STREAM_PEEK) {
        mesh_join_peeked(m, now_ns, &was.peer, msg);
        hang_up(m, s);
    } else {
        merge(m, now_ns, msg);
        if (mesh_is_still(m, was.member, was.hash))
            members_get(m->members, was.member)->tcp_misses = 0;
        hang_up(m, s);
        if (kind == STREAM_JOIN)
            mesh_join_done(m, now_ns, true);
    }
}

static void on_reply(struct mesh *m, uint64_t now_ns, struct stream *s,
                     struct ml_stream_msg *msg)
{
    if (s->kind != STREAM_PING) {
        on_state(m, now_ns, s, msg);
        return;
    }
    if (msg->type == ML_ACK)
        mesh_ping_on_stream(m, msg->msg.ack.seq_no);
    else
        m->ping.stream = 0;
    hang_up(m, s);
}

/* The message is complete and borrowed from the stream, which is hung up only
 * after all of it was used. */
static void on_message(struct mesh *m, uint64_t now_ns, struct stream *s)
{
    struct ml_stream_msg msg;
    if (ml_stream_in_take(&s->in, &msg)) {
        m->stats.drops[ML_DROP_MESSAGE]++;
        give_up(m, now_ns, s);
    } else if (s->kind == STREAM_IN) {
        on_request(m, now_ns, s, &msg);
    } else {
        on_reply(m, now_ns, s, &msg);
    }
}

void mesh_stream_bytes(struct mesh *m, uint64_t now_ns, uint32_t id,
                       const void *data, size_t len)
{
    struct stream *s = mesh_stream_get(m, id);
    if (!s || !s->is_open || s->kind == STREAM_USER)
        return;
    int rc = ml_stream_in_feed(&s->in, data, len);
    if (rc == 1) {
        on_message(m, now_ns, s);
    } else if (rc < 0) {
        /* Closed without a word: strangers learn nothing, not even that they
         * were not understood. */
        m->stats.drops[rc == ERR_BAD ? s->in.why : ML_DROP_BUDGET]++;
        give_up(m, now_ns, s);
    }
}

void mesh_stream_gone(struct mesh *m, uint64_t now_ns, uint32_t id)
{
    struct stream *s = mesh_stream_get(m, id);
    if (!s)
        return;
    struct stream was = *s;
    free_slot(m, s);
    report_failure(m, now_ns, &was);
}

/* ---- time ---- */

void mesh_stream_timer(struct mesh *m, uint64_t now_ns)
{
    for (size_t i = 0; m->streams_open && i < m->n_streams; i++) {
        struct stream *s = &m->streams[i];
        if (s->kind != STREAM_FREE && now_ns >= s->deadline_ns)
            give_up(m, now_ns, s);
    }
}

uint64_t mesh_stream_deadline(const struct mesh *m)
{
    uint64_t d = NEVER;
    for (size_t i = 0; m->streams_open && i < m->n_streams; i++) {
        const struct stream *s = &m->streams[i];
        if (s->kind != STREAM_FREE && s->deadline_ns < d)
            d = s->deadline_ns;
    }
    return d;
}

void mesh_stream_shift(struct mesh *m, uint64_t gap_ns)
{
    for (size_t i = 0; m->streams_open && i < m->n_streams; i++) {
        if (m->streams[i].kind != STREAM_FREE)
            m->streams[i].deadline_ns += gap_ns;
    }
}
