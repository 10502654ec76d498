/* Questions: which slots answer them, and what these add up to. */
#include "mesh/history_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

#define NS_PER_S 1000000000u

struct history_reader {
    const struct history *history;
    struct history_question question;
    uint64_t version; /* of the history that the plan is for */
    size_t n;
    const struct slot *slots[HISTORY_PLAN_MAX];
    struct history_cover cover;
    struct tally tally;
    struct matrix_cell cell;
};

/* --- which slots -------------------------------------------------------- */

static void use(struct history_reader *r, enum history_tier t,
                const struct slot *s)
{
    struct history_cover *c = &r->cover;
    if (r->n == HISTORY_PLAN_MAX)
        return;
    if (r->n == 0)
        c->first = s->first;
    r->slots[r->n++] = s;
    c->end = s->start + history_span(t);
    if (history_span(t) > c->step)
        c->step = history_span(t);
}

static const struct slot *made_slot(const struct history *h,
                                    enum history_tier t, uint64_t start)
{
    const struct slot *s = history_find_slot(h, t, start);
    return s && s->is_made ? s : NULL;
}

/* The longest slot that begins at `w` and ends by `last`. */
static const struct slot *coarsest_at(const struct history *h, uint64_t w,
                                      uint64_t last, enum history_tier *tier)
{
    for (*tier = HISTORY_TEN; *tier > HISTORY_WINDOW; (*tier)--) {
        uint64_t span = history_span(*tier);
        const struct slot *s = w % span == 0 && last - w >= span - 1
                                   ? made_slot(h, *tier, w)
                                   : NULL;
        if (s)
            return s;
    }
    return NULL;
}

static bool has_slots_within(const struct history *h, enum history_tier t,
                             uint64_t first, uint64_t end)
{
    const struct tier *tier = &h->tiers[t];
    size_t at = history_slot_behind(tier, first);
    return at < tier->n && tier->slots[at]->start < end;
}

/* `w` has no slot of its own: does a coarser one have it? That is rounding,
 * and right only if the finer ones have gone, or never were here because all
 * came from a peer. */
static const struct slot *around(const struct history *h, uint64_t w,
                                 enum history_tier *tier)
{
    for (*tier = HISTORY_MINUTE; *tier < HISTORY_TIERS; (*tier)++) {
        enum history_tier finer = *tier - 1;
        uint64_t start = history_align(*tier, w);
        uint64_t end = start + history_span(*tier);
        const struct slot *s = made_slot(h, *tier, start);
        if (s && (w < h->tiers[finer].gone ||
                  !has_slots_within(h, finer, start, end)))
            return s;
    }
    return NULL;
}

static void plan(struct history_reader *r)
{
    const struct history *h = r->history;
    const struct history_question *q = &r->question;
    r->n = 0;
    r->cover = (struct history_cover){0};
    r->version = h->version;
    for (uint64_t w = q->first; w <= q->last;) {
        enum history_tier tier = HISTORY_WINDOW;
        const struct slot *s =
            q->is_fine ? NULL : coarsest_at(h, w, q->last, &tier);
        if (!s) {
            tier = HISTORY_WINDOW;
            s = history_find_slot(h, tier, w);
        }
        if (!s)
            s = around(h, w, &tier);
        /* What was used already must not be met once more in a longer one. */
        if (s && s->start >= r->cover.end) {
            use(r, tier, s);
            w = r->cover.end;
        } else {
            w++;
        }
    }
}

struct history_reader *history_reader_open(const struct history *h,
                                           const struct history_question *q)
{
    struct history_reader *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    assert(q->last - q->first < HISTORY_PLAN_MAX);
    r->history = h;
    r->question = *q;
    plan(r);
    return r;
}

void history_reader_close(struct history_reader *r)
{
    if (!r)
        return;
    for (size_t k = 0; k < SERIES_N; k++)
        hist_fini(&r->cell.series[k]);
    free(r);
}

static void refresh(struct history_reader *r)
{
    if (r->version != r->history->version)
        plan(r);
}

struct history_cover history_covered(struct history_reader *r)
{
    refresh(r);
    return r->cover;
}

/* --- cells -------------------------------------------------------------- */

/* The lines that a question is about, at most all combinations. */
struct lines {
    uint32_t list[PROTOCOL_N * MODE_N];
    size_t n;
};

static struct lines find_lines(const struct history_reader *r, const char *from,
                               const char *to)
{
    const struct history *h = r->history;
    const struct history_question *q = &r->question;
    uint32_t row = texts_find(&h->labels, from);
    uint32_t column = texts_find(&h->labels, to);
    struct lines lines = {.n = 0};
    for (int p = 0; p < PROTOCOL_N; p++) {
        for (int m = 0; m < MODE_N; m++) {
            if ((q->protocol >= 0 && q->protocol != p) ||
                (q->mode >= 0 && q->mode != m))
                continue;
            uint32_t line =
                history_find_line(h, row, column, (unsigned)p, (unsigned)m);
            if (line != LINE_NONE)
                lines.list[lines.n++] = line;
        }
    }
    return lines;
}

