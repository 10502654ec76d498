#include "mesh/tally.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"

_Static_assert(SERIES_N <= 8, "the bitmap of series is one byte");
_Static_assert(SERIES_N *(HIST_BUCKETS * 7 + 45) + 4 * TALLY_ORIGINS_MAX +
                       OUTCOME_N * 11 + 100 <=
                   TALLY_RECORD_MAX,
               "the longest record");

void tally_reset(struct tally *t)
{
    for (size_t k = 0; k < SERIES_N; k++) {
        struct tally_series *s = &t->series[k];
        memset(s->buckets + s->low, 0,
               (size_t)(s->high - s->low) * sizeof(*s->buckets));
        memset(s, 0, offsetof(struct tally_series, buckets));
    }
    memset(t, 0, offsetof(struct tally, origins));
}

uint32_t tally_origin(const char *name)
{
    return (uint32_t)hash_bytes(0, name, strlen(name));
}

/* --- adding ------------------------------------------------------------- */

/* Frames name any number, and a record of more than this would not be taken
 * by a peer, nor would anything that is sent along with it. */
static uint64_t add_up(uint64_t a, uint64_t b)
{
    return b < TALLY_COUNT_MAX - a ? a + b : TALLY_COUNT_MAX;
}

static uint64_t lag_of(uint64_t max_lag_us)
{
    return max_lag_us < TALLY_COUNT_MAX ? max_lag_us : TALLY_COUNT_MAX;
}

static void add_origin(struct tally *t, uint32_t origin)
{
    uint32_t at = 0;
    while (at < t->n_origins && t->origins[at] < origin)
        at++;
    if (at < t->n_origins && t->origins[at] == origin)
        return;
    if (t->n_origins == TALLY_ORIGINS_MAX)
        return;
    memmove(t->origins + at + 1, t->origins + at,
            (t->n_origins - at) * sizeof(*t->origins));
    t->origins[at] = origin;
    t->n_origins++;
}

static void cover(struct tally_series *s, uint16_t low, uint16_t high)
{
    if (s->high == 0) {
        s->low = low;
        s->high = high;
        return;
    }
    if (low < s->low)
        s->low = low;
    if (high > s->high)
        s->high = high;
}

/* All of a histogram but its buckets. No bucket can overflow if the count of
 * all values does not. */
static int add_scalars(struct tally_series *s, const struct hist *h)
{
    uint64_t sum_ns;
    if (h->count > UINT32_MAX - s->count ||
        __builtin_add_overflow(s->sum_ns, h->sum_ns, &sum_ns))
        return ERR_TOOBIG;
    if (s->count == 0 || h->min_ns < s->min_ns)
        s->min_ns = h->min_ns;
    if (s->count == 0 || h->max_ns > s->max_ns)
        s->max_ns = h->max_ns;
    s->sum_ns = sum_ns;
    s->count += (uint32_t)h->count;
    s->zero += h->zero;
    s->clamped += h->clamped;
    return 0;
}

static int add_hist(struct tally_series *s, const struct hist *h)
{
    if (h->count == 0)
        return 0;
    int err = add_scalars(s, h);
    if (err || h->n == 0)
        return err;
    cover(s, h->buckets[0].index, (uint16_t)(h->buckets[h->n - 1].index + 1));
    for (size_t i = 0; i < h->n; i++)
        s->buckets[h->buckets[i].index] += h->buckets[i].count;
    return 0;
}

int tally_add_cell(struct tally *t, const struct frame_cell *c, uint64_t window,
                   uint32_t origin)
{
    int worst = 0;
    if (c->attempts == 0)
        return 0;
    if (c->attempts > TALLY_COUNT_MAX - t->attempts)
        return ERR_TOOBIG;
    if (t->attempts == 0 || window > t->newest)
        t->newest = window;
    t->attempts += c->attempts;
    t->trusted += c->is_trusted ? c->attempts : 0;
    t->retransmits = add_up(t->retransmits, c->retransmits);
    t->reconnects = add_up(t->reconnects, c->reconnects);
    t->user_clock = add_up(t->user_clock, c->user_clock);
    if (lag_of(c->max_lag_us) > t->max_lag_us)
        t->max_lag_us = lag_of(c->max_lag_us);
    for (size_t i = 0; i < OUTCOME_N; i++)
        t->outcomes[i] += c->outcomes[i];
    add_origin(t, origin);
    for (size_t k = 0; k < SERIES_N; k++) {
        int err = add_hist(&t->series[k], &c->series[k]);
        worst = err ? err : worst;
    }
    return worst;
}

/* Records are ours or checked, and read some ten million times a minute in a
 * large mesh: no bounds here, and one assertion at the end. */
static inline uint64_t get(const uint8_t **p)
{
    uint64_t v = **p;
    if (v < 0x80) {
        (*p)++;
        return v;
    }
    v &= 0x7f;
    for (unsigned shift = 7;; shift += 7) {
        uint64_t byte = *++*p;
        v |= (byte & 0x7f) << shift;
        if (byte < 0x80)
            break;
    }
    (*p)++;
    return v;
}

