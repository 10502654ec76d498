/* What decodes is written again and decodes to the same. */
#include "proto/ml_msg.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define BYTES_MAX 1000000

/* A second decoding gives the same bytes once more. */
static void check_again(const struct ml_msg *m)
{
    struct ml_msg again;
    struct wr first;
    struct wr second;
    wr_init_grow(&first, BYTES_MAX);
    wr_init_grow(&second, BYTES_MAX);
    ml_msg_encode(&first, m);
    assert(!wr_err(&first));
    int err = ml_msg_decode(first.data, first.len, &again);
    assert(!err && again.type == m->type);
    ml_msg_encode(&second, &again);
    assert(span_equal(span_of(first.data, first.len),
                      span_of(second.data, second.len)));
    wr_fini(&first);
    wr_fini(&second);
}

static void check_alive(const struct ml_alive *a)
{
    if (ml_alive_check(a))
        return;
    struct addr ip = ml_addr(a->addr, a->port);
    assert(ip.family != ADDR_NONE && ip.port);
    assert(a->node.len > 0 && a->node.len <= ML_NAME_MAX);
    assert(a->vsn.len == ML_VSN_SIZE && a->meta.len <= ML_META_MAX);
}

/* Entries one behind the other, as in a push/pull. */
static void read_stream(const uint8_t *data, size_t size)
{
    struct ml_push_pull h;
    struct ml_alive a;
    struct span buf;
    uint32_t len;
    struct rd r;
    rd_init(&r, data, size);
    if (ml_push_pull_read(&r, &h) == 0) {
        for (uint32_t i = 0; i < h.n_nodes && !ml_entry_read(&r, &a); i++)
            check_alive(&a);
    }
    rd_init(&r, data, size);
    while (rd_left(&r) > 0 && !ml_entry_read(&r, &a)) {
        struct wr w;
        check_alive(&a);
        wr_init_grow(&w, BYTES_MAX);
        ml_entry_write(&w, &a);
        assert(!wr_err(&w));
        wr_fini(&w);
    }
    rd_init(&r, data, size);
    if (!ml_user_len_read(&r, &len))
        assert(len <= INT32_MAX);
    rd_init(&r, data, size);
    if (!ml_compress_read(&r, &buf))
        assert(buf.len < size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ml_msg m;
    if (ml_msg_decode(data, size, &m) == 0) {
        check_again(&m);
        if (m.type == ML_ALIVE)
            check_alive(&m.alive);
    }
    read_stream(data, size);
    return 0;
}
