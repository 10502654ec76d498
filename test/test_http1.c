/* Messages by hand first, then the table of attacks, the limits at n and
 * n + 1, each byte at each place, and random cuts and mutations. Every input
 * is fed whole and in pieces of 1, 2 and 3, and must be judged the same. */
#include "proto/http1.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BODY_MAX 65536

#define GET "GET / HTTP/1.1\r\nHost: a\r\n"
#define OK  "HTTP/1.1 200 OK\r\n"

/* Text with NULs in it, and its length. */
#define TEXT(s) (s), sizeof(s) - 1

static const size_t pieces[] = {1, 2, 3, 1 << 20};

/* Feed in pieces of `piece` bytes from exact-size copies, so that ASan sees a
 * read past any end. Returns the bytes consumed. */
static size_t feed(struct http1 *h, const char *data, size_t len, size_t piece)
{
    size_t used = 0;
    while (used < len) {
        size_t n = len - used < piece ? len - used : piece;
        char *copy = malloc(n);
        assert_non_null(copy);
        memcpy(copy, data + used, n);
        size_t took = http1_feed(h, copy, n);
        free(copy);
        check_true(took <= n);
        used += took;
        if (h->state == HTTP1_DONE || h->state == HTTP1_FAILED)
            break;
        check_u64(took, n);
    }
    return used;
}

static size_t run(struct http1 *h, enum http1_role role, const char *data,
                  size_t len, size_t piece)
{
    /* Old contents must not matter; nothing is cleared by init. */
    memset(h, 0xa5, sizeof(*h));
    http1_init(h, role, HTTP1_HEAD_MAX, BODY_MAX);
    return feed(h, data, len, piece);
}

static void check_field(const struct http1 *h, const char *name,
                        const char *want)
{
    struct http1_text v;
    if (!http1_field(h, name, &v)) {
        print_error("no field %s\n", name);
        fail();
    }
    check_u64(v.len, strlen(want));
    check_true(!memcmp(v.data, want, v.len));
}

static void check_span(struct http1_text t, const char *want)
{
    check_u64(t.len, strlen(want));
    check_true(!memcmp(t.data, want, t.len));
}

/* ---- good messages ----------------------------------------------------- */

static void takes_a_request_apart(void **state)
{
    (void)state;
    static const char text[] = "GET /probe?x=1 HTTP/1.1\r\n"
                               "Host: a.test:7443\r\n"
                               "X-Mixed-CASE: \t Some value \t\r\n"
                               "x-empty:\r\n"
                               "x-blank:   \r\n"
                               "X-High: \xc3\xa4\r\n"
                               "\r\n";
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct http1 h;
        struct http1_text v;
        check_u64(run(&h, HTTP1_REQUEST, TEXT(text), pieces[i]),
                  sizeof(text) - 1);
        check_u64(h.state, HTTP1_DONE);
        check_span(h.method, "GET");
        check_span(h.target, "/probe?x=1");
        check_u64(h.version_minor, 1);
        check_true(h.is_keep_alive);
        check_u64(h.body_bytes, 0);
        check_field(&h, "host", "a.test:7443");
        check_field(&h, "x-mixed-case", "Some value");
        check_field(&h, "x-empty", "");
        check_field(&h, "x-blank", "");
        check_field(&h, "x-high", "\xc3\xa4");
        check_false(http1_field(&h, "x-mixed", &v));
        check_false(http1_field(&h, "x-mixed-casex", &v));
        check_false(http1_field(&h, "", &v));
    }
}

static void takes_a_response_apart(void **state)
{
    (void)state;
    static const char text[] = "HTTP/1.1 503 Service\tUn\xe4vailable\r\n"
                               "Server-Timing: app;dur=0.052\r\n"
                               "Content-Length: 5\r\n"
                               "Server-Timing: app;dur=9\r\n"
                               "\r\nhello";
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct http1 h;
        run(&h, HTTP1_RESPONSE, TEXT(text), pieces[i]);
        check_u64(h.state, HTTP1_DONE);
        check_u64(h.status, 503);
        check_u64(h.body_bytes, 5);
        check_true(h.has_length);
        check_true(h.is_keep_alive);
        check_field(&h, "server-timing", "app;dur=0.052");
    }
}

struct good {
    const char *name;
    enum http1_role role;
    const char *text;
    unsigned status, body_bytes, n_interim;
    bool is_keep_alive;
    bool needs_eof;
};

