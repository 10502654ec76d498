/* The line, byte by byte, then what a flood leaves of itself. */
#include "prober/log.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/rng.h"
#include "test/check.h"

#define SEC 1000000000ull

static void check_line(bool is_json, const struct log_pair *pairs,
                       const char *want)
{
    char line[LOG_LINE_MAX + 1];
    size_t len = log_format(line, is_json, 1767225600123456789, LOG_WARN,
                            "thing_done", pairs);
    check_true(len <= LOG_LINE_MAX);
    line[len] = '\0';
    check_text(line, want);
}

static void writes_bare_values_without_quotes(void **state)
{
    (void)state;
    check_line(false, (struct log_pair[]){{0}}, "warn thing_done\n");
    check_line(false,
               (struct log_pair[]){
                   {"a", "1"}, {"gone", NULL}, {"b", "[::1]:7443"}, {0}},
               "warn thing_done a=1 b=[::1]:7443\n");
}

static void quotes_and_escapes_what_could_mislead(void **state)
{
    (void)state;
    check_line(false,
               (struct log_pair[]){{"empty", ""},
                                   {"blank", "a b"},
                                   {"equal", "a=b"},
                                   {"quote", "a\"b\\c"},
                                   {"line", "a\nb\r"},
                                   {"escape", "\x1b[31m\x7f"},
                                   {0}},
               "warn thing_done empty=\"\" blank=\"a b\" equal=\"a=b\" "
               "quote=\"a\\\"b\\\\c\" line=\"a\\nb\\x0d\" "
               "escape=\"\\x1b[31m\\x7f\"\n");
}

static void keeps_utf8_and_escapes_what_is_not(void **state)
{
    (void)state;
    check_line(false,
               (struct log_pair[]){{"good", "\xc3\xa9\xf0\x9f\x98\x80"},
                                   {"cut", "\xc3"},
                                   {"long", "\xc0\xaf"},
                                   {"surrogate", "\xed\xa0\x80"},
                                   {"c1", "\xc2\x9b"},
                                   {0}},
               "warn thing_done good=\"\xc3\xa9\xf0\x9f\x98\x80\" "
               "cut=\"\\xc3\" long=\"\\xc0\\xaf\" "
               "surrogate=\"\\xed\\xa0\\x80\" c1=\"\\xc2\\x9b\"\n");
}

static void writes_an_object_with_the_time(void **state)
{
    (void)state;
    check_line(true, (struct log_pair[]){{"a", "x \"y\""}, {0}},
               "{\"time\":\"2026-01-01T00:00:00.123Z\",\"level\":\"warn\","
               "\"event\":\"thing_done\",\"a\":\"x \\\"y\\\"\"}\n");
}

static void a_pair_that_does_not_fit_is_left_out_whole(void **state)
{
    (void)state;
    char line[LOG_LINE_MAX];
    char value[1001];
    for (size_t i = 0; i < 1000; i++)
        value[i] = i % 2 ? ' ' : 'x';
    value[1000] = '\0';
    struct log_pair pairs[] = {{"a", value}, {"b", value}, {"c", value},
                               {"d", value}, {"e", value}, {0}};
    /* "warn e", then four times blank, key, '=', quotes and the value. */
    check_u64(log_format(line, false, 0, LOG_WARN, "e", pairs),
              6 + 4 * 1005 + 1);
    check_u64(line[6 + 4 * 1005 - 1], '"');
}

