/* prober/crypto_mem.h - a free list per thread under libcrypto's malloc.
 *
 * One TLS handshake makes some 2200 small allocations and frees nearly all of
 * them again. libcrypto lets a program replace its allocator before first
 * use; ours keeps freed pieces of up to CRYPTO_MEM_PIECE_MAX bytes in lists by
 * size, one set of lists a thread, and never takes a lock. What is not in the
 * lists comes from and goes to malloc, so pieces may be freed by another
 * thread than the one that allocated them.
 *
 * A thread's lists hold at most CRYPTO_MEM_BYTES_MAX together. With a
 * sanitizer nothing is replaced, or it would not see libcrypto's mistakes.
 */
#ifndef PROBER_CRYPTO_MEM_H
#define PROBER_CRYPTO_MEM_H

#include <stdbool.h>
#include <stddef.h>

#define CRYPTO_MEM_PIECE_MAX 2048
#define CRYPTO_MEM_BYTES_MAX 262144

/* To be called first in main(), before anything uses libcrypto. Returns
 * whether it is in place; if not, malloc goes on serving. */
bool crypto_mem_install(void);

/* Give the calling thread's lists back to malloc, at the end of a thread. */
void crypto_mem_release(void);

/* Bytes in the calling thread's lists. */
size_t crypto_mem_kept(void);

#endif /* PROBER_CRYPTO_MEM_H */
