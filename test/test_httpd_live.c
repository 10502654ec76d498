/* Requests with bodies and answers that wait, on connections fed by hand. */
#include "prober/httpd.h"

#include <stdio.h>
#include <string.h>

#include "prober/httpd_conn_private.h"
#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define SEC       1000000000ull
#define REPLY_MAX (8u << 20)

#define POST_AND_DELETE (1u << HTTPD_POST | 1u << HTTPD_DELETE)

/* ---- a connection, its host and a handler that waits ---- */

struct host {
    struct httpd_limits limits;
    struct httpd_stats stats;
    struct httpd_conn_config config;
    struct httpd_peer peer;
    struct httpd_waker waker; /* the host's own */
    unsigned wakes;
    struct httpd_conn *conn;
    uint64_t now_ns;
    struct wr got;

    /* What the handler saw last. */
    unsigned handled, done;
    char path[64], body[HTTPD_BODY_MAX + 1];
    size_t body_len;
    bool has_body;
    enum httpd_method method;
    char authorization[600], host[600], origin[600], content_type[600];
    const struct httpd_peer *seen_peer;

    /* What the answer does. */
    struct httpd_waker *handler_waker;
    unsigned calls;     /* of body and prepare */
    unsigned n_ready;   /* lines that may be sent */
    unsigned n_written; /* lines that were */
    size_t line_len;    /* bytes of one, with its newline */
    bool is_over;       /* nothing comes after the ready ones */
    bool wakes_itself;  /* calls the waker before it says that it waits */
    int fails;          /* a negative error, as soon as it is called */
    bool is_prepared;
};

static int lines_body(void *state, struct wr *w)
{
    struct host *h = state;
    h->calls++;
    if (h->fails)
        return h->fails;
    while (h->n_written < h->n_ready) {
        if (httpd_slice_is_full(w))
            return 1;
        char digit = (char)('0' + h->n_written++ % 10);
        for (size_t i = 1; i < h->line_len; i++)
            wr_u8(w, (uint8_t)digit);
        wr_u8(w, '\n');
    }
    if (h->is_over)
        return 0;
    if (h->wakes_itself) {
        h->wakes_itself = false;
        h->n_ready++;
        h->handler_waker->wake(h->handler_waker);
    }
    return HTTPD_WAIT;
}

static int waiting_prepare(void *state, struct httpd_answer *answer)
{
    struct host *h = state;
    (void)answer;
    h->calls++;
    if (h->fails)
        return h->fails;
    return h->is_prepared ? 0 : HTTPD_WAIT;
}

static int becomes_live(void *state, struct httpd_answer *answer)
{
    (void)state;
    answer->is_live = true;
    return 0;
}

static void count_done(void *state)
{
    struct host *h = state;
    h->done++;
}

static void keep(char out[600], const char *value)
{
    snprintf(out, 600, "%s", value ? value : "(none)");
}

static void handle(void *arg, const struct httpd_request *r,
                   struct httpd_answer *a)
{
    struct host *h = arg;
    h->handled++;
    h->method = r->method;
    check_u64(r->is_head, r->method == HTTPD_HEAD);
    h->seen_peer = r->peer;
    h->handler_waker = r->waker;
    h->has_body = r->body != NULL;
    h->body_len = r->body_len;
    snprintf(h->path, sizeof(h->path), "%s", r->path);
    if (r->body)
        memcpy(h->body, r->body, r->body_len);
    h->body[r->body_len] = '\0';
    keep(h->authorization, r->authorization);
    keep(h->host, r->host);
    keep(h->origin, r->origin);
    keep(h->content_type, r->content_type);

    *a = (struct httpd_answer){.status = 200,
                               .content_type = "application/x-ndjson",
                               .state = h,
                               .done = count_done};
    if (strcmp(r->path, "/live") == 0) {
        a->is_live = true;
        a->body = lines_body;
    } else if (strcmp(r->path, "/lines") == 0) {
        a->body = lines_body;
    } else if (strcmp(r->path, "/prepared") == 0) {
        a->prepare = waiting_prepare;
        a->text = "ready\n";
    } else if (strcmp(r->path, "/becomes-live") == 0) {
        a->prepare = becomes_live;
        a->body = lines_body;
    } else if (strcmp(r->path, "/nothing") == 0) {
        a->status = 204;
    } else {
        a->text = "ok\n";
    }
}

static void on_wake(struct httpd_waker *waker)
{
    struct host *h = (void *)((char *)waker - offsetof(struct host, waker));
    h->wakes++;
}

static void open_host(struct host *h, unsigned methods)
{
    *h = (struct host){
        .limits = httpd_limits_default, .now_ns = SEC, .line_len = 8};
    h->limits.methods = methods;
    h->waker.wake = on_wake;
    h->config = (struct httpd_conn_config){
        .limits = &h->limits, .handler = handle, .arg = h, .stats = &h->stats};
    wr_init_grow(&h->got, REPLY_MAX);
    h->conn = httpd_conn_open(&h->config, &h->peer, &h->waker, h->now_ns);
    check_true(h->conn != NULL);
}

