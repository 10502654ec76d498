/* prober/aim.h - a target while it is being measured.
 *
 * Made by the control plane, complete with everything that has to be looked up
 * or allocated for it; then it changes owner and belongs to the measuring
 * thread, which schedules it, holds its connections, and gives it back when
 * the last attempt has ended. Never used by both at a time.
 */
#ifndef PROBER_AIM_H
#define PROBER_AIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/target.h"
#include "proto/addr_policy.h"
#include "proto/base/buf.h"
#include "proto/outcome.h"
#include "proto/url.h"

/* Something to be probed. All borrowed. */
struct aim_want {
    const char *name;          /* unique; also seeds the cadence */
    const char *zone, *region; /* may be NULL */
    const struct url *url;
    const char *service; /* gRPC health service; may be NULL */
    unsigned protocols;  /* bit 1 << enum probe_protocol */
    uint8_t ip_first;    /* 4 or 6 */
    bool has_fingerprint;
    uint8_t fingerprint[TLS_FINGERPRINT_SIZE];
    /* Whatever is dialled must pass, be it given by the URL, the hosts file or
     * a lookup; NULL: any. Set where somebody else named the host. */
    const struct addr_policy *policy;
};

/* Write all that changes how it is probed, as one line without NUL: equal for
 * two wants exactly if one aim serves both. Not the name, zone and region. */
void aim_write_how(const struct aim_want *want, struct wr *w);

/* The policy of many aims, counted: they outlive what a want points to. The
 * measuring thread reads `policy`; all else is the control plane's. */
struct aim_policy {
    struct addr_policy policy; /* immutable */
    size_t n_users;
};

/* Have one user more of the policy: of `latest`, if that says the same (it may
 * be NULL), or of a new one. NULL without memory. */
struct aim_policy *aim_policy_share(struct aim_policy *latest,
                                    const struct addr_policy *policy);
void aim_policy_release(struct aim_policy *p); /* NULL is allowed */

struct probe_warm; /* prober/probe_loop_uv.h */

#define AIM_KINDS ((size_t)PROTOCOL_N * MODE_N)

static inline size_t aim_kind(unsigned protocol, unsigned mode)
{
    return (size_t)protocol * MODE_N + mode;
}

struct aim {
    struct target target;
    struct aim_policy *policy; /* shared; NULL: any address */
    uint32_t slot, generation; /* of the lineup; what samples carry */
    unsigned protocols;

    /* The measuring thread's. */
    struct aim *next;        /* on the way back */
    bool is_removed;         /* no more attempts are started */
    unsigned n_running;      /* attempts in flight */
    int entries[AIM_KINDS];  /* in the schedule; -1: none */
    bool answers[AIM_KINDS]; /* the last attempt was heard */
    struct probe_warm *warm[PROTOCOL_N];

    char name[];
};

/* `tls` is borrowed for as long as the aim exists. `hosts` is the text of a
 * hosts(5) file, or NULL. `latest` is a policy that may be shared, or NULL.
 * Opening and closing is the control plane's. Returns NULL with *err ERR_NOMEM,
 * or what target_init() says, or ERR_BAD if the policy forbids the address;
 * with `msg`. */
struct aim *aim_open(const struct aim_want *want, struct tls_context *tls,
                     const char *hosts, size_t hosts_len,
                     struct aim_policy *latest, int *err, struct errmsg *msg);
void aim_close(struct aim *a);

#endif /* PROBER_AIM_H */
