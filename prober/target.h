/* prober/target.h - what is probed: one endpoint, ready to be dialled.
 *
 * Filled once, then read only. The bytes that an attempt needs on the probe
 * path (authority, request) are made here, so that nothing is formatted while
 * measuring; they live in one piece of memory of just their size, because a
 * daemon may hold thousands of targets.
 */
#ifndef PROBER_TARGET_H
#define PROBER_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/addr.h"
#include "proto/base/err.h"
#include "proto/tls.h"
#include "proto/url.h"

#define TARGET_REQUEST_MAX 2048
#define TARGET_SERVICE_MAX 128 /* GRPC_SERVICE_MAX */

/* What whoever asked hears of a refusal, whichever rule it was. */
#define TARGET_DENIAL "address denied by policy"

/* Judges each address that a lookup returned, and one that needs no lookup,
 * with the target's port, just before an attempt dials one of them: a single
 * false refuses the attempt. */
struct target_dial {
    bool (*may_dial)(const void *arg, const struct addr *a); /* NULL: any */
    const void *arg;
};

struct target {
    struct target_dial dial;
    struct addr address; /* dialled directly if family is set: then there is
                          * no dns phase */
    uint16_t port;
    uint8_t ip_first; /* 4 or 6: family asked of the resolver */
    bool is_tls;
    bool has_fingerprint;
    uint8_t fingerprint[TLS_FINGERPRINT_SIZE];
    struct tls_context *tls; /* borrowed; NULL for plain text */

    /* All of these lie in `memory`. */
    const char *text;         /* the URL as shown */
    const char *host;         /* name or address, without brackets */
    const char *authority;    /* what Host and :authority carry */
    const char *request;      /* HTTP/1.1 request; the connection is kept, and
                               * closed by us: a server that closes first puts
                               * its FIN right behind the answer, and the
                               * kernel's stamp of that read is then the FIN's */
    const uint8_t *grpc_body; /* framed HealthCheckRequest */
    uint16_t request_len, grpc_body_len;
    char *memory; /* owned */
};

/* Fill `t` from a URL. `service` may be NULL; printable ASCII, at most
 * TARGET_SERVICE_MAX bytes. `tls` is a client context, needed for https and
 * grpcs, not kept otherwise. A literal host sets `address`. grpc:// and
 * grpcs:// take no path (ERR_BAD). ip_first is 4 and there is no fingerprint;
 * the caller may set both afterwards. Returns 0, ERR_BAD, ERR_TOOBIG or
 * ERR_NOMEM with `msg` set; then `t` holds nothing. */
int target_init(struct target *t, const struct url *url, const char *service,
                struct tls_context *tls, struct errmsg *msg);
void target_fini(struct target *t);

/* Write the text of a target with this URL. */
struct wr;
void target_write_text(const struct url *url, struct wr *w);

/* Set `address` if it is not set yet and `hosts`, the text of a hosts(5)
 * file, names the target's host: the first line of the family ip_first, else
 * the first line of the other one. localhost and names below it are loopback
 * even if the file does not say so (RFC 6761). Lines that are not understood
 * are skipped. Returns whether it was set: then there is no dns phase. */
bool target_use_hosts(struct target *t, const char *hosts, size_t len);

#endif /* PROBER_TARGET_H */
