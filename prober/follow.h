/* prober/follow.h - probing follows the members.
 *
 * The roster says who is to be probed; the plane is told when that changes,
 * soon after something was heard of the members, but not for each of a hundred
 * that join at once. What could not be done is tried again at the next look.
 * The control plane's thread.
 */
#ifndef PROBER_FOLLOW_H
#define PROBER_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "mesh/members.h"
#include "prober/config.h"
#include "prober/plane_uv.h"
#include "prober/roster.h"
#include "prober/stores_uv.h"
#include "proto/base/err.h"

struct follow {
    const struct config *config; /* these four are borrowed */
    const struct addr_policy *policy;
    struct plane *plane;
    struct stores *stores;
    struct roster *roster;
    uint64_t looked_ns;  /* when the members were looked at */
    bool is_due;         /* a member has changed */
    bool is_set_due;     /* the plane does not know all targets yet */
    bool is_windows_due; /* nor do the windows */
};

/* Make the roster and give the plane its first targets. `f` is zeroed but for
 * what is borrowed. Returns 0; ERR_BAD with `msg` if some targets were left
 * out; or another error with `msg`. */
int follow_open(struct follow *f, struct errmsg *msg);
void follow_fini(struct follow *f);
/* There are other peers and targets, or they are to be probed otherwise: take
 * over `other`, as roster_replace() does, and look at the next occasion. */
void follow_replace(struct follow *f, struct roster *other);

/* Look, if it is time to. `members` NULL: there is no mesh. True: other targets
 * are probed now, or under other names. */
bool follow_look(struct follow *f, const struct members *members,
                 uint64_t now_ns);

#endif /* PROBER_FOLLOW_H */
