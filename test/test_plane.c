/* The real measuring thread on loopback, with targets that come and go while
 * attempts are under way: some answer, some are silent until the timeout, some
 * refuse. Each has an address of its own, so that a sample tells by its peer
 * whose it is. Also run under ThreadSanitizer. */
#include "prober/plane_uv.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/base/rng.h"
#include "test/check.h"

#define MS  UINT64_C(1000000)
#define SEC (1000 * MS)

enum { NAMES = 24, KINDS = 3 };
enum kind { ANSWERS, IS_SILENT, REFUSES };

struct world {
    uv_loop_t loop;
    struct config config;
    struct plane *plane;
    struct plane_status status;
    bool is_stopped;
    bool is_steady; /* n-0 is wanted all the time, and answers */
    uint16_t ports[KINDS];
    int silent_fd, refusing_fd;
    uint64_t n_samples, n_steady, n_reconnected, n_broken;
    uint64_t n_connected; /* answered on a new held connection */
    uint32_t steady_generation;
};

static char names[NAMES][8];

static int open_socket(bool is_listening, uint16_t *port)
{
    struct sockaddr_in sin = {.sin_family = AF_INET};
    socklen_t len = sizeof(sin);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check_true(fd >= 0);
    check_i64(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
    if (is_listening) /* the kernel accepts, nobody reads */
        check_i64(listen(fd, 4096), 0);
    check_i64(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
    *port = ntohs(sin.sin_port);
    return fd;
}

static void on_stopped(void *arg)
{
    struct world *w = arg;
    w->is_stopped = true;
}

static struct world *opened(uint64_t interval_ns)
{
    struct world *w = calloc(1, sizeof(*w));
    struct errmsg msg = {{0}};
    struct addr address;
    check_true(w != NULL);
    for (unsigned i = 0; i < NAMES; i++)
        snprintf(names[i], sizeof(names[i]), "n-%u", i);
    snprintf(w->config.node.name, sizeof(w->config.node.name), "self");
    w->config.probe.listen = (struct addr){.family = ADDR_V4};
    w->config.probe.is_plaintext = true;
    w->config.probe.cold_interval_ns = interval_ns;
    w->config.probe.warm_interval_ns = interval_ns;
    w->config.probe.timeout_ns = 200 * MS;
    w->config.probe.in_flight_max = 512;
    w->config.probe.in_flight_per_target_max = 4;
    w->config.probe.connections_max = 2000;
    w->config.probe.idle_timeout_ns = 60 * SEC;
    /* So that attempts are under way when something changes. */
    w->config.probe.response_delay_ns = 15 * MS;
    check_i64(uv_loop_init(&w->loop), 0);
    struct plane_config c = {.config = &w->config,
                             .control_loop = &w->loop,
                             .on_stopped = on_stopped,
                             .arg = w};
    w->plane = plane_open(&c, &msg);
    check_text(msg.text, "");
    check_true(w->plane != NULL);
    plane_address(w->plane, &address);
    w->ports[ANSWERS] = address.port;
    w->silent_fd = open_socket(true, &w->ports[IS_SILENT]);
    w->refusing_fd = open_socket(false, &w->ports[REFUSES]);
    return w;
}

static struct url url_of(const struct world *w, unsigned i, enum kind kind)
{
    struct url u = {.scheme = URL_HTTP,
                    .is_literal = true,
                    .port = w->ports[kind],
                    .has_port = true,
                    .path = "/probe"};
    snprintf(u.host, sizeof(u.host), "127.1.0.%u", i + 1);
    return u;
}

/* Whose is it? Its own record's, and nobody else's. */
static void check_sample(struct world *w, const struct sample *s)
{
    const struct lineup_target *t =
        lineup_find(plane_lineup(w->plane), s->target, s->target_gen);
    check_true(t != NULL);
    w->n_samples++;
    w->n_connected += s->is_reconnected && s->outcome == OUTCOME_OK;
    if (w->is_steady && !strcmp(t->name, "n-0")) {
        if (!w->n_steady++)
            w->steady_generation = s->target_gen;
        check_u64(s->target_gen, w->steady_generation);
        /* Both ends are here, so where the machine stands still an answer
         * may be late; nothing else may happen to it. */
        check_true(s->outcome == OUTCOME_OK ||
                   s->outcome == OUTCOME_RESPONSE_TIMEOUT ||
                   s->outcome == OUTCOME_LOCAL_STARVED);
        w->n_reconnected += s->is_reconnected;
        w->n_broken += s->mode == MODE_WARM && s->outcome != OUTCOME_OK;
    }
    if (s->peer.family != ADDR_V4 || !strncmp(t->name, "many", 4))
        return; /* it did not come that far */
    check_text(t->name, names[s->peer.ip[3] - 1]);
    char text[64];
    snprintf(text, sizeof(text), "http://127.1.0.%u:%u/probe", s->peer.ip[3],
             s->peer.port);
    check_text(t->text, text);
}

/* Run the control plane for a while. */
static void run(struct world *w, uint64_t ns)
{
    uint64_t end_ns = uv_hrtime() + ns;
    do {
        struct sample s;
        uv_run(&w->loop, UV_RUN_NOWAIT);
        while (plane_take_sample(w->plane, &s))
            check_sample(w, &s);
        while (plane_take_status(w->plane, &w->status))
            ;
        lineup_check(plane_lineup(w->plane));
        usleep(2000);
    } while (uv_hrtime() < end_ns);
}

static void closed(struct world *w)
{
    plane_stop(w->plane, 3 * SEC);
    while (!w->is_stopped)
        run(w, 10 * MS);
    plane_close(w->plane);
    while (uv_run(&w->loop, UV_RUN_DEFAULT))
        ;
    check_i64(uv_loop_close(&w->loop), 0);
    close(w->silent_fd);
    close(w->refusing_fd);
    free(w);
}

static void set(struct world *w, const struct aim_want *wants, size_t n)
{
    struct errmsg msg = {{0}};
    int rc;
    while ((rc = plane_set_targets(w->plane, wants, n, &msg)) == ERR_BUSY)
        run(w, MS);
    check_text(msg.text, "");
    check_i64(rc, 0);
    check_u64(lineup_count(plane_lineup(w->plane)), n);
}

/* Does the record of that name say what is wanted? */
static bool is_in_force(const struct lineup *l, const char *name,
                        const struct url *u)
{
    char text[URL_HOST_MAX + 32];
    snprintf(text, sizeof(text), "http://%s:%u/probe", u->host, u->port);
    for (uint32_t i = 0; i < lineup_slots(l); i++) {
        const struct lineup_target *t = lineup_in_force(l, i);
        if (t && !strcmp(t->name, name))
            return !strcmp(t->text, text);
    }
    return false;
}

/* Open descriptors of this process. */
static unsigned count_descriptors(void)
{
    unsigned n = 0;
    for (int fd = 0; fd < 4096; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static struct aim_want want_of(const char *name, const struct url *url)
{
    return (struct aim_want){
        .name = name, .url = url, .protocols = 3, .ip_first = 4};
}

static void no_sample_is_lost_or_anothers(void **state)
{
    (void)state;
    struct world *w = opened(20 * MS);
    struct rng rng;
    rng_seed(&rng, check_seed());
    w->is_steady = true;
    unsigned n_descriptors = count_descriptors();
    for (int round = 0; round < 120; round++) {
        struct addr_policy policies[] = {{.allows_loopback = true},
                                         {.allows_loopback = true}};
        struct aim_want wants[NAMES];
        struct url urls[NAMES];
        size_t n = 0;
        check_i64(addr_network_parse(&policies[1].networks[0], "127.0.0.0/8"),
                  0);
        policies[1].n_networks = 1;
        for (unsigned i = 0; i < NAMES; i++) {
            if (i && !rng_below(&rng, 3))
                continue;
            urls[i] =
                url_of(w, i, i ? (enum kind)rng_below(&rng, KINDS) : ANSWERS);
            wants[n] = want_of(names[i], &urls[i]);
            if (i && rng_below(&rng, 2))
                wants[n].policy = &policies[rng_below(&rng, 2)];
            n++;
        }
        set(w, wants, n);
        memset(policies, 0xff, sizeof(policies)); /* only borrowed */
        for (size_t i = 0; i < n; i++)
            check_true(is_in_force(plane_lineup(w->plane), wants[i].name,
                                   wants[i].url));
        run(w, rng_below(&rng, 60) * MS);
    }
    check_true(w->n_samples > 1000);
    check_true(w->n_steady > 50);
    /* One connection for each protocol, and one more for each that broke. */
    check_true(w->n_reconnected >= 2);
    check_true(w->n_reconnected <= 2 + w->n_broken);
    check_true(w->n_broken < w->n_steady / 4);

    w->is_steady = false;
    /* All is given back, once the last attempts have ended. */
    set(w, NULL, 0);
    for (int i = 0; i < 100 && lineup_leaving(plane_lineup(w->plane)); i++)
        run(w, 100 * MS);
    check_u64(lineup_leaving(plane_lineup(w->plane)), 0);
    run(w, 1200 * MS); /* the next status */
    check_u64(w->status.in_flight, 0);
    check_u64(count_descriptors(), n_descriptors); /* none is held */
    check_u64(w->status.attempts, w->n_samples + w->status.queue_drops);
    closed(w);
}

/* 1,600 connections a second are wanted that none will be, and 200 may be had;
 * all come round at the same pace. */
static void who_refuses_keeps_nobody_from_connecting(void **state)
{
    (void)state;
    struct world *w = opened(20 * MS);
    struct aim_want wants[NAMES];
    struct url urls[NAMES];
    enum { N_ANSWER = NAMES / 3 };
    for (unsigned i = 0; i < NAMES; i++) {
        urls[i] = url_of(w, i, i % 3 ? REFUSES : ANSWERS);
        wants[i] = want_of(names[i], &urls[i]);
    }
    set(w, wants, NAMES);
    for (int i = 0; i < 100 && w->n_connected < 2 * N_ANSWER; i++)
        run(w, 100 * MS);
    check_true(w->n_connected >= 2 * N_ANSWER);
    closed(w);
}

static void it_stops_in_the_middle_of_changes(void **state)
{
    (void)state;
    for (int round = 0; round < 6; round++) {
        struct world *w = opened(20 * MS);
        struct aim_want wants[NAMES];
        struct url urls[NAMES];
        for (unsigned i = 0; i < NAMES; i++) {
            urls[i] = url_of(w, i, i % 2 ? IS_SILENT : ANSWERS);
            wants[i] = want_of(names[i], &urls[i]);
        }
        set(w, wants, NAMES);
        run(w, 60 * MS);
        set(w, wants, (size_t)round * 4);
        if (round % 2)
            run(w, 5 * MS);
        set(w, wants + 1, NAMES - 1);
        set(w, wants, round % 3 ? 3 : 0);
        plane_stop(w->plane, (uint64_t)round * 100 * MS);
        check_i64(plane_set_targets(w->plane, wants, 1, NULL), ERR_CLOSED);
        while (!w->is_stopped)
            run(w, 10 * MS);
        plane_close(w->plane);
        while (uv_run(&w->loop, UV_RUN_DEFAULT))
            ;
        check_i64(uv_loop_close(&w->loop), 0);
        close(w->silent_fd);
        close(w->refusing_fd);
        free(w);
    }
}

static void four_thousand_targets_are_taken_over_in_slices(void **state)
{
    (void)state;
    enum { N = LINEUP_TARGETS_MAX };
    static char many[N][16];
    static struct aim_want wants[N];
    static struct url urls[N];
    struct world *w = opened(100 * 60 * SEC);
    for (unsigned i = 0; i < N; i++) {
        snprintf(many[i], sizeof(many[i]), "many-%u", i);
        urls[i] = url_of(w, 0, REFUSES);
        wants[i] = want_of(many[i], &urls[i]);
    }
    uint64_t before_ns = uv_hrtime();
    set(w, wants, N);
    uint64_t after_ns = uv_hrtime();
    run(w, 1200 * MS);
    print_message("# 4096 targets made in %" PRIu64 " us, lag at most %" PRIu64
                  " us\n",
                  (after_ns - before_ns) / 1000, w->status.lag_max_ns / 1000);
    check_u64(lineup_count(plane_lineup(w->plane)), N);
    check_i64(plane_set_targets(w->plane, wants, N + 1, NULL), ERR_TOOBIG);
    for (int i = 0; i < 3; i++) {
        set(w, wants, i % 2 ? N : 1);
        run(w, 1200 * MS);
    }
    set(w, NULL, 0);
    run(w, 2200 * MS);
    check_u64(lineup_leaving(plane_lineup(w->plane)), 0);
    closed(w);
}

static void what_cannot_be_made_is_left_out(void **state)
{
    (void)state;
    static const struct addr_policy no_loopback;
    struct world *w = opened(20 * MS);
    struct errmsg msg = {{0}};
    struct url good = url_of(w, 1, ANSWERS), bad = url_of(w, 2, ANSWERS);
    struct aim_want wants[] = {want_of("n-2", &bad), want_of("n-1", &good)};
    wants[0].policy = &no_loopback;
    check_i64(plane_set_targets(w->plane, wants, 2, &msg), ERR_BAD);
    check_true(strstr(msg.text, "n-2") && strstr(msg.text, "127.1.0.3"));
    check_u64(lineup_count(plane_lineup(w->plane)), 1);
    run(w, 300 * MS);
    check_true(w->n_samples > 4);
    /* A name may stand for loopback in the hosts file. */
    snprintf(bad.host, sizeof(bad.host), "localhost");
    bad.is_literal = false;
    check_i64(plane_set_targets(w->plane, wants, 2, &msg), ERR_BAD);
    check_u64(lineup_count(plane_lineup(w->plane)), 1);
    closed(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_sample_is_lost_or_anothers),
        cmocka_unit_test(who_refuses_keeps_nobody_from_connecting),
        cmocka_unit_test(it_stops_in_the_middle_of_changes),
        cmocka_unit_test(four_thousand_targets_are_taken_over_in_slices),
        cmocka_unit_test(what_cannot_be_made_is_left_out),
    };
    return cmocka_run_group_tests_name("plane", tests, NULL, NULL);
}
