/* Golden texts, as people see them; then hostile names and answers. */
#include "prober/cli.h"
#include "prober/cli_json.h"
#include "prober/cli_matrix.h"
#include "prober/cli_members.h"
#include "prober/cli_render.h"
#include "prober/cli_screen.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/rng.h"
#include "test/check.h"

#define TEXT_MAX (1u << 20)

static const struct render_style plain = {0};
static const struct render_style colored = {
    .is_color = true, .is_utf8 = true, .columns = 80};

/* What was rendered since the last call, as a string. */
static const char *text_of(struct wr *w)
{
    wr_u8(w, '\0');
    check_i64(wr_err(w), 0);
    w->len = 0;
    return (const char *)w->data;
}

static void check_duration(int64_t ns, const char *want)
{
    char text[RENDER_DURATION_SIZE];
    check_text(render_duration(&plain, ns, text), want);
}

static void durations_have_three_digits_and_a_fitting_unit(void **state)
{
    (void)state;
    check_duration(-1, "-");
    check_duration(0, "0 ns");
    check_duration(999, "999 ns");
    check_duration(1000, "1.00 us");
    check_duration(1004, "1.00 us");
    check_duration(1005, "1.01 us");
    check_duration(9994, "9.99 us");
    check_duration(9995, "10.0 us");
    check_duration(99949, "99.9 us");
    check_duration(99950, "100 us");
    check_duration(999499, "999 us");
    check_duration(999500, "1.00 ms");
    check_duration(12345678, "12.3 ms");
    check_duration(999500000, "1.00 s");
    check_duration(61234000000, "61.2 s");
    check_duration(999499999999, "999 s");
    check_duration(3600000000000, "3600 s");
    check_duration(INT64_MAX, "9223372037 s");

    char text[RENDER_DURATION_SIZE];
    check_text(render_duration(&colored, 1500, text), "1.50 \xc2\xb5s");
}

static struct sample ok_sample(void)
{
    struct sample s;

    sample_init(&s);
    s.clock = STAMP_KERNEL;
    s.phases_ns[PHASE_DNS] = 812345;
    s.phases_ns[PHASE_CONNECT] = 401200;
    s.phases_ns[PHASE_TLS] = 930100;
    s.phases_ns[PHASE_TTFB] = 420000;
    s.phases_ns[PHASE_TRANSFER] = 0;
    s.phases_ns[PHASE_LOCAL] = 310000;
    s.total_ns = 2873645;
    s.server_ns = 52000;
    s.lag_ns = 11000;
    s.start_lag_ns = 9000;
    addr_parse(&s.peer, "10.0.0.7:7443");
    addr_parse(&s.local, "10.0.0.5:40312");
    s.rtt_ns = 400000;
    s.retransmits = 0;
    s.http_status = 200;
    s.http_minor = 1;
    strcpy(s.tls_version, "TLSv1.3");
    strcpy(s.tls_cipher, "TLS_AES_128_GCM_SHA256");
    strcpy(s.tls_alpn, "http/1.1");
    return s;
}

static struct sample expired_sample(void)
{
    struct sample s = ok_sample();

    s.outcome = OUTCOME_TLS_EXPIRED;
    s.failed_phase = PHASE_TLS;
    s.phases_ns[PHASE_TLS] = SAMPLE_ABSENT;
    s.phases_ns[PHASE_TTFB] = SAMPLE_ABSENT;
    s.phases_ns[PHASE_TRANSFER] = SAMPLE_ABSENT;
    s.total_ns = SAMPLE_ABSENT;
    s.server_ns = SAMPLE_ABSENT;
    s.http_status = -1;
    s.tls_version[0] = '\0';
    strcpy(s.error, "expired on 2025-01-01");
    return s;
}

static const struct sample_names names = {.target = "https://b-1.test/probe"};

static void draws_the_phases_one_after_the_other(void **state)
{
    (void)state;
    struct sample s = ok_sample();
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    render_sample(&w, &plain, &s, &names);
    check_text(
        text_of(&w),
        "https://b-1.test/probe\n"
        "http1 cold, 10.0.0.5:40312 -> 10.0.0.7:7443, "
        "TLSv1.3 TLS_AES_128_GCM_SHA256 http/1.1\n"
        "\n"
        "  dns       812 us   28.3% ###############\n"
        "  connect   401 us   14.0%                #######\n"
        "  tls       930 us   32.4%                       #################\n"
        "  ttfb      420 us   14.6%                                        "
        "#######\n"
        "  transfer    0 ns    0.0%                                        "
        "       |\n"
        "  local     310 us   10.8%                                        "
        "       ::::::\n"
        "  total    2.87 ms\n"
        "\n"
        "  answer   HTTP/1.1 200, server 52.0 us, network 368 us of ttfb\n"
        "  tcp      round trip 400 us, 0 retransmits\n"
        "  timing   kernel clock, waited 11.0 us for us, began 9.00 us late\n"
        "  outcome  ok\n");
    wr_fini(&w);
}

static void says_where_an_attempt_failed(void **state)
{
    (void)state;
    struct sample s = expired_sample();
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    render_sample(&w, &plain, &s, &names);
    check_text(
        text_of(&w),
        "https://b-1.test/probe\n"
        "http1 cold, 10.0.0.5:40312 -> 10.0.0.7:7443\n"
        "\n"
        "  dns       812 us   53.3% ############################\n"
        "  connect   401 us   26.3%                             #############"
        "\n"
        "  tls            -                                        "
        "x failed here\n"
        "  local     310 us   20.3%                                          "
        ":::::::::::\n"
        "\n"
        "  tcp      round trip 400 us, 0 retransmits\n"
        "  timing   kernel clock, waited 11.0 us for us, began 9.00 us late\n"
        "  outcome  tls_expired in tls: expired on 2025-01-01\n");

    sample_init(&s);
    s.protocol = PROTOCOL_GRPC;
    s.mode = MODE_WARM;
    s.outcome = OUTCOME_DNS_NXDOMAIN;
    s.failed_phase = PHASE_DNS;
    render_sample(&w, &plain, &s, &names);
    check_text(text_of(&w), "https://b-1.test/probe\n"
                            "grpc warm\n"
                            "\n"
                            "  dns            -         x failed here\n"
                            "\n"
                            "  outcome  dns_nxdomain in dns\n");
    wr_fini(&w);
}

