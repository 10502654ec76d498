/* The control port's stream, from bytes to what a run comes to: lines, events,
 * the board. */
#include "prober/cli.h"
#include "prober/cli_board.h"
#include "prober/cli_event.h"
#include "prober/cli_lines.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/rng.h"
#include "test/check.h"

/* ---- lines ---- */

#define LINE_MAX_TEST 8

/* Feed in pieces of `step` bytes; the lines that come, with a | behind each. */
static const char *lines_of(const char *text, size_t len, size_t step, int *err,
                            bool *is_cut)
{
    static char out[256];
    struct cli_lines l;
    size_t n = 0;

    cli_lines_init(&l, LINE_MAX_TEST);
    for (size_t at = 0; at < len; at += step) {
        const char *line;
        size_t line_len;
        cli_lines_feed(&l, text + at, step < len - at ? step : len - at);
        while ((line = cli_lines_next(&l, &line_len))) {
            memcpy(out + n, line, line_len);
            n += line_len;
            out[n++] = '|';
        }
    }
    out[n] = '\0';
    *err = l.err;
    *is_cut = cli_lines_is_cut(&l);
    cli_lines_fini(&l);
    return out;
}

static void lines_are_the_same_however_they_are_cut(void **state)
{
    (void)state;
    static const char text[] = "one\n\ntwo\nthreethr\n4\nrest";

    for (size_t step = 1; step <= sizeof text; step++) {
        int err;
        bool is_cut;
        check_text(lines_of(text, sizeof text - 1, step, &err, &is_cut),
                   "one||two|threethr|4|");
        check_i64(err, 0);
        check_true(is_cut);
    }
}

static void a_line_over_the_limit_ends_it(void **state)
{
    (void)state;
    static const char *const texts[] = {"ab\nthreethre\nc\n", "ab\nthreethre"};

    for (size_t i = 0; i < 2; i++) {
        for (size_t step = 1; step <= 16; step++) {
            int err;
            bool is_cut;
            const char *got =
                lines_of(texts[i], strlen(texts[i]), step, &err, &is_cut);
            check_text(got, "ab|");
            check_i64(err, ERR_TOOBIG);
        }
    }
}

static void a_stream_that_ends_with_a_newline_is_whole(void **state)
{
    (void)state;
    int err;
    bool is_cut;

    lines_of("a\nb\n", 4, 3, &err, &is_cut);
    check_false(is_cut);
    lines_of("", 0, 1, &err, &is_cut);
    check_false(is_cut);
}

/* What was taken is forgotten: a long stream does not add up. */
static void a_long_stream_costs_one_line_and_one_piece(void **state)
{
    (void)state;
    static char piece[CLI_LINES_PIECE];
    struct cli_lines l;
    const char *line;
    size_t len, n = 0;

    memset(piece, 'x', sizeof piece);
    for (size_t i = 7; i < sizeof piece; i += 8)
        piece[i] = '\n';
    cli_lines_init(&l, LINE_MAX_TEST);
    for (int i = 0; i < 100; i++) {
        cli_lines_feed(&l, piece, sizeof piece - 3);
        while ((line = cli_lines_next(&l, &len)))
            n++;
        cli_lines_feed(&l, piece + sizeof piece - 3, 3);
        while ((line = cli_lines_next(&l, &len)))
            n++;
    }
    check_u64(n, 100 * sizeof piece / 8);
    check_true(l.bytes.size <= CLI_LINES_PIECE + LINE_MAX_TEST);
    cli_lines_fini(&l);
}

/* ---- events ---- */

#define SAMPLE_OK                                                           \
    "{\"target\":\"https://b-1.test/probe\",\"protocol\":\"grpc\","         \
    "\"mode\":\"warm\",\"from\":{\"node\":\"a-1\",\"zone\":\"a\"},"         \
    "\"outcome\":\"ok\",\"failed_phase\":null,\"error\":null,"              \
    "\"clock\":\"user\",\"reconnected\":true,\"phases_ns\":{\"dns\":null,"  \
    "\"connect\":400000,\"tls\":900000,\"ttfb\":500000,\"transfer\":20000," \
    "\"local\":30000},\"total_ns\":1850000,\"server_ns\":52000,"            \
    "\"lag_ns\":11000,\"start_lag_ns\":9000,\"tcp\":{\"rtt_ns\":400000,"    \
    "\"retransmits\":2},\"http\":{\"status\":200,\"version\":\"2\"},"       \
    "\"grpc\":{\"status\":0,\"serving\":\"SERVING\"}}"

