#include "prober/httpd_uv.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "prober/httpd_private_uv.h"
#include "proto/base/due.h"

#define BACKLOG         511
#define ACCEPTS_MAX     32         /* per wake-up */
#define REFUSALS_MAX    8          /* connections that only hear a 503 */
#define EVICT_TRIES     8          /* of those who wait, at whom to look */
#define ACCEPT_PAUSE_NS 100000000u /* after running out of descriptors */
#define NS_PER_S        1000000000u

static void on_timer(uv_timer_t *timer);
static void on_connection(uv_poll_t *poll, int status, int events);

static uint64_t now_unix_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- the one timer ---- */

static void arm_timer(struct httpd *h, uint64_t now_ns)
{
    struct heap_node *first = heap_first(&h->deadlines);
    if (!first) {
        uv_timer_stop(&h->timer);
        return;
    }
    uv_timer_start(&h->timer, on_timer, due_ms(first->deadline_ns, now_ns), 0);
}

void httpd_set_deadline(struct httpd *h, struct heap_node *node,
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
            httpd_client_expire((struct httpd_client *)first, now_ns);
    }
    arm_timer(h, now_ns);
}

/* ---- accepting ---- */

static bool is_among(const struct httpd_client *c,
                     struct httpd_client *const *some, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (some[i] == c)
            return true;
    }
    return false;
}

/* The one that has waited longest for a complete request, but for some. */
static struct httpd_client *find_oldest(const struct httpd *h,
                                        struct httpd_client *const *but,
                                        size_t n_but)
{
    struct httpd_client *oldest = NULL;
    uint64_t oldest_ns = UINT64_MAX - 1;
    for (struct httpd_client *c = h->first; c; c = c->next) {
        uint64_t since_ns = httpd_wire_waits_since(c->wire);
        if (since_ns <= oldest_ns && !c->is_refusal &&
            !is_among(c, but, n_but)) {
            oldest = c; /* of several the first that came */
            oldest_ns = since_ns;
        }
    }
    return oldest;
}

/* Who has to make room, if anybody: rather not one that has just sent what we
 * have not read yet. But if they all send, as those do who trickle, it is the
 * oldest all the same. */
static struct httpd_client *find_waiting(const struct httpd *h)
{
    struct httpd_client *sent[EVICT_TRIES] = {NULL};
    for (size_t n = 0; n < EVICT_TRIES; n++) {
        struct httpd_client *c = find_oldest(h, sent, n);
        if (!c)
            break;
        if (!httpd_client_has_unread(c))
            return c;
        sent[n] = c;
    }
    return sent[0];
}

/* Has this address or user its share of the places? */
static bool is_peer_full(const struct httpd *h, const struct httpd_peer *peer)
{
    unsigned max = peer->is_local                  ? h->limits.per_user_max
                   : addr_is_loopback(&peer->addr) ? h->limits.per_loopback_max
                                                   : h->limits.per_address_max;
    unsigned n = 0;
    for (const struct httpd_client *c = h->first; c; c = c->next)
        n += !c->is_refusal && httpd_is_same_peer(&c->peer, peer);
    return n >= max;
}

static bool may_serve(struct httpd *h, const struct httpd_peer *peer)
{
    if (is_peer_full(h, peer))
        return false;
    if (h->stats.connections < h->limits.connections_max)
        return true;
    struct httpd_client *oldest = find_waiting(h);
    if (!oldest)
        return false;
    h->stats.evicted++;
    httpd_client_close(oldest, false);
    return true;
}

/* No place: say so, if that can be said without a handshake. */
static void refuse(struct httpd *h, int fd, const struct httpd_peer *peer,
                   uint64_t now_ns)
{
    h->stats.rejected++;
    if (h->refusals == REFUSALS_MAX || h->wire.tls) {
        close(fd);
        return;
    }
    struct httpd_client *c = httpd_client_add(h, fd, peer, now_ns);
    if (!c)
        return;
    c->is_refusal = true;
    h->stats.connections--;
    h->refusals++;
    if (httpd_wire_refuse(c->wire, now_ns))
        httpd_client_update(c, now_ns);
    else
        httpd_client_close(c, false);
}

static void serve(struct httpd *h, int fd, const struct httpd_peer *peer,
                  uint64_t now_ns)
{
    if (!may_serve(h, peer)) {
        refuse(h, fd, peer, now_ns);
        return;
    }
    struct httpd_client *c = httpd_client_add(h, fd, peer, now_ns);
    if (!c) {
        h->stats.rejected++;
        return;
    }
    h->stats.accepted++;
    httpd_client_update(c, now_ns);
}

/* What the kernel knows of who connected. False: nothing, which for a unix
 * socket means that nobody can say who it is. */
static bool read_peer(const struct httpd *h, int fd,
                      const struct sockaddr_storage *ss,
                      struct httpd_peer *peer)
{
    *peer = (struct httpd_peer){.is_local = h->is_local};
    if (!h->is_local) {
        struct addr addr;
        if (addr_from_sockaddr(&addr, ss))
            return false;
        /* Or loopback would not look like it on most listeners. */
        peer->addr = addr_unmap(&addr);
        return true;
    }
    struct ucred cred;
    socklen_t len = sizeof(cred);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) ||
        len != sizeof(cred))
        return false;
    peer->uid = cred.uid;
    peer->gid = cred.gid;
    peer->pid = cred.pid;
    _Static_assert(sizeof(gid_t) == sizeof(peer->groups[0]), "groups");
    len = sizeof(peer->groups);
    /* More groups than fit: then none, and the uid and gid have to do. */
    if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, peer->groups, &len))
        peer->n_groups = len / sizeof(peer->groups[0]);
    return true;
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
            struct httpd_peer peer;
            if (read_peer(h, fd, &ss, &peer))
                serve(h, fd, &peer, now_ns);
            else
                close(fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
                   errno == ENOMEM) {
            /* The connection stays in the backlog and the socket readable:
             * polling on would spin. */
            h->stats.accept_errors++;
            uv_poll_stop(&h->poll);
            httpd_set_deadline(h, &h->accept_resume, now_ns + ACCEPT_PAUSE_NS,
                               now_ns);
            return;
        } else if (errno == EAGAIN) {
            return;
        } /* else: that one connection is gone, look at the next */
    }
}

