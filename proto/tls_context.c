#include "proto/tls_private.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "proto/base/addr.h"
#include "proto/digest.h"

/* The same on every OpenSSL: 3.5 would by default offer ML-KEM hybrids, with a
 * ClientHello of two packets and more arithmetic, and nodes on different
 * Debian releases would see different handshake times. X25519 comes first
 * because it is the cheapest here; only the first gets a key share. */
#define GROUPS "X25519:P-256:X448:P-384:P-521"

#define VALID_BEFORE_S 3600 /* clocks of peers may be behind */
#define VALID_DAYS     3650

/* ---- errors ---- */

/* "what file: reason", the reason from the front of libcrypto's queue. */
static void explain(struct errmsg *msg, const char *what, const char *file)
{
    unsigned long e = ERR_peek_error();
    const char *reason = ERR_reason_error_string(e);

    if (ERR_SYSTEM_ERROR(e))
        reason = strerror(ERR_GET_REASON(e));
    errmsg_set(msg, "%s%s%s: %s", what, file ? " " : "", file ? file : "",
               reason ? reason : "failed");
    ERR_clear_error();
}

/* ---- what clients and servers share ---- */

static int no_passphrase(char *buf, int size, int is_for_writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)is_for_writing;
    (void)arg;
    return -1; /* the default would ask on the terminal */
}

static struct tls_context *context_new(bool is_server, bool is_lean)
{
    struct tls_context *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->n_refs = 1;
    c->is_server = is_server;
    c->bio_method = tls_bio_method();
    c->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    c->digest = EVP_MD_CTX_new();
    c->ssl_ctx =
        SSL_CTX_new_ex(is_lean ? tls_lean_library() : NULL, NULL,
                       is_server ? TLS_server_method() : TLS_client_method());
    if (!c->bio_method || !c->sha256 || !c->digest || !c->ssl_ctx)
        goto fail;

