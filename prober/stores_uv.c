#include "prober/stores_uv.h"

#include <stdlib.h>

#include "prober/clock.h"
#include "prober/log.h"

#define NS_PER_S      UINT64_C(1000000000)
#define WINDOW_NS     (FRAME_WINDOW_S * NS_PER_S)
#define LEAD_MAX_S    60                /* clock set back further: begin anew */
#define WORK_NS       UINT64_C(1000000) /* of a turn, on the history */
#define ORIGIN_SHARE  8 /* part of the memory for frames that one origin has */
#define ORIGIN_EPOCHS 4 /* lives of a node within ten seconds */

/* ---- the history's work ---- */

/* Folding and making slots of the history, a millisecond a turn. */
static void on_work(uv_timer_t *timer)
{
    struct stores *s = timer->data;
    uint64_t start_ns = clock_now_ns();
    while (history_work(s->history, HISTORY_STEP)) {
        if (clock_now_ns() - start_ns < WORK_NS)
            continue;
        uv_timer_start(timer, on_work, 1, 0);
        return;
    }
}

/* A frame is new here, this node's or another's: the history takes it too. */
static void on_frame(void *arg, const void *data, size_t len)
{
    struct stores *s = arg;
    (void)!history_add(s->history, data, len); /* it counts what it loses */
    uv_timer_start(&s->work_timer, on_work, 0, 0);
}

/* Frames may have half of the memory, the history what they leave. */
static void share_memory(struct stores *s)
{
    size_t frames = frames_bytes(s->frames);
    uint64_t all = s->config->history.memory_bytes;
    history_limit(s->history, all > frames ? all - frames : 0);
}

static void tick_stores(struct stores *s, uint64_t now_unix_ns)
{
    uint64_t now_unix_s = now_unix_ns / NS_PER_S;
    if (s->spread) /* the mesh may know the time better */
        now_unix_s = spread_uv_tick(s->spread, now_unix_ns);
    else
        frames_expire(s->frames, now_unix_s);
    share_memory(s);
    history_tick(s->history, now_unix_s);
    uv_timer_start(&s->work_timer, on_work, 0, 0);
}

/* ---- windows ---- */

static int tell_targets(const struct stores *s, struct windows *windows)
{
    const struct lineup *lineup = plane_lineup(s->plane);
    size_t n = lineup_slots(lineup);
    struct window_target *targets = calloc(n ? n : 1, sizeof(*targets));
    if (!targets)
        return ERR_NOMEM;
    lineup_window_targets(lineup, targets);
    int rc = windows_set_targets(windows, targets, n);
    free(targets);
    return rc;
}

static struct windows *open_windows(const struct stores *s)
{
    const struct config *c = s->config;
    struct windows_config config = {
        .origin = c->node.name,
        .zone = c->node.zone,
        .region = c->node.region,
        .epoch_ms = clock_now_unix_ns() / 1000000u,
    };
    struct windows *windows = windows_open(&config);
    if (windows && tell_targets(s, windows)) {
        windows_close(windows);
        windows = NULL;
    }
    return windows;
}

static void note_context(struct stores *s, struct intake *in)
{
    struct frame_context *c = &s->context;
    const struct plane_status *now = &in->status, *then = &s->status_at_cut;
    uint64_t now_ns = clock_now_ns();
    uint64_t elapsed_ns = now_ns - s->env_at_ns;
    /* Of less than a second nothing can be said. */
    env_sample(s->env, elapsed_ns < NS_PER_S ? 0 : elapsed_ns, c);
    s->env_at_ns = now_ns;
    c->lag_p99_us = (int64_t)(in->lag_p99_ns / 1000);
    c->missed_slots = (int64_t)(now->missed_slots - then->missed_slots);
    c->queue_drops = (int64_t)(now->queue_drops - then->queue_drops);
    c->in_flight_max = (int64_t)in->in_flight_max;
    in->lag_p99_ns = in->in_flight_max = 0;
    s->status_at_cut = *now;
}

/* The mesh may know that it is our clock that is wrong, and by that frames are
 * too old or of a time to come. */
static const char *why_lost(const struct stores *s, int rc)
{
    struct spread_stats stats = {0};
    if (s->spread)
        spread_stats(spread_uv_spread(s->spread), &stats);
    return llabs(stats.own_offset_ms) > ORIGINS_SKEWED_MS ? "clock"
                                                          : err_name(rc);
}

