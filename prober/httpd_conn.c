#include "prober/httpd_conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "prober/httpd_gzip.h"
#include "prober/httpd_query.h"
#include "proto/base/err.h"
#include "proto/http1.h"

#define IN_SIZE      4096
#define HEAD_ROOM    1024       /* our response heads are far below */
#define FRAMING_ROOM 64         /* chunk size, CRLFs, last chunk */
#define GZIP_MIN     1024       /* below, the header costs more */
#define LINGER_BYTES (1u << 20) /* dropped before we just close */
#define BATCH_BYTES  8192       /* pipelined small answers go together */
#define NS_PER_S     1000000000u
#define NEVER        UINT64_MAX

const struct httpd_limits httpd_limits_default = {
    .connections_max = 128,
    .per_address_max = 16,
    .per_loopback_max = 128,
    .head_timeout_ns = 5ull * NS_PER_S,
    .idle_timeout_ns = 10ull * NS_PER_S,
    .write_timeout_ns = 30ull * NS_PER_S,
    .answer_timeout_ns = 120ull * NS_PER_S,
    .linger_timeout_ns = 2ull * NS_PER_S,
    .slice_bytes = 65536,
};

enum step {
    STEP_NONE,    /* no answer under way */
    STEP_PREPARE, /* the handler is not ready */
    STEP_FIRST,   /* nothing is sent yet, not even the head */
    STEP_MORE,    /* in the middle of the body */
};

struct httpd_conn {
    const struct httpd_conn_config *config;
    enum httpd_conn_phase phase;
    enum step step;

    /* The request. */
    bool has_eof; /* the peer will send no more */
    bool is_head; /* HEAD: everything but the content */
    bool is_old;  /* HTTP/1.0: no chunks */
    bool wants_gzip;
    bool is_last;    /* close after this answer */
    bool has_served; /* at least one answer was begun */
    char if_none_match[64];
    size_t in_pos, in_len;
    uint64_t since_ns; /* waiting for a request, or dropping bytes */
    uint64_t dropped;

    /* The answer. */
    struct httpd_answer answer;
    struct httpd_gzip *gzip;
    bool is_chunked;
    struct wr plain, out;
    size_t out_sent;
    uint64_t progress_ns, begun_ns;

    struct http1 http;
    uint8_t in[IN_SIZE];
};

static const struct httpd_limits *limits(const struct httpd_conn *c)
{
    return c->config->limits;
}

struct httpd_conn *httpd_conn_open(const struct httpd_conn_config *config,
                                   uint64_t now_ns)
{
    size_t slice = config->limits->slice_bytes;
    assert(slice >= 2 * HTTPD_PIECE_MAX && slice <= 1u << 20);

    struct httpd_conn *c = malloc(sizeof(*c));
    if (!c)
        return NULL;
    /* Not the buffers: they are most of it and need no zeroes. */
    memset(c, 0, offsetof(struct httpd_conn, http));
    c->config = config;
    c->since_ns = now_ns;
    http1_init(&c->http, HTTP1_REQUEST, HTTP1_HEAD_MAX, HTTPD_BODY_MAX);
    wr_init_grow(&c->plain, slice);
    /* Deflate may grow what it cannot compress by some bytes per 16 KiB. */
    wr_init_grow(&c->out,
                 slice + slice / 64 + HEAD_ROOM + FRAMING_ROOM + BATCH_BYTES);
    return c;
}

static void drop_answer(struct httpd_conn *c)
{
    httpd_answer_fini(&c->answer);
    httpd_gzip_close(c->gzip);
    c->gzip = NULL;
    c->step = STEP_NONE;
}

void httpd_conn_close(struct httpd_conn *c)
{
    if (!c)
        return;
    drop_answer(c);
    wr_fini(&c->plain);
    wr_fini(&c->out);
    free(c);
}

static void abort_answer(struct httpd_conn *c)
{
    drop_answer(c);
    c->phase = HTTPD_CONN_ABORTED;
}

void httpd_conn_abandon(struct httpd_conn *c)
{
    abort_answer(c);
}

/* ---- the request ---- */

static bool field_is(const struct http1 *h, const struct http1_field *f,
                     const char *name)
{
    return f->name_len == strlen(name) &&
           strncasecmp(h->head + f->name, name, f->name_len) == 0;
}

