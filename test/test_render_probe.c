/* Golden texts of a probe from several nodes, as people see it; then narrow
 * and low terminals, and hostile names. */
#include "prober/cli_operate.h"
#include "prober/cli_render_probe.h"

#include <stdio.h>
#include <string.h>

#include "test/check.h"

#define TEXT_MAX (1u << 20)
#define SEC      UINT64_C(1000000000)

static const struct render_style plain = {0};
static const struct render_style colored = {
    .is_color = true, .is_utf8 = true, .columns = 118, .lines = 40};

static const char *text_of(struct wr *w)
{
    wr_u8(w, '\0');
    check_i64(wr_err(w), 0);
    w->len = 0;
    return (const char *)w->data;
}

static struct cli_board empty_board(void)
{
    return (struct cli_board){.target = "https://b-1.test/probe",
                              .from = "all-zones",
                              .protocol = "http1",
                              .mode = "cold",
                              .count = 10,
                              .interval_ns = SEC};
}

static void take(struct cli_board *b, const char *text)
{
    struct errmsg msg = {""};
    struct cli_event e;

    check_i64(cli_event_open(&e, text, strlen(text), &msg), 0);
    check_i64(cli_board_take(b, &e, &msg), 0);
    cli_event_close(&e);
}

#define FROM(node, zone) \
    "\"from\":{\"node\":\"" node "\",\"zone\":\"" zone "\"}"

/* 4 ms: dns absent, connect 1, tls 2, ttfb 0.5, transfer 0, local 0.5. */
#define OK_4MS(node, zone)                                                   \
    "{" FROM(node, zone) ",\"outcome\":\"ok\",\"clock\":\"kernel\","         \
                         "\"phases_ns\":{\"connect\":1000000,\"tls\":"       \
                         "2000000,\"ttfb\":500000,\"transfer\":0,\"local\":" \
                         "500000},\"total_ns\":4000000}"
/* 2 ms, in the clear. */
#define OK_2MS(node, zone)                                              \
    "{" FROM(node, zone) ",\"outcome\":\"ok\",\"clock\":\"user\","      \
                         "\"phases_ns\":{\"connect\":1500000,\"ttfb\":" \
                         "500000},\"total_ns\":2000000,\"tcp\":{"       \
                         "\"retransmits\":1}}"
#define FAILED(node, zone)                                               \
    "{" FROM(node, zone) ",\"outcome\":\"tls_alert\",\"failed_phase\":"  \
                         "\"tls\",\"error\":\"by peer\",\"phases_ns\":{" \
                         "\"connect\":1000000},\"total_ns\":null}"
#define GONE(node, zone)                                                    \
    "{\"executor\":{\"node\":\"" node "\",\"zone\":\"" zone "\",\"state\":" \
    "\"unreachable\"}}"

static void the_live_table_has_a_row_per_node(void **state)
{
    (void)state;
    struct cli_board b = empty_board();
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    take(&b, OK_2MS("b-1", "b"));
    take(&b, OK_4MS("a-1", "a"));
    take(&b, OK_4MS("c-1", "c"));
    take(&b, FAILED("c-1", "c"));
    take(&b, GONE("d-1", "d"));
    render_board(&w, &plain, &b, 2 * SEC + SEC / 2, NULL);
    check_text(
        text_of(&w),
        "https://b-1.test/probe from all-zones, http1 cold, 10 every 1.00 s\n"
        "2 s, 4 nodes, 4 attempts, ok 3, failed 1 (25%); times are p50\n"
        "\n"
        "ZONE  NODE  STATE           OK  FAILED   CONNECT       TLS      TTFB"
        "     TOTAL  LAST\n"
        "a     a-1   running          1       0   1.00 ms   2.00 ms    500 us"
        "   4.00 ms  cccccttttttttttfff::\n"
        "b     b-1   running          1       0   1.50 ms         -    500 us"
        "   2.00 ms  ccccccccff\n"
        "c     c-1   running          1       1   1.00 ms   2.00 ms    500 us"
        "   4.00 ms  x tls_alert in tls\n"
        "d     d-1   unreachable      0       0         -         -         -"
        "         -\n");
    wr_fini(&w);
    cli_board_fini(&b);
}

