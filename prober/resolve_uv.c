#include "prober/resolve_uv.h"

#include <ares.h>
#include <ares_nameser.h>
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "proto/outcome.h"

#define TRY_TIMEOUT_MS 1000
#define TRIES          2
#define QUERY_LIFE_NS  UINT64_C(6000000000) /* all tries are over by then */
#define SOCKETS_MAX    32   /* one UDP and one TCP socket per server, retries */
#define TRUNCATED      0x02 /* TC, in the third byte of a message */
#define STAMPS         1024 /* queries in flight that can be stamped */
#define SENDS          256  /* datagrams whose TX stamp may still come */

struct lookup {
    struct resolver *resolver;
    struct lookup *next_free;
    resolve_done *done; /* NULL: detached */
    void *arg;
    bool is_last_try;  /* the second family is being asked */
    uint32_t serial;   /* which use of this slot */
    uint32_t unopened; /* resolver.unopened, when it was asked */
    unsigned ip;       /* family asked for, 4 or 6 */
    struct stamp sent, answered;
    uint32_t epoch; /* of the clock map, at both */
    char host[256];
};

struct dns_socket {
    struct psock ps;
    struct resolver *resolver;
    bool is_udp;
    uint32_t sent;       /* datagrams, as the kernel counts them */
    uint16_t ids[SENDS]; /* DNS id of datagram n % SENDS */
};

/* Stamps of one query, found by its DNS id. */
struct query_stamps {
    uint16_t id;
    uint32_t epoch;
    struct stamp sent, answered;
};

struct resolver {
    struct psock_set *set;
    ares_channel channel;
    uv_timer_t timer;
    bool is_closing;
    struct resolver *next; /* of those that retired */
    size_t n_running;
    uint32_t serial;
    uint32_t unopened; /* sockets that this host did not give us */
    struct lookup *lookups, *free_lookups;
    size_t lookups_max, n_lookups_used; /* beyond, no page was touched */
    struct dns_socket sockets[SOCKETS_MAX];
    struct query_stamps stamps[STAMPS];
};

/* ---- stamps ---- */

static struct query_stamps *stamps_of(struct resolver *r, uint16_t id)
{
    return &r->stamps[id % STAMPS];
}

static void note_sent(struct dns_socket *s, const uint8_t *query, size_t len)
{
    struct resolver *r = s->resolver;
    if (!s->is_udp || len < 2)
        return;
    uint16_t id = (uint16_t)(query[0] << 8 | query[1]);
    s->ids[s->sent++ % SENDS] = id;

    struct query_stamps *q = stamps_of(r, id);
    uint64_t now_ns = clock_now_ns();
    if (q->id == id && q->sent.source != STAMP_NONE &&
        q->answered.source == STAMP_NONE && now_ns - q->sent.ns < QUERY_LIFE_NS)
        return; /* sent again: the wait began with the first */
    *q = (struct query_stamps){.id = id, .epoch = r->set->clock.epoch};
    q->sent = (struct stamp){.ns = now_ns, .source = STAMP_USER};
}

static void take_tx_stamps(struct dns_socket *s)
{
    struct resolver *r = s->resolver;
    struct psock_tx tx;
    while (s->ps.fd >= 0 && psock_take_tx(s->ps.fd, &tx)) {
        uint16_t id = s->ids[tx.offset % SENDS];
        struct query_stamps *q = stamps_of(r, id);
        struct stamp at =
            clock_map_stamp(&r->set->clock, tx.real_ns, clock_now_ns());
        if (q->id == id && q->sent.source == STAMP_USER &&
            at.source == STAMP_KERNEL && q->epoch == r->set->clock.epoch)
            q->sent = at;
    }
}

static void note_answer(struct dns_socket *s, const uint8_t *answer, size_t len,
                        uint64_t real_ns)
{
    struct resolver *r = s->resolver;
    if (len < 3)
        return;
    uint16_t id = (uint16_t)(answer[0] << 8 | answer[1]);
    struct query_stamps *q = stamps_of(r, id);
    /* A truncated answer completes nothing: c-ares asks again over TCP, where
     * there are no stamps, and the user clock says so. */
    if (q->id != id || (answer[2] & TRUNCATED))
        return;
    uint64_t now_ns = clock_now_ns();
    q->answered = clock_map_stamp(&r->set->clock, real_ns, now_ns);
    if (q->answered.source == STAMP_NONE || q->epoch != r->set->clock.epoch)
        q->answered = (struct stamp){.ns = now_ns, .source = STAMP_USER};
}

/* ---- c-ares' sockets ---- */

static struct dns_socket *find_socket(struct resolver *r, int fd)
{
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        if (r->sockets[i].ps.fd == fd)
            return &r->sockets[i];
    }
    return NULL;
}

static void arm_timer(struct resolver *r);

