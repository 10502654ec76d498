/* Being a good neighbour of Serf's, and what is believed of members: one real
 * node, "a", and puppets. */
#include "proto/ml_msg.h"
#include "proto/serf_msg.h"
#include "test/check.h"
#include "test/mesh_net.h"

#include <stdio.h>
#include <string.h>

#define SEC  NET_SEC
#define MS   NET_MS
#define INC  ((uint32_t)NET_UNIX_S)
#define B_AT "10.0.0.2:7946"

static void start(struct net *net, int n_puppets)
{
    net_init(net);
    net->acking = ~UINT64_C(0);
    struct mesh_config c = net_config(net, 0);
    c.n_seeds = 0;
    net_start(net, 0, &c);
    for (int i = 0; i < n_puppets; i++) {
        char name[2] = {(char)('b' + i), 0};
        net_puppet(net, 0, name, i + 2, INC);
    }
    if (n_puppets)
        net_run(net, 5 * SEC);
    net_mark(net);
}

static struct mesh_stats stats(const struct net *net)
{
    struct mesh_stats s;
    mesh_stats(net->mesh[0], &s);
    return s;
}

static void send_user(struct net *net, const void *bytes, size_t len)
{
    struct ml_msg msg = {.type = ML_USER, .user = span_of(bytes, len)};
    net_inject_msg(net, 0, B_AT, &msg);
}

static void intend(struct net *net, bool is_leave, uint64_t ltime,
                   const char *node)
{
    uint8_t payload[64];
    struct wr w;
    struct serf_intent intent = {
        .is_leave = is_leave, .ltime = ltime, .node = span_of_text(node)};
    wr_init_fixed(&w, payload, sizeof(payload));
    serf_intent_write(&w, &intent);
    send_user(net, w.data, w.len);
}

static void say(struct net *net, uint8_t type, const char *node, const char *by,
                uint32_t incarnation)
{
    struct ml_msg msg = {.type = type};
    msg.accusation = (struct ml_accusation){incarnation, span_of_text(node),
                                            span_of_text(by)};
    net_inject_msg(net, 0, "10.0.0.60:7946", &msg);
}

/* The `n`th intent that the node has told, its own or another's. Spans are
 * borrowed from `net`. */
static bool told(struct net *net, size_t n, struct serf_intent *out)
{
    const struct net_seen *s = NULL;
    struct serf_intent last = {.node = {NULL, 0}};
    for (size_t i = 0; (s = net_nth(net, 0, ML_USER, 0, i)); i++) {
        struct serf_intent is;
        if (serf_intent_read(span_of(s->user, s->n_user), &is))
            continue;
        bool is_same = last.node.data && is.ltime == last.ltime &&
                       is.is_leave == last.is_leave &&
                       span_equal(is.node, last.node);
        last = is;
        if (!is_same && n-- == 0) {
            *out = is;
            return true;
        }
    }
    return false;
}

/* ---- intents ---- */

static void a_later_intent_counts_and_an_earlier_one_does_not(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1);
    intend(&net, true, 50, "b");
    check_true(net_member(&net, 0, "b")->is_leaving);
    check_u64(net.events[0][MESH_UPDATED], 1);
    intend(&net, false, 40, "b");
    check_true(net_member(&net, 0, "b")->is_leaving);
    intend(&net, false, 50, "b");
    check_true(net_member(&net, 0, "b")->is_leaving);
    check_u64(net.events[0][MESH_UPDATED], 1);
    intend(&net, true, 51, "b"); /* nothing new */
    check_u64(net.events[0][MESH_UPDATED], 1);
    intend(&net, false, 52, "b");
    check_false(net_member(&net, 0, "b")->is_leaving);
    check_u64(net.events[0][MESH_UPDATED], 2);
    net_fini(&net);
}

static void intents_are_passed_on_once_even_of_the_unknown(void **state)
{
    (void)state;
    static struct net net;
    struct serf_intent is;
    start(&net, 1);
    intend(&net, true, 50, "nobody");
    check_u64(stats(&net).queue_items, 1);
    intend(&net, true, 50, "nobody");
    check_u64(stats(&net).queue_items, 1);
    net_run(&net, 3 * SEC);
    check_true(told(&net, 0, &is));
    check_true(span_is(is.node, "nobody"));
    check_u64(is.ltime, 50);
    check_u64(stats(&net).queue_items, 0);
    intend(&net, true, 50, "nobody");
    check_u64(stats(&net).queue_items, 0);
    net_fini(&net);
}

