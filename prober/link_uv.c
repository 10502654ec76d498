#include "prober/link_uv.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct link {
    uv_async_t async;
    link_ready *ready;
    void *arg;
    size_t n, size;
    /* Counters that only grow; each is written by one side. Apart, so that
     * the sides do not fight over a cache line. */
    _Alignas(64) atomic_size_t posted;
    _Alignas(64) atomic_size_t taken;
    _Alignas(64) unsigned char ring[];
};

static void on_async(uv_async_t *async)
{
    struct link *l = async->data;
    if (l->ready)
        l->ready(l->arg);
}

struct link *link_open(uv_loop_t *loop, size_t n, size_t size,
                       link_ready *ready, void *arg)
{
    assert(n && (n & (n - 1)) == 0);
    size_t bytes = sizeof(struct link) + n * size;
    struct link *l = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!l)
        return NULL;
    memset(l, 0, sizeof(*l));
    l->ready = ready;
    l->arg = arg;
    l->n = n;
    l->size = size;
    if (uv_async_init(loop, &l->async, on_async)) {
        free(l);
        return NULL;
    }
    l->async.data = l;
    return l;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void link_close(struct link *l)
{
    if (l)
        uv_close((uv_handle_t *)&l->async, on_closed);
}

bool link_post(struct link *l, const void *message)
{
    size_t posted = atomic_load_explicit(&l->posted, memory_order_relaxed);
    size_t taken = atomic_load_explicit(&l->taken, memory_order_acquire);
    if (posted - taken == l->n)
        return false;
    memcpy(l->ring + (posted & (l->n - 1)) * l->size, message, l->size);
    atomic_store_explicit(&l->posted, posted + 1, memory_order_release);
    return true;
}

void link_wake(struct link *l)
{
    uv_async_send(&l->async);
}

bool link_take(struct link *l, void *message)
{
    size_t taken = atomic_load_explicit(&l->taken, memory_order_relaxed);
    size_t posted = atomic_load_explicit(&l->posted, memory_order_acquire);
    if (taken == posted)
        return false;
    memcpy(message, l->ring + (taken & (l->n - 1)) * l->size, l->size);
    atomic_store_explicit(&l->taken, taken + 1, memory_order_release);
    return true;
}

size_t link_count(const struct link *l)
{
    size_t taken = atomic_load_explicit(&l->taken, memory_order_relaxed);
    return atomic_load_explicit(&l->posted, memory_order_relaxed) - taken;
}
