#include "proto/h2.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "proto/h2_session.h"

#define OUTBOUND_ACK_MAX   100
#define STREAM_OUT_MAX     32768 /* answer bytes that wait in one stream */
#define GLITCHES_FORGIVEN  4     /* by each request that was answered */
#define HEADER_BOMB_FACTOR 4     /* over the limit: the connection goes */
#define OUT_KEPT_MAX       4096  /* larger buffers are freed when empty */

const struct h2_limits h2_limits_default = {
    .streams_max = 64,
    .header_list_max = 16384,
    .glitches_max = 100,
    .body_max = 4096,
};

struct fields {
    nghttp2_nv *nv; /* one block with the texts behind */
    size_t n;
};

struct stream {
    struct stream *next;       /* of all */
    struct stream *next_ready; /* of those in the ready queue */
    struct h2_server_request request;
    char *authorization; /* owned; what the request shows */
    struct wr body;
    uint32_t header_bytes;
    unsigned refusal;       /* HTTP status of an answer from inside, or 0 */
    bool names_two_hosts;   /* that differ */
    bool has_headers;       /* complete, what follows are trailers */
    bool is_complete;       /* END_STREAM has come */
    bool is_ready;          /* is in the ready queue */
    bool is_answered;       /* response HEADERS were submitted */
    bool is_ended;          /* and nothing will follow what is in `out` */
    struct wr out;          /* DATA that waits */
    size_t out_pos;         /* sent of it */
    struct fields trailers; /* to be sent behind it */
};

struct h2_server {
    nghttp2_session *session;
    struct h2_limits limits;
    struct wr out;
    bool out_taken;
    bool is_shut; /* GOAWAY(NO_ERROR) was queued */
    bool is_torn; /* nothing sensible can be sent any more */
    int failed;   /* 0, ERR_BAD, ERR_TOOBIG, ERR_NOMEM */
    struct h2_walk walk;
    uint32_t glitches;
    size_t body_bytes;      /* kept of all requests */
    uint32_t settings_acks; /* an ACK of ours is no glitch */
    struct stream *streams;
    struct stream *ready, **ready_end;
};

static struct h2_server *server_of(void *user_data)
{
    return user_data;
}

/* ---- fields ---- */

static void fields_fini(struct fields *f)
{
    free(f->nv);
    *f = (struct fields){0};
}

static uint8_t *put_text(uint8_t **to, const char *text)
{
    uint8_t *at = *to;
    size_t len = strlen(text);
    memcpy(at, text, len + 1);
    *to += len + 1;
    return at;
}

static int fields_copy(struct fields *f, const struct h2_field *from, size_t n)
{
    size_t size = n * sizeof(nghttp2_nv);
    for (size_t i = 0; i < n; i++)
        size += strlen(from[i].name) + strlen(from[i].value) + 2;
    nghttp2_nv *nv = malloc(size);
    if (!nv)
        return ERR_NOMEM;
    uint8_t *text = (uint8_t *)(nv + n);
    for (size_t i = 0; i < n; i++) {
        nv[i] = (nghttp2_nv){
            .name = put_text(&text, from[i].name),
            .value = put_text(&text, from[i].value),
            .namelen = strlen(from[i].name),
            .valuelen = strlen(from[i].value),
        };
    }
    fields_fini(f);
    *f = (struct fields){.nv = nv, .n = n};
    return 0;
}

static bool are_valid(const struct h2_field *f, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t *name = (const uint8_t *)f[i].name;
        const uint8_t *value = (const uint8_t *)f[i].value;
        if (!nghttp2_check_header_name(name, strlen(f[i].name)) ||
            !nghttp2_check_header_value(value, strlen(f[i].value)))
            return false;
    }
    return true;
}

/* ---- streams ---- */

static struct stream *find(const struct h2_server *s, int32_t stream_id)
{
    return nghttp2_session_get_stream_user_data(s->session, stream_id);
}

static struct stream *stream_open(struct h2_server *s, int32_t stream_id)
{
    struct stream *st = calloc(1, sizeof(*st));
    if (!st)
        return NULL;
    st->request.stream_id = stream_id;
    wr_init_grow(&st->body, s->limits.body_max);
    wr_init_grow(&st->out, STREAM_OUT_MAX);
    st->next = s->streams;
    s->streams = st;
    return st;
}

static void push_ready(struct h2_server *s, struct stream *st)
{
    st->is_ready = true;
    st->next_ready = NULL;
    *s->ready_end = st;
    s->ready_end = &st->next_ready;
}

