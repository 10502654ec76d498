/* Joining, coming back, leaving: one real node, "a", and puppets. */
#include "proto/ml_msg.h"
#include "proto/serf_msg.h"
#include "test/check.h"
#include "test/mesh_net.h"

#include <stdio.h>
#include <string.h>

#define SEC  NET_SEC
#define MS   NET_MS
#define HOUR (3600 * SEC)
#define INC  ((uint32_t)NET_UNIX_S)

static const uint8_t other_app[ML_VSN_SIZE] = {1, 5, 2, 0, 0, 0};

/* Node "a" at 10.0.0.1, with seeds at the given addresses (0 ends). Periodic
 * exchanges are put off, so that only what a test is about is dialled. */
static struct mesh_config config(struct net *net, const int *seeds)
{
    static char texts[16][MESH_SEED_SIZE];
    net_init(net);
    net->holds_dials = true;
    net->acking = ~UINT64_C(0);
    struct mesh_config c = net_config(net, 0);
    c.n_seeds = 0;
    for (int i = 0; seeds && seeds[i]; i++)
        snprintf(texts[c.n_seeds++], sizeof(texts[0]), "10.0.0.%d:7946",
                 seeds[i]);
    c.seeds = (const char(*)[MESH_SEED_SIZE])texts;
    c.timing.push_pull_interval_ns = 1000 * HOUR;
    return c;
}

static void start(struct net *net, const int *seeds)
{
    struct mesh_config c = config(net, seeds);
    net_start(net, 0, &c);
}

static const int seed_9[] = {9, 0};

static struct mesh_stats stats(const struct net *net)
{
    struct mesh_stats s;
    mesh_stats(net->mesh[0], &s);
    return s;
}

static uint32_t dialled(const struct net *net, int at, size_t n)
{
    const struct net_seen *s = net_nth(net, 0, NET_DIAL, at, n);
    if (!s)
        fail_msg("10.0.0.%d is not dialled", at);
    return s->id;
}

static void refuse(struct net *net, uint32_t id)
{
    mesh_on_gone(net->mesh[0], net->now_ns, id);
    net_drain(net, 0);
}

static void say(struct net *net, uint8_t type, const char *node, const char *by,
                uint32_t incarnation)
{
    struct ml_msg msg = {.type = type};
    msg.accusation = (struct ml_accusation){incarnation, span_of_text(node),
                                            span_of_text(by)};
    net_inject_msg(net, 0, "10.0.0.60:7946", &msg);
}

/* Join through the seed at 10.0.0.9, "s". */
static void join(struct net *net)
{
    const struct net_entry s = {"s", 9, INC, ML_STATE_ALIVE, NULL};
    net_mark(net);
    net_run(net, 10 * MS);
    net_answer(net, 0, dialled(net, 9, 0), &s, 1);
    net_answer(net, 0, dialled(net, 9, 1), &s, 1);
    check_u64((uint64_t)net_state(net, 0, "s"), MEMBER_ALIVE);
}

/* ---- the peek ---- */

static void a_newcomer_asks_before_it_tells(void **state)
{
    (void)state;
    static struct net net;
    const struct net_entry there[] = {
        {"s", 9, INC, ML_STATE_ALIVE, NULL},
        {"a", 1, INC + 500, ML_STATE_DEAD, NULL},
    };
    start(&net, seed_9);
    net_run(&net, 10 * MS);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 1);
    uint32_t peek = dialled(&net, 9, 0);
    net_answer(&net, 0, peek, there, 2);
    const struct net_seen *s =
        net_nth(&net, 0, NET_STREAM | ML_PUSH_PULL, 0, 0);
    check_u64(s->n_nodes, 0);
    check_false(s->is_join);
    check_u64(net_nth(&net, 0, NET_HANGUP, 0, 0)->id, peek);
    check_u64(members_count(mesh_members(net.mesh[0])), 1);
    check_u64(stats(&net).incarnation, INC + 501);

    net_answer(&net, 0, dialled(&net, 9, 1), there, 2);
    s = net_nth(&net, 0, NET_STREAM | ML_PUSH_PULL, 0, 1);
    check_u64(s->n_nodes, 1);
    check_true(s->is_join);
    check_u64(net.events[0][MESH_JOINED], 1);
    check_u64(net.events[0][MESH_CONNECTED], 1);
    check_u64(stats(&net).push_pulls, 1);
    net_fini(&net);
}

