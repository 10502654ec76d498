/* Wires between a host and sessions: who speaks what, and TLS on the way. The
 * HTTP/1.1 session is the real one, that of HTTP/2 a made-up one that echoes;
 * the peer of TLS is our own client. */
#include "prober/httpd_wire.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define SEC     1000000000ull
#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define GET     "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define BIG     "GET /big HTTP/1.1\r\nHost: h\r\n\r\n"
#define BYE     "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
#define LIVE    "GET /live HTTP/1.1\r\nHost: h\r\n\r\n"
#define BIG_LEN 300000u

/* ---- a session that gives back what it gets ---- */

struct echo {
    uint8_t data[40000];
    size_t len, turned, sent;
    bool has_eof, is_abandoned;
    uint64_t progress;
};

static unsigned echoes;  /* open ones */
static size_t echo_from; /* bytes without which there is no echo */

static void *echo_open(const struct httpd_conn_config *config,
                       const struct httpd_peer *peer, struct httpd_waker *waker,
                       uint64_t now_ns)
{
    (void)config;
    (void)peer;
    (void)waker;
    (void)now_ns;
    echoes++;
    return calloc(1, sizeof(struct echo));
}

static void *no_open(const struct httpd_conn_config *config,
                     const struct httpd_peer *peer, struct httpd_waker *waker,
                     uint64_t now_ns)
{
    (void)config;
    (void)peer;
    (void)waker;
    (void)now_ns;
    return NULL;
}

static void echo_close(void *session)
{
    echoes--;
    free(session);
}

static void echo_abandon(void *session)
{
    struct echo *e = session;
    e->is_abandoned = true;
}

static void echo_refuse(void *session, uint64_t now_ns)
{
    (void)session;
    (void)now_ns;
    fail_msg("refused in HTTP/2");
}

static uint8_t *echo_space(void *session, size_t *size)
{
    struct echo *e = session;
    *size = sizeof(e->data) - e->len;
    return *size > 0 ? e->data + e->len : NULL;
}

static void echo_received(void *session, size_t n, uint64_t now_ns)
{
    struct echo *e = session;
    (void)now_ns;
    e->len += n;
}

static void echo_eof(void *session, uint64_t now_ns)
{
    struct echo *e = session;
    (void)now_ns;
    e->has_eof = true;
}

static bool echo_wants_turn(const void *session)
{
    const struct echo *e = session;
    return e->sent == e->turned && e->turned < e->len && e->len >= echo_from;
}

static void echo_turn(void *session, uint64_t now_ns)
{
    struct echo *e = session;
    (void)now_ns;
    e->turned = e->len;
}

static const uint8_t *echo_out(const void *session, size_t *len)
{
    const struct echo *e = session;
    *len = e->turned - e->sent; /* also when it has ended */
    return *len > 0 ? e->data + e->sent : NULL;
}

static void echo_sent(void *session, size_t n, uint64_t now_ns)
{
    struct echo *e = session;
    (void)now_ns;
    e->sent += n;
    check_true(e->sent <= e->turned);
    if (e->sent == e->len)
        e->sent = e->turned = e->len = 0;
}

static void echo_progress(void *session, uint64_t now_ns)
{
    struct echo *e = session;
    e->progress = now_ns;
}

static enum httpd_conn_phase echo_phase(const void *session)
{
    const struct echo *e = session;
    if (e->is_abandoned)
        return HTTPD_CONN_ABORTED;
    return e->has_eof ? HTTPD_CONN_ENDED : HTTPD_CONN_READING;
}

static uint64_t echo_never(const void *session)
{
    (void)session;
    return UINT64_MAX;
}

static void echo_expire(void *session, uint64_t now_ns)
{
    (void)session;
    (void)now_ns;
}

static const struct httpd_session_ops echo_ops = {
    .open = echo_open,
    .close = echo_close,
    .abandon = echo_abandon,
    .refuse = echo_refuse,
    .space = echo_space,
    .received = echo_received,
    .eof = echo_eof,
    .wants_turn = echo_wants_turn,
    .turn = echo_turn,
    .out = echo_out,
    .sent = echo_sent,
    .progress = echo_progress,
    .phase = echo_phase,
    .waits_since = echo_never,
    .deadline = echo_never,
    .expire = echo_expire,
};

/* ---- the host ---- */

struct host {
    struct httpd_limits limits;
    struct httpd_stats stats;
    struct httpd_conn_config conn;
    struct httpd_wire_config config;
    struct httpd_peer peer;
    struct httpd_waker waker;
    struct httpd_waker *handler_waker;
    struct httpd_wire *wire;
    uint64_t now_ns;
    struct wr got; /* what came out, decrypted if there is a client */
    struct tls *client;
    size_t out_max;    /* longest piece of output seen */
    size_t write_size; /* how much the network takes at a time */
    unsigned turns, handled, done;
    size_t big_left;
    unsigned n_ready; /* lines of the live answer */
    bool was_tls;     /* as the handler saw it */
    bool is_over;
    bool is_prepared;
};