static void shows_what_grpc_answered_and_whose_clock_it_was(void **state)
{
    (void)state;
    struct sample s;
    struct wr w;

    sample_init(&s);
    s.protocol = PROTOCOL_GRPC;
    s.mode = MODE_WARM;
    s.is_reconnected = true;
    s.clock = STAMP_USER;
    s.phases_ns[PHASE_TTFB] = 2000;
    s.phases_ns[PHASE_LOCAL] = 0;
    s.total_ns = 2000;
    s.server_ns = 3000;
    s.retransmits = 1;
    s.http_status = 200;
    s.grpc_status = 0;
    s.grpc_serving = 1;
    wr_init_grow(&w, TEXT_MAX);
    render_sample(&w, &plain, &s, &names);
    check_text(text_of(&w),
               "https://b-1.test/probe\n"
               "grpc warm\n"
               "\n"
               "  ttfb     2.00 us  100.0% "
               "####################################################\n"
               "  local       0 ns    0.0%                                   "
               "                 :\n"
               "  total    2.00 us\n"
               "\n"
               "  answer   HTTP/2 200, gRPC OK SERVING, server 3.00 us of "
               "ttfb\n"
               "  tcp      1 retransmit\n"
               "  timing   user clock (our own delays are in the numbers), "
               "on a new connection\n"
               "  outcome  ok\n");
    wr_fini(&w);
}

static void gives_each_attempt_one_aligned_line(void **state)
{
    (void)state;
    struct sample s = ok_sample(), f = expired_sample();
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    render_line_head(&w, &plain);
    render_line(&w, &plain, &s, 1);
    render_line(&w, &plain, &f, 2);
    f.error[0] = '\0';
    f.outcome = OUTCOME_HTTP_STATUS;
    f.failed_phase = PHASE_TTFB;
    f.http_status = 503;
    render_line(&w, &plain, &f, 3);
    f.outcome = OUTCOME_GRPC_STATUS;
    f.failed_phase = -1;
    f.grpc_status = 14;
    render_line(&w, &plain, &f, 4);
    s.phases_ns[PHASE_DNS] = SAMPLE_ABSENT;
    s.retransmits = 3;
    s.clock = STAMP_USER;
    s.is_reconnected = true;
    render_line(&w, &plain, &s, 10000);
    check_text(
        text_of(&w),
        "     #     total      dns  connect      tls     ttfb transfer    local"
        "\n"
        "     1   2.87 ms   812 us   401 us   930 us   420 us     0 ns   310 us"
        "\n"
        "     2   tls_expired in tls: expired on 2025-01-01\n"
        "     3   http_status in ttfb: 503\n"
        "     4   grpc_status: UNAVAILABLE\n"
        " 10000   2.87 ms        -   401 us   930 us   420 us     0 ns   310 us"
        "  retransmits=3  clock=user  reconnected\n");
    wr_fini(&w);
}

static void sums_attempts_up(void **state)
{
    (void)state;
    struct sample s = ok_sample(), f = expired_sample();
    struct render_summary m;
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    render_summary_init(&m);
    for (int i = 0; i < 97; i++)
        check_i64(render_summary_add(&m, &s), 0);
    s.is_reconnected = true;
    s.clock = STAMP_USER;
    s.retransmits = 2;
    s.lag_ns = 2000000;
    check_i64(render_summary_add(&m, &s), 0);
    check_i64(render_summary_add(&m, &f), 0);
    check_i64(render_summary_add(&m, &f), 0);
    f.outcome = OUTCOME_CANCELLED;
    check_i64(render_summary_add(&m, &f), 0);
    m.missed = 4;
    render_summary(&w, &plain, &m, names.target, "http1", "cold", 10000000000);
    check_text(
        text_of(&w),
        "https://b-1.test/probe\n"
        "http1 cold, 101 attempts in 10.0 s (10.1/s): ok 98, failed 2 (2%), "
        "not counted 1, missed slots 4\n"
        "  tls_expired          2\n"
        "  cancelled            1\n"
        "\n"
        "             count       min       p50       p90       p99       max\n"
        "dns             98    812 us    812 us    812 us    812 us    812 us\n"
        "connect         98    401 us    401 us    401 us    401 us    401 us\n"
        "tls             98    930 us    930 us    930 us    930 us    930 us\n"
        "ttfb            98    420 us    420 us    420 us    420 us    420 us\n"
        "transfer        98      0 ns      0 ns      0 ns      0 ns      0 ns\n"
        "local           98    310 us    310 us    310 us    310 us    310 us\n"
        "total           98   2.87 ms   2.87 ms   2.87 ms   2.87 ms   2.87 ms\n"
        "server          98   52.0 us   52.0 us   52.0 us   52.0 us   52.0 us\n"
        "\n"
        "began late by up to 9.00 us, waited for us up to 2.00 ms\n"
        "retransmits 2\n"
        "reconnects 1\n"
        "1 of 98 were timed by the user clock: our own delays are in their "
        "numbers\n");
    render_summary_fini(&m);

    render_summary_init(&m);
    render_summary(&w, &plain, &m, "http://h/", "grpc", "warm", 0);
    check_text(text_of(&w), "http://h/\n"
                            "grpc warm, 0 attempts in 0 ns: ok 0, failed 0\n");
    render_summary_fini(&m);
    wr_fini(&w);
}

/* ---- the matrix ---- */

static const char *const zones[] = {"a", "b", "europe-west1-b",
                                    "northamerica-northeast1-a"};

static struct render_cell fresh(double value)
{
    return (struct render_cell){.state = CELL_FRESH,
                                .age_s = 1,
                                .ok = 10,
                                .trusted_ratio = 1,
                                .value = value};
}

static struct render_matrix matrix_of(size_t n, const struct render_cell *cells)
{
    return (struct render_matrix){.series = SERIES_TOTAL,
                                  .stat = STAT_P99,
                                  .level = "zone",
                                  .protocol = "http1",
                                  .mode = "cold",
                                  .answered_by = "a-1",
                                  .generated_at = "2026-01-01T00:00:00.000Z",
                                  .window_s = 300,
                                  .expected = 3,
                                  .reporting = 3,
                                  .n_rows = n,
                                  .n_columns = n,
                                  .rows = zones,
                                  .columns = zones,
                                  .cells = cells};
}

static void every_state_of_a_cell_looks_different(void **state)
{
    (void)state;
    struct render_cell c[9];
    struct wr w;

    for (int i = 0; i < 9; i++)
        c[i] = fresh(400000 * (i + 1));
    c[1].state = CELL_UNKNOWN;
    c[2].state = CELL_STALE;
    c[2].age_s = 130;
    c[5].age_s = 45.4;
    c[3].ok = 0;
    c[3].failed = 4;
    c[4].failed = 1;
    c[5].failed = 1;
    c[5].trusted_ratio = 0.5;
    c[5].state = CELL_STALE;
    c[6].state = CELL_DRAINING;
    c[7].value = -1;
    struct render_matrix m = matrix_of(3, c);
    m.missing = zones;
    m.n_missing = 2;
    wr_init_grow(&w, TEXT_MAX);
    render_matrix(&w, &plain, &m);
    check_text(
        text_of(&w),
        "p99 of total by zone, http1 cold, last 300 s\n"
        "answered by a-1 at 2026-01-01T00:00:00.000Z, 3 of 3 nodes "
        "reporting, missing: a, b\n"
        "\n"
        "from \\ to                    a                   b      "
        "europe-west1-b\n"
        "a                       400 us                   ?      "
        "       1.20 ms~\n"
        "b                         FAIL             2.00 ms!     "
        "       2.40 ms!*~\n"
        "europe-west1-b           drain                   -      "
        "       3.60 ms\n"
        "\n"
        "  FAIL   every attempt failed\n"
        "  !      some attempts failed\n"
        "  *      the prober was starved, do not trust the number\n"
        "  ~      stale: nothing newer than three windows, 45 to 130 s old\n"
        "  ?      unknown: no measurement\n"
        "  drain  the node is leaving, not measured\n"
        "  -      this phase did not run\n");
    wr_fini(&w);
}

