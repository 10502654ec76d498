#include "prober/plane_uv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "prober/clock.h"
#include "prober/crypto_mem.h"
#include "prober/hosts.h"
#include "prober/link_uv.h"
#include "prober/probe_loop_uv.h"
#include "prober/responder_uv.h"
#include "prober/schedule.h"
#include "prober/slice.h"
#include "prober/target.h"
#include "proto/hist.h"

#define SAMPLES_QUEUED  1024
#define STATUS_QUEUED   8
#define COMMANDS_QUEUED 8
#define STATUS_MS       1000
#define STARTS_PER_TURN 64
#define LAG_WINDOW      10 /* status periods that the lag figures cover */

/* Held connections are set up no faster than this. After a start, or when a
 * zone comes back, a thousand handshakes at once would keep the core busy for
 * a second, spoil what is being measured, and take 40 KiB each of memory that
 * malloc then never gives back. By time and not by number in progress: a peer
 * that never answers must not hold up the others. */
#define SETUPS_PER_S 200
#define SETUP_BURST  20

/* Between the first NOT_SERVING or 503 and the end: long enough for peers
 * that probe once a second to be told, and not to find us gone. */
#define NOTICE_NS UINT64_C(1200000000)

#define NS_PER_MS UINT64_C(1000000)

struct command { /* there is one: drain, then stop */
    uint64_t grace_ns;
};

/* Loop lag, as plain bucket counts: nothing is allocated while measuring. */
struct lag {
    uint32_t counts[HIST_BUCKETS];
    uint64_t total, max_ns;
};

struct plane {
    /* Written before the thread starts, then read only. */
    const struct config *config;
    void (*on_stopped)(void *arg);
    void (*on_samples)(void *arg);
    void *arg;
    size_t n_targets;
    struct target *targets;
    struct plane_target *identities;
    struct tls_context *client_tls, *server_tls;
    struct addr listen;

    /* The queues. */
    struct link *samples, *status, *commands, *stopped;

    /* The measuring thread's. */
    uv_loop_t loop;
    uv_thread_t thread;
    uv_sem_t started;
    long thread_id;
    struct probe_loop *probes;
    struct responder *responder;
    struct schedule schedule;
    struct probe_warm **warm; /* by schedule index; NULL for cold */
    bool *answers;            /* by schedule index: the last one was heard */
    uv_timer_t schedule_timer, status_timer, stop_timer;
    uint64_t status_due_ns;
    uint64_t setup_credit_ns;
    uint64_t stop_by_ns, stop_after_ns; /* 0: running */
    struct lag lag;
    unsigned lag_periods;
    struct plane_status counters;
};

/* ---- lag ---- */

static void lag_add(struct lag *lag, uint64_t ns)
{
    lag->counts[ns ? hist_index(ns) : 0]++;
    lag->total++;
    if (ns > lag->max_ns)
        lag->max_ns = ns;
}

static uint64_t lag_quantile(const struct lag *lag, uint64_t percent)
{
    uint64_t wanted = (lag->total * percent + 99) / 100, seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += lag->counts[i];
        if (seen >= wanted && seen)
            return hist_bound_ns(i) < lag->max_ns ? hist_bound_ns(i)
                                                  : lag->max_ns;
    }
    return lag->max_ns;
}

/* ---- samples out ---- */

static void count_sample(struct plane *p, const struct sample *s)
{
    struct plane_status *c = &p->counters;
    c->attempts++;
    if (s->outcome == OUTCOME_OK)
        c->ok++;
    else if (outcome_is_local(s->outcome))
        c->local++;
    else
        c->failed++;
    if (s->clock != STAMP_KERNEL)
        c->user_clock++;
    if (s->is_reconnected)
        c->reconnects++;
}

static void on_done(void *arg, const struct sample *s)
{
    struct plane *p = arg;
    /* The job number of a scheduled attempt is its entry's, plus one. */
    if (s->job) {
        schedule_done(&p->schedule, s->job - 1, false);
        p->answers[s->job - 1] = s->outcome == OUTCOME_OK;
    }
    if (s->outcome == OUTCOME_CANCELLED)
        return; /* we are going away: nothing was measured */
    struct sample copy = *s;
    copy.job = 0;
    count_sample(p, &copy);
    if (!link_post(p->samples, &copy))
        p->counters.queue_drops++;
    else if (link_count(p->samples) >= SAMPLES_QUEUED / 2)
        link_wake(p->samples);
}

/* ---- schedule ---- */

static void on_schedule(uv_timer_t *timer);

