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
    uint64_t retention_s; /* 300 */
    size_t bytes_max;     /* 32 MiB */
};

struct frames *frames_open(const struct frames_limits *limits);
void frames_close(struct frames *f);

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

size_t frames_count(const struct frames *f);
size_t frames_bytes(const struct frames *f);

#endif /* MESH_FRAMES_H */