static void a_newcomer_begins_above_what_is_remembered(void **state)
{
    (void)state;
    static struct net net;
    static const struct {
        uint32_t remembered, begun;
    } cases[] = {
        {1, INC},
        {INC - 1, INC},
        {INC, INC + 1},
        {INC + 1000000, INC + 1000001},
        {UINT32_MAX - 2, UINT32_MAX - 1},
        {UINT32_MAX - 1, INC},
        {UINT32_MAX, INC},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        const struct net_entry a = {"a", 1, cases[i].remembered, ML_STATE_ALIVE,
                                    NULL};
        start(&net, seed_9);
        net_run(&net, 10 * MS);
        net_answer(&net, 0, dialled(&net, 9, 0), &a, 1);
        check_u64(stats(&net).incarnation, cases[i].begun);
        check_u64(net_count(&net, 0, NET_DIAL, 9), 2);
        net_fini(&net);
    }
}

static void a_taken_name_is_not_joined_with(void **state)
{
    (void)state;
    static struct net net;
    const struct net_entry there = {"a", 7, INC + 5, ML_STATE_ALIVE, NULL};
    struct addr at = net_addr(7);
    start(&net, seed_9);
    for (int i = 0; i < 18; i++) { /* 0, 5 ... 85 s */
        net_mark(&net);
        net_run(&net, i ? 5 * SEC : 10 * MS);
        check_u64(net_count(&net, 0, NET_DIAL, 9), 1);
        net_answer(&net, 0, dialled(&net, 9, 0), &there, 1);
        check_u64(net_count(&net, 0, NET_DIAL, 9), 1);
    }
    check_u64(net.events[0][MESH_NAME_TAKEN], 0);
    check_u64(stats(&net).conflicts, 18);
    check_u64(stats(&net).incarnation, INC);
    for (int i = 0; i < 3; i++) {
        net_mark(&net);
        net_run(&net, 5 * SEC + MS);
        net_answer(&net, 0, dialled(&net, 9, 0), &there, 1);
        check_u64(net.events[0][MESH_NAME_TAKEN], 1);
    }
    check_true(addr_equal(&net.event_at[0][MESH_NAME_TAKEN], &at));
    net_fini(&net);
}

static void a_name_that_is_free_again_is_taken(void **state)
{
    (void)state;
    static struct net net;
    struct net_entry there = {"a", 7, INC + 5, ML_STATE_SUSPECT, NULL};
    start(&net, seed_9);
    net_run(&net, 10 * MS);
    net_answer(&net, 0, dialled(&net, 9, 0), &there, 1);
    check_u64(net_count(&net, 0, NET_DIAL, 9), 1);
    there.state = ML_STATE_DEAD;
    net_run(&net, 5 * SEC + MS);
    net_answer(&net, 0, dialled(&net, 9, 1), &there, 1);
    check_u64(net_count(&net, 0, NET_DIAL, 9), 3);
    net_fini(&net);
}

/* While this process stood still nobody could give the name back. */
static void a_pause_does_not_count_as_a_taken_name(void **state)
{
    (void)state;
    static struct net net;
    const struct net_entry there = {"a", 7, INC + 5, ML_STATE_ALIVE, NULL};
    start(&net, seed_9);
    net_run(&net, 10 * MS);
    net_answer(&net, 0, dialled(&net, 9, 0), &there, 1);
    net.is_frozen[0] = true;
    net_run(&net, 200 * SEC);
    net.is_frozen[0] = false;
    net_run(&net, 6 * SEC);
    net_answer(&net, 0, dialled(&net, 9, 1), &there, 1);
    check_u64(net.events[0][MESH_NAME_TAKEN], 0);
    net_fini(&net);
}

