#include "prober/responder_uv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "prober/psock_uv.h"
#include "prober/responder.h"
#include "proto/base/due.h"
#include "proto/base/heap.h"
#include "proto/h2.h"
#include "proto/http1.h"

#define READ_SIZE        16384
#define READS_PER_TURN   4
#define ACCEPTS_PER_TURN 64
#define REQUEST_HEAD_MAX 8192
#define REQUEST_BODY_MAX 16384
#define WATCHES_MAX      8 /* health watches per connection */
#define BACKLOG          512

/* A handshake costs us half a millisecond and the client nothing, so a flood
 * of them waits its turn behind the attempts that are due. */
#define HANDSHAKES_PER_TURN 4

/* Answers to one READ_SIZE of the smallest requests fit; with that much
 * waiting nothing further is read. More than this gives the reader up. */
#define UNSENT_MAX   98304
#define OUT_KEPT_MAX 4096    /* a larger output buffer is freed when empty */
#define LINGER_MAX   1048576 /* bytes read and thrown away */

/* Descriptors left for attempts and the API, below the process's limit. */
#define DESCRIPTORS_KEPT 16

#define NS_PER_S          UINT64_C(1000000000)
#define HEAD_TIMEOUT_NS   (5 * NS_PER_S) /* handshake and request head */
#define WRITE_TIMEOUT_NS  (5 * NS_PER_S)
#define LINGER_TIMEOUT_NS (1 * NS_PER_S)
#define PAUSE_NS          (NS_PER_S / 10) /* of accepting, see shed() */

static const char h2_preface[] = "PRI";

enum conn_state {
    CONN_HANDSHAKE, /* TLS */
    CONN_UNKNOWN,   /* plain text, the first bytes will tell */
    CONN_HTTP1,
    CONN_H2,
    CONN_LINGER, /* answered for the last time, the peer closes first */
};

/* One inbound connection; its socket comes first, its deadline second. */
struct conn {
    struct psock ps;
    struct heap_node deadline;
    struct responder *responder;
    struct conn *next;
    uint8_t state;
    bool is_last;    /* linger once the output is sent */
    bool is_delayed; /* a request waits for its answer (drill) */
    bool is_begun;   /* a part of an HTTP/1.1 request has arrived */
    bool is_stuck;   /* output waits for the reader: nothing more is read */
    uint8_t n_start;
    uint8_t start[3]; /* first bytes, until they tell the protocol */
    struct tls *tls;
    struct http1 *http1;
    struct h2_server *h2;
    struct wr out; /* plain-text HTTP/1.1 output */
    size_t out_sent;
    uint64_t arrived_ns; /* of the bytes being handled */
    uint64_t n_answers;
    size_t n_dropped; /* bytes, while lingering */
    size_t n_watches;
    int32_t watches[WATCHES_MAX];
};

struct responder {
    struct psock_set set;
    struct psock listener; /* told apart by its on_event */
    struct responder_config config;
    uv_timer_t timer;
    uint64_t armed_ns;
    struct heap deadlines;
    struct heap_node pause; /* until when nothing is accepted */
    struct conn *conns, *free_conns;
    size_t n_conns_used; /* what lies beyond was never touched */
    int fd_max;          /* higher ones are closed at once */
    int spare_fd;        /* given up for a moment when descriptors run out */
    unsigned handshakes; /* in this turn */
    bool is_draining, is_closing;
    struct responder_stats stats;
    uint8_t scratch[READ_SIZE];
};

/* ---- deadlines ---- */

static void on_timer(uv_timer_t *timer);

static void arm(struct responder *r)
{
    struct heap_node *first = heap_first(&r->deadlines);
    if (!first || r->is_closing || first->deadline_ns >= r->armed_ns)
        return;
    uint64_t wait_ms = due_ms(first->deadline_ns, clock_now_ns());
    uv_update_time(r->timer.loop);
    uv_timer_start(&r->timer, on_timer, wait_ms, 0);
    r->armed_ns = first->deadline_ns;
}

static void set_deadline(struct conn *c, uint64_t after_ns)
{
    heap_set(&c->responder->deadlines, &c->deadline, clock_now_ns() + after_ns);
    arm(c->responder);
}

