/* prober/httpd_conn_private.h - one HTTP/1.1 connection, inside.
 *
 * Not for others. Division of work: httpd_conn_request.c reads a request up to
 * its handler, httpd_conn_answer.c makes bytes of what the handler answers,
 * httpd_conn.c has the life of a connection, its steps and its deadlines.
 */
#ifndef PROBER_HTTPD_CONN_PRIVATE_H
#define PROBER_HTTPD_CONN_PRIVATE_H

#include "prober/httpd_conn.h"
#include "prober/httpd_fields.h"
#include "prober/httpd_gzip.h"
#include "proto/http1.h"

#define HTTPD_CONN_IN_SIZE      4096
#define HTTPD_CONN_LINGER_BYTES (1u << 20) /* dropped before we just close */

enum httpd_conn_step {
    STEP_NONE,    /* no answer under way */
    STEP_PREPARE, /* the handler is not ready */
    STEP_FIRST,   /* nothing is sent yet, not even the head */
    STEP_MORE,    /* in the middle of the body */
};

struct httpd_conn {
    const struct httpd_conn_config *config;
    const struct httpd_peer *peer;
    struct httpd_waker *host_waker; /* NULL: the host looks by itself */
    struct httpd_waker waker;       /* the handler's */
    enum httpd_conn_phase phase;
    enum httpd_conn_step step;

    /* The request. */
    bool has_eof; /* the peer will send no more */
    bool is_head; /* HEAD: everything but the content */
    bool is_old;  /* HTTP/1.0: no chunks */
    bool wants_gzip;
    bool is_last;       /* close after this answer */
    bool has_served;    /* at least one answer was begun */
    bool is_flooded;    /* more came behind a live answer than we keep */
    bool has_continued; /* a 100 went out for this request */
    char etags[HTTPD_ETAGS_SIZE]; /* of If-None-Match */
    struct wr body;
    size_t in_pos, in_len;
    uint64_t since_ns; /* waiting for a request, or dropping bytes */
    uint64_t dropped;

    /* The answer. */
    struct httpd_answer answer;
    struct httpd_gzip *gzip;
    bool is_chunked;
    bool is_parked, was_woken; /* waits for the waker; it was called */
    struct wr plain, out;
    size_t out_sent;
    uint64_t progress_ns, begun_ns;

    struct http1 http;
    uint8_t in[HTTPD_CONN_IN_SIZE];
};

/* Bytes made and not yet sent. */
static inline size_t httpd_conn_out_left(const struct httpd_conn *c)
{
    return c->out.len - c->out_sent;
}

/* Is there input that nobody has looked at? */
static inline bool httpd_conn_has_input(const struct httpd_conn *c)
{
    return c->in_pos < c->in_len;
}

/* httpd_conn.c: let go of the answer, and give up with it. */
void httpd_conn_drop_answer(struct httpd_conn *c);
void httpd_conn_abort(struct httpd_conn *c);

/* httpd_conn_request.c: look at what came; at the end of a request its handler
 * is called and the answer begun. */
void httpd_conn_take_input(struct httpd_conn *c, uint64_t now_ns);
/* Answer what is wrong with the connection or the request itself; there is
 * no telling where the next request would begin, so it is the last. */
void httpd_conn_answer_badly(struct httpd_conn *c, unsigned status,
                             const char *code, const char *why,
                             uint64_t now_ns);

/* httpd_conn_answer.c: start with what is in c->answer; one step of it. */
void httpd_conn_begin_answer(struct httpd_conn *c, uint64_t now_ns);
void httpd_conn_answer_turn(struct httpd_conn *c, uint64_t now_ns);
/* To be called when `n_new` bytes or the end came, or when an answer became
 * live. While one is, the peer's end has to be seen, so we read on, past what
 * we can keep: what does not fit is dropped, with it where the next request
 * would begin. */
void httpd_conn_read_on(struct httpd_conn *c, size_t n_new);

#endif /* PROBER_HTTPD_CONN_PRIVATE_H */
