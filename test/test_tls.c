/* Two ends in memory. Ours against ours where the API is the point, ours
 * against a bare libssl peer where the peer must be odd; certificates are
 * made at the start, all validity is relative to NOW. */
#include "proto/tls_private.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "prober/crypto_mem.h"
#include "proto/base/rng.h"
#include "test/check.h"

#define NOW  1800000000ull /* 2027-01-15T08:00:00Z */
#define DAY  86400
#define YEAR (365 * DAY)
#define HOST "a-1.mesh.test"

/* ---- certificates ---- */

struct cert {
    X509 *x;
    EVP_PKEY *key;
};

struct spec {
    const char *cn;
    const char *san; /* in OpenSSL's words, "DNS:a,IP:1.2.3.4", or NULL */
    const char *eku;
    const struct cert *issuer; /* NULL: self-signed */
    long from_s, until_s;      /* relative to NOW; 0, 0: -1 day, 1 year */
    EVP_PKEY *key;             /* taken over; NULL: a P-256 one is made */
    size_t padding;            /* bytes of comment, to make it large */
    bool is_ca;
};

static void add_ext(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    check_true(e != NULL);
    check_true(X509_add_ext(x, e, -1) == 1);
    X509_EXTENSION_free(e);
}

static void add_padding(X509 *x, size_t n)
{
    char *text = calloc(n + 1, 1);
    memset(text, 'p', n);
    add_ext(x, NID_netscape_comment, text);
    free(text);
}

static struct cert issue(struct spec s)
{
    static long serial;
    struct cert c = {X509_new(), s.key ? s.key : EVP_EC_gen("P-256")};
    time_t now = NOW;

    if (s.from_s == 0 && s.until_s == 0) {
        s.from_s = -DAY;
        s.until_s = YEAR;
    }
    X509_set_version(c.x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c.x), ++serial);
    X509_NAME *name = X509_get_subject_name(c.x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                               (const unsigned char *)s.cn, -1, -1, 0);
    X509_set_issuer_name(c.x,
                         s.issuer ? X509_get_subject_name(s.issuer->x) : name);
    X509_time_adj(X509_getm_notBefore(c.x), s.from_s, &now);
    X509_time_adj(X509_getm_notAfter(c.x), s.until_s, &now);
    X509_set_pubkey(c.x, c.key);
    add_ext(c.x, NID_basic_constraints,
            s.is_ca ? "critical,CA:TRUE" : "CA:FALSE");
    if (s.san)
        add_ext(c.x, NID_subject_alt_name, s.san);
    if (s.eku)
        add_ext(c.x, NID_ext_key_usage, s.eku);
    if (s.padding)
        add_padding(c.x, s.padding);
    EVP_PKEY *signer = s.issuer ? s.issuer->key : c.key;
    bool has_own_hash = EVP_PKEY_get_base_id(signer) == EVP_PKEY_ED25519 ||
                        EVP_PKEY_get_base_id(signer) == EVP_PKEY_ED448;
    check_true(X509_sign(c.x, signer, has_own_hash ? NULL : EVP_sha256()) > 0);
    return c;
}

static void drop(struct cert *c)
{
    X509_free(c->x);
    EVP_PKEY_free(c->key);
}

static struct {
    char dir[64];
    char ca_file[96], cert_file[96], key_file[96], locked_file[96],
        other_key_file[96], empty_file[96];
    struct cert ca, other_ca, inter, leaf;
} zoo;

static FILE *create(char path[96], const char *name)
{
    snprintf(path, 96, "%s/%s", zoo.dir, name);
    FILE *f = fopen(path, "w");
    check_true(f != NULL);
    return f;
}

static void save_key(char path[96], const char *name, EVP_PKEY *key,
                     const char *passphrase)
{
    FILE *f = create(path, name);
    PEM_write_PrivateKey(f, key, passphrase ? EVP_aes_128_cbc() : NULL, NULL, 0,
                         NULL, (void *)(uintptr_t)passphrase);
    fclose(f);
}

static int set_up(void **state)
{
    (void)state;
    strcpy(zoo.dir, "/tmp/test_tls.XXXXXX");
    check_true(mkdtemp(zoo.dir) != NULL);
    zoo.ca = issue(
        (struct spec){.cn = "Test CA", .is_ca = true, .until_s = 20l * YEAR});
    zoo.other_ca = issue((struct spec){.cn = "Other CA", .is_ca = true});
    zoo.inter = issue((struct spec){
        .cn = "Test Intermediate", .is_ca = true, .issuer = &zoo.ca});
    zoo.leaf = issue((struct spec){.cn = "leaf",
                                   .san = "DNS:" HOST,
                                   .eku = "serverAuth,clientAuth",
                                   .issuer = &zoo.ca});

    FILE *f = create(zoo.ca_file, "ca.pem");
    PEM_write_X509(f, zoo.ca.x);
    fclose(f);
    f = create(zoo.cert_file, "cert.pem");
    PEM_write_X509(f, zoo.leaf.x);
    fclose(f);
    fclose(create(zoo.empty_file, "empty.pem"));
    save_key(zoo.key_file, "key.pem", zoo.leaf.key, NULL);
    save_key(zoo.other_key_file, "other.pem", zoo.ca.key, NULL);
    save_key(zoo.locked_file, "locked.pem", zoo.leaf.key, "secret");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    drop(&zoo.ca);
    drop(&zoo.other_ca);
    drop(&zoo.inter);
    drop(&zoo.leaf);
    const char *files[] = {zoo.ca_file,     zoo.cert_file,      zoo.key_file,
                           zoo.locked_file, zoo.other_key_file, zoo.empty_file};
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        unlink(files[i]);
    rmdir(zoo.dir);
    return 0;
}

/* ---- our ends ---- */

static struct tls_context *client_context(void)
{
    struct errmsg msg = {""};
    struct tls_context *c = tls_client_context(
        &(struct tls_client_config){.ca_file = zoo.ca_file}, &msg);
    check_text(msg.text, "");
    check_true(c != NULL);
    return c;
}

static struct tls_context *server_context(void)
{
    struct errmsg msg = {""};
    struct tls_context *c = tls_server_context(
        &(struct tls_server_config){.cert_file = zoo.cert_file,
                                    .key_file = zoo.key_file},
        &msg);
    check_text(msg.text, "");
    check_true(c != NULL);
    return c;
}

static struct tls *client(struct tls_context *c)
{
    struct tls *t =
        tls_connect(c, &(struct tls_client_params){
                           .host = HOST, .alpn = "h2", .now_unix_s = NOW});
    check_true(t != NULL);
    return t;
}

/* Let `t` take `len` bytes `chunk` at a time, appending what it decrypts to
 * `text`. The chunk is a copy of its own, so that ASan sees a late reader. */
static void deliver(struct tls *t, const uint8_t *data, size_t len,
                    size_t chunk, char *text)
{
    while (len > 0) {
        size_t n = len < chunk ? len : chunk;
        uint8_t *copy = malloc(n);
        memcpy(copy, data, n);
        tls_feed(t, copy, n);
        if (tls_handshake(t) == TLS_OPEN) {
            char buf[4096];
            int got;
            while ((got = tls_read(t, buf, sizeof(buf))) > 0) {
                if (text)
                    strncat(text, buf, (size_t)got);
            }
        }
        free(copy);
        data += n;
        len -= n;
    }
}

/* Carry what `from` has to say over to `to`. Returns the bytes. */
static size_t carry(struct tls *from, struct tls *to, size_t chunk, char *text)
{
    size_t len;
    const uint8_t *data = tls_out(from, &len);
    if (len > 0)
        deliver(to, data, len, chunk, text);
    tls_sent(from, len);
    return len;
}

static void carry_all(struct tls *a, struct tls *b)
{
    tls_handshake(a);
    tls_handshake(b);
    while (carry(a, b, SIZE_MAX, NULL) + carry(b, a, SIZE_MAX, NULL) > 0)
        ;
}

/* ---- a bare libssl peer ---- */

struct bare {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
};