static void drop_ready(struct h2_server *s, struct stream *st)
{
    struct stream **at = &s->ready;
    while (*at != st)
        at = &(*at)->next_ready;
    *at = st->next_ready;
    if (s->ready_end == &st->next_ready)
        s->ready_end = at;
    st->is_ready = false;
}

static void drop_body(struct h2_server *s, struct stream *st)
{
    s->body_bytes -= st->body.len;
    wr_fini(&st->body);
    wr_init_grow(&st->body, s->limits.body_max);
}

static void stream_close(struct h2_server *s, struct stream *st)
{
    if (st->is_ready)
        drop_ready(s, st);
    struct stream **at = &s->streams;
    while (*at != st)
        at = &(*at)->next;
    *at = st->next;
    drop_body(s, st);
    wr_fini(&st->out);
    fields_fini(&st->trailers);
    free(st->authorization);
    free(st);
}

/* Say GOAWAY and hear no more. Allowed inside callbacks of nghttp2, which
 * then ignores the rest of its input. */
static void fail(struct h2_server *s, int err, uint32_t code)
{
    if (s->failed)
        return;
    s->failed = err;
    nghttp2_session_terminate_session(s->session, code);
}

static void count_glitch(struct h2_server *s)
{
    if (++s->glitches > s->limits.glitches_max)
        fail(s, ERR_TOOBIG, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void forgive(struct h2_server *s)
{
    s->glitches -=
        s->glitches < GLITCHES_FORGIVEN ? s->glitches : GLITCHES_FORGIVEN;
}

/* ---- answers ---- */

static ssize_t read_answer(nghttp2_session *session, int32_t stream_id,
                           uint8_t *buf, size_t size, uint32_t *flags,
                           nghttp2_data_source *source, void *user_data)
{
    (void)user_data;
    struct stream *st = source->ptr;
    size_t left = st->out.len - st->out_pos;
    size_t n = left < size ? left : size;
    if (n > 0)
        memcpy(buf, st->out.data + st->out_pos, n);
    st->out_pos += n;
    if (n < left)
        return (ssize_t)n;

    wr_reset(&st->out);
    st->out_pos = 0;
    if (!st->is_ended)
        return n > 0 ? (ssize_t)n : NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (st->trailers.n > 0) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, stream_id, st->trailers.nv,
                                   st->trailers.n))
            return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    return (ssize_t)n;
}

static bool fits(const struct stream *st, const struct h2_answer *a)
{
    return a->body_len <= H2_ANSWER_BODY_MAX &&
           a->n_fields <= H2_ANSWER_FIELDS_MAX &&
           a->n_trailers <= H2_ANSWER_FIELDS_MAX &&
           a->body_len <= STREAM_OUT_MAX - st->out.len;
}

/* Take over what comes after the response HEADERS. */
static int put_data(struct stream *st, const struct h2_answer *a)
{
    int err = 0;
    if (a->end && a->n_trailers > 0)
        err = fields_copy(&st->trailers, a->trailers, a->n_trailers);
    if (err)
        return err;
    wr_bytes(&st->out, a->body, a->body_len);
    if (wr_err(&st->out)) {
        st->out.err = 0; /* nothing was written */
        return ERR_NOMEM;
    }
    st->is_ended = a->end;
    return 0;
}

static void add_field(nghttp2_nv *nv, size_t *n, const char *name,
                      const char *value)
{
    nv[(*n)++] = (nghttp2_nv){
        .name = (uint8_t *)(uintptr_t)name,
        .value = (uint8_t *)(uintptr_t)value,
        .namelen = strlen(name),
        .valuelen = strlen(value),
    };
}

static int submit(struct h2_server *s, struct stream *st,
                  const struct h2_answer *a, bool has_data)
{
    nghttp2_nv nv[1 + 2 * H2_ANSWER_FIELDS_MAX];
    size_t n = 0;
    unsigned code = a->status % 1000;
    char status[4] = {(char)('0' + code / 100), (char)('0' + code / 10 % 10),
                      (char)('0' + code % 10), '\0'};

    add_field(nv, &n, ":status", status);
    for (size_t i = 0; i < a->n_fields; i++)
        add_field(nv, &n, a->fields[i].name, a->fields[i].value);
    for (size_t i = 0; !has_data && i < a->n_trailers; i++)
        add_field(nv, &n, a->trailers[i].name, a->trailers[i].value);

    nghttp2_data_provider data = {.source.ptr = st,
                                  .read_callback = read_answer};
    int err = nghttp2_submit_response(s->session, st->request.stream_id, nv, n,
                                      has_data ? &data : NULL);
    return err ? ERR_NOMEM : 0;
}

