#include "proto/h2.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/grpc.h"
#include "proto/h2_session.h"

#define HEADER_LIST_MAX    16384
#define INFORMATIONAL_MAX  8    /* 1xx answers to one request */
#define GLITCHES_MAX       1000 /* since the latest request */
#define OUTBOUND_ACK_MAX   100
#define GOAWAY_TEXT_MAX    64
#define REQUEST_FIELDS_MAX 10

struct h2_client {
    nghttp2_session *session;
    struct wr out;
    struct h2_walk walk;
    int32_t stream_id; /* of the latest request, 0: not sent */
    bool out_taken;    /* `out` was lent by h2_client_out() */
    bool began, began_now;
    bool has_final; /* the final HEADERS are complete */
    bool saw_settings;
    bool has_failed;
    uint32_t informational, glitches, header_bytes;
    /* What is still to be sent of the request's body. It is the caller's
     * during h2_client_request(), then a copy, which `owned` is to free. */
    const uint8_t *body;
    size_t body_left;
    uint8_t *owned;
    struct h2_response response;
};

_Static_assert(sizeof(struct h2_client) <= 2048, "held once per target");

static struct h2_client *client_of(void *user_data)
{
    return user_data;
}

__attribute__((format(printf, 2, 3))) static void
explain(struct h2_client *c, const char *format, ...)
{
    if (c->response.error[0])
        return; /* the first reason is the reason */
    va_list args;
    va_start(args, format);
    vsnprintf(c->response.error, sizeof(c->response.error), format, args);
    va_end(args);
}

/* The request ends here, unless it has ended before. */
static void finish(struct h2_client *c, enum h2_result result, uint32_t code)
{
    if (c->response.result != H2_PENDING)
        return;
    c->response.result = result;
    c->response.error_code = code;
}

/* The session ends here. */
static void fail(struct h2_client *c, uint32_t code)
{
    c->has_failed = true;
    if (!c->saw_settings)
        explain(c, "the peer does not begin with SETTINGS, so it does not "
                   "speak HTTP/2");
    finish(c, H2_PROTOCOL, code);
}

static bool is_ours(const struct h2_client *c, int32_t stream_id)
{
    return c->stream_id > 0 && stream_id == c->stream_id;
}

