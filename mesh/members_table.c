#include <assert.h>
#include <stdlib.h>

#include "mesh/members_private.h"
#include "proto/base/err.h"

#define BUCKETS_FIRST 64
/* A liar may give many names one address; each packet from there would walk
 * them all. */
#define SAME_ADDR_WALK_MAX 32

/* ---- hash chains ---- */

uint64_t members_hash(const struct members *ms, struct span name)
{
    return hash_bytes(ms->seed, name.data, name.len);
}

static uint64_t hash_addr(const struct members *ms, const struct addr *a,
                          bool has_port)
{
    uint64_t seed = ms->seed + a->family;
    if (has_port)
        seed += ((uint64_t)a->port + 1) << 8;
    return hash_bytes(seed, a->ip, a->family == ADDR_V4 ? 4 : sizeof(a->ip));
}

static uint32_t *bucket(const struct members *ms, uint32_t *heads,
                        uint64_t hash)
{
    return &heads[hash & (ms->n_buckets - 1)];
}

static void link_name(struct members *ms, uint32_t index)
{
    struct member *m = members_slot(ms, index);
    uint32_t *head = bucket(ms, ms->by_name, m->hash);
    m->next_name = *head;
    *head = index;
}

static void link_addr(struct members *ms, uint32_t index)
{
    struct member *m = members_slot(ms, index);
    uint32_t *head = bucket(ms, ms->by_at, hash_addr(ms, &m->addr, true));
    m->next_at = *head;
    *head = index;
    head = bucket(ms, ms->by_ip, hash_addr(ms, &m->addr, false));
    m->next_ip = *head;
    *head = index;
}

static void unlink_name(struct members *ms, uint32_t index)
{
    struct member *m = members_slot(ms, index);
    uint32_t *link = bucket(ms, ms->by_name, m->hash);
    while (*link != index)
        link = &members_slot(ms, *link)->next_name;
    *link = m->next_name;
}

static void unlink_addr(struct members *ms, uint32_t index)
{
    struct member *m = members_slot(ms, index);
    uint32_t *link = bucket(ms, ms->by_at, hash_addr(ms, &m->addr, true));
    while (*link != index)
        link = &members_slot(ms, *link)->next_at;
    *link = m->next_at;
    link = bucket(ms, ms->by_ip, hash_addr(ms, &m->addr, false));
    while (*link != index)
        link = &members_slot(ms, *link)->next_ip;
    *link = m->next_ip;
}

/* ---- growing ---- */

static uint32_t *new_heads(size_t n)
{
    uint32_t *heads = calloc(n, sizeof(*heads));
    if (heads)
        memset(heads, 0xff, n * sizeof(*heads)); /* MEMBERS_NOBODY */
    return heads;
}

static int grow_buckets(struct members *ms, size_t n)
{
    uint32_t *heads[3] = {new_heads(n), new_heads(n), new_heads(n)};
    if (!heads[0] || !heads[1] || !heads[2]) {
        for (int i = 0; i < 3; i++)
            free(heads[i]);
        return ERR_NOMEM;
    }
    free(ms->by_name);
    free(ms->by_at);
    free(ms->by_ip);
    ms->by_name = heads[0];
    ms->by_at = heads[1];
    ms->by_ip = heads[2];
    ms->n_buckets = n;
    for (uint32_t i = 0; i < ms->size; i++) {
        if (members_slot(ms, i)->name_len) {
            link_name(ms, i);
            link_addr(ms, i);
        }
    }
    return 0;
}

static int grow_slots(struct members *ms)
{
    size_t n = ms->n_chunks + 1;
    struct member **chunks = reallocarray(ms->chunks, n, sizeof(*chunks));
    if (!chunks)
        return ERR_NOMEM;
    ms->chunks = chunks;
    uint32_t *ring =
        reallocarray(ms->ring, n, MEMBERS_CHUNK * sizeof(*ms->ring));
    if (!ring)
        return ERR_NOMEM;
    ms->ring = ring;
    struct member *chunk = calloc(MEMBERS_CHUNK, sizeof(*chunk));
    if (!chunk)
        return ERR_NOMEM;
    ms->chunks[ms->n_chunks++] = chunk;
    return 0;
}

