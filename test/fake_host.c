#include "test/fake_host.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "prober/sample.h"
#include "proto/base/addr.h"
#include "proto/outcome.h"

#define TIMEOUT_NS (5 * SEC)

/* ---- trace ---- */

static void note(struct fake_host *h, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void note(struct fake_host *h, const char *format, ...)
{
    char line[200];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof(line), format, ap);
    va_end(ap);
    if (h->trace.len > sizeof(h->trace_bytes) - sizeof(line) - 32)
        return; /* long runs are not compared */
    wr_printf(&h->trace, "[%8lluus] %s\n", (unsigned long long)(h->now_ns / US),
              line);
}

const char *fake_trace(struct fake_host *h)
{
    wr_u8(&h->trace, 0);
    assert(!wr_err(&h->trace));
    wr_reset(&h->trace);
    return h->trace_bytes;
}

static size_t put_ns(char *text, size_t size, const char *key, int64_t ns)
{
    if (ns < 0)
        return 0;
    if (ns % (int64_t)US == 0)
        return (size_t)snprintf(text, size, " %s=%lldus", key,
                                (long long)(ns / (int64_t)US));
    return (size_t)snprintf(text, size, " %s=%lldns", key, (long long)ns);
}

static void note_report(struct fake_host *h)
{
    const struct sample *s = &h->sample;
    char text[200];
    size_t at = (size_t)snprintf(text, sizeof(text), "report %s",
                                 outcome_name(s->outcome));
    if (s->failed_phase >= 0)
        at += (size_t)snprintf(text + at, sizeof(text) - at, " in %s",
                               series_name((unsigned)s->failed_phase));
    for (unsigned i = 0; i < PHASE_N; i++)
        at += put_ns(text + at, sizeof(text) - at, series_name(i),
                     s->phases_ns[i]);
    at += put_ns(text + at, sizeof(text) - at, "total", s->total_ns);
    if (s->clock != STAMP_KERNEL)
        at += (size_t)snprintf(text + at, sizeof(text) - at, " user clock");
    if (s->is_reconnected)
        snprintf(text + at, sizeof(text) - at, " reconnected");
    note(h, "%s", text);
}

/* ---- the peer ---- */

static void server_reset(struct fake_host *h)
{
    struct fake_server *s = &h->server;
    tls_close(s->tls);
    h2_server_close(s->h2);
    s->tls = NULL;
    s->h2 = NULL;
    if (s->context) {
        s->tls = tls_accept(s->context);
        assert(s->tls);
    }
    if (s->is_h2) {
        s->h2 = h2_server_open(&h2_limits_default);
        assert(s->h2);
    }
    http1_init(&s->http1, HTTP1_REQUEST, HTTP1_HEAD_MAX, 4096);
    wr_reset(&s->answer);
    wr_reset(&h->wire);
}

static void say(struct fake_server *s, const uint8_t *data, size_t len)
{
    if (s->tls && len)
        assert(!tls_write(s->tls, data, len));
    else
        wr_bytes(&s->answer, data, len);
}

static void serve_http1(struct fake_server *s, const uint8_t *data, size_t len)
{
    while (len > 0) {
        size_t used = http1_feed(&s->http1, data, len);
        data += used;
        len -= used;
        if (s->http1.state != HTTP1_DONE)
            break;
        uint8_t bytes[1024];
        struct wr w;
        wr_init_fixed(&w, bytes, sizeof(bytes));
        if (s->closes)
            s->http1.is_keep_alive = false;
        (void)responder_http1(&s->http1, &s->facts, &w);
        assert(!wr_err(&w));
        say(s, bytes, w.len);
        http1_next(&s->http1, false);
    }
}

static void serve_h2(struct fake_server *s, const uint8_t *data, size_t len)
{
    const struct h2_server_request *r;
    bool is_watch;
    size_t n;
    (void)h2_server_feed(s->h2, data, len);
    while ((r = h2_server_next(s->h2)))
        (void)responder_h2(s->h2, r, &s->facts, &is_watch);
    const uint8_t *out = h2_server_out(s->h2, &n);
    say(s, out, n);
}

