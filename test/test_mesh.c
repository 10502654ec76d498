/* What two to five nodes say to each other. */
#include "proto/ml_msg.h"
#include "proto/ml_packet.h"
#include "proto/serf_msg.h"
#include "test/check.h"
#include "test/mesh_net.h"

#include <stdio.h>
#include <string.h>

#define SEC NET_SEC
#define MS  NET_MS

static void start_all(struct net *net, int n)
{
    net_init(net);
    for (int i = 0; i < n; i++) {
        struct mesh_config c = net_config(net, i);
        net_start(net, i, &c);
    }
}

static size_t encode(uint8_t *bytes, size_t size, const struct ml_msg *msg)
{
    struct wr w;
    wr_init_fixed(&w, bytes, size);
    ml_msg_encode(&w, msg);
    assert_int_equal(wr_err(&w), 0);
    return w.len;
}

static void inject(struct net *net, int i, const char *from,
                   const struct ml_msg *msg)
{
    uint8_t bytes[2048];
    net_inject(net, i, from, bytes, encode(bytes, sizeof(bytes), msg));
}

static struct ml_msg accusation(uint8_t type, const char *node,
                                const char *from, uint32_t incarnation)
{
    struct ml_msg msg = {.type = type};
    msg.accusation = (struct ml_accusation){incarnation, span_of_text(node),
                                            span_of_text(from)};
    return msg;
}

/* ---- joining ---- */

static void nodes_find_each_other_through_a_seed(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 5);
    net_run(&net, 8 * SEC);
    check_true(net_all_alive(&net));
    for (int i = 0; i < 5; i++) {
        check_u64(net.events[i][MESH_JOINED], 4);
        check_u64(net.events[i][MESH_SUSPECTED], 0);
        check_u64(net.events[i][MESH_CONNECTED], 1);
    }
    net_fini(&net);
}

/* The exact course of the smallest case: peek, push/pull, all over after
 * eight crossings of the link. */
static void two_nodes_join_as_written(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 2);
    net_run(&net, 5 * SEC);
    assert_string_equal(net.trace, "5 a joined b\n"
                                   "5 a connected -\n"
                                   "6 b joined a\n"
                                   "6 b connected -\n");
    net_fini(&net);
}

static void a_mesh_without_seeds_waits_quietly(void **state)
{
    (void)state;
    static struct net net;
    net_init(&net);
    struct mesh_config c = net_config(&net, 0);
    c.n_seeds = 0;
    net_start(&net, 0, &c);
    check_u64(mesh_deadline(net.mesh[0]), UINT64_MAX);
    net_run(&net, 60 * SEC);
    struct mesh_stats s;
    mesh_stats(net.mesh[0], &s);
    check_u64(s.packets_out + s.streams_out, 0);
    check_true(s.is_alone);
    net_fini(&net);
}

static void seeds_are_tried_again_until_they_come(void **state)
{
    (void)state;
    static struct net net;
    net_init(&net);
    struct mesh_config c = net_config(&net, 1);
    net_start(&net, 1, &c);
    net_run(&net, 600 * SEC);
    struct mesh_config a = net_config(&net, 0);
    net_start(&net, 0, &a);
    net_run(&net, 61 * SEC);
    check_u64((uint64_t)net_state(&net, 1, "a"), MEMBER_ALIVE);
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_ALIVE);
    net_fini(&net);
}

static void a_taken_name_is_given_up_and_its_owner_not_disturbed(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 2);
    net_run(&net, 5 * SEC);
    struct mesh_config c = net_config(&net, 2);
    c.name = "b";
    net_start(&net, 2, &c);
    net_run(&net, 80 * SEC);
    check_u64(net.events[2][MESH_NAME_TAKEN], 0);
    net_run(&net, 20 * SEC);
    check_u64(net.events[2][MESH_NAME_TAKEN], 1);
    check_u64(net.events[2][MESH_JOINED], 0);
    check_true(addr_equal(&net_member(&net, 0, "b")->addr, &net.addr[1]));
    check_u64(net.events[0][MESH_CONFLICT] + net.events[1][MESH_CONFLICT], 0);
    check_u64(net.events[0][MESH_SUSPECTED], 0);
    net_fini(&net);
}