static void loss_is_a_share_of_what_was_judged(void **state)
{
    (void)state;
    struct render_cell c[4] = {fresh(0), fresh(0.001), fresh(0.125), fresh(1)};
    struct wr w;

    c[1].failed = 1; /* needs no mark: the number says it */
    c[3].ok = 0;
    c[3].failed = 7;
    struct render_matrix m = matrix_of(2, c);
    m.stat = STAT_LOSS;
    wr_init_grow(&w, TEXT_MAX);
    render_matrix(&w, &plain, &m);
    check_text(text_of(&w), "loss by zone, http1 cold, last 300 s\n"
                            "answered by a-1 at 2026-01-01T00:00:00.000Z, "
                            "3 of 3 nodes reporting\n"
                            "\n"
                            "from \\ to      a       b\n"
                            "a             0%    0.1%\n"
                            "b          12.5%    FAIL\n"
                            "\n"
                            "  FAIL   every attempt failed\n");
    wr_fini(&w);
}

static void a_wide_matrix_is_cut_into_blocks(void **state)
{
    (void)state;
    struct render_cell c[9];
    struct render_style narrow = {.columns = 34};
    struct wr w;

    for (int i = 0; i < 9; i++)
        c[i] = fresh(1000 * (i + 1));
    struct render_matrix m = matrix_of(3, c);
    static const char *const short_names[] = {"a", "b", "c"};
    m.rows = m.columns = short_names;
    wr_init_grow(&w, TEXT_MAX);
    render_matrix(&w, &narrow, &m);
    const char *text = text_of(&w);
    check_text(strchr(strchr(text, '\n') + 1, '\n'),
               "\n\nfrom \\ to        a         b\n"
               "a          1.00 us   2.00 us\n"
               "b          4.00 us   5.00 us\n"
               "c          7.00 us   8.00 us\n"
               "\n"
               "from \\ to        c\n"
               "a          3.00 us\n"
               "b          6.00 us\n"
               "c          9.00 us\n"
               "\n");
    wr_fini(&w);
}

static void colors_follow_the_value_and_nothing_else(void **state)
{
    (void)state;
    struct render_cell c[4] = {fresh(1000), fresh(10000), fresh(1), fresh(1)};
    struct wr w;

    c[2].state = CELL_STALE;
    c[3].state = CELL_UNKNOWN;
    struct render_matrix m = matrix_of(2, c);
    wr_init_grow(&w, TEXT_MAX);
    render_matrix(&w, &colored, &m);
    const char *text = text_of(&w);
    /* The stale cell's tiny value does not stretch the scale. */
    check_true(strstr(text, "\033[48;5;53;38;5;231m 1.00 \xc2\xb5s  \033[0m"));
    check_true(strstr(text, "\033[48;5;226;38;5;16m 10.0 \xc2\xb5s  \033[0m"));
    check_true(strstr(text, "\033[3;38;5;245m    1 ns~ \033[0m"));
    check_true(strstr(text, "\033[48;5;236;38;5;250m       ?  \033[0m"));

    /* Nearly equal values are nearly equal colours. */
    c[1] = fresh(1100);
    render_matrix(&w, &colored, &m);
    check_true(strstr(text_of(&w), "\033[48;5;53;38;5;231m 1.10 \xc2\xb5s"));
    wr_fini(&w);
}

static void what_is_not_a_fresh_value_is_off_the_ramp(void **state)
{
    (void)state;
    struct render_cell c[4] = {fresh(0.001), fresh(0), fresh(1), fresh(-1)};
    struct wr w;

    c[2].state = CELL_STALE;
    c[2].ok = 0;
    c[2].failed = 1;
    struct render_matrix m = matrix_of(2, c);
    m.stat = STAT_LOSS;
    wr_init_grow(&w, TEXT_MAX);
    render_matrix(&w, &colored, &m);
    const char *text = text_of(&w);
    /* Steps of loss end at their bound: none is a colour of its own. */
    check_true(strstr(text, "\033[48;5;55;38;5;231m 0.1%  \033[0m"));
    check_true(strstr(text, "\033[48;5;53;38;5;231m   0%  \033[0m"));
    check_true(strstr(text, "\033[3;38;5;245m FAIL~ \033[0m"));
    check_true(strstr(text, "\033[38;5;240m    -  \033[0m"));
    c[2].state = CELL_FRESH;
    render_matrix(&w, &colored, &m);
    check_true(strstr(text_of(&w), "\033[1;7;38;5;166m FAIL \033[0m"));
    wr_fini(&w);
}

/* Relative luminance of one of the 256 colours' cube (sRGB, gamma 2.2 by
 * squares: the order is all that matters). */
static unsigned luminance(unsigned color)
{
    static const unsigned level[] = {0, 95, 135, 175, 215, 255};
    unsigned c = color - 16;
    unsigned r = level[c / 36], g = level[c / 6 % 6], b = level[c % 6];

    return 2126 * r * r + 7152 * g * g + 722 * b * b;
}

static void the_ramp_grows_lighter_at_every_step(void **state)
{
    (void)state;
    struct render_cell c[1] = {fresh(1000)};
    struct render_matrix m = matrix_of(1, c);
    unsigned before = 0, steps = 0;
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    render_matrix(&w, &colored, &m);
    const char *at = strstr(text_of(&w), "scale");
    check_true(at != NULL);
    while ((at = strstr(at, "\033[48;5;"))) {
        at += 7;
        unsigned now = luminance((unsigned)atoi(at));
        check_true(now > before);
        before = now;
        steps++;
    }
    check_u64(steps, 8);
    wr_fini(&w);
}

/* Fresh, stale, unknown, draining, absent, failed: six looks, of which only
 * the first is on the ramp, with 256 colours and with eight. */
