/* Messages by hand first, then small nets, then what lies and what is lost. */
#include "mesh/spread.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"
#include "test/check.h"
#include "test/spread_net.h"

static const struct net_config two = {
    .n = 2, .zones = 2, .seed = 1, .near_ns = NET_MS, .far_ns = 10 * NET_MS};

static struct spread_stats stats_of(const struct net *net, unsigned i)
{
    struct spread_stats st;
    spread_stats(net->nodes[i].spread, &st);
    return st;
}

static void check_all(const struct net *net)
{
    for (unsigned i = 0; i < net->config.n; i++) {
        if (net->nodes[i].spread)
            spread_check(net->nodes[i].spread);
    }
}

static void run_s(struct net *net, uint64_t s)
{
    net_run(net, net->now_ns + s * NET_S);
}

/* The window that was closed last, two seconds after its end. */
static uint64_t last_window(struct net *net)
{
    return net_window(net) - 1;
}

/* ---- two nodes ---- */

static void a_frame_comes_to_the_other(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint64_t w = last_window(net);
    check_i64(net_close_frame(net, 0, w, 1), 0);
    check_u64(net_count(net, 0, w), 1);
    run_s(net, 1);
    check_u64(net_count(net, 0, w), 2);
    check_true(net_is_equal(net));
    struct spread_stats a = stats_of(net, 0), b = stats_of(net, 1);
    check_u64(a.own, 1);
    check_u64(a.frames_out, 1);
    check_u64(b.frames_in, 1);
    check_u64(b.added, 1);
    check_u64(b.duplicates, 0);
    check_u64(b.missing, 0);
    check_u64(b.fresh_bytes, net->frame_len);
    check_u64(a.frame_bytes_out, net->frame_len);
    check_true(a.bytes_out >= b.bytes_in);
    check_all(net);
    net_close(net);
}

static void a_large_frame_comes_by_stream_and_a_small_one_does_not(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint64_t w = last_window(net);
    check_i64(net_close_frame(net, 0, w, 1), 0);
    check_true(net->frame_len < 900);
    run_s(net, 2);
    check_u64(net->streams, 0);
    check_i64(net_close_frame(net, 0, w + 1, 20), 0);
    check_true(net->frame_len > 4000);
    run_s(net, 2);
    check_u64(net->streams, 1);
    check_u64(stats_of(net, 0).streams_out, 1);
    check_u64(net_count(net, 0, w), 2);
    check_u64(net_count(net, 0, w + 1), 2);
    net_close(net);
}

/* Eight hundred targets, each by both protocols and in both modes. */
static void one_of_many_targets_comes_too(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint64_t w = last_window(net);
    check_i64(net_close_frame(net, 0, w, 3200), 0);
    check_true(net->frame_len > 700u << 10);
    check_i64(net_close_frame(net, 1, w, 1), 0);
    run_s(net, 5);
    check_true(net_is_equal(net));
    check_u64(net_count(net, 0, w), 2);
    check_all(net);
    net_close(net);
}

static void one_without_cells_stays_at_home(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    check_i64(net_close_frame(net, 0, last_window(net), 0), 0);
    run_s(net, 3);
    check_u64(frames_count(net->nodes[0].frames), 0);
    check_u64(frames_count(net->nodes[1].frames), 0);
    check_u64(stats_of(net, 0).own_empty, 1);
    check_u64(stats_of(net, 0).own, 0);
    net_close(net);
}

static void one_that_is_too_large_is_not_spread(void **state)
{
    (void)state;
    static uint8_t large[300u << 10];
    struct net *net = net_open(&two);
    check_i64(
        spread_on_own(net->nodes[0].spread, net->now_ns, large, sizeof(large)),
        ERR_BAD);
    check_i64(spread_on_own(net->nodes[0].spread, net->now_ns, large, 0),
              ERR_TRUNC);
    net_close(net);
}

/* Both equal: an ever rarer comparison, and no word in answer. */
static void who_agrees_is_quiet(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    check_i64(net_close_frame(net, 0, last_window(net), 1), 0);
    run_s(net, 10);
    struct spread_stats a = stats_of(net, 0), b = stats_of(net, 1);
    run_s(net, 100);
    struct spread_stats c = stats_of(net, 0), d = stats_of(net, 1);
    check_u64(d.answers, b.answers);
    check_u64(c.frames_out, a.frames_out);
    check_true(c.rounds - a.rounds >= 90 && c.rounds - a.rounds <= 112);
    /* Sums alone, which are small. */
    check_true((c.bytes_out - a.bytes_out) / (c.rounds - a.rounds) < 100);
    net_close(net);
}

static void a_window_that_is_filled_in_late_is_found_by_sums(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint64_t w = last_window(net);
    net->nodes[1].side = 1;
    for (unsigned i = 0; i < 20; i++) /* cold ones among them */
        check_i64(net_close_frame(net, 0, w - i, 1), 0);
    run_s(net, 5);
    check_u64(net_count(net, 0, w), 1);
    net->nodes[1].side = 0;
    run_s(net, 5);
    check_u64(frames_count(net->nodes[1].frames), 20);
    check_true(net_is_equal(net));
    check_u64(stats_of(net, 1).duplicates, 0);
    check_u64(stats_of(net, 1).missing, 0);
    net_close(net);
}

/* More is kept than is compared, and an origin's clock is ahead. */
static void a_frame_ahead_does_not_hide_the_oldest(void **state)
{
    (void)state;
    struct net_config c = two;
    c.retention_s = 3600;
    struct net *net = net_open(&c);
    uint64_t w = last_window(net);
    check_i64(net_close_frame(net, 1, w + 4, 1), 0);
    run_s(net, 2);
    net->nodes[1].side = 1;
    for (unsigned i = 10; i < 40; i++)
        check_i64(net_close_frame(net, 0, w - i, 1), 0);
    run_s(net, 5);
    net->nodes[1].side = 0;
    run_s(net, 5);
    check_u64(net_count(net, 0, w - 39), 2);
    check_true(net_is_equal(net));
    check_all(net);
    net_close(net);
}

/* ---- by hand ---- */

static void put_header(struct wr *w, uint8_t kind)
{
    wr_u8(w, SPREAD_TYPE);
    wr_u8(w, SPREAD_VERSION);
    wr_u8(w, kind);
}

static void put_comparison(struct wr *w, const char *name, uint64_t base)
{
    put_header(w, 1);
    wr_u8(w, (uint8_t)strlen(name));
    wr_text(w, name);
    wr_be64(w, base);
}

