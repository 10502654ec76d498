/* prober/cli_http.h - an HTTP/1.1 client, blocking, for the command line.
 *
 * One request per connection; the answer's body comes in pieces, as they
 * arrive, whatever its framing. Redirects are not followed. Everything is
 * bounded: head, body and time. Shell code.
 */
#ifndef PROBER_CLI_HTTP_H
#define PROBER_CLI_HTTP_H

#include <stddef.h>
#include <stdint.h>

#include "prober/cli_conn.h"
#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "proto/url.h"

struct cli_http_request {
    const char *method, *path; /* path with query */
    const char *type;          /* of the body, or NULL: there is none */
    const void *body;
    size_t body_len;
    const char *token; /* bearer token, or NULL. It is not sent where others
                        * could read it on the way. */
    uint64_t body_max; /* of the answer */
};

struct cli_http; /* opaque: one request and its answer */

/* Send a request and wait for the answer's head, until `until_ns` on the
 * monotonic clock. Returns the status (100..599) with *out, to be closed, or
 * ERR_SYS, ERR_AUTH, ERR_BAD, ERR_TOOBIG, ERR_NOMEM with `msg` set, or
 * ERR_CLOSED when aborted. `to` is borrowed until it is closed. */
int cli_http_open(const struct cli_conn_to *to,
                  const struct cli_http_request *request, uint64_t until_ns,
                  struct cli_http **out, struct errmsg *msg);
void cli_http_close(struct cli_http *h); /* NULL is allowed */

/* From now on this descriptor, or -1, ends the waiting. */
void cli_http_abort_on(struct cli_http *h, int abort_fd);

/* Some of the body, as soon as there is any. Returns bytes (at most `size`),
 * 0 at its end, ERR_BUSY: none until `until_ns`, or as above; a body that ends
 * before its announced end is ERR_BAD. */
int cli_http_read(struct cli_http *h, void *data, size_t size,
                  uint64_t until_ns, struct errmsg *msg);
/* All the rest, appended to `body`, whose limit bounds it: ERR_TOOBIG. */
int cli_http_read_all(struct cli_http *h, struct wr *body, uint64_t until_ns,
                      struct errmsg *msg);

/* A field of the answer's head by its lower-case name, as a string. False: it
 * is not there, or is longer than `size` - 1. */
bool cli_http_field(const struct cli_http *h, const char *name, char *text,
                    size_t size);

/* Ask for `path` (with query) at the host of `url`, which is http://. The
 * body is appended to `body`, whose limit bounds it. `abort_fd` (or -1) ends
 * the waiting when it becomes readable. Returns as cli_http_open(). */
int cli_http_get(const struct url *url, const char *path, uint64_t timeout_ns,
                 int abort_fd, struct wr *body, struct errmsg *msg);

#endif /* PROBER_CLI_HTTP_H */
