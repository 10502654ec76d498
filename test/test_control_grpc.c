/* The control port's gRPC side as a stock client sees it: a real HTTP/2
 * client in memory, inquiries that are made up, a clock that is set. */
#include "prober/control_grpc.h"

#include <stdio.h>
#include <string.h>

#include "prober/control_calls.h"
#include "proto/pb.h"
#include "test/check.h"
#include "test/fake_inquiry.h"
#include "test/grpc_client.h"

#define SEC UINT64_C(1000000000)
#define MS  UINT64_C(1000000)

#define PROBE   "/prober.v1.Control/Probe"
#define REFLECT "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define REFLECT_ALPHA \
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

struct world {
    uint64_t now_ns;
    struct inquiries inquiries;
    struct api_source api;
    struct control_source source;
    struct httpd_limits limits;
    struct httpd_stats stats;
    struct httpd_conn_config config;
    struct httpd_peer peer;
    struct httpd_waker waker;
    unsigned wakes;
    const struct httpd_session_ops *ops;
    void *session;
    struct grpc_client client;
};

static struct world w; /* one test at a time */

static void on_wake(struct httpd_waker *waker)
{
    (void)waker;
    w.wakes++;
}

static int set_up(void **state)
{
    (void)state;
    w = (struct world){.now_ns = 100 * SEC};
    w.source =
        (struct control_source){.inquiries = &w.inquiries, .api = &w.api};
    w.limits = httpd_limits_default;
    w.config = (struct httpd_conn_config){
        .limits = &w.limits, .arg = &w.source, .stats = &w.stats};
    addr_parse(&w.peer.addr, "127.0.0.9:1234");
    w.waker.wake = on_wake;
    w.ops = &control_grpc_ops;
    w.session = w.ops->open(&w.config, &w.peer, &w.waker, w.now_ns);
    check_true(w.session != NULL);
    grpc_client_init(&w.client);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    w.ops->close(w.session);
    check_u64(w.inquiries.started, w.inquiries.closed);
    grpc_client_fini(&w.client);
    return 0;
}

/* ---- the host ---- */

static bool send_some(void)
{
    size_t len, size;
    const uint8_t *data = grpc_client_out(&w.client, &len);
    if (!data)
        return false;
    while (len > 0) {
        uint8_t *space = w.ops->space(w.session, &size);
        if (!space)
            break; /* the rest is lost: the connection is over */
        size_t n = len < size ? len : size;
        memcpy(space, data, n);
        w.ops->received(w.session, n, w.now_ns);
        while (w.ops->wants_turn(w.session))
            w.ops->turn(w.session, w.now_ns);
        data += n;
        len -= n;
        /* The test's clients never send more than is answered at once. */
        const uint8_t *out;
        while ((out = w.ops->out(w.session, &size))) {
            check_i64(grpc_client_feed(&w.client, out, size), 0);
            w.ops->sent(w.session, size, w.now_ns);
            while (w.ops->wants_turn(w.session))
                w.ops->turn(w.session, w.now_ns);
        }
    }
    return true;
}

static bool hear_some(void)
{
    size_t len;
    while (w.ops->wants_turn(w.session))
        w.ops->turn(w.session, w.now_ns);
    const uint8_t *out = w.ops->out(w.session, &len);
    if (!out)
        return false;
    check_i64(grpc_client_feed(&w.client, out, len), 0);
    w.ops->sent(w.session, len, w.now_ns);
    return true;
}

/* Until neither side has anything to say. */
static void run(void)
{
    bool is_busy = true;
    while (is_busy) {
        is_busy = send_some();
        is_busy = hear_some() || is_busy;
    }
}

static void pass(uint64_t ns)
{
    w.now_ns += ns;
    while (w.ops->deadline(w.session) <= w.now_ns) {
        uint64_t before_ns = w.ops->deadline(w.session);
        w.ops->expire(w.session, w.now_ns);
        run();
        check_true(w.ops->deadline(w.session) > before_ns);
    }
}

/* ---- requests ---- */

static const struct h2_field good[] = {{"authorization", "Bearer good"}};

static size_t frame(uint8_t *out, const void *message, size_t len)
{
    struct wr wr;
    wr_init_fixed(&wr, out, 8192);
    grpc_write_frame(&wr, message, len);
    check_i64(wr_err(&wr), 0);
    return wr.len;
}

