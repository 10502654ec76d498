#include "prober/api.h"

#include <string.h>

#include "prober/api_views.h"
#include "prober/httpd_query.h"
#include "prober/metrics.h"

#define WINDOW_S_MIN     10
#define WINDOW_S_MAX     3600
#define WINDOW_S_DEFAULT 300
#define LIMIT_DEFAULT    100

#define RETENTION_S_DEFAULT 300

/* ---- parameters ---- */

/* Digits only, at most `max`; -1 otherwise. `len` is the digits' length. */
static int64_t parse_number(const char *text, size_t len, int64_t max)
{
    int64_t v = 0;
    if (len == 0)
        return -1;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        v = v * 10 + (text[i] - '0');
        if (v > max)
            return -1;
    }
    return v;
}

/* "90s", "5m", "1h" in seconds, -1 if it is something else. */
static int64_t parse_window(const char *text)
{
    size_t len = strlen(text);
    if (len < 2)
        return -1;
    char unit = text[len - 1];
    int64_t scale = unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : 0;
    int64_t v = parse_number(text, len - 1, WINDOW_S_MAX);
    if (v < 0 || scale == 0)
        return -1;
    v *= scale;
    return v < WINDOW_S_MIN || v > WINDOW_S_MAX ? -1 : v;
}

struct param_rule {
    unsigned bit;
    const char *name, *expected;
};

static const struct param_rule rules[] = {
    {API_LEVEL, "level", "node, zone or region"},
    {API_WINDOW, "window", "a duration between 10s and 1h, like 5m"},
    {API_PROTOCOL, "protocol", "http1, grpc or all"},
    {API_MODE, "mode", "cold or warm"},
    {API_AT, "at", "a time like 2026-01-01T00:00:00Z, not in the future"},
    {API_LIMIT, "limit", "a number between 1 and 4096"},
    {API_TARGET, "target", "a target, node or zone"},
    {API_OUTCOME, "outcome", "the name of an outcome, like ok"},
};

_Static_assert(API_SAMPLES_MAX == 4096, "the text above says so");

/* Returns false if `value` makes no sense. */
static bool set_param(struct api_params *p, unsigned bit, const char *value)
{
    int64_t v = 0;
    if (bit == API_LEVEL) {
        v = matrix_level_parse(value);
        p->level = (enum matrix_level)v;
    } else if (bit == API_WINDOW) {
        v = parse_window(value);
        p->window_s = (uint64_t)v;
    } else if (bit == API_PROTOCOL) {
        p->protocol = strcmp(value, "all") == 0 ? -1 : protocol_parse(value);
        v = strcmp(value, "all") == 0 ? 0 : p->protocol;
    } else if (bit == API_MODE) {
        v = p->mode = mode_parse(value);
    } else if (bit == API_LIMIT) {
        v = parse_number(value, strlen(value), API_SAMPLES_MAX);
        p->limit = (size_t)v;
        v = v == 0 ? -1 : v;
    } else if (bit == API_TARGET) {
        p->target = value;
        v = value[0] ? 0 : -1;
    } else if (bit == API_OUTCOME) {
        v = p->outcome = outcome_parse(value);
    }
    return v >= 0;
}

static const struct param_rule *find_rule(const char *name, unsigned allowed)
{
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        if ((rules[i].bit & allowed) && strcmp(rules[i].name, name) == 0)
            return &rules[i];
    }
    return NULL;
}

uint64_t api_now_unix_ns(const struct api_source *s)
{
    int64_t now_ns = (int64_t)s->now_unix_ns();
    int64_t off_ns;
    if (!s->spread ||
        __builtin_mul_overflow(spread_correction_ms(s->spread), 1000000,
                               &off_ns) ||
        __builtin_add_overflow(now_ns, off_ns, &now_ns))
        return s->now_unix_ns();
    return now_ns > 0 ? (uint64_t)now_ns : 0;
}

/* The present is no past: what is asked for must have been. */
static bool set_at(struct api_params *p, const char *value,
                   uint64_t now_unix_ns)
{
    uint64_t at;
    if (api_parse_time(value, &at) || at == 0 || at > now_unix_ns)
        return false;
    p->at_unix_ns = at;
    return true;
}

