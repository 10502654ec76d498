/* prober/resolve_uv.h - host names to addresses, with the kernel's stamps.
 *
 * c-ares on sockets of our own: queries and answers are stamped when they
 * leave and arrive. Names are absolute, no search list; nothing is cached;
 * one channel for the resolver list. The preferred family is asked first, the
 * other only if the name has no address there. Server failures are results,
 * not reasons to ask somebody else.
 *
 * A lookup is never cancelled (c-ares 1.18 frees twice if that happens inside
 * a callback): who loses interest detaches, and the answer is dropped.
 * Everything on the loop's thread.
 */
#ifndef PROBER_RESOLVE_UV_H
#define PROBER_RESOLVE_UV_H

#include <stddef.h>
#include <stdint.h>

#include <uv.h>

#include "prober/psock_uv.h"
#include "proto/base/addr.h"
#include "proto/base/err.h"
#include "proto/base/stamp.h"

struct resolver; /* opaque */
struct lookup;   /* one running lookup, owned by the resolver */

struct resolve_result {
    uint8_t outcome;       /* OUTCOME_OK or a dns outcome */
    struct addr address;   /* first address, port 0 */
    struct stamp sent;     /* first query left; NONE: never stamped */
    struct stamp answered; /* completing answer arrived */
    uint32_t epoch;        /* of the clock map, at both stamps */
    const char *error;     /* static text or NULL */
};

/* Called once per lookup that was not detached, possibly from inside
 * resolver_start(). */
typedef void resolve_done(void *arg, const struct resolve_result *result);

/* `servers`: with ports; none: the system's resolv.conf. `lookups_max` run at
 * once. Returns NULL with `msg` set. */
struct resolver *resolver_open(struct psock_set *set, uv_loop_t *loop,
                               const struct addr *servers, size_t n_servers,
                               size_t lookups_max, struct errmsg *msg);

/* Running lookups end as dns_error. The loop must run once more. */
void resolver_close(struct resolver *r);

/* Look `host` up. `ip_first` is 4 or 6. Returns NULL when lookups_max run
 * already, or when the lookup ended at once (then `done` was called). */
struct lookup *resolver_start(struct resolver *r, const char *host,
                              unsigned ip_first, resolve_done *done, void *arg);

/* Forget about a lookup that has not ended. */
void resolver_detach(struct lookup *l);

#endif /* PROBER_RESOLVE_UV_H */
