/* The messages of the control port: bytes by hand, then every cut and bit.
 * test/system/check_protoc.py holds them against protoc. */
#include "prober/control_pb.h"

#include <string.h>

#include "proto/base/rng.h"
#include "proto/json.h"
#include "proto/pb.h"
#include "test/check.h"
#include "test/fake_inquiry.h"

#define MS         UINT64_C(1000000)
#define literal(s) span_of((s), sizeof(s) - 1)

static int read_ask(struct span message, struct inquiry_ask *ask,
                    struct errmsg *msg)
{
    struct control_pb_request r;
    *ask = (struct inquiry_ask){0};
    *msg = (struct errmsg){""};
    check_i64(control_pb_read_request(message, &r), 0);
    return control_pb_ask(&r, ask, msg);
}

static const char full[] = "\x0a\x03"
                           "b-1"
                           "\x12\x04grpc"
                           "\x1a\x04warm"
                           "\x22\x06zone:b"
                           "\x28\x02"
                           "\x30\x64"
                           "\x38\xf4\x03"
                           "\x40\xe8\x07"
                           "\x4a\x06"
                           "health";

static void every_field_has_its_place(void **state)
{
    (void)state;
    struct inquiry_ask ask;
    struct errmsg msg;
    check_i64(read_ask(literal(full), &ask, &msg), 0);
    check_text(ask.request.target, "b-1");
    check_false(ask.request.is_auto);
    check_u64(ask.request.protocol, PROTOCOL_GRPC);
    check_u64(ask.request.mode, MODE_WARM);
    check_u64(ask.from.kind, FROM_ZONE);
    check_text(ask.from.name, "b");
    check_u64(ask.per_zone, 2);
    check_u64(ask.request.count, 100);
    check_u64(ask.request.interval_ns, 500 * MS);
    check_u64(ask.request.timeout_ns, 1000 * MS);
    check_text(ask.request.service, "health");
}

static void what_is_left_out_is_filled_in(void **state)
{
    (void)state;
    struct inquiry_ask ask;
    struct errmsg msg;
    check_i64(read_ask(literal(""), &ask, &msg), 0);
    check_text(ask.request.target, "");
    check_true(ask.request.is_auto);
    check_u64(ask.request.mode, MODE_COLD);
    check_u64(ask.from.kind, FROM_SELF);
    check_u64(ask.per_zone, 1);
    check_u64(ask.request.count, 1);
    check_u64(ask.request.interval_ns, 1000 * MS);
    check_u64(ask.request.timeout_ns, 5000 * MS);
    check_i64(read_ask(literal("\x12\x04"
                               "auto\x1a\x04"
                               "cold"),
                       &ask, &msg),
              0);
    check_true(ask.request.is_auto);
    check_i64(read_ask(literal("\x12\x05http1"), &ask, &msg), 0);
    check_false(ask.request.is_auto);
    check_u64(ask.request.protocol, PROTOCOL_HTTP1);
}

static void the_rules_of_proto3_hold(void **state)
{
    (void)state;
    struct inquiry_ask ask;
    struct errmsg msg;
    /* The last one counts; a wrong wire type and an unknown number do not. */
    check_i64(read_ask(literal("\x0a\1a\x0a\1b\x08\5\xa2\x06\1c"), &ask, &msg),
              0);
    check_text(ask.request.target, "b");
    check_i64(read_ask(literal("\x30\5\x32\1x\x30\7"), &ask, &msg), 0);
    check_u64(ask.request.count, 7);
    /* A varint of 64 bits loses what does not fit. */
    check_i64(read_ask(literal("\x30\x83\x80\x80\x80\x10"), &ask, &msg), 0);
    check_u64(ask.request.count, 3);
    check_i64(read_ask(literal("\x38\xff\xff\xff\xff\x0f"), &ask, &msg), 0);
    check_u64(ask.request.interval_ns, UINT64_C(4294967295) * MS);
}

