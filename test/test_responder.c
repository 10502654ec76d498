/* What a node answers: HTTP/1.1 as text; HTTP/2 and gRPC through a real
 * client session. */
#include "prober/responder.h"

#include <string.h>

#include "proto/base/err.h"
#include "proto/grpc.h"
#include "test/check.h"

static const struct responder_facts up = {.took_ns = 52000};
static const struct responder_facts draining = {.took_ns = 52000,
                                                .is_draining = true};

/* ---- HTTP/1.1 ---- */

/* Answer the request `text`; returns whether the connection is kept. */
static bool ask(const char *text, const struct responder_facts *f,
                char answer[1024])
{
    struct http1 h;
    struct wr w;
    http1_init(&h, HTTP1_REQUEST, HTTP1_HEAD_MAX, 4096);
    check_u64(http1_feed(&h, text, strlen(text)), strlen(text));
    check_u64(h.state, HTTP1_DONE);
    wr_init_fixed(&w, answer, 1024);
    bool is_kept = responder_http1(&h, f, &w);
    check_i64(wr_err(&w), 0);
    wr_u8(&w, 0);
    return is_kept;
}

static void says_ok_and_how_long_it_took(void **state)
{
    (void)state;
    char answer[1024];

    check_true(ask("GET /probe HTTP/1.1\r\nHost: a\r\n\r\n", &up, answer));
    check_true(!strncmp(answer, "HTTP/1.1 200 OK\r\n", 17));
    check_true(strstr(answer, "\r\nServer-Timing: app;dur=0.052000\r\n") !=
               NULL);
    check_true(strstr(answer, "\r\nContent-Length: 3\r\n") != NULL);
    check_true(strstr(answer, "Connection: close") == NULL);
    check_text(strstr(answer, "\r\n\r\n"), "\r\n\r\nok\n");
    check_true(ask("GET /probe?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", &up, answer));
    check_true(!strncmp(answer, "HTTP/1.1 200 ", 13));
}

/* What it says can be read by what reads it. */
static void its_timing_reads_back(void **state)
{
    (void)state;
    static const uint64_t times_ns[] = {
        0, 1, 999999, 1000000, 1000001, 1234567890, 3599999999999};
    for (size_t i = 0; i < sizeof(times_ns) / sizeof(times_ns[0]); i++) {
        char text[RESPONDER_TIMING_SIZE];
        uint64_t ns;
        responder_timing(times_ns[i], text);
        check_i64(http1_server_timing(text, strlen(text), &ns), 0);
        check_u64(ns, times_ns[i]);
    }
    char text[RESPONDER_TIMING_SIZE];
    responder_timing(UINT64_MAX, text);
    check_text(text, "app;dur=18446744073709.551615");
}

static void head_has_no_body(void **state)
{
    (void)state;
    char answer[1024];
    check_true(ask("HEAD /probe HTTP/1.1\r\nHost: a\r\n\r\n", &up, answer));
    check_true(strstr(answer, "\r\nContent-Length: 3\r\n") != NULL);
    check_text(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
}

static void keeps_the_connection_as_the_client_likes(void **state)
{
    (void)state;
    char answer[1024];
    check_false(ask("GET /probe HTTP/1.1\r\nHost: a\r\n"
                    "Connection: close\r\n\r\n",
                    &up, answer));
    check_true(strstr(answer, "\r\nConnection: close\r\n") != NULL);
    check_false(ask("GET /probe HTTP/1.0\r\n\r\n", &up, answer));
}

static void drains_with_503_and_close(void **state)
{
    (void)state;
    char answer[1024];
    check_false(
        ask("GET /probe HTTP/1.1\r\nHost: a\r\n\r\n", &draining, answer));
    check_true(!strncmp(answer, "HTTP/1.1 503 ", 13));
    check_true(strstr(answer, "\r\nConnection: close\r\n") != NULL);
    check_true(strstr(answer, "\r\nContent-Length: 0\r\n") != NULL);
    check_text(strstr(answer, "\r\n\r\n"), "\r\n\r\n");
    check_true(strstr(answer, "Server-Timing") != NULL);
}

static void other_paths_and_methods_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *request, *status;
        bool allows;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "404", false},
        {"GET /prob HTTP/1.1\r\nHost: a\r\n\r\n", "404", false},
        {"GET /probe/ HTTP/1.1\r\nHost: a\r\n\r\n", "404", false},
        {"GET /probe2?/probe HTTP/1.1\r\nHost: a\r\n\r\n", "404", false},
        {"POST /probe HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "405",
         true},
        {"get /probe HTTP/1.1\r\nHost: a\r\n\r\n", "405", true},
        {"GETS /probe HTTP/1.1\r\nHost: a\r\n\r\n", "405", true},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char answer[1024];
        check_true(ask(cases[i].request, &up, answer));
        check_true(!strncmp(answer + 9, cases[i].status, 3));
        check_true((strstr(answer, "\r\nAllow: GET, HEAD\r\n") != NULL) ==
                   cases[i].allows);
        check_true(strstr(answer, "\r\nContent-Length: 0\r\n") != NULL);
        /* Draining does not change what is not there. */
        (void)ask(cases[i].request, &draining, answer);
        check_true(!strncmp(answer + 9, cases[i].status, 3));
    }
}

