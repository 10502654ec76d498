#include "prober/daemon.h"

#include <assert.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "mesh/frames.h"
#include "mesh/history.h"
#include "mesh/matrix.h"
#include "prober/api.h"
#include "prober/backfill_uv.h"
#include "prober/census.h"
#include "prober/cli.h"
#include "prober/clock.h"
#include "prober/config.h"
#include "prober/env.h"
#include "prober/footprint.h"
#include "prober/gossip.h"
#include "prober/httpd_uv.h"
#include "prober/log.h"
#include "prober/metrics.h"
#include "prober/plane_uv.h"
#include "prober/process.h"
#include "prober/roster.h"
#include "prober/spread_uv.h"
#include "prober/totals.h"
#include "prober/window.h"

#define SAMPLES_KEPT   1024
#define DRAIN_MS       200 /* how often the plane's queues are looked at */
#define HOUSEKEEP_MS   1000
#define STALL_AFTER_NS UINT64_C(10000000000) /* no status: /livez fails */
#define GRACE_NS       UINT64_C(4000000000)  /* for attempts in flight */
#define LEAD_MAX_S     60 /* clock set back further: begin anew */
#define NS_PER_S       UINT64_C(1000000000)
#define WINDOW_NS      (FRAME_WINDOW_S * NS_PER_S)
#define WORK_NS        UINT64_C(1000000)    /* of a turn, on the history */
#define TAKE_MAX       512                  /* samples folded per turn */
#define FOLLOW_NS      UINT64_C(500000000)  /* between looks at the members */
#define CENSUS_NS      UINT64_C(1000000000) /* ages in the API are as old */
#define LEAVE_NS       UINT64_C(3000000000) /* for the leave to be told */
#define ORIGIN_SHARE   8 /* part of the memory for frames that one origin has */
#define ORIGIN_EPOCHS  4 /* lives of a node within ten seconds */
#define END_MS         200 /* for what is left when all is closed */

/* The control plane: everything that runs on the main loop. */
struct daemon {
    uv_loop_t *loop;
    struct config *config;
    struct plane *plane;
    struct addr_policy policy; /* on addresses that others named */
    struct roster *roster;
    struct gossip *gossip;        /* NULL: there is no mesh */
    struct spread_uv *spread;     /* the same */
    struct backfill_uv *backfill; /* the same */
    struct api_mesh mesh;
    struct httpd *httpd;
    struct windows *windows;
    struct totals *totals;
    struct frames *frames;
    struct history *history;
    struct env *env;
    struct api_source source;
    struct metrics_source metrics;
    struct plane_status status, status_at_cut;
    struct frame_context context;
    uint64_t env_at_ns;
    uint64_t lag_p99_ns, in_flight; /* the most since the last context */
    uint64_t window;                /* that the clock says is running */
    uint64_t followed_ns;           /* when the members were looked at */
    uint64_t stop_ns;               /* when the end began; 0: running */
    bool is_follow_due;             /* a member has changed */
    bool is_windows_due;            /* they do not know all targets yet */
    bool is_set_due;                /* nor does the plane */
    bool is_census_due;
    bool is_plane_ending, is_plane_stopped;
    int exit_code;
    uv_timer_t drain_timer, housekeep_timer, work_timer, end_timer;
    uv_signal_t terminate, interrupt, hangup;
    size_t samples_lost;
    struct wr encoded; /* of the frame being cut */
    struct sample samples[SAMPLES_KEPT];
};

/* ---- samples in ---- */

static void sample_names_of(void *arg, const struct sample *s,
                            struct sample_names *out)
{
    const struct daemon *d = arg;
    *out = (struct sample_names){.from_node = d->config->node.name,
                                 .from_zone = d->config->node.zone};
    const struct lineup_target *t =
        lineup_find(plane_lineup(d->plane), s->target, s->target_gen);
    if (!t)
        return;
    out->target = t->text;
    out->to_node = t->name;
    out->to_zone = t->zone;
}