static struct grpc_reply *ask(const char *path, const struct h2_field *fields,
                              size_t n, const void *message, size_t len)
{
    uint8_t body[8192];
    size_t size = frame(body, message, len);
    struct grpc_reply *r =
        grpc_client_call(&w.client, path, fields, n, body, size, true);
    run();
    return r;
}

/* ProbeRequest{target: "http://127.0.0.7/"} */
#define TARGET "\x0a\x11http://127.0.0.7/"

static struct grpc_reply *ask_probe(void)
{
    return ask(PROBE, good, 1, TARGET, sizeof(TARGET) - 1);
}

static unsigned count_messages(const struct grpc_reply *r)
{
    size_t at = 0, len;
    const uint8_t *message;
    unsigned n = 0;
    while (grpc_reply_message(r, &at, &message, &len))
        n++;
    return n;
}

static void check_refused(const struct grpc_reply *r, const char *status,
                          const char *message)
{
    check_u64(r->status, 200);
    check_u64(r->headers, 1);
    check_true(r->is_ended);
    check_u64(r->body.len, 0);
    check_text(r->content_type, "application/grpc");
    check_text(r->grpc_status, status);
    check_text(r->grpc_message, message);
}

/* ---- probes ---- */

static void streams_samples_as_they_come(void **state)
{
    (void)state;
    struct grpc_reply *r = ask_probe();
    check_u64(w.inquiries.started, 1);
    check_text(w.inquiries.ask.request.target, "http://127.0.0.7/");
    check_text(w.inquiries.ask.who.name, "fake");
    check_text(w.inquiries.peer, "127.0.0.9:1234");
    check_u64(w.inquiries.action, ACTION_PROBE_KNOWN);
    check_u64(r->headers, 0);

    fake_inquiry_add(w.inquiries.latest, 2, false);
    check_u64(w.wakes, 1);
    run();
    check_u64(r->status, 200);
    check_u64(count_messages(r), 2);
    check_false(r->is_ended);

    fake_inquiry_add(w.inquiries.latest, 1, true);
    run();
    check_u64(count_messages(r), 4);
    check_true(r->is_ended);
    check_text(r->grpc_status, "0");
    check_u64(r->headers, 2);
    check_u64(w.inquiries.closed, 1);
}

static void refusals_become_statuses(void **state)
{
    (void)state;
    static const struct {
        enum inquiry_refusal refusal;
        const char *status;
    } cases[] = {
        {INQUIRY_BAD, "3"},       {INQUIRY_FORBIDDEN, "7"},
        {INQUIRY_DENIED, "7"},    {INQUIRY_UNKNOWN, "5"},
        {INQUIRY_RATE, "8"},      {INQUIRY_BUSY, "8"},
        {INQUIRY_NO_MESH, "9"},   {INQUIRY_NO_AUDIT, "14"},
        {INQUIRY_DRAINING, "14"}, {INQUIRY_FAILED, "13"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        w.inquiries.refusal = cases[i].refusal;
        check_refused(ask_probe(), cases[i].status,
                      inquiry_refusal_text(cases[i].refusal));
    }
    w.inquiries.refusal = INQUIRY_BAD;
    w.inquiries.msg = "count: 100 % too many\n";
    check_refused(ask_probe(), "3", "count: 100 %25 too many%0A");
    check_u64(w.inquiries.started, 0);
}

/* As over HTTP: who tries out what we take is seen. */
static void requests_that_make_no_sense_are_told(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",                       /* no message */
        "\x0a\x02",               /* cut off */
        "\x0a\x01x\x12\x03udp",   /* protocol: udp */
        "\x0a\x01x\x22\x05zone:", /* from: a zone without a name */
    };
    for (size_t i = 0; i < 4; i++) {
        struct grpc_reply *r =
            i ? ask(PROBE, good, 1, bodies[i], strlen(bodies[i]))
              : grpc_client_call(&w.client, PROBE, good, 1, "", 0, true);
        run();
        check_text(r->grpc_status, i < 2 ? "13" : "3");
        check_u64(w.inquiries.turned_away, i + 1);
        check_text(w.inquiries.told, "bad_request 127.0.0.9:1234 fake");
    }
    check_u64(w.inquiries.started, 0);
}

