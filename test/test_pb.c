/* Vectors by hand from the encoding rules, then every cut and flipped bit. */
#include "proto/pb.h"

#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

/* Read all fields of `bytes` (a literal, so without its NUL). */
#define read_all(bytes, fields, max) \
    read_fields((bytes), sizeof(bytes) - 1, (fields), (max))

/* Returns how many fields there were, or the error. */
static int read_fields(const void *bytes, size_t len, struct pb_field *fields,
                       int max)
{
    struct rd r;
    rd_init(&r, bytes, len);
    int n = 0;
    while (n < max && pb_next(&r, &fields[n]))
        n++;
    return rd_err(&r) ? rd_err(&r) : n;
}

static void reads_each_wire_type(void **state)
{
    (void)state;
    struct pb_field f[5];

    check_i64(read_all("\x08\x96\x01"
                       "\x12\x03one"
                       "\x1d\x01\x02\x03\x04"
                       "\x21\x01\x02\x03\x04\x05\x06\x07\x08",
                       f, 5),
              4);
    check_u64(f[0].number, 1);
    check_u64(f[0].type, PB_VARINT);
    check_u64(f[0].value, 150);
    check_u64(f[1].number, 2);
    check_u64(f[1].type, PB_BYTES);
    check_u64(f[1].len, 3);
    check_true(memcmp(f[1].data, "one", 3) == 0);
    check_u64(f[2].number, 3);
    check_u64(f[2].type, PB_FIXED32);
    check_u64(f[2].value, 0x04030201);
    check_u64(f[3].number, 4);
    check_u64(f[3].type, PB_FIXED64);
    check_u64(f[3].value, 0x0807060504030201);
}

static void an_empty_message_has_no_fields(void **state)
{
    (void)state;
    struct pb_field f;
    check_i64(read_all("", &f, 1), 0);
    check_i64(read_fields(NULL, 0, &f, 1), 0);
}

static void an_empty_value_is_a_field(void **state)
{
    (void)state;
    struct pb_field f;
    check_i64(read_all("\x0a\x00", &f, 1), 1);
    check_u64(f.len, 0);
}

static void longer_varints_than_needed_are_legal(void **state)
{
    (void)state;
    struct pb_field f;
    check_i64(read_all("\x08\x81\x80\x00", &f, 1), 1);
    check_u64(f.value, 1);
    check_i64(read_all("\x88\x80\x80\x80\x00\x01", &f, 1), 1);
    check_u64(f.number, 1);
    check_i64(read_all("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", &f, 1),
              1);
    check_u64(f.value, UINT64_MAX);
    /* Bits above the 64th are dropped. */
    check_i64(read_all("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", &f, 1),
              1);
    check_u64(f.value, UINT64_MAX);
}

static void what_breaks_the_format_is_refused(void **state)
{
    (void)state;
    struct pb_field f[2];
    check_i64(read_all("\x00\x01", f, 2), ERR_BAD); /* field 0 */
    check_i64(read_all("\x02\x00", f, 2), ERR_BAD);
    check_i64(read_all("\x0b\x0c", f, 2), ERR_BAD); /* a group */
    check_i64(read_all("\x0c", f, 2), ERR_BAD);
    check_i64(read_all("\x0e\x00", f, 2), ERR_BAD); /* types 6 and 7 */
    check_i64(read_all("\x0f\x00", f, 2), ERR_BAD);
    /* A varint of eleven bytes, a tag of six, a tag above 32 bits. */
    check_i64(
        read_all("\x08\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", f, 2),
        ERR_BAD);
    check_i64(read_all("\x88\x80\x80\x80\x80\x00\x01", f, 2), ERR_BAD);
    check_i64(read_all("\x88\x80\x80\x80\x10\x01", f, 2), ERR_BAD);
}