/* clang-format off */
static const struct good goods[] = {
    {"request with a body", HTTP1_REQUEST,
     "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
     0, 3, 0, true, false},
    {"request with an empty body", HTTP1_REQUEST,
     GET "Content-Length: 0\r\n\r\n", 0, 0, 0, true, false},
    {"request in chunks", HTTP1_REQUEST,
     GET "Transfer-Encoding: Chunked \r\n\r\n3\r\nabc\r\nA\r\n0123456789\r\n"
     "0\r\n\r\n", 0, 13, 0, true, false},
    {"request with lengths padded by zeros", HTTP1_REQUEST,
     GET "Content-Length: 003\r\n\r\nabc", 0, 3, 0, true, false},
    {"request of 1.0 without host", HTTP1_REQUEST,
     "GET / HTTP/1.0\r\n\r\n", 0, 0, 0, false, false},
    {"request of 1.0 that stays", HTTP1_REQUEST,
     "GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", 0, 0, 0, true, false},
    {"request that closes", HTTP1_REQUEST,
     GET "Connection: CLOSE\r\n\r\n", 0, 0, 0, false, false},
    {"close in a list", HTTP1_REQUEST,
     GET "Connection: te ,\tclose , x\r\n\r\n", 0, 0, 0, false, false},
    {"close in the second field", HTTP1_REQUEST,
     GET "Connection: te\r\nConnection: close\r\n\r\n", 0, 0, 0, false, false},
    {"close beats keep-alive", HTTP1_REQUEST,
     "GET / HTTP/1.0\r\nConnection: close, keep-alive\r\n\r\n",
     0, 0, 0, false, false},
    {"an option that only starts like close", HTTP1_REQUEST,
     GET "Connection: closed, xclose, clos\r\n\r\n", 0, 0, 0, true, false},
    {"one empty line in front", HTTP1_REQUEST,
     "\r\n" GET "\r\n", 0, 0, 0, true, false},
    {"asterisk", HTTP1_REQUEST,
     "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 0, 0, 0, true, false},
    {"absolute form", HTTP1_REQUEST,
     "GET http://a.test:80/x HTTP/1.1\r\nHost: a\r\n\r\n",
     0, 0, 0, true, false},
    {"absolute form without path", HTTP1_REQUEST,
     "GET HTTPS://[::1]:443?q HTTP/1.1\r\nHost: a\r\n\r\n",
     0, 0, 0, true, false},
    {"empty host", HTTP1_REQUEST,
     "GET / HTTP/1.1\r\nHost:\r\n\r\n", 0, 0, 0, true, false},
    {"extension method", HTTP1_REQUEST,
     "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 0, 0, true, false},
    {"lower case method is another method", HTTP1_REQUEST,
     "get / HTTP/1.1\r\nHost: a\r\n\r\n", 0, 0, 0, true, false},

    {"response with a length", HTTP1_RESPONSE,
     OK "Content-Length: 2\r\n\r\nab", 200, 2, 0, true, false},
    {"response without a reason", HTTP1_RESPONSE,
     "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", 200, 0, 0, true, false},
    {"response without reason and space", HTTP1_RESPONSE,
     "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, 0, 0, true, false},
    {"response of 1.0", HTTP1_RESPONSE,
     "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na",
     200, 1, 0, false, false},
    {"response until close", HTTP1_RESPONSE,
     OK "\r\nabc\r\n", 200, 5, 0, false, true},
    {"empty response until close", HTTP1_RESPONSE,
     OK "Connection: keep-alive\r\n\r\n", 200, 0, 0, false, true},
    {"response in chunks", HTTP1_RESPONSE,
     OK "Transfer-Encoding: chunked\r\n\r\n00001\r\na\r\n000\r\n\r\n",
     200, 1, 0, true, false},
    {"chunk extensions", HTTP1_RESPONSE,
     OK "Transfer-Encoding: chunked\r\n\r\n2;a;b=\"c;\td\"\r\nab\r\n0;x\r\n"
     "\r\n", 200, 2, 0, true, false},
    {"chunk sizes in both cases", HTTP1_RESPONSE,
     OK "Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n"
     "B\r\n0123456789a\r\n0\r\n\r\n", 200, 21, 0, true, false},
    {"data that looks like framing", HTTP1_RESPONSE,
     OK "Transfer-Encoding: chunked\r\n\r\n7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
     200, 7, 0, true, false},
    {"204 has no body", HTTP1_RESPONSE,
     "HTTP/1.1 204 No Content\r\n\r\n", 204, 0, 0, true, false},
    {"204 with the length 0", HTTP1_RESPONSE,
     "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
     204, 0, 0, true, false},
    {"204 that announces a body is not kept", HTTP1_RESPONSE,
     "HTTP/1.1 204 No Content\r\nContent-Length: 1\r\n\r\n",
     204, 0, 0, false, false},
    {"204 that announces chunks is not kept", HTTP1_RESPONSE,
     "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
     204, 0, 0, false, false},
    {"304 tells the length of what it has not", HTTP1_RESPONSE,
     "HTTP/1.1 304 Not Modified\r\nContent-Length: 99999999\r\n\r\n",
     304, 0, 0, true, false},
    {"interim response", HTTP1_RESPONSE,
     "HTTP/1.1 100 Continue\r\n\r\n"
     "HTTP/1.1 103 Hints\r\nLink: x\r\nContent-Length: 7\r\n\r\n"
     OK "Content-Length: 1\r\n\r\na", 200, 1, 2, true, false},
    {"interim response does not close", HTTP1_RESPONSE,
     "HTTP/1.0 100 Continue\r\nConnection: close\r\n\r\n"
     OK "Content-Length: 0\r\n\r\n", 200, 0, 1, true, false},
    {"status above 599", HTTP1_RESPONSE,
     "HTTP/1.1 999 What\r\nContent-Length: 0\r\n\r\n",
     999, 0, 0, true, false},
    {"host in a response means nothing", HTTP1_RESPONSE,
     OK "Host: a b\r\nHost: /\r\nContent-Length: 0\r\n\r\n",
     200, 0, 0, true, false},
};
/* clang-format on */

static void good_messages_end_where_they_end(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(goods) * COUNT(pieces); i++) {
        const struct good *g = &goods[i / COUNT(pieces)];
        size_t piece = pieces[i % COUNT(pieces)];
        size_t len = strlen(g->text);
        char text[512];
        /* What follows belongs to the next message. */
        int n = snprintf(text, sizeof(text), "%s%s", g->text,
                         g->needs_eof ? "" : "\r\nX");
        struct http1 h;
        check_u64(run(&h, g->role, text, (size_t)n, piece), len);
        if (g->needs_eof) {
            check_u64(h.state, HTTP1_BODY);
            check_u64(http1_eof(&h), HTTP1_DONE);
            check_true(h.is_close_delimited);
        }
        if (h.state != HTTP1_DONE)
            print_error("%s: %s\n", g->name, h.error ? h.error : "not done");
        check_u64(h.state, HTTP1_DONE);
        check_u64(h.status, g->status);
        check_u64(h.body_bytes, g->body_bytes);
        check_u64(h.n_interim, g->n_interim);
        if (h.is_keep_alive != g->is_keep_alive)
            print_error("%s\n", g->name);
        check_u64(h.is_keep_alive, g->is_keep_alive);
        check_i64(h.err, 0);
        check_true(!h.error);
        check_u64(http1_feed(&h, "x", 1), 0); /* nothing more goes in */
        check_u64(http1_eof(&h), HTTP1_DONE);
    }
}

static void answers_to_head_have_no_body(void **state)
{
    (void)state;
    static const char *const texts[] = {
        OK "Content-Length: 99999999\r\n\r\n",
        OK "Transfer-Encoding: chunked\r\n\r\n",
        OK "\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n" OK "Content-Length: 5\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT(texts) * COUNT(pieces); i++) {
        const char *text = texts[i / COUNT(pieces)];
        struct http1 h;
        memset(&h, 0xa5, sizeof(h));
        http1_init(&h, HTTP1_RESPONSE, HTTP1_HEAD_MAX, BODY_MAX);
        http1_next(&h, true);
        check_u64(feed(&h, text, strlen(text), pieces[i % COUNT(pieces)]),
                  strlen(text));
        check_u64(h.state, HTTP1_DONE);
        check_u64(h.body_bytes, 0);
        check_true(h.is_keep_alive);
        check_false(h.is_close_delimited);
    }
}

static void finds_trailers_after_the_head(void **state)
{
    (void)state;
    static const char text[] = OK "Transfer-Encoding: chunked\r\nA: 1\r\n\r\n"
                                  "1\r\nx\r\n0\r\nB: 2\r\nA: 3\r\n\r\n";
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct http1 h;
        run(&h, HTTP1_RESPONSE, TEXT(text), pieces[i]);
        check_u64(h.state, HTTP1_DONE);
        check_field(&h, "a", "1"); /* the head's comes first */
        check_field(&h, "b", "2");
    }
}

static void messages_follow_each_other(void **state)
{
    (void)state;
    static const char text[] =
        "POST /1 HTTP/1.1\r\nHost: a\r\nX: 1\r\nContent-Length: 2\r\n\r\nab"
        "GET /22 HTTP/1.1\r\nHost: a\r\n\r\n"
        "POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
        "1\r\nx\r\n0\r\nT: 1\r\n\r\n"
        "GET /4 HTTP/1.0\r\n\r\n";
    static const char *const targets[] = {"/1", "/22", "/3", "/4"};
    static const unsigned bodies[] = {2, 0, 1, 0};
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct http1 h;
        struct http1_text v;
        size_t at = 0;
        http1_init(&h, HTTP1_REQUEST, HTTP1_HEAD_MAX, BODY_MAX);
        for (size_t k = 0; k < 4; k++) {
            check_false(http1_begun(&h));
            at += feed(&h, text + at, sizeof(text) - 1 - at, pieces[i]);
            check_u64(h.state, HTTP1_DONE);
            check_true(http1_begun(&h));
            check_span(h.target, targets[k]);
            check_u64(h.body_bytes, bodies[k]);
            check_u64(h.is_keep_alive, k < 3);
            check_u64(http1_field(&h, "x", &v), k == 0);
            check_u64(http1_field(&h, "t", &v), k == 2);
            http1_next(&h, false);
        }
        check_u64(at, sizeof(text) - 1);
    }
}

