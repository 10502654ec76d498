#include "prober/probe.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/probe_private.h"

/* The jiffy of the slowest usual kernel (HZ=250), twice: below that
 * tcpi_last_ack_recv tells nothing. */
#define LAST_ACK_GRAIN_MS 8

/* How far kernel stamps and our own clock may disagree. */
#define STAMP_SLACK_NS 200000

#define NS_PER_MS 1000000u

static void check(const struct probe *p)
{
    assert(p->target);
    assert(p->state != PROBE_WAIT || p->run);
    assert(p->state != PROBE_READY || !p->run || (p->wants & WANT_REPORT));
}

void probe_init(struct probe *p, const struct target *target, uint8_t protocol,
                uint8_t mode)
{
    *p = (struct probe){.target = target, .protocol = protocol, .mode = mode};
}

static void drop_sessions(struct probe *p)
{
    tls_close(p->tls);
    h2_client_close(p->h2);
    free(p->spill);
    p->tls = NULL;
    p->h2 = NULL;
    p->spill = NULL;
    p->out = NULL;
    p->out_len = 0;
    p->wants &= (uint8_t)~WANT_SEND;
}

void probe_fini(struct probe *p)
{
    drop_sessions(p);
    p->run = NULL;
    p->state = PROBE_IDLE;
    p->wants = 0;
}

/* ---- ending ---- */

static bool has_socket(const struct probe *p)
{
    return p->state >= PROBE_CONNECT;
}

static void close_connection(struct probe *p)
{
    if (has_socket(p))
        p->wants |= WANT_CLOSE;
    drop_sessions(p);
    p->state = PROBE_IDLE;
}

static void note_tls(const struct probe *p, struct sample *s)
{
    if (!p->tls)
        return;
    snprintf(s->tls_version, sizeof(s->tls_version), "%s", tls_version(p->tls));
    snprintf(s->tls_cipher, sizeof(s->tls_cipher), "%s", tls_cipher(p->tls));
    snprintf(s->tls_alpn, sizeof(s->tls_alpn), "%s", tls_alpn(p->tls));
    s->tls_not_after_unix_s = tls_not_after_unix_s(p->tls);
    uint64_t cpu_ns = tls_cpu_ns(p->tls);
    if (cpu_ns && !(p->mode == MODE_WARM && !s->is_reconnected))
        s->tls_cpu_ns = (int64_t)cpu_ns;
}

/* The running attempt ends as `outcome` in `phase`. `is_kept`: the connection
 * stays for the next one. */
static void finish(struct probe *p, uint8_t outcome, int phase, bool is_kept,
                   const char *error)
{
    struct sample *s = &p->run->sample;
    s->outcome = outcome;
    s->failed_phase = outcome == OUTCOME_OK ? -1 : (int8_t)phase;
    if (error)
        snprintf(s->error, sizeof(s->error), "%s", error);
    note_tls(p, s);

    if (outcome == OUTCOME_OK) {
        int64_t waits_ns = sample_sum_ns(s);
        int64_t total_ns = (int64_t)(p->run->last.ns - p->run->begin_ns);
        /* Waits lie inside [begin, last] and do not overlap, but where the
         * user clock stood in for a stamp its edges are loose. */
        if (total_ns < waits_ns)
            total_ns = waits_ns;
        s->total_ns = total_ns;
        s->phases_ns[PHASE_LOCAL] = total_ns - waits_ns;
    }
    p->wants &= (uint8_t) ~(WANT_RESOLVE | WANT_CONNECT);
    p->wants |= WANT_REPORT;
    if (is_kept)
        p->state = PROBE_READY;
    else
        close_connection(p);
}

static int phase_now(const struct probe *p)
{
    switch ((enum probe_state)p->state) {
    case PROBE_RESOLVE:
        return PHASE_DNS;
    case PROBE_IDLE: /* resolved, about to connect */
    case PROBE_CONNECT:
        return PHASE_CONNECT;
    case PROBE_TLS:
        return PHASE_TLS;
    case PROBE_READY:
    case PROBE_WAIT:
        break;
    }
    return p->run->first.source == STAMP_NONE ? PHASE_TTFB : PHASE_TRANSFER;
}

