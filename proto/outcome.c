#include "proto/outcome.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

static const char *const protocols[] = {"http1", "grpc"};
static const char *const modes[] = {"cold", "warm"};
static const char *const series[] = {"dns",      "connect", "tls",   "ttfb",
                                     "transfer", "local",   "total", "server"};
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

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
_Static_assert(COUNT(protocols) == PROTOCOL_N, "one name per protocol");
_Static_assert(COUNT(modes) == MODE_N, "one name per mode");
_Static_assert(COUNT(series) == SERIES_N, "one name per series");
_Static_assert(COUNT(outcomes) == OUTCOME_N, "one name per outcome");

const char *protocol_name(enum probe_protocol p)
{
    assert(p < PROTOCOL_N);
    return protocols[p];
}

const char *mode_name(enum probe_mode m)
{
    assert(m < MODE_N);
    return modes[m];
}

const char *series_name(unsigned s)
{
    assert(s < SERIES_N);
    return series[s];
}

const char *outcome_name(enum probe_outcome o)
{
    assert(o < OUTCOME_N);
    return outcomes[o];
}

static int find(const char *const *names, size_t n, const char *text)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(names[i], text))
            return (int)i;
    }
    return -1;
}

int protocol_parse(const char *text)
{
    return find(protocols, COUNT(protocols), text);
}

int mode_parse(const char *text)
{
    return find(modes, COUNT(modes), text);
}

int series_parse(const char *text)
{
    return find(series, COUNT(series), text);
}

int outcome_parse(const char *text)
{
    return find(outcomes, COUNT(outcomes), text);
}

bool outcome_is_local(enum probe_outcome o)
{
    return o == OUTCOME_LOCAL_RESOURCE || o == OUTCOME_LOCAL_STARVED ||
           o == OUTCOME_CANCELLED;
}
