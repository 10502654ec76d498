#include "proto/tls.h"

#include "proto/tls_private.h"

#include <assert.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>

#include "proto/base/addr.h"

#define OUT_MIN      1024 /* a ClientHello, or Finished and a request */
#define RECORD_MAX   16384
#define RECORD_EXTRA 512 /* more than any record adds to its plaintext */
/* Handshake messages in a row on an open session: tickets and key updates. */
#define CHATTER_MAX   32
#define NO_ALPN_ALERT 120 /* RFC 7301 no_application_protocol */
/* libssl reports a received alert as reason 1000 + its number. */
#define ALERT_FIRST SSL_AD_REASON_OFFSET
#define ALERT_LAST  (SSL_AD_REASON_OFFSET + 255)

static void check(const struct tls *t)
{
    assert(t->out_head <= t->out_len);
    assert(t->out_len <= t->out_size);
    assert(t->out_size <= TLS_OUT_MAX);
    assert((t->state == TLS_FAILED) == (t->failure != TLS_FAIL_NONE));
    assert(t->ssl || t->state == TLS_FAILED);
}

void tls_fail(struct tls *t, enum tls_failure why, const char *format, ...)
{
    if (t->state == TLS_FAILED)
        return;
    t->state = TLS_FAILED;
    t->failure = why;
    t->in = NULL;
    t->in_left = 0;

    va_list ap;
    va_start(ap, format);
    if (vasprintf(&t->error, format, ap) < 0)
        t->error = NULL;
    va_end(ap);
}

/* ---- the BIO: libssl reads what was fed, writes into `out` ---- */

static int bio_read(BIO *b, char *data, int size)
{
    struct tls *t = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    if (t->n_chatter > CHATTER_MAX)
        return -1;
    if (t->in_left == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    size_t n = t->in_left < (size_t)size ? t->in_left : (size_t)size;
    memcpy(data, t->in, n);
    t->in += n;
    t->in_left -= n;
    return (int)n;
}

static bool out_reserve(struct tls *t, size_t n)
{
    if (t->out_size - t->out_len >= n)
        return true;
    if (t->out_head > 0) {
        memmove(t->out, t->out + t->out_head, t->out_len - t->out_head);
        t->out_len -= t->out_head;
        t->out_head = 0;
    }
    if (n > TLS_OUT_MAX - t->out_len)
        return false;

    size_t size = t->out_size ? t->out_size : OUT_MIN;
    while (size - t->out_len < n)
        size *= 2;
    if (size == t->out_size)
        return true;
    uint8_t *out = realloc(t->out, size);
    if (!out)
        return false;
    t->out = out;
    t->out_size = size;
    return true;
}

static int bio_write(BIO *b, const char *data, int len)
{
    struct tls *t = BIO_get_data(b);

    BIO_clear_retry_flags(b);
    if (len <= 0 || !out_reserve(t, (size_t)len))
        return -1;
    memcpy(t->out + t->out_len, data, (size_t)len);
    t->out_len += (size_t)len;
    return len;
}

static long bio_ctrl(BIO *b, int command, long n, void *p)
{
    (void)b;
    (void)n;
    (void)p;
    return command == BIO_CTRL_FLUSH;
}

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

BIO_METHOD *tls_bio_method(void)
{
    /* No type number of its own: libcrypto has only a hundred to give, and
     * contexts come and go with every reload. */
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "prober");
    if (m && BIO_meth_set_read(m, bio_read) &&
        BIO_meth_set_write(m, bio_write) && BIO_meth_set_ctrl(m, bio_ctrl) &&
        BIO_meth_set_create(m, bio_create))
        return m;
    BIO_meth_free(m);
    return NULL;
}

struct tls *tls_of_ssl(const SSL *ssl)
{
    return BIO_get_data(SSL_get_rbio(ssl));
}

