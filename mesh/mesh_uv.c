#include "mesh/mesh_uv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mesh/endpoint_uv.h"
#include "mesh/names_uv.h"
#include "mesh/streams_uv.h"

#define NS_PER_MS 1000000u

/* libuv wants 64 KiB for each datagram of a batch. Pages that no datagram
 * reached are never touched. With 8 at a time it takes at most 39 per turn. */
#define BATCH        8
#define BUFFER_BYTES (BATCH * 65536u)

#define RECEIVE_BYTES (2 << 20) /* asked of the kernel; it may give less */
#define ACCEPTS_MAX   16        /* per wake-up */
#define PAUSE_MS      100       /* after errors that would only repeat */

struct mesh_uv {
    uv_loop_t *loop;
    struct mesh *mesh; /* NULL: closing */
    void (*on_effect)(void *arg, const struct mesh_effect *e);
    void *arg;
    struct endpoint endpoint; /* descriptors: -1 once libuv closes them */
    struct addr advertised;
    struct streams *streams;
    struct names *names;
    uv_udp_t udp;
    uv_poll_t listener; /* `endpoint.tcp` */
    uv_timer_t timer;   /* mesh_deadline() */
    uv_timer_t pause;   /* listener or udp do not read until then */
    /* Between a timer and what it is for: one look at the sockets. */
    uv_idle_t idle;
    uv_check_t check;
    uint64_t armed_ns; /* timer runs out then; UINT64_MAX: is stopped */
    bool is_due;       /* timer ran out, check is to follow */
    bool is_draining;
    unsigned handles; /* of libuv's, not yet closed */
    bool has_listener;
    struct mesh_uv_stats stats;
    char *buffer; /* BUFFER_BYTES */
};

/* ---- effects ---- */

static void send_packet(struct mesh_uv *u, const struct addr *to,
                        struct span data)
{
    struct sockaddr_storage ss;
    uv_buf_t buf = {.base = (char *)(uintptr_t)data.data, .len = data.len};
    if (endpoint_to_sockaddr(&u->endpoint, to, &ss)) {
        u->stats.send_errors++;
        return;
    }
    int n = uv_udp_try_send(&u->udp, &buf, 1, (const struct sockaddr *)&ss);
    /* Never queued: gossip that waits is gossip that is late. */
    if (n == UV_EAGAIN || n == UV_ENOBUFS || n == UV_ENOMEM)
        u->stats.send_dropped++;
    else if (n < 0)
        u->stats.send_errors++;
}

static void apply(struct mesh_uv *u, const struct mesh_effect *e)
{
    uint32_t id = e->id;
    switch (e->kind) {
    case MESH_SEND:
        send_packet(u, &e->to, e->data);
        return;
    case MESH_DIAL:
        if (streams_dial(u->streams, id, &e->to))
            mesh_on_gone(u->mesh, uv_hrtime(), id);
        return;
    case MESH_WRITE:
        streams_write(u->streams, id, e->data);
        return;
    case MESH_HANGUP:
        streams_hangup(u->streams, id);
        return;
    case MESH_RESOLVE:
        names_find(u->names, id, e->text);
        return;
    case MESH_USER:
    case MESH_EVENT:
        u->on_effect(u->arg, e);
        return;
    }
}

static void on_timer(uv_timer_t *timer);

/* libuv's clock is the same in whole milliseconds, cut off. */
static void arm_timer(struct mesh_uv *u)
{
    uint64_t deadline_ns = mesh_deadline(u->mesh);
    if (u->is_due || deadline_ns == u->armed_ns)
        return;
    u->armed_ns = deadline_ns;
    if (deadline_ns == UINT64_MAX) {
        uv_timer_stop(&u->timer);
        return;
    }
    uint64_t due_ms = deadline_ns / NS_PER_MS + (deadline_ns % NS_PER_MS != 0);
    uint64_t now_ms = uv_now(u->loop);
    uv_timer_start(&u->timer, on_timer, due_ms > now_ms ? due_ms - now_ms : 0,
                   0);
}

/* After every input. What effects bring about is input too, and comes here
 * again; the loop that already runs then carries it out. */
static void carry_out(struct mesh_uv *u)
{
    struct mesh_effect e;
    if (u->is_draining)
        return;
    u->is_draining = true;
    while (mesh_next(u->mesh, &e))
        apply(u, &e);
    u->is_draining = false;
    arm_timer(u);
}

/* ---- time ---- */

static void on_check(uv_check_t *check)
{
    struct mesh_uv *u = check->data;
    uv_check_stop(&u->check);
    uv_idle_stop(&u->idle);
    u->is_due = false;
    u->armed_ns = UINT64_MAX;
    mesh_on_timer(u->mesh, uv_hrtime());
    carry_out(u);
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* it is there to keep the loop from waiting */
}

/* When this process was slow, answers lie in the socket's buffer beside a
 * timer that says they did not come. So they are read first. */
