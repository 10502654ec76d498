/* Targets taken apart, then whole connections fed by hand. */
#include "prober/httpd.h"

#include <stdio.h>
#include <string.h>

#define ZLIB_CONST
#include <zlib.h>

#include "prober/httpd_conn.h"
#include "prober/httpd_query.h"
#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define SEC        1000000000ull
#define REPLY_MAX  (8u << 20)
#define BIG_PIECES 40
#define BIG_BYTES  (BIG_PIECES * 8192u)

/* ---- targets ---- */

static int decode(struct httpd_query *q, const char *target)
{
    return httpd_query_decode(q, target, strlen(target), NULL);
}

static void takes_a_target_apart(void **state)
{
    (void)state;
    struct httpd_query q;
    check_i64(decode(&q, "/api/v1/cells/a%2F1/b%20c?window=5m&x=a+b%2B&y&z="),
              0);
    check_text(q.request.path, "/api/v1/cells/a%2F1/b c");
    check_u64(q.request.n_segments, 5);
    check_text(q.request.segments[3], "a/1");
    check_text(q.request.segments[4], "b c");
    check_u64(q.request.n_params, 4);
    check_text(httpd_query_param(&q.request, "window"), "5m");
    check_text(httpd_query_param(&q.request, "x"), "a b+");
    check_text(httpd_query_param(&q.request, "y"), "");
    check_text(httpd_query_param(&q.request, "z"), "");
    check_true(httpd_query_param(&q.request, "wind") == NULL);
}

static void takes_the_absolute_form(void **state)
{
    (void)state;
    struct httpd_query q;
    check_i64(decode(&q, "http://host:70/livez?a=b"), 0);
    check_text(q.request.path, "/livez");
    check_text(httpd_query_param(&q.request, "a"), "b");
    check_i64(decode(&q, "http://host"), 0);
    check_text(q.request.path, "/");
    check_i64(decode(&q, "http://host?a=b"), 0);
    check_text(q.request.path, "/");
    check_text(httpd_query_param(&q.request, "a"), "b");
}

static void refuses_what_is_ambiguous(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",        "livez",        "*",           "?a=b",   "/a%",
        "/a%2",    "/a%zz",        "/a%-1",       "/a%00",  "/a%0d%0a",
        "/a%7f",   "/a#b",         "/a?b=c#d",    "/a?b=%", "/a?%0a=c",
        "/a?b=c&", "/a?&b=c",      "/a?b=c&&d=e", "/a?=c",  "/a?b=1&b=2",
        "/a?b&b",  "/a?b=1&%62=2", "https://h/",  "h:80",   "/a?b=%00",
    };
    struct httpd_query q;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct errmsg msg = {""};
        if (!httpd_query_decode(&q, bad[i], strlen(bad[i]), &msg))
            fail_msg("accepted %s", bad[i]);
        check_true(msg.text[0] != '\0');
    }
}

static void bounds_targets(void **state)
{
    (void)state;
    struct httpd_query q;
    char text[HTTPD_TARGET_MAX + 2];
    memset(text, 'a', sizeof(text));
    text[0] = '/';
    check_i64(httpd_query_decode(&q, text, HTTPD_TARGET_MAX, NULL), 0);
    check_u64(strlen(q.request.path), HTTPD_TARGET_MAX);
    check_i64(httpd_query_decode(&q, text, HTTPD_TARGET_MAX + 1, NULL),
              ERR_TOOBIG);

    check_i64(decode(&q, "/1/2/3/4/5/6/7/8"), 0);
    check_i64(decode(&q, "/1/2/3/4/5/6/7/8/9"), ERR_TOOBIG);
    check_i64(decode(&q, "/?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p"), 0);
    check_i64(decode(&q, "/?a&b&c&d&e&f&g&h&i&j&k&l&m&n&o&p&q"), ERR_TOOBIG);
}

/* ---- a connection and its host ---- */

struct host {
    struct httpd_limits limits;
    struct httpd_stats stats;
    struct httpd_conn_config config;
    struct httpd_conn *conn;
    uint64_t now_ns;
    struct wr got; /* all that was sent, with a NUL behind */
    unsigned handled, done;
    char accept[HTTPD_ACCEPT_SIZE]; /* that the handler saw last */
    size_t out_max;                 /* longest piece of output seen */
    int fail_at;  /* piece at which the body gives up, -1: never */
    int prepares; /* how often prepare wants to be called again */
};

struct big {
    struct host *host;
    int next;
};

static int big_body(void *state, struct wr *w)
{
    struct big *b = state;
    for (; b->next < BIG_PIECES; b->next++) {
        if (httpd_slice_is_full(w))
            return 1;
        if (b->next == b->host->fail_at)
            return ERR_NOMEM;
        for (int i = 0; i < 8192; i++)
            wr_u8(w, (uint8_t)('a' + (b->next + i) % 26));
    }
    return 0;
}

static int big_prepare(void *state, struct httpd_answer *answer)
{
    struct big *b = state;
    (void)answer;
    return b->host->prepares-- > 0 ? 1 : 0;
}

static int failing_prepare(void *state, struct httpd_answer *answer)
{
    (void)state;
    (void)answer;
    return ERR_NOMEM;
}

static int small_body(void *state, struct wr *w)
{
    (void)state;
    wr_text(w, "small");
    return 0;
}

static void big_done(void *state)
{
    struct big *b = state;
    b->host->done++;
    free(b);
}