static int make_room(struct members *ms)
{
    if (ms->count == ms->n_buckets && grow_buckets(ms, ms->n_buckets * 2))
        return ERR_NOMEM;
    if (ms->free == MEMBERS_NOBODY && ms->size == ms->n_chunks * MEMBERS_CHUNK)
        return grow_slots(ms);
    return 0;
}

/* ---- the ping order ---- */

static void put_in_ring(struct members *ms, size_t at, uint32_t index)
{
    ms->ring[at] = index;
    members_slot(ms, index)->order = (uint32_t)at;
}

/* At a random place among those still to come, so that nobody who is known is
 * passed over in this round. */
static void enter_ring(struct members *ms, uint32_t index)
{
    size_t last = ms->n_ring++;
    size_t at = ms->cursor + rng_below(&ms->rng, last - ms->cursor + 1);
    put_in_ring(ms, last, at < last ? ms->ring[at] : index);
    put_in_ring(ms, at, index);
}

static void leave_ring(struct members *ms, uint32_t index)
{
    size_t hole = members_slot(ms, index)->order;
    assert(hole < ms->n_ring && ms->ring[hole] == index);
    size_t last = --ms->n_ring;
    /* The hole must not be filled across the cursor: whoever comes from behind
     * it would not be pinged. */
    if (hole < ms->cursor) {
        ms->cursor--;
        put_in_ring(ms, hole, ms->ring[ms->cursor]);
        hole = ms->cursor;
    }
    if (hole < last)
        put_in_ring(ms, hole, ms->ring[last]);
}

/* ---- records ---- */

static uint64_t digest_of(const struct member *m)
{
    struct {
        uint64_t name;
        uint32_t incarnation;
        uint16_t port, meta_len;
        uint8_t addr[16], vsn[ML_VSN_SIZE], state, addr_len;
    } fixed = {
        .name = m->hash,
        .incarnation = m->incarnation,
        .port = m->addr.port,
        .meta_len = m->meta_len,
        .state = m->state,
        .addr_len = m->addr_len,
    };
    _Static_assert(sizeof(fixed) == 40, "no padding: every byte is hashed");
    memcpy(fixed.addr, m->addr_bytes, sizeof(fixed.addr));
    memcpy(fixed.vsn, m->vsn, sizeof(fixed.vsn));
    uint64_t seed = hash_bytes(0, &fixed, sizeof(fixed));
    return hash_bytes(seed, m->meta, m->meta_len);
}

void members_touch(struct members *ms, struct member *m)
{
    ms->digest ^= m->digest;
    m->digest = digest_of(m);
    ms->digest ^= m->digest;
}

int members_table_init(struct members *ms)
{
    ms->free = MEMBERS_NOBODY;
    int rc = grow_buckets(ms, BUCKETS_FIRST);
    return rc ? rc : heap_init(&ms->suspects, ms->config.members_max);
}

static void free_owned(struct member *m)
{
    free(m->name);
    free(m->meta);
    free(m->suspect);
}

void members_table_fini(struct members *ms)
{
    for (uint32_t i = 0; i < ms->size; i++)
        free_owned(members_slot(ms, i));
    for (size_t i = 0; i < ms->n_chunks; i++)
        free(ms->chunks[i]);
    free(ms->chunks);
    free(ms->ring);
    free(ms->by_name);
    free(ms->by_at);
    free(ms->by_ip);
    heap_fini(&ms->suspects);
}

static uint32_t take_slot(struct members *ms)
{
    uint32_t index = ms->free;
    if (index == MEMBERS_NOBODY)
        return (uint32_t)ms->size++;
    ms->free = members_slot(ms, index)->order;
    return index;
}

