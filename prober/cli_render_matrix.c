#include "prober/cli_render_private.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define COLUMN_NAME_MAX 16
#define MISSING_SHOWN   5

/* A cell whose attempts were mostly made by a starved prober. */
#define TRUST_ENOUGH 0.9

/* Violet to yellow, each step lighter than the one before; text on it is
 * white, then black, whichever is read better. */
static const struct {
    unsigned background, text;
} ramp[] = {{53, 231}, {55, 231}, {24, 231}, {30, 231},
            {36, 16},  {77, 16},  {184, 16}, {226, 16}};

#define RAMP_N (sizeof ramp / sizeof ramp[0])

/* Where there are eight colours: in the order of their lightness, without the
 * green that would say "good" and the red that would say "bad". */
static const char *const basic_ramp[RAMP_N] = {
    "\033[44;37m", "\033[44;37m", "\033[45;37m", "\033[45;37m",
    "\033[46;30m", "\033[46;30m", "\033[43;30m", "\033[47;30m"};

/* Loss has meanings of its own, so its steps are fixed: none, below 0.1 %,
 * 0.5 %, 1 %, 5 %, 10 %, 50 %, and above. */
static const double loss_steps[RAMP_N - 1] = {0,    0.001, 0.005, 0.01,
                                              0.05, 0.1,   0.5};

static const char *const stats[] = {"p50", "p90", "p99", "max", "loss"};

const char *render_stat_name(enum render_stat stat)
{
    assert(stat <= STAT_LOSS);
    return stats[stat];
}

int render_stat_parse(const char *text)
{
    for (size_t i = 0; i < sizeof stats / sizeof stats[0]; i++) {
        if (!strcmp(stats[i], text))
            return (int)i;
    }
    return -1;
}

/* What the cells span, and which marks occur, for the legend. */
struct span {
    double low, high; /* positive values; 0: none */
    bool has_stale, has_unknown, has_draining, has_failed, has_partial,
        has_untrusted, has_absent;
    double youngest_s, oldest_s; /* of the stale ones; < 0: not known */
    size_t value_columns, marks_columns;
};

enum look {
    LOOK_VALUE,
    LOOK_STALE,
    LOOK_UNKNOWN,
    LOOK_DRAINING,
    LOOK_ABSENT,
    LOOK_FAILED
};

struct face { /* how a cell appears */
    enum look look;
    char value[RENDER_DURATION_SIZE];
    char marks[4];
};

static bool is_all_failed(const struct render_cell *c)
{
    return !c->ok && c->failed;
}

static void set_value(struct face *f, const struct render_style *style,
                      enum render_stat stat, const struct render_cell *c)
{
    if (stat == STAT_LOSS)
        snprintf(f->value, sizeof f->value, "%.3g%%", 100 * c->value);
    else
        render_duration(style, render_whole_ns(c->value), f->value);
}

static void set_marks(struct face *f, const struct render_cell *c,
                      enum render_stat stat)
{
    size_t n = 0;

    /* The loss itself says that some failed. */
    if (c->ok && c->failed && stat != STAT_LOSS)
        f->marks[n++] = '!';
    if (c->trusted_ratio < TRUST_ENOUGH)
        f->marks[n++] = '*';
    if (c->state == CELL_STALE)
        f->marks[n++] = '~';
}

static struct face cell_face(const struct render_style *style,
                             enum render_stat stat, const struct render_cell *c)
{
    struct face f = {.look = LOOK_ABSENT};

    switch (c->state) {
    case CELL_UNKNOWN:
        f.look = LOOK_UNKNOWN;
        snprintf(f.value, sizeof f.value, "?");
        return f;
    case CELL_DRAINING:
        f.look = LOOK_DRAINING;
        snprintf(f.value, sizeof f.value, "drain");
        return f;
    case CELL_FRESH:
    case CELL_STALE:
        break;
    }
    set_marks(&f, c, stat);
    if (is_all_failed(c)) {
        f.look = c->state == CELL_STALE ? LOOK_STALE : LOOK_FAILED;
        snprintf(f.value, sizeof f.value, "FAIL");
    } else if (c->value < 0) {
        snprintf(f.value, sizeof f.value, "-");
    } else {
        f.look = c->state == CELL_STALE ? LOOK_STALE : LOOK_VALUE;
        set_value(&f, style, stat, c);
    }
    return f;
}

