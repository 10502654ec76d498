#include "test/sim/oracle.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/sim/net.h"
#include "test/sim/node.h"
#include "test/sim/quality.h"

#define DEADS_MAX    64
#define SUSPICION_NS (4 * SIM_S)    /* no suspicion ends sooner */
#define SLACK_NS     (200 * SIM_MS) /* clocks drift, timers are late */
#define STALL_NS     (3 * SIM_S)    /* what counts as a freeze */
#define YOUNG_NS     (60 * SIM_S)   /* old news about its last life */
#define QUEUE_MAX    4096
#define QUEUE_BYTES  (1u << 20)
#define DIALS_MAX    24

/* What node i reported about node j. */
struct view {
    uint32_t dead_inc; /* recorded when it was dead or left; 0: is not */
    bool is_known;
    uint32_t at;           /* its endpoint */
    uint64_t dead_ns;      /* since, 0: is not */
    uint64_t suspected_ns; /* of the time i was running; 0: is not */
};

struct dead {
    uint32_t subject, incarnation;
    bool must_record; /* I11: about one that is dead, and acceptable */
};

struct oracle {
    struct view *views; /* n * n */
    /* n * members_max: who was in a slot. When a node is told of one that is
     * forgotten, its record is gone already. */
    uint32_t *slots;
    uint64_t *frozen_ns; /* per node, how long it did not run, in this life */
    uint32_t *first_inc; /* per node, of this life */
    uint64_t *begun_ns;
    bool *has_ever_left;
    /* The datagram that is being given. */
    struct ml_keyring *keys;
    struct ml_wire wire;
    struct ml_scratch scratch;
    struct ml_parts parts;
    bool is_refused, is_seen;
    uint64_t digest;
    size_t n_deads;
    struct dead deads[DEADS_MAX];
};

static int no_nonce(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 0, len);
    return 0;
}

void oracle_open(struct sim *s)
{
    size_t n = s->plan.n;
    struct oracle *o = sim_alloc(1, sizeof(*o));
    if (!s->plan.is_measurement) {
        o->views = sim_alloc(n * n, sizeof(*o->views));
        o->slots = sim_alloc(n * s->plan.members_max, sizeof(*o->slots));
    }
    o->frozen_ns = sim_alloc(n, sizeof(*o->frozen_ns));
    o->first_inc = sim_alloc(n, sizeof(*o->first_inc));
    o->begun_ns = sim_alloc(n, sizeof(*o->begun_ns));
    o->has_ever_left = sim_alloc(n, sizeof(*o->has_ever_left));
    if (s->plan.seals)
        o->keys = ml_keyring_open(s->keys, SIM_KEYS, no_nonce, NULL, NULL);
    o->wire = (struct ml_wire){
        .label = span_of_text(s->plan.has_label ? "sim" : ""),
        .keys = o->keys,
    };
    s->oracle = o;
}

void oracle_close(struct sim *s)
{
    struct oracle *o = s->oracle;
    ml_scratch_fini(&o->scratch);
    ml_keyring_close(o->keys);
    free(o->views);
    free(o->slots);
    free(o->frozen_ns);
    free(o->first_inc);
    free(o->begun_ns);
    free(o->has_ever_left);
    free(o);
}

static struct view *view_of(struct sim *s, uint32_t i, uint32_t j)
{
    return &s->oracle->views[(size_t)i * s->plan.n + j];
}

/* The time a node has been running: clocks go on while it is frozen. */
static uint64_t awake_ns(const struct sim *s, const struct node *n)
{
    return s->now_ns - s->oracle->frozen_ns[n->index];
}

/* ---- lives ---- */

void oracle_on_start(struct sim *s, struct node *n)
{
    struct oracle *o = s->oracle;
    uint32_t i = n->index;
    uint32_t inc =
        members_peek(mesh_members(n->mesh), MEMBERS_SELF)->incarnation;
    if (s->plan.is_measurement)
        return;
    memset(view_of(s, i, 0), 0, s->plan.n * sizeof(struct view));
    /* I10. The wall clock is right or wrong, but it goes on; so only one that
     * had to rise faster than it may begin lower, and must ask first. */
    uint64_t lived_s = (s->now_ns - o->begun_ns[i]) / SIM_S;
    if (n->life > 1 && lived_s > 1 && !plan_has_insider(&s->plan) &&
        n->incarnation_max - o->first_inc[i] < lived_s &&
        inc <= n->incarnation_max)
        sim_fail(s, SIM_CORRECTNESS,
                 "I10: n-%u starts again with @%u, it had @%u", i, inc,
                 n->incarnation_max);
    o->first_inc[i] = inc;
    o->begun_ns[i] = s->now_ns;
    o->frozen_ns[i] = 0;
    n->incarnation = inc;
}