static void fill_addr(struct member *m, struct span bytes, const struct addr *a)
{
    assert(bytes.len == 4 || bytes.len == 16);
    m->addr_len = (uint8_t)bytes.len;
    memset(m->addr_bytes, 0, sizeof(m->addr_bytes));
    memcpy(m->addr_bytes, bytes.data, bytes.len);
    m->addr = *a;
}

struct member *members_add(struct members *ms, const struct ml_alive *a,
                           uint32_t *index)
{
    assert(a->node.len > 0 && a->node.len <= ML_NAME_MAX);
    char *name = malloc(a->node.len + 1);
    if (!name || make_room(ms)) {
        free(name);
        return NULL;
    }
    memcpy(name, a->node.data, a->node.len);
    name[a->node.len] = '\0';

    *index = take_slot(ms);
    struct member *m = members_slot(ms, *index);
    *m = (struct member){
        .name = name,
        .name_len = (uint8_t)a->node.len,
        .state = MEMBER_DEAD,
        .hash = members_hash(ms, a->node),
    };
    struct addr addr = ml_addr(a->addr, a->port);
    fill_addr(m, a->addr, &addr);
    link_name(ms, *index);
    link_addr(ms, *index);
    if (*index != MEMBERS_SELF)
        enter_ring(ms, *index);
    ms->count++;
    ms->counts[m->state]++;
    members_touch(ms, m);
    return m;
}

void members_remove(struct members *ms, uint32_t index)
{
    assert(index != MEMBERS_SELF);
    struct member *m = members_slot(ms, index);
    unlink_name(ms, index);
    unlink_addr(ms, index);
    leave_ring(ms, index);
    if (m->suspect)
        heap_remove(&ms->suspects, &m->suspect->timer);
    ms->count--;
    ms->counts[m->state]--;
    ms->digest ^= m->digest;
    free_owned(m);
    *m = (struct member){.order = ms->free};
    ms->free = index;
}

void members_set_addr(struct members *ms, uint32_t index, struct span bytes,
                      const struct addr *a)
{
    unlink_addr(ms, index);
    fill_addr(members_slot(ms, index), bytes, a);
    link_addr(ms, index);
}

int members_store_meta(struct member *m, struct span meta)
{
    uint8_t *copy = NULL;
    if (meta.len) {
        copy = malloc(meta.len);
        if (!copy)
            return ERR_NOMEM;
        memcpy(copy, meta.data, meta.len);
    }
    free(m->meta);
    m->meta = copy;
    m->meta_len = (uint16_t)meta.len;
    return 0;
}

void members_set_state(struct members *ms, struct member *m,
                       enum member_state state, uint64_t now_ns)
{
    if (m->suspect && state != MEMBER_SUSPECT) {
        heap_remove(&ms->suspects, &m->suspect->timer);
        free(m->suspect);
        m->suspect = NULL;
    }
    ms->counts[m->state]--;
    ms->counts[state]++;
    m->state = (uint8_t)state;
    m->changed_ns = now_ns;
}

/* ---- reading ---- */

uint32_t members_find(const struct members *ms, struct span name)
{
    uint64_t hash = members_hash(ms, name);
    uint32_t i = *bucket(ms, ms->by_name, hash);
    while (i != MEMBERS_NOBODY) {
        const struct member *m = members_slot(ms, i);
        if (m->hash == hash && span_equal(members_name(m), name))
            break;
        i = m->next_name;
    }
    return i;
}