static int later_prepare(void *state, struct httpd_answer *answer)
{
    struct host *h = state;
    (void)answer;
    return h->is_prepared ? 0 : HTTPD_WAIT;
}

static int big_body(void *state, struct wr *w)
{
    struct host *h = state;
    while (h->big_left > 0) {
        if (httpd_slice_is_full(w))
            return 1;
        for (unsigned i = 0; i < 1000; i++)
            wr_u8(w, (uint8_t)('a' + h->big_left-- % 26));
    }
    return 0;
}

static int live_body(void *state, struct wr *w)
{
    struct host *h = state;
    for (; h->n_ready > 0; h->n_ready--)
        wr_text(w, "line\n");
    return h->is_over ? 0 : HTTPD_WAIT;
}

static void count_done(void *state)
{
    struct host *h = state;
    h->done++;
}

static void handle(void *arg, const struct httpd_request *r,
                   struct httpd_answer *a)
{
    struct host *h = arg;
    h->handled++;
    h->handler_waker = r->waker;
    h->was_tls = r->peer->is_tls;
    *a = (struct httpd_answer){.status = 200,
                               .content_type = "text/plain",
                               .state = h,
                               .done = count_done};
    if (strcmp(r->path, "/big") == 0) {
        h->big_left = BIG_LEN;
        a->body = big_body;
    } else if (strcmp(r->path, "/live") == 0) {
        a->is_live = true;
        a->body = live_body;
    } else {
        a->text = "ok\n";
        if (strcmp(r->path, "/later") == 0)
            a->prepare = later_prepare;
    }
}

static void on_wake(struct httpd_waker *waker)
{
    (void)waker;
}

static void open_host(struct host *h, const struct httpd_session_ops *http2,
                      struct tls_context *tls)
{
    *h = (struct host){
        .limits = httpd_limits_default, .now_ns = SEC, .write_size = SIZE_MAX};
    h->waker.wake = on_wake;
    h->conn = (struct httpd_conn_config){
        .limits = &h->limits, .handler = handle, .arg = h, .stats = &h->stats};
    h->config = (struct httpd_wire_config){
        .conn = &h->conn, .http1 = &httpd_conn_ops, .http2 = http2, .tls = tls};
    wr_init_grow(&h->got, 8u << 20);
    h->wire = httpd_wire_open(&h->config, &h->peer, &h->waker, h->now_ns);
    check_true(h->wire != NULL);
}

static void close_host(struct host *h)
{
    httpd_wire_close(h->wire);
    tls_close(h->client);
    wr_fini(&h->got);
    check_u64(echoes, 0);
}

/* Take what the client makes of it. */
static void deliver(struct host *h, const uint8_t *data, size_t len)
{
    if (!h->client) {
        wr_bytes(&h->got, data, len);
        return;
    }
    tls_feed(h->client, data, len);
    if (tls_state(h->client) == TLS_HANDSHAKE)
        tls_handshake(h->client);
    uint8_t plain[4096];
    for (int n; (n = tls_read(h->client, plain, sizeof(plain))) > 0;)
        wr_bytes(&h->got, plain, (size_t)n);
}

/* Read and write on the host's side until nothing moves. */
static const char *pump(struct host *h)
{
    for (;;) {
        size_t len;
        const uint8_t *out = httpd_wire_out(h->wire, &len);
        if (out) {
            check_false(httpd_wire_wants_turn(h->wire));
            h->out_max = len > h->out_max ? len : h->out_max;
            len = len < h->write_size ? len : h->write_size;
            uint8_t *copy = malloc(len);
            memcpy(copy, out, len);
            httpd_wire_sent(h->wire, len, h->now_ns);
            deliver(h, copy, len);
            free(copy);
        } else if (httpd_wire_wants_turn(h->wire)) {
            h->turns++;
            httpd_wire_turn(h->wire, h->now_ns);
        } else {
            break;
        }
    }
    wr_u8(&h->got, '\0');
    h->got.len--;
    check_i64(wr_err(&h->got), 0);
    return (const char *)h->got.data;
}

/* Bytes from the network, in pieces; what there is no room for is lost. */
static void arrive(struct host *h, const void *data, size_t len, size_t step)
{
    const uint8_t *p = data;
    while (len > 0 && httpd_wire_phase(h->wire) < HTTPD_CONN_ENDED) {
        size_t size;
        uint8_t *space = httpd_wire_space(h->wire, &size);
        if (!space)
            return;
        size_t n = len < step ? len : step;
        n = n < size ? n : size;
        memcpy(space, p, n);
        httpd_wire_received(h->wire, n, h->now_ns);
        pump(h);
        p += n;
        len -= n;
    }
}