/* ---- ending ---- */

static void close_conn(struct conn *c)
{
    struct responder *r = c->responder;
    if (c->ps.fd < 0)
        return;
    psock_close(&c->ps);
    heap_remove(&r->deadlines, &c->deadline);
    tls_close(c->tls);
    h2_server_close(c->h2);
    free(c->http1);
    wr_fini(&c->out);
    c->tls = NULL;
    c->h2 = NULL;
    c->http1 = NULL;
    c->next = r->free_conns;
    r->free_conns = c;
    r->stats.connections--;
}

/* The peer closes first: our FIN right behind the last answer would be taken
 * for a part of it by its receive stamp, and TIME_WAIT stays over there. */
static void linger(struct conn *c)
{
    c->state = CONN_LINGER;
    set_deadline(c, LINGER_TIMEOUT_NS);
}

/* ---- output ---- */

static void empty_out(struct conn *c)
{
    if (c->out.size > OUT_KEPT_MAX) {
        wr_fini(&c->out);
        wr_init_grow(&c->out, 2 * UNSENT_MAX);
    }
    wr_reset(&c->out);
    c->out_sent = 0;
}

static const uint8_t *pending(struct conn *c, size_t *len)
{
    if (c->tls)
        return tls_out(c->tls, len);
    if (c->out.len > c->out_sent) {
        *len = c->out.len - c->out_sent;
        return c->out.data + c->out_sent;
    }
    empty_out(c);
    if (c->h2) {
        /* Valid only until the next call on the session: keep a copy. */
        const uint8_t *data = h2_server_out(c->h2, len);
        wr_bytes(&c->out, data, *len);
        if (wr_err(&c->out))
            *len = 0;
        return c->out.data;
    }
    *len = 0;
    return NULL;
}

/* Encrypt what HTTP/2 or HTTP/1.1 has to say. False: give up. */
static bool move_to_tls(struct conn *c)
{
    size_t len;
    if (!c->tls)
        return true;
    if (c->h2) {
        const uint8_t *data;
        while ((data = h2_server_out(c->h2, &len)) && len) {
            if (tls_write(c->tls, data, len))
                return false;
        }
        return true;
    }
    if (c->out.len && tls_write(c->tls, c->out.data, c->out.len))
        return false;
    empty_out(c);
    return true;
}

/* From the first byte that did not fit, the reader has one deadline to take
 * it all: progress does not move it, or a byte now and then would do. */
static void hold(struct conn *c)
{
    if (c->is_stuck)
        return;
    c->is_stuck = true;
    set_deadline(c, WRITE_TIMEOUT_NS);
}

/* All was sent: read on. What came meanwhile has had its edge. */
static void unhold(struct conn *c)
{
    if (!c->is_stuck)
        return;
    c->is_stuck = false;
    c->is_begun = c->http1 && http1_begun(c->http1);
    bool is_idle = !c->is_begun && (c->http1 || c->h2);
    set_deadline(c, is_idle ? c->responder->config.idle_timeout_ns
                            : HEAD_TIMEOUT_NS);
    psock_again(&c->responder->set, &c->ps);
}

/* Send what waits. False: the connection is closed. */
static bool flush(struct conn *c)
{
    size_t len;
    const uint8_t *data;
    if (!move_to_tls(c)) {
        close_conn(c);
        return false;
    }
    while ((data = pending(c, &len)) && len) {
        int n = psock_send(&c->ps, data, len, false);
        if (n == -EAGAIN && len <= UNSENT_MAX) {
            hold(c);
            return true;
        }
        if (n < 0) {
            close_conn(c);
            return false;
        }
        if (c->tls)
            tls_sent(c->tls, (size_t)n);
        else
            c->out_sent += (size_t)n;
    }
    unhold(c);
    if (c->is_last && c->state != CONN_LINGER)
        linger(c);
    return true;
}

/* ---- answering ---- */

static struct responder_facts facts_now(const struct conn *c)
{
    uint64_t now_ns = clock_now_ns();
    return (struct responder_facts){
        .took_ns = now_ns > c->arrived_ns ? now_ns - c->arrived_ns : 0,
        .is_draining = c->responder->is_draining,
    };
}