static void other_keys_and_labels_do_not_meet(void **state)
{
    (void)state;
    static struct net net;
    struct ml_key k1 = {.len = 32, .bytes = {1}},
                  k2 = {.len = 32, .bytes = {2}};
    net_init(&net);
    for (int i = 0; i < 4; i++) {
        struct mesh_config c = net_config(&net, i);
        c.keys = i < 2 ? &k1 : &k2;
        c.n_keys = i < 3;
        c.label = i == 1 ? "other" : "";
        net_start(&net, i, &c);
    }
    net_run(&net, 60 * SEC);
    for (int i = 0; i < 4; i++)
        check_u64(members_count(mesh_members(net.mesh[i])), 1);
    net_fini(&net);
}

/* ---- failing and coming back ---- */

static void a_crash_is_seen_within_the_suspicion_time(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 5);
    net_run(&net, 10 * SEC);
    net_stop(&net, 4);
    net_run(&net, 60 * SEC);
    for (int i = 0; i < 4; i++) {
        check_u64(net.events[i][MESH_FAILED], 1);
        check_u64(net.events[i][MESH_LEFT], 0);
    }
    net_fini(&net);
}

static void a_restarted_node_is_alive_again_at_once(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 3);
    net_run(&net, 10 * SEC);
    net_stop(&net, 2);
    net_run(&net, 2 * SEC);
    struct mesh_config c = net_config(&net, 2);
    net_start(&net, 2, &c);
    net_run(&net, 2 * SEC);
    check_true(net_all_alive(&net));
    net_run(&net, 60 * SEC);
    check_u64(net.events[0][MESH_FAILED], 0);
    net_fini(&net);
}

static void a_restart_with_a_clock_far_behind_is_believed(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 3);
    net_run(&net, 10 * SEC);
    net_stop(&net, 2);
    net_run(&net, 40 * SEC); /* failed, and remembered */
    struct mesh_config c = net_config(&net, 2);
    c.now_unix_s = 1000;
    net_start(&net, 2, &c);
    net_run(&net, 5 * SEC);
    check_true(net_all_alive(&net));
    net_fini(&net);
}

static void a_restart_with_a_clock_far_ahead_is_believed(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 3);
    net_run(&net, 10 * SEC);
    net_stop(&net, 2);
    struct mesh_config c = net_config(&net, 2);
    c.now_unix_s += 10 * UINT64_C(365) * 86400;
    net_start(&net, 2, &c); /* they still hold it alive */
    net_run(&net, 5 * SEC);
    check_true(net_all_alive(&net));
    net_run(&net, 60 * SEC);
    check_true(net_all_alive(&net));
    net_fini(&net);
}

static void cut(struct net *net, int n, bool is_cut)
{
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < n; k++)
            net->is_cut[i][k] = is_cut && (i < n / 2) != (k < n / 2);
    }
}

static void halves_find_each_other_after_an_hour(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 4);
    net_run(&net, 10 * SEC);
    cut(&net, 4, true);
    net_run(&net, 3600 * SEC);
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_ALIVE);
    check_u64((uint64_t)net_state(&net, 2, "d"), MEMBER_ALIVE);
    check_true(net_state(&net, 0, "c") != MEMBER_ALIVE);
    check_true(net_state(&net, 3, "b") != MEMBER_ALIVE);
    cut(&net, 4, false);
    net_run(&net, 90 * SEC);
    check_true(net_all_alive(&net));
    net_fini(&net);
}

static void a_node_cut_off_alone_comes_back(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 4);
    net_run(&net, 10 * SEC);
    for (int i = 1; i < 4; i++) /* the seed itself */
        net.is_cut[0][i] = net.is_cut[i][0] = true;
    net_run(&net, 1800 * SEC);
    check_u64(net.events[0][MESH_ALONE], 1);
    memset(net.is_cut, 0, sizeof(net.is_cut));
    net_run(&net, 100 * SEC);
    check_true(net_all_alive(&net));
    net_fini(&net);
}

