#include "prober/httpd_uv.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "proto/base/heap.h"

#define BACKLOG         511
#define ACCEPTS_MAX     32         /* per wake-up */
#define SEND_BYTES      262144     /* in the kernel, per connection */
#define REFUSALS_MAX    8          /* connections that only hear a 503 */
#define TURNS_NS        1000000u   /* of work per iteration of the loop */
#define ACCEPT_PAUSE_NS 100000000u /* after running out of descriptors */
#define NS_PER_MS       1000000u
#define NS_PER_S        1000000000u

struct connection {
    struct heap_node deadline; /* first: see of_deadline() */
    struct httpd *server;
    struct connection *next, *prev;         /* of all */
    struct connection *turn_next;           /* waiting for a turn */
    bool is_queued, is_reading, is_writing; /* is_writing: a uv_write */
    bool is_refusal, is_shut, is_closing;
    size_t pending; /* bytes not yet acknowledged, as last seen */
    struct addr peer;
    struct httpd_conn *conn;
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
};

struct httpd {
    uv_loop_t *loop;
    struct httpd_limits limits;
    struct httpd_stats stats;
    struct httpd_conn_config config;

    int listen_fd;
    uv_poll_t poll;
    uv_timer_t timer;
    uv_idle_t turns;  /* active while the queue is not empty */
    unsigned handles; /* not yet closed */
    bool is_closing;

    struct heap deadlines;
    struct heap_node accept_resume;
    struct connection *first; /* all, closing ones excluded */
    struct connection *turn_first, **turn_last;
    unsigned refusals;
};

static uint64_t now_unix_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void on_timer(uv_timer_t *timer);
static void on_connection(uv_poll_t *poll, int status, int events);
static void update(struct connection *c, uint64_t now_ns);

/* ---- the one timer ---- */

static void arm_timer(struct httpd *h, uint64_t now_ns)
{
    struct heap_node *first = heap_first(&h->deadlines);
    if (!first) {
        uv_timer_stop(&h->timer);
        return;
    }
    uint64_t wait_ns =
        first->deadline_ns > now_ns ? first->deadline_ns - now_ns : 0;
    /* Rounded up: one wake-up too early would be followed by a second. */
    uv_timer_start(&h->timer, on_timer, (wait_ns + NS_PER_MS - 1) / NS_PER_MS,
                   0);
}

static void set_deadline(struct httpd *h, struct heap_node *node,
                         uint64_t deadline_ns, uint64_t now_ns)
{
    struct heap_node *before = heap_first(&h->deadlines);
    uint64_t before_ns = before ? before->deadline_ns : UINT64_MAX;
    if (deadline_ns == UINT64_MAX) {
        heap_remove(&h->deadlines, node);
    } else {
        int err = heap_set(&h->deadlines, node, deadline_ns);
        assert(!err); /* the heap has a place for each connection */
        (void)err;
    }
    struct heap_node *after = heap_first(&h->deadlines);
    if (!after || after->deadline_ns != before_ns)
        arm_timer(h, now_ns);
}

/* ---- turns ---- */

static void queue_turn(struct connection *c)
{
    struct httpd *h = c->server;
    if (c->is_queued)
        return;
    c->is_queued = true;
    c->turn_next = NULL;
    *h->turn_last = c;
    h->turn_last = &c->turn_next;
}

static struct connection *take_turn(struct httpd *h)
{
    struct connection *c = h->turn_first;
    h->turn_first = c->turn_next;
    if (!h->turn_first)
        h->turn_last = &h->turn_first;
    c->is_queued = false;
    return c;
}

static void forget_turn(struct connection *c)
{
    struct httpd *h = c->server;
    if (!c->is_queued)
        return;
    struct connection **link = &h->turn_first;
    while (*link != c)
        link = &(*link)->turn_next;
    *link = c->turn_next;
    if (!*link)
        h->turn_last = link;
    c->is_queued = false;
}

static void on_turns(uv_idle_t *idle)
{
    struct httpd *h = idle->data;
    uint64_t start_ns = uv_hrtime();
    uint64_t now_ns = start_ns;
    while (h->turn_first && now_ns - start_ns < TURNS_NS) {
        struct connection *c = take_turn(h);
        httpd_conn_turn(c->conn, now_ns);
        now_ns = uv_hrtime();
        update(c, now_ns);
    }
    if (!h->turn_first)
        uv_idle_stop(&h->turns);
}

/* ---- one connection ---- */

