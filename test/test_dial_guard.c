/* Attempts on loopback whose names a scripted DNS server resolves: whoever may
 * not be dialled sees no connection, whatever the answer looks like. The peer
 * counts what arrives; getpeername() is wrapped, to play a kernel that connects
 * elsewhere. */
#include "prober/probe_loop_uv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "prober/resolve_uv.h"
#include "prober/target.h"
#include "test/check.h"

#define MS UINT64_C(1000000)

enum { A = 1, CNAME = 5, AAAA = 28 };

/* What the server says of a name: so many aliases, then so many addresses;
 * number `odd`, counted from 1, is the one that is denied. */
struct script {
    unsigned n_aliases, n_v4, n_v6, odd;
    bool is_first_good; /* the first answer has no odd one yet */
};

static struct world {
    uv_loop_t loop;
    struct probe_loop *probes;
    uv_poll_t dns_poll;
    int dns_fd, listen_fd;
    struct addr dns;
    uint16_t port;
    struct script script;
    unsigned n_queries; /* for addresses of the family that has some */
    unsigned n_accepted, n_ended;
    size_t n_bytes; /* that the peer has got */
    struct sample sample;
} w;

static bool is_peer_odd; /* of TCP */
static int peer_errno;

int __real_getpeername(int fd, struct sockaddr *sa, socklen_t *len);
int __wrap_getpeername(int fd, struct sockaddr *sa, socklen_t *len);
int __wrap_getpeername(int fd, struct sockaddr *sa, socklen_t *len)
{
    int type = 0;
    socklen_t size = sizeof(type);
    int rc = __real_getpeername(fd, sa, len);
    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size);
    if (peer_errno && type == SOCK_STREAM) {
        errno = peer_errno;
        return -1;
    }
    if (rc == 0 && is_peer_odd && type == SOCK_STREAM)
        ((struct sockaddr_in *)(void *)sa)->sin_addr.s_addr ^= htonl(1);
    return rc;
}

/* ---- the DNS server ---- */

static void put16(uint8_t **at, unsigned v)
{
    *(*at)++ = (uint8_t)(v >> 8);
    *(*at)++ = (uint8_t)v;
}

static void put_head(uint8_t **at, unsigned name, unsigned type, unsigned len)
{
    put16(at, 0xc000 | name);
    put16(at, type);
    put16(at, 1);
    put16(at, 0); /* TTL */
    put16(at, 0);
    put16(at, len);
}

static size_t write_answer(const struct script *s, uint8_t *msg, size_t len)
{
    unsigned type = msg[len - 3];
    unsigned n = type == A ? s->n_v4 : type == AAAA ? s->n_v6 : 0;
    bool is_good = n && s->is_first_good && w.n_queries == 0;
    unsigned owner = 12, n_aliases = n ? s->n_aliases : 0;
    uint8_t *at = msg + len;
    w.n_queries += n > 0;
    msg[2] = 0x81;
    msg[3] = 0x80;
    msg[7] = (uint8_t)(n_aliases + n);
    msg[8] = msg[9] = msg[10] = msg[11] = 0;
    for (unsigned i = 0; i < n_aliases; i++) {
        put_head(&at, owner, CNAME, 4);
        owner = (unsigned)(at - msg);
        *at++ = 1;
        *at++ = (uint8_t)('a' + i);
        put16(&at, 0xc000 | 12);
    }
    for (unsigned i = 1; i <= n; i++) {
        uint8_t ip[16] = {127, 0, 0, (uint8_t)(100 + i)};
        if (type == AAAA) {
            memset(ip, 0, 4);
            ip[15] = 1; /* ::1 is the denied one, others are of no host */
            if (i != s->odd || is_good)
                memcpy(ip, "\x20\x01\x0d\xb8", 4);
        } else if (i == s->odd && !is_good) {
            ip[3] = 66;
        }
        put_head(&at, owner, type, type == A ? 4 : 16);
        memcpy(at, ip, type == A ? 4 : 16);
        at += type == A ? 4 : 16;
    }
    return (size_t)(at - msg);
}

