#include "prober/cli_render.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/grpc.h"

#define COLUMNS_DEFAULT 80
#define BAR_MIN         16
#define BAR_MAX         60
#define BAR_LEFT        27 /* columns in front of the bars */
#define ROW_NAME_MAX    32
#define COLUMN_NAME_MAX 16
#define MISSING_SHOWN   5

/* A cell whose attempts were mostly made by a starved prober. */
#define TRUST_ENOUGH 0.9

#define RESET "\033[0m"
#define BOLD  "\033[1m"
#define DIM   "\033[2m"
/* Vermilion, from Okabe and Ito's palette for every colour vision. */
#define BAD "\033[1;38;5;166m"

/* The same palette's other colours, nearest of the 256, one per phase. */
static const char *const phase_colors[PHASE_N] = {
    [PHASE_DNS] = "\033[38;5;74m",       [PHASE_CONNECT] = "\033[38;5;178m",
    [PHASE_TLS] = "\033[38;5;36m",       [PHASE_TTFB] = "\033[38;5;32m",
    [PHASE_TRANSFER] = "\033[38;5;175m", [PHASE_LOCAL] = "\033[38;5;245m",
};

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

/* ---- small parts ---- */

static void color(struct wr *w, const struct render_style *style,
                  const char *code)
{
    bool is_of_256 = strstr(code, "38;5;") != NULL;

    if (!style->is_color)
        return;
    if (!style->is_basic || !is_of_256)
        wr_text(w, code);
    else if (!strcmp(code, BAD))
        wr_text(w, "\033[1;31m");
}

static void spaces(struct wr *w, size_t n)
{
    while (n--)
        wr_u8(w, ' ');
}

/* Terminal columns of our own text: one per code point. */
static size_t text_columns(const char *text)
{
    size_t n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

/* Spaces at the end of a line serve only to be coloured. */
static void end_line(struct wr *w, const struct render_style *style)
{
    while (!style->is_color && w->len && w->data[w->len - 1] == ' ')
        w->len--;
    wr_u8(w, '\n');
}

static void pad_left(struct wr *w, const char *text, size_t columns)
{
    size_t n = text_columns(text);

    spaces(w, n < columns ? columns - n : 0);
    wr_text(w, text);
}

static void pad_right(struct wr *w, const char *text, size_t columns)
{
    size_t n = text_columns(text);

    wr_text(w, text);
    spaces(w, n < columns ? columns - n : 0);
}

void render_safe(struct wr *w, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;

        if (c >= 0x20 && c < 0x7f)
            wr_u8(w, c);
        else if ((c & 0xc0) != 0x80)
            wr_u8(w, '?');
    }
}

/* A name made safe and short. The end is kept: it is where the names of
 * zones differ ("europe-west1-b"). */
static const char *short_name(const char *name, size_t columns,
                              char text[ROW_NAME_MAX + 1])
{
    struct wr w;
    size_t len = text_columns(name);

    assert(columns <= ROW_NAME_MAX);
    wr_init_fixed(&w, text, columns + 1);
    if (len > columns) {
        wr_text(&w, "..");
        for (size_t skip = len - (columns - 2); skip; name++)
            skip -= (*name & 0xc0) != 0x80;
    }
    render_safe(&w, name);
    wr_u8(&w, '\0');
    assert(!wr_err(&w));
    return text;
}

/* Numbers of an answer are anybody's: what no int64_t can hold is its most. */
static int64_t whole_ns(double ns)
{
    return ns < 0x1p63 ? (int64_t)ns : INT64_MAX;
}

