/* mesh/mesh_uv.h - the mesh on a libuv loop: its one host in production.
 *
 * One UDP and one TCP socket on the same port, a timer, and streams that are
 * dialled. Packets are sent from the listening socket, so that their source is
 * the port others know. Names of seeds are resolved on libuv's thread pool.
 * Each turn takes a bounded number of packets, so that a flood does not keep
 * the loop from its other work.
 *
 * Runs on the control plane's loop, and only there.
 */
#ifndef MESH_MESH_UV_H
#define MESH_MESH_UV_H

#include <uv.h>

#include "mesh/mesh.h"

struct mesh_uv; /* opaque */

struct mesh_uv_config {
    uv_loop_t *loop;
    struct addr listen; /* port 0: one of the kernel's choice */
    /* .advertise may be ADDR_NONE: then it is `listen`, or, where that is all
     * addresses, the first of this host's that the policy allows (private ones
     * first, IPv4 first); its port 0 means that of `listen`. .now_unix_s,
     * .seed and .random are filled in here. */
    struct mesh_config mesh;
    /* MESH_EVENT and MESH_USER, as they come out. Must not call
     * mesh_uv_close(). */
    void (*on_effect)(void *arg, const struct mesh_effect *e);
    void *arg;
};

/* Bind and begin. NULL and a message that names the address; the loop must then
 * run once more. No effect comes out before the loop runs. */
struct mesh_uv *mesh_uv_open(const struct mesh_uv_config *c,
                             struct errmsg *msg);

/* For reading, and for mesh_set_*(), mesh_send() and mesh_leave(), after which
 * mesh_uv_kick() carries out what follows. */
struct mesh *mesh_uv_mesh(struct mesh_uv *u);
void mesh_uv_kick(struct mesh_uv *u);

void mesh_uv_address(const struct mesh_uv *u, struct addr *advertised);

struct mesh_uv_stats {
    uint64_t receive_errors, send_errors; /* of the sockets */
    uint64_t send_dropped;                /* the kernel's buffer was full */
    uint64_t accept_refused;              /* by the mesh */
    uint64_t accept_errors;               /* no descriptor, no memory */
    uint64_t streams_cut; /* closed before all was sent: slow readers */
    size_t lingering;     /* streams that are being finished, now */
    size_t queued_bytes;  /* written to streams and not yet sent, now */
};
void mesh_uv_stats(const struct mesh_uv *u, struct mesh_uv_stats *out);

/* Close everything and free; handles end with the loop's next turns. A name
 * that is being resolved right then keeps the loop alive until the resolver is
 * done with it. NULL is fine. */
void mesh_uv_close(struct mesh_uv *u);

#endif /* MESH_MESH_UV_H */
