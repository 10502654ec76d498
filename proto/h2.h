/* proto/h2.h - HTTP/2 sessions as bytes in, bytes out (RFC 9113).
 *
 * One door to nghttp2. A client session runs one request at a time (that is
 * all a probe needs), a server session answers many streams. No sockets, no
 * clock; what a hostile peer may cost is bounded by struct h2_limits and by
 * nghttp2's own limits, which are set low.
 *
 * Client: after h2_client_open() the connection preface and SETTINGS wait in
 * the output; h2_client_request() adds HEADERS (+ DATA) so that everything
 * leaves in one segment. Feed what arrives, take what is to be sent. All that
 * waits is handed out as one piece (up to 48 KiB), here and on the server.
 *
 * Header tables: none for what we send. For what we receive the default size
 * of 4 KiB stays; an honest peer fills a few hundred bytes of it, and a peer
 * that did not confirm a smaller one in its header block would have to be
 * called broken, which is not what a probe is to find out.
 *
 * Sessions share nothing. Each belongs to one thread.
 */
#ifndef PROTO_H2_H
#define PROTO_H2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define H2_FIELD_VALUE_MAX   256 /* kept per interesting header, rest is cut */
#define H2_BODY_MAX          65536 /* bytes of a response: more is an error */
#define H2_REQUEST_BODY_MAX  1024
#define H2_ANSWER_BODY_MAX   16384
#define H2_ANSWER_FIELDS_MAX 16

/* How a request on a client session ended, or stands. */
enum h2_result {
    H2_PENDING,  /* not answered yet */
    H2_OK,       /* complete: headers, body, END_STREAM */
    H2_GOAWAY,   /* the peer went away before it took our stream */
    H2_RESET,    /* RST_STREAM, or h2_client_cancel(); see error_code */
    H2_REFUSED,  /* RST_STREAM(REFUSED_STREAM) or max streams is 0 */
    H2_PROTOCOL, /* the peer broke the protocol, or a limit of ours */
};

/* Header texts hold no control bytes ('?' stands for them) but may hold bytes
 * above 0x7e. Of a header that comes twice the later one is kept, so trailers
 * win over headers. What 1xx answers say is forgotten. */
struct h2_response {
    enum h2_result result;
    uint32_t error_code; /* of GOAWAY or RST_STREAM, theirs or ours */
    unsigned status;     /* :status, 0 before */
    bool has_headers;    /* the final :status has been read */
    bool has_trailers;
    bool is_trailers_only; /* HEADERS with END_STREAM, no DATA */
    size_t body_len;       /* bytes kept in body */
    uint64_t body_bytes;   /* bytes seen */
    uint8_t body[64];      /* first bytes: enough for a health answer */
    char content_type[H2_FIELD_VALUE_MAX];
    char server_timing[H2_FIELD_VALUE_MAX]; /* header or trailer */
    char grpc_status[16];                   /* header or trailer, "" absent */
    char grpc_message[H2_FIELD_VALUE_MAX];  /* still percent-encoded */
    char error[128];                        /* for people, "" if none */
};

struct h2_client; /* opaque */

/* Open a client session; the preface waits in the output. NULL: no memory. */
struct h2_client *h2_client_open(void);
void h2_client_close(struct h2_client *c); /* NULL is allowed */

struct h2_request {
    const char *method; /* "GET" or "POST" */
    const char *scheme; /* "https" or "http" */
    const char *authority;
    const char *path;
    bool is_grpc;        /* content-type, te: trailers, user-agent */
    uint64_t timeout_ns; /* grpc-timeout if is_grpc, 0: none */
    const uint8_t *body; /* borrowed during the call (copied) */
    size_t body_len;     /* <= 1024 */
};

/* Submit one request. The previous one must have ended. Returns 0, ERR_BUSY
 * (one is pending), ERR_CLOSED (GOAWAY was received or the session failed),
 * ERR_BAD (path or authority has bytes that HTTP does not allow there, or the
 * body is too long), ERR_NOMEM (the session has failed with it).
 *
 * A peer that allows no streams at all (MAX_CONCURRENT_STREAMS 0) gives 0 and
 * a response that says H2_REFUSED at once; nothing is sent. */