int h2_server_respond(struct h2_server *s, int32_t stream_id,
                      const struct h2_answer *a)
{
    struct stream *st = s->failed ? NULL : find(s, stream_id);
    if (!st || st->is_answered)
        return ERR_CLOSED;
    assert(a->status >= 200 && a->status <= 999);
    if (!fits(st, a))
        return ERR_TOOBIG;
    if (!are_valid(a->fields, a->n_fields) ||
        !are_valid(a->trailers, a->n_trailers))
        return ERR_BAD;

    /* Without a body there is nothing to put between the two HEADERS, so
     * they may as well be one. */
    bool is_one = a->end && a->body_len == 0 &&
                  (a->n_trailers == 0 || a->is_trailers_only);
    int err = is_one ? 0 : put_data(st, a);
    if (!err)
        err = submit(s, st, a, !is_one);
    if (err)
        return err;
    st->is_answered = true;
    st->is_ended = a->end;
    if (st->is_ready)
        drop_ready(s, st);
    return 0;
}

int h2_server_more(struct h2_server *s, int32_t stream_id,
                   const struct h2_answer *a)
{
    struct stream *st = s->failed ? NULL : find(s, stream_id);
    if (!st || !st->is_answered || st->is_ended)
        return ERR_CLOSED;
    if (!fits(st, a))
        return ERR_TOOBIG;
    if (!are_valid(a->trailers, a->n_trailers))
        return ERR_BAD;
    int err = put_data(st, a);
    if (err)
        return err;
    /* Clients measure the path with a PING for what they receive: what we
     * chose to send pays for that. */
    forgive(s);
    /* Fails if DATA is not deferred, which is as well: it goes on anyway. */
    err = nghttp2_session_resume_data(s->session, stream_id);
    return err == NGHTTP2_ERR_NOMEM ? ERR_NOMEM : 0;
}

static const char *grpc_status_of(unsigned refusal)
{
    switch (refusal) {
    case 400:
        return "13"; /* INTERNAL */
    case 414:
        return "12"; /* UNIMPLEMENTED */
    default:
        return "8"; /* RESOURCE_EXHAUSTED */
    }
}

/* Answer from inside, without showing the request. A gRPC client looks for
 * grpc-status and takes the HTTP status as a hint only. */
static int refuse(struct h2_server *s, struct stream *st)
{
    static const struct h2_field type = {"content-type", "application/grpc"};
    struct h2_field status = {"grpc-status", grpc_status_of(st->refusal)};
    bool is_grpc =
        strncmp(st->request.content_type, type.value, strlen(type.value)) == 0;
    struct h2_answer a = {
        .status = is_grpc ? 200 : st->refusal,
        .fields = &type,
        .n_fields = is_grpc,
        .trailers = &status,
        .n_trailers = is_grpc,
        .is_trailers_only = true,
        .end = true,
    };
    drop_body(s, st);
    int err = h2_server_respond(s, st->request.stream_id, &a);
    if (err == ERR_NOMEM)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return 0;
}

/* ---- what nghttp2 reports ---- */

static int on_begin_headers(nghttp2_session *session,
                            const nghttp2_frame *frame, void *user_data)
{
    struct h2_server *s = server_of(user_data);
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    struct stream *st = stream_open(s, frame->hd.stream_id);
    if (!st)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return nghttp2_session_set_stream_user_data(session, frame->hd.stream_id,
                                                st);
}

static bool is_text(const char *text, const uint8_t *value, size_t len)
{
    return strlen(text) == len &&
           strncasecmp(text, (const char *)value, len) == 0;
}

static void keep_field(struct stream *st, const uint8_t *name, size_t n,
                       const uint8_t *value, size_t len)
{
    struct h2_server_request *r = &st->request;
    const struct {
        const char *name;
        char *to;
        size_t size;
    } kept[] = {
        {":method", r->method, sizeof(r->method)},
        {":path", r->path, sizeof(r->path)},
        {":authority", r->authority, sizeof(r->authority)},
        {"host", r->authority, sizeof(r->authority)},
        {"content-type", r->content_type, sizeof(r->content_type)},
        {"te", r->te, sizeof(r->te)},
        {"grpc-timeout", r->grpc_timeout, sizeof(r->grpc_timeout)},
        {"grpc-encoding", r->grpc_encoding, sizeof(r->grpc_encoding)},
        {"origin", r->origin, sizeof(r->origin)},
    };
    for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++) {
        if (!h2_is_name(name, n, kept[i].name))
            continue;
        if (kept[i].to[0]) {
            if (kept[i].to == r->authority &&
                !is_text(r->authority, value, len))
                st->names_two_hosts = true;
            continue;
        }
        h2_copy_text(kept[i].to, kept[i].size, value, len);
        if (kept[i].to == r->path && len >= sizeof(r->path))
            st->refusal = 414;
    }
}