char *render_duration(const struct render_style *style, int64_t ns,
                      char text[RENDER_DURATION_SIZE])
{
    static const struct {
        uint64_t ns;
        const char *ascii, *utf8;
    } units[] = {{1000, "us", "\xc2\xb5s"},
                 {1000000, "ms", "ms"},
                 {1000000000, "s", "s"}};
    uint64_t v = (uint64_t)ns;

    if (ns < 1000) {
        if (ns < 0)
            snprintf(text, RENDER_DURATION_SIZE, "-");
        else
            snprintf(text, RENDER_DURATION_SIZE, "%d ns", (int)ns);
        return text;
    }
    /* The first unit and number of decimals that leave three digits, after
     * rounding: 999,950 ns is 1.00 ms and not 1000 us. */
    for (size_t u = 0; u < 3; u++) {
        const char *unit = style->is_utf8 ? units[u].utf8 : units[u].ascii;
        uint64_t step = units[u].ns / 100;

        for (int decimals = 2; decimals >= 0; decimals--, step *= 10) {
            uint64_t n = (v + step / 2) / step;
            if (n < 1000) {
                double scale = decimals == 2 ? 100 : decimals == 1 ? 10 : 1;
                snprintf(text, RENDER_DURATION_SIZE, "%.*f %s", decimals,
                         (double)n / scale, unit);
                return text;
            }
        }
    }
    snprintf(text, RENDER_DURATION_SIZE, "%" PRIu64 " s",
             (v + 500000000) / 1000000000);
    return text;
}

static void duration(struct wr *w, const struct render_style *style, int64_t ns)
{
    char text[RENDER_DURATION_SIZE];

    wr_text(w, render_duration(style, ns, text));
}

static void duration_left(struct wr *w, const struct render_style *style,
                          int64_t ns, size_t columns)
{
    char text[RENDER_DURATION_SIZE];

    pad_left(w, render_duration(style, ns, text), columns);
}

/* ---- one attempt ---- */

/* "http1 cold, 10.0.0.5:40312 -> 10.0.0.7:7443, TLSv1.3 CIPHER h2" */
static void connection_line(struct wr *w, const struct sample *s)
{
    char text[ADDR_TEXT_SIZE];

    wr_printf(w, "%s %s", protocol_name(s->protocol), mode_name(s->mode));
    if (s->peer.family != ADDR_NONE) {
        wr_text(w, ", ");
        if (s->local.family != ADDR_NONE)
            wr_printf(w, "%s -> ", addr_format(&s->local, text));
        wr_text(w, addr_format(&s->peer, text));
    }
    if (s->tls_version[0]) {
        wr_text(w, ", ");
        render_safe(w, s->tls_version);
        wr_u8(w, ' ');
        render_safe(w, s->tls_cipher);
        if (s->tls_alpn[0])
            wr_u8(w, ' ');
        render_safe(w, s->tls_alpn);
    }
    wr_text(w, "\n");
}

/* Where on the bar's scale a moment lies. */
static size_t bar_place(int64_t ns, int64_t whole_ns, size_t columns)
{
    if (whole_ns <= 0)
        return 0;
    return (size_t)((double)ns / (double)whole_ns * (double)columns + 0.5);
}

static void bar(struct wr *w, const struct render_style *style, unsigned phase,
                int64_t start_ns, int64_t ns, int64_t whole_ns, size_t columns)
{
    const char *full = phase == PHASE_LOCAL
                           ? (style->is_utf8 ? "\xe2\x96\x91" : ":")
                           : (style->is_utf8 ? "\xe2\x96\x88" : "#");
    size_t from = bar_place(start_ns, whole_ns, columns);
    size_t to = bar_place(start_ns + ns, whole_ns, columns);

    if (from >= columns)
        from = columns - 1;
    spaces(w, from);
    color(w, style, phase_colors[phase]);
    for (size_t i = from; i < to; i++)
        wr_text(w, full);
    /* Too short for one column, but it did happen. */
    if (to <= from)
        wr_text(w, style->is_utf8 ? "\xe2\x96\x8f" : "|");
    color(w, style, RESET);
}

/* The phases in their order, each bar beginning where the last one ended.
 * `local` is the sum of the gaps between the others and is drawn behind
 * them. */
