/* Life, time, and frames that come in; spread_exchange.c compares. */
#include "mesh/spread.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/facts.h"
#include "mesh/spread_private.h"
#include "proto/base/err.h"

#define NS_PER_MS        UINT64_C(1000000)
#define NS_PER_S         UINT64_C(1000000000)
#define OWN_DELAY_NS     (20 * NS_PER_MS) /* at most, until a first round */
#define WANT_HOLD_NS     (5 * NS_PER_S)
#define STRANGER_HOLD_NS (60 * NS_PER_S)
#define ORIGIN_KEEP_NS   (600 * NS_PER_S) /* twice as long as frames are kept */
#define ARENA_MAX        (2u << 20)
#define AGE_MAX_MS       UINT64_C(86400000) /* may be before our boot: wraps */
#define DRAWS            24 /* for a partner, before all are looked at */

const struct spread_timing spread_timing_default = {
    .round_min_ns = 100 * NS_PER_MS,
    .round_max_ns = 1000 * NS_PER_MS,
    .active_ns = 1000 * NS_PER_MS,
    .hot_ns = 500 * NS_PER_MS,
    .asked_min_ns = 250 * NS_PER_MS,
    .asked_max_ns = 1500 * NS_PER_MS,
    .settle_ns = 1000 * NS_PER_MS,
    .stream_ns = 400 * NS_PER_MS,
};

const struct spread_limits spread_limits_default = {
    .datagram_max = 1000,
    .datagrams = 4,
    .frame_max = 960u << 10,
    .exchange_bytes = 64u << 10,
    .flight_bytes = 256u << 10,
    .member_bytes = 64u << 10,
    .streams = 12,
    .rate_bytes = 2u << 20,
    .rate_answers = 200,
    .wants_max = 4096,
    .origins_max = 5120,
    .strangers_max = 1024,
    .stranger_bytes = 8u << 20,
};

const char *spread_refusal_name(enum spread_refusal r)
{
    static const char *const names[SPREAD_REFUSAL_N] = {
        [SPREAD_BROKEN] = "broken", [SPREAD_OLD] = "old",
        [SPREAD_AHEAD] = "ahead",   [SPREAD_FULL] = "full",
        [SPREAD_LARGE] = "large",   [SPREAD_EMPTY] = "empty",
        [SPREAD_FORGED] = "forged", [SPREAD_STRANGER] = "stranger",
        [SPREAD_NOMEM] = "nomem",
    };
    return r < SPREAD_REFUSAL_N ? names[r] : "unknown";
}

/* ---- life ---- */

struct spread *spread_open(const struct spread_config *c, uint64_t now_ns,
                           int64_t now_unix_ms)
{
    if (strlen(c->name) > FRAME_NAME_MAX || strlen(c->zone) > FRAME_NAME_MAX ||
        c->limits.streams > SPREAD_STREAMS_MAX)
        return NULL;
    struct spread *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->config = *c;
    s->frames = c->frames;
    s->members = c->members;
    s->unix_ms = now_unix_ms;
    s->clock_ns = now_ns;
    s->born = now_unix_ms > 0 ? (uint64_t)now_unix_ms / ORIGINS_SKEWED_MS : 0;
    s->interval_ns = c->timing.round_min_ns;
    s->settle_ns = now_ns;
    s->way_ns = c->timing.asked_min_ns / 2;
    rng_seed(&s->rng, c->seed);
    s->next_ns = now_ns + rng_below(&s->rng, c->timing.round_max_ns);
    wr_init_grow(&s->arena, ARENA_MAX);
    s->name = strdup(c->name);
    s->zone = strdup(c->zone);
    s->ids = calloc(SPREAD_COMPARED, sizeof(*s->ids));
    int err = wants_init(&s->wants, c->limits.wants_max, WANT_HOLD_NS);
    err |= origins_init(&s->origins, c->limits.origins_max, ORIGIN_KEEP_NS);
    s->config.name = s->name;
    s->config.zone = s->zone;
    if (err || !s->name || !s->zone || !s->ids) {
        spread_close(s);
        return NULL;
    }
    return s;
}

void spread_close(struct spread *s)
{
    if (!s)
        return;
    origins_fini(&s->origins);
    wants_fini(&s->wants);
    wr_fini(&s->arena);
    free(s->ids);
    free(s->name);
    free(s->zone);
    free(s);
}