/* Only where somebody asks for it; a secret is not to lie about. */
static int keep_authorization(const struct h2_server *s, struct stream *st,
                              const uint8_t *value, size_t len)
{
    if (s->limits.authorization_max == 0)
        return 0;
    if (st->authorization || len > s->limits.authorization_max) {
        st->refusal = st->authorization ? 400 : 431;
        return 0;
    }
    st->authorization = malloc(len + 1);
    if (!st->authorization)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    h2_copy_text(st->authorization, len + 1, value, len);
    st->request.authorization = st->authorization;
    return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
                     const uint8_t *name, size_t name_len, const uint8_t *value,
                     size_t value_len, uint8_t flags, void *user_data)
{
    (void)session, (void)flags;
    struct h2_server *s = server_of(user_data);
    struct stream *st = find(s, frame->hd.stream_id);
    if (!st)
        return 0;

    /* Counted as RFC 9113 6.5.2 does. A little too much is answered, a bomb
     * (one byte can stand for 4 KiB) is not read to its end. */
    st->header_bytes += (uint32_t)(name_len + value_len + 32);
    if (st->header_bytes > s->limits.header_list_max)
        st->refusal = 431;
    if (st->header_bytes / HEADER_BOMB_FACTOR > s->limits.header_list_max) {
        s->failed = ERR_TOOBIG;
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (st->has_headers)
        return 0;
    if (h2_is_name(name, name_len, "authorization"))
        return keep_authorization(s, st, value, value_len);
    keep_field(st, name, name_len, value, value_len);
    /* Where it matters who asks: one host is looked at, another may be meant
     * (RFC 9113 8.3.1). */
    if (st->names_two_hosts && s->limits.authorization_max > 0)
        st->refusal = 400;
    return 0;
}

static int reset(struct h2_server *s, struct stream *st, uint32_t code)
{
    st->is_ended = true;
    if (st->is_ready)
        drop_ready(s, st);
    int err = nghttp2_submit_rst_stream(s->session, NGHTTP2_FLAG_NONE,
                                        st->request.stream_id, code);
    return err ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static size_t room_for_bodies(const struct h2_server *s)
{
    size_t max = s->limits.bodies_max;
    return max > 0 ? max - s->body_bytes : SIZE_MAX;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream_id,
                   const uint8_t *data, size_t len, void *user_data)
{
    (void)session, (void)flags;
    struct h2_server *s = server_of(user_data);
    struct stream *st = find(s, stream_id);
    if (!st || st->refusal || st->is_ended)
        return 0;
    if (len > s->limits.body_max - st->body.len || len > room_for_bodies(s)) {
        st->refusal = 413;
        return st->is_answered ? reset(s, st, NGHTTP2_ENHANCE_YOUR_CALM)
                               : refuse(s, st);
    }
    wr_bytes(&st->body, data, len);
    if (wr_err(&st->body))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    s->body_bytes += len;
    return 0;
}

/* Its header is complete (`is_first`), or DATA or trailers have come. */
static void show_request(struct h2_server *s, struct stream *st, bool is_first)
{
    if (is_first && s->limits.is_streamed &&
        s->limits.is_streamed(st->request.path)) {
        st->request.is_streamed = true;
        push_ready(s, st);
    } else if (st->is_complete && !st->request.is_streamed) {
        st->request.body = st->body.data;
        st->request.body_len = st->body.len;
        push_ready(s, st);
    }
}

static int on_frame_recv(nghttp2_session *session, const nghttp2_frame *frame,
                         void *user_data)
{
    (void)session;
    struct h2_server *s = server_of(user_data);
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    struct stream *st = find(s, frame->hd.stream_id);
    if (!st)
        return 0;
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        st->is_complete = true;
    bool is_first = !st->has_headers;
    st->has_headers = true;
    if (st->is_answered)
        return 0;
    if (st->refusal)
        return refuse(s, st);
    show_request(s, st, is_first);
    return 0;
}

static int on_frame_send(nghttp2_session *session, const nghttp2_frame *frame,
                         void *user_data)
{
    struct h2_server *s = server_of(user_data);
    const nghttp2_frame_hd *hd = &frame->hd;

    /* Ours, or because nghttp2 found the peer breaking the rules. */
    if (hd->type == NGHTTP2_GOAWAY &&
        frame->goaway.error_code != NGHTTP2_NO_ERROR)
        s->failed = frame->goaway.error_code == NGHTTP2_ENHANCE_YOUR_CALM
                        ? ERR_TOOBIG
                        : ERR_BAD;
    if (hd->type == NGHTTP2_RST_STREAM)
        count_glitch(s);

    /* RFC 9113 8.1: an answer before the request's end is followed by a
     * reset, so that the peer does not send the rest. */
    struct stream *st = find(s, hd->stream_id);
    if (st && (st->refusal || st->request.is_streamed) &&
        (hd->flags & NGHTTP2_FLAG_END_STREAM) && hd->type == NGHTTP2_HEADERS &&
        nghttp2_session_get_stream_remote_close(session, hd->stream_id) == 0 &&
        nghttp2_submit_rst_stream(session, 0, hd->stream_id, NGHTTP2_NO_ERROR))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream_id,
                           uint32_t code, void *user_data)
{
    (void)session;
    struct h2_server *s = server_of(user_data);
    struct stream *st = find(s, stream_id);
    if (!st)
        return 0;
    if (code == NGHTTP2_NO_ERROR && st->is_ended && !st->refusal)
        forgive(s);
    stream_close(s, st);
    return 0;
}

/* ---- session ---- */

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
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    return cb;
}

static nghttp2_session *new_session(struct h2_server *s)
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
    nghttp2_option_set_no_closed_streams(option, 1);
    /* nghttp2's own limit of resets by the second (1000, then 33/s) stays as
     * a second wall. Ours is tighter, and needs no clock. */
    if (nghttp2_session_server_new2(&session, cb, s, option))
        session = NULL;
out:
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    return session;
}

