/* Failure detection: one real node, "a", and puppets that the test plays. */
#include "proto/ml_msg.h"
#include "proto/ml_packet.h"
#include "test/check.h"
#include "test/mesh_net.h"

#include <stdio.h>
#include <string.h>

#define SEC NET_SEC
#define MS  NET_MS
#define INC ((uint32_t)NET_UNIX_S)

#define B_AT "10.0.0.2:7946"
#define C_AT "10.0.0.3:7946"
#define D_AT "10.0.0.4:7946"

static const uint8_t old_vsn[ML_VSN_SIZE] = {1, 2, 2, 2, 5, 5};
static const uint8_t vsn_3[ML_VSN_SIZE] = {1, 3, 2, 2, 5, 5};
static const uint8_t vsn_4[ML_VSN_SIZE] = {1, 4, 2, 2, 5, 5};

/* Node "a" with puppets "b", "c" ... that answer, but for those in `silent`
 * (bits as in net.acking). */
static void start(struct net *net, int n_puppets, uint64_t silent)
{
    net_init(net);
    struct mesh_config c = net_config(net, 0);
    c.n_seeds = 0;
    net_start(net, 0, &c);
    net->acking = ~silent;
    for (int i = 0; i < n_puppets; i++) {
        char name[2] = {(char)('b' + i), 0};
        net_puppet(net, 0, name, i + 2, INC);
    }
}

static struct mesh_stats stats(const struct net *net)
{
    struct mesh_stats s;
    mesh_stats(net->mesh[0], &s);
    return s;
}

/* The first ping of the last round with puppet `at`. */
static const struct net_seen *last_round(struct net *net, int at)
{
    const struct net_seen *s, *first = NULL;
    for (size_t i = 0; (s = net_nth(net, 0, ML_PING, at, i)); i++) {
        if (!first || s->seq_no != first->seq_no)
            first = s;
    }
    return first;
}

/* Run until a round with puppet `at` has just begun, and search from its ping
 * on. */
static struct net_seen await_ping(struct net *net, int at)
{
    net->mark = 0;
    for (int i = 0; i < 60000; i++) {
        const struct net_seen *s = last_round(net, at);
        if (s && net->now_ns - s->at_ns < 50 * MS) {
            net->mark = (size_t)(s - net->seen);
            return *s;
        }
        net_run(net, MS);
    }
    fail_msg("10.0.0.%d is not pinged", at);
    return (struct net_seen){0};
}

static void await_failure(struct net *net)
{
    uint64_t was = stats(net).ping_failures;
    for (int i = 0; stats(net).ping_failures == was; i++) {
        assert_true(i < 60000);
        net_run(net, MS);
    }
}

static void send_ack(struct net *net, const char *from, uint32_t seq_no)
{
    struct ml_msg msg = {.type = ML_ACK};
    msg.ack.seq_no = seq_no;
    net_inject_msg(net, 0, from, &msg);
}

static void send_nack(struct net *net, const char *from, uint32_t seq_no)
{
    struct ml_msg msg = {.type = ML_NACK};
    msg.nack.seq_no = seq_no;
    net_inject_msg(net, 0, from, &msg);
}

static void accuse(struct net *net, const char *node, uint32_t incarnation)
{
    struct ml_msg msg = {.type = ML_SUSPECT};
    msg.accusation = (struct ml_accusation){incarnation, span_of_text(node),
                                            span_of_text("z")};
    net_inject_msg(net, 0, "10.0.0.9:7946", &msg);
}

static void say_dead(struct net *net, const char *node, const char *by,
                     uint32_t incarnation)
{
    struct ml_msg msg = {.type = ML_DEAD};
    msg.accusation = (struct ml_accusation){incarnation, span_of_text(node),
                                            span_of_text(by)};
    net_inject_msg(net, 0, "10.0.0.9:7946", &msg);
}

static void set_meta(struct net *net, const char *text)
{
    assert_int_equal(
        mesh_set_meta(net->mesh[0], net->now_ns, span_of_text(text)), 0);
    net_drain(net, 0);
}

/* ---- the ping ---- */

static void everybody_is_pinged_in_turn(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 4, 0);
    net_run(&net, 2 * SEC);
    net_mark(&net);
    net_run(&net, 40 * SEC);
    for (int at = 2; at < 6; at++)
        check_true(net_count(&net, 0, ML_PING, at) - 9 <= 2);
    check_u64(net_count(&net, 0, ML_PING, 1), 0);
    check_u64(stats(&net).ping_failures, 0);
    check_u64(net_count(&net, 0, ML_INDIRECT_PING, 0), 0);
    net_fini(&net);
}