static void no_two_states_share_a_look(void **state)
{
    (void)state;
    static const struct render_style styles[] = {
        {.is_color = true}, {.is_color = true, .is_basic = true}};
    static const char *const texts[] = {" 10 ns ", "11 ns~", "?",
                                        "drain",   "-",      "FAIL"};
    struct render_cell c[9];
    struct wr w;

    for (int i = 0; i < 9; i++)
        c[i] = fresh(i == 1 ? 11 : 10);
    c[1].state = CELL_STALE;
    c[2].state = CELL_UNKNOWN;
    c[3].state = CELL_DRAINING;
    c[4].value = -1;
    c[5].ok = 0;
    c[5].failed = 1;
    struct render_matrix m = matrix_of(3, c);
    wr_init_grow(&w, TEXT_MAX);
    for (size_t s = 0; s < 2; s++) {
        char looks[6][40] = {{0}};
        render_matrix(&w, &styles[s], &m);
        const char *text = strstr(text_of(&w), "\na  ");
        for (size_t i = 0; i < 6; i++) {
            const char *at = strstr(text, texts[i]);
            check_true(at != NULL);
            while (*at != 'm')
                at--;
            const char *end = at;
            while (*at != '\033')
                at--;
            check_true((size_t)(end - at) < sizeof looks[i]);
            memcpy(looks[i], at, (size_t)(end - at));
            for (size_t k = 0; k < i; k++)
                check_true(strcmp(looks[i], looks[k]) != 0);
            /* Green and what has it in it is for no state but fresh. */
            check_true(!strstr(looks[i], "42") && !strstr(looks[i], "[32"));
        }
        check_true(s == 0 || !strstr(text, "38;5;"));
    }
    wr_fini(&w);
}

static void eight_colors_are_enough(void **state)
{
    (void)state;
    static const struct render_style basic = {.is_color = true,
                                              .is_basic = true};
    struct render_cell c[4] = {fresh(1000), fresh(10000), fresh(3000),
                               fresh(-1)};
    struct wr w;
    struct render_matrix m = matrix_of(2, c);

    c[3].ok = 0;
    c[3].failed = 2;
    wr_init_grow(&w, TEXT_MAX);
    render_matrix(&w, &basic, &m);
    const char *text = text_of(&w);
    check_true(strstr(text, "\033[44;37m 1.00 us "));
    check_true(strstr(text, "\033[45;37m 3.00 us "));
    check_true(strstr(text, "\033[47;30m 10.0 us "));
    check_true(strstr(text, "\033[1;37;41m    FAIL "));
    check_true(!strstr(text, "38;5;") && !strstr(text, "48;5;"));
    wr_reset(&w);
    render_no_answer(&w, &basic, "x", 0);
    check_true(strstr(text_of(&w), "\033[1;31mNO ANSWER\033[0m: x\n"));
    wr_fini(&w);
}

static void says_how_old_an_answer_is(void **state)
{
    (void)state;
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    render_no_answer(&w, &plain, "refused\033[2J", 95999999999);
    check_text(text_of(&w), "NO ANSWER: refused?[2J\n"
                            "what was answered 95 s ago:\n\n");
    render_no_answer(&w, &plain, "refused", -1);
    check_text(text_of(&w), "NO ANSWER: refused\n");
    wr_fini(&w);
}

/* ---- the screen ---- */

static const char *picture(struct wr *w, unsigned lines, const char *text)
{
    wr_reset(w);
    cli_screen_picture(w, lines, text, strlen(text));
    return text_of(w);
}

static void a_picture_clears_what_it_does_not_cover(void **state)
{
    (void)state;
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    check_text(picture(&w, 0, "a\nbc\n"),
               "\033[Ha\033[K\r\nbc\033[K\r\n\033[J");
    check_text(picture(&w, 24, "a"), "\033[Ha\033[K\r\n\033[J");
    check_text(picture(&w, 24, ""), "\033[H\033[J");
    wr_fini(&w);
}

static void a_picture_never_scrolls(void **state)
{
    (void)state;
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    /* The last line ends without a newline, whether or not it is the end. */
    check_text(picture(&w, 2, "a\nb\n"), "\033[Ha\033[K\r\nb\033[K\033[J");
    check_text(picture(&w, 2, "a\nb"), "\033[Ha\033[K\r\nb\033[K\033[J");
    check_text(picture(&w, 2, "a\nb\nc"),
               "\033[Ha\033[K\r\n"
               "... the terminal is too low for the rest\033[K\033[J");
    check_text(picture(&w, 1, "a\nb\n"),
               "\033[H... the terminal is too low for the rest\033[K\033[J");
    wr_fini(&w);
}

static void no_name_reaches_the_terminal_raw(void **state)
{
    (void)state;
    struct render_cell c[1] = {fresh(1000)};
    struct render_matrix m = matrix_of(1, c);
    struct sample s = expired_sample();
    static const char *const evil[] = {"\033[31m\x07\x80z\xc3\xa4\x7f"};
    struct sample_names evil_names = {.target = evil[0]};
    struct wr w;

    m.rows = m.columns = m.missing = evil;
    m.n_missing = 1;
    m.level = m.protocol = m.mode = m.answered_by = m.generated_at = evil[0];
    strcpy(s.error, evil[0]);
    strcpy(s.tls_version, "\033");
    strcpy(s.tls_cipher, "\033");
    strcpy(s.tls_alpn, "\033");
    wr_init_grow(&w, TEXT_MAX);
    render_matrix(&w, &plain, &m);
    render_sample(&w, &plain, &s, &evil_names);
    render_line(&w, &plain, &s, 1);
    const char *text = text_of(&w);
    for (const char *p = text; *p; p++)
        check_true(*p == '\n' || (*p >= 0x20 && *p < 0x7f));
    check_true(strstr(text, "?[31m?z??") != NULL);
    wr_fini(&w);
}

/* Any bytes as names, any numbers as values: lines stay within the width
 * when they can, and nothing breaks. */
static void survives_any_matrix(void **state)
{
    (void)state;
    static char text[12][64];
    const char *list[12];
    struct render_cell c[144];
    struct rng rng;
    struct wr w;

    rng_seed(&rng, check_seed());
    wr_init_grow(&w, TEXT_MAX);
    for (int round = 0; round < 3000; round++) {
        size_t n = (size_t)rng_below(&rng, 13);
        for (size_t i = 0; i < n; i++) {
            size_t len = (size_t)rng_below(&rng, 63);
            for (size_t k = 0; k < len; k++)
                text[i][k] = (char)(1 + rng_below(&rng, 255));
            text[i][len] = '\0';
            list[i] = text[i];
        }
        for (size_t i = 0; i < n * n; i++) {
            c[i] = fresh((double)(rng_next(&rng) >> rng_below(&rng, 64)));
            c[i].value = rng_below(&rng, 8) ? c[i].value / 2 : -1;
            c[i].state = (enum matrix_state)rng_below(&rng, 4);
            c[i].ok = rng_below(&rng, 2);
            c[i].failed = rng_below(&rng, 2);
            c[i].trusted_ratio = rng_unit(&rng);
        }
        struct render_matrix m = matrix_of(n, c);
        struct render_style style = {.columns = (unsigned)rng_below(&rng, 200)};
        m.rows = m.columns = list;
        m.stat = (enum render_stat)rng_below(&rng, 5);
        style.is_color = round % 2;
        render_matrix(&w, &style, &m);
        text_of(&w);
    }
    wr_fini(&w);
}

/* ---- words and numbers on the command line ---- */

