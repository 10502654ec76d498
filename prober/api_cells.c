/* /api/v1/cells/{from}/{to}: everything known about one cell.
 *
 * Collected from the frames themselves, because a matrix merges away what is
 * asked for here: the single windows and the nodes. What cells, labels, ages
 * and states mean is as in mesh/matrix.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "prober/api_views.h"
#include "proto/base/err.h"

#define COMBINATIONS ((size_t)PROTOCOL_N * MODE_N)
#define NODES_MAX    4096 /* contributing ones that are listed */
#define POINTS_MAX   400  /* windows of an hour, and some */
#define STEP         64   /* pieces collected between looks at the clock */

/* What the timeline shows; an index into point.series. */
static const unsigned point_series[] = {SERIES_TOTAL, PHASE_TTFB,
                                        PHASE_CONNECT};
#define POINT_SERIES (sizeof(point_series) / sizeof(point_series[0]))

/* One window of the timeline. */
struct point {
    uint64_t window;
    uint64_t attempts, ok, failed;
    struct hist series[POINT_SERIES];
};

/* One protocol and mode. */
struct part {
    uint64_t attempts, ok, failed, trusted;
    uint64_t outcomes[OUTCOME_N];
    uint64_t retransmits, reconnects, user_clock, max_lag_us;
    uint64_t newest; /* window with an attempt, 0: none */
    unsigned nodes;
    size_t n_points, points_size;
    struct point *points; /* ascending windows */
    struct hist series[SERIES_N];
};

struct node {
    char *name, *zone, *region;
    uint64_t attempts;
    uint64_t newest; /* window of the context */
    struct frame_context context;
    bool is_in[COMBINATIONS];
};

/* What collecting does next: the next frame, its targets, its cells. */
enum collect { COLLECT_FRAME, COLLECT_TARGETS, COLLECT_CELLS, COLLECT_DONE };

enum stage { STAGE_HEAD, STAGE_PARTS, STAGE_POINTS, STAGE_NODES, STAGE_END };

struct cells_view {
    const struct api_source *source;
    enum matrix_level level;
    uint64_t window_s, now_unix_ns;
    char *from, *to;
    bool is_from_known, is_to_known, is_draining;

    enum collect collect;
    struct frames_cursor cursor;
    struct frame_reader frame;     /* the one being collected from */
    bool is_from;                  /* by a node of that name */
    bool is_to[FRAME_TARGETS_MAX]; /* its targets of that name */
    struct node *node;             /* who made it, once that is looked up */
    struct frame_cell cell;        /* the one being added */

    uint64_t first, last; /* windows asked for; older ones tell the age */
    struct part parts[COMBINATIONS];
    size_t n_nodes, nodes_size;
    struct node *nodes;

    enum stage stage;
    size_t part, i;
    struct json json;
};

static void part_fini(struct part *p)
{
    for (size_t i = 0; i < p->n_points; i++) {
        for (size_t k = 0; k < POINT_SERIES; k++)
            hist_fini(&p->points[i].series[k]);
    }
    free(p->points);
    for (unsigned k = 0; k < SERIES_N; k++)
        hist_fini(&p->series[k]);
}

static void cells_done(void *state)
{
    struct cells_view *v = state;
    frames_cursor_fini(&v->cursor);
    frame_cell_fini(&v->cell);
    for (size_t i = 0; i < COMBINATIONS; i++)
        part_fini(&v->parts[i]);
    for (size_t i = 0; i < v->n_nodes; i++) {
        free(v->nodes[i].name);
        free(v->nodes[i].zone);
        free(v->nodes[i].region);
    }
    free(v->nodes);
    free(v->from);
    free(v->to);
    free(v);
}

/* ---- collecting ---- */

static bool is_named(const char *wanted, enum matrix_level level,
                     const char *node, const char *zone, const char *region)
{
    return strcmp(matrix_label(level, node, zone, region), wanted) == 0;
}

/* Room for one more of `n` things in an array that doubles up to `max`. */
static void *grow(void *array, size_t n, size_t *size, size_t max, size_t each)
{
    if (n < *size)
        return array;
    size_t larger = *size ? 2 * *size : 8;
    if (n >= max)
        return NULL;
    void *grown = reallocarray(array, larger, each);
    if (grown)
        *size = larger;
    return grown;
}

static struct point *find_point(struct part *p, uint64_t window)
{
    /* Windows come in ascending order, so it is the last or a new one. */
    if (p->n_points > 0 && p->points[p->n_points - 1].window == window)
        return &p->points[p->n_points - 1];
    struct point *points = grow(p->points, p->n_points, &p->points_size,
                                POINTS_MAX, sizeof(*points));
    if (!points)
        return NULL;
    p->points = points;
    struct point *point = &points[p->n_points++];
    *point = (struct point){.window = window};
    return point;
}