static void fail(struct probe *p, uint8_t outcome, const char *error)
{
    finish(p, outcome, phase_now(p), false, error);
}

static bool is_running(const struct probe *p)
{
    return p->run && !(p->wants & WANT_REPORT);
}

/* ---- waits ---- */

/* When what we wait on left: the kernel's word, or else our own. */
static struct stamp flight_left(const struct probe *p)
{
    if (p->flight_snd.source == STAMP_KERNEL)
        return p->flight_snd;
    return (struct stamp){.ns = p->wait_from_ns, .source = STAMP_USER};
}

/* Length of a wait, noting in the sample whose clock it was. */
static int64_t span_ns(struct probe *p, struct stamp from, struct stamp to)
{
    struct sample *s = &p->run->sample;
    if (from.source < s->clock)
        s->clock = (uint8_t)from.source;
    if (to.source < s->clock)
        s->clock = (uint8_t)to.source;
    return to.ns > from.ns ? (int64_t)(to.ns - from.ns) : 0;
}

static void add_phase(struct probe *p, int phase, int64_t ns)
{
    int64_t *slot = &p->run->sample.phases_ns[phase];
    *slot = *slot == SAMPLE_ABSENT ? ns : *slot + ns;
}

static bool is_late(const struct probe *p, uint64_t ns)
{
    return ns > p->run->deadline_ns;
}

/* The deadline is past while we wait (or should have sent long ago). */
static void time_out(struct probe *p)
{
    static const uint8_t outcomes[] = {
        [PROBE_RESOLVE] = OUTCOME_DNS_TIMEOUT,
        [PROBE_CONNECT] = OUTCOME_CONNECT_TIMEOUT,
        [PROBE_TLS] = OUTCOME_TLS_TIMEOUT,
        [PROBE_WAIT] = OUTCOME_RESPONSE_TIMEOUT,
    };
    const struct probe_run *run = p->run;
    assert(p->state != PROBE_IDLE && p->state != PROBE_READY);

    /* Time up to the present wait that was not spent waiting was ours. If
     * that was most of it, the other side had no fair chance. */
    uint64_t waited_ns = (uint64_t)sample_sum_ns(&run->sample);
    uint64_t passed_ns =
        p->wait_from_ns > run->begin_ns ? p->wait_from_ns - run->begin_ns : 0;
    uint64_t own_ns = passed_ns > waited_ns ? passed_ns - waited_ns : 0;
    if (own_ns > run->timeout_ns / 2)
        fail(p, OUTCOME_LOCAL_STARVED, "the prober was starved of CPU");
    else
        fail(p, outcomes[p->state], NULL);
}

/* About to send, or to begin the next step: is there time left for it? */
static bool is_starved(struct probe *p, uint64_t now_ns)
{
    if (!is_late(p, now_ns))
        return false;
    fail(p, OUTCOME_LOCAL_STARVED,
         "the answer was in time, the prober too late to go on");
    return true;
}

/* ---- output ---- */

/* Have sent what waits. Returns how much that is. */
static size_t want_send(struct probe *p)
{
    size_t len;
    bool is_timed;
    (void)probe_out(p, &len, &is_timed);
    if (len)
        p->wants |= WANT_SEND;
    return len;
}

/* All that waits to be sent is a new flight: its answer is what we wait on. */
static void begin_flight(struct probe *p)
{
    p->flight_snd = (struct stamp){0};
    p->flight_end = p->sent_bytes + want_send(p);
}

/* Bytes borrowed from the HTTP/2 session do not outlive the next call on it:
 * what the socket did not take until then is copied. (A request of HTTP/1.1
 * is the target's, which stays.) False: no memory. */
static bool keep_output(struct probe *p)
{
    if (!p->h2 || p->out_len == 0 || p->spill)
        return true;
    p->spill = malloc(p->out_len);
    if (!p->spill)
        return false;
    memcpy(p->spill, p->out, p->out_len);
    p->out = p->spill;
    return true;
}

