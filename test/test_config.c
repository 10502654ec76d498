/* What is read, what is refused and where, what overrides what; then the
 * documentation and the packaged file against the tables. */
#include "prober/config.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "prober/config_bind.h"
#include "prober/config_errors.h"
#include "proto/base/rng.h"
#include "proto/outcome.h"
#include "test/check.h"

#define MS    1000000ull
#define SEC   (1000 * MS)
#define HTTP1 (1u << PROTOCOL_HTTP1)
#define GRPC  (1u << PROTOCOL_GRPC)
#define SUM \
    "sha256:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
/* What most cases begin with: no warning, no dependence on the host name. */
#define NODE "node: {name: a-1, zone: a}\n"

static char *no_variable(const char *name)
{
    (void)name;
    return NULL;
}

/* The config that `text` makes; fails the test with its errors if none. */
static struct config *load_with(char *(*getenv_fn)(const char *),
                                const char *text)
{
    struct config *c = NULL;
    char *errors = NULL;
    int err = config_parse("t", text, strlen(text), getenv_fn, &c, &errors);
    if (err)
        print_error("%s", errors ? errors : "no memory\n");
    check_i64(err, 0);
    check_true(errors == NULL);
    return c;
}

static struct config *load(const char *text)
{
    return load_with(no_variable, text);
}

/* Everything that is wrong with `text` is said, in these words. */
static void check_errors_of(char *(*getenv_fn)(const char *), const char *text,
                            size_t len, const char *want)
{
    struct config *c = NULL;
    char *errors = NULL;
    int err = config_parse("t", text, len, getenv_fn, &c, &errors);
    check_i64(err, ERR_BAD);
    check_true(c == NULL);
    check_text(errors, want);
    free(errors);
}

static void check_errors(const char *text, const char *want)
{
    check_errors_of(no_variable, text, strlen(text), want);
}

/* `n` repetitions of `unit` between two texts. */
static char *repeat(const char *before, const char *unit, size_t n,
                    const char *after)
{
    size_t len = strlen(unit);
    size_t head = strlen(before);
    char *text = calloc(1, head + n * len + strlen(after) + 1);
    check_true(text != NULL);
    memcpy(text, before, head);
    for (size_t i = 0; i < n; i++)
        memcpy(text + head + i * len, unit, len);
    memcpy(text + head + n * len, after, strlen(after));
    return text;
}

/* ---- units ------------------------------------------------------------- */

static void reads_durations_of_one_unit(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } good[] = {
        {"0s", 0},
        {"7ns", 7},
        {"7us", 7000},
        {"250ms", 250 * MS},
        {"5s", 5 * SEC},
        {"2m", 120 * SEC},
        {"1h", 3600 * SEC},
        {"007s", 7 * SEC},
        {"18446744073709551615ns", UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        uint64_t ns = 1;
        check_i64(config_parse_duration(good[i].text, &ns), 0);
        check_u64(ns, good[i].ns);
    }
}

static void refuses_everything_else_as_duration(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "5",
        "s",
        "-5s",
        "+5s",
        " 5s",
        "5s ",
        "5 s",
        "1.5s",
        "1m30s",
        "5sec",
        "5S",
        "5d",
        "0x5s",
        "5KiB",
        "5ms5",
        "18446744073709551616ns",
        "5124095577h",
        "184467440737095516150ns",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        uint64_t ns = 77;
        check_i64(config_parse_duration(bad[i], &ns), ERR_BAD);
        check_u64(ns, 77);
    }
}

static void reads_sizes_in_powers_of_two(void **state)
{
    (void)state;
    uint64_t n = 0;
    check_i64(config_parse_size("512B", &n), 0);
    check_u64(n, 512);
    check_i64(config_parse_size("64KiB", &n), 0);
    check_u64(n, 65536);
    check_i64(config_parse_size("3MiB", &n), 0);
    check_u64(n, 3145728);
    check_i64(config_parse_size("2GiB", &n), 0);
    check_u64(n, 2147483648);
    check_i64(config_parse_size("1MB", &n), ERR_BAD);
    check_i64(config_parse_size("1k", &n), ERR_BAD);
    check_i64(config_parse_size("64", &n), ERR_BAD);
    check_i64(config_parse_size("17179869184GiB", &n), ERR_BAD);
}

/* ---- what is read ------------------------------------------------------ */

static void an_empty_file_gives_the_defaults(void **state)
{
    (void)state;
    static const char *const empty[] = {
        "",    "\n",   "# nothing\n",      "---\n",
        "~\n", "{}\n", "\xef\xbb\xbf{}\n", "probe:\npeers:\ntargets: ~\n",
    };
    for (size_t i = 0; i < sizeof(empty) / sizeof(*empty); i++) {
        struct config *c = load(empty[i]);
        char host[256] = "";
        char text[ADDR_TEXT_SIZE];
        gethostname(host, sizeof(host) - 1);
        check_text(c->node.name, host);
        check_text(c->node.zone, "unknown");
        check_text(c->node.region, "unknown");
        check_text(addr_format(&c->probe.listen, text), "[::]:7443");
        check_text(addr_format(&c->gossip.listen, text), "[::]:7946");
        check_text(addr_format(&c->api.listen, text), "[::]:7070");
        check_text(c->control.listen, "unix:/run/prober/control.sock");
        check_u64(c->probe.protocols, HTTP1 | GRPC);
        check_u64(c->probe.cold_interval_ns, 5 * SEC);
        check_u64(c->probe.warm_interval_ns, SEC);
        check_u64(c->probe.timeout_ns, 5 * SEC);
        check_u64(c->probe.idle_timeout_ns, 75 * SEC);
        check_u64(c->probe.response_delay_ns, 0);
        check_u64(c->probe.ip, 4);
        check_u64(c->probe.in_flight_max, 8192);
        check_u64(c->probe.in_flight_per_target_max, 8);
        check_u64(c->probe.connections_max, 1024);
        check_u64(c->topology.pairs, 3);
        check_u64(c->topology.full_mesh_max, 12);
        check_u64(c->api.connections_max, 128);
        check_u64(c->history.retention_ns, 300 * SEC);
        check_u64(c->history.memory_bytes, 32u << 20);
        check_false(c->probe.is_plaintext);
        check_false(c->log.is_json);
        check_i64(c->log.level, LOG_INFO);
        check_u64(c->n_peers + c->n_targets + c->dns.n_servers, 0);
        check_u64(c->gossip.n_join + c->control.n_allow, 0);
        check_text(c->tls.certificate, "");
        config_free(c);
    }
}

static char *read_source(const char *name)
{
    char path[1024];
    const char *root = getenv("PROBER_SOURCE_ROOT");
    snprintf(path, sizeof(path), "%s/%s", root ? root : ".", name);
    FILE *f = fopen(path, "r");
    if (!f)
        print_error("cannot open %s\n", path);
    check_true(f != NULL);
    char *text = calloc(1, 65536);
    check_true(text != NULL);
    check_true(fread(text, 1, 65535, f) > 0);
    fclose(f);
    return text;
}

