/* Cases by hand, then everything once more through a real parser. */
#include <jansson.h>

#include "proto/json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

/* A writer and its text. */
struct doc {
    struct wr w;
    struct json j;
};

static void doc_init(struct doc *d)
{
    wr_init_grow(&d->w, 1 << 20);
    json_init(&d->j, &d->w);
}

static const char *doc_text(struct doc *d)
{
    check_i64(wr_err(&d->w), 0);
    check_u64(d->j.depth, 0);
    wr_u8(&d->w, 0);
    return (const char *)d->w.data;
}

static json_t *doc_parse(struct doc *d)
{
    json_error_t error;
    json_t *root = json_loadb(
        (const char *)d->w.data, d->w.len,
        JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!root)
        print_error("%s: %.*s\n", error.text, (int)d->w.len, d->w.data);
    check_true(root != NULL);
    return root;
}

static void commas_and_quotes_are_in_place(void **state)
{
    (void)state;
    struct doc d;
    doc_init(&d);
    json_object_begin(&d.j);
    json_key_text(&d.j, "a", "x");
    json_key(&d.j, "b");
    json_array_begin(&d.j);
    json_array_end(&d.j);
    json_key(&d.j, "c");
    json_array_begin(&d.j);
    json_u64(&d.j, 1);
    json_object_begin(&d.j);
    json_object_end(&d.j);
    json_array_begin(&d.j);
    json_bool(&d.j, true);
    json_bool(&d.j, false);
    json_array_end(&d.j);
    json_put_null(&d.j);
    json_array_end(&d.j);
    json_key_i64(&d.j, "d", -5);
    json_key_null(&d.j, "e");
    json_key_bool(&d.j, "f", true);
    json_key_u64(&d.j, "g", 7);
    json_key_double(&d.j, "h", 0.5);
    json_key_time(&d.j, "i", 0);
    json_key_text(&d.j, "j", NULL);
    json_object_end(&d.j);
    check_text(doc_text(&d),
               "{\"a\":\"x\",\"b\":[],\"c\":[1,{},[true,false],null],\"d\":-5,"
               "\"e\":null,\"f\":true,\"g\":7,\"h\":0.5,"
               "\"i\":\"1970-01-01T00:00:00.000Z\",\"j\":null}");
    wr_fini(&d.w);
}

static void values_at_the_top_stand_alone(void **state)
{
    (void)state;
    struct doc d;
    doc_init(&d);
    json_object_begin(&d.j);
    json_object_end(&d.j);
    wr_u8(&d.w, '\n');
    json_u64(&d.j, 1);
    check_text(doc_text(&d), "{}\n1");
    wr_fini(&d.w);
}

static void nests_thirty_two_deep(void **state)
{
    (void)state;
    struct doc d;
    doc_init(&d);
    for (int i = 0; i < JSON_DEPTH_MAX; i += 2) {
        json_array_begin(&d.j);
        json_u64(&d.j, 1);
        json_object_begin(&d.j);
        json_key_u64(&d.j, "a", 1);
        json_key(&d.j, "b");
    }
    json_put_null(&d.j);
    for (int i = 0; i < JSON_DEPTH_MAX; i += 2) {
        json_object_end(&d.j);
        json_u64(&d.j, 2);
        json_array_end(&d.j);
    }
    json_t *root = doc_parse(&d);
    check_u64(json_array_size(root), 3);
    json_decref(root);
    wr_fini(&d.w);
}

static void check_string(const char *text, size_t len, const char *want)
{
    struct doc d;
    doc_init(&d);
    json_text_n(&d.j, text, len);
    check_text(doc_text(&d), want);
    wr_fini(&d.w);
}

#define FFFD "\xef\xbf\xbd"

static void control_characters_are_escaped(void **state)
{
    (void)state;
    static const char in[] = "\0\1\b\t\n\v\f\r\x1f \"\\/\x7f";
    check_string(in, sizeof(in) - 1,
                 "\"\\u0000\\u0001\\b\\t\\n\\u000b\\f\\r\\u001f \\\"\\\\/"
                 "\\u007f\"");
    check_string("", 0, "\"\"");
}

