#include "prober/responder.h"

#include <stdio.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/grpc.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char ok_body[] = "ok\n";

void responder_timing(uint64_t took_ns, char text[RESPONDER_TIMING_SIZE])
{
    snprintf(text, RESPONDER_TIMING_SIZE, "app;dur=%llu.%06llu",
             (unsigned long long)(took_ns / 1000000u),
             (unsigned long long)(took_ns % 1000000u));
}

/* ---- HTTP/1.1 ---- */

static bool text_is(struct http1_text text, const char *want)
{
    return text.len == strlen(want) && !memcmp(text.data, want, text.len);
}

/* The path without a query. */
static struct http1_text path_of(struct http1_text target)
{
    const char *query = memchr(target.data, '?', target.len);
    if (query)
        target.len = (size_t)(query - target.data);
    return target;
}

static unsigned http1_status(const struct http1 *r, bool is_draining)
{
    if (!text_is(path_of(r->target), RESPONDER_PATH))
        return 404;
    if (!text_is(r->method, "GET") && !text_is(r->method, "HEAD"))
        return 405;
    return is_draining ? 503 : 200;
}

bool responder_http1(const struct http1 *request,
                     const struct responder_facts *f, struct wr *out)
{
    unsigned status = http1_status(request, f->is_draining);
    bool is_head = text_is(request->method, "HEAD");
    bool keep = request->is_keep_alive && !f->is_draining;
    const char *body = status == 200 ? ok_body : "";
    char timing[RESPONDER_TIMING_SIZE];
    char extra[96];

    responder_timing(f->took_ns, timing);
    snprintf(extra, sizeof(extra), "Server-Timing: %s\r\n%s", timing,
             status == 405 ? "Allow: GET, HEAD\r\n" : "");
    http1_write_response(out, status, "text/plain", strlen(body), keep, extra);
    if (!is_head)
        wr_text(out, body);
    return keep;
}

/* Which limit it was stands in the parser's words only: a head can be too
 * large long after its method was read. */
static bool is_body_refused(const struct http1 *request)
{
    return !strncmp(request->error, "body", 4);
}

void responder_http1_refuse(const struct http1 *request, struct wr *out)
{
    unsigned status = 400;
    if (request->err == ERR_TOOBIG)
        status = is_body_refused(request) ? 413 : 431;
    http1_write_response(out, status, NULL, 0, false, NULL);
}

/* ---- HTTP/2 ---- */

static int answer_plain(struct h2_server *h2, const struct h2_server_request *r,
                        unsigned status, const struct responder_facts *f)
{
    char timing[RESPONDER_TIMING_SIZE];
    responder_timing(f->took_ns, timing);
    struct h2_field fields[] = {
        {"content-type", "text/plain"},
        {"server-timing", timing},
    };
    bool has_body = status == 200 && strcmp(r->method, "HEAD") != 0;
    struct h2_answer a = {
        .status = status,
        .fields = fields,
        .n_fields = COUNT(fields),
        .body = (const uint8_t *)ok_body,
        .body_len = has_body ? sizeof(ok_body) - 1 : 0,
        .end = true,
    };
    return h2_server_respond(h2, r->stream_id, &a);
}

/* gRPC failure: trailers-only, one HEADERS frame. */
static int answer_grpc_error(struct h2_server *h2, int32_t stream_id,
                             enum grpc_status status, const char *message,
                             const struct responder_facts *f)
{
    char code[8], timing[RESPONDER_TIMING_SIZE];
    snprintf(code, sizeof(code), "%d", (int)status);
    responder_timing(f->took_ns, timing);
    struct h2_field fields[] = {
        {"content-type", "application/grpc"},
        {"grpc-status", code},
        {"grpc-message", message},
        {"server-timing", timing},
    };
    struct h2_answer a = {
        .status = 200,
        .fields = fields,
        .n_fields = COUNT(fields),
        .end = true,
    };
    return h2_server_respond(h2, stream_id, &a);
}

static enum grpc_serving serving_now(const struct responder_facts *f)
{
    return f->is_draining ? GRPC_NOT_SERVING : GRPC_SERVING;
}