/* Take what node i says now, as one message. */
static struct span said(struct net *net, unsigned i, bool *by_stream)
{
    struct spread_effect e = {0};
    check_true(spread_next(net->nodes[i].spread, &e));
    if (by_stream)
        *by_stream = e.by_stream;
    return e.data;
}

static void hear_from(struct net *net, unsigned i, const struct addr *from,
                      const struct wr *w)
{
    check_i64(wr_err(w), 0);
    check_true(spread_on_message(net->nodes[i].spread, net->now_ns, from,
                                 span_of(w->data, w->len)));
}

/* From where node 1 is, whoever it says it is. */
static void hear(struct net *net, unsigned i, const struct wr *w)
{
    hear_from(net, i, net_address(net, 1), w);
}

static void put_id(struct wr *w, uint64_t id)
{
    wr_u8(w, (uint8_t)(id >> 32));
    wr_be32(w, (uint32_t)id);
}

/* "node-1" wants one frame of node 0: the bytes of the answer, all of them. */
static void what_is_wanted_is_handed_out_byte_by_byte(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    struct spread_effect e;
    uint8_t bytes[200], want[4096];
    struct wr w, expected;
    uint64_t win = last_window(net);
    check_i64(net_close_frame(net, 0, win, 1), 0);
    net->now_ns += 300 * NET_MS; /* its age, then */
    uint64_t id = frames_hash("node-0", net->nodes[0].epoch_ms, win) >> 24;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_comparison(&w, "node-1", win + 3);
    wr_u8(&w, 5); /* WANT */
    wr_be16(&w, 1 + 2 * 5);
    wr_u8(&w, 3); /* windows back */
    put_id(&w, 12345);
    put_id(&w, id);
    hear(net, 0, &w);
    bool by_stream;
    struct span got = said(net, 0, &by_stream);
    wr_init_fixed(&expected, want, sizeof(want));
    put_header(&expected, 2);
    wr_varint(&expected, 300);
    wr_varint(&expected, net->frame_len);
    wr_bytes(&expected, net->frame, net->frame_len);
    check_u64(got.len, expected.len);
    assert_memory_equal(got.data, want, expected.len);
    check_false(by_stream);
    check_false(spread_next(net->nodes[0].spread, &e));
    net_close(net);
}

static void put_want(struct wr *w, uint64_t back, uint64_t id)
{
    wr_u8(w, 5);
    wr_be16(w, 1 + 5);
    wr_u8(w, (uint8_t)back);
    put_id(w, id);
}

/* How many frames node 0 hands out for `n` wishes, of these ids in turn. */
static uint64_t handed_out(struct net *net, uint64_t window,
                           const uint64_t *ids, size_t n_ids, unsigned n)
{
    uint64_t before = stats_of(net, 0).frames_out;
    uint8_t bytes[1000];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_comparison(&w, "node-1", window);
    for (unsigned i = 0; i < n; i++)
        put_want(&w, 0, ids[i % n_ids]);
    hear(net, 0, &w);
    return stats_of(net, 0).frames_out - before;
}

static void what_is_wanted_often_is_handed_out_once(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint64_t win = last_window(net);
    check_i64(net_close_frame(net, 0, win, 1), 0);
    uint64_t id = frames_hash("node-0", net->nodes[0].epoch_ms, win) >> 24;
    check_u64(handed_out(net, win, &id, 1, 60), 1);
    net_close(net);
}

/* Each wish of its own has all of a window looked at: 16384 frames in all. */
static void looking_for_what_is_wanted_is_bounded(void **state)
{
    (void)state;
    enum { N = 300 };
    struct net *net = net_open(&two);
    uint64_t win = last_window(net), ids[N];
    for (unsigned i = 0; i < N; i++) {
        char name[16];
        struct frames_item item;
        snprintf(name, sizeof(name), "n-%u", i);
        net_frame(net, name, 1, win, 1);
        check_i64(frames_put(net->nodes[0].frames, net->frame, net->frame_len,
                             net->now_ns, &item),
                  0);
        ids[i] = item.hash >> 24;
    }
    check_u64(handed_out(net, win, ids, N, 10), 10);
    check_u64(handed_out(net, win, ids, N, 60), 16384 / N);
    net_close(net);
}

/* An empty list of a window: an offer, with the length rounded up. */
static void what_a_list_lacks_is_offered(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint8_t bytes[200], want[200];
    struct wr w, expected;
    uint64_t win = last_window(net);
    check_i64(net_close_frame(net, 0, win, 1), 0);
    uint64_t id = frames_hash("node-0", net->nodes[0].epoch_ms, win) >> 24;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_comparison(&w, "node-1", win);
    wr_u8(&w, 3); /* LIST */
    wr_be16(&w, 3);
    wr_bytes(&w, "\0\0\0", 3); /* back, bits, prefix */
    hear(net, 0, &w);
    struct span got = said(net, 0, NULL);
    wr_init_fixed(&expected, want, sizeof(want));
    put_comparison(&expected, "node-0", win + 1); /* the running one */
    wr_u8(&expected, 4);                          /* OFFER */
    wr_be16(&expected, 1 + 6);
    wr_u8(&expected, 1);
    put_id(&expected, id);
    wr_u8(&expected, (uint8_t)((net->frame_len + 255) / 256));
    check_u64(got.len, expected.len);
    assert_memory_equal(got.data, want, expected.len);
    net_close(net);
}

static void put_offer(struct wr *w, uint64_t id, uint8_t units)
{
    wr_u8(w, 4);
    wr_be16(w, 1 + 6);
    wr_u8(w, 0);
    put_id(w, id);
    wr_u8(w, units);
}

/* Of two who offer the same one is asked; the other one when time is up. */
static void nothing_is_asked_for_twice_at_a_time(void **state)
{
    (void)state;
    struct net_config c = two;
    c.n = 3;
    struct net *net = net_open(&c);
    struct spread_effect e;
    uint8_t bytes[200];
    struct wr w;
    uint64_t win = last_window(net);
    for (unsigned round = 0; round < 3; round++) {
        wr_init_fixed(&w, bytes, sizeof(bytes));
        put_comparison(&w, round ? "node-1" : "node-2", win);
        put_offer(&w, 777, 4);
        hear_from(net, 0, net_address(net, round ? 1 : 2), &w);
        check_u64(spread_next(net->nodes[0].spread, &e), round != 1);
        check_u64(stats_of(net, 0).missing, 1);
        check_u64(e.member, round == 0 ? 3 : round == 1 ? 3 : 2);
        net->now_ns += round == 0 ? 249 * NET_MS : NET_MS;
    }
    net_run(net, net->now_ns + 8 * NET_S); /* nobody offers it any more */
    check_u64(stats_of(net, 0).missing, 0);
    net_close(net);
}

