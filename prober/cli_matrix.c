#include "prober/cli_matrix.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "prober/cli.h"
#include "prober/cli_api.h"
#include "prober/cli_json.h"
#include "prober/config.h"
#include "proto/url.h"

#define TEXT_BYTES_MAX (256u << 20)
#define REDRAW_MS      2000

static const char help[] =
    "usage: prober matrix [options]\n"
    "\n"
    "Show the latency matrix that a node answers: rows are where probes come\n"
    "from, columns where they go.\n"
    "\n"
    "  --api URL       the node's API, default " CLI_API_DEFAULT "\n"
    "  --phase P       dns, connect, tls, ttfb, transfer, local, total\n"
    "                  (default) or server\n"
    "  --stat S        p50 (default), p90, p99, max or loss\n"
    "  --protocol P    http1, grpc or all\n"
    "  --mode M        cold or warm\n"
    "  --level L       node, zone or region\n"
    "  --window D      how far back, for example 5m\n"
    "  --watch         redraw every 2 s until Ctrl-C\n"
    "  -o FORMAT       text (default), or json: the node's answer as it is\n"
    "\n"
    "What is not given is the node's choice. Exit codes: 0 fine, 1 no answer,\n"
    "2 usage.\n";

/* ---- the answer ---- */

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

/* ---- the command ---- */

struct options {
    struct url api;
    unsigned series;
    enum render_stat stat;
    const char *protocol, *mode, *level, *window; /* NULL: not given */
    bool is_json, is_watching;
};

static bool is_one_of(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(text, words[i]))
            return true;
    }
    return false;
}

#define ONE_OF(text, ...)                                  \
    is_one_of((text), (const char *const[]){__VA_ARGS__},  \
              sizeof((const char *const[]){__VA_ARGS__}) / \
                  sizeof(const char *))

/* Returns CLI_OK or CLI_USAGE. */
static int set_option(struct options *o, int option, const char *text)
{
    uint64_t ns;
    int n;

    switch (option) {
    case 'a':
        return cli_api_parse("matrix", text, &o->api);
    case 'p':
        n = series_parse(text);
        if (n < 0)
            return cli_usage("matrix", "--phase: no phase '%s'", text);
        o->series = (unsigned)n;
        return CLI_OK;
    case 's':
        n = render_stat_parse(text);
        if (n < 0)
            return cli_usage("matrix",
                             "--stat: '%s' is not one of p50, p90, "
                             "p99, max, loss",
                             text);
        o->stat = (enum render_stat)n;
        return CLI_OK;
    case 'P':
        o->protocol = text;
        if (!ONE_OF(text, "http1", "grpc", "all"))
            return cli_usage("matrix",
                             "--protocol: '%s' is not one of http1, "
                             "grpc, all",
                             text);
        return CLI_OK;
    case 'm':
        o->mode = text;
        if (!ONE_OF(text, "cold", "warm"))
            return cli_usage("matrix", "--mode: '%s' is neither cold nor warm",
                             text);
        return CLI_OK;
    case 'l':
        o->level = text;
        if (!ONE_OF(text, "node", "zone", "region"))
            return cli_usage("matrix",
                             "--level: '%s' is not one of node, "
                             "zone, region",
                             text);
        return CLI_OK;
    case 'w':
        o->window = text;
        if (config_parse_duration(text, &ns))
            return cli_usage("matrix",
                             "--window: '%s' is not a duration like "
                             "5m",
                             text);
        return CLI_OK;
    case 'o':
        o->is_json = !strcmp(text, "json");
        if (!o->is_json && strcmp(text, "text") != 0)
            return cli_usage("matrix", "-o: '%s' is neither text nor json",
                             text);
        return CLI_OK;
    case 'W':
        o->is_watching = true;
        return CLI_OK;
    }
    return cli_try_help("matrix");
}

static int make_path(const struct options *o, char path[CLI_API_PATH_SIZE])
{
    const struct {
        const char *key, *value;
    } params[] = {{"level", o->level},
                  {"window", o->window},
                  {"protocol", o->protocol},
                  {"mode", o->mode}};
    char separator = '?';
    struct wr w;

    wr_init_fixed(&w, path, CLI_API_PATH_SIZE);
    cli_api_path(&o->api, "/api/v1/matrix", &w);
    for (size_t i = 0; i < sizeof params / sizeof params[0]; i++) {
        if (params[i].value) {
            wr_printf(&w, "%c%s=%s", separator, params[i].key, params[i].value);
            separator = '&';
        }
    }
    wr_u8(&w, '\0');
    return wr_err(&w);
}

struct screen {
    const struct options *o;
    const char *path;
    struct render_style style;
    int signal_fd; /* readable once we are to end; -1 without --watch */
    struct wr answer, text;
};

/* Append the text for one answer. */
static int draw(struct screen *s, struct errmsg *msg)
{
    const char *json = (const char *)s->answer.data;
    struct cli_matrix_view *view;

    if (s->o->is_json) {
        wr_bytes(&s->text, json, s->answer.len);
        if (s->answer.len && json[s->answer.len - 1] != '\n')
            wr_u8(&s->text, '\n');
    } else {
        int err = cli_matrix_parse(json, s->answer.len, s->o->series,
                                   s->o->stat, &view, msg);
        if (err) {
            errmsg_wrap(msg, "the answer");
            return err;
        }
        render_matrix(&s->text, &s->style, cli_matrix_table(view));
        cli_matrix_close(view);
    }
    if (wr_err(&s->text))
        errmsg_set(msg, "the table is too large");
    return wr_err(&s->text);
}