/* ---- the server ---- */

void httpd_handle_closed(struct httpd *h)
{
    if (--h->handles > 0 || !h->is_closing)
        return;
    heap_fini(&h->deadlines);
    free(h);
}

static void on_server_handle_closed(uv_handle_t *handle)
{
    httpd_handle_closed(handle->data);
}

static int listen_on(const struct addr *listen_addr, struct errmsg *msg)
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
    return fd;
}

/* Where the socket listens; false if it is nothing that we can serve. */
static bool read_listener(struct httpd *h, struct addr *actual,
                          struct errmsg *msg)
{
    struct sockaddr_storage ss = {0};
    socklen_t len = sizeof(ss);
    struct addr addr = {0};
    if (getsockname(h->listen_fd, (struct sockaddr *)&ss, &len)) {
        errmsg_set(msg, "getsockname: %s", strerror(errno));
        return false;
    }
    h->is_local = ss.ss_family == AF_UNIX;
    if (!h->is_local && addr_from_sockaddr(&addr, &ss)) {
        errmsg_set(msg, "neither a TCP nor a unix socket");
        return false;
    }
    /* Our own accept4() loop must not block on a connection that is gone. */
    int flags = fcntl(h->listen_fd, F_GETFL);
    if (flags < 0 || fcntl(h->listen_fd, F_SETFL, flags | O_NONBLOCK)) {
        errmsg_set(msg, "fcntl: %s", strerror(errno));
        return false;
    }
    if (actual)
        *actual = addr;
    return true;
}

static struct httpd *alloc_server(uv_loop_t *loop,
                                  const struct httpd_config *config)
{
    struct httpd *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    h->loop = loop;
    h->limits = config->limits ? *config->limits : httpd_limits_default;
    h->turn_last = &h->turn_first;
    h->conn = (struct httpd_conn_config){
        .limits = &h->limits,
        .handler = config->handler,
        .arg = config->arg,
        .stats = &h->stats,
        .now_unix_ns = now_unix_ns,
    };
    h->wire = (struct httpd_wire_config){
        .conn = &h->conn,
        .http1 = &httpd_conn_ops,
        .http2 = config->http2,
        .tls = config->tls,
    };
    assert(h->limits.connections_max <= HTTPD_CONNECTIONS_MAX);
    /* For as many as there may ever be: the limit can change. */
    size_t places = HTTPD_CONNECTIONS_MAX + REFUSALS_MAX + 1;
    if (heap_init(&h->deadlines, places)) {
        free(h);
        return NULL;
    }
    return h;
}

struct httpd *httpd_open(uv_loop_t *loop, const struct httpd_config *config,
                         struct addr *actual, struct errmsg *msg)
{
    struct httpd *h = NULL;
    int fd =
        config->listen ? listen_on(config->listen, msg) : config->listen_fd;
    if (fd < 0)
        return NULL;
    h = alloc_server(loop, config);
    if (!h) {
        errmsg_set(msg, "out of memory");
        goto fail;
    }
    h->listen_fd = fd;
    if (!read_listener(h, actual, msg))
        goto fail;
    int rc = uv_poll_init(loop, &h->poll, fd);
    if (rc) {
        errmsg_set(msg, "poll: %s", uv_strerror(rc));
        goto fail;
    }
    uv_timer_init(loop, &h->timer);
    uv_idle_init(loop, &h->turns);
    h->poll.data = h->timer.data = h->turns.data = h;
    h->handles = 3;
    h->is_accepting = true;
    uv_poll_start(&h->poll, UV_READABLE, on_connection);
    return h;

fail:
    if (h)
        heap_fini(&h->deadlines);
    free(h);
    close(fd);
    return NULL;
}

void httpd_set_tls(struct httpd *h, struct tls_context *tls)
{
    assert(h->wire.tls && tls);
    h->wire.tls = tls;
}

void httpd_set_connections_max(struct httpd *h, unsigned max)
{
    assert(max > 0 && max <= HTTPD_CONNECTIONS_MAX);
    h->limits.connections_max = max;
}

void httpd_stop_accepting(struct httpd *h)
{
    if (!h->is_accepting)
        return;
    h->is_accepting = false;
    heap_remove(&h->deadlines, &h->accept_resume);
    uv_close((uv_handle_t *)&h->poll, on_server_handle_closed);
    close(h->listen_fd);
}

void httpd_close(struct httpd *h)
{
    if (!h || h->is_closing)
        return;
    h->is_closing = true;
    while (h->first)
        httpd_client_close(h->first, false);
    httpd_stop_accepting(h);
    uv_close((uv_handle_t *)&h->timer, on_server_handle_closed);
    uv_close((uv_handle_t *)&h->turns, on_server_handle_closed);
}

void httpd_stats(const struct httpd *h, struct httpd_stats *out)
{
    *out = h->stats;
}