static void waterfall(struct wr *w, const struct render_style *style,
                      const struct sample *s)
{
    int64_t whole_ns = sample_sum_ns(s), start_ns = 0;
    size_t width = style->columns ? style->columns : COLUMNS_DEFAULT;
    size_t columns =
        width > BAR_LEFT + BAR_MIN ? width - BAR_LEFT - 1 : BAR_MIN;

    if (columns > BAR_MAX)
        columns = BAR_MAX;
    for (unsigned p = 0; p < PHASE_N; p++) {
        int64_t ns = s->phases_ns[p];
        bool is_end = s->failed_phase == (int)p;

        if (ns < 0 && !is_end)
            continue;
        wr_text(w, "  ");
        pad_right(w, series_name(p), 9);
        if (is_end) {
            duration_left(w, style, ns, 7);
            spaces(w, 9);
            spaces(w, bar_place(start_ns, whole_ns,
                                columns - strlen("x failed here")));
            color(w, style, BAD);
            wr_text(w, "x failed here");
            color(w, style, RESET);
        } else {
            double share = whole_ns ? 100 * (double)ns / (double)whole_ns : 0;
            duration_left(w, style, ns, 7);
            wr_printf(w, "  %5.1f%% ", share);
            bar(w, style, p, start_ns, ns, whole_ns, columns);
        }
        if (ns > 0)
            start_ns += ns;
        wr_text(w, "\n");
    }
    if (s->total_ns >= 0) {
        wr_text(w, "  ");
        color(w, style, BOLD);
        pad_right(w, "total", 9);
        duration_left(w, style, s->total_ns, 7);
        color(w, style, RESET);
        wr_text(w, "\n");
    }
}

static void answer_note(struct wr *w, const struct render_style *style,
                        const struct sample *s)
{
    if (s->http_status < 0 && s->grpc_status < 0)
        return;
    wr_text(w, "  answer   ");
    if (s->http_status >= 0) {
        wr_printf(w, "HTTP/%s %d",
                  s->protocol == PROTOCOL_GRPC ? "2"
                  : s->http_minor              ? "1.1"
                                               : "1.0",
                  s->http_status);
    }
    if (s->grpc_status >= 0) {
        wr_printf(w, "%sgRPC %s", s->http_status >= 0 ? ", " : "",
                  grpc_status_name(s->grpc_status));
        if (s->grpc_serving >= 0)
            wr_printf(w, " %s", grpc_serving_name(s->grpc_serving));
    }
    if (s->server_ns >= 0) {
        wr_text(w, ", server ");
        duration(w, style, s->server_ns);
        int64_t ttfb_ns = s->phases_ns[PHASE_TTFB];
        /* The server's clock may disagree with ours. */
        if (ttfb_ns >= s->server_ns) {
            wr_text(w, ", network ");
            duration(w, style, ttfb_ns - s->server_ns);
        }
        wr_text(w, " of ttfb");
    }
    wr_text(w, "\n");
}

static void tcp_note(struct wr *w, const struct render_style *style,
                     const struct sample *s)
{
    if (s->rtt_ns < 0 && s->retransmits < 0)
        return;
    wr_text(w, "  tcp      ");
    if (s->rtt_ns >= 0) {
        wr_text(w, "round trip ");
        duration(w, style, s->rtt_ns);
    }
    if (s->retransmits >= 0) {
        wr_printf(w, "%s%" PRId32 " retransmit%s", s->rtt_ns >= 0 ? ", " : "",
                  s->retransmits, s->retransmits == 1 ? "" : "s");
    }
    wr_text(w, "\n");
}

static void timing_note(struct wr *w, const struct render_style *style,
                        const struct sample *s)
{
    if (s->clock == STAMP_NONE)
        return;
    wr_text(w, "  timing   ");
    wr_text(w, s->clock == STAMP_KERNEL
                   ? "kernel clock"
                   : "user clock (our own delays are in the numbers)");
    if (s->lag_ns >= 0) {
        wr_text(w, ", waited ");
        duration(w, style, s->lag_ns);
        wr_text(w, " for us");
    }
    if (s->start_lag_ns >= 0) {
        wr_text(w, ", began ");
        duration(w, style, s->start_lag_ns);
        wr_text(w, " late");
    }
    if (s->is_reconnected)
        wr_text(w, ", on a new connection");
    wr_text(w, "\n");
}