void oracle_on_freeze(struct sim *s, struct node *n, uint64_t until_ns)
{
    uint64_t from_ns = n->frozen_ns > s->now_ns ? n->frozen_ns : s->now_ns;
    if (until_ns - from_ns < STALL_NS)
        return;
    struct mesh_stats stats;
    mesh_stats(n->mesh, &stats);
    n->accusations = stats.suspicions;
    n->woken_ns = until_ns;
    s->oracle->frozen_ns[n->index] += until_ns - from_ns;
}

void oracle_on_wake(struct sim *s, struct node *n)
{
    if (n->woken_ns <= s->now_ns)
        return;
    s->oracle->frozen_ns[n->index] -= n->woken_ns - s->now_ns;
    n->woken_ns = s->now_ns;
}

/* ---- what is on the wire ---- */

static void see_dead(struct sim *s, struct node *n,
                     const struct ml_accusation *a)
{
    struct oracle *o = s->oracle;
    uint32_t subject = sim_subject(s, (const char *)a->node.data, a->node.len);
    if (subject == SIM_NOBODY || o->n_deads == DEADS_MAX)
        return;
    struct dead *d = &o->deads[o->n_deads++];
    *d = (struct dead){subject, a->incarnation, false};
    const struct members *ms = mesh_members(n->mesh);
    uint32_t index = members_find(ms, a->node);
    if (index == UINT32_MAX || index == MEMBERS_SELF || n->is_leaving ||
        n->key_step) /* it may not have the key */
        return;
    const struct member *m = members_peek(ms, index);
    d->must_record = (m->state == MEMBER_DEAD || m->state == MEMBER_LEFT) &&
                     a->incarnation > m->incarnation &&
                     a->incarnation - m->incarnation <= MEMBERS_JUMP_MAX &&
                     a->incarnation < MEMBERS_CEILING;
}

void oracle_before_datagram(struct sim *s, struct node *n,
                            const struct datagram *d)
{
    struct oracle *o = s->oracle;
    o->n_deads = 0;
    o->is_seen = o->is_refused = false;
    if (!s->plan.sees_wire)
        return;
    o->is_seen = true;
    o->parts.n = 0;
    if (ml_packet_open(&o->wire, d->data, d->len, &o->scratch, &o->parts,
                       NULL) != ML_DROP_NONE) {
        o->is_refused = true;
        o->digest = mesh_digest(n->mesh);
        return;
    }
    for (size_t i = 0; i < o->parts.n; i++) {
        struct ml_msg m;
        struct span part = o->parts.part[i];
        if (part.len && part.data[0] == ML_DEAD &&
            ml_msg_decode(part.data, part.len, &m) == 0)
            see_dead(s, n, &m.accusation);
    }
}

void oracle_after_datagram(struct sim *s, struct node *n,
                           const struct datagram *d)
{
    struct oracle *o = s->oracle;
    (void)d;
    if (o->is_refused && mesh_digest(n->mesh) != o->digest)
        sim_fail(s, SIM_CORRECTNESS,
                 "I20: a datagram that means nothing changed n-%u", n->index);
    const struct members *ms = mesh_members(n->mesh);
    for (size_t i = 0; i < o->n_deads; i++) {
        const struct dead *dead = &o->deads[i];
        if (!dead->must_record)
            continue;
        const char *name = s->nodes[dead->subject].name;
        uint32_t index = members_find(ms, span_of_text(name));
        if (index != UINT32_MAX &&
            members_peek(ms, index)->incarnation < dead->incarnation)
            sim_fail(s, SIM_CORRECTNESS,
                     "I11: n-%u heard of the death of %s @%u, recorded @%u",
                     n->index, name, dead->incarnation,
                     members_peek(ms, index)->incarnation);
    }
}

static bool has_seen_dead(const struct oracle *o, uint32_t subject)
{
    for (size_t i = 0; i < o->n_deads; i++) {
        if (o->deads[i].subject == subject)
            return true;
    }
    return false;
}

