#include "test/torture/control_world.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/pem.h>
#include <openssl/x509.h>

#include "prober/clock.h"
#include "prober/log.h"
#include "proto/digest.h"
#include "proto/grpc.h"
#include "proto/pb.h"
#include "test/grpc_client.h"
#include "test/torture/faults.h"
#include "test/torture/torture.h"

#define MS      UINT64_C(1000000)
#define LONG_NS (20000 * MS) /* of an answer that nothing is in the way of */
#define LOST_NS (150 * MS)   /* after a fault */

/* ---- what is there once for the process ---- */

static struct {
    int target_fd; /* listens; 0: not open yet */
    unsigned target_port, control_port;
    struct tls_context *client;
} once;

/* Bound to a port of its own. One that does not listen keeps the number, and
 * lets others that reuse it listen there. */
static int bound(unsigned *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    const int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    claim(fd > 0);
    claim(!setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
    claim(!bind(fd, (struct sockaddr *)&a, sizeof(a)));
    claim(!getsockname(fd, (struct sockaddr *)&a, &len));
    *port = ntohs(a.sin_port);
    return fd;
}

/* A key and a certificate for it, signed by itself, as PEM. */
static void put_certificate(void)
{
    char path[160];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    claim(key && x && X509_set_version(x, 2));
    claim(ASN1_INTEGER_set(X509_get_serialNumber(x), 1));
    claim(X509_gmtime_adj(X509_getm_notBefore(x), -3600));
    claim(X509_gmtime_adj(X509_getm_notAfter(x), 86400));
    X509_NAME *name = X509_get_subject_name(x);
    claim(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                                     (const unsigned char *)"a-1", -1, -1, 0));
    claim(X509_set_issuer_name(x, name) && X509_set_pubkey(x, key));
    claim(X509_sign(x, key, EVP_sha256()));
    snprintf(path, sizeof(path), "%s/pem", torture_directory());
    FILE *f = fopen(path, "w");
    claim(f && PEM_write_X509(f, x));
    claim(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
    claim(!fclose(f) && !chmod(path, 0600));
    X509_free(x);
    EVP_PKEY_free(key);
}

static void open_once(void)
{
    struct errmsg msg;
    unsigned port;
    if (once.target_fd)
        return;
    /* The system's CAs are hundreds of files, and thousands of points. */
    claim(!setenv("SSL_CERT_FILE", "/dev/null", 1));
    claim(!setenv("SSL_CERT_DIR", torture_directory(), 1));
    log_setup(LOG_ERROR, false);
    put_certificate();
    once.target_fd = bound(&once.target_port);
    claim(!listen(once.target_fd, 64));
    (void)bound(&port);
    once.control_port = port;
    once.client = tls_client_context(
        &(struct tls_client_config){.is_insecure = true}, &msg);
    claim(once.client);
}

/* ---- the configuration ---- */

static char *no_env(const char *name)
{
    (void)name;
    return NULL;
}

static void put_tokens(void)
{
    char path[160], digest[DIGEST_TEXT_SIZE];
    uint8_t sum[DIGEST_SIZE];
    claim(!digest_sha256(CW_TOKEN, strlen(CW_TOKEN), sum));
    digest_format(sum, digest);
    snprintf(path, sizeof(path), "%s/tokens", torture_directory());
    FILE *f = fopen(path, "w");
    claim(f && fprintf(f, "ci prober %s\n", digest) > 0);
    claim(!fclose(f) && !chmod(path, 0600));
}

struct config *cw_config(const struct cw *w, const char *more)
{
    char text[2048], listen[160];
    const char *d = torture_directory();
    struct config *c = NULL;
    char *errors = NULL;
    faults_pause();
    if (w->is_tls)
        snprintf(listen, sizeof(listen), "127.0.0.1:%u", once.control_port);
    else
        snprintf(listen, sizeof(listen), "unix:%s/c.sock", d);
    snprintf(text, sizeof(text),
             "node: {name: a-1, zone: a}\n"
             "control: {listen: '%s', audit_file: '%s/audit', tokens_file: "
             "'%s/tokens', requests_per_minute: 6000, requests_max: 4, "
             "in_flight_max: 4}\n"
             "dns: {servers: ['127.0.0.1:9']}\n"
             "tls: {certificate: '%s/pem', key: '%s/pem'}\n"
             "targets: [{name: t, url: 'http://127.0.0.1:%u/'}]\n%s",
             listen, d, d, d, d, once.target_port, more);
    int rc = config_parse("t", text, strlen(text), no_env, &c, &errors);
    if (rc)
        fputs(errors, stderr);
    claim(rc == 0);
    faults_resume();
    return c;
}

/* ---- life ---- */

static int do_reload(void *arg, char **errors, char **changed)
{
    *changed = NULL;
    (void)arg, (void)errors;
    return ERR_BUSY;
}

static void do_drain(void *arg)
{
    (void)arg;
}

struct roster *cw_roster(const struct config *c)
{
    static const struct addr_policy policy;
    faults_pause();
    struct roster *r = roster_open(c, &policy);
    claim(r);
    faults_resume();
    return r;
}

void cw_init(struct cw *w, enum cw_listen listen)
{
    faults_pause();
    open_once();
    *w = (struct cw){.is_tls = listen == CW_TLS};
    put_tokens();
    w->config = cw_config(w, "");
    w->roster = cw_roster(w->config);
    claim(!uv_loop_init(&w->loop));
    w->api = (struct api_source){.node = "a-1",
                                 .now_ns = clock_now_ns,
                                 .now_unix_ns = clock_now_unix_ns};
    faults_resume();
}

int cw_open(struct cw *w)
{
    struct errmsg msg = {""};
    const struct control_port_config given = {
        .loop = &w->loop,
        .config = w->config,
        .roster = w->roster,
        .api = &w->api,
        .reload = do_reload,
        .drain = do_drain,
    };
    int rc = control_port_open(&w->port, &given, &msg);
    claim(rc == 0 || msg.text[0]);
    claim(rc != 0 || w->port.httpd); /* it was asked for by name */
    return rc;
}

static size_t read_audit(char *text, size_t size)
{
    char path[160];
    snprintf(path, sizeof(path), "%s/audit", torture_directory());
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, size - 1, f) : 0;
    text[n] = '\0';
    if (f)
        fclose(f);
    (void)unlink(path);
    return n;
}