#define SAMPLE_FAILED                                                        \
    "{\"from\":{\"node\":\"a-1\",\"zone\":\"a\"},\"outcome\":\"tls_alert\"," \
    "\"failed_phase\":\"tls\",\"error\":\"alert\","                          \
    "\"phases_ns\":{\"connect\":400000},\"total_ns\":null}"

static int open_text(struct cli_event *e, const char *text)
{
    struct errmsg msg = {""};
    int err = cli_event_open(e, text, strlen(text), &msg);

    check_true(!err == !msg.text[0]);
    return err;
}

static void a_sample_is_read_as_it_was_written(void **state)
{
    (void)state;
    struct cli_event e;
    const struct sample *s = &e.sample;

    check_i64(open_text(&e, SAMPLE_OK), 0);
    check_u64(e.kind, EVENT_SAMPLE);
    check_text(e.node, "a-1");
    check_text(e.zone, "a");
    check_u64(s->protocol, PROTOCOL_GRPC);
    check_u64(s->mode, MODE_WARM);
    check_u64(s->outcome, OUTCOME_OK);
    check_i64(s->failed_phase, -1);
    check_u64(s->clock, STAMP_USER);
    check_true(s->is_reconnected);
    check_i64(s->phases_ns[PHASE_DNS], SAMPLE_ABSENT);
    check_i64(s->phases_ns[PHASE_TLS], 900000);
    check_i64(s->total_ns, 1850000);
    check_i64(s->rtt_ns, 400000);
    check_i64(s->retransmits, 2);
    check_i64(s->http_status, 200);
    check_i64(s->grpc_status, 0);
    check_text(s->error, "");
    cli_event_close(&e);

    check_i64(open_text(&e, SAMPLE_FAILED), 0);
    check_u64(s->outcome, OUTCOME_TLS_ALERT);
    check_i64(s->failed_phase, PHASE_TLS);
    check_i64(s->phases_ns[PHASE_TLS], SAMPLE_ABSENT);
    check_i64(s->total_ns, SAMPLE_ABSENT);
    check_text(s->error, "alert");
    cli_event_close(&e);
}

static void what_cannot_be_true_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "x",
        "[]",
        "1",
        "{\"outcome\":\"splendid\"}",
        "{\"outcome\":1}",
        "{\"outcome\":\"ok\"}", /* and no total */
        "{\"outcome\":\"ok\",\"total_ns\":3600000000001}",
        "{\"outcome\":\"ok\",\"total_ns\":1,\"phases_ns\":{\"tls\":1e300}}",
        "{\"outcome\":\"eof\",\"outcome\":\"ok\"}",
        "{\"outcome\":\"eof\"} {}",
    };
    struct cli_event e;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        check_i64(open_text(&e, bad[i]), ERR_BAD);
}

static void what_is_of_another_type_is_absent(void **state)
{
    (void)state;
    struct cli_event e;

    check_i64(open_text(&e, "{\"outcome\":\"eof\",\"from\":7,\"phases_ns\":[],"
                            "\"failed_phase\":\"total\",\"error\":{},"
                            "\"total_ns\":\"1\",\"server_ns\":-5,"
                            "\"tcp\":{\"retransmits\":1e99},"
                            "\"http\":{\"status\":1000}}"),
              0);
    check_text(e.node, "");
    check_i64(e.sample.failed_phase, -1);
    check_text(e.sample.error, "");
    check_i64(e.sample.total_ns, SAMPLE_ABSENT);
    check_i64(e.sample.server_ns, SAMPLE_ABSENT);
    check_i64(e.sample.retransmits, -1);
    check_i64(e.sample.http_status, -1);
    cli_event_close(&e);

    check_i64(open_text(&e, "{\"news\":true}"), 0);
    check_u64(e.kind, EVENT_OTHER);
    cli_event_close(&e);
}

static void lines_cut_or_changed_break_nothing(void **state)
{
    (void)state;
    static const char text[] = SAMPLE_OK;
    char copy[sizeof text];
    struct errmsg msg;
    struct cli_event e;

    for (size_t len = 0; len < sizeof text - 1; len++)
        check_i64(cli_event_open(&e, text, len, &msg), ERR_BAD);
    for (size_t bit = 0; bit < 8 * (sizeof text - 1); bit++) {
        struct cli_board b = {.target = "t"};
        memcpy(copy, text, sizeof text);
        copy[bit / 8] = (char)(copy[bit / 8] ^ 1 << bit % 8);
        if (cli_event_open(&e, copy, sizeof text - 1, &msg))
            continue;
        cli_board_take(&b, &e, &msg);
        cli_event_close(&e);
        cli_board_fini(&b);
    }
}

