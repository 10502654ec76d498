/* The control port's views: who gets in, what is answered, line by line. */
#include <jansson.h> /* first, see proto/json.h */

#include "prober/control.h"

#include "prober/httpd_query.h"
#include "test/api_world.h"
#include "test/inquiry_world.h"

#define CONTENT_MAX (8u << 20)

struct cw {
    struct iw host;
    struct world world;
    struct control_source source;
    int reload_result;
    const char *changed;
    const char *complaints;
    unsigned reloads, drains;
};

/* One request and what comes of it. */
struct exchange {
    struct httpd_query q;
    struct httpd_peer peer;
    struct httpd_answer answer;
    struct httpd_waker waker;
    struct wr got;
    bool is_ready, is_over;
    unsigned wakes, slices;
    size_t slice_max;
};

static int do_reload(void *arg, char **errors, char **changed)
{
    struct cw *c = arg;
    c->reloads++;
    *errors = c->complaints ? strdup(c->complaints) : NULL;
    *changed = c->changed ? strdup(c->changed) : NULL;
    return c->reload_result;
}

static void do_drain(void *arg)
{
    struct cw *c = arg;
    c->drains++;
}

static const char *const hosts[] = {"prober.example", "alias.example:7999"};

static int setup(void **state)
{
    struct cw *c = calloc(1, sizeof(*c));
    struct errmsg msg;
    if (!c)
        return -1;
    iw_init(&c->host);
    world_init(&c->world);
    c->source = (struct control_source){
        .inquiries = c->host.all,
        .principals = c->host.principals,
        .audit = audit_open("/dev/null", &msg),
        .api = &c->world.source,
        .hosts = hosts,
        .n_hosts = 2,
        .reload = do_reload,
        .drain = do_drain,
        .arg = c,
        .now_ns = iw_now,
    };
    *state = c;
    return 0;
}

static int teardown(void **state)
{
    struct cw *c = *state;
    iw_fini(&c->host);
    world_fini(&c->world);
    audit_close(c->source.audit);
    free(c);
    return 0;
}

static void on_wake(struct httpd_waker *waker)
{
    struct exchange *x =
        (void *)((char *)waker - offsetof(struct exchange, waker));
    x->wakes++;
}

/* As the server: on until it waits or is over. */
static void go(struct exchange *x)
{
    struct httpd_answer *a = &x->answer;
    struct wr slice;
    int rc = 0;
    while (!x->is_ready && a->prepare && (rc = a->prepare(a->state, a)) == 1)
        ;
    if (rc == HTTPD_WAIT)
        return;
    check_i64(rc, 0);
    x->is_ready = true;
    wr_init_grow(&slice, 65536);
    if (a->text)
        wr_text(&x->got, a->text);
    do {
        wr_reset(&slice);
        rc = a->body ? a->body(a->state, &slice) : 0;
        check_true(rc >= 0);
        check_i64(wr_err(&slice), 0);
        wr_bytes(&x->got, slice.data, slice.len);
        x->slices++;
        x->slice_max = slice.len > x->slice_max ? slice.len : x->slice_max;
    } while (rc == 1);
    wr_fini(&slice);
    x->is_over = rc == 0;
}

/* On the unix socket by the user 1000 + role; 0: somebody unknown. */
static struct exchange *exchange_open(enum httpd_method method,
                                      const char *target, int role)
{
    struct exchange *x = calloc(1, sizeof(*x));
    check_true(x != NULL);
    check_i64(httpd_query_decode(&x->q, target, strlen(target), NULL), 0);
    x->peer = (struct httpd_peer){
        .is_local = true, .uid = 1000 + (uint32_t)role, .pid = 9};
    x->q.request.method = method;
    x->q.request.is_head = method == HTTPD_HEAD;
    x->q.request.peer = &x->peer;
    x->q.request.waker = &x->waker;
    x->waker.wake = on_wake;
    wr_init_grow(&x->got, CONTENT_MAX);
    return x;
}

static void exchange_close(struct exchange *x)
{
    httpd_answer_fini(&x->answer);
    wr_fini(&x->got);
    free(x);
}