static void say_in(struct host *h, const char *text, size_t step)
{
    arrive(h, text, strlen(text), step);
}

static void check_starts(const char *got, const char *want)
{
    if (strncmp(got, want, strlen(want)) != 0)
        fail_msg("got: %.200s\nwanted: %s", got, want);
}

/* ---- plain text ---- */

static void the_first_bytes_choose_the_session(void **state)
{
    (void)state;
    static const struct {
        const char *text, *answer;
    } cases[] = {
        {PREFACE, PREFACE},
        {"PRI * HTTP/2.0", "PRI * HTTP/2.0"},
        {GET, "HTTP/1.1 200 "},
        {"PRI * HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 400 "},
        {"P / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 405 "},
        {"PRI / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 405 "},
        {"PRI * HTTP/2,0\r\nHost: h\r\n\r\n", "HTTP/1.1 400 "},
        {"\x16\x03\x01", "HTTP/1.1 400 "},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (size_t step = 1; step < 30; step++) {
            struct host h;
            open_host(&h, &echo_ops, NULL);
            say_in(&h, cases[i].text, step);
            check_starts(pump(&h), cases[i].answer);
            close_host(&h);
        }
    }
}

static void without_http2_all_is_http1(void **state)
{
    (void)state;
    struct host h;
    open_host(&h, NULL, NULL);
    check_u64(echoes, 0);
    say_in(&h, PREFACE, 100);
    check_starts(pump(&h), "HTTP/1.1 400 ");
    close_host(&h);
}

static void half_a_preface_is_a_bad_request(void **state)
{
    (void)state;
    struct host h;
    open_host(&h, &echo_ops, NULL);
    say_in(&h, "PRI * HT", 100);
    check_u64(h.got.len, 0);
    httpd_wire_eof(h.wire, h.now_ns);
    check_starts(pump(&h), "HTTP/1.1 400 ");
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ENDED);
    close_host(&h);
}

static void who_says_nothing_ends_in_silence(void **state)
{
    (void)state;
    struct host h;
    open_host(&h, &echo_ops, NULL);
    check_u64(httpd_wire_waits_since(h.wire), SEC);
    check_u64(httpd_wire_deadline(h.wire), SEC + h.limits.head_timeout_ns);
    httpd_wire_expire(h.wire, SEC + h.limits.head_timeout_ns - 1);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_READING);
    httpd_wire_expire(h.wire, SEC + h.limits.head_timeout_ns);
    check_true(httpd_wire_phase(h.wire) >= HTTPD_CONN_ENDED);
    check_u64(h.stats.timeouts, 1);
    close_host(&h);
    open_host(&h, &echo_ops, NULL);
    httpd_wire_eof(h.wire, h.now_ns);
    check_text(pump(&h), "");
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ENDED);
    close_host(&h);
}

static void a_refusal_is_http1(void **state)
{
    (void)state;
    struct host h;
    open_host(&h, &echo_ops, NULL);
    check_true(httpd_wire_refuse(h.wire, h.now_ns));
    check_starts(pump(&h), "HTTP/1.1 503 ");
    close_host(&h);
}

static void a_session_that_cannot_open_ends_the_wire(void **state)
{
    (void)state;
    struct host h;
    struct httpd_session_ops none = echo_ops;
    none.open = no_open;
    open_host(&h, &none, NULL);
    say_in(&h, PREFACE, 100);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ABORTED);
    check_text(pump(&h), "");
    close_host(&h);

    open_host(&h, NULL, NULL);
    httpd_wire_close(h.wire);
    h.config.http1 = &none;
    h.wire = httpd_wire_open(&h.config, &h.peer, &h.waker, h.now_ns);
    check_true(h.wire == NULL);
    close_host(&h);
}

/* ---- TLS ---- */

struct contexts {
    struct tls_context *server, *client;
};

static struct contexts tls;

static int make_contexts(void **state)
{
    (void)state;
    struct errmsg msg;
    struct tls_server_config server = {.name = "node",
                                       .now_unix_s = 1800000000};
    struct tls_client_config client = {.is_insecure = true};
    tls.server = tls_server_context(&server, &msg);
    tls.client = tls_client_context(&client, &msg);
    return tls.server && tls.client ? 0 : -1;
}

static int close_contexts(void **state)
{
    (void)state;
    tls_context_close(tls.server);
    tls_context_close(tls.client);
    return 0;
}

/* What the client has to send arrives, and the answers, until all is said. */
static const char *exchange(struct host *h, size_t step)
{
    size_t len;
    const uint8_t *out;
    if (tls_state(h->client) == TLS_HANDSHAKE)
        tls_handshake(h->client);
    while ((out = tls_out(h->client, &len))) {
        uint8_t *copy = malloc(len);
        memcpy(copy, out, len);
        tls_sent(h->client, len);
        arrive(h, copy, len, step);
        free(copy);
    }
    return pump(h);
}