/* ---- the end of the connection ----------------------------------------- */

static void knows_whether_a_message_begun(void **state)
{
    (void)state;
    struct http1 h;
    run(&h, HTTP1_REQUEST, TEXT("\r\n"), 1);
    check_false(http1_begun(&h));
    check_u64(http1_eof(&h), HTTP1_HEAD);
    check_u64(feed(&h, "G", 1, 1), 1);
    check_true(http1_begun(&h));

    run(&h, HTTP1_RESPONSE, TEXT("HTTP/1.1 100 \r\n\r\n"), 1);
    check_u64(h.state, HTTP1_HEAD);
    check_true(http1_begun(&h));
    check_u64(http1_eof(&h), HTTP1_FAILED);
    check_i64(h.err, ERR_TRUNC);

    http1_init(&h, HTTP1_RESPONSE, HTTP1_HEAD_MAX, BODY_MAX);
    check_u64(http1_feed(&h, NULL, 0), 0);
    check_false(http1_begun(&h));
    check_u64(http1_eof(&h), HTTP1_HEAD);
    check_i64(h.err, 0);
}

/* Every proper prefix of every good message is unfinished, and an error if
 * the connection ends there. */
static void a_cut_message_is_truncated(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(goods); i++) {
        const struct good *g = &goods[i];
        size_t len = strlen(g->text);
        const char *head_end = strstr(g->text + 4, "\r\n\r\n");
        size_t until = g->needs_eof ? (size_t)(head_end + 4 - g->text) : len;
        for (size_t cut = 1; cut < until; cut++) {
            struct http1 h;
            check_u64(run(&h, g->role, g->text, cut, 1 + cut % 5), cut);
            check_true(h.state == HTTP1_HEAD || h.state == HTTP1_BODY);
            if (!http1_begun(&h)) /* the empty line in front */
                continue;
            check_u64(http1_eof(&h), HTTP1_FAILED);
            check_i64(h.err, ERR_TRUNC);
            check_false(h.is_keep_alive);
            check_true(h.error);
        }
    }
}

/* ---- attacks ----------------------------------------------------------- */

struct bad {
    enum http1_role role;
    const char *text;
    size_t len;
    const char *error;
};

#define REQ(s, e)                   \
    {                               \
        HTTP1_REQUEST, TEXT(s), (e) \
    }
#define RES(s, e)                    \
    {                                \
        HTTP1_RESPONSE, TEXT(s), (e) \
    }

#define E_VERSION "not HTTP/1.0 or HTTP/1.1"
#define E_CR      "line without CR"
#define E_NAME    "malformed header name"
#define E_CONTROL "control byte in a header field"
#define E_LENGTH  "malformed content-length"
#define E_CODING  "unknown transfer coding"
#define E_BOTH    "content-length with transfer-encoding"
#define E_SIZE    "malformed chunk size"
#define E_EXT     "malformed chunk extension"
#define E_TARGET  "malformed target"
#define E_STATUS  "malformed status"
#define E_TRAILER "framing field in a trailer"

#define CL  "Content-Length"
#define TE  "Transfer-Encoding"
#define RTE GET TE ": chunked\r\n\r\n"
#define STE OK TE ": chunked\r\n\r\n"