static void asks_for_credentials(void **state)
{
    (void)state;
    static const struct h2_field bad[] = {{"authorization", "Bearer bad"}};
    static const char *const paths[] = {PROBE, REFLECT, REFLECT_ALPHA,
                                        GRPC_HEALTH_WATCH};
    for (size_t i = 0; i < 4; i++) {
        check_refused(ask(paths[i], bad, 1, "", 0), "16", "unauthorized");
        check_refused(ask(paths[i], NULL, 0, "", 0), "16", "unauthorized");
    }
    check_u64(w.inquiries.turned_away, 8);
    w.peer.is_local = true;
    check_true(ask(PROBE, NULL, 0, TARGET, sizeof(TARGET) - 1)->headers == 0);
    check_u64(w.inquiries.started, 1);
}

static void what_a_page_asks_is_told_to_the_admission(void **state)
{
    (void)state;
    static const struct h2_field page[] = {{"authorization", "Bearer good"},
                                           {"origin", "http://x"}};
    check_refused(ask(PROBE, page, 2, TARGET, sizeof(TARGET) - 1), "7",
                  "forbidden_origin");
}

static void long_credentials_are_refused(void **state)
{
    (void)state;
    char text[600] = "Bearer ";
    memset(text + 7, 'a', 512 - 7);
    struct h2_field fields[] = {{"authorization", text}};
    check_refused(ask(PROBE, fields, 1, "", 0), "16", "unauthorized");
    text[512] = 'a';
    struct grpc_reply *r = ask(PROBE, fields, 1, "", 0);
    check_text(r->grpc_status, "8");
    check_u64(w.inquiries.turned_away, 1);
}

static void a_denied_target_is_said_once_and_plainly(void **state)
{
    (void)state;
    w.inquiries.is_denied = w.inquiries.is_over = true;
    check_refused(ask_probe(), "7", inquiry_refusal_text(INQUIRY_DENIED));
    check_u64(w.inquiries.closed, 1);
}

static void framing_rules(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *status, *message;
    } cases[] = {
        {"", 0, "13", "not one whole message"},
        {"\0\0\0\0", 4, "13", "not one whole message"},
        {"\0\0\0\0\1", 5, "13", "not one whole message"},
        {"\0\0\0\0\0x", 6, "13", "not one whole message"},
        {"\1\0\0\0\0", 5, "13", "a compressed message"},
        {"\0\0\0\x10\1", 5, "8", "message too large"},
        {"\0\0\0\0\2\x0a\x02", 7, "13", "malformed request"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct grpc_reply *r = grpc_client_call(
            &w.client, PROBE, good, 1, cases[i].bytes, cases[i].len, true);
        run();
        check_refused(r, cases[i].status, cases[i].message);
    }
    static const struct h2_field gzip[] = {{"authorization", "Bearer good"},
                                           {"grpc-encoding", "gzip"}};
    check_refused(ask(PROBE, gzip, 2, "", 0), "12",
                  "compression is not supported");
    static const struct h2_field identity[] = {{"authorization", "Bearer good"},
                                               {"grpc-encoding", "identity"}};
    check_u64(ask(PROBE, identity, 2, TARGET, sizeof(TARGET) - 1)->headers, 0);
    check_refused(ask("/prober.v1.Control/Probes", good, 1, "", 0), "12",
                  "no such method");
    static const struct h2_field odd[] = {{"grpc-timeout", "1x"}};
    check_refused(ask(PROBE, odd, 1, "", 0), "13", "malformed grpc-timeout");
}

static void a_body_too_large_is_refused(void **state)
{
    (void)state;
    static uint8_t body[20000];
    struct grpc_reply *r =
        grpc_client_call(&w.client, PROBE, good, 1, body, sizeof(body), true);
    run();
    check_text(r->grpc_status, "8");
    check_u64(ask_probe()->headers, 0); /* the connection goes on */
}

/* Sixty-four of them come before anybody has said who it is. */
static void unfinished_bodies_are_bounded_together(void **state)
{
    (void)state;
    static uint8_t body[16384];
    struct grpc_reply *r[5];
    for (size_t i = 0; i < 5; i++) {
        r[i] = grpc_client_call(&w.client, PROBE, NULL, 0, body, 16384, false);
        run();
        check_text(r[i]->grpc_status, i < 4 ? "" : "8");
    }
    check_u64(r[4]->headers, 1);
    /* What ends makes room again. */
    grpc_client_reset(&w.client, r[0]);
    run();
    struct grpc_reply *next =
        grpc_client_call(&w.client, PROBE, NULL, 0, body, 16384, false);
    run();
    check_text(next->grpc_status, "");
    grpc_client_send(&w.client, next, "x", 1, false);
    run();
    check_text(next->grpc_status, "8"); /* its own bound */
    next = grpc_client_call(&w.client, PROBE, NULL, 0, body, 16384, false);
    run();
    check_text(next->grpc_status, "");
}

