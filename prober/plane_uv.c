#include "prober/plane_uv.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "prober/clock.h"
#include "prober/crypto_mem.h"
#include "prober/handover.h"
#include "prober/lag.h"
#include "prober/link_uv.h"
#include "prober/probe_loop_uv.h"
#include "prober/resolve_uv.h"
#include "prober/responder_uv.h"
#include "prober/schedule.h"
#include "prober/slice.h"
#include "prober/target.h"
#include "proto/base/rate.h"

#define SAMPLES_QUEUED   1024
#define STATUS_QUEUED    8
#define COMMANDS_QUEUED  8
#define RETURNS_QUEUED   8
#define CHANGES_PER_TURN 32 /* targets taken over, below a tenth of a ms */
#define STATUS_MS        1000
#define STARTS_PER_TURN  64

/* Held connections are set up no faster than this. After a start, or when a
 * zone comes back, a thousand handshakes at once would keep the core busy for
 * a second, spoil what is being measured, and take 40 KiB each of memory that
 * malloc then never gives back. By time and not by number in progress: a peer
 * that never answers must not hold up the others. */
#define SETUPS_PER_S 200
#define SETUP_BURST  20
/* Of the burst, what is kept for peers that answer: all come round at the same
 * pace, so that without it those that refuse could take every turn for ever. */
#define SETUPS_KEPT 5

/* Between the first NOT_SERVING or 503 and the end: long enough for peers
 * that probe once a second to be told, and not to find us gone. */
#define NOTICE_NS UINT64_C(1200000000)

#define NS_PER_MS UINT64_C(1000000)

/* The part of the configuration that the measuring thread goes by: its own
 * copy, for the control plane's changes under its eyes. */
struct pace {
    uint64_t cold_ns, warm_ns, timeout_ns;
    uint64_t response_delay_ns, idle_timeout_ns;
    uint16_t per_target_max;
};

/* A change of it; changes owner through the commands. */
struct plane_change {
    struct pace pace;
    struct tls_context *client_tls, *server_tls; /* NULL: the one there is */
    struct resolver *resolver;                   /* the same */
};

/* One of these; if none: drain, then stop. */
struct command {
    struct handover *handover;
    struct plane_change *change;
    uint64_t grace_ns;
};

struct plane {
    /* Written before the thread starts, then read only. */
    const struct config *config;
    void (*on_stopped)(void *arg);
    void (*on_samples)(void *arg);
    void *arg;
    struct addr listen;
    char node[CONFIG_NAME_MAX + 1];
    size_t in_flight_max;

    /* The control plane's. */
    struct lineup *lineup;
    struct tls_context *aim_tls; /* the newest one, for new aims; borrowed */
    uint8_t fingerprint[TLS_FINGERPRINT_SIZE]; /* the newest one's */
    struct plane_change *pending; /* for want of room in the queue */
    struct aim_policy *policy;    /* of the last aim that had one, or NULL */
    struct aim *released;         /* to be freed once all samples were taken */
    bool is_stopping;

    /* The queues. */
    struct link *samples, *status, *commands, *returned, *stopped;

    /* The measuring thread's. */
    uv_loop_t loop;
    uv_thread_t thread;
    uv_sem_t started;
    long thread_id;
    struct probe_loop *probes;
    struct responder *responder;
    struct schedule schedule;
    struct tls_context *client_tls, *server_tls;
    struct pace pace;
    size_t retimed;            /* slots whose cadence is that of `pace` */
    struct handover *handover; /* being taken over */
    struct aim *retired;       /* to be sent back */
    bool is_closing;
    uv_timer_t schedule_timer, status_timer, stop_timer;
    uint64_t status_due_ns;
    struct rate setups;
    uint64_t stop_by_ns, stop_after_ns; /* 0: running */
    struct lag lag;
    struct plane_status counters;
    struct aim *aims[LINEUP_SLOTS_MAX]; /* by slot */
};

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

static void end_attempt(struct plane *p, size_t index, bool is_ok);

