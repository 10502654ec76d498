/* Opens anything as a datagram: bit 0 of the first byte seals it first, bit 1
 * puts a label before it, bit 2 accepts the clear as well. What is opened has
 * to come back when it is closed and opened again. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/ml_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int zero_nonce(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 0, len);
    return 0;
}

static void check_parts(const struct ml_parts *p)
{
    assert(p->n <= ML_PARTS_MAX);
    for (size_t i = 0; i < p->n; i++) {
        struct ml_msg m;
        assert(p->part[i].len > 0);
        ml_msg_decode(p->part[i].data, p->part[i].len, &m);
    }
}

static void check_round_trip(const struct ml_wire *wire,
                             const struct ml_parts *p, unsigned flags)
{
    struct ml_scratch s = {0};
    struct ml_parts again;
    struct wr out;
    size_t n_odd;

    wr_init_grow(&out, 1 << 20);
    int err =
        ml_packet_close(wire, p->part, p->n, flags & 8, flags & 16, &s, &out);
    if (!err && out.len <= ML_PACKET_MAX) {
        enum ml_drop why =
            ml_packet_open(wire, out.data, out.len, &s, &again, &n_odd);
        assert(why == ML_DROP_NONE && n_odd == 0 && again.n == p->n);
        for (size_t i = 0; i < p->n; i++)
            assert(span_equal(again.part[i], p->part[i]));
    }
    wr_fini(&out);
    ml_scratch_fini(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 60000)
        return 0;
    unsigned flags = data[0];
    struct ml_key key = {.len = 32};
    struct ml_keyring *keys = NULL;
    struct ml_scratch s = {0};
    struct ml_parts parts;
    struct wr in;
    size_t n_odd;

    if (flags & 1) {
        keys = ml_keyring_open(&key, 1, zero_nonce, NULL, NULL);
        if (!keys)
            return 0;
    }
    struct ml_wire wire = {.keys = keys, .accepts_clear = flags & 4};
    if (flags & 2)
        wire.label = span_of_text("label");

    wr_init_grow(&in, 1 << 20);
    if (flags & 2)
        wr_text(&in, "\xf4\5label");
    if (keys && !(flags & 32))
        ml_seal(keys, wire.label, span_of(data + 1, size - 1), &in);
    else
        wr_bytes(&in, data + 1, size - 1);
    enum ml_drop why =
        ml_packet_open(&wire, in.data, in.len, &s, &parts, &n_odd);
    assert(why < ML_DROP_N && (!why || parts.n == 0));
    assert(s.expanded.size <= ML_PACKET_MAX && s.clear.size <= ML_PACKET_MAX);
    check_parts(&parts);
    if (parts.n > 0)
        check_round_trip(&wire, &parts, flags);
    wr_fini(&in);
    ml_scratch_fini(&s);
    ml_keyring_close(keys);
    return 0;
}