static bool is_pending(const struct h2_client *c, int32_t stream_id)
{
    return is_ours(c, stream_id) && c->response.result == H2_PENDING;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream_id,
                         uint8_t *buf, size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *user_data)
{
    (void)session, (void)stream_id, (void)source;
    struct h2_client *c = client_of(user_data);
    size_t n = c->body_left < size ? c->body_left : size;
    if (n > 0)
        memcpy(buf, c->body, n);
    c->body += n;
    c->body_left -= n;
    if (c->body_left == 0)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

static int on_begin_headers(nghttp2_session *session,
                            const nghttp2_frame *frame, void *user_data)
{
    (void)session, (void)frame;
    client_of(user_data)->header_bytes = 0;
    return 0;
}

static void keep_field(struct h2_response *r, const uint8_t *name, size_t n,
                       const uint8_t *value, size_t len)
{
    if (h2_is_name(name, n, "content-type"))
        h2_copy_text(r->content_type, sizeof(r->content_type), value, len);
    else if (h2_is_name(name, n, "server-timing"))
        h2_copy_text(r->server_timing, sizeof(r->server_timing), value, len);
    else if (h2_is_name(name, n, "grpc-status"))
        h2_copy_text(r->grpc_status, sizeof(r->grpc_status), value, len);
    else if (h2_is_name(name, n, "grpc-message"))
        h2_copy_text(r->grpc_message, sizeof(r->grpc_message), value, len);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
                     const uint8_t *name, size_t name_len, const uint8_t *value,
                     size_t value_len, uint8_t flags, void *user_data)
{
    (void)session, (void)flags;
    struct h2_client *c = client_of(user_data);
    struct h2_response *r = &c->response;

    /* The way RFC 9113 6.5.2 counts; nghttp2 announces but does not enforce
     * it. Each length is below 2^17, so the sum cannot wrap. */
    c->header_bytes += (uint32_t)(name_len + value_len + 32);
    if (c->header_bytes > HEADER_LIST_MAX) {
        explain(c, "the header list is larger than %d bytes", HEADER_LIST_MAX);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (!is_pending(c, frame->hd.stream_id))
        return 0;

    /* nghttp2 lets :status pass once per response, as three digits. */
    if (h2_is_name(name, name_len, ":status") && value_len == 3) {
        r->status = (unsigned)(value[0] - '0') * 100 +
                    (unsigned)(value[1] - '0') * 10 +
                    (unsigned)(value[2] - '0');
        if (r->status < 100) { /* nghttp2 takes any three digits */
            explain(c, "the status is %03u", r->status);
            r->status = 0;
            return NGHTTP2_ERR_CALLBACK_FAILURE;
        }
        r->has_headers = r->status >= 200;
    } else {
        keep_field(r, name, name_len, value, value_len);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                   const uint8_t *data, size_t len, void *user_data)
{
    (void)flags;
    struct h2_client *c = client_of(user_data);
    struct h2_response *r = &c->response;
    if (!is_pending(c, stream_id))
        return 0;

    size_t room = sizeof(r->body) - r->body_len;
    size_t n = len < room ? len : room;
    memcpy(r->body + r->body_len, data, n);
    r->body_len += n;
    r->body_bytes += len;
    if (r->body_bytes > H2_BODY_MAX) {
        explain(c, "the body is larger than %d bytes", H2_BODY_MAX);
        finish(c, H2_PROTOCOL, NGHTTP2_CANCEL);
        if (nghttp2_submit_rst_stream(session, 0, stream_id, NGHTTP2_CANCEL))
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return 0;
}

/* A 1xx answer announces another one: forget what it said. */
static int forget_informational(struct h2_client *c)
{
    struct h2_response *r = &c->response;
    if (++c->informational > INFORMATIONAL_MAX) {
        explain(c, "more than %d informational answers", INFORMATIONAL_MAX);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    *r = (struct h2_response){.result = H2_PENDING};
    return 0;
}

static int on_stream_frame(struct h2_client *c, const nghttp2_frame *frame)
{
    struct h2_response *r = &c->response;
    bool is_end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;

    if (frame->hd.type == NGHTTP2_HEADERS) {
        if (!r->has_headers)
            return forget_informational(c);
        r->has_trailers = c->has_final;
        r->is_trailers_only = !c->has_final && is_end;
        c->has_final = true;
    }
    if (is_end)
        finish(c, H2_OK, NGHTTP2_NO_ERROR);
    return 0;
}

static void on_goaway(struct h2_client *c, const nghttp2_goaway *g)
{
    if (c->stream_id <= g->last_stream_id)
        return;

    char text[GOAWAY_TEXT_MAX + 1];
    h2_copy_text(text, sizeof(text), g->opaque_data, g->opaque_data_len);
    if (c->response.result == H2_PENDING)
        explain(c, "the peer went away: %s%s%s",
                nghttp2_http2_strerror(g->error_code), text[0] ? ", " : "",
                text);
    finish(c, H2_GOAWAY, g->error_code);
}

static void on_reset(struct h2_client *c, uint32_t code)
{
    bool is_refused = code == NGHTTP2_REFUSED_STREAM;
    if (c->response.result == H2_PENDING)
        explain(c, "the peer reset the stream: %s",
                nghttp2_http2_strerror(code));
    finish(c, is_refused ? H2_REFUSED : H2_RESET, code);
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame,
                         void *user_data)
{
    (void)session;
    struct h2_client *c = client_of(user_data);

    if (frame->hd.type == NGHTTP2_SETTINGS)
        c->saw_settings = true;
    else if (frame->hd.type == NGHTTP2_GOAWAY)
        on_goaway(c, &frame->goaway);
    else if (!is_pending(c, frame->hd.stream_id))
        return 0;
    else if (frame->hd.type == NGHTTP2_RST_STREAM)
        on_reset(c, frame->rst_stream.error_code);
    else if (frame->hd.type == NGHTTP2_HEADERS ||
             frame->hd.type == NGHTTP2_DATA)
        return on_stream_frame(c, frame);
    return 0;
}

static int on_invalid_frame(nghttp2_session *session,
                            const nghttp2_frame *frame, int error,
                            void *user_data)
{
    (void)session;
    struct h2_client *c = client_of(user_data);
    if (is_pending(c, frame->hd.stream_id)) {
        explain(c, "bad response: %s", nghttp2_strerror(error));
        finish(c, H2_PROTOCOL, NGHTTP2_PROTOCOL_ERROR);
    }
    return 0;
}

/* The only GOAWAY a client session sends is nghttp2's, when the peer broke
 * the protocol; its text says how. */
static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame,
                         void *user_data)
{
    (void)session;
    struct h2_client *c = client_of(user_data);
    if (frame->hd.type != NGHTTP2_GOAWAY)
        return 0;

    char text[GOAWAY_TEXT_MAX + 1];
    h2_copy_text(text, sizeof(text), frame->goaway.opaque_data,
                 frame->goaway.opaque_data_len);
    c->has_failed = true;
    if (c->saw_settings && c->response.result == H2_PENDING)
        explain(c, "the peer broke the protocol: %s%s%s",
                nghttp2_http2_strerror(frame->goaway.error_code),
                text[0] ? ", " : "", text);
    fail(c, frame->goaway.error_code);
    return 0;
}

/* Whatever closes our stream before its end, and was not noticed above, is a
 * reset by nghttp2 for what the peer sent. */
static int on_stream_close(nghttp2_session *session, int32_t stream_id,
                           uint32_t code, void *user_data)
{
    (void)session;
    struct h2_client *c = client_of(user_data);
    if (is_pending(c, stream_id)) {
        explain(c, "bad response: %s", nghttp2_http2_strerror(code));
        finish(c, H2_PROTOCOL, code);
    }
    return 0;
}

static nghttp2_session_callbacks *new_callbacks(void)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb))
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb,
                                                            on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
        cb, on_invalid_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    return cb;
}

/* Both objects are copied from and needed no longer. That they are made anew
 * each time is the price of having no globals; it is small beside the 16 KiB
 * that nghttp2 allocates for a session. */
static nghttp2_session *new_session(struct h2_client *c)
{
    nghttp2_session *session = NULL;
    nghttp2_option *option = NULL;
    nghttp2_session_callbacks *cb = new_callbacks();
    if (!cb || nghttp2_option_new(&option))
        goto out;
    nghttp2_option_set_max_outbound_ack(option, OUTBOUND_ACK_MAX);
    /* Nothing is remembered of what we send: 1.6 KiB per session saved, at
     * the price of some 80 bytes more in a segment that is half empty. */
    nghttp2_option_set_max_deflate_dynamic_table_size(option, 0);
    nghttp2_option_set_max_reserved_remote_streams(option, 0);
    if (nghttp2_session_client_new2(&session, cb, c, option))
        session = NULL;
out:
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    return session;
}

static void drop_taken(struct h2_client *c)
{
    if (c->out_taken)
        wr_reset(&c->out);
    c->out_taken = false;
}

/* Serialise eagerly: then everything that was asked for is one piece, and
 * errors that nghttp2 only finds while sending are known at once. */
static int pump(struct h2_client *c)
{
    drop_taken(c);
    int err = h2_pump(c->session, &c->out);
    if (err) {
        explain(c, "cannot send: %s", err_name(err));
        fail(c, NGHTTP2_INTERNAL_ERROR);
    }
    return err;
}

struct h2_client *h2_client_open(void)
{
    static const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST_MAX},
    };
    struct h2_client *c = calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    wr_init_grow(&c->out, H2_OUT_MAX);
    c->response.result = H2_OK; /* nothing is pending */
    c->session = new_session(c);
    if (!c->session ||
        nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, settings,
                                sizeof(settings) / sizeof(settings[0])) ||
        pump(c)) {
        h2_client_close(c);
        return NULL;
    }
    return c;
}