static void udp_that_is_blocked_is_noticed_and_kills_nobody(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 2);
    net_run(&net, 5 * SEC);
    net.is_udp_cut[0][1] = net.is_udp_cut[1][0] = true;
    net_run(&net, 120 * SEC);
    check_u64(net.events[0][MESH_FAILED] + net.events[1][MESH_FAILED], 0);
    check_true(net_member(&net, 0, "b")->udp_misses > 10);
    net_fini(&net);
}

static void one_way_loss_between_two_flaps_nobody(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 5);
    net_run(&net, 10 * SEC);
    net.is_cut[1][2] = true; /* b cannot reach c; c can reach b */
    net_run(&net, 300 * SEC);
    for (int i = 0; i < 5; i++)
        check_u64(net.events[i][MESH_FAILED], 0);
    net_fini(&net);
}

static void a_pause_accuses_nobody(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 3);
    net_run(&net, 10 * SEC);
    /* The others are held as long, so that their answers cannot help: all
     * that decides is what the woken node makes of its own deadlines. */
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 3; i++)
            net.is_frozen[i] = true;
        net_run(&net, 30 * SEC + (uint64_t)round * 77 * MS);
        net.is_frozen[0] = false;
        net_run(&net, 200 * MS);
        net.is_frozen[1] = net.is_frozen[2] = false;
        net_run(&net, 5 * SEC);
    }
    for (int i = 0; i < 3; i++)
        check_u64(net.events[i][MESH_SUSPECTED], 0);
    check_true(net.events[0][MESH_STALLED] >= 10);
    net_fini(&net);
}

/* ---- leaving ---- */

static void leaving_is_told_within_five_seconds(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 5);
    net_run(&net, 10 * SEC);
    mesh_leave(net.mesh[4], net.now_ns);
    net_drain(&net, 4);
    net_run(&net, 5 * SEC);
    check_true(mesh_has_left(net.mesh[4]));
    for (int i = 0; i < 4; i++) {
        check_u64((uint64_t)net_state(&net, i, "e"), MEMBER_LEFT);
        check_u64(net.events[i][MESH_FAILED], 0);
        check_true(net_member(&net, i, "e")->is_leaving);
    }
    net_fini(&net);
}

static void leaving_alone_takes_no_time(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 1);
    net_run(&net, SEC);
    mesh_leave(net.mesh[0], net.now_ns);
    check_true(mesh_has_left(net.mesh[0]));
    net_fini(&net);
}

/* Somebody else says that we mean to leave (serf force-leave). */
static void a_leave_that_is_not_ours_is_denied(void **state)
{
    (void)state;
    static struct net net;
    uint8_t bytes[64], payload[64];
    struct wr w;
    start_all(&net, 3);
    net_run(&net, 10 * SEC);
    struct serf_intent intent = {
        .is_leave = true, .ltime = 50, .node = span_of_text("b")};
    wr_init_fixed(&w, payload, sizeof(payload));
    serf_intent_write(&w, &intent);
    struct ml_msg msg = {.type = ML_USER, .user = span_of(w.data, w.len)};
    net_inject(&net, 0, "10.0.0.3:7946", bytes,
               encode(bytes, sizeof(bytes), &msg));
    check_true(net_member(&net, 0, "b")->is_leaving);
    net_run(&net, 5 * SEC);
    check_false(net_member(&net, 0, "b")->is_leaving);
    check_false(net_member(&net, 2, "b")->is_leaving);
    net_fini(&net);
}

/* ---- hostile ---- */

static void any_accusation_is_refuted_or_void(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 4);
    net_run(&net, 10 * SEC);
    uint32_t known = net_member(&net, 0, "b")->incarnation;
    const uint32_t tried[] = {0,
                              known - 1,
                              known,
                              known + 1,
                              known + (1u << 16),
                              known + (1u << 16) + 1,
                              UINT32_C(1) << 31,
                              UINT32_MAX - (1u << 17),
                              UINT32_MAX - 1,
                              UINT32_MAX};
    for (size_t i = 0; i < sizeof(tried) / sizeof(*tried); i++) {
        static const uint8_t types[] = {ML_SUSPECT, ML_DEAD};
        for (size_t k = 0; k < 2; k++) {
            struct ml_msg msg = accusation(types[k], "b", "d", tried[i]);
            inject(&net, 0, "10.0.0.4:7946", &msg);
            msg = accusation(types[k], "b", "b", tried[i]);
            inject(&net, 2, "10.0.0.4:7946", &msg);
            net_run(&net, 4 * SEC);
            check_true(net_all_alive(&net));
        }
    }
    net_fini(&net);
}

