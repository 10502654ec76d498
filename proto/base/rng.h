/* proto/base/rng.h - seeded random numbers for schedules, tests, simulation.
 *
 * xoshiro256** (Blackman and Vigna, 2018), seeded through splitmix64. Not for
 * keys or nonces: those come from OpenSSL.
 */
#ifndef PROTO_BASE_RNG_H
#define PROTO_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

struct rng {
    uint64_t s[4];
};

/* The same seed gives the same sequence, on every machine. */
void rng_seed(struct rng *r, uint64_t seed);

uint64_t rng_next(struct rng *r);

/* Uniform in 0..n-1 without bias; 0 for n == 0. */
uint64_t rng_below(struct rng *r, uint64_t n);

/* Uniform in [0, 1). */
double rng_unit(struct rng *r);

/* 64-bit FNV-1a with a final mix: spreads names over slots. Not keyed. */
uint64_t hash_bytes(uint64_t seed, const void *data, size_t len);

#endif /* PROTO_BASE_RNG_H */
