/* prober/httpd_gzip.h - one gzip stream, piece by piece.
 *
 * zlib with a small window (4 KiB) and little memory (about 40 KiB in all
 * instead of 256): JSON repeats itself at short distances, and every reader
 * that is being answered has one. Pure.
 */
#ifndef PROBER_HTTPD_GZIP_H
#define PROBER_HTTPD_GZIP_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/base/buf.h"

struct httpd_gzip; /* opaque */

struct httpd_gzip *httpd_gzip_open(void); /* NULL: no memory */
void httpd_gzip_close(struct httpd_gzip *g);

/* Compress and append all of it, so that the reader can decode what it has.
 * `is_last` ends the stream. Returns 0 or the writer's error. */
int httpd_gzip_write(struct httpd_gzip *g, const void *data, size_t len,
                     bool is_last, struct wr *w);

#endif /* PROBER_HTTPD_GZIP_H */
