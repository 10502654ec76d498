/* Attacks and faults with whole nodes. Names begin with the number that the
 * attack or fault has in docs/gossip.md's list. */
#include "proto/ml_msg.h"
#include "proto/ml_packet.h"
#include "test/check.h"
#include "test/mesh_net.h"

#include <stdio.h>
#include <string.h>

#define SEC NET_SEC
#define MS  NET_MS
#define INC ((uint32_t)NET_UNIX_S)

#define KEPT_MAX 4096

/* Datagrams of the wire, kept to be sent again. */
struct kept {
    struct {
        int from, to;
        size_t len;
        uint8_t data[1400];
    } packets[KEPT_MAX];
    size_t n;
    struct rng rng;
};

static bool keep(struct net *net, int from, int to, struct span data)
{
    struct kept *k = net->filter_arg;
    size_t at = k->n < KEPT_MAX ? k->n++ : rng_below(&k->rng, KEPT_MAX);
    assert_true(data.len <= sizeof(k->packets[at].data));
    k->packets[at].from = from;
    k->packets[at].to = to;
    k->packets[at].len = data.len;
    memcpy(k->packets[at].data, data.data, data.len);
    return false;
}

static const struct ml_key key = {.len = 32, .bytes = {7, 7}};

static int random_bytes(void *arg, uint8_t *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)rng_next(arg);
    return 0;
}

static void start_all(struct net *net, int n, bool has_key)
{
    net_init(net);
    for (int i = 0; i < n; i++) {
        struct mesh_config c = net_config(net, i);
        c.keys = &key;
        c.n_keys = has_key;
        net_start(net, i, &c);
    }
    net->is_blind = true;
}

static struct mesh_stats stats(const struct net *net, int i)
{
    struct mesh_stats s;
    mesh_stats(net->mesh[i], &s);
    return s;
}

static uint64_t all_drops(const struct net *net, int i)
{
    struct mesh_stats s = stats(net, i);
    uint64_t n = 0;
    for (int k = 0; k < ML_DROP_N; k++)
        n += s.drops[k];
    return n;
}

static unsigned count_events(const struct net *net, enum mesh_event event)
{
    unsigned n = 0;
    for (size_t i = 0; i < net->n; i++)
        n += net->events[i][event];
    return n;
}

static void inject_again(struct net *net, const struct kept *k, size_t at)
{
    int to = k->packets[at].to;
    char from[32];
    if (to < 0 || !net->mesh[to])
        return;
    snprintf(from, sizeof(from), "10.0.0.%d:7946", k->packets[at].from + 1);
    net_inject(net, to, from, k->packets[at].data, k->packets[at].len);
}

static void a01_real_datagrams_with_a_flipped_bit_change_nothing(void **state)
{
    (void)state;
    static struct net net;
    static struct kept kept;
    kept.n = 0;
    rng_seed(&kept.rng, check_seed());
    start_all(&net, 3, true);
    net.filter = keep;
    net.filter_arg = &kept;
    net_run(&net, 60 * SEC);
    net.filter = NULL;
    check_true(kept.n > 100);
    uint64_t digest = mesh_digest(net.mesh[0]);
    uint64_t out = stats(&net, 0).packets_out;
    uint64_t drops = all_drops(&net, 0);
    for (int i = 0; i < 100000; i++) {
        size_t at = rng_below(&kept.rng, kept.n);
        uint8_t bytes[1400];
        size_t len = kept.packets[at].len;
        memcpy(bytes, kept.packets[at].data, len);
        size_t bit = rng_below(&kept.rng, len * 8);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        net_inject(&net, 0, "10.0.0.2:7946", bytes, len);
    }
    check_u64(mesh_digest(net.mesh[0]), digest);
    check_u64(stats(&net, 0).packets_out, out);
    check_u64(all_drops(&net, 0), drops + 100000);
    net_run(&net, 60 * SEC);
    check_u64(count_events(&net, MESH_SUSPECTED), 0);
    net_fini(&net);
}

