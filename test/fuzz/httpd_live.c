/* test/fuzz/httpd_live.c - the control port's server without its handlers.
 *
 * The input is a script: a byte below 128 lets that many bytes and one more of
 * the rest arrive, one from 128 on is something else that happens (see act()).
 * The wire sniffs, takes bodies, and its handler waits as it is told. Whatever
 * comes: each answer is done once, a body is never longer than it may be, and
 * a connection that waits for nobody has a deadline. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/httpd_wire.h"
#include "proto/base/err.h"

#define SEC 1000000000ull

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct host {
    struct httpd_wire *wire;
    struct httpd_waker waker;
    struct httpd_waker *handler_waker;
    uint64_t now_ns;
    unsigned handled, done, n_ready;
    bool is_over, is_live, wakes_itself, is_stuck;
    int fails;
};

static void demand(bool holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "broken: %s\n", what);
        abort();
    }
}

static int proceed(struct host *h)
{
    if (h->wakes_itself && h->handler_waker)
        h->handler_waker->wake(h->handler_waker);
    h->wakes_itself = false;
    if (h->fails)
        return h->fails;
    return h->is_over ? 0 : HTTPD_WAIT;
}

static int body(void *state, struct wr *w)
{
    struct host *h = state;
    for (; h->n_ready > 0; h->n_ready--) {
        if (httpd_slice_is_full(w))
            return 1;
        memset(wr_space(w, 1000), 'x', 1000);
    }
    return proceed(h);
}

static int prepare(void *state, struct httpd_answer *answer)
{
    struct host *h = state;
    answer->is_live = h->is_live = h->n_ready > 0;
    return proceed(h);
}

static void done(void *state)
{
    struct host *h = state;
    h->done++;
    h->handler_waker = NULL;
    h->is_live = false;
}

static void handle(void *arg, const struct httpd_request *r,
                   struct httpd_answer *a)
{
    struct host *h = arg;
    demand(h->handled == h->done, "one answer at a time");
    demand(r->body_len <= HTTPD_BODY_MAX, "the body is bounded");
    demand((r->body != NULL) == (r->body_len > 0), "no body is no body");
    demand(!r->body || r->method == HTTPD_POST, "only POST has one");
    demand(!r->authorization || strlen(r->authorization) <= HTTPD_FIELD_MAX,
           "fields are bounded");
    h->handled++;
    h->handler_waker = r->waker;
    h->is_live = r->path[1] == 'l';
    *a = (struct httpd_answer){.status = 200,
                               .content_type = "text/plain",
                               .state = h,
                               .done = done,
                               .is_live = h->is_live,
                               .body = body};
    if (r->path[1] == 'p')
        a->prepare = prepare;
    if (r->path[1] == 't')
        a->text = "text";
}

static void on_wake(struct httpd_waker *waker)
{
    (void)waker;
}

/* Write at most `max` bytes at a time, once if the network is stuck. */
static void pump(struct host *h, size_t max)
{
    size_t len;
    for (int i = 0; i < 100000; i++) {
        const uint8_t *out = httpd_wire_out(h->wire, &len);
        if (out && h->is_stuck)
            return;
        if (out) {
            volatile uint8_t last = out[len - 1]; /* it is there */
            (void)last;
            httpd_wire_sent(h->wire, len < max ? len : max, h->now_ns);
        } else if (httpd_wire_wants_turn(h->wire)) {
            httpd_wire_turn(h->wire, h->now_ns);
        } else {
            demand(h->is_live ||
                       httpd_wire_phase(h->wire) >= HTTPD_CONN_ENDED ||
                       httpd_wire_deadline(h->wire) != UINT64_MAX,
                   "what waits has a deadline");
            return;
        }
    }
    demand(false, "it comes to rest");
}

static size_t arrive(struct host *h, const uint8_t *data, size_t n)
{
    size_t size;
    uint8_t *space = httpd_wire_space(h->wire, &size);
    if (n > size)
        n = size;
    if (n > 0)
        memcpy(space, data, n);
    if (space)
        httpd_wire_received(h->wire, n, h->now_ns);
    return n;
}

static void act(struct host *h, uint8_t what)
{
    switch (what & 15) {
    case 0:
        httpd_wire_eof(h->wire, h->now_ns);
        break;
    case 1:
        h->n_ready += what >> 4;
        break;
    case 2:
        h->is_over = !h->is_over;
        break;
    case 3:
        h->wakes_itself = true;
        break;
    case 4:
        h->fails = h->fails ? 0 : ERR_NOMEM;
        break;
    case 5:
        h->is_stuck = !h->is_stuck;
        break;
    case 6:
        h->now_ns += (what >> 4) * SEC;
        httpd_wire_expire(h->wire, h->now_ns);
        break;
    case 7:
        h->n_ready += 100;
        break;
    default:
        if (h->handler_waker)
            h->handler_waker->wake(h->handler_waker);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct httpd_stats stats = {0};
    struct httpd_limits limits = httpd_limits_default;
    struct host h = {.now_ns = SEC, .waker.wake = on_wake};
    struct httpd_peer peer = {0};
    limits.methods = 1u << HTTPD_POST | 1u << HTTPD_DELETE;
    const struct httpd_conn_config conn = {
        .limits = &limits, .handler = handle, .arg = &h, .stats = &stats};
    const struct httpd_wire_config config = {
        .conn = &conn, .http1 = &httpd_conn_ops, .http2 = &httpd_conn_ops};
    h.wire = httpd_wire_open(&config, &peer, &h.waker, h.now_ns);
    if (!h.wire)
        return 0;
    while (size > 0 && httpd_wire_phase(h.wire) < HTTPD_CONN_ENDED) {
        uint8_t what = *data++;
        size--;
        if (what < 128) {
            size_t n = what + 1u < size ? what + 1u : size;
            n = arrive(&h, data, n);
            data += n;
            size -= n;
        } else {
            act(&h, what & 127);
        }
        pump(&h, (what & 31) + 1000u);
    }
    httpd_wire_abandon(h.wire);
    demand(h.handled == h.done, "each answer is done");
    httpd_wire_close(h.wire);
    return 0;
}
