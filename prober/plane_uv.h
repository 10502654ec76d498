/* prober/plane_uv.h - the measurement plane: one thread that only measures.
 *
 * Its loop runs the schedule, the attempts and the responder, and nothing
 * else. It shares no memory with the control plane: samples and a status
 * once a second go out through bounded queues, commands come in through
 * another. When the control plane stalls, samples are dropped and counted;
 * the measuring goes on.
 *
 * Functions here are called from the control plane's thread.
 */
#ifndef PROBER_PLANE_UV_H
#define PROBER_PLANE_UV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "prober/aim.h"
#include "prober/config.h"
#include "prober/lineup.h"
#include "prober/plane_status.h"
#include "prober/sample.h"
#include "proto/base/err.h"
#include "proto/tls.h"

struct plane; /* opaque */

struct plane_config {
    /* Must outlive the plane; the control plane's thread reads it. */
    const struct config *config;
    uv_loop_t *control_loop;       /* where samples are taken */
    void (*on_samples)(void *arg); /* the sample queue is half full */
    void (*on_stopped)(void *arg); /* after plane_stop(): thread has ended */
    void *arg;
};

/* Bind the responder, start the thread; there are no targets yet. NULL with
 * `msg`; the control loop must then run once more for libuv to finish. */
struct plane *plane_open(const struct plane_config *c, struct errmsg *msg);

/* Probe these and no others from now on. What is probed already in the same
 * way goes on undisturbed; what is not wanted any more starts no attempts,
 * those in flight end and are reported. Everything is allocated and looked up
 * here; the measuring thread takes it over a slice at a time.
 *
 * Returns 0; ERR_BAD with `msg` if at least one of them (the last such one is
 * named) could not be made and was left out, all others being in force; or
 * with nothing changed ERR_TOOBIG (more than LINEUP_TARGETS_MAX), ERR_BUSY
 * (earlier changes are not through yet: try again), ERR_CLOSED (stopping) or
 * ERR_NOMEM. */
int plane_set_targets(struct plane *p, const struct aim_want *wants, size_t n,
                      struct errmsg *msg);

/* Another configuration, in two steps, so that all that can fail comes before
 * anything changes: cadence, limits of attempts, certificates and CAs (the
 * files are read again, even if their paths are the same) and how the responder
 * answers. A self-signed certificate stays as long as there is no other. Listen
 * address, TLS on or off, and the sizes of tables are taken only at start. */
struct plane_change; /* opaque */

/* NULL with `msg`, which names the file. */
struct plane_change *plane_prepare(const struct plane *p,
                                   const struct config *to, struct errmsg *msg);
/* What plane_fingerprint() will say. */
void plane_change_fingerprint(const struct plane *p,
                              const struct plane_change *c,
                              uint8_t sha256[TLS_FINGERPRINT_SIZE]);
/* Takes over the change. The configuration given at opening has the new
 * content by now. Connections that are open keep the certificates they were
 * made with, attempts in flight go on. */
void plane_apply(struct plane *p, struct plane_change *c);
void plane_change_drop(struct plane_change *c); /* NULL is allowed */

/* Who the samples are of. Records may be kept and forgotten; all else is done
 * here. */
struct lineup *plane_lineup(const struct plane *p);

/* Take what the plane has posted. A sample's target is in the lineup until
 * this has returned false. */
bool plane_take_sample(struct plane *p, struct sample *s);
bool plane_take_status(struct plane *p, struct plane_status *s);

long plane_thread_id(const struct plane *p); /* for schedstat */
void plane_fingerprint(const struct plane *p,
                       uint8_t sha256[TLS_FINGERPRINT_SIZE]);
void plane_address(const struct plane *p, struct addr *listen);

/* Answer NOT_SERVING from now on, start no more attempts, let those in flight
 * end, then end the thread; on_stopped follows on the control loop. The
 * responder goes on answering meanwhile, for a little more than a second at
 * least and `grace_ns` at most. The last call but for plane_close(). */
void plane_stop(struct plane *p, uint64_t grace_ns);

/* After on_stopped. NULL is allowed. */
void plane_close(struct plane *p);

#endif /* PROBER_PLANE_UV_H */