void h2_client_close(struct h2_client *c)
{
    if (!c)
        return;
    nghttp2_session_del(c->session);
    wr_fini(&c->out);
    free(c->owned);
    free(c);
}

struct fields {
    nghttp2_nv nv[REQUEST_FIELDS_MAX];
    size_t n;
};

/* `name` is a literal and is not copied by nghttp2, the value is. */
static void add_field(struct fields *f, const char *name, const char *value)
{
    assert(f->n < REQUEST_FIELDS_MAX);
    f->nv[f->n++] = (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME,
    };
}

static bool is_valid_request(const struct h2_request *r)
{
    const uint8_t *authority = (const uint8_t *)r->authority;
    const uint8_t *path = (const uint8_t *)r->path;
    return r->path[0] && nghttp2_check_path(path, strlen(r->path)) &&
           r->authority[0] &&
           nghttp2_check_authority(authority, strlen(r->authority)) &&
           r->body_len <= H2_REQUEST_BODY_MAX;
}

static int32_t submit(struct h2_client *c, const struct h2_request *r)
{
    char timeout[GRPC_TIMEOUT_SIZE];
    struct fields f = {.n = 0};
    add_field(&f, ":method", r->method);
    add_field(&f, ":scheme", r->scheme);
    add_field(&f, ":authority", r->authority);
    add_field(&f, ":path", r->path);
    if (r->is_grpc) {
        add_field(&f, "te", "trailers");
        add_field(&f, "content-type", "application/grpc");
        if (r->timeout_ns > 0) {
            grpc_format_timeout(r->timeout_ns, timeout);
            add_field(&f, "grpc-timeout", timeout);
        }
    } else {
        add_field(&f, "accept-encoding", "identity");
    }
    add_field(&f, "user-agent", "prober/" PROBER_VERSION);

    nghttp2_data_provider body = {.read_callback = read_body};
    return nghttp2_submit_request(c->session, NULL, f.nv, f.n,
                                  r->body_len > 0 ? &body : NULL, NULL);
}

