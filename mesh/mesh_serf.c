/* A good neighbour of Serf agents: intents to leave are heeded and given, and
 * what Serf gossips is passed on once, else our nodes would be sinks that
 * agents count on when they decide how often to tell something. */
#include <string.h>

#include "mesh/mesh_private.h"

#define SEC  UINT64_C(1000000000)
#define WAYS 4 /* places where one hash may be */

/* Longer than anything goes round: by then all have told it their last time. */
#define SEEN_NS (60 * SEC)

/* What is passed on for others: so many a second, after so many at once. */
#define PASSED_PER_S   64
#define PASSED_AT_ONCE 512

/* Lamport times from here on are nobody's: time would have to run for ages. */
#define LTIME_END (UINT64_MAX / 2)

/* ---- the clock ---- */

static void witness(struct mesh *m, uint64_t ltime)
{
    if (ltime >= m->serf.ltime && ltime < LTIME_END)
        m->serf.ltime = ltime + 1;
}

/* ---- what was seen ---- */

static uint64_t hash_of(const struct mesh *m, struct span payload)
{
    uint64_t hash = hash_bytes(m->serf.seed, payload.data, payload.len);
    return hash ? hash : 1;
}

/* Is it new? Then it is remembered. Where there is no room to remember it, it
 * counts as known: what is told on and forgotten comes back and is told on
 * again, for ever, by all. */
static bool is_new(struct mesh *m, struct span payload)
{
    uint64_t hash = hash_of(m, payload);
    size_t set = hash % (MESH_SEEN_MAX / WAYS) * WAYS;
    size_t at = MESH_SEEN_MAX;
    for (size_t i = set; i < set + WAYS; i++) {
        if (m->serf.seen[i].hash == hash)
            return false;
        if (!m->serf.seen[i].hash ||
            m->now_ns - m->serf.seen[i].at_ns > SEEN_NS)
            at = i;
    }
    if (at == MESH_SEEN_MAX)
        return false;
    m->serf.seen[at].hash = hash;
    m->serf.seen[at].at_ns = m->now_ns;
    return true;
}

static bool may_pass_on(struct mesh *m)
{
    const uint64_t one_ns = rate_price(1, PASSED_PER_S);
    return rate_take(&m->serf.passed, m->now_ns, one_ns,
                     PASSED_AT_ONCE * one_ns);
}

/* Queue a user message of Serf's for gossip. */
static uint64_t queue(struct mesh *m, struct span payload)
{
    uint64_t id = 0;
    wr_reset(&m->message);
    wr_u8(&m->message, ML_USER);
    wr_bytes(&m->message, payload.data, payload.len);
    if (wr_err(&m->message) ||
        broadcast_add(m->news, BROADCAST_USER, hash_of(m, payload),
                      span_of(m->message.data, m->message.len), &id))
        return 0;
    return id;
}

static void pass_on(struct mesh *m, struct span payload)
{
    if (may_pass_on(m))
        queue(m, payload);
}

uint64_t mesh_serf_tell(struct mesh *m, bool is_leave)
{
    uint8_t text[ML_NAME_MAX + 64];
    struct wr w;
    struct member *self = members_get(m->members, MEMBERS_SELF);
    struct serf_intent intent = {
        .is_leave = is_leave,
        .ltime = m->serf.ltime,
        .node = mesh_self(m),
    };
    if (intent.ltime <= self->status_ltime)
        intent.ltime = self->status_ltime + 1;
    self->status_ltime = intent.ltime;
    witness(m, intent.ltime);
    wr_init_fixed(&w, text, sizeof(text));
    serf_intent_write(&w, &intent);
    if (wr_err(&w))
        return 0;
    struct span payload = span_of(w.data, w.len);
    (void)is_new(m, payload); /* not to be passed on when it comes back */
    return queue(m, payload);
}

/* ---- intents ---- */

static void on_intent(struct mesh *m, struct span payload)
{
    struct serf_intent intent;
    /* Deviation: an intent at the end of time is void. It could not be denied,
     * for nothing comes after it. */
    if (serf_intent_read(payload, &intent) || intent.ltime >= LTIME_END) {
        m->stats.drops[ML_DROP_MESSAGE]++;
        return;
    }
    if (!is_new(m, payload))
        return;
    witness(m, intent.ltime);
    uint32_t index = members_find(m->members, intent.node);
    if (index == MEMBERS_SELF) {
        struct member *self = members_get(m->members, MEMBERS_SELF);
        if (intent.ltime > self->status_ltime)
            self->status_ltime = intent.ltime;
        if (intent.is_leave && m->leave.step == LEAVE_NOT)
            mesh_serf_tell(m, false); /* no, we are here */
    } else if (index != UINT32_MAX) {
        struct member *who = members_get(m->members, index);
        if (intent.ltime > who->status_ltime) {
            bool was_leaving = who->is_leaving;
            who->status_ltime = intent.ltime;
            who->is_leaving = intent.is_leave;
            if (was_leaving != who->is_leaving)
                mesh_event(m, MESH_UPDATED, index);
        }
    }
    pass_on(m, payload);
}

static void on_event(struct mesh *m, struct span payload)
{
    struct serf_event event;
    if (serf_event_read(payload, &event)) {
        m->stats.drops[ML_DROP_MESSAGE]++;
        return;
    }
    bool stays = event.type == SERF_QUERY && event.flags & 2;
    if (is_new(m, payload) && !stays)
        pass_on(m, payload);
}

/* A stream comes from any port of its sender. */
static uint32_t sender_of(const struct mesh *m, const struct addr *from)
{
    uint32_t member = members_at(m->members, from, false);
    return member != UINT32_MAX ? member : members_at(m->members, from, true);
}

void mesh_serf_on_user(struct mesh *m, uint64_t now_ns, struct span payload,
                       const struct addr *from)
{
    (void)now_ns;
    if (!payload.len)
        return;
    switch (payload.data[0]) {
    case SERF_LEAVE:
    case SERF_JOIN:
        on_intent(m, payload);
        return;
    case SERF_USER_EVENT:
    case SERF_QUERY:
        on_event(m, payload);
        return;
    default:
        break;
    }
    if (payload.data[0] < SERF_TYPE_OURS)
        return; /* responses and relays are for those who asked */
    size_t start = mesh_arena(m);
    wr_bytes(&m->out.arena, payload.data, payload.len);
    m->stats.user_in++;
    mesh_effect_data(m,
                     &(struct mesh_effect){
                         .kind = MESH_USER,
                         .id = sender_of(m, from),
                         .from = *from,
                     },
                     start);
}

/* ---- the state in a push/pull ---- */

void mesh_serf_on_state(struct mesh *m, struct span state)
{
    struct serf_state s;
    struct span name;
    if (serf_state_read(state, &s)) {
        m->stats.drops[ML_DROP_MESSAGE]++;
        return;
    }
    witness(m, s.ltime ? s.ltime - 1 : 0);
    if (m->leave.step != LEAVE_NOT)
        return;
    for (size_t i = 0; i < s.n_left && !serf_left_read(&s.left, &name); i++) {
        if (!span_equal(name, mesh_self(m)))
            continue;
        mesh_serf_tell(m, false);
        break; /* once, however often it stands there */
    }
}
