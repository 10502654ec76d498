/* prober/api_nodes.h - who is there, as of a moment.
 *
 * A snapshot of the node list and of the mesh's state, made by the control
 * plane and read by the views: filled once, then never changed, and counted by
 * references, so that answers under way go on with the one they began with
 * while the next is published. All text is copied into it.
 *
 *     n = api_nodes_open(now_ns, now_unix_ns, &mesh);
 *     api_nodes_add(n, &node);  ...
 *     api_source_set_nodes(source, n);      the source owns it from here on
 *
 * Publish one when the membership changes, and one a second at most for ages
 * and round trips to be fresh: /api/v1/members shows the moment it was opened
 * as generated_at. Pure. One thread, the control plane's.
 */
#ifndef PROBER_API_NODES_H
#define PROBER_API_NODES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/matrix.h"
#include "mesh/mesh.h"
#include "proto/base/addr.h"
#include "proto/base/span.h"

#define API_NODES_MAX 16384 /* members, static peers and targets together */

/* What the mesh says about itself; plain data. */
struct api_mesh {
    bool is_on;         /* else the rest means nothing */
    bool is_holding;    /* alone: lost peers are probed on, roster.h */
    bool accepts_clear; /* packets in the clear in spite of keys */
    size_t n_keys;      /* 0: all goes in the clear */
    const char *label;  /* "" or NULL: none. Copied by a snapshot */
    size_t alive, suspect, left, failed; /* members; this node is alive */
    struct mesh_stats stats;             /* is_alone and is_leaving, too */
};

enum api_node_kind {
    API_KIND_SELF,   /* this node */
    API_KIND_PEER,   /* from the configuration */
    API_KIND_MEMBER, /* from gossip; any Serf agent is one */
    API_KIND_TARGET, /* an outside endpoint: in the matrix, not a member */
};

enum api_node_state {
    API_STATE_ALIVE,
    API_STATE_SUSPECT,
    API_STATE_LEAVING, /* alive, and said that it will go */
    API_STATE_LEFT,
    API_STATE_FAILED,
    API_STATE_STATIC, /* not in the mesh: of peers and targets */
};

/* One of them. Borrowed by api_nodes_add(), owned in a snapshot. */
struct api_node {
    enum api_node_kind kind;
    enum api_node_state state;
    const char *name;          /* not NULL; from gossip, any bytes */
    const char *zone, *region; /* NULL: not known */
    const char *version;       /* of prober; NULL: not known */
    const char *probe;         /* "host:port" that is probed, or NULL */
    struct addr addr;          /* gossips from; ADDR_NONE: does not */
    uint32_t incarnation;
    uint64_t changed_ns; /* monotonic, last change of state; 0: not known */
    uint64_t rtt_ns;     /* of the last direct ping; 0: not known */
    struct span meta;    /* as it came; len 0: none */
    bool is_ours;        /* carries our mark; self and peers, too */
    bool is_probed;
    bool is_held;     /* probed on although the mesh has lost it */
    bool is_draining; /* its cells in the matrix are `draining` */
    bool is_in_matrix;
    bool is_source; /* expected to report (a row), not only a target */
};

struct api_nodes; /* opaque */

/* Begin one, with one reference. `mesh` is copied; NULL: it is off. NULL
 * without memory. */
struct api_nodes *api_nodes_open(uint64_t now_ns, uint64_t now_unix_ns,
                                 const struct api_mesh *mesh);
/* Copy one more into it; only before it is published. 0, ERR_NOMEM, or
 * ERR_TOOBIG above API_NODES_MAX. */
int api_nodes_add(struct api_nodes *n, const struct api_node *node);

/* Take and give back a reference; NULL is allowed. The last one frees. */
struct api_nodes *api_nodes_hold(struct api_nodes *n);
void api_nodes_release(struct api_nodes *n);

/* ---- reading; what is returned lives as long as the reference ---- */

/* All, in the order of adding. */
size_t api_nodes_count(const struct api_nodes *n);
const struct api_node *api_nodes_get(const struct api_nodes *n, size_t i);
/* Those in the matrix, as matrix_open() wants them. */
const struct matrix_node *api_nodes_matrix(const struct api_nodes *n,
                                           size_t *count);
const struct api_mesh *api_nodes_mesh(const struct api_nodes *n);
uint64_t api_nodes_made_ns(const struct api_nodes *n);
uint64_t api_nodes_made_unix_ns(const struct api_nodes *n);

const char *api_node_state_name(enum api_node_state s); /* "alive", ... */

#endif /* PROBER_API_NODES_H */
