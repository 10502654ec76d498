/* test/fake_host.h - a host for struct probe that lives in memory.
 *
 * Time stands still unless the test moves it. What the probe wants is done at
 * once; what happens to it is said by the test, with stamps of its choice.
 * Both are written down as text, one line each, so that a whole attempt can
 * be compared with a golden trace:
 *
 *     [       0us] connect 10.0.0.1:80
 *     [   20100us] connected rtt=20000us
 *     [   20100us] send 91 timed
 *
 * The other side is real: TLS, HTTP/2 or HTTP/1.1 and the responder, all in
 * memory. fake_run() lets both talk until the attempt ends.
 */
#ifndef TEST_FAKE_HOST_H
#define TEST_FAKE_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/probe.h"
#include "prober/responder.h"
#include "proto/base/buf.h"
#include "proto/base/rng.h"

#define US           1000ull
#define MS           1000000ull
#define SEC          1000000000ull
#define FAKE_UNIX_S  1800000000ull /* 2027-01-15, when every attempt begins */
#define FAKE_NONE    UINT64_MAX    /* no kernel stamp */
#define FAKE_TOOK_NS 52000         /* what the server says it spent */

enum fake_version { FAKE_TLS13, FAKE_TLS12, FAKE_TLS13_RETRY };

/* The peer. */
struct fake_server {
    struct tls_context *context; /* NULL: plain text */
    struct tls *tls;
    bool is_h2;
    bool closes; /* HTTP/1.1: answers Connection: close */
    struct responder_facts facts;
    struct http1 http1;
    struct h2_server *h2;
    struct wr answer; /* what it has said and the probe has not heard */
};

struct fake_host {
    struct probe probe;
    struct probe_run run;
    struct fake_server server;
    uint64_t now_ns;

    /* What names resolve to; NULL: 10.0.0.7. */
    const struct addr *answers;
    size_t n_answers;

    /* How the machine behaves. */
    size_t take_max; /* bytes a socket takes at once, 0: any number */
    bool is_stuck;   /* the socket takes nothing (EAGAIN) */
    bool has_no_tx;  /* transmit stamps are missing */
    bool is_tx_held; /* they come when the test says so */
    bool are_reports_held;
    uint64_t tx_delay_ns; /* from send() until the bytes leave */
    uint64_t tx_ns;       /* the latest TX stamp made, */
    uint32_t tx_offset;   /* and the byte it is for, */
    uint32_t sent_bytes;  /* of so many on this connection */

    /* What was seen. */
    struct sample sample; /* of the latest report */
    unsigned begun, reports, closes, connects, sends;
    bool is_open;    /* there is a socket */
    struct wr wire;  /* bytes that left and the server has not read */
    struct wr trace; /* text */
    uint8_t wire_bytes[16384], answer_bytes[81920];
    char trace_bytes[8192];
};

void fake_init(struct fake_host *h, const struct target *target,
               enum probe_protocol protocol, enum probe_mode mode);
void fake_fini(struct fake_host *h);

/* Give the peer TLS; `context` is borrowed. */
void fake_serve_tls(struct fake_host *h, struct tls_context *context);

/* The trace since the last call, NUL-terminated, borrowed until then. */
const char *fake_trace(struct fake_host *h);

/* Do what the probe wants, until it wants nothing. All below end with it. */
void fake_step(struct fake_host *h);

void fake_at(struct fake_host *h, uint64_t us); /* move the time only */
void fake_begin(struct fake_host *h, uint64_t timeout_ns);
void fake_resolved(struct fake_host *h, uint64_t sent_ns, uint64_t answered_ns);
void fake_unresolved(struct fake_host *h, enum probe_outcome outcome);
void fake_connected(struct fake_host *h, uint32_t rtt_us);
void fake_bytes(struct fake_host *h, const void *data, size_t len,
                uint64_t at_ns);
void fake_text(struct fake_host *h, const char *text, uint64_t at_ns);
void fake_tx(struct fake_host *h); /* the stamp that was held */
void fake_eof(struct fake_host *h);
void fake_error(struct fake_host *h, int error);
void fake_deadline(struct fake_host *h);
void fake_cancel(struct fake_host *h);

/* The peer reads what has left and thinks up its answer. */
void fake_serve(struct fake_host *h);
/* At most `n` bytes of its answer arrive. Returns how many did. */
size_t fake_hear(struct fake_host *h, size_t n, uint64_t at_ns);

/* How a talk goes that fake_run() holds. */
struct fake_talk {
    uint64_t dns_ns, rtt_ns;
    uint64_t busy_ns; /* how late we read what has arrived */
    size_t piece;     /* arriving bytes per read, 0: all at once */
    size_t cut;       /* so many bytes are heard, 0: all; and then: */
    int cut_error;    /* this errno, or 0: the end of the stream */
    size_t flip;      /* 1-based byte heard with its bits turned, 0: none */
    struct rng *rng;  /* dice for pieces and delays instead, or NULL */
};
/* Begin an attempt, and run until it is reported. Returns how many bytes of
 * the peer's were heard. */
size_t fake_run(struct fake_host *h, const struct fake_talk *talk);

#endif /* TEST_FAKE_HOST_H */
