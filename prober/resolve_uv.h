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

/* More in an answer make the lookup a dns_error. */
#define RESOLVE_ADDRESSES_MAX 16
#define RESOLVE_ALIASES_MAX   8 /* CNAMEs */

struct resolve_result {
    uint8_t outcome; /* OUTCOME_OK or a dns outcome */
    /* If OK all that the name has in the family that answered, in its order,
     * port 0; borrowed during the call. */
    const struct addr *addresses;
    size_t n_addresses;
    struct stamp sent;     /* first query left; NONE: never stamped */
    struct stamp answered; /* completing answer arrived */
    uint32_t epoch;        /* of the clock map, at both stamps */
    const char *error;     /* static text or NULL */
};

/* Called once per lookup that was not detached, possibly from inside
 * resolver_start(). */
typedef void resolve_done(void *arg, const struct resolve_result *result);

/* `servers`: with ports; none: the system's resolv.conf. `lookups_max` run at
 * once. Returns NULL with `msg` set. On any thread; resolver_begin() then puts
 * it on its loop, or resolver_drop() frees it (NULL is allowed). */
struct resolver *resolver_make(const struct addr *servers, size_t n_servers,
                               size_t lookups_max, struct errmsg *msg);
void resolver_begin(struct resolver *r, struct psock_set *set, uv_loop_t *loop);
void resolver_drop(struct resolver *r);

/* Running lookups end as dns_error. The loop must run once more. */
void resolver_close(struct resolver *r);

/* Another takes its place: it goes to this list, and is closed by
 * resolvers_sweep() once its lookups have ended, or in any case. Not to be
 * called from inside a resolve_done. */
void resolver_retire(struct resolver *r, struct resolver **list);
void resolvers_sweep(struct resolver **list, bool in_any_case);

/* Look `host` up. `ip_first` is 4 or 6. Returns NULL when lookups_max run
 * already, or when the lookup ended at once (then `done` was called). */
struct lookup *resolver_start(struct resolver *r, const char *host,
                              unsigned ip_first, resolve_done *done, void *arg);

/* Forget about a lookup that has not ended. */
void resolver_detach(struct lookup *l);

#endif /* PROBER_RESOLVE_UV_H */