/* From TCP: with the certificate, NULL: without one. */
static void set_tcp(struct exchange *x, const char *certificate)
{
    x->peer = (struct httpd_peer){.is_tls = true};
    check_i64(addr_parse(&x->peer.addr, "10.0.0.9:4711"), 0);
    x->q.request.host = "10.0.0.1:7071";
    if (certificate) {
        x->peer.n_names = 1;
        strcpy(x->peer.names[0], certificate);
    }
}

static void set_body(struct exchange *x, const char *body)
{
    x->q.request.body = body;
    x->q.request.body_len = strlen(body);
    x->q.request.content_type = "application/json";
}

static void run(struct cw *c, struct exchange *x)
{
    control_handle(&c->source, &x->q.request, &x->answer);
    go(x);
}

static const char *text_of(struct exchange *x)
{
    wr_u8(&x->got, '\0');
    check_i64(wr_err(&x->got), 0);
    x->got.len--;
    return (const char *)x->got.data;
}

static void check_reply(struct exchange *x, unsigned status, const char *code)
{
    char wanted[128];
    if (x->answer.status != status)
        print_error("%s\n", text_of(x));
    check_u64(x->answer.status, status);
    check_true(x->is_over);
    if (!code)
        return;
    snprintf(wanted, sizeof(wanted), "{\"error\":{\"code\":\"%s\",", code);
    if (strncmp(text_of(x), wanted, strlen(wanted)) != 0)
        print_error("%s is not %s\n", text_of(x), wanted);
    check_true(strncmp(text_of(x), wanted, strlen(wanted)) == 0);
    check_text(x->answer.content_type, "application/json");
}

static void check_one(struct cw *c, enum httpd_method method,
                      const char *target, int role, unsigned status,
                      const char *code)
{
    struct exchange *x = exchange_open(method, target, role);
    run(c, x);
    check_reply(x, status, code);
    exchange_close(x);
}

/* ---- who gets in ---- */

static void health_is_for_everybody(void **state)
{
    struct cw *c = *state;
    struct exchange *x = exchange_open(HTTPD_GET, "/-/healthy", 0);
    set_tcp(x, NULL);
    x->q.request.host = "anything";
    run(c, x);
    check_reply(x, 200, NULL);
    check_text(text_of(x), "ok\n");
    exchange_close(x);
    check_one(c, HTTPD_HEAD, "/-/healthy", 0, 200, NULL);
    check_one(c, HTTPD_POST, "/-/healthy", 0, 405, "method_not_allowed");
    check_u64(iw_log_count(&c->host, "refused"), 0);
}

static void strangers_learn_nothing(void **state)
{
    struct cw *c = *state;
    static const char *const targets[] = {
        "/",         "/v1/status", "/v1/nothing", "/v1/probes/1",
        "/api/v1/x", "/metrics",   "/v1/reload",
    };
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
        for (int m = HTTPD_GET; m <= HTTPD_DELETE; m++)
            check_one(c, (enum httpd_method)m, targets[i], 0, 403,
                      "unauthorized");
        struct exchange *x = exchange_open(HTTPD_GET, targets[i], 0);
        set_tcp(x, "somebody.test");
        run(c, x);
        check_reply(x, 401, "unauthorized");
        check_text(x->answer.extra, "WWW-Authenticate: Bearer\r\n");
        exchange_close(x);
    }
    check_u64(c->reloads, 0);
    /* All of them are told, in two lines at first: one an address. */
    check_u64(iw_log_count(&c->host, "refused code=unauthorized"), 2);
    iw_turn(&c->host, IW_S);
    check_u64(iw_log_count(&c->host, "refused code=unauthorized"), 4);
    check_u64(iw_log_count(&c->host, "count=27\n"), 1);
    check_u64(iw_log_count(&c->host, "count=6\n"), 1);
}

static void wrong_tokens_lock_out(void **state)
{
    struct cw *c = *state;
    for (int i = 0; i < 6; i++) {
        struct exchange *x = exchange_open(HTTPD_GET, "/v1/status", 0);
        set_tcp(x, NULL);
        x->q.request.authorization = "Bearer AAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        run(c, x);
        if (i < 5)
            check_reply(x, 401, "unauthorized");
        else
            check_reply(x, 429, "locked_out");
        exchange_close(x);
    }
}