/* What was answered instead, where nothing else was said. */
static void failure_detail(struct wr *w, const struct sample *s)
{
    if (s->error[0]) {
        wr_text(w, ": ");
        render_safe(w, s->error);
    } else if (s->outcome == OUTCOME_HTTP_STATUS && s->http_status >= 0) {
        wr_printf(w, ": %d", s->http_status);
    } else if (s->outcome == OUTCOME_GRPC_STATUS && s->grpc_status >= 0) {
        wr_printf(w, ": %s", grpc_status_name(s->grpc_status));
    }
}

/* "connect_timeout in connect: text" */
static void failure(struct wr *w, const struct render_style *style,
                    const struct sample *s)
{
    color(w, style, BAD);
    wr_text(w, outcome_name(s->outcome));
    color(w, style, RESET);
    if (s->failed_phase >= 0)
        wr_printf(w, " in %s", series_name((unsigned)s->failed_phase));
    failure_detail(w, s);
}

void render_sample(struct wr *w, const struct render_style *style,
                   const struct sample *s, const struct sample_names *names)
{
    color(w, style, BOLD);
    render_safe(w, names->target ? names->target : "-");
    color(w, style, RESET);
    wr_text(w, "\n");
    connection_line(w, s);
    wr_text(w, "\n");
    waterfall(w, style, s);
    wr_text(w, "\n");
    answer_note(w, style, s);
    tcp_note(w, style, s);
    timing_note(w, style, s);
    wr_text(w, "  outcome  ");
    if (s->outcome == OUTCOME_OK)
        wr_text(w, "ok");
    else
        failure(w, style, s);
    wr_text(w, "\n");
}

/* ---- many attempts ---- */

#define NUMBER_COLUMNS 6
#define PHASE_COLUMNS  9

void render_line_head(struct wr *w, const struct render_style *style)
{
    color(w, style, DIM);
    pad_left(w, "#", NUMBER_COLUMNS);
    pad_left(w, "total", PHASE_COLUMNS + 1);
    for (unsigned p = 0; p < PHASE_N; p++)
        pad_left(w, series_name(p), PHASE_COLUMNS);
    color(w, style, RESET);
    wr_text(w, "\n");
}

void render_line(struct wr *w, const struct render_style *style,
                 const struct sample *s, uint64_t n)
{
    char number[24];

    snprintf(number, sizeof number, "%" PRIu64, n);
    pad_left(w, number, NUMBER_COLUMNS);
    if (s->outcome != OUTCOME_OK) {
        wr_text(w, "   ");
        failure(w, style, s);
        wr_text(w, "\n");
        return;
    }
    color(w, style, BOLD);
    duration_left(w, style, s->total_ns, PHASE_COLUMNS + 1);
    color(w, style, RESET);
    for (unsigned p = 0; p < PHASE_N; p++)
        duration_left(w, style, s->phases_ns[p], PHASE_COLUMNS);
    if (s->retransmits > 0)
        wr_printf(w, "  retransmits=%" PRId32, s->retransmits);
    if (s->clock == STAMP_USER)
        wr_text(w, "  clock=user");
    if (s->is_reconnected)
        wr_text(w, "  reconnected");
    wr_text(w, "\n");
}

void render_summary_init(struct render_summary *m)
{
    *m = (struct render_summary){.lag_max_ns = -1, .start_lag_max_ns = -1};
    for (unsigned i = 0; i < SERIES_N; i++)
        hist_init(&m->series[i]);
}

void render_summary_fini(struct render_summary *m)
{
    for (unsigned i = 0; i < SERIES_N; i++)
        hist_fini(&m->series[i]);
}

static int add_series(struct render_summary *m, const struct sample *s)
{
    int err = 0;

    for (unsigned i = 0; i < SERIES_N && !err; i++) {
        int64_t ns = i < PHASE_N         ? s->phases_ns[i]
                     : i == SERIES_TOTAL ? s->total_ns
                                         : s->server_ns;
        if (ns >= 0)
            err = hist_add(&m->series[i], (uint64_t)ns);
    }
    return err;
}

