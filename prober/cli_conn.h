/* prober/cli_conn.h - one byte stream to a server, for the command line: a
 * unix socket, TCP, or TLS over TCP.
 *
 * It blocks, but never without an end: each call has a time after which it
 * gives up, and a descriptor whose readability ends it. Shell code.
 */
#ifndef PROBER_CLI_CONN_H
#define PROBER_CLI_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"
#include "proto/tls.h"
#include "proto/url.h"

struct cli_conn_to {  /* borrowed while the connection is open */
    const char *path; /* of a unix socket, or NULL: as `url` says */
    const struct url *url;
    struct tls_context *tls; /* for https:// */
    int abort_fd;            /* or -1 */
};

struct cli_conn; /* opaque */

/* Connect, and shake hands if TLS is meant, until `until_ns` on the monotonic
 * clock. The name lookup is the C library's and has its own time limits.
 * Returns 0, or ERR_SYS, ERR_AUTH (the server is not who it should be),
 * ERR_BAD, ERR_NOMEM with `msg` set, or ERR_CLOSED: aborted. */
int cli_conn_open(const struct cli_conn_to *to, uint64_t until_ns,
                  struct cli_conn **out, struct errmsg *msg);
void cli_conn_close(struct cli_conn *c); /* NULL is allowed */

/* From now on this descriptor, or -1, ends the waiting. */
void cli_conn_abort_on(struct cli_conn *c, int abort_fd);

/* Can nobody on the way read what is written: a unix socket, TLS, or another
 * process on this machine? */
bool cli_conn_is_private(const struct cli_conn *c);

/* Write all of it. Returns as above, ERR_BUSY for "not in time". */
int cli_conn_write(struct cli_conn *c, const void *data, size_t len,
                   uint64_t until_ns, struct errmsg *msg);
/* Returns bytes read, 0 at the end, or an error as above. A TLS connection
 * that ends without saying so was cut off: ERR_BAD. */
int cli_conn_read(struct cli_conn *c, void *data, size_t size,
                  uint64_t until_ns, struct errmsg *msg);

#endif /* PROBER_CLI_CONN_H */