static void a_length_beyond_the_end_is_cut_off(void **state)
{
    (void)state;
    struct pb_field f;
    check_i64(read_all("\x0a\x02x", &f, 1), ERR_TRUNC);
    check_i64(read_all("\x0a\xff\xff\xff\xff\x0fx", &f, 1), ERR_TRUNC);
    check_i64(read_all("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01x", &f, 1),
              ERR_TRUNC);
    check_i64(read_all("\x08", &f, 1), ERR_TRUNC);
    check_i64(read_all("\x08\x80", &f, 1), ERR_TRUNC);
    check_i64(read_all("\x80", &f, 1), ERR_TRUNC);
    check_i64(read_all("\x0d\x01\x02\x03", &f, 1), ERR_TRUNC);
    check_i64(read_all("\x09\x01\x02\x03\x04\x05\x06\x07", &f, 1), ERR_TRUNC);
}

static void a_failed_read_leaves_the_field_alone(void **state)
{
    (void)state;
    struct pb_field f = {.number = 77};
    check_i64(read_all("\x0a\x02x", &f, 1), ERR_TRUNC);
    check_u64(f.number, 77);
}

static void writes_the_shortest_form(void **state)
{
    (void)state;
    uint8_t bytes[64];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    pb_write_varint(&w, 1, 150);
    pb_write_bytes(&w, 16, "ab", 2);
    pb_write_varint(&w, 536870911, 0);
    static const char want[] = "\x08\x96\x01"
                               "\x82\x01\x02"
                               "ab"
                               "\xf8\xff\xff\xff\x0f\x00";
    check_u64(w.len, sizeof(want) - 1);
    check_true(memcmp(bytes, want, w.len) == 0);
}

/* Whatever was written comes back; cut anywhere, a prefix of the fields comes
 * back and nothing else; with any bit flipped, nothing breaks. */
static void fields_survive_and_damage_does_not_spread(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 300; round++) {
        uint8_t bytes[256];
        uint32_t numbers[6];
        uint64_t values[6];
        struct wr w;
        wr_init_fixed(&w, bytes, sizeof(bytes));
        for (int i = 0; i < 6; i++) {
            numbers[i] = 1 + (uint32_t)rng_below(&rng, 536870911);
            values[i] = rng_next(&rng) >> rng_below(&rng, 64);
            if (i % 2)
                pb_write_bytes(&w, numbers[i], &values[i], 8);
            else
                pb_write_varint(&w, numbers[i], values[i]);
        }
        check_i64(wr_err(&w), 0);

        struct pb_field f[256];
        check_i64(read_fields(bytes, w.len, f, 256), 6);
        for (int i = 0; i < 6; i++) {
            check_u64(f[i].number, numbers[i]);
            if (i % 2)
                check_true(memcmp(f[i].data, &values[i], 8) == 0);
            else
                check_u64(f[i].value, values[i]);
        }
        for (size_t cut = 0; cut < w.len; cut++) {
            int n = read_fields(bytes, cut, f, 256);
            check_true(n == ERR_TRUNC || (n >= 0 && n < 6));
        }
        for (size_t bit = 0; bit < w.len * 8; bit++) {
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            int n = read_fields(bytes, w.len, f, 256);
            check_true(n >= 0 || n == ERR_TRUNC || n == ERR_BAD);
            bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_each_wire_type),
        cmocka_unit_test(an_empty_message_has_no_fields),
        cmocka_unit_test(an_empty_value_is_a_field),
        cmocka_unit_test(longer_varints_than_needed_are_legal),
        cmocka_unit_test(what_breaks_the_format_is_refused),
        cmocka_unit_test(a_length_beyond_the_end_is_cut_off),
        cmocka_unit_test(a_failed_read_leaves_the_field_alone),
        cmocka_unit_test(writes_the_shortest_form),
        cmocka_unit_test(fields_survive_and_damage_does_not_spread),
    };
    return cmocka_run_group_tests_name("pb", tests, NULL, NULL);
}
