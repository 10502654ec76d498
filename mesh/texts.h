/* mesh/texts.h - texts with numbers, as long as somebody uses them.
 *
 * A text that is taken gets a number, the same as long as anybody holds it;
 * when the last one gives it back the number is free for another text. Numbers
 * are small and dense, so that tables can be indexed by them. There is a
 * limit, since the texts come from other nodes. Pure.
 */
#ifndef MESH_TEXTS_H
#define MESH_TEXTS_H

#include <stddef.h>
#include <stdint.h>

#define TEXTS_NONE UINT32_MAX

struct texts {
    struct text {
        char *text; /* owned, NULL: number not in use */
        uint64_t hash;
        uint32_t refs;
        uint32_t next; /* number behind it in its chain, or in the free list */
        uint64_t mark; /* the user's own */
    } * list;
    uint32_t *chains; /* first number, or TEXTS_NONE */
    size_t size;      /* of list and chains; 0 or a power of two */
    size_t max;       /* texts at once */
    size_t count;
    uint32_t free; /* first free number, or TEXTS_NONE */
    uint64_t seed; /* of the hash: texts are chosen by others */
};

void texts_init(struct texts *t, size_t max, uint64_t seed);
void texts_fini(struct texts *t);

/* Hold `text` (copied), once more or for the first time, with a mark of 0.
 * Returns 0, ERR_NOMEM, or ERR_TOOBIG if there are `max` others. */
int texts_take(struct texts *t, const char *text, uint32_t *number);
/* Hold it once less. */
void texts_give(struct texts *t, uint32_t number);

/* The number of a text that somebody holds, or TEXTS_NONE. */
uint32_t texts_find(const struct texts *t, const char *text);
/* Borrowed as long as it is held. */
const char *texts_get(const struct texts *t, uint32_t number);

#endif /* MESH_TEXTS_H */