bool probe_put(struct probe *p, const uint8_t *data, size_t len)
{
    if (p->tls)
        return !tls_write(p->tls, data, len);
    if (p->out_len == 0) {
        p->out = data;
        p->out_len = len;
        return true;
    }
    /* Something waits already: keep both in memory of our own. */
    uint8_t *both = malloc(p->out_len + len);
    if (!both)
        return false;
    memcpy(both, p->out, p->out_len);
    memcpy(both + p->out_len, data, len);
    free(p->spill);
    p->spill = both;
    p->out = both;
    p->out_len += len;
    return true;
}

const uint8_t *probe_out(const struct probe *p, size_t *len, bool *is_timed)
{
    const uint8_t *data = p->out;
    *len = p->out_len;
    if (p->tls)
        data = tls_out(p->tls, len);
    *is_timed = is_running(p) && p->flight_end == p->sent_bytes + *len;
    return data;
}

void probe_on_sent(struct probe *p, size_t n, uint64_t now_ns)
{
    /* Housekeeping behind the flight moves no wait. */
    if (p->sent_bytes < p->flight_end)
        p->wait_from_ns = now_ns;
    p->sent_bytes += n;
    if (p->tls) {
        size_t left;
        tls_sent(p->tls, n);
        (void)tls_out(p->tls, &left);
        if (left == 0)
            p->wants &= (uint8_t)~WANT_SEND;
        return;
    }
    assert(n <= p->out_len);
    p->out += n;
    p->out_len -= n;
    if (p->out_len == 0) {
        free(p->spill);
        p->out = p->spill = NULL;
        p->wants &= (uint8_t)~WANT_SEND;
    }
}

void probe_on_tx(struct probe *p, uint32_t offset, struct stamp at)
{
    if (!p->run || (uint32_t)(p->flight_end - 1) != offset ||
        at.source != STAMP_KERNEL)
        return;
    if (p->flight_snd.source == STAMP_NONE) /* sent again, stamped again */
        p->flight_snd = at;
}

bool probe_needs_tx(const struct probe *p)
{
    return is_running(p) && p->flight_end && p->flight_snd.source == STAMP_NONE;
}

/* ---- the steps ---- */

/* Connected (and through TLS): make the request. */
static void request(struct probe *p, uint64_t now_ns)
{
    struct probe_run *run = p->run;
    if (run->is_setup) {
        /* The connection of a warm probe is made outside of what it
         * measures; the attempt proper begins now. */
        run->is_setup = false;
        run->begin_ns = now_ns;
        run->deadline_ns = now_ns + run->timeout_ns;
        for (int i = 0; i < PHASE_N; i++)
            run->sample.phases_ns[i] = SAMPLE_ABSENT;
        run->sample.clock = STAMP_KERNEL;
        run->sample.is_reconnected = true;
    }
    p->state = PROBE_WAIT;
    p->wait_from_ns = now_ns;
    bool ok = keep_output(p) &&
              (p->protocol == PROTOCOL_GRPC ? probe_grpc_request(p)
                                            : probe_http_request(p));
    if (ok)
        begin_flight(p);
    else
        fail(p, OUTCOME_LOCAL_RESOURCE, "cannot make the request");
}

/* Whoever may not be dialled is not: no connection was begun yet. */
static bool may_dial(const struct probe *p, const struct addr *a)
{
    const struct target_dial *dial = &p->target->dial;
    struct addr with_port = *a;
    with_port.port = p->target->port;
    return !dial->may_dial || dial->may_dial(dial->arg, &with_port);
}

