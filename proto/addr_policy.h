/* proto/addr_policy.h - which addresses may be dialled because somebody else
 * named them.
 *
 * A member that lies about its address aims every peer's pings and probes; one
 * that may name 169.254.169.254 turns the mesh into a way to the cloud's
 * credentials. So an address learned from gossip passes here before anything
 * is sent to it. The verdict is on the unwrapped address: the forms of IPv6
 * that carry an IPv4 address are judged as that one. They are
 *
 *     ::ffff:0:0/96     mapped (RFC 4291)
 *     ::/96             compatible (RFC 4291), but for :: and ::1
 *     ::ffff:0:0:0/96   translated (RFC 2765)
 *     64:ff9b::/96      NAT64 (RFC 6052)
 *     64:ff9b:1::/48    NAT64 of a site (RFC 8215), where bytes 8 to 11 are
 *                       zero; otherwise reserved, since it is unclear which
 *                       bytes a translator would look at
 *     2002::/16         6to4 (RFC 3056)
 *     2001::/32         Teredo (RFC 4380); its server is judged as well
 *
 * Always denied, unless a caller lifts it by name: this host and loopback,
 * link-local (metadata services), multicast, reserved and broadcast, and the
 * fixed addresses of cloud metadata services outside link-local. Private
 * networks are not: meshes live there. Pure.
 */
#ifndef PROTO_ADDR_POLICY_H
#define PROTO_ADDR_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/addr.h"

#define ADDR_POLICY_NETWORKS_MAX 64

struct addr_network {
    struct addr base; /* port unused; bits behind the prefix are zero */
    uint8_t prefix;   /* 0..32 or 0..128 */
};

struct addr_policy {
    bool allows_loopback; /* 127/8 and ::1: meshes on one machine */
    /* If there are any, an unwrapped address must be in one of them; also one
     * of loopback that is allowed. */
    size_t n_networks;
    struct addr_network networks[ADDR_POLICY_NETWORKS_MAX];
};

enum addr_verdict {
    ADDR_ALLOWED,
    ADDR_DENIED_NONE,        /* not an address, or port 0 */
    ADDR_DENIED_UNSPECIFIED, /* 0/8, :: */
    ADDR_DENIED_LOOPBACK,
    ADDR_DENIED_LINK_LOCAL, /* 169.254/16, fe80::/10 */
    ADDR_DENIED_MULTICAST,
    ADDR_DENIED_RESERVED, /* 192.0.0/24, 240/4, broadcast */
    ADDR_DENIED_METADATA, /* of clouds, outside link-local */
    ADDR_DENIED_NETWORK,  /* in none of the networks */
};

const char *addr_verdict_name(enum addr_verdict v);

/* The IPv4 address that one of the forms above carries, with the same port;
 * else *a itself. */
struct addr addr_unwrap(const struct addr *a);

/* Is `a` of the Teredo form? Then packets to it may go by way of *server. */
bool addr_teredo_server(const struct addr *a, struct addr *server);

enum addr_verdict addr_policy_check(const struct addr_policy *p,
                                    const struct addr *a);

/* Do both allow the same? True only if they were filled alike. */
bool addr_policy_equal(const struct addr_policy *p,
                       const struct addr_policy *q);

/* "10.0.0.0/8", "fd00::/8", or an address alone. ERR_BAD also when bits behind
 * the prefix are set, and for a network within the forms above: no unwrapped
 * address is in it, and what is meant is the network of IPv4. */
int addr_network_parse(struct addr_network *n, const char *text);

/* Of the address as it stands, not unwrapped. */
bool addr_network_contains(const struct addr_network *n, const struct addr *a);

#endif /* PROTO_ADDR_POLICY_H */