    SSL_CTX *s = c->ssl_ctx;
    char groups[] = GROUPS; /* not const for the macro's sake */
    if (SSL_CTX_set_min_proto_version(s, TLS1_2_VERSION) != 1 ||
        SSL_CTX_set1_groups_list(s, groups) != 1)
        goto fail;
    SSL_CTX_set_options(s, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET |
                               SSL_OP_NO_COMPRESSION);
    SSL_CTX_set_session_cache_mode(s, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(s, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_max_cert_list(s, TLS_CHAIN_MAX);
    SSL_CTX_set_default_passwd_cb(s, no_passphrase);
    SSL_CTX_set_msg_callback(s, tls_message_callback);
    return c;

fail:
    tls_context_close(c);
    return NULL;
}

static int load_identity(SSL_CTX *s, const char *cert_file,
                         const char *key_file, struct errmsg *msg)
{
    if (!cert_file || !key_file) {
        errmsg_set(msg, "%s without %s", cert_file ? "certificate" : "key",
                   cert_file ? "a key" : "a certificate");
        return ERR_BAD;
    }
    if (SSL_CTX_use_certificate_chain_file(s, cert_file) != 1) {
        explain(msg, "certificate", cert_file);
        return ERR_BAD;
    }
    if (SSL_CTX_use_PrivateKey_file(s, key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(s) != 1) {
        explain(msg, "key", key_file);
        return ERR_BAD;
    }
    return 0;
}

static int take_fingerprint(struct tls_context *c, struct errmsg *msg)
{
    const X509 *leaf = SSL_CTX_get0_certificate(c->ssl_ctx);

    if (leaf && !tls_leaf_digest(c, leaf, c->fingerprint)) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    return 0;
}

/* ---- client ---- */

/* The system's file of CAs and its directory; neither has to be there. Not
 * X509_STORE_set_default_paths(), which reads the directory once more by a
 * loader of OSSL_STORE: when memory is short that one is freed twice (3.0). */
static bool load_system(X509_STORE *store)
{
    X509_LOOKUP *file = X509_STORE_add_lookup(store, X509_LOOKUP_file());
    X509_LOOKUP *dir = X509_STORE_add_lookup(store, X509_LOOKUP_hash_dir());
    if (!file || !dir)
        return false;
    (void)X509_LOOKUP_load_file(file, NULL, X509_FILETYPE_DEFAULT);
    (void)X509_LOOKUP_add_dir(dir, NULL, X509_FILETYPE_DEFAULT);
    ERR_clear_error();
    return true;
}

static int load_trust(SSL_CTX *s, const char *ca_file, struct errmsg *msg)
{
    /* The system's store is read by the process's library: its loaders use
     * decoders that the lean one lacks. */
    if (ca_file ? SSL_CTX_load_verify_file(s, ca_file) == 1
                : load_system(SSL_CTX_get_cert_store(s)))
        return 0;
    explain(msg, "CA", ca_file ? ca_file : "store of the system");
    return ERR_BAD;
}

struct tls_context *tls_client_context(const struct tls_client_config *config,
                                       struct errmsg *msg)
{
    ERR_clear_error();
    /* The lean library cannot read private keys. */
    bool has_key = config->cert_file || config->key_file;
    struct tls_context *c = context_new(false, !has_key);
    if (!c) {
        explain(msg, "TLS", NULL);
        return NULL;
    }
    c->cpu_ns = config->cpu_ns;
    c->is_insecure = config->is_insecure;
    if (!config->is_insecure && load_trust(c->ssl_ctx, config->ca_file, msg))
        goto fail;
    if (has_key &&
        load_identity(c->ssl_ctx, config->cert_file, config->key_file, msg))
        goto fail;
    if (take_fingerprint(c, msg))
        goto fail;
    SSL_CTX_set_verify(c->ssl_ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(c->ssl_ctx, tls_verify_callback, c);
    ERR_clear_error();
    return c;

fail:
    tls_context_close(c);
    return NULL;
}

/* ---- server ---- */

/* The protocols, the preferred one first; both texts are of one length. */
static const unsigned char h2_first[] = "\x02h2\x08http/1.1";
static const unsigned char http1_first[] = "\x08http/1.1\x02h2";

static int choose_alpn(SSL *ssl, const unsigned char **out,
                       unsigned char *out_len, const unsigned char *offered,
                       unsigned offered_len, void *arg)
{
    const unsigned char *ours = arg;
    unsigned char *chosen;

    (void)ssl;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(h2_first) - 1,
                              offered, offered_len) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static GENERAL_NAMES *alt_names(const char *name)
{
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_STRING *value = NULL;
    struct addr ip;

    if (!names || !g)
        goto fail;
    if (addr_parse_ip(&ip, name) == 0) {
        value = ASN1_OCTET_STRING_new();
        if (!value ||
            ASN1_STRING_set(value, ip.ip, ip.family == ADDR_V4 ? 4 : 16) != 1)
            goto fail;
        GENERAL_NAME_set0_value(g, GEN_IPADD, value);
    } else {
        value = ASN1_IA5STRING_new();
        if (!value || ASN1_STRING_set(value, name, (int)strlen(name)) != 1)
            goto fail;
        GENERAL_NAME_set0_value(g, GEN_DNS, value);
    }
    value = NULL;
    if (sk_GENERAL_NAME_push(names, g) == 0)
        goto fail;
    return names;

fail:
    ASN1_STRING_free(value);
    GENERAL_NAME_free(g);
    sk_GENERAL_NAME_free(names);
    return NULL;
}

static bool add_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    bool ok = e && X509_add_ext(x, e, -1) == 1;

    X509_EXTENSION_free(e);
    return ok;
}

static bool set_serial(X509 *x)
{
    BIGNUM *n = BN_new();
    /* 127 bits with the top one set: positive, and never too short. */
    bool ok = n && BN_rand(n, 127, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
              BN_to_ASN1_INTEGER(n, X509_get_serialNumber(x));

    BN_free(n);
    return ok;
}

static bool set_subject(X509 *x, const char *name)
{
    X509_NAME *subject = X509_get_subject_name(x);

    /* A common name holds 64 characters. It is for people: verification goes
     * by the alternative name. */
    if (X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                   (const unsigned char *)name, -1, -1, 0) != 1)
        if (X509_NAME_add_entry_by_NID(subject, NID_commonName, MBSTRING_UTF8,
                                       (const unsigned char *)"prober", -1, -1,
                                       0) != 1)
            return false;
    return X509_set_issuer_name(x, subject) == 1;
}

static X509 *self_signed(EVP_PKEY *key, const char *name, uint64_t now_unix_s)
{
    X509 *x = X509_new();
    GENERAL_NAMES *names = alt_names(name);
    time_t now = (time_t)now_unix_s;

    if (x && names && X509_set_version(x, X509_VERSION_3) == 1 &&
        set_serial(x) && set_subject(x, name) &&
        X509_time_adj_ex(X509_getm_notBefore(x), 0, -VALID_BEFORE_S, &now) &&
        X509_time_adj_ex(X509_getm_notAfter(x), VALID_DAYS, 0, &now) &&
        X509_set_pubkey(x, key) == 1 &&
        add_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
        add_extension(x, NID_key_usage, "critical,digitalSignature") &&
        add_extension(x, NID_ext_key_usage, "serverAuth") &&
        X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, 0) == 1 &&
        X509_sign(x, key, EVP_sha256()) > 0)
        goto out;
    X509_free(x);
    x = NULL;

out:
    GENERAL_NAMES_free(names);
    return x;
}

static int make_identity(SSL_CTX *s, const char *name, uint64_t now_unix_s,
                         struct errmsg *msg)
{
    EVP_PKEY *key = NULL;
    X509 *leaf = NULL;
    int err = ERR_BAD;

    if (!name || name[0] == '\0' || strlen(name) > TLS_HOST_MAX) {
        errmsg_set(msg, "a self-signed certificate needs a host name");
        return ERR_BAD;
    }
    key = EVP_EC_gen("P-256");
    leaf = key ? self_signed(key, name, now_unix_s) : NULL;
    if (leaf && SSL_CTX_use_certificate(s, leaf) == 1 &&
        SSL_CTX_use_PrivateKey(s, key) == 1)
        err = 0;
    else
        explain(msg, "self-signed certificate for", name);
    X509_free(leaf);
    EVP_PKEY_free(key);
    return err;
}

/* Ask clients for a certificate; none is fine, a bad one is not. */
static int ask_clients(struct tls_context *c, const char *ca_file,
                       struct errmsg *msg)
{
    SSL_CTX *s = c->ssl_ctx;
    static const unsigned char id[] = "prober";
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(ca_file);

    if (!names || SSL_CTX_load_verify_file(s, ca_file) != 1 ||
        SSL_CTX_set_session_id_context(s, id, sizeof(id) - 1) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        explain(msg, "client CA", ca_file);
        return ERR_BAD;
    }
    /* Tells clients which of their certificates is wanted. */
    SSL_CTX_set_client_CA_list(s, names);
    /* Or libssl would complete our own chain from the clients' CAs. */
    SSL_CTX_set_mode(s, SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_verify(s, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(s, tls_verify_callback, c);
    c->asks_clients = true;
    return 0;
}

struct tls_context *tls_server_context(const struct tls_server_config *config,
                                       struct errmsg *msg)
{
    ERR_clear_error();
    struct tls_context *c = context_new(true, false);
    if (!c) {
        explain(msg, "TLS", NULL);
        return NULL;
    }
    c->cpu_ns = config->cpu_ns;
    if (config->cert_file || config->key_file
            ? load_identity(c->ssl_ctx, config->cert_file, config->key_file,
                            msg)
            : make_identity(c->ssl_ctx, config->name, config->now_unix_s, msg))
        goto fail;
    if (take_fingerprint(c, msg))
        goto fail;
    c->unix_s = config->unix_s;
    if (config->client_ca_file && ask_clients(c, config->client_ca_file, msg))
        goto fail;
    SSL_CTX_set_num_tickets(c->ssl_ctx, 0);
    SSL_CTX_set_alpn_select_cb(
        c->ssl_ctx, choose_alpn,
        (void *)(uintptr_t)(config->prefers_http1 ? http1_first : h2_first));
    ERR_clear_error();
    return c;

fail:
    tls_context_close(c);
    return NULL;
}

/* ---- both ---- */

void tls_context_close(struct tls_context *c)
{
    if (!c || --c->n_refs > 0)
        return;
    SSL_CTX_free(c->ssl_ctx);
    EVP_MD_CTX_free(c->digest);
    EVP_MD_free(c->sha256);
    BIO_meth_free(c->bio_method);
    tls_memory_fini(&c->memory);
    free(c);
}

void tls_context_fingerprint(const struct tls_context *c,
                             uint8_t sha256[TLS_FINGERPRINT_SIZE])
{
    memcpy(sha256, c->fingerprint, TLS_FINGERPRINT_SIZE);
}

uint64_t tls_context_verifications(const struct tls_context *c)
{
    return c->n_verified;
}

/* ---- fingerprints as text ---- */

_Static_assert(TLS_FINGERPRINT_SIZE == DIGEST_SIZE, "it is a digest");
_Static_assert(TLS_FINGERPRINT_TEXT == DIGEST_TEXT_SIZE, "and looks like one");

int tls_fingerprint_parse(const char *text, uint8_t out[TLS_FINGERPRINT_SIZE])
{
    return digest_parse(text, out);
}

void tls_fingerprint_format(const uint8_t sha256[TLS_FINGERPRINT_SIZE],
                            char text[TLS_FINGERPRINT_TEXT])
{
    digest_format(sha256, text);
}
