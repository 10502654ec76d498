#include "prober/cli_render_probe.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "prober/cli_render_private.h"

#define NS_PER_S        1000000000
#define NAME_COLUMNS    20 /* of zones and nodes, at most */
#define STATE_COLUMNS   12
#define NUMBER_COLUMNS  7
#define TIME_COLUMNS    9
#define COLUMNS_DEFAULT 100
#define BAR_MIN         8
#define BAR_MAX         60
#define LINES_AROUND    9 /* of the live table's title and legend */

/* What a bar is made of. */
static const char letters[PHASE_N] = {
    [PHASE_DNS] = 'd',  [PHASE_CONNECT] = 'c',  [PHASE_TLS] = 't',
    [PHASE_TTFB] = 'f', [PHASE_TRANSFER] = 'x', [PHASE_LOCAL] = ':'};

/* The series of which the table has a column. */
static const unsigned shown[] = {PHASE_CONNECT, PHASE_TLS, PHASE_TTFB,
                                 SERIES_TOTAL};

#define SHOWN_N (sizeof shown / sizeof shown[0])

struct widths {
    size_t zone, node, state;
    size_t bar; /* 0: there is no room for one */
};

const char *render_or_dash(const char *text)
{
    return text[0] ? text : "-";
}

static void put_name(struct wr *w, const char *name, size_t columns)
{
    char text[RENDER_NAME_MAX + 1];

    render_pad_right(
        w, render_short_name(render_or_dash(name), NAME_COLUMNS, text),
        columns);
}

static void put_number(struct wr *w, uint64_t n, size_t columns)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, n);
    render_pad_left(w, text, columns);
}

static size_t name_width(const char *name, size_t least)
{
    char text[RENDER_NAME_MAX + 1];
    size_t n =
        strlen(render_short_name(render_or_dash(name), NAME_COLUMNS, text));

    return n > least ? n : least;
}

static size_t state_width(const char *state, size_t least)
{
    char text[RENDER_NAME_MAX + 1];
    size_t n = strlen(render_short_name(state, STATE_COLUMNS, text));

    return n > least ? n : least;
}

static struct widths measure(const struct render_style *style,
                             const struct cli_board *b)
{
    struct widths v = {.zone = 4, .node = 4, .state = 7};
    size_t columns = style->columns ? style->columns : COLUMNS_DEFAULT;

    for (size_t i = 0; i < b->n_rows; i++) {
        v.zone = name_width(b->rows[i].zone, v.zone);
        v.node = name_width(b->rows[i].node, v.node);
        v.state = state_width(b->rows[i].state, v.state);
    }
    size_t left = v.zone + v.node + v.state + 6 + 2 * NUMBER_COLUMNS +
                  SHOWN_N * (TIME_COLUMNS + 1) + 1;
    if (columns >= left + BAR_MIN)
        v.bar = columns - left < BAR_MAX ? columns - left : BAR_MAX;
    return v;
}

/* ---- the title ---- */

void render_board_title(struct wr *w, const struct render_style *style,
                        const struct cli_board *b)
{
    char text[RENDER_DURATION_SIZE];

    render_color(w, style, RENDER_BOLD);
    render_safe(w, b->target);
    render_color(w, style, RENDER_RESET);
    wr_text(w, " from ");
    render_safe(w, b->from);
    wr_printf(w, ", %s %s, ", b->protocol, b->mode);
    if (b->count == 1)
        wr_text(w, "once");
    else
        wr_printf(w, "%" PRIu64 " every %s", b->count,
                  render_duration(style, (int64_t)b->interval_ns, text));
    wr_u8(w, '\n');
}

void render_board_counts(struct wr *w, const struct render_style *style,
                         const struct cli_board *b)
{
    uint64_t judged = b->ok + b->failed;

    wr_printf(w, "%" PRIu64 " attempt%s, ok %" PRIu64 ", ", b->attempts,
              b->attempts == 1 ? "" : "s", b->ok);
    if (b->failed)
        render_color(w, style, RENDER_BAD);
    wr_printf(w, "failed %" PRIu64, b->failed);
    if (judged)
        wr_printf(w, " (%.4g%%)", 100 * (double)b->failed / (double)judged);
    if (b->failed)
        render_color(w, style, RENDER_RESET);
    if (b->missed)
        wr_printf(w, ", missed slots %" PRIu64, b->missed);
    if (b->lost)
        wr_printf(w, ", samples lost on the way here %" PRIu64, b->lost);
}

