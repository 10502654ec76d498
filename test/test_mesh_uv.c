/* The mesh's host on real sockets of loopback, around a mesh that a test
 * writes: it records what it is told and hands out what it is asked to. */
#include "mesh/mesh_uv.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/check.h"

#define MS          1000000ull
#define EFFECTS_MAX 512
#define PATIENCE_MS 5000

/* ---- the mesh ---- */

struct mesh {
    size_t first, n;
    struct mesh_effect effects[EFFECTS_MAX];
    char seen[65536]; /* inputs, one a line */
    uint64_t deadline_ns;
    uint32_t next_id; /* for what is accepted; 0: refuse */
    bool echoes;      /* a packet goes back to where it came from */
    unsigned timers, packets;
    size_t bytes;
    struct addr own, found[MESH_ADDRS_MAX];
    uint64_t last_ns;
};

const struct mesh_timing mesh_timing_lan = {.stream_timeout_ns = 60000 * MS};
const struct mesh_limits mesh_limits_default = {0};

int ml_random(void *arg, uint8_t *out, size_t len)
{
    (void)arg;
    memset(out, 7, len);
    return 0;
}

static void effect(struct mesh *m, struct mesh_effect e)
{
    assert_true(m->n < EFFECTS_MAX);
    m->effects[(m->first + m->n++) % EFFECTS_MAX] = e;
}

static void note(struct mesh *m, uint64_t now_ns, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void note(struct mesh *m, uint64_t now_ns, const char *format, ...)
{
    size_t len = strlen(m->seen);
    va_list args;
    check_true(now_ns >= m->last_ns);
    m->last_ns = now_ns;
    va_start(args, format);
    vsnprintf(m->seen + len, sizeof(m->seen) - len, format, args);
    va_end(args);
}

struct mesh *mesh_open(const struct mesh_config *c, uint64_t now_ns,
                       struct errmsg *msg)
{
    if (c->name && !strcmp(c->name, "bad")) {
        errmsg_set(msg, "a bad name");
        return NULL;
    }
    check_true(c->seed != 0 && c->now_unix_s != 0 && c->random == ml_random);
    struct mesh *m = calloc(1, sizeof(*m));
    m->deadline_ns = UINT64_MAX;
    m->own = c->advertise;
    m->last_ns = now_ns;
    return m;
}

void mesh_close(struct mesh *m)
{
    free(m);
}

void mesh_on_packet(struct mesh *m, uint64_t now_ns, const struct addr *from,
                    const void *data, size_t len)
{
    m->packets++;
    if (len < 32)
        note(m, now_ns, "packet %.*s\n", (int)len, (const char *)data);
    if (m->echoes)
        effect(m, (struct mesh_effect){.kind = MESH_SEND,
                                       .to = *from,
                                       .data = span_of("back", 4)});
}

void mesh_on_timer(struct mesh *m, uint64_t now_ns)
{
    if (m->timers++)
        note(m, now_ns, "timer\n");
    if (m->deadline_ns <= now_ns)
        m->deadline_ns = UINT64_MAX;
}

uint32_t mesh_on_accept(struct mesh *m, uint64_t now_ns,
                        const struct addr *from)
{
    char text[ADDR_TEXT_SIZE];
    note(m, now_ns, "accept %s\n", addr_format_ip(from, text));
    return m->next_id ? m->next_id++ : 0;
}

void mesh_on_connected(struct mesh *m, uint64_t now_ns, uint32_t id)
{
    note(m, now_ns, "connected %u\n", id);
}

void mesh_on_bytes(struct mesh *m, uint64_t now_ns, uint32_t id,
                   const void *data, size_t len)
{
    m->bytes += len;
    if (len < 32)
        note(m, now_ns, "bytes %u %.*s\n", id, (int)len, (const char *)data);
}

void mesh_on_gone(struct mesh *m, uint64_t now_ns, uint32_t id)
{
    note(m, now_ns, "gone %u\n", id);
}

void mesh_on_resolved(struct mesh *m, uint64_t now_ns, uint32_t seed,
                      const struct addr *addrs, size_t n)
{
    char text[ADDR_TEXT_SIZE];
    note(m, now_ns, "resolved %u", seed);
    for (size_t i = 0; i < n; i++)
        note(m, now_ns, " %s", addr_format(&addrs[i], text));
    note(m, now_ns, "\n");
}

uint64_t mesh_deadline(const struct mesh *m)
{
    return m->deadline_ns;
}

bool mesh_next(struct mesh *m, struct mesh_effect *e)
{
    if (m->n == 0)
        return false;
    *e = m->effects[m->first];
    m->first = (m->first + 1) % EFFECTS_MAX;
    m->n--;
    return true;
}

/* ---- the world around ---- */

struct world {
    uv_loop_t loop;
    uv_timer_t clock;
    struct mesh_uv *u;
    struct mesh *m;
    struct addr listen;
    unsigned effects;
    bool is_inside;
    unsigned turns;
};

static void on_effect(void *arg, const struct mesh_effect *e)
{
    struct world *w = arg;
    (void)e;
    check_false(w->is_inside);
    w->is_inside = true;
    w->effects++;
    mesh_uv_kick(w->u); /* as a message's answer would */
    w->is_inside = false;
}

static void on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static struct mesh_uv_config config_of(struct world *w, const char *listen)
{
    struct mesh_uv_config c = {
        .loop = &w->loop,
        .mesh = {.name = "a",
                 .timing = mesh_timing_lan,
                 .policy = {.allows_loopback = true}},
        .on_effect = on_effect,
        .arg = w,
    };
    check_i64(addr_parse(&c.listen, listen), 0);
    return c;
}

static void begin_as(struct world *w, const struct mesh_uv_config *c)
{
    struct errmsg msg = {0};
    w->u = mesh_uv_open(c, &msg);
    if (!w->u)
        print_error("%s\n", msg.text);
    check_true(w->u != NULL);
    w->m = mesh_uv_mesh(w->u);
    mesh_uv_address(w->u, &w->listen);
    check_true(addr_equal(&w->listen, &w->m->own));
}

static void init(struct world *w)
{
    *w = (struct world){0};
    uv_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->clock);
    uv_timer_start(&w->clock, on_tick, 5, 5); /* bounds each turn */
}

