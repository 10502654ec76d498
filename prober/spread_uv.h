/* prober/spread_uv.h - frames between this daemon and the mesh.
 *
 * The host of mesh/spread.h: its timer, its clock, its way to the members.
 * Runs on the control plane's loop.
 */
#ifndef PROBER_SPREAD_UV_H
#define PROBER_SPREAD_UV_H

#include <uv.h>

#include "mesh/spread.h"
#include "prober/gossip.h"

struct spread_uv; /* opaque */

struct spread_uv_config {
    uv_loop_t *loop;
    const struct config *config; /* borrowed while opening */
    struct gossip *gossip;       /* borrowed until spread_uv_close() */
    struct frames *frames;       /* the same */
};

/* NULL without memory. */
struct spread_uv *spread_uv_open(const struct spread_uv_config *c);
/* The handle ends with the loop's next turn. NULL is fine. */
void spread_uv_close(struct spread_uv *u);

/* This node has closed a frame; see spread_on_own(). */
int spread_uv_own(struct spread_uv *u, const void *data, size_t len);
/* A message of ours came from the mesh; see spread_on_message(). */
void spread_uv_message(struct spread_uv *u, const struct addr *from,
                       struct span message);
/* Once a second: what time it is; drops what is too old (frames_expire()). */
uint64_t spread_uv_tick(struct spread_uv *u, uint64_t now_unix_ns);

/* For reading. */
const struct spread *spread_uv_spread(const struct spread_uv *u);

#endif /* PROBER_SPREAD_UV_H */