bool api_params(const struct api_source *s, const struct httpd_request *r,
                unsigned allowed, struct api_params *p,
                struct httpd_answer *answer)
{
    uint64_t now_unix_ns = api_now_unix_ns(s);
    *p = (struct api_params){
        .level = LEVEL_ZONE,
        .window_s = WINDOW_S_DEFAULT,
        .protocol = -1,
        .mode = MODE_COLD,
        .limit = LIMIT_DEFAULT,
        .outcome = -1,
    };
    for (size_t i = 0; i < r->n_params; i++) {
        const struct httpd_param *given = &r->params[i];
        const struct param_rule *rule = find_rule(given->name, allowed);
        if (!rule) {
            httpd_error(answer, 400, "unknown_parameter",
                        "there is no parameter %.64s here", given->name);
            return false;
        }
        bool is_good = rule->bit == API_AT
                           ? set_at(p, given->value, now_unix_ns)
                           : set_param(p, rule->bit, given->value);
        if (!is_good) {
            httpd_error(answer, 400, "bad_value",
                        "parameter %s: %.64s is not %s", rule->name,
                        given->value, rule->expected);
            return false;
        }
    }
    return true;
}

/* ---- shared writing ---- */

void api_no_memory(struct httpd_answer *answer)
{
    httpd_error(answer, 500, "no_memory", "out of memory");
}

void api_write_origin(struct json *j, const struct api_source *s,
                      uint64_t now_unix_ns)
{
    json_key_time(j, "generated_at", now_unix_ns);
    json_key_text(j, "answered_by", s->node);
}

void api_write_outcomes(struct json *j, const uint64_t outcomes[OUTCOME_N])
{
    json_key(j, "outcomes");
    json_object_begin(j);
    for (unsigned o = 0; o < OUTCOME_N; o++) {
        if (outcomes[o] > 0)
            json_key_u64(j, outcome_name((enum probe_outcome)o), outcomes[o]);
    }
    json_object_end(j);
}

/* Three decimals are enough, and seventeen digits make a matrix fat. Only
 * for numbers far below 2^53 / 1000. */
static double round_milli(double v)
{
    return (double)(int64_t)(v * 1000.0 + 0.5) / 1000.0;
}

void api_write_seconds(struct json *j, const char *key, double s)
{
    if (s >= 0 && s < 1e12)
        json_key_double(j, key, round_milli(s));
    else
        json_key_null(j, key);
}

void api_write_ratio(struct json *j, const char *key, double ratio,
                     uint64_t attempts)
{
    api_write_seconds(j, key, attempts > 0 ? ratio : -1);
}

void api_write_known(struct json *j, const char *key, int64_t v)
{
    if (v >= 0)
        json_key_i64(j, key, v);
    else
        json_key_null(j, key);
}

/* PSI is kept in hundredths of a percent. */
static void write_percent(struct json *j, const char *key, int32_t v)
{
    api_write_seconds(j, key, v >= 0 ? v / 100.0 : -1);
}

static void write_us_as_ns(struct json *j, const char *key, int64_t us)
{
    api_write_known(j, key, us >= 0 && us < INT64_MAX / 1000 ? us * 1000 : -1);
}

void api_write_context(struct json *j, const struct frame_context *c)
{
    json_object_begin(j);
    json_key_bool(j, "starved", c->is_starved);
    write_percent(j, "psi_cpu_percent", c->psi_cpu);
    write_percent(j, "psi_memory_percent", c->psi_memory);
    write_percent(j, "psi_io_percent", c->psi_io);
    write_us_as_ns(j, "throttled_ns", c->throttled_us);
    api_write_known(j, "throttled_periods", c->nr_throttled);
    api_write_known(j, "memory_used_bytes", c->memory_used);
    api_write_known(j, "memory_limit_bytes", c->memory_limit);
    write_us_as_ns(j, "runq_wait_ns", c->runq_wait_us);
    write_us_as_ns(j, "loop_lag_p99_ns", c->lag_p99_us);
    api_write_known(j, "missed_slots", c->missed_slots);
    api_write_known(j, "in_flight_max", c->in_flight_max);
    api_write_known(j, "queue_drops", c->queue_drops);
    json_object_end(j);
}

