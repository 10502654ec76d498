#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "mesh/canary.h"
#include "mesh/members_private.h"

#define NS_PER_S 1000000000u

/* ---- limits ---- */

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Incarnations begin as the wall clock's seconds, at our nodes. */
static uint64_t unix_now_s(const struct members *ms, uint64_t now_ns)
{
    return ms->config.now_unix_s + (now_ns - ms->opened_ns) / NS_PER_S;
}

/* May somebody's word that `m` is suspect or dead count at all? */
static bool is_accusable(struct members *ms, uint64_t now_ns,
                         const struct member *m, uint32_t incarnation)
{
    if (CANARY(ms->config.canary, CANARY_OVERFLOW))
        return true;
    uint64_t known = larger(m->incarnation, unix_now_s(ms, now_ns));
    if (incarnation < MEMBERS_CEILING &&
        incarnation <= known + MEMBERS_JUMP_MAX)
        return true;
    ms->counters.refused_jump++;
    return false;
}

/* May the incarnation of `m` become this one by an alive message? */
static bool is_reachable(struct members *ms, const struct member *m,
                         uint32_t incarnation)
{
    if (CANARY(ms->config.canary, CANARY_OVERFLOW))
        return true;
    uint64_t top = larger(m->incarnation, MEMBERS_CEILING) + MEMBERS_JUMP_MAX;
    if (m->state == MEMBER_DEAD || m->state == MEMBER_LEFT)
        top = UINT32_MAX - 1; /* the last one is left for refuting */
    if (incarnation <= top)
        return true;
    ms->counters.refused_jump++;
    return false;
}

/* So many newcomers a second, and a full table at once. */
static bool is_affordable(struct members *ms, uint64_t now_ns)
{
    uint64_t price_ns = rate_price(1, ms->config.new_per_s);
    return rate_take(&ms->newcomers, now_ns, price_ns,
                     price_ns * ms->config.members_max);
}

static bool is_dialable(struct members *ms, const struct addr *a)
{
    if (addr_policy_check(ms->config.policy, a) == ADDR_ALLOWED)
        return true;
    ms->counters.refused_policy++;
    return false;
}

/* ---- suspicion ---- */

static struct suspicion_limits suspicion_limits(const struct members *ms)
{
    const struct members_config *c = &ms->config;
    size_t n = ms->count;
    double scale = fmax(1.0, log10((double)n));
    uint64_t scale_milli = (uint64_t)(scale * 1000);
    unsigned k = c->suspicion_mult > 2 ? c->suspicion_mult - 2 : 0;
    if (k > SUSPICION_K_MAX)
        k = SUSPICION_K_MAX;
    if (n < k + 2)
        k = 0; /* there are not so many others to confirm it */
    uint64_t min_ns =
        c->suspicion_mult * scale_milli * c->ping_interval_ns / 1000;
    return (struct suspicion_limits){
        .min_ns = min_ns,
        .max_ns = min_ns * (c->suspicion_max_mult ? c->suspicion_max_mult : 1),
        .k = k,
    };
}

void members_arm(struct members *ms, struct suspect *s)
{
    int rc =
        heap_set(&ms->suspects, &s->timer, suspicion_deadline(&s->suspicion));
    assert(rc == 0);
    (void)rc;
}

/* False without memory: then it stays alive until it is accused again. */
static bool begin_suspicion(struct members *ms, uint64_t now_ns, uint32_t index,
                            uint32_t accuser)
{
    struct member *m = members_slot(ms, index);
    if (ms->suspects.n == ms->suspects.size)
        return false; /* only a table without limit has more */
    struct suspect *s = calloc(1, sizeof(*s));
    if (!s)
        return false;
    struct suspicion_limits limits = suspicion_limits(ms);
    suspicion_init(&s->suspicion, &limits, accuser, now_ns);
    s->index = index;
    m->suspect = s;
    members_arm(ms, s);
    members_set_state(ms, m, MEMBER_SUSPECT, now_ns);
    return true;
}

/* ---- alive ---- */

static void answer(struct change *out, enum change_kind kind, uint32_t index)
{
    out->kind = kind;
    out->index = index;
    out->is_news = true;
}

