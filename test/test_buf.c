#include "proto/base/buf.h"

#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

/* AddressSanitizer would end the program where malloc() returns NULL. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void integers_are_big_endian(void **state)
{
    (void)state;
    static const uint8_t want[] = {1,    2,    3, 4, 5, 6, 7, 8, 9,
                                   0x0a, 0xf0, 0, 0, 0, 0, 0, 0, 1};
    uint8_t data[sizeof(want)];
    struct wr w;
    struct rd r;
    wr_init_fixed(&w, data, sizeof(data));
    wr_u8(&w, 1);
    wr_be16(&w, 0x0203);
    wr_be24(&w, 0x040506);
    wr_be32(&w, 0x0708090a);
    wr_be64(&w, 0xf000000000000001u);
    check_i64(wr_err(&w), 0);
    check_u64(w.len, sizeof(want));
    check_true(!memcmp(data, want, sizeof(want)));

    rd_init(&r, want, sizeof(want));
    check_u64(rd_u8(&r), 1);
    check_u64(rd_be16(&r), 0x0203);
    check_u64(rd_be24(&r), 0x040506);
    check_u64(rd_be32(&r), 0x0708090a);
    check_u64(rd_left(&r), 8);
    check_u64(rd_be64(&r), 0xf000000000000001u);
    check_u64(rd_left(&r), 0);
    check_i64(rd_end(&r), 0);
}

/* At every length too short, each reader fails once and for all. */
static void reading_past_the_end_is_sticky(void **state)
{
    (void)state;
    static const uint8_t data[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const size_t widths[] = {1, 2, 3, 4, 8};
    for (size_t k = 0; k < 5; k++) {
        for (size_t len = 0; len < widths[k]; len++) {
            uint8_t *copy = malloc(len ? len : 1);
            assert_non_null(copy);
            memcpy(copy, data, len);
            struct rd r;
            rd_init(&r, copy, len);
            uint64_t v = k == 0   ? rd_u8(&r)
                         : k == 1 ? rd_be16(&r)
                         : k == 2 ? rd_be24(&r)
                         : k == 3 ? rd_be32(&r)
                                  : rd_be64(&r);
            check_u64(v, 0);
            check_i64(rd_err(&r), ERR_TRUNC);
            check_u64(rd_left(&r), 0);
            check_u64(rd_u8(&r), 0); /* although bytes are there */
            check_true(!rd_bytes(&r, 0));
            rd_fail(&r, ERR_BAD); /* the first error stays */
            check_i64(rd_end(&r), ERR_TRUNC);
            free(copy);
        }
    }
}

static void bytes_are_lent_not_copied(void **state)
{
    (void)state;
    static const uint8_t data[4] = {1, 2, 3, 4};
    struct rd r;
    rd_init(&r, data, 4);
    check_true(rd_bytes(&r, 0) == data);
    check_true(rd_bytes(&r, 3) == data);
    check_u64(r.pos, 3);
    check_true(!rd_bytes(&r, 2));
    check_i64(rd_err(&r), ERR_TRUNC);

    rd_init(&r, data, 4);
    check_true(!rd_bytes(&r, SIZE_MAX)); /* no overflow in the comparison */
    rd_init(&r, data, 4);
    check_true(rd_bytes(&r, 4) == data);
    check_true(rd_bytes(&r, 0) == data + 4);
    check_i64(rd_end(&r), 0);

    rd_init(&r, NULL, 0);
    check_true(rd_bytes(&r, 0) != NULL);
    check_i64(rd_end(&r), 0);
}

static void leftovers_are_bad(void **state)
{
    (void)state;
    struct rd r;
    rd_init(&r, "ab", 2);
    rd_u8(&r);
    check_i64(rd_end(&r), ERR_BAD);
    check_i64(rd_err(&r), ERR_BAD);
}

static void varints_follow_leb128(void **state)
{
    (void)state;
    static const struct {
        uint64_t v;
        uint8_t bytes[10];
        size_t len;
    } cases[] = {
        {0, {0}, 1},
        {1, {1}, 1},
        {127, {0x7f}, 1},
        {128, {0x80, 1}, 2},
        {300, {0xac, 2}, 2},
        {624485, {0xe5, 0x8e, 0x26}, 3},
        {UINT64_MAX,
         {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
         10},
        {1ull << 63,
         {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1},
         10},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t data[10];
        struct wr w;
        struct rd r;
        wr_init_fixed(&w, data, sizeof(data));
        wr_varint(&w, cases[i].v);
        check_u64(w.len, cases[i].len);
        check_true(!memcmp(data, cases[i].bytes, w.len));
        rd_init(&r, data, w.len);
        check_u64(rd_varint(&r), cases[i].v);
        check_i64(rd_end(&r), 0);
        for (size_t cut = 0; cut < w.len; cut++) {
            rd_init(&r, data, cut);
            check_u64(rd_varint(&r), 0);
            check_i64(rd_err(&r), ERR_TRUNC);
        }
    }
}

static void odd_varints_are_bad(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[11];
        size_t len;
    } cases[] = {
        {{0x80, 0}, 2},       /* 0, not in its shortest form */
        {{0xff, 0x80, 0}, 3}, /* 127, likewise */
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2}, 10},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0}, 11},
        {{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0}, 10},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rd r;
        rd_init(&r, cases[i].bytes, cases[i].len);
        check_u64(rd_varint(&r), 0);
        check_i64(rd_err(&r), ERR_BAD);
    }
}

