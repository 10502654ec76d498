/* proto/http1.h - HTTP/1.1 messages, incrementally, in both directions.
 *
 * A strict push parser (RFC 9112): it is fed bytes as they arrive, in pieces
 * of any size, and tells where it stands. It does not allocate and does not
 * keep the body, only counts it. What RFC 9112 lets a lenient parser accept
 * and what has been used for smuggling is refused: bare LF, obs-fold, space
 * before the colon, control bytes in values, Content-Length together with
 * Transfer-Encoding, repeated or malformed Content-Length, transfer codings
 * other than one final "chunked" (and that only in 1.1), HTTP versions other
 * than 1.0 and 1.1. Also refused: a 1.1 request without exactly one valid
 * Host, "CONNECT", a fragment in the target, 101 (we never ask to switch),
 * framing fields in trailers. The verdict does not depend on how the bytes
 * were cut into pieces.
 *
 * Let through, because real peers do it and no length depends on it: one
 * empty line before a request, a status line without the space before an
 * absent reason, lengths in answers that have no body (204, 304, HEAD); a 204
 * that announces a body is not kept alive.
 *
 * The head is copied into a fixed buffer inside the parser, so that the few
 * header fields a caller needs can be looked up after the head is complete.
 *
 * Not here: sockets, TLS, redirects, content codings. One thread.
 */
#ifndef PROTO_HTTP1_H
#define PROTO_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/buf.h"

#define HTTP1_HEAD_MAX    8192 /* default bound of one head, in bytes */
#define HTTP1_FIELDS_MAX  100  /* header fields, trailers counted too */
#define HTTP1_INTERIM_MAX 8    /* 1xx answers before the final one */
#define HTTP1_EXT_MAX     1024 /* bytes of chunk extensions, per message */

enum http1_role {
    HTTP1_REQUEST,  /* we are a server, parsing requests */
    HTTP1_RESPONSE, /* we are a client, parsing responses */
};

enum http1_state {
    HTTP1_HEAD,   /* inside the head (or between messages) */
    HTTP1_BODY,   /* head complete, body to come */
    HTTP1_DONE,   /* message complete */
    HTTP1_FAILED, /* malformed or over a limit; see err and error */
};

/* A piece of text inside the parser's head buffer, not NUL-terminated. */
struct http1_text {
    const char *data;
    size_t len;
};

struct http1_field {
    uint16_t name, name_len; /* offsets into head[] */
    uint16_t value, value_len;
};

/* Callers may read what stands above the line, and nothing below it. Plain so
 * that it can be embedded; do not copy it, the texts point into it. */
struct http1 {
    enum http1_role role;
    enum http1_state state;
    int err;                          /* once FAILED, else 0: ERR_BAD,
                                       * ERR_TOOBIG, ERR_TRUNC (by eof) */
    const char *error;                /* static text: what was wrong */
    struct http1_text method, target; /* requests, once past HEAD */
    uint64_t body_bytes;              /* body bytes counted so far */
    uint16_t status;                  /* responses; 0 before */
    uint8_t version_minor;            /* 0 or 1 */
    uint8_t n_interim;                /* 1xx seen */
    bool is_head_request;             /* response to HEAD: never a body */
    bool is_chunked, has_length;      /* what the head says of the body */
    bool is_close_delimited;          /* the body ends with the connection */
    bool is_keep_alive;               /* past HEAD: another may follow */

    /* ------------------------------------------------------------------ */
    uint8_t step;     /* where inside head or chunk framing */
    uint8_t n_digits; /* of the chunk size being read */
    bool has_host, says_close, says_keep_alive;
    uint16_t ext_bytes;    /* of chunk extensions so far */
    uint64_t body_left;    /* of Content-Length or of this chunk */
    size_t line, head_len; /* in head[]: start of this line, end of all */
    unsigned n_fields;
    size_t head_max, body_max;
    struct http1_field fields[HTTP1_FIELDS_MAX];
    char head[HTTP1_HEAD_MAX]; /* names are put into lower case */
};

/* Start for a connection. 1 <= head_max <= HTTP1_HEAD_MAX bounds a head with
 * its trailers; body_max bounds body_bytes. Going over either is ERR_TOOBIG,
 * a Content-Length or chunk that would is refused before it is read. Costs
 * little: the buffers are not cleared. */
void http1_init(struct http1 *h, enum http1_role role, size_t head_max,
                size_t body_max);

/* Get ready for the next message on the same connection; also allowed before
 * the first. `is_head_request`: the response to come answers a HEAD. */
void http1_next(struct http1 *h, bool is_head_request);

/* Take up to `len` bytes; returns how many were consumed. Less than `len`
 * only when the message is DONE (the rest belongs to the next one) or FAILED
 * (the connection is of no use). 1xx responses are consumed silently, at most
 * HTTP1_INTERIM_MAX; one more is ERR_TOOBIG. */
size_t http1_feed(struct http1 *h, const void *data, size_t len);

/* The peer closed its side. A close-delimited body becomes DONE; otherwise a
 * begun message becomes FAILED (ERR_TRUNC); between messages nothing
 * happens and the state stays HTTP1_HEAD. Returns the new state. */
enum http1_state http1_eof(struct http1 *h);

/* Has any byte of the (final or interim) message been seen? The empty line
 * that may stand before a request does not count. */
bool http1_begun(const struct http1 *h);

/* Look a header field up by lower-case name; first match. Trailers are found
 * too once DONE. The value is without the blanks around it. Returns false if
 * absent. Valid until http1_next(). */
bool http1_field(const struct http1 *h, const char *name,
                 struct http1_text *value);

/* Write the head of a request:
 *   "METHOD target HTTP/1.1", Host, User-Agent: prober, Accept-Encoding:
 *   identity, and "Connection: close" unless keep_alive.
 * `extra` may be NULL or complete field lines, each ending in CRLF.
 * Sets wr's error ERR_BAD, and writes nothing, if method, target or host are
 * empty or hold bytes that do not belong there (controls, spaces, non-ASCII,
 * "#" in a target, "/" in a host), or if extra is not whole lines. */
void http1_write_request(struct wr *w, const char *method, const char *target,
                         const char *host, bool keep_alive, const char *extra);

/* The phrase of a status: "OK", "Not Found", ... (RFC 9110, 15; RFC 6585);
 * "" for one without a usual phrase. */
const char *http1_reason(unsigned status);

/* Write a response head with Content-Length: body_len (left out for 1xx and
 * 204, which must not have one). `content_type` and `extra` may be NULL, and
 * are checked as above. The reason is that of `status`, 100..999. */
void http1_write_response(struct wr *w, unsigned status,
                          const char *content_type, uint64_t body_len,
                          bool keep_alive, const char *extra);

/* Parse "name;dur=1.5, app;dur=0.052" (W3C Server Timing): the dur of metric
 * `app`, in ns, or of the first metric with a dur if there is no `app`. What
 * is below a nanosecond is cut off. Returns 0, or ERR_BAD and leaves *dur_ns
 * (absent, malformed, negative, exponent, above one hour). */
int http1_server_timing(const char *text, size_t len, uint64_t *dur_ns);

#endif /* PROTO_HTTP1_H */
