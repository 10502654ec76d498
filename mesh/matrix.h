/* mesh/matrix.h - frames merged into a latency matrix.
 *
 * From a set of frames, the cells (from, to) at one level (node, zone or
 * region), over the windows asked for, for one protocol or all, one mode. A
 * cell merges histograms exactly. What is not known is said: a pair without
 * a measurement is `unknown`, one whose newest measurement is older than
 * three windows is `stale`.
 *
 * The windows asked for are the last ceil(window_s / 10) that ended
 * MATRIX_SETTLE_S or longer ago, and what is newer.
 *
 * `age_s` is the time since the end of the newest window in which the cell has
 * an attempt, at least 0, also if that lies before the windows asked for. It is
 * the least that the age can be: the attempt itself may be up to a window
 * older. `stale` is decided by it.
 *
 * A cell is `draining` if either end is: at node level the node, above it all
 * nodes expected there. That goes before the other states, since what is
 * measured of a node that leaves says nothing about the network.
 *
 * Rows are the origins of frames and the expected sources; columns are the
 * targets of frames and all expected nodes; both by matrix_label(), sorted by
 * bytes.
 *
 * Building goes in steps, between which the set of frames may change: what is
 * held all the while is counted once, what comes or goes meanwhile may be. It
 * is then read row by row, and freed in steps too, if there is a hurry.
 *
 * Names come from frames, which come from other nodes, so there are limits;
 * what is beyond them is left out and counted by matrix_dropped(). Pure.
 */
#ifndef MESH_MATRIX_H
#define MESH_MATRIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/frames.h"
#include "proto/frame.h"

#define MATRIX_STEP      512 /* pieces: well below a millisecond */
#define MATRIX_STALE_S   (3 * FRAME_WINDOW_S)
#define MATRIX_SETTLE_S  4      /* to close a window and to spread its frame */
#define MATRIX_NAMES_MAX 8192   /* rows; columns as well */
#define MATRIX_CELLS_MAX 131072 /* measured ones; 300 zones are 90,000 */

enum matrix_level { LEVEL_NODE, LEVEL_ZONE, LEVEL_REGION };
enum matrix_state { CELL_FRESH, CELL_STALE, CELL_UNKNOWN, CELL_DRAINING };

const char *matrix_state_name(enum matrix_state s);
const char *matrix_level_name(enum matrix_level l);
int matrix_level_parse(const char *text); /* -1 if none */

/* What a node or target is called at a level: its name, zone or region. An
 * outside endpoint has no zone, and a node need not have a region: then it is
 * called by the next finer one. zone and region may be NULL. */
const char *matrix_label(enum matrix_level l, const char *name,
                         const char *zone, const char *region);

struct matrix_query {
    enum matrix_level level;
    uint64_t window_s; /* 10..3600, how far back */
    int protocol;      /* enum probe_protocol, -1: all */
    int mode;          /* enum probe_mode, -1: all */
    uint64_t now_unix_ns;
    bool is_past; /* only windows that had ended by now_unix_ns count */
    /* May frames of this origin count? NULL: all may. For origins whose clock
     * is wrong: their windows are not those of the others. */
    bool (*is_usable)(void *arg, const char *origin);
    void *usable_arg;
};

/* The windows that a question is about. */
struct matrix_windows {
    uint64_t first, last;
};
struct matrix_windows matrix_windows(const struct matrix_query *q);

/* A node that should be there whether or not frames mention it. */
struct matrix_node {
    const char *name, *zone, *region;
    bool is_draining;
    bool is_source; /* expected to report (a row), not only a target */
};

struct matrix_cell {
    enum matrix_state state;
    double age_s;                  /* of the newest measurement; < 0 unknown */
    uint64_t attempts, ok, failed; /* failed: without the local outcomes */
    uint64_t outcomes[OUTCOME_N];
    uint64_t retransmits, reconnects, user_clock;
    uint64_t max_lag_us;
    unsigned nodes;       /* origins that contributed in these windows */
    double trusted_ratio; /* trusted attempts / attempts; 1 if none */
    struct hist series[SERIES_N];
};

struct matrix; /* opaque */

/* Begin to build. Names are copied; `frames` (may be NULL) is borrowed until
 * matrix_step() has said that it is done. Returns NULL without memory. */
struct matrix *matrix_open(const struct frames *frames,
                           const struct matrix_query *query,
                           const struct matrix_node *nodes, size_t n_nodes);

/* Build on, for about `pieces` pieces: a target, a cell passed over, or a
 * histogram merged is one, and takes a fraction of a microsecond. Returns 1 if
 * there is more to do, 0 when the matrix is complete, ERR_NOMEM if it will
 * never be: only matrix_discard() and matrix_close() may follow then. */
int matrix_step(struct matrix *m, size_t pieces);

/* Open it and take all the steps. Returns NULL without memory. */
struct matrix *matrix_build(const struct frames *frames,
                            const struct matrix_query *query,
                            const struct matrix_node *nodes, size_t n_nodes);

/* Free about `pieces` pieces of a matrix that will only be closed. Returns 1
 * while there are more; after 0 closing takes no time. */
int matrix_discard(struct matrix *m, size_t pieces);
void matrix_close(struct matrix *m);

/* The rest is for complete ones. */
size_t matrix_rows(const struct matrix *m);
size_t matrix_columns(const struct matrix *m);
const char *matrix_row_name(const struct matrix *m, size_t row);
const char *matrix_column_name(const struct matrix *m, size_t column);
/* Never NULL; a pair never measured gives an unknown, empty cell. */
const struct matrix_cell *matrix_at(const struct matrix *m, size_t row,
                                    size_t column);

/* Origins: how many sources were expected (different names), how many of these
 * reported within three windows (any frame, also one without attempts), and
 * the names of those that did not, sorted. */
size_t matrix_expected(const struct matrix *m);
size_t matrix_missing(const struct matrix *m);
const char *matrix_missing_name(const struct matrix *m, size_t i);

/* Cells of frames that were left out because of a limit. */
size_t matrix_dropped(const struct matrix *m);

#endif /* MESH_MATRIX_H */
