/* prober/intake.h - what comes in from the measuring plane.
 *
 * Samples are taken off the plane's queue, kept in a ring for those who ask,
 * counted, and folded into the running windows; so is what the plane says of
 * itself. The control plane's thread.
 */
#ifndef PROBER_INTAKE_H
#define PROBER_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/api.h"
#include "prober/config.h"
#include "prober/plane_uv.h"
#include "prober/totals.h"
#include "prober/window.h"

#define INTAKE_SAMPLES_KEPT 1024

/* Plain and large; its owner reads it, only intake_*() changes it. */
struct intake {
    const struct config *config; /* these three are borrowed */
    struct plane *plane;
    struct api_source *source;
    struct totals *totals;
    struct plane_status status;         /* the last one heard of */
    uint64_t lag_p99_ns, in_flight_max; /* the most since they were taken */
    size_t samples_lost;                /* the windows had no use for them */
    struct sample samples[INTAKE_SAMPLES_KEPT]; /* the ring of `source` */
};

/* `in` is zeroed. Has `source` show the ring, its names and the status. Returns
 * 0 or ERR_NOMEM. */
int intake_init(struct intake *in, const struct config *config,
                struct plane *plane, struct api_source *source);
void intake_fini(struct intake *in);

/* Take a turn's share of what waits. `windows` may be NULL: samples are only
 * kept, as while starting. True: there may be more. */
bool intake_take(struct intake *in, struct windows *windows,
                 uint64_t now_unix_ns);

#endif /* PROBER_INTAKE_H */
