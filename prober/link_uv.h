/* prober/link_uv.h - a bounded one-way queue between two loops.
 *
 * One thread posts, one thread takes; messages are values of a fixed size
 * that change owner by being copied. Nothing is shared but the ring. Posting
 * never blocks and never allocates: a full ring refuses, and the poster
 * counts. By default posting does not wake the other side, which looks in
 * when it likes (waking a sleeping thread costs more than most messages are
 * worth); link_wake() does.
 */
#ifndef PROBER_LINK_UV_H
#define PROBER_LINK_UV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

struct link; /* opaque */

/* Called on the taking loop after link_wake(). */
typedef void link_ready(void *arg);

/* A ring of `n` messages (a power of two) of `size` bytes each, taken on
 * `loop`. `ready` may be NULL. NULL: no memory. */
struct link *link_open(uv_loop_t *loop, size_t n, size_t size,
                       link_ready *ready, void *arg);

/* On the taking loop's thread, when the poster has stopped. */
void link_close(struct link *l);

/* Post a copy of *message. False: full. */
bool link_post(struct link *l, const void *message);

/* Have `ready` called. From any thread. */
void link_wake(struct link *l);

/* Take the oldest message. False: empty. */
bool link_take(struct link *l, void *message);

/* How full it is, as seen by either side. */
size_t link_count(const struct link *l);

#endif /* PROBER_LINK_UV_H */
