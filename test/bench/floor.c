/* test/bench/floor.c - what a probe costs at the very least.
 *
 * usage: floor [OPTION...] ADDRESS PORT
 *
 * One thread, one epoll set, a fresh connection for every probe: connect,
 * TLS 1.3 if asked for, one request, the answer read to its end and compared
 * with the one expected, close. No name is resolved, no timer runs, no stamp
 * is taken, nothing is written down. What a prober costs on top of this, with
 * the same kernel and libssl, is its own doing.
 *
 * The server is the benchmarks' (bed.py): it answers GET / with "ok" and the
 * gRPC health check with SERVING. Prints one line of JSON.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/ssl.h>

#define EVENTS_MAX     64
#define CONNS_MAX      4096
#define IN_SIZE        16384
#define OUT_SIZE       2048 /* a ClientHello, or Finished and the request */
#define ANSWER_SIZE    2048
#define GIVE_UP_AFTER  5.0 /* seconds without a single event */
#define GRPC_PATH_TEXT "/grpc.health.v1.Health/Check"

enum state { CONNECTING, SHAKING_HANDS, ASKED };

struct floor {
    struct sockaddr_in address;
    uint64_t count;
    double rate; /* probes a second, 0: as many as `concurrency` carries */
    unsigned burst, concurrency;
    bool is_grpc;
    const char *ca;
    SSL_CTX *tls; /* NULL: plain text */
    BIO_METHOD *bio;

    const uint8_t *request;
    size_t request_len;
    int epoll_fd;
    struct conn *free_conns;
    uint64_t started, done, ok, in_flight;
    uint8_t in[IN_SIZE];
};

struct conn {
    int fd;
    enum state state;
    SSL *ssl;
    struct conn *next_free;
    const uint8_t *fed; /* what libssl has not read yet of `in` */
    size_t fed_len, out_len, answer_len;
    uint8_t out[OUT_SIZE], answer[ANSWER_SIZE];
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- what is asked and what is to come back --------------------------- */

static const char http_request[] =
    "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: floor\r\n\r\n";

/* HTTP/2, all in one piece: preface, empty SETTINGS, HEADERS (literals by
 * index of the static table, no Huffman), DATA with an empty message. */
#define LITERAL(name, len, value) name len value
static const char grpc_request[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                   "\0\0\0\4\0\0\0\0\0"
                                   "\0\0\x4b\1\4\0\0\0\1"
                                   "\x83\x87" /* :method POST, :scheme https */
    LITERAL("\x04", "\x1c", GRPC_PATH_TEXT)
        LITERAL("\x01", "\x09", "localhost")        /* :authority */
    LITERAL("\x0f\x10", "\x10", "application/grpc") /* content-type */
    LITERAL("\x00\x02te", "\x08", "trailers") "\0\0\5\0\1\0\0\0\1"
                                              "\0\0\0\0\0";

static const uint8_t serving[] = {0, 0, 0, 0, 2, 8, 1};

enum verdict { MORE, GOOD, BAD };

static enum verdict judge_http(const uint8_t *answer, size_t len)
{
    static const char first[] = "HTTP/1.1 200 ", last[] = "\r\n\r\nok\n";
    size_t n = sizeof(last) - 1;

    if (len < sizeof(first) + n || memcmp(answer + len - n, last, n) != 0)
        return len == ANSWER_SIZE ? BAD : MORE;
    return memcmp(answer, first, sizeof(first) - 1) ? BAD : GOOD;
}

/* Frame after frame: a message that says SERVING, then the stream's end. */
static enum verdict judge_grpc(const uint8_t *answer, size_t len)
{
    bool is_serving = false;

    for (size_t at = 0; len - at >= 9;) {
        const uint8_t *f = answer + at;
        size_t n = (size_t)f[0] << 16 | (size_t)f[1] << 8 | f[2];
        if (len - at < 9 + n)
            break;
        is_serving |= f[3] == 0 && n == sizeof(serving) &&
                      !memcmp(f + 9, serving, sizeof(serving));
        if (f[8] == 1 && f[3] <= 1 && (f[4] & 1))
            return is_serving ? GOOD : BAD;
        at += 9 + n;
    }
    return len == ANSWER_SIZE ? BAD : MORE;
}

/* ---- libssl's ends of the pipes --------------------------------------- */

static int bio_read(BIO *b, char *data, int size)
{
    struct conn *c = BIO_get_data(b);
    size_t n = c->fed_len < (size_t)size ? c->fed_len : (size_t)size;

    BIO_clear_retry_flags(b);
    if (n == 0) {
        BIO_set_retry_read(b);
        return -1;
    }
    memcpy(data, c->fed, n);
    c->fed += n;
    c->fed_len -= n;
    return (int)n;
}

static int bio_write(BIO *b, const char *data, int len)
{
    struct conn *c = BIO_get_data(b);

    if ((size_t)len > OUT_SIZE - c->out_len)
        return -1;
    memcpy(c->out + c->out_len, data, (size_t)len);
    c->out_len += (size_t)len;
    return len;
}

static long bio_ctrl(BIO *b, int command, long n, void *p)
{
    (void)b;
    (void)n;
    (void)p;
    return command == BIO_CTRL_FLUSH;
}

static void open_tls(struct floor *f)
{
    f->tls = SSL_CTX_new(TLS_client_method());
    f->bio = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "floor");
    if (!f->tls || !f->bio ||
        !SSL_CTX_set_min_proto_version(f->tls, TLS1_3_VERSION) ||
        !SSL_CTX_load_verify_file(f->tls, f->ca) ||
        !BIO_meth_set_read(f->bio, bio_read) ||
        !BIO_meth_set_write(f->bio, bio_write) ||
        !BIO_meth_set_ctrl(f->bio, bio_ctrl))
        die("libssl");
    SSL_CTX_set_session_cache_mode(f->tls, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(f->tls, SSL_VERIFY_PEER, NULL);
    if (f->is_grpc)
        SSL_CTX_set_alpn_protos(f->tls, (const uint8_t *)"\2h2", 3);
}

static void open_session(const struct floor *f, struct conn *c)
{
    char name[] = "localhost"; /* OpenSSL's macro casts const away */
    BIO *b = BIO_new(f->bio);
    c->ssl = SSL_new(f->tls);
    if (!b || !c->ssl)
        die("libssl");
    BIO_set_data(b, c);
    BIO_set_init(b, 1);
    SSL_set_bio(c->ssl, b, b);
    SSL_set_tlsext_host_name(c->ssl, name);
    SSL_set1_host(c->ssl, name);
    SSL_set_connect_state(c->ssl);
}

/* ---- one probe -------------------------------------------------------- */

static void finish(struct floor *f, struct conn *c, bool is_ok)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
    close(c->fd);
    c->next_free = f->free_conns;
    f->free_conns = c;
    f->in_flight--;
    f->done++;
    f->ok += is_ok;
}

static void start(struct floor *f)
{
    struct conn *c = f->free_conns;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET,
                            .data.ptr = c};
    f->free_conns = c->next_free;
    f->started++;
    f->in_flight++;
    c->state = CONNECTING;
    c->fed_len = c->out_len = c->answer_len = 0;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    if ((connect(c->fd, (struct sockaddr *)&f->address, sizeof(f->address)) &&
         errno != EINPROGRESS) ||
        epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, c->fd, &e))
        finish(f, c, false);
}