static void answer_big(struct host *h, struct httpd_answer *a)
{
    struct big *b = malloc(sizeof(*b));
    check_true(b != NULL);
    *b = (struct big){.host = h};
    *a = (struct httpd_answer){.status = 200,
                               .content_type = "text/x",
                               .prepare = big_prepare,
                               .body = big_body,
                               .done = big_done,
                               .state = b};
}

static void handle(void *arg, const struct httpd_request *r,
                   struct httpd_answer *a)
{
    struct host *h = arg;
    h->handled++;
    snprintf(h->accept, sizeof(h->accept), "%s",
             r->accept ? r->accept : "(none)");
    if (strcmp(r->path, "/ok") == 0) {
        *a = (struct httpd_answer){
            .status = 200, .content_type = "text/plain", .text = "ok\n"};
    } else if (strcmp(r->path, "/small") == 0) {
        *a = (struct httpd_answer){.status = 200,
                                   .content_type = "text/plain",
                                   .etag = "v1",
                                   .is_cacheable = true,
                                   .body = small_body};
    } else if (strcmp(r->path, "/big") == 0) {
        answer_big(h, a);
    } else if (strcmp(r->path, "/broken") == 0) {
        answer_big(h, a);
        a->prepare = failing_prepare;
    } else if (strcmp(r->path, "/fields") == 0) {
        *a = (struct httpd_answer){.status = 405,
                                   .content_type = "text/plain",
                                   .text = "no\n",
                                   .extra = "Allow: GET\r\nX-More: 1\r\n",
                                   .field = "Prober-Probe-Id: 0a1b"};
    }
}

static void open_host(struct host *h)
{
    *h = (struct host){
        .limits = httpd_limits_default, .now_ns = SEC, .fail_at = -1};
    h->config = (struct httpd_conn_config){
        .limits = &h->limits, .handler = handle, .arg = h, .stats = &h->stats};
    wr_init_grow(&h->got, REPLY_MAX);
    h->conn = httpd_conn_open(&h->config, NULL, NULL, h->now_ns);
    check_true(h->conn != NULL);
}

static int setup(void **state)
{
    struct host *h = malloc(sizeof(*h));
    if (!h)
        return -1;
    open_host(h);
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    struct host *h = *state;
    httpd_conn_close(h->conn);
    wr_fini(&h->got);
    free(h);
    return 0;
}