/* reliability: a forged leave, then an alive from another address. */
static void two_packets_do_not_steal_a_name(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 3);
    net_run(&net, 10 * SEC);
    uint32_t known = net_member(&net, 0, "b")->incarnation;
    struct ml_msg leave = accusation(ML_DEAD, "b", "b", known);
    struct ml_msg alive = {.type = ML_ALIVE};
    static const uint8_t vsn[] = {1, 5, 2, 2, 5, 5};
    static const uint8_t ip[] = {10, 6, 6, 6};
    alive.alive = (struct ml_alive){.incarnation = known + 1,
                                    .node = span_of_text("b"),
                                    .addr = span_of(ip, 4),
                                    .port = 7946,
                                    .vsn = span_of(vsn, 6)};
    inject(&net, 0, "10.0.0.3:7946", &leave);
    inject(&net, 0, "10.0.0.3:7946", &alive);
    check_true(addr_equal(&net_member(&net, 0, "b")->addr, &net.addr[1]));
    net_run(&net, 3 * SEC);
    check_true(net_all_alive(&net));
    check_true(addr_equal(&net_member(&net, 0, "b")->addr, &net.addr[1]));
    check_u64(net.n_foreign, 0);
    net_fini(&net);
}

static void strangers_get_no_more_than_they_sent(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 3);
    net_run(&net, 10 * SEC);
    struct ml_msg ping = {.type = ML_PING};
    uint8_t third[] = {10, 9, 9, 9};
    ping.ping = (struct ml_ping){.seq_no = 7, .node = span_of_text("a")};
    uint8_t bytes[256];
    size_t len = encode(bytes, sizeof(bytes), &ping);
    net_inject(&net, 0, "10.66.0.1:999", bytes, len);
    check_u64(net.n_foreign, 1);
    check_true(net.foreign_bytes <= len);
    check_u64(net.foreign.port, 999);

    /* Naming a third party, or a member that lives elsewhere. */
    ping.ping.source_addr = span_of(third, 4);
    ping.ping.source_port = 53;
    ping.ping.source_node = span_of_text("b");
    inject(&net, 0, "10.66.0.1:999", &ping);
    check_u64(net.n_foreign, 2);
    check_u64(net.foreign.port, 999);

    /* A compound of a hundred pings is answered once, if at all. */
    struct span parts[100];
    struct wr w;
    struct ml_scratch scratch = {0};
    struct ml_wire wire = {.label = {NULL, 0}};
    uint8_t packet[8192];
    ping.ping = (struct ml_ping){.seq_no = 7, .node = span_of_text("a")};
    len = encode(bytes, sizeof(bytes), &ping);
    for (int i = 0; i < 100; i++)
        parts[i] = span_of(bytes, len);
    wr_init_fixed(&w, packet, sizeof(packet));
    assert_int_equal(
        ml_packet_close(&wire, parts, 100, false, false, &scratch, &w), 0);
    size_t before = net.n_foreign;
    net_inject(&net, 0, "10.66.0.1:999", packet, w.len);
    check_true(net.n_foreign <= before + 1);
    ml_scratch_fini(&scratch);
    net_fini(&net);
}

static void indirect_pings_reach_members_only(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 3);
    net_run(&net, 10 * SEC);
    uint8_t third[] = {10, 9, 9, 9}, b[] = {10, 0, 0, 2};
    struct ml_msg msg = {.type = ML_INDIRECT_PING};
    msg.indirect_ping = (struct ml_indirect_ping){.seq_no = 1,
                                                  .target = span_of(third, 4),
                                                  .port = 80,
                                                  .node = span_of_text("b")};
    inject(&net, 0, "10.0.0.3:7946", &msg); /* a member asks */
    check_u64(net.n_foreign, 0);
    msg.indirect_ping.target = span_of(b, 4);
    msg.indirect_ping.port = 7946;
    struct mesh_stats was, is;
    mesh_stats(net.mesh[0], &was);
    inject(&net, 0, "10.66.0.1:7946", &msg); /* a stranger asks */
    mesh_stats(net.mesh[0], &is);
    check_u64(is.packets_out, was.packets_out);
    for (int i = 0; i < 1000; i++) { /* a member asks too often */
        msg.indirect_ping.seq_no = (uint32_t)i;
        inject(&net, 0, "10.0.0.3:7946", &msg);
    }
    mesh_stats(net.mesh[0], &is);
    check_u64(is.packets_out, was.packets_out + 1);
    net_fini(&net);
}