static void on_timer(uv_timer_t *timer)
{
    struct mesh_uv *u = timer->data;
    u->is_due = true;
    uv_idle_start(&u->idle, on_idle);
    uv_check_start(&u->check, on_check);
}

/* ---- packets ---- */

static void start_reading(struct mesh_uv *u);

static void on_pause_over(uv_timer_t *timer)
{
    start_reading(timer->data);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct mesh_uv *u = handle->data;
    (void)suggested;
    *buf = uv_buf_init(u->buffer, BUFFER_BYTES);
}

static void on_packet(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf,
                      const struct sockaddr *sa, unsigned flags)
{
    struct mesh_uv *u = udp->data;
    struct sockaddr_storage ss = {0};
    struct addr from;
    (void)flags;
    if (n < 0) {
        u->stats.receive_errors++;
        uv_udp_recv_stop(&u->udp);
        uv_timer_start(&u->pause, on_pause_over, PAUSE_MS, 0);
        return;
    }
    if (!sa)
        return; /* nothing to read, or the end of a batch */
    memcpy(&ss, sa,
           sa->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                     : sizeof(struct sockaddr_in));
    if (endpoint_from_sockaddr(&from, &ss))
        return;
    mesh_on_packet(u->mesh, uv_hrtime(), &from, buf->base, (size_t)n);
    carry_out(u);
}

/* ---- streams ---- */

static void on_connected(void *arg, uint32_t id)
{
    struct mesh_uv *u = arg;
    mesh_on_connected(u->mesh, uv_hrtime(), id);
    carry_out(u);
}

static void on_bytes(void *arg, uint32_t id, const void *data, size_t len)
{
    struct mesh_uv *u = arg;
    mesh_on_bytes(u->mesh, uv_hrtime(), id, data, len);
    carry_out(u);
}

static void on_gone(void *arg, uint32_t id)
{
    struct mesh_uv *u = arg;
    mesh_on_gone(u->mesh, uv_hrtime(), id);
    carry_out(u);
}

static void on_found(void *arg, uint32_t id, const struct addr *addrs, size_t n)
{
    struct mesh_uv *u = arg;
    mesh_on_resolved(u->mesh, uv_hrtime(), id, addrs, n);
    carry_out(u);
}

static void accept_one(struct mesh_uv *u, int fd,
                       const struct sockaddr_storage *ss)
{
    struct addr from;
    uint32_t id = 0;
    if (!endpoint_from_sockaddr(&from, ss))
        id = mesh_on_accept(u->mesh, uv_hrtime(), &from);
    if (id == 0) {
        u->stats.accept_refused++;
        close(fd);
    } else if (streams_add(u->streams, id, fd)) {
        u->stats.accept_errors++;
        mesh_on_gone(u->mesh, uv_hrtime(), id);
    }
    carry_out(u);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct mesh_uv *u = poll->data;
    (void)events;
    for (int i = 0; i < ACCEPTS_MAX && !status; i++) {
        struct sockaddr_storage ss;
        socklen_t len = sizeof(ss);
        int fd = accept4(u->endpoint.tcp, (struct sockaddr *)&ss, &len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            accept_one(u, fd, &ss);
            continue;
        }
        if (errno == EAGAIN)
            return;
        if (errno != EMFILE && errno != ENFILE && errno != ENOBUFS &&
            errno != ENOMEM)
            continue; /* that connection is gone already */
        /* It stays in the backlog and the socket readable: going on would
         * spin. */
        u->stats.accept_errors++;
        status = -errno;
    }
    if (status) {
        uv_poll_stop(&u->listener);
        uv_timer_start(&u->pause, on_pause_over, PAUSE_MS, 0);
    }
}

/* ---- life ---- */

/* One of them may be reading already. */
static void start_reading(struct mesh_uv *u)
{
    int rc = uv_udp_recv_start(&u->udp, on_alloc, on_packet);
    if (rc == UV_EALREADY)
        rc = 0;
    if (!rc)
        rc = uv_poll_start(&u->listener, UV_READABLE, on_acceptable);
    if (rc)
        uv_timer_start(&u->pause, on_pause_over, PAUSE_MS, 0);
}

static struct mesh *open_mesh(const struct mesh_uv *u,
                              const struct mesh_uv_config *c,
                              struct errmsg *msg)
{
    struct mesh_config config = c->mesh;
    uint8_t seed[sizeof(config.seed)];
    if (ml_random(NULL, seed, sizeof(seed))) {
        errmsg_set(msg, "gossip: no random numbers");
        return NULL;
    }
    memcpy(&config.seed, seed, sizeof(seed));
    config.advertise = u->advertised;
    config.now_unix_s = (uint64_t)time(NULL);
    config.random = ml_random;
    config.random_arg = NULL;
    return mesh_open(&config, uv_hrtime(), msg);
}

