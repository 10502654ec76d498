/* Parts of slots, for peers. */
#include "mesh/history_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

/* --- writing ------------------------------------------------------------ */

static const enum history_tier order[] = {HISTORY_MINUTE, HISTORY_TEN};
#define STEPS (sizeof(order) / sizeof(order[0]))

/* The slot that the walk stands at, the next older one if that has gone. NULL:
 * none is left. */
static const struct slot *slot_at(const struct history *h,
                                  struct history_cursor *c)
{
    for (; c->step < STEPS; c->step++) {
        const struct tier *t = &h->tiers[order[c->step]];
        size_t end = c->is_begun ? history_slot_behind(t, c->start + 1) : t->n;
        while (end > 0 && !t->slots[end - 1]->is_made)
            end--;
        if (end > 0) {
            const struct slot *s = t->slots[end - 1];
            if (!c->is_begun || c->start != s->start)
                c->line = 0;
            c->start = s->start;
            c->is_begun = true;
            return s;
        }
        c->is_begun = false;
    }
    return NULL;
}

/* A part in the making: its names and its cells. */
struct part {
    uint32_t names[HISTORY_PART_NAMES]; /* labels */
    size_t n_names, n_cells;
    struct wr cells;
};

static size_t name_of(struct part *p, uint32_t label)
{
    size_t i = 0;
    while (i < p->n_names && p->names[i] != label)
        i++;
    if (i == p->n_names)
        p->names[p->n_names++] = label;
    return i;
}

static void put_cell(const struct history *h, struct part *p, uint32_t line,
                     const struct record *r)
{
    const struct line *l = &h->lines[line];
    wr_varint(&p->cells, name_of(p, l->from));
    wr_varint(&p->cells, name_of(p, l->to));
    wr_varint(&p->cells, l->protocol);
    wr_varint(&p->cells, l->mode);
    wr_varint(&p->cells, r->len);
    wr_bytes(&p->cells, r->data, r->len);
    p->n_cells++;
}

static void put_part(const struct history *h, const struct slot *s,
                     enum history_tier tier, struct part *p, struct wr *w)
{
    wr_varint(w, HISTORY_PART_VERSION);
    wr_varint(w, tier);
    wr_varint(w, s->start);
    wr_varint(w, s->first);
    wr_varint(w, p->n_names);
    for (size_t i = 0; i < p->n_names; i++) {
        const char *name = texts_get(&h->labels, p->names[i]);
        wr_varint(w, strlen(name));
        wr_text(w, name);
    }
    wr_varint(w, p->n_cells);
    wr_bytes(w, p->cells.data, p->cells.len);
    if (wr_err(&p->cells) && !w->err)
        w->err = wr_err(&p->cells);
}

/* Cells of the slot from c->line on. */
static void collect(const struct history *h, const struct slot *s,
                    struct history_cursor *c, size_t bytes, struct part *p)
{
    for (; c->line < s->size; c->line++) {
        const struct record *r = s->records[c->line];
        if (!r)
            continue;
        if (p->n_cells > 0 && (p->cells.len + r->len > bytes ||
                               p->n_names + 2 > HISTORY_PART_NAMES ||
                               p->n_cells == HISTORY_PART_CELLS))
            return;
        put_cell(h, p, c->line, r);
    }
}

int history_next_part(const struct history *h, struct history_cursor *c,
                      size_t bytes, struct wr *w)
{
    const struct slot *s = slot_at(h, c);
    while (s) {
        enum history_tier tier = order[c->step];
        struct part p = {.n_cells = 0};
        wr_init_grow(&p.cells, HISTORY_PART_MAX);
        collect(h, s, c,
                bytes < HISTORY_PART_MAX / 2 ? bytes : HISTORY_PART_MAX / 2,
                &p);
        if (p.n_cells > 0)
            put_part(h, s, tier, &p, w);
        wr_fini(&p.cells);
        if (c->line >= s->size) { /* on to the one before */
            c->line = 0;
            if (c->start == 0)
                c->step++;
            c->is_begun = c->start != 0;
            c->start -= c->start != 0;
        }
        if (p.n_cells > 0)
            return wr_err(w) ? wr_err(w) : 1;
        s = slot_at(h, c);
    }
    return 0;
}

bool history_narrow(struct history_cursor *c, uint64_t first, uint64_t last)
{
    for (; c->step < STEPS; *c = (struct history_cursor){.step = c->step + 1}) {
        uint64_t newest = history_align(order[c->step], last);
        if (!c->is_begun || c->start > newest)
            *c = (struct history_cursor){
                .step = c->step, .start = newest, .is_begun = true};
        if (c->start + history_span(order[c->step]) > first)
            return true;
    }
    return false;
}

/* --- reading ------------------------------------------------------------ */

struct taken {
    struct history *history;
    enum history_tier tier;
    uint64_t start, first;
    size_t n_names;
    char names[HISTORY_PART_NAMES][FRAME_NAME_MAX + 1];
    struct slot *slot; /* NULL while only checking, and without memory */
    bool is_checking;
};

static void read_name(struct rd *r, char out[FRAME_NAME_MAX + 1])
{
    uint64_t len = rd_varint(r);
    if (len == 0 || len > FRAME_NAME_MAX)
        rd_fail(r, ERR_BAD);
    const uint8_t *text = rd_bytes(r, rd_err(r) ? 0 : (size_t)len);
    if (!text)
        return;
    if (memchr(text, '\0', (size_t)len)) {
        rd_fail(r, ERR_BAD);
        return;
    }
    memcpy(out, text, (size_t)len);
    out[len] = '\0';
}