static void a_ping_is_sent_five_times_in_half_a_second(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    struct net_seen first = await_ping(&net, 2);
    assert_string_equal(first.node, "b");
    assert_string_equal(first.by, "a");
    net_run(&net, 990 * MS);
    check_u64(net_count(&net, 0, ML_PING, 2), 5);
    for (size_t i = 0; i < 5; i++) {
        const struct net_seen *s = net_nth(&net, 0, ML_PING, 2, i);
        check_u64(s->seq_no, first.seq_no);
        check_u64(s->at_ns - first.at_ns, i * 100 * MS);
    }
    net_fini(&net);
}

static void an_answer_ends_the_repeating(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    struct net_seen first = await_ping(&net, 2);
    net_run(&net, 250 * MS);
    check_u64(net_count(&net, 0, ML_PING, 2), 3);
    send_ack(&net, B_AT, first.seq_no);
    net_run(&net, 700 * MS);
    check_u64(net_count(&net, 0, ML_PING, 2), 3);
    check_u64(stats(&net).ping_failures, 0);
    net_fini(&net);
}

static void news_rides_with_the_first_ping_only(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    for (int i = 0; i < 40; i++) { /* there is always something to tell */
        char text[16];
        snprintf(text, sizeof(text), "facts %d", i);
        set_meta(&net, text);
        net_run(&net, 37 * MS);
    }
    const struct net_seen *s, *first = net_nth(&net, 0, ML_PING, 2, 0);
    for (size_t i = 0; i < 5; i++) {
        s = net_nth(&net, 0, ML_PING, 2, i);
        check_u64(s->seq_no, first->seq_no);
        check_u64(s[1].packet == s->packet, i == 0);
    }
    net_fini(&net);
}

static void numbers_of_pings_do_not_follow_each_other(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 0);
    net_run(&net, 60 * SEC);
    size_t n = net_count(&net, 0, ML_PING, 2);
    check_true(n > 50);
    for (size_t i = 1; i < n; i++) {
        uint32_t was = net_nth(&net, 0, ML_PING, 2, i - 1)->seq_no;
        uint32_t is = net_nth(&net, 0, ML_PING, 2, i)->seq_no;
        check_true(is - was + 1000 > 2000);
    }
    net_fini(&net);
}

static void the_time_of_an_answer_is_kept(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    struct net_seen first = await_ping(&net, 2);
    net_run(&net, 30 * MS);
    uint64_t rtt_ns = net.now_ns - first.at_ns;
    send_ack(&net, B_AT, first.seq_no);
    check_u64(net_member(&net, 0, "b")->rtt_ns, rtt_ns);
    net_run(&net, 100 * MS);

    /* Of two nobody knows which one was answered. */
    first = await_ping(&net, 2);
    net_run(&net, 150 * MS);
    send_ack(&net, B_AT, first.seq_no);
    check_u64(net_member(&net, 0, "b")->rtt_ns, rtt_ns);
    net_fini(&net);
}

static void an_answer_from_another_port_of_it_counts(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    struct net_seen first = await_ping(&net, 2);
    send_ack(&net, "10.0.0.2:50000", first.seq_no);
    net_run(&net, 950 * MS);
    check_u64(stats(&net).ping_failures, 0);
    check_u64(stats(&net).strangers, 0);
    net_fini(&net);
}

static void an_answer_from_another_member_does_not_count(void **state)
{
    (void)state;
    static struct net net;
    static const char *const from[] = {C_AT, "10.0.0.77:7946", "10.0.0.3:99"};
    for (int i = 0; i < 3; i++) {
        start(&net, 2, 1 << 2 | 1 << 3);
        struct net_seen first = await_ping(&net, 2);
        send_ack(&net, from[i], first.seq_no);
        check_u64(stats(&net).strangers, 1);
        await_failure(&net);
        check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_SUSPECT);
        net_fini(&net);
    }
}

/* A port of the same address may be another member, as in tests on one
 * machine. */
static void a_neighbour_on_the_same_address_cannot_answer(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    uint8_t ip[] = {10, 0, 0, 2};
    struct ml_msg msg = {.type = ML_ALIVE};
    msg.alive = (struct ml_alive){.incarnation = INC,
                                  .node = span_of_text("n"),
                                  .addr = span_of(ip, 4),
                                  .port = 7947,
                                  .vsn = span_of(vsn_4, 6)};
    net_inject_msg(&net, 0, B_AT, &msg);
    struct net_seen first = await_ping(&net, 2);
    send_ack(&net, "10.0.0.2:7947", first.seq_no);
    check_u64(stats(&net).strangers, 1);
    net_fini(&net);
}

static void a_number_that_is_not_the_ping_s_counts_for_nothing(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    struct net_seen first = await_ping(&net, 2);
    send_ack(&net, B_AT, first.seq_no + 1);
    await_failure(&net);
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_SUSPECT);
    /* Too late: the round is over. */
    send_ack(&net, B_AT, first.seq_no);
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_SUSPECT);
    net_fini(&net);
}