static bool send_all(struct conn *c, const uint8_t *data, size_t len)
{
    return len == 0 || send(c->fd, data, len, MSG_NOSIGNAL) == (ssize_t)len;
}

static bool flush(struct conn *c)
{
    size_t len = c->out_len;
    c->out_len = 0;
    return send_all(c, c->out, len);
}

static bool ask(const struct floor *f, struct conn *c)
{
    c->state = ASKED;
    if (!c->ssl)
        return send_all(c, f->request, f->request_len);
    /* Together with our Finished, which waits in `out`. */
    return SSL_write(c->ssl, f->request, (int)f->request_len) > 0 && flush(c);
}

static bool on_connected(const struct floor *f, struct conn *c)
{
    if (!f->tls)
        return ask(f, c);
    open_session(f, c);
    c->state = SHAKING_HANDS;
    (void)SSL_do_handshake(c->ssl);
    return flush(c);
}

static enum verdict on_bytes(struct floor *f, struct conn *c, size_t len)
{
    uint8_t *end = c->answer + c->answer_len;
    size_t room = ANSWER_SIZE - c->answer_len;

    if (!c->ssl) {
        len = len < room ? len : room;
        memcpy(end, f->in, len);
        c->answer_len += len;
    } else {
        c->fed = f->in;
        c->fed_len = len;
        if (c->state == SHAKING_HANDS) {
            int rc = SSL_do_handshake(c->ssl);
            if (rc != 1)
                return SSL_get_error(c->ssl, rc) == SSL_ERROR_WANT_READ ? MORE
                                                                        : BAD;
            if (!ask(f, c))
                return BAD;
        }
        for (int n; room && (n = SSL_read(c->ssl, end, (int)room)) > 0;) {
            end += n;
            room -= (size_t)n;
            c->answer_len += (size_t)n;
        }
    }
    return f->is_grpc ? judge_grpc(c->answer, c->answer_len)
                      : judge_http(c->answer, c->answer_len);
}

static void on_event(struct floor *f, struct conn *c, uint32_t events)
{
    if (c->state == CONNECTING &&
        ((events & (EPOLLERR | EPOLLHUP)) || !on_connected(f, c))) {
        finish(f, c, false);
        return;
    }
    if (!(events & (EPOLLIN | EPOLLERR | EPOLLHUP)))
        return;
    ssize_t n = recv(c->fd, f->in, sizeof(f->in), 0);
    if (n < 0 && errno == EAGAIN)
        return;
    enum verdict v = n > 0 ? on_bytes(f, c, (size_t)n) : BAD;
    if (v != MORE)
        finish(f, c, v == GOOD);
}

