/* Small answers: /api/v1/status, /livez, /readyz. */
#include "prober/api_views.h"

#define SKEWED_MAX 32 /* origins that are named: 26 KB, all escaped */

bool api_is_live(const struct api_source *s)
{
    uint64_t heard_ns = s->start_ns; /* before the first: time to start */
    if (s->plane && s->plane->updated_ns > heard_ns)
        heard_ns = s->plane->updated_ns;
    uint64_t now_ns = s->now_ns();
    return s->stall_after_ns == 0 || now_ns < heard_ns ||
           now_ns - heard_ns <= s->stall_after_ns;
}

static const char *not_ready_reason(const struct api_source *s)
{
    if (s->is_draining)
        return "draining";
    if (s->is_ready)
        return NULL;
    return s->not_ready_reason ? s->not_ready_reason : "starting";
}

void api_livez(const struct api_source *s, const struct httpd_request *r,
               struct httpd_answer *answer)
{
    struct api_params p;
    if (!api_params(s, r, 0, &p, answer))
        return;
    if (!api_is_live(s)) {
        httpd_error(answer, 503, "not_live",
                    "the measuring plane has not reported for too long");
        return;
    }
    *answer = (struct httpd_answer){
        .status = 200, .content_type = "text/plain", .text = "ok\n"};
}

void api_readyz(const struct api_source *s, const struct httpd_request *r,
                struct httpd_answer *answer)
{
    struct api_params p;
    if (!api_params(s, r, 0, &p, answer))
        return;
    const char *reason = not_ready_reason(s);
    if (reason) {
        httpd_error(answer, 503, "not_ready", "%s", reason);
        return;
    }
    *answer = (struct httpd_answer){
        .status = 200, .content_type = "text/plain", .text = "ok\n"};
}

static void write_plane(struct json *j, const struct api_source *s)
{
    const struct plane_status *p = s->plane;
    if (!p || p->updated_ns == 0) {
        json_key_null(j, "plane");
        return;
    }
    uint64_t now_ns = s->now_ns();
    json_key(j, "plane");
    json_object_begin(j);
    api_write_seconds(
        j, "age_s",
        now_ns > p->updated_ns ? (double)(now_ns - p->updated_ns) / 1e9 : 0);
    json_key_u64(j, "attempts", p->attempts);
    json_key_u64(j, "ok", p->ok);
    json_key_u64(j, "failed", p->failed);
    json_key_u64(j, "local", p->local);
    json_key_u64(j, "missed_slots", p->missed_slots);
    json_key_u64(j, "in_flight", p->in_flight);
    json_key_u64(j, "in_flight_max", p->in_flight_max);
    json_key_u64(j, "queue_drops", p->queue_drops);
    json_key_u64(j, "user_clock", p->user_clock);
    json_key_u64(j, "reconnects", p->reconnects);
    json_key(j, "loop_lag_ns");
    json_object_begin(j);
    json_key_u64(j, "p50", p->lag_p50_ns);
    json_key_u64(j, "p99", p->lag_p99_ns);
    json_key_u64(j, "max", p->lag_max_ns);
    json_object_end(j);
    json_key(j, "inbound");
    json_object_begin(j);
    json_key_u64(j, "connections", p->inbound_connections);
    json_key_u64(j, "requests", p->inbound_requests);
    json_key_u64(j, "rejected", p->inbound_rejected);
    json_object_end(j);
    json_object_end(j);
}

static size_t write_some_skewed(struct json *j, const struct spread *spread,
                                bool are_strangers, size_t max)
{
    struct spread_origin o;
    size_t n = 0;
    for (size_t i = 0; n < max && spread_origin(spread, i, &o); i++) {
        if (!o.is_skewed || o.is_stranger != are_strangers)
            continue;
        json_object_begin(j);
        json_key_text(j, "origin", o.name);
        json_key_double(j, "offset_s", (double)o.offset_ms / 1e3);
        json_object_end(j);
        n++;
    }
    return n;
}

/* Who is off by more than a window. All of the status is one slice, and names
 * are what others made up: members first, and no more than have room. */
static void write_skewed(struct json *j, const struct spread *spread)
{
    json_key(j, "skewed");
    json_array_begin(j);
    size_t n = write_some_skewed(j, spread, false, SKEWED_MAX);
    write_some_skewed(j, spread, true, SKEWED_MAX - n);
    json_array_end(j);
}

static void write_spread(struct json *j, const struct spread *spread)
{
    struct spread_stats st;
    spread_stats(spread, &st);
    json_key(j, "spread");
    json_object_begin(j);
    json_key_u64(j, "origins", st.origins);
    json_key_u64(j, "missing", st.missing);
    json_key_u64(j, "sent", st.frames_out);
    json_key_u64(j, "received", st.frames_in);
    json_key_u64(j, "added", st.added);
    json_key_u64(j, "duplicates", st.duplicates);
    json_key_u64(j, "conflicts", st.conflicts);
    json_key(j, "refused");
    json_object_begin(j);
    for (unsigned i = 0; i < SPREAD_REFUSAL_N; i++)
        json_key_u64(j, spread_refusal_name((enum spread_refusal)i),
                     st.refused[i]);
    json_object_end(j);
    json_key_u64(j, "rounds", st.rounds);
    json_key_u64(j, "busy", st.busy);
    json_key_u64(j, "broken", st.broken);
    json_key_u64(j, "unknown", st.unknown);
    json_key_u64(j, "strangers", st.strangers);
    json_key_u64(j, "bytes_in", st.bytes_in);
    json_key_u64(j, "bytes_out", st.bytes_out);
    json_key_double(j, "own_offset_s", (double)st.own_offset_ms / 1e3);
    json_key_u64(j, "skewed_origins", st.skewed);
    write_skewed(j, spread);
    json_object_end(j);
}

