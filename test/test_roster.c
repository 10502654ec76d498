/* Who is probed, with the real table of members: by hand, then histories. */
#include "prober/roster.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define SEC UINT64_C(1000000000)
#define MIN (60 * SEC)

static struct config_peer peers[] = {
    {.name = "p-1",
     .zone = "z1",
     .region = "r1",
     .host = "p-1.test",
     .port = 7443,
     .has_fingerprint = true,
     .fingerprint = {1, 2, 3}},
    {.name = "p-2",
     .zone = "unknown",
     .region = "r1",
     .port = 81,
     .address = {.family = ADDR_V4, .port = 81, .ip = {10, 9, 0, 2}},
     .is_plaintext = true},
};

static char only_a[1][CONFIG_NAME_MAX + 1] = {"a"};
static char only_b[1][CONFIG_NAME_MAX + 1] = {"b"};
static struct config_target targets[] = {
    {.name = "t-1",
     .zone = "external",
     .region = "external",
     .url = {.scheme = URL_GRPCS,
             .is_tls = true,
             .host = "t.test",
             .port = 443,
             .path = "/"},
     .protocols = 2,
     .service = "svc",
     .n_zones = 1,
     .zones = only_a},
    {.name = "t-2",
     .zone = "external",
     .region = "external",
     .url = {.scheme = URL_HTTPS,
             .is_tls = true,
             .host = "t.test",
             .port = 443,
             .path = "/x"},
     .protocols = 1,
     .n_zones = 1,
     .zones = only_b},
};

static const struct addr_policy policy; /* no loopback */

/* A roster and the members that it follows. */
struct world {
    struct config config;
    struct roster *roster;
    struct members *members;
    uint64_t now_ns;
};

static struct addr address(unsigned last)
{
    return (struct addr){.family = ADDR_V4,
                         .port = 7946,
                         .ip = {10, 0, (uint8_t)(last >> 8), (uint8_t)last}};
}

static struct world *opened(bool is_configured)
{
    static const struct span name = {(const uint8_t *)"self", 4};
    struct world *w = calloc(1, sizeof(*w));
    check_true(w != NULL);
    snprintf(w->config.node.name, sizeof(w->config.node.name), "self");
    snprintf(w->config.node.zone, sizeof(w->config.node.zone), "a");
    w->config.probe.protocols = 3;
    w->config.topology.pairs = 3;
    w->config.topology.full_mesh_max = 8192; /* all to all */
    if (is_configured) {
        w->config.peers = peers;
        w->config.n_peers = 2;
        w->config.targets = targets;
        w->config.n_targets = 2;
    }
    struct members_config c = {
        .name = name,
        .advertise = address(1),
        .vsn = {1, 5, 2, 2, 5, 4},
        .incarnation = 1,
        .now_unix_s = 1000,
        .members_max = 5000,
        .new_per_s = 5000,
        .reclaim_ns = 30 * SEC,
        .ping_interval_ns = SEC,
        .suspicion_mult = 4,
        .suspicion_max_mult = 6,
        .gossip_to_dead_ns = 30 * SEC,
        .policy = &policy,
        .seed = check_seed(),
    };
    w->now_ns = 1000 * SEC;
    w->members = members_open(&c, w->now_ns);
    w->roster = roster_open(&w->config, &policy);
    check_true(w->members && w->roster);
    return w;
}

static void closed(struct world *w)
{
    roster_close(w->roster);
    members_close(w->members);
    free(w);
}

static struct facts facts_of(const char *zone)
{
    struct facts f = {.is_ours = true,
                      .version = "0.1.0",
                      .region = "r1",
                      .port = 7443,
                      .protocols = 3,
                      .tls = FACTS_TLS_PIN,
                      .fingerprint = {7, 7, 7}};
    snprintf(f.zone, sizeof(f.zone), "%s", zone);
    return f;
}

static const uint8_t vsn[6] = {1, 5, 2, 2, 5, 4};

/* News of a member at 10.0.x.`last`. */
static enum change_kind alive(struct world *w, const char *name, unsigned last,
                              uint32_t incarnation, const struct facts *f)
{
    uint8_t meta[ML_META_MAX];
    struct change change;
    struct addr at = address(last);
    struct ml_alive a = {
        .incarnation = incarnation,
        .node = span_of_text(name),
        .addr = {at.ip, 4},
        .port = at.port,
        .vsn = {vsn, sizeof(vsn)},
    };
    if (f) {
        int len = facts_encode(f, meta);
        check_true(len > 0);
        a.meta = (struct span){meta, (size_t)len};
    }
    members_alive(w->members, w->now_ns, &a, &change);
    return change.kind;
}

/* It is dead, or has left when it says so itself. */
static void dead(struct world *w, const char *name, const char *from,
                 uint32_t incarnation)
{
    struct change change;
    struct ml_accusation a = {.incarnation = incarnation,
                              .node = span_of_text(name),
                              .from = span_of_text(from)};
    members_dead(w->members, w->now_ns, &a, &change);
    check_true(change.kind == CHANGE_FAILED || change.kind == CHANGE_LEFT);
}

