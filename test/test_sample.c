/* The contract of design.md 6, as bytes. */
#include "prober/sample.h"

#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "test/check.h"

/* 2026-01-01T00:00:00Z */
#define NEW_YEAR_S  UINT64_C(1767225600)
#define NEW_YEAR_NS (NEW_YEAR_S * 1000000000u)

static struct sample ok_sample(void)
{
    struct sample s;

    sample_init(&s);
    s.clock = STAMP_KERNEL;
    s.phases_ns[PHASE_DNS] = 812345;
    s.phases_ns[PHASE_CONNECT] = 401200;
    s.phases_ns[PHASE_TLS] = 930100;
    s.phases_ns[PHASE_TTFB] = 420000;
    s.phases_ns[PHASE_TRANSFER] = 0;
    s.phases_ns[PHASE_LOCAL] = 310000;
    s.total_ns = 2873645;
    s.started_unix_ns = NEW_YEAR_NS;
    return s;
}

static void full_sample(struct sample *s)
{
    *s = ok_sample();
    s->server_ns = 52000;
    s->lag_ns = 11000;
    s->start_lag_ns = 9000;
    check_u64(addr_parse(&s->peer, "10.0.0.7:7443"), 0);
    check_u64(addr_parse(&s->local, "10.0.0.5:40312"), 0);
    s->rtt_ns = 400000;
    s->retransmits = 0;
    s->http_status = 200;
    s->http_minor = 1;
    strcpy(s->tls_version, "TLSv1.3");
    strcpy(s->tls_cipher, "TLS_AES_128_GCM_SHA256");
    strcpy(s->tls_alpn, "http/1.1");
    s->tls_not_after_unix_s = NEW_YEAR_S;
    s->tls_cpu_ns = 250000;
}

static const struct sample_names names = {
    .target = "https://host:7443/probe",
    .from_node = "a-1",
    .from_zone = "a",
    .to_node = "b-1",
    .to_zone = "b",
};

static void check_json(const struct sample *s, const struct sample_names *n,
                       const char *want)
{
    static char text[8192];
    struct json j;
    struct wr w;

    sample_check(s);
    wr_init_fixed(&w, text, sizeof text - 1);
    json_init(&j, &w);
    sample_write_json(s, n, &j);
    check_u64(wr_err(&w), 0);
    check_u64(j.depth, 0);
    text[w.len] = '\0';
    check_text(text, want);
}

static void sums_what_is_present(void **state)
{
    (void)state;
    struct sample s;

    sample_init(&s);
    check_i64(sample_sum_ns(&s), 0);
    s.phases_ns[PHASE_TTFB] = 5;
    check_i64(sample_sum_ns(&s), 5);
    s.phases_ns[PHASE_LOCAL] = 0;
    s.phases_ns[PHASE_DNS] = INT64_C(1) << 40;
    check_i64(sample_sum_ns(&s), (INT64_C(1) << 40) + 5);
    s = ok_sample();
    check_i64(sample_sum_ns(&s), 2873645);
}

static void begins_with_all_absent(void **state)
{
    (void)state;
    struct sample s;

    sample_init(&s);
    for (unsigned p = 0; p < PHASE_N; p++)
        check_i64(s.phases_ns[p], SAMPLE_ABSENT);
    check_u64(s.outcome, OUTCOME_OK);
    check_i64(s.failed_phase, -1);
    check_u64(s.target, SAMPLE_TARGET_NONE);
    check_u64(s.job, 0);
    s.outcome = OUTCOME_CONNECT_TIMEOUT;
    sample_check(&s);
}

