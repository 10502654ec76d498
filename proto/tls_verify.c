#include <openssl/ssl.h>

#include "proto/tls_private.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/x509v3.h>

/* ---- memory of verified chains ---- */

static size_t slot_of(const struct tls_slot *slots, size_t size,
                      const uint8_t key[32])
{
    uint64_t hash;

    /* The key is a SHA-256 and only chains that verified get in, so its
     * first bytes are as good a hash as any. */
    memcpy(&hash, key, sizeof(hash));
    size_t i = (size_t)hash & (size - 1);
    while (slots[i].until_s != 0 && memcmp(slots[i].key, key, 32) != 0)
        i = (i + 1) & (size - 1);
    return i;
}

bool tls_memory_find(const struct tls_memory *m, const uint8_t key[32],
                     int64_t now_s)
{
    if (m->size == 0)
        return false;
    const struct tls_slot *s = &m->slots[slot_of(m->slots, m->size, key)];
    return s->until_s != 0 && s->from_s <= now_s && now_s <= s->until_s;
}

/* Make room for one more. False: no memory, nothing changed. */
static bool memory_reserve(struct tls_memory *m)
{
    if (m->size != 0 && (m->n + 1) * 4 <= m->size * 3)
        return true;
    if (m->size == TLS_MEMORY_MAX) {
        memset(m->slots, 0, m->size * sizeof(*m->slots));
        m->n = 0;
        return true;
    }

    size_t size = m->size ? m->size * 2 : TLS_MEMORY_MIN;
    struct tls_slot *slots = calloc(size, sizeof(*slots));
    if (!slots)
        return false;
    for (size_t i = 0; i < m->size; i++) {
        if (m->slots[i].until_s != 0)
            slots[slot_of(slots, size, m->slots[i].key)] = m->slots[i];
    }
    free(m->slots);
    m->slots = slots;
    m->size = size;
    return true;
}

void tls_memory_add(struct tls_memory *m, const struct tls_slot *slot)
{
    assert(slot->until_s > 0);
    bool is_known =
        m->size != 0 &&
        m->slots[slot_of(m->slots, m->size, slot->key)].until_s != 0;
    if (!is_known && !memory_reserve(m))
        return;
    m->slots[slot_of(m->slots, m->size, slot->key)] = *slot;
    m->n += !is_known;
    assert(m->n * 4 <= m->size * 3);
}

void tls_memory_fini(struct tls_memory *m)
{
    free(m->slots);
    *m = (struct tls_memory){0};
}

/* ---- facts of certificates ---- */

static bool unix_of(const ASN1_TIME *when, int64_t *unix_s)
{
    struct tm tm;

    /* NULL would mean "now" to OpenSSL. */
    if (!when || ASN1_TIME_to_tm(when, &tm) != 1)
        return false;
    *unix_s = timegm(&tm);
    return true;
}

bool tls_leaf_digest(const struct tls_context *c, const X509 *leaf,
                     uint8_t sha256[TLS_FINGERPRINT_SIZE])
{
    unsigned len = 0;
    return X509_digest(leaf, c->sha256, sha256, &len) == 1 &&
           len == TLS_FINGERPRINT_SIZE;
}

static bool digest_sized(EVP_MD_CTX *d, const void *data, size_t len)
{
    uint64_t n = len;

    /* Length first, so that no two different lists hash the same bytes. */
    return EVP_DigestUpdate(d, &n, sizeof(n)) == 1 &&
           EVP_DigestUpdate(d, data, len) == 1;
}

/* What a verdict depends on besides the time and the context's CAs: the name
 * asked for and every byte of the chain as it was sent. */
static bool chain_key(struct tls *t, const STACK_OF(X509) * chain,
                      uint8_t key[32])
{
    EVP_MD_CTX *d = t->context->digest;
    bool ok = EVP_DigestInit_ex2(d, t->context->sha256, NULL) == 1 &&
              digest_sized(d, t->host, strlen(t->host));

    for (int i = 0; ok && i < sk_X509_num(chain); i++) {
        unsigned char *der = NULL;
        int len = i2d_X509(sk_X509_value(chain, i), &der);
        ok = len > 0 && digest_sized(d, der, (size_t)len);
        OPENSSL_free(der);
    }
    return ok && EVP_DigestFinal_ex(d, key, NULL) == 1;
}

/* ---- the verdict in words ---- */

#define NAME_TEXT_MAX  72
#define TIME_TEXT_SIZE 80 /* as much as six ints could need */

/* Certificates are the peer's: printable ASCII only, and not much of it. */
static void tame(char *text)
{
    for (char *p = text; *p; p++) {
        if (*p < ' ' || *p > '~')
            *p = '?';
    }
}

static void name_text(const X509_NAME *name, char text[NAME_TEXT_MAX])
{
    BIO *b = BIO_new(BIO_s_mem());
    int n = 0;

    if (b && name && X509_NAME_print_ex(b, name, 0, XN_FLAG_RFC2253) >= 0)
        n = BIO_read(b, text, NAME_TEXT_MAX - 1);
    text[n > 0 ? n : 0] = '\0';
    BIO_free(b);
    tame(text);
    if (text[0] == '\0')
        memcpy(text, "(empty)", sizeof("(empty)"));
}