int h2_client_request(struct h2_client *c, const struct h2_request *r);

/* Feed bytes. Returns 0, or ERR_BAD once the session is beyond repair (the
 * pending response then says H2_PROTOCOL, also if it was our memory that ran
 * out). Consumes everything.
 *
 * A GOAWAY that covers our stream leaves the request as it is and only makes
 * the session unusable for others. Limits: a header list of 16 KiB, 8 answers
 * of status 1xx, H2_BODY_MAX, 1000 frames that bring nothing (PING, SETTINGS,
 * empty DATA, unknown ones, ...) since the request. The body limit costs only
 * the stream, the others the session. */
int h2_client_feed(struct h2_client *c, const void *data, size_t len);

/* Did our response begin in the latest h2_client_feed()? True for exactly one
 * feed of a request.
 *
 * A response begins with the first HEADERS frame on our stream, be it an
 * informational (1xx) or the final one: either shows that the peer's
 * application has our request. Bytes on the connection's behalf (SETTINGS,
 * WINDOW_UPDATE, PING) are no answer. The grain is the frame head: whose
 * frame it is stands in the last of its nine bytes, so if the head is torn
 * apart, the feed that brings its last byte counts. */
bool h2_client_response_began(const struct h2_client *c);

/* The response of the latest request. Borrowed until the next request. Before
 * the first request all is zero and the result says H2_OK. */
const struct h2_response *h2_client_response(const struct h2_client *c);

/* Give up the pending request: RST_STREAM(CANCEL) is queued and the response
 * says H2_RESET, "cancelled". Nothing happens if none is pending. */
void h2_client_cancel(struct h2_client *c);

/* May another request be made (no GOAWAY, no failure, streams left)? */
bool h2_client_is_usable(const struct h2_client *c);

/* Bytes to send; valid until the next call on the session. *len 0: none. The
 * caller sends all of them or keeps them. May be called until *len is 0. */
const uint8_t *h2_client_out(struct h2_client *c, size_t *len);

/* ---- server ---- */

struct h2_limits {
    uint32_t streams_max;       /* 64: open at once */
    uint32_t header_list_max;   /* 16384 bytes */
    uint32_t glitches_max;      /* 100: pings, settings, resets, empty frames
                                 * per connection before it is closed; each
                                 * request that is answered forgives four */
    uint32_t body_max;          /* 4096 bytes kept per request */
    uint32_t bodies_max;        /* of all requests together, 0: as many as there
                                 * may be; who is beyond it is refused */
    uint32_t authorization_max; /* 0: that header is not kept; else a request
                                 * with two, or two hosts, is refused (400) */
    /* Is this a path whose requests are shown before their end? NULL: no. */
    bool (*is_streamed)(const char *path);
};

/* A request over these limits is answered inside and never shown: 413 (body),
 * 414 (path), 431 (headers), or with content-type application/grpc the status
 * RESOURCE_EXHAUSTED or, for the path, UNIMPLEMENTED; for 400 it is INTERNAL.
 */

extern const struct h2_limits h2_limits_default;

/* One request as a server sees it: complete (END_STREAM received), or, on a
 * streamed path, as soon as its header is. Longer texts are cut; none of them
 * has a meaning when it fills its array. An authorization that is too long is
 * a header that is (431). */
struct h2_server_request {
    int32_t stream_id;
    char method[16];
    char path[128]; /* longer: answered 414 inside, never shown */
    char authority[H2_FIELD_VALUE_MAX];
    char content_type[64];
    char te[16];
    char grpc_timeout[16]; /* text of the header, "" absent */
    char grpc_encoding[16];
    char origin[64];
    const char *authorization; /* valid as long as the stream; NULL: none */
    bool is_streamed;          /* the body comes through h2_server_body() */
    const uint8_t *body;       /* valid until the stream is answered */
    size_t body_len;
};

