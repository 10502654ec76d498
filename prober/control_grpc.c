#include "prober/control_grpc.h"

#include <stdlib.h>
#include <string.h>

#include "prober/control_calls.h"
#include "prober/control_pb.h"
#include "prober/control_private.h"

#define COUNT(a)          (sizeof(a) / sizeof((a)[0]))
#define AUTHORIZATION_MAX 512 /* as httpd.h has it */
/* Each keeps up to 64 KiB for who does not read its answers; no rate applies,
 * and to read is the least of all roles. */
#define REFLECTIONS_MAX 4

struct control_grpc {
    struct control_source *source;
    const struct httpd_peer *peer;
    struct h2_server *h2;
    struct control_calls *calls;
};

typedef void method(struct control_grpc *g, const struct h2_server_request *r,
                    uint64_t now_ns, uint64_t deadline_ns);

static void refuse(struct control_grpc *g, const struct h2_server_request *r,
                   enum grpc_status status, const char *message)
{
    control_call_refuse(g->h2, r->stream_id, status, message);
}

static void refuse_no_memory(struct control_grpc *g,
                             const struct h2_server_request *r)
{
    refuse(g, r, GRPC_RESOURCE_EXHAUSTED, "out of memory");
}

/* ---- credentials ---- */

static enum grpc_status status_of_http(unsigned status)
{
    switch (status) {
    case 400:
        return GRPC_INVALID_ARGUMENT;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_NOT_FOUND;
    case 409:
        return GRPC_FAILED_PRECONDITION;
    case 429:
        return GRPC_RESOURCE_EXHAUSTED;
    case 500:
        return GRPC_INTERNAL;
    case 503:
        return GRPC_UNAVAILABLE;
    default:
        return GRPC_UNKNOWN;
    }
}

/* May whoever asks this do that? If not it has been told so. */
static bool admit(struct control_grpc *g, const struct h2_server_request *r,
                  enum control_action action, struct principal *who)
{
    struct httpd_request request = {
        .path = r->path,
        .method = HTTPD_POST,
        .peer = g->peer,
        .authorization = r->authorization,
        .host = r->authority[0] ? r->authority : NULL,
        .origin = r->origin[0] ? r->origin : NULL,
        .content_type = r->content_type,
    };
    const char *code = "";
    unsigned status = control_admit(g->source, &request, action, who, &code);
    if (status == 0)
        return true;
    refuse(g, r, status_of_http(status), code);
    return false;
}

/* ---- messages ---- */

/* The one message of the request. False: it has been refused. */
static bool read_message(struct control_grpc *g,
                         const struct h2_server_request *r,
                         struct span *message)
{
    const uint8_t *data;
    size_t len;
    if (r->body_len > 0 && r->body[0] != 0) {
        refuse(g, r, GRPC_INTERNAL, "a compressed message");
        return false;
    }
    int err = grpc_read_frame(r->body, r->body_len, &data, &len);
    if (err == ERR_TOOBIG)
        refuse(g, r, GRPC_RESOURCE_EXHAUSTED, "message too large");
    else if (err)
        refuse(g, r, GRPC_INTERNAL, "not one whole message");
    *message = span_of(err ? NULL : data, err ? 0 : len);
    return err == 0;
}

/* ---- prober.v1.Control ---- */

static void start(struct control_grpc *g, const struct h2_server_request *r,
                  const struct inquiry_ask *ask, uint64_t deadline_ns)
{
    struct control_call *call = control_calls_probe(g->calls, r, deadline_ns);
    if (!call) {
        refuse_no_memory(g, r);
        return;
    }
    enum inquiry_refusal why = INQUIRY_FAILED;
    struct errmsg msg = {""};
    struct inquiry *inquiry = inquiry_start(
        g->source->inquiries, ask, control_call_wake, call, &why, &msg);
    if (inquiry) {
        control_call_take(call, inquiry);
        return;
    }
    control_call_drop(call);
    refuse(g, r, status_of_http(inquiry_refusal_status(why)),
           msg.text[0] ? msg.text : inquiry_refusal_text(why));
}