static bool update(struct world *w)
{
    return roster_update(w->roster, w->members, w->now_ns);
}

static const struct roster_entry *get(const struct world *w, const char *name)
{
    const struct roster_entry *e = roster_find(w->roster, name);
    check_true(e != NULL);
    check_text(e->name, name);
    return e;
}

static bool has(const struct world *w, const char *name)
{
    return roster_find(w->roster, name) != NULL;
}

/* --- the configuration's ------------------------------------------------ */

static void without_a_mesh_there_is_what_the_configuration_says(void **state)
{
    (void)state;
    struct world *w = opened(true);
    check_u64(roster_count(w->roster), 4);
    const struct roster_entry *e = roster_get(w->roster, 0);
    check_u64(e->kind, ROSTER_PEER);
    check_text(e->name, "p-1");
    check_text(e->url.host, "p-1.test");
    check_text(e->url.path, "/probe");
    check_u64(e->url.port, 7443);
    check_u64(e->url.scheme, URL_HTTPS);
    check_true(e->url.is_tls && !e->url.is_literal);
    check_true(e->has_fingerprint && e->fingerprint[2] == 3);
    check_u64(e->protocols, 3);
    check_true(e->is_probed && !e->is_member);

    e = roster_get(w->roster, 1);
    check_text(e->url.host, "10.9.0.2");
    check_u64(e->url.scheme, URL_HTTP);
    check_u64(e->url.port, 81);
    check_true(e->url.is_literal && !e->url.is_tls && !e->has_fingerprint);

    e = roster_get(w->roster, 2);
    check_u64(e->kind, ROSTER_TARGET);
    check_text(e->url.host, "t.test");
    check_text(e->service, "svc");
    check_u64(e->protocols, 2);
    check_true(e->is_probed);
    check_false(roster_get(w->roster, 3)->is_probed); /* zone b's */
    closed(w);
}

/* --- another configuration ---------------------------------------------- */

static struct config_peer other_peers[] = {
    {.name = "p-1",
     .zone = "z9",
     .region = "r1",
     .host = "new.test",
     .port = 1},
    {.name = "b-2", .zone = "b", .region = "r1", .host = "b-2.test", .port = 2},
};

/* The content of the configuration is another one, as after a reload. */
static void replace(struct world *w, struct config_peer *list, size_t n)
{
    struct config to = w->config;
    to.peers = list;
    to.n_peers = n;
    to.n_targets = 0;
    struct roster *other = roster_open(&to, &policy);
    check_true(other != NULL);
    w->config = to;
    roster_replace(w->roster, other);
}

static void another_configuration_replaces_peers_and_keeps_members(void **state)
{
    (void)state;
    struct world *w = opened(true);
    struct facts f = facts_of("b");
    alive(w, "b-1", 2, 5, &f);
    alive(w, "b-2", 3, 5, &f);
    alive(w, "b-3", 4, 5, &f);
    check_true(update(w));
    dead(w, "b-3", "x", 5);
    check_false(update(w));
    w->now_ns += 2 * MIN;
    members_purge(w->members, w->now_ns, NULL, NULL); /* forgets b-3 */
    check_false(update(w));

    replace(w, other_peers, 2);
    roster_update(w->roster, w->members, w->now_ns);
    check_u64(roster_count(w->roster), 4);
    check_text(get(w, "p-1")->url.host, "new.test");
    check_text(get(w, "p-1")->zone, "z9");
    check_true(!has(w, "p-2") && !has(w, "t-1") && !has(w, "t-2"));
    /* A member that is configured now is what the configuration says. */
    check_u64(get(w, "b-2")->kind, ROSTER_PEER);
    check_text(get(w, "b-2")->url.host, "b-2.test");
    check_true(get(w, "b-2")->is_member && get(w, "b-2")->is_probed);
    check_u64(get(w, "b-1")->kind, ROSTER_MEMBER);
    check_true(get(w, "b-1")->is_probed);
    /* Whom nobody but we remember is kept. */
    check_u64(get(w, "b-3")->state, MEMBER_DEAD);
    check_true(get(w, "b-3")->is_probed);

    /* And back: who is no peer any more is a member again. */
    replace(w, NULL, 0);
    check_true(roster_update(w->roster, w->members, w->now_ns));
    check_u64(roster_count(w->roster), 3);
    check_u64(get(w, "b-2")->kind, ROSTER_MEMBER);
    check_true(get(w, "b-2")->is_probed);
    check_false(update(w));
    closed(w);
}

static void what_members_said_is_judged_by_the_new_configuration(void **state)
{
    (void)state;
    struct world *w = opened(false);
    struct facts f = facts_of("b");
    alive(w, "b-1", 2, 5, &f);
    check_true(update(w));
    check_u64(get(w, "b-1")->protocols, 3);
    w->config.probe.protocols = 2;
    check_false(update(w)); /* nobody has said so yet */
    replace(w, NULL, 0);
    check_true(roster_update(w->roster, w->members, w->now_ns));
    check_u64(get(w, "b-1")->protocols, 2);
    closed(w);
}