int render_summary_add(struct render_summary *m, const struct sample *s)
{
    m->attempts++;
    m->outcomes[s->outcome]++;
    if (s->retransmits > 0)
        m->retransmits += (uint64_t)s->retransmits;
    m->reconnects += s->is_reconnected;
    if (s->lag_ns > m->lag_max_ns)
        m->lag_max_ns = s->lag_ns;
    if (s->start_lag_ns > m->start_lag_max_ns)
        m->start_lag_max_ns = s->start_lag_ns;

    if (s->outcome != OUTCOME_OK) {
        if (outcome_is_local(s->outcome))
            m->local++;
        else
            m->failed++;
        return 0;
    }
    m->ok++;
    m->user_clock += s->clock == STAMP_USER;
    return add_series(m, s);
}

static void counts(struct wr *w, const struct render_style *style,
                   const struct render_summary *m)
{
    uint64_t judged = m->ok + m->failed;

    wr_printf(w, "ok %" PRIu64 ", ", m->ok);
    if (m->failed)
        color(w, style, BAD);
    wr_printf(w, "failed %" PRIu64, m->failed);
    if (judged)
        wr_printf(w, " (%.4g%%)", 100 * (double)m->failed / (double)judged);
    if (m->failed)
        color(w, style, RESET);
    if (m->local)
        wr_printf(w, ", not counted %" PRIu64, m->local);
    if (m->missed)
        wr_printf(w, ", missed slots %" PRIu64, m->missed);
    wr_text(w, "\n");
    for (unsigned o = OUTCOME_OK + 1; o < OUTCOME_N; o++) {
        if (m->outcomes[o])
            wr_printf(w, "  %-20s %" PRIu64 "\n", outcome_name(o),
                      m->outcomes[o]);
    }
}

static void series_row(struct wr *w, const struct render_style *style,
                       unsigned series, const struct hist *h)
{
    static const double quantiles[] = {0, 0.5, 0.9, 0.99, 1};
    char count[24];

    snprintf(count, sizeof count, "%" PRIu64, h->count);
    pad_right(w, series_name(series), 9);
    pad_left(w, count, 9);
    for (size_t q = 0; q < sizeof quantiles / sizeof quantiles[0]; q++) {
        uint64_t ns = hist_quantile(h, quantiles[q]);
        duration_left(w, style, (int64_t)ns, 10);
    }
    wr_text(w, "\n");
}

static void series_table(struct wr *w, const struct render_style *style,
                         const struct render_summary *m)
{
    color(w, style, DIM);
    wr_text(w, "             count       min       p50       p90       p99"
               "       max\n");
    color(w, style, RESET);
    for (unsigned i = 0; i < SERIES_N; i++) {
        if (!m->series[i].count)
            continue;
        if (i == SERIES_TOTAL)
            color(w, style, BOLD);
        series_row(w, style, i, &m->series[i]);
        if (i == SERIES_TOTAL)
            color(w, style, RESET);
    }
}

/* What a reader must know before trusting the numbers. */
static void summary_notes(struct wr *w, const struct render_style *style,
                          const struct render_summary *m)
{
    if (m->start_lag_max_ns > 0) {
        wr_text(w, "began late by up to ");
        duration(w, style, m->start_lag_max_ns);
        if (m->lag_max_ns >= 0) {
            wr_text(w, ", waited for us up to ");
            duration(w, style, m->lag_max_ns);
        }
        wr_text(w, "\n");
    }
    if (m->retransmits)
        wr_printf(w, "retransmits %" PRIu64 "\n", m->retransmits);
    if (m->reconnects)
        wr_printf(w, "reconnects %" PRIu64 "\n", m->reconnects);
    if (m->user_clock)
        wr_printf(w,
                  "%" PRIu64 " of %" PRIu64 " were timed by the user clock: "
                  "our own delays are in their numbers\n",
                  m->user_clock, m->ok);
}