static struct bare bare_open(bool is_server)
{
    struct bare b = {0};
    b.ctx = SSL_CTX_new(is_server ? TLS_server_method() : TLS_client_method());
    SSL_CTX_set_session_cache_mode(b.ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_num_tickets(b.ctx, 0);
    return b;
}

static void bare_use(struct bare *b, const struct cert *leaf,
                     const struct cert *inter)
{
    SSL_CTX_use_certificate(b->ctx, leaf->x);
    SSL_CTX_use_PrivateKey(b->ctx, leaf->key);
    if (inter)
        SSL_CTX_add1_chain_cert(b->ctx, inter->x);
}

static void bare_start(struct bare *b, bool is_server)
{
    b->ssl = SSL_new(b->ctx);
    b->in = BIO_new(BIO_s_mem());
    b->out = BIO_new(BIO_s_mem());
    SSL_set_bio(b->ssl, b->in, b->out);
    if (is_server)
        SSL_set_accept_state(b->ssl);
    else
        SSL_set_connect_state(b->ssl);
}

static struct bare bare_server(const struct cert *leaf,
                               const struct cert *inter)
{
    struct bare b = bare_open(true);
    bare_use(&b, leaf, inter);
    bare_start(&b, true);
    return b;
}

static void bare_close(struct bare *b)
{
    SSL_free(b->ssl);
    SSL_CTX_free(b->ctx);
    ERR_clear_error();
}

static size_t bare_step(struct bare *b, struct tls *t, char *text)
{
    char buf[16384];
    size_t len;
    const uint8_t *data = tls_out(t, &len);
    if (len > 0)
        BIO_write(b->in, data, (int)len);
    tls_sent(t, len);
    SSL_do_handshake(b->ssl);
    int got = SSL_read(b->ssl, buf, sizeof(buf));
    if (got > 0 && text)
        strncat(text, buf, (size_t)got);
    size_t moved = len;
    int n;
    while ((n = BIO_read(b->out, buf, sizeof(buf))) > 0) {
        deliver(t, (uint8_t *)buf, (size_t)n, SIZE_MAX, NULL);
        moved += (size_t)n;
    }
    ERR_clear_error();
    return moved;
}

static void bare_run(struct bare *b, struct tls *t)
{
    tls_handshake(t);
    while (bare_step(b, t, NULL) > 0)
        ;
}

/* ---- two ends that talk ---- */

static void opens_and_carries_data_both_ways(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls_context *sc = server_context();
    struct tls *c = client(cc);
    struct tls *s = tls_accept(sc);
    char text[64] = "";

    check_text(tls_version(c), "");
    carry_all(c, s);
    check_u64(tls_state(c), TLS_OPEN);
    check_u64(tls_state(s), TLS_OPEN);
    check_text(tls_version(c), "TLSv1.3");
    check_text(tls_cipher(c), "TLS_AES_256_GCM_SHA384");
    check_text(tls_alpn(c), "h2");
    check_text(tls_alpn(s), "h2");
    check_i64(tls_not_after_unix_s(c), NOW + YEAR);
    check_u64(tls_failure(c), TLS_FAIL_NONE);
    check_text(tls_error(c), "");
    check_u64(tls_cpu_ns(c), 0);

    check_i64(tls_write(c, "ping", 4), 0);
    carry(c, s, SIZE_MAX, text);
    check_text(text, "ping");
    check_i64(tls_write(s, "pong", 4), 0);
    carry(s, c, SIZE_MAX, text);
    check_text(text, "pingpong");

    tls_close(c);
    tls_close(s);
    tls_context_close(cc);
    tls_context_close(sc);
}

/* Each flight cut in two at `cut`: it must neither open before the second
 * half nor fail, and the request must arrive whole. */
static size_t split_at(struct tls_context *cc, struct tls_context *sc,
                       size_t cut)
{
    struct tls *c = client(cc);
    struct tls *s = tls_accept(sc);
    struct tls *ends[2] = {c, s};
    size_t longest = 0;
    char text[64] = "";

    tls_handshake(c);
    for (int flight = 0; flight < 3; flight++) {
        struct tls *from = ends[flight % 2];
        struct tls *to = ends[(flight + 1) % 2];
        if (flight == 2)
            check_i64(tls_write(c, "GET /", 5), 0);
        size_t len;
        const uint8_t *data = tls_out(from, &len);
        size_t first = cut < len ? cut : len;
        deliver(to, data, first, SIZE_MAX, text);
        if (flight == 1 && first < len)
            check_u64(tls_state(to), TLS_HANDSHAKE);
        deliver(to, data + first, len - first, SIZE_MAX, text);
        tls_sent(from, len);
        longest = len > longest ? len : longest;
    }
    check_u64(tls_state(c), TLS_OPEN);
    check_u64(tls_state(s), TLS_OPEN);
    check_text(text, "GET /");
    tls_close(c);
    tls_close(s);
    return longest;
}

static void opens_at_every_split_of_every_flight(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls_context *sc = server_context();
    size_t longest = 1;

    for (size_t cut = 0; cut < longest; cut++)
        longest = split_at(cc, sc, cut);
    check_true(longest > 500);
    check_u64(tls_context_verifications(cc), 1);
    tls_context_close(cc);
    tls_context_close(sc);
}

static void opens_byte_by_byte(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls_context *sc = server_context();
    struct tls *c = client(cc);
    struct tls *s = tls_accept(sc);
    char text[64] = "";

    tls_handshake(c);
    while (carry(c, s, 1, NULL) + carry(s, c, 1, NULL) > 0)
        ;
    check_u64(tls_state(c), TLS_OPEN);
    check_u64(tls_state(s), TLS_OPEN);
    check_i64(tls_write(s, "drip", 4), 0);
    carry(s, c, 1, text);
    check_text(text, "drip");
    tls_close(c);
    tls_close(s);
    tls_context_close(cc);
    tls_context_close(sc);
}

/* The saving of a segment: one tls_out() holds both, and a server that is fed
 * it at once can read the request at once. */
static void request_leaves_with_finished(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls_context *sc = server_context();
    struct tls *c = client(cc);
    struct tls *s = tls_accept(sc);
    size_t len;
    char buf[16];

    tls_handshake(c);
    carry(c, s, SIZE_MAX, NULL);
    carry(s, c, SIZE_MAX, NULL);
    check_u64(tls_state(c), TLS_OPEN);
    check_i64(tls_write(c, "GET /", 5), 0);

    const uint8_t *data = tls_out(c, &len);
    tls_feed(s, data, len);
    check_u64(tls_handshake(s), TLS_OPEN);
    check_i64(tls_read(s, buf, sizeof(buf)), 5);
    check_true(memcmp(buf, "GET /", 5) == 0);
    check_i64(tls_read(s, buf, sizeof(buf)), 0);
    tls_sent(c, len);
    tls_close(c);
    tls_close(s);
    tls_context_close(cc);
    tls_context_close(sc);
}

static void speaks_tls12_too(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls *c = client(cc);
    struct bare b = bare_open(true);
    SSL_CTX_set_max_proto_version(b.ctx, TLS1_2_VERSION);
    bare_use(&b, &zoo.leaf, NULL);
    bare_start(&b, true);
    bare_run(&b, c);
    check_u64(tls_state(c), TLS_OPEN);
    check_text(tls_version(c), "TLSv1.2");
    char text[16] = "";
    check_i64(tls_write(c, "old", 3), 0);
    bare_step(&b, c, text);
    check_text(text, "old");
    tls_close(c);
    bare_close(&b);
    tls_context_close(cc);

    struct tls_context *sc = server_context();
    struct tls *s = tls_accept(sc);
    b = bare_open(false);
    SSL_CTX_set_max_proto_version(b.ctx, TLS1_2_VERSION);
    bare_start(&b, false);
    bare_run(&b, s);
    check_u64(tls_state(s), TLS_OPEN);
    check_text(tls_version(s), "TLSv1.2");
    check_text(tls_alpn(s), "");
    check_false(SSL_SESSION_has_ticket(SSL_get_session(b.ssl)));
    /* Renegotiation is answered by a warning (which this peer, though not
     * the standard, takes for fatal). */
    check_true(SSL_renegotiate(b.ssl) == 1);
    bare_step(&b, s, NULL);
    check_u64(tls_state(s), TLS_OPEN);
    check_true(tls_out(s, &(size_t){0}) != NULL);
    bare_step(&b, s, NULL);
    check_u64(tls_failure(s), TLS_FAIL_ALERT);
    tls_close(s);
    bare_close(&b);
    tls_context_close(sc);
}

static void refuses_tls11(void **state)
{
    (void)state;
    struct tls_context *sc = server_context();
    struct tls *s = tls_accept(sc);
    struct bare b = bare_open(false);
    SSL_CTX_set_security_level(b.ctx, 0);
    SSL_CTX_set_min_proto_version(b.ctx, TLS1_1_VERSION);
    SSL_CTX_set_max_proto_version(b.ctx, TLS1_1_VERSION);
    bare_start(&b, false);
    bare_run(&b, s);
    check_u64(tls_state(s), TLS_FAILED);
    check_u64(tls_failure(s), TLS_FAIL_PROTOCOL);
    check_text(tls_error(s), "unsupported protocol");
    tls_close(s);
    bare_close(&b);
    tls_context_close(sc);
}

/* ---- certificates ---- */

struct verdict {
    enum tls_failure failure;
    const char *says; /* a part of tls_error(), or NULL */
};

static void judge_with(struct tls_context *cc, const char *host,
                       const uint8_t *pin, uint64_t now,
                       const struct cert *leaf, const struct cert *inter,
                       struct verdict want)
{
    struct tls *c = tls_connect(
        cc, &(struct tls_client_params){
                .host = host, .fingerprint = pin, .now_unix_s = now});
    struct bare b = bare_server(leaf, inter);
    struct tm tm;