static void the_bar_says_the_same_with_colours(void **state)
{
    (void)state;
    struct cli_board b = empty_board();
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    take(&b, OK_4MS("a-1", "a"));
    render_board(&w, &colored, &b, SEC, "cancelling ...");
    const char *text = text_of(&w);
    check_true(strstr(text, "\033[1mcancelling ...\033[0m\n"));
    check_true(strstr(text, "LAST  \033[38;5;74md\033[0m dns "
                            "\033[38;5;178mc\033[0m connect "
                            "\033[38;5;36mt\033[0m tls "
                            "\033[38;5;32mf\033[0m ttfb "
                            "\033[38;5;175mx\033[0m transfer "
                            "\033[38;5;245m:\033[0m local, the longest "
                            "4.00 ms\n"));
    /* 118 columns less 76 are 42 for the bar: 10.5, 31.5, 36.75, 42. */
    check_true(strstr(text, "4.00 ms  \033[38;5;178mccccccccccc\033[0m"
                            "\033[38;5;36mttttttttttttttttttttt\033[0m"
                            "\033[38;5;32mfffff\033[0m"
                            "\033[38;5;245m:::::\033[0m\n"));
    wr_fini(&w);
    cli_board_fini(&b);
}

static void nothing_yet_is_said(void **state)
{
    (void)state;
    struct cli_board b = empty_board();
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    b.count = 1;
    render_board(&w, &plain, &b, 0, NULL);
    check_text(text_of(&w),
               "https://b-1.test/probe from all-zones, http1 cold, once\n"
               "0 s, 0 nodes, 0 attempts, ok 0, failed 0; times are p50\n"
               "\n"
               "nothing was heard yet\n");
    wr_fini(&w);
    cli_board_fini(&b);
}

/* Columns of the widest line, which holds plain ASCII only. */
static size_t widest(const char *text)
{
    size_t most = 0;

    while (*text) {
        size_t n = strcspn(text, "\n");
        most = n > most ? n : most;
        text += n + (text[n] == '\n');
    }
    return most;
}

static void the_table_fits_the_terminal_from_80_columns(void **state)
{
    (void)state;
    struct cli_board b = empty_board();
    struct wr w;

    b.target = "http://b/";
    take(&b, OK_4MS("a-1", "a"));
    for (unsigned columns = 76; columns < 200; columns++) {
        struct render_style style = {.columns = columns, .lines = 40};
        wr_init_grow(&w, TEXT_MAX);
        render_board(&w, &style, &b, SEC, NULL);
        const char *text = text_of(&w);
        check_true(widest(text) <= columns);
        check_true((strstr(text, "  LAST\n") != NULL) == (columns >= 84));
        wr_fini(&w);
    }
    cli_board_fini(&b);
}

static void on_a_low_terminal_troubles_come_first(void **state)
{
    (void)state;
    struct render_style low = {.columns = 100, .lines = 12};
    struct render_style high = {.columns = 100, .lines = 13};
    struct cli_board b = empty_board();
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    take(&b, OK_2MS("a-1", "a"));
    take(&b, OK_2MS("b-1", "b"));
    take(&b, FAILED("c-1", "c"));
    take(&b, GONE("d-1", "d"));
    render_board(&w, &low, &b, SEC, NULL);
    const char *text = text_of(&w);
    check_true(strstr(text, "\nc ") < strstr(text, "\nd "));
    check_true(strstr(text, "\nd ") < strstr(text, "\na "));
    check_true(strstr(text, "\na ") < strstr(text, "\nb "));
    render_board(&w, &high, &b, SEC, NULL);
    text = text_of(&w);
    check_true(strstr(text, "\na ") < strstr(text, "\nb "));
    check_true(strstr(text, "\nb ") < strstr(text, "\nc "));
    wr_fini(&w);
    cli_board_fini(&b);
}