static void serve_plain(struct fake_server *s, const uint8_t *data, size_t len)
{
    if (s->is_h2)
        serve_h2(s, data, len);
    else
        serve_http1(s, data, len);
}

void fake_serve(struct fake_host *h)
{
    struct fake_server *s = &h->server;
    uint8_t plain[4096];
    int n;
    if (!s->tls) {
        serve_plain(s, h->wire_bytes, h->wire.len);
        wr_reset(&h->wire);
        return;
    }
    size_t len;
    if (h->wire.len) {
        tls_feed(s->tls, h->wire_bytes, h->wire.len);
        if (tls_handshake(s->tls) == TLS_OPEN) {
            while ((n = tls_read(s->tls, plain, sizeof(plain))) > 0)
                serve_plain(s, plain, (size_t)n);
        }
        wr_reset(&h->wire);
    }
    const uint8_t *out = tls_out(s->tls, &len);
    wr_bytes(&s->answer, out, len);
    tls_sent(s->tls, len);
    assert(!wr_err(&s->answer));
}

/* ---- life ---- */

void fake_init(struct fake_host *h, const struct target *target,
               enum probe_protocol protocol, enum probe_mode mode)
{
    memset(h, 0, sizeof(*h));
    wr_init_fixed(&h->wire, h->wire_bytes, sizeof(h->wire_bytes));
    wr_init_fixed(&h->trace, h->trace_bytes, sizeof(h->trace_bytes));
    wr_init_fixed(&h->server.answer, h->answer_bytes, sizeof(h->answer_bytes));
    h->server.is_h2 = protocol == PROTOCOL_GRPC;
    h->server.facts.took_ns = FAKE_TOOK_NS;
    probe_init(&h->probe, target, (uint8_t)protocol, (uint8_t)mode);
}

void fake_serve_tls(struct fake_host *h, struct tls_context *context)
{
    h->server.context = context;
}

void fake_fini(struct fake_host *h)
{
    probe_fini(&h->probe);
    tls_close(h->server.tls);
    h2_server_close(h->server.h2);
}

/* ---- what the probe wants ---- */

static void take_report(struct fake_host *h)
{
    struct probe_run *run = probe_reported(&h->probe);
    assert(run == &h->run);
    sample_check(&run->sample);
    h->sample = run->sample;
    h->reports++;
    assert(h->reports == h->begun); /* each attempt ends exactly once */
    /* A run that was given back must not be looked at again. */
    memset(run, 0xa5, sizeof(*run));
    note_report(h);
}

static void do_connect(struct fake_host *h)
{
    char text[ADDR_TEXT_SIZE];
    assert(!h->is_open);
    note(h, "connect %s", addr_format(probe_peer(&h->probe), text));
    probe_on_connecting(&h->probe, h->now_ns);
    h->is_open = true;
    h->connects++;
    h->sent_bytes = 0;
    server_reset(h);
}

static bool do_send(struct fake_host *h)
{
    struct probe *p = &h->probe;
    size_t len;
    bool is_timed;
    const uint8_t *data = probe_out(p, &len, &is_timed);
    assert(h->is_open && data && len);
    if (h->is_stuck)
        return false;
    size_t n = h->take_max && len > h->take_max ? h->take_max : len;
    wr_bytes(&h->wire, data, n);
    assert(!wr_err(&h->wire));
    h->sends++;
    h->sent_bytes += (uint32_t)n;
    const char *timed = is_timed ? " timed" : "";
    if (p->tls || p->h2)
        note(h, "send %s%s%s", p->tls ? "tls" : "h2", n < len ? " in part" : "",
             timed);
    else
        note(h, "send %zu%s", n, timed);
    probe_on_sent(p, n, h->now_ns);
    if (is_timed && !h->has_no_tx) {
        h->tx_ns = h->now_ns + h->tx_delay_ns;
        h->tx_offset = h->sent_bytes - 1;
        if (!h->is_tx_held)
            fake_tx(h);
    }
    return true;
}

static void do_resolve(struct fake_host *h)
{
    note(h, "resolve %s", h->probe.target->host);
    probe_on_resolving(&h->probe, h->now_ns);
}