/* ---- bars ---- */

static int64_t longest_ns(const struct cli_board *b)
{
    int64_t longest = 0;

    for (size_t i = 0; i < b->n_rows; i++) {
        const struct sample *s = &b->rows[i].last;
        int64_t ns = b->rows[i].has_last ? sample_sum_ns(s) : 0;
        longest = ns > longest ? ns : longest;
    }
    return longest;
}

/* The phases one after the other, `local`, which lies between them, last. */
static void bar(struct wr *w, const struct render_style *style,
                const struct sample *s, int64_t whole_ns, size_t columns)
{
    int64_t end_ns = 0;
    size_t at = 0;

    for (unsigned p = 0; p < PHASE_N; p++) {
        if (s->phases_ns[p] <= 0 || whole_ns <= 0)
            continue;
        end_ns += s->phases_ns[p];
        double share = (double)end_ns / (double)whole_ns;
        size_t to = (size_t)(share * (double)columns + 0.5);
        if (to <= at)
            continue;
        render_phase_color(w, style, p);
        for (; at < to; at++)
            wr_u8(w, (uint8_t)letters[p]);
        render_color(w, style, RENDER_RESET);
    }
    if (!at)
        wr_u8(w, '|'); /* too short for a column, but it did happen */
}

static void last_attempt(struct wr *w, const struct render_style *style,
                         const struct cli_board_row *row, int64_t whole_ns,
                         size_t columns)
{
    const struct sample *s = &row->last;

    if (!row->has_last || !columns)
        return;
    wr_text(w, "  ");
    if (s->outcome == OUTCOME_OK) {
        bar(w, style, s, whole_ns, columns);
        return;
    }
    render_color(w, style, RENDER_BAD);
    wr_printf(w, "x %s", outcome_name(s->outcome));
    render_color(w, style, RENDER_RESET);
    if (s->failed_phase >= 0)
        wr_printf(w, " in %s", series_name((unsigned)s->failed_phase));
}

static void legend(struct wr *w, const struct render_style *style,
                   const struct cli_board *b)
{
    int64_t whole_ns = longest_ns(b);

    if (whole_ns <= 0)
        return;
    wr_text(w, "LAST ");
    for (unsigned p = 0; p < PHASE_N; p++) {
        wr_u8(w, ' ');
        render_phase_color(w, style, p);
        wr_u8(w, (uint8_t)letters[p]);
        render_color(w, style, RENDER_RESET);
        wr_printf(w, " %s", series_name(p));
    }
    wr_text(w, ", the longest ");
    render_put_duration(w, style, whole_ns);
    wr_u8(w, '\n');
}

/* ---- the live table ---- */

static bool is_in_trouble(const struct cli_board_row *row)
{
    return row->failed ||
           (strcmp(row->state, "running") != 0 && strcmp(row->state, "done"));
}

static void put_state(struct wr *w, const struct render_style *style,
                      const struct cli_board_row *row, size_t columns)
{
    char text[RENDER_NAME_MAX + 1];
    bool is_bad =
        strcmp(row->state, "running") != 0 && strcmp(row->state, "done");

    if (is_bad)
        render_color(w, style, RENDER_BAD);
    render_pad_right(w, render_short_name(row->state, STATE_COLUMNS, text),
                     columns);
    if (is_bad)
        render_color(w, style, RENDER_RESET);
}

static void table_row(struct wr *w, const struct render_style *style,
                      const struct widths *v, const struct cli_board_row *row,
                      int64_t whole_ns)
{
    put_name(w, row->zone, v->zone + 2);
    put_name(w, row->node, v->node + 2);
    put_state(w, style, row, v->state);
    put_number(w, row->ok, NUMBER_COLUMNS);
    if (row->failed)
        render_color(w, style, RENDER_BAD);
    put_number(w, row->failed, NUMBER_COLUMNS + 1);
    if (row->failed)
        render_color(w, style, RENDER_RESET);
    for (size_t i = 0; i < SHOWN_N; i++) {
        struct cli_board_phase p = cli_board_phase(row, shown[i]);
        render_pad_duration(w, style, p.count ? p.p50_ns : -1,
                            TIME_COLUMNS + 1);
    }
    last_attempt(w, style, row, whole_ns, v->bar);
    render_end_line(w, style);
}