static void versions_that_exclude_ours_are_not_joined(void **state)
{
    (void)state;
    static struct net net;
    const struct net_entry there[] = {
        {"s", 9, INC, ML_STATE_ALIVE, NULL},
        {"odd", 8, INC, ML_STATE_ALIVE, other_app},
    };
    start(&net, seed_9);
    net_run(&net, 10 * MS);
    net_answer(&net, 0, dialled(&net, 9, 0), there, 2);
    check_u64(net.events[0][MESH_INCOMPATIBLE], 1);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 1);
    check_u64(stats(&net).push_pull_failures, 1);
    net_run(&net, 2 * SEC);
    net_answer(&net, 0, dialled(&net, 9, 1), there, 2);
    check_u64(net.events[0][MESH_INCOMPATIBLE], 1); /* told once */
    check_u64(members_count(mesh_members(net.mesh[0])), 1);
    net_fini(&net);
}

/* ---- having joined ---- */

static void two_more_exchanges_follow_within_seconds(void **state)
{
    (void)state;
    static struct net net;
    start(&net, seed_9);
    join(&net);
    uint64_t joined_ns = net.now_ns;
    net_mark(&net);
    net_run(&net, 8 * SEC);
    check_u64(net_count(&net, 0, NET_DIAL, 9), 2);
    uint64_t first = net_nth(&net, 0, NET_DIAL, 9, 0)->at_ns - joined_ns;
    uint64_t second = net_nth(&net, 0, NET_DIAL, 9, 1)->at_ns - joined_ns;
    check_true(first >= SEC && first <= 1500 * MS);
    check_true(second >= 3 * SEC && second <= 6 * SEC);
    net_answer(&net, 0, dialled(&net, 9, 0), NULL, 0);
    check_false(net_nth(&net, 0, NET_STREAM | ML_PUSH_PULL, 0, 0)->is_join);
    check_u64(net_nth(&net, 0, NET_STREAM | ML_PUSH_PULL, 0, 0)->n_nodes, 2);
    net_fini(&net);
}

static void who_has_joined_gossips_of_itself(void **state)
{
    (void)state;
    static struct net net;
    bool is_alive_told = false, is_intent_told = false;
    start(&net, seed_9);
    join(&net);
    net_run(&net, 2 * SEC);
    for (size_t i = 0; i < net.n_seen; i++) {
        const struct net_seen *s = &net.seen[i];
        if (s->type == ML_ALIVE && !strcmp(s->node, "a"))
            is_alive_told = true;
        if (s->type == ML_USER && s->user[0] == SERF_JOIN)
            is_intent_told = true;
    }
    check_true(is_alive_told);
    check_true(is_intent_told);
    net_fini(&net);
}

static void who_comes_back_does_not_ask_first(void **state)
{
    (void)state;
    static struct net net;
    start(&net, seed_9);
    join(&net);
    net_run(&net, 8 * SEC);
    net_mark(&net);
    say(&net, ML_DEAD, "s", "z", INC);
    check_u64(net.events[0][MESH_ALONE], 1);
    check_true(stats(&net).is_alone);
    net_run(&net, 1100 * MS);
    const struct net_entry s = {"s", 9, INC + 1, ML_STATE_ALIVE, NULL};
    net_answer(&net, 0, dialled(&net, 9, 0), &s, 1);
    check_true(net_nth(&net, 0, NET_STREAM | ML_PUSH_PULL, 0, 0)->is_join);
    check_u64(net.events[0][MESH_CONNECTED], 2);
    check_false(stats(&net).is_alone);
    net_fini(&net);
}

static void a_suspect_is_company(void **state)
{
    (void)state;
    static struct net net;
    start(&net, NULL);
    net_puppet(&net, 0, "b", 2, INC);
    check_u64(net.events[0][MESH_CONNECTED], 1);
    say(&net, ML_SUSPECT, "b", "z", INC);
    check_u64(net.events[0][MESH_ALONE], 0);
    check_false(stats(&net).is_alone);
    net_fini(&net);
}

/* ---- candidates ---- */