static void check_shape(const struct fake_host *h)
{
    const struct probe *p = &h->probe;
    bool has_state_of_socket = p->state >= PROBE_CONNECT;
    assert(h->is_open == has_state_of_socket);
    assert(p->run || h->reports == h->begun);
    assert(!p->run || h->reports + 1 == h->begun);
    assert(p->state != PROBE_IDLE || (!p->tls && !p->h2 && !p->spill));
}

void fake_step(struct fake_host *h)
{
    struct probe *p = &h->probe;
    for (int i = 0;; i++) {
        unsigned wants = probe_wants(p);
        assert(i < 100000);
        if ((wants & WANT_REPORT) && !h->are_reports_held) {
            take_report(h);
        } else if (wants & WANT_CLOSE) {
            assert(h->is_open);
            note(h, "close");
            h->is_open = false;
            h->closes++;
            probe_closed(p);
        } else if (wants & WANT_RESOLVE) {
            do_resolve(h);
        } else if (wants & WANT_CONNECT) {
            do_connect(h);
        } else if (!(wants & WANT_SEND) || !do_send(h)) {
            break;
        }
    }
    check_shape(h);
}

/* ---- what happens to it ---- */

void fake_at(struct fake_host *h, uint64_t us)
{
    assert(us * US >= h->now_ns);
    h->now_ns = us * US;
}

void fake_begin(struct fake_host *h, uint64_t timeout_ns)
{
    const struct probe_start start = {
        .now_ns = h->now_ns,
        .intended_ns = h->now_ns > 7 ? h->now_ns - 7 : 0,
        .now_unix_ns = FAKE_UNIX_S * SEC + h->now_ns,
        .timeout_ns = timeout_ns,
    };
    h->begun++;
    note(h, "begin");
    probe_begin(&h->probe, &h->run, &start);
    fake_step(h);
}

static struct stamp kernel(uint64_t ns)
{
    if (ns == FAKE_NONE)
        return (struct stamp){0};
    return (struct stamp){.ns = ns, .source = STAMP_KERNEL};
}

void fake_resolved(struct fake_host *h, uint64_t sent_ns, uint64_t answered_ns)
{
    static const struct addr seven = {.family = ADDR_V4, .ip = {10, 0, 0, 7}};
    struct probe_resolved r = {
        .outcome = OUTCOME_OK,
        .addresses = h->answers ? h->answers : &seven,
        .n_addresses = h->answers ? h->n_answers : 1,
        .sent = kernel(sent_ns),
        .answered = kernel(answered_ns),
    };
    note(h, "resolved");
    probe_on_resolved(&h->probe, &r, h->now_ns);
    fake_step(h);
}

void fake_unresolved(struct fake_host *h, enum probe_outcome outcome)
{
    struct probe_resolved r = {.outcome = (uint8_t)outcome,
                               .error = "no such name"};
    note(h, "not resolved");
    probe_on_resolved(&h->probe, &r, h->now_ns);
    fake_step(h);
}

void fake_connected(struct fake_host *h, uint32_t rtt_us)
{
    struct probe_connected c = {
        .rtt_us = rtt_us,
        .local = {.family = ADDR_V4, .ip = {10, 0, 0, 5}, .port = 40312}};
    note(h, "connected rtt=%uus", rtt_us);
    probe_on_connected(&h->probe, &c, h->now_ns);
    fake_step(h);
}

void fake_tx(struct fake_host *h)
{
    probe_on_tx(&h->probe, h->tx_offset, kernel(h->tx_ns));
}

void fake_bytes(struct fake_host *h, const void *data, size_t len,
                uint64_t at_ns)
{
    if (at_ns == FAKE_NONE)
        note(h, "bytes, no stamp");
    else
        note(h, "bytes of %lluus", (unsigned long long)(at_ns / US));
    /* A buffer of its own size, so that reading beyond it shows. */
    probe_on_bytes(&h->probe, data, len, kernel(at_ns), h->now_ns);
    fake_step(h);
}