static void begin(struct world *w, const char *listen)
{
    init(w);
    struct mesh_uv_config c = config_of(w, listen);
    begin_as(w, &c);
}

static void turn(struct world *w)
{
    uv_run(&w->loop, UV_RUN_ONCE);
    w->turns++;
}

static void run_ms(struct world *w, uint64_t ms)
{
    uint64_t end_ns = uv_hrtime() + ms * MS;
    while (uv_hrtime() < end_ns)
        turn(w);
}

static void end(struct world *w)
{
    mesh_uv_close(w->u);
    uv_close((uv_handle_t *)&w->clock, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    check_i64(uv_loop_close(&w->loop), 0);
}

/* Until the mesh has seen exactly this; then forget it. */
static void sees(struct world *w, const char *want)
{
    uint64_t end_ns = uv_hrtime() + PATIENCE_MS * MS;
    while (strlen(w->m->seen) < strlen(want) && uv_hrtime() < end_ns)
        turn(w);
    check_text(w->m->seen, want);
    w->m->seen[0] = '\0';
}

static void put(struct world *w, struct mesh_effect e)
{
    effect(w->m, e);
    mesh_uv_kick(w->u);
}

static int peer_socket(int type, const char *from)
{
    struct sockaddr_storage ss;
    struct addr a;
    check_i64(addr_parse_ip(&a, from), 0);
    socklen_t len = addr_to_sockaddr(&a, &ss);
    int fd = socket(ss.ss_family, type, 0);
    check_true(fd >= 0);
    check_i64(bind(fd, (struct sockaddr *)&ss, len), 0);
    struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    /* So that not all that is written to it disappears in the kernel. */
    const int small = 65536;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    return fd;
}

static struct addr address_of(int fd)
{
    struct sockaddr_storage ss;
    struct addr a;
    socklen_t len = sizeof(ss);
    check_i64(getsockname(fd, (struct sockaddr *)&ss, &len), 0);
    check_i64(addr_from_sockaddr(&a, &ss), 0);
    return a;
}

static void peer_connect(int fd, const struct addr *to)
{
    struct sockaddr_storage ss;
    socklen_t len = addr_to_sockaddr(to, &ss);
    check_i64(connect(fd, (struct sockaddr *)&ss, len), 0);
}

static struct addr v4(const struct world *w)
{
    struct addr a;
    check_i64(addr_parse_ip(&a, "127.0.0.1"), 0);
    a.port = w->listen.port;
    return a;
}

/* A stream that peer `from` dialled and the mesh took as `id`. */
static int accepted(struct world *w, const char *from, uint32_t id)
{
    char want[64];
    int fd = peer_socket(SOCK_STREAM, from);
    w->m->next_id = id;
    peer_connect(fd, &w->listen);
    snprintf(want, sizeof(want), "accept %s\n", from);
    sees(w, want);
    return fd;
}

/* Reads to the end; returns how much, or -1 if it ended with a reset. */
static ssize_t drain(struct world *w, int fd)
{
    static char buffer[65536];
    ssize_t total = 0;
    for (;;) {
        ssize_t n = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
        if (n == 0)
            return total;
        if (n < 0 && errno != EAGAIN)
            return -1;
        if (n < 0)
            turn(w);
        for (ssize_t i = 0; i < n; i++)
            check_true(buffer[i] == (char)((total + i) % 251));
        total += n > 0 ? n : 0;
    }
}

static struct mesh_uv_stats stats_of(const struct world *w)
{
    struct mesh_uv_stats s;
    mesh_uv_stats(w->u, &s);
    return s;
}

static size_t open_descriptors(void)
{
    size_t n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

/* ---- packets ---- */

static void answers_come_from_the_port_that_was_asked(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    w.m->echoes = true;
    int fd = peer_socket(SOCK_DGRAM, "127.0.0.2");
    peer_connect(fd, &w.listen); /* takes nothing from anywhere else */
    check_i64(send(fd, "hello", 5, 0), 5);
    sees(&w, "packet hello\n");
    char text[8] = "";
    check_i64(recv(fd, text, sizeof(text), 0), 4);
    check_text(text, "back");
    close(fd);
    end(&w);
}

/* Members are known by their IPv4 address, whatever socket they reach. */
static void a_socket_of_both_families_speaks_plain_ipv4(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "[::]:0");
    w.m->echoes = true;
    int fd = peer_socket(SOCK_DGRAM, "127.0.0.2");
    struct addr to = v4(&w);
    peer_connect(fd, &to);
    check_i64(send(fd, "4", 1, 0), 1);
    sees(&w, "packet 4\n");
    char text[8] = "";
    check_i64(recv(fd, text, sizeof(text), 0), 4);
    close(fd);

    fd = peer_socket(SOCK_STREAM, "127.0.0.3");
    peer_connect(fd, &to);
    sees(&w, "accept 127.0.0.3\n");
    close(fd);
    check_u64(stats_of(&w).send_errors, 0);
    end(&w);
}

static void an_empty_packet_is_a_packet(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    int fd = peer_socket(SOCK_DGRAM, "127.0.0.1");
    peer_connect(fd, &w.listen);
    check_i64(send(fd, "", 0, 0), 0);
    sees(&w, "packet \n");
    close(fd);
    end(&w);
}

static void a_flood_leaves_the_loop_its_turns(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    turn(&w);
    int fd = peer_socket(SOCK_DGRAM, "127.0.0.1");
    peer_connect(fd, &w.listen);
    for (int i = 0; i < 250; i++) /* the least that a buffer takes */
        check_i64(send(fd, "x", 1, 0), 1);
    unsigned before = 0;
    for (int turns = 0; w.m->packets < 250; turns++) {
        check_true(turns < 1000);
        turn(&w);
        check_true(w.m->packets - before <= 48);
        before = w.m->packets;
    }
    close(fd);
    end(&w);
}

static void what_cannot_be_sent_is_counted_and_forgotten(void **state)
{
    (void)state;
    struct world w;
    static uint8_t big[70000];
    begin(&w, "127.0.0.1:0");
    struct mesh_effect e = {.kind = MESH_SEND, .data = span_of("x", 1)};
    put(&w, e); /* no address */
    addr_parse(&e.to, "127.0.0.1:0");
    put(&w, e); /* no port */
    addr_parse(&e.to, "[::1]:9");
    put(&w, e); /* not from an IPv4 socket */
    addr_parse(&e.to, "127.0.0.1:9");
    e.data = span_of(big, sizeof(big));
    put(&w, e); /* no datagram */
    check_u64(stats_of(&w).send_errors, 4);
    check_u64(stats_of(&w).send_dropped, 0);
    end(&w);
}

/* ---- time ---- */

static void the_timer_runs_out_when_it_should(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    run_ms(&w, 20);
    check_u64(w.m->timers, 1); /* the one that begins */
    uint64_t start_ns = uv_hrtime();
    w.m->deadline_ns = start_ns + 50 * MS + 1;
    mesh_uv_kick(w.u);
    sees(&w, "timer\n");
    uint64_t late_ns = w.m->last_ns - start_ns;
    check_true(late_ns > 50 * MS && late_ns < 1000 * MS);
    run_ms(&w, 30);
    check_u64(w.m->timers, 2);

    w.m->deadline_ns = 1; /* long ago */
    mesh_uv_kick(w.u);
    sees(&w, "timer\n");
    end(&w);
}

/* After a pause of this process answers wait beside the timer that misses
 * them. */
static void packets_that_came_in_time_are_read_first(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    run_ms(&w, 20);
    int fd = peer_socket(SOCK_DGRAM, "127.0.0.1");
    peer_connect(fd, &w.listen);
    w.m->deadline_ns = uv_hrtime() + 10 * MS;
    mesh_uv_kick(w.u);
    check_i64(send(fd, "ack", 3, 0), 3);
    usleep(30000);
    sees(&w, "packet ack\ntimer\n");
    close(fd);
    end(&w);
}

static void effects_of_effects_are_carried_out(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    effect(w.m, (struct mesh_effect){.kind = MESH_EVENT});
    effect(w.m, (struct mesh_effect){.kind = MESH_USER});
    put(&w, (struct mesh_effect){.kind = MESH_EVENT});
    check_u64(w.effects, 3);
    check_u64(w.m->n, 0);
    end(&w);
}

/* ---- streams ---- */

static void a_refused_stream_is_closed_at_once(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    int fd = accepted(&w, "127.0.0.2", 0);
    check_i64(drain(&w, fd), 0);
    check_u64(stats_of(&w).accept_refused, 1);
    close(fd);
    end(&w);
}

static void bytes_go_both_ways(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    int fd = accepted(&w, "127.0.0.2", 5);
    check_i64(send(fd, "ping", 4, 0), 4);
    sees(&w, "bytes 5 ping\n");
    put(&w, (struct mesh_effect){
                .kind = MESH_WRITE, .id = 5, .data = span_of("pong", 4)});
    char text[8] = "";
    check_i64(recv(fd, text, sizeof(text), 0), 4);
    check_text(text, "pong");
    close(fd);
    sees(&w, "gone 5\n");
    end(&w);
}

static void dials_from_the_address_it_listens_on(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.3:0");
    int server = peer_socket(SOCK_STREAM, "127.0.0.2");
    check_i64(listen(server, 1), 0);
    put(&w, (struct mesh_effect){
                .kind = MESH_DIAL, .id = 9, .to = address_of(server)});
    sees(&w, "connected 9\n");
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);
    int fd = accept(server, (struct sockaddr *)&ss, &len);
    struct addr from;
    char text[ADDR_TEXT_SIZE];
    check_i64(addr_from_sockaddr(&from, &ss), 0);
    check_text(addr_format_ip(&from, text), "127.0.0.3");
    close(fd);
    close(server);
    sees(&w, "gone 9\n");
    end(&w);
}