static void open_tls_host(struct host *h, const struct httpd_session_ops *http2,
                          const char *alpn)
{
    struct tls_client_params p = {.host = "node", .alpn = alpn};
    open_host(h, http2, tls.server);
    h->client = tls_connect(tls.client, &p);
    check_true(h->client != NULL);
}

static const char *ask(struct host *h, const char *text, size_t step)
{
    check_i64(tls_write(h->client, text, strlen(text)), 0);
    return exchange(h, step);
}

static void requests_go_through_tls(void **state)
{
    (void)state;
    for (size_t step = 1; step < 5000; step = step * 3 + 1) {
        struct host h;
        open_tls_host(&h, NULL, "http/1.1");
        exchange(&h, step);
        check_u64(tls_state(h.client), TLS_OPEN);
        check_starts(ask(&h, GET, step), "HTTP/1.1 200 OK\r\n");
        check_true(h.was_tls);
        check_true(h.peer.is_tls);
        check_u64(h.peer.n_names, 0);
        check_starts(ask(&h, GET GET, step), "HTTP/1.1 200 OK\r\n");
        check_u64(h.handled, 3);
        close_host(&h);
    }
}

static void alpn_chooses_the_session(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, &echo_ops, "h2");
    exchange(&h, 100);
    check_u64(echoes, 1);
    check_text(ask(&h, "anything", 100), "anything");
    close_host(&h);

    static const char *const names[] = {"http/1.1", NULL};
    for (size_t i = 0; i < 2; i++) {
        open_tls_host(&h, &echo_ops, names[i]);
        exchange(&h, 100);
        check_u64(echoes, 0);
        /* ALPN has said what it is; a preface does not change that. */
        check_starts(ask(&h, PREFACE, 100), "HTTP/1.1 400 ");
        close_host(&h);
    }
}

static void http2_that_is_not_spoken_fails(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "h2");
    exchange(&h, 4096);
    pump(&h);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_LINGERING);
    check_u64(h.stats.bad_handshakes, 1);
    check_u64(h.handled, 0);
    close_host(&h);
}

static void a_handshake_waits_for_its_turn(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "http/1.1");
    tls_handshake(h.client);
    size_t len, size;
    const uint8_t *out = tls_out(h.client, &len);
    memcpy(httpd_wire_space(h.wire, &size), out, len);
    httpd_wire_received(h.wire, len, h.now_ns);
    check_true(httpd_wire_out(h.wire, &size) == NULL);
    check_true(httpd_wire_wants_turn(h.wire));
    check_true(httpd_wire_space(h.wire, &size) != NULL);
    check_u64(size, 4096 - len); /* nothing of it was looked at */
    httpd_wire_turn(h.wire, h.now_ns);
    check_true(httpd_wire_out(h.wire, &size) != NULL);
    check_false(httpd_wire_wants_turn(h.wire));
    close_host(&h);
}

static void a_handshake_has_its_time_as_a_whole(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "http/1.1");
    uint64_t end_ns = SEC + h.limits.handshake_timeout_ns;
    check_u64(httpd_wire_waits_since(h.wire), SEC);
    check_u64(httpd_wire_deadline(h.wire), end_ns);
    h.now_ns = end_ns - 1;
    tls_handshake(h.client);
    size_t len;
    const uint8_t *out = tls_out(h.client, &len);
    arrive(&h, out, len - 1, 100);
    check_u64(httpd_wire_deadline(h.wire), end_ns);
    httpd_wire_expire(h.wire, end_ns - 1);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_READING);
    httpd_wire_expire(h.wire, end_ns);
    check_true(httpd_wire_phase(h.wire) >= HTTPD_CONN_ENDED);
    check_u64(h.stats.timeouts, 1);
    close_host(&h);
}

/* What the client has to send lies here, and there was no turn yet: however
 * long that takes, nobody is late or to make room. */
static void check_not_judged_yet(struct host *h)
{
    size_t len, size;
    const uint8_t *out = tls_out(h->client, &len);
    uint8_t *space = httpd_wire_space(h->wire, &size);
    check_true(out && space && size >= len);
    memcpy(space, out, len);
    tls_sent(h->client, len);
    httpd_wire_received(h->wire, len, h->now_ns);
    check_u64(httpd_wire_deadline(h->wire), UINT64_MAX);
    check_u64(httpd_wire_waits_since(h->wire), UINT64_MAX);
    h->now_ns += 100 * SEC;
    httpd_wire_expire(h->wire, h->now_ns);
    check_u64(httpd_wire_phase(h->wire), HTTPD_CONN_READING);
    check_u64(h->stats.timeouts, 0);
}