static void three_seeds_are_tried_at_once(void **state)
{
    (void)state;
    static struct net net;
    static const int seeds[] = {11, 12, 13, 14, 15, 0};
    start(&net, seeds);
    net_run(&net, 100 * MS);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 3);
    refuse(&net, net_nth(&net, 0, NET_DIAL, 0, 0)->id);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 4);
    refuse(&net, net_nth(&net, 0, NET_DIAL, 0, 1)->id);
    refuse(&net, net_nth(&net, 0, NET_DIAL, 0, 2)->id);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 5);
    for (int at = 11; at <= 15; at++)
        check_u64(net_count(&net, 0, NET_DIAL, at), 1);
    check_u64(stats(&net).push_pull_failures, 3);
    net_fini(&net);
}

static void three_that_answered_are_enough(void **state)
{
    (void)state;
    static struct net net;
    static const int seeds[] = {11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 0};
    const struct net_entry nobody = {"s", 9, INC, ML_STATE_ALIVE, NULL};
    start(&net, seeds);
    net_run(&net, 100 * MS);
    for (size_t i = 0; net_nth(&net, 0, NET_DIAL, 0, i); i++)
        net_answer(&net, 0, net_nth(&net, 0, NET_DIAL, 0, i)->id, &nobody, 1);
    size_t n = 0;
    for (int at = 11; at <= 20; at++)
        n += net_count(&net, 0, NET_DIAL, at) > 0;
    check_true(n >= 3 && n <= 5);
    net_fini(&net);
}

static void oneself_and_the_same_twice_are_not_tried(void **state)
{
    (void)state;
    static struct net net;
    static const int seeds[] = {1, 9, 9, 1, 0};
    start(&net, seeds);
    net_run(&net, 100 * MS);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 1);
    check_u64(net_count(&net, 0, NET_DIAL, 9), 1);
    net_fini(&net);
}

static void seeds_without_a_port_have_memberlist_s(void **state)
{
    (void)state;
    static struct net net;
    static const char seeds[3][MESH_SEED_SIZE] = {"10.0.0.9", "fd00::9",
                                                  "[fd00::8]:99"};
    struct mesh_config c = config(&net, NULL);
    struct addr six, with_port;
    c.seeds = seeds;
    c.n_seeds = 3;
    net_start(&net, 0, &c);
    net_run(&net, 100 * MS);
    assert_int_equal(addr_parse(&six, "[fd00::9]:7946"), 0);
    assert_int_equal(addr_parse(&with_port, "[fd00::8]:99"), 0);
    check_u64(net_count(&net, 0, NET_DIAL, 9), 1);
    size_t found = 0;
    for (size_t i = 0; i < 3; i++) {
        const struct addr *to = &net_nth(&net, 0, NET_DIAL, 0, i)->to;
        found += addr_equal(to, &six) || addr_equal(to, &with_port);
    }
    check_u64(found, 2);
    net_fini(&net);
}

/* ---- names of seeds ---- */

static const char named[1][MESH_SEED_SIZE] = {"seeds.example:7946"};

static void resolved(struct net *net, const int *at, uint32_t seed)
{
    struct addr addrs[32];
    size_t n = 0;
    for (; at && at[n]; n++)
        addrs[n] = net_addr(at[n]);
    mesh_on_resolved(net->mesh[0], net->now_ns, seed, addrs, n);
    net_drain(net, 0);
}

static void a_name_is_resolved_and_its_addresses_tried(void **state)
{
    (void)state;
    static struct net net;
    static const int at[] = {21, 22, 0};
    struct mesh_config c = config(&net, NULL);
    c.seeds = named;
    c.n_seeds = 1;
    net_start(&net, 0, &c);
    net_run(&net, 10 * MS);
    const struct net_seen *s = net_nth(&net, 0, NET_RESOLVE, 0, 0);
    check_u64(s->id, 0);
    assert_string_equal(s->text, "seeds.example:7946");
    check_u64(net_count(&net, 0, NET_DIAL, 0), 0);
    resolved(&net, at, 0);
    check_u64(net_count(&net, 0, NET_DIAL, 21), 1);
    check_u64(net_count(&net, 0, NET_DIAL, 22), 1);
    net_fini(&net);
}