static void our_denial_is_later_than_the_claim(void **state)
{
    (void)state;
    static struct net net;
    struct serf_intent claim, denial;
    start(&net, 1);
    intend(&net, true, 70, "a");
    net_run(&net, 3 * SEC);
    check_true(told(&net, 0, &claim));
    check_true(told(&net, 1, &denial));
    /* In the order in which the queue gave them out. */
    if (!claim.is_leave) {
        struct serf_intent swap = claim;
        claim = denial;
        denial = swap;
    }
    check_u64(claim.ltime, 70);
    check_false(denial.is_leave);
    check_true(denial.ltime > 70);
    check_true(span_is(denial.node, "a"));
    intend(&net, false, denial.ltime, "a"); /* comes back to us */
    check_u64(stats(&net).queue_items, 0);
    net_fini(&net);
}

static void a_join_in_our_name_needs_no_denial(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1);
    intend(&net, false, 70, "a");
    check_u64(stats(&net).queue_items, 1); /* passed on, and no more */
    net_fini(&net);
}

static void our_clock_runs_ahead_of_all_that_was_heard(void **state)
{
    (void)state;
    static struct net net;
    struct serf_intent is;
    start(&net, 1);
    intend(&net, true, 1000, "nobody");
    net_run(&net, 3 * SEC);
    net_mark(&net);
    mesh_leave(net.mesh[0], net.now_ns);
    net_drain(&net, 0);
    net_run(&net, SEC);
    check_true(told(&net, 0, &is));
    check_true(is.is_leave);
    check_u64(is.ltime, 1001);
    net_fini(&net);
}

static void a_clock_at_the_end_of_time_is_not_heeded(void **state)
{
    (void)state;
    static struct net net;
    struct serf_intent is;
    start(&net, 1);
    intend(&net, true, UINT64_MAX, "nobody");
    intend(&net, true, UINT64_MAX / 2, "nobody");
    net_run(&net, 3 * SEC);
    net_mark(&net);
    mesh_leave(net.mesh[0], net.now_ns);
    net_drain(&net, 0);
    net_run(&net, SEC);
    check_true(told(&net, 0, &is));
    check_u64(is.ltime, 1);
    net_fini(&net);
}

static void an_intent_that_could_not_be_denied_is_void(void **state)
{
    (void)state;
    static struct net net;
    static const uint64_t ends[] = {UINT64_MAX / 2, UINT64_MAX - 1, UINT64_MAX};
    start(&net, 1);
    for (int i = 0; i < 3; i++) {
        intend(&net, true, ends[i], "b");
        check_false(net_member(&net, 0, "b")->is_leaving);
        intend(&net, true, ends[i], "a");
        check_u64(stats(&net).queue_items, 0);
        check_u64(stats(&net).drops[ML_DROP_MESSAGE], 2u * (unsigned)i + 2);
    }
    intend(&net, true, UINT64_MAX / 2 - 1, "b");
    check_true(net_member(&net, 0, "b")->is_leaving);
    net_fini(&net);
}

static void who_leaves_does_not_deny_it(void **state)
{
    (void)state;
    static struct net net;
    struct serf_intent is;
    start(&net, 1);
    mesh_leave(net.mesh[0], net.now_ns);
    net_drain(&net, 0);
    intend(&net, true, 70, "a");
    net_run(&net, 5 * SEC);
    for (size_t i = 0; told(&net, i, &is); i++)
        check_true(is.is_leave);
    net_fini(&net);
}

static void who_comes_back_is_not_leaving_any_more(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 2);
    intend(&net, true, 50, "b");
    say(&net, ML_DEAD, "b", "b", INC);
    check_true(net_member(&net, 0, "b")->is_leaving);
    net_puppet(&net, 0, "b", 2, INC + 1);
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_ALIVE);
    check_false(net_member(&net, 0, "b")->is_leaving);
    net_fini(&net);
}

