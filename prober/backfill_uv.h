/* prober/backfill_uv.h - the history of peers, for this daemon.
 *
 * The host of mesh/backfill.h: its timer and its way to the members. Runs on
 * the control plane's loop.
 */
#ifndef PROBER_BACKFILL_UV_H
#define PROBER_BACKFILL_UV_H

#include <uv.h>

#include "mesh/backfill.h"
#include "prober/gossip.h"

struct backfill_uv; /* opaque */

struct backfill_uv_config {
    uv_loop_t *loop;
    const struct config *config; /* borrowed while opening */
    struct gossip *gossip;       /* borrowed until backfill_uv_close() */
    struct history *history;     /* the same */
};

/* NULL without memory. */
struct backfill_uv *backfill_uv_open(const struct backfill_uv_config *c);
/* The handle ends with the loop's next turn. NULL is fine. */
void backfill_uv_close(struct backfill_uv *u);

/* A message of ours came from the mesh. False: not for this module. */
bool backfill_uv_message(struct backfill_uv *u, const struct addr *from,
                         struct span message);

/* For reading. */
const struct backfill *backfill_uv_backfill(const struct backfill_uv *u);

#endif /* PROBER_BACKFILL_UV_H */