static void on_socket(struct psock *ps, uint32_t events, uint64_t now_ns)
{
    struct dns_socket *s = (struct dns_socket *)(void *)ps;
    struct resolver *r = s->resolver;
    int fd = ps->fd;
    (void)now_ns;

    if (events & EPOLLERR)
        take_tx_stamps(s);
    bool readable = events & (EPOLLIN | EPOLLHUP | EPOLLRDHUP);
    bool writable = events & EPOLLOUT;
    if (readable || writable)
        ares_process_fd(r->channel, readable ? fd : ARES_SOCKET_BAD,
                        writable ? fd : ARES_SOCKET_BAD);
    arm_timer(r);
}

/* A family that this host does not have says that there is no such server,
 * anything else nothing about servers. */
static ares_socket_t not_opened(struct resolver *r, int error)
{
    r->unopened += error != EAFNOSUPPORT;
    errno = error;
    return ARES_SOCKET_BAD;
}

static ares_socket_t sock_open(int family, int type, int protocol, void *arg)
{
    struct resolver *r = arg;
    struct dns_socket *s = find_socket(r, -1);
    if (!s)
        return not_opened(r, EMFILE);
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return not_opened(r, errno);
    s->is_udp = type == SOCK_DGRAM;
    s->sent = 0;
    s->ps.on_event = on_socket;
    /* Level-triggered: c-ares does not promise to read until empty. */
    int rc = psock_watch(r->set, &s->ps, fd, 0);
    if (rc) {
        close(fd);
        return not_opened(r, -rc);
    }
    if (s->is_udp)
        (void)psock_stamp_udp(fd);
    return fd;
}

static int sock_close(ares_socket_t fd, void *arg)
{
    struct dns_socket *s = find_socket(arg, fd);
    if (s)
        psock_close(&s->ps);
    return 0;
}

static int sock_connect(ares_socket_t fd, const struct sockaddr *sa,
                        ares_socklen_t len, void *arg)
{
    (void)arg;
    return connect(fd, sa, len);
}

static ares_ssize_t sock_recv(ares_socket_t fd, void *data, size_t size,
                              int flags, struct sockaddr *from,
                              ares_socklen_t *from_len, void *arg)
{
    struct resolver *r = arg;
    struct dns_socket *s = find_socket(r, fd);
    (void)flags;
    if (!s) {
        errno = EBADF;
        return -1;
    }
    if (!s->is_udp)
        return recv(fd, data, size, 0);

    take_tx_stamps(s);
    uint64_t real_ns;
    int n = psock_recv(&s->ps, data, size, &real_ns);
    if (n < 0) {
        errno = -n;
        return -1;
    }
    /* The socket is connected: the kernel only lets its peer through. */
    if (from && from_len)
        (void)getpeername(fd, from, from_len);
    note_answer(s, data, (size_t)n, real_ns);
    return n;
}

static ares_ssize_t sock_send(ares_socket_t fd, const struct iovec *iov,
                              int n_iov, void *arg)
{
    struct resolver *r = arg;
    struct dns_socket *s = find_socket(r, fd);
    struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                       .msg_iovlen = (size_t)n_iov};
    if (!s) {
        errno = EBADF;
        return -1;
    }
    if (n_iov > 0)
        note_sent(s, iov[0].iov_base, iov[0].iov_len);
    ssize_t n = sendmsg(fd, &m, MSG_NOSIGNAL);
    if (n < 0 && s->is_udp)
        s->sent--;
    return n;
}

static const struct ares_socket_functions socket_functions = {
    sock_open, sock_close, sock_connect, sock_recv, sock_send,
};

static void on_socket_state(void *arg, ares_socket_t fd, int readable,
                            int writable)
{
    struct resolver *r = arg;
    struct dns_socket *s = find_socket(r, fd);
    uint32_t events = 0;
    if (readable)
        events |= EPOLLIN;
    if (writable)
        events |= EPOLLOUT;
    if (s && events)
        (void)psock_watch_change(r->set, &s->ps, events);
}

/* ---- timer ---- */

static void on_timer(uv_timer_t *timer)
{
    struct resolver *r = timer->data;
    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_timer(r);
}

static void arm_timer(struct resolver *r)
{
    struct timeval tv;
    if (r->is_closing)
        return;
    struct timeval *left = ares_timeout(r->channel, NULL, &tv);
    if (!left) {
        uv_timer_stop(&r->timer);
        return;
    }
    uint64_t ms =
        (uint64_t)left->tv_sec * 1000 + (uint64_t)(left->tv_usec + 999) / 1000;
    uv_timer_start(&r->timer, on_timer, ms ? ms : 1, 0);
}

/* ---- lookups ---- */

static void on_answer(void *arg, int status, int timeouts,
                      unsigned char *answer, int len);

