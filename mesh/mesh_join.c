/* Joining, coming back, leaving. */
#include <assert.h>
#include <string.h>

#include "mesh/mesh_private.h"

#define SEC UINT64_C(1000000000)

#define AT_ONCE_MAX    3  /* candidates tried side by side */
#define LOST_AT_ONCE   16 /* of the lost, in one round */
#define CONFLICT_EVERY (5 * SEC)
#define LOST_KEEP      (24 * 3600 * SEC)
#define INTENT_MAX     (1500 * SEC / 1000)
#define NOTICE_MAX     (2 * SEC)
#define LINGER         SEC
#define LEAVE_PARTNERS 2

/* ---- company ---- */

void mesh_count_company(struct mesh *m, uint64_t now_ns)
{
    size_t n = members_count_state(m->members, MEMBER_ALIVE) +
               members_count_state(m->members, MEMBER_SUSPECT);
    bool is_alone =
        n <= (members_peek(m->members, MEMBERS_SELF)->state == MEMBER_ALIVE);
    if (is_alone == m->is_alone)
        return;
    m->is_alone = is_alone;
    if (is_alone) {
        m->join.backoff_ns = m->timing.rejoin_min_ns;
        m->join.next_ns = now_ns + mesh_jitter(m, m->timing.rejoin_min_ns);
        mesh_event(m, MESH_ALONE, UINT32_MAX);
        return;
    }
    /* Nothing was due while there was nobody. */
    if (m->next_push_pull_ns <= now_ns)
        m->next_push_pull_ns =
            now_ns + mesh_jitter(m, m->timing.push_pull_interval_ns);
    if (m->next_ping_ns <= now_ns)
        m->next_ping_ns = now_ns + mesh_jitter(m, m->timing.ping_interval_ns);
    mesh_event(m, MESH_CONNECTED, UINT32_MAX);
}

/* ---- those who were lost ---- */

void mesh_lost_remove(struct mesh *m, uint64_t hash)
{
    for (size_t i = 0; i < m->n_lost; i++) {
        if (m->lost[i].hash == hash) {
            m->lost[i] = m->lost[--m->n_lost];
            return;
        }
    }
}

void mesh_lost_add(struct mesh *m, uint64_t now_ns, const struct member *who)
{
    mesh_lost_remove(m, who->hash);
    /* When it is full any one makes room. */
    size_t at = m->n_lost == MESH_LOST_MAX ? rng_below(&m->rng, MESH_LOST_MAX)
                                           : m->n_lost++;
    m->lost[at] = (struct lost){who->hash, who->addr, now_ns};
}

/* ---- candidates ---- */

/* "1.2.3.4", "1.2.3.4:5", "::1" and "[::1]:5". False for names. */
static bool parse_literal(const char *text, struct addr *a)
{
    if (!addr_parse(a, text)) {
        if (!a->port)
            a->port = MESH_PORT;
        return true;
    }
    if (addr_parse_ip(a, text))
        return false;
    a->port = MESH_PORT;
    return true;
}

/* Seeds go before those who were lost, and into their place if need be: a name
 * is resolved to who is there today. */
static void add_candidate(struct mesh *m, const struct addr *a, bool is_seed)
{
    struct join *j = &m->join;
    if (addr_equal(a, &m->advertise))
        return;
    for (size_t i = 0; i < j->n; i++) {
        if (addr_equal(&j->candidates[i], a))
            return;
    }
    if (j->n == MESH_CANDIDATES_MAX) {
        if (!is_seed || j->next == j->n)
            return;
        j->n--;
    }
    /* In random order, among those not yet tried. */
    size_t at = j->next;
    if (!is_seed)
        at += rng_below(&m->rng, j->n - j->next + 1);
    j->candidates[j->n++] = j->candidates[at];
    j->candidates[at] = *a;
}

static void ask_seed(struct mesh *m, size_t i)
{
    struct addr literal;
    if (parse_literal(m->seeds[i], &literal)) {
        add_candidate(m, &literal, true);
        return;
    }
    struct mesh_effect *e = mesh_effect(m, MESH_RESOLVE);
    if (!e)
        return;
    e->id = (uint32_t)i;
    e->text = m->seeds[i];
    m->join.resolving++;
}

/* ---- rounds ---- */

static void end_round(struct mesh *m, uint64_t now_ns)
{
    struct join *j = &m->join;
    j->is_round = false;
    j->n = j->next = 0;
    j->resolving = 0;
    if (j->is_conflict) {
        j->next_ns = now_ns + CONFLICT_EVERY;
        return;
    }
    j->next_ns =
        now_ns + j->backoff_ns / 2 + mesh_jitter(m, j->backoff_ns / 2 + 1);
    j->backoff_ns *= 2;
    if (j->backoff_ns > m->timing.rejoin_max_ns)
        j->backoff_ns = m->timing.rejoin_max_ns;
}

