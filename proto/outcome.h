/* proto/outcome.h - the closed lists of the domain: protocol, mode, phase,
 * outcome. Shared by the probe engine, frames, API and metrics.
 *
 * The numbers travel in frames: append, never renumber.
 */
#ifndef PROTO_OUTCOME_H
#define PROTO_OUTCOME_H

#include <stdbool.h>

enum probe_protocol { PROTOCOL_HTTP1, PROTOCOL_GRPC, PROTOCOL_N };
enum probe_mode { MODE_COLD, MODE_WARM, MODE_N };

/* In the order in which they happen. */
enum probe_phase {
    PHASE_DNS,
    PHASE_CONNECT,
    PHASE_TLS,
    PHASE_TTFB,
    PHASE_TRANSFER,
    PHASE_LOCAL, /* the rest: ours */
    PHASE_N,
};

/* What a cell keeps histograms of: the phases, then these two. */
enum { SERIES_TOTAL = PHASE_N, SERIES_SERVER, SERIES_N };

enum probe_outcome {
    OUTCOME_OK,
    OUTCOME_DNS_NXDOMAIN,
    OUTCOME_DNS_SERVFAIL,
    OUTCOME_DNS_TIMEOUT,
    OUTCOME_DNS_ERROR,
    OUTCOME_CONNECT_REFUSED,
    OUTCOME_CONNECT_UNREACHABLE,
    OUTCOME_CONNECT_TIMEOUT,
    OUTCOME_CONNECT_RESET,
    OUTCOME_TLS_UNTRUSTED,
    OUTCOME_TLS_EXPIRED,
    OUTCOME_TLS_NAME_MISMATCH,
    OUTCOME_TLS_ALERT,
    OUTCOME_TLS_ALPN,
    OUTCOME_TLS_TIMEOUT,
    OUTCOME_TLS_ERROR,
    OUTCOME_HTTP_STATUS,
    OUTCOME_HTTP_MALFORMED,
    OUTCOME_HTTP_TOO_LARGE,
    OUTCOME_GRPC_STATUS,
    OUTCOME_GRPC_NOT_SERVING,
    OUTCOME_GRPC_MALFORMED,
    OUTCOME_H2_GOAWAY,
    OUTCOME_H2_RESET,
    OUTCOME_H2_ERROR,
    OUTCOME_RESET,
    OUTCOME_EOF,
    OUTCOME_RESPONSE_TIMEOUT,
    OUTCOME_LOCAL_RESOURCE, /* these three are not the network's fault */
    OUTCOME_LOCAL_STARVED,
    OUTCOME_CANCELLED,
    OUTCOME_N,
};

const char *protocol_name(enum probe_protocol p); /* "http1", "grpc" */
const char *mode_name(enum probe_mode m);         /* "cold", "warm" */
const char *series_name(unsigned series);       /* "dns" .. "total", "server" */
const char *outcome_name(enum probe_outcome o); /* "connect_timeout", ... */

/* The reverse of the names; -1 if there is no such name. */
int protocol_parse(const char *text);
int mode_parse(const char *text);
int series_parse(const char *text);
int outcome_parse(const char *text);

/* local_resource, local_starved, cancelled: counted apart from failures. */
bool outcome_is_local(enum probe_outcome o);

#endif /* PROTO_OUTCOME_H */
