#include "mesh/endpoint_uv.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <uv.h>

#define BACKLOG   64
#define TRIES_MAX 16 /* for a port that is free for UDP and TCP */

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

/* Returns a bound socket, or -1 and errno. */
static int bind_socket(const struct addr *a, int type)
{
    const int one = 1;
    const int zero = 0;
    struct sockaddr_storage ss;
    struct addr v4;
    socklen_t len = addr_to_sockaddr(a, &ss);
    int fd = socket(ss.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    /* The default is a matter of the host's configuration. */
    if (addr_any_v4(a, &v4) &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)))
        goto fail;
    /* Not for UDP: there it would let another process take the packets. */
    if (type == SOCK_STREAM &&
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)))
        goto fail;
    if (bind(fd, (struct sockaddr *)&ss, len))
        goto fail;
    return fd;

fail:;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int bound_address(int fd, struct addr *a)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    if (getsockname(fd, (struct sockaddr *)&ss, &len))
        return ERR_SYS;
    return addr_from_sockaddr(a, &ss) ? ERR_SYS : 0;
}

/* One try. Returns 0 or ERR_SYS with errno; *what is the socket at fault. */
static int bind_both(struct endpoint *e, const struct addr *listen_addr,
                     const char **what)
{
    *what = "UDP";
    e->tcp = -1;
    e->udp = bind_socket(listen_addr, SOCK_DGRAM);
    if (e->udp < 0 || bound_address(e->udp, &e->listen))
        goto fail;
    *what = "TCP";
    e->tcp = bind_socket(&e->listen, SOCK_STREAM);
    if (e->tcp < 0 || listen(e->tcp, BACKLOG))
        goto fail;
    return 0;

fail:;
    int saved = errno;
    if (e->udp >= 0)
        close(e->udp);
    if (e->tcp >= 0)
        close(e->tcp);
    errno = saved;
    return ERR_SYS;
}

int endpoint_open(struct endpoint *e, const struct addr *listen_addr,
                  struct errmsg *msg)
{
    const char *what;
    char text[ADDR_TEXT_SIZE];
    struct addr wanted = *listen_addr;
    struct addr v4;
    int tries = wanted.port ? 1 : TRIES_MAX;
    int err = bind_both(e, &wanted, &what);
    /* Compiled out of the kernel, or turned off at boot. */
    if (err && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL) &&
        addr_any_v4(&wanted, &v4)) {
        wanted = v4;
        err = bind_both(e, &wanted, &what);
    }
    while (err && errno == EADDRINUSE && --tries > 0)
        err = bind_both(e, &wanted, &what);
    if (err) {
        errmsg_set(msg, "gossip on %s (%s): %s", addr_format(&wanted, text),
                   what, strerror(errno));
        return ERR_SYS;
    }
    e->is_v6 = wanted.family == ADDR_V6;
    e->is_dual = addr_any_v4(&wanted, &v4);
    return 0;
}

/* ---- which address to tell ---- */

/* RFC 1918, RFC 6598 (where clouds put pods) and RFC 4193. */
static bool is_private(const struct addr *a)
{
    const uint8_t *ip = a->ip;
    if (a->family == ADDR_V6)
        return (ip[0] & 0xfe) == 0xfc;
    return ip[0] == 10 || (ip[0] == 172 && (ip[1] & 0xf0) == 16) ||
           (ip[0] == 192 && ip[1] == 168) ||
           (ip[0] == 100 && (ip[1] & 0xc0) == 64);
}

/* The larger the better. */
static unsigned rank(const struct addr *a)
{
    if (addr_is_loopback(a))
        return 1;
    return 2u + (is_private(a) ? 2u : 0u) + (a->family == ADDR_V4 ? 1u : 0u);
}

static bool is_reachable(const struct endpoint *e, const struct addr *a)
{
    return a->family == (e->is_v6 ? ADDR_V6 : ADDR_V4) || e->is_dual;
}

static int find_own(const struct endpoint *e, const struct addr_policy *policy,
                    struct addr *out)
{
    uv_interface_address_t *list;
    int n;
    unsigned best = 0;
    if (uv_interface_addresses(&list, &n))
        return ERR_SYS;
    for (int i = 0; i < n; i++) {
        struct sockaddr_storage ss = {0};
        struct addr a;
        memcpy(&ss, &list[i].address, sizeof(list[i].address));
        if (addr_from_sockaddr(&a, &ss))
            continue;
        a.port = e->listen.port;
        if (is_reachable(e, &a) && rank(&a) > best &&
            addr_policy_check(policy, &a) == ADDR_ALLOWED) {
            best = rank(&a);
            *out = a;
        }
    }
    uv_free_interface_addresses(list, n);
    return best ? 0 : ERR_BAD;
}

int endpoint_advertise(const struct endpoint *e, const struct addr *wanted,
                       const struct addr_policy *policy, struct addr *out,
                       struct errmsg *msg)
{
    struct addr a = wanted->family ? *wanted : e->listen;
    if (a.port == 0)
        a.port = e->listen.port;
    if (addr_is_any(&a) && find_own(e, policy, &a)) {
        errmsg_set(msg, "gossip: none of this host's addresses can be told to "
                        "others: set gossip.advertise");
        return ERR_BAD;
    }
    *out = a;
    return 0;
}

/* ---- forms of addresses ---- */

int endpoint_from_sockaddr(struct addr *a, const struct sockaddr_storage *ss)
{
    struct addr v;
    if (addr_from_sockaddr(&v, ss))
        return ERR_BAD;
    if (v.family == ADDR_V6 && !memcmp(v.ip, mapped, sizeof(mapped))) {
        struct addr v4 = {.family = ADDR_V4, .port = v.port};
        memcpy(v4.ip, v.ip + sizeof(mapped), 4);
        v = v4;
    }
    *a = v;
    return 0;
}

int endpoint_to_sockaddr(const struct endpoint *e, const struct addr *a,
                         struct sockaddr_storage *ss)
{
    struct addr v = *a;
    if (a->family == ADDR_NONE || a->port == 0 || !is_reachable(e, a))
        return ERR_BAD;
    if (e->is_v6 && a->family == ADDR_V4) {
        v.family = ADDR_V6;
        memcpy(v.ip, mapped, sizeof(mapped));
        memcpy(v.ip + sizeof(mapped), a->ip, 4);
    }
    addr_to_sockaddr(&v, ss);
    return 0;
}
