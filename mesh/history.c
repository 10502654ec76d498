#include "mesh/history_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "proto/base/siphash.h"

#define RECORD_COST 16 /* the allocator's share of a record */

static const unsigned spans[HISTORY_TIERS] = {1, 6, 60};
static const unsigned kept[HISTORY_TIERS] = {
    HISTORY_WINDOWS, HISTORY_MINUTES * 6, HISTORY_TENS * 60};

uint64_t history_span(enum history_tier t)
{
    assert(t < HISTORY_TIERS);
    return spans[t];
}

struct history *history_open(const struct history_config *config)
{
    struct history *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->config = *config;
    h->tables_bytes_max = config->bytes_max / 4;
    h->free_line = LINE_NONE;
    h->queue_end = &h->queue;
    h->frame_from = TEXTS_NONE;
    texts_init(&h->labels, 2 * MATRIX_NAMES_MAX, config->seed);
    texts_init(&h->origins, MATRIX_NAMES_MAX, config->seed);
    return h;
}

void history_limit(struct history *h, size_t bytes_max)
{
    h->config.bytes_max = bytes_max;
}

/* --- lines -------------------------------------------------------------- */

static uint32_t *line_chain(const struct history *h, uint32_t from, uint32_t to,
                            unsigned protocol, unsigned mode)
{
    uint64_t key[2] = {(uint64_t)from << 32 | to, protocol * MODE_N + mode};
    uint64_t hash = hash_bytes(0, key, sizeof(key));
    return &h->chains[hash & (h->lines_size - 1)];
}

static void link_line(struct history *h, uint32_t number)
{
    struct line *l = &h->lines[number];
    uint32_t *chain = line_chain(h, l->from, l->to, l->protocol, l->mode);
    l->next = *chain;
    *chain = number;
}

uint32_t history_find_line(const struct history *h, uint32_t from, uint32_t to,
                           unsigned protocol, unsigned mode)
{
    if (h->lines_size == 0 || from == TEXTS_NONE || to == TEXTS_NONE)
        return LINE_NONE;
    uint32_t at = *line_chain(h, from, to, protocol, mode);
    for (; at != LINE_NONE; at = h->lines[at].next) {
        const struct line *l = &h->lines[at];
        if (l->from == from && l->to == to && l->protocol == protocol &&
            l->mode == mode)
            break;
    }
    return at;
}

/* Twice the room; all numbers are in use, else nobody would ask. */
static int grow_lines(struct history *h)
{
    size_t size = h->lines_size ? h->lines_size * 2 : 64;
    if (h->lines_size == HISTORY_LINES_MAX)
        return ERR_TOOBIG;
    /* Tables that are full of what somebody made up leave no room for time. */
    if (size > 1024 &&
        size * (sizeof(*h->lines) + sizeof(*h->chains)) > h->tables_bytes_max)
        return ERR_TOOBIG;
    struct line *lines = reallocarray(h->lines, size, sizeof(*lines));
    if (!lines)
        return ERR_NOMEM;
    h->lines = lines;
    uint32_t *chains = reallocarray(NULL, size, sizeof(*chains));
    if (!chains)
        return ERR_NOMEM;
    free(h->chains);
    h->chains = chains;
    memset(chains, 0xff, size * sizeof(*chains));
    size_t before = h->lines_size;
    h->lines_size = size;
    for (size_t i = 0; i < before; i++)
        link_line(h, (uint32_t)i);
    for (size_t i = size; i > before; i--) {
        lines[i - 1] = (struct line){.next = h->free_line};
        h->free_line = (uint32_t)i - 1;
    }
    return 0;
}

_Static_assert((HISTORY_LINES_MAX & (HISTORY_LINES_MAX - 1)) == 0,
               "doubling meets it");

uint32_t history_open_line(struct history *h, uint32_t from, uint32_t to,
                           unsigned protocol, unsigned mode)
{
    uint32_t number = history_find_line(h, from, to, protocol, mode);
    if (number != LINE_NONE)
        return number;
    if (h->free_line == LINE_NONE && grow_lines(h))
        return LINE_NONE;
    number = h->free_line;
    struct line *l = &h->lines[number];
    h->free_line = l->next;
    *l = (struct line){.from = from,
                       .to = to,
                       .protocol = (uint8_t)protocol,
                       .mode = (uint8_t)mode};
    h->labels.list[from].refs++;
    h->labels.list[to].refs++;
    link_line(h, number);
    h->n_lines++;
    return number;
}