/* Its clock begins at 1 again, and what it says of itself counts. */
static void who_comes_back_may_leave_again(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 2);
    intend(&net, true, 50, "b");
    say(&net, ML_DEAD, "b", "b", INC);
    net_puppet(&net, 0, "b", 2, INC + 1);
    intend(&net, true, 50, "b"); /* of its former life, and known */
    check_false(net_member(&net, 0, "b")->is_leaving);
    intend(&net, false, 1, "b");
    intend(&net, true, 2, "b");
    check_true(net_member(&net, 0, "b")->is_leaving);
    net_fini(&net);
}

/* ---- events and queries ---- */

/* {"Flags": flags, "LTime": ltime, "Name": "n"} */
static void send_event(struct net *net, uint8_t type, uint8_t flags,
                       uint8_t ltime)
{
    uint8_t bytes[] = "\x03\x83\xa5"
                      "Flags\x00\xa5"
                      "LTime\x00\xa4"
                      "Name\xa1n";
    bytes[0] = type;
    bytes[8] = flags;
    bytes[15] = ltime;
    send_user(net, bytes, sizeof(bytes) - 1);
}

static void queries_that_are_to_stay_are_not_passed_on(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1);
    send_event(&net, SERF_QUERY, 2, 1);
    send_event(&net, SERF_QUERY, 3, 2);
    check_u64(stats(&net).queue_items, 0);
    send_event(&net, SERF_QUERY, 1, 3);
    check_u64(stats(&net).queue_items, 1);
    send_event(&net, SERF_USER_EVENT, 2, 4); /* no flags of a query */
    check_u64(stats(&net).queue_items, 2);
    check_u64(stats(&net).drops[ML_DROP_MESSAGE], 0);
    net_fini(&net);
}

static void what_is_for_others_or_broken_is_not_passed_on(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1);
    send_event(&net, SERF_QUERY_RESPONSE, 0, 1);
    send_event(&net, SERF_RELAY, 0, 1);
    send_event(&net, SERF_PUSH_PULL, 0, 1);
    send_event(&net, 6, 0, 1);
    check_u64(stats(&net).drops[ML_DROP_MESSAGE], 0);
    send_user(&net, "\x03\xc1", 2);
    send_user(&net, "\x00\xc1", 2);
    check_u64(stats(&net).drops[ML_DROP_MESSAGE], 2);
    send_user(&net, "", 0);
    check_u64(stats(&net).queue_items, 0);
    check_u64(net.n_user[0], 0);
    net_fini(&net);
}

static void many_events_are_remembered(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1);
    for (uint8_t i = 0; i < 100; i++)
        send_event(&net, SERF_USER_EVENT, 0, i);
    uint64_t n = stats(&net).queue_items;
    check_u64(n, 100);
    for (uint8_t i = 0; i < 100; i++)
        send_event(&net, SERF_USER_EVENT, 0, i);
    check_u64(stats(&net).queue_items, n);
    net_fini(&net);
}

/* So many at once, then so many a second; the others are heard, not told. */
static void what_is_told_on_is_bounded(void **state)
{
    (void)state;
    static struct net net;
    struct serf_intent is;
    start(&net, 1);
    for (uint64_t i = 0; i < 600; i++)
        intend(&net, true, 1000 + i, "nobody");
    check_u64(stats(&net).queue_items, 512);
    net_run(&net, SEC);
    uint64_t waiting = stats(&net).queue_items;
    for (uint64_t i = 0; i < 600; i++)
        intend(&net, true, 3000 + i, "nobody");
    check_u64(stats(&net).queue_items - waiting, 64);
    net_run(&net, 30 * SEC); /* told, and the allowance is back */
    check_u64(stats(&net).queue_items, 0);
    net_mark(&net);
    intend(&net, true, 9000, "b"); /* heeded all the same */
    check_true(net_member(&net, 0, "b")->is_leaving);
    check_u64(stats(&net).queue_items, 1);
    net_run(&net, 2 * SEC);
    check_true(told(&net, 0, &is));
    check_u64(is.ltime, 9000);
    net_fini(&net);
}

