#include "prober/lockout.h"

#include <string.h>

#include "proto/addr_policy.h"

enum { KIND_FREE, KIND_V4, KIND_V6, KIND_USER };

struct lockout_place lockout_place_of_addr(const struct addr *a)
{
    /* On a socket for both families an IPv4 peer has a mapped address; all of
     * these are in one /64. */
    struct addr inner = addr_unwrap(a);
    uint64_t value = 0;
    size_t n = inner.family == ADDR_V4 ? 4 : 8;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | inner.ip[i];
    return (struct lockout_place){
        .kind = inner.family == ADDR_V4 ? KIND_V4 : KIND_V6,
        .value = value,
    };
}

struct lockout_place lockout_place_of_user(uint32_t uid)
{
    return (struct lockout_place){.kind = KIND_USER, .value = uid};
}

static bool is_place(const struct lockout_entry *e, struct lockout_place place)
{
    return e->place.kind == place.kind && e->place.value == place.value;
}

bool lockout_is_locked(const struct lockout *l, uint64_t now_ns,
                       struct lockout_place place)
{
    for (size_t i = 0; i < LOCKOUT_TABLE_MAX; i++) {
        if (is_place(&l->entries[i], place))
            return now_ns < l->entries[i].until_ns;
    }
    return false;
}

/* Is `a` to be forgotten rather than `b`? */
static bool is_lesser(const struct lockout_entry *a,
                      const struct lockout_entry *b, uint64_t now_ns)
{
    bool a_is_locked = now_ns < a->until_ns;
    bool b_is_locked = now_ns < b->until_ns;
    if (a_is_locked != b_is_locked)
        return b_is_locked;
    return a->last_ns < b->last_ns;
}

/* The place's entry, or one to be used for it. A free one has last_ns 0 and is
 * the least of all. */
static struct lockout_entry *entry_of(struct lockout *l, uint64_t now_ns,
                                      struct lockout_place place)
{
    struct lockout_entry *least = &l->entries[0];
    for (size_t i = 0; i < LOCKOUT_TABLE_MAX; i++) {
        struct lockout_entry *e = &l->entries[i];
        if (is_place(e, place))
            return e;
        if (is_lesser(e, least, now_ns))
            least = e;
    }
    *least = (struct lockout_entry){.place = place};
    return least;
}

void lockout_add(struct lockout *l, uint64_t now_ns, struct lockout_place place)
{
    struct lockout_entry *e = entry_of(l, now_ns, place);
    e->last_ns = now_ns;
    e->at_ns[e->n % LOCKOUT_FAILURES] = now_ns;
    e->n++;
    /* What stands in the next slot is the fifth from here. */
    if (e->n < LOCKOUT_FAILURES ||
        now_ns - e->at_ns[e->n % LOCKOUT_FAILURES] >= LOCKOUT_NS)
        return;
    /* When it ends these five are too old to count. */
    e->until_ns = now_ns + LOCKOUT_NS;
}
