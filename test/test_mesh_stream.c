/* Exchanges over streams: one real node, "a", and puppets. */
#include "proto/ml_msg.h"
#include "proto/serf_msg.h"
#include "test/check.h"
#include "test/mesh_net.h"

#include <stdio.h>
#include <string.h>

#define SEC NET_SEC
#define MS  NET_MS
#define INC ((uint32_t)NET_UNIX_S)

static const uint8_t other_app[ML_VSN_SIZE] = {1, 5, 2, 0, 0, 0};
static const uint8_t speaks_6[ML_VSN_SIZE] = {1, 6, 6, 2, 5, 5};
static const uint8_t narrow_app[ML_VSN_SIZE] = {1, 5, 2, 5, 5, 5};
static const uint8_t unfit[ML_VSN_SIZE] = {0, 0, 0, 0, 0, 0};

static void start(struct net *net)
{
    net_init(net);
    net->holds_dials = true;
    net->acking = ~UINT64_C(0);
    struct mesh_config c = net_config(net, 0);
    c.n_seeds = 0;
    net_start(net, 0, &c);
}

static struct mesh_stats stats(const struct net *net)
{
    struct mesh_stats s;
    mesh_stats(net->mesh[0], &s);
    return s;
}

static uint32_t accept_from(struct net *net, const char *from)
{
    struct addr a;
    assert_int_equal(addr_parse(&a, from), 0);
    uint32_t id = mesh_on_accept(net->mesh[0], net->now_ns, &a);
    net_drain(net, 0);
    return id;
}

static void feed(struct net *net, uint32_t id, const void *data, size_t len)
{
    mesh_on_bytes(net->mesh[0], net->now_ns, id, data, len);
    net_drain(net, 0);
}

/* Exchange states with "a" as the one that dials. */
static void push(struct net *net, bool is_join, const struct net_entry *entries,
                 size_t n, struct span user_state)
{
    struct span bytes = net_push_pull(is_join, entries, n, user_state);
    uint32_t id = accept_from(net, "10.0.0.50:1000");
    assert_true(id != 0);
    feed(net, id, bytes.data, bytes.len);
    free((void *)(uintptr_t)bytes.data);
}

static void feed_msg(struct net *net, uint32_t id, const struct ml_msg *msg)
{
    uint8_t bytes[512];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    ml_msg_encode(&w, msg);
    assert_int_equal(wr_err(&w), 0);
    feed(net, id, w.data, w.len);
}

static size_t known(const struct net *net)
{
    return members_count(mesh_members(net->mesh[0]));
}

/* ---- push/pull, accepted ---- */

static void states_are_exchanged(void **state)
{
    (void)state;
    static struct net net;
    static const struct net_entry there[] = {
        {"b", 2, INC, ML_STATE_ALIVE, NULL},
        {"c", 3, INC, ML_STATE_ALIVE, NULL},
    };
    for (int is_join = 0; is_join < 2; is_join++) {
        start(&net);
        push(&net, is_join, there, 2, (struct span){NULL, 0});
        const struct net_seen *s =
            net_nth(&net, 0, NET_STREAM | ML_PUSH_PULL, 0, 0);
        check_u64(s->n_nodes, 1); /* what it knew before */
        check_true(s->is_join == is_join);
        check_u64(net_count(&net, 0, NET_HANGUP, 0), 1);
        check_u64(known(&net), 3);
        check_u64(stats(&net).push_pulls, 1);
        check_u64(stats(&net).streams, 0);
        check_u64(net.events[0][MESH_JOINED], 2);
        net_fini(&net);
    }
}