/* Is gzip among the codings, other than with q=0? */
static bool accepts_gzip(const char *p, size_t len)
{
    const char *end = p + len;
    while (p < end) {
        const char *to = memchr(p, ',', (size_t)(end - p));
        if (!to)
            to = end;
        while (p < to && (*p == ' ' || *p == '\t'))
            p++;
        size_t n = 0;
        while (p + n < to && !strchr(" \t;", p[n]))
            n++;
        bool is_gzip = n == 4 && strncasecmp(p, "gzip", 4) == 0;
        const char *q = memchr(p, '=', (size_t)(to - p));
        bool is_zero = q != NULL;
        for (q = q ? q + 1 : to; q < to; q++)
            is_zero = is_zero && strchr("0. \t", *q);
        if (is_gzip && !is_zero)
            return true;
        p = to < end ? to + 1 : end;
    }
    return false;
}

/* Read the fields we care about. Their list, not http1_field(), because both
 * may be repeated. */
static void read_fields(struct httpd_conn *c)
{
    const struct http1 *h = &c->http;
    c->wants_gzip = false;
    c->if_none_match[0] = '\0';
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http1_field *f = &h->fields[i];
        const char *value = h->head + f->value;
        if (field_is(h, f, "accept-encoding"))
            c->wants_gzip = c->wants_gzip || accepts_gzip(value, f->value_len);
        else if (field_is(h, f, "if-none-match") &&
                 f->value_len < sizeof(c->if_none_match)) {
            memcpy(c->if_none_match, value, f->value_len);
            c->if_none_match[f->value_len] = '\0';
        }
    }
}

static void begin_answer(struct httpd_conn *c, uint64_t now_ns)
{
    if (c->answer.status == 0)
        httpd_error(&c->answer, 404, "not_found", "no such resource");
    c->phase = HTTPD_CONN_ANSWERING;
    c->has_served = true;
    c->step = c->answer.prepare ? STEP_PREPARE : STEP_FIRST;
    c->begun_ns = now_ns;
    c->progress_ns = now_ns;
}

/* Answer what is wrong with the connection or the request itself; there is
 * no telling where the next request would begin. */
static void refuse(struct httpd_conn *c, unsigned status, const char *code,
                   const char *why, uint64_t now_ns)
{
    c->config->stats->bad_requests++;
    c->is_last = true;
    httpd_error(&c->answer, status, code, "%s", why);
    begin_answer(c, now_ns);
}

void httpd_conn_refuse(struct httpd_conn *c, uint64_t now_ns)
{
    c->is_last = true;
    httpd_error(&c->answer, 503, "too_many_connections",
                "the server is at its limit of connections");
    begin_answer(c, now_ns);
}

static void refuse_malformed(struct httpd_conn *c, uint64_t now_ns)
{
    const struct http1 *h = &c->http;
    const char *why = h->error ? h->error : "malformed request";
    c->is_head = false;
    c->is_old = false;
    if (h->err != ERR_TOOBIG)
        refuse(c, 400, "bad_request", why, now_ns);
    else if (strncmp(why, "body", 4) == 0)
        refuse(c, 413, "content_too_large", why, now_ns);
    else if (!memchr(h->head, '\n', h->head_len))
        refuse(c, 414, "target_too_long", why, now_ns);
    else
        refuse(c, 431, "header_too_large", why, now_ns);
}

static bool text_is(struct http1_text t, const char *text)
{
    return t.len == strlen(text) && memcmp(t.data, text, t.len) == 0;
}

/* The fields of that name as one, which is what a list in several lines means
 * (RFC 9110 5.3). NULL: there is none. */
static const char *join_accept(const struct http1 *h,
                               char out[HTTPD_ACCEPT_SIZE])
{
    size_t at = 0;
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http1_field *f = &h->fields[i];
        if (!field_is(h, f, "accept") || f->value_len == 0 ||
            at + f->value_len + 2 > HTTPD_ACCEPT_SIZE)
            continue;
        if (at > 0)
            out[at++] = ',';
        memcpy(out + at, h->head + f->value, f->value_len);
        at += f->value_len;
    }
    out[at] = '\0';
    return at > 0 ? out : NULL;
}