static void a02_clear_packets_are_refused_where_there_is_a_key(void **state)
{
    (void)state;
    static struct net net;
    struct ml_msg msgs[3] = {
        {.type = ML_PING}, {.type = ML_SUSPECT}, {.type = ML_DEAD}};
    msgs[0].ping = (struct ml_ping){.seq_no = 1, .node = span_of_text("a")};
    for (int i = 1; i < 3; i++)
        msgs[i].accusation =
            (struct ml_accusation){INC, span_of_text("b"), span_of_text("c")};
    for (int accepts = 0; accepts < 2; accepts++) {
        net_init(&net);
        for (int i = 0; i < 3; i++) {
            struct mesh_config c = net_config(&net, i);
            c.keys = &key;
            c.n_keys = 1;
            c.accepts_clear = accepts;
            net_start(&net, i, &c);
        }
        net_run(&net, 20 * SEC);
        uint64_t digest = mesh_digest(net.mesh[0]);
        uint64_t out = stats(&net, 0).packets_out;
        for (int i = 0; i < 3; i++)
            net_inject_msg(&net, 0, "10.0.0.3:7946", &msgs[i]);
        net_puppet(&net, 0, "new", 33, INC);
        check_true((mesh_digest(net.mesh[0]) != digest) == accepts);
        check_true((stats(&net, 0).packets_out != out) == accepts);
        check_u64(all_drops(&net, 0), accepts ? 0 : 4);
        net_fini(&net);
    }
}

/* Every fifth of a second some packet of any earlier time comes again. Those
 * who live stay alive, who crashed stays dead as long as it is remembered, and
 * for no longer than a suspicion lasts if it was forgotten. */
static void a03_old_packets_kill_nobody_and_raise_nobody(void **state)
{
    (void)state;
    static struct net net;
    static struct kept kept;
    kept.n = 0;
    rng_seed(&kept.rng, check_seed());
    start_all(&net, 6, true);
    net.filter = keep;
    net.filter_arg = &kept;
    uint64_t ghost_ns = 0;
    for (int step = 0; step < 9000; step++) { /* 30 minutes */
        net_run(&net, 200 * MS);
        for (int i = 0; i < 3; i++)
            inject_again(&net, &kept, rng_below(&kept.rng, kept.n));
        if (step == 500)
            net_stop(&net, 5);
        if (step == 1000)
            net_stop(&net, 4);
        if (step == 1020) { /* restarts while it is not yet dead */
            struct mesh_config c = net_config(&net, 4);
            c.keys = &key;
            c.n_keys = 1;
            net_start(&net, 4, &c);
        }
        if (step < 600)
            continue;
        for (int i = 0; i < 4; i++) {
            for (int k = 0; k < 4; k++) {
                char name[2] = {(char)('a' + k), 0};
                check_true(net_state(&net, i, name) <= MEMBER_SUSPECT);
            }
        }
        int f = net_state(&net, 0, "f");
        ghost_ns =
            f == MEMBER_ALIVE || f == MEMBER_SUSPECT ? ghost_ns + 200 * MS : 0;
        check_true(ghost_ns < 40 * SEC);
    }
    net.filter = NULL;
    net_run(&net, 60 * SEC);
    for (int i = 0; i < 5; i++) {
        check_true(net_state(&net, i, "f") == -1 ||
                   net_state(&net, i, "f") >= MEMBER_DEAD);
        check_u64((uint64_t)net_state(&net, i, "e"), MEMBER_ALIVE);
    }
    net_fini(&net);
}

/* All datagrams of up to two bytes, and many of three and four. In the clear
 * some are whole messages (a ping to whom it may concern); nobody is answered
 * with more than he sent, and no member changes. */
static void a10_the_shortest_datagrams_do_nothing(void **state)
{
    (void)state;
    static struct net net;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int kind = 0; kind < 3; kind++) {
        net_init(&net);
        for (int i = 0; i < 2; i++) {
            struct mesh_config c = net_config(&net, i);
            c.keys = &key;
            c.n_keys = kind == 1;
            c.label = kind == 2 ? "l" : "";
            net_start(&net, i, &c);
        }
        net.is_blind = true;
        net_run(&net, 20 * SEC);
        uint64_t digest = members_digest(mesh_members(net.mesh[0]));
        uint64_t all = mesh_digest(net.mesh[0]);
        for (uint32_t i = 0; i < 200000; i++) {
            uint8_t bytes[7] = {ML_LABEL, 1, 'l'};
            size_t head = kind == 2 && i % 2 ? 3 : 0;
            uint32_t v = i < 65536 + 256 + 1 ? i : (uint32_t)rng_next(&rng);
            size_t len = i == 0       ? 0
                         : i <= 256   ? 1
                         : i <= 65792 ? 2
                         : i % 4 < 2  ? 3
                                      : 4;
            v = i <= 256 ? i - 1 : i <= 65792 ? i - 257 : v;
            for (size_t k = 0; k < len; k++)
                bytes[head + k] = (uint8_t)(v >> 8 * k);
            net_inject(&net, 0, "10.66.0.1:7946", bytes, head + len);
        }
        check_u64(members_digest(mesh_members(net.mesh[0])), digest);
        check_u64(net.n_foreign, 0);
        if (kind == 1)
            check_u64(mesh_digest(net.mesh[0]), all);
        net_fini(&net);
    }
}