static void arm_schedule(struct plane *p)
{
    uint64_t next_ns = schedule_next(&p->schedule);
    if (next_ns == UINT64_MAX || p->stop_by_ns)
        return;
    uint64_t now_ns = clock_now_ns();
    uint64_t left_ns = next_ns > now_ns ? next_ns - now_ns : 0;
    uv_update_time(&p->loop);
    uv_timer_start(&p->schedule_timer, on_schedule,
                   (left_ns + NS_PER_MS - 1) / NS_PER_MS, 0);
}

/* What swallows every packet holds each attempt for its whole timeout, and a
 * thousand such targets fill any room. A quarter of it is kept for those that
 * answered last time, so that a dead zone does not silence the live ones. */
static bool has_room(const struct plane *p, size_t index)
{
    struct probe_loop_stats probes;
    size_t all = p->config->probe.in_flight_max;
    probe_loop_stats(p->probes, &probes);
    return probes.in_flight < (p->answers[index] ? all : all - all / 4);
}

/* May a held connection be made now? The credit is a time that lies at most a
 * burst in the past. */
static bool take_setup(struct plane *p)
{
    const uint64_t one_ns = UINT64_C(1000000000) / SETUPS_PER_S;
    uint64_t now_ns = clock_now_ns();

    if (p->setup_credit_ns + SETUP_BURST * one_ns < now_ns)
        p->setup_credit_ns = now_ns - SETUP_BURST * one_ns;
    if (p->setup_credit_ns + one_ns > now_ns)
        return false;
    p->setup_credit_ns += one_ns;
    return true;
}

/* Returns 0, ERR_CLOSED for a warm attempt whose connection has to wait (there
 * is nothing to be measured yet, so no slot is missed), or another error. */
static int start_entry(struct plane *p, struct schedule_entry *e,
                       uint64_t intended_ns)
{
    size_t index = schedule_index(&p->schedule, e);
    struct probe_attempt a = {
        .target = &p->targets[e->target],
        .protocol = e->protocol,
        .timeout_ns = p->config->probe.timeout_ns,
        .intended_ns = intended_ns,
        .target_index = e->target,
        .job = (uint32_t)index + 1,
    };
    if (e->mode == MODE_COLD)
        return probe_loop_cold(p->probes, &a);
    if (!p->warm[index])
        p->warm[index] = probe_warm_open(p->probes, a.target, e->protocol);
    if (!p->warm[index])
        return ERR_NOMEM;
    if (probe_warm_needs_setup(p->warm[index]) && !take_setup(p))
        return ERR_CLOSED;
    return probe_warm_attempt(p->warm[index], &a);
}

static void on_schedule(uv_timer_t *timer)
{
    struct plane *p = timer->data;
    struct schedule_entry *e;
    uint64_t intended_ns;
    uint64_t now_ns = clock_now_ns();
    uint64_t due_ns = schedule_next(&p->schedule);

    /* The timer's own grain is a millisecond; what is above it is lag. */
    if (due_ns <= now_ns) {
        uint64_t late_ns = now_ns - due_ns;
        lag_add(&p->lag, late_ns > NS_PER_MS ? late_ns - NS_PER_MS : 0);
    }
    /* What is left over makes the timer fire again at once, after the sockets
     * had their turn. */
    for (int i = 0; i < STARTS_PER_TURN; i++) {
        e = schedule_take(&p->schedule, now_ns, &intended_ns);
        if (!e)
            break;
        size_t index = schedule_index(&p->schedule, e);
        int rc = has_room(p, index) ? start_entry(p, e, intended_ns) : ERR_BUSY;
        if (rc)
            schedule_done(&p->schedule, index, rc != ERR_CLOSED);
    }
    arm_schedule(p);
}

/* ---- status out, commands in ---- */

static void on_status(uv_timer_t *timer)
{
    struct plane *p = timer->data;
    uint64_t now_ns = clock_now_ns();
    uint64_t late_ns =
        now_ns > p->status_due_ns ? now_ns - p->status_due_ns : 0;
    lag_add(&p->lag, late_ns > NS_PER_MS ? late_ns - NS_PER_MS : 0);
    p->status_due_ns = now_ns + STATUS_MS * NS_PER_MS;

    struct probe_loop_stats probes;
    struct responder_stats inbound = {0};
    probe_loop_stats(p->probes, &probes);
    if (p->responder)
        responder_stats(p->responder, &inbound);

    struct plane_status s = p->counters;
    s.missed_slots = p->schedule.missed;
    s.in_flight = probes.in_flight;
    s.in_flight_max = probes.in_flight_max_seen;
    s.lag_p50_ns = lag_quantile(&p->lag, 50);
    s.lag_p99_ns = lag_quantile(&p->lag, 99);
    s.lag_max_ns = p->lag.max_ns;
    s.inbound_connections = inbound.connections;
    s.inbound_requests = inbound.requests;
    s.inbound_rejected = inbound.rejected;
    s.updated_ns = now_ns;
    (void)link_post(p->status, &s); /* full: the next one says more */
    if (++p->lag_periods == LAG_WINDOW) {
        p->lag = (struct lag){0};
        p->lag_periods = 0;
    }
}