void oracle_on_send(struct sim *s, struct node *n, uint32_t to,
                    const struct mesh_effect *e)
{
    struct addr_policy policy = {.n_networks = 0};
    if (addr_policy_check(&policy, &e->to) != ADDR_ALLOWED)
        sim_fail(s, SIM_CORRECTNESS, "I15: n-%u sends where it must not",
                 n->index);
    if (e->data.len == 0 || e->data.len > ML_PACKET_MAX)
        sim_fail(s, SIM_CORRECTNESS, "I16: n-%u sends %zu bytes", n->index,
                 e->data.len);
    if (to == SIM_NOBODY)
        return;
    struct endpoint *to_end = &s->endpoints[to];
    if (to_end->kind == ENDPOINT_NODE)
        return;
    if (members_at(mesh_members(n->mesh), &e->to, true) != UINT32_MAX)
        return; /* it was taken for a member */
    to_end->bytes_to += e->data.len;
    if (to_end->bytes_to > to_end->bytes_from)
        sim_fail(s, SIM_CORRECTNESS,
                 "I17: n-%u sends %zu bytes to a stranger who sent %" PRIu64
                 " and has got %" PRIu64,
                 n->index, e->data.len, to_end->bytes_from, to_end->bytes_to);
}

/* ---- what nodes report ---- */

static bool is_live(const struct sim *s, const struct node *n)
{
    return n->mesh && !n->is_leaving && s->now_ns - n->started_ns > YOUNG_NS;
}

static void on_joined(struct sim *s, struct node *n, struct node *about,
                      const struct member *m)
{
    struct view *v = view_of(s, n->index, about->index);
    struct view old = *v;
    uint32_t at = net_find(s, &m->addr);
    *v = (struct view){.is_known = true, .at = at};
    if (m->state == MEMBER_DEAD || m->state == MEMBER_LEFT)
        return; /* and dead again, in one call */
    if (old.dead_inc && m->incarnation <= old.dead_inc)
        sim_fail(s, SIM_CORRECTNESS, "I11: n-%u raised %s @%u, it was dead @%u",
                 n->index, about->name, m->incarnation, old.dead_inc);
    uint64_t reclaim_ns = s->plan.timing.reclaim_ns - SLACK_NS;
    if (old.is_known && at != old.at &&
        (!old.dead_ns || s->now_ns - old.dead_ns < reclaim_ns))
        sim_fail(s, SIM_CORRECTNESS,
                 "I9: n-%u gave the name %s to another address too soon",
                 n->index, about->name);
}

static void on_failed(struct sim *s, struct node *n, struct node *about,
                      const struct member *m, enum sim_call call)
{
    struct oracle *o = s->oracle;
    struct view *v = view_of(s, n->index, about->index);
    if (s->phase == PHASE_FAULTS && plan_is_gentle(&s->plan) &&
        is_live(s, about) && is_live(s, n))
        sim_fail(s, SIM_CORRECTNESS, "I7: n-%u calls %s dead, which is not",
                 n->index, about->name);
    if (s->phase == PHASE_ACCUSED && s->must_live && n->is_core &&
        about->index == s->subject)
        sim_fail(s, SIM_CORRECTNESS,
                 "I9: n-%u calls %s dead, which could refute", n->index,
                 about->name);
    bool is_told =
        call == CALL_PACKET && (!o->is_seen || has_seen_dead(o, about->index));
    uint64_t slack_ns = SLACK_NS;
    if (o->frozen_ns[n->index])
        slack_ns = 1500 * SIM_MS;
    bool is_due = v->suspected_ns && awake_ns(s, n) - (v->suspected_ns - 1) >=
                                         SUSPICION_NS - slack_ns;
    if (!is_told && !is_due && v->is_known)
        sim_fail(s, SIM_CORRECTNESS,
                 "I9: n-%u calls %s dead, which it suspected %.3f s long, "
                 "without being told",
                 n->index, about->name,
                 v->suspected_ns
                     ? (double)(awake_ns(s, n) - v->suspected_ns + 1) / 1e9
                     : 0.0);
    v->suspected_ns = 0;
    v->dead_ns = s->now_ns;
    if (m->state == MEMBER_DEAD || m->state == MEMBER_LEFT)
        v->dead_inc = m->incarnation;
}

