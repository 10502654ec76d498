/* The measuring thread. */
#include <unistd.h>

#include "prober/clock.h"
#include "prober/crypto_mem.h"
#include "prober/plane_private_uv.h"
#include "prober/slice.h"
#include "prober/target.h"
#include "proto/base/due.h"

#define STATUS_MS       1000
#define STARTS_PER_TURN 64

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
    if (s->job)
        plane_end_attempt(p, s->job - 1, s->outcome == OUTCOME_OK);
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

void plane_arm_schedule(struct plane *p)
{
    uint64_t next_ns = schedule_next(&p->schedule);
    if (next_ns == UINT64_MAX || p->stop_by_ns)
        return;
    uint64_t wait_ms = due_ms(next_ns, clock_now_ns());
    uv_update_time(&p->loop);
    uv_timer_start(&p->schedule_timer, on_schedule, wait_ms, 0);
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
    plane_arm_schedule(p);
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
    plane_send_back(p);
    lag_turn(&p->lag);
}

/* Nobody posts any more by now. */
static void close_commands(struct plane *p)
{
    struct command c;
    while (p->commands && link_take(p->commands, &c)) {
        handover_close(c.handover);
        plane_change_free(c.change);
    }
    link_close(p->commands);
    p->commands = NULL;
}

void plane_stop_now(struct plane *p)
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
    bool is_time = now_ns >= p->stop_by_ns ||
                   (stats.in_flight == 0 && now_ns >= p->stop_after_ns);
    if (is_time && atomic_load(&p->is_stop_told))
        plane_stop_now(p);
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

static void on_command(void *arg)
{
    struct plane *p = arg;
    struct command c;
    while (!plane_is_changing(p) && link_take(p->commands, &c)) {
        if (c.handover)
            p->handover = c.handover;
        else if (c.change)
            plane_take_change(p, c.change);
        else
            begin_stop(p, c.grace_ns);
    }
    if (!plane_is_changing(p))
        return;
    plane_go_on_changing(p);
    plane_send_back(p);
    plane_arm_schedule(p);
    link_wake(p->commands); /* for the rest, after the sockets' turn */
}

/* ---- its life ---- */

/* Before all that can fail, so that plane_stop_now() may close them. */
void plane_init_timers(struct plane *p)
{
    uv_timer_init(&p->loop, &p->schedule_timer);
    uv_timer_init(&p->loop, &p->status_timer);
    uv_timer_init(&p->loop, &p->stop_timer);
    p->schedule_timer.data = p->status_timer.data = p->stop_timer.data = p;
}

int plane_open_loop_parts(struct plane *p, struct errmsg *msg)
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
    plane_arm_schedule(p);
    return 0;
}

void plane_run_thread(void *arg)
{
    struct plane *p = arg;
    p->thread_id = (long)gettid();
    (void)slice_request_short();
    uv_sem_post(&p->started);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    crypto_mem_release();
    link_wake(p->stopped);
}