static void random_and_broken_datagrams_change_nothing(void **state)
{
    (void)state;
    static struct net net;
    struct rng rng;
    struct ml_key key = {.len = 16, .bytes = {9}};
    rng_seed(&rng, check_seed());
    for (int sealed = 0; sealed < 2; sealed++) {
        net_init(&net);
        for (int i = 0; i < 2; i++) {
            struct mesh_config c = net_config(&net, i);
            c.keys = &key;
            c.n_keys = (size_t)sealed;
            net_start(&net, i, &c);
        }
        net_run(&net, 10 * SEC);
        uint64_t digest = mesh_digest(net.mesh[0]);
        for (int i = 0; i < 20000; i++) {
            uint8_t bytes[128];
            size_t len = rng_below(&rng, sizeof(bytes));
            for (size_t k = 0; k < len; k++)
                bytes[k] = (uint8_t)rng_next(&rng);
            /* In the clear a well-formed one could be made by chance. */
            if (len && !sealed)
                bytes[0] |= 0x10;
            net_inject(&net, 0, "10.66.0.1:7946", bytes, len);
        }
        check_u64(mesh_digest(net.mesh[0]), digest);
        net_fini(&net);
    }
}

static void an_ack_counts_only_from_whom_was_asked(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 2);
    net_run(&net, 5 * SEC);
    net_stop(&net, 1);
    /* All sequence numbers cannot be tried here; the mesh counts what would
     * have fitted but came from a stranger as well as what did not fit. */
    for (int i = 0; i < 100; i++) {
        struct ml_msg ack = {.type = ML_ACK};
        ack.ack.seq_no = (uint32_t)i;
        inject(&net, 0, "10.0.0.9:7946", &ack);
        net_run(&net, 500 * MS);
    }
    check_u64(net.events[0][MESH_FAILED], 1);
    net_fini(&net);
}

/* ---- messages of ours, keys ---- */

static void our_messages_go_only_to_our_kind(void **state)
{
    (void)state;
    static struct net net;
    uint8_t text[4000] = {SERF_TYPE_OURS, 'h', 'i'};
    net_init(&net);
    for (int i = 0; i < 3; i++) {
        struct mesh_config c = net_config(&net, i);
        if (i == 2)
            c.meta = (struct span){NULL, 0};
        net_start(&net, i, &c);
    }
    net_run(&net, 10 * SEC);
    const struct members *ms = mesh_members(net.mesh[0]);
    uint32_t b = members_find(ms, span_of_text("b"));
    uint32_t c = members_find(ms, span_of_text("c"));
    struct mesh *m = net.mesh[0];
    check_true(mesh_send(m, net.now_ns, b, span_of(text, 3), false) == 0);
    net_drain(&net, 0);
    net_run(&net, 100 * MS);
    check_u64(net.n_user[1], 1);
    assert_memory_equal(net.user[1], text, 3);
    check_true(mesh_send(m, net.now_ns, b, span_of(text, 4000), false) == 0);
    net_drain(&net, 0);
    net_run(&net, 100 * MS);
    check_u64(net.n_user[1], 2);
    check_true(mesh_send(m, net.now_ns, c, span_of(text, 3), false) ==
               ERR_AUTH);
    text[0] = 3; /* a Serf type is not ours to send */
    check_true(mesh_send(m, net.now_ns, b, span_of(text, 3), false) ==
               ERR_CLOSED);
    net_fini(&net);
}

