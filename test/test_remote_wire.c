/* The messages between coordinator and executor. */
#include "prober/remote_wire.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define MS UINT64_C(1000000)

static void fill(struct remote_question *q)
{
    memset(q, 0, sizeof(*q));
    oneoff_request_init(&q->request);
    strcpy(q->node, "a-1");
    strcpy(q->who, "uid:0");
    strcpy(q->request.target, "https://h/");
    q->request.count = 3;
    q->request.interval_ns = 1000 * MS;
    q->request.timeout_ns = 5000 * MS;
}

static size_t encode(const struct remote_question *q, uint8_t out[4096])
{
    struct wr w;
    wr_init_fixed(&w, out, 4096);
    remote_write_question(&w, q);
    check_i64(wr_err(&w), 0);
    return w.len;
}

static int decode(const void *bytes, size_t len, struct remote_question *q,
                  bool *is_bad)
{
    struct rd r;
    rd_init(&r, bytes, len);
    remote_read_question(&r, q, is_bad);
    return rd_err(&r);
}

static void same(const struct remote_question *a,
                 const struct remote_question *b)
{
    check_text(a->node, b->node);
    check_text(a->who, b->who);
    check_text(a->request.target, b->request.target);
    check_text(a->request.service, b->request.service);
    check_u64(a->request.is_auto, b->request.is_auto);
    check_u64(a->request.protocol, b->request.protocol);
    check_u64(a->request.mode, b->request.mode);
    check_u64(a->request.count, b->request.count);
    check_u64(a->request.interval_ns, b->request.interval_ns);
    check_u64(a->request.timeout_ns, b->request.timeout_ns);
}

static void a_head_has_these_bytes(void **state)
{
    (void)state;
    const uint8_t want[] = {0xa2, 1,  KIND_ACK, 0,    1,    2,    3,   4,
                            5,    6,  7,        8,    9,    10,   11,  12,
                            13,   14, 15,       0xde, 0xad, 0xbe, 0xef};
    struct remote_head h = {.kind = KIND_ACK, .ask = 0xdeadbeef}, got;
    uint8_t bytes[64];
    struct wr w;
    struct rd r;
    for (uint8_t i = 0; i < sizeof(h.id); i++)
        h.id[i] = i;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    remote_write_head(&w, &h);
    check_u64(w.len, sizeof(want));
    check_u64(w.len, REMOTE_HEAD_SIZE);
    check_true(!memcmp(bytes, want, sizeof(want)));
    rd_init(&r, bytes, w.len);
    remote_read_head(&r, &got);
    check_i64(rd_end(&r), 0);
    check_u64(got.kind, h.kind);
    check_u64(got.ask, h.ask);
    check_true(!memcmp(got.id, h.id, sizeof(h.id)));
    for (size_t cut = 0; cut < w.len; cut++) {
        rd_init(&r, bytes, cut);
        remote_read_head(&r, &got);
        check_true(rd_err(&r) != 0);
    }
    for (size_t i = 0; i < 2; i++) {
        bytes[i] ^= 1;
        rd_init(&r, bytes, w.len);
        remote_read_head(&r, &got);
        check_i64(rd_err(&r), ERR_BAD);
        bytes[i] ^= 1;
    }
}

static void a_question_comes_back(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    struct remote_question q, got;
    bool is_bad;
    fill(&q);
    check_i64(decode(bytes, encode(&q, bytes), &got, &is_bad), 0);
    check_false(is_bad);
    same(&got, &q);
    q.request.is_auto = false;
    q.request.protocol = PROTOCOL_GRPC;
    q.request.mode = MODE_WARM;
    q.request.count = 100;
    q.request.interval_ns = ONEOFF_INTERVAL_MIN_NS;
    q.request.timeout_ns = ONEOFF_TIMEOUT_MAX_NS;
    strcpy(q.request.target, "grpcs://h:1");
    strcpy(q.request.service, "a.b.C");
    memset(q.node, 'n', sizeof(q.node) - 1);
    memset(q.who, 'w', sizeof(q.who) - 1);
    check_i64(decode(bytes, encode(&q, bytes), &got, &is_bad), 0);
    check_false(is_bad);
    same(&got, &q);
}

static void what_is_above_our_limits_is_told_from_nonsense(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    struct remote_question q, got;
    bool is_bad;
    fill(&q);
    q.request.count = ONEOFF_COUNT_MAX + 1;
    check_i64(decode(bytes, encode(&q, bytes), &got, &is_bad), 0);
    check_true(is_bad);
    fill(&q);
    strcpy(q.request.target, "http://u@h/");
    check_i64(decode(bytes, encode(&q, bytes), &got, &is_bad), 0);
    check_true(is_bad);
    fill(&q);
    size_t len = encode(&q, bytes);
    check_i64(decode(bytes, len + 1, &got, &is_bad), ERR_BAD);
    check_false(is_bad);
    bytes[1 + 3 + 1 + 5] |= 2; /* flags */
    check_i64(decode(bytes, len, &got, &is_bad), ERR_BAD);
}

