#include "prober/cli_conn.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "prober/clock.h"
#include "proto/base/due.h"

#define READ_SIZE    16384
#define NS_PER_MS    UINT64_C(1000000)
#define NS_PER_S     UINT64_C(1000000000)
#define FULL_WAIT_MS 50       /* until a full backlog is looked at again */
#define TRY_NS       NS_PER_S /* of an address, while there is another one */

struct cli_conn {
    int fd, abort_fd;
    struct tls *tls; /* NULL: plain text */
    uint8_t cipher[READ_SIZE];
};

/* Wait until `fd` (or -1: nothing) is ready. Returns 0, ERR_CLOSED, ERR_BUSY,
 * ERR_SYS. */
static int wait_for(const struct cli_conn *c, int fd, short events,
                    uint64_t until_ns)
{
    struct pollfd fds[2] = {{.fd = fd, .events = events},
                            {.fd = c->abort_fd, .events = POLLIN}};

    for (;;) {
        uint64_t left_ms = due_ms(until_ns, clock_now_ns());
        int n = poll(fds, 2, left_ms > INT_MAX ? INT_MAX : (int)left_ms);

        if (n > 0 && fds[1].revents)
            return ERR_CLOSED;
        if (n > 0)
            return 0;
        if (n == 0) {
            errno = ETIMEDOUT;
            return ERR_BUSY;
        }
        if (errno != EINTR)
            return ERR_SYS;
    }
}

/* ---- connecting ---- */

static void drop_socket(struct cli_conn *c)
{
    int saved = errno;

    close(c->fd);
    c->fd = -1;
    errno = saved;
}

/* One try. Returns 0, ERR_CLOSED, ERR_BUSY, ERR_SYS. */
static int connect_now(struct cli_conn *c, const struct sockaddr *address,
                       socklen_t len, uint64_t until_ns)
{
    int error = 0;
    socklen_t error_len = sizeof error;

    if (!connect(c->fd, address, len))
        return 0;
    if (errno != EINPROGRESS && errno != EINTR)
        return ERR_SYS;
    int err = wait_for(c, c->fd, POLLOUT, until_ns);
    if (!err && !getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &error_len) &&
        error) {
        errno = error;
        err = ERR_SYS;
    }
    return err;
}

static int connect_socket(struct cli_conn *c, int family,
                          const struct sockaddr *address, socklen_t len,
                          uint64_t until_ns)
{
    int err;

    c->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return ERR_SYS;
    for (;;) {
        err = connect_now(c, address, len, until_ns);
        /* The full backlog of a unix socket; there is nothing to poll. */
        uint64_t again_ns = clock_now_ns() + FULL_WAIT_MS * NS_PER_MS;
        if (err != ERR_SYS || errno != EAGAIN || again_ns > until_ns)
            break;
        if (wait_for(c, -1, 0, again_ns) == ERR_CLOSED) {
            err = ERR_CLOSED;
            break;
        }
    }
    if (err)
        drop_socket(c);
    return err;
}

static int connect_unix(struct cli_conn *c, const char *path, uint64_t until_ns,
                        struct errmsg *msg)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = strlen(path);

    if (len >= sizeof address.sun_path) {
        errmsg_set(msg, "the path of the socket is too long");
        return ERR_BAD;
    }
    memcpy(address.sun_path, path, len + 1);
    int err = connect_socket(c, AF_UNIX, (const struct sockaddr *)&address,
                             sizeof address, until_ns);
    if (err)
        errmsg_set(msg, "%s: %s", path, strerror(errno));
    return err == ERR_BUSY ? ERR_SYS : err;
}

/* One after the other. One that swallows everything, as IPv6 does where it is
 * set up by halves, is not to use up the time of the next. */
static int connect_any(struct cli_conn *c, const struct addrinfo *list,
                       uint64_t until_ns)
{
    int err = ERR_SYS;

    for (const struct addrinfo *a = list; a; a = a->ai_next) {
        uint64_t try_ns = clock_now_ns() + TRY_NS;
        if (!a->ai_next || try_ns > until_ns)
            try_ns = until_ns;
        err =
            connect_socket(c, a->ai_family, a->ai_addr, a->ai_addrlen, try_ns);
        if (err != ERR_SYS && err != ERR_BUSY)
            break;
    }
    return err;
}

static int connect_url(struct cli_conn *c, const struct url *url,
                       uint64_t until_ns, struct errmsg *msg)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list;
    char port[8];

    snprintf(port, sizeof port, "%u", (unsigned)url->port);
    int code = getaddrinfo(url->host, port, &hints, &list);
    if (code) {
        errmsg_set(msg, "%s: %s", url->host, gai_strerror(code));
        return ERR_SYS;
    }
    int err = connect_any(c, list, until_ns);
    if (err)
        errmsg_set(msg, "%s port %s: %s", url->host, port, strerror(errno));
    freeaddrinfo(list);
    return err == ERR_BUSY ? ERR_SYS : err;
}

/* ---- bytes ---- */

static int send_all(struct cli_conn *c, const uint8_t *data, size_t len,
                    uint64_t until_ns, struct errmsg *msg)
{
    while (len) {
        ssize_t n = send(c->fd, data, len, MSG_NOSIGNAL);
        if (n > 0) {
            data += n;
            len -= (size_t)n;
            continue;
        }
        int err = errno == EAGAIN  ? wait_for(c, c->fd, POLLOUT, until_ns)
                  : errno == EINTR ? 0
                                   : ERR_SYS;
        if (err) {
            errmsg_set(msg, "sending the request: %s", strerror(errno));
            return err;
        }
    }
    return 0;
}

