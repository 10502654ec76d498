/* Captured streams, whole and byte by byte; then limits, then attacks. */
#include "proto/ml_stream.h"

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "proto/lzw.h"
#include "test/vectors.h"

/* The vector's own nonce. */
static int nonce_of(void *arg, uint8_t *out, size_t len)
{
    memcpy(out, arg, len);
    return 0;
}

static uint8_t nonce[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

static struct ml_keyring *ring(uint8_t first, void *nonce_bytes)
{
    struct ml_key key = {.len = 32};
    for (uint8_t i = 0; i < 32; i++)
        key.bytes[i] = (uint8_t)(first + i);
    struct errmsg msg;
    struct ml_keyring *k =
        ml_keyring_open(&key, 1, nonce_of, nonce_bytes, &msg);
    assert_non_null(k);
    return k;
}

/* A reader with room enough, unless a test takes it away. */
struct bed {
    struct ml_keyring *keys; /* the vectors' key K */
    struct ml_keyring *other;
    struct ml_wire wire;
    struct ml_stream_limits limits;
    struct ml_budget budget;
    struct ml_stream_in in;
    struct ml_stream_msg msg;
    struct wr out;
};

static int set_up(void **state)
{
    struct bed *b = calloc(1, sizeof(*b));
    assert_non_null(b);
    b->keys = ring(0, nonce);
    b->other = ring(1, nonce);
    b->limits = ml_stream_limits_default;
    b->budget.bytes_max = 8 << 20;
    wr_init_grow(&b->out, 64 << 20);
    *state = b;
    return 0;
}

static int tear_down(void **state)
{
    struct bed *b = *state;
    ml_stream_in_fini(&b->in);
    check_u64(b->budget.bytes, 0);
    ml_keyring_close(b->keys);
    ml_keyring_close(b->other);
    wr_fini(&b->out);
    free(b);
    return 0;
}

static void restart(struct bed *b, bool is_accepted)
{
    if (b->in.budget)
        ml_stream_in_fini(&b->in);
    check_u64(b->budget.bytes, 0);
    ml_stream_in_init(&b->in, &b->wire, &b->limits, &b->budget, is_accepted);
}

/* Never more than twice of what arrived, and all of it paid for. */
static void check_held(const struct bed *b, size_t arrived)
{
    const struct ml_stream_in *s = &b->in;
    size_t arrived_min = arrived > 128 ? arrived : 128;

    check_true(s->raw.size <= 2 * arrived_min);
    check_true(s->budget->bytes >= s->charged);
    check_true(s->budget->bytes <= s->budget->bytes_max);
    check_true(s->charged == 0 || s->charged == s->raw.size);
}

/* Feed in pieces of `step` bytes, each in memory of just its size. */
static int feed(struct bed *b, const uint8_t *data, size_t len, size_t step)
{
    int got = 0;
    for (size_t at = 0; at < len && got == 0; at += step) {
        size_t n = len - at < step ? len - at : step;
        uint8_t *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, data + at, n);
        got = ml_stream_in_feed(&b->in, copy, n);
        free(copy);
        check_held(b, at + n);
    }
    return got;
}

struct captured {
    const char *id;
    const char *label;
    bool is_sealed;
    bool is_request;
    bool comes_back; /* our bytes are the same */
    uint8_t type;
    uint32_t n_nodes;
    size_t user_len;
};

/* Others compress even what grows by it: P15, P17, P18, E7, E8. */
static const struct captured captures[] = {
    {"C1", "", false, true, true, ML_PING, 0, 0},
    {"C5", "", false, false, true, ML_ACK, 0, 0},
    {"C9", "", false, false, true, ML_ERR, 0, 0},
    {"C26", "", false, true, true, ML_PUSH_PULL, 0, 0},
    {"D4", "", true, true, true, ML_PING, 0, 0},
    {"D5", "cluster-a", true, true, true, ML_PING, 0, 0},
    {"D6", "", true, true, false, ML_PING, 0, 0},
    {"P13", "", false, true, true, ML_PUSH_PULL, 3, 594},
    {"P14", "", false, false, true, ML_PUSH_PULL, 1, 586},
    {"P15", "", false, true, false, ML_PUSH_PULL, 1, 68},
    {"P16", "", false, false, true, ML_PUSH_PULL, 3, 80},
    {"P17", "", false, false, false, ML_ACK, 0, 0},
    {"P18", "", false, true, false, ML_PING, 0, 0},
    {"P19", "", false, false, false, ML_ERR, 0, 0},
    {"G1", "", false, true, true, ML_USER, 0, 200},
    {"G2", "", false, true, true, ML_USER, 0, 200},
    {"E6", "", true, false, true, ML_PUSH_PULL, 2, 590},
    {"E7", "", true, true, false, ML_PUSH_PULL, 1, 68},
    {"E8", "", true, false, false, ML_ACK, 0, 0},
    {"V2", "", true, false, false, ML_PUSH_PULL, 1, 0},
    {"L2", "cluster-a", false, false, true, ML_PUSH_PULL, 1, 0},
    {"L3", "cluster-a", false, true, true, ML_PUSH_PULL, 1, 0},
    {"L4", "cluster-a", false, true, true, ML_USER, 0, 2},
    {"L6", "cluster-a", true, false, true, ML_PUSH_PULL, 1, 0},
    {"L7", "cluster-a", true, true, true, ML_PING, 0, 0},
    {"L8", "cluster-a", true, true, true, ML_USER, 0, 2},
};

#define N_CAPTURES (sizeof(captures) / sizeof(captures[0]))

