#include "proto/base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

#define GROW_FIRST 256

void rd_init(struct rd *r, const void *data, size_t len)
{
    static const uint8_t nothing;
    *r = (struct rd){.data = data ? data : &nothing, .len = data ? len : 0};
}

void rd_fail(struct rd *r, int code)
{
    assert(code < 0);
    if (!r->err)
        r->err = code;
}

const uint8_t *rd_bytes(struct rd *r, size_t n)
{
    if (r->err)
        return NULL;
    if (n > r->len - r->pos) {
        rd_fail(r, ERR_TRUNC);
        return NULL;
    }
    const uint8_t *p = r->data + r->pos;
    r->pos += n;
    return p;
}

static uint64_t read_be(struct rd *r, size_t n)
{
    const uint8_t *p = rd_bytes(r, n);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n; i++)
        v = v << 8 | p[i];
    return v;
}

uint8_t rd_u8(struct rd *r)
{
    return (uint8_t)read_be(r, 1);
}

uint16_t rd_be16(struct rd *r)
{
    return (uint16_t)read_be(r, 2);
}

uint32_t rd_be24(struct rd *r)
{
    return (uint32_t)read_be(r, 3);
}

uint32_t rd_be32(struct rd *r)
{
    return (uint32_t)read_be(r, 4);
}

uint64_t rd_be64(struct rd *r)
{
    return read_be(r, 8);
}

uint64_t rd_varint(struct rd *r)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t b = rd_u8(r);
        if (r->err)
            return 0;
        if (shift == 63 && b > 1)
            break;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80)) {
            if (b == 0 && shift > 0)
                break; /* not the shortest form */
            return v;
        }
    }
    rd_fail(r, ERR_BAD);
    return 0;
}

size_t rd_left(const struct rd *r)
{
    return r->err ? 0 : r->len - r->pos;
}

int rd_err(const struct rd *r)
{
    return r->err;
}

int rd_end(struct rd *r)
{
    if (!r->err && r->pos != r->len)
        rd_fail(r, ERR_BAD);
    return r->err;
}

void wr_init_fixed(struct wr *w, void *data, size_t size)
{
    *w = (struct wr){.data = data, .size = size, .max = size};
}

void wr_init_grow(struct wr *w, size_t max)
{
    *w = (struct wr){.max = max, .owns = true};
}

void wr_fini(struct wr *w)
{
    if (w->owns)
        free(w->data);
    *w = (struct wr){0};
}

void wr_reset(struct wr *w)
{
    w->len = 0;
    w->err = 0;
}

static bool make_room(struct wr *w, size_t n)
{
    if (w->err)
        return false;
    if (n <= w->size - w->len)
        return true;
    if (n > w->max - w->len) {
        w->err = ERR_TOOBIG;
        return false;
    }
    assert(w->owns);
    size_t size = w->size ? w->size : GROW_FIRST;
    while (size < w->len + n)
        size = size > w->max / 2 ? w->max : size * 2;
    if (size > w->max)
        size = w->max;
    uint8_t *data = realloc(w->data, size);
    if (!data) {
        w->err = ERR_NOMEM;
        return false;
    }
    w->data = data;
    w->size = size;
    return true;
}

uint8_t *wr_space(struct wr *w, size_t n)
{
    if (!make_room(w, n))
        return NULL;
    uint8_t *p = w->data + w->len;
    w->len += n;
    return p;
}

void wr_bytes(struct wr *w, const void *data, size_t n)
{
    if (n == 0)
        return;
    uint8_t *p = wr_space(w, n);
    if (p)
        memcpy(p, data, n);
}

static void write_be(struct wr *w, uint64_t v, size_t n)
{
    uint8_t *p = wr_space(w, n);
    for (size_t i = n; p && i > 0; i--, v >>= 8)
        p[i - 1] = (uint8_t)v;
}

void wr_u8(struct wr *w, uint8_t v)
{
    write_be(w, v, 1);
}

void wr_be16(struct wr *w, uint16_t v)
{
    write_be(w, v, 2);
}

void wr_be24(struct wr *w, uint32_t v)
{
    assert(v < 1u << 24);
    write_be(w, v, 3);
}

void wr_be32(struct wr *w, uint32_t v)
{
    write_be(w, v, 4);
}

void wr_be64(struct wr *w, uint64_t v)
{
    write_be(w, v, 8);
}

void wr_varint(struct wr *w, uint64_t v)
{
    uint8_t bytes[10];
    size_t n = 0;
    while (v >= 0x80) {
        bytes[n++] = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    bytes[n++] = (uint8_t)v;
    wr_bytes(w, bytes, n);
}

void wr_text(struct wr *w, const char *text)
{
    wr_bytes(w, text, strlen(text));
}

void wr_printf(struct wr *w, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    assert(n >= 0);
    if ((size_t)n >= sizeof(text)) {
        if (!w->err)
            w->err = ERR_TOOBIG;
        return;
    }
    wr_bytes(w, text, (size_t)n);
}

int wr_err(const struct wr *w)
{
    return w->err;
}