static void stop_now(struct plane *p)
{
    uv_timer_stop(&p->stop_timer);
    uv_close((uv_handle_t *)&p->schedule_timer, NULL);
    uv_close((uv_handle_t *)&p->status_timer, NULL);
    uv_close((uv_handle_t *)&p->stop_timer, NULL);
    link_close(p->commands);
    probe_loop_close(p->probes);
    responder_close(p->responder);
}

static void on_stop_timer(uv_timer_t *timer)
{
    struct plane *p = timer->data;
    struct probe_loop_stats stats;
    probe_loop_stats(p->probes, &stats);
    uint64_t now_ns = clock_now_ns();
    if (now_ns >= p->stop_by_ns ||
        (stats.in_flight == 0 && now_ns >= p->stop_after_ns))
        stop_now(p);
}

static void on_command(void *arg)
{
    struct plane *p = arg;
    struct command c;
    while (link_take(p->commands, &c)) {
        if (!p->stop_by_ns) {
            responder_drain(p->responder);
            p->stop_after_ns = clock_now_ns() + NOTICE_NS;
            p->stop_by_ns = clock_now_ns() + c.grace_ns;
            uv_timer_stop(&p->schedule_timer);
            uv_timer_start(&p->stop_timer, on_stop_timer, 0, 50);
        }
    }
}

static void run_thread(void *arg)
{
    struct plane *p = arg;
    p->thread_id = (long)gettid();
    (void)slice_request_short();
    uv_sem_post(&p->started);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    crypto_mem_release();
    link_wake(p->stopped);
}

/* ---- opening ---- */

static int add_peer(struct plane *p, const struct config_peer *peer,
                    struct errmsg *msg)
{
    const struct config *c = p->config;
    struct target *t = &p->targets[p->n_targets];
    struct plane_target *id = &p->identities[p->n_targets];
    struct url url = {
        .scheme = peer->is_plaintext ? URL_HTTP : URL_HTTPS,
        .is_tls = !peer->is_plaintext,
        .is_literal = !peer->host[0],
        .port = peer->port,
        .has_port = true,
        .path = "/probe",
    };
    if (peer->host[0])
        snprintf(url.host, sizeof(url.host), "%s", peer->host);
    else
        addr_format_ip(&peer->address, url.host);
    if (target_init(t, &url, NULL, p->client_tls, msg)) {
        errmsg_wrap(msg, "peer %s", peer->name);
        return ERR_BAD;
    }
    t->ip_first = (uint8_t)c->probe.ip;
    t->has_fingerprint = peer->has_fingerprint;
    memcpy(t->fingerprint, peer->fingerprint, sizeof(t->fingerprint));
    *id = (struct plane_target){
        .text = t->text,
        .identity = {peer->name, peer->zone, peer->region},
        .is_peer = true,
    };
    p->n_targets++;
    return 0;
}

static bool is_ours(const struct config *c, const struct config_target *t)
{
    for (size_t i = 0; i < t->n_zones; i++) {
        if (!strcmp(t->zones[i], c->node.zone))
            return true;
    }
    return t->n_zones == 0;
}

static int add_target(struct plane *p, const struct config_target *outside,
                      struct errmsg *msg)
{
    struct target *t = &p->targets[p->n_targets];
    if (target_init(t, &outside->url, outside->service, p->client_tls, msg)) {
        errmsg_wrap(msg, "target %s", outside->name);
        return ERR_BAD;
    }
    t->ip_first = (uint8_t)p->config->probe.ip;
    t->has_fingerprint = outside->has_fingerprint;
    memcpy(t->fingerprint, outside->fingerprint, sizeof(t->fingerprint));
    p->identities[p->n_targets] = (struct plane_target){
        .text = t->text,
        .identity = {outside->name, outside->zone, outside->region},
    };
    p->n_targets++;
    return 0;
}

