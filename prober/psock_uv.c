#include "prober/psock_uv.h"

#include <assert.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Events taken per turn: bounds how long one turn lasts. What is left makes
 * the level-triggered uv_poll fire again. */
#define EVENTS_PER_TURN 64

#define STREAM_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

static const int stamp_flags =
    SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE |
    SOF_TIMESTAMPING_OPT_TSONLY | SOF_TIMESTAMPING_OPT_ID;

int psock_set_poll(struct psock_set *set)
{
    struct epoll_event batch[EVENTS_PER_TURN];
    int n = epoll_wait(set->epoll_fd, batch, EVENTS_PER_TURN, 0);
    uint64_t now_ns = clock_map_update(&set->clock);
    for (int i = 0; i < n; i++) {
        struct psock *ps = batch[i].data.ptr;
        if (ps->fd >= 0)
            ps->on_event(ps, batch[i].events, now_ns);
    }
    return n;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct psock_set *set = poll->data;
    psock_set_poll(set);
    if (set->on_turn)
        set->on_turn(set->arg, clock_now_ns());
}

int psock_set_open(struct psock_set *set, uv_loop_t *loop, struct errmsg *msg)
{
    *set = (struct psock_set){.epoll_fd = -1, .keeper_fd = -1};
    clock_map_init(&set->clock);

    set->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (set->epoll_fd < 0)
        goto fail;

    /* Without a stamping socket on the host the first connections get no
     * receive stamp: the kernel switches it on from a work queue. Failing
     * is not fatal; stamps are then missing now and then. */
    set->keeper_fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (set->keeper_fd >= 0)
        (void)setsockopt(set->keeper_fd, SOL_SOCKET, SO_TIMESTAMPING,
                         &stamp_flags, sizeof(stamp_flags));

    int rc = uv_poll_init(loop, &set->poll, set->epoll_fd);
    if (rc) {
        errno = -rc;
        goto fail;
    }
    set->poll.data = set;
    rc = uv_poll_start(&set->poll, UV_READABLE, on_poll);
    assert(rc == 0);
    return 0;

fail:
    errmsg_set(msg, "epoll: %s", strerror(errno));
    if (set->keeper_fd >= 0)
        close(set->keeper_fd);
    if (set->epoll_fd >= 0)
        close(set->epoll_fd);
    return ERR_SYS;
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct psock_set *set = handle->data;
    close(set->epoll_fd);
    if (set->keeper_fd >= 0)
        close(set->keeper_fd);
    set->epoll_fd = set->keeper_fd = -1;
    if (set->on_closed)
        set->on_closed(set->arg);
}

void psock_set_close(struct psock_set *set)
{
    uv_close((uv_handle_t *)&set->poll, on_poll_closed);
}

int psock_watch(struct psock_set *set, struct psock *ps, int fd,
                uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = ps};
    if (epoll_ctl(set->epoll_fd, EPOLL_CTL_ADD, fd, &e))
        return -errno;
    ps->fd = fd;
    return 0;
}

int psock_watch_change(struct psock_set *set, struct psock *ps, uint32_t events)
{
    struct epoll_event e = {.events = events, .data.ptr = ps};
    return epoll_ctl(set->epoll_fd, EPOLL_CTL_MOD, ps->fd, &e) ? -errno : 0;
}

void psock_again(struct psock_set *set, struct psock *ps)
{
    (void)psock_watch_change(set, ps, STREAM_EVENTS);
}

int psock_adopt(struct psock_set *set, struct psock *ps, int fd)
{
    return psock_watch(set, ps, fd, STREAM_EVENTS);
}

static int open_tcp(const struct addr *a)
{
    int family = a->family == ADDR_V6 ? AF_INET6 : AF_INET;
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

int psock_connect(struct psock_set *set, struct psock *ps,
                  const struct addr *peer)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(peer, &ss);
    ps->fd = -1;
    int fd = open_tcp(peer);
    if (fd < 0)
        return -errno;

    /* The descriptor joins the set after connect(): a socket that is not
     * connecting yet reports a hang-up. Edges are not lost, epoll_ctl reports
     * what is already true. */
    int rc = 0;
    if (connect(fd, (struct sockaddr *)&ss, len) && errno != EINPROGRESS)
        rc = -errno;
    else
        rc = psock_adopt(set, ps, fd);
    if (rc)
        close(fd);
    return rc;
}