/* ---- the loop --------------------------------------------------------- */

/* Start what is due. Returns how long until something is again, in s. */
static double start_due(struct floor *f, double elapsed_s)
{
    if (f->rate <= 0) {
        while (f->in_flight < f->concurrency && f->started < f->count)
            start(f);
        return GIVE_UP_AFTER;
    }
    double bursts_per_s = f->rate / f->burst;
    uint64_t bursts = (uint64_t)(elapsed_s * bursts_per_s) + 1;
    while (f->started < bursts * f->burst && f->started < f->count &&
           f->free_conns)
        start(f);
    double wait_s = (double)bursts / bursts_per_s - elapsed_s;
    return f->started == f->count || wait_s < 0 ? GIVE_UP_AFTER : wait_s;
}

static void run(struct floor *f)
{
    struct epoll_event events[EVENTS_MAX];
    double start_s = now_s();

    while (f->done < f->count) {
        double wait_s = start_due(f, now_s() - start_s);
        struct timespec t = {.tv_sec = (time_t)wait_s};
        t.tv_nsec = (long)((wait_s - (double)t.tv_sec) * 1e9);
        int n = epoll_pwait2(f->epoll_fd, events, EVENTS_MAX, &t, NULL);
        if (n < 0 || (n == 0 && wait_s >= GIVE_UP_AFTER))
            die("epoll");
        for (int i = 0; i < n; i++)
            on_event(f, events[i].data.ptr, events[i].events);
    }
}

static double cpu_us(const struct timeval *t)
{
    return (double)t->tv_sec * 1e6 + (double)t->tv_usec;
}

static void report(const struct floor *f, double wall_s)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    printf("{\"ok\":%lu,\"failed\":%lu,\"wall_s\":%.3f,\"user_us\":%.2f,"
           "\"sys_us\":%.2f}\n",
           (unsigned long)f->ok, (unsigned long)(f->done - f->ok), wall_s,
           cpu_us(&r.ru_utime) / (double)f->done,
           cpu_us(&r.ru_stime) / (double)f->done);
}

/* ---- the command line ------------------------------------------------- */

static _Noreturn void usage(void)
{
    fputs("usage: floor [OPTION...] ADDRESS PORT\n"
          "  --ca FILE        TLS 1.3, and whom to trust\n"
          "  --grpc           the gRPC health check, needs --ca\n"
          "  --count N        probes (10000)\n"
          "  --concurrency N  in flight (16)\n"
          "  --rate N         start N a second instead, evenly\n"
          "  --burst N        N at a time at that rate\n",
          stderr);
    exit(2);
}

static uint64_t number(const char *text, uint64_t max)
{
    char *end;
    uint64_t n = strtoull(text, &end, 10);
    if (end == text || *end || n == 0 || n > max)
        usage();
    return n;
}

static void parse(struct floor *f, int argc, char **argv)
{
    static const struct option options[] = {
        {"ca", required_argument, NULL, 'a'},
        {"grpc", no_argument, NULL, 'g'},
        {"count", required_argument, NULL, 'n'},
        {"concurrency", required_argument, NULL, 'c'},
        {"rate", required_argument, NULL, 'r'},
        {"burst", required_argument, NULL, 'b'},
        {0},
    };
    for (int o; (o = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (o == 'a')
            f->ca = optarg;
        else if (o == 'g')
            f->is_grpc = true;
        else if (o == 'n')
            f->count = number(optarg, UINT32_MAX);
        else if (o == 'c')
            f->concurrency = (unsigned)number(optarg, CONNS_MAX);
        else if (o == 'r')
            f->rate = (double)number(optarg, 1000000);
        else if (o == 'b')
            f->burst = (unsigned)number(optarg, CONNS_MAX);
        else
            usage();
    }
    if (argc - optind != 2 || (f->is_grpc && !f->ca) ||
        inet_pton(AF_INET, argv[optind], &f->address.sin_addr) != 1)
        usage();
    f->address.sin_port = htons((uint16_t)number(argv[optind + 1], 65535));
}

int main(int argc, char **argv)
{
    static struct floor f = {.address.sin_family = AF_INET,
                             .count = 10000,
                             .concurrency = 16,
                             .burst = 1};
    parse(&f, argc, argv);
    f.request = (const uint8_t *)(f.is_grpc ? grpc_request : http_request);
    f.request_len =
        (f.is_grpc ? sizeof(grpc_request) : sizeof(http_request)) - 1;
    if (f.ca)
        open_tls(&f);
    f.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct conn *conns = calloc(CONNS_MAX, sizeof(*conns));
    if (f.epoll_fd < 0 || !conns)
        die("start");
    /* The lowest on top, so that few pages are touched. */
    for (size_t i = CONNS_MAX; i-- > 0;) {
        conns[i].next_free = f.free_conns;
        f.free_conns = &conns[i];
    }
    signal(SIGPIPE, SIG_IGN);

    double start_s = now_s();
    run(&f);
    report(&f, now_s() - start_s);
    return f.ok == f.count ? 0 : 1;
}