static uint32_t get_be32(const uint8_t **p)
{
    const uint8_t *b = *p;
    *p += 4;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 |
           b[3];
}

/* Buckets of an encoded histogram; `into` NULL: pass over them. */
static void get_buckets(struct tally_series *into, size_t n, const uint8_t **p)
{
    uint16_t low = 0;
    uint16_t index = 0;
    for (size_t i = 0; i < n; i++) {
        index = (uint16_t)(index + get(p));
        uint32_t count = (uint32_t)get(p);
        low = i == 0 ? index : low;
        if (into)
            into->buckets[index] += count;
    }
    if (into && n > 0)
        cover(into, low, (uint16_t)(index + 1));
}

static int get_series(struct tally_series *s, const uint8_t **p)
{
    struct hist h = {.count = get(p)};
    h.zero = (uint32_t)get(p);
    h.clamped = (uint32_t)get(p);
    h.sum_ns = get(p);
    h.min_ns = get(p);
    h.max_ns = h.min_ns + get(p);
    size_t n = (size_t)get(p);
    int err = add_scalars(s, &h);
    get_buckets(err ? NULL : s, n, p);
    return err;
}

int tally_add(struct tally *t, const void *record, size_t len, uint64_t base)
{
    const uint8_t *p = record;
    int worst = 0;
    uint64_t newest = base + get(&p);
    uint64_t attempts = get(&p);
    if (attempts > TALLY_COUNT_MAX - t->attempts)
        return ERR_TOOBIG;
    if (t->attempts == 0 || newest > t->newest)
        t->newest = newest;
    t->attempts += attempts;
    t->trusted += get(&p);
    t->retransmits = add_up(t->retransmits, get(&p));
    t->reconnects = add_up(t->reconnects, get(&p));
    t->user_clock = add_up(t->user_clock, get(&p));
    uint64_t max_lag_us = get(&p);
    if (max_lag_us > t->max_lag_us)
        t->max_lag_us = max_lag_us;
    for (uint64_t n = get(&p); n > 0; n--) {
        uint64_t outcome = get(&p);
        t->outcomes[outcome] += get(&p);
    }
    for (uint64_t n = get(&p); n > 0; n--)
        add_origin(t, get_be32(&p));
    unsigned bits = *p++;
    for (size_t k = 0; k < SERIES_N; k++) {
        int err = bits & 1u << k ? get_series(&t->series[k], &p) : 0;
        worst = err ? err : worst;
    }
    assert(p == (const uint8_t *)record + len);
    (void)len;
    return worst;
}

/* --- writing ------------------------------------------------------------ */

static size_t count_buckets(const struct tally_series *s)
{
    size_t n = 0;
    for (size_t i = s->low; i < s->high; i++)
        n += s->buckets[i] > 0;
    return n;
}

static void put_series(const struct tally_series *s, struct wr *w)
{
    wr_varint(w, s->count);
    wr_varint(w, s->zero);
    wr_varint(w, s->clamped);
    wr_varint(w, s->sum_ns);
    wr_varint(w, s->min_ns);
    wr_varint(w, s->max_ns - s->min_ns);
    wr_varint(w, count_buckets(s));
    size_t before = 0;
    for (size_t i = s->low; i < s->high; i++) {
        if (s->buckets[i] == 0)
            continue;
        wr_varint(w, i - before);
        wr_varint(w, s->buckets[i]);
        before = i;
    }
}

static void put_outcomes(const struct tally *t, struct wr *w)
{
    size_t n = 0;
    for (size_t i = 0; i < OUTCOME_N; i++)
        n += t->outcomes[i] > 0;
    wr_varint(w, n);
    for (size_t i = 0; i < OUTCOME_N; i++) {
        if (t->outcomes[i] == 0)
            continue;
        wr_varint(w, i);
        wr_varint(w, t->outcomes[i]);
    }
}

void tally_encode(const struct tally *t, uint64_t base, struct wr *w)
{
    assert(t->attempts == 0 || t->newest >= base);
    wr_varint(w, t->attempts ? t->newest - base : 0);
    wr_varint(w, t->attempts);
    wr_varint(w, t->trusted);
    wr_varint(w, t->retransmits);
    wr_varint(w, t->reconnects);
    wr_varint(w, t->user_clock);
    wr_varint(w, t->max_lag_us);
    put_outcomes(t, w);
    wr_varint(w, t->n_origins);
    for (size_t i = 0; i < t->n_origins; i++)
        wr_be32(w, t->origins[i]);
    unsigned bits = 0;
    for (size_t k = 0; k < SERIES_N; k++)
        bits |= t->series[k].count ? 1u << k : 0;
    wr_u8(w, (uint8_t)bits);
    for (size_t k = 0; k < SERIES_N; k++) {
        if (t->series[k].count)
            put_series(&t->series[k], w);
    }
}

/* --- what others wrote -------------------------------------------------- */

static uint64_t read_count(struct rd *r)
{
    uint64_t v = rd_varint(r);
    if (v > TALLY_COUNT_MAX)
        rd_fail(r, ERR_TOOBIG);
    return rd_err(r) ? 0 : v;
}

