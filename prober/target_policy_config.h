/* prober/target_policy_config.h - the target policy of this daemon: what the
 * configuration says, who listens here, and which addresses this host has.
 *
 * Made anew at start, when the configuration is read again, and now and then,
 * because addresses come and go: into another struct, which then takes the
 * place of the one that guards in use point to. Control plane's thread.
 */
#ifndef PROBER_TARGET_POLICY_CONFIG_H
#define PROBER_TARGET_POLICY_CONFIG_H

#include <stddef.h>

#include "prober/config.h"
#include "prober/target_policy.h"
#include "proto/base/err.h"

/* Fill all of `p` but the addresses of this host. `own`: up to TARGET_OWN_MAX
 * TCP listeners that are no targets, as bound: control, gossip, API. Those
 * with port 0 or ADDR_NONE are passed over. ERR_BAD with `msg` naming the key
 * for a rule that is none; ERR_TOOBIG; then `p` is in no defined state. */
int target_policy_fill(struct target_policy *p, const struct config *c,
                       const struct addr *own, size_t n_own,
                       struct errmsg *msg);

/* Set p->local and p->is_local_known. ERR_SYS or ERR_NOMEM, with `p`
 * unchanged; ERR_TOOBIG if there are more than fit: then those that did are in
 * force, and are not taken for all. */
int target_policy_read_local(struct target_policy *p);
/* What `from` knows of the addresses of this host. */
void target_policy_take_local(struct target_policy *p,
                              const struct target_policy *from);

#endif /* PROBER_TARGET_POLICY_CONFIG_H */