static void reads_the_example_whole(void **state)
{
    (void)state;
    char *example = read_source("test/fuzz/corpus/config/example.yaml");
    struct config *c = load(example);
    char text[ADDR_TEXT_SIZE];

    check_text(c->node.name, "a-1");
    check_text(c->node.zone, "a");
    check_text(c->node.region, "r1");
    check_text(addr_format(&c->probe.listen, text), "127.0.1.1:7443");
    check_text(c->probe.host, "a-1.mesh.test");
    check_text(addr_format(&c->gossip.listen, text), "127.0.1.1:7946");
    check_u64(c->gossip.n_join, 1);
    check_text(c->gossip.join[0], "127.0.1.2:7946");
    check_text(c->gossip.keys_file, "/etc/prober/gossip.keys");
    check_text(c->gossip.label, "prod");
    check_u64(c->control.n_allow, 2);
    check_text(c->control.allow[0], "10.0.0.0/8");
    check_text(c->control.allow[1], "*.svc.cluster.local");
    check_text(c->tls.certificate, "node.crt");
    check_text(c->tls.key, "node.key");
    check_text(c->tls.ca, "ca.crt");
    check_u64(c->dns.n_servers, 1);
    check_text(addr_format(&c->dns.servers[0], text), "127.0.0.1:5300");

    check_u64(c->n_peers, 1);
    const struct config_peer *p = &c->peers[0];
    check_text(p->name, "b-1");
    check_text(p->zone, "b");
    check_text(p->region, "r1");
    check_text(p->host, "b-1.mesh.test");
    check_text(addr_format(&p->address, text), "127.0.1.2:7443");
    check_u64(p->port, 7443);
    check_true(p->has_fingerprint);
    for (unsigned i = 0; i < 32; i++)
        check_u64(p->fingerprint[i], i);
    check_false(p->is_plaintext);

    check_u64(c->n_targets, 1);
    const struct config_target *t = &c->targets[0];
    check_text(t->name, "spanner");
    check_text(t->url.host, "spanner.example");
    check_u64(t->protocols, GRPC);
    check_text(t->service, "");
    check_text(t->zone, "external");
    check_u64(t->n_zones, 1);
    check_text(t->zones[0], "a");
    check_true(c->warnings == NULL);
    config_free(c);
    free(example);
}

static void peers_get_ports_and_defaults(void **state)
{
    (void)state;
    struct config *c =
        load(NODE "peers:\n"
                  "- {name: p1, address: 10.0.0.1}\n"
                  "- {name: p2, address: \"10.0.0.2:99\", tls: false}\n"
                  "- {name: p3, host: h.example}\n"
                  "- {name: p4, address: \"::1\"}\n"
                  "- {name: p5, address: \"[::1]:5\", host: x}\n");
    static const uint16_t ports[] = {7443, 99, 7443, 7443, 5};
    static const int families[] = {4, 4, 0, 6, 6};
    check_u64(c->n_peers, 5);
    for (size_t i = 0; i < 5; i++) {
        check_u64(c->peers[i].port, ports[i]);
        check_i64(c->peers[i].address.family, families[i]);
        check_u64(c->peers[i].address.port, families[i] ? ports[i] : 0);
        check_true(c->peers[i].is_plaintext == (i == 1));
        check_text(c->peers[i].zone, "unknown");
        check_false(c->peers[i].has_fingerprint);
    }
    config_free(c);
}

static void targets_take_their_protocol_from_the_url(void **state)
{
    (void)state;
    struct config *c =
        load(NODE "targets:\n"
                  "- {name: t1, url: \"http://h/x\"}\n"
                  "- {name: t2, url: \"https://h\", protocol: both}\n"
                  "- {name: t3, url: \"grpc://h:1\", service: a.b/C}\n"
                  "- {name: t4, url: \"https://h\", protocol: grpc}\n"
                  "- {name: t5, url: \"grpcs://h\", fingerprint: \"" SUM
                  "\", zone: z, zones: [b, c]}\n");
    static const unsigned want[] = {HTTP1, HTTP1 | GRPC, GRPC, GRPC, GRPC};
    for (size_t i = 0; i < 5; i++)
        check_u64(c->targets[i].protocols, want[i]);
    check_text(c->targets[2].service, "a.b/C");
    check_text(c->targets[4].zone, "z");
    check_text(c->targets[4].zones[1], "c");
    check_true(c->targets[4].has_fingerprint);
    config_free(c);
}

static void reads_fingerprints_as_openssl_prints_them(void **state)
{
    (void)state;
    struct config *c =
        load(NODE "peers: [{name: p, host: h, fingerprint: \"sha256:"
                  "AB:cd:EF:00:00:00:00:00:00:00:00:00:00:00:00:00:"
                  "00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:01\"}]\n");
    check_u64(c->peers[0].fingerprint[0], 0xab);
    check_u64(c->peers[0].fingerprint[1], 0xcd);
    check_u64(c->peers[0].fingerprint[2], 0xef);
    check_u64(c->peers[0].fingerprint[31], 1);
    config_free(c);
}

static void listens_on_short_forms_and_port_zero(void **state)
{
    (void)state;
    char text[ADDR_TEXT_SIZE];
    struct config *c = load(NODE "probe: {listen: \":99\"}\n"
                                 "api: {listen: 127.0.0.1}\n"
                                 "gossip: {listen: \"127.0.0.1:0\"}\n"
                                 "control: {listen: \"127.0.0.1:9\", insecure: "
                                 "true, tokens_file: t}\n");
    check_text(addr_format(&c->probe.listen, text), "[::]:99");
    check_text(addr_format(&c->api.listen, text), "127.0.0.1:7070");
    check_text(addr_format(&c->gossip.listen, text), "127.0.0.1:0");
    check_text(c->control.listen, "127.0.0.1:9");
    config_free(c);
}

static void accepts_both_ends_of_each_range(void **state)
{
    (void)state;
    struct config *c = load(
        NODE "probe: {cold_interval: 1s, warm_interval: 100ms, timeout: 60s,\n"
             "  in_flight_max: 65536, in_flight_per_target_max: 1, ip: 6,\n"
             "  idle_timeout: 1h, protocols: [grpc], tls: false,\n"
             "  response_delay: 1s}\n"
             "topology: {pairs: 64, full_mesh_max: 0}\n"
             "api: {connections_max: 4096}\n"
             "history: {retention: 1h, memory: 4GiB}\n"
             "log: {level: debug, format: json}\n");
    check_u64(c->probe.cold_interval_ns, SEC);
    check_u64(c->probe.warm_interval_ns, 100 * MS);
    check_u64(c->probe.timeout_ns, 60 * SEC);
    check_u64(c->probe.in_flight_max, 65536);
    check_u64(c->probe.in_flight_per_target_max, 1);
    check_u64(c->probe.response_delay_ns, SEC);
    check_u64(c->probe.ip, 6);
    check_u64(c->probe.protocols, GRPC);
    check_true(c->probe.is_plaintext);
    check_u64(c->topology.pairs, 64);
    check_u64(c->topology.full_mesh_max, 0);
    check_u64(c->history.memory_bytes, 4ull << 30);
    check_i64(c->log.level, LOG_DEBUG);
    check_true(c->log.is_json);
    config_free(c);
}

static void a_zone_that_is_not_set_is_a_warning(void **state)
{
    (void)state;
    struct config *c = load("node: {name: a}\n");
    check_text(c->warnings,
               "node.zone is not set: set it, or PROBER_NODE_ZONE\n");
    config_free(c);
}

/* ---- what is refused --------------------------------------------------- */

static void says_everything_at_once_in_order_of_place(void **state)
{
    (void)state;
    check_errors(
        "node: {name: a-1, zone: a b}\n"
        "probe:\n"
        "  cold_intervall: 5s\n"
        "  warm_interval: 50ms\n"
        "  timeout: 5\n"
        "  timeout: 61s\n"
        "  ip: 5\n"
        "  tls: yes\n"
        "  in_flight_max: \"12\"\n"
        "  in_flight_per_target_max: 1025\n"
        "  protocols: [http1, http3]\n"
        "log: {level: loud, format: xml}\n"
        "histroy: {}\n",
        "t:1:25: node.zone must be letters, digits, '.', '_' or '-', not "
        "\"a b\"\n"
        "t:3:3: unknown key probe.cold_intervall (did you mean "
        "cold_interval?)\n"
        "t:4:18: probe.warm_interval is 50ms, the least allowed is 100ms\n"
        "t:5:12: probe.timeout must be a whole number and one unit of ns us "
        "ms s m h, not \"5\"\n"
        "t:6:3: probe.timeout is given twice, first in line 5\n"
        "t:6:12: probe.timeout is 61s, the most allowed is 1m\n"
        "t:7:7: probe.ip must be 4 or 6, not \"5\"\n"
        "t:8:8: probe.tls must be true or false without quotes, not \"yes\"\n"
        "t:9:18: probe.in_flight_max must be a whole number without quotes, "
        "not \"12\"\n"
        "t:10:29: probe.in_flight_per_target_max is 1025, the most allowed is "
        "1024\n"
        "t:11:22: probe.protocols[1] must be http1 or grpc, not \"http3\"\n"
        "t:12:14: log.level must be error, warn, info or debug, not \"loud\"\n"
        "t:12:28: log.format must be text or json, not \"xml\"\n"
        "t:13:1: unknown key histroy (did you mean history?)\n");
}