/* One of ten says every second to each that each other is dead or suspect, at
 * the very incarnation that it has there. */
static void a14_an_accusation_storm_hides_nobody(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 10, false);
    net_run(&net, 20 * SEC);
    check_true(net_all_alive(&net));
    uint64_t seen = 0, hidden = 0;
    for (int step = 0; step < 6000; step++) { /* ten minutes */
        for (int i = 0; step % 10 == 0 && i < 9; i++) {
            for (int v = 0; v < 9; v++) {
                char name[2] = {(char)('a' + v), 0};
                struct ml_msg msg = {.type = ML_SUSPECT};
                msg.accusation = (struct ml_accusation){
                    net_member(&net, i, name)->incarnation, span_of_text(name),
                    span_of_text("j")};
                net_inject_msg(&net, i, "10.0.0.10:7946", &msg);
            }
        }
        net_run(&net, 100 * MS);
        for (int i = 0; i < 9; i++) {
            for (int v = 0; v < 9; v++) {
                char name[2] = {(char)('a' + v), 0};
                int is = net_state(&net, i, name);
                seen++;
                hidden += is != MEMBER_ALIVE && is != MEMBER_SUSPECT;
            }
        }
    }
    check_true(hidden * 1000 <= seen);
    check_u64(hidden, 0);
    for (int i = 0; i < 9; i++)
        check_true(stats(&net, i).refutations > 500);
    net_run(&net, 20 * SEC);
    check_true(net_all_alive(&net));
    net_fini(&net);
}

/* Who is named as the source gets nothing, and the sender no more than he
 * sent, whatever he sends. */
static void a15_answers_go_to_the_sender_and_are_no_longer(void **state)
{
    (void)state;
    static struct net net;
    struct rng rng;
    uint8_t third[] = {10, 9, 9, 9};
    size_t sent = 0;
    rng_seed(&rng, check_seed());
    start_all(&net, 3, false);
    net_run(&net, 20 * SEC);
    for (int i = 0; i < 10000; i++) {
        uint8_t bytes[256];
        struct wr w;
        struct ml_msg msg = {.type = ML_PING};
        msg.ping = (struct ml_ping){
            .seq_no = (uint32_t)rng_next(&rng),
            .node = span_of_text(i % 3 ? "a" : ""),
            .source_addr = span_of(third, i % 2 ? 4 : 0),
            .source_port = (uint16_t)rng_next(&rng),
            .source_node = span_of_text(i % 5 ? "b" : "victim"),
        };
        wr_init_fixed(&w, bytes, sizeof(bytes));
        ml_msg_encode(&w, &msg);
        sent += w.len;
        size_t was = net.n_foreign;
        net_inject(&net, 0, "10.66.0.1:999", w.data, w.len);
        check_true(net.n_foreign <= was + 1);
        check_true(net.n_foreign == 0 || net.foreign.port == 999);
        check_true(net.foreign_bytes <= sent);
    }
    net_fini(&net);
}

static void a16_others_are_pinged_for_members_only_and_few(void **state)
{
    (void)state;
    static struct net net;
    start_all(&net, 5, false);
    net_run(&net, 20 * SEC);
    uint64_t out = stats(&net, 0).packets_out;
    struct addr b = net_addr(2);
    for (uint32_t i = 0; i < 100000; i++) {
        char from[32];
        struct ml_msg msg = {.type = ML_INDIRECT_PING};
        msg.indirect_ping = (struct ml_indirect_ping){
            .seq_no = i,
            .target = ml_addr_bytes(&b),
            .port = b.port,
            .node = span_of_text("b"),
        };
        snprintf(from, sizeof(from), "10.0.0.%u:7946", 3 + i % 50);
        net_inject_msg(&net, 0, from, &msg);
    }
    check_u64(stats(&net, 0).packets_out - out, 3); /* c, d and e: once each */
    check_u64(stats(&net, 0).relays_refused, 100000 - 3);
    net_fini(&net);
}

