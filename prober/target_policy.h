/* prober/target_policy.h - what may be probed because somebody asks.
 *
 * Allow-list first. A target may be probed if it is configured here (a
 * `targets:` entry or a static peer), if it is a member of the mesh at the
 * endpoint that it announces, or if control.allow names its host or its
 * address; and never, whoever names it, if an address that it resolves to is
 * always denied (proto/addr_policy.h: loopback, link-local and metadata
 * services, multicast, reserved), unless control.dangerously_allow lifts that
 * very address, or if it is one of this node's own listeners on any of this
 * host's addresses. Ports: those of configured targets and members, otherwise
 * control.ports.
 *
 * Judged twice: the name and a literal address when the request comes
 * (target_policy_admit), and every address of every lookup just before an
 * attempt connects, by the guard that the admission gave: one bad address
 * refuses the attempt. Which rule decided goes to the audit log only; whoever
 * asked hears one fixed denial (TARGET_DENIAL, prober/target.h).
 *
 * The first line that matches an address decides, from above:
 *
 *     address                        other     member    configured
 *     ------------------------------ --------- --------- ----------------
 *     not the literal that the URL
 *       names; none; port 0          address   address   address
 *     loopback; +: goes on if the
 *       mesh is on loopback          address*  address+  address*+, goes on
 *                                                         if literal or a
 *                                                         name of this host
 *     otherwise always denied        address*  address   address*, goes on
 *                                                         if literal
 *     own listener: its port, at
 *       its address or one of this
 *       host's                       own       own       own
 *     not the port of the URL        port      port      port
 *     outside gossip.allow           -         mesh      -
 *     port not in control.ports      port      -         -
 *     neither the host nor the
 *       address in control.allow     not listed  -       -
 *     else                           allowed   allowed   allowed
 *
 *     * goes on if control.dangerously_allow has that very address. It lifts
 *       this denial and nothing else: control.allow and control.ports are still
 *       asked. It never speaks for a member, whose address another node chose.
 *
 * What an IPv6 form carries (addr_unwrap) is judged as the IPv4 address; that
 * of a Teredo server has to be allowed as well. Only the mapped form is lifted
 * along with its IPv4 address: to the kernel they are the same, while the
 * others go to a translator, whose loopback is not ours.
 *
 * Pure. Immutable once filled.
 */
#ifndef PROBER_TARGET_POLICY_H
#define PROBER_TARGET_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/addr_policy.h"
#include "proto/base/addr.h"
#include "proto/base/err.h"
#include "proto/url.h"

#define TARGET_RULES_MAX     256
#define TARGET_PORTS_MAX     64
#define TARGET_DANGEROUS_MAX 32
#define TARGET_OWN_MAX       8   /* listeners */
#define TARGET_LOCAL_MAX     128 /* addresses of this host */

enum target_standing {
    TARGET_OTHER,      /* nobody but the request names it */
    TARGET_MEMBER,     /* a mesh member's announced endpoint */
    TARGET_CONFIGURED, /* by this node's operator */
};

enum target_verdict {
    TARGET_ALLOWED,
    TARGET_DENIED_ADDRESS,    /* always denied; see addr_verdict */
    TARGET_DENIED_OWN,        /* one of our own listeners */
    TARGET_DENIED_PORT,       /* not in control.ports */
    TARGET_DENIED_NOT_LISTED, /* neither host nor address is allowed */
    TARGET_DENIED_MESH,       /* a member outside gossip.allow */
    TARGET_VERDICT_N,
};
const char *target_verdict_name(enum target_verdict v); /* "allowed", ... */

struct target_rule {
    bool is_network;
    bool is_domain; /* *.host: names below it, not itself */
    struct addr_network network;
    char host[URL_HOST_MAX + 1]; /* lower case, no final dot */
};

struct target_policy {
    struct addr_policy mesh; /* for members: gossip_policy() */
    size_t n_rules;
    struct target_rule rules[TARGET_RULES_MAX];
    size_t n_ports; /* 0: 80, 443 and 7443 */
    uint16_t ports[TARGET_PORTS_MAX];
    size_t n_dangerous; /* lifted, one by one; port unused */
    struct addr dangerous[TARGET_DANGEROUS_MAX];
    size_t n_own; /* listeners that are no targets: control, gossip, API */
    struct addr own[TARGET_OWN_MAX];
    size_t n_local; /* this host's addresses; port unused */
    struct addr local[TARGET_LOCAL_MAX];
    /* These are all. If not (a host may have thousands, or not tell), a
     * listener on all addresses is taken to be wherever its port is. */
    bool is_local_known;
};

/* "10.0.0.0/8", "fd00::/8", an address alone, "host.example", "*.example".
 * ERR_BAD for all else; `msg` says why, and `rule` is untouched. */
int target_rule_parse(struct target_rule *rule, const char *text,
                      struct errmsg *msg);

/* What every address has to pass that this target's name resolves to. Small
 * plain data to be copied; `policy` is borrowed. */
struct target_guard {
    const struct target_policy *policy;
    enum target_standing standing;
    bool is_name_allowed; /* a rule names the host: the address need not be in
                           * an allowed network, but must not be denied */
    bool is_literal;      /* the URL's host is an address: only that one */
    /* This host says itself what the name means: localhost and names below
     * it; also set it when target_use_hosts() found the name. If configured,
     * it may be loopback then. */
    bool is_local_name;
    struct addr pinned; /* the URL's port; the address if is_literal */
};

/* May this URL be probed at all? On TARGET_ALLOWED `guard` is filled. */
enum target_verdict target_policy_admit(const struct target_policy *p,
                                        const struct url *url,
                                        enum target_standing standing,
                                        struct target_guard *guard);

/* May an attempt connect to this address and port? */
enum target_verdict target_guard_check(const struct target_guard *g,
                                       const struct addr *a);

/* The same as struct target_dial wants it; `guard` is a struct target_guard,
 * borrowed. */
bool target_guard_may_dial(const void *guard, const struct addr *a);

#endif /* PROBER_TARGET_POLICY_H */
