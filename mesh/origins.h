/* mesh/origins.h - what time it is for those whose frames come in.
 *
 * A frame is closed ORIGINS_CLOSE_MS after the end of its window on its
 * origin's clock, and says which window; when that was on our clock is known
 * from its age, which travels with it. The difference is the origin's clock
 * against ours:
 *
 *     offset = (window + 1) * 10 s + 2 s - our time when it was closed
 *
 * positive if it is ahead. What delays a frame (a stalled origin, the way
 * here) makes it look behind, so of the last samples the one nearest to 0
 * counts. With three origins or more the middle of all offsets is taken for
 * the true time, so that a node whose own clock is wrong does not think so of
 * everybody else. Who is then off by more than a window is skewed: its windows
 * are not those of others.
 *
 * Also counts what strangers (origins that are no members) have brought.
 * Pure. Bounded by a number of origins.
 */
#ifndef MESH_ORIGINS_H
#define MESH_ORIGINS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/frame.h"

#define ORIGINS_CLOSE_MS  2000
#define ORIGINS_SAMPLES   6
#define ORIGINS_SKEWED_MS (FRAME_WINDOW_S * 1000)

struct origin {
    char *name; /* owned */
    uint64_t heard_ns;
    int64_t offset_ms; /* after origins_settle(): against the common time */
    bool is_skewed;
    size_t stranger_bytes; /* brought while it was no member, if it is none */

    /* The rest is origins.c's. */
    int64_t raw_ms; /* against our clock */
    int64_t samples_ms[ORIGINS_SAMPLES];
    unsigned n_samples, next_sample;
    uint64_t sampled_ns;
};

struct origins {
    struct origin **list; /* sorted by name */
    size_t n, size, max;
    uint64_t keep_ns;
    int64_t common_ms; /* the common time against our clock */
    size_t stranger_bytes, n_strangers;
    int64_t *scratch; /* for the middle */
};

int origins_init(struct origins *o, size_t max, uint64_t keep_ns);
void origins_fini(struct origins *o);

/* The record of an origin; NULL if there is none. Borrowed until the next
 * origins_heard() or origins_settle(). */
struct origin *origins_find(const struct origins *o, const char *name);

/* A frame of `window` came that its origin closed at `closed_unix_ms` of our
 * clock. ERR_BUSY if there are too many origins, ERR_NOMEM. */
int origins_heard(struct origins *o, uint64_t now_ns, const char *name,
                  uint64_t window, int64_t closed_unix_ms);
/* Our clock was set by so much. */
void origins_shift(struct origins *o, int64_t step_ms);
void origins_count_stranger(struct origins *o, struct origin *it, size_t bytes);
/* It is a member, now: what it brought before is no stranger's any more. */
void origins_count_member(struct origins *o, struct origin *it);

/* Work out the offsets; forget whom nothing was heard of for keep_ns. */
void origins_settle(struct origins *o, uint64_t now_ns);

void origins_check(const struct origins *o);

#endif /* MESH_ORIGINS_H */