static void pages_are_refused(void **state)
{
    struct cw *c = *state;
    static const char *const origins[] = {"http://evil.example", "null", "",
                                          "http://localhost:7071"};
    for (int tcp = 0; tcp < 2; tcp++) {
        for (size_t i = 0; i < 4; i++) {
            struct exchange *x =
                exchange_open(HTTPD_POST, "/v1/drain", ROLE_ADMIN);
            if (tcp)
                set_tcp(x, "prober.test");
            x->q.request.origin = origins[i];
            run(c, x);
            check_reply(x, 403, "forbidden_origin");
            exchange_close(x);
        }
    }
    check_u64(c->drains, 0);
    check_true(iw_log_count(&c->host, "refused code=forbidden_origin") > 0);
}

static void host_has_to_be_one_of_ours(void **state)
{
    struct cw *c = *state;
    static const struct {
        const char *host;
        bool is_good;
    } rows[] = {
        {"10.0.0.1", true},
        {"10.0.0.1:7071", true},
        {"[::1]:7071", true},
        {"[fd00::1]", true},
        {"localhost", true},
        {"LocalHost:1", true},
        {"localhost.", true},
        {"a-1", true},
        {"A-1:7071", true},
        {"prober.example", true},
        {"prober.example:7071", true},
        {"Prober.Example.", true},
        {"alias.example:7999", true},
        {NULL, false},
        {"", false},
        {":7071", false},
        {"evil.example", false},
        {"a-1.evil.example", false},
        {"xprober.example", false},
        {"prober.exampl", false},
        {"alias.example:7998", false},
        {"localhost.evil.example", false},
        {"10.0.0.1.evil.example", false},
        {"10.0.0.1:7071:1", false},
        {"10.0.0.1:7071x", false},
        {"::1", false},
        {"[::1", false},
        {"[::1]x", false},
        {"0x7f000001", false},
        {"127.1", false},
        {"a-1@evil.example", false},
        {"localhost ", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct exchange *x = exchange_open(HTTPD_GET, "/v1/status", 0);
        set_tcp(x, "viewer.test");
        x->q.request.host = rows[i].host;
        run(c, x);
        if ((x->answer.status == 200) != rows[i].is_good)
            print_error("Host: %s\n", rows[i].host ? rows[i].host : "(none)");
        if (rows[i].is_good)
            check_reply(x, 200, NULL);
        else
            check_reply(x, 403, "forbidden_host");
        exchange_close(x);
    }
    /* On a unix socket there is no page. */
    check_one(c, HTTPD_GET, "/v1/status", ROLE_VIEWER, 200, NULL);
}

static void body_has_to_be_json(void **state)
{
    struct cw *c = *state;
    static const struct {
        const char *type;
        unsigned status;
    } rows[] = {
        {"application/json", 404},
        {"Application/JSON; charset=utf-8", 404},
        {"application/json ;x", 404},
        {NULL, 403},
        {"", 403},
        {"application/jsonp", 403},
        {"application/x-www-form-urlencoded", 403},
        {"multipart/form-data", 403},
        {"text/plain", 403},
        {"text/plain;application/json", 403},
    };
    c->host.found = ONEOFF_BAD_TARGET;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct exchange *x =
            exchange_open(HTTPD_POST, "/v1/probes", ROLE_PROBER);
        set_body(x, "{\"target\":\"nobody\"}");
        x->q.request.content_type = rows[i].type;
        run(c, x);
        check_reply(x, rows[i].status,
                    rows[i].status == 403 ? "forbidden_content_type"
                                          : "not_found");
        exchange_close(x);
    }
}