void tls_message_callback(int is_sent, int version, int type, const void *data,
                          size_t len, SSL *ssl, void *arg)
{
    (void)version;
    (void)data;
    (void)len;
    (void)arg;
    if (is_sent || type != SSL3_RT_HANDSHAKE)
        return;
    struct tls *t = tls_of_ssl(ssl);
    t->n_chatter += t->state == TLS_OPEN;
}

/* ---- why it failed ---- */

static void fail_by_alert(struct tls *t, int number)
{
    tls_fail(t, number == NO_ALPN_ALERT ? TLS_FAIL_ALPN : TLS_FAIL_ALERT,
             "peer sent alert %d: %s", number,
             SSL_alert_desc_string_long(number));
}

static void fail_by_queue(struct tls *t)
{
    unsigned long e = ERR_peek_error();
    int reason = ERR_GET_REASON(e);

    if (t->n_chatter > CHATTER_MAX)
        tls_fail(t, TLS_FAIL_PROTOCOL, "too many handshake messages");
    else if (ERR_GET_LIB(e) == ERR_LIB_SSL && reason >= ALERT_FIRST &&
             reason <= ALERT_LAST)
        fail_by_alert(t, reason - ALERT_FIRST);
    else if (ERR_GET_LIB(e) == ERR_LIB_SSL &&
             reason == SSL_R_NO_APPLICATION_PROTOCOL)
        tls_fail(t, TLS_FAIL_ALPN, "no application protocol in common");
    else if (reason == ERR_R_MALLOC_FAILURE)
        tls_fail(t, TLS_FAIL_MEMORY, "out of memory");
    else if (e == 0 || ERR_SYSTEM_ERROR(e)) /* the latter since 3.5 */
        tls_fail(t, TLS_FAIL_PROTOCOL, "more output than the peer takes");
    else if (ERR_reason_error_string(e))
        tls_fail(t, TLS_FAIL_PROTOCOL, "%s", ERR_reason_error_string(e));
    else
        tls_fail(t, TLS_FAIL_PROTOCOL, "error %08lx", e);
}

