/* mesh/endpoint_uv.h - the two sockets of the mesh, and the address to tell.
 *
 * UDP and TCP on the same port: memberlist's peers know one port of a node for
 * both. Blocking calls, none of which waits; nothing here needs a loop.
 */
#ifndef MESH_ENDPOINT_UV_H
#define MESH_ENDPOINT_UV_H

#include "proto/addr_policy.h"
#include "proto/base/addr.h"
#include "proto/base/err.h"

struct endpoint {
    int udp, tcp;        /* bound, non-blocking; tcp listens */
    struct addr listen;  /* as bound: with its port */
    bool is_v6, is_dual; /* family; IPv6 that takes IPv4 as well */
};

/* Bind both. With port 0 the kernel picks one that is free for both. [::] means
 * both families, and IPv4 alone where the host has no IPv6. Returns 0, or
 * ERR_SYS and a message that names the address; nothing is open then. The
 * caller owns the descriptors. */
int endpoint_open(struct endpoint *e, const struct addr *listen_addr,
                  struct errmsg *msg);

/* What others are to be told: `wanted`, with the endpoint's port if it has
 * none; if it is ADDR_NONE the address that is listened on; if that is all of
 * them, the best of this host's that `policy` allows: private before public,
 * IPv4 before IPv6, loopback last. Returns 0, or ERR_BAD and a message. */
int endpoint_advertise(const struct endpoint *e, const struct addr *wanted,
                       const struct addr_policy *policy, struct addr *out,
                       struct errmsg *msg);

struct sockaddr_storage;

/* From the kernel's form; an IPv4 address inside an IPv6 one comes out as
 * IPv4, for members are known by that. Returns 0 or ERR_BAD. */
int endpoint_from_sockaddr(struct addr *a, const struct sockaddr_storage *ss);

/* To the form that the endpoint's UDP socket takes. ERR_BAD if there is none:
 * another family, no address, no port. */
int endpoint_to_sockaddr(const struct endpoint *e, const struct addr *a,
                         struct sockaddr_storage *ss);

#endif /* MESH_ENDPOINT_UV_H */