/* Some take them for the end of a line, or for a terminal's command. */
static void line_separators_and_c1_are_escaped(void **state)
{
    (void)state;
    check_string("\xc2\x80\xc2\x85\xc2\x9b\xc2\x9f", 8,
                 "\"\\u0080\\u0085\\u009b\\u009f\"");
    check_string("\xe2\x80\xa8\xe2\x80\xa9", 6, "\"\\u2028\\u2029\"");
}

static void valid_utf8_passes_unchanged(void **state)
{
    (void)state;
    static const char *const good[] = {
        "\xc2\xa0",         "\xdf\xbf",
        "\xe0\xa0\x80",     "\xe2\x80\xa7",
        "\xe2\x80\xaa",     "\xe2\x81\xa8",
        "\xe3\x80\xa8",     "\xc3\x80",
        "\xed\x9f\xbf",     "\xee\x80\x80",
        "\xef\xbf\xbf",     "\xf0\x90\x80\x80",
        "\xf4\x8f\xbf\xbf", "Z\xc3\xbcrich \xe2\x82\xac",
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        char want[32];
        snprintf(want, sizeof(want), "\"%s\"", good[i]);
        check_string(good[i], strlen(good[i]), want);
    }
}

static void what_is_not_utf8_becomes_a_replacement(void **state)
{
    (void)state;
    static const struct {
        const char *in, *want;
    } cases[] = {
        {"\x80", FFFD}, /* continuation alone */
        {"\xbf"
         "a",
         FFFD "a"},
        {"\xc0\x80", FFFD FFFD}, /* overlong NUL */
        {"\xc1\xbf", FFFD FFFD},
        {"\xe0\x9f\xbf", FFFD FFFD FFFD}, /* overlong */
        {"\xed\xa0\x80", FFFD FFFD FFFD}, /* surrogate */
        {"\xf0\x8f\xbf\xbf", FFFD FFFD FFFD FFFD},
        {"\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD}, /* above U+10FFFF */
        {"\xf5\x80", FFFD FFFD},
        {"\xff", FFFD},
        {"\xc3", FFFD}, /* cut off */
        {"\xe2\x82", FFFD},
        {"\xf0\x9f\x98", FFFD},
        {"\xe2\x82"
         "a",
         FFFD "a"}, /* one per broken sequence */
        {"\xf0\x9f\"", FFFD "\\\""},
        {"\xc3\xc3\xbc", FFFD "\xc3\xbc"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char want[64];
        snprintf(want, sizeof(want), "\"%s\"", cases[i].want);
        check_string(cases[i].in, strlen(cases[i].in), want);
    }
}

static void check_double(double v, const char *want)
{
    struct doc d;
    doc_init(&d);
    json_double(&d.j, v);
    check_text(doc_text(&d), want);
    wr_fini(&d.w);
}

static void doubles_are_as_short_as_they_can_be(void **state)
{
    (void)state;
    check_double(0, "0");
    check_double(1, "1");
    check_double(0.1, "0.1");
    check_double(3.1, "3.1");
    check_double(-2.5, "-2.5");
    check_double(0.1 + 0.2, "0.30000000000000004");
    check_double(2.0 / 3, "0.6666666666666666");
    check_double(1e300, "1e+300");
    check_double(DBL_MIN, "2.2250738585072014e-308");
    check_double((double)NAN, "null");
    check_double((double)INFINITY, "null");
    check_double(-(double)INFINITY, "null");
}

static void a_number_that_is_none_still_takes_its_place(void **state)
{
    (void)state;
    struct doc d;
    doc_init(&d);
    json_array_begin(&d.j);
    json_double(&d.j, 1);
    json_double(&d.j, (double)NAN);
    json_double(&d.j, 2);
    json_array_end(&d.j);
    check_text(doc_text(&d), "[1,null,2]");
    wr_fini(&d.w);
}

static void whole_numbers_reach_their_ends(void **state)
{
    (void)state;
    struct doc d;
    doc_init(&d);
    json_array_begin(&d.j);
    json_u64(&d.j, 0);
    json_u64(&d.j, UINT64_MAX);
    json_i64(&d.j, INT64_MIN);
    json_i64(&d.j, INT64_MAX);
    json_i64(&d.j, -1);
    json_array_end(&d.j);
    check_text(doc_text(&d), "[0,18446744073709551615,-9223372036854775808,"
                             "9223372036854775807,-1]");
    wr_fini(&d.w);
}

static void times_are_rfc_3339(void **state)
{
    (void)state;
    static const struct {
        uint64_t s, ms;
        const char *want;
    } cases[] = {
        {0, 0, "1970-01-01T00:00:00.000Z"},
        {951782399, 999, "2000-02-28T23:59:59.999Z"},
        {951782400, 0, "2000-02-29T00:00:00.000Z"},
        {951868800, 1, "2000-03-01T00:00:00.001Z"},
        {1767225600, 0, "2026-01-01T00:00:00.000Z"},
        {1767225599, 50, "2025-12-31T23:59:59.050Z"},
        {1709210096, 7, "2024-02-29T12:34:56.007Z"},
        {4107542399, 0, "2100-02-28T23:59:59.000Z"},
        {4107542400, 0, "2100-03-01T00:00:00.000Z"}, /* no leap year */
        {16725225600, 0, "2500-01-01T00:00:00.000Z"},
    };
    char text[JSON_TIME_SIZE];
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t ns = cases[i].s * 1000000000 + cases[i].ms * 1000000;
        check_text(json_format_time(ns, text), cases[i].want);
        check_text(json_format_time(ns + 999999, text), cases[i].want);
    }
    check_text(json_format_time(UINT64_MAX, text), "2554-07-21T23:34:33.709Z");
}

static void each_day_follows_the_one_before(void **state)
{
    (void)state;
    static const unsigned lengths[] = {31, 28, 31, 30, 31, 30,
                                       31, 31, 30, 31, 30, 31};
    unsigned y = 1970, m = 1, d = 1;
    for (uint64_t day = 0; day < 213000; day++) { /* until 2553 */
        char text[JSON_TIME_SIZE];
        char want[48];
        snprintf(want, sizeof(want), "%04u-%02u-%02uT00:00:00.000Z", y, m, d);
        check_text(json_format_time(day * 86400000000000, text), want);
        bool is_leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
        if (d++ == lengths[m - 1] + (m == 2 && is_leap)) {
            d = 1;
            if (m++ == 12) {
                m = 1;
                y++;
            }
        }
    }
}

static void a_full_writer_keeps_its_error(void **state)
{
    (void)state;
    uint8_t room[6];
    struct wr w;
    struct json j;
    wr_init_fixed(&w, room, sizeof(room));
    json_init(&j, &w);
    json_array_begin(&j);
    json_text(&j, "does not fit");
    json_array_end(&j);
    check_i64(wr_err(&w), ERR_TOOBIG);
}

/* --- through a real parser ---------------------------------------------- */

static void random_bytes_parse_and_valid_ones_come_back(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 20000; round++) {
        char in[24];
        size_t len = (size_t)rng_below(&rng, sizeof(in) + 1);
        /* Mostly bytes that are nearly UTF-8. */
        static const char likely[] =
            "\xc2\xe0\xed\xf0\xf4\x80\x90\xa0\xbf\"\\a";
        for (size_t i = 0; i < len; i++)
            in[i] = rng_below(&rng, 4) ? likely[rng_below(&rng, sizeof(likely))]
                                       : (char)rng_next(&rng);
        struct doc d;
        doc_init(&d);
        json_text_n(&d.j, in, len);
        json_t *root = doc_parse(&d); /* demands valid UTF-8 */
        /* An independent judge of what was valid before. */
        json_t *same = json_stringn(in, len);
        if (same) {
            check_true(json_equal(root, same));
            json_decref(same);
        } else {
            check_true(strstr(json_string_value(root), FFFD) ||
                       memchr(in, 0, len));
        }
        json_decref(root);
        wr_fini(&d.w);
    }
}

