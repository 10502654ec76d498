/* The vectors of the reference implementation: key 00 01 .. 0f, and the first
 * n of 00 01 02 .. as the text. */
#include "proto/base/siphash.h"
#include "test/check.h"

static const uint64_t key[2] = {UINT64_C(0x0706050403020100),
                                UINT64_C(0x0f0e0d0c0b0a0908)};

static void agrees_with_the_reference(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        uint64_t hash;
    } vectors[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},
        {1, UINT64_C(0x74f839c593dc67fd)},
        {15, UINT64_C(0xa129ca6149be45e5)},
    };
    uint8_t text[16];
    for (uint8_t i = 0; i < sizeof(text); i++)
        text[i] = i;
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
        check_u64(siphash(key, text, vectors[i].len), vectors[i].hash);
}

static void every_bit_of_key_and_text_counts(void **state)
{
    (void)state;
    uint8_t text[20] = {0};
    uint64_t none = siphash(key, text, sizeof(text));
    for (size_t bit = 0; bit < 8 * sizeof(text); bit++) {
        text[bit / 8] ^= (uint8_t)(1u << bit % 8);
        check_true(siphash(key, text, sizeof(text)) != none);
        text[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (unsigned bit = 0; bit < 128; bit++) {
        uint64_t other[2] = {key[0], key[1]};
        other[bit / 64] ^= UINT64_C(1) << bit % 64;
        check_true(siphash(other, text, sizeof(text)) != none);
    }
    check_true(siphash(key, text, 19) != none);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_reference),
        cmocka_unit_test(every_bit_of_key_and_text_counts),
    };
    return cmocka_run_group_tests_name("siphash", tests, NULL, NULL);
}