static void refuse(const char *text, size_t head_max, size_t body_max,
                   const char *status)
{
    struct http1 h;
    struct wr w;
    char answer[1024];
    http1_init(&h, HTTP1_REQUEST, head_max, body_max);
    http1_feed(&h, text, strlen(text));
    check_u64(h.state, HTTP1_FAILED);
    wr_init_fixed(&w, answer, sizeof(answer));
    responder_http1_refuse(&h, &w);
    check_i64(wr_err(&w), 0);
    wr_u8(&w, 0);
    check_true(!strncmp(answer + 9, status, 3));
    check_true(strstr(answer, "\r\nConnection: close\r\n") != NULL);
    check_true(strstr(answer, "secret") == NULL); /* nothing is echoed */
}

static void what_is_no_request_is_refused(void **state)
{
    (void)state;
    refuse("secret\r\n\r\n", 8192, 16, "400");
    refuse("GET / HTTP/1.1\r\n\r\n", 8192, 16, "400");
    refuse("GET / HTTP/1.1\r\nHost: a\r\nX: secretsecretsecret\r\n\r\n", 32, 16,
           "431");
    refuse("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 17\r\n\r\nsecret",
           8192, 16, "413");
}

/* ---- HTTP/2 ---- */

struct world {
    struct h2_client *client;
    struct h2_server *server;
};

static void open_world(struct world *w)
{
    w->client = h2_client_open();
    w->server = h2_server_open(&h2_limits_default);
    check_true(w->client && w->server);
}

static void close_world(struct world *w)
{
    h2_client_close(w->client);
    h2_server_close(w->server);
}

/* Carry bytes in both directions until nothing more is said. */
static void carry(struct world *w)
{
    size_t n, total;
    do {
        const uint8_t *out = h2_client_out(w->client, &n);
        total = n;
        if (n)
            check_i64(h2_server_feed(w->server, out, n), 0);
        out = h2_server_out(w->server, &n);
        total += n;
        if (n)
            check_i64(h2_client_feed(w->client, out, n), 0);
    } while (total);
}

/* One request, answered by the responder. Returns whether it is a watch. */
static bool call(struct world *w, const struct h2_request *r,
                 const struct responder_facts *f)
{
    bool is_watch = true;
    check_i64(h2_client_request(w->client, r), 0);
    carry(w);
    const struct h2_server_request *got = h2_server_next(w->server);
    check_true(got != NULL);
    check_i64(responder_h2(w->server, got, f, &is_watch), 0);
    carry(w);
    return is_watch;
}

static struct h2_request health(const char *path, const void *body,
                                size_t body_len)
{
    return (struct h2_request){.method = "POST",
                               .scheme = "https",
                               .authority = "a:7443",
                               .path = path,
                               .is_grpc = true,
                               .body = body,
                               .body_len = body_len};
}

