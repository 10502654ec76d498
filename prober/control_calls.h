/* prober/control_calls.h - the gRPC calls of one connection that are still
 * being answered.
 *
 *     probe       events of an inquiry, until its summary was sent
 *     watch       the health of this node, whenever it changes
 *     reflection  an answer to each question, until there are no more
 *
 * A message is made when the one before has gone to the stream, and the stream
 * takes 32 KiB beyond what the peer has read: what a slow client costs is that
 * and one message. It ends when its stream does, with the client's grpc-timeout
 * (DEADLINE_EXCEEDED), or when the client has taken nothing for the server's
 * write timeout; the inquiry is closed with it, whatever the reason. Pure. One
 * thread.
 */
#ifndef PROBER_CONTROL_CALLS_H
#define PROBER_CONTROL_CALLS_H

#include "prober/httpd_h2.h"
#include "prober/inquiry.h"
#include "proto/grpc.h"

/* How long a changed health may go unnoticed. */
#define CONTROL_CALLS_LOOK_NS UINT64_C(500000000)

struct control_calls; /* opaque */

struct control_calls_config {
    struct httpd_h2 *session;
    const struct httpd_limits *limits;
    struct httpd_stats *stats;
    bool (*is_draining)(void *arg);
    void *arg;
};
/* NULL: no memory. */
struct control_calls *control_calls_open(const struct control_calls_config *c);
/* Ends all of them, without an answer. */
void control_calls_close(struct control_calls *cs);

struct control_call; /* opaque */

/* Begin to answer this request. UINT64_MAX: no deadline. NULL: no memory. */
struct control_call *control_calls_watch(struct control_calls *cs,
                                         const struct h2_server_request *r,
                                         bool is_known, uint64_t deadline_ns);
struct control_call *control_calls_reflect(struct control_calls *cs,
                                           const struct h2_server_request *r,
                                           uint64_t now_ns,
                                           uint64_t deadline_ns);
/* Its inquiry is to be started with control_call_wake() and the call as its
 * argument, and then given away; or the call dropped. */
struct control_call *control_calls_probe(struct control_calls *cs,
                                         const struct h2_server_request *r,
                                         uint64_t deadline_ns);
void control_call_wake(void *call);
void control_call_take(struct control_call *c, struct inquiry *inquiry);
void control_call_drop(struct control_call *c); /* without an answer */

/* As in struct httpd_h2_service. */
bool control_calls_work(struct control_calls *cs, uint64_t now_ns);
size_t control_calls_count(const struct control_calls *cs);
size_t control_calls_reflections(const struct control_calls *cs);
uint64_t control_calls_deadline(const struct control_calls *cs);

/* Refuse a request: one HEADERS frame with the status. */
void control_call_refuse(struct h2_server *h2, int32_t stream_id,
                         enum grpc_status status, const char *message);

#endif /* PROBER_CONTROL_CALLS_H */