static void suggests_the_word_that_was_meant(void **state)
{
    (void)state;
    static const char *const words[] = {"run", "probe", "matrix",
                                        "check-config"};

    check_text(cli_suggest("prob", words, 4), "probe");
    check_text(cli_suggest("prboe", words, 4), "probe");
    check_text(cli_suggest("martix", words, 4), "matrix");
    check_text(cli_suggest("rn", words, 4), "run");
    check_text(cli_suggest("check", words, 4), "check-config");
    check_true(cli_suggest("daemon", words, 4) == NULL);
    check_true(cli_suggest("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", words,
                           4) == NULL);
}

static void a_number_is_digits_within_bounds(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",    "-1",  "+1", " 1", "1 ",
        "0x1", "1e3", "11", "0",  "18446744073709551617"};
    uint64_t v = 7;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_i64(cli_parse_u64(bad[i], 1, 10, &v), ERR_BAD);
    check_u64(v, 7);
    check_i64(cli_parse_u64("10", 1, 10, &v), 0);
    check_u64(v, 10);
    check_i64(cli_parse_u64("18446744073709551615", 0, UINT64_MAX, &v), 0);
    check_u64(v, UINT64_MAX);
}

/* ---- the API's answer ---- */

static const char answer[] =
    "{\"generated_at\":\"2026-01-01T00:00:00.000Z\",\"answered_by\":\"a-1\","
    "\"level\":\"zone\",\"window_s\":300,\"protocol\":\"http1\","
    "\"mode\":\"cold\",\"unit\":\"ns\",\"from\":[\"a\",\"b\"],"
    "\"to\":[\"a\",\"b\",\"c\"],\"news\":[1,{}],"
    "\"cells\":[{\"from\":\"a\",\"to\":\"b\",\"state\":\"fresh\","
    "\"age_s\":3.1,\"attempts\":4,\"ok\":3,\"failed\":1,"
    "\"outcomes\":{\"ok\":3},\"nodes\":3,\"trusted_ratio\":0.5,"
    "\"phases\":{\"tls\":{\"count\":3,\"p50\":10,\"p90\":20.5,\"p99\":30,"
    "\"max\":31},\"dns\":{\"count\":0,\"p50\":0}}},"
    "{\"from\":\"b\",\"to\":\"c\",\"state\":\"stale\"},"
    "{\"from\":\"b\",\"to\":\"a\",\"state\":\"draining\"},"
    "{\"from\":\"b\",\"to\":\"b\",\"state\":\"sparkling\"}],"
    "\"origins\":{\"expected\":9,\"reporting\":8,\"missing\":[\"x\"]}}";

static int parse(const char *text, unsigned series, enum render_stat stat,
                 struct cli_matrix_view **view, struct errmsg *msg)
{
    return cli_matrix_parse(text, strlen(text), series, stat, view, msg);
}

static double value_at(unsigned series, enum render_stat stat)
{
    struct cli_matrix_view *view;
    struct errmsg msg;

    check_i64(parse(answer, series, stat, &view, &msg), 0);
    double v = cli_matrix_table(view)->cells[1].value;
    cli_matrix_close(view);
    return v;
}

static void reads_the_matrix_of_the_contract(void **state)
{
    (void)state;
    struct cli_matrix_view *view;
    struct errmsg msg = {""};

    check_i64(parse(answer, PHASE_TLS, STAT_P90, &view, &msg), 0);
    const struct render_matrix *m = cli_matrix_table(view);
    check_u64(m->n_rows, 2);
    check_u64(m->n_columns, 3);
    check_text(m->columns[2], "c");
    check_text(m->answered_by, "a-1");
    check_text(m->missing[0], "x");
    check_u64(m->window_s, 300);
    check_u64(m->expected, 9);
    check_u64(m->reporting, 8);
    check_u64(m->cells[0].state, CELL_UNKNOWN); /* not in the answer */
    check_u64(m->cells[1].state, CELL_FRESH);
    check_u64(m->cells[1].ok, 3);
    check_u64(m->cells[1].failed, 1);
    check_true(m->cells[1].trusted_ratio == 0.5);
    check_true(m->cells[1].value == 20.5);
    check_u64(m->cells[3].state, CELL_DRAINING);
    check_u64(m->cells[4].state, CELL_UNKNOWN); /* never heard of */
    check_u64(m->cells[5].state, CELL_STALE);
    check_true(m->cells[5].value < 0);
    cli_matrix_close(view);
}

/* An answer that is shown again, later: no cell of it stays fresh for longer
 * than it could have been. */
static void an_answer_grows_old(void **state)
{
    (void)state;
    struct cli_matrix_view *view;
    struct errmsg msg;

    check_i64(parse(answer, PHASE_TLS, STAT_P50, &view, &msg), 0);
    const struct render_cell *cells = cli_matrix_table(view)->cells;
    cli_matrix_age(view, 26.5); /* 3.1 before */
    check_u64(cells[1].state, CELL_FRESH);
    check_true(cells[1].age_s > 29.5 && cells[1].age_s < 29.7);
    cli_matrix_age(view, 0.5);
    check_u64(cells[1].state, CELL_STALE);
    /* The others stay what they were, and an unknown age is unknown. */
    check_u64(cells[0].state, CELL_UNKNOWN);
    check_true(cells[0].age_s < 0);
    cli_matrix_age(view, 1000);
    check_u64(cells[5].state, CELL_STALE);
    check_u64(cells[0].state, CELL_UNKNOWN);
    check_u64(cells[3].state, CELL_DRAINING);
    check_u64(cells[4].state, CELL_UNKNOWN);
    cli_matrix_close(view);
}

static void picks_the_phase_and_the_statistic(void **state)
{
    (void)state;
    check_true(value_at(PHASE_TLS, STAT_P50) == 10);
    check_true(value_at(PHASE_TLS, STAT_P99) == 30);
    check_true(value_at(PHASE_TLS, STAT_MAX) == 31);
    check_true(value_at(PHASE_TLS, STAT_LOSS) == 0.25);
    check_true(value_at(PHASE_DNS, STAT_P50) < 0); /* a count of 0 */
    check_true(value_at(PHASE_TTFB, STAT_P50) < 0);
}

static void refuses_an_answer_that_contradicts_itself(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"unit\":\"ns\",\"from\":[],\"to\":[]}",
        "{\"unit\":\"ns\",\"from\":{},\"to\":[],\"cells\":[]}",
        "{\"unit\":\"ms\",\"from\":[],\"to\":[],\"cells\":[]}",
        "{\"from\":[],\"to\":[],\"cells\":[]}",
        "{\"unit\":\"ns\",\"from\":[1],\"to\":[],\"cells\":[]}",
        "{\"unit\":\"ns\",\"from\":[\"a\",\"a\"],\"to\":[],\"cells\":[]}",
        "{\"unit\":\"ns\",\"from\":[\"a\"],\"to\":[],\"cells\":[{}]}",
        "{\"unit\":\"ns\",\"from\":[\"a\"],\"to\":[],\"cells\":[7]}",
        "{\"unit\":\"ns\",\"from\":[\"a\"],\"to\":[],\"cells\":[[]]}",
        "{\"unit\":\"ns\",\"unit\":\"ns\",\"from\":[],\"to\":[],\"cells\":[]}",
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct cli_matrix_view *view;
        struct errmsg msg = {""};
        check_i64(parse(bad[i], PHASE_TLS, STAT_P50, &view, &msg), ERR_BAD);
        check_true(msg.text[0] != '\0');
    }
}