static void launch(struct mesh *m, uint64_t now_ns)
{
    struct join *j = &m->join;
    if (m->leave.step != LEAVE_NOT)
        return;
    bool knows = j->has_joined || CANARY(m->canary, CANARY_START_LOW);
    while (j->is_round && j->running < AT_ONCE_MAX && j->next < j->n) {
        struct addr to = j->candidates[j->next++];
        if (mesh_stream_dial(m, now_ns, knows ? STREAM_JOIN : STREAM_PEEK, &to,
                             UINT32_MAX, now_ns + m->timing.stream_timeout_ns))
            j->running++;
    }
    if (j->is_round && !j->running && !j->resolving && j->next == j->n)
        end_round(m, now_ns);
}

static void begin_round(struct mesh *m, uint64_t now_ns)
{
    struct join *j = &m->join;
    if (j->has_joined && CANARY(m->canary, CANARY_NO_REJOIN)) {
        j->next_ns = NEVER;
        return;
    }
    j->is_round = true;
    j->is_conflict = false;
    j->n = j->next = 0;
    j->resolving = 0;
    j->successes = 0;
    j->round_end_ns = now_ns + 3 * m->timing.stream_timeout_ns;
    for (size_t i = 0; i < m->n_seeds; i++)
        ask_seed(m, i);
    for (size_t i = 0; i < LOST_AT_ONCE && i < m->n_lost; i++)
        add_candidate(m, &m->lost[rng_below(&m->rng, m->n_lost)].addr, false);
    launch(m, now_ns);
}

/* ---- what came of them ---- */

static void heed_own_record(struct mesh *m, uint64_t now_ns,
                            const struct ml_alive *entry)
{
    struct join *j = &m->join;
    struct addr there = ml_addr(entry->addr, entry->port);
    uint32_t ours = members_peek(m->members, MEMBERS_SELF)->incarnation;

    if (addr_equal(&there, &m->advertise)) {
        /* Above what they remember; never lower, for others may remember
         * more than this one does. */
        if (ours <= entry->incarnation && entry->incarnation < UINT32_MAX - 1)
            members_restart(m->members, entry->incarnation + 1);
        return;
    }
    if (entry->state != ML_STATE_ALIVE && entry->state != ML_STATE_SUSPECT) {
        /* They will believe that it moved only after the reclaim time, and
         * what we tell them before that is lost on them. */
        j->reclaim_ns =
            now_ns + m->timing.reclaim_ns + SEC + mesh_jitter(m, 2 * SEC);
        return;
    }
    if (!j->conflict_since_ns) {
        j->conflict_since_ns = now_ns;
        mesh_event_at(m, MESH_CONFLICT, MEMBERS_SELF, &there, NULL);
    }
    j->is_conflict = true;
    m->stats.conflicts++;
    if (now_ns - j->conflict_since_ns >= m->timing.conflict_after_ns &&
        !j->was_told_taken) {
        j->was_told_taken = true;
        mesh_event_at(m, MESH_NAME_TAKEN, MEMBERS_SELF, &there, NULL);
    }
}

void mesh_join_peeked(struct mesh *m, uint64_t now_ns, const struct addr *peer,
                      const struct ml_stream_msg *msg)
{
    struct join *j = &m->join;
    struct rd r = msg->entries;
    struct ml_alive entry;

    j->running -= j->running > 0;
    for (uint32_t i = 0; i < msg->push_pull.n_nodes; i++) {
        if (ml_entry_read(&r, &entry))
            break;
        if (span_equal(entry.node, mesh_self(m)) && !j->has_joined)
            heed_own_record(m, now_ns, &entry);
    }
    if (msg->user_state.len)
        mesh_serf_on_state(m, msg->user_state);
    if (!j->is_conflict) {
        j->conflict_since_ns = 0;
        if (mesh_stream_dial(m, now_ns, STREAM_JOIN, peer, UINT32_MAX,
                             now_ns + m->timing.stream_timeout_ns))
            j->running++;
    }
    launch(m, now_ns);
}

/* Deviation: a node that has joined exchanges state twice more within seconds.
 * What was said by gossip just before it came is else missed until the next
 * periodic push/pull, a minute later. */
static void joined(struct mesh *m, uint64_t now_ns)
{
    struct join *j = &m->join;
    bool is_first = !j->has_joined && m->leave.step == LEAVE_NOT;
    j->has_joined = true;
    j->backoff_ns = m->timing.rejoin_min_ns;
    j->again_ns[0] = now_ns + SEC + mesh_jitter(m, SEC / 2);
    j->again_ns[1] = now_ns + 3 * SEC + mesh_jitter(m, 3 * SEC);
    if (is_first) {
        mesh_tell_self(m);
        mesh_serf_tell(m, false);
    }
}

