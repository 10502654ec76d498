#include "prober/reload.h"

#include <stdio.h>
#include <string.h>

/* ---- are they the same? ---- */

static bool is_same_network(const struct addr_network *a,
                            const struct addr_network *b)
{
    return a->prefix == b->prefix && addr_equal(&a->base, &b->base);
}

static bool same_gossip_allow(const struct config *a, const struct config *b)
{
    if (a->gossip.n_allow != b->gossip.n_allow)
        return false;
    for (size_t i = 0; i < a->gossip.n_allow; i++) {
        if (!is_same_network(&a->gossip.allow[i], &b->gossip.allow[i]))
            return false;
    }
    return true;
}

/* Lists of texts, each of CONFIG_ENDPOINT_SIZE. */
static bool is_same_list(char (*a)[CONFIG_ENDPOINT_SIZE], size_t n_a,
                         char (*b)[CONFIG_ENDPOINT_SIZE], size_t n_b)
{
    if (n_a != n_b)
        return false;
    for (size_t i = 0; i < n_a; i++) {
        if (strcmp(a[i], b[i]) != 0)
            return false;
    }
    return true;
}

#define SAME_LIST(name, list, count)                                 \
    static bool name(const struct config *a, const struct config *b) \
    {                                                                \
        return is_same_list(a->list, a->count, b->list, b->count);   \
    }
SAME_LIST(same_join, gossip.join, gossip.n_join)
SAME_LIST(same_hosts, control.hosts, control.n_hosts)
SAME_LIST(same_allow, control.allow, control.n_allow)
SAME_LIST(same_dangerous, control.dangerous, control.n_dangerous)

static bool same_ports(const struct config *a, const struct config *b)
{
    return a->control.n_ports == b->control.n_ports &&
           !memcmp(a->control.ports, b->control.ports,
                   a->control.n_ports * sizeof(a->control.ports[0]));
}

static bool same_users(const struct config *a, const struct config *b)
{
    if (a->control.n_users != b->control.n_users)
        return false;
    for (size_t i = 0; i < a->control.n_users; i++) {
        const struct config_user *x = &a->control.users[i];
        const struct config_user *y = &b->control.users[i];
        if (x->is_group != y->is_group || x->role != y->role ||
            strcmp(x->name, y->name) != 0)
            return false;
    }
    return true;
}

static bool same_certificates(const struct config *a, const struct config *b)
{
    if (a->control.n_certificates != b->control.n_certificates)
        return false;
    for (size_t i = 0; i < a->control.n_certificates; i++) {
        const struct config_certificate *x = &a->control.certificates[i];
        const struct config_certificate *y = &b->control.certificates[i];
        if (x->role != y->role || strcmp(x->name, y->name) != 0)
            return false;
    }
    return true;
}

static bool same_servers(const struct config *a, const struct config *b)
{
    if (a->dns.n_servers != b->dns.n_servers)
        return false;
    for (size_t i = 0; i < a->dns.n_servers; i++) {
        if (!addr_equal(&a->dns.servers[i], &b->dns.servers[i]))
            return false;
    }
    return true;
}

static bool is_same_mark(bool has_a, const uint8_t a[32], bool has_b,
                         const uint8_t b[32])
{
    return has_a == has_b && (!has_a || !memcmp(a, b, 32));
}

static bool same_peers(const struct config *a, const struct config *b)
{
    if (a->n_peers != b->n_peers)
        return false;
    for (size_t i = 0; i < a->n_peers; i++) {
        const struct config_peer *x = &a->peers[i], *y = &b->peers[i];
        if (strcmp(x->name, y->name) != 0 || strcmp(x->zone, y->zone) != 0 ||
            strcmp(x->region, y->region) != 0 ||
            strcmp(x->host, y->host) != 0 ||
            !addr_equal(&x->address, &y->address) || x->port != y->port ||
            x->is_plaintext != y->is_plaintext ||
            !is_same_mark(x->has_fingerprint, x->fingerprint,
                          y->has_fingerprint, y->fingerprint))
            return false;
    }
    return true;
}

static bool is_same_url(const struct url *a, const struct url *b)
{
    return a->scheme == b->scheme && a->port == b->port &&
           a->has_port == b->has_port && !strcmp(a->host, b->host) &&
           !strcmp(a->path, b->path);
}

