/* prober/cli_http.h - one HTTP/1.1 GET, blocking, for the command line.
 *
 * Plain text only: the API that it asks is on the inside. Redirects are not
 * followed. Everything is bounded: head, body and time. Shell code.
 */
#ifndef PROBER_CLI_HTTP_H
#define PROBER_CLI_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/url.h"

/* Ask for `path` (with query) at the host of `url`, which is http://. The
 * body is appended to `body`, whose limit bounds it. `abort_fd` (or -1) ends
 * the waiting when it becomes readable. The name lookup is the C library's
 * and has its own time limits; timeout_ns is for all the rest.
 *
 * Returns the status (100..599), or ERR_SYS, ERR_BAD, ERR_TOOBIG with `msg`
 * set, or ERR_CLOSED when aborted. */
int cli_http_get(const struct url *url, const char *path, uint64_t timeout_ns,
                 int abort_fd, struct wr *body, struct errmsg *msg);

#endif /* PROBER_CLI_HTTP_H */
