/* prober/httpd_h2.h - an HTTP/2 connection of the server.
 *
 * What httpd_conn.h is for HTTP/1.1: bytes in, bytes out, deadlines; the host
 * drives it through httpd_session.h. Requests and answers are a service's
 * (control_grpc.h), which works on the streams of httpd_h2_server() and is
 * only called from within a turn.
 *
 * What arrives is kept until the next turn, and a turn waits until all output
 * was written: a peer that does not read is not read from for longer than one
 * buffer, and what the service makes for it stops at the bounds of h2.h.
 *
 * Deadlines, of the server's limits: a connection without streams idles out,
 * a request that does not become complete is given up, output that does not
 * leave ends the connection, as does a piece of it that leaves too slowly.
 * Streams whose calls are open have those of the service. A connection that
 * ends says GOAWAY first and lingers, so that the peer can read it. Pure. One
 * thread.
 */
#ifndef PROBER_HTTPD_H2_H
#define PROBER_HTTPD_H2_H

#include "prober/httpd_session.h"
#include "proto/h2.h"

struct httpd_h2; /* opaque */

struct httpd_h2_service {
    /* NULL: no memory. What it is given outlives it. */
    void *(*open)(const struct httpd_conn_config *config,
                  const struct httpd_peer *peer, struct httpd_h2 *session);
    /* The client is gone, or all calls ended. Does not use the streams. */
    void (*close)(void *service);
    void (*request)(void *service, const struct h2_server_request *r,
                    uint64_t now_ns);
    /* Go on with what is open. True: there is more to do right now. */
    bool (*work)(void *service, uint64_t now_ns);
    size_t (*calls)(const void *service);      /* open ones */
    uint64_t (*deadline)(const void *service); /* when to work, at the latest */
};

/* For the open of a struct httpd_session_ops. All is borrowed. */
void *httpd_h2_open(const struct httpd_h2_service *service,
                    const struct h2_limits *h2_limits,
                    const struct httpd_conn_config *config,
                    const struct httpd_peer *peer, struct httpd_waker *waker,
                    uint64_t now_ns);

/* For the service. */
struct h2_server *httpd_h2_server(struct httpd_h2 *s);
/* One of its calls has something to do; from anywhere on the loop. */
void httpd_h2_wake(struct httpd_h2 *s);

/* The rest of the ops: `session` is what httpd_h2_open() returned. */
void httpd_h2_close(void *session);
void httpd_h2_abandon(void *session);
void httpd_h2_refuse(void *session, uint64_t now_ns);
uint8_t *httpd_h2_space(void *session, size_t *size);
void httpd_h2_received(void *session, size_t n, uint64_t now_ns);
void httpd_h2_eof(void *session, uint64_t now_ns);
bool httpd_h2_wants_turn(const void *session);
void httpd_h2_turn(void *session, uint64_t now_ns);
const uint8_t *httpd_h2_out(const void *session, size_t *len);
void httpd_h2_sent(void *session, size_t n, uint64_t now_ns);
void httpd_h2_progress(void *session, uint64_t now_ns);
enum httpd_conn_phase httpd_h2_phase(const void *session);
uint64_t httpd_h2_waits_since(const void *session);
uint64_t httpd_h2_deadline(const void *session);
void httpd_h2_expire(void *session, uint64_t now_ns);

#endif /* PROBER_HTTPD_H2_H */