/* What could not be said for want of allowance was not asked for. */
static void what_was_not_sent_is_not_on_its_way(void **state)
{
    (void)state;
    struct net_config c = two;
    c.n = 3;
    struct net *net = net_open(&c);
    struct spread_effect e;
    uint64_t win = last_window(net);
    unsigned said_n = 0;
    for (unsigned i = 0; i <= 200; i++) { /* the last one gets no answer */
        uint8_t bytes[200];
        struct wr w;
        wr_init_fixed(&w, bytes, sizeof(bytes));
        put_comparison(&w, "node-1", win);
        put_offer(&w, 1000 + i, 0);
        hear(net, 0, &w);
        said_n += spread_next(net->nodes[0].spread, &e);
    }
    check_u64(said_n, 200);
    check_u64(stats_of(net, 0).busy, 1);
    net->now_ns += 10 * NET_MS; /* two more */
    uint8_t bytes[200];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_comparison(&w, "node-2", win);
    put_offer(&w, 1200, 0);
    hear_from(net, 0, net_address(net, 2), &w);
    check_true(spread_next(net->nodes[0].spread, &e));
    check_u64(e.member, 3);
    net_close(net);
}

/* 300 KiB are offered, 64 asked of one member, 256 of all. */
static void what_is_on_its_way_is_bounded(void **state)
{
    (void)state;
    struct net_config c = two;
    c.n = 8;
    struct net *net = net_open(&c);
    uint8_t bytes[900];
    struct wr w;
    size_t asked = 0;
    for (unsigned from = 1; from < 8; from++) {
        char name[16];
        struct spread_effect e;
        snprintf(name, sizeof(name), "node-%u", from);
        wr_init_fixed(&w, bytes, sizeof(bytes));
        put_comparison(&w, name, last_window(net));
        for (unsigned i = 0; i < 48; i++)
            put_offer(&w, 1000 * from + i, 8); /* 2 KiB each */
        hear_from(net, 0, net_address(net, from), &w);
        if (spread_next(net->nodes[0].spread, &e)) /* head, then WANTs */
            asked += (e.data.len - 18) / 9;        /* of one id each */
    }
    check_u64(asked, 128);
    net_close(net);
}

/* 64 KiB from one, however often it offers. */
static void one_member_is_asked_for_so_much_at_a_time(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    struct spread_effect e;
    for (unsigned round = 0; round < 2; round++) {
        uint8_t bytes[900];
        struct wr w;
        wr_init_fixed(&w, bytes, sizeof(bytes));
        put_comparison(&w, "node-1", last_window(net));
        for (unsigned i = 0; i < 40; i++)
            put_offer(&w, 1000 * (round + 1) + i, 8);
        hear(net, 0, &w);
        check_u64(spread_next(net->nodes[0].spread, &e), round == 0);
    }
    check_u64(stats_of(net, 0).missing, 80);
    net_close(net);
}

/* A list that has all there is: nothing to say. */
static void what_is_listed_is_not_offered(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    struct spread_effect e;
    uint8_t bytes[200];
    struct wr w;
    uint64_t win = last_window(net);
    check_i64(net_close_frame(net, 0, win, 1), 0);
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_comparison(&w, "node-1", win);
    wr_u8(&w, 3); /* LIST */
    wr_be16(&w, 3 + 6);
    wr_bytes(&w, "\0\0\0", 3);
    put_id(&w, frames_hash("node-0", net->nodes[0].epoch_ms, win) >> 24);
    wr_u8(&w, 1);
    hear(net, 0, &w);
    check_false(spread_next(net->nodes[0].spread, &e));
    net_close(net);
}

/* node-1 wants a frame of node 0, says a message that comes from elsewhere:
 * whoever sent it could aim 64 KiB at node-1 with every 40 bytes. */
static void a_sender_is_believed_where_it_is_and_nowhere_else(void **state)
{
    (void)state;
    struct net_config c = two;
    c.n = 3;
    struct net *net = net_open(&c);
    struct spread *s = net->nodes[0].spread;
    uint64_t win = last_window(net);
    struct spread_effect e;
    uint8_t bytes[100];
    struct wr w;
    check_i64(net_close_frame(net, 0, win, 1), 0);
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_comparison(&w, "node-1", win);
    wr_u8(&w, 5); /* WANT */
    wr_be16(&w, 1 + 5);
    wr_u8(&w, 0);
    put_id(&w, frames_hash("node-0", net->nodes[0].epoch_ms, win) >> 24);

    struct addr mapped = {.family = ADDR_V6,
                          .ip = {[10] = 0xff, 0xff, 10, 0, 0, 1}};
    struct addr short_of = *net_address(net, 1);
    short_of.ip[15] = 1;
    const struct addr none = {.port = 7946};
    const struct addr *const elsewhere[] = {
        net_address(net, 2), net_address(net, 0), &mapped, &short_of, &none};
    for (unsigned i = 0; i < 5; i++) {
        hear_from(net, 0, elsewhere[i], &w);
        check_false(spread_next(s, &e));
        check_u64(stats_of(net, 0).strangers, i + 1);
        check_u64(stats_of(net, 0).frames_out, 0);
    }
    struct addr port = *net_address(net, 1);
    port.port = 40000;
    hear_from(net, 0, &port, &w);
    check_true(spread_next(s, &e));
    check_u64(e.member, 2);
    check_u64(stats_of(net, 0).strangers, 5);
    check_u64(stats_of(net, 0).frames_out, 1);
    net_close(net);
}

/* Nor one that gives a name that nobody has, or our own. */
static void a_stranger_is_not_answered(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    struct spread_effect e;
    uint8_t bytes[100];
    struct wr w;
    static const char *const names[] = {"node-7", "node", ""};
    for (unsigned i = 0; i < 3; i++) {
        wr_init_fixed(&w, bytes, sizeof(bytes));
        put_comparison(&w, names[i], last_window(net));
        put_offer(&w, 777, 4);
        hear(net, 0, &w);
        check_false(spread_next(net->nodes[0].spread, &e));
        check_u64(stats_of(net, 0).strangers, i + 1);
        check_u64(stats_of(net, 0).missing, 0);
    }
    const struct member *self = members_peek(net->members, MEMBERS_SELF);
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_comparison(&w, self->name, last_window(net));
    put_offer(&w, 777, 4);
    hear_from(net, 0, &self->addr, &w);
    check_false(spread_next(net->nodes[0].spread, &e));
    check_u64(stats_of(net, 0).strangers, 4);
    net_close(net);
}

