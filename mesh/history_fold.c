/* Frames into slots. */
#include "mesh/history_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/siphash.h"

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

void history_end_frame(struct history *h)
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
    if (!s && start >= t->gone && start + history_span(tier) <= t->next) {
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
size_t history_fold(struct history *h)
{
    struct frame_reader *f = &h->frame;
    struct frame_reader_target t;
    if (!h->is_folding) {
        h->is_folding = begin_frame(h) == 0;
        if (!h->is_folding)
            history_end_frame(h);
        return 4;
    }
    if (!h->frame_slot) { /* it was dropped meanwhile */
        history_end_frame(h);
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
    history_end_frame(h);
    return 1;
}

int history_add(struct history *h, const void *frame, size_t len)
{
    while (h->queue && h->queue_bytes + len > HISTORY_QUEUE_MAX)
        history_fold(h);
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