static void ciphertext_that_came_in_time_is_looked_at_first(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "http/1.1");
    tls_handshake(h.client);
    check_not_judged_yet(&h);
    pump(&h);
    exchange(&h, 4096);
    check_u64(tls_state(h.client), TLS_OPEN);
    for (unsigned i = 1; i <= 2; i++) {
        check_i64(tls_write(h.client, GET, sizeof(GET) - 1), 0);
        check_not_judged_yet(&h);
        check_starts(pump(&h), "HTTP/1.1 200 ");
        check_u64(h.handled, i);
        check_u64(httpd_wire_deadline(h.wire),
                  h.now_ns + h.limits.idle_timeout_ns);
    }
    close_host(&h);
}

static void after_the_handshake_the_sessions_time_begins(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "http/1.1");
    h.now_ns = 4 * SEC;
    exchange(&h, 4096);
    check_u64(httpd_wire_deadline(h.wire), 4 * SEC + h.limits.head_timeout_ns);
    check_u64(httpd_wire_waits_since(h.wire), 4 * SEC);
    close_host(&h);
}

static void what_is_not_tls_hears_an_alert_and_no_more(void **state)
{
    (void)state;
    struct host h;
    open_host(&h, NULL, tls.server);
    say_in(&h, "\x16\x03\x01\x01\x01GARBAGE", 4096);
    check_u64(h.got.len, 0); /* the record is not complete */
    for (int i = 0; i < 40; i++)
        say_in(&h, "GARBAGE", 4096);
    check_u64(h.got.len, 7);
    check_u64(h.got.data[0], 21); /* an alert */
    check_u64(h.handled, 0);
    check_u64(h.stats.bad_handshakes, 1);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_LINGERING);
    for (int i = 0; i < 300; i++) { /* dropped */
        size_t size;
        check_true(httpd_wire_space(h.wire, &size) != NULL);
        say_in(&h, GET, 4096);
    }
    check_u64(httpd_wire_deadline(h.wire), SEC + h.limits.linger_timeout_ns);
    httpd_wire_eof(h.wire, h.now_ns);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ENDED);
    close_host(&h);
    open_host(&h, NULL, tls.server);
    check_false(httpd_wire_refuse(h.wire, h.now_ns));
    say_in(&h, GET, 4096); /* plain text does not even hear that */
    check_u64(h.got.len, 0);
    check_u64(h.stats.bad_handshakes, 1);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_LINGERING);
    close_host(&h);
}

static void a_close_in_the_handshake_ends_it(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "http/1.1");
    httpd_wire_eof(h.wire, h.now_ns);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ENDED);
    close_host(&h);
}

static void long_answers_are_encrypted_a_piece_at_a_time(void **state)
{
    (void)state;
    static const size_t sizes[] = {SIZE_MAX, 20000, 1000, 77};
    for (size_t i = 0; i < 4; i++) {
        struct host h;
        open_tls_host(&h, NULL, "http/1.1");
        exchange(&h, 4096);
        h.write_size = sizes[i];
        h.out_max = 0;
        const char *got = ask(&h, BIG, 4096);
        check_starts(got, "HTTP/1.1 200 OK\r\n");
        check_true(h.got.len > BIG_LEN);
        check_text(got + h.got.len - 7, "\r\n0\r\n\r\n");
        check_true(h.out_max > 16384 && h.out_max < 17000);
        check_u64(h.done, 1);
        close_host(&h);
    }
}

static void the_same_bytes_come_with_and_without_tls(void **state)
{
    (void)state;
    struct host plain, sealed;
    open_host(&plain, NULL, NULL);
    say_in(&plain, BIG GET, 4096);
    open_tls_host(&sealed, NULL, "http/1.1");
    exchange(&sealed, 4096);
    ask(&sealed, BIG GET, 4096);
    check_u64(sealed.got.len, plain.got.len);
    check_true(memcmp(sealed.got.data, plain.got.data, plain.got.len) == 0);
    close_host(&plain);
    close_host(&sealed);
}

/* Encrypted is not sent: a reader that stops is still seen as one. */
static void a_reader_that_stops_is_cut_off(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "http/1.1");
    exchange(&h, 4096);
    size_t len;
    tls_write(h.client, BIG, strlen(BIG));
    const uint8_t *out = tls_out(h.client, &len);
    size_t size;
    memcpy(httpd_wire_space(h.wire, &size), out, len);
    httpd_wire_received(h.wire, len, h.now_ns);
    while (httpd_wire_wants_turn(h.wire))
        httpd_wire_turn(h.wire, h.now_ns);
    uint64_t end_ns = SEC + h.limits.write_timeout_ns;
    check_u64(httpd_wire_deadline(h.wire), end_ns);
    /* A byte of it is progress. */
    httpd_wire_sent(h.wire, 1, 2 * SEC);
    check_u64(httpd_wire_deadline(h.wire), end_ns + SEC);
    httpd_wire_progress(h.wire, 3 * SEC);
    check_u64(httpd_wire_deadline(h.wire), end_ns + 2 * SEC);
    httpd_wire_expire(h.wire, end_ns + 2 * SEC);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ABORTED);
    check_u64(h.done, 1);
    close_host(&h);
}

