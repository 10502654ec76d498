/* prober/handover.h - other targets, on their way to the measuring thread.
 *
 * Made by the control plane with everything looked up and allocated; changes
 * owner through the plane's queue, is taken over there a slice at a time, and
 * freed. Never used by both at a time.
 */
#ifndef PROBER_HANDOVER_H
#define PROBER_HANDOVER_H

#include <stddef.h>
#include <stdint.h>

#include "prober/aim.h"
#include "prober/lineup.h"
#include "proto/base/err.h"

struct handover {
    size_t n_removed, n_added;
    size_t done;       /* of both, removals first */
    uint32_t *removed; /* slots */
    struct aim **added;
};

/* What aims are made with. */
struct handover_means {
    struct tls_context *tls;    /* borrowed by them */
    struct aim_policy **policy; /* of the last one that had any: kept here, so
                                 * that one copy serves all members */
    bool reads_hosts;           /* names in /etc/hosts need no lookup */
};

/* Have the lineup plan what leads to `wants`, and make it. Returns 0, or
 * ERR_BAD with `msg` if some could not be made and were left out of the plan:
 * then *out (NULL: nothing to hand over) and *plan, to be applied or dropped,
 * are there. ERR_NOMEM, ERR_TOOBIG, ERR_BUSY as lineup_plan(): then there is
 * neither. */
int handover_open(struct lineup *lineup, const struct aim_want *wants, size_t n,
                  const struct handover_means *means, struct handover **out,
                  struct lineup_plan *plan, struct errmsg *msg);
/* With the aims that were not taken over yet. NULL is allowed. */
void handover_close(struct handover *h);

#endif /* PROBER_HANDOVER_H */
