#include <assert.h>

#include "mesh/members_private.h"

static bool is_pingable(const struct member *m)
{
    return m->state == MEMBER_ALIVE || m->state == MEMBER_SUSPECT;
}

static void shuffle(struct members *ms)
{
    for (size_t i = ms->n_ring; i > 1; i--) {
        size_t j = rng_below(&ms->rng, i);
        uint32_t moved = ms->ring[i - 1];
        ms->ring[i - 1] = ms->ring[j];
        ms->ring[j] = moved;
    }
    for (size_t i = 0; i < ms->n_ring; i++)
        members_slot(ms, ms->ring[i])->order = (uint32_t)i;
    ms->cursor = 0;
}

uint32_t members_next(struct members *ms, bool *wrapped)
{
    *wrapped = false;
    /* The rest of this round and all of the next: that finds anybody. */
    size_t left = ms->n_ring - ms->cursor + ms->n_ring;
    for (; left > 0; left--) {
        if (ms->cursor == ms->n_ring) {
            shuffle(ms);
            *wrapped = true;
        }
        uint32_t index = ms->ring[ms->cursor++];
        if (is_pingable(members_slot(ms, index)))
            return index;
    }
    *wrapped = true;
    return MEMBERS_NOBODY;
}

struct wish {
    uint64_t now_ns;
    unsigned who;
    uint32_t except;
};

static bool fits(const struct members *ms, const struct wish *w, uint32_t index)
{
    const struct member *m = members_slot(ms, index);
    if (index == w->except || ((w->who & PICK_OURS) && !m->is_ours))
        return false;
    switch ((enum member_state)m->state) {
    case MEMBER_ALIVE:
        return w->who & PICK_ALIVE;
    case MEMBER_SUSPECT:
        return w->who & PICK_SUSPECT;
    case MEMBER_DEAD:
        return (w->who & PICK_DEAD) &&
               w->now_ns - m->changed_ns < ms->config.gossip_to_dead_ns;
    case MEMBER_LEFT:
        break;
    }
    return false;
}

/* Look at all and keep k of them, each with the same chance (reservoir
 * sampling). */
static size_t pick_from_all(struct members *ms, const struct wish *w, size_t k,
                            uint32_t *out)
{
    size_t seen = 0;
    for (size_t i = 0; i < ms->n_ring; i++) {
        if (!fits(ms, w, ms->ring[i]))
            continue;
        size_t at = seen < k ? seen : rng_below(&ms->rng, seen + 1);
        if (at < k)
            out[at] = ms->ring[i];
        seen++;
    }
    return seen < k ? seen : k;
}

static bool is_among(uint32_t index, const uint32_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (out[i] == index)
            return true;
    }
    return false;
}

size_t members_pick(struct members *ms, uint64_t now_ns, unsigned who,
                    uint32_t except, size_t k, uint32_t *out)
{
    const struct wish w = {.now_ns = now_ns, .who = who, .except = except};
    if (k == 0)
        return 0;
    if (ms->n_ring / 3 < k)
        return pick_from_all(ms, &w, k, out);

    /* In a large mesh most of the first draws will do. Where they do not,
     * looking at all is better than drawing on in vain. */
    size_t n = 0;
    for (size_t draws = 4 * k + 8; draws > 0 && n < k; draws--) {
        uint32_t index = ms->ring[rng_below(&ms->rng, ms->n_ring)];
        if (fits(ms, &w, index) && !is_among(index, out, n))
            out[n++] = index;
    }
    return n == k ? n : pick_from_all(ms, &w, k, out);
}