bool api_turn_is_over(const struct api_source *s, uint64_t start_ns)
{
    return s->now_ns() - start_ns >= API_TURN_NS;
}

void api_write_cover(struct json *j, const struct history_cover *c,
                     uint64_t until_unix_ns)
{
    const uint64_t window_ns = FRAME_WINDOW_S * 1000000000ull;
    json_key(j, "covers");
    if (c->end == 0) {
        json_put_null(j);
        return;
    }
    uint64_t end_ns = c->end * window_ns;
    json_object_begin(j);
    json_key_time(j, "from", c->first * window_ns);
    json_key_time(j, "to",
                  end_ns < until_unix_ns || c->step > 1 ? end_ns
                                                        : until_unix_ns);
    json_key_u64(j, "step_s", c->step * FRAME_WINDOW_S);
    json_object_end(j);
}

/* ---- the source ---- */

struct history_cover api_frames_cover(const struct frames *frames,
                                      struct matrix_windows w)
{
    struct frames_cursor at = {.first_window = w.first};
    struct history_cover cover = {.step = 1};
    const void *data;
    size_t len;
    struct frame_reader f;
    if (frames_next(frames, &at, &data, &len) &&
        !frame_reader_open(&f, data, len) && f.window <= w.last) {
        cover.first = f.window;
        cover.end = w.last + 1;
    }
    frames_cursor_fini(&at);
    return cover;
}

void api_put_segment(struct wr *w, const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *text; text++) {
        uint8_t c = (uint8_t)*text;
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || strchr("-._~", c);
        if (is_plain) {
            wr_u8(w, c);
            continue;
        }
        wr_u8(w, '%');
        wr_u8(w, (uint8_t)hex[c >> 4]);
        wr_u8(w, (uint8_t)hex[c & 15]);
    }
}

bool api_is_folding(const struct api_source *s, uint64_t start_ns)
{
    while (s->history && history_is_behind(s->history)) {
        if (api_turn_is_over(s, start_ns))
            return true;
        history_work(s->history, HISTORY_STEP);
    }
    return false;
}

uint64_t api_retention_s(const struct api_source *s)
{
    return s->retention_s ? s->retention_s : RETENTION_S_DEFAULT;
}

void api_source_set_nodes(struct api_source *s, struct api_nodes *nodes)
{
    api_nodes_release(s->nodes);
    s->nodes = nodes;
    s->nodes_number++;
}

void api_refresh(const struct api_source *s)
{
    if (s->refresh)
        s->refresh(s->refresh_arg);
}

const struct matrix_node *api_expected_nodes(const struct api_source *s,
                                             size_t *count)
{
    *count = 0;
    return s->nodes ? api_nodes_matrix(s->nodes, count) : NULL;
}

/* ---- routing ---- */

static const struct {
    const char *path;
    api_view *view;
} routes[] = {
    {"/api/v1/matrix", api_matrix},
    {"/api/v1/members", api_members},
    {"/api/v1/samples", api_samples},
    {"/api/v1/status", api_status},
    {"/livez", api_livez},
    {"/readyz", api_readyz},
    {"/metrics", metrics_view},
};

static bool is_cells(const struct httpd_request *r)
{
    return r->n_segments == 5 && strcmp(r->segments[0], "api") == 0 &&
           strcmp(r->segments[1], "v1") == 0 &&
           strcmp(r->segments[2], "cells") == 0;
}

void api_handle(void *arg, const struct httpd_request *request,
                struct httpd_answer *answer)
{
    const struct api_source *s = arg;
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        if (strcmp(request->path, routes[i].path) == 0) {
            routes[i].view(s, request, answer);
            return;
        }
    }
    if (is_cells(request))
        api_cells(s, request, answer);
    else
        httpd_error(answer, 404, "not_found", "there is no %.200s here",
                    request->path);
}