static void close_host(struct host *h)
{
    httpd_conn_close(h->conn);
    wr_fini(&h->got);
}

static int setup(void **state)
{
    struct host *h = malloc(sizeof(*h));
    if (!h)
        return -1;
    open_host(h, POST_AND_DELETE);
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    close_host(*state);
    free(*state);
    return 0;
}

/* Turn and "write" until nothing moves; returns all that was sent so far. */
static const char *pump(struct host *h)
{
    for (;;) {
        size_t len;
        const uint8_t *out = httpd_conn_out(h->conn, &len);
        if (out) {
            wr_bytes(&h->got, out, len);
            httpd_conn_sent(h->conn, len, h->now_ns);
        } else if (httpd_conn_wants_turn(h->conn)) {
            httpd_conn_turn(h->conn, h->now_ns);
        } else {
            break;
        }
    }
    wr_u8(&h->got, '\0');
    h->got.len--;
    check_i64(wr_err(&h->got), 0);
    return (const char *)h->got.data;
}

/* Receive, without a turn; returns how much there was room for. */
static size_t receive(struct host *h, const void *data, size_t len)
{
    size_t size;
    uint8_t *space = httpd_conn_space(h->conn, &size);
    size_t n = len < size ? len : size;
    if (n > 0)
        memcpy(space, data, n);
    httpd_conn_received(h->conn, n, h->now_ns);
    return n;
}

static const char *feed(struct host *h, const void *data, size_t len,
                        size_t step)
{
    const uint8_t *p = data;
    const char *got = pump(h);
    while (len > 0 && httpd_conn_phase(h->conn) < HTTPD_CONN_ENDED) {
        size_t n = receive(h, p, len < step ? len : step);
        got = pump(h);
        if (n == 0)
            break;
        p += n;
        len -= n;
    }
    return got;
}

static const char *say(struct host *h, const char *text)
{
    wr_reset(&h->got);
    return feed(h, text, strlen(text), 4096);
}

static const char *wake(struct host *h)
{
    wr_reset(&h->got);
    h->handler_waker->wake(h->handler_waker);
    return pump(h);
}

static bool has(const char *text, const char *what)
{
    return strstr(text, what) != NULL;
}

static void check_starts(const char *got, const char *want)
{
    if (strncmp(got, want, strlen(want)) != 0)
        fail_msg("got: %.300s\nwanted: %s", got, want);
}

static const char *body_of(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    check_true(end != NULL);
    return end + 4;
}

#define LIVE  "GET /live HTTP/1.1\r\nHost: h\r\n\r\n"
#define LINES "GET /lines HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST(fields, body) \
    "POST /v1/probes HTTP/1.1\r\nHost: h\r\n" fields "\r\n" body

/* ---- methods and bodies ---- */

static void handlers_get_the_body(void **state)
{
    struct host *h = *state;
    check_starts(say(h, POST("Content-Length: 5\r\n", "{\"a\"}")),
                 "HTTP/1.1 200 OK\r\n");
    check_u64(h->method, HTTPD_POST);
    check_text(h->path, "/v1/probes");
    check_u64(h->body_len, 5);
    check_text(h->body, "{\"a\"}");
    say(h, POST("Transfer-Encoding: chunked\r\n",
                "1\r\n{\r\n003;x=y\r\n\"a\"\r\n1\r\n}\r\n0\r\nT: u\r\n\r\n"));
    check_u64(h->body_len, 5);
    check_text(h->body, "{\"a\"}");
    say(h, POST("Content-Length: 1\r\n", "x"));
    check_text(h->body, "x");
    check_u64(h->handled, 3);
    check_u64(h->done, 3);
}

static void a_body_is_not_taken_for_the_next_requests(void **state)
{
    struct host *h = *state;
    say(h, POST("Content-Length: 3\r\n", "one") POST("", "")
               POST("Content-Length: 3\r\n", "two") POST(
                   "Content-Length: 0\r\n", "") "DELETE /v1/probes/7 HTTP/1.1"
                                                "\r\nHost: h\r\n"
                                                "Content-Length: 3\r\n\r\nxyz");
    check_u64(h->handled, 5);
    check_u64(h->method, HTTPD_DELETE);
    check_text(h->path, "/v1/probes/7");
    check_false(h->has_body);
    check_u64(h->body_len, 0);
    say(h, "GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz");
    check_u64(h->handled, 6);
    check_false(h->has_body);
    say(h, POST("", ""));
    check_false(h->has_body);
}

