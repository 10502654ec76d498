/* Each key has a verdict: another value is either carried out by a reload or
 * named as needing a restart. */
#include "prober/reload.h"

#include <stdio.h>
#include <string.h>

#include "prober/config_bind.h"
#include "test/check.h"

/* Enough of everything that any key can be changed on top of it. */
static const char base[] =
    "node: {name: a-1, zone: a, region: r}\n"
    "gossip: {listen: '10.0.0.1:7946', join: ['10.0.0.2'], allow: "
    "['10.0.0.0/8'], keys_file: k, label: l}\n"
    "api: {listen: '10.0.0.1:7070'}\n"
    "control: {listen: 'unix:/run/prober/c.sock', tokens_file: t, client_ca: "
    "ca, allow: ['10.0.0.0/8'], ports: [80], users: [{user: '5', role: "
    "viewer}], hosts: [h]}\n"
    "tls: {certificate: c, key: k, ca: a}\n"
    "dns: {servers: ['10.0.0.3:53']}\n"
    "peers: [{name: p, zone: a, address: '10.0.0.4:7443'}]\n"
    "targets: [{name: t, url: 'https://t.example/', zones: [a]}]\n";

/* What a variable says in the case at hand. */
static struct {
    const char *name, *value;
} variable;

static char *one_variable(const char *name)
{
    static char value[64];
    if (!variable.name || strcmp(name, variable.name) != 0)
        return NULL;
    snprintf(value, sizeof(value), "%s", variable.value);
    return value;
}

static struct config *load(const char *text)
{
    struct config *c = NULL;
    char *errors = NULL;
    if (config_parse("t", text, strlen(text), one_variable, &c, &errors))
        print_error("%s", errors);
    free(errors);
    return c;
}

#define LINES_SIZE 1024

struct verdict {
    unsigned parts;
    char fixed[LINES_SIZE], changed[LINES_SIZE]; /* the lines */
};

static void verdict_of(const struct config *from, const struct config *to,
                       struct verdict *v)
{
    struct wr fixed, changed;
    wr_init_fixed(&fixed, v->fixed, LINES_SIZE);
    wr_init_fixed(&changed, v->changed, LINES_SIZE);
    v->parts = reload_compare(from, to, &fixed, &changed);
    wr_u8(&fixed, '\0');
    wr_u8(&changed, '\0');
    check_i64(wr_err(&fixed), 0);
    check_i64(wr_err(&changed), 0);
}

static unsigned compare(const char *from_text, const char *to_text,
                        struct verdict *v)
{
    struct config *from = load(from_text), *to = load(to_text);
    check_true(from && to);
    verdict_of(from, to, v);
    config_free(from);
    config_free(to);
    return v->parts;
}

static void the_same_file_changes_nothing(void **state)
{
    (void)state;
    struct verdict v;
    check_u64(compare(base, base, &v), 0);
    check_text(v.fixed, "");
    check_text(v.changed, "");
}

/* ---- every key that a variable can override ---- */

#define RESTART 0u

