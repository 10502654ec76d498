#include "prober/httpd_conn_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_ROOM    1024 /* our response heads are far below */
#define FRAMING_ROOM 64   /* chunk size, CRLFs, last chunk */
#define BATCH_BYTES  8192 /* pipelined small answers go together */
#define NS_PER_S     1000000000u
#define NEVER        UINT64_MAX

const struct httpd_limits httpd_limits_default = {
    .connections_max = 128,
    .per_address_max = 16,
    .per_loopback_max = 128,
    .per_user_max = 112,
    .handshake_timeout_ns = 5ull * NS_PER_S,
    .head_timeout_ns = 5ull * NS_PER_S,
    .idle_timeout_ns = 10ull * NS_PER_S,
    .write_timeout_ns = 30ull * NS_PER_S,
    .answer_timeout_ns = 120ull * NS_PER_S,
    .linger_timeout_ns = 2ull * NS_PER_S,
    .slice_bytes = 65536,
};

static void on_wake(struct httpd_waker *waker)
{
    struct httpd_conn *c =
        (void *)((char *)waker - offsetof(struct httpd_conn, waker));
    c->was_woken = true;
    c->is_parked = false;
    if (c->host_waker)
        c->host_waker->wake(c->host_waker);
}

struct httpd_conn *httpd_conn_open(const struct httpd_conn_config *config,
                                   const struct httpd_peer *peer,
                                   struct httpd_waker *waker, uint64_t now_ns)
{
    size_t slice = config->limits->slice_bytes;
    assert(slice >= 2 * HTTPD_PIECE_MAX && slice <= 1u << 20);

    struct httpd_conn *c = malloc(sizeof(*c));
    if (!c)
        return NULL;
    /* Not the buffers: they are most of it and need no zeroes. */
    memset(c, 0, offsetof(struct httpd_conn, http));
    c->config = config;
    c->peer = peer;
    c->host_waker = waker;
    c->waker.wake = on_wake;
    c->since_ns = now_ns;
    wr_init_grow(&c->body, HTTPD_BODY_MAX);
    http1_init(&c->http, HTTP1_REQUEST, HTTP1_HEAD_MAX, HTTPD_BODY_MAX);
    wr_init_grow(&c->plain, slice);
    /* Deflate may grow what it cannot compress by some bytes per 16 KiB. */
    wr_init_grow(&c->out,
                 slice + slice / 64 + HEAD_ROOM + FRAMING_ROOM + BATCH_BYTES);
    return c;
}

void httpd_conn_drop_answer(struct httpd_conn *c)
{
    httpd_answer_fini(&c->answer);
    httpd_gzip_close(c->gzip);
    c->gzip = NULL;
    c->step = STEP_NONE;
    c->is_parked = false;
}

void httpd_conn_close(struct httpd_conn *c)
{
    if (!c)
        return;
    httpd_conn_drop_answer(c);
    wr_fini(&c->body);
    wr_fini(&c->plain);
    wr_fini(&c->out);
    free(c);
}

void httpd_conn_abort(struct httpd_conn *c)
{
    httpd_conn_drop_answer(c);
    c->phase = HTTPD_CONN_ABORTED;
}

void httpd_conn_abandon(struct httpd_conn *c)
{
    httpd_conn_abort(c);
}

void httpd_conn_refuse(struct httpd_conn *c, uint64_t now_ns)
{
    c->is_last = true;
    httpd_error(&c->answer, 503, "too_many_connections",
                "the server is at its limit of connections");
    httpd_conn_begin_answer(c, now_ns);
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
    httpd_conn_answer_badly(c, 400, "bad_request", "the request is incomplete",
                            now_ns);
}

/* ---- the host's side ---- */

bool httpd_conn_wants_turn(const struct httpd_conn *c)
{
    if (httpd_conn_out_left(c) > 0)
        return false;
    if (c->phase == HTTPD_CONN_READING)
        return httpd_conn_has_input(c) || c->has_eof || c->is_last;
    return c->phase == HTTPD_CONN_ANSWERING && !c->is_parked;
}