/* What was asked makes no sense. That is told as over HTTP, and as it is of
 * those who may not ask. */
static void turn_away(struct control_grpc *g, const struct inquiry_ask *ask)
{
    inquiries_turn_away(g->source->inquiries, inquiry_refusal_code(INQUIRY_BAD),
                        ask->peer, ask->who.name);
}

/* False: it has been refused. */
static bool read_ask(struct control_grpc *g, const struct h2_server_request *r,
                     struct inquiry_ask *ask)
{
    struct control_pb_request request;
    struct span message;
    struct errmsg msg = {""};
    if (!read_message(g, r, &message))
        return false;
    if (control_pb_read_request(message, &request))
        refuse(g, r, GRPC_INTERNAL, "malformed request");
    else if (control_pb_ask(&request, ask, &msg))
        refuse(g, r, GRPC_INVALID_ARGUMENT, msg.text);
    else
        return true;
    return false;
}

static void serve_probe(struct control_grpc *g,
                        const struct h2_server_request *r, uint64_t now_ns,
                        uint64_t deadline_ns)
{
    struct inquiry_ask ask = {0};
    char peer[CONTROL_PEER_SIZE];
    (void)now_ns;

    if (!admit(g, r, ACTION_PROBE_KNOWN, &ask.who))
        return;
    ask.peer = control_peer(g->peer, peer);
    if (read_ask(g, r, &ask))
        start(g, r, &ask, deadline_ns);
    else
        turn_away(g, &ask);
}

/* ---- grpc.health.v1.Health ---- */

static bool is_draining(void *arg)
{
    const struct control_source *s = arg;
    return s->api && s->api->is_draining;
}

static bool is_known(const char *service)
{
    static const char *const names[] = {"", "prober", "prober.v1.Control"};
    for (size_t i = 0; i < COUNT(names); i++) {
        if (strcmp(service, names[i]) == 0)
            return true;
    }
    return false;
}

static bool read_service(struct control_grpc *g,
                         const struct h2_server_request *r,
                         char service[GRPC_SERVICE_MAX + 1])
{
    struct span message;
    if (!read_message(g, r, &message))
        return false;
    int err = grpc_read_health_request(message.data, message.len, service);
    if (err == ERR_TOOBIG)
        service[0] = '?', service[1] = '\0'; /* we know none so long */
    else if (err)
        refuse(g, r, GRPC_INTERNAL, "malformed request");
    return !err || err == ERR_TOOBIG;
}

/* Without credentials: supervisors have none, and it says no more than that
 * somebody is at home. */
static void serve_check(struct control_grpc *g,
                        const struct h2_server_request *r, uint64_t now_ns,
                        uint64_t deadline_ns)
{
    char service[GRPC_SERVICE_MAX + 1];
    (void)now_ns, (void)deadline_ns;
    if (!read_service(g, r, service))
        return;
    if (!is_known(service)) {
        refuse(g, r, GRPC_NOT_FOUND, "unknown service");
        return;
    }
    static const struct h2_field fields[] = {
        {"content-type", "application/grpc"}};
    static const struct h2_field trailers[] = {{"grpc-status", "0"}};
    uint8_t body[32];
    struct wr w;
    wr_init_fixed(&w, body, sizeof(body));
    grpc_write_health_response(&w, is_draining(g->source) ? GRPC_NOT_SERVING
                                                          : GRPC_SERVING);
    struct h2_answer a = {
        .status = 200,
        .fields = fields,
        .n_fields = COUNT(fields),
        .body = body,
        .body_len = w.len,
        .trailers = trailers,
        .n_trailers = COUNT(trailers),
        .end = true,
    };
    if (h2_server_respond(g->h2, r->stream_id, &a))
        h2_server_cancel(g->h2, r->stream_id);
}