static void an_event_of_serf_is_passed_on_once(void **state)
{
    (void)state;
    static struct net net;
    static const uint8_t event[] = "\x08\x03\x84\xa2"
                                   "CC\xc3\xa5LTime\x01\xa4Name\xa6"
                                   "deploy\xa7Payload\xa5hello";
    start_all(&net, 3);
    net_run(&net, 20 * SEC);
    struct mesh_stats s;
    net_inject(&net, 0, "10.0.0.9:7946", event, sizeof(event) - 1);
    mesh_stats(net.mesh[0], &s);
    check_u64(s.queue_items, 1);
    net_inject(&net, 0, "10.0.0.9:7946", event, sizeof(event) - 1);
    mesh_stats(net.mesh[0], &s);
    check_u64(s.queue_items, 1);
    net_run(&net, 20 * SEC);
    for (int i = 0; i < 3; i++) {
        mesh_stats(net.mesh[i], &s);
        check_u64(s.queue_items, 0); /* told to the end, and not again */
    }
    net_fini(&net);
}

static void keys_are_changed_without_a_suspicion(void **state)
{
    (void)state;
    static struct net net;
    struct ml_key old = {.len = 32, .bytes = {1}},
                  new = {.len = 32, .bytes = {2}};
    struct ml_key steps[3][2] = {{old, new}, {new, old}, {new, new}};
    struct errmsg msg = {{0}};
    net_init(&net);
    for (int i = 0; i < 5; i++) {
        struct mesh_config c = net_config(&net, i);
        c.keys = &old;
        c.n_keys = 1;
        net_start(&net, i, &c);
    }
    net_run(&net, 10 * SEC);
    check_true(net_all_alive(&net));
    for (int step = 0; step < 3; step++) {
        for (int i = 0; i < 5; i++) {
            check_true(!mesh_set_keys(net.mesh[i], steps[step],
                                      step == 2 ? 1 : 2, &msg));
            net_run(&net, 3 * SEC);
        }
    }
    net_run(&net, 30 * SEC);
    for (int i = 0; i < 5; i++) {
        struct mesh_stats s;
        mesh_stats(net.mesh[i], &s);
        check_u64(net.events[i][MESH_SUSPECTED], 0);
        check_u64(s.drops[ML_DROP_SEAL], 0);
    }
    check_true(mesh_set_keys(net.mesh[0], NULL, 0, &msg) == ERR_BAD);
    net_fini(&net);
}

static void changed_facts_reach_everybody(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 4);
    net_run(&net, 10 * SEC);
    assert_int_equal(
        mesh_set_meta(net.mesh[1], net.now_ns, span_of_text("new facts")), 0);
    net_drain(&net, 1);
    net_run(&net, 3 * SEC);
    for (int i = 0; i < 4; i++) {
        const struct member *b = net_member(&net, i, "b");
        check_true(span_is(span_of(b->meta, b->meta_len), "new facts"));
        check_u64(net.events[i][MESH_UPDATED], i != 1);
    }
    net_fini(&net);
}

/* ---- streams ---- */

static void streams_from_one_address_are_few(void **state)
{
    (void)state;
    static struct net net;
    struct addr from;
    start_all(&net, 1);
    net_run(&net, SEC);
    assert_int_equal(addr_parse(&from, "10.66.0.1:1000"), 0);
    for (unsigned i = 0; i < mesh_limits_default.streams_per_ip; i++)
        check_true(mesh_on_accept(net.mesh[0], net.now_ns, &from) != 0);
    check_u64(mesh_on_accept(net.mesh[0], net.now_ns, &from), 0);
    net_run(&net, 11 * SEC); /* all too slow */
    check_true(mesh_on_accept(net.mesh[0], net.now_ns, &from) != 0);
    net_fini(&net);
}

