/* What decodes encodes again, and decodes to the same. */
#include "proto/frame.h"

#include <assert.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/msgpack_rd.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void encode(const struct frame *f, struct wr *w)
{
    wr_init_grow(w, FRAME_BYTES_MAX);
    int err = frame_encode(f, w);
    assert(!err);
}

static void check_frame(const struct frame *f)
{
    for (size_t i = 0; i < f->n_cells; i++) {
        const struct frame_cell *c = &f->cells[i];
        uint64_t sum = 0;
        for (size_t k = 0; k < OUTCOME_N; k++)
            sum += c->outcomes[k];
        assert(sum == c->attempts);
        assert(c->target < f->n_targets);
        for (size_t k = 0; k < SERIES_N; k++)
            hist_check(&c->series[k]);
    }
}

/* By pieces, every third cell without its series. */
static void read_pieces(const uint8_t *data, size_t size)
{
    struct frame_reader r;
    struct frame_reader_target t;
    struct frame_cell c = {0};
    if (frame_reader_open(&r, data, size))
        return;
    while (frame_reader_target(&r, &t) == 1)
        assert(t.name[0]);
    for (size_t i = 0; frame_reader_cell(&r, &c) == 1; i++) {
        assert(c.target < r.n_targets);
        if (i % 3 && frame_reader_series(&r, &c) == 0)
            hist_check(&c.series[0]);
    }
    frame_cell_fini(&c);
}

static int check_pieces(const uint8_t *data, size_t size)
{
    struct frame_reader r;
    int err = frame_reader_open(&r, data, size);
    return err ? err : frame_reader_check(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame f = {0};
    struct rd r;

    rd_init(&r, data, size);
    msgpack_rd_skip(&r);

    read_pieces(data, size);
    int decoded = frame_decode(&f, data, size);
    int checked = check_pieces(data, size);
    assert(checked == decoded);
    if (decoded == 0) {
        struct frame again = {0};
        struct wr w;
        struct wr same;
        check_frame(&f);
        encode(&f, &w);
        int err = frame_decode(&again, w.data, w.len);
        assert(!err);
        encode(&again, &same);
        assert(same.len == w.len && !memcmp(same.data, w.data, w.len));
        frame_fini(&again);
        wr_fini(&w);
        wr_fini(&same);
    }
    frame_fini(&f);
    return 0;
}
