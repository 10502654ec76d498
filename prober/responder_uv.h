/* prober/responder_uv.h - the listening side of a node.
 *
 * One port: TLS with ALPN h2 and http/1.1, or, when configured, plain text
 * with HTTP/1.1 and HTTP/2 by prior knowledge. The arrival of a request's
 * last byte is the kernel's stamp. Connections, handshakes, heads, idle time
 * and unsent output are bounded; hitting a bound is counted. Runs on the
 * measuring loop; one thread.
 */
#ifndef PROBER_RESPONDER_UV_H
#define PROBER_RESPONDER_UV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "proto/base/addr.h"
#include "proto/base/err.h"
#include "proto/tls.h"

struct responder_config {
    struct addr listen;
    struct tls_context *tls;  /* server context, borrowed; NULL: plain text */
    size_t connections_max;   /* then new ones are closed at once */
    uint64_t idle_timeout_ns; /* of a kept connection */
    uint64_t delay_ns;        /* wait this long before answering: drills */
};

struct responder_stats {
    uint64_t accepted, rejected, requests, bad_requests, timeouts;
    size_t connections;
};

struct responder; /* opaque */

/* Bind and listen on `loop`. NULL with `msg` set. `actual` (may be NULL)
 * gets the bound address. */
struct responder *responder_open(uv_loop_t *loop,
                                 const struct responder_config *c,
                                 struct addr *actual, struct errmsg *msg);

/* For connections accepted from now on; `tls` as in the configuration, and
 * plain text stays plain text. */
void responder_set(struct responder *r, struct tls_context *tls,
                   uint64_t idle_timeout_ns, uint64_t delay_ns);

/* Answer NOT_SERVING / 503 from now on and tell the watchers; go on
 * accepting, so that probes in flight get an honest answer. */
void responder_drain(struct responder *r);

/* Close everything. The loop must run once more. NULL is allowed. */
void responder_close(struct responder *r);

void responder_stats(const struct responder *r, struct responder_stats *out);

#endif /* PROBER_RESPONDER_UV_H */