static void what_is_learned_is_passed_on(void **state)
{
    (void)state;
    static struct net net;
    static const struct net_entry there[] = {
        {"b", 2, INC, ML_STATE_ALIVE, NULL},
        {"c", 3, INC, ML_STATE_ALIVE, NULL},
        {"d", 4, INC, ML_STATE_ALIVE, NULL},
        {"e", 5, INC, ML_STATE_ALIVE, NULL},
    };
    static const struct net_entry later[] = {
        {"b", 2, INC, ML_STATE_SUSPECT, NULL},
        {"c", 3, INC, ML_STATE_DEAD, NULL},
        {"d", 4, INC, ML_STATE_LEFT, NULL},
    };
    start(&net);
    push(&net, true, there, 4, (struct span){NULL, 0});
    check_u64(stats(&net).queue_items, 4);
    net_run(&net, 3 * SEC);
    check_true(net_count(&net, 0, ML_ALIVE, 0) > 0);
    net_mark(&net);
    push(&net, false, later, 3, (struct span){NULL, 0});
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_SUSPECT);
    /* The word of one that somebody is dead kills nobody. */
    check_u64((uint64_t)net_state(&net, 0, "c"), MEMBER_SUSPECT);
    check_u64((uint64_t)net_state(&net, 0, "d"), MEMBER_LEFT);
    net_run(&net, 2 * SEC);
    bool told[3] = {false};
    for (size_t i = net.mark; i < net.n_seen; i++) {
        const struct net_seen *s = &net.seen[i];
        if (s->type == ML_SUSPECT) {
            assert_string_equal(s->by, "a");
            told[0] |= !strcmp(s->node, "b");
            told[1] |= !strcmp(s->node, "c");
        } else if (s->type == ML_DEAD) {
            assert_string_equal(s->by, "d"); /* a leave stays one */
            told[2] |= !strcmp(s->node, "d");
        }
    }
    check_true(told[0] && told[1] && told[2]);
    net_fini(&net);
}

static void a_state_about_oneself_is_refuted(void **state)
{
    (void)state;
    static struct net net;
    static const uint8_t states[] = {ML_STATE_SUSPECT, ML_STATE_DEAD,
                                     ML_STATE_LEFT};
    for (int i = 0; i < 3; i++) {
        const struct net_entry us = {"a", 1, INC + 7, states[i], NULL};
        start(&net);
        push(&net, false, &us, 1, (struct span){NULL, 0});
        check_u64(stats(&net).incarnation, INC + 8);
        check_u64(stats(&net).refutations, 1);
        net_fini(&net);
    }
}

static void a_peek_is_no_push_pull(void **state)
{
    (void)state;
    static struct net net;
    start(&net);
    push(&net, false, NULL, 0, (struct span){NULL, 0});
    check_u64(net_count(&net, 0, NET_STREAM | ML_PUSH_PULL, 0), 1);
    check_u64(stats(&net).push_pulls, 0);
    /* With a state of Serf's it is one. */
    push(&net, false, NULL, 0, span_of("\x02\x80", 2));
    check_u64(stats(&net).push_pulls, 1);
    net_fini(&net);
}

/* ---- versions ---- */

static void one_that_does_not_fit_is_left_out_and_named(void **state)
{
    (void)state;
    static struct net net;
    static const uint8_t *const odd[] = {other_app, speaks_6};
    static const uint8_t states[] = {ML_STATE_ALIVE, ML_STATE_DEAD};
    for (int i = 0; i < 2; i++) {
        for (int k = 0; k < 2; k++) {
            const struct net_entry there[] = {
                {"odd", 3, INC, states[k], odd[i]},
                {"b", 2, INC, ML_STATE_ALIVE, NULL},
            };
            start(&net);
            push(&net, true, there, 2, (struct span){NULL, 0});
            check_u64(known(&net), 2);
            check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_ALIVE);
            check_u64(net.events[0][MESH_INCOMPATIBLE], 1);
            assert_string_equal(net.event_text[0][MESH_INCOMPATIBLE], "odd");
            net_fini(&net);
        }
    }
}

/* "b" understands less than we do and all is well; "c" speaks what "b" does
 * not understand, but we do: that is between the two of them. */
static void versions_of_others_are_theirs(void **state)
{
    (void)state;
    static struct net net;
    static const uint8_t speaks_4[ML_VSN_SIZE] = {1, 5, 2, 2, 5, 4};
    const struct net_entry b = {"b", 2, INC, ML_STATE_ALIVE, narrow_app};
    const struct net_entry c = {"c", 3, INC, ML_STATE_ALIVE, speaks_4};
    const struct net_entry both[] = {b, c};
    start(&net);
    push(&net, false, both, 2, (struct span){NULL, 0});
    check_u64(known(&net), 3);
    check_u64(net.events[0][MESH_INCOMPATIBLE], 0);
    net_fini(&net);
}

