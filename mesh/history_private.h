/* mesh/history_private.h - inside of mesh/history*.c.
 *
 * Division of work: history_store.c has the lines and slots, history_fold.c
 * puts frames into them, history.c makes coarser ones of them and keeps them
 * within time and budget; history_read.c answers questions, history_wire.c
 * writes and reads parts for peers.
 */
#ifndef MESH_HISTORY_PRIVATE_H
#define MESH_HISTORY_PRIVATE_H

#include "mesh/history.h"
#include "mesh/texts.h"

#define LINE_NONE UINT32_MAX

/* Sums of one line over the time of one slot. */
struct record {
    uint32_t len;
    uint8_t data[];
};

/* The records of all lines over one span of time. */
struct slot {
    uint64_t start; /* window */
    uint64_t first; /* what it has begins here: start, or later */
    bool is_made;   /* else its children are to be asked; windows are */
    struct record **records; /* by line */
    size_t size;             /* of records */
    size_t bytes;
    uint64_t *frames; /* windows: hashes of those folded; 0: free place */
    size_t n_frames, frames_size;
    size_t buried; /* records freed so far */
};

struct tier {
    struct slot **slots; /* ascending */
    size_t n, size;
    size_t bytes;
    uint64_t gone; /* slots before this window have been dropped */
    uint64_t next; /* coarse: start of the next to be made */
};

/* A pair of labels, protocol and mode. */
struct line {
    uint32_t from, to; /* texts */
    uint32_t records;  /* 0: number not in use */
    uint32_t next;     /* in its chain or in the free list */
    uint64_t newest;   /* window with an attempt */
    uint8_t protocol, mode;
};

struct queued {
    struct queued *next;
    size_t len;
    uint8_t data[];
};

struct history {
    struct history_config config;
    size_t tables_bytes_max; /* of the tables of lines */
    struct tier tiers[HISTORY_TIERS];
    struct texts labels;
    struct texts origins; /* mark: label number << 32 | newest window */
    struct line *lines;
    uint32_t *chains;
    size_t lines_size; /* of lines and chains; 0 or a power of two */
    size_t n_lines;
    uint32_t free_line;
    uint64_t now;     /* window; 0: never told */
    uint64_t version; /* counts changes of the slots, for plans */
    struct history_stats stats;

    struct queued *queue, **queue_end;
    size_t queue_bytes;

    /* The frame being folded: the first of the queue. */
    bool is_folding;
    struct frame_reader frame;
    struct slot *frame_slot;
    uint64_t frame_key;
    uint32_t frame_origin;
    uint32_t *frame_targets; /* labels held, or TEXTS_NONE */
    size_t n_frame_targets, frame_targets_size;
    uint32_t frame_from; /* held, or TEXTS_NONE */
    struct frame_cell cell;

    /* The slot being made. */
    struct slot *making; /* in its tier, not yet is_made; or NULL */
    enum history_tier making_tier;
    uint32_t making_line; /* those before are done */

    struct slot **graves; /* dropped, to be freed */
    size_t n_graves, graves_size;

    struct tally tally;
    uint8_t scratch[TALLY_RECORD_MAX];
};

/* The slot that begins at `start`, or NULL. */
struct slot *history_find_slot(const struct history *h, enum history_tier t,
                               uint64_t start);
/* The same, or a new one; NULL without memory. */
struct slot *history_open_slot(struct history *h, enum history_tier t,
                               uint64_t start);
/* The first slot of the tier that does not begin before `window`. */
size_t history_slot_behind(const struct tier *t, uint64_t window);

uint32_t history_find_line(const struct history *h, uint32_t from, uint32_t to,
                           unsigned protocol, unsigned mode);
/* The same, or a new one, which vanishes unless a record is put. LINE_NONE
 * without room. */
uint32_t history_open_line(struct history *h, uint32_t from, uint32_t to,
                           unsigned protocol, unsigned mode);
/* Free it, if it has no records. */
void history_close_line(struct history *h, uint32_t line);

static inline const struct record *history_record(const struct slot *s,
                                                  uint32_t line)
{
    return line < s->size ? s->records[line] : NULL;
}

/* Take the slot at this place of its tier out; it is freed by and by. */
void history_drop_slot(struct history *h, enum history_tier t, size_t at);
/* The same with the oldest: its time is past, and nothing comes there again. */
void history_drop_oldest(struct history *h, enum history_tier t);
/* Free up to `n` records of a dropped slot. Returns true when it is gone. */
bool history_bury(struct history *h, struct slot *s, size_t n);

/* Go on with the queue of frames, which is not empty: one target or one cell
 * of the first one. Returns about what it cost, in series. */
size_t history_fold(struct history *h);
/* Be done with the first of the queue. */
void history_end_frame(struct history *h);

/* How many windows a slot of this tier is kept. */
uint64_t history_kept(enum history_tier t);

/* Replace the record of a line by h->tally. */
int history_put_record(struct history *h, enum history_tier t, struct slot *s,
                       uint32_t line);

static inline uint64_t history_align(enum history_tier t, uint64_t window)
{
    return window - window % history_span(t);
}

#endif /* MESH_HISTORY_PRIVATE_H */
