/* prober/sample.h - the numbers of one attempt, plain data of fixed size.
 *
 * dns + connect + tls + ttfb + transfer + local = total, exactly, in integer
 * nanoseconds, for every sample whose outcome is ok (sample_check asserts
 * it). A phase that did not run is absent (-1), never 0. A failed attempt
 * keeps the phases that it completed and names the one it ended in.
 */
#ifndef PROBER_SAMPLE_H
#define PROBER_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/addr.h"
#include "proto/base/stamp.h"
#include "proto/json.h"
#include "proto/outcome.h"

#define SAMPLE_ABSENT      INT64_C(-1)
#define SAMPLE_ERROR_SIZE  96
#define SAMPLE_TARGET_NONE UINT32_MAX

struct sample {
    uint32_t target;     /* index into the plane's target list */
    uint32_t target_gen; /* generation of that list */
    uint32_t job;        /* one-off request it belongs to, 0: scheduled */
    uint8_t protocol, mode, outcome; /* proto/outcome.h */
    int8_t failed_phase;             /* enum probe_phase, -1: none */
    uint8_t clock;       /* enum stamp_source: the worst edge used */
    bool is_reconnected; /* warm: a new connection was made for it */
    int64_t phases_ns[PHASE_N];
    int64_t total_ns;     /* absent when the attempt failed */
    int64_t server_ns;    /* what the responder says it spent */
    int64_t lag_ns;       /* longest wait of its bytes for us */
    int64_t start_lag_ns; /* how late it began */
    uint64_t started_unix_ns;
    struct addr peer, local; /* ADDR_NONE: not known */
    int64_t rtt_ns;          /* TCP_INFO, absent if none */
    int32_t retransmits;     /* TCP_INFO, -1 if none */
    int16_t http_status;     /* -1 if none */
    uint8_t http_minor;      /* HTTP/1.x */
    int16_t grpc_status;     /* -1 if none */
    int8_t grpc_serving;     /* -1 if none */
    char tls_version[8];     /* "" : no TLS, or not that far */
    char tls_cipher[32];
    char tls_alpn[12];
    int64_t tls_not_after_unix_s; /* 0: unknown */
    int64_t tls_cpu_ns; /* own CPU time inside the handshake, or absent */
    char error[SAMPLE_ERROR_SIZE]; /* one line for people, "" if ok */
};

/* All absent, outcome ok. */
void sample_init(struct sample *s);

/* Assert the invariants above. */
void sample_check(const struct sample *s);

/* Sum of the phases that are present. */
int64_t sample_sum_ns(const struct sample *s);

/* The names that a sample carries only as an index. Any may be NULL. */
struct sample_names {
    const char *target;                /* URL */
    const char *from_node, *from_zone; /* NULL: no "from" object */
    const char *to_node, *to_zone;
};

/* Write the object of design.md 6 (docs/api.md): {"target":...,...}. */
void sample_write_json(const struct sample *s, const struct sample_names *names,
                       struct json *j);

#endif /* PROBER_SAMPLE_H */
