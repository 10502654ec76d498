#include "mesh/matrix.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"
#include "proto/base/rng.h"

#define NS_PER_S 1000000000u

#define NONE SIZE_MAX

/* From pairs of numbers to a number above 0. */
struct table {
    uint64_t *keys;   /* any but EMPTY */
    uint32_t *values; /* of the key in the same place */
    size_t n, size;   /* size is 0 or a power of two, at most half used */
};

#define EMPTY UINT64_MAX

/* Different texts, in the order in which they came, with numbers. */
struct names {
    struct name {
        char *text;
        uint64_t hash;
        uint64_t newest;         /* origins: newest window reported, or 0 */
        unsigned nodes, drained; /* labels: expected nodes called so */
        bool is_expected;        /* origins: an expected source */
        bool is_drained;         /* rows, columns: all nodes called so are */
    } * list;
    size_t n, size;
    uint32_t *slots; /* number + 1, open addressing */
    size_t mask;
    uint32_t *sorted; /* numbers in the order of their texts */
    uint64_t seed;    /* of the hash: names are chosen by others */
};

/* A measured cell with what is needed to finish it. */
struct built {
    struct matrix_cell cell;
    uint32_t row, column;
    uint64_t newest; /* window of its newest attempt */
    uint64_t trusted;
};

/* What building does next. */
enum phase {
    PHASE_FRAME,   /* takes the next frame */
    PHASE_TARGETS, /* names the targets of the frame */
    PHASE_CELLS,   /* merges its cells */
    PHASE_NAMES,   /* sorts the names */
    PHASE_FINISH,  /* ages and states of cells */
    PHASE_DONE,
    PHASE_FAILED,
};

struct matrix {
    struct matrix_query query;
    enum phase phase;
    const struct frames *frames;
    struct frames_cursor cursor;
    struct frame_reader frame; /* the one being merged */
    size_t row, origin;        /* its numbers, NONE: no room for the name */
    size_t *targets;           /* columns of its targets, or NONE */
    size_t targets_size;
    struct frame_cell cell; /* the one being merged */
    size_t finished;        /* cells */
    uint64_t first, last;   /* windows that count */
    struct names rows, columns, origins;
    struct names labels; /* of expected nodes, for draining */
    struct table places; /* row and column number -> index in cells */
    struct table shares; /* cell and origin number -> 1: contributed */
    struct built **cells;
    size_t n_cells, cells_size;
    uint32_t *missing; /* numbers of origins, sorted by text */
    size_t n_expected, n_missing;
    size_t dropped;
    struct matrix_cell unknown, draining;
};

static const char *const states[] = {"fresh", "stale", "unknown", "draining"};
static const char *const levels[] = {"node", "zone", "region"};

const char *matrix_state_name(enum matrix_state s)
{
    assert(s <= CELL_DRAINING);
    return states[s];
}

const char *matrix_level_name(enum matrix_level l)
{
    assert(l <= LEVEL_REGION);
    return levels[l];
}

int matrix_level_parse(const char *text)
{
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (!strcmp(levels[i], text))
            return (int)i;
    }
    return -1;
}

const char *matrix_label(enum matrix_level l, const char *name,
                         const char *zone, const char *region)
{
    if (l == LEVEL_REGION && region && *region)
        return region;
    if (l != LEVEL_NODE && zone && *zone)
        return zone;
    return name;
}

/* --- tables ------------------------------------------------------------- */

static size_t table_slot(const struct table *t, uint64_t key)
{
    size_t at = (size_t)hash_bytes(0, &key, sizeof(key)) & (t->size - 1);
    while (t->keys[at] != EMPTY && t->keys[at] != key)
        at = (at + 1) & (t->size - 1);
    return at;
}

/* The value of `key`, or 0. */
static uint32_t table_get(const struct table *t, uint64_t key)
{
    if (t->size == 0)
        return 0;
    size_t at = table_slot(t, key);
    return t->keys[at] == key ? t->values[at] : 0;
}

