#include "prober/totals.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/stamp.h"
#include "proto/hist.h"
#include "proto/utf8.h"

/* Bound 0 is 2^-16 s, four octaves above the lower end of hist.h's range; its
 * bucket i ends at 2^((i + 1) / 16 - 20) s. */
#define HIST_PER_OCTAVE 16
#define FIRST_BUCKET    (4 * HIST_PER_OCTAVE - 1)
#define BUCKET_STEP     (HIST_PER_OCTAVE / TOTALS_PER_OCTAVE)

_Static_assert(HIST_SCHEMA == 4, "sixteen buckets per octave");
_Static_assert(FIRST_BUCKET + (TOTALS_BOUNDS - 1) * BUCKET_STEP < HIST_BUCKETS,
               "the last bound is one of theirs");

struct totals {
    size_t n;
    struct totals_zone *zones[TOTALS_ZONES_MAX];
    struct totals_left_out left_out;
};

struct totals *totals_open(void)
{
    return calloc(1, sizeof(struct totals));
}

static void free_cell(struct totals_cell *c)
{
    if (!c)
        return;
    for (unsigned i = 0; i < SERIES_N; i++)
        free(c->series[i]);
    free(c);
}

static void free_cells(struct totals_zone *z)
{
    for (unsigned p = 0; p < PROTOCOL_N; p++) {
        for (unsigned m = 0; m < MODE_N; m++) {
            free_cell(z->cells[p][m]);
            z->cells[p][m] = NULL;
        }
    }
}

void totals_close(struct totals *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++) {
        free_cells(t->zones[i]);
        free(t->zones[i]);
    }
    free(t);
}

/* ---- places ---- */

static struct totals_zone *find_zone(const struct totals *t, const char *label)
{
    for (size_t i = 0; i < t->n; i++) {
        if (strcmp(t->zones[i]->label, label) == 0)
            return t->zones[i];
    }
    return NULL;
}

/* The place that was idle for longest, if that is long enough. */
static struct totals_zone *find_idle(const struct totals *t, uint64_t now_ns)
{
    struct totals_zone *idle = t->zones[0];
    for (size_t i = 1; i < t->n; i++) {
        if (t->zones[i]->sampled_ns < idle->sampled_ns)
            idle = t->zones[i];
    }
    bool is_idle = now_ns > idle->sampled_ns &&
                   now_ns - idle->sampled_ns >= TOTALS_IDLE_NS;
    return is_idle ? idle : NULL;
}

static int add_zone(struct totals *t, const char *label, uint64_t now_ns,
                    struct totals_zone **out)
{
    struct totals_zone *z;
    if (t->n < TOTALS_ZONES_MAX) {
        z = calloc(1, sizeof(*z));
        if (!z)
            return ERR_NOMEM;
        t->zones[t->n++] = z;
    } else {
        z = find_idle(t, now_ns);
        if (!z)
            return ERR_TOOBIG;
        free_cells(z);
        z->generation++;
    }
    memcpy(z->label, label, strlen(label) + 1);
    z->sampled_ns = now_ns;
    *out = z;
    return 0;
}

/* ---- counting ---- */

static unsigned bucket_of(uint64_t ns)
{
    unsigned theirs = ns > 0 ? hist_index(ns) : 0;
    if (theirs <= FIRST_BUCKET)
        return 0;
    unsigned ours = (theirs - FIRST_BUCKET + BUCKET_STEP - 1) / BUCKET_STEP;
    return ours < TOTALS_BOUNDS ? ours : TOTALS_BOUNDS;
}

static int64_t value_of(const struct sample *s, unsigned series)
{
    if (series < PHASE_N)
        return s->phases_ns[series];
    return series == SERIES_TOTAL ? s->total_ns : s->server_ns;
}

/* All that this sample is going to need, so that counting cannot fail half
 * way. A cell that stays empty does no harm. */