/* Targets may go; those of the samples that can be asked for are kept. */
static void keep_sample(struct daemon *d, const struct sample *s)
{
    struct api_source *source = &d->source;
    struct lineup *lineup = plane_lineup(d->plane);
    struct sample *place = &d->samples[source->samples_head];
    struct lineup_target *of = lineup_find(lineup, s->target, s->target_gen);
    struct lineup_target *before = NULL;
    if (source->samples_count == SAMPLES_KEPT)
        before = lineup_find(lineup, place->target, place->target_gen);
    if (of)
        lineup_keep(of);
    if (before)
        lineup_forget(lineup, before);
    *place = *s;
    source->samples_head = (source->samples_head + 1) % SAMPLES_KEPT;
    if (source->samples_count < SAMPLES_KEPT)
        source->samples_count++;
    source->samples_total++;
}

static void count_sample(struct daemon *d, const struct sample *s)
{
    const struct lineup_target *t =
        lineup_find(plane_lineup(d->plane), s->target, s->target_gen);
    const char *zone =
        t ? matrix_label(LEVEL_ZONE, t->name, t->zone, NULL) : NULL;
    (void)totals_add(d->totals, zone, s, clock_now_ns()); /* counts that, too */
}

static void on_drain(uv_timer_t *timer);

static void take_all(void *arg)
{
    struct daemon *d = arg;
    struct sample s;
    uint64_t now_unix_ns = clock_now_unix_ns();
    int n = 0;
    for (; n < TAKE_MAX && plane_take_sample(d->plane, &s); n++) {
        keep_sample(d, &s);
        if (d->totals)
            count_sample(d, &s);
        if (d->windows && windows_add(d->windows, &s, now_unix_ns))
            d->samples_lost++; /* shown as dropped, like those of the queue */
    }
    while (plane_take_status(d->plane, &d->status)) {
        if (d->status.lag_p99_ns > d->lag_p99_ns)
            d->lag_p99_ns = d->status.lag_p99_ns;
        if (d->status.in_flight > d->in_flight)
            d->in_flight = d->status.in_flight;
        d->status.queue_drops += d->samples_lost;
    }
    if (n == TAKE_MAX && !d->source.is_draining) /* go on in the next turn */
        uv_timer_start(&d->drain_timer, on_drain, 0, DRAIN_MS);
}

/* ---- targets ---- */

static size_t list_wants(const struct daemon *d, struct aim_want *wants)
{
    size_t n = 0;
    for (size_t i = 0; i < roster_count(d->roster); i++) {
        const struct roster_entry *e = roster_get(d->roster, i);
        if (!e->is_probed || n == LINEUP_TARGETS_MAX)
            continue;
        wants[n] = (struct aim_want){
            .name = e->name,
            .zone = e->zone,
            .region = e->region,
            .url = &e->url,
            .service = e->service,
            .protocols = e->protocols,
            .ip_first = (uint8_t)d->config->probe.ip,
            .has_fingerprint = e->has_fingerprint,
            .policy = e->kind == ROSTER_MEMBER ? &d->policy : NULL,
        };
        memcpy(wants[n].fingerprint, e->fingerprint, sizeof(e->fingerprint));
        n++;
    }
    return n;
}

/* Whose samples may come from now on. */
static int set_window_targets(const struct daemon *d, struct windows *windows)
{
    const struct lineup *lineup = plane_lineup(d->plane);
    size_t n = lineup_slots(lineup);
    struct window_target *targets = calloc(n ? n : 1, sizeof(*targets));
    if (!targets)
        return ERR_NOMEM;
    lineup_window_targets(lineup, targets);
    int rc = windows_set_targets(windows, targets, n);
    free(targets);
    return rc;
}

static int set_targets(struct daemon *d, struct errmsg *msg)
{
    size_t n = roster_count(d->roster);
    struct aim_want *wants = calloc(n ? n : 1, sizeof(*wants));
    if (!wants)
        return ERR_NOMEM;
    int rc = plane_set_targets(d->plane, wants, list_wants(d, wants), msg);
    free(wants);
    d->is_set_due = rc && rc != ERR_BAD;
    d->is_windows_due = true;
    d->is_census_due = true;
    return rc;
}