/* A name's addresses, on the stack while they are handed on: lookups are
 * many, and are to stay small. */
struct answer {
    const char *error; /* static, NULL if there is none */
    size_t n;
    struct addr addresses[RESOLVE_ADDRESSES_MAX];
};

static void end_lookup(struct lookup *l, uint8_t outcome,
                       const struct answer *a)
{
    struct resolver *r = l->resolver;
    resolve_done *done = l->done;
    void *arg = l->arg;
    struct resolve_result result = {
        .outcome = outcome,
        .addresses = a->addresses,
        .n_addresses = a->n,
        .sent = l->sent,
        .answered = l->answered,
        .epoch = l->epoch,
        .error = a->error,
    };

    r->n_running--;
    l->serial = ++r->serial;
    l->next_free = r->free_lookups;
    r->free_lookups = l;
    if (done)
        done(arg, &result);
}

static void ask(struct lookup *l)
{
    ares_query(l->resolver->channel, l->host, ns_c_in,
               l->ip == 4 ? ns_t_a : ns_t_aaaa, on_answer, l);
}

static size_t count_aliases(const struct hostent *h)
{
    size_t n = 0;
    while (h->h_aliases[n])
        n++;
    return n;
}

/* The addresses in the answer; aliases are followed inside it. One more than
 * is allowed is asked for, to see that there are too many. */
static int parse_answer(const struct lookup *l, const unsigned char *answer,
                        int len, struct answer *out)
{
    struct ares_addrttl v4[RESOLVE_ADDRESSES_MAX + 1];
    struct ares_addr6ttl v6[RESOLVE_ADDRESSES_MAX + 1];
    struct hostent *h = NULL;
    int n = RESOLVE_ADDRESSES_MAX + 1;
    int status = l->ip == 4 ? ares_parse_a_reply(answer, len, &h, v4, &n)
                            : ares_parse_aaaa_reply(answer, len, &h, v6, &n);
    size_t n_aliases = h ? count_aliases(h) : 0;
    ares_free_hostent(h);
    if (status != ARES_SUCCESS)
        return status;
    if (n == 0)
        return ARES_ENODATA;
    if (n > RESOLVE_ADDRESSES_MAX || n_aliases > RESOLVE_ALIASES_MAX) {
        out->error = n > RESOLVE_ADDRESSES_MAX ? "more than 16 addresses"
                                               : "more than 8 aliases";
        return ARES_EBADRESP;
    }
    for (int i = 0; i < n; i++) {
        struct addr *a = &out->addresses[i];
        *a = (struct addr){.family = l->ip == 4 ? ADDR_V4 : ADDR_V6};
        if (l->ip == 4)
            memcpy(a->ip, &v4[i].ipaddr, 4);
        else
            memcpy(a->ip, &v6[i].ip6addr, 16);
    }
    out->n = (size_t)n;
    return ARES_SUCCESS;
}

static uint8_t outcome_of(const struct lookup *l, int status)
{
    switch (status) {
    case ARES_SUCCESS:
        return OUTCOME_OK;
    case ARES_ENOTFOUND:
        return OUTCOME_DNS_NXDOMAIN;
    case ARES_ESERVFAIL:
        return OUTCOME_DNS_SERVFAIL;
    case ARES_ETIMEOUT:
        return OUTCOME_DNS_TIMEOUT;
    case ARES_ENOMEM:
        return OUTCOME_LOCAL_RESOURCE;
    case ARES_ECONNREFUSED: /* no server was asked, it may be for our sake */
        return l->unopened != l->resolver->unopened ? OUTCOME_LOCAL_RESOURCE
                                                    : OUTCOME_DNS_ERROR;
    default:
        return OUTCOME_DNS_ERROR;
    }
}

static void note_stamps(struct lookup *l, const unsigned char *answer)
{
    uint16_t id = (uint16_t)(answer[0] << 8 | answer[1]);
    struct query_stamps *q = stamps_of(l->resolver, id);
    if (q->id != id || q->answered.source == STAMP_NONE)
        return;
    if (l->sent.source == STAMP_NONE) {
        l->sent = q->sent;
        l->epoch = q->epoch;
    }
    l->answered = q->answered;
    q->answered = q->sent = (struct stamp){0};
}

static void on_answer(void *arg, int status, int timeouts,
                      unsigned char *answer, int len)
{
    struct lookup *l = arg;
    struct answer found = {0};
    (void)timeouts;

    if (answer && len >= 2)
        note_stamps(l, answer);
    if (status == ARES_SUCCESS)
        status = parse_answer(l, answer, len, &found);
    if (status == ARES_ENODATA && !l->is_last_try && l->done &&
        !l->resolver->is_closing) {
        l->is_last_try = true;
        l->ip = l->ip == 4 ? 6 : 4;
        ask(l);
        return;
    }
    if (status != ARES_SUCCESS && !found.error)
        found.error = ares_strerror(status);
    end_lookup(l, outcome_of(l, status), &found);
}