/* 50,000 packets a second that are well sealed and full of news. */
static void a17_a_flood_makes_nobody_suspect_its_victim(void **state)
{
    (void)state;
    static struct net net;
    static struct {
        size_t len;
        uint8_t data[256];
    } flood[1000];
    struct ml_scratch scratch = {0};
    struct rng rng;
    struct errmsg text = {{0}};
    rng_seed(&rng, check_seed());
    struct ml_keyring *ring =
        ml_keyring_open(&key, 1, random_bytes, &rng, &text);
    struct ml_wire wire = {.keys = ring};
    static const uint8_t vsn[] = {1, 5, 2, 2, 5, 5};
    for (uint32_t i = 0; i < 1000; i++) {
        uint8_t bytes[256], ip[] = {10, 77, (uint8_t)(i >> 8), (uint8_t)i};
        char name[16];
        struct wr w, out;
        struct ml_msg msg = {.type = i % 2 ? ML_ALIVE : ML_SUSPECT};
        snprintf(name, sizeof(name), "x-%u", i);
        if (i % 2)
            msg.alive = (struct ml_alive){.incarnation = INC + i,
                                          .node = span_of_text(name),
                                          .addr = span_of(ip, 4),
                                          .port = 7946,
                                          .vsn = span_of(vsn, 6)};
        else
            msg.accusation = (struct ml_accusation){
                INC + i, span_of_text("x-1"), span_of_text(name)};
        wr_init_fixed(&w, bytes, sizeof(bytes));
        ml_msg_encode(&w, &msg);
        struct span part = span_of(w.data, w.len);
        wr_init_fixed(&out, flood[i].data, sizeof(flood[i].data));
        assert_int_equal(
            ml_packet_close(&wire, &part, 1, false, false, &scratch, &out), 0);
        flood[i].len = out.len;
    }
    start_all(&net, 5, true);
    net_run(&net, 20 * SEC);
    struct addr from = net_addr(60);
    for (size_t i = 0; i < 200000; i++) { /* four seconds */
        mesh_on_packet(net.mesh[0], net.now_ns, &from, flood[i % 1000].data,
                       flood[i % 1000].len);
        if (i % 250)
            continue;
        net_drain(&net, 0);
        net_run(&net, 5 * MS);
    }
    check_true(stats(&net, 0).queue_items <= 4096);
    check_true(stats(&net, 0).queue_bytes <= 1u << 20);
    net_run(&net, 5 * SEC);
    for (int i = 1; i < 5; i++)
        check_u64((uint64_t)net_state(&net, i, "a"), MEMBER_ALIVE);
    check_true(!strstr(net.trace, "suspected a\n"));
    check_u64((uint64_t)net_state(&net, 0, "b"), MEMBER_ALIVE);
    ml_scratch_fini(&scratch);
    ml_keyring_close(ring);
    net_fini(&net);
}

static void a23_a_million_names_drive_out_nobody(void **state)
{
    (void)state;
    static struct net net;
    static char names[20000][16];
    static struct net_entry entries[20000];
    struct addr from = net_addr(60);
    start_all(&net, 3, false);
    net_run(&net, 20 * SEC);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 20000; i++) {
            snprintf(names[i], sizeof(names[i]), "x-%d", round * 20000 + i);
            entries[i] =
                (struct net_entry){names[i], 62, INC, ML_STATE_ALIVE, NULL};
        }
        struct span bytes =
            net_push_pull(true, entries, 20000, (struct span){NULL, 0});
        uint32_t id = mesh_on_accept(net.mesh[0], net.now_ns, &from);
        check_true(id != 0);
        mesh_on_bytes(net.mesh[0], net.now_ns, id, bytes.data, bytes.len);
        net_drain(&net, 0);
        free((void *)(uintptr_t)bytes.data);
        check_true(members_count(mesh_members(net.mesh[0])) <= 4096);
        check_true(stats(&net, 0).queue_items <= 4096);
    }
    check_u64(stats(&net, 0).unproven_bytes, 0);
    check_true(stats(&net, 0).push_pulls >= 50);
    for (int i = 1; i < 3; i++) {
        char name[2] = {(char)('a' + i), 0};
        check_u64((uint64_t)net_state(&net, 0, name), MEMBER_ALIVE);
        check_true(addr_equal(&net_member(&net, 0, name)->addr, &net.addr[i]));
    }
    net_fini(&net);
}