static void any_cut_of_a_body_gives_the_same(void **state)
{
    struct host *h = *state;
    static const char *const texts[] = {
        POST("Content-Length: 11\r\n", "hello\r\n\r\nyo"),
        POST("Transfer-Encoding: chunked\r\n",
             "6\r\nhello\r\r\n5\r\n\n\r\nyo\r\n0\r\n\r\n"),
    };
    for (size_t i = 0; i < 2; i++) {
        for (size_t step = 1; step <= strlen(texts[i]); step++) {
            h->body_len = 0;
            feed(h, texts[i], strlen(texts[i]), step);
            check_u64(h->body_len, 11);
            check_text(h->body, "hello\r\n\r\nyo");
        }
    }
}

static void a_body_of_the_limit_is_taken_and_one_more_refused(void **state)
{
    struct host *h = *state;
    static char text[2 * HTTPD_BODY_MAX];
    for (size_t extra = 0; extra < 2; extra++) {
        int head = snprintf(text, 200, POST("Content-Length: %zu\r\n", ""),
                            HTTPD_BODY_MAX + extra);
        memset(text + head, 'b', HTTPD_BODY_MAX + extra);
        wr_reset(&h->got);
        const char *got =
            feed(h, text, (size_t)head + HTTPD_BODY_MAX + extra, 4096);
        check_starts(got, extra ? "HTTP/1.1 413 " : "HTTP/1.1 200 ");
        check_u64(h->body_len, HTTPD_BODY_MAX);
    }
    check_u64(h->handled, 1);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_LINGERING);
}

static void chunks_beyond_the_limit_are_refused(void **state)
{
    struct host *h = *state;
    static char text[40 * 1024];
    int n = snprintf(text, 200, POST("Transfer-Encoding: chunked\r\n", ""));
    for (int i = 0; i < 17; i++) {
        n += snprintf(text + n, 8, "400\r\n");
        memset(text + n, 'c', 1024);
        n += 1024;
        n += snprintf(text + n, 8, "\r\n");
    }
    check_starts(feed(h, text, (size_t)n, 999), "HTTP/1.1 413 ");
    check_u64(h->handled, 0);
}

