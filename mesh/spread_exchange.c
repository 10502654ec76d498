/* Comparing two sets, step by step, and handing out what was asked for. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/spread_private.h"
#include "proto/base/err.h"

#define MAX_BITS     8 /* of an id: a window is compared in 256 parts at most */
#define SECTION_HEAD 16 /* bytes before the entries of a section, at most */
#define COLD_BYTES   40 /* of a COLD section, at most */
#define SUM_BYTES    16 /* of a window in SUMS, at most */
/* Windows about to expire are gone elsewhere already: not worth a comparison */
#define EXPIRING    2
#define CLOCK_SPAN  8640 /* windows: a day */
#define SPREAD_SPAN 64   /* windows compared at all: ten minutes */
#define NS_PER_S    UINT64_C(1000000000)

/* ---- which windows ---- */

static uint64_t now_window(const struct spread *s, uint64_t now_ns)
{
    int64_t now_ms = spread_unix_ms(s, now_ns);
    return now_ms > 0 ? (uint64_t)now_ms / ORIGINS_SKEWED_MS : 0;
}

/* The windows that are compared: oldest..newest, cold ones before `recent`. */
struct range {
    uint64_t oldest, recent, newest;
};

static struct range range_of(const struct spread *s, uint64_t now_ns)
{
    uint64_t now = now_window(s, now_ns);
    uint64_t newest = frames_newest(s->frames);
    struct range r = {.oldest = frames_floor(s->frames) + EXPIRING,
                      .recent = now > SPREAD_RECENT ? now - SPREAD_RECENT : 0,
                      .newest = newest > now ? newest : now};
    if (now > SPREAD_SPAN && r.oldest < now - SPREAD_SPAN)
        r.oldest = now - SPREAD_SPAN;
    if (r.recent < r.oldest)
        r.recent = r.oldest;
    return r;
}

/* Is it worth asking for? Such as would be refused as too far ahead are: our
 * own clock may be the one that is wrong, and they tell. */
static bool is_wanted(const struct spread *s, uint64_t now_ns, uint64_t window)
{
    uint64_t now = now_window(s, now_ns);
    return window >= frames_floor(s->frames) && window <= now + CLOCK_SPAN;
}

static void window_sum(const struct spread *s, uint64_t window,
                       struct frames_window *out)
{
    frames_window(s->frames, window, out);
    if (CANARY(s->config.canary, CANARY_FRAMES_WRONG_SUM))
        out->hash = out->n; /* as if the same number were the same frames */
}

static void cold_sum(const struct spread *s, uint64_t oldest, uint64_t newest,
                     uint64_t *n, uint64_t *hash)
{
    *n = *hash = 0;
    for (uint64_t w = oldest; w <= newest; w++) {
        struct frames_window sum;
        window_sum(s, w, &sum);
        *n += sum.n;
        *hash ^= sum.hash;
    }
}

/* ---- ids of a window ---- */