static void other_content_types_are_not_ours(void **state)
{
    (void)state;
    static const char *const types[] = {"application/json",
                                        "application/grpc-web",
                                        "application/grpc+json", "text/plain"};
    for (size_t i = 0; i < 4; i++) {
        struct h2_field type[] = {{"content-type", types[i]}};
        check_u64(ask(PROBE, type, 1, "", 0)->status, 415);
    }
    static const char *const ours[] = {
        "application/grpc", "application/grpc+proto", "application/grpc;x=y"};
    for (size_t i = 0; i < 3; i++) {
        struct h2_field type[] = {{"content-type", ours[i]}};
        check_text(ask(PROBE, type, 1, "", 0)->grpc_status, "16");
    }
}

static void a_supervisor_may_ask_in_plain_http(void **state)
{
    (void)state;
    static const struct h2_field get[] = {{":method", "GET"}};
    struct grpc_reply *r =
        grpc_client_call(&w.client, "/-/healthy", get, 1, NULL, 0, true);
    struct grpc_reply *other =
        grpc_client_call(&w.client, "/v1/status", get, 1, NULL, 0, true);
    run();
    check_u64(r->status, 200);
    check_u64(r->body.len, 3);
    check_u64(other->status, 404);
}

static void a_reset_closes_the_inquiry(void **state)
{
    (void)state;
    struct grpc_reply *r = ask_probe();
    struct grpc_reply *other = ask_probe();
    check_u64(w.inquiries.started, 2);
    grpc_client_reset(&w.client, r);
    run();
    check_u64(w.inquiries.closed, 1);
    check_true(w.inquiries.latest != NULL);
    fake_inquiry_add(w.inquiries.latest, 1, true);
    run();
    check_text(other->grpc_status, "0");
}

static void a_lost_connection_closes_inquiries(void **state)
{
    (void)state;
    ask_probe();
    ask_probe();
    w.ops->eof(w.session, w.now_ns);
    check_u64(w.inquiries.closed, 2);
    check_u64(w.ops->phase(w.session), HTTPD_CONN_ENDED);
}

static void abandoning_closes_inquiries_at_once(void **state)
{
    (void)state;
    ask_probe();
    w.ops->abandon(w.session);
    check_u64(w.inquiries.closed, 1);
    size_t size;
    check_true(w.ops->space(w.session, &size) == NULL);
    check_false(w.ops->wants_turn(w.session));
}

static void the_clients_deadline_is_kept(void **state)
{
    (void)state;
    static const struct h2_field fields[] = {{"authorization", "Bearer good"},
                                             {"grpc-timeout", "250m"}};
    struct grpc_reply *r = ask(PROBE, fields, 2, TARGET, sizeof(TARGET) - 1);
    struct grpc_reply *begun =
        ask(PROBE, fields, 2, TARGET, sizeof(TARGET) - 1);
    fake_inquiry_add(w.inquiries.latest, 1, false);
    run();
    check_u64(w.ops->deadline(w.session), w.now_ns + 250 * MS);
    pass(249 * MS);
    check_u64(w.inquiries.closed, 0);
    pass(1 * MS);
    check_u64(w.inquiries.closed, 2);
    check_refused(r, "4", "the time of the call is over");
    check_u64(count_messages(begun), 1);
    check_text(begun->grpc_status, "4");
}

/* Frames of at most 16 KiB, 32 KiB waiting, a window of 64 KiB: what does not
 * fit stays with the inquiry. */
static void a_deaf_client_stops_the_events(void **state)
{
    (void)state;
    struct grpc_reply *r = ask_probe();
    w.client.is_deaf = true;
    fake_inquiry_add(w.inquiries.latest, 5000, true);
    run();
    size_t heard = r->body.len;
    check_u64(heard, 65535);
    check_true(w.inquiries.latest->samples > 4000);
    check_u64(w.inquiries.latest->given + w.inquiries.latest->samples, 5000);
    unsigned given = w.inquiries.latest->given;
    run();
    check_u64(w.inquiries.latest->given, given);
    check_true(w.ops->deadline(w.session) == w.now_ns + 30 * SEC);

    pass(29 * SEC);
    check_u64(w.stats.timeouts, 0);
    grpc_client_listen(&w.client);
    run();
    check_u64(count_messages(r), 5001);
    check_text(r->grpc_status, "0");
}