/* Turn and "write" until nothing moves. */
static void pump(struct host *h)
{
    for (;;) {
        size_t len;
        const uint8_t *out = httpd_conn_out(h->conn, &len);
        if (out) {
            if (len > h->out_max)
                h->out_max = len;
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
}

/* Feed all of it, in pieces of at most `step`. */
static void feed(struct host *h, const void *data, size_t len, size_t step)
{
    const uint8_t *p = data;
    while (len > 0) {
        size_t size;
        uint8_t *space = httpd_conn_space(h->conn, &size);
        if (!space) {
            pump(h);
            space = httpd_conn_space(h->conn, &size);
        }
        if (!space || httpd_conn_phase(h->conn) >= HTTPD_CONN_ENDED)
            return;
        size_t n = len < step ? len : step;
        n = n < size ? n : size;
        memcpy(space, p, n);
        httpd_conn_received(h->conn, n, h->now_ns);
        p += n;
        len -= n;
        if (step < 4096)
            pump(h);
    }
    pump(h);
}

static const char *say(struct host *h, const char *text)
{
    feed(h, text, strlen(text), 4096);
    return (const char *)h->got.data;
}

static void check_starts(const char *got, const char *want)
{
    if (strncmp(got, want, strlen(want)) != 0)
        fail_msg("got: %.200s\nwanted: %s", got, want);
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

static bool has(const char *text, const char *what)
{
    return strstr(text, what) != NULL;
}

#define GET(path)  "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define HEAD(path) "HEAD " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static void answers_with_safe_headers(void **state)
{
    const char *got = say(*state, GET("/ok"));
    check_text(got, "HTTP/1.1 200 OK\r\n"
                    "Content-Type: text/plain\r\n"
                    "Content-Length: 3\r\n"
                    "Cache-Control: no-store\r\n"
                    "X-Content-Type-Options: nosniff\r\n"
                    "Content-Security-Policy: default-src 'none'; "
                    "frame-ancestors 'none'\r\n"
                    "\r\nok\n");
}

/* A probe is cancelled by what stands in such a field. */
static void fields_of_an_answer_stand_in_its_head_once(void **state)
{
    struct host *h = *state;
    const char *more = "Allow: GET\r\nX-More: 1\r\nProber-Probe-Id: 0a1b\r\n";
    const char *got = say(h, GET("/fields"));
    check_starts(got, "HTTP/1.1 405 Method Not Allowed\r\n");
    check_true(has(got, more));
    check_true(strstr(got, more) < strstr(got, "\r\n\r\n"));
    got = say(h, HEAD("/fields"));
    check_u64(count(got, more), 2);
    got = say(h, GET("/ok"));
    check_u64(count(got, "Prober-Probe-Id"), 2);
    check_u64(count(got, "X-More"), 2);
}

static uint64_t fixed_unix(void)
{
    return 784111777ull * SEC; /* the example of RFC 9110 5.6.7 */
}

static void dates_its_answers(void **state)
{
    struct host *h = *state;
    h->config.now_unix_ns = fixed_unix;
    check_true(
        has(say(h, GET("/ok")), "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
}

static void any_cut_of_the_request_gives_the_same(void **state)
{
    struct host *h = *state;
    const char *text = "GET /ok?a=b HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n";
    char want[1024];
    snprintf(want, sizeof(want), "%s", say(h, text));
    for (size_t step = 1; step < strlen(text); step++) {
        wr_reset(&h->got);
        feed(h, text, strlen(text), step);
        check_text((char *)h->got.data, want);
    }
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct host *h = *state;
    const char *got = say(h, GET("/ok") GET("/nope") HEAD("/ok") GET("/small"));
    check_u64(h->handled, 4);
    check_u64(count(got, "HTTP/1.1 "), 4);
    const char *at = strstr(got, "404 Not Found");
    check_true(at != NULL);
    check_true(strstr(at, "HTTP/1.1 200 OK") != NULL);
    check_text(got + h->got.len - 5, "small");
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_READING);
}

static void ten_thousand_pipelined_requests_stay_bounded(void **state)
{
    struct host *h = *state;
    struct wr all;
    wr_init_grow(&all, 1u << 20);
    for (int i = 0; i < 10000; i++)
        wr_text(&all, GET("/ok"));
    feed(h, all.data, all.len, 4096);
    check_u64(h->handled, 10000);
    check_u64(count((char *)h->got.data, "\r\n\r\nok\n"), 10000);
    check_true(h->out_max < 16384);
    wr_fini(&all);
}

static void head_has_the_headers_of_get(void **state)
{
    struct host *h = *state;
    static const char *const paths[] = {"/ok", "/small", "/big", "/nope"};
    for (size_t i = 0; i < 4; i++) {
        char request[128];
        snprintf(request, sizeof(request), GET("%s"), paths[i]);
        wr_reset(&h->got);
        say(h, request);
        char *end = strstr((char *)h->got.data, "\r\n\r\n");
        size_t head_len = (size_t)(end - (char *)h->got.data) + 4;
        char want[1024];
        snprintf(want, sizeof(want), "%.*s", (int)head_len,
                 (char *)h->got.data);
        snprintf(request, sizeof(request), HEAD("%s"), paths[i]);
        wr_reset(&h->got);
        check_text(say(h, request), want);
    }
}

/* Undo the chunks of the body at `p`; returns its length or -1. */
static long unchunk(const uint8_t *p, size_t len, uint8_t *out, size_t size)
{
    size_t n = 0;
    const uint8_t *end = p + len;
    for (;;) {
        char *after;
        unsigned long chunk = strtoul((const char *)p, &after, 16);
        if (after != (const char *)p + 8 && chunk > 0)
            return -1; /* we always write eight digits */
        if (strncmp(after, "\r\n", 2) != 0)
            return -1;
        p = (const uint8_t *)after + 2;
        if (chunk == 0)
            return p + 2 == end && memcmp(p, "\r\n", 2) == 0 ? (long)n : -1;
        if (chunk > (size_t)(end - p) || n + chunk > size)
            return -1;
        memcpy(out + n, p, chunk);
        n += chunk;
        p += chunk;
        if (strncmp((const char *)p, "\r\n", 2) != 0)
            return -1;
        p += 2;
    }
}

static long gunzip(const uint8_t *in, size_t len, uint8_t *out, size_t size)
{
    z_stream z = {.next_in = in, .avail_in = (uInt)len};
    check_i64(inflateInit2(&z, 16 + 15), Z_OK);
    z.next_out = out;
    z.avail_out = (uInt)size;
    int rc = inflate(&z, Z_FINISH);
    long n = rc == Z_STREAM_END && z.avail_in == 0 ? (long)z.total_out : -1;
    inflateEnd(&z);
    return n;
}

static void check_big(const uint8_t *data, long len)
{
    check_i64(len, BIG_BYTES);
    for (int piece = 0; piece < BIG_PIECES; piece++) {
        for (int i = 0; i < 8192; i++) {
            if (data[piece * 8192 + i] != 'a' + (piece + i) % 26)
                fail_msg("content differs in piece %d at %d", piece, i);
        }
    }
}

static const uint8_t *body_of(struct host *h, size_t *len)
{
    char *end = strstr((char *)h->got.data, "\r\n\r\n");
    check_true(end != NULL);
    *len = h->got.len - (size_t)(end + 4 - (char *)h->got.data);
    return (uint8_t *)end + 4;
}

static void long_answers_come_in_chunks(void **state)
{
    struct host *h = *state;
    static uint8_t plain[BIG_BYTES + 1];
    h->prepares = 3;
    check_true(has(say(h, GET("/big")), "Transfer-Encoding: chunked\r\n"));
    check_true(!has((char *)h->got.data, "Content-Length"));
    size_t len;
    const uint8_t *body = body_of(h, &len);
    check_big(plain, unchunk(body, len, plain, sizeof(plain)));
    check_true(h->out_max < h->limits.slice_bytes + 2048);
    check_u64(h->done, 1);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_READING);
}

static void long_answers_are_compressed_when_asked(void **state)
{
    struct host *h = *state;
    static uint8_t packed[BIG_BYTES];
    static uint8_t plain[BIG_BYTES + 1];
    const char *got = say(h, "GET /big HTTP/1.1\r\nHost: h\r\n"
                             "Accept-Encoding: br, gzip;q=0.5\r\n\r\n");
    check_true(has(got, "Content-Encoding: gzip\r\n"));
    check_true(has(got, "Vary: Accept-Encoding\r\n"));
    size_t len;
    const uint8_t *body = body_of(h, &len);
    long n = unchunk(body, len, packed, sizeof(packed));
    check_true(n > 0 && n < BIG_BYTES / 20);
    check_big(plain, gunzip(packed, (size_t)n, plain, sizeof(plain)));
}

static void is_compressed(struct host *h, const char *field, bool want)
{
    char request[256];
    wr_reset(&h->got);
    snprintf(request, sizeof(request),
             "GET /big HTTP/1.1\r\nHost: h\r\n%s\r\n\r\n", field);
    if (has(say(h, request), "Content-Encoding: gzip") != want)
        fail_msg("%s", field);
}

static void compresses_only_what_is_accepted(void **state)
{
    is_compressed(*state, "Accept-Encoding: gzip", true);
    is_compressed(*state, "accept-encoding: deflate ,\tGZIP", true);
    is_compressed(*state, "Accept-Encoding: br\r\nAccept-Encoding: gzip", true);
    is_compressed(*state, "Accept-Encoding: gzip;q=1.0", true);
    is_compressed(*state, "Accept-Encoding: gzip;q=0.001", true);
    is_compressed(*state, "Accept-Encoding: gzip;q=0", false);
    is_compressed(*state, "Accept-Encoding: gzip; q=0.000", false);
    is_compressed(*state, "Accept-Encoding: gzipx", false);
    is_compressed(*state, "Accept-Encoding: identity", false);
    is_compressed(*state, "Accept-Encoding:", false);
    is_compressed(*state, "X: gzip", false);
}

static void sees_accepted(struct host *h, const char *fields, const char *want)
{
    char request[3000];
    snprintf(request, sizeof(request), "GET /ok HTTP/1.1\r\nHost: h\r\n%s\r\n",
             fields);
    (void)say(h, request);
    check_text(h->accept, want);
}

static void handlers_see_what_is_accepted(void **state)
{
    char fields[2100] = "Accept: a/b\r\nAccept: ";
    sees_accepted(*state, "", "(none)");
    sees_accepted(*state, "Accept: \r\n", "(none)");
    sees_accepted(*state, "Accept-Encoding: gzip\r\n", "(none)");
    sees_accepted(*state, "ACCEPT: text/plain;q=0.5, */*\r\n",
                  "text/plain;q=0.5, */*");
    sees_accepted(*state, "Accept: a/b\r\nX: y\r\naccept: c/d\r\n", "a/b,c/d");
    /* What is too long as a whole is left out as a whole. */
    memset(fields + strlen(fields), 'x', HTTPD_ACCEPT_SIZE - 4);
    strcat(fields, "\r\n");
    sees_accepted(*state, fields, "a/b");
    char longest[HTTPD_ACCEPT_SIZE - 1] = "";
    memset(longest, 'x', sizeof(longest) - 1);
    snprintf(fields, sizeof(fields), "Accept: %s\r\n", longest);
    sees_accepted(*state, fields, longest);
}

static void tiny_answers_are_not_compressed(void **state)
{
    const char *got = say(*state, "GET /small HTTP/1.1\r\nHost: h\r\n"
                                  "Accept-Encoding: gzip\r\n\r\n");
    check_true(!has(got, "Content-Encoding"));
    check_true(has(got, "Content-Length: 5\r\n"));
}

static void old_clients_get_no_chunks(void **state)
{
    struct host *h = *state;
    const char *got =
        say(h, "GET /big HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    check_true(!has(got, "Transfer-Encoding"));
    check_true(has(got, "Connection: close\r\n"));
    size_t len;
    const uint8_t *body = body_of(h, &len);
    check_big(body, (long)len);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_LINGERING);
}

static void old_clients_may_ask_to_stay(void **state)
{
    struct host *h = *state;
    const char *got =
        say(h, "GET /ok HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    check_true(has(got, "Connection: keep-alive\r\n"));
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_READING);
    say(h, "GET /ok HTTP/1.0\r\n\r\n");
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_LINGERING);
}

static void the_known_is_not_sent_again(void **state)
{
    struct host *h = *state;
    static const struct {
        const char *value;
        bool matches;
    } cases[] = {
        {"W/\"v1\"", true},      {"\"v1\"", true},   {"*", true},
        {"\"x\", \"v1\"", true}, {"\"v2\"", false},  {"v1", false},
        {"\"v1x\"", false},      {"\"xv1\"", false}, {"", false},
    };
    check_true(has(say(h, GET("/small")), "ETag: W/\"v1\"\r\n"));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char request[256];
        snprintf(request, sizeof(request),
                 "GET /small HTTP/1.1\r\nHost: h\r\nIf-None-Match: %s\r\n\r\n",
                 cases[i].value);
        wr_reset(&h->got);
        const char *got = say(h, request);
        check_starts(got, cases[i].matches ? "HTTP/1.1 304 " : "HTTP/1.1 200 ");
        if (cases[i].matches)
            check_true(!has(got, "Content-") || !has(got, "small"));
    }
}

/* ---- refusals ---- */

/* The answer, and that it is the last. */
static void check_refused(const char *text, const char *status)
{
    struct host h;
    open_host(&h);
    check_starts(say(&h, text), status);
    const char *got = (char *)h.got.data;
    if (httpd_conn_phase(h.conn) != HTTPD_CONN_LINGERING)
        fail_msg("still open after: %s", text);
    check_u64(h.handled, 0);
    check_u64(h.stats.bad_requests, 1);
    check_true(has(got, "Connection: close\r\n"));
    check_true(has(got, "{\"error\":{\"code\":\""));
    /* What follows must not be taken for a request. */
    say(&h, GET("/ok"));
    check_u64(h.handled, 0);
    httpd_conn_eof(h.conn, h.now_ns);
    check_u64(httpd_conn_phase(h.conn), HTTPD_CONN_ENDED);
    httpd_conn_close(h.conn);
    wr_fini(&h.got);
}

static void smuggling_ends_the_connection(void **state)
{
    (void)state;
#define R(fields) "GET /ok HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
    static const char *const bad[] = {
        R("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") "0\r\n\r\n",
        R("Content-Length: 3\r\nContent-Length: 4\r\n") "abc",
        R("Content-Length: 3, 4\r\n") "abc",
        R("Content-Length: +3\r\n") "abc",
        R("Content-Length: -1\r\n"),
        R("Content-Length: 0x3\r\n") "abc",
        R("Content-Length: \r\n"),
        R("Content-Length: 99999999999999999999\r\n"),
        R("Content-Length : 3\r\n") "abc",
        R("Transfer-Encoding: xchunked\r\n") "0\r\n\r\n",
        R("Transfer-Encoding: chunked, identity\r\n") "0\r\n\r\n",
        R("Transfer-Encoding: identity\r\n") "0\r\n\r\n",
        R("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        R("Transfer-Encoding: chunked\r\n") "x\r\n",
        R("Transfer-Encoding: chunked\r\n") "-1\r\n",
        R("Transfer-Encoding: chunked\r\n") "fffffffffffffffff\r\n",
        R("Transfer-Encoding: chunked\r\n") "1\nx",
        R("Transfer-Encoding: chunked\r\n") "1\r\nxy\r\n",
        R(" folded: x\r\n"),
        R("A: b\r\n folded\r\n"),
        R("A\r\n"),
        R(": x\r\n"),
        R("A: b\rc\r\n"),
        R("A: \x01\r\n"),
        R("A B: c\r\n"),
        R("Host: h\r\n"),
        "GET /ok HTTP/1.1\nHost: h\n\n",
        "GET /ok HTTP/1.1\r\nHost: h\n\r\n",
        "GET /ok HTTP/1.1\r\n\r\n",
        "GET  /ok HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /ok  HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /ok HTTP/1.1 \r\nHost: h\r\n\r\n",
        " GET /ok HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET\t/ok\tHTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /ok HTTP/2.0\r\nHost: h\r\n\r\n",
        "GET /ok HTTP/1.10\r\nHost: h\r\n\r\n",
        "GET /ok http/1.1\r\nHost: h\r\n\r\n",
        "GET /ok\r\n\r\n",
        "G\x01T /ok HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /o\x7fk HTTP/1.1\r\nHost: h\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    };
#undef R
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        check_refused(bad[i], "HTTP/1.1 400 Bad Request\r\n");
}

/* A request of which `what` is `n` long: 't'arget, 'f'ields, 'h'ead, 'b'ody. */
static char *sized(char what, size_t n)
{
    static char text[40000];
    size_t len = 0;
    size_t target = what == 't' ? n : 3;
    len += (size_t)sprintf(text, "GET /");
    memset(text + len, 'a', target - 1);
    len += target - 1;
    len += (size_t)sprintf(text + len, " HTTP/1.1\r\nHost: h\r\n");
    for (size_t i = 1; what == 'f' && i < n; i++)
        len += (size_t)sprintf(text + len, "A: b\r\n");
    if (what == 'h') {
        len += (size_t)sprintf(text + len, "A: ");
        size_t fill = n - len - 4;
        memset(text + len, 'x', fill);
        len += fill;
        len += (size_t)sprintf(text + len, "\r\n");
    }
    if (what == 'b')
        len += (size_t)sprintf(text + len, "Content-Length: %zu\r\n", n);
    len += (size_t)sprintf(text + len, "\r\n");
    if (what == 'b') {
        memset(text + len, 'x', n);
        len += n;
    }
    text[len] = '\0';
    return text;
}

static void each_limit_holds_at_its_value(void **state)
{
    struct host *h = *state;
    static const struct {
        char what;
        size_t n;
    } cases[] = {{'t', 2048}, {'f', 64}, {'h', 8192}, {'b', 16384}};
    for (size_t i = 0; i < 4; i++) {
        wr_reset(&h->got);
        check_starts(say(h, sized(cases[i].what, cases[i].n)), "HTTP/1.1 404 ");
        check_u64(h->handled, i + 1);
    }
}

static void each_limit_ends_one_above(void **state)
{
    (void)state;
    check_refused(sized('t', 2049), "HTTP/1.1 414 ");
    check_refused(sized('t', 9000), "HTTP/1.1 414 ");
    check_refused(sized('f', 65), "HTTP/1.1 431 ");
    check_refused(sized('f', 101), "HTTP/1.1 431 ");
    check_refused(sized('h', 8193), "HTTP/1.1 431 ");
    check_refused(sized('b', 16385), "HTTP/1.1 413 ");
}

static void other_methods_are_refused_but_the_connection_stays(void **state)
{
    struct host *h = *state;
    static const char *const methods[] = {"POST",  "PUT", "DELETE", "OPTIONS",
                                          "TRACE", "get", "GETT",   "PATCH"};
    for (size_t i = 0; i < 8; i++) {
        char request[128];
        snprintf(request, sizeof(request),
                 "%s /ok HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nxy",
                 methods[i]);
        wr_reset(&h->got);
        const char *got = say(h, request);
        check_starts(got, "HTTP/1.1 405 Method Not Allowed\r\n");
        check_true(has(got, "Allow: GET, HEAD\r\n"));
        check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_READING);
    }
    check_u64(h->handled, 0);
    say(h, GET("/ok"));
    check_u64(h->handled, 1);
}

static void bad_targets_are_answered_and_the_connection_stays(void **state)
{
    struct host *h = *state;
    check_starts(say(h, GET("/a%zz")), "HTTP/1.1 400 ");
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_READING);
    check_u64(h->handled, 0);
}

static void too_many_connections_are_told_so(void **state)
{
    struct host *h = *state;
    httpd_conn_refuse(h->conn, h->now_ns);
    pump(h);
    check_starts((char *)h->got.data, "HTTP/1.1 503 Service Unavailable\r\n");
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_LINGERING);
    say(h, GET("/ok"));
    check_u64(h->handled, 0);
}