/* 4096 places, four for each message: when its four are taken it counts as
 * known, and in a minute it is new again. */
static void what_cannot_be_remembered_is_not_told_on(void **state)
{
    (void)state;
    static struct net net;
    uint64_t told_on = 0;
    start(&net, 1);
    for (uint64_t round = 0; round < 20; round++) {
        net_run(&net, 9 * SEC / 2); /* 288 may be told */
        uint64_t waiting = stats(&net).queue_items;
        for (uint64_t i = 0; i < 280; i++)
            intend(&net, true, 1000 + 280 * round + i, "nobody");
        told_on += stats(&net).queue_items - waiting;
        if (round == 12) {
            check_true(told_on < 280 * 13);
            check_true(told_on > 280 * 10);
        }
    }
    check_true(told_on < 280 * 20);
    net_fini(&net);
}

static void our_messages_name_the_member_they_come_from(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1);
    struct ml_msg msg = {.type = ML_USER, .user = span_of("\x80hi", 3)};
    net_inject_msg(&net, 0, B_AT, &msg);
    check_u64(net.user_member[0],
              members_find(mesh_members(net.mesh[0]), span_of_text("b")));
    net_inject_msg(&net, 0, "10.0.0.2:9", &msg); /* ports differ for streams */
    check_u64(net.user_member[0], 1);
    net_inject_msg(&net, 0, "10.0.0.60:7946", &msg);
    check_u64(net.user_member[0], UINT32_MAX);
    check_u64(net.n_user[0], 3);
    check_u64(stats(&net).user_in, 3);
    check_u64(stats(&net).queue_items, 0);
    net_fini(&net);
}

/* ---- the state in a push/pull ---- */

static void push_state(struct net *net, const void *user, size_t len)
{
    const struct net_entry b = {"b", 2, INC, ML_STATE_ALIVE, NULL};
    struct addr from = net_addr(50);
    struct span bytes = net_push_pull(false, &b, 1, span_of(user, len));
    uint32_t id = mesh_on_accept(net->mesh[0], net->now_ns, &from);
    mesh_on_bytes(net->mesh[0], net->now_ns, id, bytes.data, bytes.len);
    net_drain(net, 0);
    free((void *)(uintptr_t)bytes.data);
}

/* {"LTime": 0x0300, "LeftMembers": ["a"], ...} */
static const char left_us[] = "\x02\x82\xa5"
                              "LTime\xcd\x03\x00\xab"
                              "LeftMembers\x91\xa1"
                              "a";

static void who_is_listed_as_left_says_that_it_is_here(void **state)
{
    (void)state;
    static struct net net;
    struct serf_intent is;
    start(&net, 1);
    push_state(&net, left_us, sizeof(left_us) - 1);
    check_u64(stats(&net).drops[ML_DROP_MESSAGE], 0);
    net_run(&net, 2 * SEC);
    check_true(told(&net, 0, &is));
    check_false(is.is_leave);
    check_true(span_is(is.node, "a"));
    check_u64(is.ltime, 0x300); /* after what others have witnessed */
    net_fini(&net);
}

/* A state has room for a hundred thousand. */
static void however_often_we_are_listed_we_say_it_once(void **state)
{
    (void)state;
    static struct net net;
    static uint8_t bytes[20000];
    struct wr w;
    start(&net, 1);
    wr_init_fixed(&w, bytes, sizeof(bytes));
    wr_bytes(&w, left_us, sizeof(left_us) - 1 - 3);
    wr_u8(&w, 0xdc); /* an array of 16 bits */
    wr_be16(&w, 8000);
    for (int i = 0; i < 8000; i++)
        wr_be16(&w, 0xa161);
    check_i64(wr_err(&w), 0);
    push_state(&net, w.data, w.len);
    check_u64(stats(&net).drops[ML_DROP_MESSAGE], 0);
    check_true(stats(&net).queue_items <= 2); /* and that "b" is here */
    check_u64(stats(&net).queue_dropped, 0);
    net_fini(&net);
}

