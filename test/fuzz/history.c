/* A part of a slot from a peer: taken or refused; what was taken can be asked
 * for, is told on, and is taken by the next node to the same effect. */
#include "mesh/history.h"

#include <assert.h>

#include "proto/base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Windows of the seeds lie some hours before. */
#define NOW (60 * 3000000ull + 100)

static struct history *open_at(uint64_t window)
{
    struct history_config config = {.bytes_max = 8u << 20, .seed = 1};
    struct history *h = history_open(&config);
    assert(h);
    history_tick(h, window * FRAME_WINDOW_S);
    return h;
}

struct names {
    const char *list[16];
    size_t n;
};

static int add_name(void *arg, const char *name)
{
    struct names *n = arg;
    if (n->n < 16)
        n->list[n->n++] = name;
    return 0;
}

static uint64_t ask_all(const struct history *h)
{
    struct history_question q = {
        .first = NOW - 500, .last = NOW, .protocol = -1, .mode = -1};
    struct names names = {.n = 0};
    uint64_t attempts = 0;
    int err = history_names(h, add_name, add_name, &names);
    struct history_reader *r = history_reader_open(h, &q);
    assert(r && !err);
    for (size_t i = 0; i < names.n; i++) {
        for (size_t k = 0; k < names.n; k++) {
            const struct matrix_cell *c =
                history_read(r, names.list[i], names.list[k],
                             NOW * FRAME_WINDOW_S * 1000000000ull);
            assert(c);
            for (size_t s = 0; s < SERIES_N; s++)
                hist_check(&c->series[s]);
            attempts += c->attempts;
        }
    }
    history_reader_close(r);
    return attempts;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct history *h = open_at(NOW);
    if (history_take_part(h, data, size) == 0) {
        struct history_cursor c = {.step = 0};
        struct history *next = open_at(NOW);
        struct wr w;
        wr_init_grow(&w, HISTORY_PART_MAX);
        while (history_next_part(h, &c, 1000, &w) == 1) {
            int err = history_take_part(next, w.data, w.len);
            assert(!err);
            wr_reset(&w);
        }
        uint64_t here = ask_all(h);
        uint64_t there = ask_all(next);
        assert(here == there);
        wr_fini(&w);
        history_close(next);
    }
    history_close(h);
    return 0;
}