/* ---- the end of things ---- */

static void a_close_after_a_request_is_answered_first(void **state)
{
    struct host *h = *state;
    size_t size;
    const char *text = GET("/ok") GET("/small");
    memcpy(httpd_conn_space(h->conn, &size), text, strlen(text));
    httpd_conn_received(h->conn, strlen(text), h->now_ns);
    httpd_conn_eof(h->conn, h->now_ns);
    pump(h);
    check_u64(h->handled, 2);
    check_u64(count((char *)h->got.data, "HTTP/1.1 200 OK\r\n"), 2);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ENDED);
}

static void a_close_between_requests_is_quiet(void **state)
{
    struct host *h = *state;
    httpd_conn_eof(h->conn, h->now_ns);
    pump(h);
    check_u64(h->got.len, 0);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ENDED);
}

static void half_a_request_is_malformed(void **state)
{
    struct host *h = *state;
    say(h, "GET /ok HTT");
    httpd_conn_eof(h->conn, h->now_ns);
    pump(h);
    check_starts((char *)h->got.data, "HTTP/1.1 400 ");
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ENDED);
}

static void a_body_that_fails_late_cuts_the_connection(void **state)
{
    struct host *h = *state;
    h->fail_at = 20;
    const char *got = say(h, GET("/big") GET("/ok"));
    check_starts(got, "HTTP/1.1 200 OK\r\n");
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ABORTED);
    check_u64(h->done, 1);
    check_u64(h->handled, 1);
    check_true(memcmp(h->got.data + h->got.len - 5, "0\r\n\r\n", 5) != 0);
}

