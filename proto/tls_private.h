/* proto/tls_private.h - what tls.c, tls_context.c and tls_verify.c share.
 *
 * Not for others. Division of work: tls_context.c makes what sessions share,
 * tls.c runs a session, tls_verify.c judges certificates.
 */
#ifndef PROTO_TLS_PRIVATE_H
#define PROTO_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "proto/tls.h"

#define TLS_HOST_MAX 253 /* longest host name, RFC 1035 in text */

/* One verified chain. */
struct tls_slot {
    uint8_t key[32]; /* SHA-256 over host name and chain */
    int64_t from_s;  /* latest notBefore of the chain */
    int64_t until_s; /* earliest notAfter; 0: the slot is empty */
};

/* Chains that were verified, an open-addressed table that doubles up to
 * TLS_MEMORY_MAX slots and is flushed when that is full. */
#define TLS_MEMORY_MIN 64u
#define TLS_MEMORY_MAX 4096u /* 3072 chains: above the 2000 targets allowed */

struct tls_memory {
    struct tls_slot *slots; /* owned; NULL until something is remembered */
    size_t size;            /* slots, a power of two, or 0 */
    size_t n;               /* in use, at most 3/4 of size */
};

struct tls_context {
    size_t n_refs; /* its maker's, and one of each session */
    SSL_CTX *ssl_ctx;
    BIO_METHOD *bio_method;
    EVP_MD *sha256;
    EVP_MD_CTX *digest; /* scratch of chain_key() */
    uint64_t (*cpu_ns)(void);
    uint64_t n_verified; /* chains verified in full */
    struct tls_memory memory;
    uint8_t fingerprint[TLS_FINGERPRINT_SIZE];
    uint64_t (*unix_s)(void); /* server: to judge clients by; or NULL */
    bool is_server;
    bool asks_clients; /* for certificates */
    bool is_insecure;
};

struct tls {
    struct tls_context *context;
    SSL *ssl; /* NULL if the session could not even start */
    const uint8_t *in;
    size_t in_left;
    uint8_t *out; /* owned, NULL while nothing waits */
    size_t out_size;
    size_t out_head; /* first byte not sent */
    size_t out_len;  /* one past the last byte */
    uint64_t cpu_ns;
    int64_t not_after_s;
    uint64_t now_s;
    char *error; /* owned; NULL: see tls_error() */
    enum tls_state state;
    enum tls_failure failure;
    unsigned n_chatter; /* handshake messages since the last data */
    bool was_opened;
    bool was_shut; /* we sent close_notify */
    bool requires_alpn;
    bool is_pinned;
    bool host_is_ip;
    char alpn[16]; /* the one offered, or "" */
    uint8_t pin[TLS_FINGERPRINT_SIZE];
    char host[];
};

/* The BIO of sessions: reads what was fed, writes into `out`. Its data is the
 * session. NULL: no memory. */
BIO_METHOD *tls_bio_method(void);

/* Installed by SSL_CTX_set_msg_callback(): counts handshake messages. */
void tls_message_callback(int is_sent, int version, int type, const void *data,
                          size_t len, SSL *ssl, void *arg);

/* Installed by SSL_CTX_set_cert_verify_callback() on clients, and on servers
 * that ask for certificates. */
int tls_verify_callback(X509_STORE_CTX *x, void *context);
/* The session that owns `ssl`. */
struct tls *tls_of_ssl(const SSL *ssl);

/* SHA-256 of a certificate's DER. False: no memory. */
bool tls_leaf_digest(const struct tls_context *c, const X509 *leaf,
                     uint8_t sha256[TLS_FINGERPRINT_SIZE]);

/* Fail the session, unless it failed already; the first reason counts. */
void tls_fail(struct tls *t, enum tls_failure why, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A library for client contexts without a key of their own, in which
 * certificates are parsed faster; shared, never to be freed. NULL: the
 * process's own is to be used. */
OSSL_LIB_CTX *tls_lean_library(void);

/* Is `key` remembered as valid at `now_s`? */
bool tls_memory_find(const struct tls_memory *m, const uint8_t key[32],
                     int64_t now_s);
void tls_memory_add(struct tls_memory *m, const struct tls_slot *slot);
void tls_memory_fini(struct tls_memory *m);

#endif /* PROTO_TLS_PRIVATE_H */