static void names_the_first_name_that_repeats_another(void **state)
{
    (void)state;
    static const char *const lists[] = {
        "[\"b\",\"c\",\"a\",\"c\",\"a\"]",
        "[\"b\",\"a\",\"c\",\"a\",\"c\"]",
    };
    char text[128];
    struct cli_matrix_view *view;
    struct errmsg msg;

    for (size_t i = 0; i < 2; i++) {
        snprintf(text, sizeof text,
                 "{\"unit\":\"ns\",\"from\":%s,\"to\":[],\"cells\":[]}",
                 lists[i]);
        check_i64(parse(text, PHASE_TLS, STAT_P50, &view, &msg), ERR_BAD);
        check_text(msg.text, "'from'[3] is not a name of its own");
    }
}

static void refuses_a_cell_towards_nowhere(void **state)
{
    (void)state;
    static const char text[] =
        "{\"unit\":\"ns\",\"from\":[\"a\"],\"to\":[\"b\"],"
        "\"cells\":[{\"from\":\"a\",\"to\":\"a\"}]}";
    struct cli_matrix_view *view;
    struct errmsg msg;

    check_i64(parse(text, PHASE_TLS, STAT_P50, &view, &msg), ERR_BAD);
    check_text(msg.text, "'cells'[0] is from or to nowhere");
}

/* Cut anywhere, or with any byte changed: an error or a matrix. */
static void survives_a_broken_answer(void **state)
{
    (void)state;
    static char text[sizeof answer];
    struct cli_matrix_view *view;
    struct errmsg msg;
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    for (size_t len = 0; len < sizeof answer - 1; len++)
        check_i64(
            cli_matrix_parse(answer, len, PHASE_TLS, STAT_P50, &view, &msg),
            ERR_BAD);
    for (size_t bit = 0; bit < 8 * (sizeof answer - 1); bit++) {
        memcpy(text, answer, sizeof answer);
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        if (!cli_matrix_parse(text, sizeof answer - 1, PHASE_TLS, STAT_P50,
                              &view, &msg)) {
            render_matrix(&w, &plain, cli_matrix_table(view));
            text_of(&w);
            cli_matrix_close(view);
        }
    }
    wr_fini(&w);
}

/* ---- whether a matrix is whole ---- */

#define CELL(from, to, state) \
    "{\"from\":\"" from "\",\"to\":\"" to "\",\"state\":\"" state "\"}"
#define A_AND_B "{\"unit\":\"ns\",\"from\":[\"a\",\"b\"],\"to\":[\"a\",\"b\"],"
/* Of a and b, with three of the pairs in the states given. */
#define SQUARE(a_b, b_a, b_b)                               \
    A_AND_B "\"cells\":[" CELL("a", "a", "fresh") "," CELL( \
        "a", "b", a_b) "," CELL("b", "a", b_a) "," CELL("b", "b", b_b) "]}"
#define SILENT(name) \
    A_AND_B "\"cells\":[],\"origins\":{\"missing\":[\"" name "\"]}}"

/* What the matrix lacks, "" if nothing. */
static const char *lacks(const char *text, const char *expected)
{
    static struct errmsg why;
    struct cli_matrix_view *view;

    errmsg_set(&why, "%s", "");
    check_i64(parse(text, SERIES_TOTAL, STAT_P50, &view, &why), 0);
    errmsg_set(&why, "%s", "");
    bool is_whole = cli_matrix_is_whole(cli_matrix_table(view), expected, &why);
    check_true(is_whole == !*why.text);
    cli_matrix_close(view);
    return why.text;
}

static void a_matrix_is_whole_once_nothing_is_missing(void **state)
{
    (void)state;
    static const char whole[] = SQUARE("fresh", "fresh", "fresh");

    check_text(lacks(whole, NULL), "");
    check_text(lacks(whole, "a,b"), "");
    check_text(lacks(whole, "b"), "");
    check_text(lacks(whole, "a,c,b"), "'c' is not there");
    check_text(lacks(whole, "ab"), "'ab' is not there");
    check_text(lacks(SQUARE("unknown", "fresh", "fresh"), NULL),
               "'a' to 'b' is unknown");
    check_text(lacks(SQUARE("fresh", "stale", "fresh"), NULL),
               "'b' to 'a' is stale");
    check_text(lacks(SQUARE("fresh", "draining", "fresh"), NULL),
               "'b' to 'a' is draining");
    check_text(lacks(SILENT("b-1"), NULL), "'b-1' does not report");
    check_text(lacks(SILENT("\\u001b[1m"), NULL), "'?[1m' does not report");
}

static void who_is_alone_need_not_probe_itself(void **state)
{
    (void)state;

    check_text(lacks(SQUARE("fresh", "fresh", "unknown"), NULL), "");
    check_text(lacks(SQUARE("fresh", "fresh", "stale"), NULL),
               "'b' to 'b' is stale");
}

static void a_matrix_of_nobody_is_not_whole(void **state)
{
    (void)state;
    static const char nobody[] =
        "{\"unit\":\"ns\",\"from\":[],\"to\":[],\"cells\":[]}";
    static const char no_row[] =
        "{\"unit\":\"ns\",\"from\":[\"a\"],\"to\":[\"a\",\"b\"],\"cells\":"
        "[" CELL("a", "a", "fresh") "," CELL("a", "b", "fresh") "]}";

    static const char no_column[] =
        "{\"unit\":\"ns\",\"from\":[\"a-1\",\"b\"],\"to\":[\"a-1\"],\"cells\":"
        "[" CELL("a-1", "a-1", "fresh") "," CELL("b", "a-1", "fresh") "]}";

    check_text(lacks(nobody, NULL), "nobody is there");
    check_text(lacks(nobody, "a"), "'a' is not there");
    check_text(lacks(no_row, NULL), "");
    check_text(lacks(no_row, "a,b"), "'b' is not there");
    check_text(lacks(no_column, NULL), "");
    check_text(lacks(no_column, "a-1,b"), "'b' is not there");
    check_text(lacks(no_column, "a"), "'a' is not there");
}

static void finds_the_message_of_an_error(void **state)
{
    (void)state;
    static const char text[] = "{\"error\":{\"code\":\"bad_parameter\","
                               "\"message\":\"window \\u001b[1m?\"}}";
    struct errmsg msg;

    cli_json_error(text, sizeof text - 1, &msg);
    check_text(msg.text, "window ?[1m?");
    cli_json_error("<html>", 6, &msg);
    check_text(msg.text, "");
}