static void the_api_takes_no_bodies_and_no_other_methods(void **state)
{
    (void)state;
    struct host h;
    static const struct {
        unsigned methods;
        const char *request, *allow;
    } cases[] = {
        {0, "POST", "Allow: GET, HEAD\r\n"},
        {0, "DELETE", "Allow: GET, HEAD\r\n"},
        {1u << HTTPD_POST, "DELETE", "Allow: GET, HEAD, POST\r\n"},
        {1u << HTTPD_DELETE, "POST", "Allow: GET, HEAD, DELETE\r\n"},
        {POST_AND_DELETE, "PUT", "Allow: GET, HEAD, POST, DELETE\r\n"},
        {POST_AND_DELETE, "post", "Allow: GET, HEAD, POST, DELETE\r\n"},
        {POST_AND_DELETE, "POSTS", "Allow: GET, HEAD, POST, DELETE\r\n"},
        {POST_AND_DELETE, "POS", "Allow: GET, HEAD, POST, DELETE\r\n"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[200];
        open_host(&h, cases[i].methods);
        snprintf(text, sizeof(text),
                 "%s / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy",
                 cases[i].request);
        check_starts(say(&h, text), "HTTP/1.1 405 ");
        if (!has((char *)h.got.data, cases[i].allow))
            fail_msg("case %zu: %s", i, (char *)h.got.data);
        check_u64(h.handled, 0);
        check_u64(h.stats.bad_requests, 1);
        check_u64(httpd_conn_phase(h.conn), HTTPD_CONN_READING);
        close_host(&h);
    }
}

static void get_and_head_are_always_served(void **state)
{
    struct host *h = *state;
    check_starts(say(h, "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"), "HTTP/1.1 200 ");
    check_u64(h->method, HTTPD_GET);
    check_starts(say(h, "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n"),
                 "HTTP/1.1 200 ");
    check_u64(h->method, HTTPD_HEAD);
    check_text(body_of((char *)h->got.data), "");
}

static void nothing_has_no_length(void **state)
{
    const char *got =
        say(*state, "DELETE /nothing HTTP/1.1\r\nHost: h\r\n\r\n");
    check_starts(got, "HTTP/1.1 204 No Content\r\n");
    check_false(has(got, "\nContent-Length"));
    check_false(has(got, "\nContent-Type"));
    check_text(body_of(got), "");
}

/* ---- Expect ---- */

static void who_expects_to_be_told_is_told(void **state)
{
    struct host *h = *state;
    const char *got =
        say(h, POST("Expect: 100-Continue\r\nContent-Length: 2\r\n", ""));
    check_text(got, "HTTP/1.1 100 Continue\r\n\r\n");
    check_u64(h->handled, 0);
    check_starts(say(h, "xy"), "HTTP/1.1 200 OK\r\n");
    check_text(h->body, "xy");
    /* The next one has not been told anything yet. */
    check_text(
        say(h,
            POST("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "")),
        "HTTP/1.1 100 Continue\r\n\r\n");
    check_starts(say(h, "2\r\nab\r\n0\r\n\r\n"), "HTTP/1.1 200 OK\r\n");
    check_text(h->body, "ab");
}

static void who_did_not_wait_is_not_told(void **state)
{
    check_starts(
        say(*state, POST("Expect: 100-continue\r\nContent-Length: 2\r\n", "x")),
        "");
    struct host *h = *state;
    check_u64(h->got.len, 0);
    check_starts(say(h, "y"), "HTTP/1.1 200 OK\r\n");
    /* Without a body there is nothing to wait for. */
    check_starts(say(h, POST("Expect: 100-continue\r\n", "")),
                 "HTTP/1.1 200 OK\r\n");
}

static void what_cannot_be_met_is_refused(void **state)
{
    struct host *h = *state;
    check_starts(say(h, POST("Expect: 200-ok\r\nContent-Length: 2\r\n", "")),
                 "HTTP/1.1 417 ");
    check_u64(h->handled, 0);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_LINGERING);
}

static void too_long_a_body_is_not_asked_for(void **state)
{
    struct host *h = *state;
    check_starts(
        say(h, POST("Expect: 100-continue\r\nContent-Length: 16385\r\n", "")),
        "HTTP/1.1 413 ");
}

static void being_told_buys_no_time(void **state)
{
    struct host *h = *state;
    say(h, POST("Expect: 100-continue\r\nContent-Length: 2\r\n", ""));
    uint64_t until_ns = httpd_conn_deadline(h->conn);
    check_u64(until_ns, SEC + h->limits.head_timeout_ns);
    h->now_ns = until_ns - 1;
    say(h, "x");
    check_u64(httpd_conn_deadline(h->conn), until_ns);
    h->now_ns = until_ns;
    httpd_conn_expire(h->conn, until_ns);
    wr_reset(&h->got);
    check_starts(pump(h), "HTTP/1.1 408 ");
}

static void the_time_it_takes_to_be_told_buys_none_either(void **state)
{
    struct host *h = *state;
    const char *text =
        POST("Expect: 100-continue\r\nContent-Length: 2\r\n", "");
    receive(h, text, strlen(text));
    httpd_conn_turn(h->conn, h->now_ns);
    h->now_ns = 3 * SEC;
    check_text(pump(h), "HTTP/1.1 100 Continue\r\n\r\n");
    check_u64(httpd_conn_deadline(h->conn), SEC + h->limits.head_timeout_ns);
    /* It is over with the request: idleness begins when that is answered. */
    receive(h, "xy", 2);
    httpd_conn_turn(h->conn, h->now_ns);
    h->now_ns = 4 * SEC;
    pump(h);
    check_u64(h->handled, 1);
    check_u64(httpd_conn_deadline(h->conn),
              4 * SEC + h->limits.idle_timeout_ns);
}

static void http_1_0_expects_nothing(void **state)
{
    struct host *h = *state;
    static const char *const values[] = {"100-continue", "200-ok"};
    for (size_t i = 0; i < 2; i++) {
        char request[200];
        snprintf(request, sizeof(request),
                 "POST / HTTP/1.0\r\nConnection: keep-alive\r\n"
                 "Expect: %s\r\nContent-Length: 2\r\n\r\n",
                 values[i]);
        check_text(say(h, request), "");
        check_starts(say(h, "xy"), "HTTP/1.1 200 OK\r\n");
    }
}

/* ---- who asks ---- */

static void handlers_get_the_fields_they_decide_by(void **state)
{
    struct host *h = *state;
    say(h, "POST / HTTP/1.1\r\nAUTHORIZATION:  Bearer abc \r\nHost: h:1\r\n"
           "origin: http://evil\r\nContent-type: application/json\r\n\r\n");
    check_text(h->authorization, "Bearer abc");
    check_text(h->host, "h:1");
    check_text(h->origin, "http://evil");
    check_text(h->content_type, "application/json");
    assert_ptr_equal(h->seen_peer, &h->peer);
    say(h, "GET / HTTP/1.0\r\nX-Authorization: no\r\nOrigins: no\r\n\r\n");
    check_text(h->authorization, "(none)");
    check_text(h->host, "(none)");
    check_text(h->origin, "(none)");
    check_text(h->content_type, "(none)");
}

static void what_comes_twice_is_refused(void **state)
{
    (void)state;
    static const char *const twice[] = {
        "Authorization: a\r\nAuthorization: a\r\n",
        "Authorization: a\r\nX: y\r\nauthorization: b\r\n",
        "Authorization: \r\nAuthorization: b\r\n",
        "Content-Type: a\r\ncontent-type: a\r\n",
        "Origin: a\r\nOrigin: b\r\n",
        "Host: h\r\n", /* with the one that is there */
        "Content-Length: 0\r\nContent-Length: 0\r\n",
    };
    for (size_t i = 0; i < sizeof(twice) / sizeof(twice[0]); i++) {
        struct host h;
        char text[300];
        open_host(&h, POST_AND_DELETE);
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n",
                 twice[i]);
        check_starts(say(&h, text), "HTTP/1.1 400 ");
        check_u64(h.handled, 0);
        check_u64(httpd_conn_phase(h.conn), HTTPD_CONN_LINGERING);
        close_host(&h);
    }
}

static void each_field_holds_its_bound(void **state)
{
    (void)state;
    static const char *const names[] = {"Authorization", "Host", "Origin",
                                        "Content-Type"};
    for (size_t i = 0; i < 8; i++) {
        struct host h;
        char text[1200], value[600];
        size_t len = i < 4 ? HTTPD_FIELD_MAX : HTTPD_FIELD_MAX + 1;
        memset(value, 'v', len);
        value[len] = '\0';
        open_host(&h, POST_AND_DELETE);
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s%s: %s\r\n\r\n",
                 i % 4 == 1 ? "" : "Host: h\r\n", names[i % 4], value);
        check_starts(say(&h, text), i < 4 ? "HTTP/1.1 200 " : "HTTP/1.1 431 ");
        const char *const got[] = {h.authorization, h.host, h.origin,
                                   h.content_type};
        if (i < 4)
            check_text(got[i % 4], value);
        else
            check_u64(h.handled, 0);
        close_host(&h);
    }
}