static void doubles_come_back_bit_by_bit(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 50000; round++) {
        uint64_t bits = rng_next(&rng);
        double v;
        memcpy(&v, &bits, sizeof(v));
        if (round % 2)
            v = (double)rng_below(&rng, 1u << 30) / 1000;
        struct doc d;
        doc_init(&d);
        json_double(&d.j, v);
        wr_u8(&d.w, 0);
        if (isfinite(v)) {
            double back = strtod((const char *)d.w.data, NULL);
            assert_memory_equal(&back, &v, sizeof(v));
            check_true(d.w.len <= 25);
        }
        wr_fini(&d.w);
    }
}

/* A random tree is written by us and built beside it with jansson. */
static json_t *random_tree(struct rng *rng, struct json *j, int depth)
{
    char key[16];
    uint64_t n = rng_below(rng, 5);
    switch (rng_below(rng, depth < 6 ? 8 : 6)) {
    case 0:
        json_put_null(j);
        return json_null();
    case 1:
        json_bool(j, n % 2);
        return json_boolean(n % 2);
    case 2: {
        int64_t v = (int64_t)rng_next(rng) >> rng_below(rng, 64);
        json_i64(j, v);
        return json_integer(v);
    }
    case 3: {
        uint64_t v = rng_next(rng) >> (1 + rng_below(rng, 63));
        json_u64(j, v);
        return json_integer((json_int_t)v);
    }
    case 4: {
        double v = rng_unit(rng); /* jansson tells 1 from 1.0 */
        json_double(j, v);
        return json_real(v);
    }
    case 5:
        snprintf(key, sizeof(key), "t\n%u", (unsigned)n);
        json_text(j, key);
        return json_string(key);
    case 6: {
        json_t *array = json_array();
        json_array_begin(j);
        for (uint64_t i = 0; i < n; i++)
            json_array_append_new(array, random_tree(rng, j, depth + 1));
        json_array_end(j);
        return array;
    }
    default: {
        json_t *object = json_object();
        json_object_begin(j);
        for (uint64_t i = 0; i < n; i++) {
            snprintf(key, sizeof(key), "\"%u", (unsigned)i);
            json_key(j, key);
            json_object_set_new(object, key, random_tree(rng, j, depth + 1));
        }
        json_object_end(j);
        return object;
    }
    }
}