static void end_politely(struct conn *c)
{
    c->is_last = true;
    /* close_notify leaves in one segment with the answer. */
    if (move_to_tls(c) && c->tls)
        tls_shutdown(c->tls);
}

/* Say that nobody is at fault, then close: idle too long, or we leave. */
static void say_goodbye(struct conn *c)
{
    bool can_speak = c->state == CONN_HTTP1 || c->state == CONN_H2;
    if (can_speak && !c->is_stuck) {
        if (c->h2)
            h2_server_shutdown(c->h2);
        end_politely(c);
        flush(c);
    }
    close_conn(c);
}

static void answer_http1(struct conn *c)
{
    struct responder_facts f = facts_now(c);
    c->responder->stats.requests++;
    c->n_answers++;
    bool keep = responder_http1(c->http1, &f, &c->out);
    if (wr_err(&c->out) || !keep)
        end_politely(c);
    http1_next(c->http1, false);
}

/* Remember a watcher, in the place of one that is gone. Those beyond the
 * limit learn of a change when the connection ends. */
static void add_watch(struct conn *c, int32_t stream_id)
{
    for (size_t i = 0; i < c->n_watches; i++) {
        if (!h2_server_is_open(c->h2, c->watches[i])) {
            c->watches[i] = stream_id;
            return;
        }
    }
    if (c->n_watches < WATCHES_MAX)
        c->watches[c->n_watches++] = stream_id;
}

static void answer_h2(struct conn *c)
{
    const struct h2_server_request *request;
    while ((request = h2_server_next(c->h2))) {
        struct responder_facts f = facts_now(c);
        int32_t stream_id = request->stream_id;
        bool is_watch;
        c->responder->stats.requests++;
        c->n_answers++;
        if (!responder_h2(c->h2, request, &f, &is_watch) && is_watch)
            add_watch(c, stream_id);
    }
}

static void answer_now(struct conn *c)
{
    if (c->state == CONN_HTTP1)
        answer_http1(c);
    else if (c->state == CONN_H2)
        answer_h2(c);
}

/* A request may be complete: answer now, or later when drilling. The delay
 * counts from the newest bytes, so that none is answered earlier because
 * others (an HTTP/2 preface, say) came before it. */
static void answer(struct conn *c)
{
    if (c->responder->config.delay_ns) {
        c->is_delayed = true;
        set_deadline(c, c->responder->config.delay_ns);
    } else {
        answer_now(c);
    }
}

/* ---- input ---- */

static void on_http1_bytes(struct conn *c, const uint8_t *data, size_t len)
{
    assert(c->http1); /* as long as the connection is open */
    while (len > 0 && !c->is_last) {
        if (c->is_delayed) { /* pipelined behind a request being delayed */
            close_conn(c);
            return;
        }
        size_t n = http1_feed(c->http1, data, len);
        data += n;
        len -= n;
        if (c->http1->state == HTTP1_FAILED) {
            c->responder->stats.bad_requests++;
            responder_http1_refuse(c->http1, &c->out);
            end_politely(c);
            return;
        }
        if (c->http1->state == HTTP1_DONE)
            answer(c);
        if (c->out.len - c->out_sent > UNSENT_MAX / 2 && !flush(c))
            return;
    }
}

static void on_h2_bytes(struct conn *c, const uint8_t *data, size_t len)
{
    if (c->is_last)
        return;
    if (h2_server_feed(c->h2, data, len)) {
        c->responder->stats.bad_requests++;
        c->is_last = true;
        return;
    }
    answer(c);
    if (h2_server_is_done(c->h2))
        c->is_last = true;
}

static bool begin_http1(struct conn *c)
{
    c->http1 = malloc(sizeof(*c->http1));
    if (!c->http1)
        return false;
    http1_init(c->http1, HTTP1_REQUEST, REQUEST_HEAD_MAX, REQUEST_BODY_MAX);
    c->state = CONN_HTTP1;
    return true;
}

static bool begin_h2(struct conn *c)
{
    c->h2 = h2_server_open(&h2_limits_default);
    if (!c->h2)
        return false;
    /* Frames without a request do not move this deadline. */
    set_deadline(c, c->responder->config.idle_timeout_ns);
    c->state = CONN_H2;
    return true;
}