/* Nothing is looked at before what comes before it. */
static void checks_come_in_their_order(void **state)
{
    struct cw *c = *state;
    struct exchange *x = exchange_open(HTTPD_POST, "/v1/probes", 0);
    static const char *const codes[] = {
        "forbidden_origin", "forbidden_host",         "unauthorized",
        "forbidden",        "forbidden_content_type", "bad_request"};
    for (int step = 0; step < 6; step++) {
        set_tcp(x, NULL);
        set_body(x, "{}");
        x->q.request.content_type =
            step < 5 ? "text/plain" : "application/json";
        x->q.request.origin = step < 1 ? "http://evil.example" : NULL;
        if (step < 2)
            x->q.request.host = "evil.example";
        x->peer.n_names = step >= 3;
        strcpy(x->peer.names[0], step == 3 ? "viewer.test" : "prober.test");
        run(c, x);
        check_reply(x, step == 2 ? 401 : step == 5 ? 400 : 403, codes[step]);
        httpd_answer_fini(&x->answer);
        wr_reset(&x->got);
        x->is_ready = x->is_over = false;
    }
    exchange_close(x);
}

static void each_role_has_its_routes(void **state)
{
    struct cw *c = *state;
    static const struct {
        enum httpd_method method;
        const char *target;
        unsigned statuses[4]; /* viewer, runner, prober, admin */
    } rows[] = {
        {HTTPD_GET, "/v1/status", {200, 200, 200, 200}},
        {HTTPD_GET, "/api/v1/status", {200, 200, 200, 200}},
        {HTTPD_HEAD, "/api/v1/matrix", {200, 200, 200, 200}},
        {HTTPD_GET, "/v1/nothing", {404, 404, 404, 404}},
        {HTTPD_POST, "/v1/probes", {403, 400, 400, 400}},
        {HTTPD_DELETE, "/v1/probes/00", {403, 404, 404, 404}},
        {HTTPD_POST, "/v1/reload", {403, 403, 403, 200}},
        {HTTPD_POST, "/v1/drain", {403, 403, 403, 202}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int role = ROLE_VIEWER; role <= ROLE_ADMIN; role++)
            check_one(c, rows[i].method, rows[i].target, role,
                      rows[i].statuses[role - 1],
                      rows[i].statuses[role - 1] == 403 ? "forbidden" : NULL);
    }
    check_u64(c->reloads, 1);
    check_u64(c->drains, 1);
}

static void methods_are_those_of_the_route(void **state)
{
    struct cw *c = *state;
    static const struct {
        const char *target, *allow;
        unsigned good; /* bits */
    } rows[] = {
        {"/v1/probes", "Allow: POST\r\n", 1 << HTTPD_POST},
        {"/v1/probes/x", "Allow: DELETE\r\n", 1 << HTTPD_DELETE},
        {"/v1/reload", "Allow: POST\r\n", 1 << HTTPD_POST},
        {"/v1/drain", "Allow: POST\r\n", 1 << HTTPD_POST},
        {"/v1/status", "Allow: GET, HEAD\r\n", 3},
        {"/api/v1/members", "Allow: GET, HEAD\r\n", 3},
        {"/metrics", "Allow: GET, HEAD\r\n", 3},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (unsigned m = HTTPD_GET; m <= HTTPD_DELETE; m++) {
            if (rows[i].good & (1u << m))
                continue;
            struct exchange *x =
                exchange_open((enum httpd_method)m, rows[i].target, ROLE_ADMIN);
            run(c, x);
            check_reply(x, 405, "method_not_allowed");
            check_text(x->answer.extra, rows[i].allow);
            exchange_close(x);
        }
    }
    check_u64(c->reloads + c->drains, 0);
}

static void other_paths_are_not_there(void **state)
{
    struct cw *c = *state;
    static const char *const targets[] = {
        "/",          "/v1",          "/v1/probes/",  "/v1/probes/a/b",
        "/v1/statuz", "/v1/status/",  "/-/healthy/x", "/livez",
        "/api/v1/",   "/api/v1/nope", "/metrics/x",   "/v1/probes%2Fa",
    };
    for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
        check_one(c, HTTPD_GET, targets[i], ROLE_ADMIN, 404, "not_found");
}

/* ---- probes ---- */

