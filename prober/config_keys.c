#include "prober/config_keys.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "prober/config.h"
#include "prober/config_value.h"
#include "proto/outcome.h"

#define MS          1000000ull
#define SEC         (1000 * MS)
#define MIN         (60 * SEC)
#define HOUR        (60 * MIN)
#define MIB         (1ull << 20)
#define PORT_PROBE  7443
#define PORT_GOSSIP 7946
#define PORT_API    7070
#define PORT_DNS    53

/* {offset, size} of a member, for the tables below. */
#define AT(type, member)                     \
    .offset = offsetof(struct type, member), \
    .size = sizeof(((struct type *)NULL)->member)

/* ---- lists ------------------------------------------------------------- */

/* Read a list of fixed-size texts into an array of its own. */
static void bind_texts(struct config_binder *b, const struct config_key *item,
                       const struct config_node *node, size_t max, void **items,
                       size_t *n_items)
{
    if (!config_bind_is_list(b, node, max) || node->n == 0)
        return;
    void *made = calloc(node->n, item->size);
    if (!made) {
        b->is_out_of_memory = true;
        return;
    }
    free(*items); /* of the same section, given a second time */
    *items = made;
    *n_items = config_bind_scalars(b, item, node, made);
}

static void bind_join(struct config_binder *b, const struct config_node *node,
                      void *base)
{
    static const struct config_key item = {.scalar = config_value_endpoint,
                                           .size = CONFIG_ENDPOINT_SIZE};
    struct config *c = base;
    void *items = c->gossip.join;
    bind_texts(b, &item, node, CONFIG_JOIN_MAX, &items, &c->gossip.n_join);
    c->gossip.join = items;
}

static void bind_networks(struct config_binder *b,
                          const struct config_node *node, void *base)
{
    static const struct config_key item = {.scalar = config_value_network,
                                           .size = sizeof(struct addr_network)};
    struct config *c = base;
    if (config_bind_is_list(b, node, ADDR_POLICY_NETWORKS_MAX))
        c->gossip.n_allow =
            config_bind_scalars(b, &item, node, c->gossip.allow);
}

static void bind_allow(struct config_binder *b, const struct config_node *node,
                       void *base)
{
    static const struct config_key item = {.scalar = config_value_allow,
                                           .size = CONFIG_ENDPOINT_SIZE};
    struct config *c = base;
    void *items = c->control.allow;
    bind_texts(b, &item, node, CONFIG_ALLOW_MAX, &items, &c->control.n_allow);
    c->control.allow = items;
}

static void bind_dangerous(struct config_binder *b,
                           const struct config_node *node, void *base)
{
    static const struct config_key item = {.scalar = config_value_single,
                                           .size = CONFIG_ENDPOINT_SIZE};
    struct config *c = base;
    void *items = c->control.dangerous;
    bind_texts(b, &item, node, CONFIG_DANGEROUS_MAX, &items,
               &c->control.n_dangerous);
    c->control.dangerous = items;
}

static void bind_hosts(struct config_binder *b, const struct config_node *node,
                       void *base)
{
    static const struct config_key item = {.scalar = config_value_host,
                                           .size = CONFIG_ENDPOINT_SIZE};
    struct config *c = base;
    void *items = c->control.hosts;
    bind_texts(b, &item, node, CONFIG_HOSTS_MAX, &items, &c->control.n_hosts);
    c->control.hosts = items;
}

static void bind_ports(struct config_binder *b, const struct config_node *node,
                       void *base)
{
    static const struct config_key item = {.scalar = config_value_port,
                                           .size = sizeof(uint16_t)};
    struct config *c = base;
    if (!config_bind_is_list(b, node, CONFIG_PORTS_MAX))
        return;
    /* None would mean the default ports, which is not what it says. */
    if (node->kind == CONFIG_LIST && node->n == 0)
        config_bind_complain(b, node, "must name at least one port");
    c->control.n_ports = config_bind_scalars(b, &item, node, c->control.ports);
}