static void check_taken(struct bed *b, const struct captured *c)
{
    struct ml_stream_msg *m = &b->msg;

    check_i64(ml_stream_in_take(&b->in, m), 0);
    check_u64(m->type, c->type);
    if (c->type == ML_USER)
        check_u64(m->msg.user.len, c->user_len);
    if (c->type != ML_PUSH_PULL)
        return;
    check_u64(m->push_pull.n_nodes, c->n_nodes);
    check_u64(m->user_state.len, c->user_len);
    struct rd r = m->entries;
    for (uint32_t i = 0; i < m->push_pull.n_nodes; i++) {
        struct ml_alive a;
        check_i64(ml_entry_read(&r, &a), 0);
        check_i64(ml_alive_check(&a), 0);
    }
    check_i64(rd_end(&r), 0);
}

static void check_capture(struct bed *b, const struct captured *c)
{
    struct vector v = vector_get(c->id);
    size_t header = *c->label && c->is_request ? 2 + strlen(c->label) : 0;
    struct ml_keyring *keys = ring(0, v.bytes + header + 6);
    size_t steps[] = {1, 2, 3, 7, 64, 4096};

    b->wire.keys = c->is_sealed ? keys : NULL;
    b->wire.label = span_of_text(c->label);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        restart(b, c->is_request);
        check_i64(feed(b, v.bytes, v.len, steps[i]), 1);
        check_u64(b->budget.bytes, 0);
        check_i64(ml_stream_in_feed(&b->in, "more", 4), 1);
        check_taken(b, c);
    }
    wr_reset(&b->out);
    check_i64(ml_stream_close(&b->wire, c->is_request, b->in.message, &b->out),
              0);
    if (c->comes_back) {
        check_u64(b->out.len, v.len);
        assert_memory_equal(b->out.data, v.bytes, v.len);
    } else {
        restart(b, c->is_request);
        check_i64(feed(b, b->out.data, b->out.len, 5), 1);
        check_taken(b, c);
    }
    restart(b, c->is_request);
    ml_keyring_close(keys);
    b->wire.keys = NULL;
}

static void reads_and_writes_what_peers_sent(void **state)
{
    for (size_t i = 0; i < N_CAPTURES; i++)
        check_capture(*state, &captures[i]);
}

/* --- framing and limits --------------------------------------------------- */

/* Build a stream message by hand: type, header map, whatever follows. */
static void put_push_pull(struct wr *w, uint32_t n_nodes, uint32_t user_len)
{
    wr_u8(w, ML_PUSH_PULL);
    ml_push_pull_write(w, &(struct ml_push_pull){.n_nodes = n_nodes,
                                                 .user_state_len = user_len});
}

static void put_entry(struct wr *w)
{
    ml_entry_write(w, &(struct ml_alive){.node = span_of_text("node"),
                                         .addr = span_of("\1\2\3\4", 4),
                                         .port = 7946,
                                         .vsn = span_of("\1\5\2\0\0\0", 6)});
}

static void put_zeros(struct wr *w, size_t n)
{
    uint8_t *to = wr_space(w, n);
    check_i64(wr_err(w), 0);
    if (n > 0)
        memset(to, 0, n);
}

/* The same fate, however it is cut. Returns it. */
static int feed_all_ways(struct bed *b, bool is_accepted, const uint8_t *data,
                         size_t len)
{
    static const size_t steps[] = {1, 3, 1000, SIZE_MAX / 2};
    int first = 0;
    enum ml_drop why = ML_DROP_NONE;
    size_t n_steps = sizeof(steps) / sizeof(steps[0]);

    for (size_t i = 0; i < n_steps; i++) {
        restart(b, is_accepted);
        int got = feed(b, data, len, steps[i]);
        if (i == 0) {
            first = got;
            why = b->in.why;
        }
        check_i64(got, first);
        check_i64(b->in.why, why);
        check_true(got == 0 || b->budget.bytes == 0);
        check_true((got < 0) == (b->in.why != ML_DROP_NONE));
    }
    return first;
}

static enum ml_drop drop_of(struct bed *b, const void *data, size_t len)
{
    int got = feed_all_ways(b, true, data, len);
    return got < 0 ? b->in.why : ML_DROP_NONE;
}

static enum ml_drop drop_of_out(struct bed *b)
{
    return drop_of(b, b->out.data, b->out.len);
}

static void dialler_sends_the_label_and_acceptor_does_not(void **state)
{
    struct bed *b = *state;
    struct vector plain = vector_get("C1");
    struct span message = span_of(plain.bytes, plain.len);

    for (int sealed = 0; sealed < 2; sealed++) {
        b->wire.keys = sealed ? b->keys : NULL;
        b->wire.label = span_of_text("cluster-a");
        for (int is_dialler = 0; is_dialler < 2; is_dialler++) {
            wr_reset(&b->out);
            check_i64(ml_stream_close(&b->wire, is_dialler, message, &b->out),
                      0);
            check_u64(b->out.data[0] == ML_LABEL, is_dialler);
            /* Read by the side that it is meant for, and by the other. */
            check_i64(feed_all_ways(b, is_dialler, b->out.data, b->out.len), 1);
            check_i64(feed_all_ways(b, !is_dialler, b->out.data, b->out.len),
                      ERR_BAD);
            check_i64(b->in.why, ML_DROP_LABEL);
        }
    }
    restart(b, false);
    b->wire.keys = NULL;
}

