/* Bytes from the network to the control port's gRPC side and back.
 *
 * Byte 0 sizes the pieces; its top bit puts preface and SETTINGS in front, the
 * next one leaves output waiting now and then. Byte 1 says what the made-up
 * inquiries are like: bits 0 and 1 their refusal or denial, the others how
 * many samples there are at once. The client is local, so that it gets
 * further than to the admission; time goes on with each piece. */
#include <assert.h>
#include <string.h>

#include "prober/control_grpc.h"
#include "test/fake_inquiry.h"

#define NS_PER_S UINT64_C(1000000000)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct httpd_session_ops *const ops = &control_grpc_ops;

static void on_wake(struct httpd_waker *waker)
{
    (void)waker;
}

static void give(void *session, const void *data, size_t len, uint64_t now_ns)
{
    const uint8_t *p = data;
    while (len > 0) {
        size_t room;
        uint8_t *space = ops->space(session, &room);
        if (!space)
            return;
        size_t n = len < room ? len : room;
        memcpy(space, p, n);
        ops->received(session, n, now_ns);
        if (!ops->out(session, &room) && ops->wants_turn(session))
            ops->turn(session, now_ns);
        p += n;
        len -= n;
    }
}

/* Take all output, and all turns that it leads to. */
static void drain(void *session, uint64_t now_ns)
{
    for (unsigned turns = 0;; turns++) {
        size_t len;
        assert(turns < 10000); /* a session that never rests */
        const uint8_t *out = ops->out(session, &len);
        if (out) {
            assert(out[0] == out[0] && out[len - 1] == out[len - 1]);
            ops->sent(session, len, now_ns);
        } else if (ops->wants_turn(session)) {
            ops->turn(session, now_ns);
        } else {
            return;
        }
    }
}

static void pass(void *session, uint64_t now_ns)
{
    unsigned n = 0;
    while (ops->deadline(session) <= now_ns) {
        ops->expire(session, now_ns);
        drain(session, now_ns);
        assert(++n < 100); /* a deadline that does not move */
    }
}

static void set_up(struct inquiries *all, uint8_t kind)
{
    static const enum inquiry_refusal refusals[] = {INQUIRY_OK, INQUIRY_DENIED};
    *all = (struct inquiries){
        .refusal = refusals[kind & 1],
        .is_denied = kind & 2,
        .samples = kind >> 2,
        .is_over = kind & 4,
        .n_executors = kind & 8 ? 256 : 1,
    };
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    struct inquiries all;
    struct control_source source = {.inquiries = &all};
    struct httpd_limits limits = httpd_limits_default;
    struct httpd_stats stats = {0};
    struct httpd_peer peer = {.is_local = true};
    struct httpd_waker waker = {on_wake};
    struct httpd_conn_config config = {
        .limits = &limits, .arg = &source, .stats = &stats};
    uint64_t now_ns = NS_PER_S;
    size_t step = 1 + (data[0] & 0x3f);
    set_up(&all, data[1]);
    void *session = ops->open(&config, &peer, &waker, now_ns);
    assert(session);

    if (data[0] & 0x80) {
        give(session, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24, now_ns);
        give(session, "\0\0\0\4\0\0\0\0\0", 9, now_ns);
    }
    for (size_t at = 2; at < size; at += step) {
        size_t n = size - at < step ? size - at : step;
        give(session, data + at, n, now_ns);
        if (!(data[0] & 0x40) || at / step % 4 == 0)
            drain(session, now_ns);
        if (all.latest && (at & 1))
            fake_inquiry_add(all.latest, 1, at & 2);
        pass(session, now_ns += NS_PER_S / 10);
    }
    assert(all.started - all.closed <= 64);
    pass(session, now_ns += 40 * NS_PER_S);
    drain(session, now_ns);
    if (data[1] & 1)
        ops->eof(session, now_ns);
    else
        ops->abandon(session);
    assert(all.started == all.closed);
    ops->close(session);
    return 0;
}
