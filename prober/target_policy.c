#include "prober/target_policy.h"

#include <string.h>

const char *target_verdict_name(enum target_verdict v)
{
    static const char *const names[TARGET_VERDICT_N] = {
        [TARGET_ALLOWED] = "allowed",
        [TARGET_DENIED_ADDRESS] = "denied_address",
        [TARGET_DENIED_OWN] = "own_listener",
        [TARGET_DENIED_PORT] = "denied_port",
        [TARGET_DENIED_NOT_LISTED] = "not_listed",
        [TARGET_DENIED_MESH] = "outside_mesh",
    };
    return v < TARGET_VERDICT_N ? names[v] : "unknown";
}

/* ---- rules ---- */

/* A host as URLs carry it: lower case, no final dot. */
static void set_host(struct target_rule *rule, const char *host)
{
    size_t len = strlen(host);
    if (host[len - 1] == '.')
        len--;
    for (size_t i = 0; i < len; i++) {
        char c = host[i];
        rule->host[i] = c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
    }
}

int target_rule_parse(struct target_rule *rule, const char *text,
                      struct errmsg *msg)
{
    struct target_rule r = {.is_domain = !strncmp(text, "*.", 2)};
    const char *host = r.is_domain ? text + 2 : text;
    struct addr a;

    r.is_network = !addr_network_parse(&r.network, text);
    if (!r.is_network && strchr(text, '/')) {
        errmsg_set(msg,
                   "%.64s: not a network like 10.0.0.0/8, with no bits "
                   "behind its prefix",
                   text);
        return ERR_BAD;
    }
    if (!r.is_network && !addr_parse_ip(&a, host)) {
        errmsg_set(msg, "%.64s: say which address is meant, or its network",
                   text);
        return ERR_BAD;
    }
    if (!r.is_network && !url_is_host(host)) {
        errmsg_set(msg,
                   "%.64s: neither an address, a network, a host name nor "
                   "*.domain",
                   text);
        return ERR_BAD;
    }
    if (!r.is_network)
        set_host(&r, host);
    *rule = r;
    return 0;
}

static bool does_name(const struct target_rule *rule, const char *host)
{
    if (rule->is_network)
        return false;
    if (!rule->is_domain)
        return !strcmp(rule->host, host);
    size_t len = strlen(host), end = strlen(rule->host);
    return len > end && host[len - end - 1] == '.' &&
           !strcmp(host + len - end, rule->host);
}

static bool is_host_listed(const struct target_policy *p, const char *host)
{
    for (size_t i = 0; i < p->n_rules; i++) {
        if (does_name(&p->rules[i], host))
            return true;
    }
    return false;
}

static bool has_networks(const struct target_policy *p)
{
    for (size_t i = 0; i < p->n_rules; i++) {
        if (p->rules[i].is_network)
            return true;
    }
    return false;
}

static bool is_in_network(const struct target_policy *p, const struct addr *a)
{
    for (size_t i = 0; i < p->n_rules; i++) {
        if (p->rules[i].is_network &&
            addr_network_contains(&p->rules[i].network, a))
            return true;
    }
    return false;
}

static bool is_address_listed(const struct target_policy *p,
                              const struct addr *a)
{
    struct addr plain = addr_unwrap(a), server;
    return is_in_network(p, &plain) &&
           (!addr_teredo_server(a, &server) || is_in_network(p, &server));
}

static bool is_port_listed(const struct target_policy *p, uint16_t port)
{
    static const uint16_t usual[] = {80, 443, 7443};
    const uint16_t *ports = p->n_ports ? p->ports : usual;
    size_t n = p->n_ports ? p->n_ports : sizeof(usual) / sizeof(*usual);
    for (size_t i = 0; i < n; i++) {
        if (ports[i] == port)
            return true;
    }
    return false;
}

/* ---- what is denied, whoever names it ---- */

/* Only the form that is the same to the kernel; others go elsewhere. */
static bool is_lifted(const struct target_policy *p, const struct addr *a)
{
    struct addr plain = addr_unmap(a);
    for (size_t i = 0; i < p->n_dangerous; i++) {
        struct addr lifted = addr_unmap(&p->dangerous[i]);
        if (addr_same_ip(&lifted, &plain))
            return true;
    }
    return false;
}

