/* prober/gossip.h - the daemon's place in the mesh.
 *
 * Opens the mesh as the configuration says, tells it what this node is, writes
 * to the log what happens there, and reads the keys again when asked. Who is
 * to be probed because of it is the roster's business.
 *
 * The control plane's thread.
 */
#ifndef PROBER_GOSSIP_H
#define PROBER_GOSSIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mesh/mesh_uv.h"
#include "prober/api_nodes.h"
#include "prober/config.h"
#include "proto/base/err.h"

struct gossip; /* opaque */

/* Which addresses that others name may be dialled: those of gossip.allow, if
 * there are any. Loopback only for a node that is itself there, or where
 * gossip.allow names it. */
void gossip_policy(const struct config *c, struct addr_policy *policy);

struct gossip_config {
    uv_loop_t *loop;
    const struct config *config;      /* borrowed */
    const struct addr_policy *policy; /* copied */
    struct addr responder;            /* as bound */
    uint8_t fingerprint[32];          /* of its certificate */
    void (*on_change)(void *arg);     /* something about a member */
    /* A message of ours, from this address; both are borrowed during the
     * call. May be NULL. */
    void (*on_message)(void *arg, const struct addr *from, struct span message);
    void *arg;
};

/* Read the keys, bind, begin to join. NULL with `msg`; the loop must then run
 * once more. */
struct gossip *gossip_open(const struct gossip_config *c, struct errmsg *msg);
void gossip_close(struct gossip *g); /* NULL is allowed */

const struct members *gossip_members(const struct gossip *g);
void gossip_address(const struct gossip *g, struct addr *advertised);
void gossip_describe(const struct gossip *g, struct api_mesh *out);

/* mesh_send(); gossip_kick() after the last one has it carried out. */
int gossip_send(struct gossip *g, uint32_t member, struct span message,
                bool by_stream);
void gossip_kick(struct gossip *g);

/* Has another node had our name for too long? Then this one has to go, without
 * a leave, which would be the other's. */
bool gossip_is_name_taken(const struct gossip *g);

/* Tell the others, and listen a little; gossip_has_left() when that is done. */
void gossip_leave(struct gossip *g);
bool gossip_has_left(const struct gossip *g);

/* Another configuration: what can fail comes first. Keys are read again even if
 * the file's name is the same. */
struct gossip_change {
    struct addr_policy policy;
    struct ml_key keys[ML_KEYRING_MAX];
    size_t n_keys;
    uint8_t meta[ML_META_MAX]; /* what others are told of this node */
    size_t meta_len;
};
/* 0, or an error with `msg`; gossip_change_fini() in any case. */
int gossip_prepare(const struct gossip *g, const struct config *to,
                   const uint8_t fingerprint[32], struct gossip_change *change,
                   struct errmsg *msg);
/* The configuration borrowed has the new content by now. */
void gossip_apply(struct gossip *g, const struct gossip_change *change);
void gossip_change_fini(struct gossip_change *change); /* wipes the keys */

#endif /* PROBER_GOSSIP_H */