static void schedule_target(struct plane *p, size_t index, unsigned protocols,
                            uint64_t now_ns)
{
    const struct config *c = p->config;
    for (unsigned protocol = 0; protocol < PROTOCOL_N; protocol++) {
        if (!(protocols & 1u << protocol))
            continue;
        for (unsigned mode = 0; mode < MODE_N; mode++) {
            struct schedule_entry e = {
                .interval_ns = mode == MODE_COLD ? c->probe.cold_interval_ns
                                                 : c->probe.warm_interval_ns,
                .target = (uint32_t)index,
                .protocol = (uint8_t)protocol,
                .mode = (uint8_t)mode,
                .in_flight_max =
                    mode == MODE_COLD
                        ? (uint16_t)c->probe.in_flight_per_target_max
                        : 1,
            };
            int rc =
                schedule_add(&p->schedule, c->node.name,
                             p->identities[index].identity.name, &e, now_ns);
            assert(rc >= 0);
            (void)rc;
        }
    }
}

/* With the system's resolver goes the system's hosts file. */
static void use_hosts(struct plane *p)
{
    size_t len;
    char *text = p->config->dns.n_servers ? NULL : hosts_read(&len);
    for (size_t i = 0; text && i < p->n_targets; i++)
        target_use_hosts(&p->targets[i], text, len);
    free(text);
}

static int build_targets(struct plane *p, struct errmsg *msg)
{
    const struct config *c = p->config;
    size_t n = c->n_peers + c->n_targets;
    size_t n_entries = n * PROTOCOL_N * MODE_N;
    p->targets = calloc(n ? n : 1, sizeof(*p->targets));
    p->identities = calloc(n ? n : 1, sizeof(*p->identities));
    p->warm = calloc(n_entries ? n_entries : 1, sizeof(struct probe_warm *));
    p->answers = calloc(n_entries ? n_entries : 1, sizeof(*p->answers));
    if (!p->targets || !p->identities || !p->warm || !p->answers ||
        schedule_init(&p->schedule, n_entries)) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    uint64_t now_ns = clock_now_ns();
    for (size_t i = 0; i < c->n_peers; i++) {
        if (add_peer(p, &c->peers[i], msg))
            return ERR_BAD;
        schedule_target(p, p->n_targets - 1, c->probe.protocols, now_ns);
    }
    for (size_t i = 0; i < c->n_targets; i++) {
        if (!is_ours(c, &c->targets[i]))
            continue;
        if (add_target(p, &c->targets[i], msg))
            return ERR_BAD;
        schedule_target(p, p->n_targets - 1, c->targets[i].protocols, now_ns);
    }
    use_hosts(p);
    return 0;
}

static const char *path_or_null(const char *path)
{
    return path[0] ? path : NULL;
}

static int open_tls(struct plane *p, struct errmsg *msg)
{
    const struct config *c = p->config;
    struct tls_client_config client = {
        .ca_file = path_or_null(c->tls.ca),
        .cpu_ns = clock_thread_cpu_ns,
    };
    p->client_tls = tls_client_context(&client, msg);
    if (!p->client_tls)
        return ERR_BAD;
    if (c->probe.is_plaintext)
        return 0;
    struct tls_server_config server = {
        .cert_file = path_or_null(c->tls.certificate),
        .key_file = path_or_null(c->tls.key),
        .name = c->probe.host[0] ? c->probe.host : c->node.name,
        .now_unix_s = clock_now_unix_ns() / 1000000000u,
    };
    p->server_tls = tls_server_context(&server, msg);
    return p->server_tls ? 0 : ERR_BAD;
}

/* Before all that can fail, so that stop_now() may close them. */
static void init_timers(struct plane *p)
{
    uv_timer_init(&p->loop, &p->schedule_timer);
    uv_timer_init(&p->loop, &p->status_timer);
    uv_timer_init(&p->loop, &p->stop_timer);
    p->schedule_timer.data = p->status_timer.data = p->stop_timer.data = p;
}

