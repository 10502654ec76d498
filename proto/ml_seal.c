#include "proto/ml_seal.h"

#include <assert.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    VERSION_PADDED = 0,
    VERSION_PLAIN = 1,
    NONCE_SIZE = 12,
    TAG_SIZE = 16,
    BLOCK_SIZE = 16,
    HEAD_SIZE = 1 + NONCE_SIZE,
};

_Static_assert(HEAD_SIZE + TAG_SIZE == ML_SEAL_OVERHEAD, "overhead");
_Static_assert((32 + 2) / 3 * 4 + 1 <= ML_SEAL_TEXT_SIZE, "key text");

/* The key schedule is the dear part of a short message, so each key keeps a
 * context in which it was set once; a message only sets its nonce. */
struct ml_keyring {
    struct ml_key keys[ML_KEYRING_MAX];
    EVP_CIPHER_CTX *open[ML_KEYRING_MAX];
    EVP_CIPHER_CTX *seal; /* of keys[0] */
    size_t n;
    uint64_t n_sealed;
    ml_random_fn *random;
    void *random_arg;
};

int ml_random(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    if (len > INT_MAX || RAND_bytes(out, (int)len) != 1)
        return ERR_SYS;
    return 0;
}

static bool is_key_len(size_t len)
{
    return len == 16 || len == 24 || len == 32;
}

static EVP_CIPHER_CTX *open_context(const struct ml_key *key, bool is_seal)
{
    const char *name = key->len == 16   ? "AES-128-GCM"
                       : key->len == 24 ? "AES-192-GCM"
                                        : "AES-256-GCM";
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, name, NULL);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();

    if (!cipher || !c ||
        EVP_CipherInit_ex2(c, cipher, key->bytes, NULL, is_seal, NULL) != 1) {
        EVP_CIPHER_CTX_free(c);
        c = NULL;
    }
    EVP_CIPHER_free(cipher); /* the context holds on to it */
    return c;
}

static bool has_key(const struct ml_keyring *k, const struct ml_key *key)
{
    for (size_t i = 0; i < k->n; i++) {
        if (k->keys[i].len == key->len &&
            !CRYPTO_memcmp(k->keys[i].bytes, key->bytes, key->len))
            return true;
    }
    return false;
}

static int add_key(struct ml_keyring *k, const struct ml_key *key)
{
    if (has_key(k, key))
        return 0;
    k->keys[k->n] = *key;
    k->open[k->n] = open_context(key, false);
    k->n++;
    return k->open[k->n - 1] ? 0 : ERR_SYS;
}

struct ml_keyring *ml_keyring_open(const struct ml_key *keys, size_t n,
                                   ml_random_fn *random, void *random_arg,
                                   struct errmsg *msg)
{
    if (n < 1 || n > ML_KEYRING_MAX) {
        errmsg_set(msg, "%zu keys, not between 1 and %d", n, ML_KEYRING_MAX);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        if (!is_key_len(keys[i].len)) {
            errmsg_set(msg, "key %zu has %u bytes, not 16, 24 or 32", i + 1,
                       keys[i].len);
            return NULL;
        }
    }
    struct ml_keyring *k = calloc(1, sizeof(*k));
    if (!k) {
        errmsg_set(msg, "out of memory");
        return NULL;
    }
    k->random = random;
    k->random_arg = random_arg;
    int err = 0;
    for (size_t i = 0; i < n && !err; i++)
        err = add_key(k, &keys[i]);
    if (!err)
        k->seal = open_context(&k->keys[0], true);
    if (err || !k->seal) {
        errmsg_set(msg, "libcrypto cannot set up AES-GCM");
        ml_keyring_close(k);
        return NULL;
    }
    return k;
}

void ml_keyring_close(struct ml_keyring *k)
{
    if (!k)
        return;
    EVP_CIPHER_CTX_free(k->seal); /* wipes its key schedule */
    for (size_t i = 0; i < k->n; i++)
        EVP_CIPHER_CTX_free(k->open[i]);
    OPENSSL_cleanse(k, sizeof(*k));
    free(k);
}

size_t ml_keyring_count(const struct ml_keyring *k)
{
    return k->n;
}

uint64_t ml_keyring_sealed(const struct ml_keyring *k)
{
    return k->n_sealed;
}

/* Run `n` bytes through a context whose nonce is set. */
static bool crypt(EVP_CIPHER_CTX *c, struct span aad, const uint8_t *in,
                  size_t n, uint8_t *out)
{
    int done;

    if (aad.len > 0 &&
        EVP_CipherUpdate(c, NULL, &done, aad.data, (int)aad.len) != 1)
        return false;
    return n == 0 || (EVP_CipherUpdate(c, out, &done, in, (int)n) == 1 &&
                      (size_t)done == n);
}

static bool seal_into(struct ml_keyring *k, struct span aad, struct span plain,
                      uint8_t *out)
{
    uint8_t *nonce = out + 1;
    uint8_t *text = out + HEAD_SIZE;
    uint8_t *tag = text + plain.len;
    int none;

    out[0] = VERSION_PLAIN;
    return !k->random(k->random_arg, nonce, NONCE_SIZE) &&
           EVP_CipherInit_ex2(k->seal, NULL, NULL, nonce, 1, NULL) == 1 &&
           crypt(k->seal, aad, plain.data, plain.len, text) &&
           EVP_CipherFinal_ex(k->seal, tag, &none) == 1 &&
           EVP_CIPHER_CTX_ctrl(k->seal, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, tag);
}

