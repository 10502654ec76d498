#include "prober/httpd_conn_private.h"

#include <string.h>

#include "prober/httpd_query.h"
#include "proto/base/err.h"

void httpd_conn_answer_badly(struct httpd_conn *c, unsigned status,
                             const char *code, const char *why, uint64_t now_ns)
{
    c->config->stats->bad_requests++;
    c->is_last = true;
    httpd_error(&c->answer, status, code, "%s", why);
    httpd_conn_begin_answer(c, now_ns);
}
static void refuse_malformed(struct httpd_conn *c, uint64_t now_ns)
{
    const struct http1 *h = &c->http;
    const char *why = h->error ? h->error : "malformed request";
    c->is_head = false;
    c->is_old = false;
    if (h->err != ERR_TOOBIG)
        httpd_conn_answer_badly(c, 400, "bad_request", why, now_ns);
    else if (strncmp(why, "body", 4) == 0)
        httpd_conn_answer_badly(c, 413, "content_too_large", why, now_ns);
    else if (!memchr(h->head, '\n', h->head_len))
        httpd_conn_answer_badly(c, 414, "target_too_long", why, now_ns);
    else
        httpd_conn_answer_badly(c, 431, "header_too_large", why, now_ns);
}

static bool text_is(struct http1_text t, const char *text)
{
    return t.len == strlen(text) && memcmp(t.data, text, t.len) == 0;
}

static bool takes_bodies(const struct httpd_conn *c)
{
    return c->config->limits->methods & 1u << HTTPD_POST;
}

/* False: a method that is not served here. */
static bool read_method(const struct httpd_conn *c, enum httpd_method *method)
{
    static const char *const names[] = {
        [HTTPD_GET] = "GET",
        [HTTPD_HEAD] = "HEAD",
        [HTTPD_POST] = "POST",
        [HTTPD_DELETE] = "DELETE",
    };
    unsigned served =
        c->config->limits->methods | 1u << HTTPD_GET | 1u << HTTPD_HEAD;
    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (!text_is(c->http.method, names[i]))
            continue;
        *method = (enum httpd_method)i;
        return served & 1u << i;
    }
    return false;
}

static void refuse_method(struct httpd_conn *c, uint64_t now_ns)
{
    unsigned more = c->config->limits->methods;
    bool has_post = more & 1u << HTTPD_POST;
    bool has_delete = more & 1u << HTTPD_DELETE;
    c->config->stats->bad_requests++;
    httpd_error(&c->answer, 405, "method_not_allowed",
                has_post || has_delete ? "this method is not served here"
                                       : "only GET and HEAD are served here");
    c->answer.extra = has_post && has_delete
                          ? "Allow: GET, HEAD, POST, DELETE\r\n"
                      : has_post   ? "Allow: GET, HEAD, POST\r\n"
                      : has_delete ? "Allow: GET, HEAD, DELETE\r\n"
                                   : "Allow: GET, HEAD\r\n";
    httpd_conn_begin_answer(c, now_ns);
}

/* Let the handler answer. */
static void call_handler(struct httpd_conn *c, struct httpd_request *r,
                         uint64_t now_ns)
{
    char accept[HTTPD_ACCEPT_SIZE];
    r->is_head = c->is_head;
    r->peer = c->peer;
    r->waker = &c->waker;
    r->accept = httpd_fields_accept(&c->http, accept);
    if (c->body.len > 0) { /* only that of a POST was kept */
        r->body = c->body.data;
        r->body_len = c->body.len;
    }
    c->config->handler(c->config->arg, r, &c->answer);
    httpd_conn_begin_answer(c, now_ns);
}

static void take_target(struct httpd_conn *c, enum httpd_method method,
                        const struct httpd_credentials *from, uint64_t now_ns)
{
    const struct http1 *h = &c->http;
    struct httpd_query query;
    struct errmsg msg = {""};
    if (httpd_query_decode(&query, h->target.data, h->target.len, &msg)) {
        /* The framing is sound, the connection can go on. */
        c->config->stats->bad_requests++;
        httpd_error(&c->answer, 400, "bad_target", "%s", msg.text);
        httpd_conn_begin_answer(c, now_ns);
        return;
    }
    query.request.method = method;
    if (from) {
        query.request.authorization = from->authorization;
        query.request.host = from->host;
        query.request.origin = from->origin;
        query.request.content_type = from->content_type;
    }
    call_handler(c, &query.request, now_ns);
}