static void versions_that_leave_us_out_are_not_stored(void **state)
{
    (void)state;
    static struct net net;
    static const uint8_t only_3[ML_VSN_SIZE] = {3, 3, 3, 2, 5, 5};
    static const uint8_t app_4[ML_VSN_SIZE] = {1, 5, 2, 4, 4, 4};
    static const uint8_t *const odd[] = {only_3, app_4};
    for (int i = 0; i < 2; i++) {
        const struct net_entry b = {"b", 2, INC, ML_STATE_ALIVE, odd[i]};
        start(&net);
        push(&net, false, &b, 1, (struct span){NULL, 0});
        check_u64(known(&net), 1);
        check_u64(net.events[0][MESH_INCOMPATIBLE], 1);
        assert_string_equal(net.event_text[0][MESH_INCOMPATIBLE], "b");
        net_fini(&net);
    }
}

static void records_that_are_unfit_stop_nothing(void **state)
{
    (void)state;
    static struct net net;
    static const struct net_entry there[] = {
        {"x", 9, INC, ML_STATE_ALIVE, unfit},
        {"b", 2, INC, ML_STATE_ALIVE, NULL},
        {"", 8, INC, ML_STATE_ALIVE, NULL},
        {"c", 3, INC, ML_STATE_ALIVE, NULL},
        {"s", 7, INC, 77, NULL}, /* a state that is none */
    };
    start(&net);
    push(&net, false, there, 5, (struct span){NULL, 0});
    check_u64(known(&net), 3);
    check_u64((uint64_t)net_state(&net, 0, "c"), MEMBER_ALIVE);
    net_fini(&net);
}

/* ---- the periodic push/pull ---- */

static void start_with(struct net *net, size_t n)
{
    start(net);
    for (size_t i = 0; i < n; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%d", (int)i);
        net_puppet(net, 0, name, (int)i + 2, INC);
    }
}

static void state_is_exchanged_twice_a_minute(void **state)
{
    (void)state;
    static struct net net;
    start_with(&net, 3);
    net.holds_dials = false;
    net_run(&net, 30 * SEC);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 1);
    net_mark(&net);
    net_run(&net, 600 * SEC);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 20);
    net_fini(&net);
}

static void large_meshes_exchange_more_rarely(void **state)
{
    (void)state;
    static struct net net;
    static const struct {
        size_t others, n; /* exchanges in 600 s */
    } cases[] = {{31, 20}, {32, 10}, {40, 10}};
    for (size_t i = 0; i < 3; i++) {
        start_with(&net, cases[i].others);
        net.holds_dials = false;
        net_run(&net, 90 * SEC);
        net_mark(&net);
        net_run(&net, 600 * SEC);
        check_u64(net_count(&net, 0, NET_DIAL, 0), cases[i].n);
        net_fini(&net);
    }
}

static const struct net_seen *await_dial(struct net *net)
{
    net_mark(net);
    for (int i = 0; i < 100000; i++) {
        const struct net_seen *s = net_nth(net, 0, NET_DIAL, 0, 0);
        if (s)
            return s;
        net_run(net, MS);
    }
    fail_msg("nobody is dialled");
    return NULL;
}

static void failed_exchanges_are_counted_per_member(void **state)
{
    (void)state;
    static struct net net;
    static const struct net_entry b = {"n0", 2, INC, ML_STATE_ALIVE, NULL};
    start_with(&net, 1);
    for (unsigned i = 1; i <= 3; i++) {
        uint32_t id = await_dial(&net)->id; /* which takes its time */
        mesh_on_gone(net.mesh[0], net.now_ns, id);
        check_u64(net_member(&net, 0, "n0")->tcp_misses, i);
        check_u64(stats(&net).push_pull_failures, i);
    }
    net_answer(&net, 0, await_dial(&net)->id, &b, 1);
    check_u64(net_member(&net, 0, "n0")->tcp_misses, 0);
    check_u64(stats(&net).push_pulls, 1);
    check_u64(stats(&net).streams, 0);
    net_fini(&net);
}