static void on_app_bytes(struct conn *c, const uint8_t *data, size_t len);

/* Plain text: "PRI" begins HTTP/2, anything else is HTTP/1.1. */
static void on_first_bytes(struct conn *c, const uint8_t *data, size_t len)
{
    while (len > 0 && c->n_start < sizeof(c->start)) {
        c->start[c->n_start++] = *data++;
        len--;
        if (c->start[c->n_start - 1] != (uint8_t)h2_preface[c->n_start - 1])
            break;
    }
    bool is_same = !memcmp(c->start, h2_preface, c->n_start);
    if (is_same && c->n_start < sizeof(c->start))
        return;
    if (is_same ? !begin_h2(c) : !begin_http1(c)) {
        c->is_last = true;
        return;
    }
    on_app_bytes(c, c->start, c->n_start);
    if (len > 0 && c->ps.fd >= 0) /* not closed by what came first */
        on_app_bytes(c, data, len);
}

static void on_app_bytes(struct conn *c, const uint8_t *data, size_t len)
{
    switch ((enum conn_state)c->state) {
    case CONN_HTTP1:
        on_http1_bytes(c, data, len);
        break;
    case CONN_H2:
        on_h2_bytes(c, data, len);
        break;
    case CONN_UNKNOWN:
        on_first_bytes(c, data, len);
        break;
    case CONN_HANDSHAKE:
    case CONN_LINGER:
        break; /* read and thrown away */
    }
}

/* Returns false when the connection is over. */
static bool on_records(struct conn *c, const uint8_t *data, size_t len)
{
    uint8_t plain[4096];
    tls_feed(c->tls, data, len);
    if (c->state == CONN_HANDSHAKE) {
        enum tls_state state = tls_handshake(c->tls);
        if (state == TLS_HANDSHAKE)
            return true;
        if (state != TLS_OPEN)
            return false; /* after the alert is sent */
        bool is_h2 = !strcmp(tls_alpn(c->tls), "h2");
        set_deadline(c, HEAD_TIMEOUT_NS);
        if (is_h2 ? !begin_h2(c) : !begin_http1(c))
            return false;
    }
    for (;;) {
        int n = tls_read(c->tls, plain, sizeof(plain));
        if (n == 0)
            return true;
        if (n < 0)
            return false;
        on_app_bytes(c, plain, (size_t)n);
        if (c->ps.fd < 0)
            return true; /* closed inside */
    }
}

static void on_bytes(struct conn *c, const uint8_t *data, size_t len)
{
    if (!c->tls) {
        on_app_bytes(c, data, len);
    } else if (!on_records(c, data, len)) {
        if (c->ps.fd >= 0 && flush(c))
            close_conn(c);
        return;
    }
    if (c->ps.fd >= 0)
        flush(c);
}

/* A request has one deadline from its first byte to its last; between
 * requests the connection is idle from the latest answer on. Bytes that do
 * not complete anything move neither. */
static void move_deadline(struct conn *c, uint64_t answers_before)
{
    bool is_begun = c->http1 && http1_begun(c->http1);
    bool has_answered = c->n_answers != answers_before;
    if (c->state == CONN_LINGER || c->is_delayed || c->is_stuck)
        return;
    if (is_begun && (!c->is_begun || has_answered))
        set_deadline(c, HEAD_TIMEOUT_NS);
    else if (!is_begun && has_answered)
        set_deadline(c, c->responder->config.idle_timeout_ns);
    c->is_begun = is_begun;
}

/* Handle what was read. False: read no more now. */
static bool take_bytes(struct conn *c, size_t len)
{
    struct responder *r = c->responder;
    uint64_t answers = c->n_answers;
    if (c->state == CONN_LINGER) {
        c->n_dropped += len;
        if (c->n_dropped > LINGER_MAX)
            close_conn(c);
        return c->ps.fd >= 0;
    }
    if (c->state == CONN_HANDSHAKE)
        r->handshakes++;
    on_bytes(c, r->scratch, len);
    if (c->ps.fd < 0)
        return false;
    move_deadline(c, answers);
    return !c->is_stuck;
}