int psock_listen(struct psock_set *set, struct psock *ps,
                 const struct addr *local, int backlog)
{
    struct sockaddr_storage ss;
    struct addr v4;
    int one = 1;
    ps->fd = -1;
    int fd = open_tcp(local);
    if (fd < 0 && errno == EAFNOSUPPORT && addr_any_v4(local, &v4)) {
        local = &v4;
        fd = open_tcp(local);
    }
    socklen_t len = addr_to_sockaddr(local, &ss);
    if (fd < 0)
        return -errno;

    int rc = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (local->family == ADDR_V6) {
        int off = 0; /* "[::]" serves IPv4 too */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    if (bind(fd, (struct sockaddr *)&ss, len) || listen(fd, backlog))
        rc = -errno;
    else
        rc = psock_watch(set, ps, fd, EPOLLIN);
    if (rc)
        close(fd);
    return rc;
}

void psock_close(struct psock *ps)
{
    if (ps->fd < 0)
        return;
    close(ps->fd); /* leaves the epoll set by itself: never duplicated */
    ps->fd = -1;
}

int psock_error(struct psock *ps)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(ps->fd, SOL_SOCKET, SO_ERROR, &error, &len))
        return -errno;
    return -error;
}

int psock_stamp_tcp(struct psock *ps)
{
    if (setsockopt(ps->fd, SOL_SOCKET, SO_TIMESTAMPING, &stamp_flags,
                   sizeof(stamp_flags)))
        return -errno;
    return 0;
}

int psock_stamp_udp(int fd)
{
    int flags = stamp_flags | SOF_TIMESTAMPING_TX_SOFTWARE;
    if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof(flags)))
        return -errno;
    return 0;
}

int psock_send(struct psock *ps, const void *data, size_t len, bool is_timed)
{
    ssize_t n;
    if (is_timed) {
        union {
            char bytes[CMSG_SPACE(sizeof(uint32_t))];
            struct cmsghdr align;
        } control = {{0}};
        struct iovec iov = {(void *)(uintptr_t)data, len};
        struct msghdr m = {.msg_iov = &iov,
                           .msg_iovlen = 1,
                           .msg_control = &control,
                           .msg_controllen = sizeof(control)};
        struct cmsghdr *c = CMSG_FIRSTHDR(&m);
        uint32_t flags = SOF_TIMESTAMPING_TX_SOFTWARE;
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SO_TIMESTAMPING;
        c->cmsg_len = CMSG_LEN(sizeof(flags));
        memcpy(CMSG_DATA(c), &flags, sizeof(flags));
        n = sendmsg(ps->fd, &m, MSG_NOSIGNAL);
    } else {
        n = send(ps->fd, data, len, MSG_NOSIGNAL);
    }
    return n < 0 ? -errno : (int)n;
}

static uint64_t timespec_ns(const void *data)
{
    struct timespec t;
    memcpy(&t, data, sizeof(t));
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

int psock_recv(struct psock *ps, void *data, size_t size, uint64_t *real_ns)
{
    union {
        char bytes[128];
        struct cmsghdr align;
    } control;
    struct iovec iov = {data, size};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = &control,
                       .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(ps->fd, &m, 0);
    *real_ns = 0;
    if (n < 0)
        return -errno;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPING)
            *real_ns = timespec_ns(CMSG_DATA(c));
    }
    return (int)n;
}

bool psock_take_tx(int fd, struct psock_tx *tx)
{
    union {
        char bytes[256];
        struct cmsghdr align;
    } control;
    for (;;) {
        struct msghdr m = {.msg_control = &control,
                           .msg_controllen = sizeof(control)};
        if (recvmsg(fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
            return false;

        bool is_stamp = false;
        *tx = (struct psock_tx){0};
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
            if (c->cmsg_level == SOL_SOCKET &&
                c->cmsg_type == SCM_TIMESTAMPING) {
                tx->real_ns = timespec_ns(CMSG_DATA(c));
            } else if (c->cmsg_level == SOL_IP || c->cmsg_level == SOL_IPV6) {
                struct sock_extended_err e;
                memcpy(&e, CMSG_DATA(c), sizeof(e));
                is_stamp = e.ee_origin == SO_EE_ORIGIN_TIMESTAMPING;
                tx->offset = e.ee_data;
            }
        }
        if (is_stamp && tx->real_ns)
            return true;
        /* Something else waited there (an ICMP error): take the next one. */
    }
}

void psock_local(struct psock *ps, struct addr *local)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    *local = (struct addr){0};
    if (!getsockname(ps->fd, (struct sockaddr *)&ss, &len))
        (void)addr_from_sockaddr(local, &ss);
}

int psock_peer(struct psock *ps, struct addr *peer)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    if (getpeername(ps->fd, (struct sockaddr *)&ss, &len))
        return -errno;
    return addr_from_sockaddr(peer, &ss) ? -EAFNOSUPPORT : 0;
}

void psock_nodelay(struct psock *ps)
{
    int one = 1;
    (void)setsockopt(ps->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}