/* clang-format off */
static const struct bad bads[] = {
    /* two opinions about the length */
    REQ(GET CL ": 3\r\n" TE ": chunked\r\n\r\n", E_BOTH),
    REQ(GET TE ": chunked\r\n" CL ": 3\r\n\r\n", E_BOTH),
    RES(OK CL ": 0\r\n" TE ": chunked\r\n\r\n", E_BOTH),
    RES("HTTP/1.1 204 \r\n" CL ": 0\r\n" TE ": chunked\r\n\r\n", E_BOTH),
    REQ(GET CL ": 3\r\n" CL ": 3\r\n\r\n", "repeated content-length"),
    REQ(GET CL ": 3\r\n" CL ": 4\r\n\r\n", "repeated content-length"),
    RES(OK "content-length: 0\r\nCONTENT-LENGTH: 0\r\n\r\n",
        "repeated content-length"),
    REQ(GET CL ": 3, 3\r\n\r\n", E_LENGTH),
    REQ(GET CL ": 3,4\r\n\r\n", E_LENGTH),
    /* numbers that are none */
    REQ(GET CL ": -1\r\n\r\n", E_LENGTH),
    REQ(GET CL ": +5\r\n\r\n", E_LENGTH),
    REQ(GET CL ": 5 6\r\n\r\n", E_LENGTH),
    REQ(GET CL ": 0x5\r\n\r\n", E_LENGTH),
    REQ(GET CL ": 5.0\r\n\r\n", E_LENGTH),
    REQ(GET CL ": 1e1\r\n\r\n", E_LENGTH),
    REQ(GET CL ": five\r\n\r\n", E_LENGTH),
    REQ(GET CL ": 5;\r\n\r\n", E_LENGTH),
    REQ(GET CL ":\r\n\r\n", E_LENGTH),
    REQ(GET CL ":  \r\n\r\n", E_LENGTH),
    RES(OK CL ": \xb2\r\n\r\n", E_LENGTH),
    /* numbers that do not fit: 2^64, 2^64 + 5, 10^20, 10^29 */
    REQ(GET CL ": 18446744073709551616\r\n\r\n", "content-length overflows"),
    RES(OK CL ": 18446744073709551621\r\n\r\n", "content-length overflows"),
    RES(OK CL ": 100000000000000000000\r\n\r\n", "content-length overflows"),
    RES(OK CL ": 100000000000000000000000000000\r\n\r\n",
        "content-length overflows"),
    /* codings */
    REQ(GET TE ": xchunked\r\n\r\n", E_CODING),
    REQ(GET TE ": chunkedx\r\n\r\n", E_CODING),
    REQ(GET TE ": chunked, identity\r\n\r\n", E_CODING),
    REQ(GET TE ": gzip, chunked\r\n\r\n", E_CODING),
    REQ(GET TE ": chunked, chunked\r\n\r\n", E_CODING),
    REQ(GET TE ": chunked\r\n" TE ": chunked\r\n\r\n", E_CODING),
    REQ(GET TE ": identity\r\n\r\n", E_CODING),
    REQ(GET TE ": ,chunked\r\n\r\n", E_CODING),
    REQ(GET TE ": chunked;q=1\r\n\r\n", E_CODING),
    REQ(GET TE ": \"chunked\"\r\n\r\n", E_CODING),
    REQ(GET TE ": \x0b" "chunked\r\n\r\n", E_CONTROL),
    REQ(GET TE ":\r\n\r\n", E_CODING),
    RES(OK TE ": gzip\r\n\r\n", E_CODING),
    REQ("POST / HTTP/1.0\r\n" TE ": chunked\r\n\r\n",
        "transfer-encoding in HTTP/1.0"),
    RES("HTTP/1.0 200 OK\r\n" TE ": chunked\r\n\r\n",
        "transfer-encoding in HTTP/1.0"),
    /* ends of lines */
    REQ("GET / HTTP/1.1\nHost: a\r\n\r\n", E_CR),
    REQ("GET / HTTP/1.1\r\nHost: a\n\r\n", E_CR),
    REQ(GET "\n", E_CR),
    REQ(GET "A: b\n\r\n", E_CR),
    REQ("\n" GET "\r\n", E_CR),
    RES("HTTP/1.1 200 OK\n\r\n", E_CR),
    RES(OK "A: b\n\n", E_CR),
    REQ(GET "A: b\r" CL ": 5\r\n\r\n", E_CONTROL),
    REQ(GET "A: b\r\r\n\r\n", E_CONTROL),
    REQ(GET "\r\r\n\r\n", E_NAME),
    REQ("\r\n\r\n" GET "\r\n", "malformed method"),
    RES("\r\n" OK "\r\n", E_VERSION),
    /* folds and blanks */
    REQ(GET "A: b\r\n c\r\n\r\n", "folded header field"),
    REQ(GET "A: b\r\n\tc\r\n\r\n", "folded header field"),
    REQ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "folded header field"),
    REQ(GET TE ":\r\n chunked\r\n\r\n", E_CODING),
    REQ(GET " \r\n\r\n", "folded header field"),
    REQ(GET CL " : 3\r\n\r\n", E_NAME),
    REQ(GET CL "\t: 3\r\n\r\n", E_NAME),
    REQ(GET "A b: c\r\n\r\n", E_NAME),
    REQ(GET ": c\r\n\r\n", E_NAME),
    REQ(GET "no colon\r\n\r\n", E_NAME),
    REQ(GET "A\0: b\r\n\r\n", E_NAME),
    REQ(GET "(a): b\r\n\r\n", E_NAME),
    REQ(GET "\xc3\xa4: b\r\n\r\n", E_NAME),
    /* control bytes */
    REQ(GET "A: b\0c\r\n\r\n", E_CONTROL),
    REQ(GET "A: \x01\r\n\r\n", E_CONTROL),
    REQ(GET "A: b\x7f\r\n\r\n", E_CONTROL),
    REQ(GET "A: \x1b[2J\r\n\r\n", E_CONTROL),
    RES(OK CL ": 1\0\r\n\r\n", E_CONTROL),
    RES("HTTP/1.1 200 O\0K\r\n\r\n", "malformed reason"),
    RES("HTTP/1.1 200 O\rK\r\n\r\n", "malformed reason"),
    /* the first line */
    REQ("GET / HTTP/1.2\r\nHost: a\r\n\r\n", E_VERSION),
    REQ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", E_VERSION),
    REQ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", E_VERSION),
    REQ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", E_VERSION),
    REQ("GET / HTTP/1\r\nHost: a\r\n\r\n", E_VERSION),
    REQ("GET / http/1.1\r\nHost: a\r\n\r\n", E_VERSION),
    REQ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", E_VERSION),
    REQ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", E_VERSION),
    REQ("GET / x HTTP/1.1\r\nHost: a\r\n\r\n", E_VERSION),
    REQ("GET /\r\n\r\n", "malformed request line"),
    REQ("GET\r\n\r\n", "malformed method"),
    REQ(" GET / HTTP/1.1\r\nHost: a\r\n\r\n", E_VERSION),
    REQ("\x16\x03\x01\x02", E_VERSION),
    REQ("G(T / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed method"),
    REQ("G\0T / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed method"),
    REQ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", "malformed method"),
    REQ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("OPTIONS ** HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("options * HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("GET /# HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("GET /\t HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("GET /\xc3\xa4 HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("GET http:// HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("GET http://u@h/x HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("GET ftp://h/x HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("GET file:///etc HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    REQ("CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", E_TARGET),
    RES("SSH-2.0-OpenSSH_9.2\r\n", E_VERSION),
    RES("\x15\x03\x01\0\x02\x02\x50", E_VERSION),
    RES("HTTP/1.2 200 OK\r\n\r\n", E_VERSION),
    RES("HTTP/2 200\r\n\r\n", E_VERSION),
    RES("HTTP/1.1x200 OK\r\n\r\n", E_STATUS),
    RES("HTTP/1.1  200 OK\r\n\r\n", E_STATUS),
    RES("HTTP/1.1 20 OK\r\n\r\n", E_STATUS),
    RES("HTTP/1.1 099 OK\r\n\r\n", E_STATUS),
    RES("HTTP/1.1 -20 OK\r\n\r\n", E_STATUS),
    RES("HTTP/1.1 2x0 OK\r\n\r\n", E_STATUS),
    RES("HTTP/1.1 20x OK\r\n\r\n", E_STATUS),
    RES("HTTP/1.1 2000 OK\r\n\r\n", "malformed reason"),
    RES("HTTP/1.1 200\tOK\r\n\r\n", "malformed reason"),
    RES("HTTP/1.1\r\n\r\n", E_STATUS),
    RES("HTTP/1.1 101 Switching\r\n\r\n", "switched protocols unasked"),
    /* host */
    REQ("GET / HTTP/1.1\r\n\r\n", "missing host"),
    REQ("GET / HTTP/1.1\r\nHosts: a\r\n\r\n", "missing host"),
    REQ(GET "host: a\r\n\r\n", "repeated host"),
    REQ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", "repeated host"),
    REQ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", "malformed host"),
    REQ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "malformed host"),
    REQ("GET / HTTP/1.1\r\nHost: u@b\r\n\r\n", "malformed host"),
    REQ("GET / HTTP/1.1\r\nHost: \xff\r\n\r\n", "malformed host"),
    /* chunks */
    REQ(RTE "10000000000000000\r\n", "chunk size overflows"),
    RES(STE "ffffffffffffffff1\r\n", "chunk size overflows"),
    RES(STE "00000000000000001\r\n", "chunk size overflows"),
    REQ(RTE "\r\n", E_SIZE),
    REQ(RTE ";a\r\n", E_SIZE),
    REQ(RTE "-1\r\n", E_SIZE),
    REQ(RTE "+1\r\n", E_SIZE),
    REQ(RTE "0x1\r\n", E_SIZE),
    REQ(RTE "g\r\n", E_SIZE),
    REQ(RTE "1 \r\na", E_SIZE),
    REQ(RTE " 1\r\na", E_SIZE),
    REQ(RTE "1\na", E_SIZE),
    REQ(RTE "1\ra\r\n", "malformed end of a chunk size"),
    REQ(RTE "1\r\r\na", "malformed end of a chunk size"),
    REQ(RTE "1;a\nb\r\na", E_EXT),
    REQ(RTE "1;a\0\r\na", E_EXT),
    REQ(RTE "1;\x7f\r\na", E_EXT),
    REQ(RTE "1;\xe4\r\na", E_EXT),
    REQ(RTE "1;a\rb\r\na", "malformed end of a chunk size"),
    REQ(RTE "1\r\nab\r\n", "malformed end of a chunk"),
    REQ(RTE "1\r\na\n0\r\n", "malformed end of a chunk"),
    REQ(RTE "1\r\na\rx", "malformed end of a chunk"),
    REQ(RTE "1\r\na0\r\n\r\n", "malformed end of a chunk"),
    REQ(RTE "1\r\na\r\n\r\n", E_SIZE),
    /* trailers */
    REQ(RTE "0\r\n" CL ": 5\r\n\r\n", E_TRAILER),
    REQ(RTE "0\r\n" TE ": chunked\r\n\r\n", E_TRAILER),
    REQ(RTE "0\r\nHost: b\r\n\r\n", E_TRAILER),
    RES(STE "0\r\nConnection: close\r\n\r\n", E_TRAILER),
    REQ(RTE "0\r\nA : b\r\n\r\n", E_NAME),
    REQ(RTE "0\r\n b\r\n\r\n", "folded header field"),
    REQ(RTE "0\r\nA: b\n\r\n", E_CR),
    REQ(RTE "0\r\n\n", E_CR),
    /* after an interim response */
    RES("HTTP/1.1 100 \r\n\r\nhello", E_VERSION),
    RES("HTTP/1.1 100 \r\n\r\n\r\n" OK, E_VERSION),
    RES("HTTP/1.1 100 \r\n" CL ": x\r\n\r\n", E_LENGTH),
};
/* clang-format on */

static void refuses_what_smugglers_send(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bads) * COUNT(pieces); i++) {
        const struct bad *b = &bads[i / COUNT(pieces)];
        struct http1 h;
        run(&h, b->role, b->text, b->len, pieces[i % COUNT(pieces)]);
        if (h.state != HTTP1_FAILED || strcmp(h.error, b->error) != 0)
            print_error("vector %zu, %s\n%s\n", i / COUNT(pieces), b->error,
                        b->text);
        check_u64(h.state, HTTP1_FAILED);
        check_i64(h.err, ERR_BAD);
        check_text(h.error, b->error);
        check_false(h.is_keep_alive);
        check_u64(http1_feed(&h, "x", 1), 0);
        check_u64(http1_eof(&h), HTTP1_FAILED);
        check_i64(h.err, ERR_BAD);
    }
}

