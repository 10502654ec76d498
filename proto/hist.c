#include "proto/hist.h"

#include <assert.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

/* 2^-20 s, the lower bound of bucket 0, is Prometheus' bound -320. */
#define VARINT_MAX 10 /* bytes */
#define LOWEST_NS  953u

/* bounds_ns[i] = floor(10^9 * 2^((i + 1) / 16 - 20)), four rows an octave. To
 * check it by hand: the last of octave k = 0..25 is 10^9 * 2^(k - 19), and
 * each other one is twice the one four rows above it, or one more (doubling
 * comes before flooring). test_hist recomputes them all.
 *
 * clang-format off */
static const uint64_t bounds_ns[HIST_BUCKETS] = {
    995,         1039,        1086,        1134,        1184,
    1236,        1291,        1348,        1408,        1470,
    1535,        1603,        1674,        1749,        1826,
    1907,        1991,        2079,        2172,        2268,
    2368,        2473,        2583,        2697,        2816,
    2941,        3071,        3207,        3349,        3498,
    3652,        3814,        3983,        4159,        4344,
    4536,        4737,        4947,        5166,        5394,
    5633,        5883,        6143,        6415,        6699,
    6996,        7305,        7629,        7967,        8319,
    8688,        9072,        9474,        9894,        10332,
    10789,       11267,       11766,       12287,       12831,
    13399,       13992,       14611,       15258,       15934,
    16639,       17376,       18145,       18949,       19788,
    20664,       21579,       22534,       23532,       24574,
    25662,       26798,       27984,       29223,       30517,
    31868,       33279,       34753,       36291,       37898,
    39576,       41328,       43158,       45069,       47064,
    49148,       51324,       53596,       55969,       58447,
    61035,       63737,       66559,       69506,       72583,
    75796,       79152,       82657,       86316,       90138,
    94129,       98296,       102648,      107193,      111938,
    116894,      122070,      127474,      133118,      139012,
    145166,      151593,      158305,      165314,      172633,
    180276,      188258,      196593,      205296,      214386,
    223877,      233789,      244140,      254949,      266237,
    278024,      290333,      303187,      316611,      330628,
    345266,      360553,      376516,      393186,      410593,
    428772,      447755,      467579,      488281,      509899,
    532474,      556049,      580667,      606375,      633222,
    661257,      690533,      721106,      753032,      786372,
    821187,      857545,      895511,      935159,      976562,
    1019798,     1064948,     1112098,     1161335,     1212751,
    1266444,     1322515,     1381067,     1442213,     1506065,
    1572744,     1642375,     1715090,     1791023,     1870318,
    1953125,     2039597,     2129897,     2224196,     2322670,
    2425503,     2532889,     2645030,     2762135,     2884426,
    3012130,     3145488,     3284751,     3430180,     3582047,
    3740637,     3906250,     4079194,     4259795,     4448393,
    4645340,     4851007,     5065779,     5290060,     5524271,
    5768852,     6024261,     6290977,     6569503,     6860360,
    7164094,     7481275,     7812500,     8158388,     8519591,
    8896786,     9290680,     9702014,     10131559,    10580121,
    11048543,    11537704,    12048522,    12581955,    13139006,
    13720720,    14328188,    14962551,    15625000,    16316777,
    17039183,    17793572,    18581361,    19404028,    20263118,
    21160242,    22097086,    23075408,    24097044,    25163911,
    26278012,    27441440,    28656376,    29925102,    31250000,
    32633555,    34078366,    35587144,    37162722,    38808056,
    40526236,    42320485,    44194173,    46150817,    48194088,
    50327822,    52556025,    54882880,    57312752,    59850205,
    62500000,    65267111,    68156733,    71174289,    74325444,
    77616113,    81052472,    84640971,    88388347,    92301634,
    96388176,    100655645,   105112051,   109765760,   114625505,
    119700410,   125000000,   130534222,   136313466,   142348579,
    148650889,   155232226,   162104944,   169281943,   176776695,
    184603268,   192776353,   201311291,   210224103,   219531520,
    229251010,   239400820,   250000000,   261068445,   272626933,
    284697158,   297301778,   310464453,   324209888,   338563886,
    353553390,   369206536,   385552706,   402622582,   420448207,
    439063040,   458502021,   478801640,   500000000,   522136891,
    545253866,   569394317,   594603557,   620928906,   648419777,
    677127773,   707106781,   738413072,   771105412,   805245165,
    840896415,   878126080,   917004043,   957603280,   1000000000,
    1044273782,  1090507732,  1138788634,  1189207115,  1241857812,
    1296839554,  1354255546,  1414213562,  1476826145,  1542210825,
    1610490331,  1681792830,  1756252160,  1834008086,  1915206561,
    2000000000,  2088547564,  2181015465,  2277577269,  2378414230,
    2483715624,  2593679109,  2708511093,  2828427124,  2953652291,
    3084421650,  3220980663,  3363585661,  3512504320,  3668016172,
    3830413122,  4000000000,  4177095129,  4362030930,  4555154539,
    4756828460,  4967431248,  5187358218,  5417022187,  5656854249,
    5907304583,  6168843301,  6441961327,  6727171322,  7025008641,
    7336032345,  7660826245,  8000000000,  8354190259,  8724061861,
    9110309078,  9513656920,  9934862496,  10374716437, 10834044375,
    11313708498, 11814609167, 12337686603, 12883922655, 13454342644,
    14050017282, 14672064691, 15321652491, 16000000000, 16708380518,
    17448123722, 18220618156, 19027313840, 19869724993, 20749432874,
    21668088750, 22627416997, 23629218335, 24675373206, 25767845311,
    26908685288, 28100034565, 29344129382, 30643304982, 32000000000,
    33416761037, 34896247445, 36441236312, 38054627680, 39739449986,
    41498865748, 43336177501, 45254833995, 47258436670, 49350746413,
    51535690622, 53817370576, 56200069131, 58688258765, 61286609964,
    64000000000,
};
/* clang-format on */