/* --- members ------------------------------------------------------------ */

static void a_member_with_our_mark_is_probed_where_it_gossips(void **state)
{
    (void)state;
    struct world *w = opened(false);
    struct facts f = facts_of("b");
    check_false(update(w));
    check_true(roster_is_reporter(w->roster)); /* alone, but it would */
    check_i64(alive(w, "b-1", 2, 5, &f), CHANGE_JOINED);
    check_true(update(w));
    check_u64(roster_count(w->roster), 1); /* never this node itself */
    const struct roster_entry *e = get(w, "b-1");
    check_u64(e->kind, ROSTER_MEMBER);
    check_true(e->is_member && e->is_probed && !e->is_held);
    check_text(e->zone, "b");
    check_text(e->region, "r1");
    check_text(e->version, "0.1.0");
    check_text(e->url.host, "10.0.0.2");
    check_text(e->url.path, "/probe");
    check_u64(e->url.port, 7443);
    check_u64(e->url.scheme, URL_HTTPS);
    check_true(e->url.is_literal && e->url.is_tls);
    check_true(e->has_fingerprint && e->fingerprint[0] == 7);
    check_u64(e->addr.port, 7946);
    check_u64(e->incarnation, 5);
    check_u64(e->state, MEMBER_ALIVE);
    check_false(update(w));
    closed(w);
}

static void its_facts_say_how_it_is_probed(void **state)
{
    (void)state;
    struct world *w = opened(false);
    w->config.probe.protocols = 1;
    struct facts f = facts_of("b");
    snprintf(f.host, sizeof(f.host), "B-1.Mesh.Test");
    f.tls = FACTS_TLS_CA;
    f.port = 99;
    alive(w, "b-1", 2, 5, &f);
    f.tls = FACTS_TLS_OFF;
    snprintf(f.host, sizeof(f.host), "fd00::0:7");
    alive(w, "b-2", 3, 5, &f);
    f.protocols = 2; /* none that we want */
    alive(w, "b-3", 4, 5, &f);
    check_true(update(w));

    const struct roster_entry *e = get(w, "b-1");
    check_text(e->url.host, "b-1.mesh.test");
    check_u64(e->url.port, 99);
    check_u64(e->url.scheme, URL_HTTPS);
    check_false(e->has_fingerprint || e->url.is_literal);
    check_u64(e->protocols, 1);
    e = get(w, "b-2");
    check_text(e->url.host, "fd00::7");
    check_true(e->url.is_literal);
    check_u64(e->url.scheme, URL_HTTP);
    check_false(e->has_fingerprint || e->url.is_tls);
    check_false(get(w, "b-3")->is_probed);
    closed(w);
}

static void only_what_can_be_trusted_is_probed(void **state)
{
    (void)state;
    struct world *w = opened(true);
    struct facts f = facts_of("b");
    alive(w, "serf", 2, 1, NULL);
    alive(w, "bad name", 3, 1, &f);
    alive(w, "bad\"name", 4, 1, &f);
    alive(w, "t-1", 5, 1, &f); /* a target's */
    snprintf(f.host, sizeof(f.host), "169.254.169.254");
    alive(w, "b-1", 6, 1, &f);
    snprintf(f.host, sizeof(f.host), "127.0.0.1");
    alive(w, "b-2", 7, 1, &f);
    snprintf(f.host, sizeof(f.host), "::ffff:127.0.0.1");
    alive(w, "b-3", 8, 1, &f);
    snprintf(f.host, sizeof(f.host), "10.1.1.1");
    alive(w, "b-4", 9, 1, &f);
    check_u64(members_count(w->members), 9);
    check_true(update(w));
    check_u64(roster_count(w->roster), 4 + 4);
    check_false(has(w, "serf") || has(w, "bad name") || has(w, "bad\"name"));
    check_u64(get(w, "t-1")->kind, ROSTER_TARGET);
    check_false(get(w, "t-1")->is_member);
    check_text(get(w, "t-1")->zone, "external");
    check_false(get(w, "b-1")->is_probed);
    check_false(get(w, "b-2")->is_probed);
    check_false(get(w, "b-3")->is_probed);
    check_true(get(w, "b-4")->is_probed);
    closed(w);
}

static void other_facts_are_taken_over(void **state)
{
    (void)state;
    struct world *w = opened(false);
    struct facts f = facts_of("b");
    alive(w, "b-1", 2, 5, &f);
    check_true(update(w));

    f.port = 8443;
    check_i64(alive(w, "b-1", 2, 6, &f), CHANGE_UPDATED);
    check_true(update(w));
    check_u64(get(w, "b-1")->url.port, 8443);
    check_u64(get(w, "b-1")->incarnation, 6);
    f.fingerprint[0] = 8;
    alive(w, "b-1", 2, 7, &f);
    check_true(update(w));
    check_u64(get(w, "b-1")->fingerprint[0], 8);
    snprintf(f.zone, sizeof(f.zone), "c");
    alive(w, "b-1", 2, 8, &f);
    check_true(update(w));
    check_text(get(w, "b-1")->zone, "c");
    /* Another version is nothing that has to be probed otherwise. */
    snprintf(f.version, sizeof(f.version), "0.2.0");
    alive(w, "b-1", 2, 9, &f);
    check_false(update(w));
    check_text(get(w, "b-1")->version, "0.2.0");
    check_i64(alive(w, "b-1", 2, 10, &f), CHANGE_RENEWED);
    check_false(update(w));
    check_u64(get(w, "b-1")->incarnation, 10);
    closed(w);
}