static void serve_watch(struct control_grpc *g,
                        const struct h2_server_request *r, uint64_t now_ns,
                        uint64_t deadline_ns)
{
    struct principal who;
    char service[GRPC_SERVICE_MAX + 1];
    (void)now_ns;
    if (!admit(g, r, ACTION_READ, &who) || !read_service(g, r, service))
        return;
    if (!control_calls_watch(g->calls, r, is_known(service), deadline_ns))
        refuse_no_memory(g, r);
}

/* ---- grpc.reflection ---- */

static void serve_reflection(struct control_grpc *g,
                             const struct h2_server_request *r, uint64_t now_ns,
                             uint64_t deadline_ns)
{
    struct principal who;
    if (!admit(g, r, ACTION_READ, &who))
        return;
    if (control_calls_reflections(g->calls) >= REFLECTIONS_MAX) {
        refuse(g, r, GRPC_RESOURCE_EXHAUSTED, "too many of these at once");
        return;
    }
    if (!control_calls_reflect(g->calls, r, now_ns, deadline_ns))
        refuse_no_memory(g, r);
}

/* ---- requests ---- */

#define REFLECTION_V1 \
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
#define REFLECTION_V1ALPHA \
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"

static const struct {
    const char *path;
    method *serve;
} methods[] = {
    {"/prober.v1.Control/Probe", serve_probe},
    {GRPC_HEALTH_CHECK, serve_check},
    {GRPC_HEALTH_WATCH, serve_watch},
    {REFLECTION_V1, serve_reflection},
    {REFLECTION_V1ALPHA, serve_reflection},
};

static bool is_streamed(const char *path)
{
    return strcmp(path, REFLECTION_V1) == 0 ||
           strcmp(path, REFLECTION_V1ALPHA) == 0;
}

/* "application/grpc", "application/grpc+proto", with parameters or without. */
static bool is_grpc(const struct h2_server_request *r)
{
    static const char type[] = "application/grpc";
    size_t n = sizeof(type) - 1;
    if (strcmp(r->method, "POST") != 0 || strncmp(r->content_type, type, n))
        return false;
    const char *rest = r->content_type + n;
    if (strncmp(rest, "+proto", 6) == 0)
        rest += 6;
    return *rest == '\0' || *rest == ';' || *rest == ' ';
}

/* The JSON is served over HTTP/1.1 only; but a supervisor may ask in its own
 * way whether we are there. */
static void answer_plain(struct control_grpc *g,
                         const struct h2_server_request *r)
{
    bool is_get = strcmp(r->method, "GET") == 0;
    bool is_head = strcmp(r->method, "HEAD") == 0;
    bool is_alive = strcmp(r->path, "/-/healthy") == 0 && (is_get || is_head);
    static const char alive[] = "ok\n";
    static const char other[] = "HTTP/2 is for gRPC here; use HTTP/1.1\n";
    static const struct h2_field fields[] = {{"content-type", "text/plain"},
                                             {"cache-control", "no-store"}};
    const char *text = is_alive ? alive : other;
    struct h2_answer a = {
        .status = is_alive            ? 200
                  : is_get || is_head ? 404
                                      : 415,
        .fields = fields,
        .n_fields = COUNT(fields),
        .body = (const uint8_t *)text,
        .body_len = is_head ? 0 : strlen(text),
        .end = true,
    };
    if (h2_server_respond(g->h2, r->stream_id, &a))
        h2_server_cancel(g->h2, r->stream_id);
}

static bool take_deadline(const struct h2_server_request *r, uint64_t now_ns,
                          uint64_t *deadline_ns)
{
    uint64_t timeout_ns;
    *deadline_ns = UINT64_MAX;
    if (!r->grpc_timeout[0])
        return true;
    if (grpc_parse_timeout(r->grpc_timeout, &timeout_ns))
        return false;
    if (__builtin_add_overflow(now_ns, timeout_ns, deadline_ns))
        *deadline_ns = UINT64_MAX;
    return true;
}