static const struct {
    const char *key, *value;
    unsigned parts; /* RESTART: named */
} scalars[] = {
    {"node.name", "b-1", RESTART},
    {"node.zone", "b", RESTART},
    {"node.region", "s", RESTART},
    {"node.zone_file", "/s", RESTART},
    {"node.region_file", "/s", RESTART},
    {"probe.listen", "10.0.0.1:7444", RESTART},
    {"probe.host", "b.example", RELOAD_GOSSIP},
    {"probe.cold_interval", "6s", RELOAD_TARGETS},
    {"probe.warm_interval", "2s", RELOAD_TARGETS},
    {"probe.timeout", "4s", RELOAD_TARGETS},
    {"probe.tls", "false", RESTART},
    {"probe.ip", "6", RELOAD_TARGETS},
    {"probe.in_flight_max", "100", RESTART},
    {"probe.in_flight_per_target_max", "9", RELOAD_TARGETS},
    {"probe.connections_max", "100", RESTART},
    {"probe.idle_timeout", "70s", RELOAD_TARGETS},
    {"probe.response_delay", "1ms", RELOAD_TARGETS},
    {"gossip.listen", "10.0.0.1:7947", RESTART},
    {"gossip.advertise", "10.0.0.9:7946", RESTART},
    {"gossip.keys_file", "k2", RELOAD_GOSSIP},
    {"gossip.label", "m", RESTART},
    {"gossip.accept_plaintext", "true", RELOAD_GOSSIP},
    {"topology.pairs", "4", RELOAD_TARGETS},
    {"topology.full_mesh_max", "13", RELOAD_TARGETS},
    {"api.listen", "10.0.0.1:7071", RESTART},
    {"api.connections_max", "100", RELOAD_API},
    {"control.listen", "unix:/run/prober/d.sock", RESTART},
    {"control.socket_mode", "0660", RESTART},
    {"control.tokens_file", "t2", RELOAD_CONTROL},
    {"control.client_ca", "ca2", RELOAD_CONTROL},
    {"control.audit_file", "audit", RELOAD_CONTROL},
    {"control.run_for_others", "false", RELOAD_CONTROL},
    {"control.requests_per_minute", "11", RELOAD_CONTROL},
    {"control.requests_max", "11", RELOAD_CONTROL},
    {"control.in_flight_max", "11", RELOAD_CONTROL},
    {"control.target_per_s", "11", RELOAD_CONTROL},
    {"tls.certificate", "c2", RELOAD_TLS},
    {"tls.key", "k2", RELOAD_TLS},
    {"tls.ca", "a2", RELOAD_TLS},
    {"history.retention", "6m", RELOAD_HISTORY},
    {"history.memory", "33MiB", RELOAD_HISTORY},
    {"log.level", "debug", RELOAD_LOG},
    {"log.format", "json", RELOAD_LOG},
};

/* Cannot be changed alone: see goes_together(). */
static const char *const pairs[] = {"control.socket_group", "control.insecure"};

static size_t find(const char *key)
{
    size_t i = 0;
    while (i < sizeof(scalars) / sizeof(scalars[0]) &&
           strcmp(scalars[i].key, key) != 0)
        i++;
    return i;
}

static bool is_pair(const char *key)
{
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        if (!strcmp(pairs[i], key))
            return true;
    }
    return false;
}

static void check_scalar(size_t i)
{
    char name[128], want[128];
    struct verdict v;
    config_bind_variable(scalars[i].key, name, sizeof(name));
    snprintf(want, sizeof(want), "%s\n", scalars[i].key);
    struct config *from = load(base);
    variable.name = name;
    variable.value = scalars[i].value;
    struct config *to = load(base);
    variable.name = NULL;
    check_true(from && to);
    verdict_of(from, to, &v);
    if (v.parts != scalars[i].parts)
        print_error("%s: parts %u\n", scalars[i].key, v.parts);
    check_u64(v.parts, scalars[i].parts);
    check_text(v.fixed, v.parts == RESTART ? want : "");
    check_text(v.changed, v.parts == RESTART ? "" : want);
    config_free(from);
    config_free(to);
}

static void each_key_with_a_variable_has_a_verdict(void **state)
{
    (void)state;
    char key[CONFIG_KEY_SIZE];
    size_t n = 0;
    for (; config_key(n, key); n++) {
        size_t i = find(key);
        if (is_pair(key))
            continue;
        if (i == sizeof(scalars) / sizeof(scalars[0]))
            fail_msg("%s has no case here", key);
        check_scalar(i);
    }
    check_u64(n, sizeof(scalars) / sizeof(scalars[0]) +
                     sizeof(pairs) / sizeof(pairs[0]));
}

/* ---- those in lists, and those that go together ---- */

static void check_change(const char *from, const char *to, unsigned parts,
                         const char *fixed)
{
    struct verdict got;
    check_u64(compare(from, to, &got), parts);
    check_text(got.fixed, fixed);
    check_true(!got.changed[0] == !parts);     /* what is done has a name */
    check_u64(compare(to, from, &got), parts); /* and back */
    check_text(got.fixed, fixed);
    check_true(!got.changed[0] == !parts);
}