static void all_fields_of_full_length_fit_together(void **state)
{
    struct host *h = *state;
    static char text[4000];
    char v[HTTPD_FIELD_MAX + 1];
    memset(v, 'v', sizeof(v) - 1);
    v[sizeof(v) - 1] = '\0';
    snprintf(text, sizeof(text),
             "GET / HTTP/1.1\r\nAuthorization: %s\r\nHost: %s\r\nOrigin: %s\r\n"
             "Content-Type: %s\r\n\r\n",
             v, v, v, v);
    check_starts(say(h, text), "HTTP/1.1 200 ");
    check_text(h->authorization, v);
    check_text(h->host, v);
    check_text(h->origin, v);
    check_text(h->content_type, v);
}

static void two_hosts_in_one_request_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *target, *host;
        bool is_good;
    } cases[] = {
        {"http://node/x", "node", true},
        {"HTTP://NODE/x", "node", false}, /* not decoded: "http" it is */
        {"http://NODE/x", "node", true},
        {"http://node:80/x", "node:80", true},
        {"http://node?x=y", "node", true},
        {"http://node", "node", true},
        {"http://evil/x", "node", false},
        {"http://node.evil/x", "node", false},
        {"http://nod/x", "node", false},
        {"http://node:81/x", "node", false},
        {"/http://evil/x", "node", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct host h;
        char text[300];
        open_host(&h, POST_AND_DELETE);
        snprintf(text, sizeof(text), "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
                 cases[i].target, cases[i].host);
        const char *got = say(&h, text);
        if (has(got, " 200 OK") != cases[i].is_good)
            fail_msg("%s: %s", cases[i].target, got);
        close_host(&h);
    }
}

static void a_server_without_bodies_does_not_care_who_asks(void **state)
{
    (void)state;
    struct host h;
    char v[2000];
    char text[2200];
    memset(v, 'v', sizeof(v) - 1);
    v[sizeof(v) - 1] = '\0';
    open_host(&h, 0);
    snprintf(text, sizeof(text),
             "GET / HTTP/1.1\r\nHost: h\r\nAuthorization: %s\r\n"
             "Authorization: b\r\n\r\n",
             v);
    check_starts(say(&h, text), "HTTP/1.1 200 ");
    check_text(h.authorization, "(none)");
    check_text(h.host, "(none)");
    close_host(&h);
}

/* ---- waiting ---- */

