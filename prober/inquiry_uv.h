/* prober/inquiry_uv.h - opening what inquiry.h describes. */
#ifndef PROBER_INQUIRY_UV_H
#define PROBER_INQUIRY_UV_H

#include <uv.h>

#include "mesh/history.h"
#include "prober/audit.h"
#include "prober/config.h"
#include "prober/gossip.h"
#include "prober/inquiry.h"
#include "prober/oneoff_uv.h"
#include "prober/remote_uv.h"

struct inquiries_config {
    uv_loop_t *loop;
    const struct config *config; /* all borrowed until inquiries_close() */
    struct principals *principals;
    struct audit *audit;
    struct oneoffs *oneoffs;
    struct gossip *gossip;         /* NULL: there is no mesh */
    const struct history *history; /* NULL: no baselines */
};
struct inquiries *inquiries_open(const struct inquiries_config *c,
                                 struct errmsg *msg);
/* Cancels what runs; inquiries that a transport still holds stay until it
 * closes them. The loop must run once more. */
void inquiries_close(struct inquiries *i);
void inquiries_set_config(struct inquiries *i, const struct config *config);
void inquiries_drain(struct inquiries *i); /* no new ones, for nobody */
/* What was asked of other nodes, and by them. False: there is no mesh. */
bool inquiries_remote_stats(const struct inquiries *i,
                            struct remote_stats *out);
/* A message of ours from the mesh, for remote.h; false: not of this module. */
bool inquiries_message(struct inquiries *i, const struct addr *from,
                       struct span message);

#endif /* PROBER_INQUIRY_UV_H */
