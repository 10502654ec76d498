/* Vectors from the format's document, then a comparison with msgpack-c's own
 * unpacker on generated values in random (also needlessly wide) encodings. */
#include "proto/msgpack_rd.h"

#include <msgpack.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define BYTES(...) \
    (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static struct rd reader(const uint8_t *data, size_t len)
{
    struct rd r;
    rd_init(&r, data, len);
    return r;
}

static void check_uint(const uint8_t *data, size_t len, uint64_t want)
{
    struct rd r = reader(data, len);
    check_i64(msgpack_rd_peek(&r), MSGPACK_RD_INT);
    check_u64(msgpack_rd_uint(&r), want);
    check_i64(rd_end(&r), 0);
    for (size_t cut = 0; cut < len; cut++) {
        r = reader(data, cut);
        check_u64(msgpack_rd_uint(&r), 0);
        check_i64(rd_err(&r), ERR_TRUNC);
    }
}

static void check_int(const uint8_t *data, size_t len, int64_t want)
{
    struct rd r = reader(data, len);
    check_i64(msgpack_rd_int(&r), want);
    check_i64(rd_end(&r), 0);
    r = reader(data, len);
    check_u64(msgpack_rd_uint(&r), want < 0 ? 0 : (uint64_t)want);
    check_i64(rd_err(&r), want < 0 ? ERR_BAD : 0);
}

static void integers_of_every_width_are_read(void **state)
{
    (void)state;
    check_uint(BYTES(0x00), 0);
    check_uint(BYTES(0x7f), 127);
    check_uint(BYTES(0xcc, 0x05), 5); /* wider than needed */
    check_uint(BYTES(0xcc, 0xff), 255);
    check_uint(BYTES(0xcd, 0xff, 0xfe), 0xfffe);
    check_uint(BYTES(0xce, 0x80, 0, 0, 1), 0x80000001);
    check_uint(BYTES(0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
               UINT64_MAX);
    check_uint(BYTES(0xd0, 0x7f), 127); /* signed, but not negative */
    check_uint(BYTES(0xd1, 0x7f, 0xff), 0x7fff);
    check_uint(BYTES(0xd2, 0, 0, 0, 9), 9);
    check_uint(BYTES(0xd3, 0x7f, 0, 0, 0, 0, 0, 0, 1), 0x7f00000000000001);

    check_int(BYTES(0xff), -1);
    check_int(BYTES(0xe0), -32);
    check_int(BYTES(0xd0, 0x80), -128);
    check_int(BYTES(0xd1, 0xff, 0xff), -1);
    check_int(BYTES(0xd1, 0x80, 0), -32768);
    check_int(BYTES(0xd2, 0x80, 0, 0, 0), INT32_MIN);
    check_int(BYTES(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0), INT64_MIN);
    check_int(BYTES(0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe), -2);
    check_int(BYTES(0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
              INT64_MAX);
    check_int(BYTES(0x7f), 127);
}

static void a_number_too_large_for_its_type_is_refused(void **state)
{
    (void)state;
    struct rd r = reader(BYTES(0xcf, 0x80, 0, 0, 0, 0, 0, 0, 0));
    check_i64(msgpack_rd_int(&r), 0);
    check_i64(rd_err(&r), ERR_BAD);
}

static void texts_and_bytes_of_every_width_are_read(void **state)
{
    (void)state;
    static const struct {
        uint8_t head[5];
        size_t len;
        bool is_str;
    } cases[] = {
        {{0xa3}, 1, true},
        {{0xd9, 3}, 2, true},
        {{0xda, 0, 3}, 3, true},
        {{0xdb, 0, 0, 0, 3}, 5, true},
        {{0xc4, 3}, 2, false},
        {{0xc5, 0, 3}, 3, false},
        {{0xc6, 0, 0, 0, 3}, 5, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t data[8];
        size_t len;
        memcpy(data, cases[i].head, cases[i].len);
        memcpy(data + cases[i].len, "abc", 3);
        struct rd r = reader(data, cases[i].len + 3);
        const void *p = cases[i].is_str ? (const void *)msgpack_rd_str(&r, &len)
                                        : msgpack_rd_bin(&r, &len);
        check_i64(rd_end(&r), 0);
        check_u64(len, 3);
        check_true(p == data + cases[i].len); /* borrowed */

        r = reader(data, cases[i].len + 3);
        check_true(msgpack_rd_bytes(&r, &len) == p);
        check_u64(len, 3);

        r = reader(data, cases[i].len + 3);
        p = cases[i].is_str ? (const void *)msgpack_rd_bin(&r, &len)
                            : msgpack_rd_str(&r, &len);
        check_true(p == NULL);
        check_u64(len, 0);
        check_i64(rd_err(&r), ERR_BAD);

        for (size_t cut = 0; cut < cases[i].len + 3; cut++) {
            r = reader(data, cut);
            check_true(msgpack_rd_bytes(&r, &len) == NULL);
            check_u64(len, 0);
            check_i64(rd_err(&r), ERR_TRUNC);
        }
    }
}

static void booleans_and_nil_are_read(void **state)
{
    (void)state;
    struct rd r = reader(BYTES(0xc3, 0xc2, 0xc0));
    check_true(msgpack_rd_bool(&r));
    check_false(msgpack_rd_bool(&r));
    check_i64(msgpack_rd_peek(&r), MSGPACK_RD_NIL);
    msgpack_rd_skip(&r);
    check_i64(rd_end(&r), 0);
    check_i64(msgpack_rd_peek(&r), MSGPACK_RD_END);
}

static void another_kind_than_expected_is_refused(void **state)
{
    (void)state;
    /* One of each; each reader accepts exactly its own. */
    static const uint8_t kinds[] = {0xc0, 0xc2, 0x01, 0xa0, 0xc4, 0x90, 0x80};
    for (size_t i = 0; i < sizeof(kinds); i++) {
        uint8_t data[2] = {kinds[i], 0};
        for (size_t what = 1; what < sizeof(kinds); what++) {
            struct rd r = reader(data, 2);
            size_t len;
            switch (what) {
            case 1:
                msgpack_rd_bool(&r);
                break;
            case 2:
                msgpack_rd_uint(&r);
                break;
            case 3:
                msgpack_rd_str(&r, &len);
                break;
            case 4:
                msgpack_rd_bin(&r, &len);
                break;
            case 5:
                msgpack_rd_array(&r);
                break;
            default:
                msgpack_rd_map(&r);
                break;
            }
            check_i64(rd_err(&r), i == what ? 0 : ERR_BAD);
        }
    }
}

static void a_count_is_not_believed_beyond_the_bytes(void **state)
{
    (void)state;
    static const struct {
        uint8_t data[9];
        size_t len;
        bool is_map;
        int err;
    } cases[] = {
        {{0xdd, 0x0f, 0xff, 0xff, 0xff}, 5, false, ERR_TRUNC},
        {{0xdd, 0xff, 0xff, 0xff, 0xff, 0}, 6, false, ERR_TRUNC},
        {{0xdc, 0xff, 0xff}, 3, false, ERR_TRUNC},
        {{0xdd, 0, 0, 0, 2, 0}, 6, false, ERR_TRUNC},
        {{0xdd, 0, 0, 0, 2, 0, 0}, 7, false, 0},
        {{0x92, 0}, 2, false, ERR_TRUNC},
        {{0x92, 0, 0}, 3, false, 0},
        {{0xdf, 0x0f, 0xff, 0xff, 0xff}, 5, true, ERR_TRUNC},
        {{0xdf, 0x80, 0, 0, 0}, 5, true, ERR_TRUNC},
        {{0xde, 0, 2, 0, 0, 0}, 6, true, ERR_TRUNC},
        {{0xde, 0, 2, 0, 0, 0, 0}, 7, true, 0},
        {{0x81, 0}, 2, true, ERR_TRUNC},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rd r = reader(cases[i].data, cases[i].len);
        size_t n = cases[i].is_map ? msgpack_rd_map(&r) : msgpack_rd_array(&r);
        check_i64(rd_err(&r), cases[i].err);
        check_true(cases[i].err ? n == 0 : n > 0);

        r = reader(cases[i].data, cases[i].len);
        msgpack_rd_skip(&r);
        check_i64(rd_err(&r), cases[i].err);
    }
}

static void skipping_stops_behind_the_value(void **state)
{
    (void)state;
    static const struct {
        uint8_t data[20];
        size_t len;
    } cases[] = {
        {{0x05}, 1},
        {{0xe5}, 1},
        {{0xc0}, 1},
        {{0xc3}, 1},
        {{0xcf, 1, 2, 3, 4, 5, 6, 7, 8}, 9},
        {{0xca, 1, 2, 3, 4}, 5},
        {{0xcb, 1, 2, 3, 4, 5, 6, 7, 8}, 9},
        {{0xa2, 'a', 'b'}, 3},
        {{0xc4, 2, 'a', 'b'}, 4},
        {{0xd4, 7, 1}, 3}, /* fixext 1, 2, 4, 8, 16 */
        {{0xd5, 7, 1, 2}, 4},
        {{0xd6, 7, 1, 2, 3, 4}, 6},
        {{0xd7, 7, 1, 2, 3, 4, 5, 6, 7, 8}, 10},
        {{0xd8, 7}, 18},
        {{0xc7, 2, 7, 1, 2}, 5},
        {{0xc7, 0, 7}, 3},
        {{0xc8, 0, 1, 7, 1}, 5},
        {{0xc9, 0, 0, 0, 1, 7, 1}, 7},
        {{0x90}, 1},
        {{0x80}, 1},
        {{0x92, 1, 2}, 3},
        {{0x82, 1, 0x91, 5, 2, 0x81, 1, 2}, 8},
        {{0x93, 0x90, 0x92, 1, 0xa1, 'x', 0xc0}, 7},
        {{0xdc, 0, 2, 0xcd, 1, 1, 2}, 7},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct rd r = reader(cases[i].data, 20);
        msgpack_rd_skip(&r);
        check_i64(rd_err(&r), 0);
        check_u64(r.pos, cases[i].len);
        for (size_t cut = 0; cut < cases[i].len; cut++) {
            r = reader(cases[i].data, cut);
            msgpack_rd_skip(&r);
            check_i64(rd_err(&r), ERR_TRUNC);
        }
    }
}

static void the_byte_that_means_nothing_is_refused(void **state)
{
    (void)state;
    struct rd r = reader(BYTES(0xc1));
    check_i64(msgpack_rd_peek(&r), MSGPACK_RD_END);
    msgpack_rd_skip(&r);
    check_i64(rd_err(&r), ERR_BAD);
    r = reader(BYTES(0x92, 1, 0xc1));
    msgpack_rd_skip(&r);
    check_i64(rd_err(&r), ERR_BAD);
}

static void eight_levels_are_passed_over_and_nine_are_not(void **state)
{
    (void)state;
    uint8_t data[64];
    for (size_t deep = 1; deep < 40; deep++) {
        memset(data, 0x91, deep);
        data[deep] = 0xc0;
        struct rd r = reader(data, deep + 1);
        msgpack_rd_skip(&r);
        check_i64(rd_err(&r), deep <= MSGPACK_RD_DEPTH_MAX ? 0 : ERR_TOOBIG);
    }
    /* An empty array is a container too; one beside another is not deeper. */
    memset(data, 0x91, 8);
    data[8] = 0x90;
    struct rd r = reader(data, 9);
    msgpack_rd_skip(&r);
    check_i64(rd_err(&r), ERR_TOOBIG);
    memset(data, 0x90, 16);
    data[0] = 0x9f;
    r = reader(data, 16);
    msgpack_rd_skip(&r);
    check_i64(rd_end(&r), 0);
}

/* --- beside msgpack-c --------------------------------------------------- */

/* An integer in a random one of the encodings that can hold it. */
static void put_int(struct rng *rng, struct wr *w, bool is_negative, uint64_t v)
{
    unsigned log2 = (unsigned)rng_below(rng, 4);
    uint64_t half = UINT64_C(1) << ((8u << log2) - 1);
    if (is_negative ? v < -half : log2 < 3 && v >> (8u << log2))
        log2 = 3;
    half = UINT64_C(1) << ((8u << log2) - 1);
    bool is_signed = is_negative || (v < half && rng_below(rng, 2));
    wr_u8(w, (uint8_t)((is_signed ? 0xd0 : 0xcc) + log2));
    for (unsigned shift = 8u << log2; shift > 0; shift -= 8)
        wr_u8(w, (uint8_t)(v >> (shift - 8)));
}

static void put_blob(struct rng *rng, struct wr *w)
{
    uint32_t n = (uint32_t)rng_below(rng, rng_below(rng, 8) ? 40 : 70000);
    uint8_t str = (uint8_t)(rng_below(rng, 2) ? 0xd9 : 0xc4);
    if (n < 32 && rng_below(rng, 2)) {
        wr_u8(w, (uint8_t)(0xa0 | n));
    } else if (n < 256 && rng_below(rng, 2)) {
        wr_u8(w, str);
        wr_u8(w, (uint8_t)n);
    } else if (n < 65536 && rng_below(rng, 2)) {
        wr_u8(w, (uint8_t)(str + 1));
        wr_be16(w, (uint16_t)n);
    } else {
        wr_u8(w, (uint8_t)(str + 2));
        wr_be32(w, n);
    }
    for (uint32_t i = 0; i < n; i++)
        wr_u8(w, (uint8_t)i);
}

static void put_count(struct rng *rng, struct wr *w, bool is_map, uint32_t n)
{
    switch (rng_below(rng, 3)) {
    case 0:
        wr_u8(w, (uint8_t)((is_map ? 0x80 : 0x90) | n));
        break;
    case 1:
        wr_u8(w, is_map ? 0xde : 0xdc);
        wr_be16(w, (uint16_t)n);
        break;
    default:
        wr_u8(w, is_map ? 0xdf : 0xdd);
        wr_be32(w, n);
        break;
    }
}

static void put_value(struct rng *rng, struct wr *w, int depth)
{
    uint64_t v = rng_next(rng) >> rng_below(rng, 64);
    uint32_t n = (uint32_t)rng_below(rng, 6);
    switch (rng_below(rng, depth < 6 ? 10 : 7)) {
    case 0:
        wr_u8(w, 0xc0);
        break;
    case 1:
        wr_u8(w, (uint8_t)(0xc2 + v % 2));
        break;
    case 2:
        wr_u8(w, (uint8_t)(v % 2 ? v & 0x7f : v | 0xe0));
        break;
    case 3:
        put_int(rng, w, false, v);
        break;
    case 4:
        put_int(rng, w, true, -(v >> 1) - 1);
        break;
    case 5:
        put_blob(rng, w);
        break;
    case 6:
        wr_u8(w, 0xcb);
        wr_be64(w, 0x3ff8000000000000);
        break;
    case 7:
        put_count(rng, w, true, n);
        for (uint32_t i = 0; i < 2 * n; i++)
            put_value(rng, w, depth + 1);
        break;
    default:
        put_count(rng, w, false, n);
        for (uint32_t i = 0; i < n; i++)
            put_value(rng, w, depth + 1);
        break;
    }
}

/* Read from `r` exactly what msgpack-c made of the same bytes. */
static void check_same(struct rd *r, const msgpack_object *o)
{
    size_t len;
    const void *p;
    switch (o->type) {
    case MSGPACK_OBJECT_NIL:
        check_i64(msgpack_rd_peek(r), MSGPACK_RD_NIL);
        msgpack_rd_skip(r);
        break;
    case MSGPACK_OBJECT_BOOLEAN:
        check_i64(msgpack_rd_peek(r), MSGPACK_RD_BOOL);
        check_true(msgpack_rd_bool(r) == o->via.boolean);
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        check_i64(msgpack_rd_peek(r), MSGPACK_RD_INT);
        check_u64(msgpack_rd_uint(r), o->via.u64);
        break;
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        check_i64(msgpack_rd_peek(r), MSGPACK_RD_INT);
        check_i64(msgpack_rd_int(r), o->via.i64);
        break;
    case MSGPACK_OBJECT_STR:
        p = msgpack_rd_str(r, &len);
        check_u64(len, o->via.str.size);
        check_true(p && (!len || !memcmp(p, o->via.str.ptr, len)));
        break;
    case MSGPACK_OBJECT_BIN:
        p = msgpack_rd_bin(r, &len);
        check_u64(len, o->via.bin.size);
        check_true(p && (!len || !memcmp(p, o->via.bin.ptr, len)));
        break;
    case MSGPACK_OBJECT_ARRAY:
        check_i64(msgpack_rd_peek(r), MSGPACK_RD_ARRAY);
        check_u64(msgpack_rd_array(r), o->via.array.size);
        for (uint32_t i = 0; i < o->via.array.size; i++)
            check_same(r, &o->via.array.ptr[i]);
        break;
    case MSGPACK_OBJECT_MAP:
        check_i64(msgpack_rd_peek(r), MSGPACK_RD_MAP);
        check_u64(msgpack_rd_map(r), o->via.map.size);
        for (uint32_t i = 0; i < o->via.map.size; i++) {
            check_same(r, &o->via.map.ptr[i].key);
            check_same(r, &o->via.map.ptr[i].val);
        }
        break;
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        check_i64(msgpack_rd_peek(r), MSGPACK_RD_FLOAT);
        msgpack_rd_skip(r);
        break;
    case MSGPACK_OBJECT_EXT:
        msgpack_rd_skip(r);
        break;
    }
    check_i64(rd_err(r), 0);
}

static void reads_what_msgpack_c_reads(void **state)
{
    (void)state;
    struct rng rng;
    struct wr w;

    rng_seed(&rng, check_seed());
    wr_init_grow(&w, 64 << 20);
    for (int round = 0; round < 5000; round++) {
        wr_reset(&w);
        put_value(&rng, &w, 0);
        check_i64(wr_err(&w), 0);

        msgpack_unpacked theirs;
        size_t off = 0;
        msgpack_unpacked_init(&theirs);
        check_i64(
            msgpack_unpack_next(&theirs, (const char *)w.data, w.len, &off),
            MSGPACK_UNPACK_SUCCESS);
        check_u64(off, w.len);

        struct rd r = reader(w.data, w.len);
        check_same(&r, &theirs.data);
        check_i64(rd_end(&r), 0);
        r = reader(w.data, w.len);
        msgpack_rd_skip(&r);
        check_i64(rd_end(&r), 0);
        size_t cut = (size_t)rng_below(&rng, w.len);
        r = reader(w.data, cut);
        msgpack_rd_skip(&r);
        check_i64(rd_err(&r), ERR_TRUNC);
        msgpack_unpacked_destroy(&theirs);
    }
    wr_fini(&w);
}

/* Whatever the bytes: an end is reached, and what is accepted, msgpack-c
 * accepts too (its own depth limit is above ours). */
static void accepts_no_bytes_that_msgpack_c_refuses(void **state)
{
    (void)state;
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 200000; round++) {
        uint8_t data[24];
        size_t len = 1 + (size_t)rng_below(&rng, sizeof(data));
        for (size_t i = 0; i < len; i++)
            data[i] = (uint8_t)(rng_below(&rng, 3) ? 0x80 + rng_below(&rng, 128)
                                                   : rng_below(&rng, 4));
        struct rd r = reader(data, len);
        msgpack_rd_skip(&r);
        if (rd_err(&r))
            continue;
        msgpack_unpacked theirs;
        size_t off = 0;
        msgpack_unpacked_init(&theirs);
        check_i64(msgpack_unpack_next(&theirs, (const char *)data, len, &off),
                  MSGPACK_UNPACK_SUCCESS);
        check_u64(off, r.pos);
        r = reader(data, len);
        check_same(&r, &theirs.data);
        msgpack_unpacked_destroy(&theirs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(integers_of_every_width_are_read),
        cmocka_unit_test(a_number_too_large_for_its_type_is_refused),
        cmocka_unit_test(texts_and_bytes_of_every_width_are_read),
        cmocka_unit_test(booleans_and_nil_are_read),
        cmocka_unit_test(another_kind_than_expected_is_refused),
        cmocka_unit_test(a_count_is_not_believed_beyond_the_bytes),
        cmocka_unit_test(skipping_stops_behind_the_value),
        cmocka_unit_test(the_byte_that_means_nothing_is_refused),
        cmocka_unit_test(eight_levels_are_passed_over_and_nine_are_not),
        cmocka_unit_test(reads_what_msgpack_c_reads),
        cmocka_unit_test(accepts_no_bytes_that_msgpack_c_refuses),
    };
    return cmocka_run_group_tests_name("msgpack_rd", tests, NULL, NULL);
}