static void a_client_that_stays_deaf_is_cut_off(void **state)
{
    (void)state;
    struct grpc_reply *r = ask_probe();
    w.client.is_deaf = true;
    fake_inquiry_add(w.inquiries.latest, 5000, true);
    run();
    pass(30 * SEC);
    check_true(r->is_closed);
    check_u64(r->close_code, 8); /* CANCEL */
    check_u64(w.inquiries.closed, 1);
    check_u64(w.stats.timeouts, 1);
}

/* Neither little progress nor other frames are taken for the other. */
static void only_reading_keeps_a_deaf_client(void **state)
{
    (void)state;
    struct grpc_reply *r = ask_probe();
    w.client.is_deaf = true;
    fake_inquiry_add(w.inquiries.latest, 20000, true);
    run();
    for (int i = 0; i < 3; i++) {
        pass(20 * SEC);
        check_false(r->is_closed);
        grpc_client_listen(&w.client);
        w.client.is_deaf = true;
        run();
    }
    for (int i = 0; i < 3; i++) {
        check_false(r->is_closed);
        pass(10 * SEC);
        grpc_client_ping(&w.client);
        run();
    }
    check_true(r->is_closed);
    check_u64(w.inquiries.closed, 1);
}

static void a_summary_of_many_comes_in_pieces(void **state)
{
    (void)state;
    w.inquiries.n_executors = 256;
    w.inquiries.is_over = true;
    struct grpc_reply *r = ask_probe();
    check_u64(count_messages(r), 1);
    check_true(r->body.len > 100000);
    check_text(r->grpc_status, "0");
}

static void pings_of_a_busy_client_are_no_attack(void **state)
{
    (void)state;
    ask_probe();
    for (int i = 0; i < 1000; i++) {
        fake_inquiry_add(w.inquiries.latest, 1, false);
        run();
        grpc_client_ping(&w.client);
        grpc_client_ping(&w.client);
        run();
    }
    check_false(w.client.has_goaway);
    for (int i = 0; i < 200; i++)
        grpc_client_ping(&w.client);
    run();
    check_true(w.client.has_goaway);
    check_u64(w.inquiries.closed, 1);
    check_u64(w.stats.bad_requests, 1);
    check_u64(w.ops->phase(w.session), HTTPD_CONN_LINGERING);
    pass(2 * SEC);
    check_u64(w.ops->phase(w.session), HTTPD_CONN_ENDED);
}

/* ---- health ---- */

static void check_health(const struct grpc_reply *r, unsigned n, int serving)
{
    size_t at = 0, len = 0;
    const uint8_t *message = NULL;
    int told = -1;
    check_u64(count_messages(r), n);
    while (grpc_reply_message(r, &at, &message, &len))
        check_i64(grpc_read_health_response(message, len, &told), 0);
    check_i64(told, serving);
}

static void says_whether_it_serves(void **state)
{
    (void)state;
    check_health(ask(GRPC_HEALTH_CHECK, NULL, 0, "", 0), 1, GRPC_SERVING);
    check_health(ask(GRPC_HEALTH_CHECK, NULL, 0, "\x0a\x06prober", 8), 1,
                 GRPC_SERVING);
    check_health(
        ask(GRPC_HEALTH_CHECK, NULL, 0, "\x0a\x11prober.v1.Control", 19), 1,
        GRPC_SERVING);
    check_refused(ask(GRPC_HEALTH_CHECK, NULL, 0, "\x0a\1x", 3), "5",
                  "unknown service");
    w.api.is_draining = true;
    struct grpc_reply *r = ask(GRPC_HEALTH_CHECK, NULL, 0, "", 0);
    check_health(r, 1, GRPC_NOT_SERVING);
    check_text(r->grpc_status, "0");
}

static void watching_tells_of_a_drain(void **state)
{
    (void)state;
    struct grpc_reply *r = ask(GRPC_HEALTH_WATCH, good, 1, "", 0);
    struct grpc_reply *other = ask(GRPC_HEALTH_WATCH, good, 1, "\x0a\1x", 3);
    check_health(r, 1, GRPC_SERVING);
    check_health(other, 1, GRPC_SERVICE_UNKNOWN);
    for (int i = 0; i < 1000; i++)
        pass(CONTROL_CALLS_LOOK_NS);
    check_health(r, 1, GRPC_SERVING);
    w.api.is_draining = true;
    pass(CONTROL_CALLS_LOOK_NS);
    check_health(r, 2, GRPC_NOT_SERVING);
    check_health(other, 1, GRPC_SERVICE_UNKNOWN);
    check_false(r->is_ended);
}