static void a_suspect_is_told_so_beside_its_ping(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 2, 1 << 2);
    net_run(&net, 3 * SEC);
    accuse(&net, "b", INC + 5);
    net_run(&net, 1 * SEC); /* gossip of it is over */
    struct net_seen ping = await_ping(&net, 2);
    size_t n_told = 0;
    for (size_t i = net.mark; i < net.n_seen; i++) {
        const struct net_seen *s = &net.seen[i];
        if (s->packet != ping.packet || s->type != ML_SUSPECT)
            continue;
        n_told++;
        assert_string_equal(s->node, "b");
        assert_string_equal(s->by, "a");
        check_u64(s->incarnation, INC + 5);
    }
    check_u64(n_told, 1);
    net_fini(&net);
}

static void one_that_is_alive_is_told_nothing_of_suspicion(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 0);
    net_run(&net, 30 * SEC);
    check_u64(net_count(&net, 0, ML_SUSPECT, 0), 0);
    net_fini(&net);
}

static void a_checksum_goes_to_those_that_take_it(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 0, 0);
    net_puppet(&net, 0, "b", 2, INC);
    net_puppet_vsn(&net, 0, "c", 3, INC, vsn_4);
    net_run(&net, 10 * SEC);
    check_true(net_nth(&net, 0, ML_PING, 2, 0)->has_crc);
    check_false(net_nth(&net, 0, ML_PING, 3, 0)->has_crc);
    for (size_t i = 0; i < net.n_seen; i++) {
        struct addr b = net_addr(2);
        if (net.seen[i].type < NET_STREAM)
            check_true(net.seen[i].has_crc == addr_equal(&net.seen[i].to, &b));
    }
    net_fini(&net);
}

/* ---- asking others ---- */

static void three_others_are_asked_after_half_a_second(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 6, 1 << 2);
    struct net_seen ping = await_ping(&net, 2);
    net_run(&net, 950 * MS);
    check_u64(net_count(&net, 0, ML_INDIRECT_PING, 0), 3);
    check_u64(net_count(&net, 0, ML_INDIRECT_PING, 2), 0);
    struct addr b = net_addr(2);
    for (size_t i = 0; i < 3; i++) {
        const struct net_seen *s = net_nth(&net, 0, ML_INDIRECT_PING, 0, i);
        check_u64(s->at_ns - ping.at_ns, 500 * MS);
        check_u64(s->seq_no, ping.seq_no);
        assert_string_equal(s->node, "b");
        assert_string_equal(s->by, "a");
        check_true(addr_equal(&s->target, &b));
        check_true(s->wants_nack);
        for (size_t k = 0; k < i; k++)
            check_false(addr_equal(
                &s->to, &net_nth(&net, 0, ML_INDIRECT_PING, 0, k)->to));
    }
    net_fini(&net);
}

static void who_answers_through_another_is_alive(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 2, 1 << 2);
    struct net_seen ping = await_ping(&net, 2);
    net_run(&net, 600 * MS);
    check_u64(net_count(&net, 0, ML_INDIRECT_PING, 3), 1);
    send_ack(&net, C_AT, ping.seq_no);
    net_run(&net, 450 * MS);
    check_u64(stats(&net).ping_failures, 0);
    check_u64(net.events[0][MESH_SUSPECTED], 0);
    check_u64(net_member(&net, 0, "b")->rtt_ns, 0);
    net_fini(&net);
}

static void nobody_answering_is_suspected_at_the_end_of_the_round(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 3, 1 << 2);
    struct net_seen ping = await_ping(&net, 2);
    net_run(&net, ping.at_ns + 999 * MS - net.now_ns);
    check_u64(net.events[0][MESH_SUSPECTED], 0);
    net_run(&net, 2 * MS);
    check_u64(net.events[0][MESH_SUSPECTED], 1);
    check_u64(stats(&net).suspicions, 1);
    net_run(&net, 500 * MS);
    const struct net_seen *s = net_nth(&net, 0, ML_SUSPECT, 0, 0);
    assert_non_null(s);
    assert_string_equal(s->node, "b");
    assert_string_equal(s->by, "a");
    check_u64(s->incarnation, INC);
    net_fini(&net);
}

static void suspects_and_old_ones_are_not_asked_in_vain(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    net.holds_dials = true;
    net_puppet_vsn(&net, 0, "c", 3, INC, vsn_3);
    net_puppet_vsn(&net, 0, "d", 4, INC, vsn_4);
    net_puppet(&net, 0, "e", 5, INC);
    accuse(&net, "e", INC);
    await_ping(&net, 2);
    accuse(&net, "e", INC + 1);
    net_run(&net, 600 * MS);
    check_u64(net_count(&net, 0, ML_INDIRECT_PING, 5), 0);
    check_false(net_nth(&net, 0, ML_INDIRECT_PING, 3, 0)->wants_nack);
    check_true(net_nth(&net, 0, ML_INDIRECT_PING, 4, 0)->wants_nack);
    check_u64(net_count(&net, 0, NET_DIAL, 2), 1);
    net_fini(&net);

    for (int i = 0; i < 2; i++) { /* older ones know no pings over TCP */
        start(&net, 0, 1 << 2);
        net_puppet_vsn(&net, 0, "b", 2, INC, i ? vsn_3 : old_vsn);
        await_ping(&net, 2);
        net_run(&net, 600 * MS);
        check_u64(net_count(&net, 0, NET_DIAL, 2), (uint64_t)i);
        net_fini(&net);
    }
}