struct h2_server; /* opaque */

/* Open a server session; SETTINGS wait in the output. NULL: no memory. */
struct h2_server *h2_server_open(const struct h2_limits *limits);
void h2_server_close(struct h2_server *s); /* NULL is allowed */

/* Feed bytes. Returns 0, or when the connection is to be closed after the
 * output (GOAWAY) was sent: ERR_BAD (the peer broke the protocol), ERR_TOOBIG
 * (or a limit), ERR_NOMEM. Consumes everything; after an error it reads no
 * more, shows no requests and takes no answers. A host whose output is stuck
 * should stop feeding; if it does not, what piles up is bounded. */
int h2_server_feed(struct h2_server *s, const void *data, size_t len);

/* The next complete request, oldest first, or NULL. Borrowed until it is
 * answered (h2_server_respond with end) or its stream is gone. A request is
 * returned once. */
const struct h2_server_request *h2_server_next(struct h2_server *s);

struct h2_field {
    const char *name, *value;
};

/* Answer: response headers, optional body, optional trailers. With `end`
 * false the stream stays open (gRPC Watch) and h2_server_more() follows.
 * body_len 0 and trailers: trailers-only when `is_trailers_only`, i.e. the
 * trailers are sent as the one HEADERS frame together with `fields`.
 * Returns 0, ERR_CLOSED (stream is gone, or was answered), ERR_BAD (a name in
 * capitals or a byte that HTTP does not allow), ERR_TOOBIG (the limits below)
 * or ERR_NOMEM. All is copied. */
struct h2_answer {
    unsigned status;
    const struct h2_field *fields;
    size_t n_fields; /* <= H2_ANSWER_FIELDS_MAX */
    const uint8_t *body;
    size_t body_len;                 /* <= H2_ANSWER_BODY_MAX */
    const struct h2_field *trailers; /* only with `end` */
    size_t n_trailers;               /* <= H2_ANSWER_FIELDS_MAX */
    bool is_trailers_only;
    bool end;
};
int h2_server_respond(struct h2_server *s, int32_t stream_id,
                      const struct h2_answer *a);

/* More DATA on a stream left open, with or without end (then trailers).
 * status and fields are not looked at. Returns as h2_server_respond(), and
 * ERR_TOOBIG as well if the peer does not read: 32 KiB wait in the stream. */
int h2_server_more(struct h2_server *s, int32_t stream_id,
                   const struct h2_answer *a);

/* Is this stream still open for an answer? */
bool h2_server_is_open(const struct h2_server *s, int32_t stream_id);

/* Of a streamed request: the bytes that have come and were not consumed yet,
 * valid until the next call on the session; *is_end: no more will come. More
 * than body_max that wait cost the stream. Of other streams: none. */
const uint8_t *h2_server_body(const struct h2_server *s, int32_t stream_id,
                              size_t *len, bool *is_end);
/* The first n of them are done with. */
void h2_server_consume(struct h2_server *s, int32_t stream_id, size_t n);

/* Give a stream up: RST_STREAM(CANCEL). What waits in it is not sent. */
void h2_server_cancel(struct h2_server *s, int32_t stream_id);

/* Streams that are not closed, answered ones with unsent bytes included. */
size_t h2_server_streams(const struct h2_server *s);

/* The oldest stream whose request is not complete (nor shown), 0: none. */
int32_t h2_server_incomplete(const struct h2_server *s);

/* Queue GOAWAY(NO_ERROR): no new streams, open ones finish. A stream of
 * Watch has to be ended by the caller. */
void h2_server_shutdown(struct h2_server *s);

/* Nothing left to do: went away and all streams are done, or failed. */
bool h2_server_is_done(const struct h2_server *s);

/* As h2_client_out(). */
const uint8_t *h2_server_out(struct h2_server *s, size_t *len);

#endif /* PROTO_H2_H */