static void a_body_that_fails_at_once_is_an_error(void **state)
{
    struct host *h = *state;
    h->fail_at = 0;
    check_starts(say(h, GET("/big")), "HTTP/1.1 500 ");
    check_u64(h->done, 1);
    h->fail_at = -1;
    wr_reset(&h->got);
    check_starts(say(h, GET("/broken")), "HTTP/1.1 500 ");
    check_u64(h->done, 2);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_READING);
}

static void closing_in_mid_answer_frees_its_state(void **state)
{
    (void)state;
    struct host h;
    open_host(&h);
    size_t size;
    const char *text = GET("/big");
    memcpy(httpd_conn_space(h.conn, &size), text, strlen(text));
    httpd_conn_received(h.conn, strlen(text), h.now_ns);
    for (int i = 0; i < 4; i++)
        httpd_conn_turn(h.conn, h.now_ns);
    check_u64(h.done, 0);
    httpd_conn_close(h.conn);
    check_u64(h.done, 1);
    wr_fini(&h.got);
}

/* ---- deadlines ---- */

static void expire_at(struct host *h, uint64_t ns)
{
    check_u64(httpd_conn_deadline(h->conn), ns);
    h->now_ns = ns - 1;
    httpd_conn_expire(h->conn, h->now_ns);
    check_u64(h->stats.timeouts, 0);
    h->now_ns = ns;
    httpd_conn_expire(h->conn, h->now_ns);
    pump(h);
}