static void warn_of_too_many(const struct daemon *d)
{
    size_t n = 0;
    char count[24];
    for (size_t i = 0; i < roster_count(d->roster); i++)
        n += roster_get(d->roster, i)->is_probed;
    if (n <= LINEUP_TARGETS_MAX)
        return;
    snprintf(count, sizeof(count), "%zu", n - LINEUP_TARGETS_MAX);
    log_event(LOG_WARN, "targets_left_out", "count", count, "reason",
              "there are too many", NULL);
}

/* What could not be done now is tried again at the next look. */
static void change_targets(struct daemon *d)
{
    warn_of_too_many(d);
    struct errmsg msg = {{0}};
    int rc = set_targets(d, &msg);
    if (rc == ERR_BAD)
        log_event(LOG_WARN, "target_left_out", "reason", msg.text, NULL);
    else if (rc == ERR_NOMEM || rc == ERR_TOOBIG)
        log_event(LOG_ERROR, "targets_not_changed", "reason", err_name(rc),
                  NULL);
}

/* Have probing follow the members: soon after something was heard of them,
 * but not for each of a hundred that join at once. */
static void follow(struct daemon *d, uint64_t now_ns)
{
    bool is_due = d->is_follow_due || d->is_set_due;
    if (d->stop_ns || now_ns - d->followed_ns < (is_due ? FOLLOW_NS : NS_PER_S))
        return;
    d->followed_ns = now_ns;
    d->is_follow_due = false;
    if (d->gossip &&
        roster_update(d->roster, gossip_members(d->gossip), now_ns))
        d->is_set_due = true;
    if (d->is_set_due)
        change_targets(d);
    if (d->is_windows_due && d->windows)
        d->is_windows_due = set_window_targets(d, d->windows) != 0;
}

static void on_member_change(void *arg)
{
    struct daemon *d = arg;
    d->is_follow_due = d->is_census_due = true;
}

/* ---- windows out ---- */

static void sample_context(struct daemon *d)
{
    struct frame_context *c = &d->context;
    uint64_t now_ns = clock_now_ns();
    uint64_t elapsed_ns = now_ns - d->env_at_ns;
    /* Of less than a second nothing can be said. */
    env_sample(d->env, elapsed_ns < UINT64_C(1000000000) ? 0 : elapsed_ns, c);
    d->env_at_ns = now_ns;
    c->lag_p99_us = (int64_t)(d->lag_p99_ns / 1000);
    c->missed_slots =
        (int64_t)(d->status.missed_slots - d->status_at_cut.missed_slots);
    c->queue_drops =
        (int64_t)(d->status.queue_drops - d->status_at_cut.queue_drops);
    c->in_flight_max = (int64_t)d->in_flight;
    d->lag_p99_ns = d->in_flight = 0;
    d->status_at_cut = d->status;
}

/* Folding and making slots of the history, a millisecond a turn. */
static void on_work(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    uint64_t start_ns = clock_now_ns();
    while (history_work(d->history, HISTORY_STEP)) {
        if (clock_now_ns() - start_ns < WORK_NS)
            continue;
        uv_timer_start(timer, on_work, 1, 0);
        return;
    }
}

/* A frame is new here, this node's or another's: the history takes it too. */
static void on_frame(void *arg, const void *data, size_t len)
{
    struct daemon *d = arg;
    (void)!history_add(d->history, data, len); /* it counts what it loses */
    uv_timer_start(&d->work_timer, on_work, 0, 0);
}

/* Frames may have half of the memory, the history what they leave. */
static void tick_stores(struct daemon *d, uint64_t now_unix_ns)
{
    uint64_t now_unix_s = now_unix_ns / 1000000000u;
    if (d->spread) /* the mesh may know the time better */
        now_unix_s = spread_uv_tick(d->spread, now_unix_ns);
    else
        frames_expire(d->frames, now_unix_s);
    size_t frames = frames_bytes(d->frames);
    history_limit(d->history, d->config->history.memory_bytes > frames
                                  ? d->config->history.memory_bytes - frames
                                  : 0);
    history_tick(d->history, now_unix_s);
    uv_timer_start(&d->work_timer, on_work, 0, 0);
}

