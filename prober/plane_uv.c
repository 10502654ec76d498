/* The control plane's side of the measuring. */
#include "prober/plane_uv.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/clock.h"
#include "prober/plane_private_uv.h"
#include "prober/target.h"

#define STATUS_QUEUED  8
#define RETURNS_QUEUED 8

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
    plane_change_free(p->pending);
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
    int rc = uv_thread_create(&p->thread, plane_run_thread, p);
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
    plane_init_timers(p);
    if (plane_open_loop_parts(p, msg))
        goto fail_loop;
    if (start_thread(p)) {
        errmsg_set(msg, "cannot start the measuring thread");
        goto fail_loop;
    }
    return p;

fail_loop:
    /* There is no thread, so its loop may be run here until all is closed. */
    plane_stop_now(p);
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
    plane_change_free(c);
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
    plane_change_free(p->pending); /* nothing was made with it yet */
    p->pending = c;
    (void)post_pending(p);
}

void plane_change_drop(struct plane_change *c)
{
    plane_change_free(c);
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
    /* Only from now on may the thread close it. */
    atomic_store(&p->is_stop_told, true);
}

void plane_close(struct plane *p)
{
    if (!p)
        return;
    uv_loop_close(&p->loop);
    free_plane(p);
}