/* ---- small things ---- */

int64_t spread_wall_ms(const struct spread *s, uint64_t at_ns)
{
    int64_t past_ms = ((int64_t)at_ns - (int64_t)s->clock_ns) / 1000000;
    return s->unix_ms + past_ms;
}

int64_t spread_unix_ms(const struct spread *s, uint64_t now_ns)
{
    return spread_wall_ms(s, now_ns) + spread_correction_ms(s);
}

int64_t spread_correction_ms(const struct spread *s)
{
    int64_t off_ms = s->origins.common_ms;
    return llabs(off_ms) > ORIGINS_SKEWED_MS ? off_ms : 0;
}

bool spread_take(struct rate *r, uint64_t now_ns, uint64_t amount,
                 uint64_t per_s)
{
    return rate_take(r, now_ns, rate_price(amount, per_s), NS_PER_S);
}

static void clear_out(struct spread *s)
{
    s->n_out = s->next_out = 0;
    wr_reset(&s->arena);
}

size_t spread_begin(struct spread *s, enum spread_kind kind)
{
    size_t start = s->arena.len;
    wr_u8(&s->arena, SPREAD_TYPE);
    wr_u8(&s->arena, SPREAD_VERSION);
    wr_u8(&s->arena, (uint8_t)kind);
    return start;
}

void spread_send(struct spread *s, uint32_t member, size_t start,
                 bool by_stream)
{
    if (wr_err(&s->arena) || s->n_out == SPREAD_OUT_MAX) {
        s->stats.busy++;
        return;
    }
    s->out[s->n_out++] = (struct outgoing){
        .member = member,
        .by_stream = by_stream,
        .start = start,
        .len = s->arena.len - start,
    };
    s->stats.messages_out++;
    s->stats.bytes_out += s->arena.len - start;
    s->stats.streams_out += by_stream;
}

bool spread_next(struct spread *s, struct spread_effect *e)
{
    if (s->next_out == s->n_out)
        return false;
    const struct outgoing *o = &s->out[s->next_out++];
    *e = (struct spread_effect){
        .member = o->member,
        .by_stream = o->by_stream,
        .data = span_of(s->arena.data + o->start, o->len),
    };
    return true;
}

/* ---- news ---- */

bool spread_is_hot(const struct spread *s, uint64_t now_ns, uint64_t window)
{
    const struct hot_window *h = &s->hot[window % SPREAD_HOT_SLOTS];
    return h->window == window && h->changed_ns &&
           now_ns - h->changed_ns < s->config.timing.hot_ns;
}

static void heed_news(struct spread *s, uint64_t now_ns, uint64_t window,
                      uint64_t delay_ns)
{
    s->hot[window % SPREAD_HOT_SLOTS] =
        (struct hot_window){.window = window, .changed_ns = now_ns};
    s->news_ns = now_ns;
    s->had_news = true;
    s->interval_ns = s->config.timing.round_min_ns;
    uint64_t soon_ns = now_ns + rng_below(&s->rng, delay_ns + 1);
    if (soon_ns < s->next_ns)
        s->next_ns = soon_ns;
}

/* 1: it has a cell; 0: it has none; or an error. */
static int has_cells(const void *data, size_t len)
{
    struct frame_reader r;
    struct frame_cell cell = {0};
    int rc = frame_reader_open(&r, data, len);
    if (!rc)
        rc = frame_reader_cell(&r, &cell);
    frame_cell_fini(&cell);
    return rc;
}

int spread_on_own(struct spread *s, uint64_t now_ns, const void *data,
                  size_t len)
{
    struct frames_item item;
    clear_out(s);
    int rc = has_cells(data, len);
    if (rc < 0)
        return rc;
    if (rc == 0) {
        s->stats.own_empty++;
        return 0;
    }
    if (len > s->config.limits.frame_max)
        return ERR_TOOBIG;
    rc = frames_put(s->frames, data, len, now_ns, &item);
    if (rc)
        return rc;
    s->stats.own++;
    s->epoch_ms = item.epoch_ms;
    (void)origins_heard(&s->origins, now_ns, item.origin, item.window,
                        spread_wall_ms(s, now_ns));
    heed_news(s, now_ns, item.window, OWN_DELAY_NS);
    return 0;
}

/* ---- frames of others ---- */

