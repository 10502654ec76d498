/* prober/config.h - the configuration file (docs/configuration.md).
 *
 * YAML through libyaml's event API, bound strictly: unknown and duplicate
 * keys, wrong types, bad units and values out of range are errors that name
 * file, line and column, and all of them are reported, not only the first.
 * Aliases, anchors and tags are refused; file size and depth are bounded.
 * Each scalar outside lists can be overridden by PROBER_<PATH> in the
 * environment (PROBER_NODE_ZONE); an empty variable counts as absent.
 *
 * The loaded configuration is immutable plain data owned by struct config.
 * Every name in it consists of A-Z a-z 0-9 . _ - and can go into JSON, logs
 * and metrics as it is.
 *
 * The parts: config_yaml (text to tree), config_value (single values),
 * config_keys (the tables), config_bind (tables to structs), config_errors
 * (complaints), config_control (is the control port safe?); here are loading
 * and the other checks across keys.
 */
#ifndef PROBER_CONFIG_H
#define PROBER_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/addr_policy.h"
#include "proto/base/addr.h"
#include "proto/base/err.h"
#include "proto/url.h"

#define CONFIG_BYTES_MAX     (1u << 20)
#define CONFIG_PEERS_MAX     2000
#define CONFIG_TARGETS_MAX   2000
#define CONFIG_ZONES_MAX     64 /* of one target */
#define CONFIG_SERVERS_MAX   8
#define CONFIG_JOIN_MAX      64
#define CONFIG_ALLOW_MAX     256
#define CONFIG_PAIRS_MAX     64 /* mesh/topology.h */
#define CONFIG_FULL_MESH_MAX 8192
#define CONFIG_USERS_MAX     256 /* and certificates */
#define CONFIG_HOSTS_MAX     64
#define CONFIG_PORTS_MAX     64
#define CONFIG_DANGEROUS_MAX 32
#define CONFIG_NAME_MAX      128
#define CONFIG_PATH_MAX      512
#define CONFIG_LABEL_MAX     255 /* memberlist's */

/* "host:65535" and an address with a prefix length fit as well. */
#define CONFIG_ENDPOINT_SIZE (URL_HOST_MAX + 7)

struct config_peer { /* peers: static peers */
    char name[CONFIG_NAME_MAX + 1];
    char zone[CONFIG_NAME_MAX + 1], region[CONFIG_NAME_MAX + 1];
    char host[URL_HOST_MAX + 1]; /* "" : dial `address` */
    struct addr address;         /* ADDR_NONE (and port 0) if only host */
    uint16_t port;               /* of address, else the default 7443 */
    bool has_fingerprint;
    uint8_t fingerprint[32];
    bool is_plaintext; /* tls: false */
};

struct config_target { /* targets: outside endpoints */
    char name[CONFIG_NAME_MAX + 1];
    struct url url;
    unsigned protocols;                /* bit 1 << enum probe_protocol */
    char service[CONFIG_NAME_MAX + 1]; /* gRPC health service */
    /* Where it is itself; "external" when not said. */
    char zone[CONFIG_NAME_MAX + 1], region[CONFIG_NAME_MAX + 1];
    bool has_fingerprint;
    uint8_t fingerprint[32];
    size_t n_zones; /* probed from these zones; 0: from all */
    char (*zones)[CONFIG_NAME_MAX + 1];
};

struct config_user { /* control.users: who may do what on a unix socket */
    bool is_group;
    char name[CONFIG_NAME_MAX + 1]; /* or digits: the id */
    uint8_t role;                   /* enum role, prober/principals.h */
};

struct config_certificate {         /* control.certificates */
    char name[CONFIG_NAME_MAX + 1]; /* a subjectAltName */
    uint8_t role;
};