static void a_dial_that_fails_is_gone_once(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    int server = peer_socket(SOCK_STREAM, "127.0.0.2"); /* does not listen */
    put(&w, (struct mesh_effect){
                .kind = MESH_DIAL, .id = 1, .to = address_of(server)});
    sees(&w, "gone 1\n");
    /* No address at all fails before libuv hears of it. */
    put(&w, (struct mesh_effect){.kind = MESH_DIAL, .id = 2});
    sees(&w, "gone 2\n");
    /* One that is hung up is not reported. */
    put(&w, (struct mesh_effect){
                .kind = MESH_DIAL, .id = 3, .to = address_of(server)});
    put(&w, (struct mesh_effect){.kind = MESH_HANGUP, .id = 3});
    check_u64(stats_of(&w).lingering, 0);
    run_ms(&w, 50);
    check_text(w.m->seen, "");
    close(server);
    end(&w);
}

static void write_and_hang_up(struct world *w, uint32_t id, size_t len)
{
    uint8_t *data = malloc(len);
    for (size_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i % 251);
    effect(w->m, (struct mesh_effect){
                     .kind = MESH_WRITE, .id = id, .data = span_of(data, len)});
    put(w, (struct mesh_effect){.kind = MESH_HANGUP, .id = id});
    memset(data, 255, len); /* must have been copied */
    free(data);
}