static void every_varint_round_trips(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 50000; round++) {
        uint64_t v = rng_next(&rng) >> rng_below(&rng, 64);
        uint8_t data[10];
        struct wr w;
        struct rd r;
        wr_init_fixed(&w, data, sizeof(data));
        wr_varint(&w, v);
        rd_init(&r, data, w.len);
        check_u64(rd_varint(&r), v);
        check_i64(rd_end(&r), 0);
        /* any bytes: no crash, and what is read has one spelling only */
        for (size_t i = 0; i < sizeof(data); i++)
            data[i] = (uint8_t)(rng_next(&rng) | (i < 9 ? 0x80 : 0));
        data[rng_below(&rng, 10)] &= 0x7f;
        rd_init(&r, data, sizeof(data));
        v = rd_varint(&r);
        if (rd_err(&r))
            continue;
        uint8_t again[10];
        wr_init_fixed(&w, again, sizeof(again));
        wr_varint(&w, v);
        check_u64(w.len, r.pos);
        check_true(!memcmp(again, data, w.len));
    }
}

static void a_fixed_writer_holds_exactly_its_size(void **state)
{
    (void)state;
    uint8_t data[4] = {9, 9, 9, 9};
    struct wr w;
    wr_init_fixed(&w, data, 3);
    wr_be16(&w, 0x0102);
    wr_be16(&w, 0x0304); /* does not fit, not even in part */
    check_i64(wr_err(&w), ERR_TOOBIG);
    check_u64(w.len, 2);
    wr_u8(&w, 5); /* would fit, but the error is sticky */
    check_u64(w.len, 2);
    check_true(!wr_space(&w, 0));
    check_u64(data[2], 9);

    wr_reset(&w);
    wr_bytes(&w, "abc", 3);
    wr_bytes(&w, NULL, 0);
    check_i64(wr_err(&w), 0);
    check_u64(w.len, 3);
    check_u64(data[3], 9);
    check_true(!wr_space(&w, SIZE_MAX)); /* no overflow */
    check_i64(wr_err(&w), ERR_TOOBIG);
    wr_fini(&w); /* frees nothing that is not its own */

    wr_init_fixed(&w, NULL, 0);
    wr_text(&w, "");
    check_i64(wr_err(&w), 0);
    wr_u8(&w, 1);
    check_i64(wr_err(&w), ERR_TOOBIG);
}