static void nonsense_is_refused_by_its_name(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *msg;
    } cases[] = {
        {"\x12\x05http2", 7, "protocol: has to be http1, grpc or auto"},
        {"\x12\x05grpc\0", 7, "protocol: has to be http1, grpc or auto"},
        {"\x1a\x03hot", 5, "mode: has to be cold or warm"},
        {"\x0a\x03"
         "a\0b",
         5, "target: a NUL in it"},
        {"\x4a\1\0", 3, "service: a NUL in it"},
        {"\x22\x05zone:", 7,
         "from: has to be self, all-zones, zone:NAME or the name of a node"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct inquiry_ask ask;
        struct errmsg msg;
        check_i64(read_ask(span_of(cases[i].bytes, cases[i].len), &ask, &msg),
                  ERR_BAD);
        check_text(msg.text, cases[i].msg);
    }
}

/* A text of `len` bytes in field `number`: what comes of it. */
static int read_long(uint32_t number, size_t len, struct errmsg *msg)
{
    static uint8_t text[4096], bytes[5000];
    struct inquiry_ask ask;
    struct wr w;
    memset(text, 'a', sizeof(text));
    wr_init_fixed(&w, bytes, sizeof(bytes));
    pb_write_bytes(&w, number, text, len);
    return read_ask(span_of(bytes, w.len), &ask, msg);
}

static void long_texts_are_refused_not_cut(void **state)
{
    (void)state;
    struct errmsg msg;
    check_i64(read_long(1, ONEOFF_TARGET_SIZE - 1, &msg), 0);
    check_i64(read_long(1, ONEOFF_TARGET_SIZE, &msg), ERR_BAD);
    check_i64(read_long(9, ONEOFF_SERVICE_SIZE - 1, &msg), 0);
    check_i64(read_long(9, ONEOFF_SERVICE_SIZE, &msg), ERR_BAD);
    check_text(msg.text, "service: longer than 128 bytes");
    check_i64(read_long(4, 128, &msg), 0);
    check_i64(read_long(4, 129, &msg), ERR_BAD);
    check_i64(read_long(4, 4000, &msg), ERR_BAD);
}

static void texts_have_to_be_utf8(void **state)
{
    (void)state;
    struct control_pb_request r;
    check_i64(control_pb_read_request(literal("\x0a\2\xc3\xa9"), &r), 0);
    check_i64(control_pb_read_request(literal("\x0a\1\xc3"), &r), ERR_BAD);
    check_i64(control_pb_read_request(literal("\x0a\2\xc0\x80"), &r), ERR_BAD);
    check_i64(control_pb_read_request(literal("\x4a\3\xed\xa0\x80"), &r),
              ERR_BAD);
    /* Of fields that we do not know only the length matters. */
    check_i64(control_pb_read_request(literal("\x52\1\xff"), &r), 0);
}

static void a_failure_leaves_the_output_alone(void **state)
{
    (void)state;
    struct control_pb_request r = {.count = 77};
    check_i64(control_pb_read_request(literal("\x30\5\x0a\x05"), &r),
              ERR_TRUNC);
    check_u64(r.count, 77);
    check_i64(control_pb_read_request(literal("\x30\5\x0b"), &r), ERR_BAD);
    check_u64(r.count, 77);
}

static void every_cut_is_read_or_refused(void **state)
{
    (void)state;
    for (size_t len = 0; len < sizeof(full); len++) {
        struct control_pb_request r;
        int err = control_pb_read_request(span_of(full, len), &r);
        check_true(err == 0 || err == ERR_TRUNC);
    }
}

/* Whatever comes: an answer, and one that is within bounds. */
static void every_bit_may_be_flipped(void **state)
{
    (void)state;
    for (size_t bit = 0; bit < 8 * (sizeof(full) - 1); bit++) {
        uint8_t bytes[sizeof(full)];
        struct control_pb_request r;
        struct inquiry_ask ask = {0};
        struct errmsg msg;
        memcpy(bytes, full, sizeof(full));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        if (control_pb_read_request(span_of(bytes, sizeof(full) - 1), &r) ||
            control_pb_ask(&r, &ask, &msg))
            continue;
        check_true(ask.request.protocol < PROTOCOL_N);
        check_true(ask.request.mode < MODE_N);
        check_true(ask.per_zone > 0);
        check_true(ask.request.count > 0);
    }
}

/* ---- writing ---- */