/* Also when the peer has sent what nobody read: to close on that would reset
 * the connection and lose what is under way. */
static void everything_written_arrives_before_the_end(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    int fd = accepted(&w, "127.0.0.2", 5);
    write_and_hang_up(&w, 5, 8 << 20);
    check_true(stats_of(&w).queued_bytes > 0);
    check_i64(send(fd, "more", 4, 0), 4);
    run_ms(&w, 50);
    check_u64(stats_of(&w).lingering, 1);
    check_i64(drain(&w, fd), 8 << 20);
    check_u64(stats_of(&w).lingering, 1); /* until the peer closes as well */
    close(fd);
    run_ms(&w, 50);
    check_u64(stats_of(&w).lingering, 0);
    check_u64(stats_of(&w).streams_cut, 0);
    check_text(w.m->seen, ""); /* the mesh hears nothing of it any more */
    end(&w);
}

/* Half closed by a peer that still reads: netcat does that. */
static void a_peer_that_has_said_all_still_gets_its_answer(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    int fd = accepted(&w, "127.0.0.2", 5);
    write_and_hang_up(&w, 5, 8 << 20);
    check_i64(shutdown(fd, SHUT_WR), 0);
    run_ms(&w, 50);
    check_i64(drain(&w, fd), 8 << 20);
    run_ms(&w, 20);
    check_u64(stats_of(&w).lingering, 0);
    close(fd);
    end(&w);
}