static void bind_servers(struct config_binder *b,
                         const struct config_node *node, void *base)
{
    static const struct config_key item = {.scalar = config_value_address,
                                           .size = sizeof(struct addr),
                                           .port = PORT_DNS};
    struct config *c = base;
    if (config_bind_is_list(b, node, CONFIG_SERVERS_MAX))
        c->dns.n_servers = config_bind_scalars(b, &item, node, c->dns.servers);
}

static void bind_protocols(struct config_binder *b,
                           const struct config_node *node, void *base)
{
    static const struct config_key item = {.scalar = config_value_protocol,
                                           .size = sizeof(unsigned)};
    struct config *c = base;
    unsigned bits[PROTOCOL_N];
    if (!config_bind_is_list(b, node, PROTOCOL_N))
        return;
    size_t n = config_bind_scalars(b, &item, node, bits);
    if (node->n == 0)
        config_bind_complain(b, node, "must name http1, grpc or both of them");
    if (n == PROTOCOL_N && bits[0] == bits[1])
        config_bind_complain(b, node, "names a protocol twice");
    c->probe.protocols = 0;
    for (size_t i = 0; i < n; i++)
        c->probe.protocols |= bits[i];
}

static void bind_zones(struct config_binder *b, const struct config_node *node,
                       void *base)
{
    static const struct config_key item = {.scalar = config_value_name,
                                           .size = CONFIG_NAME_MAX + 1};
    struct config_target *t = base;
    void *items = t->zones;
    size_t before = b->errors->n;
    bind_texts(b, &item, node, CONFIG_ZONES_MAX, &items, &t->n_zones);
    t->zones = items;
    if (b->errors->n != before)
        return;
    for (size_t i = 0; i < t->n_zones; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(t->zones[i], t->zones[j]) == 0)
                config_bind_complain(b, node, "names zone %s twice",
                                     t->zones[i]);
        }
    }
}

static const struct config_key peer_keys[] = {
    {"name", config_value_name, AT(config_peer, name), .is_required = true},
    {"zone", config_value_name, AT(config_peer, zone), .fallback = "unknown"},
    {"region", config_value_name, AT(config_peer, region),
     .fallback = "unknown"},
    {"address", config_value_address, AT(config_peer, address),
     .port = PORT_PROBE},
    {"host", config_value_host, AT(config_peer, host)},
    {"fingerprint", config_value_fingerprint, AT(config_peer, fingerprint)},
    {"tls", config_value_no, AT(config_peer, is_plaintext), .fallback = "true"},
    {0},
};

static void bind_peer(struct config_binder *b, const struct config_node *node,
                      struct config_peer *p)
{
    config_bind_defaults(peer_keys, p);
    config_bind_map(b, peer_keys, node, p);
    if (node->kind != CONFIG_MAP && node->kind != CONFIG_NULL)
        return;
    p->port = p->address.family ? p->address.port : PORT_PROBE;

    const struct config_node *mark = config_yaml_find(node, "fingerprint");
    p->has_fingerprint = mark != NULL;
    if (mark && p->is_plaintext)
        config_bind_complain(b, mark, "has a fingerprint but tls is false");
    if (!config_yaml_find(node, "address") && !config_yaml_find(node, "host"))
        config_bind_complain(b, node, "needs an address or a host");
}

static const struct config_key target_keys[] = {
    {"name", config_value_name, AT(config_target, name), .is_required = true},
    {"url", config_value_url, AT(config_target, url), .is_required = true},
    {"protocol", config_value_protocols_word, AT(config_target, protocols)},
    {"service", config_value_service, AT(config_target, service)},
    {"zone", config_value_name, AT(config_target, zone),
     .fallback = "external"},
    {"region", config_value_name, AT(config_target, region),
     .fallback = "external"},
    {"fingerprint", config_value_fingerprint, AT(config_target, fingerprint)},
    {"zones", .bind = bind_zones},
    {0},
};

static void bind_target(struct config_binder *b, const struct config_node *node,
                        struct config_target *t)
{
    unsigned http1 = 1u << PROTOCOL_HTTP1;
    unsigned grpc = 1u << PROTOCOL_GRPC;