static int table_grow(struct table *t)
{
    struct table larger = {.size = t->size ? t->size * 2 : 64};
    larger.keys = calloc(larger.size, sizeof(*larger.keys));
    larger.values = calloc(larger.size, sizeof(*larger.values));
    if (!larger.keys || !larger.values) {
        free(larger.keys);
        free(larger.values);
        return ERR_NOMEM;
    }
    memset(larger.keys, 0xff, larger.size * sizeof(*larger.keys));
    for (size_t i = 0; i < t->size; i++) {
        if (t->keys[i] == EMPTY)
            continue;
        size_t at = table_slot(&larger, t->keys[i]);
        larger.keys[at] = t->keys[i];
        larger.values[at] = t->values[i];
    }
    larger.n = t->n;
    free(t->keys);
    free(t->values);
    *t = larger;
    return 0;
}

/* Set a key that is not there. */
static int table_put(struct table *t, uint64_t key, uint32_t value)
{
    assert(key != EMPTY);
    if (2 * (t->n + 1) > t->size) {
        int err = table_grow(t);
        if (err)
            return err;
    }
    size_t at = table_slot(t, key);
    assert(t->keys[at] == EMPTY);
    t->keys[at] = key;
    t->values[at] = value;
    t->n++;
    return 0;
}

static void table_fini(struct table *t)
{
    free(t->keys);
    free(t->values);
}

/* --- names -------------------------------------------------------------- */

static size_t names_slot(const struct names *s, const char *text, uint64_t hash)
{
    size_t at = (size_t)hash & s->mask;
    for (; s->slots[at]; at = (at + 1) & s->mask) {
        const struct name *n = &s->list[s->slots[at] - 1];
        if (n->hash == hash && !strcmp(n->text, text))
            break;
    }
    return at;
}

static size_t names_find(const struct names *s, const char *text)
{
    if (!s->slots)
        return NONE;
    uint64_t hash = hash_bytes(s->seed, text, strlen(text));
    uint32_t slot = s->slots[names_slot(s, text, hash)];
    return slot ? slot - 1 : NONE;
}

/* Twice the room: list and slots together, the slots never more than half
 * used. */
static int names_grow(struct names *s)
{
    size_t size = s->size ? s->size * 2 : 32;
    struct name *list = reallocarray(s->list, size, sizeof(*list));
    if (!list)
        return ERR_NOMEM;
    s->list = list;
    uint32_t *slots = calloc(2 * size, sizeof(*slots));
    if (!slots)
        return ERR_NOMEM;
    free(s->slots);
    s->slots = slots;
    s->mask = 2 * size - 1;
    s->size = size;
    for (size_t i = 0; i < s->n; i++)
        slots[names_slot(s, list[i].text, list[i].hash)] = (uint32_t)i + 1;
    return 0;
}

/* The number of `text`, which is added if it is new. NONE: ERR_NOMEM, or
 * ERR_TOOBIG if there are MATRIX_NAMES_MAX. */
static int names_add(struct names *s, const char *text, size_t *number)
{
    *number = names_find(s, text);
    if (*number != NONE)
        return 0;
    if (s->n == MATRIX_NAMES_MAX)
        return ERR_TOOBIG;
    if (s->n == s->size) {
        int err = names_grow(s);
        if (err)
            return err;
    }
    struct name n = {.text = strdup(text)};
    if (!n.text)
        return ERR_NOMEM;
    n.hash = hash_bytes(s->seed, text, strlen(text));
    s->slots[names_slot(s, text, n.hash)] = (uint32_t)s->n + 1;
    s->list[s->n] = n;
    *number = s->n++;
    return 0;
}

static int by_text(const void *a, const void *b, void *names)
{
    const struct names *s = names;
    const uint32_t *x = a;
    const uint32_t *y = b;
    return strcmp(s->list[*x].text, s->list[*y].text);
}

static int names_sort(struct names *s)
{
    s->sorted = calloc(s->n ? s->n : 1, sizeof(*s->sorted));
    if (!s->sorted)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->n; i++)
        s->sorted[i] = (uint32_t)i;
    qsort_r(s->sorted, s->n, sizeof(*s->sorted), by_text, s);
    return 0;
}