/* Frames say who made them, not who sends them. */
static void frames_are_taken_from_wherever_they_come(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    const struct addr none = {0};
    uint8_t bytes[4096];
    struct wr w;
    net_frame(net, "node-1", 1, last_window(net), 1);
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_header(&w, 2);
    wr_varint(&w, 5);
    wr_varint(&w, net->frame_len);
    wr_bytes(&w, net->frame, net->frame_len);
    hear_from(net, 0, &none, &w);
    check_u64(stats_of(net, 0).added, 1);
    check_u64(stats_of(net, 0).strangers, 0);
    net_close(net);
}

static void other_versions_and_kinds_are_passed_over(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    struct spread *s = net->nodes[0].spread;
    const struct addr *from = net_address(net, 1);
    struct spread_effect e;
    check_false(
        spread_on_message(s, net->now_ns, from, span_of("\xa1\x01\x01", 3)));
    check_false(spread_on_message(s, net->now_ns, from, span_of("", 0)));
    check_true(
        spread_on_message(s, net->now_ns, from, span_of("\xa0\x02\x01", 3)));
    check_true(
        spread_on_message(s, net->now_ns, from, span_of("\xa0\x01\x07", 3)));
    check_u64(stats_of(net, 0).unknown, 2);
    check_true(spread_on_message(s, net->now_ns, from, span_of("\xa0\x01", 2)));
    check_u64(stats_of(net, 0).broken, 1);
    check_false(spread_next(s, &e));
    net_close(net);
}

static void unknown_sections_do_not_hide_known_ones(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint8_t bytes[200];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_comparison(&w, "node-1", last_window(net));
    wr_u8(&w, 99);
    wr_be16(&w, 3);
    wr_text(&w, "abc");
    put_offer(&w, 1, 1);
    hear(net, 0, &w);
    (void)said(net, 0, NULL);
    check_u64(stats_of(net, 0).missing, 1);
    check_u64(stats_of(net, 0).broken, 0);
    net_close(net);
}

static void who_is_no_member_gets_no_answer(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    struct spread_effect e;
    uint8_t bytes[200];
    struct wr w;
    static const char *const names[] = {"stranger", "", "nobody"};
    for (size_t i = 0; i < 3; i++) {
        wr_init_fixed(&w, bytes, sizeof(bytes));
        put_comparison(&w, names[i], last_window(net));
        put_offer(&w, 1, 1);
        hear(net, 0, &w);
        check_false(spread_next(net->nodes[0].spread, &e));
    }
    check_u64(stats_of(net, 0).strangers, 3);
    check_u64(stats_of(net, 0).missing, 0);
    net_close(net);
}

/* ---- frames that are not taken ---- */

/* Bring node 0 what is in net->frame. */
static void bring(struct net *net, uint64_t age_ms)
{
    static uint8_t bytes[NET_FRAME_MAX + 32];
    struct wr w;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_header(&w, 2);
    wr_varint(&w, age_ms);
    wr_varint(&w, net->frame_len);
    wr_bytes(&w, net->frame, net->frame_len);
    hear(net, 0, &w);
}

static void check_refused(struct net *net, enum spread_refusal why)
{
    struct spread_stats before = stats_of(net, 0);
    bring(net, 0);
    struct spread_stats after = stats_of(net, 0);
    for (unsigned i = 0; i < SPREAD_REFUSAL_N; i++)
        check_u64(after.refused[i] - before.refused[i], i == (unsigned)why);
    check_u64(after.added, before.added);
    check_all(net);
}

static void what_is_not_taken_is_counted_by_reason(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint64_t w = last_window(net), epoch = net->nodes[0].epoch_ms;
    net_frame(net, "node-1", 1, w, 1);
    net->frame[0] ^= 0xff;
    check_refused(net, SPREAD_BROKEN);
    net_frame(net, "node-1", 1, w, 1);
    net->frame_len--; /* the head is fine */
    check_refused(net, SPREAD_BROKEN);
    net_frame(net, "node-1", 1, w - 31, 1);
    check_refused(net, SPREAD_OLD);
    net_frame(net, "node-1", 1, w + 2 + FRAMES_AHEAD_MAX, 1);
    check_refused(net, SPREAD_AHEAD);
    net_frame(net, "node-1", 1, w, 0);
    check_refused(net, SPREAD_EMPTY);
    for (unsigned i = 0; i < SPREAD_REFUSAL_N; i++)
        check_true(strlen(spread_refusal_name((enum spread_refusal)i)) > 2);
    check_text(spread_refusal_name(SPREAD_REFUSAL_N), "unknown");

    /* In our name: former lives are welcome, this one is not. */
    check_i64(net_close_frame(net, 0, w, 1), 0);
    net_frame(net, "node-0", epoch, w - 1, 1);
    check_refused(net, SPREAD_FORGED);
    net_frame(net, "node-0", epoch - 1, w - 1, 1);
    bring(net, 0);
    check_u64(stats_of(net, 0).added, 1);

    /* More lives in a window than anybody has. */
    for (unsigned i = 0; i < 4; i++) {
        net_frame(net, "node-1", 100 + i, w, 1);
        bring(net, 0);
    }
    check_u64(stats_of(net, 0).added, 5);
    net_frame(net, "node-1", 999, w, 1);
    check_refused(net, SPREAD_FULL);
    net_close(net);
}

static void what_was_refused_is_not_asked_for_again(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    struct spread_effect e;
    uint8_t bytes[200];
    struct wr w;
    uint64_t win = last_window(net);
    net_frame(net, "node-1", 7, win, 0);
    check_refused(net, SPREAD_EMPTY);
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_comparison(&w, "node-1", win);
    put_offer(&w, frames_hash("node-1", 7, win) >> 24, 1);
    hear(net, 0, &w);
    check_false(spread_next(net->nodes[0].spread, &e));
    check_u64(stats_of(net, 0).missing, 0);
    net_close(net);
}