static void event(struct wr *w, const char *text)
{
    struct errmsg msg = {""};
    struct cli_event e;

    check_i64(cli_event_open(&e, text, strlen(text), &msg), 0);
    render_board_event(w, &plain, &e);
    cli_event_close(&e);
}

static void a_pipe_gets_a_line_for_each(void **state)
{
    (void)state;
    struct cli_board b = empty_board();
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    render_board_head(&w, &plain, &b);
    event(&w, OK_4MS("a-1", "a"));
    event(&w, OK_2MS("b-1", "a-zone-whose-name-is-long"));
    event(&w, FAILED("c-1", "c"));
    event(&w, GONE("d-1", "d"));
    event(&w, "{\"news\":1}");
    check_text(
        text_of(&w),
        "https://b-1.test/probe from all-zones, http1 cold, 10 every 1.00 s\n"
        "zone                  node                       total      dns  "
        "connect      tls     ttfb transfer    local\n"
        "a                     a-1                      4.00 ms        -  "
        "1.00 ms  2.00 ms   500 us     0 ns   500 us\n"
        "..whose-name-is-long  b-1                      2.00 ms        -  "
        "1.50 ms        -   500 us        -        -  retransmits=1  "
        "clock=user\n"
        "c                     c-1                      tls_alert in tls: by "
        "peer\n"
        "d                     d-1                      unreachable\n");
    wr_fini(&w);
}

#define PHASE(p50)                                                      \
    "{\"count\":10,\"p50\":" #p50 ",\"p90\":1,\"p99\":8200000,\"max\":" \
    "9000000}"

/* clang-format off */
static const char summary[] =
    "{\"summary\":{\"attempts\":22,\"ok\":20,\"failed\":2,\"cancelled\":false,"
    "\"outcomes\":{\"ok\":20,\"tls_alert\":2},\"from\":{"
    "\"a-1\":{\"zone\":\"a\",\"state\":\"done\",\"attempts\":12,\"ok\":10,"
    "\"missed\":1,\"phases\":{\"dns\":" PHASE(300000)
    ",\"connect\":" PHASE(4100000) ",\"tls\":" PHASE(1349000)
    ",\"ttfb\":" PHASE(1500000) ",\"local\":" PHASE(1)
    ",\"total\":" PHASE(7000000) "},"
    "\"baseline\":{\"window_s\":900,\"phases\":{"
    "\"dns\":{\"count\":100,\"p50\":101000},"
    "\"connect\":{\"count\":100,\"p50\":900000},"
    "\"tls\":{\"count\":100,\"p50\":900000},"
    "\"ttfb\":{\"count\":100,\"p50\":1000000}}}},"
    "\"b-1\":{\"zone\":\"b\",\"state\":\"done\",\"attempts\":10,\"ok\":10,"
    "\"missed\":0,\"lost\":4,\"phases\":{\"connect\":" PHASE(400000) "},"
    "\"baseline\":null},"
    "\"c-1\":{\"zone\":\"c\",\"state\":\"unreachable\",\"attempts\":0,\"ok\":0,"
    "\"missed\":0,\"phases\":{},\"baseline\":null},"
    "\"d-1\":{\"zone\":\"d\",\"state\":\"denied\"}}}}";
/* clang-format on */