static void read_conn(struct conn *c, uint32_t events, uint64_t now_ns)
{
    struct responder *r = c->responder;
    bool is_ending = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    for (int i = 0; i < READS_PER_TURN; i++) {
        uint64_t real_ns;
        int n = psock_recv(&c->ps, r->scratch, READ_SIZE, &real_ns);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            close_conn(c);
            return;
        }
        struct stamp at = clock_map_stamp(&r->set.clock, real_ns, now_ns);
        c->arrived_ns = at.source == STAMP_KERNEL ? at.ns : now_ns;
        if (!take_bytes(c, (size_t)n) || (n < READ_SIZE && !is_ending))
            return;
    }
    psock_again(&r->set, &c->ps);
}

static void on_conn_event(struct psock *ps, uint32_t events, uint64_t now_ns)
{
    struct conn *c = (struct conn *)(void *)ps;
    if ((events & EPOLLOUT) && !flush(c))
        return;
    if (c->is_stuck && !(events & (EPOLLHUP | EPOLLERR)))
        return;
    if (c->state == CONN_HANDSHAKE && (events & EPOLLIN) &&
        c->responder->handshakes >= HANDSHAKES_PER_TURN) {
        psock_again(&c->responder->set, &c->ps);
        return;
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        read_conn(c, events, now_ns);
}

static void on_turn(void *arg, uint64_t now_ns)
{
    struct responder *r = arg;
    (void)now_ns;
    r->handshakes = 0;
}

static void on_deadline(struct conn *c)
{
    struct responder *r = c->responder;
    if (c->is_delayed) {
        c->is_delayed = false;
        set_deadline(c, r->config.idle_timeout_ns);
        answer_now(c);
        flush(c);
        return;
    }
    if (c->state != CONN_LINGER)
        r->stats.timeouts++;
    say_goodbye(c);
}

static void on_timer(uv_timer_t *timer)
{
    struct responder *r = timer->data;
    uint64_t now_ns = clock_now_ns();
    struct heap_node *first;
    r->armed_ns = UINT64_MAX;
    while ((first = heap_first(&r->deadlines)) &&
           first->deadline_ns <= now_ns) {
        if (first == &r->pause) {
            heap_remove(&r->deadlines, first);
            (void)psock_watch_change(&r->set, &r->listener, EPOLLIN);
            continue;
        }
        on_deadline((struct conn *)(void *)((char *)first -
                                            offsetof(struct conn, deadline)));
    }
    arm(r);
}

/* ---- accepting ---- */

/* Out of descriptors: accept one with the spare and close it, so that it does
 * not wake us for ever. If another thread was quicker to take the spare's
 * place, the listener rests a little. */
static void shed(struct responder *r)
{
    if (r->spare_fd >= 0)
        close(r->spare_fd);
    int fd = accept4(r->listener.fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0) {
        close(fd);
        r->stats.rejected++;
    }
    r->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || r->spare_fd < 0) {
        (void)psock_watch_change(&r->set, &r->listener, 0);
        heap_set(&r->deadlines, &r->pause, clock_now_ns() + PAUSE_NS);
        arm(r);
    }
}

/* The highest descriptor that may be a connection. They are given out from
 * the lowest on, so a high one says that few are left. The limit can change
 * while we run. */
static int descriptor_max(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur > INT_MAX)
        return INT_MAX;
    int all = (int)limit.rlim_cur;
    int kept = all / 4 < DESCRIPTORS_KEPT ? all / 4 : DESCRIPTORS_KEPT;
    return all - 1 - kept;
}

/* What was used before comes first, then the next one never used, so that a
 * quiet responder touches few pages. NULL: all are in use. It stays free. */
static struct conn *first_free(struct responder *r)
{
    if (!r->free_conns && r->n_conns_used < r->config.connections_max) {
        r->free_conns = &r->conns[r->n_conns_used++];
        r->free_conns->ps.fd = -1;
    }
    return r->free_conns;
}

