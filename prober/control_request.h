/* prober/control_request.h - the body of POST /v1/probes.
 *
 *     {"target": "b-1", "protocol": "auto", "mode": "cold", "from": "self",
 *      "nodes_per_zone": 1, "count": 1, "interval_ms": 1000,
 *      "timeout_ms": 5000, "service": ""}
 *
 * Only "target" has to be there. Strict: one object of these keys, each once,
 * numbers as whole numbers in their range. What remains to be judged (is the
 * target a URL or a name, does it all last too long) is oneoff.h's. Pure.
 */
#ifndef PROBER_CONTROL_REQUEST_H
#define PROBER_CONTROL_REQUEST_H

#include <stddef.h>

#include "prober/inquiry.h"

#define CONTROL_REQUEST_MAX 16384 /* bytes */

/* Fill request, from and per_zone of `ask`, and leave the rest alone. Returns
 * 0, or ERR_BAD / ERR_TOOBIG with `msg`, which names the key and is fit for
 * a terminal; then `ask` is untouched. */
int control_request_parse(const void *body, size_t len, struct inquiry_ask *ask,
                          struct errmsg *msg);

#endif /* PROBER_CONTROL_REQUEST_H */
