/* prober/stores_uv.h - what this node knows: windows, frames, history.
 *
 * The running windows of its own samples, the frames that are cut from them
 * every ten seconds, those of all other nodes, and the history that is made of
 * both in the loop's idle moments. Keeps the clock's windows: when one ends,
 * its surroundings are noted; when the wall clock was set back, an epoch
 * begins. The control plane's thread.
 */
#ifndef PROBER_STORES_UV_H
#define PROBER_STORES_UV_H

#include <stdbool.h>
#include <stdint.h>

#include <uv.h>

#include "mesh/frames.h"
#include "mesh/history.h"
#include "prober/config.h"
#include "prober/env.h"
#include "prober/intake.h"
#include "prober/plane_uv.h"
#include "prober/spread_uv.h"
#include "prober/window.h"

struct stores {
    const struct config *config; /* these two are borrowed */
    const struct plane *plane;
    struct spread_uv *spread; /* borrowed; NULL: there is no mesh */
    struct windows *windows;
    struct frames *frames;
    struct history *history;
    struct env *env;
    struct frame_context context;      /* of the last window */
    struct plane_status status_at_cut; /* of the plane, when that was noted */
    uint64_t env_at_ns;
    uint64_t window;     /* that the clock says is running */
    uint64_t frames_cut; /* of our own */
    uv_timer_t work_timer;
    struct wr encoded; /* of the frame being cut */
};

/* In this order: the handle first, so that it can be closed whatever fails. */
void stores_init_handle(struct stores *s, uv_loop_t *loop);
void stores_close_handle(struct stores *s);

/* ERR_NOMEM if there is none; stores_fini() in any case. */
int stores_open(struct stores *s, const struct config *config,
                const struct plane *plane);
void stores_fini(struct stores *s);

/* Tell the windows whose samples may come from now on. */
int stores_set_targets(struct stores *s);
/* The configuration's limits are others than before. */
void stores_limit(struct stores *s);

/* Cut what is due; to be asked often, for the whole mesh waits for it. */
void stores_cut(struct stores *s, uint64_t now_unix_ns);
/* Once a second. */
void stores_tick(struct stores *s, struct intake *in, uint64_t now_unix_ns);

/* May frames of this origin count? `arg` is a struct stores. What one with a
 * wrong clock says is about other windows than it means. */
bool stores_is_usable(void *arg, const char *origin);

#endif /* PROBER_STORES_UV_H */