uint32_t members_at(const struct members *ms, const struct addr *a,
                    bool any_port)
{
    uint32_t *heads = any_port ? ms->by_ip : ms->by_at;
    uint32_t found = MEMBERS_NOBODY;
    unsigned walked = 0;
    uint32_t i = *bucket(ms, heads, hash_addr(ms, a, !any_port));
    while (i != MEMBERS_NOBODY) {
        const struct member *m = members_slot(ms, i);
        struct addr there = m->addr;
        if (any_port)
            there.port = a->port;
        if (addr_equal(&there, a)) {
            /* The dead are what is found if nobody else is there. */
            if (m->state == MEMBER_ALIVE || m->state == MEMBER_SUSPECT)
                return i;
            if (found == MEMBERS_NOBODY)
                found = i;
            if (++walked == SAME_ADDR_WALK_MAX)
                break;
        }
        i = any_port ? m->next_ip : m->next_at;
    }
    return found;
}

bool members_is_at(const struct members *ms, uint32_t index,
                   const struct addr *a)
{
    return index != MEMBERS_NOBODY &&
           addr_same_ip(&members_peek(ms, index)->addr, a);
}

struct member *members_get(struct members *ms, uint32_t index)
{
    assert(index < ms->size);
    return members_slot(ms, index);
}

const struct member *members_peek(const struct members *ms, uint32_t index)
{
    assert(index < ms->size);
    return members_slot(ms, index);
}

size_t members_size(const struct members *ms)
{
    return ms->size;
}

size_t members_count(const struct members *ms)
{
    return ms->count;
}

size_t members_count_state(const struct members *ms, enum member_state s)
{
    return ms->counts[s];
}

const struct members_counters *members_counters(const struct members *ms)
{
    return &ms->counters;
}

uint64_t members_digest(const struct members *ms)
{
    return ms->digest;
}

static void check_record(const struct members *ms, uint32_t index)
{
    const struct member *m = members_slot(ms, index);
    assert(m->name_len <= ML_NAME_MAX && m->name[m->name_len] == '\0');
    assert(m->hash == members_hash(ms, members_name(m)));
    assert(members_find(ms, members_name(m)) == index);
    assert(members_at(ms, &m->addr, false) != MEMBERS_NOBODY);
    assert(members_at(ms, &m->addr, true) != MEMBERS_NOBODY);
    assert(m->state <= MEMBER_LEFT);
    assert(m->meta_len <= ML_META_MAX && !m->meta == !m->meta_len);
    assert(m->addr_len == 4 || m->addr_len == 16);
    struct addr addr =
        ml_addr(span_of(m->addr_bytes, m->addr_len), m->addr.port);
    assert(addr_equal(&addr, &m->addr));
    assert(!m->suspect == (m->state != MEMBER_SUSPECT));
    if (m->suspect) {
        assert(m->suspect->index == index);
        assert(m->suspect->timer.place != 0);
        assert(m->suspect->timer.deadline_ns ==
               suspicion_deadline(&m->suspect->suspicion));
    }
    assert(m->digest == digest_of(m));
    if (index == MEMBERS_SELF)
        assert(m->state == (ms->is_leaving ? MEMBER_LEFT : MEMBER_ALIVE));
    else
        assert(m->order < ms->n_ring && ms->ring[m->order] == index);
}

void members_check(const struct members *ms)
{
    size_t counts[MEMBER_LEFT + 1] = {0};
    size_t count = 0;
    uint64_t digest = 0;
    for (uint32_t i = 0; i < ms->size; i++) {
        const struct member *m = members_slot(ms, i);
        if (!m->name_len)
            continue;
        check_record(ms, i);
        count++;
        counts[m->state]++;
        digest ^= m->digest;
    }
    assert(count == ms->count && count == ms->n_ring + 1);
    for (int s = MEMBER_ALIVE; s <= MEMBER_LEFT; s++)
        assert(counts[s] == ms->counts[s]);
    assert(counts[MEMBER_SUSPECT] == ms->suspects.n);
    assert(digest == ms->digest);
    assert(ms->cursor <= ms->n_ring);
    size_t n_free = 0;
    for (uint32_t i = ms->free; i != MEMBERS_NOBODY;
         i = members_slot(ms, i)->order)
        n_free++;
    assert(n_free == ms->size - count);
    heap_check(&ms->suspects);
}