/* For want of room: there may be some again. */
static void what_found_no_room_is_asked_for_again_later(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    struct spread_effect e;
    uint8_t bytes[200];
    struct wr w;
    uint64_t win = last_window(net);
    for (unsigned i = 0; i < 4; i++) {
        net_frame(net, "node-1", 100 + i, win, 1);
        bring(net, 0);
    }
    net_frame(net, "node-1", 999, win, 1);
    check_refused(net, SPREAD_FULL);
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_comparison(&w, "node-1", win);
    put_offer(&w, frames_hash("node-1", 999, win) >> 24, 1);
    hear(net, 0, &w);
    check_false(spread_next(net->nodes[0].spread, &e));
    net->now_ns += 5 * NET_S - 1;
    hear(net, 0, &w);
    check_false(spread_next(net->nodes[0].spread, &e));
    net->now_ns += 1;
    hear(net, 0, &w);
    check_true(spread_next(net->nodes[0].spread, &e));
    net_close(net);
}

/* Nobody has made frames in our name since we began but ourselves. */
static void a_former_life_ended_before_this_one_began(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint64_t born = net_window(net), epoch = net->nodes[0].epoch_ms;
    run_s(net, 120); /* twelve windows, which others may fill */
    net_frame(net, "node-1", 1, born + FRAMES_AHEAD_MAX + 1, 1);
    bring(net, 0);
    net_frame(net, "node-0", epoch - 1, born + FRAMES_AHEAD_MAX, 1);
    bring(net, 0);
    check_u64(stats_of(net, 0).added, 2);
    net_frame(net, "node-0", epoch - 1, born + FRAMES_AHEAD_MAX + 1, 1);
    check_refused(net, SPREAD_FORGED);
    net_close(net);
}

static void two_frames_of_one_key_are_a_conflict(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint64_t w = last_window(net);
    net_frame(net, "node-1", 1, w, 1);
    bring(net, 0);
    bring(net, 0);
    check_u64(stats_of(net, 0).duplicates, 1);
    check_u64(stats_of(net, 0).conflicts, 0);
    struct frames_item item;
    check_true(frames_find(net->nodes[0].frames, "node-1", 1, w, &item));
    size_t len = item.len;
    net_frame(net, "node-1", 1, w, 3);
    bring(net, 0);
    check_u64(stats_of(net, 0).duplicates, 2);
    check_u64(stats_of(net, 0).conflicts, 1);
    check_true(frames_find(net->nodes[0].frames, "node-1", 1, w, &item));
    check_u64(item.len, len); /* the first one stays */
    net_close(net);
}

static void strangers_are_bounded(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    for (unsigned i = 0; i < 1500; i++) {
        char name[16];
        snprintf(name, sizeof(name), "gone-%u", i);
        net_frame(net, name, 1, last_window(net), 1);
        bring(net, 0);
    }
    struct spread_stats st = stats_of(net, 0);
    check_u64(st.added, 1024);
    check_u64(st.refused[SPREAD_STRANGER], 1500 - 1024);
    check_u64(st.stranger_origins, 1024);
    net_frame(net, "node-1", 1, last_window(net), 1);
    bring(net, 0);
    check_u64(stats_of(net, 0).added, 1025); /* members always may */
    check_all(net);
    net_close(net);
}

/* Frames and the word that their origin is a member go different ways. */
static void whose_frames_came_first_is_no_stranger_for_ever(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    static const char *const names[] = {"x", "y", "z"};
    net->nodes[0].skew_ms = -40000;
    run_s(net, 1);
    for (unsigned i = 0; i < 3; i++) {
        net_frame(net, names[i], 1, last_window(net), 1);
        bring(net, 0);
    }
    check_u64(stats_of(net, 0).stranger_origins, 3);
    for (unsigned i = 0; i < 3; i++)
        net_meet(net, names[i]);
    for (unsigned i = 0; i < 3; i++) {
        net_frame(net, names[i], 2, last_window(net), 1);
        bring(net, 0);
    }
    run_s(net, 2);
    struct spread_stats st = stats_of(net, 0);
    check_u64(st.stranger_origins, 0);
    check_true(st.own_offset_ms < -30000); /* three say so */
    check_u64(st.skewed, 0);
    check_all(net);
    net_close(net);
}

static void who_becomes_a_member_is_asked_for_again(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint64_t w = last_window(net);
    struct frames_item item;
    net->nodes[1].side = 1;
    for (unsigned i = 0; i < 1024; i++) {
        char name[16];
        snprintf(name, sizeof(name), "gone-%u", i);
        net_frame(net, name, 1, w - 5, 1);
        bring(net, 0);
    }
    net_frame(net, "late", 1, w, 1);
    check_i64(frames_put(net->nodes[1].frames, net->frame, net->frame_len,
                         net->now_ns, &item),
              0);
    check_refused(net, SPREAD_STRANGER);
    net->nodes[1].side = 0;
    net_meet(net, "late");
    run_s(net, 50); /* not again and again, if it is made up */
    check_false(frames_find(net->nodes[0].frames, "late", 1, w, &item));
    check_u64(stats_of(net, 0).refused[SPREAD_STRANGER], 1);
    run_s(net, 20);
    check_true(frames_find(net->nodes[0].frames, "late", 1, w, &item));
    net_close(net);
}

static void strangers_are_bounded_where_origins_are_many(void **state)
{
    (void)state;
    struct net_config c = two;
    c.origins_max = 4;
    struct net *net = net_open(&c);
    for (unsigned i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "gone-%u", i);
        net_frame(net, name, 1, last_window(net), 1);
        bring(net, 0);
    }
    check_u64(stats_of(net, 0).added, 4);
    check_u64(stats_of(net, 0).refused[SPREAD_STRANGER], 16);
    net_frame(net, "node-1", 1, last_window(net), 1);
    bring(net, 0);
    check_u64(stats_of(net, 0).added, 5); /* members always may */
    check_all(net);
    net_close(net);
}

static void bytes_of_strangers_are_bounded(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    for (unsigned i = 0; i < 300; i++) {
        char name[16];
        snprintf(name, sizeof(name), "gone-%u", i);
        net_frame(net, name, 1, last_window(net), 200);
        bring(net, 0);
    }
    struct spread_stats st = stats_of(net, 0);
    check_true(st.fresh_bytes <= 8u << 20);
    check_true(st.fresh_bytes > (8u << 20) - (64u << 10));
    check_u64(st.added + st.refused[SPREAD_STRANGER], 300);
    check_all(net);
    net_close(net);
}

/* One that fills its share does not touch what others have. */
static void one_origin_does_not_drive_out_others(void **state)
{
    (void)state;
    struct net_config c = two;
    c.bytes_max = 3u << 20;
    struct net *net = net_open(&c);
    uint64_t w = last_window(net);
    net_frame(net, "node-1", 1, w - 20, 1);
    bring(net, 0);
    for (unsigned i = 0; i < 4 * 37; i++) {
        net_frame(net, "node-0", 1 + i % 4, w - 29 + i / 4, 200);
        bring(net, 0);
    }
    struct frames_item item;
    check_true(frames_find(net->nodes[0].frames, "node-1", 1, w - 20, &item));
    check_true(frames_bytes(net->nodes[0].frames) < (2u << 20) + 2000);
    check_all(net);
    net_close(net);
}

