/* The vectors of FIPS 180-4 (and NIST's examples); then that all bytes of a
 * comparison count. */
#include "proto/digest.h"

#include <string.h>

#include "proto/base/rng.h"
#include "test/check.h"

static void check_digest(const char *text, size_t len, const char *want)
{
    uint8_t sum[DIGEST_SIZE];
    char got[DIGEST_TEXT_SIZE];
    check_true(digest_sha256(text, len, sum) == 0);
    digest_format(sum, got);
    assert_string_equal(got + 7, want);
}

static void agrees_with_the_standard(void **state)
{
    (void)state;
    check_digest("abc", 3,
                 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20"
                 "015ad");
    check_digest("", 0,
                 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b785"
                 "2b855");
    check_digest(NULL, 0,
                 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b785"
                 "2b855");
    check_digest("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56,
                 "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419d"
                 "b06c1");
    static char a[1000000];
    memset(a, 'a', sizeof(a));
    check_digest(a, sizeof(a),
                 "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc71"
                 "12cd0");
}

static void every_bit_counts_in_a_comparison(void **state)
{
    (void)state;
    struct rng rng;
    uint8_t a[DIGEST_SIZE];
    uint8_t b[DIGEST_SIZE];
    rng_seed(&rng, check_seed());
    for (size_t i = 0; i < sizeof(a); i++)
        a[i] = b[i] = (uint8_t)rng_next(&rng);
    check_true(digest_equal(a, b));
    for (size_t bit = 0; bit < 8 * sizeof(a); bit++) {
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
        check_false(digest_equal(a, b));
        check_false(digest_equal(b, a));
        b[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void text_round_trips_and_nothing_else_is_taken(void **state)
{
    (void)state;
    char text[DIGEST_TEXT_SIZE];
    uint8_t sum[DIGEST_SIZE];
    uint8_t back[DIGEST_SIZE];
    check_true(digest_sha256("x", 1, sum) == 0);
    digest_format(sum, text);
    check_u64(strlen(text), DIGEST_TEXT_SIZE - 1);
    check_true(digest_parse(text, back) == 0);
    check_true(digest_equal(sum, back));
    for (size_t len = 0; len < sizeof(text) - 1; len++) {
        char cut[DIGEST_TEXT_SIZE];
        memcpy(cut, text, len);
        cut[len] = '\0';
        check_true(digest_parse(cut, back) == ERR_BAD);
    }
    char longer[DIGEST_TEXT_SIZE + 1];
    memcpy(longer, text, sizeof(text));
    strcat(longer, "0");
    check_true(digest_parse(longer, back) == ERR_BAD);
    for (size_t i = 7; i < sizeof(text) - 1; i++) {
        char was = text[i];
        text[i] = 'g';
        check_true(digest_parse(text, back) == ERR_BAD);
        text[i] = was;
    }
    check_true(digest_equal(sum, back)); /* left alone */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_standard),
        cmocka_unit_test(every_bit_counts_in_a_comparison),
        cmocka_unit_test(text_round_trips_and_nothing_else_is_taken),
    };
    return cmocka_run_group_tests_name("digest", tests, NULL, NULL);
}
