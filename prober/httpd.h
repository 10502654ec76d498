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

#include "proto/base/addr.h"
#include "proto/base/buf.h"

#define HTTPD_TARGET_MAX   2048  /* bytes of a request target */
#define HTTPD_FIELDS_MAX   64    /* header fields */
#define HTTPD_BODY_MAX     16384 /* of a request */
#define HTTPD_FIELD_MAX    512   /* bytes of a field that handlers are given */
#define HTTPD_QUERY_MAX    16    /* parameters */
#define HTTPD_SEGMENTS_MAX 8     /* of the path */
#define HTTPD_ACCEPT_SIZE  1024  /* of all Accept fields together */

#define HTTPD_GROUPS_MAX 256 /* of a peer on a unix socket */
#define HTTPD_NAMES_MAX  8   /* of a client certificate */
#define HTTPD_NAME_SIZE  129

struct httpd_param {
    const char *name, *value; /* percent-decoded, NUL-terminated */
};

enum httpd_method { HTTPD_GET, HTTPD_HEAD, HTTPD_POST, HTTPD_DELETE };

/* Who is at the other end; lives as long as the connection. */
struct httpd_peer {
    bool is_local; /* a unix socket: uid, gid, pid, groups are the kernel's */
    uint32_t uid, gid;
    int32_t pid;
    size_t n_groups;
    uint32_t groups[HTTPD_GROUPS_MAX];
    struct addr addr; /* of TCP; IPv4 also on a socket for both families */
    bool is_tls;
    /* subjectAltNames of a client certificate that was verified. */
    size_t n_names;
    char names[HTTPD_NAMES_MAX][HTTPD_NAME_SIZE];
};

/* Do these two share one's part of the places? One user; one address; of IPv6
 * all of a /64, of which a single host can have any number. */
bool httpd_is_same_peer(const struct httpd_peer *a, const struct httpd_peer *b);

/* Calling wake(waker) says that an answer which waits (HTTPD_WAIT) has
 * something now. On the loop; not after its `done`. */
struct httpd_waker {
    void (*wake)(struct httpd_waker *waker);
};

/* Borrowed: valid until the handler returns. */
struct httpd_request {
    const char *path; /* percent-decoded, without the query; an encoded
                       * slash stays "%2F", so that it is no separator */
    size_t n_segments;
    const char *segments[HTTPD_SEGMENTS_MAX]; /* wholly decoded */
    size_t n_params;
    struct httpd_param params[HTTPD_QUERY_MAX]; /* no name twice */
    enum httpd_method method; /* only GET and HEAD unless the server's limits
                               * say that it takes more */
    bool is_head;
    const struct httpd_peer *peer;
    struct httpd_waker *waker; /* until the answer's done() */
    /* Header fields by their values; NULL: there is none. Two of one name,
     * or one of more than HTTPD_FIELD_MAX bytes, were refused before. Only of
     * servers that take bodies: where nobody has to be told from others they
     * are not looked at. */
    const char *authorization, *host, *origin, *content_type;
    const void *body; /* of a POST; NULL and 0: none */
    size_t body_len;
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
 * Either may return HTTPD_WAIT: call again after the waker was called (it may
 * be called at any time, also from within and without cause). What `body` has
 * appended before it says so is sent. Other than for a live answer the head
 * waits with it as long as there is no content, and answer_timeout_ns goes on.
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
    char field[96];           /* "Name: value", one more line; "" : none */
    bool is_live;             /* stream: what there is leaves at once, and a
                               * client that goes ends it; no answer timeout */
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
#define HTTPD_WAIT      2
/* Has this call of `body` produced enough? */
bool httpd_slice_is_full(const struct wr *w);

/* Make it {"error":{"code":..,"message":..}} with this status. The message
 * is copied, longer than 400 bytes it is cut; `code` is static snake case. */
void httpd_error(struct httpd_answer *answer, unsigned status, const char *code,
                 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Run and forget `done`; the answer is zeroed. */
void httpd_answer_fini(struct httpd_answer *answer);

#endif /* PROBER_HTTPD_H */
