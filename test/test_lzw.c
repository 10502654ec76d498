/* Vectors of Go's encoder, then the rules one by one, then a second decoder
 * that follows chains of prefixes instead of places. */
#include "proto/lzw.h"

#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define OUT_MAX (1 << 20)

static size_t from_hex(const char *hex, uint8_t *out, size_t size)
{
    size_t n = strlen(hex) / 2;
    check_true(n <= size);
    for (size_t i = 0; i < n; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return n;
}

static void check_bytes(const struct wr *w, const void *data, size_t len)
{
    check_u64(wr_err(w), 0);
    check_u64(w->len, len);
    if (len > 0)
        assert_memory_equal(w->data, data, len);
}

/* Both directions of one known pair. */
static void check_pair(const char *plain_hex, const char *packed_hex)
{
    uint8_t plain[2048], packed[2048];
    size_t n_plain = from_hex(plain_hex, plain, sizeof(plain));
    size_t n_packed = from_hex(packed_hex, packed, sizeof(packed));
    struct wr w;

    wr_init_grow(&w, OUT_MAX);
    lzw_encode(plain, n_plain, &w);
    check_bytes(&w, packed, n_packed);
    wr_reset(&w);
    check_i64(lzw_decode(packed, n_packed, &w), 0);
    check_bytes(&w, plain, n_plain);
    wr_fini(&w);
}

static void writes_what_go_writes(void **state)
{
    (void)state;
    check_pair("68656c6c6f2068656c6c6f2068656c6c6f2068656c6c6f",
               "00d19461c3e60d0881040d222c787060c180");
}

static void nothing_is_a_clear_and_an_end(void **state)
{
    (void)state;
    /* 256 and 257, nine bits each: 000000001 1 0000000 1 in order of bits. */
    check_pair("", "000302");
}

static void a_string_may_be_used_while_it_is_made(void **state)
{
    (void)state;
    /* aaa: 256, 97, 258, 257. */
    check_pair("616161", "00c3080c08");
}

/* The codes of a stream that the tests put together themselves. */
struct codes {
    uint8_t bytes[1 << 16];
    size_t n_bits;
};

static void put(struct codes *c, unsigned code, unsigned width)
{
    for (unsigned i = 0; i < width; i++, c->n_bits++) {
        check_true(c->n_bits / 8 < sizeof(c->bytes));
        if (c->n_bits % 8 == 0)
            c->bytes[c->n_bits / 8] = 0;
        if (code >> i & 1)
            c->bytes[c->n_bits / 8] |= (uint8_t)(1u << c->n_bits % 8);
    }
}

static int decode(const struct codes *c, struct wr *w)
{
    wr_reset(w);
    return lzw_decode(c->bytes, (c->n_bits + 7) / 8, w);
}

static void refuses_codes_that_mean_nothing_yet(void **state)
{
    (void)state;
    struct wr w;
    wr_init_grow(&w, OUT_MAX);

    for (unsigned code = 258; code < 512; code++) {
        struct codes first = {.n_bits = 0};
        put(&first, 256, 9);
        put(&first, code, 9);
        put(&first, 257, 9);
        check_i64(decode(&first, &w), ERR_BAD);
        check_u64(w.len, 0);

        struct codes second = {.n_bits = 0};
        put(&second, 'a', 9);
        put(&second, code, 9);
        put(&second, 257, 9);
        check_i64(decode(&second, &w), code == 258 ? 0 : ERR_BAD);
        check_u64(w.len, code == 258 ? 3 : 0);
    }
    wr_fini(&w);
}

static void a_clear_forgets_strings_and_the_last_code(void **state)
{
    (void)state;
    struct wr w;
    wr_init_grow(&w, OUT_MAX);
    struct codes c = {.n_bits = 0};

    put(&c, 'a', 9);
    put(&c, 258, 9); /* aa */
    put(&c, 256, 9);
    put(&c, 'b', 9);
    put(&c, 257, 9);
    check_i64(decode(&c, &w), 0);
    check_bytes(&w, "aaab", 4);

    c.n_bits = 0;
    put(&c, 'a', 9);
    put(&c, 258, 9);
    put(&c, 256, 9);
    put(&c, 258, 9); /* no longer known, and nothing was last */
    put(&c, 257, 9);
    check_i64(decode(&c, &w), ERR_BAD);
    wr_fini(&w);
}

static void needs_no_clear_at_the_start_and_ignores_what_follows(void **state)
{
    (void)state;
    struct wr w;
    wr_init_grow(&w, OUT_MAX);
    struct codes c = {.n_bits = 0};

    put(&c, 'x', 9);
    put(&c, 257, 9);
    for (int i = 0; i < 40; i++)
        put(&c, 511, 9);
    check_i64(decode(&c, &w), 0);
    check_bytes(&w, "x", 1);
    wr_fini(&w);
}

/* Strings of one letter grow by one with each code: the densest there is. At
 * 4096 a writer that does not clear goes on with what it has. */
static void a_full_table_stays_as_it_is(void **state)
{
    (void)state;
    struct wr w;
    wr_init_grow(&w, 64 << 20);
    struct codes c = {.n_bits = 0};
    size_t want = 0;
    unsigned hi = 257, width = 9;

    for (unsigned code = 'a'; code != 4096;
         code = code == 'a' ? 258 : code + 1) {
        put(&c, code, width);
        want += code == 'a' ? 1 : code - 256;
        if (++hi == 1u << width && width < 12)
            width++;
    }
    check_u64(hi, 4096);
    for (int i = 0; i < 3; i++) {
        put(&c, 4095, 12);
        put(&c, 4000, 12);
        put(&c, 'z', 12);
        want += (4095 - 256) + (4000 - 256) + 1;
    }
    struct codes open = c;
    put(&c, 257, 12);
    check_i64(decode(&c, &w), 0);
    check_u64(w.len, want);
    check_u64(w.data[want - 1], 'z');
    check_u64(w.data[want - 2], 'a');

    put(&open, 256, 12);
    put(&open, 'q', 9);
    put(&open, 258, 9);
    put(&open, 257, 9);
    check_i64(decode(&open, &w), 0);
    check_u64(w.len, want + 3);
    assert_memory_equal(w.data + want, "qqq", 3);
    wr_fini(&w);
}

/* As the format is told: a table of (prefix, suffix), strings built backwards.
 * Slow and with room to spare. Returns the length, or an error. */
static int decode_by_prefixes(const uint8_t *data, size_t len, uint8_t *out,
                              size_t size)
{
    static uint16_t prefix[4097];
    static uint8_t suffix[4097];
    static uint8_t text[4097];
    unsigned width = 9, hi = 257;
    int last = -1;
    size_t n = 0, bit = 0;

    for (;;) {
        unsigned code = 0;
        for (unsigned i = 0; i < width; i++, bit++) {
            if (bit / 8 >= len)
                return ERR_TRUNC;
            code |= (unsigned)(data[bit / 8] >> bit % 8 & 1) << i;
        }
        if (code == 257)
            return (int)n;
        if (code == 256) {
            width = 9;
            hi = 257;
            last = -1;
            continue;
        }
        unsigned c = code;
        size_t at = sizeof(text);
        if (code > hi || (code == hi && last < 0 && hi < 4095))
            return ERR_BAD;
        if (code == hi && last >= 0) {
            c = (unsigned)last;
            while (c > 257)
                c = prefix[c];
            text[--at] = (uint8_t)c;
            c = (unsigned)last;
        }
        for (; c > 257; c = prefix[c])
            text[--at] = suffix[c];
        text[--at] = (uint8_t)c;
        if (sizeof(text) - at > size - n)
            return ERR_TOOBIG;
        memcpy(out + n, text + at, sizeof(text) - at);
        n += sizeof(text) - at;
        if (last >= 0) {
            prefix[hi] = (uint16_t)last;
            suffix[hi] = (uint8_t)c;
        }
        last = (int)code;
        hi++;
        if (hi >> width) {
            if (width < 12) {
                width++;
            } else {
                hi = 4095;
                last = -1;
            }
        }
    }
}

/* Bytes of `kind` how alike they are: from noise to one letter. */
static void fill(struct rng *r, uint8_t *data, size_t len, unsigned kind)
{
    static const unsigned letters[] = {256, 64, 8, 2, 1};
    unsigned n = letters[kind % 5];

    for (size_t i = 0; i < len; i++) {
        bool repeats = kind >= 5 && i >= 50 && rng_below(r, 20) != 0;
        data[i] = repeats ? data[i - 50] : (uint8_t)rng_below(r, n);
    }
}

static void check_round_trip(const uint8_t *data, size_t len, struct wr *packed,
                             struct wr *back)
{
    static uint8_t out[OUT_MAX];

    wr_reset(packed);
    wr_reset(back);
    lzw_encode(data, len, packed);
    check_u64(wr_err(packed), 0);
    check_i64(lzw_decode(packed->data, packed->len, back), 0);
    check_bytes(back, data, len);
    int n = decode_by_prefixes(packed->data, packed->len, out, sizeof(out));
    check_i64(n, len);
    assert_memory_equal(out, data, len);
}

static void comes_back_whatever_it_is(void **state)
{
    (void)state;
    static uint8_t data[40000];
    struct rng rng;
    struct wr packed, back;
    rng_seed(&rng, check_seed());
    wr_init_grow(&packed, OUT_MAX);
    wr_init_grow(&back, OUT_MAX);

    for (unsigned round = 0; round < 1500; round++) {
        size_t len = rng_below(&rng, round % 50 ? 3000 : sizeof(data));
        fill(&rng, data, len, round % 10);
        check_round_trip(data, len, &packed, &back);
    }
    wr_fini(&packed);
    wr_fini(&back);
}

/* With noise each byte is about one code, so these lengths end around every
 * change of width (254, 766, 1790 codes) and the clear at 4095 (3838). */
static void comes_back_at_each_length_around_a_change(void **state)
{
    (void)state;
    static const size_t around[] = {0, 254, 766, 1790, 3838, 7676};
    static uint8_t data[8192];
    struct rng rng;
    struct wr packed, back;
    rng_seed(&rng, check_seed());
    wr_init_grow(&packed, OUT_MAX);
    wr_init_grow(&back, OUT_MAX);

    /* No pair of neighbours comes twice: one byte is exactly one code. */
    for (size_t i = 0, n = 0; n < sizeof(data) && i < 91; i++) {
        for (size_t j = i + 1; n < sizeof(data) && j < 256; j += 2) {
            data[n++] = (uint8_t)i;
            data[n++] = (uint8_t)j;
        }
    }
    for (size_t a = 0; a < sizeof(around) / sizeof(around[0]); a++) {
        for (size_t i = 0; i < 80; i++) {
            size_t len = around[a] + i < 40 ? 0 : around[a] + i - 40;
            check_round_trip(data, len, &packed, &back);
        }
    }
    fill(&rng, data, sizeof(data), 0);
    for (size_t len = 3600; len < 4100; len++)
        check_round_trip(data, len, &packed, &back);
    wr_fini(&packed);
    wr_fini(&back);
}

static void ends_early_as_cut_at_each_length(void **state)
{
    (void)state;
    static uint8_t data[6000];
    struct rng rng;
    struct wr packed, back;
    rng_seed(&rng, check_seed());
    fill(&rng, data, sizeof(data), 1);
    wr_init_grow(&packed, OUT_MAX);
    wr_init_grow(&back, OUT_MAX);
    wr_text(&back, "before");

    lzw_encode(data, sizeof(data), &packed);
    for (size_t len = 0; len < packed.len; len++) {
        check_i64(lzw_decode(packed.data, len, &back), ERR_TRUNC);
        check_bytes(&back, "before", 6);
    }
    wr_fini(&packed);
    wr_fini(&back);
}

/* Flips, noise and both at once: as the other decoder says, byte by byte. */
static void agrees_with_the_other_decoder_on_broken_streams(void **state)
{
    (void)state;
    static uint8_t data[3000], out[OUT_MAX];
    struct rng rng;
    struct wr packed, back;
    unsigned n_good = 0;
    rng_seed(&rng, check_seed() + 1);
    wr_init_grow(&packed, OUT_MAX);
    wr_init_grow(&back, OUT_MAX);

    for (unsigned round = 0; round < 20000; round++) {
        size_t len = rng_below(&rng, round % 20 ? 200 : sizeof(data));
        fill(&rng, data, len, round % 10);
        wr_reset(&packed);
        if (round % 7 == 0)
            wr_bytes(&packed, data, len);
        else
            lzw_encode(data, len, &packed);
        for (uint64_t i = rng_below(&rng, 4); i > 0 && packed.len > 0; i--)
            packed.data[rng_below(&rng, packed.len)] ^=
                (uint8_t)(1u << rng_below(&rng, 8));
        wr_reset(&back);
        int err = lzw_decode(packed.data, packed.len, &back);
        int n = decode_by_prefixes(packed.data, packed.len, out, sizeof(out));
        if (err) {
            check_i64(err, n);
            check_u64(back.len, 0);
        } else {
            check_i64(back.len, n);
            check_bytes(&back, out, (size_t)n);
            n_good++;
        }
    }
    check_true(n_good > 1000 && n_good < 19000);
    wr_fini(&packed);
    wr_fini(&back);
}

static void each_flipped_bit_is_survived(void **state)
{
    (void)state;
    uint8_t data[400];
    struct rng rng;
    struct wr packed, back;
    rng_seed(&rng, check_seed());
    fill(&rng, data, sizeof(data), 2);
    wr_init_grow(&packed, OUT_MAX);
    wr_init_grow(&back, OUT_MAX);
    lzw_encode(data, sizeof(data), &packed);

    for (size_t bit = 0; bit < packed.len * 8; bit++) {
        packed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        wr_reset(&back);
        int err = lzw_decode(packed.data, packed.len, &back);
        check_true(err == 0 || err == ERR_BAD || err == ERR_TRUNC);
        packed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    wr_fini(&packed);
    wr_fini(&back);
}

static void stops_at_the_writers_limit(void **state)
{
    (void)state;
    static uint8_t zeros[600000], room[65536];
    struct wr packed, grows, fixed;
    wr_init_grow(&packed, OUT_MAX);
    lzw_encode(zeros, sizeof(zeros), &packed);
    check_true(packed.len < 1400);

    wr_init_grow(&grows, 65536);
    check_i64(lzw_decode(packed.data, packed.len, &grows), ERR_TOOBIG);
    check_u64(grows.len, 0);
    check_true(grows.size <= 65536);
    wr_fini(&grows);

    wr_init_fixed(&fixed, room, sizeof(room));
    wr_text(&fixed, "abc");
    check_i64(lzw_decode(packed.data, packed.len, &fixed), ERR_TOOBIG);
    check_u64(fixed.len, 3);

    /* Exactly full is not too much. */
    wr_reset(&packed);
    lzw_encode(zeros, sizeof(room), &packed);
    wr_init_fixed(&fixed, room, sizeof(room));
    check_i64(lzw_decode(packed.data, packed.len, &fixed), 0);
    check_u64(fixed.len, sizeof(room));
    wr_fini(&packed);
}

static void encoding_into_too_little_room_says_so(void **state)
{
    (void)state;
    uint8_t data[1000], room[1200];
    struct rng rng;
    rng_seed(&rng, check_seed());
    fill(&rng, data, sizeof(data), 2);
    struct wr w;
    wr_init_fixed(&w, room, sizeof(room));
    lzw_encode(data, sizeof(data), &w);
    check_u64(wr_err(&w), 0);
    size_t whole = w.len;

    for (size_t size = 0; size < whole; size++) {
        wr_init_fixed(&w, room, size);
        lzw_encode(data, sizeof(data), &w);
        check_i64(wr_err(&w), ERR_TOOBIG);
    }
    wr_init_fixed(&w, room, whole);
    lzw_encode(data, sizeof(data), &w);
    check_i64(wr_err(&w), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_go_writes),
        cmocka_unit_test(nothing_is_a_clear_and_an_end),
        cmocka_unit_test(a_string_may_be_used_while_it_is_made),
        cmocka_unit_test(refuses_codes_that_mean_nothing_yet),
        cmocka_unit_test(a_clear_forgets_strings_and_the_last_code),
        cmocka_unit_test(needs_no_clear_at_the_start_and_ignores_what_follows),
        cmocka_unit_test(a_full_table_stays_as_it_is),
        cmocka_unit_test(comes_back_whatever_it_is),
        cmocka_unit_test(comes_back_at_each_length_around_a_change),
        cmocka_unit_test(ends_early_as_cut_at_each_length),
        cmocka_unit_test(agrees_with_the_other_decoder_on_broken_streams),
        cmocka_unit_test(each_flipped_bit_is_survived),
        cmocka_unit_test(stops_at_the_writers_limit),
        cmocka_unit_test(encoding_into_too_little_room_says_so),
    };
    return cmocka_run_group_tests_name("lzw", tests, NULL, NULL);
}