static void the_end_compares_with_the_last_minutes(void **state)
{
    (void)state;
    struct cli_board b = empty_board();
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    take(&b, FAILED("a-1", "a"));
    take(&b, summary);
    render_board_end(&w, &plain, &b, 10 * SEC, false);
    check_text(
        text_of(&w),
        "https://b-1.test/probe from all-zones, http1 cold, 10 every 1.00 s\n"
        "22 attempts, ok 20, failed 2 (9.091%), missed slots 1, samples lost "
        "on the way here 4 in 10.0 s\n"
        "  tls_alert            2\n"
        "MISSING: c-1 (zone c, unreachable), d-1 (zone d, denied)\n"
        "\n"
        "zone a, node a-1: done, ok 10 of 12, missed slots 1\n"
        "  last: tls_alert in tls: by peer\n"
        "  dns       p50  300 us, p99 8.20 ms here, p50  101 us in the last 15 "
        "min\n" /* three times as slow, but not by 0.2 ms */
        "  connect   p50 4.10 ms, p99 8.20 ms here, p50  900 us in the last 15 "
        "min  SLOWER: 4.6 x\n"
        "  tls       p50 1.35 ms, p99 8.20 ms here, p50  900 us in the last 15 "
        "min\n"
        "  ttfb      p50 1.50 ms, p99 8.20 ms here, p50 1.00 ms in the last 15 "
        "min  SLOWER: 1.5 x\n"
        "  total     p50 7.00 ms, p99 8.20 ms here\n"
        "\n"
        "zone b, node b-1: done, ok 10 of 10, samples lost 4, no baseline\n"
        "  connect   p50  400 us, p99 8.20 ms here\n"
        "\n"
        "zone c, node c-1: unreachable\n"
        "\n"
        "zone d, node d-1: denied\n");
    wr_fini(&w);
    cli_board_fini(&b);
}

static void what_was_cut_short_says_so(void **state)
{
    (void)state;
    struct cli_board b = empty_board();
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    take(&b, OK_2MS("a-1", "a"));
    render_board_end(&w, &plain, &b, SEC, true);
    const char *text = text_of(&w);
    check_true(strstr(text, "1 attempt, ok 1, failed 0 (0%) in 1.00 s, "
                            "CANCELLED, without the node's summary\n"));
    check_false(strstr(text, "MISSING"));
    check_true(strstr(text, "zone a, node a-1: running, ok 1 of 1\n"
                            "  connect   p50 1.50 ms, p99 1.50 ms here\n"));
    wr_fini(&w);
    cli_board_fini(&b);
}

/* Only what we write ourselves: newlines, and colours if they are wanted. */
static void check_printable(const char *text)
{
    for (; *text; text++)
        check_true(*text == '\n' || (*text >= 0x20 && *text <= 0x7e));
}

static void no_peer_drives_the_terminal(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "{\"from\":{\"node\":\"\\u001b[2J\",\"zone\":\"\\u009b31m\"},"
        "\"outcome\":\"eof\",\"error\":\"\\u001b]0;x\\u0007\"}",
        "{\"executor\":{\"node\":\"\\n\\r\",\"zone\":\"\xc2\x9b\","
        "\"state\":\"\\u001b[31mbusy\"}}",
        "{\"summary\":{\"attempts\":1,\"from\":{\"\\u001b[A\":{\"zone\":"
        "\"\\u0008\",\"state\":\"\\u007f\"}}}}",
    };
    struct cli_board b = empty_board();
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        event(&w, lines[i]);
        take(&b, lines[i]);
        render_board(&w, &plain, &b, SEC, NULL);
        render_board_end(&w, &plain, &b, SEC, false);
        const char *text = text_of(&w);
        check_printable(text);
        check_true(strstr(text, "?"));
    }
    wr_fini(&w);
    cli_board_fini(&b);
}

/* ---- status ---- */

static void status_is_a_line_per_fact(void **state)
{
    (void)state;
    static const char answer[] =
        "{\"node\":\"a-1\",\"ready\":true,\"uptime_s\":12.5,\"reload\":{"
        "\"last_at\":null,\"applied\":[\"log\",\"\\u001b[2J\"]},\"control\":{"
        "\"refused\":{\"denied\":3}},\"empty\":{}}";
    struct errmsg msg = {""};
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    check_i64(cli_operate_render(answer, sizeof answer - 1, true, &w, &msg), 0);
    check_text(text_of(&w), "node                          a-1\n"
                            "ready                         true\n"
                            "uptime_s                      12.5\n"
                            "reload.last_at                -\n"
                            "reload.applied                log\n"
                            "reload.applied                ?[2J\n"
                            "control.refused.denied        3\n");
    for (size_t len = 0; len < sizeof answer - 1; len++)
        check_i64(cli_operate_render(answer, len, true, &w, &msg), ERR_BAD);
    check_i64(cli_operate_render("[]", 2, true, &w, &msg), ERR_BAD);
    wr_fini(&w);
}