void probe_begin(struct probe *p, struct probe_run *run,
                 const struct probe_start *start)
{
    assert(!p->run);
    assert(p->state == PROBE_IDLE || p->state == PROBE_READY);
    p->run = run;
    run->timeout_ns = start->timeout_ns;
    run->begin_ns = start->now_ns;
    run->deadline_ns = start->now_ns + start->timeout_ns;
    run->now_unix_s = start->now_unix_ns / 1000000000u;
    run->first = run->last = (struct stamp){0};
    run->is_setup = p->mode == MODE_WARM && p->state == PROBE_IDLE;

    struct sample *s = &run->sample;
    sample_init(s);
    s->protocol = p->protocol;
    s->mode = p->mode;
    s->clock = STAMP_KERNEL;
    s->started_unix_ns = start->now_unix_ns;
    s->start_lag_ns = start->intended_ns && start->now_ns > start->intended_ns
                          ? (int64_t)(start->now_ns - start->intended_ns)
                          : 0;

    p->wait_from_ns = start->now_ns;
    if (p->state == PROBE_READY) {
        request(p, start->now_ns);
        return;
    }
    p->is_eof = false;
    p->sent_bytes = p->flight_end = 0;
    if (p->target->address.family) {
        p->peer = p->target->address;
        p->state = PROBE_IDLE;
        if (may_dial(p, &p->peer))
            p->wants |= WANT_CONNECT;
        else
            fail(p, OUTCOME_LOCAL_RESOURCE, TARGET_DENIAL);
    } else {
        p->peer = (struct addr){0};
        p->state = PROBE_RESOLVE;
        p->wants |= WANT_RESOLVE;
    }
}

void probe_on_resolving(struct probe *p, uint64_t now_ns)
{
    p->wants &= (uint8_t)~WANT_RESOLVE;
    p->wait_from_ns = now_ns;
}

/* One address that is not allowed makes all of them suspect: who can put it
 * into an answer can put it first the next time. */
static bool may_dial_all(const struct probe *p, const struct probe_resolved *r)
{
    for (size_t i = 0; i < r->n_addresses; i++) {
        if (!may_dial(p, &r->addresses[i]))
            return false;
    }
    return true;
}

void probe_on_resolved(struct probe *p, const struct probe_resolved *r,
                       uint64_t now_ns)
{
    if (!is_running(p) || p->state != PROBE_RESOLVE)
        return;
    struct stamp sent = r->sent;
    struct stamp answered = r->answered;
    if (r->outcome != OUTCOME_OK) {
        fail(p, r->outcome, r->error);
        return;
    }
    /* A stamp from before the question was asked is another question's. */
    if (sent.source == STAMP_NONE || sent.ns + STAMP_SLACK_NS < p->wait_from_ns)
        sent = (struct stamp){.ns = p->wait_from_ns, .source = STAMP_USER};
    if (answered.source == STAMP_NONE)
        answered = (struct stamp){.ns = now_ns, .source = STAMP_USER};
    if (is_late(p, answered.ns)) {
        time_out(p);
        return;
    }
    add_phase(p, PHASE_DNS, span_ns(p, sent, answered));
    if (is_starved(p, now_ns))
        return;
    assert(r->n_addresses > 0);
    if (!may_dial_all(p, r)) {
        fail(p, OUTCOME_DNS_ERROR, TARGET_DENIAL);
        return;
    }
    p->peer = r->addresses[0];
    p->peer.port = p->target->port;
    p->state = PROBE_IDLE;
    p->wants |= WANT_CONNECT;
}

const struct addr *probe_peer(const struct probe *p)
{
    return &p->peer;
}

void probe_on_connecting(struct probe *p, uint64_t now_ns)
{
    assert(p->wants & WANT_CONNECT);
    p->wants &= (uint8_t)~WANT_CONNECT;
    p->state = PROBE_CONNECT;
    p->wait_from_ns = now_ns;
    p->run->sample.peer = p->peer;
}

/* The round trip of the handshake. With a resent SYN the kernel's figure is
 * not that of the wait; the clock around connect() is, minus the time since
 * the SYN-ACK came in if that shows that we are late. */