/* One step. Returns false when there is nothing more to do now. */
static bool step(struct httpd_conn *c, uint64_t now_ns)
{
    if (c->phase == HTTPD_CONN_ANSWERING && !c->is_parked)
        httpd_conn_answer_turn(c, now_ns);
    else if (c->phase != HTTPD_CONN_READING)
        return false;
    else if (c->is_last && httpd_conn_out_left(c) == 0)
        end_or_linger(c, now_ns);
    else if (c->is_last)
        return false;
    else if (httpd_conn_has_input(c))
        httpd_conn_take_input(c, now_ns);
    else if (c->has_eof && httpd_conn_out_left(c) == 0)
        take_eof(c, now_ns); /* not before, the answer would be lost */
    else
        return false;
    return true;
}

void httpd_conn_turn(struct httpd_conn *c, uint64_t now_ns)
{
    /* Small answers to pipelined requests go out together. A turn ends at
     * the first answer that is more than one step of work. */
    while (httpd_conn_out_left(c) < BATCH_BYTES && step(c, now_ns)) {
        if (c->step == STEP_PREPARE || c->step == STEP_MORE)
            break;
    }
    if (httpd_conn_out_left(c) == 0)
        return;
    c->progress_ns = now_ns;
    if (c->answer.is_live || c->step == STEP_NONE)
        c->begun_ns = now_ns; /* of this slice, or of the rest of a batch */
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
        if (c->dropped > HTTPD_CONN_LINGER_BYTES)
            c->phase = HTTPD_CONN_ENDED;
        return;
    }
    /* The clock of a request starts with its first byte. */
    if (n > 0 && c->phase == HTTPD_CONN_READING && !httpd_conn_has_input(c) &&
        !http1_begun(&c->http))
        c->since_ns = now_ns;
    c->in_len += n;
    httpd_conn_read_on(c, n);
}

void httpd_conn_eof(struct httpd_conn *c, uint64_t now_ns)
{
    (void)now_ns;
    c->has_eof = true;
    if (c->phase == HTTPD_CONN_LINGERING)
        c->phase = HTTPD_CONN_ENDED;
    httpd_conn_read_on(c, 0);
}

const uint8_t *httpd_conn_out(const struct httpd_conn *c, size_t *len)
{
    *len = c->phase >= HTTPD_CONN_ENDED ? 0 : httpd_conn_out_left(c);
    return *len > 0 ? c->out.data + c->out_sent : NULL;
}

void httpd_conn_sent(struct httpd_conn *c, size_t n, uint64_t now_ns)
{
    assert(n <= httpd_conn_out_left(c));
    c->out_sent += n;
    if (n > 0)
        c->progress_ns = now_ns;
    if (httpd_conn_out_left(c) > 0)
        return;
    c->out_sent = 0;
    /* An idle connection keeps no slice: 128 of them would be megabytes. */
    if ((c->step == STEP_NONE || c->is_parked) && c->out.size > BATCH_BYTES) {
        size_t max = c->out.max;
        wr_fini(&c->out);
        wr_init_grow(&c->out, max);
        wr_fini(&c->plain);
        wr_init_grow(&c->plain, c->config->limits->slice_bytes);
    }
    wr_reset(&c->out);
    if (c->phase == HTTPD_CONN_READING && !c->has_continued)
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
    return c->phase == HTTPD_CONN_READING && httpd_conn_out_left(c) == 0 &&
           !c->is_last && !httpd_conn_has_input(c);
}

uint64_t httpd_conn_waits_since(const struct httpd_conn *c)
{
    return is_waiting(c) ? c->since_ns : NEVER;
}

uint64_t httpd_conn_deadline(const struct httpd_conn *c)
{
    const struct httpd_limits *l = c->config->limits;
    if (c->phase >= HTTPD_CONN_ENDED)
        return NEVER;
    /* What came is looked at first: it may be a request, and in time. */
    if (c->phase == HTTPD_CONN_READING && httpd_conn_wants_turn(c))
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
    if (c->answer.is_live && httpd_conn_out_left(c) == 0)
        return NEVER;
    return httpd_conn_out_left(c) > 0 && write < whole ? write : whole;
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
        httpd_conn_abort(c);
    } else if (http1_begun(&c->http)) {
        c->is_head = c->is_old = false;
        httpd_conn_answer_badly(c, 408, "request_timeout",
                                "the request was not complete in time", now_ns);
    } else {
        end_or_linger(c, now_ns);
    }
}
