/* /api/v1/cells/{from}/{to}: everything known about one cell.
 *
 * Collected from the frames themselves, because a matrix merges away what is
 * asked for here: the single windows and the nodes. Between zones the history
 * knows the sums, further back than frames go; only the nodes are collected
 * then. What cells, labels, ages and states mean is as in mesh/matrix.h. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "prober/api_views.h"
#include "proto/base/err.h"

#define COMBINATIONS ((size_t)PROTOCOL_N * MODE_N)
#define NODES_MAX    4096 /* contributing ones that are listed, and counted */
#define POINTS_MAX   400  /* windows of an hour, and some */
#define STEP         64   /* pieces collected between looks at the clock */

/* What the timeline shows; an index into point.series. */
static const unsigned point_series[] = {SERIES_TOTAL, PHASE_TTFB,
                                        PHASE_CONNECT};
#define POINT_SERIES (sizeof(point_series) / sizeof(point_series[0]))

/* One window of the timeline. */
struct point {
    uint64_t window, step; /* windows that it is of */
    uint64_t attempts, ok, failed;
    struct hist series[POINT_SERIES];
};

/* One protocol and mode. */
struct part {
    struct matrix_cell cell; /* sums; state, age and ratio come at the end */
    uint64_t trusted;
    uint64_t newest; /* window with an attempt, 0: none */
    size_t n_points, points_size;
    struct point *points; /* ascending windows */
};

struct node {
    char *name, *zone, *region;
    uint64_t attempts, trusted, max_lag_us;
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
    struct matrix_query query; /* its protocol and mode are not used */
    uint64_t generated_unix_ns, begun_ns;
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

    bool is_history;               /* parts are read from there */
    struct history_reader *reader; /* of this part, or NULL */
    uint64_t point_at;             /* windows before it are done */
    struct history_cover cover;
};

static void part_fini(struct part *p)
{
    for (size_t i = 0; i < p->n_points; i++) {
        for (size_t k = 0; k < POINT_SERIES; k++)
            hist_fini(&p->points[i].series[k]);
    }
    free(p->points);
    for (unsigned k = 0; k < SERIES_N; k++)
        hist_fini(&p->cell.series[k]);
}

static void cells_done(void *state)
{
    struct cells_view *v = state;
    history_reader_close(v->reader);
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
    *point = (struct point){.window = window, .step = 1};
    return point;
}

/* *out is NULL for one that is beyond those listed. */
static int find_node(struct cells_view *v, struct node **out)
{
    const struct frame_reader *f = &v->frame;
    *out = NULL;
    for (size_t i = 0; i < v->n_nodes; i++) {
        if (strcmp(v->nodes[i].name, f->origin) == 0) {
            *out = &v->nodes[i];
            return 0;
        }
    }
    if (v->n_nodes == NODES_MAX)
        return 0;
    struct node *nodes =
        grow(v->nodes, v->n_nodes, &v->nodes_size, NODES_MAX, sizeof(*nodes));
    if (!nodes)
        return ERR_NOMEM;
    v->nodes = nodes;
    struct node *n = &nodes[v->n_nodes++];
    *n = (struct node){.name = strdup(f->origin),
                       .zone = strdup(f->zone),
                       .region = strdup(f->region)};
    *out = n;
    return n->name && n->zone && n->region ? 0 : ERR_NOMEM;
}

static int add_counts(struct part *p, struct point *point,
                      const struct frame_cell *cell)
{
    struct matrix_cell *sum = &p->cell;
    sum->attempts += cell->attempts;
    point->attempts += cell->attempts;
    if (cell->is_trusted)
        p->trusted += cell->attempts;
    for (unsigned o = 0; o < OUTCOME_N; o++) {
        uint32_t n = cell->outcomes[o];
        sum->outcomes[o] += n;
        if (o == OUTCOME_OK) {
            sum->ok += n;
            point->ok += n;
        } else if (!outcome_is_local((enum probe_outcome)o)) {
            sum->failed += n;
            point->failed += n;
        }
    }
    sum->retransmits += cell->retransmits;
    sum->reconnects += cell->reconnects;
    sum->user_clock += cell->user_clock;
    if (cell->max_lag_us > sum->max_lag_us)
        sum->max_lag_us = cell->max_lag_us;
    int err = 0;
    for (unsigned k = 0; k < SERIES_N && !err; k++)
        err = hist_merge(&sum->series[k], &cell->series[k]);
    for (unsigned k = 0; k < POINT_SERIES && !err; k++)
        err = hist_merge(&point->series[k], &cell->series[point_series[k]]);
    return err;
}

