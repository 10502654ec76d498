/* /api/v1/matrix: built once, shared, rendered cell by cell. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "prober/api_views.h"

#define SHARE_NS   1000000000u /* a build is handed out for so long */
#define SLOTS      4           /* questions remembered */
#define BUILDS_MAX 8           /* builds alive, slow readers' included */

/* One matrix with what its question was. */
struct build {
    unsigned refs;           /* the cache's slot and each answer */
    struct api_cache *cache; /* NULL once that is gone or never was */
    struct build *next_dead;
    struct matrix *matrix;
    int rc; /* of matrix_step(): 1 is being built, 0 complete, < 0 failed */
    struct matrix_query query; /* its now_unix_ns is generated_at */
    uint64_t begun_ns, number;
};

struct api_cache {
    struct build *slots[SLOTS];
    struct build *dead; /* nobody's: to be freed, a piece at a time */
    unsigned alive;     /* builds that name this cache */
    uint64_t number;
    bool is_closed;
};

struct api_cache *api_cache_open(void)
{
    return calloc(1, sizeof(struct api_cache));
}

static void build_close(struct build *b)
{
    struct api_cache *cache = b->cache;
    matrix_close(b->matrix);
    free(b);
    if (cache && --cache->alive == 0 && cache->is_closed)
        free(cache);
}

static void build_release(struct build *b)
{
    if (!b || --b->refs > 0)
        return;
    if (!b->cache || b->cache->is_closed) {
        build_close(b);
        return;
    }
    /* Freeing a large one takes milliseconds, so the next who asks does it
     * before adding another. */
    b->next_dead = b->cache->dead;
    b->cache->dead = b;
}

/* Free what is dead, for a turn. Returns false if there is more of it. */
static bool bury(const struct api_source *s, uint64_t start_ns)
{
    struct api_cache *c = s->cache;
    while (c && c->dead) {
        struct build *b = c->dead;
        while (matrix_discard(b->matrix, MATRIX_STEP)) {
            if (api_turn_is_over(s, start_ns))
                return false;
        }
        c->dead = b->next_dead;
        build_close(b);
    }
    return true;
}

void api_cache_close(struct api_cache *c)
{
    if (!c)
        return;
    c->is_closed = true;
    c->alive++; /* keeps it through the loops */
    for (int i = 0; i < SLOTS; i++)
        build_release(c->slots[i]);
    while (c->dead) {
        struct build *b = c->dead;
        c->dead = b->next_dead;
        build_close(b);
    }
    if (--c->alive == 0)
        free(c);
}

static bool is_same_question(const struct matrix_query *a,
                             const struct matrix_query *b)
{
    return a->level == b->level && a->window_s == b->window_s &&
           a->protocol == b->protocol && a->mode == b->mode;
}

/* The slot of this question, or the one to be reused for it. */
static struct build **find_slot(struct api_cache *c,
                                const struct matrix_query *query)
{
    struct build **oldest = &c->slots[0];
    for (int i = 0; i < SLOTS; i++) {
        struct build **slot = &c->slots[i];
        if (*slot && is_same_question(&(*slot)->query, query))
            return slot;
        if (!*slot || (*oldest && (*slot)->begun_ns < (*oldest)->begun_ns))
            oldest = slot;
    }
    return oldest;
}

static struct build *build_open(const struct api_source *s,
                                const struct matrix_query *query,
                                uint64_t now_ns)
{
    struct build *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    api_refresh(s);
    size_t n_nodes;
    const struct matrix_node *nodes = api_expected_nodes(s, &n_nodes);
    b->matrix = matrix_open(s->frames, query, nodes, n_nodes);
    if (!b->matrix) {
        free(b);
        return NULL;
    }
    b->refs = 1;
    b->rc = 1;
    b->query = *query;
    b->begun_ns = now_ns;
    b->cache = s->cache;
    if (b->cache) {
        b->cache->alive++;
        b->number = ++b->cache->number;
    }
    return b;
}

enum find { FIND_OK, FIND_BUSY, FIND_NO_MEMORY };

/* One that is being built is joined however long that takes, as long as there
 * is somebody to build it: else a slow machine would start ever more. */
static bool is_shareable(const struct build *b, uint64_t now_ns)
{
    return now_ns - b->begun_ns < SHARE_NS || (b->rc == 1 && b->refs > 1);
}

/* A reference to a build that answers `query`, or will. Frames that came in
 * within the last second are not waited for: on a large mesh that is always. */