static void accept_conn(struct responder *r, int fd)
{
    struct conn *c = first_free(r);
    if (!c || fd > r->fd_max) {
        close(fd);
        r->stats.rejected++;
        return;
    }
    *c = (struct conn){.ps = {.fd = -1, .on_event = on_conn_event},
                       .responder = r,
                       .next = c->next};
    wr_init_grow(&c->out, 2 * UNSENT_MAX);
    c->state = r->config.tls ? CONN_HANDSHAKE : CONN_UNKNOWN;
    if (r->config.tls)
        c->tls = tls_accept(r->config.tls);
    if ((r->config.tls && !c->tls) || psock_adopt(&r->set, &c->ps, fd)) {
        tls_close(c->tls);
        close(fd);
        r->stats.rejected++;
        return;
    }
    r->free_conns = c->next;
    r->stats.accepted++;
    r->stats.connections++;
    psock_nodelay(&c->ps);
    (void)psock_stamp_tcp(&c->ps);
    set_deadline(c, HEAD_TIMEOUT_NS);
}

static void on_accept(struct psock *ps, uint32_t events, uint64_t now_ns)
{
    struct responder *r =
        (struct responder *)(void *)((char *)ps -
                                     offsetof(struct responder, listener));
    (void)events;
    (void)now_ns;
    r->fd_max = descriptor_max();
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(ps->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accept_conn(r, fd);
        } else if (errno == EMFILE || errno == ENFILE) {
            shed(r);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR) {
            return;
        }
    }
}

/* ---- life ---- */

struct responder *responder_open(uv_loop_t *loop,
                                 const struct responder_config *config,
                                 struct addr *actual, struct errmsg *msg)
{
    char text[ADDR_TEXT_SIZE];
    struct responder *r = calloc(1, sizeof(*r));
    if (!r)
        goto no_memory;
    r->config = *config;
    r->armed_ns = UINT64_MAX;
    r->listener = (struct psock){.fd = -1, .on_event = on_accept};
    r->conns = calloc(config->connections_max, sizeof(*r->conns));
    if (!r->conns || heap_init(&r->deadlines, config->connections_max + 1))
        goto no_memory;
    if (psock_set_open(&r->set, loop, msg))
        goto fail;
    r->set.on_turn = on_turn;
    r->set.arg = r;
    r->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    uv_timer_init(loop, &r->timer);
    r->timer.data = r;

    int rc = psock_listen(&r->set, &r->listener, &config->listen, BACKLOG);
    if (rc) {
        errmsg_set(msg, "listen on %s: %s", addr_format(&config->listen, text),
                   strerror(-rc));
        responder_close(r);
        return NULL;
    }
    if (actual)
        psock_local(&r->listener, actual);
    return r;

no_memory:
    errmsg_set(msg, "out of memory");
fail:
    if (r) {
        heap_fini(&r->deadlines);
        free(r->conns);
    }
    free(r);
    return NULL;
}

void responder_set(struct responder *r, struct tls_context *tls,
                   uint64_t idle_timeout_ns, uint64_t delay_ns)
{
    assert(!tls == !r->config.tls);
    r->config.tls = tls;
    r->config.idle_timeout_ns = idle_timeout_ns;
    r->config.delay_ns = delay_ns;
}

void responder_drain(struct responder *r)
{
    r->is_draining = true;
    for (size_t i = 0; i < r->n_conns_used; i++) {
        struct conn *c = &r->conns[i];
        if (c->ps.fd < 0 || !c->h2)
            continue;
        c->arrived_ns = clock_now_ns();
        struct responder_facts f = facts_now(c);
        for (size_t w = 0; w < c->n_watches; w++)
            (void)responder_h2_update(c->h2, c->watches[w], &f);
        flush(c);
    }
}

static void on_set_closed(void *arg)
{
    struct responder *r = arg;
    heap_fini(&r->deadlines);
    free(r->conns);
    free(r);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct responder *r = handle->data;
    psock_set_close(&r->set);
}

void responder_close(struct responder *r)
{
    if (!r)
        return;
    r->is_closing = true;
    psock_close(&r->listener);
    for (size_t i = 0; i < r->n_conns_used; i++) {
        if (r->conns[i].ps.fd >= 0)
            say_goodbye(&r->conns[i]);
    }
    if (r->spare_fd >= 0)
        close(r->spare_fd);
    r->set.on_closed = on_set_closed;
    uv_close((uv_handle_t *)&r->timer, on_timer_closed);
}

void responder_stats(const struct responder *r, struct responder_stats *out)
{
    *out = r->stats;
}