static int receive(struct cli_conn *c, void *data, size_t size,
                   uint64_t until_ns, struct errmsg *msg)
{
    for (;;) {
        ssize_t n = recv(c->fd, data, size, 0);
        if (n >= 0)
            return (int)n;
        int err = errno == EAGAIN  ? wait_for(c, c->fd, POLLIN, until_ns)
                  : errno == EINTR ? 0
                                   : ERR_SYS;
        if (err) {
            errmsg_set(msg, "waiting for the answer: %s", strerror(errno));
            return err;
        }
    }
}

/* ---- TLS ---- */

static int flush_tls(struct cli_conn *c, uint64_t until_ns, struct errmsg *msg)
{
    size_t len;
    const uint8_t *data = tls_out(c->tls, &len);
    int err = len ? send_all(c, data, len, until_ns, msg) : 0;

    if (!err)
        tls_sent(c->tls, len);
    return err;
}

/* More ciphertext. Returns 1, 0 at the end, or an error. */
static int feed_tls(struct cli_conn *c, uint64_t until_ns, struct errmsg *msg)
{
    int n = receive(c, c->cipher, sizeof c->cipher, until_ns, msg);

    if (n <= 0)
        return n;
    tls_feed(c->tls, c->cipher, (size_t)n);
    return 1;
}

static int shake_hands(struct cli_conn *c, const struct cli_conn_to *to,
                       uint64_t until_ns, struct errmsg *msg)
{
    struct tls_client_params params = {.host = to->url->host,
                                       .alpn = "http/1.1",
                                       .now_unix_s =
                                           clock_now_unix_ns() / NS_PER_S};

    c->tls = tls_connect(to->tls, &params);
    if (!c->tls) {
        errmsg_set(msg, "no memory");
        return ERR_NOMEM;
    }
    for (;;) {
        enum tls_state state = tls_handshake(c->tls);
        int err = flush_tls(c, until_ns, msg);
        if (state == TLS_OPEN)
            return err;
        if (state == TLS_FAILED || state == TLS_CLOSED) {
            errmsg_set(msg, "%s: TLS: %s", to->url->host, tls_error(c->tls));
            return ERR_AUTH;
        }
        int n = err ? err : feed_tls(c, until_ns, msg);
        if (n == 0)
            errmsg_set(msg, "%s: closed while TLS was being set up",
                       to->url->host);
        if (n <= 0)
            return n == 0 ? ERR_BAD : n == ERR_BUSY ? ERR_SYS : n;
    }
}

static int read_tls(struct cli_conn *c, void *data, size_t size,
                    uint64_t until_ns, struct errmsg *msg)
{
    for (;;) {
        int n = tls_read(c->tls, data, size);
        if (n > 0)
            return n;
        if (n == ERR_CLOSED)
            return 0;
        if (n < 0) {
            errmsg_set(msg, "TLS: %s", tls_error(c->tls));
            return ERR_BAD;
        }
        int err = flush_tls(c, until_ns, msg);
        n = err ? err : feed_tls(c, until_ns, msg);
        if (n == 0)
            errmsg_set(msg, "the connection was cut off");
        if (n <= 0)
            return n == 0 ? ERR_BAD : n;
    }
}

/* ---- public ---- */

int cli_conn_open(const struct cli_conn_to *to, uint64_t until_ns,
                  struct cli_conn **out, struct errmsg *msg)
{
    struct cli_conn *c = calloc(1, sizeof *c);
    int err;

    if (!c) {
        errmsg_set(msg, "no memory");
        return ERR_NOMEM;
    }
    c->fd = -1;
    c->abort_fd = to->abort_fd;
    if (to->path)
        err = connect_unix(c, to->path, until_ns, msg);
    else
        err = connect_url(c, to->url, until_ns, msg);
    if (!err && !to->path && to->tls)
        err = shake_hands(c, to, until_ns, msg);
    if (err)
        cli_conn_close(c);
    else
        *out = c;
    return err;
}

void cli_conn_close(struct cli_conn *c)
{
    if (!c)
        return;
    if (c->tls) {
        tls_shutdown(c->tls);
        /* Polite, if there is room for it at once. */
        flush_tls(c, 0, NULL);
        tls_close(c->tls);
    }
    if (c->fd >= 0)
        close(c->fd);
    free(c);
}

void cli_conn_abort_on(struct cli_conn *c, int abort_fd)
{
    c->abort_fd = abort_fd;
}

bool cli_conn_is_private(const struct cli_conn *c)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_storage room;
    } peer = {0};
    socklen_t len = sizeof peer;

    if (c->tls)
        return true;
    if (getpeername(c->fd, &peer.any, &len))
        return false;
    if (peer.any.sa_family == AF_INET)
        return ntohl(peer.v4.sin_addr.s_addr) >> 24 == 127;
    if (peer.any.sa_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&peer.v6.sin6_addr);
    return peer.any.sa_family == AF_UNIX;
}

int cli_conn_write(struct cli_conn *c, const void *data, size_t len,
                   uint64_t until_ns, struct errmsg *msg)
{
    if (!c->tls)
        return send_all(c, data, len, until_ns, msg);
    int err = tls_write(c->tls, data, len);
    if (err) {
        errmsg_set(msg, "TLS: %s", tls_error(c->tls));
        return err;
    }
    return flush_tls(c, until_ns, msg);
}

int cli_conn_read(struct cli_conn *c, void *data, size_t size,
                  uint64_t until_ns, struct errmsg *msg)
{
    return c->tls ? read_tls(c, data, size, until_ns, msg)
                  : receive(c, data, size, until_ns, msg);
}