/* The echo has no deadlines, and says that it has ended with output left. */
static void a_session_without_deadlines_does_not_hang(void **state)
{
    (void)state;
    for (int has_end = 0; has_end < 2; has_end++) {
        struct host h;
        open_tls_host(&h, &echo_ops, "h2");
        exchange(&h, 4096);
        h.now_ns = 10 * SEC;
        size_t len, size;
        tls_write(h.client, GET, strlen(GET));
        const uint8_t *out = tls_out(h.client, &len);
        memcpy(httpd_wire_space(h.wire, &size), out, len);
        httpd_wire_received(h.wire, len, h.now_ns);
        httpd_wire_turn(h.wire, h.now_ns);
        check_true(httpd_wire_out(h.wire, &len) != NULL);
        if (has_end)
            httpd_wire_eof(h.wire, h.now_ns);
        uint64_t end_ns = 10 * SEC + h.limits.write_timeout_ns;
        check_u64(httpd_wire_deadline(h.wire), end_ns);
        httpd_wire_progress(h.wire, 11 * SEC);
        check_u64(httpd_wire_deadline(h.wire), end_ns + SEC);
        httpd_wire_sent(h.wire, 1, 12 * SEC);
        check_u64(httpd_wire_deadline(h.wire), end_ns + 2 * SEC);
        httpd_wire_expire(h.wire, end_ns + 2 * SEC);
        check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ABORTED);
        check_u64(h.stats.timeouts, 1);
        close_host(&h);
    }
}

/* As without TLS, where the connection would be closed at once. */
static void of_a_session_that_ended_no_more_is_taken(void **state)
{
    (void)state;
    struct host h;
    static uint8_t bytes[30000];
    size_t len, size;
    open_tls_host(&h, &echo_ops, "h2");
    exchange(&h, 4096);
    echo_from = sizeof(bytes);
    tls_write(h.client, bytes, sizeof(bytes));
    const uint8_t *out = tls_out(h.client, &len);
    for (size_t at = 0; at < len; at += size) {
        uint8_t *space = httpd_wire_space(h.wire, &size);
        size = size < len - at ? size : len - at;
        check_true(space != NULL);
        memcpy(space, out + at, size);
        httpd_wire_received(h.wire, size, h.now_ns);
        httpd_wire_turn(h.wire, h.now_ns);
    }
    echo_from = 0;
    check_true(httpd_wire_out(h.wire, &len) != NULL);
    httpd_wire_eof(h.wire, h.now_ns);
    pump(&h);
    check_u64(h.got.len, 16384); /* the piece that was encrypted before */
    check_true(httpd_wire_phase(h.wire) >= HTTPD_CONN_ENDED);
    close_host(&h);
}

static void what_came_before_the_end_is_answered(void **state)
{
    (void)state;
    struct host h;
    size_t len, size;
    open_tls_host(&h, NULL, "http/1.1");
    exchange(&h, 4096);
    tls_write(h.client, GET, strlen(GET));
    const uint8_t *out = tls_out(h.client, &len);
    memcpy(httpd_wire_space(h.wire, &size), out, len);
    httpd_wire_received(h.wire, len, h.now_ns);
    httpd_wire_eof(h.wire, h.now_ns);
    check_starts(pump(&h), "HTTP/1.1 200 OK\r\n");
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ENDED);
    close_host(&h);
}

static void a_cut_ends_what_is_stuck_at_once(void **state)
{
    (void)state;
    struct host h;
    size_t len;
    open_tls_host(&h, NULL, "http/1.1");
    exchange(&h, 4096);
    ask(&h, LIVE, 4096);
    h.n_ready = 1;
    h.handler_waker->wake(h.handler_waker);
    httpd_wire_turn(h.wire, h.now_ns);
    check_true(httpd_wire_out(h.wire, &len) != NULL);
    httpd_wire_eof(h.wire, h.now_ns);
    check_u64(h.done, 1);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ABORTED);
    close_host(&h);
}

static void the_end_is_said_in_tls_first(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "http/1.1");
    exchange(&h, 4096);
    h.write_size = 1;
    check_starts(ask(&h, BYE, 4096), "HTTP/1.1 200 OK\r\n");
    check_u64(tls_state(h.client), TLS_CLOSED);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_LINGERING);
    check_u64(httpd_wire_deadline(h.wire), SEC + h.limits.linger_timeout_ns);
    httpd_wire_eof(h.wire, h.now_ns);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ENDED);
    close_host(&h);
}