static void write_frames(struct json *j, const struct api_source *s)
{
    json_key(j, "frames");
    json_object_begin(j);
    json_key_u64(j, "held", frames_count(s->frames));
    json_key_u64(j, "bytes", frames_bytes(s->frames));
    json_key_u64(j, "cut", s->frames_cut);
    if (s->spread)
        write_spread(j, s->spread);
    json_object_end(j);
}

static void write_tier(struct json *j, const struct history_stats *s,
                       enum history_tier t)
{
    const uint64_t window_ns = FRAME_WINDOW_S * 1000000000ull;
    json_object_begin(j);
    json_key_u64(j, "step_s", history_span(t) * FRAME_WINDOW_S);
    if (s->tiers[t].slots > 0) {
        json_key_time(j, "from", s->tiers[t].oldest * window_ns);
        json_key_time(j, "to", s->tiers[t].end * window_ns);
    } else {
        json_key_null(j, "from");
        json_key_null(j, "to");
    }
    json_key_u64(j, "held", s->tiers[t].slots);
    json_key_u64(j, "bytes", s->tiers[t].bytes);
    json_object_end(j);
}

static void write_backfill(struct json *j, const struct backfill *backfill)
{
    struct backfill_stats st;
    backfill_stats(backfill, &st);
    json_object_begin(j);
    json_key_text(j, "state", backfill_state_name(st.state));
    json_key_u64(j, "walks", st.walks);
    json_key_u64(j, "completed", st.completed);
    json_key_u64(j, "parts_in", st.parts_in);
    json_key_u64(j, "bytes_in", st.bytes_in);
    json_key_u64(j, "timeouts", st.timeouts);
    json_key_u64(j, "parts_out", st.parts_out);
    json_key_u64(j, "bytes_out", st.bytes_out);
    json_key_u64(j, "busy", st.busy);
    json_key_u64(j, "refused", st.refused);
    json_key_u64(j, "broken", st.broken);
    json_object_end(j);
}

static void write_history(struct json *j, const struct api_source *s)
{
    struct history_stats stats;
    json_key(j, "history");
    if (!s->history) {
        json_put_null(j);
        return;
    }
    history_stats(s->history, &stats);
    json_object_begin(j);
    json_key_u64(j, "memory_bytes", s->history_max_bytes);
    json_key_u64(j, "bytes", stats.bytes);
    json_key_u64(j, "cells", stats.lines);
    json_key(j, "tiers");
    json_array_begin(j);
    for (enum history_tier t = 0; t < HISTORY_TIERS; t++)
        write_tier(j, &stats, t);
    json_array_end(j);
    json_key_u64(j, "frames_folded", stats.folded);
    json_key_u64(j, "frames_late", stats.late);
    json_key_u64(j, "frames_repeated", stats.repeated);
    json_key_u64(j, "frames_unusable", stats.unusable);
    json_key_u64(j, "dropped_cells", stats.dropped);
    json_key(j, "backfill");
    if (s->backfill)
        write_backfill(j, s->backfill);
    else
        json_put_null(j);
    json_object_end(j);
}

static void write_status(struct json *j, const struct api_source *s)
{
    uint64_t now_ns = s->now_ns();
    json_object_begin(j);
    api_write_origin(j, s, s->now_unix_ns());
    json_key_text(j, "node", s->node);
    json_key_text(j, "zone", s->zone);
    json_key_text(j, "region", s->region);
    json_key_text(j, "version", s->version);
    json_key_time(j, "started_at", s->start_unix_ns);
    api_write_seconds(
        j, "uptime_s",
        now_ns > s->start_ns ? (double)(now_ns - s->start_ns) / 1e9 : 0);
    json_key_bool(j, "live", api_is_live(s));
    json_key_bool(j, "ready", not_ready_reason(s) == NULL);
    json_key_text(j, "not_ready_reason", not_ready_reason(s));
    json_key_bool(j, "draining", s->is_draining);
    json_key(j, "memory");
    json_object_begin(j);
    api_write_known(j, "rss_bytes",
                    s->memory_rss_bytes > 0 ? s->memory_rss_bytes : -1);
    json_object_end(j);
    write_plane(j, s);
    write_frames(j, s);
    write_history(j, s);
    api_write_gossip(j, s->mesh);
    json_key_u64(j, "samples_held", s->samples_count);
    json_key(j, "context");
    if (s->context)
        api_write_context(j, s->context);
    else
        json_put_null(j);
    json_object_end(j);
}

static int status_body(void *state, struct wr *w)
{
    struct json j;
    json_init(&j, w);
    write_status(&j, state);
    wr_u8(w, '\n');
    return wr_err(w);
}

void api_status(const struct api_source *s, const struct httpd_request *r,
                struct httpd_answer *answer)
{
    struct api_params p;
    if (!api_params(s, r, 0, &p, answer))
        return;
    api_refresh(s);
    /* One slice, made right away; so the source is state enough. */
    *answer = (struct httpd_answer){
        .status = 200,
        .content_type = "application/json",
        .body = status_body,
        .state = (void *)(uintptr_t)s,
    };
}