static void note_age(struct span *s, const struct render_cell *c)
{
    if (c->state != CELL_STALE || c->age_s < 0)
        return;
    if (s->oldest_s < 0 || c->age_s < s->youngest_s)
        s->youngest_s = c->age_s;
    if (c->age_s > s->oldest_s)
        s->oldest_s = c->age_s;
}

static void note_cell(struct span *s, const struct render_style *style,
                      enum render_stat stat, const struct render_cell *c)
{
    struct face f = cell_face(style, stat, c);
    size_t value = render_columns(f.value), marks = strlen(f.marks);

    s->value_columns = value > s->value_columns ? value : s->value_columns;
    s->marks_columns = marks > s->marks_columns ? marks : s->marks_columns;
    s->has_unknown |= c->state == CELL_UNKNOWN;
    s->has_draining |= c->state == CELL_DRAINING;
    s->has_stale |= strchr(f.marks, '~') != NULL;
    s->has_partial |= strchr(f.marks, '!') != NULL;
    s->has_untrusted |= strchr(f.marks, '*') != NULL;
    s->has_failed |= !strcmp(f.value, "FAIL");
    s->has_absent |= !strcmp(f.value, "-");
    note_age(s, c);
    if (f.look == LOOK_VALUE && c->value > 0) {
        s->low = s->low > 0 && s->low < c->value ? s->low : c->value;
        s->high = s->high > c->value ? s->high : c->value;
    }
}

static struct span measure(const struct render_style *style,
                           const struct render_matrix *m)
{
    struct span s = {.value_columns = 1, .youngest_s = -1, .oldest_s = -1};
    char text[RENDER_NAME_MAX + 1];

    for (size_t i = 0; i < m->n_rows * m->n_columns; i++)
        note_cell(&s, style, m->stat, &m->cells[i]);
    for (size_t i = 0; i < m->n_columns; i++) {
        size_t n =
            strlen(render_short_name(m->columns[i], COLUMN_NAME_MAX, text));
        if (n > s.value_columns)
            s.value_columns = n;
    }
    /* Equal zones must not look unequal: a factor of four at least lies
     * between the ends of the ramp. */
    if (s.high < 4 * s.low)
        s.high = 4 * s.low;
    return s;
}

static size_t ramp_step(const struct span *s, enum render_stat stat, double v)
{
    if (stat == STAT_LOSS) {
        size_t i = 0;
        while (i < RAMP_N - 1 && v > loss_steps[i])
            i++;
        return i;
    }
    if (v <= s->low || s->low <= 0)
        return 0;
    double share = log(v / s->low) / log(s->high / s->low);
    size_t n = RAMP_N;
    size_t i = (size_t)(share * (double)n);
    return i < n ? i : n - 1;
}

static void ramp_color(struct wr *w, const struct render_style *style,
                       size_t step)
{
    if (style->is_basic)
        wr_text(w, basic_ramp[step]);
    else
        wr_printf(w, "\033[48;5;%u;38;5;%um", ramp[step].background,
                  ramp[step].text);
}

/* What is not a fresh value is grey or blue on the terminal's own ground, an
 * unknown one on grey; never on the ramp. */
static void look_color(struct wr *w, const struct render_style *style,
                       enum look look, size_t step)
{
    static const char *const codes[][2] = {
        [LOOK_STALE] = {"\033[3;38;5;245m", "\033[2;3m"},
        [LOOK_UNKNOWN] = {"\033[48;5;236;38;5;250m", "\033[7;2m"},
        [LOOK_DRAINING] = {"\033[4;38;5;67m", "\033[4;34m"},
        [LOOK_ABSENT] = {"\033[38;5;240m", "\033[2m"},
        [LOOK_FAILED] = {"\033[1;7;38;5;166m", "\033[1;37;41m"},
    };