static void conflict(struct members *ms, uint32_t index,
                     const struct addr *claimed, struct change *out)
{
    ms->counters.conflicts++;
    answer(out, CHANGE_CONFLICT, index);
    out->is_news = false;
    out->claimed = *claimed;
}

static void accuse_self(uint32_t incarnation, struct change *out)
{
    answer(out, CHANGE_ACCUSED, MEMBERS_SELF);
    out->is_news = false;
    out->incarnation = incarnation;
}

static bool has_same_facts(const struct member *m, const struct ml_alive *a)
{
    return span_equal(span_of(m->meta, m->meta_len), a->meta) &&
           span_equal(span_of(m->vsn, sizeof(m->vsn)), a->vsn);
}

/* Somebody speaks in our name: another node, or an echo of ourselves. What we
 * say now must be above it, or nobody will listen. */
static void alive_self(struct members *ms, const struct ml_alive *a,
                       const struct addr *addr, struct change *out)
{
    const struct member *self = members_slot(ms, MEMBERS_SELF);
    if (ms->is_leaving)
        return;
    if (!addr_equal(addr, &self->addr)) {
        if (is_dialable(ms, addr))
            conflict(ms, MEMBERS_SELF, addr, out);
        return;
    }
    if (a->incarnation < self->incarnation ||
        (a->incarnation == self->incarnation && has_same_facts(self, a)))
        return;
    if (is_reachable(ms, self, a->incarnation))
        accuse_self(a->incarnation, out);
}

static void alive_unknown(struct members *ms, uint64_t now_ns,
                          const struct ml_alive *a, const struct addr *addr,
                          struct change *out)
{
    /* Real nodes begin at 1. */
    if (a->incarnation == 0 || !is_dialable(ms, addr))
        return;
    if (!CANARY(ms->config.canary, CANARY_UNBOUNDED)) {
        if (ms->count >= ms->config.members_max) {
            ms->counters.refused_full++;
            return;
        }
        if (!is_affordable(ms, now_ns)) {
            ms->counters.refused_rate++;
            return;
        }
    }
    uint32_t index;
    struct member *m = members_add(ms, a, &index);
    if (!m)
        return;
    if (members_store_meta(m, a->meta)) {
        members_remove(ms, index);
        return;
    }
    memcpy(m->vsn, a->vsn.data, sizeof(m->vsn));
    m->incarnation = a->incarnation;
    members_set_state(ms, m, MEMBER_ALIVE, now_ns);
    members_touch(ms, m);
    answer(out, CHANGE_JOINED, index);
}

/* May the record move to another address? Reports what follows if not. */
static bool may_move(struct members *ms, uint64_t now_ns, uint32_t index,
                     const struct addr *addr, struct change *out)
{
    const struct member *m = members_slot(ms, index);
    if (!is_dialable(ms, addr))
        return false;
    if (m->state == MEMBER_ALIVE || m->state == MEMBER_SUSPECT) {
        conflict(ms, index, addr, out);
        return false;
    }
    if (m->state == MEMBER_LEFT && CANARY(ms->config.canary, CANARY_TAKEOVER))
        return true;
    return now_ns - m->changed_ns >= ms->config.reclaim_ns;
}

static void accept_alive(struct members *ms, uint64_t now_ns, uint32_t index,
                         const struct ml_alive *a, const struct addr *addr,
                         struct change *out)
{
    struct member *m = members_slot(ms, index);
    bool has_other_meta = !span_equal(span_of(m->meta, m->meta_len), a->meta);
    if (has_other_meta && members_store_meta(m, a->meta))
        return;
    memcpy(m->vsn, a->vsn.data, sizeof(m->vsn));
    m->incarnation = a->incarnation;
    members_set_addr(ms, index, a->addr, addr);