    bare_run(&b, c);
    if (tls_failure(c) != want.failure ||
        (want.says && !strstr(tls_error(c), want.says)))
        print_error("%s: \"%s\", wanted \"%s\"\n", host, tls_error(c),
                    want.says ? want.says : "");
    check_u64(tls_failure(c), want.failure);
    check_u64(tls_state(c), want.failure ? TLS_FAILED : TLS_OPEN);
    if (want.says)
        check_true(strstr(tls_error(c), want.says) != NULL);
    ASN1_TIME_to_tm(X509_get0_notAfter(leaf->x), &tm);
    check_i64(tls_not_after_unix_s(c), timegm(&tm));
    /* The peer is told by a fatal alert. */
    check_u64(SSL_get_shutdown(b.ssl) & SSL_RECEIVED_SHUTDOWN,
              want.failure ? SSL_RECEIVED_SHUTDOWN : 0);
    if (!want.failure) /* nothing but the leaf stays in memory */
        check_i64(sk_X509_num(SSL_get_peer_cert_chain(c->ssl)), 1);
    tls_close(c);
    bare_close(&b);
}

static void judge(const char *host, const struct cert *leaf,
                  const struct cert *inter, struct verdict want)
{
    struct tls_context *cc = client_context();
    judge_with(cc, host, NULL, NOW, leaf, inter, want);
    tls_context_close(cc);
}

static void judge_spec(const char *host, struct spec s, struct verdict want)
{
    struct cert leaf = issue(s);
    judge(host, &leaf, NULL, want);
    drop(&leaf);
}

static void judges_validity_by_the_given_time(void **state)
{
    (void)state;
    struct spec s = {.cn = "old", .san = "DNS:" HOST, .issuer = &zoo.ca};
    s.from_s = -2l * YEAR;
    s.until_s = -DAY;
    judge_spec(HOST, s,
               (struct verdict){TLS_FAIL_EXPIRED,
                                "certificate has expired at "
                                "2027-01-14T08:00:00Z (subject CN=old, issuer "
                                "CN=Test CA)"});
    s.from_s = DAY;
    s.until_s = YEAR;
    judge_spec(HOST, s,
               (struct verdict){TLS_FAIL_EXPIRED,
                                "not yet valid until 2027-01-16T08:00:00Z"});

    struct tls_context *cc = client_context();
    judge_with(cc, HOST, NULL, NOW + YEAR - 1, &zoo.leaf, NULL,
               (struct verdict){TLS_FAIL_NONE, NULL});
    tls_context_close(cc);
    cc = client_context();
    judge_with(cc, HOST, NULL, NOW + YEAR + 1, &zoo.leaf, NULL,
               (struct verdict){TLS_FAIL_EXPIRED, "expired"});
    tls_context_close(cc);
}

static void judges_names_by_the_alternative_name(void **state)
{
    (void)state;
    const struct verdict ok = {TLS_FAIL_NONE, NULL};
    const struct verdict bad = {TLS_FAIL_NAME_MISMATCH, NULL};
    struct spec s = {.cn = HOST, .issuer = &zoo.ca};

    judge_spec(HOST, s,
               (struct verdict){TLS_FAIL_NAME_MISMATCH,
                                "certificate is not for " HOST
                                ", it is for no host name"});
    s.san = "DNS:b.test,DNS:c.test";
    judge_spec(HOST, s,
               (struct verdict){TLS_FAIL_NAME_MISMATCH,
                                "it is for b.test, c.test (subject CN=" HOST});
    judge_spec("c.test", s, ok);
    judge_spec("C.TEST", s, ok);
    judge_spec("c.test.", s, ok);
    judge_spec("d.c.test", s, bad);
    s.san = "DNS:*.mesh.test";
    judge_spec(HOST, s, ok);
    judge_spec("mesh.test", s, bad);
    judge_spec("x.a-1.mesh.test", s, bad);
    s.san = "DNS:a*.mesh.test";
    judge_spec(HOST, s, bad);
    s.san = "IP:10.0.0.7,IP:fd00::7";
    judge_spec("10.0.0.7", s, ok);
    judge_spec("fd00::7", s, ok);
    judge_spec("fd00:0:0::7", s, ok);
    judge_spec("10.0.0.8", s, bad);
    judge_spec(HOST, s, bad);
    s.san = "DNS:\x1b[31m\x7f.test";
    judge_spec(HOST, s,
               (struct verdict){TLS_FAIL_NAME_MISMATCH, "for ?[31m?.test ("});
    s.san = "DNS:10.0.0.7";
    judge_spec("10.0.0.7", s, bad);
}

static void trusts_only_its_authorities(void **state)
{
    (void)state;
    struct spec s = {.cn = "x", .san = "DNS:" HOST};
    judge_spec(HOST, s,
               (struct verdict){TLS_FAIL_UNTRUSTED,
                                "self-signed certificate (subject CN=x"});
    s.issuer = &zoo.other_ca;
    judge_spec(HOST, s,
               (struct verdict){TLS_FAIL_UNTRUSTED,
                                "unable to get local issuer certificate "
                                "(subject CN=x, issuer CN=Other CA)"});
    s.issuer = &zoo.ca;
    s.eku = "clientAuth";
    judge_spec(HOST, s, (struct verdict){TLS_FAIL_UNTRUSTED, "purpose"});
    s.eku = NULL;
    /* A leaf is no authority. */
    s.issuer = &zoo.leaf;
    struct cert child = issue(s);
    judge(HOST, &child, &zoo.leaf,
          (struct verdict){TLS_FAIL_UNTRUSTED, "invalid CA"});
    drop(&child);
    /* The name of our authority, but not its key. */
    struct cert fake = issue((struct spec){.cn = "Test CA", .is_ca = true});
    s.issuer = &fake;
    judge_spec(HOST, s,
               (struct verdict){TLS_FAIL_UNTRUSTED, "signature failure"});
    drop(&fake);
}

static EVP_PKEY *rsa_pss_key(void)
{
    EVP_PKEY_CTX *c = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
    EVP_PKEY *key = NULL;

    EVP_PKEY_keygen_init(c);
    EVP_PKEY_CTX_set_rsa_keygen_bits(c, 2048);
    EVP_PKEY_keygen(c, &key);
    EVP_PKEY_CTX_free(c);
    return key;
}

/* Clients run on a pared-down libcrypto; whatever key TLS can use must work
 * in it, at the peer and in the middle of its chain. */
static void takes_every_kind_of_key(void **state)
{
    (void)state;
    for (int leaf_kind = 0; leaf_kind < 6; leaf_kind++) {
        EVP_PKEY *keys[2];
        for (int i = 0; i < 2; i++) {
            int kind = i == 0 ? leaf_kind : 5 - leaf_kind;
            keys[i] = kind == 0   ? EVP_EC_gen("P-256")
                      : kind == 1 ? EVP_EC_gen("P-384")
                      : kind == 2 ? EVP_RSA_gen(2048)
                      : kind == 3 ? rsa_pss_key()
                      : kind == 4 ? EVP_PKEY_Q_keygen(NULL, NULL, "ED25519")
                                  : EVP_PKEY_Q_keygen(NULL, NULL, "ED448");
            check_true(keys[i] != NULL);
        }
        struct cert inter = issue((struct spec){
            .cn = "i", .is_ca = true, .issuer = &zoo.ca, .key = keys[1]});
        struct cert leaf = issue((struct spec){
            .cn = "x", .san = "DNS:" HOST, .issuer = &inter, .key = keys[0]});
        judge(HOST, &leaf, &inter, (struct verdict){TLS_FAIL_NONE, NULL});
        drop(&leaf);
        drop(&inter);
    }
}

/* The system's authorities are read by another library than the chain is. */
static void trusts_an_authority_from_the_other_library(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct errmsg msg = {""};
        struct tls_context *cc =
            tls_client_context(&(struct tls_client_config){0}, &msg);
        check_text(msg.text, "");
        if (i == 1)
            X509_STORE_add_cert(SSL_CTX_get_cert_store(cc->ssl_ctx), zoo.ca.x);
        judge_with(cc, HOST, NULL, NOW, &zoo.leaf, NULL,
                   (struct verdict){i ? TLS_FAIL_NONE : TLS_FAIL_UNTRUSTED,
                                    i ? "" : "local issuer"});
        tls_context_close(cc);
    }
}

/* A library of its own must not mean a policy of its own. */
static void the_lean_library_keeps_the_security_level(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    SSL_CTX *plain = SSL_CTX_new(TLS_client_method());

    if (OpenSSL_version_num() < 0x30200000ul)
        check_true(tls_lean_library() != NULL);
    check_i64(SSL_CTX_get_security_level(cc->ssl_ctx),
              SSL_CTX_get_security_level(plain));
    check_u64(sk_SSL_CIPHER_num(SSL_CTX_get_ciphers(cc->ssl_ctx)),
              sk_SSL_CIPHER_num(SSL_CTX_get_ciphers(plain)));
    SSL_CTX_free(plain);
    tls_context_close(cc);
}

static void follows_an_intermediate_if_it_is_sent(void **state)
{
    (void)state;
    struct cert leaf = issue(
        (struct spec){.cn = "x", .san = "DNS:" HOST, .issuer = &zoo.inter});
    judge(HOST, &leaf, &zoo.inter, (struct verdict){TLS_FAIL_NONE, NULL});
    judge(HOST, &leaf, NULL,
          (struct verdict){TLS_FAIL_UNTRUSTED, "local issuer"});
    drop(&leaf);

    struct cert old = issue((struct spec){.cn = "Old Intermediate",
                                          .is_ca = true,
                                          .issuer = &zoo.ca,
                                          .from_s = -2l * YEAR,
                                          .until_s = -DAY});
    leaf = issue((struct spec){.cn = "x", .san = "DNS:" HOST, .issuer = &old});
    judge(HOST, &leaf, &old,
          (struct verdict){TLS_FAIL_EXPIRED, "subject CN=Old Intermediate"});
    drop(&leaf);
    drop(&old);
}

static void bounds_the_chain(void **state)
{
    (void)state;
    struct cert fat = issue((struct spec){.cn = "Fat Intermediate",
                                          .is_ca = true,
                                          .issuer = &zoo.ca,
                                          .padding = TLS_CHAIN_MAX - 4096});
    struct cert leaf =
        issue((struct spec){.cn = "x", .san = "DNS:" HOST, .issuer = &fat});
    judge(HOST, &leaf, &fat, (struct verdict){TLS_FAIL_NONE, NULL});
    drop(&leaf);
    drop(&fat);

    struct cert huge = issue((struct spec){.cn = "x",
                                           .san = "DNS:" HOST,
                                           .issuer = &zoo.ca,
                                           .padding = TLS_CHAIN_MAX});
    struct tls_context *cc = client_context();
    struct tls *c = client(cc);
    struct bare b = bare_server(&huge, NULL);
    bare_run(&b, c);
    check_u64(tls_failure(c), TLS_FAIL_PROTOCOL);
    check_text(tls_error(c), "excessive message size");
    check_i64(tls_not_after_unix_s(c), 0);
    tls_close(c);
    bare_close(&b);
    tls_context_close(cc);
    drop(&huge);
}