static void an_end_that_does_not_get_out_ends_anyway(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "http/1.1");
    exchange(&h, 4096);
    h.now_ns = httpd_wire_deadline(h.wire);
    httpd_wire_expire(h.wire, h.now_ns); /* idle: wants to close */
    size_t len;
    check_true(httpd_wire_out(h.wire, &len) != NULL);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ANSWERING);
    httpd_wire_eof(h.wire, h.now_ns);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ANSWERING);
    h.now_ns += h.limits.linger_timeout_ns;
    check_u64(httpd_wire_deadline(h.wire), h.now_ns);
    check_u64(h.stats.timeouts, 1);
    httpd_wire_expire(h.wire, h.now_ns);
    check_true(httpd_wire_phase(h.wire) >= HTTPD_CONN_ENDED);
    check_u64(h.stats.timeouts, 1); /* it was counted */
    close_host(&h);
}

static void live_answers_go_through_tls_as_they_come(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "http/1.1");
    exchange(&h, 4096);
    check_starts(ask(&h, LIVE, 4096), "HTTP/1.1 200 OK\r\n");
    check_false(httpd_wire_wants_turn(h.wire));
    check_u64(httpd_wire_deadline(h.wire), UINT64_MAX);
    wr_reset(&h.got);
    h.n_ready = 2;
    h.handler_waker->wake(h.handler_waker);
    check_true(httpd_wire_wants_turn(h.wire));
    check_text(pump(&h), "0000000a\r\nline\nline\n\r\n");
    close_host(&h);
    check_u64(h.done, 1);
}

static void a_close_notify_ends_a_live_answer(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "http/1.1");
    exchange(&h, 4096);
    ask(&h, LIVE, 4096);
    tls_shutdown(h.client);
    exchange(&h, 4096);
    check_u64(h.done, 1);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ABORTED);
    close_host(&h);
}

static void a_cut_ends_a_live_answer_too(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "http/1.1");
    exchange(&h, 4096);
    ask(&h, LIVE, 4096);
    httpd_wire_eof(h.wire, h.now_ns);
    check_u64(h.done, 1);
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ABORTED);
    close_host(&h);
}

static void broken_ciphertext_ends_the_wire(void **state)
{
    (void)state;
    struct host h;
    open_tls_host(&h, NULL, "http/1.1");
    exchange(&h, 4096);
    size_t len;
    tls_write(h.client, GET, strlen(GET));
    uint8_t copy[200];
    const uint8_t *out = tls_out(h.client, &len);
    check_true(len < sizeof(copy));
    memcpy(copy, out, len);
    copy[len - 1] ^= 1;
    arrive(&h, copy, len, 4096);
    check_u64(h.handled, 0);
    check_true(httpd_wire_phase(h.wire) >= HTTPD_CONN_ENDED);
    close_host(&h);
}

/* A session without room leaves the rest where it is, and nothing is lost. */
static void a_full_session_holds_up_what_comes(void **state)
{
    (void)state;
    struct host h;
    static char text[60000];
    open_tls_host(&h, NULL, "http/1.1");
    exchange(&h, 4096);
    size_t n = 0;
    while (n + sizeof(GET) < sizeof(text))
        n += (size_t)sprintf(text + n, "%s", GET);
    unsigned wanted = (unsigned)(n / (sizeof(GET) - 1));
    ask(&h, text, 4096);
    check_u64(h.handled, wanted);
    close_host(&h);
}

/* The same while an answer waits: then the ciphertext that TLS has borrowed
 * must stay as it is until there is room again. */
static void what_is_lent_is_not_written_over(void **state)
{
    (void)state;
    struct host h;
    static char text[12000];
    open_tls_host(&h, NULL, "http/1.1");
    exchange(&h, 4096);
    ask(&h, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n", 4096);
    size_t n = 0, len, at = 0, size;
    while (n + sizeof(GET) < sizeof(text))
        n += (size_t)sprintf(text + n, "%s", GET);
    for (size_t i = 0; i < n; i += sizeof(GET) - 1) /* a record each */
        tls_write(h.client, GET, sizeof(GET) - 1);
    const uint8_t *out = tls_out(h.client, &len);
    check_true(len > 8192);
    while (at < len) {
        uint8_t *space = httpd_wire_space(h.wire, &size);
        if (!space) {
            check_false(h.is_prepared);
            check_false(httpd_wire_wants_turn(h.wire));
            check_true(at > 4096);
            h.is_prepared = true;
            h.handler_waker->wake(h.handler_waker);
            pump(&h);
            continue;
        }
        size = size < len - at ? size : len - at;
        size = size < 1000 ? size : 1000;
        memcpy(space, out + at, size);
        httpd_wire_received(h.wire, size, h.now_ns);
        at += size;
        pump(&h);
    }
    check_true(h.is_prepared);
    check_u64(h.handled, 1 + n / (sizeof(GET) - 1));
    check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_READING);
    close_host(&h);
}