static struct node *find_node(struct cells_view *v)
{
    const struct frame_reader *f = &v->frame;
    for (size_t i = 0; i < v->n_nodes; i++) {
        if (strcmp(v->nodes[i].name, f->origin) == 0)
            return &v->nodes[i];
    }
    struct node *nodes =
        grow(v->nodes, v->n_nodes, &v->nodes_size, NODES_MAX, sizeof(*nodes));
    if (!nodes)
        return NULL;
    v->nodes = nodes;
    struct node *n = &nodes[v->n_nodes++];
    *n = (struct node){.name = strdup(f->origin),
                       .zone = strdup(f->zone),
                       .region = strdup(f->region)};
    return n->name && n->zone && n->region ? n : NULL;
}

static int add_counts(struct part *p, struct point *point,
                      const struct frame_cell *cell)
{
    p->attempts += cell->attempts;
    point->attempts += cell->attempts;
    if (cell->is_trusted)
        p->trusted += cell->attempts;
    for (unsigned o = 0; o < OUTCOME_N; o++) {
        uint32_t n = cell->outcomes[o];
        p->outcomes[o] += n;
        if (o == OUTCOME_OK) {
            p->ok += n;
            point->ok += n;
        } else if (!outcome_is_local((enum probe_outcome)o)) {
            p->failed += n;
            point->failed += n;
        }
    }
    p->retransmits += cell->retransmits;
    p->reconnects += cell->reconnects;
    p->user_clock += cell->user_clock;
    if (cell->max_lag_us > p->max_lag_us)
        p->max_lag_us = cell->max_lag_us;
    int err = 0;
    for (unsigned k = 0; k < SERIES_N && !err; k++)
        err = hist_merge(&p->series[k], &cell->series[k]);
    for (unsigned k = 0; k < POINT_SERIES && !err; k++)
        err = hist_merge(&point->series[k], &cell->series[point_series[k]]);
    return err;
}

static int add_cell(struct cells_view *v)
{
    const struct frame_reader *f = &v->frame;
    const struct frame_cell *cell = &v->cell;
    size_t which = (size_t)cell->protocol * MODE_N + cell->mode;
    struct part *p = &v->parts[which];
    if (cell->attempts > 0 && f->window > p->newest)
        p->newest = f->window;
    if (f->window < v->first)
        return 0;
    int err = frame_reader_series(&v->frame, &v->cell);
    if (err)
        return err;
    struct point *point = find_point(p, f->window);
    if (!v->node)
        v->node = find_node(v);
    struct node *node = v->node;
    if (!point || !node)
        return ERR_NOMEM;
    if (!node->is_in[which]) {
        node->is_in[which] = true;
        p->nodes++;
    }
    node->attempts += cell->attempts;
    if (f->window >= node->newest) {
        node->newest = f->window;
        node->context = f->context;
    }
    return add_counts(p, point, cell);
}

static void next_frame(struct cells_view *v)
{
    struct frame_reader *f = &v->frame;
    const void *data;
    size_t len;
    if (!frames_next(v->source->frames, &v->cursor, &data, &len)) {
        v->collect = COLLECT_DONE;
        return;
    }
    int err = frame_reader_open(f, data, len);
    assert(!err); /* it was checked when it was added */
    if (f->window > v->last)
        return;
    v->node = NULL;
    v->is_from = is_named(v->from, v->level, f->origin, f->zone, f->region);
    v->is_from_known = v->is_from_known || v->is_from;
    if (v->is_from || !v->is_to_known)
        v->collect = COLLECT_TARGETS;
}

static void next_target(struct cells_view *v)
{
    struct frame_reader_target t;
    size_t number = v->frame.n_targets - v->frame.targets;
    if (frame_reader_target(&v->frame, &t) == 0) {
        v->collect = v->is_from ? COLLECT_CELLS : COLLECT_FRAME;
        return;
    }
    v->is_to[number] = is_named(v->to, v->level, t.name, t.zone, t.region);
    v->is_to_known = v->is_to_known || v->is_to[number];
}

static int next_cell(struct cells_view *v)
{
    int rc = frame_reader_cell(&v->frame, &v->cell);
    if (rc == 0)
        v->collect = COLLECT_FRAME;
    if (rc <= 0)
        return rc;
    return v->is_to[v->cell.target] ? add_cell(v) : 0;
}

static int collect_piece(struct cells_view *v)
{
    switch (v->collect) {
    case COLLECT_FRAME:
        next_frame(v);
        break;
    case COLLECT_TARGETS:
        next_target(v);
        break;
    case COLLECT_CELLS:
        return next_cell(v);
    case COLLECT_DONE:
        break;
    }
    return 0;
}