static void cut_frame(struct stores *s)
{
    wr_reset(&s->encoded);
    int rc = windows_cut(s->windows, &s->context, &s->encoded);
    if (!rc && s->spread)
        rc = spread_uv_own(s->spread, s->encoded.data, s->encoded.len);
    else if (!rc)
        rc = frames_add(s->frames, s->encoded.data, s->encoded.len);
    if (rc)
        log_event(LOG_ERROR, "frame_lost", "reason", why_lost(s, rc), NULL);
    else
        s->frames_cut++;
}

/* A window number is never used twice, so after the clock was set far back
 * this node's frames would pause until it has caught up; a new epoch, as
 * after a restart, does not wait. What was counted until then is of the time
 * before, and the store still goes by that. */
static void heed_clock(struct stores *s, uint64_t now_unix_ns)
{
    if (windows_lead_s(s->windows, now_unix_ns) <= LEAD_MAX_S)
        return;
    struct windows *windows = open_windows(s);
    if (!windows)
        return; /* asked again in a second */
    log_event(LOG_WARN, "clock_set_back", "effect", "a new epoch began", NULL);
    for (int i = 0; i < 2 && windows_has_rest(s->windows); i++)
        cut_frame(s);
    windows_close(s->windows);
    s->windows = windows;
}

/* ---- opening ---- */

static struct frames_limits frames_limits_of(const struct config *c)
{
    struct frames_limits limits = {
        .retention_s = c->history.retention_ns / NS_PER_S,
        .bytes_max = c->history.memory_bytes / 2,
    };
    if (c->gossip.is_on) { /* others are not to be driven out by one */
        limits.origin_bytes_max = c->history.memory_bytes / ORIGIN_SHARE;
        limits.epochs_max = ORIGIN_EPOCHS;
    }
    return limits;
}

void stores_init_handle(struct stores *s, uv_loop_t *loop)
{
    uv_timer_init(loop, &s->work_timer);
    s->work_timer.data = s;
}

void stores_close_handle(struct stores *s)
{
    uv_close((uv_handle_t *)&s->work_timer, NULL);
}

int stores_open(struct stores *s, const struct config *config,
                const struct plane *plane)
{
    struct frames_limits limits = frames_limits_of(config);
    uint64_t seed; /* not to be known by those who make up names */
    if (uv_random(NULL, NULL, &seed, sizeof(seed), 0, NULL))
        return ERR_SYS;
    struct history_config history = {
        .bytes_max = config->history.memory_bytes / 2,
        .seed = seed,
        .is_usable = stores_is_usable,
        .usable_arg = s,
    };
    uint64_t now_unix_s = clock_now_unix_ns() / NS_PER_S;
    s->config = config;
    s->plane = plane;
    s->windows = open_windows(s);
    s->frames = frames_open(&limits);
    s->history = history_open(&history);
    s->env = env_open("", plane_thread_id(plane));
    if (!s->windows || !s->frames || !s->history || !s->env)
        return ERR_NOMEM;
    frames_listen(s->frames, on_frame, s);
    frames_expire(s->frames, now_unix_s);
    history_tick(s->history, now_unix_s);
    wr_init_grow(&s->encoded, FRAME_BYTES_MAX);
    env_sample(s->env, 0, &s->context);
    s->env_at_ns = clock_now_ns();
    s->window = clock_now_unix_ns() / WINDOW_NS;
    return 0;
}

void stores_fini(struct stores *s)
{
    windows_close(s->windows);
    frames_close(s->frames);
    history_close(s->history);
    env_close(s->env);
    wr_fini(&s->encoded);
}

/* ---- running ---- */

int stores_set_targets(struct stores *s)
{
    return tell_targets(s, s->windows);
}

void stores_limit(struct stores *s)
{
    struct frames_limits limits = frames_limits_of(s->config);
    frames_set_limits(s->frames, &limits);
    share_memory(s);
}

void stores_cut(struct stores *s, uint64_t now_unix_ns)
{
    for (int i = 0; i < 2 && windows_due(s->windows, now_unix_ns); i++)
        cut_frame(s);
}

void stores_tick(struct stores *s, struct intake *in, uint64_t now_unix_ns)
{
    /* The surroundings of a window are those until its end; it is cut two
     * seconds later. */
    if (now_unix_ns / WINDOW_NS != s->window) {
        s->window = now_unix_ns / WINDOW_NS;
        note_context(s, in);
    }
    heed_clock(s, now_unix_ns);
    tick_stores(s, now_unix_ns);
}

bool stores_is_usable(void *arg, const char *origin)
{
    const struct stores *s = arg;
    return !s->spread || !spread_is_skewed(spread_uv_spread(s->spread), origin);
}