/* The fields of the one part of an event. Returns how many. */
static size_t read_event(const struct inquiry_event *e, uint32_t number,
                         struct wr *w, struct pb_field *fields, size_t max)
{
    struct rd r;
    struct pb_field part;
    wr_init_grow(w, CONTROL_PB_EVENT_MAX);
    control_pb_write_event(w, e);
    check_i64(wr_err(w), 0);
    rd_init(&r, w->data, w->len);
    check_true(pb_next(&r, &part));
    check_u64(part.number, number);
    check_u64(part.type, PB_BYTES);
    check_i64(rd_end(&r), 0);

    size_t n = 0;
    rd_init(&r, part.data, part.len);
    while (n < max && pb_next(&r, &fields[n]))
        n++;
    check_i64(rd_err(&r), 0);
    return n;
}

static const struct pb_field *find(const struct pb_field *f, size_t n,
                                   uint32_t number)
{
    for (size_t i = 0; i < n; i++) {
        if (f[i].number == number)
            return &f[i];
    }
    return NULL;
}

static void check_field_text(const struct pb_field *f, const char *text)
{
    check_true(f != NULL && f->type == PB_BYTES);
    check_true(span_is(span_of(f->data, f->len), text));
}

static void a_failed_sample_leaves_out_what_is_absent(void **state)
{
    (void)state;
    struct inquiry_event e = {.kind = INQUIRY_SAMPLE};
    struct pb_field f[40];
    struct wr w;
    sample_init(&e.sample);
    e.sample.outcome = OUTCOME_CONNECT_REFUSED;
    e.sample.failed_phase = PHASE_CONNECT;
    e.names.target = "http://x/";
    size_t n = read_event(&e, 1, &w, f, 40);
    check_field_text(find(f, n, 5), "http://x/");
    check_field_text(find(f, n, 11), "connect_refused");
    check_field_text(find(f, n, 12), "connect");
    check_u64(find(f, n, 15)->len, 0); /* no phases at all */
    static const uint32_t absent[] = {1,  2,  3,  4,  8,  9,  13, 14,
                                      16, 17, 18, 19, 20, 21, 22, 23,
                                      24, 25, 26, 27, 28, 29, 30};
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        check_true(find(f, n, absent[i]) == NULL);
    wr_fini(&w);
}

static void zero_is_a_value_where_absence_is_one(void **state)
{
    (void)state;
    struct inquiry_event e = {.kind = INQUIRY_SAMPLE};
    struct pb_field f[40];
    struct wr w;
    fake_sample(&e.sample, 0);
    e.sample.mode = MODE_WARM;
    e.sample.server_ns = 0;
    e.names.target = "x";
    size_t n = read_event(&e, 1, &w, f, 40);
    static const uint32_t zero[] = {17, 21, 30};
    for (size_t i = 0; i < 3; i++) {
        check_true(find(f, n, zero[i]) != NULL);
        check_u64(find(f, n, zero[i])->value, 0);
    }
    check_field_text(find(f, n, 8), "127.0.0.7:7443");
    check_field_text(find(f, n, 10), "2026-01-01T00:00:00.000Z");
    check_field_text(find(f, n, 14), "kernel");
    check_field_text(find(f, n, 28), "1.1");
    check_u64(find(f, n, 16)->value, 4 * MS);
    const struct pb_field *phases = find(f, n, 15);
    struct rd r;
    struct pb_field p;
    rd_init(&r, phases->data, phases->len);
    check_true(pb_next(&r, &p) && p.number == 1 && p.value == 0);
    check_true(pb_next(&r, &p) && p.number == 2 && p.value == 4 * MS);
    check_true(pb_next(&r, &p) && p.number == 6 && p.value == 0);
    check_false(pb_next(&r, &p));
    wr_fini(&w);
}

static void texts_of_others_are_cleaned(void **state)
{
    (void)state;
    struct inquiry_event e = {.kind = INQUIRY_SAMPLE};
    struct pb_field f[40];
    struct wr w;
    fake_sample(&e.sample, 0);
    e.names.target = "x";
    e.names.to_zone = "b\xff\n";
    size_t n = read_event(&e, 1, &w, f, 40);
    check_field_text(find(f, n, 4), "b\xef\xbf\xbd\xef\xbf\xbd");
    wr_fini(&w);
}