static void a_parked_answer_has_no_turns_until_woken(void **state)
{
    struct host *h = *state;
    check_text(say(h, "GET /prepared HTTP/1.1\r\nHost: h\r\n\r\n"), "");
    check_u64(h->calls, 1);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ANSWERING);
    check_false(httpd_conn_wants_turn(h->conn));
    httpd_conn_turn(h->conn, h->now_ns);
    check_u64(h->calls, 1);
    check_text(wake(h), ""); /* without cause: it waits on */
    check_u64(h->calls, 2);
    check_u64(h->wakes, 1);
    h->is_prepared = true;
    check_text(body_of(wake(h)), "ready\n");
    check_u64(h->calls, 3);
    check_u64(h->wakes, 2);
    check_u64(h->done, 1);
    check_starts(say(h, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"), "HTTP/1.1 200 ");
}

static void a_wake_from_within_is_not_lost(void **state)
{
    struct host *h = *state;
    h->wakes_itself = true;
    const char *got = say(h, LINES);
    check_true(has(got, "\r\n\r\n00000008\r\n0000000\n\r\n"));
    check_u64(h->n_written, 1);
    check_u64(h->calls, 2);
    check_false(httpd_conn_wants_turn(h->conn)); /* now it does wait */
}

static void waiting_for_the_first_byte_an_error_can_still_be_told(void **state)
{
    struct host *h = *state;
    check_text(say(h, LINES), "");
    h->fails = ERR_NOMEM;
    check_starts(wake(h), "HTTP/1.1 500 ");
    check_u64(h->done, 1);
}

static void a_waiting_answer_goes_on_where_it_stopped(void **state)
{
    struct host *h = *state;
    h->n_ready = 2;
    const char *got = say(h, LINES);
    check_true(has(got, "Transfer-Encoding: chunked\r\n"));
    check_text(body_of(got), "00000010\r\n0000000\n1111111\n\r\n");
    h->n_ready = 3;
    check_text(wake(h), "00000008\r\n2222222\n\r\n");
    check_text(wake(h), "");
    h->is_over = true;
    check_text(wake(h), "0\r\n\r\n");
    check_u64(h->done, 1);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_READING);
}

static void only_a_live_answer_may_wait_for_ever(void **state)
{
    struct host *h = *state;
    check_text(say(h, LINES), "");
    check_u64(httpd_conn_deadline(h->conn), SEC + h->limits.answer_timeout_ns);
    check_u64(httpd_conn_waits_since(h->conn), UINT64_MAX);
    h->now_ns = SEC + h->limits.answer_timeout_ns;
    httpd_conn_expire(h->conn, h->now_ns);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ABORTED);
    check_u64(h->done, 1);
}

/* ---- live ---- */

static void a_live_answer_begins_at_once(void **state)
{
    struct host *h = *state;
    const char *got = say(h, LIVE);
    check_starts(got, "HTTP/1.1 200 OK\r\n");
    check_true(has(got, "Transfer-Encoding: chunked\r\n"));
    check_text(body_of(got), "");
    check_u64(httpd_conn_deadline(h->conn), UINT64_MAX);
    check_u64(httpd_conn_waits_since(h->conn), UINT64_MAX);
    h->now_ns += 3600 * SEC;
    httpd_conn_expire(h->conn, h->now_ns);
    h->n_ready = 1;
    check_text(wake(h), "00000008\r\n0000000\n\r\n");
    h->is_over = true;
    check_text(wake(h), "0\r\n\r\n");
    check_u64(h->done, 1);
}

static void a_live_answer_is_not_compressed(void **state)
{
    struct host *h = *state;
    h->line_len = 4096;
    h->n_ready = 3;
    const char *got = say(h, "GET /live HTTP/1.1\r\nHost: h\r\n"
                             "Accept-Encoding: gzip\r\n\r\n");
    check_false(has(got, "gzip"));
    check_false(has(got, "Vary"));
    check_u64(strlen(body_of(got)), 3 * 4096 + 12);
}

static void old_clients_get_live_answers_until_the_close(void **state)
{
    struct host *h = *state;
    h->n_ready = 1;
    const char *got = say(h, "GET /live HTTP/1.0\r\n\r\n");
    check_text(body_of(got), "0000000\n");
    check_true(has(got, "Connection: close\r\n"));
    h->is_over = true;
    wake(h);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_LINGERING);
}

static void head_of_a_live_answer_is_short(void **state)
{
    struct host *h = *state;
    const char *got = say(h, "HEAD /live HTTP/1.1\r\nHost: h\r\n\r\n");
    check_starts(got, "HTTP/1.1 200 OK\r\n");
    check_text(body_of(got), "");
    check_u64(h->done, 1);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_READING);
}

static void the_end_of_the_client_ends_a_live_answer(void **state)
{
    struct host *h = *state;
    say(h, LIVE);
    check_u64(h->done, 0);
    httpd_conn_eof(h->conn, h->now_ns);
    check_u64(h->done, 1);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ABORTED);
    check_false(httpd_conn_wants_turn(h->conn));
}

static void a_client_gone_before_it_began_ends_it_too(void **state)
{
    struct host *h = *state;
    receive(h, LIVE, strlen(LIVE));
    httpd_conn_eof(h->conn, h->now_ns);
    check_text(pump(h), "");
    check_u64(h->handled, 1);
    check_u64(h->done, 1);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ABORTED);
}

static void one_that_becomes_live_ends_with_its_client(void **state)
{
    struct host *h = *state;
    const char *text = "GET /becomes-live HTTP/1.1\r\nHost: h\r\n\r\n";
    receive(h, text, strlen(text));
    httpd_conn_eof(h->conn, h->now_ns);
    pump(h);
    check_u64(h->done, 1);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ABORTED);
}