static void sixteen_addresses_of_a_name_are_tried(void **state)
{
    (void)state;
    static struct net net;
    int at[31] = {0};
    for (int i = 0; i < 30; i++)
        at[i] = 20 + i;
    struct mesh_config c = config(&net, NULL);
    c.seeds = named;
    c.n_seeds = 1;
    net_start(&net, 0, &c);
    net_run(&net, 10 * MS);
    resolved(&net, at, 0);
    for (size_t i = 0; net_nth(&net, 0, NET_DIAL, 0, i); i++)
        refuse(&net, net_nth(&net, 0, NET_DIAL, 0, i)->id);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 16);
    net_fini(&net);
}

static void a_name_that_does_not_resolve_is_asked_for_again(void **state)
{
    (void)state;
    static struct net net;
    struct mesh_config c = config(&net, NULL);
    c.seeds = named;
    c.n_seeds = 1;
    net_start(&net, 0, &c);
    net_run(&net, 10 * MS);
    resolved(&net, NULL, 0);
    net_run(&net, 1100 * MS);
    check_u64(net_count(&net, 0, NET_RESOLVE, 0), 2);
    /* And if no answer ever comes, after three times the patience of one
     * exchange. */
    net_run(&net, 29 * SEC);
    check_u64(net_count(&net, 0, NET_RESOLVE, 0), 2);
    net_run(&net, 4 * SEC);
    check_u64(net_count(&net, 0, NET_RESOLVE, 0), 3);
    net_fini(&net);
}

static void a_name_is_resolved_anew_to_find_the_others(void **state)
{
    (void)state;
    static struct net net;
    static const int at[] = {21, 0}, b[] = {2, 0};
    struct mesh_config c = config(&net, NULL);
    c.seeds = named;
    c.n_seeds = 1;
    net_start(&net, 0, &c);
    net_puppet(&net, 0, "b", 2, INC);
    net_run(&net, 10 * MS);
    net_mark(&net);
    net_run(&net, 46 * SEC);
    check_true(net_count(&net, 0, NET_RESOLVE, 0) > 0);
    resolved(&net, b, 0); /* alive as it is */
    check_u64(net_count(&net, 0, NET_DIAL, 0), 0);
    net_mark(&net);
    net_run(&net, 46 * SEC);
    check_true(net_count(&net, 0, NET_RESOLVE, 0) > 0);
    resolved(&net, at, 1); /* not what was asked for */
    check_u64(net_count(&net, 0, NET_DIAL, 0), 0);
    resolved(&net, at, 0);
    check_u64(net_count(&net, 0, NET_DIAL, 21), 1);
    resolved(&net, at, 0); /* nor asked for again */
    check_u64(net_count(&net, 0, NET_DIAL, 21), 1);
    net_fini(&net);
}

/* ---- coming back ---- */

static void who_was_lost_is_looked_for(void **state)
{
    (void)state;
    static struct net net;
    start(&net, NULL);
    net.holds_dials = false; /* refused */
    net_puppet(&net, 0, "b", 2, INC);
    net_puppet(&net, 0, "c", 3, INC);
    net_run(&net, SEC);
    say(&net, ML_DEAD, "c", "b", INC);
    net_mark(&net);
    net_run(&net, 1200 * SEC);
    size_t n = net_count(&net, 0, NET_DIAL, 3);
    check_true(n >= 6 && n <= 60); /* of 40 chances about half */
    check_u64(net_count(&net, 0, NET_DIAL, 0), n);
    check_u64(stats(&net).push_pull_failures, n);

    net_puppet(&net, 0, "c", 3, INC + 1); /* it is back */
    net_mark(&net);
    net_run(&net, 600 * SEC);
    check_u64(net_count(&net, 0, NET_DIAL, 3), 0);
    net_fini(&net);
}

