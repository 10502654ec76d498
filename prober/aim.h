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
    /* An address given by the URL or the hosts file must pass; NULL: any. Set
     * where somebody else named the host. */
    const struct addr_policy *policy;
};

/* Write all that changes how it is probed, as one line without NUL: equal for
 * two wants exactly if one aim serves both. Not the name, zone and region. */
void aim_write_how(const struct aim_want *want, struct wr *w);

struct probe_warm; /* prober/probe_loop_uv.h */

#define AIM_KINDS ((size_t)PROTOCOL_N * MODE_N)

static inline size_t aim_kind(unsigned protocol, unsigned mode)
{
    return (size_t)protocol * MODE_N + mode;
}

struct aim {
    struct target target;
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
 * hosts(5) file, or NULL. Returns NULL with *err ERR_NOMEM, or what
 * target_init() says, or ERR_BAD if the policy forbids the address; with
 * `msg`. */
struct aim *aim_open(const struct aim_want *want, struct tls_context *tls,
                     const char *hosts, size_t hosts_len, int *err,
                     struct errmsg *msg);
void aim_close(struct aim *a);

#endif /* PROBER_AIM_H */