static bool is_member(const struct spread *s, const char *origin)
{
    return members_find(s->members, span_of_text(origin)) != UINT32_MAX;
}

/* May this origin bring it? */
static bool is_welcome(struct spread *s, const struct frame_reader *key,
                       size_t len)
{
    const struct spread_limits *l = &s->config.limits;
    if (!strcmp(key->origin, s->name))
        /* What this node made before it was started anew is welcome. */
        return key->window <= s->born + FRAMES_AHEAD_MAX &&
               key->epoch_ms != s->epoch_ms;
    if (is_member(s, key->origin))
        return true;
    const struct origin *known = origins_find(&s->origins, key->origin);
    bool is_new = !known || !known->stranger_bytes;
    if (!known && s->origins.n >= s->origins.max)
        return false; /* nobody would count what it brings */
    return s->origins.stranger_bytes + len <= l->stranger_bytes &&
           (!is_new || s->origins.n_strangers < l->strangers_max);
}

/* How long an answer takes that nothing was lost of: three of four of them.
 * What was lost comes much later, or never; a mean would be led astray. */
static void learn_way(struct spread *s, uint64_t now_ns, uint64_t id)
{
    const struct want *it = wants_find(&s->wants, id);
    if (!it || !it->asked_ns || it->n_asked != 1)
        return;
    uint64_t took_ns = now_ns - it->asked_ns;
    uint64_t gap_ns =
        took_ns > s->way_ns ? took_ns - s->way_ns : s->way_ns - took_ns;
    if (gap_ns > s->way_ns)
        gap_ns = s->way_ns;
    if (took_ns > s->way_ns)
        s->way_ns += gap_ns * 3 / 32;
    else
        s->way_ns -= gap_ns / 32;
}

uint64_t spread_patience(const struct spread *s)
{
    const struct spread_timing *t = &s->config.timing;
    uint64_t patience_ns = 2 * s->way_ns;
    if (patience_ns < t->asked_min_ns)
        return t->asked_min_ns;
    return patience_ns < t->asked_max_ns ? patience_ns : t->asked_max_ns;
}

/* A frame that is not taken tells the time, too, if a member made it. */
static void note_time(struct spread *s, uint64_t now_ns,
                      const struct frame_reader *key, uint64_t closed_ns)
{
    if (is_member(s, key->origin) &&
        !origins_heard(&s->origins, now_ns, key->origin, key->window,
                       spread_wall_ms(s, closed_ns)))
        origins_count_member(&s->origins,
                             origins_find(&s->origins, key->origin));
}

/* Returns 0, or an error and *why. */
static int put_frame(struct spread *s, const struct frame_reader *key,
                     struct span data, uint64_t closed_ns,
                     struct frames_item *item, enum spread_refusal *why)
{
    bool is_own = !strcmp(key->origin, s->name);
    *why = is_own ? SPREAD_FORGED : SPREAD_STRANGER;
    if (!is_welcome(s, key, data.len))
        return ERR_AUTH;
    *why = SPREAD_EMPTY;
    if (has_cells(data.data, data.len) == 0)
        return ERR_BAD;
    int err = frames_put(s->frames, data.data, data.len, closed_ns, item);
    *why = SPREAD_BROKEN;
    if (err == ERR_CLOSED)
        *why = SPREAD_OLD;
    else if (err == ERR_TOOBIG)
        *why = SPREAD_FULL;
    else if (err == ERR_NOMEM)
        *why = SPREAD_NOMEM;
    else if (frames_is_ahead(s->frames, key->window))
        *why = SPREAD_AHEAD;
    return err;
}

static void note_origin(struct spread *s, uint64_t now_ns,
                        const struct frames_item *item)
{
    if (origins_heard(&s->origins, now_ns, item->origin, item->window,
                      spread_wall_ms(s, item->closed_ns)))
        return;
    /* Its frames may be here before it is known as a member, as when many are
     * started at once. */
    struct origin *it = origins_find(&s->origins, item->origin);
    if (is_member(s, item->origin) || !strcmp(item->origin, s->name))
        origins_count_member(&s->origins, it);
    else
        origins_count_stranger(&s->origins, it, item->len);
}