static int answer_health(struct h2_server *h2, int32_t stream_id,
                         enum grpc_serving serving, bool end,
                         const struct responder_facts *f)
{
    uint8_t body[32];
    struct wr w;
    char timing[RESPONDER_TIMING_SIZE];
    wr_init_fixed(&w, body, sizeof(body));
    grpc_write_health_response(&w, serving);
    responder_timing(f->took_ns, timing);
    static const struct h2_field fields[] = {
        {"content-type", "application/grpc"},
    };
    struct h2_field trailers[] = {
        {"grpc-status", "0"},
        {"server-timing", timing},
    };
    struct h2_answer a = {
        .status = 200,
        .fields = fields,
        .n_fields = COUNT(fields),
        .body = body,
        .body_len = w.len,
        .trailers = trailers,
        .n_trailers = end ? COUNT(trailers) : 0,
        .end = end,
    };
    return h2_server_respond(h2, stream_id, &a);
}

static bool is_known(const char *service)
{
    return !service[0] || !strcmp(service, "prober");
}

static int serve_health(struct h2_server *h2, const struct h2_server_request *r,
                        const struct responder_facts *f, bool *is_watch)
{
    bool wants_watch = !strcmp(r->path, GRPC_HEALTH_WATCH);
    char service[GRPC_SERVICE_MAX + 1];
    const uint8_t *message;
    size_t len;

    if (!wants_watch && strcmp(r->path, GRPC_HEALTH_CHECK) != 0)
        return answer_grpc_error(h2, r->stream_id, GRPC_UNIMPLEMENTED,
                                 "no such method", f);
    if (r->grpc_encoding[0] && strcmp(r->grpc_encoding, "identity") != 0)
        return answer_grpc_error(h2, r->stream_id, GRPC_UNIMPLEMENTED,
                                 "compression is not supported", f);
    int rc = grpc_read_frame(r->body, r->body_len, &message, &len);
    if (rc == ERR_TOOBIG)
        return answer_grpc_error(h2, r->stream_id, GRPC_RESOURCE_EXHAUSTED,
                                 "message too large", f);
    if (rc || grpc_read_health_request(message, len, service))
        return answer_grpc_error(h2, r->stream_id, GRPC_INTERNAL,
                                 "malformed request", f);
    if (wants_watch) {
        *is_watch = true;
        return answer_health(h2, r->stream_id,
                             is_known(service) ? serving_now(f)
                                               : GRPC_SERVICE_UNKNOWN,
                             false, f);
    }
    if (!is_known(service))
        return answer_grpc_error(h2, r->stream_id, GRPC_NOT_FOUND,
                                 "unknown service", f);
    return answer_health(h2, r->stream_id, serving_now(f), true, f);
}

int responder_h2(struct h2_server *h2, const struct h2_server_request *request,
                 const struct responder_facts *f, bool *is_watch)
{
    static const char grpc_type[] = "application/grpc";
    const struct h2_server_request *r = request;
    *is_watch = false;

    if (!strncmp(r->content_type, grpc_type, sizeof(grpc_type) - 1) &&
        !strcmp(r->method, "POST"))
        return serve_health(h2, r, f, is_watch);

    size_t path_len = strcspn(r->path, "?");
    bool is_probe = path_len == strlen(RESPONDER_PATH) &&
                    !strncmp(r->path, RESPONDER_PATH, path_len);
    unsigned status = f->is_draining ? 503 : 200;
    if (!is_probe)
        status = strcmp(r->method, "POST") ? 404 : 415;
    else if (strcmp(r->method, "GET") && strcmp(r->method, "HEAD"))
        status = 405;
    return answer_plain(h2, r, status, f);
}

int responder_h2_update(struct h2_server *h2, int32_t stream_id,
                        const struct responder_facts *f)
{
    uint8_t body[32];
    struct wr w;
    wr_init_fixed(&w, body, sizeof(body));
    grpc_write_health_response(&w, serving_now(f));
    struct h2_answer a = {.body = body, .body_len = w.len};
    return h2_server_more(h2, stream_id, &a);
}