static void random_trees_are_what_a_parser_reads(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 3000; round++) {
        struct doc d;
        doc_init(&d);
        json_t *want = random_tree(&rng, &d.j, 0);
        json_t *got = doc_parse(&d);
        check_true(json_equal(got, want));
        json_decref(got);
        json_decref(want);
        wr_fini(&d.w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_and_quotes_are_in_place),
        cmocka_unit_test(values_at_the_top_stand_alone),
        cmocka_unit_test(nests_thirty_two_deep),
        cmocka_unit_test(control_characters_are_escaped),
        cmocka_unit_test(line_separators_and_c1_are_escaped),
        cmocka_unit_test(valid_utf8_passes_unchanged),
        cmocka_unit_test(what_is_not_utf8_becomes_a_replacement),
        cmocka_unit_test(doubles_are_as_short_as_they_can_be),
        cmocka_unit_test(a_number_that_is_none_still_takes_its_place),
        cmocka_unit_test(whole_numbers_reach_their_ends),
        cmocka_unit_test(times_are_rfc_3339),
        cmocka_unit_test(each_day_follows_the_one_before),
        cmocka_unit_test(a_full_writer_keeps_its_error),
        cmocka_unit_test(random_bytes_parse_and_valid_ones_come_back),
        cmocka_unit_test(doubles_come_back_bit_by_bit),
        cmocka_unit_test(random_trees_are_what_a_parser_reads),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