    enum member_state before = (enum member_state)m->state;
    bool was_here = before == MEMBER_ALIVE || before == MEMBER_SUSPECT;
    if (before == MEMBER_SUSPECT &&
        CANARY(ms->config.canary, CANARY_SUSPECT_STAYS))
        before = MEMBER_ALIVE;
    if (before != MEMBER_ALIVE)
        members_set_state(ms, m, MEMBER_ALIVE, now_ns);
    members_touch(ms, m);
    answer(out,
           !was_here        ? CHANGE_JOINED
           : has_other_meta ? CHANGE_UPDATED
                            : CHANGE_RENEWED,
           index);
    out->was_suspect = before == MEMBER_SUSPECT;
}

static void alive_known(struct members *ms, uint64_t now_ns, uint32_t index,
                        const struct ml_alive *a, const struct addr *addr,
                        struct change *out)
{
    const struct member *m = members_slot(ms, index);
    bool is_gone = m->state == MEMBER_DEAD || m->state == MEMBER_LEFT;
    if (!addr_equal(addr, &m->addr) && !may_move(ms, now_ns, index, addr, out))
        goto stale;
    if (a->incarnation <= m->incarnation &&
        !(m->state == MEMBER_LEFT && !addr_equal(addr, &m->addr) &&
          CANARY(ms->config.canary, CANARY_TAKEOVER)))
        goto stale;
    if (is_reachable(ms, m, a->incarnation))
        accept_alive(ms, now_ns, index, a, addr, out);
    return;

stale:
    if (is_gone && a->incarnation <= m->incarnation) {
        out->is_stale = true;
        out->stale_index = index;
    }
}

bool members_is_compatible(const struct members *ms, const uint8_t *vsn)
{
    const uint8_t *own = members_slot(ms, MEMBERS_SELF)->vsn;
    return vsn[0] <= own[2] && own[2] <= vsn[1] && own[0] <= vsn[2] &&
           vsn[2] <= own[1] && vsn[3] <= own[5] && own[5] <= vsn[4] &&
           own[3] <= vsn[5] && vsn[5] <= own[4];
}

void members_alive(struct members *ms, uint64_t now_ns,
                   const struct ml_alive *a, struct change *out)
{
    *out = (struct change){.kind = CHANGE_NONE};
    /* Deviation: memberlist stores versions that exclude its own, when they
     * come as a datagram, and from then on refuses every push/pull. One
     * forged record could cut a node off from those who forgot it. */
    if (ml_alive_check(a) || !members_is_compatible(ms, a->vsn.data)) {
        ms->counters.refused_fit++;
        return;
    }
    struct addr addr = ml_addr(a->addr, a->port);
    uint32_t index = members_find(ms, a->node);
    if (index == MEMBERS_NOBODY)
        alive_unknown(ms, now_ns, a, &addr, out);
    else if (index == MEMBERS_SELF)
        alive_self(ms, a, &addr, out);
    else
        alive_known(ms, now_ns, index, a, &addr, out);
}

/* ---- accusations ---- */

/* Where an accusation in our name stands: above what others may know of us we
 * heed it even if it is a jump, for others may not think so. */
static void accusation_self(struct members *ms, uint32_t incarnation,
                            struct change *out)
{
    const struct member *self = members_slot(ms, MEMBERS_SELF);
    if (ms->is_leaving || incarnation < self->incarnation)
        return;
    /* Above the ceiling nobody believes it but who has pinged us in vain; that
     * one says what we said. */
    if (incarnation >= MEMBERS_CEILING && incarnation != self->incarnation &&
        !CANARY(ms->config.canary, CANARY_OVERFLOW)) {
        ms->counters.refused_jump++;
        return;
    }
    accuse_self(incarnation, out);
}

/* Later evidence about one that is gone already: an older alive than this must
 * not bring it back. */
static void raise_gone(struct members *ms, uint32_t index, uint32_t incarnation,
                       struct change *out)
{
    struct member *m = members_slot(ms, index);
    if (incarnation <= m->incarnation ||
        CANARY(ms->config.canary, CANARY_OLD_EVIDENCE))
        return;
    m->incarnation = incarnation;
    members_touch(ms, m);
    answer(out, CHANGE_RAISED, index);
}

