#include "prober/cli_http.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "prober/clock.h"
#include "proto/http1.h"

#define REQUEST_MAX 4096
#define READ_SIZE   16384

struct get {
    int fd, abort_fd;
    uint64_t deadline_ns;
    struct errmsg *msg;
};

/* Wait until the socket is ready. Returns 0, ERR_CLOSED, ERR_SYS. */
static int wait_for(const struct get *g, short events)
{
    struct pollfd fds[2] = {{.fd = g->fd, .events = events},
                            {.fd = g->abort_fd, .events = POLLIN}};

    for (;;) {
        uint64_t now_ns = clock_now_ns();
        uint64_t left_ms = now_ns < g->deadline_ns
                               ? (g->deadline_ns - now_ns + 999999) / 1000000
                               : 0;
        int n = poll(fds, 2, left_ms > INT_MAX ? INT_MAX : (int)left_ms);

        if (n > 0 && fds[1].revents)
            return ERR_CLOSED;
        if (n > 0)
            return 0;
        if (n == 0) {
            errno = ETIMEDOUT;
            return ERR_SYS;
        }
        if (errno != EINTR)
            return ERR_SYS;
    }
}

static int connect_one(struct get *g, const struct addrinfo *a)
{
    int error = 0;
    socklen_t len = sizeof error;

    g->fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (g->fd < 0)
        return ERR_SYS;
    if (!connect(g->fd, a->ai_addr, a->ai_addrlen))
        return 0;
    int err = errno == EINPROGRESS ? wait_for(g, POLLOUT) : ERR_SYS;
    if (!err && !getsockopt(g->fd, SOL_SOCKET, SO_ERROR, &error, &len) &&
        error) {
        errno = error;
        err = ERR_SYS;
    }
    if (err) {
        int saved = errno;
        close(g->fd);
        g->fd = -1;
        errno = saved;
    }
    return err;
}

static int connect_any(struct get *g, const struct url *url)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list;
    char port[8];
    int err = ERR_SYS;

    snprintf(port, sizeof port, "%u", (unsigned)url->port);
    int code = getaddrinfo(url->host, port, &hints, &list);
    if (code) {
        errmsg_set(g->msg, "%s: %s", url->host, gai_strerror(code));
        return ERR_SYS;
    }
    for (const struct addrinfo *a = list; a && err == ERR_SYS; a = a->ai_next)
        err = connect_one(g, a);
    if (err)
        errmsg_set(g->msg, "%s port %s: %s", url->host, port, strerror(errno));
    freeaddrinfo(list);
    return err;
}

static int send_all(struct get *g, const uint8_t *data, size_t len)
{
    while (len) {
        ssize_t n = send(g->fd, data, len, MSG_NOSIGNAL);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
            continue;
        }
        int err = errno == EAGAIN  ? wait_for(g, POLLOUT)
                  : errno == EINTR ? 0
                                   : ERR_SYS;
        if (err) {
            errmsg_set(g->msg, "sending the request: %s", strerror(errno));
            return err;
        }
    }
    return 0;
}

/* Feed what arrived and keep the bytes of the body. The parser only counts
 * them; with chunks between them, which bytes it counted is seen by giving
 * it one at a time. */
static void take(struct http1 *h, const uint8_t *data, size_t len,
                 struct wr *body)
{
    size_t at = 0;

    while (at < len && h->state != HTTP1_DONE && h->state != HTTP1_FAILED) {
        bool is_plain = h->state == HTTP1_BODY && !h->is_chunked;
        uint64_t before = h->body_bytes;
        size_t n = http1_feed(h, data + at, is_plain ? len - at : 1);

        if (h->body_bytes > before)
            wr_bytes(body, data + at, (size_t)(h->body_bytes - before));
        at += n;
    }
}

static int receive(struct get *g, struct http1 *h, struct wr *body)
{
    uint8_t data[READ_SIZE];

    while (h->state != HTTP1_DONE && h->state != HTTP1_FAILED) {
        ssize_t n = recv(g->fd, data, sizeof data, 0);
        if (n > 0) {
            take(h, data, (size_t)n, body);
        } else if (n == 0) {
            if (http1_eof(h) == HTTP1_HEAD) {
                errmsg_set(g->msg, "connection closed without an answer");
                return ERR_BAD;
            }
        } else {
            int err = errno == EAGAIN  ? wait_for(g, POLLIN)
                      : errno == EINTR ? 0
                                       : ERR_SYS;
            if (err) {
                errmsg_set(g->msg, "waiting for the answer: %s",
                           strerror(errno));
                return err;
            }
        }
    }
    if (h->state == HTTP1_FAILED) {
        errmsg_set(g->msg, "bad answer: %s", h->error ? h->error : "cut off");
        return h->err == ERR_TOOBIG ? ERR_TOOBIG : ERR_BAD;
    }
    if (wr_err(body)) {
        errmsg_set(g->msg, "answer too large");
        return ERR_TOOBIG;
    }
    return h->status;
}

int cli_http_get(const struct url *url, const char *path, uint64_t timeout_ns,
                 int abort_fd, struct wr *body, struct errmsg *msg)
{
    struct get g = {.fd = -1,
                    .abort_fd = abort_fd,
                    .deadline_ns = clock_now_ns() + timeout_ns,
                    .msg = msg};
    char authority[URL_AUTHORITY_SIZE];
    uint8_t request[REQUEST_MAX];
    struct wr w;

    assert(!url->is_tls);
    struct http1 *h = malloc(sizeof *h);
    if (!h) {
        errmsg_set(msg, "no memory");
        return ERR_SYS;
    }
    url_authority(url, authority);
    wr_init_fixed(&w, request, sizeof request);
    http1_write_request(&w, "GET", path, authority, false, NULL);
    http1_init(h, HTTP1_RESPONSE, HTTP1_HEAD_MAX, body->max);

    int result = wr_err(&w);
    if (result)
        errmsg_set(msg, "the request cannot be written");
    else
        result = connect_any(&g, url);
    if (!result)
        result = send_all(&g, w.data, w.len);
    if (!result)
        result = receive(&g, h, body);
    if (g.fd >= 0)
        close(g.fd);
    free(h);
    return result;
}