static void call_handler(struct httpd_conn *c, uint64_t now_ns)
{
    const struct http1 *h = &c->http;
    struct httpd_query query;
    char accept[HTTPD_ACCEPT_SIZE];
    struct errmsg msg = {""};
    int err = httpd_query_decode(&query, h->target.data, h->target.len, &msg);
    if (err) {
        /* The framing is sound, the connection can go on. */
        c->config->stats->bad_requests++;
        httpd_error(&c->answer, 400, "bad_target", "%s", msg.text);
    } else {
        query.request.is_head = c->is_head;
        query.request.accept = join_accept(h, accept);
        c->config->handler(c->config->arg, &query.request, &c->answer);
    }
    begin_answer(c, now_ns);
}

static void on_request(struct httpd_conn *c, uint64_t now_ns)
{
    const struct http1 *h = &c->http;
    c->config->stats->requests++;
    c->is_head = text_is(h->method, "HEAD");
    c->is_old = h->version_minor == 0;
    c->is_last = !h->is_keep_alive;

    read_fields(c);
    if (h->n_fields > HTTPD_FIELDS_MAX) {
        refuse(c, 431, "header_too_large", "more than 64 header fields",
               now_ns);
    } else if (h->target.len > HTTPD_TARGET_MAX) {
        refuse(c, 414, "target_too_long",
               "request target longer than 2048 bytes", now_ns);
    } else if (!c->is_head && !text_is(h->method, "GET")) {
        c->config->stats->bad_requests++;
        httpd_error(&c->answer, 405, "method_not_allowed",
                    "only GET and HEAD are served here");
        c->answer.extra = "Allow: GET, HEAD\r\n";
        begin_answer(c, now_ns);
    } else {
        call_handler(c, now_ns);
    }
}

static bool has_input(const struct httpd_conn *c)
{
    return c->in_pos < c->in_len;
}

static void take_input(struct httpd_conn *c, uint64_t now_ns)
{
    c->in_pos += http1_feed(&c->http, c->in + c->in_pos, c->in_len - c->in_pos);
    if (!has_input(c))
        c->in_pos = c->in_len = 0;

    if (c->http.state == HTTP1_DONE)
        on_request(c, now_ns);
    else if (c->http.state == HTTP1_FAILED)
        refuse_malformed(c, now_ns);
}

static void end_or_linger(struct httpd_conn *c, uint64_t now_ns)
{
    c->in_pos = c->in_len = 0;
    c->since_ns = now_ns;
    c->phase = c->has_eof ? HTTPD_CONN_ENDED : HTTPD_CONN_LINGERING;
}

/* The peer has closed its side and all it sent was looked at. */
static void take_eof(struct httpd_conn *c, uint64_t now_ns)
{
    if (!http1_begun(&c->http)) {
        end_or_linger(c, now_ns);
        return;
    }
    c->is_head = c->is_old = false;
    refuse(c, 400, "bad_request", "the request is incomplete", now_ns);
}

/* ---- the answer ---- */