static void read_head(struct taken *t, struct rd *r)
{
    if (rd_varint(r) != HISTORY_PART_VERSION)
        rd_fail(r, ERR_BAD);
    uint64_t tier = rd_varint(r);
    if (tier != HISTORY_MINUTE && tier != HISTORY_TEN)
        rd_fail(r, ERR_BAD);
    t->start = rd_varint(r);
    t->first = rd_varint(r);
    t->n_names = (size_t)rd_varint(r);
    if (t->n_names > HISTORY_PART_NAMES)
        rd_fail(r, ERR_TOOBIG);
    if (rd_err(r))
        return;
    t->tier = (enum history_tier)tier;
    uint64_t span = history_span(t->tier);
    if (t->start % span || t->start > UINT32_MAX || t->first < t->start ||
        t->first - t->start >= span)
        rd_fail(r, ERR_BAD);
    for (size_t i = 0; i < t->n_names && !rd_err(r); i++)
        read_name(r, t->names[i]);
}

/* Is our record of this cell at least as good? Of two with as many attempts,
 * the order of bytes decides, so that nodes agree. */
static bool is_better(const struct record *ours, const uint8_t *data,
                      size_t len)
{
    uint64_t here = tally_attempts(ours->data, ours->len);
    uint64_t there = tally_attempts(data, len);
    if (here != there)
        return there > here;
    size_t n = len < ours->len ? len : ours->len;
    int c = memcmp(data, ours->data, n);
    return c != 0 ? c > 0 : len > ours->len;
}

static void take_record(struct taken *t, size_t from, size_t to,
                        unsigned protocol, unsigned mode, const uint8_t *data,
                        size_t len)
{
    struct history *h = t->history;
    uint32_t row;
    uint32_t column;
    if (texts_take(&h->labels, t->names[from], &row)) {
        h->stats.dropped++;
        return;
    }
    if (texts_take(&h->labels, t->names[to], &column)) {
        texts_give(&h->labels, row);
        h->stats.dropped++;
        return;
    }
    uint32_t line = history_open_line(h, row, column, protocol, mode);
    if (line != LINE_NONE) {
        const struct record *ours = history_record(t->slot, line);
        tally_reset(&h->tally);
        int err = 0;
        if (!ours || is_better(ours, data, len)) {
            err = tally_add(&h->tally, data, len, t->start);
            if (!err)
                err = history_put_record(h, t->tier, t->slot, line);
        }
        h->stats.dropped += err != 0;
        history_close_line(h, line);
    } else {
        h->stats.dropped++;
    }
    texts_give(&h->labels, row);
    texts_give(&h->labels, column);
}

static void read_cell(struct taken *t, struct rd *r)
{
    uint64_t from = rd_varint(r);
    uint64_t to = rd_varint(r);
    uint64_t protocol = rd_varint(r);
    uint64_t mode = rd_varint(r);
    uint64_t len = rd_varint(r);
    if (from >= t->n_names || to >= t->n_names)
        rd_fail(r, ERR_BAD);
    if (len > TALLY_RECORD_MAX)
        rd_fail(r, ERR_TOOBIG);
    const uint8_t *data = rd_bytes(r, rd_err(r) ? 0 : (size_t)len);
    if (rd_err(r))
        return;
    /* Newer versions may know more of these than we. */
    if (protocol >= PROTOCOL_N || mode >= MODE_N)
        return;
    if (t->is_checking) {
        int err = tally_check(data, (size_t)len, history_span(t->tier));
        if (err)
            rd_fail(r, err);
    } else {
        take_record(t, (size_t)from, (size_t)to, (unsigned)protocol,
                    (unsigned)mode, data, (size_t)len);
    }
}

static int read_part(struct taken *t, const void *data, size_t len)
{
    struct rd r;
    rd_init(&r, data, len);
    read_head(t, &r);
    uint64_t n = rd_varint(&r);
    if (n > HISTORY_PART_CELLS)
        rd_fail(&r, ERR_TOOBIG);
    for (; n > 0 && !rd_err(&r); n--)
        read_cell(t, &r);
    return rd_end(&r);
}

/* May a peer tell us of this time? Not where frames can still come, nor where
 * we have yet to make the slot ourselves. */
static bool is_wanted(const struct history *h, const struct taken *t)
{
    uint64_t end = t->start + history_span(t->tier);
    const struct tier *tier = &h->tiers[t->tier];
    if (h->making && h->making_tier == t->tier && h->making->start == t->start)
        return false;
    return end + HISTORY_WINDOWS <= h->now && end <= tier->next &&
           t->start >= tier->gone && end + history_kept(t->tier) > h->now;
}

int history_take_part(struct history *h, const void *data, size_t len)
{
    if (len > HISTORY_PART_MAX)
        return ERR_TOOBIG;
    struct taken *t = calloc(1, sizeof(*t));
    if (!t)
        return ERR_NOMEM;
    t->history = h;
    t->is_checking = true;
    int err = read_part(t, data, len);
    if (err || !is_wanted(h, t))
        goto out;
    bool is_new = !history_find_slot(h, t->tier, t->start);
    t->slot = history_open_slot(h, t->tier, t->start);
    if (!t->slot) {
        err = ERR_NOMEM;
        goto out;
    }
    if (is_new || t->first < t->slot->first)
        t->slot->first = t->first;
    t->slot->is_made = true;
    t->is_checking = false;
    err = read_part(t, data, len);
    assert(!err);
out:
    free(t);
    return err;
}