static void a_silent_connection_ends_after_five_seconds(void **state)
{
    struct host *h = *state;
    expire_at(h, 6 * SEC);
    check_u64(h->got.len, 0);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_LINGERING);
    check_u64(h->stats.timeouts, 1);
    httpd_conn_expire(h->conn, 8 * SEC);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ENDED);
}

static void a_slow_request_ends_five_seconds_after_its_first_byte(void **state)
{
    struct host *h = *state;
    h->now_ns = 3 * SEC;
    say(h, "G");
    for (int i = 0; i < 4; i++) {
        h->now_ns += SEC;
        say(h, "E");
    }
    expire_at(h, 8 * SEC);
    check_starts((char *)h->got.data, "HTTP/1.1 408 ");
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_LINGERING);
}

static void a_slow_body_counts_into_the_same_deadline(void **state)
{
    struct host *h = *state;
    say(h, "GET /ok HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n");
    h->now_ns += 4 * SEC;
    say(h, "x");
    expire_at(h, 6 * SEC);
    check_starts((char *)h->got.data, "HTTP/1.1 408 ");
}

static void an_idle_connection_ends_after_ten_seconds(void **state)
{
    struct host *h = *state;
    h->now_ns = 2 * SEC;
    say(h, GET("/ok"));
    size_t len = h->got.len;
    expire_at(h, 12 * SEC);
    check_u64(h->got.len, len);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_LINGERING);
}

