/* Opens anything under three keys, which must not succeed; then seals it,
 * which must, also as a padded text; and reads it as a key. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/ml_seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int zero_nonce(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 0, len);
    return 0;
}

static void try_key(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    struct ml_key key;
    if (!text)
        return;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (!ml_key_parse(&key, text)) {
        char again[ML_SEAL_TEXT_SIZE];
        assert(strcmp(ml_key_format(&key, again), text) == 0);
    }
    free(text);
}

static void try_padded(struct ml_keyring *k, struct span aad, struct wr *sealed,
                       struct span plain)
{
    struct wr out;
    wr_init_grow(&out, 1 << 20);
    sealed->data[0] = 0;
    if (!ml_unseal(k, aad, span_of(sealed->data, sealed->len), &out)) {
        assert(out.len < plain.len && plain.len - out.len <= 16);
        assert(plain.len - out.len == plain.data[plain.len - 1]);
        assert(out.len == 0 || !memcmp(out.data, plain.data, out.len));
    } else {
        assert(out.len == 0);
    }
    wr_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ml_key keys[3] = {{.len = 16}, {.len = 24}, {.len = 32}};
    struct span aad = span_of(data, size % 7 < size ? size % 7 : 0);
    struct span all = span_of(data, size);
    struct wr sealed, out;

    if (size > 65536)
        return 0;
    try_key(data, size);
    struct ml_keyring *k = ml_keyring_open(keys, 3, zero_nonce, NULL, NULL);
    if (!k)
        return 0;
    wr_init_grow(&sealed, 1 << 20);
    wr_init_grow(&out, 1 << 20);
    int err = ml_unseal(k, aad, all, &out);
    assert(err && out.len == 0);

    err = ml_seal(k, aad, all, &sealed);
    assert(!err && sealed.len == size + ML_SEAL_OVERHEAD);
    err = ml_unseal(k, aad, span_of(sealed.data, sealed.len), &out);
    assert(!err && out.len == size);
    assert(size == 0 || memcmp(out.data, data, size) == 0);
    try_padded(k, aad, &sealed, all);
    wr_fini(&sealed);
    wr_fini(&out);
    ml_keyring_close(k);
    return 0;
}