static void a_pin_stands_in_for_chain_and_name(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct cert own =
        issue((struct spec){.cn = "x", .from_s = -2l * YEAR, .until_s = -DAY});
    uint8_t pin[TLS_FINGERPRINT_SIZE];
    unsigned len;
    X509_digest(own.x, EVP_sha256(), pin, &len);

    judge_with(cc, HOST, pin, NOW, &own, NULL,
               (struct verdict){TLS_FAIL_NONE, NULL});
    for (int bit = 0; bit < 256; bit += 51) {
        pin[bit / 8] ^= (uint8_t)(1 << bit % 8);
        judge_with(cc, HOST, pin, NOW, &own, NULL,
                   (struct verdict){TLS_FAIL_UNTRUSTED, ", pinned is sha256:"});
        /* Nor does a chain to a trusted authority help. */
        judge_with(cc, HOST, pin, NOW, &zoo.leaf, NULL,
                   (struct verdict){TLS_FAIL_UNTRUSTED, "certificate is sha"});
        pin[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    check_u64(tls_context_verifications(cc), 0);
    drop(&own);
    tls_context_close(cc);
}

static void insecure_takes_any_certificate_but_a_wrong_pin(void **state)
{
    (void)state;
    struct tls_context *cc = tls_client_context(
        &(struct tls_client_config){.is_insecure = true}, NULL);
    struct cert own =
        issue((struct spec){.cn = "x", .from_s = -2l * YEAR, .until_s = -DAY});
    uint8_t pin[TLS_FINGERPRINT_SIZE] = {1};

    judge_with(cc, HOST, NULL, NOW, &own, NULL,
               (struct verdict){TLS_FAIL_NONE, NULL});
    judge_with(cc, HOST, pin, NOW, &own, NULL,
               (struct verdict){TLS_FAIL_UNTRUSTED, NULL});
    drop(&own);
    tls_context_close(cc);
}

/* A certificate can be copied, its key cannot. TLS 1.2 shows certificates in
 * the clear, so the thief's own can be replaced by the stolen one. */
static void a_stolen_certificate_does_not_open(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    unsigned char *stolen = NULL;
    unsigned char *own = NULL;
    int len = i2d_X509(zoo.leaf.x, &stolen);
    struct cert thief;

    judge_with(cc, HOST, NULL, NOW, &zoo.leaf, NULL,
               (struct verdict){TLS_FAIL_NONE, NULL});
    for (int tries = 0; tries < 5000; tries++) { /* signatures vary in length */
        thief = issue((struct spec){.cn = "leaf",
                                    .san = "DNS:" HOST,
                                    .eku = "serverAuth,clientAuth",
                                    .issuer = &zoo.ca});
        if (i2d_X509(thief.x, &own) == len)
            break;
        OPENSSL_free(own);
        own = NULL;
        drop(&thief);
    }
    check_true(own != NULL);

    struct tls *c = client(cc);
    struct bare b = bare_open(true);
    SSL_CTX_set_max_proto_version(b.ctx, TLS1_2_VERSION);
    bare_use(&b, &thief, NULL);
    bare_start(&b, true);
    tls_handshake(c);
    size_t n;
    const uint8_t *hello = tls_out(c, &n);
    BIO_write(b.in, hello, (int)n);
    SSL_do_handshake(b.ssl);
    uint8_t flight[4096];
    int got = BIO_read(b.out, flight, sizeof(flight));
    uint8_t *at = memmem(flight, (size_t)got, own, (size_t)len);
    check_true(at != NULL);
    memcpy(at, stolen, (size_t)len);
    deliver(c, flight, (size_t)got, SIZE_MAX, NULL);
    check_u64(tls_failure(c), TLS_FAIL_PROTOCOL);
    /* OpenSSL 3.5 has another name for it. */
    if (strcmp(tls_error(c), "provider signature failure") != 0)
        check_text(tls_error(c), "bad signature");
    check_u64(tls_context_verifications(cc), 1);

    OPENSSL_free(own);
    OPENSSL_free(stolen);
    drop(&thief);
    tls_close(c);
    bare_close(&b);
    tls_context_close(cc);
}

static void remembers_chain_and_name_until_it_expires(void **state)
{
    (void)state;
    const struct verdict ok = {TLS_FAIL_NONE, NULL};
    struct tls_context *cc = client_context();
    struct cert leaf = issue((struct spec){.cn = "x",
                                           .san = "DNS:" HOST ",DNS:b.test",
                                           .issuer = &zoo.inter,
                                           .until_s = 2l * YEAR});
    struct cert twin = issue((struct spec){
        .cn = "x", .san = "DNS:" HOST ",DNS:b.test", .issuer = &zoo.inter});

    for (int i = 0; i < 3; i++)
        judge_with(cc, HOST, NULL, NOW, &leaf, &zoo.inter, ok);
    check_u64(tls_context_verifications(cc), 1);
    judge_with(cc, "b.test", NULL, NOW, &leaf, &zoo.inter, ok);
    check_u64(tls_context_verifications(cc), 2);
    judge_with(cc, HOST, NULL, NOW, &twin, &zoo.inter, ok);
    check_u64(tls_context_verifications(cc), 3);
    /* The same leaf in another chain is another chain. */
    judge_with(cc, HOST, NULL, NOW, &leaf, NULL,
               (struct verdict){TLS_FAIL_UNTRUSTED, "local issuer"});
    check_u64(tls_context_verifications(cc), 4);
    judge_with(cc, "c.test", NULL, NOW, &leaf, &zoo.inter,
               (struct verdict){TLS_FAIL_NAME_MISMATCH, NULL});
    check_u64(tls_context_verifications(cc), 5);
    /* Failures are not remembered. */
    judge_with(cc, "c.test", NULL, NOW, &leaf, &zoo.inter,
               (struct verdict){TLS_FAIL_NAME_MISMATCH, NULL});
    check_u64(tls_context_verifications(cc), 6);
    /* The intermediate ends a year before the leaf, and began a day ago. */
    judge_with(cc, HOST, NULL, NOW + YEAR, &leaf, &zoo.inter, ok);
    check_u64(tls_context_verifications(cc), 6);
    judge_with(cc, HOST, NULL, NOW + YEAR + 1, &leaf, &zoo.inter,
               (struct verdict){TLS_FAIL_EXPIRED, "Test Intermediate"});
    check_u64(tls_context_verifications(cc), 7);
    judge_with(cc, HOST, NULL, NOW - DAY - 1, &leaf, &zoo.inter,
               (struct verdict){TLS_FAIL_EXPIRED, "not yet valid"});
    check_u64(tls_context_verifications(cc), 8);
    judge_with(cc, HOST, NULL, NOW, &leaf, &zoo.inter, ok);
    check_u64(tls_context_verifications(cc), 8);
    drop(&leaf);
    drop(&twin);
    tls_context_close(cc);
}

static void memory_is_flushed_when_full(void **state)
{
    (void)state;
    struct tls_memory m = {0};
    struct tls_slot slot = {.from_s = 100, .until_s = 200};
    const uint32_t full = TLS_MEMORY_MAX / 4 * 3;
    uint8_t nothing[32] = {0};

    check_false(tls_memory_find(&m, nothing, 150));
    for (uint32_t i = 0; i < full; i++) {
        /* All start at the same slot as 15 others. */
        uint32_t low = i / 16;
        memcpy(slot.key, &low, sizeof(low));
        memcpy(slot.key + 8, &i, sizeof(i));
        check_false(tls_memory_find(&m, slot.key, 150));
        tls_memory_add(&m, &slot);
        tls_memory_add(&m, &slot);
        check_u64(m.n, i + 1);
        check_true(m.size <= TLS_MEMORY_MAX);
    }
    for (uint32_t i = 0; i < full; i++) {
        uint32_t low = i / 16;
        memcpy(slot.key, &low, sizeof(low));
        memcpy(slot.key + 8, &i, sizeof(i));
        check_true(tls_memory_find(&m, slot.key, 100));
        check_true(tls_memory_find(&m, slot.key, 200));
        check_false(tls_memory_find(&m, slot.key, 99));
        check_false(tls_memory_find(&m, slot.key, 201));
    }
    check_u64(m.size, TLS_MEMORY_MAX);
    struct tls_slot last = {.key = {9, 9}, .until_s = 200};
    tls_memory_add(&m, &last);
    check_u64(m.n, 1);
    check_true(tls_memory_find(&m, last.key, 150));
    check_false(tls_memory_find(&m, slot.key, 150));
    tls_memory_fini(&m);
}

static void a_host_that_cannot_be_verified_fails(void **state)
{
    (void)state;
    char longest[255];
    memset(longest, 'a', 254);
    longest[254] = '\0';
    const char *bad[] = {NULL, "", ".mesh.test", longest};
    struct tls_context *cc = client_context();

    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct tls *c = tls_connect(
            cc, &(struct tls_client_params){
                    .host = bad[i], .alpn = "h2", .now_unix_s = NOW});
        size_t len;
        char buf[4];
        check_u64(tls_handshake(c), TLS_FAILED);
        check_u64(tls_failure(c), TLS_FAIL_PROTOCOL);
        check_true(tls_out(c, &len) == NULL && len == 0);
        tls_feed(c, "x", 1);
        check_i64(tls_read(c, buf, 4), ERR_BAD);
        check_i64(tls_write(c, "x", 1), ERR_BAD);
        tls_shutdown(c);
        check_text(tls_alpn(c), "");
        check_text(tls_cipher(c), "");
        tls_close(c);
    }
    tls_context_close(cc);
}

/* ---- ALPN ---- */

static int answer_alpn(SSL *ssl, const unsigned char **out,
                       unsigned char *out_len, const unsigned char *in,
                       unsigned in_len, void *name)
{
    (void)ssl;
    (void)in;
    (void)in_len;
    if (!name)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = name;
    *out_len = (unsigned char)strlen(name);
    return SSL_TLSEXT_ERR_OK;
}

static void check_alpn_against(int answer, const char *name, bool requires_alpn,
                               enum tls_failure want, const char *says)
{
    struct tls_context *cc = client_context();
    struct tls *c = tls_connect(
        cc, &(struct tls_client_params){.host = HOST,
                                        .alpn = "h2",
                                        .requires_alpn = requires_alpn,
                                        .now_unix_s = NOW});
    struct bare b = bare_open(true);
    bare_use(&b, &zoo.leaf, NULL);
    if (answer)
        SSL_CTX_set_alpn_select_cb(b.ctx, answer_alpn, (void *)(uintptr_t)name);
    bare_start(&b, true);
    bare_run(&b, c);
    check_u64(tls_failure(c), want);
    check_u64(tls_state(c), want ? TLS_FAILED : TLS_OPEN);
    check_text(tls_error(c), says);
    tls_close(c);
    bare_close(&b);
    tls_context_close(cc);
}

static void alpn_must_be_the_one_offered(void **state)
{
    (void)state;
    check_alpn_against(1, "h2", true, TLS_FAIL_NONE, "");
    check_alpn_against(0, NULL, false, TLS_FAIL_NONE, "");
    check_alpn_against(0, NULL, true, TLS_FAIL_ALPN, "peer did not choose h2");
    check_alpn_against(1, NULL, false, TLS_FAIL_ALPN,
                       "peer sent alert 120: no application protocol");
}

static void a_choice_never_offered_does_not_open(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls *c = client(cc);
    struct bare b = bare_open(true);
    bare_use(&b, &zoo.leaf, NULL);
    SSL_CTX_set_alpn_select_cb(b.ctx, answer_alpn,
                               (void *)(uintptr_t) "http/1.1");
    bare_start(&b, true);
    bare_run(&b, c);
    /* libssl 3.5 refuses it itself. */
    check_u64(tls_state(c), TLS_FAILED);
    check_true(tls_failure(c) == TLS_FAIL_ALPN ||
               tls_failure(c) == TLS_FAIL_PROTOCOL);
    check_i64(tls_write(c, "x", 1), ERR_BAD);
    tls_close(c);
    bare_close(&b);
    tls_context_close(cc);
}

static void server_prefers_h2_and_refuses_strangers(void **state)
{
    (void)state;
    static const struct {
        const char *offer, *chosen;
        bool opens;
    } cases[] = {
        {"\x08http/1.1\x02h2", "h2", true}, {"\x08http/1.1", "http/1.1", true},
        {"\x03h2c\x02h2", "h2", true},      {"\x03h2c", "", false},
        {"\x02h3\x01h", "", false},         {NULL, "", true},
    };
    struct tls_context *sc = server_context();

    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct tls *s = tls_accept(sc);
        struct bare b = bare_open(false);
        if (cases[i].offer)
            SSL_CTX_set_alpn_protos(b.ctx,
                                    (const unsigned char *)cases[i].offer,
                                    (unsigned)strlen(cases[i].offer));
        bare_start(&b, false);
        bare_run(&b, s);
        check_u64(tls_state(s), cases[i].opens ? TLS_OPEN : TLS_FAILED);
        check_text(tls_alpn(s), cases[i].chosen);
        if (!cases[i].opens) {
            check_u64(tls_failure(s), TLS_FAIL_ALPN);
            SSL_do_handshake(b.ssl);
        }
        tls_close(s);
        bare_close(&b);
    }
    tls_context_close(sc);
}