static int cells_prepare(void *state, struct httpd_answer *answer)
{
    struct cells_view *v = state;
    uint64_t start_ns = v->source->now_ns();
    while (v->collect != COLLECT_DONE) {
        for (unsigned i = 0; i < STEP; i++) {
            int err = collect_piece(v);
            if (err)
                return err;
        }
        if (api_turn_is_over(v->source, start_ns))
            return 1;
    }
    if (v->is_from_known && v->is_to_known)
        return 0;

    struct httpd_answer error;
    httpd_error(&error, 404, "unknown_name", "no %s is named %.128s",
                matrix_level_name(v->level),
                v->is_from_known ? v->to : v->from);
    cells_done(v);
    *answer = error;
    return 0;
}

/* ---- rendering ---- */

static void write_part_series(struct json *j, const struct part *p)
{
    json_key(j, "phases");
    json_object_begin(j);
    for (unsigned k = 0; k < SERIES_N; k++) {
        const struct hist *h = &p->series[k];
        if (h->count == 0)
            continue; /* did not run: left out, never 0 */
        json_key(j, series_name(k));
        json_object_begin(j);
        json_key_u64(j, "count", h->count);
        json_key_u64(j, "min", h->min_ns);
        json_key_u64(j, "mean", h->sum_ns / h->count);
        json_key_u64(j, "p50", hist_quantile(h, 0.5));
        json_key_u64(j, "p90", hist_quantile(h, 0.9));
        json_key_u64(j, "p99", hist_quantile(h, 0.99));
        json_key_u64(j, "max", h->max_ns);
        json_object_end(j);
    }
    json_object_end(j);
}

/* Since the end of the newest window with a measurement; < 0: none. */
static double age_s(const struct cells_view *v, const struct part *p)
{
    if (p->newest == 0)
        return -1;
    double end_s = (double)(p->newest + 1) * FRAME_WINDOW_S;
    double age = (double)v->now_unix_ns / 1e9 - end_s;
    return age > 0 ? age : 0;
}

static enum matrix_state state_of(const struct cells_view *v, double age)
{
    if (v->is_draining)
        return CELL_DRAINING;
    if (age < 0)
        return CELL_UNKNOWN;
    return age > MATRIX_STALE_S ? CELL_STALE : CELL_FRESH;
}

static void write_part(struct cells_view *v)
{
    struct json *j = &v->json;
    const struct part *p = &v->parts[v->part];
    double age = age_s(v, p);
    json_object_begin(j);
    json_key_text(j, "protocol",
                  protocol_name((enum probe_protocol)(v->part / MODE_N)));
    json_key_text(j, "mode", mode_name((enum probe_mode)(v->part % MODE_N)));
    json_key_text(j, "state", matrix_state_name(state_of(v, age)));
    api_write_seconds(j, "age_s", age);
    json_key_u64(j, "attempts", p->attempts);
    json_key_u64(j, "ok", p->ok);
    json_key_u64(j, "failed", p->failed);
    api_write_outcomes(j, p->outcomes);
    json_key_u64(j, "nodes", p->nodes);
    api_write_ratio(j, "trusted_ratio",
                    p->attempts ? (double)p->trusted / (double)p->attempts : 0,
                    p->attempts);
    json_key_u64(j, "retransmits", p->retransmits);
    json_key_u64(j, "reconnects", p->reconnects);
    json_key_u64(j, "user_clock", p->user_clock);
    api_write_known(j, "max_lag_ns",
                    p->attempts > 0 && p->max_lag_us < INT64_MAX / 1000
                        ? (int64_t)p->max_lag_us * 1000
                        : -1);
    write_part_series(j, p);
    json_key(j, "timeline");
    json_array_begin(j);
}

static void write_point(struct json *j, const struct point *p)
{
    json_object_begin(j);
    json_key_time(j, "at", p->window * FRAME_WINDOW_S * 1000000000ull);
    json_key_u64(j, "attempts", p->attempts);
    json_key_u64(j, "ok", p->ok);
    json_key_u64(j, "failed", p->failed);
    json_key(j, "phases");
    json_object_begin(j);
    for (size_t k = 0; k < POINT_SERIES; k++) {
        const struct hist *h = &p->series[k];
        if (h->count == 0)
            continue;
        json_key(j, series_name(point_series[k]));
        json_object_begin(j);
        json_key_u64(j, "p50", hist_quantile(h, 0.5));
        json_key_u64(j, "p99", hist_quantile(h, 0.99));
        json_object_end(j);
    }
    json_object_end(j);
    json_object_end(j);
}