static void cut_frame(struct daemon *d)
{
    wr_reset(&d->encoded);
    int rc = windows_cut(d->windows, &d->context, &d->encoded);
    if (!rc && d->spread)
        rc = spread_uv_own(d->spread, d->encoded.data, d->encoded.len);
    else if (!rc)
        rc = frames_add(d->frames, d->encoded.data, d->encoded.len);
    if (rc)
        log_event(LOG_ERROR, "frame_lost", "reason", err_name(rc), NULL);
    else
        d->source.frames_cut++;
}

/* The second number of statm, in pages; -1 if there is none. */
static int64_t resident_bytes(void)
{
    char text[128];
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f)
        return -1;
    const char *resident = fgets(text, sizeof(text), f);
    fclose(f);
    resident = resident ? strchr(resident, ' ') : NULL;
    if (!resident)
        return -1;
    char *end;
    long pages = strtol(resident, &end, 10);
    return end == resident || pages < 0 ? -1 : pages * sysconf(_SC_PAGESIZE);
}

static struct windows *open_windows(const struct daemon *d)
{
    const struct config *c = d->config;
    struct windows_config config = {
        .origin = c->node.name,
        .zone = c->node.zone,
        .region = c->node.region,
        .epoch_ms = clock_now_unix_ns() / 1000000u,
    };
    struct windows *windows = windows_open(&config);
    if (windows && set_window_targets(d, windows)) {
        windows_close(windows);
        windows = NULL;
    }
    return windows;
}

/* A window number is never used twice, so after the clock was set far back
 * this node's frames would pause until it has caught up; a new epoch, as
 * after a restart, does not wait. */
static void heed_clock(struct daemon *d, uint64_t now_unix_ns)
{
    if (windows_lead_s(d->windows, now_unix_ns) <= LEAD_MAX_S)
        return;
    struct windows *windows = open_windows(d);
    if (!windows)
        return; /* asked again in a second */
    log_event(LOG_WARN, "clock_set_back", "effect", "a new epoch began", NULL);
    windows_close(d->windows);
    d->windows = windows;
}

/* ---- life ---- */

/* A signal that comes again finds its handler gone: it is to wait, for ever,
 * instead of making a good end a bad one. No other thread runs by now. */
static void hold_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

/* What is left may be a name that is being resolved, for as long as it likes:
 * nobody waits for that. */