static enum find build_find(const struct api_source *s,
                            const struct matrix_query *query, uint64_t now_ns,
                            struct build **out)
{
    struct api_cache *c = s->cache;
    struct build **slot = c ? find_slot(c, query) : NULL;
    bool is_known = slot && *slot && is_same_question(&(*slot)->query, query);
    if (is_known && (*slot)->rc >= 0 && is_shareable(*slot, now_ns)) {
        (*slot)->refs++;
        *out = *slot;
        return FIND_OK;
    }
    if (slot) {
        build_release(*slot);
        *slot = NULL;
    }
    if (c && c->alive >= BUILDS_MAX + (c->dead != NULL))
        return FIND_BUSY;
    *out = build_open(s, query, now_ns);
    if (!*out)
        return FIND_NO_MEMORY;
    if (slot) {
        (*out)->refs++;
        *slot = *out;
    }
    return FIND_OK;
}

/* Build on for the rest of the turn, whoever began it. */
static void build_step(const struct api_source *s, struct build *b,
                       uint64_t start_ns)
{
    while (b->rc == 1) {
        b->rc = matrix_step(b->matrix, MATRIX_STEP);
        if (api_turn_is_over(s, start_ns))
            return;
    }
}

/* ---- rendering ---- */

enum stage { STAGE_HEAD, STAGE_FROM, STAGE_TO, STAGE_CELLS, STAGE_MISSING };

struct matrix_view {
    const struct api_source *source;
    struct matrix_query query;
    struct build *build;
    enum stage stage;
    size_t i; /* next item of this stage */
    struct json json;
};

static void write_series(struct json *j, const struct hist *h)
{
    json_object_begin(j);
    json_key_u64(j, "count", h->count);
    json_key_u64(j, "p50", hist_quantile(h, 0.5));
    json_key_u64(j, "p90", hist_quantile(h, 0.9));
    json_key_u64(j, "p99", hist_quantile(h, 0.99));
    json_key_u64(j, "max", h->max_ns);
    json_object_end(j);
}

static void write_phases(struct json *j, const struct matrix_cell *cell)
{
    json_key(j, "phases");
    json_object_begin(j);
    for (unsigned i = 0; i < SERIES_N; i++) {
        if (cell->series[i].count == 0)
            continue; /* did not run: left out, never 0 */
        json_key(j, series_name(i));
        write_series(j, &cell->series[i]);
    }
    json_object_end(j);
}

static void write_cell(struct json *j, const struct matrix *m, size_t i)
{
    size_t row = i / matrix_columns(m);
    size_t column = i % matrix_columns(m);
    const struct matrix_cell *cell = matrix_at(m, row, column);
    json_object_begin(j);
    json_key_text(j, "from", matrix_row_name(m, row));
    json_key_text(j, "to", matrix_column_name(m, column));
    json_key_text(j, "state", matrix_state_name(cell->state));
    api_write_seconds(j, "age_s", cell->age_s);
    json_key_u64(j, "attempts", cell->attempts);
    json_key_u64(j, "ok", cell->ok);
    json_key_u64(j, "failed", cell->failed);
    api_write_outcomes(j, cell->outcomes);
    json_key_u64(j, "nodes", cell->nodes);
    api_write_ratio(j, "trusted_ratio", cell->trusted_ratio, cell->attempts);
    json_key_u64(j, "retransmits", cell->retransmits);
    json_key_u64(j, "reconnects", cell->reconnects);
    json_key_u64(j, "user_clock", cell->user_clock);
    write_phases(j, cell);
    json_object_end(j);
}

static void write_head(struct matrix_view *v)
{
    struct json *j = &v->json;
    const struct matrix_query *q = &v->query;
    json_object_begin(j);
    api_write_origin(j, v->source, q->now_unix_ns);
    json_key_text(j, "level", matrix_level_name(q->level));
    json_key_u64(j, "window_s", q->window_s);
    json_key_text(j, "protocol",
                  q->protocol < 0
                      ? "all"
                      : protocol_name((enum probe_protocol)q->protocol));
    json_key_text(j, "mode", mode_name((enum probe_mode)q->mode));
    json_key_text(j, "unit", "ns");
    json_key(j, "from");
    json_array_begin(j);
}

static void write_origins(struct json *j, const struct matrix *m)
{
    json_key(j, "origins");
    json_object_begin(j);
    json_key_u64(j, "expected", matrix_expected(m));
    json_key_u64(j, "reporting", matrix_reporting(m));
    json_key(j, "missing");
    json_array_begin(j);
}

