/* proto/digest.h - SHA-256, and comparing what is secret.
 *
 * FIPS 180-4 by way of OpenSSL. What is kept of a secret is its digest; two
 * are compared in a time that depends on their length alone. Pure.
 */
#ifndef PROTO_DIGEST_H
#define PROTO_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define DIGEST_SIZE      32
#define DIGEST_TEXT_SIZE 72 /* "sha256:", 64 digits, NUL */

/* SHA-256 of `len` bytes. 0, or ERR_NOMEM: `out` is all zero then. */
int digest_sha256(const void *data, size_t len, uint8_t out[DIGEST_SIZE]);

/* Are they the same? In constant time. */
bool digest_equal(const uint8_t a[DIGEST_SIZE], const uint8_t b[DIGEST_SIZE]);

/* "sha256:<64 hex>", case-insensitive, colons between bytes allowed. Returns
 * 0, or ERR_BAD and leaves `out` alone. */
int digest_parse(const char *text, uint8_t out[DIGEST_SIZE]);
/* Writes "sha256:", 64 hex digits in lower case and NUL. */
void digest_format(const uint8_t digest[DIGEST_SIZE],
                   char text[DIGEST_TEXT_SIZE]);

#endif /* PROTO_DIGEST_H */