static void who_was_lost_for_a_day_is_given_up(void **state)
{
    (void)state;
    static struct net net;
    start(&net, NULL);
    net.holds_dials = false;
    net_puppet(&net, 0, "b", 2, INC);
    net_puppet(&net, 0, "c", 3, INC);
    net_run(&net, SEC);
    say(&net, ML_DEAD, "c", "b", INC);
    net.is_blind = true;
    net_run(&net, 23 * HOUR);
    net.is_blind = false;
    net_mark(&net);
    net_run(&net, 3500 * SEC);
    check_true(net_count(&net, 0, NET_DIAL, 3) > 0);
    net_run(&net, 200 * SEC);
    net_mark(&net);
    net_run(&net, HOUR);
    check_u64(net_count(&net, 0, NET_DIAL, 3), 0);
    net_fini(&net);
}

static void a_seed_that_is_not_in_the_mesh_is_tried(void **state)
{
    (void)state;
    static struct net net;
    start(&net, seed_9);
    net.holds_dials = false;
    net_puppet(&net, 0, "b", 2, INC);
    net_run(&net, 5 * SEC);
    net_mark(&net);
    net_run(&net, 600 * SEC);
    size_t n = net_count(&net, 0, NET_DIAL, 9);
    check_true(n >= 13 && n <= 40); /* 15 to 45 s apart */
    net_fini(&net);
}

static void a_seed_that_is_in_the_mesh_is_not(void **state)
{
    (void)state;
    static struct net net;
    static const int seeds[] = {2, 0};
    start(&net, seeds);
    net.holds_dials = false;
    net_puppet(&net, 0, "b", 2, INC);
    net_run(&net, 5 * SEC);
    net_mark(&net);
    net_run(&net, 600 * SEC);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 0);
    net_fini(&net);
}

static void who_left_is_not_looked_for(void **state)
{
    (void)state;
    static struct net net;
    start(&net, NULL);
    net.holds_dials = false;
    net_puppet(&net, 0, "b", 2, INC);
    net_puppet(&net, 0, "c", 3, INC);
    net_run(&net, SEC);
    say(&net, ML_DEAD, "c", "c", INC);
    check_u64(net.events[0][MESH_LEFT], 1);
    net_mark(&net);
    net_run(&net, 600 * SEC);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 0);
    net_fini(&net);
}

/* Alone without a seed, only those who were lost are left to be asked; and the
 * longer it lasts, the less often. */
static void alone_the_lost_are_tried_ever_more_rarely(void **state)
{
    (void)state;
    static struct net net;
    start(&net, NULL);
    net.holds_dials = false;
    net_puppet(&net, 0, "b", 2, INC);
    net_run(&net, SEC);
    net_mark(&net);
    uint64_t was_ns = net.now_ns;
    say(&net, ML_DEAD, "b", "z", INC);
    net_run(&net, 600 * SEC);
    size_t n = net_count(&net, 0, NET_DIAL, 2);
    check_true(n >= 14 && n <= 24);
    check_true(net_nth(&net, 0, NET_DIAL, 2, 0)->at_ns - was_ns <= SEC);
    uint64_t backoff_ns = SEC;
    for (size_t i = 1; i < n; i++) {
        uint64_t gap_ns = net_nth(&net, 0, NET_DIAL, 2, i)->at_ns -
                          net_nth(&net, 0, NET_DIAL, 2, i - 1)->at_ns;
        check_true(gap_ns >= backoff_ns / 2);
        check_true(gap_ns <= backoff_ns + 10 * MS);
        backoff_ns = backoff_ns < 30 * SEC ? 2 * backoff_ns : 60 * SEC;
    }
    net_fini(&net);
}

static void after_company_the_tries_are_frequent_again(void **state)
{
    (void)state;
    static struct net net;
    start(&net, NULL);
    net.holds_dials = false;
    net_puppet(&net, 0, "b", 2, INC);
    say(&net, ML_DEAD, "b", "z", INC);
    net_run(&net, 600 * SEC);
    net_puppet(&net, 0, "b", 2, INC + 1);
    net_run(&net, SEC);
    say(&net, ML_DEAD, "b", "z", INC + 1);
    net_mark(&net);
    net_run(&net, 4 * SEC);
    check_true(net_count(&net, 0, NET_DIAL, 2) >= 3);
    net_fini(&net);
}

/* ---- leaving ---- */

static void leave(struct net *net)
{
    mesh_leave(net->mesh[0], net->now_ns);
    net_drain(net, 0);
}

