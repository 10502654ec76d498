/* mesh/frames.h - the grow-only set of frames, keyed (origin, epoch, window).
 *
 * Frames are kept encoded, exactly as their origin made them, up to a
 * retention and a byte budget (oldest windows go first). Adding one twice
 * does nothing, whatever the second one says. Bookkeeping counts against the
 * budget, so that many small frames cannot get around it. Pure.
 *
 * A frame from the future would never expire and would drive out the others:
 * one that is more than FRAMES_AHEAD_MAX windows ahead of the time last given
 * to frames_expire() is refused, and so is one older than the retention.
 *
 * Nothing proves that a frame is its origin's. So that one origin cannot
 * drive out the others, each may have so many bytes and so many frames (of
 * different epochs) in a window; within its share its oldest go first.
 *
 * For comparing sets: each key has a hash, and each window the exclusive or
 * of these, kept up to date. Two windows with the same count and the same xor
 * hold the same frames.
 */
#ifndef MESH_FRAMES_H
#define MESH_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/frame.h"

#define FRAMES_AHEAD_MAX 6 /* a minute of difference between clocks */

struct frames; /* opaque */

struct frames_limits {
    uint64_t retention_s;    /* 300 */
    size_t bytes_max;        /* 32 MiB */
    size_t origin_bytes_max; /* of one origin; 0: no other limit */
    unsigned epochs_max;     /* of an origin in a window; 0: no limit */
};

struct frames *frames_open(const struct frames_limits *limits);
void frames_close(struct frames *f);
/* Other limits from now on: what has no room any more goes, oldest windows
 * first; what is too old now goes with the next frames_expire(). */
void frames_set_limits(struct frames *f, const struct frames_limits *limits);

/* Call `on_added` with each frame that is added from now on, when all is in its
 * place again; it must not change the set. `data` is borrowed for the call. */
void frames_listen(struct frames *f,
                   void (*on_added)(void *arg, const void *data, size_t len),
                   void *arg);

/* Take a copy of an encoded frame. Returns 0 (added), ERR_BUSY (known
 * already), ERR_BAD and the other errors of frame_decode(), ERR_NOMEM;
 * allocates nothing before it is known to be good and to be kept.
 * ERR_CLOSED if it is older than the retention, ERR_BAD if it is too far
 * ahead, ERR_TOOBIG if the budget is full of frames no older than it. */
int frames_add(struct frames *f, const void *data, size_t len);

/* Say what time it is; drop what is older than the retention or too far
 * ahead. */
void frames_expire(struct frames *f, uint64_t now_unix_s);

/* Where a walk is: oldest window first, within a window in the order of
 * (origin, epoch). Begin with {.first_window = w}; fini when done, also after
 * frames_close(). Frames may come and go between two steps: one that is held
 * all the while is met exactly once, one that comes or goes at most once. */
struct frames_cursor {
    uint64_t first_window;
    struct frames_entry
        *at; /* the frame met last; kept alive, if it was dropped */
};

/* Step to the next frame. Returns false behind the last; one that is added
 * there later is found by asking again. *data is its encoding, which decodes,
 * borrowed until the next step or frames_cursor_fini(). */
bool frames_next(const struct frames *f, struct frames_cursor *c,
                 const void **data, size_t *len);
void frames_cursor_fini(struct frames_cursor *c);

/* ---- comparing and passing on ---- */

/* A frame that is held; borrowed until the set changes. */
struct frames_item {
    const char *origin;
    uint64_t epoch_ms, window;
    uint64_t hash; /* frames_hash() of its key */
    const void *data;
    size_t len;
    uint64_t closed_ns; /* as it was given to frames_put() */
};

/* The name of a key in 64 bits. Public: made so that another key with the
 * same name is not found by trying. */
uint64_t frames_hash(const char *origin, uint64_t epoch_ms, uint64_t window);

/* frames_add() with a mark of the caller's: when its origin closed it, on the
 * caller's clock. *out (may be NULL) is what is held under that key now, also
 * for ERR_BUSY; NULL in .origin after other errors. */
int frames_put(struct frames *f, const void *data, size_t len,
               uint64_t closed_ns, struct frames_item *out);

/* What is held of a window; all zero for one that is not. */
struct frames_window {
    uint64_t window;
    size_t n;
    uint64_t hash; /* xor of the hashes */
};
void frames_window(const struct frames *f, uint64_t window,
                   struct frames_window *out);
/* Frame `i` of a window, 0..n-1, in the order of (origin, epoch). False behind
 * the last. */
bool frames_item(const struct frames *f, uint64_t window, size_t i,
                 struct frames_item *out);

/* What is held under a key. */
bool frames_find(const struct frames *f, const char *origin, uint64_t epoch_ms,
                 uint64_t window, struct frames_item *out);

/* Windows before this one are not wanted any more: too old, or given up for
 * want of room. 0 before the first frames_expire(). */
uint64_t frames_floor(const struct frames *f);
/* Is this window refused because it is too far ahead? */
bool frames_is_ahead(const struct frames *f, uint64_t window);
/* The newest window held, 0: none. */
uint64_t frames_newest(const struct frames *f);

/* Walk everything and assert its invariants. For tests. */
void frames_check(const struct frames *f);

size_t frames_count(const struct frames *f);
size_t frames_bytes(const struct frames *f);

#endif /* MESH_FRAMES_H */