/* ---- the board ---- */

static int take(struct cli_board *b, const char *text)
{
    struct errmsg msg = {""};
    struct cli_event e;

    check_i64(cli_event_open(&e, text, strlen(text), &msg), 0);
    int err = cli_board_take(b, &e, &msg);
    check_true(!err == !msg.text[0]);
    cli_event_close(&e);
    return err;
}

static void take_from(struct cli_board *b, const char *node, const char *zone,
                      const char *outcome, int connect)
{
    char text[512];

    snprintf(text, sizeof text,
             "{\"from\":{\"node\":\"%s\",\"zone\":\"%s\"},\"outcome\":\"%s\","
             "\"phases_ns\":{\"connect\":%d},\"total_ns\":%d}",
             node, zone, outcome, connect, connect);
    check_i64(take(b, text), 0);
}

static void rows_stand_by_zone_and_node_and_count_their_own(void **state)
{
    (void)state;
    struct cli_board b = {.target = "t"};

    take_from(&b, "n2", "b", "ok", 1000);
    take_from(&b, "n1", "b", "ok", 3000);
    take_from(&b, "n3", "a", "eof", 5000);
    take_from(&b, "n1", "b", "ok", 3000);
    take_from(&b, "n1", "b", "cancelled", 3000);
    check_i64(take(&b, "{\"executor\":{\"node\":\"n9\",\"zone\":\"c\","
                       "\"state\":\"unreachable\"}}"),
              0);
    check_u64(b.n_rows, 4);
    check_text(b.rows[0].node, "n3");
    check_text(b.rows[1].node, "n1");
    check_text(b.rows[2].node, "n2");
    check_text(b.rows[3].node, "n9");
    check_text(b.rows[3].state, "unreachable");
    check_u64(b.rows[1].attempts, 3);
    check_u64(b.rows[1].ok, 2);
    check_u64(b.rows[1].failed, 0);
    check_u64(b.rows[0].failed, 1);
    check_u64(cli_board_phase(&b.rows[1], PHASE_CONNECT).count, 2);
    check_i64(cli_board_phase(&b.rows[1], PHASE_CONNECT).p50_ns, 3000);
    check_u64(cli_board_phase(&b.rows[0], PHASE_CONNECT).count, 0);
    check_u64(b.attempts, 5);
    check_u64(b.ok, 3);
    check_u64(b.failed, 1);
    check_u64(b.outcomes[OUTCOME_CANCELLED], 1);
    cli_board_fini(&b);
}

#define BASELINE(p50)                                                      \
    "\"baseline\":{\"window_s\":900,\"phases\":{\"connect\":{\"count\":9," \
    "\"p50\":" #p50 "}}}"

/* One node "n1" of zone "a" in state `state`. */
#define SUMMARY(state, attempts, ok, outcomes, more)                        \
    "{\"summary\":{\"attempts\":" #attempts ",\"ok\":" #ok ",\"failed\":0," \
    "\"outcomes\":{" outcomes "},\"from\":{\"n1\":{\"zone\":\"a\","         \
    "\"state\":\"" state "\",\"attempts\":" #attempts ",\"ok\":" #ok ","    \
    "\"missed\":3,\"phases\":{\"connect\":{\"count\":" #ok ",\"p50\":4100," \
    "\"p99\":9000,\"max\":9500}}" more "}}}}"

static void the_summary_has_the_last_word(void **state)
{
    (void)state;
    struct cli_board b = {.target = "t", .protocol = "auto"};
    struct cli_board told = {.target = "t", .protocol = "auto"};
    struct cli_board_phase p;

    take_from(&b, "n1", "a", "ok", 1000);
    check_i64(take(&b, SUMMARY("done", 10, 9, "\"ok\":9,\"eof\":1",
                               "," BASELINE(900))),
              0);
    check_true(b.has_summary);
    check_u64(b.n_rows, 1);
    check_u64(b.attempts, 10);
    check_u64(b.missed, 3);
    check_u64(b.outcomes[OUTCOME_EOF], 1);
    check_text(b.rows[0].state, "done");
    p = cli_board_phase(&b.rows[0], PHASE_CONNECT);
    check_u64(p.count, 9);
    check_i64(p.p50_ns, 4100);
    check_i64(p.p99_ns, 9000);
    check_true(cli_board_factor(&b.rows[0], PHASE_CONNECT) > 4.55);
    check_true(cli_board_factor(&b.rows[0], PHASE_CONNECT) < 4.56);
    check_true(cli_board_factor(&b.rows[0], PHASE_TLS) == 0);
    check_text(b.protocol, "auto"); /* it did not say */
    /* And nothing comes after it. */
    check_i64(take(&b, SAMPLE_OK), ERR_BAD);
    cli_board_fini(&b);

    check_i64(take(&told, "{\"summary\":{\"protocol\":\"grpc\"}}"), 0);
    check_text(told.protocol, "grpc");
    cli_board_fini(&told);
}