void fake_text(struct fake_host *h, const char *text, uint64_t at_ns)
{
    fake_bytes(h, text, strlen(text), at_ns);
}

void fake_eof(struct fake_host *h)
{
    note(h, "eof");
    probe_on_eof(&h->probe, h->now_ns);
    fake_step(h);
}

void fake_error(struct fake_host *h, int error)
{
    note(h, "error");
    probe_on_error(&h->probe, error, h->now_ns);
    fake_step(h);
}

void fake_deadline(struct fake_host *h)
{
    note(h, "deadline");
    probe_on_deadline(&h->probe, h->now_ns);
    fake_step(h);
}

void fake_cancel(struct fake_host *h)
{
    note(h, "cancel");
    probe_cancel(&h->probe, OUTCOME_CANCELLED, "cancelled");
    fake_step(h);
}

size_t fake_hear(struct fake_host *h, size_t n, uint64_t at_ns)
{
    struct wr *answer = &h->server.answer;
    uint8_t piece[4096];
    size_t total = 0;
    while (n > 0 && answer->len > 0 && h->is_open) {
        size_t len = answer->len < n ? answer->len : n;
        if (len > sizeof(piece))
            len = sizeof(piece);
        memcpy(piece, answer->data, len);
        memmove(answer->data, answer->data + len, answer->len - len);
        answer->len -= len;
        n -= len;
        total += len;
        fake_bytes(h, piece, len, at_ns);
    }
    return total;
}

/* ---- a whole talk ---- */

static uint64_t later(const struct fake_talk *t, uint64_t ns)
{
    return t->rng ? rng_below(t->rng, 2 * ns + 1) : ns;
}

/* What the peer has said arrives. Returns how many bytes were heard. */
static size_t hear_all(struct fake_host *h, const struct fake_talk *t,
                       size_t heard)
{
    size_t before = heard;
    while (h->server.answer.len > 0 && h->is_open) {
        size_t n = t->piece ? t->piece : SIZE_MAX;
        if (t->rng)
            n = 1 + (size_t)rng_below(t->rng, 400);
        if (n > h->server.answer.len)
            n = h->server.answer.len;
        if (t->cut && n > t->cut - heard)
            n = t->cut - heard;
        if (n == 0)
            break;
        if (t->flip > heard && t->flip <= heard + n)
            h->server.answer.data[t->flip - heard - 1] ^= 0xff;
        uint64_t arrived_ns = h->now_ns + later(t, t->piece ? US : 0);
        h->now_ns = arrived_ns + later(t, t->busy_ns);
        heard += fake_hear(h, n, arrived_ns);
    }
    return heard - before;
}

size_t fake_run(struct fake_host *h, const struct fake_talk *t)
{
    unsigned reports = h->reports;
    size_t heard = 0;
    fake_begin(h, TIMEOUT_NS);
    if (h->probe.state == PROBE_RESOLVE) {
        uint64_t sent_ns = h->now_ns;
        h->now_ns += later(t, t->dns_ns);
        uint64_t answered_ns = h->now_ns;
        h->now_ns += later(t, t->busy_ns);
        fake_resolved(h, sent_ns, answered_ns);
    }
    if (h->probe.state == PROBE_CONNECT) {
        uint64_t rtt_ns = later(t, t->rtt_ns);
        h->now_ns += rtt_ns + later(t, t->busy_ns);
        fake_connected(h, (uint32_t)(rtt_ns / US));
    }
    for (int turns = 0; h->reports == reports; turns++) {
        assert(turns < 100000);
        h->now_ns += later(t, t->rtt_ns);
        fake_serve(h);
        size_t n = hear_all(h, t, heard);
        heard += n;
        if (h->reports != reports)
            break;
        if (h->probe.wants & WANT_SEND) {
            fake_step(h); /* the socket takes more */
        } else if (t->cut && heard == t->cut) {
            if (t->cut_error)
                fake_error(h, t->cut_error);
            else
                fake_eof(h);
        } else if (n == 0) { /* silence */
            h->now_ns = h->run.deadline_ns + 1;
            fake_deadline(h);
        }
    }
    return heard;
}