    config_bind_defaults(target_keys, t);
    size_t before = b->errors->n;
    config_bind_map(b, target_keys, node, t);

    const struct config_node *mark = config_yaml_find(node, "fingerprint");
    t->has_fingerprint = mark != NULL;
    /* Without a good URL the rest would only repeat the complaint. */
    if (b->errors->n != before)
        return;
    bool is_grpc = t->url.scheme == URL_GRPC || t->url.scheme == URL_GRPCS;
    if (!t->protocols)
        t->protocols = is_grpc ? grpc : http1;
    if (is_grpc && t->protocols != grpc)
        config_bind_complain(b, config_yaml_find(node, "protocol"),
                             "has a gRPC URL, so its protocol must be grpc");
    if (t->service[0] && !(t->protocols & grpc))
        config_bind_complain(b, config_yaml_find(node, "service"),
                             "names a gRPC service, but its protocol is http1");
    if (mark && !t->url.is_tls)
        config_bind_complain(b, mark, "has a fingerprint, but no TLS");
}

static void bind_peers(struct config_binder *b, const struct config_node *node,
                       void *base)
{
    struct config *c = base;
    size_t path_len = b->path_len;
    if (!config_bind_is_list(b, node, CONFIG_PEERS_MAX) || node->n == 0)
        return;
    c->peers = calloc(node->n, sizeof(*c->peers));
    if (!c->peers) {
        b->is_out_of_memory = true;
        return;
    }
    for (const struct config_node *n = node->first; n; n = n->next) {
        config_bind_push_index(b, c->n_peers);
        struct config_peer *p = &c->peers[c->n_peers++];
        if (n->kind != CONFIG_BROKEN)
            bind_peer(b, n, p);
        config_bind_pop(b, path_len);
    }
}

static void bind_targets(struct config_binder *b,
                         const struct config_node *node, void *base)
{
    struct config *c = base;
    size_t path_len = b->path_len;
    if (!config_bind_is_list(b, node, CONFIG_TARGETS_MAX) || node->n == 0)
        return;
    c->targets = calloc(node->n, sizeof(*c->targets));
    if (!c->targets) {
        b->is_out_of_memory = true;
        return;
    }
    for (const struct config_node *n = node->first; n; n = n->next) {
        config_bind_push_index(b, c->n_targets);
        struct config_target *t = &c->targets[c->n_targets++];
        if (n->kind != CONFIG_BROKEN)
            bind_target(b, n, t);
        config_bind_pop(b, path_len);
    }
}

/* ---- who may use the control port -------------------------------------- */

/* What both kinds of entry are read into; one of the two names is given. */
struct user_entry {
    char user[CONFIG_NAME_MAX + 1], group[CONFIG_NAME_MAX + 1];
    uint8_t role;
};

static const struct config_key user_keys[] = {
    {"user", config_value_name, AT(user_entry, user)},
    {"group", config_value_name, AT(user_entry, group)},
    {"role", config_value_role, AT(user_entry, role), .is_required = true},
    {0},
};

static void bind_user(struct config_binder *b, const struct config_node *node,
                      struct config_user *u)
{
    struct user_entry entry = {0};
    config_bind_map(b, user_keys, node, &entry);
    if (node->kind != CONFIG_MAP && node->kind != CONFIG_NULL)
        return;
    bool has_user = config_yaml_find(node, "user") != NULL;
    u->is_group = config_yaml_find(node, "group") != NULL;
    if (has_user == u->is_group)
        config_bind_complain(b, node, "needs either a user or a group");
    memcpy(u->name, u->is_group ? entry.group : entry.user, sizeof(u->name));
    u->role = entry.role;
}

static const struct config_key certificate_keys[] = {
    {"name", config_value_san, AT(config_certificate, name), .max = 122,
     .is_required = true},
    {"role", config_value_role, AT(config_certificate, role),
     .is_required = true},
    {0},
};