static void another_label_is_refused_at_its_first_byte(void **state)
{
    struct bed *b = *state;
    static const struct {
        const char *ours, *bytes;
        size_t len, good; /* so many bytes are still fine */
    } cases[] = {
        {"ab", "\xf4\2ac", 4, 3},     {"ab", "\xf4\3abc", 5, 1},
        {"ab", "\xf4\1a\0", 4, 1},    {"ab", "\xf4\0", 2, 1},
        {"ab", "\0\x80", 2, 0},       {"", "\xf4\2ab", 4, 0},
        {"ab", "\xf4\2ab\xf4", 5, 4}, {"ab", "\x0a", 1, 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const uint8_t *bytes = (const uint8_t *)cases[i].bytes;
        b->wire.label = span_of_text(cases[i].ours);
        check_i64(drop_of(b, bytes, cases[i].len), ML_DROP_LABEL);
        check_i64(drop_of(b, bytes, cases[i].good), ML_DROP_NONE);
        check_i64(drop_of(b, bytes, cases[i].good + 1), ML_DROP_LABEL);
    }
    b->wire.label = span_of_text("ab");
    check_i64(feed_all_ways(b, true, (const uint8_t *)"\xf4\2ab\2\x80", 6), 1);
}

/* The same key in two meshes: the label is under the seal of both ways. */
static void the_label_is_part_of_the_seal(void **state)
{
    struct bed *b = *state;
    struct vector plain = vector_get("C1");
    for (int is_dialler = 0; is_dialler < 2; is_dialler++) {
        b->wire.keys = b->keys;
        b->wire.label = span_of_text("one");
        wr_reset(&b->out);
        check_i64(ml_stream_close(&b->wire, is_dialler,
                                  span_of(plain.bytes, plain.len), &b->out),
                  0);
        b->wire.label = span_of_text("two");
        if (is_dialler)
            memcpy(b->out.data + 2, "two", 3);
        check_i64(feed_all_ways(b, is_dialler, b->out.data, b->out.len),
                  ERR_BAD);
        check_i64(b->in.why, ML_DROP_SEAL);
    }
}

static void a_sealed_length_above_the_limit_costs_nothing(void **state)
{
    struct bed *b = *state;
    b->wire.keys = b->keys;
    b->limits.frame_max = 1000;
    static const struct {
        uint32_t len;
        enum ml_drop why;
    } cases[] = {
        {0, ML_DROP_SEAL},          {1, ML_DROP_SEAL},
        {28, ML_DROP_SEAL},         {29, ML_DROP_NONE},
        {995, ML_DROP_NONE},        {996, ML_DROP_TOOBIG},
        {1000, ML_DROP_TOOBIG},     {20 << 20, ML_DROP_TOOBIG},
        {1u << 31, ML_DROP_TOOBIG}, {UINT32_MAX, ML_DROP_TOOBIG},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        wr_reset(&b->out);
        wr_u8(&b->out, ML_ENCRYPT);
        wr_be32(&b->out, cases[i].len);
        check_i64(drop_of_out(b), cases[i].why);
        check_u64(b->in.raw.size, 0);
        check_u64(b->budget.bytes, 0);
    }
}

static void only_the_key_opens(void **state)
{
    struct bed *b = *state;
    struct vector v = vector_get("E7");
    b->wire.keys = b->other;
    check_i64(drop_of(b, v.bytes, v.len), ML_DROP_SEAL);
    b->wire.keys = NULL;
    check_i64(drop_of(b, v.bytes, 1), ML_DROP_SEAL);

    b->wire.keys = b->keys;
    for (size_t len = 0; len < v.len; len++) {
        restart(b, true);
        check_i64(feed(b, v.bytes, len, 64), 0);
    }
    for (size_t bit = 40; bit < v.len * 8; bit++) {
        v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        restart(b, true);
        check_i64(feed(b, v.bytes, v.len, 4096), ERR_BAD);
        check_i64(b->in.why, ML_DROP_SEAL);
        v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void the_clear_is_heard_only_while_moving_to_keys(void **state)
{
    struct bed *b = *state;
    for (size_t i = 0; i < N_CAPTURES; i++) {
        const struct captured *c = &captures[i];
        struct vector v = vector_get(c->id);
        if (c->is_sealed || *c->label)
            continue;
        b->wire.keys = b->keys;
        b->wire.accepts_clear = false;
        check_i64(drop_of(b, v.bytes, 1), ML_DROP_CLEAR);
        check_i64(drop_of(b, v.bytes, v.len), ML_DROP_CLEAR);
        b->wire.accepts_clear = true;
        check_i64(feed_all_ways(b, true, v.bytes, v.len), 1);
        check_taken(b, c);
    }
    struct vector v = vector_get("E7");
    check_i64(feed_all_ways(b, true, v.bytes, v.len), 1);
}

static void a_first_byte_that_is_no_request_ends_it(void **state)
{
    struct bed *b = *state;
    for (unsigned type = 0; type < 256; type++) {
        uint8_t byte = (uint8_t)type;
        enum ml_drop why = drop_of(b, &byte, 1);
        bool is_fine = type == 0 || type == 2 || type == 6 || type == 8 ||
                       type == 9 || type == 13;
        check_i64(why, is_fine       ? ML_DROP_NONE
                       : type == 10  ? ML_DROP_SEAL
                       : type == 244 ? ML_DROP_LABEL
                                     : ML_DROP_TYPE);
    }
}

/* Seal any bytes as one stream. */
static void seal_out(struct bed *b, const void *data, size_t len)
{
    wr_reset(&b->out);
    wr_u8(&b->out, ML_ENCRYPT);
    wr_be32(&b->out, (uint32_t)len + ML_SEAL_OVERHEAD);
    uint8_t aad[5];
    memcpy(aad, b->out.data, 5);
    check_i64(ml_seal(b->keys, span_of(aad, 5), span_of(data, len), &b->out),
              0);
}

static void put_compress(struct wr *w, const void *data, size_t len)
{
    struct wr packed;
    wr_init_grow(&packed, 1 << 22);
    lzw_encode(data, len, &packed);
    check_i64(wr_err(&packed), 0);
    wr_u8(w, ML_COMPRESS);
    ml_compress_write(w, span_of(packed.data, packed.len));
    wr_fini(&packed);
}

/* A wrapper holds a message, and nothing else. */
static void wrappers_hold_messages_only(void **state)
{
    struct bed *b = *state;
    struct wr inner;
    wr_init_grow(&inner, 1 << 20);
    for (unsigned type = 0; type < 256; type++) {
        uint8_t bytes[] = {(uint8_t)type, 0x80};
        bool is_message =
            type == 0 || type == 2 || type == 6 || type == 8 || type == 13;
        bool is_wrapper =
            type == 7 || type == 9 || type == 10 || type == 12 || type == 244;
        enum ml_drop want = is_message   ? ML_DROP_NONE
                            : is_wrapper ? ML_DROP_NESTING
                                         : ML_DROP_TYPE;
        b->wire.keys = NULL;
        wr_reset(&b->out);
        put_compress(&b->out, bytes, sizeof(bytes));
        check_i64(drop_of_out(b), want);

        b->wire.keys = b->keys;
        wr_reset(&inner);
        put_compress(&inner, bytes, sizeof(bytes));
        seal_out(b, inner.data, inner.len);
        check_i64(drop_of_out(b), want);
        seal_out(b, bytes, sizeof(bytes));
        /* Under the seal this one is in its place, but broken. */
        check_i64(drop_of_out(b), type == 9 ? ML_DROP_CODEC : want);
        if (is_message)
            check_i64(feed_all_ways(b, true, b->out.data, b->out.len), 1);
    }
    wr_fini(&inner);
}

static void what_holds_nothing_is_refused(void **state)
{
    struct bed *b = *state;
    struct wr inner;
    wr_init_grow(&inner, 1 << 20);

    put_compress(&b->out, NULL, 0);
    check_i64(drop_of_out(b), ML_DROP_EMPTY);
    check_i64(drop_of(b, "\x09\x80", 2), ML_DROP_CODEC);
    check_i64(drop_of(b,
                      "\x09\x81\xa4"
                      "Algo\1",
                      8),
              ML_DROP_CODEC);

    b->wire.keys = b->keys;
    seal_out(b, NULL, 0);
    check_i64(drop_of_out(b), ML_DROP_EMPTY);
    put_compress(&inner, NULL, 0);
    seal_out(b, inner.data, inner.len);
    check_i64(drop_of_out(b), ML_DROP_EMPTY);
    wr_fini(&inner);
}

static void bombs_stop_at_the_limit(void **state)
{
    struct bed *b = *state;
    size_t n = 20 << 20;
    uint8_t *zeros = calloc(1, n);
    assert_non_null(zeros);
    zeros[0] = ML_ERR;

    put_compress(&b->out, zeros, n);
    check_true(b->out.len < 20000);
    check_i64(drop_of_out(b), ML_DROP_BOMB);
    b->limits.expanded_max = 5000;
    for (size_t more = 0; more < 2; more++) {
        wr_reset(&b->out);
        put_compress(&b->out, zeros, 5000 + more);
        check_i64(drop_of_out(b), more ? ML_DROP_BOMB : ML_DROP_NONE);
        check_true(b->in.expanded.size <= 5000);
    }
    free(zeros);
}

static void a_frame_may_be_as_long_as_the_limit(void **state)
{
    struct bed *b = *state;
    wr_u8(&b->out, ML_USER);
    ml_user_len_write(&b->out, 9000);
    put_zeros(&b->out, 9000);

    b->limits.frame_max = b->out.len;
    check_i64(feed_all_ways(b, true, b->out.data, b->out.len), 1);
    b->limits.frame_max = b->out.len - 1;
    check_i64(drop_of_out(b), ML_DROP_TOOBIG);
    b->limits.frame_max = b->out.len;
    b->limits.user_max = 9000;
    check_i64(drop_of_out(b), ML_DROP_NONE);
    b->limits.user_max = 8999;
    check_i64(drop_of_out(b), ML_DROP_TOOBIG);
    /* And that is known from the header. */
    check_i64(drop_of(b, b->out.data, b->out.len - 9000), ML_DROP_TOOBIG);

    struct wr plain = b->out;
    b->wire.keys = b->keys;
    b->limits.frame_max += 100;
    wr_init_grow(&b->out, 1 << 20);
    seal_out(b, plain.data, plain.len);
    for (int more = 0; more < 2; more++) {
        b->limits.user_max = more ? 9000 : 8999;
        check_i64(feed_all_ways(b, true, b->out.data, b->out.len), 1);
        check_i64(ml_stream_in_take(&b->in, &b->msg), more ? 0 : ERR_BAD);
    }
    wr_fini(&plain);
}

static void nodes_and_user_state_have_limits(void **state)
{
    struct bed *b = *state;
    b->limits.nodes_max = 3;
    b->limits.user_max = 10;
    for (uint32_t n = 0; n < 6; n++) {
        for (uint32_t len = 8; len < 13; len++) {
            wr_reset(&b->out);
            put_push_pull(&b->out, n, len);
            enum ml_drop want =
                n > 3 || len > 10 ? ML_DROP_TOOBIG : ML_DROP_NONE;
            b->wire.keys = NULL;
            check_i64(drop_of_out(b), want);
            for (uint32_t i = 0; i < n; i++)
                put_entry(&b->out);
            put_zeros(&b->out, len);
            check_i64(drop_of_out(b), want);

            /* Sealed, it is found out when it is taken. */
            b->wire.keys = b->keys;
            struct wr sealed = b->out;
            wr_init_grow(&b->out, 1 << 20);
            seal_out(b, sealed.data, sealed.len);
            check_i64(feed_all_ways(b, true, b->out.data, b->out.len), 1);
            check_i64(ml_stream_in_take(&b->in, &b->msg), want ? ERR_BAD : 0);
            wr_fini(&sealed);
        }
    }
}

/* What stands behind a message is neither kept nor part of it. */
static void bytes_behind_a_message_are_ignored(void **state)
{
    struct bed *b = *state;
    put_push_pull(&b->out, 2, 5);
    put_entry(&b->out);
    put_entry(&b->out);
    wr_text(&b->out, "state");
    size_t whole = b->out.len;
    put_zeros(&b->out, 3 << 20);

    for (size_t step = 1; step < 300; step += 7) {
        restart(b, true);
        check_i64(feed(b, b->out.data, b->out.len, step), 1);
        check_u64(b->in.message.len, whole);
    }
    restart(b, true);
    check_i64(feed(b, b->out.data, b->out.len, b->out.len), 1);
    check_u64(b->in.message.len, whole);
    check_true(b->in.raw.size <= 2 * 4096);
    check_i64(ml_stream_in_take(&b->in, &b->msg), 0);
    check_true(span_is(b->msg.user_state, "state"));

    /* The same under a seal and compressed. */
    b->wire.keys = b->keys;
    struct wr plain = b->out;
    wr_init_grow(&b->out, 1 << 20);
    seal_out(b, plain.data, whole + 100);
    wr_text(&b->out, "and more");
    check_i64(feed_all_ways(b, true, b->out.data, b->out.len), 1);
    check_i64(ml_stream_in_take(&b->in, &b->msg), 0);
    check_true(span_is(b->msg.user_state, "state"));
    wr_fini(&plain);
}

/* --- lies ----------------------------------------------------------------- */

/* The three frames that end older peers. */
static void the_three_killers_are_refused(void **state)
{
    struct bed *b = *state;
    static const uint8_t minus_one[] = "\x06\x82\xa5Nodes\xff\xacUserStateLen";
    check_i64(drop_of(b, minus_one, sizeof(minus_one) - 1), ML_DROP_MESSAGE);

    /* A version vector of less than six bytes: read, and not fit to use. */
    for (size_t len = 0; len < 6; len++) {
        wr_reset(&b->out);
        put_push_pull(&b->out, 1, 0);
        ml_entry_write(&b->out,
                       &(struct ml_alive){.node = span_of_text("node"),
                                          .addr = span_of("\1\2\3\4", 4),
                                          .port = 7946,
                                          .vsn = span_of("\1\5\2\0\0", len)});
        check_i64(feed_all_ways(b, true, b->out.data, b->out.len), 1);
        check_i64(ml_stream_in_take(&b->in, &b->msg), 0);
        struct ml_alive a;
        struct rd r = b->msg.entries;
        check_i64(ml_entry_read(&r, &a), 0);
        check_i64(ml_alive_check(&a), ERR_BAD);
    }
    wr_reset(&b->out);
    put_compress(&b->out, NULL, 0);
    check_i64(drop_of_out(b), ML_DROP_EMPTY);
}

/* Every way to write a number, and numbers that nobody has. */
static const struct lie {
    const char *bytes;
    size_t len;
    bool is_legal; /* as a count it only is too large, or fine */
} lies[] = {
    {"\xff", 1, false},                                 /* -1 */
    {"\xe0", 1, false},                                 /* -32 */
    {"\xd0\x80", 2, false},                             /* -128 */
    {"\xd0\xff", 2, false},                             /* -1 */
    {"\xd1\x80\x00", 3, false},                         /* -2^15 */
    {"\xd2\x80\x00\x00\x00", 5, false},                 /* -2^31 */
    {"\xd2\xff\xff\xff\xff", 5, false},                 /* -1 */
    {"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9, false}, /* -2^63 */
    {"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", 9, false}, /* -1 */
    {"\xd3\xff\xff\xff\xff\x00\x00\x00\x01", 9, false},
    {"\xce\x00\x01\x00\x01", 5, true},                 /* 65537 */
    {"\xce\x7f\xff\xff\xff", 5, true},                 /* 2^31 - 1 */
    {"\xce\x80\x00\x00\x00", 5, true},                 /* 2^31 */
    {"\xce\xff\xff\xff\xff", 5, true},                 /* 2^32 - 1 */
    {"\xcf\x00\x00\x00\x01\x00\x00\x00\x00", 9, true}, /* 2^32 */
    {"\xcf\x00\x00\x00\x01\x00\x00\x00\x01", 9, true}, /* 1, if cut off */
    {"\xcf\x7f\xff\xff\xff\xff\xff\xff\xff", 9, true},
    {"\xcf\x80\x00\x00\x00\x00\x00\x00\x00", 9, true}, /* 2^63 */
    {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9, true},
    {"\xd3\x00\x00\x00\x01\x00\x00\x00\x00", 9, true},
    {"\xd2\x7f\xff\xff\xff", 5, true},
    {"\xca\x4f\x00\x00\x00", 5, false}, /* a float */
    {"\xcb\x41\xf0\x00\x00\x00\x00\x00\x00", 9, false},
    {"\xc3", 1, false}, /* true */
    {"\xa1"
     "9",
     2, false},         /* text */
    {"\x90", 1, false}, /* an array */
    {"\x80", 1, false}, /* a map */
    {"\xdd\xff\xff\xff\xff", 5, false},
    {"\xdf\xff\xff\xff\xff", 5, false},
    {"\xc1", 1, false}, /* never used */
};

static void put_lie(struct wr *w, unsigned where, const struct lie *lie)
{
    static const char *const keys[] = {"Nodes", "UserStateLen", "UserMsgLen"};
    wr_u8(w, where < 2 ? ML_PUSH_PULL : ML_USER);
    wr_u8(w, 0x81);
    wr_u8(w, (uint8_t)(0xa0 + strlen(keys[where])));
    wr_text(w, keys[where]);
    wr_bytes(w, lie->bytes, lie->len);
}

static void lying_headers_are_refused_without_growth(void **state)
{
    struct bed *b = *state;
    size_t n = 0;
    for (unsigned where = 0; where < 3; where++) {
        for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++, n++) {
            wr_reset(&b->out);
            put_lie(&b->out, where, &lies[i]);
            size_t header = b->out.len;
            enum ml_drop why = drop_of(b, b->out.data, header);
            check_i64(why, lies[i].is_legal && !(where > 0 && i == 10)
                               ? ML_DROP_TOOBIG
                           : where > 0 && i == 10 ? ML_DROP_NONE
                                                  : ML_DROP_MESSAGE);
            check_true(b->in.raw.size <= 256);
            check_true(b->budget.bytes <= 256);

            /* A member of the mesh may lie as well. */
            b->wire.keys = b->keys;
            struct wr plain = b->out;
            wr_init_grow(&b->out, 1 << 20);
            seal_out(b, plain.data, plain.len);
            check_i64(feed_all_ways(b, true, b->out.data, b->out.len), 1);
            check_i64(ml_stream_in_take(&b->in, &b->msg), ERR_BAD);
            wr_fini(&plain);
            b->wire.keys = NULL;
        }
    }
    check_true(n >= 43);
}

/* Lengths inside of values: of names, of metadata, of what is compressed. */
static void lying_lengths_are_not_waited_for_in_memory(void **state)
{
    struct bed *b = *state;
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {
        {"\x00\x81\xa4Node\xdb\xff\xff\xff\xff", 12},
        {"\x00\xdf\xff\xff\xff\xff\xa4Node", 11},
        {"\x00\xde\xff\xff", 4},
        {"\x06\xdf\xff\xff\xff\xff", 6},
        {"\x06\x81\xa5Nodes\x05\xdf\xff\xff\xff\xff", 14},
        {"\x06\x81\xa5Nodes\x05\x81\xa4Name\xdb\xff\xff\xff\xff", 20},
        {"\x06\x81\xa5Nodes\x05\x81\xa4Nope\xdd\xff\xff\xff\xff", 20},
        {"\x09\x81\xa3"
         "Buf\xdb\xff\xff\xff\xff",
         11},
        {"\x09\x81\xa3"
         "Buf\xc6\xff\xff\xff\xff",
         11},
        {"\x0d\x81\xa5"
         "Error\xdb\xff\xff\xff\xff",
         13},
        {"\x02\x81\xa7Payload\xdb\x7f\xff\xff\xff", 15},
        {"\x08\x81\xaaUserMsgLen\xdd\xff\xff\xff\xff", 18},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        drop_of(b, cases[i].bytes, cases[i].len);
        check_true(b->in.raw.size <= 256);
        restart(b, true);
        /* And if they go on, it ends at the limit. */
        b->limits.frame_max = 10000;
        wr_reset(&b->out);
        wr_bytes(&b->out, cases[i].bytes, cases[i].len);
        put_zeros(&b->out, 10000);
        check_true(drop_of_out(b) != ML_DROP_NONE);
        check_u64(b->budget.bytes, 0);
    }
}

/* --- the budget ----------------------------------------------------------- */

static void all_readers_pay_from_one_budget(void **state)
{
    struct bed *b = *state;
    enum { N = 200 };
    struct ml_stream_in *all = calloc(N, sizeof(*all));
    static const uint8_t head[] = {ML_ENCRYPT, 0, 0x3f, 0, 0};
    static uint8_t bytes[60000];
    bool is_dead[N] = {false};
    unsigned n_dead = 0;
    assert_non_null(all);

    b->wire.keys = b->keys;
    for (int i = 0; i < N; i++) {
        ml_stream_in_init(&all[i], &b->wire, &b->limits, &b->budget, true);
        check_i64(ml_stream_in_feed(&all[i], head, sizeof(head)), 0);
    }
    check_u64(b->budget.bytes, 0);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < N; i++) {
            int got = ml_stream_in_feed(&all[i], bytes, sizeof(bytes));
            check_true(b->budget.bytes <= b->budget.bytes_max);
            if (got == 0)
                continue;
            check_i64(got, ERR_BAD);
            check_i64(all[i].why, ML_DROP_BUDGET);
            check_u64(all[i].raw.size, 0);
            n_dead += !is_dead[i];
            is_dead[i] = true;
        }
    }
    check_true(n_dead > N / 2 && n_dead < N);
    size_t held = 0;
    for (int i = 0; i < N; i++)
        held += all[i].raw.size;
    check_u64(held, b->budget.bytes);
    for (int i = 0; i < N; i++)
        ml_stream_in_fini(&all[i]);
    check_u64(b->budget.bytes, 0);
    free(all);
}

/* Once a message is there it no longer counts, whoever holds it. */
static void a_good_message_gives_its_bytes_back(void **state)
{
    struct bed *b = *state;
    b->limits.frame_max = 7000;
    b->budget.bytes_max = 7000;
    wr_u8(&b->out, ML_USER);
    ml_user_len_write(&b->out, 6500);
    put_zeros(&b->out, 6500);
    struct ml_stream_in first, second;
    ml_stream_in_init(&first, &b->wire, &b->limits, &b->budget, true);
    ml_stream_in_init(&second, &b->wire, &b->limits, &b->budget, true);

    check_i64(ml_stream_in_feed(&first, b->out.data, 6500), 0);
    check_true(b->budget.bytes >= 6500);
    check_i64(ml_stream_in_feed(&second, b->out.data, 2000), ERR_BAD);
    check_i64(second.why, ML_DROP_BUDGET);
    check_i64(ml_stream_in_feed(&first, b->out.data + 6500, b->out.len - 6500),
              1);
    check_u64(b->budget.bytes, 0);
    ml_stream_in_fini(&second);
    ml_stream_in_init(&second, &b->wire, &b->limits, &b->budget, true);
    check_i64(ml_stream_in_feed(&second, b->out.data, b->out.len), 1);
    check_i64(ml_stream_in_take(&first, &b->msg), 0);
    check_u64(b->msg.msg.user.len, 6500);
    ml_stream_in_fini(&first);
    ml_stream_in_fini(&second);
    ml_stream_in_fini(&second); /* twice is fine */
}

/* Capacity is asked for by doubling from 256, and no more than that. */
static void the_budget_may_be_used_to_its_end(void **state)
{
    struct bed *b = *state;
    static uint8_t bytes[600];
    static const size_t sizes[][2] = {{1, 256},   {256, 256}, {257, 512},
                                      {512, 512}, {513, 600}, {600, 600}};
    b->limits.frame_max = 600;
    wr_u8(&b->out, ML_USER);
    ml_user_len_write(&b->out, 1000);
    memcpy(bytes, b->out.data, b->out.len);

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        b->budget.bytes_max = sizes[i][1];
        restart(b, true);
        check_i64(feed(b, bytes, sizes[i][0], 600), 0);
        check_u64(b->budget.bytes, sizes[i][1]);
        restart(b, true);
        b->budget.bytes_max--;
        check_i64(feed(b, bytes, sizes[i][0], 600), ERR_BAD);
        check_i64(b->in.why, ML_DROP_BUDGET);
    }
}