static void writes_every_field_of_the_contract(void **state)
{
    (void)state;
    struct sample s;

    full_sample(&s);
    check_json(
        &s, &names,
        "{\"target\":\"https://host:7443/probe\",\"protocol\":\"http1\","
        "\"mode\":\"cold\",\"from\":{\"node\":\"a-1\",\"zone\":\"a\"},"
        "\"to\":{\"node\":\"b-1\",\"zone\":\"b\"},"
        "\"address\":\"10.0.0.7:7443\",\"local_address\":\"10.0.0.5:40312\","
        "\"started_at\":\"2026-01-01T00:00:00.000Z\",\"outcome\":\"ok\","
        "\"failed_phase\":null,\"error\":null,\"clock\":\"kernel\","
        "\"phases_ns\":{\"dns\":812345,\"connect\":401200,\"tls\":930100,"
        "\"ttfb\":420000,\"transfer\":0,\"local\":310000},"
        "\"total_ns\":2873645,\"server_ns\":52000,\"lag_ns\":11000,"
        "\"start_lag_ns\":9000,\"tcp\":{\"rtt_ns\":400000,\"retransmits\":0},"
        "\"http\":{\"status\":200,\"version\":\"1.1\"},"
        "\"tls\":{\"version\":\"TLSv1.3\","
        "\"cipher\":\"TLS_AES_128_GCM_SHA256\",\"alpn\":\"http/1.1\","
        "\"not_after\":\"2026-01-01T00:00:00.000Z\",\"cpu_ns\":250000}}");
}

static void says_null_where_there_is_nothing(void **state)
{
    (void)state;
    struct sample s;
    struct sample_names none = {.target = "http://h/"};

    sample_init(&s);
    s.outcome = OUTCOME_DNS_TIMEOUT;
    s.failed_phase = PHASE_DNS;
    s.mode = MODE_WARM;
    s.started_unix_ns = NEW_YEAR_NS + 1999999;
    strcpy(s.error, "no answer \"at\" all");
    check_json(
        &s, &none,
        "{\"target\":\"http://h/\",\"protocol\":\"http1\",\"mode\":\"warm\","
        "\"address\":null,\"local_address\":null,"
        "\"started_at\":\"2026-01-01T00:00:00.001Z\","
        "\"outcome\":\"dns_timeout\",\"failed_phase\":\"dns\","
        "\"error\":\"no answer \\\"at\\\" all\",\"clock\":null,"
        "\"reconnected\":false,"
        "\"phases_ns\":{\"dns\":null,\"connect\":null,\"tls\":null,"
        "\"ttfb\":null,\"transfer\":null,\"local\":null},\"total_ns\":null,"
        "\"server_ns\":null,\"lag_ns\":null,\"start_lag_ns\":null}");
}

static void grpc_is_http_2_with_a_status_of_its_own(void **state)
{
    (void)state;
    struct sample s = ok_sample();
    struct sample_names half = {.target = "grpc://h:1", .to_zone = "b"};

    s.protocol = PROTOCOL_GRPC;
    s.outcome = OUTCOME_GRPC_NOT_SERVING;
    s.total_ns = SAMPLE_ABSENT;
    s.clock = STAMP_USER;
    s.retransmits = 2;
    s.http_status = 200;
    s.grpc_status = 0;
    s.grpc_serving = 2;
    s.phases_ns[PHASE_TLS] = SAMPLE_ABSENT;
    check_json(
        &s, &half,
        "{\"target\":\"grpc://h:1\",\"protocol\":\"grpc\",\"mode\":\"cold\","
        "\"to\":{\"zone\":\"b\"},\"address\":null,\"local_address\":null,"
        "\"started_at\":\"2026-01-01T00:00:00.000Z\","
        "\"outcome\":\"grpc_not_serving\",\"failed_phase\":null,"
        "\"error\":null,\"clock\":\"user\","
        "\"phases_ns\":{\"dns\":812345,\"connect\":401200,\"tls\":null,"
        "\"ttfb\":420000,\"transfer\":0,\"local\":310000},\"total_ns\":null,"
        "\"server_ns\":null,\"lag_ns\":null,\"start_lag_ns\":null,"
        "\"tcp\":{\"rtt_ns\":null,\"retransmits\":2},"
        "\"http\":{\"status\":200,\"version\":\"2\"},"
        "\"grpc\":{\"status\":0,\"serving\":\"NOT_SERVING\"}}");
}

