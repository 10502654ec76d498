#include "prober/target_policy_config.h"

#include <string.h>

#include "prober/gossip.h"
#include "prober/local_addrs.h"

_Static_assert(CONFIG_ALLOW_MAX <= TARGET_RULES_MAX, "all rules fit");
_Static_assert(CONFIG_PORTS_MAX <= TARGET_PORTS_MAX, "all ports fit");
_Static_assert(CONFIG_DANGEROUS_MAX <= TARGET_DANGEROUS_MAX, "and all these");

static int fill_rules(struct target_policy *p, const struct config *c,
                      struct errmsg *msg)
{
    for (size_t i = 0; i < c->control.n_allow; i++) {
        int rc = target_rule_parse(&p->rules[i], c->control.allow[i], msg);
        if (rc) {
            errmsg_wrap(msg, "control.allow");
            return rc;
        }
    }
    p->n_rules = c->control.n_allow;
    return 0;
}

static int fill_dangerous(struct target_policy *p, const struct config *c,
                          struct errmsg *msg)
{
    for (size_t i = 0; i < c->control.n_dangerous; i++) {
        const char *text = c->control.dangerous[i];
        if (addr_parse_ip(&p->dangerous[i], text)) {
            errmsg_set(msg, "control.dangerously_allow: %.64s: not an address",
                       text);
            return ERR_BAD;
        }
    }
    p->n_dangerous = c->control.n_dangerous;
    return 0;
}

int target_policy_fill(struct target_policy *p, const struct config *c,
                       const struct addr *own, size_t n_own, struct errmsg *msg)
{
    *p = (struct target_policy){.n_ports = c->control.n_ports};
    if (n_own > TARGET_OWN_MAX || c->control.n_allow > TARGET_RULES_MAX ||
        c->control.n_ports > TARGET_PORTS_MAX ||
        c->control.n_dangerous > TARGET_DANGEROUS_MAX) {
        errmsg_set(msg, "control: too many rules, ports or listeners");
        return ERR_TOOBIG;
    }
    gossip_policy(c, &p->mesh);
    memcpy(p->ports, c->control.ports, p->n_ports * sizeof(p->ports[0]));
    for (size_t i = 0; i < n_own; i++) {
        if (own[i].family != ADDR_NONE && own[i].port != 0)
            p->own[p->n_own++] = own[i];
    }
    int rc = fill_rules(p, c, msg);
    return rc ? rc : fill_dangerous(p, c, msg);
}

int target_policy_read_local(struct target_policy *p)
{
    struct addr local[TARGET_LOCAL_MAX];
    bool is_all;
    int n = local_addrs_read(local, TARGET_LOCAL_MAX, &is_all);
    if (n < 0)
        return n;
    p->n_local = (size_t)n;
    p->is_local_known = is_all;
    memcpy(p->local, local, p->n_local * sizeof(local[0]));
    return is_all ? 0 : ERR_TOOBIG;
}

void target_policy_take_local(struct target_policy *p,
                              const struct target_policy *from)
{
    p->n_local = from->n_local;
    p->is_local_known = from->is_local_known;
    memcpy(p->local, from->local, from->n_local * sizeof(from->local[0]));
}