static void refuses_the_wrong_kind_of_value(void **state)
{
    (void)state;
    check_errors(NODE "probe: [1]\n"
                      "api: 5\n"
                      "log: {level: [info], format: {}}\n"
                      "peers: {a: b}\n"
                      "targets: x\n"
                      "dns: {servers: 192.0.2.1}\n"
                      "tls: {ca: }\n",
                 "t:2:8: probe must be a mapping, not a list\n"
                 "t:3:6: api must be a mapping, not a single value\n"
                 "t:4:14: log.level must be a single value, not a list\n"
                 "t:4:30: log.format must be a single value, not a mapping\n"
                 "t:5:8: peers must be a list, not a mapping\n"
                 "t:6:10: targets must be a list, not a single value\n"
                 "t:7:16: dns.servers must be a list, not a single value\n"
                 "t:8:11: tls.ca has no value\n");
    check_errors("- a\n", "t:1:1: the file must be a mapping, not a list\n");
    check_errors("hello\n",
                 "t:1:1: the file must be a mapping, not a single value\n");
}

static void refuses_bad_addresses(void **state)
{
    (void)state;
    check_errors(
        NODE "probe: {listen: \"host:1\", host: \"a:1\"}\n"
             "api: {listen: \"1.2.3.4:65536\"}\n"
             "gossip: {join: [\"h:0\", \"h:65536\", \"1.2.3.4:0\", h, "
             "\"h:1\", \"::1\", \"a b\"]}\n"
             "control: {listen: \"unix:x\", allow: [10.0.0.1/8, 10.0.0.0/33, "
             "\"::/0\", 10.0.0.0/8, h, \"*.1.2.3.4\"]}\n"
             "dns: {servers: [\"1.2.3.4:0\", localhost]}\n",
        "t:2:17: probe.listen must be an address such as 127.0.0.1:7443 or "
        ":7443, not \"host:1\"\n"
        "t:2:33: probe.host must be a host name or address without a port, "
        "not \"a:1\"\n"
        "t:3:15: api.listen must be an address such as 127.0.0.1:7443 or "
        ":7443, not \"1.2.3.4:65536\"\n"
        "t:4:17: gossip.join[0] must be a host or address, with or without a "
        "port, not \"h:0\"\n"
        "t:4:24: gossip.join[1] must be a host or address, with or without a "
        "port, not \"h:65536\"\n"
        "t:4:35: gossip.join[2] must be a host or address, with or without a "
        "port, not \"1.2.3.4:0\"\n"
        "t:4:65: gossip.join[6] must be a host or address, with or without a "
        "port, not \"a b\"\n"
        "t:5:19: control.listen must be unix:/path (at most 107 bytes), an "
        "address with a port, or off, not \"unix:x\"\n"
        "t:5:37: control.allow[0] must be a network (10.0.0.0/8, no bits "
        "behind the prefix), an address, a host or *.domain, not "
        "\"10.0.0.1/8\"\n"
        "t:5:49: control.allow[1] must be a network (10.0.0.0/8, no bits "
        "behind the prefix), an address, a host or *.domain, not "
        "\"10.0.0.0/33\"\n"
        "t:5:85: control.allow[5] must be a network (10.0.0.0/8, no bits "
        "behind the prefix), an address, a host or *.domain, not "
        "\"*.1.2.3.4\"\n"
        "t:6:17: dns.servers[0] must be an IP address, with or without a "
        "port, not \"1.2.3.4:0\"\n"
        "t:6:30: dns.servers[1] must be an IP address, with or without a "
        "port, not \"localhost\"\n");
}

static void refuses_incomplete_or_contradicting_entries(void **state)
{
    (void)state;
    check_errors(
        NODE "peers:\n"
             "- {name: p1}\n"
             "- {host: h}\n"
             "- 7\n"
             "- {name: p2, host: h, tls: false, fingerprint: \"" SUM "\"}\n"
             "- {name: p3, host: h, fingerprint: \"sha256:00\"}\n"
             "-\n"
             "targets:\n"
             "- {name: t1}\n"
             "- {name: t2, url: \"http://h\", fingerprint: \"" SUM "\"}\n"
             "- {name: t3, url: \"grpc://h\", protocol: both}\n"
             "- {name: t4, url: \"http://h\", service: s}\n"
             "- {name: t5, url: \"http://h\", zones: [a, b, a]}\n",
        "t:3:3: peers[0] needs an address or a host\n"
        "t:4:3: peers[1] needs a name\n"
        "t:5:3: peers[2] must be a mapping, not a single value\n"
        "t:6:48: peers[3] has a fingerprint but tls is false\n"
        "t:7:36: peers[4].fingerprint must be sha256: and 64 hexadecimal "
        "digits, not \"sha256:00\"\n"
        "t:8:2: peers[5] needs a name\n"
        "t:8:2: peers[5] needs an address or a host\n"
        "t:10:3: targets[0] needs a url\n"
        "t:11:44: targets[1] has a fingerprint, but no TLS\n"
        "t:12:41: targets[2] has a gRPC URL, so its protocol must be grpc\n"
        "t:13:40: targets[3] names a gRPC service, but its protocol is http1\n"
        "t:14:38: targets[4].zones names zone a twice\n");
}

static void refuses_near_misses_of_single_values(void **state)
{
    (void)state;
    check_errors(NODE "probe: {in_flight_max: 010}\n",
                 "t:2:24: probe.in_flight_max must be a whole number without "
                 "quotes, not \"010\"\n");
    check_errors(NODE "peers: [{name: p, host: h, fingerprint: \"sha256::"
                      "000102030405060708090a0b0c0d0e0f"
                      "101112131415161718191a1b1c1d1e1f\"}]\n",
                 "t:2:41: peers[0].fingerprint must be sha256: and 64 "
                 "hexadecimal digits, not "
                 "\"sha256::000102030405060708090a0b0c0d0e0f1011121314151617"
                 "...\"\n");
    /* Prefixes that end inside a byte; the first four are fine. */
    check_errors(NODE "control: {allow: [10.128.0.0/9, 1.2.3.4/32, 0.0.0.0/0, "
                      "\"2001:db8::/33\", 10.64.0.0/9]}\n",
                 "t:2:73: control.allow[4] must be a network (10.0.0.0/8, no "
                 "bits behind the prefix), an address, a host or *.domain, "
                 "not \"10.64.0.0/9\"\n");
}

static void a_unix_socket_path_must_fit_the_kernel(void **state)
{
    (void)state;
    char *text = repeat("node: {name: a, zone: a}\n"
                        "control: {listen: \"unix:/",
                        "x", 106, "\"}");
    struct config *c = load(text);
    check_u64(strlen(c->control.listen), 5 + 107);
    config_free(c);
    free(text);
    text = repeat("control: {listen: \"unix:/", "x", 107, "\"}");
    check_errors(text, "t:1:19: control.listen must be unix:/path (at most 107 "
                       "bytes), an address with a port, or off, not "
                       "\"unix:/xxxxxxxxxxxxxxxxxxxxxx"
                       "xxxxxxxxxxxxxxxxxxxxxxxxxxxx...\"\n");
    free(text);
}

/* A list is read from its first place only; positions must still be right. */
static void lists_given_twice_do_not_mix(void **state)
{
    (void)state;
    check_errors(NODE "peers: 7\n"
                      "peers: [{name: b, host: h}, {name: b, host: h}]\n"
                      "targets: []\n"
                      "targets: [{name: a-1, url: \"http://h\"}]\n",
                 "t:2:8: peers must be a list, not a single value\n"
                 "t:3:1: peers is given twice, first in line 2\n"
                 "t:5:1: targets is given twice, first in line 4\n");
}