/* A request whose answer nobody reads. */
static void stall(struct host *h, const char *text)
{
    size_t size;
    memcpy(httpd_conn_space(h->conn, &size), text, strlen(text));
    httpd_conn_received(h->conn, strlen(text), h->now_ns);
    while (httpd_conn_wants_turn(h->conn))
        httpd_conn_turn(h->conn, h->now_ns);
}

static void idleness_begins_when_the_answer_is_gone(void **state)
{
    struct host *h = *state;
    stall(h, GET("/ok"));
    h->now_ns = 4 * SEC;
    pump(h);
    check_u64(httpd_conn_deadline(h->conn), 14 * SEC);
}

static void a_reader_that_never_reads_is_cut(void **state)
{
    struct host *h = *state;
    stall(h, GET("/big"));
    check_u64(httpd_conn_deadline(h->conn), 31 * SEC);
    httpd_conn_expire(h->conn, 31 * SEC);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ABORTED);
    check_u64(h->done, 1);
}

static void a_slow_reader_gets_time_but_not_forever(void **state)
{
    struct host *h = *state;
    stall(h, GET("/big"));
    for (uint64_t t = 20; t <= 100; t += 20)
        httpd_conn_progress(h->conn, t * SEC);
    check_u64(httpd_conn_deadline(h->conn), 121 * SEC);
    httpd_conn_sent(h->conn, 1, 95 * SEC);
    check_u64(httpd_conn_deadline(h->conn), 121 * SEC);
    httpd_conn_expire(h->conn, 121 * SEC);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ABORTED);
}

/* Who is not known may do this too: small answers, all of them made, that are
 * taken byte by byte must not keep a place for ever. */
static void trickling_through_the_rest_does_not_keep_a_place(void **state)
{
    struct host *h = *state;
    uint64_t t = h->now_ns;
    stall(h, GET("/ok") GET("/ok"));
    uint64_t end_ns = t + 120 * SEC;
    while (httpd_conn_phase(h->conn) == HTTPD_CONN_READING) {
        check_true(t < end_ns);
        t += 29 * SEC;
        if (t > end_ns)
            t = end_ns;
        httpd_conn_sent(h->conn, 1, t);
        httpd_conn_expire(h->conn, t);
    }
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ABORTED);
    check_u64(t, end_ns);
}

/* Bytes from the network, and no turn yet. */
static void receive(struct host *h, const char *text)
{
    size_t size;
    memcpy(httpd_conn_space(h->conn, &size), text, strlen(text));
    httpd_conn_received(h->conn, strlen(text), h->now_ns);
}

/* The loop may have stood still between the two. */
static void what_came_in_time_is_answered_however_late(void **state)
{
    struct host *h = *state;
    static const char *const parts[] = {GET("/ok"), GET("/ok"), "GET /ok HT"};
    for (int i = 0; i < 3; i++) {
        size_t before = h->got.len;
        receive(h, parts[i]);
        check_u64(httpd_conn_deadline(h->conn), UINT64_MAX);
        check_u64(httpd_conn_waits_since(h->conn), UINT64_MAX);
        h->now_ns += 100 * SEC;
        httpd_conn_expire(h->conn, h->now_ns);
        check_u64(h->stats.timeouts, 0);
        pump(h);
        check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_READING);
        if (i < 2)
            check_starts((char *)h->got.data + before, "HTTP/1.1 200 ");
    }
    /* Of the half request it was the first byte's time that counts. */
    check_u64(httpd_conn_waits_since(h->conn), 201 * SEC);
    httpd_conn_expire(h->conn, h->now_ns);
    pump(h);
    check_true(strstr((char *)h->got.data, "HTTP/1.1 408 ") != NULL);
}

/* The end, too, is looked at before anything is judged. */
static void an_end_that_came_in_time_is_no_timeout(void **state)
{
    struct host *h = *state;
    httpd_conn_eof(h->conn, h->now_ns);
    check_u64(httpd_conn_deadline(h->conn), UINT64_MAX);
    httpd_conn_expire(h->conn, 100 * SEC);
    pump(h);
    check_u64(h->stats.timeouts, 0);
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ENDED);
}

static void lingering_drops_only_so_much(void **state)
{
    struct host *h = *state;
    httpd_conn_refuse(h->conn, h->now_ns);
    pump(h);
    unsigned reads = 0;
    while (httpd_conn_phase(h->conn) == HTTPD_CONN_LINGERING) {
        size_t size;
        check_true(httpd_conn_space(h->conn, &size) != NULL);
        httpd_conn_received(h->conn, size, h->now_ns);
        check_true(++reads <= 257);
    }
    check_u64(httpd_conn_phase(h->conn), HTTPD_CONN_ENDED);
}

static void only_those_without_a_request_may_be_given_up(void **state)
{
    struct host *h = *state;
    check_u64(httpd_conn_waits_since(h->conn), SEC);
    h->now_ns = 3 * SEC;
    say(h, "GET");
    check_u64(httpd_conn_waits_since(h->conn), 3 * SEC);
    h->now_ns = 4 * SEC;
    stall(h, " /big HTTP/1.1\r\nHost: h\r\n\r\n");
    check_u64(httpd_conn_waits_since(h->conn), UINT64_MAX);
    h->now_ns = 5 * SEC;
    pump(h);
    check_u64(httpd_conn_waits_since(h->conn), 5 * SEC);
}