/* ---- reflection ---- */

static void send_question(struct grpc_reply *r, const void *question,
                          size_t len, bool end)
{
    uint8_t body[8192];
    size_t size = frame(body, question, len);
    grpc_client_send(&w.client, r, body, size, end);
    run();
}

static void answers_each_question_at_once(void **state)
{
    (void)state;
    static const char *const paths[] = {REFLECT, REFLECT_ALPHA};
    for (size_t i = 0; i < 2; i++) {
        struct grpc_reply *r =
            grpc_client_call(&w.client, paths[i], good, 1, NULL, 0, false);
        run();
        check_u64(r->headers, 0);
        for (unsigned n = 1; n <= 20; n++) {
            send_question(r, "\x3a\0", 2, false);
            check_u64(count_messages(r), n);
            check_false(r->is_ended);
        }
        send_question(r, "\x22\1x", 3, true);
        check_u64(count_messages(r), 21);
        check_text(r->grpc_status, "0");
        check_u64(w.inquiries.action, ACTION_READ);
    }
}

static void questions_may_come_in_pieces(void **state)
{
    (void)state;
    struct grpc_reply *r =
        grpc_client_call(&w.client, REFLECT, good, 1, NULL, 0, false);
    uint8_t body[64];
    size_t len = frame(body, "\x3a\0", 2);
    memcpy(body + len, body, len);
    for (size_t i = 0; i < 2 * len; i++) {
        check_u64(count_messages(r), i / len);
        grpc_client_send(&w.client, r, body + i, 1, false);
        run();
    }
    check_u64(count_messages(r), 2);
    grpc_client_send(&w.client, r, body, 3, true);
    run();
    check_text(r->grpc_status, "13");
    check_text(r->grpc_message, "half a message");
}

/* What was answered does not count against what waits to be. */
static void any_number_of_long_questions_may_follow(void **state)
{
    (void)state;
    static uint8_t question[4003] = {0x22, 0xa0, 0x1f}; /* a symbol */
    memset(question + 3, 'x', sizeof(question) - 3);
    struct grpc_reply *r =
        grpc_client_call(&w.client, REFLECT, good, 1, NULL, 0, false);
    run();
    for (unsigned n = 1; n <= 20; n++) {
        send_question(r, question, sizeof(question), n == 20);
        check_u64(count_messages(r), n);
    }
    check_text(r->grpc_status, "0");
}

static void no_question_is_an_end(void **state)
{
    (void)state;
    struct grpc_reply *r =
        grpc_client_call(&w.client, REFLECT, good, 1, NULL, 0, true);
    run();
    check_refused(r, "0", "");
}

static void bad_questions_end_the_stream(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *status;
    } cases[] = {
        {"\1\0\0\0\0", 5, "13"},
        {"\0\0\0\x10\1", 5, "8"},
        {"\0\0\0\0\2\x22\5", 7, "13"},
    };
    for (size_t i = 0; i < 3; i++) {
        struct grpc_reply *r = grpc_client_call(
            &w.client, REFLECT, good, 1, cases[i].bytes, cases[i].len, false);
        run();
        check_text(r->grpc_status, cases[i].status);
        check_true(r->is_closed); /* although our side is open */
        check_u64(r->close_code, 0);
    }
}

static void a_deaf_reflection_client_is_bounded(void **state)
{
    (void)state;
    w.client.is_deaf = true;
    struct grpc_reply *r =
        grpc_client_call(&w.client, REFLECT, good, 1, NULL, 0, false);
    for (int i = 0; i < 4000 && !r->is_closed; i++)
        send_question(r, "\x1a\x17prober/v1/control.proto", 25, false);
    check_true(r->is_closed);
    check_u64(r->close_code, 11); /* ENHANCE_YOUR_CALM */
    check_true(r->body.len <= 65535);
}