static int submit_settings(struct h2_server *s)
{
    /* Priorities of RFC 7540 would make nghttp2 keep a tree of streams, idle
     * and closed ones included, that the peer may rearrange. */
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, s->limits.streams_max},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, s->limits.header_list_max},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    return nghttp2_submit_settings(s->session, NGHTTP2_FLAG_NONE, settings,
                                   sizeof(settings) / sizeof(settings[0]));
}

struct h2_server *h2_server_open(const struct h2_limits *limits)
{
    struct h2_server *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->limits = *limits;
    s->ready_end = &s->ready;
    s->walk.left = H2_MAGIC_SIZE;
    s->settings_acks = 1;
    wr_init_grow(&s->out, H2_OUT_MAX);
    s->session = new_session(s);
    if (!s->session || submit_settings(s)) {
        h2_server_close(s);
        return NULL;
    }
    return s;
}

void h2_server_close(struct h2_server *s)
{
    if (!s)
        return;
    nghttp2_session_del(s->session);
    while (s->streams)
        stream_close(s, s->streams);
    wr_fini(&s->out);
    free(s);
}

static void drop_taken(struct h2_server *s)
{
    if (!s->out_taken)
        return;
    s->out_taken = false;
    if (s->out.size > OUT_KEPT_MAX) {
        wr_fini(&s->out);
        wr_init_grow(&s->out, H2_OUT_MAX);
    }
    wr_reset(&s->out);
}

static void pump(struct h2_server *s)
{
    drop_taken(s);
    if (s->is_torn)
        return;
    int err = h2_pump(s->session, &s->out);
    s->is_torn = err != 0;
    if (err && !s->failed)
        s->failed = err;
}

/* What arrives while the peer does not read makes nghttp2 queue answers to
 * it (resets, mostly). More than a few for each stream is an attack. */
static bool is_queue_full(const struct h2_server *s)
{
    return nghttp2_session_get_outbound_queue_size(s->session) >
           4 * (size_t)s->limits.streams_max + 2 * OUTBOUND_ACK_MAX;
}

