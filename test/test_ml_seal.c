/* Vectors sealed by Go peers, then what must not open. */
#include "proto/ml_seal.h"

#include <openssl/crypto.h>
#include <string.h>

#include "proto/base/rng.h"
#include "test/check.h"

#define OUT_MAX (1 << 20)

/* The ping that the vectors hold. */
#define PING "0082a44e6f6465a162a55365714e6f01"

static struct ml_key key_of(uint8_t len, uint8_t first)
{
    struct ml_key key = {.len = len};
    for (uint8_t i = 0; i < len; i++)
        key.bytes[i] = (uint8_t)(first + i);
    return key;
}

/* 00 01 .. 0b, as the vectors have it. */
static int counting(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)i;
    return 0;
}

struct dice {
    struct rng rng;
    int err; /* to be returned */
    unsigned n;
};

static int throw_dice(void *arg, uint8_t *out, size_t len)
{
    struct dice *d = arg;
    d->n++;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)rng_below(&d->rng, 256);
    return d->err;
}

static struct ml_keyring *ring_of(const struct ml_key *keys, size_t n)
{
    struct errmsg msg;
    struct ml_keyring *k = ml_keyring_open(keys, n, counting, NULL, &msg);
    assert_non_null(k);
    return k;
}

static struct ml_keyring *ring(uint8_t len, uint8_t first)
{
    struct ml_key key = key_of(len, first);
    return ring_of(&key, 1);
}

struct bytes {
    uint8_t data[256];
    size_t len;
};