static bool is_same_target(const struct config_target *a,
                           const struct config_target *b)
{
    if (strcmp(a->name, b->name) != 0 || !is_same_url(&a->url, &b->url) ||
        a->protocols != b->protocols || strcmp(a->service, b->service) != 0 ||
        strcmp(a->zone, b->zone) != 0 || strcmp(a->region, b->region) != 0 ||
        a->n_zones != b->n_zones ||
        !is_same_mark(a->has_fingerprint, a->fingerprint, b->has_fingerprint,
                      b->fingerprint))
        return false;
    for (size_t i = 0; i < a->n_zones; i++) {
        if (strcmp(a->zones[i], b->zones[i]) != 0)
            return false;
    }
    return true;
}

static bool same_targets(const struct config *a, const struct config *b)
{
    if (a->n_targets != b->n_targets)
        return false;
    for (size_t i = 0; i < a->n_targets; i++) {
        if (!is_same_target(&a->targets[i], &b->targets[i]))
            return false;
    }
    return true;
}

/* Sealing cannot be switched on or off while running, only the file can be
 * another one. */
static bool same_sealing(const struct config *a, const struct config *b)
{
    return !a->gossip.keys_file[0] == !b->gossip.keys_file[0];
}

/* ---- the table ---- */

#define FIXED 0u /* needs a restart */

enum form { TEXT, NUMBER, ADDRESS, LIST };

struct key {
    const char *name;
    unsigned part; /* enum reload_part, or FIXED */
    enum form form;
    size_t offset, size;
    bool (*is_same)(const struct config *a, const struct config *b);
};

#define AT(member) \
    offsetof(struct config, member), sizeof(((struct config *)0)->member), NULL
#define BY(function) 0, 0, function

