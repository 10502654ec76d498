/* prober/probe.h - one connection to one target, and the attempts on it, as a
 * pure state machine.
 *
 * It is told what happened (resolved, connected, bytes arrived, stamps) and
 * says what it wants (resolve, connect, send, close, report); it never
 * touches a socket or a clock. A cold probe makes one attempt and closes; a
 * warm one keeps the connection and makes an attempt on it whenever the host
 * begins one.
 *
 * Time. An attempt alternates between waiting for the other side and being
 * busy ourselves. A wait lasts from the stamp of the last byte that we sent
 * to the stamp of the bytes that answer it, whenever they were read:
 *
 *   begin |local| dns |local| connect |local| tls .. |local| ttfb | transfer
 *
 * local is what is left of the total, so the six add up exactly. Stamps are
 * the kernel's; where one is missing the host's own clock stands in, and the
 * sample says so. The late-read rule follows from it: an answer counts as in
 * time if its stamp is, even when it is read after the deadline; and an
 * attempt whose time went by in our own hands is local_starved, not a
 * timeout of the network.
 *
 *   IDLE -begin-> RESOLVE -> CONNECT -> TLS -> (READY) -> WAIT -> READY|IDLE
 *
 * One thread. No allocation of its own except TLS and HTTP/2 sessions and,
 * rarely, bytes that the socket did not take at once.
 */
#ifndef PROBER_PROBE_H
#define PROBER_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/sample.h"
#include "prober/target.h"
#include "proto/base/stamp.h"
#include "proto/h2.h"
#include "proto/http1.h"
#include "proto/tls.h"

#define PROBE_BODY_MAX 65536 /* response bytes read, then http_too_large */

enum probe_state {
    PROBE_IDLE,    /* no connection */
    PROBE_RESOLVE, /* waiting for the resolver */
    PROBE_CONNECT, /* waiting for the SYN-ACK */
    PROBE_TLS,     /* handshake */
    PROBE_READY,   /* connected, no attempt running (warm) */
    PROBE_WAIT,    /* request sent or being sent */
};

/* What the host is to do next; a set of bits. */
enum probe_want {
    WANT_RESOLVE = 1, /* target->url.host, then probe_on_resolved() */
    WANT_CONNECT = 2, /* probe_peer(), then probe_on_connecting() */
    WANT_SEND = 4,    /* probe_out(), then probe_on_sent() */
    WANT_CLOSE = 8,   /* close the socket */
    WANT_REPORT = 16, /* take run->sample, then probe_reported() */
};

/* What an attempt needs while it runs; lent by the host at probe_begin() and
 * given back at probe_reported(), so that idle connections stay small. */
struct probe_run {
    struct sample sample;
    uint64_t timeout_ns;
    uint64_t begin_ns; /* of what is measured: after set-up, if there is any */
    uint64_t deadline_ns;
    uint64_t now_unix_s;
    struct stamp first; /* first byte of the response arrived */
    struct stamp last;  /* latest byte that we were waiting for */
    bool is_setup;      /* warm: the connection is being made first */
    char message[SAMPLE_ERROR_SIZE]; /* what gRPC says, decoded */
    struct http1 http1;
};

struct probe {
    const struct target *target;
    uint8_t protocol, mode;
    uint8_t state;
    uint8_t wants;
    bool is_eof; /* the peer closed its side */
    struct tls *tls;
    struct h2_client *h2;
    struct probe_run *run; /* NULL: no attempt */
    struct addr peer;

    uint64_t sent_bytes;     /* stream offset behind the last byte sent */
    uint64_t flight_end;     /* offset behind the flight that is waited on */
    struct stamp flight_snd; /* when its last byte left */
    uint64_t wait_from_ns;   /* user clock: when the present wait began */

    const uint8_t *out; /* plain text to be sent, NULL: ask TLS */
    size_t out_len;
    uint8_t *spill; /* owned; NULL, or what `out` points into */
};

/* `target` must outlive the probe. */
void probe_init(struct probe *p, const struct target *target, uint8_t protocol,
                uint8_t mode);

/* Drop the sessions. The socket is the host's to close. An attempt that runs
 * is forgotten: use probe_cancel() first to have it reported. */
void probe_fini(struct probe *p);

struct probe_start {
    uint64_t now_ns;      /* monotonic */
    uint64_t intended_ns; /* when it should have begun, 0: now */
    uint64_t now_unix_ns; /* wall time, a label and for certificates */
    uint64_t timeout_ns;
};

/* Begin an attempt in state IDLE or READY. `run` is lent, its sample is
 * initialised here (the host sets target, job, ... afterwards). */
void probe_begin(struct probe *p, struct probe_run *run,
                 const struct probe_start *start);

/* What to do now. After each action or event, ask again. */
static inline unsigned probe_wants(const struct probe *p)
{
    return p->wants;
}

struct probe_resolved {
    uint8_t outcome; /* OUTCOME_OK or a dns outcome */
    /* All that were found, at least one if OK, borrowed during the call; their
     * ports are ignored. The first is dialled, if target->dial allows each. */
    const struct addr *addresses;
    size_t n_addresses;
    struct stamp sent;     /* the first query left */
    struct stamp answered; /* the completing answer arrived */
    const char *error;     /* for people, NULL if none */
};
void probe_on_resolving(struct probe *p, uint64_t now_ns);
void probe_on_resolved(struct probe *p, const struct probe_resolved *r,
                       uint64_t now_ns);

/* The address to connect to. */
const struct addr *probe_peer(const struct probe *p);
/* connect() is about to be called; `now_ns` was read just before. */
void probe_on_connecting(struct probe *p, uint64_t now_ns);

struct probe_connected {
    uint32_t rtt_us; /* TCP_INFO */
    uint32_t retransmits;
    uint32_t last_ack_ms;
    struct addr local;
};
void probe_on_connected(struct probe *p, const struct probe_connected *c,
                        uint64_t now_ns);

/* Bytes to send; *is_timed: the stamp of their leaving is wanted. */
const uint8_t *probe_out(const struct probe *p, size_t *len, bool *is_timed);
/* `n` of them were taken by the socket; `now_ns` was read just before. */
void probe_on_sent(struct probe *p, size_t n, uint64_t now_ns);

/* The byte at stream offset `offset` (modulo 2^32) left. */
void probe_on_tx(struct probe *p, uint32_t offset, struct stamp at);

/* Is the stamp of the flight that we wait on still missing? */
bool probe_needs_tx(const struct probe *p);

/* Bytes arrived at `at` (source NONE: no kernel stamp) and are read now. */
void probe_on_bytes(struct probe *p, const uint8_t *data, size_t len,
                    struct stamp at, uint64_t now_ns);
void probe_on_eof(struct probe *p, uint64_t now_ns);
/* `error` is a positive errno from connect, send or receive. */
void probe_on_error(struct probe *p, int error, uint64_t now_ns);

/* The deadline has passed, and the host has read the socket once more since,
 * found it empty, and (while connecting) not connected. */
void probe_on_deadline(struct probe *p, uint64_t now_ns);

/* End the attempt as `outcome` (cancelled, local_resource). */
void probe_cancel(struct probe *p, enum probe_outcome outcome,
                  const char *error);

/* The sample was taken; the run goes back to the host. */
struct probe_run *probe_reported(struct probe *p);
/* The socket was closed, as wanted. */
void probe_closed(struct probe *p);

#endif /* PROBER_PROBE_H */