/* The library repeats what it stumbled over. */
static void complaints_about_json_are_plain(void **state)
{
    (void)state;
    static const char *const texts[] = {"{\"a\":\x1b]0;x\a}", "[tru\xc2\x9bX]",
                                        "[\"\x1b[2J\"]"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct errmsg msg = {""};
        check_true(cli_json_open(texts[i], strlen(texts[i]), &msg) == NULL);
        check_true(msg.text[0] != '\0');
        for (size_t n = 0; msg.text[n]; n++)
            check_true(msg.text[n] >= 0x20 && msg.text[n] <= 0x7e);
        check_true(cli_json_open(texts[i], strlen(texts[i]), NULL) == NULL);
    }
}

/* ---- members ---- */

static const char members_answer[] =
    "{\"generated_at\":\"2026-01-01T00:00:00.000Z\",\"answered_by\":\"a-1\","
    "\"mesh\":{\"is_on\":true,\"state\":\"ok\",\"label\":\"prod\","
    "\"encrypted\":true,\"accepts_plaintext\":false,\"is_holding\":false,"
    "\"health\":0,\"members\":{\"alive\":3,\"suspect\":1,\"left\":0,"
    "\"failed\":1}},\"members\":["
    "{\"name\":\"serf-1\",\"zone\":null,\"region\":null,\"state\":\"alive\","
    "\"state_age_s\":356400.5,\"address\":\"10.0.0.9:7946\",\"rtt_ns\":null,"
    "\"is_self\":false,\"is_ours\":false,\"is_probed\":false,"
    "\"tags\":[{\"key\":\"role\",\"value\":\"web\"}]},"
    "{\"name\":\"c-1\",\"zone\":\"c\",\"region\":\"r2\",\"state\":\"failed\","
    "\"state_age_s\":4000,\"address\":\"10.0.0.3:7946\","
    "\"probe\":\"10.0.0.3:7443\",\"version\":\"1.2.3\",\"is_ours\":true,"
    "\"is_probed\":true,\"is_held\":true},"
    "{\"name\":\"b-1\",\"zone\":\"b\",\"region\":\"r1\",\"state\":\"suspect\","
    "\"state_age_s\":1.5,\"address\":\"10.0.0.2:7946\","
    "\"probe\":\"10.0.0.2:7443\",\"version\":\"1.2.2\",\"rtt_ns\":812345,"
    "\"is_ours\":true,\"is_probed\":true,\"is_held\":false},"
    "{\"name\":\"a-2\",\"zone\":\"a\",\"region\":\"r1\",\"state\":\"static\","
    "\"state_age_s\":null,\"address\":null,\"probe\":\"a-2:7443\","
    "\"is_ours\":true,\"is_probed\":false},"
    "{\"name\":\"a-1\",\"zone\":\"a\",\"region\":\"r1\",\"state\":\"alive\","
    "\"state_age_s\":245,\"address\":\"10.0.0.1:7946\",\"probe\":null,"
    "\"version\":\"1.2.3\",\"is_self\":true,\"is_ours\":true}]}";

static int members(struct wr *w, const struct render_style *style,
                   const char *text, struct errmsg *msg)
{
    return cli_members_render(text, strlen(text), style, w, msg);
}

static void members_are_a_table_with_this_node_first(void **state)
{
    (void)state;
    struct errmsg msg = {""};
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    check_i64(members(&w, &plain, members_answer, &msg), 0);
    check_text(text_of(&w),
               "mesh ok, label prod, encrypted\n"
               "3 alive, 1 suspect, 1 failed, 0 left\n"
               "answered by a-1 at 2026-01-01T00:00:00.000Z\n"
               "\n"
               "NAME    ZONE  REGION  STATE         FOR    ADDRESS        PROBE"
               "          RTT     VERSION\n"
               "a-1 *   a     r1      alive         4m05s  10.0.0.1:7946  -    "
               "          -       1.2.3\n"
               "a-2     a     r1      static        -      -              -    "
               "          -       -\n"
               "b-1     b     r1      suspect       1s     10.0.0.2:7946  "
               "10.0.0.2:7443  812 us  1.2.2\n"
               "c-1     c     r2      failed, held  1h06m  10.0.0.3:7946  "
               "10.0.0.3:7443  -       1.2.3\n"
               "serf-1  -     -       alive         4d03h  10.0.0.9:7946  -    "
               "          -       -\n"
               "\n"
               "  *     this node\n"
               "  held  lost by the mesh, but probed on\n");
    wr_fini(&w);
}

/* What `mesh` is rendered as, the first two lines. */
static const char *heading(struct wr *w, const char *mesh)
{
    char text[1024];
    struct errmsg msg = {""};

    snprintf(text, sizeof text, "{\"members\":[],\"mesh\":%s}", mesh);
    check_i64(members(w, &plain, text, &msg), 0);
    char *out = (char *)w->data;
    text_of(w);
    *strstr(out, "\nanswered by") = '\0';
    return out;
}

static void a_mesh_that_is_open_is_said_loudly(void **state)
{
    (void)state;
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    check_text(heading(&w, "{\"is_on\":true,\"state\":\"alone\","
                           "\"is_holding\":true,\"health\":3}"),
               "mesh alone, NOT ENCRYPTED, health 3 (0 is best)\n"
               "0 alive, 0 suspect, 0 failed, 0 left; nobody else is alive, "
               "the last known are probed on");
    check_text(heading(&w, "{\"is_on\":true,\"state\":\"ok\","
                           "\"encrypted\":true,\"accepts_plaintext\":true}"),
               "mesh ok, encrypted but ACCEPTS PLAINTEXT\n"
               "0 alive, 0 suspect, 0 failed, 0 left");
    check_text(heading(&w, "{\"is_on\":false,\"state\":\"off\"}"),
               "mesh off: only what is configured");
    check_text(heading(&w, "null"), "mesh -: only what is configured");
    wr_fini(&w);
}

static void no_member_reaches_the_terminal_raw(void **state)
{
    (void)state;
    static const char text[] =
        "{\"answered_by\":\"\\u001b]0;x\",\"mesh\":{\"is_on\":true,"
        "\"state\":\"\\u001b[2J\",\"label\":\"\\u009b\"},\"members\":["
        "{\"name\":\"\\u001b[31m\",\"zone\":\"\\r\\n\",\"region\":\"\\u202e\","
        "\"state\":\"\\b\",\"address\":\"\\t\",\"probe\":\"\\u007f\","
        "\"is_probed\":true,\"is_self\":true,\"is_held\":true,"
        "\"version\":\"\\u00e9\"}]}";
    struct errmsg msg = {""};
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    check_i64(members(&w, &plain, text, &msg), 0);
    for (size_t i = 0; i < w.len; i++)
        check_true(w.data[i] == '\n' ||
                   (w.data[i] >= 0x20 && w.data[i] < 0x7f));
    const char *shown = text_of(&w);
    check_true(strstr(shown, "?[31m *") != NULL);
    check_true(strstr(shown, "??") != NULL);
    check_true(strstr(shown, "?, held") != NULL);
    wr_fini(&w);
}