static void on_query(uv_poll_t *poll, int status, int events)
{
    uint8_t msg[2048];
    struct sockaddr_in from;
    socklen_t from_len = sizeof(from);
    (void)poll;
    (void)events;
    check_i64(status, 0);
    ssize_t n =
        recvfrom(w.dns_fd, msg, 512, 0, (struct sockaddr *)&from, &from_len);
    if (n < 17)
        return;
    /* The question ends what c-ares sends, it has no EDNS by itself. */
    size_t len = write_answer(&w.script, msg, (size_t)n);
    (void)sendto(w.dns_fd, msg, len, 0, (struct sockaddr *)&from, from_len);
}

/* ---- the rest of the world ---- */

static int bound(int type, struct addr *a)
{
    struct sockaddr_in sin = {.sin_family = AF_INET};
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    check_true(fd >= 0);
    check_i64(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
    check_i64(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    check_i64(addr_from_sockaddr(a, &ss), 0);
    return fd;
}

static void on_done(void *arg, const struct sample *s)
{
    (void)arg;
    w.sample = *s;
    w.n_ended++;
}

static int open_world(void **state)
{
    (void)state;
    struct errmsg msg = {""};
    struct addr a;
    check_i64(uv_loop_init(&w.loop), 0);
    w.dns_fd = bound(SOCK_DGRAM, &w.dns);
    w.dns.ip[0] = 127;
    w.dns.ip[3] = 1;
    w.listen_fd = bound(SOCK_STREAM, &a);
    w.port = a.port;
    check_i64(listen(w.listen_fd, 64), 0);
    check_i64(uv_poll_init(&w.loop, &w.dns_poll, w.dns_fd), 0);
    check_i64(uv_poll_start(&w.dns_poll, UV_READABLE, on_query), 0);
    struct probe_loop_config c = {.loop = &w.loop,
                                  .in_flight_max = 4,
                                  .warm_max = 2,
                                  .dns_servers = &w.dns,
                                  .n_dns_servers = 1,
                                  .done = on_done};
    w.probes = probe_loop_open(&c, &msg);
    check_text(msg.text, "");
    check_true(w.probes != NULL);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    probe_loop_close(w.probes);
    uv_close((uv_handle_t *)&w.dns_poll, NULL);
    while (uv_run(&w.loop, UV_RUN_DEFAULT))
        ;
    check_i64(uv_loop_close(&w.loop), 0);
    close(w.dns_fd);
    close(w.listen_fd);
    return 0;
}

/* 127.0.0.66 and ::1, on the port that is dialled. */
static bool may_dial(const void *arg, const struct addr *a)
{
    (void)arg;
    check_u64(a->port, w.port);
    if (a->family == ADDR_V6)
        return !addr_is_loopback(a);
    return a->ip[3] != 66;
}

/* Take the connections that there are, answer, and count their bytes. */
static void serve(int *fds, size_t max)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    char bytes[4096];
    int fd = accept4(w.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        check_true(w.n_accepted < max);
        fds[w.n_accepted++] = fd;
    }
    for (size_t i = 0; i < w.n_accepted; i++) {
        ssize_t n = recv(fds[i], bytes, sizeof(bytes), 0);
        if (n <= 0)
            continue;
        w.n_bytes += (size_t)n;
        (void)send(fds[i], ok, sizeof(ok) - 1, MSG_NOSIGNAL);
    }
}

/* One cold attempt to its end, and a little longer. */
static void probe(const char *host, unsigned ip_first)
{
    char text[64];
    struct target t;
    struct url u;
    int fds[8];
    snprintf(text, sizeof(text), "http://%s:%u/", host, w.port);
    check_i64(url_parse(&u, text, NULL), 0);
    check_i64(target_init(&t, &u, NULL, NULL, NULL), 0);
    t.ip_first = (uint8_t)ip_first;
    t.dial.may_dial = may_dial;
    struct probe_attempt a = {.target = &t, .timeout_ns = 2000 * MS};
    w.n_ended = w.n_accepted = 0;
    w.n_bytes = 0;
    check_i64(probe_loop_cold(w.probes, &a), 0);
    for (int after = 0; after<20; after += w.n_ended> 0) {
        uv_run(&w.loop, UV_RUN_NOWAIT);
        serve(fds, 8);
        usleep(500);
    }
    for (size_t i = 0; i < w.n_accepted; i++)
        close(fds[i]);
    check_u64(w.n_ended, 1);
    target_fini(&t);
}

static void resolve_as(struct script s)
{
    w.script = s;
    w.n_queries = 0;
}

static void check_dialled(unsigned last_byte)
{
    check_text(outcome_name(w.sample.outcome), "ok");
    check_u64(w.sample.peer.ip[3], last_byte);
    check_u64(w.n_accepted, 1);
    check_true(w.n_bytes > 0);
}

static void check_not_dialled(const char *why)
{
    check_text(outcome_name(w.sample.outcome), "dns_error");
    check_text(w.sample.error, why);
    check_u64(w.n_accepted, 0);
}

/* ---- claims ---- */

static void good_answers_are_dialled(void **state)
{
    (void)state;
    resolve_as((struct script){.n_v4 = 1});
    probe("a.test", 4);
    check_dialled(101);
    resolve_as((struct script){.n_v4 = 16, .n_aliases = 8});
    probe("a.test", 4);
    check_dialled(101);
    /* The family that is asked first has none. */
    resolve_as((struct script){.n_v4 = 3});
    probe("a.test", 6);
    check_dialled(101);
}

static void one_bad_answer_is_dialled_by_nobody(void **state)
{
    (void)state;
    for (unsigned odd = 1; odd <= 16; odd++) {
        resolve_as((struct script){.n_v4 = 16, .odd = odd});
        probe("a.test", 4);
        check_not_dialled("address denied by policy");
    }
    resolve_as((struct script){.n_v4 = 1, .odd = 1, .n_aliases = 3});
    probe("a.test", 4);
    check_not_dialled("address denied by policy");
    resolve_as((struct script){.n_v6 = 1, .odd = 1});
    probe("a.test", 4);
    check_not_dialled("address denied by policy");
    resolve_as((struct script){.n_v6 = 5, .odd = 4});
    probe("a.test", 6);
    check_not_dialled("address denied by policy");
}

/* A rebinding name: what was good a moment ago is asked for again, once for
 * each attempt and never between judging and dialling. */
static void each_attempt_is_judged_by_its_own_lookup(void **state)
{
    (void)state;
    resolve_as((struct script){.n_v4 = 2, .odd = 1, .is_first_good = true});
    probe("a.test", 4);
    check_dialled(101);
    check_u64(w.n_queries, 1);
    probe("a.test", 4);
    check_not_dialled("address denied by policy");
    check_u64(w.n_queries, 2);
}

static void too_many_answers_are_an_error(void **state)
{
    (void)state;
    resolve_as((struct script){.n_v4 = 17});
    probe("a.test", 4);
    check_not_dialled("more than 16 addresses");
    resolve_as((struct script){.n_v4 = 17, .odd = 17});
    probe("a.test", 4);
    check_not_dialled("more than 16 addresses");
    resolve_as((struct script){.n_v6 = 17});
    probe("a.test", 6);
    check_not_dialled("more than 16 addresses");
    resolve_as((struct script){.n_v4 = 1, .n_aliases = 9});
    probe("a.test", 4);
    check_not_dialled("more than 8 aliases");
    resolve_as((struct script){.n_v6 = 1, .n_aliases = 9});
    probe("a.test", 6);
    check_not_dialled("more than 8 aliases");
}

static void a_bad_literal_is_not_dialled(void **state)
{
    (void)state;
    probe("127.0.0.66", 4);
    check_text(outcome_name(w.sample.outcome), "local_resource");
    check_text(w.sample.error, "address denied by policy");
    check_u64(w.n_accepted, 0);
    probe("[::1]", 4);
    check_text(outcome_name(w.sample.outcome), "local_resource");
    probe("127.0.0.67", 4);
    check_dialled(67);
}

/* Whatever led the connection astray, nothing is said there. */
static void a_connection_that_went_elsewhere_carries_nothing(void **state)
{
    (void)state;
    is_peer_odd = true;
    resolve_as((struct script){.n_v4 = 1});
    probe("a.test", 4);
    is_peer_odd = false;
    check_text(outcome_name(w.sample.outcome), "local_resource");
    check_text(w.sample.error, "connected to another address than was dialled");
    check_u64(w.n_accepted, 1);
    check_u64(w.n_bytes, 0);
}

static void nothing_is_said_to_a_peer_that_is_not_known(void **state)
{
    (void)state;
    peer_errno = ENOBUFS;
    resolve_as((struct script){.n_v4 = 1});
    probe("a.test", 4);
    check_text(outcome_name(w.sample.outcome), "local_resource");
    check_u64(w.n_bytes, 0);
    /* One that has hung up already ends like any other that does. */
    peer_errno = ENOTCONN;
    resolve_as((struct script){.n_v4 = 1});
    probe("a.test", 4);
    peer_errno = 0;
    check_text(outcome_name(w.sample.outcome), "ok");
}

/* Asked of a server that never answers; what was asked before has its answer
 * from the other one. */
static void another_resolver_is_asked_from_then_on(void **state)
{
    (void)state;
    struct errmsg msg = {""};
    struct addr mute;
    struct target t;
    struct url u;
    int fds[8];
    int mute_fd = bound(SOCK_DGRAM, &mute);
    mute.ip[0] = 127;
    mute.ip[3] = 1;
    check_i64(url_parse(&u, "http://a.test/", NULL), 0);
    u.port = w.port;
    check_i64(target_init(&t, &u, NULL, NULL, NULL), 0);
    struct probe_attempt a = {.target = &t, .timeout_ns = 300 * MS};
    resolve_as((struct script){.n_v4 = 1});
    for (unsigned round = 0; round < 2; round++) {
        bool asked_before = round == 0;
        w.n_ended = w.n_accepted = w.n_queries = 0;
        if (asked_before)
            check_i64(probe_loop_cold(w.probes, &a), 0);
        struct resolver *r = probe_loop_resolver(&mute, 1, 4, &msg);
        check_true(r != NULL);
        probe_loop_set_resolver(w.probes, r);
        if (!asked_before)
            check_i64(probe_loop_cold(w.probes, &a), 0);
        while (w.n_ended == 0) {
            uv_run(&w.loop, UV_RUN_NOWAIT);
            serve(fds, 8);
            usleep(500);
        }
        check_u64(w.n_queries, asked_before);
        check_text(outcome_name(w.sample.outcome),
                   asked_before ? "ok" : "dns_timeout");
        for (size_t i = 0; i < w.n_accepted; i++)
            close(fds[i]);
    }
    /* One that nobody takes. */
    resolver_drop(probe_loop_resolver(&mute, 1, 4, &msg));
    /* And one more while the last one still has its lookup. */
    probe_loop_set_resolver(w.probes, probe_loop_resolver(&w.dns, 1, 4, &msg));
    probe("a.test", 4);
    check_dialled(101);
    target_fini(&t);
    close(mute_fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_answers_are_dialled),
        cmocka_unit_test(one_bad_answer_is_dialled_by_nobody),
        cmocka_unit_test(each_attempt_is_judged_by_its_own_lookup),
        cmocka_unit_test(too_many_answers_are_an_error),
        cmocka_unit_test(a_bad_literal_is_not_dialled),
        cmocka_unit_test(a_connection_that_went_elsewhere_carries_nothing),
        cmocka_unit_test(nothing_is_said_to_a_peer_that_is_not_known),
        /* The last one: the end finds a lookup that still runs. */
        cmocka_unit_test(another_resolver_is_asked_from_then_on),
    };
    return cmocka_run_group_tests_name("dial_guard", tests, open_world,
                                       close_world);
}