void hist_init(struct hist *h)
{
    *h = (struct hist){0};
}

void hist_fini(struct hist *h)
{
    free(h->buckets);
    *h = (struct hist){0};
}

void hist_reset(struct hist *h)
{
    *h = (struct hist){.buckets = h->buckets, .size = h->size};
}

uint64_t hist_bound_ns(unsigned index)
{
    assert(index < HIST_BUCKETS);
    return bounds_ns[index];
}

unsigned hist_index(uint64_t ns)
{
    assert(ns > 0);

    /* The first bound that is not below ns. Nine steps, since 416 < 2^9. */
    unsigned first = 0;
    for (unsigned step = 256; step > 0; step /= 2) {
        unsigned probe = first + step;
        if (probe < HIST_BUCKETS && bounds_ns[probe - 1] < ns)
            first = probe;
    }
    return first;
}

static bool is_clamped(uint64_t ns)
{
    return (ns > 0 && ns <= LOWEST_NS) || ns > bounds_ns[HIST_BUCKETS - 1];
}

/* Room for `n` buckets in all. Sizes are 3, 7, 15, ...: with the allocator's
 * eight bytes of bookkeeping these fill their blocks exactly, and most cells
 * of one window fit the first two. */
static int reserve(struct hist *h, size_t n)
{
    if (n <= h->size)
        return 0;

    size_t size = 3;
    while (size < n)
        size = size * 2 + 1;
    if (size > HIST_BUCKETS)
        size = HIST_BUCKETS;

    struct hist_bucket *buckets =
        reallocarray(h->buckets, size, sizeof(*buckets));
    if (!buckets)
        return ERR_NOMEM;
    h->buckets = buckets;
    h->size = (uint16_t)size;
    return 0;
}

