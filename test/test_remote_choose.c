/* Which nodes are meant by a `from`. */
#include <stdio.h>
#include <string.h>

#include "mesh/facts.h"
#include "prober/remote.h"
#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define SEC       UINT64_C(1000000000)
#define NODES_MAX 600
#define SELF      UINT32_MAX

static const struct addr_policy anywhere = {.allows_loopback = false};
static const uint8_t vsn[ML_VSN_SIZE] = {1, 5, 2, 2, 5, 5};

static struct members *open_members(void)
{
    struct members_config c = {
        .name = span_of_text("self"),
        .now_unix_s = 1,
        .incarnation = 1,
        .members_max = NODES_MAX,
        .new_per_s = NODES_MAX,
        .reclaim_ns = 30 * SEC,
        .ping_interval_ns = SEC,
        .suspicion_mult = 4,
        .suspicion_max_mult = 6,
        .gossip_to_dead_ns = 30 * SEC,
        .policy = &anywhere,
    };
    memcpy(c.vsn, vsn, sizeof(vsn));
    check_i64(addr_parse(&c.advertise, "10.0.0.1:7946"), 0);
    struct members *ms = members_open(&c, SEC);
    check_true(ms != NULL);
    members_get(ms, MEMBERS_SELF)->is_ours = true; /* as in a mesh */
    return ms;
}

/* zone NULL: not one of ours. */
static uint32_t add(struct members *ms, const char *name, const char *zone,
                    enum member_state state)
{
    uint8_t meta[ML_META_MAX], ip[4] = {10, 1, 0, 0};
    struct change change;
    struct facts f = {.is_ours = true, .port = 7443, .protocols = 1};
    size_t n = members_count(ms);
    ip[2] = (uint8_t)(n >> 8);
    ip[3] = (uint8_t)(n & 0xff);
    strcpy(f.version, "1");
    if (zone)
        strcpy(f.zone, zone);
    int len = facts_encode(&f, meta);
    struct ml_alive a = {.incarnation = 1,
                         .node = span_of_text(name),
                         .addr = span_of(ip, 4),
                         .port = 7946,
                         .meta = span_of(meta, zone ? (size_t)len : 0),
                         .vsn = span_of(vsn, sizeof(vsn))};
    members_alive(ms, SEC, &a, &change);
    check_i64(change.kind, CHANGE_JOINED);
    struct member *m = members_get(ms, change.index);
    m->is_ours = zone != NULL;
    m->state = (uint8_t)state;
    return change.index;
}

static struct remote_executor out[REMOTE_EXECUTORS_MAX];

static size_t choose(const struct members *ms, const char *from,
                     unsigned per_zone, uint64_t dice)
{
    struct remote_from f;
    check_i64(remote_from_parse(&f, from), 0);
    memset(out, 0xa5, sizeof(out));
    return remote_choose(ms, "self", "b", &f, per_zone, dice, out);
}

static void check_out(size_t i, const char *node, const char *zone,
                      bool is_reachable)
{
    check_text(out[i].node, node);
    check_text(out[i].zone, zone);
    check_u64(out[i].is_reachable, is_reachable);
}

/* ---- from ---- */

static void from_has_four_forms(void **state)
{
    (void)state;
    struct remote_from f;
    check_i64(remote_from_parse(&f, "self"), 0);
    check_i64(f.kind, FROM_SELF);
    check_i64(remote_from_parse(&f, "all-zones"), 0);
    check_i64(f.kind, FROM_ALL_ZONES);
    check_i64(remote_from_parse(&f, "zone:eu-1.a_B"), 0);
    check_i64(f.kind, FROM_ZONE);
    check_text(f.name, "eu-1.a_B");
    check_i64(remote_from_parse(&f, "a-1"), 0);
    check_i64(f.kind, FROM_NODE);
    check_text(f.name, "a-1");
    check_i64(remote_from_parse(&f, "caf\xc3\xa9 1"), 0);
    check_text(f.name, "caf\xc3\xa9 1");
    static const char *const nodes[] = {"zone", "selfish", "sel", "all-zones1"};
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
        check_i64(remote_from_parse(&f, nodes[i]), 0);
        check_i64(f.kind, FROM_NODE);
    }
}