/* Nothing is dialled that was not written down before. */
static void check_audit(const struct cw *w)
{
    static char text[65536];
    (void)read_audit(text, sizeof(text));
    if (w->n_accepted == 0)
        return;
    claim(strstr(text, "\"audit\":\"probe_begin\""));
    claim(strstr(text, "\"audit\":\"probe_address\""));
    claim(strstr(text, "\"decision\":\"allowed\""));
}

void cw_fini(struct cw *w)
{
    char path[160];
    control_port_close(&w->port);
    while (uv_run(&w->loop, UV_RUN_DEFAULT))
        ;
    control_port_fini(&w->port);
    claim(uv_loop_close(&w->loop) == 0);
    faults_pause();
    for (unsigned i = 0; i < w->n_conns; i++)
        close(w->conns[i]);
    /* Of attempts that nobody waited for. */
    for (int fd; (fd = accept4(once.target_fd, NULL, NULL, 0)) >= 0;)
        close(fd);
    check_audit(w);
    roster_close(w->roster);
    config_free(w->config);
    snprintf(path, sizeof(path), "%s/c.sock", torture_directory());
    (void)unlink(path);
    faults_resume();
}

/* ---- the target ---- */

static void serve(struct cw *w)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    char bytes[2048];
    int fd = accept4(once.target_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        claim(w->n_conns < 32);
        w->conns[w->n_conns++] = fd;
        w->n_accepted++;
    }
    for (unsigned i = 0; i < w->n_conns; i++) {
        ssize_t n = recv(w->conns[i], bytes, sizeof(bytes), 0);
        /* Requests are short, and may come in pieces. */
        if (n >= 4 && !memcmp(bytes + n - 4, "\r\n\r\n", 4))
            (void)send(w->conns[i], ok, sizeof(ok) - 1, MSG_NOSIGNAL);
        else if (n > 0 && bytes[n - 1] == '\n')
            (void)send(w->conns[i], ok, sizeof(ok) - 1, MSG_NOSIGNAL);
    }
}