static void on_end(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void close_all(struct daemon *d)
{
    hold_signals();
    httpd_close(d->httpd);
    d->source.spread = NULL;
    spread_uv_close(d->spread);
    d->spread = NULL;
    d->source.backfill = NULL;
    backfill_uv_close(d->backfill);
    d->backfill = NULL;
    gossip_close(d->gossip);
    d->gossip = NULL;
    uv_close((uv_handle_t *)&d->drain_timer, NULL);
    uv_close((uv_handle_t *)&d->housekeep_timer, NULL);
    uv_close((uv_handle_t *)&d->work_timer, NULL);
    uv_close((uv_handle_t *)&d->terminate, NULL);
    uv_close((uv_handle_t *)&d->interrupt, NULL);
    uv_close((uv_handle_t *)&d->hangup, NULL);
    uv_timer_start(&d->end_timer, on_end, END_MS, 0);
    uv_unref((uv_handle_t *)&d->end_timer);
}

/* The responder has told who probes us, and the mesh whoever listens; when
 * both are through with it, this is the end. */
/* Do the others know, as far as they are to be told? */
static bool is_leave_told(const struct daemon *d, uint64_t now_ns)
{
    return !d->gossip || gossip_is_name_taken(d->gossip) ||
           gossip_has_left(d->gossip) || now_ns - d->stop_ns >= LEAVE_NS;
}

/* First the mesh is told, while probes are answered as ever: a member that has
 * left is not probed any more, so nobody counts a failure because of this
 * restart. NOT_SERVING is for all others, who have only that. */
static void heed_end(struct daemon *d, uint64_t now_ns)
{
    if (d->stop_ns && !d->is_plane_ending && is_leave_told(d, now_ns)) {
        d->is_plane_ending = true;
        plane_stop(d->plane, GRACE_NS);
    }
    if (!d->is_plane_stopped)
        return;
    close_all(d);
    plane_close(d->plane);
    d->is_plane_stopped = false;
}

static void on_plane_stopped(void *arg)
{
    struct daemon *d = arg;
    d->is_plane_stopped = true;
    heed_end(d, clock_now_ns());
}

static void begin_end(struct daemon *d)
{
    d->stop_ns = clock_now_ns();
    d->source.is_draining = true;
    d->source.is_ready = false;
    d->source.not_ready_reason = "draining";
    if (d->gossip && !gossip_is_name_taken(d->gossip)) {
        const struct aim_want none = {.name = ""};
        struct errmsg ignored = {{0}};
        /* Start no attempts; at the worst plane_stop() sees to that. */
        (void)plane_set_targets(d->plane, &none, 0, &ignored);
        gossip_leave(d->gossip);
    }
    heed_end(d, d->stop_ns);
}

static void on_terminate(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    if (d->stop_ns)
        return;
    log_event(LOG_INFO, "draining", "signal",
              number == SIGTERM ? "SIGTERM" : "SIGINT", NULL);
    begin_end(d);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    struct daemon *d = handle->data;
    (void)number;
    if (d->gossip && !d->stop_ns)
        gossip_reload_keys(d->gossip);
    log_event(LOG_WARN, "reload_ignored", "reason",
              "this version reads its configuration only at start, all but "
              "the gossip keys",
              NULL);
}

/* Everybody there is, for whoever asks. Kept if there is no memory for a new
 * one. */
static int publish_nodes(struct daemon *d)
{
    struct census census = {.config = d->config, .roster = d->roster};
    plane_address(d->plane, &census.responder);
    if (d->gossip) {
        gossip_describe(d->gossip, &d->mesh);
        d->mesh.is_holding = roster_is_holding(d->roster);
        census.members = gossip_members(d->gossip);
        census.mesh = d->source.mesh = &d->mesh;
    }
    struct api_nodes *n =
        census_take(&census, clock_now_ns(), clock_now_unix_ns());
    if (!n)
        return ERR_NOMEM;
    api_source_set_nodes(&d->source, n);
    d->is_census_due = false;
    return 0;
}

/* Only when somebody asks: that is rarer than that members change. */
static void refresh_nodes(void *arg)
{
    struct daemon *d = arg;
    uint64_t made_ns = d->source.nodes ? api_nodes_made_ns(d->source.nodes) : 0;
    if (d->is_census_due ||
        (d->gossip && clock_now_ns() - made_ns >= CENSUS_NS))
        (void)publish_nodes(d);
}

static void refresh_metrics(void *arg)
{
    struct daemon *d = arg;
    process_read(&d->metrics.process);
    httpd_stats(d->httpd, &d->metrics.api);
    if (d->gossip)
        d->metrics.refused = *members_counters(gossip_members(d->gossip));
}

/* ---- time passes ---- */

/* Looked at as often as samples are taken: the whole mesh waits for it. */
static void cut_what_is_due(struct daemon *d)
{
    uint64_t now_unix_ns = clock_now_unix_ns();
    for (int i = 0; i < 2 && windows_due(d->windows, now_unix_ns); i++)
        cut_frame(d);
}

static void on_drain(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    take_all(d);
    if (d->windows)
        cut_what_is_due(d);
    follow(d, clock_now_ns());
    heed_end(d, clock_now_ns());
}

static void on_housekeep(uv_timer_t *timer)
{
    struct daemon *d = timer->data;
    uint64_t now_unix_ns = clock_now_unix_ns();
    take_all(d);
    /* The surroundings of a window are those until its end; it is cut two
     * seconds later. */
    if (now_unix_ns / WINDOW_NS != d->window) {
        d->window = now_unix_ns / WINDOW_NS;
        sample_context(d);
    }
    heed_clock(d, now_unix_ns);
    if (d->gossip && gossip_is_name_taken(d->gossip) && !d->stop_ns) {
        d->exit_code = CLI_FAILED;
        begin_end(d);
    }
    tick_stores(d, now_unix_ns);
    d->source.memory_rss_bytes = resident_bytes();
    if (!d->source.is_ready && d->status.updated_ns) {
        d->source.is_ready = true;
        d->source.not_ready_reason = NULL;
        footprint_settle();
    }
    log_tick();
}

/* ---- opening ---- */

static int open_targets(struct daemon *d, struct errmsg *msg)
{
    gossip_policy(d->config, &d->policy);
    d->roster = roster_open(d->config, &d->policy);
    int rc = d->roster ? set_targets(d, msg) : ERR_NOMEM;
    if (rc && rc != ERR_BAD)
        errmsg_set(msg, "%s", err_name(rc));
    return rc;
}

/* What an origin with a wrong clock says is about other windows than it means.
 */
static bool is_usable(void *arg, const char *origin)
{
    const struct daemon *d = arg;
    return !d->source.spread || !spread_is_skewed(d->source.spread, origin);
}

static int open_stores(struct daemon *d, struct errmsg *msg)
{
    const struct config *c = d->config;
    struct frames_limits limits = {
        .retention_s = c->history.retention_ns / 1000000000u,
        .bytes_max = c->history.memory_bytes / 2,
    };
    if (c->gossip.is_on) { /* others are not to be driven out by one */
        limits.origin_bytes_max = c->history.memory_bytes / ORIGIN_SHARE;
        limits.epochs_max = ORIGIN_EPOCHS;
    }
    d->windows = open_windows(d);
    d->totals = totals_open();
    d->frames = frames_open(&limits);
    struct history_config history = {
        .bytes_max = c->history.memory_bytes / 2,
        .seed = clock_now_unix_ns(), /* not known when names are made up */
        .is_usable = is_usable,
        .usable_arg = d,
    };
    d->history = history_open(&history);
    d->env = env_open("", plane_thread_id(d->plane));
    d->source.cache = api_cache_open();
    if (!d->windows || !d->totals || !d->frames || !d->history || !d->env ||
        !d->source.cache || publish_nodes(d)) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    frames_listen(d->frames, on_frame, d);
    frames_expire(d->frames, clock_now_unix_ns() / 1000000000u);
    history_tick(d->history, clock_now_unix_ns() / 1000000000u);
    wr_init_grow(&d->encoded, FRAME_BYTES_MAX);
    env_sample(d->env, 0, &d->context);
    d->env_at_ns = clock_now_ns();
    d->window = clock_now_unix_ns() / WINDOW_NS;
    return 0;
}

static void fill_source(struct daemon *d)
{
    const struct config *c = d->config;
    struct api_source *s = &d->source;
    s->node = c->node.name;
    s->zone = c->node.zone;
    s->region = c->node.region;
    s->version = PROBER_VERSION;
    s->start_ns = clock_now_ns();
    s->start_unix_ns = clock_now_unix_ns();
    s->frames = d->frames;
    s->history = d->history;
    s->history_max_bytes = c->history.memory_bytes;
    s->retention_s = c->history.retention_ns / 1000000000u;
    s->is_usable = is_usable;
    s->usable_arg = d;
    s->plane = &d->status;
    s->context = &d->context;
    s->not_ready_reason = "starting";
    s->stall_after_ns = STALL_AFTER_NS;
    s->samples = d->samples;
    s->samples_size = SAMPLES_KEPT;
    s->names = sample_names_of;
    s->names_arg = d;
    s->refresh = refresh_nodes;
    s->refresh_arg = d;
    d->metrics.totals = d->totals;
    d->metrics.refresh = refresh_metrics;
    d->metrics.refresh_arg = d;
    s->metrics = &d->metrics;
    s->now_ns = clock_now_ns;
    s->now_unix_ns = clock_now_unix_ns;
}

/* Before all that can fail, so that close_all() may close them. */
static void init_handles(struct daemon *d)
{
    uv_timer_init(d->loop, &d->drain_timer);
    uv_timer_init(d->loop, &d->housekeep_timer);
    uv_timer_init(d->loop, &d->work_timer);
    uv_timer_init(d->loop, &d->end_timer);
    uv_signal_init(d->loop, &d->terminate);
    uv_signal_init(d->loop, &d->interrupt);
    uv_signal_init(d->loop, &d->hangup);
    d->drain_timer.data = d->housekeep_timer.data = d->work_timer.data = d;
    d->terminate.data = d->interrupt.data = d->hangup.data = d;
}

static void start_handles(struct daemon *d)
{
    uv_timer_start(&d->drain_timer, on_drain, DRAIN_MS, DRAIN_MS);
    uv_timer_start(&d->housekeep_timer, on_housekeep, HOUSEKEEP_MS,
                   HOUSEKEEP_MS);
    uv_signal_start(&d->terminate, on_terminate, SIGTERM);
    uv_signal_start(&d->interrupt, on_terminate, SIGINT);
    uv_signal_start(&d->hangup, on_hangup, SIGHUP);
}

/* As many descriptors as we may have: each attempt in flight takes one. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static void log_started(const struct daemon *d, const struct addr *api)
{
    char probe_text[ADDR_TEXT_SIZE], api_text[ADDR_TEXT_SIZE];
    char fingerprint[72], targets[24];
    struct addr listen;
    uint8_t sha256[TLS_FINGERPRINT_SIZE];
    plane_address(d->plane, &listen);
    plane_fingerprint(d->plane, sha256);
    tls_fingerprint_format(sha256, fingerprint);
    snprintf(targets, sizeof(targets), "%zu",
             lineup_count(plane_lineup(d->plane)));
    log_event(LOG_INFO, "started", "version", PROBER_VERSION, "node",
              d->config->node.name, "zone", d->config->node.zone, "probe",
              addr_format(&listen, probe_text), "api",
              addr_format(api, api_text), "targets", targets, "fingerprint",
              d->config->probe.is_plaintext ? "none" : fingerprint, NULL);
}

static void on_mesh_message(void *arg, const struct addr *from,
                            struct span message)
{
    struct daemon *d = arg;
    if (d->backfill && backfill_uv_message(d->backfill, from, message))
        return;
    if (d->spread)
        spread_uv_message(d->spread, from, message);
}

static int open_spread(struct daemon *d, struct errmsg *msg)
{
    struct spread_uv_config c = {
        .loop = d->loop,
        .config = d->config,
        .gossip = d->gossip,
        .frames = d->frames,
    };
    d->spread = spread_uv_open(&c);
    if (!d->spread) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    d->source.spread = spread_uv_spread(d->spread);
    return 0;
}

static int open_backfill(struct daemon *d, struct errmsg *msg)
{
    struct backfill_uv_config c = {
        .loop = d->loop,
        .config = d->config,
        .gossip = d->gossip,
        .history = d->history,
    };
    d->backfill = backfill_uv_open(&c);
    if (!d->backfill) {
        errmsg_set(msg, "out of memory");
        return ERR_NOMEM;
    }
    d->source.backfill = backfill_uv_backfill(d->backfill);
    return 0;
}

static int open_gossip(struct daemon *d, struct errmsg *msg)
{
    char address[ADDR_TEXT_SIZE];
    struct addr advertised;
    struct gossip_config c = {
        .loop = d->loop,
        .config = d->config,
        .policy = &d->policy,
        .on_change = on_member_change,
        .on_message = on_mesh_message,
        .arg = d,
    };
    plane_address(d->plane, &c.responder);
    plane_fingerprint(d->plane, c.fingerprint);
    d->gossip = gossip_open(&c, msg);
    if (!d->gossip)
        return ERR_SYS;
    gossip_address(d->gossip, &advertised);
    log_event(LOG_INFO, "gossip", "advertised",
              addr_format(&advertised, address), NULL);
    d->is_census_due = true;
    int rc = open_spread(d, msg);
    return rc ? rc : open_backfill(d, msg);
}

static void run_to_the_end(struct daemon *d)
{
    uv_run(d->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&d->end_timer, NULL);
    uv_run(d->loop, UV_RUN_NOWAIT);
}

static int run(struct daemon *d)
{
    struct errmsg msg = {{0}};
    struct addr api;
    struct httpd_limits limits = httpd_limits_default;
    struct plane_config plane = {
        .config = d->config,
        .control_loop = d->loop,
        .on_samples = take_all,
        .on_stopped = on_plane_stopped,
        .arg = d,
    };
    limits.connections_max = d->config->api.connections_max;
    init_handles(d);
    d->plane = plane_open(&plane, &msg);
    if (!d->plane || open_targets(d, &msg) || open_stores(d, &msg))
        goto fail;
    fill_source(d);
    d->httpd = httpd_open(d->loop, &d->config->api.listen, &limits, api_handle,
                          &d->source, &api, &msg);
    if (!d->httpd)
        goto fail;
    if (d->config->gossip.is_on && open_gossip(d, &msg))
        goto fail;
    start_handles(d);
    log_started(d, &api);
    run_to_the_end(d);
    log_event(LOG_INFO, "stopped", NULL);
    return d->exit_code;

fail:
    log_event(LOG_ERROR, "start_failed", "reason", msg.text, NULL);
    if (d->plane)
        plane_stop(d->plane, 0); /* on_plane_stopped() closes the rest */
    else
        close_all(d);
    run_to_the_end(d);
    return CLI_FAILED;
}

