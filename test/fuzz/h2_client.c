/* A hostile server against the client half. The first byte sizes the pieces,
 * the rest is what the server says, a SETTINGS frame being put in front when
 * its top bit is set (else the input has to find that by itself). */
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/grpc.h"
#include "proto/h2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct h2_request request = {
    .method = "POST",
    .scheme = "https",
    .authority = "b-1.mesh.test:7443",
    .path = GRPC_HEALTH_CHECK,
    .is_grpc = true,
    .timeout_ns = 5000000000,
    .body = (const uint8_t *)"\0\0\0\0\0",
    .body_len = 5,
};

static void drain(struct h2_client *c)
{
    size_t len;
    size_t total = 0;
    const uint8_t *p;
    while ((p = h2_client_out(c, &len))) {
        total += len;
        assert(total < 1 << 20);
        assert(p[0] == p[0] && p[len - 1] == p[len - 1]); /* readable */
    }
}

static void check_response(const struct h2_response *r)
{
    assert(r->body_len <= sizeof(r->body) && r->body_len <= r->body_bytes);
    assert(memchr(r->content_type, 0, sizeof(r->content_type)));
    assert(memchr(r->server_timing, 0, sizeof(r->server_timing)));
    assert(memchr(r->grpc_status, 0, sizeof(r->grpc_status)));
    assert(memchr(r->grpc_message, 0, sizeof(r->grpc_message)));
    assert(memchr(r->error, 0, sizeof(r->error)));
    if (r->result == H2_OK)
        assert(r->status >= 200 && r->status <= 999 && !r->error[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    size_t step = 1 + (data[0] & 0x7f);
    struct h2_client *c = h2_client_open();
    assert(c);
    int err = h2_client_request(c, &request);
    assert(!err);
    drain(c);
    if (data[0] & 0x80)
        h2_client_feed(c, "\0\0\0\4\0\0\0\0\0", 9);

    bool has_begun = false;
    for (size_t at = 1; at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        enum h2_result before = h2_client_response(c)->result;
        err = h2_client_feed(c, data + at, n);
        const struct h2_response *r = h2_client_response(c);
        check_response(r);
        assert(before == H2_PENDING || r->result == before);
        assert(!err || (r->result != H2_PENDING && !h2_client_is_usable(c)));
        assert(!(has_begun && h2_client_response_began(c)));
        has_begun |= h2_client_response_began(c);
        assert(r->status == 0 || has_begun);
        drain(c);
        /* Warm: ask again on the same session. */
        if (r->result != H2_PENDING && h2_client_is_usable(c)) {
            err = h2_client_request(c, &request);
            assert(!err);
            has_begun = false;
        }
    }
    h2_client_cancel(c);
    assert(h2_client_response(c)->result != H2_PENDING);
    drain(c);
    h2_client_close(c);
    return 0;
}
