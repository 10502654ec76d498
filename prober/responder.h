/* prober/responder.h - what a node answers to those who probe it.
 *
 *   HTTP/1.1 and HTTP/2  GET, HEAD /probe   200 "ok", while draining 503
 *   gRPC                 grpc.health.v1.Health/Check and /Watch
 *
 * Services: "" (the whole server) and "prober". Every answer says how long
 * the server took, from the arrival of the request's last byte to writing
 * the answer (W3C Server Timing): as a header, on gRPC as a trailer. Answers
 * are constant and small; nothing of the request is echoed.
 *
 * Pure: requests in, bytes out. responder_uv.h is the host.
 */
#ifndef PROBER_RESPONDER_H
#define PROBER_RESPONDER_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/h2.h"
#include "proto/http1.h"

#define RESPONDER_PATH "/probe"

struct responder_facts {
    uint64_t took_ns; /* arrival of the last request byte until now */
    bool is_draining;
};

/* Answer a parsed HTTP/1.1 request. Returns whether the connection may be
 * kept. */
bool responder_http1(const struct http1 *request,
                     const struct responder_facts *f, struct wr *out);

/* Answer one that could not be parsed: 400, 413 or 431; then close. */
void responder_http1_refuse(const struct http1 *request, struct wr *out);

/* Answer a request on an HTTP/2 stream. *is_watch: the stream stays open for
 * health updates. Returns 0 or the error of h2_server_respond(). */
int responder_h2(struct h2_server *h2, const struct h2_server_request *request,
                 const struct responder_facts *f, bool *is_watch);

/* Tell an open Watch stream that the state changed; NOT_SERVING also ends
 * nothing: the stream stays open. 0 or ERR_CLOSED when it is gone. */
int responder_h2_update(struct h2_server *h2, int32_t stream_id,
                        const struct responder_facts *f);

#define RESPONDER_TIMING_SIZE 40
/* "app;dur=0.052000": milliseconds with nanosecond digits. */
void responder_timing(uint64_t took_ns, char text[RESPONDER_TIMING_SIZE]);

#endif /* PROBER_RESPONDER_H */
