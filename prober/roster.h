/* prober/roster.h - who is to be probed, and what is known of each.
 *
 * Brings together the configuration's static peers and outside targets, and
 * the mesh's members that carry our mark. A static peer that is also a member
 * keeps what the configuration says; only the state is the mesh's. Members
 * whose name is an outside target's or has other bytes than A-Z a-z 0-9 . _ -
 * are not taken up: names have to be unique, and fit for every output.
 *
 * A member that fails is kept and probed on: its cell then shows the failure
 * instead of going silent. It is dropped when it leaves, when another takes
 * its address, or ROSTER_KEEP_NS after it failed, unless the mesh itself is
 * lost (no other member alive): then the last known ones are kept for as long
 * as that lasts, and `is_held` says so; they have ROSTER_KEEP_NS more when it
 * is found again.
 *
 * Not every member is probed from here: in a large mesh only the pairs that
 * mesh/topology.h chooses are. All members of ours take part in that choice,
 * this node and those that are kept included, so nodes that know the same
 * members make the same one. (A node that started after a member failed does
 * not know that one; until the others drop it their choices may differ.)
 * Static peers and outside targets are probed whatever is chosen.
 *
 * Control plane only.
 */
#ifndef PROBER_ROSTER_H
#define PROBER_ROSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/facts.h"
#include "mesh/members.h"
#include "prober/config.h"

#define ROSTER_KEEP_NS UINT64_C(600000000000) /* ten minutes */
#define ROSTER_MEMBERS_MAX                            \
    4096 /* beyond, the longest failed one goes first \
          */

enum roster_kind { ROSTER_PEER, ROSTER_MEMBER, ROSTER_TARGET };

struct roster_entry {
    uint8_t kind;  /* enum roster_kind */
    uint8_t state; /* of a member: enum member_state */
    bool is_leaving, is_held;
    bool is_probed; /* has what it takes, and our zone is meant, or of a member:
                       mesh/topology.h has chosen it for this node */
    bool is_expected_reporter; /* a member that has somebody to probe */
    char name[CONFIG_NAME_MAX + 1];
    char zone[CONFIG_NAME_MAX + 1], region[CONFIG_NAME_MAX + 1];
    struct url url; /* to dial: of peers and members .../probe */
    unsigned protocols;
    const char *service; /* gRPC health service, borrowed from the config */
    bool has_fingerprint;
    uint8_t fingerprint[32];
    /* of a member */
    bool is_member;   /* or was, when last seen; peers may be, too */
    struct addr addr; /* it gossips from */
    uint32_t incarnation;
    uint64_t changed_ns; /* last change of state; monotonic */
    uint64_t rtt_ns;
    char version[FACTS_VERSION_MAX + 1];
};

struct roster; /* opaque */

/* `config` is borrowed, and so is `policy`: what members name as the address
 * to be probed must pass it. NULL without memory. */
struct roster *roster_open(const struct config *config,
                           const struct addr_policy *policy);
void roster_close(struct roster *r);

/* Take over the peers and targets of `other`, a roster that was opened for
 * another configuration and is closed here; members are kept. The configuration
 * borrowed has the new content by now; call roster_update() next. */
void roster_replace(struct roster *r, struct roster *other);

/* Take over what the mesh knows now; call after its events, and once a second.
 * Nothing to do for a mesh that is off. Returns true if what is probed, or
 * how, or its name, zone or region has changed.
 * Without memory for a new member it is taken up at a later call.
 */
bool roster_update(struct roster *r, const struct members *members,
                   uint64_t now_ns);

/* Peers first, then targets, then members. Valid until the next update. */
size_t roster_count(const struct roster *r);
const struct roster_entry *roster_get(const struct roster *r, size_t i);
/* The entry of that name, or NULL. */
const struct roster_entry *roster_find(const struct roster *r,
                                       const char *name);
/* Has this node anybody to probe? As is_expected_reporter of the others; true
 * before the first choice, and while there is nobody else. */
bool roster_is_reporter(const struct roster *r);
/* Is the mesh lost, and are peers held because of it? */
bool roster_is_holding(const struct roster *r);

#endif /* PROBER_ROSTER_H */
