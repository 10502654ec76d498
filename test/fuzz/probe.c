/* A probe against a hostile host and peer: the input is a script of what
 * happens (bytes with any stamp, ends, errors, timers, partial sends, in any
 * order), and whatever it is, an attempt ends at most once, its sample holds
 * its invariants, and the machine's shape fits its state.
 *
 * Byte 0 chooses protocol, mode, TLS and a name to resolve. Then commands: a
 * byte whose low nibble is the kind, followed by its arguments.
 */
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "prober/probe.h"
#include "proto/base/buf.h"

#define NOW_UNIX_S 1800000000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tls_context *client_side;
static struct tls_context *server_side;
static struct target targets[4]; /* bit 0: TLS, bit 1: a name */

static bool may_dial(const void *arg, const struct addr *a)
{
    (void)arg;
    assert(a->port != 0);
    return a->family != ADDR_V4 || a->ip[0] != 10 || a->ip[1] != 7;
}

static void set_up(void)
{
    static const char *const urls[] = {"http://10.0.0.1/", "https://10.0.0.1/",
                                       "http://a.test/", "https://a.test/"};
    if (client_side)
        return;
    server_side = tls_server_context(
        &(struct tls_server_config){.name = "a.test", .now_unix_s = NOW_UNIX_S},
        NULL);
    client_side = tls_client_context(
        &(struct tls_client_config){.is_insecure = true}, NULL);
    if (!server_side || !client_side)
        abort();
    for (int i = 0; i < 4; i++) {
        struct url u;
        if (url_parse(&u, urls[i], NULL) ||
            target_init(&targets[i], &u, "s", client_side, NULL))
            abort();
        targets[i].dial.may_dial = may_dial;
    }
}

struct world {
    struct probe probe;
    struct probe_run run;
    struct tls *server; /* real, so that scripts get past the handshake */
    uint64_t now_ns;
    unsigned begun, reports;
    size_t take; /* bytes the socket takes at once */
    bool is_open, is_wire_used;
    bool is_denied; /* the lookup found an address that may not be dialled */
    struct wr wire; /* what left, for the server */
};

static void take_report(struct world *w)
{
    struct probe_run *run = probe_reported(&w->probe);
    assert(run == &w->run);
    sample_check(&run->sample);
    memset(run, 0xa5, sizeof(*run));
    w->reports++;
    assert(w->reports == w->begun);
}

static void do_send(struct world *w)
{
    size_t len;
    bool is_timed;
    const uint8_t *out = probe_out(&w->probe, &len, &is_timed);
    assert(w->is_open && out && len > 0);
    size_t n = len < w->take ? len : w->take;
    wr_bytes(&w->wire, out, n);
    probe_on_sent(&w->probe, n, w->now_ns);
    if (is_timed && n == len)
        probe_on_tx(&w->probe, (uint32_t)(w->probe.sent_bytes - 1),
                    (struct stamp){.ns = w->now_ns, .source = STAMP_KERNEL});
}

/* Do what is wanted; with take == 0 the socket is full. */
static void step(struct world *w)
{
    struct probe *p = &w->probe;
    for (;;) {
        unsigned wants = probe_wants(p);
        if (wants & WANT_REPORT) {
            take_report(w);
        } else if (wants & WANT_CLOSE) {
            assert(w->is_open);
            w->is_open = false;
            probe_closed(p);
        } else if (wants & WANT_RESOLVE) {
            probe_on_resolving(p, w->now_ns);
        } else if (wants & WANT_CONNECT) {
            assert(!w->is_open && !w->is_denied);
            probe_on_connecting(p, w->now_ns);
            w->is_open = true;
            tls_close(w->server);
            w->server = tls_accept(server_side);
            wr_reset(&w->wire);
        } else if ((wants & WANT_SEND) && w->take > 0) {
            do_send(w);
        } else {
            break;
        }
    }
    assert(w->is_open == (p->state >= PROBE_CONNECT));
    assert((p->run != NULL) == (w->begun == w->reports + 1));
    assert(p->state != PROBE_IDLE || (!p->tls && !p->h2 && !p->spill));
}

static struct stamp stamp_of(const struct world *w, uint8_t how)
{
    if (how & 1)
        return (struct stamp){0};
    uint64_t back_ns = (uint64_t)(how >> 1) * 50000000u;
    return (struct stamp){.ns = w->now_ns > back_ns ? w->now_ns - back_ns : 0,
                          .source = STAMP_KERNEL};
}

/* The probe's bytes go to the real TLS server; its flight comes back. */
static void serve(struct world *w, uint8_t how)
{
    size_t len;
    if (!w->server || !w->is_open || w->probe.state < PROBE_TLS)
        return;
    if (w->wire.len > 0) {
        uint8_t plain[4096];
        tls_feed(w->server, w->wire.data, w->wire.len);
        if (tls_handshake(w->server) == TLS_OPEN) {
            while (tls_read(w->server, plain, sizeof(plain)) > 0)
                ;
        }
        wr_reset(&w->wire);
    }
    const uint8_t *out = tls_out(w->server, &len);
    if (len == 0)
        return;
    uint8_t *copy = malloc(len);
    if (!copy)
        abort();
    memcpy(copy, out, len);
    tls_sent(w->server, len);
    probe_on_bytes(&w->probe, copy, len, stamp_of(w, how), w->now_ns);
    free(copy);
}

