#include "prober/cli_http.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/clock.h"
#include "proto/http1.h"

#define REQUEST_MAX 8192
#define FIELDS_SIZE 1024
#define READ_SIZE   16384

struct cli_http {
    struct cli_conn *conn;
    uint8_t raw[READ_SIZE]; /* of which [at, len) was not fed yet */
    size_t at, len;
    struct http1 parser;
};

/* ---- the request ---- */

static void write_fields(const struct cli_http_request *r, struct wr *w)
{
    if (r->token)
        wr_printf(w, "Authorization: Bearer %s\r\n", r->token);
    if (r->type)
        wr_printf(w, "Content-Type: %s\r\n", r->type);
    /* RFC 9110 8.6: a POST says so when it has no body. */
    if (r->type || strcmp(r->method, "POST") == 0)
        wr_printf(w, "Content-Length: %zu\r\n", r->body_len);
    wr_u8(w, '\0');
}

static int send_request(struct cli_http *h, const struct cli_conn_to *to,
                        const struct cli_http_request *r, uint64_t until_ns,
                        struct errmsg *msg)
{
    char authority[URL_AUTHORITY_SIZE] = "localhost";
    char fields[FIELDS_SIZE];
    uint8_t request[REQUEST_MAX];
    struct wr w;

    if (r->token && !cli_conn_is_private(h->conn)) {
        errmsg_set(msg, "a token does not travel in plain text: take https:// "
                        "or a unix socket");
        return ERR_AUTH;
    }
    if (!to->path)
        url_authority(to->url, authority);
    wr_init_fixed(&w, fields, sizeof fields);
    write_fields(r, &w);
    int err = wr_err(&w);
    wr_init_fixed(&w, request, sizeof request);
    if (!err) {
        http1_write_request(&w, r->method, r->path, authority, false, fields);
        wr_bytes(&w, r->body, r->body_len);
        err = wr_err(&w);
    }
    if (err)
        errmsg_set(msg, "the request cannot be written");
    else
        err = cli_conn_write(h->conn, w.data, w.len, until_ns, msg);
    explicit_bzero(fields, sizeof fields);
    explicit_bzero(request, sizeof request);
    return err == ERR_BUSY ? ERR_SYS : err;
}

/* ---- the answer ---- */

/* More bytes, or the end of them, for the parser. Returns 0 or an error. */
static int receive(struct cli_http *h, uint64_t until_ns, struct errmsg *msg)
{
    int n = cli_conn_read(h->conn, h->raw, sizeof h->raw, until_ns, msg);

    if (n < 0)
        return n;
    h->at = 0;
    h->len = (size_t)n;
    if (n == 0 && http1_eof(&h->parser) == HTTP1_HEAD) {
        errmsg_set(msg, "connection closed without an answer");
        return ERR_BAD;
    }
    return 0;
}

static int fail(const struct cli_http *h, struct errmsg *msg)
{
    errmsg_set(msg, "bad answer: %s",
               h->parser.error ? h->parser.error : "cut off");
    return h->parser.err == ERR_TOOBIG ? ERR_TOOBIG : ERR_BAD;
}

static int read_head(struct cli_http *h, uint64_t until_ns, struct errmsg *msg)
{
    while (h->parser.state == HTTP1_HEAD) {
        int err = h->at < h->len ? 0 : receive(h, until_ns, msg);
        if (err)
            return err == ERR_BUSY ? ERR_SYS : err;
        /* The parser would go on into the body: one byte at a time. */
        while (h->at < h->len && h->parser.state == HTTP1_HEAD)
            h->at += http1_feed(&h->parser, h->raw + h->at, 1);
    }
    return h->parser.state == HTTP1_FAILED ? fail(h, msg) : h->parser.status;
}

/* Feed what arrived and keep the bytes of the body. The parser only counts
 * them; with chunks between them, which bytes it counted is seen by giving
 * it one at a time. */
static size_t take_body(struct cli_http *h, uint8_t *data, size_t size)
{
    struct http1 *p = &h->parser;
    size_t taken = 0;

    while (h->at < h->len && taken < size && p->state == HTTP1_BODY) {
        size_t left = h->len - h->at, room = size - taken;
        size_t n = p->is_chunked ? 1 : left < room ? left : room;
        uint64_t before = p->body_bytes;
        size_t used = http1_feed(p, h->raw + h->at, n);
        size_t body = (size_t)(p->body_bytes - before);

        memcpy(data + taken, h->raw + h->at, body);
        taken += body;
        h->at += used;
    }
    return taken;
}

/* ---- public ---- */

int cli_http_open(const struct cli_conn_to *to,
                  const struct cli_http_request *request, uint64_t until_ns,
                  struct cli_http **out, struct errmsg *msg)
{
    struct cli_http *h = calloc(1, sizeof *h);

    if (!h) {
        errmsg_set(msg, "no memory");
        return ERR_NOMEM;
    }
    http1_init(&h->parser, HTTP1_RESPONSE, HTTP1_HEAD_MAX,
               (size_t)request->body_max);
    int result = cli_conn_open(to, until_ns, &h->conn, msg);
    if (!result)
        result = send_request(h, to, request, until_ns, msg);
    if (!result)
        result = read_head(h, until_ns, msg);
    if (result < 0)
        cli_http_close(h);
    else
        *out = h;
    return result;
}

void cli_http_close(struct cli_http *h)
{
    if (h)
        cli_conn_close(h->conn);
    free(h);
}

void cli_http_abort_on(struct cli_http *h, int abort_fd)
{
    cli_conn_abort_on(h->conn, abort_fd);
}

int cli_http_read(struct cli_http *h, void *data, size_t size,
                  uint64_t until_ns, struct errmsg *msg)
{
    assert(size > 0);
    assert(size <= INT32_MAX);
    while (h->parser.state == HTTP1_BODY) {
        size_t n = take_body(h, data, size);
        if (n)
            return (int)n;
        if (h->parser.state != HTTP1_BODY)
            break;
        int err = receive(h, until_ns, msg);
        if (err)
            return err;
    }
    return h->parser.state == HTTP1_FAILED ? fail(h, msg) : 0;
}

int cli_http_read_all(struct cli_http *h, struct wr *body, uint64_t until_ns,
                      struct errmsg *msg)
{
    uint8_t data[READ_SIZE];
    int n;

    while ((n = cli_http_read(h, data, sizeof data, until_ns, msg)) > 0)
        wr_bytes(body, data, (size_t)n);
    if (!n && wr_err(body)) {
        errmsg_set(msg, "answer too large");
        return ERR_TOOBIG;
    }
    return n == ERR_BUSY ? ERR_SYS : n;
}

bool cli_http_field(const struct cli_http *h, const char *name, char *text,
                    size_t size)
{
    struct http1_text value;

    if (!http1_field(&h->parser, name, &value) || value.len >= size)
        return false;
    memcpy(text, value.data, value.len);
    text[value.len] = '\0';
    return true;
}

int cli_http_get(const struct url *url, const char *path, uint64_t timeout_ns,
                 int abort_fd, struct wr *body, struct errmsg *msg)
{
    struct cli_conn_to to = {.url = url, .abort_fd = abort_fd};
    struct cli_http_request request = {
        .method = "GET", .path = path, .body_max = body->max};
    uint64_t until_ns = clock_now_ns() + timeout_ns;
    struct cli_http *h = NULL;

    assert(!url->is_tls);
    int status = cli_http_open(&to, &request, until_ns, &h, msg);
    if (status < 0)
        return status;
    int err = cli_http_read_all(h, body, until_ns, msg);
    cli_http_close(h);
    return err ? err : status;
}