/* A health call for `service`; checks what both transports say the same. */
static const struct h2_response *check_service(struct world *w,
                                               const char *path,
                                               const char *service,
                                               const struct responder_facts *f)
{
    uint8_t body[256];
    struct wr msg;
    wr_init_fixed(&msg, body, sizeof(body));
    grpc_write_health_request(&msg, service);
    struct h2_request r = health(path, body, msg.len);
    bool is_watch = call(w, &r, f);
    check_true(is_watch == !strcmp(path, GRPC_HEALTH_WATCH));
    const struct h2_response *got = h2_client_response(w->client);
    check_u64(got->status, 200);
    check_text(got->content_type, "application/grpc");
    return got;
}

static int serving_in(const uint8_t *body, size_t len)
{
    const uint8_t *message;
    size_t n;
    int serving;
    check_i64(grpc_read_frame(body, len, &message, &n), 0);
    check_i64(grpc_read_health_response(message, n, &serving), 0);
    return serving;
}

static void check_says_serving_or_draining(void **state)
{
    (void)state;
    static const char *const services[] = {"", "prober"};
    struct world w;
    open_world(&w);
    for (int i = 0; i < 4; i++) {
        const struct h2_response *r = check_service(
            &w, GRPC_HEALTH_CHECK, services[i % 2], i / 2 ? &draining : &up);
        check_u64(r->result, H2_OK);
        check_text(r->grpc_status, "0");
        check_text(r->server_timing, "app;dur=0.052000");
        check_true(r->has_trailers && !r->is_trailers_only);
        check_i64(serving_in(r->body, r->body_len),
                  i / 2 ? GRPC_NOT_SERVING : GRPC_SERVING);
    }
    close_world(&w);
}

static void fails(const char *path, const void *body, size_t len,
                  const char *status)
{
    struct world w;
    open_world(&w);
    struct h2_request r = health(path, body, len);
    check_false(call(&w, &r, &up));
    const struct h2_response *got = h2_client_response(w.client);
    check_u64(got->result, H2_OK);
    check_u64(got->status, 200);
    check_text(got->grpc_status, status);
    check_true(got->is_trailers_only);
    check_true(got->grpc_message[0] != '\0');
    check_text(got->content_type, "application/grpc");
    check_text(got->server_timing, "app;dur=0.052000");
    close_world(&w);
}

static void failures_have_grpcs_own_codes(void **state)
{
    (void)state;
    static const char empty[] = "\0\0\0\0\0";
    static const char unknown[] = "\0\0\0\0\3\x0a\1x"; /* service "x" */
    static const char longer[] = "\0\0\0\0\x09\x0a\7prober2";

    fails("/grpc.health.v1.Health/List", empty, 5, "12"); /* UNIMPLEMENTED */
    fails("/probe", empty, 5, "12");
    fails("/", empty, 5, "12");
    fails(GRPC_HEALTH_CHECK, unknown, 8, "5"); /* NOT_FOUND */
    fails(GRPC_HEALTH_CHECK, longer, 14, "5");
    fails(GRPC_HEALTH_CHECK, "", 0, "13"); /* INTERNAL: no message */
    fails(GRPC_HEALTH_CHECK, empty, 4, "13");
    fails(GRPC_HEALTH_CHECK, "\1\0\0\0\0", 5, "13"); /* compressed */
    fails(GRPC_HEALTH_CHECK, "\0\0\0\0\0\0", 6, "13");
    fails(GRPC_HEALTH_CHECK, "\0\0\0\0\2\x0a\5", 7, "13"); /* cut short */
    fails(GRPC_HEALTH_WATCH, "\1\0\0\0\0", 5, "13");
    fails(GRPC_HEALTH_CHECK, "\0\0\1\0\0", 5, "8"); /* RESOURCE_EXHAUSTED */
}

/* The request as a host would find it, without a client of ours that cannot
 * say such things. */
static void compression_is_not_understood(void **state)
{
    (void)state;
    static const struct {
        const char *encoding, *status;
    } cases[] = {{"gzip", "12"}, {"identity", "0"}, {"", "0"}};
    for (size_t i = 0; i < 3; i++) {
        struct world w;
        bool is_watch;
        open_world(&w);
        struct h2_request r = health(GRPC_HEALTH_CHECK, "\0\0\0\0\0", 5);
        check_i64(h2_client_request(w.client, &r), 0);
        carry(&w);
        struct h2_server_request got = *h2_server_next(w.server);
        strcpy(got.grpc_encoding, cases[i].encoding);
        check_i64(responder_h2(w.server, &got, &up, &is_watch), 0);
        carry(&w);
        check_text(h2_client_response(w.client)->grpc_status, cases[i].status);
        close_world(&w);
    }
}

