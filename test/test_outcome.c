/* The numbers travel in frames and the names in JSON and metrics: both are
 * contracts, so they are written down here once more. */
#include "proto/outcome.h"

#include <string.h>

#include "test/check.h"

static const char *const outcomes[] = {
    "ok",
    "dns_nxdomain",
    "dns_servfail",
    "dns_timeout",
    "dns_error",
    "connect_refused",
    "connect_unreachable",
    "connect_timeout",
    "connect_reset",
    "tls_untrusted",
    "tls_expired",
    "tls_name_mismatch",
    "tls_alert",
    "tls_alpn",
    "tls_timeout",
    "tls_error",
    "http_status",
    "http_malformed",
    "http_too_large",
    "grpc_status",
    "grpc_not_serving",
    "grpc_malformed",
    "h2_goaway",
    "h2_reset",
    "h2_error",
    "reset",
    "eof",
    "response_timeout",
    "local_resource",
    "local_starved",
    "cancelled",
};

static const char *const series[] = {"dns",      "connect", "tls",   "ttfb",
                                     "transfer", "local",   "total", "server"};

static void outcomes_keep_number_and_name(void **state)
{
    (void)state;
    check_u64(OUTCOME_N, sizeof(outcomes) / sizeof(outcomes[0]));
    for (int i = 0; i < OUTCOME_N; i++) {
        check_text(outcome_name((enum probe_outcome)i), outcomes[i]);
        check_i64(outcome_parse(outcomes[i]), i);
    }
    /* a few by their own names, so that both lists cannot shift together */
    check_text(outcome_name(OUTCOME_OK), "ok");
    check_text(outcome_name(OUTCOME_CONNECT_TIMEOUT), "connect_timeout");
    check_text(outcome_name(OUTCOME_TLS_NAME_MISMATCH), "tls_name_mismatch");
    check_text(outcome_name(OUTCOME_H2_GOAWAY), "h2_goaway");
    check_text(outcome_name(OUTCOME_CANCELLED), "cancelled");
}

static void series_are_phases_then_total_and_server(void **state)
{
    (void)state;
    check_u64(SERIES_N, 8);
    for (unsigned i = 0; i < SERIES_N; i++) {
        check_text(series_name(i), series[i]);
        check_i64(series_parse(series[i]), i);
    }
    check_text(series_name(PHASE_TTFB), "ttfb");
    check_text(series_name(PHASE_LOCAL), "local");
    check_text(series_name(SERIES_TOTAL), "total");
    check_text(series_name(SERIES_SERVER), "server");
}

static void protocols_and_modes_keep_number_and_name(void **state)
{
    (void)state;
    check_u64(PROTOCOL_N, 2);
    check_u64(MODE_N, 2);
    check_text(protocol_name(PROTOCOL_HTTP1), "http1");
    check_text(protocol_name(PROTOCOL_GRPC), "grpc");
    check_text(mode_name(MODE_COLD), "cold");
    check_text(mode_name(MODE_WARM), "warm");
    check_i64(protocol_parse("http1"), PROTOCOL_HTTP1);
    check_i64(protocol_parse("grpc"), PROTOCOL_GRPC);
    check_i64(mode_parse("cold"), MODE_COLD);
    check_i64(mode_parse("warm"), MODE_WARM);
}

static void other_names_are_unknown(void **state)
{
    (void)state;
    static const char *const names[] = {"",      "OK",   "ok ",    "o",
                                        "http2", "Cold", "warm\n", "totals"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        check_i64(outcome_parse(names[i]), -1);
        check_i64(series_parse(names[i]), -1);
        check_i64(protocol_parse(names[i]), -1);
        check_i64(mode_parse(names[i]), -1);
    }
}

static void three_outcomes_are_our_own(void **state)
{
    (void)state;
    for (int i = 0; i < OUTCOME_N; i++)
        check_u64(outcome_is_local((enum probe_outcome)i),
                  !strncmp(outcomes[i], "local_", 6) ||
                      !strcmp(outcomes[i], "cancelled"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outcomes_keep_number_and_name),
        cmocka_unit_test(series_are_phases_then_total_and_server),
        cmocka_unit_test(protocols_and_modes_keep_number_and_name),
        cmocka_unit_test(other_names_are_unknown),
        cmocka_unit_test(three_outcomes_are_our_own),
    };
    return cmocka_run_group_tests_name("outcome", tests, NULL, NULL);
}
