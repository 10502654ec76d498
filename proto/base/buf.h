/* proto/base/buf.h - bounded reader and writer with a sticky error.
 *
 * After the first failure every further operation does nothing and reads
 * yield zero, so a codec is straight-line code with one check at its end:
 *
 *     struct rd r; rd_init(&r, bytes, len);
 *     uint8_t kind = rd_u8(&r); uint32_t n = rd_be32(&r);
 *     if (rd_err(&r)) return rd_err(&r);
 *
 * Integers are big-endian (network order) unless the name says otherwise;
 * varints are LEB128, at most ten bytes, shortest form demanded on reading.
 */
#ifndef PROTO_BASE_BUF_H
#define PROTO_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads from borrowed memory, which must outlive the reader. */
struct rd {
    const uint8_t *data;
    size_t len; /* bytes in data */
    size_t pos; /* next byte, 0..len */
    int err;    /* 0, ERR_TRUNC or ERR_BAD; sticky */
};

void rd_init(struct rd *r, const void *data, size_t len);
uint8_t rd_u8(struct rd *r);
uint16_t rd_be16(struct rd *r);
uint32_t rd_be24(struct rd *r);
uint32_t rd_be32(struct rd *r);
uint64_t rd_be64(struct rd *r);
uint64_t rd_varint(struct rd *r);

/* The next `n` bytes, borrowed, or NULL and ERR_TRUNC. n == 0 gives a
 * non-NULL pointer as long as there is no error. */
const uint8_t *rd_bytes(struct rd *r, size_t n);

/* Record `code` (negative) unless an error is already there. */
void rd_fail(struct rd *r, int code);

size_t rd_left(const struct rd *r); /* 0 once there is an error */
int rd_err(const struct rd *r);

/* Demand that everything was read: ERR_BAD if bytes are left over. */
int rd_end(struct rd *r);

/* Writes into fixed or growing memory. */
struct wr {
    uint8_t *data;
    size_t len;  /* bytes written */
    size_t size; /* bytes allocated or lent */
    size_t max;  /* never grow beyond; == size for a fixed writer */
    bool owns;   /* data is ours to realloc and free */
    int err;     /* 0, ERR_TOOBIG or ERR_NOMEM; sticky */
};

/* Write into `size` bytes of the caller's; ERR_TOOBIG when they are full. */
void wr_init_fixed(struct wr *w, void *data, size_t size);

/* Write into memory that grows by doubling up to `max` bytes. */
void wr_init_grow(struct wr *w, size_t max);

/* Free what a growing writer holds. Allowed on any initialised writer. */
void wr_fini(struct wr *w);

/* Forget the contents and the error, keep the memory. */
void wr_reset(struct wr *w);

void wr_u8(struct wr *w, uint8_t v);
void wr_be16(struct wr *w, uint16_t v);
void wr_be24(struct wr *w, uint32_t v);
void wr_be32(struct wr *w, uint32_t v);
void wr_be64(struct wr *w, uint64_t v);
void wr_varint(struct wr *w, uint64_t v);
void wr_bytes(struct wr *w, const void *data, size_t n);
void wr_text(struct wr *w, const char *text); /* without the final NUL */
/* At most 511 bytes at a time, else ERR_TOOBIG. */
void wr_printf(struct wr *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Room for `n` bytes to be filled in by the caller right away; they count as
 * written. NULL on error. */
uint8_t *wr_space(struct wr *w, size_t n);

int wr_err(const struct wr *w);

#endif /* PROTO_BASE_BUF_H */
