/* proto/h2_session.h - what the two HTTP/2 halves share. Private to h2_*.c.
 *
 * The walk: our own eye on the frame heads of the incoming bytes. nghttp2
 * does not report all frames it reads (those it ignores pass unseen), reports
 * a padded HEADERS frame late, and in the version of Debian 12 does not count
 * cheap frames; all three matter here.
 *
 *     +-----------------+----------+-----------+----------------+
 *     | length (24)     | type (8) | flags (8) | R, stream (32) |  payload
 *     +-----------------+----------+-----------+----------------+
 */
#ifndef PROTO_H2_SESSION_H
#define PROTO_H2_SESSION_H

/* From 1.60 on nghttp2 has two sets of calls; the older one, with ssize_t, is
 * the one that 1.52 has too. This macro, were it set, would hide it. */
#undef NGHTTP2_NO_SSIZE_T
#include <nghttp2/nghttp2.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "proto/base/buf.h"
#include "proto/base/err.h"

#define H2_HEAD_SIZE  9
#define H2_MAGIC_SIZE 24 /* the client's connection preface */

/* Serialised output that may wait at once: filled up to the first, a last
 * frame may go beyond it, never beyond the second. */
#define H2_OUT_FULL 49152
#define H2_OUT_MAX  (H2_OUT_FULL + 32768)

struct h2_head {
    uint32_t len;
    uint8_t type, flags;
    uint32_t stream;
};

struct h2_walk {
    uint32_t left;              /* bytes until the next head begins */
    uint32_t have;              /* bytes in head */
    uint8_t head[H2_HEAD_SIZE]; /* of the head that is being read */
};

/* Walk on to the end of the next frame head, or to the end of the data.
 * Returns the bytes passed; *is_head says whether *h was filled in. */
static inline size_t h2_walk_on(struct h2_walk *w, const uint8_t *data,
                                size_t len, struct h2_head *h, bool *is_head)
{
    *is_head = false;
    size_t skip = len < w->left ? len : w->left;
    w->left -= (uint32_t)skip;

    size_t n = H2_HEAD_SIZE - w->have;
    if (n > len - skip)
        n = len - skip;
    if (n > 0)
        memcpy(w->head + w->have, data + skip, n);
    w->have += (uint32_t)n;

    if (w->have == H2_HEAD_SIZE) {
        struct rd r;
        rd_init(&r, w->head, sizeof(w->head));
        h->len = rd_be24(&r);
        h->type = rd_u8(&r);
        h->flags = rd_u8(&r);
        h->stream = rd_be32(&r) & 0x7fffffff;
        w->have = 0;
        w->left = h->len;
        *is_head = true;
    }
    return skip + n;
}

/* Is this a frame that costs the sender next to nothing and brings a request
 * not forward? WINDOW_UPDATE is none: honest peers send many, and one makes
 * no work beyond being read. Nobody pads DATA, so a padded frame counts
 * without looking whether there is anything in it. */
static inline bool h2_is_glitch(const struct h2_head *h)
{
    switch (h->type) {
    case NGHTTP2_DATA:
        return !(h->flags & NGHTTP2_FLAG_END_STREAM) &&
               (h->len == 0 || (h->flags & NGHTTP2_FLAG_PADDED));
    case NGHTTP2_HEADERS:
    case NGHTTP2_WINDOW_UPDATE:
        return false;
    default:
        return true; /* and unknown types */
    }
}

/* Serialise what nghttp2 has to say behind what is in `out`. Returns 0,
 * ERR_NOMEM or ERR_BAD; after an error the output is torn. */
static inline int h2_pump(nghttp2_session *session, struct wr *out)
{
    while (out->len < H2_OUT_FULL) {
        const uint8_t *piece;
        ssize_t n = nghttp2_session_mem_send(session, &piece);
        if (n < 0)
            return n == NGHTTP2_ERR_NOMEM ? ERR_NOMEM : ERR_BAD;
        if (n == 0)
            return 0;
        wr_bytes(out, piece, (size_t)n);
        if (wr_err(out))
            return wr_err(out);
    }
    return 0;
}

/* Copy a header value into `to`, cut to its size, control bytes as '?'. */
static inline void h2_copy_text(char *to, size_t size, const uint8_t *from,
                                size_t len)
{
    size_t n = len < size - 1 ? len : size - 1;
    for (size_t i = 0; i < n; i++)
        to[i] = (char)(from[i] < 0x20 || from[i] == 0x7f ? '?' : from[i]);
    to[n] = '\0';
}

static inline bool h2_is_name(const uint8_t *name, size_t len, const char *want)
{
    return len == strlen(want) && memcmp(name, want, len) == 0;
}

#endif /* PROTO_H2_SESSION_H */