/* The incarnation is neither old nor a jump. */
static void suspect_known(struct members *ms, uint64_t now_ns, uint32_t index,
                          uint32_t incarnation, uint32_t accuser,
                          struct change *out)
{
    struct member *m = members_slot(ms, index);
    bool is_raised = incarnation > m->incarnation;
    switch ((enum member_state)m->state) {
    case MEMBER_ALIVE:
        if (!begin_suspicion(ms, now_ns, index, accuser))
            return;
        answer(out, CHANGE_SUSPECTED, index);
        break;
    case MEMBER_SUSPECT:
        if (suspicion_confirm(&m->suspect->suspicion, accuser))
            members_arm(ms, m->suspect);
        else if (!is_raised)
            return;
        answer(out, CHANGE_CONFIRMED, index);
        break;
    case MEMBER_DEAD:
    case MEMBER_LEFT:
        raise_gone(ms, index, incarnation, out);
        return;
    }
    m->incarnation = incarnation;
    members_touch(ms, m);
}

void members_suspect(struct members *ms, uint64_t now_ns,
                     const struct ml_accusation *a, struct change *out)
{
    *out = (struct change){.kind = CHANGE_NONE};
    uint32_t index = members_find(ms, a->node);
    if (index == MEMBERS_NOBODY)
        return;
    if (index == MEMBERS_SELF) {
        accusation_self(ms, a->incarnation, out);
        return;
    }
    const struct member *m = members_slot(ms, index);
    if (a->incarnation < m->incarnation ||
        !is_accusable(ms, now_ns, m, a->incarnation))
        return;
    suspect_known(ms, now_ns, index, a->incarnation,
                  (uint32_t)members_hash(ms, a->from), out);
}

void members_doubt(struct members *ms, uint64_t now_ns, uint32_t index,
                   uint32_t incarnation, struct change *out)
{
    assert(index != MEMBERS_SELF);
    *out = (struct change){.kind = CHANGE_NONE};
    const struct member *m = members_get(ms, index);
    /* Since the ping was sent it may have said that it is alive. */
    if (!m->name_len || incarnation < m->incarnation)
        return;
    suspect_known(ms, now_ns, index, m->incarnation,
                  (uint32_t)members_slot(ms, MEMBERS_SELF)->hash, out);
}

void members_dead(struct members *ms, uint64_t now_ns,
                  const struct ml_accusation *a, struct change *out)
{
    *out = (struct change){.kind = CHANGE_NONE};
    uint32_t index = members_find(ms, a->node);
    if (index == MEMBERS_NOBODY)
        return;
    if (index == MEMBERS_SELF) {
        accusation_self(ms, a->incarnation, out);
        return;
    }
    struct member *m = members_slot(ms, index);
    if (a->incarnation < m->incarnation ||
        !is_accusable(ms, now_ns, m, a->incarnation))
        return;
    if (m->state == MEMBER_DEAD || m->state == MEMBER_LEFT) {
        raise_gone(ms, index, a->incarnation, out);
        return;
    }
    bool has_left = span_equal(a->node, a->from);
    m->incarnation = a->incarnation;
    members_set_state(ms, m, has_left ? MEMBER_LEFT : MEMBER_DEAD, now_ns);
    members_touch(ms, m);
    answer(out, has_left ? CHANGE_LEFT : CHANGE_FAILED, index);
}

void members_entry(struct members *ms, uint64_t now_ns,
                   const struct ml_alive *entry, struct change *out)
{
    struct ml_accusation a = {
        .incarnation = entry->incarnation,
        .node = entry->node,
        .from = members_name(members_slot(ms, MEMBERS_SELF)),
    };
    *out = (struct change){.kind = CHANGE_NONE};
    switch (entry->state) {
    case ML_STATE_ALIVE:
        members_alive(ms, now_ns, entry, out);
        break;
    case ML_STATE_DEAD:
        if (CANARY(ms->config.canary, CANARY_BELIEVE_DEAD)) {
            members_dead(ms, now_ns, &a, out);
            break;
        }
        /* fall through */
    case ML_STATE_SUSPECT:
        members_suspect(ms, now_ns, &a, out);
        break;
    case ML_STATE_LEFT:
        a.from = entry->node;
        members_dead(ms, now_ns, &a, out);
        break;
    default:
        ms->counters.refused_fit++;
    }
}