static struct exchange *probe(struct cw *c, const char *body)
{
    struct exchange *x = exchange_open(HTTPD_POST, "/v1/probes", ROLE_PROBER);
    set_body(x, body);
    run(c, x);
    return x;
}

static void one_probe_is_two_lines(void **state)
{
    struct cw *c = *state;
    struct exchange *x =
        probe(c, "{\"target\":\"http://b.test/\",\"count\":2}");
    check_false(x->is_ready); /* it may still be denied */
    check_true(x->answer.is_live);
    check_text(x->answer.field,
               "Prober-Probe-Id: 02020202020202020202020202020202");
    iw_local_sample(&c->host, 0, 4000000, OUTCOME_OK);
    check_u64(x->wakes, 0);
    iw_turn(&c->host, 0);
    check_u64(x->wakes, 1);
    go(x);
    check_true(x->is_ready);
    check_false(x->is_over);
    check_u64(x->answer.status, 200);
    check_text(x->answer.content_type, "application/x-ndjson");
    const char *text = text_of(x);
    check_true(strstr(text, "{\"target\":\"http://b.test:80/\"") == text);
    check_true(strstr(text, "\"from\":{\"node\":\"a-1\",\"zone\":\"a\"}"));
    check_true(strchr(text, '\n') == text + strlen(text) - 1);
    wr_reset(&x->got);

    iw_local_end(&c->host, 0, ONEOFF_DONE, 1);
    iw_turn(&c->host, 0);
    check_u64(x->wakes, 2);
    go(x);
    check_true(x->is_over);
    check_text(text_of(x),
               "{\"summary\":{\"id\":\"02020202020202020202020202020202\","
               "\"target\":\"http://b.test/\",\"protocol\":\"http1\","
               "\"mode\":\"cold\",\"cancelled\":false,\"attempts\":1,\"ok\":1,"
               "\"failed\":0,\"outcomes\":{\"ok\":1},\"from\":{\"a-1\":{"
               "\"zone\":\"a\",\"state\":\"done\",\"attempts\":1,\"ok\":1,"
               "\"missed\":1,\"phases\":{"
               "\"connect\":{\"count\":1,\"p50\":4000000,\"p90\":4000000,"
               "\"p99\":4000000,\"max\":4000000},"
               "\"local\":{\"count\":1,\"p50\":1000,\"p90\":1000,\"p99\":1000,"
               "\"max\":1000},"
               "\"total\":{\"count\":1,\"p50\":4001000,\"p90\":4001000,"
               "\"p99\":4001000,\"max\":4001000}},\"baseline\":null}}}}\n");
    exchange_close(x);
    check_u64(iw_log_count(&c->host, "probe_begin"), 1);
    check_u64(iw_log_count(&c->host, "probe_end"), 1);
}

static void from_elsewhere_streams_at_once(void **state)
{
    struct cw *c = *state;
    iw_set_executors(&c->host, 3);
    struct exchange *x =
        probe(c, "{\"target\":\"http://b.test/\",\"from\":\"all-zones\"}");
    check_true(x->is_ready);
    check_u64(x->got.len, 0);
    inquiries_remote_lost(c->host.all, 1, 3);
    inquiries_remote_end(c->host.all, 1, ONEOFF_UNREACHABLE, 0);
    iw_turn(&c->host, 0);
    go(x);
    check_text(text_of(x), "{\"executor\":{\"node\":\"c-1\",\"zone\":\"c\","
                           "\"state\":\"unreachable\",\"attempts\":0,\"ok\":0,"
                           "\"missed\":0,\"lost\":3}}\n");
    exchange_close(x);
}

/* A host, a port, a name, here or found by a lookup: the same bytes, and not
 * a word of which. */
