#include <assert.h>
#include <string.h>

#include "prober/remote_private.h"

static const uint64_t price_ns = 60 * SEC / REMOTE_ASKS_PER_MINUTE;
static const uint64_t burst_ns = 60 * SEC;

/* The one that this coordinator has, or one whose owner has not asked for so
 * long that it is as good as unknown. NULL: all are busy. */
static struct coordinator *find(struct remote *r, uint64_t hash)
{
    struct coordinator *spare = NULL;
    for (size_t i = 0; i < COORDINATORS_MAX; i++) {
        struct coordinator *c = &r->coordinators[i];
        if (c->hash == hash && c->rate.paid_ns > 0)
            return c;
        if (!spare && c->rate.paid_ns <= r->now_ns)
            spare = c;
    }
    if (spare)
        *spare = (struct coordinator){.hash = hash};
    return spare;
}

static size_t runs_of(const struct remote *r, uint64_t hash)
{
    size_t n = 0;
    for (size_t i = 0; i < REMOTE_RUNS_MAX; i++)
        n += r->runs[i] && r->runs[i]->member_hash == hash;
    return n;
}

/* Will there be a place to remember this one, behind those that run? What is
 * forgotten too early could be run twice. */
static bool can_remember(const struct remote *r)
{
    size_t place = (r->remember_next + r->runs_open) % REMEMBERED_MAX;
    const struct remembered *m = &r->remembered[place];
    return !m->is_used || r->now_ns - m->ended_ns >= REMOTE_REMEMBER_NS;
}

_Static_assert(REMEMBERED_MAX > REMOTE_RUNS_MAX, "a place for each run");

bool remote_may_begin(struct remote *r, uint64_t member_hash)
{
    if (r->runs_open >= REMOTE_RUNS_MAX || !can_remember(r) ||
        runs_of(r, member_hash) >= REMOTE_RUNS_OF_ONE_MAX)
        return false;
    struct coordinator *c = find(r, member_hash);
    return c && rate_take(&c->rate, r->now_ns, price_ns, burst_ns);
}

void remote_remember(struct remote *r, const struct run *run, bool is_told)
{
    struct remembered *m = &r->remembered[r->remember_next];
    *m = (struct remembered){
        .ask = run->ask,
        .member_hash = run->member_hash,
        .ended_ns = r->now_ns,
        .is_used = true,
        .is_told = is_told,
        .verdict = {.state = run->end,
                    .samples = run->queue.first + run->queue.n,
                    .missed = run->missed},
    };
    memcpy(m->id, run->id, sizeof(m->id));
    r->remember_next = (r->remember_next + 1) % REMEMBERED_MAX;
}

const struct remembered *remote_recall(const struct remote *r,
                                       const struct remote_head *head,
                                       uint64_t member_hash)
{
    for (size_t i = 0; i < REMEMBERED_MAX; i++) {
        const struct remembered *m = &r->remembered[i];
        if (m->is_used && m->ask == head->ask &&
            m->member_hash == member_hash &&
            !memcmp(m->id, head->id, sizeof(m->id)))
            return m;
    }
    return NULL;
}