static void table_head(struct wr *w, const struct render_style *style,
                       const struct widths *v)
{
    render_color(w, style, RENDER_DIM);
    render_pad_right(w, "ZONE", v->zone + 2);
    render_pad_right(w, "NODE", v->node + 2);
    render_pad_right(w, "STATE", v->state);
    render_pad_left(w, "OK", NUMBER_COLUMNS);
    render_pad_left(w, "FAILED", NUMBER_COLUMNS + 1);
    render_pad_left(w, "CONNECT", TIME_COLUMNS + 1);
    render_pad_left(w, "TLS", TIME_COLUMNS + 1);
    render_pad_left(w, "TTFB", TIME_COLUMNS + 1);
    render_pad_left(w, "TOTAL", TIME_COLUMNS + 1);
    if (v->bar)
        wr_text(w, "  LAST");
    render_color(w, style, RENDER_RESET);
    wr_u8(w, '\n');
}

static void table(struct wr *w, const struct render_style *style,
                  const struct cli_board *b)
{
    struct widths v = measure(style, b);
    int64_t whole_ns = longest_ns(b);
    bool is_cut = style->lines && b->n_rows + LINES_AROUND > style->lines;

    table_head(w, style, &v);
    for (size_t i = 0; i < b->n_rows; i++) {
        if (!is_cut || is_in_trouble(&b->rows[i]))
            table_row(w, style, &v, &b->rows[i], whole_ns);
    }
    for (size_t i = 0; is_cut && i < b->n_rows; i++) {
        if (!is_in_trouble(&b->rows[i]))
            table_row(w, style, &v, &b->rows[i], whole_ns);
    }
}

void render_board(struct wr *w, const struct render_style *style,
                  const struct cli_board *b, uint64_t elapsed_ns,
                  const char *note)
{
    render_board_title(w, style, b);
    wr_printf(w, "%" PRIu64 " s, %zu node%s, ", elapsed_ns / NS_PER_S,
              b->n_rows, b->n_rows == 1 ? "" : "s");
    render_board_counts(w, style, b);
    wr_text(w, "; times are p50\n");
    if (note) {
        render_color(w, style, RENDER_BOLD);
        render_safe(w, note);
        render_color(w, style, RENDER_RESET);
        wr_u8(w, '\n');
    }
    wr_u8(w, '\n');
    if (!b->n_rows) {
        wr_text(w, "nothing was heard yet\n");
        return;
    }
    if (measure(style, b).bar && style->lines)
        legend(w, style, b);
    table(w, style, b);
}

/* ---- a line per sample ---- */

void render_board_head(struct wr *w, const struct render_style *style,
                       const struct cli_board *b)
{
    render_board_title(w, style, b);
    render_color(w, style, RENDER_DIM);
    render_pad_right(w, "zone", NAME_COLUMNS + 2);
    render_pad_right(w, "node", NAME_COLUMNS + 2);
    render_pad_left(w, "total", TIME_COLUMNS + 1);
    for (unsigned p = 0; p < PHASE_N; p++)
        render_pad_left(w, series_name(p), TIME_COLUMNS);
    render_color(w, style, RENDER_RESET);
    wr_u8(w, '\n');
}

static void sample_line(struct wr *w, const struct render_style *style,
                        const struct sample *s)
{
    if (s->outcome != OUTCOME_OK) {
        wr_text(w, "   ");
        render_failure(w, style, s);
        return;
    }
    render_pad_duration(w, style, s->total_ns, TIME_COLUMNS + 1);
    for (unsigned p = 0; p < PHASE_N; p++)
        render_pad_duration(w, style, s->phases_ns[p], TIME_COLUMNS);
    if (s->retransmits > 0)
        wr_printf(w, "  retransmits=%" PRId32, s->retransmits);
    if (s->clock == STAMP_USER)
        wr_text(w, "  clock=user");
    if (s->is_reconnected)
        wr_text(w, "  reconnected");
}

void render_board_event(struct wr *w, const struct render_style *style,
                        const struct cli_event *e)
{
    if (e->kind != EVENT_SAMPLE && e->kind != EVENT_EXECUTOR)
        return;
    put_name(w, e->zone, NAME_COLUMNS);
    wr_text(w, "  ");
    put_name(w, e->node, NAME_COLUMNS);
    wr_text(w, "  ");
    if (e->kind == EVENT_SAMPLE) {
        sample_line(w, style, &e->sample);
    } else {
        wr_text(w, "   ");
        render_color(w, style, RENDER_BAD);
        render_safe(w, cli_json_text_of(e->body, "state", "?"));
        render_color(w, style, RENDER_RESET);
    }
    wr_u8(w, '\n');
}