static void what_does_not_fit_in_a_reply_is_left_out(void **state)
{
    (void)state;
    static struct net net;
    static const struct net_entry there[] = {
        {"b", 3, INC, ML_STATE_ALIVE, NULL},
        {"odd", 4, INC, ML_STATE_ALIVE, other_app},
    };
    start_with(&net, 1);
    net_answer(&net, 0, await_dial(&net)->id, there, 2);
    check_u64(known(&net), 3);
    check_u64(net.events[0][MESH_INCOMPATIBLE], 1);
    assert_string_equal(net.event_text[0][MESH_INCOMPATIBLE], "odd");
    net_fini(&net);
}

static void a_reply_of_another_kind_is_a_failure(void **state)
{
    (void)state;
    static struct net net;
    struct ml_msg ack = {.type = ML_ACK};
    ack.ack.seq_no = 1;
    start_with(&net, 1);
    uint32_t id = await_dial(&net)->id;
    mesh_on_connected(net.mesh[0], net.now_ns, id);
    net_drain(&net, 0);
    feed_msg(&net, id, &ack);
    check_u64(stats(&net).push_pull_failures, 1);
    check_u64(net_count(&net, 0, NET_HANGUP, 0), 1);
    net_fini(&net);
}

static void a_dial_is_given_up_after_ten_seconds(void **state)
{
    (void)state;
    static struct net net;
    for (int connects = 0; connects < 2; connects++) {
        start_with(&net, 1);
        uint32_t id = await_dial(&net)->id;
        uint64_t was_ns = net_nth(&net, 0, NET_DIAL, 0, 0)->at_ns;
        net_run(&net, 3 * SEC);
        if (connects) {
            mesh_on_connected(net.mesh[0], net.now_ns, id);
            mesh_on_connected(net.mesh[0], net.now_ns, id); /* not twice */
            net_drain(&net, 0);
            check_u64(net_count(&net, 0, NET_STREAM | ML_PUSH_PULL, 0), 1);
        }
        net_run(&net, 7 * SEC);
        const struct net_seen *s = net_nth(&net, 0, NET_HANGUP, 0, 0);
        check_u64(s->id, id);
        check_u64(s->at_ns - was_ns, 10 * SEC);
        check_u64(stats(&net).push_pull_failures, 1);
        net_fini(&net);
    }
}

static void bytes_before_the_connection_count_for_nothing(void **state)
{
    (void)state;
    static struct net net;
    static const struct net_entry b = {"b", 3, INC, ML_STATE_ALIVE, NULL};
    struct span bytes = net_push_pull(false, &b, 1, (struct span){NULL, 0});
    start_with(&net, 1);
    uint32_t id = await_dial(&net)->id;
    feed(&net, id, bytes.data, bytes.len);
    check_u64(known(&net), 2);
    feed(&net, id ^ 256, bytes.data, bytes.len); /* an id that is none */
    feed(&net, 255, bytes.data, bytes.len);
    check_u64(known(&net), 2);
    free((void *)(uintptr_t)bytes.data);
    net_fini(&net);
}

/* ---- who may open streams ---- */

static void slow_streams_end_after_ten_seconds_whatever_they_send(void **state)
{
    (void)state;
    static struct net net;
    static const struct net_entry b = {"b", 2, INC, ML_STATE_ALIVE, NULL};
    uint32_t ids[32];
    start(&net);
    struct span bytes = net_push_pull(true, &b, 1, (struct span){NULL, 0});
    uint64_t was_ns = net.now_ns;
    for (int i = 0; i < 32; i++) {
        char from[32];
        snprintf(from, sizeof(from), "10.1.0.%d:1000", i / 4 + 1);
        ids[i] = accept_from(&net, from);
        check_true(ids[i] != 0);
    }
    check_u64(accept_from(&net, "10.0.0.50:1000"), 0);
    check_u64(stats(&net).streams_refused, 1);
    for (size_t sec = 0; sec < 10; sec++) {
        for (int i = 0; i < 32; i++)
            feed(&net, ids[i], bytes.data + sec, 1);
        net_run(&net, SEC);
    }
    check_u64(net_count(&net, 0, NET_HANGUP, 0), 32);
    for (size_t i = 0; i < 32; i++) {
        uint64_t at_ns = net_nth(&net, 0, NET_HANGUP, 0, i)->at_ns;
        check_true(at_ns - was_ns >= 9800 * MS && at_ns - was_ns <= 10200 * MS);
    }
    check_u64(stats(&net).unproven_bytes, 0);
    push(&net, true, &b, 1, (struct span){NULL, 0}); /* an honest one */
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_ALIVE);
    free((void *)(uintptr_t)bytes.data);
    net_fini(&net);
}

