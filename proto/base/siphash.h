/* proto/base/siphash.h - SipHash-2-4 (Aumasson and Bernstein, 2012).
 *
 * 64 bits of a text such that nobody finds another one with the same hash
 * much faster than by trying, not even who knows the key. For names of things
 * that strangers make up; hash_bytes() is for spreading over slots.
 */
#ifndef PROTO_BASE_SIPHASH_H
#define PROTO_BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const uint64_t key[2], const void *data, size_t len);

#endif /* PROTO_BASE_SIPHASH_H */