/* ---- clocks ---- */

static void close_all(struct net *net, uint64_t window, unsigned cells)
{
    for (unsigned i = 0; i < net->config.n; i++) {
        if (net->nodes[i].spread)
            (void)net_close_frame(net, i, window, cells);
    }
}

/* Close what is due on each node's own clock, for so many seconds. */
static void live(struct net *net, unsigned seconds)
{
    for (unsigned t = 0; t < seconds; t++) {
        run_s(net, 1);
        for (unsigned i = 0; i < net->config.n; i++) {
            int64_t own_s = net_unix_ms(net, i) / 1000;
            if (net->nodes[i].spread && own_s % 10 == 2)
                check_i64(net_close_frame(net, i, (uint64_t)own_s / 10 - 1, 1),
                          0);
        }
    }
}

static int64_t offset_of(const struct net *net, unsigned at, const char *name)
{
    struct spread_origin o;
    for (size_t i = 0; spread_origin(net->nodes[at].spread, i, &o); i++) {
        if (!strcmp(o.name, name))
            return o.offset_ms;
    }
    return INT64_MIN;
}

static bool is_near(int64_t a, int64_t b)
{
    return a - b < 2500 && b - a < 2500;
}

static void a_clock_that_is_off_is_found_by_all(void **state)
{
    (void)state;
    struct net_config c = two;
    c.n = 5;
    struct net *net = net_open(&c);
    net->nodes[3].skew_ms = 35000;
    net_stop(net, 3);
    net_start(net, 3);
    net->nodes[4].skew_ms = -25000;
    net_stop(net, 4);
    net_start(net, 4);
    live(net, 40);
    for (unsigned i = 0; i < 5; i++) {
        const struct spread *s = net->nodes[i].spread;
        for (unsigned k = 0; k < 5; k++)
            check_u64(spread_is_skewed(s, net->nodes[k].name), k >= 3);
        check_true(is_near(offset_of(net, i, "node-0"), 0));
        check_true(is_near(offset_of(net, i, "node-3"), 35000));
        check_true(is_near(offset_of(net, i, "node-4"), -25000));
        check_u64(stats_of(net, i).skewed, 2);
    }
    check_true(is_near(stats_of(net, 0).own_offset_ms, 0));
    check_true(is_near(stats_of(net, 3).own_offset_ms, 35000));
    check_true(is_near(stats_of(net, 4).own_offset_ms, -25000));
    check_false(spread_is_skewed(net->nodes[0].spread, "nobody-knows"));
    net_close(net);
}

/* Old frames that are fetched late say nothing bad about a clock. */
static void late_frames_are_not_skewed(void **state)
{
    (void)state;
    struct net_config c = two;
    c.n = 4;
    struct net *net = net_open(&c);
    net_stop(net, 3);
    live(net, 60);
    for (unsigned i = 0; i < 3; i++)
        net->nodes[i].side = i == 0 ? 0 : 1;
    net_start(net, 3);
    net->nodes[3].side = 0; /* node 0 alone tells it, of the past */
    run_s(net, 10);
    check_true(frames_count(net->nodes[3].frames) >= 15);
    for (unsigned k = 0; k < 3; k++) {
        check_false(spread_is_skewed(net->nodes[3].spread, net->nodes[k].name));
        check_true(is_near(offset_of(net, 3, net->nodes[k].name), 0));
    }
    net_close(net);
}

/* The window ended 30 s ago, its frame was closed 28 s ago. */
static void the_age_of_a_frame_counts(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    net_frame(net, "node-1", 1, last_window(net) - 3, 1);
    bring(net, 28000);
    run_s(net, 2);
    check_i64(offset_of(net, 0, "node-1"), 0);
    net_close(net);
}

/* No frame is a day old: what says so is, whatever it says. */
static void the_age_of_a_frame_has_an_end(void **state)
{
    (void)state;
    static const uint64_t ages_ms[] = {86400001, UINT64_MAX / 1000000 + 1,
                                       UINT64_MAX - 1, UINT64_MAX};
    struct net *net = net_open(&two);
    uint64_t win = last_window(net);
    for (unsigned i = 0; i < 4; i++) {
        struct frames_item item;
        net_frame(net, "node-1", 1 + i, win, 1);
        bring(net, ages_ms[i]);
        check_true(
            frames_find(net->nodes[0].frames, "node-1", 1 + i, win, &item));
        check_u64(net->now_ns - item.closed_ns, 86400 * NET_S);
    }
    check_all(net);
    net_close(net);
}

static void step_clock(struct net *net, unsigned i, int64_t step_ms)
{
    net->nodes[i].skew_ms += step_ms;
    spread_on_clock(net->nodes[i].spread, net->now_ns, net_unix_ms(net, i));
}

/* At once, without waiting for frames that show it. */
static void a_step_of_our_clock_is_noticed_as_ours(void **state)
{
    (void)state;
    struct net_config c = two;
    c.n = 5;
    struct net *net = net_open(&c);
    live(net, 30);
    check_true(is_near(stats_of(net, 3).own_offset_ms, 0));
    step_clock(net, 3, 35000);
    for (unsigned k = 0; k < 3; k++) {
        check_true(is_near(offset_of(net, 3, net->nodes[k].name), 0));
        check_false(spread_is_skewed(net->nodes[3].spread, net->nodes[k].name));
    }
    check_true(is_near(stats_of(net, 3).own_offset_ms, 35000));
    check_true(spread_unix_ms(net->nodes[3].spread, net->now_ns) -
                   net_unix_ms(net, 0) <
               2500);
    step_clock(net, 3, -35000);
    check_true(is_near(stats_of(net, 3).own_offset_ms, 0));
    net_close(net);
}

/* Slewing is not worth forgetting what the others' middle is. */
static void a_clock_that_drifts_has_not_been_set(void **state)
{
    (void)state;
    struct net_config c = two;
    c.n = 5;
    c.zones = 1;
    struct net *net = net_open(&c);
    net->nodes[3].skew_ms = 35000;
    net_stop(net, 3);
    net_start(net, 3);
    live(net, 30);
    int64_t before_ms = stats_of(net, 3).own_offset_ms;
    step_clock(net, 3, 1000);
    check_i64(stats_of(net, 3).own_offset_ms, before_ms);
    step_clock(net, 3, 1001);
    check_i64(stats_of(net, 3).own_offset_ms, before_ms + 1001);
    net_close(net);
}