static void a_peer_that_does_not_read_is_reset_in_time(void **state)
{
    (void)state;
    struct world w;
    init(&w);
    struct mesh_uv_config c = config_of(&w, "127.0.0.1:0");
    c.mesh.timing.stream_timeout_ns = 200 * MS;
    begin_as(&w, &c);
    int fd = accepted(&w, "127.0.0.2", 5);
    uint64_t start_ns = uv_hrtime();
    write_and_hang_up(&w, 5, 8 << 20);
    check_u64(stats_of(&w).lingering, 1);
    while (stats_of(&w).lingering && uv_hrtime() - start_ns < PATIENCE_MS * MS)
        turn(&w);
    check_true(uv_hrtime() - start_ns > 150 * MS);
    turn(&w);
    check_u64(stats_of(&w).lingering, 0);
    check_u64(stats_of(&w).queued_bytes, 0);
    check_u64(stats_of(&w).streams_cut, 1);
    check_i64(drain(&w, fd), -1);
    close(fd);
    end(&w);
}

static void a_peer_that_talks_on_is_reset(void **state)
{
    (void)state;
    struct world w;
    static char data[65536];
    begin(&w, "127.0.0.1:0");
    int fd = accepted(&w, "127.0.0.2", 5);
    write_and_hang_up(&w, 5, 100);
    for (int i = 0; i < 3; i++) {
        if (send(fd, data, sizeof(data), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        run_ms(&w, 10);
    }
    run_ms(&w, 20);
    check_u64(stats_of(&w).lingering, 0);
    check_u64(w.m->bytes, 0);
    close(fd);
    end(&w);
}

/* Those that do not let go are limited in number, and what they make us hold
 * in bytes. */
static void slow_readers_are_bounded(void **state)
{
    (void)state;
    struct world w;
    int fds[70];
    begin(&w, "127.0.0.1:0");
    for (uint32_t i = 0; i < 70; i++) {
        fds[i] = accepted(&w, "127.0.0.2", i + 1);
        write_and_hang_up(&w, i + 1, 10);
    }
    turn(&w);
    check_u64(stats_of(&w).lingering, 64);
    for (int i = 0; i < 70; i++)
        close(fds[i]);
    run_ms(&w, 50);
    check_u64(stats_of(&w).lingering, 0);

    fds[0] = accepted(&w, "127.0.0.2", 1);
    write_and_hang_up(&w, 1, 14 << 20); /* the kernel takes some of it */
    fds[1] = accepted(&w, "127.0.0.3", 2);
    write_and_hang_up(&w, 2, 14 << 20);
    sees(&w, "gone 2\n");
    check_true(stats_of(&w).queued_bytes > 8 << 20);
    check_true(stats_of(&w).queued_bytes <= 16 << 20);
    check_u64(stats_of(&w).lingering, 1);
    check_true(stats_of(&w).streams_cut >= 1);
    close(fds[0]);
    close(fds[1]);
    end(&w);
}

static void unknown_streams_are_ignored(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    put(&w, (struct mesh_effect){
                .kind = MESH_WRITE, .id = 77, .data = span_of("x", 1)});
    put(&w, (struct mesh_effect){.kind = MESH_HANGUP, .id = 77});
    run_ms(&w, 10);
    check_text(w.m->seen, "");
    end(&w);
}

/* The socket stays readable when there is no descriptor for who waits. (Fails
 * under valgrind, which takes the connection and then says EMFILE.) */
static void without_descriptors_it_waits_and_does_not_spin(void **state)
{
    (void)state;
    struct world w;
    struct rlimit old, none;
    begin(&w, "127.0.0.1:0");
    run_ms(&w, 20);
    int fd = peer_socket(SOCK_STREAM, "127.0.0.2");
    int udp = peer_socket(SOCK_DGRAM, "127.0.0.2");
    peer_connect(udp, &w.listen);
    check_i64(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 3;
    check_i64(setrlimit(RLIMIT_NOFILE, &none), 0);
    peer_connect(fd, &w.listen);
    w.m->next_id = 5;
    w.turns = 0;
    run_ms(&w, 90);
    unsigned turns = w.turns;
    check_i64(send(udp, "on", 2, 0), 2); /* packets go on */
    run_ms(&w, 20);
    check_i64(setrlimit(RLIMIT_NOFILE, &old), 0);
    check_true(turns < 40); /* the clock's, every 5 ms */
    check_true(stats_of(&w).accept_errors >= 1);
    check_true(stats_of(&w).accept_errors <= 3);
    sees(&w, "packet on\naccept 127.0.0.2\n");
    close(fd);
    close(udp);
    end(&w);
}

/* ---- names ---- */

static void literal_addresses_need_no_resolver(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"10.0.0.1", "resolved 0 10.0.0.1:7946\n"},
        {"10.0.0.1:80", "resolved 0 10.0.0.1:80\n"},
        {"10.0.0.1:0", "resolved 0 10.0.0.1:7946\n"},
        {"::1", "resolved 0 [::1]:7946\n"},
        {"[::1]:80", "resolved 0 [::1]:80\n"},
        {"", "resolved 0\n"},
        {":80", "resolved 0\n"},
        {"a:", "resolved 0\n"},
        {"a:0", "resolved 0\n"},
        {"a:65536", "resolved 0\n"},
        {"a:1x", "resolved 0\n"},
        {"a:b:1", "resolved 0\n"},
        {"[::1]", "resolved 0\n"},
    };
    struct world w;
    begin(&w, "127.0.0.1:0");
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        put(&w,
            (struct mesh_effect){.kind = MESH_RESOLVE, .text = cases[i].text});
        check_text(w.m->seen, cases[i].want); /* without a turn */
        w.m->seen[0] = '\0';
    }
    end(&w);
}

