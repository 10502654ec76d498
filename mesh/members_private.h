/* mesh/members_private.h - what the parts of members share.
 *
 * members.c         this node, and time
 * members_rules.c   how evidence is judged
 * members_table.c   the records: slots, lookup, order, digest
 * members_choose.c  whom to ping, whom to tell
 */
#ifndef MESH_MEMBERS_PRIVATE_H
#define MESH_MEMBERS_PRIVATE_H

#include "mesh/members.h"
#include "proto/base/rate.h"

#define MEMBERS_NOBODY UINT32_MAX
#define MEMBERS_CHUNK  32 /* slots allocated at once; they never move */

struct members {
    struct members_config config; /* its spans are not used after opening */
    struct rng rng;
    uint64_t seed; /* of the hash */
    uint64_t opened_ns;
    bool is_leaving;
    struct members_counters counters;

    struct member **chunks;
    size_t n_chunks;
    size_t size;  /* slots ever used */
    size_t count; /* of them in use */
    size_t counts[MEMBER_LEFT + 1];
    uint32_t free; /* the first free slot, linked by `order` */
    uint64_t digest;

    /* The ping order: all but this node, in a row; those at and behind the
     * cursor are still to come in this round. */
    uint32_t *ring;
    size_t n_ring, cursor;

    /* Heads of hash chains; as many of each, a power of two. */
    uint32_t *by_name, *by_at, *by_ip;
    size_t n_buckets;

    struct heap suspects;
    struct rate newcomers;
};

static inline struct member *members_slot(const struct members *ms,
                                          uint32_t index)
{
    return &ms->chunks[index / MEMBERS_CHUNK][index % MEMBERS_CHUNK];
}

static inline struct span members_name(const struct member *m)
{
    return span_of(m->name, m->name_len);
}

/* Tables empty; 0 or ERR_NOMEM. members_table_fini() frees also after that. */
int members_table_init(struct members *ms);
void members_table_fini(struct members *ms);

/* A new record, dead, with incarnation 0 and nothing but name and address, the
 * name not known before. NULL without memory: then nothing has changed. */
struct member *members_add(struct members *ms, const struct ml_alive *a,
                           uint32_t *index);
void members_remove(struct members *ms, uint32_t index);

void members_set_addr(struct members *ms, uint32_t index, struct span bytes,
                      const struct addr *a);
int members_store_meta(struct member *m, struct span meta);
void members_set_state(struct members *ms, struct member *m,
                       enum member_state state, uint64_t now_ns);
/* To be called after each change of a record. */
void members_touch(struct members *ms, struct member *m);

/* Let the timer of a suspect run to its present deadline. */
void members_arm(struct members *ms, struct suspect *s);

uint64_t members_hash(const struct members *ms, struct span name);

#endif /* MESH_MEMBERS_PRIVATE_H */