static void does_not_guess_utf16(void **state)
{
    (void)state;
    static const char text[] = "\xff\xfe{\0}\0\n\0";
    check_errors_of(no_variable, text, sizeof(text) - 1,
                    "t:1:1: not valid UTF-8 text: invalid leading UTF-8 "
                    "octet\n");
}

static void names_are_unique_across_peers_targets_and_node(void **state)
{
    (void)state;
    check_errors(NODE "peers:\n"
                      "- {name: b, host: h}\n"
                      "- {name: a-1, host: h}\n"
                      "- {name: b, host: h}\n"
                      "targets:\n"
                      "- {name: b, url: \"http://h\"}\n",
                 "t:4:10: a-1 is the name of this node\n"
                 "t:5:10: the name b is taken, see line 3\n"
                 "t:7:10: the name b is taken, see line 5\n");
}

static void
a_certificate_needs_its_key_and_the_key_its_certificate(void **state)
{
    (void)state;
    check_errors(NODE "tls: {certificate: c, ca: d}\n",
                 "t:2:20: tls.certificate needs tls.key beside it\n");
    check_errors(NODE "tls: {ca: d, key: c}\n",
                 "t:2:19: tls.key needs tls.certificate beside it\n");
}

static void listen_addresses_must_not_meet(void **state)
{
    (void)state;
    check_errors(NODE "api: {listen: \":7443\"}\n",
                 "t:2:15: api.listen is the same as probe.listen\n");
    check_errors(NODE "probe: {listen: \"127.0.0.1:7946\"}\ngossip: {}\n",
                 "t:3:9: gossip.listen is the same as probe.listen\n");
    config_free(load(NODE "probe: {listen: \"127.0.0.1:7946\"}\n"));
    check_errors(NODE "api: {listen: \"1.1.1.1:5\"}\n"
                      "gossip: {listen: \"1.1.1.1:5\"}\n",
                 "t:3:18: gossip.listen is the same as api.listen\n");
    config_free(load(NODE "api: {listen: \"1.1.1.1:5\"}\n"
                          "probe: {listen: \"1.1.1.2:5\"}\n"));
    config_free(load(NODE "api: {listen: \":0\"}\nprobe: {listen: \":0\"}\n"));
}

static void refuses_yaml_that_a_configuration_does_not_need(void **state)
{
    (void)state;
    check_errors("node: &x {name: a-1, zone: !!str a}\nprobe: *x\n",
                 "t:1:7: anchors (&name) are not supported\n"
                 "t:1:28: tags (!name) are not supported\n"
                 "t:2:8: aliases (*name) are not supported\n");
    check_errors("? [a]\n: b\n",
                 "t:1:3: a key must be text, not a list or mapping\n");
    check_errors(NODE "---\nlog: {}\n",
                 "t:2:1: only one document (---) is allowed\n");
    check_errors("%TAG ! tag:x,2000:\n---\n{}\n",
                 "t:1:1: %TAG directives are not supported\n");
    check_errors("node: {name: \"a\\0b\", zone: a}\n",
                 "t:1:14: text must not contain a NUL byte\n");
    check_errors("*x : 1\nprobee: 2\n",
                 "t:1:1: aliases (*name) are not supported\n"
                 "t:2:1: unknown key probee (did you mean probe?)\n");
}

static void says_where_the_syntax_breaks(void **state)
{
    (void)state;
    check_errors("node: {name: a\nprobe:\n",
                 "t:2:6: did not find expected ',' or '}', while parsing a "
                 "flow mapping from line 1\n");
    check_errors(
        "a: 1\n\tb: 2\n",
        "t:2:1: found a tab character that violates indentation, while "
        "scanning a plain scalar from line 1\n");
    check_errors("a: 1\nbc: \"\xff\"\n",
                 "t:2:6: not valid UTF-8 text: invalid leading UTF-8 octet\n");
}