/* ---- the ping over TCP ---- */

static uint32_t open_tcp_ping(struct net *net, uint32_t seq_no)
{
    const struct net_seen *dial = net_nth(net, 0, NET_DIAL, 2, 0);
    assert_non_null(dial);
    uint32_t id = dial->id;
    mesh_on_connected(net->mesh[0], net->now_ns, id);
    net_drain(net, 0);
    const struct net_seen *s = net_nth(net, 0, NET_STREAM | ML_PING, 0, 0);
    assert_non_null(s);
    check_u64(s->seq_no, seq_no);
    assert_string_equal(s->node, "b");
    return id;
}

static void reply_tcp(struct net *net, uint32_t id, uint32_t seq_no)
{
    uint8_t bytes[64];
    struct wr w;
    struct ml_msg ack = {.type = ML_ACK};
    ack.ack.seq_no = seq_no;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    ml_msg_encode(&w, &ack);
    mesh_on_bytes(net->mesh[0], net->now_ns, id, w.data, w.len);
    net_drain(net, 0);
}

static void who_answers_over_tcp_is_alive_with_a_miss(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    net.holds_dials = true;
    for (uint32_t misses = 1; misses <= 3; misses++) {
        struct net_seen ping = await_ping(&net, 2);
        net_run(&net, 600 * MS);
        reply_tcp(&net, open_tcp_ping(&net, ping.seq_no), ping.seq_no);
        check_u64(net_count(&net, 0, NET_HANGUP, 0), 1);
        net_run(&net, 410 * MS);
        check_u64(net_member(&net, 0, "b")->udp_misses, misses);
    }
    check_u64(stats(&net).ping_failures, 0);
    check_u64(net.events[0][MESH_SUSPECTED], 0);

    /* Its UDP works again. */
    struct net_seen ping = await_ping(&net, 2);
    send_ack(&net, B_AT, ping.seq_no);
    check_u64(net_member(&net, 0, "b")->udp_misses, 0);
    net_fini(&net);
}

static void another_number_over_tcp_is_no_answer(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    net.holds_dials = true;
    struct net_seen ping = await_ping(&net, 2);
    net_run(&net, 600 * MS);
    reply_tcp(&net, open_tcp_ping(&net, ping.seq_no), ping.seq_no + 1);
    net_run(&net, 410 * MS);
    check_u64(stats(&net).ping_failures, 1);
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_SUSPECT);
    net_fini(&net);
}

static void a_tcp_ping_is_hung_up_with_its_round(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    net.holds_dials = true;
    struct net_seen ping = await_ping(&net, 2);
    net_run(&net, 600 * MS);
    uint32_t id = net_nth(&net, 0, NET_DIAL, 2, 0)->id;
    check_u64(stats(&net).streams, 1);
    send_ack(&net, B_AT, ping.seq_no);
    check_u64(stats(&net).streams, 0);
    check_u64(net_nth(&net, 0, NET_HANGUP, 0, 0)->id, id);
    net_fini(&net);
}

/* ---- health ---- */

static void missing_nacks_are_held_against_oneself(void **state)
{
    (void)state;
    static struct net net;
    static const char *const helpers[] = {C_AT, D_AT, "10.0.0.5:7946"};
    for (unsigned nacks = 0; nacks <= 3; nacks++) {
        start(&net, 4, 1 << 2);
        struct net_seen ping = await_ping(&net, 2);
        net_run(&net, 600 * MS);
        for (unsigned i = 0; i < nacks; i++) {
            send_nack(&net, helpers[i], ping.seq_no);
            send_nack(&net, helpers[i], ping.seq_no);     /* counts once */
            send_nack(&net, helpers[i], ping.seq_no + 1); /* not this round's */
        }
        send_nack(&net, helpers[nacks % 3], ping.seq_no + 1);
        send_nack(&net, "10.0.0.66:7946", ping.seq_no); /* was not asked */
        send_nack(&net, B_AT, ping.seq_no);
        await_failure(&net);
        check_u64(stats(&net).health, 3 - nacks);
        net_fini(&net);
    }
}

static void a_failure_without_helpers_costs_one(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    await_failure(&net);
    check_u64(stats(&net).health, 1);
    net_fini(&net);
}