static void four_streams_per_address_but_for_this_machine(void **state)
{
    (void)state;
    static struct net net;
    start(&net);
    for (int i = 0; i < 4; i++)
        check_true(accept_from(&net, "10.1.0.1:1000") != 0);
    check_u64(accept_from(&net, "10.1.0.1:2000"), 0);
    check_true(accept_from(&net, "10.1.0.2:1000") != 0);
    for (int i = 0; i < 20; i++)
        check_true(accept_from(&net, "127.0.0.1:1000") != 0);
    check_u64(stats(&net).streams_in, 25);
    check_u64(stats(&net).streams, 25);
    net_fini(&net);
}

static void a_closed_stream_makes_room(void **state)
{
    (void)state;
    static struct net net;
    uint32_t id = 0;
    start(&net);
    for (int i = 0; i < 4; i++)
        id = accept_from(&net, "10.1.0.1:1000");
    mesh_on_gone(net.mesh[0], net.now_ns, id);
    mesh_on_gone(net.mesh[0], net.now_ns, id);
    check_u64(stats(&net).streams, 3);
    uint32_t again = accept_from(&net, "10.1.0.1:1000");
    check_true(again != 0 && again != id);
    net_fini(&net);
}

static void strangers_do_not_keep_us_from_dialling(void **state)
{
    (void)state;
    static struct net net;
    start_with(&net, 1);
    for (int i = 0; i < 32; i++) {
        char from[32];
        snprintf(from, sizeof(from), "10.1.0.%d:1000", i / 4 + 1);
        accept_from(&net, from);
    }
    check_true(mesh_send(net.mesh[0], net.now_ns, 1, span_of_text("\x80hi"),
                         true) == 0);
    net_fini(&net);
}

static void a_stream_that_makes_no_sense_gets_no_word(void **state)
{
    (void)state;
    static struct net net;
    static const char *const bad[] = {"GET / HTTP/1.1\r\n\r\n", "\xff\xff\xff",
                                      "\x03\x80", "\x06\xc1",
                                      "\x09\x81\xa4\x41lgo\x07"};
    start(&net);
    uint64_t digest = mesh_digest(net.mesh[0]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        net_mark(&net);
        uint64_t out = stats(&net).stream_bytes_out;
        uint32_t id = accept_from(&net, "10.1.0.1:1000");
        feed(&net, id, bad[i], strlen(bad[i]));
        check_u64(net_count(&net, 0, NET_HANGUP, 0), 1);
        check_u64(stats(&net).stream_bytes_out, out);
        feed(&net, id, bad[i], strlen(bad[i])); /* not known any more */
    }
    check_u64(mesh_digest(net.mesh[0]), digest);
    check_u64(stats(&net).unproven_bytes, 0);
    uint64_t drops = 0;
    for (int i = 0; i < ML_DROP_N; i++)
        drops += stats(&net).drops[i];
    check_u64(drops, 5);
    net_fini(&net);
}

/* ---- a pause ---- */

static void streams_get_the_time_of_a_pause_on_top(void **state)
{
    (void)state;
    static struct net net;
    start_with(&net, 1);
    net_run(&net, 3 * SEC);
    uint32_t id = accept_from(&net, "10.1.0.1:1000");
    uint64_t was_ns = net.now_ns;
    net_mark(&net);
    net_run(&net, 5 * SEC);
    net.is_frozen[0] = true;
    net_run(&net, 60 * SEC);
    net.is_frozen[0] = false;
    net_run(&net, 2 * SEC);
    check_u64(stats(&net).stalls, 1);
    net_run(&net, 4 * SEC);
    const struct net_seen *s;
    size_t n = 0;
    while ((s = net_nth(&net, 0, NET_HANGUP, 0, n)) && s->id != id)
        n++;
    assert_non_null(s);
    check_true(s->at_ns - was_ns >= 69 * SEC);
    net_fini(&net);
}