static void names_fini(struct names *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->list[i].text);
    free(s->list);
    free(s->slots);
    free(s->sorted);
}

static const char *names_sorted(const struct names *s, size_t i)
{
    assert(i < s->n);
    return s->list[s->sorted[i]].text;
}

/* --- cells -------------------------------------------------------------- */

static uint64_t pair_key(size_t a, size_t b)
{
    return (uint64_t)a << 32 | b;
}

static int cell_add(struct matrix *m, uint64_t key, size_t *index)
{
    if (m->n_cells == MATRIX_CELLS_MAX)
        return ERR_TOOBIG;
    if (m->n_cells == m->cells_size) {
        size_t size = m->cells_size ? m->cells_size * 2 : 64;
        struct built **cells = reallocarray(m->cells, size, sizeof(*cells));
        if (!cells)
            return ERR_NOMEM;
        m->cells = cells;
        m->cells_size = size;
    }
    struct built *b = calloc(1, sizeof(*b));
    if (!b)
        return ERR_NOMEM;
    int err = table_put(&m->places, key, (uint32_t)m->n_cells + 1);
    if (err) {
        free(b);
        return err;
    }
    b->row = (uint32_t)(key >> 32);
    b->column = (uint32_t)key;
    *index = m->n_cells;
    m->cells[m->n_cells++] = b;
    return 0;
}

static int cell_find(struct matrix *m, size_t row, size_t column, size_t *index)
{
    uint64_t key = pair_key(row, column);
    uint32_t place = table_get(&m->places, key);
    if (place == 0)
        return cell_add(m, key, index);
    *index = place - 1;
    return 0;
}

static void merge_counts(struct built *b, const struct frame_cell *from)
{
    struct matrix_cell *to = &b->cell;

    to->attempts += from->attempts;
    if (from->is_trusted)
        b->trusted += from->attempts;
    for (unsigned i = 0; i < OUTCOME_N; i++) {
        to->outcomes[i] += from->outcomes[i];
        if (i == OUTCOME_OK)
            to->ok += from->outcomes[i];
        else if (!outcome_is_local((enum probe_outcome)i))
            to->failed += from->outcomes[i];
    }
    to->retransmits += from->retransmits;
    to->reconnects += from->reconnects;
    to->user_clock += from->user_clock;
    if (from->max_lag_us > to->max_lag_us)
        to->max_lag_us = from->max_lag_us;
}

/* The histograms of the cell read last. One that would overflow is left as it
 * was: ERR_TOOBIG. */
static int merge_series(struct matrix *m, struct built *b)
{
    int worst = frame_reader_series(&m->frame, &m->cell);
    for (size_t i = 0; i < SERIES_N && worst != ERR_NOMEM; i++) {
        int err = hist_merge(&b->cell.series[i], &m->cell.series[i]);
        if (err)
            worst = err;
    }
    return worst;
}

/* Count an origin once in each cell that it has a part in. */
static int add_share(struct matrix *m, size_t cell, size_t origin)
{
    uint64_t key = pair_key(cell, origin);
    if (table_get(&m->shares, key))
        return 0;
    int err = table_put(&m->shares, key, 1);
    if (!err)
        m->cells[cell]->cell.nodes++;
    return err;
}

static bool is_asked(const struct matrix_query *q, const struct frame_cell *c)
{
    return (q->protocol < 0 || q->protocol == c->protocol) &&
           (q->mode < 0 || q->mode == c->mode);
}

/* The cell that was just read. *pieces gets what that cost. */
static int add_cell(struct matrix *m, size_t *pieces)
{
    const struct frame_cell *c = &m->cell;
    size_t column = m->row == NONE ? NONE : m->targets[c->target];
    size_t index;

    if (column == NONE)
        return ERR_TOOBIG;
    if (c->attempts == 0 || !is_asked(&m->query, c))
        return 0;
    int err = cell_find(m, m->row, column, &index);
    if (err)
        return err;
    struct built *b = m->cells[index];
    b->newest = m->frame.window; /* frames come oldest first */
    if (m->frame.window < m->first)
        return 0;
    *pieces += SERIES_N;
    err = add_share(m, index, m->origin);
    if (err)
        return err;
    merge_counts(b, c);
    return merge_series(m, b);
}