void mesh_join_done(struct mesh *m, uint64_t now_ns, bool is_ok)
{
    struct join *j = &m->join;
    j->running -= j->running > 0;
    if (is_ok) {
        joined(m, now_ns);
        /* Three are enough to have heard of everybody. */
        if (++j->successes >= AT_ONCE_MAX)
            j->n = j->next;
    }
    launch(m, now_ns);
}

void mesh_join_incompatible(struct mesh *m, struct span name)
{
    size_t len = name.len < ML_NAME_MAX ? name.len : ML_NAME_MAX;
    if (m->join.was_told_incompatible)
        return;
    m->join.was_told_incompatible = true;
    memcpy(m->text, name.data, len);
    m->text[len] = '\0';
    mesh_event_at(m, MESH_INCOMPATIBLE, UINT32_MAX, NULL, m->text);
}

/* ---- coming back ---- */

static void exchange_with(struct mesh *m, uint64_t now_ns,
                          const struct addr *to)
{
    uint32_t known = members_at(m->members, to, false);
    if (addr_equal(to, &m->advertise) ||
        (known != UINT32_MAX &&
         members_peek(m->members, known)->state == MEMBER_ALIVE))
        return;
    mesh_stream_dial(m, now_ns, STREAM_PUSH_PULL, to, UINT32_MAX,
                     now_ns + m->timing.stream_timeout_ns);
}

static void try_seed(struct mesh *m, uint64_t now_ns)
{
    struct addr literal;
    size_t i = rng_below(&m->rng, m->n_seeds);
    if (parse_literal(m->seeds[i], &literal)) {
        exchange_with(m, now_ns, &literal);
        return;
    }
    struct mesh_effect *e = mesh_effect(m, MESH_RESOLVE);
    if (!e)
        return;
    e->id = (uint32_t)i;
    e->text = m->seeds[i];
    m->join.stray_seed = (uint32_t)i + 1;
}

static void drop_old(struct mesh *m, uint64_t now_ns)
{
    for (size_t i = 0; i < m->n_lost;) {
        if (now_ns - m->lost[i].since_ns > LOST_KEEP)
            m->lost[i] = m->lost[--m->n_lost];
        else
            i++;
    }
}

/* Two halves that were cut off forget each other within a minute; somebody has
 * to try the old addresses, in all about once per lost member and interval,
 * whatever the size of the mesh. Deviation: memberlist never does. */
static void reconnect(struct mesh *m, uint64_t now_ns)
{
    size_t alive = members_count_state(m->members, MEMBER_ALIVE);
    uint64_t all = m->timing.reconnect_ns;
    m->join.reconnect_ns = now_ns + all / 2 + mesh_jitter(m, all);
    if (CANARY(m->canary, CANARY_NO_REJOIN))
        return;
    drop_old(m, now_ns);
    if (m->n_lost && rng_below(&m->rng, alive) < m->n_lost)
        exchange_with(m, now_ns, &m->lost[rng_below(&m->rng, m->n_lost)].addr);
    if (m->n_seeds && rng_below(&m->rng, alive) < AT_ONCE_MAX)
        try_seed(m, now_ns);
}

void mesh_join_resolved(struct mesh *m, uint64_t now_ns, uint32_t seed,
                        const struct addr *addrs, size_t n)
{
    struct join *j = &m->join;
    n = n < MESH_ADDRS_MAX ? n : MESH_ADDRS_MAX;
    if (j->stray_seed == seed + 1) {
        j->stray_seed = 0;
        if (n)
            exchange_with(m, now_ns, &addrs[rng_below(&m->rng, n)]);
    } else if (j->is_round && j->resolving) {
        j->resolving--;
        for (size_t i = 0; i < n; i++)
            add_candidate(m, &addrs[i], true);
        launch(m, now_ns);
    }
}

/* ---- leaving ---- */

static void push_pull_with_some(struct mesh *m, uint64_t now_ns, size_t k)
{
    uint32_t whom[LEAVE_PARTNERS];
    k = members_pick(m->members, now_ns, PICK_ALIVE, UINT32_MAX, k, whom);
    for (size_t i = 0; i < k; i++)
        mesh_stream_dial(m, now_ns, STREAM_PUSH_PULL,
                         &members_peek(m->members, whom[i])->addr, whom[i],
                         now_ns + m->timing.stream_timeout_ns);
}

void mesh_leave(struct mesh *m, uint64_t now_ns)
{
    struct leave *l = &m->leave;
    if (l->step != LEAVE_NOT)
        return;
    if (m->is_alone) {
        members_leave(m->members, now_ns);
        l->step = LEAVE_DONE;
        m->deadline_ns = NEVER;
        return;
    }
    l->step = LEAVE_INTENT;
    l->news_id = mesh_serf_tell(m, true);
    l->next_ns = now_ns + INTENT_MAX;
    m->deadline_ns = now_ns;
}