#define MS 1000000

/* Half as much again, and 0.2 ms more: both. */
static void slower_is_by_factor_and_by_time(void **state)
{
    (void)state;
    static const struct {
        int64_t here_ns, before_ns;
        bool is_slower;
    } cases[] = {
        {600000, 400000, true},
        {599997, 399998, false}, /* half as much, but not 0.2 ms */
        {9000, 1000, false},
        {200000, 1, false},
        {200001, 1, true},
        {150 * MS, 100 * MS, true},
        {150 * MS - 1, 100 * MS, false}, /* 50 ms, but not half */
        {100 * MS, 150 * MS, false},
        {100 * MS, 0, false}, /* that is none */
        {-1, 100 * MS, false},
    };
    struct cli_board_row row = {.has_phases = true, .baseline_s = 900};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        row.phases[PHASE_TLS] =
            (struct cli_board_phase){.count = 9, .p50_ns = cases[i].here_ns};
        row.baseline_p50_ns[PHASE_TLS] = cases[i].before_ns;
        check_u64(cli_board_is_slower(&row, PHASE_TLS), cases[i].is_slower);
    }
    row.phases[PHASE_TLS].p50_ns = MS;
    row.baseline_p50_ns[PHASE_TLS] = 1;
    check_true(cli_board_is_slower(&row, PHASE_TLS));
    row.phases[PHASE_TLS].count = 0;
    check_false(cli_board_is_slower(&row, PHASE_TLS));
    row.phases[PHASE_TLS].count = 1;
    row.baseline_s = 0;
    check_false(cli_board_is_slower(&row, PHASE_TLS));
}

static void without_a_baseline_nothing_is_slower(void **state)
{
    (void)state;
    static const char *const none[] = {
        SUMMARY("done", 1, 1, "", ""),
        SUMMARY("done", 1, 1, "", ",\"baseline\":null"),
        SUMMARY("done", 1, 1, "", "," BASELINE(0)),
        SUMMARY("done", 1, 0, "", "," BASELINE(9)),
        SUMMARY("done", 1, 1, "",
                ",\"baseline\":{\"window_s\":900,\"phases\":{\"connect\":{"
                "\"count\":0,\"p50\":9}}}"),
    };

    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++) {
        struct cli_board b = {.target = "t"};
        check_i64(take(&b, none[i]), 0);
        check_true(cli_board_factor(&b.rows[0], PHASE_CONNECT) == 0);
        cli_board_fini(&b);
    }
}

static int exit_of(const char *first, const char *second, bool is_ours)
{
    struct cli_board b = {.target = "t"};

    if (first)
        check_i64(take(&b, first), 0);
    if (second)
        check_i64(take(&b, second), 0);
    int code = cli_board_exit(&b, is_ours);
    cli_board_fini(&b);
    return code;
}

static void the_exit_code_tells_the_run(void **state)
{
    (void)state;
    static const char all_ok[] = SUMMARY("done", 2, 2, "\"ok\":2", "");
    static const char gone[] = "{\"executor\":{\"node\":\"x\",\"zone\":\"z\","
                               "\"state\":\"unreachable\"}}";
    static const char cut[] =
        SUMMARY("cancelled", 3, 2, "\"ok\":2,\"cancelled\":1", "");

    check_i64(exit_of(all_ok, NULL, false), CLI_OK);
    check_i64(exit_of(all_ok, NULL, true), CLI_OK);
    check_i64(exit_of(SUMMARY("done", 2, 1, "\"ok\":1", ""), NULL, false),
              CLI_PROBE_FAILED);
    check_i64(exit_of(SUMMARY("done", 2, 0, "\"cancelled\":2", ""), NULL, true),
              CLI_PROBE_FAILED);
    /* A summary that contradicts itself is not believed the better half. */
    check_i64(exit_of("{\"summary\":{\"attempts\":2,\"ok\":2,\"failed\":1,"
                      "\"from\":{}}}",
                      NULL, false),
              CLI_PROBE_FAILED);
    /* Somebody who was asked is not there. */
    check_i64(exit_of(gone, all_ok, false), CLI_PROBE_FAILED);
    check_i64(exit_of(SUMMARY("busy", 2, 2, "\"ok\":2", ""), NULL, false),
              CLI_PROBE_FAILED);
    /* Cut short, by us or by somebody else. */
    check_i64(exit_of(cut, NULL, true), CLI_OK);
    check_i64(exit_of(cut, NULL, false), CLI_PROBE_FAILED);
    /* Nobody did anything, or nobody says what. */
    check_i64(exit_of(SUMMARY("denied", 0, 0, "", ""), NULL, false),
              CLI_FAILED);
    check_i64(exit_of(SAMPLE_OK, NULL, false), CLI_FAILED);
    check_i64(exit_of(SAMPLE_OK, NULL, true), CLI_OK);
    check_i64(exit_of(NULL, NULL, true), CLI_FAILED);
}