static void take_frame(struct spread *s, uint64_t now_ns, uint64_t closed_ns,
                       struct span data)
{
    struct frames_item item;
    struct frame_reader key;
    s->stats.frames_in++;
    s->stats.frame_bytes_in += data.len;
    if (data.len > s->config.limits.frame_max) {
        s->stats.refused[SPREAD_LARGE]++;
        return;
    }
    if (frame_reader_open(&key, data.data, data.len)) {
        s->stats.refused[SPREAD_BROKEN]++;
        return;
    }
    uint64_t id = spread_id(frames_hash(key.origin, key.epoch_ms, key.window));
    if (frames_find(s->frames, key.origin, key.epoch_ms, key.window, &item)) {
        s->stats.duplicates++;
        s->stats.conflicts +=
            item.len != data.len || memcmp(item.data, data.data, data.len) != 0;
        return;
    }
    enum spread_refusal why;
    if (put_frame(s, &key, data, closed_ns, &item, &why)) {
        s->stats.refused[why]++;
        if (why == SPREAD_AHEAD || why == SPREAD_OLD) {
            /* Perhaps it is our clock that is wrong: that must show. */
            note_time(s, now_ns, &key, closed_ns);
            struct want *it = wants_note(&s->wants, now_ns, id, key.window, 0);
            it->until_ns = now_ns + WANT_HOLD_NS;
        } else if (why == SPREAD_FULL || why == SPREAD_NOMEM) {
            /* There may be room again. */
            struct want *it = wants_note(&s->wants, now_ns, id, key.window, 0);
            it->until_ns = now_ns + WANT_HOLD_NS;
        } else if (why == SPREAD_STRANGER) {
            /* By then it is a member, or will not be one. */
            struct want *it = wants_note(&s->wants, now_ns, id, key.window, 0);
            it->until_ns = now_ns + STRANGER_HOLD_NS;
        } else {
            wants_refuse(&s->wants, now_ns, id, key.window);
        }
        return;
    }
    s->stats.added++;
    s->stats.fresh_bytes += data.len;
    learn_way(s, now_ns, id);
    wants_remove(&s->wants, id);
    note_origin(s, now_ns, &item);
    heed_news(s, now_ns, item.window, s->config.timing.round_min_ns);
}

static void on_frames(struct spread *s, uint64_t now_ns, struct rd *in)
{
    for (int i = 0; i < SPREAD_ITEMS_MAX && rd_left(in) > 0; i++) {
        uint64_t age_ms = rd_varint(in);
        uint64_t len = rd_varint(in);
        if (len > rd_left(in))
            rd_fail(in, ERR_TRUNC);
        const uint8_t *data = rd_bytes(in, (size_t)len);
        if (rd_err(in)) {
            s->stats.broken++;
            return;
        }
        uint64_t age_ns =
            (age_ms < AGE_MAX_MS ? age_ms : AGE_MAX_MS) * NS_PER_MS;
        take_frame(s, now_ns, now_ns - age_ns, span_of(data, (size_t)len));
    }
}

bool spread_on_message(struct spread *s, uint64_t now_ns,
                       const struct addr *from, struct span message)
{
    struct rd in;
    clear_out(s);
    if (message.len == 0 || message.data[0] != SPREAD_TYPE)
        return false;
    s->stats.messages_in++;
    s->stats.bytes_in += message.len;
    rd_init(&in, message.data, message.len);
    rd_u8(&in);
    uint8_t version = rd_u8(&in);
    uint8_t kind = rd_u8(&in);
    if (rd_err(&in))
        s->stats.broken++;
    else if (version != SPREAD_VERSION)
        s->stats.unknown++;
    else if (kind == SPREAD_FRAMES)
        on_frames(s, now_ns, &in);
    else if (kind == SPREAD_COMPARISON)
        spread_on_comparison(s, now_ns, from, &in);
    else
        s->stats.unknown++;
    return true;
}

/* ---- rounds ---- */

static bool is_partner(const struct spread *s, uint32_t index)
{
    const struct member *m = members_peek(s->members, index);
    return index != MEMBERS_SELF && m->name_len && m->is_ours &&
           m->state <= MEMBER_SUSPECT;
}

static bool is_elsewhere(const struct spread *s, uint32_t index)
{
    struct facts f;
    const struct member *m = members_peek(s->members, index);
    facts_decode(span_of(m->meta, m->meta_len), &f);
    return strcmp(f.zone, s->zone) != 0;
}

/* Somebody at random; of every second round one in another zone, if drawing
 * finds one. */