static int64_t connect_ns(struct probe *p, const struct probe_connected *c,
                          uint64_t now_ns)
{
    int64_t around_ns = (int64_t)(now_ns - p->wait_from_ns);
    if (c->retransmits == 0 && c->rtt_us) {
        int64_t rtt_ns = (int64_t)c->rtt_us * 1000;
        return rtt_ns < around_ns ? rtt_ns : around_ns;
    }
    p->run->sample.clock = STAMP_USER;
    int64_t since_ns = (int64_t)c->last_ack_ms * NS_PER_MS;
    if (c->last_ack_ms >= LAST_ACK_GRAIN_MS && since_ns < around_ns)
        return around_ns - since_ns;
    return around_ns;
}

static void begin_tls(struct probe *p, uint64_t now_ns)
{
    const struct target *t = p->target;
    bool is_grpc = p->protocol == PROTOCOL_GRPC;
    struct tls_client_params params = {
        .host = t->host,
        .fingerprint = t->has_fingerprint ? t->fingerprint : NULL,
        .alpn = is_grpc ? "h2" : "http/1.1",
        .requires_alpn = is_grpc,
        .now_unix_s = p->run->now_unix_s,
    };
    p->state = PROBE_TLS;
    p->wait_from_ns = now_ns;
    p->tls = tls_connect(t->tls, &params);
    if (!p->tls || tls_handshake(p->tls) != TLS_HANDSHAKE) {
        fail(p, OUTCOME_LOCAL_RESOURCE, "cannot begin the TLS handshake");
        return;
    }
    begin_flight(p);
}

void probe_on_connected(struct probe *p, const struct probe_connected *c,
                        uint64_t now_ns)
{
    if (!is_running(p) || p->state != PROBE_CONNECT)
        return;
    struct sample *s = &p->run->sample;
    s->local = c->local;
    s->rtt_ns = (int64_t)c->rtt_us * 1000;
    s->retransmits = (int32_t)c->retransmits;

    int64_t ns = connect_ns(p, c, now_ns);
    if (is_late(p, p->wait_from_ns + (uint64_t)ns)) {
        time_out(p);
        return;
    }
    add_phase(p, PHASE_CONNECT, ns);
    if (is_starved(p, now_ns))
        return;
    if (p->target->tls)
        begin_tls(p, now_ns);
    else
        request(p, now_ns);
}

/* ---- what arrives ---- */

static uint8_t outcome_of_tls(enum tls_failure failure)
{
    switch (failure) {
    case TLS_FAIL_UNTRUSTED:
        return OUTCOME_TLS_UNTRUSTED;
    case TLS_FAIL_EXPIRED:
        return OUTCOME_TLS_EXPIRED;
    case TLS_FAIL_NAME_MISMATCH:
        return OUTCOME_TLS_NAME_MISMATCH;
    case TLS_FAIL_ALERT:
        return OUTCOME_TLS_ALERT;
    case TLS_FAIL_ALPN:
        return OUTCOME_TLS_ALPN;
    case TLS_FAIL_MEMORY:
        return OUTCOME_LOCAL_RESOURCE;
    case TLS_FAIL_NONE:
    case TLS_FAIL_PROTOCOL:
        break;
    }
    return OUTCOME_TLS_ERROR;
}

/* The response is complete, or as complete as it will get. */
static void end_response(struct probe *p, const struct probe_verdict *v)
{
    struct probe_run *run = p->run;
    if (v->is_whole)
        add_phase(p, PHASE_TRANSFER, span_ns(p, run->first, run->last));
    finish(p, v->outcome, phase_now(p), v->is_kept, v->error);
}

/* Is an answer that begins to arrive at `at` one to our request? Not if the
 * last byte of that has not left yet. */
static bool was_asked(const struct probe *p, struct stamp at)
{
    if (p->sent_bytes < p->flight_end)
        return false;
    return at.source != STAMP_KERNEL || p->flight_snd.source != STAMP_KERNEL ||
           at.ns >= p->flight_snd.ns;
}

/* HTTP/2 in the middle of a response, or of a request on a held connection:
 * the peer may wait for our WINDOW_UPDATE, or we for its, with a part of the
 * request still to be sent. On a young connection there is only the
 * acknowledgement of its SETTINGS, which is not worth a packet. */
