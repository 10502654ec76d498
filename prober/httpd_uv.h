/* prober/httpd_uv.h - a small HTTP server on a libuv loop.
 *
 * For the read-only API and the control port. Everything about HTTP is in
 * sessions (httpd_session.h), about TLS in httpd_wire.h; here are the
 * listening socket, the connections and their deadlines (one timer for all
 * of them), and the sharing of the loop: answers, handshakes and decryption
 * are made in turns, about one millisecond of them per iteration of the loop,
 * round robin.
 *
 * It listens on TCP or on a unix socket, whose peers are told from each other
 * by what the kernel says of them. When all places are taken, the connection
 * that has waited longest without a complete request makes room, so that
 * silent and slow clients cannot lock others out; 503 only when all are being
 * answered. Out of descriptors, accepting pauses instead of spinning.
 *
 * Memory of a connection: 3 KiB here (the peer's names and groups are most of
 * it), beside that of its wire and its session, as their headers say; the
 * kernel keeps 256 KiB of output at most, whatever the reader does. Main loop
 * only.
 */
#ifndef PROBER_HTTPD_UV_H
#define PROBER_HTTPD_UV_H

#include <uv.h>

#include "prober/httpd.h"
#include "prober/httpd_session.h"
#include "proto/base/addr.h"
#include "proto/base/err.h"
#include "proto/tls.h"

#define HTTPD_CONNECTIONS_MAX 4096

struct httpd;

struct httpd_config {
    const struct addr *listen; /* bind and listen there; or NULL and */
    int listen_fd; /* a listening socket, TCP or unix: taken over, also if it
                    * fails. A unix socket's file stays the caller's */
    const struct httpd_limits *limits;     /* NULL: defaults; copied */
    const struct httpd_session_ops *http2; /* NULL: HTTP/1.1 only */
    struct tls_context *tls;               /* NULL: plain text */
    httpd_handler *handler;
    void *arg; /* tls, arg: until the close is over */
};

/* Returns NULL with `msg` set. `actual` (may be NULL) gets the bound address,
 * with the port when 0 was asked; of a unix socket ADDR_NONE. */
struct httpd *httpd_open(uv_loop_t *loop, const struct httpd_config *config,
                         struct addr *actual, struct errmsg *msg);

/* For connections that come from now on; those that are open keep what they
 * began with. `tls` is not NULL, and neither was it at opening; the caller may
 * close the one before. */
void httpd_set_tls(struct httpd *h, struct tls_context *tls);
/* As limits.connections_max, at most HTTPD_CONNECTIONS_MAX. */
void httpd_set_connections_max(struct httpd *h, unsigned max);

/* Accept no more and leave the connections as they are: what they are being
 * answered may be finished. Their requests are still served. */
void httpd_stop_accepting(struct httpd *h);

/* Stop accepting, close all connections (answers under way, live ones too,
 * are done()d now); memory goes when libuv has closed the handles, so the loop
 * must run once more. NULL is allowed. */
void httpd_close(struct httpd *h);

void httpd_stats(const struct httpd *h, struct httpd_stats *out);

#endif /* PROBER_HTTPD_UV_H */
