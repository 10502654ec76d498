/* prober/httpd_uv.h - a small HTTP/1.1 server on a libuv loop.
 *
 * For the read-only API. Everything about HTTP is in httpd_conn.h; here are
 * the listening socket, the connections and their deadlines (one timer for
 * all of them), and the sharing of the loop: answers are made in turns, about
 * one millisecond of them per iteration of the loop, round robin.
 *
 * When all places are taken, the connection that has waited longest without
 * a complete request makes room, so that silent and slow clients cannot lock
 * others out; 503 only when all are being answered. Out of descriptors,
 * accepting pauses instead of spinning. Main loop only.
 */
#ifndef PROBER_HTTPD_UV_H
#define PROBER_HTTPD_UV_H

#include <uv.h>

#include "prober/httpd.h"
#include "prober/httpd_conn.h"
#include "proto/base/addr.h"
#include "proto/base/err.h"

struct httpd;

/* Bind and listen. Returns NULL with `msg` set. `limits` (NULL: defaults) is
 * copied; `arg` must live until httpd_close() and the loop's next run. `actual`
 * (may be NULL) gets the bound address, with the port when 0 was asked. */
struct httpd *httpd_open(uv_loop_t *loop, const struct addr *listen,
                         const struct httpd_limits *limits,
                         httpd_handler *handler, void *arg, struct addr *actual,
                         struct errmsg *msg);

/* Stop accepting, close all connections (answers under way are done()d
 * now); memory goes when libuv has closed the handles, so the loop must run
 * once more. NULL is allowed. */
void httpd_close(struct httpd *h);

void httpd_stats(const struct httpd *h, struct httpd_stats *out);

#endif /* PROBER_HTTPD_UV_H */