/* --- anything at all ------------------------------------------------------ */

/* Two readers, one fed whole and one in pieces, must agree on everything. */
static void check_same(struct bed *b, struct rng *rng, bool is_accepted,
                       const uint8_t *data, size_t len)
{
    struct ml_stream_in whole;
    struct ml_stream_msg m;

    restart(b, is_accepted);
    ml_stream_in_init(&whole, &b->wire, &b->limits, &b->budget, is_accepted);
    int one = ml_stream_in_feed(&whole, data, len);
    int other = feed(b, data, len, 1 + rng_below(rng, 9));
    check_i64(other, one);
    check_i64(b->in.why, whole.why);
    check_true(one == 0 || one == 1 || one == ERR_BAD);
    if (one == 1) {
        int got = ml_stream_in_take(&whole, &m);
        check_i64(ml_stream_in_take(&b->in, &b->msg), got);
        if (got == 0) {
            check_u64(b->msg.type, m.type);
            check_u64(b->msg.push_pull.n_nodes, m.push_pull.n_nodes);
            check_true(span_equal(b->msg.user_state, m.user_state));
            struct rd r = m.entries;
            for (uint32_t i = 0; i < m.push_pull.n_nodes; i++) {
                struct ml_alive a;
                check_i64(ml_entry_read(&r, &a), 0);
            }
        }
    }
    ml_stream_in_fini(&whole);
}