static uint32_t pick_partner(struct spread *s)
{
    size_t size = members_size(s->members);
    bool wants_elsewhere = s->stats.rounds % 2 == 1;
    uint32_t any = UINT32_MAX;
    for (int i = 0; i < DRAWS && size > 1; i++) {
        uint32_t index = (uint32_t)rng_below(&s->rng, size);
        if (!is_partner(s, index))
            continue;
        if (!wants_elsewhere || is_elsewhere(s, index))
            return index;
        any = index;
    }
    if (any != UINT32_MAX)
        return any;
    /* Few of many slots are partners: look at all, from a random one on. */
    size_t first = size ? rng_below(&s->rng, size) : 0;
    for (size_t i = 0; i < size; i++) {
        uint32_t index = (uint32_t)((first + i) % size);
        if (is_partner(s, index))
            return index;
    }
    return UINT32_MAX;
}

static void begin_round(struct spread *s, uint64_t now_ns)
{
    const struct spread_timing *t = &s->config.timing;
    uint32_t member = pick_partner(s);
    s->stats.rounds++;
    if (member == UINT32_MAX)
        s->stats.nobody++;
    else
        spread_compare(s, now_ns, member);

    bool is_active = (s->had_news && now_ns - s->news_ns < t->active_ns) ||
                     wants_is_idle(&s->wants, now_ns);
    if (is_active)
        s->interval_ns = t->round_min_ns;
    else if (s->interval_ns < t->round_max_ns / 2)
        s->interval_ns *= 2;
    else
        s->interval_ns = t->round_max_ns;
    s->next_ns = now_ns + s->interval_ns * 3 / 4 +
                 rng_below(&s->rng, s->interval_ns / 2 + 1);
}

static void settle(struct spread *s, uint64_t now_ns)
{
    s->settle_ns = now_ns + s->config.timing.settle_ns;
    origins_settle(&s->origins, now_ns);
    wants_expire(&s->wants, now_ns, frames_floor(s->frames));
}

void spread_on_timer(struct spread *s, uint64_t now_ns)
{
    clear_out(s);
    if (now_ns >= s->settle_ns)
        settle(s, now_ns);
    if (now_ns >= s->next_ns)
        begin_round(s, now_ns);
}

uint64_t spread_deadline(const struct spread *s)
{
    return s->next_ns < s->settle_ns ? s->next_ns : s->settle_ns;
}

void spread_on_clock(struct spread *s, uint64_t now_ns, int64_t now_unix_ms)
{
    int64_t step_ms = now_unix_ms - spread_wall_ms(s, now_ns);
    s->clock_ns = now_ns;
    s->unix_ms = now_unix_ms;
    if (llabs(step_ms) > 1000) {
        origins_shift(&s->origins, step_ms);
        origins_settle(&s->origins, now_ns);
    }
}

/* ---- reading ---- */

void spread_stats(const struct spread *s, struct spread_stats *out)
{
    *out = s->stats;
    out->missing = wants_missing(&s->wants);
    out->origins = s->origins.n;
    out->stranger_origins = s->origins.n_strangers;
    out->own_offset_ms = -s->origins.common_ms;
    for (size_t i = 0; i < s->origins.n; i++)
        out->skewed += s->origins.list[i]->is_skewed;
}

bool spread_origin(const struct spread *s, size_t i, struct spread_origin *out)
{
    if (i >= s->origins.n)
        return false;
    const struct origin *it = s->origins.list[i];
    *out = (struct spread_origin){
        .name = it->name,
        .offset_ms = it->offset_ms,
        .is_skewed = it->is_skewed,
        .is_stranger = it->stranger_bytes > 0,
        .heard_ns = it->heard_ns,
    };
    return true;
}

bool spread_is_skewed(const struct spread *s, const char *origin)
{
    const struct origin *it = origins_find(&s->origins, origin);
    return it && it->is_skewed;
}

void spread_check(const struct spread *s)
{
    frames_check(s->frames);
    wants_check(&s->wants);
    origins_check(&s->origins);
    assert(s->next_out <= s->n_out && s->n_out <= SPREAD_OUT_MAX);
    assert(s->interval_ns <= s->config.timing.round_max_ns);
    for (size_t i = 0; i < s->wants.n; i++)
        assert(s->wants.list[i].id < UINT64_C(1) << (8 * SPREAD_ID_BYTES));
}