static void a_static_peer_keeps_what_is_configured(void **state)
{
    (void)state;
    struct world *w = opened(true);
    struct facts f = facts_of("elsewhere");
    alive(w, "p-1", 2, 5, &f);
    check_false(update(w)); /* nothing of how it is probed */
    const struct roster_entry *e = get(w, "p-1");
    check_u64(roster_count(w->roster), 4);
    check_u64(e->kind, ROSTER_PEER);
    check_text(e->url.host, "p-1.test");
    check_text(e->zone, "z1");
    check_u64(e->fingerprint[0], 1);
    check_true(e->is_member);
    check_u64(e->addr.ip[3], 2);
    check_text(e->version, "0.1.0");

    /* Its zone was not configured: then it is where it says. */
    alive(w, "p-2", 3, 5, &f);
    check_true(update(w));
    e = get(w, "p-2");
    check_text(e->zone, "elsewhere");
    check_text(e->region, "r1");
    check_u64(e->url.scheme, URL_HTTP);
    check_false(e->has_fingerprint);
    snprintf(f.zone, sizeof(f.zone), "moved");
    alive(w, "p-2", 3, 6, &f);
    check_true(update(w));
    check_text(get(w, "p-2")->zone, "moved");

    /* With the mesh lost a member is held, a peer just goes on. */
    alive(w, "b-1", 4, 5, &f);
    check_true(update(w));
    dead(w, "b-1", "x", 5);
    dead(w, "p-1", "x", 5);
    dead(w, "p-2", "p-2", 6);
    check_false(update(w));
    check_true(get(w, "b-1")->is_held);
    check_false(get(w, "p-1")->is_held);
    check_true(get(w, "p-1")->is_probed);
    alive(w, "b-2", 5, 5, &f);
    check_true(update(w));
    check_u64(get(w, "p-1")->state, MEMBER_DEAD);
    check_u64(get(w, "p-2")->state, MEMBER_LEFT);
    check_true(get(w, "p-1")->is_probed && get(w, "p-2")->is_probed);
    w->now_ns += 120 * MIN;
    members_purge(w->members, w->now_ns, NULL, NULL);
    check_true(update(w)); /* b-1 is dropped */
    check_u64(get(w, "p-1")->state, MEMBER_DEAD);
    check_true(get(w, "p-1")->is_probed);
    closed(w);
}

/* --- those that are gone ------------------------------------------------ */

static void who_leaves_is_dropped_at_once(void **state)
{
    (void)state;
    struct world *w = opened(false);
    struct facts f = facts_of("b");
    alive(w, "b-1", 2, 5, &f);
    alive(w, "b-2", 3, 5, &f);
    check_true(update(w));
    members_get(w->members, members_find(w->members, span_of_text("b-1")))
        ->is_leaving = true;
    check_false(update(w));
    check_true(get(w, "b-1")->is_leaving && get(w, "b-1")->is_probed);
    dead(w, "b-1", "b-1", 5);
    check_true(update(w));
    check_false(has(w, "b-1"));
    check_true(has(w, "b-2"));
    closed(w);
}

static void who_fails_is_kept_for_ten_minutes(void **state)
{
    (void)state;
    struct world *w = opened(false);
    struct facts f = facts_of("b");
    alive(w, "b-1", 2, 5, &f);
    alive(w, "b-2", 3, 5, &f);
    check_true(update(w));
    dead(w, "b-1", "x", 5);
    check_false(update(w)); /* probed on as before */
    check_u64(get(w, "b-1")->state, MEMBER_DEAD);
    check_true(get(w, "b-1")->is_probed && !get(w, "b-1")->is_held);

    /* Also when the mesh has forgotten it. */
    w->now_ns += 2 * MIN;
    members_purge(w->members, w->now_ns, NULL, NULL);
    check_u64(members_find(w->members, span_of_text("b-1")), UINT32_MAX);
    check_false(update(w));
    w->now_ns += 8 * MIN - 1;
    check_false(update(w));
    check_true(get(w, "b-1")->is_probed);
    w->now_ns += 1;
    check_true(update(w));
    check_false(has(w, "b-1"));
    check_true(has(w, "b-2"));

    /* It may come back. */
    check_i64(alive(w, "b-1", 2, 6, &f), CHANGE_JOINED);
    check_true(update(w));
    check_u64(get(w, "b-1")->state, MEMBER_ALIVE);
    closed(w);
}

