/* mesh/wants.h - frames that others have and this node has not.
 *
 * What was asked for is not asked for again for a while, so that exchanges
 * with several members at once do not fetch the same frame twice; what is on
 * its way is bounded, in all and from each member. A frame that nobody brings
 * is forgotten when nobody offers it any more.
 *
 * Pure. Bounded: when full, what was offered longest ago goes.
 */
#ifndef MESH_WANTS_H
#define MESH_WANTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct want {
    uint64_t id; /* of the frame */
    uint64_t window;
    uint64_t seen_ns;  /* somebody offered it */
    uint64_t until_ns; /* it is on its way, or is not wanted again before */
    uint64_t asked_ns; /* last, 0: never */
    uint32_t n_asked;
    uint32_t bytes;  /* about */
    uint32_t from;   /* the member asked */
    bool is_refused; /* came, and was not taken */
};

struct wants {
    struct want *list; /* sorted by id */
    size_t n, max;
    size_t n_refused;
    uint64_t hold_ns; /* how long an offer counts */
};

int wants_init(struct wants *w, size_t max, uint64_t hold_ns);
void wants_fini(struct wants *w);

/* Somebody offers it. Borrowed until the next call that is not a question. */
struct want *wants_note(struct wants *w, uint64_t now_ns, uint64_t id,
                        uint64_t window, uint32_t bytes);
/* It came. */
void wants_remove(struct wants *w, uint64_t id);
/* It came and cannot be taken: never ask for it again. */
void wants_refuse(struct wants *w, uint64_t now_ns, uint64_t id,
                  uint64_t window);
/* Forget what nobody offers, and what is before `floor`. */
void wants_expire(struct wants *w, uint64_t now_ns, uint64_t floor);

const struct want *wants_find(const struct wants *w, uint64_t id);
/* Bytes on their way from a member, or from all (UINT32_MAX). */
size_t wants_under_way(const struct wants *w, uint64_t now_ns, uint32_t from);
/* How many frames are known to exist, and not here. */
size_t wants_missing(const struct wants *w);
/* Is one of these not even on its way? */
bool wants_is_idle(const struct wants *w, uint64_t now_ns);

void wants_check(const struct wants *w);

#endif /* MESH_WANTS_H */