static void foreign_protocols_are_known_by_their_first_byte(void **state)
{
    (void)state;
    for (unsigned c = 0; c < 256; c++) {
        char byte = (char)c;
        struct http1 h;
        run(&h, HTTP1_RESPONSE, &byte, 1, 1);
        check_u64(h.state, c == 'H' ? HTTP1_HEAD : HTTP1_FAILED);
        run(&h, HTTP1_REQUEST, &byte, 1, 1);
        check_true(h.state == HTTP1_FAILED || (c > 0x20 && c < 0x7f) ||
                   c == '\r');
    }
    struct http1 h;
    run(&h, HTTP1_RESPONSE, TEXT("HTTP/1x"), 1 << 20);
    check_u64(h.state, HTTP1_FAILED);
    run(&h, HTTP1_RESPONSE, TEXT("HTTP/1."), 1 << 20);
    check_u64(h.state, HTTP1_HEAD);
}

/* ---- limits ------------------------------------------------------------ */

/* `text` is judged at a limit: `want` or a failure with `error`. */
static void check_limit(struct http1 *h, const char *text, size_t len,
                        const char *error)
{
    enum http1_role role = h->role;
    size_t head_max = h->head_max;
    size_t body_max = h->body_max;
    bool is_head = h->is_head_request;
    for (size_t i = 0; i < COUNT(pieces); i++) {
        http1_init(h, role, head_max, body_max);
        http1_next(h, is_head);
        feed(h, text, len, pieces[i]);
        if (!error) {
            check_u64(h->state, HTTP1_DONE);
            continue;
        }
        check_u64(h->state, HTTP1_FAILED);
        check_i64(h->err, ERR_TOOBIG);
        check_text(h->error, error);
        check_true(h->body_bytes <= body_max);
        check_true(h->head_len <= head_max);
    }
}

static void head_is_bounded(void **state)
{
    (void)state;
    static const char text[] = GET "A: bcd\r\n\r\n";
    size_t len = sizeof(text) - 1;
    struct http1 h;
    for (size_t max = 1; max < len; max++) {
        http1_init(&h, HTTP1_REQUEST, max, 0);
        check_limit(&h, text, len, "head larger than the limit");
    }
    http1_init(&h, HTTP1_REQUEST, len, 0);
    check_limit(&h, text, len, NULL);
}

static void trailers_share_the_bound_of_the_head(void **state)
{
    (void)state;
    static const char text[] = OK TE ": chunked\r\n\r\n0\r\nA: b\r\n\r\n";
    size_t head_len = sizeof(text) - 1 - 3; /* less the last chunk's line */
    struct http1 h;
    http1_init(&h, HTTP1_RESPONSE, head_len, 0);
    check_limit(&h, text, sizeof(text) - 1, NULL);
    http1_init(&h, HTTP1_RESPONSE, head_len - 1, 0);
    check_limit(&h, text, sizeof(text) - 1, "head larger than the limit");
}

static void endless_heads_stop_at_the_bound(void **state)
{
    (void)state;
    static char text[3 * HTTP1_HEAD_MAX];
    struct http1 h;

    memset(text, 'a', sizeof(text));
    http1_init(&h, HTTP1_REQUEST, HTTP1_HEAD_MAX, 0);
    check_limit(&h, text, sizeof(text), "head larger than the limit");

    memcpy(text, OK "A: ", 20);
    http1_init(&h, HTTP1_RESPONSE, HTTP1_HEAD_MAX, 0);
    check_limit(&h, text, sizeof(text), "head larger than the limit");
    http1_init(&h, HTTP1_RESPONSE, HTTP1_HEAD_MAX, 0);
    check_u64(http1_feed(&h, text, sizeof(text)), HTTP1_HEAD_MAX);
}

static size_t many_fields(char *text, size_t size, size_t n, const char *end)
{
    size_t len = 0;
    for (size_t i = 0; i < n; i++)
        len += (size_t)snprintf(text + len, size - len, "A%zu: %zu\r\n", i, i);
    len += (size_t)snprintf(text + len, size - len, "%s", end);
    assert_true(len < size);
    return len;
}