static void who_comes_back_in_time_was_never_away(void **state)
{
    (void)state;
    struct world *w = opened(false);
    struct facts f = facts_of("b");
    alive(w, "b-1", 2, 5, &f);
    alive(w, "b-2", 3, 5, &f);
    check_true(update(w));
    dead(w, "b-1", "x", 5);
    check_false(update(w));
    w->now_ns += 9 * MIN;
    check_false(update(w));
    alive(w, "b-1", 2, 6, &f);
    check_false(update(w));
    check_u64(get(w, "b-1")->state, MEMBER_ALIVE);
    /* Its ten minutes begin anew. */
    dead(w, "b-1", "x", 6);
    check_false(update(w));
    w->now_ns += 9 * MIN;
    check_false(update(w));
    check_true(has(w, "b-1"));
    closed(w);
}

static void the_dead_whom_we_never_knew_are_not_probed(void **state)
{
    (void)state;
    struct world *w = opened(false);
    struct facts f = facts_of("b");
    alive(w, "b-1", 2, 5, &f);
    dead(w, "b-1", "x", 5);
    check_false(update(w));
    check_u64(roster_count(w->roster), 0);
    check_false(roster_is_holding(w->roster));
    closed(w);
}

static void another_at_its_address_takes_its_place(void **state)
{
    (void)state;
    struct world *w = opened(false);
    struct facts f = facts_of("b");
    alive(w, "b-1", 2, 5, &f);
    alive(w, "b-3", 4, 5, &f);
    check_true(update(w));
    dead(w, "b-1", "x", 5);
    check_false(update(w));
    w->now_ns += MIN;
    members_purge(w->members, w->now_ns, NULL, NULL);
    check_i64(alive(w, "b-2", 2, 1, &f), CHANGE_JOINED);
    check_true(update(w));
    check_false(has(w, "b-1"));
    check_true(has(w, "b-2") && has(w, "b-3"));
    closed(w);
}

static void when_the_mesh_is_lost_all_are_held(void **state)
{
    (void)state;
    struct world *w = opened(false);
    struct facts f = facts_of("b");
    alive(w, "b-1", 2, 5, &f);
    alive(w, "b-2", 3, 5, &f);
    check_true(update(w));
    dead(w, "b-1", "x", 5);
    check_false(update(w));
    check_false(roster_is_holding(w->roster));
    w->now_ns += 5 * MIN;
    dead(w, "b-2", "x", 5);
    check_false(update(w));
    check_true(roster_is_holding(w->roster));
    check_true(get(w, "b-1")->is_held && get(w, "b-2")->is_held);
    for (int i = 0; i < 100; i++) {
        w->now_ns += 10 * MIN;
        members_purge(w->members, w->now_ns, NULL, NULL);
        check_false(update(w));
    }
    check_true(get(w, "b-1")->is_probed && get(w, "b-2")->is_probed);

    /* One is back: the others have ten minutes more. */
    alive(w, "b-2", 3, 6, &f);
    check_false(update(w));
    check_false(roster_is_holding(w->roster));
    check_false(get(w, "b-1")->is_held || get(w, "b-2")->is_held);
    w->now_ns += 10 * MIN - 1;
    check_false(update(w));
    w->now_ns += 1;
    check_true(update(w));
    check_false(has(w, "b-1"));
    check_true(has(w, "b-2"));
    closed(w);
}

static void an_agent_of_serfs_is_a_mesh_too(void **state)
{
    (void)state;
    struct world *w = opened(false);
    struct facts f = facts_of("b");
    alive(w, "b-1", 2, 5, &f);
    alive(w, "serf", 3, 5, NULL);
    check_true(update(w));
    dead(w, "b-1", "x", 5);
    check_false(update(w));
    check_false(roster_is_holding(w->roster));
    closed(w);
}

static void who_loses_our_mark_is_as_good_as_failed(void **state)
{
    (void)state;
    struct world *w = opened(false);
    struct facts f = facts_of("b");
    alive(w, "b-1", 2, 5, &f);
    alive(w, "b-2", 3, 5, &f);
    check_true(update(w));
    check_i64(alive(w, "b-1", 2, 6, NULL), CHANGE_UPDATED);
    check_false(update(w));
    check_u64(get(w, "b-1")->state, MEMBER_DEAD);
    w->now_ns += 10 * MIN;
    check_true(update(w));
    check_false(has(w, "b-1"));
    closed(w);
}

/* --- who probes whom ---------------------------------------------------- */

/* A mesh of zones x per_zone members, "a-0" and so on, as `self` sees it;
 * `self` is one of them. */
static struct world *mesh_of(unsigned zones, unsigned per_zone, unsigned self,
                             uint32_t full_mesh_max)
{
    struct world *w = opened(false);
    struct config *c = &w->config;
    c->topology.full_mesh_max = full_mesh_max;
    for (unsigned i = 0; i < zones * per_zone; i++) {
        char name[8], zone[2] = {(char)('a' + i / per_zone), '\0'};
        snprintf(name, sizeof(name), "%s-%u", zone, i % per_zone);
        if (i == self) {
            snprintf(c->node.name, sizeof(c->node.name), "%s", name);
            snprintf(c->node.zone, sizeof(c->node.zone), "%s", zone);
        } else {
            struct facts f = facts_of(zone);
            alive(w, name, 2 + i, 5, &f);
        }
    }
    update(w);
    return w;
}

