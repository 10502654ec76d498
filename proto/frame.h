/* proto/frame.h - what one node measured in one ten-second window.
 *
 * Three forms of it: struct frame has all of it in memory; a frame_reader
 * goes through the encoding cell by cell, in bounded steps and without
 * allocating; the frame_put_ functions write it piece by piece.
 *
 * A frame is made once, by its origin, and never changes; merging is set
 * union over (origin, epoch, window). This is what the probe engine and the
 * mesh share.
 *
 * On the wire: msgpack arrays. Unknown trailing elements of an array are
 * skipped, so that later versions can append without a new version number; a
 * frame of another version is refused. Encoded with msgpack-c; decoded with a
 * bounded cursor of our own (proto/msgpack_rd.h), which checks every count
 * against the bytes left before anything is allocated (msgpack-c's unpacker
 * reserves gigabytes for five bytes).
 *
 *   [version, origin, epoch_ms, window, zone, region, context, targets, cells]
 *   context: [flags, psi_cpu, psi_memory, psi_io (1/100 %), throttled_us,
 *             nr_throttled, mem_used, mem_limit, runq_wait_us, lag_p99_us,
 *             missed_slots, in_flight_max, queue_drops]
 *   target:  [name, zone, region]
 *   cell:    [target index, protocol, mode, attempts, [outcome, count, ...],
 *             retransmits, reconnects, user_clock, max_lag_us, trusted,
 *             [series, hist bytes, ...]]
 *
 * flags: bit 0 is is_starved. Outcomes and series ascend; only those with a
 * count are there. Hist bytes are those of proto/hist.h.
 *
 * A cell of a protocol or mode, or with an outcome, that this program does not
 * know (its origin is newer) is left out when decoding: without the outcome
 * its failures could not be told from successes, and no cell says "unknown",
 * which is true. A series that is not known is left out of its cell.
 */
#ifndef PROTO_FRAME_H
#define PROTO_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/hist.h"
#include "proto/outcome.h"

#define FRAME_VERSION     1
#define FRAME_WINDOW_S    10
#define FRAME_NAME_MAX    128 /* bytes of origin, target, zone, region */
#define FRAME_TARGETS_MAX 4096
#define FRAME_CELLS_MAX   16384
#define FRAME_BYTES_MAX   (4u << 20)

/* What the origin's surroundings were like. Negative: not known. */
struct frame_context {
    bool is_starved; /* the prober was; cells are then not trusted */
    int32_t psi_cpu, psi_memory, psi_io; /* "some avg10", 1/100 % */
    int64_t throttled_us; /* cgroup: time throttled in this window */
    int64_t nr_throttled; /* cgroup: periods throttled */
    int64_t memory_used, memory_limit; /* bytes */
    int64_t runq_wait_us;              /* measuring thread waited for a CPU */
    int64_t lag_p99_us;                /* measuring loop */
    int64_t missed_slots, in_flight_max, queue_drops;
};

struct frame_target {
    char *name, *zone, *region; /* owned; zone and region may be "" */
};

struct frame_cell {
    uint32_t target; /* index into targets */
    uint8_t protocol, mode;
    bool is_trusted;
    uint32_t attempts; /* = sum of outcomes */
    uint32_t outcomes[OUTCOME_N];
    uint32_t retransmits, reconnects;
    uint32_t user_clock; /* attempts not timed by the kernel alone */
    uint64_t max_lag_us;
    struct hist series[SERIES_N]; /* of ok attempts, at most one value each */
};

struct frame {
    char *origin, *zone, *region; /* owned */
    uint64_t epoch_ms;            /* origin's start, unix time */
    uint64_t window;              /* unix seconds / FRAME_WINDOW_S */
    struct frame_context context;
    size_t n_targets, n_cells;
    struct frame_target *targets;
    struct frame_cell *cells;
};

/* Free what the frame holds. A zeroed frame is valid. */
void frame_fini(struct frame *f);