/* ---- alerts, ends, limits ---- */

static void names_the_alert_it_received(void **state)
{
    (void)state;
    static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 40};
    static const uint8_t bye[] = {21, 3, 3, 0, 2, 1, 0};
    struct tls_context *cc = client_context();
    struct tls *c = client(cc);

    tls_handshake(c);
    deliver(c, alert, sizeof(alert), 3, NULL);
    check_u64(tls_failure(c), TLS_FAIL_ALERT);
    check_text(tls_error(c), "peer sent alert 40: handshake failure");
    tls_close(c);

    c = client(cc);
    tls_handshake(c);
    deliver(c, bye, sizeof(bye), SIZE_MAX, NULL);
    check_u64(tls_failure(c), TLS_FAIL_ALERT);
    check_text(tls_error(c), "peer sent close_notify in the handshake");
    tls_close(c);

    /* TLS 1.3: a client learns that its certificate is missed only once it
     * believes the session open. */
    c = client(cc);
    struct bare b = bare_open(true);
    SSL_CTX_set_verify(b.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       NULL);
    bare_use(&b, &zoo.leaf, NULL);
    bare_start(&b, true);
    bare_run(&b, c);
    check_u64(tls_failure(c), TLS_FAIL_ALERT);
    check_true(strstr(tls_error(c), "alert 116: ") != NULL);
    check_text(tls_version(c), "TLSv1.3");
    tls_close(c);
    bare_close(&b);
    tls_context_close(cc);
}

static void says_what_a_peer_without_tls_is(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls *c = client(cc);
    const char *http = "HTTP/1.1 400 Bad Request\r\n\r\n";

    tls_handshake(c);
    deliver(c, (const uint8_t *)http, strlen(http), SIZE_MAX, NULL);
    check_u64(tls_failure(c), TLS_FAIL_PROTOCOL);
    check_text(tls_error(c), "wrong version number");
    check_u64(ERR_peek_error(), 0);
    tls_close(c);
    tls_context_close(cc);

    struct tls_context *sc = server_context();
    struct tls *s = tls_accept(sc);
    deliver(s, (const uint8_t *)"GET / HTTP/1.1\r\n", 16, SIZE_MAX, NULL);
    check_u64(tls_failure(s), TLS_FAIL_PROTOCOL);
    check_text(tls_error(s), "http request");
    tls_close(s);
    tls_context_close(sc);
}

static void close_notify_ends_one_direction(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls_context *sc = server_context();
    struct tls *c = client(cc);
    struct tls *s = tls_accept(sc);
    char text[64] = "";
    char buf[8];

    carry_all(c, s);
    check_i64(tls_write(c, "last", 4), 0);
    tls_shutdown(c);
    tls_shutdown(c);
    check_i64(tls_write(c, "more", 4), ERR_BAD);
    check_u64(tls_state(c), TLS_OPEN);
    carry(c, s, SIZE_MAX, text);
    check_text(text, "last");
    check_u64(tls_state(s), TLS_CLOSED);
    check_u64(tls_handshake(s), TLS_CLOSED);
    check_i64(tls_read(s, buf, sizeof(buf)), ERR_CLOSED);
    check_text(tls_error(s), "");

    check_i64(tls_write(s, "answer", 6), 0);
    tls_shutdown(s);
    carry(s, c, SIZE_MAX, text);
    check_text(text, "lastanswer");
    check_u64(tls_state(c), TLS_CLOSED);
    tls_close(c);
    tls_close(s);
    tls_context_close(cc);
    tls_context_close(sc);
}

static void output_is_bounded_and_given_back(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls_context *sc = server_context();
    struct tls *c = client(cc);
    struct tls *s = tls_accept(sc);
    static uint8_t big[TLS_OUT_MAX + 1];
    size_t len;
    size_t taken = 0;

    carry_all(c, s);
    check_true(c->out == NULL && s->out == NULL);
    check_i64(tls_write(c, big, sizeof(big)), ERR_TOOBIG);
    check_i64(tls_write(c, big, SIZE_MAX), ERR_TOOBIG);
    check_i64(tls_write(c, big, 0), 0);
    check_true(tls_out(c, &len) == NULL);
    int err;
    while ((err = tls_write(c, big, 10000)) == 0)
        taken += 10000;
    check_i64(err, ERR_TOOBIG);
    check_true(taken >= 100000);
    tls_out(c, &len);
    check_true(len > taken && len <= TLS_OUT_MAX);
    check_u64(tls_state(c), TLS_OPEN);

    /* Sent in pieces; room comes back with what was sent. */
    size_t got = 0;
    for (int round = 0; len > 0; round++) {
        const uint8_t *data = tls_out(c, &len);
        size_t n = len < 7001 ? len : 7001;
        char buf[20000];
        int r;
        tls_feed(s, data, n);
        while ((r = tls_read(s, buf, sizeof(buf))) > 0)
            got += (size_t)r;
        check_i64(r, 0);
        tls_sent(c, n);
        if (round == 3) {
            check_i64(tls_write(c, big, 20000), 0);
            taken += 20000;
        }
        tls_out(c, &len);
    }
    check_u64(got, taken);
    check_true(c->out == NULL);
    tls_close(c);
    tls_close(s);
    tls_context_close(cc);
    tls_context_close(sc);
}

/* The many small writes of a peer that does not read: what their records add
 * counts too. */
static void small_writes_are_bounded_by_their_records(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls_context *sc = server_context();
    struct tls *c = client(cc);
    struct tls *s = tls_accept(sc);
    int err = 0;

    carry_all(c, s);
    for (int i = 0; i < TLS_OUT_MAX && err == 0; i++)
        err = tls_write(c, "x", 1);
    check_i64(err, ERR_TOOBIG);
    check_u64(tls_state(c), TLS_OPEN);
    tls_close(c);
    tls_close(s);
    tls_context_close(cc);
    tls_context_close(sc);
}

static void a_flight_beyond_the_limit_fails(void **state)
{
    (void)state;
    char path[96];
    FILE *f = create(path, "fat.pem");
    PEM_write_X509(f, zoo.leaf.x);
    for (int i = 0; i < 3; i++) {
        struct cert fat = issue((struct spec){
            .cn = "fat", .is_ca = true, .issuer = &zoo.ca, .padding = 60000});
        PEM_write_X509(f, fat.x);
        drop(&fat);
    }
    fclose(f);
    struct tls_context *sc = tls_server_context(
        &(struct tls_server_config){.cert_file = path,
                                    .key_file = zoo.key_file},
        NULL);
    unlink(path);
    struct tls *s = tls_accept(sc);
    struct bare b = bare_open(false);
    SSL_CTX_set_max_cert_list(b.ctx, 1 << 20);
    bare_start(&b, false);
    bare_run(&b, s);
    check_u64(tls_failure(s), TLS_FAIL_PROTOCOL);
    check_text(tls_error(s), "more output than the peer takes");
    tls_close(s);
    bare_close(&b);
    tls_context_close(sc);
}