static void count_head(struct h2_server *s, const struct h2_head *h)
{
    if (h->type == NGHTTP2_SETTINGS && (h->flags & NGHTTP2_FLAG_ACK) &&
        s->settings_acks > 0)
        s->settings_acks--;
    else if (h2_is_glitch(h))
        count_glitch(s);
    /* HEADERS for a stream that is gone are decompressed for nothing. */
    int32_t id = (int32_t)h->stream;
    int32_t last = nghttp2_session_get_last_proc_stream_id(s->session);
    if (h->type == NGHTTP2_HEADERS && (id <= last || s->is_shut) &&
        !find(s, id))
        count_glitch(s);
    if (is_queue_full(s))
        fail(s, ERR_TOOBIG, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void feed_piece(struct h2_server *s, const uint8_t *data, size_t len)
{
    ssize_t n = nghttp2_session_mem_recv(s->session, data, len);
    if (n >= 0)
        return;
    uint32_t code = NGHTTP2_PROTOCOL_ERROR;
    int err = ERR_BAD;
    if (n == NGHTTP2_ERR_FLOODED || s->failed == ERR_TOOBIG) {
        code = NGHTTP2_ENHANCE_YOUR_CALM;
        err = ERR_TOOBIG;
    }
    s->failed = 0;
    fail(s, err, code);
}

int h2_server_feed(struct h2_server *s, const void *data, size_t len)
{
    const uint8_t *p = data;
    while (len > 0 && !s->failed) {
        struct h2_head head;
        bool is_head;
        size_t n = h2_walk_on(&s->walk, p, len, &head, &is_head);
        if (is_head)
            count_head(s, &head);
        if (!s->failed)
            feed_piece(s, p, n);
        p += n;
        len -= n;
    }
    pump(s);
    return s->failed;
}

const struct h2_server_request *h2_server_next(struct h2_server *s)
{
    struct stream *st = s->failed ? NULL : s->ready;
    if (!st)
        return NULL;
    drop_ready(s, st);
    return &st->request;
}

bool h2_server_is_open(const struct h2_server *s, int32_t stream_id)
{
    const struct stream *st = s->failed ? NULL : find(s, stream_id);
    return st && !st->is_ended;
}

const uint8_t *h2_server_body(const struct h2_server *s, int32_t stream_id,
                              size_t *len, bool *is_end)
{
    const struct stream *st = s->failed ? NULL : find(s, stream_id);
    bool is_there = st && st->request.is_streamed;
    *len = is_there ? st->body.len : 0;
    *is_end = !is_there || st->is_complete;
    return *len > 0 ? st->body.data : NULL;
}

void h2_server_consume(struct h2_server *s, int32_t stream_id, size_t n)
{
    struct stream *st = s->failed ? NULL : find(s, stream_id);
    if (!st || !st->request.is_streamed || n == 0)
        return;
    assert(n <= st->body.len);
    st->body.len -= n;
    s->body_bytes -= n;
    memmove(st->body.data, st->body.data + n, st->body.len);
}

void h2_server_cancel(struct h2_server *s, int32_t stream_id)
{
    struct stream *st = s->failed ? NULL : find(s, stream_id);
    if (st && reset(s, st, NGHTTP2_CANCEL))
        s->failed = ERR_NOMEM;
}

size_t h2_server_streams(const struct h2_server *s)
{
    size_t n = 0;
    for (const struct stream *st = s->streams; st; st = st->next)
        n++;
    return n;
}

int32_t h2_server_incomplete(const struct h2_server *s)
{
    int32_t oldest = 0; /* the list has the newest first */
    for (const struct stream *st = s->streams; st; st = st->next) {
        if (!st->is_complete && !st->is_answered && !st->request.is_streamed)
            oldest = st->request.stream_id;
    }
    return oldest;
}

void h2_server_shutdown(struct h2_server *s)
{
    if (s->is_shut || s->failed)
        return;
    s->is_shut = true;
    if (nghttp2_submit_goaway(
            s->session, NGHTTP2_FLAG_NONE,
            nghttp2_session_get_last_proc_stream_id(s->session),
            NGHTTP2_NO_ERROR, NULL, 0))
        s->failed = ERR_NOMEM;
}

bool h2_server_is_done(const struct h2_server *s)
{
    bool is_sent = s->out.len == 0 || s->out_taken;
    bool has_more = !s->is_torn && nghttp2_session_want_write(s->session);
    bool is_over = s->failed || !nghttp2_session_want_read(s->session);
    return is_over && is_sent && !has_more;
}

const uint8_t *h2_server_out(struct h2_server *s, size_t *len)
{
    pump(s);
    *len = s->out.len;
    s->out_taken = true;
    return *len > 0 ? s->out.data : NULL;
}