static bool is_always_denied(const struct target_guard *g, const struct addr *a)
{
    const struct target_policy *p = g->policy;
    struct addr_policy always = {0};
    enum addr_verdict v;

    switch (g->standing) {
    case TARGET_MEMBER:
        v = addr_policy_check(&p->mesh, a);
        return v != ADDR_ALLOWED && v != ADDR_DENIED_NETWORK;
    case TARGET_CONFIGURED:
        always.allows_loopback = g->is_local_name || p->mesh.allows_loopback;
        break;
    case TARGET_OTHER:
        break;
    }
    v = addr_policy_check(&always, a);
    if (v == ADDR_ALLOWED || v == ADDR_DENIED_NONE)
        return v == ADDR_DENIED_NONE;
    if (g->standing == TARGET_CONFIGURED && g->is_literal)
        return false;
    return !is_lifted(p, a);
}

/* Does a connection to this address end on this host? */
static bool is_here(const struct target_policy *p, const struct addr *plain)
{
    if (addr_is_loopback(plain) || addr_is_any(plain))
        return true;
    for (size_t i = 0; i < p->n_local; i++) {
        struct addr local = addr_unwrap(&p->local[i]);
        if (addr_same_ip(&local, plain))
            return true;
    }
    return false;
}

static bool is_own(const struct target_policy *p, const struct addr *a)
{
    struct addr plain = addr_unwrap(a);
    for (size_t i = 0; i < p->n_own; i++) {
        struct addr own = addr_unwrap(&p->own[i]);
        if (own.port != a->port)
            continue;
        if (addr_same_ip(&own, &plain) || is_here(p, &plain) ||
            (!p->is_local_known && addr_is_any(&own)))
            return true;
    }
    return false;
}

/* ---- verdicts ---- */

static enum target_verdict check_listed(const struct target_guard *g,
                                        const struct addr *a)
{
    if (!is_port_listed(g->policy, a->port))
        return TARGET_DENIED_PORT;
    if (!g->is_name_allowed && !is_address_listed(g->policy, a))
        return TARGET_DENIED_NOT_LISTED;
    return TARGET_ALLOWED;
}

enum target_verdict target_guard_check(const struct target_guard *g,
                                       const struct addr *a)
{
    if (g->is_literal && !addr_same_ip(a, &g->pinned))
        return TARGET_DENIED_ADDRESS;
    if (is_always_denied(g, a))
        return TARGET_DENIED_ADDRESS;
    if (is_own(g->policy, a))
        return TARGET_DENIED_OWN;
    if (a->port != g->pinned.port)
        return TARGET_DENIED_PORT;
    switch (g->standing) {
    case TARGET_CONFIGURED:
        return TARGET_ALLOWED;
    case TARGET_MEMBER: /* nothing but its networks can be left against it */
        return addr_policy_check(&g->policy->mesh, a) == ADDR_ALLOWED
                   ? TARGET_ALLOWED
                   : TARGET_DENIED_MESH;
    case TARGET_OTHER:
        break;
    }
    return check_listed(g, a);
}

bool target_guard_may_dial(const void *guard, const struct addr *a)
{
    return target_guard_check(guard, a) == TARGET_ALLOWED;
}

/* RFC 6761 6.3. The host is in lower case. */
static bool is_localhost(const char *host)
{
    static const struct target_rule below = {.is_domain = true,
                                             .host = "localhost"};
    return !strcmp(host, below.host) || does_name(&below, host);
}

/* All that can be said before a lookup. */
static enum target_verdict check_name(const struct target_guard *g)
{
    if (g->pinned.port == 0)
        return TARGET_DENIED_PORT;
    if (g->standing != TARGET_OTHER)
        return TARGET_ALLOWED;
    if (!is_port_listed(g->policy, g->pinned.port))
        return TARGET_DENIED_PORT;
    if (!g->is_name_allowed && !has_networks(g->policy))
        return TARGET_DENIED_NOT_LISTED;
    return TARGET_ALLOWED;
}

enum target_verdict target_policy_admit(const struct target_policy *p,
                                        const struct url *url,
                                        enum target_standing standing,
                                        struct target_guard *guard)
{
    struct target_guard g = {.policy = p, .standing = standing};
    enum target_verdict v;

    g.is_literal = !addr_parse_ip(&g.pinned, url->host);
    g.pinned.port = url->port;
    if (g.is_literal) {
        v = target_guard_check(&g, &g.pinned);
    } else {
        g.is_name_allowed = is_host_listed(p, url->host);
        g.is_local_name = is_localhost(url->host);
        v = check_name(&g);
    }
    if (v == TARGET_ALLOWED)
        *guard = g;
    return v;
}