static void an_answer_that_only_waits_outlives_half_a_close(void **state)
{
    struct host *h = *state;
    say(h, "GET /prepared HTTP/1.1\r\nHost: h\r\n\r\n");
    httpd_conn_eof(h->conn, h->now_ns);
    check_u64(h->done, 0);
    h->is_prepared = true;
    check_text(body_of(wake(h)), "ready\n");
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ENDED);
}

/* However much is sent behind the request, the end of it is still seen. */
static void what_comes_behind_a_live_request_is_bounded(void **state)
{
    struct host *h = *state;
    static char junk[4096];
    memset(junk, 'j', sizeof(junk));
    say(h, LIVE);
    size_t total = 0;
    while (httpd_conn_phase(h->conn) == HTTPD_CONN_ANSWERING) {
        size_t n = receive(h, junk, sizeof(junk));
        check_true(n > 0);
        total += n;
        pump(h);
        check_true(total < 2u << 20);
    }
    check_true(total > 1u << 20);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ABORTED);
    check_u64(h->done, 1);
}

static void after_a_flood_the_answer_is_the_last(void **state)
{
    struct host *h = *state;
    static char junk[6000];
    memset(junk, '\n', sizeof(junk));
    say(h, LIVE);
    feed(h, junk, sizeof(junk), 4096);
    h->is_over = true;
    check_text(wake(h), "0\r\n\r\n");
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_LINGERING);
    check_u64(h->handled, 1);
}

static void a_request_behind_a_live_answer_is_served_after_it(void **state)
{
    struct host *h = *state;
    say(h, LIVE "GET /x HTTP/1.1\r\nHost: h\r\n\r\n");
    check_u64(h->handled, 1);
    h->is_over = true;
    check_true(has(wake(h), "0\r\n\r\nHTTP/1.1 200 OK\r\n"));
    check_u64(h->handled, 2);
}

static void a_reader_that_stops_is_cut_off(void **state)
{
    struct host *h = *state;
    h->n_ready = 1000;
    h->line_len = 1024;
    receive(h, LIVE, strlen(LIVE));
    httpd_conn_turn(h->conn, h->now_ns);
    size_t len;
    check_true(httpd_conn_out(h->conn, &len) != NULL);
    check_true(len < h->limits.slice_bytes + 2048);
    check_false(httpd_conn_wants_turn(h->conn));
    check_u64(httpd_conn_deadline(h->conn), SEC + h->limits.write_timeout_ns);
    httpd_conn_expire(h->conn, SEC + h->limits.write_timeout_ns);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ABORTED);
    check_u64(h->done, 1);
    check_u64(h->stats.timeouts, 1);
}

/* A byte now and then is progress, but not for more than one slice's time. */
static void a_reader_that_trickles_is_cut_off_in_the_end(void **state)
{
    struct host *h = *state;
    h->n_ready = 1000;
    h->line_len = 1024;
    h->now_ns = 1000 * SEC; /* long after it began, nothing is owed */
    receive(h, LIVE, strlen(LIVE));
    httpd_conn_turn(h->conn, h->now_ns);
    uint64_t end_ns = h->now_ns + h->limits.answer_timeout_ns;
    while (httpd_conn_phase(h->conn) == HTTPD_CONN_ANSWERING) {
        check_true(h->now_ns < end_ns);
        httpd_conn_sent(h->conn, 1, h->now_ns);
        h->now_ns = httpd_conn_deadline(h->conn);
        httpd_conn_expire(h->conn, h->now_ns);
        if (h->now_ns < end_ns)
            h->now_ns--; /* just in time */
        if (httpd_conn_phase(h->conn) == HTTPD_CONN_ABORTED)
            break;
        h->now_ns++;
    }
    check_u64(h->done, 1);
}

static void a_live_slice_has_its_own_time(void **state)
{
    struct host *h = *state;
    say(h, LIVE);
    h->now_ns = 500 * SEC;
    h->n_ready = 1;
    h->handler_waker->wake(h->handler_waker);
    httpd_conn_turn(h->conn, h->now_ns);
    check_u64(httpd_conn_deadline(h->conn),
              500 * SEC + h->limits.write_timeout_ns);
    pump(h);
    check_u64(httpd_conn_deadline(h->conn), UINT64_MAX);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ANSWERING);
}

/* A hundred who wait for their next line hold a hundred sessions, not slices.
 */
static void between_its_lines_a_live_answer_holds_no_slice(void **state)
{
    struct host *h = *state;
    h->n_ready = 60;
    h->line_len = 1024;
    say(h, LIVE);
    check_u64(h->n_written, 60);
    check_true(h->conn->is_parked);
    check_u64(h->conn->out.size, 0);
    check_u64(h->conn->plain.size, 0);
}