static void an_executor_has_its_quantiles(void **state)
{
    (void)state;
    struct inquiry_executor x = {
        .node = "b-1", .zone = "b", .state = ONEOFF_UNREACHABLE, .missed = 3};
    struct inquiry_event e = {.kind = INQUIRY_EXECUTOR, .executor = &x};
    struct pb_field f[40];
    struct wr w;
    for (uint64_t i = 1; i <= 4; i++)
        check_i64(hist_add(&x.series[PHASE_TLS], i * 1000), 0);
    x.baseline[PHASE_TLS] = (struct inquiry_phase){9, 1, 2, 3, 4};
    size_t n = read_event(&e, 2, &w, f, 40);
    check_field_text(find(f, n, 1), "b-1");
    check_field_text(find(f, n, 2), "b");
    check_field_text(find(f, n, 3), "unreachable");
    check_true(find(f, n, 4) == NULL && find(f, n, 5) == NULL);
    check_u64(find(f, n, 6)->value, 3);
    check_true(find(f, n, 8) == NULL && find(f, n, 9) == NULL);
    const struct pb_field *entry = find(f, n, 7);
    check_true(entry->len > 7 && !memcmp(entry->data, "\x0a\3tls\x12", 6));
    wr_fini(&w);

    x.has_baseline = true;
    x.baseline_s = 900;
    n = read_event(&e, 2, &w, f, 40);
    entry = find(f, n, 8);
    check_true(span_equal(span_of(entry->data, entry->len),
                          literal("\x0a\3tls\x12\x0a\x08\x09\x10\1\x18\2"
                                  "\x20\3\x28\4")));
    check_u64(find(f, n, 9)->value, 900);
    hist_fini(&x.series[PHASE_TLS]);
    wr_fini(&w);
}

static void a_summary_names_what_occurred(void **state)
{
    (void)state;
    struct inquiry_executor x[2] = {{.node = "a"}, {.node = "b"}};
    struct inquiry_summary s = {
        .id = "0123",
        .target = "t",
        .protocol = PROTOCOL_GRPC,
        .mode = MODE_WARM,
        .is_cancelled = true,
        .attempts = 5,
        .ok = 3,
        .failed = 2,
        .n_executors = 2,
        .executors = x,
    };
    struct inquiry_event e = {.kind = INQUIRY_SUMMARY, .summary = &s};
    struct pb_field f[40];
    struct wr w;
    s.outcomes[OUTCOME_OK] = 3;
    s.outcomes[OUTCOME_EOF] = 2;
    size_t n = read_event(&e, 3, &w, f, 40);
    check_u64(n, 12);
    check_field_text(find(f, n, 1), "0123");
    check_u64(find(f, n, 3)->value, 5);
    check_u64(find(f, n, 4)->value, 3);
    check_u64(find(f, n, 5)->value, 2);
    check_u64(find(f, n, 6)->value, 1);
    check_field_text(&f[6], "\x0a\2ok\x10\3");
    check_field_text(&f[7], "\x0a\3"
                            "eof\x10\2");
    check_u64(f[8].number, 8);
    check_u64(f[9].number, 8);
    check_field_text(&f[10], "grpc");
    check_field_text(&f[11], "warm");
    wr_fini(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_has_its_place),
        cmocka_unit_test(what_is_left_out_is_filled_in),
        cmocka_unit_test(the_rules_of_proto3_hold),
        cmocka_unit_test(nonsense_is_refused_by_its_name),
        cmocka_unit_test(long_texts_are_refused_not_cut),
        cmocka_unit_test(texts_have_to_be_utf8),
        cmocka_unit_test(a_failure_leaves_the_output_alone),
        cmocka_unit_test(every_cut_is_read_or_refused),
        cmocka_unit_test(every_bit_may_be_flipped),
        cmocka_unit_test(a_failed_sample_leaves_out_what_is_absent),
        cmocka_unit_test(zero_is_a_value_where_absence_is_one),
        cmocka_unit_test(texts_of_others_are_cleaned),
        cmocka_unit_test(an_executor_has_its_quantiles),
        cmocka_unit_test(a_summary_names_what_occurred),
    };
    return cmocka_run_group_tests_name("control_pb", tests, NULL, NULL);
}