static void any_change_of_a_captured_stream_is_survived(void **state)
{
    struct bed *b = *state;
    struct rng rng;
    rng_seed(&rng, check_seed());

    for (size_t i = 0; i < N_CAPTURES; i++) {
        const struct captured *c = &captures[i];
        struct vector v = vector_get(c->id);
        b->wire.keys = c->is_sealed ? b->keys : NULL;
        b->wire.label = span_of_text(c->label);
        for (size_t bit = 0; bit < v.len * 8; bit++) {
            v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
            restart(b, c->is_request);
            feed(b, v.bytes, v.len, v.len);
            if (b->in.message.len > 0)
                ml_stream_in_take(&b->in, &b->msg);
            v.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        for (unsigned round = 0; round < 300; round++) {
            struct vector w = v;
            for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--)
                w.bytes[rng_below(&rng, w.len)] = (uint8_t)rng_next(&rng);
            check_same(b, &rng, c->is_request, w.bytes, w.len);
        }
    }
}

/* The same below the wrappers, where most of a captured stream is hidden. */
static void any_change_under_the_wrappers_is_survived(void **state)
{
    struct bed *b = *state;
    struct rng rng;
    rng_seed(&rng, check_seed());

    for (size_t i = 0; i < N_CAPTURES; i++) {
        const struct captured *c = &captures[i];
        struct vector v = vector_get(c->id);
        b->wire.keys = c->is_sealed ? b->keys : NULL;
        b->wire.label = span_of_text(c->label);
        restart(b, c->is_request);
        check_i64(feed(b, v.bytes, v.len, 9), 1);
        struct bed plain = {.limits = b->limits, .budget = b->budget};
        uint8_t bytes[2048];
        size_t len = b->in.message.len;
        memcpy(bytes, b->in.message.data, len);

        for (size_t cut = 0; cut < len; cut++) {
            restart(&plain, true);
            check_i64(feed(&plain, bytes, cut, len), 0);
        }
        for (unsigned round = 0; round < 1000; round++) {
            uint8_t w[2048];
            memcpy(w, bytes, len);
            for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--)
                w[rng_below(&rng, len)] = (uint8_t)rng_next(&rng);
            check_same(&plain, &rng, true, w, len);
        }
        ml_stream_in_fini(&plain.in);
    }
}