struct lookup *resolver_start(struct resolver *r, const char *host,
                              unsigned ip_first, resolve_done *done, void *arg)
{
    struct lookup *l = r->free_lookups;
    if (l)
        r->free_lookups = l->next_free;
    else if (r->n_lookups_used < r->lookups_max)
        l = &r->lookups[r->n_lookups_used++];
    else
        return NULL;
    *l = (struct lookup){.resolver = r,
                         .done = done,
                         .arg = arg,
                         .ip = ip_first,
                         .serial = ++r->serial,
                         .unopened = r->unopened};
    uint32_t serial = l->serial;
    /* The final dot makes it absolute for every version of c-ares. */
    int n = snprintf(l->host, sizeof(l->host), "%s.", host);
    assert(n > 0 && (size_t)n < sizeof(l->host));
    (void)n;
    r->n_running++;
    ask(l);
    arm_timer(r);
    return l->serial == serial ? l : NULL;
}

void resolver_detach(struct lookup *l)
{
    l->done = NULL;
}

/* ---- life ---- */

static int set_servers(struct resolver *r, const struct addr *servers, size_t n)
{
    char list[8 * ADDR_TEXT_SIZE] = "";
    size_t len = 0;
    for (size_t i = 0; i < n && i < 8; i++) {
        char text[ADDR_TEXT_SIZE];
        struct addr a = servers[i];
        if (a.port == 0)
            a.port = 53;
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
                                i ? "," : "", addr_format(&a, text));
    }
    return n ? ares_set_servers_ports_csv(r->channel, list) : ARES_SUCCESS;
}

static int open_channel(struct resolver *r)
{
    struct ares_options o = {
        .flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOCHECKRESP |
                 ARES_FLAG_NOALIASES | ARES_FLAG_STAYOPEN,
        .timeout = TRY_TIMEOUT_MS,
        .tries = TRIES,
        .sock_state_cb = on_socket_state,
        .sock_state_cb_data = r,
    };
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
               ARES_OPT_SOCK_STATE_CB;
#ifdef ARES_OPT_QUERY_CACHE
    /* A cached answer would be reported as a resolver's round trip. */
    o.qcache_max_ttl = 0;
    mask |= ARES_OPT_QUERY_CACHE;
#endif
    int status = ares_init_options(&r->channel, &o, mask);
    if (status == ARES_SUCCESS)
        ares_set_socket_functions(r->channel, &socket_functions, r);
    return status;
}

/* Without ares_library_init(): it counts its callers, which may be two threads
 * here, and does nothing else on this system. */
struct resolver *resolver_make(const struct addr *servers, size_t n_servers,
                               size_t lookups_max, struct errmsg *msg)
{
    struct resolver *r = calloc(1, sizeof(*r));
    int status = ARES_ENOMEM;
    if (!r)
        goto fail;
    r->lookups_max = lookups_max;
    for (size_t i = 0; i < SOCKETS_MAX; i++) {
        r->sockets[i].ps.fd = -1;
        r->sockets[i].resolver = r;
    }
    r->lookups = calloc(lookups_max, sizeof(*r->lookups));
    if (!r->lookups)
        goto fail;
    status = open_channel(r);
    if (status != ARES_SUCCESS)
        goto fail;
    status = set_servers(r, servers, n_servers);
    if (status == ARES_SUCCESS)
        return r;
    ares_destroy(r->channel);
fail:
    errmsg_set(msg, "resolver: %s", ares_strerror(status));
    if (r)
        free(r->lookups);
    free(r);
    return NULL;
}

void resolver_begin(struct resolver *r, struct psock_set *set, uv_loop_t *loop)
{
    r->set = set;
    uv_timer_init(loop, &r->timer);
    r->timer.data = r;
}

void resolver_drop(struct resolver *r)
{
    if (!r)
        return;
    ares_destroy(r->channel);
    free(r->lookups);
    free(r);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct resolver *r = handle->data;
    free(r->lookups);
    free(r);
}

void resolver_close(struct resolver *r)
{
    if (!r)
        return;
    r->is_closing = true;
    ares_destroy(r->channel);
    uv_close((uv_handle_t *)&r->timer, on_timer_closed);
}

void resolver_retire(struct resolver *r, struct resolver **list)
{
    r->next = *list;
    *list = r;
    resolvers_sweep(list, false);
}

void resolvers_sweep(struct resolver **list, bool in_any_case)
{
    for (struct resolver **at = list; *at;) {
        struct resolver *r = *at;
        if (r->n_running > 0 && !in_any_case) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        resolver_close(r);
    }
}
