/* The families with labels source_zone and destination_zone.
 *
 * Each is a sequence of rows (a zone, protocol, mode and, for histograms, a
 * series), each row a sequence of lines. Lines are written one at a time,
 * because a row can be longer than what a slice has left. */
#include <assert.h>
#include <string.h>

#include "prober/metrics_private.h"

#define CELLS ((size_t)PROTOCOL_N * MODE_N)

enum kind { KIND_OUTCOMES, KIND_NUMBER, KIND_SERIES };

static const struct pair_family {
    struct metrics_family f;
    enum kind kind;
    size_t offset;          /* in struct totals_cell, of a number */
    unsigned first, series; /* series of the cell: the first, how many */
} families[] = {
    {{"prober_attempts", METRICS_COUNTER, NULL,
      "Scheduled attempts that have ended, by outcome."},
     KIND_OUTCOMES,
     0,
     0,
     1},
    {{"prober_retransmits", METRICS_COUNTER, NULL,
      "TCP segments sent again during attempts, SYNs included."},
     KIND_NUMBER,
     offsetof(struct totals_cell, retransmits),
     0,
     1},
    {{"prober_reconnects", METRICS_COUNTER, NULL,
      "Warm attempts that had to make a new connection."},
     KIND_NUMBER,
     offsetof(struct totals_cell, reconnects),
     0,
     1},
    {{"prober_user_clock_attempts", METRICS_COUNTER, NULL,
      "Attempts with an edge that the kernel did not stamp."},
     KIND_NUMBER,
     offsetof(struct totals_cell, user_clock),
     0,
     1},
    {{"prober_phase_duration_seconds", METRICS_HISTOGRAM, "seconds",
      "Time spent in each phase of ok attempts; phases do not overlap."},
     KIND_SERIES,
     0,
     0,
     PHASE_N},
    {{"prober_attempt_duration_seconds", METRICS_HISTOGRAM, "seconds",
      "Whole time of ok attempts, the sum of their phases."},
     KIND_SERIES,
     0,
     SERIES_TOTAL,
     1},
    {{"prober_server_duration_seconds", METRICS_HISTOGRAM, "seconds",
      "What the responder says it spent on the requests of ok attempts."},
     KIND_SERIES,
     0,
     SERIES_SERVER,
     1},
};
#define FAMILIES (sizeof(families) / sizeof(families[0]))

void metrics_pairs_init(struct metrics_pairs *p, const struct totals *totals,
                        const char *source_zone, unsigned per_octave,
                        bool is_openmetrics)
{
    assert(per_octave > 0 && TOTALS_PER_OCTAVE % per_octave == 0);
    *p = (struct metrics_pairs){
        .source_zone = source_zone,
        .totals = totals,
        .is_openmetrics = is_openmetrics,
        .step = TOTALS_PER_OCTAVE / per_octave,
        .n_zones = totals_zones(totals),
    };
    for (size_t i = 0; i < p->n_zones; i++)
        p->generations[i] = totals_zone(totals, i)->generation;
}

/* ---- rows ---- */

/* Everything up to the labels that the lines of a row differ in. */
static void put_prefix(struct metrics_pairs *p, const struct pair_family *f,
                       const char *zone, unsigned protocol, unsigned mode,
                       unsigned series)
{
    struct wr w;
    wr_init_fixed(&w, p->prefix, sizeof(p->prefix));
    wr_u8(&w, '{');
    metrics_put_label(&w, "source_zone", p->source_zone);
    wr_u8(&w, ',');
    metrics_put_label(&w, "destination_zone", zone);
    wr_text(&w, ",protocol=\"");
    wr_text(&w, protocol_name((enum probe_protocol)protocol));
    wr_text(&w, "\",mode=\"");
    wr_text(&w, mode_name((enum probe_mode)mode));
    wr_u8(&w, '"');
    if (f->series > 1) {
        wr_text(&w, ",phase=\"");
        wr_text(&w, series_name(series));
        wr_u8(&w, '"');
    }
    assert(!wr_err(&w)); /* two labels of 384 bytes, all escaped, fit */
    p->prefix_len = w.len;
}

/* Copy what the present row shows. False: there is nothing of that kind. */
static bool take_row(struct metrics_pairs *p, const struct pair_family *f)
{
    size_t place = p->row / (CELLS * f->series);
    unsigned in_zone = (unsigned)(p->row % (CELLS * f->series));
    unsigned series = f->first + in_zone % f->series;
    unsigned mode = in_zone / f->series % MODE_N;
    unsigned protocol = in_zone / f->series / MODE_N;
    const struct totals_zone *z = totals_zone(p->totals, place);
    const struct totals_cell *c = z->cells[protocol][mode];
    if (z->generation != p->generations[place] || !c)
        return false;
    if (f->kind == KIND_SERIES && !c->series[series])
        return false;
    if (f->kind == KIND_SERIES)
        p->hist = *c->series[series];
    else
        p->cell = *c;
    p->protocol = protocol;
    p->below = 0;
    put_prefix(p, f, z->label, protocol, mode, series);
    return true;
}

