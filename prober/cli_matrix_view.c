#include "prober/cli_matrix.h"

#include <stdlib.h>
#include <string.h>

#include "prober/cli_json.h"

struct cli_matrix_view {
    struct render_matrix table;
    struct json_t *root;                     /* holds the names */
    const char **rows, **columns, **missing; /* owned arrays */
    struct render_cell *cells;
};

/* Places of names, to be found by name. */
struct place {
    const char *name;
    size_t at;
};

struct index {
    struct place *places; /* sorted by name, then place; owned */
    size_t n;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *p = a, *q = b;
    int order = strcmp(p->name, q->name);
    return order ? order : (p->at > q->at) - (p->at < q->at);
}

static int index_open(struct index *x, const char *const *names, size_t n)
{
    x->places = calloc(n + 1, sizeof *x->places);
    if (!x->places)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        x->places[i] = (struct place){names[i], i};
    x->n = n;
    qsort(x->places, n, sizeof *x->places, compare_places);
    return 0;
}

/* The first place whose name stands at an earlier one too, or SIZE_MAX. */
static size_t index_repeated(const struct index *x)
{
    size_t first = SIZE_MAX;

    for (size_t i = 1; i < x->n; i++) {
        const struct place *p = &x->places[i];
        if (!strcmp(p[-1].name, p->name) && p->at < first)
            first = p->at;
    }
    return first;
}

/* SIZE_MAX if there is none. */
static size_t index_find(const struct index *x, const char *name)
{
    size_t low = 0, high = x->n;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(name, x->places[middle].name);
        if (order == 0)
            return x->places[middle].at;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return SIZE_MAX;
}

/* The strings of root[key]; an absent array is an empty one. `index`, if
 * given, gets their places by name; they have to differ then. */
static int read_names(const struct json_t *root, const char *key,
                      struct index *index, const char ***names, size_t *n,
                      struct errmsg *msg)
{
    const struct json_t *array = cli_json_get(root, key);
    size_t size = cli_json_count(array), bad = SIZE_MAX;

    if (size > CLI_MATRIX_SIDE_MAX) {
        errmsg_set(msg, "'%s' has %zu names, too many", key, size);
        return ERR_TOOBIG;
    }
    *names = calloc(size + 1, sizeof **names);
    if (!*names)
        return ERR_NOMEM;
    for (size_t i = 0; i < size && bad == SIZE_MAX; i++) {
        (*names)[i] = cli_json_text(cli_json_at(array, i));
        if (!(*names)[i])
            bad = i;
    }
    if (index && bad == SIZE_MAX) {
        if (index_open(index, *names, size))
            return ERR_NOMEM;
        bad = index_repeated(index);
    }
    if (bad != SIZE_MAX) {
        errmsg_set(msg, "'%s'[%zu] is not a name of its own", key, bad);
        return ERR_BAD;
    }
    *n = size;
    return 0;
}

static const char *text_of(const struct json_t *object, const char *key)
{
    return cli_json_text_of(object, key, "-");
}

static enum matrix_state state_of(const struct json_t *cell)
{
    const char *text = text_of(cell, "state");

    if (!strcmp(text, "fresh"))
        return CELL_FRESH;
    if (!strcmp(text, "stale"))
        return CELL_STALE;
    if (!strcmp(text, "draining"))
        return CELL_DRAINING;
    /* A state of a newer server is not known to be good. */
    return CELL_UNKNOWN;
}

static double value_of(const struct json_t *cell, const struct render_cell *c,
                       unsigned series, enum render_stat stat)
{
    if (stat == STAT_LOSS) {
        uint64_t judged = c->ok + c->failed;
        return judged ? (double)c->failed / (double)judged : -1;
    }
    const struct json_t *phase =
        cli_json_get(cli_json_get(cell, "phases"), series_name(series));
    return cli_json_u64_of(phase, "count")
               ? cli_json_number_of(phase, render_stat_name(stat))
               : -1;
}

static struct render_cell read_cell(const struct json_t *cell, unsigned series,
                                    enum render_stat stat)
{
    double trusted_ratio = cli_json_number_of(cell, "trusted_ratio");
    struct render_cell c = {
        .state = state_of(cell),
        .age_s = cli_json_number_of(cell, "age_s"),
        .ok = cli_json_u64_of(cell, "ok"),
        .failed = cli_json_u64_of(cell, "failed"),
        .trusted_ratio = trusted_ratio < 0 ? 1 : trusted_ratio,
    };

    c.value = value_of(cell, &c, series, stat);
    return c;
}

