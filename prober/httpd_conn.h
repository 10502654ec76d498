/* prober/httpd_conn.h - the server's side of one HTTP/1.1 connection.
 *
 * Bytes in, bytes out, no socket and no clock: httpd_uv.c is its host, the
 * fuzz target and the unit tests are others. The host
 *
 *     p = httpd_conn_space(c, &size);  read into it; none: stop reading
 *     httpd_conn_received(c, n, now)   ... or httpd_conn_eof(c, now)
 *     httpd_conn_turn(c, now)          while httpd_conn_wants_turn(c)
 *     p = httpd_conn_out(c, &len);     write it
 *     httpd_conn_sent(c, n, now)
 *     httpd_conn_phase(c)              says whether to shut down or to close
 *     httpd_conn_expire(c, now)        when httpd_conn_deadline(c) has passed
 *
 * Requests are answered one after the other; what is pipelined behind waits
 * in the input buffer and then in the socket. A turn does a bounded piece of
 * work: one slice of an answer at most. Output held is one slice (and its
 * compressed copy) at most.
 *
 * An answer may wait (HTTPD_WAIT): then there are no turns and, if it is live,
 * no deadline until the handler calls the request's waker, which is ours and
 * passes on to the host's. A live answer ends when the peer closes its side,
 * however little it sends meanwhile; what it sends behind the request beyond
 * the input buffer is dropped and ends the connection after the answer.
 *
 * Bodies of POST are kept for the handler if the limits say that the server
 * takes them, all others are read and dropped.
 *
 * Memory of a connection: 14 KiB; while a request has a body 16 KiB more,
 * while it is answered two slices at most (plus 40 KiB for gzip).
 *
 * Whatever is wrong with a request is answered (400, 405, 408, 413, 414,
 * 431, 503) and ends the connection in an orderly way: after the answer our
 * side is shut down, and what still arrives is read and dropped for a while,
 * because closing with unread input would reset the connection and could
 * destroy the answer on its way (RFC 9112 9.6).
 */
#ifndef PROBER_HTTPD_CONN_H
#define PROBER_HTTPD_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/httpd.h"

struct httpd_limits {
    unsigned connections_max;  /* 128 */
    unsigned per_address_max;  /* 16, from one address, or IPv6 /64 */
    unsigned per_loopback_max; /* 128: local proxies speak for many */
    unsigned per_user_max;     /* 112, of one uid on a unix socket: whoever
                                * it is, there are places left for others */
    unsigned methods;          /* beside GET and HEAD, that are always served:
                                * 1 << HTTPD_POST | 1 << HTTPD_DELETE; POST
                                * makes it a server that takes bodies */
    uint64_t handshake_timeout_ns; /* 5 s of TLS until it is open */
    uint64_t head_timeout_ns;      /* 5 s, first byte to end of a request */
    uint64_t idle_timeout_ns;      /* 10 s between requests */
    uint64_t write_timeout_ns;     /* 30 s without progress */
    uint64_t answer_timeout_ns;    /* 120 s for one answer in all; if it is live
                                    * for each slice of it to be taken, as
                                    * for the last answers of a batch */
    uint64_t linger_timeout_ns;    /* 2 s of reading after a last answer */
    size_t slice_bytes;            /* 64 KiB produced per turn, at most; at
                                    * least two pieces */
};

extern const struct httpd_limits httpd_limits_default;

struct httpd_stats {
    uint64_t accepted, rejected, requests, bad_requests, timeouts;
    uint64_t evicted;        /* waiting ones closed to make room */
    uint64_t accept_errors;  /* out of descriptors or memory */
    uint64_t bad_handshakes; /* TLS that came to nothing, not by time */
    unsigned connections;
};

struct httpd_conn_config {
    const struct httpd_limits *limits; /* all three outlive connections */
    httpd_handler *handler;
    void *arg;
    struct httpd_stats *stats;     /* requests, bad_requests, timeouts */
    uint64_t (*now_unix_ns)(void); /* for Date; NULL: no such field */
};

enum httpd_conn_phase {
    HTTPD_CONN_READING,   /* waits for a request, or for the rest of it */
    HTTPD_CONN_ANSWERING, /* prepares or sends */
    HTTPD_CONN_LINGERING, /* all is sent: shut our side down, keep reading */
    HTTPD_CONN_ENDED,     /* close */
    HTTPD_CONN_ABORTED,   /* close with a reset: the answer is incomplete */
};

struct httpd_conn; /* opaque */

/* Returns NULL without memory. All is borrowed until it is closed; `peer` is
 * what handlers are told, `waker` is called when a turn is wanted again that
 * nobody but the handler knows of. Both may be NULL. */
struct httpd_conn *httpd_conn_open(const struct httpd_conn_config *config,
                                   const struct httpd_peer *peer,
                                   struct httpd_waker *waker, uint64_t now_ns);
void httpd_conn_close(struct httpd_conn *c); /* NULL is allowed */

/* Drop the answer under way (its done runs now); only closing may follow. The
 * memory of httpd_conn_out() stays. */
void httpd_conn_abandon(struct httpd_conn *c);

/* Instead of serving, answer 503 and end. Right after opening. */
void httpd_conn_refuse(struct httpd_conn *c, uint64_t now_ns);

/* Where to read into; NULL with *size 0 while the buffer is full. */
uint8_t *httpd_conn_space(struct httpd_conn *c, size_t *size);
void httpd_conn_received(struct httpd_conn *c, size_t n, uint64_t now_ns);
void httpd_conn_eof(struct httpd_conn *c, uint64_t now_ns);

/* Is there work to do? Never while output waits to be written. */
bool httpd_conn_wants_turn(const struct httpd_conn *c);
void httpd_conn_turn(struct httpd_conn *c, uint64_t now_ns);

/* What waits to be written, NULL and 0 if nothing does. It stays in place
 * until all of it was sent. */
const uint8_t *httpd_conn_out(const struct httpd_conn *c, size_t *len);
void httpd_conn_sent(struct httpd_conn *c, size_t n, uint64_t now_ns);
/* Bytes left for the network without any being finished with. */
void httpd_conn_progress(struct httpd_conn *c, uint64_t now_ns);

enum httpd_conn_phase httpd_conn_phase(const struct httpd_conn *c);

/* Since when it has been waiting for a complete request; UINT64_MAX while it
 * does something else. The smallest is the one to give up first. */
uint64_t httpd_conn_waits_since(const struct httpd_conn *c);

/* Monotonic ns; UINT64_MAX: none (there is work to do). */
uint64_t httpd_conn_deadline(const struct httpd_conn *c);
void httpd_conn_expire(struct httpd_conn *c, uint64_t now_ns);

#endif /* PROBER_HTTPD_CONN_H */