static void a_peek_is_answered_and_changes_nothing(void **state)
{
    (void)state;
    static struct net net;
    static const uint8_t peek[] = "\x06\x83\xa4Join\xc2\xa5Nodes\x00"
                                  "\xacUserStateLen\x00";
    struct addr from;
    struct mesh_effect e;
    size_t written = 0;
    start_all(&net, 2);
    net_run(&net, 20 * SEC);
    assert_int_equal(addr_parse(&from, "10.66.0.1:1000"), 0);
    uint64_t digest = mesh_digest(net.mesh[0]);
    uint32_t id = mesh_on_accept(net.mesh[0], net.now_ns, &from);
    mesh_on_bytes(net.mesh[0], net.now_ns, id, peek, sizeof(peek) - 1);
    while (mesh_next(net.mesh[0], &e))
        written += e.kind == MESH_WRITE ? e.data.len : 0;
    check_true(written > 100);
    check_u64(mesh_digest(net.mesh[0]), digest);
    net_fini(&net);
}

/* ---- time ---- */

/* Gossip goes out when it is due, however many packets come in meanwhile and
 * although each is handled before the timer. */
static void packets_do_not_put_off_gossip(void **state)
{
    (void)state;
    static struct net net;
    static const uint8_t junk = 0xee;
    start_all(&net, 3);
    net_run(&net, 30 * SEC);
    struct ml_msg msg =
        accusation(ML_SUSPECT, "b", "c", net_member(&net, 0, "b")->incarnation);
    uint8_t bytes[256];
    size_t len = encode(bytes, sizeof(bytes), &msg);
    mesh_on_packet(net.mesh[0], net.now_ns, &net.addr[2], bytes, len);
    uint64_t now_ns = net.now_ns;
    size_t sent = 0;
    struct mesh_effect e;
    /* A packet every millisecond, each before the timer that is due. */
    for (int i = 0; i < 1000; i++) {
        now_ns += MS;
        mesh_on_packet(net.mesh[0], now_ns, &net.addr[2], &junk, 1);
        if (now_ns >= mesh_deadline(net.mesh[0]))
            mesh_on_timer(net.mesh[0], now_ns);
        while (mesh_next(net.mesh[0], &e))
            sent += e.kind == MESH_SEND;
    }
    /* Two members are told in each of five rounds, but for the last word that
     * rode with a ping. */
    check_true(sent >= 8);
    net_fini(&net);
}

/* Packets that waited while the process stood still are handled before the
 * timer; the pause is one all the same. */
static void one_pause_is_one_stall(void **state)
{
    (void)state;
    static struct net net;
    static const uint8_t junk = 0xee;
    start_all(&net, 3);
    net_run(&net, 2500 * MS); /* with the exchanges after joining ahead */
    uint64_t later_ns = net.now_ns + 60 * SEC;
    for (int i = 0; i < 39; i++)
        mesh_on_packet(net.mesh[2], later_ns + (uint64_t)i, &net.addr[1], &junk,
                       1);
    mesh_on_timer(net.mesh[2], later_ns + 100);
    struct mesh_stats s;
    mesh_stats(net.mesh[2], &s);
    check_u64(s.stalls, 1);
    net_fini(&net);
}

/* Late by less than a stall, as under a CPU quota: nobody fails who was not
 * asked about through others first. */
static void a_short_pause_accuses_nobody(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 3);
    net_run(&net, 10 * SEC);
    net.is_udp_cut[0][1] = net.is_udp_cut[0][2] = true; /* no direct answer */
    for (int round = 0; round < 40; round++) {
        net_run(&net, 137 * MS);
        net.is_frozen[0] = true;
        net_run(&net, 950 * MS);
        net.is_frozen[0] = false;
    }
    check_u64(net.events[0][MESH_SUSPECTED], 0);
    net_fini(&net);
}

/* A stream that brought thousands is hung up like any other. */
static void a_state_of_thousands_ends_its_stream(void **state)
{
    (void)state;
    static struct net net;
    static struct net_entry many[3000];
    static char names[3000][8];
    struct mesh_effect e;
    struct addr from;
    unsigned hung_up = 0, written = 0;
    start_all(&net, 1);
    net_run(&net, SEC);
    for (int i = 0; i < 3000; i++) {
        snprintf(names[i], sizeof(names[i]), "m%d", i);
        many[i] =
            (struct net_entry){names[i], 2 + i % 200, 1, ML_STATE_ALIVE, NULL};
    }
    struct span bytes = net_push_pull(true, many, 3000, (struct span){NULL, 0});
    assert_int_equal(addr_parse(&from, "10.66.0.1:1000"), 0);
    uint32_t id = mesh_on_accept(net.mesh[0], net.now_ns, &from);
    mesh_on_bytes(net.mesh[0], net.now_ns, id, bytes.data, bytes.len);
    while (mesh_next(net.mesh[0], &e)) {
        hung_up += e.kind == MESH_HANGUP && e.id == id;
        written += e.kind == MESH_WRITE && e.id == id;
    }
    check_u64(members_count(mesh_members(net.mesh[0])), 3001);
    check_u64(hung_up, 1);
    check_u64(written, 1);
    free((void *)(uintptr_t)bytes.data);
    net_fini(&net);
}