static void names_are_resolved_once_for_each_question(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    struct mesh_effect e = {
        .kind = MESH_RESOLVE, .id = 3, .text = "localhost:99"};
    put(&w, e);
    put(&w, e);
    e.id = 4;
    e.text = "localhost:1"; /* is replaced before it is answered */
    put(&w, e);
    e.text = "10.0.0.1";
    put(&w, e);
    uint64_t end_ns = uv_hrtime() + PATIENCE_MS * MS;
    while (!strstr(w.m->seen, "127.0.0.1:99") && uv_hrtime() < end_ns)
        turn(&w);
    run_ms(&w, 20);
    check_true(
        !strncmp(w.m->seen, "resolved 4 10.0.0.1:7946\nresolved 3 ", 36));
    const char *first = strstr(w.m->seen, "127.0.0.1:99");
    check_true(first && !strstr(first + 1, "127.0.0.1:99"));
    check_true(!strstr(w.m->seen, ":1\n"));
    end(&w);
}

static void closing_while_a_name_is_resolved_is_fine(void **state)
{
    (void)state;
    struct world w;
    begin(&w, "127.0.0.1:0");
    for (uint32_t i = 0; i < 40; i++)
        put(&w, (struct mesh_effect){
                    .kind = MESH_RESOLVE, .id = i, .text = "localhost"});
    end(&w);
}