static void keep_talking(struct probe *p)
{
    const struct probe_run *run = p->run;
    bool is_young = p->mode == MODE_COLD || run->sample.is_reconnected;
    if (p->protocol != PROTOCOL_GRPC ||
        (is_young && run->first.source == STAMP_NONE))
        return;
    if (probe_put_h2(p))
        (void)want_send(p);
    else
        fail(p, OUTCOME_LOCAL_RESOURCE, "cannot answer the peer");
}

/* Application bytes while an attempt waits for its response. */
static void on_response(struct probe *p, const uint8_t *data, size_t len,
                        struct stamp at)
{
    struct probe_run *run = p->run;
    struct probe_verdict v = p->protocol == PROTOCOL_GRPC
                                 ? probe_grpc_feed(p, data, len)
                                 : probe_http_feed(p, data, len);
    if (v.is_begun) {
        if (!was_asked(p, at)) {
            fail(p,
                 p->protocol == PROTOCOL_GRPC ? OUTCOME_H2_ERROR
                                              : OUTCOME_HTTP_MALFORMED,
                 "answered before it was asked");
            return;
        }
        run->first = at;
        add_phase(p, PHASE_TTFB, span_ns(p, flight_left(p), at));
    }
    if (run->first.source != STAMP_NONE)
        run->last = at;
    if (!v.is_done) {
        keep_talking(p);
        return;
    }
    end_response(p, &v);
    if (p->state != PROBE_READY || p->protocol != PROTOCOL_GRPC)
        return;
    /* On a kept connection the peer's SETTINGS and PINGs are answered now; a
     * cold one is closed anyway. */
    if (probe_put_h2(p))
        begin_flight(p);
    else
        close_connection(p);
}

/* Bytes on an idle connection: HTTP/2 housekeeping; HTTP/1.1 has nothing to
 * say unasked. */
static void on_idle_bytes(struct probe *p, const uint8_t *data, size_t len)
{
    if (p->protocol == PROTOCOL_HTTP1) {
        close_connection(p);
        return;
    }
    (void)h2_client_feed(p->h2, data, len);
    if (!h2_client_is_usable(p->h2) || !probe_put_h2(p))
        close_connection(p);
    else
        begin_flight(p);
}

static void on_plain_bytes(struct probe *p, const uint8_t *data, size_t len,
                           struct stamp at)
{
    if (!keep_output(p)) {
        if (is_running(p))
            fail(p, OUTCOME_LOCAL_RESOURCE, "out of memory");
        else
            close_connection(p);
        return;
    }
    if (is_running(p) && p->state == PROBE_WAIT)
        on_response(p, data, len, at);
    else if (p->state == PROBE_READY)
        on_idle_bytes(p, data, len);
}

static void on_handshake(struct probe *p, struct stamp at, uint64_t now_ns)
{
    enum tls_state state = tls_handshake(p->tls);
    size_t len;
    (void)tls_out(p->tls, &len);

    if (state == TLS_FAILED || state == TLS_CLOSED) {
        fail(p, outcome_of_tls(tls_failure(p->tls)), tls_error(p->tls));
        return;
    }
    if (state == TLS_HANDSHAKE && len == 0)
        return; /* a part of the flight; go on waiting */
    add_phase(p, PHASE_TLS, span_ns(p, flight_left(p), at));
    if (is_starved(p, now_ns))
        return;
    if (state == TLS_OPEN)
        request(p, now_ns);
    else
        begin_flight(p);
}

/* Decrypt what is there and pass it on, until TLS wants more. */
static void on_records(struct probe *p, struct stamp at)
{
    uint8_t plain[4096];
    while (p->tls) {
        int n = tls_read(p->tls, plain, sizeof(plain));
        if (n == 0)
            return;
        if (n > 0) {
            on_plain_bytes(p, plain, (size_t)n, at);
        } else if (n == ERR_CLOSED) {
            p->is_eof = true;
            return;
        } else {
            if (is_running(p) && p->state == PROBE_WAIT)
                fail(p, outcome_of_tls(tls_failure(p->tls)), tls_error(p->tls));
            else
                close_connection(p);
            return;
        }
    }
}