static void names_and_rows_have_a_limit(void **state)
{
    (void)state;
    struct cli_board b = {.target = "t"};
    char text[512], name[CLI_BOARD_NAME_SIZE + 1] = "";

    memset(name, 'n', CLI_BOARD_NAME_SIZE);
    snprintf(text, sizeof text,
             "{\"executor\":{\"node\":\"%s\",\"state\":\"done\"}}", name);
    check_i64(take(&b, text), ERR_TOOBIG);
    snprintf(text, sizeof text,
             "{\"executor\":{\"node\":\"%s\",\"state\":\"%s\"}}", name + 1,
             name);
    check_i64(take(&b, text), 0);
    check_u64(strlen(b.rows[0].state), CLI_BOARD_STATE_SIZE - 1);
    for (int i = 1; i < CLI_BOARD_ROWS_MAX; i++) {
        snprintf(text, sizeof text, "{\"executor\":{\"node\":\"%d\"}}", i);
        check_i64(take(&b, text), 0);
    }
    check_i64(take(&b, "{\"executor\":{\"node\":\"one more\"}}"), ERR_TOOBIG);
    check_i64(take(&b, "{\"executor\":{\"node\":\"7\"}}"), 0);
    cli_board_fini(&b);
}

/* Whatever the order: rows are sorted, each node has one, all are counted. */
static void random_streams_leave_sorted_rows(void **state)
{
    (void)state;
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 200; round++) {
        struct cli_board b = {.target = "t"};
        uint64_t n = rng_below(&rng, 200), sum = 0;
        for (uint64_t i = 0; i < n; i++) {
            char node[8], zone[8];
            unsigned k = (unsigned)rng_below(&rng, 30);
            snprintf(node, sizeof node, "n%u", k);
            snprintf(zone, sizeof zone, "z%u", k % 4);
            take_from(&b, node, zone, rng_below(&rng, 3) ? "ok" : "reset",
                      (int)rng_below(&rng, 100000));
        }
        for (size_t i = 0; i < b.n_rows; i++) {
            const struct cli_board_row *row = &b.rows[i];
            sum += row->attempts;
            check_u64(row->ok + row->failed, row->attempts);
            check_u64(cli_board_phase(row, SERIES_TOTAL).count, row->ok);
            if (i) {
                int order = strcmp(row[-1].zone, row->zone);
                check_true(order < 0 ||
                           (!order && strcmp(row[-1].node, row->node) < 0));
            }
        }
        check_u64(sum, n);
        check_u64(b.attempts, n);
        cli_board_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_the_same_however_they_are_cut),
        cmocka_unit_test(a_line_over_the_limit_ends_it),
        cmocka_unit_test(a_stream_that_ends_with_a_newline_is_whole),
        cmocka_unit_test(a_long_stream_costs_one_line_and_one_piece),
        cmocka_unit_test(a_sample_is_read_as_it_was_written),
        cmocka_unit_test(what_cannot_be_true_is_refused),
        cmocka_unit_test(what_is_of_another_type_is_absent),
        cmocka_unit_test(lines_cut_or_changed_break_nothing),
        cmocka_unit_test(rows_stand_by_zone_and_node_and_count_their_own),
        cmocka_unit_test(the_summary_has_the_last_word),
        cmocka_unit_test(slower_is_by_factor_and_by_time),
        cmocka_unit_test(without_a_baseline_nothing_is_slower),
        cmocka_unit_test(the_exit_code_tells_the_run),
        cmocka_unit_test(names_and_rows_have_a_limit),
        cmocka_unit_test(random_streams_leave_sorted_rows),
    };
    return cmocka_run_group_tests_name("board", tests, NULL, NULL);
}
