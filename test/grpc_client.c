#include "test/grpc_client.h"

#undef NGHTTP2_NO_SSIZE_T
#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX (16u << 20)

static struct grpc_reply *find(struct grpc_client *c, int32_t id)
{
    return nghttp2_session_get_stream_user_data(c->session, id);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
                     const uint8_t *name, size_t name_len, const uint8_t *value,
                     size_t len, uint8_t flags, void *user)
{
    (void)session, (void)flags;
    struct grpc_reply *r = find(user, frame->hd.stream_id);
    assert(r);
    char text[256];
    snprintf(text, sizeof(text), "%.*s", (int)len, (const char *)value);
    char key[64];
    snprintf(key, sizeof(key), "%.*s", (int)name_len, (const char *)name);
    if (strcmp(key, ":status") == 0)
        r->status = (unsigned)atoi(text);
    else if (strcmp(key, "content-type") == 0)
        snprintf(r->content_type, sizeof(r->content_type), "%.60s", text);
    else if (strcmp(key, "grpc-status") == 0)
        snprintf(r->grpc_status, sizeof(r->grpc_status), "%.7s", text);
    else if (strcmp(key, "grpc-message") == 0)
        snprintf(r->grpc_message, sizeof(r->grpc_message), "%s", text);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id,
                   const uint8_t *data, size_t len, void *user)
{
    (void)flags;
    struct grpc_client *c = user;
    struct grpc_reply *r = find(c, id);
    assert(r);
    wr_bytes(&r->body, data, len);
    assert(!wr_err(&r->body));
    if (!c->is_deaf) {
        nghttp2_session_consume(session, id, len);
        r->consumed += len;
    }
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame,
                    void *user)
{
    (void)session;
    struct grpc_client *c = user;
    struct grpc_reply *r = find(c, frame->hd.stream_id);
    if (frame->hd.type == NGHTTP2_GOAWAY)
        c->has_goaway = true;
    if (r && frame->hd.type == NGHTTP2_HEADERS)
        r->headers++;
    if (r && frame->hd.type <= NGHTTP2_HEADERS &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        r->is_ended = true;
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t code,
                    void *user)
{
    (void)session;
    struct grpc_reply *r = find(user, id);
    if (r) {
        r->is_closed = true;
        r->close_code = code;
    }
    return 0;
}

void grpc_client_init(struct grpc_client *c)
{
    nghttp2_session_callbacks *cb;
    nghttp2_option *option;
    nghttp2_session *session;
    *c = (struct grpc_client){0};
    int err = nghttp2_session_callbacks_new(&cb);
    assert(!err);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_close);
    err = nghttp2_option_new(&option);
    assert(!err);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    err = nghttp2_session_client_new2(&session, cb, c, option);
    assert(!err);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    err = nghttp2_submit_settings(session, 0, NULL, 0);
    assert(!err);
    c->session = session;
}

void grpc_client_fini(struct grpc_client *c)
{
    nghttp2_session_del(c->session);
    for (size_t i = 0; i < c->n; i++) {
        wr_fini(&c->replies[i]->body);
        wr_fini(&c->replies[i]->out);
        free(c->replies[i]);
    }
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *buf,
                         size_t size, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    (void)session, (void)id, (void)user;
    struct grpc_reply *r = source->ptr;
    size_t left = r->out.len - r->out_pos;
    size_t n = left < size ? left : size;
    if (n > 0)
        memcpy(buf, r->out.data + r->out_pos, n);
    r->out_pos += n;
    if (n == left && r->is_out_end)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    else if (n == 0)
        return NGHTTP2_ERR_DEFERRED;
    return (ssize_t)n;
}

static size_t set(nghttp2_nv *nv, size_t n, const char *name, const char *value)
{
    size_t i = 0;
    while (i < n && strcmp((const char *)nv[i].name, name) != 0)
        i++;
    nv[i] = (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
    };
    return i == n ? n + 1 : n;
}

struct grpc_reply *grpc_client_call(struct grpc_client *c, const char *path,
                                    const struct h2_field *fields, size_t n,
                                    const void *body, size_t len, bool end)
{
    nghttp2_nv nv[32];
    size_t count = 0;
    count = set(nv, count, ":method", "POST");
    count = set(nv, count, ":scheme", "http");
    count = set(nv, count, ":path", path);
    count = set(nv, count, ":authority", "localhost");
    count = set(nv, count, "content-type", "application/grpc");
    count = set(nv, count, "te", "trailers");
    for (size_t i = 0; i < n; i++)
        count = set(nv, count, fields[i].name, fields[i].value);

    assert(c->n < GRPC_CLIENT_STREAMS);
    struct grpc_reply *r = calloc(1, sizeof(*r));
    assert(r);
    c->replies[c->n++] = r;
    wr_init_grow(&r->body, BODY_MAX);
    wr_init_grow(&r->out, BODY_MAX);
    wr_bytes(&r->out, body, len);
    r->is_out_end = end;
    nghttp2_data_provider data = {.source.ptr = r, .read_callback = read_body};
    r->stream_id =
        nghttp2_submit_request(c->session, NULL, nv, count, &data, r);
    assert(r->stream_id > 0);
    return r;
}

void grpc_client_send(struct grpc_client *c, struct grpc_reply *r,
                      const void *body, size_t len, bool end)
{
    wr_bytes(&r->out, body, len);
    r->is_out_end = end;
    nghttp2_session_resume_data(c->session, r->stream_id);
}

void grpc_client_reset(struct grpc_client *c, struct grpc_reply *r)
{
    nghttp2_submit_rst_stream(c->session, 0, r->stream_id, NGHTTP2_CANCEL);
}

void grpc_client_ping(struct grpc_client *c)
{
    nghttp2_submit_ping(c->session, 0, NULL);
}

void grpc_client_listen(struct grpc_client *c)
{
    c->is_deaf = false;
    for (size_t i = 0; i < c->n; i++) {
        struct grpc_reply *r = c->replies[i];
        size_t n = r->body.len - r->consumed;
        if (!r->is_closed && n > 0)
            nghttp2_session_consume(c->session, r->stream_id, n);
        r->consumed += n;
    }
}

const uint8_t *grpc_client_out(struct grpc_client *c, size_t *len)
{
    const uint8_t *data;
    ssize_t n = nghttp2_session_mem_send(c->session, &data);
    assert(n >= 0);
    *len = (size_t)n;
    return n > 0 ? data : NULL;
}

int grpc_client_feed(struct grpc_client *c, const void *data, size_t len)
{
    return nghttp2_session_mem_recv(c->session, data, len) < 0 ? -1 : 0;
}

bool grpc_reply_message(const struct grpc_reply *r, size_t *at,
                        const uint8_t **message, size_t *len)
{
    struct rd rd;
    if (*at == r->body.len)
        return false; /* also if there is nothing to point to */
    rd_init(&rd, r->body.data + *at, r->body.len - *at);
    uint8_t flag = rd_u8(&rd);
    uint32_t n = rd_be32(&rd);
    *message = rd_bytes(&rd, n);
    if (rd_err(&rd))
        return false;
    assert(flag == 0);
    *len = n;
    *at += 5 + (size_t)n;
    return true;
}