    if (!style->is_color)
        return;
    if (look == LOOK_VALUE)
        ramp_color(w, style, step);
    else
        wr_text(w, codes[look][style->is_basic]);
}

static void cell(struct wr *w, const struct render_style *style,
                 const struct render_matrix *m, const struct span *s,
                 const struct render_cell *c)
{
    struct face f = cell_face(style, m->stat, c);

    wr_u8(w, ' ');
    look_color(w, style, f.look, ramp_step(s, m->stat, c->value));
    wr_u8(w, ' ');
    render_pad_left(w, f.value, s->value_columns);
    render_pad_right(w, f.marks, s->marks_columns);
    wr_u8(w, ' ');
    render_color(w, style, RENDER_RESET);
}

/* Columns first..first+n of all rows. */
static void block(struct wr *w, const struct render_style *style,
                  const struct render_matrix *m, const struct span *s,
                  size_t name_columns, size_t first, size_t n)
{
    char text[RENDER_NAME_MAX + 1];

    render_color(w, style, RENDER_DIM);
    render_pad_right(w, "from \\ to", name_columns);
    for (size_t c = first; c < first + n; c++) {
        render_spaces(w, 2);
        render_pad_left(w,
                        render_short_name(m->columns[c], COLUMN_NAME_MAX, text),
                        s->value_columns);
        if (c + 1 < first + n)
            render_spaces(w, s->marks_columns + 1);
    }
    render_color(w, style, RENDER_RESET);
    wr_text(w, "\n");
    for (size_t r = 0; r < m->n_rows; r++) {
        render_pad_right(w,
                         render_short_name(m->rows[r], RENDER_NAME_MAX, text),
                         name_columns);
        for (size_t c = first; c < first + n; c++)
            cell(w, style, m, s, &m->cells[r * m->n_columns + c]);
        render_end_line(w, style);
    }
    wr_text(w, "\n");
}

static void table(struct wr *w, const struct render_style *style,
                  const struct render_matrix *m, const struct span *s)
{
    char text[RENDER_NAME_MAX + 1];
    size_t names = strlen("from \\ to");
    size_t each = s->value_columns + s->marks_columns + 3;
    size_t n = m->n_columns;

    for (size_t r = 0; r < m->n_rows; r++) {
        size_t len =
            strlen(render_short_name(m->rows[r], RENDER_NAME_MAX, text));
        names = len > names ? len : names;
    }
    /* What does not fit beside each other goes below each other. */
    if (style->columns) {
        n = style->columns > names ? (style->columns - names) / each : 0;
        n = n ? n : 1;
    }
    for (size_t c = 0; c < m->n_columns; c += n)
        block(w, style, m, s, names, c,
              n < m->n_columns - c ? n : m->n_columns - c);
}

static void scale(struct wr *w, const struct render_style *style,
                  const struct render_matrix *m, const struct span *s)
{
    bool is_loss = m->stat == STAT_LOSS;

    if (!is_loss && s->low <= 0)
        return;
    if (!style->is_color)
        return; /* the numbers say it all */
    wr_text(w, "scale  ");
    if (is_loss)
        wr_text(w, "none");
    else
        render_put_duration(w, style, render_whole_ns(s->low));
    wr_u8(w, ' ');
    for (size_t i = 0; i < RAMP_N; i++) {
        ramp_color(w, style, i);
        wr_text(w, "   ");
    }
    wr_text(w, RENDER_RESET " ");
    if (is_loss)
        wr_text(w, "over 50%  (steps above 0, 0.1, 0.5, 1, 5, 10, 50%)");
    else
        render_put_duration(w, style, render_whole_ns(s->high));
    wr_text(w, is_loss ? "\n" : "  (logarithmic)\n");
}

static void legend_item(struct wr *w, const struct render_style *style,
                        bool occurs, enum look look, const char *mark,
                        const char *meaning)
{
    if (!occurs)
        return;
    wr_text(w, "  ");
    look_color(w, style, look, 0);
    render_pad_right(w, mark, 5);
    render_color(w, style, RENDER_RESET);
    wr_printf(w, "  %s\n", meaning);
}