static void leaving_is_meant_first_then_done(void **state)
{
    (void)state;
    static struct net net;
    start(&net, NULL);
    net_puppet(&net, 0, "b", 2, INC);
    net_puppet(&net, 0, "c", 3, INC);
    net_puppet(&net, 0, "d", 4, INC);
    net_run(&net, 5 * SEC);
    net_mark(&net);
    uint64_t was_ns = net.now_ns;
    leave(&net);
    leave(&net); /* says nothing new */
    check_true(stats(&net).is_leaving);
    check_false(mesh_has_left(net.mesh[0]));
    while (!mesh_has_left(net.mesh[0]) && net.now_ns < was_ns + 10 * SEC)
        net_run(&net, MS);
    check_true(net.now_ns - was_ns < 2500 * MS);
    check_u64(mesh_deadline(net.mesh[0]), UINT64_MAX);

    const struct net_seen *intent = net_nth(&net, 0, ML_USER, 0, 0);
    const struct net_seen *notice = net_nth(&net, 0, ML_DEAD, 0, 0);
    check_u64(intent->user[0], SERF_LEAVE);
    assert_string_equal(notice->node, "a");
    assert_string_equal(notice->by, "a");
    check_u64(notice->incarnation, INC);
    check_true(notice > intent);
    check_true(net.now_ns - notice->at_ns >= SEC);
    /* Two are told by push/pull, too. */
    check_u64(net_count(&net, 0, NET_DIAL, 0), 2);
    check_true(net_nth(&net, 0, NET_DIAL, 0, 0)->at_ns <= notice->at_ns);
    net_fini(&net);
}

static void what_answers_have_told_needs_no_gossip(void **state)
{
    (void)state;
    static struct net net;
    struct ml_msg ping = {.type = ML_PING};
    ping.ping = (struct ml_ping){.seq_no = 1, .node = span_of_text("a")};
    struct mesh_config c = config(&net, NULL);
    c.timing.gossip_interval_ns = 60 * SEC;
    c.timing.ping_interval_ns = 60 * SEC;
    net_start(&net, 0, &c);
    net_puppet(&net, 0, "b", 2, INC);
    for (int i = 0; i < 20; i++) /* nothing else is left to tell */
        net_inject_msg(&net, 0, "10.0.0.2:7946", &ping);
    check_u64(stats(&net).queue_items, 0);
    leave(&net);
    for (int step = 0; step < 2; step++) {
        for (int i = 0; i < 4; i++)
            net_inject_msg(&net, 0, "10.0.0.2:7946", &ping);
        check_u64(stats(&net).queue_items, 0);
        check_true(mesh_deadline(net.mesh[0]) <= net.now_ns);
        net_run(&net, 0);
    }
    net_run(&net, SEC);
    check_true(mesh_has_left(net.mesh[0]));
    net_fini(&net);
}

static void leaving_does_not_wait_for_a_slow_mesh(void **state)
{
    (void)state;
    static struct net net;
    struct mesh_config c = config(&net, NULL);
    c.timing.gossip_interval_ns = 600 * SEC;
    c.timing.ping_interval_ns = 600 * SEC;
    net_start(&net, 0, &c);
    net_puppet(&net, 0, "b", 2, INC);
    leave(&net);
    net_run(&net, 1400 * MS);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 0);
    net_run(&net, 200 * MS); /* the notice is given after 1.5 s */
    check_u64(net_count(&net, 0, NET_DIAL, 0), 1);
    net_run(&net, 2800 * MS);
    check_false(mesh_has_left(net.mesh[0]));
    net_run(&net, 200 * MS);
    check_true(mesh_has_left(net.mesh[0]));
    net_fini(&net);
}