/* --- writing -------------------------------------------------------------- */

static void large_states_come_back(void **state)
{
    struct bed *b = *state;
    struct wr message;
    struct rng rng;
    rng_seed(&rng, check_seed());
    wr_init_grow(&message, 64 << 20);

    for (unsigned round = 0; round < 12; round++) {
        uint32_t n = (uint32_t)rng_below(&rng, 3000);
        uint32_t user_len = (uint32_t)rng_below(&rng, 200000);
        wr_reset(&message);
        put_push_pull(&message, n, user_len);
        for (uint32_t i = 0; i < n; i++)
            put_entry(&message);
        for (uint32_t i = 0; i < user_len; i++)
            wr_u8(&message, (uint8_t)rng_below(&rng, round % 2 ? 256 : 4));
        b->wire.keys = round % 3 ? b->keys : NULL;
        b->wire.label = span_of_text(round % 4 ? "" : "label");
        wr_reset(&b->out);
        wr_text(&b->out, "before");
        check_i64(ml_stream_close(&b->wire, round % 2,
                                  span_of(message.data, message.len), &b->out),
                  0);
        assert_memory_equal(b->out.data, "before", 6);
        check_true(b->out.len <= 6 + message.len + 5 + 29 + 7);
        restart(b, round % 2);
        check_i64(feed(b, b->out.data + 6, b->out.len - 6, 1460), 1);
        check_u64(b->in.message.len, message.len);
        assert_memory_equal(b->in.message.data, message.data, message.len);
        check_i64(ml_stream_in_take(&b->in, &b->msg), 0);
        check_u64(b->msg.push_pull.n_nodes, n);
    }
    wr_fini(&message);
}