static int reserve_targets(struct matrix *m, size_t n)
{
    if (n <= m->targets_size)
        return 0;
    size_t *targets = reallocarray(m->targets, n, sizeof(*targets));
    if (!targets)
        return ERR_NOMEM;
    m->targets = targets;
    m->targets_size = n;
    return 0;
}

static int next_frame(struct matrix *m)
{
    struct frame_reader *f = &m->frame;
    const void *data;
    size_t len;
    if (!m->frames || !frames_next(m->frames, &m->cursor, &data, &len)) {
        frames_cursor_fini(&m->cursor);
        m->frames = NULL;
        m->phase = PHASE_NAMES;
        return 0;
    }
    int err = frame_reader_open(f, data, len);
    assert(!err); /* it was checked when it was added */
    if (f->window > m->last)
        return 0;
    if (m->query.is_usable &&
        !m->query.is_usable(m->query.usable_arg, f->origin))
        return 0;

    err = reserve_targets(m, f->n_targets);
    if (!err)
        err = names_add(
            &m->rows,
            matrix_label(m->query.level, f->origin, f->zone, f->region),
            &m->row);
    if (!err)
        err = names_add(&m->origins, f->origin, &m->origin);
    if (err == ERR_TOOBIG)
        m->row = NONE;
    else if (err)
        return err;
    else
        m->origins.list[m->origin].newest = f->window;
    m->phase = PHASE_TARGETS;
    return 0;
}

static int next_target(struct matrix *m)
{
    struct frame_reader *f = &m->frame;
    struct frame_reader_target t;
    size_t number = f->n_targets - f->targets; /* of the one to be read */
    int rc = frame_reader_target(f, &t);
    assert(rc >= 0);
    if (rc == 0) {
        m->phase = PHASE_CELLS;
        return 0;
    }
    if (m->row == NONE) /* nothing of this frame will be kept */
        return 0;
    int err = names_add(&m->columns,
                        matrix_label(m->query.level, t.name, t.zone, t.region),
                        &m->targets[number]);
    return err == ERR_NOMEM ? err : 0;
}

static int next_cell(struct matrix *m, size_t *pieces)
{
    *pieces = 1;
    int rc = frame_reader_cell(&m->frame, &m->cell);
    if (rc == 0)
        m->phase = PHASE_FRAME;
    if (rc <= 0)
        return rc;
    int err = add_cell(m, pieces);
    m->dropped += err == ERR_TOOBIG;
    return err == ERR_NOMEM ? err : 0;
}

/* --- what is expected --------------------------------------------------- */

static int expect_node(struct matrix *m, const struct matrix_node *node)
{
    size_t number;
    const char *label =
        matrix_label(m->query.level, node->name, node->zone, node->region);
    int err = names_add(&m->labels, label, &number);
    if (!err) {
        m->labels.list[number].nodes++;
        m->labels.list[number].drained += node->is_draining;
        err = names_add(&m->columns, label, &number);
    }
    if (err || !node->is_source)
        return err;
    err = names_add(&m->rows, label, &number);
    if (!err)
        err = names_add(&m->origins, node->name, &number);
    if (!err)
        m->origins.list[number].is_expected = true;
    return err;
}

static int expect_nodes(struct matrix *m, const struct matrix_node *nodes,
                        size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int err = expect_node(m, &nodes[i]);
        if (err && err != ERR_TOOBIG)
            return err;
        m->dropped += err == ERR_TOOBIG;
    }
    return 0;
}

/* Seconds from the end of a window until now, at least 0. */
static double age_s(const struct matrix *m, uint64_t window)
{
    double end_s = (double)(window + 1) * FRAME_WINDOW_S;
    double now_s = (double)m->query.now_unix_ns / NS_PER_S;
    return now_s > end_s ? now_s - end_s : 0;
}