static void on_done(void *arg, const struct sample *s)
{
    struct plane *p = arg;
    /* The job number of a scheduled attempt is its entry's, plus one. */
    if (s->job)
        end_attempt(p, s->job - 1, s->outcome == OUTCOME_OK);
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
static bool has_room(const struct plane *p, bool answers)
{
    struct probe_loop_stats probes;
    size_t all = p->in_flight_max;
    probe_loop_stats(p->probes, &probes);
    return probes.in_flight < (answers ? all : all - all / 4);
}

/* May a held connection be made now? Whether the peer answers is known from its
 * cold attempts too, which need no turn. */
static bool take_setup(struct plane *p, const struct aim *aim,
                       unsigned protocol)
{
    const uint64_t one_ns = rate_price(1, SETUPS_PER_S);
    bool answers = aim->answers[aim_kind(protocol, MODE_COLD)] ||
                   aim->answers[aim_kind(protocol, MODE_WARM)];
    uint64_t burst = answers ? SETUP_BURST : SETUP_BURST - SETUPS_KEPT;
    return rate_take(&p->setups, clock_now_ns(), one_ns, burst * one_ns);
}

/* Returns 0, ERR_CLOSED for a warm attempt whose connection has to wait (there
 * is nothing to be measured yet, so no slot is missed), or another error. */
static int start_entry(struct plane *p, struct schedule_entry *e,
                       uint64_t intended_ns)
{
    struct aim *aim = p->aims[e->target];
    struct probe_warm **warm = &aim->warm[e->protocol];
    struct probe_attempt a = {
        .target = &aim->target,
        .protocol = e->protocol,
        .timeout_ns = p->pace.timeout_ns,
        .intended_ns = intended_ns,
        .target_index = aim->slot,
        .target_gen = aim->generation,
        .job = (uint32_t)schedule_index(&p->schedule, e) + 1,
    };
    if (!has_room(p, aim->answers[aim_kind(e->protocol, e->mode)]))
        return ERR_BUSY;
    if (e->mode == MODE_COLD)
        return probe_loop_cold(p->probes, &a);
    if (!*warm)
        *warm = probe_warm_open(p->probes, a.target, e->protocol);
    if (!*warm)
        return ERR_NOMEM;
    if (probe_warm_needs_setup(*warm) && !take_setup(p, aim, e->protocol))
        return ERR_CLOSED;
    return probe_warm_attempt(*warm, &a);
}

static void on_schedule(uv_timer_t *timer)
{
    struct plane *p = timer->data;
    struct schedule_entry *e;
    uint64_t intended_ns;
    uint64_t now_ns = clock_now_ns();
    uint64_t due_ns = schedule_next(&p->schedule);

    /* The timer's own grain is a millisecond; what is above it is lag. */
    if (due_ns <= now_ns)
        lag_add(&p->lag, now_ns - due_ns, NS_PER_MS);
    /* What is left over makes the timer fire again at once, after the sockets
     * had their turn. */
    for (int i = 0; i < STARTS_PER_TURN; i++) {
        e = schedule_take(&p->schedule, now_ns, &intended_ns);
        if (!e)
            break;
        int rc = start_entry(p, e, intended_ns);
        if (rc)
            schedule_done(&p->schedule, schedule_index(&p->schedule, e),
                          rc != ERR_CLOSED);
        else
            p->aims[e->target]->n_running++;
    }
    arm_schedule(p);
}

/* ---- targets in, and back ---- */

/* Nothing of it is in flight any more. It goes back with the next status, that
 * is, behind all of its samples. */
static void retire(struct plane *p, struct aim *aim)
{
    p->aims[aim->slot] = NULL;
    aim->next = p->retired;
    p->retired = aim;
}

static void send_back(struct plane *p)
{
    if (p->retired && link_post(p->returned, &p->retired))
        p->retired = NULL;
}

static void end_attempt(struct plane *p, size_t index, bool is_ok)
{
    const struct schedule_entry *e = &p->schedule.entries[index];
    struct aim *aim = p->aims[e->target];

    schedule_done(&p->schedule, index, false);
    aim->answers[aim_kind(e->protocol, e->mode)] = is_ok;
    aim->n_running--;
    /* When all is closed, the loop of the probes does it by itself. */
    if (!aim->is_removed || p->is_closing)
        return;
    if (e->mode == MODE_WARM) {
        probe_warm_close(aim->warm[e->protocol]);
        aim->warm[e->protocol] = NULL;
    }
    if (aim->n_running == 0)
        retire(p, aim);
}

static uint64_t interval_of(const struct plane *p, unsigned mode)
{
    return mode == MODE_COLD ? p->pace.cold_ns : p->pace.warm_ns;
}

static uint16_t in_flight_max_of(const struct plane *p, unsigned mode)
{
    return mode == MODE_COLD ? p->pace.per_target_max : 1;
}

static void add_entry(struct plane *p, struct aim *aim, unsigned protocol,
                      unsigned mode, uint64_t now_ns)
{
    struct schedule_entry e = {
        .interval_ns = interval_of(p, mode),
        .target = aim->slot,
        .protocol = (uint8_t)protocol,
        .mode = (uint8_t)mode,
        .in_flight_max = in_flight_max_of(p, mode),
    };
    int index = schedule_add(&p->schedule, p->node, aim->name, &e, now_ns);
    assert(index >= 0); /* there is room for all slots */
    aim->entries[aim_kind(protocol, mode)] = index;
}

static void add_aim(struct plane *p, struct aim *aim, uint64_t now_ns)
{
    assert(!p->aims[aim->slot]);
    p->aims[aim->slot] = aim;
    for (unsigned protocol = 0; protocol < PROTOCOL_N; protocol++) {
        if (!(aim->protocols & 1u << protocol))
            continue;
        for (unsigned mode = 0; mode < MODE_N; mode++)
            add_entry(p, aim, protocol, mode, now_ns);
    }
}

/* What is in flight ends by itself, and is reported: it was begun while this
 * was a target. */
static void remove_aim(struct plane *p, struct aim *aim)
{
    aim->is_removed = true;
    for (unsigned protocol = 0; protocol < PROTOCOL_N; protocol++) {
        int warm = aim->entries[aim_kind(protocol, MODE_WARM)];
        if (warm >= 0 && p->schedule.entries[warm].in_flight == 0) {
            probe_warm_close(aim->warm[protocol]);
            aim->warm[protocol] = NULL;
        }
    }
    for (size_t i = 0; i < AIM_KINDS; i++) {
        if (aim->entries[i] >= 0)
            schedule_remove(&p->schedule, (size_t)aim->entries[i]);
    }
    if (aim->n_running == 0)
        retire(p, aim);
}

/* A slice of it. True: that was the last one. */
static bool take_over(struct plane *p, struct handover *h)
{
    uint64_t now_ns = clock_now_ns();
    size_t n = h->n_removed + h->n_added;
    for (int i = 0; i < CHANGES_PER_TURN && h->done < n; i++, h->done++) {
        if (h->done < h->n_removed)
            remove_aim(p, p->aims[h->removed[h->done]]);
        else
            add_aim(p, h->added[h->done - h->n_removed], now_ns);
    }
    return h->done == n;
}

/* ---- another pace, other certificates ---- */

static void change_drop(struct plane_change *c)
{
    if (!c)
        return;
    tls_context_close(c->client_tls);
    tls_context_close(c->server_tls);
    resolver_drop(c->resolver);
    free(c);
}

/* Sessions under way hold on to the contexts they began with. */
static void swap_tls(struct plane *p, struct plane_change *c)
{
    struct tls_context *client = p->client_tls, *server = p->server_tls;
    p->client_tls = c->client_tls;
    for (size_t i = 0; i < LINEUP_SLOTS_MAX; i++) {
        if (p->aims[i] && p->aims[i]->target.tls)
            p->aims[i]->target.tls = p->client_tls;
    }
    if (c->server_tls)
        p->server_tls = c->server_tls;
    c->client_tls = client;
    c->server_tls = c->server_tls ? server : NULL;
}

static void take_change(struct plane *p, struct plane_change *c)
{
    p->pace = c->pace;
    p->retimed = 0;
    swap_tls(p, c);
    if (c->resolver)
        probe_loop_set_resolver(p->probes, c->resolver);
    c->resolver = NULL;
    responder_set(p->responder, p->server_tls, p->pace.idle_timeout_ns,
                  p->pace.response_delay_ns);
    change_drop(c); /* with what was there before */
}

static void retime_aim(struct plane *p, const struct aim *aim, uint64_t now_ns)
{
    for (unsigned kind = 0; kind < AIM_KINDS && !aim->is_removed; kind++) {
        unsigned mode = kind % MODE_N;
        if (aim->entries[kind] >= 0)
            schedule_retime(&p->schedule, (size_t)aim->entries[kind], p->node,
                            aim->name, interval_of(p, mode),
                            in_flight_max_of(p, mode), now_ns);
    }
}

/* A slice of the targets is given the new cadence. */
static void retime(struct plane *p)
{
    uint64_t now_ns = clock_now_ns();
    int n = 0;
    for (; p->retimed < LINEUP_SLOTS_MAX && n < CHANGES_PER_TURN;
         p->retimed++) {
        if (!p->aims[p->retimed])
            continue;
        retime_aim(p, p->aims[p->retimed], now_ns);
        n++;
    }
}

/* ---- status out, commands in ---- */

static void on_status(uv_timer_t *timer)
{
    struct plane *p = timer->data;
    uint64_t now_ns = clock_now_ns();
    lag_add(&p->lag, now_ns > p->status_due_ns ? now_ns - p->status_due_ns : 0,
            NS_PER_MS);
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
    send_back(p);
    lag_turn(&p->lag);
}

/* Nobody posts any more by now. */
static void close_commands(struct plane *p)
{
    struct command c;
    while (p->commands && link_take(p->commands, &c)) {
        handover_close(c.handover);
        change_drop(c.change);
    }
    link_close(p->commands);
    p->commands = NULL;
}

static void stop_now(struct plane *p)
{
    p->is_closing = true;
    uv_timer_stop(&p->stop_timer);
    uv_close((uv_handle_t *)&p->schedule_timer, NULL);
    uv_close((uv_handle_t *)&p->status_timer, NULL);
    uv_close((uv_handle_t *)&p->stop_timer, NULL);
    close_commands(p);
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

static void begin_stop(struct plane *p, uint64_t grace_ns)
{
    if (p->stop_by_ns)
        return;
    responder_drain(p->responder);
    p->stop_after_ns = clock_now_ns() + NOTICE_NS;
    p->stop_by_ns = clock_now_ns() + grace_ns;
    uv_timer_stop(&p->schedule_timer);
    uv_timer_start(&p->stop_timer, on_stop_timer, 0, 50);
}

/* Is a command still being carried out, a slice at a time? */
static bool is_changing(const struct plane *p)
{
    return p->handover || p->retimed < LINEUP_SLOTS_MAX;
}

static void on_command(void *arg)
{
    struct plane *p = arg;
    struct command c;
    while (!is_changing(p) && link_take(p->commands, &c)) {
        if (c.handover)
            p->handover = c.handover;
        else if (c.change)
            take_change(p, c.change);
        else
            begin_stop(p, c.grace_ns);
    }
    if (!is_changing(p))
        return;
    if (p->retimed < LINEUP_SLOTS_MAX) {
        retime(p);
    } else if (take_over(p, p->handover)) {
        handover_close(p->handover);
        p->handover = NULL;
    }
    send_back(p);
    arm_schedule(p);
    link_wake(p->commands); /* for the rest, after the sockets' turn */
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

static const char *path_or_null(const char *path)
{
    return path[0] ? path : NULL;
}

static struct pace pace_of(const struct config *c)
{
    return (struct pace){
        .cold_ns = c->probe.cold_interval_ns,
        .warm_ns = c->probe.warm_interval_ns,
        .timeout_ns = c->probe.timeout_ns,
        .response_delay_ns = c->probe.response_delay_ns,
        .idle_timeout_ns = c->probe.idle_timeout_ns,
        .per_target_max = (uint16_t)c->probe.in_flight_per_target_max,
    };
}

static struct tls_context *open_client_tls(const struct config *c,
                                           struct errmsg *msg)
{
    struct tls_client_config client = {
        .ca_file = path_or_null(c->tls.ca),
        .cpu_ns = clock_thread_cpu_ns,
    };
    return tls_client_context(&client, msg);
}

static struct tls_context *open_server_tls(const struct config *c,
                                           struct errmsg *msg)
{
    struct tls_server_config server = {
        .cert_file = path_or_null(c->tls.certificate),
        .key_file = path_or_null(c->tls.key),
        .name = c->probe.host[0] ? c->probe.host : c->node.name,
        .now_unix_s = clock_now_unix_ns() / 1000000000u,
    };
    return tls_server_context(&server, msg);
}

static int open_tls(struct plane *p, struct errmsg *msg)
{
    p->client_tls = p->aim_tls = open_client_tls(p->config, msg);
    if (!p->client_tls)
        return ERR_BAD;
    if (p->config->probe.is_plaintext)
        return 0;
    p->server_tls = open_server_tls(p->config, msg);
    if (!p->server_tls)
        return ERR_BAD;
    tls_context_fingerprint(p->server_tls, p->fingerprint);
    return 0;
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
        .warm_max = (size_t)LINEUP_SLOTS_MAX * PROTOCOL_N,
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

static void close_aims(struct aim *first)
{
    for (struct aim *a = first, *next; a; a = next) {
        next = a->next;
        aim_close(a);
    }
}

static void free_plane(struct plane *p)
{
    struct aim *chain;
    while (p->returned && link_take(p->returned, &chain))
        close_aims(chain);
    close_aims(p->released);
    close_aims(p->retired);
    for (size_t i = 0; i < LINEUP_SLOTS_MAX; i++)
        aim_close(p->aims[i]);
    handover_close(p->handover);
    change_drop(p->pending);
    aim_policy_release(p->policy);
    link_close(p->samples);
    link_close(p->status);
    link_close(p->returned);
    link_close(p->stopped);
    schedule_fini(&p->schedule);
    lineup_close(p->lineup);
    tls_context_close(p->client_tls);
    tls_context_close(p->server_tls);
    free(p);
}

static int open_links(struct plane *p, uv_loop_t *control_loop)
{
    p->samples = link_open(control_loop, SAMPLES_QUEUED, sizeof(struct sample),
                           p->on_samples, p->arg);
    p->status = link_open(control_loop, STATUS_QUEUED,
                          sizeof(struct plane_status), NULL, NULL);
    p->stopped = link_open(control_loop, 1, sizeof(int), on_thread_ended, p);
    p->returned = link_open(control_loop, RETURNS_QUEUED, sizeof(struct aim *),
                            NULL, NULL);
    return p->samples && p->status && p->stopped && p->returned ? 0 : ERR_NOMEM;
}

/* Room for all there may ever be; what is not used is never touched. */
static int open_books(struct plane *p)
{
    p->lineup = lineup_open();
    if (!p->lineup)
        return ERR_NOMEM;
    return schedule_init(&p->schedule, LINEUP_SLOTS_MAX * AIM_KINDS);
}

static int start_thread(struct plane *p)
{
    if (uv_sem_init(&p->started, 0))
        return ERR_SYS;
    /* Signals are the main thread's: none is to interrupt the measuring. */
    sigset_t all, before;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = uv_thread_create(&p->thread, run_thread, p);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
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
    p->pace = pace_of(c->config);
    p->retimed = LINEUP_SLOTS_MAX;
    p->in_flight_max = c->config->probe.in_flight_max;
    snprintf(p->node, sizeof(p->node), "%s", c->config->node.name);
    p->on_samples = c->on_samples;
    p->on_stopped = c->on_stopped;
    p->arg = c->arg;
    if (open_links(p, c->control_loop) || open_books(p)) {
        errmsg_set(msg, "out of memory");
        goto fail;
    }
    if (open_tls(p, msg))
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

/* ---- other targets ---- */

/* The last place in the queue is plane_stop()'s. */
static bool post_command(struct plane *p, const struct command *c)
{
    if (link_count(p->commands) >= COMMANDS_QUEUED - 1 ||
        !link_post(p->commands, c))
        return false;
    link_wake(p->commands);
    return true;
}

/* A change whose time has not come yet; it goes before all later targets. */
static bool post_pending(struct plane *p)
{
    struct command c = {.change = p->pending};
    if (!p->pending)
        return true;
    if (p->is_stopping || !post_command(p, &c))
        return false;
    p->pending = NULL;
    return true;
}

int plane_set_targets(struct plane *p, const struct aim_want *wants, size_t n,
                      struct errmsg *msg)
{
    struct lineup_plan plan;
    struct command c = {0};
    if (p->is_stopping)
        return ERR_CLOSED;
    if (n > LINEUP_TARGETS_MAX)
        return ERR_TOOBIG;
    if (!post_pending(p))
        return ERR_BUSY;
    struct handover_means means = {
        .tls = p->aim_tls,
        .policy = &p->policy,
        /* With the system's resolver goes the system's hosts file. */
        .reads_hosts = !p->config->dns.n_servers,
    };
    int rc =
        handover_open(p->lineup, wants, n, &means, &c.handover, &plan, msg);
    if (rc && rc != ERR_BAD)
        return rc;
    if (c.handover && !post_command(p, &c)) {
        handover_close(c.handover);
        lineup_drop(p->lineup, &plan);
        return ERR_BUSY;
    }
    lineup_apply(p->lineup, &plan);
    return rc;
}

/* ---- another configuration ---- */

struct plane_change *plane_prepare(const struct plane *p,
                                   const struct config *to, struct errmsg *msg)
{
    struct plane_change *c = calloc(1, sizeof(*c));
    bool had_own = !p->config->tls.certificate[0];
    bool has_own = !to->tls.certificate[0];
    if (!c) {
        errmsg_set(msg, "out of memory");
        return NULL;
    }
    c->pace = pace_of(to);
    c->client_tls = open_client_tls(to, msg);
    if (c->client_tls && !to->probe.is_plaintext && !(had_own && has_own))
        c->server_tls = open_server_tls(to, msg);
    if (!c->client_tls ||
        !(c->server_tls || to->probe.is_plaintext || (had_own && has_own)))
        goto fail;
    /* Also for the same servers: resolv.conf is another one, maybe. */
    c->resolver = probe_loop_resolver(to->dns.servers, to->dns.n_servers,
                                      p->in_flight_max, msg);
    if (c->resolver)
        return c;
fail:
    change_drop(c);
    return NULL;
}

void plane_change_fingerprint(const struct plane *p,
                              const struct plane_change *c,
                              uint8_t sha256[TLS_FINGERPRINT_SIZE])
{
    plane_fingerprint(p, sha256);
    if (c->server_tls)
        tls_context_fingerprint(c->server_tls, sha256);
}

void plane_apply(struct plane *p, struct plane_change *c)
{
    plane_change_fingerprint(p, c, p->fingerprint);
    p->aim_tls = c->client_tls;
    if (p->pending && !c->server_tls) { /* what it would have brought */
        c->server_tls = p->pending->server_tls;
        p->pending->server_tls = NULL;
    }
    change_drop(p->pending); /* nothing was made with it yet */
    p->pending = c;
    (void)post_pending(p);
}

void plane_change_drop(struct plane_change *c)
{
    change_drop(c);
}

struct lineup *plane_lineup(const struct plane *p)
{
    return p->lineup;
}

/* There are no samples waiting. So those of the targets that came back before
 * are through, and their slots may be used again; but a target may have come
 * back just now, behind samples that were posted since we looked. */
static void release_returned(struct plane *p)
{
    struct aim *chain;
    for (struct aim *a = p->released; a; a = a->next)
        lineup_retire(p->lineup, a->slot);
    close_aims(p->released);
    p->released = NULL;
    while (link_take(p->returned, &chain)) {
        while (chain) {
            struct aim *a = chain;
            chain = a->next;
            a->next = p->released;
            p->released = a;
        }
    }
}

bool plane_take_sample(struct plane *p, struct sample *s)
{
    if (link_take(p->samples, s))
        return true;
    release_returned(p);
    return false;
}

bool plane_take_status(struct plane *p, struct plane_status *s)
{
    (void)post_pending(p);
    return link_take(p->status, s);
}

long plane_thread_id(const struct plane *p)
{
    return p->thread_id;
}

void plane_fingerprint(const struct plane *p,
                       uint8_t sha256[TLS_FINGERPRINT_SIZE])
{
    memcpy(sha256, p->fingerprint, TLS_FINGERPRINT_SIZE);
}

void plane_address(const struct plane *p, struct addr *listen)
{
    *listen = p->listen;
}

void plane_stop(struct plane *p, uint64_t grace_ns)
{
    struct command c = {.grace_ns = grace_ns};
    p->is_stopping = true;
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