bool mesh_has_left(const struct mesh *m)
{
    return m->leave.step == LEAVE_DONE;
}

static bool is_told(const struct mesh *m)
{
    return !broadcast_has(m->news, m->leave.news_id);
}

static void give_notice(struct mesh *m, uint64_t now_ns)
{
    struct leave *l = &m->leave;
    members_leave(m->members, now_ns);
    l->news_id = mesh_tell_leave(m);
    l->step = LEAVE_NOTICE;
    l->next_ns = now_ns + NOTICE_MAX;
    /* Gossip alone may miss some; what two learn by push/pull, they tell. */
    push_pull_with_some(m, now_ns, LEAVE_PARTNERS);
}

void mesh_leave_timer(struct mesh *m, uint64_t now_ns)
{
    struct leave *l = &m->leave;
    switch ((enum leave_step)l->step) {
    case LEAVE_NOT:
    case LEAVE_DONE:
        break;
    case LEAVE_INTENT:
        if (is_told(m) || now_ns >= l->next_ns)
            give_notice(m, now_ns);
        break;
    case LEAVE_NOTICE:
        if (is_told(m) || now_ns >= l->next_ns) {
            l->step = LEAVE_LINGER;
            l->next_ns = now_ns + LINGER;
        }
        break;
    case LEAVE_LINGER:
        if (now_ns >= l->next_ns)
            l->step = LEAVE_DONE;
        break;
    }
}

static uint64_t leave_deadline(const struct mesh *m)
{
    const struct leave *l = &m->leave;
    if (l->step == LEAVE_NOT || l->step == LEAVE_DONE)
        return NEVER;
    return l->step != LEAVE_LINGER && is_told(m) ? m->now_ns : l->next_ns;
}

/* ---- time ---- */

static bool wants_round(const struct mesh *m)
{
    return m->is_alone && !m->join.is_round && m->leave.step == LEAVE_NOT &&
           m->n_seeds + m->n_lost > 0;
}

void mesh_join_timer(struct mesh *m, uint64_t now_ns)
{
    struct join *j = &m->join;
    if (m->leave.step != LEAVE_NOT)
        return;
    if (wants_round(m) && now_ns >= j->next_ns)
        begin_round(m, now_ns);
    else if (j->is_round && now_ns >= j->round_end_ns)
        end_round(m, now_ns);
    for (int i = 0; i < 2; i++) {
        if (now_ns >= j->again_ns[i]) {
            j->again_ns[i] = NEVER;
            push_pull_with_some(m, now_ns, 1);
        }
    }
    if (now_ns >= j->reclaim_ns) {
        j->reclaim_ns = NEVER;
        mesh_tell_self(m);
        push_pull_with_some(m, now_ns, 1);
    }
    if (!m->is_alone && now_ns >= j->reconnect_ns)
        reconnect(m, now_ns);
}

uint64_t mesh_join_deadline(const struct mesh *m)
{
    const struct join *j = &m->join;
    uint64_t d = leave_deadline(m);
    if (m->leave.step != LEAVE_NOT)
        return d;
    if (wants_round(m) && j->next_ns < d)
        d = j->next_ns;
    if (j->is_round && j->round_end_ns < d)
        d = j->round_end_ns;
    for (int i = 0; i < 2; i++)
        d = j->again_ns[i] < d ? j->again_ns[i] : d;
    d = j->reclaim_ns < d ? j->reclaim_ns : d;
    if (!m->is_alone && j->reconnect_ns < d)
        d = j->reconnect_ns;
    return d;
}

static void shift(uint64_t *at_ns, uint64_t gap_ns)
{
    if (*at_ns != NEVER && *at_ns)
        *at_ns += gap_ns;
}

void mesh_join_shift(struct mesh *m, uint64_t gap_ns)
{
    struct join *j = &m->join;
    shift(&j->round_end_ns, gap_ns);
    shift(&j->conflict_since_ns, gap_ns);
    shift(&j->reconnect_ns, gap_ns);
    /* Whoever was away tries to come back soon. */
    j->backoff_ns = m->timing.rejoin_min_ns;
}

void mesh_join_open(struct mesh *m, uint64_t now_ns)
{
    struct join *j = &m->join;
    j->next_ns = now_ns;
    j->backoff_ns = m->timing.rejoin_min_ns;
    j->again_ns[0] = j->again_ns[1] = j->reclaim_ns = NEVER;
    j->reconnect_ns = now_ns + m->timing.reconnect_ns / 2 +
                      mesh_jitter(m, m->timing.reconnect_ns);
}