static void no_text_hides_another_behind_a_nul(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    struct remote_question q, got;
    bool is_bad;
    fill(&q);
    size_t len = encode(&q, bytes);
    for (size_t i = 0; i < len; i++) {
        bool is_text = (i >= 1 && i < 4) || (i >= 5 && i < 10) ||
                       i >= len - strlen(q.request.target);
        uint8_t was = bytes[i];
        if (!is_text)
            continue;
        bytes[i] = 0;
        check_i64(decode(bytes, len, &got, &is_bad), ERR_BAD);
        bytes[i] = was;
    }
}

static void who_asks_is_printable_and_names_are_as_they_are(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    struct remote_question q, got;
    bool is_bad;
    fill(&q);
    strcpy(q.who, "cert:\n\x1b\xff");
    strcpy(q.node, "caf\xc3\xa9");
    check_i64(decode(bytes, encode(&q, bytes), &got, &is_bad), 0);
    check_text(got.who, "cert:???");
    check_text(got.node, "caf\xc3\xa9");
}

static void longer_texts_are_never_cut(void **state)
{
    (void)state;
    uint8_t bytes[4096];
    struct remote_question got;
    bool is_bad;
    memset(bytes, 'x', sizeof(bytes));
    bytes[0] = REMOTE_NAME_SIZE;
    check_i64(decode(bytes, sizeof(bytes), &got, &is_bad), ERR_TOOBIG);
    bytes[0] = 1;
    bytes[2] = REMOTE_WHO_SIZE;
    check_i64(decode(bytes, sizeof(bytes), &got, &is_bad), ERR_TOOBIG);
    struct remote_question q;
    fill(&q);
    size_t len = encode(&q, bytes) - strlen(q.request.target) - 2;
    bytes[len] = ONEOFF_TARGET_SIZE >> 8;
    bytes[len + 1] = (uint8_t)(ONEOFF_TARGET_SIZE & 0xff);
    memset(bytes + len + 2, 'x', sizeof(bytes) - len - 2);
    check_i64(decode(bytes, len + 2 + ONEOFF_TARGET_SIZE, &got, &is_bad),
              ERR_TOOBIG);
}

static void cut_or_flipped_a_question_breaks_nothing(void **state)
{
    (void)state;
    uint8_t bytes[4096], again[4096];
    struct remote_question q, got, twice;
    bool is_bad;
    unsigned good = 0;
    fill(&q);
    strcpy(q.request.service, "svc");
    size_t len = encode(&q, bytes);
    for (size_t cut = 0; cut < len; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        memcpy(copy, bytes, cut);
        check_true(decode(copy, cut, &got, &is_bad) != 0);
        check_false(is_bad);
        free(copy);
    }
    for (size_t bit = 0; bit < len * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (!decode(bytes, len, &got, &is_bad) && !is_bad) {
            good++;
            check_i64(oneoff_request_check(&got.request, NULL), 0);
            check_i64(decode(again, encode(&got, again), &twice, &is_bad), 0);
            same(&twice, &got);
        }
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    check_true(good > 20);
}

static int verdict(uint8_t state, uint32_t samples, uint32_t missed)
{
    struct remote_verdict v = {state, samples, missed}, got;
    uint8_t bytes[16];
    struct wr w;
    struct rd r;
    wr_init_fixed(&w, bytes, sizeof(bytes));
    remote_write_verdict(&w, &v);
    rd_init(&r, bytes, w.len);
    remote_read_verdict(&r, &got);
    if (rd_end(&r))
        return rd_err(&r);
    check_u64(got.state, state);
    check_u64(got.samples, samples);
    check_u64(got.missed, missed);
    return 0;
}

static void an_executor_can_say_these_ends_only(void **state)
{
    (void)state;
    for (unsigned s = 0; s < 256; s++) {
        bool is_good = s == ONEOFF_DONE || s == ONEOFF_CANCELLED ||
                       s == ONEOFF_DENIED || s == ONEOFF_BUSY ||
                       s == ONEOFF_REFUSED || s == ONEOFF_BAD_TARGET ||
                       s == ONEOFF_FAILED;
        check_i64(verdict((uint8_t)s, 1, 2), is_good ? 0 : ERR_BAD);
    }
    check_i64(verdict(ONEOFF_DONE, ONEOFF_COUNT_MAX, 0), 0);
    check_i64(verdict(ONEOFF_DONE, 0, ONEOFF_COUNT_MAX), 0);
    check_i64(verdict(ONEOFF_DONE, ONEOFF_COUNT_MAX, 1), ERR_BAD);
    check_i64(verdict(ONEOFF_DONE, ONEOFF_COUNT_MAX + 1, 0), ERR_BAD);
    check_i64(verdict(ONEOFF_DONE, 1, UINT32_MAX), ERR_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_has_these_bytes),
        cmocka_unit_test(a_question_comes_back),
        cmocka_unit_test(what_is_above_our_limits_is_told_from_nonsense),
        cmocka_unit_test(no_text_hides_another_behind_a_nul),
        cmocka_unit_test(who_asks_is_printable_and_names_are_as_they_are),
        cmocka_unit_test(longer_texts_are_never_cut),
        cmocka_unit_test(cut_or_flipped_a_question_breaks_nothing),
        cmocka_unit_test(an_executor_can_say_these_ends_only),
    };
    return cmocka_run_group_tests_name("remote_wire", tests, NULL, NULL);
}