static void hostile_text_does_not_reach_the_terminal(void **state)
{
    (void)state;
    check_errors("\"\\e[31mx\": 1\nlog: {level: \"\\n\\u00e9\"}\n"
                 "0123456789012345678901234567890123456789012345678901234567890"
                 "1234567: x\n",
                 "t:1:1: unknown key ?[31mx\n"
                 "t:2:14: log.level must be error, warn, info or debug, not "
                 "\"???\"\n"
                 "t:3:1: unknown key "
                 "01234567890123456789012345678901234567890123456789012345"
                 "...\n");
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void keeps_a_hundred_complaints_and_counts_the_rest(void **state)
{
    (void)state;
    char *text = repeat("", "zzzzzzzz: 1\n", 250, "");
    struct config *c = NULL;
    char *errors = NULL;
    check_i64(config_parse("t", text, strlen(text), no_variable, &c, &errors),
              ERR_BAD);
    check_u64(count_lines(errors), 101);
    check_true(strncmp(errors, "t:1:1: unknown", 14) == 0);
    check_true(strstr(errors, "\nt:100:1: unknown key zzzzzzzz\n") != NULL);
    check_true(strstr(errors, "\nt: 150 more errors are not shown\n") != NULL);
    free(errors);
    free(text);
}

static void bounds_size_depth_and_number(void **state)
{
    (void)state;
    char *text = repeat("a: ", "[", 40, "");
    check_errors(text, "t:1:19: nested too deeply\n");
    free(text);

    text = repeat("", "# 456789abcde\n", (1u << 20) / 14 + 1, "");
    check_errors(text, "t: larger than 1048576 bytes\n");
    free(text);
    text = repeat("", "#345678\n", (1u << 20) / 8, "");
    check_u64(strlen(text), CONFIG_BYTES_MAX);
    config_free(load(text));
    free(text);

    text = repeat("dns: {servers: [", "1,", 250000, "1]}");
    check_errors(text, "t:1:400007: too many values\n");
    free(text);

    text = repeat("dns: {servers: [", "1.1.1.1,", 8, "1.1.1.1]}");
    check_errors(text, "t:1:16: dns.servers has 9 entries, at most 8 are "
                       "allowed\n");
    free(text);
    text = repeat("peers: [", "1,", 2000, "1]");
    check_errors(text, "t:1:8: peers has 2001 entries, at most 2000 are "
                       "allowed\n");
    free(text);
}

static void names_are_bounded_at_128_bytes(void **state)
{
    (void)state;
    char *text = repeat("node: {zone: a, name: ", "x", 128, "}");
    config_free(load(text));
    free(text);
    text = repeat("node: {zone: a, name: ", "x", 129, "}");
    check_errors(text, "t:1:23: node.name is 129 bytes long, at most 128 are "
                       "allowed\n");
    free(text);
}

static void loads_two_thousand_peers_and_targets(void **state)
{
    (void)state;
    char *text = calloc(1, 200000);
    size_t len = 0;
    for (int kind = 0; kind < 2; kind++) {
        len += (size_t)sprintf(text + len, kind ? "targets:\n" : "peers:\n");
        for (int i = 0; i < 2000; i++)
            len += (size_t)sprintf(text + len, "- {name: %c%d, %s}\n",
                                   kind ? 't' : 'p', i,
                                   kind ? "url: \"http://h\"" : "host: h");
    }
    struct config *c = load(text);
    check_u64(c->n_peers, 2000);
    check_u64(c->n_targets, 2000);
    check_text(c->targets[1999].name, "t1999");
    config_free(c);
    free(text);
}

static void suggests_only_what_is_near(void **state)
{
    (void)state;
    check_errors(NODE "probe: {tsl: 1, ipp: 1, x: 1, colinterval: 1, "
                      "zzzz: 1}\n",
                 "t:2:9: unknown key probe.tsl\n"
                 "t:2:17: unknown key probe.ipp (did you mean ip?)\n"
                 "t:2:25: unknown key probe.x\n"
                 "t:2:31: unknown key probe.colinterval (did you mean "
                 "cold_interval?)\n"
                 "t:2:47: unknown key probe.zzzz\n");
}

/* ---- the environment --------------------------------------------------- */

static char *some_variables(const char *name)
{
    static char zone[] = "z9";
    static char interval[] = "7s";
    static char empty[] = "";
    static char no[] = "false";
    if (strcmp(name, "PROBER_NODE_ZONE") == 0)
        return zone;
    if (strcmp(name, "PROBER_PROBE_COLD_INTERVAL") == 0)
        return interval;
    if (strcmp(name, "PROBER_PROBE_TLS") == 0)
        return no;
    return strcmp(name, "PROBER_NODE_NAME") == 0 ? empty : NULL;
}

static char *bad_variables(const char *name)
{
    static char value[] = "a b";
    bool is_bad = strcmp(name, "PROBER_NODE_ZONE") == 0 ||
                  strcmp(name, "PROBER_API_CONNECTIONS_MAX") == 0;
    return is_bad ? value : NULL;
}

static char *key_variable(const char *name)
{
    static char path[] = "/x.key";
    return strcmp(name, "PROBER_TLS_KEY") == 0 ? path : NULL;
}

static void variables_override_the_file_and_empty_ones_do_not(void **state)
{
    (void)state;
    struct config *c =
        load_with(some_variables, NODE "probe: {cold_interval: 9s, "
                                       "warm_interval: 8s}\n");
    check_text(c->node.zone, "z9");
    check_text(c->node.name, "a-1");
    check_u64(c->probe.cold_interval_ns, 7 * SEC);
    check_u64(c->probe.warm_interval_ns, 8 * SEC);
    check_true(c->probe.is_plaintext);
    config_free(c);

    char *errors = NULL;
    check_i64(config_load(NULL, some_variables, &c, &errors), 0);
    check_text(c->node.zone, "z9");
    check_true(c->warnings == NULL);
    config_free(c);
}

static void errors_of_variables_name_the_variable(void **state)
{
    (void)state;
    static const char text[] = NODE "log: {level: x}\n";
    check_errors_of(bad_variables, text, sizeof(text) - 1,
                    "t:2:14: log.level must be error, warn, info or debug, "
                    "not \"x\"\n"
                    "PROBER_NODE_ZONE: node.zone must be letters, digits, "
                    "'.', '_' or '-', not \"a b\"\n"
                    "PROBER_API_CONNECTIONS_MAX: api.connections_max must be "
                    "a whole number without quotes, not \"a b\"\n");
}

static void checks_across_keys_see_variables(void **state)
{
    (void)state;
    check_errors_of(key_variable, NODE, sizeof(NODE) - 1,
                    "t: tls.key needs tls.certificate beside it\n");
    config_free(load_with(key_variable, NODE "tls: {certificate: c}\n"));
}

static void warns_of_variables_that_name_no_key(void **state)
{
    (void)state;
    static char a[] = "PROBER_NODE_ZONE=a";
    static char b[] = "PROBER_NODE_ZON=a";
    static char c[] = "PATH=x";
    static char d[] = "PROBER_PORT=tcp://10.0.0.1:7443";
    static char e[] = "PROBER_API_SERVICE_HOST=10.0.0.1";
    static char f[] = "PROBER_PORT_7443_TCP_ADDR=10.0.0.1";
    static char g[] = "PROBER_API_SERVICE_PORT_HTTP=80";
    static char h[] = "PROBER_PROBE_PROTOCOLS=http1";
    static char i[] = "PROBER_x\x1b=1";
    static char j[] = "PROBER_NODE_ZONE_PORTS=1_PORT_";
    static char k[] = "PROBER_CONTROL=unix:/c.sock";
    static char l[] = "PROBER_TOKEN_FILE=t";
    static char m[] = "PROBER_TOKEN_FIL=t";
    char *environment[] = {a, b, c, d, e, f, g, h, i, j, k, l, m, NULL};
    struct config *config = load(NODE);
    check_i64(config_warn_environment(config, environment), 0);
    check_text(config->warnings,
               "PROBER_NODE_ZON: no configuration key has this variable\n"
               "PROBER_PROBE_PROTOCOLS: no configuration key has this "
               "variable\n"
               "PROBER_x?: no configuration key has this variable\n"
               "PROBER_NODE_ZONE_PORTS: no configuration key has this "
               "variable\n"
               "PROBER_TOKEN_FIL: no configuration key has this variable\n");
    config_free(config);
}

/* ---- gossip ------------------------------------------------------------ */

#define IN_THE_CLEAR                                                    \
    "gossip.keys_file is not set: gossip is in the clear, and whoever " \
    "reaches its port can join\n"

static char *label_variable(const char *name)
{
    static char label[] = "blue";
    return strcmp(name, "PROBER_GOSSIP_LABEL") == 0 ? label : NULL;
}

/* What Kubernetes sets for a service named prober-gossip. */
static char *service_variable(const char *name)
{
    static char port[] = "tcp://10.0.0.1:7946";
    return strcmp(name, "PROBER_GOSSIP_PORT") == 0 ? port : NULL;
}

static char *empty_gossip_variable(const char *name)
{
    static char empty[] = "";
    return strncmp(name, "PROBER_GOSSIP_", 14) == 0 ? empty : NULL;
}

static void gossip_runs_only_when_it_is_asked_for(void **state)
{
    (void)state;
    static const struct {
        char *(*getenv_fn)(const char *);
        const char *text;
        bool is_on;
    } cases[] = {
        {no_variable, NODE, false},
        {no_variable, NODE "gossip:\n", false},
        {no_variable, NODE "gossip: {}\n", true},
        {no_variable, NODE "gossip: {label: x}\n", true},
        {no_variable, NODE "peers: [{name: gossip, host: h}]\n", false},
        {label_variable, NODE, true},
        {label_variable, NODE "gossip:\n", true},
        {service_variable, NODE, false},
        {empty_gossip_variable, NODE, false},
        {empty_gossip_variable, NODE "gossip: {}\n", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct config *c = load_with(cases[i].getenv_fn, cases[i].text);
        check_u64(c->gossip.is_on, cases[i].is_on);
        if (cases[i].is_on)
            check_text(c->warnings, IN_THE_CLEAR);
        else
            check_true(c->warnings == NULL);
        config_free(c);
    }
}

static void reads_everything_about_gossip(void **state)
{
    (void)state;
    char text[ADDR_TEXT_SIZE];
    struct config *c =
        load(NODE "gossip: {advertise: 10.1.2.3, keys_file: k, "
                  "accept_plaintext: true, allow: [10.0.0.0/8, \"fd00::/8\", "
                  "127.0.0.1]}\n");
    check_text(addr_format(&c->gossip.advertise, text), "10.1.2.3:0");
    check_true(c->gossip.accepts_plaintext);
    check_u64(c->gossip.n_allow, 3);
    check_text(addr_format_ip(&c->gossip.allow[0].base, text), "10.0.0.0");
    check_u64(c->gossip.allow[0].prefix, 8);
    check_text(addr_format_ip(&c->gossip.allow[1].base, text), "fd00::");
    check_u64(c->gossip.allow[2].prefix, 32);
    check_text(c->warnings,
               "gossip.accept_plaintext is true: gossip in the clear is "
               "believed as well; take it out when all nodes have keys\n");
    config_free(c);

    c = load(NODE "gossip: {advertise: \"[::1]:9\", keys_file: k}\n");
    check_text(addr_format(&c->gossip.advertise, text), "[::1]:9");
    check_false(c->gossip.accepts_plaintext);
    check_true(c->warnings == NULL);
    config_free(c);
}

static void refuses_what_gossip_cannot_use(void **state)
{
    (void)state;
    check_errors(NODE "gossip: {advertise: 0.0.0.0, accept_plaintext: \"true\""
                      ", allow: [10.0.0.1/8, h, \"*.h\", 10.0.0.0/33]}\n",
                 "t:2:21: gossip.advertise must be an address at which others "
                 "reach this node, not \"0.0.0.0\"\n"
                 "t:2:48: gossip.accept_plaintext must be true or false "
                 "without quotes, not \"true\"\n"
                 "t:2:64: gossip.allow[0] must be a network (10.0.0.0/8, no "
                 "bits behind the prefix) or an address, not \"10.0.0.1/8\"\n"
                 "t:2:76: gossip.allow[1] must be a network (10.0.0.0/8, no "
                 "bits behind the prefix) or an address, not \"h\"\n"
                 "t:2:79: gossip.allow[2] must be a network (10.0.0.0/8, no "
                 "bits behind the prefix) or an address, not \"*.h\"\n"
                 "t:2:86: gossip.allow[3] must be a network (10.0.0.0/8, no "
                 "bits behind the prefix) or an address, not "
                 "\"10.0.0.0/33\"\n");
    check_errors(NODE "gossip: {advertise: \":7946\"}\n",
                 "t:2:21: gossip.advertise must be an IP address, with or "
                 "without a port, not \":7946\"\n");
    check_errors(NODE "gossip: {advertise: \"[::ffff:169.254.1.1]:1\"}\n",
                 "t:2:21: gossip.advertise must be an address at which others "
                 "reach this node, not \"[::ffff:169.254.1.1]:1\"\n");
    check_errors(NODE "gossip: {accept_plaintext: true}\n",
                 "t:2:28: gossip.accept_plaintext needs gossip.keys_file "
                 "beside it\n");
    char *text = repeat(NODE "gossip: {allow: [", "10.0.0.0/8, ", 65, "]}\n");
    check_errors(text, "t:2:17: gossip.allow has 65 entries, at most 64 are "
                       "allowed\n");
    free(text);
}

static void an_own_address_outside_of_allow_is_a_warning(void **state)
{
    (void)state;
    static const char outside[] =
        "gossip.allow does not contain this node's own address: nodes with "
        "the same list will not take it in\n";
    static const struct {
        const char *text, *warnings;
    } cases[] = {
        {"advertise: 10.1.2.3", NULL},
        {"advertise: 192.168.0.1", outside},
        {"listen: \"10.1.2.3:1\"", NULL},
        {"listen: \"192.168.0.1:1\"", outside},
        {"listen: \"192.168.0.1:1\", advertise: 10.1.2.3", NULL},
        {"listen: \":1\"", NULL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        char text[256];
        snprintf(text, sizeof(text),
                 NODE "gossip: {keys_file: k, allow: [10.0.0.0/8], %s}\n",
                 cases[i].text);
        struct config *c = load(text);
        check_text(c->warnings ? c->warnings : "",
                   cases[i].warnings ? cases[i].warnings : "");
        config_free(c);
    }
}

/* ---- files ------------------------------------------------------------- */

static void a_missing_file_is_a_system_error(void **state)
{
    (void)state;
    struct config *c = NULL;
    char *errors = NULL;
    check_i64(config_load("/nonexistent/x", no_variable, &c, &errors), ERR_SYS);
    check_text(errors, "/nonexistent/x: No such file or directory\n");
    check_true(c == NULL);
    free(errors);
}

static void a_file_one_byte_too_long_is_refused(void **state)
{
    (void)state;
    char path[] = "/tmp/test_config.XXXXXX";
    char want[128];
    char *text = repeat("", "#345678\n", CONFIG_BYTES_MAX / 8, "\n");
    int fd = mkstemp(path);
    check_true(fd >= 0);
    check_i64(write(fd, text, CONFIG_BYTES_MAX + 1), CONFIG_BYTES_MAX + 1);

    struct config *c = NULL;
    char *errors = NULL;
    check_i64(config_load(path, no_variable, &c, &errors), ERR_BAD);
    snprintf(want, sizeof(want), "%s: larger than 1048576 bytes\n", path);
    check_text(errors, want);
    free(errors);

    check_i64(ftruncate(fd, CONFIG_BYTES_MAX), 0);
    check_i64(config_load(path, no_variable, &c, &errors), 0);
    config_free(c);
    close(fd);
    unlink(path);
    free(text);
}

static void the_packaged_file_is_the_defaults(void **state)
{
    (void)state;
    char *text = read_source("packaging/prober.yaml");
    struct config *packaged = load(text);
    struct config *plain = load("");
    free(packaged->warnings);
    free(plain->warnings);
    packaged->warnings = plain->warnings = NULL;
    assert_memory_equal(packaged, plain, sizeof(*plain));
    config_free(packaged);
    config_free(plain);
    free(text);
}

static void every_key_is_documented_with_its_variable(void **state)
{
    (void)state;
    char *text = read_source("docs/configuration.md");
    char path[CONFIG_KEY_SIZE];
    char name[CONFIG_KEY_SIZE + 8];
    char quoted[CONFIG_KEY_SIZE + 16];
    size_t n = 0;
    for (; config_key(n, path); n++) {
        config_bind_variable(path, name, sizeof(name));
        snprintf(quoted, sizeof(quoted), "`%s`", path);
        if (!strstr(text, quoted) || !strstr(text, name))
            print_error("%s is not documented\n", path);
        check_true(strstr(text, quoted) && strstr(text, name));
    }
    check_u64(n, 45);
    free(text);
}

/* ---- the control port -------------------------------------------------- */

#define TLS_YES "tls: {certificate: c, key: k}\n"

static void reads_all_of_control(void **state)
{
    (void)state;
    struct config *c = load(
        NODE "gossip: {}\n"
             "control:\n"
             "  listen: 10.0.0.5:7071\n"
             "  socket_mode: 0660\n"
             "  socket_group: ops\n"
             "  tokens_file: t\n"
             "  client_ca: ca\n"
             "  audit_file: a\n"
             "  users: [{user: bob, role: viewer}, {role: admin, group: 12}]\n"
             "  certificates: [{name: \"spiffe://x/ci\", role: runner},\n"
             "                 {name: a.example.org, role: prober}]\n"
             "  hosts: [p.example.org, 10.0.0.5]\n"
             "  allow: [10.0.0.0/8]\n"
             "  ports: [1, 8443, 65535]\n"
             "  dangerously_allow: [127.0.0.1, \"FD00:EC2:0::254\"]\n"
             "  run_for_others: false\n"
             "  requests_per_minute: 60\n"
             "  requests_max: 5\n"
             "  in_flight_max: 6\n"
             "  target_per_s: 7\n" TLS_YES);
    check_true(c->control.is_set);
    check_text(c->control.listen, "10.0.0.5:7071");
    check_u64(c->control.socket_mode, 0660);
    check_text(c->control.socket_group, "ops");
    check_false(c->control.is_insecure);
    check_text(c->control.tokens_file, "t");
    check_text(c->control.client_ca, "ca");
    check_text(c->control.audit_file, "a");
    check_u64(c->control.n_users, 2);
    check_false(c->control.users[0].is_group);
    check_text(c->control.users[0].name, "bob");
    check_u64(c->control.users[0].role, 1);
    check_true(c->control.users[1].is_group);
    check_text(c->control.users[1].name, "12");
    check_u64(c->control.users[1].role, 4);
    check_u64(c->control.n_certificates, 2);
    check_text(c->control.certificates[0].name, "spiffe://x/ci");
    check_u64(c->control.certificates[0].role, 2);
    check_u64(c->control.certificates[1].role, 3);
    check_u64(c->control.n_hosts, 2);
    check_text(c->control.hosts[1], "10.0.0.5");
    check_u64(c->control.n_ports, 3);
    check_u64(c->control.ports[0], 1);
    check_u64(c->control.ports[2], 65535);
    check_u64(c->control.n_dangerous, 2);
    check_text(c->control.dangerous[0], "127.0.0.1");
    check_text(c->control.dangerous[1], "fd00:ec2::254");
    check_false(c->control.runs_for_others);
    check_u64(c->control.requests_per_minute, 60);
    check_u64(c->control.requests_max, 5);
    check_u64(c->control.in_flight_max, 6);
    check_u64(c->control.target_per_s, 7);
    config_free(c);
}

static char *group_variable(const char *name)
{
    static char group[] = "ops";
    return strcmp(name, "PROBER_CONTROL_SOCKET_GROUP") ? NULL : group;
}

/* Who says who may connect has asked for a socket as well. */
static void the_socket_is_asked_for_by_what_is_said_of_it(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        char *(*getenv_fn)(const char *);
        bool is_set;
    } cases[] = {
        {NODE, no_variable, false},
        {NODE "control: {requests_max: 5}\n", no_variable, false},
        {NODE "control: {listen: \"unix:/run/prober/control.sock\"}\n",
         no_variable, true},
        {NODE "control: {socket_mode: 0660}\n", no_variable, true},
        {NODE "control: {socket_mode: 0660, socket_group: ops}\n", no_variable,
         true},
        {NODE "control: {socket_mode: 0660}\n", group_variable, true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct config *c = load_with(cases[i].getenv_fn, cases[i].text);
        check_true(c->control.is_set == cases[i].is_set);
        config_free(c);
    }
}

static void control_has_safe_defaults(void **state)
{
    (void)state;
    struct config *c = load(NODE "control: {allow: [h]}\n");
    check_false(c->control.is_set);
    check_text(c->control.listen, "unix:/run/prober/control.sock");
    check_u64(c->control.socket_mode, 0600);
    check_text(c->control.socket_group, "");
    check_false(c->control.is_insecure);
    check_u64(c->control.n_users + c->control.n_certificates, 0);
    check_u64(c->control.n_ports + c->control.n_dangerous, 0);
    check_true(c->control.runs_for_others);
    check_u64(c->control.requests_per_minute, 10);
    check_u64(c->control.requests_max, 128);
    check_u64(c->control.in_flight_max, 8);
    check_u64(c->control.target_per_s, 10);
    config_free(c);
    c = load(NODE "control: {listen: off}\n");
    check_true(c->control.is_set);
    check_text(c->control.listen, "off");
    config_free(c);
    c = load(NODE "control: {listen: \"unix:/run/prober/control.sock\"}\n");
    check_true(c->control.is_set); /* said, though it is the default */
    config_free(c);
}

/* Of every combination, exactly those that the table of the header allows. */
static void listens_only_where_it_is_safe(void **state)
{
    (void)state;
    static const char *const places[] = {"unix:/c", "off",        "127.0.0.1:9",
                                         "[::1]:9", "10.0.0.5:9", "0.0.0.0:9",
                                         "[::]:9"};
    for (size_t i = 0; i < 7; i++) {
        bool is_tcp = i >= 2;
        bool is_loopback = i == 2 || i == 3;
        for (unsigned bits = 0; bits < 16; bits++) {
            bool insecure = bits & 1;
            bool tokens = bits & 2;
            bool ca = bits & 4;
            bool tls = bits & 8;
            char text[512];
            snprintf(text, sizeof(text),
                     NODE "control: {listen: \"%s\", insecure: %s%s%s}\n%s",
                     places[i], insecure ? "true" : "false",
                     tokens ? ", tokens_file: t" : "",
                     ca ? ", client_ca: c" : "", tls ? TLS_YES : "");
            bool is_good = i == 0    ? true
                           : !is_tcp ? !insecure
                           : is_loopback
                               ? (tls || insecure) && (tokens || (tls && ca))
                               : tls && !insecure && (tokens || ca);
            struct config *c = NULL;
            char *errors = NULL;
            int err =
                config_parse("t", text, strlen(text), no_variable, &c, &errors);
            if ((err == 0) != is_good)
                print_error("%s%s", text, errors ? errors : "");
            check_true((err == 0) == is_good);
            config_free(c);
            free(errors);
        }
    }
}

static void says_why_control_may_not_listen_there(void **state)
{
    (void)state;
    check_errors(
        NODE "control: {listen: \"10.0.0.5:9\", insecure: true}\n",
        "t:2:19: control.listen off loopback needs tls.certificate and "
        "tls.key: tokens would cross the network in the clear\n"
        "t:2:19: control.listen off loopback needs control.tokens_file or "
        "control.client_ca: nobody could show who he is\n"
        "t:2:43: control.insecure is refused off loopback: tokens would cross "
        "the network in the clear\n");
    check_errors(
        NODE "control: {listen: \"127.0.0.1:9\"}\n",
        "t:2:19: control.listen on TCP needs tls.certificate and tls.key, or "
        "control.insecure: true, since tokens are sent in the clear then\n"
        "t:2:19: control.listen on TCP needs control.tokens_file, or TLS and "
        "control.client_ca: every user of this host reaches it\n");
    check_errors(NODE "control: {listen: off, insecure: true}\n",
                 "t:2:34: control.insecure has no effect with "
                 "control.listen: off\n");
    check_errors(
        NODE "control: {certificates: [{name: a, role: admin}], "
             "socket_group: g}\n",
        "t:2:25: control.certificates needs control.client_ca, against which "
        "they are verified\n"
        "t:2:65: control.socket_group has no effect without "
        "control.socket_mode: 0660\n");
    check_errors(NODE
                 "probe: {listen: \":9\"}\napi: {listen: \"127.0.0.1:9\"}\n"
                 "gossip: {listen: \"127.0.0.1:9\"}\n"
                 "control: {listen: \"127.0.0.1:9\", insecure: true, "
                 "tokens_file: t}\n",
                 "t:3:15: api.listen is the same as probe.listen\n"
                 "t:4:18: gossip.listen is the same as probe.listen\n"
                 "t:4:18: gossip.listen is the same as api.listen\n"
                 "t:5:19: control.listen is the same as probe.listen\n"
                 "t:5:19: control.listen is the same as api.listen\n"
                 "t:5:19: control.listen is the same as gossip.listen\n");
}

static void refuses_bad_values_of_control(void **state)
{
    (void)state;
    check_errors(NODE "control:\n"
                      "  socket_mode: 0666\n"
                      "  ports: [0, 65536, \"80\", 080, http]\n"
                      "  dangerously_allow: [10.0.0.0/8, localhost, "
                      "\"fe80::1%eth0\", 127.1]\n"
                      "  hosts: [\"a b\", \"a:1\"]\n"
                      "  requests_per_minute: 0\n"
                      "  in_flight_max: 1025\n",
                 "t:3:16: control.socket_mode must be 0600 or 0660, not "
                 "\"0666\"\n"
                 "t:4:11: control.ports[0] must be a port, 1 to 65535 without "
                 "quotes, not \"0\"\n"
                 "t:4:14: control.ports[1] must be a port, 1 to 65535 without "
                 "quotes, not \"65536\"\n"
                 "t:4:21: control.ports[2] must be a port, 1 to 65535 without "
                 "quotes, not \"80\"\n"
                 "t:4:27: control.ports[3] must be a port, 1 to 65535 without "
                 "quotes, not \"080\"\n"
                 "t:4:32: control.ports[4] must be a port, 1 to 65535 without "
                 "quotes, not \"http\"\n"
                 "t:5:23: control.dangerously_allow[0] must be a single "
                 "address: no network, no name, not \"10.0.0.0/8\"\n"
                 "t:5:35: control.dangerously_allow[1] must be a single "
                 "address: no network, no name, not \"localhost\"\n"
                 "t:5:46: control.dangerously_allow[2] must be a single "
                 "address: no network, no name, not \"fe80::1%eth0\"\n"
                 "t:5:62: control.dangerously_allow[3] must be a single "
                 "address: no network, no name, not \"127.1\"\n"
                 "t:6:11: control.hosts[0] must be a host name or address "
                 "without a port, not \"a b\"\n"
                 "t:6:18: control.hosts[1] must be a host name or address "
                 "without a port, not \"a:1\"\n"
                 "t:7:24: control.requests_per_minute is 0, the least allowed "
                 "is 1\n"
                 "t:8:18: control.in_flight_max is 1025, the most allowed is "
                 "1024\n");
    check_errors(NODE "control: {ports: []}\n",
                 "t:2:18: control.ports must name at least one port\n");
}

static void refuses_bad_people(void **state)
{
    (void)state;
    check_errors(NODE "control:\n"
                      "  client_ca: c\n"
                      "  users:\n"
                      "  - {user: a, group: b, role: admin}\n"
                      "  - {role: admin}\n"
                      "  - {user: a}\n"
                      "  - {user: \"a b\", role: root}\n"
                      "  - bob\n"
                      "  certificates:\n"
                      "  - {name: \"a b\", role: admin}\n"
                      "  - {role: admin, user: x}\n",
                 "t:5:5: control.users[0] needs either a user or a group\n"
                 "t:6:5: control.users[1] needs either a user or a group\n"
                 "t:7:5: control.users[2] needs a role\n"
                 "t:8:12: control.users[3].user must be letters, digits, '.', "
                 "'_' or '-', not \"a b\"\n"
                 "t:8:25: control.users[3].role must be viewer, runner, prober "
                 "or admin, not \"root\"\n"
                 "t:9:5: control.users[4] must be a mapping, not a single "
                 "value\n"
                 "t:11:12: control.certificates[0].name must be a name as it "
                 "stands in a certificate, at most 122 printable characters "
                 "without blanks, not \"a b\"\n"
                 "t:12:5: control.certificates[1] needs a name\n"
                 "t:12:19: unknown key control.certificates[1].user\n");
}

static char *control_variables(const char *name)
{
    static char values[][2][32] = {
        {"PROBER_CONTROL_LISTEN", "127.0.0.1:9"},
        {"PROBER_CONTROL_INSECURE", "true"},
        {"PROBER_CONTROL_SOCKET_MODE", "0660"},
        {"PROBER_CONTROL_TOKENS_FILE", "tokens"},
    };
    for (size_t i = 0; i < 4; i++) {
        if (strcmp(name, values[i][0]) == 0)
            return values[i][1];
    }
    return NULL;
}

static char *unsafe_variables(const char *name)
{
    static char listen[] = "10.0.0.5:9";
    return strcmp(name, "PROBER_CONTROL_LISTEN") == 0 ? listen : NULL;
}

static void variables_reach_control_and_its_checks(void **state)
{
    (void)state;
    struct config *c = NULL;
    char *errors = NULL;
    check_true(config_parse("t", NODE, strlen(NODE), control_variables, &c,
                            &errors) == 0);
    check_true(c->control.is_set);
    check_text(c->control.listen, "127.0.0.1:9");
    check_true(c->control.is_insecure);
    check_u64(c->control.socket_mode, 0660);
    config_free(c);
    check_true(config_parse("t", NODE, strlen(NODE), unsafe_variables, &c,
                            &errors) == ERR_BAD);
    check_true(strstr(errors, "t: control.listen off loopback needs "
                              "tls.certificate"));
    free(errors);
}

/* ---- properties -------------------------------------------------------- */

/* Cut anywhere, a file is read or complained about, never both or neither. */
static void survives_truncation_and_flipped_bits(void **state)
{
    (void)state;
    char *text = read_source("test/fuzz/corpus/config/example.yaml");
    size_t len = strlen(text);
    for (size_t i = 0; i < len * 9; i++) {
        char *copy = malloc(len);
        size_t n = i < len ? i : len;
        struct config *c = NULL;
        char *errors = NULL;
        memcpy(copy, text, len);
        if (i >= len)
            copy[(i - len) / 8] ^= (char)(1 << (i - len) % 8);
        /* Bits of every eighth byte are enough to be quick. */
        if (i >= len && (i - len) / 8 % 4)
            n = 0;
        int err = config_parse("t", copy, n, no_variable, &c, &errors);
        check_true(err == 0 || err == ERR_BAD);
        check_true((err == 0) == (c != NULL));
        check_true((err == 0) == (errors == NULL));
        config_free(c);
        free(errors);
        free(copy);
    }
    free(text);
}

static void complaints_come_sorted_whatever_their_order(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    struct config_errors *e = calloc(1, sizeof(*e));
    for (int round = 0; round < 200; round++) {
        *e = (struct config_errors){.file = "f"};
        size_t n = 1 + rng_below(&rng, 60);
        for (size_t i = 0; i < n; i++)
            config_errors_add(e, (unsigned)rng_below(&rng, 9) + 1,
                              (unsigned)rng_below(&rng, 9) + 1, "x");
        char *text = config_errors_text(e);
        unsigned before = 0;
        char *line = text;
        for (size_t i = 0; i < n; i++) {
            unsigned row = 0;
            unsigned column = 0;
            check_i64(sscanf(line, "f:%u:%u: x\n", &row, &column), 2);
            check_true(row * 10 + column >= before);
            before = row * 10 + column;
            line = strchr(line, '\n') + 1;
        }
        check_text(line, "");
        free(text);
    }
    free(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_durations_of_one_unit),
        cmocka_unit_test(refuses_everything_else_as_duration),
        cmocka_unit_test(reads_sizes_in_powers_of_two),
        cmocka_unit_test(an_empty_file_gives_the_defaults),
        cmocka_unit_test(reads_the_example_whole),
        cmocka_unit_test(peers_get_ports_and_defaults),
        cmocka_unit_test(targets_take_their_protocol_from_the_url),
        cmocka_unit_test(reads_fingerprints_as_openssl_prints_them),
        cmocka_unit_test(listens_on_short_forms_and_port_zero),
        cmocka_unit_test(accepts_both_ends_of_each_range),
        cmocka_unit_test(a_zone_that_is_not_set_is_a_warning),
        cmocka_unit_test(says_everything_at_once_in_order_of_place),
        cmocka_unit_test(refuses_the_wrong_kind_of_value),
        cmocka_unit_test(refuses_bad_addresses),
        cmocka_unit_test(refuses_incomplete_or_contradicting_entries),
        cmocka_unit_test(refuses_near_misses_of_single_values),
        cmocka_unit_test(a_unix_socket_path_must_fit_the_kernel),
        cmocka_unit_test(lists_given_twice_do_not_mix),
        cmocka_unit_test(does_not_guess_utf16),
        cmocka_unit_test(names_are_unique_across_peers_targets_and_node),
        cmocka_unit_test(
            a_certificate_needs_its_key_and_the_key_its_certificate),
        cmocka_unit_test(listen_addresses_must_not_meet),
        cmocka_unit_test(refuses_yaml_that_a_configuration_does_not_need),
        cmocka_unit_test(says_where_the_syntax_breaks),
        cmocka_unit_test(hostile_text_does_not_reach_the_terminal),
        cmocka_unit_test(keeps_a_hundred_complaints_and_counts_the_rest),
        cmocka_unit_test(bounds_size_depth_and_number),
        cmocka_unit_test(names_are_bounded_at_128_bytes),
        cmocka_unit_test(loads_two_thousand_peers_and_targets),
        cmocka_unit_test(suggests_only_what_is_near),
        cmocka_unit_test(variables_override_the_file_and_empty_ones_do_not),
        cmocka_unit_test(errors_of_variables_name_the_variable),
        cmocka_unit_test(checks_across_keys_see_variables),
        cmocka_unit_test(gossip_runs_only_when_it_is_asked_for),
        cmocka_unit_test(reads_everything_about_gossip),
        cmocka_unit_test(refuses_what_gossip_cannot_use),
        cmocka_unit_test(an_own_address_outside_of_allow_is_a_warning),
        cmocka_unit_test(warns_of_variables_that_name_no_key),
        cmocka_unit_test(a_missing_file_is_a_system_error),
        cmocka_unit_test(a_file_one_byte_too_long_is_refused),
        cmocka_unit_test(the_packaged_file_is_the_defaults),
        cmocka_unit_test(every_key_is_documented_with_its_variable),
        cmocka_unit_test(reads_all_of_control),
        cmocka_unit_test(the_socket_is_asked_for_by_what_is_said_of_it),
        cmocka_unit_test(control_has_safe_defaults),
        cmocka_unit_test(listens_only_where_it_is_safe),
        cmocka_unit_test(says_why_control_may_not_listen_there),
        cmocka_unit_test(refuses_bad_values_of_control),
        cmocka_unit_test(refuses_bad_people),
        cmocka_unit_test(variables_reach_control_and_its_checks),
        cmocka_unit_test(survives_truncation_and_flipped_bits),
        cmocka_unit_test(complaints_come_sorted_whatever_their_order),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