/* ---- beginnings and ends ---- */

static void closing_ends_streams_in_every_state(void **state)
{
    (void)state;
    struct world w;
    size_t before = open_descriptors();
    begin(&w, "127.0.0.1:0");
    int server = peer_socket(SOCK_STREAM, "127.0.0.2");
    check_i64(listen(server, 4), 0);
    int a = accepted(&w, "127.0.0.2", 1);
    int b = accepted(&w, "127.0.0.2", 2);
    write_and_hang_up(&w, 2, 8 << 20);
    put(&w, (struct mesh_effect){
                .kind = MESH_DIAL, .id = 3, .to = address_of(server)});
    sees(&w, "connected 3\n");
    effect(w.m, (struct mesh_effect){
                    .kind = MESH_WRITE, .id = 3, .data = span_of("x", 1)});
    put(&w, (struct mesh_effect){
                .kind = MESH_DIAL, .id = 4, .to = address_of(server)});
    end(&w);
    close(a);
    close(b);
    close(server);
    check_u64(open_descriptors(), before);
}

static void udp_and_tcp_share_a_port_of_the_kernels_choice(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct world w;
        begin(&w, "127.0.0.1:0");
        check_true(w.listen.port != 0);
        int fd = accepted(&w, "127.0.0.2", 0);
        close(fd);
        int udp = peer_socket(SOCK_DGRAM, "127.0.0.2");
        peer_connect(udp, &w.listen);
        check_i64(send(udp, "x", 1, 0), 1);
        sees(&w, "packet x\n");
        close(udp);
        end(&w);
    }
}

static void fails_with(struct world *w, const struct mesh_uv_config *c,
                       const char *want)
{
    struct errmsg msg = {0};
    check_true(mesh_uv_open(c, &msg) == NULL);
    check_text(msg.text, want);
    turn(w);
}

static void failing_to_open_says_why_and_leaves_nothing(void **state)
{
    (void)state;
    struct world w;
    char want[ERRMSG_SIZE], text[ADDR_TEXT_SIZE];
    size_t before = open_descriptors();
    init(&w);
    struct mesh_uv_config c = config_of(&w, "127.0.0.1:0");
    int tcp = peer_socket(SOCK_STREAM, "127.0.0.1");
    check_i64(listen(tcp, 1), 0);
    c.listen = address_of(tcp);
    snprintf(want, sizeof(want), "gossip on %s (TCP): Address already in use",
             addr_format(&c.listen, text));
    fails_with(&w, &c, want);
    close(tcp);
    int udp = peer_socket(SOCK_DGRAM, "127.0.0.1");
    c.listen = address_of(udp);
    snprintf(want, sizeof(want), "gossip on %s (UDP): Address already in use",
             addr_format(&c.listen, text));
    fails_with(&w, &c, want);
    close(udp);
    c = config_of(&w, "127.0.0.1:0");
    c.mesh.name = "bad";
    fails_with(&w, &c, "a bad name");
    c = config_of(&w, "0.0.0.0:0");
    c.mesh.policy.n_networks = 1; /* 0.0.0.0/32: none of this host's */
    c.mesh.policy.networks[0] =
        (struct addr_network){.base = {.family = ADDR_V4}, .prefix = 32};
    fails_with(&w, &c,
               "gossip: none of this host's addresses can be told to others: "
               "set gossip.advertise");
    uv_close((uv_handle_t *)&w.clock, NULL);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    check_i64(uv_loop_close(&w.loop), 0);
    check_u64(open_descriptors(), before);
}