/* The peer said that nothing more will come. */
static void on_end(struct probe *p, bool is_clean)
{
    if (p->state == PROBE_READY) {
        close_connection(p);
        return;
    }
    if (!is_running(p))
        return;
    if (p->state != PROBE_WAIT || p->protocol == PROTOCOL_GRPC) {
        fail(p, OUTCOME_EOF, "the peer closed the connection");
        return;
    }
    struct probe_verdict v = probe_http_eof(p, is_clean);
    if (!v.is_whole && !v.error)
        v.error = "the peer closed the connection";
    end_response(p, &v);
}

void probe_on_bytes(struct probe *p, const uint8_t *data, size_t len,
                    struct stamp at, uint64_t now_ns)
{
    check(p);
    if (at.source == STAMP_NONE)
        at = (struct stamp){.ns = now_ns, .source = STAMP_USER};
    if (is_running(p)) {
        struct sample *s = &p->run->sample;
        int64_t lag_ns = now_ns > at.ns ? (int64_t)(now_ns - at.ns) : 0;
        if (lag_ns > s->lag_ns)
            s->lag_ns = lag_ns;
        if (is_late(p, at.ns)) {
            time_out(p);
            return;
        }
    }
    if (!p->tls) {
        on_plain_bytes(p, data, len, at);
        return;
    }
    tls_feed(p->tls, data, len);
    if (p->state == PROBE_TLS && is_running(p))
        on_handshake(p, at, now_ns);
    if (p->tls && (p->state == PROBE_WAIT || p->state == PROBE_READY))
        on_records(p, at);
    if (p->is_eof && p->tls)
        on_end(p, true);
}

void probe_on_eof(struct probe *p, uint64_t now_ns)
{
    (void)now_ns;
    p->is_eof = true;
    on_end(p, !p->tls);
}

static uint8_t outcome_of_errno(const struct probe *p, int error)
{
    bool is_connecting = p->state == PROBE_CONNECT;
    switch (error) {
    case ECONNREFUSED:
        return is_connecting ? OUTCOME_CONNECT_REFUSED : OUTCOME_RESET;
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENETDOWN:
    case EHOSTDOWN:
    case ENOPROTOOPT:
        return is_connecting ? OUTCOME_CONNECT_UNREACHABLE : OUTCOME_RESET;
    case ETIMEDOUT:
        return p->state == PROBE_CONNECT ? OUTCOME_CONNECT_TIMEOUT
               : p->state == PROBE_TLS   ? OUTCOME_TLS_TIMEOUT
                                         : OUTCOME_RESPONSE_TIMEOUT;
    case ECONNRESET:
    case ECONNABORTED:
    case EPIPE:
        return is_connecting ? OUTCOME_CONNECT_RESET : OUTCOME_RESET;
    default:
        return OUTCOME_LOCAL_RESOURCE; /* EMFILE, ENOBUFS, EADDRNOTAVAIL.. */
    }
}

void probe_on_error(struct probe *p, int error, uint64_t now_ns)
{
    (void)now_ns;
    if (is_running(p))
        fail(p, outcome_of_errno(p, error), strerror(error));
    else if (p->state == PROBE_READY)
        close_connection(p);
}

void probe_on_deadline(struct probe *p, uint64_t now_ns)
{
    if (!is_running(p) || !is_late(p, now_ns))
        return;
    if (p->state == PROBE_IDLE)
        fail(p, OUTCOME_LOCAL_STARVED, "never got to connect");
    else
        time_out(p);
}

void probe_cancel(struct probe *p, enum probe_outcome outcome,
                  const char *error)
{
    if (is_running(p))
        fail(p, (uint8_t)outcome, error);
}

struct probe_run *probe_reported(struct probe *p)
{
    struct probe_run *run = p->run;
    assert(p->wants & WANT_REPORT);
    p->run = NULL;
    p->wants &= (uint8_t)~WANT_REPORT;
    return run;
}

void probe_closed(struct probe *p)
{
    p->wants &= (uint8_t)~WANT_CLOSE;
}