static void a_growing_writer_stops_at_its_max(void **state)
{
    (void)state;
    static const size_t maxima[] = {1, 255, 256, 257, 1000, 4096};
    for (size_t k = 0; k < 6; k++) {
        struct wr w;
        wr_init_grow(&w, maxima[k]);
        for (size_t i = 0; i < maxima[k]; i++)
            wr_u8(&w, (uint8_t)i);
        check_i64(wr_err(&w), 0);
        check_u64(w.len, maxima[k]);
        for (size_t i = 0; i < maxima[k]; i++)
            check_u64(w.data[i], (uint8_t)i);
        check_true(w.size <= maxima[k]);
        wr_u8(&w, 0);
        check_i64(wr_err(&w), ERR_TOOBIG);

        const uint8_t *before = w.data;
        wr_reset(&w);
        check_u64(w.len, 0);
        wr_u8(&w, 7);
        check_i64(wr_err(&w), 0);
        check_true(w.data == before); /* the memory is kept */
        wr_fini(&w);
        check_true(!w.data);
    }
}

static void no_size_is_too_large_to_ask_for(void **state)
{
    (void)state;
    struct wr w;
    wr_init_grow(&w, SIZE_MAX);
    wr_u8(&w, 1);
    check_true(!wr_space(&w, SIZE_MAX)); /* len + n would overflow */
    check_i64(wr_err(&w), ERR_TOOBIG);
    wr_reset(&w);
    check_true(!wr_space(&w, SIZE_MAX / 2 + 2)); /* doubling would */
    check_i64(wr_err(&w), ERR_NOMEM);
    wr_fini(&w);
}

static void space_is_the_callers_to_fill(void **state)
{
    (void)state;
    struct wr w;
    wr_init_grow(&w, 1 << 20);
    wr_text(&w, "ab");
    uint8_t *p = wr_space(&w, 1000);
    assert_non_null(p);
    memset(p, 'x', 1000);
    wr_text(&w, "c");
    check_u64(w.len, 1003);
    check_true(!memcmp(w.data, "abxx", 4));
    check_u64(w.data[1001], 'x');
    check_u64(w.data[1002], 'c');
    wr_fini(&w);
}

static void printf_writes_whole_or_not_at_all(void **state)
{
    (void)state;
    uint8_t data[1024];
    char text[600];
    struct wr w;
    wr_init_fixed(&w, data, sizeof(data));
    wr_printf(&w, "%d-%s", -5, "x");
    check_u64(w.len, 4);
    check_true(!memcmp(data, "-5-x", 4));

    memset(text, 'a', sizeof(text));
    text[511] = '\0';
    wr_printf(&w, "%s", text);
    check_i64(wr_err(&w), 0);
    check_u64(w.len, 515);
    text[511] = 'a';
    text[512] = '\0';
    wr_printf(&w, "%s", text);
    check_i64(wr_err(&w), ERR_TOOBIG);
    check_u64(w.len, 515);

    wr_init_fixed(&w, data, 3);
    wr_printf(&w, "%s", "abc"); /* the NUL takes no room */
    check_i64(wr_err(&w), 0);
    wr_printf(&w, "%s", "");
    check_i64(wr_err(&w), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_are_big_endian),
        cmocka_unit_test(reading_past_the_end_is_sticky),
        cmocka_unit_test(bytes_are_lent_not_copied),
        cmocka_unit_test(leftovers_are_bad),
        cmocka_unit_test(varints_follow_leb128),
        cmocka_unit_test(odd_varints_are_bad),
        cmocka_unit_test(every_varint_round_trips),
        cmocka_unit_test(a_fixed_writer_holds_exactly_its_size),
        cmocka_unit_test(a_growing_writer_stops_at_its_max),
        cmocka_unit_test(no_size_is_too_large_to_ask_for),
        cmocka_unit_test(space_is_the_callers_to_fill),
        cmocka_unit_test(printf_writes_whole_or_not_at_all),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