/* What needs no socket cannot fail. */
static void init_handles(struct mesh_uv *u)
{
    uv_timer_init(u->loop, &u->timer);
    uv_timer_init(u->loop, &u->pause);
    uv_idle_init(u->loop, &u->idle);
    uv_check_init(u->loop, &u->check);
    uv_udp_init_ex(u->loop, &u->udp, UV_UDP_RECVMMSG);
    u->timer.data = u->pause.data = u->idle.data = u->check.data = u->udp.data =
        u->listener.data = u;
    u->handles = 5;
}

static int open_sockets(struct mesh_uv *u)
{
    const int zero = 0;
    int bytes = RECEIVE_BYTES;
    int rc = uv_udp_open(&u->udp, u->endpoint.udp);
    if (rc)
        return rc;
    /* libuv set it, which would let another process bind the port too. */
    (void)setsockopt(u->endpoint.udp, SOL_SOCKET, SO_REUSEADDR, &zero,
                     sizeof(zero));
    u->endpoint.udp = -1; /* libuv's from now on */
    (void)uv_recv_buffer_size((uv_handle_t *)&u->udp, &bytes);
    rc = uv_poll_init(u->loop, &u->listener, u->endpoint.tcp);
    if (rc)
        return rc;
    u->has_listener = true;
    u->handles++;
    return 0;
}

static int open_parts(struct mesh_uv *u, const struct mesh_uv_config *c)
{
    struct streams_config config = {
        .loop = u->loop,
        .linger_ms = c->mesh.timing.stream_timeout_ns / NS_PER_MS,
        .on_connected = on_connected,
        .on_bytes = on_bytes,
        .on_gone = on_gone,
        .arg = u,
    };
    if (!addr_is_any(&u->endpoint.listen))
        config.source = u->endpoint.listen;
    u->streams = streams_open(&config);
    u->names = names_open(u->loop, MESH_PORT, on_found, u);
    u->buffer = malloc(BUFFER_BYTES);
    return u->streams && u->names && u->buffer ? 0 : ERR_NOMEM;
}

struct mesh_uv *mesh_uv_open(const struct mesh_uv_config *c, struct errmsg *msg)
{
    struct mesh_uv *u = calloc(1, sizeof(*u));
    if (!u) {
        errmsg_set(msg, "out of memory");
        return NULL;
    }
    u->loop = c->loop;
    u->on_effect = c->on_effect;
    u->arg = c->arg;
    u->armed_ns = UINT64_MAX;
    if (endpoint_open(&u->endpoint, &c->listen, msg)) {
        free(u);
        return NULL;
    }
    init_handles(u);
    if (endpoint_advertise(&u->endpoint, &c->mesh.advertise, &c->mesh.policy,
                           &u->advertised, msg))
        goto fail;
    u->mesh = open_mesh(u, c, msg);
    if (!u->mesh)
        goto fail;
    int rc = open_parts(u, c) ? UV_ENOMEM : open_sockets(u);
    if (rc) {
        errmsg_set(msg, "gossip: %s", uv_strerror(rc));
        goto fail;
    }
    start_reading(u);
    uv_timer_start(&u->timer, on_timer, 0, 0);
    return u;

fail:
    mesh_uv_close(u);
    return NULL;
}

struct mesh *mesh_uv_mesh(struct mesh_uv *u)
{
    return u->mesh;
}

void mesh_uv_kick(struct mesh_uv *u)
{
    carry_out(u);
}

void mesh_uv_address(const struct mesh_uv *u, struct addr *advertised)
{
    *advertised = u->advertised;
}

void mesh_uv_stats(const struct mesh_uv *u, struct mesh_uv_stats *out)
{
    struct streams_counts counts;
    streams_counts(u->streams, &counts);
    *out = u->stats;
    out->streams_cut = counts.cut;
    out->lingering = counts.lingering;
    out->queued_bytes = counts.queued_bytes;
}

static void on_closed(uv_handle_t *handle)
{
    struct mesh_uv *u = handle->data;
    if (--u->handles > 0)
        return;
    free(u->buffer);
    free(u);
}

void mesh_uv_close(struct mesh_uv *u)
{
    if (!u)
        return;
    assert(!u->is_draining);
    streams_close(u->streams);
    names_close(u->names);
    mesh_close(u->mesh);
    u->mesh = NULL;
    uv_close((uv_handle_t *)&u->timer, on_closed);
    uv_close((uv_handle_t *)&u->pause, on_closed);
    uv_close((uv_handle_t *)&u->idle, on_closed);
    uv_close((uv_handle_t *)&u->check, on_closed);
    uv_close((uv_handle_t *)&u->udp, on_closed);
    if (u->has_listener)
        uv_close((uv_handle_t *)&u->listener, on_closed);
    close(u->endpoint.tcp);
    if (u->endpoint.udp >= 0)
        close(u->endpoint.udp);
}