static void handle_closed(struct httpd *h)
{
    if (--h->handles > 0 || !h->is_closing)
        return;
    heap_fini(&h->deadlines);
    free(h);
}

static void on_connection_closed(uv_handle_t *handle)
{
    struct connection *c = handle->data;
    struct httpd *h = c->server;
    httpd_conn_close(c->conn); /* a uv_write may have used its buffer */
    free(c);
    handle_closed(h);
}

static void close_connection(struct connection *c, bool is_reset)
{
    struct httpd *h = c->server;
    if (c->is_closing)
        return;
    c->is_closing = true;
    httpd_conn_abandon(c->conn);
    forget_turn(c);
    heap_remove(&h->deadlines, &c->deadline);
    if (c->prev)
        c->prev->next = c->next;
    else
        h->first = c->next;
    if (c->next)
        c->next->prev = c->prev;
    if (c->is_refusal)
        h->refusals--;
    else
        h->stats.connections--;
    uv_handle_t *handle = (uv_handle_t *)&c->tcp;
    /* libuv refuses a reset after a shutdown was begun. */
    if (!is_reset || c->is_shut ||
        uv_tcp_close_reset(&c->tcp, on_connection_closed))
        uv_close(handle, on_connection_closed);
}

static void on_written(uv_write_t *write, int status)
{
    struct connection *c = write->data;
    c->is_writing = false;
    if (c->is_closing)
        return;
    if (status) {
        close_connection(c, false);
        return;
    }
    uint64_t now_ns = uv_hrtime();
    size_t len;
    httpd_conn_out(c->conn, &len);
    httpd_conn_sent(c->conn, len, now_ns);
    update(c, now_ns);
}

/* Bytes that we wrote and the peer has not acknowledged. Those in the kernel
 * count too: it reports room only when a third of its buffer is free, which
 * for a slow reader may take longer than we wait for progress. */
static size_t pending_bytes(const struct connection *c)
{
    const uv_stream_t *stream = (const uv_stream_t *)&c->tcp;
    size_t pending = uv_stream_get_write_queue_size(stream);
    uv_os_fd_t fd;
    int in_kernel = 0;
    if (!uv_fileno((const uv_handle_t *)&c->tcp, &fd) &&
        !ioctl(fd, SIOCOUTQ, &in_kernel) && in_kernel > 0)
        pending += (size_t)in_kernel;
    return pending;
}

/* Write what there is. Returns false if the connection was closed. */
static bool write_out(struct connection *c, uint64_t now_ns)
{
    uv_stream_t *stream = (uv_stream_t *)&c->tcp;
    size_t len;
    const uint8_t *data = httpd_conn_out(c->conn, &len);
    if (!data || c->is_writing)
        return true;
    uv_buf_t buf = {.base = (char *)(uintptr_t)data, .len = len};
    int n = uv_try_write(stream, &buf, 1);
    if (n < 0 && n != UV_EAGAIN) {
        close_connection(c, false);
        return false;
    }
    if (n > 0) {
        httpd_conn_sent(c->conn, (size_t)n, now_ns);
        buf.base += n;
        buf.len -= (size_t)n;
    }
    if (buf.len == 0)
        return true;
    c->write.data = c;
    if (uv_write(&c->write, stream, &buf, 1, on_written)) {
        close_connection(c, false);
        return false;
    }
    c->is_writing = true;
    c->pending = pending_bytes(c);
    return true;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    struct connection *c = handle->data;
    size_t size;
    uint8_t *space = httpd_conn_space(c->conn, &size);
    *buf = uv_buf_init((char *)space, (unsigned)size);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    struct connection *c = stream->data;
    uint64_t now_ns = uv_hrtime();
    if (n == 0)
        return; /* EAGAIN */
    if (n > 0) {
        httpd_conn_received(c->conn, (size_t)n, now_ns);
    } else if (n == UV_EOF) {
        httpd_conn_eof(c->conn, now_ns);
    } else {
        close_connection(c, false);
        return;
    }
    update(c, now_ns);
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    (void)shutdown; /* the linger deadline ends it in any case */
    (void)status;
}

static void update_reading(struct connection *c)
{
    uv_stream_t *stream = (uv_stream_t *)&c->tcp;
    size_t size;
    bool wants = httpd_conn_space(c->conn, &size) != NULL;
    if (wants == c->is_reading)
        return;
    c->is_reading = wants;
    if (!wants)
        uv_read_stop(stream);
    else if (uv_read_start(stream, on_alloc, on_read))
        close_connection(c, false);
}

