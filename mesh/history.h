/* mesh/history.h - what zones measured of each other, for a day.
 *
 * Each frame that comes is folded at once into the zone pairs that it is
 * about, so that a question about zones only adds up a few records a cell and
 * looks at no frame. There are three tiers of time:
 *
 *     window   10 s    6 minutes     folded from frames
 *     minute   1 min   2 hours       made from windows
 *     ten      10 min  24 hours      made from minutes
 *
 * A coarser slot is made when its time has settled, HISTORY_SETTLE windows
 * after its end, and what comes late is added to all the slots it belongs to.
 * Records are mesh/tally.h's: merging is exact, nothing is lost but resolution
 * in time. A question takes the coarsest slots that fit; where the fine ones
 * have gone it takes whole coarse ones, and says how much time that covered.
 *
 * All of it stays within a number of bytes. Windows may have half of it,
 * minutes two thirds of what windows leave, tens the rest; in each tier the
 * oldest go first.
 *
 * A frame is folded once, however often it comes (its origin, epoch and window
 * are remembered as long as its window's slot is), and not at all if its
 * window has gone or its origin is not usable.
 *
 * What takes long is done in history_work(): folding, making, freeing. Pure.
 * One thread.
 */
#ifndef MESH_HISTORY_H
#define MESH_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/matrix.h"
#include "mesh/tally.h"

enum history_tier {
    HISTORY_WINDOW,
    HISTORY_MINUTE,
    HISTORY_TEN,
    HISTORY_TIERS,
};

#define HISTORY_STEP      512 /* pieces: below a millisecond */
#define HISTORY_SETTLE    2   /* windows after which a slot is made */
#define HISTORY_WINDOWS   36  /* kept; a frame older than that is too late */
#define HISTORY_MINUTES   120 /* kept */
#define HISTORY_TENS      144 /* kept */
#define HISTORY_LINES_MAX (PROTOCOL_N * MODE_N * MATRIX_CELLS_MAX)
#define HISTORY_QUEUE_MAX (8u << 20) /* bytes of frames to be folded */
#define HISTORY_PLAN_MAX  512        /* slots that a question adds up */

struct history; /* opaque */

struct history_config {
    size_t bytes_max;
    uint64_t seed; /* of hashes */
    /* May this origin's frames be folded? NULL: all may. Asked when they are,
     * once a frame; for origins whose clock is wrong. */
    bool (*is_usable)(void *arg, const char *origin);
    void *usable_arg;
};

struct history_stats {
    uint64_t folded, late, repeated, unusable; /* frames */
    uint64_t dropped; /* cells: limits, no memory, overflow */
    size_t bytes;     /* all that is held */
    size_t lines;     /* pairs of zones, by protocol and mode */
    struct {
        size_t slots, bytes;
        uint64_t oldest, end; /* windows: the first, behind the last */
    } tiers[HISTORY_TIERS];
};

struct history *history_open(const struct history_config *config);
void history_close(struct history *h);

/* Change the budget; what is too much goes at the next tick. */
void history_limit(struct history *h, size_t bytes_max);

/* Say what time it is: old slots go, and new ones become due to be made. */
void history_tick(struct history *h, uint64_t now_unix_s);

/* The window of the last tick; 0: none yet. */
uint64_t history_now(const struct history *h);

/* Take a copy of a frame that frames_add() took, to be folded by
 * history_work(); if too many wait, some are folded right now. ERR_NOMEM: it
 * is lost, and counted. */
int history_add(struct history *h, const void *frame, size_t len);

/* Do about `pieces` pieces of what is to be done; a histogram is one. Returns
 * 1 if there is more. Questions may be asked in between: a slot being made is
 * not used, but a frame is folded cell by cell. */
int history_work(struct history *h, size_t pieces);
/* Are there frames that wait to be folded? */
bool history_is_behind(const struct history *h);

void history_stats(const struct history *h, struct history_stats *out);
uint64_t history_span(enum history_tier t); /* windows: 1, 6, 60 */

/* --- names -------------------------------------------------------------- */