static void write_date(struct wr *w, uint64_t unix_ns)
{
    static const char days[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t t = (time_t)(unix_ns / NS_PER_S);
    struct tm tm;
    /* Not strftime: names of days must not depend on the locale. */
    if (gmtime_r(&t, &tm))
        wr_printf(w, "Date: %.3s, %02d %.3s %d %02d:%02d:%02d GMT\r\n",
                  days + 3 * (size_t)tm.tm_wday, tm.tm_mday,
                  months + 3 * (size_t)tm.tm_mon, tm.tm_year + 1900, tm.tm_hour,
                  tm.tm_min, tm.tm_sec);
}

/* `length` < 0: not known. */
static void write_head(struct httpd_conn *c, unsigned status, int64_t length)
{
    const struct httpd_answer *a = &c->answer;
    struct wr *w = &c->out;
    wr_printf(w, "HTTP/1.1 %u %s\r\n", status, httpd_reason(status));
    if (c->config->now_unix_ns)
        write_date(w, c->config->now_unix_ns());
    if (status != 304) {
        wr_printf(w, "Content-Type: %s\r\n", a->content_type);
        if (length >= 0)
            wr_printf(w, "Content-Length: %lld\r\n", (long long)length);
        else if (c->is_chunked)
            wr_text(w, "Transfer-Encoding: chunked\r\n");
        if (c->gzip)
            wr_text(w, "Content-Encoding: gzip\r\n");
    }
    if (a->etag[0])
        wr_printf(w, "ETag: W/\"%s\"\r\n", a->etag);
    if (!a->text)
        wr_text(w, "Vary: Accept-Encoding\r\n");
    wr_printf(w, "Cache-Control: %s\r\n",
              a->is_cacheable ? "no-cache" : "no-store");
    wr_text(w, "X-Content-Type-Options: nosniff\r\n");
    if (!a->extra || !strstr(a->extra, "Content-Security-Policy:"))
        wr_text(w, "Content-Security-Policy: default-src 'none'; "
                   "frame-ancestors 'none'\r\n");
    if (a->extra)
        wr_text(w, a->extra);
    if (c->is_last)
        wr_text(w, "Connection: close\r\n");
    else if (c->is_old)
        wr_text(w, "Connection: keep-alive\r\n");
    wr_text(w, "\r\n");
}

static void finish_answer(struct httpd_conn *c, uint64_t now_ns)
{
    if (wr_err(&c->out)) {
        abort_answer(c);
        return;
    }
    drop_answer(c);
    c->phase = HTTPD_CONN_READING;
    c->since_ns = now_ns;
    if (!c->is_last)
        http1_next(&c->http, false);
}

/* Append the slice in c->plain as it goes over the wire. */
static void write_slice(struct httpd_conn *c, bool is_end)
{
    struct wr *w = &c->out;
    /* The size of a chunk stands before it and compression makes it unknown
     * until it is done, so four hex digits and more are kept free: leading
     * zeroes are allowed (RFC 9112 7.1). */
    size_t size_at = w->len;
    if (c->is_chunked)
        wr_text(w, "00000000\r\n");
    size_t start = w->len;
    if (c->gzip)
        httpd_gzip_write(c->gzip, c->plain.data, c->plain.len, is_end, w);
    else
        wr_bytes(w, c->plain.data, c->plain.len);
    if (!c->is_chunked || wr_err(w))
        return;

    size_t n = w->len - start;
    if (n == 0) {
        w->len = size_at; /* a chunk of zero would end the body */
    } else {
        static const char digits[] = "0123456789abcdef";
        for (size_t i = 0; i < 8; i++)
            w->data[size_at + i] = (uint8_t)digits[n >> (28 - 4 * i) & 15];
        wr_text(w, "\r\n");
    }
    if (is_end)
        wr_text(w, "0\r\n\r\n");
}

/* Run the body callback into c->plain. Returns 1 more, 0 end, negative. */
static int fill_slice(struct httpd_conn *c)
{
    struct httpd_answer *a = &c->answer;
    wr_reset(&c->plain);
    if (a->text) {
        wr_text(&c->plain, a->text);
        return 0;
    }
    int rc = a->body ? a->body(a->state, &c->plain) : 0;
    return rc >= 0 && wr_err(&c->plain) ? wr_err(&c->plain) : rc;
}

static bool etag_matches(const struct httpd_conn *c)
{
    const char *want = c->if_none_match;
    size_t n = strlen(c->answer.etag);
    if (n == 0 || c->answer.status != 200)
        return false;
    if (strcmp(want, "*") == 0)
        return true;
    for (const char *p = want; (p = strchr(p, '"')); p++) {
        if (strncmp(p + 1, c->answer.etag, n) == 0 && p[1 + n] == '"')
            return true;
    }
    return false;
}

/* Replace what the handler made by an error of ours. */
static void fail_answer(struct httpd_conn *c)
{
    httpd_answer_fini(&c->answer);
    httpd_error(&c->answer, 500, "internal", "the answer could not be made");
}

/* All of the content is in c->plain: its length can be said. */
static void send_whole(struct httpd_conn *c)
{
    size_t length = c->plain.len;
    if (c->gzip) {
        /* Compress first, to know the length; then put the head before it.
         * The answer is one slice at most, the copy is cheap. */
        struct wr packed;
        wr_init_grow(&packed, c->out.max);
        int err =
            httpd_gzip_write(c->gzip, c->plain.data, length, true, &packed);
        write_head(c, c->answer.status, (int64_t)packed.len);
        if (!c->is_head)
            wr_bytes(&c->out, packed.data, packed.len);
        if (err)
            c->out.err = err;
        wr_fini(&packed);
        return;
    }
    write_head(c, c->answer.status, (int64_t)length);
    if (!c->is_head)
        wr_bytes(&c->out, c->plain.data, length);
}

static void first_slice(struct httpd_conn *c, uint64_t now_ns)
{
    if (etag_matches(c)) {
        write_head(c, 304, -1);
        finish_answer(c, now_ns);
        return;
    }
    int rc = fill_slice(c);
    if (rc < 0) {
        fail_answer(c);
        rc = fill_slice(c);
    }
    if (c->wants_gzip && !c->answer.text &&
        (rc > 0 || c->plain.len >= GZIP_MIN))
        c->gzip = httpd_gzip_open(); /* without memory: plain, then */
    if (rc <= 0) {
        send_whole(c);
        finish_answer(c, now_ns);
        return;
    }
    c->is_chunked = !c->is_old;
    c->is_last = c->is_last || c->is_old; /* its end is the close */
    write_head(c, c->answer.status, -1);
    if (c->is_head) {
        finish_answer(c, now_ns);
        return;
    }
    write_slice(c, false);
    c->step = STEP_MORE;
}

static void next_slice(struct httpd_conn *c, uint64_t now_ns)
{
    int rc = fill_slice(c);
    if (rc < 0) {
        abort_answer(c);
        return;
    }
    write_slice(c, rc == 0);
    if (rc == 0)
        finish_answer(c, now_ns);
}

static void prepare(struct httpd_conn *c)
{
    int rc = c->answer.prepare(c->answer.state, &c->answer);
    if (rc < 0)
        fail_answer(c);
    if (rc <= 0)
        c->step = STEP_FIRST;
}

static void answer_turn(struct httpd_conn *c, uint64_t now_ns)
{
    assert(c->step != STEP_NONE);
    switch (c->step) {
    case STEP_NONE:
        break;
    case STEP_PREPARE:
        prepare(c);
        break;
    case STEP_FIRST:
        first_slice(c, now_ns);
        break;
    case STEP_MORE:
        next_slice(c, now_ns);
        break;
    }
    if (c->phase == HTTPD_CONN_ANSWERING && wr_err(&c->out))
        abort_answer(c);
}

/* ---- the host's side ---- */

static size_t out_left(const struct httpd_conn *c)
{
    return c->out.len - c->out_sent;
}

bool httpd_conn_wants_turn(const struct httpd_conn *c)
{
    if (out_left(c) > 0)
        return false;
    if (c->phase == HTTPD_CONN_READING)
        return has_input(c) || c->has_eof || c->is_last;
    return c->phase == HTTPD_CONN_ANSWERING;
}

/* One step. Returns false when there is nothing more to do now. */
static bool step(struct httpd_conn *c, uint64_t now_ns)
{
    if (c->phase == HTTPD_CONN_ANSWERING)
        answer_turn(c, now_ns);
    else if (c->phase != HTTPD_CONN_READING)
        return false;
    else if (c->is_last && out_left(c) == 0)
        end_or_linger(c, now_ns);
    else if (c->is_last)
        return false;
    else if (has_input(c))
        take_input(c, now_ns);
    else if (c->has_eof)
        take_eof(c, now_ns);
    else
        return false;
    return true;
}

void httpd_conn_turn(struct httpd_conn *c, uint64_t now_ns)
{
    /* Small answers to pipelined requests go out together. A turn ends at
     * the first answer that is more than one step of work. */
    while (out_left(c) < BATCH_BYTES && step(c, now_ns)) {
        if (c->step == STEP_PREPARE || c->step == STEP_MORE)
            break;
    }
    if (out_left(c) > 0)
        c->progress_ns = now_ns;
}

uint8_t *httpd_conn_space(struct httpd_conn *c, size_t *size)
{
    if (c->phase == HTTPD_CONN_LINGERING)
        c->in_pos = c->in_len = 0;
    if (c->in_pos > 0) {
        memmove(c->in, c->in + c->in_pos, c->in_len - c->in_pos);
        c->in_len -= c->in_pos;
        c->in_pos = 0;
    }
    *size = c->has_eof ? 0 : sizeof(c->in) - c->in_len;
    return *size > 0 ? c->in + c->in_len : NULL;
}

void httpd_conn_received(struct httpd_conn *c, size_t n, uint64_t now_ns)
{
    assert(n <= sizeof(c->in) - c->in_len);
    if (c->phase == HTTPD_CONN_LINGERING) {
        c->dropped += n;
        if (c->dropped > LINGER_BYTES)
            c->phase = HTTPD_CONN_ENDED;
        return;
    }
    /* The clock of a request starts with its first byte. */
    if (n > 0 && c->phase == HTTPD_CONN_READING && !has_input(c) &&
        !http1_begun(&c->http))
        c->since_ns = now_ns;
    c->in_len += n;
}

void httpd_conn_eof(struct httpd_conn *c, uint64_t now_ns)
{
    (void)now_ns;
    c->has_eof = true;
    if (c->phase == HTTPD_CONN_LINGERING)
        c->phase = HTTPD_CONN_ENDED;
}

const uint8_t *httpd_conn_out(const struct httpd_conn *c, size_t *len)
{
    *len = c->phase >= HTTPD_CONN_ENDED ? 0 : out_left(c);
    return *len > 0 ? c->out.data + c->out_sent : NULL;
}

void httpd_conn_sent(struct httpd_conn *c, size_t n, uint64_t now_ns)
{
    assert(n <= out_left(c));
    c->out_sent += n;
    if (n > 0)
        c->progress_ns = now_ns;
    if (out_left(c) > 0)
        return;
    c->out_sent = 0;
    /* An idle connection keeps no slice: 128 of them would be megabytes. */
    if (c->step == STEP_NONE && c->out.size > BATCH_BYTES) {
        size_t max = c->out.max;
        wr_fini(&c->out);
        wr_init_grow(&c->out, max);
        wr_fini(&c->plain);
        wr_init_grow(&c->plain, limits(c)->slice_bytes);
    }
    wr_reset(&c->out);
    if (c->phase == HTTPD_CONN_READING)
        c->since_ns = now_ns;
}

void httpd_conn_progress(struct httpd_conn *c, uint64_t now_ns)
{
    c->progress_ns = now_ns;
}

enum httpd_conn_phase httpd_conn_phase(const struct httpd_conn *c)
{
    return c->phase;
}

static bool is_waiting(const struct httpd_conn *c)
{
    return c->phase == HTTPD_CONN_READING && out_left(c) == 0 && !c->is_last;
}

uint64_t httpd_conn_waits_since(const struct httpd_conn *c)
{
    return is_waiting(c) ? c->since_ns : NEVER;
}

uint64_t httpd_conn_deadline(const struct httpd_conn *c)
{
    const struct httpd_limits *l = limits(c);
    if (c->phase >= HTTPD_CONN_ENDED)
        return NEVER;
    if (c->phase == HTTPD_CONN_LINGERING)
        return c->since_ns + l->linger_timeout_ns;
    if (is_waiting(c)) {
        /* A fresh connection has to speak up as soon as a begun request. */
        bool is_idle = c->has_served && !http1_begun(&c->http);
        return c->since_ns +
               (is_idle ? l->idle_timeout_ns : l->head_timeout_ns);
    }
    uint64_t write = c->progress_ns + l->write_timeout_ns;
    uint64_t whole = c->begun_ns + l->answer_timeout_ns;
    if (c->step == STEP_NONE)
        return write; /* the rest of a whole batch */
    return out_left(c) > 0 && write < whole ? write : whole;
}

void httpd_conn_expire(struct httpd_conn *c, uint64_t now_ns)
{
    if (now_ns < httpd_conn_deadline(c))
        return;
    if (c->phase == HTTPD_CONN_LINGERING) {
        c->phase = HTTPD_CONN_ENDED;
        return;
    }
    c->config->stats->timeouts++;
    if (!is_waiting(c)) {
        abort_answer(c);
    } else if (http1_begun(&c->http)) {
        c->is_head = c->is_old = false;
        refuse(c, 408, "request_timeout",
               "the request was not complete in time", now_ns);
    } else {
        end_or_linger(c, now_ns);
    }
}