static const struct key keys[] = {
    {"node.name", FIXED, TEXT, AT(node.name)},
    {"node.zone", FIXED, TEXT, AT(node.zone)},
    {"node.region", FIXED, TEXT, AT(node.region)},
    {"node.zone_file", FIXED, TEXT, AT(node.zone_file)},
    {"node.region_file", FIXED, TEXT, AT(node.region_file)},

    {"probe.listen", FIXED, ADDRESS, AT(probe.listen)},
    {"probe.host", RELOAD_GOSSIP, TEXT, AT(probe.host)},
    {"probe.protocols", RELOAD_TARGETS | RELOAD_GOSSIP, NUMBER,
     AT(probe.protocols)},
    {"probe.cold_interval", RELOAD_TARGETS, NUMBER, AT(probe.cold_interval_ns)},
    {"probe.warm_interval", RELOAD_TARGETS, NUMBER, AT(probe.warm_interval_ns)},
    {"probe.timeout", RELOAD_TARGETS, NUMBER, AT(probe.timeout_ns)},
    {"probe.tls", FIXED, NUMBER, AT(probe.is_plaintext)},
    {"probe.ip", RELOAD_TARGETS, NUMBER, AT(probe.ip)},
    {"probe.in_flight_max", FIXED, NUMBER, AT(probe.in_flight_max)},
    {"probe.in_flight_per_target_max", RELOAD_TARGETS, NUMBER,
     AT(probe.in_flight_per_target_max)},
    {"probe.connections_max", FIXED, NUMBER, AT(probe.connections_max)},
    {"probe.idle_timeout", RELOAD_TARGETS, NUMBER, AT(probe.idle_timeout_ns)},
    {"probe.response_delay", RELOAD_TARGETS, NUMBER,
     AT(probe.response_delay_ns)},

    {"gossip", FIXED, NUMBER, AT(gossip.is_on)},
    {"gossip.listen", FIXED, ADDRESS, AT(gossip.listen)},
    {"gossip.advertise", FIXED, ADDRESS, AT(gossip.advertise)},
    {"gossip.join", RELOAD_GOSSIP, LIST, BY(same_join)},
    {"gossip.allow", RELOAD_GOSSIP | RELOAD_CONTROL, LIST,
     BY(same_gossip_allow)},
    {"gossip.keys_file", FIXED, LIST, BY(same_sealing)},
    {"gossip.keys_file", RELOAD_GOSSIP, TEXT, AT(gossip.keys_file)},
    {"gossip.label", FIXED, TEXT, AT(gossip.label)},
    {"gossip.accept_plaintext", RELOAD_GOSSIP, NUMBER,
     AT(gossip.accepts_plaintext)},

    {"topology.pairs", RELOAD_TARGETS, NUMBER, AT(topology.pairs)},
    {"topology.full_mesh_max", RELOAD_TARGETS, NUMBER,
     AT(topology.full_mesh_max)},

    {"api.listen", FIXED, ADDRESS, AT(api.listen)},
    {"api.connections_max", RELOAD_API, NUMBER, AT(api.connections_max)},

    {"control.listen", FIXED, TEXT, AT(control.listen)},
    {"control.socket_mode", FIXED, NUMBER, AT(control.socket_mode)},
    {"control.socket_group", FIXED, TEXT, AT(control.socket_group)},
    {"control.insecure", FIXED, NUMBER, AT(control.is_insecure)},
    {"control.tokens_file", RELOAD_CONTROL, TEXT, AT(control.tokens_file)},
    {"control.client_ca", RELOAD_CONTROL, TEXT, AT(control.client_ca)},
    {"control.audit_file", RELOAD_CONTROL, TEXT, AT(control.audit_file)},
    {"control.users", RELOAD_CONTROL, LIST, BY(same_users)},
    {"control.certificates", RELOAD_CONTROL, LIST, BY(same_certificates)},
    {"control.hosts", RELOAD_CONTROL, LIST, BY(same_hosts)},
    {"control.allow", RELOAD_CONTROL, LIST, BY(same_allow)},
    {"control.ports", RELOAD_CONTROL, LIST, BY(same_ports)},
    {"control.dangerously_allow", RELOAD_CONTROL, LIST, BY(same_dangerous)},
    {"control.run_for_others", RELOAD_CONTROL, NUMBER,
     AT(control.runs_for_others)},
    {"control.requests_per_minute", RELOAD_CONTROL, NUMBER,
     AT(control.requests_per_minute)},
    {"control.requests_max", RELOAD_CONTROL, NUMBER, AT(control.requests_max)},
    {"control.in_flight_max", RELOAD_CONTROL, NUMBER,
     AT(control.in_flight_max)},
    {"control.target_per_s", RELOAD_CONTROL, NUMBER, AT(control.target_per_s)},

    {"tls.certificate", RELOAD_TLS, TEXT, AT(tls.certificate)},
    {"tls.key", RELOAD_TLS, TEXT, AT(tls.key)},
    {"tls.ca", RELOAD_TLS, TEXT, AT(tls.ca)},

    {"dns.servers", RELOAD_DNS | RELOAD_TARGETS, LIST, BY(same_servers)},

    {"history.retention", RELOAD_HISTORY, NUMBER, AT(history.retention_ns)},
    {"history.memory", RELOAD_HISTORY, NUMBER, AT(history.memory_bytes)},

    {"log.level", RELOAD_LOG, NUMBER, AT(log.level)},
    {"log.format", RELOAD_LOG, NUMBER, AT(log.is_json)},

    {"peers", RELOAD_TARGETS, LIST, BY(same_peers)},
    {"targets", RELOAD_TARGETS, LIST, BY(same_targets)},
};

static bool is_same(const struct key *k, const struct config *from,
                    const struct config *to)
{
    const char *a = (const char *)from + k->offset;
    const char *b = (const char *)to + k->offset;
    switch (k->form) {
    case TEXT: /* what lies behind the end is not compared */
        return !strcmp(a, b);
    case NUMBER:
        return !memcmp(a, b, k->size);
    case ADDRESS:
        return addr_equal((const struct addr *)(const void *)a,
                          (const struct addr *)(const void *)b);
    case LIST:
        break;
    }
    return k->is_same(from, to);
}

unsigned reload_compare(const struct config *from, const struct config *to,
                        struct wr *fixed, struct wr *changed)
{
    unsigned parts = 0;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const struct key *k = &keys[i];
        if (is_same(k, from, to))
            continue;
        parts |= k->part;
        wr_printf(k->part == FIXED ? fixed : changed, "%s\n", k->name);
    }
    return parts;
}

void reload_parts_text(unsigned parts, char text[RELOAD_PARTS_SIZE])
{
    static const char *const names[] = {"targets", "tls", "gossip",  "control",
                                        "dns",     "log", "history", "api"};
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!(parts & 1u << i))
            continue;
        int n = snprintf(text + len, RELOAD_PARTS_SIZE - len, "%s%s",
                         len ? "," : "", names[i]);
        len += (size_t)n < RELOAD_PARTS_SIZE - len ? (size_t)n : 0;
    }
    if (parts == 0)
        snprintf(text, RELOAD_PARTS_SIZE, "none");
}
