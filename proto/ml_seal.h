/* proto/ml_seal.h - memberlist's encryption: AES-GCM under a keyring.
 *
 *     version u8 | nonce 12 | ciphertext | tag 16
 *
 * Version 1 is what is written; version 0 (older peers: PKCS#7 padding to 16
 * inside) is read too, with all of its padding checked. The first key seals,
 * every key is tried when opening.
 *
 * Nonces come from a function given at opening, so that a simulation can be
 * repeated; when it fails nothing is sealed. Messages sealed with a key are
 * counted: random nonces are safe up to 2^32 of them (NIST SP 800-38D, 8.3).
 * One thread. Pure but for libcrypto.
 */
#ifndef PROTO_ML_SEAL_H
#define PROTO_ML_SEAL_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/base/span.h"

#define ML_KEYRING_MAX    8
#define ML_SEAL_OVERHEAD  29
#define ML_SEAL_TEXT_SIZE 48 /* a key in base64, and NUL */

struct ml_key {
    uint8_t len; /* 16, 24 or 32 */
    uint8_t bytes[32];
};

struct ml_keyring; /* opaque */

/* Fill `out` with `len` random bytes; 0 or an error. */
typedef int ml_random_fn(void *arg, uint8_t *out, size_t len);

/* The ml_random_fn to use outside of simulations: libcrypto's. */
int ml_random(void *arg, uint8_t *out, size_t len);

/* Copy `n` keys (1..ML_KEYRING_MAX), the first of which seals; a repeated one
 * is kept once. NULL and a message for a length that is none, for too many, or
 * without memory. */
struct ml_keyring *ml_keyring_open(const struct ml_key *keys, size_t n,
                                   ml_random_fn *random, void *random_arg,
                                   struct errmsg *msg);
void ml_keyring_close(struct ml_keyring *k); /* wipes the keys; NULL is fine */

size_t ml_keyring_count(const struct ml_keyring *k);
/* Messages sealed with the first key so far. */
uint64_t ml_keyring_sealed(const struct ml_keyring *k);

/* Append the sealed form of `plain` (plain.len + ML_SEAL_OVERHEAD bytes).
 * Returns 0, ERR_SYS (no random bytes, or libcrypto failed: nothing was
 * written) or the writer's error. */
int ml_seal(struct ml_keyring *k, struct span aad, struct span plain,
            struct wr *out);

/* Append what `sealed` holds. ERR_AUTH if no key opens it, ERR_BAD if it is too
 * short, of an unknown version or wrongly padded, or the writer's error;
 * *out is then as long as it was. */
int ml_unseal(struct ml_keyring *k, struct span aad, struct span sealed,
              struct wr *out);

/* "base64 of 16, 24 or 32 bytes", as `serf keygen` prints it. 0 or ERR_BAD. */
int ml_key_parse(struct ml_key *key, const char *text);
char *ml_key_format(const struct ml_key *key, char text[ML_SEAL_TEXT_SIZE]);

#endif /* PROTO_ML_SEAL_H */