static void bind_users(struct config_binder *b, const struct config_node *node,
                       void *base)
{
    struct config *c = base;
    size_t path_len = b->path_len;
    if (!config_bind_is_list(b, node, CONFIG_USERS_MAX) || node->n == 0 ||
        c->control.users)
        return;
    c->control.users = calloc(node->n, sizeof(*c->control.users));
    if (!c->control.users) {
        b->is_out_of_memory = true;
        return;
    }
    for (const struct config_node *n = node->first; n; n = n->next) {
        config_bind_push_index(b, c->control.n_users);
        struct config_user *u = &c->control.users[c->control.n_users++];
        if (n->kind != CONFIG_BROKEN)
            bind_user(b, n, u);
        config_bind_pop(b, path_len);
    }
}

static void bind_certificates(struct config_binder *b,
                              const struct config_node *node, void *base)
{
    struct config *c = base;
    size_t path_len = b->path_len;
    if (!config_bind_is_list(b, node, CONFIG_USERS_MAX) || node->n == 0 ||
        c->control.certificates)
        return;
    c->control.certificates = calloc(node->n, sizeof(*c->control.certificates));
    if (!c->control.certificates) {
        b->is_out_of_memory = true;
        return;
    }
    for (const struct config_node *n = node->first; n; n = n->next) {
        config_bind_push_index(b, c->control.n_certificates);
        struct config_certificate *to =
            &c->control.certificates[c->control.n_certificates++];
        if (n->kind != CONFIG_BROKEN)
            config_bind_map(b, certificate_keys, n, to);
        config_bind_pop(b, path_len);
    }
}

/* ---- tables ------------------------------------------------------------ */

static const struct config_key node_keys[] = {
    {"name", config_value_name, AT(config, node.name)},
    {"zone", config_value_name, AT(config, node.zone), .fallback = "unknown"},
    {"region", config_value_name, AT(config, node.region),
     .fallback = "unknown"},
    {"zone_file", config_value_path, AT(config, node.zone_file)},
    {"region_file", config_value_path, AT(config, node.region_file)},
    {0},
};

static const struct config_key probe_keys[] = {
    {"listen", config_value_listen, AT(config, probe.listen),
     .port = PORT_PROBE, .fallback = ":7443"},
    {"host", config_value_host, AT(config, probe.host)},
    {"protocols", .bind = bind_protocols},
    {"cold_interval", config_value_duration, AT(config, probe.cold_interval_ns),
     .min = SEC, .max = HOUR, .fallback = "5s"},
    {"warm_interval", config_value_duration, AT(config, probe.warm_interval_ns),
     .min = 100 * MS, .max = HOUR, .fallback = "1s"},
    {"timeout", config_value_duration, AT(config, probe.timeout_ns),
     .min = 100 * MS, .max = MIN, .fallback = "5s"},
    {"tls", config_value_no, AT(config, probe.is_plaintext),
     .fallback = "true"},
    {"ip", config_value_ip, AT(config, probe.ip), .fallback = "4"},
    {"in_flight_max", config_value_count, AT(config, probe.in_flight_max),
     .min = 1, .max = 65536, .fallback = "8192"},
    {"in_flight_per_target_max", config_value_count,
     AT(config, probe.in_flight_per_target_max), .min = 1, .max = 1024,
     .fallback = "8"},
    {"connections_max", config_value_count, AT(config, probe.connections_max),
     .min = 1, .max = 65536, .fallback = "1024"},
    {"idle_timeout", config_value_duration, AT(config, probe.idle_timeout_ns),
     .min = SEC, .max = HOUR, .fallback = "75s"},
    {"response_delay", config_value_duration,
     AT(config, probe.response_delay_ns), .min = 0, .max = SEC,
     .fallback = "0s"},
    {0},
};

static const struct config_key gossip_keys[] = {
    {"listen", config_value_listen, AT(config, gossip.listen),
     .port = PORT_GOSSIP, .fallback = ":7946"},
    {"advertise", config_value_advertise, AT(config, gossip.advertise)},
    {"join", .bind = bind_join},
    {"allow", .bind = bind_networks},
    {"keys_file", config_value_path, AT(config, gossip.keys_file)},
    {"label", config_value_name, AT(config, gossip.label)},
    {"accept_plaintext", config_value_yes, AT(config, gossip.accepts_plaintext),
     .fallback = "false"},
    {0},
};