/* The place of `index`, or where it belongs. */
static size_t find(const struct hist *h, unsigned index)
{
    size_t first = 0;
    size_t end = h->n;
    while (first < end) {
        size_t middle = (first + end) / 2;
        if (h->buckets[middle].index < index)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

static int add_to_bucket(struct hist *h, unsigned index)
{
    size_t at = find(h, index);
    if (at < h->n && h->buckets[at].index == index) {
        if (h->buckets[at].count == UINT32_MAX)
            return ERR_TOOBIG;
        h->buckets[at].count++;
        return 0;
    }

    int err = reserve(h, h->n + 1u);
    if (err)
        return err;
    struct hist_bucket *b = h->buckets + at;
    memmove(b + 1, b, (h->n - at) * sizeof(*b));
    *b = (struct hist_bucket){.index = (uint16_t)index, .count = 1};
    h->n++;
    return 0;
}

int hist_add(struct hist *h, uint64_t ns)
{
    uint64_t sum_ns;
    if (__builtin_add_overflow(h->sum_ns, ns, &sum_ns))
        return ERR_TOOBIG;
    if (ns == 0 && h->zero == UINT32_MAX)
        return ERR_TOOBIG;
    if (is_clamped(ns) && h->clamped == UINT32_MAX)
        return ERR_TOOBIG;

    if (ns > 0) {
        int err = add_to_bucket(h, hist_index(ns));
        if (err)
            return err;
    } else {
        h->zero++;
    }

    h->clamped += is_clamped(ns);
    h->sum_ns = sum_ns;
    if (h->count == 0 || ns < h->min_ns)
        h->min_ns = ns;
    if (h->count == 0 || ns > h->max_ns)
        h->max_ns = ns;
    h->count++;
    return 0;
}

/* The buckets that a merge of the two will have, or ERR_TOOBIG if a count of
 * them would overflow. */
static int count_union(const struct hist *a, const struct hist *b)
{
    size_t i = 0;
    size_t j = 0;
    int n = 0;
    for (; i < a->n && j < b->n; n++) {
        const struct hist_bucket *x = a->buckets + i;
        const struct hist_bucket *y = b->buckets + j;
        if (x->index == y->index && x->count > UINT32_MAX - y->count)
            return ERR_TOOBIG;
        i += x->index <= y->index;
        j += y->index <= x->index;
    }
    return n + (int)(a->n - i) + (int)(b->n - j);
}

/* In place, from the back, so that nothing is overwritten before it moved:
 * the write position never falls behind the read position of dst. */
static void merge_buckets(struct hist *dst, const struct hist *src, size_t n)
{
    size_t i = dst->n;
    size_t j = src->n;
    for (size_t k = n; k > 0; k--) {
        const struct hist_bucket *x = i ? dst->buckets + i - 1 : NULL;
        const struct hist_bucket *y = j ? src->buckets + j - 1 : NULL;
        assert(x || y); /* n counted each index once */
        bool takes_x = x && (!y || x->index >= y->index);
        bool takes_y = y && (!x || y->index >= x->index);
        struct hist_bucket sum = {.index = takes_x ? x->index : y->index};
        if (takes_x)
            sum.count += x->count;
        if (takes_y)
            sum.count += y->count;
        dst->buckets[k - 1] = sum;
        i -= takes_x;
        j -= takes_y;
    }
    assert(i == 0 && j == 0);
    dst->n = (uint16_t)n;
}

int hist_merge(struct hist *dst, const struct hist *src)
{
    if (src->count == 0)
        return 0;

    uint64_t count, sum_ns;
    uint32_t zero, clamped;
    if (__builtin_add_overflow(dst->count, src->count, &count) ||
        __builtin_add_overflow(dst->sum_ns, src->sum_ns, &sum_ns) ||
        __builtin_add_overflow(dst->zero, src->zero, &zero) ||
        __builtin_add_overflow(dst->clamped, src->clamped, &clamped))
        return ERR_TOOBIG;
    int n = count_union(dst, src);
    if (n < 0)
        return n;
    int err = reserve(dst, (size_t)n);
    if (err)
        return err;

    if (dst->count == 0 || src->min_ns < dst->min_ns)
        dst->min_ns = src->min_ns;
    if (dst->count == 0 || src->max_ns > dst->max_ns)
        dst->max_ns = src->max_ns;
    merge_buckets(dst, src, (size_t)n);
    dst->count = count;
    dst->sum_ns = sum_ns;
    dst->zero = zero;
    dst->clamped = clamped;
    return 0;
}

/* ceil(q * count), within 1..count. The product of a decimal fraction and a
 * whole number may come out a hair above the whole number that it is (0.07 *
 * 100), and would then be a rank too high; hence the last two bits are not
 * believed. */
static uint64_t rank_of(double q, uint64_t count)
{
    double exact = q * (double)count;
    exact -= exact * 0x1p-51;
    if (exact >= (double)count)
        return count;
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact)
        rank++;
    return rank ? rank : 1;
}

/* sqrt is rounded correctly by IEEE 754, so this too agrees everywhere. */
static uint64_t middle_ns(unsigned index)
{
    uint64_t low_ns = index ? bounds_ns[index - 1] : LOWEST_NS;
    return (uint64_t)(sqrt((double)low_ns * (double)bounds_ns[index]) + 0.5);
}

uint64_t hist_quantile(const struct hist *h, double q)
{
    if (h->count == 0)
        return 0;
    if (!(q > 0))
        return h->min_ns;
    if (q >= 1)
        return h->max_ns;

    uint64_t rank = rank_of(q, h->count);
    if (rank == 1)
        return h->min_ns;
    if (rank == h->count)
        return h->max_ns;

    uint64_t seen = h->zero;
    if (rank <= seen)
        return 0;
    uint64_t ns = h->max_ns;
    for (size_t i = 0; i < h->n; i++) {
        seen += h->buckets[i].count;
        if (rank <= seen) {
            ns = middle_ns(h->buckets[i].index);
            break;
        }
    }
    if (ns < h->min_ns)
        return h->min_ns;
    return ns > h->max_ns ? h->max_ns : ns;
}

void hist_encode(const struct hist *h, struct wr *w)
{
    wr_varint(w, h->count);
    if (h->count == 0)
        return;

    wr_varint(w, h->zero);
    wr_varint(w, h->clamped);
    wr_varint(w, h->sum_ns);
    wr_varint(w, h->min_ns);
    wr_varint(w, h->max_ns - h->min_ns);
    wr_varint(w, h->n);
    unsigned before = 0;
    for (size_t i = 0; i < h->n; i++) {
        wr_varint(w, h->buckets[i].index - before);
        wr_varint(w, h->buckets[i].count);
        before = h->buckets[i].index;
    }
}

/* Can the values clamped be as many as said? Those outside the range are all
 * in the end buckets, and the extreme values show whether there are any. */
static bool is_clamped_plausible(const struct hist *h)
{
    uint64_t n_low = 0;
    uint64_t n_high = 0;
    if (h->n > 0 && h->buckets[0].index == 0)
        n_low = h->buckets[0].count;
    if (h->n > 0 && h->buckets[h->n - 1].index == HIST_BUCKETS - 1)
        n_high = h->buckets[h->n - 1].count;

    /* With zeros in it the smallest value says nothing about the others. */
    bool has_high = is_clamped(h->max_ns) && h->max_ns > LOWEST_NS;
    bool may_have_low = n_low > 0 && (h->zero > 0 || is_clamped(h->min_ns));
    bool has_low = h->min_ns > 0 && h->min_ns <= LOWEST_NS;
    uint64_t most = (may_have_low ? n_low : 0) + (has_high ? n_high : 0);
    uint64_t least = (uint64_t)has_low + (uint64_t)has_high;
    if (h->n == 1 && n_low > 0 && h->max_ns <= LOWEST_NS)
        least = n_low; /* all of them are below */
    return h->clamped >= least && h->clamped <= most;
}

/* Could these numbers have come from counting values? */
static bool is_plausible(const struct hist *h)
{
    uint64_t n = h->zero;
    for (size_t i = 0; i < h->n; i++) {
        const struct hist_bucket *b = h->buckets + i;
        if (b->count == 0 || b->index >= HIST_BUCKETS)
            return false;
        if (i > 0 && b->index <= b[-1].index)
            return false;
        n += b->count;
    }
    if (n != h->count)
        return false;
    if (n == 0)
        return h->sum_ns == 0 && h->clamped == 0;

    if (h->min_ns > h->max_ns || (h->zero > 0) != (h->min_ns == 0))
        return false;
    if ((h->n == 0) != (h->max_ns == 0))
        return false;
    if (h->n > 0 && hist_index(h->max_ns) != h->buckets[h->n - 1].index)
        return false;
    if (h->min_ns > 0 && hist_index(h->min_ns) != h->buckets[0].index)
        return false;

    uint64_t least, most;
    if (__builtin_mul_overflow(n, h->min_ns, &least) || h->sum_ns < least)
        return false;
    if (!__builtin_mul_overflow(n, h->max_ns, &most) && h->sum_ns > most)
        return false;
    return is_clamped_plausible(h);
}

void hist_check(const struct hist *h)
{
    assert(h->n <= h->size);
    assert(h->size <= HIST_BUCKETS);
    assert(is_plausible(h));
}

/* rd_varint(), but in one go if the longest would fit: there are many. */
static uint64_t read_varint(struct rd *r)
{
    const uint8_t *p = r->data + r->pos;
    if (r->err || r->len - r->pos < VARINT_MAX)
        return rd_varint(r);
    uint64_t v = p[0] & 0x7f;
    size_t n = 1;
    for (; p[n - 1] >= 0x80 && n < VARINT_MAX - 1; n++)
        v |= (uint64_t)(p[n] & 0x7f) << (7 * n);
    if (p[n - 1] >= 0x80 || (n > 1 && p[n - 1] == 0))
        return rd_varint(r); /* the longest, or not the shortest form */
    r->pos += n;
    return v;
}

static uint32_t read_u32(struct rd *r)
{
    uint64_t v = read_varint(r);
    if (v > UINT32_MAX)
        rd_fail(r, ERR_BAD);
    return (uint32_t)v;
}

static void read_buckets(struct hist *h, struct rd *r)
{
    uint64_t n = read_varint(r);
    if (n > HIST_BUCKETS)
        rd_fail(r, ERR_BAD);
    else if (n * 2 > rd_left(r)) /* two varints each: checked, then believed */
        rd_fail(r, ERR_TRUNC);
    if (rd_err(r))
        return;
    if (reserve(h, (size_t)n)) {
        rd_fail(r, ERR_NOMEM);
        return;
    }

    uint64_t index = 0;
    for (; h->n < n; h->n++) {
        uint64_t delta = read_varint(r);
        if (delta >= HIST_BUCKETS || index + delta >= HIST_BUCKETS)
            rd_fail(r, ERR_BAD);
        index += delta;
        uint32_t count = read_u32(r);
        if (rd_err(r))
            return;
        h->buckets[h->n] = (struct hist_bucket){(uint16_t)index, count};
    }
}

int hist_read(struct hist *h, struct rd *r)
{
    hist_reset(h);
    h->count = read_varint(r);
    if (h->count > 0) {
        h->zero = read_u32(r);
        h->clamped = read_u32(r);
        h->sum_ns = read_varint(r);
        h->min_ns = read_varint(r);
        uint64_t spread_ns = read_varint(r);
        if (__builtin_add_overflow(h->min_ns, spread_ns, &h->max_ns))
            rd_fail(r, ERR_BAD);
        read_buckets(h, r);
    }
    if (!rd_err(r) && !is_plausible(h))
        rd_fail(r, ERR_BAD);
    if (rd_err(r))
        hist_reset(h);
    return rd_err(r);
}

int hist_decode(struct hist *h, struct rd *r)
{
    struct hist got = {0};
    int err = hist_read(&got, r);
    if (err) {
        hist_fini(&got);
        return err;
    }
    hist_fini(h);
    *h = got;
    return 0;
}
