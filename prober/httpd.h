/* prober/httpd.h - a request and its answer, as HTTP handlers see them.
 *
 * Plain data between the server (httpd_conn.h, httpd_uv.h) and the views
 * (api.h), so that views know nothing of sockets. A handler only says what
 * the answer is; the server asks for its bytes later, in slices, when the
 * reader has taken the previous ones. One thread.
 */
#ifndef PROBER_HTTPD_H
#define PROBER_HTTPD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"

#define HTTPD_TARGET_MAX   2048  /* bytes of a request target */
#define HTTPD_FIELDS_MAX   64    /* header fields */
#define HTTPD_BODY_MAX     16384 /* of a request; it is read and ignored */
#define HTTPD_QUERY_MAX    16    /* parameters */
#define HTTPD_SEGMENTS_MAX 8     /* of the path */
#define HTTPD_ACCEPT_SIZE  1024  /* of all Accept fields together */

struct httpd_param {
    const char *name, *value; /* percent-decoded, NUL-terminated */
};

/* Borrowed: valid until the handler returns. */
struct httpd_request {
    const char *path; /* percent-decoded, without the query; an encoded
                       * slash stays "%2F", so that it is no separator */
    size_t n_segments;
    const char *segments[HTTPD_SEGMENTS_MAX]; /* wholly decoded */
    size_t n_params;
    struct httpd_param params[HTTPD_QUERY_MAX]; /* no name twice */
    bool is_head;
    /* The Accept fields, joined by commas; NULL: none. Fields that do not fit
     * HTTPD_ACCEPT_SIZE are not in it. */
    const char *accept;
};

/* What a handler answers. All callbacks get `state`.
 *
 * `prepare` (may be NULL) is called before anything is sent, once a turn of
 * the loop, as long as it returns 1: for work that takes more than a turn's
 * share of time. It may change the answer or replace it (after running its
 * own done) and returns 0 when the answer is ready.
 *
 * `body` produces the content in slices: it appends to `w` and returns 1
 * while there is more, 0 at the end. It stops when httpd_slice_is_full(), and
 * appends no single piece of more than HTTPD_PIECE_MAX after asking. It is
 * called again only when the reader has taken the previous slice.
 *
 * Either returns a negative error to give up: 500 if nothing was sent yet,
 * otherwise the connection is cut. `done` frees `state`, once, always. */
struct httpd_answer {
    unsigned status;          /* 200, 400, 404, ... */
    const char *content_type; /* static text */
    char etag[40];            /* "" : none; without quotes */
    bool is_cacheable;        /* may be kept, if asked again with its etag;
                               * else Cache-Control: no-store */
    const char *extra;        /* static header lines with CRLF, or NULL */
    int (*prepare)(void *state, struct httpd_answer *answer);
    int (*body)(void *state, struct wr *w);
    void (*done)(void *state);
    void *state;
    const char *text; /* instead of body: a static short body */
};

/* Called once per request on the loop; must not block. `answer` is zeroed
 * before; a status of 0 afterwards means 404. */
typedef void httpd_handler(void *arg, const struct httpd_request *request,
                           struct httpd_answer *answer);

#define HTTPD_PIECE_MAX 16384
/* Has this call of `body` produced enough? */
bool httpd_slice_is_full(const struct wr *w);

/* Make it {"error":{"code":..,"message":..}} with this status. The message
 * is copied, longer than 400 bytes it is cut; `code` is static snake case. */
void httpd_error(struct httpd_answer *answer, unsigned status, const char *code,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Run and forget `done`; the answer is zeroed. */
void httpd_answer_fini(struct httpd_answer *answer);

/* "OK", "Not Found", ...; "" for a status without a usual phrase. */
const char *httpd_reason(unsigned status);

#endif /* PROBER_HTTPD_H */