static size_t count_probed(const struct world *w)
{
    size_t n = 0;
    for (size_t i = 0; i < roster_count(w->roster); i++)
        n += roster_get(w->roster, i)->is_probed;
    return n;
}

static void a_small_mesh_probes_all_to_all(void **state)
{
    (void)state;
    struct world *w = mesh_of(3, 4, 5, 12);
    check_u64(count_probed(w), 11);
    for (size_t i = 0; i < 11; i++)
        check_true(roster_get(w->roster, i)->is_expected_reporter);
    check_true(roster_is_reporter(w->roster));

    /* One more, and it is large; without it again, small. */
    struct facts f = facts_of("c");
    alive(w, "c-9", 99, 5, &f);
    check_true(update(w));
    check_true(count_probed(w) < 12);
    dead(w, "c-9", "c-9", 5);
    check_true(update(w));
    check_u64(count_probed(w), 11);
    closed(w);
}

/* The choice that each node makes by itself is one and the same: three pairs
 * for each of the 3 x 3 pairs of zones. */
static void the_nodes_of_a_large_mesh_share_the_work(void **state)
{
    (void)state;
    size_t from_to[3][3] = {{0}}, total = 0;
    bool is_reporter[15];
    for (unsigned self = 0; self < 15; self++) {
        struct world *w = mesh_of(3, 5, self, 12);
        for (size_t i = 0; i < roster_count(w->roster); i++) {
            const struct roster_entry *e = roster_get(w->roster, i);
            if (e->is_probed)
                from_to[self / 5][e->zone[0] - 'a']++;
        }
        total += count_probed(w);
        is_reporter[self] = roster_is_reporter(w->roster);
        check_true(is_reporter[self] == (count_probed(w) > 0));
        closed(w);
    }
    for (size_t i = 0; i < 9; i++)
        check_u64(from_to[i / 3][i % 3], 3);
    check_u64(total, 27);

    /* Who reports is known to all. */
    for (unsigned self = 0; self < 15; self++) {
        struct world *w = mesh_of(3, 5, self, 12);
        for (unsigned i = 0; i < 15; i++) {
            char name[8];
            snprintf(name, sizeof(name), "%c-%u", 'a' + (int)i / 5, i % 5);
            if (i != self)
                check_true(get(w, name)->is_expected_reporter ==
                           is_reporter[i]);
        }
        closed(w);
    }
}

/* One that moves to another zone, in a mesh of the others' making. */
static void a_move_to_another_zone_is_a_new_choice(void **state)
{
    (void)state;
    struct world *w = mesh_of(2, 7, 0, 12), *moved = mesh_of(2, 7, 0, 12);
    for (unsigned i = 1; i < 7; i++) {
        char name[8];
        struct facts f = facts_of("c");
        snprintf(name, sizeof(name), "b-%u", i);
        alive(w, name, 2 + 7 + i, 6, &f);
        check_true(update(w));
        dead(moved, name, name, 5);
        update(moved);
        moved->now_ns += MIN;
        alive(moved, name, 2 + 7 + i, 6, &f);
        check_true(update(moved));
        for (size_t k = 0; k < roster_count(w->roster); k++) {
            const struct roster_entry *e = roster_get(w->roster, k);
            check_true(get(moved, e->name)->is_probed == e->is_probed);
            check_true(get(moved, e->name)->is_expected_reporter ==
                       e->is_expected_reporter);
        }
    }
    closed(moved);
    closed(w);
}

/* An update says so when what is probed is other than before, although
 * no member came, went or changed. */
static void a_choice_alone_is_a_change(void **state)
{
    (void)state;
    struct world *w = opened(false);
    struct config_peer peer = peers[0];
    struct facts f = facts_of("b");
    w->config.topology.full_mesh_max = 0;
    roster_close(w->roster);
    w->config.peers = &peer;
    w->config.n_peers = 1;
    w->roster = roster_open(&w->config, &policy);
    unsigned n_changes = 0;
    for (unsigned i = 0; i < 30; i++) {
        char name[8];
        snprintf(name, sizeof(name), "m-%u", i);
        alive(w, name, 10 + i, 5, &f);
    }
    update(w);
    for (uint32_t round = 0; round < 40; round++) {
        uint64_t before = 0, after = 0;
        for (size_t i = 1; i < roster_count(w->roster); i++)
            before |= (uint64_t)roster_get(w->roster, i)->is_probed << i;
        /* A peer: its coming and going changes no entry's probing but by the
         * choice. */
        if (round % 2 == 0) {
            struct facts own = facts_of(round % 4 ? "a" : "b");
            alive(w, "p-1", 5, 10 + round, &own);
        } else {
            dead(w, "p-1", "p-1", 9 + round);
            w->now_ns += MIN;
        }
        bool is_changed = update(w);
        for (size_t i = 1; i < roster_count(w->roster); i++)
            after |= (uint64_t)roster_get(w->roster, i)->is_probed << i;
        check_true(is_changed == (before != after));
        n_changes += is_changed;
        check_false(get(w, "p-1")->is_held);
    }
    check_true(n_changes > 0);
    closed(w);
}

