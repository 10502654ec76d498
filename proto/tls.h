/* proto/tls.h - TLS 1.2 and 1.3 as bytes in, bytes out.
 *
 * One door to OpenSSL. A tls_context holds what sessions share (certificates,
 * trusted CAs, the memory of verified chains); a tls session is one
 * connection's state machine, driven by the caller:
 *
 *     tls_feed(t, bytes, len);             ciphertext that arrived (borrowed)
 *     state = tls_handshake(t);            until TLS_OPEN or TLS_FAILED
 *     n = tls_read(t, buf, size);          until 0: all of it was taken
 *     tls_write(t, request, len);          plaintext to send
 *     p = tls_out(t, &len); tls_sent(t, n) ciphertext to send
 *
 * On the client the Finished message and the first tls_write() leave in one
 * tls_out() piece, so that they travel in one segment.
 *
 * A server may ask for client certificates: those that verify have names, see
 * tls_peer_names().
 *
 * Verification is never off unless asked for: chain and host name against
 * the context's CAs, or a pinned SHA-256 of the leaf certificate instead of
 * both. Chains that were verified once are remembered (by the bytes of the
 * whole chain, the name, and until the earliest notAfter), which saves the
 * signature checks; the proof that the peer holds the key is always made.
 *
 * Pure: certificate validity is judged at the unix time that is given; CPU time
 * comes from an injected function. OpenSSL draws its own randomness. A context
 * and its sessions belong to one thread.
 */
#ifndef PROTO_TLS_H
#define PROTO_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/err.h"

#define TLS_FINGERPRINT_SIZE 32
#define TLS_FINGERPRINT_TEXT 72    /* "sha256:", 64 digits, NUL */
#define TLS_CHAIN_MAX        65536 /* bytes of certificates accepted */
#define TLS_OUT_MAX          131072

enum tls_state {
    TLS_HANDSHAKE, /* wants more from the peer */
    TLS_OPEN,      /* application data may flow */
    TLS_CLOSED,    /* the peer sent close_notify */
    TLS_FAILED,    /* see tls_failure() */
};

enum tls_failure {
    TLS_FAIL_NONE,
    TLS_FAIL_UNTRUSTED,     /* no chain to a trusted CA, wrong fingerprint */
    TLS_FAIL_EXPIRED,       /* expired or not yet valid */
    TLS_FAIL_NAME_MISMATCH, /* the certificate is for another name */
    TLS_FAIL_ALERT,    /* the peer sent a fatal alert, or close_notify early */
    TLS_FAIL_ALPN,     /* no protocol in common, or none chosen */
    TLS_FAIL_PROTOCOL, /* anything else that OpenSSL refused */
    TLS_FAIL_MEMORY,
};

struct tls_context; /* opaque */

struct tls_client_config {
    const char *ca_file;   /* PEM; NULL: the system's store */
    const char *cert_file; /* PEM, client certificate, or NULL */
    const char *key_file;
    bool is_insecure;         /* accept any certificate */
    uint64_t (*cpu_ns)(void); /* thread CPU time, or NULL */
};

/* Returns NULL with `msg` naming the file and the reason. */
struct tls_context *tls_client_context(const struct tls_client_config *c,
                                       struct errmsg *msg);

struct tls_server_config {
    const char *cert_file, *key_file; /* PEM; both NULL: make a P-256 key and
                                       * a self-signed certificate for name */
    const char *name;                 /* host name, for the self-signed one */
    uint64_t now_unix_s;              /* for the self-signed one's validity */
    uint64_t (*cpu_ns)(void);
    /* PEM: ask clients for a certificate and verify one that is shown against
     * these CAs. None is fine; one that does not verify fails the handshake.
     * NULL: do not ask. */
    const char *client_ca_file;
    /* The wall clock in seconds, asked once per session, by which client
     * certificates are judged. NULL: OpenSSL's own. */
    uint64_t (*unix_s)(void);
    bool prefers_http1; /* of clients that speak both; false: h2 */
};

/* ALPN: h2 and http/1.1, the server's preference counts; none in common is a
 * fatal alert, none offered is fine: tls_alpn() is "" then, which means
 * http/1.1. No session tickets, no renegotiation. */
struct tls_context *tls_server_context(const struct tls_server_config *c,
                                       struct errmsg *msg);