static void nothing_else_is_a_from(void **state)
{
    (void)state;
    char text[150], zone[200];
    struct remote_from f, before;
    memset(&f, 0x5a, sizeof(f));
    before = f;
    check_i64(remote_from_parse(&f, ""), ERR_BAD);
    check_i64(remote_from_parse(&f, "zone:"), ERR_BAD);
    check_i64(remote_from_parse(&f, "zone:a b"), ERR_BAD);
    check_i64(remote_from_parse(&f, "zone:\xc3\xa9"), ERR_BAD);
    check_i64(remote_from_parse(&f, "a\nb"), ERR_BAD);
    check_i64(remote_from_parse(&f, "a\x7f"), ERR_BAD);
    check_true(!memcmp(&f, &before, sizeof(f)));
    for (size_t len = 127; len < 131; len++) {
        memset(text, 'x', len);
        text[len] = '\0';
        check_i64(remote_from_parse(&f, text), len <= 128 ? 0 : ERR_BAD);
        snprintf(zone, sizeof(zone), "zone:%s", text);
        check_i64(remote_from_parse(&f, zone), len <= 128 ? 0 : ERR_BAD);
    }
}

/* ---- cases ---- */

static void a_node_is_itself(void **state)
{
    (void)state;
    struct members *ms = open_members();
    uint32_t a1 = add(ms, "a-1", "a", MEMBER_ALIVE);
    add(ms, "a-2", "a", MEMBER_DEAD);
    add(ms, "a-3", "a", MEMBER_LEFT);
    add(ms, "a-4", "a", MEMBER_SUSPECT);
    add(ms, "else", NULL, MEMBER_ALIVE);
    check_u64(choose(ms, "self", 1, 0), 1);
    check_out(0, "self", "b", true);
    check_u64(out[0].member, SELF);
    check_u64(choose(ms, "a-1", 16, 0), 1);
    check_out(0, "a-1", "a", true);
    check_u64(out[0].member, a1);
    check_u64(choose(ms, "a-2", 1, 0), 1);
    check_out(0, "a-2", "a", false);
    check_u64(choose(ms, "a-3", 1, 0), 1);
    check_out(0, "a-3", "a", false);
    check_u64(choose(ms, "a-4", 1, 0), 1);
    check_out(0, "a-4", "a", true);
    check_u64(choose(ms, "else", 1, 0), 0);
    check_u64(choose(ms, "nobody", 1, 0), 0);
    members_close(ms);
}

static void all_zones_have_one_each(void **state)
{
    (void)state;
    struct members *ms = open_members();
    add(ms, "c-1", "c", MEMBER_DEAD);
    add(ms, "c-2", "c", MEMBER_DEAD);
    add(ms, "a-1", "a", MEMBER_ALIVE);
    add(ms, "b-1", "b", MEMBER_ALIVE);
    add(ms, "d-1", "d", MEMBER_LEFT);
    add(ms, "else", NULL, MEMBER_ALIVE);
    for (uint64_t dice = 0; dice < 50; dice++) {
        check_u64(choose(ms, "all-zones", 1, dice), 3);
        check_out(0, "a-1", "a", true);
        check_out(1, "self", "b", true);
        check_text(out[2].zone, "c");
        check_false(out[2].is_reachable);
    }
    check_u64(choose(ms, "all-zones", 2, 0), 4);
    check_out(1, "self", "b", true);
    check_out(2, "b-1", "b", true);
    check_u64(choose(ms, "zone:c", 5, 0), 1);
    check_false(out[0].is_reachable);
    check_u64(choose(ms, "zone:d", 5, 0), 0);
    check_u64(choose(ms, "zone:e", 5, 0), 0);
    check_u64(choose(ms, "zone:b", 1, 0), 1);
    check_out(0, "self", "b", true);
    members_close(ms);
}

static void suspects_come_after_the_others(void **state)
{
    (void)state;
    struct members *ms = open_members();
    add(ms, "a-1", "a", MEMBER_SUSPECT);
    add(ms, "a-2", "a", MEMBER_ALIVE);
    add(ms, "a-3", "a", MEMBER_DEAD);
    for (uint64_t dice = 0; dice < 50; dice++) {
        check_u64(choose(ms, "zone:a", 3, dice), 2);
        check_out(0, "a-2", "a", true);
        check_out(1, "a-1", "a", true);
    }
    members_close(ms);
}

