/* A ProbeRequest and, over the same bytes, a question of reflection. What is
 * read is within its bounds; what is answered can be read. */
#include <assert.h>
#include <string.h>

#include "prober/control_pb.h"
#include "prober/reflection.h"
#include "proto/pb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_inside(struct span text, const uint8_t *data, size_t size)
{
    assert(text.len <= size);
    assert(text.len == 0 ||
           (text.data >= data && text.data + text.len <= data + size));
}

static void read_request(const uint8_t *data, size_t size)
{
    struct control_pb_request r;
    struct inquiry_ask ask = {0};
    struct errmsg msg = {""};
    if (control_pb_read_request(span_of(data, size), &r))
        return;
    check_inside(r.target, data, size);
    check_inside(r.from, data, size);
    check_inside(r.service, data, size);
    if (control_pb_ask(&r, &ask, &msg)) {
        assert(strchr(msg.text, ':'));
        return;
    }
    assert(span_is(r.target, ask.request.target));
    assert(span_is(r.service, ask.request.service));
    assert(ask.request.count > 0 && ask.per_zone > 0);
    assert(ask.request.protocol < PROTOCOL_N && ask.request.mode < MODE_N);
}

static void reflect(const uint8_t *data, size_t size)
{
    struct wr w;
    struct rd r;
    struct pb_field f;
    wr_init_grow(&w, 1u << 20);
    if (!reflection_answer(reflection_descriptors, span_of(data, size), &w) &&
        !wr_err(&w)) {
        rd_init(&r, w.data, w.len);
        while (pb_next(&r, &f))
            ;
        assert(!rd_err(&r));
        assert(w.len < size * 2 + 8192);
    }
    wr_fini(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    read_request(data, size);
    reflect(data, size);
    return 0;
}