static void who_leaves_answers_pings_and_refutes_nothing(void **state)
{
    (void)state;
    static struct net net;
    struct ml_msg ping = {.type = ML_PING};
    struct addr from = net_addr(60);
    ping.ping = (struct ml_ping){.seq_no = 1, .node = span_of_text("a")};
    start(&net, NULL);
    net_puppet(&net, 0, "b", 2, INC);
    net_run(&net, 5 * SEC);
    leave(&net);
    net_run(&net, 1500 * MS); /* it lingers */
    check_false(mesh_has_left(net.mesh[0]));
    net_mark(&net);
    net_inject_msg(&net, 0, "10.0.0.2:7946", &ping);
    check_u64(net_count(&net, 0, ML_ACK, 2), 1);
    say(&net, ML_SUSPECT, "a", "b", INC);
    say(&net, ML_DEAD, "a", "b", INC + 9);
    check_u64(stats(&net).incarnation, INC);
    check_u64(stats(&net).refutations, 0);
    leave(&net); /* does not begin anew */
    net_run(&net, SEC);
    check_true(mesh_has_left(net.mesh[0]));
    /* And then it is silent. */
    net_mark(&net);
    net_inject_msg(&net, 0, "10.0.0.2:7946", &ping);
    check_u64(net_count(&net, 0, ML_ACK, 2), 0);
    check_u64(mesh_on_accept(net.mesh[0], net.now_ns, &from), 0);
    mesh_on_timer(net.mesh[0], net.now_ns + 100 * SEC);
    net_drain(&net, 0);
    check_u64(net_count(&net, 0, ML_PING, 0), 0);
    net_fini(&net);
}

static void who_leaves_joins_nobody(void **state)
{
    (void)state;
    static struct net net;
    start(&net, seed_9);
    join(&net);
    leave(&net);
    net_run(&net, 400 * MS);
    say(&net, ML_DEAD, "s", "z", INC); /* alone, while it leaves */
    net_mark(&net);
    net_run(&net, 5 * SEC);
    check_true(mesh_has_left(net.mesh[0]));
    check_u64(net_count(&net, 0, NET_DIAL, 0), 0);
    net_fini(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_newcomer_asks_before_it_tells),
        cmocka_unit_test(a_newcomer_begins_above_what_is_remembered),
        cmocka_unit_test(a_taken_name_is_not_joined_with),
        cmocka_unit_test(a_name_that_is_free_again_is_taken),
        cmocka_unit_test(a_pause_does_not_count_as_a_taken_name),
        cmocka_unit_test(versions_that_exclude_ours_are_not_joined),
        cmocka_unit_test(two_more_exchanges_follow_within_seconds),
        cmocka_unit_test(who_has_joined_gossips_of_itself),
        cmocka_unit_test(who_comes_back_does_not_ask_first),
        cmocka_unit_test(a_suspect_is_company),
        cmocka_unit_test(three_seeds_are_tried_at_once),
        cmocka_unit_test(three_that_answered_are_enough),
        cmocka_unit_test(oneself_and_the_same_twice_are_not_tried),
        cmocka_unit_test(seeds_without_a_port_have_memberlist_s),
        cmocka_unit_test(a_name_is_resolved_and_its_addresses_tried),
        cmocka_unit_test(sixteen_addresses_of_a_name_are_tried),
        cmocka_unit_test(a_name_that_does_not_resolve_is_asked_for_again),
        cmocka_unit_test(a_name_is_resolved_anew_to_find_the_others),
        cmocka_unit_test(who_was_lost_is_looked_for),
        cmocka_unit_test(who_was_lost_for_a_day_is_given_up),
        cmocka_unit_test(a_seed_that_is_not_in_the_mesh_is_tried),
        cmocka_unit_test(a_seed_that_is_in_the_mesh_is_not),
        cmocka_unit_test(who_left_is_not_looked_for),
        cmocka_unit_test(alone_the_lost_are_tried_ever_more_rarely),
        cmocka_unit_test(after_company_the_tries_are_frequent_again),
        cmocka_unit_test(leaving_is_meant_first_then_done),
        cmocka_unit_test(what_answers_have_told_needs_no_gossip),
        cmocka_unit_test(leaving_does_not_wait_for_a_slow_mesh),
        cmocka_unit_test(who_leaves_answers_pings_and_refutes_nothing),
        cmocka_unit_test(who_leaves_joins_nobody),
    };
    return cmocka_run_group_tests_name("mesh_join", tests, NULL, NULL);
}
