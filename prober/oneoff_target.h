/* prober/oneoff_target.h - what a request's target means on this node.
 *
 * A name is that of a static peer, a configured target or a member; a URL may
 * be one of theirs as well, and is then probed with what is known of it (the
 * pinned certificate, the names of its zone). Looks into the roster only.
 */
#ifndef PROBER_ONEOFF_TARGET_H
#define PROBER_ONEOFF_TARGET_H

#include "prober/config.h"
#include "prober/oneoff.h"
#include "prober/roster.h"
#include "prober/target_policy.h"

struct oneoff_target {
    enum target_standing standing;
    char name[CONFIG_NAME_MAX + 1], zone[CONFIG_NAME_MAX + 1]; /* "" : none */
    struct url url;
    char service[ONEOFF_SERVICE_SIZE];
    uint8_t protocol; /* enum probe_protocol */
    bool has_fingerprint;
    uint8_t fingerprint[32];
};

/* `r` has been checked. Returns ONEOFF_RUNNING with *out filled, or
 * ONEOFF_BAD_TARGET: nobody of that name, or it does not speak the protocol. */
enum oneoff_state oneoff_target_find(const struct roster *roster,
                                     const struct oneoff_request *r,
                                     struct oneoff_target *out);

#endif /* PROBER_ONEOFF_TARGET_H */
