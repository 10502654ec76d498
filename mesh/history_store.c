/* Where it is kept: lines, and slots with the records of these. */
#include "mesh/history_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"

#define RECORD_COST 16 /* the allocator's share of a record */

static const unsigned spans[HISTORY_TIERS] = {1, 6, 60};
static const unsigned kept[HISTORY_TIERS] = {
    HISTORY_WINDOWS, HISTORY_MINUTES * 6, HISTORY_TENS * 60};

uint64_t history_span(enum history_tier t)
{
    assert(t < HISTORY_TIERS);
    return spans[t];
}

uint64_t history_kept(enum history_tier t)
{
    assert(t < HISTORY_TIERS);
    return kept[t];
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
void history_drop_slot(struct history *h, enum history_tier tier, size_t at)
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
void history_drop_oldest(struct history *h, enum history_tier tier)
{
    struct tier *t = &h->tiers[tier];
    uint64_t end = t->slots[0]->start + spans[tier];
    t->gone = end > t->gone ? end : t->gone;
    history_drop_slot(h, tier, 0);
}

/* Free some records of a dropped slot. Returns true when it is gone. */
bool history_bury(struct history *h, struct slot *s, size_t n)
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