static int find_missing(struct matrix *m)
{
    m->missing = calloc(m->origins.n ? m->origins.n : 1, sizeof(*m->missing));
    if (!m->missing)
        return ERR_NOMEM;
    for (size_t i = 0; i < m->origins.n; i++) {
        uint32_t number = m->origins.sorted[i];
        const struct name *n = &m->origins.list[number];
        if (!n->is_expected)
            continue;
        m->n_expected++;
        if (n->newest == 0 || age_s(m, n->newest) > MATRIX_STALE_S)
            m->missing[m->n_missing++] = number;
    }
    return 0;
}

static bool is_drained(const struct matrix *m, const struct names *names,
                       size_t number)
{
    size_t label = names_find(&m->labels, names->list[number].text);
    if (label == NONE)
        return false;
    const struct name *n = &m->labels.list[label];
    return n->nodes > 0 && n->drained == n->nodes;
}

/* --- building ----------------------------------------------------------- */

static void mark_drained(const struct matrix *m, struct names *names)
{
    for (size_t i = 0; i < names->n; i++)
        names->list[i].is_drained = is_drained(m, names, i);
}

static int next_names(struct matrix *m)
{
    int err = names_sort(&m->rows);
    if (!err)
        err = names_sort(&m->columns);
    if (!err)
        err = names_sort(&m->origins);
    if (!err)
        err = find_missing(m);
    if (err)
        return err;
    mark_drained(m, &m->rows);
    mark_drained(m, &m->columns);
    m->unknown = (struct matrix_cell){
        .state = CELL_UNKNOWN, .age_s = -1, .trusted_ratio = 1};
    m->draining = m->unknown;
    m->draining.state = CELL_DRAINING;
    m->phase = PHASE_FINISH;
    return 0;
}

/* Does either end drain? That goes before all else. */
static bool is_draining(const struct matrix *m, size_t row, size_t column)
{
    return m->rows.list[row].is_drained || m->columns.list[column].is_drained;
}

static void finish_cell(struct matrix *m)
{
    if (m->finished == m->n_cells) {
        m->phase = PHASE_DONE;
        return;
    }
    struct built *b = m->cells[m->finished++];
    struct matrix_cell *c = &b->cell;
    c->age_s = age_s(m, b->newest);
    c->state = c->age_s > MATRIX_STALE_S ? CELL_STALE : CELL_FRESH;
    c->trusted_ratio =
        c->attempts ? (double)b->trusted / (double)c->attempts : 1;
    if (is_draining(m, b->row, b->column))
        c->state = CELL_DRAINING;
}

struct matrix_windows matrix_windows(const struct matrix_query *q)
{
    uint64_t now_s = q->now_unix_ns / NS_PER_S;
    uint64_t settle_s = q->is_past ? 0 : MATRIX_SETTLE_S;
    uint64_t settled_s = now_s > settle_s ? now_s - settle_s : 0;
    uint64_t n = (q->window_s + FRAME_WINDOW_S - 1) / FRAME_WINDOW_S;
    uint64_t end = settled_s / FRAME_WINDOW_S;
    struct matrix_windows w = {.first = end > n ? end - n : 0};
    w.last = q->is_past ? (end > 0 ? end - 1 : 0)
                        : now_s / FRAME_WINDOW_S + FRAMES_AHEAD_MAX;
    return w;
}

static void set_windows(struct matrix *m)
{
    struct matrix_windows w = matrix_windows(&m->query);
    m->first = w.first;
    m->last = w.last;
}

static void set_seed(struct matrix *m)
{
    /* Not secret, but not known when the names were made up. */
    m->rows.seed = m->columns.seed = m->query.now_unix_ns;
    m->origins.seed = m->labels.seed = m->query.now_unix_ns;
}

