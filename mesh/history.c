#include "mesh/history_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

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
    uint64_t end = t->next + history_span(tier);
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
         i < finer->n && finer->slots[i]->start < s->start + history_span(tier);
         i++) {
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
            spent += history_fold(h);
        } else if (h->making) {
            spent += make_line(h);
        } else if (h->n_graves > 0) {
            spent += 64;
            if (history_bury(h, h->graves[h->n_graves - 1], 64))
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
        history_drop_oldest(h, tier);
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
    while (n-- > 0 &&
           t->slots[0]->start + history_span(tier) + history_kept(tier) <=
               h->now)
        history_drop_oldest(h, tier);
    n = t->n;
    while (n-- > 0 && t->slots[t->n - 1]->start > h->now + FRAMES_AHEAD_MAX)
        history_drop_slot(h, tier, t->n - 1);
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

uint64_t history_now(const struct history *h)
{
    return h->now;
}

void history_close(struct history *h)
{
    if (!h)
        return;
    while (h->queue)
        history_end_frame(h);
    for (enum history_tier t = 0; t < HISTORY_TIERS; t++) {
        for (size_t i = 0; i < h->tiers[t].n; i++)
            history_bury(h, h->tiers[t].slots[i], SIZE_MAX);
        free(h->tiers[t].slots);
    }
    while (h->n_graves > 0)
        history_bury(h, h->graves[--h->n_graves], SIZE_MAX);
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
        out->tiers[i].end =
            t->n ? t->slots[t->n - 1]->start + history_span(i) : 0;
    }
}
