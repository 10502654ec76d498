#include "mesh/members.h"

#include <assert.h>
#include <stdlib.h>

#include "mesh/canary.h"
#include "mesh/members_private.h"
#include "proto/base/err.h"

/* members_describe() hands our states out as the wire's. */
_Static_assert((int)MEMBER_ALIVE == (int)ML_STATE_ALIVE, "");
_Static_assert((int)MEMBER_SUSPECT == (int)ML_STATE_SUSPECT, "");
_Static_assert((int)MEMBER_DEAD == (int)ML_STATE_DEAD, "");
_Static_assert((int)MEMBER_LEFT == (int)ML_STATE_LEFT, "");

/* ---- opening ---- */

struct members *members_open(const struct members_config *c, uint64_t now_ns)
{
    assert(c->name.len > 0 && c->name.len <= ML_NAME_MAX);
    assert(c->meta.len <= ML_META_MAX);
    assert(c->members_max > 0 && c->members_max < MEMBERS_NOBODY);
    assert(c->new_per_s > 0);
    struct members *ms = calloc(1, sizeof(*ms));
    if (!ms)
        return NULL;
    ms->config = *c;
    ms->config.name = ms->config.meta = span_of(NULL, 0);
    ms->opened_ns = now_ns;
    rng_seed(&ms->rng, c->seed);
    ms->seed = rng_next(&ms->rng);

    struct ml_alive self = {
        .node = c->name,
        .addr = ml_addr_bytes(&c->advertise),
        .port = c->advertise.port,
    };
    uint32_t index;
    struct member *m = NULL;
    if (!members_table_init(ms))
        m = members_add(ms, &self, &index);
    if (!m || members_store_meta(m, c->meta)) {
        members_close(ms);
        return NULL;
    }
    assert(index == MEMBERS_SELF);
    memcpy(m->vsn, c->vsn, sizeof(m->vsn));
    m->incarnation = c->incarnation;
    members_set_state(ms, m, MEMBER_ALIVE, now_ns);
    members_touch(ms, m);
    return ms;
}

void members_close(struct members *ms)
{
    if (!ms)
        return;
    members_table_fini(ms);
    free(ms);
}

/* ---- this node ---- */

bool members_refute(struct members *ms, uint32_t accusation)
{
    struct member *self = members_slot(ms, MEMBERS_SELF);
    uint32_t above =
        accusation > self->incarnation ? accusation : self->incarnation;
    if (CANARY(ms->config.canary, CANARY_REFUTE_SAME))
        return true;
    if (above == UINT32_MAX && !CANARY(ms->config.canary, CANARY_OVERFLOW))
        return false;
    members_restart(ms, above + 1);
    return true;
}

void members_restart(struct members *ms, uint32_t incarnation)
{
    struct member *self = members_slot(ms, MEMBERS_SELF);
    self->incarnation = incarnation;
    members_touch(ms, self);
}

int members_set_meta(struct members *ms, struct span meta)
{
    struct member *self = members_slot(ms, MEMBERS_SELF);
    if (meta.len > ML_META_MAX)
        return ERR_TOOBIG;
    if (members_store_meta(self, meta))
        return ERR_NOMEM;
    if (self->incarnation < UINT32_MAX)
        self->incarnation++;
    members_touch(ms, self);
    return 0;
}

void members_leave(struct members *ms, uint64_t now_ns)
{
    struct member *self = members_slot(ms, MEMBERS_SELF);
    if (ms->is_leaving)
        return;
    ms->is_leaving = true;
    members_set_state(ms, self, MEMBER_LEFT, now_ns);
    members_touch(ms, self);
}

void members_describe(const struct members *ms, uint32_t index,
                      struct ml_alive *out)
{
    const struct member *m = members_peek(ms, index);
    *out = (struct ml_alive){
        .incarnation = m->incarnation,
        .node = members_name(m),
        .addr = span_of(m->addr_bytes, m->addr_len),
        .port = m->addr.port,
        .meta = span_of(m->meta, m->meta_len),
        .vsn = span_of(m->vsn, sizeof(m->vsn)),
        .state = m->state,
    };
}

/* ---- time ---- */

uint64_t members_deadline(const struct members *ms)
{
    const struct heap_node *first = heap_first(&ms->suspects);
    return first ? first->deadline_ns : UINT64_MAX;
}

static struct suspect *suspect_of(struct heap_node *timer)
{
    return (struct suspect *)((char *)timer - offsetof(struct suspect, timer));
}

bool members_expire(struct members *ms, uint64_t now_ns, struct change *out)
{
    *out = (struct change){.kind = CHANGE_NONE};
    struct heap_node *first = heap_first(&ms->suspects);
    if (!first || first->deadline_ns > now_ns)
        return false;
    uint32_t index = suspect_of(first)->index;
    struct member *m = members_slot(ms, index);
    members_set_state(ms, m, MEMBER_DEAD, now_ns);
    members_touch(ms, m);
    *out =
        (struct change){.kind = CHANGE_FAILED, .index = index, .is_news = true};
    return true;
}

void members_extend(struct members *ms, uint64_t gap_ns)
{
    for (uint32_t i = 0; i < ms->size; i++) {
        struct suspect *s = members_slot(ms, i)->suspect;
        if (!s)
            continue;
        s->suspicion.start_ns += gap_ns;
        members_arm(ms, s);
    }
}

void members_purge(struct members *ms, uint64_t now_ns,
                   void (*forgotten)(void *arg, const struct member *m),
                   void *arg)
{
    uint64_t after_ns = ms->config.gossip_to_dead_ns;
    if (after_ns < ms->config.reclaim_ns)
        after_ns = ms->config.reclaim_ns;
    for (uint32_t i = MEMBERS_SELF + 1; i < ms->size; i++) {
        const struct member *m = members_slot(ms, i);
        bool is_gone = m->state == MEMBER_DEAD || m->state == MEMBER_LEFT;
        if (!m->name_len || !is_gone || now_ns - m->changed_ns <= after_ns)
            continue;
        if (forgotten)
            forgotten(arg, m);
        members_remove(ms, i);
    }
}