static void a_clock_that_was_put_right_is_trusted_again(void **state)
{
    (void)state;
    struct net_config c = two;
    c.n = 4;
    struct net *net = net_open(&c);
    net->nodes[3].skew_ms = 35000;
    net_stop(net, 3);
    net_start(net, 3);
    live(net, 30);
    check_true(spread_is_skewed(net->nodes[0].spread, "node-3"));
    net->nodes[3].skew_ms = 0;
    net_stop(net, 3);
    net_start(net, 3);
    live(net, 30);
    check_false(spread_is_skewed(net->nodes[0].spread, "node-3"));
    check_true(net_is_equal(net));
    net_close(net);
}

/* ---- many ---- */

static void all_have_all_within_two_seconds(void **state)
{
    (void)state;
    struct net_config c = {.n = 100,
                           .zones = 5,
                           .seed = check_seed(),
                           .near_ns = NET_MS,
                           .far_ns = 30 * NET_MS};
    struct net *net = net_open(&c);
    uint64_t w = last_window(net);
    for (unsigned i = 0; i < 60; i++)
        check_i64(net_close_frame(net, i, w, 4), 0);
    run_s(net, 2);
    uint64_t in = 0, fresh = 0;
    for (unsigned i = 0; i < c.n; i++) {
        struct spread_stats st = stats_of(net, i);
        check_u64(frames_count(net->nodes[i].frames), 60);
        check_u64(st.duplicates, 0);
        in += st.bytes_in;
        fresh += st.fresh_bytes;
    }
    check_true(net_is_equal(net));
    check_true(in * 10 < fresh * 15);
    check_all(net);
    net_close(net);
}

/* Whatever is lost and whoever is cut off: at last all are equal. */
static void in_the_end_all_are_equal(void **state)
{
    (void)state;
    for (uint64_t round = 0; round < 6; round++) {
        struct net_config c = {.n = 20,
                               .zones = 3,
                               .seed = check_seed() + round,
                               .near_ns = NET_MS,
                               .far_ns = 40 * NET_MS,
                               .loss_ppm = (uint32_t)round * 60000};
        struct net *net = net_open(&c);
        struct rng rng;
        rng_seed(&rng, c.seed);
        for (unsigned k = 0; k < 10; k++) {
            for (unsigned i = 0; i < c.n; i++)
                net->nodes[i].side = k < 8 ? (unsigned)rng_below(&rng, 2) : 0;
            unsigned who = (unsigned)rng_below(&rng, c.n);
            if (k % 3 == 1) {
                net_stop(net, who);
                net->now_ns += NET_MS;
                net_start(net, who);
            }
            net->nodes[(who + 1) % c.n].frozen_ns = net->now_ns + 7 * NET_S;
            close_all(net, net_window(net) - 1, 1 + (unsigned)round);
            run_s(net, 10);
        }
        for (unsigned i = 0; i < 30 && !net_is_equal(net); i++)
            run_s(net, 1);
        check_true(net_is_equal(net));
        run_s(net, 10); /* what came late came twice, and is settled */
        check_true(frames_count(net->nodes[0].frames) >= 19 * 10);
        for (unsigned i = 0; i < c.n; i++) {
            check_u64(stats_of(net, i).conflicts, 0);
            check_u64(stats_of(net, i).missing, 0);
            check_u64(stats_of(net, i).broken, 0);
        }
        check_all(net);
        net_close(net);
    }
}

/* A node that comes back finds its own former frames with its peers. */
static void who_comes_back_is_told_of_its_past(void **state)
{
    (void)state;
    struct net_config c = {.n = 6,
                           .zones = 3,
                           .seed = 5,
                           .near_ns = NET_MS,
                           .far_ns = 20 * NET_MS};
    struct net *net = net_open(&c);
    live(net, 120);
    size_t held = frames_count(net->nodes[0].frames);
    uint64_t epoch = net->nodes[2].epoch_ms;
    net_stop(net, 2);
    run_s(net, 2);
    net_start(net, 2);
    run_s(net, 3);
    check_u64(frames_count(net->nodes[2].frames), held);
    struct frames_item item;
    check_true(frames_find(net->nodes[2].frames, "node-2", epoch,
                           last_window(net) - 3, &item));
    check_u64(stats_of(net, 2).duplicates, 0);
    live(net, 20);
    check_true(frames_count(net->nodes[2].frames) >= held + 12);
    net_close(net);
}

/* ---- hostile bytes ---- */

/* Every message of a lively exchange, cut short and with bits flipped: no
 * crash, no broken set, nothing taken that nobody made. */
/* Looking at a window of a thousand frames costs; sixteen times is enough. */
static void one_window_is_not_looked_at_for_ever(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint8_t bytes[2000];
    struct wr w;
    uint64_t win = last_window(net);
    for (unsigned i = 0; i < 1024; i++) {
        char name[16];
        snprintf(name, sizeof(name), "gone-%u", i);
        net_frame(net, name, 1, win, 1);
        bring(net, 0);
    }
    check_u64(frames_count(net->nodes[0].frames), 1024);
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_comparison(&w, "node-1", win);
    for (unsigned i = 0; i < 60; i++)
        put_offer(&w, 1 + i, 1);
    hear(net, 0, &w);
    check_u64(stats_of(net, 0).missing, 16);
    net->now_ns += NET_S; /* each comparison anew */
    wr_init_fixed(&w, bytes, sizeof(bytes));
    put_comparison(&w, "node-1", win);
    for (unsigned i = 0; i < 60; i++)
        put_offer(&w, 1001 + i, 1);
    hear(net, 0, &w);
    check_u64(stats_of(net, 0).missing, 32);
    net_close(net);
}

static void broken_messages_do_no_harm(void **state)
{
    (void)state;
    struct net_config c = two;
    c.n = 3;
    struct net *net = net_open(&c);
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (unsigned k = 0; k < 5; k++)
        close_all(net, net_window(net) - 1 - k, 1 + k);
    uint64_t end_ns = net->now_ns + NET_S;
    while (net->now_ns < end_ns) {
        net->now_ns += NET_MS;
        for (unsigned i = 1; i < 3; i++) {
            struct spread *s = net->nodes[i].spread;
            struct spread_effect e;
            spread_on_timer(s, net->now_ns);
            while (spread_next(s, &e)) {
                uint8_t *copy = malloc(e.data.len);
                assert_non_null(copy);
                memcpy(copy, e.data.data, e.data.len);
                for (size_t len = 0; len < e.data.len; len++)
                    net_deliver(net, 0, i, copy, len);
                for (size_t bit = 0; bit < 8 * e.data.len; bit++) {
                    copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
                    net_deliver(net, 0, i, copy, e.data.len);
                    copy[bit / 8] ^= (uint8_t)(1u << bit % 8);
                }
                net_deliver(net, 0, i, copy, e.data.len);
                free(copy);
            }
        }
    }
    check_all(net);
    net_close(net);
}

