/* /api/v1/matrix: built once, rendered once, cell by cell, shared. The text of
 * one with very many cells, as between the nodes of a large mesh, would be
 * gigabytes: each reader renders that anew, and keeps no more than a chunk. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "prober/api_views.h"
#include "prober/api_zones.h"
#include "proto/base/err.h"

#define SHARE_NS   1000000000u /* a build is handed out for so long */
#define SLOTS      4           /* questions remembered */
#define BUILDS_MAX 8           /* builds alive, slow readers' included */
#define CHUNK      65536       /* of text; two thirds of it are used */
/* Cells of a shared text: some 30 MB, or 300 zones and some. */
#define SHARED_CELLS_MAX 131072

enum stage { STAGE_HEAD, STAGE_FROM, STAGE_TO, STAGE_CELLS, STAGE_MISSING };

struct chunk {
    uint8_t *data;
    size_t len;
};

/* The text of an answer, as far as somebody has read it. Whoever reads ahead
 * of the others renders on. One that is not shared has its last chunk only. */
struct text {
    struct chunk *chunks;
    size_t n, size;
    enum stage stage;
    size_t i; /* next item of this stage */
    bool is_complete;
    struct json json;
};

/* One matrix with what its question was: `zones` or `matrix`. */
struct build {
    unsigned refs;           /* the cache's slot and each answer */
    struct api_cache *cache; /* NULL once that is gone or never was */
    struct build *next_dead;
    struct matrix *matrix;
    struct zones *zones;
    int rc; /* of matrix_step(): 1 is being built, 0 complete, < 0 failed */
    struct matrix_query query;
    uint64_t generated_unix_ns;
    uint64_t begun_ns, number;
    struct history_cover cover;
    struct text text;
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

static void drop_chunks(struct text *t)
{
    while (t->n > 0)
        free(t->chunks[--t->n].data);
}

static void text_fini(struct text *t)
{
    drop_chunks(t);
    free(t->chunks);
}

static void build_close(struct build *b)
{
    struct api_cache *cache = b->cache;
    matrix_close(b->matrix);
    zones_close(b->zones);
    text_fini(&b->text);
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
        while (b->matrix && matrix_discard(b->matrix, MATRIX_STEP)) {
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
           a->protocol == b->protocol && a->mode == b->mode &&
           a->is_past == b->is_past &&
           (!a->is_past || a->now_unix_ns == b->now_unix_ns);
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

/* Open what answers the query. */
static int open_source(const struct api_source *s, struct build *b)
{
    const struct matrix_query *q = &b->query;
    size_t n_nodes = 0;
    const struct matrix_node *nodes = NULL;
    if (!q->is_past) { /* who is there now says nothing of the past */
        api_refresh(s);
        nodes = api_expected_nodes(s, &n_nodes);
    }
    if (s->history && q->level == LEVEL_ZONE) {
        b->zones =
            zones_open(s->history, q, api_retention_s(s), nodes, n_nodes);
        b->rc = 0;
        if (b->zones)
            b->cover = zones_covered(b->zones);
        return b->zones ? 0 : ERR_NOMEM;
    }
    b->matrix = matrix_open(s->frames, q, nodes, n_nodes);
    b->rc = 1;
    b->cover = api_frames_cover(s->frames, matrix_windows(q));
    return b->matrix ? 0 : ERR_NOMEM;
}

static struct build *build_open(const struct api_source *s,
                                const struct matrix_query *query,
                                uint64_t now_ns)
{
    struct build *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->query = *query;
    if (open_source(s, b)) {
        free(b);
        return NULL;
    }
    b->refs = 1;
    b->generated_unix_ns =
        query->is_past ? api_now_unix_ns(s) : query->now_unix_ns;
    b->begun_ns = now_ns;
    b->cache = s->cache;
    json_init(&b->text.json, NULL);
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

/* ---- either kind ---- */

static size_t n_rows(const struct build *b)
{
    return b->zones ? zones_rows(b->zones) : matrix_rows(b->matrix);
}

static size_t n_columns(const struct build *b)
{
    return b->zones ? zones_columns(b->zones) : matrix_columns(b->matrix);
}

static const char *row_name(const struct build *b, size_t i)
{
    return b->zones ? zones_row_name(b->zones, i)
                    : matrix_row_name(b->matrix, i);
}

static const char *column_name(const struct build *b, size_t i)
{
    return b->zones ? zones_column_name(b->zones, i)
                    : matrix_column_name(b->matrix, i);
}

static bool is_text_shared(const struct build *b)
{
    return n_rows(b) * n_columns(b) <= SHARED_CELLS_MAX;
}

static size_t n_missing(const struct build *b)
{
    return b->zones ? zones_missing(b->zones) : matrix_missing(b->matrix);
}

static const char *missing_name(const struct build *b, size_t i)
{
    return b->zones ? zones_missing_name(b->zones, i)
                    : matrix_missing_name(b->matrix, i);
}

/* NULL without memory. Of the past: as of then; otherwise as of now, which is
 * later than generated_at for who reads slowly. */
static const struct matrix_cell *
cell_at(const struct api_source *s, struct build *b, size_t row, size_t column)
{
    if (!b->zones)
        return matrix_at(b->matrix, row, column);
    uint64_t now = b->query.is_past ? b->query.now_unix_ns : api_now_unix_ns(s);
    return zones_at(b->zones, row, column, now);
}

/* ---- rendering ---- */

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

static int write_cell(const struct api_source *s, struct json *j,
                      struct build *b, size_t i)
{
    size_t row = i / n_columns(b);
    size_t column = i % n_columns(b);
    const struct matrix_cell *cell = cell_at(s, b, row, column);
    if (!cell)
        return ERR_NOMEM;
    json_object_begin(j);
    json_key_text(j, "from", row_name(b, row));
    json_key_text(j, "to", column_name(b, column));
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
    return 0;
}

static void write_head(const struct api_source *s, struct json *j,
                       const struct build *b)
{
    const struct matrix_query *q = &b->query;
    json_object_begin(j);
    api_write_origin(j, s, b->generated_unix_ns);
    if (q->is_past)
        json_key_time(j, "at", q->now_unix_ns);
    json_key_text(j, "level", matrix_level_name(q->level));
    json_key_u64(j, "window_s", q->window_s);
    api_write_cover(j, &b->cover,
                    q->is_past ? q->now_unix_ns : b->generated_unix_ns);
    json_key_text(j, "protocol",
                  q->protocol < 0
                      ? "all"
                      : protocol_name((enum probe_protocol)q->protocol));
    json_key_text(j, "mode", mode_name((enum probe_mode)q->mode));
    json_key_text(j, "unit", "ns");
    json_key(j, "from");
    json_array_begin(j);
}

static void write_origins(struct json *j, const struct build *b)
{
    size_t expected =
        b->zones ? zones_expected(b->zones) : matrix_expected(b->matrix);
    json_key(j, "origins");
    json_object_begin(j);
    json_key_u64(j, "expected", expected);
    json_key_u64(j, "reporting", expected - n_missing(b));
    json_key(j, "missing");
    json_array_begin(j);
}

/* Items in the stage, each of them a piece. */
static size_t stage_size(enum stage stage, const struct build *b)
{
    switch (stage) {
    case STAGE_HEAD:
        return 0;
    case STAGE_FROM:
        return n_rows(b);
    case STAGE_TO:
        return n_columns(b);
    case STAGE_CELLS:
        return n_rows(b) * n_columns(b);
    case STAGE_MISSING:
        return n_missing(b);
    }
    return 0;
}

static int write_item(const struct api_source *s, struct build *b,
                      struct text *t)
{
    struct json *j = &t->json;
    size_t i = t->i++;
    switch (t->stage) {
    case STAGE_HEAD:
        break;
    case STAGE_FROM:
        json_text(j, row_name(b, i));
        break;
    case STAGE_TO:
        json_text(j, column_name(b, i));
        break;
    case STAGE_CELLS:
        return write_cell(s, j, b, i);
    case STAGE_MISSING:
        json_text(j, missing_name(b, i));
        break;
    }
    return 0;
}

static uint64_t dropped_cells(const struct api_source *s, const struct build *b)
{
    struct history_stats stats;
    if (!b->zones)
        return matrix_dropped(b->matrix);
    history_stats(s->history, &stats);
    return stats.dropped;
}

/* Between stages: close one list, open the next. */
static void next_stage(const struct api_source *s, const struct build *b,
                       struct text *t)
{
    struct json *j = &t->json;
    t->i = 0;
    switch (t->stage) {
    case STAGE_HEAD:
        write_head(s, j, b);
        break;
    case STAGE_FROM:
    case STAGE_TO:
        json_array_end(j);
        json_key(j, t->stage == STAGE_FROM ? "to" : "cells");
        json_array_begin(j);
        break;
    case STAGE_CELLS:
        json_array_end(j);
        write_origins(j, b);
        break;
    case STAGE_MISSING:
        json_array_end(j);
        json_object_end(j);
        json_key_u64(j, "dropped_cells", dropped_cells(s, b));
        json_object_end(j);
        wr_u8(j->out, '\n');
        t->is_complete = true;
        return;
    }
    t->stage++;
}

static int render_items(const struct api_source *s, struct build *b,
                        struct text *t, struct wr *w)
{
    int err = 0;
    t->json.out = w; /* another writer each time, the nesting goes on */
    while (!err && !t->is_complete && w->size - w->len >= HTTPD_PIECE_MAX) {
        if (t->i < stage_size(t->stage, b))
            err = write_item(s, b, t);
        else
            next_stage(s, b, t);
    }
    return err ? err : wr_err(w);
}

/* Render the next chunk: half a millisecond's work. */
static int render(const struct api_source *s, struct build *b, struct text *t)
{
    if (t->n == t->size) {
        size_t size = t->size ? t->size * 2 : 16;
        struct chunk *chunks = reallocarray(t->chunks, size, sizeof(*chunks));
        if (!chunks)
            return ERR_NOMEM;
        t->chunks = chunks;
        t->size = size;
    }
    uint8_t *data = malloc(CHUNK);
    if (!data)
        return ERR_NOMEM;
    struct wr w;
    wr_init_fixed(&w, data, CHUNK);
    int err = render_items(s, b, t, &w);
    if (err) {
        free(data);
        if (t == &b->text)
            b->rc = err; /* what is missing now will always be */
        return err;
    }
    uint8_t *less = realloc(data, w.len);
    t->chunks[t->n++] = (struct chunk){less ? less : data, w.len};
    return 0;
}

/* ---- answering ---- */

struct matrix_view {
    const struct api_source *source;
    struct matrix_query query;
    struct build *build;
    uint64_t begun_ns;
    size_t chunk, offset; /* read so far */
    struct text own;      /* if it is not shared */
};

static struct text *text_of(struct matrix_view *v)
{
    return is_text_shared(v->build) ? &v->build->text : &v->own;
}

/* Make sure that there is the chunk to be read next. Returns 1 behind the
 * last, or an error. */
static int need_chunk(struct matrix_view *v, struct text *t)
{
    struct build *b = v->build;
    if (v->chunk < t->n)
        return 0;
    if (t->is_complete)
        return 1;
    if (t == &v->own) {
        drop_chunks(t);
        v->chunk = 0;
    }
    return b->rc < 0 ? b->rc : render(v->source, b, t);
}

static int matrix_body(void *state, struct wr *w)
{
    struct matrix_view *v = state;
    struct text *t = text_of(v);
    while (!httpd_slice_is_full(w)) {
        int rc = need_chunk(v, t);
        if (rc)
            return rc < 0 ? rc : wr_err(w);
        const struct chunk *c = &t->chunks[v->chunk];
        size_t n = c->len - v->offset;
        n = n < HTTPD_PIECE_MAX ? n : HTTPD_PIECE_MAX;
        wr_bytes(w, c->data + v->offset, n);
        v->offset += n;
        if (v->offset == c->len) {
            v->chunk++;
            v->offset = 0;
        }
    }
    return 1;
}

static void matrix_done(void *state)
{
    struct matrix_view *v = state;
    build_release(v->build);
    text_fini(&v->own);
    free(v);
}

/* The matrix is complete: what the answer's head says of it. */
static void begin_answer(struct matrix_view *v, struct httpd_answer *answer)
{
    const struct build *b = v->build;
    if (!b->cache || !is_text_shared(b))
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
    if (v->begun_ns == 0)
        v->begun_ns = now_ns;
    /* What came just now is waited for, but not for ever. */
    if (!v->build && now_ns - v->begun_ns < API_FOLD_NS &&
        api_is_folding(s, now_ns))
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
    if (!api_params(s, r,
                    API_LEVEL | API_WINDOW | API_PROTOCOL | API_MODE | API_AT,
                    &p, answer))
        return;
    struct matrix_view *v = calloc(1, sizeof(*v));
    if (!v) {
        api_no_memory(answer);
        return;
    }
    v->source = s;
    json_init(&v->own.json, NULL);
    v->query = (struct matrix_query){
        .level = p.level,
        .window_s = p.window_s,
        .protocol = p.protocol,
        .mode = p.mode,
        .now_unix_ns = p.at_unix_ns ? p.at_unix_ns : api_now_unix_ns(s),
        .is_past = p.at_unix_ns != 0,
        .is_usable = s->is_usable,
        .usable_arg = s->usable_arg,
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
