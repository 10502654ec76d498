#include "prober/crypto_mem.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>

/* List `i` holds pieces of at least i * GRAIN + SLACK bytes. These are the
 * sizes glibc really gives (16 n + 8), so that nothing is wasted; with another
 * malloc it is merely a size. malloc_usable_size() tells a piece's list, which
 * saves a header: 16 bytes at each of the 116 pieces of a held session. */
#define GRAIN   16
#define SLACK   8
#define N_LISTS (CRYPTO_MEM_PIECE_MAX / GRAIN + 1)

struct piece {
    struct piece *next;
};

/* The one mutable global: libcrypto's hooks carry no argument. */
static _Thread_local struct {
    struct piece *lists[N_LISTS];
    size_t bytes;
} cache;

static size_t list_for(size_t need)
{
    return need <= SLACK + GRAIN ? 1 : (need - SLACK + GRAIN - 1) / GRAIN;
}

static size_t size_of_list(size_t i)
{
    return i * GRAIN + SLACK;
}

static void *take(size_t n, const char *file, int line)
{
    (void)file;
    (void)line;
    if (n > CRYPTO_MEM_PIECE_MAX)
        return malloc(n);
    size_t i = list_for(n);
    struct piece *p = cache.lists[i];
    if (!p)
        return malloc(size_of_list(i));
    cache.lists[i] = p->next;
    cache.bytes -= size_of_list(i);
    return p;
}

static void give(void *data, const char *file, int line)
{
    (void)file;
    (void)line;
    if (!data)
        return;
    size_t i = (malloc_usable_size(data) - SLACK) / GRAIN;
    if (i == 0 || i >= N_LISTS ||
        cache.bytes + size_of_list(i) > CRYPTO_MEM_BYTES_MAX) {
        free(data);
        return;
    }
    struct piece *p = data;
    p->next = cache.lists[i];
    cache.lists[i] = p;
    cache.bytes += size_of_list(i);
}

static void *resize(void *data, size_t n, const char *file, int line)
{
    if (!data)
        return take(n, file, line);
    if (n == 0) {
        give(data, file, line);
        return NULL;
    }
    size_t size = malloc_usable_size(data);
    if (size > CRYPTO_MEM_PIECE_MAX && n > CRYPTO_MEM_PIECE_MAX)
        return realloc(data, n);
    if (n <= size && n > size / 2)
        return data;
    void *copy = take(n, file, line);
    if (!copy)
        return NULL;
    memcpy(copy, data, n < size ? n : size);
    give(data, file, line);
    return copy;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || \
    __has_feature(thread_sanitizer)
#define IS_SANITIZED 1
#endif
#endif
#ifndef IS_SANITIZED
#define IS_SANITIZED 0
#endif

bool crypto_mem_install(void)
{
    return !IS_SANITIZED && CRYPTO_set_mem_functions(take, resize, give) == 1;
}

void crypto_mem_release(void)
{
    for (size_t i = 0; i < N_LISTS; i++) {
        while (cache.lists[i]) {
            struct piece *p = cache.lists[i];
            cache.lists[i] = p->next;
            cache.bytes -= size_of_list(i);
            free(p);
        }
    }
    assert(cache.bytes == 0);
}

size_t crypto_mem_kept(void)
{
    return cache.bytes;
}