static void writes_nothing_that_nobody_takes(void **state)
{
    struct bed *b = *state;
    size_t limit = (20 << 20) - ML_SEAL_OVERHEAD;
    uint8_t *zeros = calloc(1, limit + 1);
    assert_non_null(zeros);
    wr_text(&b->out, "before");
    check_i64(
        ml_stream_close(&b->wire, true, span_of(zeros, limit + 1), &b->out),
        ERR_TOOBIG);
    check_u64(b->out.len, 6);
    check_i64(ml_stream_close(&b->wire, true, span_of(zeros, limit), &b->out),
              0);
    free(zeros);

    struct wr small;
    uint8_t room[64], noise[40];
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)(i * 37);
    b->wire.label = span_of_text("label");
    for (int sealed = 0; sealed < 2; sealed++) {
        b->wire.keys = sealed ? b->keys : NULL;
        size_t need = sizeof(noise) + 7 + (sealed ? 34 : 0);
        for (size_t size = 0; size < need && size < sizeof(room); size++) {
            wr_init_fixed(&small, room, size);
            check_i64(ml_stream_close(&b->wire, true,
                                      span_of(noise, sizeof(noise)), &small),
                      ERR_TOOBIG);
            check_u64(small.len, 0);
        }
    }
    b->wire.keys = NULL;
}

