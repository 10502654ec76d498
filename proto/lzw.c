/* Both sides keep the same small state: `hi`, the newest code that exists or
 * is about to, and `width`, the bits of the next code. Both begin as a clear
 * leaves them.
 *
 *     clear            hi = 257, width = 9, no strings
 *     each data code   hi += 1; at hi == 2^width the width grows; string `hi`
 *                      becomes the code's string and the byte behind it
 *
 * The encoder clears as soon as hi is 4095, which therefore never names a
 * string; a decoder must cope with others, who go on: at twelve bits hi stays
 * where it is and no more strings are added. hi advances on the first code
 * behind a clear as well, although that one defines nothing. */
#include "proto/lzw.h"

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "proto/base/err.h"

enum {
    CODE_CLEAR = 256,
    CODE_END = 257,
    CODE_FULL = 4095,
    WIDTH_MIN = 9,
    WIDTH_MAX = 12,
    CODES = 1 << WIDTH_MAX,
};

/* Twice as many slots as there can be strings, for short probe chains. */
#define SLOTS_LOG2 13
#define SLOTS      (1u << SLOTS_LOG2)

_Static_assert(SLOTS >= 2 * (CODE_FULL - CODE_END), "room in the hash table");

struct encoder {
    struct wr *out;
    uint32_t bits; /* not yet written, the oldest lowest */
    unsigned n_bits;
    unsigned width, hi;
    /* String (code, next byte) in the upper 20 bits, its own code in the
     * lower 12; 0 is free, since no string has code 0. */
    uint32_t slot[SLOTS];
};

static void put_code(struct encoder *e, unsigned code)
{
    e->bits |= (uint32_t)code << e->n_bits;
    e->n_bits += e->width;
    while (e->n_bits >= 8) {
        wr_u8(e->out, (uint8_t)e->bits);
        e->bits >>= 8;
        e->n_bits -= 8;
    }
}

static void forget_strings(struct encoder *e)
{
    memset(e->slot, 0, sizeof(e->slot));
    e->width = WIDTH_MIN;
    e->hi = CODE_END;
}

/* Write a data code. Returns whether `hi` may now name a string. */
static bool put_data(struct encoder *e, unsigned code)
{
    put_code(e, code);
    e->hi++;
    if (e->hi == 1u << e->width)
        e->width++;
    if (e->hi < CODE_FULL)
        return true;
    put_code(e, CODE_CLEAR);
    forget_strings(e);
    return false;
}

/* The slot that holds string `key`, or the free one where it belongs. */
static uint32_t *find_slot(struct encoder *e, uint32_t key)
{
    uint32_t i = (key * 0x9e3779b1u) >> (32 - SLOTS_LOG2);

    while (e->slot[i] != 0 && e->slot[i] >> WIDTH_MAX != key)
        i = (i + 1) % SLOTS;
    return &e->slot[i];
}

void lzw_encode(const void *data, size_t len, struct wr *out)
{
    const uint8_t *bytes = data;
    struct encoder e;

    e.out = out;
    e.bits = 0;
    e.n_bits = 0;
    forget_strings(&e);
    put_code(&e, CODE_CLEAR);
    if (len > 0) {
        unsigned code = bytes[0];

        for (size_t i = 1; i < len && !wr_err(out); i++) {
            uint32_t key = (uint32_t)code << 8 | bytes[i];
            uint32_t *slot = find_slot(&e, key);

            if (*slot != 0) {
                code = *slot & (CODES - 1);
                continue;
            }
            if (put_data(&e, code))
                *slot = key << WIDTH_MAX | e.hi;
            code = bytes[i];
        }
        put_data(&e, code);
    }
    put_code(&e, CODE_END);
    if (e.n_bits > 0)
        wr_u8(out, (uint8_t)e.bits);
}

/* A string is somewhere in what was written already: it is the string of one
 * data code and the first byte of the next, and those stand side by side. So
 * the table holds places, and no chains of prefixes have to be followed. */
struct decoder {
    const uint8_t *data;
    size_t len, pos;
    uint32_t bits;
    unsigned n_bits;
    unsigned width, hi;
    bool has_last; /* a data code since the clear, and the table not full */
    size_t last;   /* where its string begins; it ends at the writer's end */
    size_t begin[CODES];
    uint16_t size[CODES];
};

static int get_code(struct decoder *d, unsigned *code)
{
    while (d->n_bits < d->width) {
        if (d->pos == d->len)
            return ERR_TRUNC;
        d->bits |= (uint32_t)d->data[d->pos++] << d->n_bits;
        d->n_bits += 8;
    }
    *code = d->bits & ((1u << d->width) - 1);
    d->bits >>= d->width;
    d->n_bits -= d->width;
    return 0;
}

static void restart(struct decoder *d)
{
    d->width = WIDTH_MIN;
    d->hi = CODE_END;
    d->has_last = false;
}

/* Write the string of a data code. */
static int expand(const struct decoder *d, unsigned code, struct wr *out)
{
    if (code < CODE_CLEAR) {
        wr_u8(out, (uint8_t)code);
        return wr_err(out);
    }
    if (code > d->hi)
        return ERR_BAD;

    /* `hi` itself is the last code's string and the byte which is being looked
     * for: its own first. There is no last code behind a clear, where hi is
     * no data code, nor in a full table, where hi is a string like others. */
    bool is_next = code == d->hi && d->has_last;
    size_t begin = is_next ? d->last : d->begin[code];
    size_t n = is_next ? out->len - d->last + 1 : d->size[code];
    uint8_t *to = wr_space(out, n);
    if (!to)
        return wr_err(out);
    memcpy(to, out->data + begin, is_next ? n - 1 : n);
    if (is_next)
        to[n - 1] = to[0];
    return 0;
}

/* Name the string that the code at `begin` completed. */
static void learn(struct decoder *d, size_t begin)
{
    if (d->has_last) {
        d->begin[d->hi] = d->last;
        d->size[d->hi] = (uint16_t)(begin - d->last + 1);
    }
    d->last = begin;
    d->has_last = true;
    d->hi++;
    if (d->hi < 1u << d->width)
        return;
    if (d->width < WIDTH_MAX) {
        d->width++;
    } else {
        d->hi = CODE_FULL;
        d->has_last = false;
    }
}

static int decode(struct decoder *d, struct wr *out)
{
    for (;;) {
        unsigned code;
        int err = get_code(d, &code);
        if (err)
            return err;
        if (code == CODE_END)
            return 0;
        if (code == CODE_CLEAR) {
            restart(d);
            continue;
        }
        size_t begin = out->len;
        err = expand(d, code, out);
        if (err)
            return err;
        learn(d, begin);
    }
}

int lzw_decode(const void *data, size_t len, struct wr *out)
{
    struct decoder d;
    size_t before = out->len;

    if (wr_err(out))
        return wr_err(out);
    d.data = data;
    d.len = len;
    d.pos = 0;
    d.bits = 0;
    d.n_bits = 0;
    d.last = 0;
    restart(&d);
    int err = decode(&d, out);
    if (err)
        out->len = before;
    return err;
}