void history_close_line(struct history *h, uint32_t number)
{
    struct line *l = &h->lines[number];
    if (l->records > 0)
        return;
    uint32_t *at = line_chain(h, l->from, l->to, l->protocol, l->mode);
    while (*at != number)
        at = &h->lines[*at].next;
    *at = l->next;
    texts_give(&h->labels, l->from);
    texts_give(&h->labels, l->to);
    *l = (struct line){.next = h->free_line};
    h->free_line = number;
    h->n_lines--;
}

/* --- slots -------------------------------------------------------------- */

size_t history_slot_behind(const struct tier *t, uint64_t window)
{
    size_t first = 0;
    size_t end = t->n;
    while (first < end) {
        size_t middle = (first + end) / 2;
        if (t->slots[middle]->start < window)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

struct slot *history_find_slot(const struct history *h, enum history_tier tier,
                               uint64_t start)
{
    const struct tier *t = &h->tiers[tier];
    size_t at = history_slot_behind(t, start);
    return at < t->n && t->slots[at]->start == start ? t->slots[at] : NULL;
}

static int grow_list(struct slot ***list, size_t n, size_t *size)
{
    if (n < *size)
        return 0;
    size_t larger = *size ? *size * 2 : 8;
    struct slot **grown = reallocarray(*list, larger, sizeof(struct slot *));
    if (!grown)
        return ERR_NOMEM;
    *list = grown;
    *size = larger;
    return 0;
}

struct slot *history_open_slot(struct history *h, enum history_tier tier,
                               uint64_t start)
{
    struct tier *t = &h->tiers[tier];
    struct slot *s = history_find_slot(h, tier, start);
    if (s)
        return s;
    if (grow_list(&t->slots, t->n, &t->size))
        return NULL;
    s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->start = s->first = start;
    s->is_made = tier == HISTORY_WINDOW;
    size_t at = history_slot_behind(t, start);
    memmove(t->slots + at + 1, t->slots + at,
            (t->n - at) * sizeof(struct slot *));
    t->slots[at] = s;
    t->n++;
    h->version++;
    return s;
}

static int grow_records(struct tier *t, struct slot *s, uint32_t line)
{
    if (line < s->size)
        return 0;
    size_t size = s->size ? s->size : 64;
    while (size <= line)
        size *= 2;
    struct record **records =
        reallocarray(s->records, size, sizeof(struct record *));
    if (!records)
        return ERR_NOMEM;
    memset(records + s->size, 0, (size - s->size) * sizeof(struct record *));
    s->bytes += (size - s->size) * sizeof(struct record *);
    t->bytes += (size - s->size) * sizeof(struct record *);
    s->records = records;
    s->size = size;
    return 0;
}

static size_t record_bytes(const struct record *r)
{
    return r ? sizeof(*r) + r->len + RECORD_COST : 0;
}

int history_put_record(struct history *h, enum history_tier tier,
                       struct slot *s, uint32_t line)
{
    struct tier *t = &h->tiers[tier];
    struct wr w;
    wr_init_fixed(&w, h->scratch, sizeof(h->scratch));
    tally_encode(&h->tally, s->start, &w);
    assert(!wr_err(&w));
    if (grow_records(t, s, line))
        return ERR_NOMEM;
    struct record *new = malloc(sizeof(*new) + w.len);
    if (!new)
        return ERR_NOMEM;
    new->len = (uint32_t)w.len;
    memcpy(new->data, w.data, w.len);

    struct record *old = s->records[line];
    struct line *l = &h->lines[line];
    l->records += !old;
    if (h->tally.newest > l->newest)
        l->newest = h->tally.newest;
    s->bytes += record_bytes(new) - record_bytes(old);
    t->bytes += record_bytes(new) - record_bytes(old);
    free(old);
    s->records[line] = new;
    return 0;
}

/* Take the slot out; it is freed by and by. */
static void drop_slot(struct history *h, enum history_tier tier, size_t at)
{
    struct tier *t = &h->tiers[tier];
    struct slot *s = t->slots[at];
    if (grow_list(&h->graves, h->n_graves, &h->graves_size))
        return; /* stays for now */
    h->graves[h->n_graves++] = s;
    t->n--;
    memmove(t->slots + at, t->slots + at + 1,
            (t->n - at) * sizeof(struct slot *));
    t->bytes -= s->bytes;
    if (s == h->making)
        h->making = NULL;
    if (s == h->frame_slot)
        h->frame_slot = NULL;
    h->version++;
}

/* The same with the oldest; its time is past. */
static void drop_oldest(struct history *h, enum history_tier tier)
{
    struct tier *t = &h->tiers[tier];
    uint64_t end = t->slots[0]->start + spans[tier];
    t->gone = end > t->gone ? end : t->gone;
    drop_slot(h, tier, 0);
}

/* Free some records of a dropped slot. Returns true when it is gone. */
static bool bury(struct history *h, struct slot *s, size_t n)
{
    for (; s->buried < s->size && n > 0; s->buried++, n--) {
        struct record *r = s->records[s->buried];
        if (!r)
            continue;
        s->bytes -= record_bytes(r);
        free(r);
        h->lines[s->buried].records--;
        history_close_line(h, (uint32_t)s->buried);
    }
    if (s->buried < s->size)
        return false;
    free(s->records);
    free(s->frames);
    free(s);
    return true;
}

/* --- folding ------------------------------------------------------------ */

/* Has the slot this frame? If not, remember it. */
static int remember(struct slot *s, uint64_t key)
{
    if (2 * (s->n_frames + 1) > s->frames_size) {
        size_t size = s->frames_size ? s->frames_size * 2 : 16;
        uint64_t *frames = calloc(size, sizeof(*frames));
        if (!frames)
            return ERR_NOMEM;
        for (size_t i = 0; i < s->frames_size; i++) {
            size_t at = (size_t)s->frames[i] & (size - 1);
            while (s->frames[i] && frames[at])
                at = (at + 1) & (size - 1);
            if (s->frames[i])
                frames[at] = s->frames[i];
        }
        free(s->frames);
        s->frames = frames;
        s->frames_size = size;
    }
    size_t at = (size_t)key & (s->frames_size - 1);
    for (; s->frames[at]; at = (at + 1) & (s->frames_size - 1)) {
        if (s->frames[at] == key)
            return ERR_BUSY;
    }
    s->frames[at] = key;
    s->n_frames++;
    return 0;
}

static uint64_t frame_key(const struct history *h, const struct frame_reader *f)
{
    /* This alone tells frames apart, of names and epochs that strangers make
     * up and of nodes that began in the same millisecond. */
    const uint64_t secret[2] = {h->config.seed, f->epoch_ms};
    uint64_t key = siphash(secret, f->origin, strlen(f->origin));
    return key ? key : 1;
}

/* Who reported what last, and where it is. */
static void note_origin(struct history *h, const struct frame_reader *f,
                        uint32_t label)
{
    uint32_t number = texts_find(&h->origins, f->origin);
    if (number == TEXTS_NONE && texts_take(&h->origins, f->origin, &number))
        return;
    struct text *t = &h->origins.list[number];
    uint64_t newest = t->mark & UINT32_MAX;
    if (t->refs == 1 && t->mark != 0)
        texts_give(&h->labels, (uint32_t)(t->mark >> 32));
    h->labels.list[label].refs++;
    newest = f->window > newest ? f->window : newest;
    t->mark = (uint64_t)label << 32 | newest;
}

static int hold_targets(struct history *h, size_t n)
{
    h->n_frame_targets = 0;
    if (n <= h->frame_targets_size)
        return 0;
    uint32_t *targets = reallocarray(h->frame_targets, n, sizeof(*targets));
    if (!targets)
        return ERR_NOMEM;
    h->frame_targets = targets;
    h->frame_targets_size = n;
    return 0;
}

/* Begin with the first of the queue. 0: it is to be folded. */
static int begin_frame(struct history *h)
{
    struct frame_reader *f = &h->frame;
    const struct queued *q = h->queue;
    int err = frame_reader_open(f, q->data, q->len);
    if (err)
        return err;
    const struct tier *t = &h->tiers[HISTORY_WINDOW];
    if (f->window < t->gone || f->window + HISTORY_WINDOWS < h->now ||
        f->window > h->now + FRAMES_AHEAD_MAX || f->window > UINT32_MAX) {
        h->stats.late++;
        return ERR_CLOSED;
    }
    if (h->config.is_usable &&
        !h->config.is_usable(h->config.usable_arg, f->origin)) {
        h->stats.unusable++;
        return ERR_CLOSED;
    }
    struct slot *s = history_open_slot(h, HISTORY_WINDOW, f->window);
    err = s ? hold_targets(h, f->n_targets) : ERR_NOMEM;
    if (!err)
        err = texts_take(
            &h->labels, matrix_label(LEVEL_ZONE, f->origin, f->zone, f->region),
            &h->frame_from);
    if (!err)
        err = remember(s, frame_key(h, f));
    h->stats.repeated += err == ERR_BUSY;
    if (err)
        return err;
    h->frame_slot = s;
    h->frame_origin = tally_origin(f->origin);
    note_origin(h, f, h->frame_from);
    return 0;
}

static void end_frame(struct history *h)
{
    struct queued *q = h->queue;
    for (size_t i = 0; i < h->n_frame_targets; i++) {
        if (h->frame_targets[i] != TEXTS_NONE)
            texts_give(&h->labels, h->frame_targets[i]);
    }
    h->n_frame_targets = 0;
    if (h->frame_from != TEXTS_NONE)
        texts_give(&h->labels, h->frame_from);
    h->frame_from = TEXTS_NONE;
    h->frame_slot = NULL;
    h->is_folding = false;
    h->queue = q->next;
    if (!h->queue)
        h->queue_end = &h->queue;
    h->queue_bytes -= q->len;
    free(q);
}

/* Add h->cell to the record of a line in one slot. */
static int add_to(struct history *h, enum history_tier tier, struct slot *s,
                  uint32_t line)
{
    const struct record *r = history_record(s, line);
    int worst = 0;
    tally_reset(&h->tally);
    if (r)
        worst = tally_add(&h->tally, r->data, r->len, s->start);
    int err =
        tally_add_cell(&h->tally, &h->cell, h->frame.window, h->frame_origin);
    worst = err ? err : worst;
    err = history_put_record(h, tier, s, line);
    return err ? err : worst;
}

/* Has this line of the coarse slot around a window been made already? Then it
 * is that, otherwise NULL. If its time was passed over for want of data, which
 * comes only now, as after a partition, it is made with this. */
static struct slot *made_around(struct history *h, enum history_tier tier,
                                uint64_t window, uint32_t line)
{
    const struct tier *t = &h->tiers[tier];
    uint64_t start = history_align(tier, window);
    struct slot *s = history_find_slot(h, tier, start);
    if (!s && start >= t->gone && start + spans[tier] <= t->next) {
        s = history_open_slot(h, tier, start);
        if (s) {
            s->is_made = true;
            s->first = window;
        }
    }
    if (!s)
        return NULL;
    if (window < s->first)
        s->first = window;
    bool is_done = s == h->making && line < h->making_line;
    return s->is_made || is_done ? s : NULL;
}

static int fold_cell(struct history *h)
{
    const struct frame_cell *c = &h->cell;
    uint32_t to = c->target < h->n_frame_targets ? h->frame_targets[c->target]
                                                 : TEXTS_NONE;
    if (c->attempts == 0)
        return 0;
    int err = frame_reader_series(&h->frame, &h->cell);
    if (err)
        return err;
    if (to == TEXTS_NONE)
        return ERR_TOOBIG;
    uint32_t line =
        history_open_line(h, h->frame_from, to, c->protocol, c->mode);
    if (line == LINE_NONE)
        return ERR_TOOBIG;
    err = add_to(h, HISTORY_WINDOW, h->frame_slot, line);
    for (enum history_tier t = HISTORY_MINUTE; t < HISTORY_TIERS; t++) {
        struct slot *s = made_around(h, t, h->frame.window, line);
        int rc = s ? add_to(h, t, s, line) : 0;
        err = rc ? rc : err;
    }
    history_close_line(h, line);
    return err;
}

/* One target or cell of the frame; returns what it cost. */
static size_t fold(struct history *h)
{
    struct frame_reader *f = &h->frame;
    struct frame_reader_target t;
    if (!h->is_folding) {
        h->is_folding = begin_frame(h) == 0;
        if (!h->is_folding)
            end_frame(h);
        return 4;
    }
    if (!h->frame_slot) { /* it was dropped meanwhile */
        end_frame(h);
        return 1;
    }
    if (h->n_frame_targets < f->n_targets) {
        int rc = frame_reader_target(f, &t);
        uint32_t *number = &h->frame_targets[h->n_frame_targets++];
        *number = TEXTS_NONE;
        if (rc == 1)
            (void)!texts_take(
                &h->labels, matrix_label(LEVEL_ZONE, t.name, t.zone, t.region),
                number);
        return 1;
    }
    int rc = frame_reader_cell(f, &h->cell);
    if (rc == 1) {
        h->stats.dropped += fold_cell(h) != 0;
        return SERIES_N;
    }
    h->stats.folded++;
    end_frame(h);
    return 1;
}

int history_add(struct history *h, const void *frame, size_t len)
{
    while (h->queue && h->queue_bytes + len > HISTORY_QUEUE_MAX)
        fold(h);
    struct queued *q = malloc(sizeof(*q) + len);
    if (!q) {
        h->stats.dropped++;
        return ERR_NOMEM;
    }
    q->next = NULL;
    q->len = len;
    memcpy(q->data, frame, len);
    *h->queue_end = q;
    h->queue_end = &q->next;
    h->queue_bytes += len;
    return 0;
}

bool history_is_behind(const struct history *h)
{
    return h->queue != NULL;
}

/* --- making coarser slots ----------------------------------------------- */

/* Is there a slot of this tier that can be made now? Begin it. */
static bool begin_making(struct history *h, enum history_tier tier)
{
    struct tier *t = &h->tiers[tier];
    const struct tier *finer = &h->tiers[tier - 1];
    /* Pass over time without any data at once, however long. */
    size_t at = history_slot_behind(finer, t->next);
    uint64_t child = at < finer->n ? finer->slots[at]->first : h->now;
    if (history_align(tier, child) > t->next)
        t->next = history_align(tier, child);
    uint64_t end = t->next + spans[tier];
    if (at == finer->n || end + HISTORY_SETTLE > h->now)
        return false;
    if (tier == HISTORY_TEN && h->tiers[HISTORY_MINUTE].next < end)
        return false; /* its last minutes are not made yet */
    struct slot *s = history_open_slot(h, tier, t->next);
    if (!s)
        return false;
    t->next = end;
    s->first = child > s->start ? child : s->start;
    h->making = s;
    h->making_tier = tier;
    h->making_line = 0;
    return true;
}

/* One line of the slot being made, from those of its children. */
static size_t make_line(struct history *h)
{
    enum history_tier tier = h->making_tier;
    const struct tier *finer = &h->tiers[tier - 1];
    struct slot *s = h->making;
    uint32_t line = h->making_line;
    if (line >= h->lines_size) {
        s->is_made = true;
        h->making = NULL;
        h->version++;
        return 1;
    }
    h->making_line++;
    size_t n = 0;
    for (size_t i = history_slot_behind(finer, s->start);
         i < finer->n && finer->slots[i]->start < s->start + spans[tier]; i++) {
        const struct record *r = history_record(finer->slots[i], line);
        if (!r)
            continue;
        if (n++ == 0)
            tally_reset(&h->tally);
        h->stats.dropped +=
            tally_add(&h->tally, r->data, r->len, finer->slots[i]->start) != 0;
    }
    if (n > 0 && history_put_record(h, tier, s, line))
        h->stats.dropped++;
    return 1 + n * SERIES_N;
}

int history_work(struct history *h, size_t pieces)
{
    for (size_t spent = 0; spent < pieces;) {
        if (h->queue) {
            spent += fold(h);
        } else if (h->making) {
            spent += make_line(h);
        } else if (h->n_graves > 0) {
            spent += 64;
            if (bury(h, h->graves[h->n_graves - 1], 64))
                h->n_graves--;
        } else if (!begin_making(h, HISTORY_MINUTE) &&
                   !begin_making(h, HISTORY_TEN)) {
            return 0;
        }
    }
    return 1;
}

/* --- time and budget ---------------------------------------------------- */

static size_t graves_bytes(const struct history *h)
{
    size_t n = 0;
    for (size_t i = 0; i < h->n_graves; i++)
        n += h->graves[i]->bytes;
    return n;
}

static size_t fixed_bytes(const struct history *h)
{
    size_t n = sizeof(*h) + h->queue_bytes +
               h->lines_size * (sizeof(*h->lines) + sizeof(*h->chains)) +
               (h->labels.size + h->origins.size) * sizeof(struct text);
    for (size_t i = 0; i < h->n_graves; i++)
        n += h->graves[i]->bytes;
    return n;
}

static void keep_below(struct history *h, enum history_tier tier, size_t bytes,
                       size_t n_min)
{
    struct tier *t = &h->tiers[tier];
    for (size_t n = t->n; n > n_min && t->bytes > bytes; n--)
        drop_oldest(h, tier);
}

/* The newest window and minute stay whatever the budget: without them nothing
 * could ever be answered. */
static void trim(struct history *h)
{
    struct tier *tiers = h->tiers;
    size_t fixed = fixed_bytes(h) - graves_bytes(h);
    size_t max = h->config.bytes_max;
    max = max > fixed ? max - fixed : 0;
    keep_below(h, HISTORY_WINDOW, max / 2, 2);
    size_t windows = tiers[HISTORY_WINDOW].bytes;
    max = max > windows ? max - windows : 0;
    keep_below(h, HISTORY_MINUTE, max / 3 * 2, 1);
    size_t minutes = tiers[HISTORY_MINUTE].bytes;
    max = max > minutes ? max - minutes : 0;
    keep_below(h, HISTORY_TEN, max, 0);
}

static void expire(struct history *h, enum history_tier tier)
{
    struct tier *t = &h->tiers[tier];
    size_t n = t->n;
    while (n-- > 0 && t->slots[0]->start + spans[tier] + kept[tier] <= h->now)
        drop_oldest(h, tier);
    n = t->n;
    while (n-- > 0 && t->slots[t->n - 1]->start > h->now + FRAMES_AHEAD_MAX)
        drop_slot(h, tier, t->n - 1);
}

static void forget_origins(struct history *h)
{
    for (uint32_t i = 0; i < h->origins.size; i++) {
        struct text *t = &h->origins.list[i];
        if (!t->text || (t->mark & UINT32_MAX) + HISTORY_WINDOWS >= h->now)
            continue;
        texts_give(&h->labels, (uint32_t)(t->mark >> 32));
        texts_give(&h->origins, i);
    }
}

void history_tick(struct history *h, uint64_t now_unix_s)
{
    uint64_t now = now_unix_s / FRAME_WINDOW_S;
    uint64_t oldest = now > HISTORY_WINDOWS ? now - HISTORY_WINDOWS : 0;
    bool is_new = now != h->now;
    if (h->now == 0 || now < h->now) {
        /* The first time; or the clock was set back, and what was gone lies
         * in a time that is yet to come. */
        for (enum history_tier t = 0; t < HISTORY_TIERS; t++) {
            struct tier *tier = &h->tiers[t];
            if (h->now == 0)
                tier->next = history_align(t, oldest);
            if (tier->next > now)
                tier->next = history_align(t, now);
            if (tier->gone > now)
                tier->gone = now;
        }
        for (size_t i = 0; i < h->lines_size; i++) {
            if (h->lines[i].records > 0 && h->lines[i].newest > now)
                h->lines[i].newest = now > 0 ? now - 1 : 0;
        }
        for (size_t i = 0; i < h->origins.size; i++) {
            struct text *t = &h->origins.list[i];
            if (t->text && (t->mark & UINT32_MAX) > now)
                t->mark = (t->mark >> 32 << 32) | now;
        }
    }
    h->now = now;
    if (is_new) {
        for (enum history_tier t = 0; t < HISTORY_TIERS; t++)
            expire(h, t);
        forget_origins(h);
    }
    trim(h);
}

void history_close(struct history *h)
{
    if (!h)
        return;
    while (h->queue)
        end_frame(h);
    for (enum history_tier t = 0; t < HISTORY_TIERS; t++) {
        for (size_t i = 0; i < h->tiers[t].n; i++)
            bury(h, h->tiers[t].slots[i], SIZE_MAX);
        free(h->tiers[t].slots);
    }
    while (h->n_graves > 0)
        bury(h, h->graves[--h->n_graves], SIZE_MAX);
    assert(h->n_lines == 0);
    free(h->graves);
    free(h->lines);
    free(h->chains);
    free(h->frame_targets);
    frame_cell_fini(&h->cell);
    texts_fini(&h->labels);
    texts_fini(&h->origins);
    free(h);
}

void history_stats(const struct history *h, struct history_stats *out)
{
    *out = h->stats;
    out->bytes = fixed_bytes(h);
    out->lines = h->n_lines;
    for (enum history_tier i = 0; i < HISTORY_TIERS; i++) {
        const struct tier *t = &h->tiers[i];
        out->bytes += t->bytes;
        out->tiers[i].slots = t->n;
        out->tiers[i].bytes = t->bytes;
        out->tiers[i].oldest = t->n ? t->slots[0]->first : 0;
        out->tiers[i].end = t->n ? t->slots[t->n - 1]->start + spans[i] : 0;
    }
}