static int by_id(const void *a, const void *b)
{
    const struct id_ref *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

/* Whoever has the key may list one window again and again: may we look at all
 * of it once more? */
static bool may_load(const struct spread *s, uint64_t window)
{
    struct frames_window sum;
    frames_window(s->frames, window, &sum);
    return s->work == 0 || s->work + sum.n <= SPREAD_WORK;
}

/* Those that begin with the `bits` bits `prefix`, sorted, in s->ids. */
static size_t load_ids(struct spread *s, uint64_t window, unsigned bits,
                       unsigned prefix)
{
    struct frames_item item;
    size_t n = 0;
    for (uint32_t i = 0;
         n < SPREAD_COMPARED && frames_item(s->frames, window, i, &item); i++) {
        uint64_t id = spread_id(item.hash);
        if (id >> (8 * SPREAD_ID_BYTES - bits) == prefix)
            s->ids[n++] = (struct id_ref){.id = id, .at = i};
        s->work++;
    }
    qsort(s->ids, n, sizeof(s->ids[0]), by_id);
    return n;
}

static bool has_id(const uint64_t *ids, size_t n, uint64_t id)
{
    size_t first = 0, end = n;
    while (first < end) {
        size_t middle = (first + end) / 2;
        if (ids[middle] < id)
            first = middle + 1;
        else
            end = middle;
    }
    return first < n && ids[first] == id;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t rd_id(struct rd *in)
{
    uint64_t high = rd_u8(in);
    return high << 32 | rd_be32(in);
}

static void wr_id(struct wr *w, uint64_t id)
{
    wr_u8(w, (uint8_t)(id >> 32));
    wr_be32(w, (uint32_t)id);
}

static void wr_entry(struct spread *s, struct wr *w, uint64_t window,
                     const struct id_ref *ref)
{
    struct frames_item item;
    bool is_there = frames_item(s->frames, window, ref->at, &item);
    assert(is_there);
    size_t units = (item.len + SPREAD_UNIT_BYTES - 1) / SPREAD_UNIT_BYTES;
    wr_id(w, ref->id);
    wr_u8(w, (uint8_t)(units < UINT8_MAX ? units : UINT8_MAX));
}

/* ---- writing a comparison ---- */

struct draft {
    struct wr *w;
    size_t start, sections; /* of the message; of its sections */
    size_t end;             /* it may reach so far */
    uint64_t base;
};

static void draft_begin(struct spread *s, struct draft *d, uint64_t base)
{
    size_t name_len = strlen(s->name);
    d->w = &s->arena;
    d->base = base;
    d->start = spread_begin(s, SPREAD_COMPARISON);
    wr_u8(d->w, (uint8_t)name_len);
    wr_bytes(d->w, s->name, name_len);
    wr_be64(d->w, base);
    d->sections = d->w->len;
    d->end = d->start + s->config.limits.datagram_max;
}

static size_t draft_room(const struct draft *d)
{
    return d->w->len < d->end ? d->end - d->w->len : 0;
}

static size_t section_begin(struct draft *d, enum spread_tag tag)
{
    size_t at = d->w->len;
    wr_u8(d->w, (uint8_t)tag);
    wr_be16(d->w, 0);
    return at;
}

static void section_end(struct draft *d, size_t at)
{
    if (wr_err(d->w))
        return;
    size_t len = d->w->len - at - 3;
    assert(len <= UINT16_MAX);
    d->w->data[at + 1] = (uint8_t)(len >> 8);
    d->w->data[at + 2] = (uint8_t)len;
}

/* What there is of a window, or of a random part of it that fits. */
static void put_list(struct spread *s, struct draft *d, uint64_t window)
{
    struct frames_window sum;
    frames_window(s->frames, window, &sum);
    size_t room = draft_room(d);
    if (room < SECTION_HEAD + SPREAD_ENTRY_BYTES || !may_load(s, window))
        return;
    size_t fit = (room - SECTION_HEAD) / SPREAD_ENTRY_BYTES;
    unsigned bits = 0;
    while (bits < MAX_BITS && sum.n >> bits > fit)
        bits++;
    unsigned prefix = (unsigned)rng_below(&s->rng, 1u << bits);
    size_t n = load_ids(s, window, bits, prefix);
    while (bits < MAX_BITS && n > fit) { /* parts are only about equal */
        bits++;
        prefix = prefix << 1 | (unsigned)rng_below(&s->rng, 2);
        n = load_ids(s, window, bits, prefix);
    }
    size_t at = section_begin(d, SPREAD_LIST);
    wr_varint(d->w, d->base - window);
    wr_u8(d->w, (uint8_t)bits);
    wr_u8(d->w, (uint8_t)prefix);
    for (size_t i = 0; i < n && i < fit; i++)
        wr_entry(s, d->w, window, &s->ids[i]);
    section_end(d, at);
}

static void put_sum(struct spread *s, struct draft *d, uint64_t window)
{
    struct frames_window sum;
    window_sum(s, window, &sum);
    wr_varint(d->w, d->base - window);
    wr_varint(d->w, sum.n);
    if (sum.n)
        wr_be64(d->w, sum.hash);
}

/* Of what is oldest..newest, newest first, those that are (not) hot. */
static void put_sums(struct spread *s, struct draft *d, uint64_t now_ns,
                     uint64_t oldest, uint64_t newest, bool with_hot)
{
    size_t at = section_begin(d, SPREAD_SUMS);
    for (uint64_t w = newest; w >= oldest && w > 0; w--) {
        if (draft_room(d) < SUM_BYTES)
            break;
        if (with_hot || !spread_is_hot(s, now_ns, w))
            put_sum(s, d, w);
    }
    section_end(d, at);
}

static void put_cold(struct spread *s, struct draft *d, const struct range *r)
{
    uint64_t n, hash;
    if (r->recent <= r->oldest)
        return;
    cold_sum(s, r->oldest, r->recent - 1, &n, &hash);
    size_t at = section_begin(d, SPREAD_COLD);
    wr_varint(d->w, d->base - (r->recent - 1));
    wr_varint(d->w, d->base - r->oldest);
    wr_varint(d->w, n);
    wr_be64(d->w, hash);
    section_end(d, at);
}

void spread_compare(struct spread *s, uint64_t now_ns, uint32_t member)
{
    struct draft d;
    struct range r = range_of(s, now_ns);
    s->work = 0;
    draft_begin(s, &d, r.newest);
    put_sums(s, &d, now_ns, r.recent, r.newest, false);
    put_cold(s, &d, &r);
    for (uint64_t w = r.newest; w >= r.recent && w > 0; w--) {
        if (spread_is_hot(s, now_ns, w))
            put_list(s, &d, w);
    }
    spread_send(s, member, d.start, false);
}

/* ---- handing out ---- */

/* A stream to be had? Nobody tells how long they last: they are reckoned. */
static bool take_stream(struct spread *s, uint64_t now_ns)
{
    for (unsigned i = 0; i < s->config.limits.streams; i++) {
        if (s->streams_ns[i] <= now_ns) {
            s->streams_ns[i] = now_ns + s->config.timing.stream_ns;
            return true;
        }
    }
    return false;
}

struct batch {
    const struct frames_item *items;
    size_t n, largest, bytes;
};

static void put_frames(struct spread *s, uint64_t now_ns,
                       const struct frames_item *items, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t age_ms = (now_ns - items[i].closed_ns) / 1000000;
        wr_varint(&s->arena, age_ms);
        wr_varint(&s->arena, items[i].len);
        wr_bytes(&s->arena, items[i].data, items[i].len);
        s->stats.frames_out++;
        s->stats.frame_bytes_out += items[i].len;
        if (CANARY(s->config.canary, CANARY_FRAMES_ALTER) && items[i].len)
            s->arena.data[s->arena.len - 1] ^= 1;
    }
}

/* How many of them fit one datagram: at least one, if any does. */
static size_t fit_datagram(const struct spread *s,
                           const struct frames_item *items, size_t n)
{
    size_t bytes = 3, i = 0;
    for (; i < n; i++) {
        bytes += items[i].len + 2 * 5;
        if (bytes > s->config.limits.datagram_max)
            break;
    }
    return i;
}

static void send_frames(struct spread *s, uint64_t now_ns, uint32_t member,
                        const struct frames_item *items, size_t n)
{
    size_t datagrams = 0;
    for (size_t done = 0; done < n;) {
        size_t step = fit_datagram(s, items + done, n - done);
        if (step == 0 || ++datagrams > s->config.limits.datagrams) {
            datagrams = 0;
            break;
        }
        done += step;
    }
    if (datagrams == 0 && !take_stream(s, now_ns)) {
        s->stats.busy++;
        return;
    }
    for (size_t done = 0; done < n;) {
        size_t step =
            datagrams ? fit_datagram(s, items + done, n - done) : n - done;
        size_t start = spread_begin(s, SPREAD_FRAMES);
        put_frames(s, now_ns, items + done, step);
        spread_send(s, member, start, datagrams == 0);
        done += step;
    }
}

/* ---- a comparison that came ---- */

struct section {
    enum spread_tag tag;
    struct span content;
};

struct incoming {
    uint64_t now_ns, base;
    uint32_t member;
    struct section sections[SPREAD_SECTIONS];
    size_t n;
    struct draft reply;
    size_t asked_bytes; /* in the reply */
    size_t mine, all;   /* bytes under way from this member, from everybody */
    /* handed out */
    struct frames_item items[SPREAD_IDS_MAX];
    size_t n_items, item_bytes;
};

/* `back` windows before the base, if that can be. */
static bool window_at(const struct incoming *in, uint64_t back, uint64_t *out)
{
    *out = in->base - back;
    return back <= in->base;
}

static int read_sections(struct incoming *in, struct rd *rd)
{
    while (rd_left(rd) > 0) {
        uint8_t tag = rd_u8(rd);
        uint16_t len = rd_be16(rd);
        const uint8_t *content = rd_bytes(rd, len);
        if (rd_err(rd))
            return rd_err(rd);
        if (in->n < SPREAD_SECTIONS)
            in->sections[in->n++] = (struct section){
                .tag = (enum spread_tag)tag, .content = span_of(content, len)};
    }
    return 0;
}

static bool is_handed_out(const struct incoming *in,
                          const struct frames_item *item)
{
    for (size_t i = 0; i < in->n_items; i++) {
        if (in->items[i].data == item->data)
            return true;
    }
    return false;
}

/* WANT: what of it there is joins what is handed out, within the budget. */
static void on_want(struct spread *s, struct incoming *in, struct rd *rd)
{
    uint64_t ids[SPREAD_IDS_MAX], window;
    size_t n = 0;
    if (!window_at(in, rd_varint(rd), &window))
        return;
    while (rd_left(rd) >= SPREAD_ID_BYTES && n < SPREAD_IDS_MAX)
        ids[n++] = rd_id(rd);
    if (rd_err(rd) || !may_load(s, window))
        return;
    qsort(ids, n, sizeof(ids[0]), by_number);
    struct frames_item item;
    for (size_t i = 0; frames_item(s->frames, window, i, &item); i++) {
        s->work++;
        if (!has_id(ids, n, spread_id(item.hash)) || is_handed_out(in, &item) ||
            in->n_items == SPREAD_IDS_MAX ||
            item.len > s->config.limits.frame_max)
            continue;
        if (in->n_items > 0 &&
            in->item_bytes + item.len > s->config.limits.exchange_bytes)
            continue;
        in->items[in->n_items++] = item;
        in->item_bytes += item.len;
    }
}

/* May it be asked for now, from this member? */
static bool may_ask(const struct spread *s, const struct incoming *in,
                    const struct want *it)
{
    const struct spread_limits *l = &s->config.limits;
    if (it->is_refused || it->until_ns > in->now_ns ||
        draft_room(&in->reply) < SPREAD_ID_BYTES)
        return false;
    /* However large, one at a time may come. */
    return (in->mine == 0 || in->mine + it->bytes <= l->member_bytes) &&
           (in->all == 0 || in->all + it->bytes <= l->flight_bytes) &&
           (in->asked_bytes == 0 ||
            in->asked_bytes + it->bytes <= l->exchange_bytes);
}

/* Entries that the other has: ask for those that are missing. Beginning
 * anywhere, so that several who are asked at once bring different ones. */
static void ask(struct spread *s, struct incoming *in, uint64_t window,
                struct rd *rd)
{
    size_t n = rd_left(rd) / SPREAD_ENTRY_BYTES;
    size_t first = rng_below(&s->rng, n), at = 0;
    const uint8_t *entries = rd_bytes(rd, n * SPREAD_ENTRY_BYTES);
    if (!is_wanted(s, in->now_ns, window) || n == 0 || !may_load(s, window) ||
        CANARY(s->config.canary, CANARY_FRAMES_WANT_NOTHING))
        return;
    size_t n_ids = load_ids(s, window, 0, 0);
    for (size_t i = 0; i < n; i++) {
        struct rd entry;
        rd_init(&entry, entries + (first + i) % n * SPREAD_ENTRY_BYTES,
                SPREAD_ENTRY_BYTES);
        struct id_ref key = {.id = rd_id(&entry)};
        uint32_t bytes = rd_u8(&entry) * SPREAD_UNIT_BYTES;
        if (bsearch(&key, s->ids, n_ids, sizeof(key), by_id))
            continue;
        struct want *it =
            wants_note(&s->wants, in->now_ns, key.id, window, bytes);
        if (at == 0 && draft_room(&in->reply) < SECTION_HEAD)
            continue;
        if (!may_ask(s, in, it))
            continue;
        if (at == 0) {
            at = section_begin(&in->reply, SPREAD_WANT);
            wr_varint(in->reply.w, in->reply.base - window);
        }
        wr_id(in->reply.w, key.id);
        in->asked_bytes += bytes;
        in->mine += bytes;
        in->all += bytes;
        it->bytes = bytes;
        it->from = in->member;
        it->asked_ns = in->now_ns;
        it->n_asked++;
        it->until_ns = in->now_ns + spread_patience(s);
    }
    if (at)
        section_end(&in->reply, at);
}

static void on_offer(struct spread *s, struct incoming *in, struct rd *rd)
{
    uint64_t window;
    if (window_at(in, rd_varint(rd), &window) && !rd_err(rd))
        ask(s, in, window, rd);
}

/* LIST: its window, its part, and behind these its entries. */
static bool read_list(const struct incoming *in, struct rd *rd,
                      uint64_t *window, unsigned *bits, unsigned *prefix)
{
    bool is_ours = window_at(in, rd_varint(rd), window);
    *bits = rd_u8(rd);
    *prefix = rd_u8(rd);
    return is_ours && !rd_err(rd) && *bits <= MAX_BITS && *prefix < 1u << *bits;
}

static void ask_of_list(struct spread *s, struct incoming *in, struct rd *rd)
{
    uint64_t window;
    unsigned bits, prefix;
    if (read_list(in, rd, &window, &bits, &prefix))
        ask(s, in, window, rd);
}

/* What is here and not in the list. */
static void offer_to_list(struct spread *s, struct incoming *in, struct rd *rd)
{
    uint64_t theirs[SPREAD_CONTROL_MAX / SPREAD_ENTRY_BYTES], window;
    unsigned bits, prefix;
    size_t n = 0, at = 0;
    if (!read_list(in, rd, &window, &bits, &prefix) || !may_load(s, window))
        return;
    while (rd_left(rd) >= SPREAD_ENTRY_BYTES &&
           n < sizeof(theirs) / sizeof(theirs[0])) {
        theirs[n++] = rd_id(rd);
        rd_u8(rd);
    }
    qsort(theirs, n, sizeof(theirs[0]), by_number);
    size_t n_ids = load_ids(s, window, bits, prefix);
    size_t first = rng_below(&s->rng, n_ids);
    for (size_t i = 0; i < n_ids; i++) {
        const struct id_ref *ref = &s->ids[(first + i) % n_ids];
        if (has_id(theirs, n, ref->id))
            continue;
        size_t room = draft_room(&in->reply);
        if (room < SPREAD_ENTRY_BYTES || (!at && room < 2 * SECTION_HEAD))
            break;
        if (!at) {
            at = section_begin(&in->reply, SPREAD_OFFER);
            wr_varint(in->reply.w, in->reply.base - window);
        }
        wr_entry(s, in->reply.w, window, ref);
    }
    if (at)
        section_end(&in->reply, at);
}

/* SUMS: windows that differ are listed, newest first as they stand there. */
static void on_sums(struct spread *s, struct incoming *in, struct rd *rd)
{
    for (unsigned i = 0; i < 64 && rd_left(rd) > 0; i++) {
        uint64_t window;
        bool is_ours = window_at(in, rd_varint(rd), &window);
        uint64_t n = rd_varint(rd);
        uint64_t hash = n ? rd_be64(rd) : 0;
        if (rd_err(rd) || !is_ours)
            return;
        struct frames_window sum;
        window_sum(s, window, &sum);
        if ((sum.n != n || sum.hash != hash) &&
            is_wanted(s, in->now_ns, window))
            put_list(s, &in->reply, window);
    }
}

static void on_cold(struct spread *s, struct incoming *in, struct rd *rd)
{
    uint64_t newest, oldest, n, hash;
    bool is_ours = window_at(in, rd_varint(rd), &newest);
    is_ours &= window_at(in, rd_varint(rd), &oldest);
    uint64_t their_n = rd_varint(rd);
    uint64_t their_hash = rd_be64(rd);
    if (rd_err(rd) || !is_ours || newest < oldest)
        return;
    struct range r = range_of(s, in->now_ns);
    if (newest > r.newest)
        newest = r.newest;
    /* What it holds back as about to expire may be here, just. */
    uint64_t floor = frames_floor(s->frames);
    uint64_t from = oldest > floor ? oldest : floor;
    /* With a frame that is ahead, their oldest may be more than a span ago. */
    if (r.newest > SPREAD_SPAN && from < r.newest - SPREAD_SPAN)
        from = r.newest - SPREAD_SPAN;
    if (newest < from)
        return;
    cold_sum(s, from, newest, &n, &hash);
    if (from == oldest && n == their_n && hash == their_hash)
        return;
    if (draft_room(&in->reply) >= COLD_BYTES)
        put_sums(s, &in->reply, in->now_ns, from, newest, true);
}

typedef void step_fn(struct spread *s, struct incoming *in, struct rd *rd);

static void each_section(struct spread *s, struct incoming *in,
                         enum spread_tag tag, step_fn *step)
{
    for (size_t i = 0; i < in->n; i++) {
        struct rd rd;
        if (in->sections[i].tag != tag)
            continue;
        rd_init(&rd, in->sections[i].content.data, in->sections[i].content.len);
        step(s, in, &rd);
        if (rd_err(&rd))
            s->stats.broken++;
    }
}

static void hand_out(struct spread *s, struct incoming *in)
{
    if (in->n_items == 0)
        return;
    if (!spread_take(&s->bytes, in->now_ns, in->item_bytes,
                     s->config.limits.rate_bytes)) {
        s->stats.busy++;
        return;
    }
    send_frames(s, in->now_ns, in->member, in->items, in->n_items);
}

/* What matters most comes first, while there is room. */
static void answer(struct spread *s, struct incoming *in)
{
    struct range r = range_of(s, in->now_ns);
    uint64_t base = in->base > r.newest ? in->base : r.newest;
    uint64_t price_ns = rate_price(1, s->config.limits.rate_answers);
    /* Before the work, and before anything counts as asked for. */
    if (!rate_can(&s->answers, in->now_ns, price_ns, NS_PER_S)) {
        s->stats.busy++;
        return;
    }
    draft_begin(s, &in->reply, base);
    each_section(s, in, SPREAD_LIST, ask_of_list);
    each_section(s, in, SPREAD_OFFER, on_offer);
    each_section(s, in, SPREAD_LIST, offer_to_list);
    each_section(s, in, SPREAD_SUMS, on_sums);
    each_section(s, in, SPREAD_COLD, on_cold);
    if (s->arena.len == in->reply.sections) {
        s->arena.len = in->reply.start; /* nothing differs */
        return;
    }
    rate_pay(&s->answers, in->now_ns, price_ns);
    spread_send(s, in->member, in->reply.start, false);
    s->stats.answers++;
}

void spread_on_comparison(struct spread *s, uint64_t now_ns,
                          const struct addr *from, struct rd *rd)
{
    struct incoming in = {.now_ns = now_ns};
    s->work = 0;
    size_t name_len = rd_u8(rd);
    const uint8_t *name = rd_bytes(rd, name_len);
    in.base = rd_be64(rd);
    if (rd_err(rd) || rd->len > SPREAD_CONTROL_MAX || read_sections(&in, rd)) {
        s->stats.broken++;
        return;
    }
    in.member = members_find(s->members, span_of(name, name_len));
    if (in.member == MEMBERS_SELF ||
        !members_is_at(s->members, in.member, from)) {
        s->stats.strangers++;
        return;
    }
    in.mine = wants_under_way(&s->wants, now_ns, in.member);
    in.all = wants_under_way(&s->wants, now_ns, UINT32_MAX);
    answer(s, &in);
    s->work = 0; /* what is wanted does not wait for what is compared */
    each_section(s, &in, SPREAD_WANT, on_want);
    hand_out(s, &in);
}