static void fields_are_bounded(void **state)
{
    (void)state;
    char text[4096] = GET;
    size_t at = strlen(GET);
    struct http1 h;
    size_t n = at + many_fields(text + at, sizeof(text) - at,
                                HTTP1_FIELDS_MAX - 1, "\r\n");
    http1_init(&h, HTTP1_REQUEST, HTTP1_HEAD_MAX, 0);
    check_limit(&h, text, n, NULL);
    check_field(&h, "a98", "98");

    n = at +
        many_fields(text + at, sizeof(text) - at, HTTP1_FIELDS_MAX, "\r\n");
    check_limit(&h, text, n, "too many header fields");

    /* and so are head and trailers together: one, then 99 or 100 */
    at = (size_t)snprintf(text, sizeof(text), "%s0\r\n", STE);
    n = at +
        many_fields(text + at, sizeof(text) - at, HTTP1_FIELDS_MAX - 1, "\r\n");
    http1_init(&h, HTTP1_RESPONSE, HTTP1_HEAD_MAX, 0);
    check_limit(&h, text, n, NULL);
    n = at +
        many_fields(text + at, sizeof(text) - at, HTTP1_FIELDS_MAX, "\r\n");
    check_limit(&h, text, n, "too many header fields");
}

static void interim_responses_are_bounded(void **state)
{
    (void)state;
    char text[1024] = "";
    struct http1 h;
    http1_init(&h, HTTP1_RESPONSE, 64, 0);
    for (int i = 0; i < HTTP1_INTERIM_MAX; i++)
        strcat(text, "HTTP/1.1 102 Processing\r\nA: b\r\n\r\n");
    char *end = text + strlen(text);
    strcpy(end, "HTTP/1.1 204 \r\n\r\n"); /* each head has its own bound */
    check_limit(&h, text, strlen(text), NULL);
    check_u64(h.n_interim, HTTP1_INTERIM_MAX);
    strcpy(end, "HTTP/1.1 102 \r\n\r\n");
    check_limit(&h, text, strlen(text), "too many interim responses");
}

static void body_is_bounded_before_it_is_read(void **state)
{
    (void)state;
    static const char too_large[] = "body larger than the limit";
    struct http1 h;
    http1_init(&h, HTTP1_REQUEST, 256, 5);
    check_limit(&h, TEXT(GET CL ": 5\r\n\r\n12345"), NULL);
    check_limit(&h, TEXT(GET CL ": 6\r\n\r\n"), too_large);
    check_limit(&h, TEXT(GET CL ": 18446744073709551615\r\n\r\n"), too_large);
    check_limit(&h, TEXT(RTE "2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n"), NULL);
    check_limit(&h, TEXT(RTE "2\r\nab\r\n4\r\n"), too_large);
    check_u64(h.body_bytes, 2);
    check_limit(&h, TEXT(RTE "1\r\na\r\nffffffffffffffff\r\n"), too_large);

    http1_init(&h, HTTP1_RESPONSE, 256, 5);
    check_limit(&h, TEXT(OK "\r\n123456"), too_large);
    check_u64(h.status, 200);
    check_u64(h.body_bytes, 5);
    check_limit(&h, TEXT("HTTP/1.1 304 \r\n" CL ": 6\r\n\r\n"), NULL);

    http1_init(&h, HTTP1_RESPONSE, 256, 5);
    feed(&h, TEXT(OK "\r\n12345"), 1);
    check_u64(http1_eof(&h), HTTP1_DONE);

    http1_init(&h, HTTP1_REQUEST, 256, 0);
    check_limit(&h, TEXT(GET CL ": 0\r\n\r\n"), NULL);
    check_limit(&h, TEXT(GET CL ": 1\r\n\r\n"), too_large);
}

/* One byte of data and many of extension, again and again. */
static void chunk_extensions_are_bounded(void **state)
{
    (void)state;
    char text[4096];
    struct http1 h;
    http1_init(&h, HTTP1_REQUEST, HTTP1_HEAD_MAX, 64);
    for (unsigned extra = 0; extra < 2; extra++) {
        size_t n = (size_t)snprintf(text, sizeof(text), "%s", RTE);
        for (int i = 0; i < 2; i++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "1;%0*d\r\na\r\n",
                                  HTTP1_EXT_MAX / 2, 0);
        n += (size_t)snprintf(text + n, sizeof(text) - n, "0;%.*s\r\n\r\n",
                              (int)extra, "x");
        check_limit(&h, text, n,
                    extra ? "chunk extensions larger than the limit" : NULL);
    }
}

/* ---- each byte --------------------------------------------------------- */

static bool is_tchar(unsigned c)
{
    return c && c < 0x80 &&
           strchr("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                  (int)c);
}

static bool accepts_with(enum http1_role role, const char *text, size_t len,
                         size_t at, unsigned c)
{
    char copy[128];
    struct http1 h;
    memcpy(copy, text, len);
    copy[at] = (char)c;
    run(&h, role, copy, len, 1 << 20);
    return h.state == HTTP1_DONE;
}

static void every_byte_is_judged_by_its_place(void **state)
{
    (void)state;
    static const char req[] = "AXA /X HTTP/1.1\r\nHost: a\r\nBXB: cXc\r\n\r\n";
    static const char res[] = "HTTP/1.1 204 aXb\r\n\r\n";
    static const char ext[] = RTE "0;X\r\n\r\n";
    size_t value_at = (size_t)(strstr(req, "cXc") + 1 - req);
    size_t name_at = (size_t)(strstr(req, "BXB") + 1 - req);
    size_t ext_at = sizeof(ext) - 1 - 5;
    for (unsigned c = 0; c < 256; c++) {
        bool is_visible = c > 0x20 && c < 0x7f;
        bool is_text = is_visible || c == ' ' || c == '\t' || c >= 0x80;
        /* a colon ends the name early, which is fine */
        check_u64(accepts_with(HTTP1_REQUEST, TEXT(req), name_at, c),
                  is_tchar(c) || c == ':');
        check_u64(accepts_with(HTTP1_REQUEST, TEXT(req), value_at, c), is_text);
        check_u64(accepts_with(HTTP1_REQUEST, TEXT(req), 1, c), is_tchar(c));
        check_u64(accepts_with(HTTP1_REQUEST, TEXT(req), 5, c),
                  is_visible && c != '#');
        check_u64(accepts_with(HTTP1_RESPONSE, TEXT(res), 14, c), is_text);
        check_u64(accepts_with(HTTP1_REQUEST, TEXT(ext), ext_at, c),
                  is_visible || c == ' ' || c == '\t');
    }
}

static void every_byte_of_a_host_is_judged(void **state)
{
    (void)state;
    static const char req[] = "GET / HTTP/1.1\r\nHost: aXa\r\n\r\n";
    static const char abs[] = "GET http://aXa/ HTTP/1.0\r\n\r\n";
    for (unsigned c = 0; c < 256; c++) {
        bool is_host = c && c < 0x80 &&
                       strchr("-._~!$&'()*+,;=%:[]0123456789"
                              "abcdefghijklmnopqrstuvwxyz"
                              "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
                              (int)c);
        check_u64(accepts_with(HTTP1_REQUEST, TEXT(req), 23, c), is_host);
        check_u64(accepts_with(HTTP1_REQUEST, TEXT(abs), 12, c),
                  is_host || c == '/' || c == '?');
    }
}

/* ---- random cuts and mutations ----------------------------------------- */

static void check_same(const struct http1 *a, const struct http1 *b)
{
    check_u64(a->state, b->state);
    check_i64(a->err, b->err);
    check_true(a->error == b->error);
    check_u64(a->status, b->status);
    check_u64(a->body_bytes, b->body_bytes);
    check_u64(a->n_interim, b->n_interim);
    check_u64(a->is_keep_alive, b->is_keep_alive);
    check_u64(a->n_fields, b->n_fields);
}

/* Every bit of every good message flipped: nothing breaks, pieces do not
 * matter. */
static void flipped_bits_are_judged_alike_in_any_pieces(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(goods); i++) {
        size_t len = strlen(goods[i].text);
        char text[512];
        for (size_t bit = 0; bit < len * 8; bit++) {
            struct http1 whole;
            struct http1 cut;
            memcpy(text, goods[i].text, len);
            text[bit / 8] = (char)(text[bit / 8] ^ (1 << bit % 8));
            run(&whole, goods[i].role, text, len, 1 << 20);
            run(&cut, goods[i].role, text, len, 1 + bit % 7);
            check_same(&whole, &cut);
            http1_eof(&whole);
            http1_eof(&cut);
            check_same(&whole, &cut);
        }
    }
}