static void an_end_behind_what_is_lent_comes_after_it(void **state)
{
    (void)state;
    struct host h;
    size_t len, at = 0, size;
    open_tls_host(&h, NULL, "http/1.1");
    exchange(&h, 4096);
    ask(&h, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n", 4096);
    for (int i = 0; i < 400; i++) /* a record each */
        tls_write(h.client, GET, sizeof(GET) - 1);
    const uint8_t *out = tls_out(h.client, &len);
    uint8_t *space;
    while ((space = httpd_wire_space(h.wire, &size))) {
        size = size < 1000 ? size : 1000;
        check_true(at + size < len);
        memcpy(space, out + at, size);
        httpd_wire_received(h.wire, size, h.now_ns);
        at += size;
        pump(&h);
    }
    httpd_wire_eof(h.wire, h.now_ns);
    h.is_prepared = true;
    h.handler_waker->wake(h.handler_waker);
    pump(&h);
    check_u64(h.handled, 1 + at / (len / 400));
    close_host(&h);
}

static void survives_random_damage(void **state)
{
    (void)state;
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 200; round++) {
        struct host h;
        open_tls_host(&h, &echo_ops, rng_below(&rng, 2) ? "h2" : "http/1.1");
        bool is_damaged = rng_below(&rng, 2);
        for (int i = 0; i < 12; i++) {
            size_t len;
            uint8_t copy[8192];
            if (tls_state(h.client) == TLS_HANDSHAKE)
                tls_handshake(h.client);
            if (tls_state(h.client) == TLS_OPEN)
                tls_write(h.client, LIVE, strlen(LIVE));
            const uint8_t *out = tls_out(h.client, &len);
            len = out && len < sizeof(copy) ? len : 0;
            if (len > 0)
                memcpy(copy, out, len);
            tls_sent(h.client, len);
            if (is_damaged && len > 0 && rng_below(&rng, 4) == 0)
                copy[rng_below(&rng, len)] ^=
                    (uint8_t)(1 + rng_below(&rng, 255));
            arrive(&h, copy, len, 1 + rng_below(&rng, 3000));
            h.now_ns += rng_below(&rng, SEC);
            if (rng_below(&rng, 20) == 0)
                httpd_wire_eof(h.wire, h.now_ns);
            if (h.handler_waker && h.handled > h.done)
                h.handler_waker->wake(h.handler_waker);
            if (rng_below(&rng, 20) == 0)
                tls_shutdown(h.client);
            httpd_wire_expire(h.wire, h.now_ns);
            pump(&h);
        }
        httpd_wire_abandon(h.wire);
        check_u64(httpd_wire_phase(h.wire), HTTPD_CONN_ABORTED);
        check_u64(h.done, h.handled);
        close_host(&h);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_bytes_choose_the_session),
        cmocka_unit_test(without_http2_all_is_http1),
        cmocka_unit_test(half_a_preface_is_a_bad_request),
        cmocka_unit_test(who_says_nothing_ends_in_silence),
        cmocka_unit_test(a_refusal_is_http1),
        cmocka_unit_test(a_session_that_cannot_open_ends_the_wire),
        cmocka_unit_test(requests_go_through_tls),
        cmocka_unit_test(alpn_chooses_the_session),
        cmocka_unit_test(http2_that_is_not_spoken_fails),
        cmocka_unit_test(a_handshake_waits_for_its_turn),
        cmocka_unit_test(a_handshake_has_its_time_as_a_whole),
        cmocka_unit_test(ciphertext_that_came_in_time_is_looked_at_first),
        cmocka_unit_test(after_the_handshake_the_sessions_time_begins),
        cmocka_unit_test(what_is_not_tls_hears_an_alert_and_no_more),
        cmocka_unit_test(a_close_in_the_handshake_ends_it),
        cmocka_unit_test(long_answers_are_encrypted_a_piece_at_a_time),
        cmocka_unit_test(the_same_bytes_come_with_and_without_tls),
        cmocka_unit_test(a_reader_that_stops_is_cut_off),
        cmocka_unit_test(a_session_without_deadlines_does_not_hang),
        cmocka_unit_test(of_a_session_that_ended_no_more_is_taken),
        cmocka_unit_test(what_came_before_the_end_is_answered),
        cmocka_unit_test(a_cut_ends_what_is_stuck_at_once),
        cmocka_unit_test(the_end_is_said_in_tls_first),
        cmocka_unit_test(an_end_that_does_not_get_out_ends_anyway),
        cmocka_unit_test(live_answers_go_through_tls_as_they_come),
        cmocka_unit_test(a_close_notify_ends_a_live_answer),
        cmocka_unit_test(a_cut_ends_a_live_answer_too),
        cmocka_unit_test(broken_ciphertext_ends_the_wire),
        cmocka_unit_test(a_full_session_holds_up_what_comes),
        cmocka_unit_test(what_is_lent_is_not_written_over),
        cmocka_unit_test(an_end_behind_what_is_lent_comes_after_it),
        cmocka_unit_test(survives_random_damage),
    };
    return cmocka_run_group_tests_name("httpd_wire", tests, make_contexts,
                                       close_contexts);
}