static int open_loop_parts(struct plane *p, struct errmsg *msg)
{
    const struct config *c = p->config;
    struct probe_loop_config probes = {
        .loop = &p->loop,
        .in_flight_max = c->probe.in_flight_max,
        .warm_max = p->n_targets * PROTOCOL_N,
        .dns_servers = c->dns.servers,
        .n_dns_servers = c->dns.n_servers,
        .done = on_done,
        .arg = p,
    };
    struct responder_config responder = {
        .listen = c->probe.listen,
        .tls = p->server_tls,
        .connections_max = c->probe.connections_max,
        .idle_timeout_ns = c->probe.idle_timeout_ns,
        .delay_ns = c->probe.response_delay_ns,
    };
    p->responder = responder_open(&p->loop, &responder, &p->listen, msg);
    if (!p->responder)
        return ERR_SYS;
    p->probes = probe_loop_open(&probes, msg);
    if (!p->probes)
        return ERR_SYS;
    p->commands = link_open(&p->loop, COMMANDS_QUEUED, sizeof(struct command),
                            on_command, p);
    if (!p->commands) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    p->status_due_ns = clock_now_ns() + STATUS_MS * NS_PER_MS;
    uv_timer_start(&p->status_timer, on_status, STATUS_MS, STATUS_MS);
    arm_schedule(p);
    return 0;
}

static void on_thread_ended(void *arg)
{
    struct plane *p = arg;
    uv_thread_join(&p->thread);
    p->on_stopped(p->arg);
}

static void free_plane(struct plane *p)
{
    link_close(p->samples);
    link_close(p->status);
    link_close(p->stopped);
    schedule_fini(&p->schedule);
    tls_context_close(p->client_tls);
    tls_context_close(p->server_tls);
    for (size_t i = 0; p->targets && i < p->n_targets; i++)
        target_fini(&p->targets[i]);
    free(p->targets);
    free(p->identities);
    free(p->warm);
    free(p->answers);
    free(p);
}

static int open_links(struct plane *p, uv_loop_t *control_loop)
{
    p->samples = link_open(control_loop, SAMPLES_QUEUED, sizeof(struct sample),
                           p->on_samples, p->arg);
    p->status = link_open(control_loop, STATUS_QUEUED,
                          sizeof(struct plane_status), NULL, NULL);
    p->stopped = link_open(control_loop, 1, sizeof(int), on_thread_ended, p);
    return p->samples && p->status && p->stopped ? 0 : ERR_NOMEM;
}

static int start_thread(struct plane *p)
{
    if (uv_sem_init(&p->started, 0))
        return ERR_SYS;
    int rc = uv_thread_create(&p->thread, run_thread, p);
    if (rc == 0)
        uv_sem_wait(&p->started);
    uv_sem_destroy(&p->started);
    return rc ? ERR_SYS : 0;
}

struct plane *plane_open(const struct plane_config *c, struct errmsg *msg)
{
    struct plane *p = calloc(1, sizeof(*p));
    if (!p) {
        errmsg_set(msg, "out of memory");
        return NULL;
    }
    p->config = c->config;
    p->on_samples = c->on_samples;
    p->on_stopped = c->on_stopped;
    p->arg = c->arg;
    if (open_links(p, c->control_loop)) {
        errmsg_set(msg, "out of memory");
        goto fail;
    }
    if (open_tls(p, msg) || build_targets(p, msg))
        goto fail;
    if (uv_loop_init(&p->loop)) {
        errmsg_set(msg, "cannot make the measuring loop");
        goto fail;
    }
    init_timers(p);
    if (open_loop_parts(p, msg))
        goto fail_loop;
    if (start_thread(p)) {
        errmsg_set(msg, "cannot start the measuring thread");
        goto fail_loop;
    }
    return p;

fail_loop:
    /* There is no thread, so its loop may be run here until all is closed. */
    stop_now(p);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    uv_loop_close(&p->loop);
fail:
    free_plane(p);
    return NULL;
}

bool plane_take_sample(struct plane *p, struct sample *s)
{
    return link_take(p->samples, s);
}

bool plane_take_status(struct plane *p, struct plane_status *s)
{
    return link_take(p->status, s);
}

size_t plane_targets(const struct plane *p)
{
    return p->n_targets;
}

const struct plane_target *plane_target(const struct plane *p, size_t i)
{
    assert(i < p->n_targets);
    return &p->identities[i];
}

long plane_thread_id(const struct plane *p)
{
    return p->thread_id;
}

void plane_fingerprint(const struct plane *p,
                       uint8_t sha256[TLS_FINGERPRINT_SIZE])
{
    memset(sha256, 0, TLS_FINGERPRINT_SIZE);
    if (p->server_tls)
        tls_context_fingerprint(p->server_tls, sha256);
}

void plane_address(const struct plane *p, struct addr *listen)
{
    *listen = p->listen;
}

void plane_stop(struct plane *p, uint64_t grace_ns)
{
    struct command c = {.grace_ns = grace_ns};
    if (link_post(p->commands, &c))
        link_wake(p->commands);
}

void plane_close(struct plane *p)
{
    if (!p)
        return;
    uv_loop_close(&p->loop);
    free_plane(p);
}