/* The first names a certificate is for, ", " between them. */
static void san_text(const X509 *x, char *text, size_t size)
{
    GENERAL_NAMES *names =
        X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    size_t at = 0;

    text[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && at + 1 < size; i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        if (g->type != GEN_DNS)
            continue;
        int len = ASN1_STRING_length(g->d.dNSName);
        int n = snprintf(text + at, size - at, "%s%.*s", at ? ", " : "", len,
                         (const char *)ASN1_STRING_get0_data(g->d.dNSName));
        at += n > 0 ? (size_t)n : 0;
    }
    GENERAL_NAMES_free(names);
    tame(text);
}

static void time_text(const ASN1_TIME *when, char text[TIME_TEXT_SIZE])
{
    struct tm tm;

    snprintf(text, TIME_TEXT_SIZE, "an unreadable time");
    if (when && ASN1_TIME_to_tm(when, &tm) == 1)
        snprintf(text, TIME_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02dZ",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                 tm.tm_min, tm.tm_sec);
}

static enum tls_failure failure_of(int error)
{
    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
    case X509_V_ERR_CERT_NOT_YET_VALID:
        return TLS_FAIL_EXPIRED;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        return TLS_FAIL_NAME_MISMATCH;
    case X509_V_ERR_OUT_OF_MEM:
        return TLS_FAIL_MEMORY;
    default:
        return TLS_FAIL_UNTRUSTED;
    }
}

/* Turn OpenSSL's verdict about one certificate of the chain into ours. */
static void explain(struct tls *t, X509_STORE_CTX *x)
{
    int error = X509_STORE_CTX_get_error(x);
    const X509 *cert = X509_STORE_CTX_get_current_cert(x);
    char subject[NAME_TEXT_MAX] = "(none)";
    char issuer[NAME_TEXT_MAX] = "(none)";
    char detail[96] = "";

    if (!cert)
        cert = X509_STORE_CTX_get0_cert(x);
    if (cert) {
        name_text(X509_get_subject_name(cert), subject);
        name_text(X509_get_issuer_name(cert), issuer);
    }
    if (cert && error == X509_V_ERR_CERT_HAS_EXPIRED) {
        char when[TIME_TEXT_SIZE];
        time_text(X509_get0_notAfter(cert), when);
        snprintf(detail, sizeof(detail), " at %s", when);
    } else if (cert && error == X509_V_ERR_CERT_NOT_YET_VALID) {
        char when[TIME_TEXT_SIZE];
        time_text(X509_get0_notBefore(cert), when);
        snprintf(detail, sizeof(detail), " until %s", when);
    } else if (cert && failure_of(error) == TLS_FAIL_NAME_MISMATCH) {
        char names[64];
        san_text(cert, names, sizeof(names));
        snprintf(detail, sizeof(detail), ", it is for %s",
                 names[0] ? names : "no host name");
    }
    if (failure_of(error) == TLS_FAIL_NAME_MISMATCH)
        tls_fail(t, TLS_FAIL_NAME_MISMATCH,
                 "certificate is not for %.64s%s (subject %s, issuer %s)",
                 t->host, detail, subject, issuer);
    else
        tls_fail(t, failure_of(error), "%s%s (subject %s, issuer %s)",
                 X509_verify_cert_error_string(error), detail, subject, issuer);
}

/* ---- verification ---- */

static bool judge_pin(struct tls *t, X509_STORE_CTX *x, const X509 *leaf)
{
    uint8_t got[TLS_FINGERPRINT_SIZE];
    char got_text[TLS_FINGERPRINT_TEXT];
    char want_text[TLS_FINGERPRINT_TEXT];

    if (!tls_leaf_digest(t->context, leaf, got)) {
        X509_STORE_CTX_set_error(x, X509_V_ERR_OUT_OF_MEM);
        tls_fail(t, TLS_FAIL_MEMORY, "out of memory");
        return false;
    }
    if (CRYPTO_memcmp(got, t->pin, sizeof(got)) == 0)
        return true;

    tls_fingerprint_format(got, got_text);
    tls_fingerprint_format(t->pin, want_text);
    X509_STORE_CTX_set_error(x, X509_V_ERR_CERT_REJECTED);
    tls_fail(t, TLS_FAIL_UNTRUSTED, "certificate is %s, pinned is %s", got_text,
             want_text);
    return false;
}