/* A pod that comes back with its name and another address. */
static void a_name_that_moved_is_known_soon_after_the_reclaim_time(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 3);
    net_run(&net, 10 * SEC);
    mesh_leave(net.mesh[2], net.now_ns);
    net_drain(&net, 2);
    net_run(&net, 5 * SEC);
    net_stop(&net, 2);
    struct mesh_config c = net_config(&net, 3);
    c.name = "c";
    c.timing.push_pull_interval_ns = 600 * SEC; /* not by chance */
    net_start(&net, 3, &c);
    net_run(&net, 40 * SEC);
    for (int i = 0; i < 2; i++) {
        check_u64((uint64_t)net_state(&net, i, "c"), MEMBER_ALIVE);
        check_true(addr_equal(&net_member(&net, i, "c")->addr, &net.addr[3]));
    }
    net_fini(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_find_each_other_through_a_seed),
        cmocka_unit_test(two_nodes_join_as_written),
        cmocka_unit_test(a_mesh_without_seeds_waits_quietly),
        cmocka_unit_test(seeds_are_tried_again_until_they_come),
        cmocka_unit_test(a_taken_name_is_given_up_and_its_owner_not_disturbed),
        cmocka_unit_test(other_keys_and_labels_do_not_meet),
        cmocka_unit_test(a_crash_is_seen_within_the_suspicion_time),
        cmocka_unit_test(a_restarted_node_is_alive_again_at_once),
        cmocka_unit_test(a_restart_with_a_clock_far_behind_is_believed),
        cmocka_unit_test(a_restart_with_a_clock_far_ahead_is_believed),
        cmocka_unit_test(halves_find_each_other_after_an_hour),
        cmocka_unit_test(a_node_cut_off_alone_comes_back),
        cmocka_unit_test(udp_that_is_blocked_is_noticed_and_kills_nobody),
        cmocka_unit_test(one_way_loss_between_two_flaps_nobody),
        cmocka_unit_test(a_pause_accuses_nobody),
        cmocka_unit_test(leaving_is_told_within_five_seconds),
        cmocka_unit_test(leaving_alone_takes_no_time),
        cmocka_unit_test(a_leave_that_is_not_ours_is_denied),
        cmocka_unit_test(any_accusation_is_refuted_or_void),
        cmocka_unit_test(two_packets_do_not_steal_a_name),
        cmocka_unit_test(strangers_get_no_more_than_they_sent),
        cmocka_unit_test(indirect_pings_reach_members_only),
        cmocka_unit_test(random_and_broken_datagrams_change_nothing),
        cmocka_unit_test(an_ack_counts_only_from_whom_was_asked),
        cmocka_unit_test(our_messages_go_only_to_our_kind),
        cmocka_unit_test(an_event_of_serf_is_passed_on_once),
        cmocka_unit_test(keys_are_changed_without_a_suspicion),
        cmocka_unit_test(changed_facts_reach_everybody),
        cmocka_unit_test(streams_from_one_address_are_few),
        cmocka_unit_test(a_peek_is_answered_and_changes_nothing),
        cmocka_unit_test(packets_do_not_put_off_gossip),
        cmocka_unit_test(one_pause_is_one_stall),
        cmocka_unit_test(a_short_pause_accuses_nobody),
        cmocka_unit_test(a_state_of_thousands_ends_its_stream),
        cmocka_unit_test(
            a_name_that_moved_is_known_soon_after_the_reclaim_time),
    };
    return cmocka_run_group_tests_name("mesh", tests, NULL, NULL);
}