static void add_to_node(struct cells_view *v, size_t which)
{
    const struct frame_reader *f = &v->frame;
    const struct frame_cell *cell = &v->cell;
    struct node *node = v->node;
    if (!node->is_in[which]) {
        node->is_in[which] = true;
        v->parts[which].cell.nodes++;
    }
    node->attempts += cell->attempts;
    node->trusted += cell->is_trusted ? cell->attempts : 0;
    if (cell->max_lag_us > node->max_lag_us)
        node->max_lag_us = cell->max_lag_us;
    if (f->window >= node->newest) {
        node->newest = f->window;
        node->context = f->context;
    }
}

static int add_cell(struct cells_view *v)
{
    const struct frame_reader *f = &v->frame;
    const struct frame_cell *cell = &v->cell;
    size_t which = (size_t)cell->protocol * MODE_N + cell->mode;
    struct part *p = &v->parts[which];
    if (cell->attempts == 0)
        return 0;
    if (f->window > p->newest)
        p->newest = f->window;
    if (f->window < v->first)
        return 0;
    int err = v->node ? 0 : find_node(v, &v->node);
    if (err)
        return err;
    if (v->node)
        add_to_node(v, which);
    if (v->is_history)
        return 0;
    err = frame_reader_series(&v->frame, &v->cell);
    if (err)
        return err;
    struct point *point = find_point(p, f->window);
    return point ? add_counts(p, point, cell) : ERR_NOMEM;
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
    if (v->query.is_usable &&
        !v->query.is_usable(v->query.usable_arg, f->origin))
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

static int open_reader(struct cells_view *v)
{
    struct history_question q = {
        .first = v->first,
        .last = v->last,
        .protocol = (int)(v->part / MODE_N),
        .mode = (int)(v->part % MODE_N),
        .is_past = v->query.is_past,
        .unknown_s = api_retention_s(v->source),
        .is_fine = true,
    };
    history_reader_close(v->reader);
    v->reader = history_reader_open(v->source->history, &q);
    v->point_at = 0;
    if (!v->reader)
        return ERR_NOMEM;
    v->cover = history_covered(v->reader);
    return 0;
}

static int cells_prepare(void *state, struct httpd_answer *answer)
{
    struct cells_view *v = state;
    uint64_t start_ns = v->source->now_ns();
    if (v->begun_ns == 0)
        v->begun_ns = start_ns;
    if (v->is_history && start_ns - v->begun_ns < API_FOLD_NS &&
        api_is_folding(v->source, start_ns))
        return 1;
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
        return v->is_history ? open_reader(v) : 0;

    struct httpd_answer error;
    httpd_error(&error, 404, "unknown_name", "no %s is named %.128s",
                matrix_level_name(v->level),
                v->is_from_known ? v->to : v->from);
    cells_done(v);
    *answer = error;
    return 0;
}

/* ---- rendering ---- */

static void write_part_series(struct json *j, const struct matrix_cell *c)
{
    json_key(j, "phases");
    json_object_begin(j);
    for (unsigned k = 0; k < SERIES_N; k++) {
        const struct hist *h = &c->series[k];
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

/* What collecting leaves to be said: ratio, age and state. */
static void finish_part(const struct cells_view *v, struct part *p)
{
    struct matrix_cell *c = &p->cell;
    c->trusted_ratio =
        c->attempts ? (double)p->trusted / (double)c->attempts : 1;
    c->age_s = -1;
    c->state = CELL_UNKNOWN;
    if (p->newest == 0)
        return;
    double end_s = (double)(p->newest + 1) * FRAME_WINDOW_S;
    double age = (double)v->query.now_unix_ns / 1e9 - end_s;
    c->age_s = age > 0 ? age : 0;
    c->state = c->age_s > MATRIX_STALE_S ? CELL_STALE : CELL_FRESH;
}

/* NULL without memory. */
static const struct matrix_cell *find_part(struct cells_view *v)
{
    struct part *p = &v->parts[v->part];
    struct matrix_cell *c = &p->cell;
    if (v->is_history) {
        uint64_t now = v->query.is_past ? v->query.now_unix_ns
                                        : api_now_unix_ns(v->source);
        c = history_read(v->reader, v->from, v->to, now);
    } else {
        finish_part(v, p);
    }
    if (c && v->is_draining)
        c->state = CELL_DRAINING;
    return c;
}

static int write_part(struct cells_view *v)
{
    struct json *j = &v->json;
    const struct matrix_cell *c = find_part(v);
    if (!c)
        return ERR_NOMEM;
    json_object_begin(j);
    json_key_text(j, "protocol",
                  protocol_name((enum probe_protocol)(v->part / MODE_N)));
    json_key_text(j, "mode", mode_name((enum probe_mode)(v->part % MODE_N)));
    json_key_text(j, "state", matrix_state_name(c->state));
    api_write_seconds(j, "age_s", c->age_s);
    json_key_u64(j, "attempts", c->attempts);
    json_key_u64(j, "ok", c->ok);
    json_key_u64(j, "failed", c->failed);
    api_write_outcomes(j, c->outcomes);
    json_key_u64(j, "nodes", c->nodes);
    api_write_ratio(j, "trusted_ratio", c->trusted_ratio, c->attempts);
    json_key_u64(j, "retransmits", c->retransmits);
    json_key_u64(j, "reconnects", c->reconnects);
    json_key_u64(j, "user_clock", c->user_clock);
    api_write_known(j, "max_lag_ns",
                    c->attempts > 0 && c->max_lag_us < INT64_MAX / 1000
                        ? (int64_t)c->max_lag_us * 1000
                        : -1);
    write_part_series(j, c);
    json_key(j, "timeline");
    json_array_begin(j);
    return 0;
}

static void write_point(struct json *j, const struct point *p,
                        const struct hist *const series[POINT_SERIES])
{
    json_object_begin(j);
    json_key_time(j, "at", p->window * FRAME_WINDOW_S * 1000000000ull);
    json_key_u64(j, "step_s", p->step * FRAME_WINDOW_S);
    json_key_u64(j, "attempts", p->attempts);
    json_key_u64(j, "ok", p->ok);
    json_key_u64(j, "failed", p->failed);
    json_key(j, "phases");
    json_object_begin(j);
    for (size_t k = 0; k < POINT_SERIES; k++) {
        const struct hist *h = series[k];
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

/* The next point of the part: 1 if there was one, 0 behind the last, or an
 * error. */
static int next_point(struct cells_view *v)
{
    const struct hist *series[POINT_SERIES];
    struct point of_history;
    const struct point *p;
    if (v->is_history) {
        struct history_cover time;
        const struct matrix_cell *c;
        int rc = history_next_point(v->reader, &v->point_at, v->from, v->to, &c,
                                    &time);
        if (rc != 1)
            return rc;
        of_history = (struct point){.window = time.first,
                                    .step = time.step,
                                    .attempts = c->attempts,
                                    .ok = c->ok,
                                    .failed = c->failed};
        p = &of_history;
        for (size_t k = 0; k < POINT_SERIES; k++)
            series[k] = &c->series[point_series[k]];
    } else {
        if (v->i == v->parts[v->part].n_points)
            return 0;
        p = &v->parts[v->part].points[v->i++];
        for (size_t k = 0; k < POINT_SERIES; k++)
            series[k] = &p->series[k];
    }
    write_point(&v->json, p, series);
    return 1;
}

static void write_node(struct json *j, const struct node *n)
{
    json_object_begin(j);
    json_key_text(j, "node", n->name);
    json_key_text(j, "zone", n->zone);
    json_key_text(j, "region", n->region);
    json_key_u64(j, "attempts", n->attempts);
    api_write_ratio(j, "trusted_ratio",
                    n->attempts ? (double)n->trusted / (double)n->attempts : 0,
                    n->attempts);
    api_write_known(
        j, "max_lag_ns",
        n->max_lag_us < INT64_MAX / 1000 ? (int64_t)n->max_lag_us * 1000 : -1);
    json_key_time(j, "window_at", n->newest * FRAME_WINDOW_S * 1000000000ull);
    json_key(j, "context");
    api_write_context(j, &n->context);
    json_object_end(j);
}

/* Where the other direction is asked for. */
static void write_reverse(struct cells_view *v)
{
    char path[2 * 3 * FRAME_NAME_MAX + 64];
    struct wr w;
    wr_init_fixed(&w, path, sizeof(path));
    wr_text(&w, "/api/v1/cells/");
    api_put_segment(&w, v->to);
    wr_u8(&w, '/');
    api_put_segment(&w, v->from);
    wr_text(&w, "?level=");
    wr_text(&w, matrix_level_name(v->level));
    wr_u8(&w, '\0');
    if (!wr_err(&w))
        json_key_text(&v->json, "reverse", path);
    else
        json_key_null(&v->json, "reverse");
}

static void write_head(struct cells_view *v)
{
    struct json *j = &v->json;
    json_object_begin(j);
    api_write_origin(j, v->source, v->generated_unix_ns);
    if (v->query.is_past)
        json_key_time(j, "at", v->query.now_unix_ns);
    json_key_text(j, "level", matrix_level_name(v->level));
    json_key_u64(j, "window_s", v->query.window_s);
    api_write_cover(j, &v->cover, v->query.now_unix_ns);
    json_key_text(j, "unit", "ns");
    json_key_text(j, "from", v->from);
    json_key_text(j, "to", v->to);
    write_reverse(v);
    json_key(j, "cells");
    json_array_begin(j);
}

static int write_end_of_points(struct cells_view *v)
{
    struct json *j = &v->json;
    json_array_end(j);
    json_object_end(j);
    v->i = 0;
    v->stage = STAGE_PARTS;
    if (++v->part < COMBINATIONS)
        return v->is_history ? open_reader(v) : 0;
    json_array_end(j);
    json_key(j, "nodes");
    json_array_begin(j);
    v->stage = STAGE_NODES;
    return 0;
}

/* Write one piece and step on. */
static int write_piece(struct cells_view *v)
{
    struct json *j = &v->json;
    int rc = 0;
    switch (v->stage) {
    case STAGE_HEAD:
        write_head(v);
        v->stage = STAGE_PARTS;
        break;
    case STAGE_PARTS:
        rc = write_part(v);
        v->stage = STAGE_POINTS;
        break;
    case STAGE_POINTS:
        rc = next_point(v);
        if (rc == 0)
            rc = write_end_of_points(v);
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
    return rc < 0 ? rc : 0;
}

static int cells_body(void *state, struct wr *w)
{
    struct cells_view *v = state;
    v->json.out = w;
    while (v->stage != STAGE_END) {
        if (httpd_slice_is_full(w))
            return 1;
        int err = write_piece(v);
        if (err)
            return err;
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
    const struct history *h = v->is_history ? v->source->history : NULL;
    bool is_from_drained;
    bool is_to_drained;
    v->is_from_known = look_up_one(v, v->from, &is_from_drained);
    v->is_to_known = look_up_one(v, v->to, &is_to_drained);
    /* Who is there now says nothing of the past. */
    v->is_draining = !v->query.is_past && (is_from_drained || is_to_drained);
    v->is_from_known = v->is_from_known || (h && history_knows(h, v->from));
    v->is_to_known = v->is_to_known || (h && history_knows(h, v->to));
}

void api_cells(const struct api_source *s, const struct httpd_request *r,
               struct httpd_answer *answer)
{
    struct api_params p;
    if (!api_params(s, r, API_LEVEL | API_WINDOW | API_AT, &p, answer))
        return;
    struct cells_view *v = calloc(1, sizeof(*v));
    if (!v) {
        api_no_memory(answer);
        return;
    }
    v->source = s;
    v->level = p.level;
    v->is_history = s->history && p.level == LEVEL_ZONE;
    v->generated_unix_ns = api_now_unix_ns(s);
    v->query = (struct matrix_query){
        .level = p.level,
        .window_s = p.window_s,
        .now_unix_ns = p.at_unix_ns ? p.at_unix_ns : v->generated_unix_ns,
        .is_past = p.at_unix_ns != 0,
        .is_usable = s->is_usable,
        .usable_arg = s->usable_arg,
    };
    struct matrix_windows windows = matrix_windows(&v->query);
    v->first = windows.first;
    v->last = windows.last;
    v->cover = api_frames_cover(s->frames, windows);
    v->from = strdup(r->segments[3]);
    v->to = strdup(r->segments[4]);
    if (!v->from || !v->to) {
        cells_done(v);
        api_no_memory(answer);
        return;
    }
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