/* Take over what a libssl call that did not succeed has to say. */
static void take_result(struct tls *t, int result)
{
    if (t->state == TLS_FAILED)
        return;
    switch (SSL_get_error(t->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        assert(t->in_left == 0);
        return;
    case SSL_ERROR_ZERO_RETURN:
        if (t->state == TLS_HANDSHAKE) {
            tls_fail(t, TLS_FAIL_ALERT,
                     "peer sent close_notify in the handshake");
        } else {
            t->state = TLS_CLOSED;
            t->in_left = 0;
        }
        return;
    default:
        fail_by_queue(t);
    }
}

/* ---- life ---- */

static bool host_is_usable(const char *host)
{
    /* X509_check_host() takes an empty name for "do not check" and a leading
     * dot for "any name below". Neither is a host. */
    return host && host[0] != '\0' && host[0] != '.' &&
           strlen(host) <= TLS_HOST_MAX;
}

/* Make libssl's half. False: no memory. */
static bool start(struct tls *t)
{
    t->ssl = SSL_new(t->context->ssl_ctx);
    if (!t->ssl)
        return false;
    BIO *b = BIO_new(t->context->bio_method);
    if (!b)
        return false;
    BIO_set_data(b, t);
    SSL_set_bio(t->ssl, b, b);
    return true;
}

static struct tls *session_new(struct tls_context *c, const char *host)
{
    size_t len = strlen(host);
    struct tls *t = calloc(1, sizeof(*t) + len + 1);

    if (!t)
        return NULL;
    t->context = c;
    c->n_refs++;
    memcpy(t->host, host, len);
    if (len > 1 && host[len - 1] == '.') /* the root is not in certificates */
        t->host[len - 1] = '\0';
    return t;
}

/* Tell libssl what to ask for: name and protocol. False: no memory. */
static bool set_wishes(struct tls *t, const struct tls_client_params *p)
{
    struct addr ip;

    t->host_is_ip = addr_parse_ip(&ip, t->host) == 0;
    if (!t->host_is_ip && SSL_set_tlsext_host_name(t->ssl, t->host) != 1)
        return false;
    if (!p->alpn)
        return true;

    uint8_t wire[sizeof(t->alpn)];
    size_t len = strlen(p->alpn);
    assert(len > 0 && len < sizeof(wire));
    memcpy(t->alpn, p->alpn, len);
    wire[0] = (uint8_t)len;
    memcpy(wire + 1, p->alpn, len);
    return SSL_set_alpn_protos(t->ssl, wire, (unsigned)len + 1) == 0;
}

struct tls *tls_connect(struct tls_context *c,
                        const struct tls_client_params *p)
{
    assert(!c->is_server);
    ERR_clear_error();

    bool is_usable = host_is_usable(p->host);
    struct tls *t = session_new(c, is_usable ? p->host : "");
    if (!t)
        return NULL;
    t->now_s = p->now_unix_s;
    t->requires_alpn = p->requires_alpn;
    if (p->fingerprint) {
        t->is_pinned = true;
        memcpy(t->pin, p->fingerprint, sizeof(t->pin));
    }
    if (!is_usable) {
        tls_fail(t, TLS_FAIL_PROTOCOL, "no usable host name to verify");
        return t;
    }
    if (!start(t) || !set_wishes(t, p)) {
        tls_close(t);
        return NULL;
    }
    SSL_set_connect_state(t->ssl);
    check(t);
    return t;
}

struct tls *tls_accept(struct tls_context *c)
{
    assert(c->is_server);
    ERR_clear_error();

    struct tls *t = session_new(c, "");
    if (!t)
        return NULL;
    if (!start(t)) {
        tls_close(t);
        return NULL;
    }
    if (c->unix_s)
        t->now_s = c->unix_s();
    SSL_set_accept_state(t->ssl);
    check(t);
    return t;
}

void tls_close(struct tls *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    ERR_clear_error();
    free(t->out);
    free(t->error);
    tls_context_close(t->context);
    free(t);
}

/* ---- bytes ---- */

void tls_feed(struct tls *t, const void *data, size_t len)
{
    check(t);
    assert(t->in_left == 0);
    if (t->state == TLS_FAILED || t->state == TLS_CLOSED)
        return;
    t->in = data;
    t->in_left = len;
}

static void check_alpn(struct tls *t)
{
    const unsigned char *got;
    unsigned len;

    /* Not every libssl asks whether the choice was among those offered. */
    SSL_get0_alpn_selected(t->ssl, &got, &len);
    if (len == 0 && t->requires_alpn)
        tls_fail(t, TLS_FAIL_ALPN, "peer did not choose %s", t->alpn);
    else if (len != 0 &&
             (len != strlen(t->alpn) || memcmp(got, t->alpn, len) != 0))
        tls_fail(t, TLS_FAIL_ALPN, "peer chose another protocol than %s",
                 t->alpn);
}

static void open_session(struct tls *t)
{
    t->was_opened = true;
    t->state = TLS_OPEN;
    if (t->context->is_server)
        return;
    /* Nobody asks for the intermediates again. libssl keeps them as long as
     * the session, parsed, at some 5 KiB each. */
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(t->ssl);
    while (sk_X509_num(chain) > 1)
        X509_free(sk_X509_pop(chain));
    check_alpn(t);
}

enum tls_state tls_handshake(struct tls *t)
{
    check(t);
    if (t->state != TLS_HANDSHAKE)
        return t->state;

    uint64_t (*cpu_ns)(void) = t->context->cpu_ns;
    uint64_t began_ns = cpu_ns ? cpu_ns() : 0;
    ERR_clear_error();
    int result = SSL_do_handshake(t->ssl);
    /* A verdict of ours is final, whatever libssl makes of it. */
    if (result == 1 && t->state == TLS_HANDSHAKE) {
        open_session(t);
    } else {
        take_result(t, result);
        ERR_clear_error();
    }
    if (cpu_ns)
        t->cpu_ns += cpu_ns() - began_ns;
    check(t);
    return t->state;
}

enum tls_state tls_state(const struct tls *t)
{
    return t->state;
}

int tls_read(struct tls *t, void *buf, size_t size)
{
    check(t);
    assert(size > 0);
    if (t->state == TLS_HANDSHAKE)
        return 0;

    if (t->state == TLS_OPEN) {
        ERR_clear_error();
        int n = SSL_read(t->ssl, buf, size < INT_MAX ? (int)size : INT_MAX);
        if (n > 0) {
            t->n_chatter = 0;
            return n;
        }
        take_result(t, n);
        ERR_clear_error();
        check(t);
    }
    if (t->state == TLS_OPEN)
        return 0;
    return t->state == TLS_CLOSED ? ERR_CLOSED : ERR_BAD;
}

int tls_write(struct tls *t, const void *data, size_t len)
{
    check(t);
    if (!t->was_opened || t->was_shut || t->state == TLS_FAILED)
        return ERR_BAD;
    if (len == 0)
        return 0;
    size_t waiting = t->out_len - t->out_head;
    if (len > TLS_OUT_MAX ||
        waiting + len + (len / RECORD_MAX + 1) * RECORD_EXTRA > TLS_OUT_MAX)
        return ERR_TOOBIG;

    ERR_clear_error();
    int n = SSL_write(t->ssl, data, (int)len);
    if (n > 0) {
        assert((size_t)n == len);
        return 0;
    }
    take_result(t, n);
    ERR_clear_error();
    /* The BIO never asks to be tried again, so nothing is half done. */
    assert(t->state == TLS_FAILED);
    return ERR_BAD;
}

void tls_shutdown(struct tls *t)
{
    check(t);
    if (!t->was_opened || t->was_shut || t->state == TLS_FAILED)
        return;
    t->was_shut = true;
    ERR_clear_error();
    SSL_shutdown(t->ssl);
    ERR_clear_error();
}

const uint8_t *tls_out(const struct tls *t, size_t *len)
{
    *len = t->out_len - t->out_head;
    return *len ? t->out + t->out_head : NULL;
}

void tls_sent(struct tls *t, size_t n)
{
    check(t);
    assert(n <= t->out_len - t->out_head);
    t->out_head += n;
    if (t->out_head < t->out_len)
        return;
    t->out_head = 0;
    t->out_len = 0;
    /* A handshake will write again at once; an open session may be held for
     * hours between two requests. */
    if (t->state != TLS_HANDSHAKE) {
        free(t->out);
        t->out = NULL;
        t->out_size = 0;
    }
}

/* ---- facts ---- */

enum tls_failure tls_failure(const struct tls *t)
{
    return t->failure;
}

const char *tls_error(const struct tls *t)
{
    if (t->state != TLS_FAILED)
        return "";
    return t->error ? t->error : "out of memory";
}

const char *tls_version(const struct tls *t)
{
    return t->was_opened ? SSL_get_version(t->ssl) : "";
}

const char *tls_cipher(const struct tls *t)
{
    return t->was_opened ? SSL_get_cipher_name(t->ssl) : "";
}

const char *tls_alpn(const struct tls *t)
{
    const unsigned char *name;
    unsigned len;

    if (!t->was_opened)
        return "";
    SSL_get0_alpn_selected(t->ssl, &name, &len);
    if (len == 2 && memcmp(name, "h2", 2) == 0)
        return "h2";
    if (len == 8 && memcmp(name, "http/1.1", 8) == 0)
        return "http/1.1";
    return "";
}

int64_t tls_not_after_unix_s(const struct tls *t)
{
    return t->not_after_s;
}

uint64_t tls_cpu_ns(const struct tls *t)
{
    return t->cpu_ns;
}
