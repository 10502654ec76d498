/* prober/roster_private.h - between roster.c, which has the configuration's
 * entries and the index, roster_members.c, which follows the mesh, and
 * roster_choice.c, which has the topology applied. */
#ifndef PROBER_ROSTER_PRIVATE_H
#define PROBER_ROSTER_PRIVATE_H

#include "prober/roster.h"

/* An entry, and what only we need to know of it. */
struct record {
    struct roster_entry entry;      /* first: an entry is its record */
    const struct config_peer *peer; /* NULL if it is none */
    uint64_t facts_hash;    /* of the meta and address it was made from */
    uint64_t kept_since_ns; /* last time it was no matter of keeping */
    bool is_seen;           /* in the members, during an update */
    bool is_able;           /* of a member: nothing in the way of probing it */

    /* As all nodes see it, for the choice of who probes whom. */
    bool has_prober;   /* its facts say where it can be probed */
    bool is_in_choice; /* is, or was lately, a member */
    bool is_chosen;    /* to be probed from here */
    char mesh_zone[CONFIG_NAME_MAX + 1];
};

struct roster {
    const struct config *config;
    const struct addr_policy *policy;
    bool is_holding;
    bool is_choice_done, is_reporter;
    uint64_t choice_hash; /* of the nodes that the choice was made among */
    size_t n, n_fixed;    /* the first ones are the configuration's */
    struct record **records;

    /* By name: index of the record, one more; open addressing, never more than
     * half full. Built anew when the set of names has changed. */
    uint32_t *places;
    size_t mask;
};

/* Where a node of ours answers probes. */
void roster_fill_url(struct url *u, const char *host, uint16_t port,
                     bool is_plaintext);

/* One more at the end, zeroed; not in the index yet. There is room. NULL: no
 * memory. */
struct record *roster_add_record(struct roster *r);

/* After records were added, removed or moved. */
void roster_index_names(struct roster *r);

/* By name, among those that are in the index; NULL: none. */
struct record *roster_record(const struct roster *r, const char *name,
                             size_t len);

/* Choose anew who probes whom if another set of nodes takes part, and say it
 * in the entries. True if this changes who is probed from here. Without memory
 * all stays as it was until the next call. */
bool roster_choose(struct roster *r);

#endif /* PROBER_ROSTER_PRIVATE_H */
