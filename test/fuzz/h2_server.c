/* A hostile client against the server half. The first byte sizes the pieces;
 * with its top bit set preface and SETTINGS are put in front, with the next
 * one set the output is not taken until the end. */
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void drain(struct h2_server *s)
{
    size_t len;
    const uint8_t *p;
    while ((p = h2_server_out(s, &len)))
        assert(p[0] == p[0] && p[len - 1] == p[len - 1]); /* readable */
}

static void check_request(const struct h2_server_request *r)
{
    assert(r->stream_id > 0 && r->stream_id % 2 == 1);
    assert(memchr(r->method, 0, sizeof(r->method)));
    assert(memchr(r->path, 0, sizeof(r->path)));
    assert(memchr(r->authority, 0, sizeof(r->authority)));
    assert(memchr(r->content_type, 0, sizeof(r->content_type)));
    assert(memchr(r->te, 0, sizeof(r->te)));
    assert(memchr(r->grpc_timeout, 0, sizeof(r->grpc_timeout)));
    assert(memchr(r->grpc_encoding, 0, sizeof(r->grpc_encoding)));
    assert(r->body_len <= h2_limits_default.body_max);
    for (size_t i = 0; i < r->body_len; i++)
        assert(r->body[i] == r->body[i]);
}

static const struct h2_field trailer = {"grpc-status", "0"};

/* By turns: a plain answer, one with trailers, trailers only, a watch that
 * goes on, and none at all. */
static void answer(struct h2_server *s, int32_t id)
{
    unsigned kind = (unsigned)id / 2 % 5;
    struct h2_answer a = {.status = 200, .end = kind != 3};
    if (kind == 4)
        return;
    if (kind != 2) {
        a.body = (const uint8_t *)"ok";
        a.body_len = 2;
    }
    if (kind == 1 || kind == 2) {
        a.trailers = &trailer;
        a.n_trailers = 1;
        a.is_trailers_only = kind == 2;
    }
    int err = h2_server_respond(s, id, &a);
    assert(!err);
    if (kind == 3) {
        err = h2_server_more(s, id, &a);
        assert(!err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t step = 1 + (data[0] & 0x3f);
    bool is_slow = data[0] & 0x40;
    struct h2_server *s = h2_server_open(&h2_limits_default);
    assert(s);
    if (data[0] & 0x80) {
        h2_server_feed(s, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
        h2_server_feed(s, "\0\0\0\4\0\0\0\0\0", 9);
    }

    int failed = 0;
    for (size_t at = 1; at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        int err = h2_server_feed(s, data + at, n);
        assert(!failed || err);
        failed = err;
        const struct h2_server_request *r;
        while ((r = h2_server_next(s))) {
            assert(!failed);
            check_request(r);
            if (h2_server_is_open(s, r->stream_id))
                answer(s, r->stream_id);
        }
        if (!is_slow)
            drain(s);
    }
    h2_server_shutdown(s);
    drain(s);
    assert(!failed || h2_server_is_done(s));
    h2_server_close(s);
    return 0;
}
