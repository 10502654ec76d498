/* prober/httpd_session.h - what the server needs of a protocol.
 *
 * The host (httpd_uv.c) reads, writes, keeps deadlines and shares the loop; a
 * session makes bytes out of bytes. There are two: HTTP/1.1 (httpd_conn.h)
 * and HTTP/2 for gRPC (control_grpc.h). The host picks by ALPN, or in plain
 * text by whether the first bytes are HTTP/2's preface. The calls are those
 * of httpd_conn.h, where each is described. What the host relies on:
 *
 * - out() stays in place until sent() has taken all of it, in as many parts
 *   as the network makes of it; there is no turn meanwhile.
 * - received() and eof() only note what came; work is for turns, each a
 *   bounded piece of it.
 * - wake() may come at any time, also from within a turn: it asks for one.
 * - abandon() runs the `done` of whatever is being answered, at once.
 * - phase() goes LINGERING, ENDED or straight to either of the last two.
 */
#ifndef PROBER_HTTPD_SESSION_H
#define PROBER_HTTPD_SESSION_H

#include "prober/httpd_conn.h"

struct httpd_session_ops {
    /* `waker->wake` may be called while the session lives: it has work again.
     * `peer` and `config` outlive the session. NULL: no memory. */
    void *(*open)(const struct httpd_conn_config *config,
                  const struct httpd_peer *peer, struct httpd_waker *waker,
                  uint64_t now_ns);
    void (*close)(void *session);
    void (*abandon)(void *session);
    void (*refuse)(void *session, uint64_t now_ns);
    uint8_t *(*space)(void *session, size_t *size);
    void (*received)(void *session, size_t n, uint64_t now_ns);
    void (*eof)(void *session, uint64_t now_ns);
    bool (*wants_turn)(const void *session);
    void (*turn)(void *session, uint64_t now_ns);
    const uint8_t *(*out)(const void *session, size_t *len);
    void (*sent)(void *session, size_t n, uint64_t now_ns);
    void (*progress)(void *session, uint64_t now_ns);
    enum httpd_conn_phase (*phase)(const void *session);
    uint64_t (*waits_since)(const void *session);
    uint64_t (*deadline)(const void *session);
    void (*expire)(void *session, uint64_t now_ns);
};

extern const struct httpd_session_ops httpd_conn_ops;

#endif /* PROBER_HTTPD_SESSION_H */