/* Items in the stage, each of them a piece. */
static size_t stage_size(enum stage stage, const struct matrix *m)
{
    switch (stage) {
    case STAGE_HEAD:
        return 0;
    case STAGE_FROM:
        return matrix_rows(m);
    case STAGE_TO:
        return matrix_columns(m);
    case STAGE_CELLS:
        return matrix_rows(m) * matrix_columns(m);
    case STAGE_MISSING:
        return matrix_missing(m);
    }
    return 0;
}

static void write_item(struct matrix_view *v, const struct matrix *m)
{
    struct json *j = &v->json;
    size_t i = v->i++;
    switch (v->stage) {
    case STAGE_HEAD:
        break;
    case STAGE_FROM:
        json_text(j, matrix_row_name(m, i));
        break;
    case STAGE_TO:
        json_text(j, matrix_column_name(m, i));
        break;
    case STAGE_CELLS:
        write_cell(j, m, i);
        break;
    case STAGE_MISSING:
        json_text(j, matrix_missing_name(m, i));
        break;
    }
}

/* Between stages: close one list, open the next. Returns false at the end. */
static bool next_stage(struct matrix_view *v, const struct matrix *m)
{
    struct json *j = &v->json;
    v->i = 0;
    switch (v->stage) {
    case STAGE_HEAD:
        write_head(v);
        break;
    case STAGE_FROM:
    case STAGE_TO:
        json_array_end(j);
        json_key(j, v->stage == STAGE_FROM ? "to" : "cells");
        json_array_begin(j);
        break;
    case STAGE_CELLS:
        json_array_end(j);
        write_origins(j, m);
        break;
    case STAGE_MISSING:
        json_array_end(j);
        json_object_end(j);
        json_key_u64(j, "dropped_cells", matrix_dropped(m));
        json_object_end(j);
        wr_u8(j->out, '\n');
        return false;
    }
    v->stage++;
    return true;
}

static int matrix_body(void *state, struct wr *w)
{
    struct matrix_view *v = state;
    const struct matrix *m = v->build->matrix;
    v->json.out = w; /* another writer each time, the nesting goes on */
    for (;;) {
        if (httpd_slice_is_full(w))
            return 1;
        if (v->i < stage_size(v->stage, m))
            write_item(v, m);
        else if (!next_stage(v, m))
            return wr_err(w);
    }
}

static void matrix_done(void *state)
{
    struct matrix_view *v = state;
    build_release(v->build);
    free(v);
}

/* The matrix is complete: what the answer's head says of it. */
static void begin_answer(struct matrix_view *v, struct httpd_answer *answer)
{
    const struct build *b = v->build;
    v->query = b->query; /* its time, if it is somebody else's */
    json_init(&v->json, NULL);
    if (!b->cache)
        return;
    answer->is_cacheable = true;
    snprintf(answer->etag, sizeof(answer->etag), "%llx-%llx",
             (unsigned long long)v->source->start_unix_ns,
             (unsigned long long)b->number);
}

static int matrix_prepare(void *state, struct httpd_answer *answer)
{
    struct matrix_view *v = state;
    const struct api_source *s = v->source;
    uint64_t now_ns = s->now_ns();
    if (!bury(s, now_ns))
        return 1;
    if (!v->build) {
        switch (build_find(s, &v->query, now_ns, &v->build)) {
        case FIND_OK:
            break;
        case FIND_BUSY:
            matrix_done(v);
            httpd_error(answer, 503, "busy",
                        "too many matrices are being read; try again");
            return 0;
        case FIND_NO_MEMORY:
            return -1;
        }
    }
    build_step(s, v->build, now_ns);
    if (v->build->rc == 0)
        begin_answer(v, answer);
    return v->build->rc;
}

void api_matrix(const struct api_source *s, const struct httpd_request *r,
                struct httpd_answer *answer)
{
    struct api_params p;
    if (!api_params(r,
                    API_LEVEL | API_WINDOW | API_PROTOCOL | API_MODE | API_AT,
                    &p, answer))
        return;
    struct matrix_view *v = calloc(1, sizeof(*v));
    if (!v) {
        api_no_memory(answer);
        return;
    }
    v->source = s;
    v->query = (struct matrix_query){
        .level = p.level,
        .window_s = p.window_s,
        .protocol = p.protocol,
        .mode = p.mode,
        .now_unix_ns = s->now_unix_ns(),
    };
    *answer = (struct httpd_answer){
        .status = 200,
        .content_type = "application/json",
        .prepare = matrix_prepare,
        .body = matrix_body,
        .done = matrix_done,
        .state = v,
    };
}