static void who_need_not_probe_is_not_expected_to_report(void **state)
{
    (void)state;
    unsigned idle = 0;
    for (unsigned self = 0; self < 40; self++) {
        struct world *w = mesh_of(1, 40, self, 12);
        idle += !roster_is_reporter(w->roster);
        check_true(count_probed(w) <= 1);
        check_u64(count_probed(w), roster_is_reporter(w->roster));
        closed(w);
    }
    check_u64(idle, 37);
}

/* Nobody is moved while a failed one is kept, nor when one with our mark that
 * cannot be probed comes or goes. */
static void the_choice_stays_while_the_nodes_do(void **state)
{
    (void)state;
    struct world *w = mesh_of(3, 5, 0, 12);
    struct facts f = facts_of("b");
    f.port = 0;
    f.can_probe = false;
    dead(w, "b-1", "x", 5);
    check_false(update(w));
    size_t before = count_probed(w);
    alive(w, "odd", 77, 5, &f);
    check_true(update(w));
    check_false(get(w, "odd")->is_probed);
    check_false(get(w, "odd")->is_expected_reporter);
    check_u64(count_probed(w), before);

    /* Ten minutes later b-1 is dropped; then the choice is as if it had never
     * been. */
    w->now_ns += 10 * MIN;
    check_true(update(w));
    check_false(has(w, "b-1"));
    check_false(update(w));
    struct world *other = mesh_of(3, 5, 0, 12);
    dead(other, "b-1", "b-1", 5);
    check_true(update(other));
    for (size_t i = 0; i < roster_count(other->roster); i++) {
        const struct roster_entry *e = roster_get(other->roster, i);
        check_true(get(w, e->name)->is_probed == e->is_probed);
    }
    closed(other);
    closed(w);
}

/* A peer of the configuration is probed in any case, and in the choice it is
 * what the others see: in its mesh zone, and only while it is a member. */
static void a_peer_in_the_mesh_takes_part_like_any_other(void **state)
{
    (void)state;
    struct world *w = opened(true), *plain = opened(false);
    w->config.topology.full_mesh_max = plain->config.topology.full_mesh_max = 0;
    for (unsigned i = 0; i < 40; i++) {
        char name[8];
        struct facts f = facts_of(i % 2 ? "b" : "a");
        snprintf(name, sizeof(name), i == 3 ? "p-1" : "m-%u", i);
        alive(w, name, 10 + i, 5, &f);
        alive(plain, name, 10 + i, 5, &f);
    }
    update(w);
    update(plain);
    for (int round = 0; round < 3; round++) {
        check_true(get(w, "p-1")->is_probed);
        check_false(get(w, "p-2")->is_expected_reporter);
        for (size_t i = 0; i < roster_count(plain->roster); i++) {
            const struct roster_entry *e = roster_get(plain->roster, i);
            const struct roster_entry *mine = get(w, e->name);
            check_true(mine->is_expected_reporter == e->is_expected_reporter);
            check_true(mine->is_probed == e->is_probed ||
                       mine->kind == ROSTER_PEER);
        }
        /* It fails, and is kept; and then it is not. */
        if (round == 0) {
            dead(w, "p-1", "x", 5);
            dead(plain, "p-1", "x", 5);
        } else {
            w->now_ns += 10 * MIN;
            plain->now_ns += 10 * MIN;
        }
        update(w);
        update(plain);
    }
    check_false(has(plain, "p-1"));
    check_false(get(w, "p-1")->is_expected_reporter);
    check_true(roster_is_reporter(w->roster));
    closed(plain);
    closed(w);
}

/* --- many --------------------------------------------------------------- */

/* Names that come, fail and are forgotten for ever drive out the longest
 * failed ones, never the living. */
static void members_are_limited_and_the_living_stay(void **state)
{
    (void)state;
    struct world *w = opened(true);
    struct facts f = facts_of("b");
    char name[16];
    unsigned n = 0;
    alive(w, "living", 2, 5, &f);
    for (int round = 0; round < 8; round++) {
        unsigned first = n;
        for (; n < first + 1000; n++) {
            snprintf(name, sizeof(name), "n-%u", n);
            check_i64(alive(w, name, 10 + n, 5, &f), CHANGE_JOINED);
        }
        check_true(update(w));
        for (unsigned i = first; i < n; i++) {
            snprintf(name, sizeof(name), "n-%u", i);
            dead(w, name, "x", 5);
        }
        update(w);
        w->now_ns += 31 * SEC;
        members_purge(w->members, w->now_ns, NULL, NULL);
        update(w);
        check_true(roster_count(w->roster) <= 4 + ROSTER_MEMBERS_MAX);
        check_u64(get(w, "living")->state, MEMBER_ALIVE);
        check_true(has(w, "p-1") && has(w, "t-2"));
        snprintf(name, sizeof(name), "n-%u", n - 1);
        check_true(has(w, name));
    }
    check_u64(roster_count(w->roster), 4 + ROSTER_MEMBERS_MAX);
    check_false(has(w, "n-0"));
    closed(w);
}

