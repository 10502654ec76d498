/* First our two halves against each other, then each against a scripted peer
 * whose frames are made by hand. */
#include "proto/h2.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"
#include "proto/grpc.h"
#include "test/check.h"

enum frame_type {
    DATA,
    HEADERS,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    PUSH_PROMISE,
    PING,
    GOAWAY,
    WINDOW_UPDATE,
    CONTINUATION,
    UNKNOWN_TYPE = 0x42,
};

enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4, PADDED = 8, PRIO = 32 };

enum { /* error codes of RFC 9113 7 */
       NO_ERROR,
       PROTOCOL_ERROR,
       INTERNAL_ERROR,
       FLOW_CONTROL_ERROR,
       SETTINGS_TIMEOUT,
       STREAM_CLOSED,
       FRAME_SIZE_ERROR,
       REFUSED_STREAM,
       CANCEL,
       COMPRESSION_ERROR,
       CONNECT_ERROR,
       ENHANCE_YOUR_CALM,
};

static const char magic[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* ---- bytes by hand ---- */

static void put_frame(struct wr *w, unsigned type, unsigned flags,
                      uint32_t stream, const void *payload, size_t len)
{
    wr_be24(w, (uint32_t)len);
    wr_u8(w, (uint8_t)type);
    wr_u8(w, (uint8_t)flags);
    wr_be32(w, stream);
    wr_bytes(w, payload, len);
}

#define put(w, type, flags, stream, literal) \
    put_frame((w), (type), (flags), (stream), (literal), sizeof(literal) - 1)

/* HPACK: a literal field with a literal name, not indexed, not Huffman. */
static void put_field(struct wr *w, const char *name, const char *value)
{
    size_t len = strlen(value);
    wr_u8(w, 0);
    wr_u8(w, (uint8_t)strlen(name));
    wr_text(w, name);
    if (len < 127) {
        wr_u8(w, (uint8_t)len);
    } else {
        wr_u8(w, 127);
        wr_varint(w, len - 127);
    }
    wr_text(w, value);
}

/* HEADERS from "name\0value\0...": pairs of arguments, NULL at the end. */
static void put_headers(struct wr *w, unsigned flags, uint32_t stream,
                        const char *const *pairs)
{
    uint8_t bytes[20000];
    struct wr block;
    wr_init_fixed(&block, bytes, sizeof(bytes));
    for (; *pairs; pairs += 2)
        put_field(&block, pairs[0], pairs[1]);
    check_i64(wr_err(&block), 0);
    put_frame(w, HEADERS, flags | END_HEADERS, stream, bytes, block.len);
}

#define headers(w, flags, stream, ...)  \
    put_headers((w), (flags), (stream), \
                (const char *const[]){__VA_ARGS__, NULL})

static void put_goaway(struct wr *w, uint32_t last, uint32_t code,
                       const char *text)
{
    uint8_t bytes[256];
    struct wr p;
    wr_init_fixed(&p, bytes, sizeof(bytes));
    wr_be32(&p, last);
    wr_be32(&p, code);
    wr_text(&p, text);
    put_frame(w, GOAWAY, 0, 0, bytes, p.len);
}

static void put_reset(struct wr *w, uint32_t stream, uint32_t code)
{
    uint8_t bytes[4];
    struct wr p;
    wr_init_fixed(&p, bytes, sizeof(bytes));
    wr_be32(&p, code);
    put_frame(w, RST_STREAM, 0, stream, bytes, 4);
}

/* Find the nth (from 0) frame of a type. Returns its payload or NULL. */
static const uint8_t *find_frame(const uint8_t *bytes, size_t len,
                                 unsigned type, unsigned nth, size_t *n,
                                 unsigned *flags)
{
    struct rd r;
    rd_init(&r, bytes, len);
    if (len >= 24 && memcmp(bytes, magic, 24) == 0)
        rd_bytes(&r, 24);
    while (rd_left(&r) > 0) {
        *n = rd_be24(&r);
        unsigned is = rd_u8(&r);
        *flags = rd_u8(&r);
        rd_be32(&r);
        const uint8_t *payload = rd_bytes(&r, *n);
        check_i64(rd_err(&r), 0); /* whole frames only */
        if (is == type && nth-- == 0)
            return payload;
    }
    return NULL;
}

/* The error code of the first frame of a type, or -1. */
static int64_t code_in(const uint8_t *bytes, size_t len, unsigned type)
{
    size_t n;
    unsigned flags;
    const uint8_t *p = find_frame(bytes, len, type, 0, &n, &flags);
    if (!p)
        return -1;
    p += type == GOAWAY ? 4 : 0;
    return (int64_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

/* ---- the client against a script ---- */

static const uint8_t question[] = {0, 0,   0,   0,   7,   10,
                                   5, 'p', 'r', 'o', 'b', 'e'};

static const struct h2_request grpc_request = {
    .method = "POST",
    .scheme = "https",
    .authority = "b-1.mesh.test:7443",
    .path = GRPC_HEALTH_CHECK,
    .is_grpc = true,
    .timeout_ns = 5000000000,
    .body = question,
    .body_len = sizeof(question),
};

static const struct h2_request get_request = {
    .method = "GET",
    .scheme = "http",
    .authority = "[::1]:7443",
    .path = "/probe?x=1",
};

static size_t drain_client(struct h2_client *c)
{
    size_t total = 0;
    size_t len;
    while (h2_client_out(c, &len))
        total += len;
    return total;
}

/* A client whose request is out and whose peer has sent its SETTINGS. */
static struct h2_client *ask(const struct h2_request *r)
{
    struct h2_client *c = h2_client_open();
    check_true(c != NULL);
    check_i64(h2_client_request(c, r), 0);
    check_true(drain_client(c) > 0);
    static const uint8_t settings[] = {0, 0, 0, SETTINGS, 0, 0, 0, 0, 0};
    check_i64(h2_client_feed(c, settings, sizeof(settings)), 0);
    check_false(h2_client_response_began(c));
    return c;
}

static uint8_t script_bytes[1 << 20];

static struct wr script(void)
{
    struct wr w;
    wr_init_fixed(&w, script_bytes, sizeof(script_bytes));
    return w;
}

static int play(struct h2_client *c, const struct wr *w)
{
    check_i64(wr_err(w), 0);
    return h2_client_feed(c, w->data, w->len);
}

/* Play a script to a fresh request; the result must be `want` and be known
 * right after the feed, without waiting for the output to be taken. */
static struct h2_client *play_for(const struct wr *w, enum h2_result want)
{
    struct h2_client *c = ask(&grpc_request);
    play(c, w);
    const struct h2_response *r = h2_client_response(c);
    if (r->result != want)
        print_error("error is \"%s\"\n", r->error);
    check_u64(r->result, want);
    check_u64(r->error[0] != 0, want != H2_OK && want != H2_PENDING);
    return c;
}

static void everything_leaves_in_one_piece(void **state)
{
    (void)state;
    struct h2_client *c = h2_client_open();
    check_i64(h2_client_request(c, &grpc_request), 0);

    size_t len;
    const uint8_t *p = h2_client_out(c, &len);
    check_true(len > 24 && memcmp(p, magic, 24) == 0);
    size_t n;
    unsigned flags;
    const uint8_t *settings = find_frame(p, len, SETTINGS, 0, &n, &flags);
    check_true(settings != NULL);
    check_true(memcmp(settings, "\0\x02\0\0\0\0", 6) == 0); /* no push */
    check_true(find_frame(p, len, HEADERS, 0, &n, &flags) != NULL);
    check_u64(flags, END_HEADERS);
    const uint8_t *data = find_frame(p, len, DATA, 0, &n, &flags);
    check_u64(n, sizeof(question));
    check_true(memcmp(data, question, n) == 0);
    check_u64(flags, END_STREAM);
    check_true(len < 400);

    check_true(h2_client_out(c, &len) == NULL);
    check_u64(len, 0);
    h2_client_close(c);
}

static void output_that_was_not_taken_stays_in_order(void **state)
{
    (void)state;
    struct h2_client *c = h2_client_open();
    check_i64(h2_client_request(c, &get_request), 0);
    h2_client_cancel(c);
    check_i64(h2_client_request(c, &get_request), 0);
    size_t len, n;
    unsigned flags;
    const uint8_t *p = h2_client_out(c, &len);
    check_true(memcmp(p, magic, 24) == 0);
    check_true(find_frame(p, len, HEADERS, 1, &n, &flags) != NULL);
    check_i64(code_in(p, len, RST_STREAM), CANCEL);
    h2_client_close(c);
}

static void a_plain_answer_is_understood(void **state)
{
    (void)state;
    struct wr w = script();
    headers(&w, 0, 1, ":status", "200", "content-type", "text/plain",
            "server-timing", "app;dur=0.05");
    put(&w, DATA, END_STREAM, 1, "hello");
    struct h2_client *c = ask(&get_request);
    check_i64(play(c, &w), 0);
    const struct h2_response *r = h2_client_response(c);
    check_u64(r->result, H2_OK);
    check_u64(r->status, 200);
    check_true(r->has_headers);
    check_false(r->has_trailers);
    check_false(r->is_trailers_only);
    check_text(r->content_type, "text/plain");
    check_text(r->server_timing, "app;dur=0.05");
    check_text(r->grpc_status, "");
    check_u64(r->body_len, 5);
    check_u64(r->body_bytes, 5);
    check_true(memcmp(r->body, "hello", 5) == 0);
    check_true(h2_client_is_usable(c));
    h2_client_close(c);
}

static void trailers_are_told_from_headers(void **state)
{
    (void)state;
    struct wr w = script();
    headers(&w, 0, 1, ":status", "200", "server-timing", "early");
    put(&w, DATA, 0, 1, "\0\0\0\0\x02\x08\x01");
    headers(&w, END_STREAM, 1, "grpc-status", "0", "grpc-message", "a%20b",
            "server-timing", "late");
    struct h2_client *c = play_for(&w, H2_OK);
    const struct h2_response *r = h2_client_response(c);
    check_true(r->has_trailers);
    check_false(r->is_trailers_only);
    check_text(r->grpc_status, "0");
    check_text(r->grpc_message, "a%20b");
    check_text(r->server_timing, "late");
    h2_client_close(c);

    w = script();
    headers(&w, END_STREAM, 1, ":status", "200", "grpc-status", "12");
    c = play_for(&w, H2_OK);
    r = h2_client_response(c);
    check_false(r->has_trailers);
    check_true(r->is_trailers_only);
    check_text(r->grpc_status, "12");
    h2_client_close(c);
}

static void informational_answers_begin_but_do_not_end(void **state)
{
    (void)state;
    struct wr w = script();
    headers(&w, 0, 1, ":status", "103", "server-timing", "hint");
    struct h2_client *c = play_for(&w, H2_PENDING);
    check_true(h2_client_response_began(c));
    check_false(h2_client_response(c)->has_headers);
    check_u64(h2_client_response(c)->status, 0);

    w = script();
    headers(&w, END_STREAM, 1, ":status", "204");
    check_i64(play(c, &w), 0);
    check_false(h2_client_response_began(c));
    check_u64(h2_client_response(c)->result, H2_OK);
    check_u64(h2_client_response(c)->status, 204);
    check_true(h2_client_response(c)->is_trailers_only);
    check_text(h2_client_response(c)->server_timing, "");
    h2_client_close(c);
}

static void eight_informational_answers_are_enough(void **state)
{
    (void)state;
    struct wr w = script();
    for (int i = 0; i < 8; i++)
        headers(&w, 0, 1, ":status", "100");
    struct h2_client *c = play_for(&w, H2_PENDING);
    w = script();
    headers(&w, 0, 1, ":status", "100");
    check_i64(play(c, &w), ERR_BAD);
    check_u64(h2_client_response(c)->result, H2_PROTOCOL);
    h2_client_close(c);
}

/* True for exactly the feed with the last byte of the frame head. */
static void the_first_byte_is_seen_once(void **state)
{
    (void)state;
    struct wr w = script();
    put(&w, WINDOW_UPDATE, 0, 0, "\0\0\x10\0");
    put(&w, PING, 0, 0, "12345678");
    size_t head = w.len;
    /* Padded and with a priority, which nghttp2 reports six bytes late. */
    put(&w, HEADERS, END_HEADERS | PADDED | PRIO, 1, "\1\0\0\0\0\x10\x88\0");
    headers(&w, END_STREAM, 1, "grpc-status", "0");

    for (size_t cut = 1; cut < w.len; cut++) {
        struct h2_client *c = ask(&grpc_request);
        check_i64(h2_client_feed(c, w.data, cut), 0);
        check_u64(h2_client_response_began(c), cut >= head + 9);
        check_i64(h2_client_feed(c, w.data + cut, w.len - cut), 0);
        check_u64(h2_client_response_began(c), cut < head + 9);
        check_i64(h2_client_feed(c, NULL, 0), 0);
        check_false(h2_client_response_began(c));
        check_u64(h2_client_response(c)->result, H2_OK);
        h2_client_close(c);
    }
}

static void the_reserved_bit_of_a_stream_id_means_nothing(void **state)
{
    (void)state;
    struct wr w = script();
    headers(&w, END_STREAM, 0x80000001, ":status", "200");
    struct h2_client *c = play_for(&w, H2_OK);
    check_true(h2_client_response_began(c));
    h2_client_close(c);
}

/* Found by fuzzing: nghttp2 lets any three digits pass. */
static void a_status_below_100_is_none(void **state)
{
    (void)state;
    struct wr w = script();
    headers(&w, END_STREAM, 1, ":status", "051");
    struct h2_client *c = play_for(&w, H2_PROTOCOL);
    check_u64(h2_client_response(c)->status, 0);
    check_text(h2_client_response(c)->error, "the status is 051");
    h2_client_close(c);
}

static void a_stranger_s_headers_are_not_our_answer(void **state)
{
    (void)state;
    struct h2_client *c = ask(&get_request);
    h2_client_cancel(c);
    check_u64(h2_client_response(c)->result, H2_RESET);
    check_u64(h2_client_response(c)->error_code, CANCEL);
    check_i64(h2_client_request(c, &get_request), 0); /* stream 3 */

    struct wr w = script();
    headers(&w, 0, 1, ":status", "200", "server-timing", "old");
    put(&w, DATA, END_STREAM, 1, "old");
    check_i64(play(c, &w), 0);
    check_false(h2_client_response_began(c));
    check_u64(h2_client_response(c)->result, H2_PENDING);
    check_u64(h2_client_response(c)->body_bytes, 0);

    w = script();
    headers(&w, END_STREAM, 3, ":status", "200");
    check_i64(play(c, &w), 0);
    check_true(h2_client_response_began(c));
    check_u64(h2_client_response(c)->result, H2_OK);
    check_text(h2_client_response(c)->server_timing, "");
    h2_client_close(c);
}

static void one_request_at_a_time(void **state)
{
    (void)state;
    struct h2_client *c = ask(&get_request);
    check_i64(h2_client_request(c, &get_request), ERR_BUSY);
    struct wr w = script();
    headers(&w, END_STREAM, 1, ":status", "200");
    check_i64(play(c, &w), 0);
    check_i64(h2_client_request(c, &get_request), 0);
    check_u64(h2_client_response(c)->status, 0);
    h2_client_close(c);
}

static void a_request_that_http_forbids_is_refused(void **state)
{
    (void)state;
    struct h2_client *c = h2_client_open();
    struct h2_request r = get_request;
    r.path = "/a b";
    check_i64(h2_client_request(c, &r), ERR_BAD);
    r.path = "/a\r\nx: y";
    check_i64(h2_client_request(c, &r), ERR_BAD);
    r.path = "";
    check_i64(h2_client_request(c, &r), ERR_BAD);
    r = get_request;
    r.authority = "a\nb";
    check_i64(h2_client_request(c, &r), ERR_BAD);
    r = grpc_request;
    r.body_len = H2_REQUEST_BODY_MAX + 1;
    check_i64(h2_client_request(c, &r), ERR_BAD);
    check_true(h2_client_is_usable(c));
    h2_client_close(c);
}

static void goaway_that_covers_us_lets_us_finish(void **state)
{
    (void)state;
    struct wr w = script();
    put_goaway(&w, 0x7fffffff, NO_ERROR, "");
    put_goaway(&w, 1, NO_ERROR, "bye");
    struct h2_client *c = play_for(&w, H2_PENDING);
    check_false(h2_client_is_usable(c));
    w = script();
    headers(&w, END_STREAM, 1, ":status", "200");
    check_i64(play(c, &w), 0);
    check_u64(h2_client_response(c)->result, H2_OK);
    check_text(h2_client_response(c)->error, "");
    check_false(h2_client_is_usable(c));
    check_i64(h2_client_request(c, &get_request), ERR_CLOSED);
    h2_client_close(c);
}

static void goaway_below_us_ends_the_request(void **state)
{
    (void)state;
    struct wr w = script();
    put_goaway(&w, 0, ENHANCE_YOUR_CALM, "too_many\npings");
    struct h2_client *c = play_for(&w, H2_GOAWAY);
    check_u64(h2_client_response(c)->error_code, ENHANCE_YOUR_CALM);
    check_true(strstr(h2_client_response(c)->error, "too_many?pings") != NULL);
    check_false(h2_client_is_usable(c));
    h2_client_close(c);
}

static void goaway_after_the_answer_changes_only_the_future(void **state)
{
    (void)state;
    struct wr w = script();
    headers(&w, END_STREAM, 1, ":status", "200");
    put_goaway(&w, 0, NO_ERROR, "");
    struct h2_client *c = play_for(&w, H2_OK);
    check_text(h2_client_response(c)->error, "");
    check_false(h2_client_is_usable(c));
    h2_client_close(c);
}

static void resets_are_told_apart(void **state)
{
    (void)state;
    struct wr w = script();
    put_reset(&w, 1, REFUSED_STREAM);
    struct h2_client *c = play_for(&w, H2_REFUSED);
    check_true(h2_client_is_usable(c));
    h2_client_close(c);

    w = script();
    headers(&w, 0, 1, ":status", "200");
    put_reset(&w, 1, INTERNAL_ERROR);
    c = play_for(&w, H2_RESET);
    check_u64(h2_client_response(c)->error_code, INTERNAL_ERROR);
    check_u64(h2_client_response(c)->status, 200);
    check_true(h2_client_is_usable(c));
    h2_client_close(c);

    /* A reset behind a whole answer says "do not send the rest". */
    w = script();
    headers(&w, END_STREAM, 1, ":status", "413");
    put_reset(&w, 1, NO_ERROR);
    c = play_for(&w, H2_OK);
    check_text(h2_client_response(c)->error, "");
    h2_client_close(c);
}

static void a_peer_without_streams_refuses(void **state)
{
    (void)state;
    struct h2_client *c = h2_client_open();
    struct wr w = script();
    put(&w, SETTINGS, 0, 0, "\0\x03\0\0\0\0");
    check_i64(play(c, &w), 0);
    drain_client(c);
    check_false(h2_client_is_usable(c));
    check_i64(h2_client_request(c, &get_request), 0);
    check_u64(h2_client_response(c)->result, H2_REFUSED);
    check_u64(drain_client(c), 0);

    w = script();
    put(&w, SETTINGS, 0, 0, "\0\x03\0\0\0\x01");
    check_i64(play(c, &w), 0);
    check_true(h2_client_is_usable(c));
    check_i64(h2_client_request(c, &get_request), 0);
    check_u64(h2_client_response(c)->result, H2_PENDING);
    h2_client_close(c);
}

static void an_answer_may_come_before_the_question_is_sent(void **state)
{
    (void)state;
    struct h2_client *c = h2_client_open();
    struct wr w = script();
    put(&w, SETTINGS, 0, 0, "\0\x04\0\0\0\x04"); /* window: 4 bytes */
    check_i64(play(c, &w), 0);
    uint8_t body[sizeof(question)];
    memcpy(body, question, sizeof(body));
    struct h2_request r = grpc_request;
    r.body = body;
    check_i64(h2_client_request(c, &r), 0);
    memset(body, 0, sizeof(body)); /* it is ours again */
    size_t len, n;
    unsigned flags;
    const uint8_t *p = h2_client_out(c, &len);
    p = find_frame(p, len, DATA, 0, &n, &flags);
    check_u64(n, 4);
    check_u64(flags, 0);

    w = script();
    put(&w, WINDOW_UPDATE, 0, 1, "\0\0\0\x06");
    check_i64(play(c, &w), 0);
    p = h2_client_out(c, &len);
    p = find_frame(p, len, DATA, 0, &n, &flags);
    check_u64(n, 6);
    check_true(memcmp(p, question + 4, 6) == 0);

    w = script();
    headers(&w, END_STREAM, 1, ":status", "200", "grpc-status", "8");
    check_i64(play(c, &w), 0);
    check_u64(h2_client_response(c)->result, H2_OK);
    p = h2_client_out(c, &len);
    check_i64(code_in(p, len, RST_STREAM), CANCEL);
    check_true(h2_client_is_usable(c));
    check_i64(h2_client_request(c, &get_request), 0);
    h2_client_close(c);
}

/* Each script breaks the protocol; `session` says whether the session is
 * beyond repair, or only the stream. */
static void check_broken(struct wr *w, bool session)
{
    struct h2_client *c = play_for(w, H2_PROTOCOL);
    check_u64(h2_client_is_usable(c), !session);
    check_i64(h2_client_feed(c, "", 0), session ? ERR_BAD : 0);
    check_i64(h2_client_request(c, &get_request), session ? ERR_CLOSED : 0);
    h2_client_close(c);
}

static void what_breaks_the_stream_is_a_protocol_error(void **state)
{
    (void)state;
    struct wr w = script();
    headers(&w, 0, 1, ":status", "200");
    headers(&w, 0, 1, "grpc-status", "0"); /* trailers without an end */
    check_broken(&w, false);

    w = script();
    headers(&w, END_STREAM, 1, "grpc-status", "0"); /* no :status */
    check_broken(&w, false);

    w = script();
    headers(&w, END_STREAM, 1, ":status", "100"); /* not final, but the end */
    check_broken(&w, false);

    w = script();
    headers(&w, 0, 1, ":status", "200", ":status", "200");
    check_broken(&w, false);

    w = script();
    headers(&w, 0, 1, ":status", "20x");
    check_broken(&w, false);

    w = script();
    headers(&w, 0, 1, ":status", "200", "Content-Type", "x");
    check_broken(&w, false);

    w = script();
    headers(&w, 0, 1, ":status", "200", "content-length", "3");
    put(&w, DATA, END_STREAM, 1, "four");
    check_broken(&w, false);

    w = script();
    headers(&w, 0, 1, ":status", "200", "content-length", "5");
    put(&w, DATA, END_STREAM, 1, "four");
    check_broken(&w, false);
}

static void what_breaks_the_session_is_a_protocol_error(void **state)
{
    (void)state;
    struct wr w = script();
    put(&w, DATA, 0, 1, "early");
    check_broken(&w, true);

    w = script();
    put(&w, DATA, END_STREAM, 1, ""); /* the end, without HEADERS */
    check_broken(&w, true);

    w = script();
    headers(&w, 0, 2, ":status", "200"); /* a stream nobody opened */
    check_broken(&w, true);

    w = script();
    headers(&w, 0, 5, ":status", "200");
    check_broken(&w, true);

    w = script();
    put(&w, SETTINGS, ACK, 0, ""); /* it knows that we want none */
    put(&w, PUSH_PROMISE, END_HEADERS, 1, "\0\0\0\x02\x82");
    check_broken(&w, true);

    w = script();
    put(&w, HEADERS, END_HEADERS, 1, "\xff\xff\xff\xff\xff\xff"); /* HPACK */
    check_broken(&w, true);

    w = script();
    wr_bytes(&w, "\xff\xff\xff\0\0\0\0\0\x01", 9); /* DATA of 2^24 bytes */
    check_broken(&w, true);

    w = script();
    put(&w, PING, 0, 1, "12345678");
    check_broken(&w, true);

    w = script();
    put(&w, WINDOW_UPDATE, 0, 0, "\x7f\xff\xff\xff"); /* over 2^31 - 1 */
    check_broken(&w, true);

    w = script();
    put(&w, SETTINGS, 0, 0, "12345"); /* not six each */
    check_broken(&w, true);

    w = script();
    put_goaway(&w, 2, NO_ERROR, ""); /* no stream of ours */
    check_broken(&w, true);
}

static void another_protocol_is_named_as_such(void **state)
{
    (void)state;
    struct h2_client *c = h2_client_open();
    check_i64(h2_client_request(c, &get_request), 0);
    static const char http1[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    check_i64(h2_client_feed(c, http1, sizeof(http1) - 1), ERR_BAD);
    check_u64(h2_client_response(c)->result, H2_PROTOCOL);
    check_true(strstr(h2_client_response(c)->error, "HTTP/2") != NULL);
    h2_client_close(c);
}

static void the_body_limit_is_exact_and_costs_the_stream(void **state)
{
    (void)state;
    static uint8_t chunk[8192];
    struct wr w = script();
    headers(&w, 0, 1, ":status", "200");
    for (int i = 0; i < H2_BODY_MAX / 8192; i++)
        put_frame(&w, DATA, 0, 1, chunk, sizeof(chunk));
    struct h2_client *c = ask(&grpc_request);
    /* In two feeds, so that the window is opened in between. */
    check_i64(h2_client_feed(c, w.data, w.len / 2), 0);
    drain_client(c);
    check_i64(h2_client_feed(c, w.data + w.len / 2, w.len - w.len / 2), 0);
    check_u64(h2_client_response(c)->result, H2_PENDING);
    check_u64(h2_client_response(c)->body_bytes, H2_BODY_MAX);
    check_u64(h2_client_response(c)->body_len, 64);
    drain_client(c);
    w = script();
    put(&w, DATA, END_STREAM, 1, "x");
    check_i64(play(c, &w), 0);
    check_u64(h2_client_response(c)->result, H2_PROTOCOL);
    size_t len;
    const uint8_t *p = h2_client_out(c, &len);
    check_i64(p ? code_in(p, len, RST_STREAM) : CANCEL, CANCEL);
    check_true(h2_client_is_usable(c));
    h2_client_close(c);
}

static void the_header_list_is_bounded(void **state)
{
    (void)state;
    char value[4001];
    memset(value, 'v', 4000);
    value[4000] = '\0';
    struct wr w = script();
    headers(&w, END_STREAM, 1, ":status", "200", "a", value, "b", value, "c",
            value, "content-type", value);
    struct h2_client *c = play_for(&w, H2_OK);
    check_u64(strlen(h2_client_response(c)->content_type),
              H2_FIELD_VALUE_MAX - 1);
    h2_client_close(c);

    w = script();
    headers(&w, END_STREAM, 1, ":status", "200", "a", value, "b", value, "c",
            value, "d", value, "e", "x", "f", value + 3800);
    check_broken(&w, true);
}

/* One entry of 4000 bytes in the table, then one byte each time. */
static void a_header_bomb_is_not_unpacked(void **state)
{
    (void)state;
    uint8_t bytes[16000];
    struct wr block;
    wr_init_fixed(&block, bytes, sizeof(bytes));
    wr_u8(&block, 0x88);
    wr_bytes(&block,
             "\x40\x01"
             "b\x7f\x81\x1e",
             6); /* 127 + 3841 = 3968 */
    memset(wr_space(&block, 3968), 'v', 3968);
    memset(wr_space(&block, 10000), 0xbe, 10000);
    check_i64(wr_err(&block), 0);
    struct wr w = script();
    put_frame(&w, HEADERS, END_HEADERS | END_STREAM, 1, bytes, block.len);
    check_broken(&w, true);
}

static void check_flood(unsigned type, unsigned flags, uint32_t stream,
                        const void *payload, size_t len)
{
    struct wr w = script();
    headers(&w, 0, 1, ":status", "200");
    for (int i = 0; i < 20000; i++)
        put_frame(&w, type, flags, stream, payload, len);
    struct h2_client *c = ask(&grpc_request);
    size_t sent = 0;
    int err = 0;
    for (size_t at = 0; at < w.len && !err; at += 4096) {
        size_t n = w.len - at < 4096 ? w.len - at : 4096;
        err = h2_client_feed(c, w.data + at, n);
        sent += drain_client(c);
    }
    check_i64(err, ERR_BAD);
    check_u64(h2_client_response(c)->result,
              type == RST_STREAM ? H2_RESET : H2_PROTOCOL);
    check_false(h2_client_is_usable(c));
    check_true(sent < 65536);
    h2_client_close(c);
}

static void a_server_that_floods_is_left(void **state)
{
    (void)state;
    check_flood(PING, 0, 0, "12345678", 8);
    check_flood(SETTINGS, 0, 0, "", 0);
    check_flood(DATA, 0, 1, "", 0);
    check_flood(DATA, PADDED, 1, "\0", 1);
    check_flood(PRIORITY, 0, 1, "\0\0\0\0\1", 5);
    check_flood(UNKNOWN_TYPE, 0, 0, "", 0);
    check_flood(RST_STREAM, 0, 1, "\0\0\0\0", 4);
    check_flood(GOAWAY, 0, 0, "\0\0\0\x01\0\0\0\0", 8);
}

/* ---- the server against a script ---- */

static struct h2_server *serve(const struct h2_limits *limits)
{
    struct h2_server *s = h2_server_open(limits ? limits : &h2_limits_default);
    check_true(s != NULL);
    check_i64(h2_server_feed(s, magic, 24), 0);
    static const uint8_t settings[] = {0, 0, 0, SETTINGS, 0, 0, 0, 0, 0};
    check_i64(h2_server_feed(s, settings, sizeof(settings)), 0);
    return s;
}

static size_t drain_server(struct h2_server *s)
{
    size_t total = 0;
    size_t len;
    while (h2_server_out(s, &len))
        total += len;
    return total;
}

static int play_server(struct h2_server *s, const struct wr *w)
{
    check_i64(wr_err(w), 0);
    return h2_server_feed(s, w->data, w->len);
}

static void put_get(struct wr *w, uint32_t stream)
{
    headers(w, END_STREAM, stream, ":method", "GET", ":scheme", "https",
            ":authority", "b", ":path", "/probe");
}

static const struct h2_answer ok_answer = {
    .status = 200, .body = (const uint8_t *)"ok\n", .body_len = 3, .end = true};

static void a_request_is_shown_once_and_whole(void **state)
{
    (void)state;
    struct h2_server *s = serve(NULL);
    check_true(h2_server_next(s) == NULL);
    struct wr w = script();
    headers(&w, 0, 1, ":method", "POST", ":scheme", "http", ":path",
            GRPC_HEALTH_CHECK, "host", "b:7443", "content-type",
            "application/grpc", "te", "trailers", "grpc-timeout", "5S",
            "grpc-encoding", "gzip");
    put(&w, DATA, 0, 1, "\0\0\0\0\0");
    check_i64(play_server(s, &w), 0);
    check_true(h2_server_next(s) == NULL); /* not complete */
    w = script();
    put(&w, DATA, END_STREAM, 1, "x");
    check_i64(play_server(s, &w), 0);

    const struct h2_server_request *r = h2_server_next(s);
    check_true(r != NULL);
    check_i64(r->stream_id, 1);
    check_text(r->method, "POST");
    check_text(r->path, GRPC_HEALTH_CHECK);
    check_text(r->authority, "b:7443");
    check_text(r->content_type, "application/grpc");
    check_text(r->te, "trailers");
    check_text(r->grpc_timeout, "5S");
    check_text(r->grpc_encoding, "gzip");
    check_u64(r->body_len, 6);
    check_true(memcmp(r->body, "\0\0\0\0\0x", 6) == 0);
    check_true(h2_server_next(s) == NULL);
    check_true(h2_server_is_open(s, 1));
    h2_server_close(s);
}

static void requests_come_oldest_first(void **state)
{
    (void)state;
    struct h2_server *s = serve(NULL);
    struct wr w = script();
    for (uint32_t id = 1; id <= 9; id += 2)
        put_get(&w, id);
    put_reset(&w, 1, CANCEL); /* the first, one in the middle, the last */
    put_reset(&w, 5, CANCEL);
    put_reset(&w, 9, CANCEL);
    put_get(&w, 11);
    check_i64(play_server(s, &w), 0);
    check_i64(h2_server_next(s)->stream_id, 3);
    check_i64(h2_server_next(s)->stream_id, 7);
    check_i64(h2_server_next(s)->stream_id, 11);
    check_true(h2_server_next(s) == NULL);
    check_false(h2_server_is_open(s, 5));
    check_i64(h2_server_respond(s, 5, &ok_answer), ERR_CLOSED);
    check_i64(h2_server_respond(s, 6, &ok_answer), ERR_CLOSED);
    check_i64(h2_server_respond(s, 3, &ok_answer), 0);
    check_i64(h2_server_respond(s, 3, &ok_answer), ERR_CLOSED);
    check_false(h2_server_is_open(s, 3));
    h2_server_close(s);
}

static void an_answer_leaves_in_one_piece(void **state)
{
    (void)state;
    struct h2_server *s = serve(NULL);
    drain_server(s);
    struct wr w = script();
    put_get(&w, 1);
    check_i64(play_server(s, &w), 0);
    check_true(h2_server_next(s) != NULL);
    const struct h2_field trailer = {"grpc-status", "0"};
    struct h2_answer a = ok_answer;
    a.trailers = &trailer;
    a.n_trailers = 1;
    check_i64(h2_server_respond(s, 1, &a), 0);

    size_t len, n;
    unsigned flags;
    const uint8_t *p = h2_server_out(s, &len);
    check_true(find_frame(p, len, HEADERS, 0, &n, &flags) != NULL);
    check_u64(flags, END_HEADERS);
    check_true(memcmp(find_frame(p, len, DATA, 0, &n, &flags), "ok\n", 3) == 0);
    check_u64(flags, 0);
    check_true(find_frame(p, len, HEADERS, 1, &n, &flags) != NULL);
    check_u64(flags, END_HEADERS | END_STREAM);
    check_true(h2_server_out(s, &len) == NULL);
    h2_server_close(s);
}

static void check_answer_frames(const struct h2_answer *a, unsigned n_headers,
                                unsigned n_data)
{
    struct h2_server *s = serve(NULL);
    drain_server(s);
    struct wr w = script();
    put_get(&w, 1);
    check_i64(play_server(s, &w), 0);
    check_i64(h2_server_respond(s, 1, a), 0);
    size_t len, n;
    unsigned flags;
    const uint8_t *p = h2_server_out(s, &len);
    for (unsigned i = 0; i < 3; i++) {
        check_u64(find_frame(p, len, HEADERS, i, &n, &flags) != NULL,
                  i < n_headers);
        check_u64(find_frame(p, len, DATA, i, &n, &flags) != NULL, i < n_data);
    }
    check_false(h2_server_is_open(s, 1));
    h2_server_close(s);
}

static void an_answer_has_as_few_frames_as_it_needs(void **state)
{
    (void)state;
    const struct h2_field trailer = {"grpc-status", "12"};
    struct h2_answer a = {.status = 204, .end = true};
    check_answer_frames(&a, 1, 0);
    a.trailers = &trailer;
    a.n_trailers = 1;
    check_answer_frames(&a, 2, 0);
    a.is_trailers_only = true;
    check_answer_frames(&a, 1, 0);
    check_answer_frames(&ok_answer, 1, 1);
}

static void answers_that_http_forbids_are_refused(void **state)
{
    (void)state;
    struct h2_server *s = serve(NULL);
    struct wr w = script();
    put_get(&w, 1);
    check_i64(play_server(s, &w), 0);
    static const struct h2_field bad[] = {{"Upper", "x"}, {"a", "x\ny"}};
    for (size_t i = 0; i < 2; i++) {
        struct h2_answer a = {.status = 200, .end = true};
        a.fields = &bad[i];
        a.n_fields = 1;
        check_i64(h2_server_respond(s, 1, &a), ERR_BAD);
        a.trailers = &bad[i];
        a.n_fields = 0;
        a.n_trailers = 1;
        check_i64(h2_server_respond(s, 1, &a), ERR_BAD);
    }
    static uint8_t body[H2_ANSWER_BODY_MAX + 1];
    struct h2_answer a = {
        .status = 200, .body = body, .body_len = sizeof(body), .end = true};
    check_i64(h2_server_respond(s, 1, &a), ERR_TOOBIG);
    a.body_len--;
    check_i64(h2_server_respond(s, 1, &a), 0);
    h2_server_close(s);
}

/* What the peer is told is as many bytes as it allows; the rest waits. */
static void a_closed_window_holds_back_a_bounded_amount(void **state)
{
    (void)state;
    struct h2_server *s = serve(NULL);
    struct wr w = script();
    put(&w, SETTINGS, 0, 0, "\0\x04\0\0\0\0");
    put_get(&w, 1);
    check_i64(play_server(s, &w), 0);
    drain_server(s);
    static uint8_t body[H2_ANSWER_BODY_MAX];
    struct h2_answer a = {
        .status = 200, .body = body, .body_len = sizeof(body)};
    check_i64(h2_server_respond(s, 1, &a), 0);
    check_i64(h2_server_more(s, 1, &a), 0);
    check_true(drain_server(s) < 100);
    a.body_len = 1;
    check_i64(h2_server_more(s, 1, &a), ERR_TOOBIG);
    check_true(h2_server_is_open(s, 1));

    w = script();
    put(&w, WINDOW_UPDATE, 0, 1, "\0\0\xff\xff");
    check_i64(play_server(s, &w), 0);
    check_true(drain_server(s) > 2 * sizeof(body));
    a.end = true;
    check_i64(h2_server_more(s, 1, &a), 0);
    check_i64(h2_server_more(s, 1, &a), ERR_CLOSED);
    check_u64(drain_server(s), 9 + 1);
    h2_server_close(s);
}

static void a_reset_ends_a_watch(void **state)
{
    (void)state;
    struct h2_server *s = serve(NULL);
    struct wr w = script();
    put_get(&w, 1);
    check_i64(play_server(s, &w), 0);
    struct h2_answer a = ok_answer;
    a.end = false;
    check_i64(h2_server_respond(s, 1, &a), 0);
    check_true(h2_server_is_open(s, 1));
    drain_server(s);
    w = script();
    put_reset(&w, 1, CANCEL);
    check_i64(play_server(s, &w), 0);
    check_false(h2_server_is_open(s, 1));
    check_i64(h2_server_more(s, 1, &a), ERR_CLOSED);
    h2_server_close(s);
}

/* The status our client sees for what the server answers from inside. */
static unsigned refused_with(struct wr *w, bool resets)
{
    struct h2_server *s = serve(NULL);
    drain_server(s);
    check_i64(play_server(s, w), 0);
    check_true(h2_server_next(s) == NULL);
    size_t len;
    const uint8_t *p = h2_server_out(s, &len);
    check_i64(code_in(p, len, RST_STREAM), resets ? NO_ERROR : -1);
    struct h2_client *c = ask(&get_request);
    check_i64(h2_client_feed(c, p, len), 0);
    unsigned status = h2_client_response(c)->status;
    check_u64(h2_client_response(c)->result, H2_OK);
    if (status == 200)
        status = (unsigned)h2_client_response(c)->grpc_status[0];
    h2_client_close(c);
    h2_server_close(s);
    return status;
}

static void too_much_is_answered_and_not_shown(void **state)
{
    (void)state;
    char path[129] = "/";
    memset(path + 1, 'p', 127);
    struct wr w = script();
    headers(&w, END_STREAM, 1, ":method", "GET", ":scheme", "http",
            ":authority", "b", ":path", path);
    check_u64(refused_with(&w, false), 414);

    static uint8_t body[4097];
    w = script();
    headers(&w, 0, 1, ":method", "POST", ":scheme", "http", ":authority", "b",
            ":path", "/");
    put_frame(&w, DATA, 0, 1, body, sizeof(body));
    check_u64(refused_with(&w, true), 413);

    w = script();
    headers(&w, 0, 1, ":method", "POST", ":scheme", "http", ":authority", "b",
            ":path", "/", "content-type", "application/grpc+proto");
    put_frame(&w, DATA, END_STREAM, 1, body, sizeof(body));
    check_u64(refused_with(&w, false), '8');

    char value[4001];
    memset(value, 'v', 4000);
    value[4000] = '\0';
    w = script();
    headers(&w, 0, 1, ":method", "GET", ":scheme", "http", ":authority", "b",
            ":path", "/", "a", value, "b", value, "c", value, "d", value, "e",
            value + 3700);
    check_u64(refused_with(&w, true), 431);
}

static void the_limits_themselves_are_allowed(void **state)
{
    (void)state;
    char path[128] = "/";
    memset(path + 1, 'p', 126);
    static uint8_t body[4096];
    struct h2_server *s = serve(NULL);
    struct wr w = script();
    headers(&w, 0, 1, ":method", "POST", ":scheme", "http", ":authority", "b",
            ":path", path);
    put_frame(&w, DATA, END_STREAM, 1, body, sizeof(body));
    check_i64(play_server(s, &w), 0);
    const struct h2_server_request *r = h2_server_next(s);
    check_true(r != NULL);
    check_text(r->path, path);
    check_u64(r->body_len, 4096);
    h2_server_close(s);
}

static void streams_beyond_the_limit_are_refused(void **state)
{
    (void)state;
    struct h2_limits limits = h2_limits_default;
    limits.streams_max = 2;
    struct h2_server *s = serve(&limits);
    drain_server(s);
    struct wr w = script();
    put_get(&w, 1);
    put_get(&w, 3);
    put_get(&w, 5);
    check_i64(play_server(s, &w), 0);
    size_t len;
    const uint8_t *p = h2_server_out(s, &len);
    check_i64(code_in(p, len, RST_STREAM), REFUSED_STREAM);
    check_i64(h2_server_next(s)->stream_id, 1);
    check_i64(h2_server_next(s)->stream_id, 3);
    check_true(h2_server_next(s) == NULL);
    h2_server_close(s);
}

/* Feed a script in pieces, the output being taken (or not) in between.
 * Returns the error; *fed says how far it came, *sent what was answered. */
static int run_attack(const struct wr *w, bool reads, size_t *fed, size_t *sent)
{
    struct h2_server *s = serve(NULL);
    drain_server(s);
    int err = 0;
    *sent = 0;
    for (*fed = 0; *fed < w->len && !err;) {
        size_t n = w->len - *fed < 1024 ? w->len - *fed : 1024;
        err = h2_server_feed(s, w->data + *fed, n);
        *fed += n;
        if (reads)
            *sent += drain_server(s);
    }
    check_true(h2_server_next(s) == NULL || !err);
    size_t len;
    if (err && !reads) {
        const uint8_t *p = h2_server_out(s, &len);
        check_i64(code_in(p, len, GOAWAY),
                  err == ERR_TOOBIG ? ENHANCE_YOUR_CALM : PROTOCOL_ERROR);
        *sent = len;
        check_false(h2_server_is_done(s) && len == 0);
        *sent += drain_server(s);
    }
    check_u64(h2_server_is_done(s), err != 0);
    check_u64(h2_server_feed(s, "", 0) != 0, err != 0);
    h2_server_close(s);
    return err;
}

static void check_attack_gives(int want, unsigned type, unsigned flags,
                               uint32_t stream, const void *payload, size_t len)
{
    struct wr w = script();
    headers(&w, 0, 1, ":method", "POST", ":scheme", "http", ":authority", "b",
            ":path", "/");
    size_t start = w.len;
    for (int i = 0; i < 10000; i++)
        put_frame(&w, type, flags, stream, payload, len);
    for (int reads = 0; reads < 2; reads++) {
        size_t fed, sent;
        check_i64(run_attack(&w, reads, &fed, &sent), want);
        check_true(fed <= start + 101 * (len + 9) + 1024);
        check_true(sent < 8192);
    }
}

static void check_attack(unsigned type, unsigned flags, uint32_t stream,
                         const void *payload, size_t len)
{
    check_attack_gives(ERR_TOOBIG, type, flags, stream, payload, len);
}

/* A50 of the threat model, one vector each. */
static void cheap_frames_close_the_connection(void **state)
{
    (void)state;
    check_attack(PING, 0, 0, "12345678", 8);
    check_attack(PING, ACK, 0, "12345678", 8);
    check_attack(SETTINGS, 0, 0, "", 0);
    check_attack_gives(ERR_BAD, SETTINGS, ACK, 0, "", 0);
    check_attack(PRIORITY, 0, 7, "\0\0\0\0\1", 5);
    check_attack(DATA, 0, 1, "", 0);
    check_attack(DATA, PADDED, 1, "\0", 1);
    check_attack(UNKNOWN_TYPE, 0, 0, "", 0);
}

/* A49: open and reset, again and again. */
static void rapid_reset_closes_the_connection(void **state)
{
    (void)state;
    struct wr w = script();
    for (uint32_t id = 1; id < 8001; id += 2) {
        put_get(&w, id);
        put_reset(&w, id, CANCEL);
    }
    for (int reads = 0; reads < 2; reads++) {
        size_t fed, sent;
        check_i64(run_attack(&w, reads, &fed, &sent), ERR_TOOBIG);
        check_true(fed <= 101 * (w.len / 4000) + 1024);
    }
}

/* The same, with our hands: requests that make the server reset them. */
static void provoked_resets_close_the_connection(void **state)
{
    (void)state;
    struct wr w = script();
    for (uint32_t id = 1; id < 8001; id += 2)
        headers(&w, END_STREAM, id, ":method", "GET"); /* no path */
    for (int reads = 0; reads < 2; reads++) {
        size_t fed, sent;
        check_i64(run_attack(&w, reads, &fed, &sent), ERR_TOOBIG);
        check_true(fed < 16384);
    }
}

/* They are decompressed, but nghttp2 reports them to nobody. */
static void headers_for_lost_streams_close_the_connection(void **state)
{
    (void)state;
    struct wr w = script();
    put_get(&w, 1);
    put_reset(&w, 1, CANCEL);
    for (int i = 0; i < 1000; i++)
        put(&w, HEADERS, END_HEADERS | END_STREAM, 1, "\x88");
    size_t fed, sent;
    check_i64(run_attack(&w, true, &fed, &sent), ERR_TOOBIG);
}

static void continuation_floods_close_the_connection(void **state)
{
    (void)state;
    struct wr w = script();
    put(&w, HEADERS, 0, 1, "\x82");
    for (int i = 0; i < 10000; i++)
        put(&w, CONTINUATION, 0, 1, "");
    size_t fed, sent;
    check_true(run_attack(&w, true, &fed, &sent) != 0);
    check_true(fed <= 2048);
}

/* A51: one byte that stands for 4000, ten thousand times. */
static void a_header_bomb_closes_the_connection(void **state)
{
    (void)state;
    uint8_t bytes[16000];
    struct wr block;
    wr_init_fixed(&block, bytes, sizeof(bytes));
    wr_bytes(&block,
             "\x82\x84\x86\x40\x01"
             "b\x7f\x81\x1e",
             9);
    memset(wr_space(&block, 3968), 'v', 3968);
    memset(wr_space(&block, 10000), 0xbe, 10000);
    struct wr w = script();
    put_frame(&w, HEADERS, END_HEADERS | END_STREAM, 1, bytes, block.len);
    size_t fed, sent;
    check_i64(run_attack(&w, false, &fed, &sent), ERR_TOOBIG);
}

static void the_glitch_limit_is_exact(void **state)
{
    (void)state;
    struct h2_server *s = serve(NULL); /* its SETTINGS were the first */
    drain_server(s);
    struct wr w = script();
    put(&w, SETTINGS, ACK, 0, ""); /* the one that we wait for is free */
    for (int i = 0; i < 99; i++)
        put(&w, PING, 0, 0, "12345678");
    check_i64(play_server(s, &w), 0);
    w = script();
    put(&w, PING, 0, 0, "12345678");
    check_i64(play_server(s, &w), ERR_TOOBIG);
    h2_server_close(s);
}

/* The output is stuck, so resets wait in nghttp2 and are not counted yet. */
static void what_waits_behind_stuck_output_is_bounded(void **state)
{
    (void)state;
    static uint8_t body[H2_ANSWER_BODY_MAX];
    struct h2_server *s = serve(NULL);
    struct wr w = script();
    for (uint32_t id = 1; id < 9; id += 2)
        put_get(&w, id);
    check_i64(play_server(s, &w), 0);
    struct h2_answer a = {
        .status = 200, .body = body, .body_len = sizeof(body), .end = true};
    for (int32_t id = 1; id < 9; id += 2)
        check_i64(h2_server_respond(s, id, &a), 0);

    w = script();
    for (uint32_t id = 9; id < 4009; id += 2)
        headers(&w, END_STREAM, id, ":method", "GET"); /* no path */
    int err = 0;
    size_t at = 0;
    for (; at < w.len && !err; at += 100)
        err =
            h2_server_feed(s, w.data + at, w.len - at < 100 ? w.len - at : 100);
    check_i64(err, ERR_TOOBIG);
    check_true(at < w.len / 3);
    check_true(drain_server(s) < 4 * sizeof(body) + 16384);
    check_true(h2_server_is_done(s));
    h2_server_close(s);
}

static void of_two_headers_the_first_counts(void **state)
{
    (void)state;
    struct h2_server *s = serve(NULL);
    struct wr w = script();
    headers(&w, END_STREAM, 1, ":method", "GET", ":scheme", "http",
            ":authority", "first", ":path", "/", "host", "second",
            "grpc-timeout", "1S", "grpc-timeout", "2S");
    check_i64(play_server(s, &w), 0);
    const struct h2_server_request *r = h2_server_next(s);
    check_true(r != NULL);
    check_text(r->authority, "first");
    check_text(r->grpc_timeout, "1S");
    h2_server_close(s);
}

static void work_done_forgives_glitches(void **state)
{
    (void)state;
    struct h2_server *s = serve(NULL);
    for (uint32_t id = 1; id < 4001; id += 2) {
        struct wr w = script();
        for (int i = 0; i < 4; i++)
            put(&w, PING, 0, 0, "12345678");
        put(&w, WINDOW_UPDATE, 0, 0, "\0\0\0\x01");
        put_get(&w, id);
        check_i64(play_server(s, &w), 0);
        check_i64(h2_server_next(s)->stream_id, id);
        check_i64(h2_server_respond(s, (int32_t)id, &ok_answer), 0);
        check_true(drain_server(s) > 0);
    }
    h2_server_close(s);
}

static void what_breaks_the_protocol_closes_the_connection(void **state)
{
    (void)state;
    struct h2_server *s = h2_server_open(&h2_limits_default);
    static const char http1[] = "GET / HTTP/1.1\r\nHost: b\r\n\r\n";
    check_i64(h2_server_feed(s, http1, sizeof(http1) - 1), ERR_BAD);
    size_t len;
    const uint8_t *p = h2_server_out(s, &len);
    check_i64(code_in(p, len, GOAWAY), PROTOCOL_ERROR);
    check_true(h2_server_out(s, &len) == NULL);
    check_true(h2_server_is_done(s));
    h2_server_close(s);

    size_t fed, sent;
    struct wr w = script();
    put(&w, DATA, 0, 1, "x"); /* a stream that is idle */
    check_i64(run_attack(&w, false, &fed, &sent), ERR_BAD);
    w = script();
    put_get(&w, 2); /* an even one */
    check_i64(run_attack(&w, false, &fed, &sent), ERR_BAD);
}

static void after_a_failure_nothing_is_shown_or_answered(void **state)
{
    (void)state;
    struct h2_server *s = serve(NULL);
    struct wr w = script();
    put_get(&w, 1);
    put_get(&w, 2);
    check_i64(play_server(s, &w), ERR_BAD);
    check_true(h2_server_next(s) == NULL);
    check_false(h2_server_is_open(s, 1));
    check_i64(h2_server_respond(s, 1, &ok_answer), ERR_CLOSED);
    check_false(h2_server_is_done(s)); /* the GOAWAY waits */
    drain_server(s);
    check_true(h2_server_is_done(s));
    h2_server_close(s);
}

static void shutdown_lets_open_streams_finish(void **state)
{
    (void)state;
    struct h2_server *s = serve(NULL);
    struct wr w = script();
    put_get(&w, 1);
    check_i64(play_server(s, &w), 0);
    drain_server(s);
    h2_server_shutdown(s);
    h2_server_shutdown(s);
    size_t len;
    const uint8_t *p = h2_server_out(s, &len);
    check_i64(code_in(p, len, GOAWAY), NO_ERROR);
    check_u64(len, 9 + 8);
    check_false(h2_server_is_done(s));
    w = script();
    put_get(&w, 3); /* crossed with the GOAWAY */
    check_i64(play_server(s, &w), 0);
    check_i64(h2_server_next(s)->stream_id, 1);
    check_true(h2_server_next(s) == NULL);
    check_i64(h2_server_respond(s, 1, &ok_answer), 0);
    check_false(h2_server_is_done(s));
    check_true(drain_server(s) > 0);
    check_true(h2_server_is_done(s));
    h2_server_close(s);
}

/* ---- streamed requests, credentials ---- */

static bool is_streamed(const char *path)
{
    return strcmp(path, "/streamed") == 0;
}

static const struct h2_limits streaming = {
    .streams_max = 64,
    .header_list_max = 16384,
    .glitches_max = 100,
    .body_max = 64,
    .authorization_max = 16,
    .is_streamed = is_streamed,
};

static void put_post(struct wr *w, uint32_t stream, const char *path)
{
    headers(w, 0, stream, ":method", "POST", ":scheme", "http", ":authority",
            "b", ":path", path);
}

static size_t body_of(struct h2_server *s, int32_t id, bool *is_end)
{
    size_t len;
    const uint8_t *body = h2_server_body(s, id, &len, is_end);
    check_true((body != NULL) == (len > 0));
    return len;
}

static void a_streamed_request_is_shown_with_its_header(void **state)
{
    (void)state;
    struct h2_server *s = serve(&streaming);
    struct wr w = script();
    bool is_end;
    put_post(&w, 1, "/streamed");
    put_post(&w, 3, "/other");
    put(&w, DATA, 0, 1, "abc");
    check_i64(play_server(s, &w), 0);
    check_i64(h2_server_incomplete(s), 3);
    check_u64(h2_server_streams(s), 2);
    const struct h2_server_request *r = h2_server_next(s);
    check_true(r && r->stream_id == 1 && r->is_streamed);
    check_u64(r->body_len, 0);
    check_true(h2_server_next(s) == NULL);
    check_u64(body_of(s, 1, &is_end), 3);
    check_false(is_end);
    h2_server_consume(s, 1, 2);
    size_t len;
    check_true(*h2_server_body(s, 1, &len, &is_end) == 'c' && len == 1);

    struct h2_answer a = ok_answer;
    a.end = false;
    check_i64(h2_server_respond(s, 1, &a), 0);
    w = script();
    put(&w, DATA, END_STREAM, 1, "de");
    put(&w, DATA, END_STREAM, 3, "x");
    check_i64(play_server(s, &w), 0);
    check_u64(body_of(s, 1, &is_end), 3);
    check_true(is_end);
    check_i64(h2_server_incomplete(s), 0);
    r = h2_server_next(s);
    check_true(r && r->stream_id == 3 && !r->is_streamed && r->body_len == 1);
    check_u64(body_of(s, 3, &is_end), 0);
    check_true(is_end);
    check_u64(body_of(s, 5, &is_end), 0);
    check_true(h2_server_next(s) == NULL);
    h2_server_close(s);
}

static void a_streamed_request_without_a_body_is_shown_once(void **state)
{
    (void)state;
    struct h2_server *s = serve(&streaming);
    struct wr w = script();
    bool is_end;
    headers(&w, END_STREAM, 1, ":method", "POST", ":scheme", "http",
            ":authority", "b", ":path", "/streamed");
    check_i64(play_server(s, &w), 0);
    check_i64(h2_server_next(s)->stream_id, 1);
    check_true(h2_server_next(s) == NULL);
    check_u64(body_of(s, 1, &is_end), 0);
    check_true(is_end);
    w = script();
    put_post(&w, 3, "/streamed");
    check_i64(play_server(s, &w), 0);
    check_i64(h2_server_next(s)->stream_id, 3);
    w = script();
    put(&w, DATA, END_STREAM, 3, "x"); /* before it is answered */
    check_i64(play_server(s, &w), 0);
    check_true(h2_server_next(s) == NULL);
    h2_server_close(s);
}

/* As much as the limit may wait, again and again; one byte more may not. */
static void what_waits_of_a_streamed_request_is_bounded(void **state)
{
    (void)state;
    for (int answered = 0; answered < 2; answered++) {
        struct h2_server *s = serve(&streaming);
        static const uint8_t body[64];
        struct wr w = script();
        struct h2_answer a = ok_answer;
        bool is_end;
        a.end = false;
        put_post(&w, 1, "/streamed");
        check_i64(play_server(s, &w), 0);
        check_true(h2_server_next(s) != NULL);
        if (answered)
            check_i64(h2_server_respond(s, 1, &a), 0);
        for (int i = 0; i < 10; i++) {
            w = script();
            put_frame(&w, DATA, 0, 1, body, sizeof(body));
            check_i64(play_server(s, &w), 0);
            check_u64(body_of(s, 1, &is_end), 64);
            h2_server_consume(s, 1, i < 9 ? 64 : 0);
        }
        drain_server(s);
        w = script();
        put(&w, DATA, 0, 1, "x");
        check_i64(play_server(s, &w), 0);
        size_t len;
        const uint8_t *p = h2_server_out(s, &len);
        check_i64(code_in(p, len, RST_STREAM),
                  answered ? ENHANCE_YOUR_CALM : NO_ERROR);
        size_t n;
        unsigned flags;
        check_true((find_frame(p, len, HEADERS, 0, &n, &flags) != NULL) ==
                   !answered);
        check_false(h2_server_is_open(s, 1));
        h2_server_close(s);
    }
}

static void an_early_end_of_a_streamed_answer_stops_the_peer(void **state)
{
    (void)state;
    struct h2_server *s = serve(&streaming);
    struct wr w = script();
    struct h2_answer a = ok_answer;
    static const struct h2_field trailer = {"grpc-status", "0"};
    put_post(&w, 1, "/streamed");
    check_i64(play_server(s, &w), 0);
    drain_server(s);
    a.trailers = &trailer;
    a.n_trailers = 1;
    check_i64(h2_server_respond(s, 1, &a), 0);
    size_t len;
    const uint8_t *p = h2_server_out(s, &len);
    check_i64(code_in(p, len, RST_STREAM), NO_ERROR);
    check_u64(h2_server_streams(s), 0);
    h2_server_close(s);
}

static void a_stream_can_be_given_up(void **state)
{
    (void)state;
    struct h2_server *s = serve(&streaming);
    struct wr w = script();
    put_get(&w, 1);
    put_get(&w, 3);
    check_i64(play_server(s, &w), 0);
    drain_server(s);
    h2_server_cancel(s, 3); /* before it was shown */
    h2_server_cancel(s, 99);
    check_i64(h2_server_next(s)->stream_id, 1);
    check_true(h2_server_next(s) == NULL);
    check_false(h2_server_is_open(s, 3));
    check_i64(h2_server_more(s, 3, &ok_answer), ERR_CLOSED);
    size_t len;
    const uint8_t *p = h2_server_out(s, &len);
    check_i64(code_in(p, len, RST_STREAM), CANCEL);
    check_u64(h2_server_streams(s), 1);
    h2_server_close(s);
}

static void credentials_are_kept_where_they_are_wanted(void **state)
{
    (void)state;
    static const char *const texts[] = {"", "Bearer 123456789",
                                        "Bearer 1234567890"};
    for (size_t i = 0; i < 3; i++) {
        struct h2_server *s = serve(&streaming);
        struct wr w = script();
        headers(&w, END_STREAM, 1, ":method", "GET", ":scheme", "http",
                ":authority", "b", ":path", "/", "authorization", texts[i],
                "origin", "null");
        check_i64(play_server(s, &w), 0);
        const struct h2_server_request *r = h2_server_next(s);
        check_true((r != NULL) == (i < 2)); /* the third is too long */
        if (r) {
            check_text(r->authorization, texts[i]);
            check_text(r->origin, "null");
        }
        h2_server_close(s);

        s = serve(NULL);
        check_i64(play_server(s, &w), 0);
        check_true(h2_server_next(s)->authorization == NULL);
        h2_server_close(s);
    }
}

/* As over HTTP/1.1: nobody is to look at one and mean another. */
static void who_asks_is_said_once_where_it_is_wanted(void **state)
{
    (void)state;
    static const struct {
        const char *name, *value, *other, *more;
        bool is_shown;
    } cases[] = {
        {"authorization", "Bearer x", "authorization", "Bearer x", false},
        {"authorization", "", "authorization", "Bearer x", false},
        {"host", "b", "te", "trailers", true},
        {"host", "B", "te", "trailers", true},
        {"host", "c", "te", "trailers", false},
        {"host", "bb", "te", "trailers", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct wr w = script();
        headers(&w, END_STREAM, 1, ":method", "GET", ":scheme", "http",
                ":authority", "b", ":path", "/", cases[i].name, cases[i].value,
                cases[i].other, cases[i].more);
        struct h2_server *s = serve(&streaming);
        check_i64(play_server(s, &w), 0);
        check_true((h2_server_next(s) != NULL) == cases[i].is_shown);
        h2_server_close(s);

        s = serve(NULL); /* a target has nobody to tell from others */
        check_i64(play_server(s, &w), 0);
        check_true(h2_server_next(s) != NULL);
        h2_server_close(s);
    }
}

static void what_is_sent_unasked_forgives_glitches(void **state)
{
    (void)state;
    struct h2_server *s = serve(NULL);
    struct wr w = script();
    struct h2_answer a = ok_answer;
    a.end = false;
    put_get(&w, 1);
    check_i64(play_server(s, &w), 0);
    check_i64(h2_server_respond(s, 1, &a), 0);
    for (int i = 0; i < 1000; i++) {
        w = script();
        for (int n = 0; n < 4; n++)
            put(&w, PING, 0, 0, "12345678");
        put(&w, WINDOW_UPDATE, 0, 0, "\0\0\0\x03");
        put(&w, WINDOW_UPDATE, 0, 1, "\0\0\0\x03");
        check_i64(play_server(s, &w), 0);
        check_i64(h2_server_more(s, 1, &a), 0);
        drain_server(s);
    }
    h2_server_close(s);
}

/* ---- both together ---- */

/* Everything one side says, remembered, so that it can be replayed in other
 * pieces to a fresh other side. */
struct tape {
    uint8_t bytes[8192];
    size_t len;
};

static void record(struct tape *t, const uint8_t *p, size_t len)
{
    check_true(len <= sizeof(t->bytes) - t->len);
    if (len > 0)
        memcpy(t->bytes + t->len, p, len);
    t->len += len;
}

static void answer_all(struct h2_server *s)
{
    const struct h2_server_request *r;
    while ((r = h2_server_next(s))) {
        char service[GRPC_SERVICE_MAX + 1];
        const uint8_t *message;
        size_t len;
        check_text(r->path, GRPC_HEALTH_CHECK);
        check_text(r->grpc_timeout, "5S");
        check_text(r->te, "trailers");
        check_i64(grpc_read_frame(r->body, r->body_len, &message, &len), 0);
        check_i64(grpc_read_health_request(message, len, service), 0);
        check_text(service, "probe");

        uint8_t body[16];
        struct wr w;
        wr_init_fixed(&w, body, sizeof(body));
        grpc_write_health_response(&w, GRPC_SERVING);
        static const struct h2_field fields[] = {
            {"content-type", "application/grpc"}};
        static const struct h2_field trailers[] = {
            {"grpc-status", "0"}, {"server-timing", "app;dur=0.052"}};
        struct h2_answer a = {.status = 200,
                              .fields = fields,
                              .n_fields = 1,
                              .body = body,
                              .body_len = w.len,
                              .trailers = trailers,
                              .n_trailers = 2,
                              .end = true};
        check_i64(h2_server_respond(s, r->stream_id, &a), 0);
    }
}

static void check_served(const struct h2_client *c)
{
    const struct h2_response *r = h2_client_response(c);
    check_u64(r->result, H2_OK);
    check_u64(r->status, 200);
    check_true(r->has_trailers);
    check_text(r->content_type, "application/grpc");
    check_text(r->grpc_status, "0");
    check_text(r->server_timing, "app;dur=0.052");
    check_text(r->error, "");
    const uint8_t *message;
    size_t len;
    int serving;
    check_i64(grpc_read_frame(r->body, r->body_len, &message, &len), 0);
    check_i64(grpc_read_health_response(message, len, &serving), 0);
    check_i64(serving, GRPC_SERVING);
}

static void client_and_server_agree_at_every_split(void **state)
{
    (void)state;
    struct tape said = {.len = 0};
    size_t len;
    struct h2_client *c = h2_client_open();
    check_i64(h2_client_request(c, &grpc_request), 0);
    const uint8_t *p = h2_client_out(c, &len);
    record(&said, p, len);
    h2_client_close(c);

    for (size_t a = 0; a <= said.len; a++) {
        struct h2_server *s = h2_server_open(&h2_limits_default);
        check_i64(h2_server_feed(s, said.bytes, a), 0);
        answer_all(s);
        check_i64(h2_server_feed(s, said.bytes + a, said.len - a), 0);
        answer_all(s);
        struct tape heard = {.len = 0};
        while ((p = h2_server_out(s, &len)))
            record(&heard, p, len);
        h2_server_close(s);

        /* All splits once, then one per round. */
        for (size_t b = 0; b <= heard.len; b++) {
            if (a > 0 && b != a % (heard.len + 1))
                continue;
            c = h2_client_open();
            check_i64(h2_client_request(c, &grpc_request), 0);
            drain_client(c);
            check_i64(h2_client_feed(c, heard.bytes, b), 0);
            unsigned began = h2_client_response_began(c);
            check_i64(h2_client_feed(c, heard.bytes + b, heard.len - b), 0);
            check_u64(began + h2_client_response_began(c), 1);
            check_served(c);
            check_true(h2_client_is_usable(c));
            h2_client_close(c);
        }
    }
}

static void byte_by_byte_makes_no_difference(void **state)
{
    (void)state;
    struct h2_client *c = h2_client_open();
    struct h2_server *s = h2_server_open(&h2_limits_default);
    for (int round = 0; round < 50; round++) {
        check_i64(h2_client_request(c, &grpc_request), 0);
        unsigned began = 0;
        for (int turn = 0; turn < 6; turn++) {
            size_t len;
            const uint8_t *p = h2_client_out(c, &len);
            for (size_t i = 0; i < len; i++)
                check_i64(h2_server_feed(s, p + i, 1), 0);
            answer_all(s);
            p = h2_server_out(s, &len);
            for (size_t i = 0; i < len; i++) {
                check_i64(h2_client_feed(c, p + i, 1), 0);
                began += h2_client_response_began(c);
            }
        }
        check_u64(began, 1);
        check_served(c);
    }
    h2_client_close(c);
    h2_server_close(s);
}

/* A warm session must not grow: the pieces of a late round are as small as
 * those of an early one. */
static void a_held_session_goes_on_for_ever(void **state)
{
    (void)state;
    struct h2_client *c = h2_client_open();
    struct h2_server *s = h2_server_open(&h2_limits_default);
    size_t early = 0;
    for (int round = 0; round < 5000; round++) {
        check_i64(h2_client_request(c, &grpc_request), 0);
        size_t len;
        const uint8_t *p = h2_client_out(c, &len);
        if (round == 10)
            early = len;
        /* At most a cancelled request and two window updates more. */
        check_true(round <= 10 || len <= 2 * early + 39);
        check_i64(h2_server_feed(s, p, len), 0);
        answer_all(s);
        while ((p = h2_server_out(s, &len)))
            check_i64(h2_client_feed(c, p, len), 0);
        check_u64(h2_client_response(c)->result, H2_OK);
        if (round % 7 == 0) { /* a few are given up */
            check_i64(h2_client_request(c, &grpc_request), 0);
            h2_client_cancel(c);
        }
    }
    h2_client_close(c);
    h2_server_close(s);
}

static void a_watch_streams_until_it_ends(void **state)
{
    (void)state;
    struct h2_client *c = h2_client_open();
    struct h2_server *s = h2_server_open(&h2_limits_default);
    check_i64(h2_client_request(c, &grpc_request), 0);
    size_t len;
    const uint8_t *p = h2_client_out(c, &len);
    check_i64(h2_server_feed(s, p, len), 0);
    int32_t id = h2_server_next(s)->stream_id;
    struct h2_answer a = {.status = 200};
    check_i64(h2_server_respond(s, id, &a), 0); /* HEADERS alone */
    for (int i = 0; i < 5; i++) {
        while ((p = h2_server_out(s, &len)))
            check_i64(h2_client_feed(c, p, len), 0);
        check_u64(h2_client_response(c)->body_bytes, (uint64_t)i * 3);
        check_u64(h2_client_response(c)->result, H2_PENDING);
        a.body = (const uint8_t *)"abc";
        a.body_len = 3;
        check_i64(h2_server_more(s, id, &a), 0);
    }
    const struct h2_field trailer = {"grpc-status", "14"};
    a = (struct h2_answer){.trailers = &trailer, .n_trailers = 1, .end = true};
    check_i64(h2_server_more(s, id, &a), 0);
    while ((p = h2_server_out(s, &len)))
        check_i64(h2_client_feed(c, p, len), 0);
    check_u64(h2_client_response(c)->result, H2_OK);
    check_u64(h2_client_response(c)->body_bytes, 15);
    check_text(h2_client_response(c)->grpc_status, "14");
    h2_client_close(c);
    h2_server_close(s);
}

/* Every bit of a real exchange flipped, on either side: nothing breaks, a
 * response begins at most once, and an ended one stays as it is. */
static void flipped_bits_break_nothing(void **state)
{
    (void)state;
    struct tape said = {.len = 0};
    struct tape heard = {.len = 0};
    size_t len;
    struct h2_client *c = h2_client_open();
    struct h2_server *s = h2_server_open(&h2_limits_default);
    check_i64(h2_client_request(c, &grpc_request), 0);
    const uint8_t *p = h2_client_out(c, &len);
    record(&said, p, len);
    check_i64(h2_server_feed(s, p, len), 0);
    answer_all(s);
    p = h2_server_out(s, &len);
    record(&heard, p, len);
    h2_client_close(c);
    h2_server_close(s);

    for (size_t bit = 0; bit < said.len * 8; bit++) {
        said.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        s = h2_server_open(&h2_limits_default);
        h2_server_feed(s, said.bytes, said.len);
        for (const struct h2_server_request *r; (r = h2_server_next(s));)
            h2_server_respond(s, r->stream_id, &ok_answer);
        drain_server(s);
        h2_server_close(s);
        said.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t bit = 0; bit < heard.len * 8; bit++) {
        heard.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        c = h2_client_open();
        check_i64(h2_client_request(c, &grpc_request), 0);
        drain_client(c);
        unsigned began = 0;
        for (size_t i = 0; i < heard.len; i += 7) {
            size_t n = heard.len - i < 7 ? heard.len - i : 7;
            struct h2_response before = *h2_client_response(c);
            int err = h2_client_feed(c, heard.bytes + i, n);
            began += h2_client_response_began(c);
            check_true(!err || h2_client_response(c)->result != H2_PENDING);
            if (before.result != H2_PENDING)
                check_u64(h2_client_response(c)->result, before.result);
        }
        check_true(began <= 1);
        drain_client(c);
        h2_client_close(c);
        heard.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

static void closing_nothing_is_allowed(void **state)
{
    (void)state;
    h2_client_close(NULL);
    h2_server_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_leaves_in_one_piece),
        cmocka_unit_test(output_that_was_not_taken_stays_in_order),
        cmocka_unit_test(a_plain_answer_is_understood),
        cmocka_unit_test(trailers_are_told_from_headers),
        cmocka_unit_test(informational_answers_begin_but_do_not_end),
        cmocka_unit_test(eight_informational_answers_are_enough),
        cmocka_unit_test(the_first_byte_is_seen_once),
        cmocka_unit_test(the_reserved_bit_of_a_stream_id_means_nothing),
        cmocka_unit_test(a_status_below_100_is_none),
        cmocka_unit_test(a_stranger_s_headers_are_not_our_answer),
        cmocka_unit_test(one_request_at_a_time),
        cmocka_unit_test(a_request_that_http_forbids_is_refused),
        cmocka_unit_test(goaway_that_covers_us_lets_us_finish),
        cmocka_unit_test(goaway_below_us_ends_the_request),
        cmocka_unit_test(goaway_after_the_answer_changes_only_the_future),
        cmocka_unit_test(resets_are_told_apart),
        cmocka_unit_test(a_peer_without_streams_refuses),
        cmocka_unit_test(an_answer_may_come_before_the_question_is_sent),
        cmocka_unit_test(what_breaks_the_stream_is_a_protocol_error),
        cmocka_unit_test(what_breaks_the_session_is_a_protocol_error),
        cmocka_unit_test(another_protocol_is_named_as_such),
        cmocka_unit_test(the_body_limit_is_exact_and_costs_the_stream),
        cmocka_unit_test(the_header_list_is_bounded),
        cmocka_unit_test(a_header_bomb_is_not_unpacked),
        cmocka_unit_test(a_server_that_floods_is_left),
        cmocka_unit_test(a_request_is_shown_once_and_whole),
        cmocka_unit_test(requests_come_oldest_first),
        cmocka_unit_test(an_answer_leaves_in_one_piece),
        cmocka_unit_test(an_answer_has_as_few_frames_as_it_needs),
        cmocka_unit_test(answers_that_http_forbids_are_refused),
        cmocka_unit_test(a_closed_window_holds_back_a_bounded_amount),
        cmocka_unit_test(a_reset_ends_a_watch),
        cmocka_unit_test(too_much_is_answered_and_not_shown),
        cmocka_unit_test(the_limits_themselves_are_allowed),
        cmocka_unit_test(streams_beyond_the_limit_are_refused),
        cmocka_unit_test(cheap_frames_close_the_connection),
        cmocka_unit_test(rapid_reset_closes_the_connection),
        cmocka_unit_test(provoked_resets_close_the_connection),
        cmocka_unit_test(headers_for_lost_streams_close_the_connection),
        cmocka_unit_test(continuation_floods_close_the_connection),
        cmocka_unit_test(a_header_bomb_closes_the_connection),
        cmocka_unit_test(the_glitch_limit_is_exact),
        cmocka_unit_test(what_waits_behind_stuck_output_is_bounded),
        cmocka_unit_test(of_two_headers_the_first_counts),
        cmocka_unit_test(work_done_forgives_glitches),
        cmocka_unit_test(what_breaks_the_protocol_closes_the_connection),
        cmocka_unit_test(after_a_failure_nothing_is_shown_or_answered),
        cmocka_unit_test(shutdown_lets_open_streams_finish),
        cmocka_unit_test(client_and_server_agree_at_every_split),
        cmocka_unit_test(byte_by_byte_makes_no_difference),
        cmocka_unit_test(a_held_session_goes_on_for_ever),
        cmocka_unit_test(a_watch_streams_until_it_ends),
        cmocka_unit_test(flipped_bits_break_nothing),
        cmocka_unit_test(a_streamed_request_is_shown_with_its_header),
        cmocka_unit_test(a_streamed_request_without_a_body_is_shown_once),
        cmocka_unit_test(what_waits_of_a_streamed_request_is_bounded),
        cmocka_unit_test(an_early_end_of_a_streamed_answer_stops_the_peer),
        cmocka_unit_test(a_stream_can_be_given_up),
        cmocka_unit_test(credentials_are_kept_where_they_are_wanted),
        cmocka_unit_test(who_asks_is_said_once_where_it_is_wanted),
        cmocka_unit_test(what_is_sent_unasked_forgives_glitches),
        cmocka_unit_test(closing_nothing_is_allowed),
    };
    return cmocka_run_group_tests_name("h2", tests, NULL, NULL);
}
