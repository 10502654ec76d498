#include "prober/api_zones.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/err.h"

/* Texts that are sorted once, without doubles. */
struct set {
    struct entry {
        char *text;
        unsigned nodes, drained; /* expected ones called so */
    } * list;
    size_t n, size;
};

struct zones {
    const struct history *history;
    struct history_reader *reader;
    struct set rows, columns;
    struct set expected; /* sources */
    struct set missing;
    struct history_cover cover;
};

/* ---- sets ---- */

static int set_add(struct set *s, const char *text)
{
    if (s->n == s->size) {
        size_t size = s->size ? s->size * 2 : 64;
        struct entry *list = reallocarray(s->list, size, sizeof(*list));
        if (!list)
            return ERR_NOMEM;
        s->list = list;
        s->size = size;
    }
    char *copy = strdup(text);
    if (!copy)
        return ERR_NOMEM;
    s->list[s->n++] = (struct entry){.text = copy};
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    return strcmp(x->text, y->text);
}

static void set_sort(struct set *s)
{
    if (s->n == 0)
        return;
    qsort(s->list, s->n, sizeof(*s->list), compare);
    size_t n = 1;
    for (size_t i = 1; i < s->n; i++) {
        if (strcmp(s->list[i].text, s->list[n - 1].text) == 0)
            free(s->list[i].text);
        else
            s->list[n++] = s->list[i];
    }
    s->n = n;
}

static struct entry *set_find(const struct set *s, const char *text)
{
    size_t first = 0;
    size_t end = s->n;
    while (first < end) {
        size_t middle = (first + end) / 2;
        int order = strcmp(s->list[middle].text, text);
        if (order == 0)
            return &s->list[middle];
        if (order < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return NULL;
}

static void set_fini(struct set *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->list[i].text);
    free(s->list);
}

/* ---- opening ---- */

static int add_row(void *arg, const char *name)
{
    return set_add(&((struct zones *)arg)->rows, name);
}

static int add_column(void *arg, const char *name)
{
    return set_add(&((struct zones *)arg)->columns, name);
}

static const char *label_of(const struct matrix_node *n)
{
    return matrix_label(LEVEL_ZONE, n->name, n->zone, n->region);
}

static int expect(struct zones *z, const struct matrix_node *nodes, size_t n)
{
    int err = 0;
    for (size_t i = 0; i < n && !err; i++) {
        err = set_add(&z->columns, label_of(&nodes[i]));
        if (err || !nodes[i].is_source)
            continue;
        err = set_add(&z->rows, label_of(&nodes[i]));
        if (!err)
            err = set_add(&z->expected, nodes[i].name);
    }
    return err;
}

static void count_drained(struct set *s, const struct matrix_node *node)
{
    struct entry *e = set_find(s, label_of(node));
    if (e) {
        e->nodes++;
        e->drained += node->is_draining;
    }
}

static int find_missing(struct zones *z, uint64_t now_unix_ns)
{
    int err = 0;
    for (size_t i = 0; i < z->expected.n && !err; i++) {
        const char *name = z->expected.list[i].text;
        uint64_t newest = history_reported(z->history, name);
        uint64_t end_s = (newest + 1) * FRAME_WINDOW_S;
        if (newest == 0 ||
            (double)now_unix_ns / 1e9 - (double)end_s > MATRIX_STALE_S)
            err = set_add(&z->missing, name);
    }
    return err;
}

static int open_all(struct zones *z, const struct matrix_query *q,
                    uint64_t retention_s, const struct matrix_node *nodes,
                    size_t n_nodes)
{
    struct matrix_windows w = matrix_windows(q);
    struct history_question question = {
        .first = w.first,
        .last = w.last,
        .protocol = q->protocol,
        .mode = q->mode,
        .is_past = q->is_past,
        .unknown_s = retention_s,
    };
    z->reader = history_reader_open(z->history, &question);
    if (!z->reader)
        return ERR_NOMEM;
    z->cover = history_covered(z->reader);
    int err = history_names(z->history, add_row, add_column, z);
    if (!err)
        err = expect(z, nodes, n_nodes);
    if (err)
        return err;
    set_sort(&z->rows);
    set_sort(&z->columns);
    set_sort(&z->expected);
    for (size_t i = 0; i < n_nodes; i++) {
        count_drained(&z->rows, &nodes[i]);
        count_drained(&z->columns, &nodes[i]);
    }
    return find_missing(z, q->now_unix_ns);
}

struct zones *zones_open(const struct history *h, const struct matrix_query *q,
                         uint64_t retention_s, const struct matrix_node *nodes,
                         size_t n_nodes)
{
    struct zones *z = calloc(1, sizeof(*z));
    if (!z)
        return NULL;
    z->history = h;
    if (open_all(z, q, retention_s, nodes, n_nodes)) {
        zones_close(z);
        return NULL;
    }
    return z;
}

void zones_close(struct zones *z)
{
    if (!z)
        return;
    history_reader_close(z->reader);
    set_fini(&z->rows);
    set_fini(&z->columns);
    set_fini(&z->expected);
    set_fini(&z->missing);
    free(z);
}

/* ---- reading ---- */

size_t zones_rows(const struct zones *z)
{
    return z->rows.n;
}

size_t zones_columns(const struct zones *z)
{
    return z->columns.n;
}

const char *zones_row_name(const struct zones *z, size_t row)
{
    assert(row < z->rows.n);
    return z->rows.list[row].text;
}

const char *zones_column_name(const struct zones *z, size_t column)
{
    assert(column < z->columns.n);
    return z->columns.list[column].text;
}

static bool is_drained(const struct entry *e)
{
    return e->nodes > 0 && e->drained == e->nodes;
}

const struct matrix_cell *zones_at(struct zones *z, size_t row, size_t column,
                                   uint64_t now_unix_ns)
{
    struct matrix_cell *c =
        history_read(z->reader, zones_row_name(z, row),
                     zones_column_name(z, column), now_unix_ns);
    if (c && (is_drained(&z->rows.list[row]) ||
              is_drained(&z->columns.list[column])))
        c->state = CELL_DRAINING;
    return c;
}

size_t zones_expected(const struct zones *z)
{
    return z->expected.n;
}

size_t zones_missing(const struct zones *z)
{
    return z->missing.n;
}

const char *zones_missing_name(const struct zones *z, size_t i)
{
    assert(i < z->missing.n);
    return z->missing.list[i].text;
}

struct history_cover zones_covered(const struct zones *z)
{
    return z->cover;
}