static void a_pause_puts_off_the_next_exchange(void **state)
{
    (void)state;
    static struct net net;
    start_with(&net, 1);
    await_dial(&net);
    net_run(&net, 15 * SEC); /* of thirty */
    net_mark(&net);
    net.is_frozen[0] = true;
    net_run(&net, 60 * SEC);
    net.is_frozen[0] = false;
    net_run(&net, 13 * SEC);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 0);
    net_run(&net, 3 * SEC);
    check_u64(net_count(&net, 0, NET_DIAL, 0), 1);
    net_fini(&net);
}

/* ---- pings and messages of ours ---- */

static void a_tcp_ping_for_us_is_answered(void **state)
{
    (void)state;
    static struct net net;
    static const char *const names[] = {"a", "b", ""};
    for (int i = 0; i < 3; i++) {
        struct ml_msg ping = {.type = ML_PING};
        ping.ping =
            (struct ml_ping){.seq_no = 99, .node = span_of_text(names[i])};
        start(&net);
        feed_msg(&net, accept_from(&net, "10.1.0.1:1000"), &ping);
        check_u64(net_count(&net, 0, NET_STREAM | ML_ACK, 0), i == 0);
        if (i == 0)
            check_u64(net_nth(&net, 0, NET_STREAM | ML_ACK, 0, 0)->seq_no, 99);
        else
            check_u64(stats(&net).stream_bytes_out, 0);
        check_u64(net_count(&net, 0, NET_HANGUP, 0), 1);
        net_fini(&net);
    }
}

static void long_messages_of_ours_go_over_a_stream(void **state)
{
    (void)state;
    static struct net net;
    static uint8_t text[70000] = {SERF_TYPE_OURS};
    start_with(&net, 1);
    net_run(&net, 5 * SEC);
    net_mark(&net);
    assert_int_equal(mesh_send(net.mesh[0], net.now_ns, 1,
                               span_of(text, sizeof(text)), false),
                     0);
    net_drain(&net, 0);
    check_u64(net_count(&net, 0, ML_USER, 0), 0);
    uint32_t id = net_nth(&net, 0, NET_DIAL, 2, 0)->id;
    mesh_on_connected(net.mesh[0], net.now_ns, id);
    net_drain(&net, 0);
    const struct net_seen *s = net_nth(&net, 0, NET_STREAM | ML_USER, 0, 0);
    check_u64(s->n_user, sizeof(text));
    check_u64(s->user[0], SERF_TYPE_OURS);
    check_u64(net_nth(&net, 0, NET_HANGUP, 0, 0)->id, id);
    check_u64(stats(&net).streams, 0);
    check_u64(stats(&net).user_out, 1);

    /* A short one goes over a stream if that is asked for. */
    net_mark(&net);
    assert_int_equal(
        mesh_send(net.mesh[0], net.now_ns, 1, span_of(text, 2), true), 0);
    net_drain(&net, 0);
    check_u64(net_count(&net, 0, NET_DIAL, 2), 1);
    assert_int_equal(
        mesh_send(net.mesh[0], net.now_ns, 1, span_of(text, 2), false), 0);
    net_drain(&net, 0);
    check_u64(net_count(&net, 0, ML_USER, 2), 1);
    net_fini(&net);
}