static void free_daemon(struct daemon *d)
{
    windows_close(d->windows);
    totals_close(d->totals);
    roster_close(d->roster);
    frames_close(d->frames);
    history_close(d->history);
    env_close(d->env);
    api_cache_close(d->source.cache);
    wr_fini(&d->encoded);
    api_source_set_nodes(&d->source, NULL);
    config_free(d->config);
    free(d);
}

static void log_warnings(const char *warnings)
{
    const char *line = warnings;
    while (line && *line) {
        char text[512];
        size_t len = strcspn(line, "\n");
        snprintf(text, sizeof(text), "%.*s",
                 (int)(len < sizeof(text) ? len : sizeof(text) - 1), line);
        log_event(LOG_WARN, "configuration", "warning", text, NULL);
        line += len + (line[len] == '\n');
    }
}

static const char help[] =
    "usage: prober run [--config FILE]\n"
    "\n"
    "Run the daemon. Without --config everything comes from PROBER_*\n"
    "variables and defaults (docs/configuration.md). SIGTERM drains and "
    "stops.\n";

/* Returns CLI_OK with *path set (maybe NULL), or an exit code, or -1 when
 * help was shown. */
static int parse_options(int argc, char **argv, const char **path)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        if (c == 'c')
            *path = optarg;
        else if (c == 'h')
            return cli_help(help) ? CLI_FAILED : -1;
        else
            return cli_try_help("run");
    }
    if (optind < argc)
        return cli_usage("run", "unexpected argument '%s'", argv[optind]);
    return CLI_OK;
}

int daemon_run(int argc, char **argv)
{
    const char *path = NULL;
    char *errors = NULL;
    int rc = parse_options(argc, argv, &path);
    if (rc)
        return rc < 0 ? CLI_OK : rc;

    footprint_begin();
    struct daemon *d = calloc(1, sizeof(*d));
    if (!d)
        return cli_fail("run", "out of memory");
    rc = config_load(path, getenv, &d->config, &errors);
    if (rc) {
        fputs(errors ? errors : "out of memory\n", stderr);
        free(errors);
        free(d);
        return rc == ERR_BAD ? CLI_USAGE : CLI_FAILED;
    }
    log_setup(d->config->log.level, d->config->log.is_json);
    if (config_warn_environment(d->config, environ))
        log_event(LOG_WARN, "configuration", "warning", "out of memory", NULL);
    log_warnings(d->config->warnings);
    raise_descriptor_limit();
    d->loop = uv_default_loop();
    rc = run(d);
    /* A name that is being looked up cannot be called back, and exit() would
     * wait for the thread that does it, as long as the resolver takes. */
    if (uv_loop_close(d->loop) == UV_EBUSY) {
        fflush(NULL);
        _exit(rc);
    }
    free_daemon(d);
    return rc;
}
