/* prober/census.h - everybody there is, for the API.
 *
 * This node, the roster's peers, targets and members, and those in the mesh
 * whom the roster does not know: agents of Serf's, members that left, names
 * that are not probed.
 */
#ifndef PROBER_CENSUS_H
#define PROBER_CENSUS_H

#include <stdint.h>

#include "mesh/members.h"
#include "prober/api_nodes.h"
#include "prober/config.h"
#include "prober/roster.h"

struct census {
    const struct config *config;
    const struct roster *roster;
    const struct members *members; /* NULL: there is no mesh */
    const struct api_mesh *mesh;   /* the same */
    struct addr responder;         /* of this node, as bound */
};

/* A snapshot with one reference; NULL without memory. */
struct api_nodes *census_take(const struct census *c, uint64_t now_ns,
                              uint64_t now_unix_ns);

#endif /* PROBER_CENSUS_H */