/* On a server that takes bodies who asks matters too. */
static void take_credentials(struct httpd_conn *c, enum httpd_method method,
                             uint64_t now_ns)
{
    struct httpd_credentials from;
    const char *why;
    int err = httpd_fields_credentials(&from, &c->http, &why);
    if (err)
        httpd_conn_answer_badly(c, err == ERR_TOOBIG ? 431 : 400,
                                err == ERR_TOOBIG ? "header_too_large"
                                                  : "bad_request",
                                why, now_ns);
    else if (wr_err(&c->body))
        httpd_conn_answer_badly(c, 503, "no_memory", "out of memory", now_ns);
    else
        take_target(c, method, &from, now_ns);
}

static void on_request(struct httpd_conn *c, uint64_t now_ns)
{
    const struct http1 *h = &c->http;
    enum httpd_method method;
    c->config->stats->requests++;
    c->is_head = text_is(h->method, "HEAD");
    c->is_old = h->version_minor == 0;
    c->is_last = !h->is_keep_alive;
    c->wants_gzip = httpd_fields_take_gzip(h);
    httpd_fields_etags(h, c->etags);

    if (h->n_fields > HTTPD_FIELDS_MAX)
        httpd_conn_answer_badly(c, 431, "header_too_large",
                                "more than 64 header fields", now_ns);
    else if (h->target.len > HTTPD_TARGET_MAX)
        httpd_conn_answer_badly(c, 414, "target_too_long",
                                "request target longer than 2048 bytes",
                                now_ns);
    else if (!read_method(c, &method))
        refuse_method(c, now_ns);
    else if (takes_bodies(c))
        take_credentials(c, method, now_ns);
    else
        take_target(c, method, NULL, now_ns);
    wr_fini(&c->body);
    wr_init_grow(&c->body, HTTPD_BODY_MAX);
}
/* The head is complete and a body is to come, nothing of which was sent yet
 * if `is_awaited`. Returns false if the request was refused. */
static bool begin_body(struct httpd_conn *c, bool is_awaited, uint64_t now_ns)
{
    switch (httpd_fields_expect(&c->http)) {
    case HTTPD_EXPECTS_NOTHING:
        return true;
    case HTTPD_EXPECTS_CONTINUE:
        if (is_awaited) {
            wr_text(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
            c->has_continued = true;
        }
        return true;
    case HTTPD_EXPECTS_UNKNOWN:
        break;
    }
    c->is_head = c->is_old = false;
    httpd_conn_answer_badly(c, 417, "expectation_failed",
                            "only 100-continue may be expected", now_ns);
    return false;
}

/* As http1_feed(), but what the parser counts as body is kept. It does not
 * say where that is; so it gets a line at a time up to the end of the head,
 * and chunks byte by byte. What has a length is body to the last byte. */
static size_t feed_and_keep(struct httpd_conn *c, const uint8_t *p, size_t len,
                            uint64_t now_ns)
{
    struct http1 *h = &c->http;
    size_t used = 0;
    while (used < len && h->state <= HTTP1_BODY) {
        bool was_head = h->state == HTTP1_HEAD;
        size_t max = len - used;
        const uint8_t *lf = was_head ? memchr(p + used, '\n', max) : NULL;
        if (lf)
            max = (size_t)(lf - (p + used)) + 1;
        else if (!was_head && h->is_chunked)
            max = 1;
        uint64_t before = h->body_bytes;
        size_t n = http1_feed(h, p + used, max);
        if (h->body_bytes > before && text_is(h->method, "POST"))
            wr_bytes(&c->body, p + used, (size_t)(h->body_bytes - before));
        used += n;
        if (was_head && h->state == HTTP1_BODY &&
            !begin_body(c, used == len, now_ns))
            break;
    }
    return used;
}

void httpd_conn_take_input(struct httpd_conn *c, uint64_t now_ns)
{
    const uint8_t *p = c->in + c->in_pos;
    size_t len = c->in_len - c->in_pos;
    c->in_pos += takes_bodies(c) ? feed_and_keep(c, p, len, now_ns)
                                 : http1_feed(&c->http, p, len);
    if (!httpd_conn_has_input(c))
        c->in_pos = c->in_len = 0;

    if (c->phase != HTTPD_CONN_READING)
        return; /* refused at its head */
    if (c->http.state == HTTP1_DONE)
        on_request(c, now_ns);
    else if (c->http.state == HTTP1_FAILED)
        refuse_malformed(c, now_ns);
}