static void watch_stays_open_and_tells_changes(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    const struct h2_response *r = check_service(&w, GRPC_HEALTH_WATCH, "", &up);
    check_u64(r->result, H2_PENDING);
    check_u64(r->body_len, 7);
    check_i64(serving_in(r->body, 7), GRPC_SERVING);
    check_true(h2_server_is_open(w.server, 1));

    check_i64(responder_h2_update(w.server, 1, &draining), 0);
    carry(&w);
    check_u64(r->result, H2_PENDING);
    check_u64(r->body_len, 14);
    check_i64(serving_in(r->body + 7, 7), GRPC_NOT_SERVING);
    check_i64(responder_h2_update(w.server, 1, &up), 0);
    carry(&w);
    check_i64(serving_in(r->body + 14, 7), GRPC_SERVING);

    h2_client_cancel(w.client);
    carry(&w);
    check_i64(responder_h2_update(w.server, 1, &up), ERR_CLOSED);
    check_i64(responder_h2_update(w.server, 99, &up), ERR_CLOSED);
    close_world(&w);
}

/* A service that is not known now may be known later: no error, by gRPC's
 * rules. */
static void watch_of_an_unknown_service_waits(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    const struct h2_response *r =
        check_service(&w, GRPC_HEALTH_WATCH, "other", &up);
    check_u64(r->result, H2_PENDING);
    check_i64(serving_in(r->body, r->body_len), GRPC_SERVICE_UNKNOWN);
    close_world(&w);
}

static void plain(const char *method, const char *path,
                  const struct responder_facts *f, unsigned status)
{
    struct world w;
    open_world(&w);
    struct h2_request r = {.method = method,
                           .scheme = "https",
                           .authority = "a:7443",
                           .path = path};
    check_false(call(&w, &r, f));
    const struct h2_response *got = h2_client_response(w.client);
    check_u64(got->result, H2_OK);
    check_u64(got->status, status);
    check_text(got->content_type, "text/plain");
    check_text(got->server_timing, "app;dur=0.052000");
    check_text(got->grpc_status, "");
    bool has_body = status == 200 && strcmp(method, "HEAD") != 0;
    check_u64(got->body_len, has_body ? 3 : 0);
    if (has_body)
        assert_memory_equal(got->body, "ok\n", 3);
    close_world(&w);
}

static void http2_without_grpc_is_answered_as_http1(void **state)
{
    (void)state;
    plain("GET", "/probe", &up, 200);
    plain("GET", "/probe?x", &up, 200);
    plain("HEAD", "/probe", &up, 200);
    plain("GET", "/probe", &draining, 503);
    plain("GET", "/", &up, 404);
    plain("GET", "/probe2", &up, 404);
    plain("GET", "/prob", &up, 404);
    plain("GET", GRPC_HEALTH_CHECK, &up, 404);
    plain("POST", "/probe", &up, 405);
    plain("POST", GRPC_HEALTH_CHECK, &up, 415);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_ok_and_how_long_it_took),
        cmocka_unit_test(its_timing_reads_back),
        cmocka_unit_test(head_has_no_body),
        cmocka_unit_test(keeps_the_connection_as_the_client_likes),
        cmocka_unit_test(drains_with_503_and_close),
        cmocka_unit_test(other_paths_and_methods_are_refused),
        cmocka_unit_test(what_is_no_request_is_refused),
        cmocka_unit_test(check_says_serving_or_draining),
        cmocka_unit_test(failures_have_grpcs_own_codes),
        cmocka_unit_test(compression_is_not_understood),
        cmocka_unit_test(watch_stays_open_and_tells_changes),
        cmocka_unit_test(watch_of_an_unknown_service_waits),
        cmocka_unit_test(http2_without_grpc_is_answered_as_http1),
    };
    return cmocka_run_group_tests_name("responder", tests, NULL, NULL);
}