/* ---- a client ---- */

struct client {
    int fd;
    struct tls *tls;
    bool is_over;
    struct wr out, in;
    size_t sent;
};

static void client_open(struct cw *w, struct client *c, const char *alpn)
{
    struct sockaddr_un path = {.sun_family = AF_UNIX};
    struct sockaddr_storage tcp;
    *c = (struct client){.fd = -1};
    wr_init_grow(&c->out, 65536);
    wr_init_grow(&c->in, 1u << 20);
    c->fd =
        socket(w->is_tls ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    claim(c->fd >= 0);
    if (w->is_tls) {
        socklen_t len = addr_to_sockaddr(&w->port.listen, &tcp);
        claim(!connect(c->fd, (struct sockaddr *)&tcp, len));
        c->tls = tls_connect(once.client, &(struct tls_client_params){
                                              .host = "a-1", .alpn = alpn});
        claim(c->tls);
    } else {
        size_t len = strlen(w->port.socket.path);
        memcpy(path.sun_path, w->port.socket.path, len);
        claim(!connect(c->fd, (struct sockaddr *)&path, sizeof(path)));
    }
    claim(!fcntl(c->fd, F_SETFL, O_NONBLOCK));
}

static void client_close(struct client *c)
{
    tls_close(c->tls);
    close(c->fd);
    wr_fini(&c->out);
    wr_fini(&c->in);
}

static void push(struct client *c)
{
    const uint8_t *data = (const uint8_t *)c->out.data + c->sent;
    size_t len = c->out.len - c->sent;
    if (c->tls) {
        if (len > 0 && tls_state(c->tls) == TLS_OPEN &&
            !tls_write(c->tls, data, len))
            c->sent += len;
        data = tls_out(c->tls, &len);
    }
    ssize_t n = len ? send(c->fd, data, len, MSG_NOSIGNAL) : 0;
    if (n > 0 && c->tls)
        tls_sent(c->tls, (size_t)n);
    else if (n > 0)
        c->sent += (size_t)n;
}

static void decrypt(struct client *c, const uint8_t *data, size_t len)
{
    uint8_t plain[4096];
    int n = 0;
    tls_feed(c->tls, data, len);
    if (tls_state(c->tls) == TLS_HANDSHAKE)
        (void)tls_handshake(c->tls);
    if (tls_state(c->tls) == TLS_HANDSHAKE)
        return;
    while (tls_state(c->tls) == TLS_OPEN &&
           (n = tls_read(c->tls, plain, sizeof(plain))) > 0)
        wr_bytes(&c->in, plain, (size_t)n);
    c->is_over |= n < 0 || tls_state(c->tls) == TLS_FAILED;
}

static void pull(struct client *c)
{
    uint8_t data[8192];
    ssize_t n = c->is_over ? 0 : recv(c->fd, data, sizeof(data), 0);
    if (n > 0 && c->tls)
        decrypt(c, data, (size_t)n);
    else if (n > 0)
        wr_bytes(&c->in, data, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        c->is_over = true;
    claim(!wr_err(&c->in));
}

/* ---- turns ---- */

static void wait_for_work(struct cw *w, const struct client *c)
{
    struct pollfd fds[3 + 32] = {{uv_backend_fd(&w->loop), POLLIN, 0},
                                 {c->fd, POLLIN, 0},
                                 {once.target_fd, POLLIN, 0}};
    nfds_t n = 3;
    for (unsigned i = 0; i < w->n_conns; i++)
        fds[n++] = (struct pollfd){w->conns[i], POLLIN, 0};
    int wait_ms = uv_backend_timeout(&w->loop);
    if (wait_ms < 0 || wait_ms > 5)
        wait_ms = 5;
    (void)poll(fds, n, wait_ms);
    /* Those that were closed by the prober would stay readable. */
    for (unsigned i = 0; i < w->n_conns;) {
        char byte;
        if (recv(w->conns[i], &byte, 1, MSG_PEEK) == 0) {
            close(w->conns[i]);
            w->conns[i] = w->conns[--w->n_conns];
        } else {
            i++;
        }
    }
}

static bool is_late(struct cw *w, uint64_t begun_ns)
{
    uint64_t now_ns = clock_now_ns();
    if (!w->struck_ns && !w->is_spared && faults_struck())
        w->struck_ns = now_ns;
    return w->struck_ns ? now_ns > w->struck_ns + LOST_NS &&
                              now_ns > begun_ns + LOST_NS / 4
                        : now_ns > begun_ns + LONG_NS;
}

/* Paused before and after. */
static void turn(struct cw *w, struct client *c)
{
    faults_resume();
    (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    faults_pause();
    serve(w);
    push(c);
    pull(c);
    push(c);
}

static bool has(const struct wr *in, const char *text)
{
    return in->len > 0 && memmem(in->data, in->len, text, strlen(text));
}

bool cw_ask(struct cw *w, const char *request, const char *end, char *answer,
            size_t size)
{
    struct client c;
    faults_pause();
    uint64_t begun_ns = clock_now_ns();
    client_open(w, &c, "http/1.1");
    wr_text(&c.out, request);
    while (!c.is_over && !has(&c.in, end) && !is_late(w, begun_ns)) {
        if (c.tls && tls_state(c.tls) == TLS_HANDSHAKE && !c.in.len &&
            !w->port.httpd)
            break;
        if (c.tls && tls_state(c.tls) == TLS_HANDSHAKE)
            (void)tls_handshake(c.tls);
        turn(w, &c);
        wait_for_work(w, &c);
    }
    bool is_there = has(&c.in, end);
    snprintf(answer, size, "%.*s", (int)c.in.len,
             c.in.len ? (const char *)c.in.data : "");
    client_close(&c);
    faults_resume();
    return is_there;
}

static void write_request(struct wr *w, const char *target, unsigned count)
{
    struct wr message;
    wr_init_grow(&message, 1024);
    pb_write_bytes(&message, 1, target, strlen(target));
    pb_write_varint(&message, 6, count);
    pb_write_varint(&message, 7, 10);
    pb_write_varint(&message, 8, 9000);
    grpc_write_frame(w, message.data, message.len);
    wr_fini(&message);
}

int cw_call(struct cw *w, const char *target, unsigned count,
            unsigned *n_messages)
{
    struct client c;
    struct grpc_client h2;
    struct wr request;
    const uint8_t *data;
    size_t len, fed = 0, at = 0;
    faults_pause();
    uint64_t begun_ns = clock_now_ns();
    client_open(w, &c, "h2");
    grpc_client_init(&h2);
    wr_init_grow(&request, 2048);
    write_request(&request, target, count);
    const struct grpc_reply *r =
        grpc_client_call(&h2, "/prober.v1.Control/Probe", NULL, 0, request.data,
                         request.len, true);
    while (!c.is_over && !r->is_closed && !is_late(w, begun_ns)) {
        while ((data = grpc_client_out(&h2, &len)))
            wr_bytes(&c.out, data, len);
        turn(w, &c);
        if (c.in.len > fed &&
            grpc_client_feed(&h2, (const uint8_t *)c.in.data + fed,
                             c.in.len - fed))
            break;
        fed = c.in.len;
        wait_for_work(w, &c);
    }
    int status = r->is_closed && r->grpc_status[0] ? atoi(r->grpc_status) : -1;
    for (*n_messages = 0; grpc_reply_message(r, &at, &data, &len);)
        ++*n_messages;
    grpc_client_fini(&h2);
    wr_fini(&request);
    client_close(&c);
    faults_resume();
    return status;
}
