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

#include "prober/config.h"
#include "prober/plane_status.h"
#include "prober/sample.h"
#include "prober/window.h"
#include "proto/base/err.h"
#include "proto/tls.h"

struct plane; /* opaque */

/* What target index i of the samples means, for windows and names. */
struct plane_target {
    const char *text;              /* URL; lives as long as the plane */
    struct window_target identity; /* node (or target) name, zone, region */
    bool is_peer;
};

struct plane_config {
    const struct config *config;   /* must outlive the plane */
    uv_loop_t *control_loop;       /* where samples are taken */
    void (*on_samples)(void *arg); /* the sample queue is half full */
    void (*on_stopped)(void *arg); /* after plane_stop(): thread has ended */
    void *arg;
};

/* Build targets, bind the responder, start the thread. NULL with `msg`; the
 * control loop must then run once more for libuv to finish. */
struct plane *plane_open(const struct plane_config *c, struct errmsg *msg);

/* Take what the plane has posted. */
bool plane_take_sample(struct plane *p, struct sample *s);
bool plane_take_status(struct plane *p, struct plane_status *s);

size_t plane_targets(const struct plane *p);
const struct plane_target *plane_target(const struct plane *p, size_t i);
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