static const struct config_key topology_keys[] = {
    {"pairs", config_value_count, AT(config, topology.pairs), .min = 1,
     .max = CONFIG_PAIRS_MAX, .fallback = "3"},
    {"full_mesh_max", config_value_count, AT(config, topology.full_mesh_max),
     .min = 0, .max = CONFIG_FULL_MESH_MAX, .fallback = "12"},
    {0},
};

static const struct config_key api_keys[] = {
    {"listen", config_value_listen, AT(config, api.listen), .port = PORT_API,
     .fallback = ":7070"},
    {"connections_max", config_value_count, AT(config, api.connections_max),
     .min = 1, .max = 4096, .fallback = "128"},
    {0},
};

static const struct config_key control_keys[] = {
    {"listen", config_value_control, AT(config, control.listen),
     .fallback = "unix:/run/prober/control.sock"},
    {"socket_mode", config_value_mode, AT(config, control.socket_mode),
     .fallback = "0600"},
    {"socket_group", config_value_name, AT(config, control.socket_group)},
    {"insecure", config_value_yes, AT(config, control.is_insecure),
     .fallback = "false"},
    {"tokens_file", config_value_path, AT(config, control.tokens_file)},
    {"client_ca", config_value_path, AT(config, control.client_ca)},
    {"audit_file", config_value_path, AT(config, control.audit_file)},
    {"users", .bind = bind_users},
    {"certificates", .bind = bind_certificates},
    {"hosts", .bind = bind_hosts},
    {"allow", .bind = bind_allow},
    {"ports", .bind = bind_ports},
    {"dangerously_allow", .bind = bind_dangerous},
    {"run_for_others", config_value_yes, AT(config, control.runs_for_others),
     .fallback = "true"},
    {"requests_per_minute", config_value_count,
     AT(config, control.requests_per_minute), .min = 1, .max = 6000,
     .fallback = "10"},
    {"requests_max", config_value_count, AT(config, control.requests_max),
     .min = 1, .max = 1024, .fallback = "128"},
    {"in_flight_max", config_value_count, AT(config, control.in_flight_max),
     .min = 1, .max = 1024, .fallback = "8"},
    {"target_per_s", config_value_count, AT(config, control.target_per_s),
     .min = 1, .max = 1000, .fallback = "10"},
    {0},
};

static const struct config_key tls_keys[] = {
    {"certificate", config_value_path, AT(config, tls.certificate)},
    {"key", config_value_path, AT(config, tls.key)},
    {"ca", config_value_path, AT(config, tls.ca)},
    {0},
};

static const struct config_key dns_keys[] = {
    {"servers", .bind = bind_servers},
    {0},
};

static const struct config_key history_keys[] = {
    {"retention", config_value_duration, AT(config, history.retention_ns),
     .min = MIN, .max = HOUR, .fallback = "5m"},
    {"memory", config_value_size, AT(config, history.memory_bytes), .min = MIB,
     .max = 4096 * MIB, .fallback = "32MiB"},
    {0},
};

static const struct config_key log_keys[] = {
    {"level", config_value_level, AT(config, log.level), .fallback = "info"},
    {"format", config_value_is_json, AT(config, log.is_json),
     .fallback = "text"},
    {0},
};

const struct config_key config_keys[] = {
    {"node", .keys = node_keys},
    {"probe", .keys = probe_keys},
    {"gossip", .keys = gossip_keys},
    {"topology", .keys = topology_keys},
    {"api", .keys = api_keys},
    {"control", .keys = control_keys},
    {"tls", .keys = tls_keys},
    {"dns", .keys = dns_keys},
    {"history", .keys = history_keys},
    {"log", .keys = log_keys},
    {"peers", .bind = bind_peers},
    {"targets", .bind = bind_targets},
    {0},
};