/* After anything happened: write, close, ask for a turn, set the deadline. */
static void update(struct connection *c, uint64_t now_ns)
{
    struct httpd *h = c->server;
    if (!write_out(c, now_ns))
        return;
    enum httpd_conn_phase phase = httpd_conn_phase(c->conn);
    if (phase >= HTTPD_CONN_ENDED) {
        close_connection(c, phase == HTTPD_CONN_ABORTED);
        return;
    }
    if (phase == HTTPD_CONN_LINGERING && !c->is_shut) {
        c->is_shut = true;
        uv_shutdown(&c->shutdown, (uv_stream_t *)&c->tcp, on_shutdown);
    }
    if (!c->is_writing && httpd_conn_wants_turn(c->conn)) {
        queue_turn(c);
        uv_idle_start(&h->turns, on_turns);
    }
    set_deadline(h, &c->deadline, httpd_conn_deadline(c->conn), now_ns);
    update_reading(c);
}

/* A slow reader may take long for one slice and yet make progress. */
static void expire(struct connection *c, uint64_t now_ns)
{
    if (c->is_writing) {
        size_t pending = pending_bytes(c);
        if (pending < c->pending)
            httpd_conn_progress(c->conn, now_ns);
        c->pending = pending;
    }
    httpd_conn_expire(c->conn, now_ns);
    update(c, now_ns);
}

static void on_timer(uv_timer_t *timer)
{
    struct httpd *h = timer->data;
    uint64_t now_ns = uv_hrtime();
    struct heap_node *first;
    while ((first = heap_first(&h->deadlines)) &&
           first->deadline_ns <= now_ns) {
        heap_remove(&h->deadlines, first);
        if (first == &h->accept_resume)
            uv_poll_start(&h->poll, UV_READABLE, on_connection);
        else
            expire((struct connection *)first, now_ns);
    }
    arm_timer(h, now_ns);
}

/* ---- accepting ---- */

/* The one that has waited longest for a complete request, if any. */
static struct connection *find_waiting(const struct httpd *h)
{
    struct connection *oldest = NULL;
    uint64_t oldest_ns = UINT64_MAX;
    for (struct connection *c = h->first; c; c = c->next) {
        uint64_t since_ns = httpd_conn_waits_since(c->conn);
        if (since_ns < oldest_ns && !c->is_refusal) {
            oldest = c;
            oldest_ns = since_ns;
        }
    }
    return oldest;
}

static bool is_address_full(const struct httpd *h, const struct addr *peer)
{
    unsigned max = addr_is_loopback(peer) ? h->limits.per_loopback_max
                                          : h->limits.per_address_max;
    unsigned n = 0;
    for (const struct connection *c = h->first; c; c = c->next) {
        if (!c->is_refusal && c->peer.family == peer->family &&
            memcmp(c->peer.ip, peer->ip, sizeof(peer->ip)) == 0)
            n++;
    }
    return n >= max;
}

static bool may_serve(struct httpd *h, const struct addr *peer)
{
    if (is_address_full(h, peer))
        return false;
    if (h->stats.connections < h->limits.connections_max)
        return true;
    struct connection *oldest = find_waiting(h);
    if (!oldest)
        return false;
    h->stats.evicted++;
    close_connection(oldest, false);
    return true;
}