static uint64_t check_outcomes(struct rd *r)
{
    uint64_t attempts = 0;
    uint64_t next = 0; /* the least that the next one may be */
    uint64_t n = rd_varint(r);
    if (n > OUTCOME_N)
        rd_fail(r, ERR_BAD);
    for (; n > 0 && !rd_err(r); n--) {
        uint64_t outcome = rd_varint(r);
        uint64_t count = read_count(r);
        if (outcome < next || outcome >= OUTCOME_N || count == 0)
            rd_fail(r, ERR_BAD);
        next = outcome + 1;
        attempts += count;
    }
    return attempts;
}

static void check_origins(struct rd *r)
{
    uint64_t next = 0;
    uint64_t n = rd_varint(r);
    if (n == 0 || n > TALLY_ORIGINS_MAX)
        rd_fail(r, ERR_BAD);
    for (; n > 0 && !rd_err(r); n--) {
        uint64_t origin = rd_be32(r);
        if (origin < next)
            rd_fail(r, ERR_BAD);
        next = origin + 1;
    }
}

/* A good attempt has at most one value in each series. */
static void check_series(struct rd *r, uint64_t attempts)
{
    struct hist h = {0};
    unsigned bits = rd_u8(r);
    for (size_t k = 0; k < SERIES_N && !rd_err(r); k++) {
        if (!(bits & 1u << k))
            continue;
        int err = hist_read(&h, r);
        if (err)
            rd_fail(r, err);
        else if (h.count == 0 || h.count > attempts || h.count > UINT32_MAX)
            rd_fail(r, ERR_BAD);
    }
    if (bits >> SERIES_N)
        rd_fail(r, ERR_BAD);
    hist_fini(&h);
}

int tally_check(const void *record, size_t len, uint64_t span)
{
    struct rd r;
    if (len > TALLY_RECORD_MAX)
        return ERR_TOOBIG;
    rd_init(&r, record, len);
    if (rd_varint(&r) >= span)
        rd_fail(&r, ERR_BAD);
    uint64_t attempts = read_count(&r);
    uint64_t trusted = read_count(&r);
    read_count(&r); /* retransmits */
    read_count(&r); /* reconnects */
    read_count(&r); /* user_clock */
    read_count(&r); /* max_lag_us */
    uint64_t sum = check_outcomes(&r);
    if (attempts == 0 || sum != attempts || trusted > attempts)
        rd_fail(&r, ERR_BAD);
    check_origins(&r);
    check_series(&r, attempts);
    return rd_end(&r);
}

uint64_t tally_attempts(const void *record, size_t len)
{
    const uint8_t *p = record;
    assert(len > 1);
    (void)len;
    get(&p);
    return get(&p);
}

uint64_t tally_newest(const void *record, size_t len, uint64_t base)
{
    const uint8_t *p = record;
    assert(len > 1);
    (void)len;
    return base + get(&p);
}

/* --- reading ------------------------------------------------------------ */

static int reserve(struct hist *h, size_t n)
{
    if (n <= h->size)
        return 0;
    size_t size = n < 16 ? 16 : n * 2;
    if (size > HIST_BUCKETS)
        size = HIST_BUCKETS;
    struct hist_bucket *b = reallocarray(h->buckets, size, sizeof(*b));
    if (!b)
        return ERR_NOMEM;
    h->buckets = b;
    h->size = (uint16_t)size;
    return 0;
}

static int read_series(const struct tally_series *s, struct hist *h)
{
    hist_reset(h);
    if (s->count == 0)
        return 0;
    int err = reserve(h, (size_t)(s->high - s->low));
    if (err)
        return err;
    h->count = s->count;
    h->sum_ns = s->sum_ns;
    h->min_ns = s->min_ns;
    h->max_ns = s->max_ns;
    h->zero = s->zero;
    h->clamped = s->clamped;
    for (uint16_t i = s->low; i < s->high; i++) {
        if (s->buckets[i])
            h->buckets[h->n++] = (struct hist_bucket){i, s->buckets[i]};
    }
    return 0;
}

int tally_read(const struct tally *t, struct matrix_cell *out)
{
    for (size_t k = 0; k < SERIES_N; k++) {
        int err = read_series(&t->series[k], &out->series[k]);
        if (err)
            return err;
    }
    out->attempts = t->attempts;
    out->retransmits = t->retransmits;
    out->reconnects = t->reconnects;
    out->user_clock = t->user_clock;
    out->max_lag_us = t->max_lag_us;
    out->nodes = t->n_origins;
    out->trusted_ratio =
        t->attempts ? (double)t->trusted / (double)t->attempts : 1;
    out->ok = out->failed = 0;
    for (unsigned i = 0; i < OUTCOME_N; i++) {
        out->outcomes[i] = t->outcomes[i];
        if (i == OUTCOME_OK)
            out->ok += t->outcomes[i];
        else if (!outcome_is_local((enum probe_outcome)i))
            out->failed += t->outcomes[i];
    }
    return 0;
}