/* ---- faults ---- */

static void f12_all_restart_at_once_or_in_waves(void **state)
{
    (void)state;
    static struct net net;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        for (int n_waves = 1; n_waves <= 5; n_waves += 2) {
            start_all(&net, 10, false);
            net_run(&net, 20 * SEC);
            for (int wave = 0; wave < n_waves; wave++) {
                for (int i = wave; i < 10; i += n_waves)
                    net_stop(&net, i);
                net_run(&net, seed * 300 * MS);
                for (int i = wave; i < 10; i += n_waves) {
                    struct mesh_config c = net_config(&net, i);
                    c.seed = seed * 100 + (uint64_t)i;
                    net_start(&net, i, &c);
                }
                net_run(&net, seed * 100 * MS);
            }
            net_run(&net, 30 * SEC);
            check_true(net_all_alive(&net));
            net_fini(&net);
        }
    }
}

static void f15_who_restarts_with_an_older_clock_is_back_in_2_s(void **state)
{
    (void)state;
    static struct net net;
    for (int is_dead = 0; is_dead < 2; is_dead++) {
        start_all(&net, 10, false);
        net_run(&net, 20 * SEC);
        net_stop(&net, 4);
        net_run(&net, is_dead ? 40 * SEC : SEC);
        struct mesh_config c = net_config(&net, 4);
        c.now_unix_s -= 1000000;
        net_start(&net, 4, &c);
        net_run(&net, 2 * SEC);
        check_true(net_all_alive(&net));
        for (int i = 0; i < 10; i++)
            check_u64(net_member(&net, i, "e")->incarnation,
                      stats(&net, 4).incarnation);
        net_fini(&net);
    }
}

/* Stopped for up to a minute while packets pile up: when it runs again the
 * timer may come first or the packets may. */
static void f20_a_pause_with_packets_queued_accuses_nobody(void **state)
{
    (void)state;
    static struct net net;
    static const uint64_t pauses_ms[] = {1000, 2500, 7777, 20000, 60000};
    for (size_t i = 0; i < 5; i++) {
        for (int timer_first = 0; timer_first < 2; timer_first++) {
            start_all(&net, 5, false);
            net_run(&net, 20 * SEC);
            for (int round = 0; round < 5; round++) {
                net_run(&net, (uint64_t)round * 233 * MS);
                net.is_frozen[2] = true;
                net_run(&net, pauses_ms[i] * MS);
                net.is_frozen[2] = false;
                if (timer_first) {
                    mesh_on_timer(net.mesh[2], net.now_ns);
                    net_drain(&net, 2);
                }
                net_run(&net, 60 * SEC);
                check_true(net_all_alive(&net));
                check_u64(net.events[2][MESH_SUSPECTED], 0);
                check_u64(net.events[2][MESH_FAILED], 0);
            }
            for (int k = 0; k < 5; k++) {
                char line[16];
                if (k == 2)
                    continue;
                snprintf(line, sizeof(line), "failed %c\n", 'a' + k);
                check_true(!strstr(net.trace, line));
            }
            net_fini(&net);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a01_real_datagrams_with_a_flipped_bit_change_nothing),
        cmocka_unit_test(a02_clear_packets_are_refused_where_there_is_a_key),
        cmocka_unit_test(a03_old_packets_kill_nobody_and_raise_nobody),
        cmocka_unit_test(a10_the_shortest_datagrams_do_nothing),
        cmocka_unit_test(a14_an_accusation_storm_hides_nobody),
        cmocka_unit_test(a15_answers_go_to_the_sender_and_are_no_longer),
        cmocka_unit_test(a16_others_are_pinged_for_members_only_and_few),
        cmocka_unit_test(a17_a_flood_makes_nobody_suspect_its_victim),
        cmocka_unit_test(a23_a_million_names_drive_out_nobody),
        cmocka_unit_test(f12_all_restart_at_once_or_in_waves),
        cmocka_unit_test(f15_who_restarts_with_an_older_clock_is_back_in_2_s),
        cmocka_unit_test(f20_a_pause_with_packets_queued_accuses_nobody),
    };
    return cmocka_run_group_tests_name("mesh_hostile", tests, NULL, NULL);
}
