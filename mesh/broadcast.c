#include "mesh/broadcast.h"

#include <assert.h>
#include <stdlib.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"

#define SIZE_FIRST 16 /* items; what a small, quiet mesh ever needs */

struct item {
    struct item *next; /* in its bucket, or among those to be freed */
    uint64_t subject;  /* 0: none, not in a bucket */
    uint64_t id;       /* counts up, so the larger one is newer */
    size_t len;
    unsigned told;
    enum broadcast_kind kind;
    bool is_taken; /* by the call that is running */
    uint8_t bytes[];
};

/* The items of one kind in the order in which they are offered: those told
 * least often first, among these the largest, among these the newest. */
struct queue {
    struct item **items;
    size_t n, size;
};

struct broadcast {
    struct broadcast_limits limits;
    struct queue queues[BROADCAST_KIND_N];
    size_t n, bytes;
    struct item **buckets; /* by kind and subject */
    size_t n_buckets;      /* a power of two, or 0 */
    uint64_t next_id;
    uint64_t dropped;
    size_t user_credit;   /* bytes, see reserve() */
    struct item *leaving; /* still borrowed by whoever took them last */
};

/* ---- order ---- */

/* Where the item (told, len, id) is, or would be, at or behind `from`. */
static size_t lower_bound(const struct queue *q, size_t from, unsigned told,
                          size_t len, uint64_t id)
{
    size_t low = from;
    size_t high = q->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct item *it = q->items[mid];
        bool is_before = it->told != told ? it->told < told
                         : it->len != len ? it->len > len
                                          : it->id > id;
        if (is_before)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void insert(struct queue *q, struct item *it)
{
    assert(q->n < q->size);
    size_t at = lower_bound(q, 0, it->told, it->len, it->id);
    memmove(&q->items[at + 1], &q->items[at],
            (q->n - at) * sizeof(struct item *));
    q->items[at] = it;
    q->n++;
}

static void erase(struct queue *q, struct item *it)
{
    size_t at = lower_bound(q, 0, it->told, it->len, it->id);
    assert(at < q->n && q->items[at] == it);
    q->n--;
    memmove(&q->items[at], &q->items[at + 1],
            (q->n - at) * sizeof(struct item *));
}

/* ---- subjects ---- */

static struct item **bucket(const struct broadcast *b, enum broadcast_kind kind,
                            uint64_t subject)
{
    uint64_t h = hash_bytes((uint64_t)kind, &subject, sizeof(subject));
    return &b->buckets[h & (b->n_buckets - 1)];
}

/* The link that leads to the item, or to where its chain ends. */
static struct item **find(const struct broadcast *b, enum broadcast_kind kind,
                          uint64_t subject)
{
    struct item **link = bucket(b, kind, subject);
    while (*link && ((*link)->kind != kind || (*link)->subject != subject))
        link = &(*link)->next;
    return link;
}

static void file(struct broadcast *b, struct item *it)
{
    if (!it->subject)
        return;
    struct item **head = bucket(b, it->kind, it->subject);
    it->next = *head;
    *head = it;
}

static void unfile(struct broadcast *b, struct item *it)
{
    if (!it->subject)
        return;
    struct item **link = find(b, it->kind, it->subject);
    assert(*link == it);
    *link = it->next;
    it->next = NULL;
}

/* ---- growing ---- */

static int grow_buckets(struct broadcast *b)
{
    size_t n = b->n_buckets ? b->n_buckets * 2 : SIZE_FIRST;
    struct item **buckets = calloc(n, sizeof(*buckets));
    if (!buckets)
        return ERR_NOMEM;
    free(b->buckets);
    b->buckets = buckets;
    b->n_buckets = n;
    for (int kind = 0; kind < BROADCAST_KIND_N; kind++) {
        const struct queue *q = &b->queues[kind];
        for (size_t i = 0; i < q->n; i++)
            file(b, q->items[i]);
    }
    return 0;
}

/* Make room in the tables for one more item of this kind. */
static int grow(struct broadcast *b, struct queue *q)
{
    if (q->n == q->size) {
        size_t size = q->size ? q->size * 2 : SIZE_FIRST;
        struct item **items = reallocarray(q->items, size, sizeof(*items));
        if (!items)
            return ERR_NOMEM;
        q->items = items;
        q->size = size;
    }
    return b->n < b->n_buckets ? 0 : grow_buckets(b);
}

/* ---- going ---- */

/* Out of all tables; its bytes stay until the next call. */
static void retire(struct broadcast *b, struct item *it)
{
    unfile(b, it);
    b->n--;
    b->bytes -= it->len;
    it->next = b->leaving;
    b->leaving = it;
}

static void discard(struct broadcast *b, struct item *it)
{
    erase(&b->queues[it->kind], it);
    retire(b, it);
}

static void free_leaving(struct broadcast *b)
{
    while (b->leaving) {
        struct item *it = b->leaving;
        b->leaving = it->next;
        free(it);
    }
}

/* The item told most often, the oldest of these. Walks the last class only;
 * nothing is spent on keeping it at hand while there is room. */
static struct item *most_told(const struct broadcast *b)
{
    struct item *worst = NULL;
    for (int kind = 0; kind < BROADCAST_KIND_N; kind++) {
        const struct queue *q = &b->queues[kind];
        for (size_t i = q->n; i-- > 0;) {
            struct item *it = q->items[i];
            if (it->told != q->items[q->n - 1]->told)
                break;
            if (!worst || it->told > worst->told ||
                (it->told == worst->told && it->id < worst->id))
                worst = it;
        }
    }
    return worst;
}

static void make_room(struct broadcast *b, size_t len)
{
    while (b->n >= b->limits.items_max ||
           len > b->limits.bytes_max - b->bytes) {
        discard(b, most_told(b));
        b->dropped++;
    }
}

/* ---- public ---- */

struct broadcast *broadcast_open(const struct broadcast_limits *limits)
{
    assert(limits->items_max > 0);
    struct broadcast *b = calloc(1, sizeof(*b));
    if (b)
        *b = (struct broadcast){.limits = *limits, .next_id = 1};
    return b;
}

void broadcast_close(struct broadcast *b)
{
    if (!b)
        return;
    free_leaving(b);
    for (int kind = 0; kind < BROADCAST_KIND_N; kind++) {
        struct queue *q = &b->queues[kind];
        for (size_t i = 0; i < q->n; i++)
            free(q->items[i]);
        free(q->items);
    }
    free(b->buckets);
    free(b);
}

unsigned broadcast_limit(unsigned retransmit_mult, size_t n)
{
    /* The rounded-up logarithm of n + 1 is the number of n's digits. */
    unsigned digits = 1;
    for (; n >= 10; n /= 10)
        digits++;
    return retransmit_mult * digits;
}

int broadcast_add(struct broadcast *b, enum broadcast_kind kind,
                  uint64_t subject, struct span bytes, uint64_t *id)
{
    assert(kind < BROADCAST_KIND_N);
    if (bytes.len == 0)
        return ERR_BAD;
    if (bytes.len > b->limits.item_max || bytes.len > b->limits.bytes_max)
        return ERR_TOOBIG;

    /* Copied before anything is freed: the bytes may be an item's own. */
    struct item *it = malloc(sizeof(*it) + bytes.len);
    if (!it || grow(b, &b->queues[kind])) {
        free(it);
        return ERR_NOMEM;
    }
    *it = (struct item){
        .subject = subject, .id = b->next_id++, .len = bytes.len, .kind = kind};
    memcpy(it->bytes, bytes.data, bytes.len);

    broadcast_remove(b, kind, subject);
    make_room(b, it->len);
    free_leaving(b);
    insert(&b->queues[kind], it);
    file(b, it);
    b->n++;
    b->bytes += it->len;
    if (id)
        *id = it->id;
    return 0;
}

void broadcast_remove(struct broadcast *b, enum broadcast_kind kind,
                      uint64_t subject)
{
    free_leaving(b);
    if (!subject || !b->n_buckets)
        return;
    struct item *it = *find(b, kind, subject);
    if (it)
        discard(b, it);
}

bool broadcast_has(const struct broadcast *b, uint64_t id)
{
    for (int kind = 0; kind < BROADCAST_KIND_N; kind++) {
        const struct queue *q = &b->queues[kind];
        for (size_t i = 0; i < q->n; i++) {
            if (q->items[i]->id == id)
                return true;
        }
    }
    return false;
}

/* ---- handing out ---- */

struct batch {
    size_t room, overhead;
    struct span *items;
    size_t n, max;
};

/* Take what fits from one queue, but leave `kept` bytes. One pass forward is
 * enough: within a class the items only get smaller, and so does the room. */
static void fill(struct queue *q, struct batch *batch, size_t kept)
{
    size_t i = 0;
    while (i < q->n && batch->n < batch->max &&
           batch->room > kept + batch->overhead) {
        struct item *it = q->items[i];
        size_t fits = batch->room - kept - batch->overhead;
        if (it->len > fits) {
            i = lower_bound(q, i, it->told, fits, UINT64_MAX);
            continue;
        }
        i++;
        if (it->is_taken)
            continue;
        it->is_taken = true;
        batch->room -= batch->overhead + it->len;
        batch->items[batch->n++] = span_of(it->bytes, it->len);
    }
}

/* Take those that were taken out of their places and put them where one more
 * telling belongs. */
static void settle(struct broadcast *b, struct queue *q, unsigned limit,
                   size_t n_taken)
{
    if (n_taken == 0)
        return;
    struct item *taken = NULL;
    size_t kept = 0;
    size_t i = 0;
    for (; n_taken > 0; i++) {
        struct item *it = q->items[i];
        if (!it->is_taken) {
            q->items[kept++] = it;
            continue;
        }
        n_taken--;
        it->is_taken = false;
        if (++it->told >= limit) {
            retire(b, it);
            continue;
        }
        /* `next` holds the bucket's chain: file it anew later. */
        unfile(b, it);
        it->next = taken;
        taken = it;
    }
    memmove(&q->items[kept], &q->items[i], (q->n - i) * sizeof(struct item *));
    q->n -= i - kept;
    while (taken) {
        struct item *it = taken;
        taken = it->next;
        insert(q, it);
        file(b, it);
    }
}

/* How much of `room` membership leaves free. A quarter of each packet is put
 * to the application's credit while it has something to say: so an item larger
 * than a quarter waits for some packets, but not for ever. */
static size_t reserve(struct broadcast *b, size_t room, size_t overhead)
{
    const struct queue *q = &b->queues[BROADCAST_USER];
    if (q->n == 0) {
        b->user_credit = 0;
        return 0;
    }
    b->user_credit += room / 4;
    if (b->user_credit > room)
        b->user_credit = room;
    size_t wanted = 0;
    for (size_t i = 0; i < q->n && wanted < b->user_credit; i++)
        wanted += q->items[i]->len + overhead;
    return wanted < b->user_credit ? wanted : b->user_credit;
}

size_t broadcast_take(struct broadcast *b, unsigned limit, size_t room,
                      size_t overhead, struct span *items, size_t max)
{
    free_leaving(b);
    struct queue *members = &b->queues[BROADCAST_MEMBER];
    struct queue *users = &b->queues[BROADCAST_USER];
    struct batch batch = {
        .room = room, .overhead = overhead, .items = items, .max = max};

    fill(members, &batch, reserve(b, room, overhead));
    size_t n_members = batch.n;
    size_t before = batch.room;
    fill(users, &batch, 0);
    size_t n_users = batch.n - n_members;
    size_t spent = before - batch.room;
    b->user_credit -= spent < b->user_credit ? spent : b->user_credit;
    /* What was kept free and not used is membership's after all. */
    fill(members, &batch, 0);
    n_members = batch.n - n_users;

    settle(b, members, limit, n_members);
    settle(b, users, limit, n_users);
    return batch.n;
}

/* ---- reading ---- */

size_t broadcast_count(const struct broadcast *b)
{
    return b->n;
}

size_t broadcast_bytes(const struct broadcast *b)
{
    return b->bytes;
}

uint64_t broadcast_dropped(const struct broadcast *b)
{
    return b->dropped;
}

void broadcast_check(const struct broadcast *b)
{
    size_t n = 0;
    size_t bytes = 0;
    size_t n_subjects = 0;
    for (int kind = 0; kind < BROADCAST_KIND_N; kind++) {
        const struct queue *q = &b->queues[kind];
        assert(q->n <= q->size);
        for (size_t i = 0; i < q->n; i++) {
            const struct item *it = q->items[i];
            assert((int)it->kind == kind);
            assert(!it->is_taken);
            assert(it->len > 0 && it->len <= b->limits.item_max);
            assert(it->id < b->next_id);
            assert(lower_bound(q, 0, it->told, it->len, it->id) == i);
            assert(!it->subject || *find(b, it->kind, it->subject) == it);
            bytes += it->len;
            n_subjects += it->subject != 0;
        }
        n += q->n;
    }
    for (size_t i = 0; i < b->n_buckets; i++) {
        for (const struct item *it = b->buckets[i]; it; it = it->next)
            n_subjects--;
    }
    assert(n_subjects == 0);
    assert(n == b->n && n <= b->limits.items_max);
    assert(bytes == b->bytes && bytes <= b->limits.bytes_max);
}
