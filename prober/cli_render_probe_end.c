#include "prober/cli_render_probe.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "prober/cli_render_private.h"

static void window_name(char text[RENDER_DURATION_SIZE], uint64_t s)
{
    if (s % 60 == 0)
        snprintf(text, RENDER_DURATION_SIZE, "%" PRIu64 " min", s / 60);
    else
        snprintf(text, RENDER_DURATION_SIZE, "%" PRIu64 " s", s);
}

/* "connect  p50 4.10 ms here, 900 us in the last 15 min  SLOWER: 4.6 x" */
static void compare_line(struct wr *w, const struct render_style *style,
                         const struct cli_board_row *row, unsigned series)
{
    struct cli_board_phase p = cli_board_phase(row, series);
    char window[RENDER_DURATION_SIZE];

    wr_text(w, "  ");
    render_pad_right(w, series_name(series), 9);
    wr_text(w, " p50 ");
    render_pad_duration(w, style, p.p50_ns, 7);
    wr_text(w, ", p99 ");
    render_pad_duration(w, style, p.p99_ns, 7);
    wr_text(w, " here");
    if (row->baseline_s && row->baseline_p50_ns[series] >= 0) {
        window_name(window, row->baseline_s);
        wr_text(w, ", p50 ");
        render_pad_duration(w, style, row->baseline_p50_ns[series], 7);
        wr_printf(w, " in the last %s", window);
    }
    if (cli_board_is_slower(row, series)) {
        wr_text(w, "  ");
        render_color(w, style, RENDER_BAD);
        wr_printf(w, "SLOWER: %.1f x", cli_board_factor(row, series));
        render_color(w, style, RENDER_RESET);
    }
    wr_u8(w, '\n');
}

/* "zone a, node a-1: done, ok 10 of 10" */
static void row_head(struct wr *w, const struct render_style *style,
                     const struct cli_board_row *row, bool is_ours)
{
    bool is_missing = cli_board_is_missing(row, is_ours);

    render_color(w, style, RENDER_BOLD);
    wr_text(w, "zone ");
    render_safe(w, render_or_dash(row->zone));
    wr_text(w, ", node ");
    render_safe(w, render_or_dash(row->node));
    render_color(w, style, RENDER_RESET);
    wr_text(w, ": ");
    if (is_missing)
        render_color(w, style, RENDER_BAD);
    render_safe(w, row->state);
    if (is_missing)
        render_color(w, style, RENDER_RESET);
    if (row->attempts)
        wr_printf(w, ", ok %" PRIu64 " of %" PRIu64, row->ok, row->attempts);
    if (row->missed)
        wr_printf(w, ", missed slots %" PRIu64, row->missed);
    if (row->lost)
        wr_printf(w, ", samples lost %" PRIu64, row->lost);
    if (row->has_phases && row->ok && !row->baseline_s)
        wr_text(w, ", no baseline");
    wr_u8(w, '\n');
}

static void row_end(struct wr *w, const struct render_style *style,
                    const struct cli_board_row *row, bool is_ours)
{
    row_head(w, style, row, is_ours);
    if (row->failed && row->has_last && row->last.outcome != OUTCOME_OK) {
        wr_text(w, "  last: ");
        render_failure(w, style, &row->last);
        wr_u8(w, '\n');
    }
    for (unsigned s = 0; s < SERIES_N; s++) {
        if (cli_board_phase(row, s).count && s != PHASE_LOCAL)
            compare_line(w, style, row, s);
    }
}

/* Who was asked and has not done it. */
static void missing(struct wr *w, const struct render_style *style,
                    const struct cli_board *b, bool is_ours)
{
    size_t n = 0;

    for (size_t i = 0; i < b->n_rows; i++) {
        const struct cli_board_row *row = &b->rows[i];
        if (!cli_board_is_missing(row, is_ours))
            continue;
        if (!n++)
            render_color(w, style, RENDER_BAD);
        wr_text(w, n == 1 ? "MISSING: " : ", ");
        render_safe(w, render_or_dash(row->node));
        wr_text(w, " (zone ");
        render_safe(w, render_or_dash(row->zone));
        wr_text(w, ", ");
        render_safe(w, row->state);
        wr_u8(w, ')');
    }
    if (n) {
        render_color(w, style, RENDER_RESET);
        wr_u8(w, '\n');
    }
}

void render_board_end(struct wr *w, const struct render_style *style,
                      const struct cli_board *b, uint64_t elapsed_ns,
                      bool is_ours)
{
    render_board_title(w, style, b);
    render_board_counts(w, style, b);
    wr_text(w, " in ");
    render_put_duration(w, style, (int64_t)elapsed_ns);
    if (is_ours || b->is_cancelled)
        wr_text(w, ", CANCELLED");
    if (!b->has_summary)
        wr_text(w, ", without the node's summary");
    wr_u8(w, '\n');
    for (unsigned o = OUTCOME_OK + 1; o < OUTCOME_N; o++) {
        if (b->outcomes[o])
            wr_printf(w, "  %-20s %" PRIu64 "\n", outcome_name(o),
                      b->outcomes[o]);
    }
    missing(w, style, b, is_ours);
    for (size_t i = 0; i < b->n_rows; i++) {
        wr_u8(w, '\n');
        row_end(w, style, &b->rows[i], is_ours);
    }
}
