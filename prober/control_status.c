/* GET /v1/status: this node, its control port, the last reload. */
#include <string.h>

#include "prober/control_private.h"

#define NS_PER_S 1000000000u
#define TEXT_MAX 16384

static void write_control(const struct control_source *s, struct json *j)
{
    struct inquiries_stats stats;
    inquiries_stats(s->inquiries, &stats);
    json_key(j, "control");
    json_object_begin(j);
    json_key_text(j, "listen", stats.listen);
    json_key_u64(j, "requests", stats.started);
    json_key(j, "refused");
    json_object_begin(j);
    for (size_t i = 0; i < stats.n_codes; i++)
        json_key_u64(j, stats.codes[i].code, stats.codes[i].count);
    json_object_end(j);
    json_key_u64(j, "cancelled", stats.cancelled);
    json_key_u64(j, "slow_readers", stats.slow);
    json_key_u64(j, "open", stats.open);
    json_key_u64(j, "running", stats.running);
    json_key_u64(j, "in_flight", stats.in_flight);
    json_key_u64(j, "attempts", stats.attempts);
    json_key_u64(j, "denied", stats.denied);
    json_key(j, "audit");
    json_object_begin(j);
    json_key_bool(j, "ok", !audit_is_failing(s->audit));
    json_key_u64(j, "failures", audit_failures(s->audit));
    json_object_end(j);
    json_object_end(j);
}

static void write_reload(const struct control_source *s, struct json *j)
{
    json_key(j, "reload");
    json_object_begin(j);
    json_key_u64(j, "count", s->reloads);
    json_key_u64(j, "failures", s->reload_failures);
    if (s->last_reload_unix_ns > 0) {
        json_key_time(j, "last_at", s->last_reload_unix_ns);
        json_key_bool(j, "last_ok", s->is_last_reload_ok);
    } else {
        json_key_null(j, "last_at");
        json_key_null(j, "last_ok");
    }
    json_object_end(j);
}

void control_status(const struct control_source *s, struct httpd_answer *answer)
{
    const struct api_source *api = s->api;
    struct wr w;
    struct json j;
    wr_init_grow(&w, TEXT_MAX);
    json_init(&j, &w);
    json_object_begin(&j);
    json_key_text(&j, "node", api->node);
    json_key_text(&j, "zone", api->zone);
    json_key_text(&j, "region", api->region);
    json_key_text(&j, "version", api->version);
    json_key_u64(&j, "uptime_s", (s->now_ns() - api->start_ns) / NS_PER_S);
    json_key_bool(&j, "ready", api->is_ready);
    json_key_bool(&j, "draining", api->is_draining);
    write_control(s, &j);
    write_reload(s, &j);
    json_object_end(&j);
    control_answer(answer, 200, &w);
}