/* The peer's flow control kept a part of the body back. Rare (the window is
 * 64 KiB unless the peer says otherwise), so a copy is made only now. */
static int keep_body(struct h2_client *c)
{
    c->owned = malloc(c->body_left);
    if (!c->owned)
        return ERR_NOMEM;
    memcpy(c->owned, c->body, c->body_left);
    c->body = c->owned;
    return 0;
}

static void begin_request(struct h2_client *c)
{
    free(c->owned);
    c->owned = NULL;
    c->body_left = 0;
    c->stream_id = 0;
    c->began = c->began_now = c->has_final = false;
    c->informational = c->glitches = 0;
    c->response = (struct h2_response){.result = H2_PENDING};
}

static bool has_no_streams(const struct h2_client *c)
{
    return nghttp2_session_get_remote_settings(
               c->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) == 0;
}

int h2_client_request(struct h2_client *c, const struct h2_request *r)
{
    if (c->response.result == H2_PENDING)
        return ERR_BUSY;
    /* After a GOAWAY nghttp2 allows none. */
    if (c->has_failed || !nghttp2_session_check_request_allowed(c->session))
        return ERR_CLOSED;
    if (!is_valid_request(r))
        return ERR_BAD;

    begin_request(c);
    if (has_no_streams(c)) {
        explain(c, "the peer allows no streams");
        finish(c, H2_REFUSED, NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    c->body = r->body;
    c->body_left = r->body_len;
    int32_t stream_id = submit(c, r);
    int err = stream_id < 0 ? ERR_NOMEM : 0;
    if (!err) {
        c->stream_id = stream_id;
        err = pump(c);
    }
    if (!err && c->body_left > 0)
        err = keep_body(c);
    if (err) {
        /* Half a request may be queued, with a body that is not ours. */
        c->body_left = 0;
        explain(c, "no memory for the request");
        fail(c, NGHTTP2_INTERNAL_ERROR);
        return ERR_NOMEM;
    }
    return 0;
}

static int count_head(struct h2_client *c, const struct h2_head *h)
{
    if (h->type == NGHTTP2_HEADERS && !c->began &&
        h->stream == (uint32_t)c->stream_id && c->stream_id > 0 &&
        c->response.result == H2_PENDING)
        c->began = c->began_now = true;
    if (h2_is_glitch(h) && ++c->glitches > GLITCHES_MAX) {
        explain(c, "more than %d frames without use", GLITCHES_MAX);
        return ERR_BAD;
    }
    return 0;
}

static int feed_piece(struct h2_client *c, const uint8_t *data, size_t len)
{
    ssize_t n = nghttp2_session_mem_recv(c->session, data, len);
    if (n < 0)
        explain(c, "%s", nghttp2_strerror((int)n));
    return n < 0 ? ERR_BAD : 0;
}

/* The answer may be complete while the peer's window still holds back a part
 * of the question: take the question back, so that the next one can begin. */
static int end_stream(struct h2_client *c)
{
    if (c->stream_id > 0 && c->response.result != H2_PENDING &&
        nghttp2_session_get_stream_local_close(c->session, c->stream_id) == 0) {
        c->body_left = 0;
        if (nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE,
                                      c->stream_id, NGHTTP2_CANCEL))
            return ERR_NOMEM;
    }
    return pump(c);
}

int h2_client_feed(struct h2_client *c, const void *data, size_t len)
{
    c->began_now = false;
    if (c->has_failed)
        return ERR_BAD;

    const uint8_t *p = data;
    int err = 0;
    while (len > 0 && !err) {
        struct h2_head head;
        bool is_head;
        size_t n = h2_walk_on(&c->walk, p, len, &head, &is_head);
        if (is_head)
            err = count_head(c, &head);
        if (!err)
            err = feed_piece(c, p, n);
        p += n;
        len -= n;
    }
    if (err)
        fail(c, NGHTTP2_PROTOCOL_ERROR);
    else if (end_stream(c) && !c->has_failed)
        fail(c, NGHTTP2_INTERNAL_ERROR);
    return c->has_failed ? ERR_BAD : 0;
}

bool h2_client_response_began(const struct h2_client *c)
{
    return c->began_now;
}

const struct h2_response *h2_client_response(const struct h2_client *c)
{
    return &c->response;
}

void h2_client_cancel(struct h2_client *c)
{
    if (c->response.result != H2_PENDING)
        return;
    explain(c, "cancelled");
    finish(c, H2_RESET, NGHTTP2_CANCEL);
    c->body_left = 0;
    if (nghttp2_submit_rst_stream(c->session, NGHTTP2_FLAG_NONE, c->stream_id,
                                  NGHTTP2_CANCEL))
        fail(c, NGHTTP2_INTERNAL_ERROR);
    else
        pump(c);
}

bool h2_client_is_usable(const struct h2_client *c)
{
    return !c->has_failed && !has_no_streams(c) &&
           nghttp2_session_check_request_allowed(c->session);
}

const uint8_t *h2_client_out(struct h2_client *c, size_t *len)
{
    if (c->has_failed)
        drop_taken(c);
    else
        pump(c);
    *len = c->out.len;
    c->out_taken = true;
    return *len > 0 ? c->out.data : NULL;
}