static void others_listed_as_left_are_not_our_business(void **state)
{
    (void)state;
    static struct net net;
    char other[sizeof(left_us)];
    memcpy(other, left_us, sizeof(other));
    other[sizeof(other) - 2] = 'x';
    start(&net, 1);
    push_state(&net, other, sizeof(other) - 1);
    check_u64(stats(&net).queue_items, 0);
    push_state(&net, "\x02\xc1", 2);
    check_u64(stats(&net).drops[ML_DROP_MESSAGE], 1);
    check_u64(stats(&net).push_pulls, 2);
    net_fini(&net);
}

/* ---- what is believed ---- */

static void who_restarts_below_its_death_is_told_of_it(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 2);
    say(&net, ML_DEAD, "b", "z", INC + 5);
    net_run(&net, 3 * SEC);
    net_mark(&net);
    net_puppet(&net, 0, "b", 2, INC + 5);
    const struct net_seen *s = net_nth(&net, 0, ML_DEAD, 2, 0);
    assert_non_null(s);
    assert_string_equal(s->node, "b");
    assert_string_equal(s->by, "a");
    check_u64(s->incarnation, INC + 5);
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_DEAD);

    /* Heard from another it may be an old packet that goes round. */
    net_mark(&net);
    uint8_t ip[] = {10, 0, 0, 2};
    static const uint8_t vsn[] = {1, 5, 2, 2, 5, 5};
    struct ml_msg msg = {.type = ML_ALIVE};
    msg.alive = (struct ml_alive){.incarnation = INC + 4,
                                  .node = span_of_text("b"),
                                  .addr = span_of(ip, 4),
                                  .port = 7946,
                                  .vsn = span_of(vsn, 6)};
    net_inject_msg(&net, 0, "10.0.0.3:7946", &msg);
    check_u64(net_count(&net, 0, ML_DEAD, 0), 0);
    net_fini(&net);
}

static void the_alive_that_are_late_are_told_nothing(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 2);
    net_mark(&net);
    net_puppet(&net, 0, "b", 2, INC - 5);
    check_u64(net_count(&net, 0, ML_DEAD, 0), 0);
    check_u64(stats(&net).queue_items, 0);
    net_fini(&net);
}

static void a_new_life_begins_with_clean_counters(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 2);
    check_true(net_member(&net, 0, "b")->rtt_ns > 0);
    say(&net, ML_DEAD, "b", "z", INC);
    net_puppet(&net, 0, "b", 2, INC + 1);
    check_u64(net_member(&net, 0, "b")->rtt_ns, 0);
    net_fini(&net);
}

static void a_refuted_suspicion_is_reported_as_such(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 2);
    say(&net, ML_SUSPECT, "b", "z", INC);
    check_u64(net.events[0][MESH_SUSPECTED], 1);
    net_puppet(&net, 0, "b", 2, INC + 1);
    check_u64(net.events[0][MESH_REFUTED], 1);
    check_u64(net.events[0][MESH_JOINED], 2);
    net_puppet(&net, 0, "b", 2, INC + 2); /* was not suspect */
    check_u64(net.events[0][MESH_REFUTED], 1);
    check_u64(net.events[0][MESH_UPDATED], 0);
    net_fini(&net);
}

static void a_claim_to_a_name_is_reported_with_its_address(void **state)
{
    (void)state;
    static struct net net;
    struct addr at = net_addr(33);
    start(&net, 1);
    net_puppet(&net, 0, "b", 33, INC + 1);
    check_u64(net.events[0][MESH_CONFLICT], 1);
    check_true(addr_equal(&net.event_at[0][MESH_CONFLICT], &at));
    check_u64(stats(&net).conflicts, 1);
    net_fini(&net);
}

static void the_mark_of_ours_is_read_anew_with_each_change(void **state)
{
    (void)state;
    static struct net net;
    uint8_t ip[] = {10, 0, 0, 2};
    static const uint8_t vsn[] = {1, 5, 2, 2, 5, 5};
    struct ml_msg msg = {.type = ML_ALIVE};
    struct span hi = span_of_text("\x80hi");
    msg.alive = (struct ml_alive){.incarnation = INC + 1,
                                  .node = span_of_text("b"),
                                  .addr = span_of(ip, 4),
                                  .port = 7946,
                                  .vsn = span_of(vsn, 6)};
    start(&net, 1);
    check_true(mesh_send(net.mesh[0], net.now_ns, 1, hi, false) == 0);
    net_inject_msg(&net, 0, B_AT, &msg);
    check_u64(net.events[0][MESH_UPDATED], 1);
    check_true(mesh_send(net.mesh[0], net.now_ns, 1, hi, false) == ERR_AUTH);
    net_puppet(&net, 0, "b", 2, INC + 2);
    check_true(mesh_send(net.mesh[0], net.now_ns, 1, hi, false) == 0);
    net_fini(&net);
}