static void answers_restore_health(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 0);
    net_run(&net, 5 * SEC);
    for (uint32_t i = 0; i < 3; i++)
        accuse(&net, "a", INC + 10 * i + 10);
    check_u64(stats(&net).health, 3);
    for (unsigned health = 3; health > 0; health--) {
        await_ping(&net, 2);
        net_run(&net, 60 * MS);
        check_u64(stats(&net).health, health - 1);
    }
    await_ping(&net, 2);
    net_run(&net, 60 * MS);
    check_u64(stats(&net).health, 0);
    net_fini(&net);
}

static void refuting_costs_health_up_to_seven(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 0);
    for (uint32_t i = 1; i < 20; i++) {
        accuse(&net, "a", INC + 10 * i);
        check_u64(stats(&net).health, i < 7 ? i : 7);
        check_u64(stats(&net).refutations, i);
        check_u64(stats(&net).incarnation, INC + 10 * i + 1);
    }
    net_fini(&net);
}

static void bad_health_gives_others_more_time(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    for (uint32_t i = 1; i <= 3; i++)
        accuse(&net, "a", INC + 10 * i);
    struct net_seen ping = await_ping(&net, 2);
    await_failure(&net);
    check_true(net.now_ns - ping.at_ns - 4 * SEC < 2 * MS);
    net_fini(&net);
}

/* ---- what happens meanwhile ---- */

static void who_says_it_is_alive_meanwhile_is_not_suspected(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 1 << 2);
    await_ping(&net, 2);
    net_run(&net, 700 * MS);
    net_puppet(&net, 0, "b", 2, INC + 1);
    await_failure(&net);
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_ALIVE);
    net_fini(&net);
}

static void who_leaves_meanwhile_is_not_accused(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 2, 1 << 2);
    await_ping(&net, 2);
    net_run(&net, 700 * MS);
    say_dead(&net, "b", "b", INC);
    net_run(&net, 10 * SEC);
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_LEFT);
    check_u64(net.events[0][MESH_SUSPECTED] + net.events[0][MESH_FAILED], 0);
    check_u64(net_count(&net, 0, ML_SUSPECT, 0), 0);
    net_fini(&net);
}

static void the_gone_are_not_pinged_and_soon_forgotten(void **state)
{
    (void)state;
    static struct net net;
    for (int alone = 0; alone < 2; alone++) {
        start(&net, alone ? 1 : 3, 0);
        net_run(&net, 5 * SEC);
        say_dead(&net, "b", alone ? "b" : "z", INC);
        net_mark(&net);
        net_run(&net, 29 * SEC);
        check_true(net_state(&net, 0, "b") >= MEMBER_DEAD);
        check_u64(net_count(&net, 0, ML_PING, 2), 0);
        net_run(&net, 8 * SEC);
        check_true(net_state(&net, 0, "b") == -1);
        check_u64(net.events[0][MESH_FORGOTTEN], 1);
        net_fini(&net);
    }
}

static void who_failed_is_told_of_news_for_half_a_minute(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 3, 0);
    net_run(&net, 5 * SEC);
    say_dead(&net, "b", "z", INC);
    net_mark(&net);
    net_run(&net, 5 * SEC);
    check_true(net_count(&net, 0, ML_DEAD, 2) > 0);
    net_fini(&net);
}

/* ---- being pinged ---- */

static void ping_a(struct net *net, const char *from, const char *node,
                   uint32_t seq_no)
{
    struct ml_msg msg = {.type = ML_PING};
    msg.ping = (struct ml_ping){.seq_no = seq_no, .node = span_of_text(node)};
    net_inject_msg(net, 0, from, &msg);
}

static void a_member_is_answered_with_news(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 0);
    net_run(&net, 5 * SEC);
    set_meta(&net, "new");
    net_mark(&net);
    ping_a(&net, B_AT, "a", 77);
    const struct net_seen *ack = net_nth(&net, 0, ML_ACK, 2, 0);
    const struct net_seen *news = net_nth(&net, 0, ML_ALIVE, 2, 0);
    assert_non_null(ack);
    assert_non_null(news);
    check_u64(ack->seq_no, 77);
    check_u64(news->packet, ack->packet);
    net_fini(&net);
}

static void a_stranger_is_answered_without_news(void **state)
{
    (void)state;
    static struct net net;
    /* Also one who pretends to be us. */
    static const char *const from[] = {"10.0.0.66:7946", "10.0.0.1:7946"};
    static const int at[] = {66, 1};
    for (int i = 0; i < 2; i++) {
        start(&net, 1, 0);
        net_run(&net, 5 * SEC);
        set_meta(&net, "new");
        net_mark(&net);
        if (i == 0) {
            ping_a(&net, from[i], "a", 0x77777777);
            check_u64(net_count(&net, 0, ML_ACK, at[i]), 1);
        } else {
            ping_a(&net, from[i], "a", 0x77777777);
        }
        check_u64(net_count(&net, 0, ML_ALIVE, at[i]), 0);
        check_u64(stats(&net).strangers, 1);
        net_fini(&net);
    }
}

