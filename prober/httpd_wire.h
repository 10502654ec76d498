/* prober/httpd_wire.h - what stands between a socket and a session.
 *
 * On a connection it is first open who speaks what. In plain text the first
 * bytes tell: "PRI * HTTP/2.0" is HTTP/2's preface (RFC 9113 3.4), anything
 * else HTTP/1.1. With TLS the handshake comes first and ALPN tells. Then a
 * session is opened, and from there on a wire passes bytes on, through TLS if
 * there is TLS:
 *
 *     bytes read -> [decrypt] -> session -> [encrypt] -> bytes to write
 *
 * The host's calls are those of a session (httpd_conn.h); there is one
 * more reason for turns: handshakes and decryption are work, so they too wait
 * for theirs. Ciphertext is made 16 KiB at a time and the session is told
 * that it was sent when it was, so that its write timeout means the network.
 *
 * Memory, beside the session's: 1 KiB; with TLS 5 KiB, from the first byte
 * of a handshake on what OpenSSL takes (45 KiB, measured), and 32 KiB while
 * there is ciphertext to send. A client that connects and says nothing costs
 * neither a session of ours nor one of TLS.
 *
 * Pure, as its TLS is (proto/tls.h).
 */
#ifndef PROBER_HTTPD_WIRE_H
#define PROBER_HTTPD_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "prober/httpd_session.h"
#include "proto/tls.h"

struct httpd_wire_config { /* all of it outlives the wires */
    const struct httpd_conn_config *conn;
    const struct httpd_session_ops *http1;
    const struct httpd_session_ops *http2; /* NULL: not spoken here */
    struct tls_context *tls;               /* NULL: plain text */
};

struct httpd_wire; /* opaque */

/* Returns NULL without memory. `peer` is completed by what TLS tells (is_tls,
 * names) before the session sees it; it and `waker` outlive the wire. */
struct httpd_wire *httpd_wire_open(const struct httpd_wire_config *config,
                                   struct httpd_peer *peer,
                                   struct httpd_waker *waker, uint64_t now_ns);
void httpd_wire_close(struct httpd_wire *w); /* NULL is allowed */
void httpd_wire_abandon(struct httpd_wire *w);

/* Right after opening: say in HTTP/1.1 that there is no place. Returns false
 * if that would need a handshake first: then just close. */
bool httpd_wire_refuse(struct httpd_wire *w, uint64_t now_ns);

uint8_t *httpd_wire_space(struct httpd_wire *w, size_t *size);
void httpd_wire_received(struct httpd_wire *w, size_t n, uint64_t now_ns);
void httpd_wire_eof(struct httpd_wire *w, uint64_t now_ns);
bool httpd_wire_wants_turn(struct httpd_wire *w);
void httpd_wire_turn(struct httpd_wire *w, uint64_t now_ns);
const uint8_t *httpd_wire_out(const struct httpd_wire *w, size_t *len);
void httpd_wire_sent(struct httpd_wire *w, size_t n, uint64_t now_ns);
void httpd_wire_progress(struct httpd_wire *w, uint64_t now_ns);
/* LINGERING only once the close_notify is out. */
enum httpd_conn_phase httpd_wire_phase(const struct httpd_wire *w);
uint64_t httpd_wire_waits_since(const struct httpd_wire *w);
uint64_t httpd_wire_deadline(const struct httpd_wire *w);
void httpd_wire_expire(struct httpd_wire *w, uint64_t now_ns);

#endif /* PROBER_HTTPD_WIRE_H */
