#include "prober/httpd_gzip.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#define ZLIB_CONST
#include <zlib.h>

#define LEVEL       3
#define WINDOW_BITS (12 + 16) /* 16: gzip header and trailer */
#define MEMORY      5
#define STEP_BYTES  4096

struct httpd_gzip {
    z_stream z;
};

struct httpd_gzip *httpd_gzip_open(void)
{
    struct httpd_gzip *g = calloc(1, sizeof(*g));
    if (!g)
        return NULL;
    if (deflateInit2(&g->z, LEVEL, Z_DEFLATED, WINDOW_BITS, MEMORY,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        free(g);
        return NULL;
    }
    return g;
}

void httpd_gzip_close(struct httpd_gzip *g)
{
    if (!g)
        return;
    deflateEnd(&g->z);
    free(g);
}

int httpd_gzip_write(struct httpd_gzip *g, const void *data, size_t len,
                     bool is_last, struct wr *w)
{
    assert(len <= UINT32_MAX);
    g->z.next_in = data;
    g->z.avail_in = (uInt)len;
    int rc;
    do {
        uint8_t step[STEP_BYTES];
        g->z.next_out = step;
        g->z.avail_out = sizeof(step);
        rc = deflate(&g->z, is_last ? Z_FINISH : Z_SYNC_FLUSH);
        assert(rc != Z_STREAM_ERROR);
        wr_bytes(w, step, sizeof(step) - g->z.avail_out);
    } while (g->z.avail_out == 0 && rc != Z_STREAM_END && !wr_err(w));
    return wr_err(w);
}