/* With a source that is a member's and not the packet's: it goes to the
 * member. */
static void the_answer_goes_to_the_member_s_own_address(void **state)
{
    (void)state;
    static struct net net;
    struct ml_msg msg = {.type = ML_PING};
    uint8_t ip[] = {10, 0, 0, 2};
    start(&net, 1, 0);
    net_run(&net, 5 * SEC);
    msg.ping = (struct ml_ping){.seq_no = 5,
                                .node = span_of_text("a"),
                                .source_addr = span_of(ip, 4),
                                .source_port = 7946,
                                .source_node = span_of_text("b")};
    net_mark(&net);
    net_inject_msg(&net, 0, "10.0.0.66:7946", &msg);
    check_u64(net_count(&net, 0, ML_ACK, 2), 1);
    check_u64(net_count(&net, 0, ML_ACK, 66), 0);
    check_u64(stats(&net).strangers, 0);
    net_fini(&net);
}

static void a_ping_for_another_name_is_not_answered(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 0);
    net_mark(&net);
    ping_a(&net, B_AT, "b", 1);
    ping_a(&net, B_AT, "aa", 2);
    check_u64(net_count(&net, 0, ML_ACK, 0), 0);
    ping_a(&net, B_AT, "", 3); /* whoever you are */
    check_u64(net_count(&net, 0, ML_ACK, 2), 1);
    net_fini(&net);
}

static void one_datagram_is_answered_eight_times_at_most(void **state)
{
    (void)state;
    static struct net net;
    struct ml_scratch scratch = {0};
    struct ml_wire wire = {.label = {NULL, 0}};
    struct ml_msg msg = {.type = ML_PING};
    struct span parts[100];
    uint8_t bytes[64], packet[8192];
    struct wr one, w;
    start(&net, 1, 0);
    net_run(&net, 5 * SEC);
    msg.ping = (struct ml_ping){.seq_no = 5, .node = span_of_text("a")};
    wr_init_fixed(&one, bytes, sizeof(bytes));
    ml_msg_encode(&one, &msg);
    for (int i = 0; i < 100; i++)
        parts[i] = span_of(one.data, one.len);
    wr_init_fixed(&w, packet, sizeof(packet));
    assert_int_equal(
        ml_packet_close(&wire, parts, 100, false, false, &scratch, &w), 0);
    net_mark(&net);
    net_inject(&net, 0, B_AT, w.data, w.len);
    check_u64(net_count(&net, 0, ML_ACK, 2), 8);
    /* The next one is answered again. */
    ping_a(&net, B_AT, "a", 6);
    check_u64(net_count(&net, 0, ML_ACK, 2), 9);
    ml_scratch_fini(&scratch);
    net_fini(&net);
}

/* ---- pinging for others ---- */

static void ask_a(struct net *net, const char *from, const char *node, int at,
                  uint32_t seq_no, bool wants_nack)
{
    struct addr target = net_addr(at);
    struct ml_msg msg = {.type = ML_INDIRECT_PING};
    msg.indirect_ping = (struct ml_indirect_ping){
        .seq_no = seq_no,
        .target = ml_addr_bytes(&target),
        .port = target.port,
        .node = span_of_text(node),
        .wants_nack = wants_nack,
    };
    net_inject_msg(net, 0, from, &msg);
}

static struct net_seen relayed(struct net *net, int at)
{
    const struct net_seen *s = NULL, *last = NULL;
    for (size_t i = 0; (s = net_nth(net, 0, ML_PING, at, i)); i++)
        last = s;
    assert_non_null(last);
    return *last;
}

/* The node's own rounds must not mix with what is asked of it: all are pinged
 * by it within four seconds, so begin right after one. */
static void start_asked(struct net *net)
{
    start(net, 3, 0);
    net_run(net, 5 * SEC);
    await_ping(net, 4);
    net_run(net, 10 * MS);
    net->acking = 0;
    net_mark(net);
}

static void an_answer_is_handed_to_who_asked(void **state)
{
    (void)state;
    static struct net net;
    start_asked(&net);
    ask_a(&net, C_AT, "b", 2, 4711, true);
    struct net_seen ping = relayed(&net, 2);
    assert_string_equal(ping.node, "b");
    assert_string_equal(ping.by, "a");
    check_true(ping.seq_no != 4711);
    send_ack(&net, D_AT, ping.seq_no); /* not who was asked for */
    check_u64(net_count(&net, 0, ML_ACK, 0), 0);
    check_u64(stats(&net).strangers, 1);
    net_run(&net, 150 * MS);
    check_u64(net_count(&net, 0, ML_PING, 2), 2); /* repeated */
    send_ack(&net, B_AT, ping.seq_no);
    check_u64(net_count(&net, 0, ML_ACK, 3), 1);
    check_u64(net_nth(&net, 0, ML_ACK, 3, 0)->seq_no, 4711);
    send_ack(&net, B_AT, ping.seq_no);
    net_run(&net, 600 * MS);
    check_u64(net_count(&net, 0, ML_ACK, 3), 1);
    check_u64(net_count(&net, 0, ML_NACK, 0), 0);
    check_u64(net_count(&net, 0, ML_PING, 2), 2);
    net_fini(&net);
}