/* Deaf ones keep what they were answered, and no rate applies to them. */
static void only_so_many_reflect_at_once(void **state)
{
    (void)state;
    struct grpc_reply *r[4];
    for (size_t i = 0; i < 4; i++)
        r[i] = grpc_client_call(&w.client, REFLECT, good, 1, NULL, 0, false);
    run();
    struct grpc_reply *more =
        grpc_client_call(&w.client, REFLECT_ALPHA, good, 1, NULL, 0, false);
    run();
    check_refused(more, "8", "too many of these at once");
    check_u64(ask_probe()->headers, 0);
    send_question(r[0], "\x3a\0", 2, true);
    check_text(r[0]->grpc_status, "0");
    more = grpc_client_call(&w.client, REFLECT, good, 1, NULL, 0, false);
    run();
    check_u64(more->headers, 0);
}

static void silence_ends_a_reflection(void **state)
{
    (void)state;
    struct grpc_reply *r =
        grpc_client_call(&w.client, REFLECT, good, 1, NULL, 0, false);
    run();
    pass(119 * SEC);
    send_question(r, "\x3a\0", 2, false);
    pass(119 * SEC);
    check_false(r->is_ended);
    pass(1 * SEC);
    check_text(r->grpc_status, "4");
}

/* ---- the connection ---- */

static void idles_out_with_goaway(void **state)
{
    (void)state;
    ask(GRPC_HEALTH_CHECK, NULL, 0, "", 0);
    check_u64(w.ops->phase(w.session), HTTPD_CONN_READING);
    check_u64(w.ops->waits_since(w.session), w.now_ns);
    check_u64(w.ops->deadline(w.session), w.now_ns + 10 * SEC);
    pass(10 * SEC);
    check_true(w.client.has_goaway);
    check_u64(w.ops->phase(w.session), HTTPD_CONN_LINGERING);
    check_u64(w.stats.timeouts, 0);
    pass(2 * SEC);
    check_u64(w.ops->phase(w.session), HTTPD_CONN_ENDED);
}

static void an_open_call_does_not_idle(void **state)
{
    (void)state;
    struct grpc_reply *r = ask_probe();
    check_u64(w.ops->waits_since(w.session), UINT64_MAX);
    check_u64(w.ops->deadline(w.session), UINT64_MAX);
    pass(3600 * SEC);
    fake_inquiry_add(w.inquiries.latest, 1, true);
    run();
    check_text(r->grpc_status, "0");
}

static void a_request_has_to_become_complete(void **state)
{
    (void)state;
    struct grpc_reply *other = ask_probe();
    struct grpc_reply *r =
        grpc_client_call(&w.client, PROBE, good, 1, "\0\0", 2, false);
    run();
    check_u64(w.ops->deadline(w.session), w.now_ns + 5 * SEC);
    pass(4 * SEC);
    grpc_client_send(&w.client, r, "\0", 1, false);
    run();
    pass(1 * SEC);
    check_true(r->is_closed);
    check_u64(r->close_code, 8);
    check_u64(w.stats.timeouts, 1);
    check_false(other->is_closed);
}

static void silence_before_the_first_request_ends_it(void **state)
{
    (void)state;
    run();
    check_u64(w.ops->deadline(w.session), w.now_ns + 5 * SEC);
    pass(5 * SEC);
    check_true(w.client.has_goaway);
    check_u64(w.stats.timeouts, 1);
    check_u64(w.ops->phase(w.session), HTTPD_CONN_LINGERING);
}

static void output_that_does_not_leave_aborts(void **state)
{
    (void)state;
    while (w.ops->wants_turn(w.session))
        w.ops->turn(w.session, w.now_ns);
    size_t len;
    check_true(w.ops->out(w.session, &len) != NULL);
    w.now_ns += 29 * SEC;
    w.ops->sent(w.session, 1, w.now_ns);
    check_u64(w.ops->deadline(w.session), w.now_ns + 30 * SEC);
    w.now_ns += 29 * SEC;
    w.ops->progress(w.session, w.now_ns);
    check_u64(w.ops->deadline(w.session), w.now_ns + 30 * SEC);
    w.now_ns += 30 * SEC;
    w.ops->expire(w.session, w.now_ns);
    check_u64(w.ops->phase(w.session), HTTPD_CONN_ABORTED);
    check_u64(w.stats.timeouts, 1);
}