static void an_abandoned_live_answer_is_done(void **state)
{
    struct host *h = *state;
    say(h, LIVE);
    httpd_conn_abandon(h->conn);
    check_u64(h->done, 1);
    httpd_conn_abandon(h->conn);
    check_u64(h->done, 1);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ABORTED);
}

static void an_error_in_a_live_answer_cuts_it(void **state)
{
    struct host *h = *state;
    h->n_ready = 1;
    say(h, LIVE);
    h->fails = ERR_NOMEM;
    check_text(wake(h), "");
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ABORTED);
    check_u64(h->done, 1);
}

/* ---- properties ---- */

/* Whatever comes in whatever pieces, with whatever wakes in between: each
 * answer is done once, and nothing breaks. */
static void every_answer_is_done_once(void **state)
{
    (void)state;
    static const char *const parts[] = {
        LIVE,
        LINES,
        "GET /prepared HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /becomes-live HTTP/1.1\r\nHost: h\r\n\r\n",
        POST("Content-Length: 3\r\n", "abc"),
        POST("Transfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n"),
        POST("Expect: 100-continue\r\nContent-Length: 3\r\n", "abc"),
        "DELETE /x HTTP/1.1\r\nHost: h\r\n\r\n",
        "x",
    };
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 3000; round++) {
        struct host h;
        open_host(&h, POST_AND_DELETE);
        for (int i = 0; i < 20; i++) {
            const char *part = parts[rng_below(&rng, 9 - (i < 15))];
            feed(&h, part, strlen(part), 1 + rng_below(&rng, 50));
            h.n_ready += (unsigned)rng_below(&rng, 3);
            h.is_over = rng_below(&rng, 4) == 0;
            h.is_prepared = rng_below(&rng, 3) == 0;
            h.wakes_itself = rng_below(&rng, 5) == 0;
            h.now_ns += rng_below(&rng, 20 * SEC);
            if (h.handler_waker && h.done < h.handled)
                h.handler_waker->wake(h.handler_waker);
            if (rng_below(&rng, 10) == 0)
                httpd_conn_expire(h.conn, h.now_ns);
            if (rng_below(&rng, 60) == 0)
                httpd_conn_eof(h.conn, h.now_ns);
            pump(&h);
            wr_reset(&h.got);
            check_true(h.handled - h.done <= 1);
        }
        httpd_conn_close(h.conn);
        check_u64(h.done, h.handled);
        wr_fini(&h.got);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(handlers_get_the_body),
        T(a_body_is_not_taken_for_the_next_requests),
        T(any_cut_of_a_body_gives_the_same),
        T(a_body_of_the_limit_is_taken_and_one_more_refused),
        T(chunks_beyond_the_limit_are_refused),
        T(the_api_takes_no_bodies_and_no_other_methods),
        T(get_and_head_are_always_served),
        T(nothing_has_no_length),
        T(who_expects_to_be_told_is_told),
        T(who_did_not_wait_is_not_told),
        T(what_cannot_be_met_is_refused),
        T(too_long_a_body_is_not_asked_for),
        T(being_told_buys_no_time),
        T(the_time_it_takes_to_be_told_buys_none_either),
        T(http_1_0_expects_nothing),
        T(handlers_get_the_fields_they_decide_by),
        T(what_comes_twice_is_refused),
        T(each_field_holds_its_bound),
        T(all_fields_of_full_length_fit_together),
        T(two_hosts_in_one_request_are_refused),
        T(a_server_without_bodies_does_not_care_who_asks),
        T(a_parked_answer_has_no_turns_until_woken),
        T(a_wake_from_within_is_not_lost),
        T(waiting_for_the_first_byte_an_error_can_still_be_told),
        T(a_waiting_answer_goes_on_where_it_stopped),
        T(only_a_live_answer_may_wait_for_ever),
        T(a_live_answer_begins_at_once),
        T(a_live_answer_is_not_compressed),
        T(old_clients_get_live_answers_until_the_close),
        T(head_of_a_live_answer_is_short),
        T(the_end_of_the_client_ends_a_live_answer),
        T(a_client_gone_before_it_began_ends_it_too),
        T(one_that_becomes_live_ends_with_its_client),
        T(an_answer_that_only_waits_outlives_half_a_close),
        T(what_comes_behind_a_live_request_is_bounded),
        T(after_a_flood_the_answer_is_the_last),
        T(a_request_behind_a_live_answer_is_served_after_it),
        T(a_reader_that_stops_is_cut_off),
        T(a_reader_that_trickles_is_cut_off_in_the_end),
        T(a_live_slice_has_its_own_time),
        T(between_its_lines_a_live_answer_holds_no_slice),
        T(an_abandoned_live_answer_is_done),
        T(an_error_in_a_live_answer_cuts_it),
        T(every_answer_is_done_once),
    };
#undef T
    return cmocka_run_group_tests_name("httpd_live", tests, NULL, NULL);
}