/* Whatever happens: who is alive and ours is there, once; whoever is not is
 * failed; an update says so exactly when the list of what is probed does. */
static void the_roster_is_the_members_and_who_failed_lately(void **state)
{
    (void)state;
    enum { N = 12 };
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 30; round++) {
        struct world *w = opened(round % 2);
        uint32_t incarnation[N];
        for (size_t i = 0; i < N; i++)
            incarnation[i] = 1;
        for (int step = 0; step < 200; step++) {
            unsigned i = (unsigned)rng_below(&rng, N);
            char name[8];
            struct change change;
            snprintf(name, sizeof(name), "m-%u", i);
            struct ml_accusation a = {.incarnation = incarnation[i],
                                      .node = span_of_text(name),
                                      .from = span_of_text("x")};
            switch (rng_below(&rng, 5)) {
            case 0:
            case 1: {
                struct facts f = facts_of(rng_below(&rng, 2) ? "b" : "c");
                f.port = (uint16_t)(1 + rng_below(&rng, 2));
                alive(w, name, 2 + i, ++incarnation[i],
                      rng_below(&rng, 10) ? &f : NULL);
                break;
            }
            case 2:
                members_suspect(w->members, w->now_ns, &a, &change);
                break;
            case 3:
                if (rng_below(&rng, 2))
                    a.from = a.node;
                members_dead(w->members, w->now_ns, &a, &change);
                break;
            default:
                w->now_ns += rng_below(&rng, 3 * MIN);
                while (members_expire(w->members, w->now_ns, &change))
                    ;
                members_purge(w->members, w->now_ns, NULL, NULL);
            }
            update(w);
            check_false(update(w)); /* the same again is no change */
            size_t n_ours = 0;
            for (size_t k = 1; k < members_size(w->members); k++) {
                const struct member *m = members_peek(w->members, (uint32_t)k);
                struct facts f;
                facts_decode((struct span){m->meta, m->meta_len}, &f);
                if (!m->name_len || !f.is_ours || m->state >= MEMBER_DEAD)
                    continue;
                const struct roster_entry *e = get(w, m->name);
                check_u64(e->state, m->state);
                check_text(e->zone, f.zone);
                check_u64(e->url.port, f.port);
                check_true(e->is_probed);
                n_ours++;
            }
            size_t n_up = 0;
            for (size_t k = 0; k < roster_count(w->roster); k++) {
                const struct roster_entry *e = roster_get(w->roster, k);
                check_true(roster_find(w->roster, e->name) == e);
                n_up += e->kind == ROSTER_MEMBER && e->state < MEMBER_DEAD;
                check_true(e->kind != ROSTER_MEMBER || e->state != MEMBER_LEFT);
            }
            check_u64(n_up, n_ours);
        }
        closed(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_mesh_there_is_what_the_configuration_says),
        cmocka_unit_test(
            another_configuration_replaces_peers_and_keeps_members),
        cmocka_unit_test(what_members_said_is_judged_by_the_new_configuration),
        cmocka_unit_test(a_member_with_our_mark_is_probed_where_it_gossips),
        cmocka_unit_test(its_facts_say_how_it_is_probed),
        cmocka_unit_test(only_what_can_be_trusted_is_probed),
        cmocka_unit_test(other_facts_are_taken_over),
        cmocka_unit_test(a_static_peer_keeps_what_is_configured),
        cmocka_unit_test(who_leaves_is_dropped_at_once),
        cmocka_unit_test(who_fails_is_kept_for_ten_minutes),
        cmocka_unit_test(who_comes_back_in_time_was_never_away),
        cmocka_unit_test(the_dead_whom_we_never_knew_are_not_probed),
        cmocka_unit_test(another_at_its_address_takes_its_place),
        cmocka_unit_test(when_the_mesh_is_lost_all_are_held),
        cmocka_unit_test(an_agent_of_serfs_is_a_mesh_too),
        cmocka_unit_test(who_loses_our_mark_is_as_good_as_failed),
        cmocka_unit_test(a_small_mesh_probes_all_to_all),
        cmocka_unit_test(the_nodes_of_a_large_mesh_share_the_work),
        cmocka_unit_test(a_move_to_another_zone_is_a_new_choice),
        cmocka_unit_test(a_choice_alone_is_a_change),
        cmocka_unit_test(who_need_not_probe_is_not_expected_to_report),
        cmocka_unit_test(the_choice_stays_while_the_nodes_do),
        cmocka_unit_test(a_peer_in_the_mesh_takes_part_like_any_other),
        cmocka_unit_test(members_are_limited_and_the_living_stay),
        cmocka_unit_test(the_roster_is_the_members_and_who_failed_lately),
    };
    return cmocka_run_group_tests_name("roster", tests, NULL, NULL);
}