static void on_request(void *service, const struct h2_server_request *r,
                       uint64_t now_ns)
{
    struct control_grpc *g = service;
    uint64_t deadline_ns;
    if (!is_grpc(r)) {
        answer_plain(g, r);
        return;
    }
    if (r->grpc_encoding[0] && strcmp(r->grpc_encoding, "identity") != 0) {
        refuse(g, r, GRPC_UNIMPLEMENTED, "compression is not supported");
        return;
    }
    if (!take_deadline(r, now_ns, &deadline_ns)) {
        refuse(g, r, GRPC_INTERNAL, "malformed grpc-timeout");
        return;
    }
    for (size_t i = 0; i < COUNT(methods); i++) {
        if (strcmp(r->path, methods[i].path) == 0) {
            methods[i].serve(g, r, now_ns, deadline_ns);
            return;
        }
    }
    refuse(g, r, GRPC_UNIMPLEMENTED, "no such method");
}

/* ---- the service ---- */

static void *open_service(const struct httpd_conn_config *config,
                          const struct httpd_peer *peer,
                          struct httpd_h2 *session)
{
    struct control_grpc *g = calloc(1, sizeof(*g));
    if (!g)
        return NULL;
    g->source = config->arg;
    g->peer = peer;
    g->h2 = httpd_h2_server(session);
    g->calls = control_calls_open(&(struct control_calls_config){
        .session = session,
        .limits = config->limits,
        .stats = config->stats,
        .is_draining = is_draining,
        .arg = config->arg,
    });
    if (!g->calls) {
        free(g);
        return NULL;
    }
    return g;
}

static void close_service(void *service)
{
    struct control_grpc *g = service;
    control_calls_close(g->calls);
    free(g);
}

static bool work(void *service, uint64_t now_ns)
{
    struct control_grpc *g = service;
    return control_calls_work(g->calls, now_ns);
}

static size_t count_calls(const void *service)
{
    const struct control_grpc *g = service;
    return control_calls_count(g->calls);
}

static uint64_t deadline(const void *service)
{
    const struct control_grpc *g = service;
    return control_calls_deadline(g->calls);
}

static const struct httpd_h2_service service_ops = {
    .open = open_service,
    .close = close_service,
    .request = on_request,
    .work = work,
    .calls = count_calls,
    .deadline = deadline,
};

/* Room for the questions that a reflection client sends ahead; an inquiry is
 * one message. */
static const struct h2_limits h2_limits = {
    .streams_max = 64,
    .header_list_max = 16384,
    .glitches_max = 100,
    .body_max = 16384,
    .bodies_max = 65536, /* they are kept before anybody has said who it is */
    .authorization_max = AUTHORIZATION_MAX,
    .is_streamed = is_streamed,
};

static void *open_session(const struct httpd_conn_config *config,
                          const struct httpd_peer *peer,
                          struct httpd_waker *waker, uint64_t now_ns)
{
    return httpd_h2_open(&service_ops, &h2_limits, config, peer, waker, now_ns);
}

const struct httpd_session_ops control_grpc_ops = {
    .open = open_session,
    .close = httpd_h2_close,
    .abandon = httpd_h2_abandon,
    .refuse = httpd_h2_refuse,
    .space = httpd_h2_space,
    .received = httpd_h2_received,
    .eof = httpd_h2_eof,
    .wants_turn = httpd_h2_wants_turn,
    .turn = httpd_h2_turn,
    .out = httpd_h2_out,
    .sent = httpd_h2_sent,
    .progress = httpd_h2_progress,
    .phase = httpd_h2_phase,
    .waits_since = httpd_h2_waits_since,
    .deadline = httpd_h2_deadline,
    .expire = httpd_h2_expire,
};