/* Append the encoding. Returns 0, the writer's error, or ERR_TOOBIG for a
 * frame that frame_decode() would refuse because it breaks a limit above.
 * FRAME_BYTES_MAX is for the writer to keep (wr_init_grow). */
int frame_encode(const struct frame *f, struct wr *w);

/* Decode into *f (zeroed or stale; replaced on success, untouched on
 * failure). Returns 0, ERR_TRUNC, ERR_BAD, ERR_TOOBIG, ERR_NOMEM. Everything
 * the comments above state holds for a decoded frame: target indices exist,
 * outcomes add up to attempts, names are not longer than FRAME_NAME_MAX and
 * have no NUL inside, origin and target names are not empty. Cells and targets
 * may repeat; merging adds them up. */
int frame_decode(struct frame *f, const void *data, size_t len);

/* --- reading it piece by piece ------------------------------------------
 *
 *     frame_reader_open(&r, data, len);
 *     while ((rc = frame_reader_target(&r, &t)) == 1) ...
 *     while ((rc = frame_reader_cell(&r, &cell)) == 1) {
 *         if (it matters) rc = frame_reader_series(&r, &cell);
 *     }
 *
 * What is not asked for is passed over, targets too. Opening is one step,
 * however large the frame; so is each target, each cell and its series. */
struct frame_reader {
    char origin[FRAME_NAME_MAX + 1];
    char zone[FRAME_NAME_MAX + 1];
    char region[FRAME_NAME_MAX + 1];
    uint64_t epoch_ms, window;
    struct frame_context context;
    size_t n_targets;

    /* The rest is the reader's own. */
    struct rd in;
    size_t fields;  /* of the frame */
    size_t targets; /* left to read */
    size_t cells;   /* the same, once the targets are read */
    size_t pending; /* fields of a cell whose series stand next, or 0 */
    bool is_in_cells;
};

struct frame_reader_target {
    char name[FRAME_NAME_MAX + 1];
    char zone[FRAME_NAME_MAX + 1];
    char region[FRAME_NAME_MAX + 1];
};

/* Borrows `data` until the reader is given up. Returns 0 or the errors of
 * frame_decode(), which need not all show at once: what is wrong with a
 * target or a cell is told when it is read. */
int frame_reader_open(struct frame_reader *r, const void *data, size_t len);

/* The next target or cell: 1 if there is one, 0 behind the last, or an error,
 * which stays. A cell comes without its series: those of *c are empty but
 * keep their memory; zero *c before the first and frame_cell_fini() it after
 * the last. Cells that we do not know are passed over. */
int frame_reader_target(struct frame_reader *r, struct frame_reader_target *t);
int frame_reader_cell(struct frame_reader *r, struct frame_cell *c);

/* The series of the cell read last, once. Returns 0 or an error. */
int frame_reader_series(struct frame_reader *r, struct frame_cell *c);

/* Go through all that is left after frame_reader_open() and say whether
 * frame_decode() would take it: 0 or its errors. Allocates nothing. */
int frame_reader_check(struct frame_reader *r);

void frame_cell_fini(struct frame_cell *c);

/* --- writing it piece by piece ------------------------------------------
 *
 * Head, f->n_targets targets, the number of cells, that many cells. Errors
 * stay in the writer; limits are the caller's to keep. */
void frame_put_head(struct wr *w, const struct frame *f);
void frame_put_target(struct wr *w, const struct frame_target *t);
void frame_put_cells(struct wr *w, size_t n);
/* `series` is what frame_put_series() wrote; that of *c is not looked at. */
void frame_put_cell(struct wr *w, const struct frame_cell *c,
                    const void *series, size_t series_len);

/* The series list of a cell on its own: ok attempts can be added to an
 * encoded one by reading, adding and writing it. Reading replaces all of
 * `series`, into the memory it has; `data` is ours, broken is a bug. Returns
 * 0 or ERR_NOMEM. */
void frame_put_series(struct wr *w, const struct hist series[SERIES_N]);
int frame_get_series(struct hist series[SERIES_N], const void *data,
                     size_t len);

#endif /* PROTO_FRAME_H */