static void denials_are_all_the_same(void **state)
{
    struct cw *c = *state;
    static const char *const bodies[] = {
        "{\"target\":\"http://169.254.169.254/latest\"}",
        "{\"target\":\"https://10.0.0.1:22/\"}",
        "{\"target\":\"grpc://inside.example:9000\",\"count\":9}",
        "{\"target\":\"http://rebinding.example/\",\"mode\":\"warm\"}",
    };
    char first[512] = "";
    for (size_t i = 0; i < 4; i++) {
        c->host.start_state = i < 3 ? ONEOFF_DENIED : ONEOFF_RUNNING;
        struct exchange *x = probe(c, bodies[i]);
        if (i == 3)
            iw_local_end(&c->host, 0, ONEOFF_DENIED, 0);
        check_false(x->is_ready);
        iw_turn(&c->host, 200 * IW_MS - 1);
        check_u64(x->wakes, 0);
        iw_turn(&c->host, 1);
        check_u64(x->wakes, 1);
        go(x);
        check_reply(x, 403, "denied");
        check_text(x->answer.field, "");
        check_true(x->answer.extra == NULL && !x->answer.is_live);
        if (i == 0)
            snprintf(first, sizeof(first), "%s", text_of(x));
        check_text(text_of(x), first);
        exchange_close(x);
    }
    check_u64(iw_log_count(&c->host, "executors=a-1:denied"), 4);
    check_true(c->host.all->list == NULL);
}

static void refusals_have_their_answers(void **state)
{
    struct cw *c = *state;
    static const char ok[] = "{\"target\":\"http://b.test/\"}";
    struct exchange *x = probe(c, "{\"target\":\"http://b.test/\",\"x\":1}");
    check_reply(x, 400, "bad_request");
    check_true(strstr(text_of(x), "x: there is no such key") != NULL);
    exchange_close(x);
    check_u64(iw_log_count(&c->host, "refused code=bad_request"), 1);
    check_u64(iw_log_count(&c->host, "principal=uid:1003"), 1);
    x = probe(c, "{\"target\":\"http://user@b.test/\"}");
    check_reply(x, 400, "bad_request");
    exchange_close(x);
    c->host.is_audit_broken = true;
    x = probe(c, ok);
    check_reply(x, 503, "no_audit");
    exchange_close(x);
    c->host.is_audit_broken = false;
    c->host.has_mesh = false;
    x = probe(c, "{\"target\":\"http://b.test/\",\"from\":\"all-zones\"}");
    check_reply(x, 409, "no_mesh");
    exchange_close(x);
    c->host.all->is_draining = true;
    x = probe(c, ok);
    check_reply(x, 503, "draining");
    exchange_close(x);
    c->host.all->is_draining = false;
    /* Two of the ten were taken by what could not be done. */
    for (int i = 0; i < 8; i++)
        exchange_close(probe(c, ok));
    x = probe(c, ok);
    check_reply(x, 429, "rate_limited");
    exchange_close(x);
    check_u64(c->host.n_runs, 8);
}

static void client_that_goes_ends_it(void **state)
{
    struct cw *c = *state;
    struct exchange *x = probe(c, "{\"target\":\"http://b.test/\"}");
    exchange_close(x);
    check_true(c->host.runs[0].is_cancelled);
    iw_finish_cancelled(&c->host);
    iw_turn(&c->host, IW_S);
    check_true(c->host.all->list == NULL);
    check_u64(iw_log_count(&c->host, "cancelled=yes"), 1);
}

/* Each executor with all its phases and a baseline: pieces of bounded size,
 * and together one line. */