#define STALE_TEXT_SIZE 128

static const char *stale_text(const struct span *s, char text[STALE_TEXT_SIZE])
{
    int n = snprintf(text, STALE_TEXT_SIZE,
                     "stale: nothing newer than three windows");

    if (s->oldest_s > s->youngest_s)
        snprintf(text + n, STALE_TEXT_SIZE - (size_t)n, ", %.0f to %.0f s old",
                 s->youngest_s, s->oldest_s);
    else if (s->oldest_s >= 0)
        snprintf(text + n, STALE_TEXT_SIZE - (size_t)n, ", %.0f s old",
                 s->oldest_s);
    return text;
}

static void legend(struct wr *w, const struct render_style *style,
                   const struct span *s)
{
    char text[STALE_TEXT_SIZE];

    legend_item(w, style, s->has_failed, LOOK_FAILED, "FAIL",
                "every attempt failed");
    legend_item(w, style, s->has_partial, LOOK_STALE, "!",
                "some attempts failed");
    legend_item(w, style, s->has_untrusted, LOOK_STALE, "*",
                "the prober was starved, do not trust the number");
    legend_item(w, style, s->has_stale, LOOK_STALE, "~", stale_text(s, text));
    legend_item(w, style, s->has_unknown, LOOK_UNKNOWN, "?",
                "unknown: no measurement");
    legend_item(w, style, s->has_draining, LOOK_DRAINING, "drain",
                "the node is leaving, not measured");
    legend_item(w, style, s->has_absent, LOOK_ABSENT, "-",
                "this phase did not run");
}

static void title(struct wr *w, const struct render_style *style,
                  const struct render_matrix *m)
{
    render_color(w, style, RENDER_BOLD);
    if (m->stat == STAT_LOSS)
        wr_text(w, "loss");
    else
        wr_printf(w, "%s of %s", render_stat_name(m->stat),
                  series_name(m->series));
    wr_text(w, " by ");
    render_safe(w, m->level);
    render_color(w, style, RENDER_RESET);
    wr_text(w, ", ");
    render_safe(w, m->protocol);
    wr_u8(w, ' ');
    render_safe(w, m->mode);
    wr_printf(w, ", last %" PRIu64 " s\nanswered by ", m->window_s);
    render_safe(w, m->answered_by);
    wr_text(w, " at ");
    render_safe(w, m->generated_at);
    wr_printf(w, ", %" PRIu64 " of %" PRIu64 " nodes reporting", m->reporting,
              m->expected);
    for (size_t i = 0; i < m->n_missing && i < MISSING_SHOWN; i++) {
        wr_text(w, i ? ", " : ", missing: ");
        render_safe(w, m->missing[i]);
    }
    if (m->n_missing > MISSING_SHOWN)
        wr_printf(w, " and %zu more", m->n_missing - MISSING_SHOWN);
    wr_text(w, "\n\n");
}

void render_matrix(struct wr *w, const struct render_style *style,
                   const struct render_matrix *m)
{
    title(w, style, m);
    if (!m->n_rows || !m->n_columns) {
        wr_text(w, "no nodes yet\n");
        return;
    }
    struct span s = measure(style, m);
    table(w, style, m, &s);
    scale(w, style, m, &s);
    legend(w, style, &s);
}

void render_no_answer(struct wr *w, const struct render_style *style,
                      const char *why, int64_t age_ns)
{
    render_color(w, style, RENDER_BAD);
    wr_text(w, "NO ANSWER");
    render_color(w, style, RENDER_RESET);
    wr_text(w, ": ");
    render_safe(w, why);
    wr_text(w, "\n");
    if (age_ns < 0)
        return;
    wr_text(w, "what was answered ");
    render_color(w, style, RENDER_BOLD);
    wr_printf(w, "%" PRId64 " s ago", age_ns / 1000000000);
    render_color(w, style, RENDER_RESET);
    wr_text(w, ":\n\n");
}