static void dice_choose_fairly(void **state)
{
    (void)state;
    unsigned hits[4] = {0};
    char name[8];
    struct members *ms = open_members();
    for (unsigned i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "a-%u", i);
        add(ms, name, "a", MEMBER_ALIVE);
    }
    for (uint64_t dice = 0; dice < 4000; dice++) {
        check_u64(choose(ms, "zone:a", 1, dice), 1);
        hits[out[0].node[2] - '0']++;
    }
    for (unsigned i = 0; i < 4; i++)
        check_true(hits[i] > 850 && hits[i] < 1150);
    members_close(ms);
}

static void never_more_than_there_is_room_for(void **state)
{
    (void)state;
    struct members *ms = open_members();
    char name[16], zone[16];
    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "n-%u", i);
        snprintf(zone, sizeof(zone), "z%u", i % 100);
        add(ms, name, zone, MEMBER_ALIVE);
    }
    /* 101 zones: two of each, and self's has but one. */
    check_u64(choose(ms, "all-zones", 16, 0), 201);
    check_u64(choose(ms, "all-zones", 1, 0), 101);
    members_close(ms);
    ms = open_members();
    for (unsigned i = 0; i < 500; i++) {
        snprintf(name, sizeof(name), "n-%u", i);
        snprintf(zone, sizeof(zone), "z%u", i);
        add(ms, name, zone, MEMBER_ALIVE);
    }
    check_u64(choose(ms, "all-zones", 16, 0), REMOTE_EXECUTORS_MAX);
    members_close(ms);
}

/* ---- any mesh ---- */

struct zone_view {
    unsigned alive, suspect, dead, chosen, named_dead;
};

static unsigned zone_index(const char *zone)
{
    return (unsigned)(zone[0] - 'a');
}

static void each_zone_has_what_it_can(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 1500; round++) {
        struct members *ms = open_members();
        struct zone_view zones[6] = {{0}};
        unsigned per_zone = 1 + (unsigned)rng_below(&rng, 16);
        uint64_t dice = rng_next(&rng);
        size_t nodes = rng_below(&rng, 60);
        zones[1].alive++; /* self, in "b" */
        for (size_t i = 0; i < nodes; i++) {
            char name[32], zone[2] = {(char)('a' + rng_below(&rng, 6)), 0};
            enum member_state s = (enum member_state)rng_below(&rng, 4);
            bool is_ours = rng_below(&rng, 8);
            snprintf(name, sizeof(name), "n-%zu", i);
            add(ms, name, is_ours ? zone : NULL, s);
            struct zone_view *z = &zones[zone_index(zone)];
            z->alive += is_ours && s == MEMBER_ALIVE;
            z->suspect += is_ours && s == MEMBER_SUSPECT;
            z->dead += is_ours && s == MEMBER_DEAD;
        }
        size_t n = choose(ms, "all-zones", per_zone, dice);
        for (size_t i = 0; i < n; i++) {
            struct zone_view *z = &zones[zone_index(out[i].zone)];
            z->chosen += out[i].is_reachable;
            z->named_dead += !out[i].is_reachable;
            check_true(i == 0 || strcmp(out[i - 1].zone, out[i].zone) <= 0);
            for (size_t k = 0; k < i; k++)
                check_true(strcmp(out[i].node, out[k].node) != 0);
            if (out[i].member == SELF)
                check_u64(z->chosen, 1); /* the first of its zone */
        }
        for (unsigned i = 0; i < 6; i++) {
            const struct zone_view *z = &zones[i];
            unsigned there = z->alive + z->suspect;
            check_u64(z->chosen, there < per_zone ? there : per_zone);
            check_u64(z->named_dead, !there && z->dead);
        }
        static struct remote_executor again[REMOTE_EXECUTORS_MAX];
        memcpy(again, out, sizeof(out));
        check_u64(choose(ms, "all-zones", per_zone, dice), n);
        check_true(!memcmp(again, out, n * sizeof(out[0])));
        members_close(ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_has_four_forms),
        cmocka_unit_test(nothing_else_is_a_from),
        cmocka_unit_test(a_node_is_itself),
        cmocka_unit_test(all_zones_have_one_each),
        cmocka_unit_test(suspects_come_after_the_others),
        cmocka_unit_test(dice_choose_fairly),
        cmocka_unit_test(never_more_than_there_is_room_for),
        cmocka_unit_test(each_zone_has_what_it_can),
    };
    return cmocka_run_group_tests_name("remote_choose", tests, NULL, NULL);
}