static void on_left(struct sim *s, struct node *n, struct node *about,
                    const struct member *m)
{
    struct view *v = view_of(s, n->index, about->index);
    if (!s->oracle->has_ever_left[about->index] && s->phase == PHASE_FAULTS &&
        !plan_has_insider(&s->plan))
        sim_fail(s, SIM_CORRECTNESS, "I9: n-%u says that %s left", n->index,
                 about->name);
    v->suspected_ns = 0;
    if (!v->dead_ns)
        v->dead_ns = s->now_ns;
    if (m->state == MEMBER_DEAD || m->state == MEMBER_LEFT)
        v->dead_inc = m->incarnation;
}

/* I10: nobody knows of an incarnation that its owner never had. */
static void check_known(struct sim *s, const struct node *n,
                        const struct node *about, const struct member *m)
{
    if (plan_has_insider(&s->plan) || s->phase > PHASE_CALM)
        return;
    if (m->incarnation > about->incarnation_max)
        sim_fail(s, SIM_CORRECTNESS, "I10: n-%u knows %s @%u, it had up to @%u",
                 n->index, about->name, m->incarnation, about->incarnation_max);
}

/* Forgotten: by the slot, for the record is not there any more. */
static void on_forgotten(struct sim *s, struct node *n, uint32_t slot)
{
    uint32_t *slots = s->oracle->slots + n->index * s->plan.members_max;
    if (slot >= s->plan.members_max || slots[slot] == 0)
        return;
    *view_of(s, n->index, slots[slot] - 1) = (struct view){.is_known = false};
    slots[slot] = 0;
}

static void remember_slot(struct sim *s, struct node *n, uint32_t slot,
                          uint32_t subject)
{
    uint32_t *slots = s->oracle->slots + n->index * s->plan.members_max;
    if (slot < s->plan.members_max)
        slots[slot] = subject == SIM_NOBODY ? 0 : subject + 1;
}

void oracle_on_event(struct sim *s, struct node *n, const struct mesh_effect *e,
                     enum sim_call call)
{
    const struct member *m =
        e->id == UINT32_MAX ? NULL : members_peek(mesh_members(n->mesh), e->id);
    uint32_t subject = SIM_NOBODY;
    if (m && m->name_len)
        subject = sim_subject(s, m->name, m->name_len);
    if (s->quality)
        quality_on_event(s, n, e, subject);
    if (s->plan.is_measurement)
        return;
    if (e->event == MESH_FORGOTTEN) {
        on_forgotten(s, n, e->id);
        return;
    }
    if (m)
        remember_slot(s, n, e->id, subject);
    if (subject == SIM_NOBODY) {
        if (m && m->name_len && !plan_has_insider(&s->plan))
            sim_fail(s, SIM_CORRECTNESS, "I11: n-%u knows \"%.*s\"", n->index,
                     m->name_len, m->name);
        return;
    }
    struct node *about = &s->nodes[subject];
    struct view *v = view_of(s, n->index, subject);
    check_known(s, n, about, m);
    switch (e->event) {
    case MESH_JOINED:
        on_joined(s, n, about, m);
        break;
    case MESH_SUSPECTED:
        v->suspected_ns = awake_ns(s, n) + 1;
        break;
    case MESH_REFUTED:
        v->suspected_ns = 0;
        break;
    case MESH_FAILED:
        on_failed(s, n, about, m, call);
        break;
    case MESH_LEFT:
        on_left(s, n, about, m);
        break;
    case MESH_FORGOTTEN:
    case MESH_UPDATED:
    case MESH_CONFLICT:
    case MESH_NAME_TAKEN:
    case MESH_INCOMPATIBLE:
    case MESH_CONNECTED:
    case MESH_ALONE:
    case MESH_STALLED:
    case MESH_EVENT_N:
        break;
    }
}

/* ---- after each input ---- */