/* ---- lines ---- */

static void put_start(struct wr *w, const struct metrics_pairs *p,
                      const struct pair_family *f, const char *suffix)
{
    metrics_put_name(w, &f->f);
    wr_text(w, suffix);
    wr_bytes(w, p->prefix, p->prefix_len);
}

/* All outcomes are there from the first attempt on, since a rate begins with
 * the second value of a series; but not those of the other protocol. */
static bool is_possible(const struct metrics_pairs *p, unsigned outcome)
{
    const char *name = outcome_name((enum probe_outcome)outcome);
    if (p->cell.outcomes[outcome] > 0)
        return true;
    if (p->protocol == PROTOCOL_HTTP1)
        return strncmp(name, "grpc_", 5) != 0 && strncmp(name, "h2_", 3) != 0;
    return strncmp(name, "http_", 5) != 0;
}

static unsigned outcome_line(struct metrics_pairs *p,
                             const struct pair_family *f, struct wr *w)
{
    unsigned o = p->line;
    if (is_possible(p, o)) {
        put_start(w, p, f, "");
        wr_text(w, ",outcome=\"");
        wr_text(w, outcome_name((enum probe_outcome)o));
        wr_text(w, "\"} ");
        metrics_put_u64(w, p->cell.outcomes[o]);
        wr_u8(w, '\n');
    }
    return o + 1 < OUTCOME_N ? o + 1 : 0;
}

static unsigned number_line(struct metrics_pairs *p,
                            const struct pair_family *f, struct wr *w)
{
    uint64_t v;
    memcpy(&v, (const char *)&p->cell + f->offset, sizeof(v));
    put_start(w, p, f, "");
    wr_text(w, "} ");
    metrics_put_u64(w, v);
    wr_u8(w, '\n');
    return 0;
}

static void put_rest(const struct metrics_pairs *p, const struct pair_family *f,
                     struct wr *w)
{
    put_start(w, p, f, "_bucket");
    wr_text(w, ",le=\"+Inf\"} ");
    metrics_put_u64(w, p->hist.count);
    wr_u8(w, '\n');
    put_start(w, p, f, "_count");
    wr_text(w, "} ");
    metrics_put_u64(w, p->hist.count);
    wr_u8(w, '\n');
    put_start(w, p, f, "_sum");
    wr_text(w, "} ");
    metrics_put_seconds(w, p->hist.sum_ns);
    wr_u8(w, '\n');
}

/* Lines are numbered by bounds; the last line, which is three, has none. */
static unsigned series_line(struct metrics_pairs *p,
                            const struct pair_family *f, struct wr *w)
{
    unsigned bound = p->line;
    if (bound >= TOTALS_BOUNDS) {
        put_rest(p, f, w);
        return 0;
    }
    /* What lies between the bound before and this one. */
    unsigned from = bound > 0 ? bound - p->step + 1 : 0;
    for (unsigned i = from; i <= bound; i++)
        p->below += p->hist.buckets[i];
    put_start(w, p, f, "_bucket");
    wr_text(w, ",le=\"");
    metrics_put_seconds(w, totals_bound_ns(bound));
    wr_text(w, "\"} ");
    metrics_put_u64(w, p->below);
    wr_u8(w, '\n');
    return bound + p->step;
}

/* The next line of the row; returns the number of the one after it, or 0. */
static unsigned put_line(struct metrics_pairs *p, const struct pair_family *f,
                         struct wr *w)
{
    switch (f->kind) {
    case KIND_OUTCOMES:
        return outcome_line(p, f, w);
    case KIND_NUMBER:
        return number_line(p, f, w);
    case KIND_SERIES:
        return series_line(p, f, w);
    }
    return 0;
}

/* The rest of the present row. Returns 1 when the slice is full. */
static int put_row(struct metrics_pairs *p, const struct pair_family *f,
                   struct wr *w)
{
    if (p->line == 0 && !take_row(p, f))
        return 0;
    do {
        if (httpd_slice_is_full(w))
            return 1;
        if (!p->has_head)
            metrics_put_family(w, p->is_openmetrics, &f->f);
        p->has_head = true;
        p->line = put_line(p, f, w);
    } while (p->line > 0);
    return 0;
}

int metrics_pairs_write(struct metrics_pairs *p, struct wr *w)
{
    for (; p->family < FAMILIES; p->family++) {
        const struct pair_family *f = &families[p->family];
        for (; p->row < p->n_zones * CELLS * f->series; p->row++) {
            if (put_row(p, f, w))
                return 1;
        }
        p->row = 0;
        p->has_head = false;
    }
    return 0;
}