/* ---- storms ---- */

static void inject_event(struct net *net, int i, unsigned number)
{
    uint8_t bytes[128];
    char name[16];
    struct wr w;
    snprintf(name, sizeof(name), "event%05u", number);
    wr_init_fixed(&w, bytes, sizeof(bytes));
    wr_bytes(&w,
             "\x08\x03\x84\xa2"
             "CC\xc3\xa5LTime\x01\xa4Name\xaa",
             20);
    wr_text(&w, name);
    wr_bytes(&w, "\xa7Payload\xa1x", 10);
    assert_int_equal(wr_err(&w), 0);
    net_inject(net, i, "10.0.0.9:7946", w.data, w.len);
}

/* What all pass on to all has to come to an end, however many they are. */
static void any_number_of_events_dies_down(void **state)
{
    (void)state;
    static struct net net;
    net_init(&net);
    for (int i = 0; i < 4; i++) {
        struct mesh_config c = net_config(&net, i);
        net_start(&net, i, &c);
    }
    net.is_blind = true;
    net_run(&net, 15 * SEC);
    for (unsigned n = 0; n < 6000; n++) {
        inject_event(&net, (int)(n % 4), n);
        if (n % 20 == 0)
            net_run(&net, 10 * MS);
    }
    net_run(&net, 120 * SEC);
    for (int i = 0; i < 4; i++) {
        struct mesh_stats s;
        mesh_stats(net.mesh[i], &s);
        check_u64(s.queue_items, 0);
    }
    check_true(net_all_alive(&net));
    net_fini(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_later_intent_counts_and_an_earlier_one_does_not),
        cmocka_unit_test(intents_are_passed_on_once_even_of_the_unknown),
        cmocka_unit_test(our_denial_is_later_than_the_claim),
        cmocka_unit_test(a_join_in_our_name_needs_no_denial),
        cmocka_unit_test(our_clock_runs_ahead_of_all_that_was_heard),
        cmocka_unit_test(a_clock_at_the_end_of_time_is_not_heeded),
        cmocka_unit_test(an_intent_that_could_not_be_denied_is_void),
        cmocka_unit_test(who_leaves_does_not_deny_it),
        cmocka_unit_test(who_comes_back_is_not_leaving_any_more),
        cmocka_unit_test(who_comes_back_may_leave_again),
        cmocka_unit_test(queries_that_are_to_stay_are_not_passed_on),
        cmocka_unit_test(what_is_for_others_or_broken_is_not_passed_on),
        cmocka_unit_test(many_events_are_remembered),
        cmocka_unit_test(our_messages_name_the_member_they_come_from),
        cmocka_unit_test(who_is_listed_as_left_says_that_it_is_here),
        cmocka_unit_test(however_often_we_are_listed_we_say_it_once),
        cmocka_unit_test(others_listed_as_left_are_not_our_business),
        cmocka_unit_test(who_restarts_below_its_death_is_told_of_it),
        cmocka_unit_test(the_alive_that_are_late_are_told_nothing),
        cmocka_unit_test(a_new_life_begins_with_clean_counters),
        cmocka_unit_test(a_refuted_suspicion_is_reported_as_such),
        cmocka_unit_test(a_claim_to_a_name_is_reported_with_its_address),
        cmocka_unit_test(the_mark_of_ours_is_read_anew_with_each_change),
        cmocka_unit_test(any_number_of_events_dies_down),
        cmocka_unit_test(what_is_told_on_is_bounded),
        cmocka_unit_test(what_cannot_be_remembered_is_not_told_on),
    };
    return cmocka_run_group_tests_name("mesh_serf", tests, NULL, NULL);
}