static void write_node(struct json *j, const struct node *n)
{
    json_object_begin(j);
    json_key_text(j, "node", n->name);
    json_key_text(j, "zone", n->zone);
    json_key_text(j, "region", n->region);
    json_key_u64(j, "attempts", n->attempts);
    json_key_time(j, "window_at", n->newest * FRAME_WINDOW_S * 1000000000ull);
    json_key(j, "context");
    api_write_context(j, &n->context);
    json_object_end(j);
}

static void write_head(struct cells_view *v)
{
    struct json *j = &v->json;
    json_object_begin(j);
    api_write_origin(j, v->source, v->now_unix_ns);
    json_key_text(j, "level", matrix_level_name(v->level));
    json_key_u64(j, "window_s", v->window_s);
    json_key_text(j, "unit", "ns");
    json_key_text(j, "from", v->from);
    json_key_text(j, "to", v->to);
    json_key(j, "cells");
    json_array_begin(j);
}

static void write_end_of_points(struct cells_view *v)
{
    struct json *j = &v->json;
    json_array_end(j);
    json_object_end(j);
    v->i = 0;
    v->stage = STAGE_PARTS;
    if (++v->part < COMBINATIONS)
        return;
    json_array_end(j);
    json_key(j, "nodes");
    json_array_begin(j);
    v->stage = STAGE_NODES;
}

/* Write one piece and step on. */
static void write_piece(struct cells_view *v)
{
    struct json *j = &v->json;
    switch (v->stage) {
    case STAGE_HEAD:
        write_head(v);
        v->stage = STAGE_PARTS;
        break;
    case STAGE_PARTS:
        write_part(v);
        v->stage = STAGE_POINTS;
        break;
    case STAGE_POINTS:
        if (v->i < v->parts[v->part].n_points)
            write_point(j, &v->parts[v->part].points[v->i++]);
        else
            write_end_of_points(v);
        break;
    case STAGE_NODES:
        if (v->i < v->n_nodes) {
            write_node(j, &v->nodes[v->i++]);
            break;
        }
        json_array_end(j);
        json_object_end(j);
        wr_u8(j->out, '\n');
        v->stage = STAGE_END;
        break;
    case STAGE_END:
        break;
    }
}

static int cells_body(void *state, struct wr *w)
{
    struct cells_view *v = state;
    v->json.out = w;
    while (v->stage != STAGE_END) {
        if (httpd_slice_is_full(w))
            return 1;
        write_piece(v);
    }
    return wr_err(w);
}

/* Is the name expected, and do all that have it drain? */
static bool look_up_one(const struct cells_view *v, const char *name,
                        bool *is_drained)
{
    size_t n = 0;
    size_t n_draining = 0;
    size_t n_nodes;
    const struct matrix_node *nodes = api_expected_nodes(v->source, &n_nodes);
    for (size_t i = 0; i < n_nodes; i++) {
        const struct matrix_node *node = &nodes[i];
        if (!is_named(name, v->level, node->name, node->zone, node->region))
            continue;
        n++;
        n_draining += node->is_draining;
    }
    *is_drained = n > 0 && n_draining == n;
    return n > 0;
}

/* What the membership knows of the two names. */
static void look_up(struct cells_view *v)
{
    bool is_from_drained;
    bool is_to_drained;
    v->is_from_known = look_up_one(v, v->from, &is_from_drained);
    v->is_to_known = look_up_one(v, v->to, &is_to_drained);
    v->is_draining = is_from_drained || is_to_drained;
}

void api_cells(const struct api_source *s, const struct httpd_request *r,
               struct httpd_answer *answer)
{
    struct api_params p;
    if (!api_params(r, API_LEVEL | API_WINDOW | API_AT, &p, answer))
        return;
    struct cells_view *v = calloc(1, sizeof(*v));
    if (!v) {
        api_no_memory(answer);
        return;
    }
    v->source = s;
    v->level = p.level;
    v->window_s = p.window_s;
    v->now_unix_ns = s->now_unix_ns();
    v->from = strdup(r->segments[3]);
    v->to = strdup(r->segments[4]);
    if (!v->from || !v->to) {
        cells_done(v);
        api_no_memory(answer);
        return;
    }
    uint64_t now_s = v->now_unix_ns / 1000000000u;
    uint64_t back_s = p.window_s < now_s ? p.window_s : now_s;
    v->first = (now_s - back_s) / FRAME_WINDOW_S;
    v->last = now_s / FRAME_WINDOW_S + FRAMES_AHEAD_MAX;
    api_refresh(s);
    look_up(v);
    json_init(&v->json, NULL);
    *answer = (struct httpd_answer){
        .status = 200,
        .content_type = "application/json",
        .prepare = cells_prepare,
        .body = cells_body,
        .done = cells_done,
        .state = v,
    };
}