static int no_dice(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 0, len);
    return ERR_SYS;
}

static void nothing_leaves_without_a_nonce(void **state)
{
    struct bed *b = *state;
    struct ml_key key = {.len = 16};
    struct errmsg msg;
    struct ml_keyring *keys = ml_keyring_open(&key, 1, no_dice, NULL, &msg);
    b->wire.keys = keys;
    b->wire.label = span_of_text("label");
    check_i64(ml_stream_close(&b->wire, true, span_of("\0\x80", 2), &b->out),
              ERR_SYS);
    check_u64(b->out.len, 0);
    b->wire.keys = NULL;
    ml_keyring_close(keys);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(reads_and_writes_what_peers_sent),
        T(dialler_sends_the_label_and_acceptor_does_not),
        T(another_label_is_refused_at_its_first_byte),
        T(the_label_is_part_of_the_seal),
        T(a_sealed_length_above_the_limit_costs_nothing),
        T(only_the_key_opens),
        T(the_clear_is_heard_only_while_moving_to_keys),
        T(a_first_byte_that_is_no_request_ends_it),
        T(wrappers_hold_messages_only),
        T(what_holds_nothing_is_refused),
        T(bombs_stop_at_the_limit),
        T(a_frame_may_be_as_long_as_the_limit),
        T(nodes_and_user_state_have_limits),
        T(bytes_behind_a_message_are_ignored),
        T(the_three_killers_are_refused),
        T(lying_headers_are_refused_without_growth),
        T(lying_lengths_are_not_waited_for_in_memory),
        T(all_readers_pay_from_one_budget),
        T(a_good_message_gives_its_bytes_back),
        T(the_budget_may_be_used_to_its_end),
        T(any_change_of_a_captured_stream_is_survived),
        T(any_change_under_the_wrappers_is_survived),
        T(large_states_come_back),
        T(writes_nothing_that_nobody_takes),
        T(nothing_leaves_without_a_nonce),
    };
    return cmocka_run_group_tests_name("ml_stream", tests, NULL, NULL);
}