static int read_cells(struct cli_matrix_view *v, const struct index *from,
                      const struct index *to, struct errmsg *msg)
{
    const struct render_matrix *t = &v->table;
    const struct json_t *cells = cli_json_get(v->root, "cells");

    v->cells = calloc(t->n_rows * t->n_columns + 1, sizeof *v->cells);
    if (!v->cells)
        return ERR_NOMEM;
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++) {
        v->cells[i] = (struct render_cell){.state = CELL_UNKNOWN,
                                           .age_s = -1,
                                           .trusted_ratio = 1,
                                           .value = -1};
    }
    for (size_t i = 0; i < cli_json_count(cells); i++) {
        const struct json_t *cell = cli_json_at(cells, i);
        size_t row = index_find(from, text_of(cell, "from"));
        size_t column = index_find(to, text_of(cell, "to"));
        if (row == SIZE_MAX || column == SIZE_MAX) {
            errmsg_set(msg, "'cells'[%zu] is from or to nowhere", i);
            return ERR_BAD;
        }
        v->cells[row * t->n_columns + column] =
            read_cell(cell, t->series, t->stat);
    }
    return 0;
}

static int read_heading(struct cli_matrix_view *v, struct errmsg *msg)
{
    struct render_matrix *t = &v->table;
    const struct json_t *root = v->root;
    const struct json_t *origins = cli_json_get(root, "origins");
    const char *unit = text_of(root, "unit");

    if (!cli_json_is_array(cli_json_get(root, "from")) ||
        !cli_json_is_array(cli_json_get(root, "to")) ||
        !cli_json_is_array(cli_json_get(root, "cells"))) {
        errmsg_set(msg, "not a matrix: 'from', 'to' or 'cells' is no array");
        return ERR_BAD;
    }
    if (strcmp(unit, "ns") != 0) {
        errmsg_set(msg, "'unit' is not \"ns\"");
        return ERR_BAD;
    }
    t->level = text_of(root, "level");
    t->protocol = text_of(root, "protocol");
    t->mode = text_of(root, "mode");
    t->answered_by = text_of(root, "answered_by");
    t->generated_at = text_of(root, "generated_at");
    t->window_s = cli_json_u64_of(root, "window_s");
    t->expected = cli_json_u64_of(origins, "expected");
    t->reporting = cli_json_u64_of(origins, "reporting");
    return read_names(origins, "missing", NULL, &v->missing, &t->n_missing,
                      msg);
}

static int read_view(struct cli_matrix_view *v, struct errmsg *msg)
{
    struct render_matrix *t = &v->table;
    struct index from = {0}, to = {0};
    int err = read_heading(v, msg);

    if (!err)
        err = read_names(v->root, "from", &from, &v->rows, &t->n_rows, msg);
    if (!err)
        err = read_names(v->root, "to", &to, &v->columns, &t->n_columns, msg);
    if (!err)
        err = read_cells(v, &from, &to, msg);
    t->rows = v->rows;
    t->columns = v->columns;
    t->missing = v->missing;
    t->cells = v->cells;
    free(from.places);
    free(to.places);
    return err;
}

int cli_matrix_parse(const char *text, size_t len, unsigned series,
                     enum render_stat stat, struct cli_matrix_view **out,
                     struct errmsg *msg)
{
    struct cli_matrix_view *v = calloc(1, sizeof *v);
    int err;

    errmsg_set(msg, "no memory");
    if (!v)
        return ERR_NOMEM;
    v->table.series = series;
    v->table.stat = stat;
    v->root = cli_json_open(text, len, msg);
    err = v->root ? read_view(v, msg) : ERR_BAD;
    if (err)
        cli_matrix_close(v);
    else
        *out = v;
    return err;
}

const struct render_matrix *cli_matrix_table(const struct cli_matrix_view *view)
{
    return &view->table;
}

void cli_matrix_age(struct cli_matrix_view *view, double seconds)
{
    const struct render_matrix *t = &view->table;

    for (size_t i = 0; i < t->n_rows * t->n_columns; i++) {
        struct render_cell *c = &view->cells[i];
        double age_s = (c->age_s > 0 ? c->age_s : 0) + seconds;
        if (c->age_s >= 0)
            c->age_s = age_s;
        if (c->state == CELL_FRESH && age_s > MATRIX_STALE_S)
            c->state = CELL_STALE;
    }
}

void cli_matrix_close(struct cli_matrix_view *view)
{
    if (!view)
        return;
    free(view->cells);
    free(view->missing);
    free(view->columns);
    free(view->rows);
    cli_json_close(view->root);
    free(view);
}