/* How a name of so many `n` and "end" is shown. */
static void check_shown(size_t len, const char *want)
{
    char text[512], name[129];
    struct errmsg msg = {""};
    struct wr w;

    memset(name, 'n', len - 3);
    memcpy(name + len - 3, "end", 4);
    snprintf(text, sizeof text,
             "{\"mesh\":null,\"members\":[{\"name\":\"%s\"}]}", name);
    wr_init_grow(&w, TEXT_MAX);
    check_i64(members(&w, &plain, text, &msg), 0);
    check_true(strstr(text_of(&w), want) != NULL);
    wr_fini(&w);
}

static void a_long_name_loses_its_front(void **state)
{
    (void)state;
    check_shown(40, "\nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnend  -");
    check_shown(41, "\n..nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnend  -");
    check_shown(128, "\n..nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnend  -");
}

/* A column is a character, however many bytes it has. */
static void a_long_name_is_cut_between_characters(void **state)
{
    (void)state;
    char text[512], name[2 * 50 + 1];
    struct errmsg msg = {""};
    struct wr w;

    for (size_t i = 0; i < 50; i++)
        memcpy(name + 2 * i, "\xc3\xa9", 3);
    snprintf(text, sizeof text,
             "{\"mesh\":null,\"members\":[{\"name\":\"%s\"}]}", name);
    wr_init_grow(&w, TEXT_MAX);
    check_i64(members(&w, &plain, text, &msg), 0);
    check_true(strstr(text_of(&w),
                      "\n..??????????????????????????????????????  -") != NULL);
    wr_fini(&w);
}

static void states_are_coloured_and_said(void **state)
{
    (void)state;
    struct errmsg msg = {""};
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    check_i64(members(&w, &colored, members_answer, &msg), 0);
    const char *shown = text_of(&w);
    check_true(strstr(shown, "\033[1ma-1 *\033[0m") != NULL);
    check_true(strstr(shown, "\033[38;5;36malive\033[0m") != NULL);
    check_true(strstr(shown, "\033[38;5;178msuspect\033[0m") != NULL);
    check_true(strstr(shown, "\033[1;38;5;166mfailed, held\033[0m") != NULL);
    check_true(strstr(shown, "prod, encrypted\n") != NULL);
    check_i64(members(&w, &colored,
                      "{\"members\":[],\"mesh\":{\"is_on\":true}}", &msg),
              0);
    shown = text_of(&w);
    check_true(strstr(shown, "\033[1;38;5;166mNOT ENCRYPTED\033[0m\n") != NULL);
    wr_fini(&w);
}

static void refuses_what_is_no_list_of_members(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"members\":{}}",
        "{\"members\":[1]}",
        "{\"members\":[{}]}",
        "{\"members\":[{\"name\":7}]}",
        "{\"members\":[{\"name\":\"a\"}",
    };
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct errmsg msg = {""};
        check_i64(members(&w, &plain, bad[i], &msg), ERR_BAD);
        check_true(msg.text[0] != '\0');
        check_u64(w.len, 0);
    }
    wr_fini(&w);
}

/* Cut anywhere, or with any byte changed: an error or a table. */
static void survives_broken_members(void **state)
{
    (void)state;
    static char text[sizeof members_answer];
    struct errmsg msg;
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    for (size_t len = 0; len < sizeof members_answer - 1; len++)
        check_i64(cli_members_render(members_answer, len, &plain, &w, &msg),
                  ERR_BAD);
    for (size_t bit = 0; bit < 8 * (sizeof members_answer - 1); bit++) {
        memcpy(text, members_answer, sizeof text);
        text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
        if (!cli_members_render(text, sizeof text - 1, &plain, &w, &msg))
            text_of(&w);
    }
    wr_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_have_three_digits_and_a_fitting_unit),
        cmocka_unit_test(draws_the_phases_one_after_the_other),
        cmocka_unit_test(says_where_an_attempt_failed),
        cmocka_unit_test(shows_what_grpc_answered_and_whose_clock_it_was),
        cmocka_unit_test(gives_each_attempt_one_aligned_line),
        cmocka_unit_test(sums_attempts_up),
        cmocka_unit_test(every_state_of_a_cell_looks_different),
        cmocka_unit_test(loss_is_a_share_of_what_was_judged),
        cmocka_unit_test(a_wide_matrix_is_cut_into_blocks),
        cmocka_unit_test(colors_follow_the_value_and_nothing_else),
        cmocka_unit_test(what_is_not_a_fresh_value_is_off_the_ramp),
        cmocka_unit_test(the_ramp_grows_lighter_at_every_step),
        cmocka_unit_test(no_two_states_share_a_look),
        cmocka_unit_test(eight_colors_are_enough),
        cmocka_unit_test(says_how_old_an_answer_is),
        cmocka_unit_test(a_picture_clears_what_it_does_not_cover),
        cmocka_unit_test(a_picture_never_scrolls),
        cmocka_unit_test(no_name_reaches_the_terminal_raw),
        cmocka_unit_test(survives_any_matrix),
        cmocka_unit_test(suggests_the_word_that_was_meant),
        cmocka_unit_test(a_number_is_digits_within_bounds),
        cmocka_unit_test(reads_the_matrix_of_the_contract),
        cmocka_unit_test(an_answer_grows_old),
        cmocka_unit_test(picks_the_phase_and_the_statistic),
        cmocka_unit_test(refuses_an_answer_that_contradicts_itself),
        cmocka_unit_test(names_the_first_name_that_repeats_another),
        cmocka_unit_test(refuses_a_cell_towards_nowhere),
        cmocka_unit_test(survives_a_broken_answer),
        cmocka_unit_test(a_matrix_is_whole_once_nothing_is_missing),
        cmocka_unit_test(who_is_alone_need_not_probe_itself),
        cmocka_unit_test(a_matrix_of_nobody_is_not_whole),
        cmocka_unit_test(finds_the_message_of_an_error),
        cmocka_unit_test(complaints_about_json_are_plain),
        cmocka_unit_test(members_are_a_table_with_this_node_first),
        cmocka_unit_test(a_mesh_that_is_open_is_said_loudly),
        cmocka_unit_test(no_member_reaches_the_terminal_raw),
        cmocka_unit_test(a_long_name_loses_its_front),
        cmocka_unit_test(a_long_name_is_cut_between_characters),
        cmocka_unit_test(states_are_coloured_and_said),
        cmocka_unit_test(refuses_what_is_no_list_of_members),
        cmocka_unit_test(survives_broken_members),
    };
    return cmocka_run_group_tests_name("render", tests, NULL, NULL);
}