static void no_answer_is_a_nack_to_who_wants_one(void **state)
{
    (void)state;
    static struct net net;
    for (int wants = 0; wants < 2; wants++) {
        start_asked(&net);
        uint64_t was_ns = net.now_ns;
        ask_a(&net, C_AT, "b", 2, 4711, wants);
        net_run(&net, 600 * MS);
        check_u64(net_count(&net, 0, ML_PING, 2), 5);
        check_u64(net_count(&net, 0, ML_NACK, 3), (uint64_t)wants);
        if (wants) {
            const struct net_seen *s = net_nth(&net, 0, ML_NACK, 3, 0);
            check_u64(s->seq_no, 4711);
            check_u64(s->at_ns - was_ns, 500 * MS);
        }
        send_ack(&net, B_AT, relayed(&net, 2).seq_no); /* too late */
        check_u64(net_count(&net, 0, ML_ACK, 3), 0);
        net_fini(&net);
    }
}

static void only_members_at_their_addresses_are_pinged_for_others(void **state)
{
    (void)state;
    static struct net net;
    start_asked(&net);
    uint64_t packets = stats(&net).packets_out;
    ask_a(&net, C_AT, "b", 9, 1, true); /* b does not live there */
    ask_a(&net, C_AT, "x", 9, 2, true); /* nobody knows x */
    ask_a(&net, C_AT, "a", 1, 3, true); /* that is us */
    ask_a(&net, "10.0.0.66:7946", "b", 2, 4, true);
    ask_a(&net, "10.0.0.1:7946", "b", 2, 5, true);
    check_u64(stats(&net).packets_out, packets);
    check_u64(stats(&net).relays_refused, 5);
    net_fini(&net);
}

static void one_member_is_helped_once_in_a_tenth_of_a_second(void **state)
{
    (void)state;
    static struct net net;
    start_asked(&net);
    ask_a(&net, C_AT, "b", 2, 1, false);
    net_run(&net, 99 * MS);
    ask_a(&net, C_AT, "b", 2, 2, false);
    check_u64(stats(&net).relays_refused, 1);
    ask_a(&net, D_AT, "b", 2, 3, false); /* another one */
    check_u64(stats(&net).relays_refused, 1);
    net_run(&net, 2 * MS);
    ask_a(&net, C_AT, "b", 2, 4, false);
    check_u64(stats(&net).relays_refused, 1);
    net_fini(&net);
}

static void as_many_are_helped_at_once_as_the_limit_says(void **state)
{
    (void)state;
    static struct net net;
    net_init(&net);
    struct mesh_config c = net_config(&net, 0);
    c.n_seeds = 0;
    c.limits.relays_max = 4;
    net_start(&net, 0, &c);
    for (int at = 2; at < 12; at++) {
        char name[2] = {(char)('a' + at), 0};
        net_puppet(&net, 0, name, at, INC);
    }
    for (int at = 2; at < 11; at++) {
        char from[32];
        snprintf(from, sizeof(from), "10.0.0.%d:7946", at);
        ask_a(&net, from, "l", 11, (uint32_t)at, false);
    }
    check_u64(stats(&net).relays_refused, 5);
    net_run(&net, 600 * MS);
    ask_a(&net, B_AT, "l", 11, 99, false);
    check_u64(stats(&net).relays_refused, 5);
    net_fini(&net);
}

/* ---- this process stood still ---- */

static void freeze(struct net *net, uint64_t ns)
{
    net->is_frozen[0] = true;
    net_run(net, ns);
    net->is_frozen[0] = false;
}

static void a_ping_that_ran_out_in_a_pause_proves_nothing(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 2, 1 << 2);
    struct net_seen ping = await_ping(&net, 2);
    net_run(&net, 700 * MS);
    freeze(&net, 20 * SEC);
    net_run(&net, 0);
    check_u64(net.events[0][MESH_STALLED], 1);
    check_u64(stats(&net).stalls, 1);
    check_u64(stats(&net).ping_failures, 0);
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_ALIVE);
    check_u64(stats(&net).streams, 0);
    check_true(ping.seq_no != await_ping(&net, 2).seq_no);
    net_fini(&net);
}

static void a_ping_for_another_is_dropped_by_a_pause(void **state)
{
    (void)state;
    static struct net net;
    start_asked(&net);
    ask_a(&net, C_AT, "b", 2, 4711, true);
    freeze(&net, 20 * SEC);
    net_run(&net, 2 * SEC);
    check_u64(net_count(&net, 0, ML_NACK, 0), 0);
    net_fini(&net);
}