static void what_just_went_well_needs_no_fact(void **state)
{
    (void)state;
    static const char answer[] =
        "{\"reloaded\":true,\"is\":false,\"more\":{\"yes\":true},\"n\":1}";
    struct errmsg msg = {""};
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    check_i64(cli_operate_render(answer, sizeof answer - 1, false, &w, &msg),
              0);
    check_text(text_of(&w), "is                            false\n"
                            "more.yes                      true\n"
                            "n                             1\n");
    w.len = 0;
    check_i64(cli_operate_render("{\"changed\":[]}", 14, false, &w, &msg), 0);
    check_text(text_of(&w), "changed                       -\n");
    wr_fini(&w);
}

static void depth_and_length_have_an_end(void **state)
{
    (void)state;
    char deep[4096] = "", longer[4096] = "";
    struct errmsg msg = {""};
    struct wr w;

    for (int i = 0; i < 300; i++)
        strcat(deep, "{\"a\":");
    strcat(deep, "1");
    for (int i = 0; i < 300; i++)
        strcat(deep, "}");
    memset(longer, 'x', 2000);
    memcpy(longer, "{\"b\":\"", 6);
    strcpy(longer + 2000, "\",\"c\":2,\"");
    memset(longer + strlen(longer), 'n', 1000);
    strcat(longer, "\":3}");
    wr_init_grow(&w, TEXT_MAX);
    check_i64(cli_operate_render(deep, strlen(deep), true, &w, &msg), 0);
    check_text(text_of(&w), "");
    check_i64(cli_operate_render(longer, strlen(longer), true, &w, &msg), 0);
    check_text(text_of(&w), "b                             (too long)\n"
                            "c                             2\n");
    wr_fini(&w);
}

static void complaints_stand_in_lines_of_their_own(void **state)
{
    (void)state;
    static const char answer[] =
        "{\"error\":{\"code\":\"invalid\",\"message\":"
        "\"a.yaml:1:2: one\\na.yaml:3:4: \\u001btwo\\n\"}}";
    struct wr w;

    wr_init_grow(&w, TEXT_MAX);
    check_true(cli_operate_complaints(answer, sizeof answer - 1, &w));
    check_text(text_of(&w), "a.yaml:1:2: one\na.yaml:3:4: ?two\n");
    static const char many[] =
        "{\"error\":{\"message\":\"one\",\"complaints\":[\"one\",7,"
        "\"two\\u001b\"]}}";
    check_true(cli_operate_complaints(many, sizeof many - 1, &w));
    check_text(text_of(&w), "one\ntwo?\n");
    check_false(cli_operate_complaints("x", 1, &w));
    check_false(cli_operate_complaints("{}", 2, &w));
    wr_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_live_table_has_a_row_per_node),
        cmocka_unit_test(the_bar_says_the_same_with_colours),
        cmocka_unit_test(nothing_yet_is_said),
        cmocka_unit_test(the_table_fits_the_terminal_from_80_columns),
        cmocka_unit_test(on_a_low_terminal_troubles_come_first),
        cmocka_unit_test(a_pipe_gets_a_line_for_each),
        cmocka_unit_test(the_end_compares_with_the_last_minutes),
        cmocka_unit_test(what_was_cut_short_says_so),
        cmocka_unit_test(no_peer_drives_the_terminal),
        cmocka_unit_test(status_is_a_line_per_fact),
        cmocka_unit_test(what_just_went_well_needs_no_fact),
        cmocka_unit_test(depth_and_length_have_an_end),
        cmocka_unit_test(complaints_stand_in_lines_of_their_own),
    };
    return cmocka_run_group_tests_name("render_probe", tests, NULL, NULL);
}