static void add_slot(struct history_reader *r, const struct slot *s,
                     const struct lines *lines)
{
    for (size_t i = 0; i < lines->n; i++) {
        const struct record *record = history_record(s, lines->list[i]);
        /* A histogram that overflows is left as it is, and the count of its
         * values is not that of the attempts then. */
        if (record)
            (void)!tally_add(&r->tally, record->data, record->len, s->start);
    }
}

/* The newest window before `end` with an attempt of this line, or 0. */
static uint64_t newest_before(const struct history *h, uint32_t line,
                              uint64_t end)
{
    uint64_t newest = 0;
    for (enum history_tier t = 0; t < HISTORY_TIERS; t++) {
        const struct tier *tier = &h->tiers[t];
        for (size_t i = history_slot_behind(tier, end); i > 0; i--) {
            const struct slot *s = tier->slots[i - 1];
            const struct record *record = history_record(s, line);
            if (!record || s->start + history_span(t) > end)
                continue;
            uint64_t at = tally_newest(record->data, record->len, s->start);
            newest = at > newest ? at : newest;
            break;
        }
    }
    return newest;
}

static uint64_t newest_of(const struct history_reader *r,
                          const struct lines *lines)
{
    uint64_t newest = r->tally.attempts ? r->tally.newest : 0;
    for (size_t i = 0; i < lines->n; i++) {
        uint64_t at = r->history->lines[lines->list[i]].newest;
        if (r->question.is_past && r->tally.attempts > 0)
            continue;
        if (r->question.is_past)
            at =
                newest_before(r->history, lines->list[i], r->question.last + 1);
        newest = at > newest ? at : newest;
    }
    return newest;
}

static void set_state(struct history_reader *r, uint64_t newest,
                      uint64_t now_unix_ns)
{
    struct matrix_cell *c = &r->cell;
    c->state = CELL_UNKNOWN;
    c->age_s = -1;
    if (newest == 0)
        return;
    double end_s = (double)(newest + 1) * FRAME_WINDOW_S;
    double now_s = (double)now_unix_ns / NS_PER_S;
    c->age_s = now_s > end_s ? now_s - end_s : 0;
    if (c->age_s <= MATRIX_STALE_S)
        c->state = CELL_FRESH;
    else if (c->attempts > 0 || c->age_s <= (double)r->question.unknown_s)
        c->state = CELL_STALE;
}

struct matrix_cell *history_read(struct history_reader *r, const char *from,
                                 const char *to, uint64_t now_unix_ns)
{
    refresh(r);
    struct lines lines = find_lines(r, from, to);
    tally_reset(&r->tally);
    for (size_t i = 0; i < r->n && lines.n > 0; i++)
        add_slot(r, r->slots[i], &lines);
    if (tally_read(&r->tally, &r->cell))
        return NULL;
    set_state(r, newest_of(r, &lines), now_unix_ns);
    return &r->cell;
}

static uint64_t slot_span(const struct history *h, const struct slot *s)
{
    enum history_tier t = HISTORY_WINDOW;
    while (t < HISTORY_TEN && history_find_slot(h, t, s->start) != s)
        t++;
    return history_span(t);
}

int history_next_point(struct history_reader *r, uint64_t *at, const char *from,
                       const char *to, const struct matrix_cell **cell,
                       struct history_cover *time)
{
    refresh(r);
    struct lines lines = find_lines(r, from, to);
    for (size_t i = 0; i < r->n && lines.n > 0; i++) {
        const struct slot *s = r->slots[i];
        if (s->start < *at)
            continue;
        uint64_t span = slot_span(r->history, s);
        *at = s->start + span;
        tally_reset(&r->tally);
        add_slot(r, s, &lines);
        if (r->tally.attempts == 0)
            continue;
        *time = (struct history_cover){s->start, s->start + span, span};
        *cell = &r->cell;
        return tally_read(&r->tally, &r->cell) ? ERR_NOMEM : 1;
    }
    return 0;
}

/* --- names -------------------------------------------------------------- */

int history_names(const struct history *h, history_name_fn *row,
                  history_name_fn *column, void *arg)
{
    enum { IS_ROW = 1, IS_COLUMN = 2 };
    uint8_t *roles = calloc(h->labels.size ? h->labels.size : 1, 1);
    int err = roles ? 0 : ERR_NOMEM;
    for (size_t i = 0; i < h->lines_size && !err; i++) {
        if (h->lines[i].records > 0) {
            roles[h->lines[i].from] |= IS_ROW;
            roles[h->lines[i].to] |= IS_COLUMN;
        }
    }
    for (size_t i = 0; i < h->origins.size && !err; i++) {
        const struct text *t = &h->origins.list[i];
        if (t->text && t->mark)
            roles[t->mark >> 32] |= IS_ROW;
    }
    for (size_t i = 0; i < h->labels.size && !err; i++) {
        if (roles[i] & IS_ROW)
            err = row(arg, h->labels.list[i].text);
        if (!err && (roles[i] & IS_COLUMN))
            err = column(arg, h->labels.list[i].text);
    }
    free(roles);
    return err;
}

bool history_knows(const struct history *h, const char *name)
{
    return texts_find(&h->labels, name) != TEXTS_NONE;
}

uint64_t history_reported(const struct history *h, const char *origin)
{
    uint32_t number = texts_find(&h->origins, origin);
    return number == TEXTS_NONE ? 0 : h->origins.list[number].mark & UINT32_MAX;
}