void render_summary(struct wr *w, const struct render_style *style,
                    const struct render_summary *m, const char *target,
                    const char *protocol, const char *mode, uint64_t elapsed_ns)
{
    color(w, style, BOLD);
    render_safe(w, target);
    color(w, style, RESET);
    wr_printf(w, "\n%s %s, %" PRIu64 " attempt%s in ", protocol, mode,
              m->attempts, m->attempts == 1 ? "" : "s");
    duration(w, style, (int64_t)elapsed_ns);
    if (elapsed_ns && m->attempts > 1)
        wr_printf(w, " (%.4g/s)",
                  (double)m->attempts * 1e9 / (double)elapsed_ns);
    wr_text(w, ": ");
    counts(w, style, m);
    if (m->ok) {
        wr_text(w, "\n");
        series_table(w, style, m);
        wr_text(w, "\n");
    }
    summary_notes(w, style, m);
}

/* ---- the matrix ---- */

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
        render_duration(style, whole_ns(c->value), f->value);
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
    size_t value = text_columns(f.value), marks = strlen(f.marks);

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
    char text[ROW_NAME_MAX + 1];

    for (size_t i = 0; i < m->n_rows * m->n_columns; i++)
        note_cell(&s, style, m->stat, &m->cells[i]);
    for (size_t i = 0; i < m->n_columns; i++) {
        size_t n = strlen(short_name(m->columns[i], COLUMN_NAME_MAX, text));
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
    pad_left(w, f.value, s->value_columns);
    pad_right(w, f.marks, s->marks_columns);
    wr_u8(w, ' ');
    color(w, style, RESET);
}

/* Columns first..first+n of all rows. */
static void block(struct wr *w, const struct render_style *style,
                  const struct render_matrix *m, const struct span *s,
                  size_t name_columns, size_t first, size_t n)
{
    char text[ROW_NAME_MAX + 1];

    color(w, style, DIM);
    pad_right(w, "from \\ to", name_columns);
    for (size_t c = first; c < first + n; c++) {
        spaces(w, 2);
        pad_left(w, short_name(m->columns[c], COLUMN_NAME_MAX, text),
                 s->value_columns);
        if (c + 1 < first + n)
            spaces(w, s->marks_columns + 1);
    }
    color(w, style, RESET);
    wr_text(w, "\n");
    for (size_t r = 0; r < m->n_rows; r++) {
        pad_right(w, short_name(m->rows[r], ROW_NAME_MAX, text), name_columns);
        for (size_t c = first; c < first + n; c++)
            cell(w, style, m, s, &m->cells[r * m->n_columns + c]);
        end_line(w, style);
    }
    wr_text(w, "\n");
}

static void table(struct wr *w, const struct render_style *style,
                  const struct render_matrix *m, const struct span *s)
{
    char text[ROW_NAME_MAX + 1];
    size_t names = strlen("from \\ to");
    size_t each = s->value_columns + s->marks_columns + 3;
    size_t n = m->n_columns;

    for (size_t r = 0; r < m->n_rows; r++) {
        size_t len = strlen(short_name(m->rows[r], ROW_NAME_MAX, text));
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
        duration(w, style, whole_ns(s->low));
    wr_u8(w, ' ');
    for (size_t i = 0; i < RAMP_N; i++) {
        ramp_color(w, style, i);
        wr_text(w, "   ");
    }
    wr_text(w, RESET " ");
    if (is_loss)
        wr_text(w, "over 50%  (steps above 0, 0.1, 0.5, 1, 5, 10, 50%)");
    else
        duration(w, style, whole_ns(s->high));
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
    pad_right(w, mark, 5);
    color(w, style, RESET);
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
    color(w, style, BOLD);
    if (m->stat == STAT_LOSS)
        wr_text(w, "loss");
    else
        wr_printf(w, "%s of %s", render_stat_name(m->stat),
                  series_name(m->series));
    wr_text(w, " by ");
    render_safe(w, m->level);
    color(w, style, RESET);
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
    color(w, style, BAD);
    wr_text(w, "NO ANSWER");
    color(w, style, RESET);
    wr_text(w, ": ");
    render_safe(w, why);
    wr_text(w, "\n");
    if (age_ns < 0)
        return;
    wr_text(w, "what was answered ");
    color(w, style, BOLD);
    wr_printf(w, "%" PRId64 " s ago", age_ns / 1000000000);
    color(w, style, RESET);
    wr_text(w, ":\n\n");
}
