#include "prober/sample.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proto/grpc.h"

void sample_init(struct sample *s)
{
    *s = (struct sample){
        .target = SAMPLE_TARGET_NONE,
        .outcome = OUTCOME_OK,
        .failed_phase = -1,
        .clock = STAMP_NONE,
        .total_ns = SAMPLE_ABSENT,
        .server_ns = SAMPLE_ABSENT,
        .lag_ns = SAMPLE_ABSENT,
        .start_lag_ns = SAMPLE_ABSENT,
        .rtt_ns = SAMPLE_ABSENT,
        .retransmits = -1,
        .http_status = -1,
        .grpc_status = -1,
        .grpc_serving = -1,
        .tls_cpu_ns = SAMPLE_ABSENT,
    };
    for (unsigned p = 0; p < PHASE_N; p++)
        s->phases_ns[p] = SAMPLE_ABSENT;
}

int64_t sample_sum_ns(const struct sample *s)
{
    int64_t sum_ns = 0;

    for (unsigned p = 0; p < PHASE_N; p++) {
        if (s->phases_ns[p] >= 0) {
            bool overflows =
                __builtin_add_overflow(sum_ns, s->phases_ns[p], &sum_ns);
            assert(!overflows);
        }
    }
    return sum_ns;
}

static void check_text(const char *text, size_t size)
{
    assert(memchr(text, '\0', size));
}

static void check_ok(const struct sample *s)
{
    assert(s->failed_phase == -1);
    assert(s->error[0] == '\0');
    assert(s->phases_ns[PHASE_LOCAL] >= 0);
    assert(s->total_ns >= 0);
    assert(sample_sum_ns(s) == s->total_ns);
}

void sample_check(const struct sample *s)
{
    assert(s->protocol < PROTOCOL_N);
    assert(s->mode < MODE_N);
    assert(s->outcome < OUTCOME_N);
    assert(s->clock <= STAMP_KERNEL);
    assert(s->failed_phase >= -1);
    assert(s->failed_phase < (int)PHASE_N);
    for (unsigned p = 0; p < PHASE_N; p++)
        assert(s->phases_ns[p] >= SAMPLE_ABSENT);
    check_text(s->error, sizeof s->error);
    check_text(s->tls_version, sizeof s->tls_version);
    check_text(s->tls_cipher, sizeof s->tls_cipher);
    check_text(s->tls_alpn, sizeof s->tls_alpn);

    if (s->outcome == OUTCOME_OK)
        check_ok(s);
    else
        assert(s->total_ns == SAMPLE_ABSENT);
}

static void key_ns(struct json *j, const char *key, int64_t ns)
{
    if (ns < 0)
        json_key_null(j, key);
    else
        json_key_i64(j, key, ns);
}

static void key_addr(struct json *j, const char *key, const struct addr *a)
{
    char text[ADDR_TEXT_SIZE];

    if (a->family == ADDR_NONE)
        json_key_null(j, key);
    else
        json_key_text(j, key, addr_format(a, text));
}

static void write_end(struct json *j, const char *key, const char *node,
                      const char *zone)
{
    if (!node && !zone)
        return;
    json_key(j, key);
    json_object_begin(j);
    if (node)
        json_key_text(j, "node", node);
    if (zone)
        json_key_text(j, "zone", zone);
    json_object_end(j);
}

static const char *clock_name(uint8_t clock)
{
    switch ((enum stamp_source)clock) {
    case STAMP_USER:
        return "user";
    case STAMP_KERNEL:
        return "kernel";
    case STAMP_NONE:
        break;
    }
    return NULL;
}

static void write_identity(const struct sample *s,
                           const struct sample_names *names, struct json *j)
{
    json_key_text(j, "target", names->target);
    json_key_text(j, "protocol", protocol_name(s->protocol));
    json_key_text(j, "mode", mode_name(s->mode));
    write_end(j, "from", names->from_node, names->from_zone);
    write_end(j, "to", names->to_node, names->to_zone);
    key_addr(j, "address", &s->peer);
    key_addr(j, "local_address", &s->local);
    json_key_time(j, "started_at", s->started_unix_ns);
}

static void write_verdict(const struct sample *s, struct json *j)
{
    json_key_text(j, "outcome", outcome_name(s->outcome));
    json_key_text(j, "failed_phase",
                  s->failed_phase < 0 ? NULL
                                      : series_name((unsigned)s->failed_phase));
    json_key_text(j, "error", s->error[0] ? s->error : NULL);
    json_key_text(j, "clock", clock_name(s->clock));
    /* Only a warm attempt can have found its connection gone. */
    if (s->mode == MODE_WARM)
        json_key_bool(j, "reconnected", s->is_reconnected);
}

