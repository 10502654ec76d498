#include "prober/cli_render_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/grpc.h"

#define COLUMNS_DEFAULT 80
#define BAR_MIN         16
#define BAR_MAX         60
#define BAR_LEFT        27 /* columns in front of the bars */

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
    render_spaces(w, from);
    render_phase_color(w, style, phase);
    for (size_t i = from; i < to; i++)
        wr_text(w, full);
    /* Too short for one column, but it did happen. */
    if (to <= from)
        wr_text(w, style->is_utf8 ? "\xe2\x96\x8f" : "|");
    render_color(w, style, RENDER_RESET);
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
        render_pad_right(w, series_name(p), 9);
        if (is_end) {
            render_pad_duration(w, style, ns, 7);
            render_spaces(w, 9);
            render_spaces(w, bar_place(start_ns, whole_ns,
                                       columns - strlen("x failed here")));
            render_color(w, style, RENDER_BAD);
            wr_text(w, "x failed here");
            render_color(w, style, RENDER_RESET);
        } else {
            double share = whole_ns ? 100 * (double)ns / (double)whole_ns : 0;
            render_pad_duration(w, style, ns, 7);
            wr_printf(w, "  %5.1f%% ", share);
            bar(w, style, p, start_ns, ns, whole_ns, columns);
        }
        if (ns > 0)
            start_ns += ns;
        wr_text(w, "\n");
    }
    if (s->total_ns >= 0) {
        wr_text(w, "  ");
        render_color(w, style, RENDER_BOLD);
        render_pad_right(w, "total", 9);
        render_pad_duration(w, style, s->total_ns, 7);
        render_color(w, style, RENDER_RESET);
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
        render_put_duration(w, style, s->server_ns);
        int64_t ttfb_ns = s->phases_ns[PHASE_TTFB];
        /* The server's clock may disagree with ours. */
        if (ttfb_ns >= s->server_ns) {
            wr_text(w, ", network ");
            render_put_duration(w, style, ttfb_ns - s->server_ns);
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
        render_put_duration(w, style, s->rtt_ns);
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
        render_put_duration(w, style, s->lag_ns);
        wr_text(w, " for us");
    }
    if (s->start_lag_ns >= 0) {
        wr_text(w, ", began ");
        render_put_duration(w, style, s->start_lag_ns);
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

void render_failure(struct wr *w, const struct render_style *style,
                    const struct sample *s)
{
    render_color(w, style, RENDER_BAD);
    wr_text(w, outcome_name(s->outcome));
    render_color(w, style, RENDER_RESET);
    if (s->failed_phase >= 0)
        wr_printf(w, " in %s", series_name((unsigned)s->failed_phase));
    failure_detail(w, s);
}

void render_sample(struct wr *w, const struct render_style *style,
                   const struct sample *s, const struct sample_names *names)
{
    render_color(w, style, RENDER_BOLD);
    render_safe(w, names->target ? names->target : "-");
    render_color(w, style, RENDER_RESET);
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
        render_failure(w, style, s);
    wr_text(w, "\n");
}

/* ---- many attempts ---- */

#define NUMBER_COLUMNS 6
#define PHASE_COLUMNS  9

void render_line_head(struct wr *w, const struct render_style *style)
{
    render_color(w, style, RENDER_DIM);
    render_pad_left(w, "#", NUMBER_COLUMNS);
    render_pad_left(w, "total", PHASE_COLUMNS + 1);
    for (unsigned p = 0; p < PHASE_N; p++)
        render_pad_left(w, series_name(p), PHASE_COLUMNS);
    render_color(w, style, RENDER_RESET);
    wr_text(w, "\n");
}

void render_line(struct wr *w, const struct render_style *style,
                 const struct sample *s, uint64_t n)
{
    char number[24];

    snprintf(number, sizeof number, "%" PRIu64, n);
    render_pad_left(w, number, NUMBER_COLUMNS);
    if (s->outcome != OUTCOME_OK) {
        wr_text(w, "   ");
        render_failure(w, style, s);
        wr_text(w, "\n");
        return;
    }
    render_color(w, style, RENDER_BOLD);
    render_pad_duration(w, style, s->total_ns, PHASE_COLUMNS + 1);
    render_color(w, style, RENDER_RESET);
    for (unsigned p = 0; p < PHASE_N; p++)
        render_pad_duration(w, style, s->phases_ns[p], PHASE_COLUMNS);
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
        render_color(w, style, RENDER_BAD);
    wr_printf(w, "failed %" PRIu64, m->failed);
    if (judged)
        wr_printf(w, " (%.4g%%)", 100 * (double)m->failed / (double)judged);
    if (m->failed)
        render_color(w, style, RENDER_RESET);
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
    render_pad_right(w, series_name(series), 9);
    render_pad_left(w, count, 9);
    for (size_t q = 0; q < sizeof quantiles / sizeof quantiles[0]; q++) {
        uint64_t ns = hist_quantile(h, quantiles[q]);
        render_pad_duration(w, style, (int64_t)ns, 10);
    }
    wr_text(w, "\n");
}

static void series_table(struct wr *w, const struct render_style *style,
                         const struct render_summary *m)
{
    render_color(w, style, RENDER_DIM);
    wr_text(w, "             count       min       p50       p90       p99"
               "       max\n");
    render_color(w, style, RENDER_RESET);
    for (unsigned i = 0; i < SERIES_N; i++) {
        if (!m->series[i].count)
            continue;
        if (i == SERIES_TOTAL)
            render_color(w, style, RENDER_BOLD);
        series_row(w, style, i, &m->series[i]);
        if (i == SERIES_TOTAL)
            render_color(w, style, RENDER_RESET);
    }
}

/* What a reader must know before trusting the numbers. */
static void summary_notes(struct wr *w, const struct render_style *style,
                          const struct render_summary *m)
{
    if (m->start_lag_max_ns > 0) {
        wr_text(w, "began late by up to ");
        render_put_duration(w, style, m->start_lag_max_ns);
        if (m->lag_max_ns >= 0) {
            wr_text(w, ", waited for us up to ");
            render_put_duration(w, style, m->lag_max_ns);
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
    render_color(w, style, RENDER_BOLD);
    render_safe(w, target);
    render_color(w, style, RENDER_RESET);
    wr_printf(w, "\n%s %s, %" PRIu64 " attempt%s in ", protocol, mode,
              m->attempts, m->attempts == 1 ? "" : "s");
    render_put_duration(w, style, (int64_t)elapsed_ns);
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