static void a_flood_of_key_updates_is_cut_off(void **state)
{
    (void)state;
    for (int want_fail = 0; want_fail < 2; want_fail++) {
        struct tls_context *cc = client_context();
        struct tls *c = client(cc);
        struct bare b = bare_server(&zoo.leaf, NULL);
        bare_run(&b, c);
        check_u64(tls_state(c), TLS_OPEN);
        for (int i = 0; i < 100; i++) {
            SSL_key_update(b.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
            SSL_do_handshake(b.ssl);
            if (!want_fail && i % 20 == 0)
                SSL_write(b.ssl, "x", 1);
        }
        bare_step(&b, c, NULL);
        check_u64(tls_state(c), want_fail ? TLS_FAILED : TLS_OPEN);
        check_u64(tls_failure(c), want_fail ? TLS_FAIL_PROTOCOL : 0);
        check_text(tls_error(c),
                   want_fail ? "too many handshake messages" : "");
        tls_close(c);
        bare_close(&b);
        tls_context_close(cc);
    }
}

static void sends_no_tickets(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls_context *sc = server_context();
    struct tls *c = client(cc);
    struct tls *s = tls_accept(sc);

    tls_handshake(c);
    carry(c, s, SIZE_MAX, NULL);
    carry(s, c, SIZE_MAX, NULL);
    check_true(carry(c, s, SIZE_MAX, NULL) > 0);
    check_u64(tls_state(s), TLS_OPEN);
    check_u64(carry(s, c, SIZE_MAX, NULL), 0);
    tls_close(c);
    tls_close(s);
    tls_context_close(cc);
    tls_context_close(sc);
}

static uint64_t ticking_cpu_ns; /* read by the clock below only */

static uint64_t cpu_clock(void)
{
    return ticking_cpu_ns += 1000;
}

static void counts_cpu_time_of_handshakes_only(void **state)
{
    (void)state;
    struct tls_context *cc =
        tls_client_context(&(struct tls_client_config){.ca_file = zoo.ca_file,
                                                       .cpu_ns = cpu_clock},
                           NULL);
    struct tls_context *sc = server_context();
    struct tls *c = client(cc);
    struct tls *s = tls_accept(sc);

    tls_handshake(c);
    check_u64(tls_cpu_ns(c), 1000);
    carry(c, s, SIZE_MAX, NULL);
    carry(s, c, SIZE_MAX, NULL);
    check_u64(tls_cpu_ns(c), 2000);
    tls_handshake(c);
    tls_write(c, "x", 1);
    check_u64(tls_cpu_ns(c), 2000);
    tls_close(c);
    tls_close(s);
    tls_context_close(cc);
    tls_context_close(sc);
}

/* ---- hostile bytes ---- */

/* Of a server's flight nothing but the (ignored) version of the clear
 * records and their compatibility message may differ. */
static bool is_free(const uint8_t *flight, size_t len, size_t at)
{
    for (size_t r = 0; r + 5 <= len;) {
        size_t n = (size_t)flight[r + 3] << 8 | flight[r + 4];
        if (at >= r && at < r + 5 + n)
            return flight[r] != 23 && (at == r + 1 || at == r + 2);
        r += 5 + n;
    }
    return false;
}

static void a_flipped_bit_never_opens(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls_context *sc = server_context();
    size_t len = 1;

    for (size_t at = 0; at < len; at++) {
        struct tls *c = client(cc);
        struct tls *s = tls_accept(sc);
        tls_handshake(c);
        carry(c, s, SIZE_MAX, NULL);
        const uint8_t *out = tls_out(s, &len);
        uint8_t *flight = malloc(len);
        memcpy(flight, out, len);
        if (at < len) {
            flight[at] ^= (uint8_t)(1 << at % 8);
            deliver(c, flight, len, SIZE_MAX, NULL);
            if (!is_free(out, len, at))
                check_true(tls_state(c) != TLS_OPEN);
            check_u64(ERR_peek_error(), 0);
        }
        free(flight);
        tls_close(c);
        tls_close(s);
    }
    check_true(len > 500);
    tls_context_close(cc);
    tls_context_close(sc);
}

static void a_flipped_client_never_opens(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls_context *sc = server_context();
    size_t first = 1;
    size_t second = 0;

    for (size_t at = 0; at < first + second; at++) {
        struct tls *c = client(cc);
        struct tls *s = tls_accept(sc);
        uint8_t flight[2048];
        tls_handshake(c);
        const uint8_t *out = tls_out(c, &first);
        memcpy(flight, out, first);
        if (at < first)
            flight[at] ^= (uint8_t)(1 << at % 8);
        deliver(s, flight, first, SIZE_MAX, NULL);
        bool is_free_1 = at < first && is_free(out, first, at);
        tls_sent(c, first);
        carry(s, c, SIZE_MAX, NULL);
        out = tls_out(c, &second);
        if (second > 0) /* NULL else, which not even memcpy of 0 may see */
            memcpy(flight, out, second);
        if (at >= first && at < first + second)
            flight[at - first] ^= (uint8_t)(1 << at % 8);
        deliver(s, flight, second, SIZE_MAX, NULL);
        if (at < first
                ? !is_free_1
                : at < first + second && !is_free(out, second, at - first))
            check_true(tls_state(s) != TLS_OPEN);
        tls_close(c);
        tls_close(s);
    }
    tls_context_close(cc);
    tls_context_close(sc);
}

static void garbage_never_opens(void **state)
{
    (void)state;
    struct tls_context *cc = client_context();
    struct tls_context *sc = server_context();
    struct rng rng;

    rng_seed(&rng, check_seed());
    for (int round = 0; round < 2000; round++) {
        struct tls *t = round % 2 ? client(cc) : tls_accept(sc);
        uint8_t bytes[600];
        size_t len = 1 + rng_below(&rng, sizeof(bytes));
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)rng_below(&rng, 256);
        /* Every other time a plausible record around it. */
        if (round % 4 < 2 && len > 5) {
            bytes[0] = (uint8_t)(20 + rng_below(&rng, 4));
            bytes[1] = bytes[2] = 3;
            bytes[3] = (uint8_t)((len - 5) >> 8);
            bytes[4] = (uint8_t)(len - 5);
        }
        tls_handshake(t);
        deliver(t, bytes, len, 1 + rng_below(&rng, len), NULL);
        check_true(tls_state(t) == TLS_HANDSHAKE || tls_state(t) == TLS_FAILED);
        if (tls_state(t) == TLS_FAILED)
            check_true(tls_error(t)[0] != '\0');
        check_u64(ERR_peek_error(), 0);
        tls_close(t);
    }
    tls_context_close(cc);
    tls_context_close(sc);
}

/* ---- contexts ---- */

static void a_self_signed_identity_is_fit_for_its_name(void **state)
{
    (void)state;
    struct errmsg msg = {""};
    struct tls_server_config config = {.name = HOST, .now_unix_s = NOW};
    struct tls_context *sc = tls_server_context(&config, &msg);
    struct tls_context *cc = client_context();
    X509 *x = SSL_CTX_get0_certificate(sc->ssl_ctx);
    uint8_t pin[TLS_FINGERPRINT_SIZE];
    uint8_t want[TLS_FINGERPRINT_SIZE];
    unsigned len;
    struct tm tm;

    check_true(X509_check_host(x, HOST, 0, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT,
                               NULL) == 1);
    check_true(X509_check_purpose(x, X509_PURPOSE_SSL_SERVER, 0) == 1);
    check_u64(X509_get_extended_key_usage(x), XKU_SSL_SERVER);
    check_true(X509_check_ca(x) == 0);
    check_true(X509_verify(x, X509_get0_pubkey(x)) == 1);
    ASN1_TIME_to_tm(X509_get0_notBefore(x), &tm);
    check_i64(timegm(&tm), NOW - 3600);
    ASN1_TIME_to_tm(X509_get0_notAfter(x), &tm);
    check_i64(timegm(&tm), NOW + 10ull * YEAR);

    tls_context_fingerprint(sc, pin);
    X509_digest(x, EVP_sha256(), want, &len);
    check_true(memcmp(pin, want, sizeof(pin)) == 0);
    struct tls *s = tls_accept(sc);
    struct tls *c = tls_connect(
        cc, &(struct tls_client_params){
                .host = "other.name", .fingerprint = pin, .now_unix_s = NOW});
    carry_all(c, s);
    check_u64(tls_state(c), TLS_OPEN);
    tls_close(c);
    tls_close(s);

    struct tls_context *again = tls_server_context(&config, &msg);
    tls_context_fingerprint(again, want);
    check_true(memcmp(pin, want, sizeof(pin)) != 0);
    tls_context_close(again);
    tls_context_close(sc);

    static const char *const ips[] = {"10.0.0.7", "fd00::7"};
    for (size_t i = 0; i < 2; i++) {
        config.name = ips[i];
        sc = tls_server_context(&config, &msg);
        x = SSL_CTX_get0_certificate(sc->ssl_ctx);
        check_true(X509_check_ip_asc(x, ips[i], 0) == 1);
        tls_context_close(sc);
    }
    char name[254];
    memset(name, 'n', sizeof(name) - 1);
    name[253] = '\0';
    name[60] = name[120] = name[180] = name[240] = '.';
    config.name = name;
    sc = tls_server_context(&config, &msg);
    x = SSL_CTX_get0_certificate(sc->ssl_ctx);
    check_true(X509_check_host(x, name, 0, 0, NULL) == 1);
    tls_context_close(sc);
    tls_context_close(cc);
}

static void check_server_error(const char *cert, const char *key,
                               const char *name, const char *says)
{
    struct errmsg msg = {""};
    check_true(
        tls_server_context(&(struct tls_server_config){.cert_file = cert,
                                                       .key_file = key,
                                                       .name = name,
                                                       .now_unix_s = NOW},
                           &msg) == NULL);
    if (!strstr(msg.text, says))
        print_error("\"%s\" lacks \"%s\"\n", msg.text, says);
    check_true(strstr(msg.text, says) != NULL);
    check_u64(ERR_peek_error(), 0);
}

static void says_what_is_wrong_with_which_file(void **state)
{
    (void)state;
    struct errmsg msg = {""};

    check_server_error("/nonexistent/c.pem", zoo.key_file, NULL,
                       "certificate /nonexistent/c.pem: No such file");
    check_server_error(zoo.cert_file, "/nonexistent/k.pem", NULL,
                       "key /nonexistent/k.pem: No such file");
    check_server_error(zoo.cert_file, NULL, NULL, "certificate without a key");
    check_server_error(NULL, zoo.key_file, NULL, "key without a certificate");
    check_server_error(zoo.empty_file, zoo.key_file, NULL, "no start line");
    check_server_error(zoo.cert_file, zoo.other_key_file, NULL,
                       "other.pem: key values mismatch");
    check_server_error(zoo.cert_file, zoo.locked_file, NULL, "locked.pem: ");
    check_server_error(NULL, NULL, NULL, "host name");
    check_server_error(NULL, NULL, "", "host name");

    check_true(tls_client_context(
                   &(struct tls_client_config){.ca_file = "/nonexistent/ca"},
                   &msg) == NULL);
    check_text(msg.text, "CA /nonexistent/ca: No such file or directory");
    check_true(tls_client_context(
                   &(struct tls_client_config){.ca_file = zoo.empty_file},
                   &msg) == NULL);
    check_true(tls_client_context(
                   &(struct tls_client_config){.ca_file = zoo.ca_file,
                                               .cert_file = zoo.cert_file},
                   &msg) == NULL);
    check_text(msg.text, "certificate without a key");
}

static void shows_its_certificate_when_asked(void **state)
{
    (void)state;
    struct errmsg msg = {""};
    struct tls_context *cc = tls_client_context(
        &(struct tls_client_config){.ca_file = zoo.ca_file,
                                    .cert_file = zoo.cert_file,
                                    .key_file = zoo.key_file},
        &msg);
    check_text(msg.text, "");
    struct tls *c = client(cc);
    struct bare b = bare_open(true);
    SSL_CTX_load_verify_file(b.ctx, zoo.ca_file);
    X509_VERIFY_PARAM_set_time(SSL_CTX_get0_param(b.ctx), NOW);
    SSL_CTX_set_verify(b.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
                       NULL);
    bare_use(&b, &zoo.leaf, NULL);
    bare_start(&b, true);
    bare_run(&b, c);
    check_u64(tls_state(c), TLS_OPEN);
    check_true(SSL_is_init_finished(b.ssl));
    check_true(X509_cmp(SSL_get0_peer_certificate(b.ssl), zoo.leaf.x) == 0);
    tls_close(c);
    bare_close(&b);
    tls_context_close(cc);
}

/* ---- client certificates ---- */

#define SANS                                                \
    "DNS:OnCall.Example.ORG,URI:spiffe://example.org/ns/A," \
    "email:Bob@example.org,IP:10.0.0.1,DNS:*.example.org"

