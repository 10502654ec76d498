/* prober/api.h - the views: what /api/v1/... answers, as JSON.
 *
 * Pure rendering from the control plane's data; httpd.h is the door. All
 * contracts are in docs/api.md. Unknown parameters and values get 400.
 *
 * Work is done in pieces, so that no call takes long: what is asked for is
 * collected from the frames for half a millisecond a turn, and rendered cell
 * by cell. A matrix of zones comes from the history, where its cells are
 * merged when they are written; the others are built from frames first. Either
 * is shared, by reference count, text and all, by everybody who asks the same
 * question while it is built and within a second of its beginning. One thread,
 * the control plane's.
 */
#ifndef PROBER_API_H
#define PROBER_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/backfill.h"
#include "mesh/frames.h"
#include "mesh/history.h"
#include "mesh/spread.h"
#include "prober/api_nodes.h"
#include "prober/httpd.h"
#include "prober/plane_status.h"
#include "prober/sample.h"

#define API_SAMPLES_MAX 4096

struct metrics_source; /* prober/metrics.h */
struct api_cache;      /* opaque: matrices that were built lately */

struct api_cache *api_cache_open(void); /* NULL: no memory */
/* After the server was closed; answers under way hold what they need. */
void api_cache_close(struct api_cache *c);

/* Everything a view reads. The control plane fills it; borrowed, and so is
 * what it points to, until the server is closed: answers read it while they
 * are being sent. The exception is `nodes`, of which answers hold a reference
 * of their own. Numbers and flags may change between two callbacks. */
struct api_source {
    const char *node, *zone, *region, *version;
    uint64_t start_unix_ns;
    uint64_t start_ns;               /* monotonic */
    const struct frames *frames;     /* not NULL */
    const struct spread *spread;     /* NULL: there is no mesh */
    const struct backfill *backfill; /* the same */
    /* What zones measured of each other, made from the same frames and older
     * ones. NULL: questions about zones go to `frames`. Views let it work. */
    struct history *history;
    uint64_t history_max_bytes; /* of frames and history together */
    uint64_t retention_s;       /* what is older is unknown; 0: 300 */
    /* May frames of this origin count? As in matrix.h; NULL: all may. */
    bool (*is_usable)(void *arg, const char *origin);
    void *usable_arg;
    /* The present snapshot, owned, with its running number: only changed by
     * api_source_set_nodes(). NULL: nobody is known. */
    struct api_nodes *nodes;
    uint64_t nodes_number;
    /* The mesh right now, for /api/v1/status; NULL: it is off. */
    const struct api_mesh *mesh;
    /* Called before a view reads `nodes` or `mesh`, if not NULL: the chance to
     * bring them up to date, so that it need not be done when nobody asks. At
     * most a few milliseconds' work; no memory: leave what is there. */
    void (*refresh)(void *arg);
    void *refresh_arg;
    const struct plane_status *plane;
    const struct frame_context *context; /* of the last window, or NULL */
    bool is_ready;                       /* listening and measuring */
    const char *not_ready_reason;        /* static */
    bool is_draining;
    uint64_t stall_after_ns; /* no status for this long: not live; 0: off */
    uint64_t frames_cut;
    int64_t memory_rss_bytes;             /* of this process; <= 0: not known */
    struct api_cache *cache;              /* NULL: nothing is shared */
    const struct metrics_source *metrics; /* NULL: there is no /metrics */

    /* Recent samples: a ring of samples_size. The newest is at
     * samples[(samples_head + samples_size - 1) % samples_size], that is,
     * head is where the next will be put. samples_total counts all that were
     * ever put in; the last samples_count of them are there. */
    const struct sample *samples;
    size_t samples_size, samples_head, samples_count;
    uint64_t samples_total;
    /* Names for one sample of the ring. */
    void (*names)(void *arg, const struct sample *s, struct sample_names *out);
    void *names_arg;

    uint64_t (*now_ns)(void); /* monotonic */
    uint64_t (*now_unix_ns)(void);
};

/* Make `nodes` (NULL: none) the present snapshot and give back the one before;
 * takes over the caller's reference. Call it with NULL after the server was
 * closed. */
void api_source_set_nodes(struct api_source *s, struct api_nodes *nodes);

/* An httpd_handler; arg is a struct api_source *. */
void api_handle(void *arg, const struct httpd_request *request,
                struct httpd_answer *answer);

#endif /* PROBER_API_H */