static void write_times(const struct sample *s, struct json *j)
{
    json_key(j, "phases_ns");
    json_object_begin(j);
    for (unsigned p = 0; p < PHASE_N; p++)
        key_ns(j, series_name(p), s->phases_ns[p]);
    json_object_end(j);
    key_ns(j, "total_ns", s->total_ns);
    key_ns(j, "server_ns", s->server_ns);
    key_ns(j, "lag_ns", s->lag_ns);
    key_ns(j, "start_lag_ns", s->start_lag_ns);
}

static void write_tcp(const struct sample *s, struct json *j)
{
    if (s->rtt_ns < 0 && s->retransmits < 0)
        return;
    json_key(j, "tcp");
    json_object_begin(j);
    key_ns(j, "rtt_ns", s->rtt_ns);
    key_ns(j, "retransmits", s->retransmits);
    json_object_end(j);
}

static void write_http(const struct sample *s, struct json *j)
{
    if (s->http_status < 0)
        return;
    json_key(j, "http");
    json_object_begin(j);
    json_key_i64(j, "status", s->http_status);
    json_key_text(j, "version",
                  s->protocol == PROTOCOL_GRPC ? "2"
                  : s->http_minor              ? "1.1"
                                               : "1.0");
    json_object_end(j);
}

static void write_grpc(const struct sample *s, struct json *j)
{
    if (s->grpc_status < 0 && s->grpc_serving < 0)
        return;
    json_key(j, "grpc");
    json_object_begin(j);
    key_ns(j, "status", s->grpc_status);
    json_key_text(j, "serving",
                  s->grpc_serving < 0 ? NULL
                                      : grpc_serving_name(s->grpc_serving));
    json_object_end(j);
}

static void key_text_or_null(struct json *j, const char *key, const char *text)
{
    json_key_text(j, key, text[0] ? text : NULL);
}

#define YEAR_10000_UNIX_S INT64_C(253402300800)

/* Certificates "without end" expire in 9999, which nanoseconds since 1970 in
 * 64 bits cannot say; hence not json_time(). Proleptic Gregorian calendar,
 * counted in years that begin in March. */
static void key_date(struct json *j, const char *key, int64_t unix_s)
{
    char text[40];

    if (unix_s <= 0 || unix_s >= YEAR_10000_UNIX_S) {
        json_key_null(j, key);
        return;
    }
    unsigned days = (unsigned)(unix_s / 86400) + 719468; /* since 0000-03-01 */
    unsigned of_day = (unsigned)(unix_s % 86400);
    unsigned era_days = days % 146097;
    unsigned year =
        (era_days - era_days / 1460 + era_days / 36524 - era_days / 146096) /
        365;
    unsigned of_year = era_days - (365 * year + year / 4 - year / 100);
    unsigned month = (5 * of_year + 2) / 153; /* 0: March */
    unsigned day = of_year - (153 * month + 2) / 5 + 1;

    year += days / 146097 * 400 + (month >= 10);
    snprintf(text, sizeof text, "%04u-%02u-%02uT%02u:%02u:%02u.000Z", year,
             month < 10 ? month + 3 : month - 9, day, of_day / 3600,
             of_day / 60 % 60, of_day % 60);
    json_key_text(j, key, text);
}

/* A refused certificate is known before a version is: its date explains the
 * refusal, so the object appears as soon as any of its facts is there. */
static void write_tls(const struct sample *s, struct json *j)
{
    if (!s->tls_version[0] && s->tls_not_after_unix_s <= 0)
        return;
    json_key(j, "tls");
    json_object_begin(j);
    key_text_or_null(j, "version", s->tls_version);
    key_text_or_null(j, "cipher", s->tls_cipher);
    key_text_or_null(j, "alpn", s->tls_alpn);
    key_date(j, "not_after", s->tls_not_after_unix_s);
    key_ns(j, "cpu_ns", s->tls_cpu_ns);
    json_object_end(j);
}

void sample_write_json(const struct sample *s, const struct sample_names *names,
                       struct json *j)
{
    json_object_begin(j);
    write_identity(s, names, j);
    write_verdict(s, j);
    write_times(s, j);
    write_tcp(s, j);
    write_http(s, j);
    write_grpc(s, j);
    write_tls(s, j);
    json_object_end(j);
}
