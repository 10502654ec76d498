/* Responses one after another, whole and cut by the input's own bytes: judged
 * the same, within the limits, and every field found lies inside the head. */
#include "proto/http1.h"

#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BODY_MAX     4096
#define MESSAGES_MAX 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct http1 *h)
{
    assert(h->body_bytes <= BODY_MAX);
    assert(h->head_len <= HTTP1_HEAD_MAX);
    assert(h->n_interim <= HTTP1_INTERIM_MAX);
    assert((h->state == HTTP1_FAILED) == (h->err != 0));
    assert((h->state == HTTP1_FAILED) == (h->error != NULL));
    for (unsigned i = 0; i < h->n_fields; i++) {
        const struct http1_field *f = &h->fields[i];
        assert((size_t)f->name + f->name_len < h->head_len);
        assert((size_t)f->value + f->value_len < h->head_len);
        assert(f->name_len > 0);
    }
}

/* One message; the pieces are `step`'s low bits, 0 for whole. */
static size_t feed(struct http1 *h, const uint8_t *data, size_t size,
                   unsigned step)
{
    size_t used = 0;
    while (used < size) {
        size_t n = size - used;
        if (step && n > (step & 15) + 1)
            n = (step & 15) + 1;
        size_t took = http1_feed(h, data + used, n);
        used += took;
        step = step >> 1 | (step & 1) << 7;
        check(h);
        if (took < n || h->state == HTTP1_DONE)
            break;
    }
    return used;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char timing[] = "server-timing";
    struct http1 whole;
    struct http1 cut;
    unsigned step = size ? data[0] | 16u : 16u; /* first byte: how to cut */
    bool is_head = size && data[0] >= 128;
    size_t at = size ? 1 : 0;
    http1_init(&whole, HTTP1_RESPONSE, HTTP1_HEAD_MAX, BODY_MAX);
    http1_init(&cut, HTTP1_RESPONSE, HTTP1_HEAD_MAX, BODY_MAX);
    for (int i = 0; i < MESSAGES_MAX; i++) {
        http1_next(&whole, is_head);
        http1_next(&cut, is_head);
        size_t used = feed(&whole, data + at, size - at, 0);
        size_t used_cut = feed(&cut, data + at, size - at, step);
        if (at + used == size) {
            http1_eof(&whole);
            http1_eof(&cut);
        }
        assert(whole.state == cut.state);
        assert(whole.error == cut.error);
        assert(whole.status == cut.status);
        assert(whole.body_bytes == cut.body_bytes);
        assert(whole.is_keep_alive == cut.is_keep_alive);
        assert(whole.n_fields == cut.n_fields);
        if (whole.state != HTTP1_DONE)
            break;
        assert(used == used_cut);
        at += used;

        struct http1_text v;
        uint64_t ns = 0;
        if (http1_field(&whole, timing, &v) &&
            !http1_server_timing(v.data, v.len, &ns))
            assert(ns <= 3600000000000u);
    }
    return 0;
}