/* Valid requests with random bytes changed, in random pieces: no crash, no
 * output beyond its bound, every answer begins as one, all state is freed. */
static void survives_random_damage(void **state)
{
    (void)state;
    static const char seed[] =
        "GET /big?a=b HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n"
        "GET /small HTTP/1.1\r\nHost: h\r\nIf-None-Match: \"v1\"\r\n"
        "Content-Length: 3\r\n\r\nabc"
        "GET /ok HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        "3\r\nabc\r\n0\r\n\r\n";
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 1000; round++) {
        struct host h;
        char text[sizeof(seed)];
        memcpy(text, seed, sizeof(seed));
        for (uint64_t n = rng_below(&rng, 4); n > 0; n--)
            text[rng_below(&rng, sizeof(seed) - 1)] ^=
                (char)(1u << rng_below(&rng, 8));
        open_host(&h);
        feed(&h, text, sizeof(seed) - 1, 1 + rng_below(&rng, 200));
        httpd_conn_eof(h.conn, h.now_ns);
        pump(&h);
        check_true(httpd_conn_phase(h.conn) >= HTTPD_CONN_ENDED);
        check_true(h.out_max < h.limits.slice_bytes + 16384);
        if (h.got.len > 0)
            check_starts((char *)h.got.data, "HTTP/1.1 ");
        unsigned begun = h.done;
        httpd_conn_close(h.conn);
        check_u64(h.done, begun);
        wr_fini(&h.got);
    }
}

/* ---- peers ---- */

static void a_host_is_one_peer_whatever_address_it_takes(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool is_same;
    } cases[] = {
        {"192.0.2.1:1", "192.0.2.1:2", true},
        {"192.0.2.1:1", "192.0.2.2:1", false},
        {"192.0.2.1:1", "[2001:db8::1]:1", false},
        {"[2001:db8::1]:1", "[2001:db8::1]:2", true},
        {"[2001:db8::1]:1", "[2001:db8:0:0:ffff::2]:1", true},
        {"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
    };
    struct httpd_peer a = {.uid = 1}, b = {.uid = 1};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        check_i64(addr_parse(&a.addr, cases[i].a), 0);
        check_i64(addr_parse(&b.addr, cases[i].b), 0);
        check_true(httpd_is_same_peer(&a, &b) == cases[i].is_same);
        check_true(httpd_is_same_peer(&b, &a) == cases[i].is_same);
    }
    a = b = (struct httpd_peer){.is_local = true, .uid = 7, .pid = 1};
    b.pid = 2;
    check_true(httpd_is_same_peer(&a, &b));
    b.uid = 8;
    check_false(httpd_is_same_peer(&a, &b));
    b = (struct httpd_peer){.uid = 7};
    check_false(httpd_is_same_peer(&a, &b));
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_target_apart),
        cmocka_unit_test(takes_the_absolute_form),
        cmocka_unit_test(refuses_what_is_ambiguous),
        cmocka_unit_test(bounds_targets),
        cmocka_unit_test(a_host_is_one_peer_whatever_address_it_takes),
        T(answers_with_safe_headers),
        T(fields_of_an_answer_stand_in_its_head_once),
        T(dates_its_answers),
        T(any_cut_of_the_request_gives_the_same),
        T(pipelined_requests_are_answered_in_order),
        T(ten_thousand_pipelined_requests_stay_bounded),
        T(head_has_the_headers_of_get),
        T(long_answers_come_in_chunks),
        T(long_answers_are_compressed_when_asked),
        T(compresses_only_what_is_accepted),
        T(handlers_see_what_is_accepted),
        T(tiny_answers_are_not_compressed),
        T(old_clients_get_no_chunks),
        T(old_clients_may_ask_to_stay),
        T(the_known_is_not_sent_again),
        T(smuggling_ends_the_connection),
        T(each_limit_holds_at_its_value),
        T(each_limit_ends_one_above),
        T(other_methods_are_refused_but_the_connection_stays),
        T(bad_targets_are_answered_and_the_connection_stays),
        T(too_many_connections_are_told_so),
        T(a_close_after_a_request_is_answered_first),
        T(a_close_between_requests_is_quiet),
        T(half_a_request_is_malformed),
        T(a_body_that_fails_late_cuts_the_connection),
        T(a_body_that_fails_at_once_is_an_error),
        T(closing_in_mid_answer_frees_its_state),
        T(a_silent_connection_ends_after_five_seconds),
        T(a_slow_request_ends_five_seconds_after_its_first_byte),
        T(a_slow_body_counts_into_the_same_deadline),
        T(an_idle_connection_ends_after_ten_seconds),
        T(idleness_begins_when_the_answer_is_gone),
        T(a_reader_that_never_reads_is_cut),
        T(a_slow_reader_gets_time_but_not_forever),
        T(trickling_through_the_rest_does_not_keep_a_place),
        T(what_came_in_time_is_answered_however_late),
        T(an_end_that_came_in_time_is_no_timeout),
        T(lingering_drops_only_so_much),
        T(only_those_without_a_request_may_be_given_up),
        T(survives_random_damage),
    };
    return cmocka_run_group_tests_name("httpd", tests, NULL, NULL);
}