/* Another process of this host must not be able to take our packets. */
static void the_port_is_ours_alone(void **state)
{
    (void)state;
    struct world w;
    const int one = 1;
    struct sockaddr_storage ss;
    begin(&w, "127.0.0.1:0");
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    socklen_t len = addr_to_sockaddr(&w.listen, &ss);
    check_i64(bind(fd, (struct sockaddr *)&ss, len), -1);
    check_i64(errno, EADDRINUSE);
    close(fd);
    end(&w);
}

static void tells_the_address_it_was_told_to(void **state)
{
    (void)state;
    static const struct {
        const char *listen, *advertise;
        const char *want; /* without a port: that of the listener */
    } cases[] = {
        {"127.0.0.1:0", NULL, "127.0.0.1"},
        {"127.0.0.1:0", "10.1.2.3:0", "10.1.2.3"},
        {"127.0.0.1:0", "10.1.2.3:99", "10.1.2.3:99"},
        {"0.0.0.0:0", "10.1.2.3:0", "10.1.2.3"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct world w;
        char text[ADDR_TEXT_SIZE];
        init(&w);
        struct mesh_uv_config c = config_of(&w, cases[i].listen);
        if (cases[i].advertise)
            check_i64(addr_parse(&c.mesh.advertise, cases[i].advertise), 0);
        begin_as(&w, &c);
        check_true(w.listen.port != 0);
        if (strchr(cases[i].want, ':'))
            check_text(addr_format(&w.listen, text), cases[i].want);
        else
            check_text(addr_format_ip(&w.listen, text), cases[i].want);
        end(&w);
    }
}

/* Of what this host has, only loopback is known to a test. */
static void of_all_addresses_one_that_may_be_told_is_told(void **state)
{
    (void)state;
    struct world w;
    init(&w);
    struct mesh_uv_config c = config_of(&w, "[::]:0");
    c.mesh.policy.n_networks = 1;
    check_i64(addr_network_parse(&c.mesh.policy.networks[0], "127.0.0.0/8"), 0);
    begin_as(&w, &c);
    char text[ADDR_TEXT_SIZE];
    check_text(addr_format_ip(&w.listen, text), "127.0.0.1");
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_come_from_the_port_that_was_asked),
        cmocka_unit_test(a_socket_of_both_families_speaks_plain_ipv4),
        cmocka_unit_test(an_empty_packet_is_a_packet),
        cmocka_unit_test(a_flood_leaves_the_loop_its_turns),
        cmocka_unit_test(what_cannot_be_sent_is_counted_and_forgotten),
        cmocka_unit_test(the_timer_runs_out_when_it_should),
        cmocka_unit_test(packets_that_came_in_time_are_read_first),
        cmocka_unit_test(effects_of_effects_are_carried_out),
        cmocka_unit_test(a_refused_stream_is_closed_at_once),
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(dials_from_the_address_it_listens_on),
        cmocka_unit_test(a_dial_that_fails_is_gone_once),
        cmocka_unit_test(everything_written_arrives_before_the_end),
        cmocka_unit_test(a_peer_that_has_said_all_still_gets_its_answer),
        cmocka_unit_test(a_peer_that_does_not_read_is_reset_in_time),
        cmocka_unit_test(a_peer_that_talks_on_is_reset),
        cmocka_unit_test(slow_readers_are_bounded),
        cmocka_unit_test(unknown_streams_are_ignored),
        cmocka_unit_test(without_descriptors_it_waits_and_does_not_spin),
        cmocka_unit_test(literal_addresses_need_no_resolver),
        cmocka_unit_test(names_are_resolved_once_for_each_question),
        cmocka_unit_test(closing_while_a_name_is_resolved_is_fine),
        cmocka_unit_test(closing_ends_streams_in_every_state),
        cmocka_unit_test(udp_and_tcp_share_a_port_of_the_kernels_choice),
        cmocka_unit_test(failing_to_open_says_why_and_leaves_nothing),
        cmocka_unit_test(the_port_is_ours_alone),
        cmocka_unit_test(tells_the_address_it_was_told_to),
        cmocka_unit_test(of_all_addresses_one_that_may_be_told_is_told),
    };
    return cmocka_run_group_tests_name("mesh_uv", tests, NULL, NULL);
}