static int prepare_cell(struct totals_zone *z, const struct sample *s,
                        struct totals_cell **out)
{
    struct totals_cell **place = &z->cells[s->protocol][s->mode];
    if (!*place)
        *place = calloc(1, sizeof(**place));
    if (!*place)
        return ERR_NOMEM;
    for (unsigned i = 0; s->outcome == OUTCOME_OK && i < SERIES_N; i++) {
        struct totals_hist **series = &(*place)->series[i];
        if (value_of(s, i) < 0 || *series)
            continue;
        *series = calloc(1, sizeof(**series));
        if (!*series)
            return ERR_NOMEM;
    }
    *out = *place;
    return 0;
}

static void count_sample(struct totals_cell *c, const struct sample *s)
{
    c->outcomes[s->outcome]++;
    c->reconnects += s->is_reconnected;
    c->user_clock += s->clock == STAMP_USER;
    if (s->retransmits > 0)
        c->retransmits += (uint64_t)s->retransmits;
    for (unsigned i = 0; s->outcome == OUTCOME_OK && i < SERIES_N; i++) {
        int64_t ns = value_of(s, i);
        if (ns < 0)
            continue;
        struct totals_hist *h = c->series[i];
        h->count++;
        /* `server` is what the other side says, and it may say anything. */
        if (__builtin_add_overflow(h->sum_ns, (uint64_t)ns, &h->sum_ns))
            h->sum_ns = UINT64_MAX;
        h->buckets[bucket_of((uint64_t)ns)]++;
    }
}

static int leave_out(struct totals *t, int err)
{
    if (err == ERR_BAD)
        t->left_out.unknown_target++;
    else if (err == ERR_TOOBIG)
        t->left_out.zones++;
    else
        t->left_out.memory++;
    return err;
}

int totals_add(struct totals *t, const char *zone, const struct sample *s,
               uint64_t now_ns)
{
    char label[TOTALS_LABEL_SIZE];
    struct totals_cell *c;
    int err = 0;
    if (s->job != 0)
        return 0;
    if (!zone || s->protocol >= PROTOCOL_N || s->mode >= MODE_N ||
        s->outcome >= OUTCOME_N)
        return leave_out(t, ERR_BAD);
    utf8_clean(label, sizeof(label), zone);
    struct totals_zone *z = find_zone(t, label);
    if (!z)
        err = add_zone(t, label, now_ns, &z);
    if (!err)
        err = prepare_cell(z, s, &c);
    if (err)
        return leave_out(t, err);
    z->sampled_ns = now_ns;
    count_sample(c, s);
    return 0;
}

/* ---- reading ---- */

const struct totals_left_out *totals_left_out(const struct totals *t)
{
    return &t->left_out;
}

size_t totals_zones(const struct totals *t)
{
    return t->n;
}

const struct totals_zone *totals_zone(const struct totals *t, size_t i)
{
    assert(i < t->n);
    return t->zones[i];
}

uint64_t totals_bound_ns(unsigned i)
{
    assert(i < TOTALS_BOUNDS);
    return hist_bound_ns(FIRST_BUCKET + i * BUCKET_STEP);
}

static void check_cell(const struct totals_cell *c)
{
    for (unsigned i = 0; i < SERIES_N; i++) {
        const struct totals_hist *h = c->series[i];
        uint64_t sum = 0;
        for (unsigned b = 0; h && b <= TOTALS_BOUNDS; b++)
            sum += h->buckets[b];
        assert(!h || sum == h->count);
        assert(!h || h->count <= c->outcomes[OUTCOME_OK]);
    }
}

void totals_check(const struct totals *t)
{
    assert(t->n <= TOTALS_ZONES_MAX);
    for (size_t i = 0; i < t->n; i++) {
        const struct totals_zone *z = t->zones[i];
        assert(find_zone(t, z->label) == z);
        for (unsigned p = 0; p < PROTOCOL_N; p++) {
            for (unsigned m = 0; m < MODE_N; m++) {
                if (z->cells[p][m])
                    check_cell(z->cells[p][m]);
            }
        }
    }
}