static struct bytes from_hex(const char *hex)
{
    struct bytes b = {.len = strlen(hex) / 2};
    check_true(b.len <= sizeof(b.data));
    for (size_t i = 0; i < b.len; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        b.data[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
    return b;
}

static struct span span_of_bytes(const struct bytes *b)
{
    return span_of(b->data, b->len);
}

static void check_wr(const struct wr *w, const struct bytes *want)
{
    check_i64(wr_err(w), 0);
    check_u64(w->len, want->len);
    assert_memory_equal(w->data, want->data, want->len);
}

static void check_vector(struct ml_keyring *k, struct span aad, bool seals_too,
                         const char *sealed_hex)
{
    struct bytes plain = from_hex(PING);
    struct bytes sealed = from_hex(sealed_hex);
    struct wr w;

    wr_init_grow(&w, OUT_MAX);
    check_i64(ml_unseal(k, aad, span_of_bytes(&sealed), &w), 0);
    check_wr(&w, &plain);
    if (seals_too) {
        wr_reset(&w);
        check_i64(ml_seal(k, aad, span_of_bytes(&plain), &w), 0);
        check_wr(&w, &sealed);
    }
    wr_fini(&w);
    ml_keyring_close(k);
}

static void seals_and_opens_as_go_does(void **state)
{
    (void)state;
    struct span none = {0};
    struct bytes stream = from_hex("0a0000002d");
    struct bytes stream_label = from_hex("0a0000002d636c75737465722d61");

    check_vector(ring(32, 0), none, true,
                 "01000102030405060708090a0b47807255aa81a7baefe4c4eec0a7176c98"
                 "ffa97ec77a9aa5d722a95572595051");
    check_vector(ring(32, 0), span_of_text("cluster-a"), true,
                 "01000102030405060708090a0b47807255aa81a7baefe4c4eec0a7176c5d"
                 "4e96e0ec616f200e588338d8b8c4e3");
    check_vector(ring(32, 0), span_of_bytes(&stream), true,
                 "01000102030405060708090a0b47807255aa81a7baefe4c4eec0a7176c88"
                 "683ca5aa64de877024a937004ef12a");
    check_vector(ring(32, 0), span_of_bytes(&stream_label), true,
                 "01000102030405060708090a0b47807255aa81a7baefe4c4eec0a7176cfb"
                 "bde1a451ea4b5728bf3a034a93641b");
    check_vector(ring(16, 0), none, true,
                 "01000102030405060708090a0b93ee0380097f92f5297732ef47ed1f0907"
                 "7f9e7b384305ad4f7367b60e8a3650");
}

static void opens_what_is_padded(void **state)
{
    (void)state;
    struct span none = {0};
    struct bytes stream = from_hex("0a0000003d");

    check_vector(ring(32, 0), none, false,
                 "00000102030405060708090a0b47807255aa81a7baefe4c4eec0a7176c93"
                 "c69724e06b4f6c2877f5950d7910a24c89b3f8e1756f5f5d7f459ed30c4b"
                 "80");
    check_vector(ring(32, 0), span_of_bytes(&stream), false,
                 "00000102030405060708090a0b47807255aa81a7baefe4c4eec0a7176c93"
                 "c69724e06b4f6c2877f5950d7910a2b7159052ea02ac236de83028d0bdf2"
                 "fc");
}

/* The version is not authenticated, so a sealed text of our making becomes a
 * padded one by its first byte. */
static int open_padded(struct ml_keyring *k, const uint8_t *text, size_t len,
                       struct wr *out)
{
    struct wr sealed;
    wr_init_grow(&sealed, OUT_MAX);
    check_i64(ml_seal(k, span_of_text("x"), span_of(text, len), &sealed), 0);
    sealed.data[0] = 0;
    int err =
        ml_unseal(k, span_of_text("x"), span_of(sealed.data, sealed.len), out);
    wr_fini(&sealed);
    return err;
}

static void all_of_the_padding_is_checked(void **state)
{
    (void)state;
    struct ml_keyring *k = ring(32, 9);
    struct wr w;
    wr_init_grow(&w, OUT_MAX);
    wr_text(&w, "before");

    for (unsigned pad = 0; pad < 256; pad++) {
        for (size_t len = 0; len <= 64; len++) {
            uint8_t text[64];
            memset(text, (int)pad, sizeof(text));
            bool fits = pad >= 1 && pad <= 16 && len > 0 && len % 16 == 0;
            int err = open_padded(k, text, len, &w);
            check_i64(err, fits ? 0 : ERR_BAD);
            check_u64(w.len, fits ? 6 + len - pad : 6);
            w.len = 6;
        }
    }
    /* One byte of it is another. */
    for (size_t pad = 2; pad <= 16; pad++) {
        for (size_t i = 1; i <= pad; i++) {
            uint8_t text[48] = {0};
            memset(text + 48 - pad, (int)pad, pad);
            check_i64(open_padded(k, text, sizeof(text), &w), 0);
            w.len = 6;
            text[48 - i] ^= 0x40;
            check_i64(open_padded(k, text, sizeof(text), &w), ERR_BAD);
            check_u64(w.len, 6);
        }
    }
    wr_fini(&w);
    ml_keyring_close(k);
}

static void each_flipped_bit_is_refused(void **state)
{
    (void)state;
    struct ml_keyring *k = ring(32, 0);
    struct span aad = span_of_text("label");
    struct bytes plain = from_hex(PING PING "00");
    struct wr sealed, out;
    wr_init_grow(&sealed, OUT_MAX);
    wr_init_grow(&out, OUT_MAX);
    check_i64(ml_seal(k, aad, span_of_bytes(&plain), &sealed), 0);

    for (size_t bit = 0; bit < sealed.len * 8; bit++) {
        sealed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        struct span s = span_of(sealed.data, sealed.len);
        int err = ml_unseal(k, aad, s, &out);
        check_i64(err, bit < 8 ? ERR_BAD : ERR_AUTH);
        check_u64(out.len, 0);
        sealed.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    check_i64(ml_unseal(k, aad, span_of(sealed.data, sealed.len), &out), 0);
    check_wr(&out, &plain);
    wr_fini(&sealed);
    wr_fini(&out);
    ml_keyring_close(k);
}

static void each_cut_is_refused(void **state)
{
    (void)state;
    struct ml_keyring *k = ring(24, 0);
    struct bytes plain = from_hex(PING PING PING);
    struct wr sealed, out;
    wr_init_grow(&sealed, OUT_MAX);
    wr_init_grow(&out, OUT_MAX);
    check_i64(ml_seal(k, (struct span){0}, span_of_bytes(&plain), &sealed), 0);

    for (size_t len = 0; len < sealed.len; len++) {
        struct span s = span_of(sealed.data, len);
        int err = ml_unseal(k, (struct span){0}, s, &out);
        check_i64(err, len < ML_SEAL_OVERHEAD ? ERR_BAD : ERR_AUTH);
        check_u64(out.len, 0);
    }
    wr_fini(&sealed);
    wr_fini(&out);
    ml_keyring_close(k);
}

/* Two meshes that share a key by mistake still do not hear each other. */
static void another_label_does_not_open(void **state)
{
    (void)state;
    struct ml_keyring *k = ring(32, 0);
    static const char *const labels[] = {"", "a", "b", "ab", "a "};
    struct bytes plain = from_hex(PING);
    struct wr sealed, out;
    wr_init_grow(&sealed, OUT_MAX);
    wr_init_grow(&out, OUT_MAX);

    for (size_t i = 0; i < 5; i++) {
        for (size_t j = 0; j < 5; j++) {
            wr_reset(&sealed);
            wr_reset(&out);
            check_i64(ml_seal(k, span_of_text(labels[i]), span_of_bytes(&plain),
                              &sealed),
                      0);
            check_i64(ml_unseal(k, span_of_text(labels[j]),
                                span_of(sealed.data, sealed.len), &out),
                      i == j ? 0 : ERR_AUTH);
        }
    }
    wr_fini(&sealed);
    wr_fini(&out);
    ml_keyring_close(k);
}

static void any_key_opens_and_the_first_one_seals(void **state)
{
    (void)state;
    struct ml_key keys[ML_KEYRING_MAX];
    struct bytes plain = from_hex(PING);
    struct wr sealed, out;
    wr_init_grow(&sealed, OUT_MAX);
    wr_init_grow(&out, OUT_MAX);
    for (size_t i = 0; i < ML_KEYRING_MAX; i++)
        keys[i] = key_of((uint8_t)(16 + i % 3 * 8), (uint8_t)(i * 40));
    struct ml_keyring *all = ring_of(keys, ML_KEYRING_MAX);
    check_u64(ml_keyring_count(all), ML_KEYRING_MAX);

    for (size_t i = 0; i < ML_KEYRING_MAX; i++) {
        struct ml_keyring *one = ring_of(&keys[i], 1);
        wr_reset(&sealed);
        wr_reset(&out);
        check_i64(
            ml_seal(one, span_of_text("l"), span_of_bytes(&plain), &sealed), 0);
        check_i64(ml_unseal(all, span_of_text("l"),
                            span_of(sealed.data, sealed.len), &out),
                  0);
        check_wr(&out, &plain);

        wr_reset(&sealed);
        wr_reset(&out);
        check_i64(
            ml_seal(all, span_of_text("l"), span_of_bytes(&plain), &sealed), 0);
        check_i64(ml_unseal(one, span_of_text("l"),
                            span_of(sealed.data, sealed.len), &out),
                  i == 0 ? 0 : ERR_AUTH);
        ml_keyring_close(one);
    }
    ml_keyring_close(all);
    wr_fini(&sealed);
    wr_fini(&out);
}

/* A failure in between leaves nothing behind that the next message meets. */
static void opens_on_after_any_mixture_of_bad_ones(void **state)
{
    (void)state;
    struct ml_key keys[3] = {key_of(32, 1), key_of(16, 2), key_of(32, 3)};
    struct dice dice = {.err = 0};
    struct errmsg msg;
    struct wr sealed, out;
    struct rng rng;
    rng_seed(&rng, check_seed());
    rng_seed(&dice.rng, check_seed());
    wr_init_grow(&sealed, OUT_MAX);
    wr_init_grow(&out, OUT_MAX);
    struct ml_keyring *all = ml_keyring_open(keys, 3, throw_dice, &dice, &msg);
    struct ml_keyring *one[3];
    for (size_t i = 0; i < 3; i++)
        one[i] = ml_keyring_open(&keys[i], 1, throw_dice, &dice, &msg);

    for (unsigned round = 0; round < 3000; round++) {
        uint8_t plain[3000];
        size_t len = rng_below(&rng, round % 9 ? 100 : sizeof(plain));
        struct span aad = span_of("abcdefgh", rng_below(&rng, 9));
        for (size_t i = 0; i < len; i++)
            plain[i] = (uint8_t)rng_next(&rng);
        wr_reset(&sealed);
        wr_reset(&out);
        check_i64(
            ml_seal(one[rng_below(&rng, 3)], aad, span_of(plain, len), &sealed),
            0);
        check_u64(sealed.len, len + ML_SEAL_OVERHEAD);
        bool is_bad = rng_below(&rng, 2);
        if (is_bad)
            sealed.data[1 + rng_below(&rng, sealed.len - 1)] ^= 0x10;
        int err = ml_unseal(all, aad, span_of(sealed.data, sealed.len), &out);
        check_i64(err, is_bad ? ERR_AUTH : 0);
        check_u64(out.len, is_bad ? 0 : len);
        if (!is_bad && len > 0)
            assert_memory_equal(out.data, plain, len);
    }
    for (size_t i = 0; i < 3; i++)
        ml_keyring_close(one[i]);
    ml_keyring_close(all);
    wr_fini(&sealed);
    wr_fini(&out);
}

static void nothing_is_sealed_without_a_nonce(void **state)
{
    (void)state;
    struct ml_key key = key_of(32, 0);
    struct dice dice = {.err = ERR_SYS};
    struct errmsg msg;
    struct bytes plain = from_hex(PING);
    struct wr w;
    rng_seed(&dice.rng, check_seed());
    wr_init_grow(&w, OUT_MAX);
    wr_text(&w, "before");
    struct ml_keyring *k = ml_keyring_open(&key, 1, throw_dice, &dice, &msg);

    check_i64(ml_seal(k, (struct span){0}, span_of_bytes(&plain), &w), ERR_SYS);
    check_u64(w.len, 6);
    check_i64(wr_err(&w), 0);
    check_u64(ml_keyring_sealed(k), 0);
    check_u64(dice.n, 1);

    dice.err = 0;
    check_i64(ml_seal(k, (struct span){0}, span_of_bytes(&plain), &w), 0);
    check_u64(ml_keyring_sealed(k), 1);
    wr_fini(&w);
    ml_keyring_close(k);
}

static void says_when_there_is_no_room(void **state)
{
    (void)state;
    struct ml_keyring *k = ring(32, 0);
    struct bytes plain = from_hex(PING);
    uint8_t room[64];
    struct wr sealed, w;
    wr_init_grow(&sealed, OUT_MAX);
    check_i64(ml_seal(k, (struct span){0}, span_of_bytes(&plain), &sealed), 0);

    wr_init_fixed(&w, room, plain.len + ML_SEAL_OVERHEAD - 1);
    check_i64(ml_seal(k, (struct span){0}, span_of_bytes(&plain), &w),
              ERR_TOOBIG);
    check_u64(w.len, 0);
    check_u64(ml_keyring_sealed(k), 1);
    wr_init_fixed(&w, room, plain.len - 1);
    check_i64(
        ml_unseal(k, (struct span){0}, span_of(sealed.data, sealed.len), &w),
        ERR_TOOBIG);
    check_u64(w.len, 0);
    wr_init_fixed(&w, room, plain.len);
    check_i64(
        ml_unseal(k, (struct span){0}, span_of(sealed.data, sealed.len), &w),
        0);
    wr_fini(&sealed);
    ml_keyring_close(k);
}

static void nothing_at_all_can_be_sealed(void **state)
{
    (void)state;
    struct ml_keyring *k = ring(32, 0);
    struct wr sealed, out;
    wr_init_grow(&sealed, OUT_MAX);
    wr_init_grow(&out, OUT_MAX);
    check_i64(ml_seal(k, span_of_text("l"), (struct span){0}, &sealed), 0);
    check_u64(sealed.len, ML_SEAL_OVERHEAD);
    check_i64(
        ml_unseal(k, span_of_text("l"), span_of(sealed.data, sealed.len), &out),
        0);
    check_u64(out.len, 0);
    check_i64(
        ml_unseal(k, span_of_text("m"), span_of(sealed.data, sealed.len), &out),
        ERR_AUTH);
    wr_fini(&sealed);
    wr_fini(&out);
    ml_keyring_close(k);
}

static void a_key_that_stands_twice_counts_once(void **state)
{
    (void)state;
    struct ml_key keys[4] = {key_of(32, 0), key_of(16, 0), key_of(32, 0),
                             key_of(16, 0)};
    struct ml_keyring *k = ring_of(keys, 4);
    check_u64(ml_keyring_count(k), 2);
    ml_keyring_close(k);
}

static void opens_no_ring_of_wrong_keys(void **state)
{
    (void)state;
    struct ml_key keys[ML_KEYRING_MAX + 1];
    struct errmsg msg;
    for (size_t i = 0; i <= ML_KEYRING_MAX; i++)
        keys[i] = key_of(16, (uint8_t)i);

    assert_null(ml_keyring_open(keys, 0, counting, NULL, &msg));
    assert_null(
        ml_keyring_open(keys, ML_KEYRING_MAX + 1, counting, NULL, &msg));
    check_text(msg.text, "9 keys, not between 1 and 8");
    for (unsigned len = 0; len < 40; len++) {
        if (len == 16 || len == 24 || len == 32)
            continue;
        keys[1].len = (uint8_t)len;
        assert_null(ml_keyring_open(keys, 2, counting, NULL, &msg));
    }
    check_text(msg.text, "key 2 has 39 bytes, not 16, 24 or 32");
    ml_keyring_close(NULL);
}

static void reads_keys_as_serf_prints_them(void **state)
{
    (void)state;
    char text[ML_SEAL_TEXT_SIZE];
    struct ml_key key;
    struct ml_key want = key_of(32, 0);

    check_i64(
        ml_key_parse(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="), 0);
    check_u64(key.len, 32);
    assert_memory_equal(key.bytes, want.bytes, 32);
    check_text(ml_key_format(&key, text),
               "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    check_i64(ml_key_parse(&key, "AAECAwQFBgcICQoLDA0ODw=="), 0);
    check_u64(key.len, 16);
    check_i64(ml_key_parse(&key, "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"), 0);
    check_u64(key.len, 24);
}

static void a_key_comes_back_from_its_text(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (unsigned round = 0; round < 2000; round++) {
        struct ml_key key = {.len = (uint8_t)(16 + round % 3 * 8)}, back;
        char text[ML_SEAL_TEXT_SIZE];
        for (size_t i = 0; i < key.len; i++)
            key.bytes[i] = (uint8_t)rng_next(&rng);
        check_i64(ml_key_parse(&back, ml_key_format(&key, text)), 0);
        assert_memory_equal(&key, &back, sizeof(key));
    }
}

static void refuses_keys_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "=",
        "====",
        "AAECAwQFBgcICQoLDA0ODw",                          /* unpadded */
        "AAECAwQFBgcICQoLDA0ODw=",                         /* half */
        "AAECAwQFBgcICQoLDA0ODw===",                       /* too much */
        "AAECAwQFBgcICQoLDA0ODx==",                        /* bits to spare */
        "AAECAwQFBgcICQoLDA0ODw== ",                       /* a blank */
        " AAECAwQFBgcICQoLDA0ODw==",                       /* a blank */
        "AAECAwQFBgcICQoLDA0ODw==\n",                      /* a newline */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYX====",            /* far too much */
        "AAECAwQFBgcICQoLDA0OD-==",                        /* url alphabet */
        "AAECAwQFBgcICQoLDA0=",                            /* 14 bytes */
        "AAECAwQFBgcICQoLDA0ODxA=",                        /* 17 bytes */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",    /* 33 bytes */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISI", /* 35 bytes */
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8AAAAAAAAAAAAAAAAAAAAAAA=="};

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct ml_key key = {.len = 77};
        check_i64(ml_key_parse(&key, bad[i]), ERR_BAD);
        check_u64(key.len, 77);
    }
}

static void random_bytes_differ(void **state)
{
    (void)state;
    uint8_t a[12] = {0}, b[12] = {0};
    check_i64(ml_random(NULL, a, sizeof(a)), 0);
    check_i64(ml_random(NULL, b, sizeof(b)), 0);
    check_true(memcmp(a, b, sizeof(a)) != 0);
}

/* What libcrypto allocates. The one piece of state outside of a test: it can
 * only be watched from the start of the program. */
static size_t n_allocated;

static void *counted_malloc(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    n_allocated++;
    return malloc(n);
}

static void *counted_realloc(void *p, size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    n_allocated++;
    return realloc(p, n);
}

static void uncounted_free(void *p, const char *file, int line)
{
    (void)file;
    (void)line;
    free(p);
}

static void messages_allocate_nothing(void **state)
{
    (void)state;
    struct ml_key keys[2] = {key_of(32, 1), key_of(32, 2)};
    struct ml_keyring *k = ring_of(keys, 2);
    struct ml_keyring *second = ring_of(keys + 1, 1);
    struct span aad = span_of_text("label");
    uint8_t plain[1232] = {0}, sealed[1300], back[1300];
    struct wr w, r;
    check_true(n_allocated > 0);

    for (int i = 0; i < 1000; i++) {
        size_t before = n_allocated;
        wr_init_fixed(&w, sealed, sizeof(sealed));
        wr_init_fixed(&r, back, sizeof(back));
        check_i64(ml_seal(i % 2 ? k : second, aad, span_of(plain, 1232), &w),
                  0);
        if (i % 3 == 0)
            sealed[20] ^= 1;
        check_i64(ml_unseal(k, aad, span_of(sealed, w.len), &r),
                  i % 3 ? 0 : ERR_AUTH);
        check_u64(n_allocated, before);
    }
    ml_keyring_close(second);
    ml_keyring_close(k);
}

int main(void)
{
    CRYPTO_set_mem_functions(counted_malloc, counted_realloc, uncounted_free);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seals_and_opens_as_go_does),
        cmocka_unit_test(opens_what_is_padded),
        cmocka_unit_test(all_of_the_padding_is_checked),
        cmocka_unit_test(each_flipped_bit_is_refused),
        cmocka_unit_test(each_cut_is_refused),
        cmocka_unit_test(another_label_does_not_open),
        cmocka_unit_test(any_key_opens_and_the_first_one_seals),
        cmocka_unit_test(opens_on_after_any_mixture_of_bad_ones),
        cmocka_unit_test(nothing_is_sealed_without_a_nonce),
        cmocka_unit_test(says_when_there_is_no_room),
        cmocka_unit_test(nothing_at_all_can_be_sealed),
        cmocka_unit_test(a_key_that_stands_twice_counts_once),
        cmocka_unit_test(opens_no_ring_of_wrong_keys),
        cmocka_unit_test(reads_keys_as_serf_prints_them),
        cmocka_unit_test(a_key_comes_back_from_its_text),
        cmocka_unit_test(refuses_keys_that_are_none),
        cmocka_unit_test(random_bytes_differ),
        cmocka_unit_test(messages_allocate_nothing),
    };
    return cmocka_run_group_tests_name("ml_seal", tests, NULL, NULL);
}