static void a_suspect_gets_the_time_of_a_pause_on_top(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 2, 1 << 2);
    net_run(&net, 3 * SEC);
    net_puppet(&net, 0, "b", 2, INC + 1); /* alive again, if it was not */
    accuse(&net, "b", INC + 1);
    net_run(&net, 1 * SEC); /* of four */
    freeze(&net, 30 * SEC);
    net_run(&net, 2500 * MS);
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_SUSPECT);
    net_run(&net, 1500 * MS);
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_DEAD);
    net_run(&net, SEC);
    const struct net_seen *s = net_nth(&net, 0, ML_DEAD, 0, 0);
    assert_non_null(s);
    assert_string_equal(s->node, "b");
    assert_string_equal(s->by, "a");
    net_fini(&net);
}

static void a_short_delay_is_not_a_pause(void **state)
{
    (void)state;
    static struct net net;
    start(&net, 1, 0);
    net_run(&net, 5 * SEC);
    await_ping(&net, 2);
    net_run(&net, 10 * MS);
    freeze(&net, 1500 * MS); /* less than an interval after the deadline */
    net_run(&net, SEC);
    check_u64(stats(&net).stalls, 0);
    net_fini(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everybody_is_pinged_in_turn),
        cmocka_unit_test(a_ping_is_sent_five_times_in_half_a_second),
        cmocka_unit_test(an_answer_ends_the_repeating),
        cmocka_unit_test(news_rides_with_the_first_ping_only),
        cmocka_unit_test(numbers_of_pings_do_not_follow_each_other),
        cmocka_unit_test(the_time_of_an_answer_is_kept),
        cmocka_unit_test(an_answer_from_another_port_of_it_counts),
        cmocka_unit_test(an_answer_from_another_member_does_not_count),
        cmocka_unit_test(a_neighbour_on_the_same_address_cannot_answer),
        cmocka_unit_test(a_number_that_is_not_the_ping_s_counts_for_nothing),
        cmocka_unit_test(a_suspect_is_told_so_beside_its_ping),
        cmocka_unit_test(one_that_is_alive_is_told_nothing_of_suspicion),
        cmocka_unit_test(a_checksum_goes_to_those_that_take_it),
        cmocka_unit_test(three_others_are_asked_after_half_a_second),
        cmocka_unit_test(who_answers_through_another_is_alive),
        cmocka_unit_test(nobody_answering_is_suspected_at_the_end_of_the_round),
        cmocka_unit_test(suspects_and_old_ones_are_not_asked_in_vain),
        cmocka_unit_test(who_answers_over_tcp_is_alive_with_a_miss),
        cmocka_unit_test(another_number_over_tcp_is_no_answer),
        cmocka_unit_test(a_tcp_ping_is_hung_up_with_its_round),
        cmocka_unit_test(missing_nacks_are_held_against_oneself),
        cmocka_unit_test(a_failure_without_helpers_costs_one),
        cmocka_unit_test(answers_restore_health),
        cmocka_unit_test(refuting_costs_health_up_to_seven),
        cmocka_unit_test(bad_health_gives_others_more_time),
        cmocka_unit_test(who_says_it_is_alive_meanwhile_is_not_suspected),
        cmocka_unit_test(who_leaves_meanwhile_is_not_accused),
        cmocka_unit_test(the_gone_are_not_pinged_and_soon_forgotten),
        cmocka_unit_test(who_failed_is_told_of_news_for_half_a_minute),
        cmocka_unit_test(a_member_is_answered_with_news),
        cmocka_unit_test(a_stranger_is_answered_without_news),
        cmocka_unit_test(the_answer_goes_to_the_member_s_own_address),
        cmocka_unit_test(a_ping_for_another_name_is_not_answered),
        cmocka_unit_test(one_datagram_is_answered_eight_times_at_most),
        cmocka_unit_test(an_answer_is_handed_to_who_asked),
        cmocka_unit_test(no_answer_is_a_nack_to_who_wants_one),
        cmocka_unit_test(only_members_at_their_addresses_are_pinged_for_others),
        cmocka_unit_test(one_member_is_helped_once_in_a_tenth_of_a_second),
        cmocka_unit_test(as_many_are_helped_at_once_as_the_limit_says),
        cmocka_unit_test(a_ping_that_ran_out_in_a_pause_proves_nothing),
        cmocka_unit_test(a_ping_for_another_is_dropped_by_a_pause),
        cmocka_unit_test(a_suspect_gets_the_time_of_a_pause_on_top),
        cmocka_unit_test(a_short_delay_is_not_a_pause),
    };
    return cmocka_run_group_tests_name("mesh_ping", tests, NULL, NULL);
}