static void long_summaries_come_in_pieces(void **state)
{
    struct cw *c = *state;
    iw_set_executors(&c->host, REMOTE_EXECUTORS_MAX);
    struct exchange *x =
        probe(c, "{\"target\":\"http://b.test/\",\"from\":\"all-zones\"}");
    struct inquiry *q = c->host.all->list;
    for (uint32_t i = 0; i < REMOTE_EXECUTORS_MAX; i++) {
        struct inquiry_executor *e = &q->executors[i];
        memset(e->zone, '\x01', sizeof(e->zone) - 1);
        e->has_baseline = true;
        for (unsigned k = 0; k < SERIES_N; k++) {
            e->baseline[k] = (struct inquiry_phase){
                INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
            check_i64(hist_add(&e->series[k], 63999999999), 0);
        }
        if (i > 0)
            inquiries_remote_end(c->host.all, i - 1, ONEOFF_DONE, UINT32_MAX);
    }
    iw_local_end(&c->host, 0, ONEOFF_DONE, 0);
    iw_turn(&c->host, 0);
    go(x);
    check_true(x->is_over);
    check_true(x->slices > 5);
    check_true(x->slice_max <= 32768 + HTTPD_PIECE_MAX);
    json_error_t error;
    json_t *j =
        json_loadb(text_of(x), x->got.len, JSON_REJECT_DUPLICATES, &error);
    check_true(j != NULL);
    json_t *from = json_object_get(json_object_get(j, "summary"), "from");
    check_u64(json_object_size(from), REMOTE_EXECUTORS_MAX);
    json_t *b = json_object_get(json_object_get(from, "b-1"), "baseline");
    check_u64(json_object_size(json_object_get(b, "phases")), SERIES_N);
    json_decref(j);
    exchange_close(x);
}

static void cancel_is_by_id(void **state)
{
    struct cw *c = *state;
    struct exchange *x = probe(c, "{\"target\":\"http://b.test/\"}");
    char target[96] = "/v1/probes/";
    strcat(target, strchr(x->answer.field, ' ') + 1);
    check_one(c, HTTPD_DELETE, "/v1/probes/ff", ROLE_PROBER, 404, "not_found");
    check_one(c, HTTPD_DELETE, target, ROLE_RUNNER, 403, "forbidden");
    check_u64(iw_log_count(&c->host, "refused code=not_found"), 1);
    check_u64(iw_log_count(&c->host, "refused code=forbidden"), 1);
    check_false(c->host.runs[0].is_cancelled);
    struct exchange *d = exchange_open(HTTPD_DELETE, target, ROLE_PROBER);
    run(c, d);
    check_reply(d, 200, NULL);
    check_text(text_of(d), "{\"cancelled\":true,\"id\":"
                           "\"02020202020202020202020202020202\"}\n");
    exchange_close(d);
    /* Again is no harm and no news, so there is no second line about it. */
    d = exchange_open(HTTPD_DELETE, target, ROLE_ADMIN);
    run(c, d);
    check_reply(d, 200, NULL);
    exchange_close(d);
    iw_finish_cancelled(&c->host);
    iw_turn(&c->host, 0);
    go(x);
    check_true(x->is_over);
    check_true(strstr(text_of(x), "\"cancelled\":true") != NULL);
    check_u64(iw_log_count(&c->host, "cancel principal=uid:1003"), 1);
    check_u64(iw_log_count(&c->host, "cancel principal="), 1);
    exchange_close(x);
}

/* ---- the rest ---- */

static void reload_tells_what_changed_or_all_complaints(void **state)
{
    struct cw *c = *state;
    struct exchange *x = exchange_open(HTTPD_POST, "/v1/reload", ROLE_ADMIN);
    run(c, x);
    check_reply(x, 200, NULL);
    check_text(text_of(x), "{\"reloaded\":true,\"changed\":[]}\n");
    exchange_close(x);
    c->changed = "log.level\npeers\n";
    x = exchange_open(HTTPD_POST, "/v1/reload", ROLE_ADMIN);
    run(c, x);
    check_reply(x, 200, NULL);
    check_text(text_of(x), "{\"reloaded\":true,"
                           "\"changed\":[\"log.level\",\"peers\"]}\n");
    exchange_close(x);
    c->changed = NULL;
    c->reload_result = ERR_BAD;
    c->complaints = "f:1:2: no \"x\"\nf:3:4: bad\n";
    x = exchange_open(HTTPD_POST, "/v1/reload", ROLE_ADMIN);
    run(c, x);
    check_reply(x, 422, "bad_configuration");
    check_text(text_of(x),
               "{\"error\":{\"code\":\"bad_configuration\","
               "\"message\":\"f:1:2: no \\\"x\\\"\","
               "\"complaints\":[\"f:1:2: no \\\"x\\\"\",\"f:3:4: bad\"]}}\n");
    exchange_close(x);
    c->reload_result = ERR_BUSY;
    check_one(c, HTTPD_POST, "/v1/reload", ROLE_ADMIN, 409, "busy");
    /* Nothing is wrong with the file: another node has to be asked. */
    c->reload_result = ERR_CLOSED;
    c->complaints = "f: this node is draining\n";
    check_one(c, HTTPD_POST, "/v1/reload", ROLE_ADMIN, 503, "draining");
    c->reload_result = ERR_SYS;
    c->complaints = NULL;
    x = exchange_open(HTTPD_POST, "/v1/reload", ROLE_ADMIN);
    run(c, x);
    check_reply(x, 500, "reload_failed");
    check_true(strstr(text_of(x), "could not be applied: ") != NULL);
    check_true(strstr(text_of(x), err_name(ERR_SYS)) != NULL);
    exchange_close(x);
    check_u64(iw_log_count(&c->host, "reload principal=uid:1004 role=admin "
                                     "peer=unix uid=1004 pid=9\n"),
              6);
    /* The log itself may be what it is about. */
    c->host.is_audit_broken = true;
    c->reload_result = 0;
    check_one(c, HTTPD_POST, "/v1/reload", ROLE_ADMIN, 200, NULL);
}

static void drain_is_accepted(void **state)
{
    struct cw *c = *state;
    struct exchange *x = exchange_open(HTTPD_POST, "/v1/drain", ROLE_ADMIN);
    run(c, x);
    check_reply(x, 202, NULL);
    check_text(text_of(x), "{\"draining\":true}\n");
    exchange_close(x);
    check_u64(c->drains, 1);
    check_u64(iw_log_count(&c->host, "drain principal=uid:1004"), 1);
}

static void status_says_how_it_goes(void **state)
{
    struct cw *c = *state;
    exchange_close(probe(c, "{\"target\":\"http://b.test/\"}"));
    check_one(c, HTTPD_GET, "/v1/status", 0, 403, "unauthorized");
    c->source.reloads = 2;
    c->source.reload_failures = 1;
    strcpy(c->host.config->control.listen, "unix:/run/x.sock");
    struct exchange *x = exchange_open(HTTPD_GET, "/v1/status", ROLE_VIEWER);
    run(c, x);
    check_reply(x, 200, NULL);
    check_text(
        text_of(x),
        "{\"node\":\"a-1\",\"zone\":\"a\",\"region\":\"r1\","
        "\"version\":\"0.0.0\",\"uptime_s\":60,\"ready\":true,"
        "\"draining\":false,\"control\":{\"listen\":\"unix:/run/x.sock\","
        "\"requests\":1,\"refused\":{\"unauthorized\":1},\"cancelled\":1,"
        "\"slow_readers\":0,\"open\":0,\"running\":0,\"in_flight\":3,"
        "\"attempts\":7,"
        "\"denied\":2,\"audit\":{\"ok\":true,\"failures\":0}},"
        "\"reload\":{\"count\":2,\"failures\":1,\"last_at\":null,"
        "\"last_ok\":null}}\n");
    exchange_close(x);
    c->source.last_reload_unix_ns = world_now_unix();
    x = exchange_open(HTTPD_GET, "/v1/status", ROLE_VIEWER);
    run(c, x);
    check_true(strstr(text_of(x), "\"last_at\":\"2026-01-01T00:00:05.000Z\","
                                  "\"last_ok\":false") != NULL);
    exchange_close(x);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(health_is_for_everybody),
        CASE(strangers_learn_nothing),
        CASE(wrong_tokens_lock_out),
        CASE(pages_are_refused),
        CASE(host_has_to_be_one_of_ours),
        CASE(body_has_to_be_json),
        CASE(checks_come_in_their_order),
        CASE(each_role_has_its_routes),
        CASE(methods_are_those_of_the_route),
        CASE(other_paths_are_not_there),
        CASE(one_probe_is_two_lines),
        CASE(from_elsewhere_streams_at_once),
        CASE(denials_are_all_the_same),
        CASE(refusals_have_their_answers),
        CASE(client_that_goes_ends_it),
        CASE(long_summaries_come_in_pieces),
        CASE(cancel_is_by_id),
        CASE(reload_tells_what_changed_or_all_complaints),
        CASE(drain_is_accepted),
        CASE(status_says_how_it_goes),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
