/* Feeds anything to two readers, whole and in pieces, which must agree. The
 * first byte: bit 0 seals it first, bit 1 expects a label, bit 2 accepts the
 * clear as well, the upper half the size of the pieces. What was read has to
 * come back when it is written and read again. */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/ml_stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct ml_stream_limits limits = {
    .frame_max = 1 << 16,
    .expanded_max = 1 << 17,
    .nodes_max = 1000,
    .user_max = 1 << 15,
};

static int zero_nonce(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 0, len);
    return 0;
}

static void put_sealed(const struct ml_wire *wire, struct span plain,
                       struct wr *out)
{
    uint8_t aad[5 + 5];
    struct wr w;
    wr_init_fixed(&w, aad, sizeof(aad));
    wr_u8(&w, ML_ENCRYPT);
    wr_be32(&w, (uint32_t)plain.len + ML_SEAL_OVERHEAD);
    wr_bytes(out, aad, 5);
    wr_bytes(&w, wire->label.data, wire->label.len);
    int err = ml_seal(wire->keys, span_of(aad, w.len), plain, out);
    assert(!err);
}

static int feed(struct ml_stream_in *s, const struct wr *in, size_t step)
{
    int got = 0;
    for (size_t at = 0; at < in->len && got == 0; at += step) {
        size_t n = in->len - at < step ? in->len - at : step;
        got = ml_stream_in_feed(s, in->data + at, n);
        assert(s->raw.size <= 256 || s->raw.size <= 2 * (at + n));
        assert(got == 0 || s->budget->bytes == 0);
    }
    return got;
}

/* Is the message any good? Under a wrapper that is not known before. */
static bool check_message(const struct ml_stream_in *s)
{
    struct ml_stream_msg m;
    if (ml_stream_in_take(s, &m))
        return false;
    if (m.type != ML_PUSH_PULL)
        return true;
    for (uint32_t i = 0; i < m.push_pull.n_nodes; i++) {
        struct ml_alive a;
        int err = ml_entry_read(&m.entries, &a);
        assert(!err);
        ml_alive_check(&a);
    }
    assert(!rd_end(&m.entries));
    return true;
}

static void check_round_trip(const struct ml_wire *wire, struct span message)
{
    struct ml_budget budget = {.bytes_max = 1 << 20};
    struct ml_stream_in s;
    struct wr out;

    if (message.len > limits.frame_max - 100)
        return;
    wr_init_grow(&out, 1 << 20);
    int err = ml_stream_close(wire, true, message, &out);
    assert(!err);
    ml_stream_in_init(&s, wire, &limits, &budget, true);
    int got = ml_stream_in_feed(&s, out.data, out.len);
    assert(got == 1 && s.message.len <= message.len);
    assert(memcmp(s.message.data, message.data, s.message.len) == 0);
    ml_stream_in_fini(&s);
    wr_fini(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1 || size > 1 << 17)
        return 0;
    unsigned flags = data[0];
    struct ml_key key = {.len = 32};
    struct ml_keyring *keys = NULL;
    struct ml_budget budget = {.bytes_max = 1 << 20};
    struct ml_budget other_budget = budget;
    struct ml_stream_in whole, pieces;
    struct wr in;

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
    if (keys && !(flags & 8))
        put_sealed(&wire, span_of(data + 1, size - 1), &in);
    else
        wr_bytes(&in, data + 1, size - 1);

    ml_stream_in_init(&whole, &wire, &limits, &budget, true);
    ml_stream_in_init(&pieces, &wire, &limits, &other_budget, true);
    int one = feed(&whole, &in, in.len);
    int other = feed(&pieces, &in, 1 + (flags >> 4) * (flags >> 4));
    assert(one == other && whole.why == pieces.why);
    if (one == 1) {
        bool is_good = check_message(&whole);
        assert(is_good == check_message(&pieces));
        if (is_good)
            check_round_trip(&wire, pieces.message);
    }
    ml_stream_in_fini(&whole);
    ml_stream_in_fini(&pieces);
    assert(budget.bytes == 0 && other_budget.bytes == 0);
    wr_fini(&in);
    ml_keyring_close(keys);
    return 0;
}