static void output_that_trickles_away_aborts(void **state)
{
    (void)state;
    while (w.ops->wants_turn(w.session))
        w.ops->turn(w.session, w.now_ns);
    size_t len;
    check_true(w.ops->out(w.session, &len) != NULL);
    check_true(len > 8);
    uint64_t begun_ns = w.now_ns;
    for (unsigned i = 1; i <= 4; i++) {
        w.now_ns = begun_ns + i * 29 * SEC;
        w.ops->sent(w.session, 1, w.now_ns);
        w.ops->expire(w.session, w.now_ns);
        check_u64(w.ops->phase(w.session), HTTPD_CONN_ANSWERING);
    }
    check_u64(w.ops->deadline(w.session), begun_ns + 120 * SEC);
    w.now_ns = begun_ns + 120 * SEC;
    w.ops->expire(w.session, w.now_ns);
    check_u64(w.ops->phase(w.session), HTTPD_CONN_ABORTED);
    check_u64(w.stats.timeouts, 1);
}

/* Reading goes on into the buffer while output waits, and no further. */
static void a_stuck_reader_is_not_read_from(void **state)
{
    (void)state;
    while (w.ops->wants_turn(w.session))
        w.ops->turn(w.session, w.now_ns);
    size_t size, total = 0;
    uint8_t *space;
    while ((space = w.ops->space(w.session, &size))) {
        memset(space, 0, size);
        w.ops->received(w.session, size, w.now_ns);
        check_false(w.ops->wants_turn(w.session));
        total += size;
    }
    check_u64(total, 16384);
}

static void refusing_a_connection_takes_no_stream(void **state)
{
    (void)state;
    w.ops->refuse(w.session, w.now_ns);
    struct grpc_reply *r = ask_probe();
    check_true(w.client.has_goaway);
    check_u64(w.inquiries.started, 0);
    check_u64(r->headers, 0);
}

static void bytes_that_are_no_http2_get_a_goaway(void **state)
{
    (void)state;
    size_t size;
    uint8_t *space = w.ops->space(w.session, &size);
    memset(space, 'x', 100);
    w.ops->received(w.session, 100, w.now_ns);
    while (hear_some())
        ;
    check_true(w.client.has_goaway);
    check_u64(w.stats.bad_requests, 1);
    check_u64(w.ops->phase(w.session), HTTPD_CONN_LINGERING);
    /* What still comes is dropped, a megabyte of it. */
    for (size_t n = 0; n <= 1u << 20; n += size) {
        space = w.ops->space(w.session, &size);
        check_true(space != NULL);
        w.ops->received(w.session, size, w.now_ns);
    }
    check_u64(w.ops->phase(w.session), HTTPD_CONN_ENDED);
}

#define claim(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        claim(streams_samples_as_they_come),
        claim(refusals_become_statuses),
        claim(requests_that_make_no_sense_are_told),
        claim(asks_for_credentials),
        claim(what_a_page_asks_is_told_to_the_admission),
        claim(long_credentials_are_refused),
        claim(a_denied_target_is_said_once_and_plainly),
        claim(framing_rules),
        claim(a_body_too_large_is_refused),
        claim(unfinished_bodies_are_bounded_together),
        claim(other_content_types_are_not_ours),
        claim(a_supervisor_may_ask_in_plain_http),
        claim(a_reset_closes_the_inquiry),
        claim(a_lost_connection_closes_inquiries),
        claim(abandoning_closes_inquiries_at_once),
        claim(the_clients_deadline_is_kept),
        claim(a_deaf_client_stops_the_events),
        claim(a_client_that_stays_deaf_is_cut_off),
        claim(only_reading_keeps_a_deaf_client),
        claim(a_summary_of_many_comes_in_pieces),
        claim(pings_of_a_busy_client_are_no_attack),
        claim(says_whether_it_serves),
        claim(watching_tells_of_a_drain),
        claim(answers_each_question_at_once),
        claim(questions_may_come_in_pieces),
        claim(any_number_of_long_questions_may_follow),
        claim(no_question_is_an_end),
        claim(bad_questions_end_the_stream),
        claim(a_deaf_reflection_client_is_bounded),
        claim(only_so_many_reflect_at_once),
        claim(silence_ends_a_reflection),
        claim(idles_out_with_goaway),
        claim(an_open_call_does_not_idle),
        claim(a_request_has_to_become_complete),
        claim(silence_before_the_first_request_ends_it),
        claim(output_that_does_not_leave_aborts),
        claim(output_that_trickles_away_aborts),
        claim(a_stuck_reader_is_not_read_from),
        claim(refusing_a_connection_takes_no_stream),
        claim(bytes_that_are_no_http2_get_a_goaway),
    };
    return cmocka_run_group_tests_name("control_grpc", tests, NULL, NULL);
}
