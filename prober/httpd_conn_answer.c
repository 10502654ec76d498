#include "prober/httpd_conn_private.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#include "proto/base/err.h"
#include "proto/http1.h"

#define GZIP_MIN 1024 /* below, the header costs more */
#define NS_PER_S 1000000000u

void httpd_conn_read_on(struct httpd_conn *c, size_t n_new)
{
    if (c->phase != HTTPD_CONN_ANSWERING || !c->answer.is_live)
        return;
    if (c->has_eof) {
        httpd_conn_abort(c);
        return;
    }
    if (c->is_flooded)
        c->dropped += n_new;
    if (c->is_flooded || c->in_len - c->in_pos == sizeof(c->in)) {
        c->is_flooded = true;
        c->is_last = true;
        c->in_pos = c->in_len = 0;
    }
    if (c->dropped > HTTPD_CONN_LINGER_BYTES)
        httpd_conn_abort(c);
}
void httpd_conn_begin_answer(struct httpd_conn *c, uint64_t now_ns)
{
    if (c->answer.status == 0)
        httpd_error(&c->answer, 404, "not_found", "no such resource");
    c->phase = HTTPD_CONN_ANSWERING;
    c->has_served = true;
    c->step = c->answer.prepare ? STEP_PREPARE : STEP_FIRST;
    c->begun_ns = now_ns;
    c->progress_ns = now_ns;
    httpd_conn_read_on(c, 0);
}
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
    wr_printf(w, "HTTP/1.1 %u %s\r\n", status, http1_reason(status));
    if (c->config->now_unix_ns)
        write_date(w, c->config->now_unix_ns());
    if (status != 304 && status != 204) {
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
    if (!a->text && !a->is_live)
        wr_text(w, "Vary: Accept-Encoding\r\n");
    wr_printf(w, "Cache-Control: %s\r\n",
              a->is_cacheable ? "no-cache" : "no-store");
    wr_text(w, "X-Content-Type-Options: nosniff\r\n");
    if (!a->extra || !strstr(a->extra, "Content-Security-Policy:"))
        wr_text(w, "Content-Security-Policy: default-src 'none'; "
                   "frame-ancestors 'none'\r\n");
    if (a->extra)
        wr_text(w, a->extra);
    if (a->field[0])
        wr_printf(w, "%s\r\n", a->field);
    if (c->is_last)
        wr_text(w, "Connection: close\r\n");
    else if (c->is_old)
        wr_text(w, "Connection: keep-alive\r\n");
    wr_text(w, "\r\n");
}

static void finish_answer(struct httpd_conn *c, uint64_t now_ns)
{
    if (wr_err(&c->out)) {
        httpd_conn_abort(c);
        return;
    }
    httpd_conn_drop_answer(c);
    c->phase = HTTPD_CONN_READING;
    c->since_ns = now_ns;
    c->has_continued = false;
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

/* The handler has nothing now, unless it has called the waker meanwhile. */
static void park(struct httpd_conn *c)
{
    c->is_parked = !c->was_woken;
}

/* Run the body callback into c->plain. Returns 1 more, 0 end, HTTPD_WAIT,
 * negative. */
static int fill_slice(struct httpd_conn *c)
{
    struct httpd_answer *a = &c->answer;
    wr_reset(&c->plain);
    if (a->text) {
        wr_text(&c->plain, a->text);
        return 0;
    }
    c->was_woken = false;
    int rc = a->body ? a->body(a->state, &c->plain) : 0;
    return rc >= 0 && wr_err(&c->plain) ? wr_err(&c->plain) : rc;
}

static bool etag_matches(const struct httpd_conn *c)
{
    const char *want = c->etags;
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
    if (rc == HTTPD_WAIT && c->plain.len == 0 && !c->answer.is_live) {
        park(c); /* it can still become an error */
        return;
    }
    if (c->wants_gzip && !c->answer.text && !c->answer.is_live &&
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
    if (rc == HTTPD_WAIT)
        park(c);
}

static void next_slice(struct httpd_conn *c, uint64_t now_ns)
{
    int rc = fill_slice(c);
    if (rc < 0) {
        httpd_conn_abort(c);
        return;
    }
    write_slice(c, rc == 0);
    if (rc == 0)
        finish_answer(c, now_ns);
    else if (rc == HTTPD_WAIT)
        park(c);
}

static void prepare(struct httpd_conn *c)
{
    c->was_woken = false;
    int rc = c->answer.prepare(c->answer.state, &c->answer);
    if (rc < 0)
        fail_answer(c);
    if (rc <= 0)
        c->step = STEP_FIRST;
    else if (rc == HTTPD_WAIT)
        park(c);
    httpd_conn_read_on(c, 0); /* it may have become live */
}

void httpd_conn_answer_turn(struct httpd_conn *c, uint64_t now_ns)
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
        httpd_conn_abort(c);
}
