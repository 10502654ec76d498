/* prober/cli_render.h - samples, summaries and the matrix as text for people.
 *
 * One attempt is a waterfall: a row per phase, its time, its share, and a bar
 * that begins where the one before it ended. Many attempts are a table, one
 * row each, and a summary. The matrix is a table whose cells are coloured by
 * value on a ramp of growing lightness (so that it reads the same with any
 * colour vision, and in grey), with marks in the text for all that is not
 * simply a fresh good measurement. Colour never carries meaning alone.
 *
 * Names, errors and addresses come from outside: every byte that is not
 * printable ASCII is shown as '?', so that no peer can drive the terminal.
 *
 * Pure: text goes to a struct wr, whose sticky error is the result; the width
 * of the terminal and whether it has colours come in as struct render_style.
 */
#ifndef PROBER_CLI_RENDER_H
#define PROBER_CLI_RENDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/matrix.h"
#include "prober/sample.h"
#include "proto/base/buf.h"
#include "proto/hist.h"

/* Zeroed: plain ASCII without limit of width, for pipes and files. */
struct render_style {
    bool is_color;    /* ANSI, 256 colours */
    bool is_basic;    /* of these only the first eight */
    bool is_utf8;     /* bars and micro signs beyond ASCII */
    bool is_screen;   /* a terminal, to be drawn on in place */
    unsigned columns; /* of the terminal; 0: not limited */
    unsigned lines;   /* the same */
};

/* Text from outside: one '?' per code point that is not printable ASCII. */
void render_safe(struct wr *w, const char *text);

/* Three digits and a unit that fits: "812 ns", "81.2 us", "1.24 ms", "12 s";
 * "-" for a negative (absent) value. Rounds half up. Returns `text`. */
#define RENDER_DURATION_SIZE 24
char *render_duration(const struct render_style *style, int64_t ns,
                      char text[RENDER_DURATION_SIZE]);

/* One attempt in full, about ten lines. */
void render_sample(struct wr *w, const struct render_style *style,
                   const struct sample *s, const struct sample_names *names);

/* Many attempts: the heading of the columns, then a line per attempt. `n` is
 * its number, from 1. */
void render_line_head(struct wr *w, const struct render_style *style);
void render_line(struct wr *w, const struct render_style *style,
                 const struct sample *s, uint64_t n);

/* What many attempts came to. */
struct render_summary {
    uint64_t attempts, ok, failed;
    uint64_t local;  /* outcomes that are not the network's fault */
    uint64_t missed; /* slots without an attempt: too many in flight */
    uint64_t outcomes[OUTCOME_N];
    uint64_t retransmits, reconnects, user_clock;
    int64_t lag_max_ns, start_lag_max_ns; /* -1: none known */
    struct hist series[SERIES_N];         /* of ok attempts */
};

void render_summary_init(struct render_summary *m);
void render_summary_fini(struct render_summary *m);
/* Count one sample. Returns 0 or ERR_NOMEM (a histogram could not grow). */
int render_summary_add(struct render_summary *m, const struct sample *s);

/* `protocol` and `mode` are names; elapsed_ns is the time of the whole run.
 * Percentiles are those of hist.h: off by 2.2 % at most, min and max exact. */
void render_summary(struct wr *w, const struct render_style *style,
                    const struct render_summary *m, const char *target,
                    const char *protocol, const char *mode,
                    uint64_t elapsed_ns);

enum render_stat { STAT_P50, STAT_P90, STAT_P99, STAT_MAX, STAT_LOSS };
const char *render_stat_name(enum render_stat stat); /* "p50", ... */
int render_stat_parse(const char *text);             /* -1 if none */

struct render_cell {
    enum matrix_state state;
    double age_s;         /* < 0: unknown */
    uint64_t ok, failed;  /* attempts that counted */
    double trusted_ratio; /* 0..1 */
    double value;         /* ns, or loss 0..1; < 0: none */
};

/* A view of one statistic; all pointers are borrowed. */
struct render_matrix {
    unsigned series; /* enum probe_phase, SERIES_TOTAL, SERIES_SERVER */
    enum render_stat stat;
    const char *level, *protocol, *mode, *answered_by, *generated_at;
    uint64_t window_s;
    uint64_t expected, reporting;
    size_t n_missing;
    const char *const *missing; /* names of origins that are silent */
    size_t n_rows, n_columns;
    const char *const *rows, *const *columns;
    const struct render_cell *cells; /* row by row */
};

/* In front of a matrix that is shown although its node does not answer now.
 * age_ns: of that matrix; -1: there is none. */
void render_no_answer(struct wr *w, const struct render_style *style,
                      const char *why, int64_t age_ns);

void render_matrix(struct wr *w, const struct render_style *style,
                   const struct render_matrix *m);

#endif /* PROBER_CLI_RENDER_H */
