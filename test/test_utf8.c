/* Characters told from bytes that are none. */
#include "proto/utf8.h"

#include <string.h>

#include "proto/base/rng.h"
#include "test/check.h"

static size_t len_of(const char *text)
{
    size_t bad;
    return utf8_len((const uint8_t *)text, strlen(text), &bad);
}

static void knows_characters_of_all_lengths(void **state)
{
    (void)state;
    check_u64(len_of("a"), 1);
    check_u64(len_of("\x7f"), 1);
    check_u64(len_of("\xc2\x80"), 2);
    check_u64(len_of("\xdf\xbf"), 2);
    check_u64(len_of("\xe0\xa0\x80"), 3);
    check_u64(len_of("\xed\x9f\xbf"), 3);
    check_u64(len_of("\xef\xbf\xbf"), 3);
    check_u64(len_of("\xf0\x90\x80\x80"), 4);
    check_u64(len_of("\xf4\x8f\xbf\xbf"), 4);
}

static void refuses_what_is_none(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80",
        "\xbf",
        "\xc0\x80", /* overlong */
        "\xc1\xbf",
        "\xe0\x9f\xbf",
        "\xf0\x8f\xbf\xbf",
        "\xed\xa0\x80",     /* a surrogate */
        "\xf4\x90\x80\x80", /* above U+10FFFF */
        "\xf5\x80\x80\x80",
        "\xff",
        "\xc2",
        "\xe2\x82",
        "\xf0\x9f\x98",
        "\xc2"
        "a",
        "\xe2\x82"
        "a",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        if (len_of(bad[i]) != 0)
            fail_msg("case %zu was taken", i);
    }
}

static void check_clean(const char *text, size_t size, const char *want)
{
    char out[64];
    memset(out, 'x', sizeof(out));
    utf8_clean(out, size, text);
    check_text(out, want);
}

static void cleans_what_is_no_text(void **state)
{
    (void)state;
    check_clean("zone-a", 64, "zone-a");
    check_clean("", 64, "");
    check_clean("z\xc3\xbcrich", 64, "z\xc3\xbcrich");
    check_clean("a\xff"
                "b",
                64, "a" UTF8_REPLACEMENT "b");
    /* As many as Unicode recommends: one for each maximal beginning. */
    check_clean("\xe2\x82"
                "a",
                64, UTF8_REPLACEMENT "a");
    check_clean("\xf0\x9f\x98", 64, UTF8_REPLACEMENT);
    check_clean("a\nb\x7f", 64, "a" UTF8_REPLACEMENT "b" UTF8_REPLACEMENT);
    check_clean("\xc2\x85", 64, UTF8_REPLACEMENT); /* NEL, a control, too */
    check_clean("\xc2\xa0", 64, "\xc2\xa0");
}

static void cuts_between_characters(void **state)
{
    (void)state;
    check_clean("abc", 4, "abc");
    check_clean("abc", 3, "ab");
    check_clean("abc", 1, "");
    check_clean("a\xc3\xbc", 4, "a\xc3\xbc");
    check_clean("a\xc3\xbc", 3, "a");
    check_clean("a\xff", 5, "a" UTF8_REPLACEMENT);
    check_clean("a\xff", 4, "a");
}

static void whatever_comes_in_text_comes_out(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 20000; round++) {
        char in[33];
        char out[100];
        char again[100];
        size_t len = (size_t)rng_below(&rng, sizeof(in));
        for (size_t i = 0; i < len; i++)
            in[i] = (char)(1 + rng_below(&rng, 255));
        in[len] = '\0';
        utf8_clean(out, sizeof(out), in);
        check_true(strlen(out) <= 3 * len);
        size_t at = 0;
        while (out[at]) {
            size_t n = len_of(out + at);
            check_true(n > 0 && (uint8_t)out[at] >= 0x20);
            at += n;
        }
        utf8_clean(again, sizeof(again), out);
        check_text(again, out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_characters_of_all_lengths),
        cmocka_unit_test(refuses_what_is_none),
        cmocka_unit_test(cleans_what_is_no_text),
        cmocka_unit_test(cuts_between_characters),
        cmocka_unit_test(whatever_comes_in_text_comes_out),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