/* A certificate is refused before its session has a version. */
static void shows_the_date_of_a_refused_certificate(void **state)
{
    (void)state;
    static const struct {
        int64_t unix_s;
        const char *text;
    } cases[] = {
        {1, "\"1970-01-01T00:00:01.000Z\""},
        {951782400, "\"2000-02-29T00:00:00.000Z\""},
        {4107542400, "\"2100-03-01T00:00:00.000Z\""},
        {1735689599, "\"2024-12-31T23:59:59.000Z\""},
        {253402300799, "\"9999-12-31T23:59:59.000Z\""},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[4096];
        struct sample s;
        struct json j;
        struct wr w;

        sample_init(&s);
        s.outcome = OUTCOME_TLS_EXPIRED;
        s.failed_phase = PHASE_TLS;
        s.tls_not_after_unix_s = cases[i].unix_s;
        wr_init_fixed(&w, text, sizeof text - 1);
        json_init(&j, &w);
        sample_write_json(&s, &names, &j);
        text[w.len] = '\0';
        char want[160];
        snprintf(want, sizeof want,
                 ",\"tls\":{\"version\":null,\"cipher\":null,\"alpn\":null,"
                 "\"not_after\":%s,\"cpu_ns\":null}}",
                 cases[i].text);
        const char *tls = strstr(text, ",\"tls\":{");
        check_true(tls != NULL);
        check_text(tls, want);
    }
}

static sigjmp_buf aborted;

static void on_abort(int number)
{
    (void)number;
    siglongjmp(aborted, 1);
}

/* Does sample_check() refuse it? */
static bool is_refused(const struct sample *s)
{
    volatile bool was_refused = true;
    void (*before)(int) = signal(SIGABRT, on_abort);

    if (!sigsetjmp(aborted, 1)) {
        sample_check(s);
        was_refused = false;
    }
    signal(SIGABRT, before);
    return was_refused;
}

static void an_ok_sample_adds_up_and_has_no_failure(void **state)
{
    (void)state;
    struct sample s = ok_sample();

    check_false(is_refused(&s));
    s.total_ns++;
    check_true(is_refused(&s));
    s = ok_sample();
    s.failed_phase = PHASE_TLS;
    check_true(is_refused(&s));
    s = ok_sample();
    strcpy(s.error, "x");
    check_true(is_refused(&s));
    s = ok_sample();
    s.total_ns -= s.phases_ns[PHASE_LOCAL];
    s.phases_ns[PHASE_LOCAL] = SAMPLE_ABSENT;
    check_true(is_refused(&s));
    s = ok_sample();
    s.phases_ns[PHASE_DNS] = -2;
    s.total_ns -= 812345;
    check_true(is_refused(&s));
}

static void a_failed_sample_has_no_total(void **state)
{
    (void)state;
    struct sample s = ok_sample();

    s.outcome = OUTCOME_EOF;
    check_true(is_refused(&s));
    s.total_ns = SAMPLE_ABSENT;
    check_false(is_refused(&s));
    s.failed_phase = PHASE_N;
    check_true(is_refused(&s));
    s.failed_phase = -2;
    check_true(is_refused(&s));
    s.failed_phase = PHASE_LOCAL;
    check_false(is_refused(&s));
    memset(s.error, 'e', sizeof s.error);
    check_true(is_refused(&s));
    s.error[0] = '\0';
    s.outcome = OUTCOME_N;
    check_true(is_refused(&s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_what_is_present),
        cmocka_unit_test(begins_with_all_absent),
        cmocka_unit_test(writes_every_field_of_the_contract),
        cmocka_unit_test(says_null_where_there_is_nothing),
        cmocka_unit_test(grpc_is_http_2_with_a_status_of_its_own),
        cmocka_unit_test(an_ok_sample_adds_up_and_has_no_failure),
        cmocka_unit_test(a_failed_sample_has_no_total),
        cmocka_unit_test(shows_the_date_of_a_refused_certificate),
    };
    return cmocka_run_group_tests_name("sample", tests, NULL, NULL);
}
