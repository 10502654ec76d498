/* test/fuzz/keys.c - any bytes as a file of keys; what is read, written again,
 * is read the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "prober/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool is_true)
{
    if (!is_true)
        abort();
}

static void write_again(const struct ml_key *keys, size_t n)
{
    char file[ML_KEYRING_MAX * (ML_SEAL_TEXT_SIZE + 1)] = "";
    char text[ML_SEAL_TEXT_SIZE];
    struct ml_key again[ML_KEYRING_MAX];
    size_t n_again;
    for (size_t i = 0; i < n; i++) {
        strcat(file, ml_key_format(&keys[i], text));
        strcat(file, "\n");
    }
    demand(!keys_parse("k", file, strlen(file), again, &n_again, NULL));
    demand(n_again == n && !memcmp(again, keys, n * sizeof(*keys)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ml_key keys[ML_KEYRING_MAX];
    struct errmsg msg = {0};
    size_t n = 0;
    int err = keys_parse("k", (const char *)data, size, keys, &n, &msg);
    demand((err != 0) == (msg.text[0] != '\0'));
    demand(err || (n >= 1 && n <= ML_KEYRING_MAX));
    if (!err)
        write_again(keys, n);
    return 0;
}