/* Values of any bytes and lengths: one line, bounded, nothing unprintable. */
static void a_line_is_one_line_and_bounded(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    static char values[8][3000];
    for (int round = 0; round < 2000; round++) {
        struct log_pair pairs[9] = {{0}};
        char line[LOG_LINE_MAX];
        for (size_t i = 0; i < 8; i++) {
            size_t len = rng_below(&rng, round % 2 ? 20 : 2999);
            for (size_t k = 0; k < len; k++)
                values[i][k] = (char)(1 + rng_below(&rng, 255));
            values[i][len] = '\0';
            pairs[i] = (struct log_pair){"key", values[i]};
        }
        size_t len = log_format(line, round % 4 > 1, 0, LOG_INFO, "e", pairs);
        check_true(len > 0 && len <= LOG_LINE_MAX);
        check_true(line[len - 1] == '\n');
        for (size_t i = 0; i + 1 < len; i++)
            check_true((unsigned char)line[i] >= 0x20 && line[i] != 0x7f);
        if (round % 4 > 1)
            check_true(line[len - 2] == '}');
    }
}

static void folds_after_the_burst(void **state)
{
    (void)state;
    static struct log_folds f;
    uint32_t folded = 9;
    for (int i = 0; i < LOG_BURST; i++) {
        check_true(log_folds_take(&f, LOG_INFO, "e", 100, &folded));
        check_u64(folded, 0);
    }
    check_false(log_folds_take(&f, LOG_INFO, "e", 100, &folded));
    check_false(log_folds_take(&f, LOG_INFO, "e", 99 + SEC, &folded));
    check_true(log_folds_take(&f, LOG_INFO, "other", 100, &folded));

    /* The flood goes on: one line a second, with the count. */
    check_true(log_folds_take(&f, LOG_INFO, "e", 100 + SEC, &folded));
    check_u64(folded, 2);
    check_false(log_folds_take(&f, LOG_INFO, "e", 100 + SEC, &folded));
    check_true(log_folds_take(&f, LOG_INFO, "e", 100 + 2 * SEC, &folded));
    check_u64(folded, 1);
    /* Quiet for a second: a burst is allowed again. */
    for (int i = 0; i < LOG_BURST; i++)
        check_true(log_folds_take(&f, LOG_INFO, "e", 100 + 3 * SEC, &folded));
}

static void owes_the_count_of_a_flood_that_ended(void **state)
{
    (void)state;
    static struct log_folds f;
    uint32_t folded = 0;
    for (int i = 0; i < LOG_BURST + 7; i++)
        log_folds_take(&f, LOG_WARN, "e", 0, &folded);
    check_true(log_folds_next_due(&f, SEC - 1, &folded) == NULL);
    const struct log_fold *due = log_folds_next_due(&f, SEC, &folded);
    check_true(due != NULL);
    check_text(due->event, "e");
    check_i64(due->level, LOG_WARN);
    check_u64(folded, 7);
    check_true(log_folds_next_due(&f, 9 * SEC, &folded) == NULL);
}

/* Lines written plus lines reported as left out are all lines. */
static void no_line_is_lost_uncounted(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    static struct log_folds f;
    uint64_t now_ns = 0;
    uint64_t taken = 0;
    uint64_t counted = 0;
    uint32_t folded = 0;
    for (uint64_t i = 0; i < 100000; i++) {
        char event[16];
        snprintf(event, sizeof(event), "e%u", (unsigned)rng_below(&rng, 100));
        now_ns += rng_below(&rng, 3000000);
        taken += log_folds_take(&f, LOG_INFO, event, now_ns, &folded);
        counted += folded;
    }
    check_true(taken < 100000);
    while (log_folds_next_due(&f, now_ns + 2 * SEC, &folded))
        counted += folded;
    check_u64(taken + counted, 100000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_bare_values_without_quotes),
        cmocka_unit_test(quotes_and_escapes_what_could_mislead),
        cmocka_unit_test(keeps_utf8_and_escapes_what_is_not),
        cmocka_unit_test(writes_an_object_with_the_time),
        cmocka_unit_test(a_pair_that_does_not_fit_is_left_out_whole),
        cmocka_unit_test(a_line_is_one_line_and_bounded),
        cmocka_unit_test(folds_after_the_burst),
        cmocka_unit_test(owes_the_count_of_a_flood_that_ended),
        cmocka_unit_test(no_line_is_lost_uncounted),
    };
    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