int ml_seal(struct ml_keyring *k, struct span aad, struct span plain,
            struct wr *out)
{
    size_t before = out->len;

    assert(aad.len <= INT_MAX);
    if (plain.len > INT_MAX - ML_SEAL_OVERHEAD)
        return ERR_TOOBIG;
    uint8_t *to = wr_space(out, plain.len + ML_SEAL_OVERHEAD);
    if (!to)
        return wr_err(out);
    if (!seal_into(k, aad, plain, to)) {
        out->len = before;
        return ERR_SYS;
    }
    k->n_sealed++;
    return 0;
}

static bool open_with(EVP_CIPHER_CTX *c, struct span aad, struct span sealed,
                      uint8_t *out)
{
    const uint8_t *text = sealed.data + HEAD_SIZE;
    size_t n = sealed.len - ML_SEAL_OVERHEAD;
    uint8_t tag[TAG_SIZE];
    uint8_t none_text[BLOCK_SIZE];
    int none;

    memcpy(tag, text + n, TAG_SIZE);
    return EVP_CipherInit_ex2(c, NULL, NULL, sealed.data + 1, 0, NULL) == 1 &&
           crypt(c, aad, text, n, out) &&
           EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, tag) == 1 &&
           EVP_CipherFinal_ex(c, none_text, &none) == 1;
}

/* What is left of `n` > 0 bytes without their padding, or n if that is not as
 * it has to be: 1..16 bytes, each of which says how many they are. */
static size_t without_padding(const uint8_t *text, size_t n)
{
    uint8_t pad = text[n - 1];

    if (pad < 1 || pad > BLOCK_SIZE || pad > n)
        return n;
    for (size_t i = 1; i <= pad; i++) {
        if (text[n - i] != pad)
            return n;
    }
    return n - pad;
}

/* Can it be sealed at all? Costs nothing, and is asked before the keys are. */
static bool is_formed(struct span sealed)
{
    if (sealed.len < ML_SEAL_OVERHEAD || sealed.len > INT_MAX)
        return false;
    size_t n = sealed.len - ML_SEAL_OVERHEAD;
    if (sealed.data[0] == VERSION_PADDED)
        return n > 0 && n % BLOCK_SIZE == 0;
    return sealed.data[0] == VERSION_PLAIN;
}

int ml_unseal(struct ml_keyring *k, struct span aad, struct span sealed,
              struct wr *out)
{
    size_t before = out->len;

    assert(aad.len <= INT_MAX);
    if (!is_formed(sealed))
        return ERR_BAD;
    size_t n = sealed.len - ML_SEAL_OVERHEAD;
    /* Where nothing is inside, there still is a tag that has to hold. */
    uint8_t nothing[1];
    uint8_t *text = n > 0 ? wr_space(out, n) : nothing;
    if (!text)
        return wr_err(out);

    int err = ERR_AUTH;
    for (size_t i = 0; i < k->n && err; i++) {
        if (open_with(k->open[i], aad, sealed, text))
            err = 0;
    }
    if (!err && sealed.data[0] == VERSION_PADDED) {
        size_t left = without_padding(text, n);
        if (left == n)
            err = ERR_BAD;
        out->len = before + left;
    }
    if (err) {
        out->len = before;
        OPENSSL_cleanse(text, n); /* bytes that nobody vouches for */
    }
    return err;
}

static int digit_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* libcrypto's decoder forgives spaces and missing padding, and counts padding
 * as bytes; a key is better read to the letter. */
int ml_key_parse(struct ml_key *key, const char *text)
{
    struct ml_key k = {0};
    uint32_t bits = 0;
    unsigned n_bits = 0;
    size_t n = 0;
    size_t n_digits = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                   "abcdefghijklmnopqrstuvwxyz0123456789+/");
    size_t n_pad = strspn(text + n_digits, "=");
    int err = ERR_BAD;

    if (text[n_digits + n_pad] != '\0' || (n_digits + n_pad) % 4 != 0 ||
        n_pad > 2 || n_digits > 43)
        goto out;
    for (size_t i = 0; i < n_digits; i++) {
        bits = bits << 6 | (uint32_t)digit_value(text[i]);
        n_bits += 6;
        if (n_bits >= 8) {
            n_bits -= 8;
            k.bytes[n++] = (uint8_t)(bits >> n_bits);
            bits &= (1u << n_bits) - 1;
        }
    }
    if (!is_key_len(n) || bits != 0)
        goto out;
    k.len = (uint8_t)n;
    *key = k;
    err = 0;
out:
    OPENSSL_cleanse(&k, sizeof(k));
    OPENSSL_cleanse(&bits, sizeof(bits));
    return err;
}

char *ml_key_format(const struct ml_key *key, char text[ML_SEAL_TEXT_SIZE])
{
    assert(is_key_len(key->len));
    EVP_EncodeBlock((unsigned char *)text, key->bytes, key->len);
    return text;
}