enum config_log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct config {
    struct {
        char name[CONFIG_NAME_MAX + 1];
        char zone[CONFIG_NAME_MAX + 1], region[CONFIG_NAME_MAX + 1];
        /* Files whose first line is the zone or region, where that is not
         * said otherwise: read by config_load(). "" : none */
        char zone_file[CONFIG_PATH_MAX], region_file[CONFIG_PATH_MAX];
    } node; /* zone and region are "unknown" when not said */
    struct {
        /* All listen addresses: [::] means every address of both families
         * (the default), port 0 one of the kernel's choice. */
        struct addr listen;
        char host[URL_HOST_MAX + 1]; /* the name peers dial, "" if none */
        unsigned protocols;
        uint64_t cold_interval_ns, warm_interval_ns, timeout_ns;
        bool is_plaintext;      /* tls: false (plain h1 and h2c) */
        unsigned ip;            /* 4 or 6: family asked first, def. 4 */
        uint32_t in_flight_max; /* attempts at once, default 8192 */
        uint32_t in_flight_per_target_max; /* default 8 */
        uint32_t connections_max;          /* inbound, default 1024 */
        uint64_t response_delay_ns;        /* drill: answer late, default 0 */
        uint64_t idle_timeout_ns;          /* inbound keep-alive, default 75s */
    } probe;
    struct {
        /* The file has such a section, or a variable sets one of its scalars.
         * A section that was left empty ("gossip:") is none, "gossip: {}" is.
         * Without it there are only static peers. */
        bool is_on;
        struct addr listen;
        /* ADDR_NONE: the address that is listened on, or the best of this
         * host's (mesh/mesh_uv.h); port 0: that of `listen`. */
        struct addr advertise;
        char keys_file[CONFIG_PATH_MAX];  /* "" : in the clear */
        char label[CONFIG_LABEL_MAX + 1]; /* "" : none */
        bool accepts_plaintext;           /* while moving to keys */
        size_t n_join;
        char (*join)[CONFIG_ENDPOINT_SIZE]; /* "host", "ip", "host:port" */
        /* If there are any, addresses learned from gossip must be in them. */
        size_t n_allow;
        struct addr_network allow[ADDR_POLICY_NETWORKS_MAX];
    } gossip;
    struct { /* who probes whom, mesh/topology.h; the same on all nodes */
        uint32_t pairs;         /* per ordered pair of zones, default 3 */
        uint32_t full_mesh_max; /* default 12 */
    } topology;
    struct {
        struct addr listen;
        uint32_t connections_max; /* default 128 */
    } api;
    struct {
        /* The file says where, or something of the socket: then not being
         * able to listen is an error of start-up, else a warning. */
        bool is_set;
        char listen[CONFIG_PATH_MAX]; /* "unix:/path", "ip:port", or "off" */
        uint32_t socket_mode;         /* 0600 (default) or 0660 */
        char socket_group[CONFIG_NAME_MAX + 1]; /* "" : the process's */
        bool is_insecure; /* plain TCP, on loopback, with tokens */
        char tokens_file[CONFIG_PATH_MAX]; /* "" : none */
        char client_ca[CONFIG_PATH_MAX];   /* PEM; "" : no client certs */
        char audit_file[CONFIG_PATH_MAX];  /* "" : standard error */
        size_t n_users, n_certificates;
        struct config_user *users; /* on the unix socket */
        struct config_certificate *certificates;
        size_t n_hosts; /* further Host names accepted on TCP */
        char (*hosts)[CONFIG_ENDPOINT_SIZE];
        /* Targets: target_policy.h */
        size_t n_allow, n_ports, n_dangerous;
        char (*allow)[CONFIG_ENDPOINT_SIZE];     /* networks, hosts, *.domain */
        uint16_t ports[CONFIG_PORTS_MAX];        /* none: 80, 443, 7443 */
        char (*dangerous)[CONFIG_ENDPOINT_SIZE]; /* dangerously_allow */
        bool runs_for_others;         /* executes what other nodes ask for */
        uint32_t requests_per_minute; /* of one principal, default 10 */
        uint32_t requests_max;        /* at once, default 128 */
        uint32_t in_flight_max;       /* attempts at once, default 8 */
        uint32_t target_per_s;        /* attempts to one address, default 10 */
    } control;
    struct {
        char certificate[CONFIG_PATH_MAX], key[CONFIG_PATH_MAX];
        char ca[CONFIG_PATH_MAX]; /* paths, "" : none */
    } tls;
    struct {
        size_t n_servers; /* none: the system's resolv.conf */
        struct addr servers[CONFIG_SERVERS_MAX];
    } dns;
    struct {
        uint64_t retention_ns; /* default 5m */
        uint64_t memory_bytes; /* default 32MiB */
    } history;
    struct {
        enum config_log_level level;
        bool is_json;
    } log;
    size_t n_peers, n_targets;
    struct config_peer *peers;
    struct config_target *targets;
    char *warnings; /* one a line, each ending in a newline; NULL if none */
};

/* Load `path`, or only the environment when path is NULL. `getenv_fn` is
 * usually getenv. On failure returns ERR_BAD (with every complaint as one
 * line each, "file:line:column: text", in *errors, to be freed by the
 * caller) or ERR_SYS / ERR_NOMEM (one line). Complaints about variables name
 * the variable instead of a place; at most 100 are given. *errors may be NULL
 * if even its memory is lacking. On success *errors is NULL and *out is owned
 * by the caller, who runs config_free(). */
int config_load(const char *path, char *(*getenv_fn)(const char *),
                struct config **out, char **errors);

/* The same from memory, for tests and fuzzing; `name` stands in messages. */
int config_parse(const char *name, const char *text, size_t len,
                 char *(*getenv_fn)(const char *), struct config **out,
                 char **errors);

void config_free(struct config *c);

/* Add a warning for each variable in `environment` (as environ is) that
 * begins with PROBER_ but names no key: most likely a typing error. Names
 * that Kubernetes makes for services (..._SERVICE_HOST, ..._PORT_80_TCP) are
 * passed over. Returns 0 or ERR_NOMEM. */
int config_warn_environment(struct config *c, char *const *environment);

/* The `i`-th key that a variable can override, as "section.key"; false if
 * there are no more. For documentation and its test. */
#define CONFIG_KEY_SIZE 64
bool config_key(size_t i, char path[CONFIG_KEY_SIZE]);

/* "5s", "250ms", "1m30s" is not accepted, one unit: ns us ms s m h.
 * Also used by the command line. Returns 0 or ERR_BAD. */
int config_parse_duration(const char *text, uint64_t *ns);
/* "64KiB", "1MiB", "512B", "2GiB"; 0 or ERR_BAD. */
int config_parse_size(const char *text, uint64_t *bytes);

#endif /* PROBER_CONFIG_H */