struct matrix *matrix_open(const struct frames *frames,
                           const struct matrix_query *query,
                           const struct matrix_node *nodes, size_t n_nodes)
{
    struct matrix *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->query = *query;
    m->frames = frames;
    set_windows(m);
    set_seed(m);

    /* What is expected comes first, so that names in frames cannot use up
     * the room for it. All frames are walked, not only those asked for: how
     * long ago a cell was last measured is told by the others. */
    if (expect_nodes(m, nodes, n_nodes)) {
        matrix_close(m);
        return NULL;
    }
    return m;
}

/* One small thing of what is to be done; *pieces gets its cost. */
static int step(struct matrix *m, size_t *pieces)
{
    *pieces = 1;
    switch (m->phase) {
    case PHASE_FRAME:
        return next_frame(m);
    case PHASE_TARGETS:
        return next_target(m);
    case PHASE_CELLS:
        return next_cell(m, pieces);
    case PHASE_NAMES:
        return next_names(m);
    case PHASE_FINISH:
        finish_cell(m);
        return 0;
    case PHASE_DONE:
        return 0;
    case PHASE_FAILED:
        return ERR_NOMEM;
    }
    return 0;
}

int matrix_step(struct matrix *m, size_t pieces)
{
    size_t cost;
    for (size_t spent = 0; spent < pieces && m->phase != PHASE_DONE;
         spent += cost) {
        if (step(m, &cost)) {
            m->phase = PHASE_FAILED;
            return ERR_NOMEM;
        }
    }
    return m->phase != PHASE_DONE;
}

struct matrix *matrix_build(const struct frames *frames,
                            const struct matrix_query *query,
                            const struct matrix_node *nodes, size_t n_nodes)
{
    struct matrix *m = matrix_open(frames, query, nodes, n_nodes);
    int rc = 1;
    while (m && rc == 1)
        rc = matrix_step(m, SIZE_MAX);
    if (rc == 0)
        return m;
    matrix_close(m);
    return NULL;
}

int matrix_discard(struct matrix *m, size_t pieces)
{
    for (; pieces > 0 && m->n_cells > 0;
         pieces -= pieces < SERIES_N ? pieces : SERIES_N) {
        struct built *b = m->cells[--m->n_cells];
        for (size_t s = 0; s < SERIES_N; s++)
            hist_fini(&b->cell.series[s]);
        free(b);
    }
    return m->n_cells > 0;
}

void matrix_close(struct matrix *m)
{
    if (!m)
        return;
    matrix_discard(m, SIZE_MAX);
    free(m->cells);
    frames_cursor_fini(&m->cursor);
    frame_cell_fini(&m->cell);
    free(m->targets);
    table_fini(&m->places);
    table_fini(&m->shares);
    names_fini(&m->rows);
    names_fini(&m->columns);
    names_fini(&m->origins);
    names_fini(&m->labels);
    free(m->missing);
    free(m);
}

size_t matrix_rows(const struct matrix *m)
{
    return m->rows.n;
}

size_t matrix_columns(const struct matrix *m)
{
    return m->columns.n;
}

const char *matrix_row_name(const struct matrix *m, size_t row)
{
    return names_sorted(&m->rows, row);
}

const char *matrix_column_name(const struct matrix *m, size_t column)
{
    return names_sorted(&m->columns, column);
}

const struct matrix_cell *matrix_at(const struct matrix *m, size_t row,
                                    size_t column)
{
    assert(row < m->rows.n && column < m->columns.n);
    size_t r = m->rows.sorted[row];
    size_t c = m->columns.sorted[column];
    uint32_t place = table_get(&m->places, pair_key(r, c));
    if (place)
        return &m->cells[place - 1]->cell;
    if (is_draining(m, r, c))
        return &m->draining;
    return &m->unknown;
}

size_t matrix_expected(const struct matrix *m)
{
    return m->n_expected;
}

size_t matrix_missing(const struct matrix *m)
{
    return m->n_missing;
}

const char *matrix_missing_name(const struct matrix *m, size_t i)
{
    assert(i < m->n_missing);
    return m->origins.list[m->missing[i]].text;
}

size_t matrix_dropped(const struct matrix *m)
{
    return m->dropped;
}