/* Ask, and draw what was answered. Returns an exit code, with `msg` set if
 * it is not CLI_OK; ended by a signal sets *is_ended. */
static int refresh(struct screen *s, bool *is_ended, struct errmsg *msg)
{
    wr_reset(&s->answer);
    wr_reset(&s->text);
    int code = cli_api_get(&s->o->api, s->path, s->signal_fd, &s->answer,
                           is_ended, msg);
    if (code != CLI_OK || *is_ended)
        return code;
    return draw(s, msg) ? CLI_FAILED : CLI_OK;
}

static int show_once(struct screen *s)
{
    struct errmsg msg = {""};
    bool is_ended = false;
    int code = refresh(s, &is_ended, &msg);

    if (code != CLI_OK) {
        cli_fail("matrix", "%s", msg.text);
        return code;
    }
    if (cli_write(STDOUT_FILENO, s->text.data, s->text.len))
        return cli_fail("matrix", "writing: %s", strerror(errno));
    return CLI_OK;
}

/* On a terminal: from the top left, each line cleared behind its end, and
 * all below cleared. In one piece, so that nothing flickers. */
static int redraw(const struct screen *s)
{
    struct wr w;

    if (!s->style.is_color || s->o->is_json)
        return cli_write(STDOUT_FILENO, s->text.data, s->text.len);
    wr_init_grow(&w, TEXT_BYTES_MAX);
    wr_text(&w, "\033[H");
    for (size_t i = 0; i < s->text.len; i++) {
        if (s->text.data[i] == '\n')
            wr_text(&w, "\033[K");
        wr_u8(&w, s->text.data[i]);
    }
    wr_text(&w, "\033[J");
    int err = wr_err(&w);
    if (!err)
        err = cli_write(STDOUT_FILENO, w.data, w.len);
    wr_fini(&w);
    return err;
}

/* Draw until a signal comes. A node that does not answer now may later. */
static int watch(struct screen *s)
{
    bool is_ended = false;

    if (s->style.is_color && !s->o->is_json)
        cli_write(STDOUT_FILENO, "\033[H\033[2J", 7);
    while (!is_ended) {
        struct errmsg msg = {""};
        int code = refresh(s, &is_ended, &msg);

        if (code == CLI_USAGE) {
            cli_fail("matrix", "%s", msg.text);
            return code;
        }
        if (is_ended)
            break;
        if (code != CLI_OK && s->o->is_json) {
            cli_fail("matrix", "%s", msg.text);
        } else if (code != CLI_OK) {
            wr_reset(&s->text);
            wr_printf(&s->text, "prober matrix: %s\n", msg.text);
        }
        if (redraw(s))
            return cli_fail("matrix", "writing: %s", strerror(errno));
        struct pollfd fd = {.fd = s->signal_fd, .events = POLLIN};
        if (poll(&fd, 1, REDRAW_MS) > 0)
            break;
        s->style = cli_style(STDOUT_FILENO); /* it may have been resized */
    }
    return CLI_OK;
}

/* Signals come as a readable descriptor, so that both waits, for the answer
 * and between two of them, end at once. */
static int open_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int show(const struct options *o)
{
    char path[CLI_API_PATH_SIZE];
    struct screen s = {.o = o,
                       .path = path,
                       .style = cli_style(STDOUT_FILENO),
                       .signal_fd = -1};
    int code;

    if (make_path(o, path))
        return cli_usage("matrix", "--api: the path is too long");
    wr_init_grow(&s.answer, CLI_API_BYTES_MAX);
    wr_init_grow(&s.text, TEXT_BYTES_MAX);
    if (!o->is_watching) {
        code = show_once(&s);
    } else {
        s.signal_fd = open_signals();
        code = watch(&s);
        close(s.signal_fd);
    }
    wr_fini(&s.answer);
    wr_fini(&s.text);
    return code;
}

int cli_matrix(int argc, char **argv)
{
    static const struct option longs[] = {
        {"api", required_argument, NULL, 'a'},
        {"phase", required_argument, NULL, 'p'},
        {"stat", required_argument, NULL, 's'},
        {"protocol", required_argument, NULL, 'P'},
        {"mode", required_argument, NULL, 'm'},
        {"level", required_argument, NULL, 'l'},
        {"window", required_argument, NULL, 'w'},
        {"watch", no_argument, NULL, 'W'},
        {"output", required_argument, NULL, 'o'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct options o = {.series = SERIES_TOTAL, .stat = STAT_P50};
    int option, code = cli_api_parse("matrix", CLI_API_DEFAULT, &o.api);

    while (code == CLI_OK &&
           (option = getopt_long(argc, argv, "o:h", longs, NULL)) != -1) {
        if (option == 'h')
            return cli_help(help);
        code = set_option(&o, option, optarg);
    }
    if (code != CLI_OK)
        return code;
    if (optind < argc)
        return cli_usage("matrix", "unexpected '%s'", argv[optind]);
    return show(&o);
}