static struct connection *add_connection(struct httpd *h, int fd,
                                         uint64_t now_ns)
{
    struct connection *c = calloc(1, sizeof(*c));
    if (!c || !(c->conn = httpd_conn_open(&h->config, now_ns))) {
        free(c);
        close(fd);
        return NULL;
    }
    c->server = h;
    uv_tcp_init(h->loop, &c->tcp); /* without a socket it cannot fail */
    c->tcp.data = c;
    h->handles++;
    c->next = h->first;
    if (c->next)
        c->next->prev = c;
    h->first = c;
    h->stats.connections++;
    if (uv_tcp_open(&c->tcp, fd)) {
        close(fd);
        close_connection(c, false);
        return NULL;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    /* Else the kernel would let a slow reader's buffer grow to megabytes. */
    int send_bytes = SEND_BYTES;
    uv_send_buffer_size((uv_handle_t *)&c->tcp, &send_bytes);
    return c;
}

static void serve(struct httpd *h, int fd, const struct addr *peer,
                  uint64_t now_ns)
{
    bool is_refusal = !may_serve(h, peer);
    if (is_refusal) {
        h->stats.rejected++;
        if (h->refusals == REFUSALS_MAX) {
            close(fd);
            return;
        }
    }
    struct connection *c = add_connection(h, fd, now_ns);
    if (!c) {
        h->stats.rejected++;
        return;
    }
    c->peer = *peer;
    if (is_refusal) {
        c->is_refusal = true;
        h->stats.connections--;
        h->refusals++;
        httpd_conn_refuse(c->conn, now_ns);
    } else {
        h->stats.accepted++;
    }
    update(c, now_ns);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct httpd *h = poll->data;
    uint64_t now_ns = uv_hrtime();
    if (status)
        return;
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage ss;
        socklen_t len = sizeof(ss);
        int fd = accept4(h->listen_fd, (struct sockaddr *)&ss, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            struct addr peer = {0};
            addr_from_sockaddr(&peer, &ss);
            serve(h, fd, &peer, now_ns);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                   errno == ENOMEM) {
            /* The connection stays in the backlog and the socket readable:
             * polling on would spin. */
            h->stats.accept_errors++;
            uv_poll_stop(&h->poll);
            set_deadline(h, &h->accept_resume, now_ns + ACCEPT_PAUSE_NS,
                         now_ns);
            return;
        } else if (errno == EAGAIN) {
            return;
        } /* else: that one connection is gone, look at the next */
    }
}

/* ---- the server ---- */

static int listen_on(const struct addr *listen_addr, struct addr *actual,
                     struct errmsg *msg)
{
    char text[ADDR_TEXT_SIZE];
    addr_format(listen_addr, text);
    struct sockaddr_storage ss;
    struct addr v4;
    socklen_t len = addr_to_sockaddr(listen_addr, &ss);
    int fd =
        socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 && errno == EAFNOSUPPORT && addr_any_v4(listen_addr, &v4)) {
        len = addr_to_sockaddr(&v4, &ss);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    }
    const int one = 1;
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
        bind(fd, (struct sockaddr *)&ss, len) || listen(fd, BACKLOG)) {
        errmsg_set(msg, "listen on %s: %s", text, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    len = sizeof(ss);
    if (actual && (getsockname(fd, (struct sockaddr *)&ss, &len) ||
                   addr_from_sockaddr(actual, &ss)))
        *actual = *listen_addr;
    return fd;
}

struct httpd *httpd_open(uv_loop_t *loop, const struct addr *listen_addr,
                         const struct httpd_limits *limits,
                         httpd_handler *handler, void *arg, struct addr *actual,
                         struct errmsg *msg)
{
    struct httpd *h = calloc(1, sizeof(*h));
    if (!h) {
        errmsg_set(msg, "out of memory");
        return NULL;
    }
    h->loop = loop;
    h->limits = limits ? *limits : httpd_limits_default;
    h->turn_last = &h->turn_first;
    h->config = (struct httpd_conn_config){
        .limits = &h->limits,
        .handler = handler,
        .arg = arg,
        .stats = &h->stats,
        .now_unix_ns = now_unix_ns,
    };
    size_t places = (size_t)h->limits.connections_max + REFUSALS_MAX + 1;
    if (heap_init(&h->deadlines, places)) {
        errmsg_set(msg, "out of memory");
        goto fail;
    }
    h->listen_fd = listen_on(listen_addr, actual, msg);
    if (h->listen_fd < 0)
        goto fail_heap;
    int rc = uv_poll_init(loop, &h->poll, h->listen_fd);
    if (rc) {
        errmsg_set(msg, "poll: %s", uv_strerror(rc));
        goto fail_listen;
    }
    uv_timer_init(loop, &h->timer);
    uv_idle_init(loop, &h->turns);
    h->poll.data = h->timer.data = h->turns.data = h;
    h->handles = 3;
    uv_poll_start(&h->poll, UV_READABLE, on_connection);
    return h;

fail_listen:
    close(h->listen_fd);
fail_heap:
    heap_fini(&h->deadlines);
fail:
    free(h);
    return NULL;
}

static void on_server_handle_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

void httpd_close(struct httpd *h)
{
    if (!h || h->is_closing)
        return;
    h->is_closing = true;
    while (h->first)
        close_connection(h->first, false);
    uv_close((uv_handle_t *)&h->poll, on_server_handle_closed);
    uv_close((uv_handle_t *)&h->timer, on_server_handle_closed);
    uv_close((uv_handle_t *)&h->turns, on_server_handle_closed);
    close(h->listen_fd);
}

void httpd_stats(const struct httpd *h, struct httpd_stats *out)
{
    *out = h->stats;
}