static void random_mutations_are_judged_alike_in_any_pieces(void **state)
{
    (void)state;
    static const char alphabet[] = "\r\n \t:;,0159afA\0\x7f/HTP.";
    struct rng rng;
    rng_seed(&rng, check_seed());
    for (int round = 0; round < 20000; round++) {
        const struct good *g = &goods[rng_below(&rng, COUNT(goods))];
        size_t len = strlen(g->text);
        char text[512];
        memcpy(text, g->text, len);
        for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--) {
            size_t at = rng_below(&rng, len);
            switch (rng_below(&rng, 3)) {
            case 0: /* put one in */
                memmove(text + at + 1, text + at, len - at);
                len++;
                text[at] = alphabet[rng_below(&rng, sizeof(alphabet))];
                break;
            case 1: /* take one out */
                memmove(text + at, text + at + 1, len - at - 1);
                len--;
                break;
            default:
                text[at] = alphabet[rng_below(&rng, sizeof(alphabet))];
            }
        }
        struct http1 whole;
        struct http1 cut;
        size_t used = run(&whole, g->role, text, len, 1 << 20);
        size_t used_cut =
            run(&cut, g->role, text, len, 1 + rng_below(&rng, 40));
        check_same(&whole, &cut);
        if (whole.state == HTTP1_DONE)
            check_u64(used, used_cut);
    }
}

/* ---- writing ----------------------------------------------------------- */

static void check_written(const struct wr *w, const char *want)
{
    check_i64(wr_err(w), 0);
    check_u64(w->len, strlen(want));
    check_true(!memcmp(w->data, want, w->len));
}

static void writes_requests(void **state)
{
    (void)state;
    uint8_t data[512];
    struct wr w;
    wr_init_fixed(&w, data, sizeof(data));
    http1_write_request(&w, "GET", "/probe", "a:80", true, NULL);
    check_written(&w, "GET /probe HTTP/1.1\r\nHost: a:80\r\n"
                      "User-Agent: prober\r\nAccept-Encoding: identity\r\n"
                      "\r\n");
    wr_reset(&w);
    http1_write_request(&w, "POST", "/", "[::1]", false, "A: b\r\nC:\r\n");
    check_written(&w, "POST / HTTP/1.1\r\nHost: [::1]\r\n"
                      "User-Agent: prober\r\nAccept-Encoding: identity\r\n"
                      "Connection: close\r\nA: b\r\nC:\r\n\r\n");
}

static void writes_responses(void **state)
{
    (void)state;
    uint8_t data[512];
    struct wr w;
    wr_init_fixed(&w, data, sizeof(data));
    http1_write_response(&w, 200, "text/plain", 3, true, "A: b\r\n");
    check_written(&w, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                      "Content-Length: 3\r\nA: b\r\n\r\n");
    wr_reset(&w);
    http1_write_response(&w, 503, NULL, UINT64_MAX, false, NULL);
    check_written(&w, "HTTP/1.1 503 Service Unavailable\r\n"
                      "Content-Length: 18446744073709551615\r\n"
                      "Connection: close\r\n\r\n");
    wr_reset(&w);
    http1_write_response(&w, 204, NULL, 0, true, NULL);
    check_written(&w, "HTTP/1.1 204 No Content\r\n\r\n");
    wr_reset(&w);
    http1_write_response(&w, 100, NULL, 0, true, NULL);
    check_written(&w, "HTTP/1.1 100 Continue\r\n\r\n");
    wr_reset(&w);
    http1_write_response(&w, 299, NULL, 0, true, NULL);
    check_written(&w, "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n");
}

static void check_unwritten(struct wr *w)
{
    check_i64(wr_err(w), ERR_BAD);
    check_u64(w->len, 0);
    wr_reset(w);
}

static void does_not_write_what_it_would_not_read(void **state)
{
    (void)state;
    static const char *const methods[] = {"", "G T", "G\r", "G\x80", "G:"};
    static const char *const targets[] = {"",      "/ ", "/\r\nA: b", "/\x7f",
                                          "/\xe4", "/#", "/\t",       "/\x01"};
    static const char *const hosts[] = {"",    "a b",  "a\r\nB: c", "a/b",
                                        "u@a", "\xe4", "a\x7f",     "a\n"};
    static const char *const extras[] = {
        "\r\n",          "A",
        "A: b",          "A: b\n",
        "A: b\r",        "A: b\r\n\r\n",
        "A\r\n",         ": b\r\n",
        "A b: c\r\n",    "A: b\rc\r\n",
        "A: b\r\nC\r\n", "A: b\r\nC: d",
        "A: \x01\r\n",   " A: b\r\n",
        "A\r\nB: c\r\n", "A: b\nC: d\r\n",
    };
    uint8_t data[512];
    struct wr w;
    wr_init_fixed(&w, data, sizeof(data));
    for (size_t i = 0; i < COUNT(methods); i++) {
        http1_write_request(&w, methods[i], "/", "a", true, NULL);
        check_unwritten(&w);
    }
    for (size_t i = 0; i < COUNT(targets); i++) {
        http1_write_request(&w, "GET", targets[i], "a", true, NULL);
        check_unwritten(&w);
    }
    for (size_t i = 0; i < COUNT(hosts); i++) {
        http1_write_request(&w, "GET", "/", hosts[i], true, NULL);
        check_unwritten(&w);
    }
    for (size_t i = 0; i < COUNT(extras); i++) {
        http1_write_request(&w, "GET", "/", "a", true, extras[i]);
        check_unwritten(&w);
        http1_write_response(&w, 200, NULL, 0, true, extras[i]);
        check_unwritten(&w);
    }
    http1_write_response(&w, 200, "a\r\nB: c", 0, true, NULL);
    check_unwritten(&w);

    /* An earlier error stays, and a short buffer is its own error. */
    wr_init_fixed(&w, data, 10);
    http1_write_request(&w, "GET", "/", "a", true, NULL);
    check_i64(wr_err(&w), ERR_TOOBIG);
    http1_write_request(&w, "", "/", "a", true, NULL);
    check_i64(wr_err(&w), ERR_TOOBIG);
}