static void check_bounds(struct sim *s, const struct node *n)
{
    struct mesh_stats t;
    mesh_stats(n->mesh, &t);
    size_t members = members_count(mesh_members(n->mesh));
    if (members > s->plan.members_max)
        sim_fail(s, SIM_CORRECTNESS, "I16: n-%u has %zu members", n->index,
                 members);
    if (t.queue_items > QUEUE_MAX || t.queue_bytes > QUEUE_BYTES)
        sim_fail(s, SIM_CORRECTNESS,
                 "I16: n-%u queues %" PRIu64 " items, %" PRIu64 " bytes",
                 n->index, t.queue_items, t.queue_bytes);
    if (t.streams > mesh_limits_default.streams_max + DIALS_MAX)
        sim_fail(s, SIM_CORRECTNESS, "I16: n-%u has %zu streams", n->index,
                 t.streams);
    if (t.unproven_bytes > mesh_limits_default.budget_bytes)
        sim_fail(s, SIM_CORRECTNESS, "I16: n-%u holds %" PRIu64 " bytes",
                 n->index, t.unproven_bytes);
    if (t.effects_dropped && !s->plan.hostile)
        sim_fail(s, SIM_CORRECTNESS, "I16: n-%u dropped effects", n->index);
}

/* Just woken, it has had no time to find anybody guilty. */
static void check_woken(struct sim *s, struct node *n)
{
    struct mesh_stats t;
    mesh_stats(n->mesh, &t);
    if (t.suspicions > n->accusations)
        sim_fail(s, SIM_CORRECTNESS,
                 "G37: n-%u accuses %.3f s after it was frozen", n->index,
                 (double)(s->now_ns - n->woken_ns) / 1e9);
}

void oracle_after(struct sim *s, struct node *n)
{
    struct oracle *o = s->oracle;
    const struct member *self = members_peek(mesh_members(n->mesh), 0);
    if (self->incarnation < n->incarnation)
        sim_fail(s, SIM_CORRECTNESS, "I10: n-%u went back from @%u to @%u",
                 n->index, n->incarnation, self->incarnation);
    n->incarnation = self->incarnation;
    if (n->incarnation > n->incarnation_max)
        n->incarnation_max = n->incarnation;
    if (n->is_leaving && !n->has_left)
        n->has_left = mesh_has_left(n->mesh);
    if (n->is_leaving)
        o->has_ever_left[n->index] = true;
    if (n->woken_ns && s->now_ns < n->woken_ns + 900 * SIM_MS)
        check_woken(s, n);
    if (s->plan.check_every && n->inputs % s->plan.check_every == 0)
        mesh_check(n->mesh);
    if (!s->plan.is_measurement && n->inputs % 32 == 0) {
        check_bounds(s, n);
        sim_mix_u64(s, mesh_digest(n->mesh));
    }
}

/* ---- completeness ---- */

static double scale_of(const struct sim *s)
{
    double scale = log10((double)s->plan.n);
    return scale < 1 ? 1 : scale;
}

static uint64_t suspicion_max(const struct sim *s)
{
    const struct mesh_timing *t = &s->plan.timing;
    return (uint64_t)(t->suspicion_mult * t->suspicion_max_mult * scale_of(s) *
                      (double)t->ping_interval_ns);
}

/* Pings in random order find it within two rounds; every third may be slow
 * because the one before it went to another one that is dead. */
void oracle_on_kill(struct sim *s, const struct node *n)
{
    if (!plan_is_watched(&s->plan) || s->phase != PHASE_FAULTS)
        return;
    uint64_t round_ns = s->plan.n * s->plan.timing.ping_interval_ns;
    sim_at(s, s->now_ns + 3 * round_ns + suspicion_max(s) + 5 * SIM_S, EV_WATCH,
           n->index, 0, n->life, NULL);
}

void oracle_on_watch(struct sim *s, const struct event *e)
{
    const struct node *gone = &s->nodes[e->who];
    if (s->phase != PHASE_FAULTS || gone->mesh || gone->life != e->gen)
        return;
    for (uint32_t i = 0; i < s->plan.n; i++) {
        const struct node *n = &s->nodes[i];
        if (!n->mesh || n->is_leaving || n->started_ns > gone->stopped_ns)
            continue;
        const struct members *ms = mesh_members(n->mesh);
        uint32_t index = members_find(ms, span_of_text(gone->name));
        if (index == UINT32_MAX)
            continue;
        uint8_t state = members_peek(ms, index)->state;
        if (state == MEMBER_ALIVE || state == MEMBER_SUSPECT)
            sim_fail(s, SIM_LIVENESS,
                     "I8: n-%u holds %s for alive, %.0f s "
                     "after it was killed",
                     i, gone->name,
                     (double)(s->now_ns - gone->stopped_ns) / 1e9);
    }
}

/* ---- agreement ---- */