/* Sessions that are still open keep it for as long as they need it, on the
 * same thread. NULL is allowed. */
void tls_context_close(struct tls_context *c);

/* SHA-256 of the server context's leaf certificate (DER). */
void tls_context_fingerprint(const struct tls_context *c,
                             uint8_t sha256[TLS_FINGERPRINT_SIZE]);

/* Chains this context verified in full so far: those that were not answered
 * from memory, verified or not. */
uint64_t tls_context_verifications(const struct tls_context *c);

/* "sha256:<64 hex>", case-insensitive, colons between bytes allowed.
 * Returns 0 or ERR_BAD. */
int tls_fingerprint_parse(const char *text, uint8_t out[TLS_FINGERPRINT_SIZE]);
/* Writes "sha256:", 64 hex digits in lower case and NUL. */
void tls_fingerprint_format(const uint8_t sha256[TLS_FINGERPRINT_SIZE],
                            char text[TLS_FINGERPRINT_TEXT]);

struct tls; /* opaque: one session */

struct tls_client_params {
    const char *host;           /* SNI and name to verify; an IP literal is
                                 * verified as such and sends no SNI */
    const uint8_t *fingerprint; /* pinned leaf, or NULL */
    const char *alpn;           /* "h2" or "http/1.1" */
    bool requires_alpn;         /* not chosen by the peer: TLS_FAIL_ALPN */
    uint64_t now_unix_s;
};

/* The ClientHello is in tls_out() after the first tls_handshake(). A host
 * that cannot be verified (empty, over 253 bytes, leading dot) gives a session
 * that has failed already. NULL: no memory. */
struct tls *tls_connect(struct tls_context *c,
                        const struct tls_client_params *p);
struct tls *tls_accept(struct tls_context *c);
void tls_close(struct tls *t); /* NULL is allowed; sends nothing */

/* Hand over ciphertext. It is borrowed until it is used up, that is until
 * tls_handshake() returns TLS_HANDSHAKE or tls_read() returns 0; what was fed
 * before must have been used up (asserted). */
void tls_feed(struct tls *t, const void *data, size_t len);

enum tls_state tls_handshake(struct tls *t);
enum tls_state tls_state(const struct tls *t);

/* Decrypt into buf (size > 0). Returns bytes, 0 (needs more ciphertext),
 * ERR_CLOSED (close_notify) or ERR_BAD (failed, see tls_failure()). */
int tls_read(struct tls *t, void *buf, size_t size);

/* Encrypt all of it. Returns 0, ERR_TOOBIG (with what waits it would be more
 * than TLS_OUT_MAX; nothing was taken), or ERR_BAD (not open yet, failed, or
 * after tls_shutdown()). A peer that closed its own half may still read. */
int tls_write(struct tls *t, const void *data, size_t len);

/* Queue a close_notify. */
void tls_shutdown(struct tls *t);

/* Ciphertext that waits to be sent; NULL and 0 if none. */
const uint8_t *tls_out(const struct tls *t, size_t *len);
void tls_sent(struct tls *t, size_t n);

enum tls_failure tls_failure(const struct tls *t);
/* One line for people, "" if nothing failed. Lives as long as `t`. */
const char *tls_error(const struct tls *t);

/* Facts for the sample. Strings are static or live as long as `t`. */
const char *tls_version(const struct tls *t); /* "TLSv1.3", "" before */
const char *tls_cipher(const struct tls *t);
const char *tls_alpn(const struct tls *t); /* "h2", "http/1.1", "" */
int64_t tls_not_after_unix_s(
    const struct tls *t); /* peer leaf; 0 unknown,
                           * known even when verification failed */
#define TLS_NAME_SIZE 129
/* Of a server's session that is open: the subjectAltNames of the client's
 * certificate, if it showed one and that was verified. DNS names come in lower
 * case, URIs and email addresses as they are. Names that are not 1 to 128
 * printable ASCII characters without blanks are left out, not cut. Returns how
 * many were written, at most `max`. */
size_t tls_peer_names(const struct tls *t, char names[][TLS_NAME_SIZE],
                      size_t max);
/* CPU time spent inside tls_handshake(), ns; 0 without cpu_ns. */
uint64_t tls_cpu_ns(const struct tls *t);

#endif /* PROTO_TLS_H */