#define NODE "node: {name: a-1, zone: a}\n"

static void each_list_has_a_verdict(void **state)
{
    (void)state;
    check_change(NODE, NODE "probe: {protocols: [grpc]}",
                 RELOAD_TARGETS | RELOAD_GOSSIP, "");
    check_change(NODE "gossip: {join: [a]}", NODE "gossip: {join: [b]}",
                 RELOAD_GOSSIP, "");
    check_change(NODE "gossip: {join: [a]}", NODE "gossip: {join: [a, b]}",
                 RELOAD_GOSSIP, "");
    check_change(NODE "gossip: {allow: ['10.0.0.0/8']}",
                 NODE "gossip: {allow: ['10.0.0.0/9']}",
                 RELOAD_GOSSIP | RELOAD_CONTROL, "");
    check_change(NODE "control: {users: [{user: '5', role: viewer}]}",
                 NODE "control: {users: [{user: '5', role: admin}]}",
                 RELOAD_CONTROL, "");
    check_change(NODE "control: {users: [{user: '5', role: viewer}]}",
                 NODE "control: {users: [{group: '5', role: viewer}]}",
                 RELOAD_CONTROL, "");
    check_change(
        NODE "control: {client_ca: c, certificates: [{name: x, role: viewer}]}",
        NODE "control: {client_ca: c, certificates: [{name: y, role: viewer}]}",
        RELOAD_CONTROL, "");
    check_change(NODE "control: {hosts: [a]}", NODE "control: {hosts: [b]}",
                 RELOAD_CONTROL, "");
    check_change(NODE "control: {allow: [a.example]}",
                 NODE "control: {allow: ['*.a.example']}", RELOAD_CONTROL, "");
    check_change(NODE "control: {ports: [80]}", NODE "control: {ports: [81]}",
                 RELOAD_CONTROL, "");
    check_change(NODE "control: {dangerously_allow: ['127.0.0.1']}", NODE,
                 RELOAD_CONTROL, "");
    check_change(NODE "dns: {servers: ['10.0.0.1']}",
                 NODE "dns: {servers: ['10.0.0.2']}",
                 RELOAD_DNS | RELOAD_TARGETS, "");
    check_change(NODE "dns: {servers: ['10.0.0.1']}", NODE,
                 RELOAD_DNS | RELOAD_TARGETS, "");
}

#define PEER(more)                                                             \
    NODE "peers: [{name: p, zone: b, region: r, address: '10.0.0.1:7443'" more \
         "}]"