static uint64_t wall_clock(void)
{
    return NOW;
}

static struct tls_context *asking_context(uint64_t (*unix_s)(void))
{
    struct errmsg msg = {""};
    struct tls_context *c = tls_server_context(
        &(struct tls_server_config){.cert_file = zoo.cert_file,
                                    .key_file = zoo.key_file,
                                    .client_ca_file = zoo.ca_file,
                                    .unix_s = unix_s},
        &msg);
    check_text(msg.text, "");
    check_true(c != NULL);
    return c;
}

struct guest {
    size_t n;
    char names[8][TLS_NAME_SIZE];
    enum tls_failure failure;
    char error[256];
};

/* A client of libssl's with this certificate (NULL: none) knocks. */
static struct guest knock(struct tls_context *sc, const struct cert *leaf,
                          const struct cert *inter, int version)
{
    struct guest g = {0};
    struct tls *s = tls_accept(sc);
    struct bare b = bare_open(false);
    SSL_CTX_set_verify(b.ctx, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_max_proto_version(b.ctx, version);
    if (leaf)
        bare_use(&b, leaf, inter);
    bare_start(&b, false);
    check_u64(tls_peer_names(s, g.names, 8), 0); /* not before it is open */
    bare_run(&b, s);
    /* Which certificates are wanted is said, and nothing but our own leaf is
     * shown, although the clients' CA issued it. */
    check_i64(sk_X509_NAME_num(SSL_get_client_CA_list(b.ssl)),
              sc->asks_clients ? 1 : -1);
    check_i64(sk_X509_num(SSL_get_peer_cert_chain(b.ssl)), 1);
    g.failure = tls_failure(s);
    snprintf(g.error, sizeof(g.error), "%s", tls_error(s));
    check_u64(tls_state(s), g.failure ? TLS_FAILED : TLS_OPEN);
    if (g.failure) { /* the client is told */
        char byte;
        SSL_read(b.ssl, &byte, 1);
        check_u64(SSL_get_shutdown(b.ssl) & SSL_RECEIVED_SHUTDOWN,
                  SSL_RECEIVED_SHUTDOWN);
    }
    g.n = tls_peer_names(s, g.names, 8);
    tls_close(s);
    bare_close(&b);
    return g;
}

static struct guest knock_spec(struct tls_context *sc, struct spec spec)
{
    struct cert leaf = issue(spec);
    struct guest g = knock(sc, &leaf, NULL, TLS1_3_VERSION);
    struct guest old = knock(sc, &leaf, NULL, TLS1_2_VERSION);
    check_u64(g.failure, old.failure);
    check_u64(g.n, old.n);
    drop(&leaf);
    return g;
}

static void names_clients_by_their_verified_certificate(void **state)
{
    (void)state;
    struct tls_context *sc = asking_context(wall_clock);
    struct guest g = knock_spec(sc, (struct spec){.cn = "cn.example.org",
                                                  .san = SANS,
                                                  .eku = "clientAuth",
                                                  .issuer = &zoo.ca});
    check_u64(g.failure, TLS_FAIL_NONE);
    check_u64(g.n, 4); /* neither the common name nor the address */
    check_text(g.names[0], "oncall.example.org");
    check_text(g.names[1], "spiffe://example.org/ns/A");
    check_text(g.names[2], "Bob@example.org");
    check_text(g.names[3], "*.example.org");
    /* With an intermediate that is sent along; the leaf's names count. */
    struct cert leaf = issue((struct spec){
        .cn = "x", .san = "DNS:x.example.org", .issuer = &zoo.inter});
    g = knock(sc, &leaf, &zoo.inter, TLS1_3_VERSION);
    check_u64(g.failure, TLS_FAIL_NONE);
    check_u64(g.n, 1);
    check_text(g.names[0], "x.example.org");
    drop(&leaf);
    tls_context_close(sc);
}

static void takes_clients_without_a_certificate_as_nameless(void **state)
{
    (void)state;
    struct tls_context *sc = asking_context(wall_clock);
    struct guest g = knock(sc, NULL, NULL, TLS1_3_VERSION);
    check_u64(g.failure, TLS_FAIL_NONE);
    check_u64(g.n, 0);
    g = knock(sc, NULL, NULL, TLS1_2_VERSION);
    check_u64(g.failure, TLS_FAIL_NONE);
    check_u64(g.n, 0);
    tls_context_close(sc);
}

static void refuses_clients_with_a_bad_certificate(void **state)
{
    (void)state;
    struct tls_context *sc = asking_context(wall_clock);
    struct spec s = {.cn = "x", .san = SANS, .issuer = &zoo.other_ca};
    struct guest g = knock_spec(sc, s);
    check_u64(g.failure, TLS_FAIL_UNTRUSTED); /* another CA's */
    check_u64(g.n, 0);
    s.issuer = NULL;
    check_u64(knock_spec(sc, s).failure, TLS_FAIL_UNTRUSTED); /* its own */
    s.issuer = &zoo.ca;
    s.eku = "serverAuth"; /* that of a server, shown by a client */
    check_u64(knock_spec(sc, s).failure, TLS_FAIL_UNTRUSTED);
    s.eku = "clientAuth";
    check_u64(knock_spec(sc, s).failure, TLS_FAIL_NONE);
    s.from_s = -2l * DAY;
    s.until_s = -DAY;
    g = knock_spec(sc, s);
    check_u64(g.failure, TLS_FAIL_EXPIRED);
    check_true(strstr(g.error, "expired at 2027-01-14T08:00:00Z"));
    check_u64(g.n, 0);
    s.from_s = DAY;
    s.until_s = 2l * DAY;
    check_u64(knock_spec(sc, s).failure, TLS_FAIL_EXPIRED);
    /* A chain that lacks its middle. */
    s = (struct spec){.cn = "x", .san = SANS, .issuer = &zoo.inter};
    check_u64(knock_spec(sc, s).failure, TLS_FAIL_UNTRUSTED);
    tls_context_close(sc);
}

static uint64_t moving_clock_s; /* read by the clock below only */

static uint64_t moving_clock(void)
{
    return moving_clock_s;
}

/* A remembered chain is good as long as it is valid, and no longer. */
static void remembers_clients_until_they_expire(void **state)
{
    (void)state;
    struct tls_context *sc = asking_context(moving_clock);
    struct cert leaf = issue((struct spec){.cn = "x",
                                           .san = SANS,
                                           .issuer = &zoo.ca,
                                           .from_s = -DAY,
                                           .until_s = DAY});
    moving_clock_s = NOW;
    check_u64(knock(sc, &leaf, NULL, TLS1_3_VERSION).n, 4);
    check_u64(knock(sc, &leaf, NULL, TLS1_3_VERSION).n, 4);
    check_u64(tls_context_verifications(sc), 1);
    moving_clock_s = NOW + DAY + 1;
    check_u64(knock(sc, &leaf, NULL, TLS1_3_VERSION).failure, TLS_FAIL_EXPIRED);
    moving_clock_s = NOW - DAY - 1;
    check_u64(knock(sc, &leaf, NULL, TLS1_3_VERSION).failure, TLS_FAIL_EXPIRED);
    drop(&leaf);
    tls_context_close(sc);
}

/* Without a clock of ours it is OpenSSL's, which shows today. */
static void without_a_clock_libcrypto_judges_by_its_own(void **state)
{
    (void)state;
    struct tls_context *sc = asking_context(NULL);
    struct cert old = issue((struct spec){.cn = "x",
                                          .san = SANS,
                                          .issuer = &zoo.ca,
                                          .from_s = -50l * YEAR,
                                          .until_s = -40l * YEAR});
    check_u64(knock(sc, &old, NULL, TLS1_3_VERSION).failure, TLS_FAIL_EXPIRED);
    drop(&old);
    tls_context_close(sc);
}

static struct guest knock_names(struct tls_context *sc, GENERAL_NAMES *names)
{
    struct cert leaf = issue((struct spec){.cn = "x", .issuer = &zoo.ca});
    check_true(X509_add1_ext_i2d(leaf.x, NID_subject_alt_name, names, 0, 0) ==
               1);
    check_true(X509_sign(leaf.x, zoo.ca.key, EVP_sha256()) > 0);
    struct guest g = knock(sc, &leaf, NULL, TLS1_3_VERSION);
    drop(&leaf);
    return g;
}

static void add_name(GENERAL_NAMES *names, int type, const void *text, int len)
{
    GENERAL_NAME *g = GENERAL_NAME_new();
    ASN1_IA5STRING *value = ASN1_IA5STRING_new();
    check_true(ASN1_STRING_set(value, text, len) == 1);
    GENERAL_NAME_set0_value(g, type, value);
    check_true(sk_GENERAL_NAME_push(names, g) > 0);
}

static void odd_names_are_left_out_and_never_cut(void **state)
{
    (void)state;
    struct tls_context *sc = asking_context(wall_clock);
    GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();
    char big[TLS_NAME_SIZE];
    memset(big, 'b', sizeof(big));
    add_name(names, GEN_DNS, "admin.example.org\0.evil.example", 31);
    add_name(names, GEN_DNS, "", 0);
    add_name(names, GEN_DNS, "a b", 3);
    add_name(names, GEN_DNS, "a\nb", 3);
    add_name(names, GEN_URI, "\xc3\xa4", 2);
    add_name(names, GEN_EMAIL, big, TLS_NAME_SIZE);
    add_name(names, GEN_EMAIL, big, TLS_NAME_SIZE - 1);
    add_name(names, GEN_URI, "\x7f", 1);
    struct guest g = knock_names(sc, names);
    check_u64(g.failure, TLS_FAIL_NONE);
    check_u64(g.n, 1);
    check_u64(strlen(g.names[0]), TLS_NAME_SIZE - 1);
    for (int i = 0; i < 20; i++)
        add_name(names, GEN_DNS, "many.example.org", 16);
    check_u64(knock_names(sc, names).n, 8); /* as many as there is room for */
    GENERAL_NAMES_free(names);
    tls_context_close(sc);
}

static void does_not_ask_unless_told_to(void **state)
{
    (void)state;
    struct tls_context *sc = server_context();
    struct cert leaf =
        issue((struct spec){.cn = "x", .san = SANS, .issuer = &zoo.other_ca});
    struct guest g = knock(sc, &leaf, NULL, TLS1_3_VERSION);
    check_u64(g.failure, TLS_FAIL_NONE);
    check_u64(g.n, 0);
    drop(&leaf);
    tls_context_close(sc);
}

static void our_client_shows_its_certificate_to_our_server(void **state)
{
    (void)state;
    struct errmsg msg = {""};
    struct tls_context *sc = asking_context(wall_clock);
    struct tls_context *cc = tls_client_context(
        &(struct tls_client_config){.ca_file = zoo.ca_file,
                                    .cert_file = zoo.cert_file,
                                    .key_file = zoo.key_file},
        &msg);
    check_text(msg.text, "");
    struct tls *c = client(cc);
    struct tls *s = tls_accept(sc);
    carry_all(c, s);
    check_u64(tls_state(c), TLS_OPEN);
    check_u64(tls_state(s), TLS_OPEN);
    char names[2][TLS_NAME_SIZE];
    check_u64(tls_peer_names(s, names, 2), 1);
    check_text(names[0], HOST);
    check_u64(tls_peer_names(c, names, 2), 0); /* a server's are not given */
    tls_close(c);
    tls_close(s);
    tls_context_close(cc);
    tls_context_close(sc);
}

static void says_what_is_wrong_with_the_client_ca(void **state)
{
    (void)state;
    const char *const files[] = {"/nonexistent/ca.pem", zoo.empty_file,
                                 zoo.key_file};
    for (size_t i = 0; i < 3; i++) {
        struct errmsg msg = {""};
        char want[128];
        check_true(tls_server_context(
                       &(struct tls_server_config){.cert_file = zoo.cert_file,
                                                   .key_file = zoo.key_file,
                                                   .client_ca_file = files[i]},
                       &msg) == NULL);
        snprintf(want, sizeof(want), "client CA %s: ", files[i]);
        check_true(strstr(msg.text, want) == msg.text);
    }
}

static void fingerprints_round_trip_as_text(void **state)
{
    (void)state;
    static const char *const text =
        "sha256:00010203040506070809"
        "0a0b0c0d0e0f101112131415161718191a1b1c1d1eff";
    uint8_t bytes[TLS_FINGERPRINT_SIZE];
    uint8_t kept[TLS_FINGERPRINT_SIZE];
    char back[TLS_FINGERPRINT_TEXT];

    check_i64(tls_fingerprint_parse(text, bytes), 0);
    for (int i = 0; i < 31; i++)
        check_u64(bytes[i], i);
    check_u64(bytes[31], 0xff);
    tls_fingerprint_format(bytes, back);
    check_text(back, text);
    check_i64(tls_fingerprint_parse(
                  "SHA256:00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:"
                  "11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:FF",
                  kept),
              0);
    check_true(memcmp(bytes, kept, sizeof(bytes)) == 0);

    /* Cut anywhere, one too long, or one character wrong: refused, and the
     * output is as it was. */
    memset(kept, 0xa5, sizeof(kept));
    char bad[TLS_FINGERPRINT_TEXT + 1];
    for (size_t cut = 0; cut < strlen(text); cut++) {
        snprintf(bad, sizeof(bad), "%.*s", (int)cut, text);
        check_i64(tls_fingerprint_parse(bad, kept), ERR_BAD);
        strcpy(bad, text);
        bad[cut] = 'g';
        check_i64(tls_fingerprint_parse(bad, kept), ERR_BAD);
    }
    snprintf(bad, sizeof(bad), "%s0", text);
    check_i64(tls_fingerprint_parse(bad, kept), ERR_BAD);
    snprintf(bad, sizeof(bad), "%s:", text);
    check_i64(tls_fingerprint_parse(bad, kept), ERR_BAD);
    for (size_t i = 0; i < sizeof(kept); i++)
        check_u64(kept[i], 0xa5);
}

/* All of the above ran on it. */
static void freed_pieces_are_kept_within_bounds(void **state)
{
    bool is_installed = *(bool *)*state;

    check_true(crypto_mem_kept() <= CRYPTO_MEM_BYTES_MAX);
    if (is_installed) {
        check_true(crypto_mem_kept() > 0);
        uint8_t *p = OPENSSL_malloc(100);
        memset(p, 1, 100);
        size_t before = crypto_mem_kept();
        OPENSSL_free(p);
        check_true(crypto_mem_kept() >= before + 100);
        check_true(OPENSSL_malloc(100) == p);
        check_u64(crypto_mem_kept(), before);

        /* Contents survive growing and shrinking over all sizes. */
        p = OPENSSL_realloc(p, 1);
        p[0] = 0;
        for (size_t n = 2; n < 5000; n++) {
            p = OPENSSL_realloc(p, n);
            p[n - 1] = (uint8_t)(n - 1);
        }
        for (size_t n = 4999; n > 0; n--) {
            check_u64(p[n - 1], (uint8_t)(n - 1));
            p = OPENSSL_realloc(p, n);
        }
        OPENSSL_free(p);

        void *many[2000];
        for (size_t i = 0; i < 2000; i++)
            many[i] = OPENSSL_malloc(1 + i);
        for (size_t i = 0; i < 2000; i++)
            OPENSSL_free(many[i]);
        check_true(crypto_mem_kept() > CRYPTO_MEM_BYTES_MAX - 4096);
        check_true(crypto_mem_kept() <= CRYPTO_MEM_BYTES_MAX);
    }
    crypto_mem_release();
    check_u64(crypto_mem_kept(), 0);
}

static void of_two_protocols_the_servers_preference_counts(void **state)
{
    (void)state;
    static const struct {
        const char *offer;
        unsigned len;
        const char *h2_first, *http1_first;
    } cases[] = {
        {"\x02h2\x08http/1.1", 12, "h2", "http/1.1"},
        {"\x08http/1.1\x02h2", 12, "h2", "http/1.1"},
        {"\x02h2", 3, "h2", "h2"},
        {"\x08http/1.1", 9, "http/1.1", "http/1.1"},
        {"", 0, "", ""},
    };
    for (size_t i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        bool prefers_http1 = i % 2;
        struct errmsg msg;
        struct tls_context *sc = tls_server_context(
            &(struct tls_server_config){.cert_file = zoo.cert_file,
                                        .key_file = zoo.key_file,
                                        .prefers_http1 = prefers_http1},
            &msg);
        check_true(sc != NULL);
        struct tls *s = tls_accept(sc);
        struct bare b = bare_open(false);
        bare_start(&b, false);
        SSL_set_alpn_protos(b.ssl, (const unsigned char *)cases[i / 2].offer,
                            cases[i / 2].len);
        SSL_do_handshake(b.ssl);
        bare_run(&b, s);
        check_u64(tls_state(s), TLS_OPEN);
        check_text(tls_alpn(s), prefers_http1 ? cases[i / 2].http1_first
                                              : cases[i / 2].h2_first);
        bare_close(&b);
        tls_close(s);
        tls_context_close(sc);
    }
}

int main(void)
{
    bool is_installed = crypto_mem_install();

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_two_protocols_the_servers_preference_counts),
        cmocka_unit_test(opens_and_carries_data_both_ways),
        cmocka_unit_test(opens_at_every_split_of_every_flight),
        cmocka_unit_test(opens_byte_by_byte),
        cmocka_unit_test(request_leaves_with_finished),
        cmocka_unit_test(speaks_tls12_too),
        cmocka_unit_test(refuses_tls11),
        cmocka_unit_test(judges_validity_by_the_given_time),
        cmocka_unit_test(judges_names_by_the_alternative_name),
        cmocka_unit_test(trusts_only_its_authorities),
        cmocka_unit_test(takes_every_kind_of_key),
        cmocka_unit_test(trusts_an_authority_from_the_other_library),
        cmocka_unit_test(the_lean_library_keeps_the_security_level),
        cmocka_unit_test(follows_an_intermediate_if_it_is_sent),
        cmocka_unit_test(bounds_the_chain),
        cmocka_unit_test(a_pin_stands_in_for_chain_and_name),
        cmocka_unit_test(insecure_takes_any_certificate_but_a_wrong_pin),
        cmocka_unit_test(a_stolen_certificate_does_not_open),
        cmocka_unit_test(remembers_chain_and_name_until_it_expires),
        cmocka_unit_test(memory_is_flushed_when_full),
        cmocka_unit_test(a_host_that_cannot_be_verified_fails),
        cmocka_unit_test(alpn_must_be_the_one_offered),
        cmocka_unit_test(a_choice_never_offered_does_not_open),
        cmocka_unit_test(server_prefers_h2_and_refuses_strangers),
        cmocka_unit_test(names_the_alert_it_received),
        cmocka_unit_test(says_what_a_peer_without_tls_is),
        cmocka_unit_test(close_notify_ends_one_direction),
        cmocka_unit_test(output_is_bounded_and_given_back),
        cmocka_unit_test(small_writes_are_bounded_by_their_records),
        cmocka_unit_test(a_flight_beyond_the_limit_fails),
        cmocka_unit_test(a_flood_of_key_updates_is_cut_off),
        cmocka_unit_test(sends_no_tickets),
        cmocka_unit_test(counts_cpu_time_of_handshakes_only),
        cmocka_unit_test(a_flipped_bit_never_opens),
        cmocka_unit_test(a_flipped_client_never_opens),
        cmocka_unit_test(garbage_never_opens),
        cmocka_unit_test(a_self_signed_identity_is_fit_for_its_name),
        cmocka_unit_test(says_what_is_wrong_with_which_file),
        cmocka_unit_test(shows_its_certificate_when_asked),
        cmocka_unit_test(names_clients_by_their_verified_certificate),
        cmocka_unit_test(takes_clients_without_a_certificate_as_nameless),
        cmocka_unit_test(refuses_clients_with_a_bad_certificate),
        cmocka_unit_test(remembers_clients_until_they_expire),
        cmocka_unit_test(without_a_clock_libcrypto_judges_by_its_own),
        cmocka_unit_test(odd_names_are_left_out_and_never_cut),
        cmocka_unit_test(does_not_ask_unless_told_to),
        cmocka_unit_test(our_client_shows_its_certificate_to_our_server),
        cmocka_unit_test(says_what_is_wrong_with_the_client_ca),
        cmocka_unit_test(fingerprints_round_trip_as_text),
        cmocka_unit_test_prestate(freed_pieces_are_kept_within_bounds,
                                  &is_installed),
    };
    return cmocka_run_group_tests_name("tls", tests, set_up, tear_down);
}