static void reads_what_it_writes(void **state)
{
    (void)state;
    for (unsigned status = 100; status <= 999; status++) {
        if (status == 101)
            continue;
        uint8_t data[512];
        struct wr w;
        struct http1 h;
        bool keep_alive = status % 2;
        wr_init_fixed(&w, data, sizeof(data));
        http1_write_response(&w, status, "a/b", 0, keep_alive, "X: y\r\n");
        if (status < 200)
            http1_write_response(&w, 200, NULL, 0, keep_alive, NULL);
        check_i64(wr_err(&w), 0);
        run(&h, HTTP1_RESPONSE, (const char *)data, w.len, 7);
        check_u64(h.state, HTTP1_DONE);
        check_u64(h.status, status < 200 ? 200 : status);
        check_u64(h.is_keep_alive, keep_alive);
    }
}

/* ---- Server-Timing ----------------------------------------------------- */

static void reads_server_timing(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ns;
    } cases[] = {
        {"app;dur=0.052", 52000},
        {"app;dur=1.5", 1500000},
        {"name;dur=1.5, app;dur=0.052", 52000},
        {"app;dur=0.052, name;dur=1.5", 52000},
        {"name;dur=1.5, other;dur=2", 1500000},
        {"cache, db;dur=53", 53000000},
        {"a;desc=\"x, app;dur=9 \\\" y\", app;dur=3", 3000000},
        {"a;desc=\"dur\";dur=2", 2000000},
        {"app;DUR=4", 4000000},
        {"app;dur=\"4.25\"", 4250000},
        {"app;dur=1;dur=2", 1000000},
        {"app;dur=1, app;dur=2", 1000000},
        {" \tapp \t;\t dur = 1 ", 1000000},
        {",, app;dur=1,", 1000000},
        {"app;x;y=z;dur=1", 1000000},
        {"APP;dur=1, app;dur=2", 2000000},
        {"appx;dur=1, xapp;dur=2", 1000000},
        {"app;dur=0", 0},
        {"app;dur=00.5", 500000},
        {"app;dur=0.000001", 1},
        {"app;dur=0.0000019999999999999999999999", 1},
        {"app;dur=3600000", 3600000000000ull},
        {"app;dur=3600000.0", 3600000000000ull},
        {"app;dur=3599999.999999", 3599999999999ull},
        {"bad;dur=x, app;dur=1", 1000000},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t ns = 7;
        int err =
            http1_server_timing(cases[i].text, strlen(cases[i].text), &ns);
        if (err || ns != cases[i].ns)
            print_error("%s\n", cases[i].text);
        check_i64(err, 0);
        check_u64(ns, cases[i].ns);
    }
}

static void refuses_odd_server_timing(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        " ",
        ",",
        "app",
        "app, db",
        "app;desc=x",
        "app, x;dur=1", /* there is an app, and it does not say */
        "app;dur",
        "app;dur=",
        "app;dur=\"\"",
        "app;dur=-1",
        "app;dur=+1",
        "app;dur=.5",
        "app;dur=5.",
        "app;dur=1e3",
        "app;dur=0x1",
        "app;dur=NaN",
        "app;dur=inf",
        "app;dur=1.2.3",
        "app;dur=1 2",
        "app;dur=3600000.000001",
        "app;dur=3600001",
        "app;dur=18446744073709551617",
        "app;dur=99999999999999999999999999999999999999",
        "app;dur=\"1",
        "app;dur=\"1\\\"",
        "app;dur=\"1\"x",
        "app;;dur=1",
        "app;=1",
        ";dur=1",
        "app dur=1",
        "app;dur=1 app;dur=2",
        "app;dur=1, (",
        "app;dur=1;",
        "x;dur=1, app;dur=y",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        uint64_t ns = 7;
        int err = http1_server_timing(texts[i], strlen(texts[i]), &ns);
        if (!err)
            print_error("%s\n", texts[i]);
        check_i64(err, ERR_BAD);
        check_u64(ns, 7);
    }
    uint64_t ns = 7;
    check_i64(http1_server_timing(NULL, 0, &ns), ERR_BAD);
    check_i64(http1_server_timing(TEXT("app;dur=1\0"), &ns), ERR_BAD);
    /* `len` is the end, not what follows */
    check_i64(http1_server_timing("app;dur=123", 10, &ns), 0);
    check_u64(ns, 12000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_a_request_apart),
        cmocka_unit_test(takes_a_response_apart),
        cmocka_unit_test(good_messages_end_where_they_end),
        cmocka_unit_test(answers_to_head_have_no_body),
        cmocka_unit_test(finds_trailers_after_the_head),
        cmocka_unit_test(messages_follow_each_other),
        cmocka_unit_test(knows_whether_a_message_begun),
        cmocka_unit_test(a_cut_message_is_truncated),
        cmocka_unit_test(refuses_what_smugglers_send),
        cmocka_unit_test(foreign_protocols_are_known_by_their_first_byte),
        cmocka_unit_test(head_is_bounded),
        cmocka_unit_test(trailers_share_the_bound_of_the_head),
        cmocka_unit_test(endless_heads_stop_at_the_bound),
        cmocka_unit_test(fields_are_bounded),
        cmocka_unit_test(interim_responses_are_bounded),
        cmocka_unit_test(body_is_bounded_before_it_is_read),
        cmocka_unit_test(chunk_extensions_are_bounded),
        cmocka_unit_test(every_byte_is_judged_by_its_place),
        cmocka_unit_test(every_byte_of_a_host_is_judged),
        cmocka_unit_test(flipped_bits_are_judged_alike_in_any_pieces),
        cmocka_unit_test(random_mutations_are_judged_alike_in_any_pieces),
        cmocka_unit_test(writes_requests),
        cmocka_unit_test(writes_responses),
        cmocka_unit_test(does_not_write_what_it_would_not_read),
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(reads_server_timing),
        cmocka_unit_test(refuses_odd_server_timing),
    };
    return cmocka_run_group_tests_name("http1", tests, NULL, NULL);
}