uint64_t oracle_push_pull(const struct sim *s, unsigned rounds)
{
    unsigned n = s->plan.n, factor = 1;
    if (n > 32)
        factor = (unsigned)ceil(log2((double)n) - 5) + 1;
    return rounds * factor * s->plan.timing.push_pull_interval_ns;
}

uint64_t oracle_patience(const struct sim *s)
{
    const struct mesh_timing *t = &s->plan.timing;
    uint64_t members = s->plan.n;
    if (s->plan.hostile & 1u << HOSTILE_NAMES)
        members = s->plan.members_max;
    /* Inventions answer no ping: each costs the time of bad health. */
    uint64_t interval_ns = t->ping_interval_ns;
    if (members > s->plan.n)
        interval_ns *= t->health_max;
    uint64_t detect_ns = 2 * members * interval_ns + suspicion_max(s);
    /* Names that moved, and those who gave up because of it. */
    uint64_t again_ns = t->reclaim_ns + t->rejoin_max_ns + t->conflict_after_ns;
    return detect_ns + oracle_push_pull(s, 5) + again_ns;
}

/* Does node i have it right about the member in this slot? */
static bool is_right(const struct sim *s, const struct node *n,
                     const struct member *m, bool *seen, char *why, size_t size)
{
    uint32_t j = sim_subject(s, m->name, m->name_len);
    if (j == SIM_NOBODY)
        return true; /* an invention: nobody answers for it */
    const struct node *about = &s->nodes[j];
    bool is_up = m->state == MEMBER_ALIVE || m->state == MEMBER_SUSPECT;
    seen[j] = true;
    if (about->is_core && about->mesh && !about->is_leaving) {
        bool is_there =
            addr_equal(&m->addr, &s->endpoints[about->endpoint].addr);
        if (is_up && is_there)
            return true;
        snprintf(why, size, "n-%u holds %s %s @%u, it lives @%u", n->index,
                 about->name, is_there ? "for dead" : "to be elsewhere",
                 m->incarnation, about->incarnation);
        return false;
    }
    if (!is_up)
        return true;
    snprintf(why, size, "n-%u holds %s @%u for alive, which is gone", n->index,
             about->name, m->incarnation);
    return false;
}

static bool knows_all(const struct sim *s, const struct node *n, bool *seen,
                      char *why, size_t size)
{
    const struct members *ms = mesh_members(n->mesh);
    memset(seen, 0, s->plan.n * sizeof(*seen));
    for (uint32_t k = 0; k < members_size(ms); k++) {
        const struct member *m = members_peek(ms, k);
        if (m && m->name_len && !is_right(s, n, m, seen, why, size))
            return false;
    }
    for (uint32_t j = 0; j < s->plan.n; j++) {
        const struct node *about = &s->nodes[j];
        if (seen[j] || !about->is_core || !about->mesh || about->is_leaving)
            continue;
        snprintf(why, size, "n-%u does not know n-%u", n->index, j);
        return false;
    }
    return true;
}

bool oracle_agrees(const struct sim *s, char *why, size_t size)
{
    bool *seen = sim_alloc(s->plan.n, sizeof(*seen));
    bool agrees = true;
    for (uint32_t i = 0; i < s->plan.n && agrees; i++) {
        const struct node *n = &s->nodes[i];
        if (!n->is_core)
            continue;
        if (!n->mesh) {
            snprintf(why, size, "n-%u is not up", i);
            agrees = false;
        } else {
            agrees = knows_all(s, n, seen, why, size);
        }
    }
    free(seen);
    return agrees;
}

bool oracle_is_trusted(const struct sim *s, uint32_t subject)
{
    struct span name = span_of_text(s->nodes[subject].name);
    for (uint32_t i = 0; i < s->plan.n; i++) {
        const struct node *n = &s->nodes[i];
        if (!n->is_core || !n->mesh)
            continue;
        const struct members *ms = mesh_members(n->mesh);
        uint32_t index = members_find(ms, name);
        if (index == UINT32_MAX ||
            members_peek(ms, index)->state != MEMBER_ALIVE)
            return false;
    }
    return true;
}

void oracle_at_end(struct sim *s)
{
    for (uint32_t i = 0; i < s->plan.n; i++) {
        const struct node *n = &s->nodes[i];
        if (!n->mesh)
            continue;
        mesh_check(n->mesh);
        if (!s->plan.is_measurement)
            check_bounds(s, n);
    }
}