/* What is a row or a column, by matrix_label() at LEVEL_ZONE: zones, and
 * outside endpoints. Calls `row` for each that measured or reported, `column`
 * for each that was measured, once, in no order. */
typedef int history_name_fn(void *arg, const char *name);
int history_names(const struct history *h, history_name_fn *row,
                  history_name_fn *column, void *arg);

/* Is it the name of a row or a column? */
bool history_knows(const struct history *h, const char *name);

/* The newest window that an origin reported, 0 if none of late. */
uint64_t history_reported(const struct history *h, const char *origin);

/* --- questions ----------------------------------------------------------
 *
 *     history_reader_open(&r, h, &question);
 *     for each pair: cell = history_read(r, from, to, now_unix_ns);
 *     history_reader_close(r);
 *
 * Between two reads the history may change; each cell is of the moment at
 * which it was read. */
struct history_question {
    uint64_t first, last; /* windows */
    int protocol, mode;   /* -1: all */
    bool is_past;         /* what is newer than `last` does not count */
    uint64_t unknown_s;   /* older than that, and not within the windows asked
                           * for: unknown, no longer stale */
    bool is_fine;         /* prefer fine slots: for history_next_point() */
};

struct history_reader; /* opaque */

struct history_reader *history_reader_open(const struct history *h,
                                           const struct history_question *q);
void history_reader_close(struct history_reader *r);

/* Read a cell, which stays until the next one is read. `state` and `age_s` are
 * as of now_unix_ns: fresh, stale or unknown; age_s of an unknown cell may be
 * known. NULL without memory. */
struct matrix_cell *history_read(struct history_reader *r, const char *from,
                                 const char *to, uint64_t now_unix_ns);

/* What time an answer covers, in windows: first .. end - 1, and the longest
 * slot among them. Nothing: end is 0. Never more than rounding `first` down
 * and `last` up to a slot. */
struct history_cover {
    uint64_t first, end;
    uint64_t step; /* windows */
};
struct history_cover history_covered(struct history_reader *r);

/* The parts of a cell along the time, oldest first. Begin with *at = 0. Returns
 * 1, with the sums (not the state) of the next part that has attempts and its
 * time; 0 behind the last, ERR_NOMEM. The history may change in between. */
int history_next_point(struct history_reader *r, uint64_t *at, const char *from,
                       const char *to, const struct matrix_cell **cell,
                       struct history_cover *time);

/* --- between nodes ------------------------------------------------------
 *
 * A node that is new asks a peer for what it has. The unit is a part of a
 * slot (varints unless said otherwise):
 *
 *   version (1), tier, start window, first window, n, n x (length, name),
 *   n, n x (from, to: numbers of names, protocol, mode, length, record)
 *
 * Parts can be taken in any order and repeatedly: of two records of the same
 * cell and slot the one with more attempts stays. So they are taken only for
 * time that is older than frames can be. */
#define HISTORY_PART_VERSION 1
#define HISTORY_PART_NAMES   256
#define HISTORY_PART_CELLS   1024
#define HISTORY_PART_MAX     (256u << 10) /* bytes accepted */

/* Where a walk is; zeroed to begin. Newest first, minutes before tens. */
struct history_cursor {
    unsigned step; /* tiers done */
    uint64_t start;
    uint32_t line;
    bool is_begun;
};

/* Append the next part of about `bytes` bytes, at least one record. Returns 1,
 * 0 behind the last, or the writer's error. What changes meanwhile may be
 * missed, or come twice. */
int history_next_part(const struct history *h, struct history_cursor *c,
                      size_t bytes, struct wr *w);

/* Keep a walk to what is about the windows first..last: what lies outside is
 * passed over. False: nothing is left. */
bool history_narrow(struct history_cursor *c, uint64_t first, uint64_t last);

/* Merge a part, from anybody. Checked as a whole before anything is taken;
 * records that are new to us in kind, or of a time that we measure ourselves,
 * are passed over. Returns 0, ERR_TRUNC, ERR_BAD, ERR_TOOBIG, ERR_NOMEM. */
int history_take_part(struct history *h, const void *data, size_t len);

#endif /* MESH_HISTORY_H */