static void random_bytes_do_no_harm(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    struct rng rng;
    rng_seed(&rng, check_seed());
    close_all(net, last_window(net), 2);
    for (int round = 0; round < 30000; round++) {
        uint8_t bytes[128];
        struct wr w;
        wr_init_fixed(&w, bytes, sizeof(bytes));
        if (round % 2)
            put_comparison(&w, "node-1", net_window(net));
        else
            put_header(&w, 1 + (uint8_t)rng_below(&rng, 2));
        size_t len = rng_below(&rng, 60);
        while (len-- > 0)
            wr_u8(&w, (uint8_t)(rng_below(&rng, 3) ? rng_below(&rng, 8)
                                                   : rng_next(&rng)));
        net_deliver(net, 0, 1, w.data, w.len);
    }
    check_all(net);
    net_close(net);
}

/* What one message may cost: answers, and bytes handed out, per second. */
static void a_greedy_member_is_bounded(void **state)
{
    (void)state;
    struct net *net = net_open(&two);
    uint64_t w = last_window(net);
    for (unsigned i = 0; i < 20; i++)
        check_i64(net_close_frame(net, 0, w - i, 100), 0);
    struct spread_stats before = stats_of(net, 0);
    uint8_t bytes[300];
    struct wr wr;
    for (int round = 0; round < 2000; round++) {
        wr_init_fixed(&wr, bytes, sizeof(bytes));
        put_comparison(&wr, "node-1", w);
        wr_u8(&wr, 3); /* an empty LIST */
        wr_be16(&wr, 3);
        wr_bytes(&wr, "\0\0\0", 3);
        for (unsigned i = 0; i < 20; i++) {
            wr_u8(&wr, 5);
            wr_be16(&wr, 1 + 5);
            wr_u8(&wr, (uint8_t)i);
            put_id(&wr,
                   frames_hash("node-0", net->nodes[0].epoch_ms, w - i) >> 24);
        }
        hear(net, 0, &wr);
    }
    struct spread_stats after = stats_of(net, 0);
    check_u64(after.answers - before.answers, 200);
    check_u64(after.streams_out - before.streams_out, 12);
    check_true(after.frame_bytes_out - before.frame_bytes_out <=
               12 * (64u << 10));
    check_u64(after.busy - before.busy, 1800 + 2000 - 12);
    net_close(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_comes_to_the_other),
        cmocka_unit_test(
            a_large_frame_comes_by_stream_and_a_small_one_does_not),
        cmocka_unit_test(one_of_many_targets_comes_too),
        cmocka_unit_test(one_without_cells_stays_at_home),
        cmocka_unit_test(one_that_is_too_large_is_not_spread),
        cmocka_unit_test(who_agrees_is_quiet),
        cmocka_unit_test(a_window_that_is_filled_in_late_is_found_by_sums),
        cmocka_unit_test(a_frame_ahead_does_not_hide_the_oldest),
        cmocka_unit_test(what_is_wanted_is_handed_out_byte_by_byte),
        cmocka_unit_test(what_is_wanted_often_is_handed_out_once),
        cmocka_unit_test(looking_for_what_is_wanted_is_bounded),
        cmocka_unit_test(what_a_list_lacks_is_offered),
        cmocka_unit_test(nothing_is_asked_for_twice_at_a_time),
        cmocka_unit_test(what_was_not_sent_is_not_on_its_way),
        cmocka_unit_test(what_is_on_its_way_is_bounded),
        cmocka_unit_test(one_member_is_asked_for_so_much_at_a_time),
        cmocka_unit_test(what_is_listed_is_not_offered),
        cmocka_unit_test(the_age_of_a_frame_counts),
        cmocka_unit_test(a_sender_is_believed_where_it_is_and_nowhere_else),
        cmocka_unit_test(a_stranger_is_not_answered),
        cmocka_unit_test(frames_are_taken_from_wherever_they_come),
        cmocka_unit_test(other_versions_and_kinds_are_passed_over),
        cmocka_unit_test(unknown_sections_do_not_hide_known_ones),
        cmocka_unit_test(who_is_no_member_gets_no_answer),
        cmocka_unit_test(what_is_not_taken_is_counted_by_reason),
        cmocka_unit_test(what_was_refused_is_not_asked_for_again),
        cmocka_unit_test(two_frames_of_one_key_are_a_conflict),
        cmocka_unit_test(strangers_are_bounded),
        cmocka_unit_test(whose_frames_came_first_is_no_stranger_for_ever),
        cmocka_unit_test(who_becomes_a_member_is_asked_for_again),
        cmocka_unit_test(strangers_are_bounded_where_origins_are_many),
        cmocka_unit_test(bytes_of_strangers_are_bounded),
        cmocka_unit_test(one_origin_does_not_drive_out_others),
        cmocka_unit_test(a_clock_that_is_off_is_found_by_all),
        cmocka_unit_test(late_frames_are_not_skewed),
        cmocka_unit_test(a_clock_that_was_put_right_is_trusted_again),
        cmocka_unit_test(all_have_all_within_two_seconds),
        cmocka_unit_test(in_the_end_all_are_equal),
        cmocka_unit_test(who_comes_back_is_told_of_its_past),
        cmocka_unit_test(broken_messages_do_no_harm),
        cmocka_unit_test(random_bytes_do_no_harm),
        cmocka_unit_test(a_greedy_member_is_bounded),
        cmocka_unit_test(what_found_no_room_is_asked_for_again_later),
        cmocka_unit_test(a_former_life_ended_before_this_one_began),
        cmocka_unit_test(the_age_of_a_frame_has_an_end),
        cmocka_unit_test(a_step_of_our_clock_is_noticed_as_ours),
        cmocka_unit_test(a_clock_that_drifts_has_not_been_set),
        cmocka_unit_test(one_window_is_not_looked_at_for_ever),
    };
    return cmocka_run_group_tests_name("spread", tests, NULL, NULL);
}