static void what_cannot_be_sent_is_refused(void **state)
{
    (void)state;
    static struct net net;
    static uint8_t text[(1 << 20) + 1] = {SERF_TYPE_OURS};
    start_with(&net, 2);
    struct mesh *m = net.mesh[0];
    struct span two = span_of(text, 2);
    struct ml_msg dead = {.type = ML_DEAD};
    dead.accusation =
        (struct ml_accusation){INC, span_of_text("n1"), span_of_text("n0")};
    net_inject_msg(&net, 0, "10.0.0.2:7946", &dead);
    check_true(mesh_send(m, net.now_ns, 1, span_of(text, sizeof(text)), true) ==
               ERR_TOOBIG);
    check_true(mesh_send(m, net.now_ns, 0, two, true) == ERR_CLOSED);
    check_true(mesh_send(m, net.now_ns, 2, two, true) == ERR_CLOSED);
    check_true(mesh_send(m, net.now_ns, 99, two, true) == ERR_CLOSED);
    check_true(mesh_send(m, net.now_ns, 1, span_of(text, 0), true) ==
               ERR_CLOSED);
    check_u64(stats(&net).user_out, 0);
    int n = 0;
    while (n < 100 && mesh_send(m, net.now_ns, 1, two, true) == 0)
        n++;
    check_true(n >= 20 && n <= 24);
    check_true(mesh_send(m, net.now_ns, 1, two, true) == ERR_BUSY);
    check_true(mesh_send(m, net.now_ns, 1, two, false) == 0);
    net_fini(&net);
}

static void a_message_of_ours_over_a_stream_arrives(void **state)
{
    (void)state;
    static struct net net;
    static const uint8_t bytes[] = "\x08\x81\xaaUserMsgLen\x03\x80hi";
    start(&net);
    feed(&net, accept_from(&net, "10.1.0.1:1000"), bytes, sizeof(bytes) - 1);
    check_u64(net.n_user[0], 1);
    assert_memory_equal(net.user[0], "\x80hi", 3);
    check_u64(net.user_member[0], UINT32_MAX);
    check_u64(net_count(&net, 0, NET_HANGUP, 0), 1);
    net_fini(&net);
}

static void an_unasked_ack_or_error_on_a_stream_is_odd(void **state)
{
    (void)state;
    static struct net net;
    struct ml_msg ack = {.type = ML_ACK};
    start(&net);
    feed_msg(&net, accept_from(&net, "10.1.0.1:1000"), &ack);
    check_u64(stats(&net).drops[ML_DROP_TYPE], 1);
    check_u64(net_count(&net, 0, NET_HANGUP, 0), 1);
    net_fini(&net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(states_are_exchanged),
        cmocka_unit_test(what_is_learned_is_passed_on),
        cmocka_unit_test(a_state_about_oneself_is_refuted),
        cmocka_unit_test(a_peek_is_no_push_pull),
        cmocka_unit_test(one_that_does_not_fit_is_left_out_and_named),
        cmocka_unit_test(versions_of_others_are_theirs),
        cmocka_unit_test(versions_that_leave_us_out_are_not_stored),
        cmocka_unit_test(records_that_are_unfit_stop_nothing),
        cmocka_unit_test(state_is_exchanged_twice_a_minute),
        cmocka_unit_test(large_meshes_exchange_more_rarely),
        cmocka_unit_test(failed_exchanges_are_counted_per_member),
        cmocka_unit_test(what_does_not_fit_in_a_reply_is_left_out),
        cmocka_unit_test(a_reply_of_another_kind_is_a_failure),
        cmocka_unit_test(a_dial_is_given_up_after_ten_seconds),
        cmocka_unit_test(bytes_before_the_connection_count_for_nothing),
        cmocka_unit_test(slow_streams_end_after_ten_seconds_whatever_they_send),
        cmocka_unit_test(four_streams_per_address_but_for_this_machine),
        cmocka_unit_test(a_closed_stream_makes_room),
        cmocka_unit_test(strangers_do_not_keep_us_from_dialling),
        cmocka_unit_test(a_stream_that_makes_no_sense_gets_no_word),
        cmocka_unit_test(streams_get_the_time_of_a_pause_on_top),
        cmocka_unit_test(a_pause_puts_off_the_next_exchange),
        cmocka_unit_test(a_tcp_ping_for_us_is_answered),
        cmocka_unit_test(long_messages_of_ours_go_over_a_stream),
        cmocka_unit_test(what_cannot_be_sent_is_refused),
        cmocka_unit_test(a_message_of_ours_over_a_stream_arrives),
        cmocka_unit_test(an_unasked_ack_or_error_on_a_stream_is_odd),
    };
    return cmocka_run_group_tests_name("mesh_stream", tests, NULL, NULL);
}