/* Bytes of the script as the peer's, encrypted if the handshake is done. */
static void say(struct world *w, const uint8_t *data, size_t len, uint8_t how)
{
    if (!w->is_open || w->probe.state < PROBE_TLS)
        return;
    if (w->server && w->probe.tls && tls_state(w->server) == TLS_OPEN &&
        !(how & 0x40)) {
        (void)tls_write(w->server, data, len);
        serve(w, how);
        return;
    }
    uint8_t *copy = malloc(len ? len : 1); /* its own size, for ASan */
    if (!copy)
        abort();
    if (len > 0) {
        memcpy(copy, data, len);
        probe_on_bytes(&w->probe, copy, len, stamp_of(w, how), w->now_ns);
    }
    free(copy);
}

static void begin(struct world *w, uint8_t arg)
{
    struct probe *p = &w->probe;
    if (p->run || (p->state != PROBE_IDLE && p->state != PROBE_READY))
        return;
    w->begun++;
    w->is_denied = false;
    probe_begin(
        p, &w->run,
        &(struct probe_start){.now_ns = w->now_ns,
                              .intended_ns = arg & 1 ? w->now_ns / 2 : 0,
                              .now_unix_ns = NOW_UNIX_S * 1000000000ull,
                              .timeout_ns = 1000000000ull + arg * 10000000ull});
}

static void resolved(struct world *w, uint8_t arg)
{
    if (w->probe.wants & WANT_RESOLVE)
        return;
    static const struct addr both[] = {{.family = ADDR_V6, .ip = {[15] = 1}},
                                       {.family = ADDR_V4, .ip = {10, 7}}};
    w->is_denied = arg % 2;
    probe_on_resolved(&w->probe,
                      &(struct probe_resolved){
                          .outcome = (uint8_t)(arg % (OUTCOME_DNS_ERROR + 1)),
                          .addresses = both,
                          .n_addresses = 1 + arg % 2,
                          .sent = stamp_of(w, arg),
                          .answered = stamp_of(w, (uint8_t)(arg >> 4))},
                      w->now_ns);
}

static void connected(struct world *w, uint8_t arg)
{
    if (w->probe.state != PROBE_CONNECT || !w->is_open)
        return;
    probe_on_connected(&w->probe,
                       &(struct probe_connected){.rtt_us = arg * 1000u,
                                                 .retransmits = arg % 5 == 0,
                                                 .last_ack_ms = arg},
                       w->now_ns);
}

static void happen(struct world *w, uint8_t kind, struct rd *r)
{
    static const int errors[] = {ECONNREFUSED, EHOSTUNREACH, ETIMEDOUT,
                                 ECONNRESET,   EPIPE,        ENOBUFS};
    struct probe *p = &w->probe;
    uint8_t arg = rd_u8(r);
    size_t n;

    switch (kind & 15) {
    case 0:
        begin(w, arg);
        break;
    case 1:
        resolved(w, arg);
        break;
    case 2:
        connected(w, arg);
        break;
    case 3:
    case 4:
        n = rd_u8(r);
        if (n > rd_left(r))
            n = rd_left(r);
        say(w, rd_bytes(r, n), n, arg);
        break;
    case 5:
        serve(w, arg);
        break;
    case 6:
        if (w->is_open && p->state >= PROBE_TLS)
            probe_on_eof(p, w->now_ns);
        break;
    case 7:
        if (w->is_open)
            probe_on_error(p, errors[arg % 6], w->now_ns);
        break;
    case 8:
        w->now_ns += arg * 20000000ull;
        break;
    case 9:
        probe_on_deadline(p, w->now_ns);
        break;
    case 10:
        probe_cancel(p, OUTCOME_CANCELLED, "cancelled");
        break;
    case 11:
        w->take = arg == 255 ? SIZE_MAX : arg;
        break;
    case 12:
        probe_on_tx(p, rd_be32(r), stamp_of(w, arg));
        break;
    default:
        (void)probe_needs_tx(p);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    set_up();
    struct world *w = calloc(1, sizeof(*w));
    struct rd r;
    if (!w)
        abort();
    w->now_ns = 1000000000u;
    w->take = SIZE_MAX;
    wr_init_grow(&w->wire, 1 << 20);
    probe_init(&w->probe, &targets[data[0] & 3], data[0] >> 2 & 1,
               data[0] >> 3 & 1);
    begin(w, 0);
    step(w);
    rd_init(&r, data + 1, size - 1);
    while (rd_left(&r) > 0) {
        happen(w, rd_u8(&r), &r);
        step(w);
        w->now_ns += 1000000;
    }
    probe_cancel(&w->probe, OUTCOME_CANCELLED, NULL);
    step(w);
    assert(w->begun == w->reports);
    probe_fini(&w->probe);
    tls_close(w->server);
    wr_fini(&w->wire);
    free(w);
    return 0;
}