static void a_peer_is_compared_by_all_that_it_has(void **state)
{
    (void)state;
    struct verdict got;
    const char *const others[] = {
        NODE "peers: [{name: q, zone: b, region: r, address: '10.0.0.1:7443'}]",
        NODE "peers: [{name: p, zone: c, region: r, address: '10.0.0.1:7443'}]",
        NODE "peers: [{name: p, zone: b, region: s, address: '10.0.0.1:7443'}]",
        NODE "peers: [{name: p, zone: b, region: r, address: '10.0.0.2:7443'}]",
        NODE "peers: [{name: p, zone: b, region: r, address: '10.0.0.1:7444'}]",
        PEER(", host: h"),
        PEER(", tls: false"),
        PEER(", fingerprint: "
             "'sha256:"
             "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
             "'"),
        NODE,
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        check_change(PEER(""), others[i], RELOAD_TARGETS, "");
    check_u64(compare(PEER(""), PEER(""), &got), 0);
}

#define TARGET(more) \
    NODE "targets: [{name: t, url: 'https://t.example/x'" more "}]"

static void a_target_is_compared_by_all_that_it_has(void **state)
{
    (void)state;
    struct verdict got;
    const char *const others[] = {
        NODE "targets: [{name: u, url: 'https://t.example/x'}]",
        NODE "targets: [{name: t, url: 'http://t.example/x'}]",
        NODE "targets: [{name: t, url: 'https://u.example/x'}]",
        NODE "targets: [{name: t, url: 'https://t.example/y'}]",
        NODE "targets: [{name: t, url: 'https://t.example:444/x'}]",
        TARGET(", protocol: both"),
        TARGET(", protocol: both, service: s"),
        TARGET(", zone: z"),
        TARGET(", region: z"),
        TARGET(", zones: [a]"),
        TARGET(", fingerprint: "
               "'sha256:"
               "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1"
               "f'"),
        NODE,
    };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        check_change(TARGET(""), others[i], RELOAD_TARGETS, "");
    check_change(TARGET(", zones: [a]"), TARGET(", zones: [b]"), RELOAD_TARGETS,
                 "");
    check_u64(compare(TARGET(", zones: [a]"), TARGET(", zones: [a]"), &got), 0);
}

static void some_go_together(void **state)
{
    (void)state;
    struct verdict got;
    /* A mesh cannot be joined, nor sealed, while running. */
    (void)compare(NODE, NODE "gossip: {}", &got);
    check_text(got.fixed, "gossip\n");
    check_change(NODE "gossip: {}", NODE "gossip: {keys_file: k}",
                 RELOAD_GOSSIP, "gossip.keys_file\n");
    (void)compare(NODE, NODE "control: {socket_mode: '0660', socket_group: g}",
                  &got);
    check_text(got.fixed, "control.socket_mode\ncontrol.socket_group\n");
    (void)compare(NODE,
                  NODE "control: {listen: '127.0.0.1:7071', insecure: true, "
                       "tokens_file: t}",
                  &got);
    check_text(got.fixed, "control.listen\ncontrol.insecure\n");
}

/* The section of docs/configuration.md on what a reload applies. */
static char *read_section(void)
{
    const char *root = getenv("PROBER_SOURCE_ROOT");
    char path[512];
    static char text[1 << 17];
    snprintf(path, sizeof(path), "%s/docs/configuration.md", root ? root : ".");
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("cannot read %s", path);
    text[fread(text, 1, sizeof(text) - 1, f)] = '\0';
    fclose(f);
    char *from = strstr(text, "\n## What a reload applies\n");
    check_true(from != NULL);
    char *to = strstr(from, "\n## Keys\n");
    check_true(to != NULL);
    *to = '\0';
    return from;
}

static void the_document_lists_what_needs_a_restart(void **state)
{
    (void)state;
    const char *section = read_section();
    for (size_t i = 0; i < sizeof(scalars) / sizeof(scalars[0]); i++) {
        char quoted[160];
        snprintf(quoted, sizeof(quoted), "`%s`", scalars[i].key);
        bool is_listed = strstr(section, quoted) != NULL;
        /* Of the keys file it is the case of none that needs one; the limit of
         * connections is explained. */
        if (!strcmp(scalars[i].key, "gossip.keys_file") ||
            !strcmp(scalars[i].key, "api.connections_max"))
            continue;
        if (is_listed != (scalars[i].parts == RESTART))
            fail_msg("docs/configuration.md: %s", scalars[i].key);
    }
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        check_true(strstr(section, pairs[i]) != NULL);
}

static void parts_have_names(void **state)
{
    (void)state;
    char text[RELOAD_PARTS_SIZE];
    reload_parts_text(0, text);
    check_text(text, "none");
    reload_parts_text(RELOAD_TLS | RELOAD_API, text);
    check_text(text, "tls,api");
    reload_parts_text(255, text);
    check_text(text, "targets,tls,gossip,control,dns,log,history,api");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_file_changes_nothing),
        cmocka_unit_test(each_key_with_a_variable_has_a_verdict),
        cmocka_unit_test(each_list_has_a_verdict),
        cmocka_unit_test(a_peer_is_compared_by_all_that_it_has),
        cmocka_unit_test(a_target_is_compared_by_all_that_it_has),
        cmocka_unit_test(some_go_together),
        cmocka_unit_test(the_document_lists_what_needs_a_restart),
        cmocka_unit_test(parts_have_names),
    };
    return cmocka_run_group_tests_name("reload", tests, NULL, NULL);
}