/* Remember how long the chain that was just built stays valid. */
static void remember(struct tls *t, X509_STORE_CTX *x, const uint8_t key[32])
{
    const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(x);
    struct tls_slot slot = {.from_s = INT64_MIN, .until_s = INT64_MAX};

    memcpy(slot.key, key, sizeof(slot.key));
    for (int i = 0; i < sk_X509_num(chain); i++) {
        const X509 *cert = sk_X509_value(chain, i);
        int64_t from_s;
        int64_t until_s;
        if (!unix_of(X509_get0_notBefore(cert), &from_s) ||
            !unix_of(X509_get0_notAfter(cert), &until_s))
            return;
        slot.from_s = from_s > slot.from_s ? from_s : slot.from_s;
        slot.until_s = until_s < slot.until_s ? until_s : slot.until_s;
    }
    if (slot.until_s > 0)
        tls_memory_add(&t->context->memory, &slot);
}

static bool set_expectations(struct tls *t, X509_STORE_CTX *x)
{
    X509_VERIFY_PARAM *p = X509_STORE_CTX_get0_param(x);

    /* Purpose (that of the peer) and security level were set by libssl. Names
     * count in subjectAltName only, and "f*.example" is no wildcard (RFC 9525).
     */
    bool has_time = !t->context->is_server || t->context->unix_s;
    if (has_time)
        X509_VERIFY_PARAM_set_time(p, (time_t)t->now_s);
    if (t->context->is_server)
        return true; /* who the client is, is for the caller to say */
    X509_VERIFY_PARAM_set_hostflags(p,
                                    X509_CHECK_FLAG_NEVER_CHECK_SUBJECT |
                                        X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (t->host_is_ip)
        return X509_VERIFY_PARAM_set1_ip_asc(p, t->host) == 1;
    return X509_VERIFY_PARAM_set1_host(p, t->host, 0) == 1;
}

static bool judge_chain(struct tls *t, X509_STORE_CTX *x)
{
    uint8_t key[32];
    bool has_key = chain_key(t, X509_STORE_CTX_get0_untrusted(x), key);

    if (has_key && tls_memory_find(&t->context->memory, key, (int64_t)t->now_s))
        return true;

    t->context->n_verified++;
    if (!set_expectations(t, x)) {
        X509_STORE_CTX_set_error(x, X509_V_ERR_OUT_OF_MEM);
        tls_fail(t, TLS_FAIL_MEMORY, "out of memory");
        return false;
    }
    if (X509_verify_cert(x) == 1) {
        if (has_key)
            remember(t, x, key);
        /* Or libssl would keep it, root included, as long as the session. */
        X509_STORE_CTX_set0_verified_chain(x, NULL);
        return true;
    }
    /* X509_verify_cert() may fail without an error code, and libssl reads the
     * code, not only our return value. */
    if (X509_STORE_CTX_get_error(x) == X509_V_OK)
        X509_STORE_CTX_set_error(x, X509_V_ERR_UNSPECIFIED);
    explain(t, x);
    return false;
}

/* ---- names of clients ---- */

/* Copy a name if it is fit to be compared and shown. */
static bool take_name(const ASN1_IA5STRING *from, bool is_dns,
                      char name[TLS_NAME_SIZE])
{
    const unsigned char *text = ASN1_STRING_get0_data(from);
    int len = ASN1_STRING_length(from);

    if (len < 1 || len >= TLS_NAME_SIZE)
        return false;
    for (int i = 0; i < len; i++) {
        /* A NUL within a name has fooled others. */
        if (text[i] <= 0x20 || text[i] >= 0x7f)
            return false;
        bool is_upper = is_dns && text[i] >= 'A' && text[i] <= 'Z';
        name[i] = (char)(is_upper ? text[i] - 'A' + 'a' : text[i]);
    }
    name[len] = '\0';
    return true;
}

size_t tls_peer_names(const struct tls *t, char names[][TLS_NAME_SIZE],
                      size_t max)
{
    if (!t->context->asks_clients || !t->was_opened || t->state == TLS_FAILED ||
        SSL_get_verify_result(t->ssl) != X509_V_OK)
        return 0;
    const X509 *leaf = SSL_get0_peer_certificate(t->ssl);
    if (!leaf)
        return 0;
    GENERAL_NAMES *all =
        X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    size_t n = 0;
    for (int i = 0; n < max && i < sk_GENERAL_NAME_num(all); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);
        if (g->type == GEN_DNS)
            n += take_name(g->d.dNSName, true, names[n]);
        else if (g->type == GEN_URI)
            n += take_name(g->d.uniformResourceIdentifier, false, names[n]);
        else if (g->type == GEN_EMAIL)
            n += take_name(g->d.rfc822Name, false, names[n]);
    }
    GENERAL_NAMES_free(all);
    return n;
}

/* ---- called by libssl ---- */

int tls_verify_callback(X509_STORE_CTX *x, void *context)
{
    const SSL *ssl =
        X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls *t = tls_of_ssl(ssl);
    const X509 *leaf = X509_STORE_CTX_get0_cert(x);

    assert(t->context == context);
    if (!unix_of(X509_get0_notAfter(leaf), &t->not_after_s))
        t->not_after_s = 0;
    if (t->is_pinned ? !judge_pin(t, x, leaf)
                     : !t->context->is_insecure && !judge_chain(t, x))
        return 0;
    X509_STORE_CTX_set_error(x, X509_V_OK);
    return 1;
}
